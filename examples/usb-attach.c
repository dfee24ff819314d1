/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attaches a USB device of the host to a guest, and shows what the guest has
 * then: usb-attach GUEST SELECTOR
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxlx.h>

static void show(const xlx_usb_ctrls *list)
{
    int i, j;

    for (i = 0; i < list->num_ctrls; i++)
        for (j = 0; j < list->ctrls[i].num_ports; j++) {
            const xlx_usb_port *port = &list->ctrls[i].ports[j];

            printf("%u/%u: %s, %s\n", list->ctrls[i].devid, port->number,
                   port->path,
                   port->problem && *port->problem ? port->problem : "works");
        }
}

int main(int argc, char **argv)
{
    xlx_usb_binding binding;
    xlx_usb_entry entry;
    xlx_ctx *ctx = NULL;
    xlx_usb_ctrls list;
    xlx_guest guest;
    int rc;

    if (argc != 3) {
        fprintf(stderr, "usage: usb-attach GUEST SELECTOR\n");
        return 2;
    }
    xlx_guest_init(&guest);
    xlx_usb_entry_init(&entry);
    xlx_usb_ctrls_init(&list);
    xlx_usb_binding_init(&binding);
    binding.selector = argv[2];

    rc = xlx_ctx_alloc(&ctx, NULL, NULL);
    if (!rc)
        rc = xlx_guest_find(ctx, argv[1], NULL, &guest);
    if (!rc)
        rc = xlx_usb_attach(ctx, &guest, &binding, NULL, &entry);
    if (!rc)
        rc = xlx_usb_ctrl_list(ctx, &guest, &list);
    if (rc)
        fprintf(stderr, "%s\n", xlx_error_get());
    else
        show(&list);

    xlx_usb_ctrls_dispose(&list);
    xlx_usb_entry_dispose(&entry);
    xlx_guest_dispose(&guest);
    xlx_ctx_free(ctx);
    return rc ? 1 : 0;
}

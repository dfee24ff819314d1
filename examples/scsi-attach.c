/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attaches a SCSI device of the host to a guest, and shows what the guest has
 * then: scsi-attach GUEST PDEV VDEV
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxlx.h>

static void show(const xlx_device_vscsictrls *list)
{
    int i, j;

    for (i = 0; i < list->num_ctrls; i++)
        for (j = 0; j < list->ctrls[i].num_devs; j++) {
            const xlx_vscsi_info *info = &list->ctrls[i].devs[j];

            printf("%s: %s, %s\n", info->dev.vdev, info->dev.pdev,
                   info->problem && *info->problem ? info->problem : "works");
        }
}

int main(int argc, char **argv)
{
    xlx_device_vscsidevs devs, attached;
    xlx_device_vscsictrls list;
    xlx_device_vscsidev dev;
    xlx_ctx *ctx = NULL;
    xlx_guest guest;
    int rc;

    if (argc != 4) {
        fprintf(stderr, "usage: scsi-attach GUEST PDEV VDEV\n");
        return 2;
    }
    xlx_guest_init(&guest);
    xlx_device_vscsidev_init(&dev);
    xlx_device_vscsidevs_init(&attached);
    xlx_device_vscsictrls_init(&list);
    dev.pdev = argv[2];
    dev.vdev = argv[3];
    devs.devs = &dev;
    devs.num_devs = 1;

    rc = xlx_ctx_alloc(&ctx, NULL, NULL);
    if (!rc)
        rc = xlx_guest_find(ctx, argv[1], NULL, &guest);
    if (!rc)
        rc = xlx_device_vscsidev_add(ctx, &guest, &devs, NULL, &attached);
    if (!rc)
        rc = xlx_device_vscsictrl_list(ctx, &guest, &list);
    if (rc)
        fprintf(stderr, "%s\n", xlx_get_error());
    else
        show(&list);

    xlx_device_vscsictrls_dispose(&list);
    xlx_device_vscsidevs_dispose(&attached);
    xlx_guest_dispose(&guest);
    xlx_ctx_free(ctx);
    return rc ? 1 : 0;
}

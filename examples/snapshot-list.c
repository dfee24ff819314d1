/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lists the snapshots of every guest that has some.  Needs no Xen for guests
 * that are not running.
 *
 *     cc snapshot-list.c $(pkg-config --cflags --libs libxlx)
 */
#include <stdio.h>

#include <libxlx.h>

static const char *text(const char *s)
{
    return s ? s : "";              /* NULL is an empty string */
}

static int list(xlx_ctx *ctx, const xlx_guest *guest)
{
    xlx_snapshots all;
    int i, rc;

    rc = xlx_snapshot_list(ctx, guest, &all);
    for (i = 0; !rc && i < all.num_snapshots; i++)
        printf("%s\t%s\t%s\t%s\n", text(guest->name),
               text(all.snapshots[i].name),
               xlx_snapshot_kind_to_string(all.snapshots[i].kind),
               xlx_snapshot_status_to_string(all.snapshots[i].status));
    xlx_snapshots_dispose(&all);
    return rc;
}

int main(int argc, char **argv)
{
    xlx_ctx *ctx = NULL;
    xlx_guests known;
    int i, rc;

    (void)argc;
    xlx_guests_init(&known);
    rc = xlx_ctx_alloc(&ctx, NULL, NULL);
    if (rc) goto out;
    rc = xlx_guest_list(ctx, &known);
    if (rc) goto out;
    for (i = 0; i < known.num_guests; i++) {
        rc = list(ctx, &known.guests[i]);
        if (rc) goto out;
    }

 out:
    if (rc)
        fprintf(stderr, "%s: %s\n", argv[0], xlx_error_get());
    xlx_guests_dispose(&known);
    xlx_ctx_free(ctx);
    return rc ? 1 : 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots all disks of a guest, with its file systems in order if its agent
 * answers, and as they are if it has none.
 *
 *     cc snapshot-create.c $(pkg-config --cflags --libs libxlx)
 */
#include <stdio.h>
#include <string.h>

#include <libxlx.h>

int main(int argc, char **argv)
{
    xlx_ctx *ctx = NULL;
    xlx_guest guest;
    xlx_snapshot_spec spec;
    xlx_snapshot snapshot;
    int i, rc;

    if (argc != 3) {
        fprintf(stderr, "usage: %s DOMAIN NAME\n", argv[0]);
        return 2;
    }
    xlx_guest_init(&guest);
    xlx_snapshot_spec_init(&spec);
    xlx_snapshot_init(&snapshot);

    rc = xlx_ctx_alloc(&ctx, NULL, NULL);
    if (rc) goto out;
    rc = xlx_guest_find(ctx, argv[1], NULL, &guest);
    if (rc) goto out;

    spec.name = strdup(argv[2]);    /* dispose frees it */
    spec.quiesce = true;
    rc = xlx_snapshot_create(ctx, &guest, &spec, &snapshot);
    if (rc == ERROR_NOT_READY) {
        fprintf(stderr, "not quiesced: %s\n", xlx_error_get());
        spec.quiesce = false;
        rc = xlx_snapshot_create(ctx, &guest, &spec, &snapshot);
    }
    if (rc) goto out;

    printf("%s: %s\n", snapshot.name,
           xlx_snapshot_kind_to_string(snapshot.kind));
    for (i = 0; i < snapshot.num_disks; i++)
        printf("  %s: %s\n", snapshot.disks[i].vdev, snapshot.disks[i].image);

 out:
    if (rc)
        fprintf(stderr, "%s: %s\n", argv[0], xlx_error_get());
    xlx_snapshot_dispose(&snapshot);
    xlx_snapshot_spec_dispose(&spec);
    xlx_guest_dispose(&guest);
    xlx_ctx_free(ctx);
    return rc ? 1 : 0;
}

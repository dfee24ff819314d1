/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moves a disk of a running guest to a new file, and shows how far it is:
 * disk-move GUEST DISK FILE
 */
#include <stdio.h>
#include <stdlib.h>

#include <libxlx.h>

static int show(void *user, const xlx_job_progress *now)
{
    (void)user;
    fprintf(stderr, "%s: %llu of %llu bytes\n", now->what,
            (unsigned long long)now->done, (unsigned long long)now->total);
    return 0;                           /* go on */
}

/* All is copied when the job is ready; then the guest goes on in the copy. */
static int move(xlx_ctx *ctx, const xlx_guest *guest,
                const xlx_disk_move_spec *spec)
{
    const xlx_progress progress = { .callback = show };
    xlx_disk_job started, ready, moved;
    int rc;

    xlx_disk_job_init(&started);
    xlx_disk_job_init(&ready);
    xlx_disk_job_init(&moved);
    rc = xlx_disk_move(ctx, guest, spec, NULL, &started);
    if (!rc)
        rc = xlx_disk_job_wait(ctx, guest, spec->vdev, &progress, &ready);
    if (!rc)
        rc = xlx_disk_job_finish(ctx, guest, spec->vdev, &moved);
    if (!rc)
        printf("%s: from %s to %s\n", moved.vdev, moved.image, moved.target);
    xlx_disk_job_dispose(&moved);
    xlx_disk_job_dispose(&ready);
    xlx_disk_job_dispose(&started);
    return rc;
}

int main(int argc, char **argv)
{
    xlx_disk_move_spec spec;
    xlx_ctx *ctx = NULL;
    xlx_guest guest;
    int rc;

    if (argc != 4) {
        fprintf(stderr, "usage: disk-move GUEST DISK FILE\n");
        return 2;
    }
    xlx_guest_init(&guest);
    xlx_disk_move_spec_init(&spec);
    spec.vdev = argv[2];
    spec.target = argv[3];

    rc = xlx_ctx_alloc(&ctx, NULL, NULL);
    if (!rc)
        rc = xlx_guest_find(ctx, argv[1], NULL, &guest);
    if (!rc)
        rc = move(ctx, &guest, &spec);
    if (rc)
        fprintf(stderr, "%s\n", xlx_error_get());

    xlx_guest_dispose(&guest);
    xlx_ctx_free(ctx);
    return rc ? 1 : 0;
}

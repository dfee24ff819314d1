/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attaches a SCSI device of the host to a guest, and shows what has come of
 * it: scsi-attach GUEST PDEV VDEV
 */
#include <stdio.h>

#include <libxlx.h>

int main(int argc, char **argv)
{
    xlx_scsi_devs devs, attached;
    xlx_scsi_info info;
    xlx_scsi_dev dev;
    xlx_ctx *ctx = NULL;
    xlx_guest guest;
    int rc;

    if (argc != 4) {
        fprintf(stderr, "usage: scsi-attach GUEST PDEV VDEV\n");
        return 2;
    }
    xlx_guest_init(&guest);
    xlx_scsi_dev_init(&dev);
    xlx_scsi_devs_init(&attached);
    xlx_scsi_info_init(&info);
    dev.pdev = argv[2];
    dev.vdev = argv[3];
    devs.devs = &dev;
    devs.num_devs = 1;

    rc = xlx_ctx_alloc(&ctx, NULL, NULL);
    if (!rc)
        rc = xlx_guest_find(ctx, argv[1], NULL, &guest);
    if (!rc)
        rc = xlx_scsi_attach(ctx, &guest, &devs, NULL, &attached);
    if (!rc)
        rc = xlx_scsi_get(ctx, &guest, dev.vdev, &info);
    if (rc)
        fprintf(stderr, "%s\n", xlx_error_get());
    else
        printf("%s: %s, %s; the backend says %s, the guest %s\n",
               info.dev.vdev, info.path, info.target,
               xlx_xenbus_state_to_string(info.backend_state),
               xlx_xenbus_state_to_string(info.frontend_state));

    xlx_scsi_info_dispose(&info);
    xlx_scsi_devs_dispose(&attached);
    xlx_guest_dispose(&guest);
    xlx_ctx_free(ctx);
    return rc ? 1 : 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attaches a SCSI device of the host to a guest, and shows what has come of
 * it: scsi-attach GUEST PDEV VDEV
 */
#include <stdio.h>

#include <libxlx.h>

int main(int argc, char **argv)
{
    xlx_device_vscsidevs devs, attached;
    xlx_vscsi_info info;
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
    xlx_vscsi_info_init(&info);
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
        rc = xlx_device_vscsidev_getinfo(ctx, &guest, dev.vdev, &info);
    if (rc)
        fprintf(stderr, "%s\n", xlx_get_error());
    else
        printf("%s: %s, %s; the backend says %s, the guest %s\n",
               info.dev.vdev, info.path, info.target,
               xlx_xenbus_state_to_string(info.backend_state),
               xlx_xenbus_state_to_string(info.frontend_state));

    xlx_vscsi_info_dispose(&info);
    xlx_device_vscsidevs_dispose(&attached);
    xlx_guest_dispose(&guest);
    xlx_ctx_free(ctx);
    return rc ? 1 : 0;
}

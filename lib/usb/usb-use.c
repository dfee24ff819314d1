/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The users of a USB device, because of which a guest cannot have it:
 * lib/hostdev finds them, also by the disk, the serial line, the sound card
 * and so on that it is for this host.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernfs.h"
#include "core/xs.h"
#include "hostdev/hostdev-use.h"
#include "usb/usb.h"

static int read_tree(const xlx_usb_host_device *d,
                     struct xlx__hostdev_tree *tree)
{
    char *dir = xlx__printf("%s/bus/usb/devices/%s", xlx__sysfs_dir(),
                            d->path);
    int rc;

    memset(tree, 0, sizeof(*tree));
    rc = dir ? xlx__hostdev_tree_read(dir, tree) : xlx__nomem();
    free(dir);
    return rc;
}

int xlx__usb_disk_use(struct xlx__hostdev_world *world,
                      const xlx_usb_host_device *d, char **use_r)
{
    struct xlx__hostdev_tree tree;
    struct xlx__hostdev_question q = { .tree = &tree };
    int rc;

    rc = read_tree(d, &tree);
    if (!rc)
        rc = xlx__hostdev_guest_use(world, XLX__HOSTDEV_USB, &q, use_r);
    xlx__hostdev_tree_dispose(&tree);
    return rc;
}

int xlx__usb_host_use(struct xlx__hostdev_world *world,
                      const xlx_usb_host_device *d, pid_t own, bool patient,
                      char **use_r)
{
    struct xlx__hostdev_tree tree;
    struct xlx__hostdev_question q = {
        .tree = &tree, .own = own, .patient = patient,
    };
    int rc;

    rc = read_tree(d, &tree);
    if (!rc)
        rc = xlx__hostdev_host_use(world, &q, use_r);
    xlx__hostdev_tree_dispose(&tree);
    return rc;
}

/* The guest's QEMU may not have closed a device that it had until now. */
static pid_t own_qemu(xlx_ctx *ctx, const xlx_guest *guest)
{
    uint64_t pid = 0;
    char path[64];

    if (!guest || guest->domid == XLX_DOMID_NONE)
        return 0;
    snprintf(path, sizeof(path), "/local/domain/%u/image/device-model-pid",
             guest->domid);
    if (xlx__xs_read_uint(ctx, XBT_NULL, path, INT_MAX, &pid))
        xlx__error_clear();
    return (pid_t)pid;
}

int xlx__usb_check_host(xlx_ctx *ctx, struct xlx__hostdev_world *world,
                        const xlx_guest *guest, const xlx_usb_host_device *d)
{
    char *use = NULL;
    int rc;

    rc = xlx__usb_host_use(world, d, own_qemu(ctx, guest), true, &use);
    if (rc)
        xlx__error_prefix(rc, "%s: it is not known whether this host uses it "
                          "(--force attaches it all the same)", d->path);
    else if (use)
        rc = xlx__error(ERROR_DEVICE_EXISTS, "%s: this host uses it: %s; "
                        "--force attaches it all the same", d->path, use);
    free(use);
    return rc;
}

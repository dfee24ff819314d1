/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of this host that use a USB device: a mounted stick, or one that a
 * guest has as its disk, a network card that is up, a program that has it
 * open.  A guest that is given such a device takes it away from under them.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "disk/block.h"
#include "usb/usb.h"

#define IFF_UP 1                    /* linux/if.h; clashes with net/if.h */

/* Is the entry of a class in sysfs below the device?  It is a link to a
 * directory with the device's name in its path. */
static bool is_below(const char *class, const char *name,
                     const xlx_usb_host_device *d)
{
    char real[PATH_MAX], *path, *part;
    bool below;

    path = xlx__printf("%s/class/%s/%s", xlx__sysfs_dir(), class, name);
    part = xlx__printf("/%s/", d->path);
    below = path && part && realpath(path, real) && strstr(real, part);
    free(path);
    free(part);
    return below;
}

static int find_disk(xlx_ctx *ctx, const struct xlx__vbds *vbds,
                     const xlx_usb_host_device *d, char **use_r)
{
    char **names;
    int i, num, rc;

    rc = xlx__attr_list(&names, &num, NULL, "%s/class/block",
                        xlx__sysfs_dir());
    if (rc) return rc;
    for (i = 0; !rc && !*use_r && i < num; i++) {
        if (!is_below("block", names[i], d))
            continue;
        rc = xlx__block_use(names[i], use_r);
        if (!rc && !*use_r)
            rc = xlx__vbds_use_disk(ctx, vbds, names[i], false, use_r);
    }
    free(names);
    return rc;
}

static int find_network(const xlx_usb_host_device *d, char **use_r)
{
    char **names, *flags;
    uint64_t bits;
    int i, num, rc;

    rc = xlx__attr_list(&names, &num, NULL, "%s/class/net",
                        xlx__sysfs_dir());
    if (rc) return rc;
    for (i = 0; !rc && !*use_r && i < num; i++) {
        if (!is_below("net", names[i], d))
            continue;
        flags = xlx__attr_text("%s/class/net/%s/flags", xlx__sysfs_dir(),
                               names[i]);
        bits = 0;
        if (flags && xlx__parse_hex(flags, UINT32_MAX, &bits) &&
            bits & IFF_UP)
            *use_r = xlx__printf("its network card %s is up", names[i]);
        if (!flags || (bits & IFF_UP && !*use_r))
            rc = xlx__nomem();
        free(flags);
    }
    free(names);
    return rc;
}

/* usbfs: a program works with it, and QEMU could not. */
static int find_program(const xlx_usb_host_device *d, char **use_r)
{
    int i;

    for (i = 0; i < d->num_interfaces; i++)
        if (!strcmp(xlx__text(d->interfaces[i].driver), "usbfs")) {
            *use_r = xlx__printf("a program has its interface %s",
                                 d->interfaces[i].name);
            return *use_r ? 0 : xlx__nomem();
        }
    return 0;
}

int xlx__usb_host_use(xlx_ctx *ctx, const struct xlx__vbds *vbds,
                      const xlx_usb_host_device *d, char **use_r)
{
    char *use = NULL;
    int rc;

    rc = find_disk(ctx, vbds, d, &use);
    if (!rc && !use)
        rc = find_network(d, &use);
    if (!rc && !use)
        rc = find_program(d, &use);
    if (!rc && !use)
        rc = xlx__set_string(&use, "");
    if (rc) {
        free(use);
        return rc;
    }
    *use_r = use;
    return 0;
}

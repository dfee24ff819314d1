/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration that libxl keeps of a running domain, and from which
 * reboot, save, restore and migration build it again.  libxl-config.c alone
 * touches it, and nothing in it but the images of disks.
 */
#ifndef XLX_LIBXL_CONFIG_H
#define XLX_LIBXL_CONFIG_H

#include "core/internal.h"
#include "core/lock.h"

/* Can the disks of this domain be moved to other images?  ERROR_INVAL with
 * the reason when reboot or save would use the old ones all the same. */
int xlx__config_check(xlx_ctx *ctx, const xlx_guest *guest);

/* The image that a disk is on. */
struct xlx__config_image {
    const char *vdev;               /* name of the disk in the guest */
    const char *image;              /* absolute path */
    const char *format;             /* as QEMU calls it */
};

/* Has the domain's configuration name these images, and reads it back.  Disks
 * that are not among these stay as they are; one that the domain no longer
 * has is passed over. */
int xlx__config_set_images(xlx_ctx *ctx, const xlx_guest *guest,
                           const struct xlx__config_image *images, int num);

/* The lock under which libxl reads and writes it: xl does the former before it
 * destroys a domain that rebooted, so that no new one is made in that time. */
int xlx__config_lock(xlx_ctx *ctx, const xlx_guest *guest,
                     struct xlx__lock *lock);

/* Writing it is libxl's last step of making a domain. */
bool xlx__config_exists(libxl_ctx *xl, uint32_t domid);

/* Does xl start the guest again when it reboots (on_reboot)? */
int xlx__config_restarts(xlx_ctx *ctx, const xlx_guest *guest, bool *yes_r);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration that libxl keeps of a running domain, and from which
 * reboot, save, restore and migration build it again.  libxl-config.c alone
 * touches it, and nothing in it but the images of disks.
 */
#ifndef XLX_LIBXL_CONFIG_H
#define XLX_LIBXL_CONFIG_H

#include "core/internal.h"

/* Can the disks of this domain be moved to other images?  ERROR_INVAL with
 * the reason when reboot or save would use the old ones all the same. */
int xlx__config_check(xlx_ctx *ctx, const xlx_guest *guest);

/* Has the domain's configuration name these images, and reads it back.  Disks
 * that are not among these stay as they are; one that the domain no longer
 * has is passed over. */
int xlx__config_set_disks(xlx_ctx *ctx, const xlx_guest *guest,
                          const xlx_snapshot_disk *disks, int num);

/* Does xl start the guest again when it reboots (on_reboot)? */
int xlx__config_restarts(xlx_ctx *ctx, const xlx_guest *guest, bool *yes_r);

#endif

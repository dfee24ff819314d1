/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What other files need to know of a guest.  guest.c finds it.
 */
#ifndef XLX_GUEST_H
#define XLX_GUEST_H

#include "internal.h"

/* Does anything run it: a domain, or a QEMU without Xen? */
bool xlx__guest_running(const xlx_guest *guest);
/* Name or UUID, for messages. */
const char *xlx__guest_title(const xlx_guest *guest, char *buf, size_t size);

/* The number of the domain that runs it now, XLX_DOMID_NONE for none: also one
 * that did not run when it was found may have been started since. */
int xlx__guest_refresh(xlx_ctx *ctx, xlx_guest *guest);

/* Waits until another domain runs it, or none, than guest->domid says, which
 * is then set; ERROR_TIMEDOUT. */
int xlx__guest_wait(xlx_ctx *ctx, xlx_guest *guest, int64_t deadline);

/* Its name beside its records, so that it is found when nothing runs it. */
int xlx__guest_remember(xlx_ctx *ctx, const xlx_guest *guest);
/* Once nothing else is kept of it. */
int xlx__guest_forget(xlx_ctx *ctx, const xlx_guest *guest);

/* The name= and uuid= of a config file; *has_uuid_r: is there a uuid? */
int xlx__guest_config_identity(xlx_ctx *ctx, const char *path, char **name,
                               libxl_uuid *uuid, bool *has_uuid_r);
/* The disks of a config file; libxl_device_disk_list_free() them. */
int xlx__guest_config_disks(xlx_ctx *ctx, const char *path,
                            libxl_device_disk **disks_r, int *num_r);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All that other files need of a guest.  guest.c finds it, guest-adopt.c
 * its records, and guest-config.c reads config files.
 */
#ifndef XLX_GUEST_H
#define XLX_GUEST_H

#include "core/internal.h"

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

/* Its name next to its records, so that it is found when nothing runs it. */
int xlx__guest_remember(xlx_ctx *ctx, const xlx_guest *guest);
/* Once nothing else is kept of it. */
int xlx__guest_forget(xlx_ctx *ctx, const xlx_guest *guest);

/* All guests of which there are records, as those say. */
int xlx__guest_records(xlx_ctx *ctx, xlx_guests *list);
/* The domain with that UUID, or with that name when uuid is NULL;
 * ERROR_NOTFOUND when there is none. */
int xlx__guest_domain(xlx_ctx *ctx, const char *name, const libxl_uuid *uuid,
                      xlx_guest *guest);

/* ---- guest-adopt.c ------------------------------------------------------ */

/* Puts the disks that the domain has into the record; without Xen it has
 * none. */
int xlx__guest_record_disks(xlx_ctx *ctx, uint32_t domid,
                            xlx_guest_record *record);
/* Do the records under that UUID name one of these disks?  *any_r: is there
 * such a record at all? */
int xlx__guest_records_name(xlx_ctx *ctx, const libxl_uuid *uuid,
                            const libxl_device_disk *disks, int num,
                            bool *any_r, bool *yes_r);
/* A guest that runs takes over the records of the one that it is. */
int xlx__guest_adopt(xlx_ctx *ctx, const xlx_guest *guest);
/* The same for all that run: another tool may have started them, at the boot
 * of the host for instance, with new UUIDs. */
int xlx__guest_adopt_running(xlx_ctx *ctx);
/* A name is not an identity: two guests may have it.  A guest without a uuid=
 * is the known one of its name whose records name one of its disks, or which
 * has no records of disks; otherwise it gets a UUID now, which the records and
 * the command that starts it then carry on. */
int xlx__guest_by_disks(xlx_ctx *ctx, const libxl_device_disk *disks, int num,
                        xlx_guest *guest);

/* ---- guest-config.c ----------------------------------------------------- */

/* The name= and uuid= of a config file; *has_uuid_r: is there a uuid? */
int xlx__guest_config_identity(xlx_ctx *ctx, const char *path, char **name,
                               libxl_uuid *uuid, bool *has_uuid_r);
/* The disks of a config file; libxl_device_disk_list_free() them. */
int xlx__guest_config_disks(xlx_ctx *ctx, const char *path,
                            libxl_device_disk **disks_r, int *num_r);

#endif

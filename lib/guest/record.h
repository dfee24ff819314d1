/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest's records: files of the store (store.h) that begin with a version,
 * kept under the guest's name so that they are found when nothing runs it.
 */
#ifndef XLX_RECORD_H
#define XLX_RECORD_H

#include "core/internal.h"
#include "core/lock.h"

/* A member that must be there, and not empty: the code does not ask again. */
struct xlx__record_member {
    const char *name;               /* "a", "a.b", "a[].b"; NULL ends */
    bool is_path;                   /* absolute */
};

struct xlx__record_kind {
    const char *file;
    unsigned int version;           /* the newest that we know */
    const struct xlx__record_member *members;       /* or NULL */
    /* Does the guest's record of this kind name one of the disks?  *any_r:
     * there is one.  The results are set to true and never to false.  NULL for
     * a kind that names no images. */
    int (*names_image)(xlx_ctx *ctx, const libxl_uuid *uuid,
                       const libxl_device_disk *disks, int num, bool *any_r,
                       bool *yes_r);
};

/* *doc_r is NULL when there is none, else the caller's to free.  ERROR_INVAL
 * with the file and the member for one that lacks something. */
int xlx__record_read(xlx_ctx *ctx, const libxl_uuid *uuid,
                     const struct xlx__record_kind *kind,
                     struct xlx__json_doc **doc_r);
/* Writes what was generated into out, which is freed.  Without memory out is
 * NULL: that fails, and the record stays as it was. */
int xlx__record_write(xlx_ctx *ctx, const xlx_guest *guest,
                      const struct xlx__record_kind *kind,
                      struct xlx__json_out *out);
/* Removes it, and the name when nothing else is kept of the guest. */
int xlx__record_remove(xlx_ctx *ctx, const xlx_guest *guest,
                       const struct xlx__record_kind *kind);
/* For a change to a guest's devices: its lock, for which a watcher that looks
 * at it just now is waited, and the guest as it is then.  self is initialised;
 * unlock and dispose of it also after a failure. */
int xlx__record_lock(xlx_ctx *ctx, const xlx_guest *guest,
                     struct xlx__lock *lock, xlx_guest *self);

#endif

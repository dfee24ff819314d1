/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest's records: files of the store (store.h) that begin with a version,
 * kept under the guest's name so that they are found when nothing runs it.
 */
#ifndef XLX_RECORD_H
#define XLX_RECORD_H

#include "internal.h"
#include "lock.h"

/* *doc_r is NULL when there is none, else the caller's to free. */
int xlx__record_read(xlx_ctx *ctx, const libxl_uuid *uuid, const char *file,
                     unsigned int max_version, struct xlx__json_doc **doc_r);
/* Writes what was generated into out, which is freed; NULL: removes it, and
 * the name when nothing else is kept of the guest. */
int xlx__record_write(xlx_ctx *ctx, const xlx_guest *guest, const char *file,
                      struct xlx__json_out *out);
/* For a change to a guest's devices: its lock, for which a watcher that looks
 * at it just now is waited, and the guest as it is then.  self is initialised;
 * unlock and dispose of it also after a failure. */
int xlx__record_lock(xlx_ctx *ctx, const xlx_guest *guest,
                     struct xlx__lock *lock, xlx_guest *self);

#endif

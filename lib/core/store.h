/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Durable state: small JSON files, one directory a guest by UUID below
 * ctx->state_dir.  store.c alone writes there.  A file is replaced as a whole
 * (temporary file, fsync, rename, fsync of the directory): after a crash
 * either the old or the new text is there.  An empty directory is removed.
 * Writers hold xlx__lock_guest; readers need no lock.
 */
#ifndef XLX_STORE_H
#define XLX_STORE_H

#include "core/internal.h"

/* ERROR_NOTFOUND when there is none, ERROR_INVAL with path and place when it
 * is not JSON, ERROR_VERSION when its "version" is above max_version. */
int xlx__store_read(xlx_ctx *ctx, const libxl_uuid *uuid, const char *file,
                    unsigned int max_version, struct xlx__json_doc **doc_r);
/* When it was written, in nanoseconds since 1970.  ERROR_NOTFOUND. */
int xlx__store_time(xlx_ctx *ctx, const libxl_uuid *uuid, const char *file,
                    int64_t *time_r);
int xlx__store_write(xlx_ctx *ctx, const libxl_uuid *uuid, const char *file,
                     const char *text, size_t len);
/* Removing a file that is not there is not an error. */
int xlx__store_remove(xlx_ctx *ctx, const libxl_uuid *uuid, const char *file);
/* Is anything but that file kept of the guest? */
bool xlx__store_keeps_other(xlx_ctx *ctx, const libxl_uuid *uuid,
                            const char *file);
/* Removes what killed writers left: temporary files, and a directory with
 * nothing else in it. */
int xlx__store_tidy(xlx_ctx *ctx, const libxl_uuid *uuid);
/* The guests of which anything is kept; free() *uuids_r. */
int xlx__store_guests(xlx_ctx *ctx, libxl_uuid **uuids_r, int *num_r);
/* Moves all that is kept of a guest to a new UUID, in one step. */
int xlx__store_adopt(xlx_ctx *ctx, const libxl_uuid *from,
                     const libxl_uuid *to);
/* fsync of a file or directory that somebody else wrote. */
int xlx__store_sync(const char *path);

/* A named point at which a test may kill the process (SIGKILL):
 * LIBXLX_FAULT=NAME or NAME:N for the Nth time.  Compiled in only with
 * --enable-fault-points. */
#ifdef XLX_FAULT_POINTS
void xlx__fault(const char *point);
#else
static inline void xlx__fault(const char *point) { (void)point; }
#endif

#endif

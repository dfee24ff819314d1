/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * flock(2) locks: ours, one a guest and one for the host, and libxl's own,
 * taken exactly as libxl takes them.  A lock goes with the process that holds
 * it, so nothing has to be cleaned up after a kill.  A lock that somebody else
 * holds, at once or until the deadline, is ERROR_LOCK_FAIL, and the message
 * names the holder.
 */
#ifndef XLX_LOCK_H
#define XLX_LOCK_H

#include "core/internal.h"

struct xlx__lock {
    int fd;                         /* -1 when not held */
    char *path;                     /* set only if release must unlink it */
};
#define XLX__LOCK_NONE { .fd = -1, .path = NULL }

/* For every change to what we keep of a guest.  Does not wait. */
int xlx__lock_guest(xlx_ctx *ctx, const libxl_uuid *uuid,
                    struct xlx__lock *lock);
int xlx__lock_guest_until(xlx_ctx *ctx, const libxl_uuid *uuid,
                          int64_t deadline, struct xlx__lock *lock);
/* For what is exclusive on the host; waits up to five seconds. */
int xlx__lock_host(xlx_ctx *ctx, const char *what, struct xlx__lock *lock);

/* One of libxl's per-domain locks ("qmp-socket-lock",
 * "libxl-device-changes-lock"): libxl's file, libxl's protocol (flock, then
 * compare the inode; unlink before release).  Never call libxl while holding
 * one that it takes.  ERROR_DOMAIN_NOTFOUND if the domain has gone since. */
int xlx__lock_libxl(xlx_ctx *ctx, uint32_t domid, const libxl_uuid *uuid,
                    const char *name, int64_t deadline,
                    struct xlx__lock *lock);

/* libxl's protocol on any path; the directory must be there. */
int xlx__lock_file(const char *path, int64_t deadline,
                   struct xlx__lock *lock);

void xlx__unlock(struct xlx__lock *lock);   /* no-op when not held */

#endif

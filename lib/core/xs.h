/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Xenstore.  xs.c alone speaks to it.  Values that a guest can write are
 * untrusted: read them through the typed functions, which parse to the end
 * and bound the size.
 */
#ifndef XLX_XS_H
#define XLX_XS_H

#include <xenstore.h>

#include "core/internal.h"

/* Calls step(ctx, t, user), which reads and writes in transaction t, and makes
 * its writes happen at once; again when somebody else wrote there at the same
 * time, so step must not keep anything of an earlier call.  A negative code
 * from step takes back its writes; any other value is returned. */
int xlx__xs_transact(xlx_ctx *ctx,
                     int (*step)(xlx_ctx *ctx, xs_transaction_t t, void *user),
                     void *user);

/* *value_r is the caller's; ERROR_NOTFOUND when there is no such node.  A
 * value with a NUL inside or over 64 KiB is ERROR_INVAL. */
int xlx__xs_read(xlx_ctx *ctx, xs_transaction_t t, const char *path,
                 char **value_r);
int xlx__xs_read_uint(xlx_ctx *ctx, xs_transaction_t t, const char *path,
                      uint64_t max, uint64_t *value_r);
int xlx__xs_write(xlx_ctx *ctx, xs_transaction_t t, const char *path,
                  const char *value);
int xlx__xs_mkdir(xlx_ctx *ctx, xs_transaction_t t, const char *path,
                  const struct xs_permissions *perms, unsigned int num_perms);
int xlx__xs_remove(xlx_ctx *ctx, xs_transaction_t t, const char *path);
/* Names below path, *num_r of them and a NULL; free() the one block. */
int xlx__xs_list(xlx_ctx *ctx, xs_transaction_t t, const char *path,
                 char ***names_r, unsigned int *num_r);
/* Those of the names below path that are numbers, such as domids, in order;
 * none when there is no such node.  *numbers_r is the caller's to free. */
int xlx__xs_list_numbers(xlx_ctx *ctx, const char *path, uint32_t **numbers_r,
                         int *num_r);

/* Calls check(user) at once, whenever something at or below path changes, and
 * every second in any case, until it returns non-zero: 1 for done (rc 0), a
 * negative code to give up.  ERROR_TIMEDOUT after the deadline
 * (xlx__now_ms).  check must not wait itself. */
int xlx__xs_wait(xlx_ctx *ctx, const char *path, int64_t deadline,
                 int (*check)(void *user), void *user);

/* ctx.c's use alone */
void xlx__xs_close(xlx_ctx *ctx);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading and writing a guest's records; see record.h.
 */
#include <stdlib.h>

#include "guest.h"
#include "record.h"
#include "store.h"

#define LOCK_MS 20000               /* its watcher may be attaching */

int xlx__record_read(xlx_ctx *ctx, const libxl_uuid *uuid, const char *file,
                     unsigned int max_version, struct xlx__json_doc **doc_r)
{
    int rc;

    *doc_r = NULL;
    rc = xlx__store_read(ctx, uuid, file, max_version, doc_r);
    if (rc != ERROR_NOTFOUND)
        return rc;
    xlx__error_clear();
    return 0;
}

int xlx__record_write(xlx_ctx *ctx, const xlx_guest *guest, const char *file,
                      struct xlx__json_out *out)
{
    char *text = NULL;
    size_t len;
    int rc;

    if (!out) {
        rc = xlx__store_remove(ctx, &guest->uuid, file);
        return rc ? rc : xlx__guest_forget(ctx, guest);
    }
    rc = xlx__json_out_finish(out, &text, &len);
    if (rc) return rc;
    /* the name first: a record that no name leads to would be lost */
    rc = xlx__guest_remember(ctx, guest);
    if (!rc)
        rc = xlx__store_write(ctx, &guest->uuid, file, text, len);
    free(text);
    return rc;
}

int xlx__record_lock(xlx_ctx *ctx, const xlx_guest *guest,
                     struct xlx__lock *lock, xlx_guest *self)
{
    int rc;

    rc = xlx_guest_copy(ctx, self, guest);
    if (rc) return rc;
    rc = xlx__lock_guest_until(ctx, &guest->uuid, xlx__now_ms() + LOCK_MS,
                               lock);
    return rc ? rc : xlx__guest_refresh(ctx, self);
}

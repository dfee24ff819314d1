/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading and writing a guest's records; see record.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/store.h"
#include "gen-records.h"
#include "guest/guest.h"

#define LOCK_MS 30000               /* its watcher may be attaching */

/* ---- what must be there ------------------------------------------------ */

static int wrong(const struct xlx__json *v, const char *what)
{
    return xlx__json_error(v, ERROR_INVAL, "%s: libxlx does not write it like "
                           "that; correct it, or put a copy of the file back",
                           what);
}

static int check_value(const struct xlx__json *v, bool is_path)
{
    const char *text;
    int rc;

    rc = xlx__json_string(v, &text);
    if (rc) return rc;
    if (!*text)
        return wrong(v, "is empty");
    return is_path && *text != '/' ? wrong(v, "is not an absolute path") : 0;
}

/* The member may be "name", "object.name" or "array[].name".  An array that
 * is not there is an empty one. */
static int check_member(const struct xlx__json *v, const char *member,
                        bool is_path)
{
    const struct xlx__json *child;
    char name[32], what[64];
    size_t len;
    int rc = 0;

    if (!*member)
        return check_value(v, is_path);
    if (!strncmp(member, "[]", 2)) {
        member += member[2] == '.' ? 3 : 2;
        for (child = xlx__json_first(v); child && !rc;
             child = xlx__json_next(child))
            rc = check_member(child, member, is_path);
        return rc;
    }
    len = strcspn(member, ".[");
    snprintf(name, sizeof(name), "%.*s", (int)len, member);
    child = xlx__json_member(v, name);
    member += len;
    if (child)
        return check_member(child, member + (*member == '.'), is_path);
    if (*member == '[')
        return 0;
    snprintf(what, sizeof(what), "has no \"%s\"", name);
    return wrong(v, what);
}

static int check_record(const struct xlx__record_kind *kind,
                        const struct xlx__json_doc *doc)
{
    const struct xlx__record_member *m;
    int rc = 0;

    for (m = kind->members; m && m->name && !rc; m++)
        rc = check_member(xlx__json_root(doc), m->name, m->is_path);
    return rc;
}

/* ---- reading and writing ----------------------------------------------- */

int xlx__record_read(xlx_ctx *ctx, const libxl_uuid *uuid,
                     const struct xlx__record_kind *kind,
                     struct xlx__json_doc **doc_r)
{
    struct xlx__json_doc *doc = NULL;
    int rc;

    *doc_r = NULL;
    rc = xlx__store_read(ctx, uuid, kind->file, kind->version, &doc);
    if (rc) return xlx__forgive(rc, ERROR_NOTFOUND);
    rc = check_record(kind, doc);
    if (rc) {
        xlx__json_free(doc);
        return rc;
    }
    *doc_r = doc;
    return 0;
}

int xlx__record_write(xlx_ctx *ctx, const xlx_guest *guest,
                      const struct xlx__record_kind *kind,
                      struct xlx__json_out *out)
{
    char *text = NULL;
    size_t len;
    int rc;

    rc = xlx__json_out_finish(out, &text, &len);
    if (rc) return rc;
    /* the name first: a record that no name leads to would be lost */
    if (kind != &xlx__record_kinds[XLX__RECORD_GUEST_RECORD]) {
        rc = xlx__guest_remember(ctx, guest);
        if (rc) goto out;
    }
    rc = xlx__store_write(ctx, &guest->uuid, kind->file, text, len);

 out:
    free(text);
    return rc;
}

int xlx__record_remove(xlx_ctx *ctx, const xlx_guest *guest,
                       const struct xlx__record_kind *kind)
{
    int rc;

    rc = xlx__store_remove(ctx, &guest->uuid, kind->file);
    return rc ? rc : xlx__guest_forget(ctx, guest);
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

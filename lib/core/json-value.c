/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The values of a JSON document: the way through them, and reading them with
 * their type and range checked.  The message of a wrong one says where it is.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json-value.h"

#define PATH_SIZE 256

static const struct xlx__json *behind(const struct xlx__json *v, size_t n)
{
    return (const struct xlx__json *)((const char *)v + n);
}

static const struct xlx__json *before(const struct xlx__json *v, size_t n)
{
    return (const struct xlx__json *)((const char *)v - n);
}

static const struct xlx__json *parent_of(const struct xlx__json *v)
{
    return v->up ? before(v, v->up) : NULL;
}

static const char *text_of(const struct xlx__json *v)
{
    return (const char *)(v + 1);
}

/* ---- the way through a document ----------------------------------------- */

const struct xlx__json *xlx__json_root(const struct xlx__json_doc *doc)
{
    return (const struct xlx__json *)(doc + 1);
}

enum xlx__json_kind xlx__json_kind(const struct xlx__json *v)
{
    return v->kind;
}

const struct xlx__json *xlx__json_first(const struct xlx__json *container)
{
    uint32_t distance;

    if (!xlx__json_count(container))
        return NULL;
    memcpy(&distance, container + 1, sizeof(distance));
    return behind(container, distance);
}

const struct xlx__json *xlx__json_next(const struct xlx__json *v)
{
    return v->next ? behind(v, v->next) : NULL;
}

const char *xlx__json_key(const struct xlx__json *member)
{
    return member->key ? (const char *)member - member->key : NULL;
}

unsigned int xlx__json_count(const struct xlx__json *container)
{
    if (container->kind != XLX__JSON_ARRAY &&
        container->kind != XLX__JSON_OBJECT)
        return 0;
    return container->count;
}

const struct xlx__json *xlx__json_member(const struct xlx__json *obj,
                                         const char *key)
{
    const struct xlx__json *v;

    if (obj->kind != XLX__JSON_OBJECT)
        return NULL;
    for (v = xlx__json_first(obj); v; v = xlx__json_next(v))
        if (!strcmp(xlx__json_key(v), key))
            return v;
    return NULL;
}

/* ---- the way to a value, for messages ----------------------------------- */

static bool is_plain(const char *key)
{
    return key[0] && !key[strspn(key, "abcdefghijklmnopqrstuvwxyz"
                                      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789_-")];
}

/* "disks[2].format", written from its end; what is too long loses its
 * beginning.  Returns where in path it begins. */
static const char *path_of(const struct xlx__json *v, char path[PATH_SIZE])
{
    const struct xlx__json *up, *child;
    const char *key;
    char step[PATH_SIZE];
    size_t at = PATH_SIZE - 1, len;
    unsigned int i;

    path[at] = '\0';
    for (; (up = parent_of(v)); v = up) {
        key = xlx__json_key(v);
        if (key) {
            if (is_plain(key))
                snprintf(step, sizeof(step), "%s%s", up->up ? "." : "", key);
            else
                snprintf(step, sizeof(step), "[\"%s\"]", key);
        } else {
            i = 0;
            for (child = xlx__json_first(up); child != v;
                 child = xlx__json_next(child))
                i++;
            snprintf(step, sizeof(step), "[%u]", i);
        }
        len = strlen(step);
        if (len + 3 > at) {
            at -= 3;
            memcpy(path + at, "...", 3);
            break;
        }
        at -= len;
        memcpy(path + at, step, len);
    }
    return path + at;
}

int xlx__json_prefix(const char *what, const struct xlx__json *v, int rc)
{
    char path[PATH_SIZE];
    const char *from = path_of(v, path);

    if (*from)
        return xlx__error_prefix(rc, "%s: %s", what, from);
    return xlx__error_prefix(rc, "%s", what);
}

static const char *source_of(const struct xlx__json *v)
{
    const struct xlx__json_doc *doc;

    while (v->up)
        v = parent_of(v);
    doc = (const struct xlx__json_doc *)v - 1;
    return (const char *)doc + doc->what;
}

int xlx__json_error(const struct xlx__json *v, int rc, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    xlx__verror(rc, fmt, ap);
    va_end(ap);
    return xlx__json_prefix(source_of(v), v, rc);
}

/* ---- typed reading ------------------------------------------------------ */

static const char *const kind_names[] = {
    [XLX__JSON_NULL] = "null",
    [XLX__JSON_BOOL] = "true or false",
    [XLX__JSON_INTEGER] = "an integer",
    [XLX__JSON_NUMBER] = "a number",
    [XLX__JSON_STRING] = "a string",
    [XLX__JSON_ARRAY] = "an array",
    [XLX__JSON_OBJECT] = "an object",
};

int xlx__json_expect(const struct xlx__json *v, enum xlx__json_kind kind)
{
    if (v->kind != kind)
        return xlx__json_error(v, ERROR_INVAL, "must be %s",
                               kind_names[kind]);
    return 0;
}

int xlx__json_string(const struct xlx__json *v, const char **s_r)
{
    int rc;

    rc = xlx__json_expect(v, XLX__JSON_STRING);
    if (rc) return rc;
    *s_r = text_of(v);
    return 0;
}

int xlx__json_bool(const struct xlx__json *v, bool *b_r)
{
    int rc;

    rc = xlx__json_expect(v, XLX__JSON_BOOL);
    if (rc) return rc;
    *b_r = v->count;
    return 0;
}

int xlx__json_int64(const struct xlx__json *v, int64_t min, int64_t max,
                    int64_t *i_r)
{
    intmax_t i = 0;

    errno = 0;
    if (v->kind == XLX__JSON_INTEGER)
        i = strtoimax(text_of(v), NULL, 10);
    if (v->kind != XLX__JSON_INTEGER || errno || i < min || i > max)
        return xlx__json_error(v, ERROR_INVAL,
                               "must be an integer from %" PRId64 " to %"
                               PRId64, min, max);
    *i_r = i;
    return 0;
}

int xlx__json_uint64(const struct xlx__json *v, uint64_t max, uint64_t *u_r)
{
    uintmax_t u = 0;

    /* strtoumax takes "-1" for a large number. */
    errno = 0;
    if (v->kind == XLX__JSON_INTEGER)
        u = strtoumax(text_of(v), NULL, 10);
    if (v->kind != XLX__JSON_INTEGER || errno || u > max ||
        (u && text_of(v)[0] == '-'))
        return xlx__json_error(v, ERROR_INVAL,
                               "must be an integer from 0 to %" PRIu64, max);
    *u_r = u;
    return 0;
}

static int need_member(const struct xlx__json *obj, const char *key,
                       const struct xlx__json **v_r)
{
    int rc;

    rc = xlx__json_expect(obj, XLX__JSON_OBJECT);
    if (rc) return rc;
    *v_r = xlx__json_member(obj, key);
    if (!*v_r)
        return xlx__json_error(obj, ERROR_INVAL, "\"%s\" is missing", key);
    return 0;
}

int xlx__json_member_string(const struct xlx__json *obj, const char *key,
                            const char **s_r)
{
    const struct xlx__json *v;
    int rc;

    rc = need_member(obj, key, &v);
    if (rc) return rc;
    return xlx__json_string(v, s_r);
}

int xlx__json_member_bool(const struct xlx__json *obj, const char *key,
                          bool *b_r)
{
    const struct xlx__json *v;
    int rc;

    rc = need_member(obj, key, &v);
    if (rc) return rc;
    return xlx__json_bool(v, b_r);
}

int xlx__json_member_int64(const struct xlx__json *obj, const char *key,
                           int64_t *i_r)
{
    const struct xlx__json *v;
    int rc;

    rc = need_member(obj, key, &v);
    if (rc) return rc;
    return xlx__json_int64(v, INT64_MIN, INT64_MAX, i_r);
}

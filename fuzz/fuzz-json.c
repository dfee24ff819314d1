/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes the JSON reader.  Whatever it accepts is walked by every function,
 * written again and read again: both documents must be the same.
 */
#include <stdlib.h>
#include <string.h>

#include "core/internal.h"
#include "fuzz.h"

/* It also says where in the input. */
static void check_place(void)
{
    check_message();
    if (strncmp(xlx_error_get(), "fuzz", 4))
        abort();
}

static void copy(const struct xlx__json *v, struct xlx__json_out *o);

static void copy_children(const struct xlx__json *v, struct xlx__json_out *o)
{
    const struct xlx__json *child;
    const char *key;

    for (child = xlx__json_first(v); child; child = xlx__json_next(child)) {
        key = xlx__json_key(child);
        if (!key != (xlx__json_kind(v) == XLX__JSON_ARRAY))
            abort();
        if (key) {
            if (xlx__json_member(v, key) != child)
                abort();
            xlx__json_out_key(o, key);
        }
        copy(child, o);
    }
    xlx__json_out_end(o);
}

/* A number that is out of range, or not an integer, has no writer: null in its
 * place. */
static void copy_number(const struct xlx__json *v, struct xlx__json_out *o)
{
    uint64_t u;
    int64_t i;

    if (!xlx__json_int64(v, INT64_MIN, INT64_MAX, &i)) {
        xlx__json_out_int64(o, i);
    } else if (!xlx__json_uint64(v, UINT64_MAX, &u)) {
        xlx__json_out_uint64(o, u);
    } else {
        check_place();
        xlx__json_out_null(o);
    }
}

static void copy(const struct xlx__json *v, struct xlx__json_out *o)
{
    const char *s;
    bool b;

    switch (xlx__json_kind(v)) {
    case XLX__JSON_NULL:
        xlx__json_out_null(o);
        return;
    case XLX__JSON_BOOL:
        if (xlx__json_bool(v, &b))
            abort();
        xlx__json_out_bool(o, b);
        return;
    case XLX__JSON_INTEGER:
    case XLX__JSON_NUMBER:
        copy_number(v, o);
        return;
    case XLX__JSON_STRING:
        if (xlx__json_string(v, &s))
            abort();
        xlx__json_out_string(o, s);
        return;
    case XLX__JSON_ARRAY:
        xlx__json_out_array(o);
        copy_children(v, o);
        return;
    case XLX__JSON_OBJECT:
        xlx__json_out_object(o);
        copy_children(v, o);
        return;
    }
}

static char *write_again(const struct xlx__json_doc *doc, bool pretty,
                         size_t *len_r)
{
    struct xlx__json_out *o = xlx__json_out_new(pretty);
    char *text;

    copy(xlx__json_root(doc), o);
    if (xlx__json_out_finish(o, &text, len_r))
        abort();
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct xlx__json_limits limits = { 1 << 16, 16 };
    const struct xlx__json_limits wide = { 1 << 20, 16 };
    struct xlx__json_doc *doc, *again;
    char *pretty, *compact, *compact_again;
    size_t len, compact_len;

    if (xlx__json_parse("fuzz", (const char *)data, size, &limits, &doc)) {
        check_place();
        return 0;
    }
    pretty = write_again(doc, true, &len);
    compact = write_again(doc, false, &compact_len);
    if (xlx__json_parse("fuzz", pretty, len, &wide, &again))
        abort();
    compact_again = write_again(again, false, &len);
    if (len != compact_len || memcmp(compact, compact_again, len))
        abort();
    xlx__json_free(doc);
    xlx__json_free(again);
    free(pretty);
    free(compact);
    free(compact_again);
    return 0;
}

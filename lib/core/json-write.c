/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON, written: text put together in a growing buffer.  yajl's generator is
 * not used: it writes ill-formed UTF-8, does not look whether it got memory,
 * and puts a blank line into an empty object.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/internal.h"

#define MAX_DEPTH 128

struct xlx__json_out {
    bool pretty, after_key;
    int rc;                             /* the first error, and why */
    char why[128];
    char *text;
    size_t len, size;
    unsigned int depth;
    struct {
        char close;                     /* '}' or ']' */
        bool filled;
    } open[MAX_DEPTH];
};

/* Given out when there is no memory, so that NULL is free to mean "no
 * value" to those who take one.  It is never written to: it has failed. */
static struct xlx__json_out no_memory = {
    .rc = ERROR_NOMEM, .why = "out of memory",
};

struct xlx__json_out *xlx__json_out_new(bool pretty)
{
    struct xlx__json_out *o = calloc(1, sizeof(*o));

    if (!o)
        return &no_memory;
    o->pretty = pretty;
    return o;
}

void xlx__json_out_free(struct xlx__json_out *o)
{
    if (!o || o == &no_memory)
        return;
    free(o->text);
    free(o);
}

static void fail(struct xlx__json_out *o, int rc, const char *why,
                 const char *value)
{
    if (o->rc)
        return;
    o->rc = rc;
    snprintf(o->why, sizeof(o->why), "%s%.80s", why, value);
}

/* len bytes, and room for a NUL. */
static void put(struct xlx__json_out *o, const char *s, size_t len)
{
    size_t size = o->size ? o->size : 256;
    char *bigger;

    if (o->rc)
        return;
    while (size - o->len <= len)
        size *= 2;
    if (size != o->size) {
        bigger = realloc(o->text, size);
        if (!bigger) {
            fail(o, ERROR_NOMEM, "out of memory", "");
            return;
        }
        o->text = bigger;
        o->size = size;
    }
    memcpy(o->text + o->len, s, len);
    o->len += len;
}

static void put_newline(struct xlx__json_out *o)
{
    unsigned int i;

    if (!o->pretty)
        return;
    put(o, "\n", 1);
    for (i = 0; i < o->depth; i++)
        put(o, "  ", 2);
}

/* Writes what belongs between the value before and the next one. */
static void put_separator(struct xlx__json_out *o)
{
    if (o->after_key) {
        o->after_key = false;
        return;
    }
    if (!o->depth) {
        assert(!o->len);                /* one value a text */
        return;
    }
    if (o->open[o->depth - 1].filled)
        put(o, ",", 1);
    o->open[o->depth - 1].filled = true;
    put_newline(o);
}

static void put_value(struct xlx__json_out *o, const char *s)
{
    if (!o || o->rc)
        return;
    assert(o->after_key || !o->depth || o->open[o->depth - 1].close == ']');
    put_separator(o);
    put(o, s, strlen(s));
}

/* A character that a terminal would obey, or that turns the text around it
 * about, is written as a code: the rest of C0, DEL, C1, and Unicode's marks of
 * direction.  s is well-formed; *len_r is how much of it that is. */
static bool is_control(const char *s, unsigned int *code_r, size_t *len_r)
{
    const unsigned char *u = (const unsigned char *)s;
    unsigned int c = *u;

    *len_r = 1;
    if (c >= 0xc0 && c < 0xe0) {
        c = (c & 0x1f) << 6 | (u[1] & 0x3f);
        *len_r = 2;
    } else if (c >= 0xe0 && c < 0xf0) {
        c = (c & 0xf) << 12 | (u[1] & 0x3f) << 6 | (u[2] & 0x3f);
        *len_r = 3;
    } else if (c >= 0xf0) {
        *len_r = 4;                 /* none of those is one */
    }
    *code_r = c;
    return c < 0x20 || (c >= 0x7f && c < 0xa0 && *u < 0xe0) || c == 0x61c ||
           c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

static void put_quoted(struct xlx__json_out *o, const char *s)
{
    static const char special[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    size_t len = strlen(s), i, from = 0, n;
    const char *found;
    unsigned int c;
    char code[8];

    if (xlx__utf8_valid(s, len) != len) {
        fail(o, ERROR_INVAL, "cannot be written as JSON, not UTF-8: ", s);
        return;
    }
    put(o, "\"", 1);
    for (i = 0; i < len; i += n) {
        if (!is_control(s + i, &c, &n) && s[i] != '"' && s[i] != '\\')
            continue;
        put(o, s + from, i - from);
        from = i + n;
        found = strchr(special, s[i]);
        if (found)
            snprintf(code, sizeof(code), "\\%c", letter[found - special]);
        else
            snprintf(code, sizeof(code), "\\u%04x", c & 0xffff);
        put(o, code, strlen(code));
    }
    put(o, s + from, len - from);
    put(o, "\"", 1);
}

static void open_container(struct xlx__json_out *o, const char *bracket,
                           char close)
{
    put_value(o, bracket);
    if (!o || o->rc)
        return;
    if (o->depth == MAX_DEPTH) {
        fail(o, ERROR_INVAL, "cannot be written as JSON: nested too deeply",
             "");
        return;
    }
    o->open[o->depth].close = close;
    o->open[o->depth].filled = false;
    o->depth++;
}

void xlx__json_out_object(struct xlx__json_out *o)
{
    open_container(o, "{", '}');
}

void xlx__json_out_array(struct xlx__json_out *o)
{
    open_container(o, "[", ']');
}

void xlx__json_out_end(struct xlx__json_out *o)
{
    if (!o || o->rc)
        return;
    assert(o->depth && !o->after_key);
    o->depth--;
    if (o->open[o->depth].filled)
        put_newline(o);
    put(o, &o->open[o->depth].close, 1);
}

void xlx__json_out_key(struct xlx__json_out *o, const char *key)
{
    if (!o || o->rc)
        return;
    assert(o->depth && o->open[o->depth - 1].close == '}' && !o->after_key);
    put_separator(o);
    put_quoted(o, key);
    put(o, ": ", o->pretty ? 2 : 1);
    o->after_key = true;
}

void xlx__json_out_string(struct xlx__json_out *o, const char *s)
{
    put_value(o, "");
    if (o && !o->rc)
        put_quoted(o, s);
}

void xlx__json_out_bool(struct xlx__json_out *o, bool b)
{
    put_value(o, b ? "true" : "false");
}

void xlx__json_out_int64(struct xlx__json_out *o, int64_t i)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%" PRId64, i);
    put_value(o, digits);
}

void xlx__json_out_uint64(struct xlx__json_out *o, uint64_t u)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%" PRIu64, u);
    put_value(o, digits);
}

void xlx__json_out_null(struct xlx__json_out *o)
{
    put_value(o, "null");
}

void xlx__json_out_kv(struct xlx__json_out *o, const char *key, const char *s)
{
    xlx__json_out_key(o, key);
    xlx__json_out_string(o, s);
}

void xlx__json_out_kv_bool(struct xlx__json_out *o, const char *key, bool b)
{
    xlx__json_out_key(o, key);
    xlx__json_out_bool(o, b);
}

int xlx__json_out_finish(struct xlx__json_out *o, char **text_r,
                         size_t *len_r)
{
    int rc;

    if (!o)
        return xlx__nomem();
    if (!o->rc) {
        assert(!o->depth && o->len);
        if (o->pretty)
            put(o, "\n", 1);
    }
    if (o->rc) {
        rc = xlx__error(o->rc, "%s", o->why);
        goto out;
    }
    o->text[o->len] = '\0';
    *text_r = o->text;
    if (len_r)
        *len_r = o->len;
    o->text = NULL;
    rc = 0;
 out:
    xlx__json_out_free(o);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The codec: one reader, one writer and one that frees, for all messages.
 */
#include <stdlib.h>
#include <string.h>

#include "xdr.h"

/* ---- buffers ------------------------------------------------------------ */

void lv_put(struct lv_buffer *out, const void *data, size_t len)
{
    size_t size = out->size ? out->size : 256;
    uint8_t *grown;

    if (out->failed || !len)
        return;
    out->failed = len > LV_BUFFER_MAX || out->len > LV_BUFFER_MAX - len;
    if (out->failed)
        return;
    while (size < out->len + len)
        size *= 2;
    if (size != out->size) {
        grown = realloc(out->data, size);
        out->failed = !grown;
        if (!grown)
            return;
        out->data = grown;
        out->size = size;
    }
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

void lv_put_u32(struct lv_buffer *out, uint32_t value)
{
    uint8_t bytes[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16),
                         (uint8_t)(value >> 8), (uint8_t)value };

    lv_put(out, bytes, sizeof(bytes));
}

void lv_buffer_free(struct lv_buffer *out)
{
    free(out->data);
    *out = (struct lv_buffer){ 0 };
}

/* ---- reading ------------------------------------------------------------ */

struct reader {
    const uint8_t *at;
    size_t left;
    const char *why;            /* why it failed; NULL: it did not */
};

static void *fail(struct reader *r, const char *why)
{
    if (!r->why)
        r->why = why;
    return NULL;
}

/* The next len bytes, and the zeroes that fill them up to four; or NULL. */
static const uint8_t *take(struct reader *r, size_t len)
{
    size_t padded = (len + 3) & ~(size_t)3;
    const uint8_t *at = r->at;

    if (r->why || padded < len || padded > r->left)
        return fail(r, "it ends in the middle");
    r->at += padded;
    r->left -= padded;
    return at;
}

static uint32_t read_u32(struct reader *r)
{
    const uint8_t *p = take(r, 4);

    return p ? lv_get_u32(p) : 0;
}

static uint64_t read_u64(struct reader *r)
{
    uint64_t high = read_u32(r);

    return high << 32 | read_u32(r);
}

static bool read_bool(struct reader *r)
{
    uint32_t value = read_u32(r);

    if (value > 1)
        fail(r, "it has a truth value that is neither 0 nor 1");
    return value == 1;
}

static char *read_string(struct reader *r, const struct lv_field *f)
{
    const uint8_t *p;
    uint32_t len;
    char *s;

    if (f->optional && !read_bool(r))
        return NULL;
    len = read_u32(r);
    if (!r->why && len > f->max)
        return fail(r, "it has a string that is too long");
    p = take(r, len);
    if (!p)
        return NULL;
    if (memchr(p, 0, len))
        return fail(r, "it has a string with a NUL byte in it");
    s = malloc((size_t)len + 1);
    if (!s)
        return fail(r, "out of memory");
    memcpy(s, p, len);
    s[len] = '\0';
    return s;
}

static void read_struct(struct reader *r, const struct lv_type *type,
                        void *value);

static void read_one(struct reader *r, const struct lv_field *f, void *at)
{
    const uint8_t *p;
    uint64_t bits;

    switch (f->kind) {
    case LV_INT:
    case LV_UINT:
        *(uint32_t *)at = read_u32(r);
        break;
    case LV_HYPER:
    case LV_UHYPER:
        *(uint64_t *)at = read_u64(r);
        break;
    case LV_DOUBLE:
        bits = read_u64(r);
        memcpy(at, &bits, sizeof(bits));
        break;
    case LV_STRING:
        *(char **)at = read_string(r, f);
        break;
    case LV_UUID:
        p = take(r, 16);
        if (p)
            memcpy(at, p, 16);
        break;
    case LV_STRUCT:
        read_struct(r, f->type, at);
        break;
    }
}

static size_t size_of(const struct lv_field *f)
{
    switch (f->kind) {
    case LV_INT:
    case LV_UINT:
        return 4;
    case LV_HYPER:
    case LV_UHYPER:
    case LV_DOUBLE:
        return 8;
    case LV_STRING:
        return sizeof(char *);
    case LV_UUID:
        return 16;
    case LV_STRUCT:
        return f->type->size;
    }
    return 0;
}

/* Each element takes at least four bytes of the message, so that a count alone
 * cannot make us take memory that the sender has not paid for. */
static void read_list(struct reader *r, const struct lv_field *f, void *value)
{
    uint32_t *count = (uint32_t *)((char *)value + f->count_offset);
    char **list = (char **)((char *)value + f->offset);
    uint32_t i, num = read_u32(r);

    if (r->why)
        return;
    if (num > f->many || num > r->left / 4) {
        fail(r, "it has a list that is too long");
        return;
    }
    *list = num ? calloc(num, size_of(f)) : NULL;
    if (num && !*list) {
        fail(r, "out of memory");
        return;
    }
    *count = num;
    for (i = 0; i < num && !r->why; i++)
        read_one(r, f, *list + i * size_of(f));
}

/* The member that a union holds by its number, or NULL. */
static const struct lv_field *arm_of(const struct lv_type *type,
                                     const void *value)
{
    unsigned int i;

    for (i = 0; i < type->num_fields; i++)
        if (type->fields[i].number == *(const int32_t *)value)
            return &type->fields[i];
    return NULL;
}

static void read_struct(struct reader *r, const struct lv_type *type,
                        void *value)
{
    const struct lv_field *f;
    unsigned int i;

    if (type->is_union) {
        *(int32_t *)value = (int32_t)read_u32(r);
        f = arm_of(type, value);
        if (!f)
            fail(r, "it has a value of a type that does not exist");
        else
            read_one(r, f, (char *)value + f->offset);
        return;
    }
    for (i = 0; i < type->num_fields && !r->why; i++) {
        f = &type->fields[i];
        if (f->many)
            read_list(r, f, value);
        else
            read_one(r, f, (char *)value + f->offset);
    }
}

long lv_decode(const struct lv_type *type, const uint8_t *data, size_t len,
               void *value, const char **why_r)
{
    struct reader r = { .at = data, .left = len };

    memset(value, 0, type->size);
    read_struct(&r, type, value);
    if (!r.why)
        return (long)(len - r.left);
    lv_free(type, value);
    *why_r = r.why;
    return -1;
}

/* ---- writing ------------------------------------------------------------ */

static void write_u64(struct lv_buffer *out, uint64_t value)
{
    lv_put_u32(out, (uint32_t)(value >> 32));
    lv_put_u32(out, (uint32_t)value);
}

static void write_string(struct lv_buffer *out, const struct lv_field *f,
                         const char *s)
{
    static const char zeroes[3];
    size_t len = s ? strlen(s) : 0;

    if (f->optional)
        lv_put_u32(out, s != NULL);
    if (f->optional && !s)
        return;
    if (len > f->max)
        out->failed = true;
    lv_put_u32(out, (uint32_t)len);
    lv_put(out, s, len);
    lv_put(out, zeroes, -len & 3);
}

static void write_one(struct lv_buffer *out, const struct lv_field *f,
                      const void *at)
{
    uint64_t bits;

    switch (f->kind) {
    case LV_INT:
    case LV_UINT:
        lv_put_u32(out, *(const uint32_t *)at);
        break;
    case LV_HYPER:
    case LV_UHYPER:
        write_u64(out, *(const uint64_t *)at);
        break;
    case LV_DOUBLE:
        memcpy(&bits, at, sizeof(bits));
        write_u64(out, bits);
        break;
    case LV_STRING:
        write_string(out, f, *(char *const *)at);
        break;
    case LV_UUID:
        lv_put(out, at, 16);
        break;
    case LV_STRUCT:
        lv_encode(f->type, at, out);
        break;
    }
}

void lv_encode(const struct lv_type *type, const void *value,
               struct lv_buffer *out)
{
    const char *base = value;
    const struct lv_field *f;
    uint32_t i, num;
    unsigned int j;

    if (type->is_union) {
        f = arm_of(type, value);
        out->failed |= !f;
        lv_put_u32(out, *(const uint32_t *)value);
        if (f)
            write_one(out, f, base + f->offset);
        return;
    }
    for (j = 0; j < type->num_fields; j++) {
        f = &type->fields[j];
        if (!f->many) {
            write_one(out, f, base + f->offset);
            continue;
        }
        num = *(const uint32_t *)(base + f->count_offset);
        out->failed |= num > f->many;
        lv_put_u32(out, num);
        for (i = 0; i < num && !out->failed; i++)
            write_one(out, f, *(char *const *)(base + f->offset) +
                      i * size_of(f));
    }
}

/* ---- freeing ------------------------------------------------------------ */

static void free_one(const struct lv_field *f, void *at)
{
    if (f->kind == LV_STRING) {
        free(*(char **)at);
        *(char **)at = NULL;
    } else if (f->kind == LV_STRUCT) {
        lv_free(f->type, at);
    }
}

void lv_free(const struct lv_type *type, void *value)
{
    const struct lv_field *f;
    char *base = value;
    char **list;
    uint32_t i;
    unsigned int j;

    if (type->is_union) {
        f = arm_of(type, value);
        if (f)
            free_one(f, base + f->offset);
        return;
    }
    for (j = 0; j < type->num_fields; j++) {
        f = &type->fields[j];
        if (!f->many) {
            free_one(f, base + f->offset);
            continue;
        }
        list = (char **)(base + f->offset);
        for (i = 0; *list && i < *(uint32_t *)(base + f->count_offset); i++)
            free_one(f, *list + i * size_of(f));
        free(*list);
        *list = NULL;
        *(uint32_t *)(base + f->count_offset) = 0;
    }
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The payloads of libvirt's messages, XDR by RFC 4506: from C structs and
 * back, by tables that idl/gen makes of idl/libvirt.idl.  The peer is not
 * trusted: nothing is read past the message, and each length is held against
 * the bound of its member and against what is left before memory is taken for
 * it.
 */
#ifndef LV_XDR_H
#define LV_XDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lv_worker;

enum lv_kind {
    LV_INT, LV_UINT, LV_HYPER, LV_UHYPER, LV_DOUBLE, LV_STRING, LV_UUID,
    LV_STRUCT,
};

struct lv_type;

/* A member of a struct, or what a union holds for a number. */
struct lv_field {
    const char *name;
    enum lv_kind kind;
    bool optional;              /* of a string: NULL when it is missing */
    size_t offset;              /* of a list: of the pointer to its elements */
    size_t count_offset;        /* of a list: of its uint32_t count */
    uint32_t max;               /* most bytes of a string, without the NUL */
    uint32_t many;              /* most elements of a list; 0: not a list */
    int32_t number;             /* in a union: when it is this one */
    const struct lv_type *type; /* of a struct */
};

/* A union begins with an int32_t, which says which of its fields it holds. */
struct lv_type {
    const char *name;
    bool is_union;
    size_t size;
    const struct lv_field *fields;
    unsigned int num_fields;
};

enum { LV_PASS_ON = 1 };

struct lv_call {
    int32_t number;
    const char *name;
    const char *api;            /* the function of libvirt, for messages */
    bool write;                 /* refused on a read-only connection */
    const struct lv_type *args, *ret;   /* NULL: none */
    /* 0, -1 for an error, or LV_PASS_ON: the call is libvirtd's to answer, and
     * goes on to it as it came.  NULL: so do all. */
    int (*answer)(struct lv_worker *w, const void *args, void *ret);
};

/* Bytes that grow; {0} is empty.  failed: memory was short, or more than
 * LV_BUFFER_MAX were put into it; what came after is not in it. */
#define LV_BUFFER_MAX (32u << 20)
struct lv_buffer {
    uint8_t *data;
    size_t len, size;
    bool failed;
};
void lv_put(struct lv_buffer *out, const void *data, size_t len);
void lv_put_u32(struct lv_buffer *out, uint32_t value);
void lv_buffer_free(struct lv_buffer *out);

static inline uint32_t lv_get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

/* Into *value, of that type, which need not be initialised.  The bytes that it
 * took, or -1 with the reason, for a person, in *why_r; then *value has
 * nothing to free.  Bytes that follow are left alone, as libvirtd does. */
long lv_decode(const struct lv_type *type, const uint8_t *data, size_t len,
               void *value, const char **why_r);
/* NULL for a string that must be there is written as "". */
void lv_encode(const struct lv_type *type, const void *value,
               struct lv_buffer *out);
void lv_free(const struct lv_type *type, void *value);

#endif

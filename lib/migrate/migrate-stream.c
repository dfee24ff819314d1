/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libxl's stream, version 2 (docs/specs/libxl-migration-stream.pandoc and
 * libxc-migration-stream.pandoc of Xen), as far as it takes to find its end:
 * a head, and records; the record LIBXC_CONTEXT has no length, and libxc's
 * own head and records follow it up to libxc's own end.
 *
 * save-stream.c reads such a stream: it asks for bytes, and waits for them.
 * Here they are given as they come, in a process that may allocate nothing.
 */
#include <string.h>

#include "core/save-stream.h"
#include "migrate/migrate.h"

#define IDENT "LibxlFmt"
#define LIBXL_VERSION_2 2
#define XC_MARKER "\xff\xff\xff\xff\xff\xff\xff\xff" "XENF"
#define BIG_ENDIAN_BIT 1

#define XC_MAX_RECORD (128u << 20)
#define LIBXL_MAX_RECORD (1u << 30)

enum {
    LIBXL_HEAD, LIBXL_RECORD, XC_HEAD, XC_DOMAIN, XC_RECORD, DONE, WRONG,
};

static void expect(struct xlx__stream *s, int state)
{
    static const size_t sizes[] = {
        [LIBXL_HEAD] = 16, [LIBXL_RECORD] = XLX__STREAM_END_SIZE,
        [XC_HEAD] = 24, [XC_DOMAIN] = 16, [XC_RECORD] = 8,
        [DONE] = 0, [WRONG] = 0,
    };

    s->state = state;
    if (state == DONE)
        return;                     /* the end stays in head */
    s->have = 0;
    s->want = sizes[state];
}

void xlx__stream_init(struct xlx__stream *s)
{
    memset(s, 0, sizeof(*s));
    expect(s, LIBXL_HEAD);
}

/* In the byte order of the guest's host: heads that are in another one are
 * refused. */
static uint32_t number(const unsigned char *bytes)
{
    uint32_t value;

    memcpy(&value, bytes, sizeof(value));
    return value;
}

static uint32_t big_number(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
           (uint32_t)bytes[2] << 8 | bytes[3];
}

static int next_of_libxl(struct xlx__stream *s, uint32_t type,
                         uint32_t length)
{
    if (length > LIBXL_MAX_RECORD)
        return WRONG;
    if (type == XLX__LIBXL_END)
        return length ? WRONG : DONE;
    if (type == XLX__LIBXL_LIBXC_CONTEXT)
        return length ? WRONG : XC_HEAD;
    s->body = ((uint64_t)length + 7) & ~UINT64_C(7);
    return LIBXL_RECORD;
}

static int next_of_xc(struct xlx__stream *s, uint32_t type, uint32_t length)
{
    if (length > XC_MAX_RECORD)
        return WRONG;
    s->body = ((uint64_t)length + 7) & ~UINT64_C(7);
    if (type == XLX__LIBXC_END)
        return length ? WRONG : LIBXL_RECORD;
    return XC_RECORD;
}

/* The state after the head that is complete now. */
static int next(struct xlx__stream *s)
{
    switch (s->state) {
    case LIBXL_HEAD:
        return !memcmp(s->head, IDENT, 8) &&
               big_number(s->head + 8) == LIBXL_VERSION_2 &&
               !(big_number(s->head + 12) & BIG_ENDIAN_BIT)
            ? LIBXL_RECORD : WRONG;
    case LIBXL_RECORD:
        return next_of_libxl(s, number(s->head), number(s->head + 4));
    case XC_HEAD:
        return !memcmp(s->head, XC_MARKER, 12) &&
               !(s->head[17] & BIG_ENDIAN_BIT) ? XC_DOMAIN : WRONG;
    case XC_DOMAIN:
        return XC_RECORD;
    case XC_RECORD:
        return next_of_xc(s, number(s->head), number(s->head + 4));
    default:
        return WRONG;               /* something after the end */
    }
}

static size_t least(uint64_t a, size_t b)
{
    return a < b ? (size_t)a : b;
}

bool xlx__stream_take(struct xlx__stream *s, const unsigned char *bytes,
                      size_t len,
                      bool (*pass)(void *user, const unsigned char *bytes,
                                   size_t len), void *user)
{
    size_t size;
    int after;

    while (len) {
        if (s->state == DONE || s->state == WRONG) {
            s->state = WRONG;
            return false;
        }
        size = s->body ? least(s->body, len)
                       : least(s->want - s->have, len);
        if (s->body) {
            if (!pass(user, bytes, size))
                return false;
            s->body -= size;
            s->passed += size;
        } else {
            memcpy(s->head + s->have, bytes, size);
            s->have += size;
        }
        bytes += size;
        len -= size;
        if (s->body || s->have < s->want)
            continue;
        after = next(s);
        if (after == WRONG) {
            s->state = WRONG;
            return false;
        }
        if (after != DONE) {
            if (!pass(user, s->head, s->want))
                return false;
            s->passed += s->want;
        }
        expect(s, after);
    }
    return true;
}

bool xlx__stream_is_whole(const struct xlx__stream *s)
{
    return s->state == DONE;
}

const unsigned char *xlx__stream_end(const struct xlx__stream *s)
{
    return s->head;
}

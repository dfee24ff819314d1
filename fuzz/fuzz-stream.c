/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes the relay's reader of libxl's stream.  The first byte says in which
 * pieces the rest comes.  However it comes, the same is passed on, it is what
 * came in, and of a stream that is whole it is all but the end.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/migrate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct out {
    unsigned char *bytes;
    size_t len, max;
};

static bool collect(void *user, const unsigned char *bytes, size_t len)
{
    struct out *o = user;

    if (len > o->max - o->len)
        abort();                    /* more than came in */
    memcpy(o->bytes + o->len, bytes, len);
    o->len += len;
    return true;
}

static bool feed(struct xlx__stream *s, const uint8_t *data, size_t size,
                 size_t piece, struct out *o)
{
    size_t at, len;

    o->len = 0;
    xlx__stream_init(s);
    for (at = 0; at < size; at += len) {
        len = size - at < piece ? size - at : piece;
        if (!xlx__stream_take(s, data + at, len, collect, o))
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct xlx__stream s;
    struct out o = { .max = size };
    size_t whole_len;
    bool ok, whole;

    if (size < 2)
        return 0;
    o.bytes = malloc(size);
    if (!o.bytes)
        return 0;
    ok = feed(&s, data + 1, size - 1, size, &o);
    whole = xlx__stream_is_whole(&s);
    whole_len = o.len;
    if (memcmp(o.bytes, data + 1, o.len) || s.passed != o.len)
        abort();
    if (whole && (!ok || o.len + XLX__STREAM_END_SIZE != size - 1 ||
                  memcmp(xlx__stream_end(&s), data + 1 + o.len,
                         XLX__STREAM_END_SIZE)))
        abort();
    if (feed(&s, data + 1, size - 1, 1 + data[0], &o) != ok ||
        xlx__stream_is_whole(&s) != whole || o.len != whole_len)
        abort();
    free(o.bytes);
    return 0;
}

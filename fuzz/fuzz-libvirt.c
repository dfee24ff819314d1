/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes the relay of libvirt's clients: frames, cut into pieces of a size
 * that the first byte says, and the payload of each as every message that
 * there is.  All that passes must come out as it went in, and what can be read
 * must be readable again when it was written.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "gen-libvirt.h"
#include "stream.h"

/* Every third procedure is ours, and some of those are skipped. */
static enum lv_verdict judge(void *user, const struct lv_header *h)
{
    (void)user;
    if (h->procedure % 3 || h->type != LV_TYPE_CALL)
        return LV_PASS;
    return h->length > 4000 ? LV_SKIP : LV_COLLECT;
}

static void read_as_all(const uint8_t *data, size_t len)
{
    struct lv_buffer once = { 0 }, twice = { 0 };
    const char *why;
    void *value;
    int i;

    for (i = 0; i < LV_NUM_TYPES; i++) {
        value = malloc(lv_types[i]->size);
        if (!value || lv_decode(lv_types[i], data, len, value, &why) < 0) {
            free(value);
            continue;
        }
        lv_encode(lv_types[i], value, &once);
        lv_free(lv_types[i], value);
        if (once.failed || once.len > len ||
            lv_decode(lv_types[i], once.data, once.len, value, &why) !=
            (long)once.len)
            abort();
        lv_encode(lv_types[i], value, &twice);
        if (twice.len != once.len || memcmp(once.data, twice.data, once.len))
            abort();
        lv_free(lv_types[i], value);
        free(value);
        lv_buffer_free(&once);
        lv_buffer_free(&twice);
    }
}

static int frame(void *user, const struct lv_header *h, const uint8_t *data)
{
    struct lv_stream *s = user;

    if (data)
        read_as_all(data + LV_HEADER_SIZE, h->length - LV_HEADER_SIZE);
    s->paused = data && h->serial % 2;
    return 0;
}

static const struct lv_stream_ops ops = { judge, frame };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lv_stream s;
    const char *why;
    size_t piece, n;

    if (!size)
        return 0;
    piece = data[0] + 1u;
    data++;
    size--;
    read_as_all(data, size);
    lv_stream_init(&s, &ops, &s);
    while (size) {
        n = size < piece ? size : piece;
        if (lv_stream_feed(&s, data, n, NULL, 0, &why) ||
            (s.paused && lv_stream_resume(&s, &why)) ||
            lv_stream_insert(&s, "ours", 4))
            break;
        data += n;
        size -= n;
    }
    lv_stream_free(&s);
    return 0;
}

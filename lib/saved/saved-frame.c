/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The frame of a saved guest: its stream without the memory, in two parts, and
 * the place in the second one where the memory belongs.  That is behind the
 * last PAGE_DATA record, so that no page comes before a record that it came
 * behind.
 */
#include <stdlib.h>
#include <string.h>

#include "saved/saved.h"

static int add(struct xlx__saved_bytes *b, const void *bytes, size_t len)
{
    size_t room = b->room ? b->room : 4096;
    char *more;

    if (len > XLX__SAVED_FRAME_MAX - b->len)
        return xlx__error(ERROR_INVAL, "more than %zu MiB of it are not "
                          "memory", XLX__SAVED_FRAME_MAX >> 20);
    while (room < b->len + len)
        room *= 2;
    if (room > b->room) {
        more = realloc(b->bytes, room);
        if (!more)
            return xlx__nomem();
        b->bytes = more;
        b->room = room;
    }
    if (len)
        memcpy(b->bytes + b->len, bytes, len);
    b->len += len;
    return 0;
}

int xlx__saved_frame_add(struct xlx__saved_frame *f, const void *bytes,
                         size_t len)
{
    return add(f->memory_seen ? &f->tail : &f->head, bytes, len);
}

void xlx__saved_frame_memory(struct xlx__saved_frame *f)
{
    f->memory_seen = true;
    f->split = f->tail.len;
}

int xlx__saved_frame_sum(const struct xlx__saved_frame *f, uint64_t *sum_r)
{
    struct xlx__saved_summing *sum = xlx__saved_sum_begin();

    if (!sum)
        return xlx__nomem();
    xlx__saved_sum_add(sum, xlx__saved_bytes_of(&f->head), f->head.len);
    xlx__saved_sum_add(sum, xlx__saved_bytes_of(&f->tail), f->tail.len);
    *sum_r = xlx__saved_sum_end(sum);
    return 0;
}

void xlx__saved_frame_free(struct xlx__saved_frame *f)
{
    free(f->head.bytes);
    free(f->tail.bytes);
    *f = (struct xlx__saved_frame){ .split = 0 };
}

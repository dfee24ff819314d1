/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sums of pages and of all that is not pages: XXH3, 64 bits, which finds what
 * a disk or a network changed and is faster than either.  It does not protect
 * from somebody who changes a file on purpose.  The header alone has it: there
 * is no library to link.
 */
#define XXH_INLINE_ALL
#include <string.h>

#include <xxhash.h>

#include "saved/saved.h"

uint64_t xlx__saved_sum(const void *bytes, size_t len)
{
    return XXH3_64bits(bytes, len);
}

struct xlx__saved_summing {
    XXH3_state_t state;
};

struct xlx__saved_summing *xlx__saved_sum_begin(void)
{
    XXH3_state_t *state = XXH3_createState();

    if (state)
        XXH3_64bits_reset(state);
    return (struct xlx__saved_summing *)state;
}

void xlx__saved_sum_add(struct xlx__saved_summing *s, const void *bytes,
                        size_t len)
{
    XXH3_64bits_update(&s->state, bytes, len);
}

uint64_t xlx__saved_sum_end(struct xlx__saved_summing *s)
{
    uint64_t sum = s ? XXH3_64bits_digest(&s->state) : 0;

    XXH3_freeState((XXH3_state_t *)s);
    return sum;
}

bool xlx__saved_is_zero(const char page[XLX__SAVE_PAGE])
{
    return !page[0] && !memcmp(page, page + 1, XLX__SAVE_PAGE - 1);
}

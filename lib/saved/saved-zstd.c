/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libzstd: each piece is one frame, by itself.  The library is there wherever
 * libxl is, because libxenguest needs it.
 */
#include <stdlib.h>

#include <zstd.h>

#include "saved/saved.h"

struct xlx__saved_zstd {
    ZSTD_CCtx *to;
    ZSTD_DCtx *from;
};

struct xlx__saved_zstd *xlx__saved_zstd_new(void)
{
    struct xlx__saved_zstd *z = calloc(1, sizeof(*z));

    if (!z)
        return NULL;
    z->to = ZSTD_createCCtx();
    z->from = ZSTD_createDCtx();
    if (!z->to || !z->from) {
        xlx__saved_zstd_free(z);
        return NULL;
    }
    return z;
}

void xlx__saved_zstd_free(struct xlx__saved_zstd *z)
{
    if (!z)
        return;
    ZSTD_freeCCtx(z->to);
    ZSTD_freeDCtx(z->from);
    free(z);
}

bool xlx__saved_zstd_level_ok(uint32_t level)
{
    return level <= (uint32_t)ZSTD_maxCLevel();
}

size_t xlx__saved_zstd_room(size_t len)
{
    return ZSTD_compressBound(len);
}

int xlx__saved_zstd_pack(struct xlx__saved_zstd *z, uint32_t level,
                         const void *from, size_t len, void *to, size_t room,
                         size_t *len_r)
{
    size_t n = ZSTD_compressCCtx(z->to, to, room, from, len, (int)level);

    if (ZSTD_isError(n))
        return xlx__error(ERROR_FAIL, "zstd: %s", ZSTD_getErrorName(n));
    *len_r = n;
    return 0;
}

/* Exactly len bytes must come of it. */
int xlx__saved_zstd_unpack(struct xlx__saved_zstd *z, const void *from,
                           size_t stored, void *to, size_t len)
{
    size_t n = ZSTD_decompressDCtx(z->from, to, len, from, stored);

    if (ZSTD_isError(n))
        return xlx__error(ERROR_INVAL, "zstd: %s", ZSTD_getErrorName(n));
    if (n != len)
        return xlx__error(ERROR_INVAL, "zstd: %zu bytes and not %zu", n,
                          len);
    return 0;
}

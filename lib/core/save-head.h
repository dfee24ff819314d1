/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The first bytes of a file that "xl save" wrote (struct save_file_header of
 * Xen's xl).  The commands, which have no other part of the library inside,
 * read it as well.
 */
#ifndef XLX_SAVE_HEAD_H
#define XLX_SAVE_HEAD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define XLX__SAVE_MAGIC "Xen saved domain, xl format\n \0 \r"
#define XLX__SAVE_BYTE_ORDER 0x01020304
#define XLX__SAVE_JSON 1                /* of the mandatory flags */
#define XLX__SAVE_STREAM_V2 2
#define XLX__SAVE_COMPACT UINT32_C(0x80000000)  /* ours: the compact form */

struct xlx__save_head {
    char magic[32];
    uint32_t byte_order, mandatory, optional;
    uint32_t length;                    /* of what follows, the config */
};

static inline bool xlx__is_save_magic(const char magic[32])
{
    return !memcmp(magic, XLX__SAVE_MAGIC, 32);
}

static inline bool xlx__is_save_head(const struct xlx__save_head *h)
{
    return xlx__is_save_magic(h->magic) &&
           h->byte_order == XLX__SAVE_BYTE_ORDER;
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The layout of a JSON document in memory; for json.c, which builds it, and
 * json-value.c, which reads it.
 *
 * A document is one block: a header, then the values in the order of the
 * text, each 16 bytes and its own text.  Links are distances in bytes, so
 * that the block can be moved while it grows and a value finds its way by
 * itself.  A key that was seen lately is not stored again.
 */
#ifndef XLX_JSON_VALUE_H
#define XLX_JSON_VALUE_H

#include "core/internal.h"

struct xlx__json_doc {
    uint32_t used;                      /* bytes, with this header */
    uint32_t what;                      /* distance to the source's name */
};                                      /* the root value follows */

struct xlx__json {
    uint32_t up;                        /* back to the parent; root: 0 */
    uint32_t next;                      /* to the next sibling; last: 0 */
    uint32_t key;                       /* back to the key's text, or 0 */
    uint32_t kind : 3;
    uint32_t count : 29;                /* of members; or the bool */
    /* String and number: their text, with a NUL.  Array and object: a
     * uint32_t, the distance to the first child. */
};

/* Puts "WHAT: PATH: " before the message. */
int xlx__json_prefix(const char *what, const struct xlx__json *v, int rc);

#endif

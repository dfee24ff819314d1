/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Strings: formatted and copied into memory of their own, and the one check
 * of UTF-8 that everything from outside passes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/internal.h"

char *xlx__printf(const char *fmt, ...)
{
    va_list ap;
    char *s;
    int r;

    va_start(ap, fmt);
    r = vasprintf(&s, fmt, ap);
    va_end(ap);
    return r < 0 ? NULL : s;
}

int xlx__set_string(char **s, const char *value)
{
    char *copy = NULL;

    if (value) {
        copy = strdup(value);
        if (!copy)
            return xlx__nomem();
    }
    free(*s);
    *s = copy;
    return 0;
}

/* The table of well-formed sequences in RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF. */
size_t xlx__utf8_length(const char *s, size_t max)
{
    const unsigned char *u = (const unsigned char *)s;
    unsigned char low = 0x80, high = 0xbf;
    size_t len, i;

    if (!max)
        return 0;
    if (u[0] < 0x80)
        return 1;
    if (u[0] >= 0xc2 && u[0] <= 0xdf)
        len = 2;
    else if (u[0] >= 0xe0 && u[0] <= 0xef)
        len = 3;
    else if (u[0] >= 0xf0 && u[0] <= 0xf4)
        len = 4;
    else
        return 0;
    if (len > max)
        return 0;

    switch (u[0]) {
    case 0xe0: low = 0xa0; break;
    case 0xed: high = 0x9f; break;
    case 0xf0: low = 0x90; break;
    case 0xf4: high = 0x8f; break;
    }
    if (u[1] < low || u[1] > high)
        return 0;
    for (i = 2; i < len; i++)
        if (u[i] < 0x80 || u[i] > 0xbf)
            return 0;
    return len;
}

size_t xlx__utf8_valid(const char *s, size_t len)
{
    size_t i = 0, n;
    uint64_t eight;

    while (i < len) {
        if (len - i >= sizeof(eight)) {
            memcpy(&eight, s + i, sizeof(eight));
            if (!(eight & UINT64_C(0x8080808080808080))) {
                i += sizeof(eight);
                continue;
            }
        }
        n = xlx__utf8_length(s + i, len - i);
        if (!n)
            break;
        i += n;
    }
    return i;
}

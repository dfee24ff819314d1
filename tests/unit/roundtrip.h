/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random values for gen-roundtrip.c.  The seed is printed; XLX_SEED=N gives
 * the same values again.
 */
#ifndef XLX_TEST_ROUNDTRIP_H
#define XLX_TEST_ROUNDTRIP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "libxlx.h"

#define ROUNDS 50
#define PICK(...) \
    ((const int[]){ __VA_ARGS__ }[random_below( \
        sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int))])

static uint64_t random_state;

static inline void seed(void)
{
    const char *s = getenv("XLX_SEED");

    random_state = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL);
    printf("# XLX_SEED=%llu\n", (unsigned long long)random_state);
}

/* splitmix64 */
static inline uint64_t random_uint64_flat(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static inline unsigned int random_below(unsigned int limit)
{
    return random_uint64_flat() % limit;
}

/* Small, large and the ends of the range equally often. */
static inline uint64_t random_uint64(void)
{
    switch (random_below(4)) {
    case 0: return 0;
    case 1: return UINT64_MAX - random_below(2);
    case 2: return random_uint64_flat() >> random_below(64);
    default: return (uint64_t)INT64_MAX + random_below(2);
    }
}

static inline int64_t random_int64(void)
{
    return (int64_t)random_uint64();
}

static inline uint32_t random_uint32(void)
{
    return random_below(3) ? random_uint64() : UINT32_MAX;
}

static inline bool random_bool(void)
{
    return random_below(2);
}

static inline uint32_t random_domid(void)
{
    return random_below(3) ? random_below(0x7ff0) : XLX_DOMID_NONE;
}

static inline libxl_uuid random_uuid(void)
{
    libxl_uuid uuid;
    unsigned int i;

    for (i = 0; i < sizeof(uuid.uuid); i++)
        uuid.uuid[i] = random_below(256);
    return uuid;
}

/* Characters that JSON must escape, and UTF-8 of each length. */
static inline char *random_string(void)
{
    static const char *const pieces[] = {
        "a", "Z", " ", "/", "\"", "\\", "\n", "\t", "\x01", "\x1f", "\x7f",
        "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\xbc", "\xef\xbf\xbf", "%s",
        "<", "\xe2\x80\xa8", "null", "{}",
    };
    unsigned int i, n = random_below(12);
    char *s;

    if (!random_below(4))
        return NULL;
    s = calloc(n + 1, 4);
    assert_non_null(s);
    for (i = 0; i < n; i++)
        strcat(s, pieces[random_below(sizeof(pieces) / sizeof(pieces[0]))]);
    return s;
}

static inline int random_count(void)
{
    return random_below(4);
}

static inline void *test_array(int num, size_t size)
{
    void *p = num ? calloc(num, size) : NULL;

    assert_true(!num || p);
    return p;
}

/* Frees again. */
static inline void assert_same(const char *text, char *again)
{
    assert_non_null(again);
    assert_string_equal(text, again);
    free(again);
}

static inline void assert_said(const char *part)
{
    if (!strstr(xlx_error_get(), part))
        fail_msg("\"%s\" is not in \"%s\"", part, xlx_error_get());
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers in text; see number.h.  strtoul() and sscanf() take blanks and a
 * sign, wrap what is too large, and need care to tell where they ended.
 */
#include <string.h>

#include "core/number.h"

/* At least 16, which is not a digit of any base, when c is none. */
static unsigned int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned int)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned int)(c - 'a') + 10;
    if (c >= 'A' && c <= 'F')
        return (unsigned int)(c - 'A') + 10;
    return 16;
}

static bool take(const char **s, unsigned int base, uint64_t max,
                 uint64_t *value_r)
{
    unsigned int digit;
    uint64_t value = 0;
    const char *p;

    for (p = *s; (digit = digit_of(*p)) < base; p++) {
        if (digit > max || value > (max - digit) / base)
            return false;
        value = value * base + digit;
    }
    if (p == *s)
        return false;
    *s = p;
    *value_r = value;
    return true;
}

bool xlx__take_word(const char **s, const char *word)
{
    size_t len = strlen(word);

    if (strncmp(*s, word, len))
        return false;
    *s += len;
    return true;
}

bool xlx__take_u64(const char **s, uint64_t max, uint64_t *value_r)
{
    return take(s, 10, max, value_r);
}

bool xlx__take_u32(const char **s, uint32_t max, uint32_t *value_r)
{
    uint64_t value;

    if (!take(s, 10, max, &value))
        return false;
    *value_r = (uint32_t)value;
    return true;
}

bool xlx__take_hex(const char **s, uint64_t max, uint64_t *value_r)
{
    const char *p = *s;

    if (!xlx__take_word(&p, "0x"))
        xlx__take_word(&p, "0X");
    if (!take(&p, 16, max, value_r))
        return false;
    *s = p;
    return true;
}

bool xlx__take_c(const char **s, uint64_t max, uint64_t *value_r)
{
    if ((*s)[0] != '0')
        return take(s, 10, max, value_r);
    if ((*s)[1] == 'x' || (*s)[1] == 'X')
        return xlx__take_hex(s, max, value_r);
    return take(s, 8, max, value_r);
}

bool xlx__take_digits(const char **s, int digits, uint32_t *value_r)
{
    uint32_t value = 0;
    unsigned int digit;
    int i;

    for (i = 0; i < digits; i++) {
        digit = digit_of((*s)[i]);
        if (digit >= 16)
            return false;
        value = value << 4 | digit;
    }
    *s += digits;
    *value_r = value;
    return true;
}

bool xlx__parse_u32(const char *s, uint32_t max, uint32_t *value_r)
{
    uint32_t value;

    if (!xlx__take_u32(&s, max, &value) || *s)
        return false;
    *value_r = value;
    return true;
}

bool xlx__parse_u64(const char *s, uint64_t max, uint64_t *value_r)
{
    uint64_t value;

    if (!xlx__take_u64(&s, max, &value) || *s)
        return false;
    *value_r = value;
    return true;
}

bool xlx__parse_hex(const char *s, uint64_t max, uint64_t *value_r)
{
    uint64_t value;

    if (!xlx__take_hex(&s, max, &value) || *s)
        return false;
    *value_r = value;
    return true;
}

bool xlx__parse_c(const char *s, uint32_t max, uint32_t *value_r)
{
    uint64_t value;

    if (!xlx__take_c(&s, max, &value) || *s)
        return false;
    *value_r = (uint32_t)value;
    return true;
}

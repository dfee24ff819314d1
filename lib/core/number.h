/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers in text.  Each function reads one form and nothing else: no sign, no
 * blank before or between, no separator, and a number above max is refused
 * instead of wrapped or cut.  The commands, which have no other part of the
 * library inside, are linked with number.c as well: it needs libc alone.
 *
 *   u32, u64   decimal digits; zeros before them change nothing
 *   hex        hexadecimal digits of either case, "0x" before them or not
 *   c          as in C: decimal, "0x" hexadecimal, or "0" octal
 *
 * xlx__take_...() moves *s behind the number.  xlx__parse_...() wants the text
 * to end there.  Both leave *s and *value_r as they were when they fail.
 */
#ifndef XLX_NUMBER_H
#define XLX_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

bool xlx__take_u32(const char **s, uint32_t max, uint32_t *value_r);
bool xlx__take_u64(const char **s, uint64_t max, uint64_t *value_r);
bool xlx__take_hex(const char **s, uint64_t max, uint64_t *value_r);
bool xlx__take_c(const char **s, uint64_t max, uint64_t *value_r);
/* Exactly so many hexadecimal digits, at most 8, and no "0x"; what follows
 * them may be another one. */
bool xlx__take_digits(const char **s, int digits, uint32_t *value_r);
/* The words between the numbers: moves *s behind word, if it begins so. */
bool xlx__take_word(const char **s, const char *word);

bool xlx__parse_u32(const char *s, uint32_t max, uint32_t *value_r);
bool xlx__parse_u64(const char *s, uint64_t max, uint64_t *value_r);
bool xlx__parse_hex(const char *s, uint64_t max, uint64_t *value_r);
bool xlx__parse_c(const char *s, uint32_t max, uint32_t *value_r);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Text of the commands: formatted into memory of its own, and shown to people
 * without the control characters that a guest's or user's text may have.
 */
#ifndef XL_TEXT_H
#define XL_TEXT_H

#include <stdarg.h>
#include <stdio.h>

/* "" and "-" for NULL. */
const char *xl_text(const char *s);
const char *xl_or_dash(const char *s);
void xl_no_memory(void) __attribute__((noreturn));
/* malloc()ed; these end the program when memory is short. */
char *xl_vformat(const char *fmt, va_list ap)
    __attribute__((format(printf, 1, 0)));
char *xl_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A '?' for each control character.  Returns the width in columns; to may be
 * NULL. */
int xl_put_text(FILE *to, const char *text);
/* One line on standard error: "xl NAME: TEXT". */
void xl_message(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void xl_vmessage(const char *fmt, va_list ap)
    __attribute__((format(printf, 1, 0)));

#endif

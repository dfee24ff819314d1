/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Allocations that fail, see starve.h.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "starve.h"

int starve_left = -1;

static bool fails(void)
{
    return starve_left >= 0 && starve_left-- == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t n);
char *__real_strdup(const char *s);
int __real_vasprintf(char **s, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t n);
char *__wrap_strdup(const char *s);
int __wrap_vasprintf(char **s, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t n)
{
    return fails() ? NULL : __real_realloc(old, n);
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}

int __wrap_vasprintf(char **s, const char *fmt, va_list ap)
{
    return fails() ? -1 : __real_vasprintf(s, fmt, ap);
}

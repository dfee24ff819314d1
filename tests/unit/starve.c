/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Allocations that fail, see starve.h.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unwind.h>

#include "starve.h"

#define MAX_PLACES 10000
#define FRAMES 4                /* with those of fails() and __wrap_...() */

int starve_left = -1, starve_place = -1;
static uintptr_t places[MAX_PLACES];
static int num_places, num_allocations = -1;

struct walk {
    uintptr_t hash;
    int depth;
};

static _Unwind_Reason_Code add_frame(struct _Unwind_Context *frame, void *user)
{
    struct walk *walk = user;

    if (walk->depth++ == FRAMES)
        return _URC_END_OF_STACK;
    walk->hash = (walk->hash ^ _Unwind_GetIP(frame)) * 16777619u;
    return _URC_NO_REASON;
}

static void note(uintptr_t place)
{
    int i;

    num_allocations++;
    for (i = 0; i < num_places; i++)
        if (places[i] == place)
            return;
    if (num_places < MAX_PLACES)
        places[num_places++] = place;
}

void starve_survey(void)
{
    num_places = num_allocations = 0;
}

int starve_survey_end(int *places_r)
{
    int num = num_allocations;

    num_allocations = -1;
    *places_r = num_places;
    return num;
}

static bool fails(void)
{
    struct walk walk = { 0, 0 };

    if (num_allocations >= 0 || starve_place >= 0)
        _Unwind_Backtrace(add_frame, &walk);
    if (num_allocations >= 0)
        note(walk.hash);
    if (starve_place >= 0 && places[starve_place] == walk.hash) {
        starve_place = -1;
        return true;
    }
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

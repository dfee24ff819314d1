/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stock xl: which names are its own, where it is, how to become it.  Nothing
 * that stock xl can be asked for may be taken away from it, whichever
 * version is installed, so its names are those of every version we know.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "xl.h"

static const struct {
    char name[23];
    unsigned char since;            /* the minor of Xen 4.x */
} stock[] = {
#include "stock-commands.inc"
};

#define NUM_STOCK (sizeof(stock) / sizeof(stock[0]))

/* Whether a prefix is ambiguous depends on the version.  An ambiguous one is
 * stock's as well: the next Xen may give it a meaning, and until then its
 * "command not implemented" is the right answer. */
bool xl_stock_owns(const char *name)
{
    size_t i, len = strlen(name);

    for (i = 0; i < NUM_STOCK; i++) {
        if (!strncmp(stock[i].name, name, len))
            return true;
    }
    return false;
}

/* How the xl of one version resolves a name: an exact match wins, else the
 * name must be the beginning of one command only. */
static const char *stock_lookup(const char *name, unsigned int version)
{
    const char *found = NULL;
    size_t i, len = strlen(name);
    unsigned int matches = 0;

    for (i = 0; i < NUM_STOCK; i++) {
        if (stock[i].since > version || strncmp(stock[i].name, name, len))
            continue;
        if (!stock[i].name[len])
            return stock[i].name;
        found = stock[i].name;
        matches++;
    }
    return matches == 1 ? found : NULL;
}

bool xl_stock_means(const char *name, const char *command)
{
    const char *found;
    size_t i;

    for (i = 0; i < NUM_STOCK; i++) {
        found = stock_lookup(name, stock[i].since);
        if (found && !strcmp(found, command))
            return true;
    }
    return false;
}

/* ---- where it is -------------------------------------------------------- */

struct search {
    struct stat self;
    bool on_path;                   /* we are on PATH ... */
    bool passed;                    /* ... and the search is past us */
    char *found;
};

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool is_self(const struct search *s, const char *path)
{
    struct stat st;

    return !stat(path, &st) && same_file(&st, &s->self);
}

static bool find_self(const char *dir, void *arg)
{
    struct search *s = arg;
    char *path = xl_printf("%s/xl", dir);

    s->on_path = is_self(s, path);
    free(path);
    return s->on_path;
}

/* Only what follows us on PATH: an xl before us is a wrapper that runs us. */
static bool find_next(const char *dir, void *arg)
{
    struct search *s = arg;
    char *path = xl_printf("%s/xl", dir);

    if (is_self(s, path)) {
        s->passed = true;
    } else if ((s->passed || !s->on_path) && xl_runnable(path)) {
        s->found = path;
        return true;
    }
    free(path);
    return false;
}

char *xl_stock_path(void)
{
    const char *named = secure_getenv("LIBXLX_XL");
    struct search s = { .found = NULL };

    if (stat("/proc/self/exe", &s.self))
        xl_die(XL_CANNOT_RUN, "/proc/self/exe: %s", strerror(errno));
    if (named && *named) {
        if (is_self(&s, named))
            xl_die(XL_CANNOT_RUN, "LIBXLX_XL: \"%s\" is this program itself;"
                   " it must name stock xl", named);
        return xl_printf("%s", named);
    }
    xl_each_path_dir(find_self, &s);
    if (xl_each_path_dir(find_next, &s))
        return s.found;
    if (!xl_runnable(STOCK_XL) || is_self(&s, STOCK_XL))
        xl_die(XL_NOT_FOUND, "no stock xl: there is none on PATH and no %s;"
               " install Xen's tools, or set LIBXLX_XL to its path", STOCK_XL);
    return xl_printf("%s", STOCK_XL);
}

void xl_stock_exec(char **argv)
{
    char *path = xl_stock_path();

    execv(path, argv);
    xl_die(errno == ENOENT ? XL_NOT_FOUND : XL_CANNOT_RUN,
           "stock xl: \"%s\": %s", path, strerror(errno));
}

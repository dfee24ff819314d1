/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl: decides whether a command is stock xl's or ours, and becomes that
 * program.  Everything that stock xl knows is handed to it byte for byte.
 *
 *   a stock command, or the beginning of one        stock xl
 *   else xl-NAME in our directory, or on PATH     that program
 *   else                                            stock xl, to complain
 */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/number.h"
#include "xl.h"

/* How deep calls of xl may nest, in scripts that run xl: more is a loop. */
#define MAX_DEPTH 10
#define DEPTH_VARIABLE "LIBXLX_XL_DEPTH"

void xl_die(int code, const char *fmt, ...)
{
    va_list ap;

    fflush(stdout);
    fputs("xl: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(code);
}

char *xl_printf(const char *fmt, ...)
{
    va_list ap;
    char *s;
    int r;

    va_start(ap, fmt);
    r = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (r < 0)
        xl_die(XL_CANNOT_RUN, "%s", strerror(ENOMEM));
    return s;
}

const char *xl_exec_dir(void)
{
    const char *dir = secure_getenv("LIBXLX_EXEC_DIR");

    return dir && *dir ? dir : XL_EXEC_DIR;
}

bool xl_runnable(const char *path)
{
    struct stat st;

    return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

bool xl_each_path_dir(bool (*fn)(const char *dir, void *arg), void *arg)
{
    const char *path = secure_getenv("PATH");
    char *copy, *dir, *state = NULL;
    bool stop = false;

    if (!path)
        return false;
    copy = xl_printf("%s", path);
    /* The current directory, whatever it is, is not a place to find commands.
     */
    for (dir = strtok_r(copy, ":", &state); dir && !stop;
         dir = strtok_r(NULL, ":", &state)) {
        if (*dir == '/')
            stop = fn(dir, arg);
    }
    free(copy);
    return stop;
}

struct command_search {
    const char *name;
    char *found;
};

static bool find_in_dir(const char *dir, void *arg)
{
    struct command_search *s = arg;
    char *path = xl_printf("%s/xl-%s", dir, s->name);

    if (xl_runnable(path)) {
        s->found = path;
        return true;
    }
    free(path);
    return false;
}

char *xl_find_command(const char *name)
{
    struct command_search s = { .name = name, .found = NULL };

    if (!xl_name_ok(name))
        return NULL;
    if (!find_in_dir(xl_exec_dir(), &s))
        xl_each_path_dir(find_in_dir, &s);
    return s.found;
}

/* ---- stock commands that we look at first ------------------------------- */

/* Something is kept of some guest. */
static bool have_records(void)
{
    const char *path = secure_getenv("LIBXLX_STATE_DIR");
    const struct dirent *entry;
    bool found = false;
    DIR *dir;

    dir = opendir(path && *path ? path : XLX_STATE_DIR);
    if (!dir)
        return errno != ENOENT;
    while (!found && (entry = readdir(dir))) {
        found = strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    }
    closedir(dir);
    return found;
}

/* Stock xl does not know it. */
static bool has_our_option(char **args)
{
    for (; *args; args++)
        if (!strcmp(*args, "--no-devices"))
            return true;
    return false;
}

static bool create_concerns_us(char **args)
{
    return have_records() || has_our_option(args) || xl_config_is_ours(args);
}

/* A guest that is restored has all of our words already: what is left to ask
 * is in records.  The save file is as large as the guest's memory, or a pipe:
 * it is not looked at here. */
static bool restore_concerns_us(char **args)
{
    return have_records() || has_our_option(args);
}

/* Also without records: a first snapshot may be made while it leaves. */
static bool leaving_concerns_us(char **args)
{
    return *args;
}

static bool attach_concerns_us(char **args)
{
    return *args && xl_disk_is_ours(args + 1);
}

/* The program is run as "xl STOCK-XL ARGS...", argv[0] as we have got it, and
 * becomes "xl ARGS..." of stock xl when it has no objection. */
static const struct {
    const char *command;
    const char *program;
    bool (*needed)(char **args);    /* cheap: can it have a say? */
} wrapped[] = {
    { "create", "xl-guard", create_concerns_us },
    { "restore", "xl-guard", restore_concerns_us },
    { "save", "xl-guard", leaving_concerns_us },
    { "migrate", "xl-guard", leaving_concerns_us },
    { "block-attach", "xl-guard", attach_concerns_us },
};

/* One of ours, for which the guard asks what it asks for "migrate". */
static const char guarded[] = "disk-migrate";

#define NUM_WRAPPED (sizeof(wrapped) / sizeof(wrapped[0]))

bool xl_name_ok(const char *name)
{
    size_t i;

    for (i = 0; i < NUM_WRAPPED; i++) {
        if (!strcmp(wrapped[i].program + strlen("xl-"), name))
            return false;
    }
    if (!strcmp(name, "saver"))         /* the guard's, for save --compact */
        return false;
    return *name && *name != '-' && !strchr(name, '/');
}

static void exec_wrapper(const char *program, int argc, char **argv)
{
    char *path = xl_printf("%s/%s", xl_exec_dir(), program);
    char *stock = xl_stock_path();
    char **args;
    int i;

    args = calloc((size_t)argc + 2, sizeof(*args));
    if (!args)
        xl_die(XL_CANNOT_RUN, "%s", strerror(ENOMEM));
    args[0] = argv[0];
    args[1] = stock;
    for (i = 1; i < argc; i++)
        args[i + 1] = argv[i];
    execv(path, args);
    xl_die(XL_CANNOT_RUN, "\"%s\": %s; it checks whether this guest can do"
           " that and translates its configuration; \"%s\" goes without",
           path, strerror(errno), stock);
}

static void run_stock_command(int argc, char **argv, int first)
{
    size_t i;

    if (xl_stock_means(argv[first], "restore"))
        xl_expand_saved(argv + first + 1);
    for (i = 0; i < NUM_WRAPPED; i++) {
        if (xl_stock_means(argv[first], wrapped[i].command) &&
            wrapped[i].needed(argv + first + 1))
            exec_wrapper(wrapped[i].program, argc, argv);
    }
    xl_stock_exec(argv);
}

/* ---- our commands ------------------------------------------------------- */

static void exec_command(char *path, const char *opts, char **argv)
{
    if (opts[1] ? setenv("LIBXLX_XL_OPTS", opts, 1)
                : unsetenv("LIBXLX_XL_OPTS"))
        xl_die(XL_CANNOT_RUN, "%s", strerror(errno));
    argv[0] = xl_printf("xl-%s", argv[0]);
    execv(path, argv);
    xl_die(XL_CANNOT_RUN, "\"%s\": %s", path, strerror(errno));
}

/* "xl help NAME" of our commands is their --help; all else is stock's. */
static int run_help(const char *opts, char **argv, int first)
{
    char option[] = "--help", *name = argv[first + 1], *path;
    char *args[] = { name, option, NULL };

    if (!name || !strcmp(name, "help"))
        return xl_help(argv);
    if (!strcmp(name, "plugins"))
        return xl_plugins(2, args);
    path = xl_stock_owns(name) ? NULL : xl_find_command(name);
    if (path)
        exec_command(path, opts, args);
    xl_stock_exec(argv);
}

/* ---- main --------------------------------------------------------------- */

/* Every xl in a row of xl that call one another counts itself here. */
static void count_depth(void)
{
    const char *value = secure_getenv(DEPTH_VARIABLE);
    uint32_t depth = 0;
    char *next;

    if (value)
        xlx__parse_u32(value, UINT32_MAX, &depth);
    if (depth >= MAX_DEPTH)
        xl_die(XL_CANNOT_RUN, "this is the %uth xl that another one runs:"
               " what is taken for stock xl leads back here; set LIBXLX_XL to"
               " the path of stock xl", MAX_DEPTH + 1);
    next = xl_printf("%u", depth + 1);
    if (setenv(DEPTH_VARIABLE, next, 1))
        xl_die(XL_CANNOT_RUN, "%s", strerror(errno));
    free(next);
}

/* The index of the command among the arguments, or -1 when stock xl has to
 * complain about a global option.  opts gets them as one word, "-vvN": each
 * letter once, but v as often as it makes a difference to XTL_* levels. */
static int read_globals(int argc, char **argv, char opts[16])
{
    unsigned int verbose = 0;
    size_t len = 1;
    int opt;

    strcpy(opts, "-");
    opterr = 0;
    while ((opt = getopt(argc, argv, "+vftTN")) != -1) {
        if (opt == '?')
            return -1;
        if (opt == 'v' ? verbose++ < 8 : !strchr(opts, opt))
            opts[len++] = (char)opt;
        opts[len] = '\0';
    }
    return optind;
}

int main(int argc, char **argv)
{
    char opts[16], *path;
    const char *name;
    int first;

    count_depth();
    first = read_globals(argc, argv, opts);
    if (first < 0 || first >= argc)
        xl_stock_exec(argv);
    name = argv[first];

    if (xl_stock_owns(name))
        run_stock_command(argc, argv, first);
    if (!strcmp(name, "help"))
        return run_help(opts, argv, first);
    if (!strcmp(name, "plugins"))
        return xl_plugins(argc - first, argv + first);
    path = xl_find_command(name);
    if (path && !strcmp(name, guarded))
        exec_wrapper("xl-guard", argc, argv);
    if (path)
        exec_command(path, opts, argv + first);
    xl_stock_exec(argv);
}

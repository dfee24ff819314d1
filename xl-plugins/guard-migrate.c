/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl migrate --copy-disks is xl disk-migrate: the guard asks what it asks
 * for each guest that leaves, and then runs that instead of stock xl, with
 * the options of both.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "guard.h"
#include "text.h"

#define COPY "--copy-disks"

static bool is_copy(const char *word)
{
    size_t len = strlen(COPY);

    return !strncmp(word, COPY, len) && (!word[len] || word[len] == '=');
}

static bool says_copy(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (is_copy(argv[i]))
            return true;
    return false;
}

/* The words for xl disk-migrate, which has no --copy-disks. */
static char **translate(int argc, char **argv)
{
    static char name[] = "xl-disk-migrate", disks[] = "--disks";
    char **words, *list;
    int i, num = 0;

    words = calloc(2 * (size_t)argc + 1, sizeof(*words));
    if (!words)
        xl_no_memory();
    words[num++] = name;
    for (i = 1; i < argc; i++) {
        if (!is_copy(argv[i])) {
            /* stock xl takes it, and it means nothing there either */
            if (strcmp(argv[i], "--live"))
                words[num++] = argv[i];
            continue;
        }
        list = strchr(argv[i], '=');
        if (list && list[1]) {
            words[num++] = disks;
            words[num++] = list + 1;
        }
    }
    return words;
}

/* The guest and the host; the command itself complains about what is
 * wrong. */
bool guard_migrate_read(struct guard_start *s, int argc, char **argv)
{
    static const struct option options[] = {
        { "copy-disks", optional_argument, NULL, 'c' },
        { "disks", required_argument, NULL, 'c' },
        { "map", required_argument, NULL, 'c' },
        { "speed", required_argument, NULL, 'c' },
        { "flatten", no_argument, NULL, 'c' },
        { "ssh", required_argument, NULL, 's' },
        { "paused", no_argument, NULL, 'c' },
        { "no-monitor", no_argument, NULL, 'c' },
        { "preserve-domid", no_argument, NULL, 'c' },
        { "live", no_argument, NULL, 'c' },
        { "dry-run", no_argument, NULL, 'n' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int opt;

    if (strcmp(xl_command_name, "disk-migrate") &&
        (strcmp(xl_command_name, "migrate") || !says_copy(argc, argv)))
        return false;
    s->copying = translate(argc, argv);
    optind = 0;
    while ((opt = getopt_long(argc, argv, "hnNps:eD", options, NULL)) != -1) {
        if (opt == '?' || opt == 'h')
            return true;
        s->only_shows |= opt == 'n' || opt == 'N';
        if (opt == 's')
            s->shell = optarg;
    }
    if (s->only_shows)
        s->our_option = NULL;       /* nothing is set aside */
    if (argc - optind == 2) {
        s->leaving = argv[optind];
        s->target = argv[optind + 1];
    }
    return true;
}

int guard_migrate_run(struct guard_start *s)
{
    if (s->globals[1] ? setenv("LIBXLX_XL_OPTS", s->globals, 1)
                      : unsetenv("LIBXLX_XL_OPTS"))
        xl_no_memory();
    return guard_run("xl-disk-migrate", s->copying);
}

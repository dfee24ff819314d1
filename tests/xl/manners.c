/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program of commands as those of a concept are, for manners.bats: each
 * command uses one thing of plugin.h.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "plugin.h"

static int fail_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    xl_warn("careful: %d", 1);
    return xl_fail("a\tb \033[31mred\302\233 \303\244");
}

static int library_main(int argc, char **argv)
{
    xlx_guests guests;
    int rc;

    (void)argc;
    (void)argv;
    xlx_guests_init(&guests);
    rc = xlx_guest_list(xl_ctx(), &guests);
    if (rc)
        return xl_failed(rc);
    rc = xl_print_json(xlx_guests_to_json(xl_ctx(), &guests));
    xlx_guests_dispose(&guests);
    return rc;
}

static int table_main(int argc, char **argv)
{
    static const char *const titles[] = { "Name", "Size", "Text", NULL };
    static const uint64_t sizes[] = {
        0, 1023, 1024, 10188, 10189, 1 << 20, (uint64_t)5 << 40, UINT64_MAX
    };
    struct xl_table *t = xl_table_new(titles);
    char buf[XL_SIZE_MAX];
    size_t i;

    (void)argc;
    (void)argv;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        xl_table_cell(t, "%s", i == 1 ? "\303\244\303\266" : "abc");
        xl_table_cell(t, "%s", xl_size(sizes[i], buf));
        xl_table_cell(t, "%s", i == 2 ? "a\nb" : "x");
    }
    xl_table_print(t);
    return 0;
}

/* A long call: ten steps of 50 ms, or for ever with "stubborn", which does
 * not let itself be cancelled. */
static int work_main(int argc, char **argv)
{
    bool stubborn = argc > 1 && !strcmp(argv[1], "stubborn");
    const struct timespec step = { .tv_nsec = 50 * 1000 * 1000 };
    const xlx_progress *progress = xl_progress();
    char what[] = "merging xvda";
    xlx_job_progress p = { .what = what, .total = 10 << 20 };

    puts("begun");
    fflush(stdout);
    for (; p.done <= p.total; p.done += stubborn ? 0 : 1 << 20) {
        if (progress->callback(progress->user, &p) && !stubborn)
            return xl_failed(ERROR_ABORTED);
        nanosleep(&step, NULL);
    }
    return 0;
}

static const struct xl_command commands[] = {
    { "fail", "manners", "fail", fail_main, false },
    { "library", "manners", "call the library", library_main, false },
    { "table", "manners", "print a table", table_main, false },
    { "work", "manners", "work long", work_main, true },
    { NULL, NULL, NULL, NULL, false }
};
const struct xl_command *const xl_commands = commands;

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the unit tests: cmocka with the headers it wants, a check of an rc
 * together with its message, and a directory that goes with the test.
 */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* cmocka 2 has the type in the name, and warns of the old one. */
#ifdef assert_uint_in_range
#undef assert_in_range
#define assert_in_range assert_uint_in_range
#endif

#include "core/internal.h"

/* expr must give rc, and the message must contain text. */
#define assert_fails(expr, rc, text) \
    unit_assert_fails(expr, #expr, rc, text, __FILE__, __LINE__)
/* expr must give 0; if not, the test says why. */
#define assert_ok(expr) \
    unit_assert_fails(expr, #expr, 0, "", __FILE__, __LINE__)

static inline void unit_assert_fails(int got, const char *expr, int rc,
                                     const char *text, const char *file,
                                     int line)
{
    if (got != rc || !strstr(xlx_error_get(), text)) {
        print_error("%s: %d (\"%s\"), wanted %d (\"...%s...\")\n", expr, got,
                    xlx_error_get(), rc, text);
        _fail(file, line);
    }
}

/* "process PID (COMMAND LINE)", as messages name this program; pid may be a
 * fork. */
static inline char *unit_process(pid_t pid)
{
    char line[120];
    FILE *f = fopen("/proc/self/cmdline", "r");
    size_t len, i;

    assert_non_null(f);
    len = fread(line, 1, sizeof(line) - 1, f);
    fclose(f);
    while (len && !line[len - 1])
        len--;
    for (i = 0; i < len; i++)
        line[i] = line[i] ? line[i] : ' ';
    line[len] = '\0';
    return xlx__printf("process %d (%s)", (int)pid, line);
}

/* A directory of this test's own, and its removal. */
static inline char *unit_dir(void)
{
    const char *top = getenv("TMPDIR");
    char *path;

    path = xlx__printf("%s/libxlx-test-XXXXXX", top ? top : "/tmp");
    assert_non_null(path);
    assert_non_null(mkdtemp(path));
    return path;
}

static inline void unit_dir_remove(char *path)
{
    pid_t pid = fork();

    if (!pid) {
        execlp("rm", "rm", "-rf", path, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
    free(path);
}

/* A context whose state and locks are below dir. */
static inline xlx_ctx *unit_ctx(const char *dir)
{
    char *state = xlx__printf("%s/state", dir);
    char *run = xlx__printf("%s/run", dir);
    xlx_ctx *ctx = NULL;

    setenv("LIBXLX_STATE_DIR", state, 1);
    setenv("LIBXLX_RUN_DIR", run, 1);
    assert_ok(xlx_ctx_alloc(&ctx, NULL, NULL));
    free(state);
    free(run);
    return ctx;
}

#endif

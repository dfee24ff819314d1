/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that outlives the command: in a scope of systemd's, so that it
 * does not end with the session, or with the unit, of which the command is a
 * part.  systemd-run becomes the program, and says nothing of its own.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/child.h"

/* Without the default dependencies it also outlives the beginning of the
 * host's shutdown: it ends with its guest. */
static const char *const scope[] = {
    "systemd-run", "--scope", "--quiet", "--collect",
    "--property=DefaultDependencies=no", "--",
};

/* NULL where systemd does not run. */
static const char *find_program(void)
{
    const char *named = secure_getenv("LIBXLX_SYSTEMD_RUN");

    if (named)
        return *named ? named : NULL;
    return !geteuid() && !access("/run/systemd/system", F_OK) ? scope[0]
                                                              : NULL;
}

int xlx__child_run_apart(xlx_ctx *ctx, const struct xlx__child *child)
{
    const char *program = find_program(), **argv;
    struct xlx__child scoped = *child;
    size_t num = 0;
    int rc;

    if (!program)
        return xlx__child_run(ctx, child, NULL, NULL);
    while (child->argv[num])
        num++;
    argv = calloc(XLX__ARRAY_SIZE(scope) + num + 1, sizeof(*argv));
    if (!argv)
        return xlx__nomem();
    memcpy(argv, scope, sizeof(scope));
    argv[0] = program;
    memcpy(argv + XLX__ARRAY_SIZE(scope), child->argv, num * sizeof(*argv));
    scoped.argv = argv;
    rc = xlx__child_run(ctx, &scoped, NULL, NULL);
    free(argv);
    if (!rc)
        return 0;
    /* systemd may be what failed: then without a scope */
    xlx__error_clear();
    return xlx__child_run(ctx, child, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program run as a child: without a shell, waited for, with a deadline, its
 * output bounded.  child.c alone starts one.
 */
#ifndef XLX_CHILD_H
#define XLX_CHILD_H

#include "internal.h"

struct xlx__child {
    const char *const *argv;        /* found on PATH; ends with NULL */
    int timeout_ms;
    size_t max_output;
    /* Called a few times a second with what came on stdout since the last
     * time; non-zero kills the child and gives ERROR_ABORTED.  NULL to have
     * stdout collected instead. */
    int (*tick)(void *user, const char *text);
    void *user;
    /* When set, an exit status other than 0 is given here, not an error. */
    int *status_r;
};

/* Runs it to its end.  *output_r (may be NULL) is its stdout, the caller's to
 * free.  When it fails, rc is ERROR_FAIL and the message the last line that
 * it wrote to stderr. */
int xlx__child_run(xlx_ctx *ctx, const struct xlx__child *child,
                   char **output_r, size_t *len_r);

#endif

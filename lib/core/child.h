/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program run as a child: without a shell, waited for, with a deadline, its
 * output bounded.  child.c alone starts one.  Its status is had whatever the
 * caller does with SIGCHLD and whoever else waits for children; a child whose
 * status is not known has failed.
 */
#ifndef XLX_CHILD_H
#define XLX_CHILD_H

#include <sys/types.h>

#include "core/internal.h"

/* The descriptors that a child is given have these numbers in it. */
#define XLX__CHILD_FIRST_FILE 10
#define XLX__CHILD_MAX_FILES 50

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
    /* Limits; 0 is none. */
    uint64_t max_memory;            /* bytes of address space */
    uint64_t max_cpu_s;
    /* Open files, the caller's still, which the child has as
     * XLX__CHILD_FIRST_FILE and the numbers after it. */
    const int *files;
    int num_files;
    /* Run as this user, without further groups; needs root. */
    bool as_owner;
    uid_t uid;
    gid_t gid;
};

/* Runs it to its end.  *output_r (may be NULL) is its stdout, the caller's to
 * free.  When it fails, rc is ERROR_FAIL and the message the last line that
 * it wrote to stderr; ERROR_BUFFERFULL when it writes more than max_output. */
int xlx__child_run(xlx_ctx *ctx, const struct xlx__child *child,
                   char **output_r, size_t *len_r);

/* The same in two steps, so that several run at once.  Each that was started
 * must be ended, in any order; the time that it has begins with its start.
 * *child, and all that it points to, stays as it is until then. */
struct xlx__child_running {
    const struct xlx__child *child;
    pid_t keeper;
    int out, err, report;           /* pipes */
    int64_t deadline;
};

int xlx__child_start(xlx_ctx *ctx, const struct xlx__child *child,
                     struct xlx__child_running *running_r);
int xlx__child_end(struct xlx__child_running *running, char **output_r,
                   size_t *len_r);

/* A copy of this process of which no wait() but one for it with __WALL knows
 * and whose end sends end_signal, 0 for none.  The copy may make only calls
 * that are async-signal-safe, and not fork(). */
pid_t xlx__clone(int end_signal);
/* Moves a process, where systemd runs, out of the control group of the command
 * and into NAME-PID.scope; a failure is only a notice (scope.c). */
void xlx__scope_take(xlx_ctx *ctx, const char *name, pid_t pid);
/* Closes those descriptors; async-signal-safe. */
void xlx__close_range(unsigned int first, unsigned int last);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A block job of QEMU's from its start to its end.  A job takes long, and QEMU
 * talks to one client at a time: the caller's connection is closed while the
 * job works, and opened again for each look.
 *
 *     xlx__job_init(&job, ctx, guest, &qmp, "xlx-merge", "xvda");
 *     ... the command that starts it, with job.id and auto-dismiss off ...
 *     xlx__job_wait(&job, "ready", "concluded", 0, progress, "xvda", &seen);
 *     xlx__job_command(&job, "job-complete");
 *     xlx__job_wait(&job, "concluded", "concluded", deadline, ..., &seen);
 *     xlx__job_finish(&job, &seen, "merge");
 *
 * An end that QEMU reports is not yet a result: another monitor can end a job
 * without its effect.  The caller looks at the block graph.
 */
#ifndef XLX_JOB_H
#define XLX_JOB_H

#include "core/internal.h"
#include "guest/qmp.h"

/* How long QEMU gets for what it does at once. */
#define XLX__JOB_SETTLE_MS 30000

struct xlx__job {
    xlx_ctx *ctx;
    const xlx_guest *guest;
    struct xlx__qmp **qmp;          /* the caller's, which closes it */
    char id[64];
};

struct xlx__job_state {
    bool there;
    char status[32];
    char error[256];                /* "" when it went well */
    uint64_t done, total;
};

/* The id is PREFIX-VDEV, in the letters that QEMU allows. */
int xlx__job_init(struct xlx__job *job, xlx_ctx *ctx, const xlx_guest *guest,
                  struct xlx__qmp **qmp, const char *prefix,
                  const char *vdev);
/* seen_r->there is false when QEMU has no such job. */
int xlx__job_query(const struct xlx__job *job, struct xlx__job_state *seen_r);
bool xlx__job_is(const struct xlx__job_state *seen, const char *status);
/* A command that takes the job's id alone. */
int xlx__job_command(const struct xlx__job *job, const char *command);
/* Until the job is in one of two states, or gone.  deadline: 0 for none.
 * ERROR_ABORTED when progress, which may be NULL, says so. */
int xlx__job_wait(const struct xlx__job *job, const char *state,
                  const char *or_state, int64_t deadline,
                  const xlx_progress *progress, const char *what,
                  struct xlx__job_state *seen_r);
/* Takes a job that is over out of QEMU's list; ERROR_FAIL when it failed, or
 * is not there: QEMU could not WHAT. */
int xlx__job_finish(const struct xlx__job *job,
                    const struct xlx__job_state *seen, const char *what);
/* Ends it without its effect and takes it out of QEMU's list.  The error that
 * it is ended for keeps its message. */
void xlx__job_cancel(const struct xlx__job *job);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A block job of QEMU's, see job.h.  Jobs are read, never waited for by
 * events: events that come while nobody is connected are lost.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "disk/job.h"

#define LEAST_POLL_MS 20
#define POLL_MS 500                 /* the progress line moves */

static void pause_ms(int ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

    nanosleep(&t, NULL);
}

int xlx__job_init(struct xlx__job *job, xlx_ctx *ctx, const xlx_guest *guest,
                  struct xlx__qmp **qmp, const char *prefix,
                  const char *vdev)
{
    int r = snprintf(job->id, sizeof(job->id), "%s-%s", prefix, vdev);
    char *p;

    job->ctx = ctx;
    job->guest = guest;
    job->qmp = qmp;
    for (p = job->id; *p; p++)      /* QEMU: letters, digits, -._ */
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                    "0123456789._-", *p))
            *p = '-';
    return r < (int)sizeof(job->id)
        ? 0 : xlx__error(ERROR_INVAL, "%s: name too long", vdev);
}

static int connect_again(const struct xlx__job *job)
{
    return *job->qmp ? 0 : xlx__qmp_open(job->ctx, job->guest, job->qmp);
}

static void hang_up(const struct xlx__job *job)
{
    xlx__qmp_close(*job->qmp);
    *job->qmp = NULL;
}

static int read_state(const struct xlx__json *v, struct xlx__job_state *seen)
{
    const char *status, *error = "";
    int64_t done, total;
    int rc;

    rc = xlx__json_member_string(v, "status", &status);
    if (rc) return rc;
    rc = xlx__json_member_int64(v, "current-progress", &done);
    if (rc) return rc;
    rc = xlx__json_member_int64(v, "total-progress", &total);
    if (rc) return rc;
    if (xlx__json_member(v, "error")) {
        rc = xlx__json_member_string(v, "error", &error);
        if (rc) return rc;
    }
    seen->there = true;
    snprintf(seen->status, sizeof(seen->status), "%s", status);
    snprintf(seen->error, sizeof(seen->error), "%s", error);
    seen->done = done > 0 ? (uint64_t)done : 0;
    seen->total = total > 0 ? (uint64_t)total : 0;
    return 0;
}

int xlx__job_query(const struct xlx__job *job, struct xlx__job_state *seen_r)
{
    const struct xlx__json *result, *v;
    const char *other;
    int rc;

    memset(seen_r, 0, sizeof(*seen_r));
    rc = connect_again(job);
    if (rc) return rc;
    rc = xlx__qmp_call(*job->qmp, "query-jobs", NULL, &result);
    if (rc) return rc;
    for (v = xlx__json_first(result); v; v = xlx__json_next(v)) {
        rc = xlx__json_member_string(v, "id", &other);
        if (rc) return rc;
        if (!strcmp(other, job->id))
            return read_state(v, seen_r);
    }
    return 0;
}

int xlx__job_command(const struct xlx__job *job, const char *command)
{
    struct xlx__json_out *args;
    int rc;

    rc = connect_again(job);
    if (rc) return rc;
    args = xlx__json_out_new(false);
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "id", job->id);
    xlx__json_out_end(args);
    return xlx__qmp_call(*job->qmp, command, args, NULL);
}

bool xlx__job_is(const struct xlx__job_state *seen, const char *status)
{
    return seen->there && !strcmp(seen->status, status);
}

/* Half of the time that the rest takes at the rate so far. */
static int nap_for(const struct xlx__job_state *first, int64_t began,
                   const struct xlx__job_state *seen)
{
    int64_t took = xlx__now_ms() - began, left;
    uint64_t done = seen->done - first->done;

    if (seen->total && seen->done >= seen->total)
        return LEAST_POLL_MS;       /* its last steps */
    if (seen->done <= first->done)
        return took < LEAST_POLL_MS ? LEAST_POLL_MS
             : took < POLL_MS ? (int)took : POLL_MS;
    left = (int64_t)((double)took * (double)(seen->total - seen->done) /
                     (double)done / 2);
    return left < LEAST_POLL_MS ? LEAST_POLL_MS
         : left < POLL_MS ? (int)left : POLL_MS;
}

int xlx__job_wait(const struct xlx__job *job, const char *state,
                  const char *or_state, int64_t deadline,
                  const xlx_progress *progress, const char *what,
                  struct xlx__job_state *seen_r)
{
    struct xlx__job_state first = { .there = false };
    const int64_t began = xlx__now_ms();
    xlx_job_progress now;
    int rc;

    for (;;) {
        rc = xlx__job_query(job, seen_r);
        if (rc) return rc;
        if (!seen_r->there || xlx__job_is(seen_r, state) ||
            xlx__job_is(seen_r, or_state))
            return 0;
        if (progress && progress->callback) {
            now.what = (char *)what;
            now.done = seen_r->done;
            now.total = seen_r->total;
            if (progress->callback(progress->user, &now))
                return xlx__error(ERROR_ABORTED, "cancelled");
        }
        if (deadline && xlx__now_ms() > deadline)
            return xlx__error(ERROR_TIMEDOUT, "QEMU's job %s stays %s",
                              job->id, seen_r->status);
        if (!first.there)
            first = *seen_r;
        hang_up(job);
        pause_ms(nap_for(&first, began, seen_r));
    }
}

int xlx__job_finish(const struct xlx__job *job,
                    const struct xlx__job_state *seen, const char *what)
{
    int rc;

    if (!seen->there)
        return xlx__error(ERROR_FAIL, "QEMU's job %s has vanished", job->id);
    rc = xlx__job_command(job, "job-dismiss");
    if (rc) return rc;
    if (seen->error[0])
        return xlx__error(ERROR_FAIL, "QEMU could not %s: %s", what,
                          seen->error);
    return 0;
}

void xlx__job_cancel(const struct xlx__job *job)
{
    struct xlx__error_text kept;
    struct xlx__job_state seen;
    int rc;

    xlx__error_save(&kept);
    rc = xlx__job_query(job, &seen);
    if (!rc && seen.there && !xlx__job_is(&seen, "concluded")) {
        rc = xlx__job_command(job, "job-cancel");
        if (!rc)
            rc = xlx__job_wait(job, "concluded", "concluded",
                               xlx__now_ms() + XLX__JOB_SETTLE_MS, NULL, NULL,
                               &seen);
    }
    if (!rc && seen.there)
        (void)xlx__job_command(job, "job-dismiss");
    xlx__error_restore(&kept);
}

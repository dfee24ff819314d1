/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The jobs on a guest's disks: those of the record, as QEMU says how far they
 * are, and those that other tools have started.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "disk/disk.h"
#include "mirror/mirror.h"

/* ---- what QEMU says ----------------------------------------------------- */

static xlx_disk_job_state state_of(const char *status, const char *error)
{
    static const struct {
        const char *status;
        xlx_disk_job_state state;
    } states[] = {
        { "ready", XLX_DISK_JOB_STATE_READY },
        { "pending", XLX_DISK_JOB_STATE_READY },    /* its last step waits */
        { "paused", XLX_DISK_JOB_STATE_PAUSED },
        { "standby", XLX_DISK_JOB_STATE_PAUSED },   /* of a ready one */
        { "concluded", XLX_DISK_JOB_STATE_DONE },
        { "null", XLX_DISK_JOB_STATE_DONE },
    };
    size_t i;

    for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (!strcmp(status, states[i].status))
            return states[i].state == XLX_DISK_JOB_STATE_DONE && *error
                ? XLX_DISK_JOB_STATE_FAILED : states[i].state;
    return XLX_DISK_JOB_STATE_RUNNING;
}

static int read_number(const struct xlx__json *v, const char *key,
                       uint64_t *number_r)
{
    int64_t number;
    int rc;

    rc = xlx__json_member_int64(v, key, &number);
    if (!rc)
        *number_r = number > 0 ? (uint64_t)number : 0;
    return rc;
}

/* The mean since its start, and so the rest. */
static void estimate(xlx_disk_job *job)
{
    int64_t took = job->started ? time(NULL) - job->started : 0;

    if (took <= 0 || job->state != XLX_DISK_JOB_STATE_RUNNING)
        return;
    job->rate = job->done / (uint64_t)took;
    if (job->rate && job->total > job->done)
        job->left = (job->total - job->done) / job->rate;
}

static int read_job(const struct xlx__json *v, xlx_disk_job *job)
{
    const char *status, *type, *error = "";
    int rc;

    rc = xlx__json_member_string(v, "status", &status);
    if (rc) return rc;
    rc = xlx__json_member_string(v, "type", &type);
    if (rc) return rc;
    if (xlx__json_member(v, "error")) {
        rc = xlx__json_member_string(v, "error", &error);
        if (rc) return rc;
    }
    rc = xlx__set_string(&job->type, type);
    if (rc) return rc;
    rc = xlx__set_string(&job->error, error);
    if (rc) return rc;
    rc = read_number(v, "offset", &job->done);
    if (rc) return rc;
    rc = read_number(v, "len", &job->total);
    if (rc) return rc;
    rc = read_number(v, "speed", &job->speed);
    if (rc) return rc;
    job->state = state_of(status, error);
    estimate(job);
    return 0;
}

static xlx_disk_job *by_id(const xlx_disk_jobs *list, const char *id)
{
    int i;

    for (i = 0; i < list->num_jobs; i++)
        if (!strcmp(xlx__text(list->jobs[i].id), id))
            return &list->jobs[i];
    return NULL;
}

static int take_over(const struct xlx__json *v, xlx_disk_jobs *list, bool all)
{
    xlx_disk_job *job;
    const char *id;
    int rc;

    rc = xlx__json_member_string(v, "device", &id);
    if (rc) return rc;
    job = by_id(list, id);
    if (!job && !all)
        return 0;
    if (!job) {
        job = xlx__disk_jobs_jobs_append(list);
        rc = job ? xlx__set_string(&job->id, id) : ERROR_NOMEM;
        if (rc) return rc;
    }
    return read_job(v, job);
}

int xlx__mirror_look(struct xlx__snapshot_change *c, xlx_disk_jobs *list,
                     bool all)
{
    const struct xlx__json *result, *v;
    int i, rc;

    for (i = 0; i < list->num_jobs; i++) {
        if (xlx__mirror_is_at_work(&list->jobs[i]))
            continue;
        list->jobs[i].state = XLX_DISK_JOB_STATE_FAILED;
        rc = xlx__set_string(&list->jobs[i].error, list->jobs[i].offline
                             ? "the command that worked on it has ended"
                             : c->served ? "QEMU does not have it any more"
                             : "the guest's QEMU has ended");
        if (rc) return rc;
    }
    if (!c->served)
        return 0;
    rc = xlx__snapshot_connect(c);
    if (!rc)
        rc = xlx__qmp_call(c->qmp, "query-block-jobs", NULL, &result);
    if (rc) return rc;
    for (v = xlx__json_first(result); !rc && v; v = xlx__json_next(v))
        rc = take_over(v, list, all);
    return rc;
}

/* ---- the call ----------------------------------------------------------- */

/* Without the guest's lock: a change that takes long does not keep anybody
 * from looking. */
int xlx__disk_job_list(xlx_ctx *ctx, const xlx_guest *guest,
                       xlx_disk_jobs *list)
{
    struct xlx__snapshot_change c;
    int rc;

    rc = xlx__snapshot_look(ctx, guest, &c);
    if (!rc)
        rc = xlx__mirror_load(&c, list);
    if (!rc)
        rc = xlx__mirror_look(&c, list, true);
    xlx__snapshot_end(&c);
    return rc;
}

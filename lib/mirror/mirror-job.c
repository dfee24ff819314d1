/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A job that works: wait for it, end it with its effect or without, change
 * it.
 */
#include <string.h>

#include "core/store.h"
#include "mirror/mirror.h"

/* A copy that is ready falls behind by what the guest writes, and has that to
 * make up for when it is to be finished. */
#define FINISH_MS 120000

/* ---- wait --------------------------------------------------------------- */

/* The job that is to be waited for, without the guest's lock. */
static int find(xlx_ctx *ctx, const xlx_guest *guest, const char *vdev,
                struct xlx__snapshot_change *c, xlx_disk_jobs *jobs,
                xlx_disk_job **job_r)
{
    int rc;

    rc = xlx__snapshot_look(ctx, guest, c);
    if (!rc)
        rc = xlx__mirror_load(c, jobs);
    return rc ? rc : xlx__mirror_find(jobs, vdev, job_r);
}

/* How far a wait came. */
struct waited {
    bool found, offline, ready;
};

/* The guest's lock is free, and QEMU's monitor is between the looks. */
static int wait_in_qemu(xlx_ctx *ctx, const xlx_guest *guest,
                        const char *vdev, const xlx_progress *progress,
                        struct waited *w, xlx_disk_job *job_r)
{
    struct xlx__job_state seen = { .there = false };
    struct xlx__snapshot_change c;
    struct xlx__job handle;
    const char *ready;
    xlx_disk_jobs jobs;
    xlx_disk_job *job;
    int rc;

    xlx_disk_jobs_init(&jobs);
    rc = find(ctx, guest, vdev, &c, &jobs, &job);
    w->found = !rc;
    w->offline = !rc && job->offline;
    if (rc || w->offline) goto out;
    rc = xlx__mirror_handle(&c, job, &handle);
    ready = job->kind == XLX_DISK_JOB_KIND_PULL ? "pending" : "ready";
    if (!rc && c.served)
        rc = xlx__job_wait(&handle, ready, "concluded", 0, progress, vdev,
                           &seen);
    if (rc || !xlx__job_is(&seen, ready)) goto out;
    w->ready = true;
    rc = xlx__mirror_look(&c, &jobs, false);
    if (!rc)
        rc = xlx_disk_job_copy(ctx, job_r, job);

 out:
    xlx_disk_jobs_dispose(&jobs);
    xlx__snapshot_end(&c);
    return rc;
}

static int failed(const xlx_disk_job *job)
{
    return xlx__error(ERROR_FAIL, "%s: the %s failed: %s", job->vdev,
                      xlx_disk_job_kind_to_string(job->kind), job->error);
}

int xlx__disk_job_wait(xlx_ctx *ctx, const xlx_guest *guest, const char *vdev,
                       const xlx_progress *progress, xlx_disk_job *job)
{
    struct waited w = { .found = false };
    struct xlx__mirror m;
    bool ended;
    int rc;

    rc = wait_in_qemu(ctx, guest, vdev, progress, &w, job);
    if (w.offline)
        return xlx__mirror_work(ctx, guest, vdev, progress, job);
    /* when QEMU does not answer, it may have ended */
    if (w.ready || !w.found || rc == ERROR_ABORTED)
        return rc;
    xlx__error_clear();
    rc = xlx__mirror_open(ctx, guest, false, &m);
    if (!rc)
        rc = xlx__mirror_settle(&m, vdev, job, &ended);
    xlx__mirror_end(&m);
    if (!rc && !ended)
        rc = xlx__error(ERROR_FAIL, "%s: QEMU does not say how far it is",
                        vdev);
    if (!rc && job->state == XLX_DISK_JOB_STATE_FAILED)
        rc = failed(job);
    return rc;
}

/* ---- finish ------------------------------------------------------------- */

static int check_ready(const xlx_disk_job *job)
{
    if (job->offline)
        return xlx__error(ERROR_NOT_READY, "%s: the guest was shut down when "
                          "the job began: it ends with its work", job->vdev);
    if (job->state == XLX_DISK_JOB_STATE_PAUSED)
        return xlx__error(ERROR_NOT_READY, "%s: the job is paused: xl "
                          "disk-job-resume", job->vdev);
    if (job->state != XLX_DISK_JOB_STATE_READY)
        return xlx__error(ERROR_NOT_READY, "%s: not all is copied yet: see xl "
                          "disk-jobs", job->vdev);
    return 0;
}

/* Not forced: QEMU copies what is left first, and makes both the same. */
static int finish_mirror(struct xlx__mirror *m, const xlx_disk_job *job)
{
    struct xlx__json_out *args = xlx__json_out_new(false);
    struct xlx__job_state seen;
    struct xlx__job handle;
    int rc;

    xlx__json_out_object(args);
    xlx__json_out_kv(args, "device", job->id);
    xlx__json_out_kv_bool(args, "force", false);
    xlx__json_out_end(args);
    rc = xlx__qmp_call(m->c.qmp, "block-job-cancel", args, NULL);
    if (rc) return rc;
    xlx__fault("disk-mirror-finish.told");
    rc = xlx__mirror_handle(&m->c, job, &handle);
    if (rc) return rc;
    return xlx__job_wait(&handle, "concluded", "concluded",
                         xlx__now_ms() + FINISH_MS, NULL, NULL, &seen);
}

/* The guest goes on in the other image. */
static int finish_move(struct xlx__mirror *m, const xlx_disk_job *job)
{
    struct xlx__job handle;
    int rc;

    rc = xlx__mirror_handle(&m->c, job, &handle);
    return rc ? rc : xlx__mirror_pivot(m, job, &handle);
}

static int finish(struct xlx__mirror *m, xlx_disk_job *job)
{
    int rc;

    if (job->kind == XLX_DISK_JOB_KIND_MOVE ||
        job->kind == XLX_DISK_JOB_KIND_COMMIT)
        return finish_move(m, job);
    job->finishing = true;
    rc = xlx__mirror_save(m);
    if (rc) return rc;
    xlx__fault("disk-job-finish.recorded");
    return job->kind == XLX_DISK_JOB_KIND_PULL
        ? xlx__mirror_finish_pull(m, job) : finish_mirror(m, job);
}

int xlx__mirror_finish(struct xlx__mirror *m, const char *vdev,
                       xlx_disk_job *job)
{
    xlx_disk_job *entry;
    bool ended;
    int rc;

    rc = xlx__mirror_find(&m->jobs, vdev, &entry);
    if (rc) return rc;
    rc = xlx__mirror_look(&m->c, &m->jobs, false);
    if (rc) return rc;
    rc = check_ready(entry);
    if (rc) return rc;
    rc = finish(m, entry);
    if (rc) return rc;
    rc = xlx__mirror_settle(m, vdev, job, &ended);
    return !rc && job->state == XLX_DISK_JOB_STATE_FAILED ? failed(job) : rc;
}

int xlx__disk_job_finish(xlx_ctx *ctx, const xlx_guest *guest,
                         const char *vdev, xlx_disk_job *job)
{
    struct xlx__mirror m;
    int rc;

    rc = xlx__mirror_begin(ctx, guest, false, &m);
    if (!rc)
        rc = xlx__mirror_finish(&m, vdev, job);
    xlx__mirror_end(&m);
    return rc;
}

/* ---- cancel ------------------------------------------------------------- */

/* QEMU's part of it. */
static int cancel(struct xlx__mirror *m, xlx_disk_job *entry)
{
    struct xlx__job handle;
    struct xlx__job_state seen;
    int rc;

    rc = xlx__mirror_handle(&m->c, entry, &handle);
    if (rc) return rc;
    /* should we be killed: the copy of a job that is not there is to go */
    rc = xlx__set_string(&entry->qemu, "");
    if (!rc)
        rc = xlx__mirror_save(m);
    if (rc) return rc;
    xlx__job_cancel(&handle);
    xlx__fault("disk-job-cancel.cancelled");
    rc = xlx__job_query(&handle, &seen);
    if (!rc && seen.there)
        rc = xlx__error(ERROR_FAIL, "QEMU does not end the job %s, which is "
                        "%s", handle.id, seen.status);
    return rc;
}

int xlx__disk_job_cancel(xlx_ctx *ctx, const xlx_guest *guest,
                         const char *vdev, xlx_disk_job *job)
{
    struct xlx__mirror m;
    xlx_disk_job *entry;
    int rc;

    rc = xlx__mirror_begin(ctx, guest, false, &m);
    if (rc) goto out;
    rc = xlx__mirror_find(&m.jobs, vdev, &entry);
    if (rc) goto out;
    rc = xlx__mirror_look(&m.c, &m.jobs, false);
    if (rc) goto out;
    rc = xlx_disk_job_copy(ctx, job, entry);
    if (!rc && !entry->offline)
        rc = cancel(&m, entry);
    if (!rc)
        rc = xlx__mirror_drop(&m, entry, false);

 out:
    xlx__mirror_end(&m);
    return rc;
}

/* ---- change ------------------------------------------------------------- */

static int set_speed(struct xlx__mirror *m, const xlx_disk_job *job,
                     uint64_t speed)
{
    struct xlx__json_out *args;

    if (speed > INT64_MAX)
        return xlx__error(ERROR_INVAL, "speed: at most %lld bytes a second",
                          (long long)INT64_MAX);
    args = xlx__json_out_new(false);
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "device", job->id);
    xlx__json_out_key(args, "speed");
    xlx__json_out_uint64(args, speed);
    xlx__json_out_end(args);
    return xlx__qmp_call(m->c.qmp, "block-job-set-speed", args, NULL);
}

static int change(struct xlx__mirror *m, const xlx_disk_job *job,
                  xlx_disk_job_change what, uint64_t speed)
{
    bool paused = job->state == XLX_DISK_JOB_STATE_PAUSED;
    struct xlx__job handle;
    int rc;

    if (job->offline)
        return xlx__error(ERROR_NOT_READY, "%s: the guest was shut down when "
                          "the job began: nobody can change it", job->vdev);
    if (what == XLX_DISK_JOB_CHANGE_SPEED)
        return set_speed(m, job, speed);
    if (paused == (what == XLX_DISK_JOB_CHANGE_PAUSE))
        return 0;
    rc = xlx__mirror_handle(&m->c, job, &handle);
    return rc ? rc : xlx__job_command(&handle, paused ? "job-resume"
                                                      : "job-pause");
}

int xlx__disk_job_set(xlx_ctx *ctx, const xlx_guest *guest, const char *vdev,
                      xlx_disk_job_change what, uint64_t speed,
                      xlx_disk_job *job)
{
    struct xlx__mirror m;
    xlx_disk_job *entry;
    int rc;

    rc = xlx__mirror_begin(ctx, guest, false, &m);
    if (rc) goto out;
    rc = xlx__mirror_find(&m.jobs, vdev, &entry);
    if (!rc)
        rc = xlx__mirror_look(&m.c, &m.jobs, false);
    if (!rc)
        rc = change(&m, entry, what, speed);
    if (!rc)
        rc = xlx__mirror_look(&m.c, &m.jobs, false);
    if (!rc)
        rc = xlx_disk_job_copy(ctx, job, entry);

 out:
    xlx__mirror_end(&m);
    return rc;
}

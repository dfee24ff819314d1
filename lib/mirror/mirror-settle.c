/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A command on a guest's jobs, and what is done about those that have ended:
 * a copy that is complete is flushed and kept, any other one is removed, and
 * the job is taken out of QEMU's list and out of the record.
 *
 * QEMU is believed about the job.  When it does not have it any more, a pull
 * is judged by the image; of a mirror nobody knows whether the copy is
 * complete, so that it is removed only when the QEMU that copied has ended.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/process.h"
#include "core/store.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "mirror/mirror.h"

/* ---- the record --------------------------------------------------------- */

bool xlx__disk_jobs_names_image(const xlx_disk_jobs *record,
                                const char *image)
{
    int i;

    for (i = 0; i < record->num_jobs; i++)
        if (xlx__file_same(record->jobs[i].image, image))
            return true;
    return false;
}

xlx_disk_job *xlx__mirror_job_on(const xlx_disk_jobs *jobs, const char *vdev)
{
    int i;

    for (i = 0; i < jobs->num_jobs; i++)
        if (!strcmp(xlx__text(jobs->jobs[i].vdev), vdev) &&
            jobs->jobs[i].kind != XLX_DISK_JOB_KIND_OTHER)
            return &jobs->jobs[i];
    return NULL;
}

int xlx__mirror_find(const xlx_disk_jobs *jobs, const char *vdev,
                     xlx_disk_job **job_r)
{
    *job_r = xlx__mirror_job_on(jobs, vdev);
    return *job_r ? 0 : xlx__error(ERROR_NOTFOUND, "no job of libxlx is on "
                                   "\"%s\": see xl disk-jobs", vdev);
}

int xlx__mirror_save(struct xlx__mirror *m)
{
    return m->jobs.num_jobs
        ? xlx__disk_jobs_save(m->c.ctx, m->c.guest, &m->jobs)
        : xlx__disk_jobs_remove(m->c.ctx, m->c.guest);
}

int xlx__mirror_handle(struct xlx__snapshot_change *c,
                       const xlx_disk_job *job, struct xlx__job *handle_r)
{
    const char *prefix =
        job->kind == XLX_DISK_JOB_KIND_PULL ? "xlx-pull"
        : job->kind == XLX_DISK_JOB_KIND_COMMIT ? "xlx-commit" : "xlx-mirror";

    return xlx__job_init(handle_r, c->ctx, c->guest, &c->qmp, prefix,
                         job->vdev);
}

int xlx__mirror_qemu(const struct xlx__snapshot_change *c, char **qemu_r)
{
    pid_t pid = c->qmp ? xlx__qmp_pid(c->qmp) : 0;

    *qemu_r = xlx__printf("%ld %llu", (long)pid, (unsigned long long)
                          (pid ? xlx__process_start(pid) : 0));
    return *qemu_r ? 0 : xlx__nomem();
}

int xlx__mirror_drop(struct xlx__mirror *m, xlx_disk_job *job, bool complete)
{
    int i = (int)(job - m->jobs.jobs), rc = 0;

    if (!complete)
        rc = xlx__mirror_remove_target(m, job);
    if (!complete && !rc)
        rc = xlx__mirror_remove_chain(m, job);
    if (rc == ERROR_INVAL) {        /* it is somebody else's */
        xlx__notice(m->c.ctx, "%s: %s", job->vdev, xlx_error_get());
        xlx__error_clear();
    } else if (rc) {
        return rc;                  /* to be tried again */
    }
    xlx_disk_job_dispose(job);
    m->jobs.num_jobs--;
    memmove(job, job + 1, (size_t)(m->jobs.num_jobs - i) * sizeof(*job));
    return xlx__mirror_save(m);
}

/* ---- the verdict -------------------------------------------------------- */

static int fail(xlx_disk_job *job, const char *why)
{
    job->state = XLX_DISK_JOB_STATE_FAILED;
    return xlx__set_string(&job->error, why);
}

static int judge_concluded(xlx_disk_job *job,
                           const struct xlx__job_state *seen)
{
    job->done = seen->done;
    job->total = seen->total;
    if (seen->error[0])
        return fail(job, seen->error);
    job->state = XLX_DISK_JOB_STATE_DONE;
    return 0;
}

/* Is the disk based on no more than it was to be? */
static int judge_pull(xlx_disk_job *job)
{
    char *below, *format;
    int rc;

    rc = xlx__image_below(job->image, job->format, &below, &format);
    if (rc) return rc;
    if (below ? xlx__image_same(below, job->target)
              : !*xlx__text(job->target))
        job->state = XLX_DISK_JOB_STATE_DONE;
    else
        rc = fail(job, "QEMU ended before it was done");
    free(format);
    free(below);
    return rc;
}

/* Does the guest go on in it? */
static bool is_present(const struct xlx__mirror *m, const xlx_disk_job *job)
{
    const xlx_snapshot_disk *now =
        xlx__snapshot_current_disk(&m->c.record, job->vdev);

    return now && xlx__image_same(now->image, job->target);
}

static int judge_lost(struct xlx__mirror *m, xlx_disk_job *job)
{
    char *qemu;
    bool same;
    int rc;

    if (job->kind == XLX_DISK_JOB_KIND_PULL)
        return judge_pull(job);
    if (job->kind != XLX_DISK_JOB_KIND_MIRROR && is_present(m, job)) {
        job->state = XLX_DISK_JOB_STATE_DONE;
        return 0;
    }
    if (job->offline)
        return fail(job, "the command that worked on it was killed");
    rc = xlx__mirror_qemu(&m->c, &qemu);
    if (rc) return rc;
    same = !strcmp(qemu, xlx__text(job->qemu));
    free(qemu);
    if (!job->finishing && (!same || !*xlx__text(job->qemu)))
        return fail(job, *xlx__text(job->qemu)
                    ? "QEMU ended, and the copy was not complete"
                    : "the command that began or cancelled it was killed");
    rc = fail(job, same ? "another tool took it out of QEMU's list"
                        : "QEMU ended while it was being finished");
    if (rc || !job->made)
        return rc;
    xlx__notice(m->c.ctx, "%s: whether %s is complete is not known: compare "
                "it with the disk (qemu-img compare), or remove it",
                job->vdev, job->target);
    job->made = false;              /* it is the user's now */
    return 0;
}

/* ---- dealing with it ---------------------------------------------------- */

/* The record of the snapshots names what the disk was based on. */
static int note_pulled(struct xlx__mirror *m, const xlx_disk_job *job)
{
    xlx_snapshot_disk *now =
        xlx__snapshot_current_disk(&m->c.record, job->vdev);
    int rc;

    if (!now || !xlx__image_same(now->image, job->image))
        return 0;
    rc = xlx__set_string(&now->backing, job->target);
    return rc ? rc : xlx__snapshot_record_write(m->c.ctx, m->c.guest,
                                                &m->c.record);
}

int xlx__mirror_conclude(struct xlx__mirror *m, const xlx_disk_job *job)
{
    int rc;

    if (job->kind != XLX_DISK_JOB_KIND_PULL)
        return xlx__mirror_sync(job, job->target);
    /* the template may be removed after this */
    rc = xlx__mirror_sync(job, job->image);
    return rc ? rc : note_pulled(m, job);
}

int xlx__mirror_settle(struct xlx__mirror *m, const char *vdev,
                       xlx_disk_job *job_r, bool *ended_r)
{
    struct xlx__job_state seen = { .there = false };
    struct xlx__job handle;
    xlx_disk_job *job;
    int rc;

    *ended_r = false;
    rc = xlx__mirror_find(&m->jobs, vdev, &job);
    if (rc) return rc;
    if (xlx__mirror_is_at_work(job))
        return xlx_disk_job_copy(m->c.ctx, job_r, job);
    rc = xlx__mirror_handle(&m->c, job, &handle);
    if (!rc)
        rc = xlx__mirror_go_on(m, job, m->c.served ? &handle : NULL);
    if (!rc && m->c.served)
        rc = xlx__job_query(&handle, &seen);
    if (rc) return rc;
    if (seen.there && !xlx__job_is(&seen, "concluded"))
        return xlx_disk_job_copy(m->c.ctx, job_r, job);
    rc = seen.there ? judge_concluded(job, &seen) : judge_lost(m, job);
    if (rc) return rc;
    *ended_r = true;
    if (job->state == XLX_DISK_JOB_STATE_DONE) {
        rc = xlx__mirror_conclude(m, job);
        if (rc) return rc;
    }
    xlx__fault("disk-job.concluded");
    if (seen.there) {
        rc = xlx__job_command(&handle, "job-dismiss");
        if (rc) return rc;
    }
    rc = xlx_disk_job_copy(m->c.ctx, job_r, job);
    if (rc) return rc;
    return xlx__mirror_drop(m, job, job->state == XLX_DISK_JOB_STATE_DONE);
}

/* ---- one command -------------------------------------------------------- */

static void tell(xlx_ctx *ctx, const xlx_disk_job *job)
{
    const char *kind = xlx_disk_job_kind_to_string(job->kind);

    if (job->state == XLX_DISK_JOB_STATE_DONE)
        xlx__notice(ctx, "%s: an earlier %s is done", job->vdev, kind);
    else
        xlx__notice(ctx, "%s: an earlier %s has failed: %s", job->vdev, kind,
                    xlx__text(job->error));
}

static int settle_all(struct xlx__mirror *m)
{
    xlx_disk_job job;
    char *vdev = NULL;
    bool ended;
    int i, rc = 0;

    for (i = m->jobs.num_jobs; !rc && i-- > 0; ) {
        xlx_disk_job_init(&job);
        rc = xlx__set_string(&vdev, m->jobs.jobs[i].vdev);
        if (!rc)
            rc = xlx__mirror_settle(m, vdev, &job, &ended);
        if (!rc && ended)
            tell(m->c.ctx, &job);
        xlx_disk_job_dispose(&job);
    }
    free(vdev);
    return rc;
}

int xlx__mirror_load(struct xlx__snapshot_change *c, xlx_disk_jobs *jobs)
{
    int rc;

    rc = xlx__disk_jobs_load(c->ctx, &c->guest->uuid, jobs, NULL);
    if (rc) return rc;
    if (c->served || c->guest->domid != XLX_DOMID_NONE ||
        !*xlx__text(jobs->guest.qmp_socket))
        return xlx_guest_copy(c->ctx, &jobs->guest, c->guest);
    rc = xlx__set_string(&c->self.qmp_socket, jobs->guest.qmp_socket);
    if (!rc)
        rc = xlx__snapshot_look_again(c);
    if (rc != ERROR_NOTFOUND) return rc;
    xlx__error_clear();             /* it has ended */
    return xlx__set_string(&c->self.qmp_socket, "");
}

int xlx__mirror_open(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                     struct xlx__mirror *m)
{
    int rc;

    xlx_disk_jobs_init(&m->jobs);
    rc = xlx__snapshot_begin(ctx, guest, dry_run, &m->c);
    return rc ? rc : xlx__mirror_load(&m->c, &m->jobs);
}

int xlx__mirror_begin(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                      struct xlx__mirror *m)
{
    int rc;

    rc = xlx__mirror_open(ctx, guest, dry_run, m);
    return rc || dry_run ? rc : settle_all(m);
}

void xlx__mirror_end(struct xlx__mirror *m)
{
    xlx_disk_jobs_dispose(&m->jobs);
    xlx__snapshot_end(&m->c);
}

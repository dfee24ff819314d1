/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A job on a disk of a guest that is shut down: qemu-img does the work while
 * xlx_disk_job_wait() is called, and the job ends with it.  The guest's lock
 * is held, and so are the images, so that our xl starts no guest on them.
 * When another program does, the image that was copied is not what it was at
 * the end, and the copy is removed.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/process.h"
#include "core/store.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "mirror/mirror.h"

/* ---- who works ---------------------------------------------------------- */

int xlx__mirror_worker(char **worker_r)
{
    free(*worker_r);
    *worker_r = xlx__printf("%ld %llu", (long)getpid(), (unsigned long long)
                            xlx__process_start(getpid()));
    return *worker_r ? 0 : xlx__nomem();
}

bool xlx__mirror_is_at_work(const xlx_disk_job *job)
{
    unsigned long long start;
    long pid;

    return job->offline && job->qemu &&
           sscanf(job->qemu, "%ld %llu", &pid, &start) == 2 && start &&
           xlx__process_start((pid_t)pid) == start;
}

int xlx__mirror_may_work(struct xlx__mirror *m, const xlx_disk *disk)
{
    /* whoever reads it, or is based on it, sees the same afterwards */
    const struct xlx__image_allow allow = {
        .own_disk = true, .readers = true, .force_based = true,
    };
    struct xlx__image_world *world = NULL;
    int rc;

    rc = xlx__snapshot_offline(&m->c);
    if (!rc)
        rc = xlx__snapshot_no_doubt(m->c.guest, &m->c.record, disk->vdev);
    if (!rc)
        rc = xlx__snapshot_hold_image(&m->c, disk->path);
    if (!rc)
        rc = xlx__snapshot_world_of(&m->c, &world);
    if (!rc)
        rc = xlx__image_ask(world, disk->vdev, disk->path, &allow);
    xlx__image_world_close(world);
    return rc;
}

/* ---- the work ----------------------------------------------------------- */

static int convert(struct xlx__mirror *m, const xlx_disk *disk,
                   const xlx_disk_job *job, const xlx_progress *progress)
{
    const xlx_disk_job_layer *below =
        job->num_layers ? &job->layers[job->num_layers - 1] : NULL;
    struct stat before, after;
    int rc;

    if (stat(disk->path, &before))
        return xlx__error(xlx__errno_rc(errno), "%s: %m", disk->path);
    rc = below
        ? xlx__image_convert_layer(m->c.ctx, disk->path, disk->format,
                                   job->target, below->target, below->format,
                                   progress, job->vdev)
        : xlx__image_convert(m->c.ctx, disk->path, disk->format, job->target,
                             job->format, job->made, progress, job->vdev);
    if (rc) return rc;
    xlx__fault("disk-job.copied");
    if (stat(disk->path, &after) || after.st_ino != before.st_ino ||
        after.st_mtim.tv_sec != before.st_mtim.tv_sec ||
        after.st_mtim.tv_nsec != before.st_mtim.tv_nsec)
        return xlx__error(ERROR_FAIL, "somebody wrote to %s while it was "
                          "copied: nobody knows what the copy holds",
                          disk->path);
    return 0;
}

/* The former image is unlinked after this. */
static int compare(struct xlx__mirror *m, const xlx_disk *disk,
                   const xlx_disk_job *job)
{
    uint64_t at;
    bool same;
    int rc;

    rc = xlx__image_compare(m->c.ctx, disk->path, job->target, disk->format,
                            job->format, &same, &at);
    if (!rc && !same)
        rc = xlx__error(ERROR_FAIL, "the copy does not hold what %s holds: "
                        "is the storage of %s sound?", disk->path,
                        job->target);
    return rc;
}

static int pull(struct xlx__mirror *m, const xlx_disk_job *job,
                const xlx_progress *progress)
{
    char *at = NULL, *format = NULL, *below = NULL;
    int rc = 0;

    /* the header of the image over it says which format it has */
    if (*xlx__text(job->target))
        rc = xlx__set_string(&at, job->image);
    if (!rc && at)
        rc = xlx__set_string(&format, job->format);
    while (!rc && at && !xlx__image_same(at, job->target)) {
        char *next = NULL;

        rc = xlx__image_below(at, format, &below, &next);
        free(at);
        free(format);
        at = below;
        format = next;
        if (!rc && (!at || !format))
            rc = xlx__error(ERROR_NOTFOUND, "%s is not below %s any more",
                            job->target, job->image);
    }
    if (!rc)
        rc = xlx__image_pull(m->c.ctx, job->image, xlx__text(job->target),
                             format, progress, job->vdev);
    free(at);
    free(format);
    return rc;
}

static int commit(struct xlx__mirror *m, const xlx_disk *disk,
                  xlx_disk_job *job, const xlx_progress *progress)
{
    /* the call that began it has asked, and has been answered */
    const struct xlx__image_allow force = {
        .force_based = true, .force_unknown = true,
    };
    int rc;

    rc = xlx__mirror_may_commit(m, disk, &force, job);
    return rc ? rc : xlx__image_commit(m->c.ctx, disk->path, disk->format,
                                       job->target, progress, job->vdev);
}

static int perform(struct xlx__mirror *m, xlx_disk_job *job,
                   const xlx_progress *progress)
{
    const xlx_disk *disk;
    int rc;

    rc = xlx__mirror_see_disk(m, job->vdev, &disk);
    if (!rc && !xlx__image_same(disk->path, job->image))
        rc = xlx__error(ERROR_NOT_READY, "the disk is %s by now, and not %s",
                        disk->path, job->image);
    if (!rc)
        rc = xlx__mirror_may_work(m, disk);
    if (rc) return rc;
    switch (job->kind) {
    case XLX_DISK_JOB_KIND_PULL:
        rc = pull(m, job, progress);
        break;
    case XLX_DISK_JOB_KIND_COMMIT:
        rc = commit(m, disk, job, progress);
        break;
    default:
        rc = convert(m, disk, job, progress);
        if (!rc && job->delete_old)
            rc = compare(m, disk, job);
        break;
    }
    if (!rc)
        rc = xlx__snapshot_look_again(&m->c);
    if (!rc)
        rc = xlx__snapshot_offline(&m->c);
    return rc ? rc : xlx__mirror_conclude(m, job);
}

static bool goes_on_there(const xlx_disk_job *job)
{
    return job->kind == XLX_DISK_JOB_KIND_MOVE ||
           job->kind == XLX_DISK_JOB_KIND_COMMIT;
}

int xlx__mirror_work(xlx_ctx *ctx, const xlx_guest *guest, const char *vdev,
                     const xlx_progress *progress, xlx_disk_job *job_r)
{
    struct xlx__error_text why;
    struct xlx__mirror m;
    xlx_disk_job *job;
    int rc;

    rc = xlx__mirror_open(ctx, guest, false, &m);
    if (!rc)
        rc = xlx__mirror_find(&m.jobs, vdev, &job);
    if (rc) goto out;
    rc = perform(&m, job, progress);
    if (rc == ERROR_ABORTED) goto out;
    if (rc) {
        xlx__error_save(&why);
        (void)xlx__mirror_drop(&m, job, false);
        xlx__error_restore(&why);
        xlx__error_prefix(rc, "%s", vdev);
        goto out;
    }
    xlx__fault("disk-job.worked");
    /* the job stays when this fails: the next command sees how far it came */
    if (goes_on_there(job))
        rc = xlx__mirror_pivot(&m, job, NULL);
    if (rc) goto out;
    job->state = XLX_DISK_JOB_STATE_DONE;
    rc = xlx_disk_job_copy(ctx, job_r, job);
    if (!rc)
        rc = xlx__mirror_drop(&m, job, true);

 out:
    xlx__mirror_end(&m);
    return rc;
}

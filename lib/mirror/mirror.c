/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The start of a job.  The record knows of it before the file of a copy is
 * made, and of the file before anybody writes to it, so that whoever comes
 * after a kill finds what there is to be removed.  The job of a guest that is
 * shut down begins like that as well: see mirror-work.c for its work.
 *
 * QEMU makes the image in our empty file itself (mode absolute-paths): it then
 * knows that all of it is zero, and copies what the disk holds instead of
 * writing zeroes to the end of it first.  The new node belongs to the job and
 * not to a monitor, so that it goes with the job.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/store.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "mirror/mirror.h"

/* QEMU writes the header of the image before it answers. */
#define START_MS 60000

/* ---- the disk ----------------------------------------------------------- */

static int list_disks(struct xlx__mirror *m)
{
    int rc;

    rc = m->c.served ? xlx__snapshot_connect(&m->c)
                     : xlx__snapshot_offline(&m->c);
    if (rc) return rc;
    xlx_disks_dispose(&m->c.disks);
    xlx_disks_init(&m->c.disks);
    rc = xlx__disk_list_with(m->c.ctx, m->c.guest, m->c.qmp, &m->c.disks);
    if (rc || m->c.served) return rc;
    /* the config file may be out of date */
    return xlx__snapshot_reconcile(m->c.ctx, &m->c.record, &m->c.disks);
}

static int no_such_disk(const xlx_disks *disks, const char *vdev)
{
    char names[128] = "";
    size_t used = 0;
    int i;

    for (i = 0; i < disks->num_disks && used < sizeof(names); i++)
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
                                 i ? ", " : "", disks->disks[i].vdev);
    return xlx__error(ERROR_NOTFOUND, "the guest has no disk \"%s\": it has "
                      "%s", vdev, *names ? names : "none");
}

int xlx__mirror_see_disk(struct xlx__mirror *m, const char *vdev,
                         const xlx_disk **disk_r)
{
    const xlx_disk *disk;
    int rc;

    rc = list_disks(m);
    if (rc) return rc;
    disk = xlx__snapshot_seen_disk(&m->c.disks, vdev);
    if (!disk)
        return no_such_disk(&m->c.disks, vdev);
    if (*xlx__text(disk->unusable))
        return xlx__error(ERROR_INVAL, "%s: %s", vdev, disk->unusable);
    if (disk->cdrom || disk->readonly)
        return xlx__error(ERROR_INVAL, "%s: %s", vdev, disk->cdrom
                          ? "it is a CD-ROM drive"
                          : "the guest cannot write to it: copy its image "
                            "with qemu-img");
    *disk_r = disk;
    return 0;
}

int xlx__mirror_find_disk(struct xlx__mirror *m, const char *vdev,
                          const xlx_disk **disk_r)
{
    int rc;

    if (xlx__mirror_job_on(&m->jobs, vdev))
        return xlx__error(ERROR_NOT_READY, "%s: a job is on it: see xl "
                          "disk-jobs", vdev);
    rc = xlx__mirror_see_disk(m, vdev, disk_r);
    return rc || m->c.served ? rc : xlx__mirror_may_work(m, *disk_r);
}

/* ---- the record --------------------------------------------------------- */

int xlx__mirror_new_job(struct xlx__mirror *m, xlx_disk_job_kind kind,
                        const xlx_disk *disk, xlx_disk_job *job)
{
    struct xlx__job handle;
    int rc;

    job->kind = kind;
    job->started = time(NULL);
    job->offline = !m->c.served;
    rc = xlx__set_string(&job->vdev, disk->vdev);
    if (rc) return rc;
    rc = xlx__set_string(&job->image, disk->path);
    if (rc) return rc;
    rc = xlx__mirror_handle(&m->c, job, &handle);
    if (rc) return rc;
    return xlx__set_string(&job->id, handle.id);
}

int xlx__mirror_record(struct xlx__mirror *m, const xlx_disk_job *job,
                       xlx_disk_job **entry_r)
{
    int rc;

    *entry_r = xlx__disk_jobs_jobs_append(&m->jobs);
    if (!*entry_r)
        return ERROR_NOMEM;
    rc = xlx_disk_job_copy(m->c.ctx, *entry_r, job);
    return rc ? rc : xlx__mirror_save(m);
}

int xlx__mirror_started(struct xlx__mirror *m, xlx_disk_job *entry)
{
    int rc;

    rc = entry->offline ? xlx__mirror_worker(&entry->qemu)
                        : xlx__mirror_qemu(&m->c, &entry->qemu);
    return rc ? rc : xlx__mirror_save(m);
}

int xlx__mirror_launch(struct xlx__mirror *m, const xlx_disk *disk,
                       const xlx_disk_job *job,
                       int (*start)(struct xlx__mirror *m,
                                    const xlx_disk *disk,
                                    const xlx_disk_job *job))
{
    struct xlx__error_text why;
    xlx_disk_job *entry;
    int rc;

    rc = xlx__mirror_record(m, job, &entry);
    if (rc) return rc;
    xlx__fault("disk-job.recorded");
    rc = entry->offline ? 0 : start(m, disk, entry);
    if (!rc) {
        xlx__fault("disk-job.started");
        return xlx__mirror_started(m, entry);
    }
    xlx__error_save(&why);
    (void)xlx__mirror_drop(m, entry, false);
    xlx__error_restore(&why);
    return xlx__error_prefix(rc, "%s", job->vdev);
}

/* ---- the start of a copy ------------------------------------------------ */

static int start_qemu_job(struct xlx__mirror *m, const xlx_disk *disk,
                          const xlx_disk_job *job)
{
    struct xlx__json_out *args;
    char node[32];

    /* the guest may be on a copy of before, which another tool gave it */
    snprintf(node, sizeof(node), "%.22s-%08x", job->id,
             (unsigned int)xlx__now_ms());
    args = xlx__json_out_new(false);
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "job-id", job->id);
    xlx__json_out_kv(args, "device", disk->node);
    xlx__json_out_kv(args, "target", job->target);
    xlx__json_out_kv(args, "format", job->format);
    xlx__json_out_kv(args, "node-name", node);
    /* with a chain the images below are copied already, and QEMU opens the
     * copies when it moves the guest */
    xlx__json_out_kv(args, "sync", job->num_layers ? "top" : "full");
    xlx__json_out_kv(args, "mode", job->made && !job->num_layers
                     ? "absolute-paths" : "existing");
    xlx__json_out_kv(args, "copy-mode", job->sync_writes ? "write-blocking"
                                                         : "background");
    xlx__json_out_key(args, "speed");
    xlx__json_out_uint64(args, job->speed);
    /* so that the verdict can be read by whoever comes later */
    xlx__json_out_kv_bool(args, "auto-dismiss", false);
    xlx__json_out_end(args);
    return xlx__qmp_call_within(m->c.qmp, START_MS, "drive-mirror", args,
                                NULL);
}

/* QEMU opened the copy by its name, which others may have given to another
 * file. */
static int check_opened(struct xlx__mirror *m, const xlx_disk_job *job)
{
    struct xlx__file_id id;
    int rc;

    if (!job->made)
        return 0;
    rc = xlx__image_is_seen(job->target, job->target_id);
    if (rc) return rc;
    return xlx__snapshot_check_open(&m->c, (const char *const *)&job->target,
                                    1, &id);
}

static int start_halted(struct xlx__mirror *m, const xlx_disk *disk,
                        xlx_disk_job *entry, const struct xlx__job *handle)
{
    struct xlx__error_text why;
    int rc;

    rc = xlx__mirror_halt(m, entry);
    if (!rc)
        rc = start_qemu_job(m, disk, entry);
    if (!rc)
        return xlx__mirror_go_on(m, entry, handle);
    xlx__error_save(&why);
    (void)xlx__mirror_go_on(m, entry, NULL);
    xlx__error_restore(&why);
    return rc;
}

static int perform(struct xlx__mirror *m, const xlx_disk *disk,
                   const xlx_progress *progress, xlx_disk_job *job)
{
    struct xlx__error_text why;
    struct xlx__job handle;
    xlx_disk_job *entry;
    int rc;

    rc = xlx__mirror_handle(&m->c, job, &handle);
    if (rc) return rc;
    rc = xlx__mirror_record(m, job, &entry);
    if (rc) return rc;
    xlx__fault("disk-mirror.recorded");
    rc = xlx__mirror_copy_chain(m, entry, progress);
    if (!rc)
        rc = xlx__mirror_make_target(m, entry, disk);
    if (rc) goto undo;
    xlx__fault("disk-mirror.identified");
    if (!entry->offline)
        rc = entry->sync_writes ? start_halted(m, disk, entry, &handle)
                                : start_qemu_job(m, disk, entry);
    if (rc) goto undo;
    xlx__fault("disk-mirror.started");
    if (!entry->offline)
        rc = check_opened(m, entry);
    if (!rc)
        rc = xlx__mirror_started(m, entry);
    if (!rc)
        return xlx_disk_job_copy(m->c.ctx, job, entry);

 undo:
    if (!entry->offline)
        xlx__job_cancel(&handle);
    xlx__error_save(&why);
    (void)xlx__mirror_drop(m, entry, false);
    xlx__error_restore(&why);
    return xlx__error_prefix(rc, "%s", job->vdev);
}

/* A user who sees snapshots of the disk may believe that the copy has them. */
static void tell_flattened(struct xlx__mirror *m, const char *vdev)
{
    const xlx_snapshots *record = &m->c.record;
    const char *first = NULL;
    int i, num = 0;

    for (i = 0; i < record->num_snapshots; i++)
        if (xlx__snapshot_disk_of(&record->snapshots[i], vdev)) {
            first = first ? first : record->snapshots[i].name;
            num++;
        }
    if (num == 1)
        xlx__notice(m->c.ctx, "%s: the copy holds the present state; the "
                    "snapshot \"%s\" is not part of it", vdev, first);
    else if (num)
        xlx__notice(m->c.ctx, "%s: the copy holds the present state; its %d "
                    "snapshots are not part of it", vdev, num);
}

/* wanted: the job as far as the caller knows it */
static int start(xlx_ctx *ctx, const xlx_guest *guest,
                 const xlx_disk_mirror_spec *spec, const xlx_disk_job *wanted,
                 bool with_chain, const xlx_progress *progress,
                 xlx_disk_job *job)
{
    struct xlx__mirror m;
    const xlx_disk *disk;
    int rc;

    rc = xlx__mirror_begin(ctx, guest, spec->dry_run, &m);
    if (rc) goto out;
    rc = xlx__mirror_find_disk(&m, spec->vdev, &disk);
    if (!rc && wanted->kind == XLX_DISK_JOB_KIND_MOVE)
        rc = xlx__snapshot_check_move(&m.c, disk, with_chain);
    if (rc) goto out;
    rc = xlx__mirror_new_job(&m, wanted->kind, disk, job);
    if (rc) goto out;
    job->sync_writes = wanted->sync_writes;
    job->delete_old = wanted->delete_old;
    job->speed = spec->speed;
    rc = xlx__mirror_plan_target(&m, spec, disk, job);
    if (!rc && with_chain)
        rc = xlx__mirror_plan_chain(&m, disk, job);
    if (rc) goto out;
    if (!with_chain)
        tell_flattened(&m, disk->vdev);
    if (!spec->dry_run)
        rc = perform(&m, disk, progress, job);

 out:
    xlx__mirror_end(&m);
    return rc;
}

static int check_names(const char *vdev, const char *target)
{
    if (*xlx__text(vdev) && *xlx__text(target))
        return 0;
    return xlx__error(ERROR_INVAL, "the name of the %s is empty",
                      *xlx__text(vdev) ? "target" : "disk");
}

int xlx__disk_mirror(xlx_ctx *ctx, const xlx_guest *guest,
                     const xlx_disk_mirror_spec *spec, xlx_disk_job *job)
{
    const xlx_disk_job wanted = {
        .kind = XLX_DISK_JOB_KIND_MIRROR, .sync_writes = spec->sync_writes,
    };
    int rc;

    rc = check_names(spec->vdev, spec->target);
    return rc ? rc : start(ctx, guest, spec, &wanted, false, NULL, job);
}

/* Both images get each write of the guest's: so the guest can be told to go on
 * in the copy before QEMU moves it. */
int xlx__disk_move(xlx_ctx *ctx, const xlx_guest *guest,
                   const xlx_disk_move_spec *spec,
                   const xlx_progress *progress, xlx_disk_job *job)
{
    const xlx_disk_job wanted = {
        .kind = XLX_DISK_JOB_KIND_MOVE, .sync_writes = true,
        .delete_old = spec->delete_old,
    };
    const xlx_disk_mirror_spec copy = {
        .vdev = spec->vdev, .target = spec->target, .format = spec->format,
        .speed = spec->speed, .force_open = spec->force_open,
        .force_based = spec->force_based,
        .force_unknown = spec->force_unknown, .dry_run = spec->dry_run,
    };
    int rc;

    rc = check_names(spec->vdev, spec->target);
    if (!rc && xlx__mirror_is_url(spec->target))
        rc = xlx__error(ERROR_INVAL, "%s: Xen's toolstack starts no guest on "
                        "that: name a file or a block device", spec->target);
    return rc ? rc : start(ctx, guest, &copy, &wanted, spec->with_chain,
                           progress, job);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A pull: QEMU copies into the disk's image what it has from the images below
 * (block-stream), and then writes into its header that it is based on them no
 * more.  Until then the image is what it was.
 *
 * QEMU writes that header while its tables of what it has copied are still in
 * its memory (7.2 to 10): killed at that moment it would leave an image that
 * shows zeroes.  So the job waits before its last step (auto-finalize is off),
 * and we have QEMU flush the image first, by its human monitor, because QMP
 * has no word for that.
 *
 * An internal snapshot in the image reads the images below as well, and
 * QEMU copies nothing for it: it would hold zeroes afterwards.  An external
 * snapshot of the disk is one of the images below.  So neither may be there.
 */
#include <stdlib.h>
#include <string.h>

#include "core/store.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "mirror/mirror.h"

#define FLUSH_MS 60000

/* ---- may it be done? ---------------------------------------------------- */

static int check_record(const struct xlx__mirror *m, const char *vdev)
{
    const xlx_snapshots *record = &m->c.record;
    int i;

    for (i = 0; i < record->num_snapshots; i++)
        if (xlx__snapshot_disk_of(&record->snapshots[i], vdev))
            return xlx__error(ERROR_INVAL, "%s: the snapshot \"%s\" needs the "
                              "images as they are: delete it first (xl "
                              "snapshot-delete)", vdev,
                              record->snapshots[i].name);
    return 0;
}

static int check_image(const xlx_disk *disk)
{
    struct xlx__image_tag *tags = NULL;
    int num = 0, rc;

    if (strcmp(disk->format, "qcow2"))
        return xlx__error(ERROR_INVAL, "%s: a %s image is based on nothing",
                          disk->vdev, disk->format);
    rc = xlx__image_tags(disk->path, &tags, &num);
    if (rc) return rc;
    if (num)
        rc = xlx__error(ERROR_INVAL, "%s: the snapshot \"%s\" in %s would "
                        "lose what it has from the images below: remove it "
                        "first", disk->vdev, tags[0].name, disk->path);
    xlx__image_tags_free(tags, num);
    return rc;
}

/* *until_r: the image that it stays based on, "" for none. */
static int check_until(const xlx_disk *disk, const char *until)
{
    char *below, *format;
    int rc;

    rc = xlx__image_below(disk->path, disk->format, &below, &format);
    if (rc) return rc;
    if (!below)
        rc = xlx__error(ERROR_INVAL, "%s: %s is based on nothing: there is "
                        "nothing to do", disk->vdev, disk->path);
    else if (*until && xlx__image_same(below, until))
        rc = xlx__error(ERROR_INVAL, "%s: %s is based on %s itself: there is "
                        "nothing to do", disk->vdev, disk->path, until);
    else if (*until && (xlx__image_same(disk->path, until) ||
                        !xlx__image_leads_to(disk->path, disk->format,
                                             until)))
        rc = xlx__error(ERROR_NOTFOUND, "%s: %s is not below %s", disk->vdev,
                        until, disk->path);
    free(below);
    free(format);
    return rc;
}

/* ---- the start ---------------------------------------------------------- */

static int start_qemu_job(struct xlx__mirror *m, const xlx_disk *disk,
                          const xlx_disk_job *job)
{
    struct xlx__json_out *args;
    char *until = NULL;
    bool readonly;
    int rc;

    if (*xlx__text(job->target)) {
        rc = xlx__disk_find_node(m->c.qmp, job->target, &until, &readonly);
        if (rc) return rc;
    }
    args = xlx__json_out_new(false);
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "job-id", job->id);
    xlx__json_out_kv(args, "device", disk->node);
    if (until)
        xlx__json_out_kv(args, "base-node", until);
    xlx__json_out_key(args, "speed");
    xlx__json_out_uint64(args, job->speed);
    xlx__json_out_kv_bool(args, "auto-finalize", false);
    xlx__json_out_kv_bool(args, "auto-dismiss", false);
    xlx__json_out_end(args);
    free(until);
    return xlx__qmp_call(m->c.qmp, "block-stream", args, NULL);
}

int xlx__disk_pull(xlx_ctx *ctx, const xlx_guest *guest,
                   const xlx_disk_pull_spec *spec, xlx_disk_job *job)
{
    const char *until = xlx__text(spec->until);
    const xlx_disk *disk;
    struct xlx__mirror m;
    int rc;

    rc = xlx__mirror_begin(ctx, guest, spec->dry_run, &m);
    if (rc) goto out;
    rc = xlx__mirror_find_disk(&m, xlx__text(spec->vdev), &disk);
    if (rc) goto out;
    rc = check_record(&m, disk->vdev);
    if (rc) goto out;
    rc = check_image(disk);
    if (rc) goto out;
    rc = check_until(disk, until);
    if (rc) goto out;
    rc = xlx__mirror_new_job(&m, XLX_DISK_JOB_KIND_PULL, disk, job);
    if (rc) goto out;
    job->speed = spec->speed;
    rc = xlx__set_string(&job->target, until);
    if (!rc)
        rc = xlx__set_string(&job->format, disk->format);
    if (rc || spec->dry_run) goto out;
    rc = xlx__mirror_launch(&m, disk, job, start_qemu_job);

 out:
    xlx__mirror_end(&m);
    return rc;
}

/* ---- its last step ------------------------------------------------------ */

static int flush(struct xlx__mirror *m, const xlx_disk_job *job)
{
    const struct xlx__json *result;
    struct xlx__json_out *args;
    char *node, *command;
    const char *said;
    bool readonly;
    int rc;

    rc = xlx__disk_find_node(m->c.qmp, job->image, &node, &readonly);
    if (rc) return rc;
    command = xlx__printf("qemu-io \"%s\" flush", node);
    free(node);
    if (!command)
        return xlx__nomem();
    args = xlx__json_out_new(false);
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "command-line", command);
    xlx__json_out_end(args);
    free(command);
    rc = xlx__qmp_call_within(m->c.qmp, FLUSH_MS, "human-monitor-command",
                              args, &result);
    if (rc) return rc;
    rc = xlx__json_string(result, &said);
    if (rc) return rc;
    return !*said ? 0 : xlx__error(ERROR_FAIL, "%s: QEMU does not flush %s: "
                                   "%.*s", job->vdev, job->image,
                                   (int)strcspn(said, "\r\n"), said);
}

int xlx__mirror_finish_pull(struct xlx__mirror *m, const xlx_disk_job *job)
{
    struct xlx__job_state seen;
    struct xlx__job handle;
    int rc;

    rc = flush(m, job);
    if (rc) return rc;
    xlx__fault("disk-pull.flushed");
    rc = xlx__mirror_handle(&m->c, job, &handle);
    if (!rc)
        rc = xlx__job_command(&handle, "job-finalize");
    if (rc) return rc;
    xlx__fault("disk-pull.finalized");
    return xlx__job_wait(&handle, "concluded", "concluded",
                         xlx__now_ms() + XLX__JOB_SETTLE_MS, NULL, NULL,
                         &seen);
}

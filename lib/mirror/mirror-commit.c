/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A commit: the image of a disk is written into the one below it, and the
 * guest goes on in that one.  It is for overlays that other tools have made,
 * also on top of our own; layers of snapshots are merged by
 * xlx_snapshot_delete().
 *
 * The image below changes.  So nobody else may be based on it, and what is
 * based on the image above would be left with something else below it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "disk/disk.h"
#include "disk/image.h"
#include "guest/libxl-config.h"
#include "mirror/mirror.h"

/* ---- may it be done? ---------------------------------------------------- */

/* A snapshot may be further below, and inside the image that is written to. */
static int check_snapshots(struct xlx__mirror *m, const xlx_disk *disk,
                           const char *base)
{
    const xlx_snapshots *record = &m->c.record;
    const xlx_snapshot_disk *d;
    int i;

    for (i = 0; i < record->num_snapshots; i++) {
        d = xlx__snapshot_disk_of(&record->snapshots[i], disk->vdev);
        if (d && !*xlx__text(d->tag) && xlx__image_same(d->image, base))
            return xlx__error(ERROR_INVAL, "%s: the snapshot \"%s\" is in "
                              "%s, which must not be written to: xl "
                              "snapshot-delete merges the two", disk->vdev,
                              record->snapshots[i].name, base);
    }
    return xlx__snapshot_no_tags(disk->vdev, disk->path);
}

/* The guest goes on with a disk of the same size. */
static int check_size(struct xlx__mirror *m, const xlx_disk *disk,
                      const char *base, const char *format)
{
    uint64_t size;
    int rc;

    rc = xlx__image_size(m->c.ctx, base, format, &size);
    if (!rc && size != disk->virtual_size)
        rc = xlx__error(ERROR_INVAL, "%s: %s has %"PRIu64" bytes, and the "
                        "disk has %"PRIu64": the guest would get a disk of "
                        "another size; resize that image first (qemu-img "
                        "resize)", disk->vdev, base, size,
                        disk->virtual_size);
    return rc;
}

static int check_bitmaps(struct xlx__image_world *world,
                         const xlx_disk *disk)
{
    char *name = NULL;
    int rc;

    rc = xlx__image_world_bitmaps(world, disk->path, &name);
    if (!rc && name)
        rc = xlx__error(ERROR_INVAL, "%s: %s has a dirty bitmap, which would "
                        "be lost, and with it the next incremental backup: "
                        "remove it first (qemu-img bitmap --remove)",
                        disk->vdev, disk->path);
    free(name);
    return rc;
}

/* Who else uses either image? */
static int check_users(struct xlx__mirror *m, const xlx_disk *disk,
                       const struct xlx__image_allow *force, const char *base)
{
    const char *const overlays[] = { disk->path };
    struct xlx__image_allow top = *force, below = *force;
    struct xlx__image_world *world = NULL;
    int rc;

    top.own_disk = true;
    below.overlays = overlays;
    below.num_overlays = 1;
    rc = xlx__snapshot_world_of(&m->c, &world);
    if (!rc)
        rc = xlx__image_ask(world, disk->vdev, base, &below);
    if (!rc)
        rc = xlx__image_ask(world, disk->vdev, disk->path, &top);
    if (!rc)
        rc = check_bitmaps(world, disk);
    xlx__image_world_close(world);
    return rc;
}

int xlx__mirror_may_commit(struct xlx__mirror *m, const xlx_disk *disk,
                           const struct xlx__image_allow *force,
                           xlx_disk_job *job)
{
    char *base = NULL, *format = NULL;
    int rc;

    rc = xlx__image_below(disk->path, disk->format, &base, &format);
    if (rc) return rc;
    if (!base || !format)
        rc = xlx__error(ERROR_INVAL, "%s: %s %s", disk->vdev, disk->path, base
                        ? "does not say which format the image below it has: "
                          "qemu-img rebase -u -F writes it"
                        : "is based on nothing: there is nothing to do");
    if (!rc)
        rc = check_snapshots(m, disk, base);
    if (!rc && m->c.guest->domid != XLX_DOMID_NONE)
        rc = xlx__config_check(m->c.ctx, m->c.guest);
    if (!rc)
        rc = check_size(m, disk, base, format);
    if (!rc)
        rc = xlx__snapshot_hold_image(&m->c, base);
    if (!rc)
        rc = check_users(m, disk, force, base);
    if (!rc)
        rc = xlx__set_string(&job->target, base);
    if (!rc)
        rc = xlx__set_string(&job->format, format);
    free(format);
    free(base);
    return rc;
}

/* ---- the start ---------------------------------------------------------- */

static int start_qemu_job(struct xlx__mirror *m, const xlx_disk *disk,
                          const xlx_disk_job *job)
{
    const char *images[] = { job->image, job->target };
    struct xlx__file_id ids[2];
    struct xlx__json_out *args;
    char *base = NULL;
    bool readonly;
    int rc;

    rc = xlx__snapshot_check_open(&m->c, images, 2, ids);
    if (!rc)
        rc = xlx__disk_find_node(m->c.qmp, job->target, &base, &readonly);
    if (rc) return rc;
    args = xlx__json_out_new(false);
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "job-id", job->id);
    xlx__json_out_kv(args, "device", disk->node);
    xlx__json_out_kv(args, "base-node", base);
    xlx__json_out_key(args, "speed");
    xlx__json_out_uint64(args, job->speed);
    xlx__json_out_kv_bool(args, "auto-dismiss", false);
    xlx__json_out_end(args);
    free(base);
    return xlx__qmp_call(m->c.qmp, "block-commit", args, NULL);
}

int xlx__disk_commit(xlx_ctx *ctx, const xlx_guest *guest,
                     const xlx_disk_commit_spec *spec, xlx_disk_job *job)
{
    const struct xlx__image_allow force = {
        .force_open = spec->force_open, .force_based = spec->force_based,
        .force_unknown = spec->force_unknown,
    };
    const xlx_disk *disk;
    struct xlx__mirror m;
    int rc;

    rc = xlx__mirror_begin(ctx, guest, spec->dry_run, &m);
    if (rc) goto out;
    rc = xlx__mirror_find_disk(&m, xlx__text(spec->vdev), &disk);
    if (rc) goto out;
    rc = xlx__mirror_may_commit(&m, disk, &force, job);
    if (rc) goto out;
    rc = xlx__mirror_new_job(&m, XLX_DISK_JOB_KIND_COMMIT, disk, job);
    if (rc) goto out;
    job->delete_old = spec->delete_old;
    job->speed = spec->speed;
    if (!spec->dry_run)
        rc = xlx__mirror_launch(&m, disk, job, start_qemu_job);

 out:
    xlx__mirror_end(&m);
    return rc;
}

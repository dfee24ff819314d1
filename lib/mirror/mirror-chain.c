/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk moves with its snapshots.  The images of external snapshots are
 * frozen, so qemu-img copies them one by one, the lowest first, into the
 * directory of the target; each copy is based on the copy of the one below.
 * Then the image that takes the guest's writes follows, on top of them, and
 * the record of the snapshots changes with the move.
 *
 * Nothing is copied of what lies below the lowest image of a snapshot: that is
 * a template, and may be many guests'.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/store.h"
#include "disk/image.h"
#include "mirror/mirror.h"

/* ---- the plan ----------------------------------------------------------- */

static bool is_of_snapshot(const xlx_snapshots *record, const char *vdev,
                           const char *image)
{
    const xlx_snapshot_disk *d;
    int i;

    for (i = 0; i < record->num_snapshots; i++) {
        d = xlx__snapshot_disk_of(&record->snapshots[i], vdev);
        if (d && xlx__image_same(d->image, image))
            return true;
    }
    return false;
}

/* Its copy has its name, in the directory of the target. */
static char *place_of(const char *target, const char *image)
{
    return xlx__printf("%.*s%s", (int)(strrchr(target, '/') - target + 1),
                       target, strrchr(image, '/') + 1);
}

static int add_layer(xlx_disk_job *job, const char *image, const char *format)
{
    xlx_disk_job_layer *layer = xlx__disk_job_layers_append(job);
    int rc;

    if (!layer)
        return ERROR_NOMEM;
    rc = xlx__set_string(&layer->image, image);
    if (!rc)
        rc = xlx__set_string(&layer->format, format);
    if (rc) return rc;
    layer->target = place_of(job->target, image);
    return layer->target ? 0 : xlx__nomem();
}

/* From the image below that of the disk down to the lowest of a snapshot. */
static int add_layers(const xlx_snapshots *record, const xlx_disk *disk,
                      xlx_disk_job *job)
{
    char *at = NULL, *format = NULL, *below, *next;
    int wanted = 0, rc;

    rc = xlx__image_below(disk->path, disk->format, &at, &format);
    while (!rc && at && format) {
        rc = add_layer(job, at, format);
        if (!rc && is_of_snapshot(record, disk->vdev, at))
            wanted = job->num_layers;
        below = next = NULL;
        if (!rc)
            rc = xlx__image_below(at, format, &below, &next);
        free(at);
        free(format);
        at = below;
        format = next;
    }
    free(at);
    free(format);
    while (job->num_layers > wanted)
        xlx_disk_job_layer_dispose(&job->layers[--job->num_layers]);
    return rc;
}

static int check_layer(const xlx_disk_job *job,
                       const xlx_disk_job_layer *layer)
{
    bool taken = !strcmp(layer->target, job->target);
    const xlx_disk_job_layer *other;
    struct stat st;

    for (other = job->layers; other < layer; other++)
        taken = taken || !strcmp(layer->target, other->target);
    if (taken || !lstat(layer->target, &st))
        return xlx__error(ERROR_DEVICE_EXISTS, "%s: a copy of %s would get "
                          "that name, and it is taken", layer->target,
                          layer->image);
    return xlx__snapshot_no_tags(job->vdev, layer->image);
}

static void lowest_first(xlx_disk_job *job)
{
    int i;

    for (i = 0; i < job->num_layers / 2; i++) {
        xlx_disk_job_layer *other = &job->layers[job->num_layers - 1 - i];
        xlx_disk_job_layer layer = job->layers[i];

        job->layers[i] = *other;
        *other = layer;
    }
}

int xlx__mirror_plan_chain(struct xlx__mirror *m, const xlx_disk *disk,
                           xlx_disk_job *job)
{
    uint64_t bytes = disk->allocated;
    struct stat st;
    int i, rc;

    if (!job->made || strcmp(job->format, "qcow2"))
        return xlx__error(ERROR_INVAL, "%s: with its snapshots the disk moves "
                          "to a new file in the format qcow2", disk->vdev);
    rc = add_layers(&m->c.record, disk, job);
    if (rc) return rc;
    if (!job->num_layers)
        return xlx__error(ERROR_INVAL, "%s: there is no external snapshot "
                          "that could move with it: leave --with-chain out",
                          disk->vdev);
    lowest_first(job);
    for (i = 0; !rc && i < job->num_layers; i++) {
        rc = check_layer(job, &job->layers[i]);
        if (!rc && !stat(job->layers[i].image, &st))
            bytes += (uint64_t)st.st_blocks * 512;
    }
    return rc ? rc : xlx__mirror_check_space(job->target, bytes);
}

/* ---- the copies --------------------------------------------------------- */

/* Onto the copy below it; the lowest onto what the image is based on. */
static int copy_layer(struct xlx__mirror *m, const xlx_disk_job *job, int i,
                      const xlx_progress *progress)
{
    const xlx_disk_job_layer *layer = &job->layers[i];
    char *below = NULL, *format = NULL;
    int rc = 0;

    if (!i)
        rc = xlx__image_below(layer->image, layer->format, &below, &format);
    if (rc) return rc;
    if (i)
        rc = xlx__image_convert_layer(m->c.ctx, layer->image, layer->format,
                                      layer->target, layer[-1].target,
                                      layer[-1].format, progress, job->vdev);
    else if (below && format)
        rc = xlx__image_convert_layer(m->c.ctx, layer->image, layer->format,
                                      layer->target, below, format, progress,
                                      job->vdev);
    else
        rc = xlx__image_convert(m->c.ctx, layer->image, layer->format,
                                layer->target, layer->format, true, progress,
                                job->vdev);
    free(below);
    free(format);
    return rc;
}

/* The snapshots are in the copies alone, once the former images are gone. */
static int compare(struct xlx__mirror *m, const xlx_disk_job_layer *layer)
{
    uint64_t at;
    bool same;
    int rc;

    rc = xlx__image_compare(m->c.ctx, layer->image, layer->target,
                            layer->format, layer->format, &same, &at);
    if (!rc && !same)
        rc = xlx__error(ERROR_FAIL, "the copy does not hold what %s holds: "
                        "is the storage of %s sound?", layer->image,
                        layer->target);
    return rc;
}

int xlx__mirror_copy_chain(struct xlx__mirror *m, xlx_disk_job *job,
                           const xlx_progress *progress)
{
    int i, rc;

    for (i = 0; i < job->num_layers; i++) {
        xlx_disk_job_layer *layer = &job->layers[i];

        rc = xlx__image_make_empty(layer->target, layer->image);
        if (!rc)
            rc = xlx__image_identity(layer->target, &layer->target_id);
        if (!rc)
            rc = xlx__mirror_save(m);
        if (rc) return rc;
        xlx__fault("disk-move-chain.made");
        rc = copy_layer(m, job, i, progress);
        if (!rc)
            rc = xlx__image_is_seen(layer->target, layer->target_id);
        if (!rc)
            rc = xlx__store_sync(layer->target);
        if (!rc && job->delete_old)
            rc = compare(m, layer);
        if (rc) return rc;
        xlx__fault("disk-move-chain.copied");
    }
    return 0;
}

/* We were killed between its making and the look at it. */
static bool was_just_made(const xlx_disk_job_layer *layer)
{
    struct stat st;

    return !lstat(layer->target, &st) && S_ISREG(st.st_mode) && !st.st_size;
}

int xlx__mirror_remove_chain(struct xlx__mirror *m, const xlx_disk_job *job)
{
    bool made = true;
    int i, rc = 0;

    for (i = 0; !rc && made && i < job->num_layers; i++) {
        const xlx_disk_job_layer *layer = &job->layers[i];

        if (xlx__snapshots_names_image(&m->c.record, layer->target))
            continue;
        made = *xlx__text(layer->target_id);
        if (made || was_just_made(layer))
            rc = xlx__image_remove(layer->target, layer->target_id);
    }
    return rc;
}

/* ---- the move ----------------------------------------------------------- */

int xlx__mirror_pivot(struct xlx__mirror *m, const xlx_disk_job *job,
                      const struct xlx__job *handle)
{
    struct xlx__snapshot_moved *moved;
    int i, rc;

    moved = calloc((size_t)job->num_layers + 1, sizeof(*moved));
    if (!moved)
        return xlx__nomem();
    moved[0] = (struct xlx__snapshot_moved){
        .image = job->image, .target = job->target, .format = job->format,
    };
    for (i = 0; i < job->num_layers; i++)
        moved[i + 1] = (struct xlx__snapshot_moved){
            .image = job->layers[i].image, .target = job->layers[i].target,
            .format = job->layers[i].format,
        };
    rc = xlx__snapshot_move(&m->c, job->vdev, moved, job->num_layers,
                            job->delete_old, handle);
    free(moved);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The record, brought up to what the guest's disks are now: other tools move a
 * guest to other images, a config file names the image of long ago, and disks
 * change their names.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "disk/image.h"
#include "guest/libxl-config.h"
#include "snapshot/snapshot.h"

/* ---- the present -------------------------------------------------------- */

/* Does the guest's state contain this snapshot, on all disks that it has? */
static bool is_ancestor(const xlx_snapshots *record,
                        const xlx_snapshot *snapshot)
{
    int i;

    for (i = 0; i < snapshot->num_disks; i++) {
        const xlx_snapshot_disk *d = &snapshot->disks[i];
        const xlx_snapshot_disk *now =
            xlx__snapshot_current_disk(record, xlx__text(d->vdev));

        if (!now || !xlx__image_leads_to(now->image, xlx__text(now->format),
                                         d->image))
            return false;
    }
    return snapshot->num_disks > 0;
}

/* The guest runs on other images than recorded: somebody else snapshot it,
 * merged layers, or started it on something else. */
int xlx__snapshot_find_current(xlx_snapshots *record)
{
    int i;

    for (i = record->num_snapshots; i > 0; i--)
        if (is_ancestor(record, &record->snapshots[i - 1]))
            return xlx__set_string(&record->current,
                                   record->snapshots[i - 1].name);
    return xlx__set_string(&record->current, "");
}

/* A disk was moved away from it. */
static bool is_left(const xlx_snapshots *record, const char *image)
{
    int i;

    for (i = 0; i < record->num_moved; i++)
        if (xlx__image_same(record->moved[i].image, image))
            return true;
    return false;
}

static int add_current(xlx_snapshots *record, const char *vdev,
                       xlx_snapshot_disk **disk_r)
{
    *disk_r = xlx__snapshots_disks_append(record);
    return *disk_r ? xlx__set_string(&(*disk_r)->vdev, vdev) : ERROR_NOMEM;
}

static bool is_frozen(const xlx_snapshots *record, const char *image)
{
    int i, j;

    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

            if (!*xlx__text(d->tag) && xlx__image_same(d->image, image))
                return true;
        }
    return false;
}

/* The config file of a guest that is shut down names the image of long ago,
 * which by now is frozen, or which the disk has left: the guest goes on where
 * the record says. */
static int correct_config(xlx_ctx *ctx, const xlx_snapshots *record,
                          xlx_disk *disk)
{
    const xlx_snapshot_disk *now =
        xlx__snapshot_current_disk(record, disk->vdev);
    struct stat st;
    int layers, rc;

    if (!now || disk->backend != XLX_DISK_BACKEND_FILE ||
        (!is_frozen(record, disk->path) && !is_left(record, disk->path)))
        return 0;
    if (stat(now->image, &st))
        return xlx__error(xlx__errno_rc(errno), "%s: the guest's image %s: "
                          "%m; see xl snapshot-repair", disk->vdev,
                          now->image);
    disk->allocated = (uint64_t)st.st_blocks * 512;
    /* it may have been resized since it was recorded */
    rc = xlx__image_size(ctx, now->image, now->format, &disk->virtual_size);
    if (rc) return rc;
    rc = xlx__image_chain(now->image, now->format, &layers);
    if (rc) return rc;
    disk->layers = (uint32_t)layers;
    rc = xlx__set_string(&disk->path, now->image);
    if (rc) return rc;
    return xlx__set_string(&disk->format, now->format);
}

static int take_over(xlx_snapshots *record, const xlx_disk *disk,
                     xlx_snapshot_disk *now)
{
    char *below = NULL;
    int rc;

    if (!strcmp(xlx__text(disk->format), "qcow2")) {
        rc = xlx__image_backing(disk->path, &below);
        if (rc) return rc;
    }
    rc = xlx__set_string(&now->backing, below);
    free(below);
    if (rc) return rc;
    rc = xlx__set_string(&now->image, disk->path);
    if (rc) return rc;
    rc = xlx__set_string(&now->format, disk->format);
    if (rc) return rc;
    now->virtual_size = disk->virtual_size;
    now->mtime = xlx__snapshot_now();
    xlx__snapshot_forget_moved(record, now->image);
    return 0;
}

/* ---- disks that changed places ------------------------------------------ */

/* The entry of that disk (any when NULL) that has the image, now or in a
 * snapshot. */
static const xlx_snapshot_disk *entry_of(const xlx_snapshots *record,
                                         const char *vdev, const char *image)
{
    int i, j;

    for (i = 0; i < record->num_disks; i++)
        if ((!vdev || !strcmp(record->disks[i].vdev, vdev)) &&
            xlx__image_same(record->disks[i].image, image))
            return &record->disks[i];
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

            if ((!vdev || !strcmp(d->vdev, vdev)) &&
                xlx__image_same(d->image, image))
                return d;
        }
    return NULL;
}

struct moves {
    char **from;                    /* by place in disks; NULL: stays */
    const xlx_disks *disks;
    bool any;
};

/* The name of that disk now.  One whose name another disk has taken,
 * and that the guest does not have, is called AWAY. */
static char *new_name(const struct moves *m, const char *vdev)
{
    int i;

    for (i = 0; i < m->disks->num_disks; i++)
        if (m->from[i] && !strcmp(m->from[i], vdev))
            return strdup(m->disks->disks[i].vdev);
    for (i = 0; i < m->disks->num_disks; i++)
        if (m->from[i] && !strcmp(m->disks->disks[i].vdev, vdev))
            return xlx__printf("%s (away)", vdev);
    return strdup(vdev);
}

static int rename_disk(const struct moves *m, xlx_snapshot_disk *d)
{
    char *name = new_name(m, xlx__text(d->vdev));

    if (!name)
        return xlx__nomem();
    free(d->vdev);
    d->vdev = name;
    return 0;
}

static int find_moves(const xlx_snapshots *record, struct moves *m)
{
    const xlx_snapshot_disk *entry;
    int i, rc;

    for (i = 0; i < m->disks->num_disks; i++) {
        const xlx_disk *d = &m->disks->disks[i];

        if (d->cdrom || d->readonly || *xlx__text(d->unusable) ||
            entry_of(record, d->vdev, d->path))
            continue;
        entry = entry_of(record, NULL, d->path);
        if (!entry)
            continue;
        rc = xlx__set_string(&m->from[i], entry->vdev);
        if (rc) return rc;
        m->any = true;
    }
    return 0;
}

/* A disk is its image and not its name: names move when the user changes the
 * config, or when QEMU counts its devices in another order. */
static int follow_images(xlx_snapshots *record, const xlx_disks *disks)
{
    struct moves m = { .disks = disks };
    int i, j, rc;

    m.from = calloc(disks->num_disks + 1, sizeof(*m.from));
    if (!m.from)
        return xlx__nomem();
    rc = find_moves(record, &m);
    for (i = 0; !rc && m.any && i < record->num_disks; i++)
        rc = rename_disk(&m, &record->disks[i]);
    for (i = 0; m.any && i < record->num_snapshots; i++)
        for (j = 0; !rc && j < record->snapshots[i].num_disks; j++)
            rc = rename_disk(&m, &record->snapshots[i].disks[j]);
    for (i = 0; i < disks->num_disks; i++)
        free(m.from[i]);
    free(m.from);
    return rc;
}

/* ---- what the disks are now --------------------------------------------- */

int xlx__snapshot_reconcile(xlx_ctx *ctx, xlx_snapshots *record,
                            xlx_disks *disks)
{
    const xlx_snapshot_disk *entry;
    bool moved = false, owned;
    int i, rc;

    rc = follow_images(record, disks);
    if (rc) return rc;
    for (i = 0; i < disks->num_disks; i++) {
        xlx_disk *d = &disks->disks[i];
        xlx_snapshot_disk *now;

        if (d->cdrom || d->readonly || *xlx__text(d->unusable))
            continue;
        rc = correct_config(ctx, record, d);
        if (rc) return rc;
        now = xlx__snapshot_current_disk(record, d->vdev);
        if (now && xlx__image_same(now->image, d->path))
            continue;
        /* one that we made, perhaps, for an earlier state */
        entry = entry_of(record, NULL, d->path);
        owned = entry && entry->owned;
        if (now) {
            moved = true;
        } else {
            rc = add_current(record, d->vdev, &now);
            if (rc) return rc;
        }
        rc = take_over(record, d, now);
        if (rc) return rc;
        now->owned = owned;
    }
    return moved ? xlx__snapshot_find_current(record) : 0;
}

int xlx__snapshot_configure(struct xlx__snapshot_change *c,
                            const xlx_snapshots *record)
{
    struct xlx__config_image *images;
    int i, rc;

    if (c->guest->domid == XLX_DOMID_NONE)
        return 0;
    images = calloc((size_t)record->num_disks + 1, sizeof(*images));
    if (!images)
        return xlx__nomem();
    for (i = 0; i < record->num_disks; i++) {
        images[i].vdev = record->disks[i].vdev;
        images[i].image = record->disks[i].image;
        images[i].format = record->disks[i].format;
    }
    rc = xlx__config_set_images(c->ctx, c->guest, images, record->num_disks);
    free(images);
    return rc;
}

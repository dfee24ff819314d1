/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The record as it is after a deletion: layers that were merged have another
 * image, and a snapshot that is gone has left its children to its parent.
 */
#include <stdlib.h>
#include <string.h>

#include "disk/image.h"
#include "snapshot/snapshot.h"

/* A time that no image has */
#define WRITTEN 1

/* Wherever from was in the tree, to is now. */
static int move_layer(xlx_snapshot_disk *d, const char *from,
                      const xlx_snapshot_disk *to)
{
    int rc;

    if (*xlx__text(d->backing) &&
        (!strcmp(d->backing, from) || xlx__image_same(d->backing, from)))
        return xlx__set_string(&d->backing, to->image);
    if (strcmp(xlx__text(d->image), from))
        return 0;
    rc = xlx__set_string(&d->image, to->image);
    if (rc) return rc;
    rc = xlx__set_string(&d->format, to->format);
    if (rc) return rc;
    rc = xlx__set_string(&d->backing, to->backing);
    if (rc) return rc;
    d->owned = to->owned;
    return 0;
}

/* The merge writes to it, or to its header. */
static bool is_rewritten(const xlx_snapshot_disk *d, const char *from)
{
    return (*xlx__text(d->backing) && (!strcmp(d->backing, from) ||
                                       xlx__image_same(d->backing, from))) ||
           !strcmp(xlx__text(d->image), from);
}

/* A layer that somebody wrote to stays one, also in the other image. */
int xlx__snapshot_move_layers(xlx_snapshots *record, const char *from,
                              const xlx_snapshot_disk *to)
{
    const xlx_snapshot_disk *written;
    int64_t seen;
    int i, j, rc;

    written = xlx__snapshot_find_written(record, from, &seen);

    for (i = 0; i < record->num_disks; i++) {
        rc = move_layer(&record->disks[i], from, to);
        if (rc) return rc;
    }
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

            if (is_rewritten(d, from))  /* noted when all is done */
                d->mtime = written ? WRITTEN : 0;
            rc = move_layer(d, from, to);
            if (rc) return rc;
        }
    return 0;
}

void xlx__snapshot_drop_disk(xlx_snapshot *snapshot, const char *vdev)
{
    xlx_snapshot_disk *d =
        (xlx_snapshot_disk *)xlx__snapshot_disk_of(snapshot, vdev);
    int i;

    if (!d)
        return;
    i = (int)(d - snapshot->disks);
    xlx_snapshot_disk_dispose(d);
    snapshot->num_disks--;
    memmove(d, d + 1, (snapshot->num_disks - i) * sizeof(*d));
}

int xlx__snapshot_forget(xlx_snapshots *record, const char *name)
{
    const xlx_snapshot *s = xlx__snapshot_by_name(record, name);
    char *parent = strdup(xlx__text(s->parent));
    char *gone = strdup(name);
    int i, rc = 0;

    if (!parent || !gone) {
        rc = xlx__nomem();
        goto out;
    }
    xlx__snapshot_drop(record, gone);
    for (i = 0; i < record->num_snapshots && !rc; i++)
        if (!strcmp(xlx__text(record->snapshots[i].parent), gone))
            rc = xlx__set_string(&record->snapshots[i].parent, parent);
    if (rc) goto out;
    if (!strcmp(xlx__text(record->current), gone))
        rc = xlx__set_string(&record->current, parent);

 out:
    free(parent);
    free(gone);
    return rc;
}

int xlx__snapshot_forget_mtimes(xlx_snapshots *after, const char *image)
{
    xlx_snapshot_disk now;
    int i, j, rc;

    xlx_snapshot_disk_init(&now);
    now.image = (char *)image;
    rc = xlx__snapshot_note_mtime(&now);
    for (i = 0; !rc && i < after->num_snapshots; i++)
        for (j = 0; j < after->snapshots[i].num_disks; j++) {
            xlx_snapshot_disk *d = &after->snapshots[i].disks[j];

            if (!*xlx__text(d->tag) && d->mtime == now.mtime &&
                xlx__image_same(d->image, image))
                d->mtime = 0;
        }
    return rc;
}

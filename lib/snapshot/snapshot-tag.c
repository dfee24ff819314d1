/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Internal snapshots of a guest's disk, in QEMU when it has the image open
 * and with qemu-img otherwise.  Names are never enough: see image-tag.c.
 */
#include <stdlib.h>
#include <string.h>

#include "disk/disk.h"
#include "disk/image.h"
#include "snapshot/snapshot.h"

#define QEMU_MS (600 * 1000)

int xlx__snapshot_note_tags(xlx_snapshot *snapshot)
{
    int i, rc = 0;

    for (i = 0; !rc && i < snapshot->num_disks; i++)
        if (*xlx__text(snapshot->disks[i].tag))
            rc = xlx__image_tag_identity(snapshot->disks[i].image,
                                         snapshot->disks[i].tag,
                                         &snapshot->disks[i].tag_id);
    return rc;
}

int xlx__snapshot_other_tag(const xlx_snapshot_disk *d, bool *other_r)
{
    char *id = NULL;
    int rc;

    *other_r = false;
    if (!*xlx__text(d->tag) || !*xlx__text(d->tag_id))
        return 0;
    rc = xlx__image_tag_identity(d->image, d->tag, &id);
    if (rc) goto out;
    *other_r = *id && strcmp(id, d->tag_id);

 out:
    free(id);
    return rc;
}

static int remove_live(struct xlx__snapshot_change *c,
                       const xlx_snapshot_disk *d, const char *node,
                       const char *id)
{
    struct xlx__json_out *args = xlx__json_out_new(false);
    char *left = NULL;
    int rc;

    xlx__json_out_object(args);
    xlx__json_out_kv(args, "device", node);
    xlx__json_out_kv(args, "id", id);
    xlx__json_out_kv(args, "name", d->tag);
    xlx__json_out_end(args);
    rc = xlx__qmp_call_within(c->qmp, QEMU_MS,
                              "blockdev-snapshot-delete-internal-sync", args,
                              NULL);
    if (rc) return rc;
    rc = xlx__image_find_tag(d->image, d->tag, &left);
    if (rc) goto out;
    if (left)
        rc = xlx__error(ERROR_FAIL, "%s: QEMU did not remove the snapshot "
                        "\"%s\" from %s", d->vdev, d->tag, d->image);

 out:
    free(left);
    return rc;
}

int xlx__snapshot_remove_tag(struct xlx__snapshot_change *c,
                             const xlx_snapshot_disk *d)
{
    char *node = NULL, *id = NULL;
    bool readonly;
    int rc;

    rc = xlx__image_find_tag(d->image, d->tag, &id);
    if (rc || !id) goto out;
    rc = xlx__snapshot_connect(c);
    if (rc) goto out;
    rc = c->qmp ? xlx__disk_find_node(c->qmp, d->image, &node, &readonly)
                : ERROR_NOTFOUND;
    if (rc == ERROR_NOTFOUND) {
        xlx__error_clear();
        rc = xlx__image_tag_delete(c->ctx, d->image, d->tag);
    } else if (!rc) {
        rc = remove_live(c, d, node, id);
    }

 out:
    free(node);
    free(id);
    return rc;
}

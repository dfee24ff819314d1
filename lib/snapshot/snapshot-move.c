/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk goes on in another image that holds the same, because a job of QEMU's
 * writes to both, or because the guest is shut down and qemu-img has copied
 * it.  It is the end of a merge without the merge, and so has the same
 * journal: merge_top is the former image, merge_base the new one.
 *
 * The domain's configuration names the new image before QEMU moves the guest,
 * so that a reboot in between goes on where all is: each write of the guest's
 * has ended only when both images had it.
 *
 * A config file of the user's still names the former image.  The record
 * remembers that the disk has left it, and the guard refuses such a start.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/store.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "guest/libxl-config.h"
#include "snapshot/snapshot.h"

#define MAX_MOVED 64                /* the oldest go first */

/* ---- may it be moved? --------------------------------------------------- */

int xlx__snapshot_no_tags(const char *vdev, const char *image)
{
    struct xlx__image_tag *tags = NULL;
    int num = 0, rc;

    rc = xlx__image_tags(image, &tags, &num);
    if (!rc && num)
        rc = xlx__error(ERROR_INVAL, "%s: the snapshot \"%s\" in %s would "
                        "stay behind: remove it first, or copy the disk only "
                        "(xl disk-mirror)", vdev, tags[0].name, image);
    xlx__image_tags_free(tags, num);
    return rc;
}

/* The snapshot's tree, and the way back to it, would end in the images that
 * are left. */
static int check_snapshot(const xlx_disk *disk, const xlx_snapshot *s,
                          bool with_chain)
{
    const xlx_snapshot_disk *d = xlx__snapshot_disk_of(s, disk->vdev);

    if (!d || (with_chain && !*xlx__text(d->tag) &&
               xlx__image_leads_to(disk->path, disk->format, d->image)))
        return 0;
    return xlx__error(ERROR_INVAL, "%s: the snapshot \"%s\" would stay "
                      "behind%s: delete it first (xl snapshot-delete), or "
                      "%s", disk->vdev, s->name, !with_chain ? ""
                      : *xlx__text(d->tag) ? ", because it is internal"
                      : ", because the present state is not based on it",
                      with_chain ? "copy the disk only (xl disk-mirror)"
                      : "take all along (--with-chain)");
}

int xlx__snapshot_check_move(const struct xlx__snapshot_change *c,
                             const xlx_disk *disk, bool with_chain)
{
    int i, rc = 0;

    for (i = 0; !rc && i < c->record.num_snapshots; i++)
        rc = check_snapshot(disk, &c->record.snapshots[i], with_chain);
    if (!rc)
        rc = xlx__snapshot_no_tags(disk->vdev, disk->path);
    if (!rc && c->guest->domid != XLX_DOMID_NONE)
        rc = xlx__config_check(c->ctx, c->guest);
    return rc;
}

/* ---- the record --------------------------------------------------------- */

static void forget_one(xlx_snapshots *record, int i)
{
    xlx_snapshot_disk_dispose(&record->moved[i]);
    record->num_moved--;
    memmove(&record->moved[i], &record->moved[i + 1],
            (size_t)(record->num_moved - i) * sizeof(*record->moved));
}

void xlx__snapshot_forget_moved(xlx_snapshots *record, const char *image)
{
    int i;

    for (i = record->num_moved; i-- > 0; )
        if (!strcmp(record->moved[i].image, image) ||
            xlx__image_same(record->moved[i].image, image))
            forget_one(record, i);
}

static int remember_moved(xlx_snapshots *record, const char *vdev,
                          const char *image, const char *format)
{
    xlx_snapshot_disk *entry;
    int rc;

    xlx__snapshot_forget_moved(record, image);
    if (record->num_moved == MAX_MOVED)
        forget_one(record, 0);
    entry = xlx__snapshots_moved_append(record);
    if (!entry)
        return ERROR_NOMEM;
    rc = xlx__set_string(&entry->vdev, vdev);
    if (!rc)
        rc = xlx__set_string(&entry->image, image);
    return rc ? rc : xlx__set_string(&entry->format, format);
}

/* The image that was left, and nobody needs any more. */
static int leave(xlx_snapshot_journal *journal, const char *image,
                 const char *format, bool unlink_old)
{
    struct stat st;
    int rc;

    rc = remember_moved(&journal->after, journal->merge_vdev, image, format);
    if (rc || !unlink_old || stat(image, &st) || !S_ISREG(st.st_mode))
        return rc;
    return xlx__snapshot_add_old(journal, image);
}

/* The disk, of now or of a snapshot, is in the other image. */
static int take_over(xlx_snapshot_disk *now, const char *image,
                     const char *format)
{
    char *below = NULL, *below_format = NULL;
    int rc;

    rc = xlx__image_below(image, format, &below, &below_format);
    if (rc) return rc;
    now->mtime = xlx__snapshot_now();
    rc = xlx__set_string(&now->backing, xlx__text(below));
    if (!rc)
        rc = xlx__set_string(&now->format, format);
    if (!rc)
        rc = xlx__set_string(&now->image, image);
    free(below_format);
    free(below);
    return rc;
}

/* Puts the snapshots with that layer onto its copy. */
static int move_layer(xlx_snapshot_journal *journal,
                      const struct xlx__snapshot_moved *layer)
{
    xlx_snapshots *record = &journal->after;
    int i, j, rc = 0;

    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; !rc && j < record->snapshots[i].num_disks; j++) {
            xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

            if (strcmp(d->vdev, journal->merge_vdev) ||
                !xlx__image_same(d->image, layer->image))
                continue;
            rc = take_over(d, layer->target, layer->format);
            if (!rc)
                rc = xlx__snapshot_note_mtime(d);
        }
    return rc;
}

/* The record before and after. */
static int plan(struct xlx__snapshot_change *c, const char *vdev,
                const struct xlx__snapshot_moved *moved, int num_layers,
                bool owned, bool unlink_old, xlx_snapshot_journal *journal)
{
    xlx_snapshot_disk *now;
    int i, rc;

    rc = xlx__snapshot_journal_init(c, XLX_SNAPSHOT_OPERATION_MOVE, journal);
    if (rc) return rc;
    now = xlx__snapshot_current_disk(&journal->after, vdev);
    if (!now)
        return xlx__error(ERROR_FAIL, "%s: its image is not known", vdev);
    rc = xlx__set_string(&journal->merge_vdev, vdev);
    if (!rc)
        rc = xlx__set_string(&journal->merge_top, now->image);
    if (!rc)
        rc = xlx__set_string(&journal->merge_base, moved->target);
    if (!rc)
        rc = leave(journal, now->image, now->format, unlink_old);
    for (i = 1; !rc && i <= num_layers; i++)
        rc = move_layer(journal, &moved[i]);
    /* what is based on another one goes first */
    for (i = num_layers; !rc && i > 0; i--) {
        rc = leave(journal, moved[i].image, moved[i].format, unlink_old);
        xlx__snapshot_forget_moved(&journal->after, moved[i].target);
    }
    if (rc) return rc;
    xlx__snapshot_forget_moved(&journal->after, moved->target);
    /* on layers it is the overlay that it was */
    owned = owned || (now->owned && num_layers);
    rc = take_over(now, moved->target, moved->format);
    now->owned = owned;
    return rc;
}

/* Does the disk go back to the image of ours that the record has, from one of
 * another tool's?  Otherwise the image is the user's. */
static bool is_owned(const xlx_snapshots *record, const char *vdev,
                     const char *image)
{
    const xlx_snapshot_disk *now =
        xlx__snapshot_current_disk(record, vdev);

    return now && now->owned && xlx__image_same(now->image, image);
}

/* The disks as they are now into the record: it may be the first that is kept
 * of this guest. */
static int take_present(struct xlx__snapshot_change *c)
{
    xlx_disks disks;
    int rc;

    xlx_disks_init(&disks);
    rc = xlx__snapshot_connect(c);
    if (!rc)
        rc = xlx__disk_list_with(c->ctx, c->guest, c->qmp, &disks);
    if (!rc)
        rc = xlx__snapshot_reconcile(c->ctx, &c->record, &disks);
    xlx_disks_dispose(&disks);
    return rc;
}

/* ---- doing it ----------------------------------------------------------- */

/* QEMU lets go of what the disk has left. */
static void drop_left(struct xlx__snapshot_change *c,
                      const xlx_snapshot_journal *journal)
{
    const xlx_snapshots *record = &journal->after;
    int i;

    for (i = 0; c->served && i < record->num_moved; i++)
        if (!strcmp(xlx__text(record->moved[i].vdev), journal->merge_vdev))
            xlx__snapshot_drop_node(c, record->moved[i].image);
}

int xlx__snapshot_finish_move(struct xlx__snapshot_change *c,
                              xlx_snapshot_journal *journal)
{
    int rc;

    drop_left(c, journal);
    rc = xlx__snapshot_configure(c, &journal->after);
    if (rc) return rc;
    rc = xlx__snapshot_record_write(c->ctx, c->guest, &journal->after);
    if (rc) return rc;
    xlx__fault("snapshot-move.recorded");
    return xlx__snapshot_close_journal(c, journal);
}

/* Nobody writes to either image, and they hold the same: after a kill they
 * are compared. */
static int perform_offline(struct xlx__snapshot_change *c,
                           xlx_snapshot_journal *journal)
{
    int rc;

    journal->merge_completing = true;
    rc = xlx__snapshot_journal_save(c->ctx, c->guest, journal);
    if (rc) return rc;
    xlx__fault("snapshot-move.offline");
    return xlx__snapshot_finish_move(c, journal);
}

static int perform(struct xlx__snapshot_change *c,
                   const struct xlx__job *job, xlx_snapshot_journal *journal)
{
    const char *images[] = { journal->merge_top, journal->merge_base };
    struct xlx__file_id ids[2];
    struct xlx__job_state seen;
    int rc;

    rc = xlx__snapshot_connect(c);
    if (!rc)
        rc = xlx__snapshot_check_open(c, images, 2, ids);
    if (!rc)
        rc = xlx__snapshot_journal_save(c->ctx, c->guest, journal);
    if (rc) return rc;
    xlx__fault("snapshot-move.journal");
    rc = xlx__snapshot_complete(c, job, journal, &seen);
    if (!rc && xlx__job_is(&seen, "concluded") && seen.error[0])
        rc = xlx__error(ERROR_FAIL, "QEMU could not move the disk: %s",
                        seen.error);
    if (!rc)
        rc = xlx__snapshot_verify_moved(c, journal);
    if (rc)
        return xlx__snapshot_undo(c, rc);
    return xlx__snapshot_finish_move(c, journal);
}

int xlx__snapshot_move(struct xlx__snapshot_change *c, const char *vdev,
                       const struct xlx__snapshot_moved *moved,
                       int num_layers, bool unlink_old,
                       const struct xlx__job *job)
{
    bool owned = is_owned(&c->record, vdev, moved->target);
    xlx_snapshot_journal journal;
    int rc;

    xlx_snapshot_journal_init(&journal);
    rc = take_present(c);
    if (rc) goto out;
    rc = plan(c, vdev, moved, num_layers, owned, unlink_old, &journal);
    if (rc) goto out;
    rc = job ? perform(c, job, &journal) : perform_offline(c, &journal);

 out:
    xlx_snapshot_journal_dispose(&journal);
    return rc;
}

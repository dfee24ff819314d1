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

#define MAX_MOVED 16                /* the oldest go first */

/* ---- may it be moved? --------------------------------------------------- */

/* A snapshot is in the images that would be left: its tree, and the way back
 * to it, would end there. */
int xlx__snapshot_check_move(const struct xlx__snapshot_change *c,
                             const xlx_disk *disk)
{
    struct xlx__image_tag *tags = NULL;
    int i, num = 0, rc;

    for (i = 0; i < c->record.num_snapshots; i++)
        if (xlx__snapshot_disk_of(&c->record.snapshots[i], disk->vdev))
            return xlx__error(ERROR_INVAL, "%s: the snapshot \"%s\" would "
                              "stay behind: delete it first (xl "
                              "snapshot-delete), or copy the disk only (xl "
                              "disk-mirror)", disk->vdev,
                              c->record.snapshots[i].name);
    rc = xlx__image_tags(disk->path, &tags, &num);
    if (!rc && num)
        rc = xlx__error(ERROR_INVAL, "%s: the snapshot \"%s\" in %s would "
                        "stay behind: remove it first, or copy the disk only "
                        "(xl disk-mirror)", disk->vdev, tags[0].name,
                        disk->path);
    xlx__image_tags_free(tags, num);
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

static int remember_moved(xlx_snapshots *record, const xlx_snapshot_disk *old)
{
    xlx_snapshot_disk *entry;
    int rc;

    xlx__snapshot_forget_moved(record, old->image);
    if (record->num_moved == MAX_MOVED)
        forget_one(record, 0);
    entry = xlx__snapshots_moved_append(record);
    if (!entry)
        return ERROR_NOMEM;
    rc = xlx__set_string(&entry->vdev, old->vdev);
    if (!rc)
        rc = xlx__set_string(&entry->image, old->image);
    return rc ? rc : xlx__set_string(&entry->format, old->format);
}

/* The disk as it is now, in the other image. */
static int take_over(xlx_snapshot_disk *now, const char *image,
                     const char *format)
{
    char *below = NULL, *below_format = NULL;
    int rc;

    rc = xlx__image_below(image, format, &below, &below_format);
    if (rc) return rc;
    now->owned = false;
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

/* The record before and after. */
static int plan(struct xlx__snapshot_change *c, const char *vdev,
                const char *image, const char *format, bool unlink_old,
                xlx_snapshot_journal *journal)
{
    xlx_snapshot_disk *now;
    struct stat st;
    int rc;

    rc = xlx__snapshot_journal_init(c, XLX_SNAPSHOT_OPERATION_MOVE, journal);
    if (rc) return rc;
    now = xlx__snapshot_current_disk(&journal->after, vdev);
    if (!now)
        return xlx__error(ERROR_FAIL, "%s: its image is not known", vdev);
    rc = xlx__set_string(&journal->merge_vdev, vdev);
    if (!rc)
        rc = xlx__set_string(&journal->merge_top, now->image);
    if (!rc)
        rc = xlx__set_string(&journal->merge_base, image);
    if (!rc)
        rc = remember_moved(&journal->after, now);
    if (rc) return rc;
    xlx__snapshot_forget_moved(&journal->after, image);
    if (unlink_old && !stat(now->image, &st) && S_ISREG(st.st_mode)) {
        rc = xlx__snapshot_add_old(journal, now->image);
        if (rc) return rc;
    }
    return take_over(now, image, format);
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

int xlx__snapshot_finish_move(struct xlx__snapshot_change *c,
                              xlx_snapshot_journal *journal)
{
    int rc;

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
    xlx__snapshot_drop_top(c, journal);
    return xlx__snapshot_finish_move(c, journal);
}

int xlx__snapshot_move(struct xlx__snapshot_change *c, const char *vdev,
                       const char *image, const char *format,
                       bool unlink_old, const struct xlx__job *job)
{
    xlx_snapshot_journal journal;
    int rc;

    xlx_snapshot_journal_init(&journal);
    rc = take_present(c);
    if (rc) goto out;
    rc = plan(c, vdev, image, format, unlink_old, &journal);
    if (rc) goto out;
    rc = job ? perform(c, job, &journal) : perform_offline(c, &journal);

 out:
    xlx_snapshot_journal_dispose(&journal);
    return rc;
}

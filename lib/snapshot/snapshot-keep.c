/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way out when nobody but the user can tell in which image the guest goes
 * on: a power cut came while QEMU moved the guest from one to another, or the
 * present image is gone, or a layer below it was written to.  The other images
 * stay where they are.
 */
#include <stdlib.h>
#include <string.h>

#include "core/report.h"
#include "disk/image.h"
#include "snapshot/snapshot.h"

/* QEMU never moved the guest: the merge, or the move, is to be done again. */
static int keep_top(struct xlx__snapshot_change *c,
                    xlx_snapshot_journal *journal, xlx_repair_report *report)
{
    bool moving = journal->operation == XLX_SNAPSHOT_OPERATION_MOVE;
    int rc;

    rc = xlx__report(report, true, moving ? "the guest goes on in it"
                     : "the guest goes on in it: delete the snapshot again to "
                     "merge it", "%s: %s is kept, as you said",
                     journal->merge_vdev, journal->merge_top);
    if (!rc && !moving)
        rc = xlx__snapshot_note_base(c, journal);
    return rc ? rc : xlx__snapshot_journal_remove(c->ctx, c->guest);
}

/* The merge is over. */
static int keep_base(struct xlx__snapshot_change *c,
                     xlx_snapshot_journal *journal, xlx_repair_report *report)
{
    int rc;

    rc = xlx__report(report, true, "the guest goes on in it", "%s: %s is "
                     "kept, as you said", journal->merge_vdev,
                     journal->merge_base);
    if (!rc)
        rc = xlx__report(report, true, "it is not needed any more: remove it "
                         "when you have looked at it", "%s: %s is not used",
                         journal->merge_vdev, journal->merge_top);
    if (rc) return rc;
    while (journal->num_old_files)
        xlx__snapshot_drop_old(journal, journal->num_old_files - 1);
    return xlx__snapshot_finish_delete(c, journal);
}

static int choose(struct xlx__snapshot_change *c,
                  xlx_snapshot_journal *journal, const char *image,
                  xlx_repair_report *report)
{
    bool top, base, merged, astray;
    int rc;

    if (!*xlx__text(journal->merge_top))
        return xlx__error(ERROR_INVAL, "no two images of this guest wait for "
                          "a decision: see xl snapshot-repair");
    top = xlx__image_same(image, journal->merge_top);
    base = xlx__image_same(image, journal->merge_base);
    if (!top && !base)
        return xlx__error(ERROR_INVAL, "%s is neither %s nor %s, of which one "
                          "is to be kept", image, journal->merge_top,
                          journal->merge_base);
    rc = xlx__snapshot_offline(c);
    if (rc) return rc;
    rc = xlx__snapshot_merge_settle(c, journal, &merged, &astray);
    if (rc != ERROR_INVAL)
        return rc ? rc : xlx__error(ERROR_INVAL, "there is nothing to decide: "
                                    "xl snapshot-repair finishes or undoes "
                                    "it");
    xlx__error_clear();
    return base ? keep_base(c, journal, report) : keep_top(c, journal, report);
}

/* ---- nothing was cut short ---------------------------------------------- */

/* The image is the present one, or one of a snapshot of that disk. */
static const xlx_snapshot_disk *
entry_of(const xlx_snapshots *record, const xlx_snapshot_disk *now,
         const char *image)
{
    int i, j;

    if (xlx__image_same(now->image, image))
        return now;
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

            if (!*xlx__text(d->tag) && xlx__image_same(d->image, image) &&
                !strcmp(xlx__text(d->vdev), xlx__text(now->vdev)))
                return d;
        }
    return NULL;
}

static int go_on_in(struct xlx__snapshot_change *c, xlx_snapshot_disk *now,
                    const xlx_snapshot_disk *entry, xlx_repair_report *report)
{
    int rc = 0;

    if (entry != now && !xlx__snapshot_is_missing(now))
        rc = xlx__report(report, true, "it is not used any more: remove it "
                         "when you have looked at it", "%s: %s stays",
                         now->vdev, now->image);
    if (!rc)
        rc = xlx__report(report, true, "the guest goes on in it", "%s: %s is "
                         "kept, as you said", now->vdev, entry->image);
    if (!rc && entry != now) {
        now->owned = entry->owned;
        rc = xlx__set_string(&now->format, xlx__text(entry->format));
        if (!rc)
            rc = xlx__set_string(&now->backing, xlx__text(entry->backing));
        if (!rc)
            rc = xlx__set_string(&now->image, entry->image);
    }
    if (rc) return rc;
    now->mtime = xlx__snapshot_now();
    rc = xlx__snapshot_find_current(&c->record);
    return rc ? rc : xlx__snapshot_record_write(c->ctx, c->guest, &c->record);
}

static int choose_present(struct xlx__snapshot_change *c, const char *image,
                          xlx_repair_report *report)
{
    const xlx_snapshot_disk *entry;
    bool any = false;
    char *why;
    int i, rc;

    rc = xlx__snapshot_record_read(c->ctx, c->guest, &c->record);
    if (!rc)
        rc = xlx__snapshot_offline(c);
    for (i = 0; !rc && i < c->record.num_disks; i++) {
        xlx_snapshot_disk *now = &c->record.disks[i];

        rc = xlx__snapshot_doubt(&c->record, now, &why);
        if (rc || !why)
            continue;
        free(why);
        any = true;
        entry = entry_of(&c->record, now, image);
        if (entry)
            return go_on_in(c, now, entry, report);
    }
    if (rc) return rc;
    if (!any)
        return xlx__error(ERROR_INVAL, "no two images of this guest wait for "
                          "a decision: see xl snapshot-repair");
    return xlx__error(ERROR_INVAL, "%s is neither the present image of a disk "
                      "that is in doubt, nor one of its snapshots: see xl "
                      "snapshot-repair", image);
}

int xlx__snapshot_keep(xlx_ctx *ctx, const xlx_guest *guest,
                       const char *image, xlx_repair_report *report)
{
    struct xlx__snapshot_change c;
    xlx_snapshot_journal journal;
    int rc;

    xlx_snapshot_journal_init(&journal);
    rc = xlx__snapshot_open(ctx, guest, &c);
    if (rc) goto out;
    rc = xlx__snapshot_journal_read(ctx, c.guest, &journal);
    if (rc == ERROR_NOTFOUND) {
        xlx__error_clear();
        rc = choose_present(&c, image, report);
    } else if (!rc) {
        rc = choose(&c, &journal, image, report);
    }

 out:
    xlx__snapshot_end(&c);
    xlx_snapshot_journal_dispose(&journal);
    return rc;
}

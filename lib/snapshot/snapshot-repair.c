/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mends what a killed command left (snapshot-settle.c), and compares the
 * records with the images and the guest: what is not so is reported, with what
 * to do.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/report.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "guest/guest.h"
#include "snapshot/snapshot.h"

/* ---- checking the records ----------------------------------------------- */

/* Is the present state of the disk based on that image, or another snapshot?
 * By the record, because an image that is not there names none. */
static bool is_needed(const xlx_snapshots *record, const xlx_snapshot *s,
                      const xlx_snapshot_disk *d)
{
    int i, j;

    for (i = 0; i < record->num_disks; i++)
        if (!strcmp(xlx__text(record->disks[i].image), d->image) ||
            !strcmp(xlx__text(record->disks[i].backing), d->image))
            return true;
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++)
            if (&record->snapshots[i] != s &&
                !strcmp(xlx__text(record->snapshots[i].disks[j].backing),
                        d->image))
                return true;
    return false;
}

static int report_missing(const xlx_snapshots *record, const xlx_snapshot *s,
                          const xlx_snapshot_disk *d,
                          xlx_repair_report *report)
{
    return xlx__report(report, false, is_needed(record, s, d)
                       ? "bring the image back: other states are based on it, "
                         "and cannot be read without it"
                       : "bring the image back, or forget the snapshot: xl "
                         "snapshot-delete --metadata-only", "%s: %s: %s is "
                       "missing", s->name, d->vdev, d->image);
}

static bool is_present(const xlx_snapshots *record, const char *image)
{
    int i;

    for (i = 0; i < record->num_disks; i++)
        if (xlx__image_same(record->disks[i].image, image))
            return true;
    return false;
}

static int check_tag(const xlx_snapshot *s, const xlx_snapshot_disk *d,
                     xlx_repair_report *report)
{
    bool there, other;
    int rc;

    rc = xlx__image_has_tag(d->image, d->tag, &there);
    if (!rc)
        rc = xlx__snapshot_other_tag(d, &other);
    if (rc) return rc;
    if (other)
        return xlx__report(report, false, "another tool removed that and made "
                           "this one: look at it, or forget ours: xl "
                           "snapshot-delete --metadata-only", "%s: %s: the "
                           "snapshot in %s is not the one that was made",
                           s->name, d->vdev, d->image);
    if (there || s->status == XLX_SNAPSHOT_STATUS_MERGING)
        return 0;                   /* half deleted: this half */
    return xlx__report(report, false, "forget it: xl snapshot-delete "
                       "--metadata-only", "%s: %s: %s no longer holds it",
                       s->name, d->vdev, d->image);
}

static int check_disk(const xlx_snapshots *record, const xlx_snapshot *s,
                      const xlx_snapshot_disk *d,
                      xlx_repair_report *report)
{
    xlx_snapshot_disk seen;
    char *below = NULL, *format = NULL;
    struct stat st;
    int rc;

    if (stat(d->image, &st))
        return report_missing(record, s, d, report);
    if (*xlx__text(d->tag))
        return check_tag(s, d, report);
    rc = xlx__image_below(d->image, xlx__text(d->format), &below, &format);
    if (rc) return rc;
    free(format);
    if (below ? !xlx__image_same(below, d->backing)
              : *xlx__text(d->backing) != 0)
        rc = xlx__report(report, false, "somebody changed it with another "
                         "tool: compare with qemu-img info --backing-chain",
                         "%s: %s: %s is based on %s, not on %s", s->name,
                         d->vdev, d->image, below ? below : "nothing",
                         *xlx__text(d->backing) ? d->backing : "nothing");
    free(below);
    if (rc) return rc;
    if (is_present(record, d->image))
        return xlx__report(report, false, "its content is gone: forget it "
                           "with xl snapshot-delete", "%s: %s: the guest "
                           "writes to %s", s->name, d->vdev, d->image);
    if (!d->mtime)
        return 0;
    xlx_snapshot_disk_init(&seen);
    seen.image = d->image;
    rc = xlx__snapshot_note_mtime(&seen);
    if (rc || seen.mtime == d->mtime) return rc;
    return xlx__report(report, false, "what is based on it may be worthless: "
                       "check the guest's file systems", "%s: %s: %s was "
                       "written to after it was frozen", s->name, d->vdev,
                       d->image);
}

/* Another tool has moved the running guest: once its QEMU has ended nobody
 * could tell any more. */
static int follow_guest(struct xlx__snapshot_change *c, bool dry_run,
                        xlx_repair_report *report)
{
    bool moved = false;
    xlx_disks disks;
    int i, rc;

    xlx_disks_init(&disks);
    rc = xlx__snapshot_connect(c);
    if (rc) goto out;
    rc = xlx__disk_list_with(c->ctx, c->guest, c->qmp, &disks);
    for (i = 0; !rc && i < disks.num_disks; i++) {
        const xlx_disk *d = &disks.disks[i];
        const xlx_snapshot_disk *now =
            xlx__snapshot_current_disk(&c->record, xlx__text(d->vdev));

        if (!now || *xlx__text(d->unusable) ||
            xlx__image_same(d->path, now->image))
            continue;
        moved = true;
        rc = xlx__report(report, !dry_run, dry_run
                         ? "xl snapshot-repair records it" : "recorded",
                         "%s: the guest runs on %s, not on %s", d->vdev,
                         d->path, now->image);
    }
    if (rc || !moved) goto out;
    rc = xlx__snapshot_reconcile(c->ctx, &c->record, &disks);
    if (rc) goto out;
    if (!dry_run)
        rc = xlx__snapshot_record_write(c->ctx, c->guest, &c->record);

 out:
    xlx_disks_dispose(&disks);
    return rc;
}

static int check_current(struct xlx__snapshot_change *c, bool dry_run,
                         xlx_repair_report *report)
{
    int rc;

    if (xlx__guest_running(c->guest))
        return c->served ? follow_guest(c, dry_run, report) : 0;
    rc = xlx__snapshot_report_doubts(c->guest, &c->record, report);
    return rc ? rc : xlx__snapshot_missing(c->ctx, c->guest, &c->record,
                                           report);
}

static int check(struct xlx__snapshot_change *c, bool dry_run,
                 xlx_repair_report *report)
{
    int i, j, rc;

    rc = check_current(c, dry_run, report);
    if (rc) return rc;
    for (i = 0; i < c->record.num_snapshots; i++) {
        const xlx_snapshot *s = &c->record.snapshots[i];

        if (s->status == XLX_SNAPSHOT_STATUS_MERGING) {
            rc = xlx__report(report, false, "finish with xl snapshot-delete",
                             "%s: it is half deleted", s->name);
            if (rc) return rc;
        }
        for (j = 0; j < s->num_disks; j++) {
            rc = check_disk(&c->record, s, &s->disks[j], report);
            if (rc) return rc;
        }
    }
    return 0;
}

int xlx__snapshot_repair(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                         xlx_repair_report *report)
{
    struct xlx__snapshot_change c;
    int rc;

    rc = xlx__snapshot_open(ctx, guest, &c);
    if (rc) goto out;
    rc = xlx__snapshot_recover(&c, dry_run, report);
    if (rc) goto out;
    rc = xlx__snapshot_record_read(ctx, c.guest, &c.record);
    if (rc) goto out;
    rc = check(&c, dry_run, report);

 out:
    xlx__snapshot_end(&c);
    return rc;
}

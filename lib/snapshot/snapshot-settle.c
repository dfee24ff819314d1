/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finishes or undoes what a killed command left.
 *
 * A journal says what was under way; how far it came is judged by what QEMU
 * has open and what the images hold, never by guess.  Then the operation is
 * finished or undone, by the same functions that would have done so.  An
 * image that holds data is never deleted for an operation that is undone.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/report.h"
#include "core/store.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "guest/guest.h"
#include "snapshot/snapshot.h"

/* ---- undoing ------------------------------------------------------------ */

static int is_open(struct xlx__snapshot_change *c, const char *image,
                   bool *open_r)
{
    bool readonly;
    char *node;
    int rc;

    *open_r = false;
    rc = xlx__snapshot_connect(c);
    if (rc || !c->qmp) return rc;
    rc = xlx__disk_find_node(c->qmp, image, &node, &readonly);
    if (rc) return xlx__forgive(rc, ERROR_NOTFOUND);
    free(node);
    *open_r = true;
    return 0;
}

/* qemu-img writes the header of a qcow2 first.  A file that has something
 * else in it is not ours: somebody put it there. */
static bool is_foreign(const char *path)
{
    char magic[4] = { 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    bool yes = fd < 0 || (lseek(fd, 0, SEEK_DATA) >= 0 &&
                          (pread(fd, magic, sizeof(magic), 0) < 0 ||
                           memcmp(magic, "QFI\xfb", sizeof(magic))));

    if (fd >= 0)
        close(fd);
    return yes;
}

/* Was it written to?  One that is half made never was. */
static int holds_data(const char *path, bool *yes_r)
{
    struct stat st;
    int rc;

    *yes_r = false;
    if (stat(path, &st) || !st.st_size)
        return 0;
    rc = xlx__image_has_data(path, yes_r);
    if (rc != ERROR_INVAL)
        return rc;
    xlx__error_clear();
    *yes_r = false;
    return 0;
}

static int remove_file(struct xlx__snapshot_change *c, const char *path,
                       xlx_repair_report *report)
{
    bool data, open, there;
    char *id = NULL;
    int rc;

    rc = xlx__image_is_there(path, &there);
    if (rc || !there) return rc;
    rc = xlx__image_identity(path, &id);
    if (rc) goto out;
    rc = is_open(c, path, &open);
    if (rc) goto out;
    rc = holds_data(path, &data);
    if (rc) goto out;
    if (open || data || is_foreign(path))
        rc = xlx__report(report, false, "kept: look at it, and remove it "
                         "when it is not needed", "%s holds data", path);
    else
        rc = xlx__image_remove(path, id);

 out:
    free(id);
    return rc;
}

/* New images of an operation that did not come about. */
static int remove_new(struct xlx__snapshot_change *c,
                      const xlx_snapshot_journal *journal,
                      xlx_repair_report *report)
{
    int i, rc = 0;

    for (i = 0; !rc && i < journal->num_new_files; i++)
        rc = remove_file(c, journal->new_files[i], report);
    return rc;
}

static int undo(struct xlx__snapshot_change *c,
                const xlx_snapshot_journal *journal,
                xlx_repair_report *report)
{
    int rc;

    if (journal->num_new_files || *xlx__text(journal->merge_top)) {
        rc = xlx__snapshot_configure(c, &journal->before);
        if (rc) return rc;
    }
    rc = remove_new(c, journal, report);
    if (rc) return rc;
    return xlx__snapshot_journal_remove(c->ctx, c->guest);
}

/* ---- how far did it come? ----------------------------------------------- */

/* Are the new images in use: by QEMU, or, when none runs, by what was written
 * to them? */
static int new_in_use(struct xlx__snapshot_change *c,
                      const xlx_snapshot_journal *journal, bool *yes_r)
{
    int i, in_use = 0, rc;
    bool yes;

    for (i = 0; i < journal->num_new_files; i++) {
        rc = c->served ? is_open(c, journal->new_files[i], &yes)
                       : holds_data(journal->new_files[i], &yes);
        if (rc) return rc;
        in_use += yes;
    }
    /* QEMU switches all or none; of images that nobody has open any more,
     * one that was written to proves that all were switched */
    *yes_r = c->served ? in_use == journal->num_new_files : in_use > 0;
    return 0;
}

static int all_exist(const xlx_snapshot_journal *journal, bool *yes_r)
{
    struct stat st;
    int i;

    *yes_r = true;
    for (i = 0; i < journal->num_new_files; i++)
        if (stat(journal->new_files[i], &st) || !st.st_size)
            *yes_r = false;
    return 0;
}

/* A QEMU that was killed while it made or deleted an internal snapshot leaves
 * an image with wrong reference counts. */
static int check_image(const struct xlx__snapshot_change *c,
                       const char *image)
{
    bool repaired;

    if (c->served || xlx__guest_running(c->guest))
        return 0;
    return xlx__image_check_repair(c->ctx, image, &repaired);
}

/* Internal snapshots on all disks, or, after this, on none. */
static int tags_complete(struct xlx__snapshot_change *c,
                         const xlx_snapshot *snapshot, bool *yes_r)
{
    bool there;
    int i, num = 0, rc;

    for (i = 0; i < snapshot->num_disks; i++) {
        const xlx_snapshot_disk *d = &snapshot->disks[i];

        rc = xlx__image_has_tag(d->image, d->tag, &there);
        if (rc) return rc;
        num += there;
        rc = check_image(c, d->image);
        if (rc) return rc;
    }
    *yes_r = num == snapshot->num_disks;
    for (i = 0; i < snapshot->num_disks && !*yes_r; i++) {
        rc = xlx__snapshot_remove_tag(c, &snapshot->disks[i]);
        if (rc) return rc;
    }
    return 0;
}

/* How it ended, for the user */
static int tell_end(const xlx_snapshot_journal *journal, bool done,
                    xlx_repair_report *report)
{
    const char *name = xlx__text(journal->after.current);

    switch (journal->operation) {
    case XLX_SNAPSHOT_OPERATION_CREATE:
        return xlx__report(report, true,
                           done ? "finished: the snapshot is there"
                                : "undone: there is no such snapshot",
                           "making the snapshot \"%s\" was cut short", name);
    case XLX_SNAPSHOT_OPERATION_REVERT:
        return xlx__report(report, true,
                           done ? "finished: the guest is on the snapshot"
                                : "undone: the guest goes on as before",
                           "the revert to \"%s\" was cut short", name);
    case XLX_SNAPSHOT_OPERATION_MOVE:
        return xlx__report(report, true,
                           done ? "finished: the guest is on the new one"
                                : "undone: the guest is on the former one",
                           "the move of the disk %s to another image was cut "
                           "short", xlx__text(journal->merge_vdev));
    default:
        return xlx__report(report, true,
                           done ? "finished" : "undone as far as possible: "
                           "delete it again to finish",
                           "the deletion of a snapshot was cut short");
    }
}

/* ---- the operations ----------------------------------------------- */

static int settle_create(struct xlx__snapshot_change *c,
                         xlx_snapshot_journal *journal,
                         xlx_repair_report *report)
{
    const char *name = journal->after.current;
    const xlx_snapshot *s = xlx__snapshot_by_name(&journal->after, name);
    bool done, went_on;
    int rc;

    if (!s)
        return xlx__error(ERROR_INVAL, "the journal names no snapshot");
    rc = xlx__snapshot_is_external(s) ? new_in_use(c, journal, &done)
                                      : tags_complete(c, s, &done);
    if (rc) return rc;
    if (done && !c->served && xlx__snapshot_is_external(s)) {
        xlx__snapshot_went_on(journal, &went_on);
        done = !went_on;
    }
    rc = tell_end(journal, done, report);
    if (rc) return rc;
    return done ? xlx__snapshot_finish_create(c, journal)
                : undo(c, journal, report);
}

static xlx_snapshot *left_of(const xlx_snapshot_journal *journal)
{
    const xlx_snapshots *after = &journal->after;

    return after->num_snapshots > journal->before.num_snapshots
        ? &after->snapshots[after->num_snapshots - 1] : NULL;
}

static int settle_revert(struct xlx__snapshot_change *c,
                         xlx_snapshot_journal *journal,
                         xlx_repair_report *report)
{
    enum xlx__snapshot_outcome outcome = XLX__SNAPSHOT_UNDONE;
    const char *name = journal->after.current;
    const xlx_snapshot *s = xlx__snapshot_by_name(&journal->before, name);
    bool done = false, went_on = false;
    int rc;

    if (!s)
        return xlx__error(ERROR_INVAL, "the journal names no snapshot");
    if (!xlx__snapshot_is_external(s)) {
        rc = xlx__snapshot_settle_tags(c, journal, s, left_of(journal),
                                       report, &outcome);
        if (rc || outcome == XLX__SNAPSHOT_LEFT) return rc;
        done = outcome == XLX__SNAPSHOT_DONE;
    } else if (c->served) {
        rc = new_in_use(c, journal, &done);
    } else {
        xlx__snapshot_went_on(journal, &went_on);
        rc = all_exist(journal, &done);
        done = done && !went_on;
    }
    if (rc) return rc;
    rc = tell_end(journal, done, report);
    if (rc) return rc;
    return done ? xlx__snapshot_finish_revert(c, journal)
                : undo(c, journal, report);
}

/* Images from which an internal snapshot was being deleted */
static int check_images(const struct xlx__snapshot_change *c,
                        const xlx_snapshot_journal *journal)
{
    const xlx_snapshots *record = &journal->before;
    const xlx_snapshot *after;
    int i, j, rc;

    for (i = 0; i < record->num_snapshots; i++) {
        const xlx_snapshot *s = &record->snapshots[i];

        after = xlx__snapshot_by_name(&journal->after, s->name);
        for (j = 0; j < s->num_disks; j++) {
            if ((after && after->status == XLX_SNAPSHOT_STATUS_READY) ||
                !*xlx__text(s->disks[j].tag))
                continue;
            rc = check_image(c, s->disks[j].image);
            if (rc) return rc;
        }
    }
    return 0;
}

/* Is the internal snapshot gone from the disk that was in work?  That is the
 * first of the snapshot that has one less afterwards. */
static int tag_is_gone(const xlx_snapshot_journal *journal, bool *yes_r)
{
    const xlx_snapshot *s, *after;
    bool there = true;
    int i, rc = 0;

    for (i = 0; !rc && i < journal->before.num_snapshots; i++) {
        s = &journal->before.snapshots[i];
        after = xlx__snapshot_by_name(&journal->after, s->name);
        if (s->num_disks && *xlx__text(s->disks[0].tag) &&
            (!after || after->num_disks < s->num_disks))
            rc = xlx__image_has_tag(s->disks[0].image, s->disks[0].tag,
                                    &there);
    }
    *yes_r = !there;
    return rc;
}

static int settle_delete(struct xlx__snapshot_change *c,
                         xlx_snapshot_journal *journal,
                         xlx_repair_report *report)
{
    bool merged = false, merging = *xlx__text(journal->merge_top) != 0;
    bool astray = false;
    int rc;

    if (merging) {
        rc = xlx__snapshot_merge_settle(c, journal, &merged, &astray);
        if (rc) return rc;
        if (merged) {
            rc = xlx__snapshot_configure(c, &journal->after);
            if (rc) return rc;
        }
    } else if (journal->num_old_files) {
        merged = true;              /* only to be unlinked */
    } else {
        rc = check_images(c, journal);
        if (!rc)
            rc = tag_is_gone(journal, &merged);
        if (rc) return rc;
    }
    rc = tell_end(journal, merged, report);
    if (rc) return rc;
    if (merged)
        return xlx__snapshot_finish_delete(c, journal);
    if (astray)                     /* what it writes is noticed later */
        return xlx__snapshot_journal_remove(c->ctx, c->guest);
    rc = xlx__snapshot_unmark(c, journal);
    return rc ? rc : undo(c, journal, report);
}

/* The job that copied is left as it is: its own record deals with it. */
static int settle_move(struct xlx__snapshot_change *c,
                       xlx_snapshot_journal *journal,
                       xlx_repair_report *report)
{
    bool moved, astray;
    int rc;

    rc = xlx__snapshot_merge_settle(c, journal, &moved, &astray);
    /* a reboot went by the configuration before QEMU was told to move it */
    moved |= astray;
    if (!rc)
        rc = tell_end(journal, moved, report);
    if (rc) return rc;
    return moved ? xlx__snapshot_finish_move(c, journal)
                 : undo(c, journal, report);
}

static int settle_journal(struct xlx__snapshot_change *c,
                          xlx_snapshot_journal *journal,
                          xlx_repair_report *report)
{
    bool recorded;
    int rc;

    rc = xlx__snapshot_look_again(c);
    if (!rc)
        rc = xlx__snapshot_recorded(c, journal, &recorded);
    if (rc) return rc;
    if (recorded) {
        rc = tell_end(journal, true, report);
        return rc ? rc : xlx__snapshot_finish_recorded(c, journal, report);
    }
    /* how far it came is for the guest's QEMU to show */
    rc = c->served ? 0 : xlx__snapshot_offline(c);
    if (rc) return rc;
    switch (journal->operation) {
    case XLX_SNAPSHOT_OPERATION_CREATE:
        return settle_create(c, journal, report);
    case XLX_SNAPSHOT_OPERATION_REVERT:
        return settle_revert(c, journal, report);
    case XLX_SNAPSHOT_OPERATION_DELETE:
        return settle_delete(c, journal, report);
    case XLX_SNAPSHOT_OPERATION_MOVE:
        return settle_move(c, journal, report);
    default:
        return xlx__snapshot_journal_remove(c->ctx, c->guest);
    }
}

static int settle(struct xlx__snapshot_change *c, bool dry_run,
                  xlx_repair_report *report)
{
    xlx_snapshot_journal journal;
    int rc;

    xlx_snapshot_journal_init(&journal);
    rc = dry_run ? 0 : xlx__store_tidy(c->ctx, &c->guest->uuid);
    if (rc) goto out;
    rc = xlx__snapshot_journal_read(c->ctx, c->guest, &journal);
    if (rc == ERROR_NOTFOUND) {
        xlx__error_clear();
        rc = xlx__snapshot_try_leftover(c, dry_run, report);
        goto out;
    }
    if (rc) goto out;
    if (dry_run) {
        rc = xlx__report(report, false, "xl snapshot-repair finishes or "
                         "undoes it", "a command was cut short: %s",
                         xlx_snapshot_operation_to_string(journal.operation));
        goto out;
    }
    rc = settle_journal(c, &journal, report);

 out:
    xlx_snapshot_journal_dispose(&journal);
    return rc;
}

/* all: also what is in order by now */
static void tell(struct xlx__snapshot_change *c,
                 const xlx_repair_report *report, bool all)
{
    const xlx_repair_finding *f;
    char title[128];
    int i;

    xlx__guest_title(c->guest, title, sizeof(title));
    for (i = 0; i < report->num_findings; i++) {
        f = &report->findings[i];
        if (all || !f->repaired)
            xlx__notice(c->ctx, "%s: %s; %s", title, f->what,
                        xlx__text(f->done));
    }
}

int xlx__snapshot_recover(struct xlx__snapshot_change *c, bool dry_run,
                          xlx_repair_report *report)
{
    xlx_repair_report own;
    int rc;

    if (report)
        return settle(c, dry_run, report);
    xlx_repair_report_init(&own);
    rc = settle(c, dry_run, &own);
    tell(c, &own, true);
    xlx_repair_report_dispose(&own);
    return rc;
}

int xlx__snapshot_undo(struct xlx__snapshot_change *c, int rc)
{
    struct xlx__error_text why;
    xlx_repair_report report;
    int undo;

    xlx__error_save(&why);
    xlx_repair_report_init(&report);
    undo = settle(c, false, &report);
    /* that it was cut short its caller knows, and says so */
    tell(c, &report, false);
    xlx_repair_report_dispose(&report);
    if (undo)
        return xlx__error_prefix(rc, "%s; and undoing it failed (run xl "
                                 "snapshot-repair)", why.line);
    xlx__error_restore(&why);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deleting a snapshot and keeping everything else, the guest's present state
 * first of all.
 *
 * Each of its disks is a small change of its own, with a journal of its own:
 * an internal snapshot is removed from its image; an external one's image is
 * unlinked if nothing is based on it, or takes in the one layer that is.  From
 * the first such step on the snapshot is marked MERGING, because its content
 * is no longer what it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/store.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "guest/guest.h"
#include "snapshot/snapshot.h"

/* The merge, or the removal of an internal snapshot, is over: what it wrote to
 * stays as it is from now on. */
static void note_mtimes(xlx_snapshots *record)
{
    int i, j;

    for (i = 0; i < record->num_snapshots; i++) {
        xlx_snapshot *s = &record->snapshots[i];

        for (j = 0; j < s->num_disks && xlx__snapshot_is_external(s); j++)
            if (!s->disks[j].mtime &&
                xlx__snapshot_note_mtime(&s->disks[j]))
                xlx__error_clear();     /* a repair tells that it is gone */
    }
}

int xlx__snapshot_finish_delete(struct xlx__snapshot_change *c,
                                xlx_snapshot_journal *journal)
{
    int rc;

    note_mtimes(&journal->after);
    rc = xlx__snapshot_record_write(c->ctx, c->guest, &journal->after);
    if (rc) return rc;
    xlx__fault("snapshot-delete.recorded");
    return xlx__snapshot_close_journal(c, journal);
}

/* ---- never begun -------------------------------------------------------- */

/* The snapshot that a journal marks, as it was before. */
static const xlx_snapshot *marked_by(const xlx_snapshot_journal *journal)
{
    const xlx_snapshot *s, *after;
    int i;

    for (i = 0; i < journal->before.num_snapshots; i++) {
        s = &journal->before.snapshots[i];
        after = xlx__snapshot_by_name(&journal->after, s->name);
        if (s->status == XLX_SNAPSHOT_STATUS_READY && s->num_disks &&
            (!after || after->status != s->status))
            return s;
    }
    return NULL;
}

/* The first disk is the one in work.  An image that was merged into has
 * another modification time. */
static int untouched(const xlx_snapshot *s, bool *yes_r)
{
    const xlx_snapshot_disk *d = &s->disks[0];
    xlx_snapshot_disk seen;
    int rc;

    if (*xlx__text(d->tag))
        return xlx__image_has_tag(d->image, d->tag, yes_r);
    xlx_snapshot_disk_init(&seen);
    seen.image = d->image;
    rc = xlx__snapshot_note_mtime(&seen);
    *yes_r = !rc && d->mtime && seen.mtime == d->mtime;
    return rc;
}

int xlx__snapshot_note_base(struct xlx__snapshot_change *c,
                            const xlx_snapshot_journal *journal)
{
    xlx_snapshots record;
    bool any = false;
    int i, j, rc;

    if (!*xlx__text(journal->merge_base))
        return 0;
    xlx_snapshots_init(&record);
    rc = xlx__snapshot_record_read(c->ctx, c->guest, &record);
    for (i = 0; i < record.num_snapshots; i++)
        for (j = 0; !rc && j < record.snapshots[i].num_disks; j++) {
            xlx_snapshot_disk *d = &record.snapshots[i].disks[j];

            if (*xlx__text(d->tag) ||
                !xlx__image_same(d->image, journal->merge_base))
                continue;
            any = true;
            rc = xlx__snapshot_note_mtime(d);
        }
    if (rc) goto out;
    if (any)
        rc = xlx__snapshot_record_write(c->ctx, c->guest, &record);

 out:
    xlx_snapshots_dispose(&record);
    return rc;
}

/* Not before that is anything done to an image: if one was written to all the
 * same, the record as it is shows that. */
static int is_marked(struct xlx__snapshot_change *c, const char *name,
                     bool *yes_r)
{
    const xlx_snapshot *s;
    xlx_snapshots record;
    int rc;

    xlx_snapshots_init(&record);
    rc = xlx__snapshot_record_read(c->ctx, c->guest, &record);
    s = rc ? NULL : xlx__snapshot_by_name(&record, name);
    *yes_r = !s || s->status != XLX_SNAPSHOT_STATUS_READY;
    xlx_snapshots_dispose(&record);
    return rc;
}

int xlx__snapshot_unmark(struct xlx__snapshot_change *c,
                         const xlx_snapshot_journal *journal)
{
    const xlx_snapshot *s = marked_by(journal);
    bool yes = false;
    int rc;

    if (!s)                         /* another of its disks is gone already */
        return xlx__snapshot_note_base(c, journal);
    rc = is_marked(c, s->name, &yes);
    if (rc || !yes) return rc;
    rc = untouched(s, &yes);
    if (rc) {
        xlx__error_clear();         /* a repair tells what is missing */
        return 0;
    }
    return yes ? xlx__snapshot_record_write(c->ctx, c->guest,
                                            &journal->before)
               : xlx__snapshot_note_base(c, journal);
}

/* ---- one disk ----------------------------------------------------------- */

/* *world: NULL, or what was seen of the world, when nothing has been done or
 * waited for since; it is closed, because now something will be. */
static int plan_disk(struct xlx__snapshot_change *c, const char *name,
                     struct xlx__image_world **world,
                     xlx_snapshot_journal *journal)
{
    int rc = *world ? 0 : xlx__snapshot_world_of(c, world);

    if (rc) goto out;
    rc = xlx__snapshot_plan_delete(c, name, &c->record, *world, journal);

 out:
    xlx__image_world_close(*world);
    *world = NULL;
    return rc;
}

/* Before anything is done to its content */
static int mark(struct xlx__snapshot_change *c, xlx_snapshot *s)
{
    int rc;

    if (s->status == XLX_SNAPSHOT_STATUS_MERGING)
        return 0;
    s->status = XLX_SNAPSHOT_STATUS_MERGING;
    rc = xlx__snapshot_record_write(c->ctx, c->guest, &c->record);
    if (rc) return rc;
    xlx__fault("snapshot-delete.marked");
    return 0;
}

static int delete_disk(struct xlx__snapshot_change *c, const char *name,
                       struct xlx__image_world **world,
                       const xlx_progress *progress)
{
    xlx_snapshot *s = xlx__snapshot_by_name(&c->record, name);
    xlx_snapshot_journal journal;
    int rc;

    xlx_snapshot_journal_init(&journal);
    rc = plan_disk(c, name, world, &journal);
    if (rc) goto out;
    rc = xlx__snapshot_journal_save(c->ctx, c->guest, &journal);
    if (rc) goto out;
    xlx__fault("snapshot-delete.journal");
    rc = mark(c, s);
    if (!rc && *xlx__text(s->disks[0].tag))
        rc = xlx__snapshot_remove_tag(c, &s->disks[0]);
    else if (!rc && *xlx__text(journal.merge_top))
        rc = xlx__snapshot_merge(c, &journal, progress);
    if (!rc)
        rc = xlx__snapshot_finish_delete(c, &journal);
    if (rc) {
        rc = xlx__snapshot_undo(c, rc);
        goto out;
    }
    xlx_snapshots_dispose(&c->record);
    rc = xlx_snapshots_copy(c->ctx, &c->record, &journal.after);

 out:
    xlx_snapshot_journal_dispose(&journal);
    return rc;
}

/* ---- one snapshot, or with those based on it ---------------------------- */

static int say(xlx_snapshot_plan *plan, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int say(xlx_snapshot_plan *plan, const char *fmt, ...)
{
    char line[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    return xlx__snapshot_add_string(&plan->steps, &plan->num_steps, line);
}

static int say_disk(const char *name, const xlx_snapshot_disk *d,
                    const xlx_snapshot_journal *journal,
                    xlx_snapshot_plan *plan)
{
    const xlx_snapshot_disk *now =
        xlx__snapshot_current_disk(&journal->before, xlx__text(d->vdev));
    int rc;

    if (*xlx__text(d->tag))
        return say(plan, "%s: %s: remove it from %s", name, d->vdev,
                   d->image);
    if (*xlx__text(journal->merge_top)) {
        rc = say(plan, "%s: %s: merge %s into %s", name, d->vdev,
                 journal->merge_top, journal->merge_base);
        if (rc || !now || strcmp(xlx__text(now->image), journal->merge_top))
            return rc;
        return say(plan, "%s: the guest goes on in %s (format %s): a config "
                   "that names %s must be changed", d->vdev,
                   journal->merge_base, xlx__text(d->format),
                   journal->merge_top);
    }
    if (journal->num_old_files)
        return say(plan, "%s: %s: remove %s, nothing is based on it", name,
                   d->vdev, d->image);
    return say(plan, "%s: %s: forget it; %s stays, %s", name, d->vdev,
               d->image, d->owned ? "the guest writes to it"
                                  : "it is your own");
}

/* Every step of deleting it, on a copy of the record: what is refused is
 * refused before anything is done. */
static int rehearse(const struct xlx__snapshot_change *c,
                    xlx_snapshots *record, const char *name,
                    struct xlx__image_world *world, xlx_snapshot_plan *plan)
{
    struct xlx__snapshot_change copy = *c;
    xlx_snapshot_journal journal;
    int rc = 0;

    while (!rc && xlx__snapshot_by_name(record, name)) {
        const xlx_snapshot *s = xlx__snapshot_by_name(record, name);

        if (!s->num_disks) {
            rc = xlx__snapshot_forget(record, name);
            break;
        }
        xlx_snapshot_journal_init(&journal);
        copy.record = *record;
        rc = xlx__snapshot_plan_delete(&copy, name, &c->record, world,
                                       &journal);
        if (!rc)
            rc = say_disk(name, &s->disks[0], &journal, plan);
        if (!rc)
            rc = xlx_snapshots_copy(c->ctx, record, &journal.after);
        xlx_snapshot_journal_dispose(&journal);
    }
    return rc;
}

/* The names to delete, those with nothing based on them first. */
static int collect(const xlx_snapshots *record, const char *name,
                   bool children, int depth, char ***names, int *num)
{
    int i, rc;

    if (depth > record->num_snapshots)
        return xlx__error(ERROR_INVAL, "the record is wrong: \"%s\" is "
                          "based on itself", name);
    for (i = 0; children && i < record->num_snapshots; i++)
        if (!strcmp(xlx__text(record->snapshots[i].parent), name)) {
            rc = collect(record, record->snapshots[i].name, true, depth + 1,
                         names, num);
            if (rc) return rc;
        }
    return xlx__snapshot_add_string(names, num, name);
}

static int forget(struct xlx__snapshot_change *c, char **names, int num,
                  bool dry_run, xlx_snapshot_plan *plan)
{
    int i, rc;

    for (i = 0; i < num; i++) {
        rc = say(plan, "%s: forget it; all images stay as they are",
                 names[i]);
        if (rc) return rc;
        rc = xlx__snapshot_forget(&c->record, names[i]);
        if (rc) return rc;
    }
    for (i = 0; i < c->record.num_disks; i++) {
        const xlx_snapshot_disk *d = &c->record.disks[i];

        if (!d->owned || !*xlx__text(d->backing))
            continue;
        rc = say(plan, "%s: the guest stays on %s, and needs %s below it: no "
                 "guest may be started on that one", d->vdev, d->image,
                 d->backing);
        if (rc) return rc;
    }
    return dry_run ? 0 : xlx__snapshot_record_write(c->ctx, c->guest,
                                                    &c->record);
}

static int delete_all(struct xlx__snapshot_change *c, char **names, int num,
                      struct xlx__image_world **world,
                      const xlx_progress *progress)
{
    int i, rc;

    for (i = 0; i < num; i++)
        while (xlx__snapshot_by_name(&c->record, names[i])) {
            rc = delete_disk(c, names[i], world, progress);
            if (rc) return rc;
        }
    return 0;
}

static int check_live(struct xlx__snapshot_change *c)
{
    xlx_disks disks;
    int rc;

    if (!c->qmp)
        return 0;
    rc = xlx__disk_no_jobs(c->qmp);
    if (rc) return rc;
    xlx_disks_init(&disks);
    rc = xlx__disk_list_with(c->ctx, c->guest, c->qmp, &disks);
    if (rc) goto out;
    rc = xlx__snapshot_reconcile(c->ctx, &c->record, &disks);

 out:
    xlx_disks_dispose(&disks);
    return rc;
}

int xlx__snapshot_delete(xlx_ctx *ctx, const xlx_guest *guest,
                         const xlx_snapshot_delete_spec *spec,
                         const xlx_progress *progress,
                         xlx_snapshot_plan *plan)
{
    struct xlx__snapshot_change c;
    struct xlx__image_world *world = NULL;
    xlx_snapshots rehearsal;
    xlx_snapshot *s;
    char **names = NULL;
    int i, num = 0, rc;

    xlx_snapshots_init(&rehearsal);
    rc = xlx__snapshot_begin(ctx, guest, spec->dry_run, &c);
    if (!rc && !spec->dry_run)
        rc = xlx__snapshot_hold_images(&c);
    if (rc) goto out;
    rc = xlx__snapshot_find(&c.record, spec->name, &s);
    if (rc) goto out;
    rc = collect(&c.record, s->name, spec->children, 0, &names, &num);
    if (rc) goto out;
    if (spec->metadata_only) {
        rc = forget(&c, names, num, spec->dry_run, plan);
        goto out;
    }
    c.force.force_open = spec->force_open;
    c.force.force_based = spec->force_based;
    c.force.force_unknown = spec->force_unknown;
    c.force_bitmap = spec->force_bitmap;
    c.force_written = spec->force_written;
    rc = check_live(&c);
    if (rc) goto out;
    rc = xlx_snapshots_copy(ctx, &rehearsal, &c.record);
    if (rc) goto out;
    rc = xlx__snapshot_world_of(&c, &world);
    if (rc) goto out;
    for (i = 0; i < num; i++) {
        rc = rehearse(&c, &rehearsal, names[i], world, plan);
        if (rc) goto out;
    }
    if (!spec->dry_run)
        rc = delete_all(&c, names, num, &world, progress);

 out:
    for (i = 0; i < num; i++)
        free(names[i]);
    free(names);
    xlx__image_world_close(world);
    xlx_snapshots_dispose(&rehearsal);
    xlx__snapshot_end(&c);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deleting a snapshot and keeping everything else, the guest's present state
 * first of all.
 *
 * Each of its disks is a small change of its own, with a journal of its own:
 * an internal snapshot is removed from its image; an external one's image is
 * unlinked if nothing lies on it, or takes in the one layer that does.  From
 * the first such step on the snapshot is marked MERGING, because its content
 * is no longer what it was.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "guest.h"
#include "image.h"
#include "snapshot.h"
#include "store.h"

/* ---- what lies on an image ---------------------------------------------- */

struct above {
    const xlx_snapshot_disk *layer; /* one of them */
    int num;
    bool active;                    /* that one takes the guest's writes */
};

static void count_above(const xlx_snapshots *record, const char *vdev,
                        const char *image, struct above *above)
{
    const xlx_snapshot_disk *d;
    int i;

    memset(above, 0, sizeof(*above));
    for (i = 0; i < record->num_snapshots; i++) {
        d = xlx__snapshot_disk_of(&record->snapshots[i], vdev);
        if (!d || *xlx__text(d->tag) || strcmp(xlx__text(d->backing), image))
            continue;
        above->layer = d;
        above->num++;
    }
    d = xlx__snapshot_current_disk(record, vdev);
    if (d && !strcmp(xlx__text(d->backing), image)) {
        above->layer = d;
        above->num++;
        above->active = true;
    }
}

static bool is_recorded(const xlx_snapshots *record, const char *path)
{
    int i, j;

    for (i = 0; i < record->num_disks; i++)
        if (xlx__image_same(record->disks[i].image, path))
            return true;
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++)
            if (xlx__image_same(record->snapshots[i].disks[j].image, path))
                return true;
    return false;
}

/* Somebody else's overlay (a clone made with qemu-img, say) beside an image
 * would be ruined by a change of it.  Only the image's own folder is looked
 * through: more cannot be known. */
static int no_strangers(const xlx_snapshots *record, const char *image)
{
    int dir_len = (int)(strrchr(image, '/') - image), rc = 0;
    char *dir = strndup(image, dir_len ? dir_len : 1);
    char *path = NULL, *below = NULL;
    struct dirent *entry;
    DIR *d;

    d = dir ? opendir(dir) : NULL;
    while (d && !rc && (entry = readdir(d))) {
        if (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN)
            continue;
        free(path);
        path = xlx__printf("%.*s/%s", dir_len, image, entry->d_name);
        if (!path) {
            rc = xlx__error(ERROR_NOMEM, "out of memory");
            break;
        }
        below = NULL;
        if (xlx__image_backing(path, &below))
            xlx__error_clear();     /* no image, or not ours to read */
        if (below && xlx__image_same(below, image) &&
            !is_recorded(record, path))
            rc = xlx__error(ERROR_INVAL, "%s, which is not one of this "
                            "guest's images, is based on %s", path, image);
        free(below);
    }
    if (d)
        closedir(d);
    free(path);
    free(dir);
    return rc;
}

static int no_tags(const char *vdev, const char *image, const char *why)
{
    struct xlx__image_tag *tags;
    int num, rc;

    rc = xlx__image_tags(image, &tags, &num);
    if (rc) return rc;
    if (num)
        rc = xlx__error(ERROR_INVAL, "%s: %s holds the internal snapshot "
                        "\"%s\", which %s: delete that one first", vdev,
                        image, tags[0].name, why);
    xlx__image_tags_free(tags, num);
    return rc;
}

/* Before the first step, not in the middle of it */
static int not_in_use(const char *vdev, const char *image)
{
    bool yes;
    int rc;

    rc = xlx__image_in_use(image, &yes);
    if (rc || !yes) return rc;
    return xlx__error(ERROR_NOT_READY, "%s: %s: another program has it open "
                      "and locked: end it first", vdev, image);
}

/* ---- the record without it ---------------------------------------------- */

/* Wherever from was in the tree, to is now. */
static int move_layer(xlx_snapshot_disk *d, const char *from,
                      const xlx_snapshot_disk *to)
{
    int rc;

    if (!strcmp(xlx__text(d->backing), from)) {
        d->mtime = 0;               /* its header names the other one now */
        return xlx__set_string(&d->backing, to->image);
    }
    if (strcmp(xlx__text(d->image), from))
        return 0;
    rc = xlx__set_string(&d->image, to->image);
    if (rc) return rc;
    rc = xlx__set_string(&d->format, to->format);
    if (rc) return rc;
    rc = xlx__set_string(&d->backing, to->backing);
    if (rc) return rc;
    d->owned = to->owned;
    d->mtime = 0;                   /* the merge is writing to it */
    return 0;
}

static int move_layers(xlx_snapshots *record, const char *from,
                       const xlx_snapshot_disk *to)
{
    int i, j, rc;

    for (i = 0; i < record->num_disks; i++) {
        rc = move_layer(&record->disks[i], from, to);
        if (rc) return rc;
    }
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            rc = move_layer(&record->snapshots[i].disks[j], from, to);
            if (rc) return rc;
        }
    return 0;
}

static void drop_disk(xlx_snapshot *snapshot, const char *vdev)
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

/* Those based on it are now based on what it was based on. */
static int drop_snapshot(xlx_snapshots *record, const char *name)
{
    const xlx_snapshot *s = xlx__snapshot_by_name(record, name);
    char *parent = strdup(xlx__text(s->parent));
    char *gone = strdup(name);
    int i, rc = 0;

    if (!parent || !gone) {
        rc = xlx__error(ERROR_NOMEM, "out of memory");
        goto out;
    }
    xlx__snapshot_drop(record, gone);
    for (i = 0; i < record->num_snapshots && !rc; i++)
        if (!strcmp(xlx__text(record->snapshots[i].parent), gone))
            rc = xlx__set_string(&record->snapshots[i].parent, parent);
    if (!rc && !strcmp(xlx__text(record->current), gone))
        rc = xlx__set_string(&record->current, parent);

 out:
    free(parent);
    free(gone);
    return rc;
}

/* ---- one disk ----------------------------------------------------------- */

static int plan_external(const xlx_snapshots *record,
                         const xlx_snapshots *known, bool served,
                         const xlx_snapshot_disk *d,
                         xlx_snapshot_journal *journal)
{
    struct above above;
    bool data;
    int rc;

    count_above(record, d->vdev, d->image, &above);
    if (above.num > 1)
        return xlx__error(ERROR_INVAL, "%s: %d states are based on this "
                          "snapshot: delete all but one of them first, or "
                          "say --children", d->vdev, above.num);
    rc = no_strangers(known, d->image);
    if (rc) return rc;
    if (!above.num) {
        if (!d->owned)
            return 0;               /* the user's own image stays */
        rc = no_tags(d->vdev, d->image, "would be lost");
        if (rc) return rc;
        return xlx__snapshot_add_string(&journal->old_files,
                                        &journal->num_old_files, d->image);
    }
    if (!above.layer->owned)
        return xlx__error(ERROR_INVAL, "%s: %s lies on it and was not made "
                          "by libxlx", d->vdev, above.layer->image);
    rc = no_strangers(known, above.layer->image);
    if (rc) return rc;
    /* what cannot be merged is found out before anything is marked */
    rc = xlx__image_has_data(above.layer->image, &data);
    if (rc) return rc;
    rc = no_tags(d->vdev, above.layer->image, "would not survive the merge");
    if (rc) return rc;
    if (!served) {
        rc = not_in_use(d->vdev, above.layer->image);
        if (rc) return rc;
        rc = not_in_use(d->vdev, d->image);
        if (rc) return rc;
    }
    rc = xlx__set_string(&journal->merge_vdev, d->vdev);
    if (rc) return rc;
    rc = xlx__set_string(&journal->merge_top, above.layer->image);
    if (rc) return rc;
    rc = xlx__set_string(&journal->merge_base, d->image);
    if (rc) return rc;
    rc = xlx__snapshot_add_string(&journal->old_files,
                                  &journal->num_old_files,
                                  above.layer->image);
    if (rc) return rc;
    return move_layers(&journal->after, journal->merge_top, d);
}

/* QEMU cannot change an image that it has open to read only. */
static int tag_in_reach(const struct xlx__snapshot_change *c,
                        const xlx_snapshot_disk *d)
{
    const xlx_snapshot_disk *now =
        xlx__snapshot_current_disk(&c->record, d->vdev);
    bool readonly, there;
    char *node;
    int rc;

    rc = xlx__image_has_tag(d->image, d->tag, &there);
    if (rc) return rc;              /* it cannot be told which one it is */
    if (!c->qmp || (now && xlx__image_same(now->image, d->image)))
        return 0;
    rc = xlx__disk_find_node(c->qmp, d->image, &node, &readonly);
    if (rc == ERROR_NOTFOUND) {
        xlx__error_clear();
        return 0;
    }
    if (rc) return rc;
    free(node);
    return xlx__error(ERROR_INVAL, "%s: it lies in %s, which QEMU has open as "
                      "the frozen layer of a later snapshot: delete that one "
                      "first, or shut the guest down", d->vdev, d->image);
}

/* The journal of deleting the first disk that the snapshot still has.  known:
 * the record that agrees with the files there are. */
static int plan_disk(const struct xlx__snapshot_change *c, const char *name,
                     const xlx_snapshots *known,
                     xlx_snapshot_journal *journal)
{
    const xlx_snapshot *s = xlx__snapshot_by_name(&c->record, name);
    const xlx_snapshot_disk *d = &s->disks[0];
    xlx_snapshot *after;
    int rc;

    rc = xlx__snapshot_journal_init(c, XLX_SNAPSHOT_OPERATION_DELETE,
                                    journal);
    if (rc) return rc;
    rc = *xlx__text(d->tag)
        ? tag_in_reach(c, d)
        : plan_external(&c->record, known, c->served, d, journal);
    if (rc) return rc;
    after = xlx__snapshot_by_name(&journal->after, name);
    drop_disk(after, d->vdev);
    if (!after->num_disks)
        return drop_snapshot(&journal->after, name);
    return 0;
}

/* The merge is over: what it wrote to stays as it is from now on. */
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
    int i, rc;

    note_mtimes(&journal->after);
    rc = xlx__snapshot_record_write(c->ctx, c->guest, &journal->after);
    if (rc) return rc;
    xlx__fault("snapshot-delete.recorded");
    for (i = 0; i < journal->num_old_files; i++) {
        rc = xlx__image_remove(journal->old_files[i]);
        if (rc) return rc;
        xlx__fault("snapshot-delete.unlinked");
    }
    return xlx__snapshot_journal_remove(c->ctx, c->guest);
}

static int delete_disk(struct xlx__snapshot_change *c, const char *name,
                       const xlx_progress *progress)
{
    xlx_snapshot *s = xlx__snapshot_by_name(&c->record, name);
    xlx_snapshot_journal journal;
    int rc;

    xlx_snapshot_journal_init(&journal);
    /* marked before anything is done to its content */
    if (s->status != XLX_SNAPSHOT_STATUS_MERGING) {
        s->status = XLX_SNAPSHOT_STATUS_MERGING;
        rc = xlx__snapshot_record_write(c->ctx, c->guest, &c->record);
        if (rc) goto out;
        xlx__fault("snapshot-delete.marked");
    }
    rc = plan_disk(c, name, &c->record, &journal);
    if (rc) goto out;
    rc = xlx__snapshot_journal_write(c->ctx, c->guest, &journal);
    if (rc) goto out;
    xlx__fault("snapshot-delete.journal");
    if (*xlx__text(s->disks[0].tag))
        rc = xlx__snapshot_remove_tag(c, &s->disks[0]);
    else if (*xlx__text(journal.merge_top))
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
    return say(plan, "%s: %s: forget it; %s stays, it is your own", name,
               d->vdev, d->image);
}

/* Every step of deleting it, on a copy of the record: what is refused is
 * refused before anything is done. */
static int rehearse(const struct xlx__snapshot_change *c,
                    xlx_snapshots *record, const char *name,
                    xlx_snapshot_plan *plan)
{
    struct xlx__snapshot_change copy = *c;
    xlx_snapshot_journal journal;
    int rc = 0;

    while (!rc && xlx__snapshot_by_name(record, name)) {
        const xlx_snapshot *s = xlx__snapshot_by_name(record, name);

        if (!s->num_disks) {
            rc = drop_snapshot(record, name);
            break;
        }
        xlx_snapshot_journal_init(&journal);
        copy.record = *record;
        rc = plan_disk(&copy, name, &c->record, &journal);
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
        rc = drop_snapshot(&c->record, names[i]);
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
                      const xlx_progress *progress)
{
    int i, rc;

    for (i = 0; i < num; i++)
        while (xlx__snapshot_by_name(&c->record, names[i])) {
            rc = delete_disk(c, names[i], progress);
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
    if (!rc)
        rc = xlx__snapshot_reconcile(c->ctx, &c->record, &disks);
    xlx_disks_dispose(&disks);
    return rc;
}

int xlx__snapshot_delete(xlx_ctx *ctx, const xlx_guest *guest,
                         const xlx_snapshot_delete_spec *spec,
                         const xlx_progress *progress,
                         xlx_snapshot_plan *plan)
{
    struct xlx__snapshot_change c;
    xlx_snapshots rehearsal;
    xlx_snapshot *s;
    char **names = NULL;
    int i, num = 0, rc;

    xlx_snapshots_init(&rehearsal);
    rc = xlx__snapshot_begin(ctx, guest, spec->dry_run, &c);
    if (rc) goto out;
    rc = xlx__snapshot_find(&c.record, spec->name, &s);
    if (rc) goto out;
    rc = collect(&c.record, s->name, spec->children, 0, &names, &num);
    if (rc) goto out;
    if (spec->metadata_only) {
        rc = forget(&c, names, num, spec->dry_run, plan);
        goto out;
    }
    rc = check_live(&c);
    if (rc) goto out;
    rc = xlx_snapshots_copy(ctx, &rehearsal, &c.record);
    if (rc) goto out;
    for (i = 0; i < num; i++) {
        rc = rehearse(&c, &rehearsal, names[i], plan);
        if (rc) goto out;
    }
    if (!spec->dry_run)
        rc = delete_all(&c, names, num, progress);

 out:
    for (i = 0; i < num; i++)
        free(names[i]);
    free(names);
    xlx_snapshots_dispose(&rehearsal);
    xlx__snapshot_end(&c);
    return rc;
}

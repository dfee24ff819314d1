/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The last step of a change: images that nothing needs any more are unlinked.
 * One that somebody uses just then stays, and the record remembers it: every
 * later change and repair tries again, so that no file of ours stays for ever,
 * unknown to all, and is taken for another tool's overlay.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/report.h"
#include "core/store.h"
#include "disk/image.h"
#include "snapshot/snapshot.h"

#define DYING_TRIES 10
#define DYING_MS 100

static int ask(struct xlx__snapshot_change *c, const char *path)
{
    struct xlx__image_world *world;
    int rc;

    rc = xlx__snapshot_world_of(c, &world);
    if (rc) return rc;
    rc = xlx__image_ask(world, "it is kept", path, &c->force);
    xlx__image_world_close(world);
    return rc;
}

/* A QEMU that has just been killed keeps its files for an instant. */
static int ask_patiently(struct xlx__snapshot_change *c, const char *path,
                         bool qemu_died)
{
    const struct timespec t = { 0, DYING_MS * 1000000L };
    int i, rc;

    for (i = 0; (rc = ask(c, path)) == ERROR_NOT_READY && qemu_died &&
                i < DYING_TRIES; i++)
        nanosleep(&t, NULL);
    return rc;
}

/* ---- remembered --------------------------------------------------------- */

/* A guest without a UUID in its config is found by the image below. */
static int remember(xlx_snapshots *record, const char *path)
{
    xlx_snapshot_disk *d = xlx__snapshots_leftover_append(record);
    int rc;

    if (!d)
        return ERROR_NOMEM;
    rc = xlx__set_string(&d->image, path);
    if (rc) return rc;
    if (xlx__image_backing(path, &d->backing))
        xlx__error_clear();         /* it is raw, or damaged */
    return xlx__snapshot_note_mtime(d);
}

static void drop(xlx_snapshots *record, int i)
{
    xlx_snapshot_disk_dispose(&record->leftover[i]);
    record->num_leftover--;
    memmove(&record->leftover[i], &record->leftover[i + 1],
            (size_t)(record->num_leftover - i) * sizeof(*record->leftover));
}

/* Somebody has made it the present state, or a snapshot, again. */
static bool is_needed(const xlx_snapshots *record, const char *path)
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

static int was_written(const xlx_snapshot_disk *d, bool *yes_r)
{
    xlx_snapshot_disk now;
    int rc;

    xlx_snapshot_disk_init(&now);
    now.image = d->image;
    rc = xlx__snapshot_note_mtime(&now);
    *yes_r = now.mtime != d->mtime;
    return rc;
}

/* *forget_r: nothing is to be done about it any more.  id: which file it is
 * that is looked at. */
static int try_file(struct xlx__snapshot_change *c,
                    const xlx_snapshot_disk *d, const char *id, bool dry_run,
                    xlx_repair_report *report, bool *forget_r)
{
    bool written;
    int rc;

    rc = was_written(d, &written);
    if (rc) return rc;
    if (written)
        return xlx__report(report, false, "kept: look at it, and remove it "
                           "when it is not needed", "%s, which the snapshots "
                           "no longer need, was written to since", d->image);
    rc = ask(c, d->image);
    if (rc && rc != ERROR_NOMEM) {
        *forget_r = false;
        rc = xlx__report(report, false, "kept until nobody uses it: then xl "
                         "snapshot-repair removes it", "a file that the "
                         "snapshots no longer need cannot go yet: %s",
                         xlx_error_get());
        xlx__error_clear();
        return rc;
    }
    if (rc) return rc;
    if (dry_run)
        return xlx__report(report, false, "xl snapshot-repair removes it",
                           "%s is not needed any more", d->image);
    rc = xlx__image_remove(d->image, id);
    return rc ? rc : xlx__report(report, true, "removed", "%s is not needed "
                                 "any more", d->image);
}

static int try_again(struct xlx__snapshot_change *c,
                     const xlx_snapshots *record, const xlx_snapshot_disk *d,
                     bool dry_run, xlx_repair_report *report, bool *forget_r)
{
    char *id = NULL;
    bool there;
    int rc;

    *forget_r = true;
    rc = xlx__image_is_there(d->image, &there);
    if (rc || !there || is_needed(record, d->image))
        return rc;
    rc = xlx__image_identity(d->image, &id);
    if (rc) goto out;
    rc = try_file(c, d, id, dry_run, report, forget_r);

 out:
    free(id);
    return rc;
}

int xlx__snapshot_try_leftover(struct xlx__snapshot_change *c, bool dry_run,
                               xlx_repair_report *report)
{
    xlx_snapshots record;
    bool forget, changed = false;
    int i, rc;

    xlx_snapshots_init(&record);
    rc = xlx__snapshot_record_read(c->ctx, c->guest, &record);
    for (i = record.num_leftover; !rc && i-- > 0; ) {
        rc = try_again(c, &record, &record.leftover[i], dry_run, report,
                       &forget);
        if (rc || !forget)
            continue;
        drop(&record, i);
        changed = true;
    }
    if (rc) goto out;
    if (changed && !dry_run)
        rc = xlx__snapshot_record_write(c->ctx, c->guest, &record);

 out:
    xlx_snapshots_dispose(&record);
    return rc;
}

/* ---- the last step ------------------------------------------------------ */

int xlx__snapshot_add_old(xlx_snapshot_journal *journal, const char *path)
{
    char *id = NULL;
    int rc;

    rc = xlx__image_identity(path, &id);
    rc = xlx__forgive(rc, ERROR_NOTFOUND);     /* it is gone already */
    while (!rc && journal->num_old_ids < journal->num_old_files)
        rc = xlx__snapshot_add_string(&journal->old_ids,
                                      &journal->num_old_ids, "");
    if (rc) goto out;
    rc = xlx__snapshot_add_string(&journal->old_files,
                                  &journal->num_old_files, path);
    if (rc) goto out;
    rc = xlx__snapshot_add_string(&journal->old_ids,
                                  &journal->num_old_ids, xlx__text(id));

 out:
    free(id);
    return rc;
}

static void drop_string(char **list, int *num, int i)
{
    if (i >= *num)
        return;
    free(list[i]);
    --*num;
    memmove(&list[i], &list[i + 1], (size_t)(*num - i) * sizeof(*list));
}

void xlx__snapshot_drop_old(xlx_snapshot_journal *journal, int i)
{
    drop_string(journal->old_files, &journal->num_old_files, i);
    drop_string(journal->old_ids, &journal->num_old_ids, i);
}

static int stays(char **why_r, const char *how)
{
    free(*why_r);
    *why_r = xlx__printf("%s%s", how, xlx_error_get());
    return *why_r ? 0 : xlx__nomem();
}

/* One that stays because it is in use is put into record.  One that is not
 * the file that was looked at is not ours.  *why_r: why it stays. */
static int unlink_file(struct xlx__snapshot_change *c, const char *path,
                       const char *id, bool qemu_died, xlx_snapshots *record,
                       char **why_r)
{
    bool there;
    int rc;

    rc = xlx__image_is_there(path, &there);
    if (rc || !there) return rc;
    rc = xlx__image_is_seen(path, id);
    if (!rc) {
        rc = ask_patiently(c, path, qemu_died);
        if (rc && rc != ERROR_NOMEM) {
            rc = stays(why_r, "is in use (xl snapshot-repair removes it when "
                       "nobody uses it any more), and ");
            return rc ? rc : remember(record, path);
        }
    }
    if (!rc)
        rc = xlx__image_remove(path, id);
    return rc == ERROR_INVAL ? stays(why_r, "is not what it was: ") : rc;
}

/* *why_r: the reason why one stays, the caller's to free. */
static int unlink_old(struct xlx__snapshot_change *c,
                      const xlx_snapshot_journal *journal,
                      xlx_snapshots *record, char **why_r)
{
    bool served = c->served;
    int i, rc;

    *why_r = NULL;
    if (!journal->num_old_files)
        return 0;
    rc = xlx__snapshot_look_again(c);   /* it may have been started again */
    for (i = 0; !rc && i < journal->num_old_files; i++) {
        rc = unlink_file(c, journal->old_files[i],
                         i < journal->num_old_ids ? journal->old_ids[i] : "",
                         served && !c->served, record, why_r);
        xlx__fault("snapshot-delete.unlinked");
    }
    return rc;
}

int xlx__snapshot_close_journal(struct xlx__snapshot_change *c,
                                const xlx_snapshot_journal *journal)
{
    char *why = NULL;
    xlx_snapshots record;
    int rc;

    xlx_snapshots_init(&record);
    rc = xlx__snapshot_record_read(c->ctx, c->guest, &record);
    if (!rc)
        rc = unlink_old(c, journal, &record, &why);
    if (!rc && why) {
        rc = xlx__snapshot_record_write(c->ctx, c->guest, &record);
        xlx__fault("snapshot-delete.unlinked");
    }
    if (rc) goto out;
    rc = xlx__snapshot_journal_remove(c->ctx, c->guest);
    if (rc) goto out;
    if (why)
        rc = xlx__error(ERROR_NOT_READY, "all is done, but a file that should "
                        "go %s", why);

 out:
    xlx_snapshots_dispose(&record);
    free(why);
    return rc;
}

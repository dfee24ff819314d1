/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A command was killed after it had written the new record: nothing is left to
 * be judged, and nothing to be undone.  The files that the new record does not
 * need are still there, and a guest may have been started on them since.
 */
#include <stdlib.h>
#include <string.h>

#include "core/report.h"
#include "snapshot/snapshot.h"

/* The record as text, without what is filled in after the journal has been
 * written.  One that is not worth a file is the empty text. */
static int text_of(xlx_ctx *ctx, const xlx_snapshots *record, char **text_r)
{
    struct xlx__json_out *out;
    xlx_snapshots copy;
    int i, j, rc;

    *text_r = NULL;
    xlx_snapshots_init(&copy);
    rc = xlx_snapshots_copy(ctx, &copy, record);
    if (rc) goto out;
    while (copy.num_leftover)
        xlx_snapshot_disk_dispose(&copy.leftover[--copy.num_leftover]);
    if (!xlx__snapshot_record_matters(&copy)) {
        rc = xlx__set_string(text_r, "");
        goto out;
    }
    xlx_guest_dispose(&copy.guest);
    xlx_guest_init(&copy.guest);
    for (i = 0; i < copy.num_snapshots; i++) {
        copy.snapshots[i].quiesced = false;
        for (j = 0; j < copy.snapshots[i].num_disks; j++) {
            copy.snapshots[i].disks[j].mtime = 0;
            free(copy.snapshots[i].disks[j].tag_id);
            copy.snapshots[i].disks[j].tag_id = NULL;
        }
    }
    out = xlx__json_out_new(false);
    xlx__snapshots_gen(out, &copy);
    rc = xlx__json_out_finish(out, text_r, NULL);

 out:
    xlx_snapshots_dispose(&copy);
    return rc;
}

int xlx__snapshot_recorded(struct xlx__snapshot_change *c,
                           const xlx_snapshot_journal *journal, bool *yes_r)
{
    char *now = NULL, *before = NULL, *after = NULL;
    xlx_snapshots record;
    int rc;

    xlx_snapshots_init(&record);
    rc = xlx__snapshot_record_read(c->ctx, c->guest, &record);
    if (rc) goto out;
    rc = text_of(c->ctx, &record, &now);
    if (rc) goto out;
    rc = text_of(c->ctx, &journal->before, &before);
    if (rc) goto out;
    rc = text_of(c->ctx, &journal->after, &after);
    if (rc) goto out;
    *yes_r = !strcmp(now, after) && strcmp(before, after);

 out:
    free(now);
    free(before);
    free(after);
    xlx_snapshots_dispose(&record);
    return rc;
}

static bool newer_than(const char *image, int64_t time)
{
    xlx_snapshot_disk seen;

    xlx_snapshot_disk_init(&seen);
    seen.image = (char *)image;
    if (xlx__snapshot_note_mtime(&seen)) {
        xlx__error_clear();         /* it is gone */
        return false;
    }
    return seen.mtime > time;
}

/* Was an old file written to after it was not needed any more?  A record that
 * has been removed has no time: then the journal has, which may be older than
 * the last write of a guest that was moved to merge_base.  QEMU has written
 * that to merge_base as well, and later. */
static int written_since(struct xlx__snapshot_change *c,
                         const xlx_snapshot_journal *journal,
                         const char *path, bool *yes_r)
{
    xlx_snapshot_disk base;
    int64_t time;
    int rc;

    rc = xlx__snapshot_record_time(c->ctx, c->guest, &time);
    if (rc) return rc;
    *yes_r = newer_than(path, time);
    if (!*yes_r || !*xlx__text(journal->merge_top) ||
        xlx__snapshot_record_matters(&journal->after))
        return 0;
    xlx_snapshot_disk_init(&base);
    base.image = journal->merge_base;
    if (xlx__snapshot_note_mtime(&base))
        xlx__error_clear();
    *yes_r = newer_than(path, base.mtime);
    return 0;
}

int xlx__snapshot_finish_recorded(struct xlx__snapshot_change *c,
                                  xlx_snapshot_journal *journal,
                                  xlx_repair_report *report)
{
    int i, rc;
    bool yes;

    for (i = journal->num_old_files; i-- > 0; ) {
        rc = written_since(c, journal, journal->old_files[i], &yes);
        if (rc) return rc;
        if (!yes)
            continue;
        rc = xlx__report(report, false, "kept: look at it, and remove it when "
                         "it is not needed", "a guest was started on %s, "
                         "which the snapshots no longer need, and wrote to "
                         "it", journal->old_files[i]);
        if (rc) return rc;
        xlx__snapshot_drop_old(journal, i);
    }
    return xlx__snapshot_close_journal(c, journal);
}

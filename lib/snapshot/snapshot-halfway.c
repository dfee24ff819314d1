/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A command was killed between two disks, or between a disk and its record,
 * and the guest may have been started since.  The images tell: which of them
 * were switched, and whether somebody has gone on in those that were left.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/report.h"
#include "disk/image.h"
#include "guest/guest.h"
#include "snapshot/snapshot.h"

/* ---- external: written to what was left? -------------------------------- */

static bool newer(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec != b->st_mtim.tv_sec
        ? a->st_mtim.tv_sec > b->st_mtim.tv_sec
        : a->st_mtim.tv_nsec > b->st_mtim.tv_nsec;
}

/* A guest that was switched to a new image writes there, and never again to
 * the one below: an old image that is newer was written to by a guest that
 * went on in it. */
void xlx__snapshot_went_on(const xlx_snapshot_journal *journal, bool *yes_r)
{
    const xlx_snapshot_disk *after, *before;
    struct stat new, old;
    int i;

    *yes_r = false;
    for (i = 0; i < journal->after.num_disks; i++) {
        after = &journal->after.disks[i];
        before = xlx__snapshot_current_disk(&journal->before,
                                            xlx__text(after->vdev));
        if (before && strcmp(xlx__text(before->image),
                             xlx__text(after->image)) &&
            !stat(xlx__text(after->image), &new) &&
            !stat(xlx__text(before->image), &old) && newer(&old, &new))
            *yes_r = true;
    }
}

/* ---- internal: which disks were put back? ------------------------------- */

struct halfway {
    int num;                        /* disks of the snapshot */
    int put_back;                   /* hold its content, untouched since */
    int kept;                       /* have the snapshot of what was left */
    int written;                    /* kept, and written to since */
};

static int look(const xlx_snapshot *to, const xlx_snapshot *left,
                struct halfway *h)
{
    bool back, kept = false, same = false;
    int i, rc;

    memset(h, 0, sizeof(*h));
    for (i = 0; i < to->num_disks; i++) {
        const xlx_snapshot_disk *d = &to->disks[i];

        rc = xlx__image_shows_tag(d->image, d->tag, &back);
        if (!rc && left)
            rc = xlx__image_has_tag(d->image, left->name, &kept);
        if (!rc && kept)
            rc = xlx__image_shows_tag(d->image, left->name, &same);
        if (rc) return rc;
        h->num++;
        h->put_back += back;
        h->kept += kept;
        h->written += kept && !same && !back;
    }
    return 0;
}

/* The snapshot of what was left is one of those disks that have it. */
static int only_kept(xlx_snapshot *left)
{
    bool kept;
    int i, rc;

    for (i = left->num_disks; i-- > 0; ) {
        rc = xlx__image_has_tag(left->disks[i].image, left->name, &kept);
        if (rc) return rc;
        if (kept)
            continue;
        xlx_snapshot_disk_dispose(&left->disks[i]);
        left->num_disks--;
        memmove(&left->disks[i], &left->disks[i + 1],
                (size_t)(left->num_disks - i) * sizeof(*left->disks));
    }
    return 0;
}

static int keep(struct xlx__snapshot_change *c, xlx_snapshot_journal *journal,
                const xlx_snapshot *left)
{
    int rc;

    rc = xlx__snapshot_append(c->ctx, &journal->before, left);
    if (rc) return rc;
    rc = only_kept(xlx__snapshot_by_name(&journal->before, left->name));
    if (rc) return rc;
    return xlx__snapshot_record_write(c->ctx, c->guest, &journal->before);
}

static int name_disks(const xlx_snapshot *to, const xlx_snapshot *left,
                      xlx_repair_report *report)
{
    bool back, kept;
    int i, rc;

    for (i = 0; i < to->num_disks; i++) {
        const xlx_snapshot_disk *d = &to->disks[i];

        rc = xlx__image_shows_tag(d->image, d->tag, &back);
        if (!rc)
            rc = xlx__image_has_tag(d->image, left->name, &kept);
        if (rc) return rc;
        rc = xlx__report(report, false, back
                         ? "put back: it holds what the snapshot holds"
                         : kept ? "it may have been put back; what it held "
                                  "before is kept"
                                : "not put back", "%s: %s", to->name, d->vdev);
        if (rc) return rc;
    }
    return 0;
}

/* The guest went on with some disks put back and others not.  Nobody but its
 * user can tell which state is wanted, and both can be had: nothing is thrown
 * away. */
static int let_choose(struct xlx__snapshot_change *c,
                      xlx_snapshot_journal *journal, const xlx_snapshot *to,
                      const xlx_snapshot *left, xlx_repair_report *report)
{
    char *way;
    int rc;

    way = xlx__printf("shut the guest down; then xl snapshot-revert to \"%s\""
                      " puts all disks back, or to \"%s\" those that it "
                      "lists to what they held before", to->name, left->name);
    if (!way)
        return xlx__nomem();
    rc = xlx__report(report, false, way, "the revert to \"%s\" was cut short, "
                     "and the guest was started while only some of its disks "
                     "were put back", to->name);
    free(way);
    if (rc) return rc;
    rc = name_disks(to, left, report);
    if (rc) return rc;
    rc = keep(c, journal, left);
    return rc ? rc : xlx__snapshot_journal_remove(c->ctx, c->guest);
}

int xlx__snapshot_settle_tags(struct xlx__snapshot_change *c,
                              xlx_snapshot_journal *journal,
                              const xlx_snapshot *to, xlx_snapshot *left,
                              xlx_repair_report *report,
                              enum xlx__snapshot_outcome *outcome_r)
{
    bool running = c->served || xlx__guest_running(c->guest);
    struct halfway h;
    int rc;

    rc = look(to, left, &h);
    if (rc) return rc;
    *outcome_r = XLX__SNAPSHOT_UNDONE;
    if (left ? !h.kept : !h.put_back)
        return 0;                   /* not even begun */
    *outcome_r = XLX__SNAPSHOT_DONE;
    if (!running && !h.written)
        return xlx__snapshot_apply_tags(c, journal);
    if (h.put_back == h.num)
        return left ? only_kept(left) : 0;
    *outcome_r = XLX__SNAPSHOT_LEFT;
    if (left)
        return let_choose(c, journal, to, left, report);
    return xlx__error(ERROR_NOT_READY, "the revert to \"%s\" was cut short "
                      "with %d of %d disks put back, and the guest was "
                      "started since: shut it down, and xl snapshot-repair "
                      "puts back the others", to->name, h.put_back, h.num);
}

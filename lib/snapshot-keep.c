/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way out when a power cut came while QEMU moved the guest from one image
 * to another: nobody but the user can tell which of the two goes on.  The
 * other one stays where it is, too.
 */
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "report.h"
#include "snapshot.h"

/* QEMU never moved the guest: the merge is to be done again. */
static int keep_top(struct xlx__snapshot_change *c,
                    xlx_snapshot_journal *journal, xlx_repair_report *report)
{
    int rc;

    rc = xlx__report(report, true, "the guest goes on in it: delete the "
                     "snapshot again to merge it", "%s: %s is kept, as you "
                     "said", journal->merge_vdev, journal->merge_top);
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
    bool top, base, merged;
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
    rc = xlx__snapshot_merge_settle(c, journal, &merged);
    if (rc != ERROR_INVAL)
        return rc ? rc : xlx__error(ERROR_INVAL, "there is nothing to decide: "
                                    "xl snapshot-repair finishes or undoes "
                                    "it");
    xlx__error_clear();
    return base ? keep_base(c, journal, report) : keep_top(c, journal, report);
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
    if (rc == ERROR_NOTFOUND)
        rc = xlx__error(ERROR_INVAL, "no two images of this guest wait for a "
                        "decision: see xl snapshot-repair");
    if (!rc)
        rc = choose(&c, &journal, image, report);

 out:
    xlx__snapshot_end(&c);
    xlx_snapshot_journal_dispose(&journal);
    return rc;
}

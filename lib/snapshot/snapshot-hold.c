/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that is about to be saved or migrated by another program: nothing of
 * ours may change its disks in the meantime, and nothing of ours may be half
 * done.  The lock is the one of every change, and a descriptor is all that it
 * takes to keep it: a program that inherits it has it until it ends, however
 * it ends.
 */
#include "disk/disk.h"
#include "snapshot/snapshot.h"

static int is_settled(struct xlx__snapshot_change *c)
{
    xlx_snapshot_journal journal;
    int rc;

    xlx_snapshot_journal_init(&journal);
    rc = xlx__snapshot_journal_read(c->ctx, c->guest, &journal);
    xlx_snapshot_journal_dispose(&journal);
    if (!rc)
        return xlx__error(ERROR_NOT_READY, "a command that changed the "
                          "snapshots of \"%s\" was cut short; xl "
                          "snapshot-repair finishes or undoes it",
                          xlx__text(c->guest->name));
    return xlx__forgive(rc, ERROR_NOTFOUND);
}

int xlx__snapshot_hold(xlx_ctx *ctx, const xlx_guest *guest, int64_t *fd_r)
{
    struct xlx__snapshot_change c;
    int rc;

    rc = xlx__snapshot_open(ctx, guest, &c);
    if (!rc)
        rc = is_settled(&c);
    /* a live save or migration under a job of QEMU's loses data, or QEMU */
    if (!rc && c.qmp)
        rc = xlx__disk_no_jobs(c.qmp);
    if (!rc) {
        *fd_r = c.lock.fd;
        c.lock.fd = -1;
    }
    xlx__snapshot_end(&c);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Staying with a guest: stock xl starts it again after a reboot, as another
 * domain, and destroys it, without a thought for devices that it does not
 * know.  All state is in the record, so that a watcher that was killed is
 * replaced by starting another one.
 */
#include <stdlib.h>

#include "guest/guest.h"
#include "scsi/scsi.h"

#define REBOOT_MS 60000             /* xl itself sleeps two seconds */
#define LOOK_MS 60000               /* is there still something to watch? */
#define BUSY_MS 1000                /* another command has the guest */

/* One watcher a guest.  The lock goes when the guest's lock is held and the
 * record has nothing to watch: who attaches after that finds it free, who
 * attached before has been seen. */
static int take_watch(xlx_ctx *ctx, const xlx_guest *guest,
                      struct xlx__lock *lock)
{
    char *path;
    int rc;

    path = xlx__printf("%s/scsi-watch-" LIBXL_UUID_FMT ".lock", ctx->run_dir,
                       LIBXL_UUID_BYTES(guest->uuid));
    if (!path)
        return xlx__nomem();
    rc = xlx__make_directory(ctx->run_dir);
    if (!rc)
        rc = xlx__lock_file(path, 0, lock);
    free(path);
    return rc;
}

static bool needs_repair(const struct xlx__scsi_change *c)
{
    const xlx_vscsi_entry *e, *end;

    end = c->record.entries + c->record.num_entries;
    for (e = c->record.entries; e < end; e++)
        if (!xlx__scsi_is_aside(e) &&
            (e->domid != c->guest.domid ||
             e->status != XLX_VSCSI_STATUS_ATTACHED))
            return true;
    return false;
}

/* Devices that are set aside are for xl restore. */
static bool has_devices(const struct xlx__scsi_change *c)
{
    int i;

    for (i = 0; i < c->record.num_entries; i++)
        if (!xlx__scsi_is_aside(&c->record.entries[i]))
            return true;
    return false;
}

/* 1 when there is nothing left to watch, and then *lock is released.  gone: it
 * has not run for so long that this was not a reboot. */
static int look(xlx_ctx *ctx, const xlx_guest *guest, bool gone,
                struct xlx__lock *lock)
{
    struct xlx__scsi_change c;
    int rc;

    rc = xlx__scsi_open(ctx, guest, &c);
    /* what has changed just now is for the next look */
    if (!rc && c.guest.domid == guest->domid &&
        (gone || guest->domid != XLX_DOMID_NONE) && needs_repair(&c))
        rc = xlx__scsi_settle(&c, false, NULL);
    if (!rc && !has_devices(&c)) {
        xlx__unlock(lock);
        rc = 1;
    }
    xlx__scsi_end(&c);
    return rc;
}

/* Until another domain runs it, or none, but no longer than that. */
static int wait_for(xlx_ctx *ctx, xlx_guest *guest, int ms)
{
    int rc;

    rc = xlx__guest_wait(ctx, guest, xlx__now_ms() + ms);
    return xlx__forgive(rc, ERROR_TIMEDOUT);
}


int xlx__vscsi_watch(xlx_ctx *ctx, const xlx_guest *guest)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    bool gone = false, runs;
    xlx_guest now;
    int rc;

    xlx_guest_init(&now);
    rc = xlx_guest_copy(ctx, &now, guest);
    if (!rc)
        rc = take_watch(ctx, &now, &lock);
    while (!rc) {
        rc = look(ctx, &now, gone, &lock);
        if (rc == ERROR_LOCK_FAIL) {
            xlx__error_clear();
            rc = wait_for(ctx, &now, BUSY_MS);
            gone = gone && now.domid == XLX_DOMID_NONE;
        } else if (!rc) {
            runs = now.domid != XLX_DOMID_NONE;
            rc = wait_for(ctx, &now, runs ? LOOK_MS : REBOOT_MS);
            gone = !runs && now.domid == XLX_DOMID_NONE;
        }
    }
    xlx__unlock(&lock);
    xlx_guest_dispose(&now);
    return rc > 0 ? 0 : rc;
}

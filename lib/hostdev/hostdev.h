/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the concepts that give guests devices of the host (scsi, usb).
 *
 *   hostdev-watch.c  staying with a guest
 *   hostdev-owner.c  which guest has a device
 *
 * A repair compares each entry of a guest's record with what is there.  A pure
 * function of the concept, its plan, says what is to be done about the entry;
 * what carries that out decides nothing.
 */
#ifndef XLX_HOSTDEV_H
#define XLX_HOSTDEV_H

#include "core/internal.h"
#include "core/lock.h"

/* ---- plans -------------------------------------------------------------- */

/* How much a repair may do. */
enum xlx__hostdev_stage {
    /* what a killed command left */
    XLX__HOSTDEV_RECOVER,
    /* what the guest's restart or end, or somebody else, has changed */
    XLX__HOSTDEV_SETTLE,
    /* the guest runs after it was saved: what was set aside */
    XLX__HOSTDEV_RETURN,
};

enum xlx__hostdev_step {
    XLX__HOSTDEV_NOTHING,
    XLX__HOSTDEV_KEEP,              /* it works: record that */
    XLX__HOSTDEV_RETRY,             /* record that it is to be attached */
    XLX__HOSTDEV_TAKE_AWAY,         /* from guest, host and record */
    XLX__HOSTDEV_ATTACH,            /* again */
    XLX__HOSTDEV_WAIT,              /* it is not there: free its place */
    XLX__HOSTDEV_PUT_OFF,           /* until a later repair */
};

struct xlx__hostdev_action {
    enum xlx__hostdev_step step;
    bool move;                      /* first to another place */
    const char *why;                /* for the report; NULL for NOTHING */
};

static inline struct xlx__hostdev_action
xlx__hostdev_do(enum xlx__hostdev_step step, const char *why)
{
    return (struct xlx__hostdev_action){ .step = step, .why = why };
}
#define XLX__HOSTDEV_LEAVE (struct xlx__hostdev_action){ .why = NULL }

/* ---- hostdev-watch.c ---------------------------------------------------- */

struct xlx__hostdev_watch {
    const char *name;               /* "scsi"; of the lock */
    int again_ms;                   /* after what could not be repaired */
    bool usb_events;                /* look also when one has come */
    /* Repairs what guest, as last seen, has lost; what has changed since is
     * for the next look.  gone: nothing runs it, and that is not a reboot.
     * *left_r says whether there is something left to watch; when not, *lock
     * is released while the guest's lock is held: a command that attaches
     * after that finds it free, and one that attached before has been seen. */
    int (*look)(xlx_ctx *ctx, const xlx_guest *guest, bool gone,
                struct xlx__lock *lock, xlx_repair_report *report,
                bool *left_r);
};
/* Until nothing is left to watch; one watcher a guest, else
 * ERROR_LOCK_FAIL. */
int xlx__hostdev_watch(xlx_ctx *ctx, const xlx_guest *guest,
                       const struct xlx__hostdev_watch *how);

/* ---- hostdev-owner.c ---------------------------------------------------- */

/* Calls search for each guest of which there are records, except (may be NULL)
 * aside, until it returns something else than ERROR_NOTFOUND.  ERROR_NOTFOUND
 * without a message when none has it. */
int xlx__hostdev_search(xlx_ctx *ctx, const libxl_uuid *except,
                        int (*search)(xlx_ctx *ctx, const xlx_guest *guest,
                                      void *user),
                        void *user);

#endif

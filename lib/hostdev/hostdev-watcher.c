/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest's watcher as the lists show it: what hostdev-health.c read, judged
 * by whether the guest needs one.
 */
#include <stdlib.h>

#include "guest/guest.h"
#include "hostdev/hostdev.h"

/* The error is of a watcher that is there, or that did not survive it. */
static int set_problem(xlx_watcher *w, const char *name, const char *guest,
                       const char *error)
{
    if (w->status == XLX_WATCHER_STATUS_FAILING)
        return xlx__set_string(&w->problem, error);
    if (w->status != XLX_WATCHER_STATUS_MISSING)
        return 0;
    free(w->problem);
    w->problem = xlx__printf("no xl %s-watch runs, so that its devices are "
                             "not attached when it is started again: xl "
                             "%s-repair %s starts one%s%s%s", name, name,
                             guest,
                             *error ? " (the last one said: " : "", error,
                             *error ? ")" : "");
    return w->problem ? 0 : xlx__nomem();
}

int xlx__hostdev_watcher(xlx_ctx *ctx, const char *name,
                         const xlx_guest *guest, bool needed, xlx_watcher *w)
{
    struct xlx__hostdev_health health;
    char title[128];
    int rc;

    rc = xlx__hostdev_health(ctx, name, &guest->uuid, &health);
    if (rc) return rc;
    if (health.alive)
        w->status = *health.error ? XLX_WATCHER_STATUS_FAILING
                                  : XLX_WATCHER_STATUS_RUNS;
    else
        w->status = needed ? XLX_WATCHER_STATUS_MISSING
                           : XLX_WATCHER_STATUS_NONE;
    w->pid = (uint32_t)health.pid;
    w->failures = health.times;
    w->since = health.since;
    w->last = health.last;
    return set_problem(w, name, xlx__guest_title(guest, title, sizeof(title)),
                       health.error);
}

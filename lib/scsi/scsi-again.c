/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attaching again what a guest lost: it was started again after a reboot, or
 * its devices were set aside while it was saved.  All of them at once, and one
 * after the other only when that fails, to find out which of them it was.
 */
#include <stdlib.h>
#include <string.h>

#include "core/store.h"
#include "scsi/scsi.h"

#define WAKE_MS 10000               /* until the guest's driver looks */

/* ---- what can be had ---------------------------------------------------- */

/* Devices that are to be attached again, and where they are now. */
struct missing {
    const xlx_scsi_entry **list;
    struct xlx__scsi_pdev *pdevs;
    bool *aside;                    /* else the guest was started again */
    int num;
};

static void missing_dispose(struct missing *w)
{
    int i;

    for (i = 0; i < w->num; i++)
        xlx__scsi_pdev_dispose(&w->pdevs[i]);
    free(w->pdevs);
    free(w->aside);
}

static int report_again(const struct xlx__scsi_repair *r,
                        const xlx_scsi_entry *e, int failed)
{
    const struct xlx__hostdev_action *action;

    action = &r->actions[e - r->c->record.entries];
    return xlx__scsi_report(r, e->dev.vdev, action->why,
                            r->dry_run ? "it would be attached again"
                                       : "attached again", failed);
}

static int release_luns(const xlx_scsi_entry *const *entries, int num,
                        void *user)
{
    const struct xlx__scsi_repair *r = user;

    return xlx__scsi_disconnect(r->c->ctx, entries, num,
                                xlx__scsi_step_deadline(r, num));
}

/* Removes what is left of it at its old place; *p is where it is. */
static int prepare(struct xlx__scsi_repair *r, xlx_scsi_entry *e,
                   struct xlx__scsi_pdev *p)
{
    const xlx_scsi_entry *entry = e;
    int rc;

    rc = release_luns(&entry, 1, r);
    if (rc) return rc;
    rc = xlx__scsi_target_rename(&r->c->guest.uuid, e);
    if (rc) return rc;
    rc = xlx__scsi_find_again(e, r->c->boot, p);
    if (rc) return rc;
    /* it may have been mounted since; those who share it have it open */
    rc = xlx__scsi_check_use(r->c, e, p, e->dev.shared);
    if (rc) return rc;
    return xlx__scsi_note_device(e, p);
}

/* Those that can be attached again now; the others are reported. */
static int prepare_all(struct xlx__scsi_repair *r,
                       const xlx_scsi_entry **list, int num,
                       struct missing *w)
{
    xlx_scsi_entry *e;
    int i, failed, rc = 0;
    bool aside;

    w->list = list;
    w->pdevs = calloc((size_t)num + 1, sizeof(*w->pdevs));
    w->aside = calloc((size_t)num + 1, sizeof(*w->aside));
    if (!w->pdevs || !w->aside)
        return xlx__nomem();
    for (i = 0; !rc && i < num; i++) {
        e = xlx__scsi_same_entry(r, list[i]);
        aside = xlx__scsi_is_aside(e);
        xlx__scsi_pdev_init(&w->pdevs[w->num]);
        failed = r->dry_run ? 0 : prepare(r, e, &w->pdevs[w->num]);
        if (failed || r->dry_run) {
            rc = report_again(r, e, failed);
            xlx__scsi_pdev_dispose(&w->pdevs[w->num]);
            continue;
        }
        w->aside[w->num] = aside;
        w->list[w->num++] = e;
    }
    return rc;
}

/* ---- attaching ---------------------------------------------------------- */

/* It could not be attached again now: the next repair tries it once more.  The
 * message of the failure stays. */
static void give_up(struct xlx__scsi_repair *r, xlx_scsi_entry *e, bool aside)
{
    const xlx_scsi_entry *entry = e;
    struct xlx__error_text why;

    xlx__error_save(&why);
    if (!release_luns(&entry, 1, r)) {
        e->status = aside ? XLX_SCSI_STATUS_ASIDE : XLX_SCSI_STATUS_ATTACHED;
        e->domid = XLX_DOMID_NONE;
    }
    xlx__scsi_record_write(r->c);
    xlx__error_restore(&why);
}

static int attach_all(struct xlx__scsi_repair *r, const struct missing *w)
{
    struct missing one;
    xlx_scsi_entry *e;
    int i, failed, rc;

    for (i = 0; i < w->num; i++) {
        e = xlx__scsi_same_entry(r, w->list[i]);
        rc = xlx__scsi_entry_is_on(r->c, e, r->c->guest.domid);
        if (rc) return rc;
        /* not ATTACHING: what a kill leaves of that is taken back for good */
        e->status = XLX_SCSI_STATUS_ASIDE;
    }
    rc = xlx__scsi_record_write(r->c);
    if (rc) return rc;
    /* its kernel may still be starting */
    failed = xlx__scsi_connect(r->c->ctx, w->list, w->pdevs, w->num, true,
                               xlx__scsi_step_deadline(r, w->num));
    if (failed && w->num > 1) {
        /* all or none it is: which of them is it? */
        xlx__scsi_each_adapter(w->list, w->num, release_luns, r);
        for (i = 0; !rc && i < w->num; i++) {
            one = (struct missing){
                w->list + i, w->pdevs + i, w->aside + i, 1
            };
            rc = attach_all(r, &one);
        }
        return rc;
    }
    if (failed)
        give_up(r, xlx__scsi_same_entry(r, w->list[0]), w->aside[0]);
    for (i = 0; !rc && i < w->num; i++)
        rc = report_again(r, w->list[i], failed);
    for (i = 0; !failed && i < w->num; i++) {
        e = xlx__scsi_same_entry(r, w->list[i]);
        e->status = XLX_SCSI_STATUS_ATTACHED;
    }
    return rc || failed ? rc : xlx__scsi_record_write(r->c);
}

/* The list is that of one step of the plan, and is written to. */
int xlx__scsi_attach_missing(struct xlx__scsi_repair *r,
                           const xlx_scsi_entry **list, int num)
{
    struct missing w = { .num = 0 };
    int rc;

    rc = prepare_all(r, list, num, &w);
    if (rc) goto out;
    if (w.num)
        rc = attach_all(r, &w);

 out:
    missing_dispose(&w);
    return rc;
}

/* ---- waking the guest --------------------------------------------------- */

static int runs(struct xlx__scsi_change *c, bool *runs_r)
{
    libxl_dominfo info;
    libxl_ctx *xl;
    int rc;

    *runs_r = false;
    if (c->guest.domid == XLX_DOMID_NONE)
        return 0;
    rc = xlx__ctx_libxl(c->ctx, &xl);
    if (rc) return rc;
    libxl_dominfo_init(&info);
    *runs_r = !libxl_domain_info(xl, &info, c->guest.domid) && !info.paused;
    libxl_dominfo_dispose(&info);
    return 0;
}

static int wake_adapter(const xlx_scsi_entry *const *entries, int num,
                        void *user)
{
    struct xlx__scsi_change *c = user;
    struct xlx__device dev;
    int rc;

    (void)num;
    rc = xlx__scsi_adapter(entries[0], &dev);
    if (rc) goto out;
    rc = xlx__scsi_bus_wake(c->ctx, &dev, xlx__now_ms() + WAKE_MS);

 out:
    xlx__device_dispose(&dev);
    return rc;
}

/* After a restore, when it runs again. */
int xlx__scsi_wake_guest(struct xlx__scsi_change *c)
{
    int i, num = c->record.num_entries, rc;
    const xlx_scsi_entry **list;
    bool is_running = false;

    if (!num)
        return 0;
    list = calloc((size_t)num, sizeof(*list));
    if (!list)
        return xlx__nomem();
    for (i = 0; i < num; i++)
        list[i] = &c->record.entries[i];
    rc = runs(c, &is_running);
    if (rc) goto out;
    if (is_running)
        rc = xlx__scsi_each_adapter(list, num, wake_adapter, c);

 out:
    free(list);
    return rc;
}

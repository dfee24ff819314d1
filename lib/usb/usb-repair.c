/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bringing the record and the world together.  The record says what was
 * wanted; xenstore, sysfs and QEMU how it is; usb-plan.c what is to be done.
 * That is done by the functions that do it in the first place, for one device
 * after the other, because each may change what the next one finds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/report.h"
#include "core/store.h"
#include "guest/device.h"
#include "guest/domain.h"
#include "usb/usb.h"

#define STEP_MS 30000               /* for each device */
#define XL_END_MS 5000              /* of a guest that has ended */

/* A repair that is going on; report may be NULL. */
struct repair {
    struct xlx__usb_change *c;
    bool dry_run;
    xlx_repair_report *report;
    xlx_usb_host_devices devices;   /* what is plugged in */
    bool failed;                    /* the last step */
};

/* The reason is in the library's message when it was not done. */
static int report_done(struct repair *r, const xlx_usb_entry *e,
                       const char *what, const char *done, int failed)
{
    r->failed = failed;
    return xlx__report(r->report, !failed, failed ? xlx_error_get() : done,
                       "%s on port %u/%u: %s", xlx__text(e->selector),
                       e->ctrl, e->port, what);
}

/* ---- what is there ------------------------------------------------------ */

static bool is_same(const xlx_usb_entry *e, const xlx_usb_host_device *d)
{
    return d->bus == e->bus && d->address == e->address &&
           !strcmp(xlx__text(d->path), xlx__text(e->path));
}

/* Why its port says nothing now; NULL when it does.  libxl makes the
 * controllers of its configuration first, and empties all ports before a
 * domain is gone. */
static const char *find_obstacle(struct xlx__usb_change *c,
                                 const xlx_usb_entry *e)
{
    if (e->domid != c->guest.domid &&
        !xlx__domain_is_made(c->ctx, c->guest.domid))
        return "the guest is being started";
    if (xlx__domain_is_ending(c->ctx, c->guest.domid))
        return "the guest is ending";
    return NULL;
}

static int look_at(struct repair *r, enum xlx__hostdev_stage stage,
                   const xlx_usb_entry *e, const xlx_usb_host_device *d,
                   struct xlx__usb_seen *seen)
{
    struct xlx__usb_change *c = r->c;
    char *on_port = NULL;
    int rc;

    memset(seen, 0, sizeof(*seen));
    seen->domid = c->guest.domid;
    seen->plugged = d;
    seen->same = d && is_same(e, d);
    seen->earlier = xlx__hostdev_is_earlier(e->boot, c->boot);
    if (!xlx__usb_must_look(stage, e, seen->domid))
        return 0;
    rc = xlx__usb_on_port(c->ctx, seen->domid, e, &on_port);
    if (rc) return rc;
    if (*on_port)
        seen->port = xlx__usb_is_on(e, on_port) ? XLX__USB_PORT_OWN
                                                : XLX__USB_PORT_OTHER;
    free(on_port);
    if (stage == XLX__HOSTDEV_SETTLE)
        seen->obstacle = find_obstacle(c, e);   /* after the port was read */
    seen->held = seen->same && seen->port == XLX__USB_PORT_OWN &&
                 e->domid == seen->domid &&
                 xlx__usb_held(c->ctx, seen->domid, d);
    return 0;
}

/* Removes what a domain that is gone left in xenstore and among the processes.
 */
static void sweep(struct xlx__usb_change *c, const xlx_usb_entry *e)
{
    struct xlx__device dev;
    char path[64], *value = NULL;

    if (e->domid == XLX_DOMID_NONE || e->domid == c->guest.domid)
        return;
    snprintf(path, sizeof(path), "/local/domain/%u/domid", e->domid);
    if (xlx__xs_read(c->ctx, XBT_NULL, path, &value) == ERROR_NOTFOUND) {
        if (!xlx__device_init(&dev, "qusb", "vusb", 0, e->domid, e->ctrl))
            xlx__device_remove(c->ctx, &dev, xlx__now_ms());
        xlx__device_dispose(&dev);
        xlx__usb_backend_stop(c->ctx, e->domid);
        xlx__usb_give_back(xlx__text(e->path));
    }
    xlx__error_clear();
    free(value);
}

/* ---- carrying it out ---------------------------------------------------- */

/* When to give up a step. */
static int64_t deadline_of_step(const struct xlx__usb_change *c)
{
    return xlx__hostdev_deadline(c->patience, xlx__now_ms() + STEP_MS);
}

/* Detaches it for good; without success it stays, as DETACHING. */
static int take_entry_away(struct repair *r, xlx_usb_entry *e,
                           const struct xlx__hostdev_action *action)
{
    const char *why = action->why;
    xlx_usb_entry was;
    int failed, rc;

    if (r->dry_run)
        return report_done(r, e, why, "it would be taken back", 0);
    xlx_usb_entry_init(&was);
    rc = xlx_usb_entry_copy(r->c->ctx, &was, e);
    if (!rc && action->on_purpose)
        rc = xlx__usb_leave_out(r->c, e);
    if (rc) goto out;
    failed = xlx__usb_take_off(r->c, e, deadline_of_step(r->c));
    rc = report_done(r, &was, why, "taken back", failed);

 out:
    xlx_usb_entry_dispose(&was);
    return rc;
}

/* It is not plugged in: the port is freed, because libxl could not work with
 * any guest's devices, and kept in the record. */
static int clear_port(struct repair *r, xlx_usb_entry *e, const char *why)
{
    int failed;

    if (r->dry_run)
        return report_done(r, e, why, "its port would be cleared", 0);
    failed = xlx__usb_disconnect(r->c, e, deadline_of_step(r->c));
    e->status = XLX_USB_STATUS_MISSING;
    if (!failed)
        failed = xlx__usb_entry_is_on(r->c, e, r->c->guest.domid);
    if (!failed)
        failed = xlx__usb_record_write(r->c);
    return report_done(r, e, why, "its port is cleared until it is plugged in "
                       "again", failed);
}

/* It could not be attached again now: a later repair tries once more.  The
 * message of the failure stays. */
static void give_up(struct xlx__usb_change *c, xlx_usb_entry *e)
{
    struct xlx__error_text why;

    xlx__error_save(&why);
    xlx__usb_disconnect(c, e, deadline_of_step(c));
    e->status = XLX_USB_STATUS_MISSING;
    xlx__usb_record_write(c);
    xlx__error_restore(&why);
}

static int connect_again(struct xlx__usb_change *c, xlx_usb_entry *e,
                         const xlx_usb_host_device *d)
{
    int64_t deadline = deadline_of_step(c);
    int rc;

    rc = xlx__usb_disconnect(c, e, deadline);
    if (rc) return rc;
    rc = xlx__usb_check_free(c->ctx, &c->guest, d, e->force);
    if (rc) return rc;
    rc = xlx__usb_fits(e->type, e->version, e->force, d);
    if (rc) return rc;
    rc = xlx__usb_entry_is_at(e, d);
    if (rc) return rc;
    rc = xlx__usb_entry_is_on(c, e, c->guest.domid);
    if (rc) return rc;
    /* not ATTACHING: what a kill leaves of that is taken back for good */
    e->status = XLX_USB_STATUS_ASIDE;
    rc = xlx__usb_record_write(c);
    if (rc) return rc;
    /* its kernel may still be starting */
    rc = xlx__usb_connect(c, e, d, true, deadline);
    if (rc) {
        give_up(c, e);
        return rc;
    }
    e->status = XLX_USB_STATUS_ATTACHED;
    return xlx__usb_record_write(c);
}

static int attach_again(struct repair *r, xlx_usb_entry *e,
                        const xlx_usb_host_device *d, const char *why)
{
    if (r->dry_run)
        return report_done(r, e, why, "it would be attached again", 0);
    return report_done(r, e, why, "attached again",
                       connect_again(r->c, e, d));
}

/* Another tool uses the port that was kept for it. */
static int choose_other_port(struct repair *r, xlx_usb_entry *e,
                             const xlx_usb_host_device *d)
{
    const char *why = "another tool uses that port";
    xlx_usb_entry was;
    int rc;

    if (r->dry_run)
        return report_done(r, e, why, "another port would be kept for it", 0);
    xlx_usb_entry_init(&was);
    rc = xlx_usb_entry_copy(r->c->ctx, &was, e);
    if (!rc)
        rc = xlx__usb_choose_again(r->c, d, e);
    if (!rc)
        rc = xlx__usb_record_write(r->c);
    rc = report_done(r, &was, why, "another port is kept for it", rc);
    xlx_usb_entry_dispose(&was);
    return rc;
}

/* It is to stay: as it is when it works, or to be attached again. */
static int keep_entry(struct repair *r, xlx_usb_entry *e, bool works,
                      const char *why)
{
    int rc;

    if (!r->dry_run) {
        e->status = works ? XLX_USB_STATUS_ATTACHED : XLX_USB_STATUS_MISSING;
        rc = xlx__usb_record_write(r->c);
        if (rc) return rc;
    }
    return report_done(r, e, why, works ? "it works, and is recorded so"
                                        : "it is to be attached again", 0);
}

static int carry_out(struct repair *r, xlx_usb_entry *e,
                     const xlx_usb_host_device *d,
                     const struct xlx__hostdev_action *action)
{
    int rc;

    if (action->move) {
        rc = choose_other_port(r, e, d);
        if (rc) return rc;
    }
    switch (action->step) {
    case XLX__HOSTDEV_NOTHING:
        break;
    case XLX__HOSTDEV_KEEP:
        return keep_entry(r, e, true, action->why);
    case XLX__HOSTDEV_RETRY:
        return keep_entry(r, e, false, action->why);
    case XLX__HOSTDEV_TAKE_AWAY:
        return take_entry_away(r, e, action);
    case XLX__HOSTDEV_ATTACH:
        return attach_again(r, e, d, action->why);
    case XLX__HOSTDEV_WAIT:
        return clear_port(r, e, action->why);
    case XLX__HOSTDEV_PUT_OFF:
        return report_done(r, e, action->why, NULL,
                           xlx__error(ERROR_NOT_READY, "it is for later"));
    }
    return 0;
}

/* The same for a watcher, which does not try again and again what has failed;
 * the facts say when that was in another situation. */
static int carry_out_patiently(struct repair *r, xlx_usb_entry *e,
                               const xlx_usb_host_device *d,
                               const struct xlx__hostdev_action *action)
{
    struct xlx__hostdev_patience *patience = r->c->patience;
    char key[32], facts[64];
    int rc;

    if (action->step == XLX__HOSTDEV_NOTHING && !action->move)
        return 0;
    if (action->step == XLX__HOSTDEV_PUT_OFF) {
        xlx__hostdev_put_off(patience);
        return carry_out(r, e, d, action);
    }
    snprintf(key, sizeof(key), "%u/%u", e->ctrl, e->port);
    snprintf(facts, sizeof(facts), "%u %d %u:%u", r->c->guest.domid,
             (int)action->step, d ? d->bus : 0, d ? d->address : 0);
    if (!xlx__hostdev_may_try(patience, key, facts))
        return 0;
    r->failed = false;
    rc = carry_out(r, e, d, action);
    xlx__hostdev_tried(patience, key, facts, rc || r->failed);
    return rc;
}

/* ---- all entries -------------------------------------------------------- */

static int repair_entry(struct repair *r, enum xlx__hostdev_stage stage,
                        xlx_usb_entry *e)
{
    struct xlx__hostdev_action action;
    const xlx_usb_host_device *d;
    struct xlx__usb_seen seen;
    char *instead = NULL;
    bool several;
    int rc;

    if (stage == XLX__HOSTDEV_SETTLE && !r->dry_run && !xlx__usb_is_aside(e))
        sweep(r->c, e);
    rc = xlx__usb_find_again(e, &r->devices, &d, &several, &instead);
    if (rc) goto out;
    rc = look_at(r, stage, e, d, &seen);
    if (rc) goto out;
    seen.instead = instead;
    seen.several = several && !r->c->patience;   /* the list says it */
    action = xlx__usb_plan(stage, e, &seen);
    rc = carry_out_patiently(r, e, d, &action);

 out:
    free(instead);
    return rc;
}

/* Each entry of the record as it is now may be dropped. */
static int repair_stage(struct repair *r, enum xlx__hostdev_stage stage)
{
    int i, num = r->c->record.num_entries, rc;
    struct { uint32_t ctrl, port; } *ports;
    xlx_usb_entry *e;

    if (!num)
        return 0;
    ports = calloc((size_t)num, sizeof(*ports));
    if (!ports)
        return xlx__nomem();
    for (i = 0; i < num; i++) {
        ports[i].ctrl = r->c->record.entries[i].ctrl;
        ports[i].port = r->c->record.entries[i].port;
    }
    xlx_usb_host_devices_init(&r->devices);
    rc = xlx__usb_devices(&r->devices);
    for (i = 0; !rc && i < num; i++) {
        e = xlx__usb_entry(&r->c->record, ports[i].ctrl, ports[i].port);
        if (e)
            rc = repair_entry(r, stage, e);
    }
    xlx_usb_host_devices_dispose(&r->devices);
    free(ports);
    return rc;
}

int xlx__usb_recover(struct xlx__usb_change *c, bool dry_run,
                     xlx_repair_report *report)
{
    struct repair r = { .c = c, .dry_run = dry_run, .report = report };

    return repair_stage(&r, XLX__HOSTDEV_RECOVER);
}

/* Ports that another tool gave to a device which is not plugged in. */
static int clear_foreign(struct xlx__usb_change *c, bool dry_run,
                         xlx_repair_report *report)
{
    xlx_usb_ctrls list;
    int i, j, rc;

    xlx_usb_ctrls_init(&list);
    rc = xlx__usb_ctrl_list(c->ctx, &c->guest, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++)
        for (j = 0; !rc && j < list.ctrls[i].num_ports; j++) {
            const xlx_usb_port *p = &list.ctrls[i].ports[j];
            int failed;

            if (p->present || p->status != XLX_USB_STATUS_UNKNOWN)
                continue;
            failed = dry_run ? 0 : xlx__usb_clear_port(c->ctx,
                c->guest.domid, list.ctrls[i].devid, p->number);
            rc = xlx__report(report, !failed, failed ? xlx_error_get()
                             : dry_run ? "the port would be cleared"
                                       : "the port is cleared",
                             "%s on port %u/%u, from another tool, is not "
                             "plugged in", p->path, list.ctrls[i].devid,
                             p->number);
        }
    xlx_usb_ctrls_dispose(&list);
    return rc;
}

int xlx__usb_settle(struct xlx__usb_change *c, bool dry_run,
                    xlx_repair_report *report)
{
    struct repair r = { .c = c, .dry_run = dry_run, .report = report };
    int rc;

    if (c->guest.domid == XLX_DOMID_NONE &&
        xlx__domain_is_kept(c->ctx, &c->guest,
                            c->patience ? 0 : XL_END_MS))
        return xlx__report(report, false, "xl has to make its next domain, or "
                           "to end, before anything is done",
                           "the guest is between two domains");
    rc = repair_stage(&r, XLX__HOSTDEV_RECOVER);
    if (rc) return rc;
    rc = repair_stage(&r, XLX__HOSTDEV_SETTLE);
    if (rc) return rc;
    if (c->guest.domid == XLX_DOMID_NONE)
        return xlx__usb_drop_trees(c, dry_run, report);
    rc = dry_run ? 0 : xlx__usb_note_boot(c);
    if (rc) return rc;
    return clear_foreign(c, dry_run, report);
}

/* After xl restore the trees of the guest are looked through again. */
static int return_trees(struct repair *r)
{
    xlx_usb_tree *t, *end = r->c->record.trees + r->c->record.num_trees;
    bool changed = false;
    int rc;

    if (r->c->guest.domid == XLX_DOMID_NONE)
        return 0;
    for (t = r->c->record.trees; t < end; t++) {
        changed |= t->aside;
        t->aside = false;
    }
    rc = changed && !r->dry_run ? xlx__usb_record_write(r->c) : 0;
    return rc ? rc : xlx__usb_scan_trees(r->c, r->dry_run, r->report);
}

int xlx__usb_repair(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                    xlx_repair_report *report)
{
    struct xlx__usb_change c;
    struct repair r = { .c = &c, .dry_run = dry_run, .report = report };
    int rc;

    rc = xlx__usb_open(ctx, guest, &c);
    if (rc) goto out;
    rc = xlx__usb_settle(&c, dry_run, report);
    if (rc) goto out;
    rc = repair_stage(&r, XLX__HOSTDEV_RETURN);
    if (!rc)
        rc = return_trees(&r);

 out:
    xlx__usb_end(&c);
    return rc;
}

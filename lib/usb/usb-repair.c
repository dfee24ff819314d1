/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Setting devices aside, and bringing the record and the world together.  The
 * record has the wishes; xenstore, sysfs and QEMU have the facts.  A device
 * that works is kept, one that is not plugged in waits without a port, and one
 * that was lost is attached again, by the functions that do it in the first
 * place.
 */
#include <stdlib.h>
#include <string.h>

#include "core/report.h"
#include "core/store.h"
#include "guest/device.h"
#include "guest/domain.h"
#include "guest/guest.h"
#include "usb/usb.h"

#define STEP_MS 30000               /* for each device */

/* The reason is in the library's message when it was not done. */
static int report_done(xlx_repair_report *report, const xlx_usb_entry *e,
                       const char *what, const char *done, int failed)
{
    return xlx__report(report, !failed, failed ? xlx_get_error() : done,
                       "%s on port %u/%u: %s", xlx__text(e->selector),
                       e->ctrl, e->port, what);
}

/* ---- what can be done about an entry ------------------------------------ */

/* Takes it away for good; without success it stays, as DETACHING. */
static int take_away(struct xlx__usb_change *c, xlx_usb_entry *e,
                     bool dry_run, const char *why, xlx_repair_report *report)
{
    xlx_usb_entry was;
    int failed, rc;

    if (dry_run)
        return report_done(report, e, why, "it would be taken back", 0);
    xlx_usb_entry_init(&was);
    rc = xlx_usb_entry_copy(c->ctx, &was, e);
    if (rc) return rc;
    failed = xlx__usb_take_off(c, e, xlx__now_ms() + STEP_MS);
    rc = report_done(report, &was, why, "taken back", failed);
    xlx_usb_entry_dispose(&was);
    return rc;
}

/* It is not plugged in: the port is freed, because libxl could not work with
 * any guest's devices, and kept in the record. */
static int pull_out(struct xlx__usb_change *c, xlx_usb_entry *e, bool dry_run,
                    const char *why, xlx_repair_report *report)
{
    int failed;

    if (dry_run)
        return report_done(report, e, why, "its port would be cleared", 0);
    failed = xlx__usb_disconnect(c, e, xlx__now_ms() + STEP_MS);
    e->status = XLX_USB_STATUS_MISSING;
    e->domid = c->guest.domid;
    if (!failed)
        failed = xlx__usb_record_write(c);
    return report_done(report, e, why, "its port is cleared until it is "
                       "plugged in again", failed);
}

/* It could not be attached again now: a later repair tries once more.  The
 * message of the failure stays. */
static void give_up(struct xlx__usb_change *c, xlx_usb_entry *e)
{
    struct xlx__error_text why;

    xlx__error_save(&why);
    xlx__usb_disconnect(c, e, xlx__now_ms() + STEP_MS);
    e->status = XLX_USB_STATUS_MISSING;
    xlx__usb_record_write(c);
    xlx__error_restore(&why);
}

static int connect_again(struct xlx__usb_change *c, xlx_usb_entry *e,
                         const xlx_usb_host_device *d)
{
    int64_t deadline = xlx__now_ms() + STEP_MS;
    int rc;

    rc = xlx__usb_disconnect(c, e, deadline);
    if (!rc)
        rc = xlx__usb_check_free(c->ctx, &c->guest, d, e->force);
    if (!rc)
        rc = xlx__usb_fits(e->type, e->version, e->force, d);
    if (!rc)
        rc = xlx__usb_entry_is_at(e, d);
    if (rc) return rc;
    e->domid = c->guest.domid;
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

static int attach_again(struct xlx__usb_change *c, xlx_usb_entry *e,
                        const xlx_usb_host_device *d, bool dry_run,
                        const char *why, xlx_repair_report *report)
{
    int failed;

    failed = dry_run ? 0 : connect_again(c, e, d);
    return report_done(report, e, why, dry_run ? "it would be attached again"
                                               : "attached again", failed);
}

/* ---- what is the matter with it ----------------------------------------- */

/* Where the device is now; NULL when it is not plugged in.  If several are
 * alike it is the one in the same place. */
static const xlx_usb_host_device *
find_device(const xlx_usb_entry *e, const xlx_usb_host_devices *devices)
{
    const xlx_usb_host_device *d = NULL, *here;
    xlx_usb_selector s;

    xlx_usb_selector_init(&s);
    if (!xlx__usb_selector_from_text(NULL, xlx__text(e->selector), &s)) {
        here = xlx__usb_by_path(devices, xlx__text(e->path));
        if (here && xlx__usb_selector_matches(&s, here))
            d = here;
        else if (xlx__usb_pick(devices, &s, &d))
            d = NULL;
    }
    xlx__error_clear();
    xlx_usb_selector_dispose(&s);
    return d;
}

static bool is_same(const xlx_usb_entry *e, const xlx_usb_host_device *d)
{
    return d->bus == e->bus && d->address == e->address &&
           !strcmp(xlx__text(d->path), xlx__text(e->path));
}

static int check_plugged(struct xlx__usb_change *c, xlx_usb_entry *e,
                         const xlx_usb_host_device *d, const char *on_port,
                         bool dry_run, xlx_repair_report *report)
{
    bool restarted = e->domid != c->guest.domid;
    bool attached = e->status == XLX_USB_STATUS_ATTACHED && !restarted;
    bool same = is_same(e, d);

    if (attached && same && !strcmp(on_port, d->path) &&
        xlx__usb_held(c->ctx, c->guest.domid, d))
        return 0;
    if (attached && same && !*on_port)
        return take_away(c, e, dry_run, "another tool took it off", report);
    if (e->once && (restarted || !same))
        return take_away(c, e, dry_run, restarted
                         ? "the guest was started again, and it was attached "
                           "with --once"
                         : "it was pulled out, and it was attached with "
                           "--once", report);
    return attach_again(c, e, d, dry_run, restarted
                        ? "the guest was started again without it"
                        : same ? "the guest's QEMU does not have it"
                        : "it is plugged in again", report);
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

/* Another tool uses the port that was kept for it. */
static int move(struct xlx__usb_change *c, xlx_usb_entry *e,
                const xlx_usb_host_device *d, bool dry_run,
                xlx_repair_report *report)
{
    const char *why = "another tool uses that port";
    xlx_usb_entry was;
    int rc;

    if (dry_run)
        return report_done(report, e, why, "another port would be kept for "
                                           "it", 0);
    xlx_usb_entry_init(&was);
    rc = xlx_usb_entry_copy(c->ctx, &was, e);
    if (!rc)
        rc = xlx__usb_choose_again(c, d, e);
    if (!rc)
        rc = xlx__usb_record_write(c);
    rc = report_done(report, &was, why, "another port is kept for it", rc);
    xlx_usb_entry_dispose(&was);
    return rc;
}

/* Why its port says nothing now; NULL when it does.  libxl makes the
 * controllers of its configuration first, and empties all ports before a
 * domain is gone. */
static const char *postponed_reason(struct xlx__usb_change *c,
                                    const xlx_usb_entry *e)
{
    if (e->domid != c->guest.domid &&
        !xlx__domain_is_made(c->ctx, c->guest.domid))
        return "the guest is being started";
    if (xlx__domain_is_ending(c->ctx, c->guest.domid))
        return "the guest is ending";
    return NULL;
}

static int check_entry(struct xlx__usb_change *c, xlx_usb_entry *e,
                       const xlx_usb_host_devices *devices, bool dry_run,
                       xlx_repair_report *report)
{
    const xlx_usb_host_device *d;
    char *on_port = NULL;
    const char *why;
    int rc;

    if (xlx__usb_is_aside(e))
        return 0;
    if (!dry_run)
        sweep(c, e);
    if (c->guest.domid == XLX_DOMID_NONE)
        return take_away(c, e, dry_run, "the guest does not run any more",
                         report);
    d = find_device(e, devices);
    rc = xlx__usb_on_port(c->ctx, c->guest.domid, e, &on_port);
    if (rc) return rc;
    why = postponed_reason(c, e);       /* after the port was read */
    if (why) {
        free(on_port);
        return report_done(report, e, why, NULL,
                           xlx__error(ERROR_NOT_READY, "it is for later"));
    }
    if (*on_port && !xlx__usb_is_on(e, on_port)) {
        *on_port = '\0';
        rc = move(c, e, d, dry_run, report);
    }
    if (rc)
        ;
    else if (d)
        rc = check_plugged(c, e, d, on_port, dry_run, report);
    else if (e->once)
        rc = take_away(c, e, dry_run, "it was pulled out, and it was for"
                       " once", report);
    else if (e->status != XLX_USB_STATUS_MISSING || *on_port)
        rc = pull_out(c, e, dry_run, "it is not plugged in", report);
    free(on_port);
    return rc;
}

/* It is to stay: as it is when it works, or to be attached again. */
static int keep(struct xlx__usb_change *c, xlx_usb_entry *e, bool works,
                bool dry_run, const char *why, xlx_repair_report *report)
{
    int rc;

    if (!dry_run) {
        e->status = works ? XLX_USB_STATUS_ATTACHED : XLX_USB_STATUS_MISSING;
        rc = xlx__usb_record_write(c);
        if (rc) return rc;
    }
    return report_done(report, e, why,
                       works ? "it works, and is recorded so"
                             : "it is to be attached again", 0);
}

/* An entry whose status says that a command did not come to its end. */
static int finish(struct xlx__usb_change *c, xlx_usb_entry *e,
                  const xlx_usb_host_devices *devices, bool dry_run,
                  xlx_repair_report *report)
{
    const xlx_usb_host_device *d = find_device(e, devices);
    char *on_port = NULL;
    bool works;
    int rc;

    if (e->status == XLX_USB_STATUS_DETACHING)
        return take_away(c, e, dry_run, "its detachment was not finished",
                         report);
    if (e->status != XLX_USB_STATUS_ATTACHING &&
        (e->status != XLX_USB_STATUS_ASIDE || xlx__usb_is_aside(e)))
        return 0;
    rc = c->guest.domid == XLX_DOMID_NONE ? 0
         : xlx__usb_on_port(c->ctx, c->guest.domid, e, &on_port);
    if (rc) return rc;
    works = d && on_port && e->domid == c->guest.domid && is_same(e, d) &&
            !strcmp(on_port, d->path) &&
            xlx__usb_held(c->ctx, c->guest.domid, d);
    free(on_port);
    if (e->status == XLX_USB_STATUS_ASIDE)
        return keep(c, e, works, dry_run, "it was left halfway",
                    report);
    if (works)
        return keep(c, e, true, dry_run, "its attachment was not recorded as "
                    "finished", report);
    return take_away(c, e, dry_run, "its attachment was not finished",
                     report);
}

/* ---- all entries -------------------------------------------------------- */

/* Calls step for each entry of the record as it is now, and may drop it. */
static int each_entry(struct xlx__usb_change *c, bool dry_run,
                      xlx_repair_report *report,
                      int (*step)(struct xlx__usb_change *c, xlx_usb_entry *e,
                                  const xlx_usb_host_devices *devices,
                                  bool dry_run, xlx_repair_report *report))
{
    int i, num = c->record.num_entries, rc;
    struct { uint32_t ctrl, port; } *ports;
    xlx_usb_host_devices devices;
    xlx_usb_entry *e;

    ports = calloc((size_t)num + 1, sizeof(*ports));
    if (!ports)
        return xlx__nomem();
    for (i = 0; i < num; i++) {
        ports[i].ctrl = c->record.entries[i].ctrl;
        ports[i].port = c->record.entries[i].port;
    }
    xlx_usb_host_devices_init(&devices);
    rc = num ? xlx__usb_devices(&devices) : 0;
    for (i = 0; !rc && i < num; i++) {
        e = xlx__usb_entry(&c->record, ports[i].ctrl, ports[i].port);
        if (e)
            rc = step(c, e, &devices, dry_run, report);
    }
    xlx_usb_host_devices_dispose(&devices);
    free(ports);
    return rc;
}

int xlx__usb_recover(struct xlx__usb_change *c, bool dry_run,
                     xlx_repair_report *report)
{
    return each_entry(c, dry_run, report, finish);
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
            rc = xlx__report(report, !failed, failed ? xlx_get_error()
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
    int rc;

    rc = xlx__usb_recover(c, dry_run, report);
    if (rc) return rc;
    rc = each_entry(c, dry_run, report, check_entry);
    if (rc || c->guest.domid == XLX_DOMID_NONE)
        return rc;
    return clear_foreign(c, dry_run, report);
}

/* ---- setting aside, and back -------------------------------------------- */

/* A device that another tool attached cannot be attached again. */
static int check_all_ours(struct xlx__usb_change *c)
{
    xlx_usb_ctrls list;
    int i, j, rc;

    xlx_usb_ctrls_init(&list);
    rc = xlx__usb_ctrl_list(c->ctx, &c->guest, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++)
        for (j = 0; !rc && j < list.ctrls[i].num_ports; j++)
            if (list.ctrls[i].ports[j].status == XLX_USB_STATUS_UNKNOWN)
                rc = xlx__error(ERROR_NOT_READY, "%s: another tool attached "
                                "it, so that it could not be brought back: "
                                "detach it", list.ctrls[i].ports[j].path);
    xlx_usb_ctrls_dispose(&list);
    return rc;
}

/* Also the controller, when it was made for the device: no driver is asked
 * whether it survives a restore. */
static int set_aside(struct xlx__usb_change *c, int64_t deadline)
{
    xlx_usb_entry *e, *end = c->record.entries + c->record.num_entries;
    int rc;

    for (e = c->record.entries; e < end; e++)
        e->status = XLX_USB_STATUS_ASIDE;
    rc = xlx__usb_record_write(c);
    xlx__fault("usb-aside.intent");
    for (e = c->record.entries; !rc && e < end; e++) {
        if (xlx__usb_is_aside(e))
            continue;
        rc = xlx__usb_disconnect(c, e, deadline);
        if (rc) break;
        e->domid = XLX_DOMID_NONE;
        rc = xlx__usb_record_write(c);
        xlx__fault("usb-aside.one");
        if (!rc)
            rc = xlx__usb_release(c, e);
    }
    return rc;
}

int xlx__usb_set_aside(xlx_ctx *ctx, const xlx_guest *guest,
                       const xlx_usb_wait *wait)
{
    struct xlx__usb_change c;
    int rc;

    rc = xlx__usb_open(ctx, guest, &c);
    if (!rc && c.guest.domid == XLX_DOMID_NONE)
        rc = xlx__error(ERROR_NOT_READY, "%s: it does not run",
                        xlx__text(guest->name));
    if (!rc)
        rc = xlx__usb_recover(&c, wait && wait->dry_run, NULL);
    if (!rc)
        rc = check_all_ours(&c);
    if (!rc && !(wait && wait->dry_run) && c.record.num_entries)
        rc = set_aside(&c, xlx__usb_deadline(wait));
    xlx__usb_end(&c);
    return rc;
}

static int return_aside(struct xlx__usb_change *c, xlx_usb_entry *e,
                        const xlx_usb_host_devices *devices, bool dry_run,
                        xlx_repair_report *report)
{
    const xlx_usb_host_device *d = find_device(e, devices);

    if (!xlx__usb_is_aside(e))
        return 0;
    if (d)
        return attach_again(c, e, d, dry_run, "it was set aside", report);
    return pull_out(c, e, dry_run, "it was set aside, and is not plugged in",
                    report);
}

/* ---- repair ------------------------------------------------------------- */

int xlx__usb_repair(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                    xlx_repair_report *report)
{
    struct xlx__usb_change c;
    int rc;

    rc = xlx__usb_open(ctx, guest, &c);
    if (!rc)
        rc = xlx__usb_settle(&c, dry_run, report);
    if (!rc && c.guest.domid != XLX_DOMID_NONE)
        rc = each_entry(&c, dry_run, report, return_aside);
    xlx__usb_end(&c);
    return rc;
}

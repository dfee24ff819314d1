/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Setting devices aside, and bringing the record and the world together.  The
 * record says what was wanted, xenstore and configfs how far it came: what is
 * connected is kept, what is not is taken back, by the functions that do it in
 * the first place.
 */
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "report.h"
#include "scsi.h"
#include "store.h"

#define STEP_MS 30000               /* for each device */
#define WAKE_MS 10000               /* until the guest's driver looks */

/* The reason is in the library's message when it was not done. */
static int report_done(xlx_repair_report *report, const char *vdev,
                       const char *what, const char *done, int failed)
{
    return xlx__report(report, !failed, failed ? xlx_get_error() : done,
                       "%s: %s", vdev, what);
}

static bool works(xlx_ctx *ctx, const xlx_vscsi_entry *e, uint32_t domid)
{
    struct xlx__device dev;
    bool good;

    if (e->domid != domid)
        return false;
    good = !xlx__scsi_adapter(e, &dev) &&
           xlx__scsi_bus_is_connected(ctx, &dev, e) &&
           !xlx__scsi_target_check(e);
    xlx__device_dispose(&dev);
    xlx__error_clear();
    return good;
}

static int disconnect(struct xlx__scsi_change *c, const xlx_vscsi_entry *e)
{
    return xlx__scsi_disconnect(c->ctx, &e, 1, xlx__now_ms() + STEP_MS);
}

/* Takes an entry away for good; without success it stays, as DETACHING, or as
 * it is when it was to be set aside, for then it is to come back. */
static int take_away(struct xlx__scsi_change *c, const char *vdev,
                     bool dry_run, const char *what,
                     xlx_repair_report *report)
{
    xlx_vscsi_entry *e = xlx__scsi_entry(&c->record, vdev);
    int rc, failed;

    if (dry_run)
        return report_done(report, vdev, what, "it would be taken back", 0);
    if (e->status != XLX_VSCSI_STATUS_ASIDE)
        e->status = XLX_VSCSI_STATUS_DETACHING;
    failed = disconnect(c, e);
    rc = report_done(report, vdev, what, "taken back", failed);
    if (!failed && e->status == XLX_VSCSI_STATUS_ASIDE)
        e->domid = XLX_DOMID_NONE;
    else if (!failed)
        xlx__scsi_entry_drop(c, vdev);
    return rc ? rc : xlx__scsi_record_write(c);
}

/* An entry whose status says that a command did not come to its end.  ASIDE: it
 * was to be detached for a while, or to be attached again after one. */
static int settle(struct xlx__scsi_change *c, const char *vdev, bool dry_run,
                  xlx_repair_report *report)
{
    xlx_vscsi_entry *e = xlx__scsi_entry(&c->record, vdev);
    bool detaching = e->status == XLX_VSCSI_STATUS_DETACHING;
    int rc;

    if (detaching || !works(c->ctx, e, c->guest.domid))
        return take_away(c, vdev, dry_run,
                         detaching ? "its detachment was not finished"
                                   : "its attachment was not finished",
                         report);
    if (!dry_run) {
        e->status = XLX_VSCSI_STATUS_ATTACHED;
        rc = xlx__scsi_record_write(c);
        if (rc) return rc;
    }
    return report_done(report, vdev, "its attachment was not recorded as "
                       "finished", "it works, and is recorded so", 0);
}

/* Calls step for each vdev of the record as it is now; step may drop it. */
static int each_vdev(struct xlx__scsi_change *c, bool dry_run,
                     xlx_repair_report *report,
                     int (*step)(struct xlx__scsi_change *c, const char *vdev,
                                 bool dry_run, xlx_repair_report *report))
{
    int i, num = c->record.num_entries, rc = 0;
    char **vdevs;

    vdevs = calloc((size_t)num + 1, sizeof(*vdevs));
    if (!vdevs)
        return xlx__error(ERROR_NOMEM, "out of memory");
    for (i = 0; !rc && i < num; i++)
        rc = xlx__set_string(&vdevs[i], c->record.entries[i].dev.vdev);
    for (i = 0; !rc && i < num; i++)
        rc = step(c, vdevs[i], dry_run, report);
    for (i = 0; i < num; i++)
        free(vdevs[i]);
    free(vdevs);
    return rc;
}

static int settle_unfinished(struct xlx__scsi_change *c, const char *vdev,
                             bool dry_run, xlx_repair_report *report)
{
    const xlx_vscsi_entry *e = xlx__scsi_entry(&c->record, vdev);

    return e->status == XLX_VSCSI_STATUS_ATTACHED || xlx__scsi_is_aside(e)
           ? 0 : settle(c, vdev, dry_run, report);
}

int xlx__scsi_recover(struct xlx__scsi_change *c, bool dry_run,
                      xlx_repair_report *report)
{
    return each_vdev(c, dry_run, report, settle_unfinished);
}

/* ---- the rest ----------------------------------------------------------- */

/* Where the device is now, for an entry that names where it was. */
static int find_again(const xlx_vscsi_entry *e, struct xlx__scsi_pdev *p)
{
    int rc;

    rc = xlx__scsi_find_identity(e->identity, p);
    if (rc == ERROR_INVAL) {            /* a file, or no SCSI device */
        xlx__error_clear();
        rc = xlx__scsi_find(e->dev.pdev, p);
    }
    if (!rc && strcmp(p->identity, e->identity))
        rc = xlx__error(ERROR_NOTFOUND, "pdev %s: it is another device than "
                        "the guest had", e->dev.pdev);
    return rc;
}

/* It could not be attached again now: the next repair tries it once more.  The
 * message of the failure stays. */
static void give_up(struct xlx__scsi_change *c, xlx_vscsi_entry *e,
                    xlx_vscsi_status was)
{
    char *why = strdup(xlx_get_error());

    if (!disconnect(c, e)) {
        e->status = was;
        e->domid = XLX_DOMID_NONE;
    }
    xlx__scsi_record_write(c);
    if (why)
        xlx__error(ERROR_FAIL, "%s", why);
    free(why);
}

/* The guest has been started again: its devices follow it. */
static int attach_again(struct xlx__scsi_change *c, xlx_vscsi_entry *e)
{
    const xlx_vscsi_entry *entry = e;
    xlx_vscsi_status was = e->status;
    struct xlx__scsi_pdev p;
    int rc;

    xlx__scsi_pdev_init(&p);
    rc = disconnect(c, e);
    if (!rc)
        rc = find_again(e, &p);
    /* somebody may have mounted it meanwhile; those who share it have it open */
    if (!rc)
        rc = xlx__scsi_check_use(c, e, &p, !e->dev.shared);
    if (!rc)
        rc = xlx__set_string(&e->hctl, p.unit.hctl);
    if (!rc)
        rc = xlx__set_string(&e->path, p.unit.path);
    if (rc) goto out;
    e->domid = c->guest.domid;
    /* not ATTACHING: what a kill leaves of that is taken back for good */
    e->status = XLX_VSCSI_STATUS_ASIDE;
    rc = xlx__scsi_record_write(c);
    if (rc) goto out;
    /* its kernel may still be starting */
    rc = xlx__scsi_connect(c->ctx, &entry, &p, 1, true,
                           xlx__now_ms() + STEP_MS);
    if (rc) {
        give_up(c, e, was);
        goto out;
    }
    e->status = XLX_VSCSI_STATUS_ATTACHED;
    rc = xlx__scsi_record_write(c);

 out:
    xlx__scsi_pdev_dispose(&p);
    return rc;
}

/* What the guest has at the address of the entry; no message. */
static int find_lun(xlx_ctx *ctx, const xlx_vscsi_entry *e,
                    struct xlx__scsi_lun *lun)
{
    struct xlx__scsi_hctl vdev;
    struct xlx__device dev;
    int rc;

    memset(lun, 0, sizeof(*lun));
    rc = xlx__scsi_adapter(e, &dev);
    if (!rc)
        rc = xlx__scsi_parse_vdev(e->dev.vdev, &vdev);
    if (!rc)
        rc = xlx__scsi_lun_find(ctx, XBT_NULL, &dev, &vdev, lun);
    if (rc) {
        xlx__scsi_lun_dispose(lun);
        xlx__error_clear();
    }
    xlx__device_dispose(&dev);
    return rc;
}

static bool is_there(struct xlx__scsi_change *c, const xlx_vscsi_entry *e)
{
    struct xlx__scsi_lun lun;
    bool there;

    there = e->domid == c->guest.domid && !find_lun(c->ctx, e, &lun);
    if (there)
        xlx__scsi_lun_dispose(&lun);
    return there;
}

static int check_attached(struct xlx__scsi_change *c, const char *vdev,
                          bool dry_run, xlx_repair_report *report)
{
    xlx_vscsi_entry *e = xlx__scsi_entry(&c->record, vdev);
    bool aside = xlx__scsi_is_aside(e);
    int failed;

    if (aside && c->guest.domid == XLX_DOMID_NONE)
        return 0;
    if (c->guest.domid == XLX_DOMID_NONE)
        return take_away(c, vdev, dry_run, "the guest does not run any more",
                         report);
    if (!aside && (e->status != XLX_VSCSI_STATUS_ATTACHED || is_there(c, e)))
        return 0;
    failed = dry_run ? 0 : attach_again(c, e);
    return report_done(report, vdev, aside
                       ? "it was set aside"
                       : "the guest was started again without it",
                       dry_run ? "it would be attached again"
                               : "attached again", failed);
}

/* Has some domain, of which nobody may know any more, that target in
 * xenstore?  XLX_DOMID_NONE: none. */
static uint32_t user_of(xlx_ctx *ctx, const xlx_vscsi_entry *orphan)
{
    xlx_vscsi_entry e = *orphan;
    uint32_t found = XLX_DOMID_NONE;
    struct xlx__scsi_lun lun;
    unsigned int i, num = 0;
    char **domids = NULL, *pdev;

    pdev = xlx__printf("%s:%u", e.target, e.lun);
    if (!pdev || xlx__xs_list(ctx, XBT_NULL, "/local/domain/0/backend/vscsi",
                              &domids, &num))
        xlx__error_clear();
    for (i = 0; i < num; i++) {
        e.domid = (uint32_t)strtoul(domids[i], NULL, 10);
        if (find_lun(ctx, &e, &lun))
            continue;
        if (!strcmp(lun.pdev, pdev))
            found = e.domid;
        xlx__scsi_lun_dispose(&lun);
    }
    free(domids);
    free(pdev);
    return found;
}

/* 1 when another guest shares the backstore, which keeps the name of the guest
 * that had it first. */
static int is_needed(xlx_ctx *ctx, const xlx_vscsi_entry *orphan)
{
    xlx_vscsi_entry e;
    xlx_guest guest;
    int rc;

    xlx_vscsi_entry_init(&e);
    xlx_guest_init(&guest);
    rc = xlx__scsi_backstore_owner(ctx, orphan->backstore, &e, &guest);
    xlx_guest_dispose(&guest);
    xlx_vscsi_entry_dispose(&e);
    return rc == ERROR_NOTFOUND ? 0 : rc ? rc : 1;
}

/* Targets under this guest's name of which nothing is recorded. */
static int remove_orphans(struct xlx__scsi_change *c, bool dry_run,
                          xlx_repair_report *report)
{
    xlx_vscsi_entry *ours = NULL;
    libxl_uuid *uuids = NULL;
    int i, num = 0, rc, failed;

    rc = xlx__scsi_target_ours(&ours, &uuids, &num);
    for (i = 0; !rc && i < num; i++) {
        if (libxl_uuid_compare(&uuids[i], &c->guest.uuid) ||
            xlx__scsi_entry(&c->record, ours[i].dev.vdev))
            continue;
        rc = is_needed(c->ctx, &ours[i]);
        if (rc < 0)
            break;
        if (rc) {
            rc = 0;
            continue;
        }
        ours[i].domid = user_of(c->ctx, &ours[i]);
        failed = dry_run ? 0 : ours[i].domid == XLX_DOMID_NONE
                 ? xlx__scsi_target_remove(&ours[i])
                 : disconnect(c, &ours[i]);
        rc = report_done(report, ours[i].dev.vdev, "a target without a record",
                         dry_run ? "it would be removed" : "removed", failed);
    }
    for (i = 0; i < num; i++)
        xlx_vscsi_entry_dispose(&ours[i]);
    free(ours);
    free(uuids);
    return rc;
}

int xlx__scsi_settle(struct xlx__scsi_change *c, bool dry_run,
                     xlx_repair_report *report)
{
    int rc;

    rc = xlx__scsi_recover(c, dry_run, report);
    if (rc) return rc;
    rc = each_vdev(c, dry_run, report, check_attached);
    if (rc) return rc;
    return remove_orphans(c, dry_run, report);
}

/* ---- setting aside ------------------------------------------------------ */

/* What another tool attached cannot be brought back. */
static int check_all_ours(struct xlx__scsi_change *c)
{
    xlx_device_vscsictrls list;
    int i, j, rc;

    xlx_device_vscsictrls_init(&list);
    rc = xlx__device_vscsictrl_list(c->ctx, &c->guest, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++)
        for (j = 0; !rc && j < list.ctrls[i].num_devs; j++)
            if (list.ctrls[i].devs[j].status == XLX_VSCSI_STATUS_UNKNOWN)
                rc = xlx__error(ERROR_NOT_READY, "vdev %s: another tool "
                                "attached it, so that it could not be "
                                "brought back: detach it",
                                list.ctrls[i].devs[j].dev.vdev);
    xlx_device_vscsictrls_dispose(&list);
    return rc;
}

struct setting_aside {
    struct xlx__scsi_change *c;
    int64_t deadline;
};

static int put_aside(const xlx_vscsi_entry *const *entries, int num,
                     void *user)
{
    const struct setting_aside *s = user;
    int i, rc;

    rc = xlx__scsi_disconnect(s->c->ctx, entries, num, s->deadline);
    if (rc) return rc;
    for (i = 0; i < num; i++)
        xlx__scsi_entry(&s->c->record, entries[i]->dev.vdev)->domid =
            XLX_DOMID_NONE;
    rc = xlx__scsi_record_write(s->c);
    xlx__fault("scsi-aside.one");
    return rc;
}

static int set_aside(struct xlx__scsi_change *c, int64_t deadline)
{
    struct setting_aside s = { c, deadline };
    int i, num = c->record.num_entries, rc;
    const xlx_vscsi_entry **list;
    int n = 0;

    list = calloc((size_t)num, sizeof(*list));
    if (!list)
        return xlx__error(ERROR_NOMEM, "out of memory");
    for (i = 0; i < num; i++) {
        c->record.entries[i].status = XLX_VSCSI_STATUS_ASIDE;
        if (!xlx__scsi_is_aside(&c->record.entries[i]))
            list[n++] = &c->record.entries[i];
    }
    rc = xlx__scsi_record_write(c);
    xlx__fault("scsi-aside.intent");
    if (!rc)
        rc = xlx__scsi_each_adapter(list, n, put_aside, &s);
    free(list);
    return rc;
}

int xlx__vscsi_set_aside(xlx_ctx *ctx, const xlx_guest *guest,
                         const xlx_vscsi_wait *wait)
{
    struct xlx__scsi_change c;
    int rc;

    rc = xlx__scsi_open(ctx, guest, &c);
    if (!rc && c.guest.domid == XLX_DOMID_NONE)
        rc = xlx__error(ERROR_NOT_READY, "%s: it does not run",
                        xlx__text(guest->name));
    if (!rc)
        rc = xlx__scsi_recover(&c, wait && wait->dry_run, NULL);
    if (!rc)
        rc = check_all_ours(&c);
    if (!rc && !(wait && wait->dry_run) && c.record.num_entries)
        rc = set_aside(&c,
                       xlx__scsi_deadline(wait, c.record.num_entries));
    xlx__scsi_end(&c);
    return rc;
}

/* ---- repair ------------------------------------------------------------- */

static int runs(struct xlx__scsi_change *c, bool *runs_r)
{
    libxl_dominfo info;
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl(c->ctx, &xl);
    if (rc) return rc;
    libxl_dominfo_init(&info);
    *runs_r = c->guest.domid != XLX_DOMID_NONE &&
              !libxl_domain_info(xl, &info, c->guest.domid) && !info.paused;
    libxl_dominfo_dispose(&info);
    return 0;
}

static int wake_adapter(const xlx_vscsi_entry *const *entries, int num,
                        void *user)
{
    struct xlx__scsi_change *c = user;
    struct xlx__device dev;
    int rc;

    (void)num;
    rc = xlx__scsi_adapter(entries[0], &dev);
    if (!rc)
        rc = xlx__scsi_bus_wake(c->ctx, &dev, xlx__now_ms() + WAKE_MS);
    xlx__device_dispose(&dev);
    return rc;
}

/* After a restore, when it runs again. */
static int wake_guest(struct xlx__scsi_change *c)
{
    int i, num = c->record.num_entries, rc;
    const xlx_vscsi_entry **list;
    bool is_running = false;

    if (!num)
        return 0;
    list = calloc((size_t)num, sizeof(*list));
    if (!list)
        return xlx__error(ERROR_NOMEM, "out of memory");
    for (i = 0; i < num; i++)
        list[i] = &c->record.entries[i];
    rc = runs(c, &is_running);
    if (!rc && is_running)
        rc = xlx__scsi_each_adapter(list, num, wake_adapter, c);
    free(list);
    return rc;
}

int xlx__vscsi_repair(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                      xlx_repair_report *report)
{
    struct xlx__scsi_change c;
    int rc;

    rc = xlx__scsi_open(ctx, guest, &c);
    if (!rc)
        rc = xlx__scsi_settle(&c, dry_run, report);
    if (!rc && !dry_run)
        rc = wake_guest(&c);
    xlx__scsi_end(&c);
    return rc;
}

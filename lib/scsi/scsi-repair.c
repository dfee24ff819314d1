/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bringing the record and the world together.  The record says what was
 * wanted, xenstore and configfs how far it came, and scsi-plan.c what is to be
 * done.  That is done by the functions that do it in the first place, and for
 * all of an adapter at once.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "core/report.h"
#include "guest/domain.h"
#include "scsi/scsi.h"

#define FACTS_MAX 64
#define XL_END_MS 5000              /* of a guest that has ended */

int64_t xlx__scsi_step_deadline(const struct xlx__scsi_repair *r, int num)
{
    return xlx__hostdev_deadline(r->c->patience,
                                 xlx__scsi_deadline(NULL, num));
}

/* The situation, for a watcher's patience. */
static const char *facts_of(const struct xlx__scsi_repair *r,
                            const xlx_scsi_entry *e, char facts[FACTS_MAX])
{
    ptrdiff_t i = e - r->c->record.entries;

    snprintf(facts, FACTS_MAX, "%u %d %d", r->c->guest.domid,
             (int)r->actions[i].step, (int)r->seen[i].place);
    return facts;
}

int xlx__scsi_report(const struct xlx__scsi_repair *r, const char *vdev,
                     const char *what, const char *done, int failed)
{
    const xlx_scsi_entry *e = xlx__scsi_entry(&r->c->record, vdev);
    char facts[FACTS_MAX];

    if (e && r->actions)
        xlx__hostdev_tried(r->c->patience, vdev, facts_of(r, e, facts),
                           failed);
    return xlx__report(r->report, !failed, failed ? xlx_error_get() : done,
                       "%s: %s", vdev, what);
}

/* The plan for an entry of the record. */
static const struct xlx__hostdev_action *
action_of(const struct xlx__scsi_repair *r, const xlx_scsi_entry *e)
{
    return &r->actions[e - r->c->record.entries];
}

xlx_scsi_entry *xlx__scsi_same_entry(const struct xlx__scsi_repair *r,
                                     const xlx_scsi_entry *e)
{
    return xlx__scsi_entry(&r->c->record, e->dev.vdev);
}

/* ---- what is there ------------------------------------------------------ */

static bool works(xlx_ctx *ctx, const xlx_scsi_entry *e)
{
    struct xlx__device dev;
    bool good;

    good = !xlx__scsi_adapter(e, &dev) &&
           xlx__scsi_bus_is_connected(ctx, &dev, e) &&
           !xlx__scsi_target_check(e);
    xlx__device_dispose(&dev);
    xlx__error_clear();
    return good;
}

static bool is_there(xlx_ctx *ctx, const xlx_scsi_entry *e)
{
    struct xlx__scsi_lun lun;

    if (xlx__scsi_entry_lun(ctx, e, &lun))
        return false;
    xlx__scsi_lun_dispose(&lun);
    return true;
}

static void free_plan(struct xlx__scsi_repair *r)
{
    free(r->actions);
    free(r->seen);
    r->actions = NULL;
    r->seen = NULL;
}

static int make_plan(struct xlx__scsi_repair *r, enum xlx__hostdev_stage stage)
{
    const xlx_scsi_record *record = &r->c->record;
    size_t size = (size_t)record->num_entries + 1;
    uint32_t domid = r->c->guest.domid;
    struct xlx__scsi_seen *seen;
    const xlx_scsi_entry *e;
    int i;

    free_plan(r);
    r->actions = calloc(size, sizeof(*r->actions));
    r->seen = seen = calloc(size, sizeof(*seen));
    if (!r->actions || !seen)
        return xlx__nomem();
    for (i = 0; i < record->num_entries; i++) {
        e = &record->entries[i];
        seen[i].earlier = xlx__hostdev_is_earlier(e->boot, r->c->boot);
        if (xlx__scsi_must_look_host(stage, e, domid))
            seen[i].place = xlx__scsi_look(e, r->c->boot);
        if (!xlx__scsi_must_look(stage, e, domid))
            continue;
        if (stage == XLX__HOSTDEV_RECOVER)
            seen[i].works = works(r->c->ctx, e);
        else
            seen[i].there = is_there(r->c->ctx, e);
    }
    xlx__scsi_plan(stage, record, domid, seen, r->actions);
    return 0;
}

/* ---- carrying it out ---------------------------------------------------- */

/* They work. */
static int keep_entries(struct xlx__scsi_repair *r,
                        const xlx_scsi_entry **list, int num)
{
    int i, rc = 0;

    for (i = 0; !r->dry_run && i < num; i++)
        xlx__scsi_same_entry(r, list[i])->status = XLX_SCSI_STATUS_ATTACHED;
    if (!r->dry_run)
        rc = xlx__scsi_record_write(r->c);
    for (i = 0; !rc && i < num; i++)
        rc = xlx__scsi_report(r, list[i]->dev.vdev, action_of(r, list[i])->why,
                              "it works, and is recorded so", 0);
    return rc;
}

/* Those of one adapter.  Without success an entry stays, as DETACHING, or as
 * it is when it was to be set aside, because then it is to come back. */
static int detach_luns(const xlx_scsi_entry *const *entries, int num,
                       void *user)
{
    const struct xlx__scsi_repair *r = user;
    xlx_scsi_entry *e;
    int i, failed, rc = 0;

    failed = r->dry_run ? 0
             : xlx__scsi_disconnect(r->c->ctx, entries, num,
                                    xlx__scsi_step_deadline(r, num));
    for (i = 0; !rc && i < num; i++) {
        e = xlx__scsi_same_entry(r, entries[i]);
        rc = xlx__scsi_report(r, e->dev.vdev, action_of(r, e)->why,
                              r->dry_run ? "it would be taken back"
                                         : "taken back", failed);
        if (r->dry_run)
            continue;
        if (e->status != XLX_SCSI_STATUS_ASIDE)
            e->status = XLX_SCSI_STATUS_DETACHING;
        if (!failed)
            e->domid = XLX_DOMID_NONE;
    }
    return rc;
}

/* Those of which nothing is left, and which are not to come back. */
static void drop_gone(struct xlx__scsi_change *c)
{
    int i = c->record.num_entries;
    const xlx_scsi_entry *e;

    while (i--) {
        e = &c->record.entries[i];
        if (e->status == XLX_SCSI_STATUS_DETACHING &&
            e->domid == XLX_DOMID_NONE)
            xlx__scsi_entry_drop(c, e->dev.vdev);
    }
}

static int take_entries_away(struct xlx__scsi_repair *r,
                             const xlx_scsi_entry **list, int num)
{
    int rc;

    rc = xlx__scsi_each_adapter(list, num, detach_luns, r);
    if (rc || r->dry_run)
        return rc;
    drop_gone(r->c);
    return xlx__scsi_record_write(r->c);
}

/* Those of one adapter.  The guest's driver lets go of a LUN whose device is
 * gone like of any other; and without success it is tried again. */
static int free_luns(const xlx_scsi_entry *const *entries, int num,
                     void *user)
{
    const struct xlx__scsi_repair *r = user;
    xlx_scsi_entry *e;
    int i, failed, rc = 0;

    failed = r->dry_run ? 0
             : xlx__scsi_disconnect(r->c->ctx, entries, num,
                                    xlx__scsi_step_deadline(r, num));
    for (i = 0; !rc && i < num; i++) {
        e = xlx__scsi_same_entry(r, entries[i]);
        rc = xlx__scsi_report(r, e->dev.vdev, action_of(r, e)->why,
                              r->dry_run ? "it would be taken off the guest"
                              : "taken off the guest until it is back",
                              failed);
        if (r->dry_run || failed)
            continue;
        e->status = XLX_SCSI_STATUS_MISSING;
        e->domid = XLX_DOMID_NONE;
    }
    return rc;
}

static int let_entries_wait(struct xlx__scsi_repair *r,
                            const xlx_scsi_entry **list, int num)
{
    int rc;

    rc = xlx__scsi_each_adapter(list, num, free_luns, r);
    return rc || r->dry_run ? rc : xlx__scsi_record_write(r->c);
}

static bool may_try(const struct xlx__scsi_repair *r,
                    const xlx_scsi_entry *e)
{
    char facts[FACTS_MAX];

    return xlx__hostdev_may_try(r->c->patience, e->dev.vdev,
                                facts_of(r, e, facts));
}

/* Calls carry_out for the entries for which the plan has that step. */
static int do_step(struct xlx__scsi_repair *r, enum xlx__hostdev_step step,
                   int (*carry_out)(struct xlx__scsi_repair *r,
                                    const xlx_scsi_entry **list, int num))
{
    const xlx_scsi_record *record = &r->c->record;
    const xlx_scsi_entry **list;
    int i, num = 0, rc;

    list = calloc((size_t)record->num_entries + 1, sizeof(*list));
    if (!list)
        return xlx__nomem();
    for (i = 0; i < record->num_entries; i++)
        if (r->actions[i].step == step && may_try(r, &record->entries[i]))
            list[num++] = &record->entries[i];
    rc = num ? carry_out(r, list, num) : 0;
    free(list);
    return rc;
}

/* Taking away comes last: it drops entries, to which the plan refers. */
static int repair_stage(struct xlx__scsi_repair *r,
                        enum xlx__hostdev_stage stage)
{
    int rc;

    rc = make_plan(r, stage);
    if (rc) return rc;
    rc = do_step(r, XLX__HOSTDEV_KEEP, keep_entries);
    if (rc) return rc;
    rc = do_step(r, XLX__HOSTDEV_WAIT, let_entries_wait);
    if (rc) return rc;
    rc = do_step(r, XLX__HOSTDEV_ATTACH, xlx__scsi_attach_missing);
    if (rc) return rc;
    return do_step(r, XLX__HOSTDEV_TAKE_AWAY, take_entries_away);
}

int xlx__scsi_recover(struct xlx__scsi_change *c, bool dry_run,
                      xlx_repair_report *report)
{
    struct xlx__scsi_repair r = { c, dry_run, report, NULL, NULL };
    int rc;

    rc = repair_stage(&r, XLX__HOSTDEV_RECOVER);
    free_plan(&r);
    return rc;
}

/* ---- targets of which nobody knows -------------------------------------- */

/* Has some domain, of which nobody may know any more, that target in
 * xenstore?  XLX_DOMID_NONE: none. */
static uint32_t user_of(xlx_ctx *ctx, const xlx_scsi_entry *orphan)
{
    xlx_scsi_entry e = *orphan;
    uint32_t found = XLX_DOMID_NONE;
    struct xlx__scsi_lun lun;
    unsigned int i, num = 0;
    char **domids = NULL, *pdev;

    pdev = xlx__printf("%s:%u", e.target, e.lun);
    if (!pdev || xlx__xs_list(ctx, XBT_NULL, "/local/domain/0/backend/vscsi",
                              &domids, &num))
        xlx__error_clear();
    for (i = 0; i < num; i++) {
        if (!xlx__parse_u32(domids[i], XLX_DOMID_NONE - 1, &e.domid) ||
            xlx__scsi_entry_lun(ctx, &e, &lun))
            continue;
        if (!strcmp(lun.pdev, pdev))
            found = e.domid;
        xlx__scsi_lun_dispose(&lun);
    }
    free(domids);
    free(pdev);
    return found;
}

/* Takes the target from the guest's domain, if that has it, and removes it. */
static int remove_orphan(struct xlx__scsi_change *c, xlx_scsi_entry *orphan)
{
    const xlx_scsi_entry *e = orphan;
    uint32_t user = user_of(c->ctx, orphan);
    int rc;

    orphan->domid = user;
    rc = xlx__hostdev_check_domain(c->ctx, &c->guest.uuid, &orphan->domid);
    if (rc) return rc;
    if (orphan->domid != user)
        return xlx__error(ERROR_DEVICE_EXISTS, "domain %u, which is another "
                          "guest's, has it: detach it from there", user);
    return xlx__scsi_disconnect(c->ctx, &e, 1,
                                xlx__hostdev_deadline(c->patience,
                                    xlx__scsi_deadline(NULL, 1)));
}

/* 1 when another guest shares the backstore, which keeps the name of the guest
 * that had it first. */
static int is_needed(xlx_ctx *ctx, const xlx_scsi_entry *orphan)
{
    xlx_scsi_entry e;
    xlx_guest guest;
    int rc;

    xlx_scsi_entry_init(&e);
    xlx_guest_init(&guest);
    rc = xlx__scsi_backstore_owner(ctx, orphan->backstore, &e, &guest);
    xlx_guest_dispose(&guest);
    xlx_scsi_entry_dispose(&e);
    return rc == ERROR_NOTFOUND ? 0 : rc ? rc : 1;
}

/* Does the record have it?  A copy of its target, which another tool made, is
 * not in the record; while the guest runs, mending takes care of it. */
static bool is_recorded(const struct xlx__scsi_change *c,
                        const xlx_scsi_entry *orphan)
{
    const xlx_scsi_entry *e = xlx__scsi_entry(&c->record, orphan->dev.vdev);

    return e && (e->domid == c->guest.domid ||
                 !strcmp(xlx__text(e->backstore), orphan->backstore));
}

/* Targets under this guest's name of which nothing is recorded. */
static int remove_orphans(struct xlx__scsi_repair *r)
{
    struct xlx__scsi_change *c = r->c;
    xlx_scsi_entry *ours = NULL;
    libxl_uuid *uuids = NULL;
    int i, num = 0, rc, failed;

    rc = xlx__scsi_target_ours(&ours, &uuids, &num);
    for (i = 0; !rc && i < num; i++) {
        if (libxl_uuid_compare(&uuids[i], &c->guest.uuid) ||
            is_recorded(c, &ours[i]))
            continue;
        rc = is_needed(c->ctx, &ours[i]);
        if (rc < 0)
            break;
        if (rc) {
            rc = 0;
            continue;
        }
        failed = r->dry_run ? 0 : remove_orphan(c, &ours[i]);
        rc = xlx__scsi_report(r, ours[i].dev.vdev, "a target without a record",
                         r->dry_run ? "it would be removed" : "removed",
                         failed);
    }
    for (i = 0; i < num; i++)
        xlx_scsi_entry_dispose(&ours[i]);
    free(ours);
    free(uuids);
    return rc;
}

/* ---- repair ------------------------------------------------------------- */

int xlx__scsi_settle(struct xlx__scsi_change *c, bool dry_run,
                     xlx_repair_report *report)
{
    struct xlx__scsi_repair r = { c, dry_run, report, NULL, NULL };
    int rc;

    if (c->guest.domid == XLX_DOMID_NONE &&
        xlx__domain_is_kept(c->ctx, &c->guest,
                            c->patience ? 0 : XL_END_MS))
        return xlx__report(report, false, "xl has to make its next domain, or "
                           "to end, before anything is done",
                           "the guest is between two domains");
    rc = repair_stage(&r, XLX__HOSTDEV_RECOVER);
    if (rc) goto out;
    rc = repair_stage(&r, XLX__HOSTDEV_SETTLE);
    if (rc) goto out;
    rc = xlx__scsi_mend_targets(&r);
    if (rc) goto out;
    rc = remove_orphans(&r);
    if (rc || dry_run)
        goto out;
    rc = xlx__scsi_note_boot(c);

 out:
    free_plan(&r);
    return rc;
}

int xlx__scsi_repair(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                     xlx_repair_report *report)
{
    struct xlx__scsi_change c;
    int rc;

    rc = xlx__scsi_open(ctx, guest, &c);
    if (rc) goto out;
    rc = xlx__scsi_settle(&c, dry_run, report);
    if (rc || dry_run)
        goto out;
    rc = xlx__scsi_wake_guest(&c);

 out:
    xlx__scsi_end(&c);
    return rc;
}

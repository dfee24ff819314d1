/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attaching SCSI devices.  The steps: the record, which reserves the device;
 * the target; xenstore; waiting for both ends; the record again.  Taking it
 * back goes the other way: xenstore first, and the target only when the
 * backend has let go of it.
 */
#include <stdlib.h>
#include <string.h>

#include "core/store.h"
#include "guest/guest.h"
#include "scsi/scsi.h"

#define WAIT_MS 30000               /* for the first device */
#define UNDO_MS 10000
#define MORE_MS 5000                /* for each further one: Linux scans them
                                     * one after the other */
#define MAX_DEVS 1024

/* The devices that one call attaches. */
struct plan {
    xlx_scsi_entry *entries;
    struct xlx__scsi_pdev *pdevs;
    const xlx_scsi_entry **list;   /* of the entries, when all are there */
    int num;
};

static void plan_dispose(struct plan *plan)
{
    int i;

    for (i = 0; i < plan->num; i++) {
        xlx_scsi_entry_dispose(&plan->entries[i]);
        xlx__scsi_pdev_dispose(&plan->pdevs[i]);
    }
    free(plan->entries);
    free(plan->pdevs);
    free(plan->list);
}

static int64_t all_of(int64_t first_ms, int num)
{
    return xlx__now_ms() + first_ms + (num > 1 ? num - 1 : 0) * MORE_MS;
}

int64_t xlx__scsi_deadline(const xlx_scsi_wait *wait, int num)
{
    return wait && wait->timeout
        ? xlx__now_ms() + wait->timeout * INT64_C(1000)
        : all_of(WAIT_MS, num);
}

/* ---- what is wanted ----------------------------------------------------- */

static bool is_disk(const struct xlx__scsi_pdev *p)
{
    return *xlx__text(p->block) && strcmp(p->unit.type, "cd");
}

/* AUTO replaced, and the kind possible for that device. */
static int choose(const struct xlx__scsi_pdev *p, xlx_scsi_dev *dev)
{
    bool scsi = *xlx__text(p->unit.hctl), file;
    const char *kind;

    if (*xlx__text(p->target))
        dev->backstore = XLX_SCSI_BACKSTORE_TARGET;
    file = !strcmp(p->unit.type, "file");
    if (dev->backstore == XLX_SCSI_BACKSTORE_AUTO)
        dev->backstore = file ? XLX_SCSI_BACKSTORE_FILEIO
                         : scsi && !dev->readonly ? XLX_SCSI_BACKSTORE_PSCSI
                         : XLX_SCSI_BACKSTORE_IBLOCK;
    kind = xlx_scsi_backstore_to_string(dev->backstore);
    if (dev->readonly && dev->backstore != XLX_SCSI_BACKSTORE_IBLOCK)
        return xlx__error(ERROR_INVAL, "pdev %s: only iblock can keep a guest "
                          "from writing, not %s%s", dev->pdev, kind,
                          file ? "; use a read-only loop device" : "");
    if ((dev->backstore == XLX_SCSI_BACKSTORE_PSCSI && !scsi) ||
        (dev->backstore == XLX_SCSI_BACKSTORE_IBLOCK && !is_disk(p)) ||
        (dev->backstore == XLX_SCSI_BACKSTORE_FILEIO && !file) ||
        (dev->backstore == XLX_SCSI_BACKSTORE_TARGET &&
         !*xlx__text(p->target)))
        return xlx__error(ERROR_INVAL, "pdev %s: %s cannot serve it, it is "
                          "%s", dev->pdev, kind,
                          scsi ? "a SCSI device" : p->unit.type);
    return 0;
}

/* One device more in the plan; *p is taken over. */
static int plan_add(xlx_ctx *ctx, const xlx_guest *guest,
                    const xlx_scsi_dev *dev, const char *vdev,
                    struct xlx__scsi_pdev *p, struct plan *plan)
{
    size_t size = (size_t)plan->num + 1;
    struct xlx__scsi_pdev *pdevs;
    struct xlx__scsi_hctl hctl;
    char text[XLX__SCSI_HCTL_MAX];
    xlx_scsi_entry *e;
    int rc;

    rc = xlx__scsi_normal_vdev(vdev, &hctl, text);
    if (rc) return rc;
    e = realloc(plan->entries, size * sizeof(*e));
    if (e)
        plan->entries = e;
    pdevs = realloc(plan->pdevs, size * sizeof(*pdevs));
    if (pdevs)
        plan->pdevs = pdevs;
    if (!e || !pdevs)
        return xlx__nomem();
    e += plan->num;
    xlx_scsi_entry_init(e);
    plan->pdevs[plan->num++] = *p;
    xlx__scsi_pdev_init(p);
    p = &plan->pdevs[plan->num - 1];

    rc = xlx_scsi_dev_copy(ctx, &e->dev, dev);
    if (rc) return rc;
    rc = xlx__set_string(&e->dev.vdev, text);
    if (rc) return rc;
    rc = choose(p, &e->dev);
    if (rc) return rc;
    rc = xlx__scsi_target_name(&guest->uuid, &hctl, e);
    if (rc) return rc;
    if (e->dev.backstore == XLX_SCSI_BACKSTORE_TARGET) {
        e->lun = p->lun;
        rc = xlx__set_string(&e->backstore, "");
        if (!rc)
            rc = xlx__set_string(&e->target, p->target);
        if (rc) return rc;
    }
    e->domid = guest->domid;
    e->status = XLX_SCSI_STATUS_ATTACHING;
    return xlx__scsi_note_device(e, p);
}

/* Says which one the guest does not get. */
static int skip(xlx_scsi_devs *attached, const char *pdev, const char *why)
{
    xlx_scsi_skipped *s = xlx__scsi_devs_skipped_append(attached);
    int rc;

    if (!s)
        return ERROR_NOMEM;
    rc = xlx__set_string(&s->pdev, pdev);
    return rc ? rc : xlx__set_string(&s->why, why);
}

/* The devices of that host adapter. */
static int find_on_host(uint32_t host, struct xlx__scsi_pdev **pdevs_r,
                        int *num_r)
{
    struct xlx__scsi_pdev *pdevs = NULL;
    struct xlx__scsi_hctl *list;
    int i, num, n = 0, rc;

    rc = xlx__scsi_units(&list, &num);
    if (rc) return rc;
    pdevs = calloc((size_t)num + 1, sizeof(*pdevs));
    if (!pdevs)
        rc = xlx__nomem();
    for (i = 0; !rc && i < num; i++) {
        if (list[i].host != host)
            continue;
        xlx__scsi_pdev_init(&pdevs[n]);
        rc = xlx__scsi_find_hctl(&list[i], &pdevs[n++]);
    }
    free(list);
    *pdevs_r = pdevs;
    *num_r = n;
    return rc;
}

/* Every device of the host adapter that *one is on, under the address that it
 * has on the host, or another one when the guest cannot have that. */
static int plan_host(xlx_ctx *ctx, const xlx_guest *guest,
                     const xlx_scsi_dev *dev,
                     const struct xlx__scsi_pdev *one, struct plan *plan,
                     xlx_scsi_devs *attached)
{
    char text[XLX__SCSI_HCTL_MAX], vdev[XLX__SCSI_HCTL_MAX];
    xlx_scsi_dev each = *dev;    /* its texts are not ours */
    struct xlx__scsi_host_dev *devs = NULL;
    struct xlx__scsi_pdev *pdevs = NULL;
    int i, num = 0, rc;

    if (!*xlx__text(one->unit.hctl))
        return xlx__error(ERROR_INVAL, "pdev %s: it is on no SCSI host "
                          "adapter, so the vdev cannot be \"host\"",
                          dev->pdev);
    rc = find_on_host(one->hctl.host, &pdevs, &num);
    if (rc) goto out;
    devs = calloc((size_t)num + 1, sizeof(*devs));
    if (!devs) {
        rc = xlx__nomem();
        goto out;
    }
    for (i = 0; i < num; i++) {
        devs[i].hctl = pdevs[i].hctl;
        devs[i].type = pdevs[i].unit.type;
    }
    xlx__scsi_place_all(devs, num);
    each.pdev = text;
    for (i = 0; !rc && i < num; i++) {
        xlx__scsi_format_hctl(&devs[i].hctl, text);
        if (devs[i].why)
            rc = skip(attached, text, devs[i].why);
        else
            rc = plan_add(ctx, guest, &each,
                          xlx__scsi_format_hctl(&devs[i].vdev, vdev),
                          &pdevs[i], plan);
    }
    if (!rc && !plan->num)
        rc = xlx__error(ERROR_INVAL, "pdev %s: its host adapter has no device "
                        "that the guest can have", dev->pdev);

 out:
    for (i = 0; i < num; i++)
        xlx__scsi_pdev_dispose(&pdevs[i]);
    free(pdevs);
    free(devs);
    return rc;
}

static int make_plan(xlx_ctx *ctx, const xlx_guest *guest,
                     const xlx_scsi_devs *devs, struct plan *plan,
                     xlx_scsi_devs *attached)
{
    struct xlx__scsi_pdev p;
    int i, j, rc = 0;

    if (!devs->num_devs)
        return xlx__error(ERROR_INVAL, "no device is given");
    for (i = 0; !rc && i < devs->num_devs; i++) {
        const xlx_scsi_dev *dev = &devs->devs[i];

        xlx__scsi_pdev_init(&p);
        rc = xlx__scsi_find(xlx__text(dev->pdev), &p);
        if (!rc)
            rc = strcmp(xlx__text(dev->vdev), "host")
                 ? plan_add(ctx, guest, dev, xlx__text(dev->vdev), &p, plan)
                 : plan_host(ctx, guest, dev, &p, plan, attached);
        xlx__scsi_pdev_dispose(&p);
    }
    if (rc) return rc;
    if (plan->num > MAX_DEVS)
        return xlx__error(ERROR_INVAL, "%d devices at once are too many",
                          plan->num);
    for (i = 0; i < plan->num; i++)
        for (j = 0; j < i; j++) {
            if (!strcmp(plan->entries[i].dev.vdev, plan->entries[j].dev.vdev))
                return xlx__error(ERROR_INVAL, "vdev %s is given twice",
                                  plan->entries[i].dev.vdev);
            if (xlx__scsi_may_be(&plan->pdevs[i], &plan->pdevs[j]))
                return xlx__error(ERROR_INVAL, "pdev %s and %s are one device",
                                  plan->entries[j].dev.pdev,
                                  plan->entries[i].dev.pdev);
        }
    plan->list = calloc((size_t)plan->num + 1, sizeof(*plan->list));
    if (!plan->list)
        return xlx__nomem();
    for (i = 0; i < plan->num; i++)
        plan->list[i] = &plan->entries[i];
    return 0;
}

/* ---- may it be had? ----------------------------------------------------- */

static int check_vdev(struct xlx__scsi_change *c,
                      const struct xlx__scsi_bus *bus,
                      const xlx_scsi_entry *e)
{
    const xlx_scsi_entry *was;
    struct xlx__scsi_hctl vdev;
    int rc;

    rc = xlx__scsi_parse_vdev(e->dev.vdev, &vdev);
    if (rc) return rc;
    was = xlx__scsi_entry(&c->record, e->dev.vdev);
    if (was && was->status == XLX_SCSI_STATUS_ATTACHED &&
        was->domid == c->guest.domid && xlx__scsi_bus_lun(bus, &vdev))
        return xlx__error(ERROR_DEVICE_EXISTS, "vdev %s: the guest has it "
                          "already", e->dev.vdev);
    if (was)
        return xlx__error(ERROR_DEVICE_EXISTS, "vdev %s: it is recorded for "
                          "%s, which the guest does not have at this moment: "
                          "xl scsi-repair attaches that again, xl scsi-detach "
                          "forgets it", e->dev.vdev,
                          xlx__text(was->dev.pdev));
    if (xlx__scsi_bus_lun(bus, &vdev))
        return xlx__error(ERROR_DEVICE_EXISTS, "vdev %s: the guest has it "
                          "already, from another tool", e->dev.vdev);
    return 0;
}

static int check_vdevs(const xlx_scsi_entry *const *entries, int num,
                       void *user)
{
    struct xlx__scsi_change *c = user;
    struct xlx__scsi_bus bus;
    struct xlx__device dev;
    int i, rc;

    memset(&bus, 0, sizeof(bus));
    rc = xlx__scsi_adapter(entries[0], &dev);
    if (!rc)
        rc = xlx__scsi_luns(c->ctx, XBT_NULL, &dev, &bus.luns, &bus.num);
    for (i = 0; !rc && i < num; i++)
        rc = check_vdev(c, &bus, entries[i]);
    xlx__scsi_bus_dispose(&bus);
    xlx__device_dispose(&dev);
    return rc;
}

/* Not with another guest, unless both allow it; then they have one backstore,
 * since a disk can be opened for one alone. */
static int check_owner(struct xlx__scsi_change *c, xlx_scsi_entry *e,
                       const struct xlx__scsi_pdev *p, bool *had_r)
{
    xlx_scsi_entry other;
    xlx_guest guest;
    int rc;

    xlx_scsi_entry_init(&other);
    xlx_guest_init(&guest);
    rc = xlx__scsi_owner(c->ctx, p, &other, &guest);
    *had_r = !rc;
    if (rc) goto out;
    if (!libxl_uuid_compare(&guest.uuid, &c->guest.uuid))
        rc = xlx__error(ERROR_DEVICE_EXISTS, "pdev %s: it is recorded for "
                        "this guest already, as %s: xl scsi-repair attaches "
                        "it again if it is lost, xl scsi-detach forgets it",
                        e->dev.pdev, other.dev.vdev);
    else if (!e->dev.shared || !other.dev.shared)
        rc = xlx__error(ERROR_DEVICE_EXISTS, "pdev %s: guest \"%s\" has it as "
                        "%s%s", e->dev.pdev, xlx__text(guest.name),
                        other.dev.vdev,
                        e->dev.shared ? ", and not shared" : "");
    else if (other.status != XLX_SCSI_STATUS_ATTACHED)
        rc = xlx__error(ERROR_NOT_READY, "pdev %s: it is being attached to "
                        "or detached from guest \"%s\"; try again, or xl "
                        "scsi-repair", e->dev.pdev, xlx__text(guest.name));
    else if (other.dev.backstore != e->dev.backstore ||
             other.dev.readonly != e->dev.readonly)
        rc = xlx__error(ERROR_INVAL, "pdev %s: guest \"%s\" has it by %s%s, "
                        "and those who share it must have it alike",
                        e->dev.pdev, xlx__text(guest.name),
                        xlx_scsi_backstore_to_string(other.dev.backstore),
                        other.dev.readonly ? ", read-only" : "");
    else
        rc = xlx__set_string(&e->backstore, other.backstore);

 out:
    xlx_guest_dispose(&guest);
    xlx_scsi_entry_dispose(&other);
    return rc;
}

/* The target of another tool must be that: those that we make are known by the
 * device behind them. */
static int check_foreign(const xlx_scsi_entry *e)
{
    libxl_uuid uuid;
    int rc;

    rc = e->dev.backstore == XLX_SCSI_BACKSTORE_TARGET
         ? xlx__scsi_target_guest(e, &uuid) : 0;
    if (rc <= 0)
        return rc;
    return xlx__error(ERROR_DEVICE_EXISTS, "pdev %s: xl scsi-attach made it "
                      "for guest " LIBXL_UUID_FMT ": name the device itself, "
                      "with --shared in both guests", e->dev.pdev,
                      LIBXL_UUID_BYTES(uuid));
}

static int check_one(struct xlx__scsi_change *c, xlx_scsi_entry *e,
                     const struct xlx__scsi_pdev *p)
{
    bool had;
    int rc;

    rc = check_owner(c, e, p, &had);
    if (rc && rc != ERROR_NOTFOUND)
        return rc;
    rc = check_foreign(e);
    if (rc) return rc;
    return xlx__scsi_check_use(c, e, p, had);
}

/* The config decides about its devices: what is recorded of one, and is not in
 * the guest's domain yet, makes way. */
static int make_way(struct xlx__scsi_change *c, const struct plan *plan)
{
    int i, j, rc;

    for (i = 0; i < plan->num; i++)
        for (j = c->record.num_entries - 1; j >= 0; j--) {
            const xlx_scsi_entry *e = &c->record.entries[j];

            if (!plan->entries[i].dev.configured ||
                e->domid == c->guest.domid ||
                strcmp(xlx__text(e->identity), plan->entries[i].identity))
                continue;
            rc = xlx__scsi_disconnect(c->ctx, &e, 1,
                                      xlx__scsi_deadline(NULL, 1));
            if (rc) return rc;
            xlx__scsi_entry_drop(c, e->dev.vdev);
        }
    return 0;
}

/* From here on the devices are the guest's.  Any other process that wants one
 * of them looks while holding the same lock. */
static int reserve(struct xlx__scsi_change *c, struct plan *plan,
                   bool dry_run)
{
    struct xlx__lock host = XLX__LOCK_NONE;
    int i, rc;

    rc = xlx__lock_host(c->ctx, "devices", &host);
    if (rc) return rc;
    xlx__hostdev_world_close(c->world); /* what it is from here on counts */
    c->world = NULL;
    rc = xlx__scsi_each_adapter(plan->list, plan->num, check_vdevs, c);
    for (i = 0; !rc && !dry_run && i < plan->num; i++)
        rc = xlx__scsi_target_remove_copies(&plan->entries[i]);
    for (i = 0; !rc && i < plan->num; i++)
        rc = check_one(c, &plan->entries[i], &plan->pdevs[i]);
    if (rc || dry_run)
        goto out;
    for (i = 0; !rc && i < plan->num; i++) {
        rc = xlx__scsi_entry_is_on(c, &plan->entries[i], c->guest.domid);
        if (!rc)
            rc = xlx__scsi_entry_append(c, &plan->entries[i]);
    }
    if (rc) goto out;
    rc = xlx__scsi_record_write(c);

 out:
    xlx__unlock(&host);
    return rc;
}

/* ---- connecting --------------------------------------------------------- */

struct connecting {
    xlx_ctx *ctx;
    bool no_wait;
    int64_t deadline;
};

static int put_on_bus(const xlx_scsi_entry *const *entries, int num,
                      void *user)
{
    const struct connecting *how = user;
    struct xlx__device dev;
    int rc;

    rc = xlx__scsi_adapter(entries[0], &dev);
    if (!rc)
        rc = xlx__scsi_bus_add(how->ctx, &dev, entries, num, how->deadline);
    xlx__fault("scsi-attach.xenstore");
    if (rc) goto out;
    rc = xlx__scsi_bus_wait(how->ctx, &dev, entries, num, how->no_wait,
                            how->deadline);

 out:
    xlx__device_dispose(&dev);
    return rc;
}

int xlx__scsi_connect(xlx_ctx *ctx, const xlx_scsi_entry *const *entries,
                      const struct xlx__scsi_pdev *pdevs, int num,
                      bool no_wait, int64_t deadline)
{
    struct connecting how = { ctx, no_wait, deadline };
    int i, rc = 0;

    for (i = 0; !rc && i < num; i++)
        rc = xlx__scsi_target_make(ctx, entries[i], &pdevs[i]);
    if (rc) return rc;
    xlx__fault("scsi-attach.target");
    rc = xlx__scsi_each_adapter(entries, num, put_on_bus, &how);
    if (rc) return rc;
    xlx__fault("scsi-attach.connected");
    for (i = 0; !rc && i < num; i++)
        rc = xlx__scsi_target_check(entries[i]);
    /* the backstore has it open now: whatever it is, it stays that */
    for (i = 0; !rc && i < num; i++)
        rc = xlx__scsi_check_place(entries[i]);
    return rc;
}

int xlx__scsi_disconnect(xlx_ctx *ctx, const xlx_scsi_entry *const *entries,
                         int num, int64_t deadline)
{
    struct xlx__device dev;
    int i, rc = 0;

    if (entries[0]->domid != XLX_DOMID_NONE) {
        rc = xlx__scsi_adapter(entries[0], &dev);
        if (!rc)
            rc = xlx__scsi_bus_remove(ctx, &dev, entries, num, deadline);
        xlx__device_dispose(&dev);
        if (rc) return rc;
    }
    xlx__fault("scsi-detach.xenstore");
    for (i = 0; !rc && i < num; i++)
        rc = xlx__scsi_target_remove(ctx, entries[i]);
    return rc;
}

/* ---- attach ------------------------------------------------------------- */

struct undoing {
    struct xlx__scsi_change *c;
    int64_t deadline;
    bool left;                      /* not all could be taken back */
};

static int undo(const xlx_scsi_entry *const *entries, int num, void *user)
{
    struct undoing *u = user;
    int i, rc;

    rc = xlx__scsi_disconnect(u->c->ctx, entries, num, u->deadline);
    for (i = 0; i < num; i++)
        if (rc)
            xlx__scsi_entry(&u->c->record, entries[i]->dev.vdev)->status =
                XLX_SCSI_STATUS_DETACHING;
        else
            xlx__scsi_entry_drop(u->c, entries[i]->dev.vdev);
    if (rc)
        u->left = true;
    return 0;
}

/* Takes back what was done before the failure rc, whose message stays. */
static int take_back(struct xlx__scsi_change *c, const struct plan *plan,
                     int rc)
{
    struct undoing u = { c, all_of(UNDO_MS, plan->num), false };
    struct xlx__error_text why;

    xlx__error_save(&why);
    if (xlx__scsi_each_adapter(plan->list, plan->num, undo, &u) ||
        xlx__scsi_record_write(c))
        u.left = true;
    xlx__error_restore(&why);
    return u.left ? xlx__error(rc, "%s; not all of it could be taken back: xl "
                               "scsi-repair does that", why.line) : rc;
}

static int attach(struct xlx__scsi_change *c, const struct plan *plan,
                  const xlx_scsi_wait *wait)
{
    int i, rc;

    rc = xlx__scsi_connect(c->ctx, plan->list, plan->pdevs, plan->num,
                           wait && wait->no_wait,
                           xlx__scsi_deadline(wait, plan->num));
    for (i = 0; !rc && i < plan->num; i++)
        xlx__scsi_entry(&c->record, plan->entries[i].dev.vdev)->status =
            XLX_SCSI_STATUS_ATTACHED;
    if (!rc)
        rc = xlx__scsi_record_write(c);
    return rc ? take_back(c, plan, rc) : 0;
}

static int fill_attached(xlx_ctx *ctx, const struct plan *plan,
                         xlx_scsi_devs *attached)
{
    int i, rc = 0;

    attached->devs = calloc((size_t)plan->num, sizeof(*attached->devs));
    if (!attached->devs)
        return xlx__nomem();
    for (i = 0; !rc && i < plan->num; i++) {
        xlx_scsi_dev_init(&attached->devs[i]);
        attached->num_devs++;
        rc = xlx_scsi_dev_copy(ctx, &attached->devs[i],
                               &plan->entries[i].dev);
    }
    return rc;
}

int xlx__scsi_attach(xlx_ctx *ctx, const xlx_guest *guest,
                     const xlx_scsi_devs *devs,
                     const xlx_scsi_wait *wait,
                     xlx_scsi_devs *attached_r)
{
    bool dry_run = wait && wait->dry_run;
    struct plan plan = { .num = 0 };
    struct xlx__scsi_change c;
    int rc;

    rc = xlx__scsi_open(ctx, guest, &c);
    if (rc) goto out;
    if (c.guest.domid == XLX_DOMID_NONE) {
        rc = xlx__error(ERROR_NOT_READY, "%s: it does not run, and only a "
                        "running guest can be given SCSI devices",
                        xlx__text(guest->name));
        goto out;
    }
    rc = make_plan(ctx, &c.guest, devs, &plan, attached_r);
    if (rc) goto out;
    rc = xlx__scsi_recover(&c, dry_run, NULL);
    if (rc) goto out;
    /* the message, if it is wrong, before anything is made */
    rc = fill_attached(ctx, &plan, attached_r);
    if (rc) goto out;
    rc = dry_run ? 0 : make_way(&c, &plan);
    if (rc) goto out;
    rc = reserve(&c, &plan, dry_run);
    if (rc || dry_run)
        goto out;
    xlx__fault("scsi-attach.intent");
    rc = attach(&c, &plan, wait);

 out:
    plan_dispose(&plan);
    xlx__scsi_end(&c);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest's SCSI devices in xenstore, as public/io/vscsiif.h describes them:
 * an adapter, and below its backend vscsi-devs/dev-N for each LUN, with a
 * state of its own at both ends.
 *
 * An adapter that is connected takes a change when its backend is set to
 * Reconfiguring: the guest answers with the same, the backend does its share
 * and says Reconfigured, the guest says Connected, the backend too.  Both
 * drivers say Connected whether or not a LUN could be had; only the states of
 * the LUN tell.
 */
#include <stdlib.h>
#include <string.h>

#include "core/store.h"
#include "scsi/scsi.h"

#define WAKE_MS 500
#define SLICE_MS 1000
#define GONE_SLICES 3               /* without a domain */

/* Why it was not connected in time. */
static int explain(xlx_ctx *ctx, const struct xlx__device *dev)
{
    struct xlx__scsi_bus a;
    char *said;
    int rc;

    rc = xlx__scsi_bus_states(ctx, XBT_NULL, dev, &a);
    said = xlx__device_said(ctx, dev);
    if (rc)
        goto out;
    if (said)
        rc = xlx__error(ERROR_TIMEDOUT, "not connected in time: %s", said);
    else if (a.backend == XLX_XENBUS_STATE_INITIALISING)
        rc = xlx__error(ERROR_NOT_READY, "no driver in domain %u serves the "
                        "adapter: is xen-scsiback loaded there?",
                        dev->backend_domid);
    else if (a.frontend == XLX_XENBUS_STATE_INITIALISING)
        rc = xlx__error(ERROR_NOT_READY, "no driver in the guest has taken "
                        "the adapter: it needs xen-scsifront, and must not be "
                        "paused; --no-wait does not wait for it");
    else
        rc = xlx__error(ERROR_TIMEDOUT, "not connected in time: the backend "
                        "is %s, the guest %s; is the guest paused, or does "
                        "the device hang?",
                        xlx__device_state_name(a.backend),
                        xlx__device_state_name(a.frontend));

 out:
    free(said);
    return rc;
}

/* ---- adding ------------------------------------------------------------- */

static bool is_taken(const struct xlx__scsi_bus *a, const char *name)
{
    int i;

    for (i = 0; i < a->num; i++)
        if (!strcmp(a->luns[i].name, name))
            return true;
    return false;
}

/* Nodes of one LUN.  Its name on the host is not the guest's business. */
static int write_lun(xlx_ctx *ctx, xs_transaction_t t,
                     const struct xlx__device *dev, const char *name,
                     const xlx_scsi_entry *entry)
{
    char *dir, *pdev, *path = NULL;
    int rc;

    dir = xlx__printf("%s/vscsi-devs/%s", dev->backend, name);
    pdev = xlx__printf("%s:%u", entry->target, entry->lun);
    path = dir ? xlx__printf("%s/p-dev", dir) : NULL;
    if (!pdev || !path) {
        rc = xlx__nomem();
        goto out;
    }
    rc = xlx__device_write_secret(ctx, t, dev, path, pdev);
    if (rc) goto out;
    strcpy(strrchr(path, '/'), "/v-dev");
    rc = xlx__xs_write(ctx, t, path, entry->dev.vdev);
    if (rc) goto out;
    free(path);
    path = xlx__printf("%s/p-devname", dir);
    rc = path ? xlx__device_write_secret(ctx, t, dev, path, entry->dev.pdev)
              : xlx__nomem();
    if (rc) goto out;
    rc = xlx__device_set_state(ctx, t, dir,
                               XLX_XENBUS_STATE_INITIALISING);

 out:
    free(path);
    free(pdev);
    free(dir);
    return rc;
}

static int add_lun(xlx_ctx *ctx, xs_transaction_t t,
                   const struct xlx__device *dev,
                   const struct xlx__scsi_bus *a,
                   const xlx_scsi_entry *entry)
{
    char name[XLX__SCSI_NAME_MAX];
    struct xlx__scsi_hctl vdev;
    int nth = 0, rc;

    rc = xlx__scsi_parse_vdev(entry->dev.vdev, &vdev);
    if (rc) return rc;
    if (xlx__scsi_bus_lun(a, &vdev))
        return xlx__error(ERROR_DEVICE_EXISTS, "vdev %s: the guest has it "
                          "already", entry->dev.vdev);
    while (is_taken(a, xlx__scsi_lun_name(&vdev, nth, name)))
        nth++;
    return write_lun(ctx, t, dev, name, entry);
}

struct adding {
    xlx_ctx *ctx;
    const struct xlx__device *dev;
    const xlx_scsi_entry *const *entries;
    int num;
    bool no_wait;
    bool only_look;                 /* writes nothing */
};

/* In one transaction: both directories if they are not there, the LUNs, and
 * the call to the guest.  1 when done, 0 when the adapter is not ready for it.
 */
static int add_in(xlx_ctx *ctx, xs_transaction_t t, void *user)
{
    const struct adding *w = user;
    static const struct xlx__device_key keys[] = {
        { "feature-host", "0" }, { NULL, NULL },
    };
    struct xlx__scsi_bus a;
    int i, rc;

    rc = xlx__scsi_bus_read(ctx, t, w->dev, &a);
    if (rc) goto out;
    rc = xlx__device_awaited(ctx, t, w->dev);
    if (rc <= 0) goto out;
    rc = 0;
    switch (a.frontend == XLX_XENBUS_STATE_UNKNOWN
                ? XLX_XENBUS_STATE_UNKNOWN : a.backend) {
    case XLX_XENBUS_STATE_UNKNOWN:
        rc = xlx__device_make(ctx, t, w->dev, keys);
        xlx__scsi_bus_dispose(&a);
        break;
    case XLX_XENBUS_STATE_INITIALISING:
    case XLX_XENBUS_STATE_INIT_WAIT:
    case XLX_XENBUS_STATE_CONNECTED:
        break;
    case XLX_XENBUS_STATE_CLOSING:
    case XLX_XENBUS_STATE_CLOSED:
        rc = xlx__error(ERROR_NOT_READY, "adapter %u of the guest is being "
                        "taken away", w->dev->devid);
        break;
    default:
        goto out;
    }
    for (i = 0; !rc && i < w->num; i++)
        rc = add_lun(ctx, t, w->dev, &a, w->entries[i]);
    if (rc) goto out;
    if (a.backend == XLX_XENBUS_STATE_CONNECTED)
        rc = xlx__device_set_state(ctx, t, w->dev->backend,
                                   XLX_XENBUS_STATE_RECONFIGURING);
    if (rc) goto out;
    rc = 1;

 out:
    xlx__scsi_bus_dispose(&a);
    return rc;
}

static int try_add(void *user)
{
    struct adding *w = user;

    return xlx__xs_transact(w->ctx, add_in, w);
}

/* ERROR_NOT_READY when the domain was not there several times. */
static int count_gone(xlx_ctx *ctx, const struct xlx__device *dev, int *gone)
{
    char path[64], *value = NULL;
    int rc;

    snprintf(path, sizeof(path), "/local/domain/%u", dev->domid);
    rc = xlx__xs_read(ctx, XBT_NULL, path, &value);
    free(value);
    if (rc != ERROR_NOTFOUND) {
        *gone = 0;
        return rc;
    }
    xlx__error_clear();
    return ++*gone < GONE_SLICES ? 0
           : xlx__error(ERROR_NOT_READY, "domain %u has gone: the guest was "
                        "destroyed, or has ended", dev->domid);
}

int xlx__scsi_bus_add(xlx_ctx *ctx, const struct xlx__device *dev,
                      const xlx_scsi_entry *const *entries, int num,
                      int64_t deadline)
{
    struct adding w = {
        .ctx = ctx, .dev = dev, .entries = entries, .num = num,
    };
    int gone = 0, rc;
    int64_t slice;

    /* the backend's events do not tell of a domain that is made, or destroyed
     */
    do {
        slice = xlx__now_ms() + SLICE_MS;
        if (slice > deadline)
            slice = deadline;
        rc = xlx__xs_wait(ctx, dev->backend, slice, try_add, &w);
        if (rc != ERROR_TIMEDOUT)
            return rc;
        rc = count_gone(ctx, dev, &gone);
        if (rc) return rc;
    } while (slice < deadline);
    return explain(ctx, dev);
}

/* ---- waiting for it ----------------------------------------------------- */

/* The state as it was seen, or the node is not written: a write to the one of
 * a guest that was destroyed would make it again. */
static int reconfigure(xlx_ctx *ctx, xs_transaction_t t, void *user)
{
    const struct adding *w = user;
    struct xlx__scsi_bus a;
    int rc;

    rc = xlx__scsi_bus_states(ctx, t, w->dev, &a);
    if (rc || a.backend != XLX_XENBUS_STATE_CONNECTED ||
        a.frontend != XLX_XENBUS_STATE_CONNECTED)
        return rc;
    return xlx__device_set_state(ctx, t, w->dev->backend,
                                 XLX_XENBUS_STATE_RECONFIGURING);
}

/* A LUN that was put there when the backend had just looked. */
static int nudge(const struct adding *w)
{
    struct adding copy = *w;

    return xlx__xs_transact(w->ctx, reconfigure, &copy);
}

static int check_lun(const struct adding *w, const struct xlx__scsi_bus *a,
                     const xlx_scsi_entry *entry, int *missing,
                     bool *unseen)
{
    struct xlx__scsi_hctl vdev;
    struct xlx__scsi_lun lun;
    int rc;

    rc = xlx__scsi_parse_vdev(entry->dev.vdev, &vdev);
    if (rc) return rc;
    rc = xlx__scsi_lun_find(w->ctx, XBT_NULL, w->dev, &vdev, &lun);
    if (rc == ERROR_NOTFOUND)
        rc = xlx__error(ERROR_FAIL, "vdev %s: somebody has removed it from "
                        "xenstore", entry->dev.vdev);
    if (rc) goto out;
    if (lun.backend == XLX_XENBUS_STATE_CLOSED)
        rc = xlx__error(ERROR_FAIL, "vdev %s: the backend cannot use %s: its "
                        "kernel log says why, at \"xen-pvscsi\"",
                        entry->dev.vdev, lun.pdev);
    else if (lun.frontend == XLX_XENBUS_STATE_CLOSED)
        rc = xlx__error(ERROR_FAIL, "vdev %s: the guest's driver does not "
                        "take it: the device does not answer INQUIRY, or "
                        "there are too many", entry->dev.vdev);
    if (a->backend != XLX_XENBUS_STATE_CONNECTED ||
        lun.backend != XLX_XENBUS_STATE_CONNECTED ||
        lun.frontend != XLX_XENBUS_STATE_CONNECTED)
        ++*missing;
    if (a->backend == XLX_XENBUS_STATE_CONNECTED &&
        a->frontend == XLX_XENBUS_STATE_CONNECTED &&
        lun.backend == XLX_XENBUS_STATE_INITIALISING)
        *unseen = true;

 out:
    xlx__scsi_lun_dispose(&lun);
    return rc;
}

/* Called for each step of each driver: the LUNs are looked at when both say
 * that they are done with them. */
static int is_connected(void *user)
{
    const struct adding *w = user;
    bool unseen = false;
    struct xlx__scsi_bus a;
    int i, rc, missing = 0;

    rc = xlx__scsi_bus_states(w->ctx, XBT_NULL, w->dev, &a);
    if (rc) return rc;
    if (a.frontend == XLX_XENBUS_STATE_UNKNOWN)
        return xlx__error(ERROR_NOT_READY, "the guest has gone");
    if ((a.backend != XLX_XENBUS_STATE_CONNECTED ||
         a.frontend != XLX_XENBUS_STATE_CONNECTED) &&
        !(w->no_wait && a.backend == XLX_XENBUS_STATE_INIT_WAIT))
        return 0;
    for (i = 0; !rc && i < w->num; i++)
        rc = check_lun(w, &a, w->entries[i], &missing, &unseen);
    if (rc) return rc;
    if (unseen && !w->only_look)
        return nudge(w);
    return !missing || (w->no_wait &&
                        a.backend == XLX_XENBUS_STATE_INIT_WAIT);
}

int xlx__scsi_bus_wait(xlx_ctx *ctx, const struct xlx__device *dev,
                       const xlx_scsi_entry *const *entries, int num,
                       bool no_wait, int64_t deadline)
{
    struct adding w = {
        .ctx = ctx, .dev = dev, .entries = entries, .num = num,
        .no_wait = no_wait,
    };
    int rc;

    rc = xlx__xs_wait(ctx, dev->backend, deadline, is_connected, &w);
    return rc == ERROR_TIMEDOUT ? explain(ctx, dev) : rc;
}

bool xlx__scsi_bus_is_connected(xlx_ctx *ctx, const struct xlx__device *dev,
                                const xlx_scsi_entry *entry)
{
    struct adding w = {
        .ctx = ctx, .dev = dev, .entries = &entry, .num = 1,
        .only_look = true,
    };
    bool connected = is_connected(&w) > 0;

    xlx__error_clear();
    return connected;
}

/* ---- waking a guest ----------------------------------------------------- */

struct wake_wait {
    xlx_ctx *ctx;
    const struct xlx__device *dev;
    int64_t next;                   /* when to write again */
};

/* The state as it is, once more; 1 when the guest has seen it. */
static int touch(xlx_ctx *ctx, xs_transaction_t t, void *user)
{
    const struct wake_wait *w = user;
    struct xlx__scsi_bus bus;
    int rc;

    rc = xlx__scsi_bus_states(ctx, t, w->dev, &bus);
    if (rc) return rc;
    if (bus.backend != XLX_XENBUS_STATE_INIT_WAIT ||
        bus.frontend != XLX_XENBUS_STATE_INITIALISING)
        return 1;
    return xlx__device_set_state(ctx, t, w->dev->frontend, bus.frontend);
}

static int try_touch(void *user)
{
    struct wake_wait *w = user;

    /* our own writes also wake us */
    if (xlx__now_ms() < w->next)
        return 0;
    w->next = xlx__now_ms() + WAKE_MS;
    return xlx__xs_transact(w->ctx, touch, w);
}

int xlx__scsi_bus_wake(xlx_ctx *ctx, const struct xlx__device *dev,
                       int64_t deadline)
{
    struct wake_wait w = { ctx, dev, 0 };
    int rc;

    rc = xlx__xs_wait(ctx, dev->frontend, deadline, try_touch, &w);
    rc = xlx__forgive(rc, ERROR_TIMEDOUT);
    return rc;
}

/* ---- taking off --------------------------------------------------------- */

struct removing {
    xlx_ctx *ctx;
    const struct xlx__device *dev;
    const xlx_scsi_entry *const *entries;
    int num;
    bool last;                      /* the adapter goes as well */
};

/* The LUN's nodes at both ends. */
static int delete_lun(const struct removing *w, xs_transaction_t t,
                      const char *name)
{
    const char *const dirs[] = { w->dev->frontend, w->dev->backend };
    char *path;
    int i, rc = 0;

    for (i = 0; !rc && i < 2; i++) {
        path = xlx__printf("%s/vscsi-devs/%s", dirs[i], name);
        if (!path)
            return xlx__nomem();
        rc = xlx__xs_remove(w->ctx, t, path);
        if (rc == ERROR_NOTFOUND)
            rc = 0;
        free(path);
    }
    return rc;
}

/* A LUN at the address of an entry can be another device's. */
static int is_ours(const struct removing *w, xs_transaction_t t,
                   const xlx_scsi_entry *entry, struct xlx__scsi_lun *lun)
{
    char *pdev;
    int rc;

    rc = xlx__scsi_lun_read(w->ctx, t, w->dev, lun);
    if (rc) return xlx__forgive(rc, ERROR_NOTFOUND);
    pdev = xlx__printf("%s:%u", entry->target, entry->lun);
    if (!pdev)
        return xlx__nomem();
    rc = !strcmp(lun->pdev, pdev);
    free(pdev);
    return rc;
}

/* Those of the adapter that are to go, read, come to luns_r[]. */
static int find_ours(const struct removing *w, xs_transaction_t t,
                     const struct xlx__scsi_bus *a,
                     const struct xlx__scsi_lun **luns_r, int *num_r)
{
    struct xlx__scsi_hctl vdev;
    struct xlx__scsi_lun *lun;
    int i, rc;

    for (i = 0; i < w->num; i++) {
        rc = xlx__scsi_parse_vdev(w->entries[i]->dev.vdev, &vdev);
        if (rc) return rc;
        lun = xlx__scsi_bus_lun(a, &vdev);
        rc = lun ? is_ours(w, t, w->entries[i], lun) : 0;
        if (rc < 0) return rc;
        if (rc)
            luns_r[(*num_r)++] = lun;
    }
    return 0;
}

static int ask_off(const struct removing *w, xs_transaction_t t,
                   const char *name)
{
    char *path = xlx__printf("%s/vscsi-devs/%s", w->dev->backend, name);
    int rc;

    if (!path)
        return xlx__nomem();
    rc = xlx__device_set_state(w->ctx, t, path, XLX_XENBUS_STATE_CLOSING);
    free(path);
    return rc;
}

/* The next step for LUNs of an adapter that stays: those that no driver has
 * are deleted, both drivers are asked to let go of the others.  1 when none is
 * left. */
static int take_off(const struct removing *w, xs_transaction_t t,
                    const struct xlx__scsi_bus *a,
                    const struct xlx__scsi_lun *const *luns, int num)
{
    bool connected = a->backend == XLX_XENBUS_STATE_CONNECTED;
    /* the guest has not answered: the question can be taken back */
    bool unanswered = a->backend == XLX_XENBUS_STATE_RECONFIGURING &&
                      a->frontend == XLX_XENBUS_STATE_CONNECTED;
    int i, rc = 0, left = 0;

    if (a->backend > XLX_XENBUS_STATE_CONNECTED && !unanswered)
        return 0;
    for (i = 0; !rc && i < num; i++) {
        /* asked, the backend would not answer for a closed one */
        if (luns[i]->backend == XLX_XENBUS_STATE_INITIALISING ||
            (luns[i]->backend == XLX_XENBUS_STATE_CLOSED && !unanswered)) {
            rc = delete_lun(w, t, luns[i]->name);
            continue;
        }
        left++;
        if (connected)
            rc = ask_off(w, t, luns[i]->name);
    }
    if (rc) return rc;
    if (unanswered && left < num)
        rc = xlx__device_set_state(w->ctx, t, w->dev->backend,
                                   XLX_XENBUS_STATE_CONNECTED);
    else if (connected && left)
        rc = xlx__device_set_state(w->ctx, t, w->dev->backend,
                                   XLX_XENBUS_STATE_RECONFIGURING);
    return rc ? rc : !left;
}

/* The next step: 1 when all are off, or are the last. */
static int remove_in(xlx_ctx *ctx, xs_transaction_t t, void *user)
{
    const struct xlx__scsi_lun **luns = NULL;
    struct removing *w = user;
    struct xlx__scsi_bus a;
    int num = 0, rc;

    rc = xlx__scsi_bus_read(ctx, t, w->dev, &a);
    if (rc) goto out;
    luns = calloc((size_t)w->num, sizeof(*luns));
    if (!luns) {
        rc = xlx__nomem();
        goto out;
    }
    rc = find_ours(w, t, &a, luns, &num);
    if (rc) goto out;
    /* an adapter that is being closed, or was, comes to its end: those of its
     * LUNs that were to stay are attached again by scsi-repair */
    w->last = a.num == num ||
              (num && (a.frontend == XLX_XENBUS_STATE_UNKNOWN ||
                       a.backend == XLX_XENBUS_STATE_CLOSING ||
                       a.backend == XLX_XENBUS_STATE_CLOSED));
    rc = !num || w->last ? 1 : take_off(w, t, &a, luns, num);

 out:
    free(luns);
    xlx__scsi_bus_dispose(&a);
    return rc;
}

/* Called for each step of each driver, as is_connected(). */
static int try_remove(void *user)
{
    struct removing *w = user;
    struct xlx__scsi_bus a;
    int rc;

    rc = xlx__scsi_bus_states(w->ctx, XBT_NULL, w->dev, &a);
    if (rc) return rc;
    if (a.backend == XLX_XENBUS_STATE_RECONFIGURED ||
        (a.backend == XLX_XENBUS_STATE_RECONFIGURING &&
         a.frontend == XLX_XENBUS_STATE_RECONFIGURING))
        return 0;
    rc = xlx__xs_transact(w->ctx, remove_in, w);
    xlx__fault("scsi-detach.asked");
    return rc;
}

/* The adapter, which may never have been connected. */
static int remove_adapter(xlx_ctx *ctx, const struct xlx__device *dev,
                          int64_t deadline)
{
    xlx_xenbus_state backend, frontend;
    int rc;

    rc = xlx__device_state(ctx, XBT_NULL, dev->backend, &backend);
    if (rc) return rc;
    if (xlx__device_state(ctx, XBT_NULL, dev->frontend, &frontend)) {
        xlx__error_clear();
        frontend = XLX_XENBUS_STATE_CONNECTED;
    }
    if (backend <= XLX_XENBUS_STATE_INIT_WAIT ||
        frontend <= XLX_XENBUS_STATE_INITIALISING)
        return xlx__device_remove(ctx, dev, deadline);
    return xlx__device_close(ctx, dev, deadline);
}

int xlx__scsi_bus_remove(xlx_ctx *ctx, const struct xlx__device *dev,
                         const xlx_scsi_entry *const *entries, int num,
                         int64_t deadline)
{
    struct removing w = { ctx, dev, entries, num, false };
    int rc;

    rc = xlx__xs_wait(ctx, dev->backend, deadline, try_remove, &w);
    if (!rc && w.last)
        rc = remove_adapter(ctx, dev, deadline);
    if (rc == ERROR_TIMEDOUT)
        xlx__error(rc, "vdev %s%s: the guest does not let go of it, or the "
                   "device hangs; the host's side stays until it does: try "
                   "again later", entries[0]->dev.vdev,
                   num > 1 ? " and others" : "");
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading an adapter of a guest in xenstore: both ends' states, which LUNs it
 * has, and the states of one.  Text that the guest wrote there is a state or
 * counts as none.
 */
#include <stdlib.h>
#include <string.h>

#include "scsi/scsi.h"

void xlx__scsi_lun_dispose(struct xlx__scsi_lun *lun)
{
    free(lun->name);
    free(lun->pdev);
    memset(lun, 0, sizeof(*lun));
}

void xlx__scsi_luns_free(struct xlx__scsi_lun *luns, int num)
{
    int i;

    for (i = 0; i < num; i++)
        xlx__scsi_lun_dispose(&luns[i]);
    free(luns);
}

static int read_text(xlx_ctx *ctx, xs_transaction_t t, const char *dir,
                     const char *name, char **text_r)
{
    char *path = xlx__printf("%s/%s", dir, name);
    int rc;

    if (!path)
        return xlx__nomem();
    rc = xlx__xs_read(ctx, t, path, text_r);
    free(path);
    return rc;
}

/* Any other text counts as none. */
static xlx_xenbus_state state_in(xlx_ctx *ctx, xs_transaction_t t,
                                 const char *dir, const char *name)
{
    xlx_xenbus_state state = XLX_XENBUS_STATE_UNKNOWN;
    char *path = xlx__printf("%s/vscsi-devs/%s", dir, name);

    if (!path || xlx__device_state(ctx, t, path, &state))
        xlx__error_clear();
    free(path);
    return state;
}

/* The name, and the address if the node has one that is in order. */
static int read_vdev(xlx_ctx *ctx, xs_transaction_t t,
                     const struct xlx__device *dev, const char *name,
                     struct xlx__scsi_lun *lun)
{
    char *dir, *vdev = NULL;
    int rc;

    dir = xlx__printf("%s/vscsi-devs/%s", dev->backend, name);
    lun->name = strdup(name);
    if (!dir || !lun->name) {
        rc = xlx__nomem();
        goto out;
    }
    rc = read_text(ctx, t, dir, "v-dev", &vdev);
    if (rc) goto out;
    if (!xlx__scsi_parse_hctl(vdev, &lun->vdev))
        rc = xlx__error(ERROR_INVAL, "xenstore: %s/v-dev: \"%.64s\": must be "
                        "H:C:T:L", dir, vdev);

 out:
    free(vdev);
    free(dir);
    return rc;
}

int xlx__scsi_lun_read(xlx_ctx *ctx, xs_transaction_t t,
                       const struct xlx__device *dev,
                       struct xlx__scsi_lun *lun)
{
    char *dir;
    int rc;

    dir = xlx__printf("%s/vscsi-devs/%s", dev->backend, lun->name);
    if (!dir)
        return xlx__nomem();
    rc = read_text(ctx, t, dir, "p-dev", &lun->pdev);
    free(dir);
    if (rc) return rc;
    lun->backend = state_in(ctx, t, dev->backend, lun->name);
    lun->frontend = state_in(ctx, t, dev->frontend, lun->name);
    return 0;
}

static int by_vdev(const void *a, const void *b)
{
    const struct xlx__scsi_lun *x = a, *y = b;

    if (x->vdev.target != y->vdev.target)
        return x->vdev.target < y->vdev.target ? -1 : 1;
    return x->vdev.lun < y->vdev.lun ? -1 : x->vdev.lun > y->vdev.lun;
}

int xlx__scsi_luns(xlx_ctx *ctx, xs_transaction_t t,
                   const struct xlx__device *dev,
                   struct xlx__scsi_lun **luns_r, int *num_r)
{
    char *path = xlx__printf("%s/vscsi-devs", dev->backend);
    struct xlx__scsi_lun *luns = NULL;
    char **names = NULL;
    unsigned int i, n = 0;
    int num = 0, rc;

    rc = path ? xlx__xs_list(ctx, t, path, &names, &n)
              : xlx__nomem();
    if (rc == ERROR_NOTFOUND)
        rc = 0;
    if (rc) goto out;
    luns = calloc(n + 1, sizeof(*luns));
    if (!luns) {
        rc = xlx__nomem();
        goto out;
    }
    for (i = 0; i < n; i++) {
        rc = read_vdev(ctx, t, dev, names[i], &luns[num]);
        if (!rc) {
            num++;
            continue;
        }
        xlx__scsi_lun_dispose(&luns[num]);
        if (rc != ERROR_NOTFOUND && rc != ERROR_INVAL)
            goto out;
    }
    rc = 0;
    qsort(luns, (size_t)num, sizeof(*luns), by_vdev);
    *luns_r = luns;
    *num_r = num;
    luns = NULL;

 out:
    xlx__scsi_luns_free(luns, luns ? num : 0);
    free(names);
    free(path);
    return rc;
}

static bool is_at(const struct xlx__scsi_lun *lun,
                  const struct xlx__scsi_hctl *vdev)
{
    return lun->vdev.channel == vdev->channel &&
           lun->vdev.target == vdev->target && lun->vdev.lun == vdev->lun;
}

struct xlx__scsi_lun *xlx__scsi_bus_lun(const struct xlx__scsi_bus *bus,
                                        const struct xlx__scsi_hctl *vdev)
{
    struct xlx__scsi_lun *lun;

    for (lun = bus->luns; lun < bus->luns + bus->num; lun++)
        if (is_at(lun, vdev))
            return lun;
    return NULL;
}

const char *xlx__scsi_lun_name(const struct xlx__scsi_hctl *vdev, int nth,
                               char buf[XLX__SCSI_NAME_MAX])
{
    snprintf(buf, XLX__SCSI_NAME_MAX, "dev-%u", (unsigned int)nth * 64 * 256 +
             vdev->target * 256 + (unsigned int)vdev->lun);
    return buf;
}

/* Among all, because it may have any name. */
static int search(xlx_ctx *ctx, xs_transaction_t t,
                  const struct xlx__device *dev,
                  const struct xlx__scsi_hctl *vdev,
                  struct xlx__scsi_lun *lun)
{
    struct xlx__scsi_bus bus;
    struct xlx__scsi_lun *found;
    int rc;

    memset(&bus, 0, sizeof(bus));
    rc = xlx__scsi_luns(ctx, t, dev, &bus.luns, &bus.num);
    if (rc) return rc;
    found = xlx__scsi_bus_lun(&bus, vdev);
    if (found) {
        *lun = *found;
        memset(found, 0, sizeof(*found));
    }
    xlx__scsi_bus_dispose(&bus);
    return found ? 0 : ERROR_NOTFOUND;
}

int xlx__scsi_lun_find(xlx_ctx *ctx, xs_transaction_t t,
                       const struct xlx__device *dev,
                       const struct xlx__scsi_hctl *vdev,
                       struct xlx__scsi_lun *lun)
{
    char name[XLX__SCSI_NAME_MAX];
    int rc;

    memset(lun, 0, sizeof(*lun));
    rc = read_vdev(ctx, t, dev, xlx__scsi_lun_name(vdev, 0, name), lun);
    if (rc && rc != ERROR_NOTFOUND && rc != ERROR_INVAL)
        return rc;
    if (rc || !is_at(lun, vdev)) {
        xlx__error_clear();
        xlx__scsi_lun_dispose(lun);
        rc = search(ctx, t, dev, vdev, lun);
    }
    return rc ? rc : xlx__scsi_lun_read(ctx, t, dev, lun);
}

void xlx__scsi_bus_dispose(struct xlx__scsi_bus *bus)
{
    xlx__scsi_luns_free(bus->luns, bus->num);
    memset(bus, 0, sizeof(*bus));
}

int xlx__scsi_bus_states(xlx_ctx *ctx, xs_transaction_t t,
                         const struct xlx__device *dev,
                         struct xlx__scsi_bus *bus)
{
    int rc;

    memset(bus, 0, sizeof(*bus));
    rc = xlx__device_state(ctx, t, dev->backend, &bus->backend);
    if (rc) return rc;
    rc = xlx__device_state(ctx, t, dev->frontend, &bus->frontend);
    rc = xlx__forgive(rc, ERROR_INVAL);            /* the guest's nonsense */
    return rc;
}

int xlx__scsi_bus_read(xlx_ctx *ctx, xs_transaction_t t,
                       const struct xlx__device *dev,
                       struct xlx__scsi_bus *bus)
{
    int rc;

    rc = xlx__scsi_bus_states(ctx, t, dev, bus);
    if (rc) return rc;
    return xlx__scsi_luns(ctx, t, dev, &bus->luns, &bus->num);
}

int xlx__scsi_adapter(const xlx_scsi_entry *entry, struct xlx__device *dev)
{
    struct xlx__scsi_hctl vdev;
    int rc;

    memset(dev, 0, sizeof(*dev));
    rc = xlx__scsi_parse_vdev(entry->dev.vdev, &vdev);
    if (rc) return rc;
    return xlx__device_init(dev, "vscsi", "vscsi", 0, entry->domid,
                            vdev.host);
}

int xlx__scsi_entry_lun(xlx_ctx *ctx, const xlx_scsi_entry *e,
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

/* The entries from the first that are on the same adapter come to the front;
 * returns how many they are. */
static int same_adapter(const xlx_scsi_entry **entries, int num)
{
    struct xlx__scsi_hctl first = { 0 }, vdev = { 0 };
    const xlx_scsi_entry *e;
    int i, n = 0;

    for (i = 0; i < num; i++) {
        e = entries[i];
        xlx__scsi_parse_hctl(e->dev.vdev, i ? &vdev : &first);
        if (i && (vdev.host != first.host || e->domid != entries[0]->domid))
            continue;
        entries[i] = entries[n];
        entries[n++] = e;
    }
    return n;
}

int xlx__scsi_each_adapter(const xlx_scsi_entry *const *entries, int num,
                           int (*step)(const xlx_scsi_entry *const *entries,
                                       int num, void *user),
                           void *user)
{
    const xlx_scsi_entry **left;
    int i, n, rc = 0;

    left = calloc((size_t)num + 1, sizeof(*left));
    if (!left)
        return xlx__nomem();
    memcpy(left, entries, (size_t)num * sizeof(*left));
    for (i = 0; !rc && i < num; i += n) {
        n = same_adapter(left + i, num - i);
        rc = step(left + i, n, user);
    }
    free(left);
    return rc;
}

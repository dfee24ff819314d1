/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Detaching SCSI devices: one, or all of an adapter at once.  The record
 * first, then xenstore, and the targets when the backend has let go of them.
 */
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "core/store.h"
#include "guest/guest.h"
#include "scsi/scsi.h"

/* A device that another tool attached: its target is that tool's. */
static int foreign_entry(struct xlx__scsi_change *c, const char *vdev,
                         xlx_scsi_entry *e)
{
    struct xlx__scsi_lun lun = { .name = NULL };
    struct xlx__scsi_hctl hctl;
    struct xlx__device dev;
    char *colon;
    int rc;

    e->domid = c->guest.domid;
    e->dev.backstore = XLX_SCSI_BACKSTORE_TARGET;
    rc = xlx__set_string(&e->dev.vdev, vdev);
    if (rc) return rc;
    rc = xlx__scsi_adapter(e, &dev);
    if (!rc)
        rc = xlx__scsi_parse_vdev(vdev, &hctl);
    if (rc) goto out;
    rc = e->domid == XLX_DOMID_NONE ? ERROR_NOTFOUND
         : xlx__scsi_lun_find(c->ctx, XBT_NULL, &dev, &hctl, &lun);
    colon = rc ? NULL : strrchr(lun.pdev, ':');
    if (rc == ERROR_NOTFOUND ||
        (!rc && !(colon && xlx__parse_u32(colon + 1, UINT32_MAX, &e->lun))))
        rc = xlx__error(ERROR_NOTFOUND, "vdev %s: the guest has no such SCSI "
                        "device", vdev);
    if (rc) goto out;
    *colon = '\0';
    rc = xlx__set_string(&e->target, lun.pdev);

 out:
    xlx__scsi_lun_dispose(&lun);
    xlx__device_dispose(&dev);
    return rc;
}

static int detach_foreign(struct xlx__scsi_change *c, const char *vdev,
                          const xlx_scsi_wait *wait)
{
    xlx_scsi_entry foreign;
    const xlx_scsi_entry *entry = &foreign;
    int rc;

    xlx_scsi_entry_init(&foreign);
    rc = foreign_entry(c, vdev, &foreign);
    if (rc) goto out;
    if (!(wait && wait->dry_run))
        rc = xlx__scsi_disconnect(c->ctx, &entry, 1,
                                  xlx__scsi_deadline(wait, 1));

 out:
    xlx_scsi_entry_dispose(&foreign);
    return rc;
}

/* ---- ours --------------------------------------------------------------- */

/* The devices that are to go: one address, or all of the adapter. */
struct detaching {
    struct xlx__scsi_change *c;
    struct xlx__scsi_hctl vdev;
    bool all;
    int64_t deadline;
};

static bool matches_request(const struct detaching *d,
                            const xlx_scsi_entry *e)
{
    struct xlx__scsi_hctl vdev;

    return xlx__scsi_parse_hctl(xlx__text(e->dev.vdev), &vdev) &&
           vdev.host == d->vdev.host &&
           (d->all || (vdev.target == d->vdev.target &&
                       vdev.lun == d->vdev.lun));
}

static int count(const struct detaching *d)
{
    int i, num = 0;

    for (i = 0; i < d->c->record.num_entries; i++)
        num += matches_request(d, &d->c->record.entries[i]);
    return num;
}

static int disconnect(const xlx_scsi_entry *const *entries, int num,
                      void *user)
{
    const struct detaching *d = user;

    return xlx__scsi_disconnect(d->c->ctx, entries, num, d->deadline);
}

/* A device that is set aside is nowhere but in the record. */
static int detach(struct detaching *d)
{
    xlx_scsi_entry *e, *first = d->c->record.entries;
    xlx_scsi_entry *end = first + d->c->record.num_entries;
    const xlx_scsi_entry **list;
    int num = 0, rc;

    list = calloc((size_t)(end - first), sizeof(*list));
    if (!list)
        return xlx__nomem();
    for (e = first; e < end; e++) {
        if (!matches_request(d, e) || xlx__scsi_is_aside(e))
            continue;
        e->status = XLX_SCSI_STATUS_DETACHING;
        list[num++] = e;
    }
    rc = xlx__scsi_record_write(d->c);
    xlx__fault("scsi-detach.intent");
    if (!rc)
        rc = xlx__scsi_each_adapter(list, num, disconnect, d);
    free(list);
    if (rc) return rc;
    xlx__fault("scsi-detach.gone");
    /* what is dropped moves those behind it */
    while (end-- > first)
        if (matches_request(d, end))
            xlx__scsi_entry_drop(d->c, end->dev.vdev);
    return xlx__scsi_record_write(d->c);
}

int xlx__scsi_detach(xlx_ctx *ctx, const xlx_guest *guest,
                     const char *vdev, const xlx_scsi_wait *wait)
{
    char text[XLX__SCSI_HCTL_MAX];
    struct xlx__scsi_change c;
    struct detaching d = { .c = &c };
    int num, rc;

    d.all = xlx__scsi_parse_adapter(vdev, &d.vdev.host);
    rc = d.all ? 0 : xlx__scsi_normal_vdev(vdev, &d.vdev, text);
    if (rc) return rc;
    rc = xlx__scsi_open(ctx, guest, &c);
    if (rc) goto out;
    num = count(&d);
    d.deadline = xlx__scsi_deadline(wait, num);
    if (!num)
        rc = d.all ? xlx__error(ERROR_NOTFOUND, "vdev %s: nothing was "
                                                "attached to that adapter "
                                                "with xl scsi-attach",
                                vdev)
                   : detach_foreign(&c, text, wait);
    else if (!wait || !wait->dry_run)
        rc = detach(&d);

 out:
    xlx__scsi_end(&c);
    return rc;
}

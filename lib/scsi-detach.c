/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Detaching SCSI devices: one, or all of an adapter.  The record first, then
 * xenstore, and the target when the backend has let go of it.
 */
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "scsi.h"
#include "store.h"

/* What another tool attached: its target is that tool's. */
static int foreign_entry(struct xlx__scsi_change *c, const char *vdev,
                         xlx_vscsi_entry *e)
{
    struct xlx__scsi_lun *luns = NULL;
    struct xlx__scsi_hctl hctl;
    struct xlx__device dev;
    int i, num = 0, rc;

    e->domid = c->guest.domid;
    e->dev.backstore = XLX_VSCSI_BACKSTORE_TARGET;
    rc = xlx__set_string(&e->dev.vdev, vdev);
    if (rc) return rc;
    rc = xlx__scsi_adapter(e, &dev);
    if (!rc)
        rc = xlx__scsi_parse_vdev(vdev, &hctl);
    if (!rc && e->domid != XLX_DOMID_NONE)
        rc = xlx__scsi_luns(c->ctx, XBT_NULL, &dev, &luns, &num);
    if (rc) goto out;
    rc = xlx__error(ERROR_NOTFOUND, "vdev %s: the guest has no such SCSI "
                    "device", vdev);
    for (i = 0; i < num; i++) {
        char *colon = strrchr(luns[i].pdev, ':');

        if (luns[i].vdev.target != hctl.target ||
            luns[i].vdev.lun != hctl.lun || !colon)
            continue;
        e->lun = (uint32_t)strtoul(colon + 1, NULL, 10);
        *colon = '\0';
        rc = xlx__set_string(&e->target, luns[i].pdev);
    }

 out:
    xlx__scsi_luns_free(luns, num);
    xlx__device_dispose(&dev);
    return rc;
}

static int detach(struct xlx__scsi_change *c, const char *vdev,
                  const xlx_vscsi_wait *wait)
{
    xlx_vscsi_entry *e = xlx__scsi_entry(&c->record, vdev), foreign;
    int rc;

    if (!e) {
        xlx_vscsi_entry_init(&foreign);
        rc = foreign_entry(c, vdev, &foreign);
        if (!rc && !(wait && wait->dry_run))
            rc = xlx__scsi_disconnect(c->ctx, &foreign,
                                      xlx__scsi_deadline(wait, 1));
        xlx_vscsi_entry_dispose(&foreign);
        return rc;
    }
    if (wait && wait->dry_run)
        return 0;
    if (!xlx__scsi_is_aside(e)) {
        e->status = XLX_VSCSI_STATUS_DETACHING;
        rc = xlx__scsi_record_write(c);
        if (rc) return rc;
        xlx__fault("scsi-detach.intent");
        rc = xlx__scsi_disconnect(c->ctx, e, xlx__scsi_deadline(wait, 1));
        if (rc) return rc;
        xlx__fault("scsi-detach.gone");
    }
    xlx__scsi_entry_drop(c, vdev);
    return xlx__scsi_record_write(c);
}

/* All that is recorded of one adapter; what was attached last goes first. */
static int detach_adapter(struct xlx__scsi_change *c, uint32_t number,
                          const xlx_vscsi_wait *wait)
{
    char text[XLX__SCSI_HCTL_MAX];
    struct xlx__scsi_hctl vdev;
    bool found = false;
    int i, rc;

    for (i = c->record.num_entries - 1; i >= 0; i--) {
        rc = xlx__scsi_normal_vdev(c->record.entries[i].dev.vdev, &vdev, text);
        if (!rc && vdev.host == number) {
            found = true;
            rc = detach(c, text, wait);
        }
        if (rc) return rc;
    }
    return found ? 0 : xlx__error(ERROR_NOTFOUND, "vdev %u: of that adapter "
                                  "nothing was attached with xl scsi-attach",
                                  number);
}

int xlx__device_vscsidev_remove(xlx_ctx *ctx, const xlx_guest *guest,
                                const char *vdev, const xlx_vscsi_wait *wait)
{
    char text[XLX__SCSI_HCTL_MAX];
    struct xlx__scsi_change c;
    struct xlx__scsi_hctl hctl;
    uint32_t number;
    bool all;
    int rc;

    all = xlx__scsi_parse_adapter(vdev, &number);
    rc = all ? 0 : xlx__scsi_normal_vdev(vdev, &hctl, text);
    if (rc) return rc;
    rc = xlx__scsi_open(ctx, guest, &c);
    if (!rc)
        rc = all ? detach_adapter(&c, number, wait) : detach(&c, text, wait);
    xlx__scsi_end(&c);
    return rc;
}

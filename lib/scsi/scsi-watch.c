/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keeping SCSI devices with a guest until it ends, also when they leave the
 * host and come back: what each look does.
 */
#include "hostdev/hostdev.h"
#include "scsi/scsi.h"

static bool is_in_order(const struct xlx__scsi_change *c,
                        const xlx_scsi_entry *e)
{
    enum xlx__scsi_place place;

    if (xlx__scsi_is_aside(e))
        return true;
    if (c->guest.domid == XLX_DOMID_NONE ||
        (e->status != XLX_SCSI_STATUS_MISSING &&
         (e->status != XLX_SCSI_STATUS_ATTACHED ||
          e->domid != c->guest.domid)) ||
        xlx__scsi_target_is_lost(e, c->guest.domid))
        return false;
    place = xlx__scsi_look(e, c->boot);
    return e->status == XLX_SCSI_STATUS_MISSING
           ? place == XLX__SCSI_GONE
           : place != XLX__SCSI_GONE && place != XLX__SCSI_MOVED;
}

/* A look at a guest that is in order changes nothing, and asks xenstore
 * nothing. */
static bool needs_repair(const struct xlx__scsi_change *c)
{
    int i;

    for (i = 0; i < c->record.num_entries; i++)
        if (!is_in_order(c, &c->record.entries[i]))
            return true;
    return false;
}

/* Devices that are set aside are for xl restore. */
static bool has_devices(const struct xlx__scsi_change *c)
{
    int i;

    for (i = 0; i < c->record.num_entries; i++)
        if (!xlx__scsi_is_aside(&c->record.entries[i]))
            return true;
    return false;
}

static int look(xlx_ctx *ctx, const struct xlx__hostdev_look *l,
                bool *left_r)
{
    struct xlx__scsi_change c;
    int rc;

    rc = xlx__scsi_open(ctx, l->guest, &c);
    if (rc) goto out;
    c.patience = l->patience;
    /* what has changed just now is for the next look */
    if (c.guest.domid == l->guest->domid &&
        (l->gone || l->guest->domid != XLX_DOMID_NONE) && needs_repair(&c))
        rc = xlx__scsi_settle(&c, false, l->report);
    if (rc) goto out;
    *left_r = has_devices(&c);
    if (!*left_r)
        xlx__unlock(l->lock);

 out:
    xlx__scsi_end(&c);
    return rc;
}

int xlx__scsi_watch(xlx_ctx *ctx, const xlx_guest *guest)
{
    static const char *const subsystems[] = { "scsi", "block", NULL };
    static const struct xlx__hostdev_watch how = {
        .name = "scsi", .subsystems = subsystems, .look = look,
    };

    return xlx__hostdev_watch(ctx, guest, &how);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keeping USB devices with a guest until it ends, also when they are pulled
 * out and plugged in again: what each look does.
 */
#include "hostdev/hostdev.h"
#include "usb/usb.h"

#define AGAIN_MS 2000               /* after what could not be repaired */

/* Devices that are set aside are for xl restore. */
static bool has_devices(const xlx_usb_record *record)
{
    int i;

    for (i = 0; i < record->num_entries; i++)
        if (!xlx__usb_is_aside(&record->entries[i]))
            return true;
    return false;
}

static int look(xlx_ctx *ctx, const xlx_guest *guest, bool gone,
                struct xlx__lock *lock, xlx_repair_report *report,
                bool *left_r)
{
    struct xlx__usb_change c;
    int rc;

    rc = xlx__usb_open(ctx, guest, &c);
    if (rc) goto out;
    /* what has changed just now is for the next look */
    if (c.guest.domid == guest->domid &&
        (gone || guest->domid != XLX_DOMID_NONE))
        rc = xlx__usb_settle(&c, false, report);
    if (rc) goto out;
    *left_r = has_devices(&c.record);
    if (!*left_r)
        xlx__unlock(lock);

 out:
    xlx__usb_end(&c);
    return rc;
}

int xlx__usb_watch(xlx_ctx *ctx, const xlx_guest *guest)
{
    static const struct xlx__hostdev_watch how = {
        .name = "usb", .again_ms = AGAIN_MS, .usb_events = true, .look = look,
    };

    return xlx__hostdev_watch(ctx, guest, &how);
}

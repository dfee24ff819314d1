/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keeping USB devices with a guest until it ends, also when they are pulled
 * out and plugged in again: what each look does.
 */
#include "hostdev/hostdev.h"
#include "usb/usb.h"

/* Devices and trees that are set aside are for xl restore. */
static bool has_devices(const xlx_usb_record *record)
{
    int i;

    for (i = 0; i < record->num_entries; i++)
        if (!xlx__usb_is_aside(&record->entries[i]))
            return true;
    for (i = 0; i < record->num_trees; i++)
        if (!record->trees[i].aside)
            return true;
    return false;
}

static int look(xlx_ctx *ctx, const struct xlx__hostdev_look *l,
                bool *left_r)
{
    struct xlx__usb_change c;
    int rc;

    rc = xlx__usb_open(ctx, l->guest, &c);
    if (rc) goto out;
    c.patience = l->patience;
    /* what has changed just now is for the next look */
    if (c.guest.domid == l->guest->domid &&
        (l->gone || l->guest->domid != XLX_DOMID_NONE)) {
        rc = xlx__usb_settle(&c, false, l->report);
        if (!rc)
            rc = xlx__usb_scan_trees(&c, false, l->report);
    }
    if (rc) goto out;
    *left_r = has_devices(&c.record);
    if (!*left_r)
        xlx__unlock(l->lock);

 out:
    xlx__usb_end(&c);
    return rc;
}

int xlx__usb_watch(xlx_ctx *ctx, const xlx_guest *guest)
{
    static const char *const subsystems[] = { "usb", NULL };
    static const struct xlx__hostdev_watch how = {
        .name = "usb", .subsystems = subsystems, .look = look,
    };

    return xlx__hostdev_watch(ctx, guest, &how);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Setting a guest's devices aside: detached, but still the guest's.  It is the
 * record alone that keeps them until a repair attaches them again.  Trees are
 * not looked through until then.
 */
#include "core/store.h"
#include "usb/usb.h"

/* A device that another tool attached cannot be brought back. */
static int check_all_ours(struct xlx__usb_change *c)
{
    xlx_usb_ctrls list;
    int i, j, rc;

    xlx_usb_ctrls_init(&list);
    rc = xlx__usb_ctrl_list(c->ctx, &c->guest, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++)
        for (j = 0; !rc && j < list.ctrls[i].num_ports; j++)
            if (list.ctrls[i].ports[j].status == XLX_USB_STATUS_UNKNOWN)
                rc = xlx__error(ERROR_NOT_READY, "%s: another tool attached "
                                "it, so that it could not be brought back: "
                                "detach it", list.ctrls[i].ports[j].path);
    xlx_usb_ctrls_dispose(&list);
    return rc;
}

/* Also the controller when it was made for the device: no driver is asked
 * whether it survives a restore. */
static int set_aside(struct xlx__usb_change *c, int64_t deadline)
{
    xlx_usb_entry *e, *end = c->record.entries + c->record.num_entries;
    int i, rc;

    for (i = 0; i < c->record.num_trees; i++)
        c->record.trees[i].aside = true;
    for (e = c->record.entries; e < end; e++)
        e->status = XLX_USB_STATUS_ASIDE;
    rc = xlx__usb_record_write(c);
    xlx__fault("usb-aside.intent");
    for (e = c->record.entries; !rc && e < end; e++) {
        if (xlx__usb_is_aside(e))
            continue;
        rc = xlx__usb_disconnect(c, e, deadline);
        if (rc) break;
        e->domid = XLX_DOMID_NONE;
        rc = xlx__usb_record_write(c);
        xlx__fault("usb-aside.one");
        if (!rc)
            rc = xlx__usb_release(c, e);
    }
    return rc;
}

int xlx__usb_set_aside(xlx_ctx *ctx, const xlx_guest *guest,
                       const xlx_usb_wait *wait)
{
    struct xlx__usb_change c;
    int rc;

    rc = xlx__usb_open(ctx, guest, &c);
    if (rc) goto out;
    if (c.guest.domid == XLX_DOMID_NONE) {
        rc = xlx__error(ERROR_NOT_READY, "%s: it does not run",
                        xlx__text(guest->name));
        goto out;
    }
    rc = xlx__usb_recover(&c, wait && wait->dry_run, NULL);
    if (rc) goto out;
    rc = check_all_ours(&c);
    if (rc || (wait && wait->dry_run) ||
        !(c.record.num_entries || c.record.num_trees))
        goto out;
    rc = set_aside(&c, xlx__usb_deadline(wait));

 out:
    xlx__usb_end(&c);
    return rc;
}

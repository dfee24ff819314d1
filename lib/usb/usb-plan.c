/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The decision about a USB device of a guest, from the record and from what
 * was seen, without a look at anything else.
 */
#include "usb/usb.h"

static const char restarted_once[] =
    "the guest was started again, and it was attached with --once";
static const char rebooted_once[] =
    "the host was started again, and it was attached with --once";
static const char pulled_out_once[] =
    "it was pulled out, and it was attached with --once";

bool xlx__usb_must_look(enum xlx__hostdev_stage stage, const xlx_usb_entry *e,
                        uint32_t domid)
{
    if (domid == XLX_DOMID_NONE || xlx__usb_is_aside(e))
        return false;
    if (stage == XLX__HOSTDEV_SETTLE)
        return true;
    return stage == XLX__HOSTDEV_RECOVER &&
           (e->status == XLX_USB_STATUS_ATTACHING ||
            e->status == XLX_USB_STATUS_ASIDE);
}

static bool works(const xlx_usb_entry *e, const struct xlx__usb_seen *seen)
{
    return e->domid == seen->domid && seen->plugged && seen->same &&
           seen->port == XLX__USB_PORT_OWN && seen->held;
}

static struct xlx__hostdev_action recover(const xlx_usb_entry *e,
                                          const struct xlx__usb_seen *seen)
{
    bool good = seen->domid != XLX_DOMID_NONE && works(e, seen);

    switch (e->status) {
    case XLX_USB_STATUS_DETACHING:
        return xlx__hostdev_do(XLX__HOSTDEV_TAKE_AWAY,
                               "its detachment was not finished");
    case XLX_USB_STATUS_ATTACHING:
        if (good)
            return xlx__hostdev_do(XLX__HOSTDEV_KEEP, "its attachment was not "
                                   "recorded as finished");
        return xlx__hostdev_do(XLX__HOSTDEV_TAKE_AWAY,
                               "its attachment was not finished");
    case XLX_USB_STATUS_ASIDE:
        if (xlx__usb_is_aside(e))
            break;
        return xlx__hostdev_do(good ? XLX__HOSTDEV_KEEP : XLX__HOSTDEV_RETRY,
                               "it was left halfway");
    default:
        break;
    }
    return XLX__HOSTDEV_LEAVE;
}

/* The guest runs, and the device is plugged in.  One that is in a tree is the
 * guest's until it is pulled out. */
static struct xlx__hostdev_action settle_plugged(
    const xlx_usb_entry *e, const struct xlx__usb_seen *seen, bool on_port)
{
    bool restarted = e->domid != seen->domid;
    struct xlx__hostdev_action action;

    if (e->status == XLX_USB_STATUS_ATTACHED && !restarted && seen->same) {
        if (on_port && seen->held)
            return XLX__HOSTDEV_LEAVE;
        if (!on_port && !seen->earlier) {
            action = xlx__hostdev_do(XLX__HOSTDEV_TAKE_AWAY,
                                     "another tool took it off");
            action.on_purpose = true;
            return action;
        }
    }
    if (e->once && restarted && !*xlx__text(e->tree))
        return xlx__hostdev_do(XLX__HOSTDEV_TAKE_AWAY, restarted_once);
    if (e->once && !seen->same)
        return xlx__hostdev_do(XLX__HOSTDEV_TAKE_AWAY, pulled_out_once);
    return xlx__hostdev_do(XLX__HOSTDEV_ATTACH, restarted
                           ? "the guest was started again without it"
                           : seen->same ? "the guest's QEMU does not have it"
                           : "it is plugged in again");
}

/* Why the device cannot be attached. */
static const char *why_not(const struct xlx__usb_seen *seen)
{
    return *xlx__text(seen->instead) ? seen->instead : "it is not plugged in";
}

/* The guest does not run.  It loses what it had when it ended, and not what it
 * had when the host was shut down. */
static struct xlx__hostdev_action clean_up(const xlx_usb_entry *e,
                                           const struct xlx__usb_seen *seen)
{
    bool kept = seen->earlier && (e->status == XLX_USB_STATUS_ATTACHED ||
                                  e->status == XLX_USB_STATUS_MISSING);

    if (kept && !e->once)
        return XLX__HOSTDEV_LEAVE;
    return xlx__hostdev_do(XLX__HOSTDEV_TAKE_AWAY,
                           kept ? rebooted_once
                                : "the guest does not run any more");
}

static struct xlx__hostdev_action settle(const xlx_usb_entry *e,
                                         const struct xlx__usb_seen *seen)
{
    bool on_port = seen->port == XLX__USB_PORT_OWN;

    if (xlx__usb_is_aside(e))
        return XLX__HOSTDEV_LEAVE;
    if (seen->domid == XLX_DOMID_NONE)
        return clean_up(e, seen);
    if (seen->obstacle)
        return xlx__hostdev_do(XLX__HOSTDEV_PUT_OFF, seen->obstacle);
    if (seen->plugged)
        return settle_plugged(e, seen, on_port);
    if (e->once)
        return xlx__hostdev_do(XLX__HOSTDEV_TAKE_AWAY, pulled_out_once);
    if (e->status != XLX_USB_STATUS_MISSING || on_port)
        return xlx__hostdev_do(XLX__HOSTDEV_WAIT, why_not(seen));
    if (seen->several)
        return xlx__hostdev_do(XLX__HOSTDEV_PUT_OFF, why_not(seen));
    return XLX__HOSTDEV_LEAVE;
}

static struct xlx__hostdev_action attach_aside(
    const xlx_usb_entry *e, const struct xlx__usb_seen *seen)
{
    if (!xlx__usb_is_aside(e) || seen->domid == XLX_DOMID_NONE)
        return XLX__HOSTDEV_LEAVE;
    if (seen->plugged)
        return xlx__hostdev_do(XLX__HOSTDEV_ATTACH, "it was set aside");
    return xlx__hostdev_do(XLX__HOSTDEV_WAIT,
                           "it was set aside, and is not plugged in");
}

struct xlx__hostdev_action xlx__usb_plan(enum xlx__hostdev_stage stage,
                                         const xlx_usb_entry *e,
                                         const struct xlx__usb_seen *seen)
{
    struct xlx__hostdev_action action;

    switch (stage) {
    case XLX__HOSTDEV_RECOVER:
        return recover(e, seen);
    case XLX__HOSTDEV_RETURN:
        return attach_aside(e, seen);
    case XLX__HOSTDEV_SETTLE:
        break;
    }
    action = settle(e, seen);
    /* another tool uses the port that was kept for it */
    action.move = seen->port == XLX__USB_PORT_OTHER && !seen->obstacle &&
                  seen->domid != XLX_DOMID_NONE && !xlx__usb_is_aside(e);
    return action;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The decision about the SCSI devices of a guest, from the record and from
 * what was seen, without a look at anything else.
 */
#include "scsi/scsi.h"

static const char unfinished[] = "its attachment was not finished";
static const char undetached[] = "its detachment was not finished";

static bool is_finished(const xlx_scsi_entry *e)
{
    return e->status == XLX_SCSI_STATUS_ATTACHED ||
           e->status == XLX_SCSI_STATUS_MISSING || xlx__scsi_is_aside(e);
}

bool xlx__scsi_must_look(enum xlx__hostdev_stage stage,
                         const xlx_scsi_entry *e, uint32_t domid)
{
    if (domid == XLX_DOMID_NONE || e->domid != domid)
        return false;
    return stage == XLX__HOSTDEV_RECOVER
           ? !is_finished(e) && e->status != XLX_SCSI_STATUS_DETACHING
           : e->status == XLX_SCSI_STATUS_ATTACHED;
}

bool xlx__scsi_must_look_host(enum xlx__hostdev_stage stage,
                              const xlx_scsi_entry *e, uint32_t domid)
{
    return domid != XLX_DOMID_NONE && stage == XLX__HOSTDEV_SETTLE &&
           (e->status == XLX_SCSI_STATUS_ATTACHED ||
            e->status == XLX_SCSI_STATUS_MISSING);
}

static struct xlx__hostdev_action recover(const xlx_scsi_entry *e,
                                          const struct xlx__scsi_seen *seen)
{
    if (is_finished(e))
        return XLX__HOSTDEV_LEAVE;
    if (e->status == XLX_SCSI_STATUS_DETACHING)
        return xlx__hostdev_do(XLX__HOSTDEV_TAKE_AWAY, undetached);
    if (seen->works)
        return xlx__hostdev_do(XLX__HOSTDEV_KEEP,
                               "its attachment was not recorded as finished");
    return xlx__hostdev_do(XLX__HOSTDEV_TAKE_AWAY, unfinished);
}

/* The guest does not run.  It loses what it had when it ended, and not what it
 * had when the host was shut down. */
static struct xlx__hostdev_action clean_up(const xlx_scsi_entry *e,
                                           const struct xlx__scsi_seen *seen)
{
    if (xlx__scsi_is_aside(e) ||
        (seen->earlier && (e->status == XLX_SCSI_STATUS_ATTACHED ||
                           e->status == XLX_SCSI_STATUS_MISSING)))
        return XLX__HOSTDEV_LEAVE;
    return xlx__hostdev_do(XLX__HOSTDEV_TAKE_AWAY,
                           e->status == XLX_SCSI_STATUS_DETACHING ? undetached
                   : is_finished(e) ? "the guest does not run any more"
                   : unfinished);
}

static struct xlx__hostdev_action settle(const xlx_scsi_entry *e,
                                         const struct xlx__scsi_seen *seen)
{
    if (xlx__scsi_is_aside(e))
        return xlx__hostdev_do(XLX__HOSTDEV_ATTACH, "it was set aside");
    if (e->status == XLX_SCSI_STATUS_MISSING)
        return seen->place == XLX__SCSI_GONE ? XLX__HOSTDEV_LEAVE
               : xlx__hostdev_do(XLX__HOSTDEV_ATTACH, "its device is back");
    if (e->status != XLX_SCSI_STATUS_ATTACHED)
        return XLX__HOSTDEV_LEAVE;
    if (seen->place == XLX__SCSI_GONE)
        return xlx__hostdev_do(XLX__HOSTDEV_WAIT,
                               "its device is gone from the host");
    if (!seen->there)
        return xlx__hostdev_do(XLX__HOSTDEV_ATTACH,
                               "the guest was started again without it");
    if (seen->place != XLX__SCSI_MOVED)
        return XLX__HOSTDEV_LEAVE;
    /* Those who share it have one backstore: all of them let go of the old
     * one before any of them makes another. */
    return xlx__hostdev_do(e->dev.shared ? XLX__HOSTDEV_WAIT
                                         : XLX__HOSTDEV_ATTACH,
                           "its device was plugged in again, or has another "
                           "address");
}

void xlx__scsi_plan(enum xlx__hostdev_stage stage,
                    const xlx_scsi_record *record, uint32_t domid,
                    const struct xlx__scsi_seen *seen,
                    struct xlx__hostdev_action *actions)
{
    const xlx_scsi_entry *e;
    int i;

    for (i = 0; i < record->num_entries; i++) {
        e = &record->entries[i];
        actions[i] = stage == XLX__HOSTDEV_RECOVER ? recover(e, &seen[i])
                     : domid == XLX_DOMID_NONE ? clean_up(e, &seen[i])
                     : settle(e, &seen[i]);
    }
}

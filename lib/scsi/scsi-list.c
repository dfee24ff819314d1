/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lists the SCSI devices of a guest, from xenstore and from its record, the
 * guests that have any, and the devices of the host.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/guest.h"
#include "scsi/scsi.h"

/* ---- a guest's ---------------------------------------------------------- */

/* Both ends of a LUN are connected also when its device is gone. */
static const char *place_problem(const xlx_scsi_entry *e)
{
    switch (e ? xlx__scsi_look(e, xlx__text(e->boot)) : XLX__SCSI_UNSEEN) {
    case XLX__SCSI_GONE:
        return "its device is gone from the host";
    case XLX__SCSI_OFFLINE:
        return "its device is offline: it does not answer the host";
    case XLX__SCSI_MOVED:
        return "its device was plugged in again, or has another address:"
               " xl scsi-repair";
    default:
        return "";
    }
}

static int set_problem(xlx_ctx *ctx, const struct xlx__device *dev,
                       const xlx_scsi_ctrl *ctrl, const xlx_scsi_entry *e,
                       xlx_scsi_info *info)
{
    const char *problem = "";
    char *said = NULL;
    int rc;

    if (info->status == XLX_SCSI_STATUS_DETACHING)
        problem = "its detachment was not finished: xl scsi-repair";
    else if (info->backend_state == XLX_XENBUS_STATE_CLOSED)
        problem = "the backend cannot use it: see the kernel log of the host";
    else if (ctrl->backend_state == XLX_XENBUS_STATE_INITIALISING)
        problem = "no backend driver: load xen-scsiback";
    else if (ctrl->frontend_state == XLX_XENBUS_STATE_INITIALISING)
        problem = "the guest has no driver for it yet: xen-scsifront";
    else if (info->frontend_state == XLX_XENBUS_STATE_CLOSED)
        problem = "the guest's driver does not take it";
    else if (ctrl->backend_state != XLX_XENBUS_STATE_CONNECTED ||
             info->backend_state != XLX_XENBUS_STATE_CONNECTED ||
             info->frontend_state != XLX_XENBUS_STATE_CONNECTED)
        problem = "not connected";
    else if (info->status == XLX_SCSI_STATUS_ATTACHING)
        problem = "its attachment was not finished: xl scsi-repair";
    else
        problem = place_problem(e);
    if (*problem)
        said = xlx__device_said(ctx, dev);
    rc = 0;
    free(info->problem);
    info->problem = said ? xlx__printf("%s (%s)", problem, said)
                         : strdup(problem);
    if (!info->problem)
        rc = xlx__nomem();
    free(said);
    return rc;
}

static int fill_from_entry(xlx_ctx *ctx, const xlx_scsi_entry *e,
                           xlx_scsi_info *info)
{
    const char *identity;
    int rc;

    info->status = e->status;
    info->identity_kind = xlx__scsi_identity_kind(xlx__text(e->identity),
                                                  &identity);
    rc = xlx_scsi_dev_copy(ctx, &info->dev, &e->dev);
    if (!rc)
        rc = xlx__set_string(&info->hctl, e->hctl);
    if (!rc)
        rc = xlx__set_string(&info->path, e->path);
    if (!rc)
        rc = xlx__set_string(&info->identity, identity);
    free(info->target);
    info->target = xlx__printf("%s:%u", xlx__text(e->target), e->lun);
    return !rc && !info->target ? xlx__nomem()
                                : rc;
}

static int fill_from_lun(const struct xlx__scsi_lun *lun,
                         xlx_scsi_info *info)
{
    char text[XLX__SCSI_HCTL_MAX];
    int rc;

    info->status = XLX_SCSI_STATUS_UNKNOWN;
    info->dev.backstore = XLX_SCSI_BACKSTORE_TARGET;
    xlx__scsi_format_hctl(&lun->vdev, text);
    rc = xlx__set_string(&info->dev.vdev, text);
    if (rc) return rc;
    rc = xlx__set_string(&info->dev.pdev, lun->pdev);
    if (rc) return rc;
    return xlx__set_string(&info->target, lun->pdev);
}

static xlx_scsi_ctrl *ctrl_of(xlx_scsi_ctrls *list,
                              uint32_t devid)
{
    xlx_scsi_ctrl *ctrl;
    int i;

    for (i = 0; i < list->num_ctrls; i++)
        if (list->ctrls[i].devid == devid)
            return &list->ctrls[i];
    ctrl = xlx__scsi_ctrls_ctrls_append(list);
    if (!ctrl)
        return NULL;
    ctrl->devid = devid;
    ctrl->backend_domid = 0;
    return ctrl;
}

/* The guest may have written anything there. */
static xlx_xenbus_state state_of(xlx_ctx *ctx, const char *dir)
{
    xlx_xenbus_state state = XLX_XENBUS_STATE_UNKNOWN;

    if (xlx__device_state(ctx, XBT_NULL, dir, &state))
        xlx__error_clear();
    return state;
}

static int add_lun(xlx_ctx *ctx, const struct xlx__device *dev,
                   struct xlx__scsi_lun *lun, const xlx_scsi_record *record,
                   xlx_scsi_ctrl *ctrl)
{
    struct xlx__scsi_hctl vdev = lun->vdev;
    char text[XLX__SCSI_HCTL_MAX];
    const xlx_scsi_entry *e;
    xlx_scsi_info *info;
    int rc;

    rc = xlx__scsi_lun_read(ctx, XBT_NULL, dev, lun);
    if (rc == ERROR_NOTFOUND) {         /* detached since */
        xlx__error_clear();
        return 0;
    }
    if (rc) return rc;
    info = xlx__scsi_ctrl_devs_append(ctrl);
    if (!info)
        return ERROR_NOMEM;
    vdev.host = dev->devid;
    e = xlx__scsi_entry(record, xlx__scsi_format_hctl(&vdev, text));
    info->backend_state = lun->backend;
    info->frontend_state = lun->frontend;
    rc = e ? fill_from_entry(ctx, e, info) : fill_from_lun(lun, info);
    return rc ? rc : set_problem(ctx, dev, ctrl, e, info);
}

static int add_adapter(xlx_ctx *ctx, uint32_t domid, uint32_t devid,
                       const xlx_scsi_record *record,
                       xlx_scsi_ctrls *list)
{
    xlx_scsi_ctrl *ctrl = ctrl_of(list, devid);
    struct xlx__scsi_lun *luns = NULL;
    struct xlx__device dev;
    int i, num = 0, rc;

    if (!ctrl)
        return ERROR_NOMEM;
    rc = xlx__device_init(&dev, "vscsi", "vscsi", 0, domid, devid);
    if (rc) goto out;
    ctrl->backend_state = state_of(ctx, dev.backend);
    ctrl->frontend_state = state_of(ctx, dev.frontend);
    rc = xlx__scsi_luns(ctx, XBT_NULL, &dev, &luns, &num);
    for (i = 0; !rc && i < num; i++)
        rc = add_lun(ctx, &dev, &luns[i], record, ctrl);

 out:
    xlx__scsi_luns_free(luns, num);
    xlx__device_dispose(&dev);
    return rc;
}

static bool is_listed(const xlx_scsi_ctrl *ctrl, const char *vdev)
{
    int i;

    for (i = 0; i < ctrl->num_devs; i++)
        if (!strcmp(xlx__text(ctrl->devs[i].dev.vdev), vdev))
            return true;
    return false;
}

/* Devices that are recorded and not in xenstore. */
static int add_missing(xlx_ctx *ctx, const xlx_scsi_entry *e, bool running,
                       const char *boot, xlx_scsi_ctrls *list)
{
    struct xlx__scsi_hctl vdev;
    xlx_scsi_ctrl *ctrl;
    xlx_scsi_info *info;
    int rc;

    rc = xlx__scsi_parse_vdev(e->dev.vdev, &vdev);
    if (rc) return rc;
    ctrl = ctrl_of(list, vdev.host);
    if (!ctrl)
        return ERROR_NOMEM;
    if (is_listed(ctrl, e->dev.vdev))
        return 0;
    info = xlx__scsi_ctrl_devs_append(ctrl);
    if (!info)
        return ERROR_NOMEM;
    rc = fill_from_entry(ctx, e, info);
    if (rc) return rc;
    return xlx__set_string(&info->problem, xlx__scsi_is_aside(e)
                           ? "set aside: it comes back with xl restore or xl "
                             "scsi-repair"
                           : running && e->status == XLX_SCSI_STATUS_MISSING
                           ? "its device is gone from the host: it is "
                             "attached again when it is back"
                           : running
                           ? "recorded, but the guest does not have it: xl "
                             "scsi-repair"
                           : xlx__hostdev_is_earlier(e->boot, boot)
                           ? "kept: the guest was not started since the host "
                             "was"
                           : "the guest does not run: xl scsi-repair");
}

static int by_devid(const void *a, const void *b)
{
    const xlx_scsi_ctrl *x = a, *y = b;

    return x->devid < y->devid ? -1 : x->devid > y->devid;
}

int xlx__scsi_ctrl_list(xlx_ctx *ctx, const xlx_guest *guest,
                        xlx_scsi_ctrls *list)
{
    xlx_scsi_record record;
    uint32_t *devids = NULL;
    char *boot = NULL;
    bool running;
    int i, num = 0, rc;

    xlx_scsi_record_init(&record);
    rc = xlx_guest_copy(ctx, &list->guest, guest);
    if (rc) goto out;
    rc = xlx__guest_refresh(ctx, &list->guest);
    if (rc) goto out;
    running = list->guest.domid != XLX_DOMID_NONE;
    rc = xlx__hostdev_boot(&boot);
    if (!rc)
        rc = xlx__scsi_record_read(ctx, &guest->uuid, boot, &record);
    if (!rc && running)
        rc = xlx__device_list(ctx, "vscsi", 0, list->guest.domid, &devids,
                              &num);
    for (i = 0; !rc && i < num; i++)
        rc = add_adapter(ctx, list->guest.domid, devids[i], &record, list);
    for (i = 0; !rc && i < record.num_entries; i++)
        rc = add_missing(ctx, &record.entries[i], running, boot, list);
    if (rc) goto out;
    if (list->num_ctrls)
        qsort(list->ctrls, (size_t)list->num_ctrls, sizeof(*list->ctrls),
              by_devid);
    rc = xlx__hostdev_watcher(ctx, "scsi", &list->guest,
                              running && record.num_entries, &list->watcher);

 out:
    free(devids);
    free(boot);
    xlx_scsi_record_dispose(&record);
    return rc;
}

int xlx__scsi_get(xlx_ctx *ctx, const xlx_guest *guest,
                  const char *vdev, xlx_scsi_info *info)
{
    char text[XLX__SCSI_HCTL_MAX];
    xlx_scsi_ctrls list;
    struct xlx__scsi_hctl hctl;
    int i, j, rc;

    rc = xlx__scsi_normal_vdev(vdev, &hctl, text);
    if (rc) return rc;
    xlx_scsi_ctrls_init(&list);
    rc = xlx__scsi_ctrl_list(ctx, guest, &list);
    if (rc) goto out;
    rc = xlx__error(ERROR_NOTFOUND, "vdev %s: the guest has no such SCSI "
                    "device", text);
    for (i = 0; i < list.num_ctrls; i++)
        for (j = 0; j < list.ctrls[i].num_devs; j++)
            if (!strcmp(xlx__text(list.ctrls[i].devs[j].dev.vdev), text))
                rc = xlx_scsi_info_copy(ctx, info, &list.ctrls[i].devs[j]);

 out:
    xlx_scsi_ctrls_dispose(&list);
    return rc;
}

/* ---- whose there are ---------------------------------------------------- */

static int add_guest(xlx_ctx *ctx, const libxl_uuid *uuid, xlx_guests *list)
{
    char text[LIBXL_UUID_FMTLEN + 1];
    xlx_guest *guest;
    int i, rc;

    for (i = 0; i < list->num_guests; i++)
        if (!libxl_uuid_compare(&list->guests[i].uuid, uuid))
            return 0;
    guest = xlx__guests_guests_append(list);
    if (!guest)
        return ERROR_NOMEM;
    snprintf(text, sizeof(text), LIBXL_UUID_FMT, LIBXL_UUID_BYTES(*uuid));
    rc = xlx__guest_find(ctx, text, NULL, guest);
    if (rc != ERROR_DOMAIN_NOTFOUND)
        return rc;
    xlx__error_clear();                 /* nobody knows it any more */
    libxl_uuid_copy(NULL, &guest->uuid, uuid);
    return 0;
}

int xlx__scsi_guest_list(xlx_ctx *ctx, xlx_guests *list)
{
    xlx_scsi_entry *ours = NULL;
    libxl_uuid *uuids = NULL;
    xlx_guests known;
    int i, num = 0, rc;

    xlx_guests_init(&known);
    rc = xlx__guest_adopt_running(ctx);
    if (!rc)
        rc = xlx__guest_list(ctx, &known);
    for (i = 0; !rc && i < known.num_guests; i++)
        rc = add_guest(ctx, &known.guests[i].uuid, list);
    if (!rc)
        rc = xlx__scsi_target_ours(&ours, &uuids, &num);
    for (i = 0; !rc && i < num; i++)
        rc = add_guest(ctx, &uuids[i], list);
    xlx_guests_dispose(&known);
    for (i = 0; i < num; i++)
        xlx_scsi_entry_dispose(&ours[i]);
    free(ours);
    free(uuids);
    return rc;
}

/* ---- the host's --------------------------------------------------------- */

/* Names its user: a guest, or this host. */
static int set_used(xlx_ctx *ctx, struct xlx__hostdev_world *world,
                    struct xlx__scsi_pdev *p)
{
    char *use = NULL;
    xlx_scsi_entry e;
    xlx_guest guest;
    int rc;

    xlx_scsi_entry_init(&e);
    xlx_guest_init(&guest);
    rc = xlx__scsi_owner(ctx, p, &e, &guest);
    if (!rc) {
        p->unit.used_by = xlx__printf("guest %s has it as %s%s",
                                      xlx__text(guest.name), e.dev.vdev,
                                      e.dev.shared ? ", shared" : "");
        if (!p->unit.used_by)
            rc = xlx__nomem();
    } else if (rc == ERROR_NOTFOUND) {
        rc = xlx__scsi_guest_use(world, p, false, &use);
        if (!rc && !use)
            rc = xlx__scsi_host_use(world, p, false, false, &use);
        if (rc && rc != ERROR_NOMEM) {
            /* this one cannot be looked at: that is what there is to say */
            use = strdup(xlx_error_get());
            rc = use ? 0 : xlx__nomem();
            xlx__error_clear();
        }
        free(p->unit.used_by);
        p->unit.used_by = use;
    }
    xlx_guest_dispose(&guest);
    xlx_scsi_entry_dispose(&e);
    return rc;
}

int xlx__scsi_unit_list(xlx_ctx *ctx, xlx_scsi_units *list)
{
    struct xlx__hostdev_world *world = NULL;
    struct xlx__scsi_hctl *hctls = NULL;
    struct xlx__scsi_pdev p;
    int i, num, rc;

    rc = xlx__hostdev_world_open(ctx, &world);
    if (!rc)
        rc = xlx__scsi_units(&hctls, &num);
    if (rc) goto out;
    list->units = calloc((size_t)num + 1, sizeof(*list->units));
    if (!list->units)
        rc = xlx__nomem();
    for (i = 0; !rc && i < num; i++) {
        xlx__scsi_pdev_init(&p);
        rc = xlx__scsi_find_hctl(&hctls[i], &p);
        if (!rc)
            rc = set_used(ctx, world, &p);
        if (rc == ERROR_NOTFOUND) {     /* pulled out since */
            xlx__error_clear();
            rc = 0;
        } else if (!rc) {
            xlx_scsi_unit_init(&list->units[list->num_units]);
            rc = xlx_scsi_unit_copy(ctx, &list->units[list->num_units++],
                                    &p.unit);
        }
        xlx__scsi_pdev_dispose(&p);
    }

 out:
    xlx__hostdev_world_close(world);
    free(hctls);
    return rc;
}

int xlx__scsi_owner_find(xlx_ctx *ctx, const char *path,
                         xlx_scsi_owner *owner)
{
    struct xlx__scsi_pdev p;
    xlx_scsi_entry e;
    int rc;

    xlx__scsi_pdev_init(&p);
    xlx_scsi_entry_init(&e);
    rc = xlx__scsi_find_whole(path, &p);
    if (rc) goto out;
    rc = xlx__scsi_owner(ctx, &p, &e, &owner->guest);
    if (rc) goto out;
    rc = xlx__set_string(&owner->vdev, e.dev.vdev);

 out:
    owner->readonly = e.dev.readonly;
    xlx_scsi_entry_dispose(&e);
    xlx__scsi_pdev_dispose(&p);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lists the USB devices of a guest, from xenstore, from its record and from
 * sysfs, and those of the host.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/guest.h"
#include "usb/usb.h"

/* ---- a guest's ---------------------------------------------------------- */

static const char *ctrl_problem(const xlx_usb_ctrl *ctrl)
{
    if (ctrl->type == XLX_USB_TYPE_DEVICEMODEL)
        return "";
    if (ctrl->backend_state == XLX_XENBUS_STATE_INITIALISING ||
        ctrl->backend_state == XLX_XENBUS_STATE_UNKNOWN)
        return "no QEMU serves the controller: xl usb-repair";
    if (ctrl->frontend_state == XLX_XENBUS_STATE_INITIALISING ||
        ctrl->frontend_state == XLX_XENBUS_STATE_UNKNOWN)
        return "the guest has no driver for the controller yet: xen-hcd";
    if (ctrl->backend_state != XLX_XENBUS_STATE_CONNECTED ||
        ctrl->frontend_state != XLX_XENBUS_STATE_CONNECTED)
        return "the controller is not connected";
    return "";
}

/* other: the device that is in its place. */
static int set_problem(const xlx_usb_ctrl *ctrl, xlx_usb_port *port,
                       const xlx_usb_host_device *other, bool running)
{
    char text[64 + XLX__USB_TITLE_MAX], title[XLX__USB_TITLE_MAX];
    const char *problem = "";

    if (other)
        snprintf(text, sizeof(text), "another device is in its place: %s",
                 xlx__usb_title(other, title));
    if (port->status == XLX_USB_STATUS_ASIDE)
        problem = "set aside: it comes back with xl restore or xl usb-repair";
    else if (!running)
        problem = "the guest does not run";
    else if (port->status == XLX_USB_STATUS_ATTACHING)
        problem = "its attachment was not finished: xl usb-repair";
    else if (port->status == XLX_USB_STATUS_DETACHING)
        problem = "its detachment was not finished: xl usb-repair";
    else if (port->status == XLX_USB_STATUS_UNKNOWN && !port->present)
        problem = "it is not plugged in, and keeps stock xl from attaching"
                  " anything: xl usb-detach, or xl usb-repair";
    else if (other)
        problem = text;
    else if (!port->present)
        problem = "it is not plugged in";
    else if (port->status == XLX_USB_STATUS_MISSING)
        problem = "it is plugged in again, and not attached yet";
    else if (!port->held)
        problem = "the guest's QEMU does not have it: xl usb-repair";
    else
        problem = ctrl_problem(ctrl);
    return xlx__set_string(&port->problem, problem);
}

static int fill_port(xlx_ctx *ctx, uint32_t domid, const xlx_usb_ctrl *ctrl,
                     const xlx_usb_record *record,
                     const xlx_usb_host_devices *devices, xlx_usb_port *port)
{
    const xlx_usb_entry *e = xlx__usb_entry(record, ctrl->devid,
                                            port->number);
    const xlx_usb_host_device *d = xlx__usb_by_path(devices, port->path);
    const xlx_usb_host_device *other = NULL;
    bool running = domid != XLX_DOMID_NONE;
    int rc = 0;

    if (e && xlx__usb_is_on(e, port->path) && d && !xlx__usb_may_be(e, d)) {
        other = d;
        d = NULL;
    }
    if (e && xlx__usb_is_on(e, port->path)) {
        port->status = e->status;
        port->once = e->once;
        port->configured = e->configured;
        rc = xlx__set_string(&port->selector, e->selector);
        if (!rc)
            rc = xlx__set_string(&port->tree, xlx__text(e->tree));
    }
    port->present = d;
    if (!rc && d) {
        port->held = running && xlx__usb_held(ctx, domid, d);
        xlx_usb_host_device_dispose(&port->device);
        rc = xlx_usb_host_device_copy(ctx, &port->device, d);
    }
    return rc ? rc : set_problem(ctrl, port, other, running);
}

static int by_port(const void *a, const void *b)
{
    const xlx_usb_port *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number;
}

/* Devices that are recorded and not in xenstore: a port that is kept for its
 * device, perhaps one that another tool has used since. */
static int add_kept(const xlx_usb_entry *e, xlx_usb_ctrls *list)
{
    xlx_usb_ctrl *ctrl = xlx__usb_ctrl_of(list, e);
    xlx_usb_port *port;
    int i, rc;

    if (!ctrl)
        return ERROR_NOMEM;
    for (i = 0; i < ctrl->num_ports; i++)
        if (ctrl->ports[i].number == e->port &&
            xlx__usb_is_on(e, ctrl->ports[i].path))
            return 0;
    port = xlx__usb_ctrl_ports_append(ctrl);
    if (!port)
        return ERROR_NOMEM;
    port->number = e->port;
    rc = xlx__set_string(&port->path, e->path);
    qsort(ctrl->ports, (size_t)ctrl->num_ports, sizeof(*ctrl->ports),
          by_port);
    return rc;
}

/* The record has devices that were left out at the last look: they may have
 * been pulled out. */
static int add_tree(xlx_ctx *ctx, const xlx_usb_tree *t,
                    const xlx_usb_host_devices *devices, xlx_usb_ctrls *list)
{
    xlx_usb_tree *copy = xlx__usb_ctrls_trees_append(list);
    const xlx_usb_host_device *d;
    int i, num, rc;

    if (!copy)
        return ERROR_NOMEM;
    rc = xlx_usb_tree_copy(ctx, copy, t);
    if (rc) return rc;
    num = copy->num_left;
    copy->num_left = 0;
    for (i = 0; i < num; i++) {
        d = xlx__usb_by_path(devices, copy->left[i].path);
        if (d && xlx__usb_is_left(&copy->left[i], d))
            copy->left[copy->num_left++] = copy->left[i];
        else
            xlx_usb_left_dispose(&copy->left[i]);
    }
    return 0;
}

static int by_devid(const void *a, const void *b)
{
    const xlx_usb_ctrl *x = a, *y = b;

    return x->devid < y->devid ? -1 : x->devid > y->devid;
}

int xlx__usb_ctrl_list(xlx_ctx *ctx, const xlx_guest *guest,
                       xlx_usb_ctrls *list)
{
    xlx_usb_host_devices devices;
    xlx_usb_record record;
    char *boot = NULL;
    int i, j, rc;

    xlx_usb_record_init(&record);
    xlx_usb_host_devices_init(&devices);
    rc = xlx_guest_copy(ctx, &list->guest, guest);
    if (rc) goto out;
    rc = xlx__guest_refresh(ctx, &list->guest);
    if (rc) goto out;
    rc = xlx__hostdev_boot(&boot);
    if (rc) goto out;
    rc = xlx__usb_record_read(ctx, &guest->uuid, boot, &record);
    if (rc) goto out;
    rc = xlx__usb_devices(&devices);
    if (rc) goto out;
    if (list->guest.domid != XLX_DOMID_NONE)
        rc = xlx__usb_ctrls(ctx, list->guest.domid, list);
    for (i = 0; !rc && i < record.num_entries; i++)
        rc = add_kept(&record.entries[i], list);
    for (i = 0; !rc && i < list->num_ctrls; i++)
        for (j = 0; !rc && j < list->ctrls[i].num_ports; j++)
            rc = fill_port(ctx, list->guest.domid, &list->ctrls[i], &record,
                           &devices, &list->ctrls[i].ports[j]);
    for (i = 0; !rc && i < record.num_trees; i++)
        rc = add_tree(ctx, &record.trees[i], &devices, list);
    if (rc) goto out;
    if (list->num_ctrls)
        qsort(list->ctrls, (size_t)list->num_ctrls, sizeof(*list->ctrls),
              by_devid);
    rc = xlx__hostdev_watcher(ctx, "usb", &list->guest,
                              list->guest.domid != XLX_DOMID_NONE &&
                              (record.num_entries || record.num_trees),
                              &list->watcher);

 out:
    xlx_usb_host_devices_dispose(&devices);
    xlx_usb_record_dispose(&record);
    free(boot);
    return rc;
}

/* ---- all guests --------------------------------------------------------- */

static bool is_in(const xlx_guests *list, const libxl_uuid *uuid)
{
    int i;

    for (i = 0; i < list->num_guests; i++)
        if (!libxl_uuid_compare(&list->guests[i].uuid, uuid))
            return true;
    return false;
}

/* As it is now: by number, or by UUID whether it runs or not. */
static int append_guest(xlx_ctx *ctx, const char *who, xlx_guests *list)
{
    xlx_guest guest, *more;
    int rc;

    xlx_guest_init(&guest);
    rc = xlx__guest_find(ctx, who, NULL, &guest);
    if (rc == ERROR_DOMAIN_NOTFOUND) {  /* it has just ended */
        xlx__error_clear();
        rc = 0;
        goto out;
    }
    if (rc || is_in(list, &guest.uuid))
        goto out;
    more = xlx__guests_guests_append(list);
    rc = more ? xlx_guest_copy(ctx, more, &guest) : ERROR_NOMEM;

 out:
    xlx_guest_dispose(&guest);
    return rc;
}

static int add_recorded(xlx_ctx *ctx, xlx_guests *list)
{
    char who[LIBXL_UUID_FMTLEN + 1];
    xlx_usb_record record;
    xlx_guests known;
    int i, rc;

    xlx_guests_init(&known);
    rc = xlx__guest_list(ctx, &known);
    for (i = 0; !rc && i < known.num_guests; i++) {
        xlx_usb_record_init(&record);
        rc = xlx__usb_record_load(ctx, &known.guests[i].uuid, &record, NULL);
        snprintf(who, sizeof(who), LIBXL_UUID_FMT,
                 LIBXL_UUID_BYTES(known.guests[i].uuid));
        if (!rc && (record.num_entries || record.num_trees))
            rc = append_guest(ctx, who, list);
        xlx_usb_record_dispose(&record);
    }
    xlx_guests_dispose(&known);
    return rc;
}

static int add_domain(xlx_ctx *ctx, uint32_t domid, xlx_guests *list)
{
    xlx_usb_ctrls ctrls;
    char who[16];
    int rc;

    xlx_usb_ctrls_init(&ctrls);
    snprintf(who, sizeof(who), "%u", domid);
    rc = xlx__usb_ctrls(ctx, domid, &ctrls);
    if (rc) goto out;
    if (ctrls.num_ctrls)
        rc = append_guest(ctx, who, list);

 out:
    xlx_usb_ctrls_dispose(&ctrls);
    return rc;
}

int xlx__usb_guest_list(xlx_ctx *ctx, xlx_guests *list)
{
    uint32_t *domids = NULL;
    int i, num = 0, rc;

    rc = xlx__guest_adopt_running(ctx);
    if (!rc)
        rc = add_recorded(ctx, list);
    if (!rc)
        rc = xlx__usb_domains(ctx, &domids, &num);
    for (i = 0; !rc && i < num; i++)
        rc = add_domain(ctx, domids[i], list);
    free(domids);
    return rc;
}

/* ---- the host's --------------------------------------------------------- */

int xlx__usb_guest_use(xlx_ctx *ctx, const xlx_usb_host_device *d,
                       const xlx_guest *except, char **use_r)
{
    uint32_t domid, ctrl, port;
    char *name = NULL;
    int rc;

    rc = xlx__usb_owner(ctx, d, except ? &except->uuid : NULL, &name);
    if (!rc) {
        *use_r = xlx__printf("guest %s has it", xlx__text(name));
        free(name);
        return *use_r ? 0 : xlx__nomem();
    }
    if (rc != ERROR_NOTFOUND)
        return rc;
    rc = xlx__usb_holder(ctx, d->path, &domid, &ctrl, &port);
    if (rc) return xlx__forgive(rc, ERROR_NOTFOUND);
    if (except && except->domid == domid)
        return 0;
    *use_r = xlx__printf("domain %u has it, from another tool", domid);
    return *use_r ? 0 : xlx__nomem();
}

static int find_user(xlx_ctx *ctx, struct xlx__hostdev_world *world,
                     const xlx_usb_host_device *d, char **use_r)
{
    int rc;

    rc = xlx__usb_guest_use(ctx, d, NULL, use_r);
    if (!rc && !*use_r)
        rc = xlx__usb_tree_use(ctx, d, NULL, use_r);
    if (!rc && !*use_r)
        rc = xlx__usb_disk_use(world, d, use_r);
    if (!rc && !*use_r)
        rc = xlx__usb_host_use(world, d, 0, false, use_r);
    return rc;
}

static int set_used(xlx_ctx *ctx, const xlx_usb_policy *policy,
                    struct xlx__hostdev_world *world, xlx_usb_host_device *d)
{
    char *use = NULL;
    int rc;

    rc = find_user(ctx, world, d, &use);
    if (rc && rc != ERROR_NOMEM) {
        /* this one cannot be looked at: that is what there is to say */
        use = strdup(xlx_error_get());
        rc = use ? 0 : xlx__nomem();
        xlx__error_clear();
    } else if (!rc && !use) {
        rc = xlx__set_string(&use, "");
    }
    if (rc) return rc;
    free(d->used_by);
    d->used_by = use;
    rc = xlx__usb_kept_by(d, &d->kept);
    if (rc) return rc;
    return xlx__usb_judge(policy, d, &d->denied);
}

int xlx__usb_host_list(xlx_ctx *ctx, xlx_usb_host_devices *list)
{
    xlx_usb_policy policy;
    struct xlx__hostdev_world *world = NULL;
    int i, num, rc;

    xlx_usb_policy_init(&policy);
    rc = xlx__hostdev_world_open(ctx, &world);
    if (!rc)
        rc = xlx__usb_policy_get(ctx, &policy);
    if (rc) goto out;
    rc = xlx__usb_devices(list);
    if (rc) goto out;
    num = list->num_devices;
    list->num_devices = 0;
    for (i = 0; i < num; i++) {         /* without root hubs: "usb1" */
        if (strchr(xlx__text(list->devices[i].path), '-'))
            list->devices[list->num_devices++] = list->devices[i];
        else
            xlx_usb_host_device_dispose(&list->devices[i]);
    }
    for (i = 0; !rc && i < list->num_devices; i++)
        rc = set_used(ctx, &policy, world, &list->devices[i]);

 out:
    xlx__hostdev_world_close(world);
    xlx_usb_policy_dispose(&policy);
    return rc;
}

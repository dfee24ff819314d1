/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which controller and port of a guest a device gets: those that were asked
 * for, else the first that fit and are free, else a controller that is yet to
 * be made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/xs.h"
#include "usb/usb.h"

#define MAX_PORT 31                 /* public/io/usbif.h */
#define NO_CTRL UINT32_MAX

/* Has it a QEMU that emulates a machine?  libxl_domain_info() also calls a PVH
 * guest HVM, so that only libxl's own note tells. */
static int is_hvm(xlx_ctx *ctx, uint32_t domid, bool *hvm_r)
{
    char path[64], *type = NULL;
    int rc;

    snprintf(path, sizeof(path), "/libxl/%u/type", domid);
    rc = xlx__xs_read(ctx, XBT_NULL, path, &type);
    if (rc == ERROR_NOTFOUND)
        return xlx__error(ERROR_DOMAIN_NOTFOUND, "domain %u has ended, or was"
                          " not made by libxl", domid);
    if (rc) return rc;
    *hvm_r = !strcmp(type, "hvm");
    free(type);
    return 0;
}

static int auto_type(xlx_ctx *ctx, uint32_t domid, xlx_usb_type *type)
{
    bool hvm = false;
    int rc;

    rc = is_hvm(ctx, domid, &hvm);
    if (rc) return rc;
    if (*type == XLX_USB_TYPE_AUTO)
        *type = hvm ? XLX_USB_TYPE_DEVICEMODEL : XLX_USB_TYPE_QUSB;
    else if (*type == XLX_USB_TYPE_PV)
        return xlx__error(ERROR_INVAL, "type pv: Linux has no driver for it; "
                          "use qusb");
    else if (*type == XLX_USB_TYPE_DEVICEMODEL && !hvm)
        return xlx__error(ERROR_INVAL, "type devicemodel: only for an HVM "
                          "guest; use qusb");
    return 0;
}

static bool has_port(const xlx_usb_ctrl *ctrl, uint32_t port)
{
    int i;

    for (i = 0; i < ctrl->num_ports; i++)
        if (ctrl->ports[i].number == port)
            return true;
    return false;
}

/* QEMU (7.2) ends when two devices have the same port number on two
 * paravirtual controllers: it registers both by that number alone. */
static bool clash(const xlx_usb_ctrl *ctrl, uint32_t devid, xlx_usb_type type)
{
    return ctrl->devid == devid || (ctrl->type == XLX_USB_TYPE_QUSB &&
                                    type == XLX_USB_TYPE_QUSB);
}

/* Neither in xenstore nor in the record. */
static bool port_is_free(const struct xlx__usb_change *c,
                         const xlx_usb_ctrls *list, uint32_t devid,
                         xlx_usb_type type, uint32_t port)
{
    const xlx_usb_entry *e;
    int i;

    for (i = 0; i < list->num_ctrls; i++)
        if (clash(&list->ctrls[i], devid, type) &&
            has_port(&list->ctrls[i], port))
            return false;
    for (i = 0; i < c->record.num_entries; i++) {
        e = &c->record.entries[i];
        if (e->port == port &&
            (e->ctrl == devid || (e->type == XLX_USB_TYPE_QUSB &&
                                  type == XLX_USB_TYPE_QUSB)))
            return false;
    }
    return true;
}

/* Takes the port that was asked for, or the first that is free; 1 when there
 * is none. */
static int take_port(const struct xlx__usb_change *c,
                     const xlx_usb_ctrls *list, const xlx_usb_ctrl *ctrl,
                     uint32_t wanted, xlx_usb_entry *e)
{
    uint32_t port;

    for (port = 1; port <= ctrl->size; port++) {
        if ((wanted && port != wanted) ||
            !port_is_free(c, list, ctrl->devid, ctrl->type, port))
            continue;
        e->ctrl = ctrl->devid;
        e->port = port;
        e->type = ctrl->type;
        e->version = ctrl->version;
        return 0;
    }
    return 1;
}

/* Nobody knows the needs of a device that is not plugged in. */
static int fits(const xlx_usb_binding *b, xlx_usb_type type, uint32_t version,
                const xlx_usb_host_device *d)
{
    return d ? xlx__usb_fits(type, version, b->force, d) : 0;
}

static int take_named(const struct xlx__usb_change *c,
                      const xlx_usb_ctrls *list, const xlx_usb_binding *b,
                      const xlx_usb_host_device *d, xlx_usb_entry *e)
{
    const xlx_usb_ctrl *ctrl = NULL;
    int i, rc;

    for (i = 0; i < list->num_ctrls; i++)
        if (list->ctrls[i].devid == b->ctrl)
            ctrl = &list->ctrls[i];
    if (!ctrl)
        return xlx__error(ERROR_NOTFOUND, "controller %u: the guest has no "
                          "such USB controller", b->ctrl);
    if (b->port > ctrl->size)
        return xlx__error(ERROR_INVAL, "port %u: controller %u has %u ports",
                          b->port, ctrl->devid, ctrl->size);
    rc = fits(b, ctrl->type, ctrl->version, d);
    if (rc) return rc;
    rc = take_port(c, list, ctrl, b->port, e);
    if (!rc)
        return 0;
    if (b->port && has_port(ctrl, b->port))
        return xlx__error(ERROR_DEVICE_EXISTS, "port %u of controller %u is "
                          "taken", b->port, ctrl->devid);
    if (b->port)
        return xlx__error(ERROR_DEVICE_EXISTS, "port %u: another paravirtual "
                          "controller has a device on a port of that number,"
                          " or it is kept for one; QEMU ends with two",
                          b->port);
    return xlx__error(ERROR_DEVICE_EXISTS, "controller %u has no free port",
                      ctrl->devid);
}

/* A number that neither xenstore nor the record has. */
static uint32_t new_devid(const struct xlx__usb_change *c,
                          const xlx_usb_ctrls *list)
{
    uint32_t devid = 0;
    int i;

    for (i = 0; i < list->num_ctrls; i++)
        if (list->ctrls[i].devid >= devid)
            devid = list->ctrls[i].devid + 1;
    for (i = 0; i < c->record.num_entries; i++)
        if (c->record.entries[i].ctrl >= devid)
            devid = c->record.entries[i].ctrl + 1;
    return devid;
}

/* One that fits and has a free port, else one that is yet to be made. */
static int take_any(const struct xlx__usb_change *c,
                    const xlx_usb_ctrls *list, const xlx_usb_binding *b,
                    xlx_usb_type type, const xlx_usb_host_device *d,
                    xlx_usb_entry *e)
{
    uint32_t version = b->version;
    const xlx_usb_ctrl *it;
    xlx_usb_ctrl ctrl;
    int i, rc;

    xlx_usb_ctrl_init(&ctrl);           /* nothing to dispose of */
    for (i = 0; i < list->num_ctrls; i++) {
        it = &list->ctrls[i];
        if (it->type == type && (!version || it->version == version) &&
            !fits(b, type, it->version, d) && !take_port(c, list, it, 0, e))
            return 0;
    }
    xlx__error_clear();
    if (!version)
        version = type == XLX_USB_TYPE_DEVICEMODEL ? 3 : 2;
    if (version > 3 || (version == 3 && type == XLX_USB_TYPE_QUSB))
        return xlx__error(ERROR_INVAL, "version %u: 1 or 2 for qusb, 1 to 3 "
                          "for devicemodel", version);
    rc = fits(b, type, version, d);
    if (rc) return rc;
    ctrl.devid = new_devid(c, list);
    ctrl.type = type;
    ctrl.version = version;
    ctrl.size = xlx__usb_ctrl_size(type, version);
    e->made_ctrl = true;
    if (take_port(c, list, &ctrl, 0, e))
        return xlx__error(ERROR_DEVICE_EXISTS, "the guest's USB controllers "
                          "have no free port");
    return 0;
}

/* Controllers that were made for a device go with the last one on them. */
static void inherit_made(const struct xlx__usb_change *c, xlx_usb_entry *e)
{
    int i;

    for (i = 0; i < c->record.num_entries; i++)
        if (c->record.entries[i].ctrl == e->ctrl &&
            c->record.entries[i].made_ctrl)
            e->made_ctrl = true;
}

/* The controllers that are to be made when a device is plugged in that is
 * waited for. */
static int add_planned(const struct xlx__usb_change *c, xlx_usb_ctrls *list)
{
    const xlx_usb_entry *e;
    int i;

    for (i = 0; i < c->record.num_entries; i++) {
        e = &c->record.entries[i];
        if (e->made_ctrl && !xlx__usb_ctrl_of(list, e))
            return ERROR_NOMEM;
    }
    return 0;
}

int xlx__usb_choose_port(struct xlx__usb_change *c, const xlx_usb_binding *b,
                         const xlx_usb_host_device *d, xlx_usb_entry *e)
{
    xlx_usb_type type = b->type;
    xlx_usb_ctrls list;
    int rc;

    if (b->port && b->ctrl == NO_CTRL)
        return xlx__error(ERROR_INVAL, "port %u: the number of its controller "
                                       "is missing",
                          b->port);
    if (b->port > MAX_PORT)
        return xlx__error(ERROR_INVAL, "port %u: ports are 1 to %d", b->port,
                          MAX_PORT);
    rc = auto_type(c->ctx, c->guest.domid, &type);
    if (rc) return rc;
    xlx_usb_ctrls_init(&list);
    rc = xlx__usb_ctrls(c->ctx, c->guest.domid, &list);
    if (rc) goto out;
    rc = add_planned(c, &list);
    if (rc) goto out;
    rc = b->ctrl != NO_CTRL ? take_named(c, &list, b, d, e)
                            : take_any(c, &list, b, type, d, e);
    if (rc) goto out;
    if (!e->made_ctrl)
        inherit_made(c, e);

 out:
    xlx_usb_ctrls_dispose(&list);
    return rc;
}

int xlx__usb_choose_again(struct xlx__usb_change *c,
                          const xlx_usb_host_device *d, xlx_usb_entry *e)
{
    bool made = e->made_ctrl;
    uint32_t ctrl = e->ctrl;
    xlx_usb_binding b;
    int rc;

    xlx_usb_binding_init(&b);           /* nothing to dispose of */
    b.type = e->type;
    b.version = e->version;
    b.force = e->force;
    e->made_ctrl = false;
    rc = xlx__usb_choose_port(c, &b, d, e);
    if (rc || e->ctrl == ctrl)
        e->made_ctrl = made;
    return rc;
}

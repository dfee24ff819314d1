/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Controllers of guests: making those that a device needs, with the QEMU that
 * serves them, and removing those that were made for one.  libxl does both,
 * with a QEMU that runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libxl_utils.h>

#include "core/store.h"
#include "core/xs.h"
#include "guest/device.h"
#include "usb/usb.h"

#define NAP_MS 50
#define CLOSE_MS 5000               /* for a guest's driver to close */

/* libxl leaves no choice for the emulated ones of version 1 and 2. */
uint32_t xlx__usb_ctrl_size(xlx_usb_type type, uint32_t version)
{
    if (type == XLX_USB_TYPE_DEVICEMODEL && version < 3)
        return version == 1 ? 2 : 6;
    return 15;
}

static int make_ctrl(struct xlx__usb_change *c, const xlx_usb_ctrl *wanted)
{
    libxl_device_usbctrl ctrl;
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl_working(c->ctx, &xl);
    if (rc) return rc;
    libxl_device_usbctrl_init(&ctrl);
    ctrl.type = wanted->type == XLX_USB_TYPE_DEVICEMODEL
                ? LIBXL_USBCTRL_TYPE_DEVICEMODEL : LIBXL_USBCTRL_TYPE_QUSB;
    ctrl.devid = (libxl_devid)wanted->devid;
    ctrl.version = (int)wanted->version;
    ctrl.ports = (int)wanted->size;
    rc = libxl_device_usbctrl_add(xl, c->guest.domid, &ctrl, NULL);
    libxl_device_usbctrl_dispose(&ctrl);
    if (rc)
        return xlx__error(ERROR_FAIL, "libxl cannot add USB controller %u: "
                          "%s", wanted->devid,
                          xlx__ctx_libxl_said(c->ctx, rc));
    return 0;
}

static bool has_ctrl(xlx_ctx *ctx, uint32_t domid, uint32_t ctrl)
{
    char *dir = NULL;
    xlx_usb_type type;
    bool has = !xlx__usb_ctrl_dir(ctx, domid, ctrl, &type, &dir);

    xlx__error_clear();
    free(dir);
    return has;
}

static xlx_xenbus_state frontend_state(struct xlx__usb_change *c,
                                       uint32_t devid)
{
    xlx_xenbus_state state = XLX_XENBUS_STATE_UNKNOWN;
    char path[64];

    snprintf(path, sizeof(path), "/local/domain/%u/device/vusb/%u",
             c->guest.domid, devid);
    if (xlx__device_state(c->ctx, XBT_NULL, path, &state))
        xlx__error_clear();
    return state;
}

/* Does the part of a QEMU that has ended: libxl would wait for it, and the
 * guest's driver must see it. */
static void close_backend(struct xlx__usb_change *c, uint32_t devid)
{
    int64_t deadline = xlx__now_ms() + CLOSE_MS;
    char path[64];

    snprintf(path, sizeof(path), "/local/domain/0/backend/qusb/%u/%u",
             c->guest.domid, devid);
    if (xlx__device_set_state(c->ctx, XBT_NULL, path,
                              XLX_XENBUS_STATE_CLOSED))
        xlx__error_clear();
    while (frontend_state(c, devid) == XLX_XENBUS_STATE_CONNECTED &&
           xlx__now_ms() < deadline)
        usleep(NAP_MS * 1000);
}

static int remove_ctrl(struct xlx__usb_change *c, xlx_usb_type type,
                       uint32_t devid)
{
    libxl_device_usbctrl ctrl;
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl_working(c->ctx, &xl);
    if (rc) return rc;
    if (type == XLX_USB_TYPE_QUSB &&
        !xlx__usb_backend_runs(c->ctx, c->guest.domid))
        close_backend(c, devid);
    libxl_device_usbctrl_init(&ctrl);
    rc = libxl_devid_to_device_usbctrl(xl, c->guest.domid, (int)devid, &ctrl);
    if (!rc)
        rc = libxl_device_usbctrl_remove(xl, c->guest.domid, &ctrl, NULL);
    libxl_device_usbctrl_dispose(&ctrl);
    if (rc)
        return xlx__error(ERROR_FAIL, "libxl cannot remove USB controller %u:"
                          " %s", devid, xlx__ctx_libxl_said(c->ctx, rc));
    return 0;
}

/* ---- the QEMU ----------------------------------------------------------- */

/* Are devices of the record on it?  Then they are to be attached again. */
static bool lose_devices(struct xlx__usb_change *c, uint32_t devid)
{
    xlx_usb_entry *e, *end = c->record.entries + c->record.num_entries;
    bool any = false;

    for (e = c->record.entries; e < end; e++) {
        if (e->ctrl != devid)
            continue;
        any = true;
        if (e->status == XLX_USB_STATUS_ATTACHED)
            e->status = XLX_USB_STATUS_MISSING;
    }
    return any;
}

/* A driver that was connected to a QEMU that has ended goes on with the rings
 * that it shared with that one, and no other can join in: its controller is
 * made again.  Those of other tools are theirs to remove. */
static int renew_ctrls(struct xlx__usb_change *c, xlx_usb_ctrls *list)
{
    const xlx_usb_ctrl *ctrl;
    int i, rc, num = 0;

    for (i = 0; i < list->num_ctrls; i++) {
        ctrl = &list->ctrls[i];
        if (ctrl->type != XLX_USB_TYPE_QUSB ||
            ctrl->frontend_state != XLX_XENBUS_STATE_CONNECTED ||
            !lose_devices(c, ctrl->devid))
            continue;
        rc = remove_ctrl(c, ctrl->type, ctrl->devid);
        if (rc) return rc;
        num++;
    }
    rc = num ? xlx__usb_record_write(c) : 0;
    if (!rc)
        rc = xlx__usb_backend_start(c->ctx, c->guest.domid, c->patience);
    for (i = 0; !rc && i < list->num_ctrls; i++)
        if (!has_ctrl(c->ctx, c->guest.domid, list->ctrls[i].devid))
            rc = make_ctrl(c, &list->ctrls[i]);
    return rc;
}

static int ready_backend(struct xlx__usb_change *c)
{
    xlx_usb_ctrls list;
    int rc;

    if (xlx__usb_backend_runs(c->ctx, c->guest.domid))
        return 0;
    xlx_usb_ctrls_init(&list);
    rc = xlx__usb_ctrls(c->ctx, c->guest.domid, &list);
    if (rc) goto out;
    rc = renew_ctrls(c, &list);

 out:
    xlx_usb_ctrls_dispose(&list);
    return rc;
}

/* The QEMU first: without it libxl adds no controller, and one that was added
 * while the guest was made has waited for it. */
int xlx__usb_ready_ctrl(struct xlx__usb_change *c, const xlx_usb_entry *e)
{
    xlx_usb_ctrl wanted;
    int rc;

    if (e->type == XLX_USB_TYPE_QUSB) {
        rc = ready_backend(c);
        if (rc) return rc;
        xlx__fault("usb-attach.backend");
    }
    if (has_ctrl(c->ctx, c->guest.domid, e->ctrl))
        return 0;
    xlx_usb_ctrl_init(&wanted);         /* nothing to dispose of */
    wanted.devid = e->ctrl;
    wanted.type = e->type;
    wanted.version = e->version;
    wanted.size = xlx__usb_ctrl_size(e->type, e->version);
    rc = make_ctrl(c, &wanted);
    xlx__fault("usb-attach.controller");
    return rc;
}

/* ---- no longer needed --------------------------------------------------- */

/* Is anything but the entry on its controller, or kept for it? */
static int is_shared(struct xlx__usb_change *c, const xlx_usb_entry *e,
                     bool *shared_r, bool *paravirtual_r)
{
    xlx_usb_ctrls list;
    int i, j, rc;

    *shared_r = *paravirtual_r = false;
    for (i = 0; i < c->record.num_entries; i++)
        if (c->record.entries[i].ctrl == e->ctrl &&
            c->record.entries[i].port != e->port &&
            !xlx__usb_is_aside(&c->record.entries[i]))
            *shared_r = true;
    xlx_usb_ctrls_init(&list);
    rc = xlx__usb_ctrls(c->ctx, c->guest.domid, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++) {
        if (list.ctrls[i].devid != e->ctrl) {
            if (list.ctrls[i].type == XLX_USB_TYPE_QUSB)
                *paravirtual_r = true;
            continue;
        }
        for (j = 0; j < list.ctrls[i].num_ports; j++)
            if (list.ctrls[i].ports[j].number != e->port)
                *shared_r = true;
    }
    xlx_usb_ctrls_dispose(&list);
    return rc;
}

int xlx__usb_release(struct xlx__usb_change *c, const xlx_usb_entry *e)
{
    bool shared, paravirtual;
    int rc;

    if (!e->made_ctrl || c->guest.domid == XLX_DOMID_NONE)
        return 0;
    rc = is_shared(c, e, &shared, &paravirtual);
    if (rc || shared)
        return rc;
    if (has_ctrl(c->ctx, c->guest.domid, e->ctrl))
        rc = remove_ctrl(c, e->type, e->ctrl);
    xlx__fault("usb-detach.controller");
    if (rc) return rc;
    if (!paravirtual)
        xlx__usb_backend_stop(c->ctx, c->guest.domid);
    return 0;
}

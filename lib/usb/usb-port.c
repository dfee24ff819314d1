/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Controllers and ports of guests, where libxl keeps them: its own tree
 * /libxl/DOMID/device/vusb/DEVID says which type a controller has; port/N of
 * the backend's directory, for an emulated controller of that tree's own, has
 * the path of the device on the port.  A guest can write none of it.
 *
 * libxl reads all ports of all domains before it attaches anything, and gives
 * up at the first one whose device is not plugged in.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/device.h"
#include "usb/usb.h"

#define MAX_PORTS 31                /* public/io/usbif.h */

xlx_usb_ctrl *xlx__usb_ctrl_of(xlx_usb_ctrls *list, const xlx_usb_entry *e)
{
    xlx_usb_ctrl *ctrl;
    int i;

    for (i = 0; i < list->num_ctrls; i++)
        if (list->ctrls[i].devid == e->ctrl)
            return &list->ctrls[i];
    ctrl = xlx__usb_ctrls_ctrls_append(list);
    if (!ctrl)
        return NULL;
    ctrl->devid = e->ctrl;
    ctrl->type = e->type;
    ctrl->version = e->version;
    ctrl->size = xlx__usb_ctrl_size(e->type, e->version);
    return ctrl;
}

int xlx__usb_domains(xlx_ctx *ctx, uint32_t **domids_r, int *num_r)
{
    return xlx__xs_list_numbers(ctx, "/local/domain", domids_r, num_r);
}

/* ---- one controller ----------------------------------------------------- */

static int read_text(xlx_ctx *ctx, const char *dir, const char *name,
                     char **value_r)
{
    char *path = xlx__printf("%s/%s", dir, name);
    int rc;

    if (!path)
        return xlx__nomem();
    rc = xlx__xs_read(ctx, XBT_NULL, path, value_r);
    free(path);
    return rc;
}

static uint32_t read_number(xlx_ctx *ctx, const char *dir,
                            const char *name, uint32_t max)
{
    char *path = xlx__printf("%s/%s", dir, name);
    uint64_t value;

    if (!path || xlx__xs_read_uint(ctx, XBT_NULL, path, max, &value))
        value = 0;
    xlx__error_clear();
    free(path);
    return (uint32_t)value;
}

static const struct {
    const char *name;
    xlx_usb_type type;
} types[] = {                       /* libxl's names */
    { "qusb", XLX_USB_TYPE_QUSB },
    { "devicemodel", XLX_USB_TYPE_DEVICEMODEL },
    { "pv", XLX_USB_TYPE_PV },
};

int xlx__usb_ctrl_dir(xlx_ctx *ctx, uint32_t domid, uint32_t devid,
                      xlx_usb_type *type_r, char **dir_r)
{
    char *tree, *name = NULL, *dir = NULL;
    size_t i;
    int rc;

    tree = xlx__printf("/libxl/%u/device/vusb/%u", domid, devid);
    if (!tree)
        return xlx__nomem();
    rc = read_text(ctx, tree, "type", &name);
    if (rc) goto out;
    rc = xlx__error(ERROR_NOTFOUND, "%s: a controller of type \"%s\"", tree,
                    name);
    for (i = 0; i < XLX__ARRAY_SIZE(types); i++)
        if (!strcmp(name, types[i].name)) {
            *type_r = types[i].type;
            rc = 0;
        }
    if (rc) goto out;
    xlx__error_clear();
    if (*type_r == XLX_USB_TYPE_DEVICEMODEL) {
        dir = tree;
        tree = NULL;
    } else {
        rc = read_text(ctx, tree, "backend", &dir);
    }
    if (!rc) {
        *dir_r = dir;
        dir = NULL;
    }

 out:
    free(dir);
    free(name);
    free(tree);
    return rc;
}

static int add_port(xlx_ctx *ctx, const char *dir, uint32_t number,
                    xlx_usb_ctrl *ctrl)
{
    char name[32], *path = NULL;
    xlx_usb_port *port;
    int rc;

    snprintf(name, sizeof(name), "port/%u", number);
    rc = read_text(ctx, dir, name, &path);
    if (rc == ERROR_NOTFOUND || (!rc && !*path)) {
        xlx__error_clear();
        free(path);
        return 0;
    }
    if (rc) return rc;
    port = xlx__usb_ctrl_ports_append(ctrl);
    if (!port) {
        free(path);
        return ERROR_NOMEM;
    }
    port->number = number;
    port->status = XLX_USB_STATUS_UNKNOWN;
    port->path = path;
    return 0;
}

/* The text that the guest wrote there, as far as it is a state. */
static xlx_xenbus_state state_of(xlx_ctx *ctx, const char *dir)
{
    xlx_xenbus_state state = XLX_XENBUS_STATE_UNKNOWN;

    if (xlx__device_state(ctx, XBT_NULL, dir, &state))
        xlx__error_clear();
    return state;
}

static int read_ctrl(xlx_ctx *ctx, uint32_t domid, uint32_t devid,
                     xlx_usb_ctrl *ctrl)
{
    char *dir = NULL, *frontend = NULL;
    uint32_t i;
    int rc;

    ctrl->devid = devid;
    rc = xlx__usb_ctrl_dir(ctx, domid, devid, &ctrl->type, &dir);
    if (rc) return rc;
    ctrl->version = read_number(ctx, dir, "usb-ver", 3);
    ctrl->size = read_number(ctx, dir, "num-ports", MAX_PORTS);
    if (ctrl->type != XLX_USB_TYPE_DEVICEMODEL) {
        frontend = xlx__printf("/local/domain/%u/device/vusb/%u", domid,
                               devid);
        if (!frontend) {
            rc = xlx__nomem();
            goto out;
        }
        ctrl->backend_state = state_of(ctx, dir);
        ctrl->frontend_state = state_of(ctx, frontend);
    }
    for (i = 1; !rc && i <= ctrl->size; i++)
        rc = add_port(ctx, dir, i, ctrl);

 out:
    free(frontend);
    free(dir);
    return rc;
}

/* ---- all of them -------------------------------------------------------- */

int xlx__usb_ctrls(xlx_ctx *ctx, uint32_t domid, xlx_usb_ctrls *list)
{
    uint32_t *devids = NULL;
    int i, num = 0, rc;
    char path[64];

    snprintf(path, sizeof(path), "/libxl/%u/device/vusb", domid);
    rc = xlx__xs_list_numbers(ctx, path, &devids, &num);
    if (rc) return rc;
    list->ctrls = calloc((size_t)num + 1, sizeof(*list->ctrls));
    if (!list->ctrls)
        rc = xlx__nomem();
    for (i = 0; !rc && i < num; i++) {
        xlx_usb_ctrl_init(&list->ctrls[list->num_ctrls]);
        rc = read_ctrl(ctx, domid, devids[i],
                       &list->ctrls[list->num_ctrls++]);
        if (rc == ERROR_NOTFOUND) {     /* just being removed */
            xlx__error_clear();
            xlx_usb_ctrl_dispose(&list->ctrls[--list->num_ctrls]);
            rc = 0;
        }
    }
    free(devids);
    return rc;
}

static bool find_path(const xlx_usb_ctrls *list, const char *path,
                      uint32_t *ctrl_r, uint32_t *port_r)
{
    int i, j;

    for (i = 0; i < list->num_ctrls; i++)
        for (j = 0; j < list->ctrls[i].num_ports; j++)
            if (!strcmp(list->ctrls[i].ports[j].path, path)) {
                *ctrl_r = list->ctrls[i].devid;
                *port_r = list->ctrls[i].ports[j].number;
                return true;
            }
    return false;
}

int xlx__usb_holder(xlx_ctx *ctx, const char *path, uint32_t *domid_r,
                    uint32_t *ctrl_r, uint32_t *port_r)
{
    uint32_t *domids = NULL;
    bool found = false;
    xlx_usb_ctrls list;
    int i, num = 0, rc;

    rc = xlx__usb_domains(ctx, &domids, &num);
    for (i = 0; !rc && !found && i < num; i++) {
        xlx_usb_ctrls_init(&list);
        rc = xlx__usb_ctrls(ctx, domids[i], &list);
        if (!rc && find_path(&list, path, ctrl_r, port_r)) {
            *domid_r = domids[i];
            found = true;
        }
        xlx_usb_ctrls_dispose(&list);
    }
    free(domids);
    return rc ? rc : found ? 0 : ERROR_NOTFOUND;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Putting devices on ports and taking them off.  libxl does both; here is what
 * it leaves out: a QEMU for a guest that has none, dead ports of any guest, at
 * which it would give up, and waiting until the device works.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/usbdevice_fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <libxl_utils.h>

#include "core/kernfs.h"
#include "core/store.h"
#include "core/xs.h"
#include "guest/device.h"
#include "usb/usb.h"

#define NAP_MS 100
#define WAITED_MS 300               /* long enough for somebody else */

/* ---- ports -------------------------------------------------------------- */

static char *port_node(const char *dir, uint32_t port)
{
    return xlx__printf("%s/port/%u", dir, port);
}

int xlx__usb_on_port(xlx_ctx *ctx, uint32_t domid, const xlx_usb_entry *e,
                     char **path_r)
{
    char *dir = NULL, *node = NULL, *path = NULL;
    xlx_usb_type type;
    int rc;

    rc = xlx__usb_ctrl_dir(ctx, domid, e->ctrl, &type, &dir);
    if (!rc) {
        node = port_node(dir, e->port);
        rc = node ? xlx__xs_read(ctx, XBT_NULL, node, &path)
                  : xlx__nomem();
    }
    if (rc == ERROR_NOTFOUND) {
        xlx__error_clear();
        rc = xlx__set_string(&path, "");
    }
    free(node);
    free(dir);
    if (rc) return rc;
    *path_r = path;
    return 0;
}

/* For libxl to take off: of a paravirtual port only where it is counts. */
static int remove_usbdev(xlx_ctx *ctx, uint32_t domid, const xlx_usb_entry *e)
{
    libxl_device_usbdev dev;
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl_working(ctx, &xl);
    if (rc) return rc;
    libxl_device_usbdev_init(&dev);
    dev.ctrl = (libxl_devid)e->ctrl;
    dev.port = (int)e->port;
    libxl_device_usbdev_init_type(&dev, LIBXL_USBDEV_TYPE_HOSTDEV);
    dev.u.hostdev.hostbus = (uint8_t)e->bus;
    dev.u.hostdev.hostaddr = (uint8_t)e->address;
    rc = libxl_device_usbdev_remove(xl, domid, &dev, NULL);
    libxl_device_usbdev_dispose(&dev);
    if (rc)
        return xlx__error(ERROR_FAIL, "%s: libxl cannot take it off port "
                          "%u/%u: %s", xlx__text(e->path), e->ctrl, e->port,
                          xlx__ctx_libxl_said(ctx, rc));
    return 0;
}

/* Only the node: what libxl's calls want to know of the device is not known
 * here. */
int xlx__usb_clear_port(xlx_ctx *ctx, uint32_t domid, uint32_t ctrl,
                        uint32_t port)
{
    char *dir = NULL, *node;
    xlx_usb_type type;
    int rc;

    rc = xlx__usb_ctrl_dir(ctx, domid, ctrl, &type, &dir);
    if (rc) return rc;
    node = port_node(dir, port);
    rc = node ? xlx__xs_write(ctx, XBT_NULL, node, "")
              : xlx__nomem();
    free(node);
    free(dir);
    return rc;
}

static int clear_dead_of(xlx_ctx *ctx, uint32_t domid,
                         const xlx_usb_host_devices *devices)
{
    xlx_usb_ctrls list;
    int i, j, rc;

    xlx_usb_ctrls_init(&list);
    rc = xlx__usb_ctrls(ctx, domid, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++)
        for (j = 0; !rc && j < list.ctrls[i].num_ports; j++) {
            const xlx_usb_port *port = &list.ctrls[i].ports[j];

            if (!xlx__usb_by_path(devices, port->path))
                rc = xlx__usb_clear_port(ctx, domid, list.ctrls[i].devid,
                                         port->number);
        }
    xlx_usb_ctrls_dispose(&list);
    return rc;
}

int xlx__usb_clear_dead(xlx_ctx *ctx, const xlx_usb_host_devices *devices)
{
    uint32_t *domids = NULL;
    int i, num = 0, rc;

    rc = xlx__usb_domains(ctx, &domids, &num);
    for (i = 0; !rc && i < num; i++)
        rc = clear_dead_of(ctx, domids[i], devices);
    free(domids);
    return rc;
}

/* ---- what fits ---------------------------------------------------------- */

/* QEMU offers a SuperSpeed device to a slower controller as one of high speed,
 * unless it has isochronous endpoints. */
int xlx__usb_fits(xlx_usb_type type, uint32_t version, bool force,
                  const xlx_usb_host_device *d)
{
    bool emulated = type == XLX_USB_TYPE_DEVICEMODEL;
    bool fast = d->speed >= XLX_USB_SPEED_HIGH;
    const char *what = NULL;

    if (fast && version < 2)
        what = "it is a high speed device, which a controller of version 1"
               " does not serve";
    else if (!fast && emulated && version == 2)
        what = "an emulated controller of version 2 serves high speed devices"
               " alone, and this one is slower: use version 1 or 3";
    else if (d->isochronous && d->speed == XLX_USB_SPEED_SUPER && version < 3)
        what = "it is connected as a SuperSpeed device and has isochronous"
               " endpoints (sound, pictures), which needs an emulated"
               " controller of version 3";
    else if (d->isochronous && !emulated && !force)
        what = "it has isochronous endpoints (sound, pictures), which QEMU"
               " does not serve on a paravirtual controller; --force attaches"
               " it without them";
    if (what)
        return xlx__error(ERROR_INVAL, "%s: %s", xlx__text(d->path), what);
    return 0;
}

/* ---- does it work? ------------------------------------------------------ */

struct look {
    bool present, held, taken, connected;
};

/* A socket may have got another device; that has another address. */
static bool is_it(const xlx_usb_entry *e, const xlx_usb_host_device *d)
{
    return d->bus == e->bus && d->address == e->address &&
           d->vendor == e->vendor && d->product == e->product;
}

/* taken: the guest's driver has configured it, for which QEMU claims the
 * interfaces. */
static int look(struct xlx__usb_change *c, const xlx_usb_entry *e,
                struct look *l)
{
    const xlx_usb_host_device *d;
    struct xlx__device dev;
    xlx_usb_host_devices list;
    xlx_xenbus_state state = XLX_XENBUS_STATE_UNKNOWN;
    int i, rc;

    memset(l, 0, sizeof(*l));
    xlx_usb_host_devices_init(&list);
    rc = xlx__usb_devices(&list);
    if (rc) goto out;
    d = xlx__usb_by_path(&list, e->path);
    if (d && !is_it(e, d))              /* another was plugged in there */
        d = NULL;
    l->present = d;
    l->held = d && xlx__usb_held(c->ctx, c->guest.domid, d);
    for (i = 0; d && i < d->num_interfaces; i++)
        if (!strcmp(xlx__text(d->interfaces[i].driver), "usbfs"))
            l->taken = true;
    l->connected = true;
    if (e->type == XLX_USB_TYPE_DEVICEMODEL)
        goto out;
    rc = xlx__device_init(&dev, "qusb", "vusb", 0, c->guest.domid, e->ctrl);
    if (!rc && xlx__device_state(c->ctx, XBT_NULL, dev.frontend, &state))
        xlx__error_clear();
    xlx__device_dispose(&dev);
    l->connected = state == XLX_XENBUS_STATE_CONNECTED;

 out:
    xlx_usb_host_devices_dispose(&list);
    return rc;
}

static int not_working(const xlx_usb_entry *e, const struct look *l,
                       bool listed)
{
    const char *path = xlx__text(e->path);

    if (!l->present)
        return xlx__error(ERROR_NOTFOUND, "%s: it was pulled out", path);
    if (!l->held)
        return xlx__error(ERROR_TIMEDOUT, "%s: the guest's QEMU does not open"
                          " it", path);
    if (!listed)
        return xlx__error(ERROR_FAIL, "%s: the guest's QEMU does not list it "
                          "on port %u/%u", path, e->ctrl, e->port);
    if (!l->connected)                  /* not a matter of time */
        return xlx__error(ERROR_NOT_READY, "%s: the guest's driver for the "
                          "controller, xen-hcd, is not there or hangs: its"
                          " kernel log tells", path);
    return xlx__error(ERROR_TIMEDOUT, "%s: the guest does not use it: its "
                      "kernel log tells why", path);
}

static int wait_working(struct xlx__usb_change *c, const xlx_usb_entry *e,
                        bool no_wait, int64_t deadline)
{
    bool listed = false;
    struct look l;
    int rc;

    for (;;) {
        rc = look(c, e, &l);
        if (!rc && l.held && !listed)
            rc = xlx__usb_listed(c->ctx, &c->guest, e, &listed);
        rc = xlx__usb_backend_check(c->ctx, &c->guest, rc);
        if (rc) return rc;
        if (listed && (no_wait || (l.connected && l.taken)))
            return 0;
        if (!l.present || xlx__now_ms() >= deadline)
            return not_working(e, &l, listed);
        usleep(NAP_MS * 1000);
    }
}

/* ---- both --------------------------------------------------------------- */

static int reset_device(const xlx_usb_host_device *d)
{
    char *node = xlx__usb_node(d);
    int fd = -1, rc = 0;

    if (!node)
        return xlx__nomem();
    fd = open(node, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, USBDEVFS_RESET, NULL))
        rc = xlx__error(xlx__errno_rc(errno), "%s: it cannot be reset: %m",
                        d->path);
    if (fd >= 0)
        close(fd);
    free(node);
    return rc;
}

static int add_usbdev(struct xlx__usb_change *c, const xlx_usb_entry *e,
                      const xlx_usb_host_device *d)
{
    libxl_device_usbdev dev;
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl_working(c->ctx, &xl);
    if (rc) return rc;
    libxl_device_usbdev_init(&dev);
    dev.ctrl = (libxl_devid)e->ctrl;
    dev.port = (int)e->port;
    libxl_device_usbdev_init_type(&dev, LIBXL_USBDEV_TYPE_HOSTDEV);
    dev.u.hostdev.hostbus = (uint8_t)d->bus;
    dev.u.hostdev.hostaddr = (uint8_t)d->address;
    rc = libxl_device_usbdev_add(xl, c->guest.domid, &dev, NULL);
    libxl_device_usbdev_dispose(&dev);
    if (rc)
        return xlx__error(ERROR_FAIL, "%s: libxl cannot attach it: %s",
                          d->path, xlx__ctx_libxl_said(c->ctx, rc));
    return 0;
}

static int clear_dead_now(xlx_ctx *ctx)
{
    xlx_usb_host_devices now;
    int rc;

    xlx_usb_host_devices_init(&now);
    rc = xlx__usb_devices(&now);
    if (rc) goto out;
    rc = xlx__usb_clear_dead(ctx, &now);

 out:
    xlx_usb_host_devices_dispose(&now);
    return rc;
}

/* A QEMU that ends while it is asked (libusb's errors end it with an
 * assertion) holds nothing any more; the watcher starts another. */
static int ended_or(struct xlx__usb_change *c, int rc)
{
    struct xlx__error_text why;

    xlx__error_save(&why);
    usleep(NAP_MS * 1000);              /* its socket closes before it ends */
    if (xlx__usb_backend_runs(c->ctx, c->guest.domid)) {
        xlx__error_restore(&why);
        return rc;
    }
    xlx__error_clear();
    return 0;
}

/* Until QEMU has closed it, and has nothing on the port that a new path would
 * be ignored for. */
static int wait_gone(struct xlx__usb_change *c, const xlx_usb_entry *e,
                     int64_t deadline)
{
    bool listed = false;
    struct look l;
    int rc;

    while (xlx__usb_backend_runs(c->ctx, c->guest.domid)) {
        rc = look(c, e, &l);
        if (rc) return rc;
        if (!l.held) {
            rc = xlx__usb_listed(c->ctx, &c->guest, e, &listed);
            if (rc && rc != ERROR_NOT_READY)
                return ended_or(c, rc);
            if (!rc && !listed)
                return 0;
        }
        if (xlx__now_ms() >= deadline)
            return xlx__error(ERROR_TIMEDOUT, "%s: the guest's QEMU does not "
                              "let go of it", xlx__text(e->path));
        usleep(NAP_MS * 1000);
    }
    return 0;
}

/* QEMU gives the interfaces back to the host's drivers, if it was not
 * killed. */
void xlx__usb_give_back(const char *path)
{
    const xlx_usb_host_device *d;
    xlx_usb_host_devices list;
    bool kept = false;
    int i;

    xlx_usb_host_devices_init(&list);
    d = xlx__usb_devices(&list) ? NULL : xlx__usb_by_path(&list, path);
    if (d && xlx__usb_keep_again(d, &kept))
        kept = true;                /* rather than to a driver */
    for (i = 0; d && !kept && i < d->num_interfaces; i++)
        if (!*xlx__text(d->interfaces[i].driver))
            xlx__attr_write(d->interfaces[i].name, "%s/bus/usb/drivers_probe",
                            xlx__sysfs_dir());
    xlx__error_clear();
    xlx_usb_host_devices_dispose(&list);
}

/* The port does not have it any more: it was pulled out, and the attachment of
 * another device emptied all dead ports.  QEMU follows a paravirtual port by
 * itself, and an emulated one not. */
static int remove_from_qemu(struct xlx__usb_change *c, const xlx_usb_entry *e)
{
    bool listed = false;
    int rc;

    if (e->type != XLX_USB_TYPE_DEVICEMODEL ||
        !xlx__usb_backend_runs(c->ctx, c->guest.domid))
        return 0;
    rc = xlx__usb_listed(c->ctx, &c->guest, e, &listed);
    if (!rc && listed)
        rc = xlx__usb_unplug(c->ctx, &c->guest, e);
    return rc ? ended_or(c, rc) : 0;
}

int xlx__usb_disconnect(struct xlx__usb_change *c, const xlx_usb_entry *e,
                        int64_t deadline)
{
    char *path = NULL;
    int rc;

    if (c->guest.domid == XLX_DOMID_NONE)
        return 0;
    rc = xlx__usb_on_port(c->ctx, c->guest.domid, e, &path);
    if (rc) return rc;
    if (*path && !strcmp(path, xlx__text(e->path)))
        rc = remove_usbdev(c->ctx, c->guest.domid, e);
    else
        rc = remove_from_qemu(c, e);
    free(path);
    if (rc) return rc;
    xlx__fault("usb-detach.port");
    rc = wait_gone(c, e, deadline);
    if (rc) return rc;
    xlx__usb_give_back(xlx__text(e->path));
    return 0;
}

/* Until QEMU was ready, and knew it, somebody may have put another device
 * there, or begun to use this one. */
static int check_again(struct xlx__usb_change *c, const xlx_usb_entry *e,
                       bool waited)
{
    const xlx_usb_host_device *d;
    xlx_usb_host_devices now;
    int rc;

    xlx_usb_host_devices_init(&now);
    rc = xlx__usb_devices(&now);
    if (rc) goto out;
    d = xlx__usb_by_path(&now, e->path);
    if (!d || !is_it(e, d))
        rc = xlx__error(ERROR_NOTFOUND, d ? "%s: another device was plugged "
                        "in there" : "%s: it was pulled out",
                        xlx__text(e->path));
    else if (waited)
        rc = xlx__usb_check_free(c->ctx, &c->guest, d, e->force);

 out:
    xlx_usb_host_devices_dispose(&now);
    return rc;
}

int xlx__usb_connect(struct xlx__usb_change *c, const xlx_usb_entry *e,
                     const xlx_usb_host_device *d, bool no_wait,
                     int64_t deadline)
{
    int64_t begin = xlx__now_ms();
    bool kept;
    int rc;

    rc = xlx__usb_ready_ctrl(c, e);
    if (!rc)
        rc = clear_dead_now(c->ctx);
    if (!rc)
        rc = xlx__usb_lend(d, &kept);
    if (!rc && e->reset)
        rc = reset_device(d);
    if (!rc)
        rc = xlx__usb_wait_known(c->ctx, &c->guest, d, deadline);
    if (!rc)
        rc = check_again(c, e, xlx__now_ms() - begin > WAITED_MS);
    if (!rc)
        rc = add_usbdev(c, e, d);
    if (rc) return rc;
    xlx__fault("usb-attach.port");
    rc = wait_working(c, e, no_wait, deadline);
    xlx__fault("usb-attach.works");
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The world of usb-tree.c; see usb-tree-world.h.
 */
#include <ftw.h>

#include "core/report.h"
#include "core/xs.h"
#include "guest/guest.h"
#include "hostdev/hostdev-use.h"
#include "usb-tree-world.h"

xlx_ctx *ctx;
xlx_guest guests[2];
const char *used_by_host, *stubborn;
bool being_made;

struct xlx__hostdev_patience patience;
char said[2000];
bool watched;

static uint32_t next_domid;
static int next_address;

/* ---- the host ----------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void plug(const char *path, const char *id, bool is_hub)
{
    char *at = xlx__printf("devices/x/%s", path), text[16];
    int bus = atoi(path);

    snprintf(text, sizeof(text), "%d\n", bus);
    put(at, "busnum", text);
    snprintf(text, sizeof(text), "%d\n", ++next_address);
    put(at, "devnum", text);
    snprintf(text, sizeof(text), "%.4s\n", id);
    put(at, "idVendor", text);
    put(at, "idProduct", id + 5);
    put(at, "bDeviceClass", is_hub ? "09\n" : "00\n");
    put(at, "speed", bus == 2 ? "5000\n" : bus > 3 ? "12\n" : "480\n");
    put_listed("devices/x", path);
    free(at);
}

void pull(const char *path)
{
    char *at = xlx__printf("%s/devices/x/%s", root, path);

    assert_int_equal(nftw(at, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(at);
    at = xlx__printf("%s/bus/usb/devices/%s", root, path);
    assert_int_equal(unlink(at), 0);
    free(at);
}

void plug_hub(void)
{
    plug("1-2", "05e3:0610", true);
    plug("2-1", "05e3:0612", true);
    put_peers("1-2.3", "2-1.3");
    put_peers("1-2.4", "2-1.4");
}

/* ---- guests ------------------------------------------------------------- */

static void set(const char *value, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void set(const char *value, const char *fmt, ...)
{
    char path[200];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    assert_ok(xlx__xs_write(ctx, XBT_NULL, path, value));
}

void end_guest(int g)
{
    char path[100];

    snprintf(path, sizeof(path), "/libxl/%u", guests[g].domid);
    assert_ok(xlx__xs_remove(ctx, XBT_NULL, path));
    snprintf(path, sizeof(path), "/local/domain/%u", guests[g].domid);
    assert_ok(xlx__xs_remove(ctx, XBT_NULL, path));
    guests[g].domid = XLX_DOMID_NONE;
}

void restart(int g)
{
    char vm[60];

    if (guests[g].domid != XLX_DOMID_NONE)
        end_guest(g);
    guests[g].domid = ++next_domid;
    snprintf(vm, sizeof(vm), "/vm/" LIBXL_UUID_FMT,
             LIBXL_UUID_BYTES(guests[g].uuid));
    set(vm, "/local/domain/%u/vm", next_domid);
    set("", "/local/domain/%u/domid", next_domid);
    set("hvm", "/libxl/%u/type", next_domid);
}

void make_ctrl(uint32_t domid, uint32_t devid, int ports)
{
    char path[60], text[80], *type = NULL;

    snprintf(path, sizeof(path), "/libxl/%u/device/vusb/%u", domid, devid);
    snprintf(text, sizeof(text), "%s/type", path);
    if (!xlx__xs_read(ctx, XBT_NULL, text, &type)) {
        free(type);
        return;
    }
    xlx__error_clear();
    set("devicemodel", "%s/type", path);
    set("3", "%s/usb-ver", path);
    snprintf(text, sizeof(text), "%d", ports);
    set(text, "%s/num-ports", path);
}

static void make_guest(int g, const char *name, const char *uuid)
{
    xlx_guest_init(&guests[g]);
    assert_ok(xlx__set_string(&guests[g].name, name));
    assert_int_equal(libxl_uuid_from_string(&guests[g].uuid, uuid), 0);
    restart(g);
}

const char *has(int g)
{
    static char text[400];
    xlx_usb_ctrls list;
    int i, j, len = 0;

    xlx_usb_ctrls_init(&list);
    assert_ok(xlx__usb_ctrls(ctx, guests[g].domid, &list));
    text[0] = '\0';
    for (i = 0; i < list.num_ctrls; i++)
        for (j = 0; j < list.ctrls[i].num_ports; j++)
            len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%s",
                            len ? " " : "", list.ctrls[i].ports[j].path);
    xlx_usb_ctrls_dispose(&list);
    return text;
}

int make_world(void **state)
{
    char *policy;

    begin_sysfs(state);
    next_domid = 4;
    next_address = 1;
    used_by_host = stubborn = NULL;
    being_made = watched = false;
    policy = xlx__printf("%s/policy", root);
    put(".", "policy", "deny 0781:5583\n");
    setenv("LIBXLX_USB_POLICY", policy, 1);
    setenv("LIBXLX_BOOT_ID", "boot-1", 1);
    free(policy);
    put_xhci(1, 2);
    put_ehci();
    ctx = unit_ctx(root);
    peer_xenstored("/local/domain/0/name=Domain-0", NULL);
    make_guest(0, "web", "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10");
    make_guest(1, "db", "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a11");
    return 0;
}

int end_world(void **state)
{
    xlx_guest_dispose(&guests[0]);
    xlx_guest_dispose(&guests[1]);
    xlx_ctx_free(ctx);
    unsetenv("LIBXLX_USB_POLICY");
    unsetenv("LIBXLX_BOOT_ID");
    peer_xenstored_stop(state);
    return remove_sysfs(state);
}

/* ---- libxl, QEMU, the hypervisor ---------------------------------------- */

int __wrap_xlx__guest_refresh(xlx_ctx *c, xlx_guest *guest);
bool __wrap_xlx__domain_is_made(xlx_ctx *c, uint32_t domid);
bool __wrap_xlx__domain_is_ending(xlx_ctx *c, uint32_t domid);
int __wrap_xlx__hostdev_world_open(xlx_ctx *c,
                                   struct xlx__hostdev_world **world_r);
void __wrap_xlx__hostdev_world_close(struct xlx__hostdev_world *world);
int __wrap_xlx__usb_check_host(xlx_ctx *c, struct xlx__hostdev_world *world,
                               const xlx_guest *guest,
                               const xlx_usb_host_device *d);
int __wrap_xlx__usb_disk_use(struct xlx__hostdev_world *world,
                             const xlx_usb_host_device *d, char **use_r);
bool __wrap_xlx__usb_held(xlx_ctx *c, uint32_t domid,
                          const xlx_usb_host_device *d);
int __wrap_xlx__usb_connect(struct xlx__usb_change *c, const xlx_usb_entry *e,
                            const xlx_usb_host_device *d, bool no_wait,
                            int64_t deadline);
int __wrap_xlx__usb_disconnect(struct xlx__usb_change *c,
                               const xlx_usb_entry *e, int64_t deadline);
int __wrap_xlx__usb_release(struct xlx__usb_change *c,
                            const xlx_usb_entry *e);

int __wrap_xlx__guest_refresh(xlx_ctx *c, xlx_guest *guest)
{
    int g = libxl_uuid_compare(&guest->uuid, &guests[0].uuid) ? 1 : 0;
    (void)c;

    guest->domid = guests[g].domid;
    return 0;
}

bool __wrap_xlx__domain_is_made(xlx_ctx *c, uint32_t domid)
{
    (void)c;
    (void)domid;
    return !being_made;
}

bool __wrap_xlx__domain_is_ending(xlx_ctx *c, uint32_t domid)
{
    (void)c;
    (void)domid;
    return false;
}

int __wrap_xlx__hostdev_world_open(xlx_ctx *c,
                                   struct xlx__hostdev_world **world_r)
{
    (void)c;
    *world_r = NULL;
    return 0;
}

void __wrap_xlx__hostdev_world_close(struct xlx__hostdev_world *world)
{
    (void)world;
}

int __wrap_xlx__usb_check_host(xlx_ctx *c, struct xlx__hostdev_world *world,
                               const xlx_guest *guest,
                               const xlx_usb_host_device *d)
{
    (void)c;
    (void)world;
    (void)guest;
    if (used_by_host && !strcmp(used_by_host, d->path))
        return xlx__error(ERROR_DEVICE_EXISTS, "%s: this host uses it: sdb1 "
                          "is mounted on /mnt", d->path);
    return 0;
}

int __wrap_xlx__usb_disk_use(struct xlx__hostdev_world *world,
                             const xlx_usb_host_device *d, char **use_r)
{
    (void)world;
    (void)d;
    (void)use_r;
    return 0;
}

bool __wrap_xlx__usb_held(xlx_ctx *c, uint32_t domid,
                          const xlx_usb_host_device *d)
{
    (void)c;
    (void)domid;
    (void)d;
    return true;
}

int __wrap_xlx__usb_connect(struct xlx__usb_change *c, const xlx_usb_entry *e,
                            const xlx_usb_host_device *d, bool no_wait,
                            int64_t deadline)
{
    char ctrl[60];
    (void)no_wait;
    (void)deadline;

    if (stubborn && !strcmp(stubborn, d->path))
        return xlx__error(ERROR_TIMEDOUT, "%s: the guest's QEMU does not open"
                          " it", d->path);
    snprintf(ctrl, sizeof(ctrl), "/libxl/%u/device/vusb/%u", c->guest.domid,
             e->ctrl);
    set(d->path, "%s/port/%u", ctrl, e->port);
    make_ctrl(c->guest.domid, e->ctrl, 15);
    return 0;
}

int __wrap_xlx__usb_disconnect(struct xlx__usb_change *c,
                               const xlx_usb_entry *e, int64_t deadline)
{
    char *on_port = NULL;
    (void)deadline;

    if (c->guest.domid == XLX_DOMID_NONE)
        return 0;
    assert_ok(xlx__usb_on_port(ctx, c->guest.domid, e, &on_port));
    if (*on_port && !strcmp(on_port, e->path))
        set("", "/libxl/%u/device/vusb/%u/port/%u", c->guest.domid, e->ctrl,
            e->port);
    free(on_port);
    return 0;
}

int __wrap_xlx__usb_release(struct xlx__usb_change *c,
                            const xlx_usb_entry *e)
{
    (void)c;
    (void)e;
    return 0;
}

/* ---- what a test does --------------------------------------------------- */

int attach_with(int g, const char *selector, bool force, uint32_t ctrl)
{
    xlx_usb_tree_devices found;
    xlx_usb_binding b;
    int rc;

    xlx_usb_binding_init(&b);
    xlx_usb_tree_devices_init(&found);
    assert_ok(xlx__set_string(&b.selector, selector));
    b.force = force;
    b.ctrl = ctrl;
    rc = xlx_usb_tree_attach(ctx, &guests[g], &b, NULL, &found);
    xlx_usb_tree_devices_dispose(&found);
    xlx_usb_binding_dispose(&b);
    return rc;
}

int attach(int g, const char *selector)
{
    return attach_with(g, selector, false, UINT32_MAX);
}

static int attach_by(int g, const char *selector, bool force, bool optional)
{
    xlx_usb_binding b;
    xlx_usb_entry e;
    int rc;

    xlx_usb_binding_init(&b);
    xlx_usb_entry_init(&e);
    assert_ok(xlx__set_string(&b.selector, selector));
    b.force = force;
    b.optional = optional;
    rc = xlx_usb_attach(ctx, &guests[g], &b, NULL, &e);
    xlx_usb_entry_dispose(&e);
    xlx_usb_binding_dispose(&b);
    return rc;
}

int attach_one(int g, const char *selector, bool force)
{
    return attach_by(g, selector, force, false);
}

int wait_for(int g, const char *selector)
{
    return attach_by(g, selector, false, true);
}

int detach(int g, const char *which)
{
    xlx_usb_tree_devices found;
    int rc;

    xlx_usb_tree_devices_init(&found);
    rc = xlx_usb_tree_detach(ctx, &guests[g], which, NULL, &found);
    xlx_usb_tree_devices_dispose(&found);
    return rc;
}

int detach_one(int g, const char *which)
{
    xlx_usb_entry e;
    int rc;

    xlx_usb_entry_init(&e);
    rc = xlx_usb_detach(ctx, &guests[g], which, NULL, &e);
    xlx_usb_entry_dispose(&e);
    return rc;
}

void note_said(const xlx_repair_report *report)
{
    int i, len = 0;

    said[0] = '\0';
    for (i = 0; i < report->num_findings; i++)
        len += snprintf(said + len, sizeof(said) - (size_t)len, "%s; %s\n",
                        report->findings[i].what, report->findings[i].done);
}

int __wrap_xlx__hostdev_watch(xlx_ctx *c, const xlx_guest *guest,
                              const struct xlx__hostdev_watch *how);

/* One look of the watcher. */
int __wrap_xlx__hostdev_watch(xlx_ctx *c, const xlx_guest *guest,
                              const struct xlx__hostdev_watch *how)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    xlx_repair_report report;
    struct xlx__hostdev_look l = {
        .guest = guest, .gone = guest->domid == XLX_DOMID_NONE,
        .lock = &lock, .patience = &patience, .report = &report,
    };
    int rc;

    xlx_repair_report_init(&report);
    xlx__hostdev_patience_begin(&patience, xlx__now_ms() + 60000);
    rc = how->look(c, &l, &watched);
    xlx__hostdev_patience_end(&patience);
    note_said(&report);
    xlx_repair_report_dispose(&report);
    return rc;
}

void look(int g)
{
    assert_ok(xlx_usb_watch(ctx, &guests[g]));
}

void repair(int g)
{
    xlx_repair_report report;

    xlx_repair_report_init(&report);
    assert_ok(xlx_usb_repair(ctx, &guests[g], false, &report));
    note_said(&report);
    xlx_repair_report_dispose(&report);
}

/* The reason why the guest does not get that device; "" when it is not left
 * out.  Good until the next call. */
const char *left(int g, const char *path)
{
    static char why[300];
    xlx_usb_ctrls list;
    int i, j;

    why[0] = '\0';
    xlx_usb_ctrls_init(&list);
    assert_ok(xlx_usb_ctrl_list(ctx, &guests[g], &list));
    for (i = 0; i < list.num_trees; i++)
        for (j = 0; j < list.trees[i].num_left; j++)
            if (!strcmp(list.trees[i].left[j].path, path))
                snprintf(why, sizeof(why), "%s", list.trees[i].left[j].why);
    xlx_usb_ctrls_dispose(&list);
    return why;
}

int count_trees(int g)
{
    xlx_usb_ctrls list;
    int num;

    xlx_usb_ctrls_init(&list);
    assert_ok(xlx_usb_ctrl_list(ctx, &guests[g], &list));
    num = list.num_trees;
    xlx_usb_ctrls_dispose(&list);
    return num;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sockets of a host like those that there are: an xHCI controller whose root
 * hubs number their ports differently, a USB 3 hub, an EHCI controller with
 * companions, a connector that two controllers share, and a host boot that
 * numbers the buses in another order.  And device nodes.
 */
#include <sys/stat.h>

#include "usb-sysfs.h"
#include "usb/usb.h"

#define MIXED "devices/pci0000:00/0000:00:1e"
#define TYPE_C "devices/pci0000:00/0000:00:0d.0"
#define BRIDGED "devices/pci0000:00/0000:00:1c.0/0000:02:00.0"
#define BOARD "devices/platform/board-hcd.0"

/* ---- a sysfs ------------------------------------------------------------ */

/* By another maker: companions with different numbers of ports. */
static void put_mixed(void)
{
    put_root(MIXED ".0", 12, " 1.10\n", "3\n");
    put_root(MIXED ".1", 13, " 1.10\n", "2\n");
    put_root(MIXED ".2", 14, " 2.00\n", "5\n");
}

/* Its connector is the high speed port 4 of the controller in the chipset. */
static void put_type_c(void)
{
    put_root(TYPE_C, 7, " 2.00\n", "1\n");
    put_root(TYPE_C, 8, " 3.10\n", "3\n");
    put_port("1-4", "location", "0x80000104\n");
    put_port("8-1", "location", "0x80000104\n");
    /* a firmware that says the same of several, or nothing */
    put_port("1-3", "location", "0x00000000\n");
    put_port("8-2", "location", "0x80000100\n");
    put_port("8-3", "location", "0x80000100\n");
    put_port("3-1", "location", "0x80000100\n");
}

static int make_sysfs(void **state)
{
    begin_sysfs(state);
    put_xhci(1, 2);
    put_ehci();
    put_mixed();
    put_type_c();
    put_root(BRIDGED, 9, " 3.00\n", "1\n");
    put_root(BOARD, 10, " 2.00\n", "1\n");
    put("bus/platform", "x", "");
    put_link(BOARD "/subsystem", "bus/platform");
    put_root("devices/elsewhere", 11, " 2.00\n", "1\n");
    /* a USB 3 hub on the socket of 1-2 and 2-1, a stick on its port 3 */
    put_device(XHCI "/usb1", "1-2", "05e3:0610");
    put_device(XHCI "/usb2", "2-1", "05e3:0612");
    put_peers("1-2.3", "2-1.3");
    put_device(XHCI "/usb2/2-1", "2-1.3", "0951:1666");
    /* a phone on the companion of EHCI port 3 */
    put_device(EHCI ".1/usb5", "5-1", "18d1:4ee7");
    /* a serial adapter on port 1 of the chipset's controller */
    put_device(XHCI "/usb1", "1-1", "0403:6001");
    return 0;
}

/* ---- sockets ------------------------------------------------------------ */

static void sockets(void **state)
{
    static const struct {
        const char *path, *socket;
    } all[] = {
        { "1-1", "pci-0000:00:14.0-usbv2-0:1" },
        { "2-2", "pci-0000:00:14.0-usbv2-0:1" },
        { "2-1", "pci-0000:00:14.0-usbv2-0:2" },
        { "1-2", "pci-0000:00:14.0-usbv2-0:2" },
        { "1-2.3", "pci-0000:00:14.0-usbv2-0:2.3" },
        { "2-1.3", "pci-0000:00:14.0-usbv2-0:2.3" },
        /* a hub there of which the kernel does not tell the ports */
        { "2-1.4.2", "pci-0000:00:14.0-usbv2-0:2.4.2" },
        { "1-4", "pci-0000:00:14.0-usbv2-0:4" },
        { "8-1", "pci-0000:00:14.0-usbv2-0:4" },
        { "8-2", "pci-0000:00:0d.0-usbv3-0:2" },
        { "8-3", "pci-0000:00:0d.0-usbv3-0:3" },
        { "7-1", "pci-0000:00:0d.0-usbv2-0:1" },
        { "3-3", "pci-0000:00:1d.7-usbv2-0:3" },
        { "4-1", "pci-0000:00:1d.7-usbv2-0:1" },
        { "5-1", "pci-0000:00:1d.7-usbv2-0:3" },
        { "6-2.1", "pci-0000:00:1d.7-usbv2-0:6.1" },
        { "9-1", "pci-0000:02:00.0-usbv3-0:1" },
        { "10-1", "platform-board-hcd.0-usbv2-0:1" },
        { "13-1", "pci-0000:00:1e.1-usbv1-0:1" },
        { "11-1", "" }, { "99-1", "" }, { "usb1", "" }, { "", "" },
    };
    char *socket = NULL;
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(all); i++) {
        assert_ok(xlx__usb_socket(all[i].path, &socket));
        if (strcmp(socket, all[i].socket))
            fail_msg("%s: \"%s\", wanted \"%s\"", all[i].path, socket,
                     all[i].socket);
    }
    free(socket);
}

static void same(void **state)
{
    static const char *const same[][2] = {
        { "1-1", "1-1" }, { "1-1", "2-2" }, { "2-1", "1-2" },
        { "1-2.3", "2-1.3" }, { "8-1", "1-4" }, { "5-2", "3-4" },
        { "11-1", "11-1" },
    };
    static const char *const other[][2] = {
        { "1-1", "1-2" }, { "1-1", "2-1" }, { "1-2.3", "2-2.3" },
        { "1-1", "2-2.1" }, { "5-1", "4-1" }, { "5-1", "3-1" },
        { "11-1", "1-1" }, { "usb1", "usb2" }, { "8-2", "3-1" },
        { "1-4", "7-1" }, { "99-1", "1-1" },
        { "13-1", "14-4" },
    };
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(same); i++)
        if (!xlx__usb_same_socket(same[i][0], same[i][1]))
            fail_msg("%s and %s", same[i][0], same[i][1]);
    for (i = 0; i < XLX__ARRAY_SIZE(other); i++)
        if (xlx__usb_same_socket(other[i][0], other[i][1]))
            fail_msg("%s and %s are one", other[i][0], other[i][1]);
}

static int find(const char *text, char **path_r)
{
    const xlx_usb_host_device *d;
    xlx_usb_host_devices list;
    xlx_usb_selector s;
    int rc;

    xlx_usb_selector_init(&s);
    xlx_usb_host_devices_init(&list);
    rc = xlx__usb_selector_read(NULL, text, &s);
    if (!rc)
        rc = xlx__usb_resolve(&s);
    if (!rc)
        rc = xlx__usb_devices(&list);
    if (!rc)
        rc = xlx__usb_pick(&list, &s, &d);
    if (!rc)
        *path_r = strdup(d->path);
    xlx_usb_host_devices_dispose(&list);
    xlx_usb_selector_dispose(&s);
    return rc;
}

static void is_found(const char *text, const char *path)
{
    char *found = NULL;

    assert_ok(find(text, &found));
    if (strcmp(found, path))
        fail_msg("%s: %s, wanted %s", text, found, path);
    free(found);
}

/* Whatever its speed was when it was named. */
static void finding(void **state)
{
    char *found = NULL;
    (void)state;

    is_found("1-1", "1-1");
    is_found("2-2", "1-1");
    is_found("1-2.3", "2-1.3");
    is_found("3-3", "5-1");
    is_found("1-2", "1-2");             /* not its other half */
    is_found("2-1", "2-1");
    is_found("pci-0000:00:14.0-usbv2-0:1", "1-1");
    is_found("pci-0000:00:14.0-usbv3-0:2", "1-1");
    is_found("pci-0000:00:14.0-usb-0:2.3", "2-1.3");
    is_found("pci-0000:00:14.0-usb-0:1.3", "2-1.3");
    is_found("0000:00:1d.7-3", "5-1");
    is_found("pci-0000:00:1d.1-usb-0:1:1.0-scsi-0:0:0:0-part1", "5-1");
    assert_fails(find("pci-0000:00:14.0-usb-0:1", &found), ERROR_INVAL,
                 "more than one device: 1-1 (0403:6001), 1-2 (05e3:0610), "
                 "2-1 (05e3:0612)");
    assert_fails(find("pci-0000:00:14.1-usb-0:1", &found), ERROR_NOTFOUND,
                 "no such device is plugged in");
    assert_fails(find("1-3", &found), ERROR_NOTFOUND, "\"1-3\"");
    assert_null(found);
}

/* The record of "1-1" is for that socket, and not for the one that is 1-1
 * after a boot. */
static void host_boot(void **state)
{
    xlx_usb_host_device d;
    xlx_usb_entry e;
    (void)state;

    xlx_usb_entry_init(&e);
    xlx_usb_host_device_init(&d);
    e.status = XLX_USB_STATUS_MISSING;
    assert_ok(xlx__set_string(&e.selector, "1-1"));
    assert_ok(xlx__usb_socket("1-1", &e.socket));
    unit_dir_remove(strdup(root));
    mkdir(root, 0755);
    put_xhci(3, 4);
    put_root(EHCI ".7", 1, " 2.00\n", "6\n");
    assert_ok(xlx__set_string(&d.path, "1-1"));
    assert_false(xlx__usb_is_for(&e, &d));
    assert_ok(xlx__set_string(&d.path, "3-1"));
    assert_true(xlx__usb_is_for(&e, &d));
    assert_ok(xlx__set_string(&d.path, "4-2"));
    assert_true(xlx__usb_is_for(&e, &d));
    /* the 1 of the one root hub, and not of the other */
    assert_ok(xlx__set_string(&e.selector, "pci-0000:00:14.0-usb-0:1"));
    assert_true(xlx__usb_is_for(&e, &d));
    assert_ok(xlx__set_string(&d.path, "4-1"));
    assert_false(xlx__usb_is_for(&e, &d));
    assert_ok(xlx__set_string(&e.selector, "1-1"));
    assert_ok(xlx__set_string(&d.path, "4-2"));
    /* a record without a socket goes by the path */
    assert_ok(xlx__set_string(&e.socket, ""));
    assert_false(xlx__usb_is_for(&e, &d));
    assert_ok(xlx__set_string(&d.path, "1-1"));
    assert_true(xlx__usb_is_for(&e, &d));
    xlx_usb_host_device_dispose(&d);
    xlx_usb_entry_dispose(&e);
}

/* ---- device nodes ------------------------------------------------------- */

/* A node is a number: those of this machine that anybody may look at stand for
 * what the sysfs of our own says they are. */
static void put_node(const char *name, const char *stands_for,
                     const char *number, const char *below)
{
    char *listed = xlx__printf("dev/char/%s", number);

    put_link(name, stands_for);
    put(below, "dev", number);
    put_link(listed, below);
    free(listed);
}

static void nodes(void **state)
{
    static const char virtual[] = "devices/virtual/block/dm-0";
    char *found = NULL, *path;
    (void)state;

    put_node("ttyUSB0", "/dev/null", "1:3",
             XHCI "/usb1/1-1/1-1:1.0/ttyUSB0/tty/ttyUSB0");
    put_link("serial/by-id/usb-FTDI_A1-if00-port0", "ttyUSB0");
    put_node("sda", "/dev/zero", "1:5",
             "devices/pci0000:00/0000:00:1f.2/ata1/host0/block/sda");
    put_node("dm-0", "/dev/full", "1:7", virtual);
    put(virtual, "slaves/sda1/x", "");
    put_node("odd", "/dev/random", "1:8", "devices/virtual/mem/odd");

    is_found("/dev/ttyUSB0", "1-1");
    is_found("ttyUSB0", "1-1");
    is_found("/dev/serial/by-id/usb-FTDI_A1-if00-port0", "1-1");
    path = xlx__printf("%s/dev/char/1:3", root);
    is_found(path, "1-1");
    free(path);
    assert_fails(find("/dev/sda", &found), ERROR_INVAL, "selector "
                 "\"/dev/sda\": it is not on USB but on the PCI device "
                 "0000:00:1f.2: xl pci-attach");
    assert_fails(find("sda", &found), ERROR_INVAL, "selector \"/dev/sda\"");
    assert_fails(find("dm-0", &found), ERROR_INVAL, "made of sda1");
    assert_fails(find("odd", &found), ERROR_INVAL, "made by the kernel");
    assert_fails(find("ttyUSB9", &found), ERROR_NOTFOUND,
                 "selector \"/dev/ttyUSB9\": No such file");
    assert_fails(find("/dev/serial", &found), ERROR_INVAL, "no USB device");
    assert_null(found);
}

int main(void)
{
    const struct CMUnitTest usb_socket[] = {
        cmocka_unit_test(sockets),
        cmocka_unit_test(same),
        cmocka_unit_test(finding),
        cmocka_unit_test(nodes),
        cmocka_unit_test(host_boot),    /* the last: it boots */
    };

    return cmocka_run_group_tests(usb_socket, make_sysfs, remove_sysfs);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The names that users give a USB device, and how it is found in a sysfs of
 * our own; what uses it there, and what the policy says of it.
 */
#include <sys/stat.h>

#include "unit.h"
#include "usb/usb.h"

static char *dir;

/* ---- text --------------------------------------------------------------- */

static char *normal(const char *text)
{
    xlx_usb_selector s;
    char *again = NULL;

    xlx_usb_selector_init(&s);
    if (!xlx__usb_selector_read(NULL, text, &s))
        again = xlx__usb_selector_text(&s);
    xlx_usb_selector_dispose(&s);
    return again;
}

static const struct {
    const char *text, *normal;
} spelt[] = {
    { "1-2", "1-2" }, { "001-02.010.3", "1-2.10.3" },
    { "1-1.2.3.4.5.6", "1-1.2.3.4.5.6" }, { "255-255", "255-255" },
    { "0951:1666", "0951:1666" }, { "0951:A4A5", "0951:a4a5" },
    { "0951:1666:60A4 C:1", "0951:1666:60A4 C:1" },
    { "1000:1000", "1000:1000" },
    /* decimal, as lsusb prints them */
    { "001:010", "1:10" }, { "1:127", "1:127" },
    { "/dev/bus/usb/001/010", "1:10" },
    { "/sys/bus/usb/devices/1-2", "/sys/bus/usb/devices/1-2" },
    { "class:storage", "class:08" }, { "class:08", "class:08" },
    { "class:keyboard", "class:03:01:01" },
    { "class:E0:01", "class:e0:01" },
    /* a socket, as udev and people have it */
    { "pci-0000:00:14.0-usb-0:2.1", "pci-0000:00:14.0-usb-0:2.1" },
    { "pci-0000:00:14.0-usbv3-0:2.1", "pci-0000:00:14.0-usbv3-0:2.1" },
    { "pci-0000:00:14.0-usb-0:2.1:1.0-scsi-0:0:0:0-part1",
      "pci-0000:00:14.0-usb-0:2.1" },
    { "pci-10000:e1:00.0-usb-0:1", "pci-10000:e1:00.0-usb-0:1" },
    { "0000:00:14.0-02.1", "pci-0000:00:14.0-usb-0:2.1" },
    { "platform-fd500000.pcie-pci-0000:01:00.0-usb-0:1.1",
      "pci-0000:01:00.0-usb-0:1.1" },
    { "platform-xhci-hcd.0.auto-usb-0:1", "platform-xhci-hcd.0.auto-usb-0:1" },
    /* a node of the host */
    { "/dev/sdb", "/dev/sdb" }, { "sdb", "/dev/sdb" },
    { "ttyUSB0", "/dev/ttyUSB0" }, { "web", "/dev/web" },
};

static const struct {
    const char *text, *says;
} bad[] = {
    { "", "it is empty" }, { "web/x", "must be BUS-PORT" },
    { "pci-0000:00:14.0", "must be CONTROLLER-usb-0:PORT" },
    { "pci-0000:00:14.8-usb-0:1", "must be CONTROLLER" },
    { "pci-0000:00:14.0-usb-1:1", "must be CONTROLLER" },
    { "pci-0000:00:14.0-usbv4-0:1", "must be CONTROLLER" },
    { "pci-0000:00:14.0-usb-0:", "a port is missing" },
    { "pci-0000:00:14.0-usb-0:1.x", "a port is missing" },
    { "0000:00:14.0-", "a port is missing" },
    { "0000:00:14.0-usb-0:1", "a port is missing" },
    { "1", "must be BUS-PORT" }, { "1-", "a port is missing" },
    { "1-2.", "a port is missing" }, { "1-2,3", "must be BUS-PORT" },
    { "1-0", "from 1 to 255" }, { "1-256", "from 1 to 255" },
    { "0-1", "a bus is a number from 1 to 255" },
    { "256-1", "a bus is" }, { "4294967297-1", "a bus is" },
    { "1-1.2.3.4.5.6.7", "at most 6" }, { "-1-2", "must be BUS-PORT" },
    { "1:300", "an address is a number from 1 to 127" },
    { "1:0", "an address is" }, { "1:", "an address is missing" },
    { "1:4294967306", "an address is" }, { "1:0x10", "an address is" },
    { "1:10 ", "must be BUS:ADDRESS" }, { "1:1:1", "must be BUS:ADDRESS" },
    { "0951:166", "four hexadecimal" }, { "0951:16666", "four hexa" },
    { "0951:166g", "four hexa" }, { "0x0951:0x1666", "must be BUS-PORT" },
    { "0951:1666:", "serial number is missing" },
    { "0951:1666-1", "must be VENDOR" }, { "951:1666", "a bus is" },
    { "class:", "a class is" }, { "class:8", "a class is" },
    { "class:disk", "a class is" }, { "class:08:", "a class is" },
    { "class:08:06:50:1", "a class is" }, { "class:080", "a class is" },
    { "1-2\n", "control character (0x0a)" }, { "1-\x80", "not UTF-8" },
    { "/dev/bus/usb/001", "BUS/ADDRESS" },
    { "/dev/bus/usb/001/300", "an address is" },
    { "dev/bus/usb/001/001", "must be BUS-PORT" },
};

static void spellings(void **state)
{
    xlx_usb_selector s;
    char *text;
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(spelt); i++) {
        text = normal(spelt[i].text);
        if (!text || strcmp(text, spelt[i].normal))
            fail_msg("\"%s\": \"%s\" (%s)", spelt[i].text, text ? text : "",
                     xlx_error_get());
        free(text);
    }
    for (i = 0; i < XLX__ARRAY_SIZE(bad); i++) {
        xlx_usb_selector_init(&s);
        assert_fails(xlx__usb_selector_read(NULL, bad[i].text, &s),
                     ERROR_INVAL, bad[i].says);
        xlx_usb_selector_dispose(&s);
    }
    text = malloc(5001);
    memset(text, '1', 5000);
    text[5000] = '\0';
    xlx_usb_selector_init(&s);
    assert_fails(xlx__usb_selector_read(NULL, text, &s), ERROR_INVAL,
                 "longer than");
    xlx_usb_selector_dispose(&s);
    free(text);
}

/* CONTROLLER/PORT of usb-detach; the rest is a selector, or wrong. */
static void places(void **state)
{
    static const char *const wrong[] = {
        "4294967296/1", "0/4294967297", "-1/1", "+0/1", "0/-1", "0/+1", " 0/1",
        "0/ 1", "0/1 ", "0 /1", "0/", "/1", "0", "", "0x1/1", "0/1/2", "1-1",
    };
    uint32_t ctrl = 7, port = 7;
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(wrong); i++)
        if (xlx__usb_parse_place(wrong[i], &ctrl, &port))
            fail_msg("\"%s\" is %u/%u", wrong[i], ctrl, port);
    assert_true(xlx__usb_parse_place("4294967295/15", &ctrl, &port));
    assert_int_equal(ctrl, UINT32_MAX);
    assert_int_equal(port, 15);
}

/* ---- a sysfs ------------------------------------------------------------ */

#define TREE "devices/pci0/usb%c/%s/%s"

static void make_way(char *path)
{
    char *p;

    for (p = path + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
}

static void put_bytes(const char *device, const char *name,
                      const void *bytes, size_t len)
{
    char *path = xlx__printf("%s/" TREE, dir, device[0], device, name);
    FILE *f;

    make_way(path);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
    free(path);
}

static void put(const char *device, const char *name, const char *text)
{
    put_bytes(device, name, text, strlen(text));
}

static void put_link(const char *at, const char *to)
{
    char *path = xlx__printf("%s/%s", dir, at);

    make_way(path);
    assert_int_equal(symlink(to, path), 0);
    free(path);
}

static void put_listed(const char *name, const char *below)
{
    char *at = xlx__printf("bus/usb/devices/%s", name);
    char *to = xlx__printf("../../../devices/pci0/usb%c/%s%s%s", name[0],
                           below, *below ? "/" : "", name);

    put_link(at, to);
    free(at);
    free(to);
}

/* Not below a device. */
static void put_file(const char *name, const char *text)
{
    char *path = xlx__printf("%s/%s", dir, name);
    FILE *f;

    make_way(path);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static void put_device(const char *path, const char *address, const char *id,
                       const char *serial, const char *interface)
{
    char *name;

    put(path, "busnum", path[0] == '1' ? "1\n" : "2\n");
    put(path, "devnum", address);
    put_bytes(path, "idVendor", id, 5);
    put(path, "idProduct", id + 5);
    put(path, "bDeviceClass", "00\n");
    put(path, "bDeviceSubClass", "00\n");
    put(path, "bDeviceProtocol", "00\n");
    put(path, "speed", "480\n");
    put(path, "product", "Stick of\x01 Doom\n");
    if (serial)
        put(path, "serial", serial);
    put_listed(path, "");
    name = xlx__printf("%s:1.0", path);
    put(path, "descriptors", "");
    {
        char *file = xlx__printf("%s/bInterfaceClass", name);

        put(path, file, "08\n");
        free(file);
        file = xlx__printf("%s/bInterfaceSubClass", name);
        put_bytes(path, file, interface, 3);
        free(file);
        file = xlx__printf("%s/bInterfaceProtocol", name);
        put(path, file, interface + 3);
        free(file);
    }
    put_listed(name, path);
    free(name);
}

/* A configuration with an interface that has no endpoint in its first setting
 * and an isochronous one in its second; and after it what is cut off. */
static const unsigned char camera[] = {
    18, 1, 0, 2, 0xef, 2, 1, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    9, 2, 34, 0, 1, 1, 0, 0x80, 250,
    9, 4, 0, 0, 0, 0x0e, 2, 0, 0,
    9, 4, 0, 1, 1, 0x0e, 2, 0, 0,
    7, 5, 0x81, 0x05, 0, 2, 1,
    9, 4,
};

static int make_sysfs(void **state)
{
    char *proc;

    (void)state;
    dir = unit_dir();
    setenv("LIBXLX_SYSFS_DIR", dir, 1);
    setenv("LIBXLX_DEV_DIR", dir, 1);
    proc = xlx__printf("%s/proc", dir);
    setenv("LIBXLX_PROC_DIR", proc, 1);
    free(proc);
    put_device("1-1", "2\n", "0951\n1666\n", "AB12\n", "06\n50\n");
    put_device("1-2", "10\n", "0951\n1666\n", "AB13\n", "06\n50\n");
    put_device("2-1", "3\n", "046d\n0825\n", NULL, "06\n50\n");
    put_device("2-2", "4\n", "1d6b\n0002\n", NULL, "06\n50\n");
    put("2-2", "bDeviceClass", "09\n");
    put("2-1", "speed", "5000\n");
    put_bytes("2-1", "descriptors", camera, sizeof(camera));
    put("1-2", "1-2:1.0/bInterfaceClass", "03\n");
    put("1-2", "1-2:1.0/bInterfaceSubClass", "01\n");
    put("1-2", "1-2:1.0/bInterfaceProtocol", "01\n");
    put_link("devices/pci0/usb1/1-2/1-2:1.0/driver",
             "../../../../bus/usb/drivers/usbfs");
    /* one that is just going: its directory has no files any more */
    put_listed("1-9", "");
    put("1-1", "1-1:1.0/host0/block/sdx/dev", "8:112\n");
    put_file("sdx", "");
    put_file("proc/1/comm", "init\n");
    put_file("proc/self/mountinfo", "");
    put_link("proc/self/ns/mnt", "mnt:[1]");
    put_link("class/block/sdx", "../../devices/pci0/usb1/1-1/1-1:1.0/host0"
             "/block/sdx");
    put("2-1", "2-1:1.0/net/eth7/flags", "0x1003\n");
    put("2-1", "2-1:1.0/net/eth7/ifindex", "7\n");
    put("2-1", "2-1:1.0/bInterfaceClass", "ff\n");
    put_link("class/net/eth7", "../../devices/pci0/usb2/2-1/2-1:1.0/net/eth7");
    return 0;
}

static int remove_sysfs(void **state)
{
    (void)state;
    unsetenv("LIBXLX_SYSFS_DIR");
    unsetenv("LIBXLX_DEV_DIR");
    unsetenv("LIBXLX_PROC_DIR");
    unit_dir_remove(dir);
    return 0;
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
    assert_string_equal(found, path);
    free(found);
}

static void devices(void **state)
{
    xlx_usb_host_devices list;
    const xlx_usb_host_device *d;
    char *node;
    (void)state;

    xlx_usb_host_devices_init(&list);
    assert_ok(xlx__usb_devices(&list));
    assert_int_equal(list.num_devices, 4);
    d = xlx__usb_by_path(&list, "1-2");
    assert_non_null(d);
    assert_int_equal(d->address, 10);
    assert_int_equal(d->vendor, 0x0951);
    assert_int_equal(d->speed, XLX_USB_SPEED_HIGH);
    assert_string_equal(d->serial, "AB13");
    assert_string_equal(d->name, "Stick of? Doom");
    assert_string_equal(d->kind, "keyboard");
    assert_int_equal(d->num_interfaces, 1);
    assert_string_equal(d->interfaces[0].driver, "usbfs");
    assert_false(d->isochronous);
    node = xlx__usb_node(d);
    assert_non_null(strstr(node, "/bus/usb/001/010"));
    free(node);
    d = xlx__usb_by_path(&list, "2-1");
    assert_true(d->isochronous);
    assert_int_equal(d->speed, XLX_USB_SPEED_SUPER);
    assert_null(xlx__usb_by_path(&list, "1-9"));
    xlx_usb_host_devices_dispose(&list);
}

static void finding(void **state)
{
    char *path, *found = NULL;
    (void)state;

    is_found("1-2", "1-2");
    is_found("001:010", "1-2");
    is_found("0951:1666:AB12", "1-1");
    is_found("046d:0825", "2-1");
    is_found("class:keyboard", "1-2");
    path = xlx__printf("%s/class/block/sdx", dir);
    is_found(path, "1-1");
    free(path);
    path = xlx__printf("%s/bus/usb/devices/2-1:1.0", dir);
    is_found(path, "2-1");
    free(path);
    assert_fails(find(dir, &found), ERROR_INVAL, "no USB device");
    assert_fails(find("/nonexistent", &found), ERROR_NOTFOUND, "No such");
    assert_fails(find("0951:1666", &found), ERROR_INVAL, "more than one "
                 "device: 1-1 (0951:1666 Stick of? Doom), 1-2 (0951:1666");
    assert_fails(find("0951:1666:AB", &found), ERROR_NOTFOUND,
                 "no such device is plugged in");
    assert_fails(find("1:8", &found), ERROR_NOTFOUND, "\"1:8\"");
    assert_null(found);
}

/* ---- what uses it ------------------------------------------------------- */

static void uses(const char *path, const char *says)
{
    struct xlx__hostdev_world *world;
    xlx_usb_host_devices list;
    char *use = NULL;

    xlx_usb_host_devices_init(&list);
    assert_ok(xlx__usb_devices(&list));
    assert_ok(xlx__hostdev_world_open(NULL, &world));
    assert_ok(xlx__usb_host_use(world, xlx__usb_by_path(&list, path), 0,
                                false, &use));
    assert_string_equal(xlx__text(use), says);
    free(use);
    xlx__hostdev_world_close(world);
    xlx_usb_host_devices_dispose(&list);
}

static void used(void **state)
{
    (void)state;

    uses("1-1", "");
    put("1-1", "1-1:1.0/host0/block/sdx/holders/dm-0/x", "");
    uses("1-1", "sdx is part of dm-0");
    uses("1-2", "a program has its interface 1-2:1.0");
    uses("2-1", "its network card eth7 is up");
    put("2-1", "2-1:1.0/net/eth7/flags", "0x1002\n");
    uses("2-1", "");
}

/* ---- policy ------------------------------------------------------------- */

static void denied(const char *path, const char *says)
{
    xlx_usb_host_devices list;
    xlx_usb_policy policy;
    char *why = NULL;

    xlx_usb_policy_init(&policy);
    xlx_usb_host_devices_init(&list);
    assert_ok(xlx__usb_policy_get(NULL, &policy));
    assert_ok(xlx__usb_devices(&list));
    assert_ok(xlx__usb_judge(&policy, xlx__usb_by_path(&list, path), &why));
    if (*says ? !strstr(why, says) : *why)
        fail_msg("%s: \"%s\", wanted \"%s\"", path, why, says);
    free(why);
    xlx_usb_host_devices_dispose(&list);
    xlx_usb_policy_dispose(&policy);
}

static void write_policy(const char *text)
{
    char *path = xlx__printf("%s/policy", dir);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    setenv("LIBXLX_USB_POLICY", path, 1);
    free(path);
}

static void policy_fails(const char *text, const char *says)
{
    xlx_usb_policy policy;

    write_policy(text);
    xlx_usb_policy_init(&policy);
    assert_fails(xlx__usb_policy_get(NULL, &policy), ERROR_INVAL, says);
    xlx_usb_policy_dispose(&policy);
}

static void policies(void **state)
{
    char *long_line = malloc(6001);
    (void)state;

    setenv("LIBXLX_USB_POLICY", "/nonexistent/policy", 1);
    denied("1-1", "");
    denied("1-2", "keyboard of this host (1-2:1.0), and the built-in rule is "
           "\"deny keyboard\": a line \"allow 0951:1666\" in /nonexistent/");
    denied("2-2", "it is a hub");
    write_policy("# ours\n\n  allow class:keyboard  \ndeny\t0951:1666\r\n"
                 "allow 2-1\ndeny any\n");
    denied("1-2", "");              /* the first rule that names it */
    denied("1-1", "policy:4: deny 0951:1666");
    denied("2-1", "");
    denied("2-2", "policy:6: deny any");
    policy_fails("allow any\npermit any\n", ":2: \"permit\"");
    policy_fails("deny\n", ":1: a selector, \"keyboard\" or \"any\" is");
    policy_fails("deny 1-2 x\n", ":1: selector \"1-2 x\"");
    policy_fails("deny /sys/x\n", ":1: selector \"/sys/x\": a rule");
    memset(long_line, 'x', 6000);
    long_line[6000] = '\0';
    policy_fails(long_line, ":1: the line is too long");
    free(long_line);
    unsetenv("LIBXLX_USB_POLICY");
}

/* The kernel's account of the keys: all letters; a few media keys. */
#define ALL_KEYS "1000000000007 ff9f207ac14057ff febeffdfffefffff " \
                 "fffffffffffffffe\n"
#define MEDIA_KEYS "c000 400000000 0\n"

static void put_input(const char *device, const char *below, const char *keys)
{
    char *name = xlx__printf("%s:1.0/%s/input/input9/capabilities/key",
                             device, below);
    char *to = xlx__printf("../../devices/pci0/usb%c/%s/%s:1.0/%s/input/"
                           "input9", device[0], device, device, below);

    put(device, name, keys);
    put_link("class/input/input9", to);
    free(name);
    free(to);
}

static void drop_link(const char *at)
{
    char *path = xlx__printf("%s/%s", dir, at);

    assert_int_equal(unlink(path), 0);
    free(path);
}

/* On which device is typed is what the kernel has made of it. */
static void keyboards(void **state)
{
    (void)state;

    setenv("LIBXLX_USB_POLICY", "/nonexistent/policy", 1);
    /* without the boot protocol, or by Bluetooth */
    denied("1-1", "");
    put_input("1-1", "0003:0951:1666.0001", ALL_KEYS);
    denied("1-1", "it is a keyboard of this host (input9)");
    drop_link("class/input/input9");
    put_input("1-1", "bluetooth/hci0/hci0:256/0005:1", ALL_KEYS);
    denied("1-1", "it is a keyboard of this host (input9)");
    drop_link("class/input/input9");
    put_input("1-1", "0003:0951:1666.0001", MEDIA_KEYS);
    denied("1-1", "");
    /* a receiver that has the boot protocol, and only a mouse */
    drop_link("devices/pci0/usb1/1-2/1-2:1.0/driver");
    put_link("devices/pci0/usb1/1-2/1-2:1.0/driver",
             "../../../../bus/usb/drivers/usbhid");
    denied("1-2", "");
    /* with a keyboard; it is a security key when it has FIDO as well */
    drop_link("class/input/input9");
    put_input("1-2", "0003:0951:1666.0002", ALL_KEYS);
    denied("1-2", "it is a keyboard of this host (input9)");
    put("1-2", "1-2:1.1/0003:0951:1666.0003/report_descriptor",
        "\x06\xd0\xf1\x09\x01");
    put_link("bus/hid/devices/0003:0951:1666.0003",
             "../../../devices/pci0/usb1/1-2/1-2:1.1/0003:0951:1666.0003");
    denied("1-2", "");
    drop_link("bus/hid/devices/0003:0951:1666.0003");
    denied("1-2", "it is a keyboard");
    put("1-2", "idVendor", "1050\n");
    denied("1-2", "");
    put("1-2", "idVendor", "0951\n");
    write_policy("allow keyboard\n");
    denied("1-2", "");
    write_policy("deny keyboard\n");
    denied("1-2", "policy:1: deny keyboard");
    unsetenv("LIBXLX_USB_POLICY");
}

/* ---- what fits ---------------------------------------------------------- */

static void fits(void **state)
{
    const xlx_usb_type qusb = XLX_USB_TYPE_QUSB,
                       emulated = XLX_USB_TYPE_DEVICEMODEL;
    xlx_usb_host_device d;
    (void)state;

    xlx_usb_host_device_init(&d);
    d.speed = XLX_USB_SPEED_HIGH;
    assert_ok(xlx__usb_fits(qusb, 2, false, &d));
    assert_ok(xlx__usb_fits(emulated, 2, false, &d));
    assert_fails(xlx__usb_fits(qusb, 1, false, &d), ERROR_INVAL,
                 "version 1 does not serve");
    d.isochronous = true;
    assert_fails(xlx__usb_fits(qusb, 2, false, &d), ERROR_INVAL,
                 "isochronous");
    assert_ok(xlx__usb_fits(qusb, 2, true, &d));
    assert_ok(xlx__usb_fits(emulated, 3, false, &d));
    d.speed = XLX_USB_SPEED_SUPER;
    assert_fails(xlx__usb_fits(qusb, 2, true, &d), ERROR_INVAL,
                 "SuperSpeed");
    assert_fails(xlx__usb_fits(emulated, 2, false, &d), ERROR_INVAL,
                 "version 3");
    d.isochronous = false;
    assert_ok(xlx__usb_fits(qusb, 2, false, &d));
    assert_fails(xlx__usb_fits(qusb, 1, false, &d), ERROR_INVAL,
                 "version 1 does not serve");
    assert_ok(xlx__usb_fits(emulated, 3, false, &d));
    d.speed = XLX_USB_SPEED_LOW;
    assert_ok(xlx__usb_fits(qusb, 1, true, &d));
    assert_ok(xlx__usb_fits(emulated, 1, false, &d));
    assert_fails(xlx__usb_fits(emulated, 2, false, &d), ERROR_INVAL,
                 "high speed devices alone");
    xlx_usb_host_device_dispose(&d);
}

int main(void)
{
    const struct CMUnitTest usb_host[] = {
        cmocka_unit_test(spellings),
        cmocka_unit_test(places),
        cmocka_unit_test(devices),
        cmocka_unit_test(finding),
        cmocka_unit_test(used),
        cmocka_unit_test(policies),
        cmocka_unit_test(keyboards),
        cmocka_unit_test(fits),
    };

    return cmocka_run_group_tests(usb_host, make_sysfs, remove_sysfs);
}

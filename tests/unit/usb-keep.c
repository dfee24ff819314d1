/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keeping devices from the host's drivers: the rules for udev, what the
 * interfaces of a sysfs of our own are told, and that all of it is taken back.
 */
#include <sys/stat.h>

#include "peer.h"
#include "usb/usb.h"

#define XHCI "devices/pci0000:00/0000:00:14.0"
#define PROBE "bus/usb/drivers_probe"

static char *path_of(const char *name)
{
    return xlx__printf("%s", peer_path(name));
}

static void put(const char *name, const char *text)
{
    char *path = path_of(name), *p;
    FILE *f;

    for (p = path + strlen(peer_path("")); (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static void put_link(const char *name, const char *to)
{
    char *path, *target = path_of(to);

    put(name, "");
    path = path_of(name);
    unlink(path);
    assert_int_equal(symlink(target, path), 0);
    free(target);
    free(path);
}

static char *text_of(const char *name)
{
    char *path = path_of(name), *text = calloc(1, 8192);
    FILE *f = fopen(path, "r");

    if (f) {
        assert_true(fread(text, 1, 8191, f) < 8191);
        fclose(f);
    }
    free(path);
    return text;
}

static void has(const char *name, const char *text)
{
    char *got = text_of(name);

    if (!strstr(got, text))
        fail_msg("%s: \"%s\" has no \"%s\"", name, got, text);
    free(got);
}

static void has_not(const char *name, const char *text)
{
    char *got = text_of(name);

    if (strstr(got, text))
        fail_msg("%s: \"%s\" has \"%s\"", name, got, text);
    free(got);
}

static void put_attr(const char *path, const char *attribute,
                     const char *text)
{
    char *name = xlx__printf(XHCI "/usb1/%s/%s", path, attribute);

    put(name, text);
    free(name);
}

/* With one interface; its class is that of a stick. */
static void put_device(const char *path, const char *product,
                       const char *serial)
{
    char *name = xlx__printf("bus/usb/devices/%s", path);
    char *to = xlx__printf(XHCI "/usb1/%s", path), *attribute;

    put_attr(path, "busnum", "1\n");
    put_attr(path, "devnum", path + 2);
    put_attr(path, "idVendor", "0951\n");
    put_attr(path, "idProduct", product);
    put_attr(path, "bDeviceClass", "00\n");
    if (serial)
        put_attr(path, "serial", serial);
    put_link(name, to);
    free(name);
    free(to);
    attribute = xlx__printf("%s:1.0/bInterfaceClass", path);
    put_attr(path, attribute, "08\n");
    free(attribute);
    attribute = xlx__printf("%s:1.0/authorized", path);
    put_attr(path, attribute, "1\n");
    free(attribute);
    name = xlx__printf("bus/usb/devices/%s:1.0", path);
    to = xlx__printf(XHCI "/usb1/%s/%s:1.0", path, path);
    put_link(name, to);
    free(name);
    free(to);
}

#define AUTHORIZED(device) \
    "bus/usb/devices/" device ":1.0/authorized"

static int start(void **state)
{
    int r = peer_setup(state);

    setenv("LIBXLX_SYSFS_DIR", peer_path(""), 1);
    setenv("LIBXLX_DEV_DIR", peer_path(""), 1);
    peer_proc();
    setenv("LIBXLX_USB_KEPT", peer_path("kept.rules"), 1);
    setenv("LIBXLX_USB_POLICY", "/nonexistent/policy", 1);
    put(PROBE, "");
    put(XHCI "/usb1/version", "2.00\n");
    put(XHCI "/usb2/version", "3.00\n");
    put_link("bus/usb/devices/usb1", XHCI "/usb1");
    put_link("bus/usb/devices/usb2", XHCI "/usb2");
    put(XHCI "/usb2/2-0:1.0/usb2-port5/x", "");
    put_link(XHCI "/usb1/1-0:1.0/usb1-port2/peer",
             XHCI "/usb2/2-0:1.0/usb2-port5");
    put_link("bus/usb/devices/1-0:1.0", XHCI "/usb1/1-0:1.0");
    put_device("1-1", "1666\n", "AB12\n");
    put_device("1-2", "0002\n", NULL);
    put_device("1-3", "0003\n", "A\"*\n");
    put_device("1-4", "0004\n", NULL);
    put_attr("1-4", "bDeviceClass", "09\n");
    put_device("1-5", "0005\n", "K\n");
    put_attr("1-5", "1-5:1.0/bInterfaceClass", "03\n");
    put_attr("1-5", "1-5:1.0/bInterfaceSubClass", "01\n");
    put_attr("1-5", "1-5:1.0/bInterfaceProtocol", "01\n");
    return r;
}

/* ---- the tests ---------------------------------------------------------- */

static int keep(const char *selector, bool force, const char *as)
{
    xlx_usb_host_device d;
    int rc;

    xlx_usb_host_device_init(&d);
    rc = xlx_usb_assignable_add(peer_ctx(), selector, force, false, &d);
    if (!rc)
        assert_string_equal(d.kept, as);
    xlx_usb_host_device_dispose(&d);
    return rc;
}

static const char rule_of_id[] = "# kept: 0951:1666:AB12\n"
    "ACTION==\"add\", SUBSYSTEM==\"usb\", ENV{DEVTYPE}==\"usb_interface\", "
    "DRIVER!=\"usbfs\", ATTRS{idVendor}==\"0951\", ATTRS{idProduct}==\"1666\","
    " ATTRS{serial}==\"AB12\", ATTR{authorized}=\"0\"\n";

static void by_id(void **state)
{
    char *before, *after;
    xlx_usb_host_device d;
    (void)state;

    peer_xenstored("/local/domain/0/name=Domain-0", NULL);
    xlx_usb_host_device_init(&d);
    assert_ok(xlx_usb_assignable_add(peer_ctx(), "1:1", false, true, &d));
    xlx_usb_host_device_dispose(&d);
    has("kept.rules", "");
    has_not("kept.rules", "0951");
    has(AUTHORIZED("1-1"), "1");

    assert_ok(keep("1:1", false, "0951:1666:AB12"));
    has("kept.rules", rule_of_id);
    has(AUTHORIZED("1-1"), "0");
    has(AUTHORIZED("1-2"), "1");
    before = text_of("kept.rules");
    assert_ok(keep("0951:1666", false, "0951:1666:AB12"));
    after = text_of("kept.rules");
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void by_socket(void **state)
{
    (void)state;

    peer_xenstored("/local/domain/0/name=Domain-0", NULL);
    assert_ok(keep("1-2", false, "pci-0000:00:14.0-usbv2-0:2"));
    has(AUTHORIZED("1-2"), "0");
    has("kept.rules", rule_of_id);
    has("kept.rules", "DEVPATH==\"*/0000:00:14.0/usb*/*-2:*\", "
        "ATTRS{idVendor}==\"1d6b\", ATTRS{idProduct}==\"0002\"");
    has("kept.rules", "DEVPATH==\"*/0000:00:14.0/usb*/*-5:*\", "
        "ATTRS{idVendor}==\"1d6b\", ATTRS{idProduct}==\"0003\"");
}

static void listed(void **state)
{
    xlx_usb_host_devices list;
    (void)state;

    peer_xenstored("/local/domain/0/name=Domain-0", NULL);
    xlx_usb_host_devices_init(&list);
    assert_ok(xlx_usb_host_list(peer_ctx(), &list));
    assert_int_equal(list.num_devices, 5);
    assert_string_equal(list.devices[0].kept, "0951:1666:AB12");
    assert_string_equal(list.devices[1].kept, "pci-0000:00:14.0-usbv2-0:2");
    assert_string_equal(list.devices[2].kept, "");
    xlx_usb_host_devices_dispose(&list);
}

/* A guest gets it, and then nobody. */
static void lent(void **state)
{
    const xlx_usb_host_device *d;
    xlx_usb_host_devices list;
    bool kept = false;
    (void)state;

    xlx_usb_host_devices_init(&list);
    assert_ok(xlx__usb_devices(&list));
    d = xlx__usb_by_path(&list, "1-1");
    assert_ok(xlx__usb_lend(d, &kept));
    assert_true(kept);
    has(AUTHORIZED("1-1"), "1");
    xlx__usb_give_back("1-1");
    has(AUTHORIZED("1-1"), "0");
    has_not(PROBE, "1-1:1.0");
    d = xlx__usb_by_path(&list, "1-3");
    assert_ok(xlx__usb_lend(d, &kept));
    assert_false(kept);
    xlx__usb_give_back("1-3");
    has(PROBE, "1-3:1.0");
    has(AUTHORIZED("1-3"), "1");
    xlx_usb_host_devices_dispose(&list);
    put(PROBE, "");
}

static int forget(const char *selector)
{
    return xlx_usb_assignable_remove(peer_ctx(), selector, false);
}

static void removed(void **state)
{
    (void)state;

    peer_xenstored("/local/domain/0/name=Domain-0", NULL);
    assert_ok(xlx_usb_assignable_remove(peer_ctx(), "1-1", true));
    has(AUTHORIZED("1-1"), "0");
    assert_ok(forget("1-1"));
    has(AUTHORIZED("1-1"), "1");
    has(PROBE, "1-1:1.0");
    has_not("kept.rules", "AB12");
    has("kept.rules", "usb*/*-5:*");
    assert_fails(forget("1-1"), ERROR_NOTFOUND, "no such device is kept");
    assert_fails(forget("0951:7777"), ERROR_NOTFOUND, "\"0951:7777\"");
    assert_ok(forget("pci-0000:00:14.0-usbv2-0:2"));
    has(AUTHORIZED("1-2"), "1");
    has_not("kept.rules", "ACTION");
}

static void refused(void **state)
{
    (void)state;

    peer_xenstored("/local/domain/0/name=Domain-0", NULL);
    assert_fails(keep("1:3", false, ""), ERROR_INVAL, "name its socket");
    assert_ok(keep("1-3", false, "pci-0000:00:14.0-usbv2-0:3"));
    assert_fails(keep("1-4", true, ""), ERROR_INVAL, "it is a hub");
    assert_fails(keep("1-5", false, ""), ERROR_FAIL, "not for guests");
    has(AUTHORIZED("1-5"), "1");
    assert_ok(keep("1-5", true, "pci-0000:00:14.0-usbv2-0:5"));
    assert_fails(keep("1-9", true, ""), ERROR_NOTFOUND, "no such device");
    setenv("LIBXLX_USB_KEPT", "/nonexistent/x.rules", 1);
    assert_fails(keep("1-1", false, ""), ERROR_FAIL, "cannot create");
    has(AUTHORIZED("1-1"), "1");
}

int main(void)
{
    const struct CMUnitTest usb_keep[] = {
        cmocka_unit_test_teardown(by_id, peer_xenstored_stop),
        cmocka_unit_test_teardown(by_socket, peer_xenstored_stop),
        cmocka_unit_test_teardown(listed, peer_xenstored_stop),
        cmocka_unit_test(lent),
        cmocka_unit_test_teardown(removed, peer_xenstored_stop),
        cmocka_unit_test_teardown(refused, peer_xenstored_stop),
    };

    return cmocka_run_group_tests(usb_keep, start, peer_teardown);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Controllers and ports of guests as libxl keeps them in xenstore, dead ones
 * among them, and what a guest's QEMU holds: a shell plays the QEMU.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/xs.h"
#include "peer.h"
#include "usb/usb.h"

#define Q5 "/local/domain/0/backend/qusb/5/0"
#define L6 "/libxl/6/device/vusb/3"

static char *dir;

static pid_t qemus[8];
static int num_qemus;

/* A process with the command line of a QEMU, which has that file open if there
 * is one. */
static pid_t play_qemu(const char *domid, const char *node)
{
    static const char script[] = "[ -z \"$3\" ] || exec 5< \"$3\"; echo;"
                                 " while :; do sleep 600; done";
    char byte = 0;
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (!pid) {
        setpgid(0, 0);
        dup2(fds[1], 1);
        execl("/bin/sh", "sh", "-c", script, "qemu", "-xen-domid", domid,
              node, NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    qemus[num_qemus++] = pid;
    return pid;
}

/* Tells xenstore of a device model. */
static void note(uint32_t domid, pid_t pid)
{
    char *node = xlx__printf("/local/domain/%u/image/device-model-pid",
                             domid);
    char *text = xlx__printf("%d", (int)pid);

    assert_ok(xlx__xs_write(peer_ctx(), XBT_NULL, node, text));
    free(text);
    free(node);
}

static int stop(void **state)
{
    while (num_qemus) {
        kill(-qemus[--num_qemus], SIGKILL);
        waitpid(qemus[num_qemus], NULL, 0);
    }
    return peer_xenstored_stop(state);
}

static void start(void)
{
    char *pid = xlx__printf("/local/domain/5/image/device-model-pid=%d",
                            (int)play_qemu("5", NULL));

    peer_xenstored(
        "/local/domain/0/name=Domain-0", "/local/domain/5/domid=5", pid,
        "/libxl/5/type=pvh", "/libxl/6/type=hvm",
        "/libxl/5/device/vusb/0/type=qusb",
        "/libxl/5/device/vusb/0/backend=" Q5,
        "/libxl/5/device/vusb/x/type=qusb",
        Q5 "/usb-ver=2", Q5 "/num-ports=3", Q5 "/state=4",
        Q5 "/port/1=1-1", Q5 "/port/2=", Q5 "/port/3=1-7",
        "/local/domain/5/device/vusb/0/state=1e9",
        /* one that is just being made */
        "/libxl/5/device/vusb/1/type=qusb",
        "/local/domain/6/domid=6",
        L6 "/type=devicemodel", L6 "/usb-ver=3", L6 "/num-ports=99",
        L6 "/port/15=1-8",
        "/libxl/6/device/vusb/4/type=astral", NULL);
    free(pid);
}

static char *put(const char *name, const char *text)
{
    char *at = xlx__printf("%s/%s", dir, name), *p;
    FILE *f;

    for (p = at + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(at, 0755);
        *p = '/';
    }
    f = fopen(at, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return at;
}

static void in_run_dir(const char *name, const char *text)
{
    char *at = xlx__printf("%s/%s", peer_ctx()->run_dir, name);
    FILE *f = fopen(at, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(at);
}

static void put_device(void)
{
    free(put("bus/usb/devices/1-1/busnum", "1"));
    free(put("bus/usb/devices/1-1/devnum", "2"));
    free(put("bus/usb/devices/1-1/idVendor", "0951"));
    free(put("bus/usb/devices/1-1/idProduct", "1666"));
}

static void is(const char *node, const char *wanted)
{
    char *value = NULL;

    assert_ok(xlx__xs_read(peer_ctx(), XBT_NULL, node, &value));
    assert_string_equal(value, wanted);
    free(value);
}

/* ---- tests -------------------------------------------------------------- */

static void controllers(void **state)
{
    xlx_usb_ctrls list;
    (void)state;

    start();
    xlx_usb_ctrls_init(&list);
    assert_ok(xlx__usb_ctrls(peer_ctx(), 5, &list));
    assert_int_equal(list.num_ctrls, 1);
    assert_int_equal(list.ctrls[0].type, XLX_USB_TYPE_QUSB);
    assert_int_equal(list.ctrls[0].version, 2);
    assert_int_equal(list.ctrls[0].size, 3);
    assert_int_equal(list.ctrls[0].backend_state,
                     XLX_XENBUS_STATE_CONNECTED);
    /* the text of the guest is not a state */
    assert_int_equal(list.ctrls[0].frontend_state, XLX_XENBUS_STATE_UNKNOWN);
    assert_int_equal(list.ctrls[0].num_ports, 2);
    assert_int_equal(list.ctrls[0].ports[1].number, 3);
    assert_string_equal(list.ctrls[0].ports[1].path, "1-7");
    xlx_usb_ctrls_dispose(&list);

    /* an emulated one has its ports in libxl's tree; 99 ports there are not */
    assert_ok(xlx__usb_ctrls(peer_ctx(), 6, &list));
    assert_int_equal(list.num_ctrls, 1);
    assert_int_equal(list.ctrls[0].devid, 3);
    assert_int_equal(list.ctrls[0].size, 0);
    xlx_usb_ctrls_dispose(&list);
    assert_ok(xlx__usb_ctrls(peer_ctx(), 7, &list));
    assert_int_equal(list.num_ctrls, 0);
    xlx_usb_ctrls_dispose(&list);
}

/* Which controller and port a device gets that asks for none. */
static int place(uint32_t domid, xlx_usb_type type, xlx_usb_entry *e)
{
    struct xlx__usb_change c = { .ctx = peer_ctx() };
    xlx_usb_binding b;

    c.guest.domid = domid;
    xlx_usb_binding_init(&b);
    b.type = type;
    return xlx__usb_choose_port(&c, &b, NULL, e);
}

static void places(void **state)
{
    xlx_usb_entry e;
    (void)state;

    start();
    xlx_usb_entry_init(&e);
    /* a PVH guest has no emulated controller, though libxl_domain_info()
     * calls it HVM */
    assert_ok(place(5, XLX_USB_TYPE_AUTO, &e));
    assert_int_equal(e.type, XLX_USB_TYPE_QUSB);
    assert_int_equal(e.ctrl, 0);
    assert_int_equal(e.port, 2);
    assert_fails(place(5, XLX_USB_TYPE_DEVICEMODEL, &e), ERROR_INVAL,
                 "only for an HVM guest");
    assert_ok(place(6, XLX_USB_TYPE_AUTO, &e));
    assert_int_equal(e.type, XLX_USB_TYPE_DEVICEMODEL);
    /* the one that it has says that it has 99 ports, so another is made */
    assert_int_equal(e.ctrl, 4);
    assert_true(e.made_ctrl);
    assert_fails(place(7, XLX_USB_TYPE_AUTO, &e), ERROR_DOMAIN_NOTFOUND,
                 "has ended");
    xlx_usb_entry_dispose(&e);
}

static void holders(void **state)
{
    uint32_t domid, ctrl, port;
    (void)state;

    start();
    assert_ok(xlx__usb_holder(peer_ctx(), "1-7", &domid, &ctrl, &port));
    assert_int_equal(domid, 5);
    assert_int_equal(ctrl, 0);
    assert_int_equal(port, 3);
    assert_int_equal(xlx__usb_holder(peer_ctx(), "1-2", &domid, &ctrl, &port),
                     ERROR_NOTFOUND);
}

static void held(void **state)
{
    xlx_usb_host_device d;
    char *node;
    (void)state;

    start();
    xlx_usb_host_device_init(&d);
    d.bus = 1;
    d.address = 2;
    assert_false(xlx__usb_held(peer_ctx(), 5, &d));
    node = put("bus/usb/001/002", "");
    note(5, play_qemu("5", node));
    assert_true(xlx__usb_held(peer_ctx(), 5, &d));
    assert_false(xlx__usb_held(peer_ctx(), 6, &d));
    d.address = 3;
    assert_false(xlx__usb_held(peer_ctx(), 5, &d));
    free(node);
    xlx_usb_host_device_dispose(&d);
}

#define ASKED "accept", "greet", "expect qmp_capabilities", "return {}", \
              "expect human-monitor-command"
#define KEYBOARD "  Bus 1, Addr 3, Port 2, Speed 1.5 Mb/s\\r\\n"

/* Until then qemu has to come to the end of its script. */
static int wait_known(xlx_guest *guest, pid_t qemu, int ms)
{
    xlx_usb_host_device d;
    int rc;

    xlx_usb_host_device_init(&d);
    assert_ok(xlx__set_string(&d.path, "1-1"));
    d.bus = 1;
    d.address = 2;
    rc = xlx__usb_wait_known(peer_ctx(), guest, &d, xlx__now_ms() + ms);
    xlx_usb_host_device_dispose(&d);
    assert_int_equal(peer_wait(qemu), 0);
    unlink(guest->qmp_socket);
    return rc;
}

/* No port is written before QEMU has heard of the device. */
static void known(void **state)
{
    xlx_guest guest = { .domid = 5, .name = (char *)"web" };
    char *at;
    (void)state;

    start();
    guest.qmp_socket = at = xlx__printf("%s", peer_path("qmp"));
    assert_ok(wait_known(&guest, peer_start("fake-qmp.py", at,
        ASKED, "return \"" KEYBOARD "\"",
        ASKED, "return \"" KEYBOARD
               "  Bus 1, Addr 2, Port 1, Speed 480 Mb/s\\r\\n\"", NULL),
        60000));
    /* what a device calls itself, and an address that begins alike */
    assert_fails(wait_known(&guest, peer_start("fake-qmp.py", at,
        ASKED, "return \"    Class 00: USB device 046d:0825,"
               "  Bus 1, Addr 2, Port 1, Speed 480 Mb/s\\r\\n"
               "  Bus 1, Addr 22, Port 1, Speed 480 Mb/s\\r\\n\"", NULL), 0),
        ERROR_TIMEDOUT, "has not heard of it, at bus 1, address 2");
    free(at);
}

/* The message says that a QEMU has ended, with its last words. */
static void last_words(void **state)
{
    xlx_guest guest = { .domid = 5, .name = (char *)"web" };
    pid_t pid = fork();
    char *text;
    (void)state;

    if (!pid)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    start();
    assert_int_equal(xlx__usb_backend_check(peer_ctx(), &guest,
                                            ERROR_NOT_READY), 0);
    text = xlx__printf("%d", (int)pid);
    assert_ok(xlx__xs_write(peer_ctx(), XBT_NULL,
                            "/local/domain/5/image/device-model-pid", text));
    assert_fails(xlx__usb_backend_check(peer_ctx(), &guest, 0), ERROR_FAIL,
                 "QEMU has ended: why is in its log, qemu-dm-web.log");
    in_run_dir("usb-backend-5.pid", text);
    in_run_dir("usb-backend-5.log", "one\nusb_handle_packet: no\r\n\n");
    assert_fails(xlx__usb_backend_check(peer_ctx(), &guest, 0), ERROR_FAIL,
                 "QEMU has ended: usb_handle_packet: no");
    free(text);
}

/* The kernel gives the number of a QEMU that has ended to any process. */
static void reused_number(void **state)
{
    xlx_guest guest = { .domid = 5, .name = (char *)"web" };
    char *text, *named;
    pid_t other;
    (void)state;

    start();
    assert_true(xlx__usb_backend_runs(peer_ctx(), 5));
    note(5, getpid());
    assert_false(xlx__usb_backend_runs(peer_ctx(), 5));
    assert_fails(xlx__usb_backend_check(peer_ctx(), &guest, 0), ERROR_FAIL,
                 "QEMU has ended");
    /* the QEMU of another guest */
    other = play_qemu("55", NULL);
    note(5, other);
    assert_false(xlx__usb_backend_runs(peer_ctx(), 5));
    setenv("LIBXLX_XEN_QEMU", "/bin/false", 1);
    assert_int_equal(xlx__usb_backend_start(peer_ctx(), 5, NULL), ERROR_FAIL);
    unsetenv("LIBXLX_XEN_QEMU");

    /* a number that we wrote down ourselves: nobody is ended for it */
    text = xlx__printf("%d", (int)other);
    in_run_dir("usb-backend-5.pid", text);
    named = xlx__printf("%s/usb-backend-5.pid", peer_ctx()->run_dir);
    xlx__usb_backend_stop(peer_ctx(), 5);
    assert_int_equal(kill(other, 0), 0);
    assert_int_equal(waitpid(other, NULL, WNOHANG), 0);
    assert_int_equal(access(named, F_OK), -1);
    free(named);
    free(text);
}

/* Another attachment emptied the port of a device that was pulled out of an
 * HVM guest: its QEMU still has it, and must be asked to let go of it. */
static void emptied_port(void **state)
{
    struct xlx__usb_change c = { .ctx = peer_ctx() };
    xlx_usb_entry e;
    pid_t qemu;
    char *at;
    (void)state;

    start();
    note(6, play_qemu("6", NULL));
    xlx_usb_entry_init(&e);
    assert_ok(xlx__set_string(&e.path, "1-8"));
    e.type = XLX_USB_TYPE_DEVICEMODEL;
    e.ctrl = 3;
    e.port = 15;
    e.bus = 1;
    e.address = 9;
    assert_ok(xlx__usb_clear_port(peer_ctx(), 6, 3, 15));
    c.guest.domid = 6;
    c.guest.name = (char *)"win";
    c.guest.qmp_socket = at = xlx__printf("%s", peer_path("qmp"));
    qemu = peer_start("fake-qmp.py", at,
        ASKED, "return \"  Device 0.2, Port 15, Speed 480 Mb/s, Product x, "
               "ID: xenusb-1-9\\r\\n\"",
        "accept", "greet", "expect qmp_capabilities", "return {}",
        "expect device_del", "return {}",
        ASKED, "return \"\"", NULL);
    assert_ok(xlx__usb_disconnect(&c, &e, xlx__now_ms() + 20000));
    assert_int_equal(peer_wait(qemu), 0);
    unlink(at);
    free(at);
    xlx_usb_entry_dispose(&e);
}

static void dead_ports(void **state)
{
    xlx_usb_host_devices devices;
    xlx_usb_entry e;
    char *on_port = NULL;
    (void)state;

    start();
    put_device();
    assert_ok(xlx__xs_write(peer_ctx(), XBT_NULL, L6 "/num-ports", "15"));
    xlx_usb_host_devices_init(&devices);
    assert_ok(xlx__usb_devices(&devices));
    assert_int_equal(devices.num_devices, 1);
    assert_ok(xlx__usb_clear_dead(peer_ctx(), &devices));
    is(Q5 "/port/1", "1-1");
    is(Q5 "/port/3", "");
    is(L6 "/port/15", "");
    xlx_usb_host_devices_dispose(&devices);

    xlx_usb_entry_init(&e);
    e.port = 1;
    assert_ok(xlx__usb_on_port(peer_ctx(), 5, &e, &on_port));
    assert_string_equal(on_port, "1-1");
    free(on_port);
    e.ctrl = 9;
    assert_ok(xlx__usb_on_port(peer_ctx(), 5, &e, &on_port));
    assert_string_equal(on_port, "");
    free(on_port);
    xlx_usb_entry_dispose(&e);
}

static void entry(struct xlx__usb_change *c, const char *selector,
                  xlx_usb_status status, const char *where, uint32_t port)
{
    xlx_usb_entry e;

    xlx_usb_entry_init(&e);
    assert_ok(xlx__set_string(&e.selector, selector));
    assert_ok(xlx__set_string(&e.path, where));
    e.status = status;
    e.domid = 5;
    e.port = port;
    assert_ok(xlx__usb_entry_append(c, &e));
    xlx_usb_entry_dispose(&e);
}

/* The guest that has a device, or waits for it. */
static void owners(void **state)
{
    struct xlx__usb_change c;
    xlx_usb_host_device d;
    xlx_usb_ctrls list;
    xlx_guest guest;
    char *name = NULL;

    (void)state;
    xlx_guest_init(&guest);
    assert_ok(xlx__set_string(&guest.name, "web"));
    assert_int_equal(libxl_uuid_from_string(&guest.uuid,
        "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10"), 0);
    memset(&c, 0, sizeof(c));
    c.ctx = peer_ctx();
    c.lock.fd = -1;
    xlx_guest_init(&c.guest);
    xlx_usb_record_init(&c.record);
    assert_ok(xlx_guest_copy(peer_ctx(), &c.guest, &guest));
    entry(&c, "0951:1666", XLX_USB_STATUS_ATTACHED, "1-1", 1);
    entry(&c, "046d:0825", XLX_USB_STATUS_MISSING, "1-2", 2);
    assert_ok(xlx__usb_record_write(&c));

    xlx_usb_host_device_init(&d);
    assert_ok(xlx__set_string(&d.path, "1-1"));
    assert_ok(xlx__usb_owner(peer_ctx(), &d, NULL, &name));
    assert_string_equal(name, "web");
    assert_int_equal(xlx__usb_owner(peer_ctx(), &d, &guest.uuid, &name),
                     ERROR_NOTFOUND);
    /* a second one alike in another place is free; the place of a missing one
     * is, too, but not what it waits for */
    assert_ok(xlx__set_string(&d.path, "1-2"));
    d.vendor = 0x0951;
    d.product = 0x1666;
    assert_int_equal(xlx__usb_owner(peer_ctx(), &d, NULL, &name),
                     ERROR_NOTFOUND);
    d.vendor = 0x046d;
    d.product = 0x0825;
    assert_ok(xlx__usb_owner(peer_ctx(), &d, NULL, &name));

    /* one that was never plugged in has no path */
    entry(&c, "046d:0999", XLX_USB_STATUS_MISSING, NULL, 3);
    assert_ok(xlx__usb_record_write(&c));
    xlx_usb_ctrls_init(&list);
    assert_ok(xlx_usb_ctrl_list(peer_ctx(), &guest, &list));
    assert_int_equal(list.num_ctrls, 1);
    assert_int_equal(list.ctrls[0].num_ports, 3);
    assert_false(list.ctrls[0].ports[2].present);
    xlx_usb_ctrls_dispose(&list);

    xlx__usb_entry_drop(&c, 0, 3);
    xlx__usb_entry_drop(&c, 0, 1);
    xlx__usb_entry_drop(&c, 0, 2);
    xlx__usb_entry_drop(&c, 0, 2);
    assert_ok(xlx__usb_record_write(&c));
    assert_int_equal(xlx__usb_owner(peer_ctx(), &d, NULL, &name),
                     ERROR_NOTFOUND);
    free(name);
    xlx_usb_host_device_dispose(&d);
    xlx__usb_end(&c);
    xlx_guest_dispose(&guest);
}

static int count_findings(struct xlx__usb_change *c)
{
    xlx_repair_report report;
    int num;

    xlx_repair_report_init(&report);
    /* the rest of it needs libxl */
    xlx__usb_settle(c, false, &report);
    num = report.num_findings;
    assert_true(!num || !report.findings[0].repaired);
    xlx_repair_report_dispose(&report);
    return num;
}

/* A watcher does not try again and again what fails, with the guest's lock
 * held: no command could detach the device. */
static void patient(void **state)
{
    struct xlx__hostdev_patience patience = { NULL, 0, 0, 0 };
    struct xlx__usb_change c;
    (void)state;

    start();
    memset(&c, 0, sizeof(c));
    c.ctx = peer_ctx();
    c.lock.fd = -1;
    xlx_guest_init(&c.guest);
    xlx_usb_record_init(&c.record);
    assert_ok(xlx__hostdev_boot(&c.boot));
    c.guest.domid = 5;
    /* pulled out; and there is no libxl to take it off with */
    entry(&c, "1-7", XLX_USB_STATUS_ATTACHED, "1-7", 3);
    assert_ok(xlx__usb_entry_is_on(&c, c.record.entries, 5));
    assert_int_equal(count_findings(&c), 1);

    c.patience = &patience;
    xlx__hostdev_patience_begin(&patience, xlx__now_ms() + 60000);
    c.record.entries->status = XLX_USB_STATUS_ATTACHED;
    assert_int_equal(count_findings(&c), 1);
    xlx__hostdev_patience_end(&patience);
    assert_int_equal(patience.num, 1);
    patience.list[0].next = xlx__now_ms() + 60000;
    xlx__hostdev_patience_begin(&patience, xlx__now_ms() + 60000);
    c.record.entries->status = XLX_USB_STATUS_ATTACHED;
    assert_int_equal(count_findings(&c), 0);
    assert_true(patience.next > xlx__now_ms());
    /* a person's command does */
    c.patience = NULL;
    assert_int_equal(count_findings(&c), 1);
    xlx__hostdev_patience_dispose(&patience);
    c.record.num_entries = 0;
    c.guest.domid = XLX_DOMID_NONE;
    xlx__usb_record_write(&c);
    c.record.num_entries = 1;
    xlx__usb_end(&c);
}

static int setup(void **state)
{
    if (peer_setup(state))
        return -1;
    dir = unit_dir();
    setenv("LIBXLX_SYSFS_DIR", dir, 1);
    setenv("LIBXLX_DEV_DIR", dir, 1);
    return 0;
}

static int teardown(void **state)
{
    unsetenv("LIBXLX_SYSFS_DIR");
    unsetenv("LIBXLX_DEV_DIR");
    unit_dir_remove(dir);
    return peer_teardown(state);
}

int main(void)
{
    const struct CMUnitTest usb_port[] = {
        cmocka_unit_test_teardown(controllers, stop),
        cmocka_unit_test_teardown(places, stop),
        cmocka_unit_test_teardown(holders, stop),
        cmocka_unit_test_teardown(held, stop),
        cmocka_unit_test_teardown(known, stop),
        cmocka_unit_test_teardown(last_words, stop),
        cmocka_unit_test_teardown(reused_number, stop),
        cmocka_unit_test_teardown(emptied_port, stop),
        cmocka_unit_test_teardown(dead_ports, stop),
        cmocka_unit_test_teardown(patient, stop),
        cmocka_unit_test(owners),
    };

    return cmocka_run_group_tests(usb_port, setup, teardown);
}

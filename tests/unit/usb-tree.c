/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests that have a part of the host's USB as a whole: what is there is
 * attached, and what comes; what is pulled out is taken off; and what the
 * guest does not get, and why.  usb-tree-world.c is the host.
 */
#include <signal.h>

#include "usb-tree-world.h"

/* ---- devices that come and go ------------------------------------------- */

static void what_is_there(void **state)
{
    (void)state;
    plug_hub();
    plug("1-1", "0951:1666", false);        /* next to it */
    plug("1-2.1", "0951:1667", false);
    plug("2-1.3", "0951:1668", false);      /* on the other half */
    plug("1-2.4", "05e3:0608", true);       /* a hub on the hub */
    plug("1-2.4.2", "0403:6001", false);
    assert_ok(attach(0, "1-2"));
    assert_has(0, "1-2.1 1-2.4.2 2-1.3");
    assert_string_equal(left(0, "1-2.4"), "");
    look(0);
    assert_string_equal(said, "");
    assert_has(0, "1-2.1 1-2.4.2 2-1.3");
}

static void what_comes(void **state)
{
    (void)state;
    assert_ok(attach(0, "1-2"));
    assert_has(0, "");
    look(0);
    assert_string_equal(said, "");
    assert_true(watched);
    /* a stick in the socket itself, and then a hub with one */
    plug("2-1", "0951:1666", false);
    look(0);
    assert_has(0, "2-1");
    pull("2-1");
    look(0);
    assert_has(0, "");
    assert_said("it was pulled out");
    plug_hub();
    plug("1-2.1", "0951:1667", false);
    plug("1-1", "0951:1668", false);
    look(0);
    assert_has(0, "1-2.1");
    assert_said("1-2.1 (0951:1667) is plugged in; attached");
    /* another one in its place */
    pull("1-2.1");
    plug("1-2.1", "0403:6001", false);
    look(0);
    assert_has(0, "1-2.1");
    look(0);
    assert_string_equal(said, "");
    /* the whole hub */
    pull("1-2.1");
    pull("1-2");
    pull("2-1");
    look(0);
    assert_has(0, "");
    assert_int_equal(count_trees(0), 1);
}

static void whole_controller(void **state)
{
    (void)state;
    plug("1-1", "0951:1666", false);
    plug("2-3", "0951:1667", false);
    plug("3-1", "0951:1668", false);
    /* on a companion of EHCI's port 3 */
    plug("5-1", "0403:6001", false);
    assert_ok(attach(0, "usb2"));
    assert_has(0, "1-1 2-3");
    assert_ok(attach(0, "usb3"));
    assert_has(0, "1-1 2-3 3-1 5-1");
    assert_int_equal(count_trees(0), 2);
    assert_ok(detach(0, "usb1"));
    assert_has(0, "3-1 5-1");
    assert_ok(detach(0, "usb3"));
    assert_has(0, "");
    /* the socket of both speeds */
    assert_ok(attach(0, "3-3"));
    assert_has(0, "5-1");
    assert_ok(detach(0, "5-1"));
    assert_has(0, "");
}

/* Nothing is done, and each device is shown with the port that it would get.
 */
static void dry_run(void **state)
{
    xlx_usb_tree_devices found;
    xlx_repair_report report;
    xlx_usb_binding b;
    xlx_usb_wait wait;
    (void)state;

    plug("1-1", "0951:1666", false);
    plug("1-3", "0951:1667", false);
    xlx_usb_wait_init(&wait);
    xlx_usb_binding_init(&b);
    xlx_usb_tree_devices_init(&found);
    wait.dry_run = true;
    assert_ok(xlx__set_string(&b.selector, "usb1"));
    assert_ok(xlx_usb_tree_attach(ctx, &guests[0], &b, &wait, &found));
    assert_int_equal(found.num_entries, 2);
    assert_int_equal(found.entries[0].port, 1);
    assert_int_equal(found.entries[1].port, 2);
    assert_int_equal(count_trees(0), 0);
    xlx_usb_tree_devices_dispose(&found);
    xlx_usb_binding_dispose(&b);
    assert_ok(attach(0, "usb1"));
    plug("1-4", "0951:1668", false);
    xlx_repair_report_init(&report);
    assert_ok(xlx_usb_repair(ctx, &guests[0], true, &report));
    note_said(&report);
    assert_said("1-4 (0951:1668) is plugged in; it would be attached");
    assert_has(0, "1-1 1-3");
    xlx_repair_report_dispose(&report);
    xlx_usb_tree_devices_init(&found);
    assert_ok(xlx_usb_tree_detach(ctx, &guests[0], "usb1", &wait, &found));
    assert_int_equal(found.num_entries, 2);
    assert_int_equal(count_trees(0), 1);
    assert_has(0, "1-1 1-3");
    xlx_usb_tree_devices_dispose(&found);
}

/* ---- two guests --------------------------------------------------------- */

static void overlap(void **state)
{
    (void)state;
    plug_hub();
    assert_ok(attach(0, "1-2"));
    assert_fails(attach(0, "2-1"), ERROR_DEVICE_EXISTS, "has the USB tree "
                 PCI "-usbv2-0:2 already");
    assert_fails(attach(1, "2-1.4"), ERROR_DEVICE_EXISTS,
                 "guest web has the USB tree " PCI "-usbv2-0:2, and no two");
    assert_fails(attach(1, PCI), ERROR_DEVICE_EXISTS, "guest web");
    assert_ok(attach(1, "1-1"));
    assert_fails(attach(0, "usb1"), ERROR_DEVICE_EXISTS, "already");
    /* also when the guest does not run */
    setenv("LIBXLX_BOOT_ID", "boot-2", 1);
    end_guest(0);
    assert_fails(attach(1, "1-2.1"), ERROR_DEVICE_EXISTS, "guest web");
}

static void other_guests(void **state)
{
    (void)state;
    plug_hub();
    plug("1-2.1", "0951:1666", false);
    assert_ok(attach_one(1, "0951:1666", false));
    assert_ok(attach(0, "1-2"));
    assert_has(0, "");
    assert_string_equal(left(0, "1-2.1"), "guest db has it");
    /* the other's look does not take it for the tree's */
    restart(1);
    look(1);
    assert_has(1, "1-2.1");
    look(0);
    assert_has(0, "");
    /* what has just come is the tree's, also before its watcher looked */
    plug("1-2.3", "0951:1667", false);
    assert_fails(attach_one(1, "1-2.3", true), ERROR_DEVICE_EXISTS,
                 "guest web has the USB tree " PCI "-usbv2-0:2");
    assert_ok(detach_one(1, "1-2.1"));
    look(0);
    assert_has(0, "1-2.1 1-2.3");
    assert_string_equal(left(0, "1-2.1"), "");
}

/* A guest that waits: nobody does for a socket in another's tree, and what is
 * waited for by its ID comes before a tree. */
static void waiting(void **state)
{
    (void)state;
    assert_ok(attach(0, "1-2"));
    assert_fails(wait_for(1, "1-2"), ERROR_DEVICE_EXISTS,
                 "guest web has the USB tree " PCI "-usbv2-0:2, and it is in");
    assert_fails(wait_for(1, PCI "-usbv2-0:2.1"), ERROR_DEVICE_EXISTS, "web");
    assert_fails(wait_for(1, "2-1.1"), ERROR_DEVICE_EXISTS, "web");
    assert_ok(wait_for(1, "1-1"));
    assert_ok(wait_for(0, "1-2.4"));
    assert_ok(wait_for(1, "0951:1666"));
    plug_hub();
    plug("1-2.1", "0951:1666", false);
    look(0);
    assert_has(0, "");
    assert_string_equal(left(0, "1-2.1"), "guest db has it");
    look(1);
    assert_has(1, "1-2.1");
}

/* ---- devices that are left out ------------------------------------------ */

static int count_noted(int g)
{
    xlx_usb_record r;
    int num;

    xlx_usb_record_init(&r);
    assert_ok(xlx__usb_record_load(ctx, &guests[g].uuid, &r, NULL));
    num = r.trees[0].num_left;
    xlx_usb_record_dispose(&r);
    return num;
}

static void left_out(void **state)
{
    (void)state;
    plug("1-1", "0781:5583", false);        /* the policy denies it */
    plug("1-3", "0951:1666", false);
    plug("1-4", "0951:1667", false);
    used_by_host = "1-3";
    assert_ok(attach(0, "usb1"));
    assert_has(0, "1-4");
    assert_non_null(strstr(left(0, "1-1"), "deny 0781:5583"));
    assert_non_null(strstr(left(0, "1-3"), "sdb1 is mounted on /mnt"));
    /* it is said once */
    look(0);
    assert_string_equal(said, "");
    plug("2-1", "0781:5583", false);
    look(0);
    assert_said("2-1 (0781:5583): not for guests");
    look(0);
    assert_string_equal(said, "");
    /* the reason is gone */
    used_by_host = NULL;
    look(0);
    assert_has(0, "1-4 1-3");
    assert_string_equal(left(0, "1-3"), "");
    /* anybody may have what this guest does not get */
    assert_ok(attach_one(1, "1-1", true));
    look(0);
    assert_string_equal(left(0, "1-1"), "guest db has it");
    pull("2-1");
    assert_string_equal(left(0, "2-1"), "");
    assert_int_equal(count_noted(0), 2);
    look(0);
    assert_int_equal(count_noted(0), 1);
    assert_ok(detach(0, "usb1"));
    assert_ok(detach_one(1, "1-1"));
    assert_ok(attach_with(0, "usb1", true, UINT32_MAX));
    assert_has(0, "1-1 1-3 1-4");
}

static void ports_run_out(void **state)
{
    (void)state;
    make_ctrl(guests[0].domid, 3, 2);
    plug("1-1", "0951:1666", false);
    plug("1-3", "0951:1667", false);
    plug("1-4", "0951:1668", false);
    assert_ok(attach_with(0, "usb1", false, 3));
    assert_has(0, "1-1 1-3");
    assert_non_null(strstr(left(0, "1-4"), "controller 3 has no free port"));
    pull("1-1");
    look(0);
    assert_has(0, "1-4 1-3");
    assert_fails(attach_with(0, "usb3", false, 9), ERROR_NOTFOUND,
                 "controller 9");
}

/* What fails is not tried again and again. */
static void failing(void **state)
{
    (void)state;
    assert_ok(attach(0, "usb1"));
    plug("1-1", "0951:1666", false);
    stubborn = "1-1";
    look(0);
    assert_said("the guest's QEMU does not open it");
    assert_has(0, "");
    assert_string_equal(left(0, "1-1"), "the guest's QEMU does not open it");
    assert_int_equal(patience.num, 1);
    stubborn = NULL;
    look(0);
    assert_has(0, "");
    /* a person's repair does */
    repair(0);
    assert_has(0, "1-1");
    assert_string_equal(left(0, "1-1"), "");
    xlx__hostdev_patience_dispose(&patience);
}

static void detach_of_one(void **state)
{
    xlx_usb_entry e;
    (void)state;

    plug("1-1", "0951:1666", false);
    plug("1-3", "0951:1667", false);
    assert_ok(attach(0, "usb1"));
    assert_has(0, "1-1 1-3");
    assert_ok(detach_one(0, "0951:1666"));
    look(0);
    repair(0);
    assert_has(0, "1-3");
    assert_non_null(strstr(left(0, "1-1"), "it was detached"));
    restart(0);
    look(0);
    assert_has(0, "1-3");
    /* it is free for others; plugged in again it is the guest's */
    assert_ok(attach_one(1, "1-1", false));
    assert_ok(detach_one(1, "1-1"));
    pull("1-1");
    plug("1-1", "0951:1666", false);
    look(0);
    assert_has(0, "1-1 1-3");
    /* stock xl takes one off */
    xlx_usb_entry_init(&e);
    assert_ok(xlx__usb_clear_port(ctx, guests[0].domid, 0, 1));
    xlx_usb_entry_dispose(&e);
    look(0);
    assert_said("another tool took it off");
    look(0);
    assert_has(0, "1-3");
    /* a device of the guest's own in its tree */
    assert_ok(attach_one(0, "1-1", false));
    assert_ok(detach_one(0, "1-1"));
    look(0);
    assert_has(0, "1-3");
    assert_fails(detach_one(0, "usb1"), ERROR_NOTFOUND, "usb-detach --tree");
}

/* ---- guests that leave, end and start ----------------------------------- */

static void aside(void **state)
{
    (void)state;
    plug("1-1", "0951:1666", false);
    plug("1-3", "0951:1667", false);
    assert_ok(attach(0, "usb1"));
    assert_ok(attach(0, "usb3"));
    assert_ok(xlx_usb_set_aside(ctx, &guests[0], NULL));
    assert_has(0, "");
    plug("1-4", "0951:1668", false);
    look(0);
    assert_has(0, "");
    assert_false(watched);
    /* still the guest's, also when it has gone */
    end_guest(0);
    look(0);
    assert_int_equal(count_trees(0), 2);
    assert_fails(attach_one(1, "1-1", false), ERROR_DEVICE_EXISTS, "web");
    assert_fails(attach_one(1, "1-4", false), ERROR_DEVICE_EXISTS, "web");
    pull("1-3");
    restart(0);
    look(0);
    assert_has(0, "");
    repair(0);
    assert_has(0, "1-1 1-4");
    look(0);
    assert_has(0, "1-1 1-4");
}

static void reboot(void **state)
{
    (void)state;
    plug("1-1", "0951:1666", false);
    assert_ok(attach(0, "usb1"));
    restart(0);
    being_made = true;
    plug("1-3", "0951:1667", false);
    look(0);
    assert_has(0, "");
    assert_said("the guest is being started");
    being_made = false;
    look(0);
    assert_has(0, "1-1 1-3");
    end_guest(0);
    look(0);
    assert_int_equal(count_trees(0), 0);
    assert_false(watched);
    assert_ok(attach(1, "usb1"));
}

static void host_reboot(void **state)
{
    (void)state;
    plug("1-1", "0951:1666", false);
    plug("1-3", "0951:1667", false);
    assert_ok(attach(0, "usb1"));
    assert_ok(detach_one(0, "1-1"));
    setenv("LIBXLX_BOOT_ID", "boot-2", 1);
    end_guest(0);
    /* by chance 1-1 has the address of before */
    pull("1-3");
    plug("1-3", "0951:1667", false);
    repair(0);
    assert_int_equal(count_trees(0), 1);
    restart(0);
    repair(0);
    assert_has(0, "1-1 1-3");
    end_guest(0);
    look(0);
    assert_int_equal(count_trees(0), 0);
}

/* A config asks for its trees whenever the guest is created. */
static void configured(void **state)
{
    xlx_usb_tree_devices found;
    xlx_usb_binding b;
    (void)state;

    plug("1-1", "0951:1666", false);
    assert_ok(attach(0, "1-1"));
    restart(0);
    xlx_usb_binding_init(&b);
    xlx_usb_tree_devices_init(&found);
    assert_ok(xlx__set_string(&b.selector, "usb1"));
    b.configured = true;
    assert_ok(xlx_usb_tree_attach(ctx, &guests[0], &b, NULL, &found));
    look(0);
    assert_has(0, "1-1");
    assert_int_equal(count_trees(0), 1);
    xlx_usb_tree_devices_dispose(&found);
    b.once = true;
    assert_fails(xlx_usb_tree_attach(ctx, &guests[0], &b, NULL, &found),
                 ERROR_INVAL, "neither once nor optional");
    b.once = false;
    b.port = 3;
    assert_fails(xlx_usb_tree_attach(ctx, &guests[0], &b, NULL, &found),
                 ERROR_INVAL, "takes no port");
    xlx_usb_binding_dispose(&b);
    assert_ok(detach(0, "usb1"));
    assert_has(0, "");
}

/* ---- killed, and the record --------------------------------------------- */

static void killed_at(const char *fault, int (*work)(int, const char *))
{
    pid_t pid = fork();
    int status;

    if (!pid) {
        xlx__ctx_reconnect(ctx);
        setenv("LIBXLX_FAULT", fault, 1);
        _exit(work(0, "usb1") ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void killed(void **state)
{
    (void)state;
#ifndef XLX_FAULT_POINTS
    skip();
#endif
    plug("1-1", "0951:1666", false);
    killed_at("usb-tree.recorded", attach);
    assert_has(0, "");
    look(0);
    assert_has(0, "1-1");
    killed_at("usb-tree.dropped", detach);
    assert_has(0, "1-1");
    look(0);
    assert_said("its detachment was not finished");
    assert_has(0, "");
    assert_int_equal(count_trees(0), 0);
}

static void record(void **state)
{
    xlx_usb_ctrls list;
    xlx_usb_record r;
    (void)state;

    plug("1-1", "0951:1666", false);
    plug("1-3", "0781:5583", false);
    assert_ok(attach(0, "usb1"));
    xlx_usb_record_init(&r);
    assert_ok(xlx__usb_record_load(ctx, &guests[0].uuid, &r, NULL));
    assert_int_equal(r.num_entries, 1);
    assert_string_equal(r.entries[0].tree, PCI);
    assert_true(r.entries[0].once);
    assert_int_equal(r.num_trees, 1);
    assert_string_equal(r.trees[0].selector, PCI);
    assert_string_equal(r.trees[0].boot, "boot-1");
    assert_int_equal(r.trees[0].ctrl, UINT32_MAX);
    assert_int_equal(r.trees[0].num_left, 1);
    xlx_usb_record_dispose(&r);
    xlx_usb_ctrls_init(&list);
    assert_ok(xlx_usb_ctrl_list(ctx, &guests[0], &list));
    assert_string_equal(list.ctrls[0].ports[0].tree, PCI);
    assert_int_equal(list.watcher.status, XLX_WATCHER_STATUS_MISSING);
    xlx_usb_ctrls_dispose(&list);
    /* a tree alone is a reason to be watched */
    pull("1-1");
    look(0);
    xlx_usb_ctrls_init(&list);
    assert_ok(xlx_usb_ctrl_list(ctx, &guests[0], &list));
    assert_int_equal(list.num_trees, 1);
    assert_int_equal(list.watcher.status, XLX_WATCHER_STATUS_MISSING);
    xlx_usb_ctrls_dispose(&list);
}

int main(void)
{
    const struct CMUnitTest usb_tree[] = {
        cmocka_unit_test_setup_teardown(what_is_there, make_world, end_world),
        cmocka_unit_test_setup_teardown(what_comes, make_world, end_world),
        cmocka_unit_test_setup_teardown(whole_controller, make_world,
                                        end_world),
        cmocka_unit_test_setup_teardown(dry_run, make_world, end_world),
        cmocka_unit_test_setup_teardown(overlap, make_world, end_world),
        cmocka_unit_test_setup_teardown(other_guests, make_world, end_world),
        cmocka_unit_test_setup_teardown(waiting, make_world, end_world),
        cmocka_unit_test_setup_teardown(left_out, make_world, end_world),
        cmocka_unit_test_setup_teardown(ports_run_out, make_world, end_world),
        cmocka_unit_test_setup_teardown(failing, make_world, end_world),
        cmocka_unit_test_setup_teardown(detach_of_one, make_world, end_world),
        cmocka_unit_test_setup_teardown(aside, make_world, end_world),
        cmocka_unit_test_setup_teardown(reboot, make_world, end_world),
        cmocka_unit_test_setup_teardown(host_reboot, make_world, end_world),
        cmocka_unit_test_setup_teardown(configured, make_world, end_world),
        cmocka_unit_test_setup_teardown(killed, make_world, end_world),
        cmocka_unit_test_setup_teardown(record, make_world, end_world),
    };

    return cmocka_run_group_tests(usb_tree, peer_setup, peer_teardown);
}

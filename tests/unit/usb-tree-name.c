/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The names of hubs, sockets and controllers of which a guest gets everything:
 * how they are recorded, and which of them overlap.
 */
#include "usb-tree-world.h"

static void names(void **state)
{
    static const char *const good[][2] = {
        { "1-2", PCI "-usbv2-0:2" }, { "2-1", PCI "-usbv2-0:2" },
        { "1-2.4.1", PCI "-usbv2-0:2.4.1" },
        { "2-1.3", PCI "-usbv2-0:2.3" },
        { PCI "-usb-0:3", PCI "-usbv2-0:3" },
        { PCI "-usbv3-0:1.2", PCI "-usbv2-0:2.2" },
        { "0000:00:14.0-4", PCI "-usbv2-0:4" },
        { PCI, PCI }, { "0000:00:14.0", PCI }, { "usb1", PCI },
        { "usb2", PCI }, { "usb5", "pci-0000:00:1d.1" },
        { "05e3:0610", PCI "-usbv2-0:2" },
        { "05e3:0612", PCI "-usbv2-0:2" },
    };
    static const struct {
        const char *text;
        int rc;
        const char *why;
    } bad[] = {
        { "0951:1666", ERROR_INVAL, "1-1 (0951:1666) is not a hub" },
        { PCI "-usb-0:1", ERROR_INVAL, "two sockets" },
        { "1-9", ERROR_NOTFOUND, "\"1-9\": there is no such port" },
        { "usb77", ERROR_NOTFOUND, "there is no bus 77" },
        { "77-1", ERROR_NOTFOUND, "there is no such port" },
        { "pci-0000:00:99.0", ERROR_NOTFOUND, "no such USB controller" },
        { "platform-x", ERROR_NOTFOUND, "no such USB controller" },
        { "1d6b:0001", ERROR_NOTFOUND, "no such device is plugged in" },
        { "1-", ERROR_INVAL, "a port is missing" },
        { "", ERROR_INVAL, "empty" },
    };
    char *place = NULL;
    size_t i;
    (void)state;

    plug_hub();
    plug("1-1", "0951:1666", false);
    for (i = 0; i < XLX__ARRAY_SIZE(good); i++) {
        assert_ok(xlx__usb_tree_read(good[i][0], &place));
        if (strcmp(place, good[i][1]))
            fail_msg("%s: %s, wanted %s", good[i][0], place, good[i][1]);
    }
    for (i = 0; i < XLX__ARRAY_SIZE(bad); i++)
        assert_fails(xlx__usb_tree_read(bad[i].text, &place), bad[i].rc,
                     bad[i].why);
    free(place);
}

static void overlaps(void **state)
{
    static const struct {
        const char *a, *b;
        bool yes;
    } all[] = {
        { "-usbv2-0:2", "-usbv2-0:2", true },
        { "-usbv2-0:2", "-usbv2-0:2.1", true },
        { "-usbv2-0:2", "-usbv2-0:21", false },
        { "-usbv2-0:2.1", "-usbv2-0:2.2", false },
        { "", "-usbv2-0:2", true },
        { "", "", true },
    };
    char *a, *b;
    bool yes;
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(all); i++) {
        a = xlx__printf(PCI "%s", all[i].a);
        b = xlx__printf(PCI "%s", all[i].b);
        assert_ok(xlx__usb_trees_overlap(a, b, &yes));
        assert_int_equal(yes, all[i].yes);
        assert_ok(xlx__usb_trees_overlap(b, a, &yes));
        assert_int_equal(yes, all[i].yes);
        free(a);
        free(b);
    }
    /* a companion has ports of the EHCI controller */
    assert_ok(xlx__usb_trees_overlap("pci-0000:00:1d.1", "pci-0000:00:1d.7",
                                     &yes));
    assert_true(yes);
    assert_ok(xlx__usb_trees_overlap("pci-0000:00:1d.1",
                                     "pci-0000:00:1d.7-usbv2-0:3", &yes));
    assert_true(yes);
    assert_ok(xlx__usb_trees_overlap("pci-0000:00:1d.1",
                                     "pci-0000:00:1d.7-usbv2-0:1", &yes));
    assert_false(yes);
    /* one that was unbound from its driver */
    assert_ok(xlx__usb_trees_overlap("pci-0000:00:1f.0-usbv2-0:1",
                                     "pci-0000:00:1f.0", &yes));
    assert_true(yes);
    assert_ok(xlx__usb_trees_overlap("pci-0000:00:1f.0", PCI, &yes));
    assert_false(yes);
}

int main(void)
{
    const struct CMUnitTest usb_tree_name[] = {
        cmocka_unit_test_setup_teardown(names, make_world, end_world),
        cmocka_unit_test_setup_teardown(overlaps, make_world, end_world),
    };

    return cmocka_run_group_tests(usb_tree_name, peer_setup, peer_teardown);
}

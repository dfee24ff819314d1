/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is it the recorded device?  Each situation that a hand at the plug, a target
 * that numbers its disks from 1, a restart of the host or a resize can leave.
 */
#include "hostdev/hostdev.h"
#include "unit.h"

#define GIB (UINT64_C(1) << 30)
#define SAME XLX__HOSTDEV_SAME
#define UNSURE XLX__HOSTDEV_UNSURE
#define OTHER XLX__HOSTDEV_OTHER

#define DEVICE(i, s, v, m, n, p) \
    { .id = i, .serial = s, .vendor = v, .model = m, .type = "disk", \
      .size = n, .place = p }
#define ID "wwid naa.5000c500a1b2c3d4"

struct pair {
    struct xlx__hostdev_identity was, is;
    enum xlx__hostdev_same now, later;      /* this start, or an earlier one */
};

static const struct pair pairs[] = {
    /* as ever, and at another address */
    { DEVICE(ID, "S1", "ACME", "X", 4 * GIB, "2:0:0:0"),
      DEVICE(ID, "S1", "ACME", "X", 4 * GIB, "2:0:0:0"), SAME, SAME },
    { DEVICE(ID, "S1", "ACME", "X", 4 * GIB, "2:0:0:0"),
      DEVICE(ID, "S1", "ACME", "X", 4 * GIB, "9:0:0:0"), SAME, SAME },
    /* an old record */
    { DEVICE(ID, "", "", "", 0, "2:0:0:0"),
      DEVICE(ID, "S1", "ACME", "X", 4 * GIB, "9:0:0:0"), SAME, SAME },
    /* one identifier, two disks */
    { DEVICE(ID, "S1", "ACME", "X", 4 * GIB, "2:0:0:0"),
      DEVICE(ID, "S2", "ACME", "X", 4 * GIB, "2:0:0:0"), OTHER, OTHER },
    { DEVICE(ID, "S1", "ACME", "X", 4 * GIB, "2:0:0:0"),
      DEVICE(ID, "S1", "OTHER", "X", 4 * GIB, "2:0:0:0"), OTHER, OTHER },
    { DEVICE(ID, "S1", "ACME", "X", 4 * GIB, "2:0:0:0"),
      DEVICE(ID, "", "ACME", "X", 4 * GIB, "2:0:0:0"), UNSURE, UNSURE },
    /* grown: its serial number says that it is the one */
    { DEVICE(ID, "S1", "ACME", "X", 4 * GIB, "2:0:0:0"),
      DEVICE(ID, "S1", "ACME", "X", 8 * GIB, "2:0:0:0"), SAME, SAME },
    { DEVICE(ID, "", "ACME", "X", 4 * GIB, "2:0:0:0"),
      DEVICE(ID, "", "ACME", "X", 8 * GIB, "2:0:0:0"), UNSURE, UNSURE },
    /* but not that of a target, which counts its disks */
    { DEVICE("wwid naa.3000000100000001", "beaf11", "IET", "V", GIB,
             "2:0:0:1"),
      DEVICE("wwid naa.3000000100000001", "beaf11", "IET", "V", 2 * GIB,
             "2:0:0:1"), UNSURE, UNSURE },
    /* no identifier: the address alone is no proof */
    { DEVICE("hctl 2:0:0:0", "", "ACME", "Stick", GIB, "2:0:0:0"),
      DEVICE("hctl 2:0:0:0", "", "ACME", "Stick", GIB, "2:0:0:0"),
      SAME, UNSURE },
    { DEVICE("hctl 2:0:0:0", "", "ACME", "Stick", GIB, "2:0:0:0"),
      DEVICE("hctl 2:0:0:0", "", "ACME", "Stick", 2 * GIB, "2:0:0:0"),
      OTHER, OTHER },
    { DEVICE("hctl 2:0:0:0", "", "ACME", "Stick", GIB, "2:0:0:0"),
      DEVICE("hctl 2:0:0:0", "", "HL-DT-ST", "DVDRAM", GIB, "2:0:0:0"),
      OTHER, OTHER },
    { DEVICE("hctl 2:0:0:0", "", "ACME", "Stick", GIB, "2:0:0:0"),
      DEVICE("hctl 2:0:0:0", "S9", "ACME", "Stick", GIB, "2:0:0:0"),
      OTHER, OTHER },
    { DEVICE("hctl 2:0:0:0", "", "ACME", "Stick", GIB, "2:0:0:0"),
      DEVICE("hctl 3:0:0:0", "", "ACME", "Stick", GIB, "3:0:0:0"),
      OTHER, UNSURE },
    { DEVICE("hctl 2:0:0:0", "S1", "ACME", "Stick", GIB, "2:0:0:0"),
      DEVICE("hctl 3:0:0:0", "S1", "ACME", "Stick", GIB, "3:0:0:0"),
      SAME, SAME },
    { DEVICE("hctl 2:0:0:0", "", "", "", 0, "2:0:0:0"),
      DEVICE("hctl 2:0:0:0", "", "ACME", "Stick", GIB, "2:0:0:0"),
      UNSURE, UNSURE },
    /* a number of a block device */
    { DEVICE("block 253:3", "", "", "", GIB, "/dev/dm-3"),
      DEVICE("block 253:3", "", "", "", GIB, "/dev/dm-3"), SAME, UNSURE },
    { DEVICE("block 253:3", "", "", "", GIB, "/dev/dm-3"),
      DEVICE("block 253:3", "", "", "", 2 * GIB, "/dev/dm-3"), OTHER, OTHER },
    { DEVICE("block 253:3", "", "", "", 0, "/dev/dm-3"),
      DEVICE("dm LVM-abc", "", "", "", GIB, "/dev/dm-3"), OTHER, OTHER },
    /* volumes are resized, and get other numbers */
    { DEVICE("dm LVM-abc", "", "", "", GIB, "/dev/dm-3"),
      DEVICE("dm LVM-abc", "", "", "", 2 * GIB, "/dev/dm-7"), SAME, SAME },
    { DEVICE("dm LVM-abc", "", "", "", GIB, "/dev/dm-3"),
      DEVICE("dm LVM-abd", "", "", "", GIB, "/dev/dm-3"), OTHER, OTHER },
    /* a multipath map and a path of it are one device */
    { DEVICE("dm mpath-35000c500a1b2c3d4", "", "", "", GIB, "/dev/dm-3"),
      DEVICE(ID, "S1", "", "", GIB, "2:0:0:0"), SAME, SAME },
    { DEVICE(ID, "S1", "", "", GIB, "2:0:0:0"),
      DEVICE("dm mpath-35000c500a1b2c3d4", "", "", "", GIB, "/dev/dm-3"),
      SAME, SAME },
    { DEVICE("dm mpath-35000c500a1b2c3d5", "", "", "", GIB, "/dev/dm-3"),
      DEVICE(ID, "S1", "", "", GIB, "2:0:0:0"), OTHER, OTHER },
    /* a file: after a new mount the number of its file system is another */
    { DEVICE("file 0:45:257", "1700.5", "", "", GIB, "/a"),
      DEVICE("file 0:45:257", "1700.5", "", "", 2 * GIB, "/a"), SAME, SAME },
    { DEVICE("file 0:45:257", "1700.5", "", "", GIB, "/a"),
      DEVICE("file 0:47:257", "1700.5", "", "", GIB, "/a"), OTHER, SAME },
    { DEVICE("file 0:45:257", "1700.5", "", "", GIB, "/a"),
      DEVICE("file 0:47:257", "1700.5", "", "", GIB, "/b"), OTHER, SAME },
    { DEVICE("file 0:45:257", "", "", "", GIB, "/a"),
      DEVICE("file 0:47:257", "", "", "", GIB, "/a"), OTHER, SAME },
    { DEVICE("file 0:45:257", "", "", "", GIB, "/a"),
      DEVICE("file 0:47:257", "", "", "", GIB, "/b"), OTHER, OTHER },
    /* another file, with the number of one that was removed */
    { DEVICE("file 8:1:257", "1700.5", "", "", GIB, "/a"),
      DEVICE("file 8:1:257", "1800.1", "", "", GIB, "/a"), OTHER, OTHER },
    { DEVICE("file 8:1:257", "1700.5", "", "", GIB, "/a"),
      DEVICE("file 8:1:258", "1800.1", "", "", GIB, "/a"), OTHER, OTHER },
    /* USB */
    { DEVICE("usb 0951:1666", "60A4", "", "", 0, "1-2"),
      DEVICE("usb 0951:1666", "60A4", "", "", 0, "3-1"), SAME, SAME },
    { DEVICE("usb 0951:1666", "60A4", "", "", 0, "1-2"),
      DEVICE("usb 0951:1666", "60A5", "", "", 0, "1-2"), OTHER, OTHER },
    { DEVICE("usb 072f:90cc", "", "", "", 0, "1-2"),
      DEVICE("usb 18d1:4ee7", "", "", "", 0, "1-2"), OTHER, OTHER },
};

static void each_pair(void **state)
{
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(pairs); i++) {
        const struct pair *p = &pairs[i];
        enum xlx__hostdev_same now, later;

        now = xlx__hostdev_compare(&p->was, &p->is, true);
        later = xlx__hostdev_compare(&p->was, &p->is, false);
        if (now != p->now || later != p->later)
            fail_msg("pair %zu: %d and %d, wanted %d and %d", i, (int)now,
                     (int)later, (int)p->now, (int)p->later);
    }
}

/* ---- one of many -------------------------------------------------------- */

static enum xlx__hostdev_choice
choose(const struct xlx__hostdev_identity *was,
       const struct xlx__hostdev_identity *list, int num, bool same_boot,
       int *best)
{
    int other;

    return xlx__hostdev_choose(was, list, num, same_boot, best, &other);
}

/* Two paths to one disk: the one it had, unless that does not work. */
static void paths(void **state)
{
    struct xlx__hostdev_identity list[] = {
        DEVICE(ID, "S1", "ACME", "X", GIB, "2:0:0:0"),
        DEVICE(ID, "S1", "ACME", "X", GIB, "3:0:0:0"),
    };
    struct xlx__hostdev_identity was = list[1];
    int best;
    (void)state;

    assert_int_equal(choose(&was, list, 2, true, &best), XLX__HOSTDEV_FOUND);
    assert_int_equal(best, 1);
    list[1].offline = true;
    assert_int_equal(choose(&was, list, 2, true, &best), XLX__HOSTDEV_FOUND);
    assert_int_equal(best, 0);
    list[0].offline = true;
    assert_int_equal(choose(&was, list, 2, true, &best),
                     XLX__HOSTDEV_OFFLINE);
    assert_int_equal(choose(&was, list, 0, true, &best), XLX__HOSTDEV_NONE);
}

/* Two targets that number their disks alike. */
static void twins(void **state)
{
    struct xlx__hostdev_identity list[] = {
        DEVICE("wwid naa.3000000100000001", "beaf11", "IET", "V", GIB,
               "2:0:0:1"),
        DEVICE("wwid naa.3000000100000001", "beaf11", "IET", "V", GIB,
               "3:0:0:1"),
    };
    struct xlx__hostdev_identity was = list[1];
    int best;
    (void)state;

    /* at its address while the host runs; after that nobody knows */
    assert_int_equal(choose(&was, list, 2, true, &best), XLX__HOSTDEV_FOUND);
    assert_int_equal(best, 1);
    assert_int_equal(choose(&was, list, 2, false, &best),
                     XLX__HOSTDEV_AMBIGUOUS);
    list[1].offline = true;
    assert_int_equal(choose(&was, list, 2, true, &best),
                     XLX__HOSTDEV_AMBIGUOUS);
    /* the size decides, and so does a serial number */
    list[1].offline = false;
    list[0].size = 2 * GIB;
    assert_int_equal(choose(&was, list, 2, false, &best), XLX__HOSTDEV_FOUND);
    assert_int_equal(best, 1);
    list[0].size = GIB;
    list[0].serial = "beaf12";
    assert_int_equal(choose(&was, list, 2, false, &best), XLX__HOSTDEV_FOUND);
    assert_int_equal(best, 1);
    /* an old record has neither */
    was.serial = "";
    was.size = 0;
    assert_int_equal(choose(&was, list, 2, false, &best),
                     XLX__HOSTDEV_AMBIGUOUS);
}

/* The only one that is there, and not sure. */
static void alone(void **state)
{
    struct xlx__hostdev_identity was =
        DEVICE("hctl 2:0:0:0", "", "ACME", "Stick", GIB, "2:0:0:0");
    int best;
    (void)state;

    assert_int_equal(choose(&was, &was, 1, true, &best), XLX__HOSTDEV_FOUND);
    assert_int_equal(choose(&was, &was, 1, false, &best),
                     XLX__HOSTDEV_AMBIGUOUS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_pair),
        cmocka_unit_test(paths),
        cmocka_unit_test(twins),
        cmocka_unit_test(alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

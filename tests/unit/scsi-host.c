/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a guest finds the devices of a host adapter that it has as a whole,
 * on adapters as they are: several channels, high target numbers, enclosures.
 */
#include "scsi/scsi.h"
#include "unit.h"

struct device {
    const char *hctl, *type;
    const char *result;             /* the vdev, or part of the reason */
};

static void check(const struct device *devices, int num)
{
    struct xlx__scsi_host_dev devs[300];
    char text[XLX__SCSI_HCTL_MAX];
    struct xlx__scsi_hctl vdev;
    int i;

    memset(devs, 0, sizeof(devs));
    for (i = 0; i < num; i++) {
        assert_true(xlx__scsi_parse_hctl(devices[i].hctl, &devs[i].hctl));
        devs[i].type = devices[i].type;
    }
    xlx__scsi_place_all(devs, num);
    for (i = 0; i < num; i++) {
        if (!devs[i].placed) {
            assert_non_null(strstr(devs[i].why, devices[i].result));
            continue;
        }
        assert_null(devs[i].why);
        assert_string_equal(xlx__scsi_format_hctl(&devs[i].vdev, text),
                            devices[i].result);
        assert_ok(xlx__scsi_parse_vdev(text, &vdev));
    }
}
#define CHECK(...) \
    check((const struct device[]){ __VA_ARGS__ }, \
          (int)(sizeof((const struct device[]){ __VA_ARGS__ }) / \
                sizeof(struct device)))

static void as_they_are(void **state)
{
    (void)state;
    CHECK({ "3:0:0:0", "tape", "3:0:0:0" },
          { "3:0:0:1", "changer", "3:0:0:1" },
          { "3:0:63:254", "disk", "3:0:63:254" });
}

/* A SAS adapter with an expander, or a RAID adapter in passthrough. */
static void channels(void **state)
{
    (void)state;
    CHECK({ "0:0:0:0", "disk", "0:0:0:0" },
          { "0:0:2:0", "disk", "0:0:2:0" },
          { "0:1:0:0", "tape", "0:0:1:0" },
          { "0:1:0:1", "changer", "0:0:1:1" },
          { "0:1:2:0", "disk", "0:0:3:0" },
          { "0:2:0:0", "disk", "0:0:4:0" });
}

static void targets(void **state)
{
    (void)state;
    CHECK({ "0:0:8:0", "disk", "0:0:8:0" },
          { "0:0:64:0", "disk", "0:0:0:0" },
          { "0:0:250:0", "disk", "0:0:1:0" },
          { "0:0:250:7", "disk", "0:0:1:7" });
}

static void luns(void **state)
{
    (void)state;
    CHECK({ "0:0:0:0", "disk", "0:0:0:0" },
          { "0:0:0:2", "disk", "0:0:0:2" },
          { "0:0:0:255", "disk", "0:0:0:1" },
          { "0:0:0:16640", "disk", "0:0:0:3" },
          { "0:0:0:49409", "other", "well-known" },
          { "0:0:0:49665", "disk", "0:0:0:4" });
}

static void left_out(void **state)
{
    (void)state;
    CHECK({ "0:0:0:0", "disk", "0:0:0:0" },
          { "0:0:1:0", "enclosure", "enclosure" },
          { "0:1:0:0", "enclosure", "enclosure" },
          { "0:1:1:0", "disk", "0:0:1:0" });
}

static void full(void **state)
{
    struct device devices[66];
    char names[66][16], results[66][16];
    int i;
    (void)state;

    for (i = 0; i < 66; i++) {
        snprintf(names[i], sizeof(names[i]), "0:%d:%d:0", i > 62, i % 63);
        snprintf(results[i], sizeof(results[i]), "0:0:%d:0", i);
        devices[i] = (struct device){ names[i], "disk", results[i] };
    }
    devices[64].result = devices[65].result = "no free address";
    check(devices, 66);
}

int main(void)
{
    const struct CMUnitTest scsi_host[] = {
        cmocka_unit_test(as_they_are),
        cmocka_unit_test(channels),
        cmocka_unit_test(targets),
        cmocka_unit_test(luns),
        cmocka_unit_test(left_out),
        cmocka_unit_test(full),
    };

    return cmocka_run_group_tests(scsi_host, NULL, NULL);
}

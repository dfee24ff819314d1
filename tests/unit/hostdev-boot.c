/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers of domains in records: they are good for one start of the host, and
 * within it as long as no other guest has the number.
 */
#include <sys/stat.h>

#include "core/xs.h"
#include "peer.h"
#include "scsi/scsi.h"
#include "usb/usb.h"

#define WEB "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10"
#define DB "0b8f3a52-6a0e-4a3c-8f1b-0c9f2c7b6d11"
#define TARGET "naa.5000000000000001"
#define LUN "/local/domain/0/backend/vscsi/7/0/vscsi-devs/dev-0"
#define THIS "11111111-2222-3333-4444-555555555555"
#define BEFORE "99999999-8888-7777-6666-555555555555"

static char *dir;
static xlx_guest web;

/* Domain 7 is the guest with that UUID; it has a LUN of a target that two
 * guests share, and on its port the device of 1-1. */
static void start(const char *uuid)
{
    char *vm = xlx__printf("/local/domain/7/vm=/vm/%s", uuid);

    peer_xenstored(
        "/local/domain/7/domid=7", vm,
        "/local/domain/0/backend/vscsi/7/0/state=1",
        LUN "/v-dev=0:0:0:0", LUN "/p-dev=" TARGET ":0", LUN "/state=1",
        "/libxl/7/device/vusb/0/type=qusb",
        "/libxl/7/device/vusb/0/backend=/local/domain/0/backend/qusb/7/0",
        "/local/domain/0/backend/qusb/7/0/port/1=1-1",
        "/local/domain/0/backend/qusb/7/0/num-ports=4", NULL);
    free(vm);
}

static bool is_there(const char *node)
{
    char *value = NULL;
    int rc = xlx__xs_read(peer_ctx(), XBT_NULL, node, &value);

    xlx__error_clear();
    free(value);
    return !rc;
}

static void record_scsi(xlx_scsi_status status, uint32_t domid,
                        const char *boot)
{
    xlx_scsi_record record;
    xlx_scsi_entry *e;

    xlx_scsi_record_init(&record);
    e = xlx__scsi_record_entries_append(&record);
    assert_non_null(e);
    e->status = status;
    e->domid = domid;
    e->dev.backstore = XLX_SCSI_BACKSTORE_TARGET;
    assert_ok(xlx__set_string(&e->dev.vdev, "0:0:0:0"));
    assert_ok(xlx__set_string(&e->dev.pdev, TARGET ":0"));
    assert_ok(xlx__set_string(&e->identity, "target " TARGET ":0"));
    assert_ok(xlx__set_string(&e->backstore, ""));
    assert_ok(xlx__set_string(&e->target, TARGET));
    assert_ok(xlx__set_string(&e->boot, boot));
    assert_ok(xlx__scsi_record_save(peer_ctx(), &web, &record));
    xlx_scsi_record_dispose(&record);
}

static void record_usb(xlx_usb_status status, uint32_t domid,
                       const char *boot)
{
    xlx_usb_record record;
    xlx_usb_entry *e;

    xlx_usb_record_init(&record);
    e = xlx__usb_record_entries_append(&record);
    assert_non_null(e);
    e->status = status;
    e->domid = domid;
    e->port = 1;
    assert_ok(xlx__set_string(&e->selector, "0951:1666"));
    assert_ok(xlx__set_string(&e->path, "1-1"));
    assert_ok(xlx__set_string(&e->boot, boot));
    assert_ok(xlx__usb_record_save(peer_ctx(), &web, &record));
    xlx_usb_record_dispose(&record);
}

/* How many entries are left, and where the first one is. */
static int scsi_left(uint32_t *domid_r)
{
    xlx_scsi_record record;
    int num;

    xlx_scsi_record_init(&record);
    assert_ok(xlx__scsi_record_load(peer_ctx(), &web.uuid, &record, NULL));
    num = record.num_entries;
    *domid_r = num ? record.entries[0].domid : XLX_DOMID_NONE;
    xlx_scsi_record_dispose(&record);
    return num;
}

static int usb_left(void)
{
    xlx_usb_record record;
    int num;

    xlx_usb_record_init(&record);
    assert_ok(xlx__usb_record_load(peer_ctx(), &web.uuid, &record, NULL));
    num = record.num_entries;
    xlx_usb_record_dispose(&record);
    return num;
}

static void repair_scsi(int findings)
{
    xlx_repair_report report;

    xlx_repair_report_init(&report);
    assert_ok(xlx__scsi_repair(peer_ctx(), &web, false, &report));
    assert_int_equal(report.num_findings, findings);
    xlx_repair_report_dispose(&report);
}

static void repair_usb(int findings)
{
    xlx_repair_report report;

    xlx_repair_report_init(&report);
    assert_ok(xlx__usb_repair(peer_ctx(), &web, false, &report));
    assert_int_equal(report.num_findings, findings);
    xlx_repair_report_dispose(&report);
}

/* ---- tests -------------------------------------------------------------- */

static void this_boot(void **state)
{
    char *boot = NULL;
    (void)state;

    assert_ok(xlx__hostdev_boot(&boot));
    assert_string_equal(boot, THIS);
    assert_false(xlx__hostdev_is_earlier(THIS, boot));
    assert_true(xlx__hostdev_is_earlier(BEFORE, boot));
    assert_true(xlx__hostdev_is_earlier("", boot));
    assert_true(xlx__hostdev_is_earlier(NULL, boot));
    unsetenv("LIBXLX_BOOT_ID");
    assert_ok(xlx__hostdev_boot(&boot));
    assert_int_equal(strlen(boot), LIBXL_UUID_FMTLEN);
    free(boot);
    setenv("LIBXLX_BOOT_ID", THIS, 1);
}

static void domains(void **state)
{
    uint32_t domid = 7;
    (void)state;

    peer_xenstored("/local/domain/7/vm=/vm/" WEB, "/local/domain/8/vm=/vm/" DB,
                   "/local/domain/9/domid=9", "/local/domain/10/vm=nonsense",
                   NULL);
    assert_ok(xlx__hostdev_check_domain(peer_ctx(), &web.uuid, &domid));
    assert_int_equal(domid, 7);
    domid = 6;                          /* it has gone */
    assert_ok(xlx__hostdev_check_domain(peer_ctx(), &web.uuid, &domid));
    assert_int_equal(domid, 6);
    for (domid = 8; domid <= 10; domid++) {
        uint32_t other = domid;

        assert_ok(xlx__hostdev_check_domain(peer_ctx(), &web.uuid, &other));
        assert_int_equal(other, XLX_DOMID_NONE);
    }
    domid = XLX_DOMID_NONE;
    assert_ok(xlx__hostdev_check_domain(peer_ctx(), &web.uuid, &domid));
    assert_int_equal(domid, XLX_DOMID_NONE);
}

/* The guest ended as domain 7, and domain 7 is another guest now, which shares
 * the target. */
static void number_of_another(void **state)
{
    static const xlx_scsi_status status[] = {
        XLX_SCSI_STATUS_ATTACHED, XLX_SCSI_STATUS_ATTACHING,
        XLX_SCSI_STATUS_DETACHING, XLX_SCSI_STATUS_ASIDE,
    };
    static const char *const boots[] = { THIS, BEFORE, "" };
    xlx_scsi_wait wait;
    uint32_t domid;
    size_t i, j;
    (void)state;

    start(DB);
    xlx_scsi_wait_init(&wait);
    wait.timeout = 1;
    for (i = 0; i < XLX__ARRAY_SIZE(status); i++)
        for (j = 0; j < XLX__ARRAY_SIZE(boots); j++) {
            record_scsi(status[i], 7, boots[j]);
            assert_ok(xlx__scsi_detach(peer_ctx(), &web, "0:0:0:0", &wait));
            assert_true(is_there(LUN "/p-dev"));
            assert_int_equal(scsi_left(&domid), 0);
            record_scsi(status[i], 7, boots[j]);
            assert_ok(xlx__scsi_repair(peer_ctx(), &web, false, NULL));
            assert_true(is_there(LUN "/p-dev"));
        }
    record_usb(XLX_USB_STATUS_ATTACHED, 7, THIS);
    repair_usb(1);
    assert_int_equal(usb_left(), 0);
    assert_true(is_there("/local/domain/0/backend/qusb/7/0/port/1"));
    xlx_scsi_wait_dispose(&wait);
}

/* What a domain that has gone left is still removed. */
static void number_of_none(void **state)
{
    uint32_t domid;
    (void)state;

    peer_xenstored("/local/domain/0/backend/vscsi/7/0/state=1",
                   LUN "/v-dev=0:0:0:0", LUN "/p-dev=" TARGET ":0",
                   LUN "/state=1", "/local/domain/0/backend/qusb/7/0/state=1",
                   NULL);
    record_scsi(XLX_SCSI_STATUS_ATTACHED, 7, THIS);
    repair_scsi(1);
    assert_int_equal(scsi_left(&domid), 0);
    assert_false(is_there(LUN "/p-dev"));
    record_usb(XLX_USB_STATUS_ATTACHED, 7, THIS);
    repair_usb(1);
    assert_int_equal(usb_left(), 0);
    assert_false(is_there("/local/domain/0/backend/qusb/7/0"));
}

/* After the host was started again, and before the guest is. */
static void kept(void **state)
{
    uint32_t domid;
    (void)state;

    start(DB);
    record_scsi(XLX_SCSI_STATUS_ATTACHED, 7, BEFORE);
    repair_scsi(0);
    assert_int_equal(scsi_left(&domid), 1);
    record_usb(XLX_USB_STATUS_ATTACHED, 7, BEFORE);
    repair_usb(0);
    assert_int_equal(usb_left(), 1);
    /* one that an older version recorded may be of before */
    record_scsi(XLX_SCSI_STATUS_ATTACHED, 7, "");
    repair_scsi(0);
    assert_int_equal(scsi_left(&domid), 1);
    assert_true(is_there(LUN "/p-dev"));
}

/* A device that was being attached again when the host went down is not one
 * that was set aside for xl restore. */
static void halfway(void **state)
{
    xlx_scsi_record scsi;
    xlx_usb_record usb;
    (void)state;

    record_scsi(XLX_SCSI_STATUS_ASIDE, 7, BEFORE);
    record_usb(XLX_USB_STATUS_ASIDE, 7, BEFORE);
    xlx_scsi_record_init(&scsi);
    xlx_usb_record_init(&usb);
    assert_ok(xlx__scsi_record_read(peer_ctx(), &web.uuid, THIS, &scsi));
    assert_int_equal(scsi.entries[0].domid, XLX_DOMID_NONE);
    assert_int_equal(scsi.entries[0].status, XLX_SCSI_STATUS_ATTACHED);
    assert_ok(xlx__usb_record_read(peer_ctx(), &web.uuid, THIS, &usb));
    assert_int_equal(usb.entries[0].domid, XLX_DOMID_NONE);
    assert_int_equal(usb.entries[0].status, XLX_USB_STATUS_MISSING);
    xlx_scsi_record_dispose(&scsi);
    xlx_usb_record_dispose(&usb);
}

static int setup(void **state)
{
    dir = unit_dir();
    setenv("LIBXLX_SYSFS_DIR", dir, 1);
    setenv("LIBXLX_CONFIGFS_DIR", dir, 1);
    setenv("LIBXLX_BOOT_ID", THIS, 1);
    if (peer_setup(state))
        return -1;
    xlx_guest_init(&web);
    if (libxl_uuid_from_string(&web.uuid, WEB))
        return -1;
    return xlx__set_string(&web.name, "web");
}

static int teardown(void **state)
{
    xlx_guest_dispose(&web);
    peer_teardown(state);
    unit_dir_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(this_boot),
        cmocka_unit_test_teardown(domains, peer_xenstored_stop),
        cmocka_unit_test_teardown(number_of_another, peer_xenstored_stop),
        cmocka_unit_test_teardown(number_of_none, peer_xenstored_stop),
        cmocka_unit_test_teardown(kept, peer_xenstored_stop),
        cmocka_unit_test_teardown(halfway, peer_xenstored_stop),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Targets that another tool removed from under a guest.
 */
#include <sys/stat.h>

#include "core/kernfs.h"
#include "peer.h"
#include "scsi-drivers.h"
#include "scsi-rig.h"

/* ---- removed targets ---------------------------------------------------- */

static void lost(void **state)
{
    xlx_scsi_entry *e = give_at("2:0:0:0");
    (void)state;

    assert_false(xlx__scsi_target_is_lost(e, 5));
    assert_string_equal(mend(false), "");
    delete_lun(e);
    assert_true(xlx__scsi_target_is_lost(e, 5));
    assert_string_equal(xlx_error_get(), "");
    /* those that are not this domain's, or are not to be there */
    assert_false(xlx__scsi_target_is_lost(e, 6));
    assert_false(xlx__scsi_target_is_lost(e, XLX_DOMID_NONE));
    e->domid = XLX_DOMID_NONE;
    assert_false(xlx__scsi_target_is_lost(e, XLX_DOMID_NONE));
    e->domid = 5;
    e->status = XLX_SCSI_STATUS_MISSING;
    assert_false(xlx__scsi_target_is_lost(e, 5));
    assert_string_equal(mend(false), "");
    e->status = XLX_SCSI_STATUS_ATTACHED;
    e->dev.backstore = XLX_SCSI_BACKSTORE_TARGET;
    assert_false(xlx__scsi_target_is_lost(e, 5));
}

static void lun_is_made_again(void **state)
{
    xlx_scsi_entry *e = give_at("2:0:0:0");
    (void)state;

    delete_lun(e);
    says(mend(true), "another tool has removed its target: it would be made "
                     "again");
    assert_true(xlx__scsi_target_is_lost(e, 5));
    mends();
}

/* The backstore that is left has the disk open. */
static void lun_of_a_disk(void **state)
{
    xlx_scsi_entry *e = give_at("3:0:0:0");
    (void)state;

    assert_string_equal(attribute("enable"), "1");
    delete_lun(e);
    mends();
}

static void backstore_is_made_again(void **state)
{
    xlx_scsi_entry *e = give_at("3:0:0:0");
    (void)state;

    delete_backstore(e);
    assert_false(there(OURS));
    mends();
    assert_string_equal(attribute("udev_path"), "/dev/sdx");
    assert_string_equal(attribute("control"),
                        "scsi_host_id=3,scsi_channel_id=0,scsi_target_id=0,"
                        "scsi_lun_id=0");
    assert_string_equal(attribute("enable"), "1");
}

static void nexus_is_made_again(void **state)
{
    xlx_scsi_entry *e = give_at("2:0:0:0");
    char *nexus = xlx__printf("target/xen-pvscsi/%s/tpgt_1/nexus", e->target);
    (void)state;

    assert_int_equal(truncate(path_of(nexus), 0), 0);
    mends();
    free(nexus);
}

/* Another tape is at the address by then. */
static void device_has_moved(void **state)
{
    xlx_scsi_entry *e = give_at("2:0:0:0");
    (void)state;

    delete_backstore(e);
    pull_out("2:0:0:0");
    plug_in("2:0:0:0", "naa.5000c50011111111", false);
    says(mend(false), "it is not there; another device is in its place");
    assert_false(there(OURS));
    assert_true(xlx__scsi_target_is_lost(e, 5));
    plug_in("4:0:0:1", TAPE, false);
    mends();
    assert_string_equal(attribute("control"),
                        "scsi_host_id=4,scsi_channel_id=0,scsi_target_id=0,"
                        "scsi_lun_id=1");
}

/* Nobody but the record kept this host from the disk. */
static void host_uses_it(void **state)
{
    xlx_scsi_entry *e = give_at("3:0:0:0");
    (void)state;

    delete_backstore(e);
    make("class/scsi_device/3:0:0:0/device/block/sdx/holders/dm-0");
    says(mend(false), "this host uses it: sdx is part of dm-0");
    assert_false(there(OURS));
    e->dev.force = true;
    mends();
}

static void group_is_removed(void **state)
{
    xlx_scsi_entry *e = give_at("2:0:0:0");
    char *tpg = xlx__scsi_target_tpg(e);
    char *acl = xlx__printf("%s/acls/xlx-in-use", tpg);
    (void)state;

    delete_lun(e);
    assert_int_equal(rmdir(acl), 0);
    assert_int_equal(rmdir(tpg), 0);
    says(mend(false), "a new one is not used: end the guest with xl destroy");
    assert_int_not_equal(access(tpg, F_OK), 0);
    free(acl);
    free(tpg);
}

/* Another guest has the same backstore, and is not disturbed. */
static void shared(void **state)
{
    xlx_scsi_entry first, second, *e;
    libxl_uuid db;
    (void)state;

    libxl_uuid_from_string(&db, DB);
    describe(&first, &uuid, "3:0:0:0");
    first.dev.shared = true;
    e = give(&first);
    describe(&second, &db, "3:0:0:0");
    second.dev.shared = true;
    assert_ok(xlx__set_string(&second.backstore, e->backstore));
    make_target(&second);

    delete_lun(e);
    assert_ok(xlx__scsi_target_check(&second));
    mends();
    assert_ok(xlx__scsi_target_check(&second));
    assert_ok(xlx__scsi_target_remove(peer_ctx(), &second));
    assert_ok(xlx__scsi_target_check(e));
    xlx_scsi_entry_dispose(&first);
    xlx_scsi_entry_dispose(&second);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lost),
        TEST(lun_is_made_again),
        TEST(lun_of_a_disk),
        TEST(backstore_is_made_again),
        TEST(nexus_is_made_again),
        TEST(device_has_moved),
        TEST(host_uses_it),
        TEST(group_is_removed),
        TEST(shared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

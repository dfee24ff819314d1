/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Backstores under the name of another guest, which shares them, and targets
 * with the names of earlier versions.
 */
#include "core/report.h"
#include "peer.h"
#include "scsi-drivers.h"
#include "scsi-rig.h"

#define ROUNDS 30

/* Makes the target of that guest and removes it, again and again. */
static int come_and_go(const xlx_scsi_entry *e)
{
    struct xlx__scsi_pdev p;
    xlx_ctx *ctx = NULL;
    int i, rc;

    xlx__scsi_pdev_init(&p);
    rc = xlx_ctx_alloc(&ctx, NULL, NULL);
    if (!rc)
        rc = xlx__scsi_find(e->dev.pdev, &p);
    for (i = 0; !rc && i < ROUNDS; i++) {
        rc = xlx__scsi_target_make(ctx, e, &p);
        if (!rc)
            rc = xlx__scsi_target_check(e);
        if (!rc)
            rc = xlx__scsi_target_remove(ctx, e);
        usleep(2000);               /* locks are not handed out in turn */
    }
    if (rc)
        fprintf(stderr, "round %d: %s\n", i, xlx_error_get());
    xlx__scsi_pdev_dispose(&p);
    xlx_ctx_free(ctx);
    return rc;
}

/* Two guests that share a disk are started at the same time, as when the host
 * was started. */
static void shared_at_once(void **state)
{
    xlx_scsi_entry entries[2], *e = entries;
    const char *whose[] = { WEB, DB };
    libxl_uuid id;
    pid_t pids[2];
    int i;
    (void)state;

    for (i = 0; i < 2; i++) {
        libxl_uuid_from_string(&id, whose[i]);
        describe(&e[i], &id, "3:0:0:0");
        e[i].dev.shared = true;
    }
    assert_ok(xlx__set_string(&e[1].backstore, e[0].backstore));
    for (i = 0; i < 2; i++) {
        pids[i] = fork();
        if (!pids[i])
            _exit(come_and_go(&e[i]) != 0);
    }
    i = peer_wait(pids[0]);
    assert_int_equal(peer_wait(pids[1]) + i, 0);
    assert_false(there(OURS));
    xlx_scsi_entry_dispose(&e[0]);
    xlx_scsi_entry_dispose(&e[1]);
}

/* ---- names of earlier versions ------------------------------------------ */

/* As the first versions named it: FNV-1a over the UUID and "0:0". */
static void name_as_before(xlx_scsi_entry *e)
{
    uint64_t value = UINT64_C(0xcbf29ce484222325);
    unsigned char all[19];
    char name[32];
    size_t i;

    memcpy(all, uuid.uuid, 16);
    memcpy(all + 16, "0:0", 3);
    for (i = 0; i < sizeof(all); i++)
        value = (value ^ all[i]) * UINT64_C(0x100000001b3);
    snprintf(name, sizeof(name), "naa.3%015llx",
             (unsigned long long)value & 0x0fffffffffffffffull);
    assert_ok(xlx__set_string(&e->target, name));
}

static xlx_scsi_entry *give_old(char *old, size_t size)
{
    xlx_scsi_entry e, *is;

    describe(&e, &uuid, "2:0:0:0");
    name_as_before(&e);
    snprintf(old, size, "target/xen-pvscsi/%s", e.target);
    is = give(&e);
    assert_true(there(old));
    xlx_scsi_entry_dispose(&e);
    return is;
}

/* The guest that has it keeps it, also when the LUN has to be made again:
 * its adapter knows that name. */
static void old_name_stays(void **state)
{
    xlx_scsi_entry *e;
    char old[100];
    (void)state;

    e = give_old(old, sizeof(old));
    assert_string_equal(mend(false), "");
    delete_lun(e);
    mends();
    assert_non_null(strstr(old, e->target));
}

/* All that settling reports, after the name of the entry. */
static const char *settle(void)
{
    xlx_repair_report report;
    int i;

    xlx_repair_report_init(&report);
    assert_ok(xlx__scsi_settle(&c, false, &report));
    said[0] = '\0';
    for (i = 0; i < report.num_findings; i++)
        snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s: %s;",
                 report.findings[i].what, report.findings[i].done);
    xlx_repair_report_dispose(&report);
    return said;
}

/* The guest is started again: it gets the name of this version, and nothing
 * of the old one is left. */
static void old_name_goes(void **state)
{
    char old[100], now[100];
    xlx_scsi_entry *e;
    (void)state;

    drivers_start(BACKEND | FRONTEND);
    e = give_old(old, sizeof(old));
    e->domid = 4;
    assert_string_equal(settle(), "0:0:0:0: the guest was started again "
                                  "without it: attached again;");
    assert_false(there(old));
    assert_non_null(strstr(e->target, "naa.502786c"));
    snprintf(now, sizeof(now), "target/xen-pvscsi/%s", e->target);
    assert_true(there(now));
    assert_ok(xlx__scsi_target_check(e));
    assert_int_equal(e->domid, 5);
    assert_string_equal(settle(), "");
}

/* Of a target without a record the LUN tells the name. */
static void old_orphan(void **state)
{
    xlx_scsi_entry *e, *ours = NULL;
    libxl_uuid *uuids = NULL;
    char old[100];
    int num = 0;
    (void)state;

    e = give_old(old, sizeof(old));
    assert_ok(xlx__scsi_target_ours(&ours, &uuids, &num));
    assert_int_equal(num, 1);
    assert_int_equal(libxl_uuid_compare(uuids, &uuid), 0);
    assert_string_equal(ours->target, e->target);
    xlx_scsi_entry_dispose(ours);
    free(ours);
    free(uuids);

    xlx__scsi_entry_drop(&c, "0:0:0:0");
    assert_ok(xlx__scsi_record_write(&c));
    assert_string_equal(settle(), "0:0:0:0: a target without a record: "
                                  "removed;");
    assert_false(there(old));
    assert_false(there(OURS));
    assert_false(there("target/core/pscsi_7892088"));
}

/* A backstore that nothing leads to: a killed command has left it. */
static void orphan_without_target(void **state)
{
    xlx_scsi_entry *e = give_at("2:0:0:0");
    char *tpg = xlx__scsi_target_tpg(e);
    (void)state;

    delete_lun(e);
    xlx__scsi_entry_drop(&c, "0:0:0:0");
    assert_ok(xlx__scsi_record_write(&c));
    assert_string_equal(settle(), "0:0:0:0: a target without a record: "
                                  "removed;");
    assert_false(there(OURS));
    assert_int_not_equal(access(tpg, F_OK), 0);
    free(tpg);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(shared_at_once),
        TEST(old_name_stays),
        TEST(old_name_goes),
        TEST(old_orphan),
        TEST(orphan_without_target),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Targets that another tool removed from under a guest, and targets with the
 * names of earlier versions: in the configfs of fake-configfs.c, with a tape
 * and a disk in a sysfs of this test.  The kernel of this test opens a disk
 * exclusively for each backstore that is enabled, as the real one does.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "core/kernfs.h"
#include "core/report.h"
#include "peer.h"
#include "scsi-drivers.h"
#include "scsi/scsi.h"

#define WEB "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10"
#define DB "0b8f3a52-6a0e-4a3c-8f1b-0c9f2c7b6d11"
#define TAPE "naa.5000c500a1b2c3d4"
#define DISK "naa.5000c500ffffffff"
#define OURS "target/core/pscsi_7892088/xlx-" WEB "-0.0.0.0"

static char *folder;
static libxl_uuid uuid;
static struct xlx__scsi_change c;
static char said[600];

/* ---- the host ----------------------------------------------------------- */

/* Below the directory of this test; good for the next few calls. */
static char *path_of(const char *name)
{
    static char ring[4][600];
    static unsigned int next;
    char *path = ring[next++ % 4];

    snprintf(path, sizeof(ring[0]), "%s/%s", folder, name);
    return path;
}

static void make(const char *name)
{
    char *path = path_of(name), *p;

    for (p = path + strlen(folder) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(path, 0755);
    }
    mkdir(path, 0755);
}

static bool there(const char *name)
{
    return !access(path_of(name), F_OK);
}

static void put(const char *dir, const char *name, const char *text)
{
    char *path = xlx__printf("%s/%s", path_of(dir), name);
    FILE *f;

    make(dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static char *device_of(const char *address)
{
    static char dir[100];

    snprintf(dir, sizeof(dir), "class/scsi_device/%s/device", address);
    return dir;
}

static void plug_in(const char *address, const char *wwid, bool disk)
{
    char *dir = device_of(address), *at;

    put(dir, "type", disk ? "0" : "1");
    put(dir, "vendor", "ACME");
    put(dir, "model", disk ? "Disk" : "Tape");
    put(dir, "rev", "1");
    put(dir, "wwid", wwid);
    put(dir, "state", "running\n");
    if (!disk)
        return;
    at = xlx__printf("%s/block/sdx", dir);
    put(at, "dev", "8:112\n");
    put(at, "size", "2048\n");
    free(at);
    put("dev", "sdx", "");
    make("class/block");
    at = xlx__printf("../scsi_device/%s/device/block/sdx", address);
    unlink(path_of("class/block/sdx"));
    assert_int_equal(symlink(at, path_of("class/block/sdx")), 0);
    free(at);
    at = xlx__printf("%s/block/sdx/device", path_of(dir));
    assert_int_equal(symlink("../..", at), 0);
    free(at);
}

/* Its directory is kept, so that no other gets its number. */
static void pull_out(const char *address)
{
    static int removed;
    char *to = xlx__printf("%s/removed-%d", folder, removed++);
    char *from = xlx__printf("class/scsi_device/%s", address);

    assert_int_equal(rename(path_of(from), to), 0);
    unlink(path_of("class/block/sdx"));
    free(from);
    free(to);
}

int __wrap_xlx__hostdev_try_open(const struct xlx__hostdev_node *node,
                                 bool *free_r);
int __wrap_xlx__hostdev_try_open(const struct xlx__hostdev_node *node,
                                 bool *free_r)
{
    char **names, *enable;
    int i, num;

    (void)node;
    *free_r = true;
    assert_ok(xlx__attr_list(&names, &num, NULL,
                             "%s/target/core/pscsi_7892088", folder));
    for (i = 0; i < num; i++) {
        enable = xlx__attr_text("%s/target/core/pscsi_7892088/%s/enable",
                                folder, names[i]);
        if (enable && *enable == '1')
            *free_r = false;
        free(enable);
    }
    free(names);
    return 0;
}

/* ---- a guest with a device ---------------------------------------------- */

/* An entry that was found at the address, with no domain yet. */
static void describe(xlx_scsi_entry *e, const libxl_uuid *whose,
                     const char *address)
{
    static const struct xlx__scsi_hctl vdev = { 0, 0, 0, 0 };
    struct xlx__scsi_pdev p;

    xlx_scsi_entry_init(e);
    xlx__scsi_pdev_init(&p);
    e->dev.backstore = XLX_SCSI_BACKSTORE_PSCSI;
    assert_ok(xlx__set_string(&e->dev.vdev, "0:0:0:0"));
    assert_ok(xlx__set_string(&e->dev.pdev, address));
    assert_ok(xlx__scsi_target_name(whose, &vdev, e));
    assert_ok(xlx__scsi_find(address, &p));
    assert_ok(xlx__scsi_note_device(e, &p));
    e->status = XLX_SCSI_STATUS_ATTACHED;
    xlx__scsi_pdev_dispose(&p);
}

static void make_target(const xlx_scsi_entry *e)
{
    struct xlx__scsi_pdev p;

    xlx__scsi_pdev_init(&p);
    assert_ok(xlx__scsi_find(e->dev.pdev, &p));
    assert_ok(xlx__scsi_target_make(peer_ctx(), e, &p));
    assert_ok(xlx__scsi_target_check(e));
    xlx__scsi_pdev_dispose(&p);
}

/* The guest, domain 5, has the entry's device; its target is made unless it is
 * there. */
static xlx_scsi_entry *give(const xlx_scsi_entry *e)
{
    memset(&c, 0, sizeof(c));
    c.ctx = peer_ctx();
    c.lock.fd = -1;
    xlx_guest_init(&c.guest);
    xlx_scsi_record_init(&c.record);
    assert_ok(xlx__hostdev_boot(&c.boot));
    assert_ok(xlx__set_string(&c.guest.name, "web"));
    c.guest.uuid = uuid;
    c.guest.domid = 5;
    assert_ok(xlx__scsi_entry_append(&c, e));
    assert_ok(xlx__scsi_entry_is_on(&c, c.record.entries, 5));
    make_target(e);
    return c.record.entries;
}

static xlx_scsi_entry *give_at(const char *address)
{
    xlx_scsi_entry e, *is;

    describe(&e, &uuid, address);
    is = give(&e);
    xlx_scsi_entry_dispose(&e);
    return is;
}

/* What mending reports, "" for nothing. */
static const char *mend(bool dry_run)
{
    xlx_repair_report report;
    struct xlx__scsi_repair r = { &c, dry_run, &report, NULL, NULL };

    xlx_repair_report_init(&report);
    assert_ok(xlx__scsi_mend_targets(&r));
    said[0] = '\0';
    if (report.num_findings)
        snprintf(said, sizeof(said), "%s: %s", report.findings[0].what,
                 report.findings[0].done);
    assert_true(report.num_findings <= 1);
    xlx_repair_report_dispose(&report);
    return said;
}

static void says(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\", wanted \"%s\"", text, part);
}

static void mends(void)
{
    assert_string_equal(mend(false), "0:0:0:0: another tool has removed its "
                                     "target: made again");
    assert_ok(xlx__scsi_target_check(c.record.entries));
    assert_string_equal(mend(false), "");
}

/* "targetcli .../luns delete 0" */
static void delete_lun(const xlx_scsi_entry *e)
{
    char *lun = xlx__scsi_target_lun(e), *to = NULL, *link = NULL;

    assert_ok(xlx__scsi_target_link(lun, &to, &link));
    assert_int_equal(unlink(link), 0);
    assert_int_equal(rmdir(lun), 0);
    free(to);
    free(link);
    free(lun);
}

/* "targetcli /backstores/pscsi delete NAME" */
static void delete_backstore(const xlx_scsi_entry *e)
{
    char *path = xlx__printf("target/core/%s", e->backstore);

    delete_lun(e);
    assert_int_equal(rmdir(path_of(path)), 0);
    free(path);
}

/* Of the backstore, without the newline. */
static char *attribute(const char *name)
{
    static char text[300];
    char *is = xlx__attr_text("%s/" OURS "/%s", folder, name);

    assert_non_null(is);
    snprintf(text, sizeof(text), "%s", is);
    free(is);
    return text;
}

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
    char *nexus = xlx__printf("%s/target/xen-pvscsi/%s/tpgt_1/nexus", folder,
                              e->target);
    (void)state;

    assert_int_equal(truncate(nexus, 0), 0);
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
    assert_ok(xlx__scsi_target_remove(&second));
    assert_ok(xlx__scsi_target_check(e));
    xlx_scsi_entry_dispose(&first);
    xlx_scsi_entry_dispose(&second);
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

/* ---- ------------------------------------------------------------------- */

static int begin(void **state)
{
    if (peer_setup(state))
        return -1;
    folder = unit_folder();
    setenv("LIBXLX_SYSFS_DIR", folder, 1);
    setenv("LIBXLX_CONFIGFS_DIR", folder, 1);
    setenv("LIBXLX_DEV_DIR", path_of("dev"), 1);
    setenv("LIBXLX_PROC_DIR", path_of("proc"), 1);
    make("target/core");
    make("target/xen-pvscsi");
    make("module/target_core_pscsi");
    make("bus/xen-backend/drivers/vscsi");
    make("proc/1");
    make("proc/self/ns");
    put("proc/sys/kernel/random", "boot_id",
        "11111111-2222-3333-4444-555555555555\n");
    if (symlink("mnt:[1]", path_of("proc/self/ns/mnt")))
        return -1;
    plug_in("2:0:0:0", TAPE, false);
    plug_in("3:0:0:0", DISK, true);
    peer_xenstored("/local/domain/5/device=", "/local/domain/5/domid=5",
                   "/local/domain/5/vm=/vm/" WEB, NULL);
    return libxl_uuid_from_string(&uuid, WEB);
}

static int end(void **state)
{
    static const char *const variables[] = {
        "LIBXLX_SYSFS_DIR", "LIBXLX_CONFIGFS_DIR", "LIBXLX_DEV_DIR",
        "LIBXLX_PROC_DIR",
    };
    size_t i;

    drivers_stop();
    c.record.num_entries = 0;
    xlx__scsi_record_write(&c);
    c.record.num_entries = 1;
    xlx__scsi_end(&c);
    for (i = 0; i < XLX__ARRAY_SIZE(variables); i++)
        unsetenv(variables[i]);
    peer_xenstored_stop(state);
    unit_folder_remove(folder);
    return peer_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest scsi_mend[] = {
        TEST(lost),
        TEST(lun_is_made_again),
        TEST(lun_of_a_disk),
        TEST(backstore_is_made_again),
        TEST(nexus_is_made_again),
        TEST(device_has_moved),
        TEST(host_uses_it),
        TEST(group_is_removed),
        TEST(shared),
        TEST(old_name_stays),
        TEST(old_name_goes),
        TEST(old_orphan),
        TEST(orphan_without_target),
    };

    return cmocka_run_group_tests(scsi_mend, NULL, NULL);
}

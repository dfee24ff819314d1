/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A recorded device is found again wherever it is, and another one in its
 * place is not taken for it; and whose a device is, also when one of the
 * records cannot be read.
 */
#include <sys/stat.h>

#include "gen-records.h"
#include "scsi/scsi.h"
#include "unit.h"

#define THIS "11111111-2222-3333-4444-555555555555"
#define BEFORE "99999999-8888-7777-6666-555555555555"
#define WWID "naa.5000c500a1b2c3d4"

static char *dir;
static xlx_ctx *ctx;

static void put(const char *value, size_t len, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A file below the directory of the test; len 0: all of the text. */
static void put(const char *value, size_t len, const char *fmt, ...)
{
    char name[200], *path, *p;
    va_list ap;
    FILE *f;

    va_start(ap, fmt);
    vsnprintf(name, sizeof(name), fmt, ap);
    va_end(ap);
    path = xlx__printf("%s/%s", dir, name);
    for (p = path + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
    f = fopen(path, "w");
    assert_non_null(f);
    fwrite(value, 1, len ? len : strlen(value), f);
    fclose(f);
    free(path);
}

/* A disk at that address; gib is its size. */
static void disk(const char *hctl, const char *wwid, const char *serial,
                 const char *model, int gib, const char *state)
{
    char page[64] = { 0, (char)0x80, 0, (char)strlen(serial) }, sectors[32];

    put("0\n", 0, "class/scsi_device/%s/device/type", hctl);
    put("ACME\n", 0, "class/scsi_device/%s/device/vendor", hctl);
    put(model, 0, "class/scsi_device/%s/device/model", hctl);
    put("1\n", 0, "class/scsi_device/%s/device/rev", hctl);
    put(state, 0, "class/scsi_device/%s/device/state", hctl);
    if (*wwid)
        put(wwid, 0, "class/scsi_device/%s/device/wwid", hctl);
    memcpy(page + 4, serial, strlen(serial));
    put(page, 4 + strlen(serial), "class/scsi_device/%s/device/vpd_pg80",
        hctl);
    put("", 0, "class/scsi_device/%s/device/block/sd%.1s/x", hctl, hctl);
    snprintf(sectors, sizeof(sectors), "%d\n", gib * 2097152);
    put(sectors, 0, "class/block/sd%.1s/size", hctl);
    put("", 0, "class/block/sd%.1s/partition", hctl);
}

static void unplug(const char *hctl)
{
    char *path = xlx__printf("%s/class/scsi_device/%s", dir, hctl);

    unit_dir_remove(path);
}

static xlx_scsi_entry record(const char *pdev, const char *boot)
{
    struct xlx__scsi_pdev p;
    xlx_scsi_entry e;

    xlx__scsi_pdev_init(&p);
    xlx_scsi_entry_init(&e);
    assert_ok(xlx__scsi_find(pdev, &p));
    assert_ok(xlx__scsi_note_device(&e, &p));
    assert_ok(xlx__set_string(&e.dev.vdev, "0:0:0:0"));
    assert_ok(xlx__set_string(&e.dev.pdev, pdev));
    assert_ok(xlx__set_string(&e.boot, boot));
    e.status = XLX_SCSI_STATUS_ATTACHED;
    xlx__scsi_pdev_dispose(&p);
    return e;
}

static void is_at(const xlx_scsi_entry *e, const char *where)
{
    struct xlx__scsi_pdev p;

    xlx__scsi_pdev_init(&p);
    assert_ok(xlx__scsi_find_again(e, THIS, &p));
    assert_string_equal(*p.unit.hctl ? p.unit.hctl : p.unit.path, where);
    xlx__scsi_pdev_dispose(&p);
}

static void is_nowhere(const xlx_scsi_entry *e, int rc, const char *text,
                       const char *more)
{
    struct xlx__scsi_pdev p;

    xlx__scsi_pdev_init(&p);
    assert_fails(xlx__scsi_find_again(e, THIS, &p), rc, text);
    assert_non_null(strstr(xlx_error_get(), more));
    xlx__scsi_pdev_dispose(&p);
}

/* ---- tests -------------------------------------------------------------- */

static void moved(void **state)
{
    xlx_scsi_entry e;
    (void)state;

    disk("2:0:0:0", WWID, "S1", "X", 4, "running");
    e = record(WWID, THIS);
    is_at(&e, "2:0:0:0");
    /* a second path: the recorded one is taken while it works */
    disk("1:0:0:0", WWID, "S1", "X", 4, "running");
    is_at(&e, "2:0:0:0");
    disk("2:0:0:0", WWID, "S1", "X", 4, "transport-offline");
    is_at(&e, "1:0:0:0");
    disk("1:0:0:0", WWID, "S1", "X", 4, "offline");
    is_nowhere(&e, ERROR_NOTFOUND, "taken it offline", "0:0:0");
    unplug("1:0:0:0");
    /* the same address, another disk */
    disk("2:0:0:0", WWID, "S2", "X", 4, "running");
    is_nowhere(&e, ERROR_NOTFOUND, "another device is in its place",
               "serial S2");
    unplug("2:0:0:0");
    is_nowhere(&e, ERROR_NOTFOUND, "no device of this host", WWID);
    xlx_scsi_entry_dispose(&e);
}

/* Two targets export disks of one identifier. */
static void twice(void **state)
{
    const char *wwid = "naa.3000000100000001";
    struct xlx__scsi_pdev p;
    xlx_scsi_entry e;
    (void)state;

    disk("1:0:0:1", wwid, "beaf11", "X", 4, "running");
    disk("2:0:0:1", wwid, "beaf11", "X", 4, "running");
    e = record("2:0:0:1", THIS);
    is_at(&e, "2:0:0:1");
    assert_ok(xlx__set_string(&e.boot, BEFORE));
    is_nowhere(&e, ERROR_INVAL, "2:0:0:1 ACME X", "1:0:0:1 ACME X");
    disk("1:0:0:1", wwid, "beaf12", "X", 4, "running");
    is_at(&e, "2:0:0:1");
    /* a user who names it by that must say which */
    xlx__scsi_pdev_init(&p);
    assert_fails(xlx__scsi_find(wwid, &p), ERROR_INVAL,
                 "more than one device");
    xlx__scsi_pdev_dispose(&p);
    unplug("1:0:0:1");
    unplug("2:0:0:1");
    xlx_scsi_entry_dispose(&e);
}

static void without_identifier(void **state)
{
    xlx_scsi_entry e;
    (void)state;

    disk("3:0:0:0", "", "", "Stick", 1, "running");
    e = record("3:0:0:0", THIS);
    is_at(&e, "3:0:0:0");
    disk("3:0:0:0", "", "", "DVD", 1, "running");
    is_nowhere(&e, ERROR_NOTFOUND, "another device is in its place", "DVD");
    disk("3:0:0:0", "", "", "Stick", 2, "running");
    is_nowhere(&e, ERROR_NOTFOUND, "another device is in its place", "bytes");
    disk("3:0:0:0", "", "", "Stick", 1, "running");
    assert_ok(xlx__set_string(&e.boot, BEFORE));
    is_nowhere(&e, ERROR_INVAL, "3:0:0:0 ACME Stick", "or another one");
    unplug("3:0:0:0");
    xlx_scsi_entry_dispose(&e);
}

static void block(const char *name, const char *attr, const char *value,
                  const char *dev, int gib)
{
    char sectors[32];

    snprintf(sectors, sizeof(sectors), "%d\n", gib * 2097152);
    put(sectors, 0, "class/block/%s/size", name);
    put(dev, 0, "class/block/%s/dev", name);
    if (attr)
        put(value, 0, "class/block/%s/%s", name, attr);
}

static void note_block(const char *name, const char *boot, xlx_scsi_entry *e)
{
    struct xlx__scsi_pdev p;

    xlx__scsi_pdev_init(&p);
    xlx_scsi_entry_init(e);
    assert_ok(xlx__scsi_set_block(&p, name));
    assert_ok(xlx__scsi_note_device(e, &p));
    assert_ok(xlx__set_string(&e->dev.pdev, "/dev/some"));
    assert_ok(xlx__set_string(&e->boot, boot));
    xlx__scsi_pdev_dispose(&p);
}

static void remove_block(const char *name)
{
    unit_dir_remove(xlx__printf("%s/class/block/%s", dir, name));
}

/* Volumes, arrays, NVMe, multipath maps, loops: their numbers change. */
static void other_disks(void **state)
{
    static const struct { const char *attr, *one, *two, *kind; } kinds[] = {
        { "dm/uuid", "LVM-abc", "LVM-abd", "dm LVM-abc" },
        { "dm/uuid", "mpath-36", "mpath-37", "dm mpath-36" },
        { "md/uuid", "1-2", "1-3", "md 1-2" },
        { "wwid", "eui.0025388b", "eui.0025388c", "wwid eui.0025388b" },
        { "loop/backing_file", "/a.img", "/b.img", "loop /a.img" },
    };
    xlx_scsi_entry e;
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(kinds); i++) {
        block("one", kinds[i].attr, kinds[i].one, "253:0", 1);
        block("two", kinds[i].attr, kinds[i].two, "253:1", 1);
        note_block("one", BEFORE, &e);
        assert_string_equal(e.identity, kinds[i].kind);
        is_at(&e, "/dev/one");
        block("one", kinds[i].attr, kinds[i].two, "253:0", 1);
        block("two", kinds[i].attr, kinds[i].one, "253:1", 1);
        is_at(&e, "/dev/two");
        remove_block("two");
        is_nowhere(&e, ERROR_NOTFOUND, "another device is in its place",
                   "/dev/one");
        remove_block("one");
        xlx_scsi_entry_dispose(&e);
    }
}

/* The number is good until the host is started again. */
static void number_alone(void **state)
{
    xlx_scsi_entry e;
    (void)state;

    block("one", NULL, NULL, "252:0", 1);
    note_block("one", THIS, &e);
    assert_string_equal(e.identity, "block 252:0");
    is_at(&e, "/dev/one");
    assert_ok(xlx__set_string(&e.boot, BEFORE));
    is_nowhere(&e, ERROR_INVAL, "/dev/one", "or another one");
    assert_ok(xlx__set_string(&e.boot, THIS));
    block("one", NULL, NULL, "252:0", 2);
    is_nowhere(&e, ERROR_NOTFOUND, "another device is in its place", "one");
    remove_block("one");
    xlx_scsi_entry_dispose(&e);
}

static void files(void **state)
{
    char *path = xlx__printf("%s/lun", dir);
    char *other = xlx__printf("%s/other", dir);
    xlx_scsi_entry e;
    (void)state;

    put("", 0, "lun");
    assert_int_equal(truncate(path, 512), 0);
    e = record(path, THIS);
    is_at(&e, path);
    /* mounted again, with another number */
    assert_ok(xlx__set_string(&e.boot, BEFORE));
    free(e.identity);
    e.identity = NULL;
    {
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        e.identity = xlx__printf("file 0:999:%lu", (unsigned long)st.st_ino);
    }
    is_at(&e, path);
    /* replaced */
    put("", 0, "other");
    assert_int_equal(truncate(other, 512), 0);
    assert_int_equal(rename(other, path), 0);
    is_nowhere(&e, ERROR_NOTFOUND, "another file is at that path", "detach");
    unlink(path);
    xlx_scsi_entry_dispose(&e);
    free(path);
    free(other);
}

/* ---- whose it is -------------------------------------------------------- */

static void save(const char *uuid, const char *name, xlx_scsi_entry *e)
{
    xlx_scsi_record r;
    xlx_guest guest;

    xlx_guest_init(&guest);
    assert_int_equal(libxl_uuid_from_string(&guest.uuid, uuid), 0);
    assert_ok(xlx__set_string(&guest.name, name));
    xlx_scsi_record_init(&r);
    r.entries = e;
    r.num_entries = 1;
    assert_ok(xlx__scsi_record_save(ctx, &guest, &r));
    xlx_guest_dispose(&guest);
}

static int owner_of(const char *pdev, char name[40])
{
    struct xlx__scsi_pdev p;
    xlx_scsi_entry e;
    xlx_guest guest;
    int rc;

    xlx__scsi_pdev_init(&p);
    xlx_scsi_entry_init(&e);
    xlx_guest_init(&guest);
    assert_ok(xlx__scsi_find(pdev, &p));
    rc = xlx__scsi_owner(ctx, &p, &e, &guest);
    snprintf(name, 40, "%s", xlx__text(guest.name));
    xlx_guest_dispose(&guest);
    xlx_scsi_entry_dispose(&e);
    xlx__scsi_pdev_dispose(&p);
    return rc;
}

#define WEB "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10"
#define DB "0b8f3a52-6a0e-4a3c-8f1b-0c9f2c7b6d11"

static void owners(void **state)
{
    xlx_scsi_entry e;
    char name[40];
    (void)state;

    disk("4:0:0:0", WWID, "S1", "X", 4, "running");
    disk("5:0:0:0", WWID, "S2", "X", 4, "running");
    disk("6:0:0:0", "naa.5000c500a1b2c3d9", "S3", "X", 4, "running");
    e = record("4:0:0:0", THIS);
    save(WEB, "web", &e);
    assert_ok(owner_of("4:0:0:0", name));
    assert_string_equal(name, "web");
    /* another disk with its identifier is free */
    assert_int_equal(owner_of("5:0:0:0", name), ERROR_NOTFOUND);

    /* a record that cannot be read keeps back what it names, and no more */
    put("{ \"entries\": [ { \"identity\": \"wwid naa.5000c500a1b2c3d9\", } }",
        0, "state/" DB "/scsi.json");
    assert_ok(owner_of("4:0:0:0", name));
    assert_int_equal(owner_of("5:0:0:0", name), ERROR_NOTFOUND);
    assert_int_equal(owner_of("6:0:0:0", name), ERROR_INVAL);
    assert_non_null(strstr(xlx_error_get(), DB "/scsi.json, or move it"));
    /* one of which a part is lost may have named anything */
    put("{ \"entries\": [ ", 0, "state/" DB "/scsi.json");
    assert_int_equal(owner_of("5:0:0:0", name), ERROR_INVAL);
    put("nonsense }", 0, "state/" DB "/guest.json");
    put("{ nonsense }", 0, "state/" DB "/scsi.json");
    assert_int_equal(owner_of("5:0:0:0", name), ERROR_NOTFOUND);
    xlx_scsi_entry_dispose(&e);
}

static int setup(void **state)
{
    (void)state;
    dir = unit_dir();
    setenv("LIBXLX_SYSFS_DIR", dir, 1);
    setenv("LIBXLX_DEV_DIR", dir, 1);
    setenv("LIBXLX_BOOT_ID", THIS, 1);
    ctx = unit_ctx(dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    xlx_ctx_free(ctx);
    unit_dir_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moved),
        cmocka_unit_test(twice),
        cmocka_unit_test(without_identifier),
        cmocka_unit_test(other_disks),
        cmocka_unit_test(number_alone),
        cmocka_unit_test(files),
        cmocka_unit_test(owners),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Addresses of SCSI devices as text, and how a device is found from what the
 * user calls it, in a sysfs of our own.
 */
#include <sys/stat.h>

#include "scsi/scsi.h"
#include "unit.h"

static char *dir;

/* ---- text --------------------------------------------------------------- */

static void hctl(void **state)
{
    static const char *const wrong[] = {
        "", ":", "0", "0:0:0", "0:0:0:", ":0:0:0", "0:0:0:0:0", "0:0:0:0 ",
        " 0:0:0:0", "0: 0:0:0", "+1:0:0:0", "0:0:0:-1", "0:0:0:0x10",
        "4294967296:0:0:0", "0:0:0:18446744073709551616", "0:0:0:1e1",
        "0.0.0.0", "0:0:0:0\n", "\xd9\xa1:0:0:0",
    };
    char text[XLX__SCSI_HCTL_MAX];
    struct xlx__scsi_hctl h;
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(wrong); i++)
        if (xlx__scsi_parse_hctl(wrong[i], &h))
            fail_msg("\"%s\" was taken", wrong[i]);
    assert_true(xlx__scsi_parse_hctl(
        "4294967295:0:7:18446744073709551615", &h));
    assert_int_equal(h.host, UINT32_MAX);
    assert_true(h.lun == UINT64_MAX);
    assert_string_equal(xlx__scsi_format_hctl(&h, text),
                        "4294967295:0:7:18446744073709551615");
    assert_true(xlx__scsi_parse_hctl("01:0:002:010", &h));
    assert_string_equal(xlx__scsi_format_hctl(&h, text), "1:0:2:10");
}

static void vdev(void **state)
{
    struct xlx__scsi_hctl h;
    (void)state;

    assert_ok(xlx__scsi_parse_vdev("0:0:0:0", &h));
    assert_ok(xlx__scsi_parse_vdev("65535:0:63:254", &h));
    assert_int_equal(h.target, 63);
    assert_fails(xlx__scsi_parse_vdev("0:1:0:0", &h), ERROR_INVAL,
                 "channel 0 only");
    assert_fails(xlx__scsi_parse_vdev("0:0:64:0", &h), ERROR_INVAL,
                 "targets up to 63");
    assert_fails(xlx__scsi_parse_vdev("0:0:0:255", &h), ERROR_INVAL,
                 "LUNs up to 254");
    assert_fails(xlx__scsi_parse_vdev("65536:0:0:0", &h), ERROR_INVAL,
                 "at most 65535");
    assert_fails(xlx__scsi_parse_vdev("host", &h), ERROR_INVAL,
                 "\"host\": must be four numbers");
    /* the failed ones left it alone */
    assert_int_equal(h.target, 63);
}

static void adapter(void **state)
{
    static const char *const bad[] = {
        "", "host", "-1", "1 ", "0x1", "65536", "4294967296", "1:", "0:0:0:0",
    };
    uint32_t number = 7;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(bad); i++)
        assert_false(xlx__scsi_parse_adapter(bad[i], &number));
    assert_int_equal(number, 7);
    assert_true(xlx__scsi_parse_adapter("0", &number));
    assert_int_equal(number, 0);
    assert_true(xlx__scsi_parse_adapter("65535", &number));
    assert_int_equal(number, 65535);
}

static void spellings(void **state)
{
    static const struct {
        const char *pdev;
        enum xlx__scsi_spelling spelling;
    } good[] = {
        { "2:0:0:1", XLX__SCSI_BY_HCTL },
        { "/dev/sda", XLX__SCSI_BY_PATH },
        { "/dev/disk/by-path/pci-0000:00:1f.2-ata-1", XLX__SCSI_BY_PATH },
        { "sda", XLX__SCSI_BY_ID },
        { "35000c500a1b2c3d4", XLX__SCSI_BY_ID },
        { "naa.5000c500a1b2c3d4", XLX__SCSI_BY_ID },
        { "naa.5000C500a1b2c3d4:0", XLX__SCSI_TARGET },
        { "naa.1:254", XLX__SCSI_TARGET },
    };
    static const char *const bad[] = {
        "", ":0", "naa.:0", "naa.X:0", "naa.1:", "naa.1:255", "naa.1:-1",
        "naa.1:0x1", "naa.1 :0", "naa.1:0:0", "1:2:3", "0:0:0:-1",
        "0:0:0:0x10", "1:2:3:4:5", "dev/sda", "sda\n", "s\tda", "sd\x7f",
        "naa.55555555555555555555555555555:0", "../sda",
    };
    enum xlx__scsi_spelling spelling;
    struct xlx__scsi_hctl h;
    char *text;
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(good); i++) {
        assert_ok(xlx__scsi_spelling(good[i].pdev, &spelling, &h));
        assert_int_equal(spelling, good[i].spelling);
    }
    assert_true(h.lun == 254);
    for (i = 0; i < XLX__ARRAY_SIZE(bad); i++)
        assert_fails(xlx__scsi_spelling(bad[i], &spelling, &h), ERROR_INVAL,
                     "pdev");
    text = malloc(5001);
    memset(text, 'a', 5000);
    text[5000] = '\0';
    assert_fails(xlx__scsi_spelling(text, &spelling, &h), ERROR_INVAL,
                 "longer than");
    free(text);
}

/* ---- a sysfs ------------------------------------------------------------ */

static void put(const char *address, const char *name, const char *value,
                size_t len)
{
    char *path = xlx__printf("%s/class/scsi_device/%s/device/%s", dir,
                             address, name), *p;
    FILE *f;

    for (p = path + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
    if (value) {
        f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(value, 1, len, f), len);
        fclose(f);
    } else {
        assert_int_equal(mkdir(path, 0755), 0);
    }
    free(path);
}

static void put_text(const char *address, const char *name, const char *text)
{
    put(address, name, text, strlen(text));
}

static void put_unit(const char *address, const char *type,
                     const char *wwid, const char *node)
{
    put_text(address, "type", type);
    put_text(address, "vendor", "ACME    \n");
    put_text(address, "model", "Disk of Doom   \n");
    put_text(address, "rev", "1.0 \n");
    if (wwid)
        put_text(address, "wwid", wwid);
    if (node)
        put(address, node, NULL, 0);
}

static int make_sysfs(void **state)
{
    (void)state;
    dir = unit_dir();
    setenv("LIBXLX_SYSFS_DIR", dir, 1);
    put_unit("2:0:0:0", "0\n", "naa.5000c500a1b2c3d4\n", "block/sdb");
    put("2:0:0:0", "scsi_generic/sg1", NULL, 0);
    put("2:0:0:0", "vpd_pg80", "\0\x80\0\x08  SER1  ", 12);
    /* the second path to it */
    put_unit("3:0:0:0", "0\n", "naa.5000c500a1b2c3d4\n", "block/sdc");
    put_unit("10:0:0:0", "1\n", "t10.ACME    Tape  7\n", "scsi_tape/nst0");
    put("10:0:0:0", "scsi_tape/st0a", NULL, 0);
    put("10:0:0:0", "scsi_tape/st0", NULL, 0);
    put("10:0:0:0", "scsi_generic/sg3", NULL, 0);
    put_unit("10:0:1:0", "8\n", NULL, "scsi_generic/sg4");
    /* two disks of one array, which has one serial number */
    put_unit("11:0:0:0", "0\n", "naa.60\n", "block/sdd");
    put_unit("11:0:0:1", "0\n", "naa.61\n", "block/sde");
    put("11:0:0:0", "vpd_pg80", "\0\x80\0\x04SAME", 8);
    put("11:0:0:1", "vpd_pg80", "\0\x80\0\x04SAME", 8);
    return 0;
}

static int remove_sysfs(void **state)
{
    (void)state;
    unsetenv("LIBXLX_SYSFS_DIR");
    unit_dir_remove(dir);
    return 0;
}

static void all_units(void **state)
{
    struct xlx__scsi_hctl *list;
    char text[XLX__SCSI_HCTL_MAX];
    int num;
    (void)state;

    assert_ok(xlx__scsi_units(&list, &num));
    assert_int_equal(num, 6);
    /* by number, not by letter: 10 after 3 */
    assert_string_equal(xlx__scsi_format_hctl(&list[2], text), "10:0:0:0");
    free(list);
}

static void one_unit(void **state)
{
    struct xlx__scsi_pdev p;
    (void)state;

    xlx__scsi_pdev_init(&p);
    assert_ok(xlx__scsi_find("2:0:0:0", &p));
    assert_string_equal(p.unit.type, "disk");
    assert_string_equal(p.unit.vendor, "ACME");
    assert_string_equal(p.unit.model, "Disk of Doom");
    assert_string_equal(p.unit.revision, "1.0");
    assert_string_equal(p.unit.path, "/dev/sdb");
    assert_string_equal(p.unit.generic, "/dev/sg1");
    assert_string_equal(p.block, "sdb");
    assert_string_equal(p.identity, "wwid naa.5000c500a1b2c3d4");
    xlx__scsi_pdev_dispose(&p);

    assert_ok(xlx__scsi_find("10:0:0:0", &p));
    assert_string_equal(p.unit.type, "tape");
    assert_string_equal(p.unit.path, "/dev/st0");
    assert_string_equal(p.block, "");
    xlx__scsi_pdev_dispose(&p);

    /* what has no identifier goes by its address */
    assert_ok(xlx__scsi_find("10:0:1:0", &p));
    assert_string_equal(p.unit.type, "changer");
    assert_string_equal(p.unit.path, "/dev/sg4");
    assert_string_equal(p.identity, "hctl 10:0:1:0");
    xlx__scsi_pdev_dispose(&p);

    assert_fails(xlx__scsi_find("4:0:0:0", &p), ERROR_NOTFOUND,
                 "no SCSI device at that address");
    xlx__scsi_pdev_dispose(&p);
}

static void by_identifier(void **state)
{
    static const struct {
        const char *id, *hctl;
    } good[] = {
        { "naa.5000c500a1b2c3d4", "2:0:0:0" },  /* two paths: the first */
        { "35000c500a1b2c3d4", "2:0:0:0" },     /* as scsi_id has it */
        { "SER1", "2:0:0:0" },
        { "t10.ACME    Tape  7", "10:0:0:0" },
        { "1ACME_Tape_7", "10:0:0:0" },
        { "naa.61", "11:0:0:1" },
    };
    static const char *const bad[] = {
        "naa.5000c500a1b2c3d", "5000c500a1b2c3d4", "25000c500a1b2c3d4",
        "1ACME_Tape_", "1ACME_Tape_77", "SER", "SER1  ", "3", "wwid",
    };
    struct xlx__scsi_pdev p;
    size_t i;
    (void)state;

    xlx__scsi_pdev_init(&p);
    for (i = 0; i < XLX__ARRAY_SIZE(good); i++) {
        assert_ok(xlx__scsi_find(good[i].id, &p));
        assert_string_equal(p.unit.hctl, good[i].hctl);
        xlx__scsi_pdev_dispose(&p);
    }
    for (i = 0; i < XLX__ARRAY_SIZE(bad); i++) {
        assert_fails(xlx__scsi_find(bad[i], &p), ERROR_NOTFOUND, bad[i]);
        xlx__scsi_pdev_dispose(&p);
    }
    assert_fails(xlx__scsi_find("SAME", &p), ERROR_INVAL,
                 "more than one device");
    xlx__scsi_pdev_dispose(&p);

    assert_ok(xlx__scsi_find("naa.50:7", &p));
    assert_string_equal(p.target, "naa.50");
    assert_int_equal(p.lun, 7);
    assert_string_equal(p.identity, "target naa.50:7");
    xlx__scsi_pdev_dispose(&p);
}

static void files(void **state)
{
    char *path = xlx__printf("%s/lun", dir);
    char *comma = xlx__printf("%s/a,b", dir);
    char *dangling = xlx__printf("%s/dangling", dir);
    struct xlx__scsi_pdev p;
    FILE *f = fopen(path, "w");
    (void)state;

    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), 1024), 0);
    xlx__scsi_pdev_init(&p);
    assert_ok(xlx__scsi_find(path, &p));
    assert_string_equal(p.unit.type, "file");
    assert_true(p.size == 1024);
    assert_string_equal(p.unit.hctl, "");
    xlx__scsi_pdev_dispose(&p);
    assert_int_equal(ftruncate(fileno(f), 1000), 0);
    assert_fails(xlx__scsi_find(path, &p), ERROR_INVAL, "multiple of 512");
    xlx__scsi_pdev_dispose(&p);
    assert_int_equal(ftruncate(fileno(f), 512), 0);
    fclose(f);
    assert_int_equal(rename(path, comma), 0);
    assert_fails(xlx__scsi_find(comma, &p), ERROR_INVAL, "comma");
    xlx__scsi_pdev_dispose(&p);
    assert_int_equal(symlink("/nonexistent", dangling), 0);
    assert_fails(xlx__scsi_find(dangling, &p), ERROR_NOTFOUND, "No such");
    xlx__scsi_pdev_dispose(&p);
    assert_fails(xlx__scsi_find(dir, &p), ERROR_INVAL,
                 "neither a device nor a file");
    xlx__scsi_pdev_dispose(&p);
    assert_fails(xlx__scsi_find("/dev/null", &p), ERROR_INVAL,
                 "not a SCSI device");
    xlx__scsi_pdev_dispose(&p);
    free(path);
    free(comma);
    free(dangling);
}

/* ---- names of targets --------------------------------------------------- */

static void names(void **state)
{
    struct xlx__scsi_hctl a = { 0, 0, 1, 2 }, b = { 0, 0, 1, 3 },
                          c = { 0, 0, 2, 2 }, d = { 1, 0, 1, 2 };
    xlx_scsi_entry e, f;
    libxl_uuid one, two;
    (void)state;

    libxl_uuid_from_string(&one, "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10");
    libxl_uuid_from_string(&two, "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a11");
    xlx_scsi_entry_init(&e);
    xlx_scsi_entry_init(&f);
    e.dev.backstore = f.dev.backstore = XLX_SCSI_BACKSTORE_IBLOCK;
    assert_ok(xlx__scsi_target_name(&one, &a, &e));
    assert_string_equal(e.backstore, "iblock_7892088/xlx-5e1c7d7e-8c2b-4b7e-"
                        "9d55-7d3b8c1f4a10-0.0.1.2");
    assert_int_equal(strlen(e.target), 4 + 16);
    assert_memory_equal(e.target, "naa.502786c", 11);
    assert_int_equal(e.lun, 2);
    /* a record that is written now is read by later versions */
    assert_string_equal(e.target, "naa.502786c464811098");
    /* the LUNs of one target number are in one target, and no others */
    assert_ok(xlx__scsi_target_name(&one, &b, &f));
    assert_string_equal(e.target, f.target);
    assert_string_not_equal(e.backstore, f.backstore);
    assert_ok(xlx__scsi_target_name(&one, &c, &f));
    assert_string_not_equal(e.target, f.target);
    assert_ok(xlx__scsi_target_name(&one, &d, &f));
    assert_string_not_equal(e.target, f.target);
    assert_ok(xlx__scsi_target_name(&two, &a, &f));
    assert_string_not_equal(e.target, f.target);
    xlx_scsi_entry_dispose(&e);
    xlx_scsi_entry_dispose(&f);
}

int main(void)
{
    const struct CMUnitTest scsi_address[] = {
        cmocka_unit_test(hctl),
        cmocka_unit_test(vdev),
        cmocka_unit_test(adapter),
        cmocka_unit_test(spellings),
        cmocka_unit_test(all_units),
        cmocka_unit_test(one_unit),
        cmocka_unit_test(by_identifier),
        cmocka_unit_test(files),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(scsi_address, make_sysfs, remove_sysfs);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whose a target and a backstore in configfs are.  Plain directories represent
 * the kernel's: what is made and removed there is tried in tests/xen-host.
 */
#include <sys/stat.h>

#include "scsi/scsi.h"
#include "unit.h"

#define UUID "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10"
#define CORE "target/core/pscsi_7892088/xlx-" UUID "-0.0.0.0"
#define THEIRS "target/xen-pvscsi/naa.5000000000000001/tpgt_1/lun/"

static xlx_ctx *ctx;
static char *directory;
static libxl_uuid uuid;

/* The directory with all above it; the caller's. */
static char *make(const char *path)
{
    char *full = xlx__printf("%s/%s", directory, path), *p;

    for (p = full + strlen(directory) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(full, 0755);
    }
    mkdir(full, 0755);
    return full;
}

static void put(const char *dir, const char *name, const char *text)
{
    char *above = make(dir), *path = xlx__printf("%s/%s", above, name);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
    free(above);
}

static void link_to(const char *dir, const char *target)
{
    char *above = make(dir), *path = xlx__printf("%s/any", above);

    assert_int_equal(symlink(target, path), 0);
    free(path);
    free(above);
}

/* Another guest shares the disk that this guest had at 0:0:0:0: the backstore
 * is there, in use, and has this guest's name. */
static void name_in_use(void **state)
{
    const struct xlx__scsi_hctl vdev = { 0, 0, 0, 0 };
    struct xlx__scsi_pdev p;
    xlx_scsi_entry e;
    (void)state;

    put(CORE, "udev_path", "/dev/sda\n");
    xlx_scsi_entry_init(&e);
    xlx__scsi_pdev_init(&p);
    e.dev.backstore = XLX_SCSI_BACKSTORE_PSCSI;
    assert_ok(xlx__scsi_target_name(&uuid, &vdev, &e));
    assert_string_equal(e.backstore, strstr(CORE, "pscsi"));
    assert_ok(xlx__set_string(&p.unit.path, "/dev/sdb"));
    assert_fails(xlx__scsi_target_make(ctx, &e, &p), ERROR_DEVICE_EXISTS,
                 "another guest, which shares /dev/sda, uses the backstore");
    xlx__scsi_pdev_dispose(&p);
    xlx_scsi_entry_dispose(&e);
}

static void owners(void **state)
{
    xlx_scsi_entry e;
    libxl_uuid found;
    (void)state;

    link_to(THEIRS "lun_0", "../../../../../core/iblock_0/other");
    link_to(THEIRS "lun_1", "../../../../../" CORE);
    link_to(THEIRS "lun_2", "../../../../../core/iblock_0/xlx-" UUID "-0.0.0");
    xlx_scsi_entry_init(&e);
    assert_ok(xlx__set_string(&e.target, "naa.5000000000000001"));
    assert_int_equal(xlx__scsi_target_guest(&e, &found), 0);
    e.lun = 1;
    assert_int_equal(xlx__scsi_target_guest(&e, &found), 1);
    assert_int_equal(libxl_uuid_compare(&found, &uuid), 0);
    e.lun = 2;
    assert_int_equal(xlx__scsi_target_guest(&e, &found), 0);
    e.lun = 3;
    assert_int_equal(xlx__scsi_target_guest(&e, &found), 0);
    xlx_scsi_entry_dispose(&e);
}

static int setup(void **state)
{
    (void)state;
    directory = unit_dir();
    setenv("LIBXLX_CONFIGFS_DIR", directory, 1);
    setenv("LIBXLX_SYSFS_DIR", directory, 1);
    free(make("module/target_core_pscsi"));
    free(make("bus/xen-backend/drivers/vscsi"));
    if (libxl_uuid_from_string(&uuid, UUID))
        return -1;
    return xlx_ctx_alloc(&ctx, NULL, NULL);
}

static int teardown(void **state)
{
    (void)state;
    xlx_ctx_free(ctx);
    unsetenv("LIBXLX_CONFIGFS_DIR");
    unsetenv("LIBXLX_SYSFS_DIR");
    unit_dir_remove(directory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest scsi_target[] = {
        cmocka_unit_test(name_in_use),
        cmocka_unit_test(owners),
    };

    return cmocka_run_group_tests(scsi_target, setup, teardown);
}

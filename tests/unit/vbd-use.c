/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which guest has a disk or a file of the host as its ordinary disk: against a
 * small xenstored of our own and a sysfs with two disks.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "disk/vbd.h"
#include "peer.h"

#define BACKEND "/local/domain/0/backend"

static char *dir, *image;

/* Guest 5 has the kernel's disk 8:16, that is sdb, and an image by QEMU; guest
 * 6 a partition of sdc, read-only; of guest 7 only directories are left. */
static void start(void)
{
    char *params = xlx__printf(BACKEND "/qdisk/5/51728/params=qcow2:%s",
                               image);

    peer_xenstored(
        "/local/domain/5/name=web",
        "/local/domain/6/name=db",
        BACKEND "/vbd/5/51712/physical-device=8:10",
        BACKEND "/vbd/5/51712/params=/dev/null",
        BACKEND "/vbd/5/51712/dev=xvda",
        BACKEND "/vbd/5/51712/mode=w",
        params,
        BACKEND "/qdisk/5/51728/dev=xvdb",
        BACKEND "/qdisk/5/51728/mode=w",
        BACKEND "/qdisk/5/51744/params=aio:",
        BACKEND "/vbd/6/51712/physical-device=8:21",
        BACKEND "/vbd/6/51712/dev=xvda",
        BACKEND "/vbd/6/51712/mode=r",
        BACKEND "/vbd/6/51728/physical-device=junk",
        BACKEND "/vbd/6/51728/params=/nonexistent",
        BACKEND "/vbd3/7/51712/physical-device=8:30",
        BACKEND "/vbd3/7/51712/mode=w",
        NULL);
    free(params);
}

static void of_disk(const struct xlx__vbds *vbds, const char *disk,
                    bool readonly, const char *wanted)
{
    char *use = NULL;

    assert_ok(xlx__vbds_use_disk(peer_ctx(), vbds, disk, readonly, &use));
    if (wanted)
        assert_string_equal(use, wanted);
    else
        assert_null(use);
    free(use);
}

static void users(void **state)
{
    struct xlx__vbds vbds;
    char *use = NULL;
    (void)state;

    start();
    assert_ok(xlx__vbds_read(peer_ctx(), &vbds));
    assert_int_equal(vbds.num, 6);
    of_disk(&vbds, "sdb", false, "guest web has it as its disk xvda");
    of_disk(&vbds, "sdb", true, "guest web has it as its disk xvda");
    /* by its partition; two that only read do not hurt each other */
    of_disk(&vbds, "sdc", false, "guest db has it as its disk xvda");
    of_disk(&vbds, "sdc", true, NULL);
    of_disk(&vbds, "sdd", false, NULL);
    of_disk(&vbds, "sda", false, NULL);

    assert_ok(xlx__vbds_use_file(peer_ctx(), &vbds, "/proc/self/exe", false,
                                 &use));
    assert_null(use);
    assert_ok(xlx__vbds_use_file(peer_ctx(), &vbds, image, false, &use));
    assert_string_equal(use, "guest web has it as its disk xvdb");
    free(use);
    use = NULL;
    assert_fails(xlx__vbds_use_file(peer_ctx(), &vbds, "/nonexistent", false,
                                    &use), ERROR_NOTFOUND, "/nonexistent");
    xlx__vbds_dispose(&vbds);
}

/* Modulo 2^32 it would be guest 5, which has nothing to do with it. */
static void no_domid(void **state)
{
    struct xlx__vbds vbds;
    (void)state;

    peer_xenstored("/local/domain/5/name=web",
                   BACKEND "/vbd/4294967301/51712/physical-device=8:10", NULL);
    assert_fails(xlx__vbds_read(peer_ctx(), &vbds), ERROR_INVAL,
                 BACKEND "/vbd/4294967301: the name is not a domid");
    xlx__vbds_dispose(&vbds);
}

/* Anything but two hexadecimal numbers is not a device. */
static void no_device(void **state)
{
    struct xlx__vbds vbds;
    (void)state;

    peer_xenstored("/local/domain/5/name=web",
                   BACKEND "/vbd/5/1/physical-device=8:10x",
                   BACKEND "/vbd/5/2/physical-device=8: 10",
                   BACKEND "/vbd/5/3/physical-device=+8:10",
                   BACKEND "/vbd/5/4/physical-device=100000008:10", NULL);
    assert_ok(xlx__vbds_read(peer_ctx(), &vbds));
    assert_int_equal(vbds.num, 4);
    of_disk(&vbds, "sdb", false, NULL);
    xlx__vbds_dispose(&vbds);
}

static void no_xen(void **state)
{
    struct xlx__vbds vbds;
    (void)state;

    assert_ok(xlx__vbds_read(peer_ctx(), &vbds));
    assert_int_equal(vbds.num, 0);
    assert_string_equal(xlx_error_get(), "");
    of_disk(&vbds, "sdb", false, NULL);
    xlx__vbds_dispose(&vbds);
}

static void make(const char *path)
{
    char *full = xlx__printf("%s/%s", dir, path), *p;

    for (p = full + strlen(dir) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(full, 0755);
    }
    mkdir(full, 0755);
    free(full);
}

static void number(const char *number, const char *path)
{
    char *from = xlx__printf("%s/dev/block/%s", dir, number);
    char *to = xlx__printf("../../class/block/%s", path);

    assert_int_equal(symlink(to, from), 0);
    free(from);
    free(to);
}

static int setup(void **state)
{
    int fd;

    if (peer_setup(state))
        return -1;
    dir = unit_dir();
    setenv("LIBXLX_SYSFS_DIR", dir, 1);
    make("dev/block");
    make("class/block/sdb");
    make("class/block/sdc/sdc1");
    make("class/block/sdd");
    number("8:16", "sdb");
    number("8:33", "sdc/sdc1");
    number("8:48", "sdd");
    image = xlx__printf("%s/web.qcow2", dir);
    fd = open(image, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(fd);
    return fd < 0;
}

static int teardown(void **state)
{
    unsetenv("LIBXLX_SYSFS_DIR");
    unit_dir_remove(dir);
    free(image);
    return peer_teardown(state);
}

int main(void)
{
    const struct CMUnitTest vbd_use[] = {
        cmocka_unit_test_teardown(users, peer_xenstored_stop),
        cmocka_unit_test_teardown(no_domid, peer_xenstored_stop),
        cmocka_unit_test_teardown(no_device, peer_xenstored_stop),
        cmocka_unit_test_teardown(no_xen, peer_xenstored_stop),
    };

    return cmocka_run_group_tests(vbd_use, setup, teardown);
}

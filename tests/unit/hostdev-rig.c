/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host of hostdev-rig.h, as files and links.
 */
#include <sys/stat.h>

#include "hostdev-rig.h"

static char *directory;
xlx_ctx *ctx;

char *path_of(const char *name)
{
    static char ring[8][4096];
    static unsigned int next;
    char *path = ring[next++ % 8], *p;

    snprintf(path, sizeof(ring[0]), "%s/%s", directory, name);
    for (p = path + strlen(directory) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(path, 0755);
    }
    return path;
}

void put(const char *name, const char *text)
{
    char *path = path_of(name);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

void put_link(const char *name, const char *to)
{
    char *path = path_of(name);

    unlink(path);
    assert_int_equal(symlink(to, path), 0);
}

void drop(const char *name)
{
    assert_int_equal(unlink(path_of(name)), 0);
}

void process(const char *pid, const char *name, const char *node)
{
    char *at = xlx__printf("proc/%s/comm", pid);

    put(at, name);
    free(at);
    at = xlx__printf("proc/%s/exe", pid);
    put_link(at, "/bin/true");
    free(at);
    at = xlx__printf("proc/%s/fd/x", pid);
    put(at, "");
    free(at);
    at = xlx__printf("proc/%s/ns/mnt", pid);
    put_link(at, "mnt:[1]");
    free(at);
    at = xlx__printf("proc/%s/mountinfo", pid);
    put(at, "");
    free(at);
    at = xlx__printf("proc/%s/fd/3", pid);
    put_link(at, node ? node : "/nonexistent");
    free(at);
}

void put_usb(const char *dir, const char *number)
{
    static const char *const names[] = {
        "idVendor", "0951\n", "idProduct", "1666\n", "serial", "AB12\n",
        "busnum", "1\n", "devnum", "2\n",
    };
    char *at;
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(names); i += 2) {
        at = xlx__printf("%s%s", dir, names[i]);
        put(at, names[i + 1]);
        free(at);
    }
    at = xlx__printf("%sdev", dir);
    put(at, number);
    free(at);
}

int make_host(void **state)
{
    (void)state;
    directory = unit_dir();
    ctx = unit_ctx(directory);
    setenv("LIBXLX_SYSFS_DIR", path_of("sys"), 1);
    setenv("LIBXLX_PROC_DIR", path_of("proc"), 1);
    setenv("LIBXLX_DEV_DIR", path_of("dev"), 1);
    setenv("LIBXLX_CONFIGFS_DIR", path_of("config"), 1);
    put_usb(STICK, "189:1\n");
    put(LUN "wwid", "naa.5000000000000001\n");
    put(LUN "state", "running\n");
    put(LUN "block/sdx/dev", "8:112\n");
    put_link(LUN "block/sdx/device", "../..");
    put(LUN "block/sdx/sdx1/dev", "8:113\n");
    put(LUN "block/sdx/sdx1/partition", "1\n");
    put(LUN "scsi_generic/sg3/dev", "1:5\n");
    put(LUN "power/control", "auto\n");
    put_link("sys/class/scsi_device/6:0:0:0/device", path_of(LUN));
    put_link("sys/class/block/sdx", path_of(LUN "block/sdx"));
    put_usb(OTHER, "189:2\n");
    put(OTHER "1-2:1.0/bInterfaceClass", "ff\n");
    put("dev/sdx", "");
    process("1", "init", NULL);
    process("100", "picocom", NULL);
    put_link("proc/self/ns/mnt", "mnt:[1]");
    put("proc/self/mountinfo", "");
    return 0;
}

int remove_host(void **state)
{
    (void)state;
    unsetenv("LIBXLX_SYSFS_DIR");
    unsetenv("LIBXLX_PROC_DIR");
    unsetenv("LIBXLX_DEV_DIR");
    unsetenv("LIBXLX_CONFIGFS_DIR");
    xlx_ctx_free(ctx);
    unit_dir_remove(directory);
    return 0;
}

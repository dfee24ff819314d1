/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The users of an image by xenstore, headers and records; what cannot be found
 * out is a refusal.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "disk/block.h"
#include "disk/image-use.h"
#include "peer.h"

#define BACKEND "/local/domain/0/backend"

static char *dir, *image, *clone;

/* A qcow2 header, all of it zero but the name of the backing file */
static void put_header(const char *path, const char *backing)
{
    unsigned char h[512] = { 'Q', 'F', 'I', 0xfb, 0, 0, 0, 2 };
    size_t len = strlen(backing);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0 && len < 256);
    h[15] = 128;                        /* where the name is */
    h[19] = (unsigned char)len;
    memcpy(h + 128, backing, len);
    assert_int_equal(write(fd, h, sizeof(h)), sizeof(h));
    close(fd);
}

static void ask(struct xlx__image_world *world,
                const struct xlx__image_allow *allow, int rc,
                const char *why)
{
    if (rc)
        assert_fails(xlx__image_ask(world, "xvda", image, allow), rc, why);
    else
        assert_ok(xlx__image_ask(world, "xvda", image, allow));
}

static void other_guest(void **state)
{
    char *params = xlx__printf(BACKEND "/qdisk/5/51728/params=qcow2:%s",
                               image);
    struct xlx__image_allow allow = { .force_open = false };
    struct xlx__image_world *world;
    (void)state;

    peer_xenstored("/local/domain/5/name=web", params,
                   BACKEND "/qdisk/5/51728/dev=xvdb",
                   BACKEND "/qdisk/5/51728/mode=w", NULL);
    free(params);
    assert_ok(xlx__image_world_open(peer_ctx(), NULL, NULL, &world));
    ask(world, &allow, ERROR_NOT_READY, "guest web has it as its disk xvdb");
    ask(world, &allow, ERROR_NOT_READY, "--force-open");
    allow.readers = true;
    ask(world, &allow, ERROR_NOT_READY, "guest web has it as its disk xvdb");
    allow.force_open = true;
    ask(world, &allow, 0, NULL);
    xlx__image_world_close(world);
}

/* It runs, and nobody can ask its QEMU. */
static void out_of_reach(void **state)
{
    struct xlx__image_allow allow = { .force_open = true };
    struct xlx__image_world *world;
    xlx_guest guest;
    (void)state;

    xlx_guest_init(&guest);
    guest.domid = 7;
    assert_ok(xlx__image_world_open(peer_ctx(), &guest, NULL, &world));
    ask(world, &allow, ERROR_FAIL, "domain 7 runs, and its QEMU cannot be "
        "reached");
    ask(world, &allow, ERROR_FAIL, "--force-unknown");
    allow.force_unknown = true;
    ask(world, &allow, 0, NULL);
    xlx__image_world_close(world);
    xlx_guest_dispose(&guest);
}

static void based(const char *name, int rc, const char *why)
{
    const struct xlx__image_allow allow = { .own_disk = false };
    struct xlx__image_world *world;

    put_header(clone, name);
    assert_ok(xlx__image_world_open(peer_ctx(), NULL, NULL, &world));
    ask(world, &allow, rc, why);
    xlx__image_world_close(world);
}

static void spellings(void **state)
{
    char *name = xlx__printf("host_device:%s", image);
    (void)state;

    based("web.qcow2", ERROR_INVAL, "clone is based on it");
    based("./././web.qcow2", ERROR_INVAL, "--force-based");
    based(name, ERROR_INVAL, "clone is based on it");
    based("file:web.qcow2", ERROR_INVAL, "clone is based on it");
    based("file:x/web.qcow2", ERROR_FAIL, "clone may be based on it");
    based("json:{'web.qcow2'}", ERROR_FAIL, "--force-unknown");
    based("file:x/other", 0, NULL);
    based("nbd://host/web.qcow2", 0, NULL);
    based("other", 0, NULL);
    free(name);
}

/* A guest may write a header into its raw disk: it keeps nobody from
 * anything. */
static void raw_disk(void **state)
{
    const struct xlx__image_allow allow = { .own_disk = false };
    struct xlx__image_claim claim = { .role = XLX__ROLE_CURRENT };
    struct xlx__image_world *world;
    (void)state;

    put_header(clone, "web.qcow2");
    assert_ok(xlx__image_world_open(peer_ctx(), NULL, NULL, &world));
    xlx_guest_init(&claim.guest);
    assert_ok(xlx__set_string(&claim.image, clone));
    assert_ok(xlx__set_string(&claim.format, "raw"));
    assert_ok(xlx__image_world_claim(world, &claim));
    ask(world, &allow, 0, NULL);
    xlx__image_world_close(world);
}

static void put_attr(const char *name, const char *text)
{
    char *path = xlx__printf("%s/class/block/%s", dir, name), *p;
    FILE *f;

    for (p = path + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(path, 0700);
    }
    f = fopen(path, "we");
    assert_non_null(f);
    fprintf(f, "%s\n", text);
    fclose(f);
    free(path);
}

static bool loop_writes(const char *name)
{
    bool writes = false;
    char *use = NULL;

    assert_ok(xlx__block_use_file(image, &use, &writes));
    assert_non_null(use);
    assert_non_null(strstr(use, name));
    free(use);
    return writes;
}

/* Many read one image through such devices, and one that writes counts. */
static void loop_devices(void **state)
{
    (void)state;

    setenv("LIBXLX_SYSFS_DIR", dir, 1);
    setenv("LIBXLX_DEV_DIR", dir, 1);
    put_attr("loop3/loop/backing_file", image);
    put_attr("loop3/ro", "1");
    assert_false(loop_writes("loop3"));
    put_attr("loop4/loop/backing_file", image);
    put_attr("loop4/ro", "0");
    assert_true(loop_writes("loop4"));
    unsetenv("LIBXLX_DEV_DIR");
    unsetenv("LIBXLX_SYSFS_DIR");
}

static int setup(void **state)
{
    if (peer_setup(state))
        return -1;
    dir = unit_dir();
    image = xlx__printf("%s/web.qcow2", dir);
    clone = xlx__printf("%s/clone", dir);
    put_header(image, "");
    return 0;
}

static int no_clone(void **state)
{
    unlink(clone);
    return peer_xenstored_stop(state);
}

static int teardown(void **state)
{
    unit_dir_remove(dir);
    free(image);
    free(clone);
    return peer_teardown(state);
}

int main(void)
{
    const struct CMUnitTest image_use[] = {
        cmocka_unit_test_teardown(other_guest, no_clone),
        cmocka_unit_test_teardown(out_of_reach, no_clone),
        cmocka_unit_test_teardown(spellings, no_clone),
        cmocka_unit_test_teardown(raw_disk, no_clone),
        cmocka_unit_test(loop_devices),
    };

    return cmocka_run_group_tests(image_use, setup, teardown);
}

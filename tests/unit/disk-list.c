/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's answers about disks, those included that only a QEMU gives which was
 * taken over, lead to: one clean error, or a disk with the reason why
 * it is not used.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/socket.h>

#include "disk/disk.h"
#include "unit.h"

static char *dir, *image, *other;
static xlx_ctx *ctx;

/* A QEMU that gives these answers, one a command, and is silent then. */
static struct xlx__qmp *qemu(const char *const *answers)
{
    static const char greeting[] =
        "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, "
        "\"major\": 7}, \"package\": \"\"}, \"capabilities\": []}}\r\n"
        "{\"return\": {}, \"id\": 1}\r\n";
    struct xlx__qmp *qmp = NULL;
    int fds[2], i;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK |
                                SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(send(fds[1], greeting, sizeof(greeting) - 1, 0),
                     sizeof(greeting) - 1);
    for (i = 0; answers[i]; i++) {
        char *line = xlx__printf("{\"return\": %s, \"id\": %d}\r\n",
                                 answers[i], i + 2);

        assert_int_equal(send(fds[1], line, strlen(line), 0), strlen(line));
        free(line);
    }
    assert_ok(xlx__qmp_open_fd(ctx, fds[0], "fake", &qmp));
    /* its end stays open until the test is over */
    return qmp;
}

static int list(const char *query_block, xlx_disks *disks)
{
    const char *const answers[] = { query_block, NULL };
    struct xlx__qmp *qmp = qemu(answers);
    xlx_guest guest;
    int rc;

    xlx_guest_init(&guest);
    xlx_disks_init(disks);
    rc = xlx__disk_list_with(ctx, &guest, qmp, disks);
    xlx__qmp_close(qmp);
    return rc;
}

static void wrong_answers(void **state)
{
    static const struct { const char *answer, *why; } wrong[] = {
        { "{}", "must be an array" },
        { "[{\"inserted\": {\"ro\": false}}]", "\"image\" is missing" },
        { "[{\"inserted\": {\"ro\": false, \"image\": 5}}]",
          "image: must be an object" },
        { "[{\"inserted\": {\"ro\": false, \"image\": {}}}]",
          "\"virtual-size\" is missing" },
        { "[{\"inserted\": {\"ro\": 1, \"image\": {}}}]", "must be true" },
        { "[{\"inserted\": {\"ro\": false, \"image\": "
          "{\"virtual-size\": -1}}}]", "must be an integer" },
        { "[{\"inserted\": {\"ro\": false, \"image\": {\"virtual-size\": 1, "
          "\"backing-image\": {\"filename\": 1}}}}]", "must be a string" },
        { "[{\"inserted\": {}}]", "\"ro\" is missing" },
    };
    xlx_disks disks;
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(wrong); i++) {
        assert_fails(list(wrong[i].answer, &disks), ERROR_INVAL,
                     wrong[i].why);
        xlx_disks_dispose(&disks);
    }
}

static void one_disk(const char *path, const char *format, const char *more,
                     xlx_disks *disks)
{
    char *answer = xlx__printf(
        "[{\"device\": \"\", \"qdev\": \"/machine/peripheral/xvda/x\", "
        "\"inserted\": {\"ro\": false, \"drv\": \"%s\", \"node-name\": \"n\", "
        "\"image\": {\"filename\": \"%s\", \"format\": \"%s\", "
        "\"virtual-size\": 65536%s}}}]", format, path, format, more);

    assert_ok(list(answer, disks));
    free(answer);
    assert_int_equal(disks->num_disks, 1);
}

static void unusable_is(const char *path, const char *format,
                        const char *more, const char *why)
{
    xlx_disks disks;

    one_disk(path, format, more, &disks);
    if (!strstr(xlx__text(disks.disks[0].unusable), why)) {
        print_error("unusable: %s\n", xlx__text(disks.disks[0].unusable));
        fail();
    }
    xlx_disks_dispose(&disks);
}

static void unusable(void **state)
{
    char *fifo = xlx__printf("%s/fifo", dir);
    (void)state;

    assert_int_equal(mkfifo(fifo, 0600), 0);
    unusable_is("web.raw", "raw", "", "with the path \"web.raw\", relative");
    unusable_is("nbd://host/x", "raw", "", "not a plain file");
    unusable_is(image, "luks", "", "encrypted");
    unusable_is(image, "qcow2", ", \"encrypted\": true", "encrypted");
    unusable_is(image, "qcow2", "", "not a qcow2 image");
    unusable_is(fifo, "raw", "", "neither a file nor a block device");
    unlink(fifo);
    free(fifo);
}

static void long_chains(void **state)
{
    char *more = strdup(""), *longer;
    xlx_disks disks;
    int i;
    (void)state;

    for (i = 0; i < 250; i++) {
        longer = xlx__printf(", \"backing-image\": {\"filename\": \"/x\"%s}",
                             more);
        free(more);
        more = longer;
    }
    one_disk(image, "raw", more, &disks);
    assert_int_equal(disks.disks[0].layers, 251);
    xlx_disks_dispose(&disks);
    free(more);
}

/* A QEMU that was taken over names a file that is not the guest's. */
static void not_what_xen_says(void **state)
{
    char *same = xlx__printf("%s/same", dir);
    xlx_disks disks;
    xlx_disk *d;
    (void)state;

    assert_int_equal(symlink(image, same), 0);
    one_disk(image, "raw", "", &disks);
    d = &disks.disks[0];
    assert_ok(xlx__disk_check_image(d, image, "raw"));
    assert_ok(xlx__disk_check_image(d, same, ""));
    assert_string_equal(xlx__text(d->unusable), "");
    assert_ok(xlx__disk_check_image(d, other, "raw"));
    assert_non_null(strstr(d->unusable, "but Xen says"));
    xlx_disks_dispose(&disks);
    one_disk(image, "raw", "", &disks);
    assert_ok(xlx__disk_check_image(&disks.disks[0], image, "qcow2"));
    assert_non_null(strstr(disks.disks[0].unusable, "but Xen says qcow2"));
    xlx_disks_dispose(&disks);
    unlink(same);
    free(same);
}

/* A second node on the same file, of another tool, that comes first */
static void nodes_of_others(void **state)
{
    char *nodes = xlx__printf(
        "[{\"node-name\": \"a\", \"drv\": \"raw\", \"file\": \"%s\", "
        "\"ro\": true}, {\"node-name\": \"p\", \"drv\": \"file\", \"file\": "
        "\"%s\", \"ro\": true}, {\"node-name\": \"b\", \"drv\": \"raw\", "
        "\"file\": \"%s\", \"ro\": false}, {\"node-name\": \"c\", \"drv\": "
        "\"raw\", \"file\": \"%s\", \"ro\": true}]",
        image, image, image, image);
    const char *answers[] = {
        "[{\"node-name\": \"top\", \"backing\": {\"node-name\": \"b\"}}]",
        nodes, "[{\"node-name\": \"top\"}]", nodes, NULL
    };
    struct xlx__qmp *qmp = qemu(answers);
    bool readonly = true;
    char *name;
    (void)state;

    assert_ok(xlx__disk_find_node(qmp, image, &name, &readonly));
    assert_string_equal(name, "b");
    assert_false(readonly);
    free(name);
    assert_ok(xlx__disk_find_node(qmp, image, &name, &readonly));
    assert_string_equal(name, "a");
    free(name);
    xlx__qmp_close(qmp);
    free(nodes);
}

static void jobs(void **state)
{
    static const struct { const char *status, *advice; } jobs[] = {
        { "running", "wait for it" }, { "concluded", "job-dismiss" },
        { "ready", "job-complete" }, { "pending", "job-finalize" },
    };
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(jobs); i++) {
        char *job = xlx__printf("[{\"id\": \"night\", \"type\": \"backup\", "
                                "\"status\": \"%s\"}]", jobs[i].status);
        const char *const answers[] = { job, NULL };
        struct xlx__qmp *qmp = qemu(answers);

        assert_fails(xlx__disk_no_jobs(qmp), ERROR_NOT_READY,
                     "backup job \"night\"");
        assert_non_null(strstr(xlx_error_get(), jobs[i].advice));
        xlx__qmp_close(qmp);
        free(job);
    }
}

int main(void)
{
    const struct CMUnitTest disk_list[] = {
        cmocka_unit_test(wrong_answers),
        cmocka_unit_test(unusable),
        cmocka_unit_test(long_chains),
        cmocka_unit_test(not_what_xen_says),
        cmocka_unit_test(nodes_of_others),
        cmocka_unit_test(jobs),
    };
    FILE *f;
    int r;

    dir = unit_dir();
    setenv("LIBXLX_STATE_DIR", dir, 1);
    setenv("LIBXLX_RUN_DIR", dir, 1);
    image = xlx__printf("%s/image", dir);
    other = xlx__printf("%s/other", dir);
    f = fopen(image, "w");
    fputs("an image", f);
    fclose(f);
    f = fopen(other, "w");
    fputs("another", f);
    fclose(f);
    if (xlx_ctx_alloc(&ctx, NULL, NULL))
        return 1;
    r = cmocka_run_group_tests(disk_list, NULL, NULL);
    xlx_ctx_free(ctx);
    free(image);
    free(other);
    unit_dir_remove(dir);
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Durable state with accidents: kills between any two steps, a full and a
 * read-only file system, several processes.  Afterwards the old text or the
 * new one is there, and nothing else.
 */
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include "core/lock.h"
#include "core/store.h"
#include "unit.h"

#define ONE "01234567-89ab-cdef-0123-456789abcdef"

static char *directory;
static xlx_ctx *ctx;
static libxl_uuid one, two;

static int setup(void **state)
{
    (void)state;
    directory = unit_dir();
    ctx = unit_ctx(directory);
    libxl_uuid_from_string(&one, ONE);
    libxl_uuid_from_string(&two, "11234567-89ab-cdef-0123-456789abcdef");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    xlx_ctx_free(ctx);
    unit_dir_remove(directory);
    return 0;
}

/* Large enough for more than one page, so that a torn write would show. */
static int write_n(const libxl_uuid *uuid, int n)
{
    char text[20000];

    memset(text, ' ', sizeof(text));
    text[sprintf(text, "{\"version\":1,\"n\":%d,\"again\":", n)] = ' ';
    text[sizeof(text) - 16 +
         sprintf(text + sizeof(text) - 16, "%d}", n)] = '\n';
    return xlx__store_write(ctx, uuid, "a.json", text, sizeof(text));
}

static int read_n(const libxl_uuid *uuid, int64_t *n_r)
{
    struct xlx__json_doc *doc;
    int64_t again;
    int rc;

    rc = xlx__store_read(ctx, uuid, "a.json", 1, &doc);
    if (rc) return rc;
    rc = xlx__json_member_int64(xlx__json_root(doc), "n", n_r);
    if (!rc)
        rc = xlx__json_member_int64(xlx__json_root(doc), "again", &again);
    if (!rc && *n_r != again)
        rc = xlx__error(ERROR_FAIL, "torn");
    xlx__json_free(doc);
    return rc;
}

static int count_entries(const char *path)
{
    DIR *dir = opendir(path);
    int n = -2;                                 /* "." and ".." */

    if (!dir)
        return -1;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* Runs work in a child with that fault armed; true if it was killed. */
static bool killed_at(const char *fault, int (*work)(int), int arg)
{
    pid_t pid = fork();
    int status;

    if (!pid) {
        setenv("LIBXLX_FAULT", fault, 1);
        _exit(work(arg) ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return true;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    return false;
}

static int write_one(int n)
{
    return write_n(&one, n);
}

static int write_three(int n)
{
    return write_n(&one, n) || write_n(&one, n + 1) || write_n(&one, n + 2);
}

static int remove_one(int n)
{
    (void)n;
    return xlx__store_remove(ctx, &one, "a.json");
}

static int adopt_two(int n)
{
    (void)n;
    return xlx__store_adopt(ctx, &one, &two);
}

/* The path of the guest's directory. */
static char *guest_dir(void)
{
    char *path = xlx__printf("%s/" ONE, ctx->state_dir);

    assert_non_null(path);
    return path;
}

static void need_fault_points(void)
{
#ifndef XLX_FAULT_POINTS
    skip();
#endif
}

static const char *const before_rename[] = {
    "store-directory", "store-created", "store-written",
};

static void killed_in_first_write(void **state)
{
    char *path;
    libxl_uuid *uuids;
    int64_t n;
    int num;
    size_t i;

    (void)state;
    need_fault_points();
    path = guest_dir();
    for (i = 0; i < XLX__ARRAY_SIZE(before_rename); i++) {
        assert_true(killed_at(before_rename[i], write_one, 1));
        assert_fails(read_n(&one, &n), ERROR_NOTFOUND, "");
        assert_ok(xlx__store_guests(ctx, &uuids, &num));
        assert_int_equal(num, 0);
        free(uuids);
        /* Either of the next calls clears away what is left. */
        if (i & 1) {
            assert_ok(write_n(&one, 2));
            assert_int_equal(count_entries(path), 1);
        }
        assert_ok(xlx__store_remove(ctx, &one, "a.json"));
        assert_int_equal(access(path, F_OK), -1);
    }
    assert_true(killed_at("store-renamed", write_one, 3));
    assert_ok(read_n(&one, &n));
    assert_int_equal(n, 3);
    assert_ok(xlx__store_remove(ctx, &one, "a.json"));
    free(path);
}

static void killed_in_later_write(void **state)
{
    char *path, fault[64];
    int64_t n;
    size_t i;
    int nth;

    (void)state;
    need_fault_points();
    path = guest_dir();
    for (i = 0; i < XLX__ARRAY_SIZE(before_rename); i++) {
        for (nth = 1; nth <= 3; nth++) {
            assert_ok(write_n(&one, 100));
            snprintf(fault, sizeof(fault), "%s:%d", before_rename[i], nth);
            assert_true(killed_at(fault, write_three, 201));
            assert_ok(read_n(&one, &n));
            assert_int_equal(n, nth == 1 ? 100 : 200 + nth - 1);
            assert_ok(write_n(&one, 101));
            assert_int_equal(count_entries(path), 1);
        }
        snprintf(fault, sizeof(fault), "%s:4", before_rename[i]);
        assert_false(killed_at(fault, write_three, 301));
    }
    for (nth = 1; nth <= 3; nth++) {
        snprintf(fault, sizeof(fault), "store-renamed:%d", nth);
        assert_true(killed_at(fault, write_three, 401));
        assert_ok(read_n(&one, &n));
        assert_int_equal(n, 400 + nth);
    }
    assert_ok(xlx__store_remove(ctx, &one, "a.json"));
    free(path);
}

static void killed_in_remove_and_adopt(void **state)
{
    char *path;
    int64_t n;

    (void)state;
    need_fault_points();
    path = guest_dir();
    assert_ok(write_n(&one, 1));
    assert_true(killed_at("store-removed", remove_one, 0));
    assert_fails(read_n(&one, &n), ERROR_NOTFOUND, "");
    assert_ok(xlx__store_remove(ctx, &one, "a.json"));
    assert_int_equal(access(path, F_OK), -1);

    assert_ok(write_n(&one, 2));
    assert_true(killed_at("store-adopted", adopt_two, 0));
    assert_fails(read_n(&one, &n), ERROR_NOTFOUND, "");
    assert_ok(read_n(&two, &n));
    assert_int_equal(n, 2);
    assert_ok(xlx__store_remove(ctx, &two, "a.json"));
    free(path);
}

/* No fault points needed: a kill at any time. */
static void killed_at_random(void **state)
{
    int64_t n, least = 0;
    int round, i;
    pid_t pid;

    (void)state;
    assert_ok(write_n(&one, 0));
    for (round = 0; round < 30; round++) {
        pid = fork();
        if (!pid)
            for (i = least + 1; ; i++)
                if (write_n(&one, i))
                    _exit(1);
        usleep(1000 + round * 700);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_ok(read_n(&one, &n));
        assert_true(n >= least);
        least = n;
    }
    assert_ok(xlx__store_remove(ctx, &one, "a.json"));
}

/* Two writers under the guest's lock, and a reader without. */
static void processes(void **state)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    int i, w, status, done = 0, last[2] = { 0, 0 };
    pid_t pids[2];
    int64_t n;

    (void)state;
    assert_ok(write_n(&one, 0));
    for (w = 0; w < 2; w++) {
        pids[w] = fork();
        if (pids[w])
            continue;
        for (i = 1; i <= 300; ) {
            if (xlx__lock_guest(ctx, &one, &lock)) {
                sched_yield();
                continue;
            }
            if (write_n(&one, i++ * 2 + w))
                _exit(1);
            xlx__unlock(&lock);
        }
        _exit(0);
    }
    while (done < 2) {
        assert_ok(read_n(&one, &n));
        if (n) {                        /* each writer goes up only */
            assert_true(n >= last[n & 1]);
            last[n & 1] = n;
        }
        if (waitpid(-1, &status, WNOHANG) > 0) {
            assert_int_equal(status, 0);
            done++;
        }
    }
    assert_ok(xlx__store_remove(ctx, &one, "a.json"));
}

/* In a child, on a file system of 64 KiB that it alone sees.  Results: 0, the
 * line that went wrong modulo 200, or 250 where that cannot be mounted. */
#define NEED(cond) do { if (!(cond)) return __LINE__ % 200 + 1; } while (0)

static int on_small_disk(void)
{
    char *path = guest_dir();
    char *text = calloc(1, 1 << 20);
    int64_t n;
    int rc;

    if (unshare(CLONE_NEWNS) ||
        mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) ||
        xlx__make_directory(ctx->state_dir) ||
        mount("none", ctx->state_dir, "tmpfs", 0, "size=64k,mode=0700"))
        return 250;

    /* Full, with nothing there: the directory goes again. */
    rc = xlx__store_write(ctx, &one, "a.json", text, 1 << 20);
    NEED(rc == ERROR_FAIL && strstr(xlx_error_get(), "No space left"));
    NEED(strstr(xlx_error_get(), path));
    NEED(access(path, F_OK));
    /* Full, with an old text: it stays, and there is room again. */
    NEED(!write_n(&one, 1));
    NEED(xlx__store_write(ctx, &one, "a.json", text, 1 << 20) == ERROR_FAIL);
    NEED(count_entries(path) == 1);
    NEED(!read_n(&one, &n) && n == 1);
    NEED(!write_n(&one, 2));

    NEED(!mount("none", ctx->state_dir, "none",
                MS_REMOUNT | MS_RDONLY, NULL));
    NEED(write_n(&one, 3) == ERROR_FAIL);
    NEED(strstr(xlx_error_get(), "Read-only file system"));
    NEED(strstr(xlx_error_get(), path));
    NEED(write_n(&two, 3) == ERROR_FAIL);
    NEED(strstr(xlx_error_get(), "Read-only file system"));
    NEED(xlx__store_remove(ctx, &one, "a.json") == ERROR_FAIL);
    NEED(strstr(xlx_error_get(), "Read-only file system"));
    NEED(xlx__store_adopt(ctx, &one, &two) == ERROR_FAIL);
    NEED(!read_n(&one, &n) && n == 2);
    free(path);
    free(text);
    return 0;
}

static void full_and_read_only(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    if (!pid)
        _exit(on_small_disk());
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 250)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_in_first_write),
        cmocka_unit_test(killed_in_later_write),
        cmocka_unit_test(killed_in_remove_and_adopt),
        cmocka_unit_test(killed_at_random),
        cmocka_unit_test(processes),
        cmocka_unit_test(full_and_read_only),
    };

    return cmocka_run_group_tests_name("store-crash", tests, setup, teardown);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Xenstore through libxenstore, against a small xenstored of our own:
 * libxenstore takes its socket from XENSTORED_PATH.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/xs.h"
#include "peer.h"

static void no_daemon(void **state)
{
    char *value = NULL;
    (void)state;

    assert_fails(xlx__xs_read(peer_ctx(), XBT_NULL, "/x", &value),
                 ERROR_NOTFOUND, "is this a Xen dom0");
    assert_non_null(strstr(xlx_error_get(), peer_path("xenstored")));
    assert_null(value);
    xlx__xs_close(peer_ctx());
}

static void nodes(void **state)
{
    struct xs_permissions perms[2] = {
        { .id = 0, .perms = XS_PERM_NONE },
        { .id = 5, .perms = XS_PERM_READ },
    }, *got;
    xlx_ctx *ctx = peer_ctx();
    unsigned int num = 99;
    char *value, **names;
    (void)state;

    peer_xenstored("/a/b=hello", "/a/zero=a\\0b", NULL);
    assert_int_equal(xlx__xs_read(ctx, XBT_NULL, "/a/b", &value), 0);
    assert_string_equal(value, "hello");
    free(value);
    value = NULL;
    assert_fails(xlx__xs_read(ctx, XBT_NULL, "/a/none", &value),
                 ERROR_NOTFOUND, "/a/none");
    assert_fails(xlx__xs_read(ctx, XBT_NULL, "/a/zero", &value), ERROR_INVAL,
                 "/a/zero: a zero byte");
    assert_null(value);

    assert_int_equal(xlx__xs_write(ctx, XBT_NULL, "/a/c", ""), 0);
    assert_int_equal(xlx__xs_list(ctx, XBT_NULL, "/a", &names, &num), 0);
    assert_int_equal(num, 3);
    assert_string_equal(names[0], "b");
    assert_string_equal(names[1], "c");
    assert_string_equal(names[2], "zero");
    assert_null(names[3]);
    free(names);
    assert_int_equal(xlx__xs_list(ctx, XBT_NULL, "/a/c", &names, &num), 0);
    assert_int_equal(num, 0);
    assert_null(names[0]);
    free(names);
    assert_fails(xlx__xs_list(ctx, XBT_NULL, "/q", &names, &num),
                 ERROR_NOTFOUND, "/q");

    assert_int_equal(xlx__xs_mkdir(ctx, XBT_NULL, "/d", perms, 2), 0);
    got = xs_get_permissions(ctx->xenstore, XBT_NULL, "/d", &num);
    assert_non_null(got);
    assert_int_equal(num, 2);
    assert_int_equal(got[1].id, 5);
    assert_int_equal(got[1].perms, XS_PERM_READ);
    free(got);

    assert_int_equal(xlx__xs_remove(ctx, XBT_NULL, "/a"), 0);
    assert_fails(xlx__xs_read(ctx, XBT_NULL, "/a/b", &value), ERROR_NOTFOUND,
                 "/a/b");
    assert_fails(xlx__xs_remove(ctx, XBT_NULL, "/a/b/c"), ERROR_NOTFOUND,
                 "/a/b/c");
}

static void numbers_in_order(void **state)
{
    static const char *const names[] = {
        "12", "3", "4294967294", "4294967295", "4294967297", "+5", "-1", "0x6",
        "7a", "a",
    };
    xlx_ctx *ctx = peer_ctx();
    uint32_t *list = NULL;
    int num = -1;
    size_t i;

    (void)state;
    peer_xenstored("/a/b=", NULL);
    assert_ok(xlx__xs_list_numbers(ctx, "/n", &list, &num));
    assert_int_equal(num, 0);
    free(list);
    for (i = 0; i < XLX__ARRAY_SIZE(names); i++) {
        char *path = xlx__printf("/n/%s", names[i]);

        assert_ok(xlx__xs_write(ctx, XBT_NULL, path, ""));
        free(path);
    }
    assert_ok(xlx__xs_list_numbers(ctx, "/n", &list, &num));
    assert_int_equal(num, 3);
    assert_int_equal(list[0], 3);
    assert_int_equal(list[1], 12);
    assert_int_equal(list[2], UINT32_MAX - 1);
    free(list);
}

static void numbers(void **state)
{
    static const char *const wrong[] = {
        "", " 1", "1 ", "+1", "-1", "0x1", "1.0", "1e2", "65536", "99999999",
        "18446744073709551616", "18446744073709551615", "1\n", "\xd9\xa1",
    };
    xlx_ctx *ctx = peer_ctx();
    uint64_t value = 7;
    size_t i;
    (void)state;

    peer_xenstored(NULL);
    for (i = 0; i < XLX__ARRAY_SIZE(wrong); i++) {
        assert_int_equal(xlx__xs_write(ctx, XBT_NULL, "/n", wrong[i]), 0);
        assert_fails(xlx__xs_read_uint(ctx, XBT_NULL, "/n", 65535, &value),
                     ERROR_INVAL, "/n: ");
        assert_int_equal(value, 7);
    }
    assert_int_equal(xlx__xs_write(ctx, XBT_NULL, "/n", "65535"), 0);
    assert_int_equal(xlx__xs_read_uint(ctx, XBT_NULL, "/n", 65535, &value),
                     0);
    assert_int_equal(value, 65535);
    assert_fails(xlx__xs_read_uint(ctx, XBT_NULL, "/n", 3, &value),
                 ERROR_INVAL, "0 to 3");
    assert_int_equal(xlx__xs_write(ctx, XBT_NULL, "/n",
                                   "18446744073709551615"), 0);
    assert_int_equal(xlx__xs_read_uint(ctx, XBT_NULL, "/n", UINT64_MAX,
                                       &value), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(xlx__xs_write(ctx, XBT_NULL, "/n", "0"), 0);
    assert_int_equal(xlx__xs_read_uint(ctx, XBT_NULL, "/n", 0, &value), 0);
    assert_int_equal(value, 0);
}

static int write_both(xlx_ctx *ctx, xs_transaction_t t, void *user)
{
    int *attempts = user, rc;

    ++*attempts;
    rc = xlx__xs_write(ctx, t, "/one", "1");
    if (rc) return rc;
    rc = xlx__xs_write(ctx, t, "/two", "2");
    return rc ? rc : 7;
}

static int write_and_fail(xlx_ctx *ctx, xs_transaction_t t, void *user)
{
    (void)user;
    assert_int_equal(xlx__xs_write(ctx, t, "/three", "3"), 0);
    return ERROR_BADFAIL;
}

static void transactions(void **state)
{
    xlx_ctx *ctx = peer_ctx();
    char *value = NULL;
    int attempts = 0;
    (void)state;

    peer_xenstored("--conflicts", "3", NULL);
    assert_int_equal(xlx__xs_transact(ctx, write_both, &attempts), 7);
    assert_int_equal(attempts, 4);
    assert_int_equal(xlx__xs_read(ctx, XBT_NULL, "/two", &value), 0);
    free(value);

    assert_int_equal(xlx__xs_transact(ctx, write_and_fail, NULL),
                     ERROR_BADFAIL);
    value = NULL;
    assert_fails(xlx__xs_read(ctx, XBT_NULL, "/three", &value),
                 ERROR_NOTFOUND, "/three");
}

/* A real conflict: somebody writes between begin and commit. */
static int write_late(xlx_ctx *ctx, xs_transaction_t t, void *user)
{
    int *attempts = user;

    assert_int_equal(xlx__xs_write(ctx, t, "/one", "1"), 0);
    if (!(*attempts)++)
        assert_int_equal(xlx__xs_write(ctx, XBT_NULL, "/one", "2"), 0);
    return 0;
}

static void conflict(void **state)
{
    xlx_ctx *ctx = peer_ctx();
    char *value = NULL;
    int attempts = 0;
    (void)state;

    peer_xenstored(NULL);
    assert_int_equal(xlx__xs_transact(ctx, write_late, &attempts), 0);
    assert_int_equal(attempts, 2);
    assert_int_equal(xlx__xs_read(ctx, XBT_NULL, "/one", &value), 0);
    assert_string_equal(value, "1");
    free(value);
}

/* ---- waiting ------------------------------------------------------------ */

struct wait {
    xlx_ctx *ctx;
    int calls, rc;
    const char *wanted;
};

static int has_value(void *user)
{
    struct wait *w = user;
    char *value;
    int rc;

    w->calls++;
    if (w->rc)
        return w->rc;
    rc = xlx__xs_read(w->ctx, XBT_NULL, "/w/state", &value);
    if (rc == ERROR_NOTFOUND)
        return 0;
    if (rc) return rc;
    rc = !strcmp(value, w->wanted);
    free(value);
    return rc;
}

/* Another client that writes after a while. */
static pid_t write_later(const char *node, const char *value)
{
    struct xs_handle *xsh;
    pid_t pid = fork();

    if (pid)
        return pid;
    usleep(200 * 1000);
    xsh = xs_open(0);
    if (!xsh || !xs_write(xsh, XBT_NULL, node, value, strlen(value)))
        _exit(1);
    xs_close(xsh);
    _exit(0);
}

static void waiting(void **state)
{
    struct wait w = { .ctx = peer_ctx(), .wanted = "4" };
    int64_t start_ms;
    pid_t pid;
    (void)state;

    peer_xenstored("/w/state=1", NULL);
    pid = write_later("/w/state", "4");
    start_ms = xlx__now_ms();
    assert_int_equal(xlx__xs_wait(w.ctx, "/w", start_ms + 20000, has_value,
                                  &w), 0);
    assert_in_range(xlx__now_ms() - start_ms, 150, 10000);
    assert_in_range(w.calls, 2, 4);
    assert_int_equal(peer_wait(pid), 0);

    /* already so: one look */
    w.calls = 0;
    assert_int_equal(xlx__xs_wait(w.ctx, "/w", xlx__now_ms() + 20000,
                                  has_value, &w), 0);
    assert_int_equal(w.calls, 1);
    /* never so, though there is always a look */
    w.wanted = "5";
    w.calls = 0;
    start_ms = xlx__now_ms();
    assert_fails(xlx__xs_wait(w.ctx, "/w", start_ms + 300, has_value, &w),
                 ERROR_TIMEDOUT, "/w: no change in time");
    assert_in_range(xlx__now_ms() - start_ms, 300, 2000);
    assert_in_range(w.calls, 1, 3);
    assert_fails(xlx__xs_wait(w.ctx, "/w", xlx__now_ms() - 1, has_value, &w),
                 ERROR_TIMEDOUT, "/w");
    /* the check gives up */
    w.rc = ERROR_GUEST_TIMEDOUT;
    assert_int_equal(xlx__xs_wait(w.ctx, "/w", xlx__now_ms() + 20000,
                                  has_value, &w), ERROR_GUEST_TIMEDOUT);
    /* no watch is left: the same one can be set again */
    assert_true(xs_watch(w.ctx->xenstore, "/w", "xlx"));
    assert_true(xs_unwatch(w.ctx->xenstore, "/w", "xlx"));
}

/* A guest that writes without end does not keep us beyond the deadline. */
static void storm(void **state)
{
    struct wait w = { .ctx = peer_ctx(), .wanted = "4" };
    struct xs_handle *xsh;
    int64_t start_ms;
    pid_t pid;
    (void)state;

    peer_xenstored("/w/state=1", NULL);
    pid = fork();
    if (!pid) {
        xsh = xs_open(0);
        while (xs_write(xsh, XBT_NULL, "/w/x", "y", 1))
            ;
        _exit(0);
    }
    start_ms = xlx__now_ms();
    assert_fails(xlx__xs_wait(w.ctx, "/w", start_ms + 500, has_value, &w),
                 ERROR_TIMEDOUT, "/w");
    assert_in_range(xlx__now_ms() - start_ms, 500, 3000);
    assert_true(w.calls > 3);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void daemon_dies(void **state)
{
    struct wait w = { .ctx = peer_ctx(), .wanted = "4" };
    int64_t start_ms;
    pid_t pid;
    int rc;
    (void)state;

    peer_xenstored("--die-on", "/die", "/w/state=1", NULL);
    pid = write_later("/die", "");
    start_ms = xlx__now_ms();
    rc = xlx__xs_wait(w.ctx, "/w", start_ms + 20000, has_value, &w);
    assert_fails(rc, ERROR_FAIL, "xenstore: ");
    assert_in_range(xlx__now_ms() - start_ms, 100, 5000);
    peer_wait(pid);
}

int main(void)
{
    const struct CMUnitTest xs_nodes[] = {
        cmocka_unit_test_teardown(no_daemon, peer_xenstored_stop),
        cmocka_unit_test_teardown(nodes, peer_xenstored_stop),
        cmocka_unit_test_teardown(numbers, peer_xenstored_stop),
        cmocka_unit_test_teardown(numbers_in_order, peer_xenstored_stop),
        cmocka_unit_test_teardown(transactions, peer_xenstored_stop),
        cmocka_unit_test_teardown(conflict, peer_xenstored_stop),
        cmocka_unit_test_teardown(waiting, peer_xenstored_stop),
        cmocka_unit_test_teardown(storm, peer_xenstored_stop),
        cmocka_unit_test_teardown(daemon_dies, peer_xenstored_stop),
    };
    void *state = NULL;

    if (peer_setup(&state))
        return 1;
    return cmocka_run_group_tests(xs_nodes, NULL, peer_teardown);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs that are run as children: what they say, how they end, and that
 * they do end.
 */
#include <fcntl.h>
#include <signal.h>

#include "unit.h"

#include "child.h"

static xlx_ctx *ctx;
static int ticks;

static int run(const char *script, int timeout_ms, char **output)
{
    const char *const argv[] = { "sh", "-c", script, NULL };
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = timeout_ms, .max_output = 1000,
    };
    size_t len;

    return xlx__child_run(ctx, &child, output, &len);
}

static void output(void **state)
{
    char *text = NULL;
    (void)state;

    assert_ok(run("echo one; echo noise >&2; echo two", 30000, &text));
    assert_string_equal(text, "one\ntwo\n");
    free(text);
    text = NULL;
    assert_ok(run("exit 0", 30000, &text));
    assert_string_equal(text, "");
    free(text);
}

static void failures(void **state)
{
    static const char *const none[] = { "/no/such/program", "x", NULL };
    const struct xlx__child missing = {
        .argv = none, .timeout_ms = 1000, .max_output = 10,
    };
    char *text = NULL;
    (void)state;

    assert_fails(run("echo first >&2; echo 'sh: why' >&2; exit 3", 30000,
                     &text), ERROR_FAIL, "sh -c: why");
    assert_fails(run("exit 1", 30000, &text), ERROR_FAIL, "no reason given");
    assert_fails(run("kill -SEGV $$", 30000, &text), ERROR_FAIL,
                 "killed by signal 11");
    assert_fails(run("yes", 30000, &text), ERROR_FAIL, "over 1000 bytes");
    assert_fails(xlx__child_run(ctx, &missing, NULL, NULL), ERROR_NOTFOUND,
                 "is it installed?");
    assert_null(text);
}

static void deadline(void **state)
{
    int64_t before = xlx__now_ms();
    char *text = NULL;
    (void)state;

    assert_fails(run("exec sleep 1000", 1000, &text), ERROR_TIMEDOUT,
                 "no end after 1 seconds");
    assert_true(xlx__now_ms() - before < 20000);
}

static int third(void *user, const char *text)
{
    (void)user;
    (void)text;
    return ++ticks == 3;
}

static void cancelled(void **state)
{
    static const char *const argv[] = { "sleep", "1000", NULL };
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = 60000, .max_output = 1000, .tick = third,
    };
    (void)state;

    assert_fails(xlx__child_run(ctx, &child, NULL, NULL), ERROR_ABORTED,
                 "cancelled");
    assert_int_equal(ticks, 3);
}

/* A child gets none of our files, and the signals that a program expects. */
static void inheritance(void **state)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char *script = xlx__printf("test ! -e /proc/self/fd/%d", fd);
    sigset_t block;
    (void)state;

    assert_ok(run(script, 30000, NULL));
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    signal(SIGPIPE, SIG_IGN);
    assert_fails(run("kill -TERM $$; exit 0", 30000, NULL), ERROR_FAIL,
                 "killed by signal 15");
    assert_fails(run("kill -PIPE $$; exit 0", 30000, NULL), ERROR_FAIL,
                 "killed by signal 13");
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &block, NULL);
    close(fd);
    free(script);
}

static void status(void **state)
{
    static const char *const argv[] = { "sh", "-c", "exit 7", NULL };
    int got = -1;
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = 30000, .max_output = 10, .status_r = &got,
    };
    (void)state;

    assert_ok(xlx__child_run(ctx, &child, NULL, NULL));
    assert_int_equal(got, 7);
}

int main(void)
{
    const struct CMUnitTest child_run[] = {
        cmocka_unit_test(output),
        cmocka_unit_test(failures),
        cmocka_unit_test(deadline),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(inheritance),
        cmocka_unit_test(status),
    };
    int r;

    if (xlx_ctx_alloc(&ctx, NULL, NULL))
        return 1;
    r = cmocka_run_group_tests(child_run, NULL, NULL);
    xlx_ctx_free(ctx);
    return r;
}

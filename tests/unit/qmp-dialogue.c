/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The monitor's dialogue against a scripted peer: what is right, and
 * everything that a peer can do wrong.  Each wrong thing must come out as one
 * clean error, in time.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/qmp.h"
#include "peer.h"

#define SOCKET peer_path("qmp")
#define NEGOTIATE "accept", "greet", "expect qmp_capabilities", "return {}"
#define CALL NEGOTIATE, "expect test"

static struct xlx__qmp *open_fake(void)
{
    struct xlx__qmp *qmp = NULL;

    if (xlx__qmp_open_socket(peer_ctx(), SOCKET, &qmp))
        print_error("%s\n", xlx_error_get());
    assert_non_null(qmp);
    return qmp;
}

/* One call of "test" after a faultless start.  The descriptors and the time
 * are as before, whatever the peer did. */
static void call_once(pid_t fake, int timeout_ms, int expected,
                      const char *part, int fake_exit)
{
    int fds = peer_count_fds();
    int64_t start;
    struct xlx__qmp *qmp = open_fake();
    int rc;

    start = xlx__now_ms();
    rc = xlx__qmp_call_within(qmp, timeout_ms, "test", NULL, NULL);
    assert_in_range(xlx__now_ms() - start, 0, timeout_ms + 1000);
    assert_fails(rc, expected, part);
    xlx__qmp_close(qmp);
    unlink(SOCKET);
    if (fake_exit < 0)
        kill(fake, SIGKILL);
    assert_int_equal(peer_wait(fake), fake_exit);
    assert_int_equal(peer_count_fds(), fds);
}

static void answers(void **state)
{
    pid_t fake = peer_start("fake-qmp.py", SOCKET, NEGOTIATE,
                            "event RESUME",
                            "expect query-status", "event STOP",
                            "return {\"running\": true}",
                            "expect block-job-cancel",
                            "error DeviceNotActive no job \"x\"",
                            "expect a", "error CommandNotFound what?",
                            "expect b", "error DeviceNotFound none",
                            "expect c", "error GenericError no\n luck",
                            "expect d", "error Surprise !",
                            "expect e", "return [1]", "gone", NULL);
    struct xlx__qmp_traffic traffic;
    const struct xlx__json *result;
    struct xlx__json_out *args;
    struct xlx__qmp *qmp = open_fake();
    bool running = false;
    (void)state;

    assert_string_equal(xlx__qmp_version(qmp), "7.2.22");
    assert_int_equal(xlx__qmp_call(qmp, "query-status", NULL, &result), 0);
    assert_int_equal(xlx__json_member_bool(result, "running", &running), 0);
    assert_true(running);

    args = xlx__json_out_new(false);
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "device", "x");
    xlx__json_out_end(args);
    assert_fails(xlx__qmp_call(qmp, "block-job-cancel", args, NULL),
                 ERROR_QMP_DEVICE_NOT_ACTIVE,
                 "block-job-cancel: no job \"x\"");
    assert_fails(xlx__qmp_call(qmp, "a", NULL, NULL),
                 ERROR_QMP_COMMAND_NOT_FOUND, "a: what?");
    assert_fails(xlx__qmp_call(qmp, "b", NULL, NULL),
                 ERROR_QMP_DEVICE_NOT_FOUND, "b: none");
    assert_fails(xlx__qmp_call(qmp, "c", NULL, NULL),
                 ERROR_QMP_GENERIC_ERROR, "c: no");
    assert_fails(xlx__qmp_call(qmp, "d", NULL, NULL),
                 ERROR_UNKNOWN_QMP_ERROR, "d: !");
    assert_int_equal(xlx__qmp_call(qmp, "e", NULL, &result), 0);
    assert_int_equal(xlx__json_count(result), 1);

    xlx__qmp_traffic(qmp, &traffic);
    assert_int_equal(traffic.commands, 8);
    assert_in_range(traffic.bytes_sent, 8 * 30, 8 * 100);
    assert_in_range(traffic.bytes_received, 8 * 15, 8 * 150);
    xlx__qmp_close(qmp);
    unlink(SOCKET);
    assert_int_equal(peer_wait(fake), 0);
}

static void broken_args(void **state)
{
    pid_t fake = peer_start("fake-qmp.py", SOCKET, NEGOTIATE, "expect next",
                            "return {}", "gone", NULL);
    struct xlx__json_out *args = xlx__json_out_new(false);
    struct xlx__qmp *qmp = open_fake();
    (void)state;

    xlx__json_out_object(args);
    xlx__json_out_kv(args, "device", "\xff");
    xlx__json_out_end(args);
    assert_fails(xlx__qmp_call(qmp, "test", args, NULL), ERROR_INVAL,
                 "test: ");
    assert_int_equal(xlx__qmp_call(qmp, "next", NULL, NULL), 0);
    xlx__qmp_close(qmp);
    unlink(SOCKET);
    assert_int_equal(peer_wait(fake), 0);
}

static void odd_but_right(void **state)
{
    (void)state;
    /* in pieces, over several lines, brackets and quotes in strings */
    call_once(peer_start("fake-qmp.py", SOCKET, CALL,
                         "dribble \\n {\"return\":\\n {\"}\": \"]\\\\\\\"}\"},"
                         "\\n \"id\": %(id)d}", "gone", NULL),
              5000, 0, "", 0);
    /* two MiB */
    call_once(peer_start("fake-qmp.py", SOCKET, CALL, "raw {\"return\": [0",
                         "repeat 1000000 ,1", "raw ], \"id\": %(id)d}\\n",
                         "gone", NULL),
              10000, 0, "", 0);
    /* a thousand events, one of them large */
    call_once(peer_start("fake-qmp.py", SOCKET, CALL,
                         "repeat 1000 {\"event\": \"A\"}\\n",
                         "raw {\"event\": \"", "repeat 100000 x", "raw \"}\\n",
                         "return null", "gone", NULL),
              10000, 0, "", 0);
}

static const struct {
    const char *step, *message;
} wrong_answers[] = {
    { "raw hello\\n", "other than a JSON object" },
    { "raw [1]\\n", "other than a JSON object" },
    { "raw \\0\\0\\0\\0", "other than a JSON object" },
    { "raw \\xff\\xfe", "other than a JSON object" },
    { "raw {\\0}", "test: " },
    { "raw {\"return\" 1}\\n", "test: " },
    { "raw {\"return\": 1, \"id\": %(id)d]\\n", "test: " },
    { "raw {\"return\": \"\\xff\", \"id\": %(id)d}\\n", "test: " },
    { "raw {\"return\": 1, \"return\": 2, \"id\": %(id)d}\\n",
      "test: " },
    { "raw {}\\n", "without an id" },
    { "raw {\"return\": {}}\\n", "without an id" },
    { "raw {\"error\": {\"class\": \"GenericError\", "
      "\"desc\": \"JSON parse error\"}}\\n", "without an id" },
    { "raw {\"return\": {}, \"id\": \"%(id)d\"}\\n", "id" },
    { "raw {\"return\": {}, \"id\": %(id)d.5}\\n", "id" },
    { "raw {\"return\": {}, \"id\": 99999999999999999999}\\n", "id" },
    { "raw {\"return\": {}, \"id\": 1}\\n", "answer to 1 instead of 2" },
    { "raw {\"id\": %(id)d}\\n", "neither yes nor no" },
    { "raw {\"return\": {}, \"error\": {}, \"id\": %(id)d}\\n",
      "neither yes nor no" },
    { "raw {\"error\": \"no\", \"id\": %(id)d}\\n", "test: " },
    { "raw {\"error\": {\"class\": 1, \"desc\": \"\"}, \"id\": %(id)d}\\n",
      "class" },
    { "raw {\"error\": {\"class\": \"GenericError\"}, \"id\": %(id)d}\\n",
      "desc" },
    { "repeat 301 {\"return\":", "deeper than 300" },
    { "forever [", "other than a JSON object" },
    { "forever {\"a\":[", "deeper than 300" },
    { "forever {\"event\": \"A\"}\\n", "events came, and no answer" },
};

static void garbage(void **state)
{
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(wrong_answers); i++)
        call_once(peer_start("fake-qmp.py", SOCKET, CALL,
                             wrong_answers[i].step, NULL),
                  10000, ERROR_PROTOCOL_ERROR_QMP, wrong_answers[i].message,
                  0);
}

static void endless(void **state)
{
    (void)state;
    /* beyond the bound on size, well before the deadline */
    call_once(peer_start("fake-qmp.py", SOCKET, CALL,
                         "raw {\"return\": \"", "forever xxxxxxxxxxxxxxxxxxxx",
                         NULL),
              120000, ERROR_PROTOCOL_ERROR_QMP, "of more than 67108864 bytes",
              0);
    /* no object ever begins; and one begins slowly and does not end */
    call_once(peer_start("fake-qmp.py", SOCKET, CALL, "forever \\n", NULL),
              500, ERROR_TIMEDOUT, "no answer in time", 0);
    call_once(peer_start("fake-qmp.py", SOCKET, CALL,
                         "dribble {\"return\": \"0123456789012345678901234567"
                         "8901234567890123456789012345678901234567890123456789"
                         "8901234567890123456789012345678901234567890123456789"
                         "8901234567890123456789012345678901234567890123456789"
                         "890123456789012345678901234567890123456789012345678",
                         "sleep 30", NULL),
              100, ERROR_TIMEDOUT, "no answer in time", -SIGKILL);
}

static void silent_or_gone(void **state)
{
    (void)state;
    call_once(peer_start("fake-qmp.py", SOCKET, CALL, "sleep 30", NULL),
              200, ERROR_TIMEDOUT, "test: ", -SIGKILL);
    call_once(peer_start("fake-qmp.py", SOCKET, CALL, "close", NULL),
              5000, ERROR_FAIL, "closed by the other side", 0);
    call_once(peer_start("fake-qmp.py", SOCKET, CALL,
                         "raw {\"return\": {\"a\"", "close", NULL),
              5000, ERROR_FAIL, "closed by the other side", 0);
}

/* The peer has gone before we send: SIGPIPE would kill this program. */
static void gone_before(void **state)
{
    pid_t fake = peer_start("fake-qmp.py", SOCKET, NEGOTIATE, "close", NULL);
    struct xlx__qmp *qmp = open_fake();
    (void)state;

    assert_int_equal(peer_wait(fake), 0);
    assert_fails(xlx__qmp_call(qmp, "test", NULL, NULL), ERROR_FAIL,
                 "test: ");
    xlx__qmp_close(qmp);
    unlink(SOCKET);
}

/* The peer never reads: sending has the same deadline. */
static void never_reads(void **state)
{
    pid_t fake = peer_start("fake-qmp.py", SOCKET, NEGOTIATE, "sleep 30",
                            NULL);
    struct xlx__json_out *args = xlx__json_out_new(false);
    struct xlx__qmp *qmp = open_fake();
    char *text = malloc(4 << 20);
    int64_t start = xlx__now_ms();
    (void)state;

    assert_non_null(text);
    memset(text, 'x', (4 << 20) - 1);
    text[(4 << 20) - 1] = '\0';
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "x", text);
    xlx__json_out_end(args);
    assert_fails(xlx__qmp_call_within(qmp, 300, "test", args, NULL),
                 ERROR_TIMEDOUT, "test: ");
    assert_in_range(xlx__now_ms() - start, 250, 3000);
    xlx__qmp_close(qmp);
    free(text);
    unlink(SOCKET);
    kill(fake, SIGKILL);
    assert_int_equal(peer_wait(fake), -SIGKILL);
}

/* An answer that comes too late is not taken for the next command's. */
static void late(void **state)
{
    pid_t fake = peer_start("fake-qmp.py", SOCKET, CALL, "sleep 0.3",
                            "return {\"late\": 1}", "gone", NULL);
    struct xlx__qmp *qmp = open_fake();
    (void)state;

    assert_fails(xlx__qmp_call_within(qmp, 100, "test", NULL, NULL),
                 ERROR_TIMEDOUT, "test: ");
    usleep(500 * 1000);
    assert_fails(xlx__qmp_call(qmp, "other", NULL, NULL), ERROR_FAIL,
                 "other: ");
    xlx__qmp_close(qmp);
    unlink(SOCKET);
    assert_int_equal(peer_wait(fake), 0);
}

static void greetings(void **state)
{
    static const struct {
        const char *step, *message;
        int rc;
    } cases[] = {
        { "sleep 3", "try again", ERROR_NOT_READY },
        { "close", "closed by the other side", ERROR_FAIL },
        { "raw SSH-2.0-OpenSSH\\r\\n", "other than a JSON object",
          ERROR_PROTOCOL_ERROR_QMP },
        { "raw {\"event\": \"A\"}\\n", "greets in another way",
          ERROR_PROTOCOL_ERROR_QMP },
        { "raw {\"QMP\": 7}\\n", "greets in another way",
          ERROR_PROTOCOL_ERROR_QMP },
        { "raw {\"QMP\": {\"version\": {\"qemu\": {\"major\": \"7\"}}}}\\n",
          "major", ERROR_PROTOCOL_ERROR_QMP },
    };
    struct xlx__qmp *qmp = NULL;
    int64_t start;
    pid_t fake;
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(cases); i++) {
        fake = peer_start("fake-qmp.py", SOCKET, "accept", cases[i].step,
                          NULL);
        start = xlx__now_ms();
        assert_fails(xlx__qmp_open_socket(peer_ctx(), SOCKET, &qmp),
                     cases[i].rc, cases[i].message);
        assert_in_range(xlx__now_ms() - start, 0, 2500);
        assert_null(qmp);
        unlink(SOCKET);
        assert_int_equal(peer_wait(fake), 0);
    }
}

/* ---- which socket ------------------------------------------------------- */

/* Other clients are before us, until the queue is full: we hear of it at
 * once.  When they have gone we are served. */
static void full_queue(void **state)
{
    pid_t fake = peer_start("fake-qmp.py", SOCKET, "accept", "gone", "accept",
                            "gone", "accept", "gone", NEGOTIATE, "gone",
                            NULL);
    struct xlx__qmp *qmp = NULL;
    int fds[3], i;
    (void)state;

    for (i = 0; i < 3; i++) {
        do {
            fds[i] = peer_connect(SOCKET);
        } while (fds[i] < 0 && i < 1);
        assert_true(fds[i] >= 0);
        usleep(100 * 1000);
    }
    assert_fails(xlx__qmp_open_socket(peer_ctx(), SOCKET, &qmp),
                 ERROR_NOT_READY, "other clients wait");
    for (i = 0; i < 3; i++)
        close(fds[i]);
    usleep(200 * 1000);
    qmp = open_fake();
    xlx__qmp_close(qmp);
    unlink(SOCKET);
    assert_int_equal(peer_wait(fake), 0);
}

static void nobody(void **state)
{
    char long_path[300];
    struct xlx__qmp *qmp = NULL;
    pid_t fake;
    (void)state;

    assert_fails(xlx__qmp_open_socket(peer_ctx(), SOCKET, &qmp),
                 ERROR_NOTFOUND, "nobody listens");
    fake = peer_start("fake-qmp.py", SOCKET, NULL);     /* leaves at once */
    assert_int_equal(peer_wait(fake), 0);
    assert_fails(xlx__qmp_open_socket(peer_ctx(), SOCKET, &qmp),
                 ERROR_NOTFOUND, "nobody listens");
    unlink(SOCKET);
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    assert_fails(xlx__qmp_open_socket(peer_ctx(), long_path, &qmp),
                 ERROR_INVAL, "the path of a socket");
    assert_fails(xlx__qmp_open_socket(peer_ctx(), "", &qmp), ERROR_INVAL,
                 "the path of a socket");
    assert_null(qmp);
}

static void of_guest(void **state)
{
    char *path = strdup(SOCKET);
    xlx_guest guest = { .domid = XLX_DOMID_NONE, .qmp_socket = path };
    struct xlx__qmp *qmp = NULL;
    pid_t fake;
    (void)state;

    fake = peer_start("fake-qmp.py", path, NEGOTIATE, "gone", NULL);
    assert_int_equal(xlx__qmp_open(peer_ctx(), &guest, &qmp), 0);
    xlx__qmp_close(qmp);
    assert_int_equal(peer_wait(fake), 0);
    unlink(path);
    free(path);

    guest.qmp_socket = NULL;
    assert_fails(xlx__qmp_open(peer_ctx(), &guest, &qmp), ERROR_NOTFOUND,
                 "it is shut down");
    guest.domid = 7;
    assert_fails(xlx__qmp_open(peer_ctx(), &guest, &qmp), ERROR_NOTFOUND,
                 "domain 7: no QEMU serves it");
    setenv("LIBXLX_XEN_RUN_DIR", peer_dir, 1);
    assert_fails(xlx__qmp_open(peer_ctx(), &guest, &qmp), ERROR_NOTFOUND,
                 peer_dir);
    fake = peer_start("fake-qmp.py", peer_path("qmp-libxenstat-7"), NEGOTIATE,
                      "gone", NULL);
    assert_int_equal(xlx__qmp_open(peer_ctx(), &guest, &qmp), 0);
    xlx__qmp_close(qmp);
    assert_int_equal(peer_wait(fake), 0);
    unsetenv("LIBXLX_XEN_RUN_DIR");
}

/* The leftovers of a failed test must not make the next one fail. */
static int stop_peer(void **state)
{
    (void)state;
    unlink(SOCKET);
    return 0;
}

int main(void)
{
    const struct CMUnitTest qmp_dialogue[] = {
        cmocka_unit_test_teardown(answers, stop_peer),
        cmocka_unit_test_teardown(broken_args, stop_peer),
        cmocka_unit_test_teardown(odd_but_right, stop_peer),
        cmocka_unit_test_teardown(garbage, stop_peer),
        cmocka_unit_test_teardown(endless, stop_peer),
        cmocka_unit_test_teardown(silent_or_gone, stop_peer),
        cmocka_unit_test_teardown(gone_before, stop_peer),
        cmocka_unit_test_teardown(never_reads, stop_peer),
        cmocka_unit_test_teardown(late, stop_peer),
        cmocka_unit_test_teardown(greetings, stop_peer),
        cmocka_unit_test_teardown(full_queue, stop_peer),
        cmocka_unit_test_teardown(nobody, stop_peer),
        cmocka_unit_test_teardown(of_guest, stop_peer),
    };

    return cmocka_run_group_tests(qmp_dialogue, peer_setup, peer_teardown);
}

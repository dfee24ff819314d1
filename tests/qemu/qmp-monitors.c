/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The monitors of real QEMU programs, without a guest, and a real guest agent
 * that is not allowed to freeze anything.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/agent.h"
#include "guest/qmp.h"
#include "peer.h"

static char qmp_path[128], qga_path[128], chardev_arg[200], qga_arg[200];

static const char *const system_args[] = {
    "qemu-system-x86_64", "-M", "none", "-S", "-display", "none",
    "-nodefaults", "-chardev", chardev_arg, "-mon",
    "chardev=monitor,mode=control", "-chardev", qga_arg, NULL
};
static const char *const storage_args[] = {
    "qemu-storage-daemon", "--chardev", chardev_arg, "--monitor",
    "chardev=monitor", NULL
};
/* Freezing would stop this very machine. */
static const char *const agent_args[] = {
    "qemu-ga", "-m", "unix-listen", "-p", qga_path, "-t", peer_dir, "-b",
    "guest-fsfreeze-freeze,guest-fsfreeze-freeze-list,guest-fsfreeze-thaw",
    NULL
};

static pid_t peer_pid;

/* Runs a program until it listens; skips the test when there is none. */
static void start(const char *const *args, const char *path)
{
    int64_t deadline = xlx__now_ms() + 20000;

    peer_pid = fork();
    if (!peer_pid) {
        execvp(args[0], (char *const *)(uintptr_t)args);
        _exit(127);
    }
    while (access(path, F_OK) < 0) {
        int status;

        if (waitpid(peer_pid, &status, WNOHANG) == peer_pid) {
            peer_pid = 0;
            print_message("%s: not there, or does not start\n", args[0]);
            skip();
        }
        assert_true(xlx__now_ms() < deadline);
        usleep(20 * 1000);
    }
}

static int stop_programs(void **state)
{
    (void)state;
    if (peer_pid > 0) {
        kill(peer_pid, SIGKILL);
        waitpid(peer_pid, NULL, 0);
    }
    peer_pid = 0;
    unlink(qmp_path);
    unlink(qga_path);
    return 0;
}

/* The socket appears before anybody listens on it. */
static struct xlx__qmp *open_qmp(void)
{
    int64_t deadline = xlx__now_ms() + 20000;
    struct xlx__qmp *qmp = NULL;

    while (xlx__qmp_open_socket(peer_ctx(), qmp_path, &qmp))
        assert_true(xlx__now_ms() < deadline);
    return qmp;
}

static void version_is(const struct xlx__qmp *qmp, const struct xlx__json *v)
{
    int64_t major, minor, micro;
    char text[80];

    assert_non_null(v);
    assert_int_equal(xlx__json_member_int64(v, "major", &major), 0);
    assert_int_equal(xlx__json_member_int64(v, "minor", &minor), 0);
    assert_int_equal(xlx__json_member_int64(v, "micro", &micro), 0);
    snprintf(text, sizeof(text), "%d.%d.%d", (int)major, (int)minor,
             (int)micro);
    assert_string_equal(text, xlx__qmp_version(qmp));
}

static void dialogue(const char *const *args)
{
    const struct xlx__json *result;
    struct xlx__qmp_traffic traffic;
    struct xlx__qmp *qmp;

    start(args, qmp_path);
    qmp = open_qmp();
    assert_int_equal(xlx__qmp_call(qmp, "query-version", NULL, &result), 0);
    version_is(qmp, xlx__json_member(result, "qemu"));
    assert_fails(xlx__qmp_call(qmp, "xlx-no-such-command", NULL, NULL),
                 ERROR_QMP_COMMAND_NOT_FOUND, "xlx-no-such-command: ");
    assert_fails(xlx__qmp_call(qmp, "blockdev-del", NULL, NULL),
                 ERROR_QMP_GENERIC_ERROR, "blockdev-del: ");
    /* the largest answer that there is without a guest */
    assert_int_equal(xlx__qmp_call(qmp, "query-qmp-schema", NULL, &result),
                     0);
    assert_true(xlx__json_count(result) > 100);
    xlx__qmp_traffic(qmp, &traffic);
    assert_int_equal(traffic.commands, 5);
    assert_true(traffic.bytes_received > 50000);
    xlx__qmp_close(qmp);
}

static void system_dialogue(void **state)
{
    (void)state;
    dialogue(system_args);
}

static void storage_dialogue(void **state)
{
    (void)state;
    dialogue(storage_args);
}

/* RESUME and STOP come before the answers to what caused them. */
static void events(void **state)
{
    const struct xlx__json *result;
    struct xlx__qmp *qmp;
    bool running;
    int i;
    (void)state;

    start(system_args, qmp_path);
    qmp = open_qmp();
    for (i = 0; i < 20; i++) {
        assert_int_equal(xlx__qmp_call(qmp, "cont", NULL, NULL), 0);
        assert_int_equal(xlx__qmp_call(qmp, "query-status", NULL, &result),
                         0);
        assert_int_equal(xlx__json_member_bool(result, "running", &running),
                         0);
        assert_true(running);
        assert_int_equal(xlx__qmp_call(qmp, "stop", NULL, NULL), 0);
    }
    xlx__qmp_close(qmp);
}

/* Another client holds the socket.  We hear of it within the set time, that
 * client goes on undisturbed, and after it we are served, however often we
 * had tried. */
static void busy(const char *const *args)
{
    struct xlx__qmp *owner, *qmp = NULL;
    int64_t begin;
    int i;

    start(args, qmp_path);
    owner = open_qmp();
    for (i = 0; i < 4; i++) {
        begin = xlx__now_ms();
        assert_fails(xlx__qmp_open_socket(peer_ctx(), qmp_path, &qmp),
                     ERROR_NOT_READY, qmp_path);
        assert_in_range(xlx__now_ms() - begin, 0, 2500);
        assert_null(qmp);
        assert_int_equal(xlx__qmp_call(owner, "query-version", NULL, NULL),
                         0);
    }
    xlx__qmp_close(owner);
    begin = xlx__now_ms();
    while (xlx__qmp_open_socket(peer_ctx(), qmp_path, &qmp))
        assert_true(xlx__now_ms() - begin < 5000);
    assert_int_equal(xlx__qmp_call(qmp, "query-version", NULL, NULL), 0);
    xlx__qmp_close(qmp);
}

static void system_busy(void **state)
{
    (void)state;
    busy(system_args);
}

static void storage_busy(void **state)
{
    (void)state;
    busy(storage_args);
}

static void many_times(void **state)
{
    int fds = peer_count_fds();
    int i;
    (void)state;

    start(storage_args, qmp_path);
    for (i = 0; i < 200; i++)
        xlx__qmp_close(open_qmp());
    assert_int_equal(peer_count_fds(), fds);
}

static void frozen_and_killed(void **state)
{
    struct xlx__qmp *qmp;
    int64_t begin;
    pid_t killer;
    (void)state;

    start(system_args, qmp_path);
    qmp = open_qmp();
    kill(peer_pid, SIGSTOP);
    begin = xlx__now_ms();
    assert_fails(xlx__qmp_call_within(qmp, 300, "query-version", NULL, NULL),
                 ERROR_TIMEDOUT, "query-version: ");
    assert_in_range(xlx__now_ms() - begin, 300, 2000);
    xlx__qmp_close(qmp);
    kill(peer_pid, SIGCONT);

    qmp = open_qmp();
    kill(peer_pid, SIGSTOP);
    killer = fork();
    if (!killer) {
        usleep(200 * 1000);
        _exit(kill(peer_pid, SIGKILL) ? 1 : 0);
    }
    begin = xlx__now_ms();
    assert_fails(xlx__qmp_call(qmp, "query-version", NULL, NULL), ERROR_FAIL,
                 "query-version: ");
    assert_in_range(xlx__now_ms() - begin, 100, 5000);
    assert_int_equal(peer_wait(killer), 0);
    xlx__qmp_close(qmp);
}

static void agent_socket(void **state)
{
    xlx_guest guest = { .domid = XLX_DOMID_NONE, .qmp_socket = qmp_path };
    char *found = NULL;
    int client, i;
    (void)state;

    start(system_args, qmp_path);
    xlx__qmp_close(open_qmp());
    client = -1;
    for (i = 0; i < 2; i++) {           /* without and with a client */
        assert_int_equal(xlx__agent_socket(peer_ctx(), &guest, &found), 0);
        assert_string_equal(found, qga_path);
        free(found);
        if (!i)
            client = peer_connect(qga_path);
        assert_true(client >= 0);
    }
    close(client);
}

static void nobody_in_guest(void **state)
{
    struct xlx__agent *a = NULL;
    (void)state;

    start(system_args, qmp_path);
    xlx__qmp_close(open_qmp());
    assert_fails(xlx__agent_freeze(peer_ctx(), qga_path, &a),
                 ERROR_NOT_READY, "is qemu-ga running in the guest");
    assert_null(a);
}

/* Asks the agent itself, in its own words, before anything is tried. */
static bool freezing_is_blocked(void)
{
    static const char ask[] = "{\"execute\": \"guest-info\"}\n";
    static const char part[] = "\"name\": \"guest-fsfreeze-freeze\"";
    char text[65536], *end = text, *p, *begin;
    int fd = peer_connect(qga_path);
    ssize_t n;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, ask, sizeof(ask) - 1), sizeof(ask) - 1);
    do {
        usleep(10 * 1000);
        n = read(fd, end, text + sizeof(text) - 1 - end);
        assert_true(n > 0 || (n < 0 && errno == EAGAIN));
        end += n > 0 ? n : 0;
    } while (end == text || end[-1] != '\n');
    close(fd);
    *end = '\0';
    p = strstr(text, part);
    assert_non_null(p);
    for (begin = p; *begin != '{'; begin--)
        ;
    *strchr(p, '}') = '\0';
    return strstr(begin, "\"enabled\": false") != NULL;
}

static void real_agent(void **state)
{
    struct xlx__agent *a = NULL;
    (void)state;

    start(agent_args, qga_path);
    if (!freezing_is_blocked()) {
        print_message("this qemu-ga does not block what it should\n");
        skip();
    }
    assert_fails(xlx__agent_freeze(peer_ctx(), qga_path, &a),
                 ERROR_QMP_GENERIC_ERROR, "guest-fsfreeze-freeze: ");
    assert_null(a);
}

int main(void)
{
    const struct CMUnitTest qmp_monitors[] = {
        cmocka_unit_test_teardown(system_dialogue, stop_programs),
        cmocka_unit_test_teardown(storage_dialogue, stop_programs),
        cmocka_unit_test_teardown(events, stop_programs),
        cmocka_unit_test_teardown(system_busy, stop_programs),
        cmocka_unit_test_teardown(storage_busy, stop_programs),
        cmocka_unit_test_teardown(many_times, stop_programs),
        cmocka_unit_test_teardown(frozen_and_killed, stop_programs),
        cmocka_unit_test_teardown(agent_socket, stop_programs),
        cmocka_unit_test_teardown(nobody_in_guest, stop_programs),
        cmocka_unit_test_teardown(real_agent, stop_programs),
    };
    void *state = NULL;

    if (peer_setup(&state))
        return 1;
    snprintf(qmp_path, sizeof(qmp_path), "%s", peer_path("qmp"));
    snprintf(qga_path, sizeof(qga_path), "%s", peer_path("qga"));
    snprintf(chardev_arg, sizeof(chardev_arg),
             "socket,id=monitor,path=%s,server=on,wait=off", qmp_path);
    snprintf(qga_arg, sizeof(qga_arg),
             "socket,id=qga0,path=%s,server=on,wait=off", qga_path);
    return cmocka_run_group_tests(qmp_monitors, NULL, peer_teardown);
}

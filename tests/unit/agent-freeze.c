/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Freezing and thawing against an agent that can go wrong in every way.  What
 * counts is what the agent logged: whatever happens, "thawed" comes last.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/agent.h"
#include "peer.h"

static char path[128], log_path[128];
static pid_t agent_pid;

static void start(const char *fault)
{
    unlink(log_path);
    agent_pid = peer_start("fake-agent.py", path, log_path, fault, NULL);
}

static int stop_peer(void **state)
{
    (void)state;
    if (agent_pid > 0) {
        kill(agent_pid, SIGKILL);
        waitpid(agent_pid, NULL, 0);
    }
    agent_pid = 0;
    unlink(path);
    return 0;
}

/* Is that the last line of the agent's log? */
static bool logged_last(const char *line)
{
    size_t len = strlen(line);
    char text[4096];
    ssize_t n;
    int fd;

    fd = open(log_path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    n = read(fd, text, sizeof(text));
    close(fd);
    return n >= (ssize_t)len && !memcmp(text + n - len, line, len);
}

static bool logged_within(const char *line, int timeout_ms)
{
    int64_t deadline = xlx__now_ms() + timeout_ms;

    while (!logged_last(line)) {
        if (xlx__now_ms() > deadline)
            return false;
        usleep(20 * 1000);
    }
    return true;
}

static void freeze_and_thaw(void **state)
{
    struct xlx__agent *a = NULL;
    int fds = peer_count_fds();
    int i;
    (void)state;

    start(NULL);
    for (i = 0; i < 3; i++) {
        assert_int_equal(xlx__agent_freeze(peer_ctx(), path, &a), 0);
        assert_true(logged_last("frozen\n"));
        assert_int_equal(xlx__agent_thaw(a), 0);
        assert_true(logged_last("thawed\n"));
        a = NULL;
    }
    assert_int_equal(xlx__agent_thaw(NULL), 0);
    /* no descriptor and no child is left, not even a dead one */
    assert_int_equal(peer_count_fds(), fds);
    kill(agent_pid, SIGKILL);
    waitpid(agent_pid, NULL, 0);
    agent_pid = 0;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void noise(void **state)
{
    struct xlx__agent *a = NULL;
    (void)state;

    start("noise");
    assert_int_equal(xlx__agent_freeze(peer_ctx(), path, &a), 0);
    assert_int_equal(xlx__agent_thaw(a), 0);
    assert_true(logged_last("thawed\n"));
}

static void freeze_fails(const char *fault, int rc, const char *message,
                         int max_ms)
{
    struct xlx__agent *a = NULL;
    int fds = peer_count_fds();
    int64_t begin;

    start(fault);
    begin = xlx__now_ms();
    assert_fails(xlx__agent_freeze(peer_ctx(), path, &a), rc, message);
    assert_in_range(xlx__now_ms() - begin, 0, max_ms);
    assert_null(a);
    assert_int_equal(peer_count_fds(), fds);
}

static void refused(void **state)
{
    struct xlx__agent *a = NULL;
    (void)state;

    assert_fails(xlx__agent_freeze(peer_ctx(), path, &a), ERROR_NOTFOUND,
                 "nobody listens");
    freeze_fails("silent", ERROR_NOT_READY, "is qemu-ga running", 5000);
    stop_peer(NULL);
    freeze_fails("refuse", ERROR_QMP_GENERIC_ERROR,
                 "has been disabled", 3000);
    assert_true(logged_last("thawed\n"));
    stop_peer(NULL);
    freeze_fails("fail", ERROR_QMP_GENERIC_ERROR,
                 "failed to freeze /", 3000);
    assert_true(logged_last("thawed\n"));
}

static void lies(void **state)
{
    (void)state;
    freeze_fails("liar", ERROR_PROTOCOL_ERROR_QMP, "return", 3000);
    assert_true(logged_last("thawed\n"));
    stop_peer(NULL);
    freeze_fails("huge", ERROR_FAIL, "THE GUEST MAY STILL BE FROZEN", 30000);
}

static void dies(void **state)
{
    (void)state;
    freeze_fails("die", ERROR_FAIL, "THE GUEST MAY STILL BE FROZEN", 3000);
    stop_peer(NULL);
    freeze_fails("drop", ERROR_FAIL, "closed by the other side", 3000);
    assert_true(logged_last("thawed\n"));
}

/* The connection that froze never answers; the guard's is the same one.  The
 * error says what must be done by hand. */
static void hangs(void **state)
{
    (void)state;
    freeze_fails("hang", ERROR_FAIL, "THE GUEST MAY STILL BE FROZEN", 25000);
}

static void too_slow(void **state)
{
    (void)state;
    freeze_fails("slow", ERROR_GUEST_TIMEDOUT, "not frozen within 10 seconds",
                 20000);
    assert_true(logged_within("thawed\n", 5000));
}

static void thaw_fails(void **state)
{
    struct xlx__agent *a = NULL;
    (void)state;

    start("stuck");
    assert_int_equal(xlx__agent_freeze(peer_ctx(), path, &a), 0);
    assert_fails(xlx__agent_thaw(a), ERROR_FAIL,
                 "THE GUEST MAY STILL BE FROZEN");
    assert_non_null(strstr(xlx_error_get(), "failed to thaw /"));
}

static void did_not_last(void **state)
{
    static const char *const faults[] = { "thaws", "vss" };
    struct xlx__agent *a = NULL;
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(faults); i++) {
        start(faults[i]);
        assert_int_equal(xlx__agent_freeze(peer_ctx(), path, &a), 0);
        assert_fails(xlx__agent_thaw(a), ERROR_GUEST_TIMEDOUT,
                     "did not stay frozen");
        stop_peer(NULL);
    }
}

/* Freezes, says so, and waits to be killed. */
static pid_t freezer(int *lock_fd)
{
    struct xlx__agent *a = NULL;
    int fds[2];
    pid_t pid;
    char c;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (!pid) {
        setpgid(0, 0);
        if (lock_fd && flock(*lock_fd, LOCK_EX))
            _exit(1);
        if (xlx__agent_freeze(peer_ctx(), path, &a))
            _exit(1);
        if (write(fds[1], "f", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(fds[1]);
    if (lock_fd)
        close(*lock_fd);
    assert_int_equal(read(fds[0], &c, 1), 1);
    close(fds[0]);
    assert_true(logged_last("frozen\n"));
    return pid;
}

static void killed(void **state)
{
    pid_t pid;
    (void)state;

    start(NULL);
    pid = freezer(NULL);
    kill(pid, SIGKILL);
    assert_int_equal(peer_wait(pid), -SIGKILL);
    assert_true(logged_within("thawed\n", 10000));
}

/* A guest that talks without end costs the guard neither a minute nor its
 * processor. */
static void floods(void **state)
{
    pid_t pid;
    (void)state;

    start("flood");
    pid = freezer(NULL);
    kill(pid, SIGKILL);
    assert_int_equal(peer_wait(pid), -SIGKILL);
    assert_true(logged_within("hung up\n", 20000));
}

/* The whole process group gets Ctrl-C, SIGTERM, and SIGKILL in the end. */
static void group_killed(void **state)
{
    pid_t pid;
    (void)state;

    start(NULL);
    pid = freezer(NULL);
    kill(-pid, SIGINT);
    kill(-pid, SIGKILL);
    peer_wait(pid);
    assert_true(logged_within("thawed\n", 10000));
}

/* The guard holds nothing of its parent's, a lock least of all. */
static void guard_holds_nothing(void **state)
{
    char lock_path[160];
    int fd, other;
    pid_t pid;
    (void)state;

    snprintf(lock_path, sizeof(lock_path), "%s", peer_path("lock"));
    fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    other = open(lock_path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0 && other >= 0);
    start(NULL);
    pid = freezer(&fd);
    kill(agent_pid, SIGSTOP);           /* the guard must wait for it */
    kill(pid, SIGKILL);
    peer_wait(pid);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    kill(agent_pid, SIGCONT);
    assert_true(logged_within("thawed\n", 10000));
    close(other);
}

/* A program that ignores SIGCHLD reaps the intermediate child by that. */
static void sigchld_ignored(void **state)
{
    struct xlx__agent *a = NULL;
    (void)state;

    start(NULL);
    signal(SIGCHLD, SIG_IGN);
    assert_int_equal(xlx__agent_freeze(peer_ctx(), path, &a), 0);
    assert_int_equal(xlx__agent_thaw(a), 0);
    signal(SIGCHLD, SIG_DFL);
    assert_true(logged_last("thawed\n"));
}

static void no_socket(void **state)
{
    char name[] = "guest";
    xlx_guest guest = { .name = name, .domid = XLX_DOMID_NONE };
    char *found = NULL;
    (void)state;

    assert_fails(xlx__agent_socket(peer_ctx(), &guest, &found),
                 ERROR_NOT_READY, "shut down");
    assert_null(found);
}

static void chardev(void **state)
{
    char *qmp_path = strdup(peer_path("qmp")), *found = NULL;
    xlx_guest guest = { .domid = XLX_DOMID_NONE, .qmp_socket = qmp_path };
    pid_t fake;
    (void)state;

    fake = peer_start("fake-qmp.py", qmp_path,
        "accept", "greet", "expect qmp_capabilities", "return {}",
        "expect query-chardev",
        "return [{\"label\": \"qmp\", \"filename\": \"unix:/a,server=on\"},"
        " {\"label\": \"qga0\", \"filename\": \"pty:/dev/pts/1\"},"
        " {\"label\": \"qga1\","
        "  \"filename\": \"disconnected:unix:/b,server=on\"}]",
        "accept", "greet", "expect qmp_capabilities", "return {}",
        "expect query-chardev",
        "return [{\"label\": \"x-org.qemu.guest_agent.0\","
        "  \"filename\": \"unix:/c,server=on\"}]",
        "accept", "greet", "expect qmp_capabilities", "return {}",
        "expect query-chardev",
        "return [{\"label\": \"x\", \"filename\": \"unix:/c,server=on\"}]",
        "accept", "greet", "expect qmp_capabilities", "return {}",
        "expect query-chardev", "return {\"label\": 1}", "gone", NULL);
    assert_int_equal(xlx__agent_socket(peer_ctx(), &guest, &found), 0);
    assert_string_equal(found, "/b");
    free(found);
    assert_int_equal(xlx__agent_socket(peer_ctx(), &guest, &found), 0);
    assert_string_equal(found, "/c");
    free(found);
    found = NULL;
    assert_fails(xlx__agent_socket(peer_ctx(), &guest, &found),
                 ERROR_NOT_READY, "no character device");
    assert_int_not_equal(xlx__agent_socket(peer_ctx(), &guest, &found), 0);
    assert_null(found);
    unlink(qmp_path);
    free(qmp_path);
    assert_int_equal(peer_wait(fake), 0);
}

int main(void)
{
    const struct CMUnitTest agent_freeze[] = {
        cmocka_unit_test_teardown(freeze_and_thaw, stop_peer),
        cmocka_unit_test_teardown(noise, stop_peer),
        cmocka_unit_test_teardown(refused, stop_peer),
        cmocka_unit_test_teardown(lies, stop_peer),
        cmocka_unit_test_teardown(dies, stop_peer),
        cmocka_unit_test_teardown(hangs, stop_peer),
        cmocka_unit_test_teardown(too_slow, stop_peer),
        cmocka_unit_test_teardown(thaw_fails, stop_peer),
        cmocka_unit_test_teardown(did_not_last, stop_peer),
        cmocka_unit_test_teardown(floods, stop_peer),
        cmocka_unit_test_teardown(killed, stop_peer),
        cmocka_unit_test_teardown(group_killed, stop_peer),
        cmocka_unit_test_teardown(guard_holds_nothing, stop_peer),
        cmocka_unit_test_teardown(sigchld_ignored, stop_peer),
        cmocka_unit_test_teardown(no_socket, stop_peer),
        cmocka_unit_test_teardown(chardev, stop_peer),
    };
    void *state = NULL;

    if (peer_setup(&state))
        return 1;
    snprintf(path, sizeof(path), "%s", peer_path("agent"));
    snprintf(log_path, sizeof(log_path), "%s", peer_path("log"));
    return cmocka_run_group_tests(agent_freeze, NULL, peer_teardown);
}

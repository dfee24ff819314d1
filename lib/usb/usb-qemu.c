/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A QEMU that is nobody's child.  QEMU's own -daemonize would forbid two parts
 * of its sandbox, because it forks and makes a session, and its log would have
 * no limit: a guest can make it speak.  A process of ours is its parent here,
 * reads what it says, keeps the end of that, and ends with it.
 *
 * It stays root: it opens Xen's devices and the nodes of USB devices while it
 * runs, each time that something is attached.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/child.h"
#include "usb/usb.h"

#define LOG_MAX (64 << 10)

/* The processes begin with these: the pipe from QEMU, its log, the pipe on
 * which its number is reported, and /dev/null. */
struct start {
    const char *const *argv;
    int from, to, log, report_from, report_to, null;
};

/* ---- the processes: calls that are async-signal-safe, and no others ----- */

static void put(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t r = write(fd, text, len);

        if (r < 0 && errno != EINTR)
            return;
        text += r > 0 ? r : 0;
        len -= r > 0 ? (size_t)r : 0;
    }
}

static void __attribute__((noreturn)) be_qemu(const struct start *s)
{
    sigset_t none;

    dup2(s->null, 0);
    dup2(s->to, 1);
    dup2(s->to, 2);
    xlx__close_range(3, UINT_MAX);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(s->argv[0], (char *const *)(uintptr_t)s->argv);
    _exit(127);
}

/* Until QEMU has closed it. */
static void keep_log(const struct start *s)
{
    char bytes[4096];
    size_t size = 0;
    ssize_t len;

    for (;;) {
        len = read(s->from, bytes, sizeof(bytes));
        if (len < 0 && errno == EINTR)
            continue;
        if (len <= 0)
            return;
        if (size + (size_t)len > LOG_MAX) {
            if (ftruncate(s->log, 0) || lseek(s->log, 0, SEEK_SET))
                return;
            size = 0;
        }
        put(s->log, bytes, (size_t)len);
        size += (size_t)len;
    }
}

/* Its last words, when it had none itself. */
static void note_signal(const struct start *s, int number)
{
    char text[] = "it was ended by signal 00\n";
    char *digits = text + sizeof(text) - 4;

    digits[0] = (char)('0' + number / 10 % 10);
    digits[1] = (char)('0' + number % 10);
    put(s->log, text, sizeof(text) - 1);
}

static void __attribute__((noreturn)) be_parent(const struct start *s)
{
    int status;
    pid_t pid;

    setsid();
    if (chdir("/"))
        _exit(1);
    pid = xlx__clone(SIGCHLD);
    if (!pid)
        be_qemu(s);
    put(s->report_to, (const char *)&pid, sizeof(pid));
    if (pid < 0)
        _exit(1);
    prctl(PR_SET_NAME, "xlx-qemu-log");
    dup2(s->null, 0);
    dup2(s->null, 1);
    dup2(s->null, 2);
    close(s->report_from);
    close(s->report_to);
    close(s->to);
    keep_log(s);
    close(s->from);
    if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
        note_signal(s, WTERMSIG(status));
    _exit(0);
}

/* Keeps those descriptors alone, above the first three: locks and connections
 * of the caller's must not live on here. */
static int keep_files(struct start *s)
{
    int *const fds[] = {
        &s->from, &s->to, &s->log, &s->report_from, &s->report_to, &s->null,
    };
    int i, num = (int)XLX__ARRAY_SIZE(fds);

    for (i = 0; i < num; i++) {
        *fds[i] = fcntl(*fds[i], F_DUPFD, 3 + num);
        if (*fds[i] < 0)
            return -1;
    }
    for (i = 0; i < num; i++) {
        if (dup2(*fds[i], 3 + i) < 0)
            return -1;
        *fds[i] = 3 + i;
    }
    xlx__close_range(3 + (unsigned int)num, UINT_MAX);
    return 0;
}

static void __attribute__((noreturn)) be_between(struct start *s)
{
    pid_t pid;

    if (keep_files(s))
        _exit(1);
    pid = xlx__clone(SIGCHLD);
    if (!pid)
        be_parent(s);
    _exit(pid < 0);
}

/* ---- the caller --------------------------------------------------------- */

static int open_all(struct start *s, const char *log)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC))
        return -1;
    s->from = fds[0];
    s->to = fds[1];
    if (pipe2(fds, O_CLOEXEC))
        return -1;
    s->report_from = fds[0];
    s->report_to = fds[1];
    s->log = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                  0600);
    s->null = open("/dev/null", O_RDWR | O_CLOEXEC);
    return s->log < 0 || s->null < 0 ? -1 : 0;
}

static void close_one(int fd)
{
    if (fd >= 0)
        close(fd);
}

static int fork_all(struct start *s)
{
    sigset_t all, before;
    int status = 0, r;
    pid_t pid;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = xlx__clone(0);
    if (!pid)
        be_between(s);
    r = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = r;
    if (pid < 0)
        return -1;
    do {
        r = waitpid(pid, &status, __WALL);
    } while (r < 0 && errno == EINTR);
    errno = EAGAIN;
    return r == pid && WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -1;
}

int xlx__usb_qemu_run(const char *const *argv, const char *log, pid_t *pid_r)
{
    struct start s = { argv, -1, -1, -1, -1, -1, -1 };
    pid_t pid = -1;
    ssize_t len;
    int rc = 0;

    if (open_all(&s, log) || fork_all(&s)) {
        rc = xlx__error(xlx__errno_rc(errno), "%s cannot be started: %m",
                        argv[0]);
        goto out;
    }
    close(s.report_to);
    s.report_to = -1;
    do {
        len = read(s.report_from, &pid, sizeof(pid));
    } while (len < 0 && errno == EINTR);
    if (len != sizeof(pid) || pid < 0) {
        rc = xlx__error(ERROR_FAIL, "%s cannot be started", argv[0]);
        goto out;
    }
    *pid_r = pid;

 out:
    close_one(s.from);
    close_one(s.to);
    close_one(s.log);
    close_one(s.report_from);
    close_one(s.report_to);
    close_one(s.null);
    return rc;
}

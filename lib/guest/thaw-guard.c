/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The child that thaws a guest.  It is forked from a program that may have
 * threads, so from fork on it makes only calls that are async-signal-safe.
 * It is nobody's child for long: an intermediate child, which we wait for
 * and which no other wait can meet (child.h), makes it an orphan.  The two
 * ends of a socket pair tell each that the other lives.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/child.h"
#include "guest/thaw-guard.h"

#define START_TIMEOUT_MS    5000
#define END_TIMEOUT_MS      2000
#define SEND_TIMEOUT_MS     10000
/* How long an orphaned guard waits for the guest to take note. */
#define ANSWER_TIMEOUT_MS   60000
/* How much it reads while it waits: far above what answers to our few
 * commands can be. */
#define MAX_ANSWER          (4u << 20)

#define WORD_READY  'r'             /* the guard's */
#define WORD_DONE   'd'             /* the parent's */

/* Answers come in order: when this number is echoed, the thaw before it has
 * been carried out.  No call of the parent's uses it. */
#define SYNC_ID "1999999999"
static const char thaw[] = XLX__GUARD_THAW;
static const char thaw_and_sync[] = XLX__GUARD_THAW
    "\xff{\"execute\": \"guest-sync-delimited\", "
    "\"arguments\": {\"id\": " SYNC_ID "}}\n";

/* ---- the child ---------------------------------------------------------- */

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

/* A negative deadline is none.  False when it has passed. */
static bool wait_for(int fd, short events, int64_t deadline)
{
    struct pollfd pfd = { .fd = fd, .events = events };
    int64_t left = -1;
    int r;

    do {
        if (deadline >= 0) {
            left = deadline - now_ms();
            if (left <= 0)
                return false;
        }
        r = poll(&pfd, 1, (int)left);
    } while (r == 0 || (r < 0 && errno == EINTR));
    return r > 0;
}

static void say(int fd, const char *text, size_t len)
{
    int64_t deadline = now_ms() + SEND_TIMEOUT_MS;
    ssize_t r;

    while (len && wait_for(fd, POLLOUT, deadline)) {
        r = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (r > 0) {
            text += r;
            len -= r;
        } else if (errno != EAGAIN && errno != EINTR) {
            return;
        }
    }
}

/* Does the number of our sync end in these bytes?  *seen is how much of it
 * came before them.  Its first digit occurs in it only once, so a mismatch
 * needs no step back. */
static bool find_sync(const char *bytes, size_t len, size_t *seen)
{
    static const char id[] = SYNC_ID;
    size_t i;

    for (i = 0; i < len && id[*seen]; i++)
        *seen = bytes[i] == id[*seen] ? *seen + 1 : bytes[i] == id[0];
    return !id[*seen];
}

/* Until that number has passed by, or the guest takes too long or talks too
 * much: a guest that floods us costs no more than the bytes that an agent
 * may have left behind. */
static void await_sync(int fd)
{
    int64_t deadline = now_ms() + ANSWER_TIMEOUT_MS;
    char bytes[16384];
    size_t seen = 0, total = 0;
    ssize_t r;

    while (total < MAX_ANSWER && wait_for(fd, POLLIN, deadline)) {
        r = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (r == 0 || (r < 0 && errno != EAGAIN && errno != EINTR))
            return;
        if (r > 0 && find_sync(bytes, r, &seen))
            return;
        if (r > 0)
            total += r;
    }
}

/* Locks, pipes and sockets of the caller's must not live on in the guard. */
static void close_all_but(int a, int b)
{
    unsigned int low = a < b ? a : b, high = a < b ? b : a;

    if (low)
        xlx__close_range(0, low - 1);
    xlx__close_range(low + 1, high - 1);
    xlx__close_range(high + 1, UINT_MAX);
}

/* The parent's word; 0 when it has gone without one. */
static char hear(int parent_fd)
{
    char word = 0;

    while (recv(parent_fd, &word, 1, 0) < 0 && errno == EINTR)
        ;
    return word;
}

/* All signals are blocked from before the fork: neither Ctrl-C nor a service
 * manager's SIGTERM ends the guard before its time. */
static void __attribute__((noreturn))
guard_main(int agent_fd, int parent_fd)
{
    static const char ready = WORD_READY;

    setsid();
    if (chdir("/") < 0)
        _exit(1);
    close_all_but(agent_fd, parent_fd);
    prctl(PR_SET_NAME, "xlx-thaw-guard");
    say(parent_fd, &ready, 1);

    /* While the parent lives, the answers are the parent's to read. */
    if (!wait_for(parent_fd, POLLIN, now_ms() + XLX__GUARD_MAX_FREEZE_MS)) {
        say(agent_fd, thaw, sizeof(thaw) - 1);
        wait_for(parent_fd, POLLIN, -1);
    }
    if (hear(parent_fd) == WORD_DONE)
        _exit(0);
    /* QEMU may drop what it has not read when a client closes, hence the
     * wait for an answer. */
    say(agent_fd, thaw_and_sync, sizeof(thaw_and_sync) - 1);
    await_sync(agent_fd);
    _exit(0);
}

/* ---- the parent --------------------------------------------------------- */

/* The intermediate child: the exit code is the errno of the second fork. */
static void __attribute__((noreturn))
intermediate(int agent_fd, int parent_fd)
{
    pid_t pid = xlx__clone(SIGCHLD);

    if (pid < 0)
        _exit(errno < 256 ? errno : EAGAIN);
    if (!pid)
        guard_main(agent_fd, parent_fd);
    _exit(0);
}

/* Returns 0 or an errno value. */
static int fork_guard(int agent_fd, int parent_fd)
{
    sigset_t all, before;
    int status, r;
    pid_t pid;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = xlx__clone(0);
    if (!pid)
        intermediate(agent_fd, parent_fd);
    r = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return r;

    do {
        r = waitpid(pid, &status, __WALL);
    } while (r < 0 && errno == EINTR);
    if (r != pid)
        return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* Waits for one byte or the end of the stream. */
static bool read_word(int fd, int timeout_ms, char *word_r)
{
    return wait_for(fd, POLLIN, now_ms() + timeout_ms)
           && recv(fd, word_r, 1, MSG_DONTWAIT) == 1;
}

int xlx__thaw_guard_start(int agent_fd, struct xlx__thaw_guard *guard)
{
    int fds[2], errnoval;
    char word;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return xlx__error(xlx__errno_rc(errno), "socketpair: %s",
                          strerror(errno));
    errnoval = fork_guard(agent_fd, fds[1]);
    close(fds[1]);
    if (!errnoval && !(read_word(fds[0], START_TIMEOUT_MS, &word)
                       && word == WORD_READY))
        errnoval = ETIMEDOUT;
    if (errnoval) {
        close(fds[0]);
        return xlx__error(xlx__errno_rc(errnoval), "cannot start the process "
                          "that thaws the guest if this one dies: %s",
                          strerror(errnoval));
    }
    guard->fd = fds[0];
    return 0;
}

void xlx__thaw_guard_dismiss(struct xlx__thaw_guard *guard)
{
    static const char done = WORD_DONE;
    char word;

    if (guard->fd < 0)
        return;
    say(guard->fd, &done, 1);
    read_word(guard->fd, END_TIMEOUT_MS, &word);    /* it says nothing: ends */
    xlx__thaw_guard_leave(guard);
}

void xlx__thaw_guard_leave(struct xlx__thaw_guard *guard)
{
    if (guard->fd >= 0)
        close(guard->fd);
    guard->fd = -1;
}

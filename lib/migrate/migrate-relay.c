/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process between libxl and the other host.  libxl writes the guest's
 * memory from inside of one call, in part with writes that block, so that
 * nobody in this process could read at the same time.  The other host makes
 * the guest when it has the end of the stream: that end is passed on only at
 * the caller's word, when the disks there are complete.
 *
 * It is a copy of this process that makes only calls that are
 * async-signal-safe, and it ends with its parent: then the other host has no
 * whole guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/child.h"
#include "migrate/migrate.h"

#define PIPE_SIZE (1 << 20)
#define FINISH_MS 600000            /* the other host takes what is in pipes */
#define RELEASE_MS 60000

/* The words of the two. */
#define WORD_RELEASE 'r'

struct word {
    char what;                      /* 'w'hole, 'c'ut or 'x', 'r'eleased */
    uint64_t passed;
};

/* ---- the process -------------------------------------------------------- */

struct ends {
    int in, out, control;
};

/* The parent has gone, or has closed the control. */
static bool is_alone(int control)
{
    struct pollfd p = { .fd = control, .events = POLLIN };

    return poll(&p, 1, 0) > 0;
}

static bool write_all(void *user, const unsigned char *bytes, size_t len)
{
    const struct ends *e = user;
    struct pollfd p[2] = {
        { .fd = e->out, .events = POLLOUT },
        { .fd = e->control, .events = POLLIN },
    };
    ssize_t n;

    while (len) {
        n = write(e->out, bytes, len);
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (poll(p, 2, -1) > 0 && p[1].revents)
                return false;
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* Everything that comes; true at the end of the input. */
static bool pass_all(struct xlx__stream *s, struct ends *e)
{
    static unsigned char bytes[65536];
    struct pollfd p[2] = {
        { .fd = e->in, .events = POLLIN },
        { .fd = e->control, .events = POLLIN },
    };
    ssize_t n;

    for (;;) {
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return false;
        if (p[1].revents)
            return false;
        n = read(e->in, bytes, sizeof(bytes));
        if (!n)
            return true;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        if (n > 0 && !xlx__stream_take(s, bytes, (size_t)n, write_all, e))
            return false;
    }
}

static void say(int control, char what, uint64_t passed)
{
    struct word word;

    memset(&word, 0, sizeof(word));
    word.what = what;
    word.passed = passed;
    while (send(control, &word, sizeof(word), MSG_NOSIGNAL) < 0 &&
           errno == EINTR)
        ;
}

static bool hear_release(int control)
{
    char word = 0;

    while (recv(control, &word, 1, 0) < 0 && errno == EINTR)
        ;
    return word == WORD_RELEASE;
}

static void __attribute__((noreturn)) relay_main(struct ends *e)
{
    static struct xlx__stream s;
    bool whole, cut;

    /* numbers that nothing else has, and nothing else is open */
    if (dup2(e->in, 0) < 0 || dup2(e->out, 1) < 0 || dup2(e->control, 2) < 0)
        _exit(1);
    *e = (struct ends){ .in = 0, .out = 1, .control = 2 };
    xlx__close_range(3, UINT_MAX);
    setpgid(0, 0);                  /* Ctrl-C is for the parent */
    prctl(PR_SET_NAME, "xlx-migrate-relay");
    xlx__stream_init(&s);
    cut = !pass_all(&s, e);
    whole = !cut && xlx__stream_is_whole(&s);
    if (is_alone(e->control))
        _exit(1);
    say(e->control, whole ? 'w' : cut ? 'x' : 'c', s.passed);
    /* libxl's next write fails */
    close(e->in);
    if (!whole || !hear_release(e->control))
        _exit(1);
    if (!write_all(e, xlx__stream_end(&s), XLX__STREAM_END_SIZE))
        _exit(1);
    say(e->control, 'r', s.passed + XLX__STREAM_END_SIZE);
    _exit(0);
}

/* An intermediate process, which we wait for: the relay is nobody's child. */
static pid_t start(struct ends *e)
{
    sigset_t all, before;
    pid_t pid;
    int status;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = xlx__clone(0);
    if (!pid) {
        pid = xlx__clone(0);
        if (!pid)
            relay_main(e);
        _exit(pid < 0);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return -1;
    while (waitpid(pid, &status, __WALL) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -1;
}

/* ---- the caller --------------------------------------------------------- */

int xlx__relay_start(int out, struct xlx__relay *relay)
{
    int in[2] = { -1, -1 }, control[2] = { -1, -1 }, i, rc = 0;
    struct ends e;

    if (pipe2(in, O_CLOEXEC) ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control)) {
        rc = xlx__error(xlx__errno_rc(errno), "a pipe for the guest's memory:"
                        " %m");
        goto out;
    }
    (void)fcntl(in[1], F_SETPIPE_SZ, PIPE_SIZE);
    /* above 2, so that none of the three is overwritten by another */
    e = (struct ends){
        .in = fcntl(in[0], F_DUPFD_CLOEXEC, 3),
        .out = fcntl(out, F_DUPFD_CLOEXEC, 3),
        .control = fcntl(control[1], F_DUPFD_CLOEXEC, 3),
    };
    if (e.in < 0 || e.out < 0 || e.control < 0 || start(&e))
        rc = xlx__error(ERROR_FAIL, "the process that passes the guest's "
                        "memory on cannot be started: %m");
    for (i = 0; i < 3; i++)
        if ((&e.in)[i] >= 0)
            close((&e.in)[i]);
    if (rc) goto out;
    relay->fd = in[1];
    relay->control = control[0];
    in[1] = control[0] = -1;

 out:
    for (i = 0; i < 2; i++) {
        if (in[i] >= 0)
            close(in[i]);
        if (control[i] >= 0)
            close(control[i]);
    }
    return rc;
}

static int hear(struct xlx__relay *relay, int ms, struct word *word_r)
{
    struct pollfd p = { .fd = relay->control, .events = POLLIN };
    const int64_t deadline = xlx__now_ms() + ms;
    int64_t left;

    memset(word_r, 0, sizeof(*word_r));
    do {
        left = deadline - xlx__now_ms();
    } while (left > 0 && poll(&p, 1, (int)left) < 0 && errno == EINTR);
    if (left <= 0 || !p.revents)
        return xlx__error(ERROR_TIMEDOUT, "the other host does not take the "
                          "guest's memory");
    if (recv(relay->control, word_r, sizeof(*word_r), MSG_DONTWAIT) !=
        sizeof(*word_r))
        return xlx__error(ERROR_FAIL, "the process that passes the guest's "
                          "memory on has ended");
    return 0;
}

int xlx__relay_finish(struct xlx__relay *relay, uint64_t *bytes_r)
{
    struct word word;
    int rc;

    if (relay->fd >= 0)
        close(relay->fd);
    relay->fd = -1;
    rc = hear(relay, FINISH_MS, &word);
    if (rc) return rc;
    *bytes_r = word.passed;
    if (word.what == 'w')
        return 0;
    return word.what == 'c'
        ? xlx__error(ERROR_FAIL, "libxl's stream with the guest's memory has "
                     "no end")
        : xlx__error(ERROR_FAIL, "the connection with the guest's memory "
                     "broke, or libxl's stream is not one of version 2");
}

int xlx__relay_release(struct xlx__relay *relay)
{
    static const char release = WORD_RELEASE;
    struct word word;
    int rc;

    if (send(relay->control, &release, 1, MSG_NOSIGNAL) != 1)
        return xlx__error(ERROR_FAIL, "the process that passes the guest's "
                          "memory on has ended");
    rc = hear(relay, RELEASE_MS, &word);
    if (!rc && word.what != 'r')
        rc = xlx__error(ERROR_FAIL, "the end of the guest's memory cannot be "
                        "sent");
    return rc;
}

void xlx__relay_stop(struct xlx__relay *relay)
{
    if (relay->fd >= 0)
        close(relay->fd);
    if (relay->control >= 0)
        close(relay->control);
    relay->fd = relay->control = -1;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening a disk exclusively, as a question to the kernel.  The open() of a
 * disk whose adapter is in error recovery sleeps where no signal reaches it:
 * so a copy of this process does it, which has none of our files and locks,
 * and which is left alone when it is late.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/child.h"
#include "core/kernfs.h"
#include "hostdev/hostdev-use.h"

#define TIMEOUT_MS 10000
#define ANSWER_FD 0                 /* in the copy, its only file */

/* An errno, 0 when it was opened. */
struct answer {
    int errnoval;
    bool other;                     /* the node has another number */
};

static void __attribute__((noreturn))
ask(const char *path, dev_t number, int report)
{
    struct answer answer = { .errnoval = 0 };
    struct stat st;
    int fd;

    if (report != ANSWER_FD && dup2(report, ANSWER_FD) < 0)
        _exit(1);
    xlx__close_range(ANSWER_FD + 1, UINT_MAX);
    /* the medium of a drive need not be there, hence O_NONBLOCK */
    fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        answer.errnoval = errno;
    else
        answer.other = !fstat(fd, &st) && S_ISBLK(st.st_mode) &&
                       st.st_rdev != number;
    if (write(ANSWER_FD, &answer, sizeof(answer)) < 0)
        _exit(1);
    _exit(0);
}

static pid_t start(const char *path, dev_t number, int report)
{
    sigset_t all, before;
    pid_t pid;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);    /* no handler of the caller's
                                                 * in the copy */
    pid = xlx__clone(0);
    if (!pid)
        ask(path, number, report);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

static int wait_for(int fd, int64_t deadline, const char *path,
                    struct answer *answer)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int64_t left;
    ssize_t r;

    for (;;) {
        left = deadline - xlx__now_ms();
        if (left <= 0)
            return xlx__error(ERROR_TIMEDOUT, "%s: the disk does not answer "
                              "within %d seconds", path, TIMEOUT_MS / 1000);
        if (poll(&p, 1, (int)left) > 0)
            break;
    }
    do r = read(fd, answer, sizeof(*answer)); while (r < 0 && errno == EINTR);
    if (r != sizeof(*answer))
        return xlx__error(ERROR_FAIL, "%s: the process that was to open it "
                          "has ended", path);
    return 0;
}

static int judge(const struct answer *answer, const char *path, bool *free_r)
{
    *free_r = answer->errnoval != EBUSY;
    if (answer->other)
        return xlx__error(ERROR_FAIL, "%s: it is the node of another device",
                          path);
    if (!answer->errnoval || answer->errnoval == EBUSY ||
        answer->errnoval == ENOMEDIUM)
        return 0;
    return xlx__error(xlx__errno_rc(answer->errnoval), "%s: cannot open: %s",
                      path, strerror(answer->errnoval));
}

static int open_bounded(const char *path, dev_t number, bool *free_r)
{
    struct answer answer = { .errnoval = 0 };
    int ends[2], rc;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC))
        return xlx__error(ERROR_FAIL, "%s: cannot open: %m", path);
    pid = start(path, number, ends[1]);
    if (pid < 0)
        rc = xlx__error(ERROR_FAIL, "%s: cannot open: %m", path);
    close(ends[1]);
    if (pid < 0)
        goto out;
    rc = wait_for(ends[0], xlx__now_ms() + TIMEOUT_MS, path, &answer);
    if (rc)
        kill(pid, SIGKILL);
    /* not one that sleeps for as long as the disk hangs */
    waitpid(pid, NULL, rc ? __WALL | WNOHANG : __WALL);
    if (!rc)
        rc = judge(&answer, path, free_r);

 out:
    close(ends[0]);
    return rc;
}

int xlx__hostdev_try_open(const struct xlx__hostdev_node *node, bool *free_r)
{
    char *state = xlx__attr_text("%s/device/state", node->dir);
    char *path = NULL;
    int rc;

    if (!state)
        return xlx__attr_failure();
    /* of SCSI and of NVMe; others have none */
    if (*state && strcmp(state, "running") && strcmp(state, "live")) {
        rc = xlx__error(ERROR_NOT_READY, "%s: its state is \"%s\"",
                        node->name, state);
        goto out;
    }
    path = xlx__printf("%s/%s", xlx__dev_dir(), node->name);
    if (!path) {
        rc = xlx__nomem();
        goto out;
    }
    for (char *p = path; (p = strchr(p, '!')); *p = '/')    /* cciss!c0d0 */
        ;
    rc = open_bounded(path, node->number, free_r);

 out:
    free(path);
    free(state);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program run as a child, see child.h.  posix_spawn, so that a caller with
 * threads is safe; the wait is for this one pid, so that a caller's own
 * children are not touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"

#define TICK_MS 250

struct pipe_text {
    int fd;                         /* -1 at end of file */
    char *text;                     /* NUL-terminated once not NULL */
    size_t len, max;
    bool keep_tail;                 /* over max: drop the front, no error */
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* The caller's blocked and ignored signals are not the child's.  A group of its
 * own: Ctrl-C on a terminal is for us to handle, not for it. */
static void set_attributes(posix_spawnattr_t *attr)
{
    sigset_t none, dfl;

    sigemptyset(&none);
    sigemptyset(&dfl);
    sigaddset(&dfl, SIGPIPE);
    sigaddset(&dfl, SIGCHLD);
    posix_spawnattr_setsigmask(attr, &none);
    posix_spawnattr_setsigdefault(attr, &dfl);
    posix_spawnattr_setpgroup(attr, 0);
    posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK |
                             POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

static int start(const char *const *argv, pid_t *pid_r,
                 int *out_r, int *err_r)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int out[2] = { -1, -1 }, err[2] = { -1, -1 }, null = -1;
    int r, rc;

    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    set_attributes(&attr);
    null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) {
        rc = xlx__error(ERROR_FAIL, "%s: cannot start it: %m", argv[0]);
        goto out;
    }

    posix_spawn_file_actions_adddup2(&actions, null, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    r = posix_spawnp(pid_r, argv[0], &actions, &attr,
                     (char *const *)argv, environ);
    if (r) {
        rc = xlx__error(r == ENOENT ? ERROR_NOTFOUND : ERROR_FAIL,
                        "%s: cannot start it: %s%s", argv[0], strerror(r),
                        r == ENOENT ? " (is it installed?)" : "");
        goto out;
    }
    *out_r = out[0];
    *err_r = err[0];
    out[0] = err[0] = -1;
    rc = 0;

 out:
    close_fd(&null);
    close_fd(&out[0]);
    close_fd(&out[1]);
    close_fd(&err[0]);
    close_fd(&err[1]);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* Takes what there is.  At end of file closes the descriptor. */
static int drain(struct pipe_text *p)
{
    char buf[16384];
    ssize_t r;
    char *n;

    r = read(p->fd, buf, sizeof(buf));
    if (r < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (r <= 0) {
        close_fd(&p->fd);
        return 0;
    }
    if (p->len + r > p->max) {
        if (!p->keep_tail)
            return xlx__error(ERROR_FAIL, "its output is over %zu bytes",
                              p->max);
        p->len = 0;
    }
    n = realloc(p->text, p->len + r + 1);
    if (!n)
        return xlx__error(ERROR_NOMEM, "out of memory");
    p->text = n;
    memcpy(p->text + p->len, buf, r);
    p->len += r;
    p->text[p->len] = 0;
    return 0;
}

static int tick(const struct xlx__child *child, struct pipe_text *out)
{
    int r;

    if (!child->tick)
        return 0;
    r = child->tick(child->user, out->text ? out->text : "");
    out->len = 0;
    if (out->text)
        out->text[0] = 0;
    return r ? xlx__error(ERROR_ABORTED, "cancelled") : 0;
}

static int converse(const struct xlx__child *child, struct pipe_text *out,
                    struct pipe_text *err)
{
    int64_t deadline = xlx__now_ms() + child->timeout_ms;
    int64_t next = xlx__now_ms() + TICK_MS;
    int64_t now;
    int rc;

    while (out->fd >= 0 || err->fd >= 0) {
        struct pollfd fds[2] = {
            { .fd = out->fd, .events = POLLIN },
            { .fd = err->fd, .events = POLLIN },
        };

        if (poll(fds, 2, TICK_MS) < 0 && errno != EINTR)
            return xlx__error(ERROR_FAIL, "poll: %m");
        now = xlx__now_ms();
        if (now > deadline)
            return xlx__error(ERROR_TIMEDOUT, "no end after %d seconds",
                              child->timeout_ms / 1000);
        rc = out->fd >= 0 && fds[0].revents ? drain(out) : 0;
        if (rc) return rc;
        rc = err->fd >= 0 && fds[1].revents ? drain(err) : 0;
        if (rc) return rc;
        if (now >= next) {
            rc = tick(child, out);
            if (rc) return rc;
            next = now + TICK_MS;
        }
    }
    return 0;
}

/* The last line that is not empty, without a leading "PROGRAM: ". */
static const char *last_line(char *text, const char *program)
{
    char *line, *last = NULL, *save = NULL;
    size_t n = strlen(program);

    if (!text)
        return "no reason given";
    for (line = strtok_r(text, "\r\n", &save); line;
         line = strtok_r(NULL, "\r\n", &save))
        last = line;
    if (!last)
        return "no reason given";
    if (!strncmp(last, program, n) && !strncmp(last + n, ": ", 2))
        last += n + 2;
    return last;
}

int xlx__child_run(xlx_ctx *ctx, const struct xlx__child *child,
                   char **output_r, size_t *len_r)
{
    struct pipe_text out = { .fd = -1, .max = child->max_output };
    struct pipe_text err = { .fd = -1, .max = 65536, .keep_tail = true };
    const char *name = child->argv[0];
    pid_t pid, r;
    int rc, status = 0;

    out.keep_tail = child->tick != NULL;
    rc = start(child->argv, &pid, &out.fd, &err.fd);
    if (rc) return rc;
    xlx__debug(ctx, "%s %s: pid %d", name,
               child->argv[1] ? child->argv[1] : "", (int)pid);

    rc = converse(child, &out, &err);
    if (rc)
        kill(pid, SIGKILL);
    do r = waitpid(pid, &status, 0); while (r < 0 && errno == EINTR);
    /* ECHILD: the caller ignores SIGCHLD; then output alone must tell */
    if (rc) {
        xlx__error_prefix(rc, "%s %s", name, child->argv[1]);
        goto out;
    }
    if (r == pid && WIFEXITED(status) && child->status_r) {
        *child->status_r = WEXITSTATUS(status);
    } else if (r == pid && (!WIFEXITED(status) || WEXITSTATUS(status))) {
        if (WIFSIGNALED(status))
            rc = xlx__error(ERROR_FAIL, "%s %s: killed by signal %d", name,
                            child->argv[1], WTERMSIG(status));
        else
            rc = xlx__error(ERROR_FAIL, "%s %s: %s", name, child->argv[1],
                            last_line(err.text, name));
        goto out;
    }
    if (output_r) {
        *output_r = out.text ? out.text : strdup("");
        if (len_r)
            *len_r = out.len;
        out.text = NULL;
        if (!*output_r)
            rc = xlx__error(ERROR_NOMEM, "out of memory");
    }

 out:
    close_fd(&out.fd);
    close_fd(&err.fd);
    free(out.text);
    free(err.text);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs on the other host, by way of ssh or what takes its place, which are
 * talked to while they run: child.c runs a program to its end.  The status of
 * the process is had whatever the caller does with SIGCHLD, because it has no
 * signal for its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/child.h"
#include "core/number.h"
#include "migrate/migrate.h"

#define SAID_MAX 4096
#define OUTPUT_MAX (1 << 20)
#define TICK_MS 250
#define TERM_MS 2000

/* ---- words -------------------------------------------------------------- */

char *xlx__shell_quote(const char *word)
{
    size_t len = strlen(word);
    char *text = malloc(4 * len + 3), *p = text;

    if (!text)
        return NULL;
    *p++ = '\'';
    for (; *word; word++) {
        if (*word == '\'')
            p = stpcpy(p, "'\\''");
        else
            *p++ = *word;
    }
    *p++ = '\'';
    *p = '\0';
    return text;
}

/* ---- start -------------------------------------------------------------- */

static void close_pair(int fds[2])
{
    int i;

    for (i = 0; i < 2; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

/* The copy: async-signal-safe calls.  Ctrl-C on the terminal is for the
 * caller.  These signals are ignored and not blocked: where the program runs
 * here, a QEMU would inherit that it is deaf to the one that ends it. */
static void __attribute__((noreturn))
child_main(const int fds[3], char *const *argv)
{
    struct sigaction dfl = { .sa_handler = SIG_DFL };
    struct sigaction ignored = { .sa_handler = SIG_IGN };
    sigset_t none;
    int i;

    for (i = 0; i < 3; i++)
        if (dup2(fds[i], i) < 0)
            _exit(127);
    xlx__close_range(3, UINT_MAX);
    sigaction(SIGPIPE, &dfl, NULL);
    sigaction(SIGCHLD, &dfl, NULL);
    sigaction(SIGTERM, &dfl, NULL);
    sigaction(SIGINT, &ignored, NULL);
    sigaction(SIGHUP, &ignored, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve("/bin/sh", argv, environ);
    _exit(127);
}

static int launch(struct xlx__shell *shell, char *const *argv)
{
    int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 };
    int fds[3], i, rc = 0;
    sigset_t all, before;

    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) ||
        pipe2(err, O_CLOEXEC)) {
        rc = xlx__error(xlx__errno_rc(errno), "%s: a pipe: %m", shell->host);
        goto out;
    }
    fds[0] = fcntl(in[0], F_DUPFD_CLOEXEC, 3);
    fds[1] = fcntl(out[1], F_DUPFD_CLOEXEC, 3);
    fds[2] = fcntl(err[1], F_DUPFD_CLOEXEC, 3);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    shell->pid = fds[0] < 0 || fds[1] < 0 || fds[2] < 0 ? -1 : xlx__clone(0);
    if (!shell->pid)
        child_main(fds, argv);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (shell->pid < 0) {
        shell->pid = 0;
        rc = xlx__error(ERROR_FAIL, "%s: cannot start a process: %m",
                        shell->host);
        goto out;
    }
    shell->in = in[1];
    shell->out = out[0];
    shell->err = err[0];
    in[1] = out[0] = err[0] = -1;
    for (i = 0; i < 3; i++)
        (void)fcntl((int[]){ shell->in, shell->out, shell->err }[i], F_SETFL,
                    O_NONBLOCK);

 out:
    close_pair(in);
    close_pair(out);
    close_pair(err);
    return rc;
}

static int make_token(char token[20])
{
    uint64_t random;

    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return xlx__error(ERROR_FAIL, "no random number: %m");
    snprintf(token, 20, "%016llx", (unsigned long long)random);
    return 0;
}

int xlx__shell_run(const char *command, const char *const *options,
                   const char *host, const char *line,
                   struct xlx__shell *shell)
{
    char *script = xlx__printf("exec %s \"$@\"", command);
    const char *argv[64];
    int i, num = 0, rc;

    *shell = (struct xlx__shell)XLX__SHELL_NONE;
    shell->host = host;
    shell->said = calloc(1, SAID_MAX);
    if (!script || !shell->said) {
        free(script);
        return xlx__nomem();
    }
    argv[num++] = "sh";
    argv[num++] = "-c";
    argv[num++] = script;
    argv[num++] = "sh";
    for (i = 0; options[i] && num < 60; i++)
        argv[num++] = options[i];
    argv[num++] = host;
    argv[num++] = line;
    argv[num] = NULL;
    rc = options[i] ? xlx__error(ERROR_INVAL, "too many disks")
                    : make_token(shell->token);
    if (!rc)
        rc = launch(shell, (char *const *)argv);
    free(script);
    return rc;
}

/* ---- talk --------------------------------------------------------------- */

/* Keeps the end of what it says. */
static void listen_to_err(struct xlx__shell *shell)
{
    char bytes[1024];
    size_t len, n;
    ssize_t r;

    while (shell->err >= 0) {
        r = read(shell->err, bytes, sizeof(bytes));
        if (r < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (r <= 0) {
            close(shell->err);
            shell->err = -1;
            return;
        }
        n = (size_t)r;
        len = strlen(shell->said);
        if (len + n >= SAID_MAX) {
            memmove(shell->said, shell->said + len / 2, len - len / 2 + 1);
            len -= len / 2;
        }
        for (r = 0; r < (ssize_t)n; r++)
            shell->said[len++] = bytes[r] ? bytes[r] : ' ';
        shell->said[len] = '\0';
    }
}

/* The last line of text that is not empty; cuts it off. */
static const char *last_line(char *text)
{
    char *p = text + strlen(text);

    while (p > text && (p[-1] == '\n' || p[-1] == '\r' || p[-1] == ' '))
        *--p = '\0';
    p = strrchr(text, '\n');
    return p ? p + 1 : text;
}

const char *xlx__shell_said(struct xlx__shell *shell)
{
    if (!shell->said)
        return "";
    listen_to_err(shell);
    return last_line(shell->said);
}

static int ended(struct xlx__shell *shell)
{
    const struct timespec moment = { .tv_nsec = 50000000 };
    const char *said;

    nanosleep(&moment, NULL);       /* its last words are on the way */
    said = xlx__shell_said(shell);
    return xlx__error(ERROR_FAIL, "%s: the connection has ended%s%s",
                      shell->host, *said ? ": " : "", said);
}

static bool is_cancelled(const struct xlx__shell *shell,
                         const xlx_progress *progress)
{
    char what[80];
    const xlx_job_progress now = { .what = what };

    snprintf(what, sizeof(what), "waiting for %s", shell->host);
    return progress && progress->callback &&
           progress->callback(progress->user, &now);
}

/* Until the descriptor is ready; 0, or the error. */
static int wait_for(struct xlx__shell *shell, int fd, short events,
                    int64_t deadline, const xlx_progress *progress)
{
    struct pollfd p[2] = {
        { .fd = fd, .events = events },
        { .fd = shell->err, .events = POLLIN },
    };
    const char *said;

    for (;;) {
        p[1].fd = shell->err;
        p[0].revents = 0;
        if (poll(p, 2, TICK_MS) < 0 && errno != EINTR)
            return xlx__error(ERROR_FAIL, "%s: %m", shell->host);
        listen_to_err(shell);
        if (p[0].revents)
            return 0;
        if (is_cancelled(shell, progress))
            return xlx__error(ERROR_ABORTED, "cancelled");
        if (xlx__now_ms() > deadline) {
            said = xlx__shell_said(shell);
            return xlx__error(ERROR_TIMEDOUT, "%s does not answer%s%s",
                              shell->host, *said ? ": " : "", said);
        }
    }
}

int xlx__shell_read(struct xlx__shell *shell, void *bytes, size_t len,
                    int64_t deadline, const xlx_progress *progress,
                    size_t *got_r)
{
    ssize_t n;
    int rc;

    *got_r = 0;
    while (*got_r < len) {
        n = read(shell->out, (char *)bytes + *got_r, len - *got_r);
        if (!n)
            return 0;
        if (n > 0) {
            *got_r += (size_t)n;
        } else if (errno == EAGAIN || errno == EINTR) {
            rc = wait_for(shell, shell->out, POLLIN, deadline, progress);
            if (rc) return rc;
        } else {
            return xlx__error(ERROR_FAIL, "%s: %m", shell->host);
        }
    }
    return 0;
}

int xlx__shell_write(struct xlx__shell *shell, const void *bytes, size_t len,
                     int64_t deadline)
{
    const struct timespec none = { 0, 0 };
    sigset_t broken, before;
    ssize_t n;
    int rc = 0;

    /* a write to somebody who has gone is an error, and not a signal */
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken, &before);
    while (!rc && len) {
        n = write(shell->in, bytes, len);
        if (n > 0) {
            bytes = (const char *)bytes + n;
            len -= (size_t)n;
        } else if (errno == EAGAIN || errno == EINTR) {
            rc = wait_for(shell, shell->in, POLLOUT, deadline, NULL);
        } else {
            if (errno == EPIPE)
                sigtimedwait(&broken, NULL, &none);
            rc = ended(shell);
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* One byte at a time is enough for answers of a few lines. */
static int read_line(struct xlx__shell *shell, int64_t deadline,
                     const xlx_progress *progress, char **text, size_t *len)
{
    size_t got;
    char *grown, c;
    int rc;

    for (;;) {
        rc = xlx__shell_read(shell, &c, 1, deadline, progress, &got);
        if (rc) return rc;
        if (!got)
            return ended(shell);
        if (!(*len & 255)) {
            grown = *len < OUTPUT_MAX ? realloc(*text, *len + 257) : NULL;
            if (!grown)
                return *len < OUTPUT_MAX ? xlx__nomem() : xlx__error(
                    ERROR_BUFFERFULL, "%s: says too much", shell->host);
            *text = grown;
        }
        (*text)[(*len)++] = c ? c : ' ';
        (*text)[*len] = '\0';
        if (c == '\n')
            return 0;
    }
}

/* "TOKEN STATUS" ends the answer. */
static bool is_answered(const struct xlx__shell *shell, const char *line,
                        uint32_t *status_r)
{
    size_t len = strlen(shell->token);
    const char *p;

    if (strncmp(line, shell->token, len) || line[len] != ' ')
        return false;
    p = line + len + 1;
    return xlx__take_u32(&p, 255, status_r) && *p == '\n';
}

int xlx__shell_call(struct xlx__shell *shell, int64_t deadline,
                    const xlx_progress *progress, const char *lines,
                    char **output_r)
{
    char *asked, *text = NULL;
    size_t len = 0, start = 0;
    uint32_t status = 255;
    int rc;

    asked = xlx__printf("%s\nprintf '\\n%s %%s\\n' $?\n", lines,
                        shell->token);
    if (!asked)
        return xlx__nomem();
    rc = xlx__shell_write(shell, asked, strlen(asked), deadline);
    free(asked);
    while (!rc) {
        start = len;
        rc = read_line(shell, deadline, progress, &text, &len);
        if (!rc && is_answered(shell, text + start, &status))
            break;
    }
    if (!rc) {
        text[start] = '\0';
        if (status)
            rc = xlx__error(ERROR_FAIL, "%s: %s", shell->host,
                            *last_line(text) ? last_line(text)
                                             : "failed without a message");
    }
    if (!rc && output_r) {
        *output_r = text;
        text = NULL;
    }
    free(text);
    return rc;
}

/* ---- end ---------------------------------------------------------------- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void xlx__shell_close(struct xlx__shell *shell)
{
    close_fd(&shell->in);
}

void xlx__shell_end(struct xlx__shell *shell, int ms)
{
    const struct timespec nap = { .tv_nsec = 20000000 };
    int64_t deadline = xlx__now_ms() + ms;
    bool killed = false;
    int status;
    pid_t pid;

    /* it may have something to say, and stop when nobody hears it */
    close_fd(&shell->in);
    while (shell->pid) {
        pid = waitpid(shell->pid, &status, __WALL | WNOHANG);
        if (pid == shell->pid || (pid < 0 && errno != EINTR))
            break;
        listen_to_err(shell);
        if (xlx__now_ms() > deadline) {
            kill(shell->pid, killed ? SIGKILL : SIGTERM);
            killed = true;
            deadline = xlx__now_ms() + TERM_MS;
        }
        nanosleep(&nap, NULL);
    }
    close_fd(&shell->out);
    close_fd(&shell->err);
    free(shell->said);
    *shell = (struct xlx__shell)XLX__SHELL_NONE;
}

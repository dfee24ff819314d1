/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program run as a child, see child.h.  A keeper, which is a process of our
 * own, starts the program, waits for it and reports its status over a pipe.
 * The keeper has no signal for its end, so that neither a caller that ignores
 * SIGCHLD nor one that reaps all children (libxl does) takes the status away
 * or ever meets a child of ours.  The caller may have threads: from the clone
 * on only calls are made that are async-signal-safe, and those directly where
 * glibc's own would look at the threads that the child does not have.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/child.h"

#define TICK_MS 250

/* On some 32-bit machines the plain ones have 16 bits. */
#ifdef SYS_setresuid32
#define SET_GROUPS SYS_setgroups32
#define SET_GID SYS_setresgid32
#define SET_UID SYS_setresuid32
#else
#define SET_GROUPS SYS_setgroups
#define SET_GID SYS_setresgid
#define SET_UID SYS_setresuid
#endif

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

/* ---- the two processes -------------------------------------------------- */

pid_t xlx__clone(int end_signal)
{
    return (pid_t)syscall(SYS_clone, (unsigned long)end_signal, 0, 0, 0, 0);
}

void xlx__close_range(unsigned int first, unsigned int last)
{
    struct rlimit files = { .rlim_cur = 1024 };
    unsigned int limit;

    if (first > last)
        return;
#ifdef SYS_close_range
    if (!syscall(SYS_close_range, first, last, 0))
        return;
#endif
    getrlimit(RLIMIT_NOFILE, &files);
    limit = files.rlim_cur < 1 << 20 ? (unsigned int)files.rlim_cur : 1 << 20;
    for (; first <= last && first < limit; first++)
        close(first);
}

/* The keeper's word.  At most two are sent, and the first one counts. */
struct report {
    enum { CANNOT_START = 1, ENDED } what;
    int value;                      /* an errno, or what waitpid() gave */
};

/* Numbers of descriptors in the keeper. */
#define REPORT_FD 3
#define FIRST_FREE 64               /* above all that are given out */

struct launch {
    const struct xlx__child *child;
    char program[PATH_MAX];
    int in, out, err, report;
};

static void send_report(int what, int value)
{
    struct report report = { .what = what, .value = value };

    while (write(REPORT_FD, &report, sizeof(report)) < 0 && errno == EINTR)
        ;
}

/* The caller's handlers are not the child's, and a program expects to have
 * these two signals.  The others that the caller ignores stay so (nohup). */
static void default_signals(void)
{
    struct sigaction dfl = { .sa_handler = SIG_DFL }, now;
    int i;

    for (i = 1; i < NSIG; i++)
        if (!sigaction(i, NULL, &now) && (now.sa_handler != SIG_IGN ||
                                          i == SIGPIPE || i == SIGCHLD))
            sigaction(i, &dfl, NULL);
}

/* First out of the way of the numbers that are wanted, then to those; all
 * others, the caller's locks among them, are closed. */
static int place_files(const struct launch *l)
{
    const struct xlx__child *child = l->child;
    int from[4 + XLX__CHILD_MAX_FILES] = { l->in, l->out, l->err, l->report };
    int i, num = 4 + child->num_files;

    for (i = 0; i < child->num_files; i++)
        from[4 + i] = child->files[i];
    for (i = 0; i < num; i++) {
        from[i] = fcntl(from[i], F_DUPFD, FIRST_FREE);
        if (from[i] < 0)
            return errno;
    }
    for (i = 0; i < num; i++)
        if (dup2(from[i], i < 4 ? i : XLX__CHILD_FIRST_FILE + i - 4) < 0)
            return errno;
    xlx__close_range(REPORT_FD + 1, XLX__CHILD_FIRST_FILE - 1);
    xlx__close_range(XLX__CHILD_FIRST_FILE + child->num_files, UINT_MAX);
    return fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC) < 0 ? errno : 0;
}

/* SIGXCPU comes at the first of the two limits, SIGKILL at the second. */
static int limit(int resource, uint64_t most)
{
    struct rlimit now, new = { .rlim_cur = most, .rlim_max = most + 5 };

    if (!most)
        return 0;
    if (getrlimit(resource, &now))
        return -1;
    if (new.rlim_max > now.rlim_max)    /* the caller's is tighter */
        new.rlim_max = now.rlim_max;
    if (new.rlim_cur > new.rlim_max)
        new.rlim_cur = new.rlim_max;
    return setrlimit(resource, &new);
}

/* The memory last: nothing is allocated from here on. */
static int confine(const struct xlx__child *child)
{
    struct rlimit none = { 0, 0 };

    if (child->max_memory && setrlimit(RLIMIT_CORE, &none))
        return errno;
    if (child->as_owner &&
        (syscall(SET_GROUPS, 0, NULL) ||
         syscall(SET_GID, child->gid, child->gid, child->gid) ||
         syscall(SET_UID, child->uid, child->uid, child->uid)))
        return errno;
    if (limit(RLIMIT_CPU, child->max_cpu_s) ||
        limit(RLIMIT_AS, child->max_memory))
        return errno;
    return 0;
}

/* A group of its own: Ctrl-C on a terminal is for us to handle, not for it.
 * It does not outlive the keeper, which would leave it to nobody. */
static void __attribute__((noreturn))
program_main(const struct launch *l, pid_t keeper)
{
    sigset_t none;
    int r;

    sigemptyset(&none);
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, &none, NULL);
    r = confine(l->child);
    if (!r && prctl(PR_SET_PDEATHSIG, SIGKILL))
        r = errno;
    if (getppid() != keeper)
        _exit(127);
    if (!r) {
        execve(l->program, (char *const *)l->child->argv, environ);
        r = errno;
    }
    send_report(CANNOT_START, r);
    _exit(127);
}

/* All signals are blocked from before the clone.  SIGTERM is our parent's
 * word to end the program: we alone know that its number is still its own. */
static void __attribute__((noreturn)) keeper_main(const struct launch *l)
{
    int r, status, signo;
    pid_t self = getpid(), pid;
    sigset_t wanted;

    setpgid(0, 0);
    default_signals();
    r = place_files(l);
    if (r) {                        /* the pipe is where the parent had it */
        struct report report = { .what = CANNOT_START, .value = r };

        if (write(l->report, &report, sizeof(report)) < 0)
            _exit(126);
        _exit(127);
    }
    prctl(PR_SET_NAME, "xlx-keeper");
    /* It has one thread, which waits for the exec: a copy of our memory for
     * that moment would take as long as all else here. */
    pid = vfork();
    if (!pid)
        program_main(l, self);
    if (pid < 0) {
        send_report(CANNOT_START, errno);
        _exit(127);
    }
    for (r = 0; r < XLX__CHILD_FIRST_FILE + l->child->num_files; r++)
        if (r != REPORT_FD)
            close(r);

    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGTERM);
    while (waitpid(pid, &status, WNOHANG) != pid)
        if (!sigwait(&wanted, &signo) && signo == SIGTERM)
            kill(pid, SIGKILL);
    send_report(ENDED, status);
    _exit(0);
}

/* ---- starting it -------------------------------------------------------- */

/* Before the clone, where memory may be used. */
static int find_program(const char *name, char path_r[PATH_MAX])
{
    const char *dir = getenv("PATH"), *end;
    struct stat st;
    int n;

    if (strchr(name, '/')) {
        n = snprintf(path_r, PATH_MAX, "%s", name);
        return n < PATH_MAX ? 0 : ENAMETOOLONG;
    }
    if (!dir || !*dir)
        dir = "/usr/sbin:/usr/bin:/sbin:/bin";
    for (; dir; dir = *end ? end + 1 : NULL) {
        end = strchrnul(dir, ':');
        n = snprintf(path_r, PATH_MAX, "%.*s/%s", (int)(end - dir), dir, name);
        if (*dir == '/' && n < PATH_MAX && !access(path_r, X_OK) &&
            !stat(path_r, &st) && S_ISREG(st.st_mode))
            return 0;
    }
    return ENOENT;
}

static int cannot_start(const struct xlx__child *child, int errnoval)
{
    bool missing = errnoval == ENOENT;

    return xlx__error(missing ? ERROR_NOTFOUND : ERROR_FAIL,
                      "%s: cannot start it: %s%s", child->argv[0],
                      strerror(errnoval),
                      missing ? " (is it installed?)" : "");
}

/* The keeper, with all signals blocked from its first moment.  -1 with errno
 * set when there is none. */
static pid_t clone_keeper(const struct launch *l)
{
    sigset_t all, before;
    pid_t pid;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = xlx__clone(0);
    if (!pid)
        keeper_main(l);
    r = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = r;
    return pid;
}

int xlx__child_start(xlx_ctx *ctx, const struct xlx__child *child,
                     struct xlx__child_running *running_r)
{
    int out[2] = { -1, -1 }, err[2] = { -1, -1 }, report[2] = { -1, -1 };
    struct launch l = { .child = child, .in = -1 };
    pid_t pid;
    int r, rc;

    r = find_program(child->argv[0], l.program);
    if (r) return cannot_start(child, r);

    l.in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (l.in < 0 || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) ||
        pipe2(report, O_CLOEXEC)) {
        rc = cannot_start(child, errno);
        goto out;
    }
    l.out = out[1];
    l.err = err[1];
    l.report = report[1];
    pid = clone_keeper(&l);
    if (pid < 0) {
        rc = cannot_start(child, errno);
        goto out;
    }
    xlx__debug(ctx, "%s %s: kept by pid %d", child->argv[0],
               xlx__text(child->argv[1]), (int)pid);
    *running_r = (struct xlx__child_running){
        .child = child, .keeper = pid, .out = out[0], .err = err[0],
        .report = report[0],
        .deadline = xlx__now_ms() + child->timeout_ms,
    };
    out[0] = err[0] = report[0] = -1;
    rc = 0;

 out:
    close_fd(&l.in);
    close_fd(&out[0]);
    close_fd(&out[1]);
    close_fd(&err[0]);
    close_fd(&err[1]);
    close_fd(&report[0]);
    close_fd(&report[1]);
    return rc;
}

/* ---- its output --------------------------------------------------------- */

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
            return xlx__error(ERROR_BUFFERFULL, "its output is over %zu bytes",
                              p->max);
        p->len = 0;
    }
    n = realloc(p->text, p->len + r + 1);
    if (!n)
        return xlx__nomem();
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

/* The first report; what is zero when there was none.  At the end of the pipe
 * closes it. */
static void take_report(int *fd, struct report *report)
{
    struct report got;
    ssize_t r = read(*fd, &got, sizeof(got));

    if (r < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (r != sizeof(got))
        close_fd(fd);
    else if (!report->what)
        *report = got;
}

static int converse(struct xlx__child_running *running, struct pipe_text *out,
                    struct pipe_text *err, struct report *report)
{
    const struct xlx__child *child = running->child;
    int64_t next = xlx__now_ms() + TICK_MS;
    int64_t now;
    int rc;

    while (out->fd >= 0 || err->fd >= 0 || running->report >= 0) {
        struct pollfd fds[3] = {
            { .fd = out->fd, .events = POLLIN },
            { .fd = err->fd, .events = POLLIN },
            { .fd = running->report, .events = POLLIN },
        };

        if (poll(fds, 3, TICK_MS) < 0) {
            if (errno == EINTR)
                continue;
            return xlx__error(ERROR_FAIL, "poll: %m");
        }
        now = xlx__now_ms();
        if (now > running->deadline)
            return xlx__error(ERROR_TIMEDOUT, "no end after %d seconds",
                              child->timeout_ms / 1000);
        rc = fds[0].revents ? drain(out) : 0;
        if (rc) return rc;
        rc = fds[1].revents ? drain(err) : 0;
        if (rc) return rc;
        if (fds[2].revents)
            take_report(&running->report, report);
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

/* Judges how it ended.  An end that nobody knows is a failure like others. */
static int judge(const struct xlx__child *child, const struct report *report,
                 char *err_text)
{
    const char *name = child->argv[0], *first = xlx__text(child->argv[1]);
    int status = report->value;

    if (report->what == CANNOT_START)
        return cannot_start(child, status);
    if (report->what != ENDED)
        return xlx__error(ERROR_FAIL, "%s %s: how it ended is not known, "
                          "because the process that waited for it was "
                          "killed: it counts as failed", name, first);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        return xlx__error(ERROR_FAIL, "%s %s: took more than %llu seconds of "
                          "processor time", name, first,
                          (unsigned long long)child->max_cpu_s);
    if (!WIFEXITED(status))
        return xlx__error(ERROR_FAIL, "%s %s: killed by signal %d", name,
                          first, WTERMSIG(status));
    if (child->status_r)
        *child->status_r = WEXITSTATUS(status);
    else if (WEXITSTATUS(status))
        return xlx__error(ERROR_FAIL, "%s %s: %s", name, first,
                          last_line(err_text, name));
    return 0;
}

/* Nobody else can wait for the keeper by accident: only with __WALL. */
static void end_keeper(pid_t pid, bool early)
{
    pid_t r;

    if (early)
        kill(pid, SIGTERM);
    do
        r = waitpid(pid, NULL, __WALL);
    while (r < 0 && errno == EINTR);
}

int xlx__child_end(struct xlx__child_running *running, char **output_r,
                   size_t *len_r)
{
    const struct xlx__child *child = running->child;
    struct pipe_text out = { .fd = running->out, .max = child->max_output,
                             .keep_tail = child->tick != NULL };
    struct pipe_text err = { .fd = running->err, .max = 65536,
                             .keep_tail = true };
    struct report report = { .value = 0 };
    int rc;

    rc = converse(running, &out, &err, &report);
    end_keeper(running->keeper, rc != 0);
    if (rc) {
        xlx__error_prefix(rc, "%s %s", child->argv[0],
                          xlx__text(child->argv[1]));
        goto out;
    }
    rc = judge(child, &report, err.text);
    if (rc) goto out;
    if (output_r) {
        *output_r = out.text ? out.text : strdup("");
        if (len_r)
            *len_r = out.len;
        out.text = NULL;
        if (!*output_r)
            rc = xlx__nomem();
    }

 out:
    close_fd(&out.fd);
    close_fd(&err.fd);
    close_fd(&running->report);
    free(out.text);
    free(err.text);
    return rc;
}

int xlx__child_run(xlx_ctx *ctx, const struct xlx__child *child,
                   char **output_r, size_t *len_r)
{
    struct xlx__child_running running;
    int rc;

    rc = xlx__child_start(ctx, child, &running);
    return rc ? rc : xlx__child_end(&running, output_r, len_r);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processes next to a migration.
 *
 * The guard: this process may be killed while the guest stands still, and a
 * guest that nobody resumes is worse than a migration that failed.  The guard
 * holds one end of a socket pair, and when the other end closes without a word
 * it becomes "xl disk-migrate-repair", which a person would type.
 *
 * The xl that watches the guest: it takes a suspended domain for one that has
 * left, and ends, so that nobody starts the guest again when it reboots.  It
 * is made to wait while the guest is suspended; it looks at the domain's state
 * when it goes on, and not at the events that it missed.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/child.h"
#include "core/number.h"
#include "core/process.h"
#include "guest/domain.h"
#include "migrate/migrate.h"

#define WORD_DONE 'd'
#define MAX_MONITORS 16

/* ---- the guard ---------------------------------------------------------- */

struct repair {
    char *path;
    char uuid[LIBXL_UUID_FMTLEN + 1];
    char *argv[3];
    char **env;                     /* without the fault of a test */
};

static int prepare(struct xlx__migrate *m, struct repair *r)
{
    const char *dir = secure_getenv("LIBXLX_EXEC_DIR");
    static char name[] = "xl-disk-migrate-repair";
    size_t i, num = 0;

    snprintf(r->uuid, sizeof(r->uuid), LIBXL_UUID_FMT,
             LIBXL_UUID_BYTES(m->guest->uuid));
    r->path = xlx__printf("%s/%s", dir && *dir ? dir : XLX_EXEC_DIR, name);
    for (i = 0; environ[i]; i++)
        ;
    r->env = calloc(i + 1, sizeof(*r->env));
    if (!r->path || !r->env)
        return xlx__nomem();
    for (i = 0; environ[i]; i++)
        if (strncmp(environ[i], "LIBXLX_FAULT=", 13))
            r->env[num++] = environ[i];
    r->argv[0] = name;
    r->argv[1] = r->uuid;
    return 0;
}

/* The copy: async-signal-safe calls.  The repair writes to where this process
 * writes its messages. */
static void __attribute__((noreturn))
guard_main(const struct repair *r, int control)
{
    struct sigaction dfl = { .sa_handler = SIG_DFL };
    sigset_t none;
    char word = WORD_DONE;

    setsid();
    if (chdir("/") < 0 || dup2(control, 0) < 0 || dup2(2, 1) < 0)
        _exit(1);
    xlx__close_range(3, UINT_MAX);
    prctl(PR_SET_NAME, "xlx-migrate-guard");
    if (send(0, &word, 1, MSG_NOSIGNAL) != 1)
        _exit(1);
    word = 0;
    while (recv(0, &word, 1, 0) < 0 && errno == EINTR)
        ;
    if (word == WORD_DONE)
        _exit(0);
    sigaction(SIGPIPE, &dfl, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(r->path, r->argv, r->env);
    _exit(127);
}

/* Nobody's child: an intermediate one is waited for. */
static int start(const struct repair *r, int control)
{
    sigset_t all, before;
    int status = -1;
    pid_t pid;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = xlx__clone(0);
    if (!pid) {
        pid = xlx__clone(0);
        if (!pid)
            guard_main(r, control);
        _exit(pid < 0);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    while (pid > 0 && waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
        ;
    return pid > 0 && !status ? 0 : -1;
}

int xlx__migrate_guard(struct xlx__migrate *m)
{
    struct repair r = { .path = NULL };
    int ends[2] = { -1, -1 }, rc;
    char word;

    rc = prepare(m, &r);
    if (!rc && access(r.path, X_OK))
        rc = xlx__error(ERROR_FAIL, "%s, which repairs when this process is "
                        "killed: %m", r.path);
    if (!rc && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        rc = xlx__error(xlx__errno_rc(errno), "socketpair: %m");
    if (!rc && start(&r, ends[1]))
        rc = xlx__error(ERROR_FAIL, "the process that repairs when this one "
                        "is killed cannot be started: %m");
    if (ends[1] >= 0)
        close(ends[1]);
    if (!rc && recv(ends[0], &word, 1, 0) != 1)
        rc = xlx__error(ERROR_FAIL, "the process that repairs when this one "
                        "is killed has ended");
    if (!rc)
        m->guard = ends[0];
    else if (ends[0] >= 0)
        close(ends[0]);
    free(r.path);
    free(r.env);
    return rc;
}

void xlx__migrate_dismiss(struct xlx__migrate *m)
{
    static const char done = WORD_DONE;

    if (m->guard < 0)
        return;
    (void)!send(m->guard, &done, 1, MSG_NOSIGNAL);
    close(m->guard);
    m->guard = -1;
}

/* ---- the xl that watches ------------------------------------------------ */

static int note(struct xlx__migrate *m, pid_t pid)
{
    char text[48];

    snprintf(text, sizeof(text), "%ld %llu", (long)pid,
             (unsigned long long)xlx__process_start(pid));
    return xlx__snapshot_add_string(&m->record.monitors,
                                    &m->record.num_monitors, text);
}

/* Recorded before it is done, so that whoever comes after a kill wakes
 * them. */
int xlx__migrate_stop_monitors(struct xlx__migrate *m)
{
    pid_t pids[MAX_MONITORS];
    int i, num, rc = 0;

    num = xlx__domain_monitors(xlx__text(m->guest->name), pids, MAX_MONITORS);
    for (i = 0; !rc && i < num; i++)
        rc = note(m, pids[i]);
    if (!rc)
        rc = xlx__migrate_save(m);
    for (i = 0; !rc && i < num; i++)
        kill(pids[i], SIGSTOP);
    return rc;
}

void xlx__migrate_wake_monitors(struct xlx__migrate *m)
{
    uint64_t pid, since;
    const char *p;
    int i;

    for (i = 0; i < m->record.num_monitors; i++) {
        p = m->record.monitors[i];
        if (xlx__take_u64(&p, INT_MAX, &pid) && *p++ == ' ' && pid > 1 &&
            xlx__take_u64(&p, UINT64_MAX, &since) &&
            xlx__process_start((pid_t)pid) == since)
            kill((pid_t)pid, SIGCONT);
    }
}

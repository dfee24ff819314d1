/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs that are run as children: what they say, how they end, and that
 * they do end.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "unit.h"

#include "core/child.h"

static xlx_ctx *ctx;
static int ticks;

static int run(const char *script, int timeout_ms, char **output)
{
    const char *const argv[] = { "sh", "-c", script, NULL };
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = timeout_ms, .max_output = 1000,
    };
    size_t len;

    return xlx__child_run(ctx, &child, output, &len);
}

static void output(void **state)
{
    char *text = NULL;
    (void)state;

    assert_ok(run("echo one; echo noise >&2; echo two", 30000, &text));
    assert_string_equal(text, "one\ntwo\n");
    free(text);
    text = NULL;
    assert_ok(run("exit 0", 30000, &text));
    assert_string_equal(text, "");
    free(text);
}

static void failures(void **state)
{
    static const char *const none[] = { "/no/such/program", "x", NULL };
    const struct xlx__child missing = {
        .argv = none, .timeout_ms = 1000, .max_output = 10,
    };
    char *text = NULL;
    (void)state;

    assert_fails(run("echo first >&2; echo 'sh: why' >&2; exit 3", 30000,
                     &text), ERROR_FAIL, "sh -c: why");
    assert_fails(run("exit 1", 30000, &text), ERROR_FAIL, "no reason given");
    assert_fails(run("kill -SEGV $$", 30000, &text), ERROR_FAIL,
                 "killed by signal 11");
    assert_fails(run("yes", 30000, &text), ERROR_BUFFERFULL,
                 "over 1000 bytes");
    assert_fails(xlx__child_run(ctx, &missing, NULL, NULL), ERROR_NOTFOUND,
                 "is it installed?");
    assert_null(text);
}

static void deadline(void **state)
{
    int64_t before = xlx__now_ms();
    char *text = NULL;
    (void)state;

    assert_fails(run("exec sleep 1000", 1000, &text), ERROR_TIMEDOUT,
                 "no end after 1 seconds");
    assert_true(xlx__now_ms() - before < 20000);
}

static int third(void *user, const char *text)
{
    (void)user;
    (void)text;
    return ++ticks == 3;
}

static void cancelled(void **state)
{
    static const char *const argv[] = { "sleep", "1000", NULL };
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = 60000, .max_output = 1000, .tick = third,
    };
    (void)state;

    assert_fails(xlx__child_run(ctx, &child, NULL, NULL), ERROR_ABORTED,
                 "cancelled");
    assert_int_equal(ticks, 3);
}

/* A child gets none of our files, and the signals that a program expects. */
static void inheritance(void **state)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char *script = xlx__printf("test ! -e /proc/self/fd/%d", fd);
    sigset_t block;
    (void)state;

    assert_ok(run(script, 30000, NULL));
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    signal(SIGPIPE, SIG_IGN);
    assert_fails(run("kill -TERM $$; exit 0", 30000, NULL), ERROR_FAIL,
                 "killed by signal 15");
    assert_fails(run("kill -PIPE $$; exit 0", 30000, NULL), ERROR_FAIL,
                 "killed by signal 13");
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &block, NULL);
    close(fd);
    free(script);
}

static void status(void **state)
{
    static const char *const argv[] = { "sh", "-c", "exit 7", NULL };
    int got = -1;
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = 30000, .max_output = 10, .status_r = &got,
    };
    (void)state;

    assert_ok(xlx__child_run(ctx, &child, NULL, NULL));
    assert_int_equal(got, 7);
}

/* ---- callers that do something with SIGCHLD ---------------------------- */

static atomic_int told;

static void on_child(int signo)
{
    (void)signo;
    told++;
}

static void on_child_reaps(int signo)
{
    int saved = errno;
    (void)signo;

    while (waitpid(-1, NULL, WNOHANG) > 0)
        told++;
    errno = saved;
}

/* A failure is a failure, a success one, and the status is the program's. */
static void statuses(void)
{
    int i;

    for (i = 0; i < 20; i++) {
        assert_fails(run("echo 'sh: why' >&2; exit 3", 30000, NULL),
                     ERROR_FAIL, "sh -c: why");
        assert_fails(run("kill -SEGV $$", 30000, NULL), ERROR_FAIL,
                     "killed by signal 11");
        assert_ok(run("exit 0", 30000, NULL));
        status(NULL);
    }
}

static void with_action(void (*handler)(int), int flags)
{
    struct sigaction new = { .sa_handler = handler, .sa_flags = flags }, old;

    told = 0;
    assert_int_equal(sigaction(SIGCHLD, &new, &old), 0);
    statuses();
    assert_int_equal(sigaction(SIGCHLD, &old, NULL), 0);
    /* our children are none of the caller's business */
    assert_int_equal(told, 0);
}

static void ignored(void **state)
{
    (void)state;
    with_action(SIG_IGN, 0);
    with_action(SIG_DFL, SA_NOCLDWAIT);
}

static void handled(void **state)
{
    (void)state;
    with_action(on_child, SA_RESTART);
    with_action(on_child, 0);
    with_action(on_child_reaps, 0);
}

static atomic_bool stop;

static void *reap_all(void *flags)
{
    while (!stop)
        if (waitpid(-1, NULL, *(int *)flags) > 0)
            told++;
    return NULL;
}

static void with_reaper(int flags, void (*check)(void))
{
    pthread_t thread;

    told = 0;
    stop = false;
    assert_int_equal(pthread_create(&thread, NULL, reap_all, &flags), 0);
    check();
    stop = true;
    pthread_join(thread, NULL);
}

static void reaping_thread(void **state)
{
    (void)state;
    with_reaper(WNOHANG, statuses);
    assert_int_equal(told, 0);
    /* even one that takes all there is: the status came another way */
    with_reaper(WNOHANG | __WALL, statuses);
}

/* The caller's own child is still there to be waited for. */
static void own_children(void **state)
{
    int code = 0;
    pid_t pid;
    (void)state;

    pid = fork();
    if (!pid)
        _exit(9);
    statuses();
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_int_equal(WEXITSTATUS(code), 9);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* Nobody knows how it ended: that is not a success.  The program goes with its
 * keeper. */
static void keeper_killed(void **state)
{
    char *dir = unit_dir();
    char *file = xlx__printf("%s/done", dir);
    char *script = xlx__printf("kill -KILL $PPID; sleep 2; echo > %s", file);
    (void)state;

    assert_fails(run(script, 30000, NULL), ERROR_FAIL,
                 "how it ended is not known");
    sleep(3);
    assert_int_equal(access(file, F_OK), -1);
    free(script);
    free(file);
    unit_dir_remove(dir);
}

/* When the call returns, the program has ended, however that came. */
static void no_remains(void **state)
{
    char *dir = unit_dir(), *script, *file;
    struct stat st;
    (void)state;

    file = xlx__printf("%s/pid", dir);
    script = xlx__printf("echo $$ > %s; exec sleep 1000", file);
    assert_fails(run(script, 1000, NULL), ERROR_TIMEDOUT, "no end");
    free(script);
    script = xlx__printf("test ! -e /proc/$(cat %s)", file);
    assert_ok(run(script, 30000, NULL));
    assert_int_equal(stat(file, &st), 0);
    free(script);
    free(file);
    unit_dir_remove(dir);
}

/* A kept program that runs on when we are killed has none of our locks: not
 * the program, not its keeper. */
static void locks(void **state)
{
    char *dir = unit_dir(), *file = xlx__printf("%s/lock", dir);
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600), pipes[2];
    char byte;
    pid_t pid;
    (void)state;

    assert_int_equal(pipe(pipes), 0);
    pid = fork();
    if (!pid) {
        int mine = open(file, O_RDWR | O_CLOEXEC);

        if (flock(mine, LOCK_EX) || write(pipes[1], "x", 1) != 1)
            _exit(1);
        run("exec sleep 5", 30000, NULL);
        _exit(0);
    }
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    usleep(500 * 1000);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    close(fd);
    close(pipes[0]);
    close(pipes[1]);
    free(file);
    unit_dir_remove(dir);
}

/* ---- limits, files, users ---------------------------------------------- */

static int run_child(struct xlx__child *child, const char *script, char **text)
{
    const char *const argv[] = { "bash", "-c", script, NULL };

    child->argv = argv;
    child->timeout_ms = 60000;
    child->max_output = 1000;
    return xlx__child_run(ctx, child, text, NULL);
}

static void limits(void **state)
{
    struct xlx__child small = { .max_memory = 256 << 20 };
    struct xlx__child short_ = { .max_cpu_s = 1 };
    char *text = NULL;
    (void)state;

    assert_ok(run_child(&small, "ulimit -v; ulimit -c", &text));
    assert_string_equal(text, "262144\n0\n");
    free(text);
    assert_fails(run_child(&small, "printf -v a %400000000d 0", NULL),
                 ERROR_FAIL, "");
    assert_fails(run_child(&short_, "while :; do :; done", NULL),
                 ERROR_FAIL, "more than 1 seconds of processor time");
}

static void files(void **state)
{
    int fds[2] = { open("/etc/passwd", O_RDONLY | O_CLOEXEC),
                   open("/dev/null", O_RDONLY | O_CLOEXEC) };
    struct xlx__child child = { .files = fds, .num_files = 2 };
    char *text = NULL;
    (void)state;

    assert_ok(run_child(&child, "readlink /proc/self/fd/10 /proc/self/fd/11;"
                        "shopt -s nullglob; f=(/proc/$$/fd/*);"
                        "g=(${f[@]##*/}); echo ${g[@]}", &text));
    assert_non_null(strstr(text, "/etc/passwd\n/dev/null\n0 1 10 11 2"));
    free(text);
    close(fds[0]);
    close(fds[1]);
}

static void as_owner(void **state)
{
    struct xlx__child child = { .as_owner = true, .uid = 65534, .gid = 65534 };
    char *text = NULL;
    (void)state;

    if (geteuid())
        skip();
    assert_ok(run_child(&child, "id -u; id -g; id -G", &text));
    assert_string_equal(text, "65534\n65534\n65534\n");
    free(text);
}

/* Two that run at once: each has what it said and how it ended, whichever is
 * ended first.  The first one comes to its end only while the second runs. */
static void at_once(void **state)
{
    char dir[] = "/tmp/libxlx-child-XXXXXX";
    char *wait, *make, *text = NULL;
    const char *first[] = { "sh", "-c", NULL, NULL };
    const char *second[] = { "sh", "-c", NULL, NULL };
    struct xlx__child a = { .argv = first, .timeout_ms = 30000,
                            .max_output = 100 };
    struct xlx__child b = { .argv = second, .timeout_ms = 30000,
                            .max_output = 100 };
    struct xlx__child_running ra, rb;
    (void)state;

    assert_non_null(mkdtemp(dir));
    wait = xlx__printf("cd %s; until [ -e go ]; do sleep 0.02; done; "
                       "echo first", dir);
    make = xlx__printf("cd %s; : > go; echo why >&2; exit 3", dir);
    first[2] = wait;
    second[2] = make;
    assert_ok(xlx__child_start(ctx, &a, &ra));
    assert_ok(xlx__child_start(ctx, &b, &rb));
    assert_ok(xlx__child_end(&ra, &text, NULL));
    assert_string_equal(text, "first\n");
    assert_fails(xlx__child_end(&rb, NULL, NULL), ERROR_FAIL, "sh -c: why");
    free(text);
    free(wait);
    free(make);
    text = xlx__printf("%s/go", dir);
    unlink(text);
    rmdir(dir);
    free(text);
}

/* ---- a scope ------------------------------------------------------------ */

/* What a busctl that ends with that status was asked for. */
static void check_scope(int status, const char *wanted)
{
    char dir[] = "/tmp/xlx-scope-XXXXXX", line[512] = "";
    char *program, *calls, *script;
    FILE *f;

    assert_non_null(mkdtemp(dir));
    program = xlx__printf("%s/busctl", dir);
    calls = xlx__printf("%s/calls", dir);
    f = fopen(program, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\necho \"$*\" >> %s\nexit %d\n", calls, status);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(program, 0700), 0);
    setenv("LIBXLX_BUSCTL", wanted ? program : "", 1);
    xlx__error_clear();
    xlx__scope_take(ctx, "xl-usb-qemu-7", 4711);
    assert_string_equal(xlx_error_get(), "");
    unsetenv("LIBXLX_BUSCTL");
    f = fopen(calls, "r");
    assert_int_equal(!!f, !!wanted);
    if (f) {
        assert_non_null(fgets(line, sizeof(line), f));
        assert_non_null(strstr(line, wanted));
        fclose(f);
    }
    script = xlx__printf("rm -r %s", dir);
    assert_ok(run(script, 30000, NULL));
    free(script);
    free(calls);
    free(program);
}

static void scope(void **state)
{
    static const char call[] = "StartTransientUnit ssa(sv)a(sa(sv)) "
        "xl-usb-qemu-7-4711.scope fail 3 PIDs au 1 4711 "
        "DefaultDependencies b false";
    (void)state;

    check_scope(0, call);
    check_scope(1, call);
    check_scope(0, NULL);               /* no systemd */
}

int main(void)
{
    const struct CMUnitTest child_run[] = {
        cmocka_unit_test(output),
        cmocka_unit_test(failures),
        cmocka_unit_test(deadline),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(inheritance),
        cmocka_unit_test(status),
        cmocka_unit_test(ignored),
        cmocka_unit_test(handled),
        cmocka_unit_test(reaping_thread),
        cmocka_unit_test(own_children),
        cmocka_unit_test(keeper_killed),
        cmocka_unit_test(no_remains),
        cmocka_unit_test(locks),
        cmocka_unit_test(limits),
        cmocka_unit_test(files),
        cmocka_unit_test(as_owner),
        cmocka_unit_test(at_once),
        cmocka_unit_test(scope),
    };
    int r;

    if (xlx_ctx_alloc(&ctx, NULL, NULL))
        return 1;
    r = cmocka_run_group_tests(child_run, NULL, NULL);
    xlx_ctx_free(ctx);
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starting the fake peers from a C test.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/xs.h"
#include "peer.h"

#define MAX_ARGS 64

char peer_dir[64];
static xlx_ctx *ctx;
static char xenstored_socket[400];
static pid_t xenstored_pid;

int peer_setup(void **state)
{
    (void)state;
    strcpy(peer_dir, "/tmp/libxlx-test.XXXXXX");
    if (!mkdtemp(peer_dir))
        return -1;
    /* nothing of this machine's is read, written or needed */
    setenv("LIBXLX_RUN_DIR", peer_dir, 1);
    setenv("LIBXLX_STATE_DIR", peer_dir, 1);
    snprintf(xenstored_socket, sizeof(xenstored_socket), "%s",
             peer_path("xenstored"));
    setenv("XENSTORED_PATH", xenstored_socket, 1);
    return xlx_ctx_alloc(&ctx, NULL, NULL);
}

static void remove_dir(void)
{
    struct dirent *entry;
    DIR *dir = opendir(peer_dir);

    while (dir && (entry = readdir(dir)))
        unlink(peer_path(entry->d_name));
    if (dir)
        closedir(dir);
    rmdir(peer_dir);
}

int peer_teardown(void **state)
{
    (void)state;
    xlx_ctx_free(ctx);
    remove_dir();
    return 0;
}

xlx_ctx *peer_ctx(void)
{
    return ctx;
}

const char *peer_path(const char *name)
{
    static char path[400];

    snprintf(path, sizeof(path), "%s/%s", peer_dir, name);
    return path;
}

/* The directory of this source file, in a build outside of the tree as well.
 */
static void program_path(const char *program, char *path, size_t size)
{
    const char *top = getenv("top_srcdir");

    snprintf(path, size, "%s/tests/unit/%s", top ? top : "../..", program);
}

static void __attribute__((noreturn))
run(char *const *argv, int out)
{
    dup2(out, 1);
    execv(argv[0], argv);
    perror(argv[0]);
    _exit(127);
}

/* argv ends with a NULL; its first element is left for the program's path. */
static pid_t start(const char *program, char **argv)
{
    char path[400], ready[6];
    int fds[2], i;
    pid_t pid;

    program_path(program, path, sizeof(path));
    argv[0] = path;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (!pid)
        run(argv, fds[1]);
    assert_true(pid > 0);
    close(fds[1]);
    for (i = 0; i < 6; i++)
        assert_int_equal(read(fds[0], ready + i, 1), 1);
    assert_memory_equal(ready, "ready\n", 6);
    close(fds[0]);
    return pid;
}

pid_t peer_start(const char *program, ...)
{
    char *argv[MAX_ARGS] = { NULL };
    va_list ap;
    int i = 1;

    va_start(ap, program);
    while (i < MAX_ARGS - 1 && (argv[i] = va_arg(ap, char *)))
        i++;
    va_end(ap);
    return start(program, argv);
}

void peer_xenstored(const char *arg, ...)
{
    char *argv[MAX_ARGS] = { NULL, xenstored_socket, (char *)(uintptr_t)arg };
    va_list ap;
    int i = 3;

    va_start(ap, arg);
    while (arg && i < MAX_ARGS - 1 && (argv[i] = va_arg(ap, char *)))
        i++;
    va_end(ap);
    xenstored_pid = start("fake-xenstored.py", argv);
}

int peer_xenstored_stop(void **state)
{
    (void)state;
    xlx__xs_close(ctx);
    if (xenstored_pid > 0) {
        kill(xenstored_pid, SIGKILL);
        waitpid(xenstored_pid, NULL, 0);
    }
    xenstored_pid = 0;
    unlink(xenstored_socket);
    return 0;
}

int peer_wait(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int peer_connect(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd;

    assert_true(strlen(path) < sizeof(addr.sun_path));
    memcpy(addr.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    if (!connect(fd, (const struct sockaddr *)&addr, sizeof(addr)))
        return fd;
    close(fd);
    return -1;
}

int peer_count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

void peer_proc(void)
{
    static const char *const dirs[] = {
        "proc", "proc/1", "proc/self", "proc/self/ns",
    };
    size_t i;

    for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
        if (mkdir(peer_path(dirs[i]), 0755) && errno != EEXIST)
            fail_msg("%s: %s", peer_path(dirs[i]), strerror(errno));
    if (symlink("mnt:[1]", peer_path("proc/self/ns/mnt")) && errno != EEXIST)
        fail_msg("proc: %s", strerror(errno));
    setenv("LIBXLX_PROC_DIR", peer_path("proc"), 1);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "xl restore" of a compact file: stock xl gets a pipe, out of which comes
 * what it reads, and the guard looks into that pipe as into any other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/save-head.h"
#include "xl.h"

/* Opened only when it is a file: a FIFO gives its bytes once. */
static bool is_compact(const char *path)
{
    struct xlx__save_head h;
    struct stat st;
    bool yes = false;
    int fd;

    if (stat(path, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
        return false;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return false;
    if (read(fd, &h, sizeof(h)) == sizeof(h))
        yes = xlx__is_save_head(&h) && h.mandatory & XLX__SAVE_COMPACT;
    close(fd);
    return yes;
}

static void expand(const char *path, int to)
{
    char *program = xl_printf("%s/xl-save-expand", xl_exec_dir());
    char *args[] = { xl_printf("xl-save-expand"), xl_printf("--"),
                     xl_printf("%s", path), xl_printf("-"), NULL };

    if (dup2(to, STDOUT_FILENO) < 0 || unsetenv("LIBXLX_XL_OPTS"))
        xl_die(XL_CANNOT_RUN, "%s", strerror(errno));
    execv(program, args);
    xl_die(XL_CANNOT_RUN, "\"%s\": %s; it expands \"%s\"", program,
           strerror(errno), path);
}

/* A child of nobody: libxl would wonder about one of its own that it has not
 * started. */
static void start(const char *path, int to)
{
    pid_t pid = fork();
    int status;

    if (pid < 0)
        xl_die(XL_CANNOT_RUN, "cannot fork: %s", strerror(errno));
    if (!pid) {
        pid = fork();
        if (!pid)
            expand(path, to);
        _exit(pid < 0);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status)
        xl_die(XL_CANNOT_RUN, "cannot fork");
}

void xl_expand_saved(char **args)
{
    int ends[2], num = 0;

    while (args[num])
        num++;
    if (!num || !is_compact(args[num - 1]))
        return;
    if (pipe(ends) || fcntl(ends[1], F_SETFD, FD_CLOEXEC))
        xl_die(XL_CANNOT_RUN, "a pipe: %s", strerror(errno));
    start(args[num - 1], ends[1]);
    close(ends[1]);
    args[num - 1] = xl_printf("/dev/fd/%d", ends[0]);
}

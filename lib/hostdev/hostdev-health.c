/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a guest's watcher is: who it is, and what it could not do.  It writes
 * that into the file that it has locked, which it has open in any case, so
 * that it can also say that it may open no file.  A watcher that was killed
 * leaves the file, and nobody has it locked.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/process.h"
#include "hostdev/hostdev.h"

/* A line of numbers, and the message. */
#define FORMAT "%d %" PRIu64 " %" PRId64 " %" PRId64 " %u\n"
#define SCAN "%d %" SCNu64 " %" SCNd64 " %" SCNd64 " %u"
#define FILE_SIZE (XLX__ERROR_SIZE + 160)

char *xlx__hostdev_watch_path(xlx_ctx *ctx, const char *name,
                              const libxl_uuid *uuid)
{
    return xlx__printf("%s/%s-watch-" LIBXL_UUID_FMT ".lock", ctx->run_dir,
                       name, LIBXL_UUID_BYTES(*uuid));
}

void xlx__hostdev_health_write(const struct xlx__lock *lock,
                               const struct xlx__hostdev_health *h)
{
    pid_t pid = getpid();
    char text[FILE_SIZE];
    ssize_t r;
    int len;

    len = snprintf(text, sizeof(text), FORMAT "%s\n", (int)pid,
                   xlx__process_start(pid), h->since, h->last, h->times,
                   h->error);
    r = pwrite(lock->fd, text, (size_t)len, 0);
    if (r == len && ftruncate(lock->fd, len))
        r = -1;
    (void)r;                        /* the watcher has nobody to say it to */
}

/* Does anybody have it locked?  Trying that for an instant does no harm: a
 * watcher that starts waits a while for the lock. */
static bool is_locked(int fd)
{
    return flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
}

static void read_text(const char *text, struct xlx__hostdev_health *h)
{
    const char *line = strchr(text, '\n');
    uint64_t start = 0;
    int pid = 0;

    if (!line || sscanf(text, SCAN, &pid, &start, &h->since, &h->last,
                        &h->times) != 5) {
        h->since = h->last = 0;
        h->times = 0;
        return;
    }
    if (h->alive && pid > 0 && start && xlx__process_start(pid) == start)
        h->pid = pid;
    line++;
    snprintf(h->error, sizeof(h->error), "%.*s",
             (int)xlx__utf8_valid(line, strcspn(line, "\n")), line);
}

int xlx__hostdev_health(xlx_ctx *ctx, const char *name,
                        const libxl_uuid *uuid,
                        struct xlx__hostdev_health *h)
{
    char *path = xlx__hostdev_watch_path(ctx, name, uuid);
    char text[FILE_SIZE];
    ssize_t len;
    int fd = -1, rc = 0;

    memset(h, 0, sizeof(*h));
    if (!path)
        return xlx__nomem();
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        if (errno != ENOENT)
            rc = xlx__error(xlx__errno_rc(errno), "%s: cannot open: %m",
                            path);
        goto out;
    }
    h->alive = is_locked(fd);
    len = pread(fd, text, sizeof(text) - 1, 0);
    if (len < 0) {
        rc = xlx__error(ERROR_FAIL, "%s: cannot read: %m", path);
        goto out;
    }
    text[len] = '\0';
    read_text(text, h);

 out:
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

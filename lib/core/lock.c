/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Locks by flock(2).  A process that locks a file that may be unlinked must
 * look afterwards whether the path still names the file that it locked; we do
 * so for every lock, as libxl does for its own.  flock has no form with a
 * timeout, and an alarm would need a signal handler: a wait tries again after
 * 1 ms, then 2, up to 50.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/lock.h"

#define HOST_WAIT_MS 5000
#define LONGEST_NAP_MS 50

/* The command line of a process, "xl migrate web host", is the best reason
 * for a lock that there is.  Best effort, on one line. */
static void describe_process(int pid, char *out, size_t size)
{
    char path[32], line[120];
    size_t len, i;
    FILE *f;

    snprintf(out, size, "process %d", pid);
    snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
    f = fopen(path, "re");
    if (!f)
        return;
    len = fread(line, 1, sizeof(line) - 1, f);
    fclose(f);
    while (len && !line[len - 1])
        len--;
    for (i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';          /* arguments end with a NUL byte */
    line[len] = '\0';
    line[xlx__utf8_valid(line, len)] = '\0';
    if (line[0])
        snprintf(out, size, "process %d (%s)", pid, line);
}

/* "process 123 (xl migrate web host)", from /proc/locks: best effort, for the
 * message; sscanf() skips what we do not want of the kernel's line. */
static void describe_holder(const char *path, char *out, size_t size)
{
    unsigned int maj, min;
    unsigned long inode;
    struct stat st;
    char line[256];
    FILE *f;
    int pid, holder = 0;

    snprintf(out, size, "another process");
    if (stat(path, &st))
        return;
    f = fopen("/proc/locks", "re");
    if (!f)
        return;
    while (!holder && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%lu",
                   &pid, &maj, &min, &inode) == 4 &&
            pid > 0 && inode == st.st_ino && maj == major(st.st_dev) &&
            min == minor(st.st_dev))
            holder = pid;
    }
    fclose(f);
    if (holder)
        describe_process(holder, out, size);
}

/* 0 with the lock, 1 if somebody else has it or has just removed the file, a
 * negative code if it cannot work. */
static int try_lock(const char *path, mode_t mode, int *fd_r)
{
    struct stat ours, named;
    int fd, rc;

    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
              mode);
    if (fd < 0) {
        rc = xlx__error(ERROR_FAIL, "%s: cannot open lock file: %m", path);
        goto out;
    }
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno == EWOULDBLOCK || errno == EINTR)
            rc = 1;
        else
            rc = xlx__error(ERROR_LOCK_FAIL, "%s: cannot lock: %m", path);
        goto out;
    }
    if (fstat(fd, &ours)) {
        rc = xlx__error(ERROR_FAIL, "%s: cannot look at it: %m", path);
        goto out;
    }
    if (stat(path, &named)) {
        if (errno == ENOENT)
            rc = 1;
        else
            rc = xlx__error(ERROR_FAIL, "%s: cannot look at it: %m", path);
        goto out;
    }
    if (ours.st_dev != named.st_dev || ours.st_ino != named.st_ino) {
        rc = 1;
        goto out;
    }
    *fd_r = fd;
    fd = -1;
    rc = 0;
 out:
    if (fd >= 0)
        close(fd);                      /* gives the lock up as well */
    return rc;
}

/* Tries at least once, and again until the deadline. */
static int take(const char *path, mode_t mode, int64_t deadline,
                struct xlx__lock *lock)
{
    int rc, nap = 1;
    int64_t left;
    char holder[160];

    for (;;) {
        rc = try_lock(path, mode, &lock->fd);
        if (rc <= 0)
            return rc;
        left = deadline - xlx__now_ms();
        if (left <= 0)
            break;
        poll(NULL, 0, left < nap ? (int)left : nap);
        nap = nap * 2 > LONGEST_NAP_MS ? LONGEST_NAP_MS : nap * 2;
    }
    describe_holder(path, holder, sizeof(holder));
    return xlx__error(ERROR_LOCK_FAIL, "%s holds the lock %s", holder, path);
}

int xlx__lock_guest(xlx_ctx *ctx, const libxl_uuid *uuid,
                    struct xlx__lock *lock)
{
    return xlx__lock_guest_until(ctx, uuid, 0, lock);
}

int xlx__lock_guest_until(xlx_ctx *ctx, const libxl_uuid *uuid,
                          int64_t deadline, struct xlx__lock *lock)
{
    char *path = NULL;
    int rc;

    rc = xlx__make_directory(ctx->run_dir);
    if (rc) goto out;
    path = xlx__printf("%s/guest-" LIBXL_UUID_FMT ".lock", ctx->run_dir,
                       LIBXL_UUID_BYTES(*uuid));
    if (!path) {
        rc = xlx__nomem();
        goto out;
    }
    rc = take(path, 0600, deadline, lock);
    if (rc == ERROR_LOCK_FAIL)
        xlx__error_prefix(rc, "guest " LIBXL_UUID_FMT " is being changed",
                          LIBXL_UUID_BYTES(*uuid));
 out:
    free(path);
    return rc;
}

int xlx__lock_host(xlx_ctx *ctx, const char *what, struct xlx__lock *lock)
{
    char *path = NULL;
    int rc;

    rc = xlx__make_directory(ctx->run_dir);
    if (rc) goto out;
    path = xlx__printf("%s/host-%s.lock", ctx->run_dir, what);
    if (!path) {
        rc = xlx__nomem();
        goto out;
    }
    rc = take(path, 0600, xlx__now_ms() + HOST_WAIT_MS, lock);
    if (rc == ERROR_LOCK_FAIL)
        xlx__error_prefix(rc, "%s: busy for %d s", what, HOST_WAIT_MS / 1000);
 out:
    free(path);
    return rc;
}

int xlx__lock_file(const char *path, int64_t deadline, struct xlx__lock *lock)
{
    char *copy = NULL;
    int rc;

    rc = xlx__set_string(&copy, path);
    if (rc) goto out;
    rc = take(path, 0666, deadline, lock);
    if (rc) goto out;
    lock->path = copy;
    copy = NULL;
 out:
    free(copy);
    return rc;
}

/* The file outlives a domain that died while we waited, and would then stay
 * behind: so look only with the lock held. */
static int check_domain(xlx_ctx *ctx, uint32_t domid, const libxl_uuid *uuid)
{
    libxl_ctx *libxl;
    libxl_dominfo info;
    int rc;

    libxl_dominfo_init(&info);
    rc = xlx__ctx_libxl(ctx, &libxl);
    if (rc) goto out;
    rc = libxl_domain_info(libxl, &info, domid);
    if (rc == ERROR_DOMAIN_NOTFOUND ||
        (!rc && libxl_uuid_compare(&info.uuid, uuid))) {
        rc = xlx__error(ERROR_DOMAIN_NOTFOUND,
                        "domain %u has gone away", domid);
        goto out;
    }
    if (rc)
        xlx__error(rc, "domain %u: cannot get its state: %s", domid,
                   xlx__ctx_libxl_said(ctx, rc));
 out:
    libxl_dominfo_dispose(&info);
    return rc;
}

int xlx__lock_libxl(xlx_ctx *ctx, uint32_t domid, const libxl_uuid *uuid,
                    const char *name, int64_t deadline,
                    struct xlx__lock *lock)
{
    const char *dir = secure_getenv("LIBXLX_XEN_LIB_DIR");
    struct xlx__lock got = XLX__LOCK_NONE;
    char *path = NULL;
    int rc;

    path = xlx__printf("%s/userdata-l.%u." LIBXL_UUID_FMT ".%s",
                       dir ? dir : XEN_LIB_DIR, domid,
                       LIBXL_UUID_BYTES(*uuid), name);
    if (!path) {
        rc = xlx__nomem();
        goto out;
    }
    rc = xlx__lock_file(path, deadline, &got);
    if (rc) goto out;
    rc = check_domain(ctx, domid, uuid);
    if (rc) goto out;
    *lock = got;
    got = (struct xlx__lock)XLX__LOCK_NONE;
 out:
    xlx__unlock(&got);
    free(path);
    return rc;
}

void xlx__unlock(struct xlx__lock *lock)
{
    if (lock->fd < 0)
        return;
    /* First the name: who gets the lock afterwards must not find it. */
    if (lock->path)
        unlink(lock->path);
    flock(lock->fd, LOCK_UN);           /* a fork may still have it open */
    close(lock->fd);
    free(lock->path);
    *lock = (struct xlx__lock)XLX__LOCK_NONE;
}

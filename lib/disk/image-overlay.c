/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A new image file, and a new qcow2 image over another one.  We make the empty
 * file, which nobody else can have, and qemu-img writes it; it gets the file
 * as a descriptor and not by name, so that one that goes on after we were
 * killed makes no second file once somebody has removed the first.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/image.h"

#define MAKE_MS (60 * 1000)

/* Those who may open the image below may open what is written over it: the
 * QEMU of a guest may run as a user who has access by the group alone.  Never
 * more: others get nothing, and neither does another group. */
static int give_owner(int fd, const char *path, const char *backing,
                      const struct stat *below)
{
    struct stat st;

    if (fchown(fd, below->st_uid, below->st_gid) && errno != EPERM)
        return xlx__error(ERROR_FAIL, "%s: cannot give it the owner of %s: "
                          "%m", path, backing);
    if (fstat(fd, &st) ||
        fchmod(fd, 0600 | (st.st_gid == below->st_gid
                           ? below->st_mode & 0060 : 0)))
        return xlx__error(ERROR_FAIL, "%s: cannot give it the mode of %s: "
                          "%m", path, backing);
    return 0;
}

/* An empty file that is ours alone, so that nobody else's is overwritten. */
static int reserve(int dir, const char *name, const char *path,
                   const char *backing, int *fd_r)
{
    struct stat st;
    int fd, rc;

    if (stat(backing, &st))
        return xlx__error(xlx__errno_rc(errno), "%s: %m", backing);
    fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC |
                O_NOFOLLOW, 0600);
    if (fd < 0)
        return xlx__error(xlx__errno_rc(errno), "%s: %m", path);
    rc = give_owner(fd, path, backing, &st);
    if (rc) {
        xlx__image_unlink_made(dir, name, fd);
        close(fd);
        return rc;
    }
    *fd_r = fd;
    return 0;
}

int xlx__image_make_empty(const char *path, const char *like)
{
    const char *name;
    bool shared;
    int dir, fd, rc;

    rc = xlx__image_dir_open(path, &dir, &name, &shared);
    if (rc) return rc;
    rc = reserve(dir, name, path, like, &fd);
    if (rc) goto out;
    rc = xlx__image_sync(dir, path);
    if (rc)
        xlx__image_unlink_made(dir, name, fd);
    close(fd);

 out:
    close(dir);
    return rc;
}

/* -u: the image below is in use; its size is known from QEMU */
static int start_qemu_img(xlx_ctx *ctx, const char *backing,
                          const char *backing_format, uint64_t virtual_size,
                          struct xlx__image_making *m)
{
    const char *const argv[] = {
        "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F",
        backing_format, "--", m->by_fd, m->size, NULL
    };

    snprintf(m->by_fd, sizeof(m->by_fd), "/proc/self/fd/%d",
             XLX__CHILD_FIRST_FILE);
    snprintf(m->size, sizeof(m->size), "%"PRIu64, virtual_size);
    memcpy(m->argv, argv, sizeof(argv));
    m->child = (struct xlx__child){
        .argv = m->argv, .timeout_ms = MAKE_MS, .max_output = 65536,
        .files = &m->fd, .num_files = 1,
    };
    return xlx__child_start(ctx, &m->child, &m->running);
}

static void close_all(struct xlx__image_making *m)
{
    close(m->fd);
    close(m->dir);
}

int xlx__image_make_start(xlx_ctx *ctx, const char *path,
                          const char *backing, const char *backing_format,
                          uint64_t virtual_size, struct xlx__image_making *m)
{
    bool shared;
    int rc;

    m->path = path;
    rc = xlx__image_dir_open(path, &m->dir, &m->name, &shared);
    if (rc) return rc;
    rc = reserve(m->dir, m->name, path, backing, &m->fd);
    if (rc) {
        close(m->dir);
        return rc;
    }
    rc = start_qemu_img(ctx, backing, backing_format, virtual_size, m);
    if (rc) {
        xlx__image_unlink_made(m->dir, m->name, m->fd);
        close_all(m);
    }
    return rc;
}

int xlx__image_make_end(struct xlx__image_making *m)
{
    int rc;

    rc = xlx__child_end(&m->running, NULL, NULL);
    if (rc)
        xlx__error_prefix(rc, "%s", m->path);
    if (!rc)
        rc = xlx__image_sync(m->fd, m->path);
    if (!rc)
        rc = xlx__image_sync(m->dir, m->path);
    if (rc)
        xlx__image_unlink_made(m->dir, m->name, m->fd);
    close_all(m);
    return rc;
}

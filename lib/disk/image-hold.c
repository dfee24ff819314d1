/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Images that are about to be used and that nobody has open yet: a guest is
 * being built on them, or a command changes them while no guest runs.  Between
 * the look whether somebody uses an image and the moment at which that shows
 * to others, two would both see nobody.  So each locks the images that it is
 * about to use: a byte of one file represents an image, by device and inode,
 * so that one descriptor holds the locks of all, and its end is their end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file-id.h"
#include "disk/image-use.h"
#include "gen-calls.h"

/* Two images that share a byte are two that cannot be started at once. */
static off_t byte_of(const struct xlx__file_id *id)
{
    const uint64_t parts[] = { id->block, id->dev, id->ino };
    uint64_t hash = UINT64_C(14695981039346656037);     /* FNV-1a */
    size_t i;
    int shift;

    for (i = 0; i < XLX__ARRAY_SIZE(parts); i++)
        for (shift = 0; shift < 64; shift += 8)
            hash = (hash ^ (parts[i] >> shift & 0xff)) *
                   UINT64_C(1099511628211);
    return (off_t)(hash >> 2);
}

static int open_file(xlx_ctx *ctx, int *fd)
{
    char *path;
    int rc;

    rc = xlx__make_directory(ctx->run_dir);
    if (rc) return rc;
    path = xlx__printf("%s/images.lock", ctx->run_dir);
    if (!path)
        return xlx__nomem();
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    rc = *fd < 0 ? xlx__error(ERROR_FAIL, "%s: cannot open lock file: %m",
                              path) : 0;
    free(path);
    return rc;
}

int xlx__image_hold(xlx_ctx *ctx, const char *image, bool only_read, int *fd)
{
    struct flock lock = {
        .l_type = only_read ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET,
        .l_len = 1,
    };
    struct xlx__file_id id;
    int rc;

    if (!xlx__file_id_of(image, &id))
        return 0;                   /* it is not there */
    if (*fd < 0) {
        rc = open_file(ctx, fd);
        if (rc) return rc;
    }
    lock.l_start = byte_of(&id);
    if (!fcntl(*fd, F_OFD_SETLK, &lock))
        return 0;
    if (errno != EAGAIN && errno != EACCES)
        return xlx__error(ERROR_FAIL, "%s: cannot lock it: %m", image);
    return xlx__error(ERROR_LOCK_FAIL, "%s: another command is starting a "
                      "guest on it, or changes it, at this moment: try again "
                      "when that one has ended", image);
}

int xlx__images_hold(xlx_ctx *ctx, const xlx_disks *disks, int64_t *fd_r)
{
    int i, fd = -1, rc = 0;

    for (i = 0; !rc && i < disks->num_disks; i++)
        if (*xlx__text(disks->disks[i].path) && !disks->disks[i].cdrom)
            rc = xlx__image_hold(ctx, disks->disks[i].path,
                                 disks->disks[i].readonly, &fd);
    if (rc && fd >= 0)
        close(fd);
    if (rc) return rc;
    *fd_r = fd;
    return 0;
}

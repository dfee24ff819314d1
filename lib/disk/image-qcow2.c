/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Parts of an image that are read directly, without qemu-img, because they
 * are asked for often, of many files, and of images that a QEMU has open: the
 * header of a qcow2 file (QEMU's docs/interop/qcow2.txt) and the size.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file-id.h"
#include "disk/image-qcow2.h"

bool xlx__image_same(const char *a, const char *b)
{
    return xlx__file_same(a, b);
}

/* QEMU's programs keep locks on certain bytes of an image that they have open
 * (100 to 299), each byte for a way in which they use it.  Those that open it
 * without locks are not seen. */
/* QEMU's programs lock a byte for each permission that they have, from 100
 * (util: BLK_PERM_*; the one to write is the second), and from 200 one for
 * each that they deny to others. */
static bool is_locked(int fd, off_t start, off_t len)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start,
        .l_len = len,
    };

    return !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}

int xlx__image_in_use(const char *path, bool *yes_r, bool *writes_r)
{
    int fd, rc;

    rc = xlx__image_open(path, &fd);
    if (rc) return rc;
    *yes_r = is_locked(fd, 100, 200);
    if (writes_r)
        *writes_r = is_locked(fd, 101, 1);
    close(fd);
    return 0;
}

#define QCOW2_MAGIC 0x514649fbu     /* "QFI\xfb" */

int xlx__image_open(const char *path, int *fd_r)
{
    char name[40];
    struct stat st;
    int by_name, fd = -1, rc;

    by_name = open(path, O_PATH | O_CLOEXEC);
    if (by_name < 0)
        return xlx__error(xlx__errno_rc(errno), "%s: %m", path);
    if (!fstat(by_name, &st) && !S_ISREG(st.st_mode) &&
        !S_ISBLK(st.st_mode)) {
        rc = xlx__error(ERROR_INVAL, "%s: not a file and not a block device",
                        path);
        goto out;
    }
    snprintf(name, sizeof(name), "/proc/self/fd/%d", by_name);
    fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    rc = fd < 0 ? xlx__error(xlx__errno_rc(errno), "%s: %m", path) : 0;

 out:
    close(by_name);
    if (!rc)
        *fd_r = fd;
    return rc;
}

bool xlx__qcow2_read(int fd, void *to, size_t len, uint64_t offset)
{
    return offset <= INT64_MAX - len &&
           pread(fd, to, len, (off_t)offset) == (ssize_t)len;
}

int xlx__qcow2_open(const char *path, struct xlx__qcow2_header *h, int *fd_r)
{
    int fd, rc;
    ssize_t r;

    *fd_r = -1;
    rc = xlx__image_open(path, &fd);
    if (rc) return rc;
    memset(h, 0, sizeof(*h));
    r = pread(fd, h, sizeof(*h), 0);
    if (r < XLX__QCOW2_V2_SIZE || be32toh(h->magic) != QCOW2_MAGIC ||
        (be32toh(h->version) != 2 && be32toh(h->version) != 3)) {
        close(fd);
        return 0;
    }
    if (be32toh(h->version) == 2)
        memset((char *)h + XLX__QCOW2_V2_SIZE, 0,
               sizeof(*h) - XLX__QCOW2_V2_SIZE);
    *fd_r = fd;
    return 0;
}

int xlx__image_has_data(const char *path, bool *data_r)
{
    struct xlx__qcow2_header h;
    uint64_t *l1 = NULL;
    size_t i, bytes;
    int fd, rc;

    rc = xlx__qcow2_open(path, &h, &fd);
    if (rc) return rc;
    if (fd < 0)
        return xlx__error(ERROR_INVAL, "%s: not a qcow2 image", path);

    /* Whatever is ever written needs a second-level table, and a table
     * shows as an entry in the first-level one. */
    bytes = (size_t)be32toh(h.l1_size) * sizeof(*l1);
    if (bytes > XLX__QCOW2_MAX_L1) {
        rc = xlx__error(ERROR_INVAL, "%s: its tables are too large", path);
        goto out;
    }
    l1 = malloc(bytes + 1);
    if (!l1) {
        rc = xlx__nomem();
        goto out;
    }
    if (!xlx__qcow2_read(fd, l1, bytes, be64toh(h.l1_offset))) {
        rc = xlx__error(ERROR_INVAL, "%s: its tables cannot be read", path);
        goto out;
    }
    *data_r = false;
    for (i = 0; i < bytes / sizeof(*l1); i++)
        if (l1[i])
            *data_r = true;
    rc = 0;

 out:
    free(l1);
    close(fd);
    return rc;
}

/* ---- size and features -------------------------------------------------- */

static int raw_size(const char *path, uint64_t *size_r)
{
    off_t end;
    int fd, rc;

    rc = xlx__image_open(path, &fd);
    if (rc) return rc;
    end = lseek(fd, 0, SEEK_END);       /* also right for block devices */
    if (end < 0)
        rc = xlx__error(ERROR_FAIL, "%s: its size: %m", path);
    else
        *size_r = ((uint64_t)end + 511) / 512 * 512;    /* as QEMU does */
    close(fd);
    return rc;
}

int xlx__image_size(xlx_ctx *ctx, const char *path, const char *format,
                    uint64_t *size_r)
{
    struct xlx__qcow2_header h;
    struct xlx__image image;
    int fd, rc;

    if (!strcmp(format, "raw"))
        return raw_size(path, size_r);
    if (strcmp(format, "qcow2")) {
        rc = xlx__image_info(ctx, path, format, &image);
        if (rc) return rc;
        *size_r = image.virtual_size;
        xlx__image_dispose(&image);
        return 0;
    }
    rc = xlx__qcow2_open(path, &h, &fd);
    if (rc) return rc;
    if (fd < 0)
        return xlx__error(ERROR_INVAL, "%s: not a qcow2 image", path);
    close(fd);
    *size_r = be64toh(h.size);
    return 0;
}

int xlx__image_features(const char *path, const char *format,
                        struct xlx__image_features *features_r)
{
    struct xlx__qcow2_header h;
    int fd, rc;

    memset(features_r, 0, sizeof(*features_r));
    features_r->encrypted = !strcmp(format, "luks");
    if (strcmp(format, "qcow2"))
        return 0;
    rc = xlx__qcow2_open(path, &h, &fd);
    if (rc) return rc;
    if (fd < 0)
        return xlx__error(ERROR_INVAL, "%s: not a qcow2 image", path);
    close(fd);
    features_r->data_file =
        (be64toh(h.incompatible) & XLX__QCOW2_DATA_FILE) != 0;
    features_r->encrypted = h.crypt_method != 0;
    return 0;
}

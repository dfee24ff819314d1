/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of an image is read directly, without qemu-img: the parts of the qcow2
 * format (QEMU's docs/interop/qcow2.txt: "Header", "Snapshots") that are asked
 * for often, of many files, and of images that a QEMU has open.  Images are
 * outside input: every number is bounded before it is used.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"

bool xlx__image_same(const char *a, const char *b)
{
    struct stat sa, sb;

    return a && b && !stat(a, &sa) && !stat(b, &sb) &&
           sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* QEMU's programs keep locks on certain bytes of an image that they have open
 * (100 to 299), each byte for a way in which they use it.  Those that open it
 * without locks are not seen. */
int xlx__image_in_use(const char *path, bool *yes_r)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 200,
    };
    int fd, r;

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return xlx__error(xlx__errno_rc(errno), "%s: %m", path);
    r = fcntl(fd, F_OFD_GETLK, &lock);
    close(fd);
    *yes_r = !r && lock.l_type != F_UNLCK;
    return 0;
}

/* The start of a qcow2 file; numbers are big-endian. */
struct qcow2_header {
    uint32_t magic, version;
    uint64_t backing_offset;
    uint32_t backing_size;
    uint32_t cluster_bits;
    uint64_t size;
    uint32_t crypt_method;
    uint32_t l1_size;
    uint64_t l1_offset, refcount_offset;
    uint32_t refcount_clusters;
    uint32_t num_tags;
    uint64_t tags_offset;
} __attribute__((packed));

#define QCOW2_MAGIC 0x514649fbu     /* "QFI\xfb" */
#define QCOW2_MAX_BACKING 1023
#define QCOW2_MAX_L1 (32u << 20)    /* bytes, QEMU's own limit */

/* 0 and *fd_r = -1 when the file is no qcow2. */
static int open_qcow2(const char *path, struct qcow2_header *h, int *fd_r)
{
    int fd;

    *fd_r = -1;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return xlx__error(xlx__errno_rc(errno), "%s: %m", path);
    if (pread(fd, h, sizeof(*h), 0) == (ssize_t)sizeof(*h) &&
        be32toh(h->magic) == QCOW2_MAGIC &&
        (be32toh(h->version) == 2 || be32toh(h->version) == 3))
        *fd_r = fd;
    else
        close(fd);
    return 0;
}

int xlx__image_backing(const char *path, char **backing_r)
{
    char name[QCOW2_MAX_BACKING + 1];
    struct qcow2_header h;
    const char *slash;
    uint32_t len;
    int fd, rc;

    *backing_r = NULL;
    rc = open_qcow2(path, &h, &fd);
    if (rc || fd < 0) return rc;
    rc = 0;
    len = be32toh(h.backing_size);
    if (!h.backing_offset || !len)
        goto out;
    if (len > QCOW2_MAX_BACKING ||
        pread(fd, name, len, (off_t)be64toh(h.backing_offset)) !=
            (ssize_t)len) {
        rc = xlx__error(ERROR_INVAL,
                        "%s: the name of its backing file cannot be read",
                        path);
        goto out;
    }
    name[len] = 0;
    slash = strrchr(path, '/');
    *backing_r = name[0] == '/' || !slash
        ? strdup(name)
        : xlx__printf("%.*s/%s", (int)(slash - path), path, name);
    if (!*backing_r)
        rc = xlx__error(ERROR_NOMEM, "out of memory");

 out:
    close(fd);
    return rc;
}

int xlx__image_has_data(const char *path, bool *data_r)
{
    struct qcow2_header h;
    uint64_t *l1 = NULL;
    size_t i, bytes;
    int fd, rc;

    rc = open_qcow2(path, &h, &fd);
    if (rc) return rc;
    if (fd < 0)
        return xlx__error(ERROR_INVAL, "%s: not a qcow2 image", path);

    /* Whatever is ever written needs a second-level table, and a table
     * shows as an entry in the first-level one. */
    bytes = (size_t)be32toh(h.l1_size) * sizeof(*l1);
    if (bytes > QCOW2_MAX_L1) {
        rc = xlx__error(ERROR_INVAL, "%s: its tables are too large", path);
        goto out;
    }
    l1 = malloc(bytes + 1);
    if (!l1) {
        rc = xlx__error(ERROR_NOMEM, "out of memory");
        goto out;
    }
    if (pread(fd, l1, bytes, (off_t)be64toh(h.l1_offset)) !=
        (ssize_t)bytes) {
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

/* ---- internal snapshots ------------------------------------------------- */

/* An entry of the snapshot table; the extra data, the id and the name follow,
 * and the next entry at a multiple of eight bytes. */
struct qcow2_tag {
    uint64_t l1_offset;
    uint32_t l1_size;
    uint16_t id_size, name_size;
    uint32_t date_sec, date_nsec;
    uint64_t clock_nsec;
    uint32_t state_size, extra_size;
} __attribute__((packed));

#define QCOW2_MAX_TAGS 65536        /* QEMU's own limit */
#define QCOW2_MAX_EXTRA 1024        /* likewise */

static int read_tag(int fd, const char *path, uint64_t *offset,
                    struct xlx__image_tag *tag)
{
    struct qcow2_tag t;
    size_t extra, id, name;
    char *s;

    if (pread(fd, &t, sizeof(t), (off_t)*offset) != (ssize_t)sizeof(t))
        goto bad;
    extra = be32toh(t.extra_size);
    id = be16toh(t.id_size);
    name = be16toh(t.name_size);
    if (extra > QCOW2_MAX_EXTRA)
        goto bad;
    s = calloc(1, name + 1);
    if (!s)
        return xlx__error(ERROR_NOMEM, "out of memory");
    if (pread(fd, s, name, (off_t)(*offset + sizeof(t) + extra + id)) !=
        (ssize_t)name) {
        free(s);
        goto bad;
    }
    tag->name = s;
    tag->time = be32toh(t.date_sec);
    *offset += (sizeof(t) + extra + id + name + 7) & ~(uint64_t)7;
    return 0;

 bad:
    return xlx__error(ERROR_INVAL, "%s: its table of snapshots cannot be "
                      "read", path);
}

int xlx__image_tags(const char *path, struct xlx__image_tag **tags_r,
                    int *num_r)
{
    struct xlx__image_tag *tags = NULL;
    struct qcow2_header h;
    uint64_t offset;
    uint32_t i, num;
    int fd, rc;

    *tags_r = NULL;
    *num_r = 0;
    rc = open_qcow2(path, &h, &fd);
    if (rc || fd < 0) return rc;
    num = be32toh(h.num_tags);
    offset = be64toh(h.tags_offset);
    i = 0;
    if (num > QCOW2_MAX_TAGS) {
        rc = xlx__error(ERROR_INVAL, "%s: too many snapshots", path);
        goto out;
    }
    tags = calloc(num + 1, sizeof(*tags));
    if (!tags) {
        rc = xlx__error(ERROR_NOMEM, "out of memory");
        goto out;
    }
    for (; i < num; i++) {
        rc = read_tag(fd, path, &offset, &tags[i]);
        if (rc) goto out;
    }
    *tags_r = tags;
    *num_r = (int)num;
    tags = NULL;

 out:
    if (tags)
        xlx__image_tags_free(tags, (int)i);
    close(fd);
    return rc;
}

void xlx__image_tags_free(struct xlx__image_tag *tags, int num)
{
    int i;

    for (i = 0; i < num; i++)
        free(tags[i].name);
    free(tags);
}

int xlx__image_has_tag(const char *path, const char *tag, bool *found_r)
{
    struct xlx__image_tag *tags;
    int i, num, rc;

    rc = xlx__image_tags(path, &tags, &num);
    if (rc) return rc;
    *found_r = false;
    for (i = 0; i < num; i++)
        if (!strcmp(tags[i].name, tag))
            *found_r = true;
    xlx__image_tags_free(tags, num);
    return 0;
}

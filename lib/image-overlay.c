/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New overlays.  An empty qcow2 image is four clusters that are the same each
 * time (QEMU's docs/interop/qcow2.txt), so it is written here: a qemu-img for
 * each disk would take longer than all else that a snapshot does.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image-qcow2.h"

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
        unlinkat(dir, name, 0);
        close(fd);
        return rc;
    }
    *fd_r = fd;
    return 0;
}

/* ---- an empty image ----------------------------------------------------- */

#define CLUSTER_BITS 16             /* as qemu-img does unless told otherwise */
#define CLUSTER (1u << CLUSTER_BITS)
#define PER_L1_ENTRY ((uint64_t)CLUSTER * (CLUSTER / 8))    /* 512 MiB */
#define MAX_BACKING 1023            /* bytes of a name, QEMU's limit */
#define EXTENSION_BACKING_FORMAT 0xe2792acau

/* The places of clusters */
enum { HEADER, REFCOUNT_TABLE, REFCOUNTS, L1 };

/* What is in the header's cluster: names of a bounded length. */
struct first {
    struct xlx__qcow2_header h;
    uint32_t type, len;             /* of the extension */
    char bytes[2 * MAX_BACKING];    /* the format, padded; the extensions' end;
                                     * the name of the image below */
} __attribute__((packed));

static int put(int fd, const char *path, const void *bytes, size_t len,
               int cluster)
{
    ssize_t r = pwrite(fd, bytes, len, (off_t)cluster << CLUSTER_BITS);

    if (r >= 0 && (size_t)r < len) {
        errno = ENOSPC;
        r = -1;
    }
    return r < 0 ? xlx__error(xlx__errno_rc(errno), "%s: %m", path) : 0;
}

static int put_header(int fd, const char *path, const char *backing,
                      const char *format, uint64_t size, uint32_t l1_entries)
{
    size_t format_len = strlen(format), padded = (format_len + 7) & ~7u;
    size_t name_len = strlen(backing);
    struct first first;

    if (name_len > MAX_BACKING || padded + 8 + name_len > sizeof(first.bytes))
        return xlx__error(ERROR_INVAL, "%s: the name of the image below is "
                          "over %d bytes long, which QEMU does not take: %s",
                          path, MAX_BACKING, backing);
    memset(&first, 0, sizeof(first));
    first.h.magic = htobe32(XLX__QCOW2_MAGIC);
    first.h.version = htobe32(3);
    first.h.header_size = htobe32(sizeof(first.h));
    first.h.refcount_order = htobe32(4);        /* counts of 16 bits */
    first.h.backing_offset = htobe64(offsetof(struct first, bytes) + padded +
                                     8);
    first.h.backing_size = htobe32((uint32_t)name_len);
    first.h.cluster_bits = htobe32(CLUSTER_BITS);
    first.h.size = htobe64(size);
    first.h.l1_size = htobe32(l1_entries);
    first.h.l1_offset = htobe64((uint64_t)L1 << CLUSTER_BITS);
    first.h.refcount_offset = htobe64((uint64_t)REFCOUNT_TABLE <<
                                      CLUSTER_BITS);
    first.h.refcount_clusters = htobe32(1);
    first.type = htobe32(EXTENSION_BACKING_FORMAT);
    first.len = htobe32((uint32_t)format_len);
    memcpy(first.bytes, format, format_len);
    memcpy(first.bytes + padded + 8, backing, name_len);
    return put(fd, path, &first, sizeof(first), HEADER);
}

/* Each cluster is used once.  Counts have 16 bits, so that one block of them is
 * enough for the largest table that QEMU takes. */
static int put_refcounts(int fd, const char *path, size_t clusters)
{
    uint64_t block = htobe64((uint64_t)REFCOUNTS << CLUSTER_BITS);
    uint16_t counts[L1 + XLX__QCOW2_MAX_L1 / CLUSTER];
    size_t i;
    int rc;

    for (i = 0; i < clusters; i++)
        counts[i] = htobe16(1);
    rc = put(fd, path, &block, sizeof(block), REFCOUNT_TABLE);
    return rc ? rc : put(fd, path, counts, clusters * sizeof(counts[0]),
                         REFCOUNTS);
}

static int put_empty(int fd, const char *path, const char *backing,
                     const char *format, uint64_t size)
{
    uint64_t entries;
    void *l1;
    int rc;

    size = (size + 511) & ~UINT64_C(511);
    entries = size / PER_L1_ENTRY + (size % PER_L1_ENTRY != 0);
    if (entries * 8 > XLX__QCOW2_MAX_L1)
        return xlx__error(ERROR_INVAL, "%s: a disk of %llu bytes is too large "
                          "for a qcow2 image", path,
                          (unsigned long long)size);
    l1 = calloc(entries + 1, 8);
    if (!l1)
        return xlx__error(ERROR_NOMEM, "out of memory");
    rc = put_refcounts(fd, path, L1 + (entries * 8 + CLUSTER - 1) / CLUSTER);
    if (!rc)
        rc = put(fd, path, l1, entries * 8, L1);
    free(l1);
    /* the header last: until then it is not an image */
    return rc ? rc : put_header(fd, path, backing, format, size,
                                (uint32_t)entries);
}

int xlx__image_create_overlay(const char *path, const char *backing,
                              const char *backing_format,
                              uint64_t virtual_size)
{
    const char *name;
    int dir, fd = -1, rc;
    bool shared;

    rc = xlx__image_dir_open(path, &dir, &name, &shared);
    if (rc) return rc;
    rc = reserve(dir, name, path, backing, &fd);
    if (rc) goto out;
    rc = put_empty(fd, path, backing, backing_format, virtual_size);
    if (rc) goto out;
    rc = xlx__image_sync(fd, path);
    if (rc) goto out;
    rc = xlx__image_sync(dir, path);

 out:
    if (rc && fd >= 0)
        unlinkat(dir, name, 0);
    if (fd >= 0)
        close(fd);
    close(dir);
    return rc;
}

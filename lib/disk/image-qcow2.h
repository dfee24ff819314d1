/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The header of a qcow2 file, for image-qcow2.c, image-backing.c and
 * image-tag.c.  Numbers in it are big-endian, and images are outside input:
 * every number is bounded before it is used.
 */
#ifndef XLX_IMAGE_QCOW2_H
#define XLX_IMAGE_QCOW2_H

#include <endian.h>

#include "disk/image.h"

struct xlx__qcow2_header {
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
    /* what follows is 0 in a version 2 file */
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order, header_size;
} __attribute__((packed));

#define XLX__QCOW2_V2_SIZE 72
#define XLX__QCOW2_DATA_FILE (1u << 2)      /* incompatible feature */
#define XLX__QCOW2_MAX_L1 (32u << 20)       /* bytes, QEMU's own limit */

/* Opens a regular file or a block device and nothing else: to open a FIFO
 * waits, and to open a watchdog starts it. */
int xlx__image_open(const char *path, int *fd_r);
/* 0 and *fd_r = -1 when the file is not a qcow2. */
int xlx__qcow2_open(const char *path, struct xlx__qcow2_header *h, int *fd_r);
/* All of len bytes, or false. */
bool xlx__qcow2_read(int fd, void *to, size_t len, uint64_t offset);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's devices with a medium, as query-block tells them; for disk.c, which
 * brings them together with what Xen says.
 */
#ifndef XLX_DISK_DRIVE_H
#define XLX_DISK_DRIVE_H

#include "guest/qmp.h"

#define XLX__MAX_CHAIN 256

/* An entry of query-block.  Strings are never NULL but for vdev. */
struct xlx__drive {
    char *name;                     /* drive id, or of its device */
    char *qdev;
    char *vdev;                     /* of a xen-disk, NULL otherwise */
    char *node, *driver, *path, *format;
    char **below;                   /* the images below, as QEMU has them */
    int num_below;
    char *detect_zeroes;            /* "off", "on", "unmap" */
    char *bitmap;                   /* the first dirty bitmap, or "" */
    bool readonly, encrypted;
    uint64_t virtual_size;
};

struct xlx__drives {
    struct xlx__drive *v;
    int num;
};

/* xen: ask also which of them are Xen disks. */
int xlx__drives_ask(struct xlx__qmp *qmp, bool xen,
                    struct xlx__drives *drives);
void xlx__drives_dispose(struct xlx__drives *drives);

/* A node that changes what passes through it, or watches it, and holds no
 * image of its own */
bool xlx__drive_is_filtered(const struct xlx__drive *drive);

#endif

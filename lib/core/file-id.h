/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The identity of an image: two names may lead to one file, and one name to
 * another file than a minute ago.
 */
#ifndef XLX_FILE_ID_H
#define XLX_FILE_ID_H

#include <sys/stat.h>
#include <sys/types.h>

#include "core/internal.h"

/* The inode of a file, the number of a device. */
struct xlx__file_id {
    bool block;
    dev_t dev;
    ino_t ino;                      /* 0 of a device */
    bool character;                 /* a character device */
};

void xlx__file_id(const struct stat *st, struct xlx__file_id *id_r);
/* false when there is no such file */
bool xlx__file_id_of(const char *path, struct xlx__file_id *id_r);
bool xlx__file_id_same(const struct xlx__file_id *a,
                       const struct xlx__file_id *b);

/* Do two paths lead to the same file?  Not when one is NULL or leads to
 * none. */
bool xlx__file_same(const char *a, const char *b);

#endif

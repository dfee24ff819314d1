/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of this host that use a disk or a file: a mounted file system,
 * swap, a volume group, an array, a multipath map, a loop device, a target of
 * the kernel's.
 */
#ifndef XLX_BLOCK_H
#define XLX_BLOCK_H

#include <sys/types.h>

#include "core/file-id.h"
#include "core/internal.h"

/* ---- block-users.c ------------------------------------------------------ */

/* A use of a device or file by the kernel, without a process that has it
 * open.  All of them are read once a command.  Dispose of them, also after a
 * failure. */
struct xlx__block_user {
    struct xlx__file_id id;
    char *what;                     /* "is mounted on /mnt" */
};
struct xlx__block_users {
    struct xlx__block_user *list;
    int num;
};
int xlx__block_users_read(struct xlx__block_users *users);
void xlx__block_users_dispose(struct xlx__block_users *users);
/* The first of them; *use_r stays as it is when there is none.  name: for the
 * message. */
int xlx__block_users_find(const struct xlx__block_users *users,
                          const struct xlx__file_id *id, const char *name,
                          char **use_r);

/* ---- block.c ------------------------------------------------------------ */

/* dir: that of a disk or partition in sysfs.  Finds a volume, a map or an
 * array above it, for a message; *use_r stays as it is when there is none. */
int xlx__block_holder(const char *name, const char *dir, char **use_r);
/* The name of the block device with that number in /sys/class/block, "" when
 * there is none; NULL as from xlx__attr_link(). */
char *xlx__block_name(dev_t number);
/* The file or device behind the loop device of that name; false when it has
 * none. */
int xlx__block_behind_loop(const char *name, struct xlx__file_id *id_r,
                           bool *has_r);
/* Finds the loop device over a file, rather one that writes to it than one
 * that does not.  writes_r: NULL when it does not matter. */
int xlx__block_use_file(const char *path, char **use_r, bool *writes_r);

#endif

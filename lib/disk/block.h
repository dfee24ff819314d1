/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of this host that use a disk: a mounted file system, swap, a
 * volume group, an array, a multipath map.
 */
#ifndef XLX_BLOCK_H
#define XLX_BLOCK_H

#include <sys/types.h>

#include "core/internal.h"

/* disk: its name in /sys/class/block.  Finds the user of it or of one of its
 * partitions, for a message; *use_r stays as it is when nothing does. */
int xlx__block_use(const char *disk, char **use_r);
/* The name of the block device with that number in /sys/class/block, "" when
 * there is none; NULL when memory is short. */
char *xlx__block_name(dev_t number);
/* The same as xlx__block_use of a file: a loop device, rather one that writes
 * to it than one that does not.  writes_r: NULL when it does not matter. */
int xlx__block_use_file(const char *path, char **use_r, bool *writes_r);

#endif

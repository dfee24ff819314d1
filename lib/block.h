/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of this host uses a disk: a mounted file system, swap, a volume group,
 * an array, a multipath map.
 */
#ifndef XLX_BLOCK_H
#define XLX_BLOCK_H

#include "internal.h"

/* disk: its name in /sys/class/block.  What uses it or one of its partitions,
 * for a message; *use_r stays as it is when nothing does. */
int xlx__block_use(const char *disk, char **use_r);

#endif

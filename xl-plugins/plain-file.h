/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening the files that stock xl will read itself.  Only plain files are
 * opened: what comes out of a pipe comes out once, a writer that waits at the
 * other end of a FIFO must meet stock xl, and to open a device can do
 * something (/dev/watchdog).
 */
#ifndef XL_PLAIN_FILE_H
#define XL_PLAIN_FILE_H

#include <sys/types.h>

/* Texts of xl.cfg(5) are a few kilobytes.  A larger file is not one. */
#define XL_MAX_CONFIG (16 << 20)

/* For reading, or -1: it is not there, or it is not a plain file. */
int xl_open_plain(const char *path, off_t *size_r);

#endif

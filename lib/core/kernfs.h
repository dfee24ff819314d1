/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sysfs and configfs: directories of small texts through which the kernel
 * shows and takes settings.  The paths of these functions are printf formats.
 */
#ifndef XLX_KERNFS_H
#define XLX_KERNFS_H

#include "core/internal.h"

/* Where they are mounted; LIBXLX_SYSFS_DIR and LIBXLX_CONFIGFS_DIR for
 * tests. */
const char *xlx__sysfs_dir(void);
const char *xlx__configfs_dir(void);

/* The text without the spaces around it, the caller's to free; ERROR_NOTFOUND
 * without a message when there is no such file. */
int xlx__attr_read(char **text_r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The text, or "" whatever the reason; NULL when memory is short. */
char *xlx__attr_text(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
/* Where the link leads to, its last part alone; "" when it is none. */
char *xlx__attr_link(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
/* ERROR_DEVICE_EXISTS when the kernel says EEXIST: it is set already. */
int xlx__attr_write(const char *value, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool xlx__attr_exists(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
/* Names in a directory, sorted, for each of which wanted(name) is true (all
 * when NULL); none when there is no such directory.  Ends with a NULL; free()
 * the one block. */
int xlx__attr_list(char ***names_r, int *num_r, bool (*wanted)(const char *),
                   const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif

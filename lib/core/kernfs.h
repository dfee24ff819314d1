/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sysfs and configfs: directories of small texts through which the kernel
 * shows and takes settings.  The paths of these functions are printf formats.
 */
#ifndef XLX_KERNFS_H
#define XLX_KERNFS_H

#include "core/internal.h"

/* Where they are mounted; LIBXLX_SYSFS_DIR, ... for tests. */
const char *xlx__sysfs_dir(void);
const char *xlx__configfs_dir(void);
const char *xlx__proc_dir(void);
const char *xlx__dev_dir(void);

/* "There is nothing" is an answer, and is given as an empty text or list.
 * Everything else that keeps us from looking, such as the limit of open files,
 * is a failure: a device must not look free because we could not look. */

/* The text without the spaces around it, the caller's to free; ERROR_NOTFOUND
 * without a message when there is no such file. */
int xlx__attr_read(char **text_r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The text, "" when there is none; NULL, with the message set, when it cannot
 * be read: xlx__attr_failure() is then the rc. */
char *xlx__attr_text(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
/* Where the link leads to, its last part alone; "" when it is none.  Fails
 * like xlx__attr_text(). */
char *xlx__attr_link(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
/* The rc of the last of these two in this thread that gave NULL. */
int xlx__attr_failure(void);
/* ERROR_DEVICE_EXISTS when the kernel says EEXIST: it is set already. */
int xlx__attr_write(const char *value, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Also true when the kernel does not say. */
bool xlx__attr_exists(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
/* Names in a directory, sorted, for each of which wanted(name) is true (all
 * when NULL); none when there is no such directory.  Ends with a NULL; free()
 * the one block. */
int xlx__attr_list(char ***names_r, int *num_r, bool (*wanted)(const char *),
                   const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif

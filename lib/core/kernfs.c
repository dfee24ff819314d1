/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading and writing the small texts of sysfs and configfs, and where the
 * kernel shows them.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/kernfs.h"

#define MAX_TEXT 4096               /* a page, as the kernel gives out */
#define MAX_NAMES 65536

const char *xlx__sysfs_dir(void)
{
    const char *dir = secure_getenv("LIBXLX_SYSFS_DIR");

    return dir ? dir : "/sys";
}

const char *xlx__configfs_dir(void)
{
    const char *dir = secure_getenv("LIBXLX_CONFIGFS_DIR");

    return dir ? dir : "/sys/kernel/config";
}

const char *xlx__proc_dir(void)
{
    const char *dir = secure_getenv("LIBXLX_PROC_DIR");

    return dir ? dir : "/proc";
}

const char *xlx__dev_dir(void)
{
    const char *dir = secure_getenv("LIBXLX_DEV_DIR");

    return dir ? dir : "/dev";
}

static char *format(const char *fmt, va_list ap)
    __attribute__((format(printf, 1, 0)));

static char *format(const char *fmt, va_list ap)
{
    char *path;

    return vasprintf(&path, fmt, ap) < 0 ? NULL : path;
}

/* ---- reading ------------------------------------------------------------ */

/* Why xlx__attr_text() or xlx__attr_link() gave NULL, in this thread. */
static _Thread_local int failure;

int xlx__attr_failure(void)
{
    return failure;
}

static void *fail(int rc)
{
    failure = rc;
    return NULL;
}

/* The kernel's answer is "there is nothing", in one of its words for that; all
 * other errors say that we could not look. */
static bool is_absent(int errnoval)
{
    switch (errnoval) {
    case ENOENT:
    case ENOTDIR:
    case ENODEV:
    case ENXIO:
    case EINVAL:
    case EISDIR:
    case EOPNOTSUPP:
        return true;
    default:
        return false;
    }
}

/* Takes spaces off both ends, in place. */
static void trim(char *text)
{
    size_t len = strlen(text), start = 0;

    while (len && isspace((unsigned char)text[len - 1]))
        len--;
    while (start < len && isspace((unsigned char)text[start]))
        start++;
    memmove(text, text + start, len - start);
    text[len - start] = '\0';
}

/* errno is that of the failure. */
static int read_path(const char *path, char **text_r)
{
    char *text = NULL;
    int fd, rc, r_errno = 0;
    size_t len = 0;
    ssize_t r;

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return ERROR_NOTFOUND;
    if (fd < 0)
        return xlx__error(ERROR_FAIL, "%s: cannot open: %m", path);
    text = malloc(MAX_TEXT + 1);
    if (!text) {
        r_errno = ENOMEM;
        rc = xlx__nomem();
        goto out;
    }
    while (len < MAX_TEXT) {
        r = read(fd, text + len, MAX_TEXT - len);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0) {
            r_errno = errno;
            rc = xlx__error(ERROR_FAIL, "%s: cannot read: %m", path);
            goto out;
        }
        if (!r)
            break;
        len += (size_t)r;
    }
    text[len] = '\0';
    trim(text);
    *text_r = text;
    text = NULL;
    rc = 0;

 out:
    free(text);
    close(fd);
    errno = r_errno;
    return rc;
}

int xlx__attr_read(char **text_r, const char *fmt, ...)
{
    char *path;
    va_list ap;
    int rc;

    va_start(ap, fmt);
    path = format(fmt, ap);
    va_end(ap);
    if (!path)
        return xlx__nomem();
    rc = read_path(path, text_r);
    free(path);
    return rc;
}

char *xlx__attr_text(const char *fmt, ...)
{
    struct xlx__error_text before;
    char *path, *text = NULL;
    va_list ap;
    int rc;

    va_start(ap, fmt);
    path = format(fmt, ap);
    va_end(ap);
    if (!path)
        return fail(xlx__nomem());
    xlx__error_save(&before);
    rc = read_path(path, &text);
    if (rc && (rc == ERROR_NOTFOUND || is_absent(errno))) {
        xlx__error_restore(&before);
        rc = 0;
        text = strdup("");
        if (!text)
            rc = xlx__nomem();
    }
    free(path);
    return rc ? fail(rc) : text;
}

char *xlx__attr_link(const char *fmt, ...)
{
    char to[PATH_MAX], *path, *slash, *name;
    ssize_t len;
    va_list ap;
    int rc;

    va_start(ap, fmt);
    path = format(fmt, ap);
    va_end(ap);
    if (!path)
        return fail(xlx__nomem());
    len = readlink(path, to, sizeof(to) - 1);
    rc = len < 0 && !is_absent(errno)
        ? xlx__error(xlx__errno_rc(errno), "%s: cannot read: %m", path) : 0;
    free(path);
    if (rc)
        return fail(rc);
    to[len < 0 ? 0 : len] = '\0';
    slash = strrchr(to, '/');
    name = strdup(slash ? slash + 1 : to);
    return name ? name : fail(xlx__nomem());
}

bool xlx__attr_exists(const char *fmt, ...)
{
    char path[PATH_MAX];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    return n > 0 && n < (int)sizeof(path) &&
           (!access(path, F_OK) || !is_absent(errno));
}

/* ---- writing ------------------------------------------------------------ */

int xlx__attr_write(const char *value, const char *fmt, ...)
{
    char *path;
    va_list ap;
    ssize_t r;
    int fd, rc;

    va_start(ap, fmt);
    path = format(fmt, ap);
    va_end(ap);
    if (!path)
        return xlx__nomem();
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        rc = xlx__error(xlx__errno_rc(errno), "%s: cannot open: %m", path);
        goto out;
    }
    /* one write(): the kernel takes each for a whole setting */
    do r = write(fd, value, strlen(value)); while (r < 0 && errno == EINTR);
    rc = 0;
    if (r < 0)
        rc = xlx__error(errno == EEXIST ? ERROR_DEVICE_EXISTS
                                        : xlx__errno_rc(errno),
                        "%s: the kernel does not take \"%s\": %m", path,
                        value);
    close(fd);

 out:
    free(path);
    return rc;
}

/* ---- listing ------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
    return strverscmp(*(char *const *)a, *(char *const *)b);
}

/* The names, each a block of its own, as one. */
static char **join(char **list, int num)
{
    size_t size = (size_t)(num + 1) * sizeof(*list);
    char **names, *text;
    int i;

    for (i = 0; i < num; i++)
        size += strlen(list[i]) + 1;
    names = malloc(size);
    if (!names)
        return NULL;
    text = (char *)(names + num + 1);
    for (i = 0; i < num; i++) {
        names[i] = text;
        text = stpcpy(text, list[i]) + 1;
    }
    names[num] = NULL;
    return names;
}

static int read_names(DIR *dir, bool (*wanted)(const char *), char ***list,
                      int *num)
{
    struct dirent *entry;
    char **more;

    while (errno = 0, (entry = readdir(dir))) {
        if (entry->d_name[0] == '.' || (wanted && !wanted(entry->d_name)))
            continue;
        if (*num >= MAX_NAMES)
            return xlx__error(ERROR_BUFFERFULL, "more than %d names",
                              MAX_NAMES);
        more = realloc(*list, (size_t)(*num + 1) * sizeof(*more));
        if (!more)
            return xlx__nomem();
        *list = more;
        more[*num] = strdup(entry->d_name);
        if (!more[*num])
            return xlx__nomem();
        (*num)++;
    }
    return !errno || is_absent(errno)
        ? 0 : xlx__error(xlx__errno_rc(errno), "cannot list it: %m");
}

int xlx__attr_list(char ***names_r, int *num_r, bool (*wanted)(const char *),
                   const char *fmt, ...)
{
    char *path, **list = NULL, **names;
    int i, num = 0, rc;
    DIR *dir = NULL;
    va_list ap;

    va_start(ap, fmt);
    path = format(fmt, ap);
    va_end(ap);
    if (!path)
        return xlx__nomem();
    dir = opendir(path);
    if (dir)
        rc = read_names(dir, wanted, &list, &num);
    else
        rc = is_absent(errno) ? 0 : xlx__error(xlx__errno_rc(errno),
                                               "cannot list it: %m");
    if (rc) {
        xlx__error_prefix(rc, "%s", path);
        goto out;
    }
    if (num)
        qsort(list, (size_t)num, sizeof(*list), by_name);
    names = join(list, num);
    if (!names) {
        rc = xlx__nomem();
        goto out;
    }
    *names_r = names;
    *num_r = num;

 out:
    if (dir)
        closedir(dir);
    for (i = 0; i < num; i++)
        free(list[i]);
    free(list);
    free(path);
    return rc;
}

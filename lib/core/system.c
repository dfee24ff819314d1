/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Questions of all layers to the kernel: the clock by which deadlines are
 * kept, and a directory of our own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/internal.h"

int64_t xlx__now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int make_one(const char *path)
{
    struct stat st;

    if (!mkdir(path, 0700))
        return 0;
    if (errno == EEXIST) {
        if (!stat(path, &st) && S_ISDIR(st.st_mode))
            return 0;
        errno = ENOTDIR;
    }
    return xlx__error(ERROR_FAIL, "%s: cannot make directory: %m", path);
}

int xlx__make_directory(const char *path)
{
    char *copy = NULL, *slash;
    int rc;

    rc = xlx__set_string(&copy, path);
    if (rc) return rc;
    for (slash = strchr(copy + 1, '/'); !rc && slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = make_one(copy);
        *slash = '/';
    }
    if (rc) goto out;
    rc = make_one(copy);

 out:
    free(copy);
    return rc;
}

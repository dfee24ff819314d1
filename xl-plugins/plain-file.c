/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening plain files and nothing else; see plain-file.h. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plain-file.h"

int xl_open_plain(const char *path, off_t *size_r)
{
    struct stat st;
    int fd;

    /* Before it is opened, and again what was opened: the name may have been
     * given to another file between the two. */
    if (stat(path, &st) || !S_ISREG(st.st_mode))
        return -1;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
        close(fd);
        return -1;
    }
    if (fd >= 0)
        *size_r = st.st_size;
    return fd;
}

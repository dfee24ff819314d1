/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of this host uses a device: what block.c knows of disks, or a loop
 * device.  Last the kernel is asked: who opens a disk exclusively is refused
 * when the disk or a partition of it is claimed, whoever did that.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block.h"
#include "kernfs.h"
#include "scsi.h"

static int found(char **use_r, char *use)
{
    *use_r = use;
    return use ? 0 : xlx__error(ERROR_NOMEM, "out of memory");
}

/* ---- a file ------------------------------------------------------------- */

static bool is_loop(const char *name)
{
    return !strncmp(name, "loop", 4);
}

static int find_loop(const char *path, char **use_r)
{
    struct stat ours, its;
    char **names, *file;
    int i, num, rc;

    if (stat(path, &ours))
        return xlx__error(ERROR_NOTFOUND, "%s: %m", path);
    rc = xlx__attr_list(&names, &num, is_loop, "%s/class/block",
                        xlx__sysfs_dir());
    for (i = 0; !rc && !*use_r && i < num; i++) {
        file = xlx__attr_text("%s/class/block/%s/loop/backing_file",
                              xlx__sysfs_dir(), names[i]);
        if (!file)
            rc = xlx__error(ERROR_NOMEM, "out of memory");
        else if (*file && !stat(file, &its) && its.st_dev == ours.st_dev &&
                 its.st_ino == ours.st_ino)
            rc = found(use_r, xlx__printf("it is behind %s", names[i]));
        free(file);
    }
    free(names);
    return rc;
}

/* ------------------------------------------------------------------------- */

/* The medium of a drive need not be there, hence O_NONBLOCK. */
static int try_open(const char *path, char **use_r)
{
    int fd;

    fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    else if (errno == EBUSY)
        return found(use_r, xlx__printf("something on this host has %s open "
                                        "for itself alone", path));
    else if (errno != ENOMEDIUM)
        return xlx__error(xlx__errno_rc(errno), "pdev %s: cannot open: %m",
                          path);
    return 0;
}

int xlx__scsi_host_use(const struct xlx__scsi_pdev *p, bool exclusive,
                       char **use_r)
{
    char *use = NULL;
    int rc = 0;

    if (*xlx__text(p->block))
        rc = xlx__block_use(p->block, &use);
    else if (!strcmp(xlx__text(p->unit.type), "file"))
        rc = find_loop(p->unit.path, &use);
    if (!rc && !use && exclusive && *xlx__text(p->block))
        rc = try_open(p->unit.path, &use);
    if (!rc && !use)
        rc = xlx__set_string(&use, "");
    if (rc) {
        free(use);
        return rc;
    }
    *use_r = use;
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of the host above a disk, by sysfs, and loop devices.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/kernfs.h"
#include "disk/block.h"

static int found(char **use_r, char *use)
{
    *use_r = use;
    return use ? 0 : xlx__nomem();
}

/* Device mapper, md and bcache are above it. */
int xlx__block_holder(const char *name, const char *dir, char **use_r)
{
    char **holders, *dm = NULL, *level = NULL;
    int num, rc;

    rc = xlx__attr_list(&holders, &num, NULL, "%s/holders", dir);
    if (rc) return rc;
    if (!num)
        goto out;
    dm = xlx__attr_text("%s/class/block/%s/dm/name", xlx__sysfs_dir(),
                        holders[0]);
    if (dm)
        level = xlx__attr_text("%s/class/block/%s/md/level",
                               xlx__sysfs_dir(), holders[0]);
    if (!dm || !level)
        rc = xlx__attr_failure();
    else if (*dm)
        rc = found(use_r, xlx__printf("%s is part of the volume or map %s",
                                      name, dm));
    else if (*level)
        rc = found(use_r, xlx__printf("%s is part of the array %s (%s)",
                                      name, holders[0], level));
    else
        rc = found(use_r, xlx__printf("%s is part of %s", name, holders[0]));

 out:
    free(dm);
    free(level);
    free(holders);
    return rc;
}

/* ---- loop devices ------------------------------------------------------- */

static bool is_loop(const char *name)
{
    return !strncmp(name, "loop", 4);
}

/* By the kernel's own word, because the path in sysfs may be of another mount
 * namespace, or lead to another file by now.  False when it cannot be asked.
 */
static bool ask_loop(const char *name, struct xlx__file_id *id_r)
{
    char *path = xlx__printf("%s/%s", xlx__dev_dir(), name);
    struct loop_info64 info;
    int fd, r = -1;

    fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd >= 0) {
        r = ioctl(fd, LOOP_GET_STATUS64, &info);
        close(fd);
    }
    free(path);
    if (r)
        return false;
    memset(id_r, 0, sizeof(*id_r));
    id_r->block = info.lo_rdevice != 0;
    id_r->dev = info.lo_rdevice ? info.lo_rdevice : info.lo_device;
    id_r->ino = info.lo_rdevice ? 0 : info.lo_inode;
    return true;
}

int xlx__block_behind_loop(const char *name, struct xlx__file_id *id_r,
                           bool *has_r)
{
    static const char deleted[] = " (deleted)";
    size_t len, cut = sizeof(deleted) - 1;
    char *file;
    int rc = 0;

    file = xlx__attr_text("%s/class/block/%s/loop/backing_file",
                          xlx__sysfs_dir(), name);
    if (!file)
        return xlx__attr_failure();
    len = strlen(file);
    *has_r = len && (ask_loop(name, id_r) || xlx__file_id_of(file, id_r));
    /* a file that has no name any more is not the one that is asked about */
    if (len && !*has_r && (len < cut || strcmp(file + len - cut, deleted)))
        rc = xlx__error(ERROR_FAIL, "%s: which file is behind it cannot be "
                        "found out: %s: %m", name, file);
    free(file);
    return rc;
}

static int is_writable(const char *name, bool *yes_r)
{
    char *ro = xlx__attr_text("%s/class/block/%s/ro", xlx__sysfs_dir(), name);

    if (!ro)
        return xlx__attr_failure();
    *yes_r = strcmp(ro, "1");
    free(ro);
    return 0;
}

int xlx__block_use_file(const char *path, char **use_r, bool *writes_r)
{
    bool behind = false, writes = false;
    struct xlx__file_id ours, its;
    char **names = NULL;
    int i, num = 0, rc;

    if (!xlx__file_id_of(path, &ours))
        return xlx__error(ERROR_NOTFOUND, "%s: %m", path);
    rc = xlx__attr_list(&names, &num, is_loop, "%s/class/block",
                        xlx__sysfs_dir());
    for (i = 0; !rc && !writes && i < num; i++) {
        rc = xlx__block_behind_loop(names[i], &its, &behind);
        behind = behind && xlx__file_id_same(&its, &ours);
        if (!rc && behind)
            rc = is_writable(names[i], &writes);
        if (rc || !behind || (*use_r && !writes))
            continue;
        free(*use_r);
        *use_r = NULL;
        rc = found(use_r, xlx__printf("it is behind %s", names[i]));
    }
    free(names);
    if (writes_r)
        *writes_r = writes;
    return rc;
}

char *xlx__block_name(dev_t number)
{
    return xlx__attr_link("%s/dev/block/%u:%u", xlx__sysfs_dir(),
                          major(number), minor(number));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of this host that use a disk, from mountinfo, swaps and sysfs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "disk/block.h"

static int found(char **use_r, char *use)
{
    *use_r = use;
    return use ? 0 : xlx__nomem();
}

static bool is_node(const char *path, dev_t devno)
{
    struct stat st;

    return *path == '/' && !stat(path, &st) && S_ISBLK(st.st_mode) &&
           st.st_rdev == devno;
}

/* Where it is mounted: fields 3 and 5, and the source after " - TYPE ", of
 * proc(5)'s mountinfo.  btrfs has a number of its own there.  sscanf() reads
 * words here, bounded, and no number. */
static int find_mount(const char *name, dev_t devno, char **use_r)
{
    char line[8192], where[4096], source[4096], number[32];
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *rest, want[32];
    int rc = 0;

    if (!f)
        return xlx__error(ERROR_FAIL, "/proc/self/mountinfo: %m");
    snprintf(want, sizeof(want), "%u:%u", major(devno), minor(devno));
    while (!*use_r && fgets(line, sizeof(line), f)) {
        rest = strstr(line, " - ");
        if (!rest || sscanf(line, "%*s %*s %31s %*s %4095s", number,
                            where) != 2 ||
            sscanf(rest, " - %*s %4095s", source) != 1)
            continue;
        if (!strcmp(number, want) || is_node(source, devno))
            rc = found(use_r, xlx__printf("%s is mounted on %s", name,
                                          where));
        if (rc) break;
    }
    fclose(f);
    return rc;
}

static int find_swap(const char *name, dev_t devno, char **use_r)
{
    FILE *f = fopen("/proc/swaps", "re");
    char line[4200], path[4096];
    int rc = 0;

    if (!f)
        return 0;                       /* a kernel without swap */
    while (!*use_r && fgets(line, sizeof(line), f))
        if (sscanf(line, "%4095s", path) == 1 && is_node(path, devno))
            rc = found(use_r, xlx__printf("%s is used for swap", name));
    fclose(f);
    return rc;
}

/* Device mapper, md and bcache are above it. */
static int find_holder(const char *name, const char *folder, char **use_r)
{
    char **holders, *dm = NULL, *level = NULL;
    int num, rc;

    rc = xlx__attr_list(&holders, &num, NULL, "%s/holders", folder);
    if (rc) return rc;
    if (!num)
        goto out;
    dm = xlx__attr_text("%s/class/block/%s/dm/name", xlx__sysfs_dir(),
                        holders[0]);
    level = xlx__attr_text("%s/class/block/%s/md/level", xlx__sysfs_dir(),
                           holders[0]);
    if (!dm || !level)
        rc = xlx__nomem();
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

static int find_use(const char *name, const char *folder, char **use_r)
{
    uint32_t maj, min;
    const char *p;
    char *number;
    int rc;

    rc = find_holder(name, folder, use_r);
    if (rc || *use_r)
        return rc;
    number = xlx__attr_text("%s/dev", folder);
    if (!number)
        return xlx__nomem();
    p = number;
    if (xlx__take_u32(&p, UINT32_MAX, &maj) && xlx__take_word(&p, ":") &&
        xlx__parse_u32(p, UINT32_MAX, &min)) {
        rc = find_mount(name, makedev(maj, min), use_r);
        if (!rc && !*use_r)
            rc = find_swap(name, makedev(maj, min), use_r);
    }
    free(number);
    return rc;
}

int xlx__block_use(const char *disk, char **use_r)
{
    char *folder, *part, **names = NULL;
    int i, num = 0, rc;

    folder = xlx__printf("%s/class/block/%s", xlx__sysfs_dir(), disk);
    if (!folder)
        return xlx__nomem();
    rc = find_use(disk, folder, use_r);
    if (!rc && !*use_r)
        rc = xlx__attr_list(&names, &num, NULL, "%s", folder);
    for (i = 0; !rc && !*use_r && i < num; i++) {
        if (!xlx__attr_exists("%s/%s/partition", folder, names[i]))
            continue;
        part = xlx__printf("%s/%s", folder, names[i]);
        rc = part ? find_use(names[i], part, use_r)
                  : xlx__nomem();
        free(part);
    }
    free(names);
    free(folder);
    return rc;
}

/* ---- a file ------------------------------------------------------------- */

static bool is_loop(const char *name)
{
    return !strncmp(name, "loop", 4);
}

/* Is it behind the loop device of that name? */
static int is_behind(const char *name, const struct stat *ours, bool *yes_r)
{
    char *file = xlx__attr_text("%s/class/block/%s/loop/backing_file",
                                xlx__sysfs_dir(), name);
    struct stat its;

    if (!file)
        return xlx__nomem();
    *yes_r = *file && !stat(file, &its) && its.st_dev == ours->st_dev &&
             its.st_ino == ours->st_ino;
    free(file);
    return 0;
}

static int is_writable(const char *name, bool *yes_r)
{
    char *ro = xlx__attr_text("%s/class/block/%s/ro", xlx__sysfs_dir(), name);

    if (!ro)
        return xlx__nomem();
    *yes_r = strcmp(ro, "1");
    free(ro);
    return 0;
}

int xlx__block_use_file(const char *path, char **use_r, bool *writes_r)
{
    bool behind = false, writes = false;
    char **names = NULL;
    struct stat ours;
    int i, num = 0, rc;

    if (stat(path, &ours))
        return xlx__error(ERROR_NOTFOUND, "%s: %m", path);
    rc = xlx__attr_list(&names, &num, is_loop, "%s/class/block",
                        xlx__sysfs_dir());
    for (i = 0; !rc && !writes && i < num; i++) {
        rc = is_behind(names[i], &ours, &behind);
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

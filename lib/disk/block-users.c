/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The devices and files that the kernel itself uses: file systems that are
 * mounted in any mount namespace, members of a btrfs or bcachefs, swap, loop
 * devices, and targets that serve them to others (LIO, nvmet, USB gadgets).
 * The kernel opens many of them so that no other can have them, but not all,
 * and it does not say who it was.
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "core/proc-files.h"
#include "disk/block.h"

/* Takes over what. */
static int add(struct xlx__block_users *users, const struct xlx__file_id *id,
               char *what)
{
    struct xlx__block_user *list = NULL;

    if (what)
        list = realloc(users->list, ((size_t)users->num + 1) * sizeof(*list));
    if (!list) {
        free(what);
        return xlx__nomem();
    }
    users->list = list;
    list[users->num++] = (struct xlx__block_user){ *id, what };
    return 0;
}

static bool is_known(const struct xlx__block_users *users,
                     const struct xlx__file_id *id)
{
    int i;

    for (i = 0; i < users->num; i++)
        if (xlx__file_id_same(&users->list[i].id, id))
            return true;
    return false;
}

static bool parse_number(const char *text, struct xlx__file_id *id_r)
{
    uint32_t maj, min;

    memset(id_r, 0, sizeof(*id_r));
    if (!xlx__take_u32(&text, UINT32_MAX, &maj) ||
        !xlx__take_word(&text, ":") || !xlx__parse_u32(text, UINT32_MAX, &min))
        return false;
    id_r->block = true;
    id_r->dev = makedev(maj, min);
    return true;
}

/* ---- mounts ------------------------------------------------------------- */

static int add_mount(struct xlx__block_users *users,
                     const struct xlx__file_id *id, const char *where,
                     pid_t pid)
{
    if (is_known(users, id))
        return 0;
    return add(users, id, pid
               ? xlx__printf("is mounted on %s, as process %d sees it", where,
                             (int)pid)
               : xlx__printf("is mounted on %s", where));
}

/* Fields 3 and 5, and the source after " - TYPE ", of proc(5)'s mountinfo.  A
 * file system of several devices (btrfs, ZFS) has a number of its own there.
 * sscanf() reads words here, bounded, and no number. */
static int read_mount(char *line, pid_t pid, struct xlx__block_users *users)
{
    char where[4096], source[4096], number[32];
    struct xlx__file_id id;
    char *rest;
    int rc;

    rest = strstr(line, " - ");
    if (!rest || sscanf(line, "%*s %*s %31s %*s %4095s", number, where) != 2)
        return 0;
    if (parse_number(number, &id) && major(id.dev)) {
        rc = add_mount(users, &id, where, pid);
        if (rc) return rc;
    }
    if (sscanf(rest, " - %*s %4095s", source) == 1 && *source == '/' &&
        xlx__file_id_of(source, &id) && id.block)
        return add_mount(users, &id, where, pid);
    return 0;
}

/* pid: 0 for this process. */
static int read_mounts(pid_t pid, struct xlx__block_users *users)
{
    char *line = NULL, *full;
    size_t size = 0;
    int rc = 0;
    FILE *f;

    full = pid ? xlx__printf("%s/%d/mountinfo", xlx__proc_dir(), (int)pid)
               : xlx__printf("%s/self/mountinfo", xlx__proc_dir());
    if (!full)
        return xlx__nomem();
    f = fopen(full, "re");
    if (!f && errno != ENOENT && errno != ESRCH && errno != EINVAL)
        rc = xlx__error(xlx__errno_rc(errno), "%s: which disks are mounted "
                        "cannot be found out: %m", full);
    while (f && !rc && (errno = 0, getline(&line, &size, f)) >= 0)
        rc = read_mount(line, pid, users);
    if (f && !rc && ferror(f))
        rc = xlx__error(ERROR_FAIL, "%s: which disks are mounted cannot be "
                        "found out: %m", full);
    if (f)
        fclose(f);
    free(line);
    free(full);
    return rc;
}

static int read_all_mounts(struct xlx__block_users *users)
{
    pid_t *pids;
    int i, num, rc;

    rc = xlx__proc_namespaces(&pids, &num);
    if (rc) return rc;
    for (i = 0; !rc && i < num; i++)
        rc = read_mounts(pids[i], users);
    free(pids);
    return rc;
}

/* ---- below patterns of sysfs and configfs ------------------------------- */

/* Attributes that name a device by number or a file by path. */
static const struct pattern {
    const char *(*top)(void);
    const char *pattern;
    const char *what;               /* before the name of the directory */
    bool number;
} patterns[] = {
    /* sysfs has these directories while the file system is mounted */
    { xlx__sysfs_dir, "fs/btrfs/*/devices/*/dev",
      "is a member of a mounted btrfs", true },
    { xlx__sysfs_dir, "fs/bcachefs/*/dev-*/block/dev",
      "is a member of a mounted bcachefs", true },
    { xlx__configfs_dir, "target/core/*/*/udev_path",
      "is served by the target's backstore", false },
    { xlx__configfs_dir, "nvmet/subsystems/*/namespaces/*/device_path",
      "is served by the NVMe target", false },
    { xlx__configfs_dir, "usb_gadget/*/functions/mass_storage.*/lun.*/file",
      "is served by the USB gadget", false },
};

/* Backstores of ours are known by the records of the guests. */
static bool is_ours(const char *path)
{
    return strstr(path, "/xlx-") != NULL;
}

static int add_match(const struct pattern *p, const char *path,
                     struct xlx__block_users *users)
{
    char *text = xlx__attr_text("%s", path);
    struct xlx__file_id id;
    bool known = false;
    int rc = 0;

    if (!text)
        return xlx__attr_failure();
    if (p->number)
        known = parse_number(text, &id) && !is_known(users, &id);
    else if (*text == '/' && !is_ours(path))
        known = xlx__file_id_of(text, &id);
    if (known)
        rc = add(users, &id, xlx__printf("%s %.*s", p->what,
                                         (int)(strrchr(path, '/') - path),
                                         path));
    free(text);
    return rc;
}

/* A concept that the kernel does not have is not an error. */
static int judge_error(const char *path, int errnoval)
{
    (void)path;
    return errnoval != ENOENT && errnoval != ENOTDIR;
}

static int read_pattern(const struct pattern *p,
                        struct xlx__block_users *users)
{
    char *path = xlx__printf("%s/%s", p->top(), p->pattern);
    glob_t found;
    size_t i;
    int r, rc = 0;

    if (!path)
        return xlx__nomem();
    r = glob(path, 0, judge_error, &found);
    if (r && r != GLOB_NOMATCH)
        rc = xlx__error(ERROR_FAIL, "%s: which devices the kernel uses "
                        "cannot be found out: %m", path);
    for (i = 0; !r && !rc && i < found.gl_pathc; i++)
        rc = add_match(p, found.gl_pathv[i], users);
    if (r != GLOB_NOMATCH)
        globfree(&found);
    free(path);
    return rc;
}

/* ---- swap, loop devices ------------------------------------------------- */

static int read_swaps(struct xlx__block_users *users)
{
    char *path = xlx__printf("%s/swaps", xlx__proc_dir());
    FILE *f = path ? fopen(path, "re") : NULL;
    char line[4200], name[4096];
    struct xlx__file_id id;
    int rc = 0;

    if (!path)
        rc = xlx__nomem();
    else if (!f && errno != ENOENT)     /* a kernel without swap */
        rc = xlx__error(xlx__errno_rc(errno), "%s: what is used for swap "
                        "cannot be found out: %m", path);
    while (!rc && f && fgets(line, sizeof(line), f))
        if (sscanf(line, "%4095s", name) == 1 && *name == '/' &&
            xlx__file_id_of(name, &id))
            rc = add(users, &id, xlx__printf("is used for swap"));
    if (f)
        fclose(f);
    free(path);
    return rc;
}

static bool is_loop(const char *name)
{
    return !strncmp(name, "loop", 4);
}

static int read_loops(struct xlx__block_users *users)
{
    struct xlx__file_id id;
    char **names;
    int i, num, rc;
    bool has;

    rc = xlx__attr_list(&names, &num, is_loop, "%s/class/block",
                        xlx__sysfs_dir());
    if (rc) return rc;
    for (i = 0; !rc && i < num; i++) {
        rc = xlx__block_behind_loop(names[i], &id, &has);
        if (!rc && has)
            rc = add(users, &id, xlx__printf("is behind %s", names[i]));
    }
    free(names);
    return rc;
}

/* ---- all of it ---------------------------------------------------------- */

int xlx__block_users_read(struct xlx__block_users *users)
{
    size_t i;
    int rc;

    memset(users, 0, sizeof(*users));
    rc = read_all_mounts(users);
    if (rc) return rc;
    rc = read_swaps(users);
    if (rc) return rc;
    rc = read_loops(users);
    for (i = 0; !rc && i < XLX__ARRAY_SIZE(patterns); i++)
        rc = read_pattern(&patterns[i], users);
    return rc;
}

void xlx__block_users_dispose(struct xlx__block_users *users)
{
    int i;

    for (i = 0; i < users->num; i++)
        free(users->list[i].what);
    free(users->list);
    memset(users, 0, sizeof(*users));
}

int xlx__block_users_find(const struct xlx__block_users *users,
                          const struct xlx__file_id *id, const char *name,
                          char **use_r)
{
    int i;

    for (i = 0; i < users->num; i++) {
        if (!xlx__file_id_same(&users->list[i].id, id))
            continue;
        *use_r = xlx__printf("%s %s", name, users->list[i].what);
        return *use_r ? 0 : xlx__nomem();
    }
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device of the host as a part of sysfs: its directory and all below that,
 * for USB with all interfaces, and for a hub with all that is plugged into it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "hostdev/hostdev-use.h"

#define MAX_DEPTH 40
#define MAX_NODES 65536

/* The attributes of one directory that tell what it is. */
struct seen {
    bool dev, uevent, ifindex, interface;
};

/* Directories in which there are only settings and counters. */
static bool is_plain(const char *name)
{
    static const char *const plain[] = {
        "power", "mq", "queue", "statistics", "integrity", "trace",
    };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(plain); i++)
        if (!strcmp(name, plain[i]))
            return true;
    return false;
}

static const char *base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool is_hctl(const char *name)
{
    uint32_t n;
    uint64_t lun;
    int i;

    for (i = 0; i < 3; i++)
        if (!xlx__take_u32(&name, UINT32_MAX, &n) ||
            !xlx__take_word(&name, ":"))
            return false;
    return xlx__parse_u64(name, UINT64_MAX, &lun);
}

/* ---- one directory ------------------------------------------------------ */

static int add(struct xlx__hostdev_tree *tree, enum xlx__hostdev_kind kind,
               const char *dir, dev_t number)
{
    struct xlx__hostdev_node *list, *node;

    if (tree->num >= MAX_NODES)
        return xlx__error(ERROR_BUFFERFULL, "%s: more than %d devices",
                          tree->top, MAX_NODES);
    list = realloc(tree->list, ((size_t)tree->num + 1) * sizeof(*list));
    if (!list)
        return xlx__nomem();
    tree->list = list;
    node = &list[tree->num];
    node->dir = strdup(dir);
    if (!node->dir)
        return xlx__nomem();
    node->kind = kind;
    node->name = base(node->dir);
    node->number = number;
    tree->num++;
    return 0;
}

/* By its subsystem; the directory above it is the class in a sysfs that has no
 * such link. */
static int is_block(const char *dir, bool *yes_r)
{
    char *subsystem = xlx__attr_link("%s/subsystem", dir);
    const char *end, *start;

    if (!subsystem)
        return xlx__attr_failure();
    if (*subsystem) {
        *yes_r = !strcmp(subsystem, "block");
    } else {
        end = strrchr(dir, '/');
        for (start = end; start > dir && start[-1] != '/'; start--)
            ;
        *yes_r = (end - start == 5 && !strncmp(start, "block", 5)) ||
                 xlx__attr_exists("%s/partition", dir);
    }
    free(subsystem);
    return 0;
}

static int add_device(struct xlx__hostdev_tree *tree, const char *dir)
{
    char *text = xlx__attr_text("%s/dev", dir);
    uint32_t maj, min;
    bool block = false;
    const char *p;
    int rc;

    if (!text)
        return xlx__attr_failure();
    p = text;
    if (!*text)                         /* pulled out since */
        rc = 0;
    else if (!xlx__take_u32(&p, UINT32_MAX, &maj) ||
             !xlx__take_word(&p, ":") || !xlx__parse_u32(p, UINT32_MAX, &min))
        rc = xlx__error(ERROR_FAIL, "%s/dev: \"%s\": not MAJOR:MINOR", dir,
                        text);
    else if (!(rc = is_block(dir, &block)))
        rc = add(tree, block ? XLX__HOSTDEV_BLOCK : XLX__HOSTDEV_CHAR, dir,
                 makedev(maj, min));
    free(text);
    return rc;
}

static int add_seen(struct xlx__hostdev_tree *tree, const char *dir,
                    const struct seen *seen)
{
    int rc = 0;

    if (seen->dev)
        rc = add_device(tree, dir);
    if (!rc && seen->ifindex)
        rc = add(tree, XLX__HOSTDEV_NET, dir, 0);
    if (!rc && seen->interface)
        rc = add(tree, XLX__HOSTDEV_INTERFACE, dir, 0);
    if (!rc && !seen->dev && is_hctl(base(dir)))
        rc = add(tree, XLX__HOSTDEV_LUN, dir, 0);
    return rc;
}

/* ---- all of them -------------------------------------------------------- */

static int walk(struct xlx__hostdev_tree *tree, const char *dir, int depth);

static bool is_directory(DIR *d, const struct dirent *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return !fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
           S_ISDIR(st.st_mode);
}

static void note(const char *name, struct seen *seen)
{
    if (!strcmp(name, "dev"))
        seen->dev = true;
    else if (!strcmp(name, "ifindex"))
        seen->ifindex = true;
    else if (!strcmp(name, "bInterfaceClass"))
        seen->interface = true;
}

static int walk_below(struct xlx__hostdev_tree *tree, const char *dir,
                      const char *name, int depth)
{
    char *below;
    int rc;

    if (depth >= MAX_DEPTH)
        return xlx__error(ERROR_BUFFERFULL, "%s: more than %d directories "
                          "deep", dir, MAX_DEPTH);
    below = xlx__printf("%s/%s", dir, name);
    rc = below ? walk(tree, below, depth + 1) : xlx__nomem();
    free(below);
    return rc;
}

static int walk(struct xlx__hostdev_tree *tree, const char *dir, int depth)
{
    struct seen seen = { .dev = false };
    struct dirent *entry;
    int rc = 0;
    DIR *d;

    d = opendir(dir);
    if (!d && errno == ENOENT)          /* pulled out since */
        return 0;
    if (!d)
        return xlx__error(xlx__errno_rc(errno), "%s: cannot list it: %m",
                          dir);
    while (!rc && (errno = 0, entry = readdir(d))) {
        if (entry->d_name[0] == '.')
            continue;
        if (!is_directory(d, entry))
            note(entry->d_name, &seen);
        else if (!is_plain(entry->d_name))
            rc = walk_below(tree, dir, entry->d_name, depth);
    }
    if (!rc && errno && errno != ENOENT)
        rc = xlx__error(xlx__errno_rc(errno), "%s: cannot list it: %m", dir);
    closedir(d);
    return rc ? rc : add_seen(tree, dir, &seen);
}

/* Upwards to a directory that is a USB device. */
static int find_usb(struct xlx__hostdev_tree *tree)
{
    char *path = strdup(tree->top), *slash;

    if (!path)
        return xlx__nomem();
    while (!xlx__attr_exists("%s/idVendor", path) ||
           !xlx__attr_exists("%s/devnum", path)) {
        slash = strrchr(path, '/');
        if (!slash || slash == path) {
            free(path);
            return 0;
        }
        *slash = '\0';
    }
    tree->usb = path;
    return 0;
}

int xlx__hostdev_tree_read(const char *dir, struct xlx__hostdev_tree *tree)
{
    int rc;

    memset(tree, 0, sizeof(*tree));
    tree->top = realpath(dir, NULL);
    if (!tree->top)
        return xlx__error(xlx__errno_rc(errno), "%s: %m", dir);
    rc = find_usb(tree);
    if (!rc)
        rc = walk(tree, tree->top, 0);
    /* the node with which a program takes the USB device from the driver */
    if (!rc && tree->usb && strcmp(tree->usb, tree->top) &&
        xlx__attr_exists("%s/dev", tree->usb))
        rc = add_device(tree, tree->usb);
    return rc;
}

int xlx__hostdev_tree_file(const char *path, struct xlx__hostdev_tree *tree)
{
    memset(tree, 0, sizeof(*tree));
    return xlx__set_string(&tree->file, path);
}

void xlx__hostdev_tree_dispose(struct xlx__hostdev_tree *tree)
{
    int i;

    for (i = 0; i < tree->num; i++)
        free(tree->list[i].dir);
    free(tree->list);
    free(tree->top);
    free(tree->usb);
    free(tree->file);
    memset(tree, 0, sizeof(*tree));
}

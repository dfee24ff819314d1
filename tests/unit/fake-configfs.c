/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's target in plain directories, for programs that are linked with
 * this or have it preloaded: mkdir() below a directory "target" also makes
 * what the kernel puts into each new one, rmdir() removes that again, and
 * refuses what the kernel refuses (fs/configfs/dir.c): a directory in which
 * others were made (ENOTEMPTY), and one that a link leads to (EBUSY).  The
 * newest directory is listed first only by the kernel; rtslib's lists are put
 * in that order by the test.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind { NONE, HBA, OBJECT, FABRIC, WWN, TPG, LUN, ACL };

/* What a directory is, from the parts of its path after "/target/". */
static enum kind kind_of(const char *path)
{
    char text[PATH_MAX], *part[7], *save = NULL, *p;
    int n = 0;

    p = strstr(path, "/target/");
    if (!p)
        return NONE;
    snprintf(text, sizeof(text), "%s", p + strlen("/target/"));
    for (p = strtok_r(text, "/", &save); p && n < 7;
         p = strtok_r(NULL, "/", &save))
        part[n++] = p;
    if (!strcmp(part[0], "core"))
        return n == 2 ? HBA : n == 3 ? OBJECT : NONE;
    if (n == 5 && !strcmp(part[3], "lun"))
        return LUN;
    if (n == 5 && !strcmp(part[3], "acls"))
        return ACL;
    return n == 1 ? FABRIC : n == 2 ? WWN : n == 3 ? TPG : NONE;
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (!text) {
        syscall(SYS_mkdirat, AT_FDCWD, path, 0755);
        return;
    }
    fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT, 0644);
    if (fd >= 0) {
        (void)!write(fd, text, strlen(text));
        close(fd);
    }
}

static void populate(const char *dir)
{
    static const struct { enum kind kind; const char *name, *text; } all[] = {
        { FABRIC, "discovery_auth", NULL },
        { FABRIC, "discovery_auth/enforce_discovery_auth", "0\n" },
        { FABRIC, "discovery_auth/userid", "" },
        { FABRIC, "discovery_auth/password", "" },
        { FABRIC, "discovery_auth/userid_mutual", "" },
        { FABRIC, "discovery_auth/password_mutual", "" },
        { HBA, "hba_info", "HBA Index: 0 plugin: pscsi version: v5.0\n" },
        { OBJECT, "control", "" }, { OBJECT, "enable", "0\n" },
        { OBJECT, "udev_path", "" }, { OBJECT, "attrib", NULL },
        { OBJECT, "attrib/emulate_pr", "1" },
        { OBJECT, "info", "Status: ACTIVATED  Max Queue Depth: 0\n" },
        { OBJECT, "wwn", NULL },
        { OBJECT, "wwn/vpd_unit_serial", "T10 VPD Unit Serial Number: \n" },
        { OBJECT, "alua", NULL }, { OBJECT, "alua/default_tg_pt_gp", NULL },
        { OBJECT, "pr", NULL },
        { TPG, "lun", NULL }, { TPG, "acls", NULL }, { TPG, "np", NULL },
        { TPG, "attrib", NULL }, { TPG, "param", NULL },
        { TPG, "param/alias", "\n" }, { TPG, "nexus", "" },
        { LUN, "alua_tg_pt_gp", "" }, { ACL, "attrib", NULL },
    };
    enum kind kind = kind_of(dir);
    size_t i;

    for (i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (all[i].kind == kind)
            put(dir, all[i].name, all[i].text);
}

int mkdir(const char *path, mode_t mode)
{
    if (syscall(SYS_mkdirat, AT_FDCWD, path, mode))
        return -1;
    populate(path);
    return 0;
}

/* Is there one of this pattern below path? */
static bool has(const char *path, const char *pattern)
{
    char text[PATH_MAX];
    glob_t found;
    bool any;

    snprintf(text, sizeof(text), "%s/%s", path, pattern);
    any = !glob(text, GLOB_ONLYDIR, NULL, &found) && found.gl_pathc;
    globfree(&found);
    return any;
}

static bool is_linked_to(const char *object)
{
    char pattern[PATH_MAX], to[PATH_MAX];
    const char *end = strstr(object, "/target/");
    bool found = false;
    ssize_t len;
    glob_t links;
    size_t i;

    snprintf(pattern, sizeof(pattern), "%.*s/target/*/*/tpgt_*/lun/*/*",
             (int)(end - object), object);
    if (!glob(pattern, 0, NULL, &links))
        for (i = 0; i < links.gl_pathc; i++) {
            len = readlink(links.gl_pathv[i], to, sizeof(to) - 1);
            to[len > 0 ? len : 0] = '\0';
            if (!strcmp(to, object))
                found = true;
        }
    globfree(&links);
    return found;
}

static bool has_link(const char *dir)
{
    struct dirent *e;
    bool found = false;
    DIR *d = opendir(dir);

    while (d && (e = readdir(d)))
        if (e->d_type == DT_LNK)
            found = true;
    if (d)
        closedir(d);
    return found;
}

static void remove_all(const char *path)
{
    char each[PATH_MAX];
    struct dirent *e;
    DIR *d = opendir(path);

    while (d && (e = readdir(d))) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        snprintf(each, sizeof(each), "%s/%s", path, e->d_name);
        if (e->d_type == DT_DIR)
            remove_all(each);
        else
            syscall(SYS_unlinkat, AT_FDCWD, each, 0);
    }
    if (d)
        closedir(d);
    syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

int rmdir(const char *path)
{
    enum kind kind = kind_of(path);
    int error = 0;

    if (kind == NONE || access(path, F_OK))
        return (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
    if (kind == OBJECT ? is_linked_to(path) : false)
        error = EBUSY;
    else if (kind == HBA || kind == FABRIC || kind == WWN)
        error = has(path, "*") ? ENOTEMPTY : 0;
    else if (kind == TPG)
        error = has(path, "lun/*") || has(path, "acls/*") ? ENOTEMPTY : 0;
    else if (kind == LUN)
        error = has_link(path) ? ENOTEMPTY : 0;
    if (error) {
        errno = error;
        return -1;
    }
    remove_all(path);
    return 0;
}

/* "NULL" was written to a nexus: then there is none. */
static void forget_nexus(const char *path)
{
    size_t len = strlen(path);
    char text[8] = "";
    int fd;

    if (len < 6 || strcmp(path + len - 6, "/nexus"))
        return;
    fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    if (fd < 0)
        return;
    (void)!read(fd, text, 4);
    close(fd);
    if (!strcmp(text, "NULL"))
        truncate(path, 0);
}

int open(const char *path, int flags, ...)
{
    mode_t mode;
    va_list ap;

    va_start(ap, flags);
    mode = va_arg(ap, mode_t);
    va_end(ap);
    forget_nexus(path);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* The name that programs with large files call it by. */
int open64(const char *path, int flags, ...) __attribute__((alias("open")));

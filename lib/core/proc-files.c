/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Open files of processes, from proc(5).  The owner's bits of the link
 * /proc/PID/fd/N tell how the file was opened.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "core/proc-files.h"

/* The processes that are looked at, and where their files go. */
struct search {
    int proc;                       /* the directory */
    bool all;                       /* else those that handle disk images */
    struct xlx__proc_files *files;
};

static bool handles_images(const char *name)
{
    static const char *const parts[] = {
        "qemu", "kvm", "tapdisk", "nbdkit", "blktap",
    };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(parts); i++)
        if (strstr(name, parts[i]))
            return true;
    return false;
}

/* A process may end while we look: then it has nothing open.  A user who is
 * not root does not see the files of others; for images, locks and headers are
 * looked at as well. */
static int cannot_look(const struct search *s, const char *path)
{
    if (errno == ENOENT || errno == ESRCH ||
        (!s->all && (errno == EACCES || errno == EPERM)))
        return 0;
    return xlx__error(xlx__errno_rc(errno), "%s/%s: which files that process "
                      "has open cannot be found out: %m", xlx__proc_dir(),
                      path);
}

/* Empty when the process has ended. */
static int read_name(const struct search *s, const char *pid, char *name,
                     size_t size)
{
    char path[64];
    ssize_t r;
    int fd;

    *name = 0;
    snprintf(path, sizeof(path), "%s/comm", pid);
    fd = openat(s->proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cannot_look(s, path);
    r = read(fd, name, size - 1);
    close(fd);
    name[r > 0 ? r : 0] = 0;
    name[strcspn(name, "\n")] = 0;
    return 0;
}

/* By its file or by the name that it gave itself, which the kernel cuts at 15
 * bytes ("-name guest,process=..." gives QEMU any name).  Most processes of a
 * host are threads of the kernel: no file, nothing open. */
static int is_wanted(const struct search *s, const char *pid, char *name,
                     size_t size, bool *yes_r)
{
    char path[64], file[PATH_MAX];
    const char *slash;
    ssize_t len;
    int rc;

    *yes_r = false;
    snprintf(path, sizeof(path), "%s/exe", pid);
    len = readlinkat(s->proc, path, file, sizeof(file) - 1);
    if (len < 0 && errno == ENOENT)
        return 0;
    rc = read_name(s, pid, name, size);
    if (rc) return rc;
    *yes_r = s->all || handles_images(name);
    if (*yes_r || len < 0)
        return 0;
    file[len] = 0;
    slash = strrchr(file, '/');
    *yes_r = handles_images(slash ? slash + 1 : file);
    return 0;
}

static int add(struct xlx__proc_files *files, pid_t pid, const char *name,
               const struct stat *st, bool writes)
{
    struct xlx__proc_file *f;

    if (!(files->num & (files->num - 1))) {
        f = realloc(files->list, (size_t)(files->num ? 2 * files->num : 1) *
                                 sizeof(*f));
        if (!f)
            return xlx__nomem();
        files->list = f;
    }
    f = &files->list[files->num++];
    f->pid = pid;
    snprintf(f->name, sizeof(f->name), "%s", name);
    xlx__file_id(st, &f->id);
    f->writes = writes;
    return 0;
}

/* Without asking a file system whose server does not answer.  A file that has
 * been closed, or whose file system is dead, is not a device; its mode is 0.
 */
static int look_at(const struct search *s, int fd, const char *name,
                   struct stat *st)
{
    struct statx stx;

    memset(st, 0, sizeof(*st));
    if (statx(fd, name, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &stx))
        return errno == EACCES || errno == EPERM || errno == EMFILE ||
               errno == ENFILE || errno == ENOMEM
            ? cannot_look(s, name) : 0;
    st->st_mode = stx.stx_mode;
    st->st_ino = stx.stx_ino;
    st->st_dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
    st->st_rdev = makedev(stx.stx_rdev_major, stx.stx_rdev_minor);
    return 0;
}

static int read_file(const struct search *s, int fd, const char *entry,
                     pid_t pid, const char *name)
{
    struct stat st, link;
    bool device, writes;
    int rc;

    if (!isdigit((unsigned char)entry[0]))
        return 0;
    rc = look_at(s, fd, entry, &st);
    if (rc)
        return xlx__error_prefix(rc, "process %d (%s)", (int)pid, name);
    device = S_ISBLK(st.st_mode) || (s->all && S_ISCHR(st.st_mode));
    if (!device && !S_ISREG(st.st_mode))
        return 0;
    if (s->all && device)
        return add(s->files, pid, name, &st, true);
    if (fstatat(fd, entry, &link, AT_SYMLINK_NOFOLLOW))
        return 0;
    writes = link.st_mode & S_IWUSR;
    return writes || !s->all ? add(s->files, pid, name, &st, writes) : 0;
}

static int open_files(const struct search *s, pid_t pid, DIR **dir_r)
{
    char path[64];
    int fd;

    *dir_r = NULL;
    snprintf(path, sizeof(path), "%d/fd", (int)pid);
    fd = openat(s->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cannot_look(s, path);
    *dir_r = fdopendir(fd);
    if (*dir_r)
        return 0;
    close(fd);
    return xlx__nomem();
}

static int read_process(const struct search *s, pid_t pid, const char *name)
{
    struct dirent *entry;
    DIR *dir;
    int rc;

    rc = open_files(s, pid, &dir);
    if (rc || !dir)
        return rc;
    while (!rc && (entry = readdir(dir)))
        rc = read_file(s, dirfd(dir), entry->d_name, pid, name);
    closedir(dir);
    return rc;
}

static int read_if_wanted(const struct search *s, uint32_t pid)
{
    char text[16], name[32];
    bool yes;
    int rc;

    snprintf(text, sizeof(text), "%u", pid);
    rc = is_wanted(s, text, name, sizeof(name), &yes);
    if (!rc && yes)
        rc = read_process(s, (pid_t)pid, name);
    return rc;
}

/* Calls step for each process.  1 when the first one is not seen: then proc is
 * mounted so that it hides the processes of others. */
static int each_process(int (*step)(int proc, uint32_t pid, void *user),
                        void *user)
{
    struct dirent *entry;
    bool first = false;
    uint32_t pid;
    int rc = 0;
    DIR *proc;

    proc = opendir(xlx__proc_dir());
    if (!proc)
        return xlx__error(ERROR_FAIL, "%s: %m", xlx__proc_dir());
    while (!rc && (errno = 0, entry = readdir(proc)))
        if (xlx__parse_u32(entry->d_name, INT32_MAX, &pid)) {
            first = first || pid == 1;
            rc = step(dirfd(proc), pid, user);
        }
    if (!rc && errno)
        rc = xlx__error(ERROR_FAIL, "%s: %m", xlx__proc_dir());
    closedir(proc);
    return rc ? rc : !first;
}

static int read_step(int proc, uint32_t pid, void *user)
{
    struct search *s = user;

    s->proc = proc;
    return s->all && (pid_t)pid == getpid() ? 0 : read_if_wanted(s, pid);
}

int xlx__proc_files_read(struct xlx__proc_files *files)
{
    struct search s = { .files = files };
    int rc;

    memset(files, 0, sizeof(*files));
    rc = each_process(read_step, &s);
    return rc > 0 ? 0 : rc;
}

static int all_hidden(void)
{
    return xlx__error(ERROR_FAIL, "%s does not show the processes of others "
                      "(hidepid): run it as root", xlx__proc_dir());
}

int xlx__proc_files_read_all(struct xlx__proc_files *files)
{
    struct search s = { .all = true, .files = files };
    int rc;

    memset(files, 0, sizeof(*files));
    rc = each_process(read_step, &s);
    return rc > 0 ? all_hidden() : rc;
}

int xlx__proc_files_read_of(pid_t pid, struct xlx__proc_files *files)
{
    struct search s = { .files = files };
    int rc;

    memset(files, 0, sizeof(*files));
    s.proc = open(xlx__proc_dir(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (s.proc < 0)
        return xlx__error(ERROR_FAIL, "%s: %m", xlx__proc_dir());
    rc = read_if_wanted(&s, (uint32_t)pid);
    close(s.proc);
    return rc;
}

int xlx__proc_has_open(pid_t pid, const struct xlx__file_id *id, bool *yes_r)
{
    struct xlx__proc_files files = { NULL, 0 };
    struct search s = { .all = true, .files = &files };
    int i, rc;

    *yes_r = false;
    s.proc = open(xlx__proc_dir(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (s.proc < 0)
        return xlx__error(ERROR_FAIL, "%s: %m", xlx__proc_dir());
    rc = read_process(&s, pid, "");
    for (i = 0; !rc && !*yes_r && i < files.num; i++)
        *yes_r = xlx__file_id_same(&files.list[i].id, id);
    xlx__proc_files_dispose(&files);
    close(s.proc);
    return rc;
}

void xlx__proc_files_dispose(struct xlx__proc_files *files)
{
    free(files->list);
    memset(files, 0, sizeof(*files));
}

/* ---- mount namespaces --------------------------------------------------- */

struct namespaces {
    pid_t *pids;
    char (*names)[64];              /* "mnt:[4026531841]" */
    int num;
};

static int add_namespace(struct namespaces *all, pid_t pid, const char *name)
{
    char (*names)[64] = realloc(all->names, (size_t)(all->num + 1) *
                                            sizeof(*names));
    pid_t *pids = realloc(all->pids, (size_t)(all->num + 1) * sizeof(*pids));

    if (names)
        all->names = names;
    if (pids)
        all->pids = pids;
    if (!names || !pids)
        return xlx__nomem();
    snprintf(names[all->num], sizeof(*names), "%s", name);
    pids[all->num++] = pid;
    return 0;
}

static int namespace_step(int proc, uint32_t pid, void *user)
{
    struct namespaces *all = user;
    char path[64], name[64];
    ssize_t len;
    int i;

    snprintf(path, sizeof(path), "%u/ns/mnt", pid);
    len = readlinkat(proc, path, name, sizeof(name) - 1);
    if (len < 0 && (errno == ENOENT || errno == ESRCH))
        return 0;                   /* it has just ended */
    if (len < 0)
        return xlx__error(xlx__errno_rc(errno), "%s/%s: where that process "
                          "has mounted what cannot be found out: %m",
                          xlx__proc_dir(), path);
    name[len] = '\0';
    for (i = 0; i < all->num; i++)
        if (!strcmp(all->names[i], name))
            return 0;
    return add_namespace(all, (pid_t)pid, name);
}

int xlx__proc_namespaces(pid_t **pids_r, int *num_r)
{
    struct namespaces all = { .num = 0 };
    char path[PATH_MAX], name[64];
    ssize_t len;
    int rc;

    snprintf(path, sizeof(path), "%s/self/ns/mnt", xlx__proc_dir());
    len = readlink(path, name, sizeof(name) - 1);
    if (len < 0)
        return xlx__error(xlx__errno_rc(errno), "%s: %m", path);
    name[len] = '\0';
    rc = add_namespace(&all, 0, name);
    if (!rc)
        rc = each_process(namespace_step, &all);
    free(all.names);
    if (rc) {
        free(all.pids);
        return rc > 0 ? all_hidden() : rc;
    }
    *pids_r = all.pids;
    *num_r = all.num;
    return 0;
}

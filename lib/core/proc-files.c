/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Open files of the programs that handle disk images, from proc(5).  The
 * owner's bits of the link /proc/PID/fd/N tell how the file was opened.
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

#include "core/number.h"
#include "core/proc-files.h"

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

static bool read_name(int proc, const char *pid, char *name, size_t size)
{
    char path[64];
    ssize_t r;
    int fd;

    snprintf(path, sizeof(path), "%s/comm", pid);
    fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    r = read(fd, name, size - 1);
    close(fd);
    if (r <= 0)
        return false;
    name[r] = 0;
    name[strcspn(name, "\n")] = 0;
    return true;
}

/* By its file or by the name that it gave itself, which the kernel cuts at 15
 * bytes ("-name guest,process=..." gives QEMU any name).  Most processes of a
 * host are threads of the kernel: no file, nothing open. */
static bool is_program(int proc, const char *pid, char *name, size_t size)
{
    char path[64], file[PATH_MAX];
    const char *slash;
    ssize_t len;

    snprintf(path, sizeof(path), "%s/exe", pid);
    len = readlinkat(proc, path, file, sizeof(file) - 1);
    if (len < 0 && errno == ENOENT)
        return false;
    if (!read_name(proc, pid, name, size))
        return false;
    if (handles_images(name) || len < 0)
        return handles_images(name);
    file[len] = 0;
    slash = strrchr(file, '/');
    return handles_images(slash ? slash + 1 : file);
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

/* A process may end while we look: then it has nothing open. */
static int read_process(int proc, uint32_t pid, const char *name,
                        struct xlx__proc_files *files)
{
    struct dirent *entry;
    struct stat st, link;
    char path[64];
    int fd, rc = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "%u/fd", pid);
    fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while (!rc && (entry = readdir(dir)))
        if (isdigit((unsigned char)entry->d_name[0]) &&
            !fstatat(fd, entry->d_name, &st, 0) &&
            (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) &&
            !fstatat(fd, entry->d_name, &link, AT_SYMLINK_NOFOLLOW))
            rc = add(files, (pid_t)pid, name, &st,
                     link.st_mode & S_IWUSR);
    closedir(dir);
    return rc;
}

static int read_if_program(int proc, uint32_t pid,
                           struct xlx__proc_files *files)
{
    char text[16], name[32];

    snprintf(text, sizeof(text), "%u", pid);
    return is_program(proc, text, name, sizeof(name))
        ? read_process(proc, pid, name, files) : 0;
}

int xlx__proc_files_read(struct xlx__proc_files *files)
{
    struct dirent *entry;
    uint32_t pid;
    int rc = 0;
    DIR *proc;

    memset(files, 0, sizeof(*files));
    proc = opendir("/proc");
    if (!proc)
        return xlx__error(ERROR_FAIL, "/proc: %m");
    while (!rc && (entry = readdir(proc)))
        if (xlx__parse_u32(entry->d_name, INT32_MAX, &pid))
            rc = read_if_program(dirfd(proc), pid, files);
    closedir(proc);
    return rc;
}

int xlx__proc_files_read_of(pid_t pid, struct xlx__proc_files *files)
{
    int proc, rc;

    memset(files, 0, sizeof(*files));
    proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0)
        return xlx__error(ERROR_FAIL, "/proc: %m");
    rc = read_if_program(proc, (uint32_t)pid, files);
    close(proc);
    return rc;
}

void xlx__proc_files_dispose(struct xlx__proc_files *files)
{
    free(files->list);
    memset(files, 0, sizeof(*files));
}

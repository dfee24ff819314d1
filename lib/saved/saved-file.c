/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file that is there when it is whole, and not before: written without a
 * name where the file system can do that, so that a writer that is killed
 * leaves nothing, and otherwise under a name of its own.  No file is replaced
 * unless the caller says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/store.h"
#include "saved/saved.h"

static int failed(const struct xlx__saved_file *f)
{
    return xlx__error(xlx__errno_rc(errno), "%s: %s", f->path,
                      strerror(errno));
}

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return xlx__printf(".");
    return xlx__printf("%.*s", slash == path ? 1 : (int)(slash - path), path);
}

static int may_be_there(const char *path, bool force)
{
    struct stat st;

    if (lstat(path, &st))
        return errno == ENOENT
               ? 0 : xlx__error(xlx__errno_rc(errno), "%s: %s", path,
                                strerror(errno));
    if (!force)
        return xlx__error(ERROR_DEVICE_EXISTS, "%s: there is such a file; it "
                          "is only replaced with --force", path);
    if (!S_ISREG(st.st_mode))
        return xlx__error(ERROR_INVAL, "%s: it is not a file, and is not "
                          "replaced", path);
    return 0;
}

int xlx__saved_file_begin(struct xlx__saved_file *f, const char *path,
                          bool force)
{
    char *directory;
    int rc;

    *f = (struct xlx__saved_file){ .fd = -1, .force = force };
    rc = may_be_there(path, force);
    if (rc) return rc;
    f->path = strdup(path);
    f->temporary = xlx__printf("%s.new-XXXXXX", path);
    directory = directory_of(path);
    if (!f->path || !f->temporary || !directory) {
        free(directory);
        return xlx__nomem();
    }
    f->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    free(directory);
    f->nameless = f->fd >= 0;
    if (f->fd < 0)
        f->fd = mkostemp(f->temporary, O_CLOEXEC);
    return f->fd < 0 ? failed(f) : 0;
}

int xlx__saved_file_room(const struct xlx__saved_file *f, uint64_t size)
{
    struct statvfs v;
    uint64_t room;

    if (fstatvfs(f->fd, &v))
        return 0;                       /* then writing will tell */
    room = (uint64_t)v.f_bavail * v.f_frsize;
    if (room >= size)
        return 0;
    return xlx__error(ERROR_FAIL, "%s: %llu MiB are needed, and its file "
                      "system has %llu free", f->path,
                      (unsigned long long)(size >> 20) + 1,
                      (unsigned long long)(room >> 20));
}

/* To a name that nobody has, from where it is renamed. */
static int link_temporary(struct xlx__saved_file *f, const char *self)
{
    size_t len = strlen(f->temporary) - strlen("XXXXXX");
    int i;

    for (i = 0; i < 100; i++) {
        snprintf(f->temporary + len, 7, "%06d", i);
        if (!linkat(AT_FDCWD, self, AT_FDCWD, f->temporary,
                    AT_SYMLINK_FOLLOW))
            return 0;
        if (errno != EEXIST)
            break;
    }
    return failed(f);
}

/* Not over another file, also when that has come since the begin. */
static int give_name(struct xlx__saved_file *f)
{
    char self[40];
    int rc;

    snprintf(self, sizeof(self), "/proc/self/fd/%d", f->fd);
    if (f->nameless && !f->force)
        return linkat(AT_FDCWD, self, AT_FDCWD, f->path, AT_SYMLINK_FOLLOW)
               ? failed(f) : 0;
    if (f->nameless) {
        rc = link_temporary(f, self);
        if (rc) return rc;
        f->nameless = false;
    }
    if (f->force)
        return rename(f->temporary, f->path) ? failed(f) : 0;
    if (link(f->temporary, f->path))
        return failed(f);
    unlink(f->temporary);
    return 0;
}

int xlx__saved_file_end(struct xlx__saved_file *f)
{
    char *directory;
    int rc;

    xlx__fault("saved-file.written");
    if (fsync(f->fd))
        return failed(f);
    xlx__fault("saved-file.synced");
    rc = give_name(f);
    if (rc) return rc;
    f->done = true;
    xlx__fault("saved-file.named");
    directory = directory_of(f->path);
    if (!directory)
        return xlx__nomem();
    rc = xlx__store_sync(directory);
    free(directory);
    return rc;
}

void xlx__saved_file_free(struct xlx__saved_file *f)
{
    if (f->fd >= 0 && !f->done && !f->nameless)
        unlink(f->temporary);
    if (f->fd >= 0)
        close(f->fd);
    free(f->temporary);
    free(f->path);
    *f = (struct xlx__saved_file){ .fd = -1 };
}

int xlx__saved_put(int fd, const char *path, const void *bytes, size_t len)
{
    const char *p = bytes;
    ssize_t n;

    while (len) {
        n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return xlx__error(xlx__errno_rc(errno), "%s: %s", path,
                              strerror(errno));
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

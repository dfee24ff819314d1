/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An image is unlinked for good, see image.h.  The caller has looked at a
 * file, and between that and the unlink another program may put a file of its
 * own under the name.  So the name is first taken away from the file, and the
 * file goes only if it is the one that was looked at; otherwise it gets its
 * name back.  A kill in between leaves the name that is taken back here.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/store.h"
#include "disk/image.h"

#define ASIDE ".xlx-removing"

/* Inode numbers are given again, so the time of birth belongs to it.  The
 * device does not: its number may change when the host boots. */
static int identify(int dir, const char *name, int flags, char **id_r)
{
    struct statx st;
    int64_t born = 0;
    char *id;

    if (statx(dir, name, flags | AT_SYMLINK_NOFOLLOW | AT_STATX_SYNC_AS_STAT,
              STATX_INO | STATX_BTIME, &st))
        return errno == ENOENT ? ERROR_NOTFOUND : ERROR_FAIL;
    if (st.stx_mask & STATX_BTIME)
        born = st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec;
    id = xlx__printf("%llu@%" PRId64, (unsigned long long)st.stx_ino, born);
    if (!id)
        return ERROR_NOMEM;
    free(*id_r);
    *id_r = id;
    return 0;
}

/* The message for what a function of this file has come to. */
static int message(int rc, const char *path)
{
    if (!rc)
        return 0;
    if (rc == ERROR_NOMEM)
        return xlx__nomem();
    if (rc == ERROR_INVAL)
        return xlx__error(rc, "%s: another file was put there since it was "
                          "looked at, and is kept", path);
    return xlx__error(xlx__errno_rc(errno), "%s: it cannot be removed: %m",
                      path);
}

int xlx__image_identity(const char *path, char **id_r)
{
    int rc = identify(AT_FDCWD, path, 0, id_r);

    if (rc == ERROR_NOMEM)
        return message(rc, path);
    return rc ? xlx__error(rc, "%s: %m", path) : 0;
}

/* ---- unlinking: no messages, and errno with ERROR_FAIL ------------------ */

/* A file system that does not keep the time of birth says 0. */
static bool is_same(const char *a, const char *b)
{
    const char *born_a = strchr(a, '@'), *born_b = strchr(b, '@');

    if (!born_a || !born_b || (strcmp(born_a, "@0") && strcmp(born_b, "@0")))
        return !strcmp(a, b);
    return born_a - a == born_b - b && !strncmp(a, b, (size_t)(born_a - a));
}

static int is_seen(int dir, const char *name, const char *seen)
{
    char *id = NULL;
    int rc;

    rc = identify(dir, name, 0, &id);
    if (rc) goto out;
    if (!is_same(id, seen))
        rc = ERROR_INVAL;

 out:
    free(id);
    return rc;
}

/* The name under which the file waits; false when there is no room for it. */
static bool aside_of(const char *name, char aside[NAME_MAX + 1])
{
    return snprintf(aside, NAME_MAX + 1, "%s" ASIDE, name) <= NAME_MAX;
}

static int unlink_there(int dir, const char *name, const char *seen)
{
    int rc = is_seen(dir, name, seen);

    if (rc) return rc;
    if (unlinkat(dir, name, 0))
        rc = errno == ENOENT ? ERROR_NOTFOUND : ERROR_FAIL;
    return rc;
}

/* On file systems that cannot rename without overwriting, and for names that
 * are too long, the look and the unlink are as close as they can be. */
static int unlink_seen(int dir, const char *name, const char *seen)
{
    char aside[NAME_MAX + 1];
    int rc, err;

    rc = is_seen(dir, name, seen);
    if (rc) return rc;
    if (!aside_of(name, aside))
        return unlink_there(dir, name, seen);
    if (renameat2(dir, name, dir, aside, RENAME_NOREPLACE))
        return errno == EINVAL || errno == ENOSYS
            ? unlink_there(dir, name, seen)
            : errno == ENOENT ? ERROR_NOTFOUND : ERROR_FAIL;
    xlx__fault("image-remove.aside");
    rc = unlink_there(dir, aside, seen);
    err = errno;
    if (rc)
        (void)renameat2(dir, aside, dir, name, RENAME_NOREPLACE);
    errno = err;
    return rc;
}

/* ---- for others --------------------------------------------------------- */

/* rc of xlx__image_dir_open(): a directory that is not there has no file. */
static int no_directory(int rc)
{
    return xlx__forgive(rc, ERROR_NOTFOUND);
}

int xlx__image_is_seen(const char *path, const char *seen)
{
    int rc = *xlx__text(seen) ? is_seen(AT_FDCWD, path, seen) : 0;

    return rc == ERROR_NOTFOUND ? 0 : message(rc, path);
}

int xlx__image_remove(const char *path, const char *seen)
{
    const char *name;
    char *id = NULL;
    int dir, rc;
    bool shared;

    rc = xlx__image_dir_open(path, &dir, &name, &shared);
    if (rc) return no_directory(rc);
    rc = *xlx__text(seen) ? 0 : identify(dir, name, 0, &id);
    if (!rc)
        rc = unlink_seen(dir, name, id ? id : seen);
    rc = rc == ERROR_NOTFOUND ? 0 : message(rc, path);
    if (rc) goto out;
    rc = xlx__image_sync(dir, path);

 out:
    close(dir);
    free(id);
    return rc;
}

void xlx__image_unlink_made(int dir, const char *name, int fd)
{
    char *id = NULL;

    if (!identify(fd, "", AT_EMPTY_PATH, &id))
        (void)unlink_seen(dir, name, id);
    free(id);
}

int xlx__image_is_there(const char *path, bool *yes_r)
{
    char aside[NAME_MAX + 1];
    const char *name;
    int dir, rc;
    bool shared;

    *yes_r = false;
    rc = xlx__image_dir_open(path, &dir, &name, &shared);
    if (rc) return no_directory(rc);
    if (aside_of(name, aside))
        (void)renameat2(dir, aside, dir, name, RENAME_NOREPLACE);
    if (!faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW))
        *yes_r = true;
    else if (errno != ENOENT)
        rc = xlx__error(xlx__errno_rc(errno), "%s: %m", path);
    close(dir);
    return rc;
}

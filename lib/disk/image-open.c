/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Images in directories that others can write to, see image.h.  A user who can
 * replace an image by a link makes the owner of this process, who is root,
 * write to any file of the host.  So a path is walked step by step, each
 * directory held open: a symbolic link is followed where only root or the
 * caller can have put it, and refused elsewhere.  qemu-img then gets the
 * images as descriptors, the whole chain, and opens nothing by name.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/image.h"

#define MAX_LINKS 40                /* as the kernel */
#define NOBODY 65534

static bool is_trusted(uid_t uid)
{
    return !uid || uid == geteuid();
}

/* Can somebody else have put this entry there?  In a sticky directory others
 * can add names, and cannot replace those of its owner or of root. */
static bool is_foreign(const struct stat *dir, const struct stat *entry)
{
    if (!is_trusted(dir->st_uid))
        return true;
    if (!(dir->st_mode & 022))
        return false;
    return !(dir->st_mode & S_ISVTX) || !is_trusted(entry->st_uid);
}

struct walk {
    const char *path;               /* for messages */
    char *rest;                     /* still to go */
    int fd;                         /* where we are, O_PATH */
    int links;
    bool shared;                    /* others can replace the files there */
    struct stat dir, st;            /* of fd, and of the directory it is in */
};

static int out_of_memory(void)
{
    return xlx__nomem();
}

static int cannot(const struct walk *w)
{
    return xlx__error(xlx__errno_rc(errno), "%s: %m", w->path);
}

static int enter(struct walk *w, int fd)
{
    if (fd < 0)
        return cannot(w);
    if (w->fd >= 0)
        close(w->fd);
    w->fd = fd;
    return fstat(fd, &w->st) ? cannot(w) : 0;
}

static int enter_root(struct walk *w)
{
    return enter(w, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

static int follow(struct walk *w, int link, const char *name)
{
    char target[PATH_MAX], *rest;
    ssize_t len = readlinkat(link, "", target, sizeof(target) - 1);

    if (len < 0)
        return cannot(w);
    target[len] = '\0';
    if (++w->links > MAX_LINKS)
        return xlx__error(ERROR_INVAL, "%s: too many symbolic links, the "
                          "last one is %s", w->path, name);
    rest = xlx__printf("%s/%s", target, w->rest);
    if (!rest)
        return out_of_memory();
    free(w->rest);
    w->rest = rest;
    return target[0] == '/' ? enter_root(w) : 0;
}

static int step(struct walk *w, const char *name)
{
    struct stat st;
    bool foreign;
    int rc, fd = openat(w->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return cannot(w);
    if (fstat(fd, &st)) {
        rc = cannot(w);
        goto out;
    }
    foreign = strcmp(name, "..") && is_foreign(&w->st, &st);
    if (!S_ISLNK(st.st_mode)) {
        w->shared |= foreign;
        w->dir = w->st;
        return enter(w, fd);
    }
    if (foreign)
        rc = xlx__error(ERROR_INVAL, "%s: %s is a symbolic link in a "
                        "directory that others than root can write to (owner "
                        "%u, mode %04o), and is not followed: use the path "
                        "that it leads to, if it is right", w->path, name,
                        (unsigned int)w->st.st_uid,
                        (unsigned int)w->st.st_mode & 07777);
    else
        rc = follow(w, fd, name);

 out:
    close(fd);
    return rc;
}

/* On success w->fd is what the path names. */
static int walk(const char *path, struct walk *w)
{
    char name[NAME_MAX + 1];
    size_t skip, len;
    int rc;

    memset(w, 0, sizeof(*w));
    w->path = path;
    w->fd = -1;
    if (path[0] != '/')
        return xlx__error(ERROR_INVAL, "%s: not an absolute path", path);
    w->rest = strdup(path);
    if (!w->rest)
        return out_of_memory();
    rc = enter_root(w);
    while (!rc) {
        skip = strspn(w->rest, "/");
        len = strcspn(w->rest + skip, "/");
        if (!len)
            break;
        if (len > NAME_MAX) {
            rc = xlx__error(ERROR_INVAL, "%s: name too long", path);
            break;
        }
        memcpy(name, w->rest + skip, len);
        name[len] = '\0';
        memmove(w->rest, w->rest + skip + len,
                strlen(w->rest + skip + len) + 1);
        rc = step(w, name);
    }
    free(w->rest);
    w->rest = NULL;
    if (rc && w->fd >= 0) {
        close(w->fd);
        w->fd = -1;
    }
    return rc;
}

int xlx__image_dir_open(const char *path, int *fd_r, const char **name_r,
                        bool *shared_r)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : NULL;
    struct walk w;
    int rc;

    if (!slash)
        return xlx__error(ERROR_INVAL, "%s: not an absolute path", path);
    if (!dir)
        return out_of_memory();
    rc = walk(dir, &w);
    if (!rc) {
        *fd_r = w.fd;
        *name_r = slash + 1;
        *shared_r = w.shared || !is_trusted(w.st.st_uid) ||
                    ((w.st.st_mode & 022) && !(w.st.st_mode & S_ISVTX));
    }
    free(dir);
    return rc;
}

/* ---- a chain ------------------------------------------------------------ */

/* A hard link leads to a foreign file as well, and has no other sign. */
static int check_file(const struct walk *w)
{
    const struct stat *st = &w->st;

    if (!S_ISREG(st->st_mode) && !(S_ISBLK(st->st_mode) && !w->shared))
        return xlx__error(ERROR_INVAL, "%s: neither a plain file nor a block "
                          "device", w->path);
    if (w->shared && st->st_nlink > 1 && st->st_uid != w->dir.st_uid)
        return xlx__error(ERROR_INVAL, "%s: has %u names, and the directory "
                          "is one that others than root can write to: it may "
                          "be a foreign file; remove the other names, or copy "
                          "it", w->path, (unsigned int)st->st_nlink);
    return 0;
}

/* Others may have written the header that it comes from. */
static bool is_format(const char *s)
{
    return s && *s && strlen(s) < sizeof(((struct xlx__image_files *)0)
                                         ->format[0]) &&
           !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-")];
}

static int add(struct xlx__image_files *files, const char *path,
               const char *format)
{
    struct walk w;
    int rc;

    if (files->num == XLX__CHILD_MAX_FILES)
        return xlx__error(ERROR_INVAL, "%s: more than %d images in a chain",
                          path, XLX__CHILD_MAX_FILES);
    rc = walk(path, &w);
    if (rc) return rc;
    files->shared |= w.shared;
    rc = check_file(&w);
    if (rc) {
        close(w.fd);
        return rc;
    }
    files->fd[files->num] = w.fd;
    files->st[files->num] = w.st;
    files->format[files->num][0] = '\0';
    if (is_format(format))
        strcpy(files->format[files->num], format);
    files->num++;
    return 0;
}

/* The images below, as the headers name them. */
static int add_below(struct xlx__image_files *files, const char *path,
                     const char *format)
{
    char *below = NULL, *below_format = NULL, *at = NULL, *at_format = NULL;
    int rc;

    rc = xlx__image_below(path, format, &below, &below_format);
    while (!rc && below) {
        rc = add(files, below, below_format);
        free(at);
        free(at_format);
        at = below;
        at_format = below_format;
        below = below_format = NULL;
        if (!rc && at_format)
            rc = xlx__image_below(at, at_format, &below, &below_format);
    }
    free(at);
    free(at_format);
    free(below);
    free(below_format);
    return rc;
}

int xlx__image_file_open(const char *path, const char *format,
                         struct xlx__image_files *files)
{
    files->num = 0;
    files->shared = false;
    return add(files, path, format);
}

int xlx__image_files_open(const char *path, const char *format,
                          struct xlx__image_files *files)
{
    int rc;

    rc = xlx__image_file_open(path, format, files);
    if (rc) return rc;
    rc = add_below(files, path, format);
    if (rc && rc != ERROR_NOMEM && !files->shared) {
        xlx__error_clear();         /* qemu-img will say what is wrong */
        rc = 0;
    }
    return rc;
}

void xlx__image_files_close(struct xlx__image_files *files)
{
    int i;

    for (i = 0; i < files->num; i++)
        close(files->fd[i]);
    files->num = 0;
}

int xlx__image_files_check(const struct xlx__image_files *files,
                           const char *path, const char *base)
{
    struct walk w;
    bool same;
    int rc;

    rc = walk(base, &w);
    if (rc) return rc;
    same = files->num > 1 && files->st[1].st_dev == w.st.st_dev &&
           files->st[1].st_ino == w.st.st_ino;
    close(w.fd);
    return same ? 0 : xlx__error(ERROR_INVAL, "%s: its header does not name "
                                 "%s as the image below it: another program "
                                 "changed one of them", path, base);
}

int xlx__image_files_give(const struct xlx__image_files *files, int written,
                          struct xlx__child *child, char **name_r)
{
    char *name, *more;
    int i;

    for (i = 0; i < files->num; i++)
        if (!*files->format[i])
            return xlx__error(ERROR_INVAL, "image %d of the chain: its format "
                              "is not known, because the header of the one "
                              "over it does not say: qemu-img rebase -u -F "
                              "writes it", i + 1);
    name = strdup("");
    child->files = files->fd;
    child->num_files = files->num;
    child->as_owner = !geteuid() && files->st[0].st_uid;
    child->uid = files->st[0].st_uid;
    child->gid = NOBODY;
    for (i = 1; i < written; i++)
        if (files->st[i].st_uid != child->uid)
            child->as_owner = false;
    for (i = files->num - 1; name && i >= 0; i--) {
        /* the last one has none below, whatever its header says by now */
        more = xlx__printf("{\"driver\":\"%s\",\"file\":{\"driver\":\"%s\","
                           "\"filename\":\"/proc/self/fd/%d\"}%s%s}",
                           files->format[i], S_ISBLK(files->st[i].st_mode)
                           ? "host_device" : "file",
                           XLX__CHILD_FIRST_FILE + i,
                           i + 1 < files->num ? ",\"backing\":"
                           : !strcmp(files->format[i], "raw") ? ""
                           : ",\"backing\":null", name);
        free(name);
        name = more;
    }
    more = name ? xlx__printf("json:%s", name) : NULL;
    free(name);
    if (!more)
        return out_of_memory();
    *name_r = more;
    return 0;
}

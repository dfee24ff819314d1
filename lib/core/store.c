/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Durable state, written so that a kill or a power cut at any point leaves
 * the old text or the new one.  The temporary file of FILE is .FILE.new: the
 * next writer, who holds the guest's lock, removes what a killed one left.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/number.h"
#include "core/store.h"

#define MAX_SIZE (16u << 20)
#define MAX_DEPTH 64

#ifdef XLX_FAULT_POINTS
void xlx__fault(const char *point)
{
    static uint32_t seen;
    const char *wanted = secure_getenv("LIBXLX_FAULT");
    uint32_t turn;

    if (!wanted || !xlx__take_word(&wanted, point))
        return;
    if (!*wanted ||
        (xlx__take_word(&wanted, ":") &&
         xlx__parse_u32(wanted, UINT32_MAX, &turn) && turn == ++seen))
        kill(getpid(), SIGKILL);
}
#endif

/* A guest's directory and the two names of a file in it. */
struct place {
    char *directory, *file, *fresh;
};

static void place_dispose(struct place *p)
{
    free(p->directory);
    free(p->file);
    free(p->fresh);
}

static int place_init(xlx_ctx *ctx, const libxl_uuid *uuid, const char *file,
                      struct place *p)
{
    p->directory = xlx__printf("%s/" LIBXL_UUID_FMT, ctx->state_dir,
                               LIBXL_UUID_BYTES(*uuid));
    p->file = xlx__printf("%s/" LIBXL_UUID_FMT "/%s", ctx->state_dir,
                          LIBXL_UUID_BYTES(*uuid), file);
    p->fresh = xlx__printf("%s/" LIBXL_UUID_FMT "/.%s.new", ctx->state_dir,
                           LIBXL_UUID_BYTES(*uuid), file);
    if (!p->directory || !p->file || !p->fresh)
        return xlx__nomem();
    return 0;
}

/* ---- reading ------------------------------------------------------------ */

/* A file that another user could have written is not ours to act on as root.
 */
static int check_owner(const char *path, const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return xlx__error(ERROR_INVAL, "%s: not a plain file", path);
    if ((st->st_uid && st->st_uid != geteuid()) || (st->st_mode & 022))
        return xlx__error(ERROR_INVAL,
                          "%s: others may have written it (owner %u, mode "
                          "%04o); check it, then chown root and chmod 0600",
                          path, (unsigned int)st->st_uid,
                          (unsigned int)st->st_mode & 07777);
    if (st->st_size > MAX_SIZE)
        return xlx__error(ERROR_INVAL, "%s: larger than %u MiB", path,
                          MAX_SIZE >> 20);
    return 0;
}

static int read_text(const char *path, char **text_r, size_t *len_r)
{
    struct stat st;
    char *text = NULL;
    size_t len = 0;
    ssize_t r;
    int fd, rc;

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        rc = xlx__error(xlx__errno_rc(errno), "%s: cannot open: %m", path);
        goto out;
    }
    if (fstat(fd, &st)) {
        rc = xlx__error(ERROR_FAIL, "%s: cannot read: %m", path);
        goto out;
    }
    rc = check_owner(path, &st);
    if (rc) goto out;
    text = malloc(st.st_size + 1);
    if (!text) {
        rc = xlx__nomem();
        goto out;
    }
    while (len < (size_t)st.st_size) {
        r = read(fd, text + len, st.st_size - len);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0) {
            rc = xlx__error(ERROR_FAIL, "%s: cannot read: %m", path);
            goto out;
        }
        if (!r)
            break;
        len += r;
    }
    *text_r = text;
    *len_r = len;
    text = NULL;
    rc = 0;
 out:
    free(text);
    if (fd >= 0)
        close(fd);
    return rc;
}

static int check_version(const char *path, const struct xlx__json_doc *doc,
                         unsigned int max_version)
{
    int64_t version;
    int rc;

    rc = xlx__json_expect(xlx__json_root(doc), XLX__JSON_OBJECT);
    if (rc) return rc;
    rc = xlx__json_member_int64(xlx__json_root(doc), "version", &version);
    if (rc) return rc;
    if (version < 1)
        return xlx__json_error(xlx__json_member(xlx__json_root(doc),
                                                "version"),
                               ERROR_INVAL, "must be 1 or more");
    if (version > max_version)
        return xlx__error(ERROR_VERSION,
                          "%s: written by a newer libxlx, in version %lld of "
                          "the format; this one knows %u", path,
                          (long long)version, max_version);
    return 0;
}

int xlx__store_read(xlx_ctx *ctx, const libxl_uuid *uuid, const char *file,
                    unsigned int max_version, struct xlx__json_doc **doc_r)
{
    const struct xlx__json_limits limits = { MAX_SIZE, MAX_DEPTH };
    struct xlx__json_doc *doc = NULL;
    struct place p = { NULL, NULL, NULL };
    char *text = NULL;
    size_t len = 0;
    int rc;

    rc = place_init(ctx, uuid, file, &p);
    if (rc) goto out;
    rc = read_text(p.file, &text, &len);
    if (rc) goto out;
    rc = xlx__json_parse(p.file, text, len, &limits, &doc);
    if (rc) goto out;
    rc = check_version(p.file, doc, max_version);
    if (rc) goto out;
    *doc_r = doc;
    doc = NULL;
 out:
    xlx__json_free(doc);
    free(text);
    place_dispose(&p);
    return rc;
}

int xlx__store_time(xlx_ctx *ctx, const libxl_uuid *uuid, const char *file,
                    int64_t *time_r)
{
    struct place p = { NULL, NULL, NULL };
    struct stat st;
    int rc;

    rc = place_init(ctx, uuid, file, &p);
    if (rc) goto out;
    if (stat(p.file, &st)) {
        rc = xlx__error(xlx__errno_rc(errno), "%s: cannot look at it: %m",
                        p.file);
        goto out;
    }
    *time_r = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
 out:
    place_dispose(&p);
    return rc;
}

/* ---- writing ------------------------------------------------------------ */

int xlx__store_sync(const char *path)
{
    int fd, rc;

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return xlx__error(xlx__errno_rc(errno), "%s: cannot open: %m", path);
    rc = 0;
    if (fsync(fd))
        rc = xlx__error(ERROR_FAIL, "%s: cannot flush to disk: %m", path);
    close(fd);
    return rc;
}

static int write_all(int fd, const char *text, size_t len)
{
    ssize_t r;

    while (len) {
        r = write(fd, text, len);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -1;
        text += r;
        len -= r;
    }
    return 0;
}

/* The new text under its temporary name, safe on the disk. */
static int write_fresh(const struct place *p, const char *text, size_t len)
{
    int fd, rc;

    if (unlink(p->fresh) && errno != ENOENT)
        return xlx__error(ERROR_FAIL, "%s: cannot remove: %m", p->fresh);
    fd = open(p->fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return xlx__error(ERROR_FAIL, "%s: cannot make file: %m", p->fresh);
    xlx__fault("store-created");
    if (write_all(fd, text, len) || fsync(fd)) {
        rc = xlx__error(ERROR_FAIL, "%s: cannot write: %m", p->fresh);
        goto out;
    }
    xlx__fault("store-written");
    rc = 0;
 out:
    close(fd);
    return rc;
}

/* The guest's directory; *made_r if it was not there. */
static int make_guest_dir(xlx_ctx *ctx, const char *directory, bool *made_r)
{
    int rc;

    rc = xlx__make_directory(ctx->state_dir);
    if (rc) return rc;
    if (mkdir(directory, 0700)) {
        if (errno == EEXIST)
            return 0;
        return xlx__error(ERROR_FAIL, "%s: cannot make directory: %m",
                          directory);
    }
    *made_r = true;
    return xlx__store_sync(ctx->state_dir);
}

int xlx__store_write(xlx_ctx *ctx, const libxl_uuid *uuid, const char *file,
                     const char *text, size_t len)
{
    struct place p = { NULL, NULL, NULL };
    bool made = false;
    int rc;

    rc = place_init(ctx, uuid, file, &p);
    if (rc) goto out;
    if (len > MAX_SIZE) {
        rc = xlx__error(ERROR_INVAL, "%s: would be larger than %u MiB",
                        p.file, MAX_SIZE >> 20);
        goto out;
    }
    rc = make_guest_dir(ctx, p.directory, &made);
    if (rc) goto undo;
    xlx__fault("store-directory");
    rc = write_fresh(&p, text, len);
    if (rc) goto undo;
    if (rename(p.fresh, p.file)) {
        rc = xlx__error(ERROR_FAIL, "%s: cannot replace: %m", p.file);
        goto undo;
    }
    xlx__fault("store-renamed");
    rc = xlx__store_sync(p.directory);
    goto out;

 undo:
    unlink(p.fresh);
    if (made)
        rmdir(p.directory);
 out:
    place_dispose(&p);
    return rc;
}

/* Does the directory keep anything but that file, which may be NULL?  A kill
 * may have left temporary files. */
static bool keeps_but(const char *directory, const char *file)
{
    struct dirent *entry;
    bool found = false;
    DIR *dir = opendir(directory);

    if (!dir)
        return false;
    while (!found && (entry = readdir(dir)))
        found = entry->d_name[0] != '.' &&
                (!file || strcmp(entry->d_name, file));
    closedir(dir);
    return found;
}

static bool keeps_anything(const char *directory)
{
    return keeps_but(directory, NULL);
}

bool xlx__store_keeps_other(xlx_ctx *ctx, const libxl_uuid *uuid,
                            const char *file)
{
    struct place p = { NULL, NULL, NULL };
    bool keeps;

    /* short of memory: to keep a name too long does no harm */
    keeps = place_init(ctx, uuid, file, &p) || keeps_but(p.directory, file);
    place_dispose(&p);
    return keeps;
}

/* The temporary files of writers that were killed. */
static void remove_fresh(const char *directory)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;
    size_t len;

    while (dir && (entry = readdir(dir))) {
        len = strlen(entry->d_name);
        if (len > 4 && !strcmp(entry->d_name + len - 4, ".new"))
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir)
        closedir(dir);
}

/* Removes a directory that keeps nothing, with what a kill left in it. */
static int remove_dir(xlx_ctx *ctx, const char *directory)
{
    if (keeps_anything(directory))
        return xlx__store_sync(directory);
    remove_fresh(directory);
    if (rmdir(directory) && errno != ENOENT)
        return xlx__error(ERROR_FAIL, "%s: cannot remove: %m", directory);
    return xlx__store_sync(ctx->state_dir);
}

int xlx__store_remove(xlx_ctx *ctx, const libxl_uuid *uuid, const char *file)
{
    struct place p = { NULL, NULL, NULL };
    int rc;

    rc = place_init(ctx, uuid, file, &p);
    if (rc) goto out;
    if (access(p.directory, F_OK)) {
        if (errno != ENOENT)
            rc = xlx__error(ERROR_FAIL, "%s: cannot look: %m", p.directory);
        goto out;
    }
    if (unlink(p.file) && errno != ENOENT) {
        rc = xlx__error(ERROR_FAIL, "%s: cannot remove: %m", p.file);
        goto out;
    }
    xlx__fault("store-removed");
    rc = remove_dir(ctx, p.directory);
 out:
    place_dispose(&p);
    return rc;
}

int xlx__store_tidy(xlx_ctx *ctx, const libxl_uuid *uuid)
{
    struct place p = { NULL, NULL, NULL };
    int rc;

    rc = place_init(ctx, uuid, "", &p);
    if (rc) goto out;
    if (!access(p.directory, F_OK)) {
        remove_fresh(p.directory);
        if (!keeps_anything(p.directory))
            rc = remove_dir(ctx, p.directory);
    }
 out:
    place_dispose(&p);
    return rc;
}

/* ---- directories
 * ------------------------------------------------------------ */

/* Only our own way of writing a UUID is a guest's directory. */
static bool uuid_of_dir(const char *name, libxl_uuid *uuid_r)
{
    char again[LIBXL_UUID_FMTLEN + 1];

    if (strlen(name) != LIBXL_UUID_FMTLEN ||
        libxl_uuid_from_string(uuid_r, name))
        return false;
    snprintf(again, sizeof(again), LIBXL_UUID_FMT, LIBXL_UUID_BYTES(*uuid_r));
    return !strcmp(name, again);
}

static int by_uuid(const void *a, const void *b)
{
    return libxl_uuid_compare(a, b);
}

static int add_guest(xlx_ctx *ctx, const char *name, libxl_uuid **uuids,
                     int *num)
{
    libxl_uuid uuid, *more;
    char *directory;
    bool keeps;

    if (!uuid_of_dir(name, &uuid))
        return 0;
    directory = xlx__printf("%s/%s", ctx->state_dir, name);
    if (!directory)
        goto nomem;
    keeps = keeps_anything(directory);
    free(directory);
    if (!keeps)
        return 0;
    more = realloc(*uuids, (*num + 1) * sizeof(**uuids));
    if (!more)
        goto nomem;
    *uuids = more;
    libxl_uuid_copy(NULL, &more[*num], &uuid);
    (*num)++;
    return 0;
 nomem:
    return xlx__nomem();
}

int xlx__store_guests(xlx_ctx *ctx, libxl_uuid **uuids_r, int *num_r)
{
    libxl_uuid *uuids = NULL;
    struct dirent *entry;
    DIR *dir;
    int rc = 0, num = 0;

    dir = opendir(ctx->state_dir);
    if (!dir && errno != ENOENT) {
        rc = xlx__error(ERROR_FAIL, "%s: cannot open: %m", ctx->state_dir);
        goto out;
    }
    for (;;) {
        errno = 0;
        entry = dir ? readdir(dir) : NULL;
        if (!entry)
            break;
        rc = add_guest(ctx, entry->d_name, &uuids, &num);
        if (rc) goto out;
    }
    if (errno) {
        rc = xlx__error(ERROR_FAIL, "%s: cannot read: %m", ctx->state_dir);
        goto out;
    }
    if (num)
        qsort(uuids, num, sizeof(*uuids), by_uuid);
    *uuids_r = uuids;
    *num_r = num;
    uuids = NULL;
 out:
    if (dir)
        closedir(dir);
    free(uuids);
    return rc;
}

int xlx__store_adopt(xlx_ctx *ctx, const libxl_uuid *from,
                     const libxl_uuid *to)
{
    struct place old = { NULL, NULL, NULL }, new = { NULL, NULL, NULL };
    int rc;

    rc = place_init(ctx, from, "", &old);
    if (rc) goto out;
    rc = place_init(ctx, to, "", &new);
    if (rc) goto out;
    if (!keeps_anything(old.directory)) {
        rc = xlx__error(ERROR_NOTFOUND, "%s: nothing is kept there",
                        old.directory);
        goto out;
    }
    if (keeps_anything(new.directory)) {
        rc = xlx__error(ERROR_INVAL, "%s: that guest has records already",
                        new.directory);
        goto out;
    }
    if (!access(new.directory, F_OK)) {
        rc = remove_dir(ctx, new.directory);
        if (rc) goto out;
    }
    if (rename(old.directory, new.directory)) {
        rc = xlx__error(ERROR_FAIL, "%s: cannot rename to %s: %m",
                        old.directory, new.directory);
        goto out;
    }
    xlx__fault("store-adopted");
    rc = xlx__store_sync(ctx->state_dir);
 out:
    place_dispose(&old);
    place_dispose(&new);
    return rc;
}

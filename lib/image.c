/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk image files, see image.h.  qemu-img does the work; the format is always
 * said to it and never guessed, because a guest can write what it likes into a
 * raw disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "image.h"
#include "store.h"

#define QUICK_MS (60 * 1000)
#define LONG_MS (24 * 3600 * 1000)
#define MAX_OUTPUT (16 << 20)
/* For reading a header, which a guest may have written: some make qemu-img
 * take memory and time without end (CVE-2015-5162).  What merges or compares
 * takes what the size of the image demands, and has no such limits. */
#define INFO_MEMORY (UINT64_C(1) << 30)
#define INFO_CPU_S 30

static const struct xlx__json_limits limits = {
    .bytes = MAX_OUTPUT, .depth = 64,
};

static int qemu_img(xlx_ctx *ctx, const char *path, int timeout_ms,
                    const char *const *argv)
{
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = timeout_ms, .max_output = 65536,
    };
    int rc;

    rc = xlx__child_run(ctx, &child, NULL, NULL);
    return rc ? xlx__error_prefix(rc, "%s", path) : 0;
}

/* ---- what an image is --------------------------------------------------- */

static int dup_member(const struct xlx__json *obj, const char *key, char **s)
{
    const struct xlx__json *v = xlx__json_member(obj, key);
    const char *text;
    int rc;

    if (!v)
        return 0;
    rc = xlx__json_string(v, &text);
    return rc ? rc : xlx__set_string(s, text);
}

static int read_info(const struct xlx__json *info, struct xlx__image *image)
{
    int64_t virtual_size, allocated;
    int rc;

    rc = dup_member(info, "format", &image->format);
    if (rc) return rc;
    /* the name as QEMU resolves it, or as the header has it */
    rc = dup_member(info, "full-backing-filename", &image->backing);
    if (rc) return rc;
    if (!image->backing) {
        rc = dup_member(info, "backing-filename", &image->backing);
        if (rc) return rc;
    }
    rc = dup_member(info, "backing-filename-format", &image->backing_format);
    if (rc) return rc;
    rc = xlx__json_member_int64(info, "virtual-size", &virtual_size);
    if (rc) return rc;
    rc = xlx__json_member_int64(info, "actual-size", &allocated);
    if (rc) return rc;
    image->virtual_size = virtual_size;
    image->allocated = allocated;
    return 0;
}

int xlx__image_info(xlx_ctx *ctx, const char *path, const char *format,
                    struct xlx__image *image_r)
{
    const char *const argv[] = {
        "qemu-img", "info", "-U", "--output=json", "-f", format, "--", path,
        NULL
    };
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = QUICK_MS, .max_output = MAX_OUTPUT,
        .max_memory = INFO_MEMORY, .max_cpu_s = INFO_CPU_S,
    };
    struct xlx__json_doc *doc = NULL;
    struct xlx__image image = { .format = NULL };
    char *text = NULL;
    size_t len;
    int rc;

    rc = xlx__child_run(ctx, &child, &text, &len);
    if (rc) goto out;
    rc = xlx__json_parse("qemu-img info", text, len, &limits, &doc);
    if (rc) goto out;
    rc = read_info(xlx__json_root(doc), &image);
    if (rc) goto out;
    *image_r = image;
    memset(&image, 0, sizeof(image));

 out:
    xlx__image_dispose(&image);
    xlx__json_free(doc);
    free(text);
    return rc ? xlx__error_prefix(rc, "%s", path) : 0;
}

void xlx__image_dispose(struct xlx__image *image)
{
    free(image->format);
    free(image->backing);
    free(image->backing_format);
    memset(image, 0, sizeof(*image));
}

static int sync_folder_of(const char *path)
{
    char *dir = strndup(path, (size_t)(strrchr(path, '/') - path) + 1);
    int rc;

    rc = dir ? xlx__store_sync(dir) : xlx__error(ERROR_NOMEM, "out of memory");
    free(dir);
    return rc;
}

/* ---- overlays ----------------------------------------------------------- */

/* Those who may open the image below may open what is written over it: the
 * QEMU of a guest may run as a user who has access by the group alone.  Never
 * more: others get nothing, and neither does another group. */
static int give_owner(int fd, const char *path, const char *backing,
                      const struct stat *below)
{
    struct stat st;

    if (fchown(fd, below->st_uid, below->st_gid) && errno != EPERM)
        return xlx__error(ERROR_FAIL, "%s: cannot give it the owner of %s: "
                          "%m", path, backing);
    if (fstat(fd, &st) ||
        fchmod(fd, 0600 | (st.st_gid == below->st_gid
                           ? below->st_mode & 0060 : 0)))
        return xlx__error(ERROR_FAIL, "%s: cannot give it the mode of %s: "
                          "%m", path, backing);
    return 0;
}

/* An empty file that is ours alone, so that nobody else's is overwritten. */
static int reserve(const char *path, const char *backing)
{
    struct stat st;
    int fd, rc;

    if (stat(backing, &st))
        return xlx__error(xlx__errno_rc(errno), "%s: %m", backing);
    fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW,
              0600);
    if (fd < 0)
        return xlx__error(xlx__errno_rc(errno), "%s: %m", path);
    rc = give_owner(fd, path, backing, &st);
    if (rc)
        unlink(path);
    close(fd);
    return rc;
}

int xlx__image_create_overlay(xlx_ctx *ctx, const char *path,
                              const char *backing, const char *backing_format,
                              uint64_t virtual_size)
{
    char *size = NULL;
    int rc;

    rc = reserve(path, backing);
    if (rc) return rc;

    size = xlx__printf("%llu", (unsigned long long)virtual_size);
    if (!size) {
        rc = xlx__error(ERROR_NOMEM, "out of memory");
        goto out;
    }
    {
        /* -u: the image below is in use; its size is known from QEMU */
        const char *const argv[] = {
            "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", backing,
            "-F", backing_format, "--", path, size, NULL
        };

        rc = qemu_img(ctx, path, QUICK_MS, argv);
        if (rc) goto out;
    }
    rc = xlx__store_sync(path);
    if (rc) goto out;
    rc = sync_folder_of(path);

 out:
    if (rc)
        unlink(path);
    free(size);
    return rc;
}

/* ---- what qemu-img does to an image ------------------------------------- */

int xlx__image_check_repair(xlx_ctx *ctx, const char *path, bool *repaired_r)
{
    const char *const check[] = {
        "qemu-img", "check", "-q", "-f", "qcow2", "--", path, NULL
    };
    const char *const repair[] = {
        "qemu-img", "check", "-q", "-f", "qcow2", "-r", "all", "--", path,
        NULL
    };
    int rc;

    *repaired_r = false;
    rc = qemu_img(ctx, path, LONG_MS, check);
    if (!rc)
        return 0;
    rc = qemu_img(ctx, path, LONG_MS, repair);
    if (rc) return rc;
    *repaired_r = true;
    return 0;
}

struct commit_watch {
    const xlx_progress *progress;
    xlx_job_progress now;           /* borrows what it is about */
};

/* qemu-img -p prints "    (12.34/100%)" again and again. */
static int commit_tick(void *user, const char *text)
{
    struct commit_watch *w = user;
    const char *p = strrchr(text, '(');
    double percent = p ? strtod(p + 1, NULL) : -1;

    if (!w->progress || !w->progress->callback)
        return 0;
    if (percent >= 0 && percent <= 100)
        w->now.done = (uint64_t)(percent / 100 * (double)w->now.total);
    return w->progress->callback(w->progress->user, &w->now);
}

int xlx__image_commit(xlx_ctx *ctx, const char *path, const char *format,
                      const char *base, const xlx_progress *progress,
                      const char *what)
{
    /* -d: path keeps its content, so that a second run after a crash finds
     * all of it again.  No -b: qemu-img compares it with the header by its
     * letters, and would not find a file that is named in another way. */
    const char *const argv[] = {
        "qemu-img", "commit", "-p", "-d", "-f", format, "--", path, NULL
    };
    struct commit_watch watch = {
        .progress = progress, .now = { .what = (char *)what },
    };
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = LONG_MS, .max_output = 65536,
        .tick = commit_tick, .user = &watch,
    };
    struct stat st;
    int rc;

    if (!stat(path, &st))
        watch.now.total = (uint64_t)st.st_blocks * 512;
    rc = xlx__child_run(ctx, &child, NULL, NULL);
    if (rc) return xlx__error_prefix(rc, "%s", path);
    return xlx__store_sync(base);
}

int xlx__image_compare(xlx_ctx *ctx, const char *a, const char *b,
                       const char *a_format, const char *b_format,
                       bool *same_r)
{
    const char *const argv[] = {
        "qemu-img", "compare", "-q", "-U", "-f", a_format, "-F", b_format,
        "--", a, b, NULL
    };
    int status = 0;
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = LONG_MS, .max_output = 65536,
        .status_r = &status,
    };
    int rc;

    rc = xlx__child_run(ctx, &child, NULL, NULL);
    if (rc) return rc;
    if (status > 1)                 /* 1: they differ (qemu-img(1)) */
        return xlx__error(ERROR_FAIL, "qemu-img cannot compare %s and %s", a,
                          b);
    *same_r = status == 0;
    return 0;
}

int xlx__image_rebase(xlx_ctx *ctx, const char *path, const char *backing,
                      const char *backing_format)
{
    const char *const argv[] = {
        "qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-b", backing, "-F",
        backing_format, "--", path, NULL
    };
    int rc;

    rc = qemu_img(ctx, path, QUICK_MS, argv);
    return rc ? rc : xlx__store_sync(path);
}

int xlx__image_remove(const char *path)
{
    if (unlink(path)) {
        if (errno == ENOENT)
            return 0;
        return xlx__error(xlx__errno_rc(errno), "%s: cannot remove it: %m",
                          path);
    }
    return sync_folder_of(path);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk image files, see image.h.  qemu-img does the work; the format is always
 * said to it and never guessed, because a guest can write what it likes into a
 * raw disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/child.h"
#include "core/number.h"
#include "core/store.h"
#include "disk/image.h"

#define QUICK_MS (60 * 1000)
#define SERVER_MS (10 * 1000)       /* an NBD server that may not answer */
#define LONG_MS (24 * 3600 * 1000)
#define MAX_OUTPUT (16 << 20)
/* For reading a header, which a guest may have written: some make qemu-img
 * take memory and time without end (CVE-2015-5162).  A merge or a comparison
 * takes what the size of the image demands, and has no such limits. */
#define INFO_MEMORY (UINT64_C(1) << 30)
#define INFO_CPU_S 30

static const struct xlx__json_limits limits = {
    .bytes = MAX_OUTPUT, .depth = 64,
};

/* On the metadata of an image: argv[at] is put in, its path or, where others
 * can replace the image, a descriptor. */
static int change_image(xlx_ctx *ctx, const char *path, const char *format,
                        int timeout_ms, const char **argv, int at)
{
    struct xlx__child child = {
        .argv = argv, .timeout_ms = timeout_ms, .max_output = 65536,
    };
    struct xlx__image_files files;
    char *name = NULL;
    int rc;

    rc = xlx__image_file_open(path, format, &files);
    if (rc) goto out;
    if (files.shared) {
        rc = xlx__image_files_give(&files, 1, &child, &name);
        if (rc) goto out;
    }
    argv[at] = name ? name : path;
    rc = xlx__child_run(ctx, &child, NULL, NULL);
    if (rc)
        xlx__error_prefix(rc, "%s", path);

 out:
    free(name);
    xlx__image_files_close(&files);
    return rc;
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
    int64_t virtual_size, allocated = 0;
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
    if (xlx__json_member(info, "actual-size")) {        /* not over NBD */
        rc = xlx__json_member_int64(info, "actual-size", &allocated);
        if (rc) return rc;
    }
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
        .argv = argv, .timeout_ms = *path == '/' ? QUICK_MS : SERVER_MS,
        .max_output = MAX_OUTPUT, .max_memory = INFO_MEMORY,
        .max_cpu_s = INFO_CPU_S,
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

int xlx__image_sync(int fd, const char *path)
{
    char link[40];
    int rc;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    rc = xlx__store_sync(link);
    return rc ? xlx__error_prefix(rc, "%s", path) : 0;
}

/* ---- what qemu-img does to an image ------------------------------------- */

int xlx__image_check_repair(xlx_ctx *ctx, const char *path, bool *repaired_r)
{
    const char *check[] = {
        "qemu-img", "check", "-q", "-f", "qcow2", "--", NULL, NULL
    };
    const char *repair[] = {
        "qemu-img", "check", "-q", "-f", "qcow2", "-r", "all", "--", NULL,
        NULL
    };
    int rc;

    *repaired_r = false;
    rc = change_image(ctx, path, "qcow2", LONG_MS, check, 6);
    if (!rc)
        return 0;
    rc = change_image(ctx, path, "qcow2", LONG_MS, repair, 8);
    if (rc) return rc;
    *repaired_r = true;
    return 0;
}

int xlx__image_compare(xlx_ctx *ctx, const char *a, const char *b,
                       const char *a_format, const char *b_format,
                       bool *same_r, uint64_t *at_r)
{
    static const char says[] = "Content mismatch at offset ";
    const char *const argv[] = {
        "qemu-img", "compare", "-U", "-f", a_format, "-F", b_format, "--", a,
        b, NULL
    };
    const char *number;
    char *text = NULL;
    int status = 0;
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = LONG_MS, .max_output = 65536,
        .status_r = &status,
    };
    int rc;

    rc = xlx__child_run(ctx, &child, &text, NULL);
    if (rc) goto out;
    if (status > 1) {               /* 1: they differ (qemu-img(1)) */
        rc = xlx__error(ERROR_FAIL, "qemu-img cannot compare %s and %s", a, b);
        goto out;
    }
    *same_r = status == 0;
    *at_r = UINT64_MAX;
    number = strstr(text, says);
    if (number) {
        number += strlen(says);
        (void)xlx__take_u64(&number, UINT64_MAX, at_r);
    }

 out:
    free(text);
    return rc;
}

int xlx__image_rebase(xlx_ctx *ctx, const char *path, const char *backing,
                      const char *backing_format)
{
    const char *argv[] = {
        "qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-b", backing, "-F",
        backing_format, "--", NULL, NULL
    };
    int rc;

    rc = change_image(ctx, path, "qcow2", QUICK_MS, argv, 11);
    return rc ? rc : xlx__store_sync(path);
}

int xlx__image_shrink(xlx_ctx *ctx, const char *path, const char *format,
                      uint64_t size)
{
    const char *argv[] = {
        "qemu-img", "resize", "-q", "--shrink", "-f", format, "--", NULL,
        NULL, NULL
    };
    char text[24];
    int rc;

    snprintf(text, sizeof(text), "%"PRIu64, size);
    argv[8] = text;
    rc = change_image(ctx, path, format, LONG_MS, argv, 7);
    return rc ? rc : xlx__store_sync(path);
}

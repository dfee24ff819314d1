/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The work of qemu-img that takes as long as an image is large: it shows how
 * far it is, and ends when the caller's callback says so.  The images that
 * others can replace are handed to it as descriptors.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/child.h"
#include "core/store.h"
#include "disk/image.h"

#define LONG_MS (24 * 3600 * 1000)

struct watch {
    const xlx_progress *progress;
    xlx_job_progress now;           /* borrows what it is about */
};

/* qemu-img -p prints "    (12.34/100%)" again and again.  It is shown and
 * decides nothing, so that strtod() is exact enough. */
static int tick(void *user, const char *text)
{
    struct watch *w = user;
    const char *p = strrchr(text, '(');
    double percent = p ? strtod(p + 1, NULL) : -1;

    if (!w->progress || !w->progress->callback)
        return 0;
    if (percent >= 0 && percent <= 100)
        w->now.done = (uint64_t)(percent / 100 * (double)w->now.total);
    return w->progress->callback(w->progress->user, &w->now);
}

/* *image is where argv has the name of the image.  It writes to the first
 * `written` ones of files, and to files of the caller's when that is 0. */
static int run(xlx_ctx *ctx, const struct xlx__image_files *files,
               int written, const char **argv, const char **image,
               const xlx_progress *progress, const char *what)
{
    struct watch watch = {
        .progress = progress, .now = {
            .what = (char *)what,
            .total = (uint64_t)files->st[0].st_blocks * 512,
        },
    };
    struct xlx__child child = {
        .argv = argv, .timeout_ms = LONG_MS, .max_output = 65536,
        .tick = tick, .user = &watch,
    };
    const char *path = *image;
    char *name = NULL;
    int rc = 0;

    if (files->shared) {
        rc = xlx__image_files_give(files, written, &child, &name);
        if (rc) goto out;
        child.as_owner = child.as_owner && written;
        *image = name;
    }
    rc = xlx__child_run(ctx, &child, NULL, NULL);
    if (rc)
        xlx__error_prefix(rc, "%s", path);

 out:
    free(name);
    return rc;
}

int xlx__image_commit(xlx_ctx *ctx, const char *path, const char *format,
                      const char *base, const xlx_progress *progress,
                      const char *what)
{
    /* -d: path keeps its content, so that a second run after a crash finds
     * all of it again.  No -b: qemu-img compares it with the header by its
     * letters, and would not find a file that is named in another way. */
    const char *argv[] = {
        "qemu-img", "commit", "-p", "-d", "-f", format, "--", path, NULL
    };
    struct xlx__image_files files;
    int rc;

    rc = xlx__image_files_open(path, format, &files);
    if (rc) goto out;
    rc = xlx__image_files_check(&files, path, base);
    if (rc) goto out;
    rc = run(ctx, &files, 2, argv, &argv[7], progress, what);
    if (rc) goto out;
    rc = xlx__image_sync(files.fd[1], base);
    if (rc) goto out;
    rc = xlx__image_check_merged(ctx, &files);
    if (rc)
        xlx__error_prefix(rc, "%s", path);

 out:
    xlx__image_files_close(&files);
    return rc;
}

int xlx__image_convert(xlx_ctx *ctx, const char *path, const char *format,
                       const char *to, const char *to_format, bool made,
                       const xlx_progress *progress, const char *what)
{
    /* -n: there is something that has its size.  Nobody says that it is
     * empty, so that qemu-img writes its zeroes as well.  -U: of a QEMU that
     * only reads it. */
    const char *argv[] = {
        "qemu-img", "convert", made ? "-pU" : "-pUn", "-f", format, "-O",
        to_format, "--", path, to, NULL
    };
    struct xlx__image_files files;
    int rc;

    rc = xlx__image_files_open(path, format, &files);
    if (!rc)
        rc = run(ctx, &files, 0, argv, &argv[8], progress, what);
    xlx__image_files_close(&files);
    return rc;
}

int xlx__image_convert_layer(xlx_ctx *ctx, const char *path,
                             const char *format, const char *to,
                             const char *below, const char *below_format,
                             const xlx_progress *progress, const char *what)
{
    /* -U: a QEMU that reads the layer may have it open */
    const char *argv[] = {
        "qemu-img", "convert", "-pU", "-f", format, "-O", "qcow2", "-B",
        below, "-F", below_format, "--", path, to, NULL
    };
    struct xlx__image_files files;
    int rc;

    rc = xlx__image_files_open(path, format, &files);
    if (!rc)
        rc = run(ctx, &files, 0, argv, &argv[12], progress, what);
    xlx__image_files_close(&files);
    return rc;
}

int xlx__image_pull(xlx_ctx *ctx, const char *path, const char *until,
                    const char *until_format, const xlx_progress *progress,
                    const char *what)
{
    /* -t writethrough: qemu-img names the new image below in the header while
     * its tables of what it has copied may be in its memory (7.2 to 10);
     * killed at that moment it would leave an image that shows zeroes. */
    const char *alone[] = {
        "qemu-img", "rebase", "-p", "-t", "writethrough", "-f", "qcow2", "-b",
        "", "--", path, NULL
    };
    const char *onto[] = {
        "qemu-img", "rebase", "-p", "-t", "writethrough", "-f", "qcow2", "-b",
        until, "-F", until_format, "--", path, NULL
    };
    struct xlx__image_files files;
    int rc;

    rc = xlx__image_files_open(path, "qcow2", &files);
    if (rc) goto out;
    rc = *until
        ? run(ctx, &files, files.num, onto, &onto[12], progress, what)
        : run(ctx, &files, files.num, alone, &alone[10], progress, what);
    if (!rc)
        rc = xlx__image_sync(files.fd[0], path);

 out:
    xlx__image_files_close(&files);
    return rc;
}

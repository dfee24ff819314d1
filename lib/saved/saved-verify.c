/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every byte of a saved guest: its structure, and that the disk gives all of
 * its data.
 */
#include <unistd.h>

#include "saved/saved.h"

struct verify {
    const char *path;
    const xlx_progress *progress;   /* or NULL */
    uint64_t size;
    int64_t told;                   /* when progress was called last */
};

#define PROGRESS_MS 500

int xlx__saved_progress(const xlx_progress *progress, const char *what,
                        uint64_t done, uint64_t total, int64_t *told)
{
    xlx_job_progress p;
    int64_t now;
    int r;

    if (!progress || !progress->callback)
        return 0;
    now = xlx__now_ms();
    if (now - *told < PROGRESS_MS)
        return 0;
    *told = now;
    xlx_job_progress_init(&p);
    p.done = done;
    p.total = total;
    r = xlx__set_string(&p.what, what);
    if (!r)
        r = progress->callback(progress->user, &p)
            ? xlx__error(ERROR_ABORTED, "%s: cancelled", what) : 0;
    xlx_job_progress_dispose(&p);
    return r;
}

static int tell(void *user, uint64_t at)
{
    struct verify *v = user;

    return xlx__saved_progress(v->progress, v->path, at, v->size, &v->told);
}

static int look_at_page(void *user, uint64_t word, uint64_t offset,
                        const char *data)
{
    (void)user;
    (void)word;
    (void)offset;
    (void)data;
    return 0;
}

static void sum_up(const struct xlx__saved_scan *scan, const struct verify *v,
                   xlx_saved_verified *r)
{
    size_t i;

    for (i = 0; i < scan->num_counts; i++)
        r->records += scan->counts[i].records;
    r->bytes = scan->length;
    r->pages = scan->num_data;
    r->trailing = v->size - scan->length;
}

int xlx__saved_verify(xlx_ctx *ctx, const char *path,
                      const xlx_progress *progress,
                      xlx_saved_verified *verified_r)
{
    struct verify v = { .path = path, .progress = progress };
    const struct xlx__saved_user user = {
        .user = &v, .page = look_at_page, .progress = tell,
    };
    struct xlx__saved_scan scan = { .config = NULL };
    int fd, rc;

    (void)ctx;
    rc = xlx__saved_open(path, &fd, &v.size);
    if (rc) return rc;
    rc = xlx__saved_scan(fd, &user, &scan);
    if (rc && rc != ERROR_ABORTED)
        rc = xlx__error_prefix(rc, "%s", path);
    if (!rc)
        rc = xlx__set_string(&verified_r->path, path);
    if (!rc)
        sum_up(&scan, &v, verified_r);
    xlx__saved_scan_free(&scan);
    close(fd);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every byte of a saved guest: its structure, and that the disk gives all of
 * its data.
 */
#include "saved/saved-pack.h"

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

static int look_at_page(void *user, uint64_t word, const char *data)
{
    (void)user;
    (void)word;
    (void)data;
    return 0;
}

void xlx__saved_sum_up(const struct xlx__saved_scan *scan, uint64_t size,
                       xlx_saved_verified *r)
{
    size_t i;

    for (i = 0; i < scan->num_counts; i++)
        r->records += scan->counts[i].records;
    r->bytes = scan->length;
    r->pages = scan->num_data;
    r->trailing = size > scan->length ? size - scan->length : 0;
}

static int verify_plain(struct verify *v, int fd, xlx_saved_verified *r)
{
    const struct xlx__saved_user user = {
        .user = v, .page = look_at_page, .progress = tell,
    };
    struct xlx__saved_scan scan = { .config = NULL };
    int rc;

    rc = xlx__saved_scan(fd, &user, &scan);
    if (!rc)
        xlx__saved_sum_up(&scan, v->size, r);
    xlx__saved_scan_free(&scan);
    return rc;
}

/* Opening it has compared the sums of all but the pages. */
static int verify_compact(struct verify *v, struct xlx__saved_image *i,
                          xlx_saved_verified *r)
{
    uint64_t page, num = xlx__saved_unpack_foot(i->unpack)->num_pages;
    const char *data;
    int rc = 0;

    for (page = 0; !rc && page < num; page++) {
        rc = xlx__saved_unpack_page(i->unpack, page, &data);
        if (!rc)
            rc = xlx__saved_progress(v->progress, v->path,
                                     page * XLX__SAVE_PAGE,
                                     num * XLX__SAVE_PAGE, &v->told);
    }
    if (rc) return rc;
    xlx__saved_sum_up(&i->scan, v->size, r);
    r->form = XLX_SAVED_FORM_COMPACT;
    r->pages = r->sums = num;
    r->trailing = 0;
    return 0;
}

static int verify(struct verify *v, struct xlx__saved_image *i,
                  const struct xlx__saved_sums *sums, xlx_saved_verified *r)
{
    int rc;

    if (i->unpack)
        return verify_compact(v, i, r);
    if (!sums->have)
        return verify_plain(v, i->fd, r);
    rc = xlx__saved_sums_compare(sums, i->fd, v->path, v->size, v->progress,
                                 r);
    return rc ? rc : xlx__set_string(&r->index, sums->index);
}

int xlx__saved_verify(xlx_ctx *ctx, const char *path, const char *index,
                      const xlx_progress *progress,
                      xlx_saved_verified *verified_r)
{
    struct verify v = { .path = path, .progress = progress };
    struct xlx__saved_image i = { .fd = -1 };
    struct xlx__saved_sums sums;
    int rc;

    (void)ctx;
    rc = xlx__saved_sums_open(path, index, &sums);
    if (!rc)
        rc = xlx__saved_image_open(&i, path);
    v.size = i.size;
    if (!rc) {
        rc = verify(&v, &i, &sums, verified_r);
        if (rc && rc != ERROR_ABORTED)
            rc = xlx__error_prefix(rc, "%s", path);
    }
    if (!rc)
        rc = xlx__set_string(&verified_r->path, path);
    xlx__saved_sums_close(&sums);
    xlx__saved_image_close(&i);
    return rc;
}

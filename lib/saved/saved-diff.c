/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two saved guests, compared as they would be when restored.
 */
#include <stdlib.h>
#include <string.h>

#include "saved/saved-pack.h"

struct work {
    struct xlx__saved_image a, b;
    xlx_saved_difference *d;
    const xlx_progress *progress;
    uint64_t done, total;           /* pages */
    int64_t told;
};

static int note(struct work *w, xlx_saved_change change, uint64_t pfn,
                uint64_t count)
{
    xlx_saved_difference *d = w->d;
    xlx_saved_range *r;

    if (change == XLX_SAVED_CHANGE_DATA)
        d->changed_pages += count;
    else if (change == XLX_SAVED_CHANGE_ADDED)
        d->added_pages += count;
    else
        d->gone_pages += count;
    r = d->num_ranges ? &d->ranges[d->num_ranges - 1] : NULL;
    if (r && r->change == change && r->first + r->count == pfn) {
        r->count += count;
        return 0;
    }
    r = xlx__saved_difference_ranges_append(d);
    if (!r)
        return xlx__nomem();
    r->first = pfn;
    r->count = count;
    r->change = change;
    return 0;
}

/* Does a restored guest have these pages? */
static bool exists(const struct xlx__saved_run *r)
{
    return r->page != XLX__SAVED_NO_DATA || r->type == XLX__PAGE_ALLOCATED;
}

static int compare_page(struct work *w, const struct xlx__saved_run *a,
                        const struct xlx__saved_run *b, bool *same_r)
{
    const char *one, *two;
    int rc;

    *same_r = a->type == b->type && a->data_type == b->data_type;
    if (!*same_r || a->page == XLX__SAVED_NO_DATA)
        return 0;
    rc = xlx__saved_image_page(&w->a, a, 0, &one);
    if (rc) return rc;
    rc = xlx__saved_image_page(&w->b, b, 0, &two);
    if (rc) return rc;
    *same_r = !memcmp(one, two, XLX__SAVE_PAGE);
    w->done++;
    return xlx__saved_progress(w->progress, w->a.path,
                               w->done * XLX__SAVE_PAGE,
                               w->total * XLX__SAVE_PAGE, &w->told);
}

/* Both begin with the same page, which may be absent in one: it is cut off, or
 * as many as can be told of without their data. */
static int compare_both(struct work *w, struct xlx__saved_run *a,
                        struct xlx__saved_run *b)
{
    uint64_t n = exists(a) && exists(b) ? 1 : a->count < b->count ? a->count
                                                                  : b->count;
    const struct xlx__saved_run one = xlx__saved_run_front(a, n);
    const struct xlx__saved_run two = xlx__saved_run_front(b, n);
    bool same;
    int rc;

    if (exists(&one) && !exists(&two))
        return note(w, XLX_SAVED_CHANGE_GONE, one.pfn, n);
    if (!exists(&one) && exists(&two))
        return note(w, XLX_SAVED_CHANGE_ADDED, one.pfn, n);
    if (!exists(&one))
        return 0;
    rc = compare_page(w, &one, &two, &same);
    if (rc) return rc;
    w->d->same_pages += same;
    return same ? 0 : note(w, XLX_SAVED_CHANGE_DATA, one.pfn, 1);
}

static int only_one(struct work *w, const struct xlx__saved_run *r,
                    xlx_saved_change change)
{
    return exists(r) ? note(w, change, r->pfn, r->count) : 0;
}

/* Up to the next page at which something begins or ends. */
static int compare_maps(struct work *w)
{
    const struct xlx__saved_map *ma = &w->a.scan.map, *mb = &w->b.scan.map;
    struct xlx__saved_run a = { .count = 0 }, b = { .count = 0 }, part;
    size_t i = 0, j = 0;
    int rc = 0;

    while (!rc) {
        if (!a.count && i < ma->num)
            a = ma->runs[i++];
        if (!b.count && j < mb->num)
            b = mb->runs[j++];
        if (!a.count && !b.count)
            break;
        if (!b.count || (a.count && a.pfn < b.pfn)) {
            part = xlx__saved_run_front(&a, b.count ? b.pfn - a.pfn
                                                    : a.count);
            rc = only_one(w, &part, XLX_SAVED_CHANGE_GONE);
        } else if (!a.count || b.pfn < a.pfn) {
            part = xlx__saved_run_front(&b, a.count ? a.pfn - b.pfn
                                                    : b.count);
            rc = only_one(w, &part, XLX_SAVED_CHANGE_ADDED);
        } else {
            rc = compare_both(w, &a, &b);
        }
    }
    return rc;
}

/* ---- the rest ----------------------------------------------------------- */

static const struct xlx__saved_count *find(const struct xlx__saved_scan *s,
                                           const struct xlx__saved_count *c)
{
    size_t i;

    for (i = 0; i < s->num_counts; i++)
        if (s->counts[i].libxc == c->libxc && s->counts[i].type == c->type)
            return &s->counts[i];
    return NULL;
}

/* PAGE_DATA may come in other portions. */
static bool is_page_data(const struct xlx__saved_count *c)
{
    return c->libxc && c->type == XLX__LIBXC_PAGE_DATA;
}

static int add_name(xlx_saved_difference *d, const char *name)
{
    char **names = reallocarray(d->records, (size_t)d->num_records + 1,
                                sizeof(*names));

    if (!names)
        return xlx__nomem();
    d->records = names;
    names[d->num_records] = strdup(name);
    if (!names[d->num_records])
        return xlx__nomem();
    d->num_records++;
    return 0;
}

static int note_counts(struct work *w, const struct xlx__saved_scan *one,
                       const struct xlx__saved_scan *two, bool both)
{
    char number[XLX__SAVE_NAME_MAX];
    const struct xlx__saved_count *c, *other;
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < one->num_counts; i++) {
        c = &one->counts[i];
        other = find(two, c);
        if (is_page_data(c) || (other && (!both || (
                other->records == c->records && other->bytes == c->bytes))))
            continue;
        rc = add_name(w->d, xlx__save_record_name(c->libxc, c->type,
                                                  number));
    }
    return rc;
}

static bool same_bytes(const struct xlx__saved_bytes *a,
                       const struct xlx__saved_bytes *b)
{
    return a->len == b->len &&
           !memcmp(xlx__saved_bytes_of(a), xlx__saved_bytes_of(b), a->len);
}

static int compare_rest(struct work *w)
{
    const struct xlx__saved_scan *a = &w->a.scan, *b = &w->b.scan;
    int rc;

    w->d->same_config = a->config_len == b->config_len &&
                        !memcmp(a->config, b->config, a->config_len);
    w->d->same_records = same_bytes(&w->a.frame.head, &w->b.frame.head) &&
                         same_bytes(&w->a.frame.tail, &w->b.frame.tail);
    rc = note_counts(w, a, b, true);
    return rc ? rc : note_counts(w, b, a, false);
}

static int compare(struct work *w, const char *one, const char *two)
{
    uint64_t pages;
    int rc;

    rc = xlx__saved_image_open(&w->a, one);
    if (rc) return rc;
    rc = xlx__saved_image_open(&w->b, two);
    if (rc) return rc;
    xlx__saved_map_count(&w->a.scan.map, &pages, &w->total);
    rc = compare_maps(w);
    if (rc) return rc;
    rc = compare_rest(w);
    w->d->same = w->d->same_records && !w->d->num_ranges;
    return rc;
}

int xlx__saved_compare(xlx_ctx *ctx, const char *one, const char *two,
                       const xlx_progress *progress,
                       xlx_saved_difference *difference_r)
{
    struct work w = {
        .a = { .fd = -1 }, .b = { .fd = -1 }, .d = difference_r,
        .progress = progress,
    };
    int rc;

    (void)ctx;
    rc = compare(&w, one, two);
    xlx__saved_image_close(&w.a);
    xlx__saved_image_close(&w.b);
    return rc;
}

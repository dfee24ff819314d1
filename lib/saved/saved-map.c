/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which data each page of a saved guest has: runs of pages.  A live save
 * writes a page more than once, and then the last data counts, as it does for
 * libxc.  Runs are noted in the order of the file and sorted out at the end,
 * by merging stretches that ascend, the newer over the older one.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "saved/saved.h"

/* Two runs for each 1024 pages is what one expects; 16 million are 640 MiB of
 * memory, which only a file that was made for the purpose needs. */
#define RUNS_MAX (16u << 20)

static bool has_data(const struct xlx__saved_run *r)
{
    return r->page != XLX__SAVED_NO_DATA;
}

static uint64_t run_end(const struct xlx__saved_run *r)
{
    return r->pfn + r->count;
}

/* The number of the nth page. */
static uint64_t page_at(const struct xlx__saved_run *r, uint64_t n)
{
    return has_data(r) && r->page != XLX__SAVED_ZERO ? r->page + n : r->page;
}

/* 0 when the place in the file is not known, or there is none. */
static uint64_t offset_at(const struct xlx__saved_run *r, uint64_t n)
{
    return r->offset ? r->offset + n * XLX__SAVE_PAGE : 0;
}

/* The first n pages are cut off. */
static void cut_front(struct xlx__saved_run *r, uint64_t n)
{
    r->pfn += n;
    r->count -= n;
    r->page = page_at(r, n);
    r->offset = offset_at(r, n);
}

struct xlx__saved_run xlx__saved_run_front(struct xlx__saved_run *r,
                                           uint64_t n)
{
    struct xlx__saved_run front = *r;

    front.count = n < r->count ? n : r->count;
    cut_front(r, front.count);
    return front;
}

static bool continues(const struct xlx__saved_run *r,
                      const struct xlx__saved_run *next)
{
    return run_end(r) == next->pfn && r->type == next->type &&
           r->data_type == next->data_type &&
           page_at(r, r->count) == next->page &&
           offset_at(r, r->count) == next->offset;
}

int xlx__saved_map_add(struct xlx__saved_map *m,
                       const struct xlx__saved_run *run)
{
    struct xlx__saved_run *more;
    size_t room;

    if (m->num && continues(&m->runs[m->num - 1], run)) {
        m->runs[m->num - 1].count += run->count;
        return 0;
    }
    if (m->num >= RUNS_MAX)
        return xlx__error(ERROR_INVAL, "its pages are in more than %u pieces",
                          RUNS_MAX);
    if (m->num == m->room) {
        room = m->room ? 2 * m->room : 64;
        more = reallocarray(m->runs, room, sizeof(*more));
        if (!more)
            return xlx__nomem();
        m->runs = more;
        m->room = room;
    }
    m->runs[m->num++] = *run;
    return 0;
}

/* How many of the runs, at most num, ascend without a page in common. */
static size_t ascending(const struct xlx__saved_run *runs, size_t num)
{
    size_t i;

    for (i = 1; i < num && run_end(&runs[i - 1]) <= runs[i].pfn; i++)
        ;
    return num ? i : 0;
}

/* The first n pages of both: what libxc would have in the end. */
static struct xlx__saved_run combine(const struct xlx__saved_run *older,
                                     const struct xlx__saved_run *newer,
                                     uint64_t n)
{
    struct xlx__saved_run r = has_data(newer) ? *newer : *older;

    r.type = newer->type;
    r.count = n;
    return r;
}

static int add_front(struct xlx__saved_map *out, struct xlx__saved_run *r,
                     uint64_t n)
{
    struct xlx__saved_run front = *r;
    int rc;

    front.count = n;
    rc = xlx__saved_map_add(out, &front);
    cut_front(r, n);
    return rc;
}

static int add_both(struct xlx__saved_map *out, struct xlx__saved_run *older,
                    struct xlx__saved_run *newer)
{
    uint64_t n = older->count < newer->count ? older->count : newer->count;
    struct xlx__saved_run r = combine(older, newer, n);
    int rc = xlx__saved_map_add(out, &r);

    cut_front(older, n);
    cut_front(newer, n);
    return rc;
}

/* num of both, each ascending; the newer ones are behind the older ones. */
static int overlay(const struct xlx__saved_run *older, size_t num_older,
                   size_t num_newer, struct xlx__saved_map *out)
{
    const struct xlx__saved_run *newer = older + num_older;
    struct xlx__saved_run a = { .count = 0 }, b = { .count = 0 };
    size_t i = 0, j = 0;
    int rc = 0;

    while (!rc) {
        if (!a.count && i < num_older)
            a = older[i++];
        if (!b.count && j < num_newer)
            b = newer[j++];
        if (!a.count && !b.count)
            break;
        if (!b.count || (a.count && run_end(&a) <= b.pfn))
            rc = add_front(out, &a, a.count);
        else if (!a.count || run_end(&b) <= a.pfn)
            rc = add_front(out, &b, b.count);
        else if (a.pfn < b.pfn)
            rc = add_front(out, &a, b.pfn - a.pfn);
        else if (b.pfn < a.pfn)
            rc = add_front(out, &b, a.pfn - b.pfn);
        else
            rc = add_both(out, &a, &b);
    }
    return rc;
}

/* Once through all stretches, each two of which become one.  A piece that
 * went from one of them to the next by itself makes one more: *merged_r tells
 * whether there was anything to do. */
static int merge_pairs(const struct xlx__saved_map *m,
                       struct xlx__saved_map *out, bool *merged_r)
{
    size_t at = 0, first, second;
    int rc = 0;

    *merged_r = false;
    while (!rc && at < m->num) {
        first = ascending(m->runs + at, m->num - at);
        second = ascending(m->runs + at + first, m->num - at - first);
        *merged_r |= second > 0;
        rc = overlay(m->runs + at, first, second, out);
        at += first + second;
    }
    return rc;
}

int xlx__saved_map_settle(struct xlx__saved_map *m)
{
    struct xlx__saved_map out;
    bool merged = ascending(m->runs, m->num) < m->num;
    int rc = 0;

    while (!rc && merged) {
        out = (struct xlx__saved_map){ .runs = NULL };
        rc = merge_pairs(m, &out, &merged);
        if (!rc) {
            free(m->runs);
            *m = out;
        } else {
            free(out.runs);
        }
    }
    return rc;
}

void xlx__saved_map_free(struct xlx__saved_map *m)
{
    free(m->runs);
    *m = (struct xlx__saved_map){ .runs = NULL };
}

uint64_t xlx__saved_map_length(const struct xlx__saved_map *m)
{
    uint64_t pages = 0;
    size_t i;

    for (i = 0; i < m->num; i++)
        pages += m->runs[i].count;
    return pages;
}

void xlx__saved_map_count(const struct xlx__saved_map *m,
                          uint64_t *pages_r, uint64_t *data_r)
{
    uint64_t pages = 0, data = 0;
    size_t i;

    for (i = 0; i < m->num; i++) {
        if (has_data(&m->runs[i]))
            data += m->runs[i].count;
        if (has_data(&m->runs[i]) ||
            m->runs[i].type == XLX__PAGE_ALLOCATED)
            pages += m->runs[i].count;
    }
    *pages_r = pages;
    *data_r = data;
}

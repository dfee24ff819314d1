/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A saved guest, read once from begin to end: checked, counted, and with a map
 * of its pages.  When nobody wants the data of the pages only the heads are
 * read, some 8 KiB for each 4 MiB.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "saved/saved.h"

struct state {
    struct xlx__saved_scan *scan;
    const struct xlx__saved_user *user;
    struct xlx__save *s;
    uint64_t last_pfn;              /* of the last page with data */
    size_t pass_at;                 /* the first run of the last pass */
    bool any;
};

static int count(struct xlx__saved_scan *scan, const struct xlx__save *s)
{
    bool libxc = s->part == XLX__SAVE_LIBXC_RECORD;
    struct xlx__saved_count *c;
    size_t i;

    if (!libxc && s->part != XLX__SAVE_LIBXL_RECORD)
        return 0;
    for (i = 0; i < scan->num_counts; i++) {
        c = &scan->counts[i];
        if (c->libxc == libxc && c->type == s->type)
            break;
    }
    if (i == XLX__SAVED_COUNTS)
        return xlx__save_error(s, "there are more kinds of records than %u",
                               XLX__SAVED_COUNTS);
    c = &scan->counts[i];
    if (i == scan->num_counts) {
        c->libxc = libxc;
        c->type = s->type;
        scan->num_counts++;
    }
    c->records++;
    c->bytes += s->length;
    return 0;
}

static int check_pfn(const struct state *t, uint64_t pfn)
{
    const struct xlx__saved_scan *scan = t->scan;
    bool pv = scan->libxc.type == 1;

    if (pfn > XLX__SAVED_PFN_MAX)
        return xlx__save_error(t->s, "page 0x%"PRIx64" is beyond what a "
                               "processor can address", pfn);
    if (pv && pfn > scan->check.pv_max_pfn)
        return xlx__save_error(t->s, "page 0x%"PRIx64" is beyond the last one "
                               "of X86_PV_P2M_FRAMES, 0x%x", pfn,
                               scan->check.pv_max_pfn);
    return 0;
}

/* libxc goes over the memory in ascending order, in each pass of a live
 * save. */
static int note_page(struct state *t, uint64_t word, uint64_t *offset)
{
    unsigned int type = xlx__save_word_type(word);
    struct xlx__saved_run run = {
        .pfn = word & XLX__SAVE_PFN_MASK, .count = 1,
        .page = XLX__SAVED_NO_DATA,
        .data_type = (uint8_t)type, .type = (uint8_t)type,
    };
    struct xlx__saved_map *map = &t->scan->map;
    size_t before = map->num;
    int rc;

    rc = check_pfn(t, run.pfn);
    if (rc) return rc;
    if (xlx__save_has_data(type)) {
        run.page = t->scan->num_data++;
        run.offset = *offset;
        *offset += XLX__SAVE_PAGE;
    }
    if (t->any && run.pfn <= t->last_pfn) {
        t->scan->passes++;
        t->pass_at = before;
    }
    t->any = true;
    t->last_pfn = run.pfn;
    return xlx__saved_map_add(map, &run);
}

static int hand_on_pages(struct state *t)
{
    const struct xlx__saved_user *u = t->user;
    struct xlx__save *s = t->s;
    const char *data;
    uint32_t i;
    int rc = 0;

    if (u->words)
        rc = u->words(u->user, s);
    if (rc || !u->page)
        return rc;
    for (i = 0; !rc && i < s->num_words; i++) {
        data = NULL;
        if (xlx__save_has_data(xlx__save_word_type(s->words[i])))
            rc = xlx__save_page_data(s, &data);
        if (!rc)
            rc = u->page(u->user, s->words[i], data);
    }
    return rc;
}

/* Pages behind VERIFY are there to compare with; the guest's memory is
 * complete before. */
static int take_pages(struct state *t)
{
    uint64_t offset;
    uint32_t i;
    int rc;

    rc = xlx__save_page_words(t->s);
    offset = xlx__save_at(t->s);
    for (i = 0; !rc && i < t->s->num_words && !t->scan->check.verify; i++)
        rc = note_page(t, t->s->words[i], &offset);
    if (rc || t->scan->check.verify)
        return rc;
    return hand_on_pages(t);
}

static int take_part(struct state *t)
{
    struct xlx__saved_scan *scan = t->scan;
    struct xlx__save *s = t->s;
    int rc;

    rc = count(scan, s);
    if (rc) return rc;
    rc = xlx__saved_check(&scan->check, s);
    if (rc) return rc;
    if (s->part == XLX__SAVE_XL) {
        scan->xl = s->xl;
        scan->config_len = (size_t)s->length;
        if (s->xl.mandatory & XLX__SAVE_COMPACT)
            return xlx__save_error(s, "it is the compact form, which is only "
                                   "read from a file");
        return xlx__save_body_all(s, (size_t)s->length, &scan->config);
    }
    if (s->part == XLX__SAVE_LIBXC)
        scan->libxc = s->libxc;
    if (s->part == XLX__SAVE_LIBXC_RECORD &&
        s->type == XLX__LIBXC_PAGE_DATA)
        return take_pages(t);
    return 0;
}

/* The runs of the last pass, when there was more than one. */
static int keep_hot(const struct state *t)
{
    struct xlx__saved_scan *scan = t->scan;
    struct xlx__saved_run hot = {
        .page = XLX__SAVED_NO_DATA, .type = XLX__PAGE_ABSENT,
        .data_type = XLX__PAGE_ABSENT,
    };
    const struct xlx__saved_run *r;
    size_t i;
    int rc = 0;

    for (i = t->pass_at; !rc && scan->passes > 1 && i < scan->map.num; i++) {
        r = &scan->map.runs[i];
        if (r->page == XLX__SAVED_NO_DATA)
            continue;
        hot.pfn = r->pfn;
        hot.count = r->count;
        rc = xlx__saved_map_add(&scan->hot, &hot);
    }
    return rc;
}

static int scan_all(struct state *t)
{
    const struct xlx__saved_user *u = t->user;
    int rc = 0;

    while (!rc && t->s->part != XLX__SAVE_END) {
        rc = xlx__save_next(t->s);
        if (!rc)
            rc = take_part(t);
        if (!rc && u->progress)
            rc = u->progress(u->user, xlx__save_at(t->s));
    }
    if (rc) return rc;
    t->scan->length = xlx__save_at(t->s);
    t->scan->passes += t->any;
    rc = keep_hot(t);
    return rc ? rc : xlx__saved_map_settle(&t->scan->map);
}

int xlx__saved_scan(int fd, const struct xlx__saved_user *user,
                    struct xlx__saved_scan *scan)
{
    static const struct xlx__saved_user nobody = { .user = NULL };
    struct state t = { .scan = scan, .user = user ? user : &nobody };
    int rc;

    memset(scan, 0, sizeof(*scan));
    rc = xlx__save_open(fd, &t.s);
    if (rc) return rc;
    t.s->tap = t.user->tap;
    t.s->tap_user = t.user->user;
    rc = scan_all(&t);
    xlx__save_close(t.s);
    return rc;
}

void xlx__saved_scan_free(struct xlx__saved_scan *scan)
{
    free(scan->config);
    xlx__saved_map_free(&scan->map);
    xlx__saved_map_free(&scan->hot);
    memset(scan, 0, sizeof(*scan));
}

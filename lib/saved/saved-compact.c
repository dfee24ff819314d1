/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A saved guest becomes compact: out of a file of either form, with the last
 * data of each page only, or out of a pipe, in the order in which libxl
 * writes it.
 */
#include <stdlib.h>
#include <string.h>

#include "saved/saved-pack.h"

struct work {
    struct xlx__saved_pack *pack;
    struct xlx__saved_map map;      /* with the pages of the new file */
    const char *what;
    const xlx_progress *progress;
    uint64_t done, total;
    int64_t told;
};

/* A page of the run, or without data all of it. */
static int add_run(struct work *w, const struct xlx__saved_run *of,
                   uint64_t n, uint64_t count, uint64_t page)
{
    struct xlx__saved_run run = *of;

    run.pfn += n;
    run.count = count;
    run.page = page;
    run.offset = 0;
    return xlx__saved_map_add(&w->map, &run);
}

static int pack_run(struct work *w, struct xlx__saved_image *in,
                    const struct xlx__saved_run *run)
{
    const char *data;
    uint64_t n, page;
    int rc = 0;

    if (run->page == XLX__SAVED_NO_DATA)
        return add_run(w, run, 0, run->count, XLX__SAVED_NO_DATA);
    if (run->page == XLX__SAVED_ZERO)
        return add_run(w, run, 0, run->count, XLX__SAVED_ZERO);
    for (n = 0; !rc && n < run->count; n++) {
        rc = xlx__saved_image_page(in, run, n, &data);
        if (!rc)
            rc = xlx__saved_pack_page(w->pack, data, &page);
        if (!rc)
            rc = add_run(w, run, n, 1, page);
        w->done += XLX__SAVE_PAGE;
        if (!rc)
            rc = xlx__saved_progress(w->progress, w->what, w->done, w->total,
                                     &w->told);
    }
    return rc;
}

static int pack_frame(struct work *w, const struct xlx__saved_frame *f)
{
    const char *tail = xlx__saved_bytes_of(&f->tail);
    int rc;

    rc = xlx__saved_pack_frame(w->pack, xlx__saved_bytes_of(&f->head),
                               f->head.len);
    if (rc) return rc;
    if (!f->memory_seen)
        return 0;
    rc = xlx__saved_pack_memory(w->pack);
    if (!rc)
        rc = xlx__saved_pack_frame(w->pack, tail, f->split);
    if (!rc)
        rc = xlx__saved_pack_memory(w->pack);
    return rc ? rc : xlx__saved_pack_frame(w->pack, tail + f->split,
                                           f->tail.len - f->split);
}

static int pack_image(struct work *w, struct xlx__saved_image *in)
{
    const struct xlx__saved_map *map = &in->scan.map;
    uint64_t pages;
    size_t i;
    int rc;

    xlx__saved_map_count(map, &pages, &w->total);
    in->scan.num_data = w->total;       /* older data stays behind */
    w->total *= XLX__SAVE_PAGE;
    rc = pack_frame(w, &in->frame);
    for (i = 0; !rc && i < map->num; i++)
        rc = pack_run(w, in, &map->runs[i]);
    return rc ? rc : xlx__saved_pack_end(w->pack, &in->scan, &w->map);
}

/* ---- out of a pipe ------------------------------------------------------ */

static int tap(void *user, const void *bytes, size_t len, bool pages)
{
    struct work *w = user;

    return pages ? 0 : xlx__saved_pack_frame(w->pack, bytes, len);
}

static int memory(void *user, struct xlx__save *s)
{
    struct work *w = user;

    (void)s;
    return xlx__saved_pack_memory(w->pack);
}

static int page(void *user, uint64_t word, const char *data)
{
    struct work *w = user;
    struct xlx__saved_run run = {
        .pfn = word & XLX__SAVE_PFN_MASK, .count = 1,
        .type = (uint8_t)xlx__save_word_type(word),
        .page = XLX__SAVED_NO_DATA,
    };
    int rc = 0;

    run.data_type = run.type;
    if (data)
        rc = xlx__saved_pack_page(w->pack, data, &run.page);
    return rc ? rc : xlx__saved_map_add(&w->map, &run);
}

static int progress(void *user, uint64_t at)
{
    struct work *w = user;

    return xlx__saved_progress(w->progress, w->what, at, 0, &w->told);
}

static int pack_stream(struct work *w, int fd)
{
    const struct xlx__saved_user user = {
        .user = w, .tap = tap, .words = memory, .page = page,
        .progress = progress,
    };
    struct xlx__saved_scan scan = { .config = NULL };
    int rc;

    rc = xlx__saved_scan(fd, &user, &scan);
    if (!rc)
        rc = xlx__saved_map_settle(&w->map);
    if (!rc)
        rc = xlx__saved_pack_end(w->pack, &scan, &w->map);
    xlx__saved_scan_free(&scan);
    return rc;
}

/* ---- the call ----------------------------------------------------------- */

static int begin(struct work *w, const xlx_saved_compact_spec *spec)
{
    if (!*xlx__text(spec->path) && spec->fd < 0)
        return xlx__error(ERROR_INVAL, "path: a file or a descriptor");
    return xlx__saved_pack_begin(spec->to, spec->force, spec->level,
                                 &w->pack);
}

int xlx__saved_compact(xlx_ctx *ctx, const xlx_saved_compact_spec *spec,
                       const xlx_progress *progress_cb,
                       xlx_saved_info *info_r)
{
    struct work w = { .what = spec->to, .progress = progress_cb };
    bool stream = !*xlx__text(spec->path);
    struct xlx__saved_image in = { .fd = -1 };
    int rc;

    rc = stream ? 0 : xlx__saved_image_open(&in, spec->path);
    if (!rc)
        rc = begin(&w, spec);
    if (!rc)
        rc = stream ? pack_stream(&w, (int)spec->fd) : pack_image(&w, &in);
    xlx__saved_pack_free(w.pack);
    xlx__saved_map_free(&w.map);
    xlx__saved_image_close(&in);
    return rc ? rc : xlx__saved_read(ctx, spec->to, info_r);
}

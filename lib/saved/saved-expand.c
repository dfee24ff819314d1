/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A saved guest in either form becomes what "xl restore" reads: its frame, and
 * in it the memory, each page once, in ascending order and in records of the
 * size that libxc writes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "saved/saved-pack.h"

#define BATCH 1024u                     /* pages of a record, as in libxc */

struct work {
    struct xlx__saved_image in;
    int fd;
    const char *path;               /* of fd, for messages */
    uint64_t words[BATCH];
    uint32_t num_words, num_data;
    char *data;                     /* BATCH pages */
    bool zero[BATCH];               /* of these */
    bool sparse;                    /* zeroes become a hole of the file */
    uint64_t done, total;           /* pages */
    const xlx_progress *progress;
    int64_t told;
};

static int put(const struct work *w, const void *bytes, size_t len)
{
    return xlx__saved_put(w->fd, w->path, bytes, len);
}

/* A record follows: the file ends behind its last byte all the same. */
static int put_data(const struct work *w)
{
    uint32_t i, n;
    int rc = 0;

    for (i = 0; !rc && i < w->num_data; i += n) {
        for (n = 1; i + n < w->num_data && w->zero[i + n] == w->zero[i]; n++)
            ;
        if (!w->sparse || !w->zero[i])
            rc = put(w, w->data + (size_t)i * XLX__SAVE_PAGE,
                     (size_t)n * XLX__SAVE_PAGE);
        else if (lseek(w->fd, (off_t)n * XLX__SAVE_PAGE, SEEK_CUR) < 0)
            rc = xlx__error(xlx__errno_rc(errno), "%s: %s", w->path,
                            strerror(errno));
    }
    return rc;
}

static int flush(struct work *w)
{
    struct { uint32_t type, length, count, reserved; } head;
    size_t words = w->num_words * sizeof(*w->words);
    size_t data = (size_t)w->num_data * XLX__SAVE_PAGE;
    int rc;

    if (!w->num_words)
        return 0;
    head.type = XLX__LIBXC_PAGE_DATA;
    head.length = (uint32_t)(8 + words + data);
    head.count = w->num_words;
    head.reserved = 0;
    rc = put(w, &head, sizeof(head));
    if (!rc)
        rc = put(w, w->words, words);
    if (!rc)
        rc = put_data(w);
    w->done += w->num_data;
    w->num_words = w->num_data = 0;
    if (rc) return rc;
    return xlx__saved_progress(w->progress, w->path,
                               w->done * XLX__SAVE_PAGE,
                               w->total * XLX__SAVE_PAGE, &w->told);
}

static int add_word(struct work *w, unsigned int type, uint64_t pfn)
{
    w->words[w->num_words++] = (uint64_t)type << XLX__SAVE_TYPE_SHIFT | pfn;
    return w->num_words == BATCH ? flush(w) : 0;
}

static int add_page(struct work *w, const struct xlx__saved_run *run,
                    uint64_t n)
{
    const char *data;
    int rc;

    if (run->page != XLX__SAVED_NO_DATA) {
        rc = xlx__saved_image_page(&w->in, run, n, &data);
        if (rc) return rc;
        w->zero[w->num_data] = run->page == XLX__SAVED_ZERO;
        memcpy(w->data + (size_t)w->num_data++ * XLX__SAVE_PAGE, data,
               XLX__SAVE_PAGE);
    }
    return add_word(w, run->data_type, run->pfn + n);
}

/* A page that had data, and then another type without: libxc keeps both. */
static int put_late_types(struct work *w)
{
    const struct xlx__saved_map *map = &w->in.scan.map;
    const struct xlx__saved_run *run;
    uint64_t n;
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < map->num; i++) {
        run = &map->runs[i];
        if (run->page == XLX__SAVED_NO_DATA || run->type == run->data_type)
            continue;
        for (n = 0; !rc && n < run->count; n++)
            rc = add_word(w, run->type, run->pfn + n);
    }
    return rc ? rc : flush(w);
}

static int put_memory(struct work *w)
{
    const struct xlx__saved_map *map = &w->in.scan.map;
    uint64_t n;
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < map->num; i++)
        for (n = 0; !rc && n < map->runs[i].count; n++)
            rc = add_page(w, &map->runs[i], n);
    if (!rc)
        rc = flush(w);
    return rc ? rc : put_late_types(w);
}

static int put_all(struct work *w)
{
    const struct xlx__saved_frame *f = &w->in.frame;
    const char *tail = xlx__saved_bytes_of(&f->tail);
    int rc;

    rc = put(w, xlx__saved_bytes_of(&f->head), f->head.len);
    if (rc) return rc;
    rc = put(w, tail, f->split);
    if (rc) return rc;
    rc = put_memory(w);
    if (rc) return rc;
    return put(w, tail + f->split, f->tail.len - f->split);
}

static uint64_t size_of(const struct work *w)
{
    const struct xlx__saved_map *map = &w->in.scan.map;
    uint64_t words = xlx__saved_map_length(map);

    return w->in.frame.head.len + w->in.frame.tail.len +
           w->total * XLX__SAVE_PAGE + words * 8 + (words / BATCH + 1) * 16;
}

static int expand(struct work *w, const xlx_saved_expand_spec *spec)
{
    struct xlx__saved_file file = { .fd = -1 };
    int rc;

    if (spec->fd >= 0) {
        w->fd = (int)spec->fd;
        w->path = "the stream";
        return put_all(w);
    }
    w->path = spec->to;
    rc = xlx__saved_file_begin(&file, spec->to, spec->force);
    if (!rc) {
        w->fd = file.fd;
        w->sparse = true;
        rc = xlx__saved_file_room(&file, size_of(w));
    }
    if (!rc)
        rc = put_all(w);
    if (!rc)
        rc = xlx__saved_file_end(&file);
    xlx__saved_file_free(&file);
    return rc;
}

int xlx__saved_expand(xlx_ctx *ctx, const xlx_saved_expand_spec *spec,
                      const xlx_progress *progress)
{
    struct work *w;
    uint64_t pages;
    int rc;

    (void)ctx;
    if ((spec->fd >= 0) == (*xlx__text(spec->to) != '\0'))
        return xlx__error(ERROR_INVAL, "to: a file or a descriptor");
    w = calloc(1, sizeof(*w));
    if (!w)
        return xlx__nomem();
    w->progress = progress;
    w->in.fd = -1;
    w->data = malloc((size_t)BATCH * XLX__SAVE_PAGE);
    rc = w->data ? xlx__saved_image_open(&w->in, spec->path) : xlx__nomem();
    if (!rc) {
        xlx__saved_map_count(&w->in.scan.map, &pages, &w->total);
        rc = expand(w, spec);
    }
    xlx__saved_image_close(&w->in);
    free(w->data);
    free(w);
    return rc;
}

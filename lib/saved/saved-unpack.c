/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads the compact form; see saved-pack.h.  Nothing in the file is believed:
 * each number is held against the file's size and the others, the tables and
 * the frame against their sums, and each page against its own.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "saved/saved-pack.h"

/* Chunks that are kept unpacked: pages that a live save wrote twice are far
 * from their neighbours. */
#define CACHED 16

struct cached {
    uint64_t chunk;                 /* with 1 added: 0 is none */
    char *data;
};

struct xlx__saved_unpack {
    int fd;
    struct xlx__pack_foot foot;
    struct xlx__pack_chunk *chunks;
    struct xlx__pack_run *runs;     /* and then the hot ones */
    uint64_t *sums;
    struct xlx__saved_zstd *zstd;
    char *packed;
    struct cached cache[CACHED];
};

const struct xlx__pack_foot *xlx__saved_unpack_foot(
    const struct xlx__saved_unpack *u)
{
    return &u->foot;
}

/* ---- reading ------------------------------------------------------------ */

int xlx__saved_get(int fd, void *to, uint64_t len, uint64_t at)
{
    char *p = to;
    ssize_t n;

    while (len) {
        n = pread(fd, p, len > (1u << 30) ? (1u << 30) : (size_t)len,
                  (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return xlx__error(xlx__errno_rc(errno), "byte %"PRIu64": %s", at,
                              strerror(errno));
        if (!n)
            return xlx__error(ERROR_INVAL, "the file is cut off at byte "
                              "%"PRIu64, at);
        p += n;
        len -= (uint64_t)n;
        at += (uint64_t)n;
    }
    return 0;
}

static int damaged(const char *what)
{
    return xlx__error(ERROR_INVAL, "the %s of the compact form is damaged; "
                      "use another copy of the file", what);
}

static bool has(uint64_t end, uint64_t at, uint64_t len)
{
    return at <= end && len <= end - at;
}

/* num of size bytes, at *at, which moves behind them. */
static bool take(uint64_t *left, uint64_t num, uint64_t size)
{
    if (num > *left / size)
        return false;
    *left -= num * size;
    return true;
}

static int check_foot(const struct xlx__pack_foot *f, uint64_t size)
{
    uint64_t left;

    if (memcmp(f->magic, XLX__PACK_MAGIC, sizeof(f->magic)))
        return xlx__error(ERROR_INVAL, "the compact form has no end: the file "
                          "is cut off");
    if (f->sum != xlx__saved_sum(f, offsetof(struct xlx__pack_foot, sum)))
        return damaged("end");
    if (f->version != XLX__PACK_VERSION ||
        f->chunk_pages != XLX__PACK_CHUNK)
        return xlx__error(ERROR_VERSION, "the compact form is of version %u; "
                          "use a newer libxlx", f->version);
    if (f->size != size || !has(size, f->tail_at, f->tail_stored) ||
        !has(size, 0, f->head_length) ||
        f->head_length < sizeof(struct xlx__save_head) ||
        !has(size - sizeof(*f), f->tables_at, 0) ||
        f->tail_length > XLX__SAVED_FRAME_MAX ||
        f->head_length > XLX__SAVED_FRAME_MAX ||
        f->tail_split > f->tail_length)
        return damaged("end");
    left = size - sizeof(*f) - f->tables_at;
    if (f->num_chunks != f->num_pages / XLX__PACK_CHUNK +
        !!(f->num_pages % XLX__PACK_CHUNK) ||
        !take(&left, f->num_chunks, sizeof(struct xlx__pack_chunk)) ||
        !take(&left, f->num_runs, sizeof(struct xlx__pack_run)) ||
        !take(&left, f->num_hot, sizeof(struct xlx__pack_run)) ||
        !take(&left, f->num_pages, sizeof(uint64_t)) || left)
        return damaged("end");
    return 0;
}

static int read_tables(struct xlx__saved_unpack *u)
{
    const struct xlx__pack_foot *f = &u->foot;
    size_t len = (size_t)(f->size - sizeof(*f) - f->tables_at);
    char *tables = malloc(len + 1);
    int rc;

    if (!tables)
        return xlx__nomem();
    u->chunks = (struct xlx__pack_chunk *)tables;       /* the owner */
    rc = xlx__saved_get(u->fd, tables, len, f->tables_at);
    if (rc) return rc;
    if (xlx__saved_sum(tables, len) != f->tables_sum)
        return damaged("table of pages");
    tables += f->num_chunks * sizeof(struct xlx__pack_chunk);
    u->runs = (struct xlx__pack_run *)tables;
    tables += (f->num_runs + f->num_hot) * sizeof(struct xlx__pack_run);
    u->sums = (uint64_t *)tables;
    return 0;
}

static int check_chunks(const struct xlx__saved_unpack *u)
{
    const struct xlx__pack_chunk *c;
    uint64_t i;

    for (i = 0; i < u->foot.num_chunks; i++) {
        c = &u->chunks[i];
        if (!has(u->foot.tables_at, c->at, c->stored) ||
            c->stored > XLX__PACK_CHUNK_SIZE || c->raw > 1)
            return damaged("table of pages");
    }
    return 0;
}

/* ---- runs --------------------------------------------------------------- */

static bool is_run(const struct xlx__saved_unpack *u,
                   const struct xlx__pack_run *r)
{
    bool data = r->page != XLX__SAVED_NO_DATA;

    if (!r->count || r->pfn > XLX__SAVED_PFN_MAX ||
        r->count > XLX__SAVED_PFN_MAX - r->pfn ||
        r->type > XLX__PAGE_ABSENT || r->data_type > XLX__PAGE_ABSENT ||
        data != xlx__save_has_data(r->data_type) ||
        (xlx__save_has_data(r->type) && r->type != r->data_type))
        return false;
    if (!data || r->page == XLX__SAVED_ZERO)
        return true;
    return has(u->foot.num_pages, r->page, r->count);
}

static int take_runs(const struct xlx__saved_unpack *u, uint64_t first,
                     uint64_t num, struct xlx__saved_map *map)
{
    const struct xlx__pack_run *r;
    struct xlx__saved_run run;
    uint64_t i, end = 0, bytes = 0;
    int rc = 0;

    for (i = first; !rc && i < first + num; i++) {
        r = &u->runs[i];
        if (!is_run(u, r) || r->pfn < end)
            return damaged("table of pages");
        end = r->pfn + r->count;
        /* the stream that it was made of had all of them */
        bytes += r->count * (r->page == XLX__SAVED_NO_DATA
                             ? 8 : 8 + XLX__SAVE_PAGE);
        if (bytes > u->foot.stream_length)
            return damaged("table of pages");
        run = (struct xlx__saved_run){
            .pfn = r->pfn, .count = r->count, .page = r->page,
            .type = (uint8_t)r->type, .data_type = (uint8_t)r->data_type,
        };
        rc = xlx__saved_map_add(map, &run);
    }
    return rc;
}

/* ---- the frame ---------------------------------------------------------- */

static int read_head(struct xlx__saved_unpack *u,
                     struct xlx__saved_frame *frame)
{
    size_t len = (size_t)u->foot.head_length;
    char *head = malloc(len);
    uint32_t flags;
    int rc;

    if (!head)
        return xlx__nomem();
    frame->head = (struct xlx__saved_bytes){ head, len, len };
    rc = xlx__saved_get(u->fd, head, len, 0);
    if (rc) return rc;
    memcpy(&flags, head + offsetof(struct xlx__save_head, mandatory),
           sizeof(flags));
    flags &= ~XLX__SAVE_COMPACT;
    memcpy(head + offsetof(struct xlx__save_head, mandatory), &flags,
           sizeof(flags));
    return 0;
}

static int read_tail(struct xlx__saved_unpack *u,
                     struct xlx__saved_frame *frame)
{
    size_t len = (size_t)u->foot.tail_length;
    size_t stored = (size_t)u->foot.tail_stored;
    char *packed = malloc(stored + 1), *tail = malloc(len + 1);
    int rc;

    frame->tail = (struct xlx__saved_bytes){ tail, len, len };
    frame->split = (size_t)u->foot.tail_split;
    frame->memory_seen = true;
    rc = packed && tail ? xlx__saved_get(u->fd, packed, stored,
                                         u->foot.tail_at)
                        : xlx__nomem();
    if (!rc)
        rc = xlx__saved_zstd_unpack(u->zstd, packed, stored, tail, len);
    free(packed);
    return rc;
}

/* The frame is a stream by itself, of a guest without memory: the reader of
 * streams checks it, and tells what is in it. */
static int scan_frame(const struct xlx__saved_frame *frame,
                      struct xlx__saved_scan *scan)
{
    int fd = memfd_create("libxlx-frame", MFD_CLOEXEC), rc;

    if (fd < 0)
        return xlx__error(xlx__errno_rc(errno), "memfd_create: %s",
                          strerror(errno));
    rc = xlx__saved_put(fd, "frame", frame->head.bytes, frame->head.len);
    if (!rc)
        rc = xlx__saved_put(fd, "frame", frame->tail.bytes, frame->tail.len);
    if (!rc)
        rc = xlx__saved_scan(fd, NULL, scan);
    close(fd);
    return rc;
}

static int read_frame(struct xlx__saved_unpack *u,
                      struct xlx__saved_frame *frame)
{
    uint64_t sum;
    int rc;

    rc = read_head(u, frame);
    if (rc) return rc;
    rc = read_tail(u, frame);
    if (rc) return rc;
    rc = xlx__saved_frame_sum(frame, &sum);
    if (rc) return rc;
    return sum == u->foot.frame_sum ? 0 : damaged("head");
}

/* ---- all of it ---------------------------------------------------------- */

static int open_all(struct xlx__saved_unpack *u, uint64_t size,
                    struct xlx__saved_frame *frame,
                    struct xlx__saved_scan *scan)
{
    uint64_t pages;
    int rc;

    if (size < sizeof(u->foot))
        return xlx__error(ERROR_INVAL, "the compact form has no end: the file "
                          "is cut off");
    rc = xlx__saved_get(u->fd, &u->foot, sizeof(u->foot),
                        size - sizeof(u->foot));
    if (rc) return rc;
    rc = check_foot(&u->foot, size);
    if (rc) return rc;
    rc = read_tables(u);
    if (rc) return rc;
    rc = check_chunks(u);
    if (rc) return rc;
    rc = read_frame(u, frame);
    if (rc) return rc;
    rc = scan_frame(frame, scan);
    if (rc) return rc;
    rc = take_runs(u, 0, u->foot.num_runs, &scan->map);
    if (rc) return rc;
    rc = take_runs(u, u->foot.num_runs, u->foot.num_hot, &scan->hot);
    if (rc) return rc;
    xlx__saved_map_count(&scan->map, &pages, &scan->num_data);
    scan->num_data += u->foot.old_pages;
    scan->passes = u->foot.passes;
    scan->length = u->foot.stream_length;
    return 0;
}

int xlx__saved_unpack_open(int fd, uint64_t size,
                           struct xlx__saved_frame *frame,
                           struct xlx__saved_scan *scan,
                           struct xlx__saved_unpack **u_r)
{
    struct xlx__saved_unpack *u = calloc(1, sizeof(*u));
    int rc;

    if (!u)
        return xlx__nomem();
    u->fd = fd;
    u->zstd = xlx__saved_zstd_new();
    u->packed = malloc(XLX__PACK_CHUNK_SIZE);
    rc = u->zstd && u->packed ? open_all(u, size, frame, scan)
                              : xlx__nomem();
    if (rc)
        xlx__saved_unpack_free(u);
    else
        *u_r = u;
    return rc;
}

void xlx__saved_unpack_free(struct xlx__saved_unpack *u)
{
    size_t i;

    if (!u)
        return;
    for (i = 0; i < CACHED; i++)
        free(u->cache[i].data);
    free(u->chunks);
    free(u->packed);
    xlx__saved_zstd_free(u->zstd);
    free(u);
}

/* ---- pages -------------------------------------------------------------- */

static int read_chunk(struct xlx__saved_unpack *u, uint64_t number,
                      struct cached *to)
{
    const struct xlx__pack_chunk *c = &u->chunks[number];
    uint64_t pages = u->foot.num_pages - number * XLX__PACK_CHUNK;
    size_t len;
    int rc;

    pages = pages < XLX__PACK_CHUNK ? pages : XLX__PACK_CHUNK;
    len = (size_t)pages * XLX__SAVE_PAGE;
    to->chunk = 0;
    if (!to->data)
        to->data = malloc(XLX__PACK_CHUNK_SIZE);
    if (!to->data)
        return xlx__nomem();
    if (c->raw && c->stored != len)
        return damaged("table of pages");
    rc = xlx__saved_get(u->fd, c->raw ? to->data : u->packed, c->stored,
                        c->at);
    if (!rc && !c->raw)
        rc = xlx__saved_zstd_unpack(u->zstd, u->packed, c->stored, to->data,
                                    len);
    if (rc)
        return xlx__error_prefix(rc, "byte %"PRIu64", chunk %"PRIu64, c->at,
                                 number);
    to->chunk = number + 1;
    return 0;
}

int xlx__saved_unpack_page(struct xlx__saved_unpack *u, uint64_t page,
                           const char **data_r)
{
    static const char zeroes[XLX__SAVE_PAGE];
    uint64_t number = page / XLX__PACK_CHUNK;
    struct cached *c = &u->cache[number % CACHED];
    const char *data;
    int rc;

    if (page == XLX__SAVED_ZERO) {
        *data_r = zeroes;
        return 0;
    }
    if (c->chunk != number + 1) {
        rc = read_chunk(u, number, c);
        if (rc) return rc;
    }
    data = c->data + page % XLX__PACK_CHUNK * XLX__SAVE_PAGE;
    if (xlx__saved_sum(data, XLX__SAVE_PAGE) != u->sums[page])
        return xlx__error(ERROR_INVAL, "byte %"PRIu64", chunk %"PRIu64": the "
                          "data of page %"PRIu64" of it is damaged",
                          u->chunks[number].at, number,
                          page % XLX__PACK_CHUNK);
    *data_r = data;
    return 0;
}

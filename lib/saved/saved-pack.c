/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes the compact form; see saved-pack.h.  Pages come in any order, and the
 * file is written from its begin to its end, so that it can come out of a
 * pipe.
 */
#include <endian.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "saved/saved-pack.h"

_Static_assert(sizeof(struct xlx__pack_foot) == 256, "it is on disk");
_Static_assert(sizeof(struct xlx__pack_chunk) == 16, "it is on disk");
_Static_assert(sizeof(struct xlx__pack_run) == 32, "it is on disk");
#if __BYTE_ORDER != __LITTLE_ENDIAN
#error "the compact form is little endian, as x86 guests are"
#endif

/* A chunk that becomes hardly smaller is left as it is, which costs a reader
 * nothing and can be mapped. */
#define WORTH(len) ((len) - (len) / 16)

struct xlx__saved_pack {
    struct xlx__saved_file file;
    struct xlx__saved_zstd *zstd;
    uint32_t level;
    struct xlx__saved_frame frame;
    bool head_written;
    uint64_t at;                    /* bytes written */
    char *chunk, *packed;
    size_t packed_room;
    uint32_t in_chunk;              /* pages */
    struct xlx__pack_chunk *chunks;
    size_t num_chunks, room_chunks;
    uint64_t *sums;
    size_t num_pages, room_pages;
};

int xlx__saved_pack_begin(const char *path, bool force, uint32_t level,
                          struct xlx__saved_pack **p_r)
{
    struct xlx__saved_pack *p;
    int rc;

    if (!xlx__saved_zstd_level_ok(level))
        return xlx__error(ERROR_INVAL, "zstd level %u: there is none", level);
    p = calloc(1, sizeof(*p));
    if (!p)
        return xlx__nomem();
    p->level = level;
    p->zstd = xlx__saved_zstd_new();
    p->packed_room = xlx__saved_zstd_room(XLX__PACK_CHUNK_SIZE);
    p->chunk = malloc(XLX__PACK_CHUNK_SIZE);
    p->packed = malloc(p->packed_room);
    rc = !p->zstd || !p->chunk || !p->packed
         ? xlx__nomem() : xlx__saved_file_begin(&p->file, path, force);
    if (rc) {
        xlx__saved_pack_free(p);
        return rc;
    }
    *p_r = p;
    return 0;
}

void xlx__saved_pack_free(struct xlx__saved_pack *p)
{
    if (!p)
        return;
    if (p->file.path)
        xlx__saved_file_free(&p->file);
    xlx__saved_zstd_free(p->zstd);
    xlx__saved_frame_free(&p->frame);
    free(p->chunk);
    free(p->packed);
    free(p->chunks);
    free(p->sums);
    free(p);
}

/* ---- bytes -------------------------------------------------------------- */

static int put(struct xlx__saved_pack *p, const void *bytes, size_t len)
{
    p->at += len;
    return xlx__saved_put(p->file.fd, p->file.path, bytes, len);
}

static int align(struct xlx__saved_pack *p)
{
    static const char zeroes[XLX__PACK_ALIGN];
    size_t over = (size_t)(p->at % XLX__PACK_ALIGN);

    return over ? put(p, zeroes, XLX__PACK_ALIGN - over) : 0;
}

/* xl's head with our flag. */
static int put_head(struct xlx__saved_pack *p)
{
    struct xlx__save_head h;
    const struct xlx__saved_bytes *head = &p->frame.head;
    int rc;

    p->head_written = true;
    if (head->len < sizeof(h))
        return xlx__error(ERROR_INVAL, "the stream has no head");
    memcpy(&h, head->bytes, sizeof(h));
    h.mandatory |= XLX__SAVE_COMPACT;
    rc = put(p, &h, sizeof(h));
    if (!rc)
        rc = put(p, head->bytes + sizeof(h), head->len - sizeof(h));
    return rc ? rc : align(p);
}

int xlx__saved_pack_frame(struct xlx__saved_pack *p, const void *bytes,
                          size_t len)
{
    return xlx__saved_frame_add(&p->frame, bytes, len);
}

int xlx__saved_pack_memory(struct xlx__saved_pack *p)
{
    xlx__saved_frame_memory(&p->frame);
    return p->head_written ? 0 : put_head(p);
}

/* ---- pages -------------------------------------------------------------- */

static int note_chunk(struct xlx__saved_pack *p, size_t stored, bool raw)
{
    struct xlx__pack_chunk *more;
    size_t room;

    if (p->num_chunks == p->room_chunks) {
        room = p->room_chunks ? 2 * p->room_chunks : 64;
        more = reallocarray(p->chunks, room, sizeof(*more));
        if (!more)
            return xlx__nomem();
        p->chunks = more;
        p->room_chunks = room;
    }
    p->chunks[p->num_chunks++] = (struct xlx__pack_chunk){
        .at = p->at, .stored = (uint32_t)stored, .raw = raw,
    };
    return 0;
}

static int put_chunk(struct xlx__saved_pack *p)
{
    size_t len = p->in_chunk * XLX__SAVE_PAGE, stored = len;
    bool raw = true;
    int rc = 0;

    if (!len)
        return 0;
    p->in_chunk = 0;
    if (p->level) {
        rc = xlx__saved_zstd_pack(p->zstd, p->level, p->chunk, len,
                                  p->packed, p->packed_room, &stored);
        if (rc) return rc;
        raw = stored > WORTH(len);
    }
    if (raw)
        rc = align(p);
    if (rc) return rc;
    rc = note_chunk(p, raw ? len : stored, raw);
    if (rc) return rc;
    return raw ? put(p, p->chunk, len) : put(p, p->packed, stored);
}

int xlx__saved_pack_page(struct xlx__saved_pack *p, const char *data,
                         uint64_t *page_r)
{
    uint64_t *more;
    size_t room;

    if (xlx__saved_is_zero(data)) {
        *page_r = XLX__SAVED_ZERO;
        return 0;
    }
    if (p->num_pages == p->room_pages) {
        room = p->room_pages ? 2 * p->room_pages : 1024;
        more = reallocarray(p->sums, room, sizeof(*more));
        if (!more)
            return xlx__nomem();
        p->sums = more;
        p->room_pages = room;
    }
    p->sums[p->num_pages] = xlx__saved_sum(data, XLX__SAVE_PAGE);
    *page_r = p->num_pages++;
    memcpy(p->chunk + (size_t)p->in_chunk * XLX__SAVE_PAGE, data,
           XLX__SAVE_PAGE);
    return ++p->in_chunk == XLX__PACK_CHUNK ? put_chunk(p) : 0;
}

/* ---- the end ------------------------------------------------------------ */

static int put_tail(struct xlx__saved_pack *p, struct xlx__pack_foot *f)
{
    const struct xlx__saved_bytes *tail = &p->frame.tail;
    size_t room = xlx__saved_zstd_room(tail->len), stored;
    char *packed = malloc(room);
    int rc;

    if (!packed)
        return xlx__nomem();
    rc = xlx__saved_zstd_pack(p->zstd, p->level ? p->level : 1,
                              xlx__saved_bytes_of(tail), tail->len, packed,
                              room, &stored);
    f->tail_at = p->at;
    if (!rc) {
        f->tail_stored = stored;
        rc = put(p, packed, stored);
    }
    free(packed);
    f->tail_length = tail->len;
    f->tail_split = p->frame.split;
    return rc;
}

static int put_summed(struct xlx__saved_pack *p,
                      struct xlx__saved_summing *sum, const void *bytes,
                      size_t len)
{
    if (!len)
        return 0;
    xlx__saved_sum_add(sum, bytes, len);
    return put(p, bytes, len);
}

static int put_runs(struct xlx__saved_pack *p, struct xlx__saved_summing *sum,
                    const struct xlx__saved_map *map)
{
    struct xlx__pack_run r;
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < map->num; i++) {
        r = (struct xlx__pack_run){
            .pfn = map->runs[i].pfn, .count = map->runs[i].count,
            .page = map->runs[i].page, .data_type = map->runs[i].data_type,
            .type = map->runs[i].type,
        };
        rc = put_summed(p, sum, &r, sizeof(r));
    }
    return rc;
}

static int put_tables(struct xlx__saved_pack *p,
                      const struct xlx__saved_map *map,
                      const struct xlx__saved_map *hot,
                      struct xlx__pack_foot *f)
{
    struct xlx__saved_summing *sum = xlx__saved_sum_begin();
    int rc = sum ? 0 : xlx__nomem();

    f->tables_at = p->at;
    if (!rc)
        rc = put_summed(p, sum, p->chunks,
                        p->num_chunks * sizeof(*p->chunks));
    if (!rc)
        rc = put_runs(p, sum, map);
    if (!rc)
        rc = put_runs(p, sum, hot);
    if (!rc)
        rc = put_summed(p, sum, p->sums, p->num_pages * sizeof(*p->sums));
    f->tables_sum = xlx__saved_sum_end(sum);
    return rc;
}

int xlx__saved_pack_end(struct xlx__saved_pack *p,
                        const struct xlx__saved_scan *scan,
                        const struct xlx__saved_map *map)
{
    struct xlx__pack_foot f = {
        .magic = XLX__PACK_MAGIC, .version = XLX__PACK_VERSION,
        .chunk_pages = XLX__PACK_CHUNK, .stream_length = scan->length,
        .head_length = p->frame.head.len, .level = p->level,
        .passes = scan->passes, .num_runs = map->num,
        .num_hot = scan->hot.num, .num_pages = p->num_pages,
    };
    uint64_t pages, data;
    int rc;

    rc = p->head_written ? 0 : put_head(p);     /* no memory at all */
    if (rc) return rc;
    rc = put_chunk(p);
    if (rc) return rc;
    f.num_chunks = p->num_chunks;
    xlx__saved_map_count(map, &pages, &data);
    f.old_pages = scan->num_data - data;
    rc = xlx__saved_frame_sum(&p->frame, &f.frame_sum);
    if (rc) return rc;
    rc = put_tail(p, &f);
    if (rc) return rc;
    rc = put_tables(p, map, &scan->hot, &f);
    if (rc) return rc;
    f.size = p->at + sizeof(f);
    f.sum = xlx__saved_sum(&f, offsetof(struct xlx__pack_foot, sum));
    rc = put(p, &f, sizeof(f));
    return rc ? rc : xlx__saved_file_end(&p->file);
}

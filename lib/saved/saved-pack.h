/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The compact form of a saved guest.
 *
 *   head     the stream up to the memory, with one more mandatory flag in xl's
 *            head: our readers of configuration and CPU policy find both where
 *            they are in the other form, and stock xl says that a newer xl
 *            is needed
 *   chunks   64 pages each, packed by zstd, or as they are, and then aligned
 *            to 4096 bytes
 *   tail     the rest of the stream without PAGE_DATA, packed by zstd
 *   tables   chunks, runs, hot runs, sums of pages
 *   foot     256 bytes, the last of the file: a file that is cut off has none
 *
 * Pages of zeroes are in no chunk.  Numbers are little endian.
 */
#ifndef XLX_SAVED_PACK_H
#define XLX_SAVED_PACK_H

#include "saved/saved.h"

#define XLX__PACK_MAGIC "libxlx saved 1\n"          /* 16 bytes with the NUL */
#define XLX__PACK_VERSION 1
#define XLX__PACK_CHUNK 64u                         /* pages */
#define XLX__PACK_CHUNK_SIZE (XLX__PACK_CHUNK * XLX__SAVE_PAGE)
#define XLX__PACK_ALIGN 4096u

struct xlx__pack_foot {
    char magic[16];
    uint32_t version, chunk_pages;
    uint64_t size;                  /* of the file */
    uint64_t stream_length;         /* of the stream it was made of */
    uint64_t head_length;
    uint64_t tail_at, tail_stored, tail_length;
    uint64_t tail_split;            /* where in the tail the memory comes */
    uint64_t tables_at;
    uint64_t num_chunks, num_pages, num_runs, num_hot;
    uint64_t old_pages, passes;
    uint64_t tables_sum, frame_sum; /* frame: head as it was, and tail */
    uint64_t level;
    uint64_t reserved[11];          /* zero */
    uint64_t sum;                   /* of all before it */
};

struct xlx__pack_chunk {
    uint64_t at;
    uint32_t stored;                /* bytes; XLX__PACK_CHUNK_SIZE or less */
    uint32_t raw;                   /* 1: not packed */
};

struct xlx__pack_run {
    uint64_t pfn, count, page;
    uint32_t data_type, type;
};

/* ---- saved-pack.c: writing ---------------------------------------------- */

struct xlx__saved_pack;
int xlx__saved_pack_begin(const char *path, bool force, uint32_t level,
                          struct xlx__saved_pack **p_r);
/* Bytes of the stream that are not PAGE_DATA, in order. */
int xlx__saved_pack_frame(struct xlx__saved_pack *p, const void *bytes,
                          size_t len);
/* The memory is here in the stream, up to now. */
int xlx__saved_pack_memory(struct xlx__saved_pack *p);
/* A page of the memory.  *page_r is its number in the file, or
 * XLX__SAVED_ZERO. */
int xlx__saved_pack_page(struct xlx__saved_pack *p, const char *data,
                         uint64_t *page_r);
/* map: with the numbers of pages from above, settled. */
int xlx__saved_pack_end(struct xlx__saved_pack *p,
                        const struct xlx__saved_scan *scan,
                        const struct xlx__saved_map *map);
/* Also after xlx__saved_pack_end(); without it, nothing is left. */
void xlx__saved_pack_free(struct xlx__saved_pack *p);

/* ---- saved-unpack.c: reading -------------------------------------------- */

struct xlx__saved_unpack;
/* Reads all but the chunks: frame, tables, foot.  scan gets what the frame and
 * the tables tell. */
int xlx__saved_unpack_open(int fd, uint64_t size,
                           struct xlx__saved_frame *frame,
                           struct xlx__saved_scan *scan,
                           struct xlx__saved_unpack **u_r);
void xlx__saved_unpack_free(struct xlx__saved_unpack *u);
/* Compares with the sum. */
int xlx__saved_unpack_page(struct xlx__saved_unpack *u, uint64_t page,
                           const char **data_r);
const struct xlx__pack_foot *xlx__saved_unpack_foot(
    const struct xlx__saved_unpack *u);

#endif

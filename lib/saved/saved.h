/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Saved guests: what "xl save" wrote.
 *
 *   saved.c          a file is opened, looked at, and told of
 *   saved-check.c    which records there must be, and in which order
 *   saved-map.c      which data each page has in the end
 *   saved-scan.c     all of that from one reading of the stream
 *   saved-config.c   the guest's configuration, as libxl writes it in JSON
 *   saved-here.c     what restoring a guest on this host would meet
 *   saved-verify.c   every byte of a file
 *   saved-index.c    sums of a file that has none
 *   saved-diff.c     two of them
 *   saved-image.c    a file in either form
 *   saved-pack.c     the compact form is written, saved-unpack.c: read
 *   saved-frame.c    the stream without the memory
 *   saved-compact.c  from one form to the other, saved-expand.c: and back
 *   saved-file.c     a new file, which is there when it is whole
 *   saved-sum.c      xxhash; saved-zstd.c: libzstd
 */
#ifndef XLX_SAVED_H
#define XLX_SAVED_H

#include "core/internal.h"
#include "core/save-stream.h"
#include "gen-calls.h"

/* ---- saved-map.c -------------------------------------------------------- */

#define XLX__SAVED_NO_DATA UINT64_MAX
#define XLX__SAVED_ZERO (UINT64_MAX - 1)    /* all zeroes, and not stored */

/* More than any processor can address. */
#define XLX__SAVED_PFN_MAX ((UINT64_C(1) << 40) - 1)

/* Pages in a row, of the guest and of the file. */
struct xlx__saved_run {
    uint64_t pfn, count;
    uint64_t page;                  /* which page of data of the file, or one
                                     * of the above */
    uint64_t offset;                /* of the data in the stream; 0 in the
                                     * compact form */
    uint8_t data_type;              /* of the page when it had this data */
    uint8_t type;                   /* the last one, perhaps without data */
};

struct xlx__saved_map {
    struct xlx__saved_run *runs;
    size_t num, room;
};

int xlx__saved_map_add(struct xlx__saved_map *m,
                       const struct xlx__saved_run *run);
/* Afterwards the runs ascend, and no page is in two. */
int xlx__saved_map_settle(struct xlx__saved_map *m);
void xlx__saved_map_free(struct xlx__saved_map *m);
/* Cuts the first n pages off and returns them. */
struct xlx__saved_run xlx__saved_run_front(struct xlx__saved_run *r,
                                           uint64_t n);
uint64_t xlx__saved_map_length(const struct xlx__saved_map *m);
/* Pages that a restored guest has, and those of them that have data. */
void xlx__saved_map_count(const struct xlx__saved_map *m,
                          uint64_t *pages_r, uint64_t *data_r);

/* ---- saved-check.c ------------------------------------------------------ */

struct xlx__saved_check {
    bool static_end, pv_info, p2m_frames, shared_info, vcpu, hvm_context,
         tsc, verify, emulator;
    uint8_t pv_width;
    uint32_t pv_max_pfn;
    uint32_t tsc_mode, tsc_khz;
};

/* Looks at the part that xlx__save_next() found, and reads of its body what it
 * needs; the words of PAGE_DATA are read afterwards. */
int xlx__saved_check(struct xlx__saved_check *c, struct xlx__save *s);

/* ---- saved-scan.c ------------------------------------------------------- */

struct xlx__saved_count {
    bool libxc;
    uint32_t type;
    uint64_t records, bytes;
};

#define XLX__SAVED_COUNTS 64

/* A file, read once. */
struct xlx__saved_scan {
    struct xlx__save_head xl;
    struct xlx__save_libxc_head libxc;
    char *config;                   /* with a NUL behind */
    size_t config_len;              /* without it */
    struct xlx__saved_check check;
    struct xlx__saved_count counts[XLX__SAVED_COUNTS];
    size_t num_counts;
    struct xlx__saved_map map;
    uint64_t num_data;              /* pages of data in the file */
    uint64_t passes;                /* how often libxc went over the memory */
    struct xlx__saved_map hot;      /* the pages of the last pass of a live
                                     * save, which the guest wrote at the end;
                                     * without their data */
    uint64_t length;                /* of the stream; more may follow */
};

/* A scan hands these on; each may be NULL. */
struct xlx__saved_user {
    void *user;
    /* Before the data of a PAGE_DATA record, whose words s has. */
    int (*words)(void *user, struct xlx__save *s);
    /* A page, with NULL when it has no data; without this, data is passed
     * over. */
    int (*page)(void *user, uint64_t word, const char *data);
    xlx__save_tap *tap;
    int (*progress)(void *user, uint64_t at);
};

int xlx__saved_scan(int fd, const struct xlx__saved_user *user,
                    struct xlx__saved_scan *scan);
void xlx__saved_scan_free(struct xlx__saved_scan *scan);

/* ---- saved-frame.c ------------------------------------------------------ */

struct xlx__saved_bytes {
    char *bytes;                    /* NULL when there are none */
    size_t len, room;
};
static inline const char *xlx__saved_bytes_of(const struct xlx__saved_bytes *b)
{
    return b->bytes ? b->bytes : "";
}

struct xlx__saved_frame {
    struct xlx__saved_bytes head;   /* before the first PAGE_DATA */
    struct xlx__saved_bytes tail;   /* all other that is not PAGE_DATA */
    size_t split;                   /* the memory comes here in the tail */
    bool memory_seen;
};

int xlx__saved_frame_add(struct xlx__saved_frame *f, const void *bytes,
                         size_t len);
/* A PAGE_DATA record comes here. */
void xlx__saved_frame_memory(struct xlx__saved_frame *f);
int xlx__saved_frame_sum(const struct xlx__saved_frame *f, uint64_t *sum_r);
/* The state of a QEMU with a large display is some 100 MiB. */
#define XLX__SAVED_FRAME_MAX ((size_t)256 << 20)
void xlx__saved_frame_free(struct xlx__saved_frame *f);

/* ---- saved-sum.c -------------------------------------------------------- */

uint64_t xlx__saved_sum(const void *bytes, size_t len);
/* The same in pieces; NULL when memory is short. */
struct xlx__saved_summing;
struct xlx__saved_summing *xlx__saved_sum_begin(void);
void xlx__saved_sum_add(struct xlx__saved_summing *s, const void *bytes,
                        size_t len);
uint64_t xlx__saved_sum_end(struct xlx__saved_summing *s);
bool xlx__saved_is_zero(const char page[XLX__SAVE_PAGE]);

/* ---- saved-zstd.c ------------------------------------------------------- */

struct xlx__saved_zstd;
struct xlx__saved_zstd *xlx__saved_zstd_new(void);
void xlx__saved_zstd_free(struct xlx__saved_zstd *z);
bool xlx__saved_zstd_level_ok(uint32_t level);
/* Enough for len bytes, packed. */
size_t xlx__saved_zstd_room(size_t len);
int xlx__saved_zstd_pack(struct xlx__saved_zstd *z, uint32_t level,
                         const void *from, size_t len, void *to, size_t room,
                         size_t *len_r);
int xlx__saved_zstd_unpack(struct xlx__saved_zstd *z, const void *from,
                           size_t stored, void *to, size_t len);

/* ---- saved-file.c ------------------------------------------------------- */

struct xlx__saved_file {
    int fd;
    char *path, *temporary;
    bool force;                     /* it may replace another file */
    bool nameless, done;
};

/* Mode 0600.  Free it also after a failure. */
int xlx__saved_file_begin(struct xlx__saved_file *f, const char *path,
                          bool force);
/* Has its file system room for so many bytes? */
int xlx__saved_file_room(const struct xlx__saved_file *f, uint64_t size);
/* It is whole: to disk, and under its name. */
int xlx__saved_file_end(struct xlx__saved_file *f);
/* Without the end nothing is left of it. */
void xlx__saved_file_free(struct xlx__saved_file *f);
int xlx__saved_put(int fd, const char *path, const void *bytes, size_t len);

/* ---- saved-config.c ----------------------------------------------------- */

/* Fills in what the configuration says.  One that is not in JSON, or not as
 * libxl writes it, is not an error: there is less to tell. */
int xlx__saved_config_read(const struct xlx__saved_scan *scan,
                           xlx_saved_info *info);

/* ---- saved-index.c ------------------------------------------------------ */

struct xlx__saved_sums {
    bool have;
    char *index;                    /* its path */
    char *tables;
    uint64_t *sums;
    uint64_t num, rest_sum, size, begin_sum, end_sum;
};

/* index NULL: the usual one of path, and it is not an error when there is
 * none.  Close it also after a failure. */
int xlx__saved_sums_open(const char *path, const char *index,
                         struct xlx__saved_sums *s);
void xlx__saved_sums_close(struct xlx__saved_sums *s);
/* Reads all of the file. */
int xlx__saved_sums_compare(const struct xlx__saved_sums *s, int fd,
                            const char *path, uint64_t size,
                            const xlx_progress *progress,
                            xlx_saved_verified *r);

/* ---- saved-image.c ------------------------------------------------------ */

struct xlx__saved_unpack;

/* A saved guest in a file of either form. */
struct xlx__saved_image {
    char *path;
    int fd;
    uint64_t size;
    struct xlx__saved_scan scan;
    struct xlx__saved_frame frame;
    struct xlx__saved_unpack *unpack;   /* of the compact form, else NULL */
    char *block;                    /* what was read last of the other */
    uint64_t block_at, block_len;
};

/* Close it also after a failure. */
int xlx__saved_image_open(struct xlx__saved_image *i, const char *path);
void xlx__saved_image_close(struct xlx__saved_image *i);
/* The nth page of a run that has data; good until the next call. */
int xlx__saved_image_page(struct xlx__saved_image *i,
                          const struct xlx__saved_run *run, uint64_t n,
                          const char **data_r);
bool xlx__saved_is_compact(int fd);
int xlx__saved_get(int fd, void *to, uint64_t len, uint64_t at);

/* ---- saved.c ------------------------------------------------------------ */

/* Opens a file or a block device, and nothing else. */
int xlx__saved_open(const char *path, int *fd_r, uint64_t *size_r);


/* ---- saved-verify.c ----------------------------------------------------- */

/* The counts of a scan of a file of size bytes. */
void xlx__saved_sum_up(const struct xlx__saved_scan *scan, uint64_t size,
                       xlx_saved_verified *r);
/* Calls it about twice a second; *told begins as 0.  ERROR_ABORTED. */
int xlx__saved_progress(const xlx_progress *progress, const char *what,
                        uint64_t done, uint64_t total, int64_t *told);

#endif

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
 */
#ifndef XLX_SAVED_H
#define XLX_SAVED_H

#include "core/internal.h"
#include "core/save-stream.h"
#include "gen-calls.h"

/* ---- saved-map.c -------------------------------------------------------- */

#define XLX__SAVED_NO_DATA UINT64_MAX

/* Pages in a row, of the guest and of the file. */
struct xlx__saved_run {
    uint64_t pfn, count;
    uint64_t page;                  /* which page of data of the file, or
                                     * XLX__SAVED_NO_DATA */
    uint64_t offset;                /* of the data in the stream */
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
                                     * save: what the guest wrote at the end */
    uint64_t length;                /* of the stream; more may follow */
};

/* A scan hands these on; each may be NULL. */
struct xlx__saved_user {
    void *user;
    /* Before the data of a PAGE_DATA record, whose words s has. */
    int (*words)(void *user, struct xlx__save *s);
    /* A page of data; without this, data is passed over. */
    int (*page)(void *user, uint64_t word, uint64_t offset,
                const char *data);
    xlx__save_tap *tap;
    int (*progress)(void *user, uint64_t at);
};

int xlx__saved_scan(int fd, const struct xlx__saved_user *user,
                    struct xlx__saved_scan *scan);
void xlx__saved_scan_free(struct xlx__saved_scan *scan);

/* ---- saved-config.c ----------------------------------------------------- */

/* Fills in what the configuration says.  One that is not in JSON, or not as
 * libxl writes it, is not an error: there is less to tell. */
int xlx__saved_config_read(const struct xlx__saved_scan *scan,
                           xlx_saved_info *info);

/* ---- saved.c ------------------------------------------------------------ */

/* Opens a file or a block device, and nothing else. */
int xlx__saved_open(const char *path, int *fd_r, uint64_t *size_r);
int xlx__saved_tell(const struct xlx__saved_scan *scan, xlx_saved_info *info);


/* ---- saved-verify.c ----------------------------------------------------- */

/* Calls it about twice a second; *told begins as 0.  ERROR_ABORTED. */
int xlx__saved_progress(const xlx_progress *progress, const char *what,
                        uint64_t done, uint64_t total, int64_t *told);

#endif

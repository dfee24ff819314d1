/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An index next to a file of "xl save": where the data of each page is, which
 * pages are zero, a sum of each and one of all the rest, and which file it was
 * made of.  It is read whole, held against its own sum, and used only for a
 * file of the same size, begin and end; another copy of the file may have
 * another inode, because the sums decide.
 *
 *   head | runs | bitmap of zero pages | sums of pages
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "saved/saved-pack.h"

#define MAGIC "libxlx index 1\n"                    /* 16 bytes with the NUL */
#define ENDS (64u << 10)            /* of the file, that are summed */

struct head {
    char magic[16];
    uint32_t version, reserved;
    uint64_t dev, ino, size;
    int64_t mtime_sec, mtime_nsec;
    uint64_t begin_sum, end_sum;    /* of its first and last 64 KiB */
    uint64_t rest_sum;              /* of the stream without data of pages */
    uint64_t stream_length, num_runs, num_pages;
    uint64_t tables_sum, sum;       /* of all before it */
};

struct index_run {
    uint64_t pfn, count, page, offset;
    uint32_t data_type, type;
};

_Static_assert(sizeof(struct head) == 128, "it is on disk");
_Static_assert(sizeof(struct index_run) == 40, "it is on disk");

/* Collects, or compares. */
struct work {
    const char *path;
    struct xlx__saved_summing *rest;
    uint64_t *sums;
    uint8_t *zero;
    uint64_t num, room;
    const struct xlx__saved_sums *against;      /* NULL: collect */
    const xlx_progress *progress;
    uint64_t size;
    int64_t told;
};

/* ---- reading the file --------------------------------------------------- */

static int make_room(struct work *w)
{
    uint64_t room = w->room ? 2 * w->room : 8192;
    uint64_t *sums = reallocarray(w->sums, room, sizeof(*sums));
    uint8_t *zero;

    if (!sums)
        return xlx__nomem();
    w->sums = sums;
    zero = realloc(w->zero, room / 8);
    if (!zero)
        return xlx__nomem();
    memset(zero + w->room / 8, 0, (room - w->room) / 8);
    w->zero = zero;
    w->room = room;
    return 0;
}

static int collect(struct work *w, const char *data, uint64_t sum)
{
    int rc = w->num == w->room ? make_room(w) : 0;

    if (rc) return rc;
    if (xlx__saved_is_zero(data))
        w->zero[w->num / 8] |= (uint8_t)(1u << w->num % 8);
    w->sums[w->num++] = sum;
    return 0;
}

static int take_page(void *user, uint64_t word, const char *data)
{
    struct work *w = user;
    uint64_t sum;

    if (!data)
        return 0;
    sum = xlx__saved_sum(data, XLX__SAVE_PAGE);
    if (!w->against)
        return collect(w, data, sum);
    if (w->num < w->against->num && w->against->sums[w->num] != sum)
        return xlx__error(ERROR_INVAL, "the data of page 0x%llx of the guest "
                          "(number %llu in the file) is not what it was when "
                          "the index was made",
                          (unsigned long long)(word & XLX__SAVE_PFN_MASK),
                          (unsigned long long)w->num);
    w->num++;
    return 0;
}

static int take_rest(void *user, const void *bytes, size_t len, bool pages)
{
    struct work *w = user;

    (void)pages;
    xlx__saved_sum_add(w->rest, bytes, len);
    return 0;
}

static int tell(void *user, uint64_t at)
{
    struct work *w = user;

    return xlx__saved_progress(w->progress, w->path, at, w->size, &w->told);
}

static int read_file(struct work *w, int fd, struct xlx__saved_scan *scan,
                     uint64_t *rest_r)
{
    const struct xlx__saved_user user = {
        .user = w, .page = take_page, .tap = take_rest, .progress = tell,
    };
    int rc;

    w->rest = xlx__saved_sum_begin();
    if (!w->rest)
        return xlx__nomem();
    rc = xlx__saved_scan(fd, &user, scan);
    *rest_r = xlx__saved_sum_end(w->rest);
    return rc;
}

/* ---- which file --------------------------------------------------------- */

static int identify(int fd, uint64_t size, struct head *h)
{
    size_t len = size < ENDS ? (size_t)size : ENDS;
    char *end = malloc(ENDS);
    struct stat st;
    int rc;

    if (!end)
        return xlx__nomem();
    rc = fstat(fd, &st) ? xlx__error(xlx__errno_rc(errno), "%s",
                                     strerror(errno)) : 0;
    if (!rc)
        rc = xlx__saved_get(fd, end, len, 0);
    if (!rc) {
        h->begin_sum = xlx__saved_sum(end, len);
        rc = xlx__saved_get(fd, end, len, size - len);
    }
    if (!rc) {
        h->end_sum = xlx__saved_sum(end, len);
        h->dev = st.st_dev;
        h->ino = st.st_ino;
        h->size = size;
        h->mtime_sec = st.st_mtim.tv_sec;
        h->mtime_nsec = st.st_mtim.tv_nsec;
    }
    free(end);
    return rc;
}

/* ---- writing ------------------------------------------------------------ */

static void *run_table(const struct xlx__saved_map *map)
{
    struct index_run *runs = calloc(map->num + 1, sizeof(*runs));
    size_t i;

    for (i = 0; runs && i < map->num; i++) {
        runs[i] = (struct index_run){
            .pfn = map->runs[i].pfn, .count = map->runs[i].count,
            .page = map->runs[i].page, .offset = map->runs[i].offset,
            .data_type = map->runs[i].data_type, .type = map->runs[i].type,
        };
    }
    return runs;
}

static int put_index(const struct work *w, const struct xlx__saved_map *map,
                     struct head *h, const struct xlx__saved_file *f)
{
    size_t runs_len = map->num * sizeof(struct index_run);
    size_t zero_len = (size_t)(w->num + 7) / 8;
    size_t sums_len = (size_t)w->num * sizeof(*w->sums);
    struct xlx__saved_summing *sum = xlx__saved_sum_begin();
    void *runs = run_table(map);
    int rc = sum && runs ? 0 : xlx__nomem();

    if (!rc) {
        xlx__saved_sum_add(sum, runs, runs_len);
        xlx__saved_sum_add(sum, w->zero, zero_len);
        xlx__saved_sum_add(sum, w->sums, sums_len);
    }
    h->tables_sum = xlx__saved_sum_end(sum);
    h->sum = xlx__saved_sum(h, offsetof(struct head, sum));
    if (!rc)
        rc = xlx__saved_put(f->fd, f->path, h, sizeof(*h));
    if (!rc)
        rc = xlx__saved_put(f->fd, f->path, runs, runs_len);
    if (!rc)
        rc = xlx__saved_put(f->fd, f->path, w->zero, zero_len);
    if (!rc)
        rc = xlx__saved_put(f->fd, f->path, w->sums, sums_len);
    free(runs);
    return rc;
}

static int make_index(struct work *w, int fd, const char *index, bool force,
                      xlx_saved_verified *r)
{
    struct head h = { .magic = MAGIC, .version = 1 };
    struct xlx__saved_scan scan = { .config = NULL };
    struct xlx__saved_file f;
    int rc;

    rc = xlx__saved_file_begin(&f, index, force);
    if (!rc)
        rc = identify(fd, w->size, &h);
    if (!rc)
        rc = read_file(w, fd, &scan, &h.rest_sum);
    if (rc && rc != ERROR_ABORTED && rc != ERROR_DEVICE_EXISTS)
        rc = xlx__error_prefix(rc, "%s", w->path);
    h.stream_length = scan.length;
    h.num_runs = scan.map.num;
    h.num_pages = w->num;
    if (!rc)
        rc = put_index(w, &scan.map, &h, &f);
    if (!rc)
        rc = xlx__saved_file_end(&f);
    if (!rc)
        xlx__saved_sum_up(&scan, w->size, r);
    r->sums = w->num;
    xlx__saved_file_free(&f);
    xlx__saved_scan_free(&scan);
    return rc;
}

/* malloc()ed. */
static char *index_of(const char *path, const char *index)
{
    return index && *index ? strdup(index) : xlx__printf("%s.index", path);
}

int xlx__saved_index(xlx_ctx *ctx, const char *path, const char *index,
                     bool force, const xlx_progress *progress,
                     xlx_saved_verified *verified_r)
{
    struct work w = { .path = path, .progress = progress };
    char *name = index_of(path, index);
    int fd = -1, rc;

    (void)ctx;
    rc = name ? xlx__saved_open(path, &fd, &w.size) : xlx__nomem();
    if (!rc && xlx__saved_is_compact(fd))
        rc = xlx__error(ERROR_INVAL, "%s: it is compact, and has sums of its "
                        "own", path);
    if (!rc)
        rc = make_index(&w, fd, name, force, verified_r);
    if (!rc)
        rc = xlx__set_string(&verified_r->path, path);
    if (!rc)
        rc = xlx__set_string(&verified_r->index, name);
    if (fd >= 0)
        close(fd);
    free(w.sums);
    free(w.zero);
    free(name);
    return rc;
}

/* ---- using it ----------------------------------------------------------- */

static int damaged(void)
{
    return xlx__error(ERROR_INVAL, "the index is damaged; make it again with "
                      "xl save-index --force");
}

static int read_head(int fd, uint64_t size, struct head *h)
{
    uint64_t left = size - sizeof(*h);
    int rc;

    if (size < sizeof(*h))
        return damaged();
    rc = xlx__saved_get(fd, h, sizeof(*h), 0);
    if (rc) return rc;
    if (memcmp(h->magic, MAGIC, sizeof(h->magic)))
        return xlx__error(ERROR_INVAL, "it is not an index of a saved guest");
    if (h->sum != xlx__saved_sum(h, offsetof(struct head, sum)))
        return damaged();
    if (h->version != 1)
        return xlx__error(ERROR_VERSION, "the index is of version %u; use a "
                          "newer libxlx", h->version);
    if (h->num_runs > left / sizeof(struct index_run))
        return damaged();
    left -= h->num_runs * sizeof(struct index_run);
    if (h->num_pages > left / sizeof(uint64_t) ||
        left != h->num_pages * sizeof(uint64_t) + (h->num_pages + 7) / 8)
        return damaged();
    return 0;
}

static int read_sums(int fd, uint64_t size, struct xlx__saved_sums *s)
{
    struct head h;
    size_t len;
    int rc;

    rc = read_head(fd, size, &h);
    if (rc) return rc;
    len = (size_t)(size - sizeof(h));
    s->tables = malloc(len + 1);
    if (!s->tables)
        return xlx__nomem();
    rc = xlx__saved_get(fd, s->tables, len, sizeof(h));
    if (rc) return rc;
    if (xlx__saved_sum(s->tables, len) != h.tables_sum)
        return damaged();
    s->num = h.num_pages;
    s->sums = malloc((size_t)h.num_pages * sizeof(*s->sums) + 1);
    if (!s->sums)
        return xlx__nomem();
    /* behind a bitmap they are not aligned */
    memcpy(s->sums, s->tables + (len - h.num_pages * sizeof(*s->sums)),
           (size_t)h.num_pages * sizeof(*s->sums));
    s->rest_sum = h.rest_sum;
    s->size = h.size;
    s->begin_sum = h.begin_sum;
    s->end_sum = h.end_sum;
    return 0;
}

int xlx__saved_sums_open(const char *path, const char *index,
                         struct xlx__saved_sums *s)
{
    uint64_t size;
    int fd, rc;

    *s = (struct xlx__saved_sums){ .num = 0 };
    s->index = index_of(path, index);
    if (!s->index)
        return xlx__nomem();
    if (!(index && *index) && access(s->index, F_OK) && errno == ENOENT)
        return 0;                       /* there is none */
    rc = xlx__saved_open(s->index, &fd, &size);
    if (rc) return rc;
    rc = read_sums(fd, size, s);
    close(fd);
    if (rc)
        return xlx__error_prefix(rc, "%s", s->index);
    s->have = true;
    return 0;
}

void xlx__saved_sums_close(struct xlx__saved_sums *s)
{
    free(s->index);
    free(s->sums);
    free(s->tables);
    *s = (struct xlx__saved_sums){ .num = 0 };
}

int xlx__saved_sums_compare(const struct xlx__saved_sums *s, int fd,
                            const char *path, uint64_t size,
                            const xlx_progress *progress,
                            xlx_saved_verified *r)
{
    struct work w = {
        .path = path, .against = s, .progress = progress, .size = size,
    };
    struct xlx__saved_scan scan = { .config = NULL };
    struct head h = { .version = 1 };
    uint64_t rest = 0;
    int rc;

    rc = identify(fd, size, &h);
    if (rc) return rc;
    if (size != s->size || h.begin_sum != s->begin_sum)
        return xlx__error(ERROR_INVAL, "it is not the file that the index %s "
                          "was made of, or its begin has changed", s->index);
    rc = read_file(&w, fd, &scan, &rest);
    if (!rc && (rest != s->rest_sum || w.num != s->num ||
                h.end_sum != s->end_sum))
        rc = xlx__error(ERROR_INVAL, "it is not what it was when the index %s "
                        "was made: not in the data of pages", s->index);
    if (!rc)
        xlx__saved_sum_up(&scan, size, r);
    r->sums = w.num;
    xlx__saved_scan_free(&scan);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Has qemu-img written all that an image holds into the one below it?  Asked
 * after a merge and before the image is unlinked, because qemu-img's word is
 * not the storage's: for each piece of the guest's disk that is in the upper
 * file the lower one is read back.  "qemu-img map" tells where in the files
 * the pieces are, and the bytes are compared here.  So it costs what the merge
 * has cost, and not, like "qemu-img compare", what the disk is large.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/child.h"
#include "core/json.h"
#include "disk/image.h"

#define TIMEOUT_MS (10 * 60 * 1000)
#define MAX_TEXT (16 << 20)
/* A part of the guest's disk at a time, less where the map is too long. */
#define WINDOW (UINT64_C(64) << 30)
#define MIN_WINDOW (UINT64_C(1) << 20)
/* When the upper image has more, a part of each piece is compared. */
#define MAX_COMPARED (UINT64_C(4) << 30)
#define MIN_PART 65536
#define CHUNK 65536

static const struct xlx__json_limits limits = {
    .bytes = MAX_TEXT, .depth = 8,
};

/* One of the two images, as a file and as qemu-img gets it. */
struct side {
    struct xlx__image_files image;  /* borrows from the caller's */
    bool shared;
    int fd;                         /* for reading */
    struct xlx__json_doc *doc;      /* the map of one window ... */
    const struct xlx__json *next;   /* ... and how far it is read */
    uint64_t start, end;            /* the piece that was read last */
    int64_t offset;                 /* in the file, -1 when it is not there in
                                     * the clear */
    bool present, data;             /* in this image; and not only zeroes */
};

struct merge {
    xlx_ctx *ctx;
    struct side top, base;
    bool is_bottom;                 /* nothing is below the lower image */
    uint64_t divisor;               /* of long pieces */
};

/* ---- where the pieces are ----------------------------------------------- */

static int map_window(struct merge *m, struct side *s, uint64_t from,
                      uint64_t len)
{
    char start[48], max[48];
    const char *argv[] = {
        "qemu-img", "map", "--output=json", "-U", start, max, "--", NULL, NULL
    };
    struct xlx__child child = {
        .argv = argv, .timeout_ms = TIMEOUT_MS, .max_output = MAX_TEXT,
    };
    char *name = NULL, *text = NULL;
    size_t size;
    int rc;

    snprintf(start, sizeof(start), "--start-offset=%llu",
             (unsigned long long)from);
    snprintf(max, sizeof(max), "--max-length=%llu", (unsigned long long)len);
    xlx__json_free(s->doc);
    s->doc = NULL;
    rc = xlx__image_files_give(&s->image, 1, &child, &name);
    if (rc) goto out;
    child.as_owner = child.as_owner && s->shared;
    argv[7] = name;
    rc = xlx__child_run(m->ctx, &child, &text, &size);
    if (rc) goto out;
    rc = xlx__json_parse("qemu-img map", text, size, &limits, &s->doc);
    if (rc) goto out;
    rc = xlx__json_expect(xlx__json_root(s->doc), XLX__JSON_ARRAY);
    if (rc) goto out;
    s->next = xlx__json_first(xlx__json_root(s->doc));
    s->start = s->end = from;

 out:
    free(name);
    free(text);
    return rc;
}

/* The next piece; one that has no end when there is none. */
static int next_piece(struct side *s)
{
    const struct xlx__json *v = s->next;
    int64_t start, length;
    int rc;

    s->start = s->end;
    s->offset = -1;
    s->present = s->data = false;
    if (!v) {
        s->end = UINT64_MAX;
        return 0;
    }
    rc = xlx__json_member_int64(v, "start", &start);
    if (rc) return rc;
    rc = xlx__json_member_int64(v, "length", &length);
    if (rc) return rc;
    if (start < 0 || (uint64_t)start != s->end || length <= 0)
        return xlx__json_error(v, ERROR_INVAL, "is not the next piece");
    rc = xlx__json_member_bool(v, "data", &s->data);
    if (rc) return rc;
    s->present = s->data;           /* qemu-img before 6.1 does not say */
    if (xlx__json_member(v, "present")) {
        rc = xlx__json_member_bool(v, "present", &s->present);
        if (rc) return rc;
    }
    s->data = s->data && s->present;
    if (s->data && xlx__json_member(v, "offset")) {
        rc = xlx__json_member_int64(v, "offset", &s->offset);
        if (rc) return rc;
    }
    s->end = (uint64_t)start + (uint64_t)length;
    s->next = xlx__json_next(v);
    return 0;
}

/* ---- the bytes ---------------------------------------------------------- */

/* Reads the bytes there; bytes that the file lacks, or beyond its end, are
 * zero. */
static int read_piece(const struct side *s, uint64_t at, char *buf, size_t len)
{
    size_t done = 0;
    ssize_t r;

    memset(buf, 0, len);
    if (!s->data)
        return 0;
    while (done < len) {
        r = pread(s->fd, buf + done, len - done,
                  (off_t)(s->offset + (int64_t)(at - s->start) +
                          (int64_t)done));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return xlx__error(ERROR_FAIL, "it cannot be read back: %m");
        if (!r)
            break;
        done += (size_t)r;
    }
    return 0;
}

static int is_not_there(uint64_t at)
{
    return xlx__error(ERROR_FAIL, "qemu-img says that it is merged, and what "
                      "the guest wrote at byte %llu of its disk is not in the "
                      "image below: nothing is removed; look at the storage "
                      "(dmesg), and delete the snapshot again",
                      (unsigned long long)at);
}

static int compare_range(const struct merge *m, uint64_t from, uint64_t to)
{
    char top[CHUNK], base[CHUNK];
    size_t len;
    int rc;

    if (!m->base.present && !m->is_bottom)
        return is_not_there(from);
    for (; from < to; from += len) {
        len = to - from < CHUNK ? (size_t)(to - from) : CHUNK;
        rc = read_piece(&m->top, from, top, len);
        if (!rc)
            rc = read_piece(&m->base, from, base, len);
        if (rc) return rc;
        if (memcmp(top, base, len))
            return is_not_there(from);
    }
    return 0;
}

/* qemu-img does not give the place of pieces that are compressed or encrypted.
 */
static bool can_read(const struct side *s)
{
    return !s->data || s->offset >= 0;
}

static int compare_piece(struct merge *m)
{
    uint64_t from, to, end = m->top.end, part;
    int rc;

    part = (m->top.end - m->top.start) / m->divisor;
    if (m->divisor > 1 && part < MIN_PART)
        part = MIN_PART;
    if (m->top.start + part < end)
        end = m->top.start + part;
    while (m->base.start < end) {
        from = m->top.start > m->base.start ? m->top.start : m->base.start;
        to = end < m->base.end ? end : m->base.end;
        rc = from < to && can_read(&m->base) ? compare_range(m, from, to) : 0;
        if (rc) return rc;
        if (m->base.end > end)
            break;
        rc = next_piece(&m->base);
        if (rc) return rc;
    }
    return 0;
}

/* ---- a window ----------------------------------------------------------- */

static int compare_window(struct merge *m, uint64_t from, uint64_t len)
{
    bool mapped = false;
    int rc;

    rc = map_window(m, &m->top, from, len);
    while (!rc) {
        rc = next_piece(&m->top);
        if (rc || m->top.end == UINT64_MAX)
            break;
        if (!m->top.present || !can_read(&m->top))
            continue;
        if (!mapped) {
            rc = map_window(m, &m->base, from, len);
            if (rc) break;
            mapped = true;
        }
        rc = compare_piece(m);
    }
    return rc;
}

static int compare_all(struct merge *m, uint64_t size)
{
    uint64_t from = 0, len = WINDOW;
    int rc;

    while (from < size) {
        if (len > size - from)
            len = size - from;
        rc = compare_window(m, from, len);
        if (rc == ERROR_BUFFERFULL && len > MIN_WINDOW) {
            xlx__error_clear();
            len /= 2;
            continue;
        }
        if (rc) return rc;
        from += len;
    }
    return 0;
}

static void take_side(struct side *s, const struct xlx__image_files *files,
                      int i)
{
    char link[40];

    memset(s, 0, sizeof(*s));
    s->image.fd[0] = files->fd[i];
    s->image.st[0] = files->st[i];
    memcpy(s->image.format[0], files->format[i], sizeof(s->image.format[0]));
    s->image.num = 1;
    s->shared = files->shared;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", files->fd[i]);
    s->fd = open(link, O_RDONLY | O_CLOEXEC);
}

int xlx__image_check_merged(xlx_ctx *ctx, const struct xlx__image_files *files)
{
    struct merge m = { .ctx = ctx };
    uint64_t size, allocated = (uint64_t)files->st[0].st_blocks * 512;
    char link[40];
    int rc = 0;

    if (!*files->format[0] || !*files->format[1])
        return 0;
    take_side(&m.top, files, 0);
    take_side(&m.base, files, 1);
    m.is_bottom = files->num == 2;
    m.divisor = 1 + allocated / MAX_COMPARED;
    /* of NFS, root may be nobody */
    if (m.top.fd < 0 || m.base.fd < 0)
        goto out;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", m.top.fd);
    rc = xlx__image_size(ctx, link, files->format[0], &size);
    if (rc) goto out;
    rc = compare_all(&m, size);

 out:
    if (m.top.fd >= 0)
        close(m.top.fd);
    if (m.base.fd >= 0)
        close(m.base.fd);
    xlx__json_free(m.top.doc);
    xlx__json_free(m.base.doc);
    return rc;
}

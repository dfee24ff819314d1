/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads the stream of a saved guest; see save-stream.h.  The reader looks
 * after the frame: heads, lengths, and that the words of a PAGE_DATA record
 * agree with its length.  Which records there must be, and in which order, is
 * another question (saved-check.c).
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/save-stream.h"

#define LIBXL_IDENT UINT64_C(0x4c6962786c466d74)
#define LIBXC_MARKER UINT64_MAX
#define LIBXC_ID 0x58454e46
#define BIG_ENDIAN_OPTION 1

#define CONFIG_MAX (16u << 20)
/* libxc's own limit for a record, and a limit for its words: libxc writes
 * 1024 at a time, and more than 32768 with data do not fit into a record. */
#define LIBXC_RECORD_MAX (128u << 20)
#define WORDS_MAX 65536u

#define BUF_SIZE (256u << 10)
/* After something was passed over no more is read than most often the head and
 * the words of one PAGE_DATA record of 1024 pages. */
#define SHORT_READ (16u << 10)

struct libxl_head {                     /* big endian */
    uint64_t ident;
    uint32_t version, options;
};
struct libxc_head {                     /* big endian */
    uint64_t marker;
    uint32_t id, version;
    uint16_t options, reserved[3];
};
struct domain_head {
    uint32_t type;
    uint16_t page_shift, reserved;
    uint32_t major, minor;
};
struct record {
    uint32_t type, length;
};
struct page_data {
    uint32_t count, reserved;
};

/* ---- messages ----------------------------------------------------------- */

const char *xlx__save_record_name(bool libxc, uint32_t type,
                                  char buf[XLX__SAVE_NAME_MAX])
{
    static const char *const of_libxc[XLX__LIBXC_KNOWN] = {
        "END", "PAGE_DATA", "X86_PV_INFO", "X86_PV_P2M_FRAMES",
        "X86_PV_VCPU_BASIC", "X86_PV_VCPU_EXTENDED", "X86_PV_VCPU_XSAVE",
        "SHARED_INFO", "X86_TSC_INFO", "HVM_CONTEXT", "HVM_PARAMS",
        "TOOLSTACK", "X86_PV_VCPU_MSRS", "VERIFY", "CHECKPOINT",
        "CHECKPOINT_DIRTY_PFN_LIST", "STATIC_DATA_END", "X86_CPUID_POLICY",
        "X86_MSR_POLICY",
    };
    static const char *const of_libxl[] = {
        "END", "LIBXC_CONTEXT", "EMULATOR_XENSTORE_DATA", "EMULATOR_CONTEXT",
        "CHECKPOINT_END", "CHECKPOINT_STATE",
    };

    if (libxc && type < XLX__ARRAY_SIZE(of_libxc))
        return of_libxc[type];
    if (!libxc && type < XLX__ARRAY_SIZE(of_libxl))
        return of_libxl[type];
    snprintf(buf, XLX__SAVE_NAME_MAX, "0x%08x", type);
    return buf;
}

static void part_name(const struct xlx__save *s, char *buf, size_t size)
{
    char number[XLX__SAVE_NAME_MAX];
    bool libxc = s->part == XLX__SAVE_LIBXC_RECORD;

    switch (s->part) {
    case XLX__SAVE_BEGIN:
    case XLX__SAVE_XL:
        snprintf(buf, size, "xl's head");
        break;
    case XLX__SAVE_LIBXL:
        snprintf(buf, size, "the head of libxl's stream");
        break;
    case XLX__SAVE_LIBXC:
        snprintf(buf, size, "the head of libxc's stream");
        break;
    case XLX__SAVE_END:
        snprintf(buf, size, "the end");
        break;
    default:
        snprintf(buf, size, "%s record of %s",
                 xlx__save_record_name(libxc, s->type, number),
                 libxc ? "libxc" : "libxl");
    }
}

int xlx__save_error(const struct xlx__save *s, const char *fmt, ...)
{
    char name[96];
    va_list ap;
    int rc;

    part_name(s, name, sizeof(name));
    va_start(ap, fmt);
    rc = xlx__verror(ERROR_INVAL, fmt, ap);
    va_end(ap);
    return xlx__error_prefix(rc, "byte %"PRIu64", %s", s->offset, name);
}

/* ---- bytes -------------------------------------------------------------- */

int xlx__save_open(int fd, struct xlx__save **s_r)
{
    struct xlx__save *s;
    struct stat st;
    off_t end;

    if (fstat(fd, &st))
        return xlx__error(xlx__errno_rc(errno), "%s", strerror(errno));
    s = calloc(1, sizeof(*s));
    if (!s)
        return xlx__nomem();
    s->buf = malloc(BUF_SIZE);
    if (!s->buf) {
        free(s);
        return xlx__nomem();
    }
    s->fd = fd;
    s->size = UINT64_MAX;
    s->is_pipe = true;
    if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
        end = S_ISREG(st.st_mode) ? st.st_size : lseek(fd, 0, SEEK_END);
        if (end >= 0) {
            s->size = (uint64_t)end;
            s->is_pipe = false;
        }
    }
    *s_r = s;
    return 0;
}

void xlx__save_close(struct xlx__save *s)
{
    if (!s)
        return;
    free(s->word_room);
    free(s->buf);
    free(s);
}

static int cut_off(const struct xlx__save *s)
{
    if (s->part == XLX__SAVE_BEGIN && !s->buf_at && !s->have)
        return xlx__error(ERROR_INVAL, "is empty");
    return xlx__save_error(s, "the file is cut off here, at byte %"PRIu64,
                           s->buf_at + s->have);
}

/* Until need bytes from s->at on are in the buffer. */
static int fill(struct xlx__save *s, size_t need)
{
    size_t used = (size_t)(s->at - s->buf_at), want;
    ssize_t n;

    if (s->have - used >= need)
        return 0;
    memmove(s->buf, s->buf + used, s->have - used);
    s->buf_at += used;
    s->have -= used;
    want = s->passed_over && need < SHORT_READ ? SHORT_READ : BUF_SIZE;
    s->passed_over = false;
    while (s->have < need) {
        if (s->is_pipe)
            n = read(s->fd, s->buf + s->have, want - s->have);
        else
            n = pread(s->fd, s->buf + s->have, want - s->have,
                      (off_t)(s->buf_at + s->have));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return xlx__error(xlx__errno_rc(errno), "byte %"PRIu64": %s",
                              s->buf_at + s->have, strerror(errno));
        if (!n)
            return cut_off(s);
        s->have += (size_t)n;
    }
    return 0;
}

/* need is at most BUF_SIZE; *bytes_r is good until the next call. */
static int look(struct xlx__save *s, size_t need, const char **bytes_r)
{
    int rc = fill(s, need);

    if (rc) return rc;
    *bytes_r = s->buf + (s->at - s->buf_at);
    s->at += need;
    return 0;
}

/* Bytes of the frame or a record: the tap gets them. */
static int take(struct xlx__save *s, void *to, size_t len)
{
    const char *bytes;
    size_t n;
    int rc;

    for (; len; len -= n) {
        n = len < SHORT_READ ? len : SHORT_READ;
        rc = look(s, n, &bytes);
        if (rc) return rc;
        if (to)
            memcpy(to, bytes, n);
        to = to ? (char *)to + n : NULL;
        rc = s->tap ? s->tap(s->tap_user, bytes, n, s->pages) : 0;
        if (rc) return rc;
    }
    return 0;
}

static int pass_over(struct xlx__save *s, uint64_t len)
{
    uint64_t buffered = s->have - (s->at - s->buf_at);
    const char *bytes;
    size_t n;
    int rc;

    if (!s->is_pipe && len > buffered) {
        if (s->at > s->size || len > s->size - s->at) {
            s->buf_at = s->size;        /* for the message */
            s->have = 0;
            return cut_off(s);
        }
        s->at += len;
        s->buf_at = s->at;
        s->have = 0;
        s->passed_over = true;
        return 0;
    }
    for (; len; len -= n) {
        n = len < SHORT_READ ? (size_t)len : SHORT_READ;
        rc = look(s, n, &bytes);
        if (rc) return rc;
    }
    return 0;
}

/* ---- parts -------------------------------------------------------------- */

static void set_body(struct xlx__save *s, uint64_t length)
{
    s->length = s->left = length;
    s->padding = -length & 7;
}

/* xl's body is the config, which nothing is put behind. */
static int next_xl(struct xlx__save *s)
{
    struct xlx__save_head h;
    int rc;

    rc = take(s, &h, sizeof(h));
    if (rc) return rc;
    if (!xlx__is_save_magic(h.magic))
        return xlx__error(ERROR_INVAL, "is not what xl save writes");
    s->part = XLX__SAVE_XL;
    s->xl = h;
    if (h.byte_order != XLX__SAVE_BYTE_ORDER)
        return xlx__save_error(s, "its byte order is 0x%08x and not 0x%08x",
                               h.byte_order, XLX__SAVE_BYTE_ORDER);
    if (h.mandatory & ~(XLX__SAVE_JSON | XLX__SAVE_STREAM_V2 |
                        XLX__SAVE_COMPACT))
        return xlx__save_error(s, "the mandatory flags 0x%x are of a newer "
                               "xl", h.mandatory);
    if (!(h.mandatory & XLX__SAVE_STREAM_V2))
        return xlx__save_error(s, "the stream is of Xen before 4.6, which is "
                               "not read here");
    if (h.length > CONFIG_MAX)
        return xlx__save_error(s, "a config of %u bytes", h.length);
    set_body(s, h.length);
    s->padding = 0;
    return 0;
}

static int next_libxl(struct xlx__save *s)
{
    struct libxl_head h;
    int rc;

    s->part = XLX__SAVE_LIBXL;
    set_body(s, 0);
    rc = take(s, &h, sizeof(h));
    if (rc) return rc;
    if (be64toh(h.ident) != LIBXL_IDENT)
        return xlx__save_error(s, "it does not begin with \"LibxlFmt\"");
    if (be32toh(h.version) != 2)
        return xlx__save_error(s, "version %u is not known",
                               be32toh(h.version));
    if (be32toh(h.options) & BIG_ENDIAN_OPTION)
        return xlx__save_error(s, "it is of a big endian host");
    return 0;
}

static int next_libxc(struct xlx__save *s)
{
    struct libxc_head h;
    struct domain_head d;
    int rc;

    s->part = XLX__SAVE_LIBXC;
    s->in_libxc = s->seen_libxc = true;
    set_body(s, 0);
    rc = take(s, &h, sizeof(h));
    if (rc) return rc;
    if (h.marker != LIBXC_MARKER || be32toh(h.id) != LIBXC_ID)
        return xlx__save_error(s, "it does not begin with \"XENF\"");
    if (be32toh(h.version) != 2 && be32toh(h.version) != 3)
        return xlx__save_error(s, "version %u is not known",
                               be32toh(h.version));
    if (be16toh(h.options) & BIG_ENDIAN_OPTION)
        return xlx__save_error(s, "it is of a big endian host");
    rc = take(s, &d, sizeof(d));
    if (rc) return rc;
    if (d.type != 1 && d.type != 2)
        return xlx__save_error(s, "a guest of type %u is not known", d.type);
    if (d.page_shift != 12)
        return xlx__save_error(s, "pages of 2^%u bytes", d.page_shift);
    s->libxc.version = be32toh(h.version);
    s->libxc.type = d.type;
    s->libxc.xen_major = d.major;
    s->libxc.xen_minor = d.minor;
    return 0;
}

/* The head of PAGE_DATA is tapped when it is known what it is. */
static int take_record_head(struct xlx__save *s, struct record *r)
{
    const char *bytes;
    int rc;

    rc = look(s, sizeof(*r), &bytes);
    if (rc) return rc;
    memcpy(r, bytes, sizeof(*r));
    s->type = r->type;
    s->pages = s->in_libxc && r->type == XLX__LIBXC_PAGE_DATA;
    return s->tap ? s->tap(s->tap_user, r, sizeof(*r), s->pages) : 0;
}

static int next_record(struct xlx__save *s)
{
    struct record r;
    int rc;

    s->part = s->in_libxc ? XLX__SAVE_LIBXC_RECORD : XLX__SAVE_LIBXL_RECORD;
    s->type = UINT32_MAX;
    rc = take_record_head(s, &r);
    if (rc) return rc;
    if (s->in_libxc && r.length > LIBXC_RECORD_MAX)
        return xlx__save_error(s, "%u bytes are more than a record can have",
                               r.length);
    set_body(s, r.length);
    if (r.type == XLX__LIBXC_END) {     /* libxl's has the same number */
        if (r.length)
            return xlx__save_error(s, "it must be empty, and has %u bytes",
                                   r.length);
        if (s->in_libxc)
            s->in_libxc = false;
        else if (!s->seen_libxc)
            return xlx__save_error(s, "there was no stream of libxc's");
    }
    return 0;
}

static int finish_part(struct xlx__save *s)
{
    int rc;

    if (!s->left && !s->padding)
        return 0;
    if (s->tap && !s->pages)
        rc = take(s, NULL, (size_t)(s->left + s->padding));
    else
        rc = pass_over(s, s->left + s->padding);
    s->left = s->padding = 0;
    return rc;
}

int xlx__save_next(struct xlx__save *s)
{
    bool libxl_record = s->part == XLX__SAVE_LIBXL_RECORD;
    int rc;

    rc = finish_part(s);
    if (rc) return rc;
    s->offset = s->at;
    s->words = NULL;
    s->num_words = s->num_data = 0;
    s->pages = false;
    if (s->part == XLX__SAVE_BEGIN)
        return next_xl(s);
    if (s->part == XLX__SAVE_XL)
        return next_libxl(s);
    if (libxl_record && s->type == XLX__LIBXL_LIBXC_CONTEXT) {
        if (s->seen_libxc)
            return xlx__save_error(s, "a second stream of libxc's");
        return next_libxc(s);
    }
    if (s->part == XLX__SAVE_END ||
        (libxl_record && s->type == XLX__LIBXL_END)) {
        s->part = XLX__SAVE_END;
        return 0;
    }
    return next_record(s);
}

/* ---- bodies ------------------------------------------------------------- */

int xlx__save_body(struct xlx__save *s, void *to, size_t len)
{
    if (len > s->left)
        return xlx__save_error(s, "its %"PRIu64" bytes are too few",
                               s->length);
    s->left -= len;
    return take(s, to, len);
}

int xlx__save_body_all(struct xlx__save *s, size_t max, char **body_r)
{
    char *body, *more;
    size_t len = (size_t)s->left, have = 0, step, room = 0;
    int rc = 0;

    if (s->left > max)
        return xlx__save_error(s, "its %"PRIu64" bytes are too many",
                               s->length);
    /* Room only for what is there: the length may be a lie. */
    body = malloc(1);
    while (body && !rc && have < len) {
        step = len - have < BUF_SIZE ? len - have : BUF_SIZE;
        if (have + step > room) {
            room = 2 * room > have + step ? 2 * room : have + step;
            room = room > len ? len : room;
            more = realloc(body, room + 1);
            if (!more) {
                free(body);
                return xlx__nomem();
            }
            body = more;
        }
        rc = xlx__save_body(s, body + have, step);
        have += step;
    }
    if (!body)
        return xlx__nomem();
    if (rc) {
        free(body);
        return rc;
    }
    body[len] = '\0';
    *body_r = body;
    return 0;
}

static int check_words(struct xlx__save *s)
{
    unsigned int type;
    uint32_t i, data = 0;
    uint64_t bytes;

    for (i = 0; i < s->num_words; i++) {
        type = xlx__save_word_type(s->words[i]);
        if (type > XLX__PAGE_L4 && type < XLX__PAGE_L1_PINNED)
            return xlx__save_error(s, "page %u of it is of type %u, which is "
                                   "not known", i, type);
        data += xlx__save_has_data(type);
    }
    bytes = (uint64_t)data * XLX__SAVE_PAGE;
    if (s->left != bytes)
        return xlx__save_error(s, "its length of %"PRIu64" bytes does not "
                               "agree with %u pages, %u of them with data",
                               s->length, s->num_words, data);
    s->num_data = data;
    return 0;
}

int xlx__save_page_words(struct xlx__save *s)
{
    struct page_data h;
    int rc;

    rc = xlx__save_body(s, &h, sizeof(h));
    if (rc) return rc;
    if (!h.count)
        return xlx__save_error(s, "it has no pages");
    if (h.count > WORDS_MAX)
        return xlx__save_error(s, "%u pages are more than the %u that are "
                               "read at a time", h.count, WORDS_MAX);
    if (!s->word_room)
        s->word_room = malloc(WORDS_MAX * sizeof(*s->word_room));
    if (!s->word_room)
        return xlx__nomem();
    rc = xlx__save_body(s, s->word_room, h.count * sizeof(*s->word_room));
    if (rc) return rc;
    s->words = s->word_room;
    s->num_words = h.count;
    return check_words(s);
}

int xlx__save_page_data(struct xlx__save *s, const char **page_r)
{
    if (s->left < XLX__SAVE_PAGE)
        return xlx__save_error(s, "no more pages are in it");
    s->left -= XLX__SAVE_PAGE;
    return look(s, XLX__SAVE_PAGE, page_r);
}

uint64_t xlx__save_at(const struct xlx__save *s)
{
    return s->at;
}

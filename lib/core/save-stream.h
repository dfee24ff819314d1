/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stream of a saved guest, part by part: xl's head, libxl's stream, and
 * libxc's inside it (docs/specs/libxl-migration-stream and
 * libxc-migration-stream of Xen).  It is read once from its begin to its end,
 * out of a file or a pipe, in bounded memory; bodies that the caller does not
 * read are passed over.  Whatever is wrong is ERROR_INVAL, with the byte and
 * the record in the message; the caller puts the file's name before it.
 */
#ifndef XLX_SAVE_STREAM_H
#define XLX_SAVE_STREAM_H

#include "core/internal.h"
#include "core/save-head.h"

enum xlx__save_part {
    XLX__SAVE_BEGIN,                /* nothing was read yet */
    XLX__SAVE_XL,                   /* xl's head; the body is the config */
    XLX__SAVE_LIBXL,                /* the head of libxl's stream */
    XLX__SAVE_LIBXL_RECORD,
    XLX__SAVE_LIBXC,                /* the two heads of libxc's stream */
    XLX__SAVE_LIBXC_RECORD,
    XLX__SAVE_END,                  /* behind libxl's last record */
};

enum xlx__libxl_record {
    XLX__LIBXL_END, XLX__LIBXL_LIBXC_CONTEXT, XLX__LIBXL_XENSTORE_DATA,
    XLX__LIBXL_EMULATOR_CONTEXT, XLX__LIBXL_CHECKPOINT_END,
    XLX__LIBXL_CHECKPOINT_STATE,
};

enum xlx__libxc_record {
    XLX__LIBXC_END, XLX__LIBXC_PAGE_DATA, XLX__LIBXC_PV_INFO,
    XLX__LIBXC_PV_P2M_FRAMES, XLX__LIBXC_PV_VCPU_BASIC,
    XLX__LIBXC_PV_VCPU_EXTENDED, XLX__LIBXC_PV_VCPU_XSAVE,
    XLX__LIBXC_SHARED_INFO, XLX__LIBXC_TSC_INFO, XLX__LIBXC_HVM_CONTEXT,
    XLX__LIBXC_HVM_PARAMS, XLX__LIBXC_TOOLSTACK, XLX__LIBXC_PV_VCPU_MSRS,
    XLX__LIBXC_VERIFY, XLX__LIBXC_CHECKPOINT, XLX__LIBXC_DIRTY_PFN_LIST,
    XLX__LIBXC_STATIC_DATA_END, XLX__LIBXC_CPUID_POLICY,
    XLX__LIBXC_MSR_POLICY, XLX__LIBXC_KNOWN,
};

#define XLX__SAVE_OPTIONAL UINT32_C(0x80000000)  /* a type may be ignored */
#define XLX__SAVE_PAGE 4096u
#define XLX__SAVE_PFN_MASK ((UINT64_C(1) << 52) - 1)
#define XLX__SAVE_TYPE_SHIFT 60

/* Types of a page, bits 60 to 63 of its word in PAGE_DATA. */
enum {
    XLX__PAGE_NORMAL = 0x0, XLX__PAGE_L1 = 0x1, XLX__PAGE_L4 = 0x4,
    XLX__PAGE_L1_PINNED = 0x9, XLX__PAGE_L4_PINNED = 0xc,
    XLX__PAGE_BROKEN = 0xd, XLX__PAGE_ALLOCATED = 0xe,
    XLX__PAGE_ABSENT = 0xf,
};

struct xlx__save_libxc_head {
    uint32_t version;               /* 2 or 3 */
    uint32_t type;                  /* 1 PV, 2 HVM and PVH */
    uint32_t xen_major, xen_minor;
};

/* Gets every byte but the data of pages, in order; pages: of the head and the
 * words of PAGE_DATA. */
typedef int xlx__save_tap(void *user, const void *bytes, size_t len,
                          bool pages);

struct xlx__save {
    /* of the part that xlx__save_next() found */
    enum xlx__save_part part;
    uint32_t type;                  /* of a record */
    uint64_t length;                /* of its body */
    uint64_t offset;                /* of its head in the stream */
    struct xlx__save_head xl;
    struct xlx__save_libxc_head libxc;
    /* of a PAGE_DATA record, from xlx__save_page_words() on */
    const uint64_t *words;          /* type and pfn of each page */
    uint32_t num_words;
    uint32_t num_data;              /* that have data */

    xlx__save_tap *tap;             /* or NULL */
    void *tap_user;

    /* the reader's own */
    int fd;
    bool is_pipe;
    uint64_t size;                  /* of a file; no end for a pipe */
    char *buf;
    uint64_t buf_at;                /* where in the stream it begins */
    size_t have;                    /* bytes in it */
    uint64_t at;                    /* the next byte of the stream */
    bool passed_over;               /* so that the next read is short */
    uint64_t left;                  /* of the body */
    uint64_t padding;               /* behind the body */
    uint64_t *word_room;
    bool in_libxc, seen_libxc;
    bool pages;                     /* this is a PAGE_DATA record */
};

/* The descriptor stays the caller's.  A file is read with pread(). */
int xlx__save_open(int fd, struct xlx__save **s_r);
void xlx__save_close(struct xlx__save *s);

/* Passes over the rest of the part before. */
int xlx__save_next(struct xlx__save *s);
/* The next len bytes of the body; there must be so many. */
int xlx__save_body(struct xlx__save *s, void *to, size_t len);
/* All of the body into memory of its own, with a NUL behind; free() it. */
int xlx__save_body_all(struct xlx__save *s, size_t max, char **body_r);
/* The words of a PAGE_DATA record; checks its length against them. */
int xlx__save_page_words(struct xlx__save *s);
/* Then the data of each page that has some, in order.  *page_r is good until
 * the next call. */
int xlx__save_page_data(struct xlx__save *s, const char **page_r);
/* Where the data of the next page is in the stream. */
uint64_t xlx__save_at(const struct xlx__save *s);

static inline bool xlx__save_has_data(unsigned int type)
{
    return type < XLX__PAGE_BROKEN;
}
static inline unsigned int xlx__save_word_type(uint64_t word)
{
    return (unsigned int)(word >> XLX__SAVE_TYPE_SHIFT);
}

/* "PAGE_DATA record"; buf is for a number. */
#define XLX__SAVE_NAME_MAX 48
const char *xlx__save_record_name(bool libxc, uint32_t type,
                                  char buf[XLX__SAVE_NAME_MAX]);
/* ERROR_INVAL, and a message with the part and its offset. */
int xlx__save_error(const struct xlx__save *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes the reader of saved guests, of both forms, and of indexes.  The first
 * byte says what the rest is: a stream; what follows the heads of a stream,
 * with records in it that are as long as they say; a compact file whose sums
 * are made right; and whether one flag of xl's head is ours.  What can be read
 * is expanded, and then must read the same.
 */
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "saved/saved-pack.h"

static int file(const void *a, size_t a_len, const void *b, size_t b_len)
{
    int fd = memfd_create("saved", MFD_CLOEXEC);

    if (fd < 0 || write(fd, a, a_len) != (ssize_t)a_len ||
        write(fd, b, b_len) != (ssize_t)b_len)
        abort();
    return fd;
}

static char *path_of(int fd, char buf[40])
{
    snprintf(buf, 40, "/proc/self/fd/%d", fd);
    return buf;
}

static void expand_and_compare(int fd)
{
    int to = memfd_create("expanded", MFD_CLOEXEC);
    xlx_saved_expand_spec spec;
    xlx_saved_difference d;
    char a[40], b[40];

    if (to < 0)
        abort();
    xlx_saved_expand_spec_init(&spec);
    spec.path = path_of(fd, a);
    spec.fd = to;
    xlx_saved_difference_init(&d);
    if (xlx__saved_expand(NULL, &spec, NULL)) {
        check_message();                /* a page of the compact form */
    } else {
        if (xlx__saved_compare(NULL, a, path_of(to, b), NULL, &d))
            abort();
        if (d.num_ranges || !d.same_config)
            abort();
    }
    spec.path = NULL;
    xlx_saved_difference_dispose(&d);
    close(to);
}

static void try_file(int fd)
{
    xlx_saved_info info;
    xlx_saved_verified v;
    char path[40];
    int rc;

    xlx_saved_info_init(&info);
    xlx_saved_verified_init(&v);
    rc = xlx__saved_read(NULL, path_of(fd, path), &info);
    if (rc)
        check_message();
    else if (info.stream < 1 << 24)     /* the compact form can claim more */
        expand_and_compare(fd);
    if (xlx__saved_verify(NULL, path, NULL, NULL, &v))
        check_message();
    else if (rc)
        abort();
    xlx_saved_verified_dispose(&v);
    xlx_saved_info_dispose(&info);
    close(fd);
}

/* The sum of head and tail, when they are in the file. */
static void mend_frame(const char *copy, size_t all, struct xlx__pack_foot *f)
{
    struct xlx__saved_frame frame = { .split = 0 };
    struct xlx__saved_zstd *z = xlx__saved_zstd_new();
    struct xlx__save_head h;
    char *tail = malloc(1 << 20);

    if (!z || !tail)
        abort();
    if (f->head_length >= sizeof(h) && f->head_length <= all &&
        f->tail_at <= all && f->tail_stored <= all - f->tail_at &&
        f->tail_length <= 1 << 20 &&
        !xlx__saved_zstd_unpack(z, copy + f->tail_at, f->tail_stored, tail,
                                f->tail_length)) {
        memcpy(&h, copy, sizeof(h));
        h.mandatory &= ~XLX__SAVE_COMPACT;
        if (xlx__saved_frame_add(&frame, &h, sizeof(h)) ||
            xlx__saved_frame_add(&frame, copy + sizeof(h),
                                 f->head_length - sizeof(h)) ||
            xlx__saved_frame_add(&frame, tail, f->tail_length) ||
            xlx__saved_frame_sum(&frame, &f->frame_sum))
            abort();
    }
    xlx__saved_frame_free(&frame);
    xlx__saved_zstd_free(z);
    free(tail);
}

/* The sums of the foot, so that what it says is reached. */
static void try_compact(const char *data, size_t size)
{
    struct xlx__save_head h = {
        .magic = XLX__SAVE_MAGIC, .byte_order = XLX__SAVE_BYTE_ORDER,
        .mandatory = 3 | XLX__SAVE_COMPACT,
    };
    struct xlx__pack_foot f;
    char *copy = malloc(size);
    size_t all = size;

    if (size < sizeof(h) + sizeof(f)) {
        free(copy);
        return;
    }
    if (!copy)
        abort();
    memcpy(copy, data, size);
    memcpy(&h.length, copy + offsetof(struct xlx__save_head, length),
           sizeof(h.length));
    memcpy(copy, &h, sizeof(h));
    memcpy(&f, copy + all - sizeof(f), sizeof(f));
    memcpy(f.magic, XLX__PACK_MAGIC, sizeof(f.magic));
    f.version = 1;
    f.chunk_pages = XLX__PACK_CHUNK;
    f.size = all;
    mend_frame(copy, all, &f);
    if (f.tables_at < all - sizeof(f))
        f.tables_sum = xlx__saved_sum(copy + f.tables_at,
                                      all - sizeof(f) - f.tables_at);
    f.sum = xlx__saved_sum(&f, offsetof(struct xlx__pack_foot, sum));
    memcpy(copy + all - sizeof(f), &f, sizeof(f));
    try_file(file(copy, all, "", 0));
    free(copy);
}

static const char heads[] =
    "Xen saved domain, xl format\n \0 \r" "\4\3\2\1"
    "\3\0\0\0" "\0\0\0\0" "\0\0\0\0"
    "LibxlFmt" "\0\0\0\2" "\0\0\0\0"
    "\1\0\0\0" "\0\0\0\0"
    "\xff\xff\xff\xff\xff\xff\xff\xff" "XENF" "\0\0\0\3"
    "\0\0\0\0\0\0\0\0"
    "\2\0\0\0" "\14\0\0\0" "\4\0\0\0" "\21\0\0\0";

/* Each byte of the input, and its neighbour, is a record of a kind that there
 * is, so that a page needs two bytes and not 4096. */
static void try_records(const uint8_t *data, size_t size)
{
    static const char page[XLX__SAVE_PAGE] = "page";
    struct { uint32_t type, length, count, reserved; uint64_t word; } p = {
        .type = 1, .length = 16 + XLX__SAVE_PAGE, .count = 1,
    };
    static const struct { uint32_t type, length; } known[] = {
        { 0x10, 0 }, { 8, 24 }, { 9, 8 }, { 0, 0 }, { 13, 0 }, { 3, 8 },
        { 0x80000001, 0 },
    };
    static const char body[24] = "";
    int fd = file(heads, sizeof(heads) - 1, "", 0);
    size_t i, k;

    for (i = 0; i + 1 < size && i < 400; i += 2) {
        k = data[i] % 16;
        if (k < XLX__ARRAY_SIZE(known)) {
            if (write(fd, &known[k], 8) != 8 ||
                write(fd, body, known[k].length) < 0)
                abort();
            continue;
        }
        p.word = (uint64_t)(data[i] >> 4) << 60 | data[i + 1];
        p.length = data[i] >> 4 < 13 ? 16 + XLX__SAVE_PAGE : 16;
        if (write(fd, &p, sizeof(p)) < 0 ||
            (p.length > 16 && write(fd, page, sizeof(page)) < 0))
            abort();
    }
    try_file(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    switch (*data % 4) {
    case 0:
        try_file(file(data + 1, size - 1, "", 0));
        break;
    case 1:
        try_file(file(heads, sizeof(heads) - 1, data + 1, size - 1));
        break;
    case 2:
        try_records(data + 1, size - 1);
        break;
    default:
        try_compact((const char *)data + 1, size - 1);
    }
    return 0;
}

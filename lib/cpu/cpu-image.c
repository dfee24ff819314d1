/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The processor of a saved guest: the file of "xl save" has Xen's CPU policy
 * in its head, before any memory.  Three headers are nested: xl's, that of
 * libxl's stream, and that of libxc's, whose first records are wanted
 * (docs/specs/libxl-migration-stream and libxc-migration-stream of Xen).
 * Nothing is read behind these records.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/save-head.h"
#include "cpu/cpu.h"
#include "gen-calls.h"

#define LIBXL_IDENT UINT64_C(0x4c6962786c466d74)
#define LIBXC_MARKER UINT64_MAX
#define LIBXC_ID 0x58454e46
#define BIG_ENDIAN_OPTION 1

enum { LIBXL_LIBXC_CONTEXT = 1 };
enum {
    LIBXC_STATIC_DATA_END = 0x10,
    LIBXC_CPUID_POLICY = 0x11,
    LIBXC_MSR_POLICY = 0x12,
};

/* Some ten times what there can be. */
#define RECORDS_MAX 64
#define RECORD_MAX (64u << 10)
#define CONFIG_MAX (16u << 20)

struct libxl_header {                   /* big endian */
    uint64_t ident;
    uint32_t version, options;
};
struct libxc_header {                   /* big endian */
    uint64_t marker;
    uint32_t id, version;
    uint16_t options, reserved[3];
};
struct domain_header {
    uint32_t type;
    uint16_t page_shift, reserved;
    uint32_t major, minor;
};
struct record {
    uint32_t type, length;
};
struct leaf_entry {
    uint32_t leaf, subleaf, reg[4];
};
struct msr_entry {
    uint32_t index, flags;
    uint64_t value;
};
#define NO_SUBLEAF UINT32_MAX

static int take(FILE *f, void *to, size_t size)
{
    if (fread(to, size, 1, f) == 1 || !size)
        return 0;
    return ferror(f) ? xlx__error(xlx__errno_rc(errno), "%s", strerror(errno))
                     : xlx__error(ERROR_INVAL, "ends in the middle of its "
                                  "head");
}

static int skip(FILE *f, uint32_t size)
{
    char buf[4096];
    size_t n;
    int rc = 0;

    for (; !rc && size; size -= (uint32_t)n) {
        n = size < sizeof(buf) ? size : sizeof(buf);
        rc = take(f, buf, n);
    }
    return rc;
}

/* Bodies are filled up to a multiple of eight. */
static uint32_t padded(uint32_t length)
{
    return (length + 7) & ~UINT32_C(7);
}

/* ---- headers ------------------------------------------------------------ */

static int take_xl_header(FILE *f)
{
    struct xlx__save_head h;
    int rc;

    rc = take(f, &h, sizeof(h));
    if (rc)
        return rc;
    if (!xlx__is_save_head(&h) || h.length > CONFIG_MAX)
        return xlx__error(ERROR_INVAL, "is not what xl save writes");
    return skip(f, h.length);
}

/* Up to where libxc's stream begins. */
static int take_libxl_head(FILE *f)
{
    struct libxl_header h;
    struct record r;
    unsigned int i;
    int rc;

    rc = take(f, &h, sizeof(h));
    if (rc)
        return rc;
    if (be64toh(h.ident) != LIBXL_IDENT || be32toh(h.version) != 2 ||
        (be32toh(h.options) & BIG_ENDIAN_OPTION))
        return xlx__error(ERROR_INVAL, "libxl's stream is not of version 2");
    for (i = 0; i < RECORDS_MAX; i++) {
        rc = take(f, &r, sizeof(r));
        if (rc || r.type == LIBXL_LIBXC_CONTEXT)
            return rc;
        rc = r.length > RECORD_MAX
             ? xlx__error(ERROR_INVAL, "a record of %u bytes before libxc's "
                          "stream", r.length)
             : skip(f, padded(r.length));
        if (rc)
            return rc;
    }
    return xlx__error(ERROR_INVAL, "libxc's stream does not begin");
}

static int take_libxc_headers(FILE *f)
{
    struct libxc_header h;
    struct domain_header d;
    int rc;

    rc = take(f, &h, sizeof(h));
    if (rc)
        return rc;
    if (h.marker != LIBXC_MARKER || be32toh(h.id) != LIBXC_ID ||
        (be16toh(h.options) & BIG_ENDIAN_OPTION))
        return xlx__error(ERROR_INVAL, "has no stream of libxc's");
    if (be32toh(h.version) < 3)
        return xlx__error(ERROR_INVAL, "was saved by Xen before 4.14, and has "
                          "no CPU policy");
    return take(f, &d, sizeof(d));
}

/* ---- records ------------------------------------------------------------ */

static int add_leaves(const char *body, uint32_t length,
                      struct xlx__cpu_dump *d)
{
    struct xlx__cpu_leaf l;
    struct leaf_entry e;
    uint32_t at;
    int rc = 0;

    if (length % sizeof(e))
        return xlx__error(ERROR_INVAL, "a CPUID record of %u bytes", length);
    for (at = 0; !rc && at < length; at += sizeof(e)) {
        memcpy(&e, body + at, sizeof(e));
        l.leaf = e.leaf;
        l.subleaf = e.subleaf == NO_SUBLEAF ? 0 : e.subleaf;
        memcpy(l.reg, e.reg, sizeof(l.reg));
        rc = xlx__cpu_dump_leaf(d, &l);
    }
    return rc;
}

static int add_msrs(const char *body, uint32_t length,
                    struct xlx__cpu_dump *d)
{
    struct msr_entry e;
    uint32_t at;
    int rc = 0;

    if (length % sizeof(e))
        return xlx__error(ERROR_INVAL, "an MSR record of %u bytes", length);
    for (at = 0; !rc && at < length; at += sizeof(e)) {
        memcpy(&e, body + at, sizeof(e));
        rc = xlx__cpu_dump_msr(d, e.index, e.value);
    }
    return rc;
}

/* Up to the end of what does not change while a guest runs. */
static int take_records(FILE *f, char *body, struct xlx__cpu_dump *d)
{
    struct record r = { 0, 0 };
    unsigned int i;
    int rc = 0;

    for (i = 0; !rc && i < RECORDS_MAX; i++) {
        rc = take(f, &r, sizeof(r));
        if (rc || r.type == LIBXC_STATIC_DATA_END)
            break;
        if (r.length > RECORD_MAX)
            return xlx__error(ERROR_INVAL, "a record of %u bytes in the head "
                              "of libxc's stream", r.length);
        rc = take(f, body, padded(r.length));
        if (!rc && r.type == LIBXC_CPUID_POLICY)
            rc = add_leaves(body, r.length, d);
        if (!rc && r.type == LIBXC_MSR_POLICY)
            rc = add_msrs(body, r.length, d);
    }
    if (rc) return rc;
    if (r.type != LIBXC_STATIC_DATA_END)
        return xlx__error(ERROR_INVAL,
                          "the head of libxc's stream has no end");
    if (!d->num_leaves)
        return xlx__error(ERROR_INVAL, "has no CPU policy");
    return 0;
}

static int read_image(FILE *f, struct xlx__cpu *cpu_r)
{
    struct xlx__cpu_dump d = { .leaves = NULL };
    char *body = malloc(RECORD_MAX);
    int rc;

    rc = body ? take_xl_header(f)
              : xlx__nomem();
    if (rc) goto out;
    rc = take_libxl_head(f);
    if (rc) goto out;
    rc = take_libxc_headers(f);
    if (rc) goto out;
    rc = take_records(f, body, &d);
    if (rc) goto out;
    rc = xlx__cpu_decode(&d, cpu_r);

 out:
    xlx__cpu_dump_free(&d);
    free(body);
    return rc;
}

int xlx__cpu_image_read(xlx_ctx *ctx, const char *path, xlx_cpu *cpu_r)
{
    FILE *f = fopen(path, "re");
    struct xlx__cpu cpu;
    int rc;

    (void)ctx;
    if (!f)
        return xlx__error(xlx__errno_rc(errno), "%s: %s", path,
                          strerror(errno));
    rc = read_image(f, &cpu);
    fclose(f);
    if (rc)
        return xlx__error_prefix(rc, "%s", path);
    cpu.from = xlx__cpu_nearest(&cpu);
    return xlx__cpu_to_public(&cpu, cpu_r);
}

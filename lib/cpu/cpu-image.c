/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The processor of a saved guest: the file of "xl save" has Xen's CPU policy
 * in its head, before any memory, among the first records of libxc's stream.
 * Nothing is read behind these records.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/save-stream.h"
#include "cpu/cpu.h"
#include "gen-calls.h"

/* Some ten times what there can be. */
#define RECORDS_MAX 64
#define RECORD_MAX (64u << 10)

struct leaf_entry {
    uint32_t leaf, subleaf, reg[4];
};
struct msr_entry {
    uint32_t index, flags;
    uint64_t value;
};
#define NO_SUBLEAF UINT32_MAX

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

static bool is_static_end(const struct xlx__save *s)
{
    return s->part == XLX__SAVE_LIBXC_RECORD &&
           s->type == XLX__LIBXC_STATIC_DATA_END;
}

static int take_record(struct xlx__save *s, struct xlx__cpu_dump *d)
{
    bool leaves = s->type == XLX__LIBXC_CPUID_POLICY;
    char *body;
    int rc;

    if (s->part == XLX__SAVE_LIBXC && s->libxc.version < 3)
        return xlx__error(ERROR_INVAL, "was saved by Xen before 4.14, and has "
                          "no CPU policy");
    if (s->part != XLX__SAVE_LIBXC_RECORD ||
        (!leaves && s->type != XLX__LIBXC_MSR_POLICY))
        return 0;
    rc = xlx__save_body_all(s, RECORD_MAX, &body);
    if (rc) return rc;
    rc = leaves ? add_leaves(body, (uint32_t)s->length, d)
                : add_msrs(body, (uint32_t)s->length, d);
    free(body);
    return rc;
}

/* Up to the end of what does not change while a guest runs. */
static int take_records(struct xlx__save *s, struct xlx__cpu_dump *d)
{
    unsigned int i;
    int rc = 0;

    for (i = 0; !rc && i < RECORDS_MAX && !is_static_end(s); i++) {
        rc = xlx__save_next(s);
        if (!rc && s->length > RECORD_MAX && s->part != XLX__SAVE_XL)
            rc = xlx__save_error(s, "%llu bytes before the guest's memory",
                                 (unsigned long long)s->length);
        if (!rc)
            rc = take_record(s, d);
    }
    if (rc) return rc;
    if (!is_static_end(s))
        return xlx__error(ERROR_INVAL,
                          "the head of libxc's stream has no end");
    if (!d->num_leaves)
        return xlx__error(ERROR_INVAL, "has no CPU policy");
    return 0;
}

static int read_image(int fd, struct xlx__cpu *cpu_r)
{
    struct xlx__cpu_dump d = { .leaves = NULL };
    struct xlx__save *s = NULL;
    int rc;

    rc = xlx__save_open(fd, &s);
    if (rc) goto out;
    rc = take_records(s, &d);
    if (rc) goto out;
    rc = xlx__cpu_decode(&d, cpu_r);

 out:
    xlx__save_close(s);
    xlx__cpu_dump_free(&d);
    return rc;
}

int xlx__cpu_image_read(xlx_ctx *ctx, const char *path, xlx_cpu *cpu_r)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), rc;
    struct xlx__cpu cpu;

    (void)ctx;
    if (fd < 0)
        return xlx__error(xlx__errno_rc(errno), "%s: %s", path,
                          strerror(errno));
    rc = read_image(fd, &cpu);
    close(fd);
    if (rc)
        return xlx__error_prefix(rc, "%s", path);
    cpu.from = xlx__cpu_nearest(&cpu);
    return xlx__cpu_to_public(&cpu, cpu_r);
}

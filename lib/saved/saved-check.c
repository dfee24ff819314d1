/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which records a saved guest must have, in which order, and how long they
 * are: what libxl and libxc ask for when they restore it (xg_sr_restore*.c,
 * libxl_stream_read.c of Xen 4.17 to 4.20), so that a file is refused before a
 * guest is half made of it.  One thing is stricter: a page number beyond what
 * a processor can address.
 */
#include <inttypes.h>
#include <string.h>

#include "saved/saved.h"

#define CPUID_LEAF 24
#define MSR_ENTRY 16
#define TSC_INFO 24
#define VCPU_HEAD 8
#define VCPU_CONTEXT_64 5168
#define VCPU_CONTEXT_32 2800
#define VCPU_EXTENDED_MAX 128
#define VCPU_XSAVE_MIN 16
#define VCPU_MSR 16
/* libxc keeps this many bits of virtual processors. */
#define VCPU_MAX 8192

/* ---- bodies ------------------------------------------------------------- */

static int must_be(const struct xlx__save *s, bool right, const char *what)
{
    if (right)
        return 0;
    return xlx__save_error(s, "%"PRIu64" bytes: %s", s->length, what);
}

static int check_pv_info(struct xlx__saved_check *c, struct xlx__save *s)
{
    struct { uint8_t width, levels, reserved[6]; } info;
    int rc;

    if (c->pv_info)
        return xlx__save_error(s, "it is the second one");
    rc = xlx__save_body(s, &info, sizeof(info));
    if (rc) return rc;
    if (!(info.width == 8 && info.levels == 4) &&
        !(info.width == 4 && info.levels == 3))
        return xlx__save_error(s, "words of %u bytes and %u levels of page "
                               "tables", info.width, info.levels);
    c->pv_info = true;
    c->pv_width = info.width;
    return 0;
}

static int check_p2m_frames(struct xlx__saved_check *c, struct xlx__save *s)
{
    struct { uint32_t start, end; } range;
    uint64_t frames;
    uint32_t each;
    int rc;

    if (!c->pv_info)
        return xlx__save_error(s, "there was no X86_PV_INFO before it");
    if (s->libxc.version < 3)
        c->static_end = true;
    if (!c->static_end)
        return xlx__save_error(s, "there was no STATIC_DATA_END before it");
    rc = xlx__save_body(s, &range, sizeof(range));
    if (rc) return rc;
    if (range.start > range.end)
        return xlx__save_error(s, "its range is from 0x%x to 0x%x",
                               range.start, range.end);
    each = XLX__SAVE_PAGE / c->pv_width;
    frames = (uint64_t)range.end / each - range.start / each + 1;
    rc = must_be(s, s->length == sizeof(range) + 8 * frames,
                 "it does not agree with its range");
    if (rc) return rc;
    if (range.end > c->pv_max_pfn)
        c->pv_max_pfn = range.end;
    c->p2m_frames = true;
    return 0;
}

static int check_vcpu_size(const struct xlx__saved_check *c,
                           const struct xlx__save *s, uint64_t size)
{
    if (!size)                          /* older Xens wrote empty ones */
        return 0;
    switch (s->type) {
    case XLX__LIBXC_PV_VCPU_BASIC:
        return must_be(s, size == (c->pv_width == 8 ? VCPU_CONTEXT_64
                                                    : VCPU_CONTEXT_32),
                       "a virtual processor has another length");
    case XLX__LIBXC_PV_VCPU_EXTENDED:
        return must_be(s, size <= VCPU_EXTENDED_MAX, "too long");
    case XLX__LIBXC_PV_VCPU_XSAVE:
        return must_be(s, size >= VCPU_XSAVE_MIN, "too short");
    default:
        return must_be(s, !(size % VCPU_MSR), "not a whole number of MSRs");
    }
}

static int check_vcpu(struct xlx__saved_check *c, struct xlx__save *s)
{
    struct { uint32_t id, reserved; } head;
    int rc;

    if (!c->pv_info)
        return xlx__save_error(s, "there was no X86_PV_INFO before it");
    rc = xlx__save_body(s, &head, sizeof(head));
    if (rc) return rc;
    if (head.id >= VCPU_MAX)
        return xlx__save_error(s, "virtual processor %u", head.id);
    rc = check_vcpu_size(c, s, s->length - VCPU_HEAD);
    if (rc) return rc;
    if (s->type == XLX__LIBXC_PV_VCPU_BASIC && s->length > VCPU_HEAD)
        c->vcpu = true;
    return 0;
}

static int check_tsc(struct xlx__saved_check *c, struct xlx__save *s)
{
    struct { uint32_t mode, khz; } tsc;
    int rc;

    rc = must_be(s, s->length == TSC_INFO, "it must have 24");
    if (rc) return rc;
    rc = xlx__save_body(s, &tsc, sizeof(tsc));
    if (rc) return rc;
    c->tsc = true;
    c->tsc_mode = tsc.mode;
    c->tsc_khz = tsc.khz;
    return 0;
}

static int check_hvm_params(struct xlx__save *s)
{
    struct { uint32_t count, reserved; } head;
    int rc;

    rc = xlx__save_body(s, &head, sizeof(head));
    if (rc) return rc;
    return must_be(s, s->length == sizeof(head) + 16 * (uint64_t)head.count,
                   "it does not agree with its count");
}

static int check_policy(const struct xlx__saved_check *c,
                        const struct xlx__save *s)
{
    unsigned int size = s->type == XLX__LIBXC_CPUID_POLICY ? CPUID_LEAF
                                                           : MSR_ENTRY;

    if (c->static_end)
        return xlx__save_error(s, "it comes after STATIC_DATA_END");
    return must_be(s, s->length && !(s->length % size),
                   "not a whole number of entries");
}

static int check_static_end(struct xlx__saved_check *c,
                            const struct xlx__save *s)
{
    if (c->static_end)
        return xlx__save_error(s, "it is the second one");
    if (s->libxc.type == 1 && !c->pv_info)
        return xlx__save_error(s, "there was no X86_PV_INFO before it");
    c->static_end = true;
    return must_be(s, !s->length, "it must be empty");
}

/* ---- libxc's records ---------------------------------------------------- */

static int check_page_data(struct xlx__saved_check *c,
                           const struct xlx__save *s)
{
    bool pv = s->libxc.type == 1;

    if (s->libxc.version < 3 && !pv)
        c->static_end = true;           /* version 2 had no such record */
    if (!c->static_end)
        return xlx__save_error(s, "there was no STATIC_DATA_END before it");
    if (pv && !c->p2m_frames)
        return xlx__save_error(s, "there was no X86_PV_P2M_FRAMES before it");
    return 0;
}

static int check_end(const struct xlx__saved_check *c,
                     const struct xlx__save *s)
{
    if (!c->static_end && s->libxc.version > 2)
        return xlx__save_error(s, "there was no STATIC_DATA_END");
    if (s->libxc.type == 1 && !c->shared_info)
        return xlx__save_error(s, "there was no SHARED_INFO");
    if (s->libxc.type == 1 && !c->vcpu)
        return xlx__save_error(s, "there was no X86_PV_VCPU_BASIC");
    if (s->libxc.type == 2 && !c->hvm_context)
        return xlx__save_error(s, "there was no HVM_CONTEXT");
    return 0;
}

/* Records that only one kind of guest has. */
static int check_pv(struct xlx__saved_check *c, struct xlx__save *s)
{
    if (s->libxc.type != 1)
        return xlx__save_error(s, "only a PV guest has it, and this is not "
                               "one");
    switch (s->type) {
    case XLX__LIBXC_PV_INFO:
        return check_pv_info(c, s);
    case XLX__LIBXC_PV_P2M_FRAMES:
        return check_p2m_frames(c, s);
    case XLX__LIBXC_SHARED_INFO:
        c->shared_info = true;
        if (!c->pv_info)
            return xlx__save_error(s, "there was no X86_PV_INFO before it");
        return must_be(s, s->length == XLX__SAVE_PAGE, "it must have 4096");
    default:
        return check_vcpu(c, s);
    }
}

static int check_hvm(struct xlx__saved_check *c, struct xlx__save *s)
{
    if (s->libxc.type != 2)
        return xlx__save_error(s, "a PV guest does not have it, and this is "
                               "one");
    if (s->type == XLX__LIBXC_HVM_PARAMS)
        return check_hvm_params(s);
    c->hvm_context = true;
    return must_be(s, s->length, "it is empty");
}

static int check_other(const struct xlx__save *s)
{
    if (s->type & XLX__SAVE_OPTIONAL)
        return 0;                       /* libxc passes over it */
    if (s->type == XLX__LIBXC_CHECKPOINT ||
        s->type == XLX__LIBXC_DIRTY_PFN_LIST)
        return xlx__save_error(s, "it is of a guest that Remus or COLO keeps "
                               "in step, which is not saved");
    return xlx__save_error(s, "it is not known, and must be understood");
}

static int check_libxc_record(struct xlx__saved_check *c,
                              struct xlx__save *s)
{
    switch (s->type) {
    case XLX__LIBXC_END:
        return check_end(c, s);
    case XLX__LIBXC_PAGE_DATA:
        return check_page_data(c, s);
    case XLX__LIBXC_PV_INFO:
    case XLX__LIBXC_PV_P2M_FRAMES:
    case XLX__LIBXC_PV_VCPU_BASIC:
    case XLX__LIBXC_PV_VCPU_EXTENDED:
    case XLX__LIBXC_PV_VCPU_XSAVE:
    case XLX__LIBXC_PV_VCPU_MSRS:
    case XLX__LIBXC_SHARED_INFO:
        return check_pv(c, s);
    case XLX__LIBXC_HVM_CONTEXT:
    case XLX__LIBXC_HVM_PARAMS:
        return check_hvm(c, s);
    case XLX__LIBXC_TSC_INFO:
        return check_tsc(c, s);
    case XLX__LIBXC_VERIFY:
        c->verify = true;
        return must_be(s, !s->length, "it must be empty");
    case XLX__LIBXC_STATIC_DATA_END:
        return check_static_end(c, s);
    case XLX__LIBXC_CPUID_POLICY:
    case XLX__LIBXC_MSR_POLICY:
        return check_policy(c, s);
    default:
        return check_other(s);
    }
}

/* ---- libxl's records ---------------------------------------------------- */

static int check_emulator(struct xlx__saved_check *c, struct xlx__save *s)
{
    struct { uint32_t id, index; } head;
    int rc;

    if (!s->seen_libxc)
        return xlx__save_error(s, "it comes before libxc's stream");
    if (s->libxc.type == 1)
        return xlx__save_error(s, "a PV guest does not have it, and this is "
                               "one");
    rc = xlx__save_body(s, &head, sizeof(head));
    if (rc) return rc;
    if (head.id > 2)
        return xlx__save_error(s, "emulator %u is not known", head.id);
    if (s->type == XLX__LIBXL_EMULATOR_CONTEXT)
        c->emulator = true;
    return 0;
}

static int check_libxl_record(struct xlx__saved_check *c,
                              struct xlx__save *s)
{
    switch (s->type) {
    case XLX__LIBXL_END:
        return 0;
    case XLX__LIBXL_LIBXC_CONTEXT:
        return must_be(s, !s->length, "it must be empty");
    case XLX__LIBXL_XENSTORE_DATA:
    case XLX__LIBXL_EMULATOR_CONTEXT:
        return check_emulator(c, s);
    default:
        /* libxl also refuses those that may be ignored */
        return xlx__save_error(s, "libxl does not know it in a saved guest");
    }
}

int xlx__saved_check(struct xlx__saved_check *c, struct xlx__save *s)
{
    if (s->part == XLX__SAVE_LIBXC_RECORD)
        return check_libxc_record(c, s);
    if (s->part == XLX__SAVE_LIBXL_RECORD)
        return check_libxl_record(c, s);
    return 0;
}

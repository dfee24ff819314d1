/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU policies of the running hypervisor, through libxenguest: a policy is a
 * list of CPUID leaves and MSRs, and so is read as any dump is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xenctrl.h>
#include <xenguest.h>

#include "cpu/cpu.h"

#if defined(__x86_64__) || defined(__i386__)

/* ---- a policy as leaves ------------------------------------------------- */

struct xen {                            /* a connection, and a policy */
    xc_interface *xc;
    xc_cpu_policy_t *policy;
    xen_cpuid_leaf_t *leaves;
    xen_msr_entry_t *msrs;
    uint32_t num_leaves, num_msrs;
};

static void xen_close(struct xen *x)
{
    free(x->leaves);
    free(x->msrs);
    if (x->policy)
        xc_cpu_policy_destroy(x->policy);
    if (x->xc)
        xc_interface_close(x->xc);
}

static int xen_open(xlx_ctx *ctx, struct xen *x)
{
    memset(x, 0, sizeof(*x));
    x->xc = xc_interface_open(ctx->logger, ctx->logger, 0);
    if (!x->xc)
        return xlx__error(ERROR_FAIL, "no hypervisor to ask about the "
                          "processor: %s; is this dom0 of a Xen host?",
                          strerror(errno));
    if (xc_cpu_policy_get_size(x->xc, &x->num_leaves, &x->num_msrs))
        return xlx__error(xlx__errno_rc(errno), "Xen tells no CPU policy: %s",
                          strerror(errno));
    x->policy = xc_cpu_policy_init();
    x->leaves = calloc(x->num_leaves, sizeof(*x->leaves));
    x->msrs = calloc(x->num_msrs, sizeof(*x->msrs));
    if (!x->policy || !x->leaves || !x->msrs)
        return xlx__nomem();
    return 0;
}

/* The records of the policy, of which xen_open() made room for the most. */
static int add_records(const struct xen *x, struct xlx__cpu_dump *d)
{
    struct xlx__cpu_leaf l;
    uint32_t i;
    int rc = 0;

    for (i = 0; !rc && i < x->num_leaves; i++) {
        l.leaf = x->leaves[i].leaf;
        l.subleaf = x->leaves[i].subleaf == XEN_CPUID_NO_SUBLEAF
                    ? 0 : x->leaves[i].subleaf;
        l.reg[0] = x->leaves[i].a;
        l.reg[1] = x->leaves[i].b;
        l.reg[2] = x->leaves[i].c;
        l.reg[3] = x->leaves[i].d;
        rc = xlx__cpu_dump_leaf(d, &l);
    }
    for (i = 0; !rc && i < x->num_msrs; i++)
        rc = xlx__cpu_dump_msr(d, x->msrs[i].idx, x->msrs[i].val);
    return rc;
}

static int xen_decode(struct xen *x, struct xlx__cpu *cpu_r)
{
    struct xlx__cpu_dump d = { .leaves = NULL };
    int rc;

    if (xc_cpu_policy_serialise(x->xc, x->policy, x->leaves, &x->num_leaves,
                                x->msrs, &x->num_msrs))
        return xlx__error(xlx__errno_rc(errno), "Xen's CPU policy cannot be "
                          "read: %s", strerror(errno));
    rc = add_records(x, &d);
    if (rc) goto out;
    rc = xlx__cpu_decode(&d, cpu_r);

 out:
    xlx__cpu_dump_free(&d);
    return rc;
}

static const unsigned int numbers[] = {
    [XLX__CPU_POLICY_RAW] = XEN_SYSCTL_cpu_policy_raw,
    [XLX__CPU_POLICY_HOST] = XEN_SYSCTL_cpu_policy_host,
    [XLX__CPU_POLICY_PV_MAX] = XEN_SYSCTL_cpu_policy_pv_max,
    [XLX__CPU_POLICY_HVM_MAX] = XEN_SYSCTL_cpu_policy_hvm_max,
    [XLX__CPU_POLICY_PV_DEFAULT] = XEN_SYSCTL_cpu_policy_pv_default,
    [XLX__CPU_POLICY_HVM_DEFAULT] = XEN_SYSCTL_cpu_policy_hvm_default,
};

/* ---- a policy for a guest ----------------------------------------------- */


static uint32_t *reg_of(xen_cpuid_leaf_t *l, unsigned int reg)
{
    return reg == 0 ? &l->a : reg == 1 ? &l->b : reg == 2 ? &l->c : &l->d;
}

/* The leaf, with nothing in it if there was none; NULL if there is no room. */
static xen_cpuid_leaf_t *leaf_of(struct xen *x, uint32_t room, uint32_t leaf,
                                 uint32_t subleaf)
{
    xen_cpuid_leaf_t *l = x->leaves;

    for (; l < x->leaves + x->num_leaves; l++)
        if (l->leaf == leaf && (l->subleaf == XEN_CPUID_NO_SUBLEAF ||
                                l->subleaf == subleaf))
            return l;
    if (x->num_leaves == room)
        return NULL;
    x->num_leaves++;
    *l = (xen_cpuid_leaf_t){ .leaf = leaf, .subleaf = subleaf };
    return l;
}

static void write_msr(struct xen *x, const struct xlx__cpu_word *w,
                      uint32_t value)
{
    unsigned int shift = w->reg ? 32 : 0;
    uint32_t i;

    for (i = 0; i < x->num_msrs; i++)
        if (x->msrs[i].idx == w->index)
            x->msrs[i].val = (x->msrs[i].val &
                              ~((uint64_t)UINT32_MAX << shift)) |
                             (uint64_t)value << shift;
}

/* Levels and signature; false if there is no room. */
static bool write_numbers(struct xen *x, uint32_t room,
                          const struct xlx__cpu *cpu)
{
    xen_cpuid_leaf_t *basic = leaf_of(x, room, 0, 0);
    xen_cpuid_leaf_t *extended = leaf_of(x, room, XLX__CPU_EXTENDED, 0);
    xen_cpuid_leaf_t *first = leaf_of(x, room, 1, 0);
    uint32_t family = cpu->family < 15 ? cpu->family : 15;

    if (!basic || !extended || !first)
        return false;
    basic->a = cpu->level;
    memcpy(&basic->b, cpu->vendor, 4);
    memcpy(&basic->d, cpu->vendor + 4, 4);
    memcpy(&basic->c, cpu->vendor + 8, 4);
    extended->a = cpu->xlevel;
    first->a = (cpu->family - family) << 20 | (cpu->model >> 4 & 15) << 16 |
               family << 8 | (cpu->model & 15) << 4 | (cpu->stepping & 15);
    return true;
}

static bool write_features(struct xen *x, uint32_t room,
                           const struct xlx__cpu *cpu)
{
    const struct xlx__cpu_word *w = xlx__cpu_words;
    xen_cpuid_leaf_t *l;
    uint32_t value, *reg;
    unsigned int i;

    for (i = 0; i < XLX__CPU_XEN_WORDS; i++, w++) {
        value = cpu->features.word[i];
        if (w->msr) {
            write_msr(x, w, value);
            continue;
        }
        l = leaf_of(x, room, w->index,
                    w->subleaf == XLX__CPU_NONE ? 0 : w->subleaf);
        if (!l)
            return false;
        reg = reg_of(l, w->reg);
        if (i == XLX__CPU_SYSCALL / 32)
            value |= *reg & XLX__CPU_REPEATED;
        *reg = value;
        if (w->index == 7 && w->subleaf && value) {
            l = leaf_of(x, room, 7, 0);
            if (l && l->a < w->subleaf)
                l->a = w->subleaf;
        }
    }
    return true;
}

int xlx__cpu_xen_give(xlx_ctx *ctx, uint32_t domid, bool pv,
                      const struct xlx__cpu *cpu)
{
    uint32_t leaf = UINT32_MAX, subleaf = UINT32_MAX, msr = UINT32_MAX;
    uint32_t room;
    struct xen x;
    int rc;

    rc = xen_open(ctx, &x);
    room = x.num_leaves;
    if (!rc && (xc_cpu_policy_get_system(x.xc, pv
                    ? XEN_SYSCTL_cpu_policy_pv_default
                    : XEN_SYSCTL_cpu_policy_hvm_default, x.policy) ||
                xc_cpu_policy_serialise(x.xc, x.policy, x.leaves,
                                        &x.num_leaves, x.msrs, &x.num_msrs)))
        rc = xlx__error(xlx__errno_rc(errno), "Xen does not tell its CPU "
                        "policy for guests: %s", strerror(errno));
    if (!rc && (!write_numbers(&x, room, cpu) ||
                !write_features(&x, room, cpu)))
        rc = xlx__error(ERROR_FAIL, "more leaves than a policy of this Xen "
                        "can have");
    if (!rc && xc_set_domain_cpu_policy(x.xc, domid, x.num_leaves, x.leaves,
                                        x.num_msrs, x.msrs, &leaf, &subleaf,
                                        &msr))
        rc = msr == UINT32_MAX
             ? xlx__error(ERROR_INVAL, "Xen refuses its CPUID leaf %#x, "
                          "sub-leaf %#x: %s", leaf, subleaf, strerror(errno))
             : xlx__error(ERROR_INVAL, "Xen refuses its MSR %#x: %s", msr,
                          strerror(errno));
    xen_close(&x);
    return rc;
}

/* ---- for the other files ------------------------------------------------ */

int xlx__cpu_xen_system(xlx_ctx *ctx, enum xlx__cpu_policy which,
                        struct xlx__cpu *cpu_r)
{
    struct xen x;
    int rc;

    rc = xen_open(ctx, &x);
    if (rc) goto out;
    if (xc_cpu_policy_get_system(x.xc, numbers[which], x.policy))
        rc = xlx__error(xlx__errno_rc(errno), "Xen does not tell its CPU "
                        "policy %u: %s", numbers[which], strerror(errno));
    if (rc) goto out;
    rc = xen_decode(&x, cpu_r);

 out:
    xen_close(&x);
    return rc;
}

int xlx__cpu_xen_domain(xlx_ctx *ctx, uint32_t domid, struct xlx__cpu *cpu_r)
{
    struct xen x;
    int rc;

    rc = xen_open(ctx, &x);
    if (rc) goto out;
    if (xc_cpu_policy_get_domain(x.xc, domid, x.policy))
        rc = errno == ESRCH
             ? xlx__error(ERROR_DOMAIN_NOTFOUND, "no domain %u", domid)
             : xlx__error(xlx__errno_rc(errno), "Xen does not tell the CPU "
                          "policy of domain %u: %s", domid, strerror(errno));
    if (rc) goto out;
    rc = xen_decode(&x, cpu_r);

 out:
    xen_close(&x);
    return rc;
}

int xlx__cpu_xen_gives(bool pv, bool most, struct xlx__cpu_set *set_r)
{
    static const enum xc_static_cpu_featuremask masks[2][2] = {
        { XC_FEATUREMASK_HVM_HAP_DEF, XC_FEATUREMASK_HVM_HAP_MAX },
        { XC_FEATUREMASK_PV_DEF, XC_FEATUREMASK_PV_MAX },
    };
    const uint32_t *mask = xc_get_static_cpu_featuremask(masks[pv][most]);
    uint32_t i, words = xc_get_cpu_featureset_size();

    memset(set_r, 0, sizeof(*set_r));
    for (i = 0; mask && i < words && i < XLX__CPU_WORDS; i++)
        set_r->word[i] = mask[i];
    return 0;
}

#else

static int no_x86(void)
{
    return xlx__error(ERROR_NI, "this machine is not an x86");
}

int xlx__cpu_xen_system(xlx_ctx *ctx, enum xlx__cpu_policy which,
                        struct xlx__cpu *cpu_r)
{
    (void)ctx, (void)which, (void)cpu_r;
    return no_x86();
}

int xlx__cpu_xen_domain(xlx_ctx *ctx, uint32_t domid, struct xlx__cpu *cpu_r)
{
    (void)ctx, (void)domid, (void)cpu_r;
    return no_x86();
}

int xlx__cpu_xen_give(xlx_ctx *ctx, uint32_t domid, bool pv,
                      const struct xlx__cpu *cpu)
{
    (void)ctx, (void)domid, (void)pv, (void)cpu;
    return no_x86();
}

int xlx__cpu_xen_gives(bool pv, bool most, struct xlx__cpu_set *set_r)
{
    (void)pv, (void)most, (void)set_r;
    return no_x86();
}

#endif

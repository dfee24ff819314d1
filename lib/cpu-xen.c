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

#include "cpu.h"

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
        return xlx__error(ERROR_NOMEM, "out of memory");
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
    struct xlx__cpu_dump d = { NULL, 0, NULL, 0 };
    int rc;

    if (xc_cpu_policy_serialise(x->xc, x->policy, x->leaves, &x->num_leaves,
                                x->msrs, &x->num_msrs))
        return xlx__error(xlx__errno_rc(errno), "Xen's CPU policy cannot be "
                          "read: %s", strerror(errno));
    rc = add_records(x, &d);
    if (!rc)
        rc = xlx__cpu_decode(&d, cpu_r);
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

/* ---- for the other files ------------------------------------------------ */

int xlx__cpu_xen_system(xlx_ctx *ctx, enum xlx__cpu_policy which,
                        struct xlx__cpu *cpu_r)
{
    struct xen x;
    int rc;

    rc = xen_open(ctx, &x);
    if (!rc && xc_cpu_policy_get_system(x.xc, numbers[which], x.policy))
        rc = xlx__error(xlx__errno_rc(errno), "Xen does not tell its CPU "
                        "policy %u: %s", numbers[which], strerror(errno));
    if (!rc)
        rc = xen_decode(&x, cpu_r);
    xen_close(&x);
    return rc;
}

int xlx__cpu_xen_domain(xlx_ctx *ctx, uint32_t domid, struct xlx__cpu *cpu_r)
{
    struct xen x;
    int rc;

    rc = xen_open(ctx, &x);
    if (!rc && xc_cpu_policy_get_domain(x.xc, domid, x.policy))
        rc = errno == ESRCH
             ? xlx__error(ERROR_DOMAIN_NOTFOUND, "no domain %u", domid)
             : xlx__error(xlx__errno_rc(errno), "Xen does not tell the CPU "
                          "policy of domain %u: %s", domid, strerror(errno));
    if (!rc)
        rc = xen_decode(&x, cpu_r);
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
    return xlx__error(ERROR_NI, "this machine is no x86");
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

int xlx__cpu_xen_gives(bool pv, bool most, struct xlx__cpu_set *set_r)
{
    (void)pv, (void)most, (void)set_r;
    return no_x86();
}

#endif

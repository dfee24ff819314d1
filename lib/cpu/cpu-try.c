/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A processor tried out on the hypervisor.  A domain without memory, virtual
 * CPU or name, which never runs, is given the policy, and Xen is asked what it
 * has made of it.  The domain has a UUID of its own, and there is one such
 * domain at a time: what a killed process left is known, and goes with the
 * next trial.
 */
#include <errno.h>
#include <string.h>

#include <xenctrl.h>

#include "core/lock.h"
#include "core/store.h"
#include "cpu/cpu.h"
#include "gen-calls.h"

#if defined(__x86_64__) || defined(__i386__)

#define LIST 64                         /* domains asked for at a time */

/* The UUID of the domain; made once, by chance. */
static const xen_domain_handle_t handle = {
    0x5b, 0x0d, 0x1a, 0xe2, 0x6c, 0x7f, 0x4b, 0x0e,
    0x9a, 0x53, 0x2d, 0xc8, 0x41, 0x97, 0xf6, 0x30,
};

/* ---- the domain --------------------------------------------------------- */

static int destroy_left_behind(xc_interface *xc)
{
    xc_domaininfo_t list[LIST];
    uint32_t from = 0;
    int i, num;

    do {
        num = xc_domain_getinfolist(xc, from, LIST, list);
        if (num < 0)
            return xlx__error(xlx__errno_rc(errno), "Xen does not list its "
                              "domains: %s", strerror(errno));
        for (i = 0; i < num; i++) {
            from = list[i].domain + 1u;
            if (!memcmp(list[i].handle, handle, sizeof(handle)) &&
                xc_domain_destroy(xc, list[i].domain))
                return xlx__error(xlx__errno_rc(errno), "domain %u, left of "
                                  "an earlier trial, cannot be destroyed: %s",
                                  list[i].domain, strerror(errno));
        }
    } while (num == LIST);
    return 0;
}

static int create(xc_interface *xc, const struct xlx__cpu *cpu, bool pv,
                  uint32_t *domid_r)
{
    struct xen_domctl_createdomain config = {
        .max_vcpus = 1,
        .max_grant_frames = 1,
        .grant_opts = XEN_DOMCTL_GRANT_version(1),
    };
    xc_physinfo_t info = { 0 };

    memcpy(config.handle, handle, sizeof(handle));
    if (xc_physinfo(xc, &info))
        return xlx__error(xlx__errno_rc(errno), "Xen does not describe the "
                          "host: %s", strerror(errno));
    if (!pv) {
        config.flags = XEN_DOMCTL_CDF_hvm;
        config.arch.emulation_flags = XEN_X86_EMU_LAPIC;
        if (info.capabilities & XEN_SYSCTL_PHYSCAP_hap)
            config.flags |= XEN_DOMCTL_CDF_hap;
        if (xlx__cpu_has(&cpu->features, XLX__CPU_VMX) ||
            xlx__cpu_has(&cpu->features, XLX__CPU_SVM))
            config.flags |= XEN_DOMCTL_CDF_nested_virt;
    }
#ifdef DOMID_ANY
    *domid_r = DOMID_ANY;
#else
    *domid_r = DOMID_INVALID;           /* any that is free */
#endif
    if (xc_domain_create(xc, domid_r, &config))
        return xlx__error(xlx__errno_rc(errno), "Xen does not create an empty "
                          "domain to try it on: %s", strerror(errno));
    return 0;
}

/* ---- the call ----------------------------------------------------------- */

static int try_here(xlx_ctx *ctx, xc_interface *xc,
                    const struct xlx__cpu *cpu, bool pv,
                    struct xlx__cpu *cpu_r)
{
    uint32_t domid;
    int rc;

    rc = destroy_left_behind(xc);
    if (!rc)
        rc = create(xc, cpu, pv, &domid);
    if (rc)
        return rc;
    xlx__fault("cpu-try.created");
    rc = xlx__cpu_xen_give(ctx, domid, pv, cpu);
    if (!rc)
        rc = xlx__cpu_xen_domain(ctx, domid, cpu_r);
    if (xc_domain_destroy(xc, domid) && !rc)
        rc = xlx__error(xlx__errno_rc(errno), "domain %u, made for a trial, "
                        "cannot be destroyed: %s", domid, strerror(errno));
    return rc;
}

int xlx__cpu_try(xlx_ctx *ctx, const xlx_cpu *p, bool pv, xlx_cpu *cpu_r)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    struct xlx__cpu cpu, got;
    xc_interface *xc = NULL;
    int rc;

    rc = xlx__cpu_from_public(p, &cpu);
    if (!rc)
        rc = xlx__lock_host(ctx, "cpu-try", &lock);
    if (rc)
        goto out;
    xc = xc_interface_open(ctx->logger, ctx->logger, 0);
    if (!xc) {
        rc = xlx__error(ERROR_FAIL, "no hypervisor to try the processor on: "
                        "%s; is this dom0 of a Xen host?", strerror(errno));
        goto out;
    }
    rc = try_here(ctx, xc, &cpu, pv, &got);
    if (rc)
        goto out;
    got.from = xlx__cpu_nearest(&got);
    rc = xlx__cpu_to_public(&got, cpu_r);

 out:
    if (xc)
        xc_interface_close(xc);
    xlx__unlock(&lock);
    return rc;
}

#else

int xlx__cpu_try(xlx_ctx *ctx, const xlx_cpu *p, bool pv, xlx_cpu *cpu_r)
{
    (void)ctx, (void)p, (void)pv, (void)cpu_r;
    return xlx__error(ERROR_NI, "this machine is not an x86");
}

#endif

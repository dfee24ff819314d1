/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Xen hosts: what is there, what Xen uses of it, the most that it can give a
 * guest and what it gives usually; from the hypervisor, from text, or
 * predicted from the hardware.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "gen-calls.h"

#define JSON_BYTES (1u << 20)
#define JSON_DEPTH 8

/* The four policies of a host: where they are kept, and what each is called
 * in a hypercall and by xen-cpuid. */
static const struct {
    size_t to;
    struct {
        enum xlx__cpu_policy number;
        const char *title;
    } of[2];                            /* for HVM, for PV */
} policies[] = {
    { offsetof(xlx_cpu_host, hardware),
      { { XLX__CPU_POLICY_RAW, "Raw" },
        { XLX__CPU_POLICY_RAW, "Raw" } } },
    { offsetof(xlx_cpu_host, xen),
      { { XLX__CPU_POLICY_HOST, "Host" },
        { XLX__CPU_POLICY_HOST, "Host" } } },
    { offsetof(xlx_cpu_host, most),
      { { XLX__CPU_POLICY_HVM_MAX, "HVM Max" },
        { XLX__CPU_POLICY_PV_MAX, "PV Max" } } },
    { offsetof(xlx_cpu_host, usual),
      { { XLX__CPU_POLICY_HVM_DEFAULT, "HVM Default" },
        { XLX__CPU_POLICY_PV_DEFAULT, "PV Default" } } },
};

/* A policy becomes one of the host's. */
static int put(struct xlx__cpu *cpu, size_t to, xlx_cpu_host *host)
{
    cpu->from = xlx__cpu_nearest(cpu);
    return xlx__cpu_to_public(cpu, (xlx_cpu *)((char *)host + to));
}

/* ---- from text ---------------------------------------------------------- */

/* Where Xen has no HVM, or no PV, it has policies with nothing in them. */
static int check_kind(const struct xlx__cpu_dump *d, const char *title)
{
    if (d->num_leaves)
        return 0;
    return strncmp(title, "PV", 2) ?
        xlx__error(ERROR_INVAL, "Xen has no HVM on that host, because it "
                   "lacks VT-x or AMD-V or has it switched off: only PV "
                   "guests run there (--pv)") :
        xlx__error(ERROR_INVAL, "Xen has no PV guests on that host: leave "
                   "--pv out");
}

static int read_policy(const char *text, const char *title,
                       struct xlx__cpu *cpu_r)
{
    struct xlx__cpu_dump d = { .leaves = NULL };
    int rc;

    rc = xlx__cpu_dump_policy(text, title, &d);
    if (rc == ERROR_NOTFOUND)
        xlx__error(rc, "no \"%s policy\", though there is another: is it all "
                   "of the output of xen-cpuid -p?", title);
    if (!rc)
        rc = check_kind(&d, title);
    if (!rc)
        rc = xlx__cpu_decode(&d, cpu_r);
    xlx__cpu_dump_free(&d);
    return rc ? ERROR_INVAL : 0;
}

/* False if it is not the JSON of a host; it may be that of a processor. */
static bool read_json(const char *name, const char *text,
                      xlx_cpu_host *host_r, int *rc_r)
{
    const struct xlx__json_limits limits = { JSON_BYTES, JSON_DEPTH };
    struct xlx__json_doc *doc = NULL;
    bool is_host = true;

    *rc_r = xlx__json_parse(name, text, strlen(text), &limits, &doc);
    if (!*rc_r) {
        is_host = xlx__json_member(xlx__json_root(doc), "hardware");
        if (is_host)
            *rc_r = xlx__cpu_host_parse(xlx__json_root(doc), host_r);
    }
    xlx__json_free(doc);
    return is_host;
}

/* XAPI's words for guests already are what Xen gives at most: nothing is to be
 * predicted.  They tell no levels. */
static int put_given(struct xlx__cpu *cpu, xlx_cpu_host *host_r)
{
    const unsigned int last = XLX__CPU_NULL_SEL_CLR_BASE / 32;
    size_t i;
    int rc = 0;

    cpu->level = XLX__CPU_MAX_LEVEL;
    cpu->xlevel = cpu->features.word[last] ? XLX__CPU_MAX_XLEVEL
                                           : XLX__CPU_EXTENDED + 8;
    for (i = 0; !rc && i < XLX__ARRAY_SIZE(policies); i++)
        rc = put(cpu, policies[i].to, host_r);
    return rc;
}

/* Only the hardware. */
static int read_hardware(const char *name, const char *text,
                         xlx_cpu_host *host_r)
{
    struct xlx__cpu cpu;
    int rc = xlx__cpu_read_text(name, text, &cpu);

    if (rc)
        return rc;
    host_r->predicted = !cpu.given;
    return cpu.given ? put_given(&cpu, host_r)
                     : put(&cpu, offsetof(xlx_cpu_host, hardware), host_r);
}

/* Whether it is the output of xen-cpuid -p, or a part of that. */
static bool has_policies(const char *text)
{
    static const char *const titles[] = { "Raw policy:", "Host policy:",
                                          " Max policy:", " Default policy:" };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(titles); i++)
        if (strstr(text, titles[i]))
            return true;
    return false;
}

static int read_policies(const char *text, bool pv, xlx_cpu_host *host_r)
{
    struct xlx__cpu cpu;
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < XLX__ARRAY_SIZE(policies); i++) {
        rc = read_policy(text, policies[i].of[pv].title, &cpu);
        if (!rc)
            rc = put(&cpu, policies[i].to, host_r);
    }
    return rc;
}

int xlx__cpu_host_read(xlx_ctx *ctx, const char *name, const char *text,
                       bool pv, xlx_cpu_host *host_r)
{
    char *plain;
    int rc = 0;

    (void)ctx;
    host_r->pv = pv;
    if (text[strspn(text, " \t\r\n")] == '{' &&
        read_json(name, text, host_r, &rc)) {
        if (!rc && host_r->pv != pv)
            rc = xlx__error(ERROR_INVAL, "%s: is about %s guests", name,
                            host_r->pv ? "PV" : "HVM");
        return rc;
    }
    if (!has_policies(text))
        return read_hardware(name, text, host_r);
    rc = xlx__cpu_plain_text(text, &plain);
    if (rc)
        return rc;
    rc = read_policies(plain, pv, host_r);
    free(plain);
    return rc ? xlx__error_prefix(rc, "%s", name) : 0;
}

/* ---- from the hypervisor ------------------------------------------------ */

/* Takes the host from a file of that name. */
static int host_of_file(xlx_ctx *ctx, const char *path, bool pv,
                        xlx_cpu_host *host_r)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t size = 0;
    int rc;

    if (!f)
        return xlx__error(xlx__errno_rc(errno), "LIBXLX_CPU_POLICIES: %s: %s",
                          path, strerror(errno));
    if (getdelim(&text, &size, '\0', f) < 0)
        rc = xlx__error(ERROR_INVAL, "LIBXLX_CPU_POLICIES: %s: is empty",
                        path);
    else
        rc = xlx__cpu_host_read(ctx, path, text, pv, host_r);
    free(text);
    fclose(f);
    return rc;
}

int xlx__cpu_host_get(xlx_ctx *ctx, bool pv, xlx_cpu_host *host_r)
{
    const char *path = secure_getenv("LIBXLX_CPU_POLICIES");
    struct xlx__cpu cpu;
    size_t i;
    int rc = 0;

    if (path)
        return host_of_file(ctx, path, pv, host_r);
    host_r->pv = pv;
    for (i = 0; !rc && i < XLX__ARRAY_SIZE(policies); i++) {
        rc = xlx__cpu_xen_system(ctx, policies[i].of[pv].number, &cpu);
        if (!rc)
            rc = put(&cpu, policies[i].to, host_r);
    }
    return rc;
}

int xlx__cpu_domain_get(xlx_ctx *ctx, uint32_t domid, xlx_cpu *cpu_r)
{
    struct xlx__cpu cpu;
    int rc;

    rc = xlx__cpu_xen_domain(ctx, domid, &cpu);
    if (rc)
        return rc;
    cpu.from = xlx__cpu_nearest(&cpu);
    return xlx__cpu_to_public(&cpu, cpu_r);
}

/* ---- predicted
 * ----------------------------------------------------------- */

/* Leaves beyond are AMD's. */
#define INTEL_XLEVEL UINT32_C(0x80000008)

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Leaves that Xen sees in any case, in the dump or not. */
static void put_sure(bool pv, struct xlx__cpu_set *set)
{
    /* Intel's processors hide it from 32-bit programs, as dumps are from. */
    if (xlx__cpu_has(set, XLX__CPU_LM))
        xlx__cpu_put(set, XLX__CPU_SYSCALL, true);
    if (!pv)
        xlx__cpu_put(set, XLX__CPU_X2APIC, true);   /* emulated */
    xlx__cpu_put(set, XLX__CPU_HYPERVISOR, true);
}

/* Features that tell of dangers can be shown anywhere: a guest may come from
 * where they are. */
static void put_dangers(const char *vendor, struct xlx__cpu_set *set)
{
    unsigned int i;

    for (i = 0; i < XLX__CPU_WORDS; i++)
        set->word[i] |= xlx__cpu_accumulate.word[i];
    if (!strcmp(vendor, "GenuineIntel"))
        xlx__cpu_put(set, XLX__CPU_ARCH_CAPABILITIES, true);
}

/* No mask has these, because Xen derives them. */
static void put_rsba(struct xlx__cpu_xen *h)
{
    struct xlx__cpu_set *usual = &h->usual.features,
                        *most = &h->most.features;
    bool suffers = xlx__cpu_has(&h->hardware.features, XLX__CPU_RSBA) ||
                   xlx__cpu_has(&h->hardware.features, XLX__CPU_RRSBA);

    if (xlx__cpu_has(most, XLX__CPU_ARCH_CAPABILITIES)) {
        xlx__cpu_put(most, XLX__CPU_RSBA, true);
        xlx__cpu_put(most, XLX__CPU_RRSBA,
                     xlx__cpu_has(most, XLX__CPU_IBRS_ALL));
    }
    if (suffers && xlx__cpu_has(usual, XLX__CPU_ARCH_CAPABILITIES))
        xlx__cpu_put(usual, xlx__cpu_has(usual, XLX__CPU_IBRS_ALL)
                            ? XLX__CPU_RRSBA : XLX__CPU_RSBA, true);
}

/* The features that Xen gives, at most or usually. */
static int give(bool pv, bool most, struct xlx__cpu *cpu)
{
    struct xlx__cpu_set gives;
    unsigned int i;
    int rc;

    rc = xlx__cpu_xen_gives(pv, most, &gives);
    if (rc)
        return rc;
    for (i = 0; i < XLX__CPU_WORDS; i++)
        cpu->features.word[i] &= gives.word[i];
    xlx__cpu_close(&cpu->features);
    /* XAPI's feature strings tell no levels */
    cpu->level = smaller(cpu->level ? cpu->level : UINT32_MAX,
                         XLX__CPU_MAX_LEVEL);
    cpu->xlevel = smaller(cpu->xlevel ? cpu->xlevel : UINT32_MAX,
                          strcmp(cpu->vendor, "GenuineIntel")
                          ? XLX__CPU_MAX_XLEVEL : INTEL_XLEVEL);
    return 0;
}

static int predict(struct xlx__cpu_xen *h)
{
    int rc;

    h->xen = h->hardware;
    h->usual = h->hardware;
    put_sure(h->pv, &h->usual.features);
    h->most = h->usual;
    put_dangers(h->most.vendor, &h->most.features);
    rc = give(h->pv, false, &h->usual);
    if (rc) return rc;
    rc = give(h->pv, true, &h->most);
    if (rc) return rc;
    if (!strcmp(h->hardware.vendor, "GenuineIntel"))
        put_rsba(h);
    return 0;
}

int xlx__cpu_xen_from_public(const xlx_cpu_host *p, struct xlx__cpu_xen *h_r)
{
    int rc;

    h_r->pv = p->pv;
    rc = xlx__cpu_from_public(&p->hardware, &h_r->hardware);
    if (rc || p->predicted)
        return rc ? rc : predict(h_r);
    rc = xlx__cpu_from_public(&p->xen, &h_r->xen);
    if (rc) return rc;
    rc = xlx__cpu_from_public(&p->most, &h_r->most);
    if (rc) return rc;
    return xlx__cpu_from_public(&p->usual, &h_r->usual);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Xen hosts: what is there, what Xen uses of it, the most that it can give a
 * guest and what it gives usually; from the hypervisor, or from text.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
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

static int read_policy(const char *text, const char *title,
                       struct xlx__cpu *cpu_r)
{
    struct xlx__cpu_dump d = { NULL, 0, NULL, 0 };
    int rc;

    rc = xlx__cpu_dump_policy(text, title, &d);
    if (rc == ERROR_NOTFOUND)
        xlx__error(rc, "no \"%s policy\": it must be the output of "
                   "xen-cpuid -p", title);
    if (!rc)
        rc = xlx__cpu_decode(&d, cpu_r);
    xlx__cpu_dump_free(&d);
    return rc ? ERROR_INVAL : 0;
}

static int read_json(const char *name, const char *text, xlx_cpu_host *host_r)
{
    const struct xlx__json_limits limits = { JSON_BYTES, JSON_DEPTH };
    struct xlx__json_doc *doc = NULL;
    int rc;

    rc = xlx__json_parse(name, text, strlen(text), &limits, &doc);
    if (!rc)
        rc = xlx__cpu_host_parse(xlx__json_root(doc), host_r);
    xlx__json_free(doc);
    return rc;
}

int xlx__cpu_host_read(xlx_ctx *ctx, const char *name, const char *text,
                       bool pv, xlx_cpu_host *host_r)
{
    struct xlx__cpu cpu;
    size_t i;
    int rc = 0;

    (void)ctx;
    if (text[strspn(text, " \t\r\n")] == '{') {
        rc = read_json(name, text, host_r);
        if (!rc && host_r->pv != pv)
            rc = xlx__error(ERROR_INVAL, "%s: is about %s guests", name,
                            host_r->pv ? "PV" : "HVM");
        return rc;
    }
    host_r->pv = pv;
    for (i = 0; !rc && i < XLX__ARRAY_SIZE(policies); i++) {
        rc = read_policy(text, policies[i].of[pv].title, &cpu);
        if (!rc)
            rc = put(&cpu, policies[i].to, host_r);
    }
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

int xlx__cpu_host_here(xlx_ctx *ctx, bool pv, xlx_cpu_host *host_r)
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

int xlx__cpu_of_domain(xlx_ctx *ctx, uint32_t domid, xlx_cpu *cpu_r)
{
    struct xlx__cpu cpu;
    int rc;

    rc = xlx__cpu_xen_domain(ctx, domid, &cpu);
    if (rc)
        return rc;
    cpu.from = xlx__cpu_nearest(&cpu);
    return xlx__cpu_to_public(&cpu, cpu_r);
}

int xlx__cpu_xen_from_public(const xlx_cpu_host *p, struct xlx__cpu_xen *h_r)
{
    int rc;

    h_r->pv = p->pv;
    rc = xlx__cpu_from_public(&p->hardware, &h_r->hardware);
    if (!rc)
        rc = xlx__cpu_from_public(&p->xen, &h_r->xen);
    if (!rc)
        rc = xlx__cpu_from_public(&p->most, &h_r->most);
    if (!rc)
        rc = xlx__cpu_from_public(&p->usual, &h_r->usual);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Topologies as Xen has them now.  The guest's view comes from
 * xc_domain_getvnuma(): libxl has no call for it.  Neither tells the node of a
 * vnode; measuring does, or libxl's configuration of the domain, and otherwise
 * the soft affinity of its vCPUs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libxl_utils.h>
#include <xenctrl.h>

#include "gen-calls.h"
#include "vnuma/vnuma.h"

/* The topology may change between asking for its size and for itself. */
#define TRIES 8

/* ---- the host ----------------------------------------------------------- */

static int add_cpu(xlx_vnuma_node *n, uint32_t cpu, const libxl_cputopology *t)
{
    xlx_vnuma_cpu *longer;

    longer = reallocarray(n->cpus, (size_t)n->num_cpus + 1, sizeof(*longer));
    if (!longer)
        return xlx__nomem();
    n->cpus = longer;
    longer[n->num_cpus++] = (xlx_vnuma_cpu){
        .cpu = cpu, .core = t->core, .socket = t->socket,
    };
    return 0;
}

static int take_cpus(xlx_vnuma_host *h, const libxl_cputopology *cpus, int num)
{
    int i, place, rc = 0;

    for (i = 0; !rc && i < num; i++) {
        place = cpus[i].core == LIBXL_CPUTOPOLOGY_INVALID_ENTRY ? -1
              : xlx__vnuma_place(h, cpus[i].node);
        if (place >= 0)
            rc = add_cpu(&h->nodes[place], (uint32_t)i, &cpus[i]);
    }
    return rc;
}

static int take_devices(xlx_vnuma_host *h, const libxl_pcitopology *devices,
                        int num)
{
    const libxl_pcitopology *d;
    xlx_vnuma_node *n;
    int i, place, rc = 0;

    for (i = 0; !rc && i < num; i++) {
        d = &devices[i];
        place = d->node == LIBXL_PCITOPOLOGY_INVALID_ENTRY ? -1
              : xlx__vnuma_place(h, d->node);
        if (place < 0)
            continue;
        n = &h->nodes[place];
        rc = xlx__vnuma_append_string(&n->devices, &n->num_devices,
                                      "%04x:%02x:%02x.%u", d->seg, d->bus,
                                      d->devfn >> 3, d->devfn & 7);
    }
    return rc;
}

static bool is_online(const libxl_numainfo *n)
{
    return n->size != LIBXL_NUMAINFO_INVALID_ENTRY;
}

static int take_nodes(xlx_vnuma_host *h, const libxl_numainfo *info, int num)
{
    int i, j, online = 0, at, to, rc;
    uint32_t d;

    for (i = 0; i < num; i++)
        online += is_online(&info[i]);
    rc = xlx__vnuma_alloc_host(h, online);
    for (i = 0, at = 0; !rc && i < num; i++) {
        if (!is_online(&info[i]))
            continue;
        h->nodes[at].node = (uint32_t)i;
        h->nodes[at].memory = info[i].size;
        h->nodes[at].free = info[i].free < info[i].size ? info[i].free
                                                        : info[i].size;
        for (j = 0, to = 0; j < num; j++) {
            if (!is_online(&info[j]))
                continue;
            d = j < info[i].num_dists ? info[i].dists[j] : 0;
            /* 255 is ACPI's word for no way */
            h->nodes[at].distances[to++] = d >= 255 ? 0 : d;
        }
        at++;
    }
    return rc;
}

/* The size of a node is to Xen the range of its addresses. */
static void bound_memory(libxl_ctx *xl, xlx_vnuma_host *h)
{
    const libxl_version_info *version = libxl_get_version_info(xl);
    libxl_physinfo info;

    libxl_physinfo_init(&info);
    if (version && !libxl_get_physinfo(xl, &info))
        xlx__vnuma_bound_memory(h, info.total_pages * version->pagesize);
    libxl_physinfo_dispose(&info);
}

int xlx__vnuma_host_get(xlx_ctx *ctx, xlx_vnuma_host *host_r)
{
    int num_nodes = 0, num_cpus = 0, num_devices = 0, rc;
    libxl_pcitopology *devices = NULL;
    libxl_cputopology *cpus = NULL;
    libxl_numainfo *nodes = NULL;
    libxl_ctx *xl;

    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc)
        return rc;
    nodes = libxl_get_numainfo(xl, &num_nodes);
    cpus = nodes ? libxl_get_cpu_topology(xl, &num_cpus) : NULL;
    if (!cpus) {
        rc = xlx__error(ERROR_FAIL, "Xen does not tell the host's topology: "
                        "%s", xlx__ctx_libxl_said(ctx, ERROR_FAIL));
        goto out;
    }
    /* no failure: there may be none that Xen knows */
    devices = libxl_get_pci_topology(xl, &num_devices);
    rc = take_nodes(host_r, nodes, num_nodes);
    if (rc) goto out;
    bound_memory(xl, host_r);
    rc = take_cpus(host_r, cpus, num_cpus);
    if (rc) goto out;
    if (devices)
        rc = take_devices(host_r, devices, num_devices);
    if (rc) goto out;
    rc = xlx__vnuma_check_host(host_r);

 out:
    if (nodes)
        libxl_numainfo_list_free(nodes, num_nodes);
    if (cpus)
        libxl_cputopology_list_free(cpus, num_cpus);
    if (devices)
        libxl_pcitopology_list_free(devices, num_devices);
    return rc;
}

/* ---- what the guest sees ------------------------------------------------ */

struct answer {
    uint32_t num_vnodes, num_ranges, num_vcpus;
    xen_vmemrange_t *ranges;
    unsigned int *distances, *vnode_of;
};

static void free_answer(struct answer *a)
{
    free(a->ranges);
    free(a->distances);
    free(a->vnode_of);
    memset(a, 0, sizeof(*a));
}

/* Asks with room for none, learns how much, and asks again. */
static int ask(xc_interface *xc, uint32_t domid, struct answer *a)
{
    int tries, r;

    for (tries = 0; tries < TRIES; tries++) {
        r = xc_domain_getvnuma(xc, domid, &a->num_vnodes, &a->num_ranges,
                               &a->num_vcpus, a->ranges, a->distances,
                               a->vnode_of);
        if (!r)
            return 0;
        if (errno == EOPNOTSUPP) {
            free_answer(a);             /* it has none */
            return 0;
        }
        if (errno != ENOBUFS && errno != EAGAIN)
            break;
        if (a->num_vnodes > XLX__VNUMA_MAX_NODES ||
            a->num_vcpus > XLX__VNUMA_MAX_VCPUS || a->num_ranges > 65536)
            return xlx__error(ERROR_FAIL, "domain %u: %u vnodes, %u ranges, "
                              "%u vCPUs: more than can be", domid,
                              a->num_vnodes, a->num_ranges, a->num_vcpus);
        free(a->ranges);
        free(a->distances);
        free(a->vnode_of);
        a->ranges = calloc(a->num_ranges + 1u, sizeof(*a->ranges));
        a->distances = calloc((size_t)a->num_vnodes * a->num_vnodes + 1,
                              sizeof(*a->distances));
        a->vnode_of = calloc(a->num_vcpus + 1u, sizeof(*a->vnode_of));
        if (!a->ranges || !a->distances || !a->vnode_of)
            return xlx__nomem();
    }
    return xlx__error(ERROR_FAIL, "domain %u: Xen does not tell its NUMA "
                      "topology: %s", domid, strerror(errno));
}

static int take_range(xlx_vnuma_vnode *v, const xen_vmemrange_t *r)
{
    xlx_vnuma_range *longer;

    longer = reallocarray(v->ranges, (size_t)v->num_ranges + 1,
                          sizeof(*longer));
    if (!longer)
        return xlx__nomem();
    v->ranges = longer;
    longer[v->num_ranges++] = (xlx_vnuma_range){ r->start, r->end };
    v->memory += r->end - r->start;
    return 0;
}

static int take_answer(const struct answer *a, xlx_vnuma_topology *t)
{
    uint32_t i, j;
    int rc;

    rc = xlx__vnuma_alloc(t, (int)a->num_vnodes);
    for (i = 0; !rc && i < a->num_ranges; i++)
        if (a->ranges[i].nid < a->num_vnodes)
            rc = take_range(&t->vnodes[a->ranges[i].nid], &a->ranges[i]);
    for (i = 0; !rc && i < a->num_vcpus; i++)
        if (a->vnode_of[i] < a->num_vnodes) {
            xlx_vnuma_vnode *v = &t->vnodes[a->vnode_of[i]];

            rc = xlx__vnuma_append(&v->vcpus, &v->num_vcpus, i);
        }
    for (i = 0; !rc && i < a->num_vnodes; i++)
        for (j = 0; j < a->num_vnodes; j++)
            t->vnodes[i].distances[j] = a->distances[i * a->num_vnodes + j];
    return rc;
}

/* ---- the nodes of its vnodes -----------------------------------------------
 */

/* As it was built; its memory then is what was asked for, video memory
 * included. */
static void from_configuration(libxl_ctx *xl, uint32_t domid,
                               xlx_vnuma_topology *t)
{
    libxl_domain_config config;
    int i;

    libxl_domain_config_init(&config);
    if (!libxl_retrieve_domain_configuration(xl, domid, &config, NULL) &&
        config.b_info.num_vnuma_nodes == t->num_vnodes)
        for (i = 0; i < t->num_vnodes; i++) {
            t->vnodes[i].memory = config.b_info.vnuma_nodes[i].memkb << 10;
            if (t->vnodes[i].pnode_source != XLX_VNUMA_SOURCE_NONE)
                continue;
            t->vnodes[i].pnode = config.b_info.vnuma_nodes[i].pnode;
            t->vnodes[i].pnode_source = XLX_VNUMA_SOURCE_CONFIGURED;
        }
    libxl_domain_config_dispose(&config);
}

/* The one node that all of these cpus belong to, or -1. */
static int node_of_map(const libxl_bitmap *map, const libxl_cputopology *cpus,
                       int num)
{
    int node = -1, i;

    for (i = 0; i < num; i++) {
        if (!libxl_bitmap_test(map, i) ||
            cpus[i].node == LIBXL_CPUTOPOLOGY_INVALID_ENTRY)
            continue;
        if (node >= 0 && node != (int)cpus[i].node)
            return -1;
        node = (int)cpus[i].node;
    }
    return node;
}

static void from_affinity(xlx_vnuma_vnode *v, const libxl_vcpuinfo *vcpus,
                          int num_vcpus, const libxl_cputopology *cpus,
                          int num_cpus)
{
    int node = -1, other, i;

    for (i = 0; i < v->num_vcpus; i++) {
        if (v->vcpus[i] >= (uint32_t)num_vcpus)
            return;
        other = node_of_map(&vcpus[v->vcpus[i]].cpumap_soft, cpus, num_cpus);
        if (other < 0 || (i && other != node))
            return;
        node = other;
    }
    if (node < 0)
        return;
    v->pnode = (uint32_t)node;
    v->pnode_source = XLX_VNUMA_SOURCE_AFFINITY;
}

static void count_elsewhere(xlx_vnuma_vnode *v, const libxl_vcpuinfo *vcpus,
                            int num_vcpus, const libxl_cputopology *cpus,
                            int num_cpus)
{
    uint32_t cpu;
    int i;

    if (v->pnode_source == XLX_VNUMA_SOURCE_NONE)
        return;
    for (i = 0; i < v->num_vcpus && v->vcpus[i] < (uint32_t)num_vcpus; i++) {
        cpu = vcpus[v->vcpus[i]].cpu;
        if (vcpus[v->vcpus[i]].online && cpu < (uint32_t)num_cpus &&
            cpus[cpu].node != v->pnode)
            v->vcpus_elsewhere++;
    }
}

static int take_places(xlx_ctx *ctx, libxl_ctx *xl, uint32_t domid,
                       xlx_vnuma_topology *t)
{
    int num_vcpus = 0, num_cpus = 0, host_cpus = 0, i, rc = 0;
    libxl_cputopology *cpus;
    libxl_vcpuinfo *vcpus;

    from_configuration(xl, domid, t);
    vcpus = libxl_list_vcpu(xl, domid, &num_vcpus, &host_cpus);
    cpus = vcpus ? libxl_get_cpu_topology(xl, &num_cpus) : NULL;
    if (!cpus)
        rc = xlx__error(ERROR_FAIL, "domain %u: Xen does not tell where its "
                        "vCPUs are: %s", domid,
                        xlx__ctx_libxl_said(ctx, ERROR_FAIL));
    for (i = 0; !rc && i < t->num_vnodes; i++) {
        if (t->vnodes[i].pnode_source == XLX_VNUMA_SOURCE_NONE)
            from_affinity(&t->vnodes[i], vcpus, num_vcpus, cpus, num_cpus);
        count_elsewhere(&t->vnodes[i], vcpus, num_vcpus, cpus, num_cpus);
    }
    if (vcpus)
        libxl_vcpuinfo_list_free(vcpus, num_vcpus);
    if (cpus)
        libxl_cputopology_list_free(cpus, num_cpus);
    return rc;
}

int xlx__vnuma_get(xlx_ctx *ctx, const xlx_guest *guest, bool measure,
                   xlx_vnuma_topology *topology_r)
{
    struct answer answer = { 0 };
    xc_interface *xc = NULL;
    libxl_ctx *xl;
    int rc;

    if (guest->domid == XLX_DOMID_NONE)
        return xlx__error(ERROR_DOMAIN_NOTFOUND, "%s: no domain runs it",
                          xlx__text(guest->name));
    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc)
        return rc;
    xc = xc_interface_open(ctx->logger, ctx->logger, 0);
    if (!xc)
        return xlx__error(ERROR_FAIL, "Xen does not answer: %s",
                          strerror(errno));
    rc = ask(xc, guest->domid, &answer);
    if (rc) goto out;
    rc = xlx__set_string(&topology_r->name, xlx__text(guest->name));
    if (rc) goto out;
    rc = take_answer(&answer, topology_r);
    if (rc) goto out;
    if (measure)
        rc = xlx__vnuma_measure(xc, guest->domid, topology_r);
    if (rc) goto out;
    if (topology_r->num_vnodes)
        rc = take_places(ctx, xl, guest->domid, topology_r);
    if (rc) goto out;
    rc = xlx__vnuma_check(topology_r);

 out:
    free_answer(&answer);
    xc_interface_close(xc);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Faults of a vnuma= that could be read: the vnodes among themselves, in the
 * guest, and on the host.  The rules are those of libxl (libxl_vnuma.c,
 * libxl_create.c), of Xen (a page for the distances), of the ACPI SLIT
 * (5.2.17: a byte each, 10 is local, below is reserved, 255 is unreachable),
 * and of Linux, which drops a table that breaks them.
 */
#include <stdlib.h>
#include <string.h>

#include "gen-calls.h"
#include "vnuma/vnuma.h"

#define XEN_MAX_VNODES 32           /* 32 * 32 numbers fill a page */
#define HVM_MAX_VCPUS 128

int xlx__vnuma_find(xlx_vnuma_findings *f, xlx_vnuma_effect effect,
                    const char *rule, const char *fmt, ...)
{
    xlx_vnuma_finding *longer;
    va_list ap;
    int r;

    longer = reallocarray(f->findings, (size_t)f->num_findings + 1,
                          sizeof(*longer));
    if (!longer)
        return xlx__nomem();
    f->findings = longer;
    longer += f->num_findings++;
    xlx_vnuma_finding_init(longer);
    longer->effect = effect;
    va_start(ap, fmt);
    r = vasprintf(&longer->what, fmt, ap);
    va_end(ap);
    if (r < 0) {
        longer->what = NULL;
        return xlx__nomem();
    }
    return xlx__set_string(&longer->rule, rule);
}

/* ---- the vnodes among themselves ---------------------------------------- */

static int lint_keys(const struct xlx__vnuma_config *c, int vnode,
                     xlx_vnuma_findings *f)
{
    static const struct {
        xlx_vnuma_effect effect;
        const char *what;
    } missing[XLX__VNUMA_KEYS] = {
        [XLX__VNUMA_PNODE] = { XLX_VNUMA_EFFECT_BENT,
            "xl puts it on node 0" },
        [XLX__VNUMA_SIZE] = { XLX_VNUMA_EFFECT_BENT,
            "it gets no memory" },
        [XLX__VNUMA_VCPUS] = { XLX_VNUMA_EFFECT_NOTE,
            "it has memory alone" },
        [XLX__VNUMA_DISTANCES] = { XLX_VNUMA_EFFECT_BENT,
            "all its distances are 0, and the guest ignores the table" },
    };
    const struct xlx__vnuma_spec *spec = &c->nodes[vnode];
    int key, rc = 0;

    for (key = 0; !rc && key < XLX__VNUMA_KEYS; key++)
        if (!spec->has[key])
            rc = xlx__vnuma_find(f, missing[key].effect, "key-missing",
                                 "vnode %d: %s= is missing: %s", vnode,
                                 xlx__vnuma_key_names[key],
                                 missing[key].what);
    if (rc) return rc;
    if (spec->has[XLX__VNUMA_SIZE] && !spec->size)
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_BENT, "size", "vnode %d: "
                             "it has no memory", vnode);
    return rc;
}

/* One distance; at most one finding. */
static int lint_distance(const struct xlx__vnuma_config *c, int from, int to,
                         xlx_vnuma_findings *f)
{
    unsigned long long d = c->nodes[from].distances[to];
    bool refused = d < c->nodes[from].distances[from];
    xlx_vnuma_effect effect = refused ? XLX_VNUMA_EFFECT_REFUSED
                                      : XLX_VNUMA_EFFECT_BENT;
    const char *what = NULL;

    if (from == to && d != 10)
        what = "to itself it must be 10, or the guest ignores the table";
    else if (d < 10)
        what = refused ? "the least is 10, and xl refuses one below that of "
                         "the vnode to itself"
                       : "below 10 is reserved, and the guest ignores the "
                         "table";
    else if (from != to && d == 10)
        what = "10 is for the vnode itself; the guest ignores the table";
    else if (d == 255)
        what = "255 says that there is no way; the most is 254";
    else if (d > 255)
        what = "the guest gets the lowest 8 bits of it; the most is 254";
    if (!what)
        return 0;
    return xlx__vnuma_find(f, effect, "distance",
                           "vnode %d: distance %llu to vnode %d: %s", from, d,
                           to, what);
}

static bool is_valid(unsigned long long d)
{
    return d > 10 && d < 255;
}

static int lint_distances(const struct xlx__vnuma_config *c, int vnode,
                          xlx_vnuma_findings *f)
{
    const struct xlx__vnuma_spec *spec = &c->nodes[vnode];
    unsigned long long d, back;
    int i, rc = 0;

    /* a missing value has already been reported */
    for (i = 0; !rc && i < c->num_nodes && i < spec->num_distances; i++)
        rc = lint_distance(c, vnode, i, f);
    for (i = 0; !rc && i < vnode && i < spec->num_distances; i++) {
        if (vnode >= c->nodes[i].num_distances)
            continue;
        d = spec->distances[i];
        back = c->nodes[i].distances[vnode];
        if (d != back && is_valid(d) && is_valid(back))
            rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_NOTE, "asymmetric",
                                 "vnode %d: distance %llu to vnode %d, but "
                                 "%llu back: few hosts are so", vnode, d, i,
                                 back);
    }
    return rc;
}

int xlx__vnuma_lint_nodes(const struct xlx__vnuma_config *c,
                          xlx_vnuma_findings *f)
{
    uint32_t i;
    int v, rc = 0;

    if (c->num_nodes == 1)
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_NOTE, "single",
                             "there is one vnode: to the guest that is as "
                             "good as none, but the guest cannot be saved or "
                             "migrated");
    if (c->num_nodes > XEN_MAX_VNODES)
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_REFUSED, "vnode-count",
                             "vnuma has %d vnodes: Xen takes %d at most",
                             c->num_nodes, XEN_MAX_VNODES);
    for (v = 0; !rc && v < c->num_nodes; v++) {
        rc = lint_keys(c, v, f);
        if (!rc)
            rc = lint_distances(c, v, f);
    }
    for (i = 0; !rc && i < c->num_vcpus; i++)
        if (c->owner[i] < 0)
            rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_REFUSED, "vcpu-nowhere",
                                 "vCPU %u is in no vnode", i);
    return rc;
}

/* ---- the vnodes in the guest -------------------------------------------- */

static int lint_type(const struct xlx__vnuma_config *c, xlx_vnuma_findings *f)
{
    if (!strcmp(c->type, "pvh"))
        return xlx__vnuma_find(f, XLX_VNUMA_EFFECT_REFUSED, "type",
                               "a PVH guest cannot have vnuma: libxl takes "
                               "Xen's answer of how large its topology is "
                               "for a failure; use type=\"hvm\"");
    if (strcmp(c->type, "hvm"))
        return xlx__vnuma_find(f, XLX_VNUMA_EFFECT_REFUSED, "type",
                               "a %s guest cannot have vnuma: libxl refuses "
                               "it; use type=\"hvm\"",
                               !strcmp(c->type, "pv") ? "PV" : c->type);
    return 0;
}

static int lint_memory(const struct xlx__vnuma_config *c,
                       xlx_vnuma_findings *f)
{
    unsigned long long sum = 0, own = c->nodes[0].size;
    long long video = c->videoram;
    int v, rc = 0;

    for (v = 0; v < c->num_nodes; v++)
        sum += c->nodes[v].size;
    if (c->maxmem >= 0 && (unsigned long long)c->maxmem != sum)
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_REFUSED, "memory-sum",
                             "maxmem=%ld, but the vnodes have %llu MiB "
                             "together", c->maxmem, sum);
    else if (c->memory >= 0 && (unsigned long long)c->memory < sum)
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_REFUSED, "memory-sum",
                             "memory=%ld, but the vnodes have %llu MiB "
                             "together: libxl has no populate-on-demand with "
                             "vnuma; they must be equal", c->memory, sum);
    else if (c->memory >= 0 && (unsigned long long)c->memory > sum)
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_BENT, "memory-sum",
                             "memory=%ld, but the vnodes have %llu MiB "
                             "together, and that is what the guest gets",
                             c->memory, sum);
    if (!rc && c->nodes[0].has[XLX__VNUMA_SIZE] && own &&
        !strcmp(c->type, "hvm") && own < (unsigned long long)video)
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_REFUSED, "video",
                             "vnode 0: size=%llu, but the %lld MiB of video "
                             "memory come out of it", own, video);
    else if (!rc && own && !strcmp(c->type, "hvm") &&
             own == (unsigned long long)video)
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_BENT, "video",
                             "vnode 0: size=%llu: the video memory takes all "
                             "of it", own);
    return rc;
}

static int lint_vcpus(const struct xlx__vnuma_config *c,
                      xlx_vnuma_findings *f)
{
    long num = c->num_vcpus, most = c->maxvcpus;
    int rc = 0;

    if (most >= 0 && num > most)
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_REFUSED, "vcpu-range",
                             "vnode %d: vCPU %ld, but with maxvcpus=%ld the "
                             "last one is %ld", c->owner[num - 1], num - 1,
                             most, most - 1);
    else if (most >= 0 && num < most)
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_REFUSED, "vcpu-nowhere",
                             "maxvcpus=%ld, but vCPU %ld is in no vnode",
                             most, num);
    else if (most < 0 && c->vcpus > num)
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_BENT, "vcpu-nowhere",
                             "vcpus=%ld, but vCPU %ld is in no vnode: the "
                             "guest gets %ld", c->vcpus, num, num);
    if (rc) return rc;
    if (num > HVM_MAX_VCPUS)
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_REFUSED, "vcpu-range",
                             "vnode %d: vCPU %ld: an HVM guest has %d at "
                             "most", c->owner[num - 1], num - 1,
                             HVM_MAX_VCPUS);
    return rc;
}

/* ---- the vnodes on the host --------------------------------------------- */

/* The memory that the vnodes of a node need together must be free there: libxl
 * asks for memory of exactly that node. */
static int lint_free(const struct xlx__vnuma_config *c,
                     const xlx_vnuma_node *node, xlx_vnuma_findings *f)
{
    uint64_t sum = 0, has = node->free / XLX__VNUMA_MIB;
    int v, num = 0;

    for (v = 0; v < c->num_nodes; v++)
        if (c->nodes[v].has[XLX__VNUMA_PNODE] &&
            c->nodes[v].pnode == node->node) {
            sum += c->nodes[v].size;
            num++;
        }
    if (sum <= has)
        return 0;
    return xlx__vnuma_find(f, XLX_VNUMA_EFFECT_REFUSED, "free-memory",
                           "node %u: its %d vnode%s need%s %llu MiB, and %llu "
                           "MiB are %s there", node->node, num,
                           num == 1 ? "" : "s", num == 1 ? "s" : "",
                           (unsigned long long)sum, (unsigned long long)has,
                           node->free_assumed ? "in all" : "free");
}

/* Memory that plans do not use unless they are asked to. */
static int lint_kind(int vnode, const xlx_vnuma_node *node,
                     xlx_vnuma_findings *f)
{
    if (node->kind == XLX_VNUMA_MEMORY_UNKNOWN ||
        node->kind == XLX_VNUMA_MEMORY_DRAM)
        return 0;
    return xlx__vnuma_find(f, XLX_VNUMA_EFFECT_NOTE, "memory-kind",
                           "vnode %d: the memory of node %u is not DRAM (%s)",
                           vnode, node->node,
                           xlx_vnuma_memory_to_string(node->kind));
}

static int lint_pnode(const struct xlx__vnuma_config *c, int vnode,
                      const xlx_vnuma_host *host, xlx_vnuma_findings *f)
{
    unsigned long long pnode = c->nodes[vnode].pnode;
    const xlx_vnuma_node *node;
    int place, other, v, rc = 0;

    if (!c->nodes[vnode].has[XLX__VNUMA_PNODE])
        return 0;
    place = xlx__vnuma_place(host, (uint32_t)pnode);
    if (place < 0)
        return xlx__vnuma_find(f, XLX_VNUMA_EFFECT_REFUSED, "pnode",
                               "vnode %d: pnode=%llu: the host has no node "
                               "of that number", vnode, pnode);
    node = &host->nodes[place];
    rc = lint_kind(vnode, node, f);
    if (!rc && !node->num_cpus && c->nodes[vnode].has[XLX__VNUMA_VCPUS])
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_BENT, "pnode",
                             "vnode %d: pnode=%llu has no cpus: its vCPUs "
                             "always run on another node", vnode, pnode);
    for (v = 0; !rc && v < vnode; v++) {
        other = xlx__vnuma_place(host, (uint32_t)c->nodes[v].pnode);
        if (other >= 0 && other != place && !node->distances[other])
            rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_BENT, "unreachable",
                                 "vnode %d: by the host's own table there is "
                                 "no way from node %llu to node %u of vnode "
                                 "%d", vnode, pnode, host->nodes[other].node,
                                 v);
    }
    return rc;
}

/* vCPUs of the vnodes of a node; its cpus may be halves of cores. */
static int lint_cpus(const struct xlx__vnuma_config *c,
                     const xlx_vnuma_host *host, const xlx_vnuma_node *node,
                     xlx_vnuma_findings *f)
{
    const struct xlx__vnuma_spec *spec;
    int num = 0, cores;
    uint32_t i;

    for (i = 0; i < c->num_vcpus; i++) {
        spec = c->owner[i] < 0 ? NULL : &c->nodes[c->owner[i]];
        num += spec && spec->has[XLX__VNUMA_PNODE] &&
               spec->pnode == node->node;
    }
    if (!node->num_cpus || !num)
        return 0;
    if (num > node->num_cpus)
        return xlx__vnuma_find(f, XLX_VNUMA_EFFECT_NOTE, "cpus",
                               "node %u: %d vCPUs on %d cpu%s: they cannot "
                               "all run there at once", node->node, num,
                               node->num_cpus, node->num_cpus == 1 ? "" : "s");
    cores = host->cores_assumed ? num : xlx__vnuma_cores(node, NULL);
    if (num <= cores)
        return 0;
    return xlx__vnuma_find(f, XLX_VNUMA_EFFECT_NOTE, "cores",
                           "node %u: %d vCPUs on %d core%s: some share a core "
                           "as its threads", node->node, num, cores,
                           cores == 1 ? "" : "s");
}

static int lint_host(const struct xlx__vnuma_config *c,
                     const xlx_vnuma_host *host, xlx_vnuma_findings *f)
{
    int i, rc = 0;

    for (i = 0; !rc && i < c->num_nodes; i++)
        rc = lint_pnode(c, i, host, f);
    for (i = 0; !rc && i < host->num_nodes; i++) {
        rc = lint_free(c, &host->nodes[i], f);
        if (!rc)
            rc = lint_cpus(c, host, &host->nodes[i], f);
    }
    return rc;
}

int xlx__vnuma_lint(xlx_ctx *ctx, const char *name, const char *text,
                    const xlx_vnuma_host *host,
                    xlx_vnuma_findings *findings_r)
{
    struct xlx__vnuma_config c;
    xlx_vnuma_findings *f = findings_r;
    int rc;

    (void)ctx;
    rc = xlx__vnuma_config_parse(name, text, &c, f);
    if (rc || !c.num_nodes || c.broken)
        goto out;
    rc = xlx__vnuma_lint_nodes(&c, f);
    if (rc) goto out;
    rc = lint_type(&c, f);
    if (rc) goto out;
    rc = lint_memory(&c, f);
    if (rc) goto out;
    rc = lint_vcpus(&c, f);
    if (rc) goto out;
    if (host)
        rc = lint_host(&c, host, f);
    if (rc) goto out;
    if (c.num_nodes > 1)
        rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_NOTE, "not-saved",
                             "a guest with vnuma cannot be saved or migrated");

 out:
    xlx__vnuma_config_dispose(&c);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Topologies of guests and hosts: what makes one valid, and reading them from
 * text of any kind that is known.
 */
#include <stdlib.h>
#include <string.h>

#include "gen-calls.h"
#include "vnuma/vnuma.h"

#define JSON_BYTES (16u << 20)
#define JSON_DEPTH 8

/* ---- building ----------------------------------------------------------- */

int xlx__vnuma_append(uint32_t **list, int *num, uint32_t value)
{
    uint32_t *longer = *list;

    if (!(*num & (*num - 1))) {         /* it is full: double it */
        longer = reallocarray(longer, *num ? 2 * (size_t)*num : 1,
                              sizeof(*longer));
        if (!longer)
            return xlx__nomem();
        *list = longer;
    }
    longer[(*num)++] = value;
    return 0;
}

int xlx__vnuma_append_string(char ***list, int *num, const char *fmt, ...)
{
    char **longer = reallocarray(*list, (size_t)*num + 1, sizeof(*longer));
    va_list ap;
    int r;

    if (!longer)
        return xlx__nomem();
    *list = longer;
    va_start(ap, fmt);
    r = vasprintf(&longer[*num], fmt, ap);
    va_end(ap);
    if (r < 0)
        return xlx__nomem();
    (*num)++;
    return 0;
}

int xlx__vnuma_compare_uint32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

int xlx__vnuma_alloc(xlx_vnuma_topology *t, int num)
{
    int i;

    t->vnodes = calloc((size_t)num + 1, sizeof(*t->vnodes));
    if (!t->vnodes)
        return xlx__nomem();
    for (i = 0; i < num; i++) {
        xlx_vnuma_vnode_init(&t->vnodes[t->num_vnodes++]);
        t->vnodes[i].distances = calloc((size_t)num, sizeof(uint32_t));
        if (!t->vnodes[i].distances)
            return xlx__nomem();
        t->vnodes[i].num_distances = num;
    }
    return 0;
}

int xlx__vnuma_alloc_host(xlx_vnuma_host *h, int num)
{
    int i;

    h->nodes = calloc((size_t)num + 1, sizeof(*h->nodes));
    if (!h->nodes)
        return xlx__nomem();
    for (i = 0; i < num; i++) {
        xlx_vnuma_node_init(&h->nodes[h->num_nodes++]);
        h->nodes[i].distances = calloc((size_t)num, sizeof(uint32_t));
        if (!h->nodes[i].distances)
            return xlx__nomem();
        h->nodes[i].num_distances = num;
    }
    return 0;
}

/* ---- sums --------------------------------------------------------------- */

uint64_t xlx__vnuma_memory(const xlx_vnuma_topology *t)
{
    uint64_t sum = 0;
    int i;

    for (i = 0; i < t->num_vnodes; i++)
        sum += t->vnodes[i].memory;
    return sum;
}

uint32_t xlx__vnuma_vcpus(const xlx_vnuma_topology *t)
{
    uint32_t sum = 0;
    int i;

    for (i = 0; i < t->num_vnodes; i++)
        sum += (uint32_t)t->vnodes[i].num_vcpus;
    return sum;
}

int xlx__vnuma_place(const xlx_vnuma_host *h, uint32_t node)
{
    int i;

    for (i = 0; i < h->num_nodes; i++)
        if (h->nodes[i].node == node)
            return i;
    return -1;
}

/* By socket, then core. */
static int compare_cores(const void *a, const void *b)
{
    const xlx_vnuma_cpu *x = a, *y = b;

    if (x->socket != y->socket)
        return x->socket < y->socket ? -1 : 1;
    return (x->core > y->core) - (x->core < y->core);
}

int xlx__vnuma_cores(const xlx_vnuma_node *n, int *sockets_r)
{
    xlx_vnuma_cpu *cpus = calloc((size_t)n->num_cpus + 1, sizeof(*cpus));
    int i, cores = 0, sockets = 0;

    if (!cpus)                          /* no better answer */
        return n->num_cpus;
    if (n->num_cpus)
        memcpy(cpus, n->cpus, (size_t)n->num_cpus * sizeof(*cpus));
    qsort(cpus, (size_t)n->num_cpus, sizeof(*cpus), compare_cores);
    for (i = 0; i < n->num_cpus; i++) {
        cores += !i || compare_cores(&cpus[i - 1], &cpus[i]);
        sockets += !i || cpus[i - 1].socket != cpus[i].socket;
    }
    free(cpus);
    if (sockets_r)
        *sockets_r = sockets;
    return cores;
}

void xlx__vnuma_bound_memory(xlx_vnuma_host *h, uint64_t total)
{
    uint64_t all = 0, all_free = 0, most, least;
    int i;

    for (i = 0; i < h->num_nodes; i++) {
        all += h->nodes[i].memory;
        all_free += h->nodes[i].free;
    }
    if (!total || total < all_free)
        return;
    for (i = 0; i < h->num_nodes; i++) {
        xlx_vnuma_node *n = &h->nodes[i];
        uint64_t others = all - n->memory;

        most = total - (all_free - n->free);
        least = total > others ? total - others : 0;
        if (n->memory > most)
            n->memory = most;
        n->present = least >= n->memory;
    }
}

static bool is_in(const uint32_t *list, int num, uint32_t value)
{
    int i;

    for (i = 0; i < num && list[i] != value; i++)
        ;
    return i < num;
}

bool xlx__vnuma_assumed(const xlx_vnuma_host *h, int from, int to)
{
    return is_in(h->nodes[from].assumed, h->nodes[from].num_assumed,
                 h->nodes[to].node);
}

bool xlx__vnuma_is_assumed(const xlx_vnuma_vnode *v, int to)
{
    return is_in(v->assumed, v->num_assumed, (uint32_t)to);
}

/* ---- what makes one valid ----------------------------------------------- */

/* Marks v's vCPUs in seen. */
static int check_vcpus(const xlx_vnuma_vnode *v, int vnode,
                       bool seen[XLX__VNUMA_MAX_VCPUS])
{
    uint32_t vcpu;
    int i;

    for (i = 0; i < v->num_vcpus; i++) {
        vcpu = v->vcpus[i];
        if (vcpu >= XLX__VNUMA_MAX_VCPUS)
            return xlx__error(ERROR_INVAL, "vnode %d: there is no vCPU %u",
                              vnode, vcpu);
        if (seen[vcpu])
            return xlx__error(ERROR_INVAL, "vnode %d: vCPU %u is named twice",
                              vnode, vcpu);
        if (i && v->vcpus[i - 1] > vcpu)
            return xlx__error(ERROR_INVAL, "vnode %d: its vCPUs must be in "
                              "ascending order", vnode);
        seen[vcpu] = true;
    }
    return 0;
}

int xlx__vnuma_check(const xlx_vnuma_topology *t)
{
    bool seen[XLX__VNUMA_MAX_VCPUS] = { false };
    uint64_t sum = 0;
    uint32_t i, num;
    int v, rc;

    if (t->num_vnodes > XLX__VNUMA_MAX_NODES)
        return xlx__error(ERROR_INVAL, "%d vnodes: at most %d are known to "
                          "this library", t->num_vnodes,
                          XLX__VNUMA_MAX_NODES);
    for (v = 0; v < t->num_vnodes; v++) {
        if (t->vnodes[v].num_distances != t->num_vnodes)
            return xlx__error(ERROR_INVAL, "vnode %d: %d distances for %d "
                              "vnodes", v, t->vnodes[v].num_distances,
                              t->num_vnodes);
        if (t->vnodes[v].memory > INT64_MAX - sum)
            return xlx__error(ERROR_INVAL, "vnode %d: too much memory", v);
        sum += t->vnodes[v].memory;
        rc = check_vcpus(&t->vnodes[v], v, seen);
        if (rc)
            return rc;
    }
    num = xlx__vnuma_vcpus(t);
    for (i = 0; i < num; i++)
        if (!seen[i])
            return xlx__error(ERROR_INVAL, "vCPU %u is in no vnode", i);
    return 0;
}

static int check_node(const xlx_vnuma_host *h, int place)
{
    const xlx_vnuma_node *n = &h->nodes[place];
    int i;

    if (n->node >= XLX__VNUMA_MAX_NODES)
        return xlx__error(ERROR_INVAL, "node %u: the last one that Xen knows "
                          "is %d", n->node, XLX__VNUMA_MAX_NODES - 1);
    if (place && h->nodes[place - 1].node >= n->node)
        return xlx__error(ERROR_INVAL, "node %u: nodes must be in ascending "
                          "order", n->node);
    if (n->num_distances != h->num_nodes)
        return xlx__error(ERROR_INVAL, "node %u: %d distances for %d nodes",
                          n->node, n->num_distances, h->num_nodes);
    if ((unsigned int)n->kind > XLX_VNUMA_MEMORY_OTHER)
        return xlx__error(ERROR_INVAL, "node %u: %d is not a kind of memory",
                          n->node, (int)n->kind);
    if (n->free > n->memory)
        return xlx__error(ERROR_INVAL, "node %u: more memory is free than it "
                          "has", n->node);
    for (i = 1; i < n->num_cpus; i++)
        if (n->cpus[i - 1].cpu >= n->cpus[i].cpu)
            return xlx__error(ERROR_INVAL, "node %u: its cpus must be in "
                              "ascending order", n->node);
    return 0;
}

int xlx__vnuma_check_host(const xlx_vnuma_host *h)
{
    uint64_t sum = 0;
    int i, j, rc;
    bool *seen;

    if (h->num_nodes > XLX__VNUMA_MAX_NODES)
        return xlx__error(ERROR_INVAL, "%d nodes: at most %d are known to "
                          "this library", h->num_nodes, XLX__VNUMA_MAX_NODES);
    seen = calloc(XLX__VNUMA_MAX_CPUS, sizeof(*seen));
    if (!seen)
        return xlx__nomem();
    for (i = 0; i < h->num_nodes; i++) {
        rc = check_node(h, i);
        if (rc) goto out;
        if (h->nodes[i].memory > INT64_MAX - sum) {
            rc = xlx__error(ERROR_INVAL, "node %u: too much memory",
                            h->nodes[i].node);
            goto out;
        }
        sum += h->nodes[i].memory;
        for (j = 0; j < h->nodes[i].num_cpus; j++) {
            uint32_t cpu = h->nodes[i].cpus[j].cpu;

            if (cpu >= XLX__VNUMA_MAX_CPUS || seen[cpu]) {
                rc = xlx__error(ERROR_INVAL, "node %u: cpu %u %s",
                                h->nodes[i].node, cpu,
                                cpu >= XLX__VNUMA_MAX_CPUS ?
                                "cannot be" : "is named twice");
                goto out;
            }
            seen[cpu] = true;
        }
    }
    rc = 0;

 out:
    free(seen);
    return rc;
}

/* ---- reading ------------------------------------------------------------ */

/* The first character that says what a text is. */
static char first_character(const char *text)
{
    return text[strspn(text, " \t\r\n")];
}

static int read_json(const char *name, const char *text,
                     struct xlx__json_doc **doc_r)
{
    const struct xlx__json_limits limits = { JSON_BYTES, JSON_DEPTH };

    return xlx__json_parse(name, text, strlen(text), &limits, doc_r);
}

static int read_topology_json(const char *name, const char *text,
                              xlx_vnuma_topology *t)
{
    struct xlx__json_doc *doc = NULL;
    const struct xlx__json *root, *inner;
    int rc;

    rc = read_json(name, text, &doc);
    if (rc)
        return rc;
    root = xlx__json_root(doc);
    inner = xlx__json_member(root, "topology");     /* of a plan */
    rc = xlx__vnuma_topology_parse(inner ? inner : root, t);
    xlx__json_free(doc);
    return rc;
}

/* vnuma= as it is written, when nothing in it would go wrong. */
static int from_config(const struct xlx__vnuma_config *c,
                       xlx_vnuma_topology *t)
{
    xlx_vnuma_vnode *v;
    uint32_t i;
    int n, j, rc;

    rc = xlx__set_string(&t->name, xlx__text(c->name));
    if (!rc)
        rc = xlx__vnuma_alloc(t, c->num_nodes);
    if (rc)
        return rc;
    for (n = 0; n < c->num_nodes; n++) {
        v = &t->vnodes[n];
        v->memory = c->nodes[n].size * XLX__VNUMA_MIB;
        v->pnode = (uint32_t)c->nodes[n].pnode;
        v->pnode_source = XLX_VNUMA_SOURCE_CONFIGURED;
        for (j = 0; j < c->num_nodes; j++)
            v->distances[j] = (uint32_t)c->nodes[n].distances[j];
    }
    for (i = 0; !rc && i < c->num_vcpus; i++) {
        v = &t->vnodes[c->owner[i]];
        rc = xlx__vnuma_append(&v->vcpus, &v->num_vcpus, i);
    }
    return rc;
}

static int read_config(const char *name, const char *text,
                       xlx_vnuma_topology *t)
{
    struct xlx__vnuma_config config;
    xlx_vnuma_findings found;
    int i, rc;

    xlx_vnuma_findings_init(&found);
    rc = xlx__vnuma_config_parse(name, text, &config, &found);
    if (!rc)
        rc = xlx__vnuma_lint_nodes(&config, &found);
    for (i = 0; !rc && i < found.num_findings; i++)
        if (found.findings[i].effect != XLX_VNUMA_EFFECT_NOTE)
            rc = xlx__error(ERROR_INVAL, "%s: %s", name,
                            found.findings[i].what);
    if (rc) goto out;
    rc = from_config(&config, t);

 out:
    xlx__vnuma_config_dispose(&config);
    xlx_vnuma_findings_dispose(&found);
    return rc;
}

int xlx__vnuma_read(xlx_ctx *ctx, const char *name, const char *text,
                    xlx_vnuma_topology *topology_r)
{
    int rc;

    (void)ctx;
    switch (first_character(text)) {
    case '{':
        rc = read_topology_json(name, text, topology_r);
        break;
    case '<':
        rc = xlx__vnuma_read_libvirt(name, text, topology_r);
        break;
    default:
        rc = read_config(name, text, topology_r);
    }
    if (rc)
        return rc;
    rc = xlx__vnuma_check(topology_r);
    return rc ? xlx__error_prefix(rc, "%s", name) : 0;
}

int xlx__vnuma_host_read(xlx_ctx *ctx, const char *name, const char *text,
                         xlx_vnuma_host *host_r)
{
    struct xlx__json_doc *doc = NULL;
    int rc;

    (void)ctx;
    switch (first_character(text)) {
    case '{':
        rc = read_json(name, text, &doc);
        if (!rc)
            rc = xlx__vnuma_host_parse(xlx__json_root(doc), host_r);
        xlx__json_free(doc);
        break;
    case '<':
        rc = xlx__vnuma_read_hwloc(name, text, host_r);
        break;
    default:
        rc = xlx__vnuma_read_host_text(name, text, host_r);
    }
    if (rc)
        return rc;
    rc = xlx__vnuma_check_host(host_r);
    return rc ? xlx__error_prefix(rc, "%s", name) : 0;
}

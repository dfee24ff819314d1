/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Topologies as a graph for Graphviz: with guest and host each vnode is in the
 * cluster of its node; and words that all pictures share.
 */
#include <stdlib.h>
#include <string.h>

#include "vnuma/vnuma-draw.h"

char *xlx__vnuma_list_text(const uint32_t *list, int num, size_t most)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    xlx__vnuma_put_list(out, list, num);
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    if (len > most) {
        for (most -= 3; most && text[most] != ','; most--)
            ;
        memcpy(text + most, ",..", 4);
    }
    return text;
}

char *xlx__vnuma_cpus_text(const xlx_vnuma_node *n, size_t most)
{
    uint32_t *list = calloc((size_t)n->num_cpus + 1, sizeof(*list));
    char *text;
    int i;

    if (!list)
        return NULL;
    for (i = 0; i < n->num_cpus; i++)
        list[i] = n->cpus[i].cpu;
    text = xlx__vnuma_list_text(list, n->num_cpus, most);
    free(list);
    return text;
}

bool xlx__vnuma_is_on_host(const xlx_vnuma_vnode *v, const xlx_vnuma_host *h)
{
    return v->pnode_source != XLX_VNUMA_SOURCE_NONE &&
           xlx__vnuma_place(h, v->pnode) >= 0;
}

bool xlx__vnuma_lies_on(const xlx_vnuma_vnode *v, const xlx_vnuma_node *n)
{
    return v->pnode_source != XLX_VNUMA_SOURCE_NONE && v->pnode == n->node;
}

const char *xlx__vnuma_kind(const xlx_vnuma_node *n)
{
    static const char *const names[] = {
        [XLX_VNUMA_MEMORY_UNKNOWN] = "", [XLX_VNUMA_MEMORY_DRAM] = "DRAM",
        [XLX_VNUMA_MEMORY_HBM] = "HBM", [XLX_VNUMA_MEMORY_NVM] = "NVM",
        [XLX_VNUMA_MEMORY_CXL] = "CXL",
        [XLX_VNUMA_MEMORY_OTHER] = "special memory",
    };

    return names[n->kind];
}

/* ---- Graphviz ----------------------------------------------------------- */

static void dot_vnode(FILE *out, const xlx_vnuma_vnode *v, int number)
{
    char size[XLX__VNUMA_SIZE_MAX], *vcpus;

    vcpus = xlx__vnuma_list_text(v->vcpus, v->num_vcpus, 40);
    fprintf(out, "    v%d [shape=box, style=filled, fillcolor=lightblue, "
            "label=\"vnode %d\\n%s\\nvCPUs %s\"];\n", number, number,
            xlx__vnuma_size(v->memory, size),
            v->num_vcpus && vcpus ? vcpus : "none");
    free(vcpus);
}

/* A guest that does not run takes of what is free. */
static bool is_too_full(const xlx_vnuma_node *n, const xlx_vnuma_topology *t)
{
    uint64_t sum = 0;
    int i;

    for (i = 0; t && i < t->num_vnodes; i++)
        if (xlx__vnuma_lies_on(&t->vnodes[i], n) && !t->vnodes[i].num_ranges)
            sum += t->vnodes[i].memory;
    return sum > n->free;
}

static void dot_node(FILE *out, const xlx_vnuma_node *n,
                     const xlx_vnuma_topology *t)
{
    char size[XLX__VNUMA_SIZE_MAX], *cpus = xlx__vnuma_cpus_text(n, 40);
    int i;

    fprintf(out, "  subgraph cluster_n%u {\n    label=\"node %u\";\n"
            "    n%u [shape=plaintext, label=\"%s%s%s%s\\ncpus %s%s%s\"];\n",
            n->node, n->node, n->node, n->present ? "" : "at most ",
            xlx__vnuma_size(n->memory, size), *xlx__vnuma_kind(n) ? " " : "",
            xlx__vnuma_kind(n), n->num_cpus && cpus ? cpus : "none",
            n->cpus_assumed ? " (assumed)" : "",
            is_too_full(n, t) ? "\\ntoo full" : "");
    free(cpus);
    for (i = 0; t && i < t->num_vnodes; i++)
        if (xlx__vnuma_lies_on(&t->vnodes[i], n))
            dot_vnode(out, &t->vnodes[i], i);
    fputs("  }\n", out);
}

/* Both ways where they differ; dashed when assumed. */
static void dot_edge(FILE *out, char kind, uint32_t a, uint32_t b,
                     uint32_t there, uint32_t back, bool assumed)
{
    fprintf(out, "  %c%u -- %c%u [label=\"%u", kind, a, kind, b, there);
    if (there != back)
        fprintf(out, " / %u", back);
    fputs(assumed ? "?\", style=dashed];\n" : "\"];\n", out);
}

/* A box of its own for a node that the host does not have. */
static void dot_missing(FILE *out, const xlx_vnuma_topology *t,
                        const xlx_vnuma_host *h, int vnode)
{
    const xlx_vnuma_vnode *v = &t->vnodes[vnode];

    if (!h || v->pnode_source == XLX_VNUMA_SOURCE_NONE) {
        dot_vnode(out, v, vnode);
        return;
    }
    fprintf(out, "  subgraph cluster_m%d {\n    label=\"node %u: the host "
            "has none\"; style=dashed;\n", vnode, v->pnode);
    dot_vnode(out, v, vnode);
    fputs("  }\n", out);
}

void xlx__vnuma_write_dot(FILE *out, const xlx_vnuma_topology *t,
                          const xlx_vnuma_host *h)
{
    int i, j;

    fputs("graph numa {\n  graph [fontname=\"sans-serif\"];\n"
          "  node [fontname=\"sans-serif\"];\n"
          "  edge [fontname=\"sans-serif\"];\n", out);
    for (i = 0; h && i < h->num_nodes; i++)
        dot_node(out, &h->nodes[i], t);
    for (i = 0; t && i < t->num_vnodes; i++)
        if (!h || !xlx__vnuma_is_on_host(&t->vnodes[i], h))
            dot_missing(out, t, h, i);
    for (i = 0; h && i < h->num_nodes; i++)
        for (j = i + 1; j < h->num_nodes; j++)
            dot_edge(out, 'n', h->nodes[i].node, h->nodes[j].node,
                     h->nodes[i].distances[j], h->nodes[j].distances[i],
                     xlx__vnuma_assumed(h, i, j) ||
                     xlx__vnuma_assumed(h, j, i));
    for (i = 0; t && i < t->num_vnodes; i++)
        for (j = i + 1; j < t->num_vnodes; j++)
            dot_edge(out, 'v', (uint32_t)i, (uint32_t)j,
                     t->vnodes[i].distances[j], t->vnodes[j].distances[i],
                     xlx__vnuma_is_assumed(&t->vnodes[i], j) ||
                     xlx__vnuma_is_assumed(&t->vnodes[j], i));
    fputs("}\n", out);
}

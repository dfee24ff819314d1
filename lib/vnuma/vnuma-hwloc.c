/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Topologies written as the XML of hwloc 2 (its hwloc2.dtd): a Machine, a
 * Group for each node with the node's memory, and below it cores and
 * processing units.  Each node has an info "Assumed" for what no source has
 * said; vnuma-hwloc-read.c knows it.
 */
#include <stdlib.h>
#include <string.h>

#include "vnuma/vnuma.h"

/* ---- writing ------------------------------------------------------------ */

/* A set of hwloc's: words of 32 bits, the highest first. */
static void put_set(FILE *out, const uint32_t *list, int num)
{
    uint32_t words[XLX__VNUMA_MAX_CPUS / 32] = { 0 };
    int top = 0, i;

    for (i = 0; i < num; i++) {
        words[list[i] / 32] |= UINT32_C(1) << (list[i] % 32);
        if (top < (int)(list[i] / 32))
            top = (int)(list[i] / 32);
    }
    for (i = top; i >= 0; i--)
        fprintf(out, "0x%08x%s", words[i], i ? "," : "");
}

static void put_sets(FILE *out, const uint32_t *cpus, int num_cpus,
                     const uint32_t *nodes, int num_nodes)
{
    static const char *const names[] = { "cpuset", "complete_cpuset" };
    static const char *const node_names[] = { "nodeset", "complete_nodeset" };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(names); i++) {
        fprintf(out, " %s=\"", names[i]);
        put_set(out, cpus, num_cpus);
        fputc('"', out);
    }
    for (i = 0; i < XLX__ARRAY_SIZE(node_names); i++) {
        fprintf(out, " %s=\"", node_names[i]);
        put_set(out, nodes, num_nodes);
        fputc('"', out);
    }
}

/* One node: its cpus, the core of each, and its memory.  Cores are in order,
 * a core's cpus one after the other. */
struct hwloc_node {
    uint32_t number;
    uint64_t memory;
    uint32_t *cpus;
    uint32_t *cores;                /* NULL: one a cpu */
    int num_cpus;
    char *const *devices;
    int num_devices;
    const xlx_vnuma_node *host;     /* NULL: a vnode */
    const uint32_t *assumed;        /* distances */
    int num_assumed;
};

static void write_cores(FILE *out, const struct hwloc_node *n, unsigned *gp)
{
    int i, j;

    for (i = 0; i < n->num_cpus; i = j) {
        for (j = i + 1; n->cores && j < n->num_cpus &&
             n->cores[j] == n->cores[i]; j++)
            ;
        fprintf(out, "      <object type=\"Core\" os_index=\"%u\"",
                n->cores ? n->cores[i] & 0xffff : n->cpus[i]);
        put_sets(out, n->cpus + i, j - i, &n->number, 1);
        fprintf(out, " gp_index=\"%u\">\n", ++*gp);
        for (; i < j; i++) {
            fprintf(out, "        <object type=\"PU\" os_index=\"%u\"",
                    n->cpus[i]);
            put_sets(out, n->cpus + i, 1, &n->number, 1);
            fprintf(out, " gp_index=\"%u\"/>\n", ++*gp);
        }
        fputs("      </object>\n", out);
    }
}

static const char *const subtypes[] = {
    [XLX_VNUMA_MEMORY_UNKNOWN] = NULL, [XLX_VNUMA_MEMORY_DRAM] = "DRAM",
    [XLX_VNUMA_MEMORY_HBM] = "HBM", [XLX_VNUMA_MEMORY_NVM] = "NVM",
    [XLX_VNUMA_MEMORY_CXL] = "CXL", [XLX_VNUMA_MEMORY_OTHER] = "SPM",
};

/* The words that vnuma-hwloc-read.c takes back. */
static void write_assumed(FILE *out, const struct hwloc_node *n)
{
    const xlx_vnuma_node *h = n->host;
    bool span = h && !h->present, cpus = h && h->cpus_assumed;
    int i;

    if (!span && !cpus && !n->num_assumed)
        return;
    fprintf(out, "        <info name=\"Assumed\" value=\"%s%s",
            span ? "memory " : "", cpus ? "cpus " : "");
    for (i = 0; i < n->num_assumed; i++)
        fprintf(out, "distance:%u ", n->assumed[i]);
    fputs("\"/>\n", out);
}

static void write_node(FILE *out, const struct hwloc_node *n, unsigned *gp)
{
    const char *kind = n->host ? subtypes[n->host->kind] : NULL;
    int i;

    fputs("    <object type=\"Group\"", out);
    put_sets(out, n->cpus, n->num_cpus, &n->number, 1);
    fprintf(out, " gp_index=\"%u\" kind=\"1001\" subkind=\"0\">\n"
            "      <object type=\"NUMANode\" os_index=\"%u\"", ++*gp,
            n->number);
    put_sets(out, n->cpus, n->num_cpus, &n->number, 1);
    fprintf(out, " gp_index=\"%u\" local_memory=\"%llu\"", ++*gp,
            (unsigned long long)n->memory);
    if (kind)
        fprintf(out, " subtype=\"%s\"", kind);
    fputs(">\n", out);
    fprintf(out, "        <page_type size=\"4096\" count=\"%llu\"/>\n",
            (unsigned long long)n->memory / 4096);
    for (i = 0; i < n->num_devices; i++) {
        fputs("        <info name=\"PCIDevice\" value=\"", out);
        xlx__vnuma_put_xml(out, xlx__text(n->devices[i]));
        fputs("\"/>\n", out);
    }
    write_assumed(out, n);
    fputs("      </object>\n", out);
    write_cores(out, n, gp);
    fputs("    </object>\n", out);
}

static void put_numbers(FILE *out, const char *tag, const uint32_t *numbers,
                        int num)
{
    int len = 0, i;

    for (i = 0; i < num; i++)
        len += snprintf(NULL, 0, "%u ", numbers[i]);
    fprintf(out, "    <%s length=\"%d\">", tag, len);
    for (i = 0; i < num; i++)
        fprintf(out, "%u ", numbers[i]);
    fprintf(out, "</%s>\n", tag);
}

static int write_machine(FILE *out, const struct hwloc_node *nodes, int num,
                         const uint32_t *distances, const char *name)
{
    uint32_t numbers[XLX__VNUMA_MAX_NODES] = { 0 }, *cpus;
    unsigned int gp = 1;
    int i, total = 0;

    for (i = 0; i < num; i++)
        total += nodes[i].num_cpus;
    cpus = calloc((size_t)total + 1, sizeof(*cpus));
    if (!cpus)
        return xlx__nomem();
    for (i = 0, total = 0; i < num; i++) {
        numbers[i] = nodes[i].number;
        memcpy(cpus + total, nodes[i].cpus,
               (size_t)nodes[i].num_cpus * sizeof(*cpus));
        total += nodes[i].num_cpus;
    }
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
          "<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n"
          "<topology version=\"2.0\">\n"
          "  <object type=\"Machine\" os_index=\"0\"", out);
    put_sets(out, cpus, total, numbers, num);
    fputs(" allowed_cpuset=\"", out);
    put_set(out, cpus, total);
    fputs("\" allowed_nodeset=\"", out);
    put_set(out, numbers, num);
    fputs("\" gp_index=\"1\">\n    <info name=\"Backend\" value=\"Xen\"/>\n",
          out);
    if (*xlx__text(name)) {
        fputs("    <info name=\"HostName\" value=\"", out);
        xlx__vnuma_put_xml(out, name);
        fputs("\"/>\n", out);
    }
    for (i = 0; i < num; i++)
        write_node(out, &nodes[i], &gp);
    fputs("  </object>\n", out);
    if (num > 1) {
        fprintf(out, "  <distances2 type=\"NUMANode\" nbobjs=\"%d\" "
                "kind=\"5\" name=\"NUMALatency\" indexing=\"os\">\n", num);
        put_numbers(out, "indexes", numbers, num);
        put_numbers(out, "u64values", distances, num * num);
        fputs("  </distances2>\n", out);
    }
    fputs("</topology>\n", out);
    free(cpus);
    return 0;
}

int xlx__vnuma_write_hwloc(FILE *out, const xlx_vnuma_topology *t)
{
    uint32_t distances[XLX__VNUMA_MAX_NODES * XLX__VNUMA_MAX_NODES];
    struct hwloc_node nodes[XLX__VNUMA_MAX_NODES] = { { 0 } };
    int i, j;

    for (i = 0; i < t->num_vnodes; i++) {
        nodes[i].number = (uint32_t)i;
        nodes[i].memory = t->vnodes[i].memory;
        nodes[i].cpus = t->vnodes[i].vcpus;
        nodes[i].num_cpus = t->vnodes[i].num_vcpus;
        nodes[i].assumed = t->vnodes[i].assumed;
        nodes[i].num_assumed = t->vnodes[i].num_assumed;
        for (j = 0; j < t->num_vnodes; j++)
            distances[i * t->num_vnodes + j] = t->vnodes[i].distances[j];
    }
    return write_machine(out, nodes, t->num_vnodes, distances, t->name);
}

/* By socket and core, the threads of a core together. */
static int by_core(const void *a, const void *b)
{
    const xlx_vnuma_cpu *x = a, *y = b;

    if (x->socket != y->socket)
        return x->socket < y->socket ? -1 : 1;
    if (x->core != y->core)
        return x->core < y->core ? -1 : 1;
    return (x->cpu > y->cpu) - (x->cpu < y->cpu);
}

/* n->cpus and n->cores are the caller's to free. */
static int take_cpus(const xlx_vnuma_node *from, struct hwloc_node *n)
{
    size_t num = (size_t)from->num_cpus, i;
    xlx_vnuma_cpu *cpus = calloc(num + 1, sizeof(*cpus));

    n->cpus = calloc(num + 1, sizeof(*n->cpus));
    n->cores = calloc(num + 1, sizeof(*n->cores));
    if (!cpus || !n->cpus || !n->cores) {
        free(cpus);
        return xlx__nomem();
    }
    if (num)
        memcpy(cpus, from->cpus, num * sizeof(*cpus));
    qsort(cpus, num, sizeof(*cpus), by_core);
    for (i = 0; i < num; i++) {
        n->cpus[i] = cpus[i].cpu;
        n->cores[i] = cpus[i].core | cpus[i].socket << 16;
    }
    n->num_cpus = from->num_cpus;
    free(cpus);
    return 0;
}

int xlx__vnuma_write_hwloc_host(FILE *out, const xlx_vnuma_host *h)
{
    uint32_t distances[XLX__VNUMA_MAX_NODES * XLX__VNUMA_MAX_NODES];
    struct hwloc_node nodes[XLX__VNUMA_MAX_NODES] = { { 0 } };
    int i, j, rc = 0;

    for (i = 0; !rc && i < h->num_nodes; i++) {
        nodes[i].number = h->nodes[i].node;
        nodes[i].memory = h->nodes[i].memory;
        nodes[i].devices = h->nodes[i].devices;
        nodes[i].num_devices = h->nodes[i].num_devices;
        nodes[i].host = &h->nodes[i];
        nodes[i].assumed = h->nodes[i].assumed;
        nodes[i].num_assumed = h->nodes[i].num_assumed;
        rc = take_cpus(&h->nodes[i], &nodes[i]);
        for (j = 0; j < h->num_nodes; j++)
            distances[i * h->num_nodes + j] = h->nodes[i].distances[j];
    }
    if (rc) goto out;
    rc = write_machine(out, nodes, h->num_nodes, distances, NULL);

 out:
    for (i = 0; i < h->num_nodes; i++) {
        free(nodes[i].cpus);
        free(nodes[i].cores);
    }
    return rc;
}

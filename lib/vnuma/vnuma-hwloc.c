/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Topologies as the XML of hwloc 2 (its hwloc2.dtd): a Machine, a Group for
 * each node with the node's memory, and below it cores and processing units.
 * Read is whatever lstopo writes.
 */
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "vnuma/vnuma-xml.h"

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

static void write_node(FILE *out, const struct hwloc_node *n, unsigned *gp)
{
    int i;

    fputs("    <object type=\"Group\"", out);
    put_sets(out, n->cpus, n->num_cpus, &n->number, 1);
    fprintf(out, " gp_index=\"%u\" kind=\"1001\" subkind=\"0\">\n"
            "      <object type=\"NUMANode\" os_index=\"%u\"", ++*gp,
            n->number);
    put_sets(out, n->cpus, n->num_cpus, &n->number, 1);
    fprintf(out, " gp_index=\"%u\" local_memory=\"%llu\">\n", ++*gp,
            (unsigned long long)n->memory);
    fprintf(out, "        <page_type size=\"4096\" count=\"%llu\"/>\n",
            (unsigned long long)n->memory / 4096);
    for (i = 0; i < n->num_devices; i++) {
        fputs("        <info name=\"PCIDevice\" value=\"", out);
        xlx__vnuma_put_xml(out, xlx__text(n->devices[i]));
        fputs("\"/>\n", out);
    }
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

/* ---- reading ------------------------------------------------------------ */

#ifndef HAVE_LIBXML2

int xlx__vnuma_read_hwloc(const char *name, const char *text,
                          xlx_vnuma_host *h)
{
    (void)text;
    (void)h;
    return xlx__xml_missing(name);
}

#else

/* Which node each cpu belongs to, by number of the cpu; -1 for none. */
struct owners {
    int node[XLX__VNUMA_MAX_CPUS];
};

/* "0x00000001,,0xffffffff": words of 32 bits, the highest first, one that is
 * 0 may be left out; false for what is no such set. */
static bool own_set(struct owners *o, const char *set, int node)
{
    size_t words = 1, i, bit;
    const char *p;
    uint64_t word;

    for (p = set; (p = strchr(p, ',')); p++)
        words++;
    for (p = set; words--; p++) {
        word = 0;
        if (*p && *p != ',' &&
            (!xlx__take_hex(&p, UINT32_MAX, &word) || (*p && *p != ',')))
            return false;
        for (i = 0; i < 32; i++) {
            bit = words * 32 + i;
            if (word >> i & 1 && bit < XLX__VNUMA_MAX_CPUS)
                o->node[bit] = node;
        }
    }
    return true;
}

static bool is_object(const xmlNode *n, const char *type)
{
    return xlx__xml_is(n, "object") && xlx__xml_attribute_is(n, "type", type);
}

/* The os_index of the object of that type around n, else 0. */
static uint32_t index_around(const xmlNode *n, const char *type)
{
    uint64_t value = 0;

    for (; n; n = n->parent)
        if (is_object(n, type)) {
            if (xlx__xml_number(n, "os_index", UINT16_MAX, &value))
                value = 0;
            break;
        }
    return (uint32_t)value;
}

static int compare_nodes(const void *a, const void *b)
{
    const xlx_vnuma_node *x = a, *y = b;

    return (x->node > y->node) - (x->node < y->node);
}

static int read_nodes(xmlNode *root, xlx_vnuma_host *h)
{
    uint64_t memory = 0, index = 0;
    xlx_vnuma_node *v;
    xmlNode *n;
    int num = 0, rc;

    for (n = root; n; n = xlx__xml_following(n, root))
        num += is_object(n, "NUMANode");
    if (!num || num > XLX__VNUMA_MAX_NODES)
        return xlx__error(ERROR_INVAL, "%d objects of type NUMANode: it must "
                          "be 1 to %d", num, XLX__VNUMA_MAX_NODES);
    rc = xlx__vnuma_alloc_host(h, num);
    v = h->nodes;
    for (n = root; !rc && n; n = xlx__xml_following(n, root)) {
        if (!is_object(n, "NUMANode"))
            continue;
        rc = xlx__xml_need_number(n, "os_index", XLX__VNUMA_MAX_NODES - 1,
                                  &index);
        memory = 0;
        if (!rc && xlx__xml_number(n, "local_memory", INT64_MAX, &memory) < 0)
            rc = ERROR_INVAL;
        v->node = (uint32_t)index;
        v->memory = v->free = memory;
        v++;
    }
    qsort(h->nodes, (size_t)num, sizeof(*h->nodes), compare_nodes);
    return rc;
}

/* Sets of the nodes, which are sorted by now, and devices in our own XML. */
static int read_sets(xmlNode *root, xlx_vnuma_host *h, struct owners *o)
{
    uint64_t index = 0;
    xlx_vnuma_node *v;
    xmlNode *n, *info;
    int place, rc = 0;
    char *s;

    for (n = root; !rc && n; n = xlx__xml_following(n, root)) {
        if (!is_object(n, "NUMANode") ||
            xlx__xml_number(n, "os_index", XLX__VNUMA_MAX_NODES - 1, &index))
            continue;
        place = xlx__vnuma_place(h, (uint32_t)index);
        v = &h->nodes[place];
        s = xlx__xml_attribute(n, "cpuset");
        if (s && !own_set(o, s, place))
            rc = xlx__error(ERROR_INVAL, "line %ld: cpuset=\"%s\": not a set "
                            "of CPUs", xlx__xml_line(n), s);
        xlx__xml_free(s);
        info = xlx__xml_child(n, "info");
        for (; !rc && info; info = xlx__xml_sibling(info, "info")) {
            if (!xlx__xml_attribute_is(info, "name", "PCIDevice"))
                continue;
            s = xlx__xml_attribute(info, "value");
            rc = xlx__vnuma_append_string(&v->devices, &v->num_devices, "%s",
                                          s ? s : "");
            xlx__xml_free(s);
        }
    }
    return rc;
}

static int compare_cpus(const void *a, const void *b)
{
    const xlx_vnuma_cpu *x = a, *y = b;

    return (x->cpu > y->cpu) - (x->cpu < y->cpu);
}

static int add_cpu(xlx_vnuma_node *v, const xmlNode *pu, uint32_t cpu)
{
    uint32_t socket = index_around(pu, "Package");
    xlx_vnuma_cpu *longer = v->cpus;
    int num = v->num_cpus;

    if (!(num & (num - 1))) {           /* it is full: double it */
        longer = reallocarray(longer, num ? 2 * (size_t)num : 1,
                              sizeof(*longer));
        if (!longer)
            return xlx__nomem();
        v->cpus = longer;
    }
    longer[v->num_cpus++] = (xlx_vnuma_cpu){
        .cpu = cpu, .core = index_around(pu, "Core"), .socket = socket,
    };
    return 0;
}

static int read_cpus(xmlNode *root, xlx_vnuma_host *h, const struct owners *o)
{
    uint64_t cpu = 0;
    xmlNode *n;
    int i, rc = 0;

    for (n = root; !rc && n; n = xlx__xml_following(n, root)) {
        if (!is_object(n, "PU"))
            continue;
        rc = xlx__xml_need_number(n, "os_index", XLX__VNUMA_MAX_CPUS - 1,
                                  &cpu);
        if (!rc && o->node[cpu] >= 0)
            rc = add_cpu(&h->nodes[o->node[cpu]], n, (uint32_t)cpu);
    }
    for (i = 0; i < h->num_nodes; i++)
        if (h->nodes[i].num_cpus)
            qsort(h->nodes[i].cpus, (size_t)h->nodes[i].num_cpus,
                  sizeof(*h->nodes[i].cpus), compare_cpus);
    return rc;
}

/* Numbers of all children with that tag, because hwloc begins a new one after
 * ten; false when there are not just so many. */
static bool read_numbers(const xmlNode *n, const char *tag, uint64_t *numbers,
                         int num)
{
    char *content;
    const char *p;
    xmlNode *c;
    int i = 0;

    for (c = xlx__xml_child(n, tag); c; c = xlx__xml_sibling(c, tag)) {
        content = xlx__xml_content(c);
        for (p = content; p && i <= num;) {
            uint64_t value;

            p += strspn(p, " \t\r\n");
            if (!xlx__take_u64(&p, UINT64_MAX, &value))
                break;
            if (i < num)
                numbers[i] = value;
            i++;
        }
        xlx__xml_free(content);
    }
    return i == num;
}

static int read_distances(const xmlNode *root, xlx_vnuma_host *h)
{
    uint64_t indexes[XLX__VNUMA_MAX_NODES];
    uint64_t values[XLX__VNUMA_MAX_NODES * XLX__VNUMA_MAX_NODES];
    int num = h->num_nodes, i, j, a, b;
    xmlNode *d;

    for (i = 0; i < num; i++)
        for (j = 0; j < num; j++)
            h->nodes[i].distances[j] = i == j ? 10 : 20;
    d = xlx__xml_child(root, "distances2");
    for (; d; d = xlx__xml_sibling(d, "distances2"))
        if (xlx__xml_attribute_is(d, "type", "NUMANode") &&
            xlx__xml_attribute_is(d, "name", "NUMALatency"))
            break;
    if (!d)
        return 0;
    if (!xlx__xml_attribute_is(d, "indexing", "os") ||
        !read_numbers(d, "indexes", indexes, num) ||
        !read_numbers(d, "u64values", values, num * num))
        return xlx__error(ERROR_INVAL, "line %ld: distances2: it has not the "
                          "distances between all %d nodes", xlx__xml_line(d),
                          num);
    for (i = 0; i < num; i++)
        for (j = 0; j < num; j++) {
            a = xlx__vnuma_place(h, (uint32_t)indexes[i]);
            b = xlx__vnuma_place(h, (uint32_t)indexes[j]);
            if (a < 0 || b < 0)
                return xlx__error(ERROR_INVAL, "line %ld: distances2: there "
                                  "is no such node", xlx__xml_line(d));
            /* 255 is ACPI's word for no way, as 0 is ours */
            h->nodes[a].distances[b] = values[i * num + j] > 254 ? 0
                                     : (uint32_t)values[i * num + j];
        }
    return 0;
}

int xlx__vnuma_read_hwloc(const char *name, const char *text,
                          xlx_vnuma_host *h)
{
    struct owners *owners = NULL;
    xmlDoc *doc;
    xmlNode *root;
    size_t i;
    int rc;

    rc = xlx__xml_parse(name, text, &doc, &root);
    if (rc)
        return rc;
    owners = malloc(sizeof(*owners));
    if (!owners) {
        rc = xlx__nomem();
        goto out;
    }
    for (i = 0; i < XLX__VNUMA_MAX_CPUS; i++)
        owners->node[i] = -1;
    if (!xlx__xml_is(root, "topology"))
        rc = xlx__error(ERROR_INVAL, "its root is %s, not the topology of "
                        "hwloc", (const char *)root->name);
    else
        rc = read_nodes(root, h);
    if (!rc)
        rc = read_sets(root, h, owners);
    if (!rc)
        rc = read_cpus(root, h, owners);
    if (!rc)
        rc = read_distances(root, h);
    if (rc)
        rc = xlx__error_prefix(rc, "%s", name);

 out:
    free(owners);
    xlx__xml_close(doc);
    return rc;
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A host out of the XML of hwloc, whatever lstopo of its releases 1 to 3
 * writes: nodes, their memory and its kind, and which node has each cpu.  The
 * distances are vnuma-hwloc-distances.c.
 *
 * On a machine with memory of several kinds all nodes of a package have the
 * package's set of cpus; to Linux the cpus are those of the DRAM node, and the
 * others are nodes without cpus.
 */
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "vnuma/vnuma-xml.h"

#ifndef HAVE_LIBXML2

int xlx__vnuma_read_hwloc(const char *name, const char *text,
                          xlx_vnuma_host *h)
{
    (void)text;
    (void)h;
    return xlx__xml_missing(name);
}

#else

#define WORDS (XLX__VNUMA_MAX_CPUS / 32)

/* The cpus that a node is near to, by the file. */
struct cpuset {
    uint32_t words[WORDS];
    int num;
};

/* "0x00000001,,0xffffffff": words of 32 bits, the highest first, one that is
 * 0 may be left out; false for what is no such set. */
static bool read_set(struct cpuset *set, const char *text)
{
    size_t words = 1;
    const char *p;
    uint64_t word;

    for (p = text; (p = strchr(p, ',')); p++)
        words++;
    for (p = text; words--; p++) {
        word = 0;
        if (*p && *p != ',' &&
            (!xlx__take_hex(&p, UINT32_MAX, &word) || (*p && *p != ',')))
            return false;
        if (words < WORDS) {
            set->words[words] = (uint32_t)word;
            set->num += __builtin_popcount((uint32_t)word);
        }
    }
    return true;
}

static bool has_cpu(const struct cpuset *set, uint64_t cpu)
{
    return set->words[cpu / 32] >> (cpu % 32) & 1;
}

/* ---- numbers of objects ------------------------------------------------- */

static bool is_object(const xmlNode *n, const char *type)
{
    return xlx__xml_is(n, "object") && xlx__xml_attribute_is(n, "type", type);
}

/* The number of the object of that type around n: its os_index, or what else
 * tells it from others; otherwise without. */
static uint32_t index_around(const xmlNode *n, const char *type,
                             uint32_t without)
{
    uint64_t value = without;

    for (; n; n = n->parent)
        if (is_object(n, type)) {
            if (xlx__xml_number(n, "os_index", UINT16_MAX, &value) &&
                xlx__xml_number(n, "gp_index", UINT32_MAX, &value))
                value = without;
            break;
        }
    return (uint32_t)value;
}

/* ---- nodes -------------------------------------------------------------- */

static int compare_nodes(const void *a, const void *b)
{
    const xlx_vnuma_node *x = a, *y = b;

    return (x->node > y->node) - (x->node < y->node);
}

static int read_memory(const xmlNode *n, xlx_vnuma_node *v)
{
    uint64_t memory = 0;

    if (xlx__xml_number(n, "local_memory", INT64_MAX, &memory) < 0)
        return ERROR_INVAL;
    v->memory = v->free = memory;
    v->present = v->free_assumed = true;
    return 0;
}

/* hwloc 1 has no NUMANode where there is one node. */
static int read_machine(xmlNode *root, xlx_vnuma_host *h)
{
    char *memory = NULL;
    xmlNode *n;
    int rc;

    for (n = root; n && !memory; n = xlx__xml_following(n, root))
        if (is_object(n, "Machine")) {
            memory = xlx__xml_attribute(n, "local_memory");
            if (memory)
                break;
        }
    if (!memory)
        return xlx__error(ERROR_INVAL, "0 objects of type NUMANode: it must "
                          "be 1 to %d", XLX__VNUMA_MAX_NODES);
    xlx__xml_free(memory);
    rc = xlx__vnuma_alloc_host(h, 1);
    return rc ? rc : read_memory(n, &h->nodes[0]);
}

static int read_nodes(xmlNode *root, xlx_vnuma_host *h)
{
    xlx_vnuma_node *v;
    uint64_t index = 0;
    xmlNode *n;
    int num = 0, rc;

    for (n = root; n; n = xlx__xml_following(n, root))
        num += is_object(n, "NUMANode");
    if (!num)
        return read_machine(root, h);
    if (num > XLX__VNUMA_MAX_NODES)
        return xlx__error(ERROR_INVAL, "%d objects of type NUMANode: it must "
                          "be 1 to %d", num, XLX__VNUMA_MAX_NODES);
    rc = xlx__vnuma_alloc_host(h, num);
    v = h->nodes;
    for (n = root; !rc && n; n = xlx__xml_following(n, root)) {
        if (!is_object(n, "NUMANode"))
            continue;
        rc = xlx__xml_need_number(n, "os_index", XLX__VNUMA_MAX_NODES - 1,
                                  &index);
        v->node = (uint32_t)index;
        if (!rc)
            rc = read_memory(n, v++);
    }
    qsort(h->nodes, (size_t)num, sizeof(*h->nodes), compare_nodes);
    return rc;
}

/* ---- the kind of memory ------------------------------------------------- */

/* In the order in which they are looked for: "CXL-DRAM" is CXL. */
static const struct {
    const char *part;
    xlx_vnuma_memory kind;
} kinds[] = {
    { "CXL", XLX_VNUMA_MEMORY_CXL },
    { "HBM", XLX_VNUMA_MEMORY_HBM }, { "MCDRAM", XLX_VNUMA_MEMORY_HBM },
    { "NVM", XLX_VNUMA_MEMORY_NVM }, { "PMEM", XLX_VNUMA_MEMORY_NVM },
    { "DRAM", XLX_VNUMA_MEMORY_DRAM },
    { "SPM", XLX_VNUMA_MEMORY_OTHER }, { "GPU", XLX_VNUMA_MEMORY_OTHER },
};

static xlx_vnuma_memory kind_of_text(char *text)
{
    xlx_vnuma_memory kind = XLX_VNUMA_MEMORY_UNKNOWN;
    size_t i;

    for (i = 0; text && i < XLX__ARRAY_SIZE(kinds); i++)
        if (strstr(text, kinds[i].part)) {
            kind = kinds[i].kind;
            break;
        }
    xlx__xml_free(text);
    return kind;
}

/* hwloc's own bits, in its memory tiers of release 3. */
static xlx_vnuma_memory kind_of_bits(uint64_t bits)
{
    static const struct {
        uint64_t bit;
        xlx_vnuma_memory kind;
    } tiers[] = {
        { 32, XLX_VNUMA_MEMORY_CXL }, { 1, XLX_VNUMA_MEMORY_HBM },
        { 16, XLX_VNUMA_MEMORY_NVM }, { 4, XLX_VNUMA_MEMORY_OTHER },
        { 8, XLX_VNUMA_MEMORY_OTHER }, { 2, XLX_VNUMA_MEMORY_DRAM },
    };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(tiers); i++)
        if (bits & tiers[i].bit)
            return tiers[i].kind;
    return XLX_VNUMA_MEMORY_UNKNOWN;
}

static xlx_vnuma_memory kind_of_tier(const xmlNode *root, uint32_t node)
{
    struct cpuset *set = calloc(1, sizeof(*set));   /* a set of nodes */
    xlx_vnuma_memory kind = XLX_VNUMA_MEMORY_UNKNOWN;
    uint64_t bits = 0;
    xmlNode *t = xlx__xml_child(root, "memtier");
    char *nodes;

    for (; set && t; t = xlx__xml_sibling(t, "memtier")) {
        memset(set, 0, sizeof(*set));
        nodes = xlx__xml_attribute(t, "nodeset");
        if (nodes && read_set(set, nodes) && has_cpu(set, node) &&
            !xlx__xml_number(t, "kinds", UINT64_MAX, &bits))
            kind = kind_of_bits(bits);
        xlx__xml_free(nodes);
    }
    free(set);
    return kind;
}

/* The device that Linux made of special memory, in hwloc 2. */
static xlx_vnuma_memory kind_of_info(const xmlNode *n)
{
    xlx_vnuma_memory kind = XLX_VNUMA_MEMORY_UNKNOWN;
    xmlNode *info = xlx__xml_child(n, "info");

    for (; info; info = xlx__xml_sibling(info, "info")) {
        if (xlx__xml_attribute_is(info, "name", "Type") ||
            xlx__xml_attribute_is(info, "name", "DAXType"))
            return kind_of_text(xlx__xml_attribute(info, "value"));
        if (xlx__xml_attribute_is(info, "name", "DAXDevice"))
            kind = XLX_VNUMA_MEMORY_OTHER;
    }
    return kind;
}

static xlx_vnuma_memory kind_of(const xmlNode *root, const xmlNode *n,
                                uint32_t node)
{
    xlx_vnuma_memory kind = kind_of_text(xlx__xml_attribute(n, "subtype"));

    if (kind == XLX_VNUMA_MEMORY_UNKNOWN)
        kind = kind_of_info(n);
    if (kind == XLX_VNUMA_MEMORY_UNKNOWN)
        kind = kind_of_tier(root, node);
    return kind;
}

/* ---- what else a node has ----------------------------------------------- */

/* The words that vnuma-hwloc.c has written. */
static int read_assumed(xlx_vnuma_node *v, const char *words)
{
    uint32_t node;
    int rc = 0;

    while (!rc && *(words += strspn(words, " "))) {
        if (xlx__take_word(&words, "memory"))
            v->present = false;
        else if (xlx__take_word(&words, "cpus"))
            v->cpus_assumed = true;
        else if (xlx__take_word(&words, "distance:") &&
                 xlx__take_u32(&words, XLX__VNUMA_MAX_NODES - 1, &node))
            rc = xlx__vnuma_append(&v->assumed, &v->num_assumed, node);
        else
            break;
    }
    return rc;
}

static int read_infos(const xmlNode *n, xlx_vnuma_node *v)
{
    xmlNode *info = xlx__xml_child(n, "info");
    int rc = 0;
    char *s;

    for (; !rc && info; info = xlx__xml_sibling(info, "info")) {
        s = xlx__xml_attribute(info, "value");
        if (s && xlx__xml_attribute_is(info, "name", "PCIDevice"))
            rc = xlx__vnuma_append_string(&v->devices, &v->num_devices, "%s",
                                          s);
        else if (s && xlx__xml_attribute_is(info, "name", "Assumed"))
            rc = read_assumed(v, s);
        xlx__xml_free(s);
    }
    return rc;
}

/* The nodes are sorted by now; sets has one for each. */
static int read_sets(xmlNode *root, xlx_vnuma_host *h, struct cpuset *sets)
{
    uint64_t index = 0;
    xlx_vnuma_node *v;
    int place, rc = 0;
    xmlNode *n;
    char *s;

    for (n = root; !rc && n; n = xlx__xml_following(n, root)) {
        if (!is_object(n, "NUMANode") ||
            xlx__xml_number(n, "os_index", XLX__VNUMA_MAX_NODES - 1, &index))
            continue;
        place = xlx__vnuma_place(h, (uint32_t)index);
        v = &h->nodes[place];
        v->kind = kind_of(root, n, v->node);
        s = xlx__xml_attribute(n, "cpuset");
        if (s && !read_set(&sets[place], s))
            rc = xlx__error(ERROR_INVAL, "line %ld: cpuset=\"%s\": not a set "
                            "of CPUs", xlx__xml_line(n), s);
        xlx__xml_free(s);
        if (!rc)
            rc = read_infos(n, v);
    }
    return rc;
}

/* ---- cpus --------------------------------------------------------------- */

/* Negative when node a has the cpus that both sets have: ordinary memory is
 * before other kinds, then the node that is near to fewer cpus.  0 when the
 * file does not say. */
static int compare_owners(const xlx_vnuma_host *h, const struct cpuset *sets,
                          int a, int b)
{
    static const int rank[] = {
        [XLX_VNUMA_MEMORY_DRAM] = 0, [XLX_VNUMA_MEMORY_UNKNOWN] = 1,
        [XLX_VNUMA_MEMORY_HBM] = 2, [XLX_VNUMA_MEMORY_CXL] = 3,
        [XLX_VNUMA_MEMORY_OTHER] = 4, [XLX_VNUMA_MEMORY_NVM] = 5,
    };
    int by_kind = rank[h->nodes[a].kind] - rank[h->nodes[b].kind];

    return by_kind ? by_kind : sets[a].num - sets[b].num;
}

/* The place of the node that has the cpu, or -1. */
static int owner_of(xlx_vnuma_host *h, const struct cpuset *sets, uint64_t cpu)
{
    int best = -1, i, order;

    for (i = 0; i < h->num_nodes; i++)
        if (has_cpu(&sets[i], cpu) &&
            (best < 0 || compare_owners(h, sets, i, best) < 0))
            best = i;
    for (i = 0; best >= 0 && i < h->num_nodes; i++) {
        order = i != best && has_cpu(&sets[i], cpu)
              ? compare_owners(h, sets, i, best) : 1;
        if (!order)
            h->nodes[i].cpus_assumed = h->nodes[best].cpus_assumed = true;
    }
    return best;
}

static int compare_cpus(const void *a, const void *b)
{
    const xlx_vnuma_cpu *x = a, *y = b;

    return (x->cpu > y->cpu) - (x->cpu < y->cpu);
}

static int add_cpu(xlx_vnuma_node *v, const xmlNode *pu, uint32_t cpu)
{
    uint32_t socket = index_around(pu, "Package",
                                   index_around(pu, "Socket", 0));
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
        .cpu = cpu, .core = index_around(pu, "Core", cpu), .socket = socket,
    };
    return 0;
}

static int read_cpus(xmlNode *root, xlx_vnuma_host *h,
                     const struct cpuset *sets)
{
    bool machine = h->num_nodes == 1 && !sets[0].num;
    uint64_t cpu = 0;
    int i, owner, rc = 0;
    xmlNode *n;

    for (n = root; !rc && n; n = xlx__xml_following(n, root)) {
        if (!is_object(n, "PU"))
            continue;
        rc = xlx__xml_need_number(n, "os_index", XLX__VNUMA_MAX_CPUS - 1,
                                  &cpu);
        owner = rc ? -1 : machine ? 0 : owner_of(h, sets, cpu);
        if (owner >= 0)
            rc = add_cpu(&h->nodes[owner], n, (uint32_t)cpu);
    }
    for (i = 0; i < h->num_nodes; i++)
        if (h->nodes[i].num_cpus)
            qsort(h->nodes[i].cpus, (size_t)h->nodes[i].num_cpus,
                  sizeof(*h->nodes[i].cpus), compare_cpus);
    return rc;
}

int xlx__vnuma_read_hwloc(const char *name, const char *text,
                          xlx_vnuma_host *h)
{
    struct cpuset *sets = NULL;
    xmlDoc *doc;
    xmlNode *root;
    int rc;

    rc = xlx__xml_parse(name, text, &doc, &root);
    if (rc)
        return rc;
    if (!xlx__xml_is(root, "topology"))
        rc = xlx__error(ERROR_INVAL, "its root is %s, not the topology of "
                        "hwloc", (const char *)root->name);
    else
        rc = read_nodes(root, h);
    if (!rc) {
        sets = calloc((size_t)h->num_nodes, sizeof(*sets));
        rc = sets ? read_sets(root, h, sets) : xlx__nomem();
    }
    if (!rc)
        rc = read_cpus(root, h, sets);
    if (!rc)
        rc = xlx__vnuma_read_hwloc_distances(root, h);
    if (rc)
        rc = xlx__error_prefix(rc, "%s", name);
    free(sets);
    xlx__xml_close(doc);
    return rc;
}

#endif

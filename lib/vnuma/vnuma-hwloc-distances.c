/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The distances of a host in the XML of hwloc: distances2 of its releases 2
 * and 3, with or without a name, of all nodes, some of them, or of groups of
 * them; latencies of release 1, as multiples of a base.  A distance that no
 * matrix has is 20, and is marked as assumed.
 */
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "vnuma/vnuma-xml.h"

#ifdef HAVE_LIBXML2

#define MOST XLX__VNUMA_MAX_NODES

/* hwloc's HWLOC_DISTANCES_KIND_MEANS_LATENCY */
#define KIND_LATENCY 4

/* The distance of each pair of nodes, if it is known; 0 is "no way". */
struct known {
    bool is[MOST][MOST];
    uint32_t value[MOST][MOST];
};

/* The nodes that one row of a matrix is about: the places of all that are in
 * that group, or of the node itself. */
struct row {
    int places[MOST];
    int num;
};

/* Numbers of all children with that tag, because hwloc begins a new one after
 * ten; how many there are, at most most, or -1 when there are more. */
static int read_numbers(const xmlNode *n, const char *tag, uint64_t *numbers,
                        int most)
{
    char *content;
    const char *p;
    xmlNode *c;
    int i = 0;

    for (c = xlx__xml_child(n, tag); c; c = xlx__xml_sibling(c, tag)) {
        content = xlx__xml_content(c);
        for (p = content; p && i <= most;) {
            uint64_t value;

            p += strspn(p, " \t\r\n");
            if (!xlx__take_u64(&p, UINT64_MAX, &value))
                break;
            if (i < most)
                numbers[i] = value;
            i++;
        }
        xlx__xml_free(content);
    }
    return i <= most ? i : -1;
}

static bool is_object(const xmlNode *n, const char *type)
{
    return xlx__xml_is(n, "object") && xlx__xml_attribute_is(n, "type", type);
}

/* Is the object around n, or n, of that type and number? */
static bool is_inside(const xmlNode *n, const char *type, const char *key,
                      uint64_t number)
{
    uint64_t own = 0;

    for (; n; n = n->parent)
        if (is_object(n, type) &&
            !xlx__xml_number(n, key, UINT64_MAX, &own) && own == number)
            return true;
    return false;
}

static void find_row(xmlNode *root, const xlx_vnuma_host *h, const char *type,
                     const char *key, uint64_t number, struct row *row)
{
    uint64_t node = 0;
    xmlNode *n;
    int place;

    row->num = 0;
    for (n = root; n; n = xlx__xml_following(n, root)) {
        if (!is_object(n, "NUMANode") || !is_inside(n, type, key, number) ||
            xlx__xml_number(n, "os_index", MOST - 1, &node))
            continue;
        place = xlx__vnuma_place(h, (uint32_t)node);
        if (place >= 0)
            row->places[row->num++] = place;
    }
}

static void learn(struct known *k, const struct row *a, const struct row *b,
                  uint64_t value, bool groups)
{
    int i, j;

    for (i = 0; i < a->num; i++)
        for (j = 0; j < b->num; j++) {
            /* a group's way to itself says nothing of its nodes */
            if (groups && a == b)
                continue;
            k->is[a->places[i]][b->places[j]] = true;
            /* 255 is ACPI's word for no way, as 0 is ours */
            k->value[a->places[i]][b->places[j]] =
                value > 254 ? 0 : (uint32_t)value;
        }
}

static int take_matrix(xmlNode *root, const xmlNode *d, const char *type,
                       const xlx_vnuma_host *h, struct known *k)
{
    bool nodes = !strcmp(type, "NUMANode");
    const char *key = xlx__xml_attribute_is(d, "indexing", "gp") ? "gp_index"
                                                                 : "os_index";
    struct row *rows = calloc(MOST, sizeof(*rows));
    uint64_t *values = calloc(MOST * MOST, sizeof(*values));
    uint64_t indexes[MOST];
    int num = read_numbers(d, "indexes", indexes, MOST), i, j, rc = 0;

    if (!rows || !values)
        rc = xlx__nomem();
    else if (num < 1 || read_numbers(d, "u64values", values, num * num) !=
             num * num)
        rc = xlx__error(ERROR_INVAL, "line %ld: distances2: it has not the "
                        "distances between all of its objects",
                        xlx__xml_line(d));
    for (i = 0; !rc && i < num; i++) {
        find_row(root, h, type, key, indexes[i], &rows[i]);
        if (nodes && !rows[i].num)
            rc = xlx__error(ERROR_INVAL, "line %ld: distances2: there is no "
                            "node %llu", xlx__xml_line(d),
                            (unsigned long long)indexes[i]);
    }
    for (i = 0; !rc && i < num; i++)
        for (j = 0; j < num; j++)
            learn(k, &rows[i], &rows[j], values[i * num + j], !nodes);
    free(rows);
    free(values);
    return rc;
}

/* How much a matrix is the ACPI SLIT: 0 for one of another kind, such as
 * bandwidths. */
static int likeness(const xmlNode *d)
{
    uint64_t kind = 0;
    int r = xlx__xml_number(d, "kind", UINT32_MAX, &kind);
    char *name = xlx__xml_attribute(d, "name");
    bool named = name && *name, slit = name && !strcmp(name, "NUMALatency");

    xlx__xml_free(name);
    if (slit)
        return 2;
    return !named && (r || kind & KIND_LATENCY);
}

static int take_best(xmlNode *root, const char *type, const xlx_vnuma_host *h,
                     struct known *k, bool *found_r)
{
    xmlNode *d = xlx__xml_child(root, "distances2"), *best = NULL;

    for (; d; d = xlx__xml_sibling(d, "distances2"))
        if (xlx__xml_attribute_is(d, "type", type) && likeness(d) &&
            (!best || likeness(d) > likeness(best)))
            best = d;
    *found_r = best;
    return best ? take_matrix(root, best, type, h, k) : 0;
}

/* ---- hwloc 1 ------------------------------------------------------------ */

/* "1.600000" of a base "10.000000", in thousandths; false for another text. */
static bool read_thousandths(const xmlNode *n, const char *name,
                             uint64_t *value_r)
{
    char *s = xlx__xml_attribute(n, name);
    const char *p = s;
    uint64_t whole = 0;
    int i;

    if (!s || !xlx__take_u64(&p, UINT32_MAX, &whole)) {
        xlx__xml_free(s);
        return false;
    }
    if (*p == '.')
        p++;
    for (i = 0; i < 3; i++)
        whole = whole * 10 + (*p >= '0' && *p <= '9' ? *p++ - '0' : 0);
    *value_r = whole;
    xlx__xml_free(s);
    return true;
}

/* The objects of that depth are the nodes when they are as many, in the order
 * of the file. */
static void take_latencies(xmlNode *root, const xlx_vnuma_host *h,
                           struct known *k, const xmlNode *d)
{
    struct row all;
    uint64_t num = 0, base, value;
    xmlNode *l = xlx__xml_child(d, "latency"), *n;
    int i, j;

    all.num = 0;
    for (n = root; n; n = xlx__xml_following(n, root))
        if (is_object(n, "NUMANode") && all.num < MOST &&
            !xlx__xml_number(n, "os_index", MOST - 1, &value))
            all.places[all.num++] = xlx__vnuma_place(h, (uint32_t)value);
    if (xlx__xml_number(d, "nbobjs", MOST, &num) ||
        num != (uint64_t)h->num_nodes || all.num != h->num_nodes ||
        !read_thousandths(d, "latency_base", &base))
        return;
    for (i = 0; i < all.num; i++)
        for (j = 0; j < all.num; j++) {
            if (!l || !read_thousandths(l, "value", &value))
                return;
            value = (value * base + 500000) / 1000000;
            k->is[all.places[i]][all.places[j]] = true;
            k->value[all.places[i]][all.places[j]] =
                value > 254 ? 0 : (uint32_t)value;
            l = xlx__xml_sibling(l, "latency");
        }
}

static void take_old(xmlNode *root, const xlx_vnuma_host *h, struct known *k)
{
    xmlNode *n;

    for (n = root; n; n = xlx__xml_following(n, root))
        if (xlx__xml_is(n, "distances"))
            take_latencies(root, h, k, n);
}

/* ---- all of them -------------------------------------------------------- */

static bool is_marked(const xlx_vnuma_node *n, uint32_t node)
{
    int i;

    for (i = 0; i < n->num_assumed; i++)
        if (n->assumed[i] == node)
            return true;
    return false;
}

int xlx__vnuma_read_hwloc_distances(xmlNode *root, xlx_vnuma_host *h)
{
    static const char *const types[] = {
        "NUMANode", "Group", "Die", "Package",
    };
    struct known *k = calloc(1, sizeof(*k));
    bool found = false;
    size_t t;
    int i, j, rc = k ? 0 : xlx__nomem();

    for (t = 0; !rc && !found && t < XLX__ARRAY_SIZE(types); t++)
        rc = take_best(root, types[t], h, k, &found);
    if (!rc && !found)
        take_old(root, h, k);
    for (i = 0; !rc && i < h->num_nodes; i++)
        for (j = 0; !rc && j < h->num_nodes; j++) {
            h->nodes[i].distances[j] = k->is[i][j] ? k->value[i][j] :
                                       i == j ? 10 : 20;
            if (i != j && !k->is[i][j] &&
                !is_marked(&h->nodes[i], h->nodes[j].node))
                rc = xlx__vnuma_append(&h->nodes[i].assumed,
                                       &h->nodes[i].num_assumed,
                                       h->nodes[j].node);
        }
    free(k);
    return rc;
}

#endif

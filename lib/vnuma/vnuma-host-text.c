/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A host out of what "xl info -n" or "numactl -H" prints, as people post it:
 * with blanks or the "> " of a quote before the lines, and other lines around.
 */
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "vnuma/vnuma.h"

#define MOST XLX__VNUMA_MAX_NODES
#define MIB ((uint64_t)XLX__VNUMA_MIB)

struct reader {
    xlx_vnuma_host *h;
    const char *name;
    int line;
    enum { OTHER, CPUS, DEVICES, NODES, DISTANCES } part;
    uint64_t total;                 /* bytes; 0: not said */
    int64_t distances[MOST][MOST];  /* by number; -1: not said */
    bool has_free[MOST];
    uint32_t columns[MOST];         /* of numactl's table */
    int num_columns;
};

/* ---- pieces ------------------------------------------------------------- */

static void skip_blanks(const char **p)
{
    *p += strspn(*p, " \t");
}

/* The word at *p, then no longer, blanks on both sides skipped. */
static bool take(const char **p, const char *word)
{
    const char *q = *p;

    skip_blanks(&q);
    if (!xlx__take_word(&q, word))
        return false;
    skip_blanks(&q);
    *p = q;
    return true;
}

static bool take_number(const char **p, uint64_t max, uint64_t *value_r)
{
    skip_blanks(p);
    if (!xlx__take_u64(p, max, value_r))
        return false;
    skip_blanks(p);
    return true;
}

static int wrong(const struct reader *r, const char *what)
{
    return xlx__error(ERROR_INVAL, "line %d: %s", r->line, what);
}

/* The node of that number, made when it is new. */
static int find_node(struct reader *r, uint64_t number, xlx_vnuma_node **n_r)
{
    xlx_vnuma_node *longer;
    int place = xlx__vnuma_place(r->h, (uint32_t)number);

    if (place < 0) {
        longer = reallocarray(r->h->nodes, (size_t)r->h->num_nodes + 1,
                              sizeof(*longer));
        if (!longer)
            return xlx__nomem();
        r->h->nodes = longer;
        place = r->h->num_nodes++;
        xlx_vnuma_node_init(&longer[place]);
        longer[place].node = (uint32_t)number;
    }
    *n_r = &r->h->nodes[place];
    return 0;
}

static int add_cpu(xlx_vnuma_node *n, uint64_t cpu, uint64_t core,
                   uint64_t socket)
{
    xlx_vnuma_cpu *longer;

    longer = reallocarray(n->cpus, (size_t)n->num_cpus + 1, sizeof(*longer));
    if (!longer)
        return xlx__nomem();
    n->cpus = longer;
    longer[n->num_cpus++] = (xlx_vnuma_cpu){
        .cpu = (uint32_t)cpu, .core = (uint32_t)core,
        .socket = (uint32_t)socket,
    };
    return 0;
}

/* ---- xl info -n --------------------------------------------------------- */

/* "  0:       0        0        0": cpu, core, socket, node */
static int read_cpu(struct reader *r, const char *p)
{
    uint64_t cpu, core, socket, node;
    xlx_vnuma_node *n;
    int rc;

    if (!take_number(&p, XLX__VNUMA_MAX_CPUS - 1, &cpu) || !take(&p, ":")) {
        r->part = OTHER;
        return 0;
    }
    if (!take_number(&p, UINT32_MAX, &core) ||
        !take_number(&p, UINT32_MAX, &socket) ||
        !take_number(&p, MOST - 1, &node) || *p)
        return wrong(r, "not the core, socket and node of a cpu");
    rc = find_node(r, node, &n);
    return rc ? rc : add_cpu(n, cpu, core, socket);
}

/* "   0:     33792       5838      10,21": MiB */
static int read_node(struct reader *r, const char *p)
{
    uint64_t number, size, mib, d;
    xlx_vnuma_node *n;
    int rc, i;

    if (!take_number(&p, MOST - 1, &number) || !take(&p, ":")) {
        r->part = OTHER;
        return 0;
    }
    if (!take_number(&p, INT64_MAX / MIB / MOST, &size) ||
        !take_number(&p, INT64_MAX / MIB / MOST, &mib))
        return wrong(r, "not the memory of a node, all and free, in MiB");
    rc = find_node(r, number, &n);
    if (rc)
        return rc;
    n->memory = size * MIB;
    n->free = (mib < size ? mib : size) * MIB;
    r->has_free[number] = true;
    for (i = 0; i < MOST; i++) {
        if (take(&p, "-1"))             /* libxl's "invalid" */
            r->distances[number][i] = 0;
        else if (take_number(&p, UINT32_MAX, &d))
            r->distances[number][i] = d > 254 ? 0 : (int64_t)d;
        else
            break;
        take(&p, ",");
    }
    return *p ? wrong(r, "not the distances of a node") : 0;
}

static int read_device(struct reader *r, const char *p)
{
    size_t len = strcspn(p, " \t");
    const char *number = p + len;
    xlx_vnuma_node *n;
    uint64_t node;
    int rc;

    if (!len || strcspn(p, ":") >= len ||
        !take_number(&number, MOST - 1, &node) || *number) {
        r->part = OTHER;
        return 0;
    }
    rc = find_node(r, node, &n);
    return rc ? rc : xlx__vnuma_append_string(&n->devices, &n->num_devices,
                                              "%.*s", (int)len, p);
}

/* ---- numactl -H --------------------------------------------------------- */

/* "0 1 2 3", also with ranges */
static int read_cpus(struct reader *r, xlx_vnuma_node *n, const char *p)
{
    uint64_t cpu, last;
    int rc = 0;

    while (!rc && *p) {
        if (!take_number(&p, XLX__VNUMA_MAX_CPUS - 1, &cpu))
            return wrong(r, "not the cpus of a node");
        last = cpu;
        if (take(&p, "-") && !take_number(&p, XLX__VNUMA_MAX_CPUS - 1, &last))
            return wrong(r, "not the cpus of a node");
        take(&p, ",");
        for (; !rc && cpu <= last; cpu++)
            rc = add_cpu(n, cpu, cpu, 0);
    }
    return rc;
}

/* "node 0 cpus: ...", "node 0 size: 32097 MB", "node 0 free: 12 MB" */
static int read_line_of_node(struct reader *r, const char *p)
{
    uint64_t number, mib;
    xlx_vnuma_node *n;
    bool size;
    int rc;

    if (!take_number(&p, MOST - 1, &number))
        return wrong(r, "not the number of a node");
    rc = find_node(r, number, &n);
    if (rc || (take(&p, "cpus:")))
        return rc ? rc : read_cpus(r, n, p);
    size = take(&p, "size:");
    if ((!size && !take(&p, "free:")) ||
        !take_number(&p, INT64_MAX / MIB / MOST, &mib) || !take(&p, "MB"))
        return wrong(r, "not the memory of a node in MB");
    if (size) {
        n->memory = mib * MIB;
        n->present = true;
    } else {
        n->free = mib * MIB;
        r->has_free[number] = true;
    }
    return 0;
}

/* "node   0   1", then "  0:  10  21" */
static int read_table(struct reader *r, const char *p)
{
    uint64_t number, d;
    int i;

    if (take(&p, "node")) {
        for (; r->num_columns < MOST && take_number(&p, MOST - 1, &number); )
            r->columns[r->num_columns++] = (uint32_t)number;
        return *p ? wrong(r, "not the numbers of nodes") : 0;
    }
    if (!take_number(&p, MOST - 1, &number) || !take(&p, ":")) {
        r->part = OTHER;
        return 0;
    }
    for (i = 0; i < r->num_columns && take_number(&p, UINT32_MAX, &d); i++)
        r->distances[number][r->columns[i]] = d > 254 ? 0 : (int64_t)d;
    return *p ? wrong(r, "not the distances of a node") : 0;
}

/* ---- both --------------------------------------------------------------- */

static int read_line(struct reader *r, const char *p)
{
    uint64_t mib;

    if (take(&p, "total_memory") && take(&p, ":") &&
        take_number(&p, INT64_MAX / MIB, &mib))
        r->total = mib * MIB;
    else if (take(&p, "cpu:"))
        r->part = CPUS;
    else if (take(&p, "device") && take(&p, "node"))
        r->part = DEVICES;
    else if (take(&p, "node:"))
        r->part = NODES;
    else if (take(&p, "node distances:"))
        r->part = DISTANCES;
    else if (r->part == DISTANCES)
        return read_table(r, p);
    else if (take(&p, "node ")) {
        r->h->cores_assumed = true;     /* numactl says nothing of them */
        return read_line_of_node(r, p);
    } else if (r->part == CPUS)
        return read_cpu(r, p);
    else if (r->part == NODES)
        return read_node(r, p);
    else if (r->part == DEVICES)
        return read_device(r, p);
    return 0;
}

static int read_lines(struct reader *r, const char *text)
{
    const char *end, *p;
    char *line;
    int rc = 0;

    for (; !rc && *text; text = *end ? end + 1 : end) {
        end = text + strcspn(text, "\n");
        r->line++;
        line = strndup(text, (size_t)(end - text));
        if (!line)
            return xlx__nomem();
        line[strcspn(line, "\r")] = '\0';
        p = line + strspn(line, " \t>");
        rc = read_line(r, p);
        free(line);
    }
    return rc;
}

static int compare_nodes(const void *a, const void *b)
{
    const xlx_vnuma_node *x = a, *y = b;

    return (x->node > y->node) - (x->node < y->node);
}

static int compare_cpus(const void *a, const void *b)
{
    const xlx_vnuma_cpu *x = a, *y = b;

    return (x->cpu > y->cpu) - (x->cpu < y->cpu);
}

/* Distances to all nodes, which are sorted. */
static int fill_distances(struct reader *r, xlx_vnuma_node *n)
{
    int64_t d;
    int j, rc = 0;

    n->distances = calloc((size_t)r->h->num_nodes, sizeof(*n->distances));
    if (!n->distances)
        return xlx__nomem();
    n->num_distances = r->h->num_nodes;
    for (j = 0; !rc && j < r->h->num_nodes; j++) {
        d = r->distances[n->node][r->h->nodes[j].node];
        if (d < 0 && r->h->nodes[j].node != n->node)
            rc = xlx__vnuma_append(&n->assumed, &n->num_assumed,
                                   r->h->nodes[j].node);
        if (d < 0)
            d = r->h->nodes[j].node == n->node ? 10 : 20;
        n->distances[j] = (uint32_t)d;
    }
    return rc;
}

static int finish(struct reader *r)
{
    xlx_vnuma_host *h = r->h;
    xlx_vnuma_node *n;
    int i, rc = 0;

    qsort(h->nodes, (size_t)h->num_nodes, sizeof(*h->nodes), compare_nodes);
    for (i = 0; !rc && i < h->num_nodes; i++) {
        n = &h->nodes[i];
        if (n->num_cpus)
            qsort(n->cpus, (size_t)n->num_cpus, sizeof(*n->cpus),
                  compare_cpus);
        n->free_assumed = !r->has_free[n->node];
        if (n->free_assumed || n->free > n->memory)
            n->free = n->memory;
        rc = fill_distances(r, n);
    }
    if (!rc)
        xlx__vnuma_bound_memory(h, r->total);
    return rc;
}

int xlx__vnuma_read_host_text(const char *name, const char *text,
                              xlx_vnuma_host *h)
{
    struct reader *r = calloc(1, sizeof(*r));
    int i, j, rc;

    if (!r)
        return xlx__nomem();
    r->h = h;
    r->name = name;
    for (i = 0; i < MOST; i++)
        for (j = 0; j < MOST; j++)
            r->distances[i][j] = -1;
    rc = read_lines(r, text);
    if (rc)
        rc = xlx__error_prefix(rc, "%s", name);
    else if (!h->num_nodes)
        rc = xlx__error(ERROR_INVAL, "%s: neither the JSON of a host, nor "
                        "the XML of hwloc, nor what xl info -n or numactl -H "
                        "prints", name);
    else
        rc = finish(r);
    free(r);
    return rc;
}

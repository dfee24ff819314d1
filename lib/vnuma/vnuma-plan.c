/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The planner: how a guest is cut into vnodes, and on which nodes of the host
 * they go.
 *
 * Vnodes are equal but for remainders, which go to the first ones: so each
 * needs at least as much of everything as the next, and it is enough to
 * know of a node from which vnode on it can take any, its level.  A set of
 * nodes holds the vnodes when no more of its nodes have level i or a later one
 * than there are vnodes from i on.
 */
#include <stdlib.h>
#include <string.h>

#include "gen-calls.h"
#include "vnuma/vnuma.h"

/* Steps of the search; all sets of 16 nodes are far fewer. */
#define SEARCH_STEPS (1u << 20)
#define UNREACHABLE 255

struct share {
    uint32_t vcpus;
    uint64_t mib;
};

/* The values by which sets are compared; smaller is better, in this order. */
struct cost {
    uint32_t largest;               /* distance */
    uint64_t sum;                   /* of distances */
    uint64_t taken;                 /* MiB that are not free on its nodes */
};

struct planner {
    const xlx_vnuma_plan_spec *spec;
    const xlx_vnuma_host *host;
    int k;                          /* how many vnodes */
    struct share shares[XLX__VNUMA_MAX_NODES];
    int level[XLX__VNUMA_MAX_NODES];    /* of each node; k: takes none */
    /* the search */
    int set[XLX__VNUMA_MAX_NODES], best[XLX__VNUMA_MAX_NODES];
    int from[XLX__VNUMA_MAX_NODES + 1];     /* in set, with that level or up */
    struct cost best_cost;
    bool found, complete;
    unsigned int steps;
};

/* ---- what a node can take ----------------------------------------------- */

static uint32_t vcpu_room(const struct planner *p, int node)
{
    uint32_t cpus = (uint32_t)p->host->nodes[node].num_cpus;
    uint32_t most = p->spec->vcpus_per_node;

    return most && most < cpus ? most : cpus;
}

/* libxl's own measure of its needs next to a guest's memory, for its page
 * tables, is 1 MiB a vCPU and a 128th; it may come from any node. */
static uint64_t beside(const struct share *s)
{
    return s->vcpus + (s->mib + 127) / 128;
}

static bool takes(const struct planner *p, int node, const struct share *s)
{
    uint64_t most = p->spec->memory_per_node / XLX__VNUMA_MIB;

    return s->vcpus <= vcpu_room(p, node) &&
           (!p->spec->memory_per_node || s->mib <= most) &&
           s->mib + beside(s) <= p->host->nodes[node].free / XLX__VNUMA_MIB;
}

/* ---- equal vnodes ------------------------------------------------------- */

static void cut_equally(struct planner *p, int k)
{
    uint64_t mib = p->spec->memory / XLX__VNUMA_MIB;
    uint32_t vcpus = p->spec->vcpus;
    int i;

    p->k = k;
    for (i = 0; i < k; i++) {
        p->shares[i].vcpus = vcpus / k + ((uint32_t)i < vcpus % k);
        p->shares[i].mib = mib / k + ((uint64_t)i < mib % k);
    }
}

static void find_levels(struct planner *p)
{
    int node, low, high, middle;

    for (node = 0; node < p->host->num_nodes; node++) {
        for (low = 0, high = p->k; low < high; ) {
            middle = (low + high) / 2;
            if (takes(p, node, &p->shares[middle]))
                high = middle;
            else
                low = middle + 1;
        }
        p->level[node] = low;
    }
}

/* Is there any set that holds the vnodes?  Strongest vnodes first, each takes
 * one node; there must be as many nodes as it takes. */
static bool can_hold(const struct planner *p)
{
    int count[XLX__VNUMA_MAX_NODES + 1] = { 0 };
    int i, nodes = 0;

    for (i = 0; i < p->host->num_nodes; i++)
        count[p->level[i]]++;
    for (i = 0; i < p->k; i++) {
        nodes += count[i];
        if (nodes <= i)
            return false;
    }
    return true;
}

/* ---- the search for the nearest nodes ----------------------------------- */

static uint32_t distance(const struct planner *p, int a, int b)
{
    uint32_t there = p->host->nodes[a].distances[b];
    uint32_t back = p->host->nodes[b].distances[a];

    if (!there || !back || there > UNREACHABLE || back > UNREACHABLE)
        return UNREACHABLE;
    return there > back ? there : back;
}

static int compare_cost(const struct cost *a, const struct cost *b)
{
    if (a->largest != b->largest)
        return a->largest < b->largest ? -1 : 1;
    if (a->sum != b->sum)
        return a->sum < b->sum ? -1 : 1;
    return (a->taken > b->taken) - (a->taken < b->taken);
}

/* The cost of the set with one node more. */
static struct cost with_node(const struct planner *p, int num, int node,
                             struct cost cost)
{
    uint32_t d;
    int i;

    for (i = 0; i < num; i++) {
        d = distance(p, p->set[i], node);
        cost.sum += d;
        if (d > cost.largest)
            cost.largest = d;
    }
    /* "most free" as "least taken": never negative */
    cost.taken += (uint64_t)INT64_MAX / XLX__VNUMA_MAX_NODES -
                  p->host->nodes[node].free / XLX__VNUMA_MAX_NODES;
    return cost;
}

/* Puts node into the set, or takes it out; false when there would be more
 * nodes of its level and up than vnodes from there on. */
static bool change(struct planner *p, int node, int by)
{
    bool ok = true;
    int i;

    for (i = 0; i <= p->level[node]; i++) {
        p->from[i] += by;
        ok = ok && p->from[i] <= p->k - i;
    }
    return ok;
}

static void keep_if_better(struct planner *p, const struct cost *cost)
{
    if (p->found && compare_cost(cost, &p->best_cost) >= 0)
        return;
    memcpy(p->best, p->set, sizeof(p->best));
    p->best_cost = *cost;
    p->found = true;
}

/* Finds the best of all sets that begin with num nodes of p->set and go on
 * with nodes from first on.  Costs only grow: a set that is not better already
 * never will be. */
static void search(struct planner *p, int num, int first, struct cost cost)
{
    int last = p->host->num_nodes - (p->k - num), node;
    struct cost next;

    if (num == p->k) {
        keep_if_better(p, &cost);
        return;
    }
    for (node = first; node <= last; node++) {
        if (++p->steps > SEARCH_STEPS) {
            p->complete = false;
            return;
        }
        next = with_node(p, num, node, cost);
        if (p->found && compare_cost(&next, &p->best_cost) >= 0)
            continue;
        p->set[num] = node;
        if (change(p, node, 1))
            search(p, num + 1, node + 1, next);
        change(p, node, -1);
    }
}

/* From one node on, always the nearest that fits: a good set to begin with,
 * and all there is on hosts too large for the search.  p->set must hold no
 * node, and does not afterwards. */
static void grow_from(struct planner *p, int seed)
{
    bool in[XLX__VNUMA_MAX_NODES] = { false };
    struct cost cost = { 0, 0, 0 }, next, nearest;
    int num = 0, node = seed, i;

    while (node >= 0 && change(p, node, 1)) {
        cost = with_node(p, num, node, cost);
        p->set[num++] = node;
        in[node] = true;
        if (num == p->k) {
            keep_if_better(p, &cost);
            break;
        }
        node = -1;
        for (i = 0; i < p->host->num_nodes; i++) {
            if (in[i] || p->level[i] == p->k)
                continue;
            next = with_node(p, num, i, cost);
            if (node >= 0 && compare_cost(&next, &nearest) >= 0)
                continue;
            if (change(p, i, 1)) {
                nearest = next;
                node = i;
            }
            change(p, i, -1);
        }
    }
    memset(p->from, 0, sizeof(p->from));
}

/* Stronger nodes first, because they take the stronger vnodes. */
static void sort_by_level(struct planner *p)
{
    int i, j, node;

    for (i = 1; i < p->k; i++) {
        node = p->best[i];
        for (j = i; j && (p->level[p->best[j - 1]] > p->level[node] ||
                          (p->level[p->best[j - 1]] == p->level[node] &&
                           p->best[j - 1] > node)); j--)
            p->best[j] = p->best[j - 1];
        p->best[j] = node;
    }
}

static void find_set(struct planner *p)
{
    const struct cost nothing = { 0, 0, 0 };
    int node;

    memset(p->from, 0, sizeof(p->from));
    p->found = false;
    p->complete = true;
    p->steps = 0;
    for (node = 0; node < p->host->num_nodes; node++)
        if (p->level[node] < p->k)
            grow_from(p, node);
    search(p, 0, 0, nothing);
    sort_by_level(p);
}

/* ---- vnodes like the host's nodes --------------------------------------- */

/* total in parts as weights, the largest remainders rounded up; parts of a
 * weight of 0 are 0. */
static void deal(uint64_t total, const uint64_t *weights, int num,
                 uint64_t *parts)
{
    unsigned __int128 rest[XLX__VNUMA_MAX_NODES], all = 0, product;
    uint64_t left = total;
    int i, largest;

    for (i = 0; i < num; i++)
        all += weights[i];
    for (i = 0; i < num; i++) {
        product = (unsigned __int128)total * weights[i];
        parts[i] = (uint64_t)(product / all);
        rest[i] = product % all;
        left -= parts[i];
    }
    while (left--) {
        for (i = 0, largest = 0; i < num; i++)
            if (rest[i] > rest[largest])
                largest = i;
        parts[largest]++;
        rest[largest] = 0;
    }
}

/* A vnode on every node that has cpus and memory, but not on one whose share
 * comes to nothing. */
static bool follow_host(struct planner *p)
{
    uint64_t cpus[XLX__VNUMA_MAX_NODES], mib[XLX__VNUMA_MAX_NODES];
    uint64_t v[XLX__VNUMA_MAX_NODES], m[XLX__VNUMA_MAX_NODES];
    uint64_t most = p->spec->memory_per_node / XLX__VNUMA_MIB;
    int i, empty;

    for (p->k = 0, i = 0; i < p->host->num_nodes; i++) {
        cpus[p->k] = vcpu_room(p, i);
        mib[p->k] = p->host->nodes[i].free / XLX__VNUMA_MIB;
        if (p->spec->memory_per_node && mib[p->k] > most)
            mib[p->k] = most;
        p->best[p->k] = i;
        p->k += cpus[p->k] && mib[p->k];
    }
    for (; p->k; p->k--) {
        deal(p->spec->vcpus, cpus, p->k, v);
        deal(p->spec->memory / XLX__VNUMA_MIB, mib, p->k, m);
        for (empty = 0; empty < p->k && v[empty] && m[empty]; empty++)
            ;
        if (empty == p->k)
            break;
        for (i = empty; i + 1 < p->k; i++) {
            cpus[i] = cpus[i + 1];
            mib[i] = mib[i + 1];
            p->best[i] = p->best[i + 1];
        }
    }
    for (i = 0; i < p->k; i++) {
        p->shares[i].vcpus = (uint32_t)v[i];
        p->shares[i].mib = m[i];
        if (!takes(p, p->best[i], &p->shares[i]))
            return false;
    }
    return p->k > 0;
}

/* ---- the plan, for callers ---------------------------------------------- */

/* A distance as a guest may see it. */
static uint32_t guest_distance(const struct planner *p, int a, int b)
{
    uint32_t d = p->host->nodes[a].distances[b];

    if (a == b)
        return 10;
    if (!d || d > 254)
        return 254;
    return d < 11 ? 11 : d;
}

static int fill_topology(const struct planner *p, xlx_vnuma_topology *t)
{
    uint32_t vcpu = 0, i;
    xlx_vnuma_vnode *v;
    int n, j, rc;

    rc = xlx__vnuma_alloc(t, p->k);
    for (n = 0; !rc && n < p->k; n++) {
        v = &t->vnodes[n];
        v->memory = p->shares[n].mib * XLX__VNUMA_MIB;
        v->pnode = p->host->nodes[p->best[n]].node;
        v->pnode_source = XLX_VNUMA_SOURCE_CONFIGURED;
        for (j = 0; j < p->k; j++)
            v->distances[j] = guest_distance(p, p->best[n], p->best[j]);
        for (i = 0; !rc && i < p->shares[n].vcpus; i++)
            rc = xlx__vnuma_append(&v->vcpus, &v->num_vcpus, vcpu++);
    }
    return rc;
}

/* Without virtual NUMA, vCPUs that prefer the node bring the memory there. */
static int fill_config(const struct planner *p, xlx_vnuma_plan *plan)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return xlx__nomem();
    if (p->k > 1)
        xlx__vnuma_write_xl(out, &plan->topology);
    else
        fprintf(out, "memory=%llu\nvcpus=%u\ncpus_soft=\"nodes:%u\"\n",
                (unsigned long long)p->shares[0].mib, p->shares[0].vcpus,
                plan->topology.vnodes[0].pnode);
    if (fclose(out)) {
        free(text);
        return xlx__nomem();
    }
    plan->config = text;
    return 0;
}

static int say_nodes(const struct planner *p, xlx_vnuma_plan *plan)
{
    const xlx_vnuma_topology *t = &plan->topology;
    char *list = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&list, &len);
    uint32_t near = UINT32_MAX, far = 0, d;
    int i, j, rc;

    if (!out)
        return xlx__nomem();
    for (i = 0; i < p->k; i++)
        fprintf(out, "%s%u", !i ? "" : i + 1 < p->k ? ", " : " and ",
                t->vnodes[i].pnode);
    if (fclose(out)) {
        free(list);
        return xlx__nomem();
    }
    for (i = 0; i < p->k; i++)
        for (j = 0; j < p->k; j++) {
            d = t->vnodes[i].distances[j];
            if (i != j && d < near)
                near = d;
            if (i != j && d > far)
                far = d;
        }
    rc = xlx__vnuma_append_string(&plan->reasons, &plan->num_reasons,
        p->spec->follow_host ?
        "nodes %s: all that have cpus and free memory, each by its share; "
        "distances %u to %u" :
        p->complete ?
        "nodes %s: no other set of as many that it fits is nearer together, "
        "or as near with more memory free; distances %u to %u" :
        "nodes %s: the nearest together of those sets that were looked at; "
        "distances %u to %u", list, near, far);
    free(list);
    return rc;
}

/* Why one node less is not enough. */
static int say_count(const struct planner *p, xlx_vnuma_plan *plan)
{
    uint64_t mib = p->spec->memory / XLX__VNUMA_MIB, memory = 0, room;
    uint64_t most = p->spec->memory_per_node / XLX__VNUMA_MIB;
    uint32_t cpus = 0;
    int i;

    for (i = 0; i < p->host->num_nodes; i++) {
        if (vcpu_room(p, i) > cpus)
            cpus = vcpu_room(p, i);
        room = p->host->nodes[i].free / XLX__VNUMA_MIB;
        if (most && room > most)
            room = most;
        if (room > memory)
            memory = room;
    }
    if (p->k == 1)
        return xlx__vnuma_append_string(&plan->reasons, &plan->num_reasons,
            "1 node: %u vCPUs and %llu MiB fit on node %u, so the guest "
            "needs no virtual NUMA", p->spec->vcpus, (unsigned long long)mib,
            plan->topology.vnodes[0].pnode);
    if (p->spec->follow_host)
        return 0;
    return xlx__vnuma_append_string(&plan->reasons, &plan->num_reasons,
        "%d vnodes: on one node there is room for at most %u vCPUs and %llu "
        "MiB with what belongs to them; no fewer equal ones fit", p->k, cpus,
        (unsigned long long)memory);
}

static int fill_plan(const struct planner *p, xlx_vnuma_plan *plan)
{
    int rc;

    rc = fill_topology(p, &plan->topology);
    if (!rc)
        rc = fill_config(p, plan);
    if (!rc)
        rc = say_count(p, plan);
    if (rc || p->k == 1)
        return rc;
    rc = say_nodes(p, plan);
    if (rc) return rc;
    rc = xlx__vnuma_append_string(&plan->warnings, &plan->num_warnings,
        "a guest with vnuma cannot be saved or migrated");
    if (rc) return rc;
    return xlx__vnuma_append_string(&plan->warnings, &plan->num_warnings,
          "vnuma needs type=\"hvm\"");
}

/* ---- the call ----------------------------------------------------------- */

static int check_spec(const xlx_vnuma_plan_spec *s)
{
    if (!s->vcpus || s->vcpus > XLX__VNUMA_MAX_VCPUS)
        return xlx__error(ERROR_INVAL, "%u vCPUs: it must be 1 to %d",
                          s->vcpus, XLX__VNUMA_MAX_VCPUS);
    if (!s->memory || s->memory % XLX__VNUMA_MIB || s->memory > INT64_MAX)
        return xlx__error(ERROR_INVAL, "%llu bytes of memory: it must be a "
                          "multiple of 1 MiB", (unsigned long long)s->memory);
    if (s->memory_per_node && s->memory_per_node < XLX__VNUMA_MIB)
        return xlx__error(ERROR_INVAL, "%llu bytes a vnode: it must be 1 MiB "
                          "or more", (unsigned long long)s->memory_per_node);
    return 0;
}

static int does_not_fit(const struct planner *p)
{
    uint64_t mib = 0, cpus = 0;
    int i;

    for (i = 0; i < p->host->num_nodes; i++) {
        mib += p->host->nodes[i].free / XLX__VNUMA_MIB;
        cpus += vcpu_room(p, i);
    }
    return xlx__error(ERROR_FAIL, "%u vCPUs and %llu MiB do not fit: the "
                      "host's %d node%s ha%s room for %llu vCPUs, and %llu "
                      "MiB free%s", p->spec->vcpus,
                      (unsigned long long)p->spec->memory / XLX__VNUMA_MIB,
                      p->host->num_nodes, p->host->num_nodes == 1 ? "" : "s",
                      p->host->num_nodes == 1 ? "s" : "ve",
                      (unsigned long long)cpus, (unsigned long long)mib,
                      p->spec->follow_host ||
                      p->spec->vcpus > cpus ||
                      p->spec->memory / XLX__VNUMA_MIB > mib ? "" :
                      ", but no equal parts fit its nodes");
}

int xlx__vnuma_plan_make(xlx_ctx *ctx, const xlx_vnuma_plan_spec *spec,
                         const xlx_vnuma_host *host, xlx_vnuma_plan *plan_r)
{
    struct planner *p = NULL;
    int k, rc;

    (void)ctx;
    rc = check_spec(spec);
    if (!rc)
        rc = xlx__vnuma_check_host(host);
    if (rc)
        return rc;
    p = calloc(1, sizeof(*p));
    if (!p)
        return xlx__nomem();
    p->spec = spec;
    p->host = host;
    if (spec->follow_host) {
        rc = follow_host(p) ? fill_plan(p, plan_r) : does_not_fit(p);
        goto out;
    }
    for (k = 1; k <= host->num_nodes && (uint32_t)k <= spec->vcpus; k++) {
        cut_equally(p, k);
        find_levels(p);
        if (!can_hold(p) || !p->shares[k - 1].mib)
            continue;
        find_set(p);
        rc = fill_plan(p, plan_r);
        goto out;
    }
    rc = does_not_fit(p);

 out:
    free(p);
    return rc;
}

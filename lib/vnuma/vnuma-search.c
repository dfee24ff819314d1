/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The search of the planner: how a guest is cut into vnodes, and on which
 * nodes of the host they go.
 *
 * Vnodes are equal but for remainders, which go to the first ones: so each
 * needs at least as much of everything as the next, and it is enough to
 * know of a node from which vnode on it can take any, its level.  A set of
 * nodes holds the vnodes when no more of its nodes have level i or a later one
 * than there are vnodes from i on.
 */
#include <stdlib.h>
#include <string.h>

#include "vnuma/vnuma-plan.h"

/* Steps of the search; all sets of 16 nodes are far fewer. */
#define SEARCH_STEPS (1u << 20)
#define UNREACHABLE 255

/* ---- what a node can take ----------------------------------------------- */

/* Is its memory of a kind that the guest may have? */
static bool is_allowed(const struct planner *p, int node)
{
    xlx_vnuma_memory kind = p->host->nodes[node].kind;

    return p->spec->any_memory || kind == XLX_VNUMA_MEMORY_UNKNOWN ||
           kind == XLX_VNUMA_MEMORY_DRAM;
}

uint32_t xlx__vnuma_vcpu_room(const struct planner *p, int node)
{
    uint32_t cpus = (uint32_t)p->host->nodes[node].num_cpus;
    uint32_t most = p->spec->vcpus_per_node;

    if (!is_allowed(p, node))
        return 0;
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

    return s->vcpus <= xlx__vnuma_vcpu_room(p, node) &&
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

/* There is no way between two nodes of a set that costs so much; to a guest
 * it could not be said, and lint refuses it. */
static bool is_split(const struct cost *cost)
{
    return cost->largest >= UNREACHABLE;
}

static void keep_if_better(struct planner *p, const struct cost *cost)
{
    if (is_split(cost))
        return;
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
        if (is_split(&next) ||
            (p->found && compare_cost(&next, &p->best_cost) >= 0))
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
            if (is_split(&next) ||
                (node >= 0 && compare_cost(&next, &nearest) >= 0))
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
    int i, j, empty;

    for (p->k = 0, i = 0; i < p->host->num_nodes; i++) {
        cpus[p->k] = xlx__vnuma_vcpu_room(p, i);
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
        for (j = 0; j < i; j++)
            p->split |= distance(p, p->best[i], p->best[j]) >= UNREACHABLE;
    }
    return p->k > 0 && !p->split;
}

bool xlx__vnuma_search(struct planner *p)
{
    int k;

    if (p->spec->follow_host)
        return follow_host(p);
    for (k = 1; k <= p->host->num_nodes && (uint32_t)k <= p->spec->vcpus;
         k++) {
        cut_equally(p, k);
        find_levels(p);
        if (!can_hold(p) || !p->shares[k - 1].mib)
            continue;
        find_set(p);
        if (p->found)
            return true;
        p->split = true;
    }
    return false;
}

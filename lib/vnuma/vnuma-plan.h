/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between the search of the planner, vnuma-search.c, and what it makes of the
 * result, vnuma-plan.c.
 */
#ifndef XLX_VNUMA_PLAN_H
#define XLX_VNUMA_PLAN_H

#include "vnuma/vnuma.h"

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
    bool split;                     /* there is no way between some nodes */
    /* the search; the nodes are in best, of the vnodes in order */
    int set[XLX__VNUMA_MAX_NODES], best[XLX__VNUMA_MAX_NODES];
    int from[XLX__VNUMA_MAX_NODES + 1];     /* in set, with that level or up */
    struct cost best_cost;
    bool found, complete;
    unsigned int steps;
};

/* The vCPUs that the node of that place may have; 0: it is not used at all. */
uint32_t xlx__vnuma_vcpu_room(const struct planner *p, int node);
/* Fills p, of which spec and host are set; false when there is no plan. */
bool xlx__vnuma_search(struct planner *p);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plans for callers: the topology of a guest as the search has found it, its
 * lines for xl, the reasons, and what is to be known; or why there is none,
 * and the option with which there is one.
 */
#include <stdlib.h>
#include <string.h>

#include "gen-calls.h"
#include "vnuma/vnuma-plan.h"

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
        for (j = 0; !rc && j < p->k; j++) {
            v->distances[j] = guest_distance(p, p->best[n], p->best[j]);
            if (j != n && xlx__vnuma_assumed(p->host, p->best[n], p->best[j]))
                rc = xlx__vnuma_append(&v->assumed, &v->num_assumed,
                                       (uint32_t)j);
        }
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
    int i, j, assumed = 0, rc;

    if (!out)
        return xlx__nomem();
    for (i = 0; i < p->k; i++)
        fprintf(out, "%s%u", !i ? "" : i + 1 < p->k ? ", " : " and ",
                t->vnodes[i].pnode);
    for (i = 0; i < p->k; i++)
        assumed |= t->vnodes[i].num_assumed;
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
        "distances %u to %u%s" :
        p->complete ?
        "nodes %s: no other set of as many that it fits is nearer together, "
        "or as near with more memory free; distances %u to %u%s" :
        "nodes %s: the nearest together of those sets that were looked at; "
        "distances %u to %u%s", list, near, far,
        assumed ? ", some of them assumed" : "");
    free(list);
    return rc;
}

static const char *s_of(uint64_t number)
{
    return number == 1 ? "" : "s";
}

/* Why one node less is not enough. */
static int say_count(const struct planner *p, xlx_vnuma_plan *plan)
{
    uint64_t mib = p->spec->memory / XLX__VNUMA_MIB, memory = 0, room;
    uint64_t most = p->spec->memory_per_node / XLX__VNUMA_MIB;
    uint32_t cpus = 0;
    int i;

    for (i = 0; i < p->host->num_nodes; i++) {
        if (xlx__vnuma_vcpu_room(p, i) > cpus)
            cpus = xlx__vnuma_vcpu_room(p, i);
        if (!xlx__vnuma_vcpu_room(p, i))
            continue;
        room = p->host->nodes[i].free / XLX__VNUMA_MIB;
        if (most && room > most)
            room = most;
        if (room > memory)
            memory = room;
    }
    if (p->k == 1)
        return xlx__vnuma_append_string(&plan->reasons, &plan->num_reasons,
            "1 node: %u vCPU%s and %llu MiB fit on node %u, so the guest "
            "needs no virtual NUMA", p->spec->vcpus, s_of(p->spec->vcpus),
            (unsigned long long)mib,
            plan->topology.vnodes[0].pnode);
    if (p->spec->follow_host)
        return 0;
    return xlx__vnuma_append_string(&plan->reasons, &plan->num_reasons,
        "%d vnodes: on one node there is room for at most %u vCPU%s and "
        "%llu MiB with what belongs to them; no fewer equal ones fit", p->k,
        cpus, s_of(cpus), (unsigned long long)memory);
}

static int warn(xlx_vnuma_plan *plan, const char *text)
{
    return xlx__vnuma_append_string(&plan->warnings, &plan->num_warnings,
                                    "%s", text);
}

/* The facts that the plan rests on and nobody has said. */
static int say_assumed(const struct planner *p, xlx_vnuma_plan *plan)
{
    bool memory = false, cpus = false, distances = false;
    int i, rc = 0;

    for (i = 0; i < p->k; i++) {
        memory |= p->host->nodes[p->best[i]].free_assumed;
        cpus |= p->host->nodes[p->best[i]].cpus_assumed;
        distances |= plan->topology.vnodes[i].num_assumed;
    }
    if (memory)
        rc = warn(plan, "assumed: all memory of these nodes is free, because "
                        "the source of the host does not say how much is");
    if (!rc && cpus)
        rc = warn(plan, "assumed: these nodes have the cpus, and not others "
                        "that the source of the host names for the same "
                        "cpus");
    if (!rc && distances)
        rc = warn(plan, "assumed: a distance of 20 between nodes for which "
                        "the source of the host has none");
    return rc;
}

/* A plan counts cpus, which may be halves of cores. */
static int say_cores(const struct planner *p, xlx_vnuma_plan *plan)
{
    const xlx_vnuma_topology *t = &plan->topology;
    int i, cores, rc = 0;

    for (i = 0; !rc && !p->host->cores_assumed && i < p->k; i++) {
        cores = xlx__vnuma_cores(&p->host->nodes[p->best[i]], NULL);
        if (t->vnodes[i].num_vcpus > cores)
            rc = xlx__vnuma_append_string(&plan->warnings,
                &plan->num_warnings, "node %u: %d vCPUs on %d core%s: some "
                "share a core as its threads", t->vnodes[i].pnode,
                t->vnodes[i].num_vcpus, cores, cores == 1 ? "" : "s");
    }
    return rc;
}

static int fill_plan(const struct planner *p, xlx_vnuma_plan *plan)
{
    int rc;

    rc = fill_topology(p, &plan->topology);
    if (!rc)
        rc = fill_config(p, plan);
    if (!rc)
        rc = say_count(p, plan);
    if (!rc && p->k > 1)
        rc = say_nodes(p, plan);
    if (!rc && p->k > 1)
        rc = warn(plan, "a guest with vnuma cannot be saved or migrated");
    if (!rc && p->k > 1)
        rc = warn(plan, "vnuma needs type=\"hvm\"");
    if (!rc)
        rc = say_cores(p, plan);
    return rc ? rc : say_assumed(p, plan);
}

/* ---- why there is none -------------------------------------------------- */

static int does_not_fit(const struct planner *p)
{
    const xlx_vnuma_plan_spec *s = p->spec;
    uint64_t mib = 0, cpus = 0, memory = s->memory / XLX__VNUMA_MIB;
    int i, num = p->host->num_nodes, used = 0;

    for (i = 0; i < num; i++) {
        if (!xlx__vnuma_vcpu_room(p, i))
            continue;
        mib += p->host->nodes[i].free / XLX__VNUMA_MIB;
        cpus += xlx__vnuma_vcpu_room(p, i);
        used++;
    }
    return xlx__error(ERROR_FAIL, "%u vCPU%s and %llu MiB do not fit: the "
                      "host's %d node%s%s ha%s room for %llu vCPU%s, and %llu "
                      "MiB free%s", s->vcpus, s_of(s->vcpus),
                      (unsigned long long)memory, used,
                      used == 1 ? "" : "s",
                      used < num ? " with cpus and ordinary memory" : "",
                      used == 1 ? "s" : "ve",
                      (unsigned long long)cpus, s_of(cpus),
                      (unsigned long long)mib,
                      s->vcpus > cpus || memory > mib ? "" :
                      p->split ? ", but there is no way between some of them"
                      : s->follow_host ? ", but not in parts like its nodes"
                      : ", but no equal parts fit its nodes");
}

/* A plan that our own check of configs would refuse is not given. */
static int check_plan(const struct planner *p, const xlx_vnuma_plan *plan)
{
    xlx_vnuma_findings found;
    int i, rc;

    xlx_vnuma_findings_init(&found);
    rc = xlx__vnuma_lint(NULL, "plan", plan->config, p->host, &found);
    for (i = 0; !rc && i < found.num_findings; i++)
        if (found.findings[i].effect != XLX_VNUMA_EFFECT_NOTE)
            rc = xlx__error(ERROR_FAIL, "%u vCPU%s and %llu MiB do not fit: "
                            "in %d vnodes, %s", p->spec->vcpus,
                            s_of(p->spec->vcpus),
                            (unsigned long long)p->spec->memory /
                            XLX__VNUMA_MIB, p->k, found.findings[i].what);
    xlx_vnuma_findings_dispose(&found);
    return rc;
}

static int try(const xlx_vnuma_plan_spec *spec, const xlx_vnuma_host *host,
               xlx_vnuma_plan *plan)
{
    struct planner *p = calloc(1, sizeof(*p));
    int rc;

    if (!p)
        return xlx__nomem();
    p->spec = spec;
    p->host = host;
    if (xlx__vnuma_search(p)) {
        rc = fill_plan(p, plan);
        if (!rc)
            rc = check_plan(p, plan);
    } else {
        rc = does_not_fit(p);
    }
    free(p);
    return rc;
}

/* Changes of what was asked, and the words for them. */
#define OTHER_PARTS 1u
#define NO_LIMITS 2u
#define ANY_MEMORY 4u

/* False when a change would change nothing. */
static bool change(const xlx_vnuma_plan_spec *from, unsigned int what,
                   xlx_vnuma_plan_spec *to)
{
    *to = *from;                        /* it has no pointers */
    if (what & OTHER_PARTS)
        to->follow_host = !from->follow_host;
    if (what & NO_LIMITS && !from->vcpus_per_node && !from->memory_per_node)
        return false;
    if (what & NO_LIMITS)
        to->vcpus_per_node = to->memory_per_node = 0;
    if (what & ANY_MEMORY && from->any_memory)
        return false;
    to->any_memory |= !!(what & ANY_MEMORY);
    return true;
}

/* Adds to the error the options with which the guest fits, if there are. */
static int suggest(const xlx_vnuma_plan_spec *spec, const xlx_vnuma_host *host,
                   int rc)
{
    static const unsigned int changes[] = {
        OTHER_PARTS, NO_LIMITS, ANY_MEMORY, OTHER_PARTS | NO_LIMITS,
        OTHER_PARTS | ANY_MEMORY, NO_LIMITS | ANY_MEMORY,
        OTHER_PARTS | NO_LIMITS | ANY_MEMORY,
    };
    char *why = xlx__printf("%s", xlx_error_get());
    unsigned int what = 0;
    xlx_vnuma_plan_spec other;
    xlx_vnuma_plan plan;
    size_t i;

    for (i = 0; why && !what && i < XLX__ARRAY_SIZE(changes); i++) {
        if (!change(spec, changes[i], &other))
            continue;
        xlx_vnuma_plan_init(&plan);
        if (!try(&other, host, &plan))
            what = changes[i];
        xlx_vnuma_plan_dispose(&plan);
    }
    if (why)
        xlx__error(rc, "%s%s%s%s%s%s", why, what ? "; it fits" : "",
                   what & ANY_MEMORY ? " with --any-memory" : "",
                   !(what & OTHER_PARTS) ? "" : spec->follow_host
                   ? " without --follow-host" : " with --follow-host",
                   what & NO_LIMITS && spec->vcpus_per_node
                   ? " without --max-per-node" : "",
                   what & NO_LIMITS && spec->memory_per_node
                   ? " without --max-memory-per-node" : "");
    free(why);
    return rc;
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

int xlx__vnuma_plan_make(xlx_ctx *ctx, const xlx_vnuma_plan_spec *spec,
                         const xlx_vnuma_host *host, xlx_vnuma_plan *plan_r)
{
    int rc;

    (void)ctx;
    rc = check_spec(spec);
    if (!rc)
        rc = xlx__vnuma_check_host(host);
    if (rc)
        return rc;
    rc = try(spec, host, plan_r);
    return rc == ERROR_FAIL ? suggest(spec, host, rc) : rc;
}

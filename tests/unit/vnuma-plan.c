/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The planner on random hosts: what every plan must be, and that no set of
 * nodes that all ways of choosing give is better.  And on the distances of
 * real hosts.
 */
#include "gen-calls.h"
#include "unit.h"
#include "vnuma/vnuma.h"

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)
#define VIDEO 8                     /* MiB that libxl takes of vnode 0 */
#define ROUNDS 4000

/* A generator of its own: the same hosts on every machine. */
static uint64_t seed;

static uint32_t random_below(uint32_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

/* ---- hosts ------------------------------------------------------------- */

static void make_host(xlx_vnuma_host *h, int nodes, int cpus, uint64_t memory)
{
    xlx_vnuma_node *n;
    int i, j;

    xlx_vnuma_host_init(h);
    assert_ok(xlx__vnuma_alloc_host(h, nodes));
    for (i = 0; i < nodes; i++) {
        n = &h->nodes[i];
        n->node = (uint32_t)i;
        n->memory = n->free = memory;
        n->cpus = calloc((size_t)cpus + 1, sizeof(*n->cpus));
        assert_non_null(n->cpus);
        n->num_cpus = cpus;
        for (j = 0; j < cpus; j++)
            n->cpus[j].cpu = (uint32_t)(i * cpus + j);
        for (j = 0; j < nodes; j++)
            n->distances[j] = i == j ? 10 : 20;
    }
}

static void random_host(xlx_vnuma_host *h)
{
    int nodes = 1 + (int)random_below(7), i, j;

    make_host(h, nodes, 8, 8 * GIB);
    for (i = 0; i < nodes; i++) {
        h->nodes[i].num_cpus = (int)random_below(9);
        h->nodes[i].free = random_below(8192) * MIB;
        if (!random_below(6))
            h->nodes[i].kind = (xlx_vnuma_memory)random_below(6);
        for (j = 0; j < nodes; j++)
            if (i != j)
                h->nodes[i].distances[j] =
                    random_below(20) ? 10 + random_below(40) : 0;
    }
}

static void random_spec(xlx_vnuma_plan_spec *s)
{
    xlx_vnuma_plan_spec_init(s);
    s->vcpus = 1 + random_below(24);
    s->memory = (1 + random_below(16384)) * MIB;
    if (!random_below(4))
        s->vcpus_per_node = 1 + random_below(8);
    s->any_memory = !random_below(4);
    if (!random_below(4))
        s->memory_per_node = (256 + random_below(4096)) * MIB;
}

/* ---- what every plan must be ------------------------------------------- */

static const xlx_vnuma_node *node_of(const xlx_vnuma_host *h,
                                     const xlx_vnuma_vnode *v)
{
    int place = xlx__vnuma_place(h, v->pnode);

    assert_true(place >= 0);
    return &h->nodes[place];
}

static void check_vnode(const xlx_vnuma_plan_spec *s, const xlx_vnuma_host *h,
                        const xlx_vnuma_vnode *v)
{
    const xlx_vnuma_node *n = node_of(h, v);
    uint32_t vcpus = (uint32_t)v->num_vcpus;

    assert_true(v->num_vcpus > 0 && v->num_vcpus <= n->num_cpus);
    assert_true(s->any_memory || n->kind < XLX_VNUMA_MEMORY_HBM);
    assert_true(v->memory > 0 && v->memory % MIB == 0);
    assert_true(!s->vcpus_per_node || vcpus <= s->vcpus_per_node);
    assert_true(!s->memory_per_node || v->memory <= s->memory_per_node);
    /* with libxl's own needs */
    assert_true(v->memory + vcpus * MIB + v->memory / 128 <= n->free);
}

static void check_plan(const xlx_vnuma_plan_spec *s, const xlx_vnuma_host *h,
                       const xlx_vnuma_plan *plan)
{
    const xlx_vnuma_topology *t = &plan->topology;
    bool used[XLX__VNUMA_MAX_NODES] = { false };
    uint32_t d;
    int i, j;

    assert_ok(xlx__vnuma_check(t));     /* each vCPU in one vnode */
    assert_int_equal(xlx__vnuma_vcpus(t), s->vcpus);
    assert_int_equal(xlx__vnuma_memory(t), s->memory);
    for (i = 0; i < t->num_vnodes; i++) {
        check_vnode(s, h, &t->vnodes[i]);
        assert_false(used[t->vnodes[i].pnode]);
        used[t->vnodes[i].pnode] = true;
        for (j = 0; j < t->num_vnodes; j++) {
            d = t->vnodes[i].distances[j];
            assert_true(i == j ? d == 10 : d > 10 && d < 255);
        }
    }
    assert_true(plan->num_reasons > 0);
}

/* Stock xl takes our output without a warning, and it is the plan. */
static void check_config(const xlx_vnuma_plan *plan,
                         const xlx_vnuma_host *h)
{
    const xlx_vnuma_topology *t = &plan->topology;
    xlx_vnuma_topology again;
    xlx_vnuma_findings found;
    char *config;
    int i, j;

    if (t->num_vnodes < 2)
        return;
    config = xlx__printf("%s", plan->config);
    xlx_vnuma_findings_init(&found);
    assert_ok(xlx__vnuma_lint(NULL, "plan", config, h, &found));
    for (i = 0; i < found.num_findings; i++)
        if (found.findings[i].effect != XLX_VNUMA_EFFECT_NOTE)
            fail_msg("%s\n%s", found.findings[i].what, config);
    xlx_vnuma_topology_init(&again);
    assert_ok(xlx__vnuma_read(NULL, "plan", config, &again));
    assert_int_equal(again.num_vnodes, t->num_vnodes);
    for (i = 0; i < t->num_vnodes; i++) {
        assert_int_equal(again.vnodes[i].memory, t->vnodes[i].memory);
        assert_int_equal(again.vnodes[i].pnode, t->vnodes[i].pnode);
        assert_int_equal(again.vnodes[i].num_vcpus, t->vnodes[i].num_vcpus);
        for (j = 0; j < t->num_vnodes; j++)
            assert_int_equal(again.vnodes[i].distances[j],
                             t->vnodes[i].distances[j]);
    }
    xlx_vnuma_topology_dispose(&again);
    xlx_vnuma_findings_dispose(&found);
    free(config);
}

/* ---- all ways of choosing ---------------------------------------------- */

static uint32_t share(uint64_t total, int parts, int i)
{
    return (uint32_t)(total / (uint64_t)parts +
                      ((uint64_t)i < total % (uint64_t)parts));
}

static bool fits(const xlx_vnuma_plan_spec *s, const xlx_vnuma_node *n,
                 uint32_t vcpus, uint64_t mib)
{
    return vcpus <= (uint32_t)n->num_cpus &&
           (s->any_memory || n->kind < XLX_VNUMA_MEMORY_HBM) &&
           (!s->vcpus_per_node || vcpus <= s->vcpus_per_node) &&
           (!s->memory_per_node || mib * MIB <= s->memory_per_node) &&
           mib + vcpus + (mib + 127) / 128 <= n->free / MIB;
}

/* Can the vnodes from i on be put on nodes of set?  By trying. */
static bool holds(const xlx_vnuma_plan_spec *s, const xlx_vnuma_host *h,
                  uint32_t set, int k, int i)
{
    int n;

    if (i == k)
        return true;
    for (n = 0; n < h->num_nodes; n++)
        if (set >> n & 1 &&
            fits(s, &h->nodes[n], share(s->vcpus, k, i),
                 share(s->memory / MIB, k, i)) &&
            holds(s, h, set & ~(1u << n), k, i + 1))
            return true;
    return false;
}

/* Largest distance, sum, and free memory of a set, to compare. */
static void measure(const xlx_vnuma_host *h, uint32_t set, uint64_t m[3])
{
    uint32_t d, back;
    int i, j;

    memset(m, 0, 3 * sizeof(*m));
    for (i = 0; i < h->num_nodes; i++) {
        if (!(set >> i & 1))
            continue;
        m[2] += h->nodes[i].free;
        for (j = 0; j < i; j++) {
            if (!(set >> j & 1))
                continue;
            d = h->nodes[i].distances[j];
            back = h->nodes[j].distances[i];
            d = !d || !back ? 255 : d > back ? d : back;
            m[1] += d;
            if (d > m[0])
                m[0] = d;
        }
    }
}

static bool better(const uint64_t a[3], const uint64_t b[3])
{
    if (a[0] != b[0])
        return a[0] < b[0];
    if (a[1] != b[1])
        return a[1] < b[1];
    return a[2] > b[2] + XLX__VNUMA_MAX_NODES;  /* the planner divides */
}

/* No set of fewer nodes holds equal vnodes, and none of as many is better. */
static void check_against_all(const xlx_vnuma_plan_spec *s,
                              const xlx_vnuma_host *h,
                              const xlx_vnuma_plan *plan)
{
    uint32_t all = 1u << h->num_nodes, set, chosen = 0;
    uint64_t ours[3], other[3];
    int k, num = plan ? plan->topology.num_vnodes : h->num_nodes + 1, i;

    for (i = 0; plan && i < num; i++)
        chosen |= 1u << plan->topology.vnodes[i].pnode;
    measure(h, chosen, ours);
    for (set = 1; set < all; set++) {
        k = __builtin_popcount(set);
        if (k > num || (uint32_t)k > s->vcpus ||
            (k > 1 && share(s->memory / MIB, k, 0) <= VIDEO) ||
            s->memory / MIB < (uint64_t)k || !holds(s, h, set, k, 0))
            continue;
        measure(h, set, other);
        if (other[0] >= 255)            /* lint refuses it */
            continue;
        assert_int_equal(k, num);
        if (better(other, ours))
            fail_msg("set %#x is better than %#x", set, chosen);
    }
}

static void plans_on_random_hosts(void **state)
{
    int i, planned = 0, virtual = 0, refused = 0, rc;
    xlx_vnuma_plan_spec s;
    xlx_vnuma_plan plan;
    xlx_vnuma_host h;

    (void)state;
    seed = 1;
    for (i = 0; i < ROUNDS; i++) {
        random_host(&h);
        random_spec(&s);
        xlx_vnuma_plan_init(&plan);
        rc = xlx__vnuma_plan_make(NULL, &s, &h, &plan);
        if (rc) {
            assert_int_equal(rc, ERROR_FAIL);
            assert_non_null(strstr(xlx_error_get(), " do not fit: "));
            check_against_all(&s, &h, NULL);
            refused++;
        } else {
            check_plan(&s, &h, &plan);
            check_config(&plan, &h);
            check_against_all(&s, &h, &plan);
            planned++;
            virtual += plan.topology.num_vnodes > 1;
        }
        xlx_vnuma_plan_dispose(&plan);
        xlx_vnuma_plan_spec_dispose(&s);
        xlx_vnuma_host_dispose(&h);
    }
    /* the hosts were neither all too small nor all large enough */
    assert_true(virtual > ROUNDS / 20);
    assert_true(planned - virtual > ROUNDS / 20);
    assert_true(refused > ROUNDS / 20);
}

static void plans_that_follow_random_hosts(void **state)
{
    xlx_vnuma_plan_spec s;
    xlx_vnuma_plan plan;
    xlx_vnuma_host h;
    int i, planned = 0;

    (void)state;
    seed = 2;
    for (i = 0; i < ROUNDS; i++) {
        random_host(&h);
        random_spec(&s);
        s.follow_host = true;
        xlx_vnuma_plan_init(&plan);
        if (!xlx__vnuma_plan_make(NULL, &s, &h, &plan)) {
            check_plan(&s, &h, &plan);
            check_config(&plan, &h);
            planned++;
        }
        xlx_vnuma_plan_dispose(&plan);
        xlx_vnuma_plan_spec_dispose(&s);
        xlx_vnuma_host_dispose(&h);
    }
    assert_true(planned > ROUNDS / 10);
}

/* ---- real hosts -------------------------------------------------------- */

/* numactl -H of four AMD Opteron 6272 (two nodes a socket, partly meshed). */
static const uint32_t opteron[8][8] = {
    { 10, 16, 16, 22, 16, 22, 16, 22 },
    { 16, 10, 22, 16, 22, 16, 22, 16 },
    { 16, 22, 10, 16, 16, 22, 16, 22 },
    { 22, 16, 16, 10, 22, 16, 22, 16 },
    { 16, 22, 16, 22, 10, 16, 16, 22 },
    { 22, 16, 22, 16, 16, 10, 22, 16 },
    { 16, 22, 16, 22, 16, 22, 10, 16 },
    { 22, 16, 22, 16, 22, 16, 16, 10 },
};

static void make_opteron(xlx_vnuma_host *h)
{
    int i;

    make_host(h, 8, 8, 64 * GIB);
    for (i = 0; i < 8; i++)
        memcpy(h->nodes[i].distances, opteron[i], sizeof(opteron[i]));
}

/* vcpus on that host, and the nodes that the plan must take. */
static void expect_nodes(xlx_vnuma_host *h, uint32_t vcpus,
                         const uint32_t *nodes, int num)
{
    xlx_vnuma_plan_spec s;
    xlx_vnuma_plan plan;
    int i;

    xlx_vnuma_plan_spec_init(&s);
    xlx_vnuma_plan_init(&plan);
    s.vcpus = vcpus;
    s.memory = 16 * GIB;
    assert_ok(xlx__vnuma_plan_make(NULL, &s, h, &plan));
    assert_int_equal(plan.topology.num_vnodes, num);
    for (i = 0; i < num; i++)
        assert_int_equal(plan.topology.vnodes[i].pnode, nodes[i]);
    check_plan(&s, h, &plan);
    xlx_vnuma_plan_dispose(&plan);
}

static void near_nodes_of_an_opteron(void **state)
{
    static const uint32_t mesh[] = { 0, 2, 4, 6 }, pair[] = { 5, 7 };
    static const uint32_t one[] = { 6 };
    xlx_vnuma_host h;

    (void)state;
    make_opteron(&h);
    expect_nodes(&h, 32, mesh, 4);      /* one of the two meshes of 16 */
    h.nodes[6].free = 65 * GIB;
    h.nodes[6].memory = 65 * GIB;
    expect_nodes(&h, 8, one, 1);        /* the most free memory */
    h.nodes[6].free = 0;
    h.nodes[5].memory = h.nodes[5].free = 70 * GIB;
    h.nodes[7].memory = h.nodes[7].free = 70 * GIB;
    expect_nodes(&h, 16, pair, 2);      /* 16 apart, and the most free */
    xlx_vnuma_host_dispose(&h);
}

/* A larger vnode goes to the node that can take it. */
static void remainders_go_where_there_is_room(void **state)
{
    xlx_vnuma_plan_spec s;
    xlx_vnuma_plan plan;
    xlx_vnuma_host h;

    (void)state;
    make_host(&h, 2, 4, 8 * GIB);
    h.nodes[0].num_cpus = 3;
    xlx_vnuma_plan_spec_init(&s);
    xlx_vnuma_plan_init(&plan);
    s.vcpus = 7;
    s.memory = 2 * GIB + MIB;
    assert_ok(xlx__vnuma_plan_make(NULL, &s, &h, &plan));
    assert_int_equal(plan.topology.num_vnodes, 2);
    assert_int_equal(plan.topology.vnodes[0].pnode, 1);
    assert_int_equal(plan.topology.vnodes[0].num_vcpus, 4);
    assert_int_equal(plan.topology.vnodes[0].memory, GIB + MIB);
    assert_int_equal(plan.topology.vnodes[1].pnode, 0);
    assert_int_equal(plan.topology.vnodes[1].num_vcpus, 3);
    xlx_vnuma_plan_dispose(&plan);
    xlx_vnuma_host_dispose(&h);
}

/* 64 nodes are too many for all sets; a plan comes all the same. */
static void a_host_of_64_nodes(void **state)
{
    xlx_vnuma_plan_spec s;
    xlx_vnuma_plan plan;
    xlx_vnuma_host h;
    int i, j;

    (void)state;
    make_host(&h, 64, 16, 64 * GIB);
    for (i = 0; i < 64; i++)
        for (j = 0; j < 64; j++)
            if (i != j)
                h.nodes[i].distances[j] = i / 8 == j / 8 ? 16 : 40;
    xlx_vnuma_plan_spec_init(&s);
    xlx_vnuma_plan_init(&plan);
    s.vcpus = 125;
    s.memory = 256 * GIB;
    assert_ok(xlx__vnuma_plan_make(NULL, &s, &h, &plan));
    assert_int_equal(plan.topology.num_vnodes, 8);
    for (i = 0; i < 8; i++)             /* all on one board */
        assert_int_equal(plan.topology.vnodes[i].pnode / 8,
                         plan.topology.vnodes[0].pnode / 8);
    check_plan(&s, &h, &plan);
    xlx_vnuma_plan_dispose(&plan);
    xlx_vnuma_host_dispose(&h);
}

static void expect_refusal(uint32_t vcpus, uint64_t memory, int rc,
                           const char *message)
{
    xlx_vnuma_plan_spec s;
    xlx_vnuma_plan plan;
    xlx_vnuma_host h;

    make_host(&h, 2, 4, 8 * GIB);
    xlx_vnuma_plan_spec_init(&s);
    xlx_vnuma_plan_init(&plan);
    s.vcpus = vcpus;
    s.memory = memory;
    assert_fails(xlx__vnuma_plan_make(NULL, &s, &h, &plan), rc, message);
    xlx_vnuma_plan_dispose(&plan);
    xlx_vnuma_host_dispose(&h);
}

static void what_cannot_be_planned(void **state)
{
    (void)state;
    expect_refusal(0, GIB, ERROR_INVAL, "0 vCPUs: it must be 1 to");
    expect_refusal(1, 0, ERROR_INVAL, "a multiple of 1 MiB");
    expect_refusal(1, GIB + 1, ERROR_INVAL, "a multiple of 1 MiB");
    expect_refusal(9, GIB, ERROR_FAIL, "9 vCPUs and 1024 MiB do not fit: the "
                   "host's 2 nodes have room for 8 vCPUs, and 16384 MiB free");
    expect_refusal(8, 16 * GIB, ERROR_FAIL, "but no equal parts fit");
    expect_refusal(1, UINT64_C(1) << 62, ERROR_FAIL, "do not fit");
}

/* ---- what is said when there is no plan -------------------------------- */

/* Nodes of unequal free memory, as in the field. */
static void the_option_that_plans_it_is_named(void **state)
{
    xlx_vnuma_plan_spec s;
    xlx_vnuma_plan plan;
    xlx_vnuma_host h;

    (void)state;
    make_host(&h, 2, 48, 500 * GIB);
    h.nodes[0].free = 13 * GIB;
    h.nodes[1].free = 21 * GIB;
    xlx_vnuma_plan_spec_init(&s);
    xlx_vnuma_plan_init(&plan);
    s.vcpus = 4;
    s.memory = 30 * GIB;
    assert_fails(xlx__vnuma_plan_make(NULL, &s, &h, &plan), ERROR_FAIL,
                 "no equal parts fit its nodes; it fits with --follow-host");
    s.follow_host = true;
    xlx_vnuma_plan_dispose(&plan);
    xlx_vnuma_plan_init(&plan);
    assert_ok(xlx__vnuma_plan_make(NULL, &s, &h, &plan));
    xlx_vnuma_plan_dispose(&plan);
    xlx_vnuma_plan_init(&plan);
    s.memory_per_node = GIB;
    assert_fails(xlx__vnuma_plan_make(NULL, &s, &h, &plan), ERROR_FAIL,
                 "; it fits without --max-memory-per-node");
    s.follow_host = false;
    s.memory_per_node = 0;
    s.vcpus = 96;
    s.memory = 2 * GIB;
    h.nodes[1].kind = XLX_VNUMA_MEMORY_HBM;
    assert_fails(xlx__vnuma_plan_make(NULL, &s, &h, &plan), ERROR_FAIL,
                 "the host's 1 node with cpus and ordinary memory has room "
                 "for 48 vCPUs, and 13312 MiB free; it fits with "
                 "--any-memory");
    h.nodes[1].kind = XLX_VNUMA_MEMORY_DRAM;
    h.nodes[1].distances[0] = 0;
    assert_fails(xlx__vnuma_plan_make(NULL, &s, &h, &plan), ERROR_FAIL,
                 "there is no way between some of them");
    xlx_vnuma_plan_dispose(&plan);
    xlx_vnuma_plan_spec_dispose(&s);
    xlx_vnuma_host_dispose(&h);
}

static void what_lint_refuses_is_no_plan(void **state)
{
    xlx_vnuma_plan_spec s;
    xlx_vnuma_plan plan;
    xlx_vnuma_host h;

    (void)state;
    make_host(&h, 8, 32, 8 * GIB);
    xlx_vnuma_plan_spec_init(&s);
    xlx_vnuma_plan_init(&plan);
    s.vcpus = 128;
    s.memory = 64 * MIB;
    s.vcpus_per_node = 16;
    assert_fails(xlx__vnuma_plan_make(NULL, &s, &h, &plan), ERROR_FAIL,
                 "128 vCPUs and 64 MiB do not fit: in 8 vnodes, vnode 0: "
                 "size=8: the video memory takes all of it; it fits without "
                 "--max-per-node");
    xlx_vnuma_plan_dispose(&plan);
    xlx_vnuma_plan_init(&plan);
    s.vcpus = 129;
    s.memory = GIB;
    s.vcpus_per_node = 0;
    assert_fails(xlx__vnuma_plan_make(NULL, &s, &h, &plan), ERROR_FAIL,
                 "an HVM guest has 128 at most");
    xlx_vnuma_plan_dispose(&plan);
    xlx_vnuma_plan_spec_dispose(&s);
    xlx_vnuma_host_dispose(&h);
}

/* A plan counts cpus; that two of them are a core is said. */
static void threads_of_a_core_are_a_note(void **state)
{
    xlx_vnuma_plan_spec s;
    xlx_vnuma_plan plan;
    xlx_vnuma_host h;
    int i, j;

    (void)state;
    make_host(&h, 2, 16, 8 * GIB);
    for (i = 0; i < 2; i++)
        for (j = 0; j < 16; j++)
            h.nodes[i].cpus[j].core = (uint32_t)j / 2;
    xlx_vnuma_plan_spec_init(&s);
    s.vcpus = 32;
    s.memory = GIB;
    for (i = 0; i < 2; i++) {
        xlx_vnuma_plan_init(&plan);
        assert_ok(xlx__vnuma_plan_make(NULL, &s, &h, &plan));
        assert_int_equal(plan.num_warnings, i ? 2 : 4);
        if (!i)
            assert_string_equal(plan.warnings[2], "node 0: 16 vCPUs on 8 "
                                "cores: some share a core as its threads");
        xlx_vnuma_plan_dispose(&plan);
        s.vcpus = 16;                   /* a core each */
        s.vcpus_per_node = 8;
    }
    xlx_vnuma_plan_spec_dispose(&s);
    xlx_vnuma_host_dispose(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_on_random_hosts),
        cmocka_unit_test(plans_that_follow_random_hosts),
        cmocka_unit_test(near_nodes_of_an_opteron),
        cmocka_unit_test(remainders_go_where_there_is_room),
        cmocka_unit_test(a_host_of_64_nodes),
        cmocka_unit_test(what_cannot_be_planned),
        cmocka_unit_test(the_option_that_plans_it_is_named),
        cmocka_unit_test(what_lint_refuses_is_no_plan),
        cmocka_unit_test(threads_of_a_core_are_a_note),
    };

    return cmocka_run_group_tests_name("vnuma-plan", tests, NULL, NULL);
}

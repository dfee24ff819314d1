/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hosts as others describe them: which node has the cpus where memory is of
 * several kinds, distances that are partial, of groups or not there, holes
 * that count as memory; and that what nobody has said is marked.
 */
#include "gen-calls.h"
#include "unit.h"
#include "vnuma/vnuma.h"

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)

static void read_host(const char *text, xlx_vnuma_host *h)
{
    xlx_vnuma_host_init(h);
    assert_ok(xlx__vnuma_host_read(NULL, "host", text, h));
}

/* "10 20? -": the distances of a node, as vnuma-show has them. */
static void expect_distances(const xlx_vnuma_host *h, int place,
                             const char *wanted)
{
    char *text = xlx__printf("%s", ""), *longer;
    int i;

    for (i = 0; i < h->num_nodes; i++) {
        longer = xlx__printf("%s%s%u%s", text, i ? " " : "",
                             h->nodes[place].distances[i],
                             xlx__vnuma_assumed(h, place, i) ? "?" : "");
        free(text);
        text = longer;
    }
    assert_string_equal(text, wanted);
    free(text);
}

static void expect_node(const xlx_vnuma_node *n, int first, int num_cpus,
                        xlx_vnuma_memory kind, bool assumed)
{
    assert_int_equal(n->num_cpus, num_cpus);
    if (num_cpus)
        assert_int_equal(n->cpus[0].cpu, first);
    assert_int_equal(n->kind, kind);
    assert_int_equal(n->cpus_assumed, assumed);
}

#ifdef HAVE_LIBXML2

/* ---- hwloc: kinds of memory -------------------------------------------- */

#define NODE(number, set, more) "<object type='NUMANode' os_index='" number \
    "' cpuset='" set "' local_memory='1073741824' " more
#define PU(number) "<object type='Core' os_index='" number "'>" \
    "<object type='PU' os_index='" number "'/></object>"
#define PUS PU("0") PU("1") PU("2") PU("3")
#define TOPOLOGY(inner) "<topology version='2.0'><object type='Machine'>" \
    inner "</object></topology>"

#define DRAM XLX_VNUMA_MEMORY_DRAM
#define HBM XLX_VNUMA_MEMORY_HBM
#define UNKNOWN XLX_VNUMA_MEMORY_UNKNOWN

/* Two nodes near to four cpus, and which of them has the cpus. */
static const struct {
    const char *text;
    int owner;
    bool assumed;
    xlx_vnuma_memory kinds[2];
} hetero[] = {
    /* hwloc 3 and late 2: the HBM is first, in the file and by number */
    { TOPOLOGY(NODE("0", "0xf", "subtype='HBM'/>")
               NODE("1", "0xf", "subtype='DRAM'/>") PUS), 1, false,
      { HBM, DRAM } },
    { TOPOLOGY(NODE("0", "0xf", "subtype='CXL-DRAM'/>")
               NODE("1", "0xf", "/>") PUS), 1, false,
      { XLX_VNUMA_MEMORY_CXL, UNKNOWN } },
    /* 2.0: only MCDRAM has a subtype */
    { TOPOLOGY(NODE("0", "0xf", "subtype='MCDRAM'/>")
               NODE("1", "0xf", "/>") PUS), 1, false, { HBM, UNKNOWN } },
    /* NVM that Linux has as a device */
    { TOPOLOGY(NODE("0", "0xf", "><info name='DAXType' value='NVM'/></object>")
               NODE("1", "0xf", "/>") PUS), 1, false,
      { XLX_VNUMA_MEMORY_NVM, UNKNOWN } },
    { TOPOLOGY(NODE("0", "0xf", "><info name='DAXDevice' value='dax0.0'/>"
                    "</object>")
               NODE("1", "0xf", "/>") PUS), 1, false,
      { XLX_VNUMA_MEMORY_OTHER, UNKNOWN } },
    /* HBM near to a part, DRAM to the whole: as Linux on Xeon Phi */
    { TOPOLOGY(NODE("0", "0x3", "subtype='HBM'/>")
               NODE("1", "0xf", "subtype='DRAM'/>") PUS), 1, false,
      { HBM, DRAM } },
    /* by the memory tiers of hwloc 3 alone */
    { "<topology version='3.0'><object type='Machine'>"
      NODE("0", "0xf", "/>") NODE("1", "0xf", "/>") PUS "</object>"
      "<memtier kinds='1' nodeset='0x1'/><memtier kinds='2' nodeset='0x2'/>"
      "</topology>", 1, false, { HBM, DRAM } },
    /* HBM alone has cpus of its own */
    { TOPOLOGY(NODE("0", "0xf", "subtype='HBM'/>")
               NODE("1", "0x0", "subtype='DRAM'/>") PUS), 0, false,
      { HBM, DRAM } },
    /* nothing says which: the first, and that is marked */
    { TOPOLOGY(NODE("0", "0xf", "/>") NODE("1", "0xf", "/>") PUS), 0, true,
      { UNKNOWN, UNKNOWN } },
};

static void cpus_are_the_dram_nodes(void **state)
{
    xlx_vnuma_host h;
    size_t i;
    int j;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(hetero); i++) {
        read_host(hetero[i].text, &h);
        assert_int_equal(h.num_nodes, 2);
        for (j = 0; j < 2; j++) {
            expect_node(&h.nodes[j], 0, j == hetero[i].owner ? 4 : 0,
                        hetero[i].kinds[j], hetero[i].assumed);
            assert_true(h.nodes[j].present && h.nodes[j].free_assumed);
        }
        xlx_vnuma_host_dispose(&h);
    }
}

/* The whole way: a plan for such a host is on DRAM. */
static void no_plan_on_hbm(void **state)
{
    xlx_vnuma_plan_spec s;
    xlx_vnuma_plan plan;
    xlx_vnuma_host h;

    (void)state;
    read_host(TOPOLOGY(
        NODE("4", "0xf", "subtype='NVM'/>") NODE("0", "0x3", "subtype='HBM'/>")
        NODE("1", "0x3", "subtype='DRAM'/>")
        NODE("2", "0xc", "subtype='HBM'/>")
        NODE("3", "0xc", "subtype='DRAM'/>") PUS), &h);
    xlx_vnuma_plan_spec_init(&s);
    xlx_vnuma_plan_init(&plan);
    s.vcpus = 4;
    s.memory = GIB;
    assert_ok(xlx__vnuma_plan_make(NULL, &s, &h, &plan));
    assert_int_equal(plan.topology.num_vnodes, 2);
    assert_int_equal(plan.topology.vnodes[0].pnode, 1);
    assert_int_equal(plan.topology.vnodes[1].pnode, 3);
    assert_int_equal(plan.topology.vnodes[0].num_assumed, 1);
    assert_non_null(strstr(plan.config, "# assumed: the distance between "
                                        "vnodes 0 and 1\n"));
    xlx_vnuma_plan_dispose(&plan);
    xlx_vnuma_plan_spec_dispose(&s);
    xlx_vnuma_host_dispose(&h);
}

/* ---- hwloc: distances -------------------------------------------------- */

#define PAIR NODE("0", "0x3", "/>") NODE("1", "0xc", "/>") PUS
#define WITH(matrices) "<topology version='2.0'><object type='Machine'>" \
    PAIR "</object>" matrices "</topology>"
#define MATRIX(attributes, values) "<distances2 type='NUMANode' " attributes \
    "><indexes>0 1 </indexes><u64values>" values "</u64values></distances2>"
#define GROUP(number, inner) "<object type='Group' gp_index='" number "'>" \
    inner "</object>"

static const struct {
    const char *text, *first, *second;
} distances[] = {
    { WITH(""), "10 20?", "20? 10" },
    { WITH(MATRIX("kind='5' name='NUMALatency' indexing='os'",
                  "10 21 21 10")), "10 21", "21 10" },
    /* as hwloc converts the files of its release 1 */
    { WITH(MATRIX("kind='5' indexing='os'", "10 16 16 10")), "10 16",
      "16 10" },
    { WITH(MATRIX("indexing='os'", "10 16 17 10")), "10 16", "17 10" },
    /* the named one wins, and bandwidths are none */
    { WITH(MATRIX("kind='5' indexing='os'", "10 16 16 10")
           MATRIX("kind='5' name='NUMALatency' indexing='os'",
                  "10 31 31 10")), "10 31", "31 10" },
    { WITH(MATRIX("kind='9' indexing='os'", "100 50 50 100")), "10 20?",
      "20? 10" },
    { WITH(MATRIX("kind='5' name='XGMIHops' indexing='os'", "0 1 1 0")),
      "10 20?", "20? 10" },
    /* no way */
    { WITH(MATRIX("kind='5' indexing='os'", "10 255 0 10")), "10 0", "0 10" },
    /* of a part of the nodes */
    { WITH("<distances2 type='NUMANode' kind='5' indexing='os'>"
           "<indexes>1</indexes><u64values>10</u64values></distances2>"),
      "10 20?", "20? 10" },
    /* of groups of them */
    { "<topology version='2.0'><object type='Machine'>"
      GROUP("7", NODE("0", "0x3", "/>") PU("0") PU("1"))
      GROUP("9", NODE("1", "0xc", "/>") PU("2") PU("3")) "</object>"
      "<distances2 type='Group' kind='5' indexing='gp'><indexes>7 9</indexes>"
      "<u64values>12 25 26 12</u64values></distances2></topology>",
      "10 25", "26 10" },
    /* release 1 */
    { "<topology><object type='Machine' cpuset='0xf'>"
      "<distances nbobjs='2' relative_depth='1' latency_base='10.000000'>"
      "<latency value='1.000000'/><latency value='2.100000'/>"
      "<latency value='2.200000'/><latency value='1.000000'/></distances>"
      "<object type='NUMANode' os_index='0' cpuset='0x3' local_memory='1'>"
      PU("0") PU("1") "</object>"
      "<object type='NUMANode' os_index='1' cpuset='0xc' local_memory='1'>"
      "<object type='Socket' os_index='5'>" PU("2") PU("3") "</object>"
      "</object></object></topology>", "10 21", "22 10" },
};

static void distances_of_all_sorts(void **state)
{
    xlx_vnuma_host h;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(distances); i++) {
        read_host(distances[i].text, &h);
        assert_int_equal(h.num_nodes, 2);
        assert_int_equal(h.nodes[1].num_cpus, 2);
        expect_distances(&h, 0, distances[i].first);
        expect_distances(&h, 1, distances[i].second);
        if (i + 1 == XLX__ARRAY_SIZE(distances))
            assert_int_equal(h.nodes[1].cpus[0].socket, 5);
        xlx_vnuma_host_dispose(&h);
    }
}

/* ---- libvirt ----------------------------------------------------------- */

#define DOMAIN(numatune, cells) "<domain type='xen'><numatune>" numatune \
    "</numatune><cpu><numa>" cells "</numa></cpu></domain>"
#define CELLS "<cell cpus='0' memory='1024'/><cell cpus='1' memory='1024'/>"

static const struct {
    const char *text;
    uint32_t nodes[2];
    xlx_vnuma_source sources[2];
} nodesets[] = {
    { DOMAIN("", CELLS), { 0, 1 },
      { XLX_VNUMA_SOURCE_ASSUMED, XLX_VNUMA_SOURCE_ASSUMED } },
    { DOMAIN("<memnode cellid='0' nodeset=' 1 - 2 , ^1'/>", CELLS), { 2, 1 },
      { XLX_VNUMA_SOURCE_CONFIGURED, XLX_VNUMA_SOURCE_ASSUMED } },
    { DOMAIN("<memory mode='strict' nodeset='3'/>"
             "<memnode cellid='1' nodeset='5-5'/>", CELLS), { 3, 5 },
      { XLX_VNUMA_SOURCE_CONFIGURED, XLX_VNUMA_SOURCE_CONFIGURED } },
    { DOMAIN("<memory mode='strict' nodeset='0-3'/>", CELLS), { 0, 1 },
      { XLX_VNUMA_SOURCE_ASSUMED, XLX_VNUMA_SOURCE_ASSUMED } },
    { DOMAIN("<memory placement='auto'/>", CELLS), { 0, 1 },
      { XLX_VNUMA_SOURCE_ASSUMED, XLX_VNUMA_SOURCE_ASSUMED } },
};

static void nodesets_of_libvirt(void **state)
{
    xlx_vnuma_topology t;
    xlx_vnuma_text text;
    size_t i;
    int j;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(nodesets); i++) {
        xlx_vnuma_topology_init(&t);
        xlx_vnuma_text_init(&text);
        assert_ok(xlx__vnuma_read(NULL, "xml", nodesets[i].text, &t));
        for (j = 0; j < 2; j++) {
            assert_int_equal(t.vnodes[j].pnode, nodesets[i].nodes[j]);
            assert_int_equal(t.vnodes[j].pnode_source,
                             nodesets[i].sources[j]);
            assert_int_equal(t.vnodes[j].num_assumed, 1);
        }
        assert_ok(xlx__vnuma_export(NULL, &t, NULL, XLX_VNUMA_FORMAT_JSON,
                                    &text));
        assert_non_null(strstr(text.text, "\"assumed\""));
        xlx_vnuma_text_dispose(&text);
        xlx_vnuma_topology_dispose(&t);
    }
}

#endif

/* ---- texts ------------------------------------------------------------- */

static void what_xl_info_prints(void **state)
{
    xlx_vnuma_host h;

    (void)state;
    read_host("> host                   : dom0\r\n"
              "> total_memory           : 131059\r\n"
              "> cpu_topology           :\r\n"
              "> cpu:    core    socket     node\r\n"
              ">   1:       0        0        0\r\n"
              ">   0:       0        0        0\r\n"
              ">   2:       3        1        1\r\n"
              "> device topology        :\r\n"
              "> device           node\r\n"
              "> 0000:80:01.0      1\r\n"
              "> numa_info              :\r\n"
              "> node:    memsize    memfree    distances\r\n"
              ">    0:    2164736      60672      10,21\r\n"
              ">    1:     65536      60959      -1,10\r\n"
              "and so on\r\n", &h);
    assert_int_equal(h.num_nodes, 2);
    expect_node(&h.nodes[0], 0, 2, XLX_VNUMA_MEMORY_UNKNOWN, false);
    expect_node(&h.nodes[1], 2, 1, XLX_VNUMA_MEMORY_UNKNOWN, false);
    assert_int_equal(h.nodes[1].cpus[0].core, 3);
    assert_string_equal(h.nodes[1].devices[0], "0000:80:01.0");
    assert_int_equal(h.nodes[0].free, 60672 * MIB);
    assert_false(h.nodes[0].free_assumed || h.cores_assumed);
    /* the rest of the 131059 MiB, less what node 1 has free */
    assert_int_equal(h.nodes[0].memory, (131059 - 60959) * MIB);
    assert_false(h.nodes[0].present);
    expect_distances(&h, 0, "10 21");
    expect_distances(&h, 1, "0 10");
    xlx_vnuma_host_dispose(&h);
}

static void what_numactl_prints(void **state)
{
    xlx_vnuma_host h;

    (void)state;
    read_host("available: 3 nodes (0,2,8)\n"
              "node 0 cpus: 0 1 2 3\nnode 0 size: 16036 MB\n"
              "node 0 free: 1234 MB\nnode 2 cpus: 4-7\n"
              "node 2 size: 16128 MB\nnode 2 free: 15000 MB\n"
              "node 8 cpus:\nnode 8 size: 8000 MB\n"
              "node distances:\nnode   0   2   8 \n"
              "  0:  10  21  28 \n  2:  21  10  255 \n", &h);
    assert_int_equal(h.num_nodes, 3);
    assert_int_equal(h.nodes[1].node, 2);
    expect_node(&h.nodes[1], 4, 4, XLX_VNUMA_MEMORY_UNKNOWN, false);
    expect_node(&h.nodes[2], 0, 0, XLX_VNUMA_MEMORY_UNKNOWN, false);
    assert_int_equal(h.nodes[0].memory, 16036 * MIB);
    assert_int_equal(h.nodes[0].free, 1234 * MIB);
    assert_true(h.nodes[0].present && h.cores_assumed);
    assert_true(!h.nodes[0].free_assumed && h.nodes[2].free_assumed);
    expect_distances(&h, 1, "21 10 0");
    expect_distances(&h, 2, "20? 20? 10");
    xlx_vnuma_host_dispose(&h);
}

/* ---- nonsense ---------------------------------------------------------- */

/* Texts of all kinds with some bytes changed, cut or doubled: taken or
 * refused, and what is taken is a valid host that can be drawn. */
static void mutated_texts(void **state)
{
    static const char *const texts[] = {
        "total_memory : 131059\ncpu:    core    socket     node\n"
        "  0:       0        0        0\n  1:       0        0        1\n"
        "device           node\n0000:80:01.0      1\n"
        "node:    memsize    memfree    distances\n"
        "   0:    2164736      60672      10,21\n"
        "   1:     65536      60959      21,10\n",
        "node 0 cpus: 0 1 2 3\nnode 0 size: 16036 MB\nnode 0 free: 1 MB\n"
        "node 1 cpus: 4-7\nnode 1 size: 16128 MB\nnode 1 free: 2 MB\n"
        "node distances:\nnode   0   1 \n  0:  10  21 \n  1:  21  10 \n",
#ifdef HAVE_LIBXML2
        WITH(MATRIX("kind='5' name='NUMALatency' indexing='os'",
                    "10 21 21 10")),
        TOPOLOGY(NODE("0", "0xf", "subtype='HBM'><info name='Assumed' "
                      "value='memory distance:1 cpus'/></object>")
                 NODE("1", "0x0,0xf", "subtype='DRAM'/>") PUS),
#endif
    };
    static const char bytes[] = "0123456789 :,-<>'x\n=";
    unsigned int seed = 7, taken = 0, i;
    xlx_vnuma_text text;
    xlx_vnuma_host h;
    size_t len, at;
    char *copy;
    int rc;

    (void)state;
    for (i = 0; i < 4000; i++) {
        copy = xlx__printf("%s", texts[i % XLX__ARRAY_SIZE(texts)]);
        len = strlen(copy);
        for (rc = 0; rc < 3; rc++) {
            at = (size_t)rand_r(&seed) % len;
            if (rand_r(&seed) % 4)
                copy[at] = bytes[(size_t)rand_r(&seed) %
                                 (sizeof(bytes) - 1)];
            else if (rand_r(&seed) % 2)
                memmove(copy + at, copy + at + 1, len-- - at);
        }
        xlx_vnuma_host_init(&h);
        xlx_vnuma_text_init(&text);
        rc = xlx__vnuma_host_read(NULL, "text", copy, &h);
        if (rc)
            assert_int_equal(rc, ERROR_INVAL);
        else
            assert_ok(xlx__vnuma_export(NULL, NULL, &h, i % 2
                                        ? XLX_VNUMA_FORMAT_SVG
                                        : XLX_VNUMA_FORMAT_HWLOC, &text));
        taken += !rc;
        xlx_vnuma_text_dispose(&text);
        xlx_vnuma_host_dispose(&h);
        free(copy);
    }
    assert_true(taken > 400 && taken < 3600);
}

/* ---- holes ------------------------------------------------------------- */

static void holes_are_not_memory(void **state)
{
    xlx_vnuma_host h;

    (void)state;
    xlx_vnuma_host_init(&h);
    assert_ok(xlx__vnuma_alloc_host(&h, 2));
    h.nodes[0].memory = 2114 * GIB;
    h.nodes[1].memory = 64 * GIB;
    h.nodes[0].free = h.nodes[1].free = 60 * GIB;
    xlx__vnuma_bound_memory(&h, 0);         /* not known */
    assert_int_equal(h.nodes[0].memory, 2114 * GIB);
    xlx__vnuma_bound_memory(&h, 128 * GIB);
    assert_int_equal(h.nodes[0].memory, 68 * GIB);
    assert_int_equal(h.nodes[1].memory, 64 * GIB);
    assert_false(h.nodes[0].present || h.nodes[1].present);
    h.nodes[0].memory = 64 * GIB;           /* no hole anywhere */
    xlx__vnuma_bound_memory(&h, 128 * GIB);
    assert_true(h.nodes[0].present && h.nodes[1].present);
    xlx_vnuma_host_dispose(&h);
}

/* ---- pictures ---------------------------------------------------------- */

/* Two vnodes on node 0, which is too small for both, and one on a node that
 * the host does not have. */
static void pictures_show_what_is_wrong(void **state)
{
    static const char *const shown[] = {
        ">too full: 24 GiB, 8 GiB more than fits<", "url(#over)",
        ">the host has no such node<", ">node 7<", ">12 vCPUs on 4 cores<",
        ">at most 32 GiB memory, 16 GiB free<", "or a hole",
        ">free memory<", ">8 cpus, 4 cores, 2 sockets<", ">socket 1<",
        ">21?<", ">HBM<",
    };
    xlx_vnuma_topology t;
    xlx_vnuma_text text;
    xlx_vnuma_host h;
    size_t i;
    int j;

    (void)state;
    read_host("{\"nodes\": [{\"node\": 0, \"memory\": 34359738368, \"free\":"
              "17179869184, \"assumed\": [1], \"distances\": [10, 21]},"
              "{\"node\": 1, \"memory\": 34359738368, \"present\": true,"
              "\"kind\": \"hbm\", \"distances\": [21, 10]}]}", &h);
    h.nodes[0].cpus = calloc(8, sizeof(*h.nodes[0].cpus));
    assert_non_null(h.nodes[0].cpus);
    for (j = 0; j < 8; j++)
        h.nodes[0].cpus[j] = (xlx_vnuma_cpu){
            .cpu = (uint32_t)j, .core = (uint32_t)j / 2 % 2,
            .socket = (uint32_t)j / 4,
        };
    h.nodes[0].num_cpus = 8;
    xlx_vnuma_topology_init(&t);
    assert_ok(xlx__vnuma_alloc(&t, 3));
    for (j = 0; j < 13; j++)
        assert_ok(xlx__vnuma_append(&t.vnodes[j / 6].vcpus,
                                    &t.vnodes[j / 6].num_vcpus,
                                    (uint32_t)j));
    for (j = 0; j < 3; j++) {
        t.vnodes[j].memory = (j ? 8 : 16) * GIB;
        t.vnodes[j].pnode = j == 2 ? 7 : 0;
        t.vnodes[j].pnode_source = XLX_VNUMA_SOURCE_CONFIGURED;
    }
    xlx_vnuma_text_init(&text);
    assert_ok(xlx__vnuma_export(NULL, &t, &h, XLX_VNUMA_FORMAT_SVG, &text));
    for (i = 0; i < XLX__ARRAY_SIZE(shown); i++)
        if (!strstr(text.text, shown[i]))
            fail_msg("no \"%s\" in %s", shown[i], text.text);
    xlx_vnuma_text_dispose(&text);
    xlx_vnuma_text_init(&text);
    assert_ok(xlx__vnuma_export(NULL, &t, &h, XLX_VNUMA_FORMAT_DOT, &text));
    assert_non_null(strstr(text.text, "cpus 0-7\\ntoo full\""));
    assert_non_null(strstr(text.text, "\"node 7: the host has none\""));
    assert_non_null(strstr(text.text, "n0 -- n1 [label=\"21?\", "
                                      "style=dashed]"));
    xlx_vnuma_text_dispose(&text);
    xlx_vnuma_topology_dispose(&t);
    xlx_vnuma_host_dispose(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef HAVE_LIBXML2
        cmocka_unit_test(cpus_are_the_dram_nodes),
        cmocka_unit_test(no_plan_on_hbm),
        cmocka_unit_test(distances_of_all_sorts),
        cmocka_unit_test(nodesets_of_libvirt),
#endif
        cmocka_unit_test(what_xl_info_prints),
        cmocka_unit_test(what_numactl_prints),
        cmocka_unit_test(mutated_texts),
        cmocka_unit_test(holes_are_not_memory),
        cmocka_unit_test(pictures_show_what_is_wrong),
    };

    return cmocka_run_group_tests_name("vnuma-host", tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Written topologies are read back as they were, from random topologies and
 * hosts; and what others write wrongly is refused with the place.
 */
#include "gen-calls.h"
#include "unit.h"
#include "vnuma/vnuma.h"

#define MIB (UINT64_C(1) << 20)
#define ROUNDS 300

static uint64_t seed;

static uint32_t random_below(uint32_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

static void random_topology(xlx_vnuma_topology *t)
{
    int num = 2 + (int)random_below(7), i, j;
    uint32_t vcpus = 1 + random_below(64), vcpu;
    xlx_vnuma_vnode *v;

    xlx_vnuma_topology_init(t);
    assert_ok(xlx__set_string(&t->name, "a<b>&\"c\" \303\244"));
    assert_ok(xlx__vnuma_alloc(t, num));
    for (i = 0; i < num; i++) {
        v = &t->vnodes[i];
        v->memory = (1 + random_below(100000)) * MIB;
        v->pnode = random_below(64);
        v->pnode_source = XLX_VNUMA_SOURCE_CONFIGURED;
        for (j = 0; j < num; j++)
            v->distances[j] = i == j ? 10 : 11 + random_below(244);
    }
    for (vcpu = 0; vcpu < vcpus; vcpu++) {
        v = &t->vnodes[random_below((uint32_t)num)];
        assert_ok(xlx__vnuma_append(&v->vcpus, &v->num_vcpus, vcpu));
    }
}

static void random_host(xlx_vnuma_host *h)
{
    int num = 1 + (int)random_below(12), i, j;
    uint32_t cpu = 0;
    xlx_vnuma_node *n;

    xlx_vnuma_host_init(h);
    assert_ok(xlx__vnuma_alloc_host(h, num));
    for (i = 0; i < num; i++) {
        n = &h->nodes[i];
        n->node = (uint32_t)(i * 5);
        n->memory = n->free = random_below(1000) * MIB;
        n->kind = (xlx_vnuma_memory)random_below(6);
        n->present = random_below(2);
        n->cpus_assumed = random_below(2);
        for (j = 0; j < num; j++)
            if (i != j && !random_below(4))
                assert_ok(xlx__vnuma_append(&n->assumed, &n->num_assumed,
                                            (uint32_t)(j * 5)));
        n->num_cpus = (int)random_below(12);
        n->cpus = calloc(12, sizeof(*n->cpus));
        assert_non_null(n->cpus);
        for (j = 0; j < n->num_cpus; j++) {
            cpu += 1 + random_below(20);
            n->cpus[j].cpu = cpu;
            n->cpus[j].core = (uint32_t)j / 2;
        }
        for (j = 0; j < num; j++)
            n->distances[j] = i == j ? 10 : 11 + random_below(244);
        for (j = (int)random_below(3); j > 0; j--)
            assert_ok(xlx__vnuma_append_string(&n->devices, &n->num_devices,
                                               "0000:%02x:00.0", j));
    }
}

static void same_topology(const xlx_vnuma_topology *a,
                          const xlx_vnuma_topology *b)
{
    const xlx_vnuma_vnode *v, *w;
    int i, j;

    assert_int_equal(a->num_vnodes, b->num_vnodes);
    for (i = 0; i < a->num_vnodes; i++) {
        v = &a->vnodes[i];
        w = &b->vnodes[i];
        assert_int_equal(v->memory, w->memory);
        assert_int_equal(v->pnode, w->pnode);
        assert_int_equal(v->pnode_source, w->pnode_source);
        assert_int_equal(v->num_vcpus, w->num_vcpus);
        for (j = 0; j < v->num_vcpus; j++)
            assert_int_equal(v->vcpus[j], w->vcpus[j]);
        for (j = 0; j < a->num_vnodes; j++)
            assert_int_equal(v->distances[j], w->distances[j]);
    }
}

static void same_host(const xlx_vnuma_host *a, const xlx_vnuma_host *b)
{
    const xlx_vnuma_node *n, *m;
    int i, j;

    assert_int_equal(a->num_nodes, b->num_nodes);
    for (i = 0; i < a->num_nodes; i++) {
        n = &a->nodes[i];
        m = &b->nodes[i];
        assert_int_equal(n->node, m->node);
        assert_int_equal(n->memory, m->memory);
        assert_int_equal(n->present, m->present);
        assert_int_equal(n->kind, m->kind);
        assert_int_equal(n->cpus_assumed, m->cpus_assumed);
        assert_int_equal(n->num_assumed, m->num_assumed);
        for (j = 0; j < n->num_assumed; j++)
            assert_int_equal(n->assumed[j], m->assumed[j]);
        assert_int_equal(n->num_cpus, m->num_cpus);
        assert_int_equal(n->num_devices, m->num_devices);
        for (j = 0; j < n->num_cpus; j++) {
            assert_int_equal(n->cpus[j].cpu, m->cpus[j].cpu);
            assert_int_equal(n->cpus[j].core, m->cpus[j].core);
        }
        for (j = 0; j < a->num_nodes; j++)
            assert_int_equal(n->distances[j], m->distances[j]);
        for (j = 0; j < n->num_devices; j++)
            assert_string_equal(n->devices[j], m->devices[j]);
    }
}

static void written_and_read(const xlx_vnuma_topology *t,
                             xlx_vnuma_format format)
{
    xlx_vnuma_topology again;
    xlx_vnuma_text text, second;

    xlx_vnuma_text_init(&text);
    xlx_vnuma_text_init(&second);
    xlx_vnuma_topology_init(&again);
    assert_ok(xlx__vnuma_export(NULL, t, NULL, format, &text));
    assert_ok(xlx__vnuma_read(NULL, "written", text.text, &again));
    same_topology(t, &again);
    if (format == XLX_VNUMA_FORMAT_LIBVIRT)
        assert_string_equal(again.name, t->name);
    assert_ok(xlx__vnuma_export(NULL, &again, NULL, format, &second));
    assert_string_equal(text.text, second.text);
    xlx_vnuma_text_dispose(&text);
    xlx_vnuma_text_dispose(&second);
    xlx_vnuma_topology_dispose(&again);
}

static void guests_are_read_as_written(void **state)
{
    xlx_vnuma_topology t;
    int i;

    (void)state;
    seed = 3;
    for (i = 0; i < ROUNDS; i++) {
        random_topology(&t);
        written_and_read(&t, XLX_VNUMA_FORMAT_JSON);
        written_and_read(&t, XLX_VNUMA_FORMAT_XL);
#ifdef HAVE_LIBXML2
        written_and_read(&t, XLX_VNUMA_FORMAT_LIBVIRT);
#endif
        xlx_vnuma_topology_dispose(&t);
    }
}

static void hosts_are_read_as_written(void **state)
{
    static const xlx_vnuma_format formats[] = {
        XLX_VNUMA_FORMAT_JSON,
#ifdef HAVE_LIBXML2
        XLX_VNUMA_FORMAT_HWLOC,
#endif
    };
    xlx_vnuma_host h, again;
    xlx_vnuma_text text;
    size_t f;
    int i;

    (void)state;
    seed = 4;
    for (i = 0; i < ROUNDS; i++) {
        random_host(&h);
        for (f = 0; f < XLX__ARRAY_SIZE(formats); f++) {
            xlx_vnuma_text_init(&text);
            xlx_vnuma_host_init(&again);
            assert_ok(xlx__vnuma_export(NULL, NULL, &h, formats[f], &text));
            assert_ok(xlx__vnuma_host_read(NULL, "written", text.text,
                                           &again));
            same_host(&h, &again);
            xlx_vnuma_text_dispose(&text);
            xlx_vnuma_host_dispose(&again);
        }
        xlx_vnuma_host_dispose(&h);
    }
}

/* Every pair of guest and host gives a picture with all vnodes and nodes. */
static void pictures_have_all(void **state)
{
    xlx_vnuma_topology t;
    xlx_vnuma_text text;
    xlx_vnuma_host h;
    char what[32];
    int i, j;

    (void)state;
    seed = 5;
    for (i = 0; i < ROUNDS; i++) {
        random_topology(&t);
        random_host(&h);
        for (j = 0; j < t.num_vnodes; j += 2)
            t.vnodes[j].pnode =
                h.nodes[(uint32_t)j % (uint32_t)h.num_nodes].node;
        xlx_vnuma_text_init(&text);
        assert_ok(xlx__vnuma_export(NULL, &t, i % 2 ? &h : NULL,
                                    i % 3 ? XLX_VNUMA_FORMAT_SVG
                                          : XLX_VNUMA_FORMAT_DOT, &text));
        for (j = 0; j < t.num_vnodes; j++) {
            snprintf(what, sizeof(what), i % 3 ? ">vnode %d<"
                                               : "\"vnode %d\\n", j);
            if (!strstr(text.text, what))
                fail_msg("no %s in %s", what, text.text);
        }
        for (j = 0; i % 2 && j < h.num_nodes; j++) {
            snprintf(what, sizeof(what), i % 3 ? ">node %u<" : "\"node %u\"",
                     h.nodes[j].node);
            assert_non_null(strstr(text.text, what));
        }
        xlx_vnuma_text_dispose(&text);
        xlx_vnuma_topology_dispose(&t);
        xlx_vnuma_host_dispose(&h);
    }
}

/* ---- what is wrong ----------------------------------------------------- */

#define CELLS(cells) "<domain><cpu><numa>" cells "</numa></cpu></domain>"
#define NUMATUNE(inner) "<domain><numatune>" inner "</numatune><cpu><numa>" \
    "<cell cpus='0' memory='1024'/></numa></cpu></domain>"
#define MEMNODE(attributes) NUMATUNE("<memnode cellid='0' " attributes "/>")
#define V(vcpus, distances) "{\"memory\": 1048576, \"vcpus\": [" vcpus \
    "], \"distances\": [" distances "]}"
#define T(vnodes) "{\"vnodes\": [" vnodes "]}"

static const struct {
    const char *text, *message;
} wrong_guests[] = {
    { T(V("0", "10,20")), "vnode 0: 2 distances for 1 vnodes" },
    { T(V("0", "10,20") "," V("0", "20,10")), "vCPU 0 is named twice" },
    { T(V("0,2", "10")), "vCPU 1 is in no vnode" },
    { T(V("1,0", "10")), "must be in ascending order" },
    { T(V("4096", "10")), "there is no vCPU 4096" },
    { "{\"vnodes\": 1}", "vnodes: must be an array" },
    { "", "the guest has no NUMA topology" },
#ifdef HAVE_LIBXML2
    { "<domain/>", "it has no domain/cpu/numa" },
    { "<domain><cpu>", "wrong: line 1: " },
    { CELLS(""), "0 cells: it must be 1 to 64" },
    { CELLS("<cell cpus='0'/>"), "cell: it has no memory" },
    { CELLS("<cell cpus='0' memory='x'/>"), "memory=\"x\": not a number" },
    { CELLS("<cell cpus='0' memory='1' unit='ell'/>"), "not a unit" },
    { CELLS("<cell cpus='0-' memory='1'/>"), "\"0-\" is not a list" },
    { CELLS("<cell cpus='3-1' memory='1'/>"), "\"3-1\" is not a list" },
    { CELLS("<cell cpus='0-99999' memory='1'/>"), "the last one can be 4095" },
    { CELLS("<cell cpus='0,' memory='1'/>"), "is not a list" },
    { CELLS("<cell cpus='^1-2' memory='1'/>"), "is not a list" },
    { MEMNODE("nodeset='0-2,^1'"), "nodeset=\"0-2,^1\": several nodes for "
      "cell 0; a vnode has one" },
    { MEMNODE("nodeset='64'"), "nodeset=\"64\": 64: the last one can be 63" },
    { MEMNODE("nodeset='0,^0'"), "nodeset=\"0,^0\" is empty" },
    { MEMNODE("nodeset='x'"), "is not a list of numbers and ranges" },
    { MEMNODE("mode='strict'"), "memnode: it has no nodeset" },
    { NUMATUNE("<memory nodeset='1-2'/>"), "nodeset=\"1-2\": several nodes" },
    { NUMATUNE("<memnode cellid='0' nodeset='1'/><memnode cellid='0' "
               "nodeset='1'/>"), "memnode: cell 0 has two" },
    { CELLS("<cell id='1' memory='1'/>"), "id=\"1\": not a number up to 0" },
    { CELLS("<cell id='0' memory='1'/><cell id='0' memory='1'/>"),
      "cell 0 is there twice" },
    { CELLS("<cell cpus='0' memory='1'><distances><sibling id='1' value='1'/>"
            "</distances></cell>"), "id=\"1\": not a number up to 0" },
    { CELLS("<cell cpus='0' memory='1'><distances><sibling id='0' value='0'/>"
            "</distances></cell>"), "0 is not a distance" },
    { CELLS("<cell cpus='0' memory='9223372036854775807' unit='TiB'/>"),
      "not a number up to" },
#endif
};

static void wrong_guests_are_refused(void **state)
{
    xlx_vnuma_topology t;
    xlx_vnuma_text text;
    size_t i;
    int rc;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(wrong_guests); i++) {
        xlx_vnuma_topology_init(&t);
        xlx_vnuma_text_init(&text);
        rc = xlx__vnuma_read(NULL, "wrong", wrong_guests[i].text, &t);
        if (!rc)
            rc = xlx__vnuma_export(NULL, &t, NULL, XLX_VNUMA_FORMAT_XL,
                                   &text);
        assert_int_equal(rc, ERROR_INVAL);
        if (!strstr(xlx_error_get(), wrong_guests[i].message))
            fail_msg("%s\n%s", wrong_guests[i].text, xlx_error_get());
        xlx_vnuma_text_dispose(&text);
        xlx_vnuma_topology_dispose(&t);
    }
}

#define N(number, cpus) "{\"node\": " number ", \"memory\": 1, " \
    "\"free\": 1, \"cpus\": [" cpus "], \"distances\": [10, 20]}"
#define H(nodes) "{\"nodes\": [" nodes "]}"
#define CPUSET(set) \
    "<object type='NUMANode' os_index='0' cpuset='" set "'/>"
#define NUMA CPUSET("0x1")

static const struct {
    const char *text, *message;
} wrong_hosts[] = {
    { "nodes", "neither the JSON of a host, nor the XML of hwloc, nor what" },
    { "cpu:  core\n  0:  0  0 x\n", "line 2: not the core, socket and node" },
    { "node:  memsize\n  0:  0\n", "line 2: not the memory of a node" },
    { "node 0 size: 5 kB\n", "line 1: not the memory of a node in MB" },
    { "node 64 cpus: 1\n", "line 1: not the number of a node" },
    { H(N("0", "")), "node 0: 2 distances for 1 nodes" },
    { H(N("1", "") "," N("0", "")), "must be in ascending order" },
    { H(N("0", "") "," N("64", "")), "the last one that Xen knows is 63" },
    { H(N("0", "{\"cpu\": 1}") "," N("1", "{\"cpu\": 1}")),
      "node 1: cpu 1 is named twice" },
    { H(N("0", "{\"cpu\": 70000}") "," N("1", "")), "cpu 70000 cannot be" },
#ifdef HAVE_LIBXML2
    { "<domain/>", "its root is domain, not the topology of hwloc" },
    { "<topology/>", "0 objects of type NUMANode" },
    { "<topology><object type='NUMANode'/></topology>", "has no os_index" },
    { "<topology>" NUMA NUMA "</topology>", "must be in ascending order" },
    { "<topology>" NUMA "<object type='PU' os_index='0'/>"
      "<object type='PU' os_index='0'/></topology>",
      "its cpus must be in ascending order" },
    { "<topology>" CPUSET("0x1ffffffff") "</topology>", "not a set of CPUs" },
    { "<topology>" CPUSET("0x1 0x2") "</topology>", "not a set of CPUs" },
    { "<topology>" CPUSET("-0x1") "</topology>", "not a set of CPUs" },
    { "<topology>" CPUSET("0xf...f") "</topology>", "not a set of CPUs" },
    { "<topology>" NUMA "<distances2 type='NUMANode' name='NUMALatency' "
      "indexing='os'><indexes>0</indexes></distances2></topology>",
      "it has not the distances between all of its objects" },
    { "<topology>" NUMA "<distances2 type='NUMANode' name='NUMALatency' "
      "indexing='os'><indexes>3</indexes><u64values>10</u64values>"
      "</distances2></topology>", "there is no node 3" },
#endif
};

static void wrong_hosts_are_refused(void **state)
{
    xlx_vnuma_host h;
    size_t i;
    int rc;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(wrong_hosts); i++) {
        xlx_vnuma_host_init(&h);
        rc = xlx__vnuma_host_read(NULL, "wrong", wrong_hosts[i].text, &h);
        assert_int_equal(rc, ERROR_INVAL);
        if (!strstr(xlx_error_get(), wrong_hosts[i].message))
            fail_msg("%s\n%s", wrong_hosts[i].text, xlx_error_get());
        xlx_vnuma_host_dispose(&h);
    }
}

static void what_a_format_cannot_say(void **state)
{
    xlx_vnuma_topology t;
    xlx_vnuma_text text;
    xlx_vnuma_host h;

    (void)state;
    seed = 6;
    random_topology(&t);
    random_host(&h);
    xlx_vnuma_text_init(&text);
    assert_fails(xlx__vnuma_export(NULL, NULL, &h, XLX_VNUMA_FORMAT_XL,
                                   &text), ERROR_INVAL,
                 "the format xl is for a guest's topology");
    assert_fails(xlx__vnuma_export(NULL, NULL, NULL, XLX_VNUMA_FORMAT_SVG,
                                   &text), ERROR_INVAL, "none is given");
    assert_fails(xlx__vnuma_export(NULL, &t, NULL, (xlx_vnuma_format)99,
                                   &text), ERROR_INVAL, "");
    t.vnodes[1].memory++;
    assert_fails(xlx__vnuma_export(NULL, &t, NULL, XLX_VNUMA_FORMAT_QEMU,
                                   &text), ERROR_INVAL,
                 "vnode 1: ");
    assert_null(text.text);
    xlx_vnuma_topology_dispose(&t);
    xlx_vnuma_host_dispose(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guests_are_read_as_written),
        cmocka_unit_test(hosts_are_read_as_written),
        cmocka_unit_test(pictures_have_all),
        cmocka_unit_test(wrong_guests_are_refused),
        cmocka_unit_test(wrong_hosts_are_refused),
        cmocka_unit_test(what_a_format_cannot_say),
    };

    return cmocka_run_group_tests_name("vnuma-export", tests, NULL, NULL);
}

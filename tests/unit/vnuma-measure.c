/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Xen's output about its domains' memory is understood, whichever release
 * printed it and whatever else stands in between; and what is not complete is
 * not taken for the truth.
 */
#include "unit.h"
#include "vnuma/vnuma.h"

static int parse(const char *text, uint32_t domid, xlx_vnuma_topology *t)
{
    xlx_vnuma_topology_init(t);
    assert_ok(xlx__vnuma_alloc(t, 2));
    return xlx__vnuma_parse_count(text, domid, t);
}

static void assert_places(const xlx_vnuma_topology *t, uint64_t pages0,
                          uint64_t pages1)
{
    assert_int_equal(t->num_places, 2);
    assert_int_equal(t->places[0].node, 0);
    assert_int_equal(t->places[0].memory, pages0 * 4096);
    assert_int_equal(t->places[1].node, 1);
    assert_int_equal(t->places[1].memory, pages1 * 4096);
}

/* Two domains; the second, of two vnodes, is printed as header says. */
#define BEFORE \
    "(XEN) 'u' pressed -> dumping numa info (now = 8805901249990)\n" \
    "(XEN) NODE0 start->0 size->524288 free->257673\n" \
    "(XEN) NODE1 start->524288 size->524288 free->499676\n" \
    "(XEN) CPU0...1 -> NODE0\n" \
    "(XEN) Memory location of each domain:\n" \
    "(XEN) Domain 0 (total: 7):\n" \
    "(XEN)     Node 0: 7\n" \
    "(XEN)     Node 1: 0\n"
#define LAYOUT \
    "(XEN)      2 vnodes, 2 vcpus, guest physical layout:\n" \
    "(XEN)          0: pnode   1, vcpus 0 \n" \
    "(XEN)            0000000000000000 - 0000000008000000\n" \
    "(XEN)          1: pnode ???, vcpus 1\n" \
    "(XEN)            0000000008000000 - 0000000010000000\n"

static void test_releases(void **state)
{
    static const char *const texts[] = {
        BEFORE "(XEN) Domain 12 (total: 65536):\n"
        "(XEN)     Node 0: 60000\n(XEN)     Node 1: 5536\n" LAYOUT,
        BEFORE "(XEN) d12 (total: 65536):\n"
        "(XEN)     Node 0: 60000\n(XEN)     Node 1: 5536\n" LAYOUT,
        /* with times, and with a carriage return */
        "(XEN) [2026-01-02 03:04:05] d12 (total: 65536):\r\n"
        "(XEN) [2026-01-02 03:04:05]     Node 0: 60000\r\n"
        "(XEN) [  123.456789]     Node 1: 5536\r\n"
        "(XEN) [  123.456789]          0: pnode   1, vcpus 0 \r\n",
        /* others also print, and the ring begins within a line */
        "de 0: 1\n(XEN)     Node 1: 2\n(XEN) d12 (total: 65536):\n"
        "(d3) d12 (total: 1):\n(XEN)     Node 0: 60000\n"
        "(XEN) d3v0 Unhandled vmexit\n(d12)     Node 7: 9\n"
        "(XEN)     Node 1: 5536\n(XEN)          0: pnode   1,(XEN) d3 says\n",
        /* somebody else has pressed the key before */
        "(XEN) d12 (total: 9):\n(XEN)     Node 0: 9\n" BEFORE
        "(XEN) d12 (total: 65536):\n"
        "(XEN)     Node 0: 60000\n(XEN)     Node 1: 5536\n" LAYOUT
        "(XEN) d120 (total: 3):\n(XEN)     Node 0: 3\n",
    };
    xlx_vnuma_topology t;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(texts); i++) {
        assert_ok(parse(texts[i], 12, &t));
        assert_places(&t, 60000, 5536);
        assert_int_equal(t.vnodes[0].pnode, 1);
        assert_int_equal(t.vnodes[0].pnode_source,
                         XLX_VNUMA_SOURCE_MEASURED);
        assert_int_equal(t.vnodes[1].pnode_source, XLX_VNUMA_SOURCE_NONE);
        xlx_vnuma_topology_dispose(&t);
    }
}

static void test_incomplete(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } cases[] = {
        { "", ERROR_NOTFOUND },
        { BEFORE, ERROR_NOTFOUND },
        /* 12, but only modulo 2^32, or with a sign */
        { "(XEN) d4294967308 (total: 7):\n(XEN)     Node 0: 7\n",
          ERROR_NOTFOUND },
        { "(XEN) d+12 (total: 7):\n(XEN)     Node 0: 7\n", ERROR_NOTFOUND },
        { BEFORE "(XEN) d120 (total: 1):\n(XEN)     Node 0: 1\n",
          ERROR_NOTFOUND },
        /* a guest says so */
        { "(d12) d12 (total: 1):\n(d12)     Node 0: 1\n", ERROR_NOTFOUND },
        { "d12 (total: 1):\n    Node 0: 1\n", ERROR_NOTFOUND },
        /* cut, or changed in between */
        { BEFORE "(XEN) d12 (total: 65536):\n(XEN)     Node 0: 60000\n",
          ERROR_NOT_READY },
        { BEFORE "(XEN) d12 (total: 65536):\n", ERROR_NOT_READY },
        { "(XEN) d12 (total: 5):\n(XEN)     Node 0: 5\n(XEN)     Node 1: 1\n",
          ERROR_NOT_READY },
        { "(XEN) d12 (total: 5):\n(XEN)     Node 0: 5x\n", ERROR_NOT_READY },
        { "(XEN) d12 (total: 5):\n(XEN)     Node 0: 5"
          "                                                            "
          "                                                            "
          "                            \n", ERROR_NOT_READY },
    };
    xlx_vnuma_topology t;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(cases); i++) {
        assert_int_equal(parse(cases[i].text, 12, &t), cases[i].rc);
        assert_int_equal(t.num_places, 0);
        assert_non_null(strstr(xlx_error_get(), "domain 12"));
        xlx_vnuma_topology_dispose(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_releases),
        cmocka_unit_test(test_incomplete),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

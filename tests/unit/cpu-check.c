/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Why a guest has a feature or not, and whether it can come to a host: each
 * rule on hosts made for it.
 */
#include "cpu/cpu.h"
#include "gen-calls.h"
#include "unit.h"

/* ---- hosts and guests --------------------------------------------------- */

static void of_expression(const char *expression, xlx_cpu *p)
{
    struct xlx__cpu cpu;

    xlx_cpu_init(p);
    assert_ok(xlx__cpu_parse_expression(expression, &cpu));
    assert_ok(xlx__cpu_to_public(&cpu, p));
}

static void make_host(const char *hardware, const char *xen, const char *most,
                      const char *usual, xlx_cpu_host *h)
{
    h->pv = false;
    of_expression(hardware, &h->hardware);
    of_expression(xen, &h->xen);
    of_expression(most, &h->most);
    of_expression(usual, &h->usual);
}

/* ---- explain ------------------------------------------------------------ */

struct expected {
    const char *feature;
    bool on;
    xlx_cpu_reason reason;
    const char *cause;
};

static void explain(const xlx_cpu *guest, const xlx_cpu_host *host,
                    const char *expression, const struct expected *e)
{
    xlx_cpu_explanations list;

    xlx_cpu_explanations_init(&list);
    assert_ok(xlx__cpu_explain(NULL, guest, host, expression, e->feature,
                               &list));
    assert_int_equal(list.num_features, 1);
    assert_int_equal(list.features[0].on, e->on);
    if (list.features[0].reason != e->reason)
        fail_msg("%s: %s", e->feature,
                 xlx_cpu_reason_to_string(list.features[0].reason));
    assert_string_equal(xlx__text(list.features[0].cause),
                        e->cause ? e->cause : "");
    xlx_cpu_explanations_dispose(&list);
}

static void each_reason(void **state)
{
    static const struct expected all[] = {
        { "avx", true, XLX_CPU_REASON_ON, NULL },
        { "sse4_2", true, XLX_CPU_REASON_ON, NULL },
        { "avx512f", false, XLX_CPU_REASON_HARDWARE, NULL },
        { "smap", false, XLX_CPU_REASON_HIDDEN, NULL },
        { "arat", false, XLX_CPU_REASON_NO_GUEST, NULL },
        { "hle", false, XLX_CPU_REASON_ASKED, NULL },
        { "bmi1", false, XLX_CPU_REASON_TURNED_OFF, "-bmi1" },
        { "movbe", false, XLX_CPU_REASON_TURNED_OFF, "IvyBridge-v1" },
        { "avx2", false, XLX_CPU_REASON_TURNED_OFF, "IvyBridge-v1" },
        { "hypervisor", true, XLX_CPU_REASON_ON, NULL },
        { "osxsave", false, XLX_CPU_REASON_DYNAMIC, NULL },
    };
    xlx_cpu_host host;
    xlx_cpu guest;
    size_t i;

    (void)state;
    xlx_cpu_host_init(&host);
    make_host("Broadwell", "Broadwell,-smap", "Haswell,-rtm,-arat",
              "Haswell-noTSX,-arat", &host);
    of_expression("IvyBridge,-arat,+hypervisor", &guest);
    for (i = 0; i < XLX__ARRAY_SIZE(all); i++)
        explain(&guest, &host, "IvyBridge,-bmi1", &all[i]);
    xlx_cpu_dispose(&guest);
    xlx_cpu_host_dispose(&host);
}

/* On a processor that has all of its model. */
static void what_xen_gives_no_guest(void **state)
{
    static const struct expected all[] = {
        { "la57", false, XLX_CPU_REASON_NO_GUEST, NULL },
        { "intel-pt", false, XLX_CPU_REASON_NO_GUEST, NULL },
        { "arat", false, XLX_CPU_REASON_NO_GUEST, NULL },
        { "avx512f", true, XLX_CPU_REASON_ON, NULL },
    };
    static const char guests[] = "Icelake-Server-v6,-la57,-arat";
    xlx_cpu_host host;
    xlx_cpu guest;
    size_t i;

    (void)state;
    xlx_cpu_host_init(&host);
    make_host("Icelake-Server-v6,+intel-pt", "Icelake-Server-v6,+intel-pt",
              guests, guests, &host);
    of_expression(guests, &guest);
    for (i = 0; i < XLX__ARRAY_SIZE(all); i++)
        explain(&guest, &host, "Icelake-Server-v6,+intel-pt", &all[i]);
    xlx_cpu_dispose(&guest);
    xlx_cpu_host_dispose(&host);
}

static void what_falls_with_another(void **state)
{
    static const struct expected all[] = {
        { "avx", false, XLX_CPU_REASON_TURNED_OFF, NULL },
        { "avx2", false, XLX_CPU_REASON_NEEDS, "avx" },
        { "fma", false, XLX_CPU_REASON_NEEDS, "avx" },
        { "aes", true, XLX_CPU_REASON_ON, NULL },
        { "rdctl-no", false, XLX_CPU_REASON_NEEDS, "arch-capabilities" },
    };
    static const char cascade[] = "Cascadelake-Server-v2";
    xlx_cpu_host host;
    xlx_cpu guest;
    size_t i;

    (void)state;
    xlx_cpu_host_init(&host);
    make_host(cascade, cascade, cascade, cascade, &host);
    xlx_cpu_init(&guest);
    assert_ok(xlx__cpu_expand(NULL, "Cascadelake-Server-v2,-avx,"
                              "-arch-capabilities", true, &guest));
    for (i = 0; i < XLX__ARRAY_SIZE(all); i++)
        explain(&guest, &host, NULL, &all[i]);
    xlx_cpu_dispose(&guest);
    xlx_cpu_host_dispose(&host);
}

static void all_are_listed(void **state)
{
    xlx_cpu_explanations list;
    xlx_cpu_host host;
    xlx_cpu guest;
    int i, on = 0;

    (void)state;
    xlx_cpu_host_init(&host);
    xlx_cpu_explanations_init(&list);
    make_host("Haswell", "Haswell", "Haswell", "Haswell", &host);
    of_expression("IvyBridge", &guest);
    assert_ok(xlx__cpu_explain(NULL, &guest, &host, "Broadwell", NULL,
                               &list));
    for (i = 0; i < list.num_features; i++)
        on += list.features[i].on;
    assert_int_equal(on, guest.num_features);
    /* those of Haswell, and what Broadwell has beyond it */
    assert_int_equal(list.num_features, host.most.num_features + 4);
    xlx_cpu_explanations_dispose(&list);
    assert_fails(xlx__cpu_explain(NULL, &guest, &host, NULL, "avx3", &list),
                 ERROR_NOTFOUND, "no feature \"avx3\"");
    xlx_cpu_dispose(&guest);
    xlx_cpu_host_dispose(&host);
}

/* ---- check -------------------------------------------------------------- */

static void check(const char *guest_is, const char *host_is,
                  const char *release, xlx_cpu_verdict *v)
{
    xlx_cpu_host host;
    xlx_cpu guest;

    xlx_cpu_host_init(&host);
    xlx_cpu_verdict_init(v);
    make_host(host_is, host_is, host_is, host_is, &host);
    of_expression(guest_is, &guest);
    assert_ok(xlx__cpu_check(NULL, &guest, &host, release, v));
    xlx_cpu_dispose(&guest);
    xlx_cpu_host_dispose(&host);
}

static void fate(const char *guest, const char *host, const char *release,
                 xlx_cpu_fate expected, const char *reason)
{
    xlx_cpu_verdict v;

    check(guest, host, release, &v);
    if (v.fate != expected)
        fail_msg("%s on %s of %s: %s", guest, host, release,
                 xlx_cpu_fate_to_string(v.fate));
    if (!strstr(xlx__text(v.reason), reason))
        fail_msg("%s on %s: %s", guest, host, v.reason);
    xlx_cpu_verdict_dispose(&v);
}

static void what_is_lost(void **state)
{
    xlx_cpu_verdict v;

    (void)state;
    check("Haswell-noTSX,+hypervisor", "IvyBridge", NULL, &v);
    assert_int_equal(v.fate, XLX_CPU_FATE_LOSE);
    assert_int_equal(v.num_lost, 8);
    assert_string_equal(v.lost[0], "abm");
    assert_int_equal(v.num_unaware, 0);
    xlx_cpu_verdict_dispose(&v);
    /* all that builds on it is named */
    check("Haswell,+avx512f,+avx512bw", "Haswell", "4.20.0", &v);
    assert_int_equal(v.fate, XLX_CPU_FATE_LOSE);
    assert_int_equal(v.num_lost, 2);
    assert_string_equal(v.lost[0], "avx512bw");
    xlx_cpu_verdict_dispose(&v);
    fate("IvyBridge,+hypervisor,+ht", "Haswell", NULL, XLX_CPU_FATE_RUN, "");
    /* not lost: Xen shows it everywhere */
    fate("IvyBridge,+md-clear", "IvyBridge", NULL, XLX_CPU_FATE_RUN, "");
}

static void what_it_does_not_know_of(void **state)
{
    xlx_cpu_verdict v;

    (void)state;
    check("IvyBridge", "IvyBridge,+md-clear", NULL, &v);
    assert_int_equal(v.fate, XLX_CPU_FATE_RUN);
    assert_int_equal(v.num_unaware, 1);
    assert_string_equal(v.unaware[0], "md-clear");
    xlx_cpu_verdict_dispose(&v);
    check("IvyBridge", "IvyBridge,+arch-capabilities,+rrsba", NULL, &v);
    assert_int_equal(v.num_unaware, 1);
    assert_string_equal(v.unaware[0], "rsba");
    xlx_cpu_verdict_dispose(&v);
    check("IvyBridge,+arch-capabilities,+rsba",
          "IvyBridge,+arch-capabilities,+rrsba", NULL, &v);
    assert_int_equal(v.num_unaware, 0);
    xlx_cpu_verdict_dispose(&v);
}

/* The refusals of each release. */
static void limits(void **state)
{
    static const char seven2[] = "Haswell,+spec-ctrl,+intel-psfd";
    static const struct {
        const char *guest, *host, *release;
        xlx_cpu_fate fate;
    } all[] = {
        { seven2, "Haswell", NULL, XLX_CPU_FATE_REFUSE },
        { seven2, "Haswell", "4.17.4", XLX_CPU_FATE_REFUSE },
        { seven2, "Haswell", "4.17.5", XLX_CPU_FATE_LOSE },
        { seven2, "Haswell", "4.17.7-pre", XLX_CPU_FATE_LOSE },
        { seven2, "Haswell", "4.18.2", XLX_CPU_FATE_REFUSE },
        { seven2, "Haswell", "4.18.3", XLX_CPU_FATE_LOSE },
        { seven2, "Haswell", "4.19", XLX_CPU_FATE_LOSE },
        { seven2, "Haswell", "5.0", XLX_CPU_FATE_LOSE },
        { "Haswell", "Haswell,level=7", "4.17.7", XLX_CPU_FATE_REFUSE },
        { "Haswell", "Haswell,level=7", "4.18.3", XLX_CPU_FATE_REFUSE },
        { "Haswell", "Haswell,level=7", "4.18.4", XLX_CPU_FATE_RUN },
        { "Haswell", "Haswell,level=7", "4.19.0", XLX_CPU_FATE_REFUSE },
        { "Haswell", "Haswell,level=7", "4.19.1", XLX_CPU_FATE_RUN },
        { "Haswell", "Haswell,level=7", "4.20.0", XLX_CPU_FATE_RUN },
        { "Haswell,level=22", "Haswell", "4.20.0", XLX_CPU_FATE_REFUSE },
        { "EPYC", "Opteron_G3", "4.17.7", XLX_CPU_FATE_REFUSE },
        { "Haswell", "EPYC", NULL, XLX_CPU_FATE_REFUSE },
        { "x86-64-v2", "x86-64-v2", "4.22", XLX_CPU_FATE_RUN },
        { "Nehalem", "EPYC", "4.22.0", XLX_CPU_FATE_REFUSE },
        { "Nehalem,-ss", "EPYC", "4.21.0", XLX_CPU_FATE_RUN },
    };
    static const char *const no_release[] = {
        "4.17x", " 4.17", "4. 17", "+4.17", "4.+17", "4.17.+5", "-4.17", "4",
        "4.", "4294967300.17",
    };
    xlx_cpu_verdict v;
    xlx_cpu_host host;
    xlx_cpu guest;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(all); i++)
        fate(all[i].guest, all[i].host, all[i].release, all[i].fate, "");
    fate(seven2, "Haswell", "4.17.4", XLX_CPU_FATE_REFUSE,
         "its largest sub-leaf of 7 is 0x2, the host allows 0");
    fate("Haswell", "EPYC", "4.22.0", XLX_CPU_FATE_REFUSE,
         "its vendor is GenuineIntel, the host's AuthenticAMD");

    xlx_cpu_host_init(&host);
    xlx_cpu_verdict_init(&v);
    make_host("486", "486", "486", "486", &host);
    of_expression("486", &guest);
    assert_fails(xlx__cpu_check(NULL, &guest, &host, "new", &v), ERROR_INVAL,
                 "release: \"new\" must be like 4.17.5");
    for (i = 0; i < XLX__ARRAY_SIZE(no_release); i++)
        assert_fails(xlx__cpu_check(NULL, &guest, &host, no_release[i], &v),
                     ERROR_INVAL, "must be like");
    xlx_cpu_dispose(&guest);
    xlx_cpu_host_dispose(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reason),
        cmocka_unit_test(what_xen_gives_no_guest),
        cmocka_unit_test(what_falls_with_another),
        cmocka_unit_test(all_are_listed),
        cmocka_unit_test(what_is_lost),
        cmocka_unit_test(what_it_does_not_know_of),
        cmocka_unit_test(limits),
    };

    return cmocka_run_group_tests_name("cpu-check", tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The line that levels a pool: on each host of random pools it must be
 * accepted as it stands, and give a guest the same, so that it can move
 * between any two of them.
 */
#include "cpu/cpu.h"
#include "gen-calls.h"
#include "unit.h"

#define HOSTS 4

/* ---- hosts -------------------------------------------------------------- */

static struct xlx__cpu parse(const char *expression)
{
    struct xlx__cpu cpu;

    assert_ok(xlx__cpu_parse_expression(expression, &cpu));
    return cpu;
}

/* A processor of which no more is known. */
static void add_hardware(xlx_cpu_hosts *pool, const struct xlx__cpu *cpu)
{
    xlx_cpu_host *h;

    pool->hosts = realloc(pool->hosts, sizeof(*h) *
                          (size_t)(pool->num_hosts + 1));
    assert_non_null(pool->hosts);
    h = &pool->hosts[pool->num_hosts++];
    xlx_cpu_host_init(h);
    h->predicted = true;
    assert_ok(xlx__cpu_to_public(cpu, &h->hardware));
}

static void add(xlx_cpu_hosts *pool, const char *expression)
{
    struct xlx__cpu cpu = parse(expression);

    add_hardware(pool, &cpu);
}

/* The last one becomes a host whose policies are known, and whose Xen keeps
 * back some of what it could give. */
static void make_known(xlx_cpu_hosts *pool)
{
    xlx_cpu_host *h = &pool->hosts[pool->num_hosts - 1];
    struct xlx__cpu_xen x;
    unsigned int bit, n;

    assert_ok(xlx__cpu_xen_from_public(h, &x));
    for (n = 0; n < 5; n++) {
        bit = (unsigned int)random() % (32 * XLX__CPU_XEN_WORDS);
        if (!xlx__cpu_has(&xlx__cpu_fixed, bit))
            xlx__cpu_put(&x.usual.features, bit, false);
    }
    xlx__cpu_close(&x.usual.features);
    h->predicted = false;
    assert_ok(xlx__cpu_to_public(&x.xen, &h->xen));
    assert_ok(xlx__cpu_to_public(&x.most, &h->most));
    assert_ok(xlx__cpu_to_public(&x.usual, &h->usual));
}

/* Some model with 64 bits of that vendor, some bits changed; of Intel's none
 * has the leaves of AMD. */
static void add_random(xlx_cpu_hosts *pool, const char *vendor)
{
    struct xlx__cpu cpu;
    unsigned int bit;
    int n;

    do
        xlx__cpu_of_model(xlx__cpu_models +
                          (size_t)random() % XLX__CPU_MODELS, &cpu);
    while (strcmp(cpu.vendor, vendor) ||
           !xlx__cpu_has(&cpu.features, XLX__CPU_LM));
    for (n = 0; n < 20; n++) {
        bit = (unsigned int)random() % (32 * XLX__CPU_WORDS);
        if (bit != XLX__CPU_LM)
            cpu.features.word[bit / 32] ^= UINT32_C(1) << bit % 32;
    }
    for (n = 0; n < XLX__CPU_WORDS; n++)
        cpu.features.word[n] |= parse("kvm64").features.word[n];
    xlx__cpu_drop_registers(&cpu.features);
    cpu.level = 0xd + (uint32_t)random() % 16;
    cpu.xlevel = 0x80000021;
    if (!strcmp(vendor, "GenuineIntel")) {
        cpu.features.word[XLX__CPU_NULL_SEL_CLR_BASE / 32] = 0;
        cpu.features.word[XLX__CPU_TSA_SQ_NO / 32] = 0;
    }
    add_hardware(pool, &cpu);
    if (random() % 2)
        make_known(pool);
}

/* ---- what the line does ------------------------------------------------- */

static struct xlx__cpu_set set_of(char *const *names, int num)
{
    xlx_cpu p = { .features = (char **)names, .num_features = num };
    struct xlx__cpu cpu;

    assert_ok(xlx__cpu_from_public(&p, &cpu));
    cpu.features = xlx__cpu_without(&cpu.features, &xlx__cpu_fixed);
    return cpu.features;
}

static void same(const struct xlx__cpu_set *got,
                 const struct xlx__cpu_set *want, const char *where)
{
    char buf[XLX__CPU_NAME_MAX];
    unsigned int bit;

    for (bit = 0; bit < 32 * XLX__CPU_WORDS; bit++)
        if (xlx__cpu_has(got, bit) != xlx__cpu_has(want, bit))
            fail_msg("%s: %s", where, xlx__cpu_bit_name(bit, buf));
}

/* The features of a guest that is started with the line on the host. */
static void start(const char *line, const xlx_cpu_host *host,
                  const struct xlx__cpu_set *promised, xlx_cpu *guest)
{
    xlx_cpu_hosts one = { .hosts = (xlx_cpu_host *)host, .num_hosts = 1 };
    struct xlx__cpu_xen x;
    struct xlx__cpu_set got;
    xlx_cpu_config c;

    xlx_cpu_config_init(&c);
    if (xlx__cpu_render(NULL, line, &one, XLX_CPU_FORM_STRING, &c))
        fail_msg("%s: %s", line, xlx_error_get());
    if (c.num_lacking)
        fail_msg("%s: lacks %s", line, c.lacking[0]);
    got = set_of(c.features, c.num_features);
    same(&got, promised, line);
    assert_ok(xlx__cpu_xen_from_public(host, &x));
    x.usual.features = got;
    x.usual.from = NULL;
    assert_ok(xlx__cpu_to_public(&x.usual, guest));
    xlx_cpu_config_dispose(&c);
}

/* From each host to each. */
static void check_pool(const xlx_cpu_hosts *pool)
{
    struct xlx__cpu_set promised;
    xlx_cpu_verdict v;
    xlx_cpu_pool line;
    xlx_cpu guest;
    int i, j;

    xlx_cpu_pool_init(&line);
    assert_ok(xlx__cpu_pool_level(NULL, pool, &line));
    promised = set_of(line.guest, line.num_guest);
    for (i = 0; i < pool->num_hosts; i++) {
        xlx_cpu_init(&guest);
        start(line.cpuid, &pool->hosts[i], &promised, &guest);
        for (j = 0; j < pool->num_hosts; j++) {
            xlx_cpu_verdict_init(&v);
            assert_ok(xlx__cpu_check(NULL, &guest, &pool->hosts[j], "4.20.0",
                                     &v));
            if (v.fate != XLX_CPU_FATE_RUN)
                fail_msg("%s: %s %s", line.cpuid, xlx__text(v.reason),
                         v.num_lost ? v.lost[0] : "");
            xlx_cpu_verdict_dispose(&v);
        }
        xlx_cpu_dispose(&guest);
    }
    xlx_cpu_pool_dispose(&line);
}

/* ---- tests -------------------------------------------------------------- */

static void random_pools(void **state)
{
    static const char *const vendors[] = {
        "GenuineIntel", "AuthenticAMD", "HygonGenuine", "CentaurHauls",
    };
    xlx_cpu_hosts pool;
    int n, i;

    (void)state;
    srandom(7);
    for (n = 0; n < 400; n++) {
        xlx_cpu_hosts_init(&pool);
        for (i = 0; i < 1 + n % HOSTS; i++)
            add_random(&pool, vendors[n / HOSTS % 4]);
        check_pool(&pool);
        xlx_cpu_hosts_dispose(&pool);
    }
}

static void levels(const char *a, const char *b, const char *expected)
{
    xlx_cpu_hosts hosts;
    xlx_cpu_pool pool;

    xlx_cpu_hosts_init(&hosts);
    xlx_cpu_pool_init(&pool);
    add(&hosts, a);
    if (b)
        add(&hosts, b);
    assert_ok(xlx__cpu_pool_level(NULL, &hosts, &pool));
    assert_string_equal(pool.cpuid, expected);
    assert_true(pool.predicted);
    check_pool(&hosts);
    xlx_cpu_hosts_dispose(&hosts);
    xlx_cpu_pool_dispose(&pool);
}

/* Features that Xen gives to no guest, decides itself or gives anyway are not
 * named, nor what has no name, nor what falls with something else. */
static void only_what_must_be_said(void **state)
{
    static const char model[] = "Haswell-noTSX,level=13";

    (void)state;
    levels(model, NULL, "Haswell-v2");
    levels("Haswell-noTSX,level=13,+ht,+monitor,+vmx,+7d0[12],+ds,+dtes64,"
           "+est,+tm2,+osxsave,+pdpe1gb,+spec-ctrl,+ssbd", NULL,
           "Haswell-v4,+pdpe1gb");
    levels(model, "Broadwell-noTSX,level=13", "Haswell-v2");
    levels(model, "Haswell-noTSX,level=13,-avx,-bmi1",
           "Westmere-v1,+pcid,+x2apic,+movbe,+tsc-deadline,+xsave,+rdrand,"
           "+rdtscp,+abm,+xsaveopt,+fsgsbase,+smep,+bmi2,+erms,+invpcid");
    /* the same model in configs, other cures in the hosts */
    levels("Haswell-noTSX,level=13,+spec-ctrl,+ssbd,+stibp", model,
           "Haswell-v2,-spec-ctrl");
    /* a danger of one host */
    levels("Haswell-noTSX,level=13,+md-clear", model, "Haswell-v2,+md-clear");
    /* returns predicted from elsewhere: one bit for both, by ibrs-all */
    levels("Cascadelake-Server-v2,level=13,-mpx,+rsba",
           "Cascadelake-Server-v2,level=13,-mpx",
           "Cascadelake-Server-v2,+rrsba");
    levels("Nehalem,level=11", "Nehalem,level=13",
           "Nehalem-v1,+x2apic,level=11");
}

/* Whatever is first by the numbers, and never above what all have. */
static void names_by_features(void **state)
{
    static const struct { const char *a, *b, *name; } all[] = {
        { "Westmere,level=13", "SandyBridge,level=13", "Westmere" },
        { "Skylake-Server-v3,level=13", "Skylake-Client-v4,level=13",
          "Skylake-Client" },
        { "Skylake-Client-v4,level=13", "Cascadelake-Server-v3,level=13",
          "Skylake-Client" },
        { "Icelake-Server,level=13", "Denverton,level=13", "Denverton" },
        { "EPYC-Milan", "EPYC-Rome", "EPYC-Rome" },
    };
    xlx_cpu_hosts hosts;
    xlx_cpu_pool pool;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(all); i++) {
        xlx_cpu_hosts_init(&hosts);
        xlx_cpu_pool_init(&pool);
        add(&hosts, all[i].a);
        add(&hosts, all[i].b);
        assert_ok(xlx__cpu_pool_level(NULL, &hosts, &pool));
        if (strncmp(pool.cpuid, all[i].name, strlen(all[i].name)))
            fail_msg("%s and %s: %s", all[i].a, all[i].b, pool.cpuid);
        check_pool(&hosts);
        xlx_cpu_hosts_dispose(&hosts);
        xlx_cpu_pool_dispose(&pool);
    }
}

static void vendors_that_are_not_known(void **state)
{
    struct xlx__cpu cpu = parse("Haswell-noTSX,level=13");
    xlx_cpu_hosts hosts;
    xlx_cpu_pool pool;

    (void)state;
    xlx_cpu_hosts_init(&hosts);
    xlx_cpu_pool_init(&pool);
    cpu.vendor[0] = '\0';
    cpu.family = cpu.model = cpu.stepping = cpu.level = cpu.xlevel = 0;
    add_hardware(&hosts, &cpu);
    add(&hosts, "Broadwell-noTSX,level=13");
    assert_ok(xlx__cpu_pool_level(NULL, &hosts, &pool));
    assert_string_equal(pool.vendor, "GenuineIntel");
    assert_string_equal(pool.cpuid, "Haswell-v2");
    assert_int_equal(pool.family, 6);
    check_pool(&hosts);
    xlx_cpu_hosts_dispose(&hosts);
    xlx_cpu_pool_dispose(&pool);
}

static void hosts_on_which_xen_cannot_run(void **state)
{
    static const struct { const char *host, *says; } all[] = {
        { "Haswell,-lm", "host 2: has no lm, without which Xen" },
        { "Haswell,-fpu", "host 2: has no fpu" },
        { "pentium3", "host 2: has no sse2" },
    };
    xlx_cpu_hosts hosts;
    xlx_cpu_pool pool;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(all); i++) {
        xlx_cpu_hosts_init(&hosts);
        xlx_cpu_pool_init(&pool);
        add(&hosts, "Haswell");
        add(&hosts, all[i].host);
        assert_fails(xlx__cpu_pool_level(NULL, &hosts, &pool), ERROR_INVAL,
                     all[i].says);
        xlx_cpu_hosts_dispose(&hosts);
        xlx_cpu_pool_dispose(&pool);
    }
}

static void refused(void **state)
{
    xlx_cpu_hosts hosts;
    xlx_cpu_pool pool;

    (void)state;
    xlx_cpu_hosts_init(&hosts);
    xlx_cpu_pool_init(&pool);
    assert_fails(xlx__cpu_pool_level(NULL, &hosts, &pool), ERROR_INVAL,
                 "hosts: there are none");
    add(&hosts, "Haswell");
    add(&hosts, "EPYC");
    assert_fails(xlx__cpu_pool_level(NULL, &hosts, &pool), ERROR_INVAL,
                 "host 2 is of the vendor");
    xlx_cpu_hosts_dispose(&hosts);

    xlx_cpu_hosts_init(&hosts);
    add(&hosts, "Haswell");
    add(&hosts, "Haswell");
    hosts.hosts[1].pv = true;
    assert_fails(xlx__cpu_pool_level(NULL, &hosts, &pool), ERROR_INVAL,
                 "host 2: is not about the same kind of guests");
    xlx_cpu_hosts_dispose(&hosts);
    xlx_cpu_pool_dispose(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_pools),
        cmocka_unit_test(only_what_must_be_said),
        cmocka_unit_test(names_by_features),
        cmocka_unit_test(vendors_that_are_not_known),
        cmocka_unit_test(hosts_on_which_xen_cannot_run),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests_name("cpu-pool", tests, NULL, NULL);
}

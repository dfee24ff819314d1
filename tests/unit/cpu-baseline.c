/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The common part of a pool: on random pools it must depend neither on the
 * order of the hosts nor on how they are grouped, and no host may lack any of
 * it but for what tells of a danger.
 */
#include "cpu/cpu.h"
#include "gen-calls.h"
#include "unit.h"

#define POOL 1000

static xlx_ctx *ctx;

/* ---- pools -------------------------------------------------------------- */

static void put(xlx_cpus *pool, const struct xlx__cpu *cpu)
{
    pool->cpus = realloc(pool->cpus,
                         (size_t)(pool->num_cpus + 1) * sizeof(*pool->cpus));
    xlx_cpu_init(&pool->cpus[pool->num_cpus]);
    assert_ok(xlx__cpu_to_public(cpu, &pool->cpus[pool->num_cpus++]));
}

static struct xlx__cpu baseline(const struct xlx__cpu *hosts, int num)
{
    struct xlx__cpu result;
    xlx_cpus pool;
    xlx_cpu p;

    xlx_cpus_init(&pool);
    while (num--)
        put(&pool, hosts++);
    assert_ok(xlx_cpu_baseline(ctx, &pool, &p));
    assert_ok(xlx__cpu_from_public(&p, &result));
    xlx_cpu_dispose(&p);
    xlx_cpus_dispose(&pool);
    return result;
}

static void assert_same(const struct xlx__cpu *a, const struct xlx__cpu *b)
{
    assert_memory_equal(&a->features, &b->features, sizeof(a->features));
    assert_string_equal(a->vendor, b->vendor);
    assert_int_equal(a->family, b->family);
    assert_int_equal(a->model, b->model);
    assert_int_equal(a->stepping, b->stepping);
    assert_int_equal(a->level, b->level);
    assert_int_equal(a->xlevel, b->xlevel);
}

/* Some model of Intel's with 64 bits, so that there is much to have in common,
 * with some bits changed; those of no name as well. */
static struct xlx__cpu random_host(int bits)
{
    struct xlx__cpu cpu;
    unsigned int bit;

    do
        xlx__cpu_of_model(xlx__cpu_models +
                          (size_t)random() % XLX__CPU_MODELS, &cpu);
    while (strcmp(cpu.vendor, "GenuineIntel") ||
           !xlx__cpu_has(&cpu.features, XLX__CPU_LM));
    cpu.stepping = (uint32_t)random() % 16;
    cpu.level = 0xd + (uint32_t)random() % 16;
    cpu.xlevel = 0x80000008 + (uint32_t)random() % 16;
    xlx__cpu_put(&cpu.features, XLX__CPU_ARCH_CAPABILITIES, random() % 2);
    while (bits--) {
        bit = (unsigned int)random() % (32 * XLX__CPU_WORDS);
        cpu.features.word[bit / 32] ^= UINT32_C(1) << bit % 32;
    }
    xlx__cpu_drop_registers(&cpu.features);
    return cpu;
}

static void shuffle(struct xlx__cpu *hosts, int num)
{
    struct xlx__cpu tmp;
    int i, j;

    for (i = num - 1; i > 0; i--) {
        j = (int)random() % (i + 1);
        tmp = hosts[i];
        hosts[i] = hosts[j];
        hosts[j] = tmp;
    }
}

/* ---- tests -------------------------------------------------------------- */

/* Small ones, cut in two, for what a large one has lost long before. */
static void small_pools(void **state)
{
    struct xlx__cpu hosts[6], whole, parts[2], again;
    int n, i;

    (void)state;
    srandom(4);
    for (n = 0; n < 300; n++) {
        for (i = 0; i < 6; i++)
            hosts[i] = random_host(30);
        whole = baseline(hosts, 6);
        parts[0] = baseline(hosts, 1 + n % 5);
        parts[1] = baseline(hosts + 1 + n % 5, 5 - n % 5);
        again = baseline(parts, 2);
        assert_same(&again, &whole);
        shuffle(hosts, 6);
        again = baseline(hosts, 6);
        assert_same(&again, &whole);
    }
}

/* One of many hosts: shuffled; and combined a few at a time, whichever come
 * together, until one is left. */
static void a_large_pool(void **state)
{
    static struct xlx__cpu hosts[POOL];
    struct xlx__cpu whole, again;
    int i, n, num;

    (void)state;
    srandom(5);
    for (i = 0; i < POOL; i++)
        hosts[i] = random_host(i % 20 == 0);
    whole = baseline(hosts, POOL);
    assert_in_range(xlx__cpu_count(&whole.features), 10, 100);
    for (i = 0; i < 10; i++) {
        shuffle(hosts, POOL);
        again = baseline(hosts, POOL);
        assert_same(&again, &whole);
    }
    for (num = POOL; num > 1; num -= n - 1) {
        shuffle(hosts, num);
        n = 2 + (int)random() % 3;
        if (n > num)
            n = num;
        hosts[num - n] = baseline(hosts + num - n, n);
    }
    assert_same(&hosts[0], &whole);
}

/* Closed, on every host but for the dangers, and idempotent. */
static void all_hosts_have_it(void **state)
{
    struct xlx__cpu hosts[5], got, again;
    struct xlx__cpu_set lacking, dangers = xlx__cpu_accumulate;
    int n, i;

    (void)state;
    srandom(6);
    xlx__cpu_put(&dangers, XLX__CPU_RSBA, true);
    xlx__cpu_put(&dangers, XLX__CPU_RRSBA, true);
    for (n = 0; n < 300; n++) {
        for (i = 0; i < 5; i++)
            hosts[i] = random_host(10);
        got = baseline(hosts, 5);
        for (i = 0; i < 5; i++) {
            lacking = xlx__cpu_without(&got.features, &hosts[i].features);
            lacking = xlx__cpu_without(&lacking, &dangers);
            assert_int_equal(xlx__cpu_count(&lacking), 0);
        }
        again = got;
        xlx__cpu_close(&again.features);
        assert_same(&again, &got);
        again = baseline(&got, 1);
        assert_same(&again, &got);
    }
}

static struct xlx__cpu expand(const char *text)
{
    struct xlx__cpu cpu;

    assert_ok(xlx__cpu_parse_expression(text, &cpu));
    return cpu;
}

static void dangers_accumulate(void **state)
{
    struct xlx__cpu pool[2], got;

    (void)state;
    pool[0] = expand("Cascadelake-Server-v2,+md-clear,-rsba");
    pool[1] = expand("Cascadelake-Server-v2,-md-clear,+rsba,-avx512f");
    got = baseline(pool, 2);
    assert_true(xlx__cpu_has(&got.features, XLX__CPU_MD_CLEAR));
    assert_false(xlx__cpu_has(&got.features, XLX__CPU_AVX512F));
    assert_false(xlx__cpu_has(&got.features, XLX__CPU_AVX512BW));
    assert_true(xlx__cpu_has(&got.features, XLX__CPU_RRSBA));
    assert_false(xlx__cpu_has(&got.features, XLX__CPU_RSBA));
    pool[0] = expand("Cascadelake-Server-v2,-ibrs-all");
    got = baseline(pool, 2);
    assert_false(xlx__cpu_has(&got.features, XLX__CPU_RRSBA));
    assert_true(xlx__cpu_has(&got.features, XLX__CPU_RSBA));
}

static void vendors_do_not_mix(void **state)
{
    struct xlx__cpu a = expand("Haswell"), b = expand("EPYC");
    xlx_cpus pool;
    xlx_cpu p;

    (void)state;
    xlx_cpus_init(&pool);
    assert_fails(xlx_cpu_baseline(ctx, &pool, &p), ERROR_INVAL,
                 "hosts: there are none");
    put(&pool, &a);
    put(&pool, &b);
    assert_fails(xlx_cpu_baseline(ctx, &pool, &p), ERROR_INVAL,
                 "host 2 is of the vendor \"AuthenticAMD\"");
    xlx_cpus_dispose(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_pools),
        cmocka_unit_test(a_large_pool),
        cmocka_unit_test(all_hosts_have_it),
        cmocka_unit_test(dangers_accumulate),
        cmocka_unit_test(vendors_do_not_mix),
    };
    char *dir = unit_dir();
    int failed;

    ctx = unit_ctx(dir);
    failed = cmocka_run_group_tests_name("cpu-baseline", tests, NULL, NULL);
    xlx_ctx_free(ctx);
    unit_dir_remove(dir);
    return failed;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of features against the installed Xen: every bit has the place
 * that its header says, and what falls with a feature is what its library
 * says.  And closing a set is what a closure must be, on random sets.
 */
#include <ctype.h>
#include <dlfcn.h>

#include <xenctrl.h>
#include <xenguest.h>

#include "cpu/cpu-table.h"
#include "unit.h"

struct xen_feature {
    const char *name;
    unsigned int bit;                   /* as ours: the words are in order */
};

static const struct xen_feature xen_features[] = {
#define XEN_CPUFEATURE(name, value) { #name, value },
#include <xen/arch-x86/cpufeatureset.h>
};

#define NUM_XEN XLX__ARRAY_SIZE(xen_features)

static void every_bit_has_xens_place(void **state)
{
    char name[64] = "xen:";
    unsigned int bit;
    size_t i, j;

    (void)state;
    assert_true(NUM_XEN > 200);
    for (i = 0; i < NUM_XEN; i++) {
        for (j = 0; xen_features[i].name[j]; j++)
            name[4 + j] = (char)tolower(xen_features[i].name[j]);
        name[4 + j] = '\0';
        assert_ok(xlx__cpu_find_bit(name, strlen(name), &bit));
        if (bit != xen_features[i].bit)
            fail_msg("%s: bit %u, Xen has it at %u", name, bit,
                     xen_features[i].bit);
    }
}

static struct xlx__cpu_set all_features(void)
{
    struct xlx__cpu_set set = { { 0 } };
    unsigned int bit;

    for (bit = 0; bit < 32 * XLX__CPU_WORDS; bit++)
        if (xlx__cpu_canonical[bit] != XLX__CPU_NONE)
            xlx__cpu_put(&set, bit, true);
    return set;
}

/* The features that are off when the feature is, itself not counted. */
static struct xlx__cpu_set falls_with(unsigned int bit)
{
    struct xlx__cpu_set all = all_features(), left = all;

    xlx__cpu_put(&left, bit, false);
    xlx__cpu_close(&left);
    left = xlx__cpu_without(&all, &left);
    xlx__cpu_put(&left, bit, false);
    return left;
}

/* Those of them with a name in any Xen, or in the installed one. */
static unsigned int count_xens(const struct xlx__cpu_set *set, bool installed)
{
    struct xlx__cpu_set counted = { { 0 } };
    size_t i;

    for (i = 0; !installed && i < XLX__CPU_NAMES; i++)
        if (xlx__cpu_names[i].dialects & XLX__CPU_XEN)
            xlx__cpu_put(&counted, xlx__cpu_names[i].bit,
                         xlx__cpu_has(set, xlx__cpu_names[i].bit));
    for (i = 0; installed && i < NUM_XEN; i++)
        xlx__cpu_put(&counted, xen_features[i].bit,
                     xlx__cpu_has(set, xen_features[i].bit));
    return xlx__cpu_count(&counted);
}

static void as_many_fall_as_in_xen(void **state)
{
    struct xlx__cpu_set avx = falls_with(XLX__CPU_AVX);
    struct xlx__cpu_set xsave = falls_with(XLX__CPU_XSAVE);
    struct xlx__cpu_set caps = falls_with(XLX__CPU_ARCH_CAPABILITIES);

    (void)state;
    assert_int_equal(count_xens(&avx, false), 34);
    assert_int_equal(count_xens(&xsave, false), 47);
    assert_true(xlx__cpu_has(&caps, XLX__CPU_ITS_NO));
    assert_true(xlx__cpu_has(&caps, XLX__CPU_RDCTL_NO));
    if (NUM_XEN == 232) {               /* Xen 4.17 */
        assert_int_equal(count_xens(&avx, true), 26);
        assert_int_equal(count_xens(&xsave, true), 34);
    } else if (NUM_XEN == 271) {        /* Xen 4.20 */
        assert_int_equal(count_xens(&avx, true), 33);
        assert_int_equal(count_xens(&xsave, true), 46);
    }
}

/* The library's own function; nothing promises that it is there. */
static const uint32_t *(*deep_deps)(uint32_t);

static int find_deep_deps(void **state)
{
    *state = dlopen("libxenguest.so", RTLD_NOW);
    if (*state)
        *(void **)&deep_deps = dlsym(*state,
                                     "x86_cpu_policy_lookup_deep_deps");
    return 0;
}

static int let_go(void **state)
{
    if (*state)
        dlclose(*state);
    return 0;
}

static void skip_without_deep_deps(void)
{
    if (deep_deps)
        return;
    print_message("libxenguest.so has no x86_cpu_policy_lookup_deep_deps()\n");
    skip();
}

static void the_same_fall_as_in_xen(void **state)
{
    struct xlx__cpu_set ours;
    const uint32_t *theirs;
    unsigned int bit;
    size_t i, j;

    (void)state;
    skip_without_deep_deps();
    for (i = 0; i < NUM_XEN; i++) {
        theirs = deep_deps(xen_features[i].bit);
        ours = falls_with(xen_features[i].bit);
        for (j = 0; j < NUM_XEN; j++) {
            bit = xen_features[j].bit;
            if (bit != XLX__CPU_AUTO_IBRS &&    /* newer Xens drop it */
                xlx__cpu_has(&ours, bit) !=
                (theirs && (theirs[bit / 32] >> bit % 32 & 1)))
                fail_msg("%s off: is %s off?", xen_features[i].name,
                         xen_features[j].name);
        }
    }
}

/* Where the installed release is one of those in the table. */
static void the_same_is_given_as_in_xen(void **state)
{
    static const struct {
        enum xc_static_cpu_featuremask mask;
        bool pv, most;
    } all[] = {
        { XC_FEATUREMASK_HVM_HAP_DEF, false, false },
        { XC_FEATUREMASK_HVM_HAP_MAX, false, true },
        { XC_FEATUREMASK_PV_DEF, true, false },
        { XC_FEATUREMASK_PV_MAX, true, true },
    };
    uint32_t words = xc_get_cpu_featureset_size(), i, w;
    const struct xlx__cpu_release *r = xlx__cpu_releases;
    const uint32_t *theirs;

    (void)state;
    if (NUM_XEN == 271)                 /* Xen 4.20 */
        r++;
    else if (NUM_XEN != 232)            /* Xen 4.17 */
        skip();
    for (i = 0; i < XLX__ARRAY_SIZE(all); i++) {
        theirs = xc_get_static_cpu_featuremask(all[i].mask);
        for (w = 0; w < words; w++)
            assert_int_equal(
                (all[i].most ? r->most : r->usual)[all[i].pv].word[w],
                theirs[w]);
    }
}

static struct xlx__cpu_set random_set(void)
{
    struct xlx__cpu_set set;
    unsigned int i;

    for (i = 0; i < XLX__CPU_WORDS; i++)        /* most bits on */
        set.word[i] = (uint32_t)(random() | random() | random() << 1);
    return set;
}

static void is_within(const struct xlx__cpu_set *a,
                      const struct xlx__cpu_set *b)
{
    struct xlx__cpu_set beyond = xlx__cpu_without(a, b);

    assert_int_equal(xlx__cpu_count(&beyond), 0);
}

static void closing_is_a_closure(void **state)
{
    struct xlx__cpu_set a, b, closed, twice;
    unsigned int n, i, fell = 0;

    (void)state;
    srandom(1);
    for (n = 0; n < 10000; n++) {
        b = random_set();
        a = random_set();
        for (i = 0; i < XLX__CPU_WORDS; i++)
            a.word[i] &= b.word[i];
        closed = b;
        xlx__cpu_close(&closed);
        is_within(&closed, &b);
        fell += xlx__cpu_count(&closed) < xlx__cpu_count(&b);
        twice = closed;
        xlx__cpu_close(&twice);
        assert_memory_equal(&twice, &closed, sizeof(twice));
        xlx__cpu_close(&a);             /* a within b: so are the closed */
        is_within(&a, &closed);
    }
    assert_true(fell > n / 2);
}

/* The part of a set that Xen leaves: its masks are of whole closures, so one
 * pass. */
static struct xlx__cpu_set as_xen_closes(const struct xlx__cpu_set *set)
{
    struct xlx__cpu_set left = *set;
    const uint32_t *off;
    uint32_t words = xc_get_cpu_featureset_size(), w;
    size_t i;

    for (i = 0; i < NUM_XEN; i++) {
        off = deep_deps(xen_features[i].bit);
        for (w = 0; off && !xlx__cpu_has(set, xen_features[i].bit) &&
                    w < words; w++)
            left.word[w] &= ~off[w];
    }
    return left;
}

/* Features that this Xen does not know stay on, so that nothing falls with it.
 */
static void random_sets_close_as_in_xen(void **state)
{
    struct xlx__cpu_set set, ours, theirs, known = { { 0 } };
    unsigned int n, w, fell = 0;
    size_t i;

    (void)state;
    skip_without_deep_deps();
    srandom(2);
    for (i = 0; i < NUM_XEN; i++)
        xlx__cpu_put(&known, xen_features[i].bit, true);
    xlx__cpu_put(&known, XLX__CPU_AUTO_IBRS, false);    /* see above */
    for (n = 0; n < 10000; n++) {
        set = random_set();
        for (w = 0; w < XLX__CPU_WORDS; w++)
            set.word[w] |= ~known.word[w];
        theirs = as_xen_closes(&set);
        ours = set;
        xlx__cpu_close(&ours);
        fell += xlx__cpu_count(&ours) < xlx__cpu_count(&set);
        for (w = 0; w < XLX__CPU_WORDS; w++)
            assert_int_equal(ours.word[w] & known.word[w],
                             theirs.word[w] & known.word[w]);
    }
    assert_true(fell > n / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_has_xens_place),
        cmocka_unit_test(as_many_fall_as_in_xen),
        cmocka_unit_test(the_same_fall_as_in_xen),
        cmocka_unit_test(the_same_is_given_as_in_xen),
        cmocka_unit_test(random_sets_close_as_in_xen),
        cmocka_unit_test(closing_is_a_closure),
    };

    return cmocka_run_group_tests_name("cpu-closure", tests, find_deep_deps,
                                       let_go);
}

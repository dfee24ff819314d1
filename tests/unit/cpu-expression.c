/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU expressions: names of all dialects, what is ambiguous, and what is
 * refused at which byte.
 */
#include <ctype.h>

#include "cpu/cpu.h"
#include "unit.h"

static struct xlx__cpu expand(const char *text)
{
    struct xlx__cpu cpu;

    assert_ok(xlx__cpu_parse_expression(text, &cpu));
    return cpu;
}

static bool has(const char *text, unsigned int bit)
{
    struct xlx__cpu cpu = expand(text);

    return xlx__cpu_has(&cpu.features, bit);
}

static void every_model_name(void **state)
{
    struct xlx__cpu cpu;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__CPU_MODEL_NAMES; i++) {
        cpu = expand(xlx__cpu_string(xlx__cpu_model_names[i].text));
        assert_ptr_equal(cpu.from,
                         xlx__cpu_models + xlx__cpu_model_names[i].index);
    }
    assert_string_equal(
        xlx__cpu_string(expand("Haswell-noTSX-IBRS").from->name),
        "Haswell-v4");
    assert_string_equal(xlx__cpu_string(expand("Haswell").from->name),
                        "Haswell-v1");
}

/* With its prefix a name means its bit; without, the same or nothing. */
static void every_feature_name(void **state)
{
    static const char *const prefixes[] = { "qemu", "xen", "libvirt" };
    const struct xlx__cpu_name *n;
    unsigned int bit, i;
    char name[64];

    (void)state;
    for (n = xlx__cpu_names; n < xlx__cpu_names + XLX__CPU_NAMES; n++) {
        for (i = 0; i < 3; i++) {
            if (!(n->dialects >> i & 1))
                continue;
            snprintf(name, sizeof(name), "%s:%s", prefixes[i],
                     xlx__cpu_string(n->text));
            assert_ok(xlx__cpu_find_bit(name, strlen(name), &bit));
            assert_int_equal(bit, n->bit);
        }
        if (!xlx__cpu_find_bit(xlx__cpu_string(n->text),
                               strlen(xlx__cpu_string(n->text)), &bit))
            assert_int_equal(bit, n->bit);
        else
            assert_non_null(strstr(xlx_error_get(), "ambiguous"));
    }
}

/* The installed Xen's own list, whose names are those of its tools in capital
 * letters. */
static void every_name_of_xen(void **state)
{
    static const struct { const char *name; unsigned int bit; } all[] = {
#define XEN_CPUFEATURE(name, value) { #name, value },
#include <xen/arch-x86/cpufeatureset.h>
    };
    unsigned int bit;
    char name[64];
    size_t i, j;

    (void)state;
    assert_in_range(XLX__ARRAY_SIZE(all), 200, 1000);
    for (i = 0; i < XLX__ARRAY_SIZE(all); i++) {
        snprintf(name, sizeof(name), "xen:%s", all[i].name);
        for (j = 4; name[j]; j++)
            name[j] = name[j] == '_' ? '-'
                                     : (char)tolower((unsigned char)name[j]);
        if (xlx__cpu_find_bit(name, strlen(name), &bit))
            fail_msg("%s", xlx_error_get());
        assert_int_equal(bit, all[i].bit);
    }
}

static void every_bit_can_be_written(void **state)
{
    char buf[XLX__CPU_NAME_MAX], plain[XLX__CPU_NAME_MAX];
    unsigned int bit, found;
    const char *name;

    (void)state;
    for (bit = 0; bit < 32 * XLX__CPU_WORDS; bit++) {
        name = xlx__cpu_bit_clear_name(bit, buf);
        assert_ok(xlx__cpu_find_bit(name, strlen(name), &found));
        assert_int_equal(found, bit);
        assert_int_equal(
            xlx__cpu_find_canonical(xlx__cpu_bit_name(bit, plain)), bit);
    }
}

static void switches(void **state)
{
    (void)state;
    assert_true(has("Haswell,+pdpe1gb", XLX__CPU_PDPE1GB));
    assert_true(has("Haswell,pdpe1gb", XLX__CPU_PDPE1GB));
    assert_true(has("Haswell,page1gb=on", XLX__CPU_PDPE1GB));
    assert_false(has("Haswell,-avx2", XLX__CPU_AVX2));
    assert_false(has("Haswell,avx2=off", XLX__CPU_AVX2));
    assert_true(has("Haswell,-avx2,+avx2", XLX__CPU_AVX2));
    assert_false(has("Haswell,+avx2,-avx2", XLX__CPU_AVX2));
    assert_true(has("qemu64,+sse4_1", XLX__CPU_SSE4_1));
    assert_true(has("qemu64,+aesni", XLX__CPU_AES));
    assert_true(has("qemu64,+xen:ssb-no", XLX__CPU_AMD_NO_SSB));
    assert_true(has("qemu64,+7d0[10]", XLX__CPU_MD_CLEAR));
    /* literal, but an MSR that does not exist has no bits */
    assert_true(has("Haswell,-avx", XLX__CPU_AVX2));
    assert_true(has("Cascadelake-Server-v2", XLX__CPU_RDCTL_NO));
    assert_false(has("Cascadelake-Server-v2,-arch-capabilities",
                     XLX__CPU_RDCTL_NO));
}

static void numbers(void **state)
{
    struct xlx__cpu cpu = expand("Haswell,family=15,model=0x6b,stepping=9,"
                                 "level=7");

    (void)state;
    assert_int_equal(cpu.family, 15);
    assert_int_equal(cpu.model, 0x6b);
    assert_int_equal(cpu.stepping, 9);
    assert_int_equal(cpu.level, 7);
    assert_true(has("Haswell,avx2=1", XLX__CPU_AVX2));
    assert_false(has("Haswell,avx2=0", XLX__CPU_AVX2));
    assert_false(has("Haswell,avx2=on,avx2=0", XLX__CPU_AVX2));
    assert_true(has("Haswell,avx2=0,avx2=x", XLX__CPU_AVX2));
}

static void names_of_other_things(void **state)
{
    static const struct {
        const char *text;
        int rc;
        const char *says;
    } all[] = {
        { "host,host", ERROR_INVAL, "byte 5: \"host\" is a model, not a "
          "feature: there is one model, and it comes first" },
        { "486,+Haswell", ERROR_INVAL, "byte 5: \"Haswell\" is a model" },
        { "486,+vmx-rdrand-exit", ERROR_NOTFOUND, "\"vmx-rdrand-exit\" is "
          "about VMX, of which Xen gives guests all or nothing" },
        { "AlderLake", ERROR_NOTFOUND, "no CPU model \"AlderLake\": the "
          "nearest is \"Skylake-Client-v4\"" },
        { "alder lake,+avx", ERROR_NOTFOUND, "\"Skylake-Client-v4\"" },
        { "Zen4", ERROR_NOTFOUND, "the nearest is \"EPYC-Genoa\"" },
    };
    struct xlx__cpu cpu;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(all); i++)
        assert_fails(xlx__cpu_parse_expression(all[i].text, &cpu), all[i].rc,
                     all[i].says);
}

static void refused(void **state)
{
    static const struct {
        const char *text;
        int rc;
        const char *says;
    } all[] = {
        { "SandyBrige", ERROR_NOTFOUND,
          "byte 0: no CPU model \"SandyBrige\"; did you mean "
          "\"SandyBridge\"" },
        { "SandyBridge-v99", ERROR_NOTFOUND, "did you mean \"SandyBridge-v" },
        { "sandybridge", ERROR_NOTFOUND, "did you mean \"SandyBridge\"" },
        { "", ERROR_INVAL, "byte 0: a CPU model is expected here" },
        { ",", ERROR_INVAL, "byte 0: a CPU model is expected here" },
        { "host,", ERROR_INVAL, "byte 5: a feature is expected here" },
        { "486,", ERROR_INVAL, "byte 4: a feature is expected here" },
        { "486,,vme", ERROR_INVAL, "byte 4: a feature is expected here" },
        { "486,+", ERROR_INVAL, "byte 5: a feature is expected here" },
        { "486,-", ERROR_INVAL, "byte 5: a feature is expected here" },
        { "486,=on", ERROR_INVAL, "byte 4: a feature is expected here" },
        { "486,avx=", ERROR_INVAL, "byte 8: \"\" must be on or off" },
        { "486,avx=2", ERROR_INVAL, "byte 8: \"2\" must be on or off" },
        { "486,avx=0abc", ERROR_INVAL, "byte 8: \"0abc\" must be" },
        { "486,+avx=on", ERROR_INVAL, "byte 8: \"=\" does not go with \"+\"" },
        { "486,family=k", ERROR_INVAL,
          "byte 11: \"k\" must be a number up to 270" },
        { "486,stepping=300", ERROR_INVAL, "byte 13: \"300\" must be" },
        { "486,model=0x100", ERROR_INVAL, "byte 10: \"0x100\" must be" },
        { "486,model=", ERROR_INVAL, "byte 10: \"\" must be a number" },
        { "486,model=4294967297", ERROR_INVAL, "must be a number up to 255" },
        { "486,family=1f", ERROR_INVAL, "\"1f\" must be a number" },
        { "486,mitigations=off", ERROR_INVAL,
          "byte 16: \"off\" must be auto or model" },
        { "486,famly=6", ERROR_NOTFOUND, "byte 4: no feature \"famly\"" },
        { "486,+AVX", ERROR_NOTFOUND,
          "byte 5: no feature \"AVX\"; did you mean \"avx\"?" },
        { "486,+pdpe1bg", ERROR_NOTFOUND, "did you mean \"pdpe1gb\"?" },
        { "486,+xen:pdpe1gb", ERROR_NOTFOUND, "no feature \"pdpe1gb\"" },
        { "486,+ssb-no", ERROR_INVAL, "byte 5: \"ssb-no\" is ambiguous: "
          "xen:ssb-no is CPUID 0x80000008 ebx bit 26, "
          "qemu:ssb-no is MSR 0x10a bit 4" },
        { "486,+prefetchi", ERROR_INVAL, "\"prefetchi\" is ambiguous" },
        { "486,+clflush", ERROR_INVAL, "\"clflush\" is ambiguous" },
        { "486,+7d0[32]", ERROR_NOTFOUND, "no feature" },
        { "486,+7d0[]", ERROR_NOTFOUND, "no feature" },
        { "486,+7d0[1", ERROR_NOTFOUND, "no feature" },
        { "486,+[1]", ERROR_NOTFOUND, "no feature" },
        { "486,+\xff\x01", ERROR_NOTFOUND, "no feature \"\\xff\\x01\"" },
    };
    struct xlx__cpu cpu, before;
    size_t i;

    (void)state;
    memset(&before, 0x5a, sizeof(before));
    for (i = 0; i < XLX__ARRAY_SIZE(all); i++) {
        cpu = before;
        assert_fails(xlx__cpu_parse_expression(all[i].text, &cpu), all[i].rc,
                     all[i].says);
        assert_memory_equal(&cpu, &before, sizeof(cpu));
    }
}

static void long_ones(void **state)
{
    static const size_t sizes[] = { 4096, 65536, 1 << 20 };
    struct xlx__cpu cpu;
    char *text;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(sizes); i++) {
        text = malloc(sizes[i] + 1);
        memset(text, 'x', sizes[i]);
        text[sizes[i]] = '\0';
        assert_fails(xlx__cpu_parse_expression(text, &cpu),
                     sizes[i] > 65536 ? ERROR_INVAL : ERROR_NOTFOUND, "");
        memcpy(text, "486,+", 5);
        assert_fails(xlx__cpu_parse_expression(text, &cpu),
                     sizes[i] > 65536 ? ERROR_INVAL : ERROR_NOTFOUND, "");
        assert_true(strlen(xlx_error_get()) < 120);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_model_name),
        cmocka_unit_test(every_feature_name),
        cmocka_unit_test(every_name_of_xen),
        cmocka_unit_test(every_bit_can_be_written),
        cmocka_unit_test(switches),
        cmocka_unit_test(numbers),
        cmocka_unit_test(names_of_other_things),
        cmocka_unit_test(refused),
        cmocka_unit_test(long_ones),
    };

    return cmocka_run_group_tests_name("cpu-expression", tests, NULL, NULL);
}

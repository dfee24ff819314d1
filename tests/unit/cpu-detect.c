/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dumps of processors that are made here, in every form that is known, must
 * come out of reading as they went in; detection must be exact, whatever the
 * features and the signature.
 */
#include "cpu/cpu.h"
#include "gen-calls.h"
#include "unit.h"

static xlx_ctx *ctx;

/* ---- processors as text ------------------------------------------------- */

enum form { CPUID_R, PLAIN, XEN_CPUID, CPUDATA, FORMS };

static void write_leaf(FILE *f, enum form form, uint32_t leaf, uint32_t sub,
                       const uint32_t r[4])
{
    if (form == CPUID_R)
        fprintf(f, "   0x%08x 0x%02x: eax=0x%08x ebx=0x%08x ecx=0x%08x "
                "edx=0x%08x\n", leaf, sub, r[0], r[1], r[2], r[3]);
    else if (form == PLAIN)
        fprintf(f, "CPUID %08X: %08X-%08X-%08X-%08X [SL %02X]\n", leaf, r[0],
                r[1], r[2], r[3], sub);
    else if (form == XEN_CPUID)         /* most leaves have no subleaves */
        fprintf(f, "  %08x:%08x -> %08x:%08x:%08x:%08x\n", leaf,
                leaf < 7 || leaf > 0x24 ? UINT32_MAX : sub,
                r[0], r[1], r[2], r[3]);
    else
        fprintf(f, "  <cpuid eax_in='0x%08x' ecx_in='0x%02x' eax='0x%08x' "
                "ebx='0x%08x' ecx='0x%08x' edx='0x%08x'/>\n", leaf, sub, r[0],
                r[1], r[2], r[3]);
}

static void write_msr(FILE *f, enum form form, uint32_t index, uint64_t v)
{
    if (form == PLAIN)
        fprintf(f, "MSR %08X: %04X-%04X-%04X-%04X\n", index,
                (unsigned)(v >> 48), (unsigned)(v >> 32) & 0xffff,
                (unsigned)(v >> 16) & 0xffff, (unsigned)v & 0xffff);
    else if (form == XEN_CPUID)
        fprintf(f, "  %08x -> %016llx\n", index, (unsigned long long)v);
    else if (form == CPUDATA)
        fprintf(f, "  <msr index='0x%x' edx='0x%08x' eax='0x%08x'/>\n", index,
                (unsigned)(v >> 32), (unsigned)v);
}

static uint32_t signature(const struct xlx__cpu *cpu)
{
    uint32_t extended = cpu->family > 15 ? cpu->family - 15 : 0;

    return extended << 20 | (cpu->model >> 4) << 16 |
           (cpu->family - extended) << 8 | (cpu->model & 15) << 4 |
           cpu->stepping;
}

/* The registers of a leaf, features and all. */
static void fill(const struct xlx__cpu *cpu, uint32_t leaf, uint32_t sub,
                 uint32_t r[4])
{
    const struct xlx__cpu_word *w = xlx__cpu_words;
    unsigned int i;

    memset(r, 0, 4 * sizeof(*r));
    for (i = 0; i < XLX__CPU_WORDS; i++, w++)
        if (!w->msr && w->index == leaf &&
            (w->subleaf == XLX__CPU_NONE ? 0 : w->subleaf) == sub)
            r[w->reg] = cpu->features.word[i];
    if (leaf == 0) {
        r[0] = cpu->level;
        memcpy(&r[1], cpu->vendor, 4);
        memcpy(&r[3], cpu->vendor + 4, 4);
        memcpy(&r[2], cpu->vendor + 8, 4);
    } else if (leaf == 1) {
        r[0] = signature(cpu);
    } else if ((leaf == 7 || leaf == 0x1e || leaf == 0x24) && !sub) {
        r[0] = 2;
    } else if (leaf == 0x80000000) {
        r[0] = cpu->xlevel;
    } else if (leaf == 0xc0000000) {
        r[0] = 0xc0000001;
    }
}

static void write_cpu(FILE *f, enum form form, const struct xlx__cpu *cpu)
{
    static const uint32_t top[] = { 0, 1, 7, 0x1e, 0x24, 0x80000000,
                                    0xc0000000 };
    const struct xlx__cpu_word *w = xlx__cpu_words;
    uint32_t r[4], sub;
    unsigned int i;

    for (i = 0; i < XLX__ARRAY_SIZE(top); i++) {
        fill(cpu, top[i], 0, r);
        write_leaf(f, form, top[i], 0, r);
    }
    for (i = 0; i < XLX__CPU_WORDS; i++, w++) {
        sub = w->subleaf == XLX__CPU_NONE ? 0 : w->subleaf;
        fill(cpu, w->index, sub, r);
        if (!w->msr)
            write_leaf(f, form, w->index, sub, r);
        else if (!w->reg)
            write_msr(f, form, w->index, cpu->features.word[i] |
                      (w[1].index == w->index
                       ? (uint64_t)cpu->features.word[i + 1] << 32 : 0));
    }
}

/* As the program prints it, with what comes before and after. */
static char *dump_of(const struct xlx__cpu *cpu, enum form form)
{
    static const char *const before[] = {
        "CPU 0:\n", "------[ CPUID Registers ]------\n\n",
        "Xen reports there are maximum 114 leaves and 3 MSRs\n"
        "Raw policy: 33 leaves, 2 MSRs\n CPUID:\n"
        "  leaf     subleaf  -> eax      ebx      ecx      edx\n",
        "<!-- a <cpuid/> -->\n<cpudata arch='x86'>\n",
    };
    static const char *const after[] = {
        "CPU 1:\n   0x00000001 0x01: eax=0x1 ebx=0x1 ecx=0x1 edx=0x1\n",
        "allcpu: Package 0 / Core 1\nCPUID 00000001: 0-0-0-0\n",
        "Host policy: 1 leaves\n  00000001:00000001 -> 1:1:1:1\n",
        "</cpudata>\n",
    };
    struct xlx__cpu other = *cpu;
    size_t len;
    char *text;
    FILE *f = open_memstream(&text, &len);

    fputs(before[form], f);
    write_cpu(f, form, cpu);
    fputs(after[form], f);
    memset(&other.features, 0xff, sizeof(other.features));
    if (form != CPUDATA)
        write_cpu(f, form, &other);
    fclose(f);
    return text;
}

/* A model that has enough leaves for every feature. */
static struct xlx__cpu cpu_of(const struct xlx__cpu_model *m)
{
    struct xlx__cpu cpu;

    xlx__cpu_of_model(m, &cpu);
    cpu.level = 0x29;
    cpu.xlevel = 0x80000022;
    return cpu;
}

/* Some bits changed; those of nobody's name as well. */
static void disturb(struct xlx__cpu *cpu, int bits)
{
    unsigned int bit;

    while (bits--) {
        bit = (unsigned int)random() % (32 * XLX__CPU_WORDS);
        if (!xlx__cpu_words[bit / 32].msr || bit / 32 == XLX__CPU_RSBA / 32)
            cpu->features.word[bit / 32] ^= UINT32_C(1) << bit % 32;
    }
    /* AMD's copies of 1.edx are no features of their own */
    cpu->features.word[XLX__CPU_SYSCALL / 32] &= ~UINT32_C(0x0183f3ff);
}

/* With a quarter of the bits, half of them, or three quarters. */
static uint32_t random_word(unsigned int quarters)
{
    /* random() has 31 bits, and the lower ones are as good */
    uint32_t a = (uint32_t)random() << 16 ^ (uint32_t)random();
    uint32_t b = (uint32_t)random() << 16 ^ (uint32_t)random();

    return !quarters ? a & b : quarters == 1 ? a : a | b;
}

static void read_back(const struct xlx__cpu *cpu, enum form form,
                      struct xlx__cpu *got)
{
    char *text = dump_of(cpu, form);
    xlx_cpu p;

    xlx_cpu_init(&p);
    assert_ok(xlx_cpu_read(ctx, "dump", text, &p));
    assert_ok(xlx__cpu_from_public(&p, got));
    xlx_cpu_dispose(&p);
    free(text);
}

static void every_form_of_every_model(void **state)
{
    struct xlx__cpu cpu, got;
    unsigned int i, j;
    enum form form;

    (void)state;
    srandom(2);
    for (i = 0; i < XLX__CPU_MODELS; i++) {
        cpu = cpu_of(xlx__cpu_models + i);
        if (!*cpu.vendor)
            continue;
        disturb(&cpu, (int)(i % 8));
        for (form = 0; form < FORMS; form++) {
            read_back(&cpu, form, &got);
            for (j = 0; j < XLX__CPU_WORDS; j++)
                if (form != CPUID_R || !xlx__cpu_words[j].msr)
                    assert_int_equal(got.features.word[j],
                                     cpu.features.word[j]);
            assert_string_equal(got.vendor, cpu.vendor);
            assert_int_equal(signature(&got), signature(&cpu));
            assert_int_equal(got.level, cpu.level);
            assert_int_equal(got.xlevel, cpu.xlevel);
        }
    }
}

static void amds_copies_are_no_features(void **state)
{
    struct xlx__cpu cpu = cpu_of(xlx__cpu_models + XLX__CPU_MODELS / 2), got;
    struct xlx__cpu_set want;

    (void)state;
    assert_ok(xlx__cpu_parse_expression("EPYC", &cpu));
    want = cpu.features;
    cpu.features.word[2] |= cpu.features.word[0] & 0x0183f3ff;
    read_back(&cpu, CPUID_R, &got);
    assert_memory_equal(&got.features, &want, sizeof(want));
    cpu.features.word[0] &= ~1u;        /* a copy of nothing is reported */
    read_back(&cpu, CPUID_R, &got);
    assert_true(xlx__cpu_has(&got.features, 2 * 32));
}

static void beyond_the_largest_leaf_is_nothing(void **state)
{
    struct xlx__cpu cpu = cpu_of(xlx__cpu_models), got;

    (void)state;
    memset(&cpu.features, 0xff, sizeof(cpu.features));
    cpu.level = 6;
    cpu.xlevel = 0x80000001;
    read_back(&cpu, PLAIN, &got);
    assert_int_equal(got.features.word[XLX__CPU_AVX2 / 32], 0);
    assert_int_equal(got.features.word[XLX__CPU_INVTSC / 32], 0);
    assert_int_equal(got.features.word[XLX__CPU_SYSCALL / 32],
                     ~UINT32_C(0x0183f3ff));
}

static void refused(void **state)
{
    static const struct { const char *text, *says; } all[] = {
        { "", "x: no CPUID leaves" },
        { "CPUID 00000000: 1-2-3\n", "x: no CPUID leaves" },
        { "CPUID 00000000: 1-2-3-4\n", "x: no CPUID leaves 0 and 1" },
        { "CPUID 00000000: 1-2-3-4\nCPUID 1: 0-0-0-0\n", "vendor's name" },
        { "CPUID 00000000: 100000000-2-3-4\n", "x: no CPUID leaves in" },
        { "<cpudata><cpuid eax_in='0' eax='1' ebx='2'/></cpudata>",
          "lacks something" },
        { "<cpudata><cpuid eax_in='0' eax='1'", "x: the XML is cut" },
        { "{", "x:1:2: " },
        { "{ \"vendor\": \"short\" }", "must have 12 letters" },
        { "{ \"features\": [\"avx\", \"xav\"] }",
          "features[1]: no feature \"xav\"" },
        { "{ \"added\": [], \"cpu_model\": \"Hasbeen\" }", "no CPU model" },
    };
    xlx_cpu cpu;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(all); i++) {
        if (!xlx_cpu_read(ctx, "x", all[i].text, &cpu))
            fail_msg("accepted: %s", all[i].text);
        if (!strstr(xlx_error_get(), all[i].says))
            fail_msg("%s: %s", all[i].text, xlx_error_get());
    }
}

/* ---- detection ---------------------------------------------------------- */

/* Exact, from JSON as well, and as an expression. */
static void check_detection(const struct xlx__cpu *cpu)
{
    xlx_cpu_expression e;
    xlx_cpu_detection d;
    struct xlx__cpu got;
    xlx_cpu p, again;
    char *json;

    xlx_cpu_init(&p);
    xlx_cpu_expression_init(&e);
    assert_ok(xlx__cpu_to_public(cpu, &p));
    assert_ok(xlx_cpu_detect(ctx, &p, &d));
    json = xlx_cpu_detection_to_json(ctx, &d);
    assert_ok(xlx_cpu_read(ctx, "json", json, &again));
    assert_ok(xlx__cpu_from_public(&again, &got));
    assert_memory_equal(&got.features, &cpu->features, sizeof(got.features));
    assert_int_equal(signature(&got), signature(cpu));
    if (*d.cpu_model) {
        assert_ok(xlx_cpu_express(ctx, &p, &e));
        assert_ok(xlx__cpu_parse_expression(e.expression, &got));
        assert_memory_equal(&got.features, &cpu->features,
                            sizeof(got.features));
    } else {
        assert_fails(xlx_cpu_express(ctx, &p, &e), ERROR_NOTFOUND,
                     "no CPU model of vendor");
    }
    free(json);
    xlx_cpu_dispose(&p);
    xlx_cpu_dispose(&again);
    xlx_cpu_detection_dispose(&d);
    xlx_cpu_expression_dispose(&e);
}

static void detection_is_exact(void **state)
{
    struct xlx__cpu cpu;
    unsigned int i;

    (void)state;
    srandom(3);
    for (i = 0; i < XLX__CPU_MODELS; i++) {
        cpu = cpu_of(xlx__cpu_models + i);
        disturb(&cpu, (int)(i % 50));
        xlx__cpu_drop_registers(&cpu.features);
        if (*cpu.vendor)
            check_detection(&cpu);
    }
}

/* Processors of makers with models and without, sparse sets and full ones. */
static void detection_of_anything_is_exact(void **state)
{
    static const char *const makers[] = {
        "GenuineIntel", "AuthenticAMD", "HygonGenuine", "CentaurHauls",
        "  Shanghai  ", "CyrixInstead", "GenuineTMx86", "Genuine  RDC",
    };
    struct xlx__cpu cpu = { .level = 0x29, .xlevel = 0x80000022 };
    unsigned int n, i, nameless = 0;

    (void)state;
    srandom(5);
    for (n = 0; n < 5000; n++) {
        strcpy(cpu.vendor, makers[n % XLX__ARRAY_SIZE(makers)]);
        cpu.family = (uint32_t)random() % (15 + 256);
        cpu.model = (uint32_t)random() % 256;
        cpu.stepping = (uint32_t)random() % 16;
        for (i = 0; i < XLX__CPU_WORDS; i++)
            cpu.features.word[i] = random_word(n % 3);
        xlx__cpu_drop_registers(&cpu.features);
        nameless += !xlx__cpu_nearest(&cpu);
        check_detection(&cpu);
    }
    assert_in_range(nameless, 1, n - 1);
}

/* A processor of a generation that has a model, with any features: that
 * generation still. */
static void the_signature_decides(void **state)
{
    const struct xlx__cpu_silicon *s;
    const struct xlx__cpu_model *m;
    struct xlx__cpu cpu;
    unsigned int i;

    (void)state;
    srandom(6);
    for (s = xlx__cpu_silicon; s < xlx__cpu_silicon + XLX__CPU_SILICON; s++) {
        m = xlx__cpu_models + s->index;
        cpu = cpu_of(m);
        cpu.family = s->family;
        cpu.model = s->model < 0 ? (uint32_t)random() % 256
                                 : (uint32_t)s->model;
        cpu.stepping = s->last;
        for (i = 0; i < XLX__CPU_WORDS; i++)
            cpu.features.word[i] = random_word(1);
        xlx__cpu_drop_registers(&cpu.features);
        check_detection(&cpu);
        if (s->model >= 0)              /* else another row may come first */
            assert_string_equal(xlx__cpu_string(xlx__cpu_nearest(&cpu)->base),
                                xlx__cpu_string(m->base));
    }
}

/* Each version is nearest to itself, on the processors it stands for. */
static void models_are_nearest_to_themselves(void **state)
{
    const struct xlx__cpu_silicon *s;
    const struct xlx__cpu_model *m;
    struct xlx__cpu cpu;

    (void)state;
    for (s = xlx__cpu_silicon; s < xlx__cpu_silicon + XLX__CPU_SILICON; s++) {
        for (m = xlx__cpu_models + s->index;
             m < xlx__cpu_models + XLX__CPU_MODELS &&
             m->base == xlx__cpu_models[s->index].base; m++) {
            cpu = cpu_of(m);
            cpu.family = s->family;
            cpu.model = s->model < 0 ? 0 : (uint32_t)s->model;
            cpu.stepping = s->first;
            assert_string_equal(
                xlx__cpu_string(xlx__cpu_nearest(&cpu)->base),
                xlx__cpu_string(m->base));
            assert_memory_equal(&xlx__cpu_nearest(&cpu)->features,
                                &m->features, sizeof(m->features));
            disturb(&cpu, 10);
            assert_string_equal(
                xlx__cpu_string(xlx__cpu_nearest(&cpu)->base),
                xlx__cpu_string(m->base));
        }
    }
}

/* A Pentium 4 with 64 bits, of no generation that a model stands for. */
static void sixty_four_bits_stay(void **state)
{
    struct xlx__cpu cpu;

    (void)state;
    assert_ok(xlx__cpu_parse_expression("kvm64,+ss,+ht,+acpi,+tm,+monitor,"
                                        "-cx16", &cpu));
    cpu.family = 15;
    cpu.model = 4;
    assert_true(xlx__cpu_has(&xlx__cpu_nearest(&cpu)->features, XLX__CPU_LM));
    xlx__cpu_put(&cpu.features, XLX__CPU_LM, false);
    assert_false(xlx__cpu_has(&xlx__cpu_nearest(&cpu)->features,
                              XLX__CPU_LM));
}

static void an_msr_that_was_not_read_tells_nothing(void **state)
{
    struct xlx__cpu cpu;

    (void)state;
    assert_ok(xlx__cpu_parse_expression("Cascadelake-Server-v3", &cpu));
    cpu.features.word[XLX__CPU_RDCTL_NO / 32] = 0;
    assert_string_equal(xlx__cpu_string(xlx__cpu_nearest(&cpu)->name),
                        "Cascadelake-Server-v3");
    check_detection(&cpu);
}

/* Lines as old programs wrote them; of the second processor, which has other
 * features, only the MSR counts, for there is one for both. */
static void lines_of_old_programs(void **state)
{
    static const char *const dumps[] = {
        "CPUID Registers (CPU #1):\n"
        "CPUID 00000000  \t00000001-68747541-444D4163-69746E65 [Auth]\n"
        "CPUID 00000001  \t00000612-00000000-00000000-0081F9FF\n"
        "\nCPUID Registers (CPU #2):\n"
        "CPUID 00000001  \t00000613-00000000-FFFFFFFF-FFFFFFFF\n"
        "CPUID 80000000  \t80000001-00000000-00000000-00000000\n"
        "CPUID 80000001  \t00000612-00000000-FFFFFFFF-FFFFFFFF\n"
        "MSR 0000010A: 0000-0000-0000-002B\n",
        "CPUID 00000000 : 00000001 68747541 444D4163 69746E65\n"
        "CPUID 00000001 : 00000612 00000000 00000000 0081F9FF\n",
    };
    struct xlx__cpu cpu;
    xlx_cpu p;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(dumps); i++) {
        xlx_cpu_init(&p);
        assert_ok(xlx_cpu_read(ctx, "dump", dumps[i], &p));
        assert_string_equal(p.cpu_model, "athlon-v1");
        assert_ok(xlx__cpu_from_public(&p, &cpu));
        assert_int_equal(cpu.stepping, 2);
        assert_int_equal(cpu.features.word[XLX__CPU_FPU / 32], 0x0081f9ff);
        assert_int_equal(cpu.features.word[XLX__CPU_LM / 32], 0);
        assert_int_equal(cpu.features.word[XLX__CPU_RDCTL_NO / 32],
                         i ? 0 : 0x2b);
        xlx_cpu_dispose(&p);
    }
}

/* Sub-leaves without a number are in order; sub-leaf 1 of leaf 0xd may be
 * missing, and the one after it is not a set of features. */
static void subleaves_in_order(void **state)
{
    static const char head[] =
        "CPUID 00000000: 0000000D-756E6547-6C65746E-49656E69\n"
        "CPUID 00000001: 000306A9-00100800-7FBAE3FF-BFEBFBFF\n"
        "CPUID 00000007: 00000001-00000281-00000000-9C000000\n"
        "CPUID 00000007: 00000010-00000000-00000000-00000000\n"
        "CPUID 80000000: 80000000-00000000-00000000-00000000\n"
        "CPUID 0000000D: 00000007-00000340-00000340-00000000\n";
    static const char *const next[] = {
        "CPUID 0000000D: 00000001-00000000-00000000-00000000\n"
        "CPUID 0000000D: 00000100-00000240-00000000-00000000\n",
        "CPUID 0000000D: 00000100-00000240-00000000-00000000\n",
    };
    struct xlx__cpu cpu;
    char text[1024];
    xlx_cpu p;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(next); i++) {
        snprintf(text, sizeof(text), "%s%s", head, next[i]);
        xlx_cpu_init(&p);
        assert_ok(xlx_cpu_read(ctx, "dump", text, &p));
        assert_ok(xlx__cpu_from_public(&p, &cpu));
        assert_int_equal(cpu.features.word[XLX__CPU_AVX_VNNI / 32], 0x10);
        assert_int_equal(cpu.features.word[XLX__CPU_XSAVEOPT / 32], !i);
        xlx_cpu_dispose(&p);
    }
}

/* The nearest of no generation that has a model. */
static void nearest(const char *vendor, uint32_t family, uint32_t number,
                    const char *expression, const char *model)
{
    struct xlx__cpu cpu;

    assert_ok(xlx__cpu_parse_expression(expression, &cpu));
    memcpy(cpu.vendor, vendor, 13);
    cpu.family = family;
    cpu.model = number;
    assert_string_equal(xlx__cpu_nearest(&cpu)
                        ? xlx__cpu_string(xlx__cpu_nearest(&cpu)->name) : "",
                        model);
}

static void a_level_of_the_abi_decides(void **state)
{
    (void)state;
    /* Alder Lake, as a 32-bit program saw it: no Atom without AVX, though
     * that has fewer differences, and nothing with AVX-512 */
    nearest("GenuineIntel", 6, 151, "Skylake-Client-v4,-syscall,+gfni,+vaes,"
            "+vpclmulqdq,+sha-ni,+umip,+rdpid,+movdiri,+movdir64b,+waitpkg,"
            "+clwb,+clflushopt,+pku,+cldemote,+serialize,+fsrm,+avx-vnni,"
            "+cet-ss,+pdpe1gb,+ds,+acpi,+ss,+ht,+tm,+dtes64,+monitor,+vmx",
            "Skylake-Client-v4");
    /* a hypervisor has taken AVX away: the signature still tells */
    nearest("GenuineIntel", 6, 58, "IvyBridge,-avx,-f16c,-xsave,-xsaveopt",
            "IvyBridge-v1");
    nearest("GenuineIntel", 6, 200, "IvyBridge,-avx,-f16c,-xsave,-xsaveopt",
            "Westmere-v1");
    /* makers without a model */
    nearest("CentaurHauls", 6, 15, "x86-64-v2,+xcrypt,+vmx", "x86-64-v2");
    nearest("GenuineIotel", 6, 60, "Haswell", "x86-64-v3");
    nearest("CyrixInstead", 6, 0, "pentium", "");
    nearest("CentaurHauls", 7, 59, "YongFeng,-avx2,-fma", "x86-64-v2");
    nearest("GenuineIntel", 6, 6, "qemu64,+x2apic,-svm", "Conroe-v1");
}

/* Where no model is of the generation, one of the family is nearer than any
 * other, and what is known of faults decides nothing. */
static void the_family_decides(void **state)
{
    (void)state;
    nearest("GenuineIntel", 15, 4, "core2duo,-ssse3", "kvm64-v1");
    nearest("GenuineIntel", 15, 2, "pentium3,+sse2", "kvm32-v1");
    nearest("GenuineIntel", 6, 1, "pentium,+cmov,+pae,+pge,+mca,+mtrr,+sep",
            "pentium2-v1");
    nearest("AuthenticAMD", 23, 132, "EPYC-Rome", "EPYC-Rome-v1");
    nearest("GenuineIntel", 18, 1, "GraniteRapids", "GraniteRapids-v1");
    nearest("GenuineIntel", 6, 183, "Skylake-Client-v4,+arch-capabilities,"
            "+rdctl-no,+ibrs-all,+skip-l1dfl-vmentry,+mds-no,"
            "+pschange-mc-no,+taa-no,+sbdr-ssdp-no,+fbsdp-no,+psdp-no,"
            "+rrsba,+intel-psfd,+ipred-ctrl,+rrsba-ctrl,+bhi-ctrl",
            "Skylake-Client-v4");
    /* one maker, two names */
    nearest("  Shanghai  ", 7, 91, "YongFeng,-avx2,-bmi2", "YongFeng-v1");
}

/* ---- features of XAPI -------------------------------------------------- */

static void xapis_features(void **state)
{
    static const struct { const char *text, *says; } wrong[] = {
        { "1fcbfbff-", "word 1 of the features is not of 8" },
        { "1fcbfbff-f7fa322", "word 1 of the features is not of 8" },
        { "1fcbfbff-f7fa32233", "word 1 of the features is not of 8" },
        { "1fcbfbff-f7fa3223 x", "more than words behind word 1" },
        { "1fcbfbff-0-", "word 1 of the features is not of 8" },
    };
    char text[512] = "";
    struct xlx__cpu cpu;
    unsigned int i;
    xlx_cpu p;

    (void)state;
    xlx_cpu_init(&p);
    assert_ok(xlx__cpu_read(NULL, "x", " 1fcbfbff-f7fa3223-2c100800-00000121"
                            "-00000001-009c6fbb-00000000\n", &p));
    assert_ok(xlx__cpu_from_public(&p, &cpu));
    assert_string_equal(cpu.vendor, "");
    assert_true(xlx__cpu_has(&cpu.features, XLX__CPU_AVX));
    assert_true(xlx__cpu_has(&cpu.features, XLX__CPU_XSAVEOPT));
    assert_true(xlx__cpu_has(&cpu.features, XLX__CPU_ADX));
    assert_int_equal(cpu.features.word[5], 0x009c6fbb);
    xlx_cpu_dispose(&p);

    for (i = 0; i < XLX__ARRAY_SIZE(wrong); i++) {
        xlx_cpu_init(&p);
        assert_fails(xlx__cpu_read(NULL, "x", wrong[i].text, &p), ERROR_INVAL,
                     wrong[i].says);
        xlx_cpu_dispose(&p);
    }
    /* longer ones are of a newer Xen, which is no matter until they say so */
    for (i = 0; i < XLX__CPU_XEN_WORDS; i++)
        strcat(text, "00000001-");
    strcat(text, "00000000-00000000");
    xlx_cpu_init(&p);
    assert_ok(xlx__cpu_read(NULL, "x", text, &p));
    xlx_cpu_dispose(&p);
    text[strlen(text) - 1] = '4';
    xlx_cpu_init(&p);
    assert_fails(xlx__cpu_read(NULL, "x", text, &p), ERROR_INVAL,
                 "word 20 of the features is 0x4: it is newer than libxlx");
    xlx_cpu_dispose(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_every_model),
        cmocka_unit_test(amds_copies_are_no_features),
        cmocka_unit_test(beyond_the_largest_leaf_is_nothing),
        cmocka_unit_test(refused),
        cmocka_unit_test(xapis_features),
        cmocka_unit_test(detection_is_exact),
        cmocka_unit_test(detection_of_anything_is_exact),
        cmocka_unit_test(the_signature_decides),
        cmocka_unit_test(models_are_nearest_to_themselves),
        cmocka_unit_test(sixty_four_bits_stay),
        cmocka_unit_test(an_msr_that_was_not_read_tells_nothing),
        cmocka_unit_test(lines_of_old_programs),
        cmocka_unit_test(subleaves_in_order),
        cmocka_unit_test(a_level_of_the_abi_decides),
        cmocka_unit_test(the_family_decides),
    };
    char *dir = unit_dir();
    int failed;

    ctx = unit_ctx(dir);
    failed = cmocka_run_group_tests_name("cpu-detect", tests, NULL, NULL);
    xlx_ctx_free(ctx);
    unit_dir_remove(dir);
    return failed;
}

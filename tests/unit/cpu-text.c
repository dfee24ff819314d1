/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dumps as they come from the field: cut anywhere, quoted, indented, wrapped,
 * of several processors or hosts.  A dump is read whole, or refused.
 */
#include "cpu/cpu.h"
#include "gen-calls.h"
#include "unit.h"

/* ---- dumps -------------------------------------------------------------- */

/* A server of Intel's and one of AMD's; what is not here has nothing. */
struct row { uint32_t leaf, sub, r[4]; };

static const struct row intel[] = {
    { 0x0, 0, { 0x16, 0x756e6547, 0x6c65746e, 0x49656e69 } },
    { 0x1, 0, { 0x50654, 0x400800, 0x7ffefbff, 0xbfebfbff } },
    { 0x2, 0, { 0x76036301, 0xf0b5ff, 0, 0xc30000 } },
    { 0x4, 0, { 0x7c004121, 0x1c0003f, 0x3f, 0 } },
    { 0x4, 1, { 0x7c004122, 0x1c0003f, 0x3f, 0 } },
    { 0x5, 0, { 0x40, 0x40, 3, 0x2020 } },
    { 0x6, 0, { 0x77, 2, 9, 0 } },
    { 0x7, 0, { 0, 0xd39ffffb, 0x18, 0xbc000400 } },
    { 0xa, 0, { 0x7300404, 0, 0, 0x603 } },
    { 0xb, 0, { 1, 2, 0x100, 0 } },
    { 0xd, 0, { 0x2ff, 0xa80, 0xa88, 0 } },
    { 0xd, 1, { 0xf, 0xa08, 0x100, 0 } },
    { 0xf, 0, { 0, 0xdf, 0, 2 } },
    { 0xf, 1, { 0, 0x1c000, 0xdf, 7 } },
    { 0x14, 0, { 1, 0xf, 7, 0 } },
    { 0x16, 0, { 0xa8c, 0xe74, 0x64, 0 } },
    { 0x80000000, 0, { 0x80000008, 0, 0, 0 } },
    { 0x80000001, 0, { 0, 0, 0x121, 0x2c100800 } },
    { 0x80000002, 0, { 0x65746e49, 0x2952286c, 0x6f655820, 0x2952286e } },
    { 0x80000006, 0, { 0, 0, 0x1006040, 0 } },
    { 0x80000007, 0, { 0, 0, 0, 0x100 } },
    { 0x80000008, 0, { 0x302e, 0x200, 0, 0 } },
};

static const struct row amd[] = {
    { 0x0, 0, { 0x10, 0x68747541, 0x444d4163, 0x69746e65 } },
    { 0x1, 0, { 0xa00f11, 0x800800, 0x7efa320b, 0x178bfbff } },
    { 0x6, 0, { 4, 0, 1, 0 } },
    { 0x7, 0, { 0, 0x219c95a9, 0x40069c, 0x10 } },
    { 0xd, 0, { 0x207, 0x988, 0x988, 0 } },
    { 0xd, 1, { 0xf, 0x348, 0x1800, 0 } },
    { 0xf, 0, { 0, 0xff, 0, 2 } },
    { 0xf, 1, { 0, 0x40, 0xff, 7 } },
    { 0x80000000, 0, { 0x80000023, 0x68747541, 0x444d4163, 0x69746e65 } },
    { 0x80000001, 0, { 0xa00f11, 0x40000000, 0x75c237ff, 0x2fd3fbff } },
    { 0x80000007, 0, { 0, 0x3b, 0, 0x6799 } },
    { 0x80000008, 0, { 0x303030, 0x191ef657, 0x707f, 0x10007 } },
    { 0x8000000a, 0, { 1, 0x8000, 0, 0x101bbcff } },
    { 0x80000021, 0, { 0x4d, 0, 0, 0 } },
    { 0x80000022, 0, { 0, 0, 0, 0 } },
};

enum form { CPUID_R, PLAIN, XEN, FORMS };

struct cpu {
    const struct row *rows;
    size_t num;
};

static const struct cpu cpus[] = {
    { intel, XLX__ARRAY_SIZE(intel) }, { amd, XLX__ARRAY_SIZE(amd) },
};

static void write_row(FILE *f, enum form form, const struct row *l,
                      uint32_t ebx)
{
    if (form == CPUID_R)
        fprintf(f, "   0x%08x 0x%02x: eax=0x%08x ebx=0x%08x ecx=0x%08x "
                "edx=0x%08x\n", l->leaf, l->sub, l->r[0], ebx, l->r[2],
                l->r[3]);
    else if (form == PLAIN)
        fprintf(f, "CPUID %08X: %08X-%08X-%08X-%08X [SL %02X]\n", l->leaf,
                l->r[0], ebx, l->r[2], l->r[3], l->sub);
    else if (l->r[0] || ebx || l->r[2] || l->r[3])
        fprintf(f, "  %08x:%08x -> %08x:%08x:%08x:%08x\n", l->leaf, l->sub,
                l->r[0], ebx, l->r[2], l->r[3]);
}

/* drop: bits of 7:0 ebx that this processor lacks. */
static void write_rows(FILE *f, enum form form, const struct cpu *cpu,
                       uint32_t drop)
{
    const struct row *l;

    for (l = cpu->rows; l < cpu->rows + cpu->num; l++)
        write_row(f, form, l, l->leaf == 7 ? l->r[1] & ~drop : l->r[1]);
}

static void write_policy(FILE *f, const char *title, const struct cpu *cpu)
{
    fprintf(f, "%s policy: %zu leaves, 2 MSRs\n CPUID:\n"
            "  leaf     subleaf  -> eax      ebx      ecx      edx     \n",
            title, cpu ? cpu->num : 4);
    if (cpu)
        write_rows(f, XEN, cpu, 0);
    fputs(" MSRs:\n  index    -> value           \n"
          "  000000ce -> 0000000080000000\n"
          "  0000010a -> 0000000000000000\n", f);
}

/* no_hvm: as Xen has it without VT-x. */
static void write_policies(FILE *f, const struct cpu *cpu, bool no_hvm)
{
    static const char *const titles[] = { "Raw", "Host", "PV Max", "HVM Max",
                                          "PV Default", "HVM Default" };
    size_t i;

    fputs("Xen reports there are maximum 120 leaves and 2 MSRs\n", f);
    for (i = 0; i < XLX__ARRAY_SIZE(titles); i++)
        write_policy(f, titles[i], no_hvm && *titles[i] == 'H' && i > 1
                                   ? NULL : cpu);
}

static char *dump(enum form form, const struct cpu *cpu)
{
    size_t len;
    char *text;
    FILE *f = open_memstream(&text, &len);

    if (form == XEN) {
        write_policies(f, cpu, false);
    } else {
        fputs(form == CPUID_R ? "CPU 0:\n" :
              "------[ CPUID Registers / Logical CPU #0 ]------\n", f);
        write_rows(f, form, cpu, 0);
    }
    fclose(f);
    return text;
}

static int read_it(const char *text, struct xlx__cpu *cpu)
{
    return xlx__cpu_read_text("x", text, cpu);
}

static int read_host(const char *text, struct xlx__cpu *cpu)
{
    xlx_cpu_host h;
    int rc;

    xlx_cpu_host_init(&h);
    rc = xlx__cpu_host_read(NULL, "x", text, false, &h);
    if (!rc && h.predicted)
        rc = ERROR_FAIL;
    if (!rc)
        rc = xlx__cpu_from_public(&h.usual, cpu);
    xlx_cpu_host_dispose(&h);
    return rc;
}

static bool same(const struct xlx__cpu *a, const struct xlx__cpu *b)
{
    return !memcmp(&a->features, &b->features, sizeof(a->features)) &&
           !strcmp(a->vendor, b->vendor) && a->family == b->family &&
           a->model == b->model && a->stepping == b->stepping &&
           a->level == b->level && a->xlevel == b->xlevel;
}

static void check_same(const char *text, const struct xlx__cpu *want,
                       const char *what)
{
    struct xlx__cpu got;

    if (read_it(text, &got))
        fail_msg("%s: %s\n%s", what, xlx_error_get(), text);
    if (!same(&got, want))
        fail_msg("%s: another processor\n%s", what, text);
}

/* ---- cut ---------------------------------------------------------------- */

/* Behind each byte: refused, or all the same. */
static void cut_anywhere(void **state)
{
    struct xlx__cpu whole, got;
    size_t len, i;
    unsigned int c, refused;
    enum form form;
    char *text, *part;

    (void)state;
    for (form = 0; form < FORMS; form++) {
        for (c = 0; c < XLX__ARRAY_SIZE(cpus); c++) {
            text = dump(form, &cpus[c]);
            len = strlen(text);
            assert_ok(read_it(text, &whole));
            for (refused = 0, i = 0; i < len; i++) {
                part = strndup(text, i);
                if (read_it(part, &got))
                    refused++;
                else if (!same(&got, &whole))
                    fail_msg("taken, and not all:\n%s", part);
                free(part);
            }
            /* of XEN, the rest are the other policies */
            assert_in_range(refused, form == XEN ? len / 8 : len / 2, len);
            free(text);
        }
    }
}

/* No host is made of some of its policies. */
static void a_host_cut_anywhere(void **state)
{
    struct xlx__cpu whole, got;
    char *text = dump(XEN, &cpus[0]), *part;
    size_t len = strlen(text), i;

    (void)state;
    assert_ok(read_host(text, &whole));
    for (i = strstr(text, "Raw") - text + 11; i < len - 1; i++) {
        part = strndup(text, i);
        if (!read_host(part, &got))
            fail_msg("taken, and not all:\n%s", part);
        free(part);
    }
    free(text);
}

static void cut_and_named(void **state)
{
    struct xlx__cpu got;
    char *text = dump(CPUID_R, &cpus[0]);

    (void)state;
    *strstr(text, "   0x00000006") = '\0';
    assert_fails(read_it(text, &got), ERROR_INVAL,
                 "x: the dump is cut: leaf 0x6:0 is missing, though the "
                 "processor must have it");
    free(text);
    text = dump(XEN, &cpus[0]);
    *strstr(text, "  0000010a") = '\0';
    assert_fails(read_it(text, &got), ERROR_INVAL,
                 "x: the \"Raw\" policy of xen-cpuid is cut before its MSRs "
                 "end");
    free(text);
    assert_fails(read_it("<cpudata arch='x86'>\n  <cpuid eax_in='0x0'", &got),
                 ERROR_INVAL, "x: the XML is cut");
    assert_fails(read_it("1fcbfbff-f7fa3223-2c100800\n", &got), ERROR_INVAL,
                 "3 words of features are not all");
}

/* ---- as mail and terminals leave it ------------------------------------- */

/* Each line with something before it and another end. */
static char *decorated(const char *text, const char *before, const char *end)
{
    size_t len, n;
    char *result;
    FILE *f = open_memstream(&result, &len);

    for (; *text; text += n + 1) {
        n = strcspn(text, "\n");
        fprintf(f, "%s%.*s%s", before, (int)n, text, end);
    }
    fclose(f);
    return result;
}

/* As mail programs do: at the last blank before that column. */
static char *wrapped(const char *text, size_t width)
{
    char *result = strdup(text), *line = result, *at;

    while ((at = strchr(line, '\n'))) {
        if ((size_t)(at - line) > width) {
            for (at = line + width; at > line && *at != ' '; at--)
                continue;
            if (at > line && at[-1] != ' ')
                *at = '\n';
            else
                at = strchr(line, '\n');
        }
        line = at + 1;
    }
    return result;
}

static char *quoted_printable(const char *text)
{
    size_t len, column = 0;
    char *result;
    FILE *f = open_memstream(&result, &len);

    for (; *text; text++) {
        if (*text == '\n')
            column = 0;
        else if (++column % 70 == 0)
            fputs("=\r\n", f);
        fprintf(f, *text == '=' ? "=3D" : "%c", *text);
    }
    fclose(f);
    return result;
}

static void through_mail(void **state)
{
    static const char *const before[] = { "> ", "    ", "\t", ">> > ",
                                          "\xc2\xa0 ", "| " };
    char *text, *other, *both;
    struct xlx__cpu want;
    enum form form;
    size_t i;

    (void)state;
    for (form = 0; form < FORMS; form++) {
        text = dump(form, &cpus[1]);
        assert_ok(read_it(text, &want));
        for (i = 0; i < XLX__ARRAY_SIZE(before); i++) {
            other = decorated(text, before[i], i % 2 ? "\r\n" : "\n");
            check_same(other, &want, before[i]);
            if (form == XEN)
                assert_ok(read_host(other, &want));
            free(other);
        }
        for (i = 50; i <= 78; i += 7) {
            other = wrapped(text, i);
            check_same(other, &want, "wrapped");
            both = decorated(other, "> ", " \n");
            check_same(both, &want, "wrapped and quoted");
            free(other);
            free(both);
        }
        other = quoted_printable(text);
        check_same(other, &want, "quoted-printable");
        free(other);
        free(text);
    }
}

/* ---- many processors, many hosts ---------------------------------------- */

/* number: -1 for cpuid -1. */
static void write_cpu(FILE *f, int number, uint32_t drop)
{
    if (number < 0)
        fputs("CPU:\n", f);
    else
        fprintf(f, "CPU %d:\n", number);
    write_rows(f, CPUID_R, &cpus[0], drop);
}

/* 768 as cpuid -r prints them; a guest may be on any of them. */
static void many_processors(void **state)
{
    struct xlx__cpu first, got;
    char *text = dump(CPUID_R, &cpus[0]);
    size_t len;
    FILE *f;
    int i;

    (void)state;
    assert_ok(read_it(text, &first));
    free(text);
    f = open_memstream(&text, &len);
    for (i = 0; i < 768; i++)
        write_cpu(f, i, 0);
    fclose(f);
    check_same(text, &first, "768");
    free(text);

    f = open_memstream(&text, &len);
    for (i = 0; i < 16; i++)            /* the last ones without avx512f */
        write_cpu(f, i, i < 8 ? 0 : 1u << 16);
    fclose(f);
    assert_ok(read_it(text, &got));
    xlx__cpu_put(&first.features, XLX__CPU_AVX512F, false);
    assert_memory_equal(&got.features, &first.features, sizeof(got.features));
    free(text);
}

static void several_hosts(void **state)
{
    struct xlx__cpu first, got;
    char *text, *two;
    size_t len;
    FILE *f;
    int i;

    (void)state;
    text = dump(CPUID_R, &cpus[0]);
    assert_ok(read_it(text, &first));
    free(text);
    for (i = -1; i <= 0; i++) {
        f = open_memstream(&text, &len);
        write_cpu(f, i, 0);
        write_cpu(f, i, 1u << 5);
        fclose(f);
        assert_fails(read_it(text, &got), ERROR_INVAL,
                     "x: holds more than one host");
        free(text);
        f = open_memstream(&text, &len);
        write_cpu(f, i, 0);
        write_cpu(f, i, 0);
        fclose(f);
        check_same(text, &first, "twice the same");
        free(text);
    }
    text = dump(XEN, &cpus[0]);
    two = malloc(2 * strlen(text) + 1);
    assert_non_null(two);
    strcat(strcpy(two, text), text);
    assert_fails(read_it(two, &got), ERROR_INVAL, "more than one host");
    assert_fails(read_host(two, &got), ERROR_INVAL, "more than one host");
    free(two);
    free(text);
    assert_fails(read_it("<cpu><model>Haswell</model></cpu>"
                         "<cpu><model>Penryn</model></cpu>", &got),
                 ERROR_INVAL, "holds more than one processor");
}

/* ---- Xen without HVM ---------------------------------------------------- */

static void no_hvm(void **state)
{
    xlx_cpu_host h;
    size_t len;
    char *text;
    FILE *f = open_memstream(&text, &len);

    (void)state;
    write_policies(f, &cpus[0], true);
    fclose(f);
    xlx_cpu_host_init(&h);
    assert_fails(xlx__cpu_host_read(NULL, "x", text, false, &h), ERROR_INVAL,
                 "x: Xen has no HVM on that host, because it lacks VT-x or "
                 "AMD-V or has it switched off: only PV guests run there "
                 "(--pv)");
    xlx_cpu_host_dispose(&h);
    xlx_cpu_host_init(&h);
    assert_ok(xlx__cpu_host_read(NULL, "x", text, true, &h));
    xlx_cpu_host_dispose(&h);
    free(text);
}

/* ---- XAPI --------------------------------------------------------------- */

/* The same processor in the order that XAPI had before Xen's. */
static void xapis_old_order(void **state)
{
    struct xlx__cpu old, new;

    (void)state;
    assert_ok(read_it("7ffefbff-bfebfbff-00000121-2c100800\n", &old));
    assert_ok(read_it("bfebfbff-7ffefbff-2c100800-00000121\n", &new));
    assert_true(same(&old, &new));
    assert_true(xlx__cpu_has(&old.features, XLX__CPU_AVX));
    assert_false(xlx__cpu_has(&old.features, XLX__CPU_XOP));
    assert_fails(read_it("00000001-00000002-00000003-00000004", &new),
                 ERROR_INVAL, "it does not show in which order they are");
}

/* Xen shows AMD's copies of 1.edx to all guests. */
static void copies_are_no_features(void **state)
{
    struct xlx__cpu with, without;

    (void)state;
    assert_ok(read_it("1fcbfbff-80b82221-2993fbff-00000403-00000000\n",
                      &with));
    assert_ok(read_it("1fcbfbff-80b82221-28100800-00000403-00000000\n",
                      &without));
    assert_true(same(&with, &without));
}

/* They are what guests get: those lose nothing there. */
static void words_of_guests_as_a_host(void **state)
{
    static const char words[] = "1fcbfbff-80b82221-2993fbff-00000403-00000000"
        "-00000000-00000000-00000000-00001000-9c000000-00000000\n";
    xlx_cpu_verdict v;
    xlx_cpu_host h;
    xlx_cpu guest;

    (void)state;
    xlx_cpu_init(&guest);
    xlx_cpu_host_init(&h);
    xlx_cpu_verdict_init(&v);
    assert_ok(xlx__cpu_host_read(NULL, "x", words, false, &h));
    assert_false(h.predicted);
    assert_ok(xlx__cpu_guest_read(NULL, "x", words, false, &guest));
    assert_ok(xlx__cpu_check(NULL, &guest, &h, NULL, &v));
    assert_int_equal(v.fate, XLX_CPU_FATE_RUN);
    assert_int_equal(v.num_lost, 0);
    xlx_cpu_verdict_dispose(&v);
    xlx_cpu_host_dispose(&h);
    xlx_cpu_dispose(&guest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(a_host_cut_anywhere),
        cmocka_unit_test(cut_and_named),
        cmocka_unit_test(through_mail),
        cmocka_unit_test(many_processors),
        cmocka_unit_test(several_hosts),
        cmocka_unit_test(no_hvm),
        cmocka_unit_test(xapis_old_order),
        cmocka_unit_test(copies_are_no_features),
        cmocka_unit_test(words_of_guests_as_a_host),
    };

    return cmocka_run_group_tests_name("cpu-text", tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each fault of vnuma= gives one finding that says where it is and what stock
 * xl makes of it, and a config without fault gives none.
 */
#include "gen-calls.h"
#include "unit.h"
#include "vnuma/vnuma.h"

#define GIB (UINT64_C(1) << 30)

/* Two nodes of 4 cpus and 8 GiB, and a third that has memory alone. */
static void make_host(xlx_vnuma_host *h)
{
    int i, j;

    xlx_vnuma_host_init(h);
    assert_ok(xlx__vnuma_alloc_host(h, 3));
    for (i = 0; i < 3; i++) {
        h->nodes[i].node = (uint32_t)i;
        h->nodes[i].memory = h->nodes[i].free = 8 * GIB;
        for (j = 0; j < 3; j++)
            h->nodes[i].distances[j] = i == j ? 10 : 21;
        if (i == 2)
            continue;
        h->nodes[i].cpus = calloc(4, sizeof(*h->nodes[i].cpus));
        assert_non_null(h->nodes[i].cpus);
        h->nodes[i].num_cpus = 4;
        for (j = 0; j < 4; j++)
            h->nodes[i].cpus[j].cpu = h->nodes[i].cpus[j].core =
                (uint32_t)(4 * i + j);
    }
    /* what libxl calls invalid: no way from one to the other */
    h->nodes[1].distances[2] = h->nodes[2].distances[1] = 0;
}

/* The whole of a config but vnuma=, for two vnodes of 1 GiB and 2 vCPUs. */
#define GUEST "type=\"hvm\"\nmemory=2048\nvcpus=4\nmaxvcpus=4\n"
#define V0 "\"pnode=0\",\"size=1024\",\"vcpus=0-1\""
#define V1 "\"pnode=1\",\"size=1024\",\"vcpus=2-3\""
#define TWO(first, second) "vnuma=[[" first "],[" second "]]\n"
#define D(numbers) ",\"vdistances=" numbers "\""
#define GOOD TWO(V0 D("10,20"), V1 D("20,10"))

#define NOTE XLX_VNUMA_EFFECT_NOTE
#define BENT XLX_VNUMA_EFFECT_BENT
#define REFUSED XLX_VNUMA_EFFECT_REFUSED
#define OVERFLOW XLX_VNUMA_EFFECT_OVERFLOW

static const struct {
    const char *config;
    xlx_vnuma_effect effect;
    const char *rule, *what;        /* the beginning of it */
} faults[] = {
    /* distances */
    { GUEST TWO(V0 D("10,20,30"), V1 D("20,10")), OVERFLOW, "distance-count",
      "vnode 0: vdistances has 3 numbers for 2 vnodes: xl writes the rest" },
    { GUEST TWO(V0 D("10"), V1 D("20,10")), REFUSED, "distance-count",
      "vnode 0: vdistances has 1 numbers for 2 vnodes" },
    { GUEST TWO(V0 D("10,20"), V1 D("20")), BENT, "distance-count",
      "vnode 1: vdistances has 1 numbers for 2 vnodes" },
    { GUEST TWO(V0 D("10,20"), V1), BENT, "key-missing",
      "vnode 1: vdistances= is missing" },
    { GUEST TWO(V0 D("10,9"), V1 D("20,10")), REFUSED, "distance",
      "vnode 0: distance 9 to vnode 1: the least is 10" },
    { GUEST TWO(V0 D("9,20"), V1 D("20,10")), BENT, "distance",
      "vnode 0: distance 9 to vnode 0: to itself it must be 10" },
    { GUEST TWO(V0 D("10,10"), V1 D("20,10")), BENT, "distance",
      "vnode 0: distance 10 to vnode 1: 10 is for the vnode itself" },
    { GUEST TWO(V0 D("10,255"), V1 D("20,10")), BENT, "distance",
      "vnode 0: distance 255 to vnode 1: 255 says that there is no way" },
    { GUEST TWO(V0 D("10,266"), V1 D("20,10")), BENT, "distance",
      "vnode 0: distance 266 to vnode 1: the guest gets the lowest 8 bits" },
    { GUEST TWO(V0 D("10,4294967295"), V1 D("20,10")), BENT, "distance",
      "vnode 0: distance 4294967295 to vnode 1: the guest gets" },
    { GUEST TWO(V0 D("10,4294967296"), V1 D("20,10")), REFUSED, "number",
      "vnode 0: vdistances=10,4294967296: not a list of numbers" },
    { GUEST TWO(V0 D("10,0"), V1 D("20,10")), REFUSED, "distance",
      "vnode 0: distance 0 to vnode 1: the least is 10" },
    { GUEST TWO(V0 D("10,20"), V1 D("30,10")), NOTE, "asymmetric",
      "vnode 1: distance 30 to vnode 0, but 20 back" },
    { GUEST TWO(V0 D("10;20"), V1 D("20,10")), REFUSED, "number",
      "vnode 0: vdistances=10;20: not a list of numbers" },
    { GUEST TWO(V0 D("-10,20"), V1 D("20,10")), REFUSED, "number",
      "vnode 0: vdistances=-10,20: not a list of numbers" },
    /* vCPUs */
    { GUEST TWO("\"pnode=0\",\"size=1024\",\"vcpus=0-2\"" D("10,20"),
                V1 D("20,10")), REFUSED, "vcpu-twice",
      "vnode 1: vCPU 2 is also in vnode 0" },
    { GUEST TWO("\"pnode=0\",\"size=1024\",\"vcpus=0,1,0\"" D("10,20"),
                V1 D("20,10")), REFUSED, "vcpu-twice",
      "vnode 0: vCPU 0 is named twice" },
    { GUEST TWO("\"pnode=0\",\"size=1024\",\"vcpus=0\"" D("10,20"),
                V1 D("20,10")), REFUSED, "vcpu-nowhere",
      "vCPU 1 is in no vnode" },
    { GUEST TWO("\"pnode=0\",\"size=1024\",\"vcpus=0-1,4\"" D("10,20"),
                V1 D("20,10")), REFUSED, "vcpu-range",
      "vnode 0: vCPU 4, but with maxvcpus=4 the last one is 3" },
    { GUEST TWO("\"pnode=0\",\"size=1024\",\"vcpus=0-1,4096\"" D("10,20"),
                V1 D("20,10")), BENT, "vcpu-range",
      "vnode 0: vcpus=0-1,4096: no guest has a vCPU 4096" },
    { GUEST TWO("\"pnode=0\",\"size=1024\",\"vcpus=1-0\"" D("10,20"),
                "\"pnode=1\",\"size=1024\",\"vcpus=0-3\"" D("20,10")),
      BENT, "number", "vnode 0: vcpus=1-0: not a list of numbers" },
    { GUEST TWO("\"pnode=0\",\"size=1024\",\"vcpus=all\"" D("10,20"),
                "\"pnode=1\",\"size=1024\",\"vcpus=0-3\"" D("20,10")),
      BENT, "number", "vnode 0: vcpus=all: not a list of numbers" },
    { GUEST "maxvcpus=8\n" GOOD, REFUSED, "vcpu-nowhere",
      "maxvcpus=8, but vCPU 4 is in no vnode" },
    { "type=\"hvm\"\nvcpus=8\n" GOOD, BENT, "vcpu-nowhere",
      "vcpus=8, but vCPU 4 is in no vnode: the guest gets 4" },
    { "type=\"hvm\"\n" TWO("\"pnode=0\",\"size=1024\",\"vcpus=0-127\""
                           D("10,20"),
                           "\"pnode=1\",\"size=1024\",\"vcpus=128\""
                           D("20,10")), REFUSED, "vcpu-range",
      "vnode 1: vCPU 128: an HVM guest has 128 at most" },
    /* memory */
    { GUEST "maxmem=4096\n" GOOD, REFUSED, "memory-sum",
      "maxmem=4096, but the vnodes have 2048 MiB together" },
    { GUEST "memory=1024\n" GOOD, REFUSED, "memory-sum",
      "memory=1024, but the vnodes have 2048 MiB together: libxl has no" },
    { GUEST "memory=4096\n" GOOD, BENT, "memory-sum",
      "memory=4096, but the vnodes have 2048 MiB together, and that" },
    { GUEST "memory=1028\n"
      TWO("\"pnode=0\",\"size=4\",\"vcpus=0-1\"" D("10,20"), V1 D("20,10")),
      REFUSED, "video",
      "vnode 0: size=4, but the 8 MiB of video memory come out of it" },
    { "type=\"hvm\"\nmemory=1032\n"
      TWO("\"pnode=0\",\"size=8\",\"vcpus=0-1\"" D("10,20"), V1 D("20,10")),
      BENT, "video", "vnode 0: size=8: the video memory takes all of it" },
    { GUEST "memory=1032\nstdvga=1\n"
      TWO("\"pnode=0\",\"size=8\",\"vcpus=0-1\"" D("10,20"), V1 D("20,10")),
      REFUSED, "video",
      "vnode 0: size=8, but the 16 MiB of video memory come out of it" },
    { GUEST "memory=1024\n"
      TWO(V0 D("10,20"), "\"pnode=1\",\"vcpus=2-3\"" D("20,10")),
      BENT, "key-missing", "vnode 1: size= is missing: it gets no memory" },
    { GUEST "memory=1024\n"
      TWO(V0 D("10,20"), "\"pnode=1\",\"size=0\",\"vcpus=2-3\"" D("20,10")),
      BENT, "size", "vnode 1: it has no memory" },
    { GUEST "memory=1040\n"
      TWO("\"pnode=0\",\"size=16g\",\"vcpus=0-1\"" D("10,20"), V1 D("20,10")),
      BENT, "number", "vnode 0: size=16g: xl drops what follows the "
      "digits; size" },
    /* keys */
    { GUEST TWO("\"size=1024\",\"vcpus=0-1\"" D("10,20"), V1 D("20,10")),
      BENT, "key-missing", "vnode 0: pnode= is missing: xl puts it on" },
    { GUEST TWO(V0 D("10,20") ",\"mode=strict\"", V1 D("20,10")),
      BENT, "key-unknown", "vnode 0: there is no key \"mode\", only pnode" },
    { GUEST TWO(V0 D("10,20") ",\"pnode=1\"", V1 D("20,10")),
      BENT, "key-twice", "vnode 0: pnode= is given twice" },
    { GUEST TWO(V0 D("10,20") ",\"pnode\"", V1 D("20,10")),
      REFUSED, "pair", "vnode 0: \"pnode\" is not KEY=VALUE" },
    { GUEST TWO(V0 D("10,20") ",[\"pnode=1\"]", V1 D("20,10")),
      BENT, "pair", "vnode 0: element 5 is a list" },
    { GUEST TWO("\"pnode=one\",\"size=1024\",\"vcpus=0-1\"" D("10,20"),
                V1 D("20,10")), REFUSED, "number",
      "vnode 0: pnode=one: not a number" },
    { GUEST "vnuma=\"yes\"\n", BENT, "vnuma-list",
      "vnuma=\"yes\": it must be a list of vnodes" },
    { GUEST "vnuma=[\"pnode=0\"]\n", REFUSED, "vnode-list",
      "vnode 0: it must be a list" },
    { GUEST "memory=1024\nvcpus=2\nmaxvcpus=2\nvnuma=[[" V0 D("10") "]]\n",
      NOTE, "single", "there is one vnode" },
    /* the guest */
    { "type=\"pv\"\nmemory=2048\n" GOOD, REFUSED, "type",
      "a PV guest cannot have vnuma" },
    { "memory=2048\n" GOOD, REFUSED, "type", "a PV guest cannot have vnuma" },
    { "type=\"pvh\"\nmemory=2048\n" GOOD, REFUSED, "type",
      "a PVH guest cannot have vnuma: libxl takes Xen's answer" },
    /* the host */
    { GUEST TWO("\"pnode=99\",\"size=1024\",\"vcpus=0-1\"" D("10,20"),
                V1 D("20,10")), REFUSED, "pnode",
      "vnode 0: pnode=99: the host has no node of that number" },
    { GUEST TWO("\"pnode=2\",\"size=1024\",\"vcpus=0-1\"" D("10,20"),
                "\"pnode=0\",\"size=1024\",\"vcpus=2-3\"" D("20,10")), BENT,
      "pnode", "vnode 0: pnode=2 has no cpus" },
    { GUEST TWO("\"pnode=2\",\"size=1024\"" D("10,20"),
                "\"pnode=1\",\"size=1024\",\"vcpus=0-3\"" D("20,10")), BENT,
      "unreachable", "vnode 1: by the host's own table there is no way from "
      "node 1 to node 2 of vnode 0" },
    { GUEST "memory=12288\n"
      TWO("\"pnode=0\",\"size=6144\",\"vcpus=0-1\"" D("10,20"),
          "\"pnode=0\",\"size=6144\",\"vcpus=2-3\"" D("20,10")), REFUSED,
      "free-memory", "node 0: its 2 vnodes need 12288 MiB, and 8192 MiB" },
};

static bool always(const char *rule)
{
    return !strcmp(rule, "not-saved");
}

static void each_fault_gives_one_finding(void **state)
{
    xlx_vnuma_findings f;
    xlx_vnuma_host h;
    size_t i;
    int j, num;

    (void)state;
    make_host(&h);
    for (i = 0; i < XLX__ARRAY_SIZE(faults); i++) {
        const xlx_vnuma_finding *found = NULL;

        xlx_vnuma_findings_init(&f);
        assert_ok(xlx__vnuma_lint(NULL, "test", faults[i].config, &h, &f));
        for (j = 0, num = 0; j < f.num_findings; j++) {
            if (always(f.findings[j].rule) ||
                !strcmp(f.findings[j].rule, "cpus") ||
                (!strcmp(f.findings[j].rule, "key-missing") &&
                 f.findings[j].effect == NOTE))
                continue;
            num++;
            found = &f.findings[j];
            if (num > 1)
                print_error("%s\n", found->what);
        }
        if (num != 1 || found->effect != faults[i].effect ||
            strcmp(found->rule, faults[i].rule) ||
            strncmp(found->what, faults[i].what, strlen(faults[i].what)))
            fail_msg("%zu: %d findings, %s: %s; wanted %s: %s\n%s", i, num,
                     num ? found->rule : "-", num ? found->what : "-",
                     faults[i].rule, faults[i].what, faults[i].config);
        xlx_vnuma_findings_dispose(&f);
    }
    xlx_vnuma_host_dispose(&h);
}

static void no_fault_no_finding(void **state)
{
    static const char *const good[] = {
        GUEST GOOD,
        "builder=\"hvm\"\n" GOOD,
        GUEST "maxmem=2048\n" GOOD,
        /* blanks are xl's own to skip */
        GUEST TWO("\" pnode = 0\",\"size= 1024 \",\"vcpus=0, 1\""
                  D("10, 20"), V1 D(" 20,10 ")),
    };
    static const char *const none[] = { "", GUEST, GUEST "vnuma=[]\n",
                                        GUEST "vnuma=\"auto\"\n" };
    xlx_vnuma_findings f;
    xlx_vnuma_host h;
    size_t i;

    (void)state;
    make_host(&h);
    for (i = 0; i < XLX__ARRAY_SIZE(good); i++) {
        xlx_vnuma_findings_init(&f);
        assert_ok(xlx__vnuma_lint(NULL, "test", good[i], &h, &f));
        if (f.num_findings != 1 || !always(f.findings[0].rule))
            fail_msg("%zu: %s", i, f.findings[0].what);
        xlx_vnuma_findings_dispose(&f);
    }
    for (i = 0; i < XLX__ARRAY_SIZE(none); i++) {
        xlx_vnuma_findings_init(&f);
        assert_ok(xlx__vnuma_lint(NULL, "test", none[i], &h, &f));
        assert_int_equal(f.num_findings, 0);
        xlx_vnuma_findings_dispose(&f);
    }
    xlx_vnuma_host_dispose(&h);
}

/* num vnodes of 64 MiB and one vCPU, and the one finding that matters. */
static void lint_many(int num, const char *what)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    xlx_vnuma_findings f;
    int i, j, counted = 0;

    assert_non_null(out);
    fputs("type=\"hvm\"\nvnuma=[", out);
    for (i = 0; i < num; i++) {
        fprintf(out, "%s[\"pnode=0\",\"size=64\",\"vcpus=%d\","
                "\"vdistances=", i ? "," : "", i);
        for (j = 0; j < num; j++)
            fprintf(out, "%s%d", j ? "," : "", i == j ? 10 : 20);
        fputs("\"]", out);
    }
    fputs("]\n", out);
    fclose(out);
    xlx_vnuma_findings_init(&f);
    assert_ok(xlx__vnuma_lint(NULL, "test", text, NULL, &f));
    for (i = 0; i < f.num_findings; i++) {
        if (always(f.findings[i].rule))
            continue;
        assert_string_equal(f.findings[i].rule, "vnode-count");
        assert_string_equal(f.findings[i].what, what);
        counted++;
    }
    assert_int_equal(counted, what != NULL);
    xlx_vnuma_findings_dispose(&f);
    free(text);
}

static void too_many_vnodes(void **state)
{
    (void)state;
    lint_many(32, NULL);
    lint_many(33, "vnuma has 33 vnodes: Xen takes 32 at most");
    lint_many(64, "vnuma has 64 vnodes: Xen takes 32 at most");
    lint_many(1000, "vnuma has 1000 vnodes: Xen takes 32 at most");
}

/* All at once, not one after the other. */
static void several_faults_are_all_found(void **state)
{
    xlx_vnuma_findings f;

    (void)state;
    xlx_vnuma_findings_init(&f);
    assert_ok(xlx__vnuma_lint(NULL, "test", "type=\"pvh\"\nmaxmem=1\n"
                              TWO("\"size=1024\"" D("9,300,7"),
                                  "\"pnode=1\",\"vcpus=3\""), NULL, &f));
    assert_true(f.num_findings >= 9);
    xlx_vnuma_findings_dispose(&f);
}

/* What depends on the host and is no fault of the config. */
static void notes_about_the_host(void **state)
{
    static const char *const wanted[] = {
        "cores: node 0: 2 vCPUs on 1 core: some share a core as its threads",
        "cpus: node 0: 2 vCPUs on 1 cpu: they cannot all run there at once",
        "memory-kind: vnode 1: the memory of node 1 is not DRAM (nvm)",
    };
    xlx_vnuma_findings f;
    xlx_vnuma_host h;
    char *text;
    int i;

    (void)state;
    for (i = 0; i < 3; i++) {
        make_host(&h);
        if (i == 0)
            h.nodes[0].cpus[1].core = 0;
        h.nodes[0].num_cpus = i == 1 ? 1 : 2;
        if (i == 2)
            h.nodes[1].kind = XLX_VNUMA_MEMORY_NVM;
        xlx_vnuma_findings_init(&f);
        assert_ok(xlx__vnuma_lint(NULL, "test", GUEST GOOD, &h, &f));
        assert_int_equal(f.num_findings, 2);
        assert_int_equal(f.findings[0].effect, NOTE);
        text = xlx__printf("%s: %s", f.findings[0].rule, f.findings[0].what);
        assert_string_equal(text, wanted[i]);
        free(text);
        xlx_vnuma_findings_dispose(&f);
        xlx_vnuma_host_dispose(&h);
    }
}

static void no_config_is_an_error(void **state)
{
    xlx_vnuma_findings f;

    (void)state;
    xlx_vnuma_findings_init(&f);
    assert_fails(xlx__vnuma_lint(NULL, "web.cfg", "vnuma=[[", NULL, &f),
                 ERROR_INVAL, "web.cfg: ");
    xlx_vnuma_findings_dispose(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_gives_one_finding),
        cmocka_unit_test(no_fault_no_finding),
        cmocka_unit_test(too_many_vnodes),
        cmocka_unit_test(several_faults_are_all_found),
        cmocka_unit_test(notes_about_the_host),
        cmocka_unit_test(no_config_is_an_error),
    };

    return cmocka_run_group_tests_name("vnuma-lint", tests, NULL, NULL);
}

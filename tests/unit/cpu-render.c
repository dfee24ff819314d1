/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU expressions in the words of stock xl: what is written goes through the
 * installed libxl's own parser, and what that made of it is what was meant.
 */
#include <libxl.h>

#include "core/json.h"
#include "cpu/cpu.h"
#include "gen-calls.h"
#include "unit.h"

#define BITS (32 * (XLX__CPU_TSA_SQ_NO / 32 + 1))
#define EXTENDED UINT32_C(0x80000000)

#define STRING XLX_CPU_FORM_STRING
#define LIST XLX_CPU_FORM_LIST
#define LIBVIRT XLX_CPU_FORM_LIBVIRT

static const unsigned int xen_features[] = {
#define XEN_CPUFEATURE(name, value) value,
#include <xen/arch-x86/cpufeatureset.h>
};

/* ---- hosts -------------------------------------------------------------- */

/* Every feature that the installed Xen has a name for. */
static struct xlx__cpu everything(const char *vendor)
{
    struct xlx__cpu cpu = { .level = 0xd, .xlevel = 0x80000021 };
    size_t i;

    strcpy(cpu.vendor, vendor);
    for (i = 0; i < XLX__ARRAY_SIZE(xen_features); i++)
        xlx__cpu_put(&cpu.features, xen_features[i], true);
    return cpu;
}

static struct xlx__cpu model(const char *name)
{
    struct xlx__cpu cpu;

    assert_ok(xlx__cpu_parse_expression(name, &cpu));
    return cpu;
}

/* Adds a host that gives its guests that, and no more than that. */
static void add_host(xlx_cpu_hosts *hosts, const struct xlx__cpu *usual,
                     const struct xlx__cpu *most)
{
    xlx_cpu_host *h;

    hosts->hosts = realloc(hosts->hosts, sizeof(*h) *
                           (size_t)(hosts->num_hosts + 1));
    assert_non_null(hosts->hosts);
    h = &hosts->hosts[hosts->num_hosts++];
    xlx_cpu_host_init(h);
    assert_ok(xlx__cpu_to_public(most, &h->hardware));
    assert_ok(xlx__cpu_to_public(most, &h->xen));
    assert_ok(xlx__cpu_to_public(most, &h->most));
    assert_ok(xlx__cpu_to_public(usual, &h->usual));
}

/* ---- what libxl made of it ---------------------------------------------- */

static void apply(struct xlx__cpu_set *set, unsigned int word,
                  const char *policy)
{
    unsigned int bit;

    assert_int_equal(strlen(policy), 32);
    for (bit = 0; bit < 32; bit++) {
        if (policy[31 - bit] == '0' || policy[31 - bit] == '1')
            xlx__cpu_put(set, 32 * word + bit, policy[31 - bit] == '1');
        else
            assert_int_equal(policy[31 - bit], 'x');
    }
}

static uint64_t number(const struct xlx__json *object, const char *member)
{
    const struct xlx__json *v = xlx__json_member(object, member);
    uint64_t n = XLX__CPU_NONE;

    if (v)
        assert_ok(xlx__json_uint64(v, UINT32_MAX, &n));
    return n;
}

/* The caps, if any. */
struct caps {
    uint32_t basic, seven, extended;
};

static uint32_t from_binary(const char *policy)
{
    return (uint32_t)strtoul(policy, NULL, 2);
}

static void apply_leaf(struct xlx__cpu_set *set, const struct xlx__json *entry,
                       struct caps *caps)
{
    static const char *const regs[] = { "eax", "ebx", "ecx", "edx" };
    uint64_t leaf = number(entry, "leaf"), sub = number(entry, "subleaf");
    const struct xlx__json *v;
    const char *policy;
    unsigned int r, w;

    for (r = 0; r < 4; r++) {
        v = xlx__json_member(entry, regs[r]);
        if (!v)
            continue;
        assert_ok(xlx__json_string(v, &policy));
        for (w = 0; w < BITS / 32; w++)
            if (!xlx__cpu_words[w].msr && xlx__cpu_words[w].index == leaf &&
                xlx__cpu_words[w].subleaf == sub && xlx__cpu_words[w].reg == r)
                break;
        if (w < BITS / 32)
            apply(set, w, policy);
        else if (!r && leaf == 0)
            caps->basic = from_binary(policy);
        else if (!r && leaf == 7 && sub == 0)
            caps->seven = from_binary(policy);
        else if (!r && leaf == EXTENDED)
            caps->extended = from_binary(policy);
        else
            fail_msg("leaf %#x register %u", (unsigned int)leaf, r);
    }
}

static void apply_msr(struct xlx__cpu_set *set, const struct xlx__json *entry)
{
    const char *policy;
    char half[33];

    assert_int_equal(number(entry, "index"), 0x10a);
    assert_ok(xlx__json_string(xlx__json_member(entry, "policy"), &policy));
    assert_int_equal(strlen(policy), 64);
    snprintf(half, sizeof(half), "%.32s", policy);
    apply(set, XLX__CPU_ITS_NO / 32, half);
    apply(set, XLX__CPU_RDCTL_NO / 32, policy + 32);
}

/* The features of a guest that would have had set, with a list that libxl
 * parsed. */
static struct xlx__cpu_set applied(struct xlx__cpu_set set,
                                   libxl_cpuid_policy_list *list,
                                   struct caps *caps)
{
    const struct xlx__json_limits limits = { 1 << 20, 16 };
    const struct xlx__json *policy, *v;
    struct xlx__json_doc *doc;
    libxl_domain_build_info info;
    char *json;

    memset(caps, 0xff, sizeof(*caps));
    libxl_domain_build_info_init(&info);
    info.cpuid = *list;
    json = libxl_domain_build_info_to_json(NULL, &info);
    assert_non_null(json);
    assert_ok(xlx__json_parse("libxl", json, strlen(json), &limits, &doc));
    policy = xlx__json_member(xlx__json_root(doc), "cpuid");
    if (policy) {
        v = xlx__json_member(policy, "cpuid");
        for (v = v ? xlx__json_first(v) : NULL; v; v = xlx__json_next(v))
            apply_leaf(&set, v, caps);
        v = xlx__json_member(policy, "msr");
        for (v = v ? xlx__json_first(v) : NULL; v; v = xlx__json_next(v))
            apply_msr(&set, v);
    }
    xlx__json_free(doc);
    free(json);
    libxl_domain_build_info_dispose(&info);
    *list = NULL;
    return set;
}

/* As xl splits it; every item must be to libxl's liking. */
static void parse_string(const char *string, libxl_cpuid_policy_list *list)
{
    char *copy = strdup(string), *item, *state = NULL;

    assert_non_null(copy);
    item = strtok_r(copy, ",", &state);
    assert_string_equal(item, "host");
    while ((item = strtok_r(NULL, ",", &state)))
        if (libxl_cpuid_parse_config(list, item))
            fail_msg("libxl refuses %s", item);
    free(copy);
}

static void parse_list(const xlx_cpu_config *c, libxl_cpuid_policy_list *list)
{
    int i;

    for (i = 0; i < c->num_list; i++)
        if (libxl_cpuid_parse_config_xend(list, c->list[i]))
            fail_msg("libxl refuses %s", c->list[i]);
}

static struct xlx__cpu_set features_of(const xlx_cpu_config *c)
{
    struct xlx__cpu_set set = { { 0 } };
    int i;

    for (i = 0; i < c->num_features; i++)
        xlx__cpu_put(&set,
                     (unsigned int)xlx__cpu_find_canonical(c->features[i]),
                     true);
    return set;
}

static void same(const struct xlx__cpu_set *a, const struct xlx__cpu_set *b,
                 const char *what)
{
    struct xlx__cpu_set left = xlx__cpu_without(a, b),
                        right = xlx__cpu_without(b, a);
    char buf[XLX__CPU_NAME_MAX];
    unsigned int bit;

    for (bit = 0; bit < BITS; bit++)
        if (xlx__cpu_has(&left, bit) || xlx__cpu_has(&right, bit))
            fail_msg("%s: %s differs", what, xlx__cpu_bit_name(bit, buf));
}

/* ---- tests -------------------------------------------------------------- */

/* The features that a guest of the model must have where everything can be
 * had. */
static struct xlx__cpu_set expected(const struct xlx__cpu_model *m,
                                    const struct xlx__cpu_set *all)
{
    struct xlx__cpu_set set = *all;
    struct xlx__cpu v4 = model("x86-64-v4");
    unsigned int i;

    for (i = 0; i < XLX__CPU_WORDS; i++)
        set.word[i] &= m->features.word[i] |
                       /* a level says nothing of what is in none */
                       (*xlx__cpu_string(m->vendor)
                        ? 0 : ~v4.features.word[i]) | xlx__cpu_fixed.word[i] |
                       xlx__cpu_mitigation.word[i] |
                       xlx__cpu_accumulate.word[i];
    xlx__cpu_close(&set);
    return set;
}

static void one_model(const struct xlx__cpu_model *m, xlx_cpu_form form)
{
    const char *name = xlx__cpu_string(m->name);
    libxl_cpuid_policy_list parsed = NULL;
    struct xlx__cpu_set guest, promised, wanted;
    xlx_cpu_hosts hosts;
    struct xlx__cpu all;
    xlx_cpu_config c;
    struct caps caps;

    all = everything(*xlx__cpu_string(m->vendor) ? xlx__cpu_string(m->vendor)
                                                 : "GenuineIntel");
    xlx_cpu_hosts_init(&hosts);
    xlx_cpu_config_init(&c);
    add_host(&hosts, &all, &all);
    assert_ok(xlx__cpu_render(NULL, name, &hosts, form, &c));
    if (form == XLX_CPU_FORM_LIST)
        parse_list(&c, &parsed);
    else
        parse_string(c.string, &parsed);
    guest = applied(all.features, &parsed, &caps);
    xlx__cpu_close(&guest);             /* as Xen does */
    promised = features_of(&c);
    wanted = expected(m, &all.features);
    same(&promised, &wanted, name);
    same(&guest, &wanted, name);
    assert_int_equal(caps.basic & caps.seven & caps.extended, UINT32_MAX);
    xlx_cpu_config_dispose(&c);
    xlx_cpu_hosts_dispose(&hosts);
}

static void every_model_as_a_string(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < XLX__CPU_MODELS; i++)
        one_model(&xlx__cpu_models[i], STRING);
}

static void every_model_as_a_list(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < XLX__CPU_MODELS; i++)
        one_model(&xlx__cpu_models[i], LIST);
}

/* The words on a host that gives usual, and most when asked. */
static void render(const char *expression, const char *usual,
                   const char *most, xlx_cpu_form form,
                   xlx_cpu_config *c)
{
    struct xlx__cpu u = model(usual), m = model(most);
    xlx_cpu_hosts hosts;

    xlx_cpu_hosts_init(&hosts);
    add_host(&hosts, &u, &m);
    assert_ok(xlx__cpu_render(NULL, expression, &hosts, form, c));
    xlx_cpu_hosts_dispose(&hosts);
}

static void says(const char *expression, const char *usual, const char *most,
                 const char *string, bool nested)
{
    xlx_cpu_config c;

    xlx_cpu_config_init(&c);
    render(expression, usual, most, STRING, &c);
    assert_string_equal(c.string, string);
    assert_int_equal(c.nested, nested);
    xlx_cpu_config_dispose(&c);
}

static void only_what_differs_is_said(void **state)
{
    static const char haswell[] = "Haswell,+hypervisor,+ht,+vmx,+hle";

    (void)state;
    says("Haswell", "Haswell", haswell, "host", false);
    says("Haswell,-avx2", "Haswell", haswell, "host,avx2=0", false);
    says("host,-pclmuldq", "Haswell", haswell, "host,pclmulqdq=0", false);
    /* names are libxl's, and what builds on it goes with it */
    says("Haswell,-pni", "Haswell", haswell,
         "host,sse3=0,ssse3=0,sse4-1=0,sse4-2=0",
         false);
    says("Haswell,-qemu:clflush", "Haswell", haswell, "host,clfsh=0", false);
    /* asked for by name, and beyond what is usual */
    says("IvyBridge,+avx2", "IvyBridge", haswell, "host,avx2=1", false);
    says("Haswell,+vmx", "Haswell", haswell, "host", true);
    says("Haswell,-vmx", "Haswell", haswell, "host", false);
    /* Xen's own, and mitigations: as they are */
    says("Haswell", "Haswell-IBRS,+ht,+apic,+hypervisor", haswell, "host",
         false);
    says("Haswell,-spec-ctrl", "Haswell-IBRS", haswell, "host,ibrsb=0", false);
    /* a level of the ABI leaves a kernel what it needs */
    says("x86-64-v2", "Nehalem", haswell, "host", false);
    says("x86-64-v2", "IvyBridge", haswell,
         "host,xsave=0,avx=0,f16c=0,xsaveopt=0", false);

    says("Haswell,mitigations=model", "Haswell-IBRS,+ht", haswell,
         "host,ibrsb=0", false);
    /* libxl's own words */
    says("Haswell,family=6,model=0x3c,stepping=1,level=7", "Haswell", haswell,
         "host,maxleaf=7,family=6,model=60,stepping=1", false);
    says("IvyBridge,avx2=x,hle=k", "Haswell-v2", haswell,
         "host,fma=0,pcid=0,movbe=0,abm=0,bmi1=0,hle=k,bmi2=0,"
         "invpcid=0", false);
    /* all that there is, but for what Xen decides and nested guests */
    says("max", "IvyBridge,+hypervisor", "IvyBridge,+ht,+vmx,+avx2,+rsba",
         "host,avx2=1", false);
    says("max,-avx2,+vmx", "IvyBridge", "IvyBridge,+vmx,+avx2", "host", true);
    says("max,avx2=x", "IvyBridge", "IvyBridge,+avx2", "host", false);
    says("Cascadelake-Server-v2,-rdctl-no", "Cascadelake-Server-v2",
         "Cascadelake-Server-v2", "host,rdcl-no=0", false);
}

static bool is_in(const char *name, char *const *names, int num)
{
    int i;

    for (i = 0; i < num; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

static void what_cannot_be_had_is_told(void **state)
{
    xlx_cpu_config c;

    (void)state;
    xlx_cpu_config_init(&c);
    render("Haswell,+pdpe1gb", "IvyBridge", "IvyBridge", STRING, &c);
    assert_true(is_in("avx2", c.lacking, c.num_lacking));
    assert_true(is_in("pdpe1gb", c.lacking, c.num_lacking));
    assert_false(is_in("avx", c.lacking, c.num_lacking));
    /* no guest of Xen has it */
    assert_true(is_in("arat", c.skipped, c.num_skipped));
    assert_false(is_in("arat", c.lacking, c.num_lacking));
    assert_false(is_in("avx2", c.features, c.num_features));
    xlx_cpu_config_dispose(&c);

    /* asked for by name: no excuse */
    xlx_cpu_config_init(&c);
    render("IvyBridge,+la57", "IvyBridge", "IvyBridge", STRING, &c);
    assert_int_equal(c.num_lacking, 1);
    assert_string_equal(c.lacking[0], "la57");
    xlx_cpu_config_dispose(&c);
}

/* A pool of a host with leaf 7:1 and one that ends with 7:0. */
static void different_leaves(void **state)
{
    struct xlx__cpu old = model("Skylake-Server-noTSX-IBRS"),
                    new = model("Skylake-Server-noTSX-IBRS,+avx-vnni");
    libxl_cpuid_policy_list parsed = NULL;
    struct xlx__cpu_set guest, promised;
    xlx_cpu_hosts hosts;
    xlx_cpu_config c;
    struct caps caps;
    int i;

    (void)state;
    new.xlevel = 0x80000021;
    xlx__cpu_put(&new.features, XLX__CPU_PREFETCHI, true);
    xlx_cpu_hosts_init(&hosts);
    add_host(&hosts, &old, &old);
    add_host(&hosts, &new, &new);
    xlx_cpu_config_init(&c);
    assert_fails(xlx__cpu_render(NULL, "host", &hosts, STRING, &c),
                 ERROR_INVAL, "only the list form");
    xlx_cpu_config_dispose(&c);
    xlx_cpu_config_init(&c);
    assert_ok(xlx__cpu_render(NULL, "host", &hosts, LIST, &c));
    for (i = 0; i < c.num_list; i++) {
        assert_null(strstr(c.list[i], "0x7,1:"));
        assert_null(strstr(c.list[i], "0x80000021:"));
    }
    parse_list(&c, &parsed);
    guest = applied(old.features, &parsed, &caps);
    promised = features_of(&c);
    same(&guest, &promised, "the pool");
    assert_int_equal(caps.seven, 0);
    assert_int_equal(caps.extended, old.xlevel);
    assert_int_equal(caps.basic, UINT32_MAX);
    xlx_cpu_config_dispose(&c);
    xlx_cpu_hosts_dispose(&hosts);
}

static void refused(const char *expression, int rc, const char *text,
                    xlx_cpu_form form)
{
    struct xlx__cpu host = model("Cascadelake-Server-v2");
    xlx_cpu_hosts hosts;
    xlx_cpu_config c;

    xlx_cpu_hosts_init(&hosts);
    xlx_cpu_config_init(&c);
    xlx__cpu_put(&host.features, XLX__CPU_MD_CLEAR + 2, true); /* no name */
    add_host(&hosts, &host, &host);
    assert_fails(xlx__cpu_render(NULL, expression, &hosts, form, &c), rc,
                 text);
    xlx_cpu_config_dispose(&c);
    xlx_cpu_hosts_dispose(&hosts);
}

static void as_libvirt(void **state)
{
    xlx_cpu_config c;

    (void)state;
    xlx_cpu_config_init(&c);
    render("IvyBridge,+avx2,-sse4.2,+vmx", "IvyBridge", "Haswell,+vmx",
           LIBVIRT, &c);
    assert_string_equal(c.string, "<cpu mode='host-passthrough'>\n"
                        "  <feature policy='require' name='vmx'/>\n"
                        "  <feature policy='disable' name='sse4-2'/>\n"
                        "  <feature policy='force' name='avx2'/>\n"
                        "</cpu>\n");
    xlx_cpu_config_dispose(&c);
}

static void what_cannot_be_said_is_refused(void **state)
{
    xlx_cpu_hosts none;
    xlx_cpu_config c;

    (void)state;
    refused("SandyBrige", ERROR_NOTFOUND, "did you mean \"SandyBridge\"",
            STRING);
    refused("Haswell,-hypervisor", ERROR_INVAL, "Xen alone decides about "
            "\"hypervisor\"", STRING);
    refused("Haswell,+avx2,-avx", ERROR_INVAL, "\"avx2\" is of no use without "
            "\"avx\"", STRING);
    refused("EPYC", ERROR_INVAL, "\"EPYC-v1\" is of the vendor AuthenticAMD",
            STRING);
    refused("host,level=22", ERROR_INVAL, "level 22 is above that of host 1",
            STRING);
    refused("host,family=6", ERROR_INVAL, "no place for level, family", LIST);
    refused("Cascadelake-Server-v2", ERROR_INVAL,
            "\"7d0[12]\" cannot be written by a name of the installed libxl",
            STRING);
    refused("host,-rdctl-no", ERROR_INVAL, "no place for \"rdctl-no\"", LIST);
    refused("host,7d0[12]=x,family=6", ERROR_INVAL, "no place for level",
            LIBVIRT);
    refused("host,7d0[12]=x,hle=k", ERROR_INVAL, "\"hle\" cannot be written",
            LIBVIRT);
    xlx_cpu_hosts_init(&none);
    xlx_cpu_config_init(&c);
    assert_fails(xlx__cpu_render(NULL, "host", &none, STRING, &c), ERROR_INVAL,
                 "hosts: there are none");
    xlx_cpu_config_dispose(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_model_as_a_string),
        cmocka_unit_test(every_model_as_a_list),
        cmocka_unit_test(only_what_differs_is_said),
        cmocka_unit_test(what_cannot_be_had_is_told),
        cmocka_unit_test(different_leaves),
        cmocka_unit_test(as_libvirt),
        cmocka_unit_test(what_cannot_be_said_is_refused),
    };

    return cmocka_run_group_tests_name("cpu-render", tests, NULL, NULL);
}

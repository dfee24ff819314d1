/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The <cpu> of libvirt's capabilities and domains is read as the model that
 * libvirt means by that name, with what is added and taken away.
 */
#include "cpu/cpu.h"
#include "gen-calls.h"
#include "unit.h"

static xlx_ctx *ctx;

static void libvirts_cpu_of_a_host_and_of_a_guest(void **state)
{
    struct xlx__cpu cpu, model;
    xlx_cpu p;

    (void)state;
    xlx_cpu_init(&p);
    assert_ok(xlx_cpu_read(ctx, "x",
        "<capabilities>\n <!-- <cpu> --> <host><cpu>\n"
        "<arch>x86_64</arch> <model>Haswell-v2</model>\n"
        "<vendor>Intel</vendor>\n"
        "<signature family='6' model='69' stepping='1'/>\n"
        "<feature name='ds_cpl'/> <feature name='vmx-apicv-vid'/>\n"
        "<pages unit='KiB' size='4'/></cpu></host>\n"
        "<feature name='nothing'/></capabilities>", &p));
    assert_ok(xlx__cpu_from_public(&p, &cpu));
    assert_ok(xlx__cpu_parse_expression("libvirt:Haswell-noTSX,+ds-cpl",
                                        &model));
    assert_memory_equal(&cpu.features, &model.features,
                        sizeof(cpu.features));
    assert_false(xlx__cpu_has(&cpu.features, XLX__CPU_ABM));
    assert_int_equal(cpu.model, 69);
    xlx_cpu_dispose(&p);

    xlx_cpu_init(&p);
    assert_ok(xlx_cpu_read(ctx, "x",
        "<cpu mode='custom' match='exact'>"
        "<feature policy='disable' name='sse4a'/>"
        "<feature policy=\"require\" name=\"npt\"/>"
        "<model fallback='forbid'>Opteron_G4</model></cpu>", &p));
    assert_ok(xlx__cpu_from_public(&p, &cpu));
    assert_ok(xlx__cpu_parse_expression("libvirt:Opteron_G4,-sse4a,+npt",
                                        &model));
    assert_memory_equal(&cpu.features, &model.features,
                        sizeof(cpu.features));
    assert_string_equal(p.vendor, "AuthenticAMD");
    xlx_cpu_dispose(&p);
}

static void refused_xml(const char *text, const char *message)
{
    xlx_cpu p;

    xlx_cpu_init(&p);
    assert_int_not_equal(xlx_cpu_read(ctx, "x", text, &p), 0);
    assert_string_equal(xlx_error_get(), message);
    xlx_cpu_dispose(&p);
}

static void libvirts_cpu_that_says_nothing(void **state)
{
    static const char nothing[] =
        "x: <cpu> names no model, and so says nothing of a processor";

    (void)state;
    refused_xml("<cpu mode='host-passthrough'/>", nothing);
    refused_xml("<cpu><model", "x: the XML is cut: <cpu> or <cpudata> does "
                "not end");
    refused_xml("<cpu><model/></cpu><model>Haswell</model>", nothing);
    refused_xml("<cpu><model>Haswel</model></cpu>", "x: no CPU model "
                "\"libvirt:Haswel\"; did you mean \"libvirt:Haswell\"?");
    refused_xml("<cpu><model>Haswell</model><vendor>VIA</vendor></cpu>",
                "x: vendor \"VIA\" is not known");
    refused_xml("<cpu><model>Haswell</model><signature family='6'/></cpu>",
                "x: \"<signature family='6'/>\" lacks something, or has what "
                "cannot be");
    refused_xml("<domain/>", "x: no <cpudata> or <cpu> of libvirt's");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(libvirts_cpu_of_a_host_and_of_a_guest),
        cmocka_unit_test(libvirts_cpu_that_says_nothing),
    };
    char *dir = unit_dir();
    int failed;

    ctx = unit_ctx(dir);
    failed = cmocka_run_group_tests_name("cpu-xml", tests, NULL, NULL);
    xlx_ctx_free(ctx);
    unit_dir_remove(dir);
    return failed;
}

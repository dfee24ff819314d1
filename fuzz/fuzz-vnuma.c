/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes what reads topologies: the first byte says whether the rest is a
 * guest, a host, a config to look for faults in, or what Xen prints of memory.
 * Accepted input is written in all formats, and formats that we read ourselves
 * must come back the same.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "gen-calls.h"
#include "vnuma/vnuma.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libxl's parser of configs loses some bytes of a config that is wrong. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libxlutil";
}

static void export(const xlx_vnuma_topology *t, const xlx_vnuma_host *h,
                   xlx_vnuma_format format, xlx_vnuma_text *text)
{
    if (xlx__vnuma_export(NULL, t, h, format, text))
        check_message();
}

/* Written, read and written again it is the same text. */
static void check_guest(const xlx_vnuma_topology *t)
{
    static const xlx_vnuma_format formats[] = {
        XLX_VNUMA_FORMAT_JSON, XLX_VNUMA_FORMAT_LIBVIRT,
    };
    xlx_vnuma_topology again;
    xlx_vnuma_text first, second;
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(formats); i++) {
        xlx_vnuma_topology_init(&again);
        xlx_vnuma_text_init(&first);
        xlx_vnuma_text_init(&second);
        export(t, NULL, formats[i], &first);
        if (first.text && !xlx__vnuma_read(NULL, "again", first.text,
                                           &again)) {
            export(&again, NULL, formats[i], &second);
            if (!second.text ||
                (!i && strcmp(first.text, second.text)))
                abort();
        } else if (first.text && formats[i] == XLX_VNUMA_FORMAT_JSON) {
            abort();
        }
        xlx_vnuma_text_dispose(&first);
        xlx_vnuma_text_dispose(&second);
        xlx_vnuma_topology_dispose(&again);
    }
}

static void export_all(const xlx_vnuma_topology *t, const xlx_vnuma_host *h)
{
    xlx_vnuma_format format;
    xlx_vnuma_text text;

    for (format = XLX_VNUMA_FORMAT_JSON; format <= XLX_VNUMA_FORMAT_QEMU;
         format++) {
        xlx_vnuma_text_init(&text);
        export(t, h, format, &text);
        xlx_vnuma_text_dispose(&text);
    }
}

static void fuzz_guest(const char *text)
{
    xlx_vnuma_topology t;

    xlx_vnuma_topology_init(&t);
    if (xlx__vnuma_read(NULL, "fuzz", text, &t)) {
        check_message();
    } else {
        check_guest(&t);
        export_all(&t, NULL);
    }
    xlx_vnuma_topology_dispose(&t);
}

static void fuzz_host(const char *text)
{
    xlx_vnuma_plan_spec spec;
    xlx_vnuma_plan plan;
    xlx_vnuma_host h;

    xlx_vnuma_host_init(&h);
    xlx_vnuma_plan_init(&plan);
    xlx_vnuma_plan_spec_init(&spec);
    if (xlx__vnuma_host_read(NULL, "fuzz", text, &h)) {
        check_message();
        goto out;
    }
    spec.vcpus = 6;
    spec.memory = 600u << 20;
    spec.follow_host = h.num_nodes % 2;
    if (xlx__vnuma_plan_make(NULL, &spec, &h, &plan)) {
        check_message();
        export_all(NULL, &h);
    } else {
        check_guest(&plan.topology);
        export_all(&plan.topology, &h);
    }

 out:
    xlx_vnuma_plan_dispose(&plan);
    xlx_vnuma_host_dispose(&h);
}

static void fuzz_lint(const char *text)
{
    xlx_vnuma_findings f;
    int i;

    xlx_vnuma_findings_init(&f);
    if (xlx__vnuma_lint(NULL, "fuzz", text, NULL, &f))
        check_message();
    for (i = 0; i < f.num_findings; i++)
        if (!f.findings[i].rule || !f.findings[i].what)
            abort();
    xlx_vnuma_findings_dispose(&f);
}

static void fuzz_count(const char *text)
{
    xlx_vnuma_topology t;
    uint64_t sum = 0;
    int i;

    xlx_vnuma_topology_init(&t);
    if (xlx__vnuma_parse_count(text, 1, &t))
        check_message();
    for (i = 0; i < t.num_places; i++)
        sum += t.places[i].memory;
    if (sum % 4096)
        abort();
    xlx_vnuma_topology_dispose(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const kinds[])(const char *text) = {
        fuzz_guest, fuzz_host, fuzz_lint, fuzz_count,
    };
    char *text;

    if (!size)
        return 0;
    text = malloc(size);
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    kinds[*data % XLX__ARRAY_SIZE(kinds)](text);
    free(text);
    return 0;
}

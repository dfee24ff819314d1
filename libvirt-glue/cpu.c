/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU models by libvirt's calls.  The emulator that a client names is never
 * looked at, and even less run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker.h"
#include "xml.h"

/* ---- cpu-models --------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_name(char **names, uint32_t *num, const char *name)
{
    names[*num] = strdup(name);
    return names[(*num)++] ? 0 : -1;
}

/* Sorted, because the library's order is by vendor; each name once. */
static int collect_names(struct lv_worker *w, const xlx_cpu_models *list,
                         struct lv_connect_get_cpu_model_names_ret *ret)
{
    size_t most = 0;
    int i, j, r = 0;

    for (i = 0; i < list->num_models; i++)
        most += 1 + (size_t)list->models[i].num_aliases;
    ret->models = calloc(most + 1, sizeof(*ret->models));
    if (!ret->models)
        return lv_no_memory(w);
    for (i = 0; i < list->num_models && !r; i++) {
        r = add_name(ret->models, &ret->num_models, list->models[i].name);
        for (j = 0; j < list->models[i].num_aliases && !r; j++)
            r = add_name(ret->models, &ret->num_models,
                         list->models[i].aliases[j]);
    }
    if (r)
        return lv_no_memory(w);
    qsort(ret->models, ret->num_models, sizeof(*ret->models), by_name);
    return 0;
}

int lv_answer_connect_get_cpu_model_names(
    struct lv_worker *w,
    const struct lv_connect_get_cpu_model_names_args *args,
    struct lv_connect_get_cpu_model_names_ret *ret)
{
    xlx_cpu_models list;
    uint32_t i;
    int r, rc;

    if (lv_check_flags(w, args->flags, 0))
        return -1;
    if (strcmp(args->arch, "x86_64") && strcmp(args->arch, "i686"))
        return lv_fail(w, LV_INVALID_ARG, LV_FROM_CPU, "architecture "
                       "\"%.40s\": CPU models are known for x86_64 and i686",
                       args->arch);
    if (lv_ctx(w))
        return -1;
    xlx_cpu_models_init(&list);
    rc = xlx_cpu_model_list(w->ctx, &list);
    r = rc ? lv_fail_xlx(w, LV_FROM_CPU, rc) : collect_names(w, &list, ret);
    xlx_cpu_models_dispose(&list);
    if (r)
        return r;
    ret->ret = (int32_t)ret->num_models;
    if (args->need_results)
        return 0;
    for (i = 0; i < ret->num_models; i++)
        free(ret->models[i]);
    ret->num_models = 0;
    return 0;
}

/* ---- hypervisor-cpu-baseline -------------------------------------------- */

enum { EXPAND_FEATURES = 1, MIGRATABLE = 2 };

static int check_hypervisor(
    struct lv_worker *w,
    const struct lv_connect_baseline_hypervisor_cpu_args *args)
{
    if (args->arch && strcmp(args->arch, "x86_64") &&
        strcmp(args->arch, "i686"))
        return lv_fail(w, LV_INVALID_ARG, LV_FROM_CPU, "architecture "
                       "\"%.40s\": CPU models are known for x86_64 and i686",
                       args->arch);
    if (args->virttype && strcmp(args->virttype, "xen"))
        return lv_fail(w, LV_INVALID_ARG, LV_FROM_CPU, "virttype \"%.40s\": "
                       "this hypervisor is xen", args->virttype);
    if (!args->num_cpus)
        return lv_fail(w, LV_INVALID_ARG, LV_FROM_CPU, "%s", "no CPUs given");
    return 0;
}

/* Is it XML, and a processor? */
static int read_cpu(struct lv_worker *w, const char *text, uint32_t number,
                    xlx_cpu *cpu)
{
    xmlDoc *doc;
    char name[24];
    int rc;

    doc = lv_xml_parse(w, "(cpu_definition)", text, "cpu", LV_FROM_CPU);
    if (!doc)
        return -1;
    xmlFreeDoc(doc);
    snprintf(name, sizeof(name), "CPU %u", number);
    rc = xlx_cpu_read(w->ctx, name, text, cpu);
    if (!rc)
        return 0;
    return lv_fail(w, LV_INVALID_ARG, LV_FROM_CPU, "%s", xlx_error_get());
}

static int read_cpus(
    struct lv_worker *w,
    const struct lv_connect_baseline_hypervisor_cpu_args *args,
    xlx_cpus *cpus)
{
    uint32_t i;

    cpus->cpus = calloc(args->num_cpus, sizeof(*cpus->cpus));
    if (!cpus->cpus)
        return lv_no_memory(w);
    for (i = 0; i < args->num_cpus; i++) {
        xlx_cpu_init(&cpus->cpus[i]);
        cpus->num_cpus++;
        if (read_cpu(w, args->cpus[i], i + 1, &cpus->cpus[i]))
            return -1;
    }
    return 0;
}

static void put_text(struct lv_buffer *out, const char *text)
{
    lv_put(out, text, strlen(text));
}

/* A bit that nobody has a name for, 7d0[13], means nothing to libvirt. */
static void put_features(struct lv_buffer *out, const char *policy,
                         char *const *names, int num)
{
    int i;

    for (i = 0; i < num; i++) {
        if (strchr(names[i], '['))
            continue;
        put_text(out, "  <feature policy='");
        put_text(out, policy);
        put_text(out, "' name='");
        put_text(out, names[i]);
        put_text(out, "'/>\n");
    }
}

/* libvirt's words for the vendors that it knows. */
static const char *vendor_of(const char *vendor)
{
    static const char *const names[][2] = {
        { "GenuineIntel", "Intel" }, { "AuthenticAMD", "AMD" },
        { "HygonGenuine", "Hygon" },
    };
    unsigned int i;

    for (i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (!strcmp(vendor, names[i][0]))
            return names[i][1];
    return NULL;
}

/* All names are the library's own, without any character that XML minds. */
static int write_cpu(struct lv_worker *w, const xlx_cpu *cpu,
                     const xlx_cpu_detection *d, bool expand, char **xml_r)
{
    const char *vendor = vendor_of(d->vendor ? d->vendor : "");
    struct lv_buffer out = { 0 };

    if (!d->cpu_model || !*d->cpu_model)
        return lv_fail(w, LV_OPERATION_FAILED, LV_FROM_CPU, "%s", "there is "
                       "no model of the vendor of these CPUs");
    put_text(&out, "<cpu mode='custom' match='exact'>\n"
             "  <model fallback='forbid'>");
    put_text(&out, d->cpu_model);
    put_text(&out, "</model>\n");
    if (vendor) {
        put_text(&out, "  <vendor>");
        put_text(&out, vendor);
        put_text(&out, "</vendor>\n");
    }
    if (expand)
        put_features(&out, "require", cpu->features, cpu->num_features);
    else
        put_features(&out, "require", d->added, d->num_added);
    put_features(&out, "disable", d->removed, d->num_removed);
    put_text(&out, "</cpu>\n");
    lv_put(&out, "", 1);
    if (out.failed) {
        lv_buffer_free(&out);
        return lv_no_memory(w);
    }
    *xml_r = (char *)out.data;
    return 0;
}

int lv_answer_connect_baseline_hypervisor_cpu(
    struct lv_worker *w,
    const struct lv_connect_baseline_hypervisor_cpu_args *args,
    struct lv_connect_baseline_hypervisor_cpu_ret *ret)
{
    xlx_cpu_detection found;
    xlx_cpus cpus;
    xlx_cpu common;
    int rc = 0, r;

    if (lv_check_flags(w, args->flags, EXPAND_FEATURES | MIGRATABLE) ||
        check_hypervisor(w, args) || lv_ctx(w))
        return -1;
    xlx_cpus_init(&cpus);
    xlx_cpu_init(&common);
    xlx_cpu_detection_init(&found);
    r = read_cpus(w, args, &cpus);
    if (!r)
        rc = xlx_cpu_baseline(w->ctx, &cpus, &common);
    if (!r && !rc)
        rc = xlx_cpu_detect(w->ctx, &common, &found);
    if (!r && rc)
        r = lv_fail(w, LV_OPERATION_FAILED, LV_FROM_CPU, "%s",
                    xlx_error_get());
    if (!r)
        r = write_cpu(w, &common, &found, args->flags & EXPAND_FEATURES,
                      &ret->cpu);
    xlx_cpu_detection_dispose(&found);
    xlx_cpu_dispose(&common);
    xlx_cpus_dispose(&cpus);
    return r;
}

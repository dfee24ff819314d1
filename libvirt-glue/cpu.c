/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU models by libvirt's calls.
 */
#include <stdlib.h>
#include <string.h>

#include "worker.h"

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

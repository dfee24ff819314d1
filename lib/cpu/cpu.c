/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU models and processors for callers: between sets of bits and names, and
 * the calls that list, expand and read.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "gen-calls.h"

#define JSON_BYTES (1u << 20)
#define JSON_DEPTH 8

/* ---- names -------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Adds a copy of name to an array that has room for it. */
static int add_name(char **names, int *num, const char *name)
{
    names[*num] = strdup(name);
    if (!names[*num])
        return xlx__nomem();
    ++*num;
    return 0;
}

int xlx__cpu_names_of(const struct xlx__cpu_set *set, char ***names_r,
                      int *num_r)
{
    char buf[XLX__CPU_NAME_MAX];
    unsigned int bit;
    int rc = 0;

    *num_r = 0;
    *names_r = calloc(xlx__cpu_count(set) + 1, sizeof(**names_r));
    if (!*names_r)
        return xlx__nomem();
    for (bit = 0; !rc && bit < 32 * XLX__CPU_WORDS; bit++)
        if (xlx__cpu_has(set, bit))
            rc = add_name(*names_r, num_r, xlx__cpu_bit_name(bit, buf));
    qsort(*names_r, (size_t)*num_r, sizeof(**names_r), compare_names);
    return rc;
}

static int put_names(struct xlx__cpu_set *set, char *const *names, int num,
                     bool on, const char *what)
{
    int i, bit;

    for (i = 0; i < num; i++) {
        bit = xlx__cpu_find_canonical(xlx__text(names[i]));
        if (bit < 0)
            return xlx__error(ERROR_INVAL, "%s[%d]: no feature \"%s\"", what,
                              i, xlx__text(names[i]));
        xlx__cpu_put(set, (unsigned int)bit, on);
    }
    return 0;
}

static int set_vendor(struct xlx__cpu *cpu, const char *vendor)
{
    size_t len = strlen(vendor);

    if (len && len != 12)
        return xlx__error(ERROR_INVAL, "vendor: \"%s\" must have 12 letters",
                          vendor);
    memcpy(cpu->vendor, vendor, len + 1);
    return 0;
}

int xlx__cpu_from_public(const xlx_cpu *p, struct xlx__cpu *cpu_r)
{
    int rc;

    memset(cpu_r, 0, sizeof(*cpu_r));
    cpu_r->family = p->family;
    cpu_r->model = p->model;
    cpu_r->stepping = p->stepping;
    cpu_r->level = p->level;
    cpu_r->xlevel = p->xlevel;
    rc = set_vendor(cpu_r, xlx__text(p->vendor));
    if (rc)
        return rc;
    return put_names(&cpu_r->features, p->features, p->num_features, true,
                     "features");
}

int xlx__cpu_to_public(const struct xlx__cpu *cpu, xlx_cpu *p)
{
    int rc;

    p->family = cpu->family;
    p->model = cpu->model;
    p->stepping = cpu->stepping;
    p->level = cpu->level;
    p->xlevel = cpu->xlevel;
    rc = xlx__set_string(&p->vendor, cpu->vendor);
    if (!rc)
        rc = xlx__set_string(&p->note, cpu->note ? cpu->note : "");
    if (rc)
        return rc;
    rc = xlx__set_string(&p->cpu_model, cpu->from ?
                         xlx__cpu_string(cpu->from->name) : "");
    if (rc)
        return rc;
    return xlx__cpu_names_of(&cpu->features, &p->features, &p->num_features);
}

/* ---- models ------------------------------------------------------------- */

static int fill_model(size_t index, xlx_cpu_model *p)
{
    const struct xlx__cpu_model *m = xlx__cpu_models + index;
    const struct xlx__cpu_model_name *n = xlx__cpu_model_names;
    size_t i;
    int rc;

    p->family = m->family;
    p->model = m->model;
    p->stepping = m->stepping;
    p->level = m->level;
    p->xlevel = m->xlevel;
    rc = xlx__set_string(&p->name, xlx__cpu_string(m->name));
    if (!rc)
        rc = xlx__set_string(&p->vendor, xlx__cpu_string(m->vendor));
    if (rc)
        return rc;
    p->aliases = calloc(XLX__CPU_MODEL_NAMES, sizeof(*p->aliases));
    if (!p->aliases)
        return xlx__nomem();
    for (i = 0; !rc && i < XLX__CPU_MODEL_NAMES; i++)
        if (n[i].index == index && n[i].text != m->name)
            rc = add_name(p->aliases, &p->num_aliases,
                          xlx__cpu_string(n[i].text));
    return rc;
}

int xlx__cpu_model_list(xlx_ctx *ctx, xlx_cpu_models *list_r)
{
    int rc = 0;
    size_t i;

    (void)ctx;
    list_r->models = calloc(XLX__CPU_ALL_MODELS, sizeof(*list_r->models));
    if (!list_r->models)
        return xlx__nomem();
    for (i = 0; !rc && i < XLX__CPU_ALL_MODELS; i++) {
        xlx_cpu_model_init(&list_r->models[i]);
        list_r->num_models++;
        rc = fill_model(i, &list_r->models[i]);
    }
    return rc;
}

int xlx__cpu_expand(xlx_ctx *ctx, const char *expression, bool closed,
                    xlx_cpu *cpu_r)
{
    struct xlx__cpu cpu;
    int rc;

    (void)ctx;
    rc = xlx__cpu_parse_expression(expression, &cpu);
    if (rc)
        return rc;
    if (closed)
        xlx__cpu_close(&cpu.features);
    return xlx__cpu_to_public(&cpu, cpu_r);
}

/* ---- reading ------------------------------------------------------------ */

/* The model with what was added and removed: the processor again.  Its levels
 * are the model's, for a detection has none. */
static int from_detection(const xlx_cpu_detection *d, struct xlx__cpu *cpu_r)
{
    const struct xlx__cpu_model *m;
    const char *name = xlx__text(d->cpu_model);
    struct xlx__cpu_set *set = &cpu_r->features;
    int rc;

    memset(cpu_r, 0, sizeof(*cpu_r));
    if (*name) {
        rc = xlx__cpu_find_model(name, strlen(name), &m);
        if (rc)
            return rc;
        xlx__cpu_of_model(m, cpu_r);
    }
    cpu_r->family = d->family;
    cpu_r->model = d->model;
    cpu_r->stepping = d->stepping;
    rc = set_vendor(cpu_r, xlx__text(d->vendor));
    if (rc) return rc;
    rc = put_names(set, d->added, d->num_added, true, "added");
    if (rc) return rc;
    rc = put_names(set, d->unknown, d->num_unknown, true, "unknown");
    if (rc) return rc;
    return put_names(set, d->removed, d->num_removed, false, "removed");
}

static int from_pool(const xlx_cpu_pool *p, struct xlx__cpu *cpu_r)
{
    const xlx_cpu cpu = {
        .vendor = p->vendor, .family = p->family, .model = p->model,
        .stepping = p->stepping, .level = p->level, .xlevel = p->xlevel,
        .features = p->features, .num_features = p->num_features,
    };

    return xlx__cpu_from_public(&cpu, cpu_r);
}

static int read_json(const char *name, const char *text,
                     struct xlx__cpu *cpu_r)
{
    const struct xlx__json_limits limits = { JSON_BYTES, JSON_DEPTH };
    struct xlx__json_doc *doc = NULL;
    xlx_cpu_detection detection;
    const struct xlx__json *root;
    xlx_cpu_pool pool;
    xlx_cpu cpu;
    int rc;

    xlx_cpu_init(&cpu);
    xlx_cpu_pool_init(&pool);
    xlx_cpu_detection_init(&detection);
    rc = xlx__json_parse(name, text, strlen(text), &limits, &doc);
    if (rc)
        goto out;
    root = xlx__json_root(doc);
    if (xlx__json_member(root, "added")) {
        rc = xlx__cpu_detection_parse(root, &detection);
        if (!rc)
            rc = from_detection(&detection, cpu_r);
    } else if (xlx__json_member(root, "cpuid")) {
        rc = xlx__cpu_pool_parse(root, &pool);
        if (!rc)
            rc = from_pool(&pool, cpu_r);
    } else {
        rc = xlx__cpu_parse(root, &cpu);
        if (!rc)
            rc = xlx__cpu_from_public(&cpu, cpu_r);
    }

 out:
    xlx__json_free(doc);
    xlx_cpu_detection_dispose(&detection);
    xlx_cpu_pool_dispose(&pool);
    xlx_cpu_dispose(&cpu);
    return rc;
}

/* Leaves, a feature string or XML, in plain text. */
static int read_plain(const char *text, struct xlx__cpu *cpu_r)
{
    struct xlx__cpu_dump dump = { .leaves = NULL };
    int rc;

    if (xlx__cpu_is_featureset(text)) {
        memset(cpu_r, 0, sizeof(*cpu_r));
        cpu_r->note = "XAPI's words tell features only, and no vendor";
        rc = xlx__cpu_parse_featureset(text, &cpu_r->features);
        cpu_r->given = xlx__cpu_has(&cpu_r->features, XLX__CPU_HYPERVISOR);
        return rc;
    }
    if (*text == '<' || strstr(text, "<cpu"))
        return xlx__cpu_parse_xml(text, cpu_r);
    if (xlx__cpu_is_listing(text))
        return xlx__cpu_parse_listing(text, cpu_r);
    rc = xlx__cpu_dump_parse(text, &dump);
    if (!rc)
        rc = xlx__cpu_decode(&dump, cpu_r);
    xlx__cpu_dump_free(&dump);
    return rc;
}

int xlx__cpu_read_text(const char *name, const char *text,
                       struct xlx__cpu *cpu_r)
{
    char *plain;
    int rc;

    if (text[strspn(text, " \t\r\n")] == '{')
        return read_json(name, text, cpu_r);
    rc = xlx__cpu_plain_text(text, &plain);
    if (rc)
        return rc;
    rc = read_plain(plain, cpu_r);
    free(plain);
    return rc ? xlx__error_prefix(rc, "%s", name) : 0;
}

int xlx__cpu_read(xlx_ctx *ctx, const char *name, const char *text,
                  xlx_cpu *cpu_r)
{
    struct xlx__cpu cpu;
    int rc;

    (void)ctx;
    rc = xlx__cpu_read_text(name, text, &cpu);
    if (rc)
        return rc;
    cpu.from = xlx__cpu_nearest(&cpu);
    return xlx__cpu_to_public(&cpu, cpu_r);
}

int xlx__cpu_machine_read(xlx_ctx *ctx, xlx_cpu *cpu_r)
{
    struct xlx__cpu cpu;
    int rc;

    (void)ctx;
    rc = xlx__cpu_host(&cpu);
    if (rc)
        return rc;
    cpu.from = xlx__cpu_nearest(&cpu);
    return xlx__cpu_to_public(&cpu, cpu_r);
}

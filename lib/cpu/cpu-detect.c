/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which model a processor is nearest to, and what sets two processors apart.
 */
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "gen-calls.h"

/* A feature that the processor lacks is worse than one that the model lacks:
 * a guest may rely on it. */
#define REMOVED_COST 3
/* In a pool it is to be taken off by name. */
#define POOL_REMOVED_COST 10
/* No number of features outweighs a level of the x86-64 ABI. */
#define LEVEL_COST 1000
#define LEVELS 4

/* ---- detection ---------------------------------------------------------- */

static bool is_silicon(const struct xlx__cpu_silicon *s,
                       const struct xlx__cpu *cpu)
{
    return s->family == cpu->family &&
           (s->model < 0 || (uint32_t)s->model == cpu->model) &&
           s->first <= cpu->stepping && cpu->stepping <= s->last &&
           xlx__cpu_is_by(xlx__cpu_models + s->index, cpu->vendor);
}

/* The name of the model whose generation the processor is of, or NONE. */
static uint16_t generation(const struct xlx__cpu *cpu)
{
    size_t i;

    for (i = 0; i < XLX__CPU_SILICON; i++)
        if (is_silicon(xlx__cpu_silicon + i, cpu))
            return xlx__cpu_models[xlx__cpu_silicon[i].index].base;
    return XLX__CPU_NONE;
}

/* Many dumps have no MSRs.  One that the processor has, and that reads as all
 * zero, was not read, and tells nothing about the model. */
static void ignore_unread(const struct xlx__cpu *cpu,
                          struct xlx__cpu_set *removed)
{
    const unsigned int low = XLX__CPU_RDCTL_NO / 32;
    const unsigned int high = XLX__CPU_ITS_NO / 32;

    if (xlx__cpu_has(&cpu->features, XLX__CPU_ARCH_CAPABILITIES) &&
        !cpu->features.word[low] && !cpu->features.word[high])
        removed->word[low] = removed->word[high] = 0;
}

/* The largest level of the x86-64 ABI that the features include; 0 is that of
 * 32-bit processors.  levels: the models of that name, in order.  Intel's
 * processors show syscall to 64-bit programs only. */
static int abi_level(const struct xlx__cpu_model *levels,
                     const struct xlx__cpu_set *set)
{
    struct xlx__cpu_set missing;
    int n = 0;

    do {
        missing = xlx__cpu_without(&levels[n].features, set);
        xlx__cpu_put(&missing, XLX__CPU_SYSCALL, false);
    } while (!xlx__cpu_count(&missing) && ++n < LEVELS);
    return n;
}

/* A signature that a hypervisor makes up, or that is also of newer processors,
 * may be that of a generation with less than the processor has. */
static bool is_plausible(uint16_t base, const struct xlx__cpu_model *levels,
                         int level)
{
    const struct xlx__cpu_model *m;

    for (m = xlx__cpu_models; m < xlx__cpu_models + XLX__CPU_MODELS; m++)
        if (m->base == base && abi_level(levels, &m->features) >= level)
            return true;
    return false;
}

/* How a model is measured: in features other than silent ones. */
struct measure {
    const struct xlx__cpu_set *silent;
    unsigned int removed_cost;
};

/* How far the model is off. */
static unsigned int cost(const struct xlx__cpu *cpu,
                         const struct xlx__cpu_model *m,
                         const struct measure *by)
{
    struct xlx__cpu_set added, removed;

    added = xlx__cpu_without(&cpu->features, &m->features);
    removed = xlx__cpu_without(&m->features, &cpu->features);
    ignore_unread(cpu, &removed);
    added = xlx__cpu_without(&added, by->silent);
    removed = xlx__cpu_without(&removed, by->silent);
    return xlx__cpu_count(&added) +
           by->removed_cost * xlx__cpu_count(&removed);
}

/* Whether the vendor has models of the family. */
static bool has_family(const struct xlx__cpu *cpu)
{
    const struct xlx__cpu_model *m;

    for (m = xlx__cpu_models; m < xlx__cpu_models + XLX__CPU_MODELS; m++)
        if (m->family == cpu->family && xlx__cpu_is_by(m, cpu->vendor))
            return true;
    return false;
}

/* The name of the model with the nearest features, or NONE; of the family,
 * because others only resemble it.  How many faults have been found since, and
 * which firmware cures them, says nothing of the generation. */
static uint16_t resembling(const struct xlx__cpu *cpu,
                           const struct xlx__cpu_model *levels, int level,
                           const struct measure *by)
{
    const struct xlx__cpu_model *m;
    uint16_t base = XLX__CPU_NONE;
    bool family = has_family(cpu);
    unsigned int least = 0, c;
    int below;

    for (m = xlx__cpu_models; m < xlx__cpu_models + XLX__CPU_MODELS; m++) {
        below = level - abi_level(levels, &m->features);
        if (below < 0 || !xlx__cpu_is_by(m, cpu->vendor) ||
            (family && m->family != cpu->family))
            continue;
        c = cost(cpu, m, by) +
            LEVEL_COST * (unsigned int)below;
        if (base == XLX__CPU_NONE || c < least) {
            base = m->base;
            least = c;
        }
    }
    return base;
}

/* The version of that model that is nearest, of those not above the level. */
static const struct xlx__cpu_model *
best_version(const struct xlx__cpu *cpu, uint16_t base,
             const struct xlx__cpu_model *levels, int level,
             const struct measure *by)
{
    const struct xlx__cpu_model *m, *best = NULL;
    unsigned int least = 0, c;

    if (base == XLX__CPU_NONE)
        return level ? levels + level - 1 : NULL;
    for (m = xlx__cpu_models; m < xlx__cpu_models + XLX__CPU_MODELS; m++) {
        if (m->base != base || abi_level(levels, &m->features) > level)
            continue;
        c = cost(cpu, m, by);
        if (!best || c < least) {
            best = m;
            least = c;
        }
    }
    return best;
}

const struct xlx__cpu_model *xlx__cpu_nearest(const struct xlx__cpu *cpu)
{
    static const struct xlx__cpu_set none;
    const struct measure in_all = { &none, REMOVED_COST };
    const struct measure silently = { &xlx__cpu_mitigation, REMOVED_COST };
    const struct xlx__cpu_model *levels;
    uint16_t base = generation(cpu);
    int level;

    if (xlx__cpu_find_model("x86-64", 6, &levels))
        return NULL;
    level = abi_level(levels, &cpu->features);
    if (base != XLX__CPU_NONE && is_plausible(base, levels, level))
        return best_version(cpu, base, levels, LEVELS, &in_all);
    base = resembling(cpu, levels, level, &silently);
    return best_version(cpu, base, levels, level, &in_all);
}

const struct xlx__cpu_model *
xlx__cpu_nearest_of_pool(const struct xlx__cpu *cpu, bool one,
                         const struct xlx__cpu_set *silent)
{
    struct xlx__cpu_set without_cures = *silent;
    const struct measure in_all = { silent, REMOVED_COST };
    const struct measure silently = { &without_cures, POOL_REMOVED_COST };
    const struct xlx__cpu_model *levels;
    uint16_t base = one ? generation(cpu) : XLX__CPU_NONE;
    const struct xlx__cpu_model *m;
    unsigned int i;
    int level;

    if (xlx__cpu_find_model("x86-64", 6, &levels))
        return NULL;
    level = abi_level(levels, &cpu->features);
    if (base != XLX__CPU_NONE && is_plausible(base, levels, level)) {
        m = best_version(cpu, base, levels, level, &in_all);
        if (m)
            return m;
    }
    for (i = 0; i < XLX__CPU_WORDS; i++)
        without_cures.word[i] |= xlx__cpu_mitigation.word[i];
    base = resembling(cpu, levels, level, &silently);
    return best_version(cpu, base, levels, level, &in_all);
}

/* Divides a set into what has a name and what has none. */
static void divide(const struct xlx__cpu_set *set, struct xlx__cpu_set *named,
                   struct xlx__cpu_set *nameless)
{
    unsigned int bit;

    *named = *set;
    memset(nameless, 0, sizeof(*nameless));
    for (bit = 0; bit < 32 * XLX__CPU_WORDS; bit++) {
        if (xlx__cpu_canonical[bit] == XLX__CPU_NONE) {
            xlx__cpu_put(nameless, bit, xlx__cpu_has(set, bit));
            xlx__cpu_put(named, bit, false);
        }
    }
}

int xlx__cpu_detect(xlx_ctx *ctx, const xlx_cpu *p,
                    xlx_cpu_detection *detection_r)
{
    static const struct xlx__cpu_set none;
    struct xlx__cpu_set has, added, named, nameless, removed;
    const struct xlx__cpu_model *m;
    struct xlx__cpu cpu;
    int rc;

    (void)ctx;
    rc = xlx__cpu_from_public(p, &cpu);
    if (rc)
        return rc;
    m = xlx__cpu_nearest(&cpu);
    has = m ? m->features : none;
    added = xlx__cpu_without(&cpu.features, &has);
    removed = xlx__cpu_without(&has, &cpu.features);
    divide(&added, &named, &nameless);
    detection_r->family = cpu.family;
    detection_r->model = cpu.model;
    detection_r->stepping = cpu.stepping;
    rc = xlx__set_string(&detection_r->vendor, cpu.vendor);
    if (rc) return rc;
    rc = xlx__set_string(&detection_r->cpu_model,
                         m ? xlx__cpu_string(m->name) : "");
    if (rc) return rc;
    rc = xlx__cpu_names_of(&named, &detection_r->added,
                           &detection_r->num_added);
    if (rc) return rc;
    rc = xlx__cpu_names_of(&removed, &detection_r->removed,
                           &detection_r->num_removed);
    if (rc) return rc;
    return xlx__cpu_names_of(&nameless, &detection_r->unknown,
                             &detection_r->num_unknown);
}

/* ---- as an expression --------------------------------------------------- */

/* Writes ",+NAME" for each of a set. */
static void write_changes(FILE *f, char sign, const struct xlx__cpu_set *set)
{
    char buf[XLX__CPU_NAME_MAX];
    unsigned int bit;

    for (bit = 0; bit < 32 * XLX__CPU_WORDS; bit++)
        if (xlx__cpu_has(set, bit))
            fprintf(f, ",%c%s", sign, xlx__cpu_bit_clear_name(bit, buf));
}

int xlx__cpu_write_expression(const struct xlx__cpu_model *m,
                              const struct xlx__cpu_set *added,
                              const struct xlx__cpu_set *removed,
                              char **text_r)
{
    size_t len;
    FILE *f = open_memstream(text_r, &len);

    if (!f)
        return xlx__nomem();
    fputs(m ? xlx__cpu_string(m->name) : "host", f);
    write_changes(f, '+', added);
    write_changes(f, '-', removed);
    return fclose(f) ? xlx__nomem() : 0;
}

int xlx__cpu_express(xlx_ctx *ctx, const xlx_cpu *p,
                     xlx_cpu_expression *text_r)
{
    const struct xlx__cpu_model *m;
    struct xlx__cpu_set added, removed;
    struct xlx__cpu cpu;
    int rc;

    (void)ctx;
    rc = xlx__cpu_from_public(p, &cpu);
    if (rc)
        return rc;
    m = xlx__cpu_nearest(&cpu);
    if (!m)
        return xlx__error(ERROR_NOTFOUND, "no CPU model of vendor \"%s\"",
                          cpu.vendor);
    added = xlx__cpu_without(&cpu.features, &m->features);
    removed = xlx__cpu_without(&m->features, &cpu.features);
    return xlx__cpu_write_expression(m, &added, &removed,
                                     &text_r->expression);
}

/* ---- difference --------------------------------------------------------- */

int xlx__cpu_diff(xlx_ctx *ctx, const xlx_cpu *first, const xlx_cpu *second,
                  xlx_cpu_difference *difference_r)
{
    struct xlx__cpu_set only;
    struct xlx__cpu a, b;
    int rc;

    (void)ctx;
    rc = xlx__cpu_from_public(first, &a);
    if (!rc)
        rc = xlx__cpu_from_public(second, &b);
    if (rc)
        return rc;
    only = xlx__cpu_without(&a.features, &b.features);
    rc = xlx__cpu_names_of(&only, &difference_r->only_first,
                           &difference_r->num_only_first);
    if (rc)
        return rc;
    only = xlx__cpu_without(&b.features, &a.features);
    return xlx__cpu_names_of(&only, &difference_r->only_second,
                             &difference_r->num_only_second);
}

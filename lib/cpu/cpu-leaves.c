/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The answers of the CPUID instruction, and their meaning: signature, levels
 * and the registers that hold features.
 */
#include <stdlib.h>
#include <string.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "cpu/cpu.h"

/* A processor has a few hundred at most. */
#define RECORDS_MAX 4096
#define CENTAUR UINT32_C(0xc0000000)

void xlx__cpu_dump_free(struct xlx__cpu_dump *d)
{
    free(d->leaves);
    free(d->msrs);
    memset(d, 0, sizeof(*d));
}

static const struct xlx__cpu_leaf *find(const struct xlx__cpu_dump *d,
                                        uint32_t leaf, uint32_t subleaf)
{
    size_t i;

    for (i = 0; i < d->num_leaves; i++)
        if (d->leaves[i].leaf == leaf && d->leaves[i].subleaf == subleaf)
            return d->leaves + i;
    return NULL;
}

static int grow(void **array, size_t num, size_t size)
{
    void *larger;

    if (num >= RECORDS_MAX)
        return xlx__error(ERROR_INVAL, "more than %d leaves", RECORDS_MAX);
    if (num & (num - 1) && num)
        return 0;
    larger = reallocarray(*array, num ? 2 * num : 1, size);
    if (!larger)
        return xlx__nomem();
    *array = larger;
    return 0;
}

static uint32_t subleaf_of(const struct xlx__cpu_leaf *l)
{
    return l->subleaf == XLX__CPU_NO_SUBLEAF ? 0 : l->subleaf;
}

int xlx__cpu_dump_leaf(struct xlx__cpu_dump *d,
                       const struct xlx__cpu_leaf *leaf)
{
    void *array = d->leaves;
    int rc;

    if (find(d, leaf->leaf, subleaf_of(leaf)))
        return 0;
    rc = grow(&array, d->num_leaves, sizeof(*leaf));
    d->leaves = array;
    if (rc) return rc;
    d->leaves[d->num_leaves] = *leaf;
    d->leaves[d->num_leaves++].subleaf = subleaf_of(leaf);
    return 0;
}

static uint32_t word_subleaf(const struct xlx__cpu_word *w)
{
    return w->subleaf == XLX__CPU_NONE ? 0 : w->subleaf;
}

bool xlx__cpu_dump_meet(struct xlx__cpu_dump *d,
                        const struct xlx__cpu_leaf *leaf)
{
    const struct xlx__cpu_leaf *found = find(d, leaf->leaf, subleaf_of(leaf));
    struct xlx__cpu_leaf *l = found ? d->leaves + (found - d->leaves) : NULL;
    const struct xlx__cpu_word *w;
    uint32_t lacks, fixed;
    bool differ = false;
    unsigned int i;

    for (i = 0; l && i < XLX__CPU_WORDS; i++) {
        w = xlx__cpu_words + i;
        if (w->msr || w->index != l->leaf || word_subleaf(w) != l->subleaf)
            continue;
        fixed = xlx__cpu_fixed.word[i];
        lacks = (l->reg[w->reg] ^ leaf->reg[w->reg]) & ~fixed;
        differ = differ || lacks;
        l->reg[w->reg] &= leaf->reg[w->reg] | fixed;
    }
    return differ;
}

int xlx__cpu_dump_msr(struct xlx__cpu_dump *d, uint32_t index, uint64_t value)
{
    void *array = d->msrs;
    size_t i;
    int rc;

    for (i = 0; i < d->num_msrs; i++)
        if (d->msrs[i].index == index)
            return 0;
    rc = grow(&array, d->num_msrs, sizeof(*d->msrs));
    d->msrs = array;
    if (rc) return rc;
    d->msrs[d->num_msrs++] = (struct xlx__cpu_msr){ index, value };
    return 0;
}

static uint32_t reg_of(const struct xlx__cpu_dump *d, uint32_t leaf,
                       uint32_t subleaf, unsigned int reg)
{
    const struct xlx__cpu_leaf *l = find(d, leaf, subleaf);

    return l ? l->reg[reg] : 0;
}

/* Beyond the largest leaf Intel's processors repeat that of the largest. */
static bool exists(const struct xlx__cpu_dump *d, const struct xlx__cpu *cpu,
                   const struct xlx__cpu_word *w)
{
    if (w->index >= CENTAUR)
        return w->index <= reg_of(d, CENTAUR, 0, 0);
    if (w->index >= XLX__CPU_EXTENDED)
        return w->index <= cpu->xlevel;
    if ((w->index == 7 || w->index == 0x1e || w->index == 0x24) &&
        w->subleaf > reg_of(d, w->index, 0, 0))
        return false;
    return w->index <= cpu->level;
}

static uint32_t word_of(const struct xlx__cpu_dump *d,
                        const struct xlx__cpu *cpu,
                        const struct xlx__cpu_word *w)
{
    size_t i;

    if (w->msr) {
        for (i = 0; i < d->num_msrs; i++)
            if (d->msrs[i].index == w->index)
                return (uint32_t)(d->msrs[i].value >> (w->reg ? 32 : 0));
        return 0;
    }
    if (!exists(d, cpu, w))
        return 0;
    return reg_of(d, w->index, word_subleaf(w), w->reg);
}

static void decode_signature(uint32_t eax, struct xlx__cpu *cpu)
{
    uint32_t family = eax >> 8 & 15, model = eax >> 4 & 15;

    cpu->stepping = eax & 15;
    cpu->family = family == 15 ? family + (eax >> 20 & 255) : family;
    /* before family 6 these bits were reserved */
    cpu->model = family >= 6 ? model | (eax >> 12 & 0xf0) : model;
}

int xlx__cpu_decode(const struct xlx__cpu_dump *d, struct xlx__cpu *cpu_r)
{
    const struct xlx__cpu_leaf *basic = find(d, 0, 0);
    struct xlx__cpu cpu;
    unsigned int i;

    if (!basic || !find(d, 1, 0))
        return xlx__error(ERROR_INVAL, "no CPUID leaves 0 and 1");
    memset(&cpu, 0, sizeof(cpu));
    memcpy(cpu.vendor, &basic->reg[1], 4);
    memcpy(cpu.vendor + 4, &basic->reg[3], 4);
    memcpy(cpu.vendor + 8, &basic->reg[2], 4);
    for (i = 0; i < 12; i++)
        if (cpu.vendor[i] < ' ' || cpu.vendor[i] > '~')
            return xlx__error(ERROR_INVAL,
                              "CPUID leaf 0 does not hold a vendor's name");
    cpu.level = basic->reg[0];
    cpu.xlevel = reg_of(d, XLX__CPU_EXTENDED, 0, 0);
    if (cpu.xlevel < XLX__CPU_EXTENDED || cpu.xlevel >= CENTAUR)
        cpu.xlevel = 0;
    decode_signature(reg_of(d, 1, 0, 0), &cpu);
    for (i = 0; i < XLX__CPU_WORDS; i++)
        cpu.features.word[i] = word_of(d, &cpu, xlx__cpu_words + i);
    xlx__cpu_drop_copies(&cpu.features);
    cpu.bare = !xlx__cpu_has(&cpu.features, XLX__CPU_HYPERVISOR);
    if (d->mixed)
        cpu.note = "its processors differ: these are the features that all "
                   "of them have";
    *cpu_r = cpu;
    return 0;
}

/* ---- is it all? --------------------------------------------------------- */

/* Leaves without which a processor is not known, wherever they are missing. */
static bool is_essential(const struct xlx__cpu_word *w)
{
    return (w->index == 7 && !w->subleaf) ||
           w->index == XLX__CPU_EXTENDED + 1 ||
           w->index == XLX__CPU_EXTENDED + 8;
}

/* Whether the processor has features in such a leaf. */
static bool uses(const struct xlx__cpu *cpu, const struct xlx__cpu_word *w)
{
    if (w->index == 0xd)
        return xlx__cpu_has(&cpu->features, XLX__CPU_XSAVE);
    if (w->index == 0xf)
        return xlx__cpu_has(&cpu->features, XLX__CPU_PQM);
    return w->needs == XLX__CPU_NONE || xlx__cpu_has(&cpu->features, w->needs);
}

/* Some dumps leave out leaves of little interest, but go on after them. */
static bool goes_on_after(const struct xlx__cpu_dump *d, uint32_t leaf)
{
    size_t i;

    for (i = 0; i < d->num_leaves; i++)
        if (d->leaves[i].leaf > leaf)
            return true;
    return false;
}

/* 0xc0000000 is of Centaur and its heirs.  Every processor since SSE2 has the
 * others. */
static bool lacks_range(const struct xlx__cpu_dump *d,
                        const struct xlx__cpu *cpu, uint32_t leaf)
{
    return xlx__cpu_has(&cpu->features, XLX__CPU_SSE2) && !find(d, leaf, 0) &&
           (leaf != CENTAUR || !strcmp(cpu->vendor, "CentaurHauls") ||
            !strcmp(cpu->vendor, "  Shanghai  "));
}

/* Whether the dump lacks a leaf that it should have; the first such. */
static bool find_missing(const struct xlx__cpu_dump *d,
                         const struct xlx__cpu *cpu, struct xlx__cpu_word *at)
{
    const struct xlx__cpu_word *w = xlx__cpu_words;
    unsigned int i;

    at->index = UINT32_MAX;
    at->subleaf = 0;
    if (lacks_range(d, cpu, XLX__CPU_EXTENDED))
        at->index = XLX__CPU_EXTENDED;
    else if (lacks_range(d, cpu, CENTAUR))
        at->index = CENTAUR;
    for (i = 0; i < XLX__CPU_WORDS; i++, w++)
        if (w->index < at->index && !w->msr && exists(d, cpu, w) &&
            uses(cpu, w) && !find(d, w->index, word_subleaf(w)) &&
            (is_essential(w) || !goes_on_after(d, w->index)))
            *at = *w;
    return at->index != UINT32_MAX;
}

int xlx__cpu_dump_check_whole(const struct xlx__cpu_dump *d)
{
    struct xlx__cpu_word at = { .index = UINT32_MAX };
    struct xlx__cpu cpu;
    int rc;

    rc = xlx__cpu_decode(d, &cpu);
    if (rc || !find_missing(d, &cpu, &at))
        return rc;
    return xlx__error(ERROR_INVAL, "the dump is cut: leaf %#x:%u is missing, "
                      "though the processor must have it (if it has nothing "
                      "there, add the line, with zeros)", at.index,
                      word_subleaf(&at));
}

/* ---- this machine ------------------------------------------------------- */

#ifdef __x86_64__

static int host_leaf(struct xlx__cpu_dump *d, uint32_t leaf, uint32_t subleaf)
{
    struct xlx__cpu_leaf l = { leaf, subleaf, { 0, 0, 0, 0 } };

    if (!__get_cpuid_count(leaf, subleaf, &l.reg[0], &l.reg[1], &l.reg[2],
                           &l.reg[3]))
        return 0;
    return xlx__cpu_dump_leaf(d, &l);
}

int xlx__cpu_host(struct xlx__cpu *cpu_r)
{
    static const uint32_t first[] = { 0, 1, 7, XLX__CPU_EXTENDED, CENTAUR };
    struct xlx__cpu_dump d = { .leaves = NULL };
    const struct xlx__cpu_word *w;
    unsigned int i;
    int rc = 0;

    for (i = 0; !rc && i < XLX__ARRAY_SIZE(first); i++)
        rc = host_leaf(&d, first[i], 0);
    for (i = 0; !rc && i < XLX__CPU_WORDS; i++) {
        w = xlx__cpu_words + i;
        if (!w->msr)
            rc = host_leaf(&d, w->index, word_subleaf(w));
    }
    if (rc) goto out;
    rc = xlx__cpu_decode(&d, cpu_r);

 out:
    xlx__cpu_dump_free(&d);
    return rc;
}

#else

int xlx__cpu_host(struct xlx__cpu *cpu_r)
{
    (void)cpu_r;
    return xlx__error(ERROR_NI, "this machine is not an x86");
}

#endif

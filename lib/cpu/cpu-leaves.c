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

int xlx__cpu_dump_leaf(struct xlx__cpu_dump *d,
                       const struct xlx__cpu_leaf *leaf)
{
    void *array = d->leaves;
    int rc;

    if (find(d, leaf->leaf, leaf->subleaf))
        return 0;
    rc = grow(&array, d->num_leaves, sizeof(*leaf));
    d->leaves = array;
    if (rc) return rc;
    d->leaves[d->num_leaves++] = *leaf;
    return 0;
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
    return reg_of(d, w->index, w->subleaf == XLX__CPU_NONE ? 0 : w->subleaf,
                  w->reg);
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
    const unsigned int repeats = XLX__CPU_SYSCALL / 32;
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
    cpu.features.word[repeats] &=
        ~(cpu.features.word[XLX__CPU_FPU / 32] & XLX__CPU_REPEATED);
    *cpu_r = cpu;
    return 0;
}

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
    struct xlx__cpu_dump d = { NULL, 0, NULL, 0 };
    const struct xlx__cpu_word *w;
    unsigned int i;
    int rc = 0;

    for (i = 0; !rc && i < XLX__ARRAY_SIZE(first); i++)
        rc = host_leaf(&d, first[i], 0);
    for (i = 0; !rc && i < XLX__CPU_WORDS; i++) {
        w = xlx__cpu_words + i;
        if (!w->msr)
            rc = host_leaf(&d, w->index,
                           w->subleaf == XLX__CPU_NONE ? 0 : w->subleaf);
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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tables of CPU features and models, as gen-cpu.c has them from the IDL,
 * and how they are searched.  A set of features is the registers themselves:
 * the answer of a processor is a set as it is, with the bits that nobody has a
 * name for.  Nothing here allocates.
 */
#ifndef XLX_CPU_TABLE_H
#define XLX_CPU_TABLE_H

#include "core/internal.h"
#include "cpu/gen-cpu.h"

#define XLX__CPU_NONE 0xffff
/* The first extended leaf. */
#define XLX__CPU_EXTENDED UINT32_C(0x80000000)
/* The bits of 1.edx that AMD repeats in 0x80000001.edx, and Xen keeps alike.
 */
#define XLX__CPU_REPEATED UINT32_C(0x0183f3ff)
/* No guest of Xen has leaves beyond these. */
#define XLX__CPU_MAX_LEVEL 0xd
#define XLX__CPU_MAX_XLEVEL UINT32_C(0x80000021)
/* Those of Xen's featureset come first, in its order. */
#define XLX__CPU_XEN_WORDS (XLX__CPU_TSA_SQ_NO / 32 + 1)

struct xlx__cpu_set {
    uint32_t word[XLX__CPU_WORDS];
};

struct xlx__cpu_word {                  /* 32 bits that belong together */
    uint32_t index;                     /* leaf or MSR */
    uint16_t subleaf;                   /* or NONE */
    uint8_t reg;                        /* eax 0, ebx 1, ecx 2, edx 3 */
    uint8_t msr;                        /* then eax is its low half */
    uint16_t needs;                     /* the bit without which there is no
                                         * such register, or NONE */
    uint16_t name;
};

enum { XLX__CPU_QEMU = 1, XLX__CPU_XEN = 2, XLX__CPU_LIBVIRT = 4 };

struct xlx__cpu_name {                  /* sorted; '_' is '-' */
    uint16_t text;
    uint16_t bit;
    uint8_t dialects;                   /* who calls the bit so */
};

struct xlx__cpu_need {                  /* sorted by bit */
    uint16_t bit, needs;
};

struct xlx__cpu_release {               /* of Xen, on hardware that has all */
    uint16_t name;
    struct xlx__cpu_set usual[2];       /* what HVM and PV guests get */
    struct xlx__cpu_set most[2];        /* and what they can ask for */
};

struct xlx__cpu_model {                 /* a version of a model */
    uint16_t name, base, alias, vendor; /* alias: or NONE */
    uint16_t family, model;
    uint8_t stepping, version;
    uint32_t level, xlevel;
    struct xlx__cpu_set features;
};

struct xlx__cpu_model_name {            /* sorted */
    uint16_t text, index;
};

struct xlx__cpu_silicon {
    uint16_t index;                     /* of the first version */
    uint16_t family;
    int16_t model;                      /* -1: all */
    uint8_t first, last;                /* stepping */
};

struct xlx__cpu_collision {             /* ends with bit NONE */
    uint16_t bit;
    const char *meaning;                /* another one of its name */
};

extern const char xlx__cpu_text[];
extern const struct xlx__cpu_word xlx__cpu_words[XLX__CPU_WORDS];
extern const struct xlx__cpu_name xlx__cpu_names[XLX__CPU_NAMES];
extern const struct xlx__cpu_release
    xlx__cpu_releases[XLX__CPU_RELEASES];
extern const struct xlx__cpu_need xlx__cpu_needs[XLX__CPU_NEEDS];
extern const struct xlx__cpu_model xlx__cpu_models[XLX__CPU_ALL_MODELS];
extern const struct xlx__cpu_model_name
    xlx__cpu_model_names[XLX__CPU_MODEL_NAMES];
extern const struct xlx__cpu_silicon xlx__cpu_silicon[XLX__CPU_SILICON];
extern const struct xlx__cpu_collision xlx__cpu_collisions[];
/* The canonical name of each bit, or NONE. */
extern const uint16_t xlx__cpu_canonical[32 * XLX__CPU_WORDS];
/* Features that a pool has as soon as one of its hosts has them. */
extern const struct xlx__cpu_set xlx__cpu_accumulate;
/* Features about a fault of the processor or its cure. */
extern const struct xlx__cpu_set xlx__cpu_mitigation;
/* Features that Xen decides, whatever a config says. */
extern const struct xlx__cpu_set xlx__cpu_fixed;

static inline const char *xlx__cpu_string(uint16_t text)
{
    return text == XLX__CPU_NONE ? "" : xlx__cpu_text + text;
}

static inline bool xlx__cpu_has(const struct xlx__cpu_set *set,
                                unsigned int bit)
{
    return set->word[bit / 32] >> bit % 32 & 1;
}

static inline void xlx__cpu_put(struct xlx__cpu_set *set, unsigned int bit,
                                bool on)
{
    if (on)
        set->word[bit / 32] |= UINT32_C(1) << bit % 32;
    else
        set->word[bit / 32] &= ~(UINT32_C(1) << bit % 32);
}

unsigned int xlx__cpu_count(const struct xlx__cpu_set *set);
/* The features in a and not in b. */
struct xlx__cpu_set xlx__cpu_without(const struct xlx__cpu_set *a,
                                     const struct xlx__cpu_set *b);
/* Takes off registers that do not exist: those of an MSR or leaf whose own
 * feature is off. */
void xlx__cpu_drop_registers(struct xlx__cpu_set *set);
/* Takes off AMD's copies of 1.edx in 0x80000001.edx, which Xen also shows to
 * guests on Intel's processors: they are not features of their own. */
void xlx__cpu_drop_copies(struct xlx__cpu_set *set);
/* Takes off what is of no use without something that is off. */
void xlx__cpu_close(struct xlx__cpu_set *set);

/* "avx2", or "7d0[13]" when the bit has no name. */
#define XLX__CPU_NAME_MAX 32
const char *xlx__cpu_bit_name(unsigned int bit, char buf[XLX__CPU_NAME_MAX]);
/* The same, such that xlx__cpu_find_bit() takes it: "qemu:ssb-no" where the
 * bare name is ambiguous. */
const char *xlx__cpu_bit_clear_name(unsigned int bit,
                                    char buf[XLX__CPU_NAME_MAX]);
/* The bit of a name in anybody's words, with or without the prefix "qemu:",
 * "xen:" or "libvirt:", or of "7d0[13]".  An ambiguous name is refused with
 * all that it means, an unknown one with the nearest; neither message says
 * where the name was. */
int xlx__cpu_find_bit(const char *name, size_t len, unsigned int *bit_r);
/* Whether the name, which is also a bit's canonical one, means something else
 * to somebody without being a row for that. */
bool xlx__cpu_is_ambiguous(const struct xlx__cpu_name *row);
/* The bit of a canonical name, as JSON has it; -1 if it is none. */
int xlx__cpu_find_canonical(const char *name);
/* The model of a full name, a name without version, or an alias. */
int xlx__cpu_find_model(const char *name, size_t len,
                        const struct xlx__cpu_model **model_r);
/* Whether a model has that name. */
bool xlx__cpu_is_model(const char *name, size_t len);
/* Whether the processors of the model call their vendor so. */
bool xlx__cpu_is_by(const struct xlx__cpu_model *m, const char *vendor);

#endif

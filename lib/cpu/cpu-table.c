/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Searching the CPU tables, and sets of features.  Names are looked up by
 * bisection; a name that is not there is answered with the nearest that is.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu-table.h"

/* Longer texts are not names, and are not looked up. */
#define LOOKUP_MAX 40
#define ANY_DIALECT (XLX__CPU_QEMU | XLX__CPU_XEN | XLX__CPU_LIBVIRT)

/* ---- sets --------------------------------------------------------------- */

unsigned int xlx__cpu_count(const struct xlx__cpu_set *set)
{
    unsigned int i, n = 0;

    for (i = 0; i < XLX__CPU_WORDS; i++)
        n += (unsigned int)__builtin_popcount(set->word[i]);
    return n;
}

struct xlx__cpu_set xlx__cpu_without(const struct xlx__cpu_set *a,
                                     const struct xlx__cpu_set *b)
{
    struct xlx__cpu_set result;
    unsigned int i;

    for (i = 0; i < XLX__CPU_WORDS; i++)
        result.word[i] = a->word[i] & ~b->word[i];
    return result;
}

void xlx__cpu_drop_registers(struct xlx__cpu_set *set)
{
    unsigned int i, needs;

    for (i = 0; i < XLX__CPU_WORDS; i++) {
        needs = xlx__cpu_words[i].needs;
        if (needs != XLX__CPU_NONE && !xlx__cpu_has(set, needs))
            set->word[i] = 0;
    }
}

void xlx__cpu_drop_copies(struct xlx__cpu_set *set)
{
    set->word[XLX__CPU_SYSCALL / 32] &=
        ~(set->word[XLX__CPU_FPU / 32] & XLX__CPU_REPEATED);
}

/* To the fixed point; a pass that finds nothing is the last.  The needs have
 * no circles, so there are few. */
void xlx__cpu_close(struct xlx__cpu_set *set)
{
    const struct xlx__cpu_need *n;
    bool changed;

    do {
        changed = false;
        for (n = xlx__cpu_needs; n < xlx__cpu_needs + XLX__CPU_NEEDS; n++) {
            if (xlx__cpu_has(set, n->bit) && !xlx__cpu_has(set, n->needs)) {
                xlx__cpu_put(set, n->bit, false);
                changed = true;
            }
        }
    } while (changed);
    xlx__cpu_drop_registers(set);
}

/* ---- names -------------------------------------------------------------- */

/* Orders the len bytes of name after or before text, as strcmp(). */
static int order(const char *name, size_t len, uint16_t text)
{
    const char *other = xlx__cpu_string(text);
    int r = strncmp(name, other, len);

    return r ? r : other[len] ? -1 : 0;
}

/* The first row of that name and how many there are. */
static unsigned int rows_of(const char *folded, size_t len,
                            const struct xlx__cpu_name **first_r)
{
    size_t low = 0, high = XLX__CPU_NAMES, middle;
    unsigned int n = 0;

    while (low < high) {
        middle = (low + high) / 2;
        if (order(folded, len, xlx__cpu_names[middle].text) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    *first_r = xlx__cpu_names + low;
    while (low + n < XLX__CPU_NAMES &&
           !order(folded, len, xlx__cpu_names[low + n].text))
        n++;
    return n;
}

/* The other meaning of a name that has one row only. */
static const char *collision(unsigned int bit)
{
    const struct xlx__cpu_collision *c = xlx__cpu_collisions;

    while (c->bit != XLX__CPU_NONE && c->bit != bit)
        c++;
    return c->meaning;
}

/* Whether the row is about the canonical name of its bit. */
static bool is_canonical(const struct xlx__cpu_name *row)
{
    return row->text == xlx__cpu_canonical[row->bit];
}

bool xlx__cpu_is_ambiguous(const struct xlx__cpu_name *row)
{
    return is_canonical(row) && collision(row->bit);
}

const char *xlx__cpu_bit_name(unsigned int bit, char buf[XLX__CPU_NAME_MAX])
{
    const struct xlx__cpu_word *w = xlx__cpu_words + bit / 32;

    if (xlx__cpu_canonical[bit] != XLX__CPU_NONE)
        return xlx__cpu_string(xlx__cpu_canonical[bit]);
    snprintf(buf, XLX__CPU_NAME_MAX, "%s[%u]", xlx__cpu_string(w->name),
             bit % 32);
    return buf;
}

static const char *dialect(const struct xlx__cpu_name *row)
{
    return row->dialects & XLX__CPU_QEMU ? "qemu" :
           row->dialects & XLX__CPU_XEN ? "xen" : "libvirt";
}

const char *xlx__cpu_bit_clear_name(unsigned int bit,
                                    char buf[XLX__CPU_NAME_MAX])
{
    const char *name = xlx__cpu_bit_name(bit, buf);
    const struct xlx__cpu_name *row;
    unsigned int n, i;

    if (name == buf)
        return name;
    n = rows_of(name, strlen(name), &row);
    if (n == 1 && !xlx__cpu_is_ambiguous(row))
        return name;
    for (i = 0; i < n; i++) {
        if (row[i].bit == bit) {
            snprintf(buf, XLX__CPU_NAME_MAX, "%s:%s", dialect(row + i), name);
            return buf;
        }
    }
    return name;
}

/* "CPUID 7:0 edx bit 13" */
static const char *place(unsigned int bit, char buf[48])
{
    const struct xlx__cpu_word *w = xlx__cpu_words + bit / 32;
    const char *reg = &"eax\0ebx\0ecx\0edx"[4 * w->reg];

    if (w->msr)
        snprintf(buf, 48, "MSR %#x bit %u", w->index,
                 bit % 32 + (w->reg ? 32 : 0));
    else if (w->subleaf == XLX__CPU_NONE)
        snprintf(buf, 48, "CPUID %#x %s bit %u", w->index, reg, bit % 32);
    else
        snprintf(buf, 48, "CPUID %#x:%u %s bit %u", w->index, w->subleaf, reg,
                 bit % 32);
    return buf;
}

static int ambiguous(const struct xlx__cpu_name *row, unsigned int n)
{
    char where[48], other[48];
    const char *name = xlx__cpu_string(row->text);

    if (n == 1)
        return xlx__error(ERROR_INVAL,
                          "\"%s\" is ambiguous: %s:%s is %s, but %s", name,
                          dialect(row), name, place(row->bit, where),
                          collision(row->bit));
    return xlx__error(ERROR_INVAL,
                      "\"%s\" is ambiguous: %s:%s is %s, %s:%s is %s", name,
                      dialect(row), name, place(row->bit, where),
                      dialect(row + 1), name, place(row[1].bit, other));
}

/* ---- the nearest name --------------------------------------------------- */

/* How many letters are to be changed, added or taken off; case is free. */
static unsigned int distance(const char *a, size_t len, const char *b)
{
    unsigned int row[LOOKUP_MAX + 1], left, up, corner;
    size_t i, j, b_len = strlen(b);

    for (i = 0; i <= len; i++)
        row[i] = (unsigned int)i;
    for (j = 0; j < b_len; j++) {
        corner = row[0];
        row[0] = left = (unsigned int)j + 1;
        for (i = 1; i <= len; i++) {
            up = row[i];
            if (tolower((unsigned char)a[i - 1]) !=
                tolower((unsigned char)b[j]))
                corner = 1 + (corner < up ? corner : up < left ? up : left);
            if (corner > left + 1)
                corner = left + 1;
            if (corner > up + 1)
                corner = up + 1;
            row[i] = left = corner;
            corner = up;
        }
    }
    return row[len];
}

struct nearest {
    const char *name;
    size_t len;
    const char *found;
    unsigned int distance;
};

static void consider(struct nearest *n, uint16_t text)
{
    unsigned int d = distance(n->name, n->len, xlx__cpu_string(text));

    if (d < n->distance) {
        n->distance = d;
        n->found = xlx__cpu_string(text);
    }
}

/* what: "feature" or "CPU model"; list: of what there is */
static int unknown(const char *what, struct nearest *n, const char *list)
{
    if (n->found && *n->found)
        return xlx__error(ERROR_NOTFOUND,
                          "no %s \"%.*s\"; did you mean \"%s\"?", what,
                          (int)n->len, n->name, n->found);
    return xlx__error(ERROR_NOTFOUND, "no %s \"%.*s\"; %s", what,
                      (int)n->len, n->name, list);
}

static struct nearest nearest_to(const char *name, size_t len)
{
    struct nearest n = { name, len, NULL, (unsigned int)len / 3 + 2 };

    return n;
}

/* ---- look-ups ----------------------------------------------------------- */

/* "7d0[13]"; -1 if it is none */
static int raw_bit(const char *name, size_t len)
{
    unsigned int i, bit = 0;
    size_t at = 0;

    while (at < len && name[at] != '[')
        at++;
    for (i = 0; i < XLX__CPU_WORDS; i++)
        if (!order(name, at, xlx__cpu_words[i].name))
            break;
    if (at == len || i == XLX__CPU_WORDS || at + 3 > len || at + 4 < len)
        return -1;
    while (++at < len - 1) {
        if (name[at] < '0' || name[at] > '9')
            return -1;
        bit = 10 * bit + (unsigned int)(name[at] - '0');
    }
    if (name[at] != ']' || bit > 31)
        return -1;
    return (int)(32 * i + bit);
}

/* Takes a prefix off; the dialects in which the rest is to be looked up. */
static uint8_t take_dialect(const char **name, size_t *len)
{
    static const struct { const char *prefix; uint8_t dialect; } all[] = {
        { "qemu:", XLX__CPU_QEMU },
        { "xen:", XLX__CPU_XEN },
        { "libvirt:", XLX__CPU_LIBVIRT },
    };
    size_t i, n;

    for (i = 0; i < XLX__ARRAY_SIZE(all); i++) {
        n = strlen(all[i].prefix);
        if (*len > n && !strncmp(*name, all[i].prefix, n)) {
            *name += n;
            *len -= n;
            return all[i].dialect;
        }
    }
    return ANY_DIALECT;
}

int xlx__cpu_find_bit(const char *name, size_t len, unsigned int *bit_r)
{
    const struct xlx__cpu_name *row;
    struct nearest nearest;
    char folded[LOOKUP_MAX];
    unsigned int n, i, matches = 0, bit = 0;
    uint8_t dialects = take_dialect(&name, &len);
    int raw = raw_bit(name, len);

    if (raw >= 0) {
        *bit_r = (unsigned int)raw;
        return 0;
    }
    if (len > sizeof(folded))
        return xlx__error(ERROR_NOTFOUND, "no feature \"%.*s...\"",
                          (int)sizeof(folded), name);
    for (i = 0; i < len; i++)
        folded[i] = name[i] == '_' ? '-' : name[i];
    n = rows_of(folded, len, &row);
    for (i = 0; i < n; i++) {
        if (row[i].dialects & dialects) {
            matches++;
            bit = row[i].bit;
        }
    }
    if (matches > 1 || (dialects == ANY_DIALECT && n == 1 &&
                        xlx__cpu_is_ambiguous(row)))
        return ambiguous(row, n);
    if (!matches) {
        nearest = nearest_to(name, len);
        for (i = 0; i < XLX__CPU_NAMES; i++)
            if (xlx__cpu_names[i].dialects & dialects)
                consider(&nearest, xlx__cpu_names[i].text);
        return unknown("feature", &nearest, "write the name as QEMU does");
    }
    *bit_r = bit;
    return 0;
}

int xlx__cpu_find_canonical(const char *name)
{
    const struct xlx__cpu_name *row;
    char folded[LOOKUP_MAX];
    size_t len = strlen(name), i;
    unsigned int n;

    if (len > sizeof(folded))
        return -1;
    for (i = 0; i < len; i++)
        folded[i] = name[i] == '_' ? '-' : name[i];
    n = rows_of(folded, len, &row);
    for (i = 0; i < n; i++)
        if (!strcmp(xlx__cpu_string(xlx__cpu_canonical[row[i].bit]), name))
            return row[i].bit;
    return raw_bit(name, len);
}

/* NULL when there is none of that name. */
static const struct xlx__cpu_model *model_of(const char *name, size_t len)
{
    size_t low = 0, high = XLX__CPU_MODEL_NAMES, middle;
    int r;

    while (low < high) {
        middle = (low + high) / 2;
        r = order(name, len, xlx__cpu_model_names[middle].text);
        if (!r)
            return xlx__cpu_models + xlx__cpu_model_names[middle].index;
        if (r > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool xlx__cpu_is_model(const char *name, size_t len)
{
    return model_of(name, len);
}

/* Makers' and shops' names of generations, and the nearest model. */
static const struct { const char *name, *model; } known_as[] = {
    { "AlderLake", "Skylake-Client-v4" },
    { "RaptorLake", "Skylake-Client-v4" },
    { "MeteorLake", "Skylake-Client-v4" },
    { "ArrowLake", "Skylake-Client-v4" },
    { "LunarLake", "Skylake-Client-v4" }, { "KabyLake", "Skylake-Client" },
    { "CoffeeLake", "Skylake-Client" }, { "CometLake", "Skylake-Client" },
    { "WhiskeyLake", "Skylake-Client" }, { "AmberLake", "Skylake-Client" },
    { "Skylake", "Skylake-Client" }, { "Cascadelake", "Cascadelake-Server" },
    { "Icelake", "Icelake-Server" }, { "TigerLake", "Icelake-Server" },
    { "RocketLake", "Icelake-Server" }, { "EmeraldRapids", "SapphireRapids" },
    { "JasperLake", "Snowridge" }, { "ElkhartLake", "Snowridge" },
    { "GeminiLake", "Denverton" }, { "ApolloLake", "Denverton" },
    { "KnightsLanding", "KnightsMill" }, { "Bulldozer", "Opteron_G4" },
    { "Piledriver", "Opteron_G5" }, { "Barcelona", "Opteron_G3" },
    { "Naples", "EPYC" }, { "Rome", "EPYC-Rome" }, { "Milan", "EPYC-Milan" },
    { "Genoa", "EPYC-Genoa" }, { "Bergamo", "EPYC-Genoa" },
    { "Turin", "EPYC-Turin" }, { "Zen", "EPYC" }, { "Zen1", "EPYC" },
    { "Zen2", "EPYC-Rome" }, { "Zen3", "EPYC-Milan" },
    { "Zen4", "EPYC-Genoa" }, { "Zen5", "EPYC-Turin" },
    { "Ryzen", "EPYC" }, { "Lujiazui", "x86-64-v2" },
};

/* Blanks, dashes and underscores between the words of a name do not count. */
static bool is_called(const char *name, size_t len, const char *other)
{
    for (; len; name++, len--) {
        if (strchr(" -_", *name))
            continue;
        if (tolower((unsigned char)*name) != tolower((unsigned char)*other))
            return false;
        other++;
    }
    return !*other;
}

static const char *nearest_known(const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(known_as); i++)
        if (is_called(name, len, known_as[i].name))
            return known_as[i].model;
    return NULL;
}

int xlx__cpu_find_model(const char *name, size_t len,
                        const struct xlx__cpu_model **model_r)
{
    static const char libvirt[] = "libvirt:";
    const struct xlx__cpu_model *found = model_of(name, len);
    size_t i, prefix = sizeof(libvirt) - 1;
    struct nearest nearest;

    /* where libvirt has no model of its own, it means QEMU's */
    if (!found && len > prefix && !strncmp(name, libvirt, prefix))
        found = model_of(name + prefix, len - prefix);
    if (found) {
        *model_r = found;
        return 0;
    }
    if (len > LOOKUP_MAX)
        return xlx__error(ERROR_NOTFOUND, "no CPU model \"%.*s...\"",
                          LOOKUP_MAX, name);
    if (nearest_known(name, len))
        return xlx__error(ERROR_NOTFOUND, "no CPU model \"%.*s\": the nearest "
                          "is \"%s\"", (int)len, name,
                          nearest_known(name, len));
    nearest = nearest_to(name, len);
    for (i = 0; i < XLX__CPU_MODEL_NAMES; i++)
        consider(&nearest, xlx__cpu_model_names[i].text);
    return unknown("CPU model", &nearest, "xl cpu-models lists them");
}

bool xlx__cpu_is_by(const struct xlx__cpu_model *m, const char *vendor)
{
    const char *name = xlx__cpu_string(m->vendor);

    /* Zhaoxin sells the same processors under either name. */
    return !strcmp(name, vendor) || (!strcmp(name, "CentaurHauls") &&
                                     !strcmp(vendor, "  Shanghai  "));
}

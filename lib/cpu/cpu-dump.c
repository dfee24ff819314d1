/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dumps of CPUID leaves as text.  Every program has its own form, but all are
 * lines with hexadecimal numbers, and the beginning of a line tells its kind.
 * The first processor of a dump of many is taken, because a leaf that was seen
 * stays.
 */
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "cpu/cpu.h"

#define TEXT_MAX (4u << 20)
#define NO_SUBLEAF UINT32_C(0xffffffff)

/* ---- what lines are made of; each moves *s behind what it took ---------- */

static void skip_blanks(const char **s)
{
    while (**s == ' ' || **s == '\t')
        (*s)++;
}

/* Whether it is there, after blanks. */
static bool take(const char **s, const char *expected)
{
    skip_blanks(s);
    return xlx__take_word(s, expected);
}

/* Hexadecimal digits, with 0x or without, that fit into bits. */
static bool take_hex(const char **s, unsigned int bits, uint64_t *value_r)
{
    skip_blanks(s);
    return xlx__take_hex(s, UINT64_MAX >> (64 - bits), value_r);
}

static bool take_hex32(const char **s, uint32_t *value_r)
{
    uint64_t value;

    if (!take_hex(s, 32, &value))
        return false;
    *value_r = (uint32_t)value;
    return true;
}

/* Four numbers with that character between. */
static bool take_registers(const char **s, const char *between,
                           uint32_t reg[4])
{
    unsigned int i;

    for (i = 0; i < 4; i++)
        if ((i && !take(s, between)) || !take_hex32(s, &reg[i]))
            return false;
    return true;
}

/* ---- lines: 1 is a line of that form, 0 is none, or an ERROR_* ---------- */

static int add_leaf(struct xlx__cpu_dump *d, struct xlx__cpu_leaf *l)
{
    int rc;

    if (l->subleaf == NO_SUBLEAF)
        l->subleaf = 0;
    rc = xlx__cpu_dump_leaf(d, l);
    return rc ? rc : 1;
}

static int add_msr(struct xlx__cpu_dump *d, uint32_t index, uint64_t value)
{
    int rc = xlx__cpu_dump_msr(d, index, value);

    return rc ? rc : 1;
}

/* cpuid -r: "0x00000007 0x00: eax=0x... ebx=0x... ecx=0x... edx=0x..." */
static int cpuid_line(const char *s, struct xlx__cpu_dump *d)
{
    static const char *const names[] = { "eax=", "ebx=", "ecx=", "edx=" };
    struct xlx__cpu_leaf l;
    unsigned int i;

    if (!take_hex32(&s, &l.leaf) || !take_hex32(&s, &l.subleaf) ||
        !take(&s, ":"))
        return 0;
    for (i = 0; i < 4; i++)
        if (!take(&s, names[i]) || !take_hex32(&s, &l.reg[i]))
            return 0;
    return add_leaf(d, &l);
}

/* xen-cpuid -p: "00000007:00000000 -> eax:ebx:ecx:edx", "0000010a -> value" */
static int xen_line(const char *s, struct xlx__cpu_dump *d)
{
    struct xlx__cpu_leaf l;
    uint64_t value;

    if (!take_hex32(&s, &l.leaf))
        return 0;
    if (take(&s, "->"))
        return take_hex(&s, 64, &value) ? add_msr(d, l.leaf, value) : 0;
    if (!take(&s, ":") || !take_hex32(&s, &l.subleaf) || !take(&s, "->") ||
        !take_registers(&s, ":", l.reg))
        return 0;
    return add_leaf(d, &l);
}

/* The sub-leaf of a line without one, which is in order.  Where leaf 0xd has
 * no sub-leaf 1, some left it out: the one after has the size of a register
 * file in eax. */
static uint32_t subleaf_after(const struct xlx__cpu_dump *d,
                              const struct xlx__cpu_leaf *l)
{
    const struct xlx__cpu_leaf *last;

    if (!d->num_leaves)
        return 0;
    last = d->leaves + d->num_leaves - 1;
    if (last->leaf != l->leaf)
        return 0;
    return last->subleaf + (l->leaf == 0xd && !last->subleaf &&
                            l->reg[0] >= 0x100 ? 2 : 1);
}

/* "CPUID 00000007: eax-ebx-ecx-edx [SL 00]"; some have no colon, and blanks
 * between the numbers.  Older ones have sub-leaves in order, unnumbered. */
static int plain_line(const char *s, struct xlx__cpu_dump *d)
{
    struct xlx__cpu_leaf l = { 0, 0, { 0, 0, 0, 0 } };
    const char *numbers;

    if (!take(&s, "CPUID") || !take_hex32(&s, &l.leaf))
        return 0;
    take(&s, ":");
    numbers = s;
    if (!take_registers(&s, "-", l.reg)) {
        s = numbers;
        if (!take_registers(&s, "", l.reg))
            return 0;
    }
    if (!take(&s, "[SL"))
        l.subleaf = subleaf_after(d, &l);
    else if (!take_hex32(&s, &l.subleaf))
        return 0;
    return add_leaf(d, &l);
}

/* "MSR 0000010A: 0000-0000-0000-00EB", digits in groups or together */
static int msr_line(const char *s, struct xlx__cpu_dump *d)
{
    uint64_t value, group;
    uint32_t index;

    if (!take(&s, "MSR") || !take_hex32(&s, &index) || !take(&s, ":") ||
        !take_hex(&s, 64, &value))
        return 0;
    while (take(&s, "-")) {
        if (value >> 48 || !take_hex(&s, 16, &group))
            return 0;
        value = value << 16 | group;
    }
    return add_msr(d, index, value);
}

static int line_of_any_form(const char *s, struct xlx__cpu_dump *d)
{
    int r = cpuid_line(s, d);

    if (!r)
        r = xen_line(s, d);
    if (!r)
        r = plain_line(s, d);
    if (!r)
        r = msr_line(s, d);
    return r;
}

/* "Raw policy: 33 leaves": from the second one on it is another processor. */
static bool begins_policy(const char *s)
{
    const char *end = strpbrk(s, ":\n");

    return end && *end == ':' && end - s >= 7 &&
           !strncmp(end - 7, " policy", 7);
}

/* "CPU 0:", "[ MSR Registers / Logical CPU #0 ]": which processor the lines
 * that follow are of; -1 if it is no such title. */
static int64_t begins_cpu(const char *s)
{
    const char *at = memmem(s, strcspn(s, "\r\n"), "CPU #", 5);
    uint32_t number;

    if (at && (at += 5, xlx__take_u32(&at, UINT32_MAX, &number)))
        return number;
    if (!xlx__take_word(&s, "CPU ") ||
        !xlx__take_u32(&s, UINT32_MAX, &number))
        return -1;
    return *s == ':' || *s == '\n' ? (int64_t)number : -1;
}

static int parse_lines(const char *text, struct xlx__cpu_dump *d)
{
    int64_t first = -1, cpu = -1, number;
    const char *s = text;
    int r = 0, policies = 0;

    while (s && r >= 0) {
        policies += begins_policy(s);
        if (policies > 1)
            break;
        number = begins_cpu(s);
        if (number >= 0)
            cpu = number;
        if (first < 0)
            first = cpu;
        /* MSRs may come after the leaves of all processors */
        r = cpu == first ? line_of_any_form(s, d) : msr_line(s, d);
        s = strpbrk(s, "\r\n");
        if (s)
            s += strspn(s, "\r\n");
    }
    return r < 0 ? r : 0;
}

int xlx__cpu_dump_policy(const char *text, const char *title,
                         struct xlx__cpu_dump *d)
{
    size_t len = strlen(title);
    const char *s = text;

    while (s && (strncmp(s, title, len) || strncmp(s + len, " policy:", 8))) {
        s = strchr(s, '\n');
        if (s)
            s++;
    }
    return s ? parse_lines(s, d) : ERROR_NOTFOUND;
}

/* ---- XAPI's feature strings --------------------------------------------- */

bool xlx__cpu_is_featureset(const char *text)
{
    size_t word;

    text += strspn(text, " \t\r\n");
    word = strspn(text, "0123456789abcdefABCDEF");
    return word == 8 && text[8] == '-';
}

/* The registers in the order of ours.  There may be fewer; of those that are
 * not known yet none may have anything. */
int xlx__cpu_parse_featureset(const char *text, struct xlx__cpu_set *set_r)
{
    const char *s = text + strspn(text, " \t\r\n");
    struct xlx__cpu_set set = { { 0 } };
    unsigned int n = 0;
    uint32_t word;

    do {
        if (strspn(s, "0123456789abcdefABCDEF") != 8 || !take_hex32(&s, &word))
            return xlx__error(ERROR_INVAL, "word %u of the features is not "
                              "of 8 hexadecimal digits", n);
        if (n < XLX__CPU_XEN_WORDS)
            set.word[n] = word;
        else if (word)
            return xlx__error(ERROR_INVAL, "word %u of the features is %#x: "
                              "it is newer than libxlx", n, word);
        n++;
    } while (*s++ == '-');
    s--;
    if (s[strspn(s, " \t\r\n")])
        return xlx__error(ERROR_INVAL, "more than words behind word %u of the "
                          "features", n - 1);
    *set_r = set;
    return 0;
}

/* ---- the whole ---------------------------------------------------------- */

int xlx__cpu_dump_parse(const char *text, struct xlx__cpu_dump *d)
{
    int rc;

    if (strlen(text) > TEXT_MAX)
        return xlx__error(ERROR_INVAL, "more than %u bytes", TEXT_MAX);
    rc = parse_lines(text, d);
    if (rc)
        return rc;
    if (!d->num_leaves)
        return xlx__error(ERROR_INVAL, "no CPUID leaves in a form that is "
                          "known: cpuid -r, xen-cpuid -p, cpudata XML, lines "
                          "\"CPUID LEAF: EAX-EBX-ECX-EDX\"");
    return 0;
}

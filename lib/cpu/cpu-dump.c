/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dumps of CPUID leaves as text.  Every program has its own form, but all are
 * lines with hexadecimal numbers, and the beginning of a line tells its kind.
 * The first processor of a dump of many is taken, with the features that all
 * of them have.  Nothing is taken from a dump that is cut.
 */
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "cpu/cpu.h"

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

/* ---- lines, each of a form or of none ----------------------------------- */

struct line {
    bool is_leaf, is_msr, is_xen;
    struct xlx__cpu_leaf leaf;
    struct xlx__cpu_msr msr;
};

/* cpuid -r: "0x00000007 0x00: eax=0x... ebx=0x... ecx=0x... edx=0x..." */
static bool cpuid_line(const char *s, struct line *l)
{
    static const char *const names[] = { "eax=", "ebx=", "ecx=", "edx=" };
    unsigned int i;

    if (!take_hex32(&s, &l->leaf.leaf) || !take_hex32(&s, &l->leaf.subleaf) ||
        !take(&s, ":"))
        return false;
    for (i = 0; i < 4; i++)
        if (!take(&s, names[i]) || !take_hex32(&s, &l->leaf.reg[i]))
            return false;
    return l->is_leaf = true;
}

/* xen-cpuid -p: "00000007:00000000 -> eax:ebx:ecx:edx", "0000010a -> value" */
static bool xen_line(const char *s, struct line *l)
{
    if (!take_hex32(&s, &l->leaf.leaf))
        return false;
    l->msr.index = l->leaf.leaf;
    if (take(&s, "->"))
        return l->is_xen = l->is_msr = take_hex(&s, 64, &l->msr.value);
    return l->is_xen = l->is_leaf =
           take(&s, ":") && take_hex32(&s, &l->leaf.subleaf) &&
           take(&s, "->") && take_registers(&s, ":", l->leaf.reg);
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
static bool plain_line(const char *s, const struct xlx__cpu_dump *d,
                       struct line *l)
{
    const char *numbers;

    if (!take(&s, "CPUID") || !take_hex32(&s, &l->leaf.leaf))
        return false;
    take(&s, ":");
    numbers = s;
    if (!take_registers(&s, "-", l->leaf.reg)) {
        s = numbers;
        if (!take_registers(&s, "", l->leaf.reg))
            return false;
    }
    if (!take(&s, "[SL"))
        l->leaf.subleaf = subleaf_after(d, &l->leaf);
    else if (!take_hex32(&s, &l->leaf.subleaf))
        return false;
    return l->is_leaf = true;
}

/* "MSR 0000010A: 0000-0000-0000-00EB", digits in groups or together */
static bool msr_line(const char *s, struct line *l)
{
    uint64_t group;

    if (!take(&s, "MSR") || !take_hex32(&s, &l->msr.index) ||
        !take(&s, ":") || !take_hex(&s, 64, &l->msr.value))
        return false;
    while (take(&s, "-")) {
        if (l->msr.value >> 48 || !take_hex(&s, 16, &group))
            return false;
        l->msr.value = l->msr.value << 16 | group;
    }
    return l->is_msr = true;
}

static bool line_of_any_form(const char *s, const struct xlx__cpu_dump *d,
                             struct line *l)
{
    memset(l, 0, sizeof(*l));
    return cpuid_line(s, l) || xen_line(s, l) || plain_line(s, d, l) ||
           msr_line(s, l);
}

/* Whether the text ends in a number that has lost digits. */
static bool is_cut(const char *s, bool is_msr)
{
    const char *end = s + strcspn(s, "\n");
    size_t digits = 0, dashes = 0;

    if (*end)
        return false;
    while (end > s && strchr("0123456789abcdefABCDEF", end[-1])) {
        end--;
        digits++;
    }
    for (; *s; s++)
        dashes += *s == '-';
    return digits && digits != (is_msr ? 16 : 8) &&
           !(is_msr && digits == 4 && dashes == 3);
}

/* ---- titles ------------------------------------------------------------- */

/* "Raw policy: 33 leaves, 2 MSRs": the length of its name, or 0. */
static size_t begins_policy(const char *s)
{
    const char *end = strpbrk(s, ":\n");

    return end && *end == ':' && end - s >= 7 &&
           !strncmp(end - 7, " policy", 7) ? (size_t)(end - s - 7) : 0;
}

/* "CPU 0:", "CPU:", "[ MSR Registers / Logical CPU #0 ]": which processor the
 * lines that follow are of; -1 if it is no such title. */
static int64_t begins_cpu(const char *s)
{
    const char *at = memmem(s, strcspn(s, "\n"), "CPU #", 5);
    uint32_t number;

    if (at && (at += 5, xlx__take_u32(&at, UINT32_MAX, &number)))
        return number;
    if (!strncmp(s, "CPU:", 4) && (!s[4] || s[4] == '\n'))
        return 0;
    if (!xlx__take_word(&s, "CPU ") ||
        !xlx__take_u32(&s, UINT32_MAX, &number))
        return -1;
    return *s == ':' || *s == '\n' ? (int64_t)number : -1;
}

static int several(void)
{
    return xlx__error(ERROR_INVAL, "holds more than one host, and they "
                      "differ: put each into a file of its own");
}

/* ---- all lines ---------------------------------------------------------- */

struct reading {
    struct xlx__cpu_dump *d;
    int64_t first, cpu;                 /* processors; -1: without a title */
    bool again;                         /* the first is there a second time */
    bool xen, in_msrs;                  /* xen-cpuid leaves out empty leaves */
    const char *policy;                 /* its title, or NULL */
    uint32_t num_msrs, promised;        /* of MSRs */
};

/* "Raw policy: 33 leaves, 2 MSRs" */
static void enter_policy(struct reading *r, const char *s)
{
    const char *at = strchr(s, ':') + 1;
    uint32_t leaves;

    r->policy = s;
    skip_blanks(&at);
    if (!xlx__take_u32(&at, UINT32_MAX, &leaves) ||
        !take(&at, "leaves,") || (skip_blanks(&at), false) ||
        !xlx__take_u32(&at, UINT32_MAX, &r->promised))
        r->promised = 0;
}

static void enter_cpu(struct reading *r, int64_t number)
{
    if (number < 0)
        return;
    if (r->first < 0 && !r->d->num_leaves)
        r->first = number;
    else if (number == r->first && r->d->num_leaves)
        r->again = true;
    r->cpu = number;
}

/* A guest may be on any of the processors. */
static int put_leaf(struct reading *r, const struct xlx__cpu_leaf *leaf)
{
    if (r->cpu == r->first && !r->again)
        return xlx__cpu_dump_leaf(r->d, leaf);
    if (!xlx__cpu_dump_meet(r->d, leaf))
        return 0;
    if (r->cpu == r->first)
        return several();
    r->d->mixed = true;
    return 0;
}

static int put_line(struct reading *r, const char *s)
{
    struct line l;

    if (!line_of_any_form(s, r->d, &l)) {
        r->in_msrs = r->in_msrs || !strncmp(s, "MSRs:", 5);
        return 0;
    }
    if (is_cut(s, l.is_msr))
        return xlx__error(ERROR_INVAL, "is cut in its last line, \"%.40s\"",
                          s);
    r->xen = r->xen || l.is_xen;
    r->num_msrs += l.is_msr;
    /* MSRs may come after the leaves of all processors */
    return l.is_msr ? xlx__cpu_dump_msr(r->d, l.msr.index, l.msr.value)
                    : put_leaf(r, &l.leaf);
}

/* The same policy again is of another host. */
static int check_alone(const char *title, const char *rest)
{
    size_t len = begins_policy(title);

    for (; rest; rest = strchr(rest, '\n'), rest += !!rest)
        if (begins_policy(rest) == len && !strncmp(title, rest, len))
            return several();
    return 0;
}

static int check_xen(const struct reading *r)
{
    size_t len = r->policy ? begins_policy(r->policy) : 0;

    if (r->num_msrs >= r->promised && (r->in_msrs || r->promised))
        return 0;
    return xlx__error(ERROR_INVAL, "the \"%.*s\" policy of xen-cpuid is cut "
                      "before its MSRs end", len < 40 ? (int)len : 40,
                      len ? r->policy : "");
}

static int parse_lines(const char *text, struct xlx__cpu_dump *d)
{
    struct reading r = { .d = d, .first = -1, .cpu = -1 };
    const char *s = text;
    int rc = 0;

    while (s && !rc) {
        if (begins_policy(s)) {
            if (r.policy)
                break;
            enter_policy(&r, s);
        }
        enter_cpu(&r, begins_cpu(s));
        rc = put_line(&r, s);
        s = strchr(s, '\n');
        s += !!s;
    }
    if (!rc && r.policy)
        rc = check_alone(r.policy, s);
    if (!rc && (r.xen || r.policy))
        rc = check_xen(&r);
    d->sparse = r.xen;
    return rc;
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

/* Words that were there before Xen gave its own, in XAPI's order of that time:
 * 1.ecx, 1.edx, 0x80000001.ecx and .edx. */
#define OLD_WORDS 4
/* Xen runs on no processor without fpu, de, tsc, msr, pae, cx8. */
#define ALL_HAVE UINT32_C(0x175)

static bool is_edx(uint32_t word, uint32_t extended)
{
    return (word & ALL_HAVE) == ALL_HAVE && extended >> XLX__CPU_LM % 32 & 1;
}

static int put_in_order(struct xlx__cpu_set *set, unsigned int num)
{
    const struct xlx__cpu_set old = *set;
    const uint32_t *w = old.word;

    if (num < OLD_WORDS)
        return xlx__error(ERROR_INVAL, "%u words of features are not all: "
                          "XAPI has 4 or more", num);
    if (num == OLD_WORDS && !is_edx(w[0], w[2])) {
        if (!is_edx(w[1], w[3]))
            return xlx__error(ERROR_INVAL, "4 words of features, and it does "
                              "not show in which order they are");
        set->word[0] = w[1];
        set->word[1] = w[0];
        set->word[2] = w[3];
        set->word[3] = w[2];
    }
    xlx__cpu_drop_copies(set);
    return 0;
}

/* The registers in the order of ours.  There may be fewer; of those that are
 * not known yet none may have anything. */
int xlx__cpu_parse_featureset(const char *text, struct xlx__cpu_set *set_r)
{
    const char *s = text + strspn(text, " \t\r\n");
    struct xlx__cpu_set set = { { 0 } };
    unsigned int n = 0;
    uint32_t word;
    int rc;

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
    rc = put_in_order(&set, n);
    if (!rc)
        *set_r = set;
    return rc;
}

/* ---- the whole ---------------------------------------------------------- */

int xlx__cpu_dump_parse(const char *text, struct xlx__cpu_dump *d)
{
    int rc;

    if (strlen(text) > XLX__CPU_TEXT_MAX)
        return xlx__error(ERROR_INVAL, "more than %u bytes: one processor is "
                          "enough, as cpuid -r -1 prints it",
                          XLX__CPU_TEXT_MAX);
    rc = parse_lines(text, d);
    if (rc)
        return rc;
    if (!d->num_leaves)
        return xlx__error(ERROR_INVAL, "no CPUID leaves in a form that is "
                          "known: cpuid -r, xen-cpuid -p, cpudata XML, lines "
                          "\"CPUID LEAF: EAX-EBX-ECX-EDX\"");
    return d->sparse ? 0 : xlx__cpu_dump_check_whole(d);
}

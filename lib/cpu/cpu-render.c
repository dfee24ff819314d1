/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A CPU expression in the words of stock xl and of libvirt, once cpu-plan.c
 * has decided which words are needed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu-plan.h"
#include "gen-calls.h"


/* The letter for a bit; 'x' is none. */
static char state_of(const struct xlx__cpu_plan *p, unsigned int bit)
{
    return xlx__cpu_has(&p->wish.host, bit) ? 'k' :
           xlx__cpu_has(&p->on, bit) ? '1' :
           xlx__cpu_has(&p->off, bit) ? '0' : 'x';
}

/* ---- the string --------------------------------------------------------- */

static bool libxl_takes(const char *name)
{
    libxl_cpuid_policy_list list = NULL;
    char *item = xlx__printf("%s=0", name);
    bool takes = item && !libxl_cpuid_parse_config(&list, item);

    free(item);
    libxl_cpuid_dispose(&list);
    return takes;
}

/* Releases know different names: the installed one is asked.  NULL if it has
 * none. */
static const char *libxl_name(unsigned int bit)
{
    const struct xlx__cpu_name *n;
    const char *name, *found = NULL;

    for (n = xlx__cpu_names; n < xlx__cpu_names + XLX__CPU_NAMES; n++) {
        if (n->bit != bit || !(n->dialects & XLX__CPU_XEN) ||
            xlx__cpu_is_ambiguous(n))
            continue;
        name = xlx__cpu_string(n->text);
        if ((!found || n->text == xlx__cpu_canonical[bit]) &&
            libxl_takes(name))
            found = name;
    }
    return found;
}

static int unsaid(unsigned int bit, const char *where)
{
    char buf[XLX__CPU_NAME_MAX];

    return xlx__error(ERROR_INVAL, "\"%s\" cannot be written %s: use xl's "
                                   "list",
                      xlx__cpu_bit_name(bit, buf), where);
}

static int write_bit(FILE *f, unsigned int bit, char state)
{
    const char *name = libxl_name(bit);

    if (!name)
        return unsaid(bit, "by a name of the installed libxl");
    fprintf(f, ",%s=%c", name, state);
    return 0;
}

/* libxl's names of other things than features. */
static void write_numbers(FILE *f, const struct xlx__cpu_wish *w)
{
    const struct { const char *name; uint32_t value; } all[] = {
        { "maxleaf", w->level }, { "family", w->family },
        { "model", w->number }, { "stepping", w->stepping },
    };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(all); i++)
        if (all[i].value != XLX__CPU_UNSAID)
            fprintf(f, ",%s=%u", all[i].name, all[i].value);
}

static int write_names(FILE *f, const struct xlx__cpu_plan *p)
{
    unsigned int bit;
    int rc = 0;

    fputs("host", f);
    write_numbers(f, &p->wish);
    for (bit = 0; !rc && bit < BITS; bit++)
        if (state_of(p, bit) != 'x')
            rc = write_bit(f, bit, state_of(p, bit));
    return rc;
}

/* libvirt's driver for Xen takes only this mode, reads "force" and "disable"
 * as 1 and 0, and hands libxl any name that it has no translation for, such
 * as libxl's.  vmx or svm is how it spells nestedhvm. */
static int write_libvirt(FILE *f, const struct xlx__cpu_plan *p)
{
    const struct xlx__cpu_wish *w = &p->wish;
    unsigned int bit;
    char state;

    if ((w->level & w->family & w->number & w->stepping) != XLX__CPU_UNSAID)
        return xlx__error(ERROR_INVAL, "libvirt's XML has no place for level, "
                          "family, model and stepping");
    fputs("<cpu mode='host-passthrough'>\n", f);
    if (p->nested)
        fprintf(f, "  <feature policy='require' name='%s'/>\n",
                xlx__cpu_has(&p->guest, XLX__CPU_VMX) ? "vmx" : "svm");
    for (bit = 0; bit < BITS; bit++) {
        state = state_of(p, bit);
        if (state == 'x')
            continue;
        if (state == 'k' || !libxl_name(bit))
            return unsaid(bit, "in libvirt's XML");
        fprintf(f, "  <feature policy='%s' name='%s'/>\n",
                state == '1' ? "force" : "disable", libxl_name(bit));
    }
    fputs("</cpu>\n", f);
    return 0;
}

static int write_string(const struct xlx__cpu_plan *p, xlx_cpu_form form,
                        char **string_r)
{
    size_t len;
    FILE *f;
    int rc;

    if (p->cap_basic || p->cap_seven || p->cap_extended)
        return xlx__error(ERROR_INVAL, "the hosts have different leaves, and "
                          "only the list form can take one off");
    f = open_memstream(string_r, &len);
    if (!f)
        return xlx__nomem();
    rc = form == XLX_CPU_FORM_LIBVIRT ? write_libvirt(f, p)
                                      : write_names(f, p);
    if (fclose(f) && !rc)
        rc = xlx__nomem();
    return rc;
}

/* ---- the list ----------------------------------------------------------- */

static void write_number(FILE *f, const char *reg, uint32_t value)
{
    int i;

    fprintf(f, "%s=", reg);
    for (i = 31; i >= 0; i--)
        fputc(value >> i & 1 ? '1' : '0', f);
}

/* A white list: what the guest is not to have is off on every host, even if
 * no host has it yet. */
static void write_word(FILE *f, const struct xlx__cpu_plan *p, unsigned int i)
{
    const char *reg = &"eax\0ebx\0ecx\0edx"[4 * xlx__cpu_words[i].reg];
    uint32_t free_to = p->guest.word[i] | p->kept.word[i];
    char state;
    int bit;

    if (i == XLX__CPU_SYSCALL / 32)
        free_to |= XLX__CPU_REPEATED;
    fprintf(f, "%s=", reg);
    for (bit = 31; bit >= 0; bit--) {
        state = state_of(p, 32 * i + (unsigned int)bit);
        fputc(state == 'x' && !(free_to >> bit & 1) ? '0' : state, f);
    }
}

/* Whether it is the first word of its leaf. */
static bool opens_leaf(unsigned int i)
{
    const struct xlx__cpu_word *w = xlx__cpu_words + i, *v;

    for (v = xlx__cpu_words; v < w; v++)
        if (!v->msr && v->index == w->index && v->subleaf == w->subleaf)
            return false;
    return !w->msr;
}

/* The largest sub-leaf of 7 that all hosts have. */
static uint32_t common_subleaf(const struct xlx__cpu_plan *p)
{
    struct xlx__cpu_word w = { .index = 7, .subleaf = 1 };

    while (xlx__cpu_all_have_leaf(p, &w))
        w.subleaf++;
    return w.subleaf - 1u;
}

static void write_leaf(FILE *f, const struct xlx__cpu_plan *p,
                       unsigned int first)
{
    const struct xlx__cpu_word *w = xlx__cpu_words + first, *v;
    const char *between = "";
    unsigned int i;

    fprintf(f, "%#x", w->index);
    if (w->subleaf != XLX__CPU_NONE)
        fprintf(f, ",%u", w->subleaf);
    fputc(':', f);
    if (w->index == 7 && !w->subleaf && p->cap_seven) {
        write_number(f, "eax", common_subleaf(p));
        between = ",";
    }
    for (i = first; i < XEN_WORDS; i++) {
        v = xlx__cpu_words + i;
        if (v->msr || v->index != w->index || v->subleaf != w->subleaf)
            continue;
        fputs(between, f);
        write_word(f, p, i);
        between = ",";
    }
}

static int add_leaf(xlx_cpu_config *c, const struct xlx__cpu_plan *p,
                    unsigned int i)
{
    size_t len;
    FILE *f = open_memstream(&c->list[c->num_list], &len);

    if (!f)
        return xlx__nomem();
    c->num_list++;
    write_leaf(f, p, i);
    return fclose(f) ? xlx__nomem() : 0;
}

static int add_cap(xlx_cpu_config *c, const struct xlx__cpu_plan *p,
                   bool extended)
{
    char *line = NULL;
    uint32_t least = UINT32_MAX, level;
    size_t len;
    FILE *f;
    int i;

    for (i = 0; i < p->num_hosts; i++) {
        level = extended ? p->hosts[i].usual.xlevel : p->hosts[i].usual.level;
        if (level < least)
            least = level;
    }
    f = open_memstream(&line, &len);
    if (!f)
        return xlx__nomem();
    fprintf(f, "%#x:", extended ? XLX__CPU_EXTENDED : 0);
    write_number(f, "eax", least);
    if (fclose(f))
        return xlx__nomem();
    c->list[c->num_list++] = line;
    return 0;
}

/* Whether the bit of an MSR must be named: those of one that is off fall with
 * it. */
static bool needs_msr(const struct xlx__cpu_plan *p, unsigned int bit)
{
    const struct xlx__cpu_word *w = xlx__cpu_words + bit / 32;

    return w->msr && state_of(p, bit) != 'x' &&
           xlx__cpu_has(&p->guest, w->needs);
}

static int write_list(const struct xlx__cpu_plan *p, xlx_cpu_config *c)
{
    char buf[XLX__CPU_NAME_MAX];
    unsigned int i, bit;
    int rc = 0;

    for (bit = 0; bit < BITS; bit++)
        if (needs_msr(p, bit))
            return xlx__error(ERROR_INVAL, "the list form has no place for "
                              "\"%s\": use the string",
                              xlx__cpu_bit_name(bit, buf));
    c->list = calloc(XEN_WORDS + 2, sizeof(*c->list));
    if (!c->list)
        return xlx__nomem();
    if (p->cap_basic)
        rc = add_cap(c, p, false);
    if (!rc && p->cap_extended)
        rc = add_cap(c, p, true);
    for (i = 0; !rc && i < XEN_WORDS; i++)
        if (opens_leaf(i) && xlx__cpu_all_have_leaf(p, xlx__cpu_words + i))
            rc = add_leaf(c, p, i);
    return rc;
}

/* ---- the call ----------------------------------------------------------- */

/* Wishes that will not be met: for want of hardware, or because it is not
 * Xen's way. */
static int tell_missing(const struct xlx__cpu_plan *p, xlx_cpu_config *c)
{
    struct xlx__cpu_set lacking, skipped, given;
    unsigned int i;
    int rc;

    rc = xlx__cpu_xen_gives(p->hosts[0].pv, false, &given);
    if (rc)
        return rc;
    lacking = xlx__cpu_wished(&p->wish);
    for (i = 0; i < XLX__CPU_WORDS; i++)
        lacking.word[i] |= p->unspoken.word[i];
    if (p->wish.model)
        xlx__cpu_close(&lacking);
    lacking = xlx__cpu_without(&lacking, &p->unspoken);
    lacking = xlx__cpu_without(&lacking, &p->guest);
    lacking = xlx__cpu_without(&lacking, &xlx__cpu_fixed);
    skipped = lacking;
    for (i = 0; i < XLX__CPU_WORDS; i++)
        lacking.word[i] &= p->wish.on.word[i] |
                           (given.word[i] & ~xlx__cpu_mitigation.word[i]);
    skipped = xlx__cpu_without(&skipped, &lacking);
    rc = xlx__cpu_names_of(&lacking, &c->lacking, &c->num_lacking);
    if (rc) return rc;
    return xlx__cpu_names_of(&skipped, &c->skipped, &c->num_skipped);
}

int xlx__cpu_render(xlx_ctx *ctx, const char *expression,
                    const xlx_cpu_hosts *hosts, xlx_cpu_form form,
                    xlx_cpu_config *config_r)
{
    struct xlx__cpu_plan p;
    int rc;

    (void)ctx;
    rc = xlx__cpu_plan_make(expression, hosts, form == XLX_CPU_FORM_LIST, &p);
    if (rc)
        goto out;
    config_r->nested = p.nested;
    rc = xlx__cpu_names_of(&p.guest, &config_r->features,
                           &config_r->num_features);
    if (!rc)
        rc = tell_missing(&p, config_r);
    if (!rc && form == XLX_CPU_FORM_LIST)
        rc = write_list(&p, config_r);
    else if (!rc && form != XLX_CPU_FORM_NONE)
        rc = write_string(&p, form, &config_r->string);

 out:
    free(p.hosts);
    return rc;
}

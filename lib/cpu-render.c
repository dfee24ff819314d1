/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A CPU expression in the words of stock xl.  libxl knows no models: a config
 * changes, feature by feature, what Xen gives a guest on the host where it is
 * built, and one word about a leaf that the host has not is the end of the
 * guest.  So first it is decided what the guest will have on all hosts, then
 * what must be said for that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "gen-calls.h"

/* There are no others in a guest's policy. */
#define XEN_WORDS XLX__CPU_XEN_WORDS
#define BITS (32 * XEN_WORDS)
#define EXTENDED UINT32_C(0x80000000)
/* AMD's 0x80000001 edx repeats these of leaf 1, and Xen keeps them alike. */
#define REPEATED UINT32_C(0x0183f3ff)

struct plan {
    struct xlx__cpu_wish wish;
    struct xlx__cpu_xen *hosts;
    int num_hosts;
    struct xlx__cpu_set kept;           /* left alone, as Xen has it */
    struct xlx__cpu_set guest;          /* what the guest will have */
    struct xlx__cpu_set off, on;        /* what is to be said for it */
    bool cap_basic, cap_seven, cap_extended;
    bool nested;                        /* has vmx or svm */
};

/* ---- what the guest will have ------------------------------------------- */

static bool within_one(const struct xlx__cpu_set *a,
                       const struct xlx__cpu_set *b, unsigned int *bit_r)
{
    for (*bit_r = 0; *bit_r < 32 * XLX__CPU_WORDS; ++*bit_r)
        if (xlx__cpu_has(a, *bit_r) && xlx__cpu_has(b, *bit_r))
            return true;
    return false;
}

/* The features that the expression stands for, on a processor that has all;
 * those of "host" are not known here, and only named ones remain. */
static struct xlx__cpu_set wished(const struct xlx__cpu_wish *w)
{
    struct xlx__cpu_set set = w->on;
    unsigned int i;

    for (i = 0; w->model && i < XLX__CPU_WORDS; i++)
        set.word[i] |= w->model->features.word[i];
    return xlx__cpu_without(&set, &w->off);
}

/* A feature asked for by name must not fall with one that is off. */
static int check_needs(const struct plan *p)
{
    char a[XLX__CPU_NAME_MAX], b[XLX__CPU_NAME_MAX];
    struct xlx__cpu_set set = wished(&p->wish);
    const struct xlx__cpu_need *n;

    for (n = xlx__cpu_needs; n < xlx__cpu_needs + XLX__CPU_NEEDS; n++) {
        if (!xlx__cpu_has(&p->wish.on, n->bit) ||
            (p->wish.model ? xlx__cpu_has(&set, n->needs)
                           : !xlx__cpu_has(&p->wish.off, n->needs)))
            continue;
        return xlx__error(ERROR_INVAL, "CPU expression: \"%s\" is of no use "
                          "without \"%s\", which is off: put that on, too",
                          xlx__cpu_bit_name(n->bit, a),
                          xlx__cpu_bit_name(n->needs, b));
    }
    return 0;
}

static int check_fixed(const struct plan *p)
{
    char buf[XLX__CPU_NAME_MAX];
    unsigned int bit;

    if (within_one(&p->wish.on, &xlx__cpu_fixed, &bit) ||
        within_one(&p->wish.off, &xlx__cpu_fixed, &bit))
        return xlx__error(ERROR_INVAL, "CPU expression: Xen alone decides "
                          "about \"%s\": leave it out",
                          xlx__cpu_bit_name(bit, buf));
    return 0;
}

/* A guest has its host's vendor.  Models such as kvm64, which are no product,
 * are for any. */
static int check_vendor(const struct plan *p)
{
    const struct xlx__cpu_model *m = p->wish.model;
    const char *vendor = p->hosts[0].usual.vendor;
    size_t i;

    for (i = 0; m && i < XLX__CPU_SILICON; i++)
        if (xlx__cpu_models[xlx__cpu_silicon[i].index].base == m->base &&
            strcmp(xlx__cpu_string(m->vendor), vendor))
            return xlx__error(ERROR_INVAL, "CPU expression: \"%s\" is of the "
                              "vendor %s, and the host of %s",
                              xlx__cpu_string(m->name),
                              xlx__cpu_string(m->vendor), vendor);
    return 0;
}

static struct xlx__cpu_set guest_on(const struct plan *p,
                                    const struct xlx__cpu_xen *h)
{
    const struct xlx__cpu_wish *w = &p->wish;
    struct xlx__cpu_set set = { { 0 } };
    uint32_t model;
    unsigned int i;

    for (i = 0; i < XEN_WORDS; i++) {
        model = w->model ? w->model->features.word[i] : ~UINT32_C(0);
        set.word[i] = (h->usual.features.word[i] & (model | p->kept.word[i])) |
                      (h->most.features.word[i] & w->on.word[i]);
        set.word[i] |= h->most.features.word[i] &
                       h->xen.features.word[i] & w->host.word[i];
        set.word[i] &= ~w->off.word[i];
    }
    return set;
}

static void decide(struct plan *p)
{
    struct xlx__cpu_set one, usual;
    uint32_t alone;
    unsigned int w;
    int i;

    for (w = 0; w < XEN_WORDS; w++)
        p->kept.word[w] = (xlx__cpu_fixed.word[w] | p->wish.usual.word[w] |
                           (p->wish.strict ? 0 : xlx__cpu_mitigation.word[w] |
                                             xlx__cpu_accumulate.word[w])) &
                          ~p->wish.off.word[w] & ~p->wish.host.word[w];
    p->guest = guest_on(p, &p->hosts[0]);
    for (i = 1; i < p->num_hosts; i++) {
        one = guest_on(p, &p->hosts[i]);
        for (w = 0; w < XEN_WORDS; w++)
            p->guest.word[w] &= one.word[w];
    }
    xlx__cpu_close(&p->guest);
    for (i = 0; i < p->num_hosts; i++) {
        usual = p->hosts[i].usual.features;
        for (w = 0; w < XEN_WORDS; w++) {
            /* what one host must show is left to each */
            alone = ((xlx__cpu_fixed.word[w] | xlx__cpu_accumulate.word[w]) &
                     p->kept.word[w]) | p->wish.host.word[w];
            p->off.word[w] |= usual.word[w] & ~p->guest.word[w] & ~alone;
            p->on.word[w] |= p->guest.word[w] & ~usual.word[w] &
                             ~p->wish.host.word[w];
        }
    }
}

/* ---- leaves ------------------------------------------------------------- */

/* Whether the processor has the leaf; a sub-leaf of 7 is there when it has
 * something, or one after it. */
static bool has_leaf(const struct xlx__cpu *cpu,
                     const struct xlx__cpu_word *w)
{
    const struct xlx__cpu_word *v = xlx__cpu_words;
    unsigned int i;

    if (w->msr)
        return true;
    if (w->index >= EXTENDED)
        return w->index <= cpu->xlevel;
    for (i = 0; w->index == 7 && w->subleaf && i < XEN_WORDS; i++)
        if (!v[i].msr && v[i].index == 7 && v[i].subleaf >= w->subleaf &&
            cpu->features.word[i])
            return true;
    return w->index <= cpu->level && !(w->index == 7 && w->subleaf);
}

static bool all_have_leaf(const struct plan *p, const struct xlx__cpu_word *w)
{
    bool all = true;
    int i;

    for (i = 0; i < p->num_hosts; i++)
        all = all && has_leaf(&p->hosts[i].usual, w);
    return all;
}

/* What lies in a leaf that not all hosts have cannot be named, but the leaf
 * can be taken off, for no guest has anything there. */
static void cap(struct plan *p)
{
    const struct xlx__cpu_word *w;
    unsigned int i;

    for (i = 0; i < XEN_WORDS; i++) {
        w = xlx__cpu_words + i;
        if (!p->off.word[i] || all_have_leaf(p, w))
            continue;
        p->off.word[i] = 0;
        if (w->index >= EXTENDED)
            p->cap_extended = true;
        else if (w->index == 7 && w->subleaf)
            p->cap_seven = true;
        else
            p->cap_basic = true;
    }
}

/* What is to be said of a bit; 'x' is nothing. */
static char state_of(const struct plan *p, unsigned int bit)
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

    return xlx__error(ERROR_INVAL, "\"%s\" cannot be said %s: use xl's list",
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

/* libxl's names of what is no feature. */
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

static int write_names(FILE *f, const struct plan *p)
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

/* libvirt's driver for Xen takes only this mode, reads "force" and "disable" as
 * 1 and 0, and hands libxl any name that it has no translation for: those of
 * libxl.  vmx or svm is how it spells nestedhvm. */
static int write_libvirt(FILE *f, const struct plan *p)
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

static int write_string(const struct plan *p, xlx_cpu_form form,
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
        return xlx__error(ERROR_NOMEM, "out of memory");
    rc = form == XLX_CPU_FORM_LIBVIRT ? write_libvirt(f, p)
                                      : write_names(f, p);
    if (fclose(f) && !rc)
        rc = xlx__error(ERROR_NOMEM, "out of memory");
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
static void write_word(FILE *f, const struct plan *p, unsigned int i)
{
    const char *reg = &"eax\0ebx\0ecx\0edx"[4 * xlx__cpu_words[i].reg];
    uint32_t free_to = p->guest.word[i] | p->kept.word[i];
    char state;
    int bit;

    if (i == XLX__CPU_SYSCALL / 32)
        free_to |= REPEATED;
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
static uint32_t common_subleaf(const struct plan *p)
{
    struct xlx__cpu_word w = { .index = 7, .subleaf = 1 };

    while (all_have_leaf(p, &w))
        w.subleaf++;
    return w.subleaf - 1u;
}

static void write_leaf(FILE *f, const struct plan *p, unsigned int first)
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

static int add_leaf(xlx_cpu_config *c, const struct plan *p, unsigned int i)
{
    size_t len;
    FILE *f = open_memstream(&c->list[c->num_list], &len);

    if (!f)
        return xlx__error(ERROR_NOMEM, "out of memory");
    c->num_list++;
    write_leaf(f, p, i);
    return fclose(f) ? xlx__error(ERROR_NOMEM, "out of memory") : 0;
}

static int add_cap(xlx_cpu_config *c, const struct plan *p, bool extended)
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
        return xlx__error(ERROR_NOMEM, "out of memory");
    fprintf(f, "%#x:", extended ? EXTENDED : 0);
    write_number(f, "eax", least);
    if (fclose(f))
        return xlx__error(ERROR_NOMEM, "out of memory");
    c->list[c->num_list++] = line;
    return 0;
}

static int write_list(const struct plan *p, xlx_cpu_config *c)
{
    char buf[XLX__CPU_NAME_MAX];
    unsigned int i, bit;
    int rc = 0;

    for (bit = 0; bit < BITS; bit++)
        if (xlx__cpu_words[bit / 32].msr && state_of(p, bit) != 'x')
            return xlx__error(ERROR_INVAL, "the list form has no place for "
                              "\"%s\": use the string",
                              xlx__cpu_bit_name(bit, buf));
    c->list = calloc(XEN_WORDS + 2, sizeof(*c->list));
    if (!c->list)
        return xlx__error(ERROR_NOMEM, "out of memory");
    if (p->cap_basic)
        rc = add_cap(c, p, false);
    if (!rc && p->cap_extended)
        rc = add_cap(c, p, true);
    for (i = 0; !rc && i < XEN_WORDS; i++)
        if (opens_leaf(i) && all_have_leaf(p, xlx__cpu_words + i))
            rc = add_leaf(c, p, i);
    return rc;
}

/* ---- the call ----------------------------------------------------------- */

/* What was wished and will not be: for want of hardware, or because it is not
 * Xen's way. */
static int tell_missing(const struct plan *p, xlx_cpu_config *c)
{
    struct xlx__cpu_set lacking, skipped, given;
    unsigned int i;
    int rc;

    rc = xlx__cpu_xen_gives(p->hosts[0].pv, false, &given);
    if (rc)
        return rc;
    lacking = wished(&p->wish);
    if (p->wish.model)
        xlx__cpu_close(&lacking);
    lacking = xlx__cpu_without(&lacking, &p->guest);
    lacking = xlx__cpu_without(&lacking, &xlx__cpu_fixed);
    skipped = lacking;
    for (i = 0; i < XLX__CPU_WORDS; i++)
        lacking.word[i] &= p->wish.on.word[i] |
                           (given.word[i] & ~xlx__cpu_mitigation.word[i]);
    skipped = xlx__cpu_without(&skipped, &lacking);
    rc = xlx__cpu_names_of(&lacking, &c->lacking, &c->num_lacking);
    if (!rc)
        rc = xlx__cpu_names_of(&skipped, &c->skipped, &c->num_skipped);
    return rc;
}

/* libxl puts these on with nestedhvm=1, and only then they are of use. */
static void take_nested(struct plan *p)
{
    p->nested = xlx__cpu_has(&p->on, XLX__CPU_VMX) ||
                xlx__cpu_has(&p->on, XLX__CPU_SVM);
    xlx__cpu_put(&p->on, XLX__CPU_VMX, false);
    xlx__cpu_put(&p->on, XLX__CPU_SVM, false);
}

/* A level can only be lowered; a list would say the other numbers bit by bit,
 * which nobody needs. */
static int check_numbers(const struct plan *p, bool list)
{
    const struct xlx__cpu_wish *w = &p->wish;
    int i;

    for (i = 0; w->level != XLX__CPU_UNSAID && i < p->num_hosts; i++)
        if (w->level > p->hosts[i].usual.level)
            return xlx__error(ERROR_INVAL, "CPU expression: level %u is above "
                              "that of host %d, which is %u", w->level, i + 1,
                              p->hosts[i].usual.level);
    if (list && (w->level & w->family & w->number & w->stepping) !=
                XLX__CPU_UNSAID)
        return xlx__error(ERROR_INVAL, "the list form has no place for "
                          "level, family, model and stepping: use the string");
    return 0;
}

static int read_hosts(const xlx_cpu_hosts *hosts, struct plan *p)
{
    int i, rc;

    if (hosts->num_hosts < 1)
        return xlx__error(ERROR_INVAL, "hosts: there are none");
    p->hosts = calloc((size_t)hosts->num_hosts, sizeof(*p->hosts));
    if (!p->hosts)
        return xlx__error(ERROR_NOMEM, "out of memory");
    for (i = 0; i < hosts->num_hosts; i++) {
        rc = xlx__cpu_xen_from_public(&hosts->hosts[i], &p->hosts[i]);
        if (!rc && strcmp(p->hosts[i].usual.vendor, p->hosts[0].usual.vendor))
            rc = xlx__error(ERROR_INVAL, "its vendor is not that of host 1");
        if (!rc && p->hosts[i].pv != p->hosts[0].pv)
            rc = xlx__error(ERROR_INVAL, "is not about the same kind of "
                            "guests as host 1");
        if (rc)
            return xlx__error_prefix(rc, "host %d", i + 1);
        p->num_hosts++;
    }
    return 0;
}

int xlx__cpu_render(xlx_ctx *ctx, const char *expression,
                    const xlx_cpu_hosts *hosts, xlx_cpu_form form,
                    xlx_cpu_config *config_r)
{
    struct plan p;
    int rc;

    (void)ctx;
    memset(&p, 0, sizeof(p));
    rc = xlx__cpu_parse_wish(expression, &p.wish);
    if (!rc)
        rc = check_fixed(&p);
    if (!rc)
        rc = check_needs(&p);
    if (!rc)
        rc = read_hosts(hosts, &p);
    if (!rc)
        rc = check_vendor(&p);
    if (!rc)
        rc = check_numbers(&p, form == XLX_CPU_FORM_LIST);
    if (rc)
        goto out;
    decide(&p);
    cap(&p);
    take_nested(&p);
    config_r->nested = p.nested;
    rc = xlx__cpu_names_of(&p.guest, &config_r->features,
                           &config_r->num_features);
    if (!rc)
        rc = tell_missing(&p, config_r);
    if (!rc && form != XLX_CPU_FORM_NONE)
        rc = form == XLX_CPU_FORM_LIST
             ? write_list(&p, config_r)
             : write_string(&p, form, &config_r->string);

 out:
    free(p.hosts);
    return rc;
}

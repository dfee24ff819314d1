/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plans which features a guest will have on some hosts when its config has a
 * CPU expression, and which words that needs; see cpu-plan.h.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu-plan.h"

/* ---- what the guest will have ------------------------------------------- */

static bool within_one(const struct xlx__cpu_set *a,
                       const struct xlx__cpu_set *b, unsigned int *bit_r)
{
    for (*bit_r = 0; *bit_r < 32 * XLX__CPU_WORDS; ++*bit_r)
        if (xlx__cpu_has(a, *bit_r) && xlx__cpu_has(b, *bit_r))
            return true;
    return false;
}

struct xlx__cpu_set xlx__cpu_unspoken(const struct xlx__cpu_wish *w)
{
    const struct xlx__cpu_model *m = w->model, *v;
    struct xlx__cpu_set set = { { 0 } };
    unsigned int i;

    if (!m || *xlx__cpu_string(m->vendor))
        return set;
    memset(&set, 0xff, sizeof(set));
    for (v = xlx__cpu_models; v < xlx__cpu_models + XLX__CPU_MODELS; v++)
        for (i = 0; v->base == m->base && i < XLX__CPU_WORDS; i++)
            set.word[i] &= ~v->features.word[i];
    set = xlx__cpu_without(&set, &w->on);
    return xlx__cpu_without(&set, &w->off);
}

struct xlx__cpu_set xlx__cpu_wished(const struct xlx__cpu_wish *w)
{
    struct xlx__cpu_set set = w->on;
    unsigned int i;

    for (i = 0; w->model && i < XLX__CPU_WORDS; i++)
        set.word[i] |= w->model->features.word[i];
    return xlx__cpu_without(&set, &w->off);
}

/* A feature asked for by name must not fall with one that is off. */
static int check_needs(const struct xlx__cpu_plan *p)
{
    char a[XLX__CPU_NAME_MAX], b[XLX__CPU_NAME_MAX];
    struct xlx__cpu_set set = xlx__cpu_wished(&p->wish);
    const struct xlx__cpu_need *n;

    for (n = xlx__cpu_needs; n < xlx__cpu_needs + XLX__CPU_NEEDS; n++) {
        if (!xlx__cpu_has(&p->wish.on, n->bit) ||
            xlx__cpu_has(&p->unspoken, n->needs) ||
            (p->wish.model ? xlx__cpu_has(&set, n->needs)
                           : !xlx__cpu_has(&p->wish.off, n->needs)))
            continue;
        return xlx__error(ERROR_INVAL, "CPU expression: \"%s\" is of no use "
                          "without \"%s\", which is off: put that on as well",
                          xlx__cpu_bit_name(n->bit, a),
                          xlx__cpu_bit_name(n->needs, b));
    }
    return 0;
}

static int check_fixed(const struct xlx__cpu_plan *p)
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

/* That of the hosts, or "". */
static const char *known_vendor(const struct xlx__cpu_plan *p)
{
    int i = 0;

    while (i < p->num_hosts - 1 && !*p->hosts[i].usual.vendor)
        i++;
    return p->hosts[i].usual.vendor;
}

/* A guest has its host's vendor.  Models such as kvm64, which are not
 * products, are for any. */
static int check_vendor(const struct xlx__cpu_plan *p)
{
    const struct xlx__cpu_model *m = p->wish.model;
    const char *vendor = known_vendor(p);
    size_t i;

    for (i = 0; m && *vendor && i < XLX__CPU_SILICON; i++)
        if (xlx__cpu_models[xlx__cpu_silicon[i].index].base == m->base &&
            !xlx__cpu_is_by(m, vendor))
            return xlx__error(ERROR_INVAL, "CPU expression: \"%s\" is of the "
                              "vendor %s, and the host of %s",
                              xlx__cpu_string(m->name),
                              xlx__cpu_string(m->vendor), vendor);
    return 0;
}

/* All that Xen can give, for "max"; but not nested virtualisation, which is
 * more than a feature, and nothing about dangers that it does not tell by
 * itself. */
static struct xlx__cpu_set most_on(const struct xlx__cpu_plan *p,
                                   const struct xlx__cpu_xen *h)
{
    struct xlx__cpu_set set = { { 0 } };
    unsigned int i;

    for (i = 0; p->wish.most && i < XEN_WORDS; i++)
        set.word[i] = h->most.features.word[i] & h->xen.features.word[i] &
                      ~p->kept.word[i] & ~p->wish.host.word[i] &
                      ~xlx__cpu_accumulate.word[i];
    xlx__cpu_put(&set, XLX__CPU_RSBA, false);
    xlx__cpu_put(&set, XLX__CPU_RRSBA, false);
    xlx__cpu_put(&set, XLX__CPU_VMX, false);
    xlx__cpu_put(&set, XLX__CPU_SVM, false);
    return set;
}

static struct xlx__cpu_set guest_on(const struct xlx__cpu_plan *p,
                                    const struct xlx__cpu_xen *h)
{
    const struct xlx__cpu_wish *w = &p->wish;
    struct xlx__cpu_set set = most_on(p, h);
    uint32_t model;
    unsigned int i;

    for (i = 0; i < XEN_WORDS; i++) {
        model = w->model ? w->model->features.word[i] | p->unspoken.word[i]
                         : ~UINT32_C(0);
        set.word[i] |= (h->usual.features.word[i] &
                        (model | p->kept.word[i])) |
                       (h->most.features.word[i] & w->on.word[i]);
        set.word[i] |= h->most.features.word[i] &
                       h->xen.features.word[i] & w->host.word[i];
        set.word[i] &= ~w->off.word[i];
    }
    return set;
}

static void decide(struct xlx__cpu_plan *p)
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
    if (w->index >= XLX__CPU_EXTENDED)
        return w->index <= cpu->xlevel;
    for (i = 0; w->index == 7 && w->subleaf && i < XEN_WORDS; i++)
        if (!v[i].msr && v[i].index == 7 && v[i].subleaf >= w->subleaf &&
            cpu->features.word[i])
            return true;
    return w->index <= cpu->level && !(w->index == 7 && w->subleaf);
}

bool xlx__cpu_all_have_leaf(const struct xlx__cpu_plan *p,
                            const struct xlx__cpu_word *w)
{
    bool all = true;
    int i;

    for (i = 0; i < p->num_hosts; i++)
        all = all && has_leaf(&p->hosts[i].usual, w);
    return all;
}

/* Bits of a leaf that not all hosts have cannot be named, but the leaf can be
 * taken off, because no guest has anything there. */
static void cap(struct xlx__cpu_plan *p)
{
    const struct xlx__cpu_word *w;
    unsigned int i;

    for (i = 0; i < XEN_WORDS; i++) {
        w = xlx__cpu_words + i;
        if (!p->off.word[i] || xlx__cpu_all_have_leaf(p, w))
            continue;
        p->off.word[i] = 0;
        if (w->index >= XLX__CPU_EXTENDED)
            p->cap_extended = true;
        else if (w->index == 7 && w->subleaf)
            p->cap_seven = true;
        else
            p->cap_basic = true;
    }
}

/* ---- the whole ---------------------------------------------------------- */

/* libxl puts these on with nestedhvm=1, and only then they are of use. */
static void take_nested(struct xlx__cpu_plan *p)
{
    p->nested = xlx__cpu_has(&p->on, XLX__CPU_VMX) ||
                xlx__cpu_has(&p->on, XLX__CPU_SVM);
    xlx__cpu_put(&p->on, XLX__CPU_VMX, false);
    xlx__cpu_put(&p->on, XLX__CPU_SVM, false);
}

/* A level can only be lowered; a list would say the other numbers bit by bit,
 * which nobody needs. */
static int check_numbers(const struct xlx__cpu_plan *p, bool list)
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

static int read_hosts(const xlx_cpu_hosts *hosts, struct xlx__cpu_plan *p)
{
    int i, rc;

    if (hosts->num_hosts < 1)
        return xlx__error(ERROR_INVAL, "hosts: there are none");
    p->hosts = calloc((size_t)hosts->num_hosts, sizeof(*p->hosts));
    if (!p->hosts)
        return xlx__nomem();
    for (i = 0; i < hosts->num_hosts; i++) {
        rc = xlx__cpu_xen_from_public(&hosts->hosts[i], &p->hosts[i]);
        if (!rc && i && *p->hosts[i].usual.vendor && *known_vendor(p) &&
            strcmp(p->hosts[i].usual.vendor, known_vendor(p)))
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

int xlx__cpu_plan_make(const char *expression, const xlx_cpu_hosts *hosts,
                       bool list, struct xlx__cpu_plan *p)
{
    int rc;

    memset(p, 0, sizeof(*p));
    rc = xlx__cpu_parse_wish(expression, &p->wish);
    p->unspoken = xlx__cpu_unspoken(&p->wish);
    if (!rc)
        rc = check_fixed(p);
    if (!rc)
        rc = check_needs(p);
    if (!rc)
        rc = read_hosts(hosts, p);
    if (!rc)
        rc = check_vendor(p);
    if (!rc)
        rc = check_numbers(p, list);
    if (rc)
        return rc;
    decide(p);
    cap(p);
    take_nested(p);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Why a guest has a CPU feature or has it not.  The question goes from the
 * hardware up to the guest's config, and the first that says no is the reason.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "gen-calls.h"

struct question {
    struct xlx__cpu guest;
    struct xlx__cpu_xen host;
    struct xlx__cpu_set known;          /* what this Xen has for guests */
    struct xlx__cpu_wish wish;
    bool have_wish;
};

/* A feature that the bit needs and that is not in the set, or -1; what is of
 * a register that does not exist needs what makes the register. */
static int missing_need(unsigned int bit, const struct xlx__cpu_set *set)
{
    const struct xlx__cpu_need *n;
    unsigned int needs = xlx__cpu_words[bit / 32].needs;

    for (n = xlx__cpu_needs; n < xlx__cpu_needs + XLX__CPU_NEEDS; n++)
        if (n->bit == bit && !xlx__cpu_has(set, n->needs))
            return n->needs;
    return needs != XLX__CPU_NONE && !xlx__cpu_has(set, needs)
           ? (int)needs : -1;
}

/* The first of the hardware, Xen and what it gives that does not have it; ON
 * if all have. */
static xlx_cpu_reason of_host(const struct question *q, unsigned int bit)
{
    const struct xlx__cpu_xen *h = &q->host;
    bool most = xlx__cpu_has(&h->most.features, bit);

    if (xlx__cpu_has(&xlx__cpu_fixed, bit))
        return XLX_CPU_REASON_DYNAMIC;
    if (!most && !xlx__cpu_has(&h->hardware.features, bit))
        return XLX_CPU_REASON_HARDWARE;
    if (!most)
        return xlx__cpu_has(&q->known, bit) ? XLX_CPU_REASON_HIDDEN
                                            : XLX_CPU_REASON_NO_GUEST;
    return xlx__cpu_has(&h->usual.features, bit) ? XLX_CPU_REASON_ON
                                                 : XLX_CPU_REASON_ASKED;
}

/* The word of the config that turns it off; malloc()ed. */
static char *turned_off_by(const struct question *q, unsigned int bit)
{
    char buf[XLX__CPU_NAME_MAX];

    if (!q->have_wish)
        return xlx__printf("%s", "");
    if (xlx__cpu_has(&q->wish.off, bit))
        return xlx__printf("-%s", xlx__cpu_bit_clear_name(bit, buf));
    return xlx__printf("%s", q->wish.model
                       ? xlx__cpu_string(q->wish.model->name) : "");
}

static int explain(const struct question *q, unsigned int bit,
                   xlx_cpu_explanation *e)
{
    char buf[XLX__CPU_NAME_MAX];
    int need;

    e->on = xlx__cpu_has(&q->guest.features, bit);
    e->reason = e->on ? XLX_CPU_REASON_ON : of_host(q, bit);
    if (!e->on && e->reason == XLX_CPU_REASON_ON) {
        need = q->have_wish && xlx__cpu_has(&q->wish.off, bit)
               ? -1 : missing_need(bit, &q->guest.features);
        e->reason = need < 0 ? XLX_CPU_REASON_TURNED_OFF
                             : XLX_CPU_REASON_NEEDS;
        e->cause = need < 0 ? turned_off_by(q, bit)
                            : strdup(xlx__cpu_bit_name((unsigned int)need,
                                                       buf));
        if (!e->cause)
            return xlx__nomem();
    }
    return xlx__set_string(&e->feature, xlx__cpu_bit_name(bit, buf));
}

/* Whether anybody here has it. */
static bool concerns(const struct question *q, unsigned int bit)
{
    return xlx__cpu_has(&q->guest.features, bit) ||
           xlx__cpu_has(&q->host.hardware.features, bit) ||
           xlx__cpu_has(&q->host.most.features, bit) ||
           (q->have_wish && (xlx__cpu_has(&q->wish.on, bit) ||
            (q->wish.model && xlx__cpu_has(&q->wish.model->features, bit))));
}

static int ask(const xlx_cpu *guest, const xlx_cpu_host *host,
               const char *expression, struct question *q)
{
    int rc;

    memset(q, 0, sizeof(*q));
    q->have_wish = expression != NULL;
    rc = xlx__cpu_from_public(guest, &q->guest);
    if (rc) return rc;
    rc = xlx__cpu_xen_from_public(host, &q->host);
    if (rc) return rc;
    if (expression)
        rc = xlx__cpu_parse_wish(expression, &q->wish);
    if (rc) return rc;
    return xlx__cpu_xen_gives(q->host.pv, true, &q->known);
}

int xlx__cpu_explain(xlx_ctx *ctx, const xlx_cpu *guest,
                     const xlx_cpu_host *host, const char *expression,
                     const char *feature, xlx_cpu_explanations *list_r)
{
    unsigned int bit, only = 0, most = feature ? 1 : 32 * XLX__CPU_WORDS;
    xlx_cpu_explanation *e;
    struct question q;
    int rc;

    (void)ctx;
    rc = ask(guest, host, expression, &q);
    if (!rc && feature)
        rc = xlx__cpu_find_bit(feature, strlen(feature), &only);
    if (rc)
        return rc;
    list_r->features = calloc(most, sizeof(*list_r->features));
    if (!list_r->features)
        return xlx__nomem();
    for (bit = 0; !rc && bit < 32 * XLX__CPU_WORDS; bit++) {
        if (feature ? bit != only : !concerns(&q, bit))
            continue;
        e = &list_r->features[list_r->num_features++];
        xlx_cpu_explanation_init(e);
        rc = explain(&q, bit, e);
    }
    return rc;
}

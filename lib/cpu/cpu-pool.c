/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The common part of a pool: its hardware, and, as an expression for configs,
 * the features that Xen gives guests on all of its hosts.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu-plan.h"
#include "gen-calls.h"

/* ---- baseline of hardware ----------------------------------------------- */

static bool is_earlier(const struct xlx__cpu *a, const struct xlx__cpu *b)
{
    if (a->family != b->family)
        return a->family < b->family;
    if (a->model != b->model)
        return a->model < b->model;
    return a->stepping < b->stepping;
}

/* Either bit says that a return may be predicted from elsewhere than the
 * return stack, and a guest may come to a host where that is so. */
static bool has_rsba(const struct xlx__cpu *cpu)
{
    return xlx__cpu_has(&cpu->features, XLX__CPU_RSBA) ||
           xlx__cpu_has(&cpu->features, XLX__CPU_RRSBA);
}

static uint32_t smaller_known(uint32_t a, uint32_t b)
{
    return !a || (b && b < a) ? b : a;
}

/* Vendors that are not known may be any. */
static int meet_vendor(struct xlx__cpu *pool, const struct xlx__cpu *host,
                       int number)
{
    if (!*pool->vendor)
        strcpy(pool->vendor, host->vendor);
    if (!*host->vendor || !strcmp(host->vendor, pool->vendor))
        return 0;
    return xlx__error(ERROR_INVAL, "host %d is of the vendor \"%s\", those "
                      "before of \"%s\": no guest can move between them, and "
                      "since 4.22 Xen does not even take it", number,
                      host->vendor, pool->vendor);
}

/* Makes pool what it has in common with host. */
static void meet(struct xlx__cpu *pool, const struct xlx__cpu *host)
{
    bool rsba = has_rsba(pool) || has_rsba(host);
    uint32_t any, all, *word = pool->features.word;
    unsigned int i;

    /* 0 is not known: XAPI's features come without */
    if (!pool->family || (host->family && is_earlier(host, pool))) {
        pool->family = host->family;
        pool->model = host->model;
        pool->stepping = host->stepping;
    }
    pool->level = smaller_known(host->level, pool->level);
    pool->xlevel = smaller_known(host->xlevel, pool->xlevel);
    for (i = 0; i < XLX__CPU_WORDS; i++) {
        any = word[i] | host->features.word[i];
        all = word[i] & host->features.word[i];
        word[i] = all | (any & xlx__cpu_accumulate.word[i]);
    }
    xlx__cpu_put(&pool->features, XLX__CPU_RSBA, rsba);
    xlx__cpu_put(&pool->features, XLX__CPU_RRSBA, false);
}

/* Once at the end; the same comes out when it is done in between. */
static void finish(struct xlx__cpu *pool, bool one)
{
    static const struct xlx__cpu_set none;
    bool rsba = has_rsba(pool);

    xlx__cpu_put(&pool->features, XLX__CPU_RSBA, rsba);
    xlx__cpu_put(&pool->features, XLX__CPU_RRSBA, false);
    xlx__cpu_close(&pool->features);
    if (rsba && xlx__cpu_has(&pool->features, XLX__CPU_IBRS_ALL)) {
        xlx__cpu_put(&pool->features, XLX__CPU_RSBA, false);
        xlx__cpu_put(&pool->features, XLX__CPU_RRSBA, true);
    }
    pool->from = xlx__cpu_nearest_of_pool(pool, one, &none);
}

int xlx__cpu_baseline(xlx_ctx *ctx, const xlx_cpus *hosts, xlx_cpu *cpu_r)
{
    struct xlx__cpu pool, host;
    int i, rc;

    (void)ctx;
    if (hosts->num_cpus < 1)
        return xlx__error(ERROR_INVAL, "hosts: there are none");
    for (i = 0; i < hosts->num_cpus; i++) {
        rc = xlx__cpu_from_public(&hosts->cpus[i], i ? &host : &pool);
        if (rc)
            return xlx__error_prefix(rc, "host %d", i + 1);
        if (!i)
            continue;
        rc = meet_vendor(&pool, &host, i + 1);
        if (rc)
            return rc;
        meet(&pool, &host);
    }
    finish(&pool, hosts->num_cpus == 1);
    return xlx__cpu_to_public(&pool, cpu_r);
}

/* ---- what guests can have ----------------------------------------------- */

struct pool {
    struct xlx__cpu guest;              /* what guests shall have */
    struct xlx__cpu_set all, any;       /* what all give usually, or some */
    struct xlx__cpu_set most;           /* what all hosts can give */
    uint32_t highest;                   /* of the levels */
    bool pv, predicted;
    int num_hosts;
};

/* Xen does not run without these, so a host that seems to lack one has not
 * been read right, and a guest would lack it as well. */
static int check_usable(const struct xlx__cpu *hardware)
{
    static const unsigned int all[] = {
        XLX__CPU_FPU, XLX__CPU_TSC, XLX__CPU_MSR, XLX__CPU_PAE, XLX__CPU_CX8,
        XLX__CPU_CMOV, XLX__CPU_FXSR, XLX__CPU_SSE, XLX__CPU_SSE2,
        XLX__CPU_LM,
    };
    char buf[XLX__CPU_NAME_MAX];
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(all); i++)
        if (!xlx__cpu_has(&hardware->features, all[i]))
            return xlx__error(ERROR_INVAL, "has no %s, without which Xen does "
                              "not run: is that all of its processor?",
                              xlx__cpu_bit_name(all[i], buf));
    return 0;
}

static int add_host(struct pool *p, const xlx_cpu_host *host, bool first)
{
    struct xlx__cpu_xen h;
    unsigned int i;
    int rc;

    rc = xlx__cpu_xen_from_public(host, &h);
    if (!rc)
        rc = check_usable(&h.hardware);
    if (rc)
        return rc;
    p->num_hosts++;
    if (first) {
        p->guest = h.usual;
        p->all = p->any = h.usual.features;
        p->most = h.most.features;
        p->pv = h.pv;
        p->highest = h.usual.level;
    }
    if (h.pv != p->pv)
        return xlx__error(ERROR_INVAL, "is not about the same kind of guests "
                          "as host 1");
    p->predicted = p->predicted || host->predicted;
    if (h.usual.level > p->highest)
        p->highest = h.usual.level;
    if (h.usual.level < p->guest.level)
        p->guest.level = h.usual.level;
    for (i = 0; i < XLX__CPU_WORDS; i++) {
        p->all.word[i] &= h.usual.features.word[i];
        p->any.word[i] |= h.usual.features.word[i];
        p->most.word[i] &= h.most.features.word[i];
    }
    return 0;
}

/* A feature that tells of a danger is in the guest if some host has it and all
 * can show it; else in neither set, and each host shows its own. */
static void settle(struct pool *p, unsigned int bit, bool wanted)
{
    bool can = xlx__cpu_has(&p->most, bit);

    xlx__cpu_put(&p->guest.features, bit, wanted && can);
    if (!can)
        xlx__cpu_put(&p->any, bit, false);
}

static void settle_dangers(struct pool *p)
{
    bool rsba = xlx__cpu_has(&p->any, XLX__CPU_RSBA) ||
                xlx__cpu_has(&p->any, XLX__CPU_RRSBA);
    bool eibrs = xlx__cpu_has(&p->all, XLX__CPU_IBRS_ALL);
    unsigned int bit;

    p->guest.features = p->all;
    for (bit = 0; bit < BITS; bit++)
        if (xlx__cpu_has(&xlx__cpu_accumulate, bit))
            settle(p, bit, xlx__cpu_has(&p->any, bit));
    settle(p, XLX__CPU_RSBA, rsba && !eibrs);
    settle(p, XLX__CPU_RRSBA, rsba && eibrs);
    xlx__cpu_close(&p->guest.features);
}

/* ---- as an expression --------------------------------------------------- */

/* The features that a guest with that expression might have somewhere. */
static struct xlx__cpu_set within_reach(const struct pool *p,
                                        const struct xlx__cpu_wish *w)
{
    struct xlx__cpu_set set = xlx__cpu_wished(w), free = xlx__cpu_unspoken(w);
    unsigned int i;

    for (i = 0; i < XLX__CPU_WORDS; i++)
        set.word[i] |= p->any.word[i] | free.word[i];
    set = xlx__cpu_without(&set, &w->off);
    xlx__cpu_close(&set);
    return set;
}

/* A feature that is put on must not seem to lack what it needs. */
static void put_on_needs(const struct pool *p, struct xlx__cpu_wish *w)
{
    const struct xlx__cpu_need *n;
    struct xlx__cpu_set wished;
    bool more;

    do {
        more = false;
        wished = xlx__cpu_wished(w);
        for (n = xlx__cpu_needs; n < xlx__cpu_needs + XLX__CPU_NEEDS; n++) {
            if (!xlx__cpu_has(&w->on, n->bit) ||
                xlx__cpu_has(&wished, n->needs) ||
                !xlx__cpu_has(&p->guest.features, n->needs))
                continue;
            xlx__cpu_put(&w->on, n->needs, true);
            more = true;
        }
    } while (more);
}

/* A feature that falls with another one need not be named. */
static void leave_out(const struct pool *p, struct xlx__cpu_wish *w)
{
    struct xlx__cpu_set reach;
    unsigned int bit;

    for (bit = 0; bit < BITS; bit++) {
        if (!xlx__cpu_has(&w->off, bit))
            continue;
        xlx__cpu_put(&w->off, bit, false);
        reach = within_reach(p, w);
        xlx__cpu_put(&w->off, bit, xlx__cpu_has(&reach, bit));
    }
}

/* Finds the features to put on and off for a guest with that model to have the
 * same on all hosts, and for none to refuse it. */
static int wish(const struct pool *p, const struct xlx__cpu_model *m,
                struct xlx__cpu_wish *w)
{
    const struct xlx__cpu_set *guest = &p->guest.features;
    struct xlx__cpu_set gives, free;
    uint32_t model, silent;
    unsigned int i;
    int rc;

    memset(w, 0, sizeof(*w));
    w->model = m;
    rc = xlx__cpu_xen_gives(p->pv, false, &gives);
    if (rc)
        return rc;
    free = xlx__cpu_unspoken(w);
    for (i = 0; i < XEN_WORDS; i++) {
        model = m ? m->features.word[i] : ~UINT32_C(0);
        silent = model | free.word[i] | xlx__cpu_mitigation.word[i] |
                 xlx__cpu_accumulate.word[i];
        w->on.word[i] = guest->word[i] & ~(silent & p->all.word[i]) &
                        ~xlx__cpu_fixed.word[i];
        w->off.word[i] = p->any.word[i] & silent;
        if (m)
            w->off.word[i] |= model & gives.word[i] &
                              ~xlx__cpu_mitigation.word[i];
        w->off.word[i] &= ~guest->word[i] & ~xlx__cpu_fixed.word[i];
    }
    put_on_needs(p, w);
    leave_out(p, w);
    return 0;
}

/* By what Xen gives guests: features of a model that it gives none need no
 * word. */
static int nearest(const struct pool *p, const struct xlx__cpu_model **m_r)
{
    struct xlx__cpu_set silent, gives;
    unsigned int i;
    int rc;

    rc = xlx__cpu_xen_gives(p->pv, false, &gives);
    if (rc)
        return rc;
    for (i = 0; i < XLX__CPU_WORDS; i++)
        silent.word[i] = ~gives.word[i] & ~p->guest.features.word[i];
    *m_r = xlx__cpu_nearest_of_pool(&p->guest, p->num_hosts == 1, &silent);
    return 0;
}

static int express(struct pool *p, xlx_cpu_pool *pool_r)
{
    const struct xlx__cpu_model *m;
    struct xlx__cpu_wish w;
    char *text;
    int rc;

    settle_dangers(p);
    rc = nearest(p, &m);
    if (rc)
        return rc;
    rc = wish(p, m, &w);
    if (!rc)
        rc = xlx__cpu_write_expression(m, &w.on, &w.off, &pool_r->cpuid);
    if (!rc && p->guest.level < p->highest) {
        text = xlx__printf("%s,level=%u", pool_r->cpuid, p->guest.level);
        if (!text)
            return xlx__nomem();
        free(pool_r->cpuid);
        pool_r->cpuid = text;
    }
    if (rc) goto out;
    rc = xlx__cpu_names_of(&p->guest.features, &pool_r->guest,
                           &pool_r->num_guest);

 out:
    pool_r->predicted = p->predicted;
    return rc;
}

/* ---- the call ----------------------------------------------------------- */

/* The members that a processor has as well change hands. */
static void take_cpu(xlx_cpu *cpu, xlx_cpu_pool *pool_r)
{
    pool_r->cpu_model = cpu->cpu_model;
    pool_r->vendor = cpu->vendor;
    pool_r->family = cpu->family;
    pool_r->model = cpu->model;
    pool_r->stepping = cpu->stepping;
    pool_r->level = cpu->level;
    pool_r->xlevel = cpu->xlevel;
    pool_r->features = cpu->features;
    pool_r->num_features = cpu->num_features;
    free(cpu->note);                    /* a pool has none */
    xlx_cpu_init(cpu);
}

static int level_hardware(xlx_ctx *ctx, const xlx_cpu_hosts *hosts,
                          xlx_cpu_pool *pool_r)
{
    xlx_cpus hardware;
    xlx_cpu cpu;
    int i, rc;

    xlx_cpu_init(&cpu);
    hardware.num_cpus = hosts->num_hosts;
    hardware.cpus = calloc((size_t)hosts->num_hosts + 1, sizeof(cpu));
    if (!hardware.cpus)
        return xlx__nomem();
    for (i = 0; i < hosts->num_hosts; i++)
        hardware.cpus[i] = hosts->hosts[i].hardware;    /* borrowed */
    rc = xlx__cpu_baseline(ctx, &hardware, &cpu);
    free(hardware.cpus);
    take_cpu(&cpu, pool_r);
    return rc;
}

int xlx__cpu_pool_level(xlx_ctx *ctx, const xlx_cpu_hosts *hosts,
                        xlx_cpu_pool *pool_r)
{
    struct pool p = { .predicted = false };
    int i, rc;

    rc = level_hardware(ctx, hosts, pool_r);
    for (i = 0; !rc && i < hosts->num_hosts; i++) {
        rc = add_host(&p, &hosts->hosts[i], !i);
        if (rc)
            rc = xlx__error_prefix(rc, "host %d", i + 1);
    }
    if (rc)
        return rc;
    p.guest.family = pool_r->family;
    p.guest.model = pool_r->model;
    p.guest.stepping = pool_r->stepping;
    strcpy(p.guest.vendor, xlx__text(pool_r->vendor));
    return express(&p, pool_r);
}

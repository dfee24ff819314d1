/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether a guest that has begun to run can come to a host.  Xen refuses a
 * policy with another vendor or with leaves beyond its limits; it takes away
 * features that it cannot give, and tells nobody.
 */
#include <stdio.h>
#include <string.h>

#include "core/number.h"
#include "cpu/cpu.h"
#include "gen-calls.h"

/* Where the limits of leaves are fixed, that of sub-leaves of 7. */
#define MAX_SUBLEAF 2

struct release {
    unsigned int major, minor, patch;
};

/* In order of releases; branches before got it with a later patch. */
static bool is_since(const struct release *r, unsigned int minor,
                     const unsigned int *patches, unsigned int num)
{
    unsigned int i;

    if (r->major != 4)
        return r->major > 4;
    for (i = 0; i < num; i++)
        if (r->minor == minor + i)
            return r->patch >= patches[i];
    return r->minor > minor;
}

static int parse_release(const char *text, struct release *r)
{
    const char *s = text;

    memset(r, 0, sizeof(*r));
    if (!text)
        return 0;
    if (xlx__take_u32(&s, 99, &r->major) && xlx__take_word(&s, ".") &&
        xlx__take_u32(&s, 999, &r->minor) &&
        (!xlx__take_word(&s, ".") || xlx__take_u32(&s, 999, &r->patch)) &&
        (!*s || strchr(".-+", *s)))
        return 0;
    return xlx__error(ERROR_INVAL, "release: \"%s\" must be like 4.17.5",
                      text);
}

/* The largest sub-leaf of 7 with something in it. */
static uint32_t subleaf(const struct xlx__cpu *cpu)
{
    const struct xlx__cpu_word *w = xlx__cpu_words;
    uint32_t largest = 0;
    unsigned int i;

    for (i = 0; i < XLX__CPU_WORDS; i++)
        if (!w[i].msr && w[i].index == 7 && cpu->features.word[i] &&
            w[i].subleaf > largest)
            largest = w[i].subleaf;
    return largest;
}

static int refuse(xlx_cpu_verdict *v, const char *what, uint32_t has,
                  uint32_t limit)
{
    v->fate = XLX_CPU_FATE_REFUSE;
    v->reason = xlx__printf("its largest %s is %#x, the host allows %#x",
                            what, has, limit);
    return v->reason ? 0 : xlx__nomem();
}

/* Fills in the fate if Xen refuses the guest. */
static int check_limits(const struct xlx__cpu *guest,
                        const struct xlx__cpu *most, const struct release *r,
                        xlx_cpu_verdict *v)
{
    static const unsigned int sub_patches[] = { 5, 3, 0 };     /* 4.17 ... */
    static const unsigned int all_patches[] = { 4, 1, 0 };     /* 4.18 ... */
    bool sub = is_since(r, 17, sub_patches, 3);
    bool all = is_since(r, 18, all_patches, 3);
    uint32_t level = all ? XLX__CPU_MAX_LEVEL : most->level;
    uint32_t xlevel = all ? XLX__CPU_MAX_XLEVEL : most->xlevel;
    uint32_t seven = sub ? MAX_SUBLEAF : subleaf(most);

    if (*guest->vendor && *most->vendor &&
        strcmp(guest->vendor, most->vendor)) {
        if (r->major == 4 && r->minor && r->minor < 22)
            return 0;
        v->fate = XLX_CPU_FATE_REFUSE;
        v->reason = xlx__printf("its vendor is %s, the host's %s",
                                guest->vendor, most->vendor);
        return v->reason ? 0 : xlx__nomem();
    }
    if (guest->level > level)
        return refuse(v, "leaf", guest->level, level);
    if (subleaf(guest) > seven)
        return refuse(v, "sub-leaf of 7", subleaf(guest), seven);
    if (guest->xlevel > xlevel)
        return refuse(v, "extended leaf", guest->xlevel, xlevel);
    return 0;
}

static bool has_either(const struct xlx__cpu_set *set)
{
    return xlx__cpu_has(set, XLX__CPU_RSBA) ||
           xlx__cpu_has(set, XLX__CPU_RRSBA);
}

/* The dangers that the guest should have known of, were it to come here. */
static struct xlx__cpu_set unaware(const struct xlx__cpu *guest,
                                   const struct xlx__cpu_xen *host)
{
    struct xlx__cpu_set set;
    unsigned int i;

    for (i = 0; i < XLX__CPU_WORDS; i++)
        set.word[i] = host->xen.features.word[i] &
                      xlx__cpu_accumulate.word[i] & ~guest->features.word[i];
    if (has_either(&host->xen.features) && !has_either(&guest->features))
        xlx__cpu_put(&set, XLX__CPU_RSBA, true);
    return set;
}

int xlx__cpu_check(xlx_ctx *ctx, const xlx_cpu *guest_p,
                   const xlx_cpu_host *host_p, const char *release,
                   xlx_cpu_verdict *v)
{
    struct xlx__cpu_set lost, danger;
    struct xlx__cpu_xen host;
    struct xlx__cpu guest;
    struct release r;
    int rc;

    (void)ctx;
    rc = parse_release(release, &r);
    if (!rc)
        rc = xlx__cpu_from_public(guest_p, &guest);
    if (!rc)
        rc = xlx__cpu_xen_from_public(host_p, &host);
    if (rc)
        return rc;
    lost = xlx__cpu_without(&guest.features, &host.most.features);
    lost = xlx__cpu_without(&lost, &xlx__cpu_fixed);
    lost = xlx__cpu_without(&lost, &xlx__cpu_accumulate);
    danger = unaware(&guest, &host);
    v->fate = xlx__cpu_count(&lost) ? XLX_CPU_FATE_LOSE : XLX_CPU_FATE_RUN;
    rc = check_limits(&guest, &host.most, &r, v);
    if (rc) return rc;
    rc = xlx__cpu_names_of(&lost, &v->lost, &v->num_lost);
    if (rc) return rc;
    return xlx__cpu_names_of(&danger, &v->unaware, &v->num_unaware);
}

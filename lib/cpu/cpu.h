/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A processor as the cpu files hand it to one another: numbers and a set of
 * features.  xlx_cpu, with names, is for callers.
 */
#ifndef XLX_CPU_H
#define XLX_CPU_H

#include "cpu/cpu-table.h"

struct xlx__cpu {
    char vendor[13];
    uint32_t family, model, stepping;
    uint32_t level, xlevel;
    struct xlx__cpu_set features;
    const struct xlx__cpu_model *from;  /* or the nearest; may be NULL */
    const char *note;                   /* what is not known, or NULL */
    bool bare;                          /* leaves without a hypervisor */
    bool given;                         /* words of what Xen gives guests */
};

/* cpu-expression.c */
struct xlx__cpu_wish {                  /* an expression, not applied yet */
    const struct xlx__cpu_model *model; /* NULL: what the host has */
    struct xlx__cpu_set on, off;        /* said by name */
    struct xlx__cpu_set usual;          /* =x: what Xen gives usually */
    struct xlx__cpu_set host;           /* =k: what the host has */
    uint32_t family, number, stepping;  /* or UNSAID */
    uint32_t level;
    bool strict;                        /* mitigations=model */
    bool most;                          /* "max", where model is NULL */
};
#define XLX__CPU_UNSAID UINT32_MAX
int xlx__cpu_parse_wish(const char *text, struct xlx__cpu_wish *wish_r);
int xlx__cpu_parse_expression(const char *text, struct xlx__cpu *cpu_r);
void xlx__cpu_of_model(const struct xlx__cpu_model *m, struct xlx__cpu *cpu_r);

/* cpu-leaves.c: from what the CPUID instruction gives */
struct xlx__cpu_leaf {
    uint32_t leaf, subleaf;
    uint32_t reg[4];                    /* eax, ebx, ecx, edx */
};
struct xlx__cpu_msr {
    uint32_t index;
    uint64_t value;
};
struct xlx__cpu_dump {
    struct xlx__cpu_leaf *leaves;
    size_t num_leaves;
    struct xlx__cpu_msr *msrs;
    size_t num_msrs;
    bool sparse;                        /* empty leaves are left out */
    bool mixed;                         /* of processors that differ */
};
#define XLX__CPU_NO_SUBLEAF UINT32_MAX
void xlx__cpu_dump_free(struct xlx__cpu_dump *d);
/* The first of a kind stays.  0 or ERROR_NOMEM, or ERROR_INVAL when there are
 * too many. */
int xlx__cpu_dump_leaf(struct xlx__cpu_dump *d,
                       const struct xlx__cpu_leaf *leaf);
int xlx__cpu_dump_msr(struct xlx__cpu_dump *d, uint32_t index,
                      uint64_t value);
/* Takes off the features that this leaf of another processor lacks; whether
 * they differ. */
bool xlx__cpu_dump_meet(struct xlx__cpu_dump *d,
                        const struct xlx__cpu_leaf *leaf);
/* That the leaves go as far as the largest ones of which they tell. */
int xlx__cpu_dump_check_whole(const struct xlx__cpu_dump *d);
int xlx__cpu_decode(const struct xlx__cpu_dump *d, struct xlx__cpu *cpu_r);
/* The processor that this runs on; ERROR_NI when it is not an x86. */
int xlx__cpu_host(struct xlx__cpu *cpu_r);

/* cpu-text.c: text without the traces of mail and terminals; to be freed */
int xlx__cpu_plain_text(const char *text, char **plain_r);

/* cpu-dump.c: from plain text */
#define XLX__CPU_TEXT_MAX (64u << 20)
int xlx__cpu_dump_parse(const char *text, struct xlx__cpu_dump *d);
/* The policy of that title ("HVM Max") in the output of xen-cpuid -p.
 * ERROR_NOTFOUND without a message when it is not there. */
int xlx__cpu_dump_policy(const char *text, const char *title,
                         struct xlx__cpu_dump *d);

/* cpu-xml.c: <cpudata> or <cpu> of libvirt */
int xlx__cpu_parse_xml(const char *text, struct xlx__cpu *cpu_r);

/* cpu-listing.c: /proc/cpuinfo, xl info, xe host-cpu-info */
bool xlx__cpu_is_listing(const char *text);
int xlx__cpu_parse_listing(const char *text, struct xlx__cpu *cpu_r);

/* "1fcbfbff-f7fa3223-..." of XAPI: only features, of no vendor. */
bool xlx__cpu_is_featureset(const char *text);
int xlx__cpu_parse_featureset(const char *text, struct xlx__cpu_set *set_r);

/* cpu-xen.c: from the hypervisor */
enum xlx__cpu_policy {
    XLX__CPU_POLICY_RAW,
    XLX__CPU_POLICY_HOST,
    XLX__CPU_POLICY_PV_MAX,
    XLX__CPU_POLICY_HVM_MAX,
    XLX__CPU_POLICY_PV_DEFAULT,
    XLX__CPU_POLICY_HVM_DEFAULT,
};
int xlx__cpu_xen_system(xlx_ctx *ctx, enum xlx__cpu_policy which,
                        struct xlx__cpu *cpu_r);
int xlx__cpu_xen_domain(xlx_ctx *ctx, uint32_t domid, struct xlx__cpu *cpu_r);
/* Gives a domain that has not run yet what other guests of its kind have, with
 * these numbers and features.  ERROR_INVAL when Xen refuses it. */
int xlx__cpu_xen_give(xlx_ctx *ctx, uint32_t domid, bool pv,
                      const struct xlx__cpu *cpu);
/* The features that this release of Xen gives guests whose processor has
 * everything, or for which they can ask; from its library, for which no
 * hypervisor need be there. */
int xlx__cpu_xen_gives(bool pv, bool most, struct xlx__cpu_set *set_r);

/* cpu-host.c */
struct xlx__cpu_xen {                   /* as xlx_cpu_host */
    bool pv;
    struct xlx__cpu hardware, xen, most, usual;
};
/* Policies of the host that are not known are predicted. */
int xlx__cpu_xen_from_public(const xlx_cpu_host *p, struct xlx__cpu_xen *h_r);

/* cpu-detect.c */
const struct xlx__cpu_model *xlx__cpu_nearest(const struct xlx__cpu *cpu);
/* The same for what hosts have in common: by features, because the numbers of
 * models are not in the order of generations, and never a model with a higher
 * level of the ABI.  one: of one host, whose number still counts.  silent:
 * features that do not matter. */
const struct xlx__cpu_model *
xlx__cpu_nearest_of_pool(const struct xlx__cpu *cpu, bool one,
                         const struct xlx__cpu_set *silent);
/* "MODEL,+ADDED,-REMOVED"; without a model "host". */
int xlx__cpu_write_expression(const struct xlx__cpu_model *m,
                              const struct xlx__cpu_set *added,
                              const struct xlx__cpu_set *removed,
                              char **text_r);

/* cpu.c: from text of any form, and names for callers.  names_r: sorted,
 * malloc()ed. */
int xlx__cpu_read_text(const char *name, const char *text,
                       struct xlx__cpu *cpu_r);
int xlx__cpu_names_of(const struct xlx__cpu_set *set, char ***names_r,
                      int *num_r);
int xlx__cpu_from_public(const xlx_cpu *p, struct xlx__cpu *cpu_r);
int xlx__cpu_to_public(const struct xlx__cpu *cpu, xlx_cpu *p);

#endif

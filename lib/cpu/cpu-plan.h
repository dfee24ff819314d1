/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A CPU expression as a plan for guests.  libxl knows no models: a config
 * changes, feature by feature, what Xen gives a guest on the host where it is
 * built, and a guest is not built when one word is about a leaf that the host
 * lacks.  So cpu-plan.c first decides which features the guest will have on
 * all hosts, then which words that needs, and cpu-render.c writes them.
 */
#ifndef XLX_CPU_PLAN_H
#define XLX_CPU_PLAN_H

#include "cpu/cpu.h"

/* There are no others in a guest's policy. */
#define XEN_WORDS XLX__CPU_XEN_WORDS
#define BITS (32 * XEN_WORDS)

struct xlx__cpu_plan {
    struct xlx__cpu_wish wish;
    struct xlx__cpu_xen *hosts;         /* to be freed */
    int num_hosts;
    struct xlx__cpu_set unspoken;       /* what the model says nothing of */
    struct xlx__cpu_set kept;           /* left alone, as Xen has it */
    struct xlx__cpu_set guest;          /* what the guest will have */
    struct xlx__cpu_set off, on;        /* the word that is needed for it */
    /* where hosts have different leaves: lower these levels */
    bool cap_basic, cap_seven, cap_extended;
    bool nested;                        /* has vmx or svm */
};

/* hosts are to be freed also when it fails. */
int xlx__cpu_plan_make(const char *expression, const xlx_cpu_hosts *hosts,
                       bool list, struct xlx__cpu_plan *p);
/* The features of the expression, on a processor that has all; those of "host"
 * are not known here, and only named ones remain. */
struct xlx__cpu_set xlx__cpu_wished(const struct xlx__cpu_wish *w);
/* The levels of the x86-64 ABI are models of no vendor.  Each says which
 * instructions a program may use, and nothing of what a kernel needs: what is
 * in none of them, and not named either, is left as it is. */
struct xlx__cpu_set xlx__cpu_unspoken(const struct xlx__cpu_wish *w);
bool xlx__cpu_all_have_leaf(const struct xlx__cpu_plan *p,
                            const struct xlx__cpu_word *w);

#endif

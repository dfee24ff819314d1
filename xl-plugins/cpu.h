/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the commands about processors: cpu.c has those that work on models
 * and dumps, cpu-xen.c asks a Xen host about them, cpu-guest.c has those about
 * a guest and hosts, cpu-config.c has the messages about a config, also for
 * guard-cpu.c.
 */
#ifndef XL_CPU_H
#define XL_CPU_H

#include "libxlx.h"

/* cpu.c.  All return an exit status. */
/* Says what the text of a processor leaves open, if it does. */
void cpu_say_note(const char *name, const xlx_cpu *cpu);
/* The text of a file, "-" is standard input; to be freed. */
int cpu_read_text(const char *path, const char **name_r, char **text_r);
int cpu_read_dump(const char *path, xlx_cpu *cpu);
/* Whether "xl save" wrote it. */
bool cpu_is_image(const char *path);
void cpu_print_names(const char *title, char *const *names, int num);

/* cpu-xen.c.  All return an exit status. */
/* The processor of a domain, by name or number. */
int cpu_read_domain(const char *domain, xlx_cpu *cpu);
/* From the output of xen-cpuid -p or any dump, or, with NULL, this host. */
int cpu_read_host(const char *path, bool pv, xlx_cpu_host *host);
/* The same for many; says so if something is predicted. */
int cpu_read_hosts(char *const *paths, int num, bool pv, xlx_cpu_hosts *hosts);
/* Writes an expression as config; format as for cpu-expand. */
int cpu_print_config(const char *expression, const char *format, bool pv,
                     char *const *hosts, int num_hosts);

/* cpu-config.c; both to be freed */
/* Says why the guest cannot have the processor, and what can be written
 * instead; NULL if there is no reason. */
char *cpu_config_lacks(const char *expression, const xlx_cpu_config *c);
/* As a value in xl.cfg(5): "host,avx=0", or ["0x1:ecx=...", ...] with between
 * between the elements, and more, or NULL, after the last. */
char *cpu_config_value(const xlx_cpu_config *c, const char *between,
                       const char *more);

#endif

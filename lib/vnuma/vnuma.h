/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the files of the concept.
 */
#ifndef XLX_VNUMA_H
#define XLX_VNUMA_H

#include <stdio.h>

#include "core/internal.h"

#define XLX__VNUMA_MIB (1u << 20)
/* Bounds for what is read; Xen knows 64 nodes of a host, 32 of a guest. */
#define XLX__VNUMA_MAX_NODES 64
#define XLX__VNUMA_MAX_VCPUS 4096
#define XLX__VNUMA_MAX_CPUS 65536

/* ---- vnuma.c ------------------------------------------------------------ */

/* The shape that all others rely on: a square of distances, each vCPU from 0
 * up in one vnode, lists in order.  ERROR_INVAL says where it is not so. */
int xlx__vnuma_check(const xlx_vnuma_topology *t);
int xlx__vnuma_check_host(const xlx_vnuma_host *h);

uint64_t xlx__vnuma_memory(const xlx_vnuma_topology *t);
uint32_t xlx__vnuma_vcpus(const xlx_vnuma_topology *t);
/* The place of the node of that number, -1 if there is none. */
int xlx__vnuma_place(const xlx_vnuma_host *h, uint32_t node);

/* The cores of a node, and its sockets. */
int xlx__vnuma_cores(const xlx_vnuma_node *n, int *sockets_r);
/* Xen counts the holes in a node's addresses as memory: no node can have more
 * than what the host has in all, less what the others have free.  total is 0
 * when it is not known. */
void xlx__vnuma_bound_memory(xlx_vnuma_host *h, uint64_t total);
/* Is the distance from one place to another assumed? */
bool xlx__vnuma_assumed(const xlx_vnuma_host *h, int from, int to);
bool xlx__vnuma_is_assumed(const xlx_vnuma_vnode *v, int to);

/* Appends to an array that only this function has made longer. */
int xlx__vnuma_append(uint32_t **list, int *num, uint32_t value);
int xlx__vnuma_append_string(char ***list, int *num, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int xlx__vnuma_compare_uint32(const void *a, const void *b);
/* A topology of num vnodes, all empty, with room for their distances. */
int xlx__vnuma_alloc(xlx_vnuma_topology *t, int num);
int xlx__vnuma_alloc_host(xlx_vnuma_host *h, int num);

/* ---- vnuma-config.c: vnuma= of an xl.cfg(5), as it is written ----------- */

enum xlx__vnuma_key {
    XLX__VNUMA_PNODE, XLX__VNUMA_SIZE, XLX__VNUMA_VCPUS, XLX__VNUMA_DISTANCES,
    XLX__VNUMA_KEYS
};

struct xlx__vnuma_spec {
    bool has[XLX__VNUMA_KEYS];
    uint64_t pnode;
    uint64_t size;                  /* MiB */
    uint64_t *distances;            /* as many as there are vnodes */
    int num_distances;              /* as many as were given */
    bool no_distances;              /* the value is not a list */
};

struct xlx__vnuma_config {
    char *name;
    char *type;                     /* "hvm", "pv" or "pvh" */
    long memory, maxmem, vcpus, maxvcpus;       /* -1: not given */
    long videoram;                  /* MiB, as libxl has it by default */
    struct xlx__vnuma_spec *nodes;
    int num_nodes;
    bool broken;                    /* a vnode is not a list: there is no more
                                     * to be found */
    int owner[XLX__VNUMA_MAX_VCPUS];    /* the vnode of each vCPU, or -1 */
    uint32_t num_vcpus;             /* the highest in any vnode, plus one */
};

/* Findings of the parser come first in f; faults in the file itself are
 * ERROR_INVAL.  Dispose of *c in either case. */
int xlx__vnuma_config_parse(const char *name, const char *text,
                            struct xlx__vnuma_config *c,
                            xlx_vnuma_findings *f);
void xlx__vnuma_config_dispose(struct xlx__vnuma_config *c);
extern const char *const xlx__vnuma_key_names[XLX__VNUMA_KEYS];

/* ---- vnuma-lint.c ------------------------------------------------------- */

int xlx__vnuma_find(xlx_vnuma_findings *f, xlx_vnuma_effect effect,
                    const char *rule, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The vnodes among themselves, whatever else the config says. */
int xlx__vnuma_lint_nodes(const struct xlx__vnuma_config *c,
                          xlx_vnuma_findings *f);

/* ---- vnuma-measure.c ---------------------------------------------------- */

struct xc_interface_core;
/* t has its vnodes; their nodes and its places come from what Xen counts. */
int xlx__vnuma_measure(struct xc_interface_core *xc, uint32_t domid,
                       xlx_vnuma_topology *t);
/* The same from what Xen printed.  ERROR_NOTFOUND: not in it;
 * ERROR_NOT_READY: not complete. */
int xlx__vnuma_parse_count(const char *text, uint32_t domid,
                           xlx_vnuma_topology *t);

/* ---- writers: the topology was checked, and so was the host ------------- */

/* vnuma-export.c */
void xlx__vnuma_put_list(FILE *out, const uint32_t *list, int num);
/* For text and attributes of XML; what XML cannot say becomes '?'. */
void xlx__vnuma_put_xml(FILE *out, const char *text);
/* "512 MiB", "1.5 GiB" */
#define XLX__VNUMA_SIZE_MAX 32
const char *xlx__vnuma_size(uint64_t bytes, char buf[XLX__VNUMA_SIZE_MAX]);
void xlx__vnuma_write_xl(FILE *out, const xlx_vnuma_topology *t);
/* vnuma-libvirt.c; readers are strict, and leave the shape to
 * xlx__vnuma_check() */
void xlx__vnuma_write_libvirt(FILE *out, const xlx_vnuma_topology *t);
int xlx__vnuma_read_libvirt(const char *name, const char *text,
                            xlx_vnuma_topology *t);
/* vnuma-host-text.c */
int xlx__vnuma_read_host_text(const char *name, const char *text,
                              xlx_vnuma_host *h);
/* vnuma-hwloc-read.c */
int xlx__vnuma_read_hwloc(const char *name, const char *text,
                          xlx_vnuma_host *h);
/* vnuma-hwloc.c */
int xlx__vnuma_write_hwloc(FILE *out, const xlx_vnuma_topology *t);
int xlx__vnuma_write_hwloc_host(FILE *out, const xlx_vnuma_host *h);
/* vnuma-dot.c and vnuma-draw.c: either may be NULL */
void xlx__vnuma_write_dot(FILE *out, const xlx_vnuma_topology *t,
                          const xlx_vnuma_host *h);
int xlx__vnuma_write_svg(FILE *out, const xlx_vnuma_topology *t,
                         const xlx_vnuma_host *h);

#endif

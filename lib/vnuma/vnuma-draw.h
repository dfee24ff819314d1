/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between the files that draw topologies: pieces of text for vnuma-dot.c, and
 * of the SVG page of vnuma-draw.c, whose boxes are vnuma-draw-node.c.
 */
#ifndef XLX_VNUMA_DRAW_H
#define XLX_VNUMA_DRAW_H

#include "vnuma/vnuma.h"

/* ---- vnuma-dot.c -------------------------------------------------------- */

/* A list of numbers as text of at most so many characters, more than 3;
 * malloc()ed, or NULL. */
char *xlx__vnuma_list_text(const uint32_t *list, int num, size_t most);
char *xlx__vnuma_cpus_text(const xlx_vnuma_node *n, size_t most);
/* Is the node of the host known, and one that the host has? */
bool xlx__vnuma_is_on_host(const xlx_vnuma_vnode *v, const xlx_vnuma_host *h);
bool xlx__vnuma_lies_on(const xlx_vnuma_vnode *v, const xlx_vnuma_node *n);
/* "HBM"; "" when it is not known. */
const char *xlx__vnuma_kind(const xlx_vnuma_node *n);

/* ---- measures in pixels ------------------------------------------------- */

#define MARGIN 24
#define GAP 16
#define BOX_WIDTH 288
#define PAD 12
#define INNER (BOX_WIDTH - 2 * PAD)
#define LINE 16
#define VNODE_HEIGHT (3 * LINE + 12)

/* ---- vnuma-draw-node.c -------------------------------------------------- */

/* The guest and host that are drawn, and how much room the boxes have. */
struct xlx__vnuma_page {
    const xlx_vnuma_topology *t;    /* or NULL */
    const xlx_vnuma_host *h;        /* or NULL */
    int own_height;                 /* of a box, above its vnodes */
    int box_height;
};

/* The marks that a picture has, and the legend explains. */
struct xlx__vnuma_marks {
    bool others, unsure, over, threads, assumed;
};

void xlx__vnuma_put_text(FILE *out, int x, int y, const char *class,
                         const char *text);
void xlx__vnuma_put_rect(FILE *out, int x, int y, int width, int height,
                         const char *style);
/* text with at most so many characters, of which the last is then "..." */
void xlx__vnuma_put_short(FILE *out, int x, int y, const char *class,
                          const char *text, int most);
/* Sets the heights of p, and what its boxes show. */
void xlx__vnuma_measure_boxes(struct xlx__vnuma_page *p,
                              struct xlx__vnuma_marks *marks);
void xlx__vnuma_draw_node(FILE *out, int x, int y,
                          const struct xlx__vnuma_page *p,
                          const xlx_vnuma_node *n);
/* A node that the host does not have, or none that is known when number is
 * -1, with the vnodes that are on it. */
void xlx__vnuma_draw_missing(FILE *out, int x, int y,
                             const struct xlx__vnuma_page *p, int64_t number);
void xlx__vnuma_draw_vnode(FILE *out, int x, int y, const xlx_vnuma_vnode *v,
                           int number, bool inside);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Topologies to look at: a graph for Graphviz, and a picture in SVG.  With
 * guest and host, each vnode is drawn in its node; one whose node is not known
 * gets a box next to them.
 */
#include <stdlib.h>
#include <string.h>

#include "vnuma/vnuma.h"

/* A list of numbers as text of at most so many characters, more than 3;
 * malloc()ed, or NULL. */
static char *list_text(const uint32_t *list, int num, size_t most)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    xlx__vnuma_put_list(out, list, num);
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    if (len > most) {
        for (most -= 3; most && text[most] != ','; most--)
            ;
        memcpy(text + most, ",..", 4);
    }
    return text;
}

static char *cpus_text(const xlx_vnuma_node *n, size_t most)
{
    uint32_t *list = calloc((size_t)n->num_cpus + 1, sizeof(*list));
    char *text;
    int i;

    if (!list)
        return NULL;
    for (i = 0; i < n->num_cpus; i++)
        list[i] = n->cpus[i].cpu;
    text = list_text(list, n->num_cpus, most);
    free(list);
    return text;
}

static bool known(const xlx_vnuma_vnode *v, const xlx_vnuma_host *h)
{
    return v->pnode_source != XLX_VNUMA_SOURCE_NONE &&
           xlx__vnuma_place(h, v->pnode) >= 0;
}

static bool lies_on(const xlx_vnuma_vnode *v, const xlx_vnuma_node *n)
{
    return v->pnode_source != XLX_VNUMA_SOURCE_NONE && v->pnode == n->node;
}

/* ---- Graphviz ----------------------------------------------------------- */

static void dot_vnode(FILE *out, const xlx_vnuma_vnode *v, int number)
{
    char size[XLX__VNUMA_SIZE_MAX], *vcpus;

    vcpus = list_text(v->vcpus, v->num_vcpus, 40);
    fprintf(out, "    v%d [shape=box, style=filled, fillcolor=lightblue, "
            "label=\"vnode %d\\n%s\\nvCPUs %s\"];\n", number, number,
            xlx__vnuma_size(v->memory, size),
            v->num_vcpus && vcpus ? vcpus : "none");
    free(vcpus);
}

static void dot_node(FILE *out, const xlx_vnuma_node *n,
                     const xlx_vnuma_topology *t)
{
    char size[XLX__VNUMA_SIZE_MAX], *cpus = cpus_text(n, 40);
    int i;

    fprintf(out, "  subgraph cluster_n%u {\n    label=\"node %u\";\n"
            "    n%u [shape=plaintext, label=\"%s\\ncpus %s\"];\n", n->node,
            n->node, n->node, xlx__vnuma_size(n->memory, size),
            n->num_cpus && cpus ? cpus : "none");
    free(cpus);
    for (i = 0; t && i < t->num_vnodes; i++)
        if (lies_on(&t->vnodes[i], n))
            dot_vnode(out, &t->vnodes[i], i);
    fputs("  }\n", out);
}

/* Both ways where they differ. */
static void dot_edge(FILE *out, char kind, uint32_t a, uint32_t b,
                     uint32_t there, uint32_t back)
{
    fprintf(out, "  %c%u -- %c%u [label=\"", kind, a, kind, b);
    if (there == back)
        fprintf(out, "%u\"];\n", there);
    else
        fprintf(out, "%u / %u\"];\n", there, back);
}

void xlx__vnuma_write_dot(FILE *out, const xlx_vnuma_topology *t,
                          const xlx_vnuma_host *h)
{
    int i, j;

    fputs("graph numa {\n  graph [fontname=\"sans-serif\"];\n"
          "  node [fontname=\"sans-serif\"];\n"
          "  edge [fontname=\"sans-serif\"];\n", out);
    for (i = 0; h && i < h->num_nodes; i++)
        dot_node(out, &h->nodes[i], t);
    for (i = 0; t && i < t->num_vnodes; i++)
        if (!h || !known(&t->vnodes[i], h))
            dot_vnode(out, &t->vnodes[i], i);
    for (i = 0; h && i < h->num_nodes; i++)
        for (j = i + 1; j < h->num_nodes; j++)
            dot_edge(out, 'n', h->nodes[i].node, h->nodes[j].node,
                     h->nodes[i].distances[j], h->nodes[j].distances[i]);
    for (i = 0; t && i < t->num_vnodes; i++)
        for (j = i + 1; j < t->num_vnodes; j++)
            dot_edge(out, 'v', (uint32_t)i, (uint32_t)j,
                     t->vnodes[i].distances[j], t->vnodes[j].distances[i]);
    fputs("}\n", out);
}

/* ---- SVG: measures in pixels -------------------------------------------- */

#define MARGIN 24
#define GAP 16
#define BOX_WIDTH 272
#define PAD 12
#define INNER (BOX_WIDTH - 2 * PAD)
#define LINE 16
#define CPU_SIZE 11
#define CPU_STEP 15
#define CPUS_IN_ROW (INNER / CPU_STEP)
#define MAX_CPU_ROWS 8
#define MAX_DEVICES 4
#define BAR 14
#define VNODE_HEIGHT (3 * LINE + 12)
#define CELL_WIDTH 40
#define CELL_HEIGHT 22
#define MAX_COLUMNS 4

/* Okabe and Ito's colours, which the colour-blind can tell apart. */
static const char *const colours[] = {
    "#56b4e9", "#e69f00", "#009e73", "#cc79a7",
    "#f0e442", "#0072b2", "#d55e00", "#999999",
};

static const char *colour(int vnode)
{
    return colours[(size_t)vnode % XLX__ARRAY_SIZE(colours)];
}

struct matrix {
    const char *title, *short_name;
    int num;
    uint32_t name[XLX__VNUMA_MAX_NODES];
    const uint32_t *row[XLX__VNUMA_MAX_NODES];
};

struct page {
    const xlx_vnuma_topology *t;
    const xlx_vnuma_host *h;
    struct matrix nodes, vnodes;
    int boxes;                      /* of nodes, then vnodes next to them */
    int columns, own_height, box_height, width, height;
};

static void put_text(FILE *out, int x, int y, const char *class,
                     const char *text)
{
    fprintf(out, "<text x=\"%d\" y=\"%d\"%s%s%s>", x, y,
            *class ? " class=\"" : "", class, *class ? "\"" : "");
    xlx__vnuma_put_xml(out, text);
    fputs("</text>\n", out);
}

static void put_rect(FILE *out, int x, int y, int width, int height,
                     const char *style)
{
    fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" %s/>\n",
            x, y, width, height, style);
}

/* ---- the parts of a box ------------------------------------------------- */

static int cpu_rows(const xlx_vnuma_node *n)
{
    int rows = (n->num_cpus + CPUS_IN_ROW - 1) / CPUS_IN_ROW;

    return rows <= MAX_CPU_ROWS ? rows : 0;     /* the text tells */
}

static int device_lines(const xlx_vnuma_node *n)
{
    if (!n->num_devices)
        return 0;
    return n->num_devices <= MAX_DEVICES ? n->num_devices : MAX_DEVICES;
}

static int vnodes_on(const xlx_vnuma_topology *t, const xlx_vnuma_node *n)
{
    int i, num = 0;

    for (i = 0; t && i < t->num_vnodes; i++)
        num += lies_on(&t->vnodes[i], n);
    return num;
}

/* The height of the part of a box about the node itself. */
static int own_height(const xlx_vnuma_node *n)
{
    return PAD + LINE + 6 + LINE + BAR + GAP + LINE +
           cpu_rows(n) * CPU_STEP + device_lines(n) * LINE + LINE / 2;
}

static int vnodes_height(const xlx_vnuma_node *n, const xlx_vnuma_topology *t)
{
    return vnodes_on(t, n) * (VNODE_HEIGHT + 8);
}

/* Its node, which the picture shows if it is drawn inside one. */
static void put_place(FILE *out, int x, int y, const xlx_vnuma_vnode *v,
                      bool inside)
{
    static const char *const known_by[] = {
        [XLX_VNUMA_SOURCE_NONE] = "node not known",
        [XLX_VNUMA_SOURCE_CONFIGURED] = "as configured",
        [XLX_VNUMA_SOURCE_AFFINITY] = "by affinity",
        [XLX_VNUMA_SOURCE_MEASURED] = "as measured",
    };
    const char *how = known_by[v->pnode_source];
    char line[64];

    if (inside || v->pnode_source == XLX_VNUMA_SOURCE_NONE)
        snprintf(line, sizeof(line), "%s", how);
    else
        snprintf(line, sizeof(line), "on node %u, %s", v->pnode, how);
    put_text(out, x, y, "s e", line);
}

static void draw_vnode(FILE *out, int x, int y, const xlx_vnuma_vnode *v,
                       int number, bool inside)
{
    char size[XLX__VNUMA_SIZE_MAX], line[96];
    char *vcpus = list_text(v->vcpus, v->num_vcpus, 28);

    fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"4\" "
            "fill=\"%s\" fill-opacity=\"0.3\" stroke=\"%s\" "
            "stroke-width=\"2\"/>\n", x, y, INNER, VNODE_HEIGHT,
            colour(number), colour(number));
    snprintf(line, sizeof(line), "vnode %d", number);
    put_text(out, x + 8, y + LINE, "b", line);
    put_place(out, x + INNER - 8, y + LINE, v, inside);
    snprintf(line, sizeof(line), "%s memory",
             xlx__vnuma_size(v->memory, size));
    put_text(out, x + 8, y + 2 * LINE, "", line);
    if (v->vcpus_elsewhere)
        snprintf(line, sizeof(line), "vCPUs %s (%u elsewhere)",
                 vcpus ? vcpus : "?", v->vcpus_elsewhere);
    else
        snprintf(line, sizeof(line), "vCPUs %s",
                 v->num_vcpus && vcpus ? vcpus : "none");
    put_text(out, x + 8, y + 3 * LINE, "", line);
    free(vcpus);
}

static bool is_running(const xlx_vnuma_topology *t)
{
    return t->num_vnodes && t->vnodes[0].num_ranges;
}

static int scale(uint64_t part, uint64_t whole)
{
    if (!whole)
        return 0;
    if (part > whole)
        part = whole;
    return (int)((double)part / (double)whole * INNER + 0.5);
}

/* Others' memory first, then this guest's, and what is free.  That of a guest
 * that does not run yet comes out of what is free. */
static void draw_bar(FILE *out, int x, int y, const xlx_vnuma_node *n,
                     const xlx_vnuma_topology *t)
{
    uint64_t own = 0, others = n->memory - n->free;
    char style[64];
    int i, at, width;

    for (i = 0; t && i < t->num_vnodes; i++)
        if (lies_on(&t->vnodes[i], n))
            own += t->vnodes[i].memory;
    if (t && is_running(t))
        others = own < others ? others - own : 0;
    put_rect(out, x, y, INNER, BAR, "fill=\"#fff\"");
    at = scale(others, n->memory);
    put_rect(out, x, y, at, BAR, "fill=\"#b9b9b4\"");
    for (i = 0; t && i < t->num_vnodes; i++) {
        if (!lies_on(&t->vnodes[i], n))
            continue;
        width = scale(t->vnodes[i].memory, n->memory);
        if (at + width > INNER)
            width = INNER - at;
        snprintf(style, sizeof(style), "fill=\"%s\"", colour(i));
        put_rect(out, x + at, y, width, BAR, style);
        at += width;
    }
    put_rect(out, x, y, INNER, BAR, "fill=\"none\" stroke=\"#77776f\"");
}

static int draw_cpus(FILE *out, int x, int y, const xlx_vnuma_node *n)
{
    char *cpus = cpus_text(n, 30), line[96];
    int i;

    snprintf(line, sizeof(line), "%d cpu%s%s%s", n->num_cpus,
             n->num_cpus == 1 ? "" : "s", n->num_cpus ? ": " : "",
             n->num_cpus && cpus ? cpus : "");
    free(cpus);
    put_text(out, x, y, "", line);
    for (i = 0; cpu_rows(n) && i < n->num_cpus; i++)
        put_rect(out, x + i % CPUS_IN_ROW * CPU_STEP,
                 y + 6 + i / CPUS_IN_ROW * CPU_STEP, CPU_SIZE, CPU_SIZE,
                 "rx=\"2\" fill=\"#dcdcd6\" stroke=\"#a3a39b\"");
    return y + LINE + cpu_rows(n) * CPU_STEP;
}

static void draw_devices(FILE *out, int x, int y, const xlx_vnuma_node *n)
{
    char line[96];
    int i, shown = device_lines(n);

    for (i = 0; i < shown; i++) {
        if (i + 1 == shown && n->num_devices > shown)
            snprintf(line, sizeof(line), "and %d PCI devices more",
                     n->num_devices - shown + 1);
        else
            snprintf(line, sizeof(line), "PCI %.64s",
                     xlx__text(n->devices[i]));
        put_text(out, x, y, "s", line);
        y += LINE;
    }
}

/* The vnodes of all boxes begin at the same height. */
static void draw_node(FILE *out, int x, int y, const struct page *p,
                      const xlx_vnuma_node *n)
{
    char all[XLX__VNUMA_SIZE_MAX], free_[XLX__VNUMA_SIZE_MAX], line[96];
    const xlx_vnuma_topology *t = p->t;
    int vnodes = y + p->own_height, i;

    put_rect(out, x, y, BOX_WIDTH, p->box_height,
             "rx=\"6\" fill=\"#f4f4f0\" stroke=\"#77776f\"");
    x += PAD;
    y += PAD + LINE - 4;
    snprintf(line, sizeof(line), "node %u", n->node);
    put_text(out, x, y, "b", line);
    y += LINE + 6;
    snprintf(line, sizeof(line), "%s memory, %s free",
             xlx__vnuma_size(n->memory, all),
             xlx__vnuma_size(n->free, free_));
    put_text(out, x, y, "", line);
    draw_bar(out, x, y + 6, n, t);
    y += 6 + BAR + LINE + 2;
    y = draw_cpus(out, x, y, n);
    draw_devices(out, x, y, n);
    for (i = 0; t && i < t->num_vnodes; i++)
        if (lies_on(&t->vnodes[i], n)) {
            draw_vnode(out, x, vnodes, &t->vnodes[i], i, true);
            vnodes += VNODE_HEIGHT + 8;
        }
}

/* ---- distances ---------------------------------------------------------- */

static int matrix_width(int num)
{
    return (num + 1) * CELL_WIDTH;
}

static int matrix_height(int num)
{
    return LINE + 8 + (num + 1) * CELL_HEIGHT;
}

/* The farther, the darker; 0 is "no way". */
static void draw_cell(FILE *out, int x, int y, uint32_t d, uint32_t largest)
{
    double depth = largest > 10 && d > 10 ? (double)(d - 10) / (largest - 10)
                                          : 0;
    char style[96], line[16];

    snprintf(style, sizeof(style), "fill=\"#0072b2\" fill-opacity=\"%.2f\" "
             "stroke=\"#fff\"", d ? 0.06 + 0.4 * depth : 0.0);
    put_rect(out, x, y, CELL_WIDTH, CELL_HEIGHT, style);
    snprintf(line, sizeof(line), "%u", d);
    put_text(out, x + CELL_WIDTH / 2, y + LINE, "m", d ? line : "-");
}

static uint32_t largest_of(const struct matrix *m)
{
    uint32_t largest = 0;
    int i, j;

    for (i = 0; i < m->num; i++)
        for (j = 0; j < m->num; j++)
            if (m->row[i][j] > largest)
                largest = m->row[i][j];
    return largest;
}

static void draw_matrix(FILE *out, int x, int y, const struct matrix *m,
                        uint32_t largest)
{
    char line[32];
    int i, j;

    put_text(out, x, y + LINE - 4, "b", m->title);
    y += LINE + 8;
    for (i = 0; i < m->num; i++) {
        snprintf(line, sizeof(line), "%s%u", m->short_name, m->name[i]);
        put_text(out, x + (i + 1) * CELL_WIDTH + CELL_WIDTH / 2, y + LINE,
                 "s m", line);
        put_text(out, x + CELL_WIDTH - 8, y + (i + 1) * CELL_HEIGHT + LINE,
                 "s e", line);
        for (j = 0; j < m->num; j++)
            draw_cell(out, x + (j + 1) * CELL_WIDTH,
                      y + (i + 1) * CELL_HEIGHT, m->row[i][j], largest);
    }
}

/* ---- the page ----------------------------------------------------------- */

static void measure(struct page *p)
{
    int i, rows, beside = 0, height, matrices = 0;

    for (i = 0; p->t && i < p->t->num_vnodes; i++) {
        p->vnodes.name[i] = (uint32_t)i;
        p->vnodes.row[i] = p->t->vnodes[i].distances;
        beside += !p->h || !known(&p->t->vnodes[i], p->h);
    }
    p->vnodes.num = i;
    for (i = 0; p->h && i < p->h->num_nodes; i++) {
        p->nodes.name[i] = p->h->nodes[i].node;
        p->nodes.row[i] = p->h->nodes[i].distances;
        height = own_height(&p->h->nodes[i]);
        if (height > p->own_height)
            p->own_height = height;
        height = vnodes_height(&p->h->nodes[i], p->t);
        if (height > p->box_height)
            p->box_height = height;
    }
    p->nodes.num = i;
    p->box_height += p->own_height + (i ? PAD - 8 : 0);
    if (beside && p->box_height < VNODE_HEIGHT)
        p->box_height = VNODE_HEIGHT;
    p->boxes = p->nodes.num + beside;
    p->columns = p->boxes < MAX_COLUMNS ? p->boxes : MAX_COLUMNS;
    rows = p->columns ? (p->boxes + p->columns - 1) / p->columns : 0;
    p->width = p->columns * (BOX_WIDTH + GAP) - GAP;
    if (p->nodes.num > 1)
        matrices = matrix_width(p->nodes.num) + 2 * GAP;
    if (p->vnodes.num > 1)
        matrices += matrix_width(p->vnodes.num);
    if (p->width < matrices)
        p->width = matrices;
    if (p->width < 2 * BOX_WIDTH)
        p->width = 2 * BOX_WIDTH;
    i = p->nodes.num > p->vnodes.num ? p->nodes.num : p->vnodes.num;
    p->width += 2 * MARGIN;
    p->height = MARGIN + 2 * LINE + GAP + rows * (p->box_height + GAP) +
                (i > 1 ? GAP + matrix_height(i) : 0) + MARGIN;
}

static void draw_title(FILE *out, const struct page *p)
{
    char size[XLX__VNUMA_SIZE_MAX], line[96];
    const char *name = p->t ? xlx__text(p->t->name) : "";

    put_text(out, MARGIN, MARGIN + LINE, "t",
             !p->t ? "NUMA topology of the host" :
             *name ? name : "NUMA topology of the guest");
    if (!p->t)
        snprintf(line, sizeof(line), "%d node%s", p->nodes.num,
                 p->nodes.num == 1 ? "" : "s");
    else
        snprintf(line, sizeof(line), "%d vnode%s, %u vCPUs, %s memory%s",
                 p->vnodes.num, p->vnodes.num == 1 ? "" : "s",
                 xlx__vnuma_vcpus(p->t),
                 xlx__vnuma_size(xlx__vnuma_memory(p->t), size),
                 p->h ? "; gray: memory of others" : "");
    put_text(out, MARGIN, MARGIN + 2 * LINE + 4, "", line);
}

static void draw_boxes(FILE *out, const struct page *p, int *y)
{
    int i, x, box = 0;

    for (i = 0; i < p->nodes.num; i++, box++) {
        x = MARGIN + box % p->columns * (BOX_WIDTH + GAP);
        draw_node(out, x, *y + box / p->columns * (p->box_height + GAP), p,
                  &p->h->nodes[i]);
    }
    for (i = 0; i < p->vnodes.num; i++) {
        if (p->h && known(&p->t->vnodes[i], p->h))
            continue;
        x = MARGIN + box % p->columns * (BOX_WIDTH + GAP);
        draw_vnode(out, x, *y + box / p->columns * (p->box_height + GAP),
                   &p->t->vnodes[i], i, false);
        box++;
    }
    if (p->columns)
        *y += (box + p->columns - 1) / p->columns * (p->box_height + GAP);
}

void xlx__vnuma_write_svg(FILE *out, const xlx_vnuma_topology *t,
                          const xlx_vnuma_host *h)
{
    struct page p = {
        .t = t, .h = h,
        .nodes = { .title = "Distances between nodes", .short_name = "n" },
        .vnodes = { .title = "Distances between vnodes", .short_name = "v" },
    };
    int x = MARGIN, y = MARGIN + 2 * LINE + GAP;
    uint32_t largest;

    measure(&p);
    largest = largest_of(&p.nodes);     /* one scale for both */
    if (largest < largest_of(&p.vnodes))
        largest = largest_of(&p.vnodes);
    fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
            "height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"DejaVu Sans, sans-serif\" font-size=\"12\" "
            "fill=\"#222\">\n<style>.t{font-size:18px;font-weight:bold}"
            ".b{font-weight:bold}.s{font-size:10px;fill:#555}"
            ".e{text-anchor:end}.m{text-anchor:middle}</style>\n",
            p.width, p.height, p.width, p.height);
    put_rect(out, 0, 0, p.width, p.height, "fill=\"#fff\"");
    draw_title(out, &p);
    draw_boxes(out, &p, &y);
    y += GAP;
    if (p.nodes.num > 1) {
        draw_matrix(out, x, y, &p.nodes, largest);
        x += matrix_width(p.nodes.num) + 2 * GAP;
    }
    if (p.vnodes.num > 1)
        draw_matrix(out, x, y, &p.vnodes, largest);
    fputs("</svg>\n", out);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A picture in SVG: title, legend, the boxes of vnuma-draw-node.c, and the
 * distances.  With guest and host, each vnode is drawn in its node.
 */
#include <stdlib.h>
#include <string.h>

#include "vnuma/vnuma-draw.h"

#define CELL_WIDTH 40
#define CELL_HEIGHT 22
#define MAX_COLUMNS 4
#define TITLE_WIDTH 180             /* of a matrix */
#define TITLE_CHAR 11               /* about, of its font */
#define LEGEND_CHAR 7

/* Distances of nodes or of vnodes. */
struct matrix {
    const char *title, *short_name;
    int num;
    uint32_t name[XLX__VNUMA_MAX_NODES];
    const uint32_t *row[XLX__VNUMA_MAX_NODES];
    bool assumed[XLX__VNUMA_MAX_NODES][XLX__VNUMA_MAX_NODES];
};

struct page {
    struct xlx__vnuma_page p;
    struct xlx__vnuma_marks marks;
    struct matrix nodes, vnodes;
    int64_t missing[XLX__VNUMA_MAX_NODES];  /* nodes that the host does not
                                             * have; -1: not known */
    int num_missing;
    int boxes, columns, width, height, legend_height;
};

/* ---- distances ---------------------------------------------------------- */

static int matrix_width(int num)
{
    int width = (num + 1) * CELL_WIDTH;

    return width < TITLE_WIDTH ? TITLE_WIDTH : width;
}

static int matrix_height(int num)
{
    return LINE + 8 + (num + 1) * CELL_HEIGHT;
}

/* The farther, the darker; 0 is "no way".  One that is assumed is dashed and
 * has a question mark. */
static void draw_cell(FILE *out, int x, int y, uint32_t d, uint32_t largest,
                      bool assumed)
{
    double depth = largest > 10 && d > 10 ? (double)(d - 10) / (largest - 10)
                                          : 0;
    char style[128], line[16];

    snprintf(style, sizeof(style), "fill=\"#0072b2\" fill-opacity=\"%.2f\" "
             "stroke=\"#fff\"", d && !assumed ? 0.06 + 0.4 * depth : 0.0);
    xlx__vnuma_put_rect(out, x, y, CELL_WIDTH, CELL_HEIGHT, style);
    if (assumed)
        xlx__vnuma_put_rect(out, x + 2, y + 2, CELL_WIDTH - 4,
                            CELL_HEIGHT - 4, "fill=\"none\" stroke=\"#55554f\""
                            " stroke-dasharray=\"3 2\"");
    snprintf(line, sizeof(line), "%u%s", d, assumed ? "?" : "");
    xlx__vnuma_put_text(out, x + CELL_WIDTH / 2, y + LINE, "m",
                        d ? line : "-");
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

    xlx__vnuma_put_text(out, x, y + LINE - 4, "b", m->title);
    y += LINE + 8;
    for (i = 0; i < m->num; i++) {
        snprintf(line, sizeof(line), "%s%u", m->short_name, m->name[i]);
        xlx__vnuma_put_text(out, x + (i + 1) * CELL_WIDTH + CELL_WIDTH / 2,
                            y + LINE, "s m", line);
        xlx__vnuma_put_text(out, x + CELL_WIDTH - 8,
                            y + (i + 1) * CELL_HEIGHT + LINE, "s e", line);
        for (j = 0; j < m->num; j++)
            draw_cell(out, x + (j + 1) * CELL_WIDTH,
                      y + (i + 1) * CELL_HEIGHT, m->row[i][j], largest,
                      m->assumed[i][j]);
    }
}

/* ---- the legend --------------------------------------------------------- */

struct entry {
    bool shown;
    const char *style;              /* of its sample */
    const char *text;
};

/* Side by side, in as many lines as it takes; without out nothing is drawn.
 * Its height. */
static int draw_legend(FILE *out, int x, int y, const struct page *p)
{
    const struct entry entries[] = {
        { p->marks.others, "fill=\"#a9a9a4\" stroke=\"#55554f\"",
          "memory of others" },
        { p->marks.unsure, "fill=\"url(#unsure)\" stroke=\"#55554f\"",
          "memory of others, or a hole (not to scale)" },
        { p->p.t, "fill=\"#56b4e9\" stroke=\"#222\"",
          "memory of a vnode, by number" },
        { true, "fill=\"#fff\" stroke=\"#55554f\"", "free memory" },
        { p->marks.over, "fill=\"url(#over)\" stroke=\"#b00000\"",
          "does not fit" },
        { p->marks.threads, "fill=\"#8a8a84\"",
          "cpu; a frame is a core with its threads" },
        { p->marks.assumed, "fill=\"none\" stroke=\"#55554f\" "
          "stroke-dasharray=\"3 2\"", "?: assumed, no source says it" },
    };
    int at = x, height = LINE + 4, width;
    size_t i;

    for (i = 0; p->p.h && i < XLX__ARRAY_SIZE(entries); i++) {
        if (!entries[i].shown)
            continue;
        width = 24 + LEGEND_CHAR * (int)strlen(entries[i].text) + GAP;
        if (at > x && at + width > p->width - MARGIN) {
            at = x;
            height += LINE + 4;
        }
        if (out) {
            xlx__vnuma_put_rect(out, at, y + height - LINE - 4 + 2, 16, 11,
                                entries[i].style);
            xlx__vnuma_put_text(out, at + 22, y + height - LINE - 4 + 12, "",
                                entries[i].text);
        }
        at += width;
    }
    return p->p.h ? height + 6 : 0;
}

/* ---- the page ----------------------------------------------------------- */

static void add_missing(struct page *p, int64_t number)
{
    int i;

    for (i = 0; i < p->num_missing; i++)
        if (p->missing[i] == number)
            return;
    p->missing[p->num_missing++] = number;
}

static void find_rows(struct page *p)
{
    const xlx_vnuma_topology *t = p->p.t;
    const xlx_vnuma_host *h = p->p.h;
    int i, j;

    p->vnodes.num = t ? t->num_vnodes : 0;
    for (i = 0; i < p->vnodes.num; i++) {
        p->vnodes.name[i] = (uint32_t)i;
        p->vnodes.row[i] = t->vnodes[i].distances;
        for (j = 0; j < t->num_vnodes; j++)
            p->vnodes.assumed[i][j] = xlx__vnuma_is_assumed(&t->vnodes[i], j);
        if (h && !xlx__vnuma_is_on_host(&t->vnodes[i], h))
            add_missing(p, t->vnodes[i].pnode_source ==
                           XLX_VNUMA_SOURCE_NONE
                           ? -1 : (int64_t)t->vnodes[i].pnode);
    }
    p->nodes.num = h ? h->num_nodes : 0;
    for (i = 0; i < p->nodes.num; i++) {
        p->nodes.name[i] = h->nodes[i].node;
        p->nodes.row[i] = h->nodes[i].distances;
        for (j = 0; j < h->num_nodes; j++)
            p->nodes.assumed[i][j] = xlx__vnuma_assumed(h, i, j);
    }
}

static void measure(struct page *p)
{
    int i, rows, matrices = 0;

    find_rows(p);
    xlx__vnuma_measure_boxes(&p->p, &p->marks);
    p->boxes = p->p.h ? p->nodes.num + p->num_missing : p->vnodes.num;
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
    p->legend_height = draw_legend(NULL, MARGIN, 0, p);
    p->height = MARGIN + 2 * LINE + GAP + p->legend_height +
                rows * (p->p.box_height + GAP) +
                (i > 1 ? GAP + matrix_height(i) : 0) + MARGIN;
}

static void draw_title(FILE *out, const struct page *p)
{
    char size[XLX__VNUMA_SIZE_MAX], line[96];
    const xlx_vnuma_topology *t = p->p.t;
    const char *name = t ? xlx__text(t->name) : "";

    xlx__vnuma_put_short(out, MARGIN, MARGIN + LINE, "t",
                         !t ? "NUMA topology of the host" :
                         *name ? name : "NUMA topology of the guest",
                         (p->width - 2 * MARGIN) / TITLE_CHAR);
    if (!t)
        snprintf(line, sizeof(line), "%d node%s", p->nodes.num,
                 p->nodes.num == 1 ? "" : "s");
    else
        snprintf(line, sizeof(line), "%d vnode%s, %u vCPUs, %s memory",
                 p->vnodes.num, p->vnodes.num == 1 ? "" : "s",
                 xlx__vnuma_vcpus(t),
                 xlx__vnuma_size(xlx__vnuma_memory(t), size));
    xlx__vnuma_put_text(out, MARGIN, MARGIN + 2 * LINE + 4, "", line);
}

static void draw_boxes(FILE *out, const struct page *p, int *top)
{
    int i, x, y;

    for (i = 0; i < p->boxes; i++) {
        x = MARGIN + i % p->columns * (BOX_WIDTH + GAP);
        y = *top + i / p->columns * (p->p.box_height + GAP);
        if (!p->p.h)
            xlx__vnuma_draw_vnode(out, x, y, &p->p.t->vnodes[i], i, false);
        else if (i < p->nodes.num)
            xlx__vnuma_draw_node(out, x, y, &p->p, &p->p.h->nodes[i]);
        else
            xlx__vnuma_draw_missing(out, x, y, &p->p,
                                    p->missing[i - p->nodes.num]);
    }
    if (p->columns)
        *top += (i + p->columns - 1) / p->columns * (p->p.box_height + GAP);
}

static void draw_head(FILE *out, const struct page *p)
{
    fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
            "height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"DejaVu Sans, sans-serif\" font-size=\"12\" "
            "fill=\"#222\">\n<title>", p->width, p->height, p->width,
            p->height);
    xlx__vnuma_put_xml(out, p->p.t && *xlx__text(p->p.t->name)
                            ? p->p.t->name : "NUMA topology");
    fputs("</title>\n<style>.t{font-size:18px;font-weight:bold}"
          ".b{font-weight:bold}.s{font-size:10px;fill:#444}"
          ".n{font-size:11px;font-weight:bold}"
          ".r{fill:#b00000}"
          ".e{text-anchor:end}.m{text-anchor:middle}</style>\n<defs>\n"
          "<pattern id=\"unsure\" width=\"6\" height=\"6\" "
          "patternUnits=\"userSpaceOnUse\"><rect width=\"6\" height=\"6\" "
          "fill=\"#fff\"/><path d=\"M0 6L6 0M-1 1L1 -1M5 7L7 5\" "
          "stroke=\"#77776f\"/></pattern>\n"
          "<pattern id=\"over\" width=\"6\" height=\"6\" "
          "patternUnits=\"userSpaceOnUse\"><path "
          "d=\"M0 0L6 6M-1 5L1 7M5 -1L7 1\" stroke=\"#b00000\" "
          "stroke-width=\"1.6\"/></pattern>\n</defs>\n", out);
    xlx__vnuma_put_rect(out, 0, 0, p->width, p->height, "fill=\"#fff\"");
}

int xlx__vnuma_write_svg(FILE *out, const xlx_vnuma_topology *t,
                         const xlx_vnuma_host *h)
{
    struct page *p = calloc(1, sizeof(*p));
    int x = MARGIN, y = MARGIN + 2 * LINE + GAP;
    uint32_t largest;

    if (!p)
        return xlx__nomem();
    p->p.t = t;
    p->p.h = h;
    p->nodes.title = "Distances between nodes";
    p->nodes.short_name = "n";
    p->vnodes.title = "Distances between vnodes";
    p->vnodes.short_name = "v";
    measure(p);
    largest = largest_of(&p->nodes);    /* one scale for both */
    if (largest < largest_of(&p->vnodes))
        largest = largest_of(&p->vnodes);
    draw_head(out, p);
    draw_title(out, p);
    draw_legend(out, x, y, p);
    y += p->legend_height;
    draw_boxes(out, p, &y);
    y += GAP;
    if (p->nodes.num > 1) {
        draw_matrix(out, x, y, &p->nodes, largest);
        x += matrix_width(p->nodes.num) + 2 * GAP;
    }
    if (p->vnodes.num > 1)
        draw_matrix(out, x, y, &p->vnodes, largest);
    fputs("</svg>\n", out);
    free(p);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The boxes of a picture in SVG: a node of the host with its memory, its cpus
 * by core and socket, its devices, and the vnodes that lie on it.  A vnode
 * whose node the host does not have, or is not known, is in a dashed box.
 */
#include <stdlib.h>
#include <string.h>

#include "vnuma/vnuma-draw.h"

#define THREAD 8                    /* a square */
#define THREAD_STEP 10
#define CORE_PAD 3
#define CORE_GAP 4
#define CORE_STEP 18                /* a row of cores */
#define SOCKET_WIDTH 54
#define MAX_CORE_ROWS 16
#define MAX_DEVICES 4
#define BAR 16

/* Colours of Okabe and Ito's, which the colour-blind can tell apart, as far as
 * they are not used for anything else; in the bar each also has its number. */
static const char *const colours[] = {
    "#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2",
};

static const char *colour(int vnode)
{
    return colours[(size_t)vnode % XLX__ARRAY_SIZE(colours)];
}

void xlx__vnuma_put_text(FILE *out, int x, int y, const char *class,
                         const char *text)
{
    fprintf(out, "<text x=\"%d\" y=\"%d\"%s%s%s>", x, y,
            *class ? " class=\"" : "", class, *class ? "\"" : "");
    xlx__vnuma_put_xml(out, text);
    fputs("</text>\n", out);
}

void xlx__vnuma_put_rect(FILE *out, int x, int y, int width, int height,
                         const char *style)
{
    fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" %s/>\n",
            x, y, width, height, style);
}

void xlx__vnuma_put_short(FILE *out, int x, int y, const char *class,
                          const char *text, int most)
{
    char *copy = strdup(text), *p = copy, *cut = copy;
    size_t n, left = strlen(text);
    int i;

    for (i = 0; copy && *p && i < most; i++, p += n, left -= n) {
        if (i == most - 3)
            cut = p;
        n = xlx__utf8_length(p, left);
        n = n ? n : 1;
    }
    if (copy && *p && cut > copy)
        memcpy(cut, "...", 4);          /* at least as many bytes follow */
    xlx__vnuma_put_text(out, x, y, class, copy ? copy : "");
    free(copy);
}

/* ---- memory ------------------------------------------------------------- */

/* The memory of a node as its bar shows it: what others have, or what may not
 * be there; then the vnodes, and what is free. */
struct bar {
    uint64_t others, own, end, whole;
    bool unsure, over;
};

static bool is_running(const xlx_vnuma_topology *t)
{
    return t->num_vnodes && t->vnodes[0].num_ranges;
}

/* A guest that does not run takes of what is free.  Memory that may be a hole
 * never takes more than a third of the bar: nobody knows how much it is. */
static struct bar bar_of(const xlx_vnuma_node *n, const xlx_vnuma_topology *t)
{
    struct bar b = { .others = n->memory - n->free };
    uint64_t certain = n->free;
    int i;

    for (i = 0; t && i < t->num_vnodes; i++)
        if (xlx__vnuma_lies_on(&t->vnodes[i], n))
            b.own += t->vnodes[i].memory;
    if (t && is_running(t)) {
        b.others = b.own < b.others ? b.others - b.own : 0;
        certain += b.own;
    }
    b.unsure = !n->present && b.others;
    if (b.unsure && b.others > certain / 2)
        b.others = certain / 2;
    b.end = b.others + certain;
    b.over = b.own > certain;
    b.whole = b.over ? b.others + b.own : b.end;
    return b;
}

static int scale(uint64_t part, uint64_t whole)
{
    if (!whole)
        return 0;
    if (part > whole)
        part = whole;
    return (int)((double)part / (double)whole * INNER + 0.5);
}

/* The vnodes of the node side by side, or their numbers where there is room:
 * those are written last, because what does not fit is hatched. */
static void draw_own(FILE *out, int x, int y, const xlx_vnuma_node *n,
                     const xlx_vnuma_topology *t, const struct bar *b,
                     bool numbers)
{
    uint64_t sum = b->others;
    int i, from, width;
    char text[96];

    for (i = 0; t && i < t->num_vnodes; i++) {
        if (!xlx__vnuma_lies_on(&t->vnodes[i], n))
            continue;
        from = scale(sum, b->whole);
        sum += t->vnodes[i].memory;
        width = scale(sum, b->whole) - from;
        snprintf(text, sizeof(text), "fill=\"%s\" stroke=\"#222\" "
                 "stroke-width=\"0.5\"", colour(i));
        if (!numbers)
            xlx__vnuma_put_rect(out, x + from, y, width, BAR, text);
        if (!numbers || width < 20)
            continue;
        xlx__vnuma_put_rect(out, x + from + width / 2 - 8, y + 2, 16,
                            BAR - 4, "rx=\"3\" fill=\"#fff\"");
        snprintf(text, sizeof(text), "%d", i);
        xlx__vnuma_put_text(out, x + from + width / 2, y + BAR - 4, "n m",
                            text);
    }
}

static void draw_bar(FILE *out, int x, int y, const xlx_vnuma_node *n,
                     const xlx_vnuma_topology *t)
{
    struct bar b = bar_of(n, t);
    int end = scale(b.end, b.whole);

    xlx__vnuma_put_rect(out, x, y, INNER, BAR, "fill=\"#fff\"");
    xlx__vnuma_put_rect(out, x, y, scale(b.others, b.whole), BAR,
                        b.unsure ? "fill=\"url(#unsure)\""
                                 : "fill=\"#a9a9a4\"");
    draw_own(out, x, y, n, t, &b, false);
    if (b.over) {
        xlx__vnuma_put_rect(out, x + end, y, INNER - end, BAR,
                            "fill=\"url(#over)\"");
        xlx__vnuma_put_rect(out, x + end, y - 4, 3, BAR + 8,
                            "fill=\"#b00000\"");
    }
    draw_own(out, x, y, n, t, &b, true);
    xlx__vnuma_put_rect(out, x, y, INNER, BAR,
                        "fill=\"none\" stroke=\"#55554f\"");
}

static void put_memory(FILE *out, int x, int y, const xlx_vnuma_node *n)
{
    char all[XLX__VNUMA_SIZE_MAX], rest[XLX__VNUMA_SIZE_MAX], line[96];

    snprintf(line, sizeof(line), "%s%s memory, %s", n->present ? "" :
             "at most ", xlx__vnuma_size(n->memory, all), n->free_assumed ?
             "all free?" : xlx__vnuma_size(n->free, rest));
    if (!n->free_assumed)
        strncat(line, " free", sizeof(line) - strlen(line) - 1);
    xlx__vnuma_put_text(out, x, y, "", line);
}

static void put_over(FILE *out, int x, int y, const xlx_vnuma_node *n,
                     const xlx_vnuma_topology *t)
{
    char own[XLX__VNUMA_SIZE_MAX], over[XLX__VNUMA_SIZE_MAX], line[96];
    struct bar b = bar_of(n, t);

    if (!b.over)
        return;
    snprintf(line, sizeof(line), "too full: %s, %s more than fits",
             xlx__vnuma_size(b.own, own),
             xlx__vnuma_size(b.others + b.own - b.end, over));
    xlx__vnuma_put_text(out, x, y, "b r", line);
}

/* ---- cpus --------------------------------------------------------------- */

static int by_core(const void *a, const void *b)
{
    const xlx_vnuma_cpu *x = a, *y = b;

    if (x->socket != y->socket)
        return x->socket < y->socket ? -1 : 1;
    if (x->core != y->core)
        return x->core < y->core ? -1 : 1;
    return (x->cpu > y->cpu) - (x->cpu < y->cpu);
}

/* A frame for each core with a square for each of its cpus; a socket begins a
 * row, which names it if there are several.  Draws nothing
 * when out is NULL; how many rows there are. */
static int core_rows(FILE *out, int x, int y, const xlx_vnuma_node *n)
{
    xlx_vnuma_cpu *cpus = calloc((size_t)n->num_cpus + 1, sizeof(*cpus));
    int i, j, k, left, at, row = 0, width;
    char line[24];

    if (!cpus)
        return 0;
    if (n->num_cpus)
        memcpy(cpus, n->cpus, (size_t)n->num_cpus * sizeof(*cpus));
    qsort(cpus, (size_t)n->num_cpus, sizeof(*cpus), by_core);
    left = n->num_cpus && cpus[0].socket != cpus[n->num_cpus - 1].socket
         ? SOCKET_WIDTH : 0;
    for (i = 0, at = left; i < n->num_cpus; i = j) {
        for (j = i + 1; j < n->num_cpus && cpus[j].core == cpus[i].core &&
             cpus[j].socket == cpus[i].socket; j++)
            ;
        width = (j - i) * THREAD_STEP - 2 + 2 * CORE_PAD;
        if (at > left && (at + width > INNER || cpus[i].socket !=
                          cpus[i - 1].socket)) {
            row++;
            at = left;
        }
        snprintf(line, sizeof(line), "socket %u", cpus[i].socket);
        if (out && left && (!i || cpus[i].socket != cpus[i - 1].socket))
            xlx__vnuma_put_text(out, x, y + row * CORE_STEP + 11, "s", line);
        if (out)
            xlx__vnuma_put_rect(out, x + at, y + row * CORE_STEP, width,
                                THREAD + 2 * CORE_PAD, "rx=\"2\" "
                                "fill=\"#fff\" stroke=\"#55554f\"");
        for (k = i; out && k < j; k++)
            xlx__vnuma_put_rect(out, x + at + CORE_PAD + (k - i) *
                                THREAD_STEP, y + row * CORE_STEP + CORE_PAD,
                                THREAD, THREAD, "fill=\"#8a8a84\"");
        at += width + CORE_GAP;
    }
    free(cpus);
    return n->num_cpus ? row + 1 : 0;
}

/* Those that are drawn: of very many the text tells. */
static int drawn_rows(const xlx_vnuma_node *n)
{
    int rows = core_rows(NULL, 0, 0, n);

    return rows <= MAX_CORE_ROWS ? rows : 0;
}

/* "16 cpus, 8 cores, socket 1", and which cpus these are. */
static int draw_cpus(FILE *out, int x, int y, const xlx_vnuma_host *h,
                     const xlx_vnuma_node *n)
{
    char *cpus = xlx__vnuma_cpus_text(n, 34), line[128] = "no cpus";
    int sockets = 0, cores = xlx__vnuma_cores(n, &sockets);

    if (n->num_cpus && h->cores_assumed)
        snprintf(line, sizeof(line), "%d cpu%s", n->num_cpus,
                 n->num_cpus == 1 ? "" : "s");
    else if (n->num_cpus && sockets == 1)
        snprintf(line, sizeof(line), "%d cpu%s, %d core%s, socket %u",
                 n->num_cpus, n->num_cpus == 1 ? "" : "s", cores,
                 cores == 1 ? "" : "s", n->cpus[0].socket);
    else if (n->num_cpus)
        snprintf(line, sizeof(line), "%d cpus, %d cores, %d sockets",
                 n->num_cpus, cores, sockets);
    if (n->cpus_assumed)
        strncat(line, "?", sizeof(line) - strlen(line) - 1);
    xlx__vnuma_put_text(out, x, y, "", line);
    if (n->num_cpus) {
        snprintf(line, sizeof(line), "cpus %s", cpus ? cpus : "?");
        xlx__vnuma_put_text(out, x, y + LINE, "s", line);
    }
    free(cpus);
    if (drawn_rows(n))
        core_rows(out, x, y + LINE + 6, n);
    return y + 2 * LINE + drawn_rows(n) * CORE_STEP + 4;
}

/* More vCPUs than cores: some share one. */
static int vcpus_on(const xlx_vnuma_topology *t, const xlx_vnuma_node *n)
{
    int i, num = 0;

    for (i = 0; t && i < t->num_vnodes; i++)
        if (xlx__vnuma_lies_on(&t->vnodes[i], n))
            num += t->vnodes[i].num_vcpus;
    return num;
}

static bool is_shared(const struct xlx__vnuma_page *p,
                      const xlx_vnuma_node *n)
{
    return n->num_cpus && !p->h->cores_assumed &&
           vcpus_on(p->t, n) > xlx__vnuma_cores(n, NULL);
}

static void put_shared(FILE *out, int x, int y,
                       const struct xlx__vnuma_page *p,
                       const xlx_vnuma_node *n)
{
    int cores = xlx__vnuma_cores(n, NULL);
    char line[64];

    if (!is_shared(p, n))
        return;
    snprintf(line, sizeof(line), "%d vCPUs on %d core%s", vcpus_on(p->t, n),
             cores, cores == 1 ? "" : "s");
    xlx__vnuma_put_text(out, x, y, "b", line);
}

/* ---- devices ------------------------------------------------------------ */

static int device_lines(const xlx_vnuma_node *n)
{
    return n->num_devices <= MAX_DEVICES ? n->num_devices : MAX_DEVICES;
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
        xlx__vnuma_put_short(out, x, y, "s", line, 40);
        y += LINE;
    }
}

/* ---- vnodes ------------------------------------------------------------- */

/* Its node, which the picture shows if it is drawn inside one. */
static void put_place(FILE *out, int x, int y, const xlx_vnuma_vnode *v,
                      bool inside)
{
    static const char *const known_by[] = {
        [XLX_VNUMA_SOURCE_NONE] = "node not known",
        [XLX_VNUMA_SOURCE_CONFIGURED] = "as configured",
        [XLX_VNUMA_SOURCE_AFFINITY] = "by affinity",
        [XLX_VNUMA_SOURCE_MEASURED] = "as measured",
        [XLX_VNUMA_SOURCE_ASSUMED] = "assumed",
    };
    const char *how = known_by[v->pnode_source];
    char line[64];

    if (inside || v->pnode_source == XLX_VNUMA_SOURCE_NONE)
        snprintf(line, sizeof(line), "%s", how);
    else
        snprintf(line, sizeof(line), "on node %u, %s", v->pnode, how);
    xlx__vnuma_put_text(out, x, y, "s e", line);
}

void xlx__vnuma_draw_vnode(FILE *out, int x, int y, const xlx_vnuma_vnode *v,
                           int number, bool inside)
{
    char size[XLX__VNUMA_SIZE_MAX], line[96];
    char *vcpus = xlx__vnuma_list_text(v->vcpus, v->num_vcpus, 28);

    fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"4\" "
            "fill=\"#fff\" stroke=\"#222\"/>\n", x, y, INNER, VNODE_HEIGHT);
    snprintf(line, sizeof(line), "fill=\"%s\" stroke=\"#222\"",
             colour(number));
    xlx__vnuma_put_rect(out, x, y, 10, VNODE_HEIGHT, line);
    snprintf(line, sizeof(line), "vnode %d", number);
    xlx__vnuma_put_text(out, x + 18, y + LINE, "b", line);
    put_place(out, x + INNER - 8, y + LINE, v, inside);
    snprintf(line, sizeof(line), "%s memory",
             xlx__vnuma_size(v->memory, size));
    xlx__vnuma_put_text(out, x + 18, y + 2 * LINE, "", line);
    if (v->vcpus_elsewhere)
        snprintf(line, sizeof(line), "vCPUs %s (%u elsewhere)",
                 vcpus ? vcpus : "?", v->vcpus_elsewhere);
    else
        snprintf(line, sizeof(line), "vCPUs %s",
                 v->num_vcpus && vcpus ? vcpus : "none");
    xlx__vnuma_put_text(out, x + 18, y + 3 * LINE, "", line);
    free(vcpus);
}

/* ---- boxes -------------------------------------------------------------- */

static bool is_there(const xlx_vnuma_vnode *v, const xlx_vnuma_host *h,
                     int64_t number)
{
    if (v->pnode_source == XLX_VNUMA_SOURCE_NONE)
        return number < 0;
    return number >= 0 && v->pnode == (uint64_t)number &&
           xlx__vnuma_place(h, v->pnode) < 0;
}

/* The height of a box without its vnodes. */
static int own_height(const struct xlx__vnuma_page *p, const xlx_vnuma_node *n)
{
    return PAD + LINE + LINE + 6 + BAR + 8 +
           (bar_of(n, p->t).over ? LINE : 0) + 2 * LINE +
           drawn_rows(n) * CORE_STEP + (is_shared(p, n) ? LINE : 0) +
           device_lines(n) * LINE + LINE / 2 + 8;
}

static void count_marks(const struct xlx__vnuma_page *p,
                        const xlx_vnuma_node *n,
                        struct xlx__vnuma_marks *marks)
{
    struct bar b = bar_of(n, p->t);

    marks->others |= b.others && !b.unsure;
    marks->unsure |= b.unsure;
    marks->over |= b.over;
    marks->threads |= drawn_rows(n) && !p->h->cores_assumed &&
                      xlx__vnuma_cores(n, NULL) < n->num_cpus;
    marks->assumed |= n->num_assumed || n->cpus_assumed || n->free_assumed;
}

void xlx__vnuma_measure_boxes(struct xlx__vnuma_page *p,
                              struct xlx__vnuma_marks *marks)
{
    int i, j, num, most = 0, height;

    for (i = 0; p->h && i < p->h->num_nodes; i++) {
        height = own_height(p, &p->h->nodes[i]);
        if (height > p->own_height)
            p->own_height = height;
        count_marks(p, &p->h->nodes[i], marks);
    }
    for (i = 0; p->h && p->t && i < p->t->num_vnodes; i++) {
        const xlx_vnuma_vnode *v = &p->t->vnodes[i];

        for (j = 0, num = 0; j < p->t->num_vnodes; j++)
            num += v->pnode_source == XLX_VNUMA_SOURCE_NONE ?
                   p->t->vnodes[j].pnode_source == v->pnode_source :
                   p->t->vnodes[j].pnode_source != XLX_VNUMA_SOURCE_NONE &&
                   p->t->vnodes[j].pnode == v->pnode;
        if (num > most)
            most = num;
    }
    for (i = 0; p->t && i < p->t->num_vnodes; i++)
        marks->assumed |= p->t->vnodes[i].num_assumed;
    p->box_height = !p->h ? VNODE_HEIGHT : p->own_height +
                    most * (VNODE_HEIGHT + 8) + (most ? PAD - 8 : 0);
}

void xlx__vnuma_draw_node(FILE *out, int x, int y,
                          const struct xlx__vnuma_page *p,
                          const xlx_vnuma_node *n)
{
    int vnodes = y + p->own_height, i;
    char line[32];

    xlx__vnuma_put_rect(out, x, y, BOX_WIDTH, p->box_height, "rx=\"6\" "
                        "fill=\"#f4f4f0\" stroke=\"#55554f\"");
    x += PAD;
    y += PAD + LINE - 4;
    snprintf(line, sizeof(line), "node %u", n->node);
    xlx__vnuma_put_text(out, x, y, "b", line);
    xlx__vnuma_put_text(out, x + INNER, y, "b e", xlx__vnuma_kind(n));
    y += LINE + 4;
    put_memory(out, x, y, n);
    y += 8;
    draw_bar(out, x, y, n, p->t);
    y += BAR + LINE + 2;
    if (bar_of(n, p->t).over) {
        put_over(out, x, y, n, p->t);
        y += LINE;
    }
    y = draw_cpus(out, x, y, p->h, n);
    if (is_shared(p, n)) {
        put_shared(out, x, y, p, n);
        y += LINE;
    }
    draw_devices(out, x, y, n);
    for (i = 0; p->t && i < p->t->num_vnodes; i++)
        if (xlx__vnuma_lies_on(&p->t->vnodes[i], n)) {
            xlx__vnuma_draw_vnode(out, x, vnodes, &p->t->vnodes[i], i, true);
            vnodes += VNODE_HEIGHT + 8;
        }
}

void xlx__vnuma_draw_missing(FILE *out, int x, int y,
                             const struct xlx__vnuma_page *p, int64_t number)
{
    int vnodes = y + p->own_height, i;
    char line[64] = "node not known";

    if (number >= 0)
        snprintf(line, sizeof(line), "node %u", (uint32_t)number);
    xlx__vnuma_put_rect(out, x, y, BOX_WIDTH, p->box_height, "rx=\"6\" "
                        "fill=\"#fff\" stroke=\"#b00000\" stroke-width=\"2\" "
                        "stroke-dasharray=\"6 4\"");
    xlx__vnuma_put_text(out, x + PAD, y + PAD + LINE - 4, "b", line);
    xlx__vnuma_put_text(out, x + PAD, y + PAD + 2 * LINE, "b r", number < 0 ?
                        "nobody says where these are" :
                        "the host has no such node");
    for (i = 0; i < p->t->num_vnodes; i++)
        if (is_there(&p->t->vnodes[i], p->h, number)) {
            xlx__vnuma_draw_vnode(out, x + PAD, vnodes, &p->t->vnodes[i], i,
                                  number >= 0);
            vnodes += VNODE_HEIGHT + 8;
        }
}

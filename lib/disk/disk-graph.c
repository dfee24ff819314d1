/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's block graph, from three commands: query-named-block-nodes has the
 * files of nodes, x-debug-query-block-graph (QEMU 4.0 to 11) has which node is
 * on which, query-block-exports the names of exports.
 *
 * The nodes on a file are its protocol node, the format node above that, and
 * filters; they are found by the file's inode and then upwards.
 */
#include <stdlib.h>
#include <string.h>

#include "disk/disk-graph.h"
#include "disk/image-name.h"

struct node {
    int64_t id;
    char type;                      /* 'b'ackend, 'j'ob, 'd'river */
    char *name, *driver, *file, *bitmap, *export;
    int bitmaps;
    bool has_id;
    struct xlx__file_id file_id;
    bool readonly;
    bool rooted;                    /* a backend or job leads to it */
    bool has_parent;
    bool on;                        /* on the file that is asked about */
};

struct edge {
    int parent, child;              /* places in nodes */
    bool same;                      /* the parent is on the child's file */
    bool writes;
};

struct xlx__disk_graph {
    struct node *nodes;
    struct edge *edges;
    int num_nodes, num_edges;
};

void xlx__disk_graph_free(struct xlx__disk_graph *graph)
{
    int i;

    if (!graph)
        return;
    for (i = 0; i < graph->num_nodes; i++) {
        free(graph->nodes[i].name);
        free(graph->nodes[i].driver);
        free(graph->nodes[i].file);
        free(graph->nodes[i].bitmap);
        free(graph->nodes[i].export);
    }
    free(graph->nodes);
    free(graph->edges);
    free(graph);
}

/* ---- reading ------------------------------------------------------------ */

static struct node *driver_named(const struct xlx__disk_graph *g,
                                 const char *name)
{
    int i;

    for (i = 0; i < g->num_nodes; i++)
        if (g->nodes[i].type == 'd' && !strcmp(g->nodes[i].name, name))
            return &g->nodes[i];
    return NULL;
}

static int node_with(const struct xlx__disk_graph *g, int64_t id)
{
    int i;

    for (i = 0; i < g->num_nodes; i++)
        if (g->nodes[i].id == id)
            return i;
    return -1;
}

static int read_node(const struct xlx__json *v, struct node *n)
{
    const char *text;
    int rc;

    rc = xlx__json_member_int64(v, "id", &n->id);
    if (rc) return rc;
    rc = xlx__json_member_string(v, "type", &text);
    if (rc) return rc;
    n->type = !strcmp(text, "block-backend") ? 'b'
              : !strcmp(text, "block-job") ? 'j' : 'd';
    rc = xlx__json_member_string(v, "name", &text);
    if (rc) return rc;
    n->rooted = n->type != 'd';
    return xlx__set_string(&n->name, text);
}

static int read_edge(const struct xlx__disk_graph *g,
                     const struct xlx__json *v, struct edge *e)
{
    const struct xlx__json *perms = xlx__json_member(v, "perm"), *perm;
    int64_t parent, child;
    const char *text;
    int rc;

    rc = xlx__json_member_int64(v, "parent", &parent);
    if (rc) return rc;
    rc = xlx__json_member_int64(v, "child", &child);
    if (rc) return rc;
    e->parent = node_with(g, parent);
    e->child = node_with(g, child);
    if (e->parent < 0 || e->child < 0)
        return xlx__json_error(v, ERROR_INVAL, "it names no node");
    rc = xlx__json_member_string(v, "name", &text);
    if (rc) return rc;
    e->same = !strcmp(text, "file");
    for (perm = perms ? xlx__json_first(perms) : NULL; perm;
         perm = xlx__json_next(perm)) {
        rc = xlx__json_string(perm, &text);
        if (rc) return rc;
        if (!strcmp(text, "write"))
            e->writes = true;
    }
    return 0;
}

static int read_graph(struct xlx__qmp *qmp, struct xlx__disk_graph *g)
{
    const struct xlx__json *result, *nodes, *edges, *v;
    int rc;

    rc = xlx__qmp_call(qmp, "x-debug-query-block-graph", NULL, &result);
    if (rc) return rc;
    nodes = xlx__json_member(result, "nodes");
    edges = xlx__json_member(result, "edges");
    if (!nodes || !edges)
        return xlx__json_error(result, ERROR_INVAL, "it is not a graph");
    g->nodes = calloc(xlx__json_count(nodes) + 1, sizeof(*g->nodes));
    g->edges = calloc(xlx__json_count(edges) + 1, sizeof(*g->edges));
    if (!g->nodes || !g->edges)
        return xlx__nomem();
    for (v = xlx__json_first(nodes); v; v = xlx__json_next(v)) {
        rc = read_node(v, &g->nodes[g->num_nodes++]);
        if (rc) return rc;
    }
    for (v = xlx__json_first(edges); v; v = xlx__json_next(v)) {
        rc = read_edge(g, v, &g->edges[g->num_edges]);
        if (rc) return rc;
        g->nodes[g->edges[g->num_edges++].child].has_parent = true;
    }
    return 0;
}

/* The file behind a name of QEMU's; a name with options names the file first
 * among others, or none. */
static int find_file(const char *name, struct node *n)
{
    struct xlx__image_refs refs = { NULL, 0 };
    int rc;

    if (*name == '/') {
        n->has_id = xlx__file_id_of(name, &n->file_id);
        return xlx__set_string(&n->file, name);
    }
    rc = xlx__image_name_read(NULL, name, false, &refs);
    if (!rc && refs.num == 1 && refs.list[0].kind == XLX__REF_FILE) {
        n->has_id = xlx__file_id_of(refs.list[0].path, &n->file_id);
        rc = xlx__set_string(&n->file, refs.list[0].path);
    }
    xlx__image_refs_dispose(&refs);
    return rc;
}

static int read_bitmaps(const struct xlx__json *v, struct node *n)
{
    const struct xlx__json *list, *map, *name;
    const char *text;
    int rc;

    list = xlx__json_member(v, "dirty-bitmaps");
    for (map = list ? xlx__json_first(list) : NULL; map;
         map = xlx__json_next(map)) {
        name = xlx__json_member(map, "name");
        if (!name)
            continue;               /* a job's own */
        rc = xlx__json_string(name, &text);
        if (!rc && *text && !n->bitmaps++)
            rc = xlx__set_string(&n->bitmap, text);
        if (rc) return rc;
    }
    return 0;
}

static int read_files(struct xlx__qmp *qmp, struct xlx__disk_graph *g)
{
    struct xlx__json_out *args = xlx__json_out_new(false);
    const struct xlx__json *result, *v;
    const char *name, *text;
    struct node *n;
    int rc;

    xlx__json_out_object(args);
    xlx__json_out_kv_bool(args, "flat", true);
    xlx__json_out_end(args);
    rc = xlx__qmp_call(qmp, "query-named-block-nodes", args, &result);
    if (rc) return rc;
    for (v = xlx__json_first(result); v; v = xlx__json_next(v)) {
        rc = xlx__json_member_string(v, "node-name", &name);
        if (rc) return rc;
        n = driver_named(g, name);
        if (!n)
            continue;               /* it came since */
        rc = xlx__json_member_string(v, "drv", &text);
        if (!rc)
            rc = xlx__set_string(&n->driver, text);
        if (!rc)
            rc = xlx__json_member_string(v, "file", &text);
        if (!rc)
            rc = find_file(text, n);
        if (!rc)
            rc = xlx__json_member_bool(v, "ro", &n->readonly);
        if (!rc)
            rc = read_bitmaps(v, n);
        if (rc) return rc;
    }
    return 0;
}

/* A device's backend has the device's name; an export's has none. */
static bool may_export(const struct xlx__disk_graph *g)
{
    int i;

    for (i = 0; i < g->num_nodes; i++)
        if (g->nodes[i].type == 'b' && !*g->nodes[i].name)
            return true;
    return false;
}

/* Only for messages: an old QEMU may not have the command. */
static int read_exports(struct xlx__qmp *qmp, struct xlx__disk_graph *g)
{
    const struct xlx__json *result, *v;
    const char *id, *name;
    struct node *n;
    int rc;

    if (!may_export(g))
        return 0;
    rc = xlx__qmp_call(qmp, "query-block-exports", NULL, &result);
    if (rc == ERROR_QMP_COMMAND_NOT_FOUND) {
        xlx__error_clear();
        return 0;
    }
    for (v = rc ? NULL : xlx__json_first(result); v && !rc;
         v = xlx__json_next(v)) {
        rc = xlx__json_member_string(v, "id", &id);
        if (!rc)
            rc = xlx__json_member_string(v, "node-name", &name);
        n = rc ? NULL : driver_named(g, name);
        if (n)
            rc = xlx__set_string(&n->export, id);
    }
    return rc;
}

static bool is_filter_above(const struct node *n)
{
    return n->driver && (!strcmp(n->driver, "commit_top") ||
                         !strcmp(n->driver, "mirror_top"));
}

/* Follows the roots from above down, until nothing is added. */
static void mark_rooted(struct xlx__disk_graph *g)
{
    bool more = true;
    int i;

    while (more) {
        more = false;
        for (i = 0; i < g->num_edges; i++) {
            struct edge *e = &g->edges[i];

            if (is_filter_above(&g->nodes[e->parent]))
                e->same = true;
            if (g->nodes[e->parent].rooted && !g->nodes[e->child].rooted)
                more = g->nodes[e->child].rooted = true;
        }
    }
}

int xlx__disk_graph_read(struct xlx__qmp *qmp,
                         struct xlx__disk_graph **graph_r)
{
    struct xlx__disk_graph *g = calloc(1, sizeof(*g));
    int rc;

    if (!g)
        return xlx__nomem();
    rc = read_graph(qmp, g);
    if (!rc)
        rc = read_files(qmp, g);
    if (!rc)
        rc = read_exports(qmp, g);
    if (rc) {
        xlx__disk_graph_free(g);
        return rc;
    }
    mark_rooted(g);
    *graph_r = g;
    return 0;
}

/* ---- asking ------------------------------------------------------------- */

static bool mark_on(const struct xlx__disk_graph *g,
                    const struct xlx__file_id *id)
{
    bool more = true, any = false;
    int i;

    for (i = 0; i < g->num_nodes; i++) {
        struct node *n = &g->nodes[i];

        n->on = n->has_id && xlx__file_id_same(&n->file_id, id);
        any = any || n->on;
    }
    while (any && more) {
        more = false;
        for (i = 0; i < g->num_edges; i++) {
            const struct edge *e = &g->edges[i];

            if (e->same && g->nodes[e->child].on &&
                g->nodes[e->parent].type == 'd' && !g->nodes[e->parent].on)
                more = g->nodes[e->parent].on = true;
        }
    }
    return any;
}

/* Nodes that a monitor has added: the tool that did so reads the image through
 * them, or is about to. */
static int idle_nodes(const struct xlx__disk_graph *g,
                      int (*found)(void *user,
                                   const struct xlx__disk_graph_user *u),
                      void *user)
{
    int i, rc = 0;

    for (i = 0; !rc && i < g->num_nodes; i++) {
        const struct node *n = &g->nodes[i];
        struct xlx__disk_graph_user u = {
            .node = n->name, .idle = true, .writes = !n->readonly,
        };

        if (n->on && n->type == 'd' && !n->rooted && !n->has_parent)
            rc = found(user, &u);
    }
    return rc;
}

int xlx__disk_graph_users(const struct xlx__disk_graph *graph,
                          const struct xlx__file_id *id, bool *open_r,
                          int (*found)(void *user,
                                       const struct xlx__disk_graph_user *u),
                          void *user)
{
    int i, rc = 0;

    *open_r = mark_on(graph, id);
    for (i = 0; *open_r && !rc && i < graph->num_edges; i++) {
        const struct edge *e = &graph->edges[i];
        const struct node *p = &graph->nodes[e->parent];
        struct xlx__disk_graph_user u = { .writes = e->writes };

        if (!graph->nodes[e->child].on || p->on)
            continue;
        u.idle = !p->rooted;
        if (p->type == 'd')
            u.layer = p->file ? p->file : p->name;
        else if (p->type == 'j')
            u.job = p->name;
        else if (*p->name)
            u.device = p->name;
        else
            u.export = xlx__text(graph->nodes[e->child].export);
        rc = found(user, &u);
    }
    return rc || !*open_r ? rc : idle_nodes(graph, found, user);
}

bool xlx__disk_graph_names(const struct xlx__disk_graph *graph,
                           const char *path)
{
    int i;

    for (i = 0; i < graph->num_nodes; i++)
        if (graph->nodes[i].file && !strcmp(graph->nodes[i].file, path))
            return true;
    return false;
}

int xlx__disk_graph_bitmaps(const struct xlx__disk_graph *graph,
                            const struct xlx__file_id *id,
                            const char **name_r)
{
    int i, num = 0;

    mark_on(graph, id);
    for (i = 0; i < graph->num_nodes; i++)
        if (graph->nodes[i].on && graph->nodes[i].bitmaps) {
            num += graph->nodes[i].bitmaps;
            *name_r = graph->nodes[i].bitmap;
        }
    return num;
}

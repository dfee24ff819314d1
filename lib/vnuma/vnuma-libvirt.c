/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Topologies in libvirt's domain XML, written and read: what its formatdomain
 * page has under "CPU model and topology" and "NUMA node tuning".
 */
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "vnuma/vnuma-xml.h"

/* ---- writing ------------------------------------------------------------ */

static void write_cell(FILE *out, const xlx_vnuma_vnode *v, int id)
{
    int i;

    fprintf(out, "      <cell id='%d'", id);
    if (v->num_vcpus) {
        fputs(" cpus='", out);
        xlx__vnuma_put_list(out, v->vcpus, v->num_vcpus);
        fputc('\'', out);
    }
    fprintf(out, " memory='%llu' unit='KiB'>\n        <distances>\n",
            (unsigned long long)v->memory / 1024);
    for (i = 0; i < v->num_distances; i++)
        /* libvirt assumes the same */
        if (v->distances[i] != 20 || !xlx__vnuma_is_assumed(v, i))
            fprintf(out, "          <sibling id='%d' value='%u'/>\n", i,
                    v->distances[i]);
    fputs("        </distances>\n      </cell>\n", out);
}

void xlx__vnuma_write_libvirt(FILE *out, const xlx_vnuma_topology *t)
{
    int i;

    fputs("<domain type='xen'>\n", out);
    if (*xlx__text(t->name)) {
        fputs("  <name>", out);
        xlx__vnuma_put_xml(out, t->name);
        fputs("</name>\n", out);
    }
    fprintf(out, "  <memory unit='KiB'>%llu</memory>\n  <vcpu>%u</vcpu>\n"
            "  <numatune>\n", (unsigned long long)xlx__vnuma_memory(t) / 1024,
            xlx__vnuma_vcpus(t));
    for (i = 0; i < t->num_vnodes; i++)
        if (t->vnodes[i].pnode_source != XLX_VNUMA_SOURCE_NONE &&
            t->vnodes[i].pnode_source != XLX_VNUMA_SOURCE_ASSUMED)
            fprintf(out, "    <memnode cellid='%d' mode='strict' "
                    "nodeset='%u'/>\n", i, t->vnodes[i].pnode);
    fputs("  </numatune>\n  <cpu>\n    <numa>\n", out);
    for (i = 0; i < t->num_vnodes; i++)
        write_cell(out, &t->vnodes[i], i);
    fputs("    </numa>\n  </cpu>\n</domain>\n", out);
}

/* ---- reading ------------------------------------------------------------ */

#ifndef HAVE_LIBXML2

int xlx__vnuma_read_libvirt(const char *name, const char *text,
                            xlx_vnuma_topology *t)
{
    (void)text;
    (void)t;
    return xlx__xml_missing(name);
}

#else

#define BLANKS " \t\r\n"

/* A set in libvirt's words: numbers and ranges, and ^ before a number that is
 * none of them ("0-3,^2"), blanks between all of these.  Refused is what
 * libvirt refuses: an end before the beginning, a range behind ^, an empty
 * one. */
static int read_set(const xmlNode *n, const char *key, const char *s,
                    uint32_t size, bool *in)
{
    uint32_t first, last;
    const char *p = s;
    bool on;

    for (;; p++) {
        p += strspn(p, BLANKS);
        on = *p != '^';
        if (!on)
            p++;
        if (!xlx__take_u32(&p, UINT32_MAX, &first))
            break;
        last = first;
        p += strspn(p, BLANKS);
        if (on && xlx__take_word(&p, "-")) {
            p += strspn(p, BLANKS);
            if (!xlx__take_u32(&p, UINT32_MAX, &last) || last < first)
                break;
            p += strspn(p, BLANKS);
        }
        if (last >= size)
            return xlx__error(ERROR_INVAL, "line %ld: %s: %s=\"%s\": %u: the "
                              "last one can be %u", xlx__xml_line(n),
                              (const char *)n->name, key, s, last, size - 1);
        for (; first <= last; first++)
            in[first] = on;
        if (!*p)
            return 0;
        if (*p != ',')
            break;
    }
    return xlx__error(ERROR_INVAL, "line %ld: %s: %s=\"%s\" is not a list of "
                      "numbers and ranges", xlx__xml_line(n),
                      (const char *)n->name, key, s);
}

static int cell_vcpus(const xmlNode *cell, xlx_vnuma_vnode *v)
{
    bool in[XLX__VNUMA_MAX_VCPUS] = { false };
    char *s = xlx__xml_attribute(cell, "cpus");
    uint32_t i;
    int rc;

    if (!s)
        return 0;
    rc = read_set(cell, "cpus", s, XLX__VNUMA_MAX_VCPUS, in);
    xlx__xml_free(s);
    for (i = 0; !rc && i < XLX__VNUMA_MAX_VCPUS; i++)
        if (in[i])
            rc = xlx__vnuma_append(&v->vcpus, &v->num_vcpus, i);
    return rc;
}

static int cell_memory(const xmlNode *cell, xlx_vnuma_vnode *v)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {
        { "KiB", UINT64_C(1) << 10 }, { "k", UINT64_C(1) << 10 },
        { "MiB", UINT64_C(1) << 20 }, { "M", UINT64_C(1) << 20 },
        { "GiB", UINT64_C(1) << 30 }, { "G", UINT64_C(1) << 30 },
        { "TiB", UINT64_C(1) << 40 }, { "T", UINT64_C(1) << 40 },
        { "b", 1 }, { "bytes", 1 }, { "KB", 1000 }, { "MB", 1000000 },
        { "GB", 1000000000 }, { "TB", UINT64_C(1000000000000) },
    };
    char *unit = xlx__xml_attribute(cell, "unit");
    uint64_t value = 0;
    size_t i;
    int rc;

    for (i = 0; unit && i < XLX__ARRAY_SIZE(units); i++)
        if (!strcmp(unit, units[i].name))
            break;
    if (!unit)
        i = 0;
    if (i == XLX__ARRAY_SIZE(units)) {
        rc = xlx__error(ERROR_INVAL, "line %ld: cell: unit=\"%s\": not a unit "
                        "of memory", xlx__xml_line(cell), unit);
        goto out;
    }
    rc = xlx__xml_need_number(cell, "memory", INT64_MAX / units[i].bytes,
                              &value);
    if (rc) goto out;
    v->memory = value * units[i].bytes;

 out:
    xlx__xml_free(unit);
    return rc;
}

/* A distance that is not given stays 0. */
static int cell_distances(const xmlNode *cell, xlx_vnuma_vnode *v)
{
    uint64_t to = 0, value = 0;
    xmlNode *s;
    int rc;

    s = xlx__xml_child(xlx__xml_child(cell, "distances"), "sibling");
    for (; s; s = xlx__xml_sibling(s, "sibling")) {
        rc = xlx__xml_need_number(s, "id", (uint64_t)v->num_distances - 1,
                                  &to);
        if (!rc)
            rc = xlx__xml_need_number(s, "value", UINT32_MAX, &value);
        if (!rc && !value)
            rc = xlx__error(ERROR_INVAL, "line %ld: sibling: 0 is not a "
                                         "distance",
                            xlx__xml_line(s));
        if (rc)
            return rc;
        v->distances[to] = (uint32_t)value;
    }
    return 0;
}

/* A distance that neither way has. */
static int mark(xlx_vnuma_topology *t, int from, int to)
{
    if (from == to || t->vnodes[from].distances[to] ||
        t->vnodes[to].distances[from])
        return 0;
    return xlx__vnuma_append(&t->vnodes[from].assumed,
                             &t->vnodes[from].num_assumed, (uint32_t)to);
}

/* As libvirt completes them: the way back is as long as the way there, and
 * one of which neither is given has ACPI's usual length. */
static int complete_distances(xlx_vnuma_topology *t)
{
    uint32_t *there, back;
    int i, j, rc = 0;

    for (i = 0; !rc && i < t->num_vnodes; i++)
        for (j = 0; !rc && j < t->num_vnodes; j++)
            rc = mark(t, i, j);
    for (i = 0; i < t->num_vnodes; i++)
        for (j = 0; j < t->num_vnodes; j++) {
            there = &t->vnodes[i].distances[j];
            back = t->vnodes[j].distances[i];
            if (!*there)
                *there = back ? back : i == j ? 10 : 20;
        }
    return rc;
}

static int read_cells(const xmlNode *numa, xlx_vnuma_topology *t)
{
    bool seen[XLX__VNUMA_MAX_NODES] = { false };
    xmlNode *cell;
    int num = 0, place = 0, rc;

    cell = xlx__xml_child(numa, "cell");
    for (; cell; cell = xlx__xml_sibling(cell, "cell"))
        num++;
    if (!num || num > XLX__VNUMA_MAX_NODES)
        return xlx__error(ERROR_INVAL, "line %ld: numa: %d cells: it must be "
                          "1 to %d", xlx__xml_line(numa), num,
                          XLX__VNUMA_MAX_NODES);
    rc = xlx__vnuma_alloc(t, num);
    cell = xlx__xml_child(numa, "cell");
    for (; !rc && cell; cell = xlx__xml_sibling(cell, "cell"), place++) {
        uint64_t id = (uint64_t)place;

        rc = xlx__xml_number(cell, "id", (uint64_t)num - 1, &id);
        if (rc < 0)
            return rc;
        if (seen[id])
            return xlx__error(ERROR_INVAL, "line %ld: cell %llu is there "
                              "twice", xlx__xml_line(cell),
                              (unsigned long long)id);
        seen[id] = true;
        t->vnodes[id].pnode = (uint32_t)id;
        t->vnodes[id].pnode_source = XLX_VNUMA_SOURCE_ASSUMED;
        rc = cell_vcpus(cell, &t->vnodes[id]);
        if (!rc)
            rc = cell_memory(cell, &t->vnodes[id]);
        if (!rc)
            rc = cell_distances(cell, &t->vnodes[id]);
    }
    return rc ? rc : complete_distances(t);
}

/* The node in nodeset= of n: 0, 1 when there is no such attribute, or an
 * error.  When it names several, those are in in, and *node_r is -1. */
static int read_nodeset(const xmlNode *n, bool in[XLX__VNUMA_MAX_NODES],
                        int *node_r)
{
    char *s = xlx__xml_attribute(n, "nodeset");
    int i, num = 0, rc;

    if (!s)
        return 1;
    memset(in, 0, XLX__VNUMA_MAX_NODES * sizeof(*in));
    rc = read_set(n, "nodeset", s, XLX__VNUMA_MAX_NODES, in);
    for (i = 0, *node_r = -1; !rc && i < XLX__VNUMA_MAX_NODES; i++)
        if (in[i]) {
            *node_r = i;
            num++;
        }
    if (!rc && !num)
        rc = xlx__error(ERROR_INVAL, "line %ld: %s: nodeset=\"%s\" is empty",
                        xlx__xml_line(n), (const char *)n->name, s);
    if (num > 1)
        *node_r = -1;
    xlx__xml_free(s);
    return rc;
}

static int several(const xmlNode *n, int cell)
{
    char *s = xlx__xml_attribute(n, "nodeset");
    int rc = xlx__error(ERROR_INVAL, "line %ld: %s: nodeset=\"%s\": several "
                        "nodes for cell %d; a vnode has one",
                        xlx__xml_line(n), (const char *)n->name, s ? s : "",
                        cell);

    xlx__xml_free(s);
    return rc;
}

static void put_on(xlx_vnuma_vnode *v, int node)
{
    v->pnode = (uint32_t)node;
    v->pnode_source = XLX_VNUMA_SOURCE_CONFIGURED;
}

/* The memory of all cells that have no memnode: of several nodes libvirt does
 * not say which. */
static int read_memory(const xmlNode *numatune, xlx_vnuma_topology *t)
{
    const xmlNode *m = xlx__xml_child(numatune, "memory");
    bool in[XLX__VNUMA_MAX_NODES];
    int i, node, rc;

    rc = m ? read_nodeset(m, in, &node) : 1;
    if (rc)
        return rc == 1 ? 0 : rc;
    for (i = 0; !rc && i < t->num_vnodes; i++) {
        if (t->vnodes[i].pnode_source != XLX_VNUMA_SOURCE_ASSUMED)
            continue;
        if (node >= 0)
            put_on(&t->vnodes[i], node);
        else if (!in[t->vnodes[i].pnode])
            rc = several(m, i);
    }
    return rc;
}

static int read_memnodes(const xmlNode *domain, xlx_vnuma_topology *t)
{
    const xmlNode *numatune = xlx__xml_child(domain, "numatune");
    const xmlNode *m = xlx__xml_child(numatune, "memnode");
    bool in[XLX__VNUMA_MAX_NODES];
    uint64_t cell = 0;
    int node, rc;

    for (; m; m = xlx__xml_sibling(m, "memnode")) {
        rc = xlx__xml_need_number(m, "cellid", (uint64_t)t->num_vnodes - 1,
                                  &cell);
        if (!rc)
            rc = read_nodeset(m, in, &node);
        if (rc == 1)
            rc = xlx__error(ERROR_INVAL, "line %ld: memnode: it has no "
                            "nodeset", xlx__xml_line(m));
        if (!rc && node < 0)
            rc = several(m, (int)cell);
        if (!rc && t->vnodes[cell].pnode_source !=
            XLX_VNUMA_SOURCE_ASSUMED)
            rc = xlx__error(ERROR_INVAL, "line %ld: memnode: cell %llu has "
                            "two", xlx__xml_line(m),
                            (unsigned long long)cell);
        if (rc)
            return rc;
        put_on(&t->vnodes[cell], node);
    }
    return read_memory(numatune, t);
}

int xlx__vnuma_read_libvirt(const char *name, const char *text,
                            xlx_vnuma_topology *t)
{
    xmlNode *root, *cpu, *numa, *title;
    xmlDoc *doc;
    char *content;
    int rc;

    rc = xlx__xml_parse(name, text, &doc, &root);
    if (rc)
        return rc;
    cpu = xlx__xml_is(root, "cpu") ? root : xlx__xml_child(root, "cpu");
    numa = xlx__xml_child(cpu, "numa");
    if (!numa) {
        rc = xlx__error(ERROR_INVAL, "%s: it has no domain/cpu/numa", name);
        goto out;
    }
    title = xlx__xml_child(root, "name");
    if (title) {
        content = xlx__xml_content(title);
        rc = xlx__set_string(&t->name, content);
        xlx__xml_free(content);
        if (rc) goto out;
    }
    rc = read_cells(numa, t);
    if (!rc)
        rc = read_memnodes(root, t);
    if (rc)
        rc = xlx__error_prefix(rc, "%s", name);

 out:
    xlx__xml_close(doc);
    return rc;
}

#endif

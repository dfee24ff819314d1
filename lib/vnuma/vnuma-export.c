/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Topologies in the words of other programs: xl and QEMU here, the rest in
 * files of their own.
 */
#include <stdlib.h>
#include <string.h>

#include "gen-calls.h"
#include "vnuma/vnuma.h"

/* ---- pieces ------------------------------------------------------------- */

void xlx__vnuma_put_list(FILE *out, const uint32_t *list, int num)
{
    int i, j;

    for (i = 0; i < num; i = j) {
        for (j = i + 1; j < num && list[j] == list[j - 1] + 1; j++)
            ;
        fprintf(out, "%s%u", i ? "," : "", list[i]);
        if (j > i + 1)
            fprintf(out, "-%u", list[j - 1]);
    }
}

/* XML 1.0, 2.2: no control characters but these three. */
void xlx__vnuma_put_xml(FILE *out, const char *text)
{
    size_t len = strlen(text), i, n;

    for (i = 0; i < len; i += n) {
        n = xlx__utf8_length(text + i, len - i);
        if (text[i] == '&')
            fputs("&amp;", out);
        else if (text[i] == '<')
            fputs("&lt;", out);
        else if (text[i] == '>')
            fputs("&gt;", out);
        else if (text[i] == '"')
            fputs("&quot;", out);
        else if (!n || (unsigned char)text[i] < 0x20)
            fputc('?', out);
        else
            fwrite(text + i, 1, n, out);
        if (!n)
            n = 1;
    }
}

const char *xlx__vnuma_size(uint64_t bytes, char buf[XLX__VNUMA_SIZE_MAX])
{
    double mib = (double)bytes / XLX__VNUMA_MIB;

    if (mib < 1024)
        snprintf(buf, XLX__VNUMA_SIZE_MAX, "%.0f MiB", mib);
    else if (bytes % (1024 * (uint64_t)XLX__VNUMA_MIB))
        snprintf(buf, XLX__VNUMA_SIZE_MAX, "%.1f GiB", mib / 1024);
    else
        snprintf(buf, XLX__VNUMA_SIZE_MAX, "%.0f GiB", mib / 1024);
    return buf;
}

static void put_distances(FILE *out, const xlx_vnuma_vnode *v)
{
    int i;

    for (i = 0; i < v->num_distances; i++)
        fprintf(out, "%s%u", i ? "," : "", v->distances[i]);
}

/* ---- xl ----------------------------------------------------------------- */

/* A comment that says what nobody has said. */
static void put_assumed(FILE *out, const xlx_vnuma_topology *t)
{
    const char *begin = "# assumed: ";
    int i, j;

    for (i = 0; i < t->num_vnodes; i++)
        if (t->vnodes[i].pnode_source == XLX_VNUMA_SOURCE_ASSUMED) {
            fprintf(out, "%sthe node of vnode %d", begin, i);
            begin = ", ";
        }
    for (i = 0; i < t->num_vnodes; i++)
        for (j = 0; j < t->num_vnodes; j++)
            if (xlx__vnuma_is_assumed(&t->vnodes[i], j) &&
                (i < j || !xlx__vnuma_is_assumed(&t->vnodes[j], i))) {
                fprintf(out, "%sthe distance between vnodes %d and %d", begin,
                        i, j);
                begin = ", ";
            }
    if (*begin == ',')
        fputc('\n', out);
}

void xlx__vnuma_write_xl(FILE *out, const xlx_vnuma_topology *t)
{
    unsigned long long mib = xlx__vnuma_memory(t) / XLX__VNUMA_MIB;
    uint32_t vcpus = xlx__vnuma_vcpus(t);
    const xlx_vnuma_vnode *v;
    int i;

    put_assumed(out, t);
    fprintf(out, "type=\"hvm\"\nmemory=%llu\nvcpus=%u\nmaxvcpus=%u\n"
            "vnuma=[\n", mib, vcpus, vcpus);
    for (i = 0; i < t->num_vnodes; i++) {
        v = &t->vnodes[i];
        fputs("    [", out);
        if (v->pnode_source != XLX_VNUMA_SOURCE_NONE)
            fprintf(out, "\"pnode=%u\",", v->pnode);
        fprintf(out, "\"size=%llu\",",
                (unsigned long long)v->memory / XLX__VNUMA_MIB);
        if (v->num_vcpus) {
            fputs("\"vcpus=", out);
            xlx__vnuma_put_list(out, v->vcpus, v->num_vcpus);
            fputs("\",", out);
        }
        fputs("\"vdistances=", out);
        put_distances(out, v);
        fprintf(out, "\"]%s\n", i + 1 < t->num_vnodes ? "," : "");
    }
    fputs("]\n", out);
}

/* ---- QEMU: -numa in qemu(1) --------------------------------------------- */

static void write_qemu_cpus(FILE *out, const xlx_vnuma_vnode *v)
{
    int i, j;

    for (i = 0; i < v->num_vcpus; i = j) {
        for (j = i + 1; j < v->num_vcpus &&
             v->vcpus[j] == v->vcpus[j - 1] + 1; j++)
            ;
        fprintf(out, ",cpus=%u-%u", v->vcpus[i], v->vcpus[j - 1]);
    }
}

static void write_qemu(FILE *out, const xlx_vnuma_topology *t)
{
    const xlx_vnuma_vnode *v;
    int i, j;

    fprintf(out, "-smp %u -m %lluM", xlx__vnuma_vcpus(t),
            (unsigned long long)xlx__vnuma_memory(t) / XLX__VNUMA_MIB);
    for (i = 0; i < t->num_vnodes; i++) {
        v = &t->vnodes[i];
        fprintf(out, " \\\n-object memory-backend-ram,id=vnode%d,size=%lluM",
                i, (unsigned long long)v->memory / XLX__VNUMA_MIB);
        if (v->pnode_source != XLX_VNUMA_SOURCE_NONE)
            fprintf(out, ",host-nodes=%u,policy=bind", v->pnode);
        fprintf(out, " \\\n-numa node,nodeid=%d,memdev=vnode%d", i, i);
        write_qemu_cpus(out, v);
    }
    for (i = 0; i < t->num_vnodes; i++)
        for (j = 0; j < t->num_vnodes; j++)
            fprintf(out, " \\\n-numa dist,src=%d,dst=%d,val=%u", i, j,
                    t->vnodes[i].distances[j]);
    fputc('\n', out);
}

/* ---- the call ----------------------------------------------------------- */

static int write_json(FILE *out, const xlx_vnuma_topology *t,
                      const xlx_vnuma_host *h)
{
    struct xlx__json_out *o = xlx__json_out_new(true);
    char *text = NULL;
    int rc;

    if (t)
        xlx__vnuma_topology_gen(o, t);
    else
        xlx__vnuma_host_gen(o, h);
    rc = xlx__json_out_finish(o, &text, NULL);
    if (rc) goto out;
    fputs(text, out);

 out:
    free(text);
    return rc;
}

static int check(const xlx_vnuma_topology *t, const xlx_vnuma_host *h,
                 xlx_vnuma_format format)
{
    bool guests = format == XLX_VNUMA_FORMAT_XL ||
                  format == XLX_VNUMA_FORMAT_LIBVIRT ||
                  format == XLX_VNUMA_FORMAT_QEMU;
    int i, rc = 0;

    if (!t && (guests || !h))
        return xlx__error(ERROR_INVAL, "the format %s is for a guest's "
                          "topology, and none is given",
                          xlx_vnuma_format_to_string(format));
    if (t)
        rc = xlx__vnuma_check(t);
    if (!rc && h)
        rc = xlx__vnuma_check_host(h);
    if (rc || !guests)
        return rc;
    if (!t->num_vnodes)
        return xlx__error(ERROR_INVAL, "the guest has no NUMA topology");
    for (i = 0; i < t->num_vnodes; i++)
        if (t->vnodes[i].memory % XLX__VNUMA_MIB)
            return xlx__error(ERROR_INVAL, "vnode %d: %llu bytes are not a "
                                           "multiple of 1 MiB", i,
                              (unsigned long long)t->vnodes[i].memory);
    return 0;
}

static int write_format(FILE *out, const xlx_vnuma_topology *t,
                        const xlx_vnuma_host *h, xlx_vnuma_format format)
{
    switch (format) {
    case XLX_VNUMA_FORMAT_JSON:
        return write_json(out, t, h);
    case XLX_VNUMA_FORMAT_XL:
        xlx__vnuma_write_xl(out, t);
        return 0;
    case XLX_VNUMA_FORMAT_LIBVIRT:
        xlx__vnuma_write_libvirt(out, t);
        return 0;
    case XLX_VNUMA_FORMAT_HWLOC:
        return t ? xlx__vnuma_write_hwloc(out, t)
                 : xlx__vnuma_write_hwloc_host(out, h);
    case XLX_VNUMA_FORMAT_DOT:
        xlx__vnuma_write_dot(out, t, h);
        return 0;
    case XLX_VNUMA_FORMAT_SVG:
        return xlx__vnuma_write_svg(out, t, h);
    case XLX_VNUMA_FORMAT_QEMU:
        write_qemu(out, t);
        return 0;
    }
    return xlx__error(ERROR_INVAL, "%d: no such format", (int)format);
}

int xlx__vnuma_export(xlx_ctx *ctx, const xlx_vnuma_topology *topology,
                      const xlx_vnuma_host *host, xlx_vnuma_format format,
                      xlx_vnuma_text *text_r)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out;
    int rc;

    (void)ctx;
    rc = check(topology, host, format);
    if (rc)
        return rc;
    out = open_memstream(&text, &len);
    if (!out)
        return xlx__nomem();
    rc = write_format(out, topology, host, format);
    if (fclose(out) && !rc)
        rc = xlx__nomem();
    if (rc) {
        free(text);
        return rc;
    }
    text_r->text = text;
    return 0;
}

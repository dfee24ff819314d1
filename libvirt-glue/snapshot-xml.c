/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * <domainsnapshot>, as libvirt writes it, and the <domain> in it: the
 * definition of the guest when the snapshot was made.  That is kept in a file
 * for each snapshot, because libxlx has no use for it and its records have
 * none.  It is without passwords, so that everybody who may see the snapshot
 * may see it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot.h"

/* ---- text --------------------------------------------------------------- */

static void put(struct lv_buffer *out, const char *text)
{
    lv_put(out, text, strlen(text));
}

/* Characters that XML cannot have become question marks. */
static void put_escaped(struct lv_buffer *out, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '&': put(out, "&amp;"); break;
        case '<': put(out, "&lt;"); break;
        case '>': put(out, "&gt;"); break;
        case '\'': put(out, "&apos;"); break;
        case '"': put(out, "&quot;"); break;
        default:
            if ((unsigned char)*text < 0x20 && !strchr("\t\n\r", *text))
                put(out, "?");
            else
                lv_put(out, text, 1);
        }
}

/* <tag>text</tag>, with what is in front of it */
static void put_element(struct lv_buffer *out, const char *indent,
                        const char *tag, const char *text)
{
    put(out, indent);
    put(out, "<");
    put(out, tag);
    put(out, ">");
    put_escaped(out, text);
    put(out, "</");
    put(out, tag);
    put(out, ">\n");
}

static void put_indented(struct lv_buffer *out, const char *text)
{
    size_t len;

    while (*text) {
        len = strcspn(text, "\n");
        put(out, "  ");
        lv_put(out, text, len);
        put(out, "\n");
        text += len + (text[len] == '\n');
    }
}

/* ---- the element -------------------------------------------------------- */

const char *lv_snapshot_state(const xlx_snapshot *snapshot)
{
    return snapshot->running ? "disk-snapshot" : "shutoff";
}

static void put_disks(struct lv_buffer *out, const xlx_snapshot *snapshot)
{
    const xlx_snapshot_disk *d;
    bool internal;
    int i;

    put(out, "  <disks>\n");
    for (i = 0; i < snapshot->num_disks; i++) {
        d = &snapshot->disks[i];
        internal = d->tag && *d->tag;
        put(out, "    <disk name='");
        put_escaped(out, d->vdev);
        put(out, "' snapshot='");
        put(out, internal ? "internal" : "external");
        put(out, internal ? "'/>\n" : "' type='file'>\n"
            "      <driver type='qcow2'/>\n    </disk>\n");
    }
    put(out, "  </disks>\n");
}

char *lv_snapshot_xml(struct lv_worker *w, const struct lv_snapshots *s,
                      const xlx_snapshot *snapshot, const char *domain_xml)
{
    const xlx_snapshot *parent = lv_parent(s, snapshot);
    struct lv_buffer out = { 0 };
    char number[24];

    put(&out, "<domainsnapshot>\n");
    put_element(&out, "  ", "name", snapshot->name);
    if (snapshot->description && *snapshot->description)
        put_element(&out, "  ", "description", snapshot->description);
    put_element(&out, "  ", "state", lv_snapshot_state(snapshot));
    if (parent) {
        put(&out, "  <parent>\n");
        put_element(&out, "    ", "name", parent->name);
        put(&out, "  </parent>\n");
    }
    snprintf(number, sizeof(number), "%" PRId64, snapshot->time);
    put_element(&out, "  ", "creationTime", number);
    put(&out, "  <memory snapshot='no'/>\n");
    put_disks(&out, snapshot);
    put_indented(&out, domain_xml);
    put(&out, "</domainsnapshot>\n");
    lv_put(&out, "", 1);
    if (!out.failed)
        return (char *)out.data;
    lv_buffer_free(&out);
    lv_no_memory(w);
    return NULL;
}

/* ---- the definition ----------------------------------------------------- */

/* A file for each snapshot, whose first line is the time of the snapshot: one
 * of the same name that another program has made since is not this one. */
static char *kept_path(struct lv_worker *w, const struct lv_guest *g,
                       const char *name)
{
    char *file, *path;

    if (asprintf(&file, "%s.xml", name) < 0) {
        lv_no_memory(w);
        return NULL;
    }
    path = lv_path(w, LV_STATE, g->dom.uuid, file);
    free(file);
    return path;
}

static char *present_domain(struct lv_worker *w, const struct lv_guest *g)
{
    struct lv_domain_get_xml_desc_args args = { g->dom, LV_XML_INACTIVE };
    struct lv_domain_get_xml_desc_ret ret;

    return lv_back_call(w, LV_DOMAIN_GET_XML_DESC, &args, &ret) ? NULL
                                                                : ret.xml;
}

int lv_keep_domain(struct lv_worker *w, const struct lv_guest *g,
                   const xlx_snapshot *snapshot)
{
    char *path = kept_path(w, g, snapshot->name), *xml, *text = NULL;
    int r = -1;

    xml = path ? present_domain(w, g) : NULL;
    if (xml && asprintf(&text, "%" PRId64 "\n%s", snapshot->time, xml) < 0) {
        text = NULL;
        lv_no_memory(w);
    }
    if (text)
        r = lv_write_file(w, path, text);
    free(path);
    free(xml);
    free(text);
    return r;
}

/* A snapshot that xl has made has none: there it is the present one. */
char *lv_kept_domain(struct lv_worker *w, const struct lv_guest *g,
                     const xlx_snapshot *snapshot)
{
    char *path = kept_path(w, g, snapshot->name), *text, *xml = NULL;
    char time[24];
    size_t len;

    if (!path)
        return NULL;
    len = (size_t)snprintf(time, sizeof(time), "%" PRId64 "\n",
                           snapshot->time);
    text = lv_read_file(path);
    free(path);
    if (text && !strncmp(text, time, len))
        xml = strdup(text + len);
    free(text);
    return xml ? xml : present_domain(w, g);
}

void lv_forget_domain(struct lv_worker *w, const struct lv_guest *g,
                      const char *name)
{
    char *path = kept_path(w, g, name), *slash;

    if (!path)
        return;
    unlink(path);
    slash = strrchr(path, '/');
    *slash = '\0';
    rmdir(path);                        /* with the last of the guest */
    free(path);
}

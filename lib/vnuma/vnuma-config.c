/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vnuma= of an xl.cfg(5): read with libxl's own parser of config files, and
 * then more strictly than xl reads it.  A value that xl would misread is a
 * finding; it is kept as far as possible, so that one look finds all.
 *
 * xl reads it in its parse_vnuma_config(), and numbers with strtoul(),
 * ignoring everything behind the digits.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "guest/xl-config.h"
#include "vnuma/vnuma.h"

/* The largest number in vnuma=; xl reads larger ones modulo something. */
#define MAX_NUMBER UINT32_MAX

const char *const xlx__vnuma_key_names[XLX__VNUMA_KEYS] = {
    [XLX__VNUMA_PNODE] = "pnode",
    [XLX__VNUMA_SIZE] = "size",
    [XLX__VNUMA_VCPUS] = "vcpus",
    [XLX__VNUMA_DISTANCES] = "vdistances",
};

/* One vnode that is being read. */
struct reader {
    struct xlx__vnuma_config *c;
    xlx_vnuma_findings *f;
    int vnode;
};

/* ---- numbers ------------------------------------------------------------ */

/* A decimal number at *s, blanks before it skipped; *s is then behind it. */
static bool take_number(const char **s, uint64_t *value_r)
{
    *s += strspn(*s, " \t");
    return xlx__take_u64(s, MAX_NUMBER, value_r);
}

static bool at_end(const char *s)
{
    return !s[strspn(s, " \t")];
}

static int take_single(struct reader *r, enum xlx__vnuma_key key,
                       const char *text, uint64_t *value_r)
{
    const char *name = xlx__vnuma_key_names[key], *p = text;

    if (!take_number(&p, value_r)) {
        *value_r = 0;
        return xlx__vnuma_find(r->f, XLX_VNUMA_EFFECT_REFUSED, "number",
                               "vnode %d: %s=%s: not a number up to %u",
                               r->vnode, name, text, MAX_NUMBER);
    }
    if (at_end(p))
        return 0;
    return xlx__vnuma_find(r->f, XLX_VNUMA_EFFECT_BENT, "number",
                           "vnode %d: %s=%s: xl drops what follows the "
                           "digits%s", r->vnode, name, text,
                           key == XLX__VNUMA_SIZE ? "; size is in MiB" : "");
}

/* ---- distances ---------------------------------------------------------- */

static int take_distances(struct reader *r, const char *text)
{
    struct xlx__vnuma_spec *spec = &r->c->nodes[r->vnode];
    const char *p = text;
    uint64_t *longer, value;

    for (spec->num_distances = 0; ; p++) {
        if (!take_number(&p, &value) || (!at_end(p) && *p != ',')) {
            spec->num_distances = 0;
            spec->no_distances = true;
            return xlx__vnuma_find(r->f, XLX_VNUMA_EFFECT_REFUSED, "number",
                                   "vnode %d: vdistances=%s: not a list of "
                                   "numbers", r->vnode, text);
        }
        longer = reallocarray(spec->distances, (size_t)spec->num_distances + 1,
                              sizeof(*longer));
        if (!longer)
            return xlx__nomem();
        spec->distances = longer;
        longer[spec->num_distances++] = value;
        if (*p != ',')
            return 0;
    }
}

/* xl leaves out what is missing, and takes it for 0. */
static int fill_distances(struct reader *r)
{
    struct xlx__vnuma_spec *spec = &r->c->nodes[r->vnode];
    int i, num = spec->num_distances, rc = 0;
    uint64_t *all;

    if (num > r->c->num_nodes)
        rc = xlx__vnuma_find(r->f, XLX_VNUMA_EFFECT_OVERFLOW, "distance-count",
                             "vnode %d: vdistances has %d numbers for %d "
                             "vnodes: xl writes the rest beyond its own "
                             "memory", r->vnode, num, r->c->num_nodes);
    else if (spec->has[XLX__VNUMA_DISTANCES] && !spec->no_distances &&
             num < r->c->num_nodes)
        rc = xlx__vnuma_find(r->f, num > r->vnode ? XLX_VNUMA_EFFECT_REFUSED
                                                  : XLX_VNUMA_EFFECT_BENT,
                             "distance-count", "vnode %d: vdistances has %d "
                             "numbers for %d vnodes: xl takes the missing "
                             "ones for 0", r->vnode, num, r->c->num_nodes);
    if (rc)
        return rc;
    all = calloc((size_t)r->c->num_nodes, sizeof(*all));
    if (!all)
        return xlx__nomem();
    for (i = 0; i < num && i < r->c->num_nodes; i++)
        all[i] = spec->distances[i];
    free(spec->distances);
    spec->distances = all;
    return 0;
}

/* ---- vCPUs -------------------------------------------------------------- */

static int own(struct reader *r, uint32_t vcpu)
{
    int *owner = &r->c->owner[vcpu];

    if (*owner == r->vnode)
        return xlx__vnuma_find(r->f, XLX_VNUMA_EFFECT_REFUSED, "vcpu-twice",
                               "vnode %d: vCPU %u is named twice", r->vnode,
                               vcpu);
    if (*owner >= 0)
        return xlx__vnuma_find(r->f, XLX_VNUMA_EFFECT_REFUSED, "vcpu-twice",
                               "vnode %d: vCPU %u is also in vnode %d",
                               r->vnode, vcpu, *owner);
    *owner = r->vnode;
    if (vcpu >= r->c->num_vcpus)
        r->c->num_vcpus = vcpu + 1;
    return 0;
}

static int take_vcpus(struct reader *r, const char *text)
{
    uint64_t first, last;
    const char *p = text;
    int rc;

    for (;; p++) {
        if (!take_number(&p, &first))
            break;
        last = first;
        if (*p == '-' && (p++, !take_number(&p, &last)))
            break;
        if ((!at_end(p) && *p != ',') || last < first)
            break;
        if (last >= XLX__VNUMA_MAX_VCPUS)
            return xlx__vnuma_find(r->f, XLX_VNUMA_EFFECT_BENT, "vcpu-range",
                                   "vnode %d: vcpus=%s: no guest has a vCPU "
                                   "%llu; xl counts it and drops it",
                                   r->vnode, text, (unsigned long long)last);
        for (; first <= last; first++) {
            rc = own(r, (uint32_t)first);
            if (rc)
                return rc;
        }
        if (*p != ',')
            return 0;
    }
    return xlx__vnuma_find(r->f, XLX_VNUMA_EFFECT_BENT, "number",
                           "vnode %d: vcpus=%s: not a list of numbers and "
                           "ranges such as 0-3,8; xl takes some other vCPUs "
                           "and says nothing", r->vnode, text);
}

/* ---- a vnode ------------------------------------------------------------ */

static int take_value(struct reader *r, enum xlx__vnuma_key key,
                      const char *value)
{
    struct xlx__vnuma_spec *spec = &r->c->nodes[r->vnode];
    int rc;

    if (spec->has[key]) {
        rc = xlx__vnuma_find(r->f, XLX_VNUMA_EFFECT_BENT, "key-twice",
                             "vnode %d: %s= is given twice", r->vnode,
                             xlx__vnuma_key_names[key]);
        if (rc || key == XLX__VNUMA_DISTANCES)
            return rc;
    }
    spec->has[key] = true;
    switch (key) {
    case XLX__VNUMA_PNODE:
        return take_single(r, key, value, &spec->pnode);
    case XLX__VNUMA_SIZE:
        return take_single(r, key, value, &spec->size);
    case XLX__VNUMA_VCPUS:
        return take_vcpus(r, value);
    case XLX__VNUMA_DISTANCES:
    case XLX__VNUMA_KEYS:
        break;
    }
    return take_distances(r, value);
}

/* "KEY=VALUE", with blanks around either. */
static int take_pair(struct reader *r, const char *pair)
{
    const char *equals = strchr(pair, '='), *name;
    size_t len;
    int key;

    if (!equals)
        return xlx__vnuma_find(r->f, XLX_VNUMA_EFFECT_REFUSED, "pair",
                               "vnode %d: \"%s\" is not KEY=VALUE", r->vnode,
                               pair);
    pair += strspn(pair, " \t");
    len = (size_t)(equals - pair);
    while (len && isspace((unsigned char)pair[len - 1]))
        len--;
    for (key = 0; key < XLX__VNUMA_KEYS; key++) {
        name = xlx__vnuma_key_names[key];
        if (strlen(name) == len && !strncmp(name, pair, len))
            return take_value(r, key, equals + 1 + strspn(equals + 1, " \t"));
    }
    return xlx__vnuma_find(r->f, XLX_VNUMA_EFFECT_BENT, "key-unknown",
                           "vnode %d: there is no key \"%.*s\", only pnode, "
                           "size, vcpus and vdistances; xl ignores it",
                           r->vnode, (int)len, pair);
}

static int take_vnode(struct reader *r, XLU_Config *cfg, XLU_ConfigValue *v)
{
    XLU_ConfigList *list = NULL;
    XLU_ConfigValue *item;
    char *pair;
    int i, rc = 0;

    if (xlu_cfg_value_get_list(cfg, v, &list, 1) || !list) {
        r->c->broken = true;
        return xlx__vnuma_find(r->f, XLX_VNUMA_EFFECT_REFUSED, "vnode-list",
                               "vnode %d: it must be a list such as "
                               "[\"pnode=0\",\"size=1024\",...]", r->vnode);
    }
    for (i = 0; !rc && (item = xlu_cfg_get_listitem2(list, i)); i++) {
        if (xlu_cfg_value_type(item) == XLU_STRING &&
            !xlu_cfg_value_get_string(cfg, item, &pair, 1) && pair)
            rc = take_pair(r, pair);
        else
            rc = xlx__vnuma_find(r->f, XLX_VNUMA_EFFECT_BENT, "pair",
                                 "vnode %d: element %d is a list, and must "
                                 "be \"KEY=VALUE\"; xl ignores it", r->vnode,
                                 i + 1);
    }
    return rc ? rc : fill_distances(r);
}

/* ---- the rest of the config --------------------------------------------- */

static long take_long(const XLU_Config *cfg, const char *key)
{
    long value;

    return xlu_cfg_get_long(cfg, key, &value, 1) || value < 0 ? -1 : value;
}

/* type= and, before it, builder=; libxl's default is PV. */
static const char *type_of(const XLU_Config *cfg)
{
    const char *value;

    if (!xlu_cfg_get_string(cfg, "type", &value, 1))
        return value;
    if (!xlu_cfg_get_string(cfg, "builder", &value, 1) &&
        strcmp(value, "generic"))
        return value;
    return "pv";
}

/* The memory that libxl sets aside for the display of an HVM guest. */
static long video_of(const XLU_Config *cfg)
{
    long given = take_long(cfg, "videoram"), standard = 0;
    const char *vga;

    if (given >= 0)
        return given;
    if (!xlu_cfg_get_string(cfg, "vga", &vga, 1))
        return !strcmp(vga, "none") ? 0 : !strcmp(vga, "stdvga") ? 16 :
               !strcmp(vga, "qxl") ? 128 : 8;
    xlu_cfg_get_long(cfg, "stdvga", &standard, 1);
    return standard ? 16 : 8;
}

static int take_scalars(const XLU_Config *cfg, struct xlx__vnuma_config *c)
{
    const char *value;
    int rc;

    c->memory = take_long(cfg, "memory");
    c->maxmem = take_long(cfg, "maxmem");
    c->vcpus = take_long(cfg, "vcpus");
    c->maxvcpus = take_long(cfg, "maxvcpus");
    c->videoram = video_of(cfg);
    rc = xlx__set_string(&c->type, type_of(cfg));
    if (rc) return rc;
    if (!xlu_cfg_get_string(cfg, "name", &value, 1))
        rc = xlx__set_string(&c->name, value);
    return rc;
}

static int take_vnodes(XLU_Config *cfg, struct xlx__vnuma_config *c,
                       xlx_vnuma_findings *f)
{
    struct reader r = { c, f, 0 };
    XLU_ConfigList *list;
    const char *value;
    int num = 0, rc = 0;

    if (xlu_cfg_get_list(cfg, "vnuma", &list, &num, 1)) {
        if (!xlu_cfg_get_string(cfg, "vnuma", &value, 1) &&
            strcmp(value, "auto"))
            rc = xlx__vnuma_find(f, XLX_VNUMA_EFFECT_BENT, "vnuma-list",
                                 "vnuma=\"%s\": it must be a list of vnodes, "
                                 "or \"auto\"; xl ignores it", value);
        return rc;
    }
    if (num > XLX__VNUMA_MAX_NODES)
        return xlx__vnuma_find(f, XLX_VNUMA_EFFECT_REFUSED, "vnode-count",
                               "vnuma has %d vnodes: Xen takes 32 at most",
                               num);
    c->nodes = calloc((size_t)num + 1, sizeof(*c->nodes));
    if (!c->nodes)
        return xlx__nomem();
    c->num_nodes = num;
    for (r.vnode = 0; !rc && r.vnode < num; r.vnode++)
        rc = take_vnode(&r, cfg, xlu_cfg_get_listitem2(list, r.vnode));
    return rc;
}

int xlx__vnuma_config_parse(const char *name, const char *text,
                            struct xlx__vnuma_config *c,
                            xlx_vnuma_findings *f)
{
    struct xlx__xl_config file;
    size_t i;
    int rc;

    memset(c, 0, sizeof(*c));
    for (i = 0; i < XLX__VNUMA_MAX_VCPUS; i++)
        c->owner[i] = -1;
    rc = xlx__xl_config_read_text(&file, name, text);
    if (rc) goto out;
    rc = take_scalars(file.cfg, c);
    if (rc) goto out;
    rc = take_vnodes(file.cfg, c, f);

 out:
    xlx__xl_config_dispose(&file);
    return rc;
}

void xlx__vnuma_config_dispose(struct xlx__vnuma_config *c)
{
    int i;

    for (i = 0; i < c->num_nodes; i++)
        free(c->nodes[i].distances);
    free(c->nodes);
    free(c->name);
    free(c->type);
}

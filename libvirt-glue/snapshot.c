/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The thirteen calls that only ask for snapshots.
 */
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"

/* Flags of lists, VIR_DOMAIN_SNAPSHOT_LIST_.  The first means the roots in a
 * list of a domain, and all descendants in one of a snapshot. */
enum {
    ROOTS = 1, DESCENDANTS = 1, METADATA = 2, LEAVES = 4, NO_LEAVES = 8,
    NO_METADATA = 16, INACTIVE = 32, ACTIVE = 64, DISK_ONLY = 128,
    INTERNAL = 256, EXTERNAL = 512, TOPOLOGICAL = 1024, LIST_FLAGS = 2047,
};
#define SECURE 1u                       /* of XML: with passwords */
#define MOST 16384

/* ---- loading ------------------------------------------------------------ */

const xlx_snapshot *lv_by_name(const struct lv_snapshots *s, const char *name)
{
    int i;

    for (i = 0; i < s->num; i++)
        if (!strcmp(s->all[i]->name, name))
            return s->all[i];
    return NULL;
}

static bool is_ours(const xlx_snapshot *snapshot)
{
    return snapshot->status != XLX_SNAPSHOT_STATUS_FOREIGN;
}

const xlx_snapshot *lv_parent(const struct lv_snapshots *s,
                              const xlx_snapshot *child)
{
    const char *name = child->parent ? child->parent : "";
    int i;

    for (i = 0; *name && i < s->list.num_snapshots; i++)
        if (is_ours(&s->list.snapshots[i]) &&
            !strcmp(s->list.snapshots[i].name, name))
            return &s->list.snapshots[i];
    return NULL;
}

/* Round after round those whose parent is there; what would go in a circle,
 * which a record that was written by hand may, comes last. */
static void sort(struct lv_snapshots *s)
{
    const xlx_snapshot *one, *parent;
    bool forced = false, found;
    int i, total = 0;

    for (i = 0; i < s->list.num_snapshots; i++)
        total += is_ours(&s->list.snapshots[i]);
    while (s->num < total) {
        found = false;
        for (i = 0; i < s->list.num_snapshots; i++) {
            one = &s->list.snapshots[i];
            parent = lv_parent(s, one);
            if (!is_ours(one) || lv_by_name(s, one->name) ||
                (parent && !lv_by_name(s, parent->name) && !forced))
                continue;
            s->all[s->num++] = one;
            found = true;
        }
        if (forced && !found)
            break;                      /* two of the same name */
        forced = !found;
    }
}

int lv_load(struct lv_worker *w, const struct lv_domain *dom, bool change,
            struct lv_snapshots *s)
{
    unsigned int tries = 0;
    int rc;

    *s = (struct lv_snapshots){ 0 };
    xlx_snapshots_init(&s->list);
    if (lv_find_guest(w, dom, change, &s->g))
        return -1;
    do {
        rc = s->g.known ? xlx_snapshot_list(w->ctx, &s->g.guest, &s->list)
                        : 0;
    } while (lv_ask_again(rc, &tries));
    if (rc) {
        lv_fail_xlx(w, LV_FROM_SNAPSHOT, rc);
        goto fail;
    }
    s->all = calloc((size_t)s->list.num_snapshots + 1, sizeof(*s->all));
    if (!s->all) {
        lv_no_memory(w);
        goto fail;
    }
    sort(s);
    return 0;

 fail:
    lv_unload(s);
    return -1;
}

void lv_unload(struct lv_snapshots *s)
{
    lv_guest_free(&s->g);
    xlx_snapshots_dispose(&s->list);
    free(s->all);
    s->all = NULL;
}

int lv_get(struct lv_worker *w, const struct lv_snapshots *s, const char *name,
           const xlx_snapshot **snapshot_r)
{
    *snapshot_r = lv_by_name(s, name);
    if (*snapshot_r)
        return 0;
    return lv_fail(w, LV_NO_SNAPSHOT, LV_FROM_SNAPSHOT,
                   "no domain snapshot with matching name '%.250s'", name);
}

int lv_put_snapshot(struct lv_worker *w, const struct lv_snapshots *s,
                    const char *name, struct lv_snapshot *to)
{
    to->name = strdup(name);
    if (!to->name)
        return lv_no_memory(w);
    return lv_copy_domain(w, &s->g.dom, &to->dom);
}

/* ---- lists -------------------------------------------------------------- */

static bool has_children(const struct lv_snapshots *s,
                         const xlx_snapshot *snapshot)
{
    int i;

    for (i = 0; i < s->num; i++)
        if (lv_parent(s, s->all[i]) == snapshot)
            return true;
    return false;
}

/* None of the flags that exclude one another means all of them. */
static bool one_of(uint32_t flags, uint32_t group, uint32_t has)
{
    return !(flags & group) || flags & has;
}

static bool passes(const struct lv_snapshots *s, const xlx_snapshot *one,
                   uint32_t flags)
{
    return one_of(flags, METADATA | NO_METADATA, METADATA) &&
           one_of(flags, LEAVES | NO_LEAVES,
                  has_children(s, one) ? NO_LEAVES : LEAVES) &&
           one_of(flags, INACTIVE | ACTIVE | DISK_ONLY,
                  one->running ? DISK_ONLY : INACTIVE) &&
           one_of(flags, INTERNAL | EXTERNAL,
                  one->kind == XLX_SNAPSHOT_KIND_EXTERNAL ? EXTERNAL
                                                          : INTERNAL);
}

/* Is it below that one, by as many steps as there are snapshots at most? */
static bool descends(const struct lv_snapshots *s, const xlx_snapshot *one,
                     const xlx_snapshot *from)
{
    int i;

    for (i = 0; one && i <= s->num; i++) {
        one = lv_parent(s, one);
        if (one == from)
            return true;
    }
    return false;
}

/* The snapshots of the list that was asked for; *some_r is malloc()ed. */
static int select_some(struct lv_worker *w, const struct lv_snapshots *s,
                       const xlx_snapshot *from, uint32_t flags,
                       const xlx_snapshot ***some_r, int *num_r)
{
    const xlx_snapshot **some, *one;
    bool in;
    int i, num = 0;

    some = calloc((size_t)s->num + 1, sizeof(*some));
    if (!some)
        return lv_no_memory(w);
    for (i = 0; i < s->num; i++) {
        one = s->all[i];
        if (!from)
            in = !(flags & ROOTS) || !lv_parent(s, one);
        else if (flags & DESCENDANTS)
            in = descends(s, one, from);
        else
            in = lv_parent(s, one) == from;
        if (in && passes(s, one, flags))
            some[num++] = one;
    }
    if (num > MOST) {
        free(some);
        return lv_fail(w, LV_RPC, LV_FROM_RPC, "there are %d snapshots, and "
                       "libvirt's protocol has room for %d", num, MOST);
    }
    *some_r = some;
    *num_r = num;
    return 0;
}

/* The list of a domain, or, with name, of a snapshot of its. */
struct selection {
    struct lv_snapshots s;
    const xlx_snapshot **some;
    int num;
};

static int select_begin(struct lv_worker *w, const struct lv_domain *dom,
                        const char *name, uint32_t flags,
                        struct selection *sel)
{
    const xlx_snapshot *from = NULL;

    *sel = (struct selection){ 0 };
    if (lv_check_flags(w, flags, LIST_FLAGS) ||
        lv_load(w, dom, false, &sel->s))
        return -1;
    if ((name && lv_get(w, &sel->s, name, &from)) ||
        select_some(w, &sel->s, from, flags, &sel->some, &sel->num)) {
        lv_unload(&sel->s);
        return -1;
    }
    return 0;
}

static void select_end(struct selection *sel)
{
    free(sel->some);
    lv_unload(&sel->s);
}

static int count(struct lv_worker *w, const struct lv_domain *dom,
                 const char *name, uint32_t flags, int32_t *num_r)
{
    struct selection sel;

    if (select_begin(w, dom, name, flags, &sel))
        return -1;
    *num_r = sel.num;
    select_end(&sel);
    return 0;
}

static int list_names(struct lv_worker *w, const struct lv_domain *dom,
                      const char *name, int32_t most, uint32_t flags,
                      char ***names_r, uint32_t *num_r)
{
    struct selection sel;
    int i, r = 0;

    if (most < 0 || most > MOST)
        return lv_fail(w, LV_RPC, LV_FROM_RPC, "%d names are more than "
                       "libvirt's protocol has room for", most);
    if (select_begin(w, dom, name, flags, &sel))
        return -1;
    *names_r = calloc((size_t)sel.num + 1, sizeof(**names_r));
    if (!*names_r)
        r = lv_no_memory(w);
    for (i = 0; !r && i < sel.num && i < most; i++) {
        (*names_r)[i] = strdup(sel.some[i]->name);
        if (!(*names_r)[i])
            r = lv_no_memory(w);
        else
            ++*num_r;
    }
    select_end(&sel);
    return r;
}

static int list_all(struct lv_worker *w, const struct lv_domain *dom,
                    const char *name, int32_t need, uint32_t flags,
                    struct lv_snapshot **list_r, uint32_t *num_r,
                    int32_t *ret_r)
{
    struct selection sel;
    int i, r = 0;

    if (select_begin(w, dom, name, flags, &sel))
        return -1;
    *ret_r = sel.num;
    *list_r = calloc((size_t)sel.num + 1, sizeof(**list_r));
    if (!*list_r)
        r = lv_no_memory(w);
    for (i = 0; need && !r && i < sel.num; i++) {
        r = lv_put_snapshot(w, &sel.s, sel.some[i]->name, &(*list_r)[i]);
        ++*num_r;
    }
    select_end(&sel);
    return r;
}

int lv_answer_domain_snapshot_num(
    struct lv_worker *w, const struct lv_domain_snapshot_num_args *args,
    struct lv_domain_snapshot_num_ret *ret)
{
    return count(w, &args->dom, NULL, args->flags, &ret->num);
}

int lv_answer_domain_snapshot_num_children(
    struct lv_worker *w,
    const struct lv_domain_snapshot_num_children_args *args,
    struct lv_domain_snapshot_num_children_ret *ret)
{
    return count(w, &args->snap.dom, args->snap.name, args->flags, &ret->num);
}

int lv_answer_domain_snapshot_list_names(
    struct lv_worker *w, const struct lv_domain_snapshot_list_names_args *args,
    struct lv_domain_snapshot_list_names_ret *ret)
{
    return list_names(w, &args->dom, NULL, args->maxnames, args->flags,
                      &ret->names, &ret->num_names);
}

int lv_answer_domain_snapshot_list_children_names(
    struct lv_worker *w,
    const struct lv_domain_snapshot_list_children_names_args *args,
    struct lv_domain_snapshot_list_children_names_ret *ret)
{
    return list_names(w, &args->snap.dom, args->snap.name, args->maxnames,
                      args->flags, &ret->names, &ret->num_names);
}

int lv_answer_domain_list_all_snapshots(
    struct lv_worker *w, const struct lv_domain_list_all_snapshots_args *args,
    struct lv_domain_list_all_snapshots_ret *ret)
{
    return list_all(w, &args->dom, NULL, args->need_results, args->flags,
                    &ret->snapshots, &ret->num_snapshots, &ret->ret);
}

int lv_answer_domain_snapshot_list_all_children(
    struct lv_worker *w,
    const struct lv_domain_snapshot_list_all_children_args *args,
    struct lv_domain_snapshot_list_all_children_ret *ret)
{
    return list_all(w, &args->snap.dom, args->snap.name, args->need_results,
                    args->flags, &ret->snapshots, &ret->num_snapshots,
                    &ret->ret);
}

/* ---- one ---------------------------------------------------------------- */

/* Loads the snapshots of a domain, and finds one; lv_unload() when it is 0. */
static int load_one(struct lv_worker *w, const struct lv_domain *dom,
                    const char *name, struct lv_snapshots *s,
                    const xlx_snapshot **one_r)
{
    if (lv_load(w, dom, false, s))
        return -1;
    if (!lv_get(w, s, name, one_r))
        return 0;
    lv_unload(s);
    return -1;
}

int lv_answer_domain_snapshot_lookup_by_name(
    struct lv_worker *w,
    const struct lv_domain_snapshot_lookup_by_name_args *args,
    struct lv_domain_snapshot_lookup_by_name_ret *ret)
{
    const xlx_snapshot *one;
    struct lv_snapshots s;
    int r;

    if (lv_check_flags(w, args->flags, 0) ||
        load_one(w, &args->dom, args->name, &s, &one))
        return -1;
    r = lv_put_snapshot(w, &s, one->name, &ret->snap);
    lv_unload(&s);
    return r;
}

static const xlx_snapshot *current(const struct lv_snapshots *s)
{
    return lv_by_name(s, s->list.current ? s->list.current : "");
}

int lv_answer_domain_has_current_snapshot(
    struct lv_worker *w,
    const struct lv_domain_has_current_snapshot_args *args,
    struct lv_domain_has_current_snapshot_ret *ret)
{
    struct lv_snapshots s;

    if (lv_check_flags(w, args->flags, 0) || lv_load(w, &args->dom, false, &s))
        return -1;
    ret->result = current(&s) != NULL;
    lv_unload(&s);
    return 0;
}

int lv_answer_domain_snapshot_current(
    struct lv_worker *w, const struct lv_domain_snapshot_current_args *args,
    struct lv_domain_snapshot_current_ret *ret)
{
    struct lv_snapshots s;
    int r;

    if (lv_check_flags(w, args->flags, 0) || lv_load(w, &args->dom, false, &s))
        return -1;
    r = current(&s)
        ? lv_put_snapshot(w, &s, current(&s)->name, &ret->snap)
        : lv_fail(w, LV_NO_SNAPSHOT, LV_FROM_SNAPSHOT, "%s",
                  "the domain does not have a current snapshot");
    lv_unload(&s);
    return r;
}

int lv_answer_domain_snapshot_get_parent(
    struct lv_worker *w, const struct lv_domain_snapshot_get_parent_args *args,
    struct lv_domain_snapshot_get_parent_ret *ret)
{
    const xlx_snapshot *one, *parent;
    struct lv_snapshots s;
    int r;

    if (lv_check_flags(w, args->flags, 0) ||
        load_one(w, &args->snap.dom, args->snap.name, &s, &one))
        return -1;
    parent = lv_parent(&s, one);
    r = parent ? lv_put_snapshot(w, &s, parent->name, &ret->snap)
               : lv_fail(w, LV_NO_SNAPSHOT, LV_FROM_SNAPSHOT,
                         "snapshot '%s' does not have a parent", one->name);
    lv_unload(&s);
    return r;
}

int lv_answer_domain_snapshot_is_current(
    struct lv_worker *w, const struct lv_domain_snapshot_is_current_args *args,
    struct lv_domain_snapshot_is_current_ret *ret)
{
    const xlx_snapshot *one;
    struct lv_snapshots s;

    if (lv_check_flags(w, args->flags, 0) ||
        load_one(w, &args->snap.dom, args->snap.name, &s, &one))
        return -1;
    ret->current = one == current(&s);
    lv_unload(&s);
    return 0;
}

int lv_answer_domain_snapshot_has_metadata(
    struct lv_worker *w,
    const struct lv_domain_snapshot_has_metadata_args *args,
    struct lv_domain_snapshot_has_metadata_ret *ret)
{
    const xlx_snapshot *one;
    struct lv_snapshots s;

    if (lv_check_flags(w, args->flags, 0) ||
        load_one(w, &args->snap.dom, args->snap.name, &s, &one))
        return -1;
    ret->metadata = 1;                  /* all have a record of libxlx's */
    lv_unload(&s);
    return 0;
}

int lv_answer_domain_snapshot_get_xml_desc(
    struct lv_worker *w,
    const struct lv_domain_snapshot_get_xml_desc_args *args,
    struct lv_domain_snapshot_get_xml_desc_ret *ret)
{
    const xlx_snapshot *one;
    struct lv_snapshots s;
    char *domain;

    if (lv_check_flags(w, args->flags, SECURE))
        return -1;
    if (w->call->read_only && args->flags & SECURE)
        return lv_fail(w, LV_OPERATION_DENIED, LV_FROM_SNAPSHOT, "%s",
                       "virDomainSnapshotGetXMLDesc with secure flag");
    if (load_one(w, &args->snap.dom, args->snap.name, &s, &one))
        return -1;
    domain = lv_kept_domain(w, &s.g, one);
    ret->xml = domain ? lv_snapshot_xml(w, &s, one, domain) : NULL;
    free(domain);
    lv_unload(&s);
    return ret->xml ? 0 : -1;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The calls that make, revert to and delete snapshots.
 *
 * libxlx's snapshots hold disks.  A client that asks for the memory of a
 * running guest as well, which is libvirt's default, is refused, and not given
 * less than it asked for.  Guests that libvirt runs can only have internal
 * snapshots: libvirtd starts a guest from its own definition, and would start
 * it on an image that is frozen.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "snapshot.h"

enum {                                  /* VIR_DOMAIN_SNAPSHOT_CREATE_ */
    REDEFINE = 1, CURRENT = 2, DISK_ONLY = 16, QUIESCE = 64, ATOMIC = 128,
    LIVE = 256, VALIDATE = 512,
    CREATE_FLAGS = REDEFINE | CURRENT | DISK_ONLY | QUIESCE | ATOMIC | LIVE |
                   VALIDATE,
};
enum { CHILDREN = 1, METADATA_ONLY = 2, CHILDREN_ONLY = 4 };    /* DELETE_ */
enum { REVERT_RUNNING = 1, REVERT_FORCE = 4 };

/* ---- create ------------------------------------------------------------- */

static const xlx_disk *find_disk(const xlx_disks *disks, const char *name)
{
    int i;

    for (i = 0; i < disks->num_disks; i++)
        if (!strcmp(disks->disks[i].vdev, name) ||
            (*name == '/' && disks->disks[i].path &&
             !strcmp(disks->disks[i].path, name)))
            return &disks->disks[i];
    return NULL;
}

static const struct lv_wanted_disk *wanted_of(const struct lv_wanted *wanted,
                                              const xlx_disks *disks,
                                              const xlx_disk *disk)
{
    int i;

    for (i = 0; i < wanted->num_disks; i++)
        if (find_disk(disks, wanted->disks[i].name) == disk)
            return &wanted->disks[i];
    return NULL;
}

/* All disks of a snapshot are of one kind. */
static int choose_kind(struct lv_worker *w, const struct lv_wanted *wanted,
                       xlx_snapshot_kind *kind_r)
{
    const struct lv_wanted_disk *d;
    bool internal = false, external = false;
    int i;

    for (i = 0; i < wanted->num_disks; i++) {
        d = &wanted->disks[i];
        internal |= d->location == LV_INTERNAL_DISK;
        external |= d->location == LV_EXTERNAL_DISK;
        if (d->has_source && d->location != LV_NONE)
            return lv_fail(w, LV_CONFIG_UNSUPPORTED, LV_FROM_SNAPSHOT, "disk "
                           "'%.100s': the file of an overlay cannot be "
                           "chosen; leave <source> out", d->name);
    }
    if (internal && external)
        return lv_fail(w, LV_CONFIG_UNSUPPORTED, LV_FROM_SNAPSHOT, "%s",
                       "mixing internal and external targets for a snapshot "
                       "is not yet supported");
    *kind_r = internal ? XLX_SNAPSHOT_KIND_INTERNAL
              : external ? XLX_SNAPSHOT_KIND_EXTERNAL
              : XLX_SNAPSHOT_KIND_AUTO;
    return 0;
}

/* The disks that are not left out; an empty list when none is, which means
 * all that can be written. */
static int choose_disks(struct lv_worker *w, const struct lv_guest *g,
                        const struct lv_wanted *wanted,
                        xlx_snapshot_spec *spec)
{
    const struct lv_wanted_disk *d;
    xlx_disks disks;
    bool left_out = false;
    int i, rc, r = 0;

    xlx_disks_init(&disks);
    rc = xlx_disk_list(w->ctx, &g->guest, &disks);
    if (rc)
        r = lv_fail_xlx(w, LV_FROM_SNAPSHOT, rc);
    for (i = 0; !r && i < wanted->num_disks; i++) {
        d = &wanted->disks[i];
        left_out |= d->location == LV_NONE;
        if (!find_disk(&disks, d->name))
            r = lv_fail(w, LV_CONFIG_UNSUPPORTED, LV_FROM_SNAPSHOT,
                        "no disk named '%.100s'", d->name);
    }
    if (!r && left_out)
        spec->disks = calloc((size_t)disks.num_disks + 1,
                             sizeof(*spec->disks));
    for (i = 0; !r && left_out && i < disks.num_disks; i++) {
        d = wanted_of(wanted, &disks, &disks.disks[i]);
        if ((d && d->location == LV_NONE) || disks.disks[i].cdrom ||
            disks.disks[i].readonly)
            continue;
        if (!spec->disks ||
            !(spec->disks[spec->num_disks++] = strdup(disks.disks[i].vdev)))
            r = lv_no_memory(w);
    }
    if (!r && left_out && !spec->num_disks)
        r = lv_fail(w, LV_CONFIG_UNSUPPORTED, LV_FROM_SNAPSHOT, "%s",
                    "disk-only snapshot requires at least one disk to be "
                    "selected for snapshot");
    xlx_disks_dispose(&disks);
    return r;
}

/* libvirt names a snapshot that has no name by the time. */
static int choose_name(struct lv_worker *w, const struct lv_wanted *wanted,
                       xlx_snapshot_spec *spec)
{
    if (wanted->name)
        spec->name = strdup(wanted->name);
    else if (asprintf(&spec->name, "%lld", (long long)time(NULL)) < 0)
        spec->name = NULL;
    spec->description = strdup(wanted->description ? wanted->description : "");
    return spec->name && spec->description ? 0 : lv_no_memory(w);
}

static int check_memory(struct lv_worker *w, const struct lv_guest *g,
                        const struct lv_wanted *wanted, uint32_t flags)
{
    if (wanted->memory)
        return lv_fail(w, LV_CONFIG_UNSUPPORTED, LV_FROM_SNAPSHOT, "%s",
                       "the memory of a guest cannot be part of a snapshot: "
                       "use --disk-only, or <memory snapshot='no'/>");
    if (!lv_guest_runs(g) || flags & DISK_ONLY || wanted->no_memory)
        return 0;
    return lv_fail(w, LV_CONFIG_UNSUPPORTED, LV_FROM_SNAPSHOT, "%s",
                   "the guest runs, and its memory cannot be part of a "
                   "snapshot: use --disk-only");
}

/* libvirtd would start a guest that is shut down on the frozen image. */
static int check_kind(struct lv_worker *w, const struct lv_guest *g,
                      xlx_snapshot_spec *spec)
{
    if (lv_guest_runs(g))
        return 0;
    if (spec->kind == XLX_SNAPSHOT_KIND_EXTERNAL)
        return lv_fail(w, LV_CONFIG_UNSUPPORTED, LV_FROM_SNAPSHOT, "%s",
                       "libvirt would start this guest on the frozen image: "
                       "only internal snapshots are possible");
    spec->kind = XLX_SNAPSHOT_KIND_INTERNAL;
    return 0;
}

static int fail_create(struct lv_worker *w, const char *name, int rc)
{
    if (rc == ERROR_DEVICE_EXISTS)
        return lv_fail(w, LV_OPERATION_FAILED, LV_FROM_SNAPSHOT,
                       "domain moment %s already exists", name);
    return lv_fail_xlx(w, LV_FROM_SNAPSHOT, rc);
}

/* The kind that costs the guest least is external for large images, which a
 * guest of libvirt's cannot have: it then gets the other one. */
static int make(struct lv_worker *w, const struct lv_guest *g,
                xlx_snapshot_spec *spec, xlx_snapshot *made)
{
    int rc;

    rc = xlx_snapshot_create(w->ctx, &g->guest, spec, made);
    if (rc == ERROR_INVAL && spec->kind == XLX_SNAPSHOT_KIND_AUTO) {
        spec->kind = XLX_SNAPSHOT_KIND_INTERNAL;
        xlx_snapshot_dispose(made);
        xlx_snapshot_init(made);
        rc = xlx_snapshot_create(w->ctx, &g->guest, spec, made);
    }
    return rc ? fail_create(w, spec->name, rc) : 0;
}

/* The snapshot is there; without the file its <domain> is the present one. */
static void keep_domain(struct lv_worker *w, const struct lv_guest *g,
                        const xlx_snapshot *made)
{
    if (lv_keep_domain(w, g, made))
        lv_say("%s: the definition at snapshot %s is not kept: %s",
               g->dom.name, made->name, w->text);
}

static int create(struct lv_worker *w, const struct lv_snapshots *s,
                  const struct lv_wanted *wanted, uint32_t flags,
                  struct lv_snapshot *snap)
{
    xlx_snapshot_spec spec;
    xlx_snapshot made;
    int r;

    xlx_snapshot_spec_init(&spec);
    xlx_snapshot_init(&made);
    spec.quiesce = flags & QUIESCE;
    r = check_memory(w, &s->g, wanted, flags);
    if (!r)
        r = choose_name(w, wanted, &spec);
    if (!r && lv_by_name(s, spec.name))
        r = fail_create(w, spec.name, ERROR_DEVICE_EXISTS);
    if (!r)
        r = choose_kind(w, wanted, &spec.kind);
    if (!r)
        r = check_kind(w, &s->g, &spec);
    if (!r)
        r = choose_disks(w, &s->g, wanted, &spec);
    if (!r)
        r = make(w, &s->g, &spec, &made);
    if (!r) {
        keep_domain(w, &s->g, &made);
        r = lv_put_snapshot(w, s, made.name, snap);
    }
    xlx_snapshot_spec_dispose(&spec);
    xlx_snapshot_dispose(&made);
    return r;
}

/* ---- redefine ----------------------------------------------------------- */

/* snapshot-edit: only the description is the user's.  All else is what the
 * disks are, and so is which snapshot is the current one. */
static int redefine(struct lv_worker *w, const struct lv_snapshots *s,
                    const struct lv_wanted *wanted, uint32_t flags,
                    struct lv_snapshot *snap)
{
    const char *text = wanted->description ? wanted->description : "";
    const char *now = s->list.current ? s->list.current : "";
    const xlx_snapshot *one;
    int rc;

    if (!wanted->name)
        return lv_fail(w, LV_XML_ERROR, LV_FROM_SNAPSHOT, "%s",
                       "a redefined snapshot must have a name");
    if (wanted->has_uuid && memcmp(wanted->uuid, s->g.dom.uuid, 16))
        return lv_fail(w, LV_INVALID_ARG, LV_FROM_SNAPSHOT, "definition for "
                       "snapshot %s must use the uuid of its domain",
                       wanted->name);
    one = lv_by_name(s, wanted->name);
    if (!one)
        return lv_fail(w, LV_CONFIG_UNSUPPORTED, LV_FROM_SNAPSHOT, "there is "
                       "no snapshot '%s', and none can be defined from XML: "
                       "its state is in the guest's images", wanted->name);
    if (flags & CURRENT && strcmp(now, one->name))
        return lv_fail(w, LV_OPERATION_INVALID, LV_FROM_SNAPSHOT, "the "
                       "current snapshot is the one that the guest's disks "
                       "are based on, now '%s': revert to '%s' to make it "
                       "that", now, one->name);
    if (strcmp(text, one->description ? one->description : "")) {
        rc = xlx_snapshot_describe(w->ctx, &s->g.guest, one->name, text);
        if (rc)
            return lv_fail_xlx(w, LV_FROM_SNAPSHOT, rc);
    }
    return lv_put_snapshot(w, s, one->name, snap);
}

int lv_answer_domain_snapshot_create_xml(
    struct lv_worker *w, const struct lv_domain_snapshot_create_xml_args *args,
    struct lv_domain_snapshot_create_xml_ret *ret)
{
    bool again = args->flags & REDEFINE;
    struct lv_wanted wanted;
    struct lv_snapshots s;
    int r;

    if (lv_check_flags(w, args->flags, CREATE_FLAGS) ||
        lv_parse_snapshot(w, args->xml, args->flags & VALIDATE, &wanted))
        return -1;
    r = lv_load(w, &args->dom, !again, &s);
    if (!r) {
        r = again ? redefine(w, &s, &wanted, args->flags, &ret->snap)
                  : create(w, &s, &wanted, args->flags, &ret->snap);
        lv_unload(&s);
    }
    lv_wanted_free(&wanted);
    return r;
}

/* ---- revert ------------------------------------------------------------- */

/* The library stops and starts a guest that runs; one that does not is started
 * by libvirtd. */
static int start(struct lv_worker *w, const struct lv_guest *g)
{
    struct lv_domain_create_args args = { g->dom };

    return lv_back_call(w, LV_DOMAIN_CREATE, &args, NULL);
}

static int revert(struct lv_worker *w, const struct lv_snapshots *s,
                  const xlx_snapshot *one, uint32_t flags)
{
    xlx_snapshot_revert_result result;
    xlx_snapshot_revert_spec spec;
    bool runs = lv_guest_runs(&s->g);
    int rc, r = 0;

    if (runs && !(flags & REVERT_FORCE))
        return lv_fail(w, LV_REVERT_RISKY, LV_FROM_SNAPSHOT, "the guest runs, "
                       "and is stopped as by a power cut to go back to '%s'",
                       one->name);
    xlx_snapshot_revert_spec_init(&spec);
    xlx_snapshot_revert_result_init(&result);
    spec.name = strdup(one->name);
    spec.force = true;
    rc = spec.name ? xlx_snapshot_revert(w->ctx, &s->g.guest, &spec, &result)
                   : ERROR_NOMEM;
    if (rc)
        r = lv_fail_xlx(w, LV_FROM_SNAPSHOT, rc);
    else if (flags & REVERT_RUNNING && !runs)
        r = start(w, &s->g);
    xlx_snapshot_revert_spec_dispose(&spec);
    xlx_snapshot_revert_result_dispose(&result);
    return r;
}

int lv_answer_domain_revert_to_snapshot(
    struct lv_worker *w, const struct lv_domain_revert_to_snapshot_args *args)
{
    const xlx_snapshot *one;
    struct lv_snapshots s;
    int r;

    if (lv_check_flags(w, args->flags, REVERT_RUNNING | REVERT_FORCE) ||
        lv_load(w, &args->snap.dom, true, &s))
        return -1;
    r = lv_get(w, &s, args->snap.name, &one);
    if (!r)
        r = revert(w, &s, one, args->flags);
    lv_unload(&s);
    return r;
}

/* ---- delete ------------------------------------------------------------- */

static int delete(struct lv_worker *w, const struct lv_guest *g,
                  const char *name, uint32_t flags)
{
    xlx_snapshot_delete_spec spec;
    xlx_snapshot_plan plan;
    int rc, r = 0;

    xlx_snapshot_delete_spec_init(&spec);
    xlx_snapshot_plan_init(&plan);
    spec.name = strdup(name);
    spec.children = flags & CHILDREN;
    spec.metadata_only = flags & METADATA_ONLY;
    rc = spec.name ? xlx_snapshot_delete(w->ctx, &g->guest, &spec, NULL, &plan)
                   : ERROR_NOMEM;
    if (rc)
        r = lv_fail_xlx(w, LV_FROM_SNAPSHOT, rc);
    xlx_snapshot_delete_spec_dispose(&spec);
    xlx_snapshot_plan_dispose(&plan);
    return r;
}

static int delete_children(struct lv_worker *w, const struct lv_snapshots *s,
                           const xlx_snapshot *one, uint32_t flags)
{
    int i, r = 0;

    for (i = 0; i < s->num && !r; i++)
        if (lv_parent(s, s->all[i]) == one)
            r = delete(w, &s->g, s->all[i]->name, flags | CHILDREN);
    return r;
}

/* The files of those that are gone. */
static void forget_domains(struct lv_worker *w, const struct lv_snapshots *s)
{
    struct lv_snapshots now;
    int i;

    if (lv_load(w, &s->g.dom, false, &now))
        return;
    for (i = 0; i < s->num; i++)
        if (!lv_by_name(&now, s->all[i]->name))
            lv_forget_domain(w, &s->g, s->all[i]->name);
    lv_unload(&now);
}

int lv_answer_domain_snapshot_delete(
    struct lv_worker *w, const struct lv_domain_snapshot_delete_args *args)
{
    const xlx_snapshot *one;
    struct lv_snapshots s;
    bool metadata = args->flags & METADATA_ONLY;
    int r;

    if (lv_check_flags(w, args->flags, CHILDREN | METADATA_ONLY |
                       CHILDREN_ONLY))
        return -1;
    if (args->flags & CHILDREN && args->flags & CHILDREN_ONLY)
        return lv_fail(w, LV_INVALID_ARG, LV_FROM_SNAPSHOT, "%s", "children "
                       "and children_only flags are mutually exclusive");
    if (lv_load(w, &args->snap.dom, !metadata, &s))
        return -1;
    r = lv_get(w, &s, args->snap.name, &one);
    if (!r)
        r = args->flags & CHILDREN_ONLY
            ? delete_children(w, &s, one, args->flags & METADATA_ONLY)
            : delete(w, &s.g, one->name, args->flags);
    forget_domains(w, &s);
    lv_unload(&s);
    return r;
}

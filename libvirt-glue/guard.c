/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls that libvirtd can answer, and must not get at times: it does not know
 * of jobs in QEMU, which it would stop in the middle when it saves or migrates
 * a guest, nor of snapshots, which it would leave behind with nobody to own
 * them.  Otherwise they are passed on as they came.
 */
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "snapshot.h"

#define LEGACY "xen:///system?mode=legacy goes past this check"

/* ---- jobs --------------------------------------------------------------- */

static bool is_at_work(const xlx_disk_job *job)
{
    return job->state != XLX_DISK_JOB_STATE_DONE &&
           job->state != XLX_DISK_JOB_STATE_FAILED;
}

static int check_jobs(struct lv_worker *w, const struct lv_guest *g)
{
    unsigned int tries = 0;
    xlx_disk_jobs jobs;
    int i, rc, r = LV_PASS_ON;

    xlx_disk_jobs_init(&jobs);
    do {
        rc = xlx_disk_job_list(w->ctx, &g->guest, &jobs);
    } while (lv_ask_again(rc, &tries));
    if (rc)
        r = lv_fail(w, LV_OPERATION_FAILED, LV_FROM_LIBXL, "whether a job is "
                    "at work on the guest's disks: %s; " LEGACY,
                    xlx_error_get());
    for (i = 0; !rc && i < jobs.num_jobs && r == LV_PASS_ON; i++)
        if (is_at_work(&jobs.jobs[i]))
            r = lv_fail(w, LV_OPERATION_INVALID, LV_FROM_LIBXL, "domain has "
                        "active block job on '%s': end it first",
                        jobs.jobs[i].vdev ? jobs.jobs[i].vdev : "?");
    xlx_disk_jobs_dispose(&jobs);
    return r;
}

/* Before the guest is saved or leaves. */
static int guard_jobs(struct lv_worker *w, const struct lv_domain *dom)
{
    struct lv_guest g;
    int r;

    if (lv_find_guest(w, dom, false, &g))
        return -1;
    r = g.known && lv_guest_runs(&g) ? check_jobs(w, &g) : LV_PASS_ON;
    lv_guest_free(&g);
    return r;
}

int lv_answer_domain_save(struct lv_worker *w,
                          const struct lv_domain_save_args *args)
{
    return guard_jobs(w, &args->dom);
}

int lv_answer_domain_save_flags(struct lv_worker *w,
                                const struct lv_domain_save_flags_args *args)
{
    return guard_jobs(w, &args->dom);
}

int lv_answer_domain_save_params(struct lv_worker *w,
                                 const struct lv_domain_save_params_args *args)
{
    return guard_jobs(w, &args->dom);
}

int lv_answer_domain_managed_save(
    struct lv_worker *w, const struct lv_domain_managed_save_args *args)
{
    return guard_jobs(w, &args->dom);
}

int lv_answer_domain_migrate_begin3(
    struct lv_worker *w, const struct lv_domain_migrate_begin3_args *args)
{
    return guard_jobs(w, &args->dom);
}

int lv_answer_domain_migrate_begin3_params(
    struct lv_worker *w,
    const struct lv_domain_migrate_begin3_params_args *args)
{
    return guard_jobs(w, &args->dom);
}

int lv_answer_domain_migrate_perform3(
    struct lv_worker *w, const struct lv_domain_migrate_perform3_args *args)
{
    return guard_jobs(w, &args->dom);
}

int lv_answer_domain_migrate_perform3_params(
    struct lv_worker *w,
    const struct lv_domain_migrate_perform3_params_args *args)
{
    return guard_jobs(w, &args->dom);
}

/* ---- undefine ----------------------------------------------------------- */

enum { SNAPSHOTS_METADATA = 2 };        /* VIR_DOMAIN_UNDEFINE_ */

static int forget_snapshot(struct lv_worker *w, const struct lv_guest *g,
                           const char *name)
{
    xlx_snapshot_delete_spec spec;
    xlx_snapshot_plan plan;
    int rc;

    xlx_snapshot_delete_spec_init(&spec);
    xlx_snapshot_plan_init(&plan);
    spec.name = strdup(name);
    spec.metadata_only = true;
    rc = spec.name ? xlx_snapshot_delete(w->ctx, &g->guest, &spec, NULL, &plan)
                   : ERROR_NOMEM;
    xlx_snapshot_delete_spec_dispose(&spec);
    xlx_snapshot_plan_dispose(&plan);
    if (rc)
        return lv_fail_xlx(w, LV_FROM_SNAPSHOT, rc);
    lv_forget_domain(w, g, name);
    return 0;
}

/* The definition first: if libvirtd refuses, the snapshots are still there. */
static int undefine_all(struct lv_worker *w, const struct lv_snapshots *s,
                        uint32_t flags)
{
    struct lv_domain_undefine_flags_args args = {
        .dom = s->g.dom, .flags = flags & ~(uint32_t)SNAPSHOTS_METADATA,
    };
    int i, r;

    r = lv_back_call(w, LV_DOMAIN_UNDEFINE_FLAGS, &args, NULL);
    for (i = s->num - 1; !r && i >= 0; i--)
        r = forget_snapshot(w, &s->g, s->all[i]->name);
    return r;
}

/* As with other drivers, a guest that runs keeps its snapshots. */
static int undefine(struct lv_worker *w, const struct lv_domain *dom,
                    uint32_t flags)
{
    bool forget = flags & SNAPSHOTS_METADATA;
    struct lv_snapshots s;
    int r = LV_PASS_ON;

    if (lv_load(w, dom, false, &s))
        return -1;
    if (forget)
        r = undefine_all(w, &s, flags);
    else if (s.num && !lv_guest_runs(&s.g))
        r = lv_fail(w, LV_OPERATION_INVALID, LV_FROM_LIBXL, "cannot delete "
                    "inactive domain with %d snapshots", s.num);
    lv_unload(&s);
    return r;
}

int lv_answer_domain_undefine(struct lv_worker *w,
                              const struct lv_domain_undefine_args *args)
{
    return undefine(w, &args->dom, 0);
}

int lv_answer_domain_undefine_flags(
    struct lv_worker *w, const struct lv_domain_undefine_flags_args *args)
{
    return undefine(w, &args->dom, args->flags);
}

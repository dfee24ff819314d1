/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * virsh blockcopy, blockpull, blockcommit, blockjob and domblkinfo, with the
 * jobs of libxlx.
 *
 * A copy is one that is kept when the job is ended.  libvirt decides at the
 * end whether the guest goes on in the copy (--pivot); a guest of libvirt's
 * cannot, because libvirtd would start it on the old image again.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "block.h"
#include "xml.h"

enum { JOB_BYTES = 1, ABORT_ASYNC = 1, ABORT_PIVOT = 2 };
enum {                                  /* VIR_DOMAIN_BLOCK_REBASE_ */
    REBASE_SHALLOW = 1, REBASE_REUSE_EXT = 2, REBASE_COPY_RAW = 4,
    REBASE_COPY = 8, REBASE_RELATIVE = 16, REBASE_COPY_DEV = 32,
    REBASE_BYTES = 64,
};
enum { COPY_TRANSIENT_JOB = 4, COPY_SYNC_WRITES = 8 };
enum { COMMIT_ACTIVE = 4, COMMIT_BYTES = 16, COMMIT_SHALLOW = 1 };
#define PULL_BYTES 64u                  /* as of a rebase */

/* ---- disks and jobs ----------------------------------------------------- */

void lv_disk_free(struct lv_disk *d)
{
    lv_guest_free(&d->g);
    free(d->vdev);
    free(d->path);
    d->vdev = d->path = NULL;
}

static int copy_disk(struct lv_worker *w, const xlx_disk *from,
                     struct lv_disk *d)
{
    d->vdev = strdup(from->vdev);
    d->path = strdup(from->path ? from->path : "");
    d->virtual_size = from->virtual_size;
    d->allocated = from->allocated;
    return d->vdev && d->path ? 0 : lv_no_memory(w);
}

static int find_disk(struct lv_worker *w, const char *name, struct lv_disk *d)
{
    const xlx_disk *one, *found = NULL;
    unsigned int tries = 0;
    xlx_disks disks;
    int i, rc, r;

    xlx_disks_init(&disks);
    do {
        rc = xlx_disk_list(w->ctx, &d->g.guest, &disks);
    } while (lv_ask_again(rc, &tries));
    for (i = 0; !rc && i < disks.num_disks && !found; i++) {
        one = &disks.disks[i];
        if (!strcmp(one->vdev, name) ||
            (*name == '/' && one->path && !strcmp(one->path, name)))
            found = one;
    }
    if (rc)
        r = lv_fail_xlx(w, LV_FROM_LIBXL, rc);
    else if (!found)
        r = lv_fail(w, LV_INVALID_ARG, LV_FROM_LIBXL,
                    "disk '%.200s' not found in the domain", name);
    else
        r = copy_disk(w, found, d);
    xlx_disks_dispose(&disks);
    return r;
}

int lv_find_disk(struct lv_worker *w, const struct lv_domain *dom,
                 const char *name, bool running, struct lv_disk *d)
{
    int r;

    *d = (struct lv_disk){ 0 };
    if (lv_find_guest(w, dom, !running, &d->g))
        return -1;
    if (running && !lv_guest_runs(&d->g))
        r = lv_fail(w, LV_OPERATION_INVALID, LV_FROM_LIBXL, "%s",
                    "domain is not running");
    else
        r = find_disk(w, name, d);
    if (r)
        lv_disk_free(d);
    return r;
}

static int find_running(struct lv_worker *w, const struct lv_domain *dom,
                        const char *name, struct lv_disk *d)
{
    return lv_find_disk(w, dom, name, true, d);
}

/* A client would wait without end for the events of a job that nobody
 * watches. */
static int find_watchable(struct lv_worker *w, const struct lv_domain *dom,
                          const char *name, struct lv_disk *d)
{
    if (!w->call->watch)
        return lv_fail(w, LV_RESOURCE_BUSY, LV_FROM_LIBXL, "%s", "as many "
                       "jobs are at work as xlxvirtd can watch: end one "
                       "first");
    return find_running(w, dom, name, d);
}

int32_t lv_job_type(const xlx_disk_job *job)
{
    static const char *const types[] = { "", "stream", "mirror", "commit", "",
                                         "backup" };
    const char *type = job->type ? job->type : "";
    int32_t i;

    switch (job->kind) {
    case XLX_DISK_JOB_KIND_PULL: return 1;
    case XLX_DISK_JOB_KIND_MIRROR:
    case XLX_DISK_JOB_KIND_MOVE: return 2;
    case XLX_DISK_JOB_KIND_COMMIT: return 4;
    default: break;
    }
    for (i = 1; i < 6; i++)
        if (*types[i] && !strcmp(type, types[i]))
            return i;
    return 0;
}

const xlx_disk_job *lv_job_of(const xlx_disk_jobs *jobs, const char *vdev)
{
    int i;

    for (i = 0; i < jobs->num_jobs; i++)
        if (jobs->jobs[i].vdev && !strcmp(jobs->jobs[i].vdev, vdev))
            return &jobs->jobs[i];
    return NULL;
}

static bool has_ended(const xlx_disk_job *job)
{
    return job->state == XLX_DISK_JOB_STATE_DONE ||
           job->state == XLX_DISK_JOB_STATE_FAILED;
}

/* The job on the disk, which has not ended, in *jobs; *job_r may be NULL. */
static int load_job(struct lv_worker *w, const struct lv_disk *d,
                    xlx_disk_jobs *jobs, const xlx_disk_job **job_r)
{
    unsigned int tries = 0;
    int rc;

    do {
        rc = xlx_disk_job_list(w->ctx, &d->g.guest, jobs);
    } while (lv_ask_again(rc, &tries));
    if (rc)
        return lv_fail_xlx(w, LV_FROM_LIBXL, rc);
    *job_r = lv_job_of(jobs, d->vdev);
    if (*job_r && has_ended(*job_r))
        *job_r = NULL;
    return 0;
}

static int need_job(struct lv_worker *w, const struct lv_disk *d,
                    xlx_disk_jobs *jobs, const xlx_disk_job **job_r)
{
    if (load_job(w, d, jobs, job_r))
        return -1;
    if (*job_r)
        return 0;
    return lv_fail(w, LV_INVALID_ARG, LV_FROM_LIBXL,
                   "disk %s does not have an active block job", d->vdev);
}

/* libvirt's MiB a second, or bytes. */
static int speed_of(struct lv_worker *w, uint64_t bandwidth, bool bytes,
                    uint64_t *speed_r)
{
    if (!bytes && bandwidth > INT64_MAX >> 20)
        return lv_fail(w, LV_INVALID_ARG, LV_FROM_LIBXL, "bandwidth must be "
                       "less than %lld", (long long)(INT64_MAX >> 20));
    if (bytes && bandwidth > INT64_MAX)
        return lv_fail(w, LV_INVALID_ARG, LV_FROM_LIBXL, "bandwidth must be "
                       "less than %lld", (long long)INT64_MAX);
    *speed_r = bytes ? bandwidth : bandwidth << 20;
    return 0;
}

/* ---- questions ---------------------------------------------------------- */

int lv_answer_domain_get_block_info(
    struct lv_worker *w, const struct lv_domain_get_block_info_args *args,
    struct lv_domain_get_block_info_ret *ret)
{
    struct lv_disk d;
    struct stat st;

    if (lv_check_flags(w, args->flags, 0) ||
        lv_find_disk(w, &args->dom, args->path, false, &d))
        return -1;
    ret->capacity = d.virtual_size;
    ret->allocation = d.allocated;
    ret->physical = !stat(d.path, &st) && S_ISREG(st.st_mode)
        ? (uint64_t)st.st_size : d.virtual_size;
    lv_disk_free(&d);
    return 0;
}

/* A job that has not ended has something left to do, or clients would take it
 * for one that is ready. */
static void fill_info(const xlx_disk_job *job, bool bytes,
                      struct lv_domain_get_block_job_info_ret *ret)
{
    ret->found = 1;
    ret->type = lv_job_type(job);
    ret->bandwidth = bytes ? job->speed : (job->speed + (1 << 20) - 1) >> 20;
    ret->cur = job->done;
    ret->end = job->total;
    if (job->state == XLX_DISK_JOB_STATE_READY &&
        job->kind != XLX_DISK_JOB_KIND_PULL) {
        ret->end += !ret->end;
        ret->cur = ret->end;
    } else if (ret->cur >= ret->end) {
        ret->end = ret->cur + 1;
    }
}

int lv_answer_domain_get_block_job_info(
    struct lv_worker *w, const struct lv_domain_get_block_job_info_args *args,
    struct lv_domain_get_block_job_info_ret *ret)
{
    const xlx_disk_job *job = NULL;
    xlx_disk_jobs jobs;
    struct lv_disk d;
    int r;

    if (lv_check_flags(w, args->flags, JOB_BYTES) ||
        find_running(w, &args->dom, args->path, &d))
        return -1;
    xlx_disk_jobs_init(&jobs);
    r = load_job(w, &d, &jobs, &job);
    if (job)
        fill_info(job, args->flags & JOB_BYTES, ret);
    xlx_disk_jobs_dispose(&jobs);
    lv_disk_free(&d);
    return r;
}

/* ---- starting ----------------------------------------------------------- */

static int started(struct lv_worker *w, struct lv_disk *d,
                   const xlx_disk_job *job, int rc)
{
    if (rc == ERROR_NOT_READY)
        return lv_fail(w, LV_BLOCK_COPY_ACTIVE, LV_FROM_LIBXL, "%s",
                       xlx_error_get());
    if (rc)
        return lv_fail_xlx(w, LV_FROM_LIBXL, rc);
    lv_watch_job(w, d, job);
    return 0;
}

/* The copy that is wanted. */
struct copy {
    const char *target;
    const char *format;                 /* NULL: that of the disk */
    uint64_t speed;
    bool sync_writes;
};

static int start_copy(struct lv_worker *w, const struct lv_domain *dom,
                      const char *name, const struct copy *copy)
{
    xlx_disk_mirror_spec spec;
    struct lv_disk d;
    xlx_disk_job job;
    int rc, r;

    if (find_watchable(w, dom, name, &d))
        return -1;
    xlx_disk_mirror_spec_init(&spec);
    xlx_disk_job_init(&job);
    spec.vdev = strdup(d.vdev);
    spec.target = strdup(copy->target);
    spec.format = copy->format ? strdup(copy->format) : NULL;
    spec.speed = copy->speed;
    spec.sync_writes = copy->sync_writes;
    rc = spec.vdev && spec.target
        ? xlx_disk_mirror(w->ctx, &d.g.guest, &spec, &job) : ERROR_NOMEM;
    r = started(w, &d, &job, rc);
    xlx_disk_mirror_spec_dispose(&spec);
    xlx_disk_job_dispose(&job);
    lv_disk_free(&d);
    return r;
}

static int start_pull(struct lv_worker *w, const struct lv_domain *dom,
                      const char *name, const char *base, uint64_t speed)
{
    xlx_disk_pull_spec spec;
    struct lv_disk d;
    xlx_disk_job job;
    int rc, r;

    if (find_watchable(w, dom, name, &d))
        return -1;
    xlx_disk_pull_spec_init(&spec);
    xlx_disk_job_init(&job);
    spec.vdev = strdup(d.vdev);
    spec.until = base ? strdup(base) : NULL;
    spec.speed = speed;
    rc = spec.vdev && (!base || spec.until)
        ? xlx_disk_pull(w->ctx, &d.g.guest, &spec, &job) : ERROR_NOMEM;
    r = started(w, &d, &job, rc);
    xlx_disk_pull_spec_dispose(&spec);
    xlx_disk_job_dispose(&job);
    lv_disk_free(&d);
    return r;
}

int lv_answer_domain_block_pull(
    struct lv_worker *w, const struct lv_domain_block_pull_args *args)
{
    uint64_t speed;

    if (lv_check_flags(w, args->flags, PULL_BYTES) ||
        speed_of(w, args->bandwidth, args->flags & PULL_BYTES, &speed))
        return -1;
    return start_pull(w, &args->dom, args->path, NULL, speed);
}

/* blockpull with a base, and blockcopy of virsh when it needs no more. */
int lv_answer_domain_block_rebase(
    struct lv_worker *w, const struct lv_domain_block_rebase_args *args)
{
    uint32_t known = REBASE_COPY | REBASE_COPY_RAW | REBASE_COPY_DEV |
                     REBASE_BYTES;
    struct copy copy = { .target = args->base };

    if (lv_check_flags(w, args->flags, known) ||
        speed_of(w, args->bandwidth, args->flags & REBASE_BYTES, &copy.speed))
        return -1;
    if (!(args->flags & REBASE_COPY))
        return start_pull(w, &args->dom, args->path, args->base, copy.speed);
    if (!copy.target)
        return lv_fail(w, LV_INVALID_ARG, LV_FROM_LIBXL, "%s",
                       "a copy needs a target");
    if (args->flags & REBASE_COPY_RAW)
        copy.format = "raw";
    return start_copy(w, &args->dom, args->path, &copy);
}

static int read_params(struct lv_worker *w,
                       const struct lv_domain_block_copy_args *args,
                       struct copy *copy)
{
    const struct lv_typed_param *p;
    uint32_t i;

    for (i = 0; i < args->num_params; i++) {
        p = &args->params[i];
        if (strcmp(p->field, "bandwidth"))
            return lv_fail(w, LV_ARGUMENT_UNSUPPORTED, LV_FROM_LIBXL,
                           "parameter '%.60s' of a copy", p->field);
        if (p->value.type != 4)
            return lv_fail(w, LV_INVALID_ARG, LV_FROM_LIBXL, "%s",
                           "invalid type for parameter 'bandwidth'");
        if (speed_of(w, p->value.u.ul, true, &copy->speed))
            return -1;
    }
    return 0;
}

int lv_answer_domain_block_copy(struct lv_worker *w,
                                const struct lv_domain_block_copy_args *args)
{
    struct copy copy = { 0 };
    char *target, *format;
    xmlNode *root, *source;
    xmlDoc *doc;
    int r = -1;

    if (lv_check_flags(w, args->flags,
                       COPY_SYNC_WRITES | COPY_TRANSIENT_JOB) ||
        read_params(w, args, &copy))
        return -1;
    doc = lv_xml_parse(w, "(disk_definition)", args->xml, "disk",
                       LV_FROM_DOMAIN);
    if (!doc)
        return -1;
    root = xmlDocGetRootElement(doc);
    source = lv_xml_child(root, "source");
    target = lv_xml_attribute(source, "file");
    if (!target)
        target = lv_xml_attribute(source, "dev");
    format = lv_xml_attribute(lv_xml_child(root, "driver"), "type");
    copy.target = target;
    copy.format = format;
    copy.sync_writes = args->flags & COPY_SYNC_WRITES;
    if (target)
        r = start_copy(w, &args->dom, args->path, &copy);
    else
        lv_fail(w, LV_CONFIG_UNSUPPORTED, LV_FROM_DOMAIN, "%s",
                "a copy goes to a file or block device");
    free(target);
    free(format);
    xmlFreeDoc(doc);
    return r;
}

int lv_answer_domain_block_commit(
    struct lv_worker *w, const struct lv_domain_block_commit_args *args)
{
    xlx_disk_commit_spec spec;
    struct lv_disk d;
    xlx_disk_job job;
    uint64_t speed;
    int rc, r;

    if (lv_check_flags(w, args->flags,
                       COMMIT_ACTIVE | COMMIT_SHALLOW | COMMIT_BYTES) ||
        speed_of(w, args->bandwidth, args->flags & COMMIT_BYTES, &speed))
        return -1;
    if (args->base || args->top || !(args->flags & COMMIT_ACTIVE))
        return lv_fail(w, LV_CONFIG_UNSUPPORTED, LV_FROM_LIBXL, "%s",
                       "only the disk's own image can be committed, into the "
                       "one below it: use --active, without --base and "
                       "--top");
    if (find_watchable(w, &args->dom, args->disk, &d))
        return -1;
    xlx_disk_commit_spec_init(&spec);
    xlx_disk_job_init(&job);
    spec.vdev = strdup(d.vdev);
    spec.speed = speed;
    rc = spec.vdev ? xlx_disk_commit(w->ctx, &d.g.guest, &spec, &job)
                   : ERROR_NOMEM;
    r = started(w, &d, &job, rc);
    xlx_disk_commit_spec_dispose(&spec);
    xlx_disk_job_dispose(&job);
    lv_disk_free(&d);
    return r;
}

/* ---- at work ------------------------------------------------------------ */

int lv_answer_domain_block_job_set_speed(
    struct lv_worker *w, const struct lv_domain_block_job_set_speed_args *args)
{
    const xlx_disk_job *job;
    xlx_disk_jobs jobs;
    xlx_disk_job now;
    struct lv_disk d;
    uint64_t speed;
    int rc, r;

    if (lv_check_flags(w, args->flags, JOB_BYTES) ||
        speed_of(w, args->bandwidth, args->flags & JOB_BYTES, &speed) ||
        find_running(w, &args->dom, args->path, &d))
        return -1;
    xlx_disk_jobs_init(&jobs);
    xlx_disk_job_init(&now);
    r = need_job(w, &d, &jobs, &job);
    if (!r) {
        rc = xlx_disk_job_set(w->ctx, &d.g.guest, d.vdev,
                              XLX_DISK_JOB_CHANGE_SPEED, speed, &now);
        r = rc ? lv_fail_xlx(w, LV_FROM_LIBXL, rc) : 0;
    }
    xlx_disk_job_dispose(&now);
    xlx_disk_jobs_dispose(&jobs);
    lv_disk_free(&d);
    return r;
}

static int end_job(struct lv_worker *w, const struct lv_disk *d,
                   const xlx_disk_job *job, bool finish,
                   enum lv_job_status status)
{
    xlx_disk_job ended;
    int rc;

    xlx_disk_job_init(&ended);
    rc = finish ? xlx_disk_job_finish(w->ctx, &d->g.guest, d->vdev, &ended)
                : xlx_disk_job_cancel(w->ctx, &d->g.guest, d->vdev, &ended);
    xlx_disk_job_dispose(&ended);
    if (rc)
        return lv_fail_xlx(w, LV_FROM_LIBXL, rc);
    lv_job_event(w, d, lv_job_type(job), status);
    return 0;
}

static int abort_job(struct lv_worker *w, const struct lv_disk *d,
                     const xlx_disk_job *job, bool pivot)
{
    bool ready = job->state == XLX_DISK_JOB_STATE_READY;

    if (job->kind == XLX_DISK_JOB_KIND_OTHER)
        return lv_fail(w, LV_OPERATION_INVALID, LV_FROM_LIBXL, "the job on "
                       "disk '%s' is another program's", d->vdev);
    if (!pivot)                         /* a copy that is whole is kept */
        return end_job(w, d, job,
                       ready && job->kind == XLX_DISK_JOB_KIND_MIRROR,
                       LV_JOB_CANCELED);
    if (job->kind == XLX_DISK_JOB_KIND_PULL)
        return lv_fail(w, LV_OPERATION_INVALID, LV_FROM_LIBXL, "job type of "
                       "disk '%s' does not support pivot", d->vdev);
    if (!ready)
        return lv_fail(w, LV_BLOCK_COPY_ACTIVE, LV_FROM_LIBXL,
                       "disk '%s' not ready for pivot yet", d->vdev);
    if (job->kind == XLX_DISK_JOB_KIND_MIRROR)
        return lv_fail(w, LV_OPERATION_UNSUPPORTED, LV_FROM_LIBXL, "libvirt "
                       "would start the guest on the old image of '%s' again: "
                       "end the job without --pivot, shut the guest down, and "
                       "change its definition", d->vdev);
    return end_job(w, d, job, true, LV_JOB_COMPLETED);
}

int lv_answer_domain_block_job_abort(
    struct lv_worker *w, const struct lv_domain_block_job_abort_args *args)
{
    const xlx_disk_job *job;
    xlx_disk_jobs jobs;
    struct lv_disk d;
    int r;

    if (lv_check_flags(w, args->flags, ABORT_ASYNC | ABORT_PIVOT) ||
        find_running(w, &args->dom, args->path, &d))
        return -1;
    xlx_disk_jobs_init(&jobs);
    r = need_job(w, &d, &jobs, &job);
    if (!r)
        r = abort_job(w, &d, job, args->flags & ABORT_PIVOT);
    xlx_disk_jobs_dispose(&jobs);
    lv_disk_free(&d);
    return r;
}

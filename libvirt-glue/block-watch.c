/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process that has started a job follows it, because QEMU tells nobody who
 * is not connected.  A pull has one more step when all is copied, which a
 * client of libvirt's does not ask for: it is done here.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block.h"

#define LOOK_MS 300

struct watched {
    struct lv_disk d;
    int32_t type;
    bool pull;
};

void lv_job_event(struct lv_worker *w, const struct lv_disk *d, int32_t type,
                  enum lv_job_status status)
{
    struct lv_domain_event_callback_block_job_msg by_path = {
        .dom = d->g.dom, .path = d->path, .type = type,
        .status = (int32_t)status,
    };
    struct lv_domain_event_block_job_2_msg by_name = {
        .dom = d->g.dom, .dst = d->vdev, .type = type,
        .status = (int32_t)status,
    };

    if (status != LV_JOB_WATCHING)
        lv_put_event(w, LV_DOMAIN_EVENT_CALLBACK_BLOCK_JOB, &by_path);
    lv_put_event(w, LV_DOMAIN_EVENT_BLOCK_JOB_2, &by_name);
}

static void finish_pull(struct lv_worker *w, const struct watched *it)
{
    xlx_disk_job job;
    int rc;

    xlx_disk_job_init(&job);
    rc = xlx_disk_job_finish(w->ctx, &it->d.g.guest, it->d.vdev, &job);
    xlx_disk_job_dispose(&job);
    if (rc)
        lv_say("%s, %s: %s", it->d.g.dom.name, it->d.vdev, xlx_error_get());
    lv_job_event(w, &it->d, it->type, rc ? LV_JOB_FAILED : LV_JOB_COMPLETED);
}

/* Is the job still there?  A question that cannot be answered now is asked
 * again. */
static bool is_there(struct lv_worker *w, const struct watched *it)
{
    xlx_disk_jobs jobs;
    const xlx_disk_job *job;
    bool there = true;

    xlx_disk_jobs_init(&jobs);
    if (!xlx_disk_job_list(w->ctx, &it->d.g.guest, &jobs)) {
        job = lv_job_of(&jobs, it->d.vdev);
        there = job && job->state != XLX_DISK_JOB_STATE_DONE &&
                job->state != XLX_DISK_JOB_STATE_FAILED;
    }
    xlx_disk_jobs_dispose(&jobs);
    return there;
}

/* A copy follows the guest until a client ends it.  The process that does so
 * sends the event, with which the relay ends this one; an end by another
 * program is seen here. */
static void follow(struct lv_worker *w, const struct watched *it)
{
    const struct timespec pause = { 0, LOOK_MS * 1000000L };

    lv_job_event(w, &it->d, it->type, LV_JOB_READY);
    if (lv_flush_events(w))
        return;
    do {
        nanosleep(&pause, NULL);
    } while (is_there(w, it));
    nanosleep(&pause, NULL);            /* the other one's event comes first */
    lv_job_event(w, &it->d, it->type, LV_JOB_COMPLETED);
}

static void watch(struct lv_worker *w, void *user)
{
    struct watched *it = user;
    xlx_disk_job job;
    int rc;

    lv_job_event(w, &it->d, it->type, LV_JOB_WATCHING);
    if (lv_flush_events(w))
        return;
    xlx_disk_job_init(&job);
    rc = xlx_disk_job_wait(w->ctx, &it->d.g.guest, it->d.vdev, NULL, &job);
    if (rc)
        lv_job_event(w, &it->d, it->type, rc == ERROR_NOTFOUND
                     ? LV_JOB_CANCELED : LV_JOB_FAILED);
    else if (job.state != XLX_DISK_JOB_STATE_READY)
        lv_job_event(w, &it->d, it->type, LV_JOB_COMPLETED);
    else if (it->pull)
        finish_pull(w, it);
    else
        follow(w, it);
    xlx_disk_job_dispose(&job);
    lv_flush_events(w);
    lv_disk_free(&it->d);
    free(it);
}

void lv_watch_job(struct lv_worker *w, struct lv_disk *d,
                  const xlx_disk_job *job)
{
    struct watched *it = calloc(1, sizeof(*it));

    if (!it)
        return;                         /* the job goes on without events */
    it->d = *d;
    it->type = lv_job_type(job);
    it->pull = job->kind == XLX_DISK_JOB_KIND_PULL;
    *d = (struct lv_disk){ 0 };
    xlx_guest_init(&d->g.guest);
    w->after = watch;
    w->user = it;
}

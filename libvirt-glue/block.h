/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Jobs on disks by libvirt's calls: block.c starts and asks, block-watch.c
 * follows a job to its end, and tells the relay.
 */
#ifndef LV_BLOCK_H
#define LV_BLOCK_H

#include "guest.h"

enum lv_job_status {                    /* VIR_DOMAIN_BLOCK_JOB_ */
    LV_JOB_WATCHING = -1, LV_JOB_COMPLETED, LV_JOB_FAILED, LV_JOB_CANCELED,
    LV_JOB_READY,
};

/* A guest, and a disk of its. */
struct lv_disk {
    struct lv_guest g;
    char *vdev, *path;
    uint64_t virtual_size, allocated;
};
/* By its name in the guest or by its image; with running of a guest that
 * runs. */
int lv_find_disk(struct lv_worker *w, const struct lv_domain *dom,
                 const char *name, bool running, struct lv_disk *d);
void lv_disk_free(struct lv_disk *d);

/* VIR_DOMAIN_BLOCK_JOB_TYPE_ of a job */
int32_t lv_job_type(const xlx_disk_job *job);
/* Our job on the disk, or any other; NULL when there is none. */
const xlx_disk_job *lv_job_of(const xlx_disk_jobs *jobs, const char *vdev);
void lv_job_event(struct lv_worker *w, const struct lv_disk *d, int32_t type,
                  enum lv_job_status status);
/* After the reply the process goes on to watch the job, and has d then. */
void lv_watch_job(struct lv_worker *w, struct lv_disk *d,
                  const xlx_disk_job *job);

#endif

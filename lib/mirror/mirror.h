/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Jobs on the disks of a guest.  When the guest runs, a job lives in QEMU and
 * in the guest's record of jobs, and not in the process that started it: any
 * later command finds it, and deals with one that has ended.  When it is shut
 * down, qemu-img does the work in xlx_disk_job_wait(), with the same record.
 *
 *   mirror.c         starts a copy
 *   mirror-target.c  the place for it: may it be used, is it there, remove it
 *   mirror-chain.c   the images of snapshots, which move with their disk
 *   mirror-halt.c    the guest stands still while a job begins
 *   mirror-pull.c    makes a disk independent of the images below
 *   mirror-commit.c  writes a disk's image into the one below
 *   mirror-work.c    the work for a guest that is shut down
 *   mirror-job.c     waits, ends, changes
 *   mirror-list.c    lists
 *   mirror-settle.c  what jobs leave that have ended
 *
 * The lock of a change, and the record of the images that take the guest's
 * writes, are those of its snapshots.
 */
#ifndef XLX_MIRROR_H
#define XLX_MIRROR_H

#include "core/internal.h"
#include "disk/job.h"
#include "gen-calls.h"
#include "gen-records.h"
#include "snapshot/snapshot.h"

/* A command on the jobs of a guest, from begin to end: the guest is locked. */
struct xlx__mirror {
    struct xlx__snapshot_change c;
    xlx_disk_jobs jobs;             /* those of ours */
};

/* ---- mirror-settle.c ---------------------------------------------------- */

/* Reads the record.  A QEMU without Xen that is named there, and not by the
 * caller, is connected to. */
int xlx__mirror_load(struct xlx__snapshot_change *c, xlx_disk_jobs *jobs);
/* Locks the guest and reads the record.  End it also after a failure. */
int xlx__mirror_open(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                     struct xlx__mirror *m);
/* Deals also with the jobs that have ended; the user gets a notice of each. */
int xlx__mirror_begin(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                      struct xlx__mirror *m);
void xlx__mirror_end(struct xlx__mirror *m);
/* The job on that disk, NULL for none of ours. */
xlx_disk_job *xlx__mirror_job_on(const xlx_disk_jobs *jobs, const char *vdev);
/* The same; ERROR_NOTFOUND with the message. */
int xlx__mirror_find(const xlx_disk_jobs *jobs, const char *vdev,
                     xlx_disk_job **job_r);
int xlx__mirror_save(struct xlx__mirror *m);
/* How the commands of job.h name it. */
int xlx__mirror_handle(struct xlx__snapshot_change *c,
                       const xlx_disk_job *job, struct xlx__job *handle_r);
/* The QEMU that c is connected to: no other has this name until the host is
 * booted again. */
int xlx__mirror_qemu(const struct xlx__snapshot_change *c, char **qemu_r);
/* Asks QEMU, and deals with the job when it has ended: *job_r gets it with
 * DONE or FAILED, and it is not in the record any more; *ended_r: it has. */
int xlx__mirror_settle(struct xlx__mirror *m, const char *vdev,
                       xlx_disk_job *job_r, bool *ended_r);
/* The work is done: flushes what was written, and notes what the disk is based
 * on. */
int xlx__mirror_conclude(struct xlx__mirror *m, const xlx_disk_job *job);
/* Takes it out of the record; a copy that is not complete is removed. */
int xlx__mirror_drop(struct xlx__mirror *m, xlx_disk_job *job, bool complete);

/* ---- mirror-list.c ------------------------------------------------------ */

/* Puts the state that QEMU reports into the jobs of the list; all makes it add
 * those of others.  One that QEMU does not have is FAILED. */
int xlx__mirror_look(struct xlx__snapshot_change *c, xlx_disk_jobs *list,
                     bool all);

/* ---- mirror-target.c ---------------------------------------------------- */

bool xlx__mirror_is_url(const char *target);
/* May the disk be copied there?  Fills in the job's target and format.
 * Changes nothing. */
int xlx__mirror_plan_target(struct xlx__mirror *m,
                            const xlx_disk_mirror_spec *spec,
                            const xlx_disk *disk, xlx_disk_job *job);
/* Makes the file, if it is one; the record knows of it before. */
int xlx__mirror_make_target(struct xlx__mirror *m, xlx_disk_job *job,
                            const xlx_disk *disk);
/* Removes what was made, unless it is another file by now, or the guest runs
 * on it. */
int xlx__mirror_remove_target(struct xlx__mirror *m,
                              const xlx_disk_job *job);
/* The job has done its work: all of its image goes to the disk of the host. */
int xlx__mirror_sync(const xlx_disk_job *job, const char *image);

/* ERROR_FAIL when the directory of the target has less space than that. */
int xlx__mirror_check_space(const char *target, uint64_t bytes);

/* ---- mirror-chain.c ----------------------------------------------------- */

/* Which images move with the disk, and may they?  Fills in the job's layers;
 * its target is known.  Changes nothing. */
int xlx__mirror_plan_chain(struct xlx__mirror *m, const xlx_disk *disk,
                           xlx_disk_job *job);
/* Copies them; the record knows of each before it is made. */
int xlx__mirror_copy_chain(struct xlx__mirror *m, xlx_disk_job *job,
                           const xlx_progress *progress);
/* Removes the copies, unless they are other files by now. */
int xlx__mirror_remove_chain(struct xlx__mirror *m, const xlx_disk_job *job);
/* The guest, and with it the record, goes on in the copies.  handle: the job
 * in QEMU, NULL for a guest that is shut down. */
int xlx__mirror_pivot(struct xlx__mirror *m, const xlx_disk_job *job,
                      const struct xlx__job *handle);

/* ---- mirror.c ----------------------------------------------------------- */

/* The disk as it is now. */
int xlx__mirror_see_disk(struct xlx__mirror *m, const char *vdev,
                         const xlx_disk **disk_r);
/* The same, if a job can be started on it. */
int xlx__mirror_find_disk(struct xlx__mirror *m, const char *vdev,
                          const xlx_disk **disk_r);
/* A job of ours on that disk, with what is known of it. */
int xlx__mirror_new_job(struct xlx__mirror *m, xlx_disk_job_kind kind,
                        const xlx_disk *disk, xlx_disk_job *job);
/* Copies it into the record. */
int xlx__mirror_record(struct xlx__mirror *m, const xlx_disk_job *job,
                       xlx_disk_job **entry_r);
/* QEMU has the job: from now on it is known that another tool has ended it
 * when it is not there. */
int xlx__mirror_started(struct xlx__mirror *m, xlx_disk_job *entry);
/* A job that makes no file: into the record, and to QEMU. */
int xlx__mirror_launch(struct xlx__mirror *m, const xlx_disk *disk,
                       const xlx_disk_job *job,
                       int (*start)(struct xlx__mirror *m,
                                    const xlx_disk *disk,
                                    const xlx_disk_job *job));

/* ---- mirror-halt.c ------------------------------------------------------ */

/* The guest's CPUs stand still, and no request for a disk of its is on the
 * way.  The record says so, for a command that finds it after a kill. */
int xlx__mirror_halt(struct xlx__mirror *m, xlx_disk_job *entry);
/* It goes on.  begun: the job is there, and its coroutine has to run first. */
int xlx__mirror_go_on(struct xlx__mirror *m, xlx_disk_job *entry,
                      const struct xlx__job *begun);

/* ---- mirror-job.c ------------------------------------------------------- */

/* Ends a job that is ready, with its effect: xlx_disk_job_finish() for one
 * that has begun already. */
int xlx__mirror_finish(struct xlx__mirror *m, const char *vdev,
                       xlx_disk_job *job);

/* ---- mirror-pull.c ------------------------------------------------------ */

/* The last step of a pull that has copied all. */
int xlx__mirror_finish_pull(struct xlx__mirror *m, const xlx_disk_job *job);

/* ---- mirror-commit.c ---------------------------------------------------- */

/* May the disk's image be written into the one below it, and the guest go on
 * in that one? */
int xlx__mirror_may_commit(struct xlx__mirror *m, const xlx_disk *disk,
                           const struct xlx__image_allow *force,
                           xlx_disk_job *job);

/* ---- mirror-work.c ------------------------------------------------------ */

/* The guest is shut down, stays so until the end of m, and nobody else uses
 * the image of that disk. */
int xlx__mirror_may_work(struct xlx__mirror *m, const xlx_disk *disk);
/* This process, as xlx_disk_job.qemu has it. */
int xlx__mirror_worker(char **worker_r);
/* Is the process still there that has a job for a guest that is shut down? */
bool xlx__mirror_is_at_work(const xlx_disk_job *job);
/* Does the work, and all that follows.  ERROR_ABORTED leaves the job. */
int xlx__mirror_work(xlx_ctx *ctx, const xlx_guest *guest, const char *vdev,
                     const xlx_progress *progress, xlx_disk_job *job_r);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of the concept share it.  One change to a guest's snapshots is a
 * struct xlx__snapshot_change from begin to end: the lock is held, what a
 * killed command left is finished or undone, the record is read.
 *
 *   snapshot-plan.c    what is created, and whether it may be
 *   snapshot.c         create
 *   snapshot-list.c    list, with what other tools made
 *   snapshot-revert.c  revert
 *   snapshot-delete.c  delete: which layers go, which are merged
 *   snapshot-describe.c the text of a snapshot
 *   snapshot-forget.c  the record as it is after that
 *   snapshot-merge.c   two layers into one, live or not
 *   snapshot-move.c    a disk goes on in another image that holds the same
 *   snapshot-repair.c  finish or undo, and check
 *   snapshot-open.c    does QEMU have the file open that a name leads to?
 *   snapshot-hold.c    no change while another program moves the guest
 *   snapshot-halfway.c how far did it come, when the guest went on since?
 *   snapshot-recorded.c what was cut short after the new record was written
 *   snapshot-record.c  the record, the journal, the tree
 *   snapshot-present.c the record follows what the guest's disks are now
 *   snapshot-overlay.c names and making of overlays
 *   snapshot-tag.c     removal of an internal snapshot
 *   snapshot-keep.c    which of two images goes on
 *   snapshot-doubt.c   is the present state what the record says?
 *   snapshot-leftover.c files that were in use when they should have gone
 *   snapshot-claim.c   what all records and journals say of images
 *   snapshot-frozen.c  may a guest write to an image that it is started on?
 */
#ifndef XLX_SNAPSHOT_H
#define XLX_SNAPSHOT_H

#include "core/internal.h"
#include "core/lock.h"
#include "core/file-id.h"
#include "disk/image-use.h"
#include "disk/job.h"
#include "gen-calls.h"
#include "gen-records.h"
#include "guest/qmp.h"

struct xlx__snapshot_change {
    xlx_ctx *ctx;
    xlx_guest self;
    const xlx_guest *guest;         /* &self */
    struct xlx__lock lock;
    int images;                     /* holds them, see xlx__image_hold(); or
                                     * -1 */
    xlx_snapshots record;
    bool served;                    /* a QEMU serves the guest's disks */
    struct xlx__qmp *qmp;           /* NULL when not connected to it */
    struct xlx__image_allow force;  /* what the user overrides */
    bool force_bitmap, force_written;
    char **files;                   /* that QEMU knows, read when needed, and
                                     * those that the plan has named */
    int num_files;
    xlx_disks disks;                /* as they were when a create planned */
};

/* ---- snapshot-record.c -------------------------------------------------- */

/* Looks whether the guest runs, and changes nothing.  The end releases what
 * has been got, also after a failure. */
int xlx__snapshot_look(xlx_ctx *ctx, const xlx_guest *guest,
                       struct xlx__snapshot_change *c);
/* The same with the lock. */
int xlx__snapshot_open(xlx_ctx *ctx, const xlx_guest *guest,
                       struct xlx__snapshot_change *c);
/* The guest, which does not run, stays so until end: nobody starts it on one
 * of these images through our xl.  Before it is asked who uses them. */
int xlx__snapshot_hold_image(struct xlx__snapshot_change *c,
                             const char *image);
/* The same for all that take its writes by the record. */
int xlx__snapshot_hold_images(struct xlx__snapshot_change *c);
/* open, and then: finishes or undoes what a killed command left, and reads
 * the record.  A dry run changes nothing, and so fails when there is such. */
int xlx__snapshot_begin(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                        struct xlx__snapshot_change *c);
void xlx__snapshot_end(struct xlx__snapshot_change *c);
/* One client at a time can talk to QEMU: hang up before anything that takes
 * long, connect again after it.  Both do nothing when there is no need. */
void xlx__snapshot_hang_up(struct xlx__snapshot_change *c);
int xlx__snapshot_connect(struct xlx__snapshot_change *c);
/* ERROR_NOT_READY when anything runs the guest, also a domain whose QEMU
 * cannot be reached: then nobody may change its images with qemu-img. */
int xlx__snapshot_offline(const struct xlx__snapshot_change *c);
/* The guest may have been stopped or started since: finds it again. */
int xlx__snapshot_look_again(struct xlx__snapshot_change *c);

int xlx__snapshot_record_read(xlx_ctx *ctx, const xlx_guest *guest,
                              xlx_snapshots *record);
/* A record of nothing (no snapshots, and no image of ours in use) is removed
 * instead. */
int xlx__snapshot_record_write(xlx_ctx *ctx, const xlx_guest *guest,
                               const xlx_snapshots *record);

/* A record of nothing is not kept: false. */
bool xlx__snapshot_record_matters(const xlx_snapshots *record);
/* When the record was written, in nanoseconds since 1970, or, of one that is
 * not there, the journal. */
int xlx__snapshot_record_time(xlx_ctx *ctx, const xlx_guest *guest,
                              int64_t *time_r);

/* When the journal was written last. */
int xlx__snapshot_journal_time(xlx_ctx *ctx, const xlx_guest *guest,
                               int64_t *time_r);
/* ERROR_NOTFOUND when there is no journal. */
int xlx__snapshot_journal_read(xlx_ctx *ctx, const xlx_guest *guest,
                               xlx_snapshot_journal *journal);
/* Fills in what every operation writes into its journal. */
int xlx__snapshot_journal_init(const struct xlx__snapshot_change *c,
                               xlx_snapshot_operation operation,
                               xlx_snapshot_journal *journal);
int xlx__snapshot_add_string(char ***list, int *num, const char *s);

xlx_snapshot *xlx__snapshot_by_name(const xlx_snapshots *record,
                                    const char *name);
/* ERROR_NOTFOUND with the message. */
int xlx__snapshot_find(const xlx_snapshots *record, const char *name,
                       xlx_snapshot **snapshot_r);
/* snapshot-describe.c: checked. */
int xlx__snapshot_set_description(xlx_snapshot *snapshot, const char *text);
const xlx_snapshot_disk *xlx__snapshot_disk_of(const xlx_snapshot *snapshot,
                                               const char *vdev);
xlx_snapshot_disk *xlx__snapshot_current_disk(const xlx_snapshots *record,
                                              const char *vdev);
int xlx__snapshot_append(xlx_ctx *ctx, xlx_snapshots *record,
                         const xlx_snapshot *snapshot);
void xlx__snapshot_drop(xlx_snapshots *record, const char *name);
bool xlx__snapshot_is_external(const xlx_snapshot *snapshot);
int xlx__snapshot_check_name(const char *name);
/* A name from the time, not yet taken: PREFIX-20261121-230501 */
int xlx__snapshot_make_name(const xlx_snapshots *record,
                            const char *prefix, char **name_r);

/* ---- snapshot-present.c ------------------------------------------------- */

/* The present images of the disks into record->disks, and the snapshot that
 * the guest's state is based on into record->current: what is recorded, unless
 * the guest has gone on elsewhere since.  Where a config file is out of date,
 * disks is corrected instead. */
int xlx__snapshot_reconcile(xlx_ctx *ctx, xlx_snapshots *record,
                            xlx_disks *disks);

/* The snapshot that the present images are based on, into record->current. */
int xlx__snapshot_find_current(xlx_snapshots *record);

/* Has libxl's configuration of the domain, if there is one, name the present
 * images of this record. */
int xlx__snapshot_configure(struct xlx__snapshot_change *c,
                            const xlx_snapshots *record);

/* ---- snapshot-doubt.c --------------------------------------------------- */

/* A modification time as text. */
const char *xlx__snapshot_when(int64_t mtime, char *text, size_t size);
/* The entry of a frozen image that was written to since, and when; NULL: it
 * was not, or is not frozen. */
const xlx_snapshot_disk *
xlx__snapshot_find_written(const xlx_snapshots *record, const char *image,
                           int64_t *seen_r);
/* The same of an image below that one, after the time of that. */
const xlx_snapshot_disk *
xlx__snapshot_written_below(const xlx_snapshots *record,
                            const xlx_snapshot_disk *now, int64_t *seen_r);
/* Was the image written to since the host was booted, when the journal is from
 * before that?  The command that was cut short did not do that, and neither
 * did the QEMU that it worked with. */
int xlx__snapshot_written_since_boot(const struct xlx__snapshot_change *c,
                                     const char *image, bool *yes_r);
/* The mtime of a disk of the record: until now it is known what was written
 * to the layers below. */
int64_t xlx__snapshot_now(void);
bool xlx__snapshot_is_missing(const xlx_snapshot_disk *now);
/* Why it is not known whether now, a disk of the record, holds the present
 * state, NULL when nothing speaks against it; and the way out.  Both are the
 * caller's to free.  For a guest that is shut down. */
int xlx__snapshot_doubt(const xlx_snapshots *record,
                        const xlx_snapshot_disk *now, char **why_r);
int xlx__snapshot_doubt_way(const xlx_guest *guest,
                            const xlx_snapshot_disk *now, char **way_r);
int xlx__snapshot_report_doubts(const xlx_guest *guest,
                                const xlx_snapshots *record,
                                xlx_repair_report *report);
/* ERROR_INVAL when there is doubt about that disk. */
int xlx__snapshot_no_doubt(const xlx_guest *guest,
                           const xlx_snapshots *record, const char *vdev);

/* ---- snapshot-list.c ---------------------------------------------------- */

/* Reports each image that the config file of a guest that is shut down names,
 * and that is not there, with the one to name there. */
int xlx__snapshot_missing(xlx_ctx *ctx, const xlx_guest *guest,
                          const xlx_snapshots *record,
                          xlx_repair_report *report);

/* ---- snapshot-claim.c --------------------------------------------------- */

/* The world of image-use.h with what the records and journals of all guests
 * say of images.  self, qmp: as there.  Close it with
 * xlx__image_world_close. */
int xlx__snapshot_world(xlx_ctx *ctx, const xlx_guest *self,
                        struct xlx__qmp *qmp,
                        struct xlx__image_world **world_r);
/* The same for a change; connects to the guest's QEMU, if there is one. */
int xlx__snapshot_world_of(struct xlx__snapshot_change *c,
                           struct xlx__image_world **world_r);

/* ERROR_NOTFOUND when an image that it is based on is missing, without which
 * qemu-img opens none of them.  A QEMU that runs has all of them open. */
int xlx__snapshot_check_chain(const struct xlx__snapshot_change *c,
                              const xlx_snapshot_disk *d);

/* ---- snapshot-leftover.c ------------------------------------------------ */

/* A file that nothing needs when the journal's work is done, and which file
 * that is now. */
int xlx__snapshot_add_old(xlx_snapshot_journal *journal, const char *path);
void xlx__snapshot_drop_old(xlx_snapshot_journal *journal, int i);
/* Unlinks what journal->old_files names, and then the journal.  A file that
 * somebody uses just then stays, and the record remembers it: the error says
 * so.  A file that was put there since stays and is not remembered. */
int xlx__snapshot_close_journal(struct xlx__snapshot_change *c,
                                const xlx_snapshot_journal *journal);
/* Tries to remove what the record remembers.  One that somebody has written
 * to is not ours any more. */
int xlx__snapshot_try_leftover(struct xlx__snapshot_change *c, bool dry_run,
                               xlx_repair_report *report);

/* ---- snapshot-open.c ---------------------------------------------------- */

/* Before QEMU opens images again by their names: each name leads to the file
 * that QEMU has open, over no link that others can have made.  Where /proc
 * does not tell what QEMU has open, the name alone is looked at.  c is
 * connected. */
int xlx__snapshot_check_open(const struct xlx__snapshot_change *c,
                             const char *const *images, int num,
                             struct xlx__file_id *ids_r);
/* After it: does QEMU still have that file open? */
int xlx__snapshot_still_open(const struct xlx__snapshot_change *c,
                             const char *image,
                             const struct xlx__file_id *id);

/* ---- snapshot-overlay.c ------------------------------------------------- */

/* Fills in *over: an unused path in dir (empty: next to the image below),
 * named after the snapshot, and the rest of what is known beforehand; the size
 * is that of the image below, asked of it now. */
int xlx__snapshot_plan_overlay(struct xlx__snapshot_change *c,
                               const struct xlx__image_world *world,
                               const xlx_snapshot_disk *below,
                               const char *dir, const char *name,
                               xlx_snapshot_disk *over);
/* Do files in the directory last as long as that image does?  Not in memory:
 * they are gone when the host reboots. */
bool xlx__snapshot_lasts(const char *dir, const char *as);
/* ERROR_FAIL when there is hardly space for num overlays where that one is to
 * go. */
int xlx__snapshot_check_space(const xlx_snapshot_disk *over, int num);
/* Those over all disks of the snapshot, as after has them.  After a failure
 * some are there. */
int xlx__snapshot_make_overlays(xlx_ctx *ctx, const xlx_snapshot *snapshot,
                                const xlx_snapshots *after, bool revert);
/* Notes the modification time of an image that is frozen from now on. */
int xlx__snapshot_note_mtime(xlx_snapshot_disk *disk);

/* ---- snapshot-tag.c ----------------------------------------------------- */

/* Removes the internal snapshot of a disk, if it is there, and looks that it
 * is gone. */
/* Notes which snapshots in the images an internal one is made of. */
int xlx__snapshot_note_tags(xlx_snapshot *snapshot);
/* Is it that one still?  *other_r: another tool made one by its name. */
int xlx__snapshot_other_tag(const xlx_snapshot_disk *d, bool *other_r);
int xlx__snapshot_remove_tag(struct xlx__snapshot_change *c,
                             const xlx_snapshot_disk *d);

/* ---- snapshot-plan.c ---------------------------------------------------- */

/* Everything about a new snapshot that is known before it is made, and the
 * journal of making it; what speaks against it is an error.  Changes
 * nothing. */
int xlx__snapshot_plan(struct xlx__snapshot_change *c,
                       const xlx_snapshot_spec *spec, xlx_snapshot *snapshot,
                       xlx_snapshot_journal *journal);
const xlx_disk *xlx__snapshot_seen_disk(const xlx_disks *disks,
                                        const char *vdev);

/* ---- snapshot.c --------------------------------------------------------- */

/* Does what follows the switch of all disks; can be repeated. */
int xlx__snapshot_finish_create(struct xlx__snapshot_change *c,
                                xlx_snapshot_journal *journal);

/* ---- snapshot-revert.c -------------------------------------------------- */

/* Keeps the present state and applies the snapshot, inside the images; can be
 * repeated. */
int xlx__snapshot_apply_tags(struct xlx__snapshot_change *c,
                             const xlx_snapshot_journal *journal);
/* Does what follows; can be repeated. */
int xlx__snapshot_finish_revert(struct xlx__snapshot_change *c,
                                xlx_snapshot_journal *journal);

/* ---- snapshot-delete.c -------------------------------------------------- */

/* From now on nobody but us writes to merge_base, which was merged into in
 * part: notes its modification time in the record. */
int xlx__snapshot_note_base(struct xlx__snapshot_change *c,
                            const xlx_snapshot_journal *journal);
/* After a deletion that did not come about: a snapshot whose content nobody
 * touched is READY again; otherwise as above. */
int xlx__snapshot_unmark(struct xlx__snapshot_change *c,
                         const xlx_snapshot_journal *journal);
/* Does what follows the merge, if there was one; can be repeated. */
int xlx__snapshot_finish_delete(struct xlx__snapshot_change *c,
                                xlx_snapshot_journal *journal);

/* ---- snapshot-delete-plan.c --------------------------------------------- */

/* The journal of deleting the first disk that the snapshot still has.  known:
 * the record that agrees with the files there are.  Refuses what would harm
 * somebody. */
int xlx__snapshot_plan_delete(const struct xlx__snapshot_change *c,
                              const char *name, const xlx_snapshots *known,
                              struct xlx__image_world *world,
                              xlx_snapshot_journal *journal);

/* ---- snapshot-forget.c -------------------------------------------------- */

/* Wherever the image from was in the tree, to is now; whatever lay on it is
 * noted as written to by the merge. */
int xlx__snapshot_move_layers(xlx_snapshots *record, const char *from,
                              const xlx_snapshot_disk *to);
void xlx__snapshot_drop_disk(xlx_snapshot *snapshot, const char *vdev);
/* The record without it: those based on it are now based on what it was based
 * on. */
int xlx__snapshot_forget(xlx_snapshots *record, const char *name);
/* The removal of an internal snapshot writes to the image, which may be the
 * frozen layer of another snapshot: that does not change its content.  The
 * time is noted again when it is done, also by the command that finishes it
 * after a kill. */
int xlx__snapshot_forget_mtimes(xlx_snapshots *after, const char *image);

/* ---- snapshot-merge.c --------------------------------------------------- */

/* Merges journal->merge_top down into merge_base, live if QEMU has them open,
 * so that nothing needs merge_top any more. */
int xlx__snapshot_merge(struct xlx__snapshot_change *c,
                        xlx_snapshot_journal *journal,
                        const xlx_progress *progress);
/* A job is READY: has the guest go on in merge_base instead of merge_top.  The
 * configuration comes first, because both hold the same. */
int xlx__snapshot_complete(struct xlx__snapshot_change *c,
                           const struct xlx__job *job,
                           xlx_snapshot_journal *journal,
                           struct xlx__job_state *seen);
/* Does nothing of QEMU's use merge_top any more? */
int xlx__snapshot_verify_moved(struct xlx__snapshot_change *c,
                               const xlx_snapshot_journal *journal);
/* Has QEMU let go of an image that no disk uses, so that its space is free
 * once it is unlinked. */
void xlx__snapshot_drop_node(struct xlx__snapshot_change *c,
                             const char *image);
/* After a kill: ends the job, if there is one, and finds out how far it came.
 * *astray_r: it was cut short, and the guest was started on merge_base since.
 * ERROR_INVAL when that cannot be found out. */
int xlx__snapshot_merge_settle(struct xlx__snapshot_change *c,
                               const xlx_snapshot_journal *journal,
                               bool *merged_r, bool *astray_r);

/* ---- snapshot-move.c ---------------------------------------------------- */

/* May the disk be moved?  Not while a snapshot of it would stay behind;
 * with_chain: external ones that it is based on do not. */
int xlx__snapshot_check_move(const struct xlx__snapshot_change *c,
                             const xlx_disk *disk, bool with_chain);
/* ERROR_INVAL when an internal snapshot is in the image. */
int xlx__snapshot_no_tags(const char *vdev, const char *image);
struct xlx__snapshot_moved {
    const char *image, *target, *format;    /* format is the target's */
};

/* Moves the guest's disk to an image that job, which is READY, keeps the same;
 * job is NULL when the guest is shut down and both hold the same.  moved has
 * that image first, and then the layers of snapshots that were copied, the
 * lowest first.  unlink_old: nothing needs the former ones then. */
int xlx__snapshot_move(struct xlx__snapshot_change *c, const char *vdev,
                       const struct xlx__snapshot_moved *moved,
                       int num_layers, bool unlink_old,
                       const struct xlx__job *job);
/* Does what follows; can be repeated. */
int xlx__snapshot_finish_move(struct xlx__snapshot_change *c,
                              xlx_snapshot_journal *journal);
/* The image is not one that was moved away from, any more. */
void xlx__snapshot_forget_moved(xlx_snapshots *record, const char *image);

/* ---- snapshot-halfway.c ------------------------------------------------ */

/* Did a guest go on in the images that the operation has left? */
void xlx__snapshot_went_on(const xlx_snapshot_journal *journal, bool *yes_r);

enum xlx__snapshot_outcome {
    XLX__SNAPSHOT_UNDONE,           /* nothing has changed */
    XLX__SNAPSHOT_DONE,             /* all has, by now */
    XLX__SNAPSHOT_LEFT,             /* some has: reported, recorded, over */
};

/* How far did the revert to an internal snapshot come?  left is the snapshot
 * of what was left, in journal->after, or NULL. */
int xlx__snapshot_settle_tags(struct xlx__snapshot_change *c,
                              xlx_snapshot_journal *journal,
                              const xlx_snapshot *to, xlx_snapshot *left,
                              xlx_repair_report *report,
                              enum xlx__snapshot_outcome *outcome_r);

/* ---- snapshot-recorded.c ----------------------------------------------- */

/* Is the record what the journal says that it will be, and was not before?
 * Then all but the removal of old files is done. */
int xlx__snapshot_recorded(struct xlx__snapshot_change *c,
                           const xlx_snapshot_journal *journal, bool *yes_r);
/* Does what is left then.  A file that was written to since is kept and
 * reported. */
int xlx__snapshot_finish_recorded(struct xlx__snapshot_change *c,
                                  xlx_snapshot_journal *journal,
                                  xlx_repair_report *report);

/* ---- snapshot-repair.c -------------------------------------------------- */

/* Finishes or undoes what a journal says.  All findings go into report;
 * when that is NULL, as a notice to the user: nothing is settled in
 * silence. */
int xlx__snapshot_recover(struct xlx__snapshot_change *c, bool dry_run,
                          xlx_repair_report *report);
/* The same after a failure of ours, whose rc is returned and whose message
 * stays: what is to be undone, and whether, is judged by what QEMU and the
 * images show. */
int xlx__snapshot_undo(struct xlx__snapshot_change *c, int rc);

#endif

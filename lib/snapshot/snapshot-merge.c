/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two layers of a chain into one: the upper is written down into the lower.
 *
 * Live, QEMU's block-commit does it.  When the upper layer is the one that
 * takes the guest's writes, the job first copies, then follows the guest
 * (READY), and when told to complete moves the guest to the lower one.  The
 * domain's configuration is changed while the job is READY, when both hold
 * the same: from then on a reboot finds the guest's data in either.
 *
 * Otherwise qemu-img commits, which can be done again after any crash, since
 * the upper layer is not changed by it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/store.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "disk/job.h"
#include "snapshot/snapshot.h"

/* ---- live --------------------------------------------------------------- */

static int job_of(struct xlx__snapshot_change *c,
                  const xlx_snapshot_journal *journal, struct xlx__job *job)
{
    return xlx__job_init(job, c->ctx, c->guest, &c->qmp, "xlx-merge",
                         journal->merge_vdev);
}

static int start_commit(struct xlx__snapshot_change *c, const char *id,
                        const char *root, const char *top, const char *base)
{
    struct xlx__json_out *args = xlx__json_out_new(false);

    xlx__json_out_object(args);
    xlx__json_out_kv(args, "job-id", id);
    xlx__json_out_kv(args, "device", root);
    xlx__json_out_kv(args, "top-node", top);
    xlx__json_out_kv(args, "base-node", base);
    /* so that the verdict can still be read after we were killed */
    xlx__json_out_kv_bool(args, "auto-dismiss", false);
    xlx__json_out_end(args);
    return xlx__qmp_call(c->qmp, "block-commit", args, NULL);
}

int xlx__snapshot_complete(struct xlx__snapshot_change *c,
                           const struct xlx__job *job,
                           xlx_snapshot_journal *journal,
                           struct xlx__job_state *seen)
{
    int rc;

    xlx__snapshot_hang_up(c);
    xlx__fault("snapshot-merge.ready");
    if (c->guest->domid != XLX_DOMID_NONE) {
        rc = xlx__snapshot_configure(c, &journal->after);
        if (rc) return rc;
        xlx__fault("snapshot-merge.configured");
    }
    journal->merge_completing = true;
    rc = xlx__snapshot_journal_save(c->ctx, c->guest, journal);
    if (rc) return rc;
    xlx__fault("snapshot-merge.completing");
    rc = xlx__job_command(job, "job-complete");
    if (rc) return rc;
    xlx__fault("snapshot-merge.completed");
    return xlx__job_wait(job, "concluded", "concluded",
                         xlx__now_ms() + XLX__JOB_SETTLE_MS, NULL, NULL,
                         seen);
}

/* The layers of which QEMU will write to the header at the end: those of other
 * branches it does not have open. */
static int above_top(const xlx_snapshot_journal *journal, const char **images,
                     int max)
{
    const xlx_snapshots *record = &journal->before;
    const xlx_snapshot_disk *now =
        xlx__snapshot_current_disk(record, journal->merge_vdev);
    const xlx_snapshot_disk *d;
    int i, num = 0;

    for (i = -1; i < record->num_snapshots && now && num < max; i++) {
        d = i < 0 ? now : xlx__snapshot_disk_of(&record->snapshots[i],
                                                journal->merge_vdev);
        if (d && !*xlx__text(d->tag) &&
            !strcmp(xlx__text(d->backing), journal->merge_top) &&
            xlx__image_leads_to(now->image, xlx__text(now->format), d->image))
            images[num++] = d->image;
    }
    return num;
}

static int start_checked(struct xlx__snapshot_change *c,
                         const xlx_snapshot_journal *journal,
                         const struct xlx__job *job, const char *root,
                         const char *top, const char *base)
{
    const char *images[4] = { journal->merge_base, journal->merge_top };
    struct xlx__file_id ids[4];
    int rc;

    rc = xlx__snapshot_check_open(c, images, 2 + above_top(journal,
                                                           images + 2, 2),
                                  ids);
    if (rc) return xlx__error_prefix(rc, "%s", journal->merge_vdev);
    rc = start_commit(c, job->id, root, top, base);
    if (rc) return rc;
    rc = xlx__snapshot_still_open(c, journal->merge_base, &ids[0]);
    if (!rc)
        return 0;
    xlx__job_cancel(job);
    return xlx__error_prefix(rc, "%s", journal->merge_vdev);
}

static int commit_live(struct xlx__snapshot_change *c,
                       xlx_snapshot_journal *journal, const char *root,
                       const char *top, const char *base, bool active,
                       const xlx_progress *progress)
{
    const char *wait_for = active ? "ready" : "concluded";
    struct xlx__job_state seen;
    struct xlx__job job;
    int rc;

    rc = job_of(c, journal, &job);
    if (rc) return rc;
    rc = start_checked(c, journal, &job, root, top, base);
    if (rc) return rc;
    xlx__fault("snapshot-merge.started");
    rc = xlx__job_wait(&job, wait_for, "concluded", 0, progress,
                       journal->merge_vdev, &seen);
    if (rc) goto cancel;
    if (active && xlx__job_is(&seen, "ready")) {
        rc = xlx__snapshot_complete(c, &job, journal, &seen);
        if (rc) goto cancel;
    }
    return xlx__job_finish(&job, &seen, "merge");

 cancel:
    xlx__job_cancel(&job);
    return rc;
}

/* ---- not live ----------------------------------------------------------- */

static const char *format_in(const xlx_snapshots *record, const char *image)
{
    int i, j;

    for (i = 0; i < record->num_disks; i++)
        if (!strcmp(xlx__text(record->disks[i].image), image))
            return record->disks[i].format;
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++)
            if (!strcmp(xlx__text(record->snapshots[i].disks[j].image),
                        image))
                return record->snapshots[i].disks[j].format;
    return NULL;
}

/* The image that a disk moves to is only in the record after that. */
static const char *format_of(const xlx_snapshot_journal *journal,
                             const char *image)
{
    const char *format = format_in(&journal->before, image);

    if (!format)
        format = format_in(&journal->after, image);
    return format ? format : "qcow2";
}

/* An image that is based on the upper layer is put onto the lower one.  QEMU
 * has done that in those that it has open, and an earlier try in others. */
static int rebase_disk(struct xlx__snapshot_change *c,
                       const xlx_snapshot_journal *journal,
                       const xlx_snapshot_disk *disk)
{
    char *below;
    bool done;
    int rc;

    if (strcmp(xlx__text(disk->backing), journal->merge_top) ||
        *xlx__text(disk->tag))
        return 0;
    rc = xlx__image_backing(disk->image, &below);
    if (rc) return rc;
    done = below && xlx__image_same(below, journal->merge_base);
    free(below);
    return done ? 0 : xlx__image_rebase(c->ctx, disk->image,
                                        journal->merge_base,
                                        format_of(journal,
                                                  journal->merge_base));
}

static int rebase(struct xlx__snapshot_change *c,
                  const xlx_snapshot_journal *journal)
{
    const xlx_snapshots *record = &journal->before;
    int i, j, rc;

    for (i = 0; i < record->num_disks; i++) {
        rc = rebase_disk(c, journal, &record->disks[i]);
        if (rc) return rc;
    }
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            rc = rebase_disk(c, journal, &record->snapshots[i].disks[j]);
            if (rc) return rc;
        }
    return 0;
}

/* A merge makes the lower image as large as the upper one, and not smaller:
 * the guest could not see anything behind the end of the upper one.  Nobody
 * makes a device smaller. */
static int trim(struct xlx__snapshot_change *c,
                const xlx_snapshot_journal *journal)
{
    const char *format = format_of(journal, journal->merge_base);
    uint64_t has, wanted;
    struct stat st;
    int rc;

    rc = xlx__image_size(c->ctx, journal->merge_base, format, &has);
    if (!rc)
        rc = xlx__image_size(c->ctx, journal->merge_top,
                             format_of(journal, journal->merge_top),
                             &wanted);
    if (rc || has <= wanted || stat(journal->merge_base, &st) ||
        (S_ISBLK(st.st_mode) && !strcmp(format, "raw")))
        return rc;
    return xlx__image_shrink(c->ctx, journal->merge_base, format, wanted);
}

/* ---- either ------------------------------------------------------------- */

/* The node, or NULL when QEMU does not have the image open. */
static int node_if_open(struct xlx__snapshot_change *c, const char *image,
                        char **node_r)
{
    bool readonly;
    int rc;

    *node_r = NULL;
    rc = xlx__snapshot_connect(c);
    if (rc || !c->qmp) return rc;
    rc = xlx__disk_find_node(c->qmp, image, node_r, &readonly);
    return xlx__forgive(rc, ERROR_NOTFOUND);
}

static int node_command(struct xlx__snapshot_change *c, const char *command,
                        const char *node, const char *driver)
{
    struct xlx__json_out *args = xlx__json_out_new(false);

    xlx__json_out_object(args);
    xlx__json_out_kv(args, "node-name", node);
    if (driver)
        xlx__json_out_kv(args, "driver", driver);
    xlx__json_out_end(args);
    return xlx__qmp_call(c->qmp, command, args, NULL);
}

/* QEMU drops the merged layer by itself, unless it was opened under a name, as
 * the disks are that the guest was started with.  Such a node would stay on
 * top of the lower image and bar it from being snapshot again.  An empty one
 * takes over its name: QEMU deletes it by that when the disk is detached.
 * If any of this fails the merge is none the worse. */
void xlx__snapshot_drop_node(struct xlx__snapshot_change *c,
                             const char *image)
{
    char *node = NULL;
    int rc;

    rc = node_if_open(c, image, &node);
    if (rc || !node) goto out;
    rc = node_command(c, "blockdev-del", node, NULL);
    if (rc) goto out;
    rc = node_command(c, "blockdev-add", node, "null-co");

 out:
    if (rc) {
        xlx__debug(c->ctx, "%s: QEMU keeps it: %s", image, xlx_error_get());
        xlx__error_clear();
    }
    free(node);
}

/* QEMU's answer that the job is over is not enough: another monitor may have
 * ended it before the guest was moved.  Then the upper layer is still used. */
int xlx__snapshot_verify_moved(struct xlx__snapshot_change *c,
                               const xlx_snapshot_journal *journal)
{
    const struct xlx__image_user *u = NULL;
    struct xlx__image_world *world;
    struct xlx__image_use use;
    int i, rc;

    rc = xlx__snapshot_connect(c);
    if (rc) return rc;
    rc = xlx__image_world_open(c->ctx, c->guest, c->qmp, &world);
    if (rc) return rc;
    rc = xlx__image_use_in_qemu(world, journal->merge_top, &use);
    for (i = 0; !rc && !u && i < use.num; i++)
        if (!use.users[i].idle)
            u = &use.users[i];
    if (u)
        rc = xlx__error(ERROR_FAIL, "%s: the job is over, and %s is still "
                        "used: %s; another program ended QEMU's job: run the "
                        "command again", journal->merge_vdev,
                        journal->merge_top, u->what);
    xlx__image_use_dispose(&use);
    xlx__image_world_close(world);
    return rc;
}

static int merge_live(struct xlx__snapshot_change *c,
                      xlx_snapshot_journal *journal,
                      const struct xlx__disk_node *top,
                      const struct xlx__disk_node *base,
                      const struct xlx__disk_node *root,
                      const xlx_progress *progress)
{
    bool active = !strcmp(root->image, journal->merge_top);
    int rc;

    if (!top->name || !base->name)
        return xlx__error(ERROR_FAIL, "%s: QEMU has only one of %s and %s "
                          "open", journal->merge_vdev, journal->merge_top,
                          journal->merge_base);
    if (!root->name)
        return xlx__error(ERROR_FAIL, "%s: QEMU does not have %s open",
                          journal->merge_vdev, root->image);
    rc = commit_live(c, journal, root->name, top->name, base->name, active,
                     progress);
    if (rc) return rc;
    xlx__fault("snapshot-merge.moved");
    rc = rebase(c, journal);        /* other branches */
    if (rc) return rc;
    rc = xlx__snapshot_verify_moved(c, journal);
    if (rc) return rc;
    xlx__snapshot_drop_node(c, journal->merge_top);
    return 0;
}

static int merge_files(struct xlx__snapshot_change *c,
                       const xlx_snapshot_journal *journal,
                       const xlx_progress *progress)
{
    int rc;

    if (!c->served && !c->force.force_unknown) {
        rc = xlx__snapshot_offline(c);
        if (rc) return rc;
    }
    xlx__snapshot_hang_up(c);
    rc = xlx__image_commit(c->ctx, journal->merge_top,
                           format_of(journal, journal->merge_top),
                           journal->merge_base, progress,
                           journal->merge_vdev);
    if (rc) return rc;
    xlx__fault("snapshot-merge.committed");
    rc = trim(c, journal);
    return rc ? rc : rebase(c, journal);
}

int xlx__snapshot_merge(struct xlx__snapshot_change *c,
                        xlx_snapshot_journal *journal,
                        const xlx_progress *progress)
{
    const xlx_snapshot_disk *now =
        xlx__snapshot_current_disk(&journal->before, journal->merge_vdev);
    struct xlx__disk_node nodes[] = {
        { .image = journal->merge_top }, { .image = journal->merge_base },
        { .image = now ? now->image : journal->merge_top },
    };
    size_t i;
    int rc;

    rc = xlx__snapshot_connect(c);
    if (rc) goto out;
    if (c->qmp)
        rc = xlx__disk_find_nodes(c->qmp, nodes, XLX__ARRAY_SIZE(nodes));
    if (rc) goto out;
    rc = nodes[0].name || nodes[1].name
        ? merge_live(c, journal, &nodes[0], &nodes[1], &nodes[2],
                     progress)
        : merge_files(c, journal, progress);

 out:
    for (i = 0; i < XLX__ARRAY_SIZE(nodes); i++)
        free(nodes[i].name);
    return rc;
}

/* Does the disk write to this image?  Not whether QEMU has it open: nodes stay
 * open that their owner keeps, with nothing on top of them. */
static int writes_to(struct xlx__snapshot_change *c, const char *vdev,
                     const char *image, bool *yes_r)
{
    xlx_disks disks;
    int i, rc;

    *yes_r = false;
    xlx_disks_init(&disks);
    rc = xlx__snapshot_connect(c);
    if (!rc)
        rc = xlx__disk_list_with(c->ctx, c->guest, c->qmp, &disks);
    for (i = 0; !rc && i < disks.num_disks; i++)
        if (!strcmp(xlx__text(disks.disks[i].vdev), vdev))
            *yes_r = xlx__image_same(disks.disks[i].path, image);
    xlx_disks_dispose(&disks);
    return rc;
}

/* A layer in the middle is merged when an image that was based on it is based
 * on the lower one: QEMU and qemu-img change that name in the image last.
 * Then the images of other branches follow. */
static int lies_on_base(struct xlx__snapshot_change *c,
                        const xlx_snapshot_journal *journal, bool *yes_r)
{
    const xlx_snapshots *record = &journal->before;
    const xlx_snapshot_disk *d;
    char *below;
    int i, rc;

    *yes_r = false;
    for (i = -1; i < record->num_snapshots && !*yes_r; i++) {
        d = i < 0 ? xlx__snapshot_current_disk(record, journal->merge_vdev)
                  : xlx__snapshot_disk_of(&record->snapshots[i],
                                          journal->merge_vdev);
        if (!d || *xlx__text(d->tag) ||
            strcmp(xlx__text(d->backing), journal->merge_top))
            continue;
        rc = xlx__image_backing(d->image, &below);
        if (rc) return rc;
        *yes_r = below && xlx__image_same(below, journal->merge_base);
        free(below);
    }
    return *yes_r ? rebase(c, journal) : 0;
}

static void written(const char *image, char *text, size_t size)
{
    struct stat st;
    struct tm tm;

    if (stat(image, &st) || !localtime_r(&st.st_mtim.tv_sec, &tm) ||
        !strftime(text, size, "%F %T", &tm))
        snprintf(text, size, "at an unknown time");
}

/* QEMU is gone, and we had told it to move the guest; whether it did does not
 * matter if both images show the same. */
static int compare(struct xlx__snapshot_change *c,
                   const xlx_snapshot_journal *journal, bool *merged_r)
{
    char top[40], base[40], where[48] = "";
    uint64_t at;
    int rc;

    rc = xlx__image_compare(c->ctx, journal->merge_top, journal->merge_base,
                            format_of(journal, journal->merge_top),
                            format_of(journal, journal->merge_base),
                            merged_r, &at);
    if (rc || *merged_r) return rc;
    if (at != UINT64_MAX)
        snprintf(where, sizeof(where), " (first near byte %" PRIu64 ")", at);
    written(journal->merge_top, top, sizeof(top));
    written(journal->merge_base, base, sizeof(base));
    return xlx__error(ERROR_INVAL, "%s: QEMU was killed while it moved the "
                      "guest from %s (last written %s) to %s (last written "
                      "%s), and these differ%s: look at each with qemu-nbd "
                      "--read-only, and say which one goes on: xl "
                      "snapshot-repair --keep-image IMAGE GUEST",
                      journal->merge_vdev, journal->merge_top, top,
                      journal->merge_base, base, where);
}

/* Ends the job that was left.  *done_r: it has moved the guest, as QEMU says;
 * it says so until the job is dismissed. */
static int end_job(struct xlx__snapshot_change *c,
                   const xlx_snapshot_journal *journal, bool *done_r)
{
    struct xlx__job_state seen;
    struct xlx__job job;
    int rc;

    rc = job_of(c, journal, &job);
    if (rc) return rc;
    rc = xlx__job_query(&job, &seen);
    if (rc) return rc;
    *done_r = xlx__job_is(&seen, "concluded") && !seen.error[0];
    xlx__job_cancel(&job);
    xlx__error_clear();
    return 0;
}

int xlx__snapshot_merge_settle(struct xlx__snapshot_change *c,
                               const xlx_snapshot_journal *journal,
                               bool *merged_r, bool *astray_r)
{
    const xlx_snapshot_disk *now =
        xlx__snapshot_current_disk(&journal->before, journal->merge_vdev);
    bool active = now && !strcmp(now->image, journal->merge_top);
    bool done = false, on_base;
    int rc;

    *merged_r = *astray_r = false;
    rc = c->served ? end_job(c, journal, &done) : 0;
    if (rc) return rc;
    if (!active) {
        rc = lies_on_base(c, journal, merged_r);
    } else if (c->served) {
        rc = writes_to(c, journal->merge_vdev, journal->merge_base, &on_base);
        /* QEMU moves the guest only on our order: another start has */
        *merged_r = !rc && on_base && (done || journal->merge_completing);
        *astray_r = !rc && on_base && !*merged_r;
    } else {
        rc = journal->merge_completing ? compare(c, journal, merged_r) : 0;
    }
    if (rc) return rc;
    if (!*merged_r && !c->served)
        rc = xlx__snapshot_written_since_boot(c, journal->merge_base,
                                              astray_r);
    if (rc) return rc;
    if (*merged_r && c->served)
        xlx__snapshot_drop_node(c, journal->merge_top);
    return 0;
}

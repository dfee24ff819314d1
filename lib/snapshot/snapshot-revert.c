/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Going back to a snapshot.
 *
 * External: new overlays over the frozen images; the images left behind are
 * frozen in their turn, as a snapshot of their own, or thrown away.  The
 * domain's configuration names the new overlays, and the guest is rebooted
 * into them.
 *
 * Internal: the present state becomes an internal snapshot of its own, then
 * qemu-img puts the image back.  QEMU must not have the image open for that,
 * or must have given it up as for a migration: that is done with a running
 * guest between its last instruction and its restart.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/store.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "guest/domain.h"
#include "guest/guest.h"
#include "guest/libxl-config.h"
#include "snapshot/snapshot.h"

#define DEFAULT_TIMEOUT_S 120
#define QEMU_TIMEOUT_MS 30000

/* ---- plan --------------------------------------------------------------- */

static int describe_left(const struct xlx__snapshot_change *c,
                         const xlx_snapshot *to, xlx_snapshot *left)
{
    char *text;
    int rc;

    left->time = time(NULL);
    left->kind = to->kind;
    left->running = xlx__guest_running(c->guest);
    rc = xlx__set_string(&left->parent, c->record.current);
    if (rc) return rc;
    rc = xlx__set_string(&left->why, "as the snapshot reverted to");
    if (rc) return rc;
    text = xlx__printf("state left by the revert to %s", to->name);
    if (!text)
        return xlx__nomem();
    free(left->description);
    left->description = text;
    return xlx__snapshot_make_name(&c->record, "left", &left->name);
}

/* The image that the guest leaves for good. */
static int discard(const struct xlx__snapshot_change *c,
                   struct xlx__image_world *world,
                   const xlx_snapshot_disk *now,
                   xlx_snapshot_journal *journal)
{
    struct xlx__image_allow allow = c->force;
    struct xlx__image_tag *tags;
    int num, rc;

    if (!now->owned)
        return xlx__error(ERROR_INVAL, "%s: %s was not made by libxlx and is "
                          "not thrown away: leave out --discard", now->vdev,
                          now->image);
    allow.own_disk = true;          /* it ends with the state that is left */
    rc = xlx__image_ask(world, now->vdev, now->image, &allow);
    if (rc) return rc;
    rc = xlx__image_tags(now->image, &tags, &num);
    if (rc) return rc;
    if (num)
        rc = xlx__error(ERROR_INVAL, "%s: %s holds the internal snapshot "
                        "\"%s\": delete it first, or leave out --discard",
                        now->vdev, now->image, tags[0].name);
    xlx__image_tags_free(tags, num);
    if (rc) return rc;
    return xlx__snapshot_add_old(journal, now->image);
}

/* The image of an internal snapshot is put back as a whole, under all that
 * is based on it; on the frozen one of an external snapshot nobody writes. */
static int ask_target(const struct xlx__snapshot_change *c,
                      struct xlx__image_world *world,
                      const xlx_snapshot_disk *target)
{
    struct xlx__image_allow allow = c->force;
    int rc;

    allow.own_disk = *xlx__text(target->tag) != 0;
    allow.readers = !allow.own_disk;
    rc = xlx__snapshot_check_chain(c, target);
    if (rc) return rc;
    return xlx__image_ask(world, target->vdev, target->image, &allow);
}

static int plan_disk(struct xlx__snapshot_change *c,
                     struct xlx__image_world *world,
                     const xlx_snapshot_revert_spec *spec,
                     const xlx_snapshot_disk *target, xlx_snapshot *left,
                     xlx_snapshot_journal *journal)
{
    xlx_snapshot_disk *now =
        xlx__snapshot_current_disk(&journal->after, target->vdev);
    xlx_snapshot_disk *kept = &left->disks[left->num_disks];
    int rc;

    if (!now)
        return xlx__error(ERROR_INVAL, "the guest no longer has the disk %s "
                          "of this snapshot", target->vdev);
    xlx_snapshot_disk_init(kept);
    left->num_disks++;
    rc = xlx_snapshot_disk_copy(c->ctx, kept, now);
    if (rc) return rc;
    kept->mtime = 0;                /* noted when it is frozen */
    if (*xlx__text(target->tag)) {
        if (!xlx__image_same(now->image, target->image))
            return xlx__error(ERROR_INVAL, "%s: the snapshot is in %s, which "
                              "other snapshots are based on: delete the "
                              "external snapshots made after it first",
                              target->vdev, target->image);
        rc = ask_target(c, world, target);
        return rc ? rc : xlx__set_string(&kept->tag, left->name);
    }
    rc = ask_target(c, world, target);
    if (rc) return rc;
    rc = spec->discard ? discard(c, world, now, journal)
                       : xlx__snapshot_check_chain(c, kept);
    if (rc) return rc;
    rc = xlx__snapshot_plan_overlay(c, world, target, spec->overlay_dir,
                                    spec->name, now);
    if (rc) return rc;
    return xlx__snapshot_add_string(&journal->new_files,
                                    &journal->num_new_files, now->image);
}

static int was_written(const xlx_snapshot *snapshot,
                       const xlx_snapshot_disk *d, int64_t mtime)
{
    char then[40], since[40];

    xlx__snapshot_when(snapshot->time * 1000000000, then, sizeof(then));
    xlx__snapshot_when(mtime, since, sizeof(since));
    return xlx__error(ERROR_INVAL, "%s: %s was written to (%s) after it was "
                      "frozen (%s): its content may not be that of the "
                      "snapshot; look at it with qemu-nbd --read-only, and "
                      "use --force-written if it is good", d->vdev, d->image,
                      since, then);
}

/* A base that somebody wrote to makes every overlay on it worthless. */
static int check_frozen(const xlx_snapshots *record,
                        const xlx_snapshot *snapshot, bool force)
{
    const xlx_snapshot_disk *below;
    xlx_snapshot_disk seen;
    int i, rc;

    for (i = 0; i < snapshot->num_disks; i++) {
        const xlx_snapshot_disk *d = &snapshot->disks[i];
        bool found, other;

        if (*xlx__text(d->tag)) {
            rc = xlx__image_has_tag(d->image, d->tag, &found);
            if (rc) return rc;
            if (!found)
                return xlx__error(ERROR_NOTFOUND, "%s: %s no longer holds "
                                  "the snapshot: see xl snapshot-repair",
                                  d->vdev, d->image);
            rc = xlx__snapshot_other_tag(d, &other);
            if (rc) return rc;
            if (other && !force)
                return xlx__error(ERROR_INVAL, "%s: the snapshot \"%s\" in %s "
                                  "is not the one that was made: another tool "
                                  "removed that and made this one; look at it "
                                  "(qemu-img convert -l), and use "
                                  "--force-written if it is good", d->vdev,
                                  d->tag, d->image);
            continue;
        }
        xlx_snapshot_disk_init(&seen);
        seen.image = d->image;
        rc = xlx__snapshot_note_mtime(&seen);
        if (rc) return rc;
        if (d->mtime && seen.mtime != d->mtime && !force)
            return was_written(snapshot, d, seen.mtime);
        below = force ? NULL : xlx__snapshot_written_below(record, d,
                                                           &seen.mtime);
        if (below)
            return was_written(snapshot, below, seen.mtime);
    }
    return 0;
}

static int reconcile(struct xlx__snapshot_change *c)
{
    xlx_disks disks;
    int rc;

    if (!xlx__guest_running(c->guest) &&
        !*xlx__text(c->guest->config_file))
        return 0;                   /* the record is all there is */
    xlx_disks_init(&disks);
    rc = xlx__disk_list_with(c->ctx, c->guest, c->qmp, &disks);
    if (!rc)
        rc = xlx__snapshot_reconcile(c->ctx, &c->record, &disks);
    xlx_disks_dispose(&disks);
    if (rc == ERROR_NOTFOUND && !xlx__guest_running(c->guest)) {
        xlx__error_clear();         /* a config that is out of date as well */
        return 0;
    }
    return rc;
}

static int plan(struct xlx__snapshot_change *c,
                const xlx_snapshot_revert_spec *spec, const xlx_snapshot *to,
                xlx_snapshot_journal *journal)
{
    struct xlx__image_world *world = NULL;
    xlx_snapshot left;
    int i, rc;

    xlx_snapshot_init(&left);
    rc = check_frozen(&c->record, to, c->force_written);
    if (rc) goto out;
    rc = xlx__snapshot_world_of(c, &world);
    if (rc) goto out;
    rc = xlx__snapshot_journal_init(c, XLX_SNAPSHOT_OPERATION_REVERT,
                                    journal);
    if (rc) goto out;
    rc = describe_left(c, to, &left);
    if (rc) goto out;
    left.disks = calloc(to->num_disks, sizeof(*left.disks));
    if (!left.disks) {
        rc = xlx__nomem();
        goto out;
    }
    for (i = 0; i < to->num_disks; i++) {
        rc = plan_disk(c, world, spec, &to->disks[i], &left, journal);
        if (rc) goto out;
    }
    if (!spec->discard) {
        rc = xlx__snapshot_append(c->ctx, &journal->after, &left);
        if (rc) goto out;
    }
    rc = xlx__set_string(&journal->after.current, to->name);

 out:
    xlx__image_world_close(world);
    xlx_snapshot_dispose(&left);
    return rc;
}

/* ---- steps that can be repeated ----------------------------------------- */

static const xlx_snapshot *target_of(const xlx_snapshot_journal *journal)
{
    return xlx__snapshot_by_name(&journal->before, journal->after.current);
}

/* The snapshot that keeps the state left, or NULL: it is the one more. */
static xlx_snapshot *left_of(const xlx_snapshot_journal *journal)
{
    const xlx_snapshots *after = &journal->after;

    return after->num_snapshots > journal->before.num_snapshots
        ? &after->snapshots[after->num_snapshots - 1] : NULL;
}

int xlx__snapshot_apply_tags(struct xlx__snapshot_change *c,
                             const xlx_snapshot_journal *journal)
{
    const xlx_snapshot *to = target_of(journal), *left = left_of(journal);
    bool kept;
    int i, rc;

    for (i = 0; i < to->num_disks; i++) {
        const xlx_snapshot_disk *d = &to->disks[i];

        if (left) {
            rc = xlx__image_has_tag(d->image, left->name, &kept);
            if (rc) return rc;
            if (!kept) {
                rc = xlx__image_tag_create(c->ctx, d->image, left->name);
                if (rc) return rc;
                xlx__fault("snapshot-revert.kept");
            }
        }
        rc = xlx__image_tag_apply(c->ctx, d->image, d->tag);
        if (rc) return rc;
        xlx__fault("snapshot-revert.applied");
    }
    return 0;
}

int xlx__snapshot_finish_revert(struct xlx__snapshot_change *c,
                                xlx_snapshot_journal *journal)
{
    xlx_snapshot *left = left_of(journal);
    int i, rc;

    if (left && xlx__snapshot_is_external(left))
        for (i = 0; i < left->num_disks; i++) {
            rc = xlx__snapshot_note_mtime(&left->disks[i]);
            if (rc) return rc;
        }
    if (left) {
        rc = xlx__snapshot_note_tags(left);
        if (rc) return rc;
    }
    rc = xlx__snapshot_record_write(c->ctx, c->guest, &journal->after);
    if (rc) return rc;
    xlx__fault("snapshot-revert.recorded");
    return xlx__snapshot_close_journal(c, journal);
}

/* ---- a running guest ---------------------------------------------------- */

/* QEMU writes out what it holds of the images and lets go of them, as before
 * the last step of a migration.  It serves nobody after that: the domain's
 * CPUs have stopped. */
static int release_images(struct xlx__snapshot_change *c)
{
    struct xlx__json_out *args;
    int rc;

    rc = xlx__snapshot_connect(c);
    if (rc) return rc;
    rc = xlx__qmp_call(c->qmp, "stop", NULL, NULL);
    if (rc) return rc;
    args = xlx__json_out_new(false);
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "filename", "/dev/null");
    xlx__json_out_kv_bool(args, "live", true);
    xlx__json_out_end(args);
    rc = xlx__qmp_call_within(c->qmp, QEMU_TIMEOUT_MS,
                              "xen-save-devices-state", args, NULL);
    xlx__snapshot_hang_up(c);
    return rc;
}

/* xl waits at its lock with the destruction of the domain until the images
 * are put back. */
static int switch_internal(struct xlx__snapshot_change *c,
                           const xlx_snapshot_journal *journal)
{
    struct xlx__lock hold = XLX__LOCK_NONE;
    int rc;

    rc = xlx__config_lock(c->ctx, c->guest, &hold);
    if (rc) return rc;
    rc = xlx__domain_reboot(c->ctx, c->guest);
    if (rc) goto out;
    xlx__fault("snapshot-revert.stopped");
    if (c->served) {
        rc = release_images(c);
        if (rc) goto out;
    }
    rc = xlx__snapshot_apply_tags(c, journal);

 out:
    xlx__unlock(&hold);
    return rc;
}

static int switch_external(struct xlx__snapshot_change *c,
                           const xlx_snapshot_journal *journal)
{
    int rc;

    rc = xlx__snapshot_configure(c, &journal->after);
    if (rc) return rc;
    xlx__fault("snapshot-revert.configured");
    return xlx__domain_reboot(c->ctx, c->guest);
}

/* Success is that the new QEMU has the images open that it should. */
static int verify(struct xlx__snapshot_change *c, const xlx_guest *fresh,
                  const xlx_snapshot_journal *journal, int64_t deadline)
{
    const struct timespec poll = { 0, 200 * 1000000L };
    const xlx_snapshot *to = target_of(journal);
    struct xlx__qmp *qmp;
    bool readonly;
    char *node;
    int i, rc;

    for (;;) {
        rc = xlx__qmp_open(c->ctx, fresh, &qmp);
        for (i = 0; !rc && i < to->num_disks; i++) {
            rc = xlx__disk_find_node(qmp,
                     xlx__snapshot_current_disk(&journal->after,
                         to->disks[i].vdev)->image, &node, &readonly);
            if (!rc)
                free(node);
        }
        xlx__qmp_close(qmp);
        qmp = NULL;
        if (!rc)
            return 0;
        if (xlx__now_ms() > deadline)
            return xlx__error_prefix(rc, "the guest was started again, but "
                                     "its disks are not as they should be");
        nanosleep(&poll, NULL);
    }
}

static int restart(struct xlx__snapshot_change *c,
                   const xlx_snapshot_revert_spec *spec,
                   const xlx_snapshot_journal *journal,
                   xlx_snapshot_revert_result *result)
{
    int64_t deadline = xlx__now_ms() + (int64_t)1000 *
        (spec->timeout ? spec->timeout : DEFAULT_TIMEOUT_S);
    xlx_guest fresh;
    bool restarts;
    int rc;

    xlx_guest_init(&fresh);
    rc = xlx__config_restarts(c->ctx, c->guest, &restarts);
    if (rc) goto out;
    rc = xlx__snapshot_is_external(target_of(journal))
        ? switch_external(c, journal) : switch_internal(c, journal);
    if (rc) goto out;
    if (!restarts)
        rc = ERROR_TIMEDOUT;
    else
        rc = xlx__domain_wait_new(c->ctx, c->guest, deadline, &fresh);
    if (rc == ERROR_TIMEDOUT) {
        xlx__error_clear();
        rc = xlx__domain_destroy(c->ctx, c->guest);
        goto out;
    }
    if (rc) goto out;
    rc = verify(c, &fresh, journal, deadline);
    if (rc) goto out;
    result->restarted = true;
    result->domid = fresh.domid;

 out:
    xlx_guest_dispose(&fresh);
    return rc;
}

/* ---- doing it ----------------------------------------------------------- */

static int perform(struct xlx__snapshot_change *c,
                   const xlx_snapshot_revert_spec *spec,
                   xlx_snapshot_journal *journal,
                   xlx_snapshot_revert_result *result)
{
    int rc;

    rc = xlx__snapshot_journal_save(c->ctx, c->guest, journal);
    if (rc) return rc;
    xlx__fault("snapshot-revert.journal");
    xlx__snapshot_hang_up(c);
    if (xlx__snapshot_is_external(target_of(journal)))
        rc = xlx__snapshot_make_overlays(c->ctx, target_of(journal),
                                         &journal->after, true);
    if (rc) return xlx__snapshot_undo(c, rc);
    if (xlx__guest_running(c->guest))
        rc = restart(c, spec, journal, result);
    else if (!xlx__snapshot_is_external(target_of(journal)))
        rc = xlx__snapshot_apply_tags(c, journal);
    if (rc) return xlx__snapshot_undo(c, rc);
    return xlx__snapshot_finish_revert(c, journal);
}

static int check_state(struct xlx__snapshot_change *c,
                       const xlx_snapshot_revert_spec *spec,
                       const xlx_snapshot *to)
{
    int rc;

    if (to->status != XLX_SNAPSHOT_STATUS_READY)
        return xlx__error(ERROR_INVAL, "\"%s\" is half deleted: its content "
                          "is gone; xl snapshot-delete finishes it",
                          to->name);
    if (!xlx__guest_running(c->guest))
        return 0;
    if (c->guest->domid == XLX_DOMID_NONE)
        return xlx__error(ERROR_NOT_READY, "the QEMU at %s runs this guest: "
                          "end it first; libxlx cannot start it again",
                          c->guest->qmp_socket);
    if (!spec->force && !spec->dry_run)
        return xlx__error(ERROR_NOT_READY, "the guest is running: shut it "
                          "down, or use --force to stop it hard and start it "
                          "on the snapshot");
    if (c->qmp) {
        rc = xlx__disk_no_jobs(c->qmp);
        if (rc) return rc;
    }
    return xlx__config_check(c->ctx, c->guest);
}

static int fill_result(struct xlx__snapshot_change *c,
                       const xlx_snapshot_journal *journal,
                       xlx_snapshot_revert_result *result)
{
    const xlx_snapshot *to = target_of(journal), *left = left_of(journal);
    int i, rc;

    if (left) {
        rc = xlx__set_string(&result->kept_as, left->name);
        if (rc) return rc;
    }
    result->disks = calloc(to->num_disks + 1, sizeof(*result->disks));
    if (!result->disks)
        return xlx__nomem();
    for (i = 0; i < to->num_disks; i++) {
        xlx_snapshot_disk_init(&result->disks[i]);
        result->num_disks++;
        rc = xlx_snapshot_disk_copy(c->ctx, &result->disks[i],
                 xlx__snapshot_current_disk(&journal->after,
                                            to->disks[i].vdev));
        if (rc) return rc;
    }
    return 0;
}

int xlx__snapshot_revert(xlx_ctx *ctx, const xlx_guest *guest,
                         const xlx_snapshot_revert_spec *spec,
                         xlx_snapshot_revert_result *result)
{
    struct xlx__snapshot_change c;
    xlx_snapshot_journal journal;
    xlx_snapshot *to;
    int rc;

    xlx_snapshot_journal_init(&journal);
    rc = xlx__snapshot_begin(ctx, guest, spec->dry_run, &c);
    if (!rc && !spec->dry_run)
        rc = xlx__snapshot_hold_images(&c);
    if (rc) goto out;
    rc = xlx__snapshot_find(&c.record, spec->name, &to);
    if (rc) goto out;
    c.force.force_open = spec->force_open;
    c.force.force_based = spec->force_based;
    c.force.force_unknown = spec->force_unknown;
    c.force_written = spec->force_written;
    rc = check_state(&c, spec, to);
    if (rc) goto out;
    rc = reconcile(&c);
    if (rc) goto out;
    rc = plan(&c, spec, to, &journal);
    if (rc) goto out;
    rc = fill_result(&c, &journal, result);
    if (rc || spec->dry_run) goto out;
    rc = perform(&c, spec, &journal, result);

 out:
    xlx__snapshot_end(&c);
    xlx_snapshot_journal_dispose(&journal);
    return rc;
}

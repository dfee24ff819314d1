/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making a snapshot.  The order is what matters: everything that can fail is
 * done before QEMU switches, the journal says what is under way, and what
 * follows the switch can be repeated by xlx__snapshot_recover() when we die
 * in between.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/store.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "guest/agent.h"
#include "guest/guest.h"
#include "guest/libxl-config.h"
#include "snapshot/snapshot.h"

#define TRANSACTION_MS 60000

/* ---- the switch in QEMU ------------------------------------------------- */

/* QEMU takes flags over to the overlay (cache, discard, aio), and limits of a
 * device stay with the device; but how zeroes are treated belongs to the node
 * alone.  The name of a file may carry options: "json:{...}". */
static void add_file(struct xlx__json_out *args, const xlx_disk *seen,
                     const xlx_snapshot_disk *over)
{
    const char *zeroes = seen ? xlx__text(seen->detect_zeroes) : "";
    struct xlx__json_out *name;
    char *text = NULL, *file;

    xlx__json_out_key(args, "snapshot-file");
    if (!*zeroes || !strcmp(zeroes, "off")) {
        xlx__json_out_string(args, over->image);
        return;
    }
    name = xlx__json_out_new(false);
    xlx__json_out_object(name);
    xlx__json_out_kv(name, "driver", over->format);
    xlx__json_out_kv(name, "detect-zeroes", zeroes);
    xlx__json_out_key(name, "file");
    xlx__json_out_object(name);
    xlx__json_out_kv(name, "driver", "file");
    xlx__json_out_kv(name, "filename", over->image);
    xlx__json_out_end(name);
    xlx__json_out_end(name);
    file = xlx__json_out_finish(name, &text, NULL)
        ? NULL : xlx__printf("json:%s", text);
    xlx__json_out_string(args, file);       /* NULL: lack of memory sticks */
    free(text);
    free(file);
}

static void add_action(struct xlx__json_out *args, const xlx_disk *seen,
                       const xlx_snapshot_disk *frozen,
                       const xlx_snapshot_disk *over)
{
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "type", over ? "blockdev-snapshot-sync"
                                        : "blockdev-snapshot-internal-sync");
    xlx__json_out_key(args, "data");
    xlx__json_out_object(args);
    if (over) {
        xlx__json_out_kv(args, "node-name", frozen->node);
        add_file(args, seen, over);
        xlx__json_out_kv(args, "snapshot-node-name", over->node);
        xlx__json_out_kv(args, "format", over->format);
        xlx__json_out_kv(args, "mode", "existing");
    } else {
        xlx__json_out_kv(args, "device", frozen->node);
        xlx__json_out_kv(args, "name", frozen->tag);
    }
    xlx__json_out_end(args);
    xlx__json_out_end(args);
}

/* All disks in one transaction: QEMU drains all of them before it switches
 * the first, so that the images are of one instant. */
static int transaction(struct xlx__snapshot_change *c,
                       const xlx_snapshot *snapshot,
                       const xlx_snapshots *after)
{
    struct xlx__json_out *args = xlx__json_out_new(false);
    int i;

    xlx__json_out_object(args);
    xlx__json_out_key(args, "actions");
    xlx__json_out_array(args);
    for (i = 0; i < snapshot->num_disks; i++) {
        const xlx_snapshot_disk *d = &snapshot->disks[i];

        add_action(args, xlx__snapshot_seen_disk(&c->disks, d->vdev), d,
                   xlx__snapshot_is_external(snapshot)
                   ? xlx__snapshot_current_disk(after, d->vdev) : NULL);
    }
    xlx__json_out_end(args);
    xlx__json_out_end(args);
    return xlx__qmp_call_within(c->qmp, TRANSACTION_MS, "transaction", args,
                                NULL);
}

/* The device of the guest is on the overlay, and the overlay on the image that
 * was frozen: by QEMU's graph and by the header. */
static int verify_overlay(struct xlx__snapshot_change *c,
                          const xlx_disks *disks,
                          const xlx_snapshot_disk *frozen,
                          const xlx_snapshot_disk *over)
{
    const xlx_disk *before = xlx__snapshot_seen_disk(&c->disks, frozen->vdev);
    const xlx_disk *now = xlx__snapshot_seen_disk(disks, frozen->vdev);
    char *below, *format;
    bool right;
    int rc;

    if (!now || strcmp(xlx__text(now->node), over->node) ||
        !xlx__image_same(now->path, over->image) || now->readonly)
        return xlx__error(ERROR_FAIL, "%s: QEMU did not open %s for writing",
                          frozen->vdev, over->image);
    if (before && strcmp(xlx__text(before->detect_zeroes),
                         xlx__text(now->detect_zeroes)))
        xlx__debug(c->ctx, "%s: detect-zeroes is %s now", frozen->vdev,
                   xlx__text(now->detect_zeroes));
    rc = xlx__image_below(over->image, over->format, &below, &format);
    if (rc) return rc;
    right = xlx__image_same(below, frozen->image) &&
            !strcmp(xlx__text(format), frozen->format);
    free(below);
    free(format);
    return right ? 0 : xlx__error(ERROR_FAIL, "%s: %s is not based on %s",
                                  frozen->vdev, over->image, frozen->image);
}

static int verify_overlays(struct xlx__snapshot_change *c,
                           const xlx_snapshot *snapshot,
                           const xlx_snapshots *after)
{
    xlx_disks disks;
    int i, rc;

    xlx_disks_init(&disks);
    rc = xlx__disk_list_with(c->ctx, c->guest, c->qmp, &disks);
    for (i = 0; !rc && i < snapshot->num_disks; i++)
        rc = verify_overlay(c, &disks, &snapshot->disks[i],
                            xlx__snapshot_current_disk(after,
                                snapshot->disks[i].vdev));
    xlx_disks_dispose(&disks);
    return rc;
}

/* Success is what QEMU shows, not what it answered. */
static int verify(struct xlx__snapshot_change *c,
                  const xlx_snapshot *snapshot, const xlx_snapshots *after)
{
    bool found;
    int i, rc;

    if (xlx__snapshot_is_external(snapshot))
        return verify_overlays(c, snapshot, after);
    for (i = 0; i < snapshot->num_disks; i++) {
        const xlx_snapshot_disk *d = &snapshot->disks[i];

        rc = xlx__image_has_tag(d->image, d->tag, &found);
        if (rc) return rc;
        if (!found)
            return xlx__error(ERROR_FAIL, "%s: QEMU made no snapshot",
                              d->vdev);
    }
    return 0;
}

static int quiesce(struct xlx__snapshot_change *c, struct xlx__agent **agent)
{
    char *socket = NULL;
    int rc;

    if (!xlx__guest_running(c->guest))
        return xlx__error(ERROR_INVAL, "the guest is shut down: there is "
                          "nothing to quiesce");
    rc = xlx__agent_socket(c->ctx, c->guest, &socket);
    if (rc) return rc;
    rc = xlx__agent_freeze(c->ctx, socket, agent);
    free(socket);
    return rc;
}

/* How the guest came out of being frozen. */
struct thawed {
    int rc;                         /* not 0: it had not held still */
    struct xlx__error_text why;
};

static int switch_live(struct xlx__snapshot_change *c,
                       const xlx_snapshot_spec *spec, xlx_snapshot *snapshot,
                       const xlx_snapshot_journal *journal,
                       struct thawed *thawed)
{
    struct xlx__agent *agent = NULL;
    struct xlx__error_text kept;
    int rc;

    if (spec->quiesce) {
        rc = quiesce(c, &agent);
        if (rc) return rc;
        xlx__fault("snapshot-create.frozen");
    }
    rc = xlx__snapshot_connect(c);
    if (!rc)
        rc = transaction(c, snapshot, &journal->after);
    if (rc && agent)
        xlx__error_save(&kept);
    thawed->rc = xlx__agent_thaw(agent);
    if (thawed->rc)
        xlx__error_save(&thawed->why);
    if (rc && agent)
        xlx__error_restore(&kept);
    if (rc) return rc;
    snapshot->quiesced = agent && !thawed->rc;
    xlx__fault("snapshot-create.switched");
    return verify(c, snapshot, &journal->after);
}

/* For a guest that is shut down, external means overlays and no more. */
static int switch_files(struct xlx__snapshot_change *c,
                        const xlx_snapshot *snapshot)
{
    int i, rc;

    if (xlx__snapshot_is_external(snapshot))
        return 0;
    for (i = 0; i < snapshot->num_disks; i++) {
        rc = xlx__image_tag_create(c->ctx, snapshot->disks[i].image,
                                   snapshot->disks[i].tag);
        if (rc) return rc;
        xlx__fault("snapshot-create.tagged");
    }
    return 0;
}

/* ---- doing it ----------------------------------------------------------- */

/* A domain's configuration names the overlays before QEMU switches to them.
 * Should we die in between and the guest reboot, then it goes on in overlays
 * that are still empty, which is what was wanted; the other way round it
 * would go on in a frozen image. */
static int configure(struct xlx__snapshot_change *c,
                     const xlx_snapshot *snapshot,
                     const xlx_snapshots *record)
{
    return xlx__snapshot_is_external(snapshot)
        ? xlx__snapshot_configure(c, record) : 0;
}

int xlx__snapshot_finish_create(struct xlx__snapshot_change *c,
                                xlx_snapshot_journal *journal)
{
    xlx_snapshot *snapshot =
        xlx__snapshot_by_name(&journal->after, journal->after.current);
    int i, rc;

    if (xlx__snapshot_is_external(snapshot))
        for (i = 0; i < snapshot->num_disks; i++) {
            rc = xlx__snapshot_note_mtime(&snapshot->disks[i]);
            if (rc) return rc;
        }
    rc = xlx__snapshot_note_tags(snapshot);
    if (rc) return rc;
    rc = configure(c, snapshot, &journal->after);
    if (rc) return rc;
    rc = xlx__snapshot_record_write(c->ctx, c->guest, &journal->after);
    if (rc) return rc;
    xlx__fault("snapshot-create.recorded");
    return xlx__snapshot_journal_remove(c->ctx, c->guest);
}

static int perform(struct xlx__snapshot_change *c,
                   const xlx_snapshot_spec *spec, xlx_snapshot *snapshot,
                   xlx_snapshot_journal *journal)
{
    struct thawed thawed = { .rc = 0 };
    xlx_snapshot *made;
    int rc;

    rc = xlx__snapshot_append(c->ctx, &journal->after, snapshot);
    if (rc) return rc;
    made = xlx__snapshot_by_name(&journal->after, snapshot->name);
    rc = xlx__snapshot_journal_save(c->ctx, c->guest, journal);
    if (rc) return rc;
    xlx__fault("snapshot-create.journal");
    xlx__snapshot_hang_up(c);
    rc = xlx__snapshot_is_external(snapshot)
        ? xlx__snapshot_make_overlays(c->ctx, snapshot, &journal->after,
                                      false) : 0;
    if (rc) goto undo;
    rc = configure(c, snapshot, &journal->after);
    if (rc) goto undo;
    xlx__fault("snapshot-create.configured");
    rc = c->served ? switch_live(c, spec, snapshot, journal, &thawed)
                   : switch_files(c, snapshot);
    if (rc) goto undo;
    made->quiesced = snapshot->quiesced;
    rc = xlx__snapshot_finish_create(c, journal);
    if (rc) goto out;
    rc = xlx_snapshot_copy(c->ctx, snapshot, made);
    if (!rc && thawed.rc)
        rc = xlx__error(thawed.rc, "the snapshot \"%s\" was made, but not of "
                        "a quiesced guest: %s", snapshot->name,
                        thawed.why.line);
    goto out;

 undo:
    rc = xlx__snapshot_undo(c, rc);
 out:
    return rc;
}

static int check_live(struct xlx__snapshot_change *c,
                      const xlx_snapshot *snapshot)
{
    int rc;

    if (!c->qmp)
        return xlx__guest_running(c->guest)
            ? xlx__error(ERROR_INVAL, "the guest runs without a QEMU that "
                         "could snapshot its disks") : 0;
    rc = xlx__disk_no_jobs(c->qmp);
    if (rc) return rc;
    if (xlx__snapshot_is_external(snapshot) &&
        c->guest->domid != XLX_DOMID_NONE)
        return xlx__config_check(c->ctx, c->guest);
    return 0;
}

int xlx__snapshot_create(xlx_ctx *ctx, const xlx_guest *guest,
                         const xlx_snapshot_spec *spec,
                         xlx_snapshot *snapshot)
{
    struct xlx__snapshot_change c;
    xlx_snapshot_journal journal;
    int rc;

    xlx_snapshot_journal_init(&journal);
    if (spec->name && *spec->name) {
        rc = xlx__snapshot_check_name(spec->name);
        if (rc) return rc;
    }
    rc = xlx__snapshot_begin(ctx, guest, spec->dry_run, &c);
    if (rc) goto out;
    rc = xlx__snapshot_plan(&c, spec, snapshot, &journal);
    if (rc) goto out;
    rc = check_live(&c, snapshot);
    if (rc || spec->dry_run) goto out;
    rc = perform(&c, spec, snapshot, &journal);

 out:
    xlx__snapshot_end(&c);
    xlx_snapshot_journal_dispose(&journal);
    return rc;
}

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

#include "agent.h"
#include "config.h"
#include "disk.h"
#include "guest.h"
#include "image.h"
#include "snapshot.h"
#include "store.h"

/* How long the guest stands still, in ms: an external snapshot grows with the
 * number of disks, an internal one with what the images have allocated.  But
 * an external one leaves a chain, and up to INTERNAL_MAX_ALLOCATED the
 * difference is not worth one.  docs/snapshot.md has the measurements. */
#define EXTERNAL_STOP(disks) (5 * (disks))
#define INTERNAL_STOP(mib) (20 + (mib) * 6 / 1024)
#define INTERNAL_MAX_ALLOCATED ((uint64_t)1 << 30)

#define MAX_DESCRIPTION 4096
#define TRANSACTION_MS 60000

/* ---- what to snapshot --------------------------------------------------- */

static const xlx_disk *disk_named(const xlx_disks *disks, const char *vdev)
{
    int i;

    for (i = 0; i < disks->num_disks; i++)
        if (!strcmp(xlx__text(disks->disks[i].vdev), vdev))
            return &disks->disks[i];
    return NULL;
}

static int usable(const xlx_disk *disk)
{
    if (disk->cdrom)
        return xlx__error(ERROR_INVAL, "%s: it is a CD-ROM", disk->vdev);
    if (disk->readonly)
        return xlx__error(ERROR_INVAL, "%s: it is read-only", disk->vdev);
    if (disk->unusable && *disk->unusable)
        return xlx__error(ERROR_INVAL, "%s: %s", disk->vdev, disk->unusable);
    return 0;
}

static int choose_named(const xlx_disks *disks, const xlx_snapshot_spec *spec,
                        const xlx_disk **chosen)
{
    const xlx_disk *d;
    int i, j, rc;

    for (i = 0; i < spec->num_disks; i++) {
        const char *vdev = xlx__text(spec->disks[i]);

        if (!*vdev)
            return xlx__error(ERROR_INVAL, "a name in the list of disks is "
                              "empty");
        d = disk_named(disks, vdev);
        if (!d)
            return xlx__error(ERROR_NOTFOUND, "the guest has no disk \"%s\"",
                              vdev);
        for (j = 0; j < i; j++)
            if (chosen[j] == d)
                return xlx__error(ERROR_INVAL, "disk \"%s\" is named twice",
                                  vdev);
        rc = usable(d);
        if (rc) return rc;
        chosen[i] = d;
    }
    return 0;
}

static int choose_all(const xlx_disks *disks, const xlx_disk **chosen,
                      int *num_r)
{
    int i, n = 0, rc;

    for (i = 0; i < disks->num_disks; i++) {
        const xlx_disk *d = &disks->disks[i];

        if (d->cdrom || d->readonly)
            continue;
        rc = usable(d);
        if (rc) {
            if (disks->num_disks > 1)
                xlx__error_prefix(rc, "not all disks can be snapshot (leave "
                                  "some out with --disks)");
            return rc;
        }
        chosen[n++] = d;
    }
    if (!n)
        return xlx__error(ERROR_INVAL, "the guest has no disk that it can "
                          "write to");
    *num_r = n;
    return 0;
}

/* ---- which kind --------------------------------------------------------- */

static bool has_overlays(const xlx_snapshots *record, const char *vdev)
{
    const xlx_snapshot_disk *now = xlx__snapshot_current_disk(record, vdev);

    return now && now->owned;
}

static int auto_kind(const xlx_snapshots *record, const xlx_disk **disks,
                     int num, xlx_snapshot *snapshot)
{
    unsigned long long mib;
    uint64_t allocated = 0;
    char *why = NULL;
    int i, rc;

    snapshot->kind = XLX_SNAPSHOT_KIND_EXTERNAL;
    for (i = 0; i < num && !why; i++) {
        if (strcmp(disks[i]->format, "qcow2"))
            why = xlx__printf("%s is %s, and only qcow2 can hold internal "
                              "snapshots", disks[i]->vdev, disks[i]->format);
        else if (has_overlays(record, disks[i]->vdev))
            why = xlx__printf("%s already has overlays, and an internal "
                              "snapshot in one would keep it from being "
                              "merged", disks[i]->vdev);
        else
            allocated += disks[i]->allocated;
    }
    mib = allocated >> 20;
    if (!why && allocated > INTERNAL_MAX_ALLOCATED) {
        why = xlx__printf("%llu MiB are allocated: an internal snapshot "
                          "would stop the guest for about %llu ms, an "
                          "external one for about %d ms", mib,
                          INTERNAL_STOP(mib), EXTERNAL_STOP(num));
    } else if (!why) {
        snapshot->kind = XLX_SNAPSHOT_KIND_INTERNAL;
        why = xlx__printf("only %llu MiB are allocated: it stops the guest "
                          "hardly longer than an external one, and the disks "
                          "stay where they are", mib);
    }
    rc = why ? xlx__set_string(&snapshot->why, why)
             : xlx__error(ERROR_NOMEM, "out of memory");
    free(why);
    return rc;
}

static int internal_possible(const xlx_disk *disk, const char *name)
{
    bool taken;
    int rc;

    if (strcmp(disk->format, "qcow2"))
        return xlx__error(ERROR_INVAL, "%s: an internal snapshot needs a "
                          "qcow2 image, %s is %s", disk->vdev, disk->path,
                          disk->format);
    rc = xlx__image_has_tag(disk->path, name, &taken);
    if (rc) return rc;
    if (taken)
        return xlx__error(ERROR_DEVICE_EXISTS, "%s: %s already holds a "
                          "snapshot \"%s\" of another tool", disk->vdev,
                          disk->path, name);
    return 0;
}

/* ---- plan --------------------------------------------------------------- */

static int plan_disk(struct xlx__snapshot_change *c,
                     const xlx_snapshot_spec *spec, const xlx_disk *disk,
                     xlx_snapshot *snapshot, xlx_snapshot_journal *journal)
{
    xlx_snapshot_disk *sd = &snapshot->disks[snapshot->num_disks];
    xlx_snapshot_disk *now =
        xlx__snapshot_current_disk(&journal->after, disk->vdev);
    int rc;

    if (!now)
        return xlx__error(ERROR_FAIL, "%s: its image is not known",
                          disk->vdev);
    xlx_snapshot_disk_init(sd);
    snapshot->num_disks++;
    rc = xlx_snapshot_disk_copy(c->ctx, sd, now);
    if (rc) return rc;
    sd->allocated = disk->allocated;
    sd->virtual_size = disk->virtual_size;
    rc = xlx__set_string(&sd->node, disk->node);
    if (rc) return rc;
    if (!xlx__snapshot_is_external(snapshot)) {
        rc = internal_possible(disk, snapshot->name);
        if (rc) return rc;
        return xlx__set_string(&sd->tag, snapshot->name);
    }
    rc = xlx__snapshot_plan_overlay(c, sd, spec->overlay_dir,
                                    snapshot->name, now);
    if (rc) return rc;
    return xlx__snapshot_add_string(&journal->new_files,
                                    &journal->num_new_files, now->image);
}

static int plan_kind(const struct xlx__snapshot_change *c,
                     const xlx_snapshot_spec *spec, const xlx_disk **disks,
                     int num, xlx_snapshot *snapshot)
{
    int rc;

    if (spec->kind == XLX_SNAPSHOT_KIND_AUTO) {
        rc = auto_kind(&c->record, disks, num, snapshot);
        if (rc) return rc;
    } else {
        snapshot->kind = spec->kind;
        rc = xlx__set_string(&snapshot->why, "as asked for");
        if (rc) return rc;
    }
    if (!xlx__snapshot_is_external(snapshot) && spec->overlay_dir &&
        *spec->overlay_dir && spec->kind != XLX_SNAPSHOT_KIND_AUTO)
        return xlx__error(ERROR_INVAL, "an internal snapshot makes no "
                          "overlay: an overlay folder means nothing to it");
    return 0;
}

static int plan_name(struct xlx__snapshot_change *c,
                     const xlx_snapshot_spec *spec, xlx_snapshot *snapshot)
{
    const char *name = xlx__text(spec->name);
    const char *description = xlx__text(spec->description);
    int rc;

    if (strlen(description) > MAX_DESCRIPTION)
        return xlx__error(ERROR_INVAL, "description: over %d bytes",
                          MAX_DESCRIPTION);
    if (xlx__utf8_valid(description, strlen(description)) !=
        strlen(description))
        return xlx__error(ERROR_INVAL, "description: not valid UTF-8");
    rc = xlx__set_string(&snapshot->description, description);
    if (rc) return rc;
    if (!*name)
        return xlx__snapshot_make_name(&c->record, "snap", &snapshot->name);
    if (xlx__snapshot_by_name(&c->record, name))
        return xlx__error(ERROR_DEVICE_EXISTS, "the guest already has a "
                          "snapshot \"%s\"", name);
    return xlx__set_string(&snapshot->name, name);
}

/* Everything about the snapshot that is known before it is made, and the
 * journal of making it. */
static int plan(struct xlx__snapshot_change *c, const xlx_snapshot_spec *spec,
                xlx_snapshot *snapshot, xlx_snapshot_journal *journal)
{
    const xlx_disk **chosen = NULL;
    xlx_disks disks;
    int i, num = spec->num_disks, rc;

    xlx_disks_init(&disks);
    rc = plan_name(c, spec, snapshot);
    if (rc) goto out;
    rc = xlx__disk_list_with(c->ctx, c->guest, c->qmp, &disks);
    if (rc) goto out;
    rc = xlx__snapshot_reconcile(&c->record, &disks);
    if (rc) goto out;
    chosen = calloc(disks.num_disks + num + 1, sizeof(*chosen));
    if (!chosen) {
        rc = xlx__error(ERROR_NOMEM, "out of memory");
        goto out;
    }
    rc = num ? choose_named(&disks, spec, chosen)
             : choose_all(&disks, chosen, &num);
    if (rc) goto out;
    rc = plan_kind(c, spec, chosen, num, snapshot);
    if (rc) goto out;

    rc = xlx__snapshot_journal_init(c, XLX_SNAPSHOT_OPERATION_CREATE,
                                    journal);
    if (rc) goto out;
    snapshot->time = time(NULL);
    snapshot->running = xlx__guest_running(c->guest);
    rc = xlx__set_string(&snapshot->parent, c->record.current);
    if (rc) goto out;
    rc = xlx__set_string(&snapshot->qemu_version,
                         c->qmp ? xlx__qmp_version(c->qmp) : "");
    if (rc) goto out;
    snapshot->disks = calloc(num, sizeof(*snapshot->disks));
    if (!snapshot->disks) {
        rc = xlx__error(ERROR_NOMEM, "out of memory");
        goto out;
    }
    for (i = 0; i < num; i++) {
        rc = plan_disk(c, spec, chosen[i], snapshot, journal);
        if (rc) goto out;
    }
    rc = xlx__set_string(&journal->after.current, snapshot->name);

 out:
    free(chosen);
    xlx_disks_dispose(&disks);
    return rc;
}

/* ---- the switch in QEMU ------------------------------------------------- */

static void add_action(struct xlx__json_out *args,
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
        xlx__json_out_kv(args, "snapshot-file", over->image);
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

        add_action(args, d, xlx__snapshot_is_external(snapshot)
                   ? xlx__snapshot_current_disk(after, d->vdev) : NULL);
    }
    xlx__json_out_end(args);
    xlx__json_out_end(args);
    return xlx__qmp_call_within(c->qmp, TRANSACTION_MS, "transaction", args,
                                NULL);
}

static int verify_overlays(struct xlx__snapshot_change *c,
                           const xlx_snapshot *snapshot,
                           const xlx_snapshots *after)
{
    int i, num = snapshot->num_disks, rc = 0;
    struct xlx__disk_node *nodes = calloc(num, sizeof(*nodes));

    if (!nodes)
        return xlx__error(ERROR_NOMEM, "out of memory");
    for (i = 0; i < num; i++)
        nodes[i].image = xlx__snapshot_current_disk(after,
                             snapshot->disks[i].vdev)->image;
    rc = xlx__disk_find_nodes(c->qmp, nodes, num);
    for (i = 0; !rc && i < num; i++)
        if (!nodes[i].name || nodes[i].readonly)
            rc = xlx__error(ERROR_FAIL, "%s: QEMU did not open %s for writing",
                            snapshot->disks[i].vdev, nodes[i].image);
    for (i = 0; i < num; i++)
        free(nodes[i].name);
    free(nodes);
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
    char *why;
};

static int switch_live(struct xlx__snapshot_change *c,
                       const xlx_snapshot_spec *spec, xlx_snapshot *snapshot,
                       const xlx_snapshot_journal *journal,
                       struct thawed *thawed)
{
    struct xlx__agent *agent = NULL;
    char *kept = NULL;
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
        kept = strdup(xlx_get_error());
    thawed->rc = xlx__agent_thaw(agent);
    if (thawed->rc)
        thawed->why = strdup(xlx_get_error());
    if (rc && kept)
        xlx__error(rc, "%s", kept);
    free(kept);
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

static int make_overlays(struct xlx__snapshot_change *c,
                         const xlx_snapshot *snapshot,
                         const xlx_snapshots *after)
{
    int i, rc;

    if (!xlx__snapshot_is_external(snapshot))
        return 0;
    for (i = 0; i < snapshot->num_disks; i++) {
        rc = xlx__snapshot_make_overlay(c->ctx, &snapshot->disks[i],
                 xlx__snapshot_current_disk(after, snapshot->disks[i].vdev));
        if (rc) return rc;
        xlx__fault("snapshot-create.overlay");
    }
    return 0;
}

/* A domain's configuration names the overlays before QEMU switches to them.
 * Should we die in between and the guest reboot, then it goes on in overlays
 * that are still empty, which is what was wanted; the other way round it
 * would go on in a frozen image. */
static int configure(struct xlx__snapshot_change *c,
                     const xlx_snapshot *snapshot,
                     const xlx_snapshots *record)
{
    if (!xlx__snapshot_is_external(snapshot) ||
        c->guest->domid == XLX_DOMID_NONE)
        return 0;
    return xlx__config_set_disks(c->ctx, c->guest, record->disks,
                                 record->num_disks);
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
    struct thawed thawed = { .rc = 0, .why = NULL };
    xlx_snapshot *made;
    int rc;

    rc = xlx__snapshot_append(c->ctx, &journal->after, snapshot);
    if (rc) return rc;
    made = xlx__snapshot_by_name(&journal->after, snapshot->name);
    rc = xlx__snapshot_journal_write(c->ctx, c->guest, journal);
    if (rc) return rc;
    xlx__fault("snapshot-create.journal");
    xlx__snapshot_hang_up(c);
    rc = make_overlays(c, snapshot, &journal->after);
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
                        xlx__text(thawed.why));
    goto out;

 undo:
    rc = xlx__snapshot_undo(c, rc);
 out:
    free(thawed.why);
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
    rc = plan(&c, spec, snapshot, &journal);
    if (rc) goto out;
    rc = check_live(&c, snapshot);
    if (rc || spec->dry_run) goto out;
    rc = perform(&c, spec, snapshot, &journal);

 out:
    xlx__snapshot_end(&c);
    xlx_snapshot_journal_dispose(&journal);
    return rc;
}

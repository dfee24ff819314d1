/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plans a snapshot before anything is done: which disks, which kind, which
 * files; and finds everything that speaks against it.  The guest goes on
 * undisturbed while this is found out.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "disk/disk.h"
#include "disk/image.h"
#include "disk/vbd.h"
#include "guest/guest.h"
#include "snapshot/snapshot.h"

/* How long the guest stands still, in ms: an external snapshot grows with the
 * number of disks, an internal one with what the images have allocated.  But
 * an external one leaves a chain, and up to INTERNAL_MAX_ALLOCATED the
 * difference is not worth one.  docs/snapshot.md has the measurements. */
#define EXTERNAL_STOP(disks) (5 * (disks))
#define INTERNAL_STOP(mib) (20 + (mib) * 6 / 1024)
#define INTERNAL_MAX_ALLOCATED ((uint64_t)1 << 30)

#define WARN_LAYERS 16
#define MAX_LAYERS 48               /* each is opened at every start */

/* ---- what to snapshot --------------------------------------------------- */

const xlx_disk *xlx__snapshot_seen_disk(const xlx_disks *disks,
                                        const char *vdev)
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
        d = xlx__snapshot_seen_disk(disks, vdev);
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

/* The reason is shown and recorded: what else is to be known goes with it. */
static int add_why(xlx_snapshot *snapshot, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int add_why(xlx_snapshot *snapshot, const char *fmt, ...)
{
    char text[512], *why;
    va_list ap;
    int rc;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    why = xlx__printf("%s; %s", xlx__text(snapshot->why), text);
    rc = why ? xlx__set_string(&snapshot->why, why)
             : xlx__nomem();
    free(why);
    return rc;
}

static bool has_overlays(const xlx_snapshots *record, const char *vdev)
{
    const xlx_snapshot_disk *now = xlx__snapshot_current_disk(record, vdev);

    return now && now->owned;
}

static int auto_kind(const xlx_snapshots *record, const xlx_disk **disks,
                     int num, xlx_snapshot *snapshot)
{
    struct xlx__image_features features;
    unsigned long long mib;
    uint64_t allocated = 0;
    char *why = NULL;
    int i, rc;

    snapshot->kind = XLX_SNAPSHOT_KIND_EXTERNAL;
    for (i = 0; i < num && !why; i++) {
        rc = xlx__image_features(disks[i]->path, disks[i]->format, &features);
        if (rc) return rc;
        if (strcmp(disks[i]->format, "qcow2"))
            why = xlx__printf("%s is %s, and only qcow2 can hold internal "
                              "snapshots", disks[i]->vdev, disks[i]->format);
        else if (features.data_file)
            why = xlx__printf("%s has its data in a file of their own, and "
                              "such an image cannot hold internal snapshots",
                              disks[i]->vdev);
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
             : xlx__nomem();
    free(why);
    return rc;
}

static int internal_possible(const xlx_disk *disk, const char *name)
{
    struct xlx__image_features features;
    bool taken;
    int rc;

    if (strcmp(disk->format, "qcow2"))
        return xlx__error(ERROR_INVAL, "%s: an internal snapshot needs a "
                          "qcow2 image, %s is %s", disk->vdev, disk->path,
                          disk->format);
    rc = xlx__image_features(disk->path, disk->format, &features);
    if (rc) return rc;
    if (features.data_file)
        return xlx__error(ERROR_INVAL, "%s: %s has its data in a file of "
                          "their own, and such an image cannot hold internal "
                          "snapshots: use --kind external", disk->vdev,
                          disk->path);
    rc = xlx__image_has_tag(disk->path, name, &taken);
    if (rc) return rc;
    if (taken)
        return xlx__error(ERROR_DEVICE_EXISTS, "%s: %s already holds a "
                          "snapshot \"%s\" of another tool", disk->vdev,
                          disk->path, name);
    return 0;
}

/* ---- the chain ---------------------------------------------------------- */

/* The oldest snapshot whose deletion merges two layers of the disk. */
static const char *oldest(const xlx_snapshots *record, const char *vdev)
{
    int i;

    for (i = 0; i < record->num_snapshots; i++)
        if (xlx__snapshot_is_external(&record->snapshots[i]) &&
            xlx__snapshot_disk_of(&record->snapshots[i], vdev))
            return record->snapshots[i].name;
    return NULL;
}

static void how_to_shorten(const struct xlx__snapshot_change *c,
                           const char *vdev, char *text, size_t size)
{
    const char *name = oldest(&c->record, vdev);
    bool plain = *xlx__text(c->guest->qmp_socket) != 0;

    if (name)
        snprintf(text, size, "xl snapshot-delete %s%s \"%s\" shortens it",
                 plain ? "qmp:" : "", plain ? c->guest->qmp_socket
                                            : xlx__text(c->guest->name),
                 name);
    else
        snprintf(text, size, "merge some with the tool that made them");
}

static int check_chain(const struct xlx__snapshot_change *c,
                       const xlx_disk *disk, xlx_snapshot *snapshot)
{
    char advice[400];

    if (disk->layers + 1 < WARN_LAYERS)
        return 0;
    how_to_shorten(c, disk->vdev, advice, sizeof(advice));
    if (disk->layers >= MAX_LAYERS)
        return xlx__error(ERROR_INVAL, "%s: its chain has %u images, and %d "
                          "are the most: %s", disk->vdev, disk->layers,
                          MAX_LAYERS, advice);
    return add_why(snapshot, "the chain of %s has %u images now, which slows "
                   "each read: %s", disk->vdev, disk->layers + 1, advice);
}

/* QEMU does not carry these over to an overlay. */
static int check_lost(const xlx_disk *disk, xlx_snapshot *snapshot)
{
    if (!*xlx__text(disk->bitmap))
        return 0;
    return add_why(snapshot, "the dirty bitmap \"%.100s\" of %s stays with "
                   "the frozen image: begin incremental backups with a full "
                   "one", disk->bitmap, disk->vdev);
}

/* ---- who else uses the images ------------------------------------------- */

/* QEMU opens the frozen image again, for reading, and the guest sees it. */
static int check_open(struct xlx__snapshot_change *c,
                      const xlx_snapshot *snapshot)
{
    struct xlx__file_id *ids = calloc((size_t)snapshot->num_disks + 1,
                                      sizeof(*ids));
    const char **images = calloc((size_t)snapshot->num_disks + 1,
                                 sizeof(*images));
    int i, rc = 0;

    for (i = 0; images && i < snapshot->num_disks; i++)
        images[i] = snapshot->disks[i].image;
    if (!ids || !images)
        rc = xlx__nomem();
    else if (c->served)
        rc = xlx__snapshot_check_open(c, images, snapshot->num_disks, ids);
    free(images);
    free(ids);
    return rc;
}

static int ask_world(struct xlx__snapshot_change *c,
                     struct xlx__image_world *world,
                     const xlx_snapshot_spec *spec,
                     const xlx_snapshot *snapshot)
{
    struct xlx__image_allow allow = {
        .own_disk = true,
        .readers = true,            /* they see the same bytes afterwards */
        .force_open = spec->force_open,
        .force_based = spec->force_based,
        .force_unknown = spec->force_unknown,
    };
    int i, rc;

    rc = check_open(c, snapshot);
    for (i = 0; !rc && i < snapshot->num_disks; i++)
        rc = xlx__snapshot_check_chain(c, &snapshot->disks[i]);
    for (i = 0; !rc && i < snapshot->num_disks; i++)
        rc = xlx__image_ask(world, snapshot->disks[i].vdev,
                            snapshot->disks[i].image, &allow);
    /* qemu-img does not write past the lock of a reader */
    allow.readers = c->served || xlx__snapshot_is_external(snapshot);
    allow.force_based = true;       /* that has been asked */
    for (i = 0; !rc && !allow.readers && i < snapshot->num_disks; i++)
        rc = xlx__image_ask(world, snapshot->disks[i].vdev,
                            snapshot->disks[i].image, &allow);
    return rc;
}

/* ---- plan --------------------------------------------------------------- */

static int plan_disk(struct xlx__snapshot_change *c,
                     const struct xlx__image_world *world,
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
    sd->mtime = 0;                  /* noted when it is frozen */
    sd->allocated = disk->allocated;
    sd->virtual_size = disk->virtual_size;
    rc = xlx__set_string(&sd->node, disk->node);
    if (rc) return rc;
    if (!xlx__snapshot_is_external(snapshot)) {
        rc = internal_possible(disk, snapshot->name);
        if (rc) return rc;
        return xlx__set_string(&sd->tag, snapshot->name);
    }
    rc = check_chain(c, disk, snapshot);
    if (rc) return rc;
    rc = check_lost(disk, snapshot);
    if (rc) return rc;
    rc = xlx__snapshot_plan_overlay(c, world, sd, spec->overlay_dir,
                                    snapshot->name, now);
    if (rc) return rc;
    if (c->served)
        now->virtual_size = disk->virtual_size;     /* what the guest sees */
    rc = xlx__snapshot_check_space(now, journal->num_new_files + 1);
    if (rc) return rc;
    return xlx__snapshot_add_string(&journal->new_files,
                                    &journal->num_new_files, now->image);
}

static int plan_disks(struct xlx__snapshot_change *c,
                      const xlx_snapshot_spec *spec, const xlx_disk **chosen,
                      int num, xlx_snapshot *snapshot,
                      xlx_snapshot_journal *journal)
{
    struct xlx__image_world *world = NULL;
    int i, rc;

    snapshot->disks = calloc(num, sizeof(*snapshot->disks));
    if (!snapshot->disks)
        return xlx__nomem();
    rc = xlx__snapshot_world_of(c, &world);
    for (i = 0; !rc && i < num; i++)
        rc = plan_disk(c, world, spec, chosen[i], snapshot, journal);
    if (rc) goto out;
    rc = ask_world(c, world, spec, snapshot);

 out:
    xlx__image_world_close(world);
    return rc;
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
                          "overlay: leave the overlay directory out");
    return 0;
}

static int plan_name(struct xlx__snapshot_change *c,
                     const xlx_snapshot_spec *spec, xlx_snapshot *snapshot)
{
    const char *name = xlx__text(spec->name);
    int rc;

    rc = xlx__snapshot_set_description(snapshot, spec->description);
    if (rc) return rc;
    if (!*name)
        return xlx__snapshot_make_name(&c->record, "snap", &snapshot->name);
    if (xlx__snapshot_by_name(&c->record, name))
        return xlx__error(ERROR_DEVICE_EXISTS, "the guest already has a "
                          "snapshot \"%s\"", name);
    return xlx__set_string(&snapshot->name, name);
}

/* A guest that has no disk has no QEMU for one either. */
static int check_reached(const struct xlx__snapshot_change *c)
{
    struct xlx__vbds vbds;
    bool has = false;
    int i, rc;

    if (c->disks.num_disks || c->qmp || !xlx__guest_running(c->guest))
        return 0;
    rc = xlx__vbds_read(c->ctx, &vbds);
    for (i = 0; !rc && !has && i < vbds.num; i++)
        has = vbds.list[i].domid == c->guest->domid;
    xlx__vbds_dispose(&vbds);
    if (rc || !has) return rc;
    return xlx__error(ERROR_NOT_READY, "the guest runs, as domain %u, and its "
                      "QEMU cannot be reached: shut it down first",
                      c->guest->domid);
}

/* Everything about the snapshot that is known before it is made, and the
 * journal of making it. */
int xlx__snapshot_plan(struct xlx__snapshot_change *c,
                       const xlx_snapshot_spec *spec, xlx_snapshot *snapshot,
                       xlx_snapshot_journal *journal)
{
    const xlx_disk **chosen = NULL;
    xlx_disks *disks = &c->disks;
    int i, num = spec->num_disks, rc;

    rc = plan_name(c, spec, snapshot);
    if (rc) goto out;
    rc = xlx__disk_list_with(c->ctx, c->guest, c->qmp, disks);
    if (rc) goto out;
    rc = check_reached(c);
    if (rc) goto out;
    rc = xlx__snapshot_reconcile(c->ctx, &c->record, disks);
    if (rc) goto out;
    chosen = calloc(disks->num_disks + num + 1, sizeof(*chosen));
    if (!chosen) {
        rc = xlx__nomem();
        goto out;
    }
    rc = num ? choose_named(disks, spec, chosen)
             : choose_all(disks, chosen, &num);
    for (i = 0; !rc && !spec->dry_run && i < num; i++)
        rc = xlx__snapshot_hold_image(c, chosen[i]->path);
    if (rc) goto out;
    for (i = 0; i < num && !xlx__guest_running(c->guest); i++) {
        rc = xlx__snapshot_no_doubt(c->guest, &c->record, chosen[i]->vdev);
        if (rc) goto out;
    }
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
    rc = plan_disks(c, spec, chosen, num, snapshot, journal);
    if (rc) goto out;
    rc = xlx__set_string(&journal->after.current, snapshot->name);

 out:
    free(chosen);
    return rc;
}


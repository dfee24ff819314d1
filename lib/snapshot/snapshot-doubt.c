/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is the guest's present state, of a guest that is shut down, what the record
 * says?  Its image may be gone, and a layer below it may have been written to:
 * then another tool has perhaps merged layers, or a guest was started on that
 * one.  Only the user can tell in which image the guest goes on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/report.h"
#include "disk/image.h"
#include "guest/guest.h"
#include "snapshot/snapshot.h"

const char *xlx__snapshot_when(int64_t mtime, char *text, size_t size)
{
    time_t t = (time_t)(mtime / 1000000000);
    struct tm tm;

    if (!localtime_r(&t, &tm) || !strftime(text, size, "%F %T", &tm))
        snprintf(text, size, "?");
    return text;
}

int64_t xlx__snapshot_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t boot_time(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return xlx__snapshot_now() - ((int64_t)t.tv_sec * 1000000000 + t.tv_nsec);
}

int xlx__snapshot_written_since_boot(const struct xlx__snapshot_change *c,
                                     const char *image, bool *yes_r)
{
    xlx_snapshot_disk seen;
    int64_t journal, boot = boot_time();
    int rc;

    xlx_snapshot_disk_init(&seen);
    seen.image = (char *)image;
    rc = xlx__snapshot_journal_time(c->ctx, c->guest, &journal);
    if (rc || journal >= boot) return rc;
    if (xlx__snapshot_note_mtime(&seen))
        xlx__error_clear();         /* a repair tells what is missing */
    else
        *yes_r = seen.mtime > boot;
    return 0;
}

static bool is_written(const xlx_snapshot_disk *d, int64_t *seen_r)
{
    xlx_snapshot_disk seen;

    if (*xlx__text(d->tag) || !d->mtime)
        return false;
    xlx_snapshot_disk_init(&seen);
    seen.image = d->image;
    if (xlx__snapshot_note_mtime(&seen)) {
        xlx__error_clear();         /* a repair tells what is missing */
        return false;
    }
    *seen_r = seen.mtime;
    return seen.mtime != d->mtime;
}

/* A later snapshot of the same image froze it as it is. */
static bool is_frozen_so(const xlx_snapshots *record, const char *image,
                         int64_t seen)
{
    int i, j;

    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

            if (!*xlx__text(d->tag) && d->mtime == seen &&
                xlx__image_same(d->image, image))
                return true;
        }
    return false;
}

const xlx_snapshot_disk *
xlx__snapshot_find_written(const xlx_snapshots *record, const char *image,
                           int64_t *seen_r)
{
    int i, j;

    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

            if (is_written(d, seen_r) && xlx__image_same(d->image, image))
                return is_frozen_so(record, image, *seen_r) ? NULL : d;
        }
    return NULL;
}

/* ---- the present -------------------------------------------------------- */

/* Bytes written before that image was made, or frozen, are part of it. */
const xlx_snapshot_disk *
xlx__snapshot_written_below(const xlx_snapshots *record,
                            const xlx_snapshot_disk *now, int64_t *seen_r)
{
    int i, j;

    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

            if (is_written(d, seen_r) && *seen_r > now->mtime &&
                !xlx__image_same(d->image, now->image) &&
                !is_frozen_so(record, d->image, *seen_r) &&
                xlx__image_leads_to(now->image, xlx__text(now->format),
                                    d->image))
                return d;
        }
    return NULL;
}

bool xlx__snapshot_is_missing(const xlx_snapshot_disk *now)
{
    struct stat st;

    return stat(now->image, &st) && errno == ENOENT;
}

int xlx__snapshot_doubt(const xlx_snapshots *record,
                        const xlx_snapshot_disk *now, char **why_r)
{
    const xlx_snapshot_disk *below;
    char when[40];
    int64_t seen;

    *why_r = NULL;
    if (xlx__snapshot_is_missing(now)) {
        *why_r = xlx__printf("%s: the guest's image %s is not there",
                             now->vdev, now->image);
    } else {
        below = xlx__snapshot_written_below(record, now, &seen);
        if (!below)
            return 0;
        *why_r = xlx__printf("%s: the guest's image %s is based on %s, which "
                             "was written to (%s) after it was "
                             "frozen", now->vdev,
                             now->image, below->image,
                             xlx__snapshot_when(seen, when, sizeof(when)));
    }
    return *why_r ? 0 : xlx__nomem();
}

int xlx__snapshot_doubt_way(const xlx_guest *guest,
                            const xlx_snapshot_disk *now, char **way_r)
{
    bool gone = xlx__snapshot_is_missing(now);

    *way_r = xlx__printf("%s: xl snapshot-repair --keep-image IMAGE "
                         LIBXL_UUID_FMT, gone
                         ? "bring it back, or, when it is gone for good, say "
                           "in which image the guest goes on"
                         : "a guest may have gone on there: look at each with "
                           "qemu-nbd --read-only, and say which one goes on",
                         LIBXL_UUID_BYTES(guest->uuid));
    return *way_r ? 0 : xlx__nomem();
}

int xlx__snapshot_report_doubts(const xlx_guest *guest,
                                const xlx_snapshots *record,
                                xlx_repair_report *report)
{
    char *why = NULL, *way = NULL;
    int i, rc = 0;

    for (i = 0; !rc && i < record->num_disks; i++) {
        rc = xlx__snapshot_doubt(record, &record->disks[i], &why);
        if (!rc && why)
            rc = xlx__snapshot_doubt_way(guest, &record->disks[i], &way);
        if (!rc && why)
            rc = xlx__report(report, false, way, "%s", why);
        free(why);
        free(way);
        why = way = NULL;
    }
    return rc;
}

int xlx__snapshot_no_doubt(const xlx_guest *guest,
                           const xlx_snapshots *record, const char *vdev)
{
    const xlx_snapshot_disk *now = xlx__snapshot_current_disk(record, vdev);
    char *why = NULL, *way = NULL;
    int rc;

    if (!now)
        return 0;
    rc = xlx__snapshot_doubt(record, now, &why);
    if (rc) goto out;
    if (why)
        rc = xlx__snapshot_doubt_way(guest, now, &way);
    if (rc) goto out;
    if (why)
        rc = xlx__error(ERROR_INVAL, "%s: %s", why, way);

 out:
    free(why);
    free(way);
    return rc;
}

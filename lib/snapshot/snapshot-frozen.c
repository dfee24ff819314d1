/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The question that a starter of guests asks: may a guest write to this image,
 * or is it the frozen layer of somebody's snapshot, the base of another image,
 * or open for writing elsewhere?  All disks of a guest are asked about in one
 * world, because to read it costs more than to ask.
 */
#include <stdlib.h>
#include <string.h>

#include "disk/image-use.h"
#include "guest/guest.h"
#include "snapshot/snapshot.h"

/* ---- the words ---------------------------------------------------------- */

/* Only a lock that somebody holds tells a command at work from one that was
 * cut short. */
static int describe_unsettled(xlx_ctx *ctx, const xlx_guest *guest,
                              char **what_r)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    char title[128];
    int rc;

    xlx__guest_title(guest, title, sizeof(title));
    rc = xlx__lock_guest(ctx, &guest->uuid, &lock);
    xlx__unlock(&lock);
    if (rc == ERROR_LOCK_FAIL) {
        rc = xlx__set_string(what_r, xlx_error_get());
        xlx__error_clear();
        return rc;
    }
    if (rc) return rc;
    *what_r = xlx__printf("a command that changed the snapshots of \"%s\" was "
                          "cut short; xl snapshot-repair "LIBXL_UUID_FMT
                          " finishes or undoes it", title,
                          LIBXL_UUID_BYTES(guest->uuid));
    return *what_r ? 0 : xlx__nomem();
}

/* Where that guest goes on by its record, if that is so.  The record is read
 * again, because a claim does not say it all. */
static int fill_doubt(xlx_ctx *ctx, const struct xlx__image_claim *c,
                      xlx_frozen_image *frozen)
{
    const xlx_snapshot_disk *now;
    char *why = NULL, *way = NULL;
    xlx_snapshots record;
    int rc;

    xlx_snapshots_init(&record);
    rc = xlx__snapshot_record_read(ctx, &c->guest, &record);
    now = rc ? NULL : xlx__snapshot_current_disk(&record, xlx__text(c->vdev));
    if (now)
        rc = xlx__snapshot_doubt(&record, now, &why);
    if (!rc && why)
        rc = xlx__snapshot_doubt_way(&c->guest, now, &way);
    if (rc || !why) goto out;
    frozen->frozen = true;
    frozen->reason = XLX_FROZEN_REASON_UNSETTLED;
    frozen->what = xlx__printf("%s; %s", why, way);
    if (!frozen->what)
        rc = xlx__nomem();

 out:
    xlx_snapshots_dispose(&record);
    free(why);
    free(way);
    return rc;
}

static int fill_claimed(xlx_ctx *ctx, const struct xlx__image_claim *c,
                        xlx_frozen_image *frozen)
{
    bool unsettled = c->journal || c->role == XLX__ROLE_OLD;
    int rc;

    frozen->frozen = true;
    frozen->reason = unsettled ? XLX_FROZEN_REASON_UNSETTLED
        : c->role == XLX__ROLE_MOVED ? XLX_FROZEN_REASON_MOVED
                                     : XLX_FROZEN_REASON_SNAPSHOT;
    rc = xlx_guest_copy(ctx, &frozen->guest, &c->guest);
    if (rc) return rc;
    if (unsettled)
        return describe_unsettled(ctx, &c->guest, &frozen->what);
    rc = fill_doubt(ctx, c, frozen);
    if (rc || frozen->reason == XLX_FROZEN_REASON_UNSETTLED) return rc;
    rc = xlx__set_string(&frozen->snapshot, c->snapshot);
    if (rc) return rc;
    rc = xlx__set_string(&frozen->vdev, c->vdev);
    if (rc) return rc;
    rc = xlx__set_string(&frozen->current_path, c->current_path);
    if (rc) return rc;
    return xlx__set_string(&frozen->current_format, c->current_format);
}

/* ---- the reason --------------------------------------------------------- */

/* Finds the user of an image that keeps guests from it; NULL: none.  A journal
 * counts before a record, because it says that the record may not be so; what
 * the record says comes before what headers say, because it has the words for
 * a person.  Those who have it open come last: the starter's user may override
 * that, and must not override the rest with it. */
static const struct xlx__image_user *
find_reason(const struct xlx__image_use *use)
{
    const struct xlx__image_user *found = NULL, *based = NULL, *moved = NULL;
    int i;

    for (i = 0; i < use->num; i++) {
        const struct xlx__image_user *u = &use->users[i];

        if (u->kind == XLX__USER_OVERLAY && !based)
            based = u;
        if (u->kind != XLX__USER_CLAIM)
            continue;
        if (u->claim->journal || u->claim->role == XLX__ROLE_OLD)
            return u;
        if (u->claim->role == XLX__ROLE_FROZEN && !found)
            found = u;
        if (u->claim->role == XLX__ROLE_MOVED)
            moved = u;
    }
    return found ? found : based ? based : moved;
}

/* The record of which it is the present image. */
static const struct xlx__image_claim *
find_current(const struct xlx__image_use *use)
{
    int i;

    for (i = 0; i < use->num; i++)
        if (use->users[i].kind == XLX__USER_CLAIM &&
            use->users[i].claim->role == XLX__ROLE_CURRENT)
            return use->users[i].claim;
    return NULL;
}

/* Finds who writes to it: a guest has a name that people know, and so it comes
 * before its QEMU. */
static const struct xlx__image_user *
find_writer(const struct xlx__image_use *use)
{
    const struct xlx__image_user *found = NULL;
    int i;

    for (i = 0; i < use->num; i++) {
        const struct xlx__image_user *u = &use->users[i];

        if (u->kind == XLX__USER_DISK && u->writes)
            return u;
        if ((u->kind == XLX__USER_PROCESS || u->kind == XLX__USER_LOCK) &&
            u->writes && !found)
            found = u;
    }
    return found;
}

static const struct xlx__image_user *
find_unknown(const struct xlx__image_use *use, bool about_open)
{
    int i;

    for (i = 0; i < use->num; i++)
        if (use->users[i].kind == XLX__USER_UNKNOWN &&
            use->users[i].about_open == about_open)
            return &use->users[i];
    return NULL;
}

static int fill_open(const struct xlx__image_use *use,
                     xlx_frozen_image *frozen)
{
    const struct xlx__image_user *u = find_writer(use);

    if (u) {
        frozen->frozen = true;
        frozen->reason = XLX_FROZEN_REASON_OPEN;
    } else {
        u = find_unknown(use, true);
    }
    return u ? xlx__set_string(&frozen->what, u->what) : 0;
}

static int fill(xlx_ctx *ctx, const struct xlx__image_use *use, bool readonly,
                xlx_frozen_image *frozen)
{
    const struct xlx__image_claim *now;
    const struct xlx__image_user *u;
    int rc;

    if (readonly)
        return fill_open(use, frozen);
    u = find_reason(use);
    if (u && u->kind == XLX__USER_CLAIM)
        return fill_claimed(ctx, u->claim, frozen);
    if (u) {
        frozen->frozen = true;
        frozen->reason = XLX_FROZEN_REASON_BASE;
        return xlx__set_string(&frozen->what, u->what);
    }
    u = find_unknown(use, false);
    if (u)
        return xlx__error(ERROR_FAIL, "%s: %s", use->image, u->what);
    now = find_current(use);
    rc = now ? fill_doubt(ctx, now, frozen) : 0;
    if (rc) return rc;
    return frozen->frozen ? xlx_guest_copy(ctx, &frozen->guest, &now->guest)
                          : fill_open(use, frozen);
}

/* ---- the calls ---------------------------------------------------------- */

static int ask(xlx_ctx *ctx, struct xlx__image_world *world, const char *path,
               bool readonly, xlx_frozen_image *frozen)
{
    struct xlx__image_use use = { .num = 0 };
    int rc;

    rc = xlx__set_string(&frozen->path, path);
    if (rc) return rc;
    rc = xlx__image_use(world, path, &use);
    if (rc) goto out;
    rc = fill(ctx, &use, readonly, frozen);

 out:
    xlx__image_use_dispose(&use);
    return rc;
}

int xlx__image_check(xlx_ctx *ctx, const char *path,
                     xlx_frozen_image *frozen)
{
    struct xlx__image_world *world = NULL;
    int rc;

    rc = xlx__snapshot_world(ctx, NULL, NULL, &world);
    if (rc) goto out;
    rc = ask(ctx, world, path, false, frozen);

 out:
    xlx__image_world_close(world);
    return rc;
}

int xlx__images_check(xlx_ctx *ctx, const xlx_disks *disks,
                      xlx_frozen_images *list)
{
    struct xlx__image_world *world = NULL;
    xlx_frozen_image *frozen;
    int i, rc;

    rc = xlx__snapshot_world(ctx, NULL, NULL, &world);
    for (i = 0; !rc && i < disks->num_disks; i++) {
        const xlx_disk *d = &disks->disks[i];

        frozen = xlx__frozen_images_images_append(list);
        if (!frozen)
            rc = ERROR_NOMEM;
        else if (!d->cdrom && *xlx__text(d->path))
            rc = ask(ctx, world, d->path, d->readonly, frozen);
    }
    xlx__image_world_close(world);
    return rc;
}

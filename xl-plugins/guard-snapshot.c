/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * No guest may write to the frozen layer of a snapshot: a config file still
 * names it after a snapshot was made, and one start from there destroys all
 * that came after.  Such a start is refused, with the command that goes on
 * from the present state.  Neither may it start on an image that another guest
 * or program writes to: Xen's QEMU takes no lock, and stock xl does not ask.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "guard.h"
#include "text.h"

/* The disks of a start, and what we know of their images. */
struct check {
    struct guard_start *start;
    const struct guest_config *config;
    xlx_frozen_images list;
    xlx_frozen_image *frozen;       /* its images, one for each disk */
    int first;                      /* the first disk that is frozen, rather
                                     * one that holds something; or -1 */
};

/* An image that is only open elsewhere is also frozen, but holds nothing. */
static bool holds(const xlx_frozen_image *f)
{
    return f->frozen && f->reason != XLX_FROZEN_REASON_OPEN;
}

/* The user of xl sets it to start guests on images that are open. */
#define FORCE_OPEN "LIBXLX_FORCE_OPEN"

/* A guest that was shut down a moment ago lets go of its images when its QEMU
 * has written all of them out. */
#define WAIT_OPEN_MS 3000
#define POLL_MS 200

/* ---- the command that goes on ------------------------------------------- */

/* The disk on the image that takes the writes now.  A backend that the config
 * names is kept, but blkback knows nothing of image formats. */
static char *current_spec(const libxl_device_disk *disk,
                          const xlx_frozen_image *frozen)
{
    bool raw = !strcmp(frozen->current_format, "raw");
    char *spec;

    spec = xl_format("format=%s,vdev=%s,access=rw", frozen->current_format,
                     disk->vdev);
    if (disk->backend != LIBXL_DISK_BACKEND_UNKNOWN &&
        (raw || disk->backend != LIBXL_DISK_BACKEND_PHY)) {
        spec = guard_append(spec, ",backendtype=");
        spec = guard_append(spec, libxl_disk_backend_to_string(disk->backend));
    }
    if (!libxl_defbool_is_default(disk->discard_enable))
        spec = guard_append(spec, libxl_defbool_val(disk->discard_enable)
                            ? ",discard" : ",no-discard");
    if (disk->direct_io_safe)
        spec = guard_append(spec, ",direct-io-safe");
    /* The target comes last: it may have commas. */
    spec = guard_append(spec, ",target=");
    return guard_append(spec, frozen->current_path);
}

/* As it was typed, and arguments that replace the disks and the UUID. */
static char *continuing_command(const struct check *c)
{
    char *command = xl_format("%s", c->start->as_typed), *line, *spec;
    const struct guest_config *g = c->config;
    int i;

    line = xl_format("disk=[");
    for (i = 0; i < g->num_disks; i++) {
        if (i)
            line = guard_append(line, ", ");
        spec = holds(&c->frozen[i]) ? current_spec(&g->disks[i], &c->frozen[i])
                                    : xl_format("%s", g->specs[i]);
        line = guard_append_string(line, spec);
        free(spec);
    }
    line = guard_append(line, "]");
    command = guard_append_word(command, line);
    free(line);
    if (!g->has_uuid) {
        line = xl_format("uuid=\"" LIBXL_UUID_FMT "\"",
                         LIBXL_UUID_BYTES(c->frozen[c->first].guest.uuid));
        command = guard_append_word(command, line);
        free(line);
    }
    return command;
}

/* ---- what to say -------------------------------------------------------- */

/* Is it the guest whose snapshots these are? */
static bool is_owner(const struct guest_config *g, const xlx_guest *owner)
{
    if (g->has_uuid)
        return !libxl_uuid_compare(&g->uuid, &owner->uuid);
    return g->name && owner->name && !strcmp(g->name, owner->name);
}

static bool all_of_owner(const struct check *c)
{
    int i;

    for (i = 0; i < c->config->num_disks; i++) {
        if (holds(&c->frozen[i]) && !is_owner(c->config, &c->frozen[i].guest))
            return false;
    }
    return true;
}

static bool all_have_current(const struct check *c)
{
    int i;

    for (i = 0; i < c->config->num_disks; i++) {
        if (holds(&c->frozen[i]) &&
            !(c->frozen[i].current_path && c->frozen[i].current_format))
            return false;
    }
    return true;
}

static const char *name_of(const xlx_guest *guest)
{
    return guest->name && *guest->name ? guest->name : "a guest with no name";
}

/* The record's domid may be long gone: ask. */
static uint32_t running_domid(struct check *c, const xlx_guest *owner)
{
    uint32_t domid = XLX_DOMID_NONE;
    xlx_guest found;
    char *uuid;

    xlx_guest_init(&found);
    uuid = xl_format(LIBXL_UUID_FMT, LIBXL_UUID_BYTES(owner->uuid));
    if (!xlx_guest_find(c->start->ctx, uuid, NULL, &found))
        domid = found.domid;
    xlx_guest_dispose(&found);
    free(uuid);
    return domid;
}

static void say_what(const struct check *c)
{
    const xlx_frozen_image *f;
    int i;

    for (i = 0; i < c->config->num_disks; i++) {
        f = &c->frozen[i];
        if (f->reason == XLX_FROZEN_REASON_UNSETTLED && i > c->first)
            continue;               /* the same command, or it is the next */
        if (f->frozen && !holds(f))
            xl_message("%s: \"%s\" is open for writing elsewhere: %s",
                       c->config->disks[i].vdev, f->path, f->what);
        else if (f->frozen && f->reason == XLX_FROZEN_REASON_MOVED)
            xl_message("%s: the disk of \"%s\" was moved from \"%s\" to"
                       " \"%s\", and what was written since is there alone",
                       c->config->disks[i].vdev, name_of(&f->guest), f->path,
                       f->current_path);
        else if (f->frozen && f->reason != XLX_FROZEN_REASON_SNAPSHOT)
            xl_message("%s: no guest may write to \"%s\": %s",
                       c->config->disks[i].vdev, f->path, f->what);
        else if (f->frozen)
            xl_message("%s: \"%s\" holds the snapshot \"%s\" of \"%s\"; to"
                       " write to it would destroy that snapshot and all"
                       " data written since", c->config->disks[i].vdev,
                       f->path, f->snapshot, name_of(&f->guest));
    }
}

/* Advises about images that are open elsewhere.  Is that all that is in the
 * way? */
static bool say_open(const struct check *c)
{
    bool any = false;
    int i;

    for (i = 0; i < c->config->num_disks; i++)
        any |= c->frozen[i].frozen && !holds(&c->frozen[i]);
    if (any)
        xl_message("two that write to one image destroy its content: end the "
                   "other one first; if the disk is shared on purpose, "
                   "set " FORCE_OPEN "=1 in the environment of xl");
    return !holds(&c->frozen[c->first]);
}

/* Nobody can say what is to be started while one of them is not settled; and
 * of an image that others are based on nobody knows what they are. */
static bool say_what_else(const struct check *c)
{
    const xlx_frozen_image *base = NULL, *f;
    int i;

    for (i = 0; i < c->config->num_disks; i++) {
        f = &c->frozen[i];
        if (f->reason == XLX_FROZEN_REASON_UNSETTLED)
            return true;            /* what to do is part of the message */
        if (f->reason == XLX_FROZEN_REASON_BASE && !base)
            base = f;
    }
    if (base)
        xl_message("to write to it would destroy what is in that image: start"
                   " the guest on that one, or remove it when nobody needs"
                   " it; or use \"%s\" instead of xl to start the guest"
                   " regardless", c->start->stock);
    return base;
}

/* Nothing is advised that would be refused.  A record that names an image both
 * as a snapshot and as what takes the writes is of a guest that another tool
 * has moved there. */
static bool say_what_next(const struct check *c, const xlx_frozen_image *f,
                          const char *vdev)
{
    xlx_frozen_image next;
    bool frozen;
    int rc;

    xlx_frozen_image_init(&next);
    rc = xlx_image_check(c->start->ctx, f->current_path, &next);
    frozen = rc || next.frozen;
    if (rc)
        xl_message("%s", xlx_error_get());
    else if (frozen && next.reason != XLX_FROZEN_REASON_SNAPSHOT)
        xl_message("%s: \"%s\" goes on in \"%s\", and no guest may write to"
                   " that: %s", vdev, name_of(&f->guest), f->current_path,
                   next.what);
    else if (frozen)
        xl_message("%s: \"%s\" was moved to \"%s\" by another tool, and the"
                   " content of the snapshot \"%s\" is gone with that: xl"
                   " snapshot-delete "LIBXL_UUID_FMT" '%s' forgets it, and the"
                   " guest can be started", vdev, name_of(&f->guest),
                   f->current_path, next.snapshot,
                   LIBXL_UUID_BYTES(next.guest.uuid), next.snapshot);
    xlx_frozen_image_dispose(&next);
    return frozen;
}

static bool say_all_next(const struct check *c)
{
    bool said = false;
    int i;

    for (i = 0; i < c->config->num_disks; i++)
        if (holds(&c->frozen[i]))
            said |= say_what_next(c, &c->frozen[i],
                                  c->config->disks[i].vdev);
    return said;
}

static void say_what_to_do(struct check *c)
{
    const xlx_frozen_image *f = &c->frozen[c->first];
    uint32_t domid;
    char *command;

    if (say_open(c) || say_what_else(c))
        return;
    domid = running_domid(c, &f->guest);
    if (domid != XLX_DOMID_NONE) {
        xl_message("\"%s\" is running, as domain %u", name_of(&f->guest),
                   domid);
    } else if (c->start->save_file) {
        xl_message("the memory in \"%s\" fits the disks only as they were"
                   " when it was saved: to start \"%s\" as it is now, use xl"
                   " create; to resume what was saved, its disks must first"
                   " be put back to that moment (xl snapshot-revert, if a"
                   " snapshot was made then) and named in a config: xl"
                   " restore CONFIG FILE", c->start->save_file,
                   name_of(&f->guest));
    } else if (!all_of_owner(c)) {
        xl_message("this guest is not \"%s\": give it an image of its own,"
                   " such as a copy made with qemu-img convert",
                   name_of(&f->guest));
    } else if (!all_have_current(c)) {
        xl_message("no image is known to go on from: see xl snapshot-list,"
                   " and xl snapshot-revert");
    } else if (!say_all_next(c)) {
        command = continuing_command(c);
        xl_message("to go on from the present state: %s", command);
        free(command);
    }
}

/* ---- the question ------------------------------------------------------- */

/* The disks as the library wants them; false when memory is short. */
static bool take_disks(const struct guest_config *g, xlx_disks *disks)
{
    int i;

    disks->disks = calloc((size_t)g->num_disks + 1, sizeof(*disks->disks));
    if (!disks->disks)
        return false;
    for (i = 0; i < g->num_disks; i++) {
        const libxl_device_disk *from = &g->disks[i];
        xlx_disk *d = &disks->disks[disks->num_disks++];

        xlx_disk_init(d);
        d->cdrom = from->is_cdrom;
        d->readonly = !from->readwrite;
        /* Another domain's paths are not ours to look at. */
        if (!from->pdev_path || from->backend_domname || from->backend_domid)
            continue;
        d->path = xl_format("%s", from->pdev_path);
    }
    return true;
}

/* A dry run starts nothing: people try the config of a guest that runs. */
static bool may_be_open(const struct check *c)
{
    const char *force = secure_getenv(FORCE_OPEN);

    return c->start->only_shows || (force && !strcmp(force, "1"));
}

/* Sets first; an image that may be open is not frozen. */
static void sort_out(struct check *c)
{
    int i;

    c->first = -1;
    for (i = 0; i < c->list.num_images; i++) {
        xlx_frozen_image *f = &c->frozen[i];

        /* another guest may use it */
        if (f->reason == XLX_FROZEN_REASON_MOVED &&
            !is_owner(c->config, &f->guest))
            f->frozen = false;
        if (f->frozen && !holds(f) && may_be_open(c))
            f->frozen = false;
        if (f->frozen && (c->first < 0 || (holds(f) &&
                                           !holds(&c->frozen[c->first]))))
            c->first = i;
    }
}

/* A library's error code. */
static int ask(struct check *c, const xlx_disks *disks)
{
    const struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };
    int waited, rc;

    for (waited = 0; ; waited += POLL_MS) {
        xlx_frozen_images_dispose(&c->list);
        xlx_frozen_images_init(&c->list);
        rc = xlx_images_check(c->start->ctx, disks, &c->list);
        c->frozen = c->list.images;
        if (rc) return rc;
        sort_out(c);
        if (c->first < 0 || holds(&c->frozen[c->first]) ||
            waited >= WAIT_OPEN_MS)
            return 0;
        nanosleep(&pause, NULL);
    }
}

/* Nobody knows who has the images open: that stops no start, because stock xl
 * would not have asked either, but it is a warning. */
static void say_unknown(const struct check *c)
{
    int i;

    for (i = 0; i < c->list.num_images; i++)
        if (c->frozen[i].reason == XLX_FROZEN_REASON_NONE &&
            c->frozen[i].what && *c->frozen[i].what) {
            xl_message("warning: it is not known whether another guest or"
                       " program writes to the disks of this guest: %s",
                       c->frozen[i].what);
            return;
        }
}

/* Until they have their images open, two starts would not see each other. */
static int hold_images(struct check *c, const xlx_disks *disks)
{
    const struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };
    int64_t fd = -1;
    int waited, rc;

    if (may_be_open(c))
        return 0;
    for (waited = 0; ; waited += POLL_MS) {
        rc = xlx_images_hold(c->start->ctx, disks, &fd);
        if (rc != ERROR_LOCK_FAIL || waited >= WAIT_OPEN_MS)
            break;
        nanosleep(&pause, NULL);
    }
    if (!rc)
        c->start->starting = (int)fd;
    else if (rc == ERROR_LOCK_FAIL)
        xl_message("%s", xlx_error_get());
    else
        xl_message("warning: nothing keeps another start from the disks of"
                   " this guest: %s", xlx_error_get());
    return rc == ERROR_LOCK_FAIL;
}

bool guard_snapshot_open(struct guard_start *s)
{
    xlx_frozen_images list;
    bool open = false;
    xlx_disks disks;
    int i;

    xlx_disks_init(&disks);
    xlx_frozen_images_init(&list);
    guard_ctx(s);
    if (!take_disks(&s->config, &disks))
        xl_no_memory();
    if (!xlx_images_check(s->ctx, &disks, &list))
        for (i = 0; i < list.num_images; i++)
            open |= list.images[i].reason == XLX_FROZEN_REASON_OPEN;
    xlx_frozen_images_dispose(&list);
    xlx_disks_dispose(&disks);
    return open;
}

/* Exit status. */
static int refuse_when_frozen(struct check *c)
{
    xlx_disks disks;
    int rc;

    xlx_disks_init(&disks);
    if (!take_disks(c->config, &disks))
        xl_no_memory();
    if (hold_images(c, &disks)) {
        xlx_disks_dispose(&disks);
        return 1;
    }
    rc = ask(c, &disks);
    xlx_disks_dispose(&disks);
    if (rc) {
        xl_message("%s", xlx_error_get());
        xl_message("so nobody knows whether an image of this guest holds a"
                   " snapshot: see xl snapshot-repair, or use \"%s\" instead"
                   " of xl to start the guest regardless", c->start->stock);
        return 1;
    }
    if (c->first < 0) {
        say_unknown(c);
        return 0;
    }
    say_what(c);
    say_what_to_do(c);
    return 1;
}

static int check_start(struct guard_start *s)
{
    struct check c = { .start = s, .config = &s->config, .first = -1 };
    int status;

    xlx_frozen_images_init(&c.list);
    status = refuse_when_frozen(&c);
    xlx_frozen_images_dispose(&c.list);
    return status;
}

/* Stock xl inherits the descriptor, and so nothing of ours changes the guest
 * until it has ended, also when it or we are killed. */
static int check_leave(struct guard_start *s)
{
    xlx_guest guest;
    int64_t fd = -1;
    int rc;

    if (s->copying)                 /* it has the lock itself */
        return 0;
    xlx_guest_init(&guest);
    /* who cannot be found stock xl will not find either */
    rc = xlx_guest_find(s->ctx, s->leaving, NULL, &guest);
    if (!rc && guest.domid != XLX_DOMID_NONE)
        rc = xlx_snapshot_hold(s->ctx, &guest, &fd);
    else
        rc = 0;
    xlx_guest_dispose(&guest);
    if (!rc && fd >= 0 && !fcntl((int)fd, F_SETFD, 0))
        s->hold = (int)fd;
    if (!rc)
        return 0;
    xl_message("%s", xlx_error_get());
    if (rc != ERROR_LOCK_FAIL)
        xl_message("so its disks may change while it leaves, which destroys"
                   " data; \"%s\" does not ask", s->stock);
    return 1;
}

const struct guard_concept guard_snapshot = {
    .check = check_start, .leave = check_leave,
};

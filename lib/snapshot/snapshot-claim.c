/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The records and journals of all guests as claims on images, for the question
 * in image-use.h.  A record that cannot be read is an unknown for every image:
 * it may name any.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/store.h"
#include "disk/image-use.h"
#include "disk/image.h"
#include "snapshot/snapshot.h"

/* Whose claims are being made, and what continues which disk. */
struct source {
    struct xlx__image_world *world;
    const xlx_guest *guest;
    const xlx_snapshots *record;
    const xlx_snapshot_journal *journal;    /* NULL: it is the record */
    bool own;
};

static int claim(xlx_ctx *ctx, const struct source *s,
                 enum xlx__image_role role, const char *image,
                 const char *format, const char *snapshot, const char *vdev)
{
    struct xlx__image_claim c = { .role = role, .own = s->own };
    const xlx_snapshot_disk *now =
        vdev ? xlx__snapshot_current_disk(s->record, vdev) : NULL;
    int rc;

    if (!image || !*image)
        return 0;
    c.journal = s->journal != NULL;
    c.completing = c.journal && s->journal->merge_completing;
    xlx_guest_init(&c.guest);
    rc = xlx_guest_copy(ctx, &c.guest, s->guest);
    if (!rc)
        rc = xlx__set_string(&c.image, image);
    if (!rc && format && *format)
        rc = xlx__set_string(&c.format, format);
    if (!rc && snapshot)
        rc = xlx__set_string(&c.snapshot, snapshot);
    if (!rc && vdev)
        rc = xlx__set_string(&c.vdev, vdev);
    if (!rc && now && *xlx__text(now->image)) {
        rc = xlx__set_string(&c.current_path, now->image);
        if (!rc)
            rc = xlx__set_string(&c.current_format, xlx__text(now->format));
    }
    if (rc) {
        free(c.image);
        c.image = NULL;             /* taken over, and refused */
        xlx__image_world_claim(s->world, &c);
        return rc;
    }
    return xlx__image_world_claim(s->world, &c);
}

static int claim_record(xlx_ctx *ctx, const struct source *s)
{
    const xlx_snapshots *r = s->record;
    int i, j, rc = 0;

    for (i = 0; !rc && i < r->num_disks; i++)
        rc = claim(ctx, s, XLX__ROLE_CURRENT, r->disks[i].image,
                   r->disks[i].format, NULL, r->disks[i].vdev);
    for (i = 0; !rc && i < r->num_leftover; i++)
        rc = claim(ctx, s, XLX__ROLE_OLD, r->leftover[i].image, NULL, NULL,
                   NULL);
    for (i = 0; !rc && i < r->num_moved; i++)
        rc = claim(ctx, s, XLX__ROLE_MOVED, r->moved[i].image,
                   r->moved[i].format, NULL, r->moved[i].vdev);
    for (i = 0; i < r->num_snapshots; i++)
        for (j = 0; !rc && j < r->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &r->snapshots[i].disks[j];

            rc = claim(ctx, s, *xlx__text(d->tag) ? XLX__ROLE_TAGGED
                                                  : XLX__ROLE_FROZEN,
                       d->image, d->format, xlx__text(r->snapshots[i].name),
                       d->vdev);
        }
    return rc;
}

static int claim_journal(xlx_ctx *ctx, const struct source *s)
{
    const xlx_snapshot_journal *j = s->journal;
    int i, rc;

    rc = claim_record(ctx, s);
    for (i = 0; !rc && i < j->num_new_files; i++)
        rc = claim(ctx, s, XLX__ROLE_NEW, j->new_files[i], NULL, NULL, NULL);
    for (i = 0; !rc && i < j->num_old_files; i++)
        rc = claim(ctx, s, XLX__ROLE_OLD, j->old_files[i], NULL, NULL, NULL);
    if (rc) return rc;
    rc = claim(ctx, s, XLX__ROLE_MERGE_TOP, j->merge_top, NULL, NULL,
               j->merge_vdev);
    if (rc) return rc;
    return claim(ctx, s, XLX__ROLE_MERGE_BASE, j->merge_base, NULL, NULL,
                 j->merge_vdev);
}

static int claims_of(xlx_ctx *ctx, struct source *s)
{
    xlx_snapshot_journal journal;
    xlx_snapshots record;
    int rc;

    xlx_snapshots_init(&record);
    xlx_snapshot_journal_init(&journal);
    s->record = &record;
    rc = xlx__snapshot_record_read(ctx, s->guest, &record);
    if (!rc)
        rc = claim_record(ctx, s);
    if (!rc) {
        rc = xlx__snapshot_journal_read(ctx, s->guest, &journal);
        if (rc == ERROR_NOTFOUND) {
            xlx__error_clear();
            rc = 0;
        } else if (!rc) {
            s->record = &journal.after;
            s->journal = &journal;
            rc = claim_journal(ctx, s);
        }
    }
    if (rc && rc != ERROR_NOMEM) {
        rc = xlx__image_world_unknown(s->world, xlx_error_get());
        if (!rc)
            xlx__error_clear();
    }
    xlx_snapshots_dispose(&record);
    xlx_snapshot_journal_dispose(&journal);
    return rc;
}

/* The name is for messages only, and may not be known. */
static int name_guests(xlx_ctx *ctx, const libxl_uuid *uuids, int num,
                       xlx_guest *guests)
{
    xlx_guests known;
    int i, j, rc;

    xlx_guests_init(&known);
    rc = xlx__guest_list(ctx, &known);
    if (rc && rc != ERROR_NOMEM) {
        xlx__error_clear();
        rc = 0;
    }
    for (i = 0; !rc && i < num; i++) {
        libxl_uuid_copy(NULL, &guests[i].uuid, &uuids[i]);
        for (j = 0; !rc && j < known.num_guests; j++)
            if (!libxl_uuid_compare(&known.guests[j].uuid, &uuids[i]))
                rc = xlx__set_string(&guests[i].name,
                                     known.guests[j].name);
    }
    xlx_guests_dispose(&known);
    return rc;
}

static int claim_all(xlx_ctx *ctx, const xlx_guest *self,
                     struct xlx__image_world *world)
{
    libxl_uuid *uuids = NULL;
    xlx_guest *guests;
    int i, num = 0, rc;

    rc = xlx__store_guests(ctx, &uuids, &num);
    if (rc) return rc;
    guests = calloc(num + 1, sizeof(*guests));
    if (!guests) {
        free(uuids);
        return xlx__nomem();
    }
    for (i = 0; i < num; i++)
        xlx_guest_init(&guests[i]);
    rc = name_guests(ctx, uuids, num, guests);
    for (i = 0; !rc && i < num; i++) {
        struct source s = { .world = world, .guest = &guests[i] };

        s.own = self && !libxl_uuid_compare(&self->uuid, &uuids[i]);
        rc = claims_of(ctx, &s);
    }
    for (i = 0; i < num; i++)
        xlx_guest_dispose(&guests[i]);
    free(guests);
    free(uuids);
    return rc;
}

int xlx__snapshot_world(xlx_ctx *ctx, const xlx_guest *self,
                        struct xlx__qmp *qmp,
                        struct xlx__image_world **world_r)
{
    struct xlx__image_world *world;
    int rc;

    rc = xlx__image_world_open(ctx, self, qmp, &world);
    if (rc) return rc;
    rc = claim_all(ctx, self, world);
    if (rc) {
        xlx__image_world_close(world);
        return rc;
    }
    *world_r = world;
    return 0;
}

int xlx__snapshot_world_of(struct xlx__snapshot_change *c,
                           struct xlx__image_world **world_r)
{
    int rc;

    rc = xlx__snapshot_connect(c);
    if (rc) return rc;
    return xlx__snapshot_world(c->ctx, c->guest, c->qmp, world_r);
}

int xlx__snapshot_check_chain(const struct xlx__snapshot_change *c,
                              const xlx_snapshot_disk *d)
{
    char *missing = NULL;
    int rc;

    if (c->served)
        return 0;
    rc = xlx__image_missing(d->image, xlx__text(d->format), &missing);
    if (!rc && missing && !strcmp(missing, d->image))
        rc = xlx__error(ERROR_NOTFOUND, "%s: %s is not there: bring it back "
                        "first", d->vdev, missing);
    else if (!rc && missing)
        rc = xlx__error(ERROR_NOTFOUND, "%s: %s is based on %s, which is not "
                        "there: bring it back first", d->vdev, d->image,
                        missing);
    free(missing);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whose records are they?  They are kept by UUID, but xl gives a guest whose
 * config file names no uuid a new one at each start, so that the records are
 * found by the disks that they name.
 */
#include <stdlib.h>
#include <string.h>

#include "core/file-id.h"
#include "core/store.h"
#include "gen-calls.h"
#include "guest/guest.h"
#include "guest/record.h"

static bool names_disk(const xlx_snapshots *record, const char *image)
{
    int i, j;

    for (i = 0; i < record->num_disks; i++)
        if (xlx__file_same(record->disks[i].image, image))
            return true;
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++)
            if (xlx__file_same(record->snapshots[i].disks[j].image, image))
                return true;
    for (i = 0; i < record->num_leftover; i++)
        if (xlx__file_same(record->leftover[i].image, image) ||
            xlx__file_same(xlx__text(record->leftover[i].backing), image))
            return true;
    return false;
}

static bool has_disk(const libxl_device_disk *disks, int num,
                     const xlx_snapshots *record)
{
    int i;

    for (i = 0; i < num; i++)
        if (names_disk(record, disks[i].pdev_path))
            return true;
    return false;
}

/* The record of snapshots, or what a journal has instead when a command was
 * cut short: ERROR_NOTFOUND when there is none of that name. */
static int read_images(xlx_ctx *ctx, const libxl_uuid *uuid, bool journal,
                       xlx_snapshots *record)
{
    struct xlx__json_doc *doc = NULL;
    xlx_snapshot_journal j;
    int rc;

    xlx_snapshot_journal_init(&j);
    rc = xlx__record_read(ctx, uuid, journal ? &xlx__record_snapshot_journal
                                             : &xlx__record_snapshots, &doc);
    if (rc) goto out;
    if (!doc) {
        rc = xlx__error(ERROR_NOTFOUND, "no record");
        goto out;
    }
    if (!journal) {
        rc = xlx__snapshots_parse(xlx__json_root(doc), record);
        goto out;
    }
    rc = xlx__snapshot_journal_parse(xlx__json_root(doc), &j);
    if (rc) goto out;
    rc = xlx_snapshots_copy(ctx, record, &j.after);

 out:
    xlx__json_free(doc);
    xlx_snapshot_journal_dispose(&j);
    return rc;
}

int xlx__guest_records_name(xlx_ctx *ctx, const libxl_uuid *uuid,
                            const libxl_device_disk *disks, int num,
                            bool *any_r, bool *yes_r)
{
    xlx_snapshots record;
    int i, rc = 0;

    *any_r = *yes_r = false;
    for (i = 0; !rc && !*yes_r && i < 2; i++) {
        xlx_snapshots_init(&record);
        rc = read_images(ctx, uuid, i == 1, &record);
        if (!rc) {
            *any_r = true;
            *yes_r = has_disk(disks, num, &record);
        } else rc = xlx__forgive(rc, ERROR_NOTFOUND);
        xlx_snapshots_dispose(&record);
    }
    return rc;
}

/* Records under another UUID are this guest's when they have its name, no
 * running domain has that UUID, and one of the disks is the same file. */
static int adopt(xlx_ctx *ctx, const xlx_guest *guest,
                 const libxl_device_disk *disks, int num)
{
    xlx_guests known;
    xlx_guest other;
    bool any, same;
    int i, rc;

    xlx_guests_init(&known);
    xlx_guest_init(&other);
    rc = xlx__guest_records(ctx, &known);
    if (rc) goto out;
    for (i = 0; i < known.num_guests; i++)
        if (!libxl_uuid_compare(&known.guests[i].uuid, &guest->uuid))
            goto out;
    for (i = 0; i < known.num_guests; i++) {
        const xlx_guest *old = &known.guests[i];

        if (!guest->name || !old->name || strcmp(old->name, guest->name))
            continue;
        if (xlx__guest_domain(ctx, NULL, &old->uuid, &other) == 0)
            continue;
        rc = xlx__guest_records_name(ctx, &old->uuid, disks, num, &any, &same);
        if (rc) goto out;
        if (same) {
            rc = xlx__store_adopt(ctx, &old->uuid, &guest->uuid);
            goto out;
        }
    }
    rc = 0;

 out:
    xlx_guest_dispose(&other);
    xlx_guests_dispose(&known);
    return rc;
}

int xlx__guest_adopt(xlx_ctx *ctx, const xlx_guest *guest)
{
    libxl_device_disk *disks;
    libxl_ctx *xl;
    int num, rc;

    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc) return rc;
    disks = libxl_device_disk_list(xl, guest->domid, &num);
    if (!disks)
        return 0;
    rc = adopt(ctx, guest, disks, num);
    libxl_device_disk_list_free(disks, num);
    return rc;
}

int xlx__guest_by_disks(xlx_ctx *ctx, const libxl_device_disk *disks, int num,
                        xlx_guest *guest)
{
    const xlx_guest *found = NULL;
    xlx_guests known;
    bool any, same;
    int i, rc;

    xlx_guests_init(&known);
    rc = xlx__guest_records(ctx, &known);
    for (i = 0; !rc && i < known.num_guests; i++) {
        const xlx_guest *g = &known.guests[i];

        if (!g->name || strcmp(g->name, guest->name))
            continue;
        rc = xlx__guest_records_name(ctx, &g->uuid, disks, num, &any, &same);
        if (!rc && (same || (!any && !found)))
            found = g;
        if (same)
            break;
    }
    if (!rc && found)
        libxl_uuid_copy(NULL, &guest->uuid, &found->uuid);
    else if (!rc)
        libxl_uuid_generate(&guest->uuid);
    xlx_guests_dispose(&known);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whose records are they?  They are kept by UUID, but xl gives a guest whose
 * config file names no uuid a new one at each start, so that the records are
 * found by the disks that they name.
 */
#include <stdlib.h>
#include <string.h>

#include <libxl_utils.h>

#include "core/file-id.h"
#include "core/store.h"
#include "gen-records.h"
#include "guest/guest.h"

int xlx__guest_record_disks(xlx_ctx *ctx, uint32_t domid,
                            xlx_guest_record *record)
{
    libxl_device_disk *disks;
    libxl_ctx *xl;
    int i, num, rc = 0;
    char **path;

    if (xlx__ctx_libxl(ctx, &xl)) {
        xlx__error_clear();
        return 0;
    }
    for (i = 0; i < record->num_disks; i++)
        free(record->disks[i]);
    free(record->disks);
    record->disks = NULL;
    record->num_disks = 0;
    disks = libxl_device_disk_list(xl, domid, &num);
    for (i = 0; disks && !rc && i < num; i++) {
        if (!disks[i].pdev_path || *disks[i].pdev_path != '/')
            continue;
        path = reallocarray(record->disks, (size_t)record->num_disks + 1,
                            sizeof(*path));
        if (!path) {
            rc = xlx__nomem();
            break;
        }
        record->disks = path;
        record->disks[record->num_disks] = NULL;
        rc = xlx__set_string(&record->disks[record->num_disks++],
                             disks[i].pdev_path);
    }
    if (disks)
        libxl_device_disk_list_free(disks, num);
    return rc;
}

/* Asks the record that each guest has, whatever else is kept of it.  One of an
 * older version, or of a guest without disks, names none. */
static int guest_record_names(xlx_ctx *ctx, const libxl_uuid *uuid,
                              const libxl_device_disk *disks, int num,
                              bool *any_r, bool *yes_r)
{
    xlx_guest_record record;
    int i, j, rc;

    xlx_guest_record_init(&record);
    rc = xlx__guest_record_load(ctx, uuid, &record, NULL);
    for (i = 0; !rc && i < record.num_disks; i++) {
        *any_r = true;
        for (j = 0; j < num; j++)
            if (xlx__file_same(record.disks[i], disks[j].pdev_path))
                *yes_r = true;
    }
    xlx_guest_record_dispose(&record);
    return rc;
}

int xlx__guest_records_name(xlx_ctx *ctx, const libxl_uuid *uuid,
                            const libxl_device_disk *disks, int num,
                            bool *any_r, bool *yes_r)
{
    int i, rc = 0;

    *any_r = *yes_r = false;
    for (i = 0; !rc && !*yes_r && i < XLX__RECORD_KINDS; i++)
        if (xlx__record_kinds[i].names_image)
            rc = xlx__record_kinds[i].names_image(ctx, uuid, disks, num,
                                                  any_r, yes_r);
    if (!rc && !*yes_r)
        rc = guest_record_names(ctx, uuid, disks, num, any_r, yes_r);
    return rc;
}

/* Records under another UUID are this guest's when they have its name, no
 * running domain has that UUID, and one of the disks is the same file.  Guests
 * that had and have no disk are told apart by the name alone. */
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
        if (same || (!any && !num)) {
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
    num = 0;
    disks = libxl_device_disk_list(xl, guest->domid, &num);
    rc = adopt(ctx, guest, disks, num);
    if (disks)
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

/* Has one of another UUID its name, and none its UUID? */
static bool may_be_known(const xlx_guests *known, const xlx_guest *guest)
{
    bool named = false;
    int i;

    for (i = 0; i < known->num_guests; i++) {
        if (!libxl_uuid_compare(&known->guests[i].uuid, &guest->uuid))
            return false;
        if (!strcmp(xlx__text(known->guests[i].name),
                    xlx__text(guest->name)))
            named = true;
    }
    return named;
}

static int adopt_domain(xlx_ctx *ctx, libxl_ctx *xl, const libxl_dominfo *info,
                        const xlx_guests *known)
{
    xlx_guest guest;
    int rc = 0;

    xlx_guest_init(&guest);
    guest.domid = info->domid;
    guest.uuid = info->uuid;
    guest.name = libxl_domid_to_name(xl, info->domid);
    if (may_be_known(known, &guest))
        rc = xlx__guest_adopt(ctx, &guest);
    xlx_guest_dispose(&guest);
    return rc;
}

int xlx__guest_adopt_running(xlx_ctx *ctx)
{
    libxl_dominfo *list = NULL;
    xlx_guests known;
    int i, rc, num = 0;
    libxl_ctx *xl;

    xlx_guests_init(&known);
    rc = xlx__guest_records(ctx, &known);
    if (rc || !known.num_guests) goto out;
    if (xlx__ctx_libxl(ctx, &xl)) {
        xlx__error_clear();             /* no domain runs without Xen */
        goto out;
    }
    list = libxl_list_domain(xl, &num);
    for (i = 0; !rc && i < num; i++)
        if (list[i].domid && !list[i].dying)
            rc = adopt_domain(ctx, xl, &list[i], &known);
    if (list)
        libxl_dominfo_list_free(list, num);

 out:
    xlx_guests_dispose(&known);
    return rc;
}

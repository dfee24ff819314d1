/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The record of a guest's SCSI devices.  An entry is written before the first
 * step of its attachment, which reserves the device, and dropped after the
 * last step of its detachment; in between its status says which way it was
 * going.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/record.h"
#include "hostdev/hostdev.h"
#include "scsi/scsi.h"

int xlx__scsi_record_write(struct xlx__scsi_change *c)
{
    return c->record.num_entries
        ? xlx__scsi_record_save(c->ctx, &c->guest, &c->record)
        : xlx__scsi_record_remove(c->ctx, &c->guest);
}

/* ---- which domain ------------------------------------------------------- */

/* One that was left halfway is to be attached again: nothing of it is left. */
static void forget_domain(xlx_scsi_entry *e)
{
    if (e->domid != XLX_DOMID_NONE && e->status == XLX_SCSI_STATUS_ASIDE)
        e->status = XLX_SCSI_STATUS_ATTACHED;
    e->domid = XLX_DOMID_NONE;
}

int xlx__scsi_record_read(xlx_ctx *ctx, const libxl_uuid *uuid,
                          const char *boot, xlx_scsi_record *record)
{
    xlx_scsi_entry *e;
    int i, rc;

    rc = xlx__scsi_record_load(ctx, uuid, record, NULL);
    if (rc) return rc;
    for (i = 0; i < record->num_entries; i++) {
        e = &record->entries[i];
        if (*xlx__text(e->boot) && xlx__hostdev_is_earlier(e->boot, boot))
            forget_domain(e);
    }
    return 0;
}

/* Numbers of domains are used again, and then are another guest's. */
static int check_domains(struct xlx__scsi_change *c)
{
    uint32_t domid, asked = c->guest.domid, is = asked;
    xlx_scsi_entry *e, *end;
    int rc;

    end = c->record.entries + c->record.num_entries;
    for (e = c->record.entries; e < end; e++) {
        domid = e->domid;
        if (domid == XLX_DOMID_NONE)
            continue;
        if (domid != asked) {
            asked = is = domid;
            rc = xlx__hostdev_check_domain(c->ctx, &c->guest.uuid, &is);
            if (rc) return rc;
        }
        if (is == XLX_DOMID_NONE)
            forget_domain(e);
    }
    return 0;
}

int xlx__scsi_entry_is_on(struct xlx__scsi_change *c, xlx_scsi_entry *e,
                          uint32_t domid)
{
    e->domid = domid;
    return xlx__set_string(&e->boot, c->boot);
}

int xlx__scsi_note_boot(struct xlx__scsi_change *c)
{
    xlx_scsi_entry *e, *end = c->record.entries + c->record.num_entries;
    bool changed = false;
    int rc;

    if (c->guest.domid == XLX_DOMID_NONE)
        return 0;
    for (e = c->record.entries; e < end; e++) {
        if (!xlx__hostdev_is_earlier(e->boot, c->boot))
            continue;
        rc = xlx__set_string(&e->boot, c->boot);
        if (rc) return rc;
        changed = true;
    }
    return changed ? xlx__scsi_record_write(c) : 0;
}

/* ---- one change --------------------------------------------------------- */

int xlx__scsi_open(xlx_ctx *ctx, const xlx_guest *guest,
                   struct xlx__scsi_change *c)
{
    int rc;

    memset(c, 0, sizeof(*c));
    c->ctx = ctx;
    c->lock.fd = -1;
    xlx_guest_init(&c->guest);
    xlx_scsi_record_init(&c->record);

    rc = xlx__record_lock(ctx, guest, &c->lock, &c->guest);
    if (rc) return rc;
    rc = xlx__hostdev_boot(&c->boot);
    if (rc) return rc;
    rc = xlx__scsi_record_read(ctx, &c->guest.uuid, c->boot, &c->record);
    return rc ? rc : check_domains(c);
}

void xlx__scsi_end(struct xlx__scsi_change *c)
{
    xlx__unlock(&c->lock);
    if (c->vbds)
        xlx__vbds_dispose(c->vbds);
    free(c->vbds);
    free(c->boot);
    xlx_scsi_record_dispose(&c->record);
    xlx_guest_dispose(&c->guest);
}

/* ---- entries ------------------------------------------------------------ */

xlx_scsi_entry *xlx__scsi_entry(const xlx_scsi_record *record,
                                const char *vdev)
{
    int i;

    for (i = 0; i < record->num_entries; i++)
        if (!strcmp(xlx__text(record->entries[i].dev.vdev), vdev))
            return &record->entries[i];
    return NULL;
}

int xlx__scsi_entry_append(struct xlx__scsi_change *c,
                           const xlx_scsi_entry *entry)
{
    xlx_scsi_entry *e = xlx__scsi_record_entries_append(&c->record);

    return e ? xlx_scsi_entry_copy(c->ctx, e, entry) : ERROR_NOMEM;
}

void xlx__scsi_entry_drop(struct xlx__scsi_change *c, const char *vdev)
{
    xlx_scsi_entry *e = xlx__scsi_entry(&c->record, vdev);
    xlx_scsi_entry *end = c->record.entries + c->record.num_entries;

    if (!e)
        return;
    xlx_scsi_entry_dispose(e);
    memmove(e, e + 1, (size_t)(end - e - 1) * sizeof(*e));
    c->record.num_entries--;
}

bool xlx__scsi_is_aside(const xlx_scsi_entry *entry)
{
    return entry->status == XLX_SCSI_STATUS_ASIDE &&
           entry->domid == XLX_DOMID_NONE;
}

/* ---- who has a device --------------------------------------------------- */

static bool has_identity(const xlx_scsi_entry *e, const char *identity)
{
    return !strcmp(xlx__text(e->identity), identity);
}

static bool has_backstore(const xlx_scsi_entry *e, const char *backstore)
{
    return !strcmp(xlx__text(e->backstore), backstore);
}

/* An entry that is looked for, and where it is to be copied to. */
struct search {
    bool (*matches)(const xlx_scsi_entry *e, const char *what);
    const char *what;
    xlx_scsi_entry *entry;
    xlx_guest *guest;
};

static int search_record(xlx_ctx *ctx, const xlx_guest *guest, void *user)
{
    const struct search *s = user;
    const xlx_scsi_entry *e = NULL;
    xlx_scsi_record record;
    int i, rc;

    xlx_scsi_record_init(&record);
    rc = xlx__scsi_record_load(ctx, &guest->uuid, &record, NULL);
    if (rc) goto out;
    for (i = 0; !e && i < record.num_entries; i++)
        if (s->matches(&record.entries[i], s->what))
            e = &record.entries[i];
    rc = e ? xlx_scsi_entry_copy(ctx, s->entry, e) : ERROR_NOTFOUND;
    if (rc) goto out;
    rc = xlx_guest_copy(ctx, s->guest, guest);

 out:
    xlx_scsi_record_dispose(&record);
    return rc;
}

int xlx__scsi_owner(xlx_ctx *ctx, const char *identity,
                    xlx_scsi_entry *entry_r, xlx_guest *guest_r)
{
    struct search s = { has_identity, identity, entry_r, guest_r };

    return xlx__hostdev_search(ctx, NULL, search_record, &s);
}

int xlx__scsi_backstore_owner(xlx_ctx *ctx, const char *backstore,
                              xlx_scsi_entry *entry_r, xlx_guest *guest_r)
{
    struct search s = { has_backstore, backstore, entry_r, guest_r };

    return xlx__hostdev_search(ctx, NULL, search_record, &s);
}

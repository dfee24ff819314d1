/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is kept of a guest's SCSI devices.  An entry is written before the
 * first step of its attachment, which reserves the device, and dropped after
 * the last step of its detachment; in between its status says which way it
 * was going.
 */
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "scsi.h"
#include "store.h"

#define RECORD "scsi.json"
#define RECORD_VERSION 1
#define LOCK_MS 5000

int xlx__scsi_record_read(xlx_ctx *ctx, const libxl_uuid *uuid,
                          xlx_vscsi_record *record)
{
    struct xlx__json_doc *doc = NULL;
    int rc;

    rc = xlx__store_read(ctx, uuid, RECORD, RECORD_VERSION, &doc);
    if (rc == ERROR_NOTFOUND) {
        xlx__error_clear();
        return 0;
    }
    if (rc) return rc;
    rc = xlx__vscsi_record_parse(xlx__json_root(doc), record);
    xlx__json_free(doc);
    return rc;
}

int xlx__scsi_record_write(struct xlx__scsi_change *c)
{
    struct xlx__json_out *out;
    char *text = NULL;
    size_t len;
    int rc;

    if (!c->record.num_entries) {
        rc = xlx__store_remove(c->ctx, &c->guest.uuid, RECORD);
        return rc ? rc : xlx__guest_forget(c->ctx, &c->guest);
    }
    /* the name first: a record that no name leads to would be lost */
    rc = xlx__guest_remember(c->ctx, &c->guest);
    if (rc) return rc;
    out = xlx__json_out_new(true);
    xlx__vscsi_record_gen(out, &c->record);
    rc = xlx__json_out_finish(out, &text, &len);
    if (rc) return rc;
    rc = xlx__store_write(c->ctx, &c->guest.uuid, RECORD, text, len);
    free(text);
    return rc;
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
    xlx_vscsi_record_init(&c->record);

    rc = xlx_guest_copy(ctx, &c->guest, guest);
    if (rc) return rc;
    /* its watcher may be looking */
    rc = xlx__lock_guest_until(ctx, &guest->uuid, xlx__now_ms() + LOCK_MS,
                               &c->lock);
    if (rc) return rc;
    rc = xlx__guest_refresh(ctx, &c->guest);
    if (rc) return rc;
    return xlx__scsi_record_read(ctx, &c->guest.uuid, &c->record);
}

void xlx__scsi_end(struct xlx__scsi_change *c)
{
    xlx__unlock(&c->lock);
    xlx_vscsi_record_dispose(&c->record);
    xlx_guest_dispose(&c->guest);
}

/* ---- entries ------------------------------------------------------------ */

xlx_vscsi_entry *xlx__scsi_entry(const xlx_vscsi_record *record,
                                 const char *vdev)
{
    int i;

    for (i = 0; i < record->num_entries; i++)
        if (!strcmp(xlx__text(record->entries[i].dev.vdev), vdev))
            return &record->entries[i];
    return NULL;
}

int xlx__scsi_entry_append(struct xlx__scsi_change *c,
                           const xlx_vscsi_entry *entry)
{
    xlx_vscsi_record *record = &c->record;
    xlx_vscsi_entry *more;

    more = realloc(record->entries,
                   (size_t)(record->num_entries + 1) * sizeof(*more));
    if (!more)
        return xlx__error(ERROR_NOMEM, "out of memory");
    record->entries = more;
    more += record->num_entries++;
    xlx_vscsi_entry_init(more);
    return xlx_vscsi_entry_copy(c->ctx, more, entry);
}

void xlx__scsi_entry_drop(struct xlx__scsi_change *c, const char *vdev)
{
    xlx_vscsi_entry *e = xlx__scsi_entry(&c->record, vdev);
    xlx_vscsi_entry *end = c->record.entries + c->record.num_entries;

    if (!e)
        return;
    xlx_vscsi_entry_dispose(e);
    memmove(e, e + 1, (size_t)(end - e - 1) * sizeof(*e));
    c->record.num_entries--;
}

bool xlx__scsi_is_aside(const xlx_vscsi_entry *entry)
{
    return entry->status == XLX_VSCSI_STATUS_ASIDE &&
           entry->domid == XLX_DOMID_NONE;
}

/* ---- who has a device --------------------------------------------------- */

static const xlx_vscsi_entry *by_identity(const xlx_vscsi_record *record,
                                          const char *identity)
{
    int i;

    for (i = 0; i < record->num_entries; i++)
        if (!strcmp(xlx__text(record->entries[i].identity), identity))
            return &record->entries[i];
    return NULL;
}

int xlx__scsi_owner(xlx_ctx *ctx, const char *identity,
                    xlx_vscsi_entry *entry_r, char **name_r)
{
    const xlx_vscsi_entry *e = NULL;
    xlx_vscsi_record record;
    xlx_guests known;
    int i, rc;

    xlx_guests_init(&known);
    rc = xlx__guest_known(ctx, &known);
    for (i = 0; !rc && !e && i < known.num_guests; i++) {
        xlx_vscsi_record_init(&record);
        rc = xlx__scsi_record_read(ctx, &known.guests[i].uuid, &record);
        if (!rc)
            e = by_identity(&record, identity);
        if (e)
            rc = xlx_vscsi_entry_copy(ctx, entry_r, e);
        if (e && !rc)
            rc = xlx__set_string(name_r, known.guests[i].name);
        xlx_vscsi_record_dispose(&record);
    }
    xlx_guests_dispose(&known);
    return rc ? rc : e ? 0 : ERROR_NOTFOUND;
}

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
        if (!rc && e->domid == XLX_DOMID_NONE)
            rc = xlx__scsi_forget_place(e);
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
    free(c->boot);
    xlx__hostdev_world_close(c->world);
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

static bool has_backstore(const xlx_scsi_entry *e, const char *backstore)
{
    return !strcmp(xlx__text(e->backstore), backstore);
}

/* An entry that is looked for, and where it is to be copied to. */
struct search {
    const struct xlx__scsi_pdev *p; /* its device, or */
    const char *backstore;          /* its backstore */
    char *boot;                     /* this start of the host */
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
        if (s->p ? xlx__scsi_is_entrys(&record.entries[i], s->boot, s->p)
                 : has_backstore(&record.entries[i], s->backstore))
            e = &record.entries[i];
    rc = e ? xlx_scsi_entry_copy(ctx, s->entry, e) : ERROR_NOTFOUND;
    if (rc) goto out;
    rc = xlx_guest_copy(ctx, s->guest, guest);

 out:
    xlx_scsi_record_dispose(&record);
    return rc;
}

/* Numbers alone are in any record. */
static bool has_text(const char *text, const char *part)
{
    return strlen(xlx__text(part)) > 3 && strstr(text, part);
}

static bool names_device(const char *text, void *user)
{
    const struct search *s = user;
    const char *id, *wwid;

    if (!s->p)
        return has_text(text, s->backstore);
    xlx__scsi_identity_kind(xlx__text(s->p->identity), &id);
    /* as udev and multipath write it: 3X for naa.X */
    wwid = strchr(id, '.') ? strchr(id, '.') + 1
           : strncmp(id, "mpath-", 6) ? "" : id + 7;
    return has_text(text, id) || has_text(text, wwid) ||
           has_text(text, s->p->serial) || has_text(text, s->p->unit.hctl) ||
           has_text(text, s->p->unit.path);
}

static int search_all(xlx_ctx *ctx, struct search *s)
{
    const struct xlx__hostdev_search how = {
        .file = xlx__record_kinds[XLX__RECORD_SCSI_RECORD].file,
        .search = search_record, .names_device = names_device, .user = s,
    };
    int rc;

    rc = xlx__hostdev_boot(&s->boot);
    if (rc) return rc;
    rc = xlx__hostdev_search(ctx, NULL, &how);
    free(s->boot);
    return rc;
}

int xlx__scsi_owner(xlx_ctx *ctx, const struct xlx__scsi_pdev *p,
                    xlx_scsi_entry *entry_r, xlx_guest *guest_r)
{
    struct search s = { .p = p, .entry = entry_r, .guest = guest_r };

    return search_all(ctx, &s);
}

int xlx__scsi_backstore_owner(xlx_ctx *ctx, const char *backstore,
                              xlx_scsi_entry *entry_r, xlx_guest *guest_r)
{
    struct search s = {
        .backstore = backstore, .entry = entry_r, .guest = guest_r,
    };

    return search_all(ctx, &s);
}

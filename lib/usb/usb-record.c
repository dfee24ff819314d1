/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The record of a guest's USB devices.  An entry is written before the first
 * step of its attachment, which reserves the device, and dropped after the
 * last step of its detachment.  It names the device by something that does not
 * change when it is pulled out and plugged in again.
 */
#include <string.h>

#include "guest/record.h"
#include "hostdev/hostdev.h"
#include "usb/usb.h"

int xlx__usb_record_write(struct xlx__usb_change *c)
{
    return c->record.num_entries
        ? xlx__usb_record_save(c->ctx, &c->guest, &c->record)
        : xlx__usb_record_remove(c->ctx, &c->guest);
}

/* ---- one change --------------------------------------------------------- */

int xlx__usb_open(xlx_ctx *ctx, const xlx_guest *guest,
                  struct xlx__usb_change *c)
{
    int rc;

    memset(c, 0, sizeof(*c));
    c->ctx = ctx;
    c->lock.fd = -1;
    xlx_guest_init(&c->guest);
    xlx_usb_record_init(&c->record);

    rc = xlx__record_lock(ctx, guest, &c->lock, &c->guest);
    return rc ? rc : xlx__usb_record_load(ctx, &c->guest.uuid, &c->record,
                                        NULL);
}

void xlx__usb_end(struct xlx__usb_change *c)
{
    xlx__unlock(&c->lock);
    xlx_usb_record_dispose(&c->record);
    xlx_guest_dispose(&c->guest);
}

/* ---- entries ------------------------------------------------------------ */

xlx_usb_entry *xlx__usb_entry(const xlx_usb_record *record, uint32_t ctrl,
                              uint32_t port)
{
    int i;

    for (i = 0; i < record->num_entries; i++)
        if (record->entries[i].ctrl == ctrl &&
            record->entries[i].port == port)
            return &record->entries[i];
    return NULL;
}

int xlx__usb_entry_append(struct xlx__usb_change *c,
                          const xlx_usb_entry *entry)
{
    xlx_usb_entry *e = xlx__usb_record_entries_append(&c->record);

    return e ? xlx_usb_entry_copy(c->ctx, e, entry) : ERROR_NOMEM;
}

void xlx__usb_entry_drop(struct xlx__usb_change *c, uint32_t ctrl,
                         uint32_t port)
{
    xlx_usb_entry *e = xlx__usb_entry(&c->record, ctrl, port);
    xlx_usb_entry *end = c->record.entries + c->record.num_entries;

    if (!e)
        return;
    xlx_usb_entry_dispose(e);
    memmove(e, e + 1, (size_t)(end - e - 1) * sizeof(*e));
    c->record.num_entries--;
}

bool xlx__usb_is_on(const xlx_usb_entry *e, const char *path)
{
    return !strcmp(xlx__text(e->path), xlx__text(path));
}

bool xlx__usb_is_aside(const xlx_usb_entry *entry)
{
    return entry->status == XLX_USB_STATUS_ASIDE &&
           entry->domid == XLX_DOMID_NONE;
}

/* ---- who has a device --------------------------------------------------- */

bool xlx__usb_is_for(const xlx_usb_entry *e, const xlx_usb_host_device *d)
{
    xlx_usb_selector s;
    bool matches;

    if (e->status != XLX_USB_STATUS_MISSING && !xlx__usb_is_aside(e))
        return !strcmp(xlx__text(e->path), xlx__text(d->path));
    xlx_usb_selector_init(&s);
    matches = !xlx__usb_selector_read(NULL, xlx__text(e->selector), &s) &&
              xlx__usb_selector_matches(&s, d);
    xlx_usb_selector_dispose(&s);
    return matches;
}

struct search {
    const xlx_usb_host_device *d;
    char **name_r;
};

static int search_record(xlx_ctx *ctx, const xlx_guest *guest, void *user)
{
    const struct search *s = user;
    xlx_usb_record record;
    bool found = false;
    int i, rc;

    xlx_usb_record_init(&record);
    rc = xlx__usb_record_load(ctx, &guest->uuid, &record, NULL);
    for (i = 0; !rc && !found && i < record.num_entries; i++)
        found = xlx__usb_is_for(&record.entries[i], s->d);
    xlx_usb_record_dispose(&record);
    if (rc) return rc;
    return found ? xlx__set_string(s->name_r, guest->name) : ERROR_NOTFOUND;
}

int xlx__usb_owner(xlx_ctx *ctx, const xlx_usb_host_device *d,
                   const libxl_uuid *except, char **name_r)
{
    struct search s = { d, name_r };

    return xlx__hostdev_search(ctx, except, search_record, &s);
}

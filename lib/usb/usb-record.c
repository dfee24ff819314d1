/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The record of a guest's USB devices.  An entry is written before the first
 * step of its attachment, which reserves the device, and dropped after the
 * last step of its detachment.  It names the device by something that does not
 * change when it is pulled out and plugged in again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/record.h"
#include "hostdev/hostdev.h"
#include "usb/usb.h"

int xlx__usb_record_write(struct xlx__usb_change *c)
{
    return c->record.num_entries || c->record.num_trees
        ? xlx__usb_record_save(c->ctx, &c->guest, &c->record)
        : xlx__usb_record_remove(c->ctx, &c->guest);
}

/* ---- which domain ------------------------------------------------------- */

/* One that was left halfway is to be attached again: nothing of it is left. */
static void forget_domain(xlx_usb_entry *e)
{
    if (e->domid != XLX_DOMID_NONE && e->status == XLX_USB_STATUS_ASIDE)
        e->status = XLX_USB_STATUS_MISSING;
    e->domid = XLX_DOMID_NONE;
}

/* All devices of the host have been plugged in since. */
static void forget_left(xlx_usb_tree *t)
{
    t->domid = XLX_DOMID_NONE;
    while (t->num_left)
        xlx_usb_left_dispose(&t->left[--t->num_left]);
}

int xlx__usb_record_read(xlx_ctx *ctx, const libxl_uuid *uuid,
                         const char *boot, xlx_usb_record *record)
{
    xlx_usb_entry *e;
    int i, rc;

    rc = xlx__usb_record_load(ctx, uuid, record, NULL);
    if (rc) return rc;
    for (i = 0; i < record->num_entries; i++) {
        e = &record->entries[i];
        if (*xlx__text(e->boot) && xlx__hostdev_is_earlier(e->boot, boot))
            forget_domain(e);
    }
    for (i = 0; i < record->num_trees; i++)
        if (xlx__hostdev_is_earlier(record->trees[i].boot, boot))
            forget_left(&record->trees[i]);
    return 0;
}

/* Numbers of domains are used again, and then are another guest's. */
static int check_domains(struct xlx__usb_change *c)
{
    uint32_t domid, asked = c->guest.domid, is = asked;
    xlx_usb_entry *e, *end;
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

int xlx__usb_entry_is_on(struct xlx__usb_change *c, xlx_usb_entry *e,
                         uint32_t domid)
{
    e->domid = domid;
    return xlx__set_string(&e->boot, c->boot);
}

int xlx__usb_note_boot(struct xlx__usb_change *c)
{
    xlx_usb_entry *e, *end = c->record.entries + c->record.num_entries;
    bool changed = false;
    int i, rc;

    if (c->guest.domid == XLX_DOMID_NONE)
        return 0;
    for (i = 0; i < c->record.num_trees; i++) {
        if (!xlx__hostdev_is_earlier(c->record.trees[i].boot, c->boot))
            continue;
        rc = xlx__set_string(&c->record.trees[i].boot, c->boot);
        if (rc) return rc;
        changed = true;
    }
    for (e = c->record.entries; e < end; e++) {
        if (!xlx__hostdev_is_earlier(e->boot, c->boot))
            continue;
        rc = xlx__set_string(&e->boot, c->boot);
        if (rc) return rc;
        changed = true;
    }
    return changed ? xlx__usb_record_write(c) : 0;
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
    if (rc) return rc;
    rc = xlx__hostdev_boot(&c->boot);
    if (rc) return rc;
    rc = xlx__usb_record_read(ctx, &c->guest.uuid, c->boot, &c->record);
    return rc ? rc : check_domains(c);
}

void xlx__usb_end(struct xlx__usb_change *c)
{
    xlx__unlock(&c->lock);
    free(c->boot);
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

int xlx__usb_entry_selector(const xlx_usb_entry *e, xlx_usb_selector *s)
{
    int rc;

    rc = xlx__usb_selector_read(NULL, xlx__text(e->selector), s);
    if (rc || !*xlx__text(e->socket) ||
        (s->kind != XLX_USB_SELECTOR_KIND_PATH &&
         s->kind != XLX_USB_SELECTOR_KIND_SOCKET))
        return rc;
    xlx_usb_selector_dispose(s);
    xlx_usb_selector_init(s);
    return xlx__usb_selector_read(NULL, e->socket, s);
}

/* ---- who has a device --------------------------------------------------- */

bool xlx__usb_is_for(const xlx_usb_entry *e, const xlx_usb_host_device *d)
{
    xlx_usb_selector s;
    bool matches;

    /* two that were plugged into each other's socket are nobody's until their
     * guests were looked at */
    if (e->status != XLX_USB_STATUS_MISSING && e->domid != XLX_DOMID_NONE)
        return !strcmp(xlx__text(e->path), xlx__text(d->path)) &&
               !xlx__usb_is_other(e, d);
    xlx_usb_selector_init(&s);
    matches = !xlx__usb_entry_selector(e, &s) &&
              xlx__usb_selector_matches(&s, d) && xlx__usb_may_be(e, d);
    xlx_usb_selector_dispose(&s);
    return matches;
}

struct search {
    const xlx_usb_host_device *d;
    const char *boot;
    char **name_r;
};

static int search_record(xlx_ctx *ctx, const xlx_guest *guest, void *user)
{
    const struct search *s = user;
    xlx_usb_record record;
    bool found = false;
    int i, rc;

    xlx_usb_record_init(&record);
    rc = xlx__usb_record_read(ctx, &guest->uuid, s->boot, &record);
    for (i = 0; !rc && !found && i < record.num_entries; i++)
        found = xlx__usb_is_for(&record.entries[i], s->d);
    xlx_usb_record_dispose(&record);
    if (rc) return rc;
    return found ? xlx__set_string(s->name_r, guest->name) : ERROR_NOTFOUND;
}

/* The path or the ID. */
static bool names_device(const char *text, void *user)
{
    const struct search *s = user;
    char id[16], *path;
    bool found;

    snprintf(id, sizeof(id), "%04x:%04x", s->d->vendor, s->d->product);
    path = xlx__printf("\"%s\"", xlx__text(s->d->path));
    found = !path || strstr(text, path) || strstr(text, id);
    free(path);
    return found;
}

int xlx__usb_owner(xlx_ctx *ctx, const xlx_usb_host_device *d,
                   const libxl_uuid *except, char **name_r)
{
    struct search s = { .d = d, .name_r = name_r };
    const struct xlx__hostdev_search how = {
        .file = xlx__record_kinds[XLX__RECORD_USB_RECORD].file,
        .search = search_record, .names_device = names_device, .user = &s,
    };
    char *boot = NULL;
    int rc;

    rc = xlx__hostdev_boot(&boot);
    if (rc) return rc;
    s.boot = boot;
    rc = xlx__hostdev_search(ctx, except, &how);
    free(boot);
    return rc;
}

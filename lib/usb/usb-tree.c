/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Parts of the host's USB that a guest has as a whole: their record, which is
 * the intention, and who has which.  usb-tree-scan.c attaches the devices that
 * are there; each gets an entry of its own, which usb-repair.c keeps.
 */
#include <stdlib.h>
#include <string.h>

#include "core/report.h"
#include "core/store.h"
#include "hostdev/hostdev.h"
#include "usb/usb.h"

/* ---- devices that are left out ------------------------------------------ */

bool xlx__usb_is_left(const xlx_usb_left *left, const xlx_usb_host_device *d)
{
    return !strcmp(xlx__text(left->path), xlx__text(d->path)) &&
           left->bus == d->bus && left->address == d->address &&
           left->vendor == d->vendor && left->product == d->product;
}

static bool is_left_out(const xlx_usb_tree *t, const xlx_usb_host_device *d)
{
    int i;

    for (i = 0; i < t->num_left; i++)
        if (xlx__usb_is_left(&t->left[i], d))
            return true;
    return false;
}

/* The note about the device in that place; a new one when there is none. */
static xlx_usb_left *note_at(xlx_usb_tree *t, const char *path)
{
    int i;

    for (i = 0; i < t->num_left; i++)
        if (!strcmp(xlx__text(t->left[i].path), path))
            return &t->left[i];
    return xlx__usb_tree_left_append(t);
}

static int note_detached(xlx_usb_tree *t, const xlx_usb_entry *e)
{
    xlx_usb_left *left = note_at(t, e->path);
    int rc;

    if (!left)
        return ERROR_NOMEM;
    rc = xlx__set_string(&left->path, e->path);
    if (rc) return rc;
    left->bus = e->bus;
    left->address = e->address;
    left->vendor = e->vendor;
    left->product = e->product;
    left->detached = true;
    return xlx__set_string(&left->why, "it was detached, and is left alone "
                           "until it is pulled out");
}

int xlx__usb_leave_out(struct xlx__usb_change *c, const xlx_usb_entry *e)
{
    xlx_usb_tree *t, *end = c->record.trees + c->record.num_trees;
    bool yes;
    int rc = 0;

    if (!*xlx__text(e->path))
        return 0;
    for (t = c->record.trees; !rc && t < end; t++) {
        rc = xlx__usb_is_in_tree(xlx__text(t->selector), e->path, &yes);
        if (!rc && yes)
            rc = note_detached(t, e);
    }
    return rc;
}

/* ---- which guest has it ------------------------------------------------- */

struct search {
    const xlx_usb_host_device *d;   /* NULL: look for what overlaps place */
    bool inside;                    /* or for what has the socket place */
    const char *place, *boot;
    char **use_r;
};

static int is_wanted(const struct search *s, const xlx_usb_tree *t,
                     bool *yes_r)
{
    struct xlx__usb_sockets sockets = { NULL, 0 };
    int rc;

    *yes_r = false;
    if (s->d)
        return is_left_out(t, s->d) ? 0
            : xlx__usb_is_in_tree(t->selector, s->d->path, yes_r);
    if (!s->inside)
        return xlx__usb_trees_overlap(t->selector, s->place, yes_r);
    rc = xlx__usb_tree_sockets(t->selector, &sockets);
    *yes_r = !rc && xlx__usb_is_below(&sockets, s->place);
    xlx__usb_sockets_dispose(&sockets);
    return rc;
}

static int search_record(xlx_ctx *ctx, const xlx_guest *guest, void *user)
{
    const struct search *s = user;
    const xlx_usb_tree *t;
    xlx_usb_record record;
    bool yes = false;
    int i, rc;

    xlx_usb_record_init(&record);
    rc = xlx__usb_record_read(ctx, &guest->uuid, s->boot, &record);
    for (i = 0; !rc && !yes && i < record.num_trees; i++) {
        t = &record.trees[i];
        rc = is_wanted(s, t, &yes);
        if (rc || !yes)
            continue;
        *s->use_r = xlx__printf("guest %s has the USB tree %s",
                                xlx__text(guest->name), t->selector);
        rc = *s->use_r ? 0 : xlx__nomem();
    }
    xlx_usb_record_dispose(&record);
    return rc || yes ? rc : ERROR_NOTFOUND;
}

/* The controller of the place, in a record that has trees. */
static bool names_place(const char *text, void *user)
{
    const struct search *s = user;
    size_t len = strstr(s->place, "-usbv")
        ? (size_t)(strstr(s->place, "-usbv") - s->place) : strlen(s->place);

    return strstr(text, "\"trees\"") && memmem(text, strlen(text), s->place,
                                               len);
}

static int search_guests(xlx_ctx *ctx, const libxl_uuid *except,
                         struct search *s)
{
    const struct xlx__hostdev_search how = {
        .file = xlx__record_kinds[XLX__RECORD_USB_RECORD].file,
        .search = search_record, .names_device = names_place, .user = s,
    };
    char *boot = NULL;
    int rc;

    rc = xlx__hostdev_boot(&boot);
    if (rc) return rc;
    s->boot = boot;
    rc = xlx__hostdev_search(ctx, except, &how);
    free(boot);
    return xlx__forgive(rc, ERROR_NOTFOUND);
}

int xlx__usb_tree_use(xlx_ctx *ctx, const xlx_usb_host_device *d,
                      const xlx_guest *except, char **use_r)
{
    struct search s = { .d = d, .use_r = use_r };
    char *socket = NULL;
    int rc;

    if (!strchr(d->path, '-'))
        return 0;
    rc = xlx__usb_socket(d->path, &socket);
    s.place = socket;
    if (!rc && *socket)
        rc = search_guests(ctx, except ? &except->uuid : NULL, &s);
    free(socket);
    return rc;
}

int xlx__usb_check_place(struct xlx__usb_change *c, const xlx_usb_selector *s)
{
    char *socket = NULL, *use = NULL;
    struct search search = { .inside = true, .use_r = &use };
    int rc;

    if (s->kind != XLX_USB_SELECTOR_KIND_PATH &&
        s->kind != XLX_USB_SELECTOR_KIND_SOCKET)
        return 0;
    rc = xlx__usb_named_socket(s, &socket);
    if (rc) {                           /* no socket that a tree could have,
                                         * or one of two */
        rc = xlx__forgive(rc, ERROR_NOTFOUND);
        return xlx__forgive(rc, ERROR_INVAL);
    }
    search.place = socket;
    rc = search_guests(c->ctx, &c->guest.uuid, &search);
    if (!rc && use)
        rc = xlx__error(ERROR_DEVICE_EXISTS, "%s: %s, and it is in that",
                        socket, use);
    free(use);
    free(socket);
    return rc;
}

/* ---- attach ------------------------------------------------------------- */

static void drop_tree(struct xlx__usb_change *c, int index)
{
    xlx_usb_tree *t = &c->record.trees[index];

    xlx_usb_tree_dispose(t);
    memmove(t, t + 1, (size_t)(c->record.num_trees - index - 1) * sizeof(*t));
    c->record.num_trees--;
}

static int check_binding(const xlx_usb_binding *b)
{
    if (b->port)
        return xlx__error(ERROR_INVAL, "port %u: a tree has as many devices "
                          "as there are, and takes no port", b->port);
    if (b->once || b->optional)
        return xlx__error(ERROR_INVAL, "a tree takes neither once nor "
                          "optional: its devices come and go");
    return 0;
}

/* Could the guest have devices on such a controller at all? */
static int check_ctrl(struct xlx__usb_change *c, const xlx_usb_binding *b)
{
    xlx_usb_entry e;
    int rc;

    xlx_usb_entry_init(&e);
    rc = xlx__usb_choose_port(c, b, NULL, &e);
    xlx_usb_entry_dispose(&e);
    return xlx__forgive(rc, ERROR_DEVICE_EXISTS);
}

/* The config decides about its trees: one that is recorded makes way, and its
 * devices go to the new one. */
static int make_way(struct xlx__usb_change *c, int index, const char *place)
{
    xlx_usb_entry *e, *end = c->record.entries + c->record.num_entries;
    int rc = 0;

    for (e = c->record.entries; !rc && e < end; e++)
        if (!strcmp(xlx__text(e->tree), c->record.trees[index].selector))
            rc = xlx__set_string(&e->tree, place);
    if (!rc)
        drop_tree(c, index);
    return rc;
}

static int check_own(struct xlx__usb_change *c, const xlx_usb_binding *b,
                     const char *place)
{
    int i = c->record.num_trees, rc = 0;
    const char *own;
    bool yes;

    while (!rc && i--) {
        own = c->record.trees[i].selector;
        rc = xlx__usb_trees_overlap(own, place, &yes);
        if (rc || !yes)
            continue;
        rc = b->configured ? make_way(c, i, place)
            : xlx__error(ERROR_DEVICE_EXISTS, "%s: the guest has the USB tree"
                         " %s already", place, own);
    }
    return rc;
}

static int append_tree(struct xlx__usb_change *c, const xlx_usb_binding *b,
                       const char *place)
{
    xlx_usb_tree *t = xlx__usb_record_trees_append(&c->record);
    int rc;

    if (!t)
        return ERROR_NOMEM;
    t->force = b->force;
    t->reset = b->reset;
    t->type = b->type;
    t->version = b->version;
    t->ctrl = b->ctrl;
    t->configured = b->configured;
    t->domid = c->guest.domid;
    rc = xlx__set_string(&t->boot, c->boot);
    return rc ? rc : xlx__set_string(&t->selector, place);
}

/* Any other process that wants a part of it looks while holding the same lock.
 */
static int reserve(struct xlx__usb_change *c, const xlx_usb_binding *b,
                   const char *place, bool dry_run)
{
    struct xlx__lock host = XLX__LOCK_NONE;
    char *use = NULL;
    struct search s = { .place = place, .use_r = &use };
    int rc;

    rc = xlx__lock_host(c->ctx, "devices", &host);
    if (rc) return rc;
    rc = check_own(c, b, place);
    if (rc) goto out;
    rc = search_guests(c->ctx, &c->guest.uuid, &s);
    if (!rc && use)
        rc = xlx__error(ERROR_DEVICE_EXISTS, "%s: %s, and no two guests can "
                        "have the same sockets", place, use);
    if (rc) goto out;
    rc = append_tree(c, b, place);
    if (!rc && !dry_run)
        rc = xlx__usb_record_write(c);

 out:
    free(use);
    xlx__unlock(&host);
    return rc;
}

int xlx__usb_tree_attach(xlx_ctx *ctx, const xlx_guest *guest,
                         const xlx_usb_binding *binding,
                         const xlx_usb_wait *wait, xlx_usb_tree_devices *found)
{
    struct xlx__usb_scan scan = {
        .dry_run = wait && wait->dry_run, .no_wait = wait && wait->no_wait,
        .timeout = wait ? wait->timeout : 0, .found = found,
    };
    struct xlx__usb_change c;
    char *place = NULL;
    int index, rc;

    rc = check_binding(binding);
    if (!rc)
        rc = xlx__usb_tree_read(xlx__text(binding->selector), &place);
    if (rc) goto out_early;
    rc = xlx__usb_begin(ctx, guest, scan.dry_run, &c);
    if (rc) goto out;
    rc = check_ctrl(&c, binding);
    if (rc) goto out;
    rc = reserve(&c, binding, place, scan.dry_run);
    if (rc) goto out;
    xlx__fault("usb-tree.recorded");
    index = c.record.num_trees - 1;
    rc = xlx__usb_scan_tree(&c, index, &scan);
    if (rc && !scan.dry_run)
        xlx__error_prefix(rc, "USB tree %s is recorded, and xl usb-repair "
                          "goes on", place);
    if (!rc)
        rc = xlx_usb_tree_copy(ctx, &found->tree, &c.record.trees[index]);

 out:
    xlx__usb_end(&c);
 out_early:
    free(place);
    return rc;
}

/* ---- detach ------------------------------------------------------------- */

/* -1 when there is none. */
static int find_tree(const struct xlx__usb_change *c, const char *selector)
{
    int i;

    for (i = 0; i < c->record.num_trees; i++)
        if (!strcmp(c->record.trees[i].selector, selector))
            return i;
    return -1;
}

/* By the name that is recorded, also when the controller is gone, or by any
 * other; -1 when the guest has none such. */
static int find_named(const struct xlx__usb_change *c, const char *text,
                      int *index_r)
{
    char *place = NULL;
    int rc = 0;

    *index_r = find_tree(c, text);
    if (*index_r < 0)
        rc = xlx__usb_tree_read(text, &place);
    if (!rc && place)
        *index_r = find_tree(c, place);
    free(place);
    return rc;
}

bool xlx__usb_has_tree(const struct xlx__usb_change *c, const char *text)
{
    struct xlx__error_text own;
    int index = -1;

    xlx__error_save(&own);
    if (c->record.num_trees)
        find_named(c, text, &index);
    xlx__error_restore(&own);
    return index >= 0;
}

/* Writes down that the tree and its devices are no longer the guest's. */
static int forget_tree(struct xlx__usb_change *c, int index)
{
    xlx_usb_entry *e, *end = c->record.entries + c->record.num_entries;
    const char *selector = c->record.trees[index].selector;

    for (e = c->record.entries; e < end; e++)
        if (!strcmp(xlx__text(e->tree), selector))
            e->status = XLX_USB_STATUS_DETACHING;
    drop_tree(c, index);
    return xlx__usb_record_write(c);
}

/* All of them, also when one fails: the first failure is returned, and that
 * device stays as one to be detached. */
static int take_off_all(struct xlx__usb_change *c, const char *selector,
                        const xlx_usb_wait *wait, xlx_usb_tree_devices *found)
{
    bool dry_run = wait && wait->dry_run;
    struct xlx__error_text why;
    int i = c->record.num_entries, first = 0, rc;
    xlx_usb_entry *e;

    while (i--) {
        if (strcmp(xlx__text(c->record.entries[i].tree), selector))
            continue;
        e = xlx__usb_tree_devices_entries_append(found);
        if (!e)
            return ERROR_NOMEM;
        rc = xlx_usb_entry_copy(c->ctx, e, &c->record.entries[i]);
        if (!rc && !dry_run)
            rc = xlx__usb_take_off(c, e, xlx__usb_deadline(wait));
        if (rc == ERROR_NOMEM)
            return rc;
        if (rc && !first) {
            first = rc;
            xlx__error_save(&why);
        }
        if (rc)
            xlx_usb_entry_dispose(&found->entries[--found->num_entries]);
    }
    if (first)
        xlx__error_restore(&why);
    return first;
}

int xlx__usb_tree_detach(xlx_ctx *ctx, const xlx_guest *guest,
                         const char *which, const xlx_usb_wait *wait,
                         xlx_usb_tree_devices *found)
{
    struct xlx__usb_change c;
    int index, rc;

    rc = xlx__usb_open(ctx, guest, &c);
    if (rc) goto out;
    rc = find_named(&c, which, &index);
    if (rc) goto out;
    if (index < 0) {
        rc = xlx__error(ERROR_NOTFOUND, "\"%s\": the guest has no such USB "
                        "tree", which);
        goto out;
    }
    rc = xlx_usb_tree_copy(ctx, &found->tree, &c.record.trees[index]);
    if (!rc && !(wait && wait->dry_run))
        rc = forget_tree(&c, index);
    if (rc) goto out;
    xlx__fault("usb-tree.dropped");
    rc = take_off_all(&c, found->tree.selector, wait, found);

 out:
    xlx__usb_end(&c);
    return rc;
}

/* ---- the guest has ended ------------------------------------------------ */

int xlx__usb_drop_trees(struct xlx__usb_change *c, bool dry_run,
                        xlx_repair_report *report)
{
    int i = c->record.num_trees, rc = 0, num = 0;
    const xlx_usb_tree *t;

    while (!rc && i--) {
        t = &c->record.trees[i];
        if (t->aside || xlx__hostdev_is_earlier(t->boot, c->boot))
            continue;
        rc = xlx__report(report, true, dry_run ? "it would be dropped"
                                               : "dropped",
                         "USB tree %s: the guest does not run any more",
                         t->selector);
        if (rc || dry_run)
            continue;
        drop_tree(c, i);
        num++;
    }
    return rc || !num ? rc : xlx__usb_record_write(c);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking through a tree of the host's USB: each device there that the guest
 * does not have yet gets an entry, which ends when it is pulled out.  One that
 * the guest cannot get is noted in the record with the reason, and the reason
 * is said once; at each look it is tried again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/report.h"
#include "guest/domain.h"
#include "hostdev/hostdev.h"
#include "usb/usb.h"

#define STEP_MS 30000               /* for each device, unless it is said */

/* One tree that is looked through. */
struct look {
    struct xlx__usb_change *c;
    const struct xlx__usb_scan *scan;
    xlx_usb_tree *t;
    bool changed;                   /* its notes */
};

/* ---- notes -------------------------------------------------------------- */

static xlx_usb_left *find_note(const xlx_usb_tree *t,
                               const xlx_usb_host_device *d)
{
    int i;

    for (i = 0; i < t->num_left; i++)
        if (xlx__usb_is_left(&t->left[i], d))
            return &t->left[i];
    return NULL;
}

static void drop_note(struct look *l, xlx_usb_left *left)
{
    xlx_usb_left *end = l->t->left + l->t->num_left;

    if (!left)
        return;
    xlx_usb_left_dispose(left);
    memmove(left, left + 1, (size_t)(end - left - 1) * sizeof(*left));
    l->t->num_left--;
    l->changed = true;
}

/* Those of devices that were pulled out. */
static void prune(struct look *l, const xlx_usb_host_devices *devices)
{
    const xlx_usb_host_device *d;
    int i = l->t->num_left;

    while (i--) {
        d = xlx__usb_by_path(devices, l->t->left[i].path);
        if (!d || !xlx__usb_is_left(&l->t->left[i], d))
            drop_note(l, &l->t->left[i]);
    }
}

/* The message without the path that it begins with. */
static const char *reason(const char *message, const char *path)
{
    size_t len = strlen(path);

    return !strncmp(message, path, len) && !strncmp(message + len, ": ", 2)
        ? message + len + 2 : message;
}

static int set_note(struct look *l, const xlx_usb_host_device *d,
                    const char *why)
{
    xlx_usb_left *left = find_note(l->t, d);
    int rc;

    if (left && !strcmp(xlx__text(left->why), why))
        return 0;
    l->changed = true;
    if (!left)
        left = xlx__usb_tree_left_append(l->t);
    if (!left)
        return ERROR_NOMEM;
    left->bus = d->bus;
    left->address = d->address;
    left->vendor = d->vendor;
    left->product = d->product;
    rc = xlx__set_string(&left->path, d->path);
    return rc ? rc : xlx__set_string(&left->why, why);
}

/* The reason is the library's message.  A watcher says it when it is new. */
static int leave_out(struct look *l, const xlx_usb_host_device *d, bool failed)
{
    const char *selector = l->t->selector;
    char title[XLX__USB_TITLE_MAX];
    bool had = l->changed, is_new;
    struct xlx__error_text why;
    const char *text;
    int rc;

    xlx__error_save(&why);
    text = reason(why.line, d->path);
    l->changed = false;
    rc = set_note(l, d, text);
    if (rc) return rc;
    is_new = l->changed;
    l->changed |= had;
    xlx__error_clear();
    if (is_new && l->c->patience && !failed)
        xlx__notice(l->c->ctx, "USB tree %s: %s is left out: %s", selector,
                    xlx__usb_title(d, title), text);
    if (!is_new && !failed)
        return 0;
    return xlx__report(l->scan->report, !failed, failed ? text : "left out",
                       "USB tree %s: %s%s%s", selector,
                       xlx__usb_title(d, title), failed ? "" : ": ",
                       failed ? "" : text);
}

/* ---- one device --------------------------------------------------------- */

static bool has_entry(const struct xlx__usb_change *c,
                      const xlx_usb_host_device *d)
{
    int i;

    for (i = 0; i < c->record.num_entries; i++)
        if (xlx__usb_is_for(&c->record.entries[i], d))
            return true;
    return false;
}

/* Each device is recorded by where it is plugged in. */
static int describe(const xlx_usb_tree *t, const xlx_usb_host_device *d,
                    xlx_usb_binding *b, xlx_usb_selector *s, xlx_usb_entry *e)
{
    int rc;

    b->once = true;
    b->force = t->force;
    b->reset = t->reset;
    b->type = t->type;
    b->version = t->version;
    b->ctrl = t->ctrl;
    rc = xlx__set_string(&e->tree, t->selector);
    return rc ? rc : xlx__usb_selector_read(NULL, d->path, s);
}

static int note_attached(struct look *l, const xlx_usb_host_device *d,
                         const xlx_usb_entry *e)
{
    const struct xlx__usb_scan *scan = l->scan;
    char title[XLX__USB_TITLE_MAX];
    xlx_usb_entry *copy;
    int rc;

    drop_note(l, find_note(l->t, d));
    rc = xlx__report(scan->report, true, scan->dry_run
                     ? "it would be attached" : "attached",
                     "USB tree %s: %s is plugged in", l->t->selector,
                     xlx__usb_title(d, title));
    if (rc || !scan->found)
        return rc;
    copy = xlx__usb_tree_devices_entries_append(scan->found);
    return copy ? xlx_usb_entry_copy(l->c->ctx, copy, e) : ERROR_NOMEM;
}

static int64_t deadline_of(const struct look *l)
{
    int64_t ms = l->scan->timeout ? (int64_t)l->scan->timeout * 1000
                                  : STEP_MS;

    return xlx__hostdev_deadline(l->c->patience, xlx__now_ms() + ms);
}

/* A refusal costs little, and its reason can go without a sign: it is asked
 * for at each look.  An attachment that failed is tried with patience. */
static int attach_device(struct look *l, const xlx_usb_host_device *d,
                         const char *key, const char *facts)
{
    xlx_usb_selector s;
    xlx_usb_binding b;
    xlx_usb_entry e;
    int rc;

    xlx_usb_selector_init(&s);
    xlx_usb_binding_init(&b);           /* nothing to dispose of */
    xlx_usb_entry_init(&e);
    rc = describe(l->t, d, &b, &s, &e);
    if (rc) goto out;
    rc = xlx__usb_reserve(l->c, &b, &s, d, l->scan->dry_run, &e);
    if (rc == ERROR_NOMEM || rc == ERROR_LOCK_FAIL)
        goto out;
    if (rc) {
        rc = leave_out(l, d, false);
        goto out;
    }
    if (!l->scan->dry_run) {
        rc = xlx__usb_attach_reserved(l->c, d, &e, l->scan->no_wait,
                                      deadline_of(l));
        xlx__hostdev_tried(l->c->patience, key, facts, rc);
    } else {
        rc = xlx__usb_entry_append(l->c, &e);   /* it has that port */
        if (rc) goto out;
    }
    rc = rc ? leave_out(l, d, true) : note_attached(l, d, &e);

 out:
    xlx_usb_entry_dispose(&e);
    xlx_usb_selector_dispose(&s);
    return rc;
}

static int scan_device(struct look *l, const xlx_usb_host_device *d)
{
    xlx_usb_left *left = find_note(l->t, d);
    char key[80], facts[64];

    if (has_entry(l->c, d)) {           /* whoever asked for it */
        drop_note(l, left);
        return 0;
    }
    if (left && left->detached)
        return 0;
    snprintf(key, sizeof(key), "tree %.60s", d->path);
    snprintf(facts, sizeof(facts), "%u %u:%u", l->c->guest.domid, d->bus,
             d->address);
    if (!xlx__hostdev_may_try(l->c->patience, key, facts))
        return 0;
    return attach_device(l, d, key, facts);
}

/* ---- a tree ------------------------------------------------------------- */

static int scan_devices(struct look *l, const xlx_usb_host_devices *devices,
                        const struct xlx__usb_sockets *sockets)
{
    const xlx_usb_host_device *d;
    char *socket = NULL;
    int i, rc = 0;

    for (i = 0; !rc && i < devices->num_devices; i++) {
        d = &devices->devices[i];
        if (xlx__usb_is_hub(d) || !strchr(d->path, '-'))
            continue;
        rc = xlx__usb_socket(d->path, &socket);
        if (!rc && *socket && xlx__usb_is_below(sockets, socket))
            rc = scan_device(l, d);
    }
    free(socket);
    return rc;
}

/* The guest's domain, and that it was there since this start of the host. */
static int note_domain(struct look *l)
{
    struct xlx__usb_change *c = l->c;

    if (l->t->domid == c->guest.domid &&
        !xlx__hostdev_is_earlier(l->t->boot, c->boot))
        return 0;
    l->t->domid = c->guest.domid;
    l->changed = true;
    return xlx__set_string(&l->t->boot, c->boot);
}

int xlx__usb_scan_tree(struct xlx__usb_change *c, int index,
                       const struct xlx__usb_scan *scan)
{
    struct look l = { .c = c, .scan = scan, .t = &c->record.trees[index] };
    struct xlx__usb_sockets sockets = { NULL, 0 };
    xlx_usb_host_devices devices;
    int rc;

    xlx_usb_host_devices_init(&devices);
    rc = xlx__usb_devices(&devices);
    if (rc) goto out;
    rc = xlx__usb_tree_sockets(xlx__text(l.t->selector), &sockets);
    if (rc) goto out;
    prune(&l, &devices);
    rc = scan_devices(&l, &devices, &sockets);
    if (!rc)
        rc = note_domain(&l);
    if (!rc && l.changed && !scan->dry_run)
        rc = xlx__usb_record_write(c);

 out:
    xlx__usb_sockets_dispose(&sockets);
    xlx_usb_host_devices_dispose(&devices);
    return rc;
}

/* Why nothing can be attached now; NULL when it can. */
static const char *find_obstacle(struct xlx__usb_change *c,
                                 const xlx_usb_tree *t)
{
    if (t->domid != c->guest.domid &&
        !xlx__domain_is_made(c->ctx, c->guest.domid))
        return "the guest is being started";
    if (xlx__domain_is_ending(c->ctx, c->guest.domid))
        return "the guest is ending";
    return NULL;
}

int xlx__usb_scan_trees(struct xlx__usb_change *c, bool dry_run,
                        xlx_repair_report *report)
{
    const struct xlx__usb_scan scan = {
        .dry_run = dry_run, .no_wait = true, .report = report,
    };
    const char *obstacle;
    int i, rc = 0;

    if (c->guest.domid == XLX_DOMID_NONE)
        return 0;
    for (i = 0; !rc && i < c->record.num_trees; i++) {
        if (c->record.trees[i].aside)
            continue;
        obstacle = find_obstacle(c, &c->record.trees[i]);
        if (!obstacle) {
            rc = xlx__usb_scan_tree(c, i, &scan);
            continue;
        }
        xlx__hostdev_put_off(c->patience);
        rc = xlx__report(report, false, "it is for later", "USB tree %s: %s",
                         c->record.trees[i].selector, obstacle);
    }
    return rc;
}

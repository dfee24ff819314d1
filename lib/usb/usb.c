/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attaching and detaching USB devices.  The steps of an attachment: the
 * device is looked up, the record reserves it, QEMU and controller are made
 * ready, libxl writes the port, and QEMU and the guest take the device; then
 * the record again.  Taking it back, and detaching, go the other way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "core/store.h"
#include "guest/guest.h"
#include "usb/usb.h"

#define TIMEOUT_S 30
#define UNDO_MS 10000

int64_t xlx__usb_deadline(const xlx_usb_wait *wait)
{
    uint32_t seconds = wait && wait->timeout ? wait->timeout : TIMEOUT_S;

    return xlx__now_ms() + (int64_t)seconds * 1000;
}

/* ---- may it be had? ----------------------------------------------------- */

static int check_policy(xlx_ctx *ctx, const xlx_usb_host_device *d)
{
    xlx_usb_policy policy;
    char *denied = NULL;
    int rc;

    xlx_usb_policy_init(&policy);
    rc = xlx__usb_policy_get(ctx, &policy);
    if (rc) goto out;
    rc = xlx__usb_judge(&policy, d, &denied);
    if (rc) goto out;
    if (*xlx__text(denied))
        rc = xlx__error(ERROR_FAIL, "%s: not for guests: %s; --force "
                        "attaches it all the same", d->path, denied);

 out:
    free(denied);
    xlx_usb_policy_dispose(&policy);
    return rc;
}

static int check_host(xlx_ctx *ctx, struct xlx__hostdev_world *world,
                      const xlx_guest *guest, const xlx_usb_host_device *d,
                      bool force)
{
    char *use = NULL;
    int rc;

    rc = xlx__usb_disk_use(world, d, &use);
    if (!rc && use)
        rc = xlx__error(ERROR_DEVICE_EXISTS, "%s: %s", d->path, use);
    free(use);
    if (rc || force)
        return rc;
    rc = check_policy(ctx, d);
    return rc ? rc : xlx__usb_check_host(ctx, world, guest, d);
}

int xlx__usb_check_free(xlx_ctx *ctx, const xlx_guest *guest,
                        const xlx_usb_host_device *d, bool force)
{
    struct xlx__hostdev_world *world = NULL;
    char *use = NULL;
    int rc;

    if (xlx__usb_is_hub(d))             /* libxl attaches none */
        return xlx__error(ERROR_INVAL, "%s: it is a hub: attach what is "
                          "plugged into it", d->path);
    rc = xlx__usb_guest_use(ctx, d, guest, &use);
    if (!rc && use)
        rc = xlx__error(ERROR_DEVICE_EXISTS, "%s: %s", d->path, use);
    free(use);
    if (rc) return rc;
    rc = xlx__hostdev_world_open(ctx, &world);
    if (!rc)
        rc = check_host(ctx, world, guest, d, force);
    xlx__hostdev_world_close(world);
    return rc;
}

/* ---- the entry ---------------------------------------------------------- */

/* Names a device that is not plugged in, and is kept as it is. */
static bool is_lasting(const xlx_usb_selector *s)
{
    return s->kind == XLX_USB_SELECTOR_KIND_PATH ||
           s->kind == XLX_USB_SELECTOR_KIND_SOCKET ||
           s->kind == XLX_USB_SELECTOR_KIND_ID;
}

/* By what the device is found again: see usb_attach in the IDL. */
static int durable(const xlx_usb_selector *s, const xlx_usb_host_device *d,
                   char **text_r)
{
    char *text;

    if (is_lasting(s))
        text = xlx__usb_selector_text(s);
    else if (*xlx__text(d->serial))
        text = xlx__printf("%04x:%04x:%s", d->vendor, d->product, d->serial);
    else
        text = xlx__printf("%s", d->path);
    if (!text)
        return xlx__nomem();
    free(*text_r);
    *text_r = text;
    return 0;
}

int xlx__usb_entry_is_at(xlx_usb_entry *e, const xlx_usb_host_device *d)
{
    int rc;

    e->bus = d->bus;
    e->address = d->address;
    e->vendor = d->vendor;
    e->product = d->product;
    rc = xlx__set_string(&e->serial, xlx__text(d->serial));
    if (rc) return rc;
    rc = xlx__usb_socket(d->path, &e->socket);
    if (rc) return rc;
    return xlx__set_string(&e->path, d->path);
}

/* A path means its socket: the number of its bus is another one after the next
 * boot of the host. */
static int keep_socket(const xlx_usb_selector *s, xlx_usb_entry *e)
{
    return s->kind == XLX_USB_SELECTOR_KIND_PATH
        ? xlx__usb_socket(e->selector, &e->socket) : 0;
}

static int describe(const xlx_usb_binding *b, const xlx_usb_selector *s,
                    const xlx_usb_host_device *d, xlx_usb_entry *e)
{
    int rc;

    e->once = b->once;
    e->reset = b->reset;
    e->force = b->force;
    e->configured = b->configured;
    rc = durable(s, d, &e->selector);
    return rc ? rc : keep_socket(s, e);
}

static int make_entry(struct xlx__usb_change *c, const xlx_usb_binding *b,
                      const xlx_usb_selector *s, const xlx_usb_host_device *d,
                      xlx_usb_entry *e)
{
    int rc;

    if (d->bus > UINT8_MAX || d->address > UINT8_MAX)
        return xlx__error(ERROR_INVAL, "%s: libxl knows no bus or address "
                          "above 255", d->path);
    e->status = XLX_USB_STATUS_ATTACHING;
    rc = xlx__usb_entry_is_on(c, e, c->guest.domid);
    if (rc) return rc;
    rc = describe(b, s, d, e);
    if (rc) return rc;
    rc = xlx__usb_entry_is_at(e, d);
    if (rc) return rc;
    return xlx__usb_choose_port(c, b, d, e);
}

/* ---- attach ------------------------------------------------------------- */

static int already_has(const struct xlx__usb_change *c,
                       const xlx_usb_host_device *d)
{
    xlx_usb_ctrls list;
    int i, j, rc;

    for (i = 0; i < c->record.num_entries; i++)
        if (xlx__usb_is_for(&c->record.entries[i], d))
            return xlx__error(ERROR_DEVICE_EXISTS, "%s: the guest %s", d->path,
                              c->record.entries[i].status ==
                              XLX_USB_STATUS_ATTACHED ? "has it already"
                              : "waits for it: xl usb-repair attaches it");
    xlx_usb_ctrls_init(&list);
    rc = xlx__usb_ctrls(c->ctx, c->guest.domid, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++)
        for (j = 0; !rc && j < list.ctrls[i].num_ports; j++)
            if (!strcmp(list.ctrls[i].ports[j].path, d->path))
                rc = xlx__error(ERROR_DEVICE_EXISTS, "%s: the guest has it "
                                "already, from another tool", d->path);
    xlx_usb_ctrls_dispose(&list);
    return rc;
}

/* From here on the device is the guest's.  Any other process that wants it
 * looks while holding the same lock. */
static int reserve(struct xlx__usb_change *c, const xlx_usb_host_device *d,
                   const xlx_usb_entry *e, bool dry_run)
{
    struct xlx__lock host = XLX__LOCK_NONE;
    char *use = NULL;
    int rc;

    rc = xlx__lock_host(c->ctx, "devices", &host);
    if (rc) return rc;
    rc = already_has(c, d);
    if (rc) goto out;
    rc = xlx__usb_check_free(c->ctx, &c->guest, d, e->force);
    if (rc) goto out;
    rc = xlx__usb_tree_use(c->ctx, d, &c->guest, &use);
    if (!rc && use)
        rc = xlx__error(ERROR_DEVICE_EXISTS, "%s: %s, and it is in that",
                        d->path, use);
    if (rc) goto out;
    if (!dry_run)
        rc = xlx__usb_entry_append(c, e);
    if (rc) goto out;
    if (!dry_run)
        rc = xlx__usb_record_write(c);

 out:
    free(use);
    xlx__unlock(&host);
    return rc;
}

int xlx__usb_reserve(struct xlx__usb_change *c, const xlx_usb_binding *b,
                     const xlx_usb_selector *s, const xlx_usb_host_device *d,
                     bool dry_run, xlx_usb_entry *e)
{
    int rc;

    rc = make_entry(c, b, s, d, e);
    return rc ? rc : reserve(c, d, e, dry_run);
}

/* Takes back what was done before the failure rc, whose message stays. */
static int take_back(struct xlx__usb_change *c, const xlx_usb_entry *e,
                     int rc)
{
    struct xlx__error_text why;
    int r;

    xlx__error_save(&why);
    r = xlx__usb_disconnect(c, e, xlx__now_ms() + UNDO_MS);
    if (!r)
        r = xlx__usb_release(c, e);
    if (!r)
        xlx__usb_entry_drop(c, e->ctrl, e->port);
    else
        xlx__usb_entry(&c->record, e->ctrl, e->port)->status =
            XLX_USB_STATUS_DETACHING;
    if (xlx__usb_record_write(c))
        r = ERROR_FAIL;
    xlx__error_restore(&why);
    return r ? xlx__error(rc, "%s; not all of it could be taken back: xl "
                          "usb-repair does that", why.line) : rc;
}

int xlx__usb_attach_reserved(struct xlx__usb_change *c,
                             const xlx_usb_host_device *d, xlx_usb_entry *e,
                             bool no_wait, int64_t deadline)
{
    int rc;

    rc = xlx__usb_connect(c, e, d, no_wait, deadline);
    if (rc)
        return take_back(c, e, rc);
    e->status = XLX_USB_STATUS_ATTACHED;
    xlx__usb_entry(&c->record, e->ctrl, e->port)->status = e->status;
    rc = xlx__usb_record_write(c);
    return rc ? take_back(c, e, rc) : 0;
}

/* A port is kept for what is not plugged in. */
static int wait_for(struct xlx__usb_change *c, const xlx_usb_binding *b,
                    const xlx_usb_selector *s, bool dry_run,
                    xlx_usb_entry *e)
{
    int i, rc;

    if (!is_lasting(s))
        return xlx__error(ERROR_INVAL, "selector \"%s\": it is not plugged in,"
                          " and only what is named by path, socket or ID can"
                          " be waited for", b->selector);
    rc = xlx__usb_check_place(c, s);
    if (!rc)
        rc = describe(b, s, NULL, e);
    if (!rc)
        rc = xlx__usb_choose_port(c, b, NULL, e);
    for (i = 0; !rc && i < c->record.num_entries; i++)
        if (!strcmp(xlx__text(c->record.entries[i].selector), e->selector))
            rc = xlx__error(ERROR_DEVICE_EXISTS, "selector \"%s\": the guest "
                            "has it already", e->selector);
    if (rc) return rc;
    rc = xlx__usb_entry_is_on(c, e, c->guest.domid);
    if (rc) return rc;
    e->status = XLX_USB_STATUS_MISSING;
    if (dry_run)
        return 0;
    rc = xlx__usb_entry_append(c, e);
    return rc ? rc : xlx__usb_record_write(c);
}

int xlx__usb_begin(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                   struct xlx__usb_change *c)
{
    int rc;

    rc = xlx__usb_open(ctx, guest, c);
    if (rc) return rc;
    if (c->guest.domid == XLX_DOMID_NONE)
        return xlx__error(ERROR_NOT_READY, "%s: it does not run, and only a "
                          "running guest can be given USB devices",
                          xlx__text(guest->name));
    return xlx__usb_recover(c, dry_run, NULL);
}

/* The config decides about its devices: what is recorded of one, and is not in
 * the guest's domain yet, makes way. */
static void make_way(struct xlx__usb_change *c,
                     const xlx_usb_host_devices *devices,
                     const xlx_usb_host_device *d)
{
    const xlx_usb_host_device *other;
    int i = c->record.num_entries;
    const xlx_usb_entry *e;
    xlx_usb_selector s;

    while (i--) {
        e = &c->record.entries[i];
        xlx_usb_selector_init(&s);
        if (e->domid != c->guest.domid &&
            !xlx__usb_selector_read(c->ctx, xlx__text(e->selector), &s) &&
            !xlx__usb_pick(devices, &s, &other) && other == d)
            xlx__usb_entry_drop(c, e->ctrl, e->port);
        xlx_usb_selector_dispose(&s);
    }
    xlx__error_clear();
}

int xlx__usb_attach(xlx_ctx *ctx, const xlx_guest *guest,
                    const xlx_usb_binding *binding, const xlx_usb_wait *wait,
                    xlx_usb_entry *e)
{
    bool dry_run = wait && wait->dry_run;
    const xlx_usb_host_device *d;
    xlx_usb_host_devices devices;
    struct xlx__usb_change c;
    xlx_usb_selector s, now;
    int rc;

    xlx_usb_selector_init(&s);
    xlx_usb_selector_init(&now);
    xlx_usb_host_devices_init(&devices);
    rc = binding->tree
        ? xlx__error(ERROR_INVAL, "selector \"%s\": a tree is for "
                     "xlx_usb_tree_attach()", xlx__text(binding->selector))
        : xlx__usb_selector_read(ctx, xlx__text(binding->selector), &s);
    if (rc) goto out_early;
    rc = xlx__usb_begin(ctx, guest, dry_run, &c);
    if (rc) goto out;
    rc = xlx_usb_selector_copy(ctx, &now, &s);
    if (rc) goto out;
    rc = xlx__usb_resolve(&now);
    if (rc) goto out;
    rc = xlx__usb_devices(&devices);
    if (rc) goto out;
    rc = xlx__usb_pick(&devices, &now, &d);
    if (rc == ERROR_NOTFOUND && binding->optional) {
        xlx__error_clear();
        rc = wait_for(&c, binding, &s, dry_run, e);
        goto out;
    }
    if (rc) goto out;
    if (binding->configured)
        make_way(&c, &devices, d);
    rc = xlx__usb_reserve(&c, binding, &s, d, dry_run, e);
    if (rc || dry_run)
        goto out;
    xlx__fault("usb-attach.intent");
    rc = xlx__usb_attach_reserved(&c, d, e, wait && wait->no_wait,
                                  xlx__usb_deadline(wait));

 out:
    xlx__usb_end(&c);
 out_early:
    xlx_usb_host_devices_dispose(&devices);
    xlx_usb_selector_dispose(&now);
    xlx_usb_selector_dispose(&s);
    return rc;
}

/* ---- detach ------------------------------------------------------------- */

bool xlx__usb_parse_place(const char *which, uint32_t *ctrl_r,
                          uint32_t *port_r)
{
    return xlx__take_u32(&which, UINT32_MAX, ctrl_r) &&
           xlx__take_word(&which, "/") &&
           xlx__parse_u32(which, UINT32_MAX, port_r);
}

static bool port_matches(const xlx_usb_port *port, const xlx_usb_entry *e,
                         const char *which, const xlx_usb_selector *s)
{
    if (port->present && xlx__usb_selector_matches(s, &port->device))
        return true;
    if (s->kind == XLX_USB_SELECTOR_KIND_ID && e && !*xlx__text(s->serial))
        return s->vendor == e->vendor && s->product == e->product;
    return !strcmp(xlx__text(port->path), which) ||
           !strcmp(xlx__text(port->selector), which);
}

/* A device that another tool attached gets an entry of its own. */
static int entry_of(struct xlx__usb_change *c, const xlx_usb_ctrl *ctrl,
                    const xlx_usb_port *port, xlx_usb_entry *found)
{
    const xlx_usb_entry *e = xlx__usb_entry(&c->record, ctrl->devid,
                                            port->number);

    if (e && xlx__usb_is_on(e, port->path))
        return xlx_usb_entry_copy(c->ctx, found, e);
    found->status = XLX_USB_STATUS_UNKNOWN;
    found->ctrl = ctrl->devid;
    found->port = port->number;
    found->type = ctrl->type;
    found->bus = port->device.bus;
    found->address = port->device.address;
    found->vendor = port->device.vendor;
    found->product = port->device.product;
    return xlx__set_string(&found->path, port->path);
}

/* One way of saying which of the guest's devices is meant. */
struct which {
    const char *text;
    bool place;                     /* CONTROLLER/PORT, else a selector */
    uint32_t ctrl, port;
    xlx_usb_selector s;
};

static int search(struct xlx__usb_change *c, const struct which *w,
                  const xlx_usb_ctrls *list, xlx_usb_entry *found)
{
    int i, j, num = 0, rc = 0;

    for (i = 0; !rc && i < list->num_ctrls; i++)
        for (j = 0; !rc && j < list->ctrls[i].num_ports; j++) {
            const xlx_usb_ctrl *ctrl = &list->ctrls[i];
            const xlx_usb_port *port = &ctrl->ports[j];
            const xlx_usb_entry *e = xlx__usb_entry(&c->record, ctrl->devid,
                                                    port->number);

            if (w->place ? ctrl->devid == w->ctrl && port->number == w->port
                         : port_matches(port, e, w->text, &w->s))
                rc = num++ ? 0 : entry_of(c, ctrl, port, found);
        }
    if (!rc && !num)
        rc = xlx__error(ERROR_NOTFOUND, "\"%s\": the guest has no such USB "
                        "device", w->text);
    else if (!rc && num > 1)
        rc = xlx__error(ERROR_INVAL, "\"%s\": the guest has %d such devices; "
                        "name one by CONTROLLER/PORT", w->text, num);
    return rc;
}

static int find_port(struct xlx__usb_change *c, const char *text,
                     xlx_usb_entry *found)
{
    struct which w = { .text = text };
    xlx_usb_ctrls list;
    int rc = 0;

    xlx_usb_selector_init(&w.s);
    xlx_usb_ctrls_init(&list);
    w.place = xlx__usb_parse_place(text, &w.ctrl, &w.port);
    if (!w.place)
        rc = xlx__usb_selector_read(c->ctx, text, &w.s);
    if (rc) goto out;
    if (!w.place)
        rc = xlx__usb_resolve(&w.s);
    if (rc) goto out;
    rc = xlx__usb_ctrl_list(c->ctx, &c->guest, &list);
    if (rc) goto out;
    rc = search(c, &w, &list, found);

 out:
    xlx_usb_ctrls_dispose(&list);
    xlx_usb_selector_dispose(&w.s);
    return rc;
}

int xlx__usb_take_off(struct xlx__usb_change *c, const xlx_usb_entry *e,
                      int64_t deadline)
{
    xlx_usb_entry *own = e->status == XLX_USB_STATUS_UNKNOWN ? NULL
                         : xlx__usb_entry(&c->record, e->ctrl, e->port);
    int rc;

    if (own) {
        own->status = XLX_USB_STATUS_DETACHING;
        rc = xlx__usb_record_write(c);
        if (rc) return rc;
        xlx__fault("usb-detach.intent");
    }
    rc = xlx__usb_disconnect(c, e, deadline);
    if (rc) return rc;
    rc = xlx__usb_release(c, e);
    if (rc || !own)
        return rc;
    xlx__usb_entry_drop(c, e->ctrl, e->port);
    return xlx__usb_record_write(c);
}

int xlx__usb_detach(xlx_ctx *ctx, const xlx_guest *guest, const char *which,
                    const xlx_usb_wait *wait, xlx_usb_entry *entry)
{
    struct xlx__usb_change c;
    int rc;

    rc = xlx__usb_open(ctx, guest, &c);
    if (rc) goto out;
    rc = find_port(&c, which, entry);
    if (rc == ERROR_NOTFOUND && xlx__usb_has_tree(&c, which))
        rc = xlx__error(rc, "\"%s\": the guest has no such USB device, but a "
                        "USB tree: usb-detach --tree", which);
    if (rc || (wait && wait->dry_run))
        goto out;
    rc = xlx__usb_leave_out(&c, entry);
    if (!rc && c.record.num_trees)
        rc = xlx__usb_record_write(&c);
    if (!rc)
        rc = xlx__usb_take_off(&c, entry, xlx__usb_deadline(wait));

 out:
    xlx__usb_end(&c);
    return rc;
}

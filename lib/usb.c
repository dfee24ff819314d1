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

#include "guest.h"
#include "store.h"
#include "usb.h"

#define TIMEOUT_S 30
#define UNDO_MS 10000
#define MAX_PORT 31                 /* public/io/usbif.h */
#define NO_CTRL UINT32_MAX

static int64_t deadline_of(const xlx_usb_wait *wait)
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
    if (!rc)
        rc = xlx__usb_judge(&policy, d, &denied);
    if (!rc && *xlx__text(denied))
        rc = xlx__error(ERROR_FAIL, "%s: not for guests: %s; --force "
                        "attaches it all the same", d->path, denied);
    free(denied);
    xlx_usb_policy_dispose(&policy);
    return rc;
}

int xlx__usb_check_free(xlx_ctx *ctx, const xlx_guest *guest,
                        const xlx_usb_host_device *d, bool force)
{
    char *use = NULL;
    int rc;

    if (xlx__usb_is_hub(d))             /* libxl attaches none */
        return xlx__error(ERROR_INVAL, "%s: it is a hub: attach what is "
                          "plugged into it", d->path);
    rc = xlx__usb_guest_use(ctx, d, guest, &use);
    if (!rc && use)
        rc = xlx__error(ERROR_DEVICE_EXISTS, "%s: %s", d->path, use);
    free(use);
    if (rc || force)
        return rc;
    rc = check_policy(ctx, d);
    if (rc) return rc;
    use = NULL;
    rc = xlx__usb_host_use(d, &use);
    if (!rc && *use)
        rc = xlx__error(ERROR_DEVICE_EXISTS, "%s: this host uses it: %s",
                        d->path, use);
    free(use);
    return rc;
}

/* ---- where to ----------------------------------------------------------- */

static int auto_type(xlx_ctx *ctx, uint32_t domid, xlx_usb_type *type)
{
    libxl_dominfo info;
    libxl_ctx *xl;
    bool hvm;
    int rc;

    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc) return rc;
    libxl_dominfo_init(&info);
    rc = libxl_domain_info(xl, &info, domid);
    hvm = !rc && info.domain_type == LIBXL_DOMAIN_TYPE_HVM;
    libxl_dominfo_dispose(&info);
    if (rc)
        return xlx__error(rc, "domain %u: %s", domid,
                          xlx__ctx_libxl_said(ctx, rc));
    if (*type == XLX_USB_TYPE_AUTO)
        *type = hvm ? XLX_USB_TYPE_DEVICEMODEL : XLX_USB_TYPE_QUSB;
    else if (*type == XLX_USB_TYPE_PV)
        return xlx__error(ERROR_INVAL, "type pv: Linux has no driver for it; "
                          "use qusb");
    else if (*type == XLX_USB_TYPE_DEVICEMODEL && !hvm)
        return xlx__error(ERROR_INVAL, "type devicemodel: only for an HVM "
                          "guest; use qusb");
    return 0;
}

static bool port_is_free(const struct xlx__usb_change *c,
                         const xlx_usb_ctrl *ctrl, uint32_t port)
{
    int i;

    for (i = 0; i < ctrl->num_ports; i++)
        if (ctrl->ports[i].number == port)
            return false;
    return !xlx__usb_entry(&c->record, ctrl->devid, port);
}

/* Takes the port that was asked for, or the first that is free; 1 when there
 * is none. */
static int take_port(const struct xlx__usb_change *c,
                     const xlx_usb_ctrl *ctrl, uint32_t wanted,
                     xlx_usb_entry *e)
{
    uint32_t port;

    for (port = 1; port <= ctrl->size; port++) {
        if ((wanted && port != wanted) || !port_is_free(c, ctrl, port))
            continue;
        e->ctrl = ctrl->devid;
        e->port = port;
        e->type = ctrl->type;
        e->version = ctrl->version;
        return 0;
    }
    return 1;
}

static int take_named(const struct xlx__usb_change *c,
                      const xlx_usb_ctrls *list, const xlx_usb_binding *b,
                      const xlx_usb_host_device *d, xlx_usb_entry *e)
{
    const xlx_usb_ctrl *ctrl = NULL;
    int i, rc;

    for (i = 0; i < list->num_ctrls; i++)
        if (list->ctrls[i].devid == b->ctrl)
            ctrl = &list->ctrls[i];
    if (!ctrl)
        return xlx__error(ERROR_NOTFOUND, "controller %u: the guest has no "
                          "such USB controller", b->ctrl);
    if (b->port > ctrl->size)
        return xlx__error(ERROR_INVAL, "port %u: controller %u has %u ports",
                          b->port, ctrl->devid, ctrl->size);
    rc = xlx__usb_fits(ctrl->type, ctrl->version, b->force, d);
    if (rc) return rc;
    rc = take_port(c, ctrl, b->port, e);
    if (!rc)
        return 0;
    if (b->port)
        return xlx__error(ERROR_DEVICE_EXISTS, "port %u of controller %u is "
                          "taken", b->port, ctrl->devid);
    return xlx__error(ERROR_DEVICE_EXISTS, "controller %u has no free port",
                      ctrl->devid);
}

/* A number that neither xenstore nor the record has. */
static uint32_t new_devid(const struct xlx__usb_change *c,
                          const xlx_usb_ctrls *list)
{
    uint32_t devid = 0;
    int i;

    for (i = 0; i < list->num_ctrls; i++)
        if (list->ctrls[i].devid >= devid)
            devid = list->ctrls[i].devid + 1;
    for (i = 0; i < c->record.num_entries; i++)
        if (c->record.entries[i].ctrl >= devid)
            devid = c->record.entries[i].ctrl + 1;
    return devid;
}

/* One that fits and has a free port, else one that is yet to be made. */
static int take_any(const struct xlx__usb_change *c,
                    const xlx_usb_ctrls *list, const xlx_usb_binding *b,
                    xlx_usb_type type, const xlx_usb_host_device *d,
                    xlx_usb_entry *e)
{
    uint32_t version = b->version;
    int i, rc;

    for (i = 0; i < list->num_ctrls; i++) {
        const xlx_usb_ctrl *ctrl = &list->ctrls[i];

        if (ctrl->type == type && (!version || ctrl->version == version) &&
            !xlx__usb_fits(type, ctrl->version, b->force, d) &&
            !take_port(c, ctrl, 0, e))
            return 0;
    }
    xlx__error_clear();
    if (!version)
        version = type == XLX_USB_TYPE_DEVICEMODEL ? 3 : 2;
    if (version > 3 || (version == 3 && type == XLX_USB_TYPE_QUSB))
        return xlx__error(ERROR_INVAL, "version %u: 1 or 2 for qusb, 1 to 3 "
                          "for devicemodel", version);
    rc = xlx__usb_fits(type, version, b->force, d);
    if (rc) return rc;
    e->ctrl = new_devid(c, list);
    e->port = 1;
    e->type = type;
    e->version = version;
    e->made_ctrl = true;
    return 0;
}

/* Controllers that were made for a device go with the last one on them. */
static void inherit_made(const struct xlx__usb_change *c, xlx_usb_entry *e)
{
    int i;

    for (i = 0; i < c->record.num_entries; i++)
        if (c->record.entries[i].ctrl == e->ctrl)
            e->made_ctrl = c->record.entries[i].made_ctrl;
}

static int choose_port(struct xlx__usb_change *c, const xlx_usb_binding *b,
                       const xlx_usb_host_device *d, xlx_usb_entry *e)
{
    xlx_usb_type type = b->type;
    xlx_usb_ctrls list;
    int rc;

    if (b->port && b->ctrl == NO_CTRL)
        return xlx__error(ERROR_INVAL, "port %u: of which controller?",
                          b->port);
    if (b->port > MAX_PORT)
        return xlx__error(ERROR_INVAL, "port %u: ports are 1 to %d", b->port,
                          MAX_PORT);
    rc = auto_type(c->ctx, c->guest.domid, &type);
    if (rc) return rc;
    xlx_usb_ctrls_init(&list);
    rc = xlx__usb_ctrls(c->ctx, c->guest.domid, &list);
    if (!rc)
        rc = b->ctrl != NO_CTRL ? take_named(c, &list, b, d, e)
                                : take_any(c, &list, b, type, d, e);
    if (!rc && !e->made_ctrl)
        inherit_made(c, e);
    xlx_usb_ctrls_dispose(&list);
    return rc;
}

/* ---- the entry ---------------------------------------------------------- */

/* By what the device is found again: see usb_attach in the IDL. */
static int durable(const xlx_usb_selector *s, const xlx_usb_host_device *d,
                   char **text_r)
{
    const char *serial = xlx__text(d->serial);
    char *text;

    if (s->kind == XLX_USB_SELECTOR_KIND_PATH ||
        s->kind == XLX_USB_SELECTOR_KIND_ID)
        text = xlx__usb_selector_text(s);
    else if (*serial)
        text = xlx__printf("%04x:%04x:%s", d->vendor, d->product, serial);
    else
        text = xlx__printf("%s", d->path);
    if (!text)
        return xlx__error(ERROR_NOMEM, "out of memory");
    free(*text_r);
    *text_r = text;
    return 0;
}

int xlx__usb_entry_is_at(xlx_usb_entry *e, const xlx_usb_host_device *d)
{
    e->bus = d->bus;
    e->address = d->address;
    e->vendor = d->vendor;
    e->product = d->product;
    return xlx__set_string(&e->path, d->path);
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
    e->domid = c->guest.domid;
    e->once = b->once;
    e->reset = b->reset;
    e->force = b->force;
    rc = durable(s, d, &e->selector);
    if (!rc)
        rc = xlx__usb_entry_is_at(e, d);
    if (!rc)
        rc = choose_port(c, b, d, e);
    return rc;
}

/* ---- attach ------------------------------------------------------------- */

static int already_has(const struct xlx__usb_change *c,
                       const xlx_usb_host_device *d)
{
    xlx_usb_ctrls list;
    int i, j, rc;

    for (i = 0; i < c->record.num_entries; i++)
        if (!strcmp(xlx__text(c->record.entries[i].path), d->path) &&
            c->record.entries[i].status != XLX_USB_STATUS_MISSING)
            return xlx__error(ERROR_DEVICE_EXISTS, "%s: the guest has it "
                              "already", d->path);
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

/* From here on the device is the guest's.  Whoever else wants it looks while
 * holding the same lock. */
static int reserve(struct xlx__usb_change *c, const xlx_usb_host_device *d,
                   const xlx_usb_entry *e, bool dry_run)
{
    struct xlx__lock host = XLX__LOCK_NONE;
    int rc;

    rc = xlx__lock_host(c->ctx, "usb", &host);
    if (rc) return rc;
    rc = already_has(c, d);
    if (!rc)
        rc = xlx__usb_check_free(c->ctx, &c->guest, d, e->force);
    if (!rc && !dry_run)
        rc = xlx__usb_entry_append(c, e);
    if (!rc && !dry_run)
        rc = xlx__usb_record_write(c);
    xlx__unlock(&host);
    return rc;
}

/* Takes back what was done before the failure rc, whose message stays. */
static int take_back(struct xlx__usb_change *c, const xlx_usb_entry *e,
                     int rc)
{
    char *why = strdup(xlx_get_error());
    int r;

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
    if (why)
        xlx__error(rc, "%s%s", why, r ? "; not all of it could be taken "
                   "back: xl usb-repair does that" : "");
    free(why);
    return rc;
}

static int attach(struct xlx__usb_change *c, const xlx_usb_host_device *d,
                  xlx_usb_entry *e, const xlx_usb_wait *wait)
{
    int rc;

    rc = xlx__usb_connect(c, e, d, wait && wait->no_wait, deadline_of(wait));
    if (rc)
        return take_back(c, e, rc);
    e->status = XLX_USB_STATUS_ATTACHED;
    xlx__usb_entry(&c->record, e->ctrl, e->port)->status = e->status;
    rc = xlx__usb_record_write(c);
    return rc ? take_back(c, e, rc) : 0;
}

static int begin(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
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

int xlx__usb_attach(xlx_ctx *ctx, const xlx_guest *guest,
                    const xlx_usb_binding *binding, const xlx_usb_wait *wait,
                    xlx_usb_entry *e)
{
    bool dry_run = wait && wait->dry_run;
    const xlx_usb_host_device *d;
    xlx_usb_host_devices devices;
    struct xlx__usb_change c;
    xlx_usb_selector s;
    int rc;

    xlx_usb_selector_init(&s);
    xlx_usb_host_devices_init(&devices);
    rc = xlx__usb_selector_from_text(ctx, xlx__text(binding->selector), &s);
    if (rc) goto out_early;
    rc = begin(ctx, guest, dry_run, &c);
    if (rc) goto out;
    rc = xlx__usb_resolve(&s);
    if (rc) goto out;
    rc = xlx__usb_devices(&devices);
    if (rc) goto out;
    rc = xlx__usb_pick(&devices, &s, &d);
    if (rc) goto out;
    rc = make_entry(&c, binding, &s, d, e);
    if (rc) goto out;
    rc = reserve(&c, d, e, dry_run);
    if (rc || dry_run)
        goto out;
    xlx__fault("usb-attach.intent");
    rc = attach(&c, d, e, wait);

 out:
    xlx__usb_end(&c);
 out_early:
    xlx_usb_host_devices_dispose(&devices);
    xlx_usb_selector_dispose(&s);
    return rc;
}

/* ---- detach ------------------------------------------------------------- */

/* "CONTROLLER/PORT" */
static bool parse_place(const char *which, uint32_t *ctrl_r, uint32_t *port_r)
{
    int end = -1;

    return sscanf(which, "%10u/%10u%n", ctrl_r, port_r, &end) == 2 &&
           end >= 0 && !which[end];
}

static bool is_meant(const xlx_usb_port *port, const xlx_usb_entry *e,
                     const char *which, const xlx_usb_selector *s)
{
    if (port->present && xlx__usb_selector_matches(s, &port->device))
        return true;
    if (s->kind == XLX_USB_SELECTOR_KIND_ID && e && !*xlx__text(s->serial))
        return s->vendor == e->vendor && s->product == e->product;
    return !strcmp(xlx__text(port->path), which) ||
           !strcmp(xlx__text(port->selector), which);
}

/* What of the guest's is meant; what another tool attached gets an entry of
 * its own. */
static int find_port(struct xlx__usb_change *c, const char *which,
                     xlx_usb_entry *found)
{
    uint32_t ctrl = 0, port = 0;
    xlx_usb_selector s;
    xlx_usb_ctrls list;
    int i, j, num = 0, rc = 0;
    bool place;

    xlx_usb_selector_init(&s);
    xlx_usb_ctrls_init(&list);
    place = parse_place(which, &ctrl, &port);
    if (!place)
        rc = xlx__usb_selector_from_text(c->ctx, which, &s);
    if (!rc && !place)
        rc = xlx__usb_resolve(&s);
    if (!rc)
        rc = xlx__usb_ctrl_list(c->ctx, &c->guest, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++)
        for (j = 0; !rc && j < list.ctrls[i].num_ports; j++) {
            const xlx_usb_port *p = &list.ctrls[i].ports[j];
            const xlx_usb_entry *e = xlx__usb_entry(
                &c->record, list.ctrls[i].devid, p->number);

            if (place ? list.ctrls[i].devid != ctrl || p->number != port
                      : !is_meant(p, e, which, &s))
                continue;
            if (num++)
                continue;
            if (e) {
                rc = xlx_usb_entry_copy(c->ctx, found, e);
                continue;
            }
            found->status = XLX_USB_STATUS_UNKNOWN;
            found->ctrl = list.ctrls[i].devid;
            found->port = p->number;
            found->type = list.ctrls[i].type;
            found->bus = p->device.bus;
            found->address = p->device.address;
            rc = xlx__set_string(&found->path, p->path);
        }
    if (!rc && num != 1)
        rc = num ? xlx__error(ERROR_INVAL, "\"%s\": the guest has %d such "
                              "devices; name one by CONTROLLER/PORT", which,
                              num)
                 : xlx__error(ERROR_NOTFOUND, "\"%s\": the guest has no such"
                              " USB device", which);
    xlx_usb_ctrls_dispose(&list);
    xlx_usb_selector_dispose(&s);
    return rc;
}

int xlx__usb_take_off(struct xlx__usb_change *c, const xlx_usb_entry *e,
                      int64_t deadline)
{
    xlx_usb_entry *own = xlx__usb_entry(&c->record, e->ctrl, e->port);
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
    if (!rc)
        rc = find_port(&c, which, entry);
    if (!rc && !(wait && wait->dry_run))
        rc = xlx__usb_take_off(&c, entry, deadline_of(wait));
    xlx__usb_end(&c);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SCSI and USB ask each other: a stick whose disk a guest has as a SCSI device
 * is not given away, and no disk on a stick that a guest has, or waits for, as
 * a USB device.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "gen-calls.h"
#include "gen-records.h"
#include "guest/guest.h"
#include "hostdev/hostdev-use.h"
#include "hostdev/hostdev.h"

struct search {
    const struct xlx__hostdev_tree *tree;
    const char *boot;               /* this start of the host */
    char **use_r;
};

static const char *base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* ---- a guest's SCSI devices --------------------------------------------- */

/* The value of an identity of that kind, "KIND VALUE"; NULL for others. */
static const char *value_of(const char *identity, const char *kind)
{
    size_t len = strlen(kind);

    return strncmp(identity, kind, len) || identity[len] != ' '
        ? NULL : identity + len + 1;
}

/* Doubt keeps it; serial number and size are not compared, so that there is
 * more of it. */
static int is_lun_of(const xlx_scsi_entry *e, const char *boot,
                     const struct xlx__hostdev_node *node, bool *yes_r)
{
    const struct xlx__hostdev_identity was = {
        .id = xlx__text(e->identity), .serial = "",
        .vendor = xlx__text(e->vendor), .model = xlx__text(e->model),
        .type = "", .place = xlx__text(e->hctl),
    };
    struct xlx__hostdev_identity is = {
        .serial = "", .type = "", .place = node->name,
    };
    char *wwid, *vendor, *model = NULL, *id = NULL;
    int rc = 0;

    wwid = xlx__attr_text("%s/wwid", node->dir);
    vendor = wwid ? xlx__attr_text("%s/vendor", node->dir) : NULL;
    model = vendor ? xlx__attr_text("%s/model", node->dir) : NULL;
    if (!model) {
        rc = xlx__attr_failure();
        goto out;
    }
    id = *wwid ? xlx__printf("wwid %s", wwid)
               : xlx__printf("hctl %s", node->name);
    if (!id) {
        rc = xlx__nomem();
        goto out;
    }
    is.id = id;
    is.vendor = vendor;
    is.model = model;
    *yes_r = xlx__hostdev_compare(&was, &is, !xlx__hostdev_is_earlier(
                                      e->boot, boot)) != XLX__HOSTDEV_OTHER;

 out:
    free(wwid);
    free(vendor);
    free(model);
    free(id);
    return rc;
}

static bool is_block_of(const xlx_scsi_entry *e,
                        const struct xlx__hostdev_node *node)
{
    const char *number = value_of(xlx__text(e->identity), "block");
    uint32_t maj, min;

    return number && xlx__take_u32(&number, UINT32_MAX, &maj) &&
           xlx__take_word(&number, ":") &&
           xlx__parse_u32(number, UINT32_MAX, &min) &&
           node->number == makedev(maj, min);
}

static int is_scsi_entry_in(const xlx_scsi_entry *e, const struct search *s,
                            bool *yes_r)
{
    const struct xlx__hostdev_tree *tree = s->tree;
    int i, rc = 0;

    *yes_r = false;
    for (i = 0; !rc && !*yes_r && i < tree->num; i++)
        if (tree->list[i].kind == XLX__HOSTDEV_LUN)
            rc = is_lun_of(e, s->boot, &tree->list[i], yes_r);
        else if (tree->list[i].kind == XLX__HOSTDEV_BLOCK)
            *yes_r = is_block_of(e, &tree->list[i]);
    return rc;
}

static int search_scsi(xlx_ctx *ctx, const xlx_guest *guest, void *user)
{
    const struct search *s = user;
    xlx_scsi_record record;
    const xlx_scsi_entry *e;
    bool yes = false;
    int i, rc;

    xlx_scsi_record_init(&record);
    rc = xlx__scsi_record_load(ctx, &guest->uuid, &record, NULL);
    for (i = 0; !rc && !yes && i < record.num_entries; i++) {
        e = &record.entries[i];
        rc = is_scsi_entry_in(e, s, &yes);
        if (rc || !yes)
            continue;
        *s->use_r = xlx__printf("guest \"%s\" has its disk as SCSI device %s",
                                xlx__text(guest->name),
                                xlx__text(e->dev.vdev));
        rc = *s->use_r ? 0 : xlx__nomem();
    }
    xlx_scsi_record_dispose(&record);
    return rc || yes ? rc : ERROR_NOTFOUND;
}

/* Does the text of a record that cannot be read name something of it? */
static bool scsi_names_device(const char *text, void *user)
{
    const struct search *s = user;
    const struct xlx__hostdev_node *node;
    char *wwid;
    bool named = false;
    int i;

    for (i = 0; !named && i < s->tree->num; i++) {
        node = &s->tree->list[i];
        if (node->kind != XLX__HOSTDEV_LUN && node->kind != XLX__HOSTDEV_BLOCK)
            continue;
        wwid = xlx__attr_text("%s/wwid", node->dir);
        named = !wwid || strstr(text, node->name) ||
                (*wwid && strstr(text, wwid));
        free(wwid);
    }
    return named;
}

/* ---- a guest's USB devices ---------------------------------------------- */

static int number_of(const char *dir, const char *attribute, uint32_t *value_r)
{
    char *text = xlx__attr_text("%s/%s", dir, attribute);
    uint64_t value = 0;

    if (!text)
        return xlx__attr_failure();
    xlx__parse_hex(text, UINT32_MAX, &value);
    free(text);
    *value_r = (uint32_t)value;
    return 0;
}

/* Is the device below that controller, ".../0000:00:14.0/usb1/1-2", on those
 * ports?  Not one that is in the same socket at another speed. */
static bool is_in_socket(const xlx_usb_selector *s, const char *dir)
{
    const char *controller = xlx__text(s->controller), *ports, *end, *start;
    size_t len;

    ports = strchr(base(dir), '-');
    end = strstr(dir, "/usb");
    controller += strcspn(controller, "-");
    if (!ports || strcmp(ports + 1, xlx__text(s->ports)) || !end ||
        !*controller)
        return false;
    for (start = end; start > dir && start[-1] != '/'; start--)
        ;
    len = strlen(++controller);
    return (size_t)(end - start) == len && !strncmp(start, controller, len);
}

/* Is it the device at that directory that a guest waits for by this selector?
 * Only places, sockets and IDs are recorded. */
static int is_waited_for(const xlx_usb_selector *s, const char *dir,
                         uint32_t vendor, uint32_t product, bool *yes_r)
{
    char *place, *serial;

    *yes_r = false;
    if (s->kind == XLX_USB_SELECTOR_KIND_PATH) {
        place = xlx__printf("%u-%s", s->bus, xlx__text(s->ports));
        if (!place)
            return xlx__nomem();
        *yes_r = !strcmp(place, base(dir));
        free(place);
    } else if (s->kind == XLX_USB_SELECTOR_KIND_SOCKET) {
        *yes_r = is_in_socket(s, dir);
    } else if (s->kind == XLX_USB_SELECTOR_KIND_ID) {
        serial = xlx__attr_text("%s/serial", dir);
        if (!serial)
            return xlx__attr_failure();
        *yes_r = s->vendor == vendor && s->product == product &&
                 (!*xlx__text(s->serial) || !strcmp(s->serial, serial));
        free(serial);
    }
    return 0;
}

/* The place is known of one that is attached; all others are waited for. */
static bool has_place(const xlx_usb_entry *e, const char *boot)
{
    return e->status != XLX_USB_STATUS_MISSING &&
           e->domid != XLX_DOMID_NONE &&
           !xlx__hostdev_is_earlier(e->boot, boot);
}

static int is_usb_entry_of(const xlx_usb_entry *e, const char *boot,
                           const char *dir, bool *yes_r)
{
    uint32_t vendor = 0, product = 0;
    xlx_usb_selector s;
    int rc;

    rc = number_of(dir, "idVendor", &vendor);
    if (!rc)
        rc = number_of(dir, "idProduct", &product);
    if (rc) return rc;
    if (has_place(e, boot)) {
        *yes_r = !strcmp(xlx__text(e->path), base(dir)) &&
                 (!e->vendor || (e->vendor == vendor &&
                                 e->product == product));
        return 0;
    }
    xlx_usb_selector_init(&s);
    rc = xlx__usb_selector_read(NULL, xlx__text(e->selector), &s);
    if (!rc && s.kind == XLX_USB_SELECTOR_KIND_PATH && *xlx__text(e->socket)) {
        xlx_usb_selector_dispose(&s);   /* which lasts when the host boots */
        xlx_usb_selector_init(&s);
        rc = xlx__usb_selector_read(NULL, e->socket, &s);
    }
    if (!rc)
        rc = is_waited_for(&s, dir, vendor, product, yes_r);
    xlx_usb_selector_dispose(&s);
    return rc;
}

static int search_usb(xlx_ctx *ctx, const xlx_guest *guest, void *user)
{
    const struct search *s = user;
    xlx_usb_record record;
    const xlx_usb_entry *e;
    bool yes = false;
    int i, rc;

    xlx_usb_record_init(&record);
    rc = xlx__usb_record_load(ctx, &guest->uuid, &record, NULL);
    for (i = 0; !rc && !yes && i < record.num_entries; i++) {
        e = &record.entries[i];
        rc = is_usb_entry_of(e, s->boot, s->tree->usb, &yes);
        if (rc || !yes)
            continue;
        *s->use_r = xlx__printf("guest \"%s\" %s the USB device %s that it is "
                                "on", xlx__text(guest->name),
                                e->status == XLX_USB_STATUS_MISSING
                                ? "waits for" : "has", base(s->tree->usb));
        rc = *s->use_r ? 0 : xlx__nomem();
    }
    xlx_usb_record_dispose(&record);
    return rc || yes ? rc : ERROR_NOTFOUND;
}

static bool usb_names_device(const char *text, void *user)
{
    const struct search *s = user;
    uint32_t vendor = 0, product = 0;
    char id[16], *place;
    bool named;

    if (number_of(s->tree->usb, "idVendor", &vendor) ||
        number_of(s->tree->usb, "idProduct", &product))
        return true;
    snprintf(id, sizeof(id), "%04x:%04x", vendor, product);
    place = xlx__printf("\"%s\"", base(s->tree->usb));
    named = !place || strstr(text, place) || strstr(text, id);
    free(place);
    return named;
}

/* ---- either ------------------------------------------------------------- */

/* Most devices are not on USB, and most USB devices are not disks. */
static bool concerns(enum xlx__hostdev_concept concept,
                     const struct xlx__hostdev_tree *tree)
{
    int i;

    if (concept == XLX__HOSTDEV_USB)
        return tree->usb != NULL;
    for (i = 0; i < tree->num; i++)
        if (tree->list[i].kind == XLX__HOSTDEV_LUN ||
            tree->list[i].kind == XLX__HOSTDEV_BLOCK)
            return true;
    return false;
}

int xlx__hostdev_recorded_use(xlx_ctx *ctx, enum xlx__hostdev_concept concept,
                              const struct xlx__hostdev_tree *tree,
                              char **use_r)
{
    struct search s = { .tree = tree, .use_r = use_r };
    bool scsi = concept == XLX__HOSTDEV_SCSI;
    const struct xlx__hostdev_search how = {
        .file = xlx__record_kinds[scsi ? XLX__RECORD_SCSI_RECORD
                                       : XLX__RECORD_USB_RECORD].file,
        .search = scsi ? search_scsi : search_usb,
        .names_device = scsi ? scsi_names_device : usb_names_device,
        .user = &s,
    };
    char *boot = NULL;
    int rc;

    if (!concerns(concept, tree))
        return 0;
    rc = xlx__hostdev_boot(&boot);
    if (rc) return rc;
    s.boot = boot;
    rc = xlx__hostdev_search(ctx, NULL, &how);
    free(boot);
    return xlx__forgive(rc, ERROR_NOTFOUND);
}

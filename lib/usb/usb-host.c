/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The USB devices of the host, from /sys/bus/usb/devices.  The texts of a
 * device about itself are input like any other: a stick can be made to say
 * anything.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "usb/usb.h"

#define DEVICES "%s/bus/usb/devices"
#define MAX_DESCRIPTORS 65536       /* bytes; the kernel gives no more */

/* ---- attributes --------------------------------------------------------- */

/* 0 when there is none, or it is not a number.  A failure goes to *rc, which
 * may have that of an earlier one. */
static uint32_t number_of(const char *name, const char *attribute, int base,
                          int *rc)
{
    char *text;
    uint64_t value = 0;

    text = xlx__attr_text(DEVICES "/%s/%s", xlx__sysfs_dir(), name,
                          attribute);
    if (!text) {
        *rc = xlx__attr_failure();
        return 0;
    }
    if (base == 16)
        xlx__parse_hex(text, UINT32_MAX, &value);
    else
        xlx__parse_u64(text, UINT32_MAX, &value);
    free(text);
    return (uint32_t)value;
}

/* A string descriptor, with a '?' for what does not belong in a line. */
static int text_of(const char *name, const char *attribute, char **text_r)
{
    char *text, *p;
    size_t n;

    text = xlx__attr_text(DEVICES "/%s/%s", xlx__sysfs_dir(), name,
                          attribute);
    if (!text)
        return xlx__attr_failure();
    for (p = text; *p; p += n ? n : 1) {
        n = xlx__utf8_length(p, strlen(p));
        if (!n || (unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    }
    free(*text_r);
    *text_r = text;
    return 0;
}

static xlx_usb_speed speed_of(const char *name)
{
    char *text = xlx__attr_text(DEVICES "/%s/speed", xlx__sysfs_dir(), name);
    xlx_usb_speed speed = XLX_USB_SPEED_UNKNOWN;
    const char *p = xlx__text(text);        /* "480", or "1.5": 1 will do */
    uint32_t mbit = 0;

    xlx__take_u32(&p, UINT32_MAX, &mbit);
    if (mbit >= 5000)
        speed = XLX_USB_SPEED_SUPER;
    else if (mbit >= 480)
        speed = XLX_USB_SPEED_HIGH;
    else if (mbit >= 12)
        speed = XLX_USB_SPEED_FULL;
    else if (mbit > 0)
        speed = XLX_USB_SPEED_LOW;
    free(text);
    return speed;
}

/* The descriptors as the device gave them, of all settings: each begins with
 * its length and its type (USB 2.0, 9.5); the attributes of an endpoint (type
 * 5) say in two bits how it transfers, 1 is isochronous (9.6.6). */
static bool has_isochronous(const unsigned char *p, size_t len)
{
    while (len >= 2 && p[0] >= 2 && p[0] <= len) {
        if (p[1] == 5 && p[0] >= 4 && (p[3] & 3) == 1)
            return true;
        len -= p[0];
        p += p[0];
    }
    return false;
}

static int read_descriptors(const char *name, xlx_usb_host_device *d)
{
    char *path, *bytes = NULL;
    FILE *f = NULL;
    int rc = 0;

    path = xlx__printf(DEVICES "/%s/descriptors", xlx__sysfs_dir(), name);
    if (path)
        bytes = malloc(MAX_DESCRIPTORS);
    if (!bytes) {
        rc = xlx__nomem();
        goto out;
    }
    f = fopen(path, "re");
    if (!f && errno != ENOENT && errno != ENODEV)
        rc = xlx__error(xlx__errno_rc(errno), "%s: %m", path);
    if (f)
        d->isochronous =
            has_isochronous((unsigned char *)bytes,
                            fread(bytes, 1, MAX_DESCRIPTORS, f));

 out:
    if (f)
        fclose(f);
    free(bytes);
    free(path);
    return rc;
}

/* ---- one device --------------------------------------------------------- */

static int add_interface(const char *name, xlx_usb_host_device *d)
{
    xlx_usb_interface *i = xlx__usb_host_device_interfaces_append(d);
    int rc = 0;

    if (!i)
        return ERROR_NOMEM;
    i->device_class = number_of(name, "bInterfaceClass", 16, &rc);
    i->subclass = number_of(name, "bInterfaceSubClass", 16, &rc);
    i->protocol = number_of(name, "bInterfaceProtocol", 16, &rc);
    if (rc) return rc;
    i->driver = xlx__attr_link(DEVICES "/%s/driver", xlx__sysfs_dir(),
                                  name);
    if (!i->driver)
        return xlx__attr_failure();
    return xlx__set_string(&i->name, name);
}

/* Those of names that are the device's interfaces, "1-2:1.0" of "1-2". */
static int read_interfaces(char *const *names, int num,
                           xlx_usb_host_device *d)
{
    size_t len = strlen(d->path);
    int i, rc = 0;

    for (i = 0; !rc && i < num; i++)
        if (!strncmp(names[i], d->path, len) && names[i][len] == ':')
            rc = add_interface(names[i], d);
    return rc;
}

/* Is the word one of those in "a, b"? */
static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);
    const char *p;

    for (p = strstr(list, word); p; p = strstr(p + 1, word))
        if ((p == list || p[-1] == ' ') && (!p[len] || p[len] == ','))
            return true;
    return false;
}

static int add_kind(uint32_t device_class, uint32_t subclass,
                    uint32_t protocol, xlx_usb_host_device *d)
{
    const char *name = xlx__usb_class_name(device_class, subclass, protocol);
    const char *kind = xlx__text(d->kind);
    char *more;

    if (!name || has_word(kind, name))
        return 0;
    more = xlx__printf("%s%s%s", kind, *kind ? ", " : "", name);
    if (!more)
        return xlx__nomem();
    free(d->kind);
    d->kind = more;
    return 0;
}

static int name_kinds(xlx_usb_host_device *d)
{
    const xlx_usb_interface *it = d->interfaces;
    int i, rc;

    rc = add_kind(d->device_class, d->subclass, d->protocol, d);
    for (i = 0; !rc && i < d->num_interfaces; i++, it++)
        rc = add_kind(it->device_class, it->subclass, it->protocol, d);
    return rc;
}

static int read_device(const char *name, char *const *names, int num,
                       xlx_usb_host_device *d)
{
    int rc;

    rc = xlx__set_string(&d->path, name);
    if (rc) return rc;
    d->bus = number_of(name, "busnum", 10, &rc);
    d->address = number_of(name, "devnum", 10, &rc);
    d->vendor = number_of(name, "idVendor", 16, &rc);
    d->product = number_of(name, "idProduct", 16, &rc);
    d->device_class = number_of(name, "bDeviceClass", 16, &rc);
    d->subclass = number_of(name, "bDeviceSubClass", 16, &rc);
    d->protocol = number_of(name, "bDeviceProtocol", 16, &rc);
    if (rc) return rc;
    d->speed = speed_of(name);
    rc = text_of(name, "serial", &d->serial);
    if (rc) return rc;
    rc = text_of(name, "manufacturer", &d->manufacturer);
    if (rc) return rc;
    rc = text_of(name, "product", &d->name);
    if (rc) return rc;
    rc = read_descriptors(name, d);
    if (rc) return rc;
    rc = read_interfaces(names, num, d);
    if (rc) return rc;
    return name_kinds(d);
}

/* ---- all devices -------------------------------------------------------- */

int xlx__usb_devices(xlx_usb_host_devices *list)
{
    xlx_usb_host_device *d;
    char **names;
    int i, num, rc;

    rc = xlx__attr_list(&names, &num, NULL, DEVICES, xlx__sysfs_dir());
    if (rc) return rc;
    list->devices = calloc((size_t)num + 1, sizeof(*list->devices));
    if (!list->devices)
        rc = xlx__nomem();
    for (i = 0; !rc && i < num; i++) {
        if (strchr(names[i], ':'))      /* an interface */
            continue;
        d = &list->devices[list->num_devices++];
        xlx_usb_host_device_init(d);
        rc = read_device(names[i], names, num, d);
        if (!rc && !d->address) {       /* pulled out while we read it */
            xlx_usb_host_device_dispose(d);
            list->num_devices--;
        }
    }
    free(names);
    return rc ? rc : xlx__usb_find_keyboards(list);
}

bool xlx__usb_is_hub(const xlx_usb_host_device *d)
{
    return d->device_class == 0x09;
}

const char *xlx__usb_title(const xlx_usb_host_device *d,
                           char buf[XLX__USB_TITLE_MAX])
{
    const char *name = xlx__text(d->name);

    snprintf(buf, XLX__USB_TITLE_MAX, "%s (%04x:%04x%s%.64s)",
             xlx__text(d->path), d->vendor, d->product, *name ? " " : "",
             name);
    return buf;
}

char *xlx__usb_node(const xlx_usb_host_device *d)
{
    return xlx__printf("%s/bus/usb/%03u/%03u", xlx__dev_dir(), d->bus,
                       d->address);
}

/* ---- finding one -------------------------------------------------------- */

const xlx_usb_host_device *
xlx__usb_by_path(const xlx_usb_host_devices *list, const char *path)
{
    int i;

    for (i = 0; path && i < list->num_devices; i++)
        if (!strcmp(xlx__text(list->devices[i].path), path))
            return &list->devices[i];
    return NULL;
}

static int ambiguous(const xlx_usb_host_devices *list,
                     const xlx_usb_selector *s, const char *text)
{
    char title[XLX__USB_TITLE_MAX], *all = NULL, *more;
    int i, rc;

    for (i = 0; i < list->num_devices; i++) {
        if (!xlx__usb_selector_matches(s, &list->devices[i]))
            continue;
        more = xlx__printf("%s%s%s", all ? all : "", all ? ", " : "",
                           xlx__usb_title(&list->devices[i], title));
        free(all);
        all = more;
        if (!all)
            return xlx__nomem();
    }
    rc = xlx__error(ERROR_INVAL, "selector \"%s\": more than one device: %s; "
                    "name one by its path", text, xlx__text(all));
    free(all);
    return rc;
}

int xlx__usb_pick(const xlx_usb_host_devices *list, const xlx_usb_selector *s,
                  const xlx_usb_host_device **d_r)
{
    const xlx_usb_host_device *found = NULL;
    int i, num = 0, rc = 0;
    char *text, path[64];

    if (s->kind == XLX_USB_SELECTOR_KIND_PATH) {
        /* rather than the other half of the same socket */
        snprintf(path, sizeof(path), "%u-%.40s", s->bus, xlx__text(s->ports));
        *d_r = xlx__usb_by_path(list, path);
        if (*d_r)
            return 0;
    }
    for (i = 0; i < list->num_devices; i++)
        if (xlx__usb_selector_matches(s, &list->devices[i])) {
            found = &list->devices[i];
            num++;
        }
    if (num == 1) {
        *d_r = found;
        return 0;
    }
    text = xlx__usb_selector_text(s);
    if (!text)
        return xlx__nomem();
    rc = num ? ambiguous(list, s, text)
             : xlx__error(ERROR_NOTFOUND, "selector \"%s\": no such device "
                          "is plugged in", text);
    free(text);
    return rc;
}

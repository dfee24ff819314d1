/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The user's name for a USB device, as text.  The text alone shows the
 * spelling: an ID has four hexadecimal digits on both sides of the colon, and
 * no bus or address has so many.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "usb/usb.h"

#define MAX_TEXT 4096
#define MAX_SERIAL 126              /* characters of a string descriptor */
#define MAX_BUS 255                 /* libxl keeps it in a byte */
#define MAX_ADDRESS 127             /* USB 2.0, 9.4.6 */
#define MAX_PORT 255                /* USB 2.0, 11.23.2.1 */
#define MAX_TIERS 6                 /* ports on the way; USB 2.0, 4.1.1 */

static int wrong(const char *text, const char *what)
{
    return xlx__error(ERROR_INVAL, "selector \"%s\": %s", text, what);
}

/* A number from 1 to max. */
static bool take_number(const char **p, uint32_t max, uint32_t *value_r)
{
    return xlx__take_u32(p, max, value_r) && *value_r;
}

/* Exactly so many hexadecimal digits. */
static bool take_hex(const char **p, int digits, uint32_t *value_r)
{
    return xlx__take_digits(p, digits, value_r) &&
           !isxdigit((unsigned char)**p);
}

/* ---- the spellings ------------------------------------------------------ */

/* p is behind "BUS-". */
static int parse_ports(const char *text, const char *p, xlx_usb_selector *s)
{
    char ports[MAX_TIERS * sizeof("255.")];
    uint32_t port;
    int tiers = 0, len = 0;

    for (;;) {
        if (!isdigit((unsigned char)*p))
            return wrong(text, "a port is missing: BUS-PORT[.PORT]...");
        if (!take_number(&p, MAX_PORT, &port))
            return wrong(text, "a port is a number from 1 to 255");
        if (++tiers > MAX_TIERS)
            return wrong(text, "there are at most 6 ports on the way");
        len += snprintf(ports + len, sizeof(ports) - (size_t)len, "%s%u",
                        len ? "." : "", port);
        if (!*p)
            break;
        if (*p++ != '.')
            return wrong(text, "must be BUS-PORT[.PORT]...");
    }
    s->kind = XLX_USB_SELECTOR_KIND_PATH;
    return xlx__set_string(&s->ports, ports);
}

/* p is behind "BUS:". */
static int parse_address(const char *text, const char *p, xlx_usb_selector *s)
{
    if (!isdigit((unsigned char)*p))
        return wrong(text, "an address is missing: BUS:ADDRESS");
    if (!take_number(&p, MAX_ADDRESS, &s->address))
        return wrong(text, "an address is a number from 1 to 127");
    if (*p)
        return wrong(text, "must be BUS:ADDRESS, or VENDOR:PRODUCT with four"
                     " hexadecimal digits each");
    s->kind = XLX_USB_SELECTOR_KIND_ADDRESS;
    return 0;
}

/* 1 when it is not an ID. */
static int parse_id(const char *text, xlx_usb_selector *s)
{
    const char *p = text;

    if (!take_hex(&p, 4, &s->vendor) || *p != ':')
        return 1;
    p++;
    if (!take_hex(&p, 4, &s->product))
        return wrong(text, "the number of a product has four hexadecimal"
                     " digits");
    if (*p && *p != ':')
        return wrong(text, "must be VENDOR:PRODUCT[:SERIAL]");
    if (*p && !p[1])
        return wrong(text, "the serial number is missing");
    if (*p && strlen(p + 1) > MAX_SERIAL * 4)
        return wrong(text, "the serial number is too long");
    s->kind = XLX_USB_SELECTOR_KIND_ID;
    return xlx__set_string(&s->serial, *p ? p + 1 : "");
}

static const struct {
    const char *name;
    uint32_t device_class, subclass, protocol;
} classes[] = {                     /* usb.org, Defined Class Codes */
    { "keyboard", 0x03, 0x01, 0x01 },
    { "mouse", 0x03, 0x01, 0x02 },
    { "audio", 0x01, XLX__USB_ANY, XLX__USB_ANY },
    { "comm", 0x02, XLX__USB_ANY, XLX__USB_ANY },
    { "hid", 0x03, XLX__USB_ANY, XLX__USB_ANY },
    { "image", 0x06, XLX__USB_ANY, XLX__USB_ANY },
    { "printer", 0x07, XLX__USB_ANY, XLX__USB_ANY },
    { "storage", 0x08, XLX__USB_ANY, XLX__USB_ANY },
    { "hub", 0x09, XLX__USB_ANY, XLX__USB_ANY },
    { "smartcard", 0x0b, XLX__USB_ANY, XLX__USB_ANY },
    { "video", 0x0e, XLX__USB_ANY, XLX__USB_ANY },
    { "wireless", 0xe0, XLX__USB_ANY, XLX__USB_ANY },
    { "vendor", 0xff, XLX__USB_ANY, XLX__USB_ANY },
};

const char *xlx__usb_class_name(uint32_t device_class, uint32_t subclass,
                                uint32_t protocol)
{
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(classes); i++)
        if (classes[i].device_class == device_class &&
            (classes[i].subclass == XLX__USB_ANY ||
             (classes[i].subclass == subclass &&
              classes[i].protocol == protocol)))
            return classes[i].name;
    return NULL;
}

/* p is behind "class:". */
static int parse_class(const char *text, const char *p, xlx_usb_selector *s)
{
    size_t i;

    s->kind = XLX_USB_SELECTOR_KIND_CLASS;
    s->subclass = s->protocol = XLX__USB_ANY;
    for (i = 0; i < XLX__ARRAY_SIZE(classes); i++)
        if (!strcmp(p, classes[i].name)) {
            s->device_class = classes[i].device_class;
            s->subclass = classes[i].subclass;
            s->protocol = classes[i].protocol;
            return 0;
        }
    if (take_hex(&p, 2, &s->device_class) &&
        (!*p || (*p++ == ':' && take_hex(&p, 2, &s->subclass))) &&
        (!*p || (*p++ == ':' && take_hex(&p, 2, &s->protocol))) && !*p)
        return 0;
    return wrong(text, "a class is class:CC[:SS[:PP]] with two hexadecimal"
                 " digits each, or one of audio, comm, hid, hub, image,"
                 " keyboard, mouse, printer, smartcard, storage, vendor,"
                 " video, wireless");
}

/* p is behind "/dev/bus/usb/". */
static int parse_node(const char *text, const char *p, xlx_usb_selector *s)
{
    if (!take_number(&p, MAX_BUS, &s->bus) || *p++ != '/')
        return wrong(text, "must be /dev/bus/usb/BUS/ADDRESS");
    return parse_address(text, p, s);
}

/* A controller on PCI by its address, and "-PORT[.PORT]..." behind it; 1 when
 * the text is something else. */
static int parse_pci(const char *text, xlx_usb_selector *s)
{
    size_t len = strcspn(text, "-");
    int rc;

    if (!text[len] || !xlx__usb_is_pci(text, len))
        return 1;
    free(s->controller);
    s->controller = xlx__printf("pci-%.*s", (int)len, text);
    if (!s->controller)
        return xlx__nomem();
    rc = parse_ports(text, text + len + 1, s);
    s->kind = XLX_USB_SELECTOR_KIND_SOCKET;
    return rc;
}

/* As udev has it in ID_PATH, and in links by-path, where the numbers of an
 * interface and more follow: "pci-0000:00:14.0-usb-0:2.1:1.0-scsi-0:0:0:0".
 * The revision of the root hub may be there, as "usbv3".  The part before the
 * controller on PCI is not kept: it is the same for all of a host. */
static int parse_socket(const char *text, xlx_usb_selector *s)
{
    static const char usage[] = "must be CONTROLLER-usb-0:PORT[.PORT]..., "
        "with a controller like pci-0000:00:14.0";
    const char *name = text, *next, *usb = strstr(text, "-usb"), *p, *end;
    char *ports;
    int rc;

    while ((next = strstr(name + 1, "-pci-")) && next < usb)
        name = next + 1;
    if (!usb || (!strncmp(name, "pci-", 4) &&
                 !xlx__usb_is_pci(name + 4, (size_t)(usb - name) - 4)))
        return wrong(text, usage);
    p = usb + strlen("-usb");
    if (*p == 'v') {
        p++;
        if (!take_number(&p, 3, &s->revision))
            return wrong(text, usage);
    }
    if (!xlx__take_word(&p, "-0:"))
        return wrong(text, usage);
    end = p + strcspn(p, ":");
    free(s->controller);
    s->controller = strndup(name, (size_t)(usb - name));
    ports = strndup(p, (size_t)(end - p));
    if (!s->controller || !ports)
        rc = xlx__nomem();
    else
        rc = parse_ports(text, ports, s);
    free(ports);
    s->kind = XLX_USB_SELECTOR_KIND_SOCKET;
    return rc;
}

/* The name of a device node without the directory: ttyUSB0, sdb. */
static bool is_node_name(const char *text)
{
    if (!isalpha((unsigned char)*text))
        return false;
    while (isalnum((unsigned char)*text) || *text == '_' || *text == '-')
        text++;
    return !*text;
}

static int parse_node_name(const char *text, xlx_usb_selector *s)
{
    free(s->sysfs);
    s->sysfs = xlx__printf("/dev/%s", text);
    s->kind = XLX_USB_SELECTOR_KIND_SYSFS;
    return s->sysfs ? 0 : xlx__nomem();
}

static int parse_numbers(const char *text, xlx_usb_selector *s)
{
    static const char usage[] = "must be BUS-PORT[.PORT]..., "
        "VENDOR:PRODUCT[:SERIAL], BUS:ADDRESS, CONTROLLER-usb-0:PORT, "
        "class:NAME, a device node, or a path below /sys";
    const char *number = text, *p = text + strspn(text, "0123456789");

    if (p == text || (*p != '-' && *p != ':'))
        return wrong(text, usage);
    if (!take_number(&number, MAX_BUS, &s->bus))
        return wrong(text, "a bus is a number from 1 to 255");
    return *p == '-' ? parse_ports(text, p + 1, s)
                     : parse_address(text, p + 1, s);
}

static int check_text(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t len = strlen(text);

    if (!len)
        return xlx__error(ERROR_INVAL, "selector: it is empty");
    if (len > MAX_TEXT)
        return xlx__error(ERROR_INVAL, "selector: it is longer than %d bytes",
                          MAX_TEXT);
    for (; *p; p++)
        if (*p < ' ' || *p == 0x7f)
            return xlx__error(ERROR_INVAL, "selector: it has a control "
                              "character (0x%02x)", *p);
    if (xlx__utf8_valid(text, len) != len)
        return xlx__error(ERROR_INVAL, "selector: it is not UTF-8");
    return 0;
}

int xlx__usb_selector_read(xlx_ctx *ctx, const char *text,
                           xlx_usb_selector *s)
{
    static const char nodes[] = "/dev/bus/usb/", prefix[] = "class:";
    int rc;

    (void)ctx;
    rc = check_text(text);
    if (rc) return rc;
    if (!strncmp(text, nodes, strlen(nodes)))
        return parse_node(text, text + strlen(nodes), s);
    if (*text == '/') {
        s->kind = XLX_USB_SELECTOR_KIND_SYSFS;
        return xlx__set_string(&s->sysfs, text);
    }
    if (!strncmp(text, prefix, strlen(prefix)))
        return parse_class(text, text + strlen(prefix), s);
    if (!strncmp(text, "pci-", 4) || !strncmp(text, "platform-", 9))
        return parse_socket(text, s);
    rc = parse_pci(text, s);
    if (rc > 0)
        rc = parse_id(text, s);
    if (rc > 0 && is_node_name(text))
        return parse_node_name(text, s);
    return rc > 0 ? parse_numbers(text, s) : rc;
}

/* ---- back to text ------------------------------------------------------- */

static char *class_text(const xlx_usb_selector *s)
{
    char subclass[8] = "", protocol[8] = "";

    if (s->subclass != XLX__USB_ANY)
        snprintf(subclass, sizeof(subclass), ":%02x", s->subclass & 0xff);
    if (s->protocol != XLX__USB_ANY)
        snprintf(protocol, sizeof(protocol), ":%02x", s->protocol & 0xff);
    return xlx__printf("class:%02x%s%s", s->device_class, subclass, protocol);
}

char *xlx__usb_selector_text(const xlx_usb_selector *s)
{
    const char *serial = xlx__text(s->serial);

    switch (s->kind) {
    case XLX_USB_SELECTOR_KIND_PATH:
        return xlx__printf("%u-%s", s->bus, xlx__text(s->ports));
    case XLX_USB_SELECTOR_KIND_ID:
        return xlx__printf("%04x:%04x%s%s", s->vendor, s->product,
                           *serial ? ":" : "", serial);
    case XLX_USB_SELECTOR_KIND_ADDRESS:
        return xlx__printf("%u:%u", s->bus, s->address);
    case XLX_USB_SELECTOR_KIND_CLASS:
        return class_text(s);
    case XLX_USB_SELECTOR_KIND_SOCKET:
        if (s->revision)
            return xlx__printf("%s-usbv%u-0:%s", xlx__text(s->controller),
                               s->revision, xlx__text(s->ports));
        return xlx__printf("%s-usb-0:%s", xlx__text(s->controller),
                           xlx__text(s->ports));
    case XLX_USB_SELECTOR_KIND_SYSFS:
        break;
    }
    return xlx__printf("%s", xlx__text(s->sysfs));
}

/* ---- does a device answer to it? ---------------------------------------- */

static bool is_class(const xlx_usb_selector *s, uint32_t device_class,
                     uint32_t subclass, uint32_t protocol)
{
    return s->device_class == device_class &&
           (s->subclass == XLX__USB_ANY || s->subclass == subclass) &&
           (s->protocol == XLX__USB_ANY || s->protocol == protocol);
}

static bool has_class(const xlx_usb_selector *s, const xlx_usb_host_device *d)
{
    int i;

    if (is_class(s, d->device_class, d->subclass, d->protocol))
        return true;
    for (i = 0; i < d->num_interfaces; i++)
        if (is_class(s, d->interfaces[i].device_class,
                     d->interfaces[i].subclass, d->interfaces[i].protocol))
            return true;
    return false;
}

/* Also when the same socket has it at another speed, on another bus. */
static bool has_path(const xlx_usb_selector *s, const xlx_usb_host_device *d)
{
    char path[64];

    snprintf(path, sizeof(path), "%u-%.40s", s->bus, xlx__text(s->ports));
    return xlx__usb_same_socket(path, xlx__text(d->path));
}

bool xlx__usb_selector_matches(const xlx_usb_selector *s,
                               const xlx_usb_host_device *d)
{
    switch (s->kind) {
    case XLX_USB_SELECTOR_KIND_PATH:
        return has_path(s, d);
    case XLX_USB_SELECTOR_KIND_ID:
        return s->vendor == d->vendor && s->product == d->product &&
               (!*xlx__text(s->serial) ||
                !strcmp(s->serial, xlx__text(d->serial)));
    case XLX_USB_SELECTOR_KIND_ADDRESS:
        return s->bus == d->bus && s->address == d->address;
    case XLX_USB_SELECTOR_KIND_CLASS:
        return has_class(s, d);
    case XLX_USB_SELECTOR_KIND_SOCKET:
        return xlx__usb_in_socket(s, xlx__text(d->path));
    case XLX_USB_SELECTOR_KIND_SYSFS:
        break;                      /* usb-node.c looks where it leads */
    }
    return false;
}

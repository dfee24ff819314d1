/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules of udev that keep a device from the host's drivers, as text.
 */
#include <stdlib.h>
#include <string.h>

#include "usb/usb.h"

#define DENY "ATTR{authorized}=\"0\"\n"

/* Serial numbers that mean more than themselves in a rule. */
static bool is_plain(const char *text)
{
    for (; *text; text++)
        if (*text < ' ' || strchr("\"*?[]|\\$%", *text))
            return false;
    return true;
}

static int rules_for_id(const xlx_usb_host_device *d, const char *selector,
                        char **rules_r)
{
    const char *serial = xlx__text(d->serial);

    if (!is_plain(serial))
        return xlx__error(ERROR_INVAL, "%s: a rule of udev cannot have its "
                          "serial number: name its socket", d->path);
    *rules_r = xlx__printf("%s%s\n" XLX__USB_KEPT_RULE
                           "ATTRS{idVendor}==\"%04x\", "
                           "ATTRS{idProduct}==\"%04x\"%s%s%s, " DENY,
                           XLX__USB_KEPT_MARK, selector, d->vendor, d->product,
                           *serial ? ", ATTRS{serial}==\"" : "", serial,
                           *serial ? "\"" : "");
    return *rules_r ? 0 : xlx__nomem();
}

/* The root hubs of the kernel have the revision in their product number, and
 * the names of directories of sysfs the controller and the ports. */
static int rules_for_socket(const xlx_usb_host_device *d, const char *selector,
                            char **rules_r)
{
    struct xlx__usb_places places;
    char *text, *more;
    int i, rc;

    rc = xlx__usb_places(d->path, &places);
    if (rc) return rc;
    text = xlx__printf("%s%s\n", XLX__USB_KEPT_MARK, selector);
    for (i = 0; text && i < places.num; i++) {
        more = xlx__printf("%s" XLX__USB_KEPT_RULE
                           "DEVPATH==\"*/%s/usb*/*-%s:*\", "
                           "ATTRS{idVendor}==\"1d6b\", "
                           "ATTRS{idProduct}==\"%04u\", " DENY, text,
                           places.list[i].controller, places.list[i].ports,
                           places.list[i].revision);
        free(text);
        text = more;
    }
    *rules_r = text;
    return text ? 0 : xlx__nomem();
}

/* By what it is kept: as in a record of a guest. */
int xlx__usb_keep_rules(const xlx_usb_selector *s,
                        const xlx_usb_host_device *d, char **selector_r,
                        char **rules_r)
{
    bool by_id = s->kind == XLX_USB_SELECTOR_KIND_ID ||
                 (s->kind != XLX_USB_SELECTOR_KIND_PATH &&
                  s->kind != XLX_USB_SELECTOR_KIND_SOCKET &&
                  *xlx__text(d->serial));
    char *selector = NULL;
    int rc;

    if (by_id) {
        selector = xlx__printf("%04x:%04x%s%s", d->vendor, d->product,
                               *xlx__text(d->serial) ? ":" : "",
                               xlx__text(d->serial));
        rc = selector ? rules_for_id(d, selector, rules_r) : xlx__nomem();
    } else {
        rc = xlx__usb_socket(d->path, &selector);
        if (!rc && !*selector)
            rc = xlx__error(ERROR_INVAL, "%s: its controller has no name that"
                            " lasts: name the device by its ID", d->path);
        if (!rc)
            rc = rules_for_socket(d, selector, rules_r);
    }
    if (rc) {
        free(selector);
        return rc;
    }
    free(*selector_r);
    *selector_r = selector;
    return 0;
}

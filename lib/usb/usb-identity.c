/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which of the devices that are plugged in is the recorded one.  The selector
 * says by what it is looked for; but a socket can hold another device, and
 * several can have one ID.  hostdev-identity.c judges.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "usb/usb.h"

#define ID_MAX 32                   /* "usb 0951:1666" */

static struct xlx__hostdev_identity of_entry(const xlx_usb_entry *e,
                                             char id[ID_MAX])
{
    snprintf(id, ID_MAX, "usb %04x:%04x", e->vendor, e->product);
    return (struct xlx__hostdev_identity){
        .id = id, .serial = xlx__text(e->serial), .vendor = "", .model = "",
        .type = "", .place = xlx__text(e->path),
    };
}

static struct xlx__hostdev_identity of_device(const xlx_usb_host_device *d,
                                              char id[ID_MAX])
{
    snprintf(id, ID_MAX, "usb %04x:%04x", d->vendor, d->product);
    return (struct xlx__hostdev_identity){
        .id = id, .serial = xlx__text(d->serial), .vendor = "", .model = "",
        .type = "", .place = xlx__text(d->path),
    };
}

bool xlx__usb_may_be(const xlx_usb_entry *e, const xlx_usb_host_device *d)
{
    char was_id[ID_MAX], is_id[ID_MAX];
    struct xlx__hostdev_identity was = of_entry(e, was_id);
    struct xlx__hostdev_identity is = of_device(d, is_id);

    if (!e->vendor && !e->product)      /* it was never plugged in */
        return true;
    if (*was.serial && !*is.serial)
        return false;
    return xlx__hostdev_compare(&was, &is, true) != XLX__HOSTDEV_OTHER;
}

bool xlx__usb_is_other(const xlx_usb_entry *e, const xlx_usb_host_device *d)
{
    if (!e->vendor && !e->product)
        return false;
    if (e->vendor != d->vendor || e->product != d->product)
        return true;
    return *xlx__text(e->serial) && *xlx__text(d->serial) &&
           strcmp(e->serial, d->serial);
}

/* The numbers of buses are others after the next start of the host, and
 * sockets are not. */
static bool is_in_place(const xlx_usb_entry *e, const xlx_usb_host_device *d)
{
    char *socket = NULL;
    bool same;

    if (!*xlx__text(e->socket))
        return !strcmp(xlx__text(e->path), xlx__text(d->path));
    same = strchr(xlx__text(d->path), '-') &&   /* not a root hub */
           !xlx__usb_socket(d->path, &socket) &&
           !strcmp(e->socket, socket);
    free(socket);
    return same;
}

/* ---- finding it --------------------------------------------------------- */

/* Why it is not found, for people. */
static char *reason(const xlx_usb_entry *e,
                    const xlx_usb_host_devices *devices,
                    const xlx_usb_host_device *a,
                    const xlx_usb_host_device *b)
{
    char first[XLX__USB_TITLE_MAX], second[XLX__USB_TITLE_MAX];
    int i;

    if (a && b)
        return xlx__printf("%s and %s both may be it, and none is where it "
                           "was: usb-detach, and attach the right one by its "
                           "path", xlx__usb_title(a, first),
                           xlx__usb_title(b, second));
    for (i = 0; i < devices->num_devices; i++)
        if (is_in_place(e, &devices->devices[i]) &&
            !xlx__usb_may_be(e, &devices->devices[i]))
            return xlx__printf("another device is in its place: %s",
                               xlx__usb_title(&devices->devices[i], first));
    return strdup("");
}

int xlx__usb_find_again(const xlx_usb_entry *e,
                        const xlx_usb_host_devices *devices,
                        const xlx_usb_host_device **d_r, bool *several_r,
                        char **why_r)
{
    const xlx_usb_host_device *d, *found = NULL, *second = NULL;
    bool decided = false;
    xlx_usb_selector s;
    char *why;
    int i;

    xlx_usb_selector_init(&s);
    if (xlx__usb_entry_selector(e, &s)) {
        xlx__error_clear();
        goto out;
    }
    for (i = 0; i < devices->num_devices && !decided; i++) {
        d = &devices->devices[i];
        if (!xlx__usb_selector_matches(&s, d) || !xlx__usb_may_be(e, d))
            continue;
        /* if several are alike it is the one in the same place */
        decided = is_in_place(e, d);
        if (found && !decided)
            second = d;
        else
            found = d;
    }

 out:
    xlx_usb_selector_dispose(&s);
    *several_r = second && !decided;
    why = reason(e, devices, *several_r ? found : NULL, second);
    if (!why)
        return xlx__nomem();
    free(*why_r);
    *why_r = why;
    *d_r = *several_r ? NULL : found;
    return 0;
}

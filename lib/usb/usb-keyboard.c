/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The devices on which the administrator types.  The kernel tells, by the keys
 * of the input devices that it made for a USB device, whatever the device says
 * of itself: a keyboard need not speak the boot protocol, a wireless receiver
 * that has only a mouse is not a keyboard, and a Bluetooth adapter may be one.
 *
 * A security key that types one-time passwords looks like a keyboard in all of
 * this.  It is known by the FIDO function next to that.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "usb/usb.h"

#define YUBICO 0x1050               /* makes security keys only, some without
                                     * FIDO */

/* linux/input-event-codes.h: Q to P, A to L, Z to M */
#define KEYS(first, last) \
    (((UINT64_C(2) << ((last) - (first))) - 1) << (first))
#define LETTERS (KEYS(16, 25) | KEYS(30, 38) | KEYS(44, 50))

/* Words as long as the kernel's, the one with the first keys last. */
static bool has_letters(const char *words)
{
    uint64_t word, keys = 0;

    while (xlx__take_hex(&words, UINT64_MAX, &word)) {
        keys = sizeof(long) < 8 ? keys << 32 | word : word;
        if (!xlx__take_word(&words, " "))
            break;
    }
    return !*words && (keys & LETTERS) == LETTERS;
}

/* Usage page 0xf1d0, as the first item of a report descriptor. */
static bool is_fido(const char *descriptor)
{
    return !strncmp(descriptor, "\x06\xd0\xf1", 3);
}

/* The device on which that entry of sysfs is: the entry is below one of its
 * interfaces, "/1-2:1.0/" of "1-2".  NULL when it is not on USB. */
static xlx_usb_host_device *device_of(xlx_usb_host_devices *list,
                                      const char *class, const char *name)
{
    char *link = xlx__printf("%s/%s/%s", xlx__sysfs_dir(), class, name);
    char real[PATH_MAX], part[PATH_MAX];
    xlx_usb_host_device *d, *found = NULL;
    int i;

    if (!link || !realpath(link, real))
        *real = '\0';
    free(link);
    for (i = 0; *real && !found && i < list->num_devices; i++) {
        d = &list->devices[i];
        snprintf(part, sizeof(part), "/%s:", xlx__text(d->path));
        if (strstr(real, part))
            found = d;
    }
    return found;
}

static bool is_input(const char *name)
{
    return !strncmp(name, "input", 5);
}

static int read_inputs(xlx_usb_host_devices *list)
{
    xlx_usb_host_device *d;
    char **names, *keys;
    int i, num, rc;

    rc = xlx__attr_list(&names, &num, is_input, "%s/class/input",
                        xlx__sysfs_dir());
    if (rc) return rc;
    for (i = 0; !rc && i < num; i++) {
        d = device_of(list, "class/input", names[i]);
        if (!d)
            continue;
        keys = xlx__attr_text("%s/class/input/%s/capabilities/key",
                              xlx__sysfs_dir(), names[i]);
        if (!keys)
            rc = xlx__attr_failure();
        else if (has_letters(keys))
            rc = xlx__set_string(&d->keyboard, names[i]);
        free(keys);
    }
    free(names);
    return rc;
}

/* A boot keyboard for which the host has not made an input device, because it
 * has just come, or another driver has it. */
static int read_interfaces(xlx_usb_host_device *d)
{
    const xlx_usb_interface *it = d->interfaces;
    int i;

    for (i = 0; i < d->num_interfaces; i++, it++)
        if (!*xlx__text(d->keyboard) && it->device_class == 3 &&
            it->subclass == 1 && it->protocol == 1 &&
            strcmp(xlx__text(it->driver), "usbhid"))
            return xlx__set_string(&d->keyboard, it->name);
    return 0;
}

static int forget_keys(xlx_usb_host_devices *list)
{
    xlx_usb_host_device *d;
    char **names, *text;
    int i, num, rc;

    rc = xlx__attr_list(&names, &num, NULL, "%s/bus/hid/devices",
                        xlx__sysfs_dir());
    if (rc) return rc;
    for (i = 0; !rc && i < num; i++) {
        d = device_of(list, "bus/hid/devices", names[i]);
        if (!d)
            continue;
        text = xlx__attr_text("%s/bus/hid/devices/%s/report_descriptor",
                              xlx__sysfs_dir(), names[i]);
        if (!text)
            rc = xlx__attr_failure();
        else if (is_fido(text))
            rc = xlx__set_string(&d->keyboard, "");
        free(text);
    }
    free(names);
    return rc;
}

int xlx__usb_find_keyboards(xlx_usb_host_devices *list)
{
    xlx_usb_host_device *d;
    int i, rc;

    rc = read_inputs(list);
    for (i = 0; !rc && i < list->num_devices; i++) {
        d = &list->devices[i];
        rc = read_interfaces(d);
        if (!rc && d->vendor == YUBICO)
            rc = xlx__set_string(&d->keyboard, "");
    }
    return rc ? rc : forget_keys(list);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes what a user calls a USB device: a selector that is taken is within
 * its limits, and means the same when it is written and read again.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "usb/usb.h"

static void check_limits(const xlx_usb_selector *s)
{
    switch (s->kind) {
    case XLX_USB_SELECTOR_KIND_PATH:
        if (!s->bus || s->bus > 255 || strlen(s->ports) > 6 * 4)
            abort();
        break;
    case XLX_USB_SELECTOR_KIND_ADDRESS:
        if (!s->bus || s->bus > 255 || !s->address || s->address > 127)
            abort();
        break;
    case XLX_USB_SELECTOR_KIND_ID:
        if (s->vendor > 0xffff || s->product > 0xffff)
            abort();
        break;
    case XLX_USB_SELECTOR_KIND_CLASS:
        if (s->device_class > 0xff || s->subclass > XLX__USB_ANY ||
            s->protocol > XLX__USB_ANY)
            abort();
        break;
    case XLX_USB_SELECTOR_KIND_SYSFS:
        if (*s->sysfs != '/')
            abort();
        break;
    }
}

static void check_again(const xlx_usb_selector *s)
{
    char *text = xlx__usb_selector_text(s), *twice;
    xlx_usb_selector again;

    xlx_usb_selector_init(&again);
    if (!text || xlx__usb_selector_read(NULL, text, &again) ||
        again.kind != s->kind)
        abort();
    twice = xlx__usb_selector_text(&again);
    if (!twice || strcmp(text, twice))
        abort();
    xlx_usb_selector_dispose(&again);
    free(twice);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    xlx_usb_selector s;

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    xlx_usb_selector_init(&s);
    if (xlx__usb_selector_read(NULL, text, &s)) {
        check_message();
    } else {
        check_limits(&s);
        check_again(&s);
    }
    xlx_usb_selector_dispose(&s);
    free(text);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names of parts of the host's USB that a guest has as a whole: a socket with
 * all that is plugged in there, also by way of hubs, or a controller, which is
 * its sockets.  They are recorded in words that last, as usb-socket.c has
 * them; each socket has one name, so that names are enough to tell whether two
 * parts overlap.
 */
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "usb/usb.h"

#define PORTS "-0:"                 /* in "pci-0000:00:14.0-usbv2-0:1.2" */

/* ---- the user's text ---------------------------------------------------- */

/* 1 when it is not the name of a controller, "usb1", "pci-0000:00:14.0",
 * "0000:00:14.0" or "platform-NAME". */
static int read_controller(const char *text, char **name_r)
{
    struct xlx__usb_sockets sockets = { NULL, 0 };
    const char *p = text;
    char *name;
    uint32_t bus;
    int rc;

    if (xlx__take_word(&p, "usb") && xlx__parse_u32(p, UINT32_MAX, &bus))
        return xlx__usb_controller(bus, name_r);
    p = text;
    xlx__take_word(&p, "pci-");
    if (xlx__usb_is_pci(p, strlen(p)))
        name = xlx__printf("pci-%s", p);
    else if (!strncmp(text, "platform-", 9) && !strstr(text, PORTS))
        name = strdup(text);
    else
        return 1;
    if (!name)
        return xlx__nomem();
    rc = xlx__usb_sockets_of(name, &sockets);
    if (!rc && !sockets.num)
        rc = xlx__error(ERROR_NOTFOUND, "the host has no such USB "
                        "controller");
    xlx__usb_sockets_dispose(&sockets);
    if (rc) {
        free(name);
        return rc;
    }
    free(*name_r);
    *name_r = name;
    return 0;
}

/* A hub that is plugged in, by any of the names that devices have. */
static int read_hub(xlx_usb_selector *s, char **selector_r)
{
    const xlx_usb_host_device *d;
    xlx_usb_host_devices devices;
    char title[XLX__USB_TITLE_MAX];
    int rc;

    xlx_usb_host_devices_init(&devices);
    rc = xlx__usb_resolve(s);
    if (!rc)
        rc = xlx__usb_devices(&devices);
    if (!rc)
        rc = xlx__usb_pick(&devices, s, &d);
    if (rc) goto out;
    if (!xlx__usb_is_hub(d))
        rc = xlx__error(ERROR_INVAL, "%s is not a hub: name its socket by its"
                        " path to have whatever is plugged in there",
                        xlx__usb_title(d, title));
    else if (!strchr(d->path, '-'))     /* a root hub */
        rc = xlx__usb_controller(d->bus, selector_r);
    else
        rc = xlx__usb_socket(d->path, selector_r);
    if (!rc && !**selector_r)
        rc = xlx__error(ERROR_INVAL, "%s: its controller has no name that "
                        "lasts", d->path);

 out:
    xlx_usb_host_devices_dispose(&devices);
    return rc;
}

int xlx__usb_tree_read(const char *text, char **selector_r)
{
    xlx_usb_selector s;
    int rc;

    rc = read_controller(text, selector_r);
    if (rc <= 0)
        return rc ? xlx__error_prefix(rc, "selector \"%s\"", text) : 0;
    xlx_usb_selector_init(&s);
    rc = xlx__usb_selector_read(NULL, text, &s);
    if (rc) goto out;
    if (s.kind != XLX_USB_SELECTOR_KIND_PATH &&
        s.kind != XLX_USB_SELECTOR_KIND_SOCKET) {
        rc = read_hub(&s, selector_r);
        goto out;
    }
    rc = xlx__usb_named_socket(&s, selector_r);
    if (rc)
        xlx__error_prefix(rc, "selector \"%s\"", text);

 out:
    xlx_usb_selector_dispose(&s);
    return rc;
}

/* ---- which sockets it is ------------------------------------------------ */

static bool is_controller(const char *selector)
{
    return !strstr(selector, PORTS);
}

int xlx__usb_tree_sockets(const char *selector,
                          struct xlx__usb_sockets *sockets)
{
    return is_controller(selector)
        ? xlx__usb_sockets_of(selector, sockets)
        : xlx__usb_sockets_add(sockets, strdup(selector));
}

/* Is b the socket a, or one of a hub in it? */
static bool is_part(const char *a, const char *b)
{
    size_t len = strlen(a);

    return !strncmp(a, b, len) && (!b[len] || b[len] == '.');
}

bool xlx__usb_is_below(const struct xlx__usb_sockets *sockets,
                       const char *socket)
{
    int i;

    for (i = 0; i < sockets->num; i++)
        if (is_part(sockets->list[i], socket))
            return true;
    return false;
}

/* Also when the controller is not there now. */
static bool have_one_controller(const char *a, const char *b)
{
    size_t len = strlen(a);

    if (!is_controller(a))
        return is_controller(b) && have_one_controller(b, a);
    return !strncmp(a, b, len) &&
           (!b[len] || !strncmp(b + len, "-usbv", strlen("-usbv")));
}

int xlx__usb_trees_overlap(const char *a, const char *b, bool *yes_r)
{
    struct xlx__usb_sockets x = { NULL, 0 }, y = { NULL, 0 };
    int i, rc;

    *yes_r = have_one_controller(a, b);
    if (*yes_r)
        return 0;
    rc = xlx__usb_tree_sockets(a, &x);
    if (!rc)
        rc = xlx__usb_tree_sockets(b, &y);
    for (i = 0; !rc && !*yes_r && i < y.num; i++)
        *yes_r = xlx__usb_is_below(&x, y.list[i]);
    for (i = 0; !rc && !*yes_r && i < x.num; i++)
        *yes_r = xlx__usb_is_below(&y, x.list[i]);
    xlx__usb_sockets_dispose(&x);
    xlx__usb_sockets_dispose(&y);
    return rc;
}

int xlx__usb_is_in_tree(const char *selector, const char *path, bool *yes_r)
{
    struct xlx__usb_sockets sockets = { NULL, 0 };
    char *socket = NULL;
    int rc;

    *yes_r = false;
    if (!strchr(path, '-'))
        return 0;
    rc = xlx__usb_socket(path, &socket);
    if (!rc)
        rc = xlx__usb_tree_sockets(selector, &sockets);
    if (!rc)
        *yes_r = *socket && xlx__usb_is_below(&sockets, socket);
    xlx__usb_sockets_dispose(&sockets);
    free(socket);
    return rc;
}

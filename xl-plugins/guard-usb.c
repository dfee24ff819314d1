/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * usbdev=["selector=SELECTOR[,OPTION]...", ...] in a guest's config, or with
 * the selector last: the guest is made paused, xl usb-attach is run for each
 * such element, and then it runs.  Elements without a selector are stock xl's,
 * which gets them as they are.  usbctrl= is also stock xl's; the type that
 * libxl itself would choose is added to it, because libxl fails to act on its
 * own choice.
 *
 * A guest with USB devices is neither saved nor migrated: they cannot go with
 * it, and libxl would silently lose them.  With --detach they are set
 * aside before, and attached again where and when the guest runs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard.h"
#include "text.h"

#define MAX_OPTIONS 8
#define SELECTOR "selector="
#define USBBACK_DRIVER "/sys/bus/usb/drivers/usbback"

/* Where the selector's key is: first, or last as with xl's own target= for
 * what may have commas in it; NULL when the element is stock xl's. */
static char *selector_in(char *element)
{
    char *last;

    if (!strncmp(element, SELECTOR, strlen(SELECTOR)))
        return element;
    last = strstr(element, "," SELECTOR);
    return last ? last + 1 : NULL;
}

static bool is_ours(const char *element)
{
    char *copy = xl_format("%s", element);
    bool ours = selector_in(copy);

    free(copy);
    return ours;
}

/* "policy=": does the guest start without a device that is not plugged in?
 * "requisite" differs from "mandatory" only where guests migrate. */
static int parse_policy(const char *policy, char **argv, int num)
{
    if (!strcmp(policy, "optional"))
        argv[num++] = xl_format("--optional");
    else if (strcmp(policy, "mandatory") && strcmp(policy, "requisite"))
        return -1;
    return num;
}

static int parse_option(const char *option, char **argv, int num)
{
    static const char *const same[] = {
        "controller=", "port=", "type=", "version=",
    };
    size_t i;

    if (!strncmp(option, "policy=", strlen("policy=")))
        return parse_policy(option + strlen("policy="), argv, num);
    for (i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        if (!strncmp(option, same[i], strlen(same[i]))) {
            argv[num++] = xl_format("--%s", option);
            return num;
        }
    if (strcmp(option, "once") && strcmp(option, "reset") &&
        strcmp(option, "force"))
        return -1;
    argv[num++] = xl_format("--%s", option);
    return num;
}

/* One element as the arguments of xl usb-attach; -1 after a message. */
static int parse(const char *element, int number, char **argv, int num)
{
    char *copy = xl_format("%s", element), *selector, *option, *save;
    char *key = selector_in(copy), *options = copy;
    int first = num;

    selector = key + strlen(SELECTOR);
    if (key == copy) {
        options = selector + strcspn(selector, ",");
        if (*options)
            *options++ = '\0';
    } else {
        key[-1] = '\0';
    }
    for (option = strtok_r(options, ",", &save); option && num >= 0;
         option = strtok_r(NULL, ",", &save))
        num = num - first < MAX_OPTIONS ? parse_option(option, argv, num)
                                        : -1;
    if (*selector && num >= 0) {
        argv[num++] = xl_format("--");
        argv[num++] = NULL;             /* the guest, when it has been made */
        argv[num++] = xl_format("%s", selector);
    } else {
        xl_message("usbdev: element %d: \"%s\": must be selector=SELECTOR and "
                   "then any of policy=mandatory|requisite|optional, "
                   "controller=N, port=N, type=TYPE, version=N, once, reset, "
                   "force, or the selector after these when it has a comma",
                   number, element);
        num = -1;
    }
    free(copy);
    return num;
}

static int attach(struct guard_start *s, const char *who)
{
    char *argv[MAX_OPTIONS + 8];
    const char *element;
    XLU_ConfigList *list;
    int i, j, n, num, status = 0;

    if (xlu_cfg_get_list(s->config.cfg, "usbdev", &list, &num, 1))
        return 0;
    for (i = 0; !status && i < num; i++) {
        element = xlu_cfg_get_listitem(list, i);
        if (!element || !is_ours(element))
            continue;
        argv[0] = xl_format("xl-usb-attach");
        argv[1] = xl_format("--no-wait");
        n = parse(element, i + 1, argv, 2);
        if (n < 0)                      /* guard_usb() has let it pass */
            return 1;
        argv[n] = NULL;
        argv[n - 2] = xl_format("%s", who);
        status = guard_run("xl-usb-attach", argv);
        for (j = 0; j < n; j++)
            free(argv[j]);
    }
    return status;
}

/* The list without our elements, as a line after the config. */
static char *stock_line(XLU_ConfigList *list, int num)
{
    char *line = guard_append(NULL, "usbdev=[");
    const char *element;
    int i, n = 0;

    for (i = 0; i < num; i++) {
        element = xlu_cfg_get_listitem(list, i);
        if (is_ours(element))
            continue;
        line = guard_append(line, n++ ? ", " : "");
        line = guard_append_string(line, element);
    }
    return guard_append(line, "]");
}

/* ---- controllers -------------------------------------------------------- */

static bool has_default_type(const char *ctrl)
{
    bool is_default = true;
    const char *p;

    for (p = ctrl; *p; p += strcspn(p, ",")) {
        p += strspn(p, ", ");
        if (!strncmp(p, "type=", strlen("type=")))
            is_default = !strncmp(p, "type=auto", strlen("type=auto"));
    }
    return is_default;
}

/* Does libxl make a controller because a device needs one? */
static bool makes_ctrl(const XLU_Config *cfg)
{
    const char *element;
    XLU_ConfigList *list;
    bool makes = false;
    int i, num;

    if (xlu_cfg_get_list(cfg, "usbdev", &list, &num, 1))
        return false;
    for (i = 0; i < num; i++) {
        element = xlu_cfg_get_listitem(list, i);
        makes |= element && !is_ours(element);
    }
    return makes;
}

/* The list as a line after the config, with each type; NULL if the config has
 * them, or is not a list of strings. */
static char *ctrl_line(XLU_ConfigList *list, int num)
{
    char *line = guard_append(NULL, "usbctrl=["), *ctrl;
    bool changed = false, is_default;
    const char *element;
    int i;

    for (i = 0; i < num; i++) {
        element = xlu_cfg_get_listitem(list, i);
        if (!element) {
            changed = false;
            break;
        }
        is_default = has_default_type(element);
        ctrl = xl_format("%s%s%s", element,
                         is_default && *element ? "," : "",
                         is_default ? "type=qusb" : "");
        line = guard_append(line, i ? ", " : "");
        line = guard_append_string(line, ctrl);
        free(ctrl);
        changed |= is_default;
    }
    if (changed)
        return guard_append(line, "]");
    free(line);
    return NULL;
}

/* A controller of the default type is one for QEMU, where there is no driver
 * usbback and the guest is not HVM.  But libxl (4.17 to 4.20) starts a QEMU
 * only for controllers that have that type in the config; without, the guest's
 * kernel waits five minutes for it at boot. */
static void add_ctrl_types(struct guard_start *s)
{
    XLU_ConfigList *list;
    char *line = NULL;
    int num;

    if (guest_config_type(&s->config) == LIBXL_DOMAIN_TYPE_HVM ||
        !access(USBBACK_DRIVER, F_OK))
        return;
    if (!xlu_cfg_get_list(s->config.cfg, "usbctrl", &list, &num, 1) && num)
        line = ctrl_line(list, num);
    else if (makes_ctrl(s->config.cfg))
        line = xl_format("usbctrl=[\"type=qusb\"]");
    if (line)
        guard_add_line(s, line);
}

/* ---- what stays behind when the guest leaves ---------------------------- */

/* The line that attaches it elsewhere when it is plugged in there.  NULL: what
 * is found by where it is plugged in, or was never recorded, nobody finds on
 * another host. */
static char *attach_line(const xlx_guest *guest, const xlx_usb_ctrl *ctrl,
                         const xlx_usb_port *port)
{
    char *line;

    if (!guest->name || !port->selector || !strchr(port->selector, ':'))
        return NULL;
    line = xl_format("xl usb-attach %s --type=%s --",
                     port->once ? "--once" : "--optional",
                     xlx_usb_type_to_string(ctrl->type));
    line = guard_append_word(line, guest->name);
    return guard_append_word(line, port->selector);
}

static int list_devs(xlx_ctx *ctx, const xlx_guest *guest,
                     struct guard_hostdevs *devs)
{
    const xlx_usb_port *port;
    const xlx_usb_ctrl *ctrl;
    xlx_usb_ctrls list;
    int i, j, rc;

    xlx_usb_ctrls_init(&list);
    rc = xlx_usb_ctrl_list(ctx, guest, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++)
        for (j = 0; j < list.ctrls[i].num_ports; j++) {
            ctrl = &list.ctrls[i];
            port = &ctrl->ports[j];
            guard_hostdev_add(devs,
                              xl_format("%u/%u", ctrl->devid, port->number),
                              port->status == XLX_USB_STATUS_ASIDE,
                              attach_line(guest, ctrl, port));
        }
    xlx_usb_ctrls_dispose(&list);
    return rc;
}

static int set_aside(xlx_ctx *ctx, const xlx_guest *guest)
{
    return xlx_usb_set_aside(ctx, guest, NULL);
}

static int forget(xlx_ctx *ctx, const xlx_guest *guest, const char *place)
{
    xlx_usb_entry gone;
    int rc;

    xlx_usb_entry_init(&gone);
    rc = xlx_usb_detach(ctx, guest, place, NULL, &gone);
    xlx_usb_entry_dispose(&gone);
    return rc;
}

const struct guard_hostdev_kind guard_hostdev_usb = {
    .name = "USB",
    .repair = "usb-repair",
    .when_local = "xl usb-detach it, or attach it by its ID",
    .list = list_devs,
    .set_aside = set_aside,
    .forget = forget,
};

/* A guest that was suspended does not look for devices that came in that time:
 * it has to run first. */
static int return_devices(struct guard_start *s, int status)
{
    return status ? status
                  : guard_hostdev_repair(&guard_hostdev_usb, s->config.name);
}

/* A guest that was saved with --detach. */
static int check_restore(struct guard_start *s)
{
    if (!guard_hostdev_aside(s, &guard_hostdev_usb))
        return 0;
    if (s->paused || s->stays)
        xl_message("when \"%s\" runs, xl usb-repair gives it its USB devices",
                   s->config.name);
    else
        guard_afterwards(s, return_devices);
    return 0;
}

int guard_usb(struct guard_start *s)
{
    char *argv[MAX_OPTIONS + 8];
    const char *element;
    XLU_ConfigList *list;
    int i, n, num, r, ours = 0;

    if (s->save_file)
        return check_restore(s);
    if (!s->config.cfg || !s->config.name)
        return 0;
    add_ctrl_types(s);
    if (xlu_cfg_get_list(s->config.cfg, "usbdev", &list, &num, 1))
        return 0;
    for (i = 0; i < num; i++) {
        element = xlu_cfg_get_listitem(list, i);
        if (!element)                   /* stock xl will say so */
            return 0;
        if (!is_ours(element))
            continue;
        n = parse(element, i + 1, argv, 0);
        if (n < 0)
            return 1;
        while (n--)
            free(argv[n]);
        ours++;
    }
    if (!ours)
        return 0;
    guard_add_line(s, stock_line(list, num));
    r = guard_while_paused(s, "usbdev", attach);
    if (r || s->only_shows) return r;
    return guard_hostdev_forget(s, &guard_hostdev_usb);
}

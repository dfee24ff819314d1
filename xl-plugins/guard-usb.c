/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * usbdev=["selector=SELECTOR[,OPTION]...", ...] in a guest's config, or with
 * the selector last: the guest is made paused, each such element is attached,
 * and then it runs; with the option tree, everything below what the selector
 * names.  Elements without a selector are stock xl's, which gets
 * them as they are.  usbctrl= is also stock xl's; the type that libxl itself
 * would choose is added to it, because libxl fails to act on its own choice.
 *
 * A guest with USB devices is neither saved nor migrated: they cannot go with
 * it, and libxl would silently lose them.  With --detach they are set
 * aside before, and attached again where and when the guest runs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/number.h"
#include "guard.h"
#include "text.h"

#define SELECTOR "selector="
#define TREE "tree "                /* before the selector of one */
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
static bool take_policy(const char *policy, xlx_usb_binding *b)
{
    b->optional = !strcmp(policy, "optional");
    return b->optional || !strcmp(policy, "mandatory") ||
           !strcmp(policy, "requisite");
}

static bool take_option(char *option, xlx_usb_binding *b)
{
    const struct { const char *key; uint32_t *number; } numbers[] = {
        { "controller", &b->ctrl },
        { "port", &b->port },
        { "version", &b->version },
    };
    const struct { const char *key; bool *flag; } flags[] = {
        { "force", &b->force }, { "once", &b->once }, { "reset", &b->reset },
        { "tree", &b->tree },
    };
    char *value = strchr(option, '=');
    size_t i;

    if (value)
        *value++ = '\0';
    if (value && !strcmp(option, "policy"))
        return take_policy(value, b);
    if (value && !strcmp(option, "type"))
        return !xlx_usb_type_from_string(value, &b->type);
    for (i = 0; value && i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (!strcmp(option, numbers[i].key))
            return xlx__parse_c(value, UINT32_MAX, numbers[i].number);
    for (i = 0; !value && i < sizeof(flags) / sizeof(flags[0]); i++)
        if (!strcmp(option, flags[i].key))
            return *flags[i].flag = true;
    return false;
}

/* One element; the library reads the selector.  False when it is wrong. */
static bool parse(const char *element, xlx_usb_binding *b)
{
    char *copy = xl_format("%s", element), *selector, *option, *save;
    char *key = selector_in(copy), *options = copy;
    bool good;

    selector = key + strlen(SELECTOR);
    if (key == copy) {
        options = selector + strcspn(selector, ",");
        if (*options)
            *options++ = '\0';
    } else {
        key[-1] = '\0';
    }
    good = *selector;
    for (option = strtok_r(options, ",", &save); option && good;
         option = strtok_r(NULL, ",", &save))
        good = take_option(option, b);
    good = good && !(b->once && b->optional) &&
           !(b->tree && (b->once || b->optional || b->port));
    b->configured = true;
    if (good)
        b->selector = xl_format("%s", selector);
    free(copy);
    return good;
}

/* Our elements of the config. */
struct bindings {
    xlx_usb_binding *list;
    int num;
};

static void bindings_dispose(struct bindings *b)
{
    int i;

    for (i = 0; i < b->num; i++)
        xlx_usb_binding_dispose(&b->list[i]);
    free(b->list);
}

/* Added to an empty list, which is disposed of also after a failure; exit
 * status. */
static int read_usbdev(XLU_ConfigList *list, int num, struct bindings *b)
{
    const char *element;
    int i;

    for (i = 0; i < num; i++) {
        element = xlu_cfg_get_listitem(list, i);
        if (!is_ours(element))
            continue;
        b->list = guard_grown(b->list, b->num, sizeof(*b->list));
        xlx_usb_binding_init(&b->list[b->num++]);
        if (parse(element, &b->list[b->num - 1]))
            continue;
        xl_message("usbdev: element %d: \"%s\": must be selector=SELECTOR and "
                   "then any of policy=mandatory|requisite|optional, "
                   "controller=N, port=N, type=TYPE, version=N, once (not "
                   "with policy=optional), reset, force, tree (not with "
                   "policy=optional, port or once), or the selector "
                   "after these when it has a comma", i + 1, element);
        return 1;
    }
    return 0;
}

/* Devices that are left out do not keep the guest from starting. */
static int attach_tree(struct guard_start *s, const xlx_guest *guest,
                       const xlx_usb_binding *binding,
                       const xlx_usb_wait *wait)
{
    xlx_usb_tree_devices found;
    int rc;

    xlx_usb_tree_devices_init(&found);
    rc = xlx_usb_tree_attach(s->ctx, guest, binding, wait, &found);
    if (!rc)
        xl_say_usb_tree("Attached", &found);
    xlx_usb_tree_devices_dispose(&found);
    return rc;
}

/* Exit status. */
static int attach_one(struct guard_start *s, const xlx_guest *guest,
                      const xlx_usb_binding *binding)
{
    xlx_usb_entry entry;
    xlx_usb_wait wait;
    int rc;

    xlx_usb_wait_init(&wait);
    xlx_usb_entry_init(&entry);
    wait.no_wait = true;                /* it does not run yet */
    rc = binding->tree
        ? attach_tree(s, guest, binding, &wait)
        : xlx_usb_attach(s->ctx, guest, binding, &wait, &entry);
    if (rc)
        xl_message("usbdev: %s", xlx_error_get());
    else if (!binding->tree)
        xl_say_usb("Attached", &entry);
    xlx_usb_entry_dispose(&entry);
    return rc ? 1 : 0;
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

static bool has_tree(const xlx_usb_ctrls *list, const char *selector)
{
    int i;

    for (i = 0; *selector && i < list->num_trees; i++)
        if (!strcmp(list->trees[i].selector, selector))
            return true;
    return false;
}

/* A tree stands for the devices that were found in it.  It is of this host. */
static void list_trees(const xlx_usb_ctrls *list, struct guard_hostdevs *devs)
{
    const xlx_usb_tree *tree;
    int i;

    for (i = 0; i < list->num_trees; i++) {
        tree = &list->trees[i];
        guard_hostdev_add(devs, (struct guard_hostdev){
            .place = xl_format(TREE "%s", tree->selector),
            .name = xl_format(TREE "%s", tree->selector),
            .aside = tree->aside,
            .configured = tree->configured,
        });
    }
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
            if (has_tree(&list, xl_text(port->tree)))
                continue;
            guard_hostdev_add(devs, (struct guard_hostdev){
                .place = xl_format("%u/%u", ctrl->devid, port->number),
                .name = xl_format("%s", xl_text(port->selector)),
                .aside = port->status == XLX_USB_STATUS_ASIDE,
                .configured = port->configured,
                .there = attach_line(guest, ctrl, port),
            });
        }
    if (!rc)
        list_trees(&list, devs);
    xlx_usb_ctrls_dispose(&list);
    return rc;
}

static int set_aside(xlx_ctx *ctx, const xlx_guest *guest)
{
    return xlx_usb_set_aside(ctx, guest, NULL);
}

static int forget_tree(xlx_ctx *ctx, const xlx_guest *guest,
                       const char *selector)
{
    xlx_usb_tree_devices gone;
    int rc;

    xlx_usb_tree_devices_init(&gone);
    rc = xlx_usb_tree_detach(ctx, guest, selector, NULL, &gone);
    xlx_usb_tree_devices_dispose(&gone);
    return rc;
}

static int forget(xlx_ctx *ctx, const xlx_guest *guest, const char *place)
{
    xlx_usb_entry gone;
    int rc;

    if (!strncmp(place, TREE, strlen(TREE)))
        return forget_tree(ctx, guest, place + strlen(TREE));
    xlx_usb_entry_init(&gone);
    rc = xlx_usb_detach(ctx, guest, place, NULL, &gone);
    xlx_usb_entry_dispose(&gone);
    return rc;
}

static const struct guard_hostdev_kind hostdev = {
    .name = "USB",
    .repair = "usb-repair",
    .watch = "usb-watch",
    .when_local = "xl usb-detach it, or attach it by its ID",
    .list = list_devs,
    .set_aside = set_aside,
    .forget = forget,
};

static int attach(struct guard_start *s, const char *who)
{
    struct bindings b = { NULL, 0 };
    XLU_ConfigList *list;
    xlx_guest guest;
    int i, num, status;

    if (xlu_cfg_get_list(s->config.cfg, "usbdev", &list, &num, 1))
        return 0;
    xlx_guest_init(&guest);
    status = read_usbdev(list, num, &b);
    if (!status)
        status = guard_hostdev_find(s, who, &guest);
    for (i = 0; !status && i < b.num; i++) {
        status = attach_one(s, &guest, &b.list[i]);
        if (!status && !i)
            guard_hostdev_watch(&hostdev, &guest);
    }
    bindings_dispose(&b);
    xlx_guest_dispose(&guest);
    return status;
}

/* A guest does not look for what came while it was suspended: it has to run
 * first. */
static int attach_aside(struct guard_start *s, int status)
{
    return status ? status
                  : guard_hostdev_repair(&hostdev, s->config.name);
}

static int attach_again(struct guard_start *s, const char *who)
{
    return guard_hostdev_again(s, &hostdev, who);
}

/* A guest that was saved with --detach, or that is recorded with devices. */
static int check_restore(struct guard_start *s)
{
    const struct guard_hostdevs none = { NULL, 0 };
    bool again;
    int status;

    if (!s->config.name)
        return 0;
    if (s->our_option || !guard_hostdev_aside(s, &hostdev)) {
        status = guard_hostdev_start(s, &hostdev, &none, &again);
        if (status || !again)
            return status;
    }
    if (s->paused || s->stays)
        xl_message("when \"%s\" runs, xl usb-repair gives it its USB devices",
                   s->config.name);
    else
        guard_afterwards(s, attach_aside);
    return 0;
}

static int start_with(struct guard_start *s, const struct bindings *b)
{
    struct guard_hostdevs wanted = { NULL, 0 };
    const xlx_usb_binding *binding;
    bool again, placed;
    int i, status = 0;

    for (i = 0; i < b->num; i++) {
        binding = &b->list[i];
        placed = binding->ctrl != UINT32_MAX && binding->port;
        guard_hostdev_add(&wanted, (struct guard_hostdev){
            .place = placed ? xl_format("%u/%u", binding->ctrl, binding->port)
                            : NULL,
            .name = xl_format("%s%s", binding->tree ? TREE : "",
                              binding->selector),
        });
    }
    if (b->num)
        status = guard_while_paused(s, "usbdev", attach);
    if (!status)
        status = guard_hostdev_start(s, &hostdev, &wanted, &again);
    if (!status && again)
        status = guard_while_paused(s, "recorded USB devices", attach_again);
    guard_hostdevs_free(&wanted);
    return status;
}

/* Our elements, and whether there are any, because the list for stock xl is
 * then without them; exit status. */
static int read_ours(struct guard_start *s, struct bindings *b)
{
    XLU_ConfigList *list;
    int i, num, status;

    if (xlu_cfg_get_list(s->config.cfg, "usbdev", &list, &num, 1))
        return 0;
    for (i = 0; i < num; i++)
        if (!xlu_cfg_get_listitem(list, i))
            return 0;                   /* stock xl will say so */
    status = read_usbdev(list, num, b);
    if (!status && b->num)
        guard_add_line(s, stock_line(list, num));
    return status;
}

static int check_start(struct guard_start *s)
{
    struct bindings b = { NULL, 0 };
    int status;

    if (s->save_file)
        return check_restore(s);
    if (!s->config.cfg || !s->config.name)
        return 0;
    add_ctrl_types(s);
    status = read_ours(s, &b);
    if (!status)
        status = start_with(s, &b);
    bindings_dispose(&b);
    return status;
}

const struct guard_concept guard_usb = {
    .check = check_start, .hostdev = &hostdev,
};

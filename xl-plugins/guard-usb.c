/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * usbdev=["selector=SELECTOR[,OPTION]...", ...] in a guest's config, or with
 * the selector last: the guest is made paused, xl usb-attach is run for each
 * such element, and then it runs.  Elements without a selector are stock xl's,
 * which gets them as they are.
 *
 * A guest with USB devices is neither saved nor migrated: they cannot go with
 * it, and libxl would lose them without a word.  With --detach they are set
 * aside before, and attached again where and when the guest runs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "text.h"

#define MAX_OPTIONS 8
#define SELECTOR "selector="

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
        if (!is_ours(element))
            continue;
        argv[0] = xl_format("xl-usb-attach");
        argv[1] = xl_format("--no-wait");
        n = parse(element, i + 1, argv, 2);
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

static int forget(xlx_ctx *ctx, const xlx_guest *guest)
{
    xlx_usb_ctrls list;
    xlx_usb_entry gone;
    char place[32];
    int i, j, rc;

    xlx_usb_entry_init(&gone);
    xlx_usb_ctrls_init(&list);
    rc = xlx_usb_ctrl_list(ctx, guest, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++)
        for (j = 0; !rc && j < list.ctrls[i].num_ports; j++) {
            snprintf(place, sizeof(place), "%u/%u", list.ctrls[i].devid,
                     list.ctrls[i].ports[j].number);
            xlx_usb_entry_dispose(&gone);
            rc = xlx_usb_detach(ctx, guest, place, NULL, &gone);
        }
    xlx_usb_ctrls_dispose(&list);
    xlx_usb_entry_dispose(&gone);
    return rc;
}

/* ---- what is set aside -------------------------------------------------- */

static bool is_aside(const xlx_usb_port *port)
{
    return port->status == XLX_USB_STATUS_ASIDE;
}

static bool is_attached(const xlx_usb_port *port)
{
    return !is_aside(port);
}

/* What is found by where it is plugged in, or was never recorded, nobody finds
 * on another host. */
static bool is_local(const xlx_usb_port *port)
{
    return !port->selector || !strchr(port->selector, ':');
}

/* The first device for which wanted() holds, NULL: any, as CONTROLLER/PORT;
 * false when there is none. */
static bool first_port(const xlx_usb_ctrls *list,
                       bool (*wanted)(const xlx_usb_port *port),
                       char place[32])
{
    int i, j;

    for (i = 0; i < list->num_ctrls; i++)
        for (j = 0; j < list->ctrls[i].num_ports; j++)
            if (!wanted || wanted(&list->ctrls[i].ports[j])) {
                snprintf(place, 32, "%u/%u", list->ctrls[i].devid,
                         list->ctrls[i].ports[j].number);
                return true;
            }
    return false;
}

/* A guest that was suspended does not look for what came meanwhile: it has to
 * run first. */
static int bring_back(struct guard_start *s, int status)
{
    return status ? status : guard_run_for("xl-usb-repair", s->config.name);
}

/* A guest that was saved with --detach. */
static int check_restore(struct guard_start *s)
{
    xlx_usb_ctrls list;
    xlx_guest guest;
    char place[32];
    bool aside;

    if (!s->config.name)
        return 0;
    xlx_guest_init(&guest);
    xlx_usb_ctrls_init(&list);
    /* a guest that is not known has nothing set aside */
    aside = !guard_find(s, &guest) &&
            !xlx_usb_ctrl_list(s->ctx, &guest, &list) &&
            first_port(&list, is_aside, place);
    xlx_usb_ctrls_dispose(&list);
    xlx_guest_dispose(&guest);
    if (!aside)
        return 0;
    if (s->paused || s->stays)
        xl_message("when \"%s\" runs, xl usb-repair gives it its USB devices",
                   s->config.name);
    else
        guard_afterwards(s, bring_back);
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
    if (!s->config.cfg || !s->config.name ||
        xlu_cfg_get_list(s->config.cfg, "usbdev", &list, &num, 1))
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
    return r || s->only_shows ? r : guard_forget_former(s, forget);
}

/* ---- leaving ------------------------------------------------------------ */

/* What save and migrate have set aside, for afterwards: one process leaves
 * with one guest. */
static struct {
    xlx_guest guest;
    xlx_usb_ctrls list;
} left;

/* Says which devices keep it here. */
static int refuse(void)
{
    char *names = NULL, *place;
    int i, j;

    for (i = 0; i < left.list.num_ctrls; i++)
        for (j = 0; j < left.list.ctrls[i].num_ports; j++) {
            place = xl_format("%u/%u", left.list.ctrls[i].devid,
                              left.list.ctrls[i].ports[j].number);
            names = names ? guard_append(names, ", ") : NULL;
            names = guard_append(names, place);
            free(place);
        }
    xl_message("\"%s\" has USB devices, which cannot go with it: %s; with "
               "--detach they are detached, and attached again afterwards",
               left.guest.name, names);
    free(names);
    return 1;
}

/* Has one device attached on the other host when it is plugged in there; then
 * it is that host's to remember. */
static int send_after(struct guard_start *s, const xlx_usb_ctrl *ctrl,
                      const xlx_usb_port *port)
{
    char *line, place[32];
    xlx_usb_entry gone;
    int status;

    line = xl_format("xl usb-attach %s --type=%s --",
                     port->once ? "--once" : "--optional",
                     xlx_usb_type_to_string(ctrl->type));
    line = guard_append_word(line, left.guest.name);
    line = guard_append_word(line, port->selector);
    status = guard_run_there(s, line);
    snprintf(place, sizeof(place), "%u/%u", ctrl->devid, port->number);
    xlx_usb_entry_init(&gone);
    if (status)
        xl_message("\"%s\" runs on %s without its USB device %s: there, %s",
                   left.guest.name, s->target, place, line);
    else if (xlx_usb_detach(s->ctx, &left.guest, place, NULL, &gone))
        xl_message("%s", xlx_get_error());
    xlx_usb_entry_dispose(&gone);
    free(line);
    return status;
}

static int send_all(struct guard_start *s)
{
    int i, j, r, status = 0;

    left.guest.domid = XLX_DOMID_NONE;
    for (i = 0; i < left.list.num_ctrls; i++)
        for (j = 0; j < left.list.ctrls[i].num_ports; j++) {
            r = send_after(s, &left.list.ctrls[i],
                           &left.list.ctrls[i].ports[j]);
            status = status ? status : r;
        }
    return status;
}

static int bring_all_back(void)
{
    char uuid[LIBXL_UUID_FMTLEN + 1];

    guard_format_uuid(&left.guest.uuid, uuid);
    return guard_run_for("xl-usb-repair", uuid);
}

/* Where it runs now it has them again; a saved one has them when it is
 * restored. */
static int after_leaving(struct guard_start *s, int status)
{
    int r = 0;

    if (guard_runs_here(s, &left.guest.uuid))
        r = bring_all_back();
    else if (!status && s->target)
        r = send_all(s);
    xlx_ctx_free(s->ctx);
    s->ctx = NULL;
    xlx_usb_ctrls_dispose(&left.list);
    xlx_guest_dispose(&left.guest);
    return status ? status : r;
}

static int set_aside(struct guard_start *s)
{
    char place[32];

    if (guard_check_shell(s))
        return 1;
    if (s->target && first_port(&left.list, is_local, place)) {
        xl_message("the USB device %s has no name that another host would know"
                   " it by: xl usb-detach it, or attach it by its ID", place);
        return 1;
    }
    if (xlx_usb_set_aside(s->ctx, &left.guest, NULL)) {
        xl_message("%s", xlx_get_error());
        bring_all_back();
        return 1;
    }
    guard_afterwards(s, after_leaving);
    return 0;
}

/* *kept_r: what left has is for afterwards. */
static int leave(struct guard_start *s, bool *kept_r)
{
    char place[32];
    int status;

    *kept_r = false;
    if (xlx_usb_ctrl_list(s->ctx, &left.guest, &left.list)) {
        xl_message("%s", xlx_get_error());
        xl_message("so nobody knows whether it has USB devices, which"
                   " cannot go with it; \"%s\" does not ask", s->stock);
        return 1;
    }
    if (!first_port(&left.list, s->detach ? NULL : is_attached, place))
        return 0;
    if (!s->detach)
        return refuse();
    status = set_aside(s);
    *kept_r = !status;
    return status;
}

int guard_usb_leave(struct guard_start *s)
{
    bool kept;
    int status;

    xlx_guest_init(&left.guest);
    xlx_usb_ctrls_init(&left.list);
    /* who cannot be found stock xl will not find either */
    if (xlx_guest_find(s->ctx, s->leaving, NULL, &left.guest))
        return 0;
    status = leave(s, &kept);
    if (!kept) {
        xlx_usb_ctrls_dispose(&left.list);
        xlx_guest_dispose(&left.guest);
    }
    return status;
}

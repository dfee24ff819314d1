/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * usbdev=["selector=SELECTOR[,OPTION]...", ...] in a guest's config: the guest
 * is made paused, xl usb-attach is run for each such element, and then it
 * runs.  Elements without a selector are stock xl's, which gets them as they
 * are.
 *
 * A guest with USB devices is neither saved nor migrated: they cannot go with
 * it, and libxl would lose them without a word.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "text.h"

#define MAX_OPTIONS 8
#define SELECTOR "selector="

static bool is_ours(const char *element)
{
    return !strncmp(element, SELECTOR, strlen(SELECTOR));
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
    int first = num;

    selector = strtok_r(copy + strlen(SELECTOR), ",", &save);
    while (selector && num >= 0 && (option = strtok_r(NULL, ",", &save)))
        num = num - first < MAX_OPTIONS ? parse_option(option, argv, num)
                                        : -1;
    if (selector && num >= 0) {
        argv[num++] = xl_format("--");
        argv[num++] = NULL;             /* the guest, when it has been made */
        argv[num++] = xl_format("%s", selector);
    } else {
        xl_message("usbdev: element %d: \"%s\": must be selector=SELECTOR and "
                   "then any of policy=mandatory|requisite|optional, "
                   "controller=N, port=N, type=TYPE, version=N, once, reset, "
                   "force", number, element);
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

int guard_usb(struct guard_start *s)
{
    char *argv[MAX_OPTIONS + 8];
    const char *element;
    XLU_ConfigList *list;
    int i, n, num, ours = 0;

    if (!s->config.cfg || s->save_file || !s->config.name ||
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
    return guard_while_paused(s, "usbdev", attach);
}

/* Says which devices keep it here. */
static int refuse(const xlx_guest *guest, const xlx_usb_ctrls *list)
{
    char *names = NULL, *place;
    int i, j;

    for (i = 0; i < list->num_ctrls; i++)
        for (j = 0; j < list->ctrls[i].num_ports; j++) {
            place = xl_format("%u/%u", list->ctrls[i].devid,
                              list->ctrls[i].ports[j].number);
            names = names ? guard_append(names, ", ") : NULL;
            names = guard_append(names, place);
            free(place);
        }
    if (!names)
        return 0;
    xl_message("\"%s\" has USB devices, which cannot go with it: xl "
               "usb-detach %s", guest->name, names);
    free(names);
    return 1;
}

int guard_usb_leave(struct guard_start *s)
{
    xlx_usb_ctrls list;
    xlx_guest guest;
    int status = 0;

    xlx_guest_init(&guest);
    xlx_usb_ctrls_init(&list);
    /* who cannot be found stock xl will not find either */
    if (!xlx_guest_find(s->ctx, s->leaving, NULL, &guest)) {
        if (!xlx_usb_ctrl_list(s->ctx, &guest, &list)) {
            status = refuse(&guest, &list);
        } else {
            xl_message("%s", xlx_get_error());
            xl_message("so nobody knows whether it has USB devices, which"
                       " cannot go with it; \"%s\" does not ask", s->stock);
            status = 1;
        }
    }
    xlx_usb_ctrls_dispose(&list);
    xlx_guest_dispose(&guest);
    return status;
}

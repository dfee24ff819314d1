/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl usb-attach, -detach, -show, -assignable, -policy, -repair, -watch.
 */
#include <stdio.h>

#include "attached.h"
#include "gen-commands.h"
#include "plugin.h"
#include "text.h"

const struct xl_command *const xl_commands = xl_usb_commands;

/* ---- usb-watch ---------------------------------------------------------- */

int xl_usb_watch_main(int argc, char **argv)
{
    struct xl_usb_watch_args args;
    int r;

    r = xl_usb_watch_parse(argc, argv, &args);
    return r >= 0 ? r : xl_watch_guest(args.domain, xlx_usb_watch);
}

/* ---- usb-attach, usb-detach --------------------------------------------- */

static int attach_tree(const struct xl_usb_attach_args *args)
{
    const xlx_usb_binding *b = &args->usb_binding;
    xlx_usb_tree_devices found;
    xlx_guest guest;
    int rc, r = 0;

    if (args->permanent || b->once || b->optional || b->port)
        return xl_bad_value("usb-attach", "tree", NULL, "not together with "
                            "--permanent, --once, --optional or --port");
    xlx_guest_init(&guest);
    xlx_usb_tree_devices_init(&found);
    rc = xlx_guest_find(xl_ctx(), args->domain, NULL, &guest);
    if (!rc)
        rc = xlx_usb_tree_attach(xl_ctx(), &guest, b, &args->usb_wait,
                                 &found);
    if (!rc && !args->dry_run)
        xl_start_watcher("usb-watch", &guest);
    if (rc)
        r = xl_failed(rc);
    else if (args->json)
        r = xl_print_json(xlx_usb_tree_devices_to_json(xl_ctx(), &found));
    else
        xl_say_usb_tree(args->dry_run ? "Would attach" : "Attached", &found);
    xlx_usb_tree_devices_dispose(&found);
    xlx_guest_dispose(&guest);
    return r;
}

int xl_usb_attach_main(int argc, char **argv)
{
    struct xl_usb_attach_args args;
    xlx_usb_entry entry;
    xlx_guest guest;
    int rc, r;

    r = xl_usb_attach_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    if (args.usb_binding.tree)
        return attach_tree(&args);
    if (args.usb_binding.once &&
        (args.permanent || args.usb_binding.optional))
        return xl_bad_value("usb-attach", "once", NULL, "not together with "
                            "--permanent or --optional");
    xlx_guest_init(&guest);
    xlx_usb_entry_init(&entry);

    rc = xlx_guest_find(xl_ctx(), args.domain, NULL, &guest);
    if (!rc)
        rc = xlx_usb_attach(xl_ctx(), &guest, &args.usb_binding,
                            &args.usb_wait, &entry);
    if (!rc && !args.dry_run)
        xl_start_watcher("usb-watch", &guest);
    r = 0;
    if (rc)
        r = xl_failed(rc);
    else if (args.json)
        r = xl_print_json(xlx_usb_entry_to_json(xl_ctx(), &entry));
    else
        xl_say_usb(args.dry_run ? "Would attach" : "Attached", &entry);
    xlx_usb_entry_dispose(&entry);
    xlx_guest_dispose(&guest);
    return r;
}

static int detach_tree(const struct xl_usb_detach_args *args,
                       const xlx_guest *guest, const xlx_usb_wait *wait)
{
    xlx_usb_tree_devices found;
    int i, rc;

    xlx_usb_tree_devices_init(&found);
    rc = xlx_usb_tree_detach(xl_ctx(), guest, args->selector, wait, &found);
    for (i = 0; i < found.tree.num_left; i++)   /* no longer of interest */
        xlx_usb_left_dispose(&found.tree.left[i]);
    found.tree.num_left = 0;
    if (!rc)
        xl_say_usb_tree(args->dry_run ? "Would detach" : "Detached", &found);
    xlx_usb_tree_devices_dispose(&found);
    return rc;
}

static int detach_device(const struct xl_usb_detach_args *args,
                         const xlx_guest *guest, const xlx_usb_wait *wait)
{
    xlx_usb_entry entry;
    int rc;

    xlx_usb_entry_init(&entry);
    rc = xlx_usb_detach(xl_ctx(), guest, args->selector, wait, &entry);
    if (!rc)
        xl_say_usb(args->dry_run ? "Would detach" : "Detached", &entry);
    xlx_usb_entry_dispose(&entry);
    return rc;
}

int xl_usb_detach_main(int argc, char **argv)
{
    struct xl_usb_detach_args args;
    xlx_guest guest;
    int rc, r;

    r = xl_usb_detach_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_guest_init(&guest);
    rc = xlx_guest_find(xl_ctx(), args.domain, NULL, &guest);
    if (!rc)
        rc = args.tree ? detach_tree(&args, &guest, &args.usb_wait)
                       : detach_device(&args, &guest, &args.usb_wait);
    xlx_guest_dispose(&guest);
    return rc ? xl_failed(rc) : 0;
}

/* ---- usb-assignable ----------------------------------------------------- */

static void device_cells(struct xl_table *t, const xlx_usb_host_device *d)
{
    xl_table_cell(t, "%04x:%04x", d->vendor, d->product);
    xl_table_cell(t, "%s", xl_or_dash(d->serial));
    xl_table_cell(t, "%s", xl_or_dash(d->kind));
    xl_table_cell(t, "%s", xlx_usb_speed_to_string(d->speed));
    xl_table_cell(t, "%s", xl_or_dash(d->name));
}

void xl_usb_assignable_print(const struct xl_usb_assignable_args *args,
                             const xlx_usb_host_devices *list)
{
    static const char *const titles[] = {
        "Path", "Bus:Addr", "ID", "Serial", "Kind", "Speed", "Name",
        "Used by", "Not for guests", "Kept by", NULL
    };
    struct xl_table *t = xl_table_new(titles);
    int i;

    (void)args;
    for (i = 0; i < list->num_devices; i++) {
        const xlx_usb_host_device *d = &list->devices[i];

        xl_table_cell(t, "%s", xl_text(d->path));
        xl_table_cell(t, "%u:%u", d->bus, d->address);
        device_cells(t, d);
        xl_table_cell(t, "%s", xl_or_dash(d->used_by));
        xl_table_cell(t, "%s", xl_or_dash(d->denied));
        xl_table_cell(t, "%s", xl_or_dash(d->kept));
    }
    xl_table_print(t);
}

int xl_usb_assignable_add_main(int argc, char **argv)
{
    struct xl_usb_assignable_add_args args;
    xlx_usb_host_device d;
    int rc, r;

    r = xl_usb_assignable_add_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_usb_host_device_init(&d);
    rc = xlx_usb_assignable_add(xl_ctx(), args.selector, args.force,
                                args.dry_run, &d);
    if (!rc)
        printf("%s %s: %s\n", args.dry_run ? "Would keep" : "Kept",
               xl_text(d.path), xl_text(d.kept));
    xlx_usb_host_device_dispose(&d);
    return rc ? xl_failed(rc) : 0;
}

int xl_usb_assignable_remove_main(int argc, char **argv)
{
    struct xl_usb_assignable_remove_args args;
    int rc, r;

    r = xl_usb_assignable_remove_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    rc = xlx_usb_assignable_remove(xl_ctx(), args.selector, args.dry_run);
    if (rc)
        return xl_failed(rc);
    printf("%s: %s\n", args.dry_run ? "Would not be kept any more"
                                    : "Not kept any more", args.selector);
    return 0;
}

/* ---- usb-show ----------------------------------------------------------- */

struct show_state {
    struct xl_table *table;         /* NULL for JSON */
    int shown;
};

static const char *port_state(const xlx_usb_port *port)
{
    if (!port->present)
        return "missing";
    if (*xl_text(port->problem))
        return "wrong";
    return port->held ? "attached" : "-";
}

static void show_ctrl(const xlx_usb_ctrls *list, const xlx_usb_ctrl *ctrl,
                      const xlx_usb_port *port, struct xl_table *t)
{
    const xlx_guest *guest = &list->guest;

    xl_table_cell(t, "%s", xl_text(guest->name));
    xl_table_cell(t, "%u", ctrl->devid);
    xl_table_cell(t, "%s %u", xlx_usb_type_to_string(ctrl->type),
                  ctrl->version);
    if (!port) {
        xl_table_cell(t, "-/%u", ctrl->size);
        xl_table_cell(t, "-");
        xl_table_cell(t, "-");
        xl_table_cell(t, "-");
        xl_table_cell(t, "-");
        xl_table_cell(t, "-");
        xl_table_cell(t, "%s", xl_watcher_word(&list->watcher));
        return;
    }
    xl_table_cell(t, "%u/%u", port->number, ctrl->size);
    xl_table_cell(t, "%s", port_state(port));
    xl_table_cell(t, "%s", xl_or_dash(port->path));
    if (port->present)
        xl_table_cell(t, "%u:%u", port->device.bus, port->device.address);
    else
        xl_table_cell(t, "-");
    if (*xl_text(port->tree))
        xl_table_cell(t, "tree %s", port->tree);
    else
        xl_table_cell(t, "%s", *xl_text(port->selector) ? port->selector
                                                     : "(another tool)");
    xl_table_cell(t, "%s", xl_or_dash(port->device.name));
    xl_table_cell(t, "%s", xl_watcher_word(&list->watcher));
    if (*xl_text(port->problem))
        xl_table_note(t, "%s %u/%u: %s", xl_text(guest->name), ctrl->devid,
                      port->number, port->problem);
}

static void show_tree(const xlx_usb_ctrls *list, const xlx_usb_tree *tree,
                      struct xl_table *t)
{
    int i;

    xl_table_cell(t, "%s", xl_text(list->guest.name));
    xl_table_cell(t, "-");
    xl_table_cell(t, "tree");
    xl_table_cell(t, "-");
    xl_table_cell(t, "%s", tree->aside ? "aside" : "-");
    xl_table_cell(t, "-");
    xl_table_cell(t, "-");
    xl_table_cell(t, "%s", xl_text(tree->selector));
    xl_table_cell(t, "-");
    xl_table_cell(t, "%s", xl_watcher_word(&list->watcher));
    for (i = 0; i < tree->num_left; i++)
        xl_table_note(t, "%s tree %s: %s (%04x:%04x) is left out: %s",
                      xl_text(list->guest.name), tree->selector,
                      tree->left[i].path, tree->left[i].vendor,
                      tree->left[i].product, tree->left[i].why);
}

static void show_rows(const xlx_usb_ctrls *list, struct xl_table *t)
{
    const xlx_usb_ctrl *ctrl;
    int i, j;

    for (i = 0; i < list->num_trees; i++)
        show_tree(list, &list->trees[i], t);
    for (i = 0; i < list->num_ctrls; i++) {
        ctrl = &list->ctrls[i];
        if (!ctrl->num_ports)
            show_ctrl(list, ctrl, NULL, t);
        for (j = 0; j < ctrl->num_ports; j++)
            show_ctrl(list, ctrl, &ctrl->ports[j], t);
    }
    if (list->num_ctrls || list->num_trees)
        xl_note_watcher(t, &list->guest, &list->watcher);
}

static int show_one(const xlx_guest *guest, void *user)
{
    struct show_state *s = user;
    xlx_usb_ctrls list;
    int rc, r = 0;

    xlx_usb_ctrls_init(&list);
    rc = xlx_usb_ctrl_list(xl_ctx(), guest, &list);
    if (rc)
        r = xl_failed(rc);
    else if (!s->table)
        r = xl_print_element(xlx_usb_ctrls_to_json(xl_ctx(), &list),
                             &s->shown);
    else
        show_rows(&list, s->table);
    xlx_usb_ctrls_dispose(&list);
    return r;
}

int xl_usb_show_main(int argc, char **argv)
{
    static const char *const titles[] = {
        "Domain", "Ctrl", "Type", "Port", "State", "Path", "Bus:Addr",
        "Found by", "Name", "Watcher", NULL
    };
    struct xl_guests guests = { .list = xlx_usb_guest_list };
    struct xl_usb_show_args args;
    struct show_state s = { 0 };
    int r;

    r = xl_usb_show_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    guests.names = args.domain;
    guests.num_names = args.num_domain;
    if (args.json)
        printf("[\n");
    else
        s.table = xl_table_new(titles);
    r = xl_each_guest(&guests, show_one, &s);
    if (args.json)
        printf("]\n");
    else
        xl_table_print(s.table);
    return r;
}

/* ---- usb-policy --------------------------------------------------------- */

void xl_usb_policy_print(const struct xl_usb_policy_args *args,
                         const xlx_usb_policy *policy)
{
    static const char *const titles[] = { "Line", "Rule", "Devices", NULL };
    struct xl_table *t = xl_table_new(titles);
    int i;

    (void)args;
    for (i = 0; i < policy->num_rules; i++) {
        const xlx_usb_rule *rule = &policy->rules[i];

        if (rule->line)
            xl_table_cell(t, "%u", rule->line);
        else
            xl_table_cell(t, "built in");
        xl_table_cell(t, "%s", rule->allow ? "allow" : "deny");
        xl_table_cell(t, "%s", xl_text(rule->text));
    }
    xl_table_print(t);
}

/* ---- usb-repair --------------------------------------------------------- */

int xl_usb_repair_main(int argc, char **argv)
{
    struct xl_repair how = { .repair = xlx_usb_repair, .watch = "usb-watch" };
    struct xl_guests guests = { .list = xlx_usb_guest_list };
    struct xl_usb_repair_args args;
    int r;

    r = xl_usb_repair_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    guests.names = args.domain;
    guests.num_names = args.num_domain;
    how.json = args.json;
    how.dry_run = args.dry_run;
    return xl_repair_guests(&guests, &how);
}

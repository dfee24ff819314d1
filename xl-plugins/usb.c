/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl usb-attach, -detach, -show, -assignable, -policy, -repair, -watch.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gen-commands.h"
#include "plugin.h"
#include "text.h"

const struct xl_command *const xl_commands = xl_usb_commands;

static const char *text(const char *s)
{
    return s ? s : "";
}

static const char *or_dash(const char *s)
{
    return s && *s ? s : "-";
}

static int find(const char *who, xlx_guest *guest)
{
    return xlx_guest_find(xl_ctx(), who, NULL, guest);
}

/* ---- usb-watch ---------------------------------------------------------- */

int xl_usb_watch_main(int argc, char **argv)
{
    struct xl_usb_watch_args args;
    xlx_guest guest;
    int rc, r;

    r = xl_usb_watch_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_guest_init(&guest);
    rc = find(args.domain, &guest);
    if (!rc)
        rc = xlx_usb_watch(xl_ctx(), &guest);
    xlx_guest_dispose(&guest);
    return rc ? xl_failed(rc) : 0;
}

/* The child of a child, so that nobody has to wait for it. */
static void become_watcher(char *uuid)
{
    char name[] = "xl-usb-watch", *argv[] = { name, uuid, NULL };
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (setsid() < 0 || fork() || chdir("/") || null < 0 ||
        dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
        _exit(0);
    close_range(3, ~0u, 0);
    execv("/proc/self/exe", argv);
    _exit(127);
}

/* One that is there already makes the new one end at once. */
static void start_watcher(const xlx_guest *guest)
{
    char uuid[LIBXL_UUID_FMTLEN + 1];
    pid_t pid;

    snprintf(uuid, sizeof(uuid), LIBXL_UUID_FMT,
             LIBXL_UUID_BYTES(guest->uuid));
    pid = fork();
    if (!pid)
        become_watcher(uuid);
    if (pid < 0)
        xl_warn("after a reboot of the guest xl usb-repair will be needed: "
                "%s", strerror(errno));
    else
        waitpid(pid, NULL, 0);
}

/* ---- usb-attach, usb-detach --------------------------------------------- */

static void say(const char *done, const xlx_usb_entry *e)
{
    if (e->status == XLX_USB_STATUS_MISSING)
        printf("Not plugged in, port %u/%u", e->ctrl, e->port);
    else
        printf("%s %s, port %u/%u", done, text(e->path), e->ctrl, e->port);
    if (*text(e->selector)) {
        printf(", found by ");
        xl_put_text(stdout, e->selector);
    }
    printf("\n");
}

int xl_usb_attach_main(int argc, char **argv)
{
    struct xl_usb_attach_args args;
    xlx_usb_binding binding;
    xlx_usb_entry entry;
    xlx_usb_wait wait;
    xlx_guest guest;
    int rc, r;

    r = xl_usb_attach_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    if (args.once && (args.permanent || args.optional))
        return xl_bad_value("usb-attach", "--once", NULL, "not together with "
                            "--permanent or --optional");
    xlx_guest_init(&guest);
    xlx_usb_wait_init(&wait);
    xlx_usb_entry_init(&entry);
    xlx_usb_binding_init(&binding);
    binding.selector = xl_format("%s", args.selector);
    binding.ctrl = args.controller;
    binding.port = args.port;
    binding.type = args.type;
    binding.version = args.version;
    binding.once = args.once;
    binding.optional = args.optional;
    binding.reset = args.reset;
    binding.force = args.force;
    wait.timeout = args.timeout;
    wait.no_wait = args.no_wait;
    wait.dry_run = args.dry_run;

    rc = find(args.domain, &guest);
    if (!rc)
        rc = xlx_usb_attach(xl_ctx(), &guest, &binding, &wait, &entry);
    if (!rc && !args.dry_run)
        start_watcher(&guest);
    r = 0;
    if (rc)
        r = xl_failed(rc);
    else if (args.json)
        r = xl_print_json(xlx_usb_entry_to_json(xl_ctx(), &entry));
    else
        say(args.dry_run ? "Would attach" : "Attached", &entry);
    xlx_usb_binding_dispose(&binding);
    xlx_usb_entry_dispose(&entry);
    xlx_guest_dispose(&guest);
    return r;
}

int xl_usb_detach_main(int argc, char **argv)
{
    struct xl_usb_detach_args args;
    xlx_usb_entry entry;
    xlx_usb_wait wait;
    xlx_guest guest;
    int rc, r;

    r = xl_usb_detach_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_guest_init(&guest);
    xlx_usb_wait_init(&wait);
    xlx_usb_entry_init(&entry);
    wait.timeout = args.timeout;
    wait.dry_run = args.dry_run;

    rc = find(args.domain, &guest);
    if (!rc)
        rc = xlx_usb_detach(xl_ctx(), &guest, args.selector, &wait, &entry);
    r = 0;
    if (rc)
        r = xl_failed(rc);
    else
        say(args.dry_run ? "Would detach" : "Detached", &entry);
    xlx_usb_entry_dispose(&entry);
    xlx_guest_dispose(&guest);
    return r;
}

/* ---- a row of guests, named or all -------------------------------------- */

/* Calls one for each; returns the worst exit status. */
static int each_guest(char *const *names, int num,
                      int (*one)(const xlx_guest *guest, void *user),
                      void *user)
{
    int i, rc, r, worst = 0;
    xlx_guests all;
    xlx_guest guest;

    xlx_guests_init(&all);
    rc = num ? 0 : xlx_usb_guest_list(xl_ctx(), &all);
    if (rc)
        worst = xl_failed(rc);
    for (i = 0; i < all.num_guests; i++) {
        r = one(&all.guests[i], user);
        if (r > worst)
            worst = r;
    }
    for (i = 0; i < num; i++) {
        xlx_guest_init(&guest);
        rc = find(names[i], &guest);
        r = rc ? xl_failed(rc) : one(&guest, user);
        if (r > worst)
            worst = r;
        xlx_guest_dispose(&guest);
    }
    xlx_guests_dispose(&all);
    return worst;
}

/* One element of a JSON array; *shown counts them. */
static int print_element(char *json, int *shown)
{
    if (!json)
        return xl_failed(ERROR_NOMEM);
    printf("%s%s", (*shown)++ ? ",\n" : "", json);
    free(json);
    return 0;
}

/* ---- usb-assignable ----------------------------------------------------- */

static void device_cells(struct xl_table *t, const xlx_usb_host_device *d)
{
    xl_table_cell(t, "%04x:%04x", d->vendor, d->product);
    xl_table_cell(t, "%s", or_dash(d->serial));
    xl_table_cell(t, "%s", or_dash(d->kind));
    xl_table_cell(t, "%s", xlx_usb_speed_to_string(d->speed));
    xl_table_cell(t, "%s", or_dash(d->name));
}

static void list_devices(const xlx_usb_host_devices *list)
{
    static const char *const titles[] = {
        "Path", "Bus:Addr", "ID", "Serial", "Kind", "Speed", "Name",
        "Used by", "Not for guests", NULL
    };
    struct xl_table *t = xl_table_new(titles);
    int i;

    for (i = 0; i < list->num_devices; i++) {
        const xlx_usb_host_device *d = &list->devices[i];

        xl_table_cell(t, "%s", text(d->path));
        xl_table_cell(t, "%u:%u", d->bus, d->address);
        device_cells(t, d);
        xl_table_cell(t, "%s", or_dash(d->used_by));
        xl_table_cell(t, "%s", or_dash(d->denied));
    }
    xl_table_print(t);
}

int xl_usb_assignable_main(int argc, char **argv)
{
    struct xl_usb_assignable_args args;
    xlx_usb_host_devices list;
    int rc, r;

    r = xl_usb_assignable_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_usb_host_devices_init(&list);
    rc = xlx_usb_host_list(xl_ctx(), &list);
    r = 0;
    if (rc)
        r = xl_failed(rc);
    else if (args.json)
        r = xl_print_json(xlx_usb_host_devices_to_json(xl_ctx(), &list));
    else
        list_devices(&list);
    xlx_usb_host_devices_dispose(&list);
    return r;
}

/* ---- usb-show ----------------------------------------------------------- */

struct show_state {
    struct xl_table *table;         /* NULL for JSON */
    char **problems;                /* lines for below the table */
    int num_problems;
    int shown;
};

static const char *port_state(const xlx_usb_port *port)
{
    if (!port->present)
        return "missing";
    if (*text(port->problem))
        return "wrong";
    return port->held ? "attached" : "-";
}

static void add_problem(struct show_state *s, char *line)
{
    char **more;

    more = realloc(s->problems, (size_t)(s->num_problems + 1) * sizeof(*more));
    if (!more)
        xl_no_memory();
    s->problems = more;
    more[s->num_problems++] = line;
}

static void show_ctrl(const xlx_guest *guest, const xlx_usb_ctrl *ctrl,
                      const xlx_usb_port *port, struct show_state *s)
{
    struct xl_table *t = s->table;

    xl_table_cell(t, "%s", text(guest->name));
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
        return;
    }
    xl_table_cell(t, "%u/%u", port->number, ctrl->size);
    xl_table_cell(t, "%s", port_state(port));
    xl_table_cell(t, "%s", or_dash(port->path));
    if (port->present)
        xl_table_cell(t, "%u:%u", port->device.bus, port->device.address);
    else
        xl_table_cell(t, "-");
    xl_table_cell(t, "%s", *text(port->selector) ? port->selector
                                                 : "(another tool)");
    xl_table_cell(t, "%s", or_dash(port->device.name));
    if (*text(port->problem))
        add_problem(s, xl_format("%s %u/%u: %s", text(guest->name),
                                 ctrl->devid, port->number, port->problem));
}

static int show_one(const xlx_guest *guest, void *user)
{
    struct show_state *s = user;
    xlx_usb_ctrls list;
    int i, j, rc, r = 0;

    xlx_usb_ctrls_init(&list);
    rc = xlx_usb_ctrl_list(xl_ctx(), guest, &list);
    if (rc)
        r = xl_failed(rc);
    else if (!s->table)
        r = print_element(xlx_usb_ctrls_to_json(xl_ctx(), &list), &s->shown);
    for (i = 0; !rc && s->table && i < list.num_ctrls; i++) {
        const xlx_usb_ctrl *ctrl = &list.ctrls[i];

        if (!ctrl->num_ports)
            show_ctrl(&list.guest, ctrl, NULL, s);
        for (j = 0; j < ctrl->num_ports; j++)
            show_ctrl(&list.guest, ctrl, &ctrl->ports[j], s);
    }
    xlx_usb_ctrls_dispose(&list);
    return r;
}

int xl_usb_show_main(int argc, char **argv)
{
    static const char *const titles[] = {
        "Domain", "Ctrl", "Type", "Port", "State", "Path", "Bus:Addr",
        "Found by", "Name", NULL
    };
    struct xl_usb_show_args args;
    struct show_state s = { 0 };
    int i, r;

    r = xl_usb_show_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    if (args.json)
        printf("[\n");
    else
        s.table = xl_table_new(titles);
    r = each_guest(args.domain, args.num_domain, show_one, &s);
    if (args.json) {
        printf("]\n");
        return r;
    }
    xl_table_print(s.table);
    for (i = 0; i < s.num_problems; i++) {
        xl_put_text(stdout, s.problems[i]);
        printf("\n");
        free(s.problems[i]);
    }
    free(s.problems);
    return r;
}

/* ---- usb-policy --------------------------------------------------------- */

static void list_rules(const xlx_usb_policy *policy)
{
    static const char *const titles[] = { "Line", "Rule", "Devices", NULL };
    struct xl_table *t = xl_table_new(titles);
    int i;

    for (i = 0; i < policy->num_rules; i++) {
        const xlx_usb_rule *rule = &policy->rules[i];

        if (rule->line)
            xl_table_cell(t, "%u", rule->line);
        else
            xl_table_cell(t, "built in");
        xl_table_cell(t, "%s", rule->allow ? "allow" : "deny");
        xl_table_cell(t, "%s", text(rule->text));
    }
    xl_table_print(t);
}

int xl_usb_policy_main(int argc, char **argv)
{
    struct xl_usb_policy_args args;
    xlx_usb_policy policy;
    int rc, r;

    r = xl_usb_policy_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_usb_policy_init(&policy);
    rc = xlx_usb_policy_get(xl_ctx(), &policy);
    r = 0;
    if (rc)
        r = xl_failed(rc);
    else if (args.json)
        r = xl_print_json(xlx_usb_policy_to_json(xl_ctx(), &policy));
    else
        list_rules(&policy);
    xlx_usb_policy_dispose(&policy);
    return r;
}

/* ---- usb-repair --------------------------------------------------------- */

struct repair_state {
    bool json, dry_run;
    int shown;
};

static void say_finding(const xlx_guest *guest, const xlx_usb_finding *f)
{
    xl_put_text(stdout, text(guest->name));
    printf(": ");
    xl_put_text(stdout, text(f->what));
    printf("; ");
    xl_put_text(stdout, text(f->done));
    printf("\n");
}

static int repair_one(const xlx_guest *guest, void *user)
{
    struct repair_state *s = user;
    xlx_usb_report report;
    int i, rc, r = 0;

    xlx_usb_report_init(&report);
    rc = xlx_usb_repair(xl_ctx(), guest, s->dry_run, &report);
    if (rc)
        r = xl_failed(rc);
    else if (s->json)
        r = print_element(xlx_usb_report_to_json(xl_ctx(), &report),
                          &s->shown);
    for (i = 0; i < report.num_findings; i++) {
        if (!s->json)
            say_finding(guest, &report.findings[i]);
        if (!report.findings[i].repaired)
            r = 1;
    }
    xlx_usb_report_dispose(&report);
    return r;
}

int xl_usb_repair_main(int argc, char **argv)
{
    struct xl_usb_repair_args args;
    struct repair_state s = { 0 };
    int r;

    r = xl_usb_repair_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    s.json = args.json;
    s.dry_run = args.dry_run;
    if (s.json)
        printf("[\n");
    r = each_guest(args.domain, args.num_domain, repair_one, &s);
    if (s.json)
        printf("]\n");
    return r;
}

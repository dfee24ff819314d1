/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl scsi-attach, -detach, -list, -assignable, -repair, -watch.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "gen-commands.h"
#include "plugin.h"
#include "text.h"

const struct xl_command *const xl_commands = xl_scsi_commands;

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

/* ---- scsi-watch --------------------------------------------------------- */

int xl_scsi_watch_main(int argc, char **argv)
{
    struct xl_scsi_watch_args args;
    xlx_guest guest;
    int rc, r;

    r = xl_scsi_watch_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_guest_init(&guest);
    rc = find(args.domain, &guest);
    if (!rc)
        rc = xlx_vscsi_watch(xl_ctx(), &guest);
    xlx_guest_dispose(&guest);
    if (!rc)
        return 0;
    /* in the background nobody sees what it prints */
    if (rc != ERROR_LOCK_FAIL)
        syslog(LOG_DAEMON | LOG_ERR, "%s: %s", args.domain, xlx_get_error());
    return xl_failed(rc);
}

/* The child of a child, so that nobody has to wait for it. */
static void become_watcher(char *uuid)
{
    char name[] = "xl-scsi-watch", *argv[] = { name, uuid, NULL };
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
        xl_warn("after a reboot of the guest xl scsi-repair will be needed: "
                "%s", strerror(errno));
    else
        waitpid(pid, NULL, 0);
}

/* ---- scsi-attach -------------------------------------------------------- */

static void say_attached(const xlx_device_vscsidevs *list, bool dry_run)
{
    int i;

    for (i = 0; i < list->num_devs; i++) {
        const xlx_device_vscsidev *dev = &list->devs[i];

        printf("%s ", dry_run ? "Would attach" : "Attached");
        xl_put_text(stdout, text(dev->pdev));
        printf(" as %s (%s%s%s)\n", text(dev->vdev),
               xlx_vscsi_backstore_to_string(dev->backstore),
               dev->readonly ? ", read-only" : "",
               dev->shared ? ", shared" : "");
    }
}

int xl_scsi_attach_main(int argc, char **argv)
{
    struct xl_scsi_attach_args args;
    xlx_device_vscsidevs wanted, attached;
    xlx_vscsi_wait wait;
    xlx_guest guest;
    int rc, r;

    r = xl_scsi_attach_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_guest_init(&guest);
    xlx_vscsi_wait_init(&wait);
    xlx_device_vscsidevs_init(&wanted);
    xlx_device_vscsidevs_init(&attached);
    wanted.devs = malloc(sizeof(*wanted.devs));
    if (!wanted.devs)
        xl_no_memory();
    wanted.num_devs = 1;
    xlx_device_vscsidev_init(wanted.devs);
    wanted.devs->pdev = xl_format("%s", args.pdev);
    wanted.devs->vdev = xl_format("%s", args.vdev);
    wanted.devs->backstore = args.backstore;
    wanted.devs->readonly = args.read_only;
    wanted.devs->shared = args.shared;
    wait.timeout = args.timeout;
    wait.no_wait = args.no_wait;
    wait.dry_run = args.dry_run;

    rc = find(args.domain, &guest);
    if (!rc)
        rc = xlx_device_vscsidev_add(xl_ctx(), &guest, &wanted, &wait,
                                     &attached);
    if (!rc && !args.dry_run)
        start_watcher(&guest);
    if (rc) {
        r = xl_failed(rc);
    } else if (args.json) {
        r = xl_print_json(xlx_device_vscsidevs_to_json(xl_ctx(), &attached));
    } else {
        say_attached(&attached, args.dry_run);
        r = 0;
    }
    xlx_device_vscsidevs_dispose(&wanted);
    xlx_device_vscsidevs_dispose(&attached);
    xlx_guest_dispose(&guest);
    return r;
}

/* ---- scsi-detach -------------------------------------------------------- */

int xl_scsi_detach_main(int argc, char **argv)
{
    struct xl_scsi_detach_args args;
    xlx_vscsi_wait wait;
    xlx_guest guest;
    int rc, r;

    r = xl_scsi_detach_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_guest_init(&guest);
    xlx_vscsi_wait_init(&wait);
    wait.timeout = args.timeout;
    wait.dry_run = args.dry_run;

    rc = find(args.domain, &guest);
    if (!rc)
        rc = xlx_device_vscsidev_remove(xl_ctx(), &guest, args.vdev, &wait);
    r = 0;
    if (rc)
        r = xl_failed(rc);
    else
        printf("%s %s\n", args.dry_run ? "Would detach" : "Detached",
               args.vdev);
    xlx_guest_dispose(&guest);
    return r;
}

/* ---- a row of guests, named or all -------------------------------------- */

/* Calls one for each; returns the worst exit status. */
static int each_guest(char *const *names, int num,
                      int (*one)(const xlx_guest *guest, void *user),
                      void *user)
{
    xlx_guests known;
    xlx_guest guest;
    int i, rc, r = 0, worst = 0;

    xlx_guests_init(&known);
    rc = num ? 0 : xlx_vscsi_guest_list(xl_ctx(), &known);
    if (rc) {
        worst = xl_failed(rc);
        goto out;
    }
    for (i = 0; i < (num ? num : known.num_guests); i++) {
        xlx_guest_init(&guest);
        rc = num ? find(names[i], &guest)
                 : xlx_guest_copy(xl_ctx(), &guest, &known.guests[i]);
        r = rc ? xl_failed(rc) : one(&guest, user);
        if (r > worst)
            worst = r;
        xlx_guest_dispose(&guest);
    }

 out:
    xlx_guests_dispose(&known);
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

/* ---- scsi-list ---------------------------------------------------------- */

struct list_state {
    struct xl_table *table;         /* NULL for JSON */
    char **problems;                /* lines for below the table */
    int num_problems;
    bool named;                     /* show also those that have none */
    int shown;
};

static void list_dev(const xlx_guest *guest, const xlx_vscsi_info *info,
                     struct list_state *s)
{
    struct xl_table *t = s->table;
    char **more;

    xl_table_cell(t, "%s", text(guest->name));
    xl_table_cell(t, "%s", text(info->dev.vdev));
    xl_table_cell(t, "%s", xlx_xenbus_state_to_string(info->backend_state));
    xl_table_cell(t, "%s", xlx_xenbus_state_to_string(info->frontend_state));
    xl_table_cell(t, "%s", or_dash(info->hctl));
    xl_table_cell(t, "%s", or_dash(info->path));
    xl_table_cell(t, "%s",
                  info->status == XLX_VSCSI_STATUS_UNKNOWN ? "foreign"
                  : xlx_vscsi_backstore_to_string(info->dev.backstore));
    xl_table_cell(t, "%s%s", info->dev.readonly ? "ro" : "rw",
                  info->dev.shared ? ",shared" : "");
    if (!*text(info->problem))
        return;
    more = realloc(s->problems, (size_t)(s->num_problems + 1) * sizeof(*more));
    if (!more)
        xl_no_memory();
    s->problems = more;
    more[s->num_problems++] = xl_format("%s %s: %s", text(guest->name),
                                        text(info->dev.vdev), info->problem);
}

static int list_one(const xlx_guest *guest, void *user)
{
    struct list_state *s = user;
    xlx_device_vscsictrls list;
    int i, j, rc, r = 0;

    xlx_device_vscsictrls_init(&list);
    rc = xlx_device_vscsictrl_list(xl_ctx(), guest, &list);
    if (rc)
        r = xl_failed(rc);
    else if (!list.num_ctrls && !s->named)
        ;
    else if (!s->table)
        r = print_element(xlx_device_vscsictrls_to_json(xl_ctx(), &list),
                          &s->shown);
    else
        for (i = 0; i < list.num_ctrls; i++)
            for (j = 0; j < list.ctrls[i].num_devs; j++)
                list_dev(&list.guest, &list.ctrls[i].devs[j], s);
    xlx_device_vscsictrls_dispose(&list);
    return r;
}

int xl_scsi_list_main(int argc, char **argv)
{
    static const char *const titles[] = {
        "Domain", "Vdev", "Backend", "Guest", "HCTL", "Device", "By", "Mode",
        NULL
    };
    struct xl_scsi_list_args args;
    struct list_state s = { .named = false };
    int i, r;

    r = xl_scsi_list_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    s.named = args.num_domain;
    if (args.json)
        printf("[\n");
    else
        s.table = xl_table_new(titles);
    r = each_guest(args.domain, args.num_domain, list_one, &s);
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

/* ---- scsi-assignable ---------------------------------------------------- */

static void list_units(const xlx_vscsi_units *list)
{
    static const char *const titles[] = {
        "HCTL", "Type", "Vendor", "Model", "Rev", "Device", "Wwid", "Used by",
        NULL
    };
    struct xl_table *t = xl_table_new(titles);
    int i;

    for (i = 0; i < list->num_units; i++) {
        const xlx_vscsi_unit *u = &list->units[i];

        xl_table_cell(t, "%s", text(u->hctl));
        xl_table_cell(t, "%s", text(u->type));
        xl_table_cell(t, "%s", or_dash(u->vendor));
        xl_table_cell(t, "%s", or_dash(u->model));
        xl_table_cell(t, "%s", or_dash(u->revision));
        xl_table_cell(t, "%s", or_dash(u->path));
        xl_table_cell(t, "%s", or_dash(u->wwid));
        xl_table_cell(t, "%s", or_dash(u->used_by));
    }
    xl_table_print(t);
}

int xl_scsi_assignable_main(int argc, char **argv)
{
    struct xl_scsi_assignable_args args;
    xlx_vscsi_units list;
    int rc, r;

    r = xl_scsi_assignable_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_vscsi_units_init(&list);
    rc = xlx_vscsi_unit_list(xl_ctx(), &list);
    r = 0;
    if (rc)
        r = xl_failed(rc);
    else if (args.json)
        r = xl_print_json(xlx_vscsi_units_to_json(xl_ctx(), &list));
    else
        list_units(&list);
    xlx_vscsi_units_dispose(&list);
    return r;
}

/* ---- scsi-repair -------------------------------------------------------- */

struct repair_state {
    bool json, dry_run;
    int shown;
};

static int repair_one(const xlx_guest *guest, void *user)
{
    struct repair_state *s = user;
    xlx_vscsi_report report;
    int i, rc, r = 0;

    xlx_vscsi_report_init(&report);
    rc = xlx_vscsi_repair(xl_ctx(), guest, s->dry_run, &report);
    if (rc) {
        r = xl_failed(rc);
    } else if (s->json) {
        r = print_element(xlx_vscsi_report_to_json(xl_ctx(), &report),
                          &s->shown);
    } else {
        for (i = 0; i < report.num_findings; i++) {
            if (*text(guest->name))
                xl_put_text(stdout, guest->name);
            else
                printf(LIBXL_UUID_FMT, LIBXL_UUID_BYTES(guest->uuid));
            printf(": ");
            xl_put_text(stdout, text(report.findings[i].what));
            printf("; ");
            xl_put_text(stdout, text(report.findings[i].done));
            printf("\n");
        }
    }
    for (i = 0; !r && i < report.num_findings; i++)
        if (!report.findings[i].repaired)
            r = 1;
    if (report.num_findings && !s->dry_run)
        start_watcher(guest);
    xlx_vscsi_report_dispose(&report);
    return r;
}

int xl_scsi_repair_main(int argc, char **argv)
{
    struct xl_scsi_repair_args args;
    struct repair_state s = { 0 };
    int r;

    r = xl_scsi_repair_parse(argc, argv, &args);
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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl scsi-attach, -detach, -list, -assignable, -repair, -watch.
 */
#include <stdio.h>
#include <stdlib.h>

#include "attached.h"
#include "gen-commands.h"
#include "plugin.h"
#include "text.h"

const struct xl_command *const xl_commands = xl_scsi_commands;

/* ---- scsi-watch --------------------------------------------------------- */

int xl_scsi_watch_main(int argc, char **argv)
{
    struct xl_scsi_watch_args args;
    int r;

    r = xl_scsi_watch_parse(argc, argv, &args);
    return r >= 0 ? r : xl_watch_guest(args.domain, xlx_scsi_watch);
}

/* ---- scsi-attach -------------------------------------------------------- */

int xl_scsi_attach_main(int argc, char **argv)
{
    struct xl_scsi_attach_args args;
    xlx_scsi_devs wanted = {
        .devs = &args.scsi_dev, .num_devs = 1,
    };
    xlx_scsi_devs attached;
    xlx_guest guest;
    int rc, r;

    r = xl_scsi_attach_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_guest_init(&guest);
    xlx_scsi_devs_init(&attached);

    rc = xlx_guest_find(xl_ctx(), args.domain, NULL, &guest);
    if (!rc)
        rc = xlx_scsi_attach(xl_ctx(), &guest, &wanted,
                             &args.scsi_wait, &attached);
    if (!rc && !args.dry_run)
        xl_start_watcher("scsi-watch", &guest);
    if (rc) {
        r = xl_failed(rc);
    } else if (args.json) {
        r = xl_print_json(xlx_scsi_devs_to_json(xl_ctx(), &attached));
    } else {
        xl_say_scsi(args.dry_run ? "Would attach" : "Attached", &attached);
        r = 0;
    }
    xlx_scsi_devs_dispose(&attached);
    xlx_guest_dispose(&guest);
    return r;
}

/* ---- scsi-detach -------------------------------------------------------- */

void xl_scsi_detach_print(const struct xl_scsi_detach_args *args,
                          const xlx_guest *guest)
{
    (void)guest;
    printf("%s %s\n", args->dry_run ? "Would detach" : "Detached", args->vdev);
}

/* ---- scsi-list ---------------------------------------------------------- */

struct list_state {
    struct xl_table *table;         /* NULL for JSON */
    bool named;                     /* show also those that have none */
    int shown;
};

static void list_dev(const xlx_scsi_ctrls *list, const xlx_scsi_info *info,
                     struct xl_table *t)
{
    const xlx_guest *guest = &list->guest;


    xl_table_cell(t, "%s", xl_text(guest->name));
    xl_table_cell(t, "%s", xl_text(info->dev.vdev));
    xl_table_cell(t, "%s", xlx_xenbus_state_to_string(info->backend_state));
    xl_table_cell(t, "%s", xlx_xenbus_state_to_string(info->frontend_state));
    xl_table_cell(t, "%s", xl_or_dash(info->hctl));
    xl_table_cell(t, "%s", xl_or_dash(info->path));
    xl_table_cell(t, "%s",
                  info->status == XLX_SCSI_STATUS_UNKNOWN ? "foreign"
                  : xlx_scsi_backstore_to_string(info->dev.backstore));
    xl_table_cell(t, "%s%s", info->dev.readonly ? "ro" : "rw",
                  info->dev.shared ? ",shared" : "");
    xl_table_cell(t, "%s", xl_watcher_word(&list->watcher));
    if (*xl_text(info->problem))
        xl_table_note(t, "%s %s: %s", xl_text(guest->name),
                      xl_text(info->dev.vdev), info->problem);
}

static int list_one(const xlx_guest *guest, void *user)
{
    struct list_state *s = user;
    xlx_scsi_ctrls list;
    int i, j, rc, r = 0;

    xlx_scsi_ctrls_init(&list);
    rc = xlx_scsi_ctrl_list(xl_ctx(), guest, &list);
    if (rc)
        r = xl_failed(rc);
    else if (!list.num_ctrls && !s->named)
        ;
    else if (!s->table)
        r = xl_print_element(xlx_scsi_ctrls_to_json(xl_ctx(), &list),
                             &s->shown);
    else
        for (i = 0; i < list.num_ctrls; i++)
            for (j = 0; j < list.ctrls[i].num_devs; j++)
                list_dev(&list, &list.ctrls[i].devs[j], s->table);
    if (s->table && list.num_ctrls)
        xl_note_watcher(s->table, &list.guest, &list.watcher);
    xlx_scsi_ctrls_dispose(&list);
    return r;
}

int xl_scsi_list_main(int argc, char **argv)
{
    static const char *const titles[] = {
        "Domain", "Vdev", "Backend", "Guest", "HCTL", "Device", "By", "Mode",
        "Watcher", NULL
    };
    struct xl_guests guests = { .list = xlx_scsi_guest_list };
    struct xl_scsi_list_args args;
    struct list_state s = { .named = false };
    int r;

    r = xl_scsi_list_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    s.named = args.num_domain;
    guests.names = args.domain;
    guests.num_names = args.num_domain;
    if (args.json)
        printf("[\n");
    else
        s.table = xl_table_new(titles);
    r = xl_each_guest(&guests, list_one, &s);
    if (args.json)
        printf("]\n");
    else
        xl_table_print(s.table);
    return r;
}

/* ---- scsi-assignable ---------------------------------------------------- */

void xl_scsi_assignable_print(const struct xl_scsi_assignable_args *args,
                              const xlx_scsi_units *list)
{
    static const char *const titles[] = {
        "HCTL", "Type", "Vendor", "Model", "Rev", "Device", "Wwid", "Used by",
        NULL
    };
    struct xl_table *t = xl_table_new(titles);
    int i;

    (void)args;
    for (i = 0; i < list->num_units; i++) {
        const xlx_scsi_unit *u = &list->units[i];

        xl_table_cell(t, "%s", xl_text(u->hctl));
        xl_table_cell(t, "%s", xl_text(u->type));
        xl_table_cell(t, "%s", xl_or_dash(u->vendor));
        xl_table_cell(t, "%s", xl_or_dash(u->model));
        xl_table_cell(t, "%s", xl_or_dash(u->revision));
        xl_table_cell(t, "%s", xl_or_dash(u->path));
        xl_table_cell(t, "%s", xl_or_dash(u->wwid));
        xl_table_cell(t, "%s", xl_or_dash(u->used_by));
    }
    xl_table_print(t);
}

/* ---- scsi-repair -------------------------------------------------------- */

int xl_scsi_repair_main(int argc, char **argv)
{
    struct xl_repair how = {
        .repair = xlx_scsi_repair, .watch = "scsi-watch"
    };
    struct xl_guests guests = { .list = xlx_scsi_guest_list };
    struct xl_scsi_repair_args args;
    int r;

    r = xl_scsi_repair_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    guests.names = args.domain;
    guests.num_names = args.num_domain;
    how.json = args.json;
    how.dry_run = args.dry_run;
    return xl_repair_guests(&guests, &how);
}

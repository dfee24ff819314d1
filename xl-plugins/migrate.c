/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl disk-migrate, which is xl migrate --copy-disks, and xl
 * disk-migrate-repair.
 */
#include <stdio.h>

#include "gen-commands.h"
#include "plugin.h"
#include "text.h"

const struct xl_command *const xl_commands = xl_migrate_commands;

static void say(bool dry_run, bool paused, const xlx_guest *guest,
                const xlx_disk_migration *migration)
{
    const xlx_disk_migration_disk *d;
    char size[XL_SIZE_MAX];
    int i;

    for (i = 0; i < migration->num_disks; i++) {
        d = &migration->disks[i];
        printf("%s %s (%s) to %s:%s (%s)\n", dry_run ? "Would copy"
               : "Copied", d->vdev, xl_size(d->size, size), migration->host,
               d->target, d->format);
    }
    if (dry_run)
        return;
    printf("%s %s on %s; it stood still for %llu.%03llu s\n",
           xl_text(guest->name), paused ? "is paused" : "runs",
           migration->host,
           (unsigned long long)migration->stopped_ms / 1000,
           (unsigned long long)migration->stopped_ms % 1000);
    for (i = 0; i < migration->num_disks; i++)
        printf("%s stays here, and is out of date\n",
               migration->disks[i].image);
}

int xl_disk_migrate_main(int argc, char **argv)
{
    struct xl_disk_migrate_args args;
    xlx_disk_migration migration;
    xlx_guest guest;
    int rc, r;

    r = xl_disk_migrate_parse(argc, argv, &args);
    if (r < 0 && args.speed &&
        xl_read_speed(args.speed, &args.disk_migrate_spec.speed))
        r = 1;
    if (r >= 0)
        return r;
    xlx_guest_init(&guest);
    xlx_disk_migration_init(&migration);
    rc = xlx_guest_find(xl_ctx(), args.domain, NULL, &guest);
    if (!rc)
        rc = xlx_disk_migrate(xl_ctx(), &guest, &args.disk_migrate_spec,
                              xl_progress(), &migration);
    r = rc ? xl_failed(rc) : 0;
    if (!rc)
        say(args.dry_run, args.disk_migrate_spec.paused, &guest, &migration);
    xlx_disk_migration_dispose(&migration);
    xlx_guest_dispose(&guest);
    return r;
}

/* ---- repair ------------------------------------------------------------- */

static bool gone, arrived;

static int repair(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                  xlx_repair_report *report)
{
    return xlx_disk_migrate_repair(ctx, guest, gone, arrived, dry_run,
                                   report);
}

int xl_disk_migrate_repair_main(int argc, char **argv)
{
    struct xl_guests guests = { .list = xlx_guest_list };
    struct xl_repair how = { .repair = repair };
    struct xl_disk_migrate_repair_args args;
    int r;

    r = xl_disk_migrate_repair_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    if ((args.gone || args.arrived) && args.num_domain != 1)
        return xl_fail("--gone and --arrived are said of one guest: name it");
    gone = args.gone;
    arrived = args.arrived;
    guests.names = args.domain;
    guests.num_names = args.num_domain;
    how.json = args.json;
    how.dry_run = args.dry_run;
    return xl_repair_guests(&guests, &how);
}

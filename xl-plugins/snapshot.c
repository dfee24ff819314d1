/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl snapshot-create, -list, -info, -revert, -delete, -repair.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gen-commands.h"
#include "plugin.h"
#include "text.h"

const struct xl_command *const xl_commands = xl_snapshot_commands;

static bool is(const char *a, const char *b)
{
    return !strcmp(xl_text(a), xl_text(b));
}

static int find(const char *who, const char *config, xlx_guest *guest)
{
    return xlx_guest_find(xl_ctx(), who, config, guest);
}

static const char *when(int64_t seconds, char *buf, size_t size)
{
    time_t t = (time_t)seconds;
    struct tm tm;

    if (!localtime_r(&t, &tm) || !strftime(buf, size, "%F %T", &tm))
        snprintf(buf, size, "?");
    return buf;
}

/* "xvda,xvdb", the caller's to free. */
static char *disk_names(const xlx_snapshot_disk *disks, int num)
{
    char *names = xl_format("%s", ""), *longer;
    int i;

    for (i = 0; i < num; i++) {
        longer = xl_format("%s%s%s", names, i ? "," : "",
                           xl_text(disks[i].vdev));
        free(names);
        names = longer;
    }
    return names;
}

/* ---- snapshot-create ---------------------------------------------------- */

/* "xvda,xvdb" into the specification; free() the one block that it gets. */
static int split_disks(const char *list, xlx_snapshot_spec *spec)
{
    size_t num = 1, size = strlen(list) + 1;
    const char *p;
    char *names;

    if (!*list)
        return xl_fail("--disks: the list is empty");
    for (p = list; (p = strchr(p, ',')); p++)
        num++;
    spec->disks = malloc(num * sizeof(*spec->disks) + size);
    if (!spec->disks)
        xl_no_memory();
    names = memcpy(spec->disks + num, list, size);
    while (names)
        spec->disks[spec->num_disks++] = strsep(&names, ",");
    return 0;
}

static void say_created(const xlx_guest *guest, const xlx_snapshot *s,
                        bool dry_run)
{
    bool external = s->kind == XLX_SNAPSHOT_KIND_EXTERNAL;
    char *names = disk_names(s->disks, s->num_disks);

    printf("%s %s snapshot \"%s\" of %s (%s)\n",
           dry_run ? "Would make" : "Made", external ? "external"
                                                     : "internal",
           xl_text(s->name), names, xl_text(s->why));
    free(names);
    if (external && !dry_run && !*xl_text(guest->qmp_socket))
        printf("The guest's config file still names the image that is now "
               "frozen; xl create\nwill print how to start the guest on the "
               "overlay.\n");
}

int xl_snapshot_create_main(int argc, char **argv)
{
    struct xl_snapshot_create_args args;
    const xlx_snapshot_spec *spec = &args.snapshot_spec;
    xlx_snapshot snapshot;
    xlx_guest guest;
    int rc, r;

    r = xl_snapshot_create_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_guest_init(&guest);
    xlx_snapshot_init(&snapshot);
    if (args.disks) {
        r = split_disks(args.disks, &args.snapshot_spec);
        if (r > 0)
            goto out;
    }
    if (spec->name && !*spec->name) {
        r = xl_fail("the name of the snapshot is empty");
        goto out;
    }
    if (spec->overlay_dir && !*spec->overlay_dir) {
        r = xl_fail("--overlay-dir: the name of the directory is empty");
        goto out;
    }
    rc = find(args.domain, args.config, &guest);
    if (!rc)
        rc = xlx_snapshot_create(xl_ctx(), &guest, spec, &snapshot);
    if (rc) {
        r = xl_failed(rc);
        goto out;
    }
    r = 0;
    if (args.json)
        r = xl_print_json(xlx_snapshot_to_json(xl_ctx(), &snapshot));
    else
        say_created(&guest, &snapshot, args.dry_run);

 out:
    free(args.snapshot_spec.disks);
    xlx_snapshot_dispose(&snapshot);
    xlx_guest_dispose(&guest);
    return r;
}

/* ---- snapshot-list ------------------------------------------------------ */

static void list_table(const xlx_snapshots *list)
{
    static const char *const titles[] = {
        " Name", "Kind", "Status", "Time", "Disks", "Based on",
        "Description", NULL
    };
    struct xl_table *t = xl_table_new(titles);
    char buf[32], *names;
    int i;

    for (i = 0; i < list->num_snapshots; i++) {
        const xlx_snapshot *s = &list->snapshots[i];

        names = disk_names(s->disks, s->num_disks);
        xl_table_cell(t, "%c%s", is(s->name, list->current) ? '*' : ' ',
                      xl_text(s->name));
        xl_table_cell(t, "%s", xlx_snapshot_kind_to_string(s->kind));
        xl_table_cell(t, "%s", xlx_snapshot_status_to_string(s->status));
        xl_table_cell(t, "%s", when(s->time, buf, sizeof(buf)));
        xl_table_cell(t, "%s", names);
        xl_table_cell(t, "%s", *xl_text(s->parent) ? s->parent : "-");
        xl_table_cell(t, "%s", xl_text(s->description));
        free(names);
    }
    xl_table_print(t);
}

/* The branch below one snapshot (NULL: below none), drawn with lines; prefix
 * is the text before it.  depth ends a record that goes in circles. */
static void draw_branch(const xlx_snapshots *list, const char *parent,
                        const char *prefix, int depth)
{
    int i, left = is(list->current, parent);
    char *deeper;

    if (depth > list->num_snapshots)
        return;
    for (i = 0; i < list->num_snapshots; i++)
        left += is(list->snapshots[i].parent, parent) &&
                list->snapshots[i].status != XLX_SNAPSHOT_STATUS_FOREIGN;
    for (i = 0; i < list->num_snapshots; i++) {
        const xlx_snapshot *s = &list->snapshots[i];

        if (!is(s->parent, parent) ||
            s->status == XLX_SNAPSHOT_STATUS_FOREIGN)
            continue;
        left--;
        printf("%s%s", prefix, left ? "|-- " : "`-- ");
        xl_put_text(stdout, xl_text(s->name));
        if (s->status == XLX_SNAPSHOT_STATUS_MERGING)
            printf(" [half deleted]");
        if (*xl_text(s->description)) {
            printf("  (");
            xl_put_text(stdout, s->description);
            printf(")");
        }
        printf("\n");
        deeper = xl_format("%s%s", prefix, left ? "|   " : "    ");
        draw_branch(list, s->name, deeper, depth + 1);
        free(deeper);
    }
    if (is(list->current, parent))
        printf("%s`-- (current)\n", prefix);
}

static void list_tree(const xlx_snapshots *list)
{
    int i;

    draw_branch(list, NULL, "", 0);
    for (i = 0; i < list->num_snapshots; i++)
        if (list->snapshots[i].status == XLX_SNAPSHOT_STATUS_FOREIGN) {
            xl_put_text(stdout, xl_text(list->snapshots[i].name));
            printf(" [foreign, %s]\n",
                   xlx_snapshot_kind_to_string(list->snapshots[i].kind));
        }
}

static int list_guest(const xlx_guest *guest,
                      const struct xl_snapshot_list_args *args, int *members,
                      bool title)
{
    xlx_snapshots list;
    char *json;
    int rc;

    xlx_snapshots_init(&list);
    rc = xlx_snapshot_list(xl_ctx(), guest, &list);
    if (rc) {
        xlx_snapshots_dispose(&list);
        return rc;
    }
    if (args->json) {
        json = xlx_snapshots_to_json(xl_ctx(), &list);
        if (json)
            xl_print_element(json, members);
        else
            rc = ERROR_FAIL;
    } else {
        if (title) {
            printf("%s", (*members)++ ? "\n" : "");
            xl_put_text(stdout, xl_text(guest->name));
            printf(" (" LIBXL_UUID_FMT ")\n", LIBXL_UUID_BYTES(guest->uuid));
        }
        if (!list.num_snapshots)
            printf("no snapshots\n");
        else if (args->tree)
            list_tree(&list);
        else
            list_table(&list);
    }
    xlx_snapshots_dispose(&list);
    return rc;
}

/* One guest after the other, so that memory does not grow with their number;
 * one that fails does not keep the others from being listed. */
static int list_known(const struct xl_snapshot_list_args *args)
{
    int i, rc, members = 0, r = 0;
    xlx_guests known;

    xlx_guests_init(&known);
    rc = xlx_guest_list(xl_ctx(), &known);
    if (rc)
        r = xl_failed(rc);
    for (i = 0; !rc && i < known.num_guests; i++)
        if (list_guest(&known.guests[i], args, &members, true)) {
            xl_warn("%s: %s", xl_text(known.guests[i].name), xlx_error_get());
            r = 1;
        }
    if (!rc && !known.num_guests && !args->json)
        printf("no snapshots\n");
    xlx_guests_dispose(&known);
    return r;
}

static int list_named(const struct xl_snapshot_list_args *args)
{
    int i, rc, members = 0, r = 0;
    xlx_guest guest;

    for (i = 0; i < args->num_domain; i++) {
        xlx_guest_init(&guest);
        rc = find(args->domain[i], args->config, &guest);
        if (!rc)
            rc = list_guest(&guest, args, &members, args->num_domain > 1);
        if (rc)
            r = xl_failed(rc);
        xlx_guest_dispose(&guest);
    }
    return r;
}

int xl_snapshot_list_main(int argc, char **argv)
{
    struct xl_snapshot_list_args args;
    int r;

    r = xl_snapshot_list_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    if (args.config && args.num_domain != 1)
        return xl_fail("--config goes with exactly one DOMAIN");
    if (args.json)
        printf("[\n");
    r = args.num_domain ? list_named(&args) : list_known(&args);
    if (args.json)
        printf("]\n");
    return r;
}

/* ---- snapshot-info ------------------------------------------------------ */

static void info_disk(const xlx_snapshot_disk *d)
{
    char size[XL_SIZE_MAX], used[XL_SIZE_MAX];

    printf("disk %s:\n", xl_text(d->vdev));
    printf("  image:        %s (%s)\n", xl_text(d->image), xl_text(d->format));
    if (*xl_text(d->tag))
        printf("  inside as:    %s\n", d->tag);
    if (*xl_text(d->backing))
        printf("  based on:     %s\n", d->backing);
    printf("  size:         %s, %s allocated\n", xl_size(d->virtual_size,
           size), xl_size(d->allocated, used));
    printf("  made by:      %s\n", d->owned ? "libxlx" : "the user");
}

static void info(const xlx_snapshots *list, const xlx_snapshot *s)
{
    char buf[32];
    int i;

    printf("name:           ");
    xl_put_text(stdout, xl_text(s->name));
    printf("%s\ndescription:    ", is(s->name, list->current)
           ? "  (the guest's present state is based on it)" : "");
    xl_put_text(stdout, xl_text(s->description));
    printf("\ntime:           %s\n", when(s->time, buf, sizeof(buf)));
    printf("kind:           %s (%s)\n",
           xlx_snapshot_kind_to_string(s->kind), xl_text(s->why));
    printf("status:         %s\n", xlx_snapshot_status_to_string(s->status));
    printf("based on:       %s\n", *xl_text(s->parent) ? s->parent : "-");
    printf("guest:          %s%s\n", s->running ? "running" : "shut down",
           s->quiesced ? ", file systems frozen" : "");
    printf("QEMU:           %s\n", *xl_text(s->qemu_version) ? s->qemu_version
                                                          : "-");
    for (i = 0; i < s->num_disks; i++)
        info_disk(&s->disks[i]);
}

int xl_snapshot_info_main(int argc, char **argv)
{
    struct xl_snapshot_info_args args;
    const xlx_snapshot *found = NULL;
    xlx_snapshots list;
    xlx_guest guest;
    int i, rc, r;

    r = xl_snapshot_info_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_guest_init(&guest);
    xlx_snapshots_init(&list);
    rc = find(args.domain, args.config, &guest);
    if (!rc)
        rc = xlx_snapshot_list(xl_ctx(), &guest, &list);
    if (rc) {
        r = xl_failed(rc);
        goto out;
    }
    for (i = 0; i < list.num_snapshots; i++)
        if (is(list.snapshots[i].name, args.name))
            found = &list.snapshots[i];
    r = 0;
    if (!found)
        r = xl_fail("\"%s\" has no snapshot \"%s\"", args.domain, args.name);
    else if (args.json)
        r = xl_print_json(xlx_snapshot_to_json(xl_ctx(), found));
    else
        info(&list, found);

 out:
    xlx_snapshots_dispose(&list);
    xlx_guest_dispose(&guest);
    return r;
}

/* ---- snapshot-revert ---------------------------------------------------- */

void xl_snapshot_revert_print(const struct xl_snapshot_revert_args *args,
                              const xlx_guest *guest,
                              const xlx_snapshot_revert_result *result)
{
    bool running = guest->domid != XLX_DOMID_NONE;
    int i;

    printf("%s to \"%s\"\n", args->dry_run ? "Would go back" : "Went back",
           args->snapshot_revert_spec.name);
    for (i = 0; i < result->num_disks; i++)
        printf("  %s: %s\n", xl_text(result->disks[i].vdev),
               xl_text(result->disks[i].image));
    if (*xl_text(result->kept_as))
        printf("The state left %s kept as \"%s\"\n",
               args->dry_run ? "would be" : "is", result->kept_as);
    if (args->dry_run)
        return;
    if (result->restarted)
        printf("The guest runs again, as domain %u\n", result->domid);
    else if (running)
        printf("The guest is stopped, and no xl watched it to start it "
               "again: start it with xl create\n");
}

/* ---- snapshot-delete ---------------------------------------------------- */

void xl_snapshot_delete_print(const struct xl_snapshot_delete_args *args,
                              const xlx_guest *guest,
                              const xlx_snapshot_plan *plan)
{
    int i;

    (void)guest;
    for (i = 0; i < plan->num_steps; i++)
        printf("%s\n", plan->steps[i]);
    printf("%s \"%s\"\n", args->dry_run ? "Would delete" : "Deleted",
           args->snapshot_delete_spec.name);
}

/* ---- snapshot-repair ---------------------------------------------------- */

/* With what is known now: whether they run. */
static int known_now(xlx_ctx *ctx, xlx_guests *list)
{
    char uuid[LIBXL_UUID_FMTLEN + 1];
    xlx_guest guest;
    int i, rc;

    rc = xlx_guest_list(ctx, list);
    for (i = 0; !rc && i < list->num_guests; i++) {
        snprintf(uuid, sizeof(uuid), LIBXL_UUID_FMT,
                 LIBXL_UUID_BYTES(list->guests[i].uuid));
        xlx_guest_init(&guest);
        /* otherwise its repair will say what is wrong */
        if (!xlx_guest_find(ctx, uuid, NULL, &guest))
            rc = xlx_guest_copy(ctx, &list->guests[i], &guest);
        xlx_guest_dispose(&guest);
    }
    return rc;
}

/* For --keep-image and its one guest. */
static const char *keep_image;

static int keep_one(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                    xlx_repair_report *report)
{
    return dry_run ? xlx_snapshot_repair(ctx, guest, true, report)
                   : xlx_snapshot_keep(ctx, guest, keep_image, report);
}

int xl_snapshot_repair_main(int argc, char **argv)
{
    struct xl_repair how = { .repair = xlx_snapshot_repair };
    struct xl_guests guests = { .list = known_now };
    struct xl_snapshot_repair_args args;
    int r;

    r = xl_snapshot_repair_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    if (args.config && args.num_domain != 1)
        return xl_fail("--config goes with exactly one DOMAIN");
    if (args.keep_image && args.num_domain != 1)
        return xl_fail("--keep-image goes with exactly one DOMAIN");
    keep_image = args.keep_image;
    if (keep_image)
        how.repair = keep_one;
    guests.names = args.domain;
    guests.num_names = args.num_domain;
    guests.config = args.config;
    how.json = args.json;
    how.dry_run = args.dry_run;
    return xl_repair_guests(&guests, &how);
}

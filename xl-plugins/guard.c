/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl-guard: runs before stock xl for "xl create" and "xl restore" on a host
 * that has records of snapshots, and refuses a guest that would write to the
 * frozen layer of a snapshot: a config file still names it after a snapshot
 * was made, and one start from there destroys all that came after.
 *
 * Called by the dispatcher as "xl STOCK-XL ARGS...", it becomes "xl ARGS..."
 * of stock xl, with the arguments as they are, when it has no objection.
 * What it cannot make sense of is no objection: stock xl will complain.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "guard.h"
#include "libxlx.h"
#include "text.h"

/* One check of a start that is about to happen. */
struct check {
    int argc;                       /* the command and its arguments */
    char **argv;
    char *as_typed;                 /* "xl -v create web.cfg", for a shell */
    const char *stock;              /* path of stock xl */
    struct guest_config config;
    const char *save_file;          /* of restore, else NULL */
    xlx_ctx *ctx;
    xlx_frozen_image *frozen;       /* one for each disk */
    int first;                      /* the first disk that is frozen, or -1 */
};

/* ---- words for a shell and for xl.cfg ----------------------------------- */

static char *append(char *text, const char *more)
{
    char *joined = xl_format("%s%s", text ? text : "", more);

    free(text);
    return joined;
}

static char *append_char(char *text, char c)
{
    const char more[] = { c, '\0' };

    return append(text, more);
}

/* A word that a shell reads back as it is. */
static char *append_word(char *text, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_";

    if (text)
        text = append(text, " ");
    if (*word && !word[strspn(word, plain)])
        return append(text, word);
    text = append(text, "'");
    for (; *word; word++)
        text = *word == '\'' ? append(text, "'\\''")
                             : append_char(text, *word);
    return append(text, "'");
}

/* A string of xl.cfg(5). */
static char *append_string(char *text, const char *s)
{
    text = append(text, "\"");
    for (; *s; s++) {
        if (*s == '\n') {
            text = append(text, "\\n");
            continue;
        }
        if (*s == '"' || *s == '\\')
            text = append_char(text, '\\');
        text = append_char(text, *s);
    }
    return append(text, "\"");
}

/* ---- the command that goes on ------------------------------------------- */

/* The disk on the image that takes the writes now.  A backend that the config
 * names is kept, but blkback knows nothing of image formats. */
static char *current_spec(const libxl_device_disk *disk,
                          const xlx_frozen_image *frozen)
{
    bool raw = !strcmp(frozen->current_format, "raw");
    char *spec;

    spec = xl_format("format=%s,vdev=%s,access=rw", frozen->current_format,
                     disk->vdev);
    if (disk->backend != LIBXL_DISK_BACKEND_UNKNOWN &&
        (raw || disk->backend != LIBXL_DISK_BACKEND_PHY)) {
        spec = append(spec, ",backendtype=");
        spec = append(spec, libxl_disk_backend_to_string(disk->backend));
    }
    if (!libxl_defbool_is_default(disk->discard_enable))
        spec = append(spec, libxl_defbool_val(disk->discard_enable)
                            ? ",discard" : ",no-discard");
    if (disk->direct_io_safe)
        spec = append(spec, ",direct-io-safe");
    /* The target comes last: it may have commas. */
    spec = append(spec, ",target=");
    return append(spec, frozen->current_path);
}

/* As it was typed, and arguments that replace the disks and the UUID. */
static char *continuing_command(const struct check *c)
{
    char *command = xl_format("%s", c->as_typed), *line, *spec;
    const struct guest_config *g = &c->config;
    int i;

    line = xl_format("disk=[");
    for (i = 0; i < g->num_disks; i++) {
        if (i)
            line = append(line, ", ");
        spec = c->frozen[i].frozen ? current_spec(&g->disks[i], &c->frozen[i])
                                   : xl_format("%s", g->specs[i]);
        line = append_string(line, spec);
        free(spec);
    }
    line = append(line, "]");
    command = append_word(command, line);
    free(line);
    if (!g->has_uuid) {
        line = xl_format("uuid=\"" LIBXL_UUID_FMT "\"",
                         LIBXL_UUID_BYTES(c->frozen[c->first].guest.uuid));
        command = append_word(command, line);
        free(line);
    }
    return command;
}

/* ---- what to say -------------------------------------------------------- */

/* Is it the guest whose snapshots these are? */
static bool is_owner(const struct guest_config *g, const xlx_guest *owner)
{
    if (g->has_uuid)
        return !libxl_uuid_compare(&g->uuid, &owner->uuid);
    return g->name && owner->name && !strcmp(g->name, owner->name);
}

static bool all_of_owner(const struct check *c)
{
    int i;

    for (i = 0; i < c->config.num_disks; i++) {
        if (c->frozen[i].frozen && !is_owner(&c->config, &c->frozen[i].guest))
            return false;
    }
    return true;
}

static bool all_have_current(const struct check *c)
{
    int i;

    for (i = 0; i < c->config.num_disks; i++) {
        if (c->frozen[i].frozen &&
            !(c->frozen[i].current_path && c->frozen[i].current_format))
            return false;
    }
    return true;
}

static const char *name_of(const xlx_guest *guest)
{
    return guest->name && *guest->name ? guest->name : "a guest with no name";
}

/* The record's domid may be long gone: ask. */
static uint32_t running_domid(struct check *c, const xlx_guest *owner)
{
    uint32_t domid = XLX_DOMID_NONE;
    xlx_guest found;
    char *uuid;

    xlx_guest_init(&found);
    uuid = xl_format(LIBXL_UUID_FMT, LIBXL_UUID_BYTES(owner->uuid));
    if (!xlx_guest_find(c->ctx, uuid, NULL, &found))
        domid = found.domid;
    xlx_guest_dispose(&found);
    free(uuid);
    return domid;
}

static void say_what(const struct check *c)
{
    const xlx_frozen_image *f;
    int i;

    for (i = 0; i < c->config.num_disks; i++) {
        f = &c->frozen[i];
        if (f->frozen)
            xl_message("%s: \"%s\" holds the snapshot \"%s\" of \"%s\"; to"
                       " write to it would destroy that snapshot and all"
                       " data written since", c->config.disks[i].vdev,
                       f->path, f->snapshot, name_of(&f->guest));
    }
}

static void say_what_to_do(struct check *c)
{
    const xlx_frozen_image *f = &c->frozen[c->first];
    uint32_t domid = running_domid(c, &f->guest);
    char *command;

    if (domid != XLX_DOMID_NONE) {
        xl_message("\"%s\" is running, as domain %u", name_of(&f->guest),
                   domid);
    } else if (c->save_file) {
        xl_message("the memory in \"%s\" fits the disks only as they were"
                   " when it was saved: to start \"%s\" as it is now, use xl"
                   " create; to resume what was saved, its disks must first"
                   " be put back to that moment (xl snapshot-revert, if a"
                   " snapshot was made then) and named in a config: xl"
                   " restore CONFIG FILE", c->save_file, name_of(&f->guest));
    } else if (!all_of_owner(c)) {
        xl_message("this guest is not \"%s\": give it an image of its own,"
                   " such as a copy made with qemu-img convert",
                   name_of(&f->guest));
    } else if (!all_have_current(c)) {
        xl_message("no image is known to go on from: see xl snapshot-list,"
                   " and xl snapshot-revert");
    } else {
        command = continuing_command(c);
        xl_message("to go on from the present state: %s", command);
        free(command);
    }
}

/* Exit status. */
static int refuse_when_frozen(struct check *c)
{
    const libxl_device_disk *disk;
    int i;

    c->frozen = calloc((size_t)c->config.num_disks + 1, sizeof(*c->frozen));
    if (!c->frozen || xlx_ctx_alloc(&c->ctx, NULL, NULL))
        xl_no_memory();
    for (i = 0; i < c->config.num_disks; i++) {
        xlx_frozen_image_init(&c->frozen[i]);
        disk = &c->config.disks[i];
        /* Another domain's paths are not ours to look at. */
        if (!disk->readwrite || disk->is_cdrom || !disk->pdev_path ||
            disk->backend_domname || disk->backend_domid)
            continue;
        if (xlx_image_frozen(c->ctx, disk->pdev_path, &c->frozen[i])) {
            xl_message("%s", xlx_get_error());
            xl_message("so nobody knows whether \"%s\" holds a snapshot: see"
                       " xl snapshot-repair, or use \"%s\" instead of xl to"
                       " start the guest regardless", disk->pdev_path,
                       c->stock);
            return 1;
        }
        if (c->frozen[i].frozen && c->first < 0)
            c->first = i;
    }
    if (c->first < 0)
        return 0;
    say_what(c);
    say_what_to_do(c);
    return 1;
}

/* ---- the command lines of stock xl -------------------------------------- */

/* False for what stock xl will refuse. */
static bool read_create(struct check *c)
{
    static const struct option options[] = {
        { "defconfig", required_argument, NULL, 'f' },
        { "dryrun", no_argument, NULL, 'n' },
        { "ignore-global-affinity-masks", no_argument, NULL, 'i' },
        { "quiet", no_argument, NULL, 'q' },
        { "vncviewer", no_argument, NULL, 'V' },
        { "vncviewer-autopass", no_argument, NULL, 'A' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    char **argv = c->argv, *path = NULL, *lines = NULL;
    int argc = c->argc, opt;
    bool ok;

    /* stock xl takes a first argument without '=' for the file, even when
     * options follow; the same again in the loop below */
    if (argc > 1 && argv[1][0] != '-' && !strchr(argv[1], '=')) {
        path = argv[1];
        argc--;
        argv++;
    }
    while ((opt = getopt_long(argc, argv, "hAFVcdef:inpq", options,
                              NULL)) != -1) {
        if (opt == '?' || opt == 'h')
            return false;
        if (opt == 'f')
            path = optarg;
    }
    for (; optind < argc; optind++) {
        if (strchr(argv[optind], '=')) {
            lines = append(lines, argv[optind]);
            lines = append(lines, "\n");
        } else if (!path) {
            path = argv[optind];
        } else {
            free(lines);
            return false;
        }
    }
    ok = path && guest_config_from_file(path, lines, &c->config);
    free(lines);
    return ok;
}

static bool read_restore(struct check *c)
{
    static const struct option options[] = {
        { "vncviewer", no_argument, NULL, 'V' },
        { "vncviewer-autopass", no_argument, NULL, 'A' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int opt;

    while ((opt = getopt_long(c->argc, c->argv, "hFcpdeVA", options,
                              NULL)) != -1) {
        if (opt == '?' || opt == 'h')
            return false;
    }
    if (optind >= c->argc || c->argc - optind > 2)
        return false;
    c->save_file = c->argv[c->argc - 1];
    if (c->argc - optind == 2)
        return guest_config_from_file(c->argv[optind], NULL, &c->config);
    return guest_config_from_save(c->save_file, &c->config);
}

static const struct {
    const char *command;
    bool (*read)(struct check *c);
} guarded[] = {
    { "create", read_create },
    { "restore", read_restore },
};

/* The dispatcher has made sure that the name, perhaps abbreviated, means one
 * of these.  Exit status. */
static int check(const char *stock, char *as_typed, int argc, char **argv)
{
    struct check c = {
        .argc = argc, .argv = argv, .as_typed = as_typed, .stock = stock,
        .first = -1,
    };
    int status = 0;
    size_t i;

    for (i = 0; i < sizeof(guarded) / sizeof(guarded[0]); i++) {
        if (!strncmp(guarded[i].command, argv[0], strlen(argv[0])))
            break;
    }
    if (i == sizeof(guarded) / sizeof(guarded[0]))
        return 0;
    xl_command_name = guarded[i].command;
    optind = 0;                     /* a new argv: start afresh */
    if (guarded[i].read(&c))
        status = refuse_when_frozen(&c);

    for (i = 0; c.frozen && i < (size_t)c.config.num_disks; i++)
        xlx_frozen_image_dispose(&c.frozen[i]);
    free(c.frozen);
    xlx_ctx_free(c.ctx);
    guest_config_free(&c.config);
    return status;
}

/* ---- main --------------------------------------------------------------- */

static int check_command_line(const char *stock, int argc, char **argv)
{
    char **copy, *as_typed = NULL;
    int i, first, status;

    opterr = 0;
    while (getopt(argc, argv, "+vftTN") != -1)
        ;
    first = optind;
    if (first >= argc)
        return 0;
    /* getopt_long() puts arguments in another order. */
    copy = calloc((size_t)argc + 1, sizeof(*copy));
    if (!copy)
        xl_no_memory();
    memcpy(copy, argv, (size_t)argc * sizeof(*copy));
    as_typed = append_word(NULL, "xl");
    for (i = 1; i < argc; i++)
        as_typed = append_word(as_typed, argv[i]);
    status = check(stock, as_typed, argc - first, copy + first);
    free(as_typed);
    free(copy);
    return status;
}

int main(int argc, char **argv)
{
    char *stock, **args;
    int status;

    if (argc < 3) {
        fputs("xl-guard is run by xl, not by people\n", stderr);
        return 2;
    }
    stock = argv[1];
    args = argv + 1;
    args[0] = argv[0];
    status = check_command_line(stock, argc - 1, args);
    if (status)
        return status;
    execv(stock, args);
    fprintf(stderr, "xl: stock xl: \"%s\": %s\n", stock, strerror(errno));
    return errno == ENOENT ? 127 : 126;
}

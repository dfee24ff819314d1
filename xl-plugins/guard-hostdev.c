/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices of the host cannot go where their guest goes.  They are set aside
 * before it is saved or migrated, given back when it runs again, here or on
 * another host, and forgotten when a new guest takes its place.  Each concept
 * with such devices has a struct guard_hostdev_kind that says how.
 */
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "text.h"

/* ---- lists -------------------------------------------------------------- */

void guard_hostdev_add(struct guard_hostdevs *list, char *place, bool aside,
                       char *there)
{
    list->devs = guard_grown(list->devs, list->num, sizeof(*list->devs));
    list->devs[list->num++] = (struct guard_hostdev){
        .place = place, .aside = aside, .there = there,
    };
}

static void free_list(struct guard_hostdevs *list)
{
    int i;

    for (i = 0; i < list->num; i++) {
        free(list->devs[i].place);
        free(list->devs[i].there);
    }
    free(list->devs);
    *list = (struct guard_hostdevs){ NULL, 0 };
}

static int count_aside(const struct guard_hostdevs *list)
{
    int i, n = 0;

    for (i = 0; i < list->num; i++)
        n += list->devs[i].aside;
    return n;
}

static void format_uuid(const libxl_uuid *uuid,
                        char text[LIBXL_UUID_FMTLEN + 1])
{
    snprintf(text, LIBXL_UUID_FMTLEN + 1, LIBXL_UUID_FMT,
             LIBXL_UUID_BYTES(*uuid));
}

/* ---- starting ----------------------------------------------------------- */

bool guard_hostdev_aside(struct guard_start *s,
                         const struct guard_hostdev_kind *kind)
{
    struct guard_hostdevs list = { NULL, 0 };
    char uuid[LIBXL_UUID_FMTLEN + 1];
    xlx_guest guest;
    bool aside;

    if (!s->config.name)
        return false;
    format_uuid(&s->config.uuid, uuid);
    xlx_guest_init(&guest);
    /* a guest that is not known has nothing set aside */
    aside = !xlx_guest_find(s->ctx,
                            s->config.has_uuid ? uuid : s->config.name,
                            NULL, &guest) &&
            !kind->list(s->ctx, &guest, &list) && count_aside(&list);
    free_list(&list);
    xlx_guest_dispose(&guest);
    return aside;
}

int guard_hostdev_find(struct guard_start *s, const char *who,
                       xlx_guest *guest)
{
    if (!xlx_guest_find(guard_ctx(s), who, NULL, guest))
        return 0;
    xl_message("%s", xlx_error_get());
    return 1;
}

void guard_hostdev_watch(const struct guard_hostdev_kind *kind,
                         const xlx_guest *guest)
{
    char *program = xl_format("xl-%s", kind->watch);
    char *path = guard_path_of(program);

    xl_run_watcher(path, kind->watch, guest);
    free(path);
    free(program);
}

int guard_hostdev_repair(const struct guard_hostdev_kind *kind,
                         const char *who)
{
    char *argv[] = { xl_format("xl-%s", kind->repair),
                     xl_format("%s", who), NULL };
    int status = guard_run(argv[0], argv);

    free(argv[0]);
    free(argv[1]);
    return status;
}

/* Sets aside what the guest has of that kind. */
static int keep_kind(struct guard_start *s, const xlx_guest *guest,
                     const struct guard_hostdev_kind *kind)
{
    struct guard_hostdevs list = { NULL, 0 };
    int rc;

    rc = kind->list(s->ctx, guest, &list);
    if (!rc && count_aside(&list) < list.num)
        rc = kind->set_aside(s->ctx, guest);
    free_list(&list);
    return rc;
}

void guard_hostdev_keep(struct guard_start *s, const char *who)
{
    const struct guard_hostdev_kind *kind;
    xlx_guest guest;
    size_t k;
    int rc;

    xlx_guest_init(&guest);
    rc = xlx_guest_find(guard_ctx(s), who, NULL, &guest);
    for (k = 0; !rc && k < guard_num_concepts; k++) {
        kind = guard_concepts[k]->hostdev;
        rc = kind ? keep_kind(s, &guest, kind) : 0;
    }
    if (rc)
        xl_message("%s", xlx_error_get());
    xlx_guest_dispose(&guest);
}

static int forget_all(xlx_ctx *ctx, const xlx_guest *guest,
                      const struct guard_hostdev_kind *kind)
{
    struct guard_hostdevs list = { NULL, 0 };
    int i, rc = kind->list(ctx, guest, &list);

    for (i = 0; !rc && i < list.num; i++)
        rc = kind->forget(ctx, guest, list.devs[i].place);
    free_list(&list);
    return rc;
}

static int forget_former(struct guard_start *s, const char *who,
                         const struct guard_hostdev_kind *kind)
{
    xlx_guest guest;
    int rc = 0;

    xlx_guest_init(&guest);
    /* one that runs stock xl will complain of */
    if (!xlx_guest_find(s->ctx, who, NULL, &guest) &&
        guest.domid == XLX_DOMID_NONE)
        rc = forget_all(s->ctx, &guest, kind);
    if (rc)
        xl_message("%s", xlx_error_get());
    xlx_guest_dispose(&guest);
    return rc ? 1 : 0;
}

int guard_hostdev_forget(struct guard_start *s,
                         const struct guard_hostdev_kind *kind)
{
    char uuid[LIBXL_UUID_FMTLEN + 1];
    int status = 0;

    if (s->config.has_uuid) {
        format_uuid(&s->config.uuid, uuid);
        status = forget_former(s, uuid, kind);
    }
    return status ? status : forget_former(s, s->config.name, kind);
}

/* ---- leaving ------------------------------------------------------------ */

/* The devices of one kind that a guest has that leaves. */
struct kind_had {
    const struct guard_hostdev_kind *kind;
    struct guard_hostdevs list;
};

/* The guest that leaves, and what it had, for afterwards. */
struct guard_leaver {
    xlx_guest guest;
    char uuid[LIBXL_UUID_FMTLEN + 1];
    struct kind_had *had;
    int num_had;
};

static void free_leaver(struct guard_start *s)
{
    struct guard_leaver *l = s->leaver;
    int i;

    for (i = 0; i < l->num_had; i++)
        free_list(&l->had[i].list);
    free(l->had);
    xlx_guest_dispose(&l->guest);
    free(l);
    s->leaver = NULL;
}

/* Says which devices keep it here. */
static int refuse(const struct guard_leaver *l, const struct kind_had *had)
{
    const struct guard_hostdevs *list = &had->list;
    char *places = NULL;
    int i;

    if (count_aside(list) == list->num)
        return 0;
    for (i = 0; i < list->num; i++) {
        places = places ? guard_append(places, ", ") : NULL;
        places = guard_append(places, list->devs[i].place);
    }
    xl_message("\"%s\" has %s devices, which cannot go with it: %s; with "
               "--detach they are detached, and attached again afterwards",
               l->guest.name, had->kind->name, places);
    free(places);
    return 1;
}

/* Does it run here?  Opens the library again, which is closed while stock xl
 * runs. */
static bool runs_here(struct guard_start *s)
{
    xlx_guest guest;
    bool runs;

    xlx_guest_init(&guest);
    runs = !xlx_guest_find(guard_ctx(s), s->leaver->uuid, NULL, &guest) &&
           guest.domid != XLX_DOMID_NONE;
    xlx_guest_dispose(&guest);
    return runs;
}

/* Gives it back what it had of the first kinds.  The exit status is that of
 * the first kind that could not. */
static int attach_again(const struct guard_leaver *l, int num)
{
    int i, r, status = 0;

    for (i = 0; i < num; i++) {
        r = l->had[i].list.num
            ? guard_hostdev_repair(l->had[i].kind, l->uuid) : 0;
        status = status ? status : r;
    }
    return status;
}

/* Runs a line of shell on the other host, by the way that stock xl came
 * there. */
static int run_there(struct guard_start *s, const char *line)
{
    char *argv[4], shell[] = "sh", option[] = "-c";
    int status;

    argv[0] = shell;
    argv[1] = option;
    /* stock xl also leaves it to the shell to split -s */
    argv[2] = xl_format("exec %s %s", s->shell ? s->shell : "ssh",
                        s->target);
    argv[2] = guard_append_word(argv[2], line);
    argv[3] = NULL;
    status = guard_run("/bin/sh", argv);
    free(argv[2]);
    return status;
}

/* Has the devices attached on the other host; then they are that host's to
 * remember. */
static int attach_there(struct guard_start *s, const struct kind_had *had)
{
    struct guard_leaver *l = s->leaver;
    const struct guard_hostdev *dev;
    int i, r, status = 0;

    for (i = 0; i < had->list.num; i++) {
        dev = &had->list.devs[i];
        r = run_there(s, dev->there);
        if (r)
            xl_message("\"%s\" runs on %s without its %s device %s: there, %s",
                       l->guest.name, s->target, had->kind->name, dev->place,
                       dev->there);
        else if (had->kind->forget(s->ctx, &l->guest, dev->place))
            xl_message("%s", xlx_error_get());
        status = status ? status : r;
    }
    return status;
}

/* Where it runs now it has them again; a saved one has them when it is
 * restored. */
static int after_leaving(struct guard_start *s, int status)
{
    struct guard_leaver *l = s->leaver;
    int i, r, first = 0;

    if (runs_here(s)) {
        first = attach_again(l, l->num_had);
    } else if (!status && s->target) {
        l->guest.domid = XLX_DOMID_NONE;
        for (i = 0; i < l->num_had; i++) {
            r = attach_there(s, &l->had[i]);
            first = first ? first : r;
        }
    }
    free_leaver(s);
    return status ? status : first;
}

/* The first device that no other host would know, or NULL. */
static const struct guard_hostdev *find_local(const struct kind_had *had)
{
    int i;

    for (i = 0; i < had->list.num; i++)
        if (!had->list.devs[i].there)
            return &had->list.devs[i];
    return NULL;
}

/* Does the other host know each device, and can it be asked to attach it? */
static int check_target(const struct guard_start *s)
{
    const struct guard_hostdev *dev;
    const struct kind_had *had;
    int i;

    if (!s->target)
        return 0;
    if (s->shell && !*s->shell) {
        xl_message("--detach: not with an empty -s, because then nobody can "
                   "attach them on the other host");
        return 1;
    }
    for (i = 0; i < s->leaver->num_had; i++) {
        had = &s->leaver->had[i];
        dev = find_local(had);
        if (!dev)
            continue;
        xl_message("the %s device %s has no name that another host would "
                   "know it by: %s", had->kind->name, dev->place,
                   had->kind->when_local);
        return 1;
    }
    return 0;
}

static int set_aside(struct guard_start *s)
{
    struct guard_leaver *l = s->leaver;
    int i;

    if (check_target(s))
        return 1;
    for (i = 0; i < l->num_had; i++) {
        if (!l->had[i].list.num ||
            !l->had[i].kind->set_aside(s->ctx, &l->guest))
            continue;
        xl_message("%s", xlx_error_get());
        attach_again(l, i + 1);
        return 1;
    }
    guard_afterwards(s, after_leaving);
    return 0;
}

/* Adds what the guest has of that kind; exit status. */
static int list_kind(struct guard_start *s,
                     const struct guard_hostdev_kind *kind)
{
    struct guard_leaver *l = s->leaver;
    struct kind_had *had;

    l->had = guard_grown(l->had, l->num_had, sizeof(*l->had));
    had = &l->had[l->num_had++];
    *had = (struct kind_had){ .kind = kind };
    if (!kind->list(s->ctx, &l->guest, &had->list))
        return 0;
    xl_message("%s", xlx_error_get());
    xl_message("so nobody knows whether it has %s devices, which cannot go "
               "with it; \"%s\" does not ask", kind->name, s->stock);
    return 1;
}

static int leave(struct guard_start *s)
{
    const struct guard_hostdev_kind *kind;
    int i, num = 0, status = 0;
    size_t k;

    for (k = 0; k < guard_num_concepts; k++) {
        kind = guard_concepts[k]->hostdev;
        if (kind && list_kind(s, kind))
            return 1;
    }
    for (i = 0; i < s->leaver->num_had; i++) {
        num += s->leaver->had[i].list.num;
        status |= s->detach ? 0 : refuse(s->leaver, &s->leaver->had[i]);
    }
    return s->detach && num ? set_aside(s) : status;
}

int guard_hostdev_leave(struct guard_start *s)
{
    struct guard_leaver *l;
    int status = 0;

    s->leaver = l = calloc(1, sizeof(*l));
    if (!l)
        xl_no_memory();
    xlx_guest_init(&l->guest);
    /* stock xl will not find a guest either that cannot be found */
    if (!xlx_guest_find(s->ctx, s->leaving, NULL, &l->guest)) {
        format_uuid(&l->guest.uuid, l->uuid);
        status = leave(s);
    }
    if (!s->num_afterwards)
        free_leaver(s);
    return status;
}

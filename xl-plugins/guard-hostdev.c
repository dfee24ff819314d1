/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices of the host cannot go where their guest goes.  They are set aside
 * before it is saved or migrated, given back when it runs again, here or on
 * another host, and forgotten when it is made again.  guard-scsi.c and
 * guard-usb.c have the kinds, and how each does that.
 */
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "text.h"

static const struct guard_hostdev_kind *const kinds[] = {
    &guard_hostdev_scsi,
    &guard_hostdev_usb,
};

#define NUM_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* ---- lists -------------------------------------------------------------- */

void guard_hostdev_add(struct guard_hostdevs *list, char *place, bool aside,
                       char *there)
{
    list->devs = realloc(list->devs,
                         ((size_t)list->num + 1) * sizeof(*list->devs));
    if (!list->devs)
        xl_no_memory();
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

void guard_hostdev_keep(struct guard_start *s, const char *who)
{
    struct guard_hostdevs list = { NULL, 0 };
    xlx_guest guest;
    size_t k;
    int rc = 0;

    xlx_guest_init(&guest);
    if (!s->ctx)
        rc = xlx_ctx_alloc(&s->ctx, NULL, NULL);
    if (!rc)
        rc = xlx_guest_find(s->ctx, who, NULL, &guest);
    for (k = 0; !rc && k < NUM_KINDS; k++) {
        rc = kinds[k]->list(s->ctx, &guest, &list);
        if (!rc && count_aside(&list) < list.num)
            rc = kinds[k]->set_aside(s->ctx, &guest);
        free_list(&list);
    }
    if (rc)
        xl_message("%s", xlx_get_error());
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
        xl_message("%s", xlx_get_error());
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

/* The guest that leaves, and what it had, for afterwards: one process leaves
 * with one guest. */
static struct {
    xlx_guest guest;
    char uuid[LIBXL_UUID_FMTLEN + 1];
    struct guard_hostdevs had[NUM_KINDS];
} left;

static void free_left(void)
{
    size_t i;

    for (i = 0; i < NUM_KINDS; i++)
        free_list(&left.had[i]);
    xlx_guest_dispose(&left.guest);
}

/* Says which devices keep it here. */
static int refuse(size_t k)
{
    const struct guard_hostdevs *had = &left.had[k];
    char *places = NULL;
    int i;

    if (count_aside(had) == had->num)
        return 0;
    for (i = 0; i < had->num; i++) {
        places = places ? guard_append(places, ", ") : NULL;
        places = guard_append(places, had->devs[i].place);
    }
    xl_message("\"%s\" has %s devices, which cannot go with it: %s; with "
               "--detach they are detached, and attached again afterwards",
               left.guest.name, kinds[k]->name, places);
    free(places);
    return 1;
}

/* Does it run here?  Opens s->ctx again, which is closed while stock xl
 * runs. */
static bool runs_here(struct guard_start *s)
{
    xlx_guest guest;
    bool runs;

    xlx_guest_init(&guest);
    runs = (s->ctx || !xlx_ctx_alloc(&s->ctx, NULL, NULL)) &&
           !xlx_guest_find(s->ctx, left.uuid, NULL, &guest) &&
           guest.domid != XLX_DOMID_NONE;
    xlx_guest_dispose(&guest);
    return runs;
}

/* The exit status is that of the first kind that could not. */
static int return_devices(size_t num_kinds)
{
    int r, status = 0;
    size_t k;

    for (k = 0; k < num_kinds; k++) {
        r = left.had[k].num ? guard_hostdev_repair(kinds[k], left.uuid) : 0;
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
static int send_after(struct guard_start *s, size_t k)
{
    const struct guard_hostdev *dev;
    int i, r, status = 0;

    for (i = 0; i < left.had[k].num; i++) {
        dev = &left.had[k].devs[i];
        r = run_there(s, dev->there);
        if (r)
            xl_message("\"%s\" runs on %s without its %s device %s: there, %s",
                       left.guest.name, s->target, kinds[k]->name, dev->place,
                       dev->there);
        else if (kinds[k]->forget(s->ctx, &left.guest, dev->place))
            xl_message("%s", xlx_get_error());
        status = status ? status : r;
    }
    return status;
}

/* Where it runs now it has them again; a saved one has them when it is
 * restored. */
static int after_leaving(struct guard_start *s, int status)
{
    int r, first = 0;
    size_t k;

    if (runs_here(s)) {
        first = return_devices(NUM_KINDS);
    } else if (!status && s->target) {
        left.guest.domid = XLX_DOMID_NONE;
        for (k = 0; k < NUM_KINDS; k++) {
            r = send_after(s, k);
            first = first ? first : r;
        }
    }
    xlx_ctx_free(s->ctx);
    s->ctx = NULL;
    free_left();
    return status ? status : first;
}

/* Does the other host know each device, and can it be told? */
static int check_target(struct guard_start *s)
{
    const struct guard_hostdev *dev;
    size_t k;
    int i;

    if (!s->target)
        return 0;
    if (s->shell && !*s->shell) {
        xl_message("--detach: not with an empty -s, because then nobody can "
                   "attach them on the other host");
        return 1;
    }
    for (k = 0; k < NUM_KINDS; k++)
        for (i = 0; i < left.had[k].num; i++) {
            dev = &left.had[k].devs[i];
            if (dev->there)
                continue;
            xl_message("the %s device %s has no name that another host would "
                       "know it by: %s", kinds[k]->name, dev->place,
                       kinds[k]->when_local);
            return 1;
        }
    return 0;
}

static int set_aside(struct guard_start *s)
{
    size_t k;

    if (check_target(s))
        return 1;
    for (k = 0; k < NUM_KINDS; k++)
        if (left.had[k].num && kinds[k]->set_aside(s->ctx, &left.guest)) {
            xl_message("%s", xlx_get_error());
            return_devices(k + 1);
            return 1;
        }
    guard_afterwards(s, after_leaving);
    return 0;
}

static int leave(struct guard_start *s)
{
    int num = 0, status = 0;
    size_t k;

    for (k = 0; k < NUM_KINDS; k++) {
        if (kinds[k]->list(s->ctx, &left.guest, &left.had[k])) {
            xl_message("%s", xlx_get_error());
            xl_message("so nobody knows whether it has %s devices, which"
                       " cannot go with it; \"%s\" does not ask",
                       kinds[k]->name, s->stock);
            return 1;
        }
        num += left.had[k].num;
        status |= s->detach ? 0 : refuse(k);
    }
    return s->detach && num ? set_aside(s) : status;
}

int guard_hostdev_leave(struct guard_start *s)
{
    int status;

    xlx_guest_init(&left.guest);
    /* who cannot be found stock xl will not find either */
    if (xlx_guest_find(s->ctx, s->leaving, NULL, &left.guest))
        return 0;
    format_uuid(&left.guest.uuid, left.uuid);
    status = leave(s);
    if (!s->num_afterwards)
        free_left();
    return status;
}

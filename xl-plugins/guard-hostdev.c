/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices of the host cannot go where their guest goes.  They are set aside
 * before it is saved or migrated, given back when it runs again, here or on
 * another host, and forgotten when a new guest takes its place.  Each concept
 * with such devices has a struct guard_hostdev_kind that says how.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard.h"
#include "text.h"

/* ---- lists -------------------------------------------------------------- */

void guard_hostdev_add(struct guard_hostdevs *list, struct guard_hostdev dev)
{
    list->devs = guard_grown(list->devs, list->num, sizeof(*list->devs));
    list->devs[list->num++] = dev;
}

void guard_hostdevs_free(struct guard_hostdevs *list)
{
    int i;

    for (i = 0; i < list->num; i++) {
        free(list->devs[i].place);
        free(list->devs[i].name);
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
    guard_hostdevs_free(&list);
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
    guard_hostdevs_free(&list);
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

/* ---- what is recorded of a guest that starts ---------------------------- */

static bool same(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

/* Does the config ask for that device, or for another one in its place? */
static bool is_wanted(const struct guard_hostdevs *wanted,
                      const struct guard_hostdev *dev)
{
    int i;

    for (i = 0; i < wanted->num; i++)
        if (same(wanted->devs[i].place, dev->place) ||
            same(wanted->devs[i].name, dev->name))
            return true;
    return false;
}

/* Forgets what is not to be attached again; *left_r is the number of the
 * others.  libxl's error code. */
static int forget_some(struct guard_start *s, const xlx_guest *guest,
                       const struct guard_hostdev_kind *kind,
                       const struct guard_hostdevs *wanted, int *left_r)
{
    struct guard_hostdevs list = { NULL, 0 };
    const struct guard_hostdev *dev;
    int i, rc = kind->list(s->ctx, guest, &list);

    *left_r = 0;
    for (i = 0; !rc && i < list.num; i++) {
        dev = &list.devs[i];
        /* a guest that is restored has its config in the save file */
        if (s->our_option || (!s->save_file && dev->configured) ||
            is_wanted(wanted, dev))
            rc = kind->forget(s->ctx, guest, dev->place);
        else
            ++*left_r;
    }
    guard_hostdevs_free(&list);
    return rc;
}

static bool is_file(const char *path)
{
    struct stat st;

    return path && !stat(path, &st) && S_ISREG(st.st_mode);
}

/* The guest that starts, if it is known and does not run: by its UUID, or else
 * by its name and one of its disks.  One that runs stock xl will complain
 * of. */
static bool find_former(struct guard_start *s, xlx_guest *guest)
{
    const char *file = is_file(s->config_path) ? s->config_path : NULL;
    char uuid[LIBXL_UUID_FMTLEN + 1];

    format_uuid(&s->config.uuid, uuid);
    return !xlx_guest_find(s->ctx, s->config.has_uuid ? uuid : s->config.name,
                           s->config.has_uuid ? NULL : file, guest) &&
           guest->domid == XLX_DOMID_NONE;
}

/* Another guest had that name, and ends with the start of this one: what the
 * config asks for is taken from it.  It keeps the rest. */
static int take_over(struct guard_start *s, const xlx_guest *former,
                     const struct guard_hostdev_kind *kind,
                     const struct guard_hostdevs *wanted)
{
    char uuid[LIBXL_UUID_FMTLEN + 1];
    xlx_guest guest;
    int left = 0, rc = 0;

    xlx_guest_init(&guest);
    if (xlx_guest_find(s->ctx, s->config.name, NULL, &guest) ||
        guest.domid != XLX_DOMID_NONE ||
        !libxl_uuid_compare(&guest.uuid, &former->uuid))
        goto out;
    rc = forget_some(s, &guest, kind, wanted, &left);
    format_uuid(&guest.uuid, uuid);
    if (!rc && left)
        xl_message("%s devices are recorded of a guest \"%s\" with the UUID "
                   "%s, which may be another one, and are not attached: if it "
                   "is this one, write uuid=\"%s\" into its config",
                   kind->name, s->config.name, uuid, uuid);

 out:
    xlx_guest_dispose(&guest);
    return rc;
}

/* So that it is found by the UUID under which they are recorded. */
static void keep_uuid(struct guard_start *s, const xlx_guest *former)
{
    char uuid[LIBXL_UUID_FMTLEN + 1];

    if (s->former)
        return;
    format_uuid(&former->uuid, uuid);
    s->former = xl_format("%s", uuid);
    if (!s->config.has_uuid && !s->save_file)
        guard_add_line(s, xl_format("uuid=\"%s\"", uuid));
}

int guard_hostdev_start(struct guard_start *s,
                        const struct guard_hostdev_kind *kind,
                        const struct guard_hostdevs *wanted, bool *again_r)
{
    const char *name = s->config.name;
    xlx_guest former;
    int left = 0, rc = 0;

    *again_r = false;
    if (s->only_shows)
        return 0;
    xlx_guest_init(&former);
    if (find_former(s, &former))
        rc = forget_some(s, &former, kind, wanted, &left);
    if (!rc)
        rc = take_over(s, &former, kind, wanted);
    if (rc) {
        xl_message("%s", xlx_error_get());
        /* it asks for none, and no other could be meant */
        if (!wanted->num && !s->our_option)
            rc = 0;
    } else if (left) {
        keep_uuid(s, &former);
        /* a name of digits alone would be taken for a domid */
        *again_r = !s->stays && name[strspn(name, "0123456789")];
        if (!*again_r)
            guard_hostdev_watch(kind, &former);
    }
    xlx_guest_dispose(&former);
    return rc ? 1 : 0;
}

int guard_hostdev_again(struct guard_start *s,
                        const struct guard_hostdev_kind *kind,
                        const char *who)
{
    (void)s;
    if (guard_hostdev_repair(kind, who))
        xl_message("\"%s\" starts without the %s devices that could not be "
                   "attached; xl %s tries again", who, kind->name,
                   kind->watch);
    return 0;
}

void guard_hostdev_hold(struct guard_start *s)
{
    xlx_guest former;
    int64_t fd = -1;

    if (!s->former || s->hold >= 0)
        return;
    xlx_guest_init(&former);
    if (xlx_guest_find(s->ctx, s->former, NULL, &former) ||
        xlx_guest_hold(s->ctx, &former, &fd))
        xl_message("%s", xlx_error_get());
    s->hold = (int)fd;
    xlx_guest_dispose(&former);
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
        guard_hostdevs_free(&l->had[i].list);
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
        status |= s->our_option ? 0 : refuse(s->leaver, &s->leaver->had[i]);
    }
    return s->our_option && num ? set_aside(s) : status;
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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The users of an image; see image-use.h.  Each source of the answer is read
 * once, when it is first needed, and a source that does not answer is noted
 * and not passed over.
 */
#include <stdlib.h>
#include <string.h>

#include "core/kernfs.h"
#include "core/proc-files.h"
#include "disk/block.h"
#include "disk/disk-graph.h"
#include "disk/image-index.h"
#include "disk/image-use.h"
#include "disk/image.h"
#include "disk/vbd.h"

struct claim {
    struct xlx__image_claim c;
    struct xlx__file_id id;
    bool has_id;
};

struct unknown {
    char *why;
    bool about_open;                /* records and headers could be read */
};

struct xlx__image_world {
    xlx_ctx *ctx;
    uint32_t domid;
    pid_t own_pid;                  /* of the guest's QEMU, 0 when unknown */
    struct xlx__disk_graph *graph;  /* NULL when no QEMU runs */
    struct claim **claims;
    int num_claims;
    struct unknown *unknowns;
    int num_unknowns;
    bool has_guests, has_headers;
    struct xlx__vbds vbds;
    struct xlx__proc_files files;
    struct xlx__image_index index;
};

/* ---- the world ---------------------------------------------------------- */

static int note_unknown(struct xlx__image_world *world, const char *why,
                        bool about_open)
{
    struct unknown *list = realloc(world->unknowns,
                                   (world->num_unknowns + 1) * sizeof(*list));

    if (!list)
        return xlx__nomem();
    world->unknowns = list;
    list += world->num_unknowns;
    list->about_open = about_open;
    list->why = strdup(why);
    if (!list->why)
        return xlx__nomem();
    world->num_unknowns++;
    return 0;
}

int xlx__image_world_unknown(struct xlx__image_world *world, const char *why)
{
    return note_unknown(world, why, false);
}

/* Keeps the message of a failed look for the answer. */
static int unknown(struct xlx__image_world *world, int rc, bool about_open)
{
    if (rc != ERROR_NOMEM)
        rc = note_unknown(world, xlx_error_get(), about_open);
    if (rc) return rc;
    xlx__error_clear();
    return 0;
}

static int look_at_qemu(struct xlx__image_world *world,
                        const xlx_guest *self, struct xlx__qmp *qmp)
{
    char why[96];
    int rc;

    if (qmp) {
        world->own_pid = xlx__qmp_pid(qmp);
        rc = xlx__disk_graph_read(qmp, &world->graph);
        return rc ? unknown(world, rc, true) : 0;
    }
    if (!self || self->domid == XLX_DOMID_NONE)
        return 0;
    snprintf(why, sizeof(why), "domain %u runs, and its QEMU cannot be "
             "reached", self->domid);
    return note_unknown(world, why, true);
}

int xlx__image_world_open(xlx_ctx *ctx, const xlx_guest *self,
                          struct xlx__qmp *qmp,
                          struct xlx__image_world **world_r)
{
    struct xlx__image_world *world = calloc(1, sizeof(*world));
    int rc;

    if (!world)
        return xlx__nomem();
    world->ctx = ctx;
    world->domid = self ? self->domid : XLX_DOMID_NONE;
    rc = look_at_qemu(world, self, qmp);
    if (rc) {
        xlx__image_world_close(world);
        return rc;
    }
    *world_r = world;
    return 0;
}

static void claim_dispose(struct xlx__image_claim *c)
{
    xlx_guest_dispose(&c->guest);
    free(c->image);
    free(c->format);
    free(c->snapshot);
    free(c->vdev);
    free(c->current_path);
    free(c->current_format);
}

void xlx__image_world_close(struct xlx__image_world *world)
{
    int i;

    if (!world)
        return;
    for (i = 0; i < world->num_claims; i++) {
        claim_dispose(&world->claims[i]->c);
        free(world->claims[i]);
    }
    for (i = 0; i < world->num_unknowns; i++)
        free(world->unknowns[i].why);
    free(world->claims);
    free(world->unknowns);
    xlx__disk_graph_free(world->graph);
    xlx__vbds_dispose(&world->vbds);
    xlx__proc_files_dispose(&world->files);
    xlx__image_index_dispose(&world->index);
    free(world);
}

int xlx__image_world_claim(struct xlx__image_world *world,
                           struct xlx__image_claim *claim)
{
    struct claim **list = realloc(world->claims, (world->num_claims + 1) *
                                                 sizeof(*list));
    struct claim *c = calloc(1, sizeof(*c));

    if (list)
        world->claims = list;
    if (!list || !c || !claim->image) {
        free(c);
        claim_dispose(claim);
        return xlx__nomem();
    }
    c->c = *claim;
    c->has_id = xlx__file_id_of(claim->image, &c->id);
    list[world->num_claims++] = c;
    return 0;
}

/* ---- what is read when it is needed ------------------------------------- */

/* A Xen host on which xenstored does not answer has guests all the same. */
static int check_xenstore(struct xlx__image_world *world)
{
    char *type;
    int rc = 0;

    if (world->ctx->xenstore)
        return 0;
    type = xlx__attr_text("%s/hypervisor/type", xlx__sysfs_dir());
    if (!type)
        return xlx__nomem();
    if (!strcmp(type, "xen"))
        rc = note_unknown(world, "xenstored does not say which disks the "
                          "guests of this host have", true);
    free(type);
    return rc;
}

static int read_guests(struct xlx__image_world *world)
{
    int rc;

    if (world->has_guests)
        return 0;
    world->has_guests = true;
    rc = xlx__vbds_read(world->ctx, &world->vbds);
    rc = rc ? unknown(world, rc, true) : check_xenstore(world);
    if (rc) return rc;
    xlx__proc_files_dispose(&world->files);     /* those of QEMU alone */
    rc = xlx__proc_files_read(&world->files);
    return rc ? unknown(world, rc, true) : 0;
}

/* A guest writes what it likes into a raw disk, also a header. */
static int note_raws(struct xlx__image_world *world)
{
    int i, rc = 0;

    for (i = 0; !rc && i < world->num_claims; i++)
        if (world->claims[i]->has_id && world->claims[i]->c.format &&
            !strcmp(world->claims[i]->c.format, "raw"))
            rc = xlx__image_index_raw(&world->index, &world->claims[i]->id);
    for (i = 0; !rc && i < world->vbds.num; i++) {
        const struct xlx__vbd *v = &world->vbds.list[i];
        struct xlx__file_id id = { .dev = v->dev, .ino = v->ino };

        if (v->raw && !v->disk && v->ino)
            rc = xlx__image_index_raw(&world->index, &id);
    }
    return rc;
}

static int read_headers(struct xlx__image_world *world, const char *path)
{
    int i, rc = 0;

    if (!world->has_headers) {
        world->has_headers = true;
        rc = note_raws(world);
        for (i = 0; !rc && i < world->num_claims; i++)
            rc = xlx__image_index_add(&world->index,
                                      world->claims[i]->c.image);
        for (i = 0; !rc && i < world->num_claims; i++)
            rc = xlx__image_index_dir_of(&world->index,
                                         world->claims[i]->c.image);
    }
    if (!rc)
        rc = xlx__image_index_dir_of(&world->index, path);
    return rc ? unknown(world, rc, false) : 0;
}

/* ---- the answer --------------------------------------------------------- */

/* Takes over what and path. */
static int add_user(struct xlx__image_use *use, struct xlx__image_user *u)
{
    struct xlx__image_user *list = NULL;

    if (u->what)
        list = realloc(use->users, (use->num + 1) * sizeof(*list));
    if (!list) {
        free(u->what);
        free(u->path);
        free(u->vdev);
        return xlx__nomem();
    }
    use->users = list;
    list[use->num++] = *u;
    return 0;
}

void xlx__image_use_dispose(struct xlx__image_use *use)
{
    int i;

    for (i = 0; i < use->num; i++) {
        free(use->users[i].what);
        free(use->users[i].path);
        free(use->users[i].vdev);
    }
    free(use->users);
    free(use->image);
    memset(use, 0, sizeof(*use));
}

static int graph_user(void *user, const struct xlx__disk_graph_user *g)
{
    struct xlx__image_user u = {
        .kind = g->layer ? XLX__USER_LAYER : XLX__USER_QEMU,
        .own = true, .writes = g->writes, .idle = g->idle,
    };

    if (g->node) {
        u.what = xlx__printf("another tool has opened it in the guest's QEMU, "
                             "as the node \"%s\" (blockdev-del removes it)",
                             g->node);
    } else if (g->layer) {
        u.what = xlx__printf(g->idle ? "another tool has opened %s, on top of "
                             "it, in the guest's QEMU" :
                             "the guest's QEMU has %s open on top of it",
                             g->layer);
        u.path = strdup(g->layer);
    } else if (g->device) {
        u.what = xlx__printf("the guest's QEMU has it as the disk %s",
                             g->device);
        u.vdev = strdup(g->device);
    } else if (g->job) {
        u.what = xlx__printf("the job \"%s\" of the guest's QEMU works on it",
                             g->job);
    } else {
        u.what = *xlx__text(g->export)
            ? xlx__printf("the guest's QEMU exports it (\"%s\")", g->export)
            : strdup("the guest's QEMU exports it");
    }
    return add_user(user, &u);
}

static bool own_qemu_has(const struct xlx__image_world *world,
                         const struct xlx__file_id *id, bool *readable_r)
{
    bool has = false;
    int i;

    *readable_r = false;
    for (i = 0; world->own_pid && i < world->files.num; i++) {
        const struct xlx__proc_file *f = &world->files.list[i];

        if (f->pid != world->own_pid)
            continue;
        *readable_r = true;
        has = has || xlx__file_id_same(&f->id, id);
    }
    return has;
}

/* A name in the graph may be that of another file since; and a file that QEMU
 * has open may have another name. */
static int ask_qemu(struct xlx__image_world *world,
                    const struct xlx__file_id *id, struct xlx__image_use *use)
{
    struct xlx__image_user u = { .kind = XLX__USER_QEMU, .own = true };
    bool readable, has, open;
    int rc;

    if (!world->graph)
        return 0;
    has = own_qemu_has(world, id, &readable);
    if (readable && !has)
        return 0;
    rc = xlx__disk_graph_users(world->graph, id, &open, graph_user, use);
    if (rc || open || !has) return rc;
    u.writes = true;
    u.what = strdup("the guest's QEMU has it open under another name");
    return add_user(use, &u);
}

static int ask_processes(struct xlx__image_world *world,
                         const struct xlx__file_id *id,
                         struct xlx__image_use *use)
{
    pid_t last = 0;
    int i, rc = 0;

    for (i = 0; !rc && i < world->files.num; i++) {
        const struct xlx__proc_file *f = &world->files.list[i];
        struct xlx__image_user u = { .kind = XLX__USER_PROCESS };

        if (f->pid == world->own_pid || !xlx__file_id_same(&f->id, id))
            continue;
        if (f->pid == last) {
            use->users[use->num - 1].writes |= f->writes;
            continue;
        }
        last = f->pid;
        u.writes = f->writes;
        u.what = xlx__printf("%s (process %ld) has it open", f->name,
                             (long)f->pid);
        rc = add_user(use, &u);
    }
    return rc;
}

static bool is_vbd(const struct xlx__vbd *v, const struct xlx__file_id *id,
                   const char *disk)
{
    if (id->block)
        return v->disk && *v->disk && *disk && !strcmp(v->disk, disk);
    return !v->disk && v->ino == id->ino && v->dev == id->dev;
}

static int ask_disks(struct xlx__image_world *world,
                     const struct xlx__file_id *id,
                     struct xlx__image_use *use)
{
    char *disk;
    int i, rc = 0;

    disk = id->block ? xlx__block_name(id->dev) : strdup("");
    if (!disk)
        return xlx__nomem();
    for (i = 0; !rc && i < world->vbds.num; i++) {
        const struct xlx__vbd *v = &world->vbds.list[i];
        struct xlx__image_user u = {
            .kind = XLX__USER_DISK, .own = v->domid == world->domid,
        };

        /* what the guest's QEMU serves its graph shows better */
        if (!is_vbd(v, id, disk) ||
            (u.own && world->graph && strstr(v->backend, "/qdisk/")))
            continue;
        u.vdev = strdup("");
        rc = u.vdev ? xlx__vbd_describe(world->ctx, v, &u.what, &u.writes)
                    : xlx__nomem();
        if (!rc && u.what) {
            rc = add_user(use, &u);
            continue;
        }
        free(u.vdev);
        if (rc)
            rc = unknown(world, rc, true);
    }
    free(disk);
    return rc;
}

/* A loop device, or a lock of somebody on another host. */
static int ask_kernel(struct xlx__image_world *world,
                      const struct xlx__file_id *id,
                      struct xlx__image_use *use)
{
    struct xlx__image_user u = { .kind = XLX__USER_PROCESS };
    bool locked, readable;
    int rc = 0;

    if (!id->block)
        rc = xlx__block_use_file(use->image, &u.what, &u.writes);
    if (!rc && u.what)
        return add_user(use, &u);
    if (rc) return unknown(world, rc, true);
    if (xlx__image_user(use, 1u << XLX__USER_PROCESS) ||
        own_qemu_has(world, id, &readable) || (world->graph && !readable))
        return 0;
    rc = xlx__image_in_use(use->image, &locked, &u.writes);
    if (rc) return unknown(world, rc, true);
    if (!locked)
        return 0;
    u.kind = XLX__USER_LOCK;
    u.what = strdup("another program has it open and locked");
    return add_user(use, &u);
}

static int ask_headers(struct xlx__image_world *world,
                       const struct xlx__file_id *id,
                       struct xlx__image_use *use)
{
    int i, rc = 0;

    for (i = 0; !rc && i < world->index.num; i++) {
        const struct xlx__image_entry *e = &world->index.list[i];
        struct xlx__image_user u = { .kind = XLX__USER_OVERLAY };

        switch (xlx__image_index_link(e, use->image, id)) {
        case XLX__LINK_YES:
            u.what = xlx__printf("%s is based on it", e->path);
            break;
        case XLX__LINK_UNCLEAR:
            u.kind = XLX__USER_UNKNOWN;
            u.what = e->unreadable
                ? strdup(e->unreadable)
                : xlx__printf("%s may be based on it: the name in its header "
                              "cannot be resolved", e->path);
            break;
        default:
            continue;
        }
        u.path = strdup(e->path);
        if (!u.path) {
            free(u.what);
            return xlx__nomem();
        }
        rc = add_user(use, &u);
    }
    return rc;
}

static const char *role_text(const struct xlx__image_claim *c)
{
    switch (c->role) {
    case XLX__ROLE_CURRENT: return "takes the writes of";
    case XLX__ROLE_FROZEN: return "is an external snapshot of";
    case XLX__ROLE_TAGGED: return "holds an internal snapshot of";
    case XLX__ROLE_NEW: return "was being made for";
    case XLX__ROLE_MOVED: return "was left by";
    case XLX__ROLE_OLD: return "was about to be removed for";
    default: return "was being merged for";
    }
}

static int ask_claims(struct xlx__image_world *world,
                      const struct xlx__file_id *id, bool there,
                      struct xlx__image_use *use)
{
    int i, rc = 0;

    for (i = 0; !rc && i < world->num_claims; i++) {
        const struct claim *c = world->claims[i];
        struct xlx__image_user u = { .kind = XLX__USER_CLAIM,
                                     .claim = &c->c };

        if (there && c->has_id ? !xlx__file_id_same(&c->id, id)
                               : strcmp(c->c.image, use->image))
            continue;
        u.own = c->c.own;
        u.writes = c->c.role == XLX__ROLE_CURRENT;
        u.what = xlx__printf("by the %s of guest %s it %s that guest%s%s%s",
                             c->c.journal ? "journal" : "record",
                             xlx__text(c->c.guest.name), role_text(&c->c),
                             c->c.snapshot ? " (\"" : "",
                             xlx__text(c->c.snapshot),
                             c->c.snapshot ? "\")" : "");
        rc = add_user(use, &u);
    }
    return rc;
}

static int ask_unknowns(const struct xlx__image_world *world,
                        struct xlx__image_use *use)
{
    int i, rc = 0;

    for (i = 0; !rc && i < world->num_unknowns; i++) {
        struct xlx__image_user u = { .kind = XLX__USER_UNKNOWN };

        u.about_open = world->unknowns[i].about_open;
        u.what = strdup(world->unknowns[i].why);
        rc = add_user(use, &u);
    }
    return rc;
}

static int ask_all(struct xlx__image_world *world,
                   const struct xlx__file_id *id, struct xlx__image_use *use)
{
    int rc;

    rc = read_guests(world);
    if (rc) return rc;
    rc = read_headers(world, use->image);
    if (rc) return rc;
    rc = ask_qemu(world, id, use);
    if (rc) return rc;
    rc = ask_disks(world, id, use);
    if (rc) return rc;
    rc = ask_processes(world, id, use);
    if (rc) return rc;
    rc = ask_kernel(world, id, use);
    return rc ? rc : ask_headers(world, id, use);
}

int xlx__image_use(struct xlx__image_world *world, const char *path,
                   struct xlx__image_use *use_r)
{
    struct xlx__file_id id;
    bool there;
    int rc;

    memset(use_r, 0, sizeof(*use_r));
    rc = xlx__set_string(&use_r->image, path);
    if (rc) return rc;
    there = xlx__file_id_of(path, &id);
    if (there)
        rc = ask_all(world, &id, use_r);
    if (!rc)
        rc = ask_claims(world, &id, there, use_r);
    return rc ? rc : ask_unknowns(world, use_r);
}

int xlx__image_use_in_qemu(struct xlx__image_world *world, const char *path,
                           struct xlx__image_use *use_r)
{
    struct xlx__file_id id;
    int rc;

    memset(use_r, 0, sizeof(*use_r));
    rc = xlx__set_string(&use_r->image, path);
    if (rc || !xlx__file_id_of(path, &id)) return rc;
    if (!world->has_guests && world->own_pid && !world->files.num)
        rc = xlx__proc_files_read_of(world->own_pid, &world->files);
    return rc ? rc : ask_qemu(world, &id, use_r);
}

const struct xlx__image_user *
xlx__image_user(const struct xlx__image_use *use, unsigned int kinds)
{
    int i;

    for (i = 0; i < use->num; i++)
        if (kinds & 1u << use->users[i].kind)
            return &use->users[i];
    return NULL;
}

bool xlx__image_world_has_graph(const struct xlx__image_world *world)
{
    return world->graph != NULL;
}

bool xlx__image_world_names(const struct xlx__image_world *world,
                            const char *path)
{
    return world->graph && xlx__disk_graph_names(world->graph, path);
}

int xlx__image_world_bitmaps(struct xlx__image_world *world,
                             const char *path, char **name_r)
{
    struct xlx__file_id id;
    const char *name = NULL;
    int num, rc;

    if (!xlx__file_id_of(path, &id))
        return 0;
    if (world->graph && xlx__disk_graph_bitmaps(world->graph, &id, &name))
        return xlx__set_string(name_r, name);
    rc = xlx__image_bitmaps(path, &num);
    if (rc || !num) return rc;
    return xlx__set_string(name_r, "");
}

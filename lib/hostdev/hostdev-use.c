/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The users of a device of the host: guests, the kernel, programs.  Those that
 * can be named are asked first.  Last the kernel is asked whether it
 * would give each disk to us alone, which also tells of users that nobody can
 * name, such as an imported ZFS pool.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "core/proc-files.h"
#include "disk/block.h"
#include "disk/image.h"
#include "disk/vbd.h"
#include "gen-calls.h"
#include "hostdev/hostdev-use.h"

#define IFF_UP 1                    /* linux/if.h; clashes with net/if.h */
#define PATIENCE_MS 2000
#define STEP_MS 50

struct xlx__hostdev_world {
    xlx_ctx *ctx;
    bool has_vbds, has_files, has_users;
    struct xlx__vbds vbds;
    struct xlx__proc_files files;
    struct xlx__block_users users;
};

int xlx__hostdev_world_open(xlx_ctx *ctx, struct xlx__hostdev_world **world_r)
{
    struct xlx__hostdev_world *world = calloc(1, sizeof(*world));

    if (!world)
        return xlx__nomem();
    world->ctx = ctx;
    *world_r = world;
    return 0;
}

void xlx__hostdev_world_close(struct xlx__hostdev_world *world)
{
    if (!world)
        return;
    xlx__vbds_dispose(&world->vbds);
    xlx__proc_files_dispose(&world->files);
    xlx__block_users_dispose(&world->users);
    free(world);
}

/* A part of it would be too little: it is read again. */
static int read_vbds(struct xlx__hostdev_world *world)
{
    int rc;

    if (world->has_vbds)
        return 0;
    rc = xlx__vbds_read(world->ctx, &world->vbds);
    world->has_vbds = !rc;
    if (rc)
        xlx__vbds_dispose(&world->vbds);
    return rc;
}

static int read_files(struct xlx__hostdev_world *world)
{
    int rc;

    if (world->has_files)
        return 0;
    rc = xlx__proc_files_read_all(&world->files);
    world->has_files = !rc;
    if (rc)
        xlx__proc_files_dispose(&world->files);
    return rc;
}

static int read_users(struct xlx__hostdev_world *world)
{
    int rc;

    if (world->has_users)
        return 0;
    rc = xlx__block_users_read(&world->users);
    world->has_users = !rc;
    if (rc)
        xlx__block_users_dispose(&world->users);
    return rc;
}

/* ---- guests ------------------------------------------------------------- */

int xlx__hostdev_guest_use(struct xlx__hostdev_world *world,
                           enum xlx__hostdev_concept asking,
                           const struct xlx__hostdev_question *q,
                           char **use_r)
{
    const struct xlx__hostdev_tree *tree = q->tree;
    int i, rc;

    rc = xlx__hostdev_recorded_use(world->ctx, asking == XLX__HOSTDEV_SCSI
                                   ? XLX__HOSTDEV_USB : XLX__HOSTDEV_SCSI,
                                   tree, use_r);
    if (rc || *use_r)
        return rc;
    rc = read_vbds(world);
    if (!rc && tree->file)
        rc = xlx__vbds_use_file(world->ctx, &world->vbds, tree->file,
                                q->readonly, use_r);
    for (i = 0; !rc && !*use_r && i < tree->num; i++)
        if (tree->list[i].kind == XLX__HOSTDEV_BLOCK)
            rc = xlx__vbds_use_disk(world->ctx, &world->vbds,
                                    tree->list[i].name, q->readonly, use_r);
    return rc;
}

/* ---- programs ----------------------------------------------------------- */

/* Programs that look at each device that comes, and lose nothing with it. */
static bool is_listener(const char *program, const char *node)
{
    static const struct {
        const char *program, *class;
    } listeners[] = {
        { "systemd-udevd", "/" }, { "(udev-worker)", "/" }, { "udevd", "/" },
        { "systemd-logind", "/input/" }, { "elogind-daemon", "/input/" },
        { "elogind", "/input/" }, { "acpid", "/input/" },
    };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(listeners); i++)
        if (!strcmp(program, listeners[i].program) &&
            strstr(node, listeners[i].class))
            return true;
    return false;
}

/* Is it the program that serves the network block device? */
static int serves(pid_t pid, const char *dir, bool *yes_r)
{
    char *text = xlx__attr_text("%s/pid", dir);
    uint32_t number;

    *yes_r = false;
    if (!text)
        return xlx__attr_failure();
    if (xlx__parse_u32(text, INT32_MAX, &number))   /* of a thread of it */
        *yes_r = xlx__attr_exists("%s/%d/task/%u", xlx__proc_dir(), (int)pid,
                                  number);
    free(text);
    return 0;
}

/* The identity of a node. */
static struct xlx__file_id id_of(const struct xlx__hostdev_node *node)
{
    return (struct xlx__file_id){
        .block = node->kind == XLX__HOSTDEV_BLOCK,
        .character = node->kind == XLX__HOSTDEV_CHAR, .dev = node->number,
    };
}

/* Has the program it open now, and for longer than a look takes? */
static int stays_open(const struct xlx__proc_file *f, bool patient,
                      bool *yes_r)
{
    const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };
    int64_t deadline = xlx__now_ms() + (patient ? PATIENCE_MS : 0);
    int rc;

    do {
        rc = xlx__proc_has_open(f->pid, &f->id, yes_r);
        if (rc || !*yes_r || xlx__now_ms() >= deadline)
            return rc;
        nanosleep(&step, NULL);
    } while (true);
}

/* As below /dev; the name in sysfs when the kernel does not tell. */
static char *node_path(const struct xlx__hostdev_node *node)
{
    char *uevent = xlx__attr_text("%s/uevent", node->dir), *path = NULL;
    const char *name = uevent ? strstr(uevent, "DEVNAME=") : NULL;

    if (uevent && name)
        path = xlx__printf("/dev/%.*s", (int)strcspn(name + 8, "\n"),
                           name + 8);
    else if (uevent)
        path = xlx__printf("%s", node->name);
    free(uevent);
    return path;
}

static int find_program(struct xlx__hostdev_world *world,
                        const struct xlx__hostdev_question *q,
                        const struct xlx__hostdev_node *node, char **use_r)
{
    const struct xlx__file_id id = id_of(node);
    const struct xlx__proc_file *f;
    char *path;
    bool yes;
    int i, rc = 0;

    for (i = 0; !rc && !*use_r && i < world->files.num; i++) {
        f = &world->files.list[i];
        if (!xlx__file_id_same(&f->id, &id) || f->pid == q->own ||
            is_listener(f->name, node->dir))
            continue;
        rc = serves(f->pid, node->dir, &yes);
        if (rc || yes)
            continue;
        rc = stays_open(f, q->patient, &yes);
        if (rc || !yes)
            continue;
        path = node_path(node);
        *use_r = path ? xlx__printf("process %d (%s) has %s open",
                                    (int)f->pid, f->name, path) : NULL;
        free(path);
        rc = *use_r ? 0 : xlx__nomem();
    }
    return rc;
}

static int find_writer(struct xlx__hostdev_world *world, const char *path,
                       char **use_r)
{
    const struct xlx__proc_file *f;
    struct xlx__file_id id;
    int i;

    if (!xlx__file_id_of(path, &id))
        return xlx__error(ERROR_NOTFOUND, "%s: %m", path);
    for (i = 0; i < world->files.num; i++) {
        f = &world->files.list[i];
        if (!xlx__file_id_same(&f->id, &id))
            continue;
        *use_r = xlx__printf("process %d (%s) has it open for writing",
                             (int)f->pid, f->name);
        return *use_r ? 0 : xlx__nomem();
    }
    return 0;
}

/* ---- the kernel --------------------------------------------------------- */

static int find_kernel(struct xlx__hostdev_world *world,
                       const struct xlx__hostdev_node *node, char **use_r)
{
    const struct xlx__file_id id = id_of(node);
    int rc = 0;

    if (node->kind == XLX__HOSTDEV_BLOCK)
        rc = xlx__block_holder(node->name, node->dir, use_r);
    if (!rc && !*use_r)
        rc = xlx__block_users_find(&world->users, &id, node->name, use_r);
    return rc;
}

static int find_network(const struct xlx__hostdev_node *node, char **use_r)
{
    char *flags = xlx__attr_text("%s/flags", node->dir);
    uint64_t bits = 0;
    int rc = 0;

    if (!flags)
        return xlx__attr_failure();
    if (*flags && !xlx__parse_hex(flags, UINT32_MAX, &bits))
        rc = xlx__error(ERROR_FAIL, "%s/flags: \"%s\": not a number",
                        node->dir, flags);
    else if (bits & IFF_UP)
        *use_r = xlx__printf("its network card %s is up", node->name);
    if (!rc && bits & IFF_UP && !*use_r)
        rc = xlx__nomem();
    free(flags);
    return rc;
}

/* Drivers that give it to others. */
static int find_driver(const char *dir, const char *name, char **use_r)
{
    static const struct {
        const char *driver, *what;
    } drivers[] = {
        { "usbfs", "a program has its interface" },
        { "usbip-host", "another host has it over the network, by usbip:" },
        { "usbback", "a guest has it by the kernel's backend:" },
    };
    char *driver = xlx__attr_link("%s/driver", dir);
    size_t i;

    if (!driver)
        return xlx__attr_failure();
    for (i = 0; i < XLX__ARRAY_SIZE(drivers); i++)
        if (!strcmp(driver, drivers[i].driver))
            break;
    free(driver);
    if (i == XLX__ARRAY_SIZE(drivers))
        return 0;
    *use_r = xlx__printf("%s %s", drivers[i].what, name);
    return *use_r ? 0 : xlx__nomem();
}

static int find_use(struct xlx__hostdev_world *world,
                    const struct xlx__hostdev_question *q,
                    const struct xlx__hostdev_node *node, char **use_r)
{
    int rc;

    switch (node->kind) {
    case XLX__HOSTDEV_BLOCK:
    case XLX__HOSTDEV_CHAR:
        rc = find_kernel(world, node, use_r);
        return rc || *use_r ? rc : find_program(world, q, node, use_r);
    case XLX__HOSTDEV_NET:
        return find_network(node, use_r);
    case XLX__HOSTDEV_INTERFACE:
    case XLX__HOSTDEV_LUN:
        break;
    }
    return 0;
}

/* After all programs were asked, so that they are named. */
static int find_taken(const struct xlx__hostdev_question *q, char **use_r)
{
    const struct xlx__hostdev_tree *tree = q->tree;
    int i, rc = 0;

    if (tree->usb)
        rc = find_driver(tree->usb, strrchr(tree->usb, '/') + 1, use_r);
    for (i = 0; !rc && !*use_r && i < tree->num; i++)
        if (tree->list[i].kind == XLX__HOSTDEV_INTERFACE)
            rc = find_driver(tree->list[i].dir, tree->list[i].name, use_r);
    return rc;
}

static int try_disks(const struct xlx__hostdev_tree *tree, char **use_r)
{
    const struct xlx__hostdev_node *node;
    int i, rc = 0;
    bool free_;

    for (i = 0; !rc && !*use_r && i < tree->num; i++) {
        node = &tree->list[i];
        if (node->kind != XLX__HOSTDEV_BLOCK ||
            xlx__attr_exists("%s/partition", node->dir))
            continue;
        rc = xlx__hostdev_try_open(node, &free_);
        if (rc || free_)
            continue;
        *use_r = xlx__printf("something on this host has %s open exclusively"
                             " (an imported ZFS pool does that, or a target)",
                             node->name);
        rc = *use_r ? 0 : xlx__nomem();
    }
    return rc;
}

/* ---- this host ---------------------------------------------------------- */

static int find_file_use(struct xlx__hostdev_world *world, const char *path,
                         char **use_r)
{
    struct xlx__file_id id;
    bool locked = false;
    int rc;

    if (!xlx__file_id_of(path, &id))
        return xlx__error(ERROR_NOTFOUND, "%s: %m", path);
    rc = xlx__block_users_find(&world->users, &id, "it", use_r);
    if (!rc && !*use_r)
        rc = find_writer(world, path, use_r);
    if (!rc && !*use_r)
        rc = xlx__image_in_use(path, &locked, NULL);
    if (rc || !locked)
        return rc;
    *use_r = xlx__printf("a QEMU or qemu-img has it open");
    return *use_r ? 0 : xlx__nomem();
}

int xlx__hostdev_host_use(struct xlx__hostdev_world *world,
                          const struct xlx__hostdev_question *q,
                          char **use_r)
{
    const struct xlx__hostdev_tree *tree = q->tree;
    int i, rc;

    rc = read_users(world);
    if (!rc)
        rc = read_files(world);
    if (rc) return rc;
    if (tree->file)
        return find_file_use(world, tree->file, use_r);
    for (i = 0; !rc && !*use_r && i < tree->num; i++)
        rc = find_use(world, q, &tree->list[i], use_r);
    if (!rc && !*use_r)
        rc = find_taken(q, use_r);
    if (!rc && !*use_r && !q->shared)
        rc = try_disks(tree, use_r);
    return rc;
}

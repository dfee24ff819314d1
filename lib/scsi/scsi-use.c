/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The users of a device, because of which a guest cannot have it: lib/hostdev
 * finds them, here also by the other paths to a disk.
 */
#include <stdlib.h>
#include <string.h>

#include "core/kernfs.h"
#include "hostdev/hostdev-use.h"
#include "scsi/scsi.h"

/* The device, as a part of sysfs; nothing of the target of another tool. */
static int read_tree(const struct xlx__scsi_pdev *p,
                     struct xlx__hostdev_tree *tree)
{
    char *dir;
    int rc;

    memset(tree, 0, sizeof(*tree));
    if (!strcmp(xlx__text(p->unit.type), "file"))
        return xlx__hostdev_tree_file(p->unit.path, tree);
    if (*xlx__text(p->unit.hctl))
        dir = xlx__printf("%s/class/scsi_device/%s/device", xlx__sysfs_dir(),
                          p->unit.hctl);
    else if (*xlx__text(p->block))
        dir = xlx__printf("%s/class/block/%s", xlx__sysfs_dir(), p->block);
    else
        return 0;
    rc = dir ? xlx__hostdev_tree_read(dir, tree) : xlx__nomem();
    free(dir);
    return rc;
}

int xlx__scsi_guest_use(struct xlx__hostdev_world *world,
                        const struct xlx__scsi_pdev *p, bool readonly,
                        char **use_r)
{
    struct xlx__hostdev_tree tree;
    struct xlx__hostdev_question q = { .tree = &tree, .readonly = readonly };
    int rc;

    rc = read_tree(p, &tree);
    if (!rc)
        rc = xlx__hostdev_guest_use(world, XLX__HOSTDEV_SCSI, &q, use_r);
    xlx__hostdev_tree_dispose(&tree);
    return rc;
}

int xlx__scsi_host_use(struct xlx__hostdev_world *world,
                       const struct xlx__scsi_pdev *p, bool shared,
                       bool patient, char **use_r)
{
    struct xlx__hostdev_tree tree;
    struct xlx__hostdev_question q = {
        .tree = &tree, .shared = shared, .patient = patient,
    };
    int rc;

    rc = read_tree(p, &tree);
    if (!rc)
        rc = xlx__hostdev_host_use(world, &q, use_r);
    xlx__hostdev_tree_dispose(&tree);
    return rc;
}

/* ---- other paths -------------------------------------------------------- */

/* Addresses of the same disk, without a multipath map over them; the device's
 * own is not among them.  free() *list_r. */
static int find_paths(const struct xlx__scsi_pdev *p,
                      struct xlx__scsi_hctl **list_r, int *num_r)
{
    char address[XLX__SCSI_HCTL_MAX], *wwid;
    struct xlx__scsi_hctl *list;
    int i, num, rc;

    *list_r = NULL;
    *num_r = 0;
    if (!*xlx__text(p->unit.wwid))
        return 0;
    rc = xlx__scsi_units(&list, &num);
    if (rc) return rc;
    for (i = 0; !rc && i < num; i++) {
        xlx__scsi_format_hctl(&list[i], address);
        wwid = xlx__attr_text("%s/class/scsi_device/%s/device/wwid",
                              xlx__sysfs_dir(), address);
        if (!wwid)
            rc = xlx__attr_failure();
        else if (!strcmp(wwid, p->unit.wwid) && strcmp(address, p->unit.hctl))
            list[(*num_r)++] = list[i];
        free(wwid);
    }
    *list_r = list;
    return rc;
}

/* A path that is offline cannot be opened, and need not be. */
static int is_offline(const char *address, bool *yes_r)
{
    char *state = xlx__attr_text("%s/class/scsi_device/%s/device/state",
                                 xlx__sysfs_dir(), address);

    if (!state)
        return xlx__attr_failure();
    *yes_r = *state && strcmp(state, "running");
    free(state);
    return 0;
}

/* ---- before it is given away -------------------------------------------- */

static int ask_guests(struct xlx__scsi_change *c, const xlx_scsi_entry *e,
                      const struct xlx__scsi_pdev *p)
{
    char *use = NULL;
    int rc;

    rc = xlx__scsi_guest_use(c->world, p, e->dev.readonly, &use);
    if (!rc && use)
        rc = xlx__error(ERROR_DEVICE_EXISTS, "pdev %s: %s", e->dev.pdev, use);
    free(use);
    return rc;
}

static int ask_host(struct xlx__scsi_change *c, const xlx_scsi_entry *e,
                    const struct xlx__scsi_pdev *p, bool shared)
{
    char *use = NULL;
    int rc;

    if (e->dev.force)
        return 0;
    rc = xlx__scsi_host_use(c->world, p, shared, true, &use);
    if (rc)
        xlx__error_prefix(rc, "pdev %s: it is not known whether this host uses"
                          " it (--force attaches it all the same)",
                          e->dev.pdev);
    else if (use)
        rc = xlx__error(ERROR_DEVICE_EXISTS, "pdev %s: this host uses it: %s; "
                        "--force attaches it all the same", e->dev.pdev, use);
    free(use);
    return rc;
}

static int ask_path(struct xlx__scsi_change *c, const xlx_scsi_entry *e,
                    const struct xlx__scsi_hctl *hctl, bool shared)
{
    char address[XLX__SCSI_HCTL_MAX];
    struct xlx__scsi_pdev p;
    bool offline = false;
    int rc;

    xlx__scsi_pdev_init(&p);
    rc = xlx__scsi_find_hctl(hctl, &p);
    if (rc == ERROR_NOTFOUND) {         /* pulled out just now */
        xlx__error_clear();
        rc = 0;
        goto out;
    }
    if (!rc)
        rc = is_offline(xlx__scsi_format_hctl(hctl, address), &offline);
    if (!rc)
        rc = ask_guests(c, e, &p);
    if (!rc)
        rc = ask_host(c, e, &p, shared || offline);

 out:
    xlx__scsi_pdev_dispose(&p);
    return rc;
}

int xlx__scsi_check_use(struct xlx__scsi_change *c, const xlx_scsi_entry *e,
                        const struct xlx__scsi_pdev *p, bool shared)
{
    struct xlx__scsi_hctl *paths = NULL;
    int i, num, rc = 0;

    if (!c->world)
        rc = xlx__hostdev_world_open(c->ctx, &c->world);
    if (rc) return rc;
    rc = ask_guests(c, e, p);
    if (rc) return rc;
    rc = ask_host(c, e, p, shared);
    if (rc) return rc;
    rc = find_paths(p, &paths, &num);
    for (i = 0; !rc && i < num; i++)
        rc = ask_path(c, e, &paths[i], shared);
    free(paths);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of this host that use a device: the users that block.c and vbd.c
 * know of disks, a loop device, a QEMU.  Last the kernel is asked: it refuses
 * to open a disk exclusively when the disk or a partition of it is claimed,
 * whoever did that.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/kernfs.h"
#include "disk/block.h"
#include "disk/image.h"
#include "scsi/scsi.h"

static int found(char **use_r, char *use)
{
    *use_r = use;
    return use ? 0 : xlx__nomem();
}

/* ---- a disk ------------------------------------------------------------- */

/* The medium of a drive need not be there, hence O_NONBLOCK. */
static int try_open(const char *path, char **use_r)
{
    int fd;

    fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    else if (errno == EBUSY)
        return found(use_r, xlx__printf("something on this host has %s open "
                                        "exclusively", path));
    else if (errno != ENOMEDIUM)
        return xlx__error(xlx__errno_rc(errno), "pdev %s: cannot open: %m",
                          path);
    return 0;
}

/* As a disk of the host's, or of a guest's. */
static int find_disk_use(xlx_ctx *ctx, const struct xlx__vbds *vbds,
                         const char *disk, bool readonly, char **use_r)
{
    int rc;

    rc = xlx__block_use(disk, use_r);
    if (rc) return rc;
    if (!*use_r)
        rc = xlx__vbds_use_disk(ctx, vbds, disk, readonly, use_r);
    return rc;
}

static int find_file_use(xlx_ctx *ctx, const struct xlx__vbds *vbds,
                         const char *path, bool readonly, char **use_r)
{
    bool locked = false;
    int rc;

    rc = xlx__block_use_file(path, use_r, NULL);
    if (rc) return rc;
    if (!*use_r)
        rc = xlx__vbds_use_file(ctx, vbds, path, readonly, use_r);
    if (rc) return rc;
    if (!*use_r)
        rc = xlx__image_in_use(path, &locked, NULL);
    if (rc) return rc;
    if (locked)
        rc = found(use_r, xlx__printf("a QEMU or qemu-img has it open"));
    return rc;
}

int xlx__scsi_host_use(xlx_ctx *ctx, const struct xlx__scsi_pdev *p,
                       const struct xlx__vbds *vbds, bool readonly,
                       bool exclusive, char **use_r)
{
    char *use = NULL;
    int rc = 0;

    if (*xlx__text(p->block))
        rc = find_disk_use(ctx, vbds, p->block, readonly, &use);
    else if (!strcmp(xlx__text(p->unit.type), "file"))
        rc = find_file_use(ctx, vbds, p->unit.path, readonly, &use);
    if (!rc && !use && exclusive && *xlx__text(p->block))
        rc = try_open(p->unit.path, &use);
    if (!rc && !use)
        rc = xlx__set_string(&use, "");
    if (rc) {
        free(use);
        return rc;
    }
    *use_r = use;
    return 0;
}

/* ---- before it is given away -------------------------------------------- */

/* Names the user of the device at that address, if it is the same one. */
static int find_path_use(struct xlx__scsi_change *c,
                         const struct xlx__scsi_pdev *p,
                         const struct xlx__scsi_hctl *hctl, bool readonly,
                         char **use_r)
{
    char address[XLX__SCSI_HCTL_MAX], *wwid;
    struct xlx__scsi_pdev other;
    bool same;
    int rc;

    wwid = xlx__attr_text("%s/class/scsi_device/%s/device/wwid",
                          xlx__sysfs_dir(),
                          xlx__scsi_format_hctl(hctl, address));
    if (!wwid)
        return xlx__nomem();
    same = !strcmp(wwid, p->unit.wwid) && strcmp(address, p->unit.hctl);
    free(wwid);
    if (!same)
        return 0;
    xlx__scsi_pdev_init(&other);
    rc = xlx__scsi_find_hctl(hctl, &other);
    if (rc == ERROR_NOTFOUND) {         /* pulled out just now */
        xlx__error_clear();
        rc = 0;
    } else if (!rc && *xlx__text(other.block)) {
        rc = find_disk_use(c->ctx, c->vbds, other.block, readonly, use_r);
    }
    xlx__scsi_pdev_dispose(&other);
    return rc;
}

/* A disk that has several paths, and no multipath map over them. */
static int find_other_use(struct xlx__scsi_change *c,
                          const struct xlx__scsi_pdev *p, bool readonly,
                          char **use_r)
{
    struct xlx__scsi_hctl *list;
    int i, num, rc;

    if (!*xlx__text(p->unit.wwid) || !*xlx__text(p->block))
        return 0;
    rc = xlx__scsi_units(&list, &num);
    if (rc) return rc;
    for (i = 0; !rc && !*use_r && i < num; i++)
        rc = find_path_use(c, p, &list[i], readonly, use_r);
    free(list);
    return rc;
}

static int read_vbds(struct xlx__scsi_change *c)
{
    struct xlx__vbds *vbds;
    int rc;

    if (c->vbds)
        return 0;
    vbds = calloc(1, sizeof(*vbds));
    if (!vbds)
        return xlx__nomem();
    rc = xlx__vbds_read(c->ctx, vbds);
    if (rc) {                           /* part of them would be too few */
        xlx__vbds_dispose(vbds);
        free(vbds);
        return rc;
    }
    c->vbds = vbds;
    return 0;
}

int xlx__scsi_check_use(struct xlx__scsi_change *c, const xlx_scsi_entry *e,
                        const struct xlx__scsi_pdev *p, bool exclusive)
{
    char *use = NULL;
    int rc;

    rc = read_vbds(c);
    if (!rc)
        rc = xlx__scsi_host_use(c->ctx, p, c->vbds, e->dev.readonly,
                                exclusive, &use);
    if (!rc && !*use) {
        free(use);
        use = NULL;
        rc = find_other_use(c, p, e->dev.readonly, &use);
    }
    if (rc) goto out;
    if (*xlx__text(use))
        rc = xlx__error(ERROR_DEVICE_EXISTS, "pdev %s: this host uses it: %s",
                        e->dev.pdev, use);

 out:
    free(use);
    return rc;
}

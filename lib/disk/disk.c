/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest disks to QEMU nodes.  Xen says which disks there are; QEMU says which
 * of its devices has which image open; the two are brought together by device
 * and inode number and by xen-disk's own name for the disk, never by a path
 * alone: paths in xenstore may be out of date, and names in QEMU too.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/number.h"
#include "disk/disk-drive.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "gen-calls.h"
#include "guest/guest.h"

static int set_unusable(xlx_disk *disk, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int set_unusable(xlx_disk *disk, const char *fmt, ...)
{
    char why[1024];
    va_list ap;

    if (disk->unusable && *disk->unusable)
        return 0;                   /* the first reason is the best */
    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    return xlx__set_string(&disk->unusable, why);
}

/* ---- names of Xen disks ------------------------------------------------- */

/* xvda, hdb3, sdaa: kind, number of the disk, number of the partition (0 for
 * the whole disk); false for any other spelling.  Names and numbers are those
 * of docs/man/xen-vbd-interface(7). */
struct vdev {
    char kind;
    unsigned int disk, partition;
};

static bool parse_vdev(const char *s, struct vdev *v)
{
    unsigned int n = 0;

    if (!strncmp(s, "xvd", 3)) {
        v->kind = 'x';
        s += 3;
    } else if (!strncmp(s, "hd", 2) || !strncmp(s, "sd", 2)) {
        v->kind = *s;
        s += 2;
    } else {
        return false;
    }
    if (!islower((unsigned char)*s))
        return false;
    for (; islower((unsigned char)*s) && n < 1000; s++)
        n = n * 26 + (unsigned int)(*s - 'a') + 1;
    v->disk = n - 1;
    v->partition = 0;
    if (!*s)
        return true;
    return xlx__parse_u32(s, 1000, &v->partition);
}

/* QEMU writes the partition always (xvda0), libxl's users never for 0. */
static bool same_vdev(const char *a, const char *b)
{
    struct vdev va, vb;

    if (!strcmp(a, b))
        return true;
    return parse_vdev(a, &va) && parse_vdev(b, &vb) && va.kind == vb.kind &&
           va.disk == vb.disk && va.partition == vb.partition;
}

/* ---- together ----------------------------------------------------------- */

/* Reads the headers as the next start of a QEMU will. */
static int look_at_chain(xlx_disk *disk)
{
    struct xlx__image_features features;
    char *data_file;
    int num, rc;

    rc = xlx__image_chain(disk->path, disk->format, &num);
    if (!rc)
        rc = xlx__image_data_file(disk->path, disk->format, &data_file);
    if (!rc) {
        free(data_file);
        rc = xlx__image_features(disk->path, disk->format, &features);
    }
    if (rc && rc != ERROR_NOMEM) {
        rc = set_unusable(disk, "%s", xlx_error_get());
        xlx__error_clear();
        return rc;
    }
    if (rc) return rc;
    if ((uint32_t)num > disk->layers)
        disk->layers = (uint32_t)num;
    return features.encrypted
        ? set_unusable(disk, "its image is encrypted: an overlay would hold "
                       "what the guest writes in the clear")
        : 0;
}

static int check_path(xlx_disk *disk, const struct xlx__drive *d)
{
    struct stat st;

    if (!strcmp(d->driver, "luks") || d->encrypted)
        return set_unusable(disk, "its image is encrypted: an overlay would "
                            "hold what the guest writes in the clear");
    if (xlx__drive_is_filtered(d))
        return set_unusable(disk, "QEMU has a filter or a job on top of it: "
                            "wait for the job to end, or remove the filter");
    if (*d->path != '/' && d->path[strcspn(d->path, ":/")] == ':')
        return set_unusable(disk, "its image \"%.200s\" is not a plain file "
                            "of this host", d->path);
    if (*d->path != '/')
        return set_unusable(disk, "QEMU was started with the path \"%.200s\", "
                            "relative to a directory that QEMU does not "
                            "tell: start it with an absolute path", d->path);
    if (stat(d->path, &st))
        return set_unusable(disk, "QEMU's image is not to be found by its "
                            "name: it was renamed, removed, or QEMU runs in "
                            "a chroot");
    disk->allocated = (uint64_t)st.st_blocks * 512;
    if (!S_ISREG(st.st_mode) && strcmp(d->format, "raw"))
        return set_unusable(disk, "it is an image inside a block device");
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return set_unusable(disk, "%s is neither a file nor a block device",
                            d->path);
    return look_at_chain(disk);
}

static int from_drive(xlx_disk *disk, const struct xlx__drive *d)
{
    int rc;

    disk->backend = XLX_DISK_BACKEND_QEMU;
    disk->virtual_size = d->virtual_size;
    disk->readonly = disk->readonly || d->readonly;
    disk->layers = (uint32_t)d->num_below + 1;
    rc = xlx__set_string(&disk->node, d->node);
    if (rc) return rc;
    rc = xlx__set_string(&disk->path, d->path);
    if (rc) return rc;
    rc = xlx__set_string(&disk->format, d->format);
    if (rc) return rc;
    rc = xlx__set_string(&disk->detect_zeroes, d->detect_zeroes);
    if (rc) return rc;
    rc = xlx__set_string(&disk->bitmap, d->bitmap);
    if (rc) return rc;
    return check_path(disk, d);
}

static bool shares_image(const struct xlx__drive *d, const char *path)
{
    int i;

    if (xlx__image_same(d->path, path))
        return true;
    for (i = 0; i < d->num_below; i++)
        if (xlx__image_same(d->below[i], path))
            return true;
    return false;
}

int xlx__disk_check_image(xlx_disk *disk, const char *xen_path,
                          const char *xen_format)
{
    const char *format = *xen_format ? xen_format : disk->format;

    if (*xlx__text(disk->unusable))
        return 0;
    if (xlx__image_same(disk->path, xen_path)) {
        if (strcmp(format, disk->format))
            return set_unusable(disk, "QEMU has %s open as %s, but Xen says "
                                "%s", disk->path, disk->format, format);
        return 0;
    }
    if (xlx__image_leads_to(disk->path, disk->format, xen_path) ||
        xlx__image_leads_to(xen_path, format, disk->path))
        return 0;                   /* another tool moved it along the chain */
    return set_unusable(disk, "QEMU says that it has %s open, but Xen says "
                        "%s, and neither is based on the other: look which "
                        "is right, and shut the guest down", disk->path,
                        xen_path);
}

/* The xen-disk of this name; and is the image also open elsewhere, as the
 * emulated disk that the guest's firmware starts from? */
static int match_drive(xlx_disk *disk, const struct xlx__drives *drives)
{
    const struct xlx__drive *pv = NULL, *emulated = NULL;
    int i, rc;

    for (i = 0; i < drives->num; i++) {
        const struct xlx__drive *d = &drives->v[i];

        if (d->vdev && same_vdev(d->vdev, disk->vdev))
            pv = d;
    }
    for (i = 0; i < drives->num; i++) {
        const struct xlx__drive *d = &drives->v[i];

        if (d != pv && shares_image(d, pv ? pv->path : disk->path))
            emulated = d;
    }
    if (pv) {
        rc = from_drive(disk, pv);
        if (rc) return rc;
        if (emulated && !emulated->readonly)
            return set_unusable(disk, "QEMU has it open twice, for the "
                                "emulated and for the Xen disk: wait until "
                                "the guest's Xen driver has taken over, or "
                                "shut the guest down");
        return 0;
    }
    if (!emulated)
        return set_unusable(disk, "the guest's QEMU does not have it open");
    rc = from_drive(disk, emulated);
    if (rc) return rc;
    return disk->cdrom ? 0
        : set_unusable(disk, "it is served as an emulated disk alone, and "
                       "the guest may change to the Xen disk at any time: "
                       "shut the guest down");
}

static const char *format_name(libxl_disk_format format)
{
    switch (format) {
    case LIBXL_DISK_FORMAT_QCOW: return "qcow";
    case LIBXL_DISK_FORMAT_QCOW2: return "qcow2";
    case LIBXL_DISK_FORMAT_VHD: return "vpc";   /* QEMU's name for it */
    case LIBXL_DISK_FORMAT_QED: return "qed";
    case LIBXL_DISK_FORMAT_EMPTY: return "";
    default: return "raw";
    }
}

static int from_libxl(const libxl_device_disk *xl, xlx_disk *disk)
{
    int rc;

    disk->readonly = !xl->readwrite;
    disk->cdrom = xl->is_cdrom;
    rc = xlx__set_string(&disk->vdev, xl->vdev);
    if (rc) return rc;
    rc = xlx__set_string(&disk->path, xl->pdev_path ? xl->pdev_path : "");
    if (rc) return rc;
    return xlx__set_string(&disk->format, format_name(xl->format));
}

/* The image that QEMU names is the one that Xen names, or continues it. */
static int match_xen(const libxl_device_disk *xl, xlx_disk *disk,
                     const struct xlx__drives *drives)
{
    bool told = xl->format != LIBXL_DISK_FORMAT_UNKNOWN;
    int rc;

    rc = match_drive(disk, drives);
    if (rc || disk->backend != XLX_DISK_BACKEND_QEMU || !xl->pdev_path ||
        !*xl->pdev_path)
        return rc;
    return xlx__disk_check_image(disk, xl->pdev_path,
                                 told ? format_name(xl->format) : "");
}

static int of_domain(const libxl_device_disk *xl,
                     const struct xlx__drives *drives, bool qemu,
                     xlx_disk *disk)
{
    int rc;

    rc = from_libxl(xl, disk);
    if (rc) return rc;
    if (xl->backend_domid) {
        disk->backend = XLX_DISK_BACKEND_REMOTE;
        return set_unusable(disk, "a driver domain serves it, whose QEMU "
                            "cannot be reached from here");
    }
    switch (xl->backend) {
    case LIBXL_DISK_BACKEND_PHY:
        disk->backend = XLX_DISK_BACKEND_PHY;
        return set_unusable(disk, "the kernel serves it (phy), not QEMU: "
                            "snapshot the volume below it, or configure it "
                            "with backendtype=qdisk and use --overlay-dir "
                            "DIR, a directory that outlasts a reboot");
    case LIBXL_DISK_BACKEND_TAP:
        disk->backend = XLX_DISK_BACKEND_TAP;
        return set_unusable(disk, "a tapdisk serves it, not QEMU: configure "
                            "it with backendtype=qdisk");
    case LIBXL_DISK_BACKEND_QDISK:
        if (!qemu) {
            disk->backend = XLX_DISK_BACKEND_REMOTE;
            return set_unusable(disk, "the domain has no QEMU with a "
                                "monitor on this host");
        }
        return match_xen(xl, disk, drives);
    default:
        return set_unusable(disk, "it is not known what serves it");
    }
}

static int alloc_disks(xlx_disks *list, int num)
{
    int i;

    list->disks = calloc(num + 1, sizeof(*list->disks));
    if (!list->disks)
        return xlx__nomem();
    for (i = 0; i < num; i++)
        xlx_disk_init(&list->disks[i]);
    list->num_disks = num;
    return 0;
}

static int list_domain(xlx_ctx *ctx, const xlx_guest *guest,
                       struct xlx__qmp *qmp, xlx_disks *list)
{
    struct xlx__drives drives = { NULL, 0 };
    libxl_device_disk *disks = NULL;
    libxl_ctx *xl;
    int i, num = 0, rc;

    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc) return rc;
    disks = libxl_device_disk_list(xl, guest->domid, &num);
    rc = alloc_disks(list, num);
    if (rc) goto out;
    if (qmp) {
        rc = xlx__drives_ask(qmp, true, &drives);
        if (rc) goto out;
    }
    for (i = 0; i < num; i++) {
        rc = of_domain(&disks[i], &drives, qmp != NULL, &list->disks[i]);
        if (rc) goto out;
    }

 out:
    xlx__drives_dispose(&drives);
    libxl_device_disk_list_free(disks, num);
    return rc;
}

/* Two devices that write to one image have each a view of its tables of their
 * own: a snapshot through one is overwritten through the other. */
static int check_shared(xlx_disk *disk, const struct xlx__drives *drives,
                        int self)
{
    int i, rc;

    for (i = 0; i < drives->num; i++) {
        const struct xlx__drive *d = &drives->v[i];

        if (i == self || d->readonly || !shares_image(d, disk->path))
            continue;
        rc = set_unusable(disk, "QEMU has its image open twice, also for "
                                "another of its devices");
        if (rc) return rc;
    }
    return 0;
}

static int list_qemu(struct xlx__qmp *qmp, xlx_disks *list)
{
    struct xlx__drives drives = { NULL, 0 };
    int i, rc;

    rc = xlx__drives_ask(qmp, false, &drives);
    if (rc) goto out;
    rc = alloc_disks(list, drives.num);
    if (rc) goto out;
    for (i = 0; i < drives.num; i++) {
        rc = xlx__set_string(&list->disks[i].vdev, drives.v[i].name);
        if (rc) goto out;
        rc = from_drive(&list->disks[i], &drives.v[i]);
        if (rc) goto out;
        rc = check_shared(&list->disks[i], &drives, i);
        if (rc) goto out;
    }

 out:
    xlx__drives_dispose(&drives);
    return rc;
}

/* ---- a guest that is shut down ------------------------------------------ */

static int look_at_file(xlx_ctx *ctx, xlx_disk *disk)
{
    struct stat st;
    int rc;

    disk->backend = XLX_DISK_BACKEND_FILE;
    if (!*disk->path || disk->cdrom)
        return 0;
    if (*disk->path != '/')
        return set_unusable(disk, "its path is not absolute");
    if (stat(disk->path, &st))
        return xlx__error(xlx__errno_rc(errno), "%s: %s: %m", disk->vdev,
                          disk->path);
    if (!S_ISREG(st.st_mode))
        return set_unusable(disk, "it is not a file: snapshot the volume "
                            "below it");
    rc = look_at_chain(disk);
    if (rc || *xlx__text(disk->unusable)) return rc;
    /* as qemu-img info says it, without a process for each disk */
    disk->allocated = (uint64_t)st.st_blocks * 512;
    return xlx__image_size(ctx, disk->path, disk->format,
                           &disk->virtual_size);
}

static int list_config(xlx_ctx *ctx, const xlx_guest *guest,
                       xlx_disks *list)
{
    libxl_device_disk *disks;
    int i, num, rc;

    rc = xlx__guest_config_disks(ctx, guest->config_file, &disks, &num);
    if (rc) return rc;
    rc = alloc_disks(list, num);
    for (i = 0; !rc && i < num; i++) {
        rc = from_libxl(&disks[i], &list->disks[i]);
        if (!rc)
            rc = look_at_file(ctx, &list->disks[i]);
    }
    libxl_device_disk_list_free(disks, num);
    return rc;
}

/* ---- calls -------------------------------------------------------------- */

int xlx__disk_connect(xlx_ctx *ctx, const xlx_guest *guest,
                      struct xlx__qmp **qmp_r)
{
    int rc;

    *qmp_r = NULL;
    if (!xlx__guest_running(guest))
        return 0;
    rc = xlx__qmp_open(ctx, guest, qmp_r);
    if (rc == ERROR_NOTFOUND && guest->domid != XLX_DOMID_NONE) {
        xlx__error_clear();
        return 0;
    }
    return rc;
}

int xlx__disk_list_with(xlx_ctx *ctx, const xlx_guest *guest,
                        struct xlx__qmp *qmp, xlx_disks *list)
{
    if (guest->domid != XLX_DOMID_NONE)
        return list_domain(ctx, guest, qmp, list);
    if (qmp)
        return list_qemu(qmp, list);
    if (guest->config_file && *guest->config_file)
        return list_config(ctx, guest, list);
    return xlx__error(ERROR_INVAL, "the guest is shut down: use --config FILE "
                      "to tell its disks");
}

int xlx__disk_list(xlx_ctx *ctx, const xlx_guest *guest, xlx_disks *list)
{
    struct xlx__qmp *qmp;
    int rc;

    rc = xlx__disk_connect(ctx, guest, &qmp);
    if (rc) return rc;
    rc = xlx__disk_list_with(ctx, guest, qmp, list);
    xlx__qmp_close(qmp);
    return rc;
}

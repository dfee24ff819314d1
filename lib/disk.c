/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest disks to QEMU nodes.  Xen says which disks there are; QEMU says which
 * of its devices has which image open; the two are brought together by device
 * and inode number and by xen-disk's own name for the disk, never by a path
 * alone: paths in xenstore may be out of date, and names in QEMU too.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "disk.h"
#include "gen-calls.h"
#include "guest.h"
#include "image.h"

#define MAX_CHAIN 256

static int set_unusable(xlx_disk *disk, const char *why)
{
    if (disk->unusable && *disk->unusable)
        return 0;                   /* the first reason is the best */
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
    char *end;

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
    if (!isdigit((unsigned char)*s))
        return false;
    v->partition = (unsigned int)strtoul(s, &end, 10);
    return !*end;
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

/* ---- what QEMU says ----------------------------------------------------- */

/* One device of QEMU's with a medium: an entry of query-block. */
struct drive {
    char *name;                     /* drive id, or of its device */
    char *qdev;
    char *vdev;                     /* of a xen-disk, NULL otherwise */
    char *node, *driver, *path, *format;
    char *base;                     /* deepest image of the chain */
    bool readonly;
    uint64_t virtual_size;
};

struct drives {
    struct drive *v;
    int num;
};

static void drives_dispose(struct drives *d)
{
    int i;

    for (i = 0; i < d->num; i++) {
        free(d->v[i].name);
        free(d->v[i].qdev);
        free(d->v[i].vdev);
        free(d->v[i].node);
        free(d->v[i].driver);
        free(d->v[i].path);
        free(d->v[i].format);
        free(d->v[i].base);
    }
    free(d->v);
    d->v = NULL;
    d->num = 0;
}

/* The string, or "" when there is no such member. */
static int get_string(const struct xlx__json *obj, const char *key, char **s)
{
    const struct xlx__json *v = xlx__json_member(obj, key);
    const char *text = "";
    int rc;

    if (v) {
        rc = xlx__json_string(v, &text);
        if (rc) return rc;
    }
    return xlx__set_string(s, text);
}

/* drive id; else "ID" of /machine/peripheral/ID/..., else the whole path */
static int drive_name(struct drive *d)
{
    static const char user[] = "/machine/peripheral/";
    const char *p = d->qdev;
    char *name;

    if (*d->name)
        return 0;
    if (!strncmp(p, user, sizeof(user) - 1))
        p += sizeof(user) - 1;
    name = *p == '/' ? strdup(p) : strndup(p, strcspn(p, "/"));
    if (!name)
        return xlx__error(ERROR_NOMEM, "out of memory");
    free(d->name);
    d->name = name;
    return 0;
}

static int read_drive(const struct xlx__json *entry,
                      const struct xlx__json *inserted, struct drive *d)
{
    const struct xlx__json *image, *below;
    int64_t size;
    int i, rc;

    rc = get_string(entry, "device", &d->name);
    if (rc) return rc;
    rc = get_string(entry, "qdev", &d->qdev);
    if (rc) return rc;
    rc = drive_name(d);
    if (rc) return rc;
    rc = get_string(inserted, "node-name", &d->node);
    if (rc) return rc;
    rc = get_string(inserted, "drv", &d->driver);
    if (rc) return rc;
    rc = xlx__json_member_bool(inserted, "ro", &d->readonly);
    if (rc) return rc;
    image = xlx__json_member(inserted, "image");
    rc = get_string(image, "filename", &d->path);
    if (rc) return rc;
    rc = get_string(image, "format", &d->format);
    if (rc) return rc;
    rc = xlx__json_member_int64(image, "virtual-size", &size);
    if (rc) return rc;
    d->virtual_size = (uint64_t)size;
    for (i = 0; i < MAX_CHAIN; i++) {
        below = xlx__json_member(image, "backing-image");
        if (!below)
            break;
        image = below;
    }
    return get_string(image, "filename", &d->base);
}

/* xen-disk calls its disk by the guest's name for it; another device has no
 * such property, and that is no error. */
static int ask_vdev(struct xlx__qmp *qmp, struct drive *d)
{
    const struct xlx__json *result;
    struct xlx__json_out *args;
    const char *text;
    int rc;

    if (*d->qdev != '/')
        return 0;
    args = xlx__json_out_new(false);
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "path", d->qdev);
    xlx__json_out_kv(args, "property", "vdev");
    xlx__json_out_end(args);
    rc = xlx__qmp_call(qmp, "qom-get", args, &result);
    if (rc == ERROR_QMP_GENERIC_ERROR || rc == ERROR_QMP_DEVICE_NOT_FOUND) {
        xlx__error_clear();
        return 0;
    }
    if (rc) return rc;
    rc = xlx__json_string(result, &text);
    if (rc) return rc;
    return xlx__set_string(&d->vdev, text);
}

static int ask_drives(struct xlx__qmp *qmp, bool xen, struct drives *drives)
{
    const struct xlx__json *result, *entry, *inserted;
    int i, rc;

    rc = xlx__qmp_call(qmp, "query-block", NULL, &result);
    if (rc) return rc;
    rc = xlx__json_expect(result, XLX__JSON_ARRAY);
    if (rc) return rc;
    drives->v = calloc(xlx__json_count(result) + 1, sizeof(*drives->v));
    if (!drives->v)
        return xlx__error(ERROR_NOMEM, "out of memory");
    for (entry = xlx__json_first(result); entry;
         entry = xlx__json_next(entry)) {
        inserted = xlx__json_member(entry, "inserted");
        if (!inserted)
            continue;               /* an empty drive */
        rc = read_drive(entry, inserted, &drives->v[drives->num++]);
        if (rc) return rc;
    }
    /* the answer is gone with the next call: ask only now */
    for (i = 0; xen && i < drives->num; i++) {
        rc = ask_vdev(qmp, &drives->v[i]);
        if (rc) return rc;
    }
    return 0;
}

/* ---- together ----------------------------------------------------------- */

/* A node that changes what passes through it, or watches it, and holds no
 * image of its own */
static bool is_filter(const char *driver)
{
    static const char *const filters[] = {
        "throttle", "copy-on-read", "copy-before-write", "compress",
        "preallocate", "quorum", "blkdebug", "blkverify", "blklogwrites",
    };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(filters); i++)
        if (!strcmp(driver, filters[i]))
            return true;
    return false;
}

static int from_drive(xlx_disk *disk, const struct drive *d)
{
    struct stat st;
    int rc;

    disk->backend = XLX_DISK_BACKEND_QEMU;
    disk->virtual_size = d->virtual_size;
    disk->readonly = disk->readonly || d->readonly;
    rc = xlx__set_string(&disk->node, d->node);
    if (rc) return rc;
    rc = xlx__set_string(&disk->path, d->path);
    if (rc) return rc;
    rc = xlx__set_string(&disk->format, d->format);
    if (rc) return rc;
    if (strcmp(d->driver, d->format) || is_filter(d->driver))
        return set_unusable(disk, "QEMU has a filter or a job on top of it: "
                            "wait for the job to end, or remove the filter");
    if (*d->path != '/')
        return set_unusable(disk, "its image is not a file of this host");
    if (stat(d->path, &st))
        return set_unusable(disk, "QEMU's image is not to be found by its "
                            "name: it was renamed, removed, or QEMU runs in "
                            "a chroot");
    disk->allocated = (uint64_t)st.st_blocks * 512;
    if (!S_ISREG(st.st_mode) && strcmp(d->format, "raw"))
        return set_unusable(disk, "it is an image inside a block device");
    return 0;
}

static bool shares_image(const struct drive *d, const char *path)
{
    return xlx__image_same(d->path, path) || xlx__image_same(d->base, path);
}

/* The xen-disk of this name; and is the image also open elsewhere, as the
 * emulated disk that the guest's firmware starts from? */
static int match_drive(xlx_disk *disk, const struct drives *drives)
{
    const struct drive *pv = NULL, *emulated = NULL;
    int i, rc;

    for (i = 0; i < drives->num; i++) {
        const struct drive *d = &drives->v[i];

        if (d->vdev && same_vdev(d->vdev, disk->vdev))
            pv = d;
    }
    for (i = 0; i < drives->num; i++) {
        const struct drive *d = &drives->v[i];

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

static int of_domain(const libxl_device_disk *xl, const struct drives *drives,
                     bool qemu, xlx_disk *disk)
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
                            "with backendtype=qdisk");
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
        return match_drive(disk, drives);
    default:
        return set_unusable(disk, "it is not known what serves it");
    }
}

static int alloc_disks(xlx_disks *list, int num)
{
    int i;

    list->disks = calloc(num + 1, sizeof(*list->disks));
    if (!list->disks)
        return xlx__error(ERROR_NOMEM, "out of memory");
    for (i = 0; i < num; i++)
        xlx_disk_init(&list->disks[i]);
    list->num_disks = num;
    return 0;
}

static int list_domain(xlx_ctx *ctx, const xlx_guest *guest,
                       struct xlx__qmp *qmp, xlx_disks *list)
{
    struct drives drives = { NULL, 0 };
    libxl_device_disk *disks = NULL;
    libxl_ctx *xl;
    int i, num = 0, rc;

    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc) return rc;
    disks = libxl_device_disk_list(xl, guest->domid, &num);
    rc = alloc_disks(list, num);
    if (rc) goto out;
    if (qmp) {
        rc = ask_drives(qmp, true, &drives);
        if (rc) goto out;
    }
    for (i = 0; i < num; i++) {
        rc = of_domain(&disks[i], &drives, qmp != NULL, &list->disks[i]);
        if (rc) goto out;
    }

 out:
    drives_dispose(&drives);
    libxl_device_disk_list_free(disks, num);
    return rc;
}

/* Two devices that write to one image have each a view of its tables of their
 * own: a snapshot through one is overwritten through the other. */
static int check_shared(xlx_disk *disk, const struct drives *drives, int self)
{
    int i, rc;

    for (i = 0; i < drives->num; i++) {
        const struct drive *d = &drives->v[i];

        if (i == self || d->readonly || !shares_image(d, disk->path))
            continue;
        rc = set_unusable(disk, "QEMU has its image open twice, for another "
                          "of its devices, too");
        if (rc) return rc;
    }
    return 0;
}

static int list_qemu(struct xlx__qmp *qmp, xlx_disks *list)
{
    struct drives drives = { NULL, 0 };
    int i, rc;

    rc = ask_drives(qmp, false, &drives);
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
    drives_dispose(&drives);
    return rc;
}

/* ---- a guest that is shut down ------------------------------------------ */

static int look_at_file(xlx_ctx *ctx, xlx_disk *disk)
{
    struct xlx__image image;
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
    rc = xlx__image_info(ctx, disk->path, disk->format, &image);
    if (rc) return rc;
    disk->virtual_size = image.virtual_size;
    disk->allocated = image.allocated;
    xlx__image_dispose(&image);
    return 0;
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
    return xlx__error(ERROR_INVAL, "the guest is shut down: say --config "
                      "FILE to tell its disks");
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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The target of the Linux kernel (LIO) behind a guest's SCSI device, set up in
 * configfs, as the kernel's Documentation/target and the fabric xen-pvscsi of
 * drivers/xen/xen-scsiback.c have it:
 *
 *   target/core/KIND_N/xlx-UUID-H.C.T.L       the backstore
 *   target/xen-pvscsi/naa.X/tpgt_1/nexus      one a guest, adapter and target
 *   target/xen-pvscsi/naa.X/tpgt_1/lun/lun_L/backstore -> the backstore
 *
 * All names follow from the guest's UUID and the vdev.  So a leftover tells
 * whose it was, a step done twice does nothing the second time, and what has
 * another name is not ours.  The backstore is made first and removed last: who
 * looks through the backstores finds everything.
 *
 * A target has one TPG and its LUNs are the guest's LUNs, because the kernel
 * looks no further than the first, and answers a scan of the guest's
 * with the LUNs of the TPG.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/child.h"
#include "core/kernfs.h"
#include "core/store.h"
#include "scsi/scsi.h"

/* Number of our directory in target/core for each kind, "xlx" in ASCII: other
 * tools count from 0 and look no further than 1048576. */
#define HBA 0x786c78u
#define PREFIX "xlx-"
#define LINK "backstore"
#define MODPROBE_MS 30000
#define BUSY_MS 5000

/* ---- names -------------------------------------------------------------- */

/* FNV-1a, continued from value. */
#define HASH_START UINT64_C(0xcbf29ce484222325)

static uint64_t hash(uint64_t value, const void *data, size_t len)
{
    const unsigned char *byte = data;

    for (; len; len--)
        value = (value ^ *byte++) * UINT64_C(0x100000001b3);
    return value;
}

/* The name of the guest and one target of its adapter: an identifier of type
 * 3, which is assigned locally (SPC-4, 7.8.6.6.5). */
static uint64_t target_wwn(const libxl_uuid *uuid,
                           const struct xlx__scsi_hctl *vdev)
{
    char place[32];
    uint64_t value;

    snprintf(place, sizeof(place), "%u:%u", vdev->host, vdev->target);
    value = hash(HASH_START, uuid->uuid, sizeof(uuid->uuid));
    value = hash(value, place, strlen(place));
    return (value & UINT64_C(0x0fffffffffffffff)) |
           UINT64_C(0x3000000000000000);
}

static const char *kind_name(xlx_scsi_backstore kind)
{
    switch (kind) {
    case XLX_SCSI_BACKSTORE_PSCSI:  return "pscsi";
    case XLX_SCSI_BACKSTORE_IBLOCK: return "iblock";
    default:                         return "fileio";
    }
}

int xlx__scsi_target_name(const libxl_uuid *uuid,
                          const struct xlx__scsi_hctl *vdev,
                          xlx_scsi_entry *entry)
{
    free(entry->backstore);
    free(entry->target);
    entry->backstore = xlx__printf("%s_%u/" PREFIX LIBXL_UUID_FMT
                                   "-%u.%u.%u.%" PRIu64,
                                   kind_name(entry->dev.backstore), HBA,
                                   LIBXL_UUID_BYTES(*uuid), vdev->host,
                                   vdev->channel, vdev->target, vdev->lun);
    entry->target = xlx__printf("naa.%016" PRIx64, target_wwn(uuid, vdev));
    entry->lun = (uint32_t)vdev->lun;
    if (!entry->backstore || !entry->target)
        return xlx__nomem();
    return 0;
}

/* Guest and vdev out of xlx-UUID-H.C.T.L; false for a name of another. */
static bool parse_name(const char *name, libxl_uuid *uuid,
                       struct xlx__scsi_hctl *vdev)
{
    char text[LIBXL_UUID_FMTLEN + 1], address[XLX__SCSI_HCTL_MAX], *p;

    if (strncmp(name, PREFIX, strlen(PREFIX)))
        return false;
    name += strlen(PREFIX);
    if (strlen(name) < LIBXL_UUID_FMTLEN + 2 ||
        name[LIBXL_UUID_FMTLEN] != '-' ||
        strlen(name) >= LIBXL_UUID_FMTLEN + sizeof(address))
        return false;
    snprintf(text, sizeof(text), "%.*s", LIBXL_UUID_FMTLEN, name);
    if (libxl_uuid_from_string(uuid, text))
        return false;
    snprintf(address, sizeof(address), "%s", name + LIBXL_UUID_FMTLEN + 1);
    if (strchr(address, ':'))
        return false;
    for (p = address; (p = strchr(p, '.')); )
        *p = ':';
    return xlx__scsi_parse_hctl(address, vdev);
}

/* ---- directories
 * ------------------------------------------------------------ */

static char *core_path(const char *backstore)
{
    return xlx__printf("%s/target/core/%s", xlx__configfs_dir(), backstore);
}

static char *tpg_path(const xlx_scsi_entry *entry)
{
    return xlx__printf("%s/target/xen-pvscsi/%s/tpgt_1", xlx__configfs_dir(),
                       entry->target);
}

static int make(const char *path)
{
    if (!path)
        return xlx__nomem();
    if (!mkdir(path, 0755) || errno == EEXIST)
        return 0;
    return xlx__error(xlx__errno_rc(errno), "%s: the kernel does not make "
                      "it: %m", path);
}

/* Makes path and the directory above it, which another command may remove at
 * the very moment, being done with its own in there. */
static int make_both(const char *path)
{
    char *above = NULL;
    int i, rc;

    rc = xlx__set_string(&above, path);
    if (rc) return rc;
    *strrchr(above, '/') = '\0';
    for (i = 0; i < 10; i++) {
        rc = make(above);
        if (!rc)
            rc = make(path);
        if (rc != ERROR_NOTFOUND)
            break;
    }
    free(above);
    return rc;
}

/* Removes it if it is there; *left_r: somebody still needs it. */
static int drop(const char *path, bool *left_r)
{
    *left_r = false;
    if (!rmdir(path) || errno == ENOENT)
        return 0;
    if (errno == EBUSY || errno == ENOTEMPTY) {
        *left_r = true;
        return 0;
    }
    return xlx__error(ERROR_FAIL, "%s: the kernel does not remove it: %m",
                      path);
}

/* ---- modules ------------------------------------------------------------ */

static int load(xlx_ctx *ctx, const char *module)
{
    const char *argv[] = { "modprobe", module, NULL };
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = MODPROBE_MS, .max_output = 4096,
    };
    int rc;

    rc = xlx__child_run(ctx, &child, NULL, NULL);
    if (rc)
        xlx__error_prefix(ERROR_NOT_READY, "this host's kernel lacks a "
                          "module that SCSI devices need");
    return rc ? ERROR_NOT_READY : 0;
}

int xlx__scsi_target_modules(xlx_ctx *ctx, xlx_scsi_backstore kind)
{
    const char *configfs = xlx__configfs_dir(), *module;
    char *fabric;
    int rc;

    module = kind == XLX_SCSI_BACKSTORE_PSCSI    ? "target_core_pscsi"
             : kind == XLX_SCSI_BACKSTORE_IBLOCK ? "target_core_iblock"
             : kind == XLX_SCSI_BACKSTORE_FILEIO ? "target_core_file" : NULL;
    if (!xlx__attr_exists("%s/target", configfs)) {
        rc = load(ctx, "target_core_mod");
        if (rc) return rc;
        if (!xlx__attr_exists("%s/target", configfs))
            return xlx__error(ERROR_NOT_READY, "%s/target is not there: "
                              "mount configfs", configfs);
    }
    if (module && !xlx__attr_exists("%s/module/%s", xlx__sysfs_dir(),
                                    module)) {
        rc = load(ctx, module);
        if (rc) return rc;
    }
    if (!xlx__attr_exists("%s/bus/xen-backend/drivers/vscsi",
                          xlx__sysfs_dir())) {
        rc = load(ctx, "xen-scsiback");
        if (rc) return rc;
    }
    fabric = xlx__printf("%s/target/xen-pvscsi", configfs);
    rc = make(fabric);
    free(fabric);
    return rc;
}

/* ---- backstore ---------------------------------------------------------- */

static char *control_text(const xlx_scsi_entry *entry,
                          const struct xlx__scsi_pdev *p)
{
    switch (entry->dev.backstore) {
    case XLX_SCSI_BACKSTORE_PSCSI:
        return xlx__printf("scsi_host_id=%u,scsi_channel_id=%u,"
                           "scsi_target_id=%u,scsi_lun_id=%" PRIu64,
                           p->hctl.host, p->hctl.channel, p->hctl.target,
                           p->hctl.lun);
    case XLX_SCSI_BACKSTORE_IBLOCK:
        return xlx__printf("udev_path=%s,readonly=%d", p->unit.path,
                           entry->dev.readonly);
    default:
        return xlx__printf("fd_dev_name=%s,fd_dev_size=%" PRIu64,
                           p->unit.path, p->size);
    }
}

/* A serial number that stays the same: the kernel makes up a random one. */
static int set_serial(const char *path, const xlx_scsi_entry *entry)
{
    const char *name = strchr(entry->backstore, '/') + 1;
    char serial[24];

    if (entry->dev.backstore == XLX_SCSI_BACKSTORE_PSCSI)
        return 0;                       /* the device has its own */
    snprintf(serial, sizeof(serial), "%016" PRIx64,
             hash(HASH_START, name, strlen(name)));
    return xlx__attr_write(serial, "%s/wwn/vpd_unit_serial", path);
}

static int configure(const char *path, const xlx_scsi_entry *entry,
                     const struct xlx__scsi_pdev *p)
{
    char *control = control_text(entry, p);
    int rc;

    if (!control)
        return xlx__nomem();
    rc = xlx__attr_write(control, "%s/control", path);
    if (rc) goto out;
    rc = xlx__attr_write(p->unit.path, "%s/udev_path", path);
    if (rc) goto out;
    rc = xlx__attr_write("1", "%s/enable", path);
    if (rc) {
        xlx__error_prefix(rc, "pdev %s: is it in use, or without a medium",
                          p->unit.path);
        goto out;
    }
    rc = set_serial(path, entry);

 out:
    free(control);
    return rc;
}

/* The device that a backstore in use was made for must be this one: who shared
 * one that is gone from the guest that gave it its name still uses it. */
static int check_same(const char *path, const struct xlx__scsi_pdev *p)
{
    char *is = xlx__attr_text("%s/udev_path", path);
    int rc = 0;

    if (!is)
        return xlx__nomem();
    if (strcmp(is, p->unit.path))
        rc = xlx__error(ERROR_DEVICE_EXISTS, "pdev %s: another guest, which "
                        "shares %s, uses the backstore of that name: take "
                        "another vdev, or the same pdev", p->unit.path, is);
    free(is);
    return rc;
}

static int make_backstore(const xlx_scsi_entry *entry,
                          const struct xlx__scsi_pdev *p)
{
    char *path = core_path(entry->backstore);
    bool left = false;
    int rc;

    if (!path)
        return xlx__nomem();
    if (xlx__attr_exists("%s", path)) {
        /* shared with another guest, or what a killed command left half
         * done: the latter nobody links to, and it goes */
        rc = drop(path, &left);
        if (!rc && left)
            rc = check_same(path, p);
        if (rc || left) goto out;
    }
    rc = make_both(path);
    if (rc) goto out;
    xlx__fault("scsi-attach.backstore-made");
    rc = configure(path, entry, p);

 out:
    free(path);
    return rc;
}

static int remove_backstore(const char *backstore)
{
    char *path;
    bool left;
    int rc;

    if (!*xlx__text(backstore))
        return 0;
    path = core_path(backstore);
    if (!path)
        return xlx__nomem();
    rc = drop(path, &left);
    if (!rc && !left) {
        xlx__fault("scsi-detach.backstore");
        *strrchr(path, '/') = '\0';
        rc = drop(path, &left);
    }
    free(path);
    return rc;
}

/* ---- target ------------------------------------------------------------- */

/* The initiator's name is never seen by anybody, but must be of the same
 * family as the target's. */
static int set_nexus(const char *tpg, const xlx_scsi_entry *entry)
{
    char *name = NULL, *now = NULL, *last;
    int rc;

    now = xlx__attr_text("%s/nexus", tpg);  /* unreadable when there is none */
    rc = xlx__set_string(&name, entry->target);
    if (!rc && !now)
        rc = xlx__nomem();
    if (rc || *now)
        goto out;
    last = &name[strlen(name) - 1];
    *last = *last == '0' ? '1' : '0';
    rc = xlx__attr_write(name, "%s/nexus", tpg);

 out:
    free(now);
    free(name);
    return rc;
}

/* The name of the backstore that lun/lun_L leads to; NULL when memory is
 * short. */
static char *linked(const char *lun)
{
    return xlx__attr_link("%s/" LINK, lun);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int link_lun(const char *lun, const xlx_scsi_entry *entry)
{
    char *to = core_path(entry->backstore), *path = NULL, *is = NULL;
    int rc;

    path = xlx__printf("%s/" LINK, lun);
    is = linked(lun);
    if (!to || !path || !is) {
        rc = xlx__nomem();
        goto out;
    }
    rc = 0;
    if (!strcmp(is, last_part(entry->backstore)))
        goto out;
    if (symlink(to, path))
        rc = xlx__error(ERROR_FAIL, "%s: the kernel does not link it to %s: "
                        "%m", path, to);

 out:
    free(is);
    free(path);
    free(to);
    return rc;
}

int xlx__scsi_target_make(xlx_ctx *ctx, const xlx_scsi_entry *entry,
                          const struct xlx__scsi_pdev *p)
{
    char *tpg, *lun = NULL;
    int rc;

    rc = xlx__scsi_target_modules(ctx, entry->dev.backstore);
    if (rc) return rc;
    if (entry->dev.backstore == XLX_SCSI_BACKSTORE_TARGET)
        return xlx__scsi_target_check(entry);
    rc = make_backstore(entry, p);
    if (rc) return rc;
    xlx__fault("scsi-attach.backstore");

    tpg = tpg_path(entry);
    lun = tpg ? xlx__printf("%s/lun/lun_%u", tpg, entry->lun) : NULL;
    rc = lun ? make_both(tpg) : xlx__nomem();
    if (rc) goto out;
    rc = set_nexus(tpg, entry);
    if (rc) goto out;
    rc = make(lun);
    if (rc) goto out;
    xlx__fault("scsi-attach.lun");
    rc = link_lun(lun, entry);

 out:
    free(lun);
    free(tpg);
    return rc;
}

int xlx__scsi_target_check(const xlx_scsi_entry *entry)
{
    char *tpg = tpg_path(entry), *nexus = NULL, *to = NULL;
    int rc;

    nexus = tpg ? xlx__attr_text("%s/nexus", tpg) : NULL;
    to = tpg ? xlx__attr_link("%s/lun/lun_%u/" LINK, tpg, entry->lun) : NULL;
    rc = 0;
    if (!nexus || !to)
        rc = xlx__nomem();
    else if (!xlx__attr_exists("%s/lun/lun_%u", tpg, entry->lun))
        rc = xlx__error(ERROR_NOTFOUND, "the kernel's target has no %s:%u",
                        entry->target, entry->lun);
    else if (!*nexus)
        rc = xlx__error(ERROR_NOT_READY, "target %s has no nexus: write one "
                        "to %s/nexus", entry->target, tpg);
    else if (entry->dev.backstore != XLX_SCSI_BACKSTORE_TARGET &&
             strcmp(to, last_part(entry->backstore)))
        rc = xlx__error(ERROR_FAIL, "target %s:%u leads to \"%s\" and not to "
                        "%s", entry->target, entry->lun, to,
                        entry->backstore);
    free(to);
    free(nexus);
    free(tpg);
    return rc;
}

/* ---- removal ------------------------------------------------------------ */

/* The nexus goes when nobody uses the target any more; the kernel finishes its
 * work in that time.  Removing the TPG without that would leave the backend
 * with a pointer to nothing. */
static int drop_nexus(const char *tpg)
{
    int64_t deadline = xlx__now_ms() + BUSY_MS;
    char *now;
    bool there;
    int rc;

    for (;;) {
        now = xlx__attr_text("%s/nexus", tpg);
        if (!now)
            return xlx__nomem();
        there = *now;
        free(now);
        if (!there)
            return 0;
        rc = xlx__attr_write("NULL", "%s/nexus", tpg);
        if (xlx__now_ms() >= deadline)
            return rc ? rc : xlx__error(ERROR_FAIL, "%s/nexus: somebody "
                                        "writes it again and again", tpg);
        if (rc)
            usleep(50 * 1000);
    }
}

/* The target, once its last LUN has gone. */
static int remove_target(char *tpg)
{
    char **luns;
    bool left;
    int num, rc;

    rc = xlx__attr_list(&luns, &num, NULL, "%s/lun", tpg);
    if (rc) return rc;
    free(luns);
    if (num)
        return 0;
    rc = drop_nexus(tpg);
    if (rc) return rc;
    rc = drop(tpg, &left);
    if (rc) return rc;
    xlx__fault("scsi-detach.target");
    *strrchr(tpg, '/') = '\0';
    return drop(tpg, &left);
}

int xlx__scsi_target_remove(const xlx_scsi_entry *entry)
{
    char *tpg, *lun = NULL, *path = NULL, *to = NULL;
    bool left;
    int rc;

    if (entry->dev.backstore == XLX_SCSI_BACKSTORE_TARGET)
        return 0;
    tpg = tpg_path(entry);
    lun = tpg ? xlx__printf("%s/lun/lun_%u", tpg, entry->lun) : NULL;
    path = lun ? xlx__printf("%s/" LINK, lun) : NULL;
    to = lun ? linked(lun) : NULL;
    if (!path || !to) {
        rc = xlx__nomem();
        goto out;
    }
    if (*to && strcmp(to, last_part(entry->backstore))) {
        rc = xlx__error(ERROR_FAIL, "%s leads to \"%s\", which is not ours; "
                        "it stays", lun, to);
        goto out;
    }
    if (unlink(path) && errno != ENOENT) {
        rc = xlx__error(ERROR_FAIL, "%s: the kernel does not remove it: %m",
                        path);
        goto out;
    }
    xlx__fault("scsi-detach.lun");
    rc = drop(lun, &left);
    if (rc) goto out;
    rc = remove_target(tpg);
    if (rc) goto out;
    rc = remove_backstore(entry->backstore);

 out:
    free(to);
    free(path);
    free(lun);
    free(tpg);
    return rc;
}

/* ---- what there is ------------------------------------------------------ */

int xlx__scsi_target_guest(const xlx_scsi_entry *entry, libxl_uuid *uuid)
{
    char *tpg = tpg_path(entry), **links = NULL, *to;
    struct xlx__scsi_hctl vdev;
    int i, num = 0, rc;

    if (!tpg)
        return xlx__nomem();
    rc = xlx__attr_list(&links, &num, NULL, "%s/lun/lun_%u", tpg, entry->lun);
    for (i = 0; !rc && i < num; i++) {
        to = xlx__attr_link("%s/lun/lun_%u/%s", tpg, entry->lun, links[i]);
        if (!to)
            rc = xlx__nomem();
        else if (parse_name(to, uuid, &vdev))
            rc = 1;
        free(to);
    }
    free(links);
    free(tpg);
    return rc;
}

static int add_ours(xlx_scsi_backstore kind, const char *name,
                    xlx_scsi_entry **entries, libxl_uuid **uuids, int *num)
{
    char address[XLX__SCSI_HCTL_MAX];
    struct xlx__scsi_hctl vdev;
    xlx_scsi_entry *e;
    libxl_uuid uuid, *u;
    int rc;

    if (!parse_name(name, &uuid, &vdev))
        return 0;
    e = realloc(*entries, (size_t)(*num + 1) * sizeof(*e));
    if (e)
        *entries = e;
    u = realloc(*uuids, (size_t)(*num + 1) * sizeof(*u));
    if (u)
        *uuids = u;
    if (!e || !u)
        return xlx__nomem();
    libxl_uuid_copy(NULL, &u[*num], &uuid);
    e += (*num)++;
    xlx_scsi_entry_init(e);
    e->dev.backstore = kind;
    rc = xlx__set_string(&e->dev.vdev,
                         xlx__scsi_format_hctl(&vdev, address));
    return rc ? rc : xlx__scsi_target_name(&uuid, &vdev, e);
}

int xlx__scsi_target_ours(xlx_scsi_entry **entries_r, libxl_uuid **uuids_r,
                          int *num_r)
{
    static const xlx_scsi_backstore kinds[] = {
        XLX_SCSI_BACKSTORE_PSCSI, XLX_SCSI_BACKSTORE_IBLOCK,
        XLX_SCSI_BACKSTORE_FILEIO,
    };
    char **names = NULL;
    size_t k;
    int i, n, rc = 0;

    for (k = 0; !rc && k < XLX__ARRAY_SIZE(kinds); k++) {
        rc = xlx__attr_list(&names, &n, NULL, "%s/target/core/%s_%u",
                            xlx__configfs_dir(), kind_name(kinds[k]), HBA);
        if (rc) break;
        for (i = 0; !rc && i < n; i++)
            rc = add_ours(kinds[k], names[i], entries_r, uuids_r, num_r);
        free(names);
    }
    return rc;
}

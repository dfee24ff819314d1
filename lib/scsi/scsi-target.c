/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The target of the Linux kernel (LIO) behind a guest's SCSI device, set up in
 * configfs, as the kernel's Documentation/target and the fabric xen-pvscsi of
 * drivers/xen/xen-scsiback.c have it:
 *
 *   target/core/KIND_N/xlx-UUID-H.C.T.L       the backstore
 *   target/xen-pvscsi/naa.X/tpgt_1/nexus      one a guest, adapter and target
 *   target/xen-pvscsi/naa.X/tpgt_1/lun/lun_L/backstore -> the backstore
 *   target/xen-pvscsi/naa.X/tpgt_{1,2}/acls/xlx-in-use        the guard
 *
 * The names are those of scsi-target-name.c.  So a step done twice does
 * nothing the second time, and what has another name is not ours.  The
 * backstore is made first and removed last: who looks through the backstores
 * finds everything.
 *
 * A target has one TPG with LUNs, which are the guest's LUNs, because the
 * kernel looks no further than the first, and answers a scan of the guest's
 * with the LUNs of the TPG.
 *
 * The guard: xen-scsiback goes on to use a TPG that was removed under it, and
 * "targetctl clear" removes every one.  The kernel does not remove a TPG that
 * has an ACL.  The tool removes the LUNs of a TPG before the TPG, and begins
 * with the one that was made last: that is tpgt_2, without LUNs, and there it
 * gives up before it has touched anything of the guest's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/kernfs.h"
#include "core/store.h"
#include "scsi/scsi.h"

#define LINK "backstore"
#define GUARD "acls/xlx-in-use"
#define BUSY_MS 5000

/* ---- directories -------------------------------------------------------- */

static char *core_path(const char *backstore)
{
    return xlx__printf("%s/target/core/%s", xlx__configfs_dir(), backstore);
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
             xlx__scsi_target_hash(name));
    return xlx__attr_write(serial, "%s/wwn/vpd_unit_serial", path);
}

/* Guests that share a device by pscsi are one initiator to it, so it would
 * grant each of them the reservation that another one holds.  The target then
 * refuses the commands.  With iblock it keeps the reservations of each guest
 * itself. */
static int refuse_reservations(const char *path, const xlx_scsi_entry *entry)
{
    int rc;

    if (!entry->dev.shared ||
        entry->dev.backstore != XLX_SCSI_BACKSTORE_PSCSI)
        return 0;
    rc = xlx__attr_write("0", "%s/attrib/emulate_pr", path);
    if (rc)
        xlx__error_prefix(rc, "pdev %s: this kernel cannot keep guests that "
                          "share it from reservations; use iblock",
                          entry->dev.pdev);
    return rc;
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
    if (rc) goto out;
    rc = refuse_reservations(path, entry);

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

/* ---- copies ------------------------------------------------------------- */

/* The LUN leads to another backstore under a name of ours: that of a copy, or
 * of what a killed command left. */
static int unlink_other(const char *lun, const xlx_scsi_entry *entry)
{
    char *is = NULL, *link = NULL;
    struct xlx__scsi_hctl vdev;
    libxl_uuid uuid;
    int rc;

    rc = xlx__scsi_target_link(lun, &is, &link);
    if (rc) return xlx__forgive(rc, ERROR_NOTFOUND);
    if (!strcmp(is, entry->backstore))
        goto out;
    if (!xlx__scsi_target_parse(strchr(is, '/') + 1, &uuid, &vdev))
        rc = xlx__error(ERROR_DEVICE_EXISTS, "%s leads to \"%s\", which is "
                        "not ours: remove that LUN", lun, is);
    else if (unlink(link) && errno != ENOENT)
        rc = xlx__error(ERROR_FAIL, "%s: the kernel does not remove it: %m",
                        link);
    else
        rc = remove_backstore(is);

 out:
    free(link);
    free(is);
    return rc;
}

int xlx__scsi_target_remove_copies(const xlx_scsi_entry *entry)
{
    char **copies, *path, *lun;
    const char *name;
    int i, num, rc;

    if (entry->dev.backstore == XLX_SCSI_BACKSTORE_TARGET)
        return 0;
    name = strchr(xlx__text(entry->backstore), '/');
    if (!name++)
        return 0;                       /* a record that names none */
    lun = xlx__scsi_target_lun(entry);
    rc = lun ? unlink_other(lun, entry) : xlx__nomem();
    free(lun);
    if (rc) return rc;
    rc = xlx__scsi_target_copies(entry->backstore, &copies, &num);
    if (rc) return rc;
    for (i = 0; !rc && i < num; i++) {
        path = xlx__printf("%s/%s", copies[i], name);
        rc = path ? remove_backstore(path) : xlx__nomem();
        free(path);
        if (!rc && xlx__attr_exists("%s/target/core/%s/%s",
                                    xlx__configfs_dir(), copies[i], name))
            rc = xlx__error(ERROR_DEVICE_EXISTS, "%s/target/core/%s/%s: it is "
                            "a copy of our backstore, which another target "
                            "uses: remove it with targetcli",
                            xlx__configfs_dir(), copies[i], name);
    }
    free(copies);
    return rc;
}

/* ---- guard -------------------------------------------------------------- */

/* The ACL, which is there before the target can be used; a kernel without ACLs
 * for this fabric does as well as it can without. */
static int guard_tpg(const char *tpg)
{
    char *acl = xlx__printf("%s/" GUARD, tpg);

    if (!acl)
        return xlx__nomem();
    (void)mkdir(acl, 0755);
    free(acl);
    return 0;
}

/* Removes a TPG, whose LUNs have gone, with the guard in it. */
static int drop_tpg(const char *tpg)
{
    char *acl = xlx__printf("%s/" GUARD, tpg);
    bool left;
    int rc;

    if (!acl)
        return xlx__nomem();
    rc = drop_nexus(tpg);
    if (rc) goto out;
    rc = drop(acl, &left);
    if (rc) goto out;
    rc = drop(tpg, &left);

 out:
    free(acl);
    return rc;
}

static char *decoy_path(const xlx_scsi_entry *entry)
{
    return xlx__printf("%s/target/xen-pvscsi/%s/tpgt_2", xlx__configfs_dir(),
                       entry->target);
}

static int make_decoy(const xlx_scsi_entry *entry)
{
    char *tpg = decoy_path(entry);
    int rc;

    rc = make(tpg);
    if (rc) goto out;
    rc = guard_tpg(tpg);
    if (rc) goto out;
    /* else rtslib writes one when it lists the target */
    rc = set_nexus(tpg, entry);

 out:
    free(tpg);
    return rc;
}

static int drop_decoy(const xlx_scsi_entry *entry)
{
    char *tpg = decoy_path(entry);
    int rc;

    if (!tpg)
        return xlx__nomem();
    rc = xlx__attr_exists("%s", tpg) ? drop_tpg(tpg) : 0;
    free(tpg);
    return rc;
}

/* ---- making it ---------------------------------------------------------- */

static int link_lun(const char *lun, const xlx_scsi_entry *entry)
{
    char *to = core_path(entry->backstore), *path = NULL;
    int rc = 0;

    path = xlx__printf("%s/" LINK, lun);
    if (!to || !path)
        rc = xlx__nomem();
    else if (symlink(to, path) && errno != EEXIST)
        rc = xlx__error(ERROR_FAIL, "%s: the kernel does not link it to %s: "
                        "%m", path, to);
    free(path);
    free(to);
    return rc;
}

/* The kernel finds the TPG that was made first.  That is the decoy when
 * targetctl restored a copy of our target, because it saves the newest TPG
 * first; so the decoy is made again after ours. */
static int make_tpg(const char *tpg, const xlx_scsi_entry *entry)
{
    int rc;

    rc = drop_decoy(entry);
    if (rc) return rc;
    rc = make_both(tpg);
    if (rc) return rc;
    rc = guard_tpg(tpg);
    if (rc) return rc;
    return set_nexus(tpg, entry);
}

/* A backstore that guests share is made, linked to and removed by one command
 * at a time: what nobody links to yet looks like the rest of a killed command.
 */
static int lock_shared(xlx_ctx *ctx, const xlx_scsi_entry *entry,
                       struct xlx__lock *lock)
{
    return entry->dev.shared ? xlx__lock_host(ctx, "shared-target", lock) : 0;
}

int xlx__scsi_target_make(xlx_ctx *ctx, const xlx_scsi_entry *entry,
                          const struct xlx__scsi_pdev *p)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    char *tpg, *lun;
    int rc;

    rc = xlx__scsi_target_modules(ctx, entry->dev.backstore);
    if (rc) return rc;
    if (entry->dev.backstore == XLX_SCSI_BACKSTORE_TARGET)
        return xlx__scsi_target_check(entry);
    tpg = xlx__scsi_target_tpg(entry);
    lun = xlx__scsi_target_lun(entry);
    rc = tpg && lun ? lock_shared(ctx, entry, &lock) : xlx__nomem();
    if (rc) goto out;
    rc = xlx__scsi_target_remove_copies(entry);
    if (rc) goto out;
    rc = make_backstore(entry, p);
    if (rc) goto out;
    xlx__fault("scsi-attach.backstore");
    rc = make_tpg(tpg, entry);
    if (rc) goto out;
    rc = make(lun);
    if (rc) goto out;
    xlx__fault("scsi-attach.lun");
    rc = link_lun(lun, entry);
    if (rc) goto out;
    rc = make_decoy(entry);

 out:
    xlx__unlock(&lock);
    free(lun);
    free(tpg);
    return rc;
}

int xlx__scsi_target_check(const xlx_scsi_entry *entry)
{
    bool ours = entry->dev.backstore != XLX_SCSI_BACKSTORE_TARGET;
    char *lun = xlx__scsi_target_lun(entry), *nexus, *to = NULL, *link = NULL;
    int rc;

    nexus = xlx__attr_text("%s/target/xen-pvscsi/%s/tpgt_1/nexus",
                           xlx__configfs_dir(), entry->target);
    rc = lun && nexus ? xlx__scsi_target_link(lun, &to, &link)
                      : xlx__nomem();
    if (rc && rc != ERROR_NOTFOUND)
        goto out;
    if (!xlx__attr_exists("%s", lun))
        rc = xlx__error(ERROR_NOTFOUND, "the kernel's target has no %s:%u",
                        entry->target, entry->lun);
    else if (!*nexus)
        rc = xlx__error(ERROR_NOT_READY, "target %s has no nexus: write one "
                        "to %s/target/xen-pvscsi/%s/tpgt_1/nexus",
                        entry->target, xlx__configfs_dir(), entry->target);
    else if (ours && strcmp(xlx__text(to), entry->backstore))
        rc = xlx__error(ERROR_FAIL, "target %s:%u leads to \"%s\" and not to "
                        "%s", entry->target, entry->lun, xlx__text(to),
                        entry->backstore);
    else
        rc = 0;

 out:
    free(link);
    free(to);
    free(nexus);
    free(lun);
    return rc;
}

/* ---- removal ------------------------------------------------------------ */

/* The target, once its last LUN has gone. */
static int remove_target(const xlx_scsi_entry *entry, char *tpg)
{
    char **luns;
    bool left;
    int num, rc;

    rc = xlx__attr_list(&luns, &num, NULL, "%s/lun", tpg);
    if (rc) return rc;
    free(luns);
    if (num)
        return 0;
    rc = drop_decoy(entry);
    if (rc) return rc;
    rc = drop_tpg(tpg);
    if (rc) return rc;
    xlx__fault("scsi-detach.target");
    *strrchr(tpg, '/') = '\0';
    return drop(tpg, &left);
}

static int remove_link(const char *lun, const xlx_scsi_entry *entry)
{
    char *to = NULL, *link = NULL;
    int rc;

    rc = xlx__scsi_target_remove_copies(entry);
    if (rc) return rc;
    rc = xlx__scsi_target_link(lun, &to, &link);
    if (rc) return xlx__forgive(rc, ERROR_NOTFOUND);
    if (!strcmp(to, entry->backstore) && unlink(link) && errno != ENOENT)
        rc = xlx__error(ERROR_FAIL, "%s: the kernel does not remove it: %m",
                        link);
    free(link);
    free(to);
    return rc;
}

int xlx__scsi_target_remove(xlx_ctx *ctx, const xlx_scsi_entry *entry)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    char *tpg, *lun;
    bool left;
    int rc;

    if (entry->dev.backstore == XLX_SCSI_BACKSTORE_TARGET)
        return 0;
    tpg = xlx__scsi_target_tpg(entry);
    lun = xlx__scsi_target_lun(entry);
    rc = tpg && lun ? lock_shared(ctx, entry, &lock) : xlx__nomem();
    if (rc) goto out;
    rc = remove_link(lun, entry);
    if (rc) goto out;
    xlx__fault("scsi-detach.lun");
    rc = drop(lun, &left);
    if (rc) goto out;
    rc = remove_target(entry, tpg);
    if (rc) goto out;
    rc = remove_backstore(entry->backstore);

 out:
    xlx__unlock(&lock);
    free(lun);
    free(tpg);
    return rc;
}

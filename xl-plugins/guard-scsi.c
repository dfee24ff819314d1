/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vscsi=["PDEV,VDEV[,OPTION]...", ...] in a guest's config, as xm had it: the
 * guest is made paused, all of them are attached in one call, and then it
 * runs.  Its driver finds the devices when it starts.
 *
 * A guest with such devices is neither saved nor migrated: libxl leaves them
 * behind, and the guest's driver does not survive that.  With --detach they
 * are set aside before, and attached again where and when the guest runs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "guard.h"
#include "text.h"

/* ---- vscsi= ------------------------------------------------------------- */

static bool take_option(const char *option, xlx_scsi_dev *dev)
{
    static const char backend[] = "backend=";

    if (!strcmp(option, "read-only"))
        return dev->readonly = true;
    if (!strcmp(option, "shared"))
        return dev->shared = true;
    if (!strcmp(option, "force"))
        return dev->force = true;
    if (!strncmp(option, backend, strlen(backend)))
        return !xlx_scsi_backstore_from_string(option + strlen(backend),
                                               &dev->backstore);
    /* xm: the backend's domain */
    return !strcmp(option, "0") || !strcmp(option, "Domain-0");
}

/* One element; false when it is wrong. */
static bool parse(const char *element, xlx_scsi_dev *dev)
{
    char *copy = xl_format("%s", element), *pdev, *vdev, *option, *save;
    bool good;

    pdev = strtok_r(copy, ",", &save);
    vdev = strtok_r(NULL, ",", &save);
    good = pdev && vdev;
    while (good && (option = strtok_r(NULL, ",", &save)))
        good = take_option(option, dev);
    if (good) {
        dev->configured = true;
        dev->pdev = xl_format("%s", pdev);
        dev->vdev = xl_format("%s", vdev);
    }
    free(copy);
    return good;
}

/* All elements, added to an empty list, which is disposed of also after a
 * failure; exit status. */
static int read_vscsi(const struct guard_start *s, xlx_scsi_devs *devs)
{
    const char *element;
    XLU_ConfigList *list;
    int i, num, r;

    r = xlu_cfg_get_list(s->config.cfg, "vscsi", &list, &num, 1);
    if (r == ESRCH)
        return 0;
    if (r) {
        xl_message("vscsi: must be a list, [\"PDEV,VDEV\", ...]");
        return 1;
    }
    for (i = 0; i < num; i++) {
        element = xl_text(xlu_cfg_get_listitem(list, i));
        devs->devs = guard_grown(devs->devs, i, sizeof(*devs->devs));
        xlx_scsi_dev_init(&devs->devs[i]);
        devs->num_devs++;
        if (parse(element, &devs->devs[i]))
            continue;
        xl_message("vscsi: element %d: \"%s\": must be PDEV,VDEV and then any "
                   "of read-only, shared, force, backend=KIND; the backend "
                   "must be in Domain-0", i + 1, element);
        return 1;
    }
    return 0;
}

/* ---- what stays behind when the guest leaves ---------------------------- */

/* Its name on another host; NULL when only this one knows it, or nobody
 * because another tool attached it. */
static const char *name_elsewhere(const xlx_scsi_info *dev)
{
    switch (dev->identity_kind) {
    case XLX_SCSI_IDENTITY_WWID:   return dev->identity;
    case XLX_SCSI_IDENTITY_TARGET: return dev->target;
    case XLX_SCSI_IDENTITY_FILE:   return dev->path;
    default:                        return NULL;
    }
}

/* The line that attaches it elsewhere, or NULL. */
static char *attach_line(const xlx_guest *guest, const xlx_scsi_info *dev)
{
    const char *name = name_elsewhere(dev);
    char *line;

    if (!name || !guest->name)
        return NULL;
    line = xl_format("xl scsi-attach --backend=%s%s%s%s --",
                     xlx_scsi_backstore_to_string(
                         dev->dev.backstore == XLX_SCSI_BACKSTORE_TARGET
                         ? XLX_SCSI_BACKSTORE_AUTO : dev->dev.backstore),
                     dev->dev.readonly ? " --read-only" : "",
                     dev->dev.shared ? " --shared" : "",
                     dev->dev.force ? " --force" : "");
    line = guard_append_word(line, guest->name);
    line = guard_append_word(line, name);
    return guard_append_word(line, dev->dev.vdev);
}

static int list_devs(xlx_ctx *ctx, const xlx_guest *guest,
                     struct guard_hostdevs *devs)
{
    xlx_scsi_ctrls list;
    const xlx_scsi_info *dev;
    int i, j, rc;

    xlx_scsi_ctrls_init(&list);
    rc = xlx_scsi_ctrl_list(ctx, guest, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++)
        for (j = 0; j < list.ctrls[i].num_devs; j++) {
            dev = &list.ctrls[i].devs[j];
            guard_hostdev_add(devs, (struct guard_hostdev){
                .place = xl_format("%s", dev->dev.vdev),
                .name = xl_format("%s", xl_text(dev->dev.pdev)),
                .aside = dev->status == XLX_SCSI_STATUS_ASIDE,
                .configured = dev->dev.configured,
                .there = attach_line(guest, dev),
            });
        }
    xlx_scsi_ctrls_dispose(&list);
    return rc;
}

static int set_aside(xlx_ctx *ctx, const xlx_guest *guest)
{
    return xlx_scsi_set_aside(ctx, guest, NULL);
}

static int forget(xlx_ctx *ctx, const xlx_guest *guest, const char *place)
{
    return xlx_scsi_detach(ctx, guest, place, NULL);
}

static const struct guard_hostdev_kind hostdev = {
    .name = "SCSI",
    .repair = "scsi-repair",
    .watch = "scsi-watch",
    .when_local = "xl scsi-detach it",
    .list = list_devs,
    .set_aside = set_aside,
    .forget = forget,
};

/* All in one call: one lock, one record, and all of them or none. */
static int attach(struct guard_start *s, const char *who)
{
    xlx_scsi_devs wanted, attached;
    xlx_scsi_wait wait;
    xlx_guest guest;
    int status;

    xlx_guest_init(&guest);
    xlx_scsi_wait_init(&wait);
    xlx_scsi_devs_init(&wanted);
    xlx_scsi_devs_init(&attached);
    wait.no_wait = true;                /* it does not run yet */
    status = read_vscsi(s, &wanted);
    if (!status)
        status = guard_hostdev_find(s, who, &guest);
    if (status) goto out;
    if (xlx_scsi_attach(s->ctx, &guest, &wanted, &wait, &attached)) {
        xl_message("vscsi: %s", xlx_error_get());
        status = 1;
        goto out;
    }
    guard_hostdev_watch(&hostdev, &guest);
    xl_say_scsi("Attached", &attached);

 out:
    xlx_scsi_devs_dispose(&attached);
    xlx_scsi_devs_dispose(&wanted);
    xlx_guest_dispose(&guest);
    return status;
}

static int attach_aside(struct guard_start *s, const char *who)
{
    (void)s;
    return guard_hostdev_repair(&hostdev, who);
}

static int attach_again(struct guard_start *s, const char *who)
{
    return guard_hostdev_again(s, &hostdev, who);
}

/* A guest does not look for what came while it was suspended: the repair wakes
 * its driver when it runs. */
static int wake(struct guard_start *s, int status)
{
    return status ? status : attach_aside(s, s->config.name);
}

/* A guest that was saved with --detach does not run without them. */
static int check_restore(struct guard_start *s)
{
    const struct guard_hostdevs none = { NULL, 0 };
    int status;
    bool again;

    if (!s->our_option && guard_hostdev_aside(s, &hostdev)) {
        guard_afterwards(s, wake);
        return guard_while_paused(s, "SCSI devices that are set aside",
                                  attach_aside);
    }
    status = s->config.name
             ? guard_hostdev_start(s, &hostdev, &none, &again) : 0;
    if (status || !s->config.name || !again)
        return status;
    guard_afterwards(s, wake);
    return guard_while_paused(s, "recorded SCSI devices", attach_again);
}

/* ---- ordinary disks ----------------------------------------------------- */

/* A disk that a guest has as a SCSI device is nobody else's unless neither
 * writes to it: nothing of the kernel's or QEMU's would keep them apart. */
static int check_disk(struct guard_start *s, const libxl_device_disk *disk)
{
    xlx_scsi_owner owner;
    int rc;

    xlx_scsi_owner_init(&owner);
    rc = xlx_scsi_owner_find(s->ctx, disk->pdev_path, &owner);
    if (!rc && (disk->readwrite || !owner.readonly)) {
        xl_message("%s: guest \"%s\" has \"%s\" as its SCSI device %s, and"
                   " two guests on one disk destroy what is on it; if that"
                   " one has ended: xl scsi-repair", disk->vdev,
                   xl_text(owner.guest.name), disk->pdev_path, owner.vdev);
        rc = ERROR_DEVICE_EXISTS;
    } else if (rc && rc != ERROR_NOTFOUND) {
        xl_message("%s", xlx_error_get());
        xl_message("so nobody knows whether a guest has \"%s\" as a SCSI"
                   " device; \"%s\" does not ask", disk->pdev_path, s->stock);
    } else {
        rc = 0;
    }
    xlx_scsi_owner_dispose(&owner);
    return rc ? 1 : 0;
}

static int check_disks(struct guard_start *s)
{
    const libxl_device_disk *disk;
    int i, status = 0;

    for (i = 0; !status && i < s->config.num_disks; i++) {
        disk = &s->config.disks[i];
        /* another domain's paths are not ours to look at */
        if (disk->pdev_path && !disk->backend_domname && !disk->backend_domid)
            status = check_disk(s, disk);
    }
    return status;
}

/* An address as the record has it. */
static char *normal_place(const char *vdev)
{
    const char *p = vdev;
    uint64_t part[4];
    int i;

    for (i = 0; i < 4; i++)
        if ((i && *p++ != ':') || !xlx__take_u64(&p, UINT32_MAX, &part[i]))
            return xl_format("%s", vdev);
    return xl_format("%u:%u:%u:%u%s", (unsigned)part[0], (unsigned)part[1],
                     (unsigned)part[2], (unsigned)part[3], p);
}

static int start_with(struct guard_start *s, const xlx_scsi_devs *devs)
{
    struct guard_hostdevs wanted = { NULL, 0 };
    int i, status = 0;
    bool again;

    for (i = 0; i < devs->num_devs; i++)
        guard_hostdev_add(&wanted, (struct guard_hostdev){
            .place = normal_place(devs->devs[i].vdev),
            .name = xl_format("%s", devs->devs[i].pdev),
        });
    if (devs->num_devs)
        status = guard_while_paused(s, "vscsi", attach);
    if (!status)
        status = guard_hostdev_start(s, &hostdev, &wanted, &again);
    if (!status && again)
        status = guard_while_paused(s, "recorded SCSI devices", attach_again);
    guard_hostdevs_free(&wanted);
    return status;
}

static int check_start(struct guard_start *s)
{
    xlx_scsi_devs devs;
    int status;

    if (check_disks(s))
        return 1;
    if (s->save_file)
        return check_restore(s);
    if (!s->config.cfg || !s->config.name)
        return 0;
    xlx_scsi_devs_init(&devs);
    status = read_vscsi(s, &devs);
    if (!status)
        status = start_with(s, &devs);
    xlx_scsi_devs_dispose(&devs);
    return status;
}

const struct guard_concept guard_scsi = {
    .check = check_start, .hostdev = &hostdev,
};

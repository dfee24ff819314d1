/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vscsi=["PDEV,VDEV[,OPTION]...", ...] in a guest's config, as xm had it: the
 * guest is made paused, xl scsi-attach is run for each element, and then it
 * runs.  Its driver finds the devices when it starts.
 *
 * A guest with such devices is neither saved nor migrated: libxl leaves them
 * behind, and the guest's driver does not survive that.  With --detach they
 * are set aside before, and attached again where and when the guest runs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "text.h"

#define MAX_OPTIONS 8

/* One element as the arguments of xl scsi-attach; -1 after a message. */
static int parse(const char *element, int number, char **argv, int num)
{
    char *copy = xl_format("%s", element), *pdev, *vdev, *option, *save;
    int first = num;

    pdev = strtok_r(copy, ",", &save);
    vdev = strtok_r(NULL, ",", &save);
    if (!vdev)
        goto wrong;
    while ((option = strtok_r(NULL, ",", &save))) {
        if (num - first == MAX_OPTIONS)
            goto wrong;
        if (!strcmp(option, "read-only") || !strcmp(option, "shared") ||
            !strncmp(option, "backend=", strlen("backend=")))
            argv[num++] = xl_format("--%s", option);
        else if (strcmp(option, "0") && strcmp(option, "Domain-0"))
            goto wrong;                 /* xm: the backend's domain */
    }
    argv[num++] = xl_format("--");
    argv[num++] = NULL;                 /* the guest, when it has been made */
    argv[num++] = xl_format("%s", pdev);
    argv[num++] = xl_format("%s", vdev);
    free(copy);
    return num;

 wrong:
    xl_message("vscsi: element %d: \"%s\": must be PDEV,VDEV and then any of "
               "read-only, shared, backend=KIND; the backend must be in "
               "Domain-0", number, element);
    free(copy);
    return -1;
}

static int attach(struct guard_start *s, const char *who)
{
    char *argv[MAX_OPTIONS + 8];
    const char *element;
    XLU_ConfigList *list;
    int i, j, n, num, status = 0;

    if (xlu_cfg_get_list(s->config.cfg, "vscsi", &list, &num, 1))
        return 0;
    for (i = 0; !status && i < num; i++) {
        element = xlu_cfg_get_listitem(list, i);
        argv[0] = xl_format("xl-scsi-attach");
        argv[1] = xl_format("--no-wait");
        n = parse(element ? element : "", i + 1, argv, 2);
        if (n < 0)                      /* guard_scsi() has let it pass */
            return 1;
        argv[n] = NULL;
        argv[n - 3] = xl_format("%s", who);
        status = guard_run("xl-scsi-attach", argv);
        for (j = 0; j < n; j++)
            free(argv[j]);
    }
    return status;
}

/* ---- what stays behind when the guest leaves ---------------------------- */

/* Its name on another host; NULL when only this one knows it, or nobody
 * because another tool attached it. */
static const char *name_elsewhere(const xlx_vscsi_info *dev)
{
    if (!dev->identity)
        return NULL;
    if (!strncmp(dev->identity, "wwid ", strlen("wwid ")))
        return dev->identity + strlen("wwid ");
    if (!strncmp(dev->identity, "target ", strlen("target ")))
        return dev->target;
    if (!strncmp(dev->identity, "file ", strlen("file ")))
        return dev->path;
    return NULL;
}

/* The line that attaches it elsewhere, or NULL. */
static char *attach_line(const xlx_guest *guest, const xlx_vscsi_info *dev)
{
    const char *name = name_elsewhere(dev);
    char *line;

    if (!name || !guest->name)
        return NULL;
    line = xl_format("xl scsi-attach --backend=%s%s%s --",
                     xlx_vscsi_backstore_to_string(
                         dev->dev.backstore == XLX_VSCSI_BACKSTORE_TARGET
                         ? XLX_VSCSI_BACKSTORE_AUTO : dev->dev.backstore),
                     dev->dev.readonly ? " --read-only" : "",
                     dev->dev.shared ? " --shared" : "");
    line = guard_append_word(line, guest->name);
    line = guard_append_word(line, name);
    return guard_append_word(line, dev->dev.vdev);
}

static int list_devs(xlx_ctx *ctx, const xlx_guest *guest,
                     struct guard_hostdevs *devs)
{
    xlx_device_vscsictrls list;
    const xlx_vscsi_info *dev;
    int i, j, rc;

    xlx_device_vscsictrls_init(&list);
    rc = xlx_device_vscsictrl_list(ctx, guest, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++)
        for (j = 0; j < list.ctrls[i].num_devs; j++) {
            dev = &list.ctrls[i].devs[j];
            guard_hostdev_add(devs, xl_format("%s", dev->dev.vdev),
                              dev->status == XLX_VSCSI_STATUS_ASIDE,
                              attach_line(guest, dev));
        }
    xlx_device_vscsictrls_dispose(&list);
    return rc;
}

static int set_aside(xlx_ctx *ctx, const xlx_guest *guest)
{
    return xlx_vscsi_set_aside(ctx, guest, NULL);
}

static int forget(xlx_ctx *ctx, const xlx_guest *guest, const char *place)
{
    return xlx_device_vscsidev_remove(ctx, guest, place, NULL);
}

const struct guard_hostdev_kind guard_hostdev_scsi = {
    .name = "SCSI",
    .repair = "scsi-repair",
    .when_local = "xl scsi-detach it",
    .list = list_devs,
    .set_aside = set_aside,
    .forget = forget,
};

static int return_devices(struct guard_start *s, const char *who)
{
    (void)s;
    return guard_hostdev_repair(&guard_hostdev_scsi, who);
}

/* A guest that was suspended does not look for devices that came in that time:
 * tell it now that it runs. */
static int tell(struct guard_start *s, int status)
{
    return status ? status : return_devices(s, s->config.name);
}

/* A guest that was saved with --detach. */
static int check_restore(struct guard_start *s)
{
    if (!guard_hostdev_aside(s, &guard_hostdev_scsi))
        return 0;
    guard_afterwards(s, tell);
    return guard_while_paused(s, "SCSI devices that are set aside",
                              return_devices);
}

/* ---- ordinary disks ----------------------------------------------------- */

/* A disk that a guest has as a SCSI device is nobody else's, but if neither
 * writes to it: nothing of the kernel's or QEMU's would keep them apart. */
static int check_disk(struct guard_start *s, const libxl_device_disk *disk)
{
    xlx_vscsi_owner owner;
    int rc;

    xlx_vscsi_owner_init(&owner);
    rc = xlx_vscsi_owner_find(s->ctx, disk->pdev_path, &owner);
    if (!rc && (disk->readwrite || !owner.readonly)) {
        xl_message("%s: guest \"%s\" has \"%s\" as its SCSI device %s, and"
                   " two guests on one disk destroy what is on it; if that"
                   " one has ended: xl scsi-repair", disk->vdev,
                   xl_text(owner.guest.name), disk->pdev_path, owner.vdev);
        rc = ERROR_DEVICE_EXISTS;
    } else if (rc && rc != ERROR_NOTFOUND) {
        xl_message("%s", xlx_get_error());
        xl_message("so nobody knows whether a guest has \"%s\" as a SCSI"
                   " device; \"%s\" does not ask", disk->pdev_path, s->stock);
    } else {
        rc = 0;
    }
    xlx_vscsi_owner_dispose(&owner);
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

int guard_scsi(struct guard_start *s)
{
    char *argv[MAX_OPTIONS + 8];
    const char *element;
    XLU_ConfigList *list;
    int i, n, num, r;

    if (check_disks(s))
        return 1;
    if (s->save_file)
        return check_restore(s);
    if (!s->config.cfg || !s->config.name)
        return 0;
    r = xlu_cfg_get_list(s->config.cfg, "vscsi", &list, &num, 1);
    if (r == ESRCH)
        return 0;
    if (r) {
        xl_message("vscsi: must be a list, [\"PDEV,VDEV\", ...]");
        return 1;
    }
    for (i = 0; i < num; i++) {
        element = xlu_cfg_get_listitem(list, i);
        n = parse(element ? element : "", i + 1, argv, 0);
        if (n < 0)
            return 1;
        while (n--)
            free(argv[n]);
    }
    if (!num)
        return 0;
    r = guard_while_paused(s, "vscsi", attach);
    if (r || s->only_shows) return r;
    return guard_hostdev_forget(s, &guard_hostdev_scsi);
}

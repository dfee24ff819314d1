/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk that QEMU serves and cannot open: stock xl asks nobody whether it
 * could (libxl looks at the target only when it chooses the backend itself),
 * says that all is well, and the guest runs without the disk.
 *
 * QEMU's xen-block takes the target for a name, which it gives to stat(), and
 * opens a file or a block device (hw/block/xen-block.c, since QEMU 4.0):
 * "nbd:", "rbd:", "json:" and all other words of QEMU's own mean nothing
 * there.  The disk that libxl has QEMU emulate for an HVM guest is opened by
 * -drive, which knows them; but the PV drivers of the guest unplug it, all
 * except a CD.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "core/number.h"
#include "guard.h"
#include "text.h"

/* Is it for QEMU on this host, by a name that leads to no file?  Sets errno.
 * libxl itself looks at the target when no backend is named. */
static bool is_lost(const libxl_device_disk *d)
{
    struct stat st;

    return d->backend == LIBXL_DISK_BACKEND_QDISK && !d->script &&
           !d->backend_domname && !d->backend_domid &&
           d->format != LIBXL_DISK_FORMAT_EMPTY &&
           d->pdev_path && *d->pdev_path && stat(d->pdev_path, &st);
}

/* As QEMU tells a protocol from a path: block.c, path_has_protocol(). */
static bool has_protocol(const char *target)
{
    return target[strcspn(target, ":/")] == ':';
}

/* ---- emulated disks ----------------------------------------------------- */

/* Counted from 0: "xvdb" and "hdb1" are 1; -1 for other names. */
static int number_of(const char *vdev)
{
    static const char *const prefixes[] = { "xvd", "hd" };
    const char *p = vdev;
    int number = 0;
    uint64_t value;
    size_t i;

    if (*p == 'd' && p++ && xlx__take_u64(&p, INT16_MAX, &value))
        return (int)value;
    for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (!strncmp(vdev, prefixes[i], strlen(prefixes[i])))
            break;
    if (i == sizeof(prefixes) / sizeof(prefixes[0]))
        return -1;
    p = vdev + strlen(prefixes[i]);
    for (; *p >= 'a' && *p <= 'z' && number < INT16_MAX; p++)
        number = number * 26 + *p - 'a' + 1;
    return number - 1;
}

/* Does libxl have QEMU emulate it for this HVM guest?  libxl_dm.c. */
static bool is_emulated(const XLU_Config *cfg, const libxl_device_disk *d)
{
    const char *value;
    int most = 4;

    if (d->is_cdrom || !strncmp(d->vdev, "sd", 2))
        return true;
    if (!xlu_cfg_get_string(cfg, "hdtype", &value, 1) &&
        !strcmp(value, "ahci"))
        most = 6;
    return number_of(d->vdev) < most;
}

static bool is_on(const XLU_Config *cfg, const char *key, bool value)
{
    long number;

    return xlu_cfg_get_long(cfg, key, &number, 1) ? value : number;
}

/* ---- messages ----------------------------------------------------------- */

/* libxl finds a name for a disk that is attached without one. */
static const char *name_of(const libxl_device_disk *d)
{
    return d->vdev ? d->vdev : "disk";
}

static void say_what_to_do(const struct guard_start *s,
                           const libxl_device_disk *d)
{
    const char *target = d->pdev_path, *rest = strchr(target, ':') + 1;
    char *command;

    if (!strncmp(target, "file:", 5)) {
        xl_message("%s: write the path alone: target=%s", name_of(d),
                   !strncmp(rest, "//", 2) ? rest + 2 : rest);
        return;
    }
    command = guard_append_word(
        xl_format("qemu-nbd --connect=/dev/nbd0 --format=%s",
                  d->format == LIBXL_DISK_FORMAT_VHD ? "vpc" :
                  libxl_disk_format_to_string(d->format)), target);
    xl_message("%s: have this host connect it to a block device, and name"
               " that: %s%s, and as the disk format=raw,backendtype=phy,"
               "target=/dev/nbd0; or use \"%s\" instead of xl to do it"
               " regardless", name_of(d), command,
               !strncmp(target, "rbd:", 4) ? " (or: rbd map)" :
               !strncmp(target, "iscsi:", 6) ? " (or: script=block-iscsi)" :
               !strncmp(target, "nbd", 3) ? " (or: nbd-client)" : "",
               s->stock);
    free(command);
}

/* Exit status.  The guest would run without the disk. */
static int refuse(const struct guard_start *s, const libxl_device_disk *d,
                  const char *why)
{
    if (has_protocol(d->pdev_path)) {
        xl_message("%s: \"%s\" is not a file or device: %s QEMU opens nothing"
                   " else, and so the guest would run without this disk,"
                   " while stock xl says that all is well", name_of(d),
                   d->pdev_path, why);
        say_what_to_do(s, d);
        return 1;
    }
    xl_message("%s: \"%s\": %s: with backendtype=qdisk stock xl does not"
               " look, and so the guest would run without this disk; correct"
               " the name, or use \"%s\" instead of xl to do it regardless",
               name_of(d), d->pdev_path, strerror(errno), s->stock);
    return 1;
}

/* ---- the question ------------------------------------------------------- */

/* Exit status. */
static int check_hvm(const struct guard_start *s, const libxl_device_disk *d)
{
    const XLU_Config *cfg = s->config.cfg;

    if (is_on(cfg, "device_model_stubdomain_override", false))
        return refuse(s, d, "for a stub domain");
    if (!is_emulated(cfg, d))
        return refuse(s, d, "for a disk that is not emulated");
    /* QEMU does not start without it, which stock xl notices */
    if (!has_protocol(d->pdev_path))
        return 0;
    if (!d->is_cdrom && is_on(cfg, "xen_platform_pci", true))
        xl_message("warning: %s: QEMU opens \"%s\" for the emulated disk"
                   " alone, and a guest with PV drivers, as any Linux has"
                   " them, unplugs that and has no disk: have this host"
                   " connect it to a block device (qemu-nbd --connect) and"
                   " name that, or set xen_platform_pci=0", d->vdev,
                   d->pdev_path);
    return 0;
}

static int check_start(struct guard_start *s)
{
    libxl_domain_type type;
    int i, status = 0;

    /* a saved guest had its disks; other types are stock xl's to judge */
    if (!s->config.cfg || s->save_file)
        return 0;
    type = guest_config_type(&s->config);
    for (i = 0; i < s->config.num_disks; i++) {
        const libxl_device_disk *d = &s->config.disks[i];

        if (!d->vdev || !is_lost(d))
            continue;
        if (type == LIBXL_DOMAIN_TYPE_HVM)
            status |= check_hvm(s, d);
        else
            status |= refuse(s, d, type == LIBXL_DOMAIN_TYPE_PVH
                                   ? "for a PVH guest" : "for a PV guest");
    }
    return status;
}

/* Only a disk of the config is ever emulated, except a CD. */
int guard_disk_attach(struct guard_start *s)
{
    const libxl_device_disk *d = s->config.disks;

    if (d->is_cdrom || !is_lost(d))
        return 0;
    return refuse(s, d, "for a guest that runs");
}

const struct guard_concept guard_disk = { .check = check_start };

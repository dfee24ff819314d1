/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The devices of the host, as sysfs shows them, and how one is found by the
 * name that the user gives.  Devices are told apart by their world wide
 * identifier, because an address changes when a device is plugged in again;
 * only a device without one goes by its address.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "scsi/scsi.h"

/* A longer name is cut, and a file of that name made
 * (drivers/target/target_core_file.h: FD_MAX_DEV_NAME). */
#define MAX_FILE_NAME 255

void xlx__scsi_pdev_init(struct xlx__scsi_pdev *p)
{
    memset(p, 0, sizeof(*p));
    xlx_scsi_unit_init(&p->unit);
}

void xlx__scsi_pdev_dispose(struct xlx__scsi_pdev *p)
{
    xlx_scsi_unit_dispose(&p->unit);
    free(p->identity);
    free(p->block);
    free(p->target);
    free(p->serial);
    xlx__scsi_pdev_init(p);
}

/* ---- one SCSI device ---------------------------------------------------- */

/* Peripheral device types, SPC-4 table 140, with Linux' words. */
static const char *type_name(const char *number)
{
    static const char *const names[] = {
        "disk", "tape", "printer", "process", "worm", "cd", "scanner",
        "optical", "changer", "comms", [0xc] = "storage", "enclosure", "rbc",
        [0x14] = "zbc",
    };
    uint32_t type;

    return xlx__parse_u32(number, XLX__ARRAY_SIZE(names) - 1, &type) &&
           names[type] ? names[type] : "other";
}

/* st0, not nst0 or st0a */
static bool is_plain_tape(const char *name)
{
    return !strncmp(name, "st", 2) && isdigit((unsigned char)name[2]) &&
           isdigit((unsigned char)name[strlen(name) - 1]);
}

/* The first name in the directory CLASS of the device; "" when there is none.
 */
static int first_node(const char *device, const char *class,
                      bool (*wanted)(const char *), char **name_r)
{
    char **names = NULL;
    int num, rc;

    rc = xlx__attr_list(&names, &num, wanted, "%s/%s", device, class);
    if (rc) goto out;
    rc = xlx__set_string(name_r, num ? names[0] : "");

 out:
    free(names);
    return rc;
}

static int set_node(char **path, const char *name)
{
    free(*path);
    *path = *name ? xlx__printf("/dev/%s", name) : strdup("");
    return *path ? 0 : xlx__nomem();
}

/* Block device, path and generic node. */
static int read_nodes(const char *device, struct xlx__scsi_pdev *p)
{
    char *name = NULL;
    int rc;

    rc = first_node(device, "block", NULL, &p->block);
    if (rc) goto out;
    rc = first_node(device, "scsi_generic", NULL, &name);
    if (rc) goto out;
    rc = set_node(&p->unit.generic, name);
    if (rc) goto out;
    rc = xlx__set_string(&name, p->block);
    if (rc) goto out;
    if (!*name)
        rc = first_node(device, "scsi_tape", is_plain_tape, &name);
    if (rc) goto out;
    if (!*name)
        rc = first_node(device, "scsi_changer", NULL, &name);
    if (rc) goto out;
    if (!*name)
        rc = first_node(device, "scsi_generic", NULL, &name);
    if (rc) goto out;
    rc = set_node(&p->unit.path, name);

 out:
    free(name);
    return rc;
}

/* A path that the kernel has given up, or is taking away. */
static int read_state(const char *device, struct xlx__scsi_pdev *p)
{
    static const char *const states[] = {
        "offline", "transport-offline", "cancel", "deleted",
    };
    char *state = xlx__attr_text("%s/state", device);
    size_t i;

    if (!state)
        return xlx__nomem();
    for (i = 0; i < XLX__ARRAY_SIZE(states); i++)
        if (!strcmp(state, states[i]))
            p->offline = true;
    free(state);
    return 0;
}

/* The unit serial number, vital product data page 0x80; "" when the device
 * gives none. */
static char *read_serial(const char *device)
{
    unsigned char page[4 + 255] = { 0 };
    const char *serial = (const char *)page + 4;
    size_t len = 0;
    char *path;
    FILE *f;

    path = xlx__printf("%s/vpd_pg80", device);
    f = path ? fopen(path, "re") : NULL;
    free(path);
    if (f) {
        len = fread(page, 1, sizeof(page), f);
        fclose(f);
    }
    if (len <= 4 || page[1] != 0x80)
        return strdup("");
    len = len - 4 < page[3] ? len - 4 : page[3];
    for (; len && (serial[len - 1] == ' ' || !serial[len - 1]); len--)
        ;
    for (; len && *serial == ' '; len--)
        serial++;
    return xlx__printf("%.*s", (int)len, serial);
}

static int read_unit(const char *device, struct xlx__scsi_pdev *p)
{
    char address[XLX__SCSI_HCTL_MAX], *type;
    xlx_scsi_unit *u = &p->unit;
    int rc;

    type = xlx__attr_text("%s/type", device);
    u->vendor = xlx__attr_text("%s/vendor", device);
    u->model = xlx__attr_text("%s/model", device);
    u->revision = xlx__attr_text("%s/rev", device);
    u->wwid = xlx__attr_text("%s/wwid", device);
    p->target = strdup("");
    p->serial = read_serial(device);
    if (!type || !u->vendor || !u->model || !u->revision || !u->wwid ||
        !p->target || !p->serial) {
        rc = xlx__nomem();
        goto out;
    }
    rc = xlx__set_string(&u->type, type_name(type));
    if (rc) goto out;
    xlx__scsi_format_hctl(&p->hctl, address);
    rc = xlx__set_string(&u->hctl, address);
    if (rc) goto out;
    p->identity = *u->wwid ? xlx__printf("wwid %s", u->wwid)
                           : xlx__printf("hctl %s", address);
    if (!p->identity) {
        rc = xlx__nomem();
        goto out;
    }
    rc = read_nodes(device, p);
    if (rc) goto out;
    if (*p->block)
        p->size = xlx__scsi_block_size(p->block);
    rc = read_state(device, p);

 out:
    free(type);
    return rc;
}

int xlx__scsi_find_hctl(const struct xlx__scsi_hctl *hctl,
                        struct xlx__scsi_pdev *p)
{
    char address[XLX__SCSI_HCTL_MAX], *device;
    int rc;

    xlx__scsi_format_hctl(hctl, address);
    device = xlx__printf("%s/class/scsi_device/%s/device", xlx__sysfs_dir(),
                         address);
    if (!device)
        return xlx__nomem();
    p->hctl = *hctl;
    if (xlx__attr_exists("%s", device))
        rc = read_unit(device, p);
    else
        rc = xlx__error(ERROR_NOTFOUND, "pdev %s: this host has no SCSI "
                        "device at that address", address);
    free(device);
    return rc;
}

/* ---- all of them -------------------------------------------------------- */

static bool is_hctl(const char *name)
{
    struct xlx__scsi_hctl hctl;

    return xlx__scsi_parse_hctl(name, &hctl);
}

int xlx__scsi_units(struct xlx__scsi_hctl **list_r, int *num_r)
{
    struct xlx__scsi_hctl *list;
    char **names;
    int i, num, rc;

    rc = xlx__attr_list(&names, &num, is_hctl, "%s/class/scsi_device",
                        xlx__sysfs_dir());
    if (rc) return rc;
    list = calloc((size_t)num + 1, sizeof(*list));
    if (!list) {
        free(names);
        return xlx__nomem();
    }
    for (i = 0; i < num; i++)
        xlx__scsi_parse_hctl(names[i], &list[i]);
    free(names);
    *list_r = list;
    *num_r = num;
    return 0;
}

/* ---- by identifier ------------------------------------------------------ */

static int add_match(const struct xlx__scsi_hctl *hctl, const char *id,
                     struct xlx__scsi_pdev *found, bool *ambiguous)
{
    struct xlx__scsi_pdev p;
    int rc;

    xlx__scsi_pdev_init(&p);
    rc = xlx__scsi_find_hctl(hctl, &p);
    if (rc == ERROR_NOTFOUND) {     /* it has just been pulled out */
        xlx__error_clear();
        rc = 0;
        goto out;
    }
    if (rc) goto out;
    if (strcmp(p.unit.wwid, id) &&
        !xlx__hostdev_is_scsi_id(p.unit.wwid, id) && strcmp(p.serial, id))
        goto out;
    if (found->identity) {
        /* the second path to one device is the same device */
        *ambiguous = *ambiguous || !xlx__scsi_may_be(found, &p) ||
                     found->size != p.size;
        if (p.offline || !found->offline)
            goto out;
        xlx__scsi_pdev_dispose(found);  /* one that works is better */
    }
    *found = p;
    xlx__scsi_pdev_init(&p);

 out:
    xlx__scsi_pdev_dispose(&p);
    return rc;
}

/* An identifier or a serial number. */
static int find_id(const char *id, struct xlx__scsi_pdev *p)
{
    struct xlx__scsi_hctl *list;
    bool ambiguous = false;
    int i, num, rc;

    rc = xlx__scsi_units(&list, &num);
    if (rc) return rc;
    for (i = 0; !rc && i < num; i++)
        rc = add_match(&list[i], id, p, &ambiguous);
    free(list);
    if (rc) return rc;
    if (ambiguous)
        return xlx__error(ERROR_INVAL, "pdev \"%s\": more than one device "
                          "has that identifier or serial number; name it by "
                          "its wwid or H:C:T:L, see xl scsi-assignable", id);
    if (!p->identity)
        return xlx__error(ERROR_NOTFOUND, "pdev \"%s\": no device node, and "
                          "no SCSI device of this host has such an "
                          "identifier; see xl scsi-assignable", id);
    return 0;
}

/* ---- by path ------------------------------------------------------------ */

/* The SCSI device behind a device number, if there is one. */
static int find_devno(const char *class, dev_t devno, bool *found_r,
                      struct xlx__scsi_pdev *p)
{
    struct xlx__scsi_hctl hctl;
    char *name;
    int rc = 0;

    name = xlx__attr_link("%s/dev/%s/%u:%u/device", xlx__sysfs_dir(), class,
                          major(devno), minor(devno));
    if (!name)
        return xlx__nomem();
    *found_r = xlx__scsi_parse_hctl(name, &hctl);
    if (*found_r)
        rc = xlx__scsi_find_hctl(&hctl, p);
    free(name);
    return rc;
}

/* A disk or file that is not a SCSI device: a name, a type and an identity. */
static int set_other(struct xlx__scsi_pdev *p, const char *path,
                     const char *type, const char *block, char *identity)
{
    int rc;

    p->identity = identity;
    if (!identity)
        return xlx__nomem();
    rc = xlx__set_string(&p->unit.path, path);
    if (rc) return rc;
    rc = xlx__set_string(&p->unit.type, type);
    if (rc) return rc;
    rc = xlx__set_string(&p->unit.hctl, "");
    if (rc) return rc;
    rc = xlx__set_string(&p->target, "");
    if (rc) return rc;
    return xlx__set_string(&p->block, block);
}

static int find_block(const char *pdev, const char *path, dev_t devno,
                      struct xlx__scsi_pdev *p)
{
    bool found;
    char *name;
    int rc;

    if (xlx__attr_exists("%s/dev/block/%u:%u/partition", xlx__sysfs_dir(),
                         major(devno), minor(devno)))
        return xlx__error(ERROR_INVAL, "pdev %s: it is a partition; only a "
                          "whole device can be attached", pdev);
    rc = find_devno("block", devno, &found, p);
    if (rc || found)
        return rc;
    name = xlx__attr_link("%s/dev/block/%u:%u", xlx__sysfs_dir(),
                          major(devno), minor(devno));
    if (!name)
        return xlx__nomem();
    rc = xlx__scsi_describe_block(p, name);
    if (!rc)
        rc = set_other(p, path, "block", name, p->identity);
    free(name);
    return rc;
}

int xlx__scsi_set_block(struct xlx__scsi_pdev *p, const char *name)
{
    char *path, *slash;
    int rc;

    path = xlx__printf("/dev/%s", name);
    if (!path)
        return xlx__nomem();
    while ((slash = strchr(path, '!')))
        *slash = '/';
    rc = xlx__scsi_describe_block(p, name);
    if (!rc)
        rc = set_other(p, path, "block", name, p->identity);
    free(path);
    return rc;
}

static int find_char(const char *pdev, dev_t devno, struct xlx__scsi_pdev *p)
{
    bool found;
    int rc;

    rc = find_devno("char", devno, &found, p);
    if (rc || found)
        return rc;
    return xlx__error(ERROR_INVAL, "pdev %s: it is not a SCSI device", pdev);
}

/* A number of an inode is given to another file when its own is removed: the
 * time of birth tells them apart, where the file system knows it. */
static int read_birth(const char *path, struct xlx__scsi_pdev *p)
{
    struct statx stx;

    if (statx(AT_FDCWD, path, 0, STATX_BTIME, &stx) ||
        !(stx.stx_mask & STATX_BTIME))
        p->serial = strdup("");
    else
        p->serial = xlx__printf("%lld.%09u", (long long)stx.stx_btime.tv_sec,
                                stx.stx_btime.tv_nsec);
    return p->serial ? 0 : xlx__nomem();
}

static int find_file(const char *path, const struct stat *st,
                     struct xlx__scsi_pdev *p)
{
    int rc;

    rc = read_birth(path, p);
    if (rc) return rc;
    p->size = (uint64_t)st->st_size;
    if (p->size < 512 || p->size % 512)
        return xlx__error(ERROR_INVAL, "pdev %s: its size is %" PRIu64
                          " bytes; it must be a multiple of 512", path,
                          p->size);
    if (strlen(path) > MAX_FILE_NAME)
        return xlx__error(ERROR_INVAL, "pdev %s: the kernel's target takes "
                          "names of up to %d bytes", path, MAX_FILE_NAME);
    if (path[strcspn(path, ",")])
        return xlx__error(ERROR_INVAL, "pdev %s: the kernel's target cannot "
                          "take a name with a comma", path);
    return set_other(p, path, "file", "",
                     xlx__printf("file %u:%u:%" PRIu64, major(st->st_dev),
                                 minor(st->st_dev), (uint64_t)st->st_ino));
}

static int find_path(const char *pdev, struct xlx__scsi_pdev *p)
{
    struct stat st;
    char *path;
    int rc;

    path = realpath(pdev, NULL);
    if (!path || stat(path, &st)) {
        rc = xlx__error(errno == ENOENT ? ERROR_NOTFOUND : ERROR_FAIL,
                        "pdev %s: %m", pdev);
        goto out;
    }
    if (S_ISBLK(st.st_mode))
        rc = find_block(pdev, path, st.st_rdev, p);
    else if (S_ISCHR(st.st_mode))
        rc = find_char(pdev, st.st_rdev, p);
    else if (S_ISREG(st.st_mode))
        rc = find_file(path, &st, p);
    else
        rc = xlx__error(ERROR_INVAL, "pdev %s: neither a device nor a file",
                        pdev);

 out:
    free(path);
    return rc;
}

/* /dev/sda for the number of /dev/sda1, whose directory is in that of its
 * disk; NULL when it is not a partition. */
static int whole_disk(dev_t devno, char **path_r)
{
    char real[PATH_MAX], *above;
    int rc = 0;

    *path_r = NULL;
    if (!xlx__attr_exists("%s/dev/block/%u:%u/partition", xlx__sysfs_dir(),
                          major(devno), minor(devno)))
        return 0;
    above = xlx__printf("%s/dev/block/%u:%u/..", xlx__sysfs_dir(),
                        major(devno), minor(devno));
    if (above && realpath(above, real))
        *path_r = xlx__printf("/dev/%s", strrchr(real, '/') + 1);
    if (!*path_r)
        rc = xlx__error(ERROR_FAIL, "partition %u:%u: no disk is known of it",
                        major(devno), minor(devno));
    free(above);
    return rc;
}

int xlx__scsi_find_whole(const char *path, struct xlx__scsi_pdev *p)
{
    char *disk = NULL;
    struct stat st;
    int rc;

    if (stat(path, &st))
        return ERROR_NOTFOUND;
    rc = S_ISBLK(st.st_mode) ? whole_disk(st.st_rdev, &disk) : 0;
    if (!rc)
        rc = find_path(disk ? disk : path, p);
    free(disk);
    if (!rc || rc == ERROR_NOMEM)
        return rc;
    xlx__error_clear();
    return ERROR_NOTFOUND;
}

/* "sdb" as well as "/dev/sdb" */
static int find_name(const char *pdev, struct xlx__scsi_pdev *p)
{
    struct stat st;
    char *path;
    int rc;

    path = xlx__printf("/dev/%s", pdev);
    if (!path)
        return xlx__nomem();
    if (strcmp(pdev, ".") && strcmp(pdev, "..") && !stat(path, &st) &&
        !S_ISDIR(st.st_mode))
        rc = find_path(path, p);
    else
        rc = find_id(pdev, p);
    free(path);
    return rc;
}

/* ---- any of them -------------------------------------------------------- */

static int set_target(const char *pdev, uint64_t lun,
                      struct xlx__scsi_pdev *p)
{
    int rc;

    rc = set_other(p, "", "target", "", xlx__printf("target %s", pdev));
    if (rc) return rc;
    p->lun = (uint32_t)lun;
    rc = xlx__set_string(&p->target, pdev);
    if (rc) return rc;
    *strrchr(p->target, ':') = '\0';
    return 0;
}

int xlx__scsi_find(const char *pdev, struct xlx__scsi_pdev *p)
{
    enum xlx__scsi_spelling spelling;
    struct xlx__scsi_hctl hctl;
    int rc;

    rc = xlx__scsi_spelling(pdev, &spelling, &hctl);
    if (rc) return rc;
    switch (spelling) {
    case XLX__SCSI_BY_HCTL: return xlx__scsi_find_hctl(&hctl, p);
    case XLX__SCSI_BY_PATH: return find_path(pdev, p);
    case XLX__SCSI_TARGET:  return set_target(pdev, hctl.lun, p);
    case XLX__SCSI_BY_ID:   break;
    }
    return find_name(pdev, p);
}

xlx_scsi_identity xlx__scsi_identity_kind(const char *identity,
                                          const char **value_r)
{
    xlx_scsi_identity kind;
    char word[16];
    size_t len;

    len = strcspn(identity, " ");
    *value_r = "";
    if (!identity[len] || len >= sizeof(word))
        return XLX_SCSI_IDENTITY_NONE;
    memcpy(word, identity, len);
    word[len] = '\0';
    if (xlx_scsi_identity_from_string(word, &kind))
        return XLX_SCSI_IDENTITY_NONE;
    *value_r = identity + len + 1;
    return kind;
}

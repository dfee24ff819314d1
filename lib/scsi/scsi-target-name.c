/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The names of our targets and backstores in configfs, and the search for
 * those that are there.  All names follow from the guest's UUID and the vdev,
 * so a leftover tells whose it was.
 *
 * rtslib (targetcli, targetctl) reads every target of the host, and gives up
 * on all of them when it does not know the form of one name.  So ours have a
 * form that each of its versions takes.  It also saves our targets with its
 * own, and makes them again in directories of its own: such a copy has our
 * name under another number.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "core/store.h"
#include "scsi/scsi.h"

/* Number of our directory in target/core for each kind, "xlx" in ASCII: other
 * tools count from 0 and look no further than 1048576. */
#define HBA 0x786c78u
#define PREFIX "xlx-"

static const xlx_scsi_backstore kinds[] = {
    XLX_SCSI_BACKSTORE_PSCSI, XLX_SCSI_BACKSTORE_IBLOCK,
    XLX_SCSI_BACKSTORE_FILEIO,
};

static const char *kind_name(xlx_scsi_backstore kind)
{
    switch (kind) {
    case XLX_SCSI_BACKSTORE_PSCSI:  return "pscsi";
    case XLX_SCSI_BACKSTORE_IBLOCK: return "iblock";
    default:                         return "fileio";
    }
}

/* ---- making them -------------------------------------------------------- */

/* FNV-1a, continued from value. */
#define HASH_START UINT64_C(0xcbf29ce484222325)

static uint64_t hash(uint64_t value, const void *data, size_t len)
{
    const unsigned char *byte = data;

    for (; len; len--)
        value = (value ^ *byte++) * UINT64_C(0x100000001b3);
    return value;
}

uint64_t xlx__scsi_target_hash(const char *text)
{
    return hash(HASH_START, text, strlen(text));
}

static uint64_t target_hash(const libxl_uuid *uuid,
                            const struct xlx__scsi_hctl *vdev)
{
    char place[32];

    snprintf(place, sizeof(place), "%u:%u", vdev->host, vdev->target);
    return hash(hash(HASH_START, uuid->uuid, sizeof(uuid->uuid)), place,
                strlen(place));
}

/* The name of the guest and one target of its adapter: an identifier of type
 * 5 (SPC-4, 7.8.6.6.3), 24 bits of company ID and 36 of its choice.  Bit 1 of
 * the ID's first byte says that it was assigned locally, so that no device
 * that was made has it; the other bytes are "xl".  Type 3, which is assigned
 * locally as a whole, is not among those that rtslib takes (1, 2 and 5; later
 * versions also c to f). */
static char *target_wwn(const libxl_uuid *uuid,
                        const struct xlx__scsi_hctl *vdev)
{
    uint64_t value = target_hash(uuid, vdev);

    value ^= value >> 36;               /* all bits count */
    return xlx__printf("naa.502786c%09" PRIx64,
                       value & UINT64_C(0xfffffffff));
}

/* Its name in the first versions. */
static char *old_target_wwn(const libxl_uuid *uuid,
                            const struct xlx__scsi_hctl *vdev)
{
    return xlx__printf("naa.3%015" PRIx64, target_hash(uuid, vdev) &
                       UINT64_C(0x0fffffffffffffff));
}

static int set_target(const libxl_uuid *uuid,
                      const struct xlx__scsi_hctl *vdev,
                      xlx_scsi_entry *entry)
{
    free(entry->target);
    entry->target = target_wwn(uuid, vdev);
    entry->lun = (uint32_t)vdev->lun;
    return entry->target ? 0 : xlx__nomem();
}

int xlx__scsi_target_name(const libxl_uuid *uuid,
                          const struct xlx__scsi_hctl *vdev,
                          xlx_scsi_entry *entry)
{
    free(entry->backstore);
    entry->backstore = xlx__printf("%s_%u/" PREFIX LIBXL_UUID_FMT
                                   "-%u.%u.%u.%" PRIu64,
                                   kind_name(entry->dev.backstore), HBA,
                                   LIBXL_UUID_BYTES(*uuid), vdev->host,
                                   vdev->channel, vdev->target, vdev->lun);
    if (!entry->backstore)
        return xlx__nomem();
    return set_target(uuid, vdev, entry);
}

int xlx__scsi_target_rename(const libxl_uuid *uuid, xlx_scsi_entry *entry)
{
    struct xlx__scsi_hctl vdev;
    int rc;

    if (entry->dev.backstore == XLX_SCSI_BACKSTORE_TARGET)
        return 0;
    rc = xlx__scsi_parse_vdev(xlx__text(entry->dev.vdev), &vdev);
    return rc ? rc : set_target(uuid, &vdev, entry);
}

char *xlx__scsi_target_tpg(const xlx_scsi_entry *entry)
{
    return xlx__printf("%s/target/xen-pvscsi/%s/tpgt_1", xlx__configfs_dir(),
                       entry->target);
}

char *xlx__scsi_target_lun(const xlx_scsi_entry *entry)
{
    return xlx__printf("%s/target/xen-pvscsi/%s/tpgt_1/lun/lun_%u",
                       xlx__configfs_dir(), entry->target, entry->lun);
}

/* ---- reading them ------------------------------------------------------- */

bool xlx__scsi_target_parse(const char *name, libxl_uuid *uuid,
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

/* The last two parts of what the link leads to, "KIND_N/NAME"; NULL when it
 * is not a link. */
static char *backstore_of_link(const char *dir, const char *name)
{
    char to[PATH_MAX], *path, *start;
    ssize_t len = -1;

    path = xlx__printf("%s/%s", dir, name);
    if (path)
        len = readlink(path, to, sizeof(to) - 1);
    free(path);
    if (len < 0)
        return NULL;
    to[len] = '\0';
    start = strrchr(to, '/');
    if (!start || start == to)
        return NULL;
    for (start--; start > to && start[-1] != '/'; )
        start--;
    return strdup(start);
}

int xlx__scsi_target_link(const char *lun, char **backstore_r, char **link_r)
{
    char **names, *backstore = NULL;
    int i, num, rc;

    rc = xlx__attr_list(&names, &num, NULL, "%s", lun);
    if (rc) return rc;
    for (i = 0; !backstore && i < num; i++) {
        backstore = backstore_of_link(lun, names[i]);
        if (!backstore)
            continue;
        *link_r = xlx__printf("%s/%s", lun, names[i]);
        if (!*link_r) {
            rc = xlx__nomem();
            goto out;
        }
        *backstore_r = backstore;
    }
    rc = backstore ? 0 : ERROR_NOTFOUND;
    backstore = NULL;

 out:
    free(backstore);
    free(names);
    return rc;
}

int xlx__scsi_target_guest(const xlx_scsi_entry *entry, libxl_uuid *uuid)
{
    char *lun, *backstore = NULL, *link = NULL;
    struct xlx__scsi_hctl vdev;
    int rc;

    lun = xlx__scsi_target_lun(entry);
    if (!lun)
        return xlx__nomem();
    rc = xlx__scsi_target_link(lun, &backstore, &link);
    if (!rc)
        rc = xlx__scsi_target_parse(strchr(backstore, '/') + 1, uuid, &vdev);
    free(link);
    free(backstore);
    free(lun);
    return xlx__forgive(rc, ERROR_NOTFOUND);
}

/* ---- what there is ------------------------------------------------------ */

/* Does the LUN of the entry's target lead to its backstore? */
static bool leads_to_it(const xlx_scsi_entry *e)
{
    char *lun, *backstore = NULL, *link = NULL;
    bool leads;

    lun = xlx__scsi_target_lun(e);
    leads = lun && !xlx__scsi_target_link(lun, &backstore, &link) &&
            !strcmp(backstore, e->backstore);
    free(link);
    free(backstore);
    free(lun);
    return leads;
}

/* The entry of a backstore in target/core, whose target may have the name
 * that an earlier version gave it. */
static int describe(xlx_scsi_backstore kind, const char *dir,
                    const char *name, const libxl_uuid *uuid,
                    const struct xlx__scsi_hctl *vdev, xlx_scsi_entry *e)
{
    char address[XLX__SCSI_HCTL_MAX], *now;
    int rc;

    e->dev.backstore = kind;
    rc = xlx__set_string(&e->dev.vdev, xlx__scsi_format_hctl(vdev, address));
    if (rc) return rc;
    e->backstore = xlx__printf("%s/%s", dir, name);
    now = target_wwn(uuid, vdev);
    e->target = old_target_wwn(uuid, vdev);
    e->lun = (uint32_t)vdev->lun;
    if (!e->backstore || !e->target || !now) {
        free(now);
        return xlx__nomem();
    }
    if (leads_to_it(e)) {
        free(now);
        return 0;
    }
    free(e->target);
    e->target = now;
    return 0;
}

static int add_ours(xlx_scsi_backstore kind, const char *dir,
                    const char *name, xlx_scsi_entry **entries,
                    libxl_uuid **uuids, int *num)
{
    struct xlx__scsi_hctl vdev;
    xlx_scsi_entry *e;
    libxl_uuid uuid, *u;

    if (!xlx__scsi_target_parse(name, &uuid, &vdev))
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
    return describe(kind, dir, name, &uuid, &vdev, e);
}

/* Of which kind are the backstores in a directory of target/core? */
static bool kind_of(const char *dir, xlx_scsi_backstore *kind_r)
{
    const char *name;
    uint32_t number;
    size_t k;

    for (k = 0; k < XLX__ARRAY_SIZE(kinds); k++) {
        name = kind_name(kinds[k]);
        if (!strncmp(dir, name, strlen(name)) && dir[strlen(name)] == '_' &&
            xlx__parse_u32(dir + strlen(name) + 1, UINT32_MAX, &number)) {
            *kind_r = kinds[k];
            return true;
        }
    }
    return false;
}

static bool is_core_dir(const char *dir)
{
    xlx_scsi_backstore kind;

    return kind_of(dir, &kind);
}

int xlx__scsi_target_ours(xlx_scsi_entry **entries_r, libxl_uuid **uuids_r,
                          int *num_r)
{
    char **dirs = NULL, **names;
    xlx_scsi_backstore kind;
    int i, j, n, num, rc;

    rc = xlx__attr_list(&dirs, &num, is_core_dir, "%s/target/core",
                        xlx__configfs_dir());
    for (i = 0; !rc && i < num; i++) {
        kind_of(dirs[i], &kind);
        rc = xlx__attr_list(&names, &n, NULL, "%s/target/core/%s",
                            xlx__configfs_dir(), dirs[i]);
        if (rc) break;
        for (j = 0; !rc && j < n; j++)
            rc = add_ours(kind, dirs[i], names[j], entries_r, uuids_r, num_r);
        free(names);
    }
    free(dirs);
    return rc;
}

int xlx__scsi_target_copies(const char *backstore, char ***copies_r,
                            int *num_r)
{
    const char *name = strchr(backstore, '/') + 1;
    char **dirs = NULL;
    int i, num, rc;

    rc = xlx__attr_list(&dirs, &num, is_core_dir, "%s/target/core",
                        xlx__configfs_dir());
    if (rc) return rc;
    *num_r = 0;
    /* those that are kept move to the front of the one block */
    for (i = 0; i < num; i++)
        if ((strncmp(backstore, dirs[i], strlen(dirs[i])) ||
             backstore[strlen(dirs[i])] != '/') &&
            xlx__attr_exists("%s/target/core/%s/%s", xlx__configfs_dir(),
                             dirs[i], name))
            dirs[(*num_r)++] = dirs[i];
    *copies_r = dirs;
    return 0;
}

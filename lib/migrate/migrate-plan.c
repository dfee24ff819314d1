/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which disks go along, to which paths, and whether they can.  A disk with
 * snapshots, or one that is based on other images, is refused by name: its
 * copy would be without them, and the user says whether that is meant.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "disk/disk.h"
#include "disk/image.h"
#include "migrate/migrate.h"

/* ---- the words of the user ---------------------------------------------- */

/* Is word, which ends at a comma, the len bytes of name? */
static const char *next_word(const char *list, size_t *len_r)
{
    *len_r = strcspn(list, ",");
    return list;
}

static bool is_listed(const char *list, const char *vdev)
{
    const char *p;
    size_t len;

    for (p = list; *p; p += len + (p[len] == ',')) {
        next_word(p, &len);
        if (len == strlen(vdev) && !strncmp(p, vdev, len))
            return true;
    }
    return false;
}

/* The path that the map has for the disk; malloc()ed, NULL for none. */
static int find_mapped(const char *map, const char *vdev, char **path_r)
{
    const char *p, *equals;
    size_t len;

    *path_r = NULL;
    for (p = map; *p && !*path_r; p += len + (p[len] == ',')) {
        next_word(p, &len);
        equals = memchr(p, '=', len);
        if ((size_t)(equals - p) == strlen(vdev) &&
            !strncmp(p, vdev, strlen(vdev))) {
            *path_r = strndup(equals + 1, len - (size_t)(equals + 1 - p));
            if (!*path_r)
                return xlx__nomem();
        }
    }
    return 0;
}

/* Each word of the two lists must be about a disk that is copied. */
static int check_words(const struct xlx__migrate *m, const char *list,
                       bool map)
{
    const xlx_disk_migration *r = &m->record;
    const char *p, *equals;
    size_t len, name;
    int i;

    for (p = list; *p; p += len + (p[len] == ',')) {
        next_word(p, &len);
        equals = memchr(p, '=', len);
        if (map && !equals)
            return xlx__error(ERROR_INVAL, "map \"%.*s\": write DISK=PATH",
                              (int)len, p);
        name = map ? (size_t)(equals - p) : len;
        for (i = 0; i < r->num_disks; i++)
            if (strlen(r->disks[i].vdev) == name &&
                !strncmp(r->disks[i].vdev, p, name))
                break;
        if (i == r->num_disks)
            return xlx__error(ERROR_NOTFOUND, "%s \"%.*s\": %s",
                              map ? "map" : "disks", (int)name, p, map
                              ? "that disk is not copied"
                              : "the guest has no such disk");
    }
    return 0;
}

/* ---- one disk ----------------------------------------------------------- */

static int check_snapshots(struct xlx__migrate *m, const xlx_disk *disk)
{
    const xlx_snapshots *record = &m->mirror.c.record;
    struct xlx__image_tag *tags = NULL;
    int i, num = 0, rc;

    for (i = 0; i < record->num_snapshots; i++)
        if (xlx__snapshot_disk_of(&record->snapshots[i], disk->vdev))
            return xlx__error(ERROR_INVAL, "%s: its snapshot \"%s\" would "
                              "stay behind: --flatten copies what the disk "
                              "shows now", disk->vdev,
                              record->snapshots[i].name);
    if (disk->layers > 1)
        return xlx__error(ERROR_INVAL, "%s: it is based on another image: xl "
                          "disk-pull makes it independent, and --flatten "
                          "copies what it shows now", disk->vdev);
    if (strcmp(disk->format, "qcow2"))
        return 0;
    rc = xlx__image_tags(disk->path, &tags, &num);
    if (!rc && num)
        rc = xlx__error(ERROR_INVAL, "%s: the snapshot \"%s\" in %s would "
                        "stay behind: --flatten copies what the disk shows "
                        "now", disk->vdev, tags[0].name, disk->path);
    xlx__image_tags_free(tags, num);
    return rc;
}

static int check_path(const char *vdev, const char *path)
{
    const char *p;

    for (p = path; *p; p++)
        if (iscntrl((unsigned char)*p))
            break;
    if (*path == '/' && !*p && path[strlen(path) - 1] != '/')
        return 0;
    return xlx__error(ERROR_INVAL, "%s: \"%s\" is not the absolute path of a "
                      "file", vdev, path);
}

static int name_socket(struct xlx__migrate *m, xlx_disk_migration_disk *d)
{
    struct sockaddr_un address;

    d->socket = xlx__printf("%s/migrate-" LIBXL_UUID_FMT "-%s",
                            m->ctx->run_dir,
                            LIBXL_UUID_BYTES(m->guest->uuid), d->vdev);
    if (!d->socket)
        return xlx__nomem();
    if (strlen(d->socket) < sizeof(address.sun_path) - 20)
        return 0;                   /* ssh makes it longer at first */
    return xlx__error(ERROR_INVAL, "%s: the name of a socket would be too "
                      "long: set LIBXLX_RUN_DIR", d->socket);
}

static int plan_target(struct xlx__migrate *m, const xlx_disk *disk,
                       xlx_disk_migration_disk *d)
{
    char *mapped;
    int rc;

    rc = find_mapped(xlx__text(m->spec->map), d->vdev, &mapped);
    if (rc) return rc;
    rc = xlx__set_string(&d->target, mapped ? mapped : disk->path);
    free(mapped);
    return rc ? rc : check_path(d->vdev, d->target);
}

static int plan_disk(struct xlx__migrate *m, const char *vdev)
{
    xlx_disk_migration_disk *d;
    const xlx_disk *disk;
    int rc;

    if (strspn(vdev, "abcdefghijklmnopqrstuvwxyz0123456789") != strlen(vdev))
        return xlx__error(ERROR_INVAL, "\"%s\": not the name of a disk",
                          vdev);
    /* each look reads the list */
    xlx_disks_dispose(&m->mirror.c.disks);
    xlx_disks_init(&m->mirror.c.disks);
    rc = xlx__mirror_find_disk(&m->mirror, vdev, &disk);
    if (!rc && !m->spec->flatten)
        rc = check_snapshots(m, disk);
    if (rc) return rc;
    d = xlx__disk_migration_disks_append(&m->record);
    if (!d)
        return ERROR_NOMEM;
    d->size = disk->virtual_size;
    rc = xlx__set_string(&d->vdev, vdev);
    if (rc) return rc;
    rc = xlx__set_string(&d->image, disk->path);
    if (rc) return rc;
    rc = xlx__set_string(&d->format, strcmp(disk->format, "qcow2")
                         ? "raw" : "qcow2");
    if (rc) return rc;
    rc = plan_target(m, disk, d);
    return rc ? rc : name_socket(m, d);
}

/* ---- all of them -------------------------------------------------------- */

static int leave_out(struct xlx__migrate *m, const libxl_device_disk *disk)
{
    const char *path = xlx__text(disk->pdev_path);

    if (!*path)
        return 0;                   /* an empty drive */
    xlx__notice(m->ctx, "%s is not copied: %s has to show the same at %s",
                disk->vdev, xlx__text(m->spec->host), path);
    return xlx__snapshot_add_string(&m->shared, &m->num_shared, path);
}

static int plan_disks(struct xlx__migrate *m, const libxl_device_disk *disks,
                      int num)
{
    const char *wanted = xlx__text(m->spec->disks);
    int i, rc = 0;

    for (i = 0; !rc && i < num; i++) {
        if (*wanted ? is_listed(wanted, xlx__text(disks[i].vdev))
                    : disks[i].readwrite && !disks[i].is_cdrom)
            rc = plan_disk(m, xlx__text(disks[i].vdev));
        else
            rc = leave_out(m, &disks[i]);
    }
    if (!rc)
        rc = check_words(m, wanted, false);
    if (!rc)
        rc = check_words(m, xlx__text(m->spec->map), true);
    if (!rc && !m->record.num_disks)
        rc = xlx__error(ERROR_INVAL, "the guest has no disk to copy: use xl "
                        "migrate without --copy-disks");
    return rc;
}

int xlx__migrate_plan(struct xlx__migrate *m)
{
    libxl_device_disk *disks = NULL;
    int num = 0, rc;

    rc = xlx__mirror_begin(m->ctx, m->guest, m->spec->dry_run, &m->mirror);
    m->locked = true;
    if (!rc)
        rc = xlx__migrate_disks(m->ctx, m->guest, &disks, &num);
    if (!rc)
        rc = plan_disks(m, disks, num);
    libxl_device_disk_list_free(disks, num);
    xlx__mirror_end(&m->mirror);
    m->locked = false;
    return rc;
}

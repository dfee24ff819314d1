/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Overlays of external snapshots: what they are called, where they lie.
 * disk.qcow2 becomes disk.NAME.qcow2, also when what lies below is an overlay
 * itself: names do not grow with the chain.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "image.h"
#include "snapshot.h"

#define MAX_TRIES 1000
#define MAX_NODE 31                 /* bytes, QEMU's limit */

/* The image at the bottom of the chain that libxlx made is the user's own,
 * and gives the name. */
static const char *bottom(const xlx_snapshots *record,
                          const xlx_snapshot_disk *disk)
{
    const char *path = disk->image, *below = disk->backing;
    bool owned = disk->owned;
    int depth, i, j;

    for (depth = 0; owned && below && *below && depth < 256; depth++) {
        path = below;
        owned = false;
        below = NULL;
        for (i = 0; i < record->num_snapshots; i++)
            for (j = 0; j < record->snapshots[i].num_disks; j++) {
                const xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

                if (!d->tag && d->image && !strcmp(d->image, path)) {
                    owned = d->owned;
                    below = d->backing;
                }
            }
    }
    return path;
}

/* Name of the snapshot as part of a file name: no byte that a shell, an xl
 * disk specification (commas, quotes, spaces) or a QEMU option would take for
 * something else. */
static char *file_part(const char *name)
{
    char *s = strndup(name, 100), *p;

    for (p = s; p && *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                    "0123456789._+-", *p))
            *p = '_';
    return s;
}

static int check_dir(const char *dir)
{
    struct stat st;

    if (*dir != '/')
        return xlx__error(ERROR_INVAL, "overlay folder \"%s\": must be an "
                          "absolute path", dir);
    if (stat(dir, &st))
        return xlx__error(ERROR_NOTFOUND, "overlay folder %s: %m", dir);
    if (!S_ISDIR(st.st_mode))
        return xlx__error(ERROR_INVAL, "overlay folder %s: not a folder",
                          dir);
    if (access(dir, W_OK | X_OK))
        return xlx__error(ERROR_FAIL, "overlay folder %s: %m", dir);
    return 0;
}

/* QEMU may keep a node for an image that was merged away and removed, until
 * the guest ends; a new image of the same name would be taken for it. */
static int read_files(struct xlx__snapshot_change *c)
{
    int rc;

    if (!c->served || c->files)
        return 0;
    rc = xlx__snapshot_connect(c);
    return rc ? rc : xlx__disk_files(c->qmp, &c->files, &c->num_files);
}

static bool is_unused(const struct xlx__snapshot_change *c, const char *path)
{
    struct stat st;
    int i;

    for (i = 0; i < c->num_files; i++)
        if (!strcmp(c->files[i], path))
            return false;
    return lstat(path, &st) && errno == ENOENT;
}

static int unused_path(const struct xlx__snapshot_change *c, const char *dir,
                       int dir_len, const char *stem, int stem_len,
                       const char *name, char **path_r)
{
    char *path;
    int i;

    for (i = 1; i < MAX_TRIES; i++) {
        path = i == 1
            ? xlx__printf("%.*s/%.*s.%s.qcow2", dir_len, dir, stem_len, stem,
                          name)
            : xlx__printf("%.*s/%.*s.%s-%d.qcow2", dir_len, dir, stem_len,
                          stem, name, i);
        if (!path)
            return xlx__error(ERROR_NOMEM, "out of memory");
        if (is_unused(c, path)) {
            *path_r = path;
            return 0;
        }
        free(path);
    }
    return xlx__error(ERROR_DEVICE_EXISTS, "%.*s: no unused name for an "
                      "overlay of %.*s", dir_len, dir, stem_len, stem);
}

/* "xlx.1a2b3c4d.xvda": recognisable as ours, and not the same as that of any
 * earlier overlay of the disk. */
static int node_name(const char *path, const char *vdev, char **node)
{
    uint32_t hash = 2166136261u;    /* FNV-1a over the path */
    const char *p, *tail = vdev;
    size_t room = MAX_NODE - strlen("xlx.12345678.");
    char *s;
    int rc;

    for (p = path; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    if (strlen(tail) > room)
        tail += strlen(tail) - room;
    s = xlx__printf("xlx.%08x.%s", hash, tail);
    if (!s)
        return xlx__error(ERROR_NOMEM, "out of memory");
    for (char *q = s; *q; q++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                    "0123456789._-", *q))
            *q = '-';
    rc = xlx__set_string(node, s);
    free(s);
    return rc;
}

int xlx__snapshot_plan_overlay(struct xlx__snapshot_change *c,
                               const xlx_snapshot_disk *below,
                               const char *dir, const char *name,
                               xlx_snapshot_disk *over)
{
    const char *origin, *slash, *dot;
    char *part = NULL, *path = NULL;
    int dir_len, rc;

    rc = read_files(c);
    if (rc) return rc;
    origin = bottom(&c->record, below);
    slash = strrchr(origin, '/');
    dot = strrchr(slash + 1, '.');
    if (!dot || dot == slash + 1)
        dot = slash + strlen(slash);
    if (dir && *dir) {
        rc = check_dir(dir);
        if (rc) return rc;
        dir_len = (int)strlen(dir);
    } else {
        dir = below->image;
        dir_len = (int)(strrchr(dir, '/') - dir);
    }
    part = file_part(name);
    if (!part)
        return xlx__error(ERROR_NOMEM, "out of memory");
    rc = unused_path(c, dir, dir_len, slash + 1, (int)(dot - slash - 1), part,
                     &path);
    if (rc) goto out;

    xlx_snapshot_disk_dispose(over);
    rc = xlx__set_string(&over->vdev, below->vdev);
    if (rc) goto out;
    rc = xlx__set_string(&over->image, path);
    if (rc) goto out;
    rc = xlx__set_string(&over->format, "qcow2");
    if (rc) goto out;
    rc = xlx__set_string(&over->backing, below->image);
    if (rc) goto out;
    rc = node_name(path, below->vdev, &over->node);
    if (rc) goto out;
    over->owned = true;
    over->virtual_size = below->virtual_size;

 out:
    free(path);
    free(part);
    return rc;
}

int xlx__snapshot_make_overlay(xlx_ctx *ctx, const xlx_snapshot_disk *below,
                               const xlx_snapshot_disk *over)
{
    int rc;

    rc = xlx__image_create_overlay(ctx, over->image, below->image,
                                   below->format, over->virtual_size);
    return rc ? xlx__error_prefix(rc, "%s", below->vdev) : 0;
}

int xlx__snapshot_note_mtime(xlx_snapshot_disk *disk)
{
    struct stat st;

    if (stat(disk->image, &st))
        return xlx__error(xlx__errno_rc(errno), "%s: %m", disk->image);
    disk->mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 +
                  st.st_mtim.tv_nsec;
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Overlays of external snapshots: their names and places. disk.qcow2 becomes
 * disk.NAME.qcow2, also when the image below is an overlay itself: names do
 * not grow with the chain.
 */
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "core/store.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "snapshot/snapshot.h"

#define MAX_TRIES 1000
#define MIN_FREE_KIB 1024           /* tables of an empty overlay, and some */
#define MAX_NODE 31                 /* bytes, QEMU's limit */
#define AT_ONCE 4                   /* programs that make overlays */

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

/* Are files there gone when the host reboots?  /dev is such a place. */
static bool is_volatile(const char *dir)
{
    struct statfs fs;

    return !statfs(dir, &fs) &&
           (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

bool xlx__snapshot_lasts(const char *dir, const char *as)
{
    struct stat st;

    return !is_volatile(dir) ||
           (!stat(as, &st) && S_ISREG(st.st_mode) && is_volatile(as));
}

/* An overlay takes the guest's writes. */
static int check_lasts(const char *dir, const char *below)
{
    return xlx__snapshot_lasts(dir, below)
        ? 0 : xlx__error(ERROR_INVAL, "overlay directory %s: is in memory, "
                         "and what the guest writes would be gone when the "
                         "host reboots: use --overlay-dir DIR, on a file "
                         "system that lasts", dir);
}

static int check_dir(const char *dir)
{
    struct stat st;

    if (*dir != '/')
        return xlx__error(ERROR_INVAL, "overlay directory \"%s\": must be an "
                          "absolute path", dir);
    if (stat(dir, &st))
        return xlx__error(ERROR_NOTFOUND, "overlay directory %s: %m", dir);
    if (!S_ISDIR(st.st_mode))
        return xlx__error(ERROR_INVAL, "overlay directory %s: not a directory",
                          dir);
    if (access(dir, W_OK | X_OK))
        return xlx__error(ERROR_FAIL, "overlay directory %s: %m", dir);
    return 0;
}

/* QEMU may keep a node for an image that was merged away and removed, until
 * the guest ends; a new image of the same name would be taken for it.  The
 * graph has the names, if the world could read it. */
static int read_files(struct xlx__snapshot_change *c,
                      const struct xlx__image_world *world)
{
    int rc;

    if (!c->served || c->files || xlx__image_world_has_graph(world))
        return 0;
    rc = xlx__snapshot_connect(c);
    return rc ? rc : xlx__disk_files(c->qmp, &c->files, &c->num_files);
}

/* An image that is away for now may be brought back to its name. */
static bool is_recorded(const xlx_snapshots *record, const char *path)
{
    int i, j;

    for (i = 0; i < record->num_disks; i++)
        if (!strcmp(xlx__text(record->disks[i].image), path) ||
            !strcmp(xlx__text(record->disks[i].backing), path))
            return true;
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

            if (!strcmp(xlx__text(d->image), path) ||
                !strcmp(xlx__text(d->backing), path))
                return true;
        }
    return false;
}

/* Names that this change has planned already are among c->files. */
static int is_unused(const struct xlx__snapshot_change *c,
                     const struct xlx__image_world *world, const char *path,
                     bool *yes_r)
{
    struct stat st;
    int i;

    *yes_r = false;
    for (i = 0; i < c->num_files; i++)
        if (!strcmp(c->files[i], path))
            return 0;
    if (!lstat(path, &st) || is_recorded(&c->record, path) ||
        xlx__image_world_names(world, path))
        return 0;
    if (errno != ENOENT)
        return xlx__error(xlx__errno_rc(errno), "%s: %m", path);
    *yes_r = true;
    return 0;
}

/* As much of the stem as leaves room for the rest in a file name: at the end
 * of a character. */
static int fitting(const char *dir, const char *stem, int stem_len,
                   const char *name)
{
    int rest = (int)(strlen(".") + strlen(name) + strlen("-999.qcow2"));
    long max = pathconf(dir, _PC_NAME_MAX);

    if (max <= 0 || max > NAME_MAX)
        max = NAME_MAX;
    if (stem_len + rest <= max)
        return stem_len;
    stem_len = rest < max ? (int)max - rest : 1;
    while (stem_len > 1 && ((unsigned char)stem[stem_len] & 0xc0) == 0x80)
        stem_len--;
    return stem_len;
}

static int unused_path(const struct xlx__snapshot_change *c,
                       const struct xlx__image_world *world, const char *dir,
                       const char *stem, int stem_len, const char *name,
                       char **path_r)
{
    bool unused;
    char *path;
    int i, rc;

    stem_len = fitting(dir, stem, stem_len, name);
    for (i = 1; i < MAX_TRIES; i++) {
        path = i == 1
            ? xlx__printf("%s/%.*s.%s.qcow2", dir, stem_len, stem, name)
            : xlx__printf("%s/%.*s.%s-%d.qcow2", dir, stem_len, stem, name,
                          i);
        if (!path)
            return xlx__nomem();
        rc = is_unused(c, world, path, &unused);
        if (!rc && unused) {
            *path_r = path;
            return 0;
        }
        free(path);
        if (rc) return rc;
    }
    return xlx__error(ERROR_DEVICE_EXISTS, "%s: no unused name for an "
                      "overlay of %.*s", dir, stem_len, stem);
}

/* Where the overlay goes: where the caller wants it, or next to the image.
 * Next to a block device is /dev. */
static int choose_dir(const char *wanted, const char *below, char **dir_r)
{
    const char *configured = secure_getenv("LIBXLX_OVERLAY_DIR");
    struct stat st;
    size_t len;
    int rc;

    if (!*xlx__text(wanted) && !stat(below, &st) && S_ISBLK(st.st_mode)) {
        if (!*xlx__text(configured))
            return xlx__error(ERROR_INVAL, "%s is a block device, and an "
                              "overlay cannot be next to it: use "
                              "--overlay-dir DIR, or set "
                              "LIBXLX_OVERLAY_DIR", below);
        wanted = configured;
    }
    if (*xlx__text(wanted)) {
        rc = xlx__set_string(dir_r, wanted);
    } else {
        len = (size_t)(strrchr(below, '/') - below);
        *dir_r = strndup(below, len ? len : 1);
        rc = *dir_r ? 0 : xlx__nomem();
    }
    if (!rc)
        rc = check_dir(*dir_r);
    return rc ? rc : check_lasts(*dir_r, below);
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
        return xlx__nomem();
    for (char *q = s; *q; q++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                    "0123456789._-", *q))
            *q = '-';
    rc = xlx__set_string(node, s);
    free(s);
    return rc;
}

static int describe(xlx_ctx *ctx, const xlx_snapshot_disk *below,
                    const char *path, xlx_snapshot_disk *over)
{
    uint64_t size = 0;
    int rc;

    /* the record knows the size of long ago */
    rc = xlx__image_size(ctx, below->image, below->format, &size);
    if (rc) return rc;
    xlx_snapshot_disk_dispose(over);
    rc = xlx__set_string(&over->vdev, below->vdev);
    if (rc) return rc;
    rc = xlx__set_string(&over->image, path);
    if (rc) return rc;
    rc = xlx__set_string(&over->format, "qcow2");
    if (rc) return rc;
    rc = xlx__set_string(&over->backing, below->image);
    if (rc) return rc;
    rc = node_name(path, below->vdev, &over->node);
    if (rc) return rc;
    over->owned = true;
    over->virtual_size = size;
    over->mtime = xlx__snapshot_now();
    return 0;
}

int xlx__snapshot_plan_overlay(struct xlx__snapshot_change *c,
                               const struct xlx__image_world *world,
                               const xlx_snapshot_disk *below,
                               const char *dir, const char *name,
                               xlx_snapshot_disk *over)
{
    char *part = NULL, *path = NULL, *where = NULL;
    const char *origin, *slash, *dot;
    int rc;

    rc = read_files(c, world);
    if (rc) goto out;
    origin = bottom(&c->record, below);
    slash = strrchr(origin, '/');
    dot = strrchr(slash + 1, '.');
    if (!dot || dot == slash + 1)
        dot = slash + strlen(slash);
    rc = choose_dir(dir, below->image, &where);
    if (rc) goto out;
    part = file_part(name);
    if (!part) {
        rc = xlx__nomem();
        goto out;
    }
    rc = unused_path(c, world, where, slash + 1, (int)(dot - slash - 1), part,
                     &path);
    if (rc) goto out;
    rc = xlx__snapshot_add_string(&c->files, &c->num_files, path);
    if (rc) goto out;
    rc = describe(c->ctx, below, path, over);

 out:
    free(where);
    free(path);
    free(part);
    return rc ? xlx__error_prefix(rc, "%s", below->vdev) : 0;
}

int xlx__snapshot_check_space(const xlx_snapshot_disk *over, int num)
{
    const char *slash = strrchr(over->image, '/');
    char *dir = strndup(over->image, (size_t)(slash - over->image) + 1);
    unsigned long long kib;
    struct statfs fs;
    int rc = 0;

    if (!dir)
        return xlx__nomem();
    if (!statfs(dir, &fs)) {
        kib = (unsigned long long)(geteuid() ? fs.f_bavail : fs.f_bfree) *
              (unsigned long long)fs.f_bsize >> 10;
        if (kib < (unsigned long long)num * MIN_FREE_KIB)
            rc = xlx__error(ERROR_FAIL, "%s: no space for overlays in %s: "
                            "%llu KiB are free, and they begin with %d and "
                            "grow", over->vdev, dir, kib,
                            num * MIN_FREE_KIB);
    }
    free(dir);
    return rc;
}

/* Ends those that were started, and forgets what comes after the first
 * failure, which is rc if that is not 0. */
static int end_all(struct xlx__image_making *making, int num,
                   const xlx_snapshot_disk *below, bool revert, int rc)
{
    struct xlx__error_text why;
    int i, failed;

    for (i = 0; i < num; i++) {
        xlx__error_save(&why);
        failed = xlx__image_make_end(&making[i]);
        if (failed && !rc)
            rc = xlx__error_prefix(failed, "%s", below[i].vdev);
        else if (rc)
            xlx__error_restore(&why);
        if (revert)
            xlx__fault("snapshot-revert.overlay");
        else
            xlx__fault("snapshot-create.overlay");
    }
    return rc;
}

/* qemu-img mostly waits, for its libraries and for the storage. */
static int make_at_once(xlx_ctx *ctx, const xlx_snapshot_disk *below, int num,
                        const xlx_snapshots *after, bool revert)
{
    struct xlx__image_making making[AT_ONCE];
    const xlx_snapshot_disk *over;
    int i, rc = 0;

    for (i = 0; !rc && i < num; i++) {
        over = xlx__snapshot_current_disk(after, below[i].vdev);
        rc = xlx__image_make_start(ctx, over->image, below[i].image,
                                   below[i].format, over->virtual_size,
                                   &making[i]);
    }
    if (rc)
        xlx__error_prefix(rc, "%s", below[--i].vdev);
    if (revert)
        xlx__fault("snapshot-revert.making");
    else
        xlx__fault("snapshot-create.making");
    return end_all(making, i, below, revert, rc);
}

int xlx__snapshot_make_overlays(xlx_ctx *ctx, const xlx_snapshot *snapshot,
                                const xlx_snapshots *after, bool revert)
{
    int i, num, rc = 0;

    for (i = 0; !rc && i < snapshot->num_disks; i += num) {
        num = snapshot->num_disks - i;
        if (num > AT_ONCE)
            num = AT_ONCE;
        rc = make_at_once(ctx, &snapshot->disks[i], num, after, revert);
    }
    return rc;
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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is a device of the host the one that is recorded?  A pure function of what
 * both say of themselves, for SCSI and USB.  A device is not its place: a
 * socket can hold another one, and addresses and the numbers of block devices
 * are given out again.  Where that cannot be decided the answer is not yes.
 */
#include <string.h>

#include "hostdev/hostdev.h"

/* ---- identifiers -------------------------------------------------------- */

static const char *value_of(const char *id, const char *kind)
{
    size_t len = strlen(kind);

    return !strncmp(id, kind, len) && id[len] == ' ' ? id + len + 1 : NULL;
}

bool xlx__hostdev_is_scsi_id(const char *wwid, const char *id)
{
    static const char *const kinds[] = { "t10.", "eui.", "naa." };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(kinds); i++)
        if (!strncmp(wwid, kinds[i], 4) && *id == (char)('1' + i))
            break;
    if (i == XLX__ARRAY_SIZE(kinds))
        return false;
    for (wwid += 4, id++; *wwid && *id; id++) {
        if (*wwid == ' ' && *id == '_') {
            wwid += strspn(wwid, " ");
            continue;
        }
        if (*wwid++ != *id)
            return false;
    }
    return !*wwid && !*id;
}

static bool begins_with(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

/* A multipath map has the identifier of the disk to which its paths lead. */
static bool is_map_of(const char *map, const char *path)
{
    static const char prefix[] = "mpath-";
    const char *uuid = value_of(map, "dm"), *wwid = value_of(path, "wwid");

    return uuid && wwid && begins_with(uuid, prefix) &&
           xlx__hostdev_is_scsi_id(wwid, uuid + strlen(prefix));
}

/* "file MAJOR:MINOR:INODE": the first two are given out again at each mount of
 * a file system that has no disk of its own. */
static bool same_inode(const char *a, const char *b)
{
    const char *x = value_of(a, "file"), *y = value_of(b, "file");

    x = x ? strrchr(x, ':') : NULL;
    y = y ? strrchr(y, ':') : NULL;
    return x && y && !strcmp(x, y);
}

/* Do others have the same one, by design?  NAA 3 is assigned locally: targets
 * count from 1 there, each for itself, and so with t10 names but those of ATA
 * disks, which have a serial number in them.  A USB device has that of its
 * kind. */
static bool is_weak(const char *id)
{
    const char *wwid = value_of(id, "wwid");

    return value_of(id, "usb") ||
           (wwid && (begins_with(wwid, "naa.3") ||
                     (begins_with(wwid, "t10.") &&
                      !begins_with(wwid, "t10.ATA "))));
}

/* It says where a device is, and not which. */
static bool is_place(const char *id)
{
    return !*id || value_of(id, "hctl") || value_of(id, "block");
}

/* ---- one and one -------------------------------------------------------- */

static bool differ(const char *a, const char *b)
{
    return *xlx__text(a) && *xlx__text(b) && strcmp(a, b);
}

static bool agree(const char *a, const char *b)
{
    return *xlx__text(a) && *xlx__text(b) && !strcmp(a, b);
}

static bool same_place(const struct xlx__hostdev_identity *a,
                       const struct xlx__hostdev_identity *b)
{
    return agree(a->place, b->place);
}

static bool same_size(const struct xlx__hostdev_identity *a,
                      const struct xlx__hostdev_identity *b)
{
    return !a->size || !b->size || a->size == b->size;
}

/* It has no identifier that lasts.  While the host runs, the kernel gives a
 * number or address to another device only when this one was taken out. */
static enum xlx__hostdev_same
compare_by_place(const struct xlx__hostdev_identity *was,
                 const struct xlx__hostdev_identity *is, bool same_boot)
{
    bool described = *xlx__text(was->model) || was->size;

    if (!same_size(was, is))
        return XLX__HOSTDEV_OTHER;
    if (agree(was->serial, is->serial))
        return XLX__HOSTDEV_SAME;
    if (strcmp(xlx__text(was->serial), xlx__text(is->serial)) && described)
        return XLX__HOSTDEV_OTHER;
    if (same_boot && strcmp(was->id, is->id))
        return XLX__HOSTDEV_OTHER;
    return same_boot && described && same_place(was, is)
           ? XLX__HOSTDEV_SAME : XLX__HOSTDEV_UNSURE;
}

static enum xlx__hostdev_same
compare_files(const struct xlx__hostdev_identity *was,
              const struct xlx__hostdev_identity *is, bool same_boot)
{
    if (same_boot && strcmp(was->id, is->id))
        return XLX__HOSTDEV_OTHER;
    if (!same_inode(was->id, is->id))
        return XLX__HOSTDEV_OTHER;
    /* the serial number of a file, which is the time of its birth, was
     * compared; not all file systems know it */
    return same_boot || same_place(was, is) || agree(was->serial, is->serial)
           ? XLX__HOSTDEV_SAME : XLX__HOSTDEV_OTHER;
}

enum xlx__hostdev_same
xlx__hostdev_compare(const struct xlx__hostdev_identity *was,
                     const struct xlx__hostdev_identity *is, bool same_boot)
{
    if (is_map_of(was->id, is->id) || is_map_of(is->id, was->id))
        return XLX__HOSTDEV_SAME;
    if (differ(was->serial, is->serial))
        return XLX__HOSTDEV_OTHER;
    if (differ(was->vendor, is->vendor) || differ(was->model, is->model) ||
        differ(was->type, is->type))
        return XLX__HOSTDEV_OTHER;
    if (value_of(was->id, "file"))
        return compare_files(was, is, same_boot);
    if (is_place(was->id) && is_place(is->id))
        return compare_by_place(was, is, same_boot);
    if (strcmp(was->id, is->id))
        return XLX__HOSTDEV_OTHER;
    /* volumes and arrays are resized; a disk that says nothing else of itself
     * and has another size may be another one */
    if (value_of(was->id, "wwid") && !same_size(was, is) &&
        (is_weak(was->id) || !agree(was->serial, is->serial)))
        return XLX__HOSTDEV_UNSURE;
    if (*was->serial && !*is->serial)
        return XLX__HOSTDEV_UNSURE;
    return XLX__HOSTDEV_SAME;
}

/* ---- one of many -------------------------------------------------------- */

/* Two paths to one disk, or two disks that say the same of themselves? */
static enum xlx__hostdev_same
compare_paths(const struct xlx__hostdev_identity *a,
              const struct xlx__hostdev_identity *b)
{
    enum xlx__hostdev_same same = xlx__hostdev_compare(a, b, true);

    if (same == XLX__HOSTDEV_SAME && !same_size(a, b))
        return XLX__HOSTDEV_OTHER;
    if (same == XLX__HOSTDEV_SAME && (is_weak(a->id) || is_place(a->id)) &&
        !same_place(a, b))
        return XLX__HOSTDEV_UNSURE;
    return same;
}

/* Is a the better answer?  A path that works, then the size that it had, then
 * the place where it was. */
static bool is_better(const struct xlx__hostdev_identity *was,
                      const struct xlx__hostdev_identity *a,
                      const struct xlx__hostdev_identity *b)
{
    bool size_a = was->size && was->size == a->size;
    bool size_b = was->size && was->size == b->size;

    if (size_a != size_b)
        return size_a;
    if (a->offline != b->offline)
        return b->offline;
    return same_place(was, a) && !same_place(was, b);
}

/* Does the recorded device decide between them? */
static bool is_decided(const struct xlx__hostdev_identity *was,
                       const struct xlx__hostdev_identity *best,
                       const struct xlx__hostdev_identity *other,
                       bool same_boot)
{
    if ((same_boot || value_of(was->id, "usb")) && same_place(was, best) &&
        !best->offline)
        return true;
    return was->size && was->size == best->size && other->size &&
           other->size != was->size;
}

enum xlx__hostdev_choice
xlx__hostdev_choose(const struct xlx__hostdev_identity *was,
                    const struct xlx__hostdev_identity *list, int num,
                    bool same_boot, int *best_r, int *other_r)
{
    enum xlx__hostdev_same same, best_is = XLX__HOSTDEV_OTHER;
    int i, best = -1;

    *other_r = -1;
    for (i = 0; i < num; i++) {
        same = xlx__hostdev_compare(was, &list[i], same_boot);
        if (same == XLX__HOSTDEV_OTHER)
            continue;
        if (best < 0 || same < best_is ||
            (same == best_is && is_better(was, &list[i], &list[best]))) {
            best = i;
            best_is = same;
        }
    }
    *best_r = best;
    if (best < 0)
        return XLX__HOSTDEV_NONE;
    for (i = 0; i < num; i++) {
        if (i == best ||
            xlx__hostdev_compare(was, &list[i], same_boot) ==
            XLX__HOSTDEV_OTHER ||
            compare_paths(&list[best], &list[i]) == XLX__HOSTDEV_SAME ||
            is_decided(was, &list[best], &list[i], same_boot))
            continue;
        *other_r = i;
        return XLX__HOSTDEV_AMBIGUOUS;
    }
    if (best_is != XLX__HOSTDEV_SAME)
        return XLX__HOSTDEV_AMBIGUOUS;
    return list[best].offline ? XLX__HOSTDEV_OFFLINE : XLX__HOSTDEV_FOUND;
}

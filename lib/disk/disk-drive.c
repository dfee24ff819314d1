/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads query-block.  QEMU runs the guest's devices and may have been taken
 * over through one of them: everything in its answer is checked.
 */
#include <stdlib.h>
#include <string.h>

#include "disk/disk-drive.h"

static void drive_dispose(struct xlx__drive *d)
{
    int i;

    for (i = 0; i < d->num_below; i++)
        free(d->below[i]);
    free(d->below);
    free(d->name);
    free(d->qdev);
    free(d->vdev);
    free(d->node);
    free(d->driver);
    free(d->path);
    free(d->format);
    free(d->detect_zeroes);
    free(d->bitmap);
}

void xlx__drives_dispose(struct xlx__drives *drives)
{
    int i;

    for (i = 0; i < drives->num; i++)
        drive_dispose(&drives->v[i]);
    free(drives->v);
    drives->v = NULL;
    drives->num = 0;
}

/* The string, or "" when there is no such member. */
static int get_string(const struct xlx__json *obj, const char *key, char **s)
{
    const struct xlx__json *v = xlx__json_member(obj, key);
    const char *text = "";
    int rc;

    if (v) {
        rc = xlx__json_string(v, &text);
        if (rc) return rc;
    }
    return xlx__set_string(s, text);
}

/* false when there is no such member */
static int get_bool(const struct xlx__json *obj, const char *key, bool *b)
{
    const struct xlx__json *v = xlx__json_member(obj, key);

    *b = false;
    return v ? xlx__json_bool(v, b) : 0;
}

/* drive id; else "ID" of /machine/peripheral/ID/..., else the whole path */
static int drive_name(struct xlx__drive *d)
{
    static const char user[] = "/machine/peripheral/";
    const char *p = d->qdev;
    char *name;

    if (*d->name)
        return 0;
    if (!strncmp(p, user, sizeof(user) - 1))
        p += sizeof(user) - 1;
    name = *p == '/' ? strdup(p) : strndup(p, strcspn(p, "/"));
    if (!name)
        return xlx__nomem();
    free(d->name);
    d->name = name;
    return 0;
}

static int read_below(const struct xlx__json *image, struct xlx__drive *d)
{
    const struct xlx__json *below;
    int i, rc, num = 0;

    for (below = image; below && num <= XLX__MAX_CHAIN; num++)
        below = xlx__json_member(below, "backing-image");
    if (num > XLX__MAX_CHAIN)
        return xlx__json_error(image, ERROR_INVAL, "a chain of over %d "
                               "images", XLX__MAX_CHAIN);
    d->below = calloc((size_t)num, sizeof(*d->below));
    if (!d->below)
        return xlx__nomem();
    for (i = 1; i < num; i++) {
        image = xlx__json_member(image, "backing-image");
        d->num_below++;
        rc = get_string(image, "filename", &d->below[d->num_below - 1]);
        if (rc) return rc;
    }
    return 0;
}

static int read_image(const struct xlx__json *inserted, struct xlx__drive *d)
{
    const struct xlx__json *image = xlx__json_member(inserted, "image");
    const struct xlx__json *size;
    int rc;

    if (!image)
        return xlx__json_error(inserted, ERROR_INVAL, "\"image\" is missing");
    rc = xlx__json_expect(image, XLX__JSON_OBJECT);
    if (rc) return rc;
    rc = get_string(image, "filename", &d->path);
    if (rc) return rc;
    rc = get_string(image, "format", &d->format);
    if (rc) return rc;
    rc = get_bool(image, "encrypted", &d->encrypted);
    if (rc) return rc;
    size = xlx__json_member(image, "virtual-size");
    if (!size)
        return xlx__json_error(image, ERROR_INVAL, "\"virtual-size\" is "
                               "missing");
    rc = xlx__json_uint64(size, INT64_MAX, &d->virtual_size);
    return rc ? rc : read_below(image, d);
}

static int read_bitmap(const struct xlx__json *inserted, struct xlx__drive *d)
{
    const struct xlx__json *list = xlx__json_member(inserted,
                                                    "dirty-bitmaps");
    const struct xlx__json *v = list ? xlx__json_first(list) : NULL;

    return v ? get_string(v, "name", &d->bitmap)
             : xlx__set_string(&d->bitmap, "");
}

static int read_drive(const struct xlx__json *entry,
                      const struct xlx__json *inserted, struct xlx__drive *d)
{
    int rc;

    rc = get_string(entry, "device", &d->name);
    if (rc) return rc;
    rc = get_string(entry, "qdev", &d->qdev);
    if (rc) return rc;
    rc = drive_name(d);
    if (rc) return rc;
    rc = get_string(inserted, "node-name", &d->node);
    if (rc) return rc;
    rc = get_string(inserted, "drv", &d->driver);
    if (rc) return rc;
    rc = get_string(inserted, "detect_zeroes", &d->detect_zeroes);
    if (rc) return rc;
    rc = xlx__json_member_bool(inserted, "ro", &d->readonly);
    if (rc) return rc;
    rc = read_bitmap(inserted, d);
    return rc ? rc : read_image(inserted, d);
}

/* xen-disk calls its disk by the guest's name for it; another device has no
 * such property, and that is not an error. */
static int ask_vdev(struct xlx__qmp *qmp, struct xlx__drive *d)
{
    const struct xlx__json *result;
    struct xlx__json_out *args;
    const char *text;
    int rc;

    if (*d->qdev != '/')
        return 0;
    args = xlx__json_out_new(false);
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "path", d->qdev);
    xlx__json_out_kv(args, "property", "vdev");
    xlx__json_out_end(args);
    rc = xlx__qmp_call(qmp, "qom-get", args, &result);
    if (rc == ERROR_QMP_GENERIC_ERROR || rc == ERROR_QMP_DEVICE_NOT_FOUND) {
        xlx__error_clear();
        return 0;
    }
    if (rc) return rc;
    rc = xlx__json_string(result, &text);
    if (rc) return rc;
    return xlx__set_string(&d->vdev, text);
}

static int read_drives(const struct xlx__json *result,
                       struct xlx__drives *drives)
{
    const struct xlx__json *entry, *inserted;
    int rc;

    rc = xlx__json_expect(result, XLX__JSON_ARRAY);
    if (rc) return rc;
    drives->v = calloc(xlx__json_count(result) + 1, sizeof(*drives->v));
    if (!drives->v)
        return xlx__nomem();
    for (entry = xlx__json_first(result); entry;
         entry = xlx__json_next(entry)) {
        inserted = xlx__json_member(entry, "inserted");
        if (!inserted)
            continue;               /* an empty drive */
        rc = read_drive(entry, inserted, &drives->v[drives->num++]);
        if (rc) return rc;
    }
    return 0;
}

int xlx__drives_ask(struct xlx__qmp *qmp, bool xen,
                    struct xlx__drives *drives)
{
    const struct xlx__json *result;
    int i, rc;

    rc = xlx__qmp_call(qmp, "query-block", NULL, &result);
    if (rc) return rc;
    rc = read_drives(result, drives);
    if (rc) return xlx__error_prefix(rc, "query-block");
    /* the answer is gone with the next call: ask only now */
    for (i = 0; xen && i < drives->num; i++) {
        rc = ask_vdev(qmp, &drives->v[i]);
        if (rc) return rc;
    }
    return 0;
}

bool xlx__drive_is_filtered(const struct xlx__drive *drive)
{
    static const char *const filters[] = {
        "throttle", "copy-on-read", "copy-before-write", "compress",
        "preallocate", "quorum", "blkdebug", "blkverify", "blklogwrites",
    };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(filters); i++)
        if (!strcmp(drive->driver, filters[i]))
            return true;
    return strcmp(drive->driver, drive->format) != 0;
}

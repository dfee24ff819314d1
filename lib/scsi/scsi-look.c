/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is a guest's device still on the host?  A LUN whose device is gone stays
 * connected at both ends, and a device that comes back is another one for the
 * target that was made for it, even at the same address.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/kernfs.h"
#include "scsi/scsi.h"

/* The number that sysfs gave to the directory when the device came. */
static int read_instance(const struct xlx__scsi_pdev *p, char **instance_r)
{
    const char *name = xlx__text(p->unit.hctl);
    char *path, *text;
    struct stat st;

    if (*name)
        path = xlx__printf("%s/class/scsi_device/%s/device",
                           xlx__sysfs_dir(), name);
    else if (*xlx__text(p->block))
        path = xlx__printf("%s/class/block/%s", xlx__sysfs_dir(), p->block);
    else
        return xlx__set_string(instance_r, "");
    if (!path)
        return xlx__nomem();
    text = stat(path, &st) ? strdup("")
           : xlx__printf("%" PRIu64, (uint64_t)st.st_ino);
    free(path);
    if (!text)
        return xlx__nomem();
    free(*instance_r);
    *instance_r = text;
    return 0;
}

int xlx__scsi_note_instance(xlx_scsi_entry *e,
                            const struct xlx__scsi_pdev *p)
{
    return read_instance(p, &e->instance);
}

/* A directory that cannot be read, because this process may open no more
 * files, looks like an empty one. */
static bool can_read_sysfs(void)
{
    char *path = xlx__printf("%s/class/scsi_device", xlx__sysfs_dir());
    DIR *dir = path ? opendir(path) : NULL;

    free(path);
    if (dir)
        closedir(dir);
    return dir;
}

/* Is it another one than was recorded?  Older records do not say. */
static bool came_again(const xlx_scsi_entry *e,
                       const struct xlx__scsi_pdev *p)
{
    char *instance = NULL;
    bool again;

    again = *xlx__text(e->instance) && !read_instance(p, &instance) &&
            *instance && strcmp(instance, e->instance);
    free(instance);
    return again;
}

/* At the recorded address. */
static int find_there(const xlx_scsi_entry *e, struct xlx__scsi_pdev *p)
{
    struct xlx__scsi_hctl hctl;

    if (xlx__scsi_parse_hctl(xlx__text(e->hctl), &hctl))
        return xlx__scsi_find_hctl(&hctl, p);
    /* the node may come and go without the disk */
    if (!xlx__attr_exists("%s/class/block/%s", xlx__sysfs_dir(),
                          strrchr(e->path, '/') + 1))
        return ERROR_NOTFOUND;
    return xlx__scsi_find(e->path, p);
}

static enum xlx__scsi_place look_elsewhere(const xlx_scsi_entry *e,
                                           const char *boot, bool offline)
{
    enum xlx__scsi_place place = XLX__SCSI_UNSEEN;
    struct xlx__scsi_pdev p;
    int rc;

    xlx__scsi_pdev_init(&p);
    rc = xlx__scsi_find_again(e, boot, &p);
    if (!rc)
        place = XLX__SCSI_MOVED;
    else if (offline)
        place = XLX__SCSI_OFFLINE;
    else if (rc == ERROR_NOTFOUND && can_read_sysfs())
        place = XLX__SCSI_GONE;
    xlx__scsi_pdev_dispose(&p);
    return place;
}

/* The kernel keeps the address of a device that does not answer, and of which
 * it hopes that it will again. */
enum xlx__scsi_place xlx__scsi_look(const xlx_scsi_entry *e,
                                    const char *boot)
{
    enum xlx__scsi_place place = XLX__SCSI_UNSEEN;
    struct xlx__error_text before;
    struct xlx__scsi_pdev p;
    int rc;

    /* a file, and the target of another tool, are there while they are used */
    if (!*xlx__text(e->hctl) && strncmp(xlx__text(e->path), "/dev/", 5))
        return XLX__SCSI_UNSEEN;
    xlx__error_save(&before);
    xlx__scsi_pdev_init(&p);
    rc = find_there(e, &p);
    if (!rc && !xlx__scsi_is_entrys(e, boot, &p))
        rc = ERROR_NOTFOUND;
    if (!rc && !p.offline)
        place = came_again(e, &p) ? XLX__SCSI_MOVED : XLX__SCSI_SAME;
    else if (!rc || rc == ERROR_NOTFOUND)
        place = look_elsewhere(e, boot, !rc);
    xlx__scsi_pdev_dispose(&p);
    xlx__error_restore(&before);
    return place;
}

int xlx__scsi_check_place(const xlx_scsi_entry *e)
{
    enum xlx__scsi_place place = xlx__scsi_look(e, xlx__text(e->boot));

    if (place != XLX__SCSI_MOVED && place != XLX__SCSI_GONE)
        return 0;
    return xlx__error(ERROR_NOTFOUND, "pdev %s: it was pulled out%s while it "
                      "was being attached", e->dev.pdev,
                      place == XLX__SCSI_MOVED ? " and plugged in again" : "");
}

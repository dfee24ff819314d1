/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which snapshots there are: those recorded, and those that other tools made
 * in the images that the guest uses now.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/report.h"
#include "disk/disk.h"
#include "disk/image-use.h"
#include "disk/image.h"
#include "guest/guest.h"
#include "snapshot/snapshot.h"

#define MAX_CHAIN 256

/* ---- what other tools made ---------------------------------------------- */

/* The recorded disk with that tag, whose image same() says is this one. */
static const xlx_snapshot_disk *find_disk(const xlx_snapshots *record,
                                          const char *image, const char *tag,
                                          bool (*same)(const char *,
                                                       const char *))
{
    int i, j;

    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

            if (!strcmp(xlx__text(d->tag), tag) && same(d->image, image))
                return d;
        }
    return NULL;
}

static bool same_name(const char *a, const char *b)
{
    return !strcmp(xlx__text(a), b);
}

/* image is there.  Nearly always the record has it by this very name: files
 * are compared only when it has not, since that is a stat for each snapshot,
 * and this is asked for each of them. */
static const xlx_snapshot_disk *recorded(const xlx_snapshots *record,
                                         const char *image, const char *tag)
{
    const xlx_snapshot_disk *d = find_disk(record, image, tag, same_name);

    return d ? d : find_disk(record, image, tag, xlx__image_same);
}

/* Names of other tools need not be text: bytes that are not UTF-8 are shown as
 * \xHH, because JSON has no other way to show them. */
static int make_readable(char **s)
{
    size_t len = *s ? strlen(*s) : 0, i, n, used = 0;
    char *text;

    if (!len || xlx__utf8_valid(*s, len) == len)
        return 0;
    text = malloc(4 * len + 1);
    if (!text)
        return xlx__nomem();
    for (i = 0; i < len; i += n) {
        n = xlx__utf8_length(*s + i, len - i);
        if (n)
            memcpy(text + used, *s + i, n);
        else
            sprintf(text + used, "\\x%02x", (unsigned char)(*s)[i]);
        used += n ? n : 4;
        n = n ? n : 1;
    }
    text[used] = '\0';
    free(*s);
    *s = text;
    return 0;
}

static int add_disk(xlx_ctx *ctx, xlx_snapshot *s,
                    const xlx_snapshot_disk *disk)
{
    xlx_snapshot_disk *added = xlx__snapshot_disks_append(s);
    int rc;

    if (!added)
        return ERROR_NOMEM;
    rc = xlx_snapshot_disk_copy(ctx, added, disk);
    if (rc) return rc;
    rc = make_readable(&added->image);
    if (rc) return rc;
    rc = make_readable(&added->backing);
    return rc ? rc : make_readable(&added->tag);
}

/* One of several disks' share of a foreign snapshot: tags of one name and
 * second are taken for one snapshot. */
static int add_foreign(xlx_ctx *ctx, xlx_snapshots *list,
                       xlx_snapshot_kind kind, const char *name,
                       int64_t time, const xlx_snapshot_disk *disk)
{
    xlx_snapshot *s, fresh;
    char *text = NULL;
    int rc;

    rc = xlx__set_string(&text, name);
    if (!rc)
        rc = make_readable(&text);
    if (rc) goto out;
    s = xlx__snapshot_by_name(list, text);
    if (!s || s->status != XLX_SNAPSHOT_STATUS_FOREIGN || s->kind != kind ||
        xlx__snapshot_disk_of(s, disk->vdev)) {
        xlx_snapshot_init(&fresh);
        fresh.status = XLX_SNAPSHOT_STATUS_FOREIGN;
        fresh.kind = kind;
        fresh.time = time;
        rc = xlx__set_string(&fresh.name, text);
        if (!rc)
            rc = xlx__snapshot_append(ctx, list, &fresh);
        xlx_snapshot_dispose(&fresh);
        if (rc) goto out;
        s = &list->snapshots[list->num_snapshots - 1];
    }
    rc = add_disk(ctx, s, disk);

 out:
    free(text);
    return rc;
}

/* Internal snapshots of one image that are not in the record. */
static int foreign_tags(xlx_ctx *ctx, const xlx_snapshots *record,
                        const xlx_snapshot_disk *layer, xlx_snapshots *list)
{
    struct xlx__image_tag *tags;
    xlx_snapshot_disk disk;
    int i, num, rc;

    rc = xlx__image_tags(layer->image, &tags, &num);
    if (rc) return rc;
    for (i = 0; !rc && i < num; i++) {
        if (recorded(record, layer->image, tags[i].name))
            continue;
        xlx_snapshot_disk_init(&disk);
        rc = xlx_snapshot_disk_copy(ctx, &disk, layer);
        if (!rc)
            rc = xlx__set_string(&disk.tag, tags[i].name);
        if (!rc)
            rc = add_foreign(ctx, list, XLX_SNAPSHOT_KIND_INTERNAL,
                             tags[i].name, tags[i].time, &disk);
        xlx_snapshot_disk_dispose(&disk);
    }
    xlx__image_tags_free(tags, num);
    return rc;
}

/* A layer below one that takes writes is a snapshot, whoever made it. */
static int foreign_layer(xlx_ctx *ctx, const xlx_snapshots *record,
                         const xlx_snapshot_disk *layer, xlx_snapshots *list)
{
    const char *slash = strrchr(layer->image, '/');
    struct stat st;

    if (recorded(record, layer->image, "") || stat(layer->image, &st) ||
        find_disk(list, layer->image, "", same_name))
        return 0;
    return add_foreign(ctx, list, XLX_SNAPSHOT_KIND_EXTERNAL,
                       slash ? slash + 1 : layer->image,
                       st.st_mtim.tv_sec, layer);
}

/* Steps down to the image that the header of layer names; false when it names
 * none.  Its format is what the record says, or else the header, which is
 * of an image whose headers no guest writes.  Where neither says, QEMU would
 * look at the content, which a guest may have written, and we do not look
 * further. */
static int go_down(const xlx_snapshots *record, xlx_snapshot_disk *layer,
                   bool *more_r)
{
    const xlx_snapshot_disk *known;
    char *below = NULL, *format = NULL;
    int rc;

    *more_r = false;
    rc = xlx__image_below(layer->image, xlx__text(layer->format), &below,
                          &format);
    if (rc || !below) goto out;
    *more_r = true;
    layer->owned = false;
    rc = xlx__set_string(&layer->image, below);
    if (rc) goto out;
    known = find_disk(record, below, "", same_name);
    rc = xlx__set_string(&layer->format, known && known->format
                         ? known->format : format);
    if (rc) goto out;
    rc = xlx__set_string(&layer->backing, NULL);

 out:
    free(below);
    free(format);
    return rc;
}

static int foreign_in_chain(xlx_ctx *ctx, const xlx_snapshots *record,
                            const xlx_snapshot_disk *top, xlx_snapshots *list)
{
    xlx_snapshot_disk layer;
    bool more = true;
    int i, rc;

    xlx_snapshot_disk_init(&layer);
    rc = xlx_snapshot_disk_copy(ctx, &layer, top);
    for (i = 0; !rc && more && i < MAX_CHAIN; i++) {
        if (!strcmp(xlx__text(layer.format), "qcow2"))
            rc = foreign_tags(ctx, record, &layer, list);
        if (!rc && i)
            rc = foreign_layer(ctx, record, &layer, list);
        if (!rc)
            rc = go_down(record, &layer, &more);
    }
    if (rc) goto out;
    if (more)
        rc = xlx__error(ERROR_INVAL, "%s: its chain of backing files has "
                        "more than %d images, or goes in a circle",
                        top->image, MAX_CHAIN);

 out:
    xlx_snapshot_disk_dispose(&layer);
    return rc;
}

/* ---- list --------------------------------------------------------------- */

/* A journal means that a command was killed, or is still at work; in the
 * second case the record as it was is the right answer. */
static int settle(xlx_ctx *ctx, const xlx_guest *guest)
{
    struct xlx__snapshot_change c;
    xlx_snapshot_journal journal;
    int rc;

    xlx_snapshot_journal_init(&journal);
    rc = xlx__snapshot_journal_read(ctx, guest, &journal);
    xlx_snapshot_journal_dispose(&journal);
    if (rc) return xlx__forgive(rc, ERROR_NOTFOUND);
    rc = xlx__snapshot_begin(ctx, guest, false, &c);
    xlx__snapshot_end(&c);
    if (rc == ERROR_LOCK_FAIL) {
        xlx__error_clear();
        return 0;
    }
    return rc;
}

static bool is_named(const libxl_device_disk *disks, int num,
                     const char *image)
{
    int i;

    for (i = 0; i < num; i++)
        if (disks[i].pdev_path && xlx__image_same(disks[i].pdev_path, image))
            return true;
    return false;
}

/* The image of the disk, which may have changed places with another one: then
 * the config names that of its name elsewhere. */
static const xlx_snapshot_disk *
image_for(const xlx_snapshots *record, const libxl_device_disk *disks,
          int num, const char *vdev)
{
    const xlx_snapshot_disk *now = xlx__snapshot_current_disk(record, vdev);
    int i;

    if (!now || !is_named(disks, num, now->image))
        return now;
    now = NULL;
    for (i = 0; i < record->num_disks; i++) {
        if (is_named(disks, num, record->disks[i].image))
            continue;
        if (now)
            return NULL;            /* it is not known which one it is */
        now = &record->disks[i];
    }
    return now;
}

/* A config file that names an image that has been merged away, or moved. */
static int name_missing(const xlx_guest *guest,
                        const xlx_snapshot_disk *now,
                        const libxl_device_disk *disk,
                        xlx_repair_report *report)
{
    struct stat st;
    char *hint;
    int rc;

    if (disk->is_cdrom || !disk->pdev_path || *disk->pdev_path != '/' ||
        !stat(disk->pdev_path, &st) || errno != ENOENT)
        return 0;
    if (!now || stat(now->image, &st))
        return xlx__report(report, false, "bring it back, or name there the "
                           "image that the guest is to use", "%s: %s names "
                           "%s, which is not there", disk->vdev,
                           guest->config_file, disk->pdev_path);
    hint = xlx__printf("the disk is %s (format %s): name that there",
                       now->image, xlx__text(now->format));
    if (!hint)
        return xlx__nomem();
    rc = xlx__report(report, false, hint, "%s: %s names %s, which is not "
                     "there", disk->vdev, guest->config_file,
                     disk->pdev_path);
    free(hint);
    return rc;
}

int xlx__snapshot_missing(xlx_ctx *ctx, const xlx_guest *guest,
                          const xlx_snapshots *record,
                          xlx_repair_report *report)
{
    libxl_device_disk *disks;
    int i, num, rc;

    if (xlx__guest_running(guest) || !*xlx__text(guest->config_file))
        return 0;
    rc = xlx__guest_config_disks(ctx, guest->config_file, &disks, &num);
    if (rc) {
        /* no command needs it that has a record */
        xlx__debug(ctx, "not looked at: %s", xlx_error_get());
        xlx__error_clear();
        return 0;
    }
    for (i = 0; !rc && i < num; i++)
        rc = name_missing(guest, image_for(record, disks, num,
                                           xlx__text(disks[i].vdev)),
                          &disks[i], report);
    libxl_device_disk_list_free(disks, num);
    return rc;
}

/* The record tells what a config file does not. */
static int say_missing(xlx_ctx *ctx, const xlx_guest *guest,
                       const xlx_snapshots *record)
{
    xlx_repair_report report;
    struct xlx__error_text why;
    int i, rc;

    xlx__error_save(&why);
    xlx__error_clear();
    xlx_repair_report_init(&report);
    rc = xlx__snapshot_missing(ctx, guest, record, &report);
    for (i = 0; i < report.num_findings; i++)
        xlx__notice(ctx, "%s; %s", report.findings[i].what,
                    report.findings[i].done);
    if (!report.num_findings)
        xlx__notice(ctx, "%s; what is recorded is shown", why.line);
    xlx_repair_report_dispose(&report);
    return rc;
}

/* Looks at what the guest runs on now.  A QEMU that somebody else talks to at
 * this moment does not keep us from listing the record, and neither is a
 * config file that is out of date. */
static int look(xlx_ctx *ctx, const xlx_guest *guest, xlx_snapshots *list)
{
    xlx_disks disks;
    int rc;

    if (!xlx__guest_running(guest) &&
        !(guest->config_file && *guest->config_file))
        return 0;
    xlx_disks_init(&disks);
    rc = xlx__disk_list(ctx, guest, &disks);
    if (!rc)
        rc = xlx__snapshot_reconcile(ctx, list, &disks);
    xlx_disks_dispose(&disks);
    if (rc == ERROR_NOTFOUND && !xlx__guest_running(guest))
        return say_missing(ctx, guest, list);
    if (rc == ERROR_NOT_READY) {
        xlx__debug(ctx, "listing what is recorded: %s", xlx_error_get());
        xlx__error_clear();
        return 0;
    }
    return rc;
}

/* Nothing but the record tells where a guest that is shut down goes on, and
 * that need not be so. */
static int say_doubts(xlx_ctx *ctx, const xlx_guest *guest,
                      xlx_snapshots *list)
{
    xlx_repair_report report;
    int i, rc;

    if (xlx__guest_running(guest))
        return 0;
    xlx_repair_report_init(&report);
    rc = xlx__snapshot_report_doubts(guest, list, &report);
    for (i = 0; !rc && i < report.num_findings; i++)
        xlx__notice(ctx, "%s; %s", report.findings[i].what,
                    report.findings[i].done);
    for (i = 0; i < list->num_disks; i++)
        list->disks[i].missing = xlx__snapshot_is_missing(&list->disks[i]);
    xlx_repair_report_dispose(&report);
    return rc;
}

static bool is_frozen(const xlx_snapshots *list, const char *image)
{
    int i, j;

    for (i = 0; i < list->num_snapshots; i++)
        for (j = 0; j < list->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &list->snapshots[i].disks[j];

            if (!*xlx__text(d->tag) && (!strcmp(xlx__text(d->image), image) ||
                                        xlx__image_same(d->image, image)))
                return true;
        }
    return false;
}

/* An internal snapshot is safe from writes to its own image. */
static bool shows(const xlx_snapshot_disk *d, const char *image)
{
    return !(*xlx__text(d->tag) && xlx__image_same(d->image, image)) &&
           xlx__image_leads_to(d->image, xlx__text(d->format), image);
}

/* Another tool has made a snapshot's image the one that the guest writes to:
 * the content of that snapshot is gone, and of all that lie on it, as after
 * half of a deletion.  Headers are read only when that is so. */
static void mark_written(xlx_snapshots *list)
{
    int i, j, k;

    for (k = 0; k < list->num_disks; k++) {
        const char *image = list->disks[k].image;

        if (!is_frozen(list, image))
            continue;
        for (i = 0; i < list->num_snapshots; i++)
            for (j = 0; j < list->snapshots[i].num_disks; j++)
                if (shows(&list->snapshots[i].disks[j], image))
                    list->snapshots[i].status = XLX_SNAPSHOT_STATUS_MERGING;
    }
}

int xlx__snapshot_list(xlx_ctx *ctx, const xlx_guest *guest,
                       xlx_snapshots *list)
{
    xlx_snapshots record;
    int i, rc;

    xlx_snapshots_init(&record);
    rc = settle(ctx, guest);
    if (rc) goto out;
    rc = xlx__snapshot_record_read(ctx, guest, &record);
    if (rc) goto out;
    rc = look(ctx, guest, &record);
    if (rc) goto out;
    rc = xlx_snapshots_copy(ctx, list, &record);
    if (!rc)
        mark_written(list);
    if (!rc)
        rc = say_doubts(ctx, guest, list);
    for (i = 0; !rc && i < record.num_disks; i++) {
        rc = foreign_in_chain(ctx, &record, &record.disks[i], list);
        if (rc == ERROR_NOTFOUND || rc == ERROR_INVAL) {
            xlx__debug(ctx, "not looked at: %s", xlx_error_get());
            xlx__error_clear();
            rc = 0;
        }
    }

 out:
    xlx_snapshots_dispose(&record);
    return rc;
}

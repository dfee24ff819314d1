/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files about a guest's snapshots: the record, the journal of a change
 * under way; and the tree that the record describes.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/file-id.h"
#include "core/store.h"
#include "disk/disk.h"
#include "guest/guest.h"
#include "snapshot/snapshot.h"

#define MAX_NAME 200                /* bytes; QEMU cuts a tag at 255 */
#define LOCK_MS 10000               /* the watcher of the guest's devices may
                                     * be looking at them */

/* ---- record ------------------------------------------------------------- */

int xlx__snapshot_record_read(xlx_ctx *ctx, const xlx_guest *guest,
                              xlx_snapshots *record)
{
    int rc;

    rc = xlx__snapshots_load(ctx, &guest->uuid, record, NULL);
    return rc ? rc : xlx_guest_copy(ctx, &record->guest, guest);
}

/* With no snapshot left, the guest may still be on an image that we made, and
 * its config on the one below. */
bool xlx__snapshot_record_matters(const xlx_snapshots *record)
{
    int i;

    for (i = 0; i < record->num_disks; i++)
        if (record->disks[i].owned)
            return true;
    return record->num_snapshots > 0 || record->num_leftover > 0 ||
           record->num_moved > 0;
}

int xlx__snapshot_record_write(xlx_ctx *ctx, const xlx_guest *guest,
                               const xlx_snapshots *record)
{
    return xlx__snapshot_record_matters(record)
        ? xlx__snapshots_save(ctx, guest, record)
        : xlx__snapshots_remove(ctx, guest);
}

bool xlx__snapshots_names_image(const xlx_snapshots *record,
                                const char *image)
{
    int i, j;

    for (i = 0; i < record->num_disks; i++)
        if (xlx__file_same(record->disks[i].image, image))
            return true;
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++)
            if (xlx__file_same(record->snapshots[i].disks[j].image, image))
                return true;
    for (i = 0; i < record->num_leftover; i++)
        if (xlx__file_same(record->leftover[i].image, image) ||
            xlx__file_same(xlx__text(record->leftover[i].backing), image))
            return true;
    for (i = 0; i < record->num_moved; i++)
        if (xlx__file_same(record->moved[i].image, image))
            return true;
    return false;
}

int xlx__snapshot_record_time(xlx_ctx *ctx, const xlx_guest *guest,
                              int64_t *time_r)
{
    int rc;

    rc = xlx__store_time(ctx, &guest->uuid,
                         xlx__record_kinds[XLX__RECORD_SNAPSHOTS].file,
                         time_r);
    if (rc != ERROR_NOTFOUND) return rc;
    xlx__error_clear();
    return xlx__snapshot_journal_time(ctx, guest, time_r);
}

/* ---- journal ------------------------------------------------------------ */

int xlx__snapshot_journal_time(xlx_ctx *ctx, const xlx_guest *guest,
                               int64_t *time_r)
{
    return xlx__store_time(ctx, &guest->uuid,
                           xlx__record_kinds[XLX__RECORD_SNAPSHOT_JOURNAL]
                               .file, time_r);
}

int xlx__snapshot_journal_read(xlx_ctx *ctx, const xlx_guest *guest,
                               xlx_snapshot_journal *journal)
{
    bool found;
    int rc;

    rc = xlx__snapshot_journal_load(ctx, &guest->uuid, journal, &found);
    if (!rc && !found)
        return xlx__error(ERROR_NOTFOUND, "nothing was cut short");
    if (!rc && *xlx__text(journal->merge_vdev) &&
        (*xlx__text(journal->merge_top) != '/' ||
         *xlx__text(journal->merge_base) != '/'))
        rc = xlx__error(ERROR_INVAL, "%s/" LIBXL_UUID_FMT "/%s: merge_vdev is "
                        "set, and merge_top or merge_base is not an absolute "
                        "path; put a copy of the file back", ctx->state_dir,
                        LIBXL_UUID_BYTES(guest->uuid),
                        xlx__record_kinds[XLX__RECORD_SNAPSHOT_JOURNAL].file);
    return rc;
}

bool xlx__snapshot_journal_names_image(const xlx_snapshot_journal *journal,
                                       const char *image)
{
    return xlx__snapshots_names_image(&journal->after, image);
}

int xlx__snapshot_journal_init(const struct xlx__snapshot_change *c,
                               xlx_snapshot_operation operation,
                               xlx_snapshot_journal *journal)
{
    int rc;

    xlx_snapshot_journal_init(journal);
    journal->operation = operation;
    journal->domid = c->guest->domid;
    rc = xlx__set_string(&journal->qmp_socket,
                         xlx__text(c->guest->qmp_socket));
    if (rc) return rc;
    rc = xlx_snapshots_copy(c->ctx, &journal->before, &c->record);
    if (rc) return rc;
    return xlx_snapshots_copy(c->ctx, &journal->after, &c->record);
}

int xlx__snapshot_add_string(char ***list, int *num, const char *s)
{
    char **n = realloc(*list, (*num + 1) * sizeof(*n));

    if (!n)
        return xlx__nomem();
    *list = n;
    n[*num] = strdup(s);
    if (!n[*num])
        return xlx__nomem();
    (*num)++;
    return 0;
}

/* ---- one change --------------------------------------------------------- */

static int init(xlx_ctx *ctx, const xlx_guest *guest,
                struct xlx__snapshot_change *c)
{
    memset(c, 0, sizeof(*c));
    c->ctx = ctx;
    c->lock.fd = -1;
    c->images = -1;
    xlx_guest_init(&c->self);
    c->guest = &c->self;
    xlx_snapshots_init(&c->record);
    return xlx_guest_copy(ctx, &c->self, guest);
}

int xlx__snapshot_look(xlx_ctx *ctx, const xlx_guest *guest,
                       struct xlx__snapshot_change *c)
{
    int rc;

    rc = init(ctx, guest, c);
    return rc ? rc : xlx__snapshot_look_again(c);
}

int xlx__snapshot_open(xlx_ctx *ctx, const xlx_guest *guest,
                       struct xlx__snapshot_change *c)
{
    int rc;

    rc = init(ctx, guest, c);
    if (rc) return rc;
    rc = xlx__lock_guest_until(ctx, &guest->uuid, xlx__now_ms() + LOCK_MS,
                               &c->lock);
    if (rc) return rc;
    return xlx__snapshot_look_again(c);
}

/* Nothing was cut short. */
static int in_order(struct xlx__snapshot_change *c)
{
    xlx_snapshot_journal journal;
    int rc;

    xlx_snapshot_journal_init(&journal);
    rc = xlx__snapshot_journal_read(c->ctx, c->guest, &journal);
    if (!rc)
        rc = xlx__error(ERROR_NOT_READY, "what would be done is not known: "
                        "an earlier command was cut short (%s); xl "
                        "snapshot-repair finishes or undoes it",
                        xlx_snapshot_operation_to_string(journal.operation));
    else if (rc == ERROR_NOTFOUND)
        rc = 0;
    xlx_snapshot_journal_dispose(&journal);
    return rc;
}

int xlx__snapshot_begin(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                        struct xlx__snapshot_change *c)
{
    int rc;

    rc = xlx__snapshot_open(ctx, guest, c);
    if (rc) return rc;
    rc = dry_run ? in_order(c) : xlx__snapshot_recover(c, false, NULL);
    if (rc) return rc;
    return xlx__snapshot_record_read(ctx, c->guest, &c->record);
}

/* Others see whoever has its images open. */
int xlx__snapshot_hold_image(struct xlx__snapshot_change *c,
                             const char *image)
{
    int rc;

    if (c->served || xlx__guest_running(c->guest))
        return 0;
    rc = xlx__image_hold(c->ctx, image, false, &c->images);
    if (rc) return rc;
    rc = xlx__snapshot_look_again(c);
    if (rc) return rc;
    if (c->served || xlx__guest_running(c->guest))
        return xlx__error(ERROR_NOT_READY, "the guest was started at this "
                          "moment: run the command again");
    return 0;
}

int xlx__snapshot_hold_images(struct xlx__snapshot_change *c)
{
    int i, rc = 0;

    for (i = 0; !rc && i < c->record.num_disks; i++)
        rc = xlx__snapshot_hold_image(c, c->record.disks[i].image);
    return rc;
}

int xlx__snapshot_look_again(struct xlx__snapshot_change *c)
{
    int rc;

    xlx__snapshot_hang_up(c);
    rc = xlx__guest_refresh(c->ctx, &c->self);
    if (rc) return rc;
    rc = xlx__disk_connect(c->ctx, c->guest, &c->qmp);
    c->served = c->qmp != NULL;
    return rc;
}

int xlx__snapshot_offline(const struct xlx__snapshot_change *c)
{
    if (c->guest->domid != XLX_DOMID_NONE)
        return xlx__error(ERROR_NOT_READY, "the guest runs, as domain %u%s: "
                          "shut it down first", c->guest->domid,
                          c->served ? "" : ", and its QEMU cannot be reached");
    if (c->served)
        return xlx__error(ERROR_NOT_READY, "the QEMU at %s runs this guest: "
                          "end it first", c->guest->qmp_socket);
    return 0;
}

void xlx__snapshot_hang_up(struct xlx__snapshot_change *c)
{
    xlx__qmp_close(c->qmp);
    c->qmp = NULL;
}

int xlx__snapshot_connect(struct xlx__snapshot_change *c)
{
    if (!c->served || c->qmp)
        return 0;
    return xlx__qmp_open(c->ctx, c->guest, &c->qmp);
}

void xlx__snapshot_end(struct xlx__snapshot_change *c)
{
    xlx__snapshot_hang_up(c);
    xlx_snapshots_dispose(&c->record);
    xlx_guest_dispose(&c->self);
    xlx__disk_files_free(c->files, c->num_files);
    xlx_disks_dispose(&c->disks);
    if (c->images >= 0)
        close(c->images);
    xlx__unlock(&c->lock);
}

/* ---- the tree ----------------------------------------------------------- */

xlx_snapshot *xlx__snapshot_by_name(const xlx_snapshots *record,
                                    const char *name)
{
    int i;

    for (i = 0; i < record->num_snapshots; i++)
        if (!strcmp(xlx__text(record->snapshots[i].name), name))
            return &record->snapshots[i];
    return NULL;
}

int xlx__snapshot_find(const xlx_snapshots *record, const char *name,
                       xlx_snapshot **snapshot_r)
{
    char title[128];

    if (!name || !*name)
        return xlx__error(ERROR_INVAL, "the name of the snapshot is empty");
    *snapshot_r = xlx__snapshot_by_name(record, name);
    if (!*snapshot_r)
        return xlx__error(ERROR_NOTFOUND, "\"%s\" has no snapshot \"%s\": "
                          "see xl snapshot-list",
                          xlx__guest_title(&record->guest, title,
                                           sizeof(title)), name);
    return 0;
}

const xlx_snapshot_disk *xlx__snapshot_disk_of(const xlx_snapshot *snapshot,
                                               const char *vdev)
{
    int i;

    for (i = 0; i < snapshot->num_disks; i++)
        if (!strcmp(xlx__text(snapshot->disks[i].vdev), vdev))
            return &snapshot->disks[i];
    return NULL;
}

xlx_snapshot_disk *xlx__snapshot_current_disk(const xlx_snapshots *record,
                                              const char *vdev)
{
    int i;

    for (i = 0; i < record->num_disks; i++)
        if (!strcmp(xlx__text(record->disks[i].vdev), vdev))
            return &record->disks[i];
    return NULL;
}

int xlx__snapshot_append(xlx_ctx *ctx, xlx_snapshots *record,
                         const xlx_snapshot *snapshot)
{
    xlx_snapshot *s = xlx__snapshots_snapshots_append(record);

    return s ? xlx_snapshot_copy(ctx, s, snapshot) : ERROR_NOMEM;
}

void xlx__snapshot_drop(xlx_snapshots *record, const char *name)
{
    xlx_snapshot *snapshot = xlx__snapshot_by_name(record, name);
    int i;

    if (!snapshot)
        return;
    i = (int)(snapshot - record->snapshots);
    xlx_snapshot_dispose(snapshot);
    record->num_snapshots--;
    memmove(snapshot, snapshot + 1,
            (record->num_snapshots - i) * sizeof(*snapshot));
}

bool xlx__snapshot_is_external(const xlx_snapshot *snapshot)
{
    return snapshot->kind == XLX_SNAPSHOT_KIND_EXTERNAL;
}

/* ---- names -------------------------------------------------------------- */

int xlx__snapshot_check_name(const char *name)
{
    const unsigned char *p = (const unsigned char *)name;
    size_t len = strlen(name);

    if (!len)
        return xlx__error(ERROR_INVAL, "the name of the snapshot is empty");
    if (len > MAX_NAME)
        return xlx__error(ERROR_INVAL, "name of the snapshot: %zu bytes, at "
                          "most %d are possible", len, MAX_NAME);
    if (*name == '.' || *name == '-')
        return xlx__error(ERROR_INVAL, "name \"%s\": must not begin with "
                          "\"%c\"", name, *name);
    for (; *p; p++)
        if (*p == '/' || *p < 0x20 || *p == 0x7f)
            return xlx__error(ERROR_INVAL, "name \"%s\": must not contain %s",
                              name, *p == '/' ? "a slash"
                                              : "control characters");
    if (xlx__utf8_valid(name, len) != len)
        return xlx__error(ERROR_INVAL, "name \"%s\": not valid UTF-8", name);
    return 0;
}

int xlx__snapshot_make_name(const xlx_snapshots *record, const char *prefix,
                            char **name_r)
{
    time_t now = time(NULL);
    char when[32], *name;
    struct tm tm;
    int i;

    gmtime_r(&now, &tm);
    strftime(when, sizeof(when), "%Y%m%d-%H%M%S", &tm);
    for (i = 1; ; i++) {
        name = i == 1 ? xlx__printf("%s-%s", prefix, when)
                      : xlx__printf("%s-%s-%d", prefix, when, i);
        if (!name)
            return xlx__nomem();
        if (!xlx__snapshot_by_name(record, name))
            break;
        free(name);
    }
    *name_r = name;
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is kept of a guest's snapshots: the record, the journal of a change
 * under way, and the tree that the record describes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "disk.h"
#include "guest.h"
#include "image.h"
#include "record.h"
#include "snapshot.h"
#include "store.h"

#define MAX_NAME 200                /* bytes; QEMU cuts a tag at 255 */

/* ---- record ------------------------------------------------------------- */

int xlx__snapshot_record_read(xlx_ctx *ctx, const xlx_guest *guest,
                              xlx_snapshots *record)
{
    struct xlx__json_doc *doc;
    int rc;

    rc = xlx__record_read(ctx, &guest->uuid, &xlx__record_snapshots, &doc);
    if (!rc && doc)
        rc = xlx__snapshots_parse(xlx__json_root(doc), record);
    xlx__json_free(doc);
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
    return record->num_snapshots > 0;
}

int xlx__snapshot_record_write(xlx_ctx *ctx, const xlx_guest *guest,
                               const xlx_snapshots *record)
{
    struct xlx__json_out *out;

    if (!xlx__snapshot_record_matters(record))
        return xlx__record_remove(ctx, guest, &xlx__record_snapshots);
    out = xlx__json_out_new(true);
    xlx__snapshots_gen(out, record);
    return xlx__record_write(ctx, guest, &xlx__record_snapshots, out);
}

int xlx__snapshot_record_time(xlx_ctx *ctx, const xlx_guest *guest,
                              int64_t *time_r)
{
    int rc;

    rc = xlx__store_time(ctx, &guest->uuid, xlx__record_snapshots.file,
                         time_r);
    if (rc != ERROR_NOTFOUND) return rc;
    xlx__error_clear();
    return xlx__store_time(ctx, &guest->uuid,
                           xlx__record_snapshot_journal.file, time_r);
}

/* ---- journal ------------------------------------------------------------ */

int xlx__snapshot_journal_read(xlx_ctx *ctx, const xlx_guest *guest,
                               xlx_snapshot_journal *journal)
{
    struct xlx__json_doc *doc;
    int rc;

    rc = xlx__record_read(ctx, &guest->uuid, &xlx__record_snapshot_journal,
                          &doc);
    if (rc) return rc;
    if (!doc)
        return xlx__error(ERROR_NOTFOUND, "nothing was cut short");
    rc = xlx__snapshot_journal_parse(xlx__json_root(doc), journal);
    if (!rc && *xlx__text(journal->merge_vdev) &&
        (*xlx__text(journal->merge_top) != '/' ||
         *xlx__text(journal->merge_base) != '/'))
        rc = xlx__json_error(xlx__json_root(doc), ERROR_INVAL,
                             "merge_vdev is set, and merge_top or merge_base "
                             "is not an absolute path; put a copy of the "
                             "file back");
    xlx__json_free(doc);
    return rc;
}

int xlx__snapshot_journal_write(xlx_ctx *ctx, const xlx_guest *guest,
                                const xlx_snapshot_journal *journal)
{
    struct xlx__json_out *out = xlx__json_out_new(true);

    xlx__snapshot_journal_gen(out, journal);
    return xlx__record_write(ctx, guest, &xlx__record_snapshot_journal, out);
}

int xlx__snapshot_journal_remove(xlx_ctx *ctx, const xlx_guest *guest)
{
    /* a first snapshot that was undone leaves nothing, not even the name */
    return xlx__record_remove(ctx, guest, &xlx__record_snapshot_journal);
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
        return xlx__error(ERROR_NOMEM, "out of memory");
    *list = n;
    n[*num] = strdup(s);
    if (!n[*num])
        return xlx__error(ERROR_NOMEM, "out of memory");
    (*num)++;
    return 0;
}

/* ---- one change --------------------------------------------------------- */

int xlx__snapshot_open(xlx_ctx *ctx, const xlx_guest *guest,
                       struct xlx__snapshot_change *c)
{
    int rc;

    memset(c, 0, sizeof(*c));
    c->ctx = ctx;
    c->lock.fd = -1;
    xlx_guest_init(&c->self);
    c->guest = &c->self;
    xlx_snapshots_init(&c->record);

    rc = xlx_guest_copy(ctx, &c->self, guest);
    if (rc) return rc;
    rc = xlx__lock_guest(ctx, &guest->uuid, &c->lock);
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
            return xlx__error(ERROR_NOMEM, "out of memory");
        if (!xlx__snapshot_by_name(record, name))
            break;
        free(name);
    }
    *name_r = name;
    return 0;
}

/* ---- the present -------------------------------------------------------- */

/* Does the guest's state contain this snapshot, on all disks that it has? */
static bool is_ancestor(const xlx_snapshots *record,
                        const xlx_snapshot *snapshot)
{
    int i;

    for (i = 0; i < snapshot->num_disks; i++) {
        const xlx_snapshot_disk *d = &snapshot->disks[i];
        const xlx_snapshot_disk *now =
            xlx__snapshot_current_disk(record, xlx__text(d->vdev));

        if (!now || !xlx__image_leads_to(now->image, xlx__text(now->format),
                                         d->image))
            return false;
    }
    return snapshot->num_disks > 0;
}

/* The guest runs on other images than recorded: somebody else snapshot it,
 * merged layers, or started it on something else. */
static int find_current(xlx_snapshots *record)
{
    int i;

    for (i = record->num_snapshots; i > 0; i--)
        if (is_ancestor(record, &record->snapshots[i - 1]))
            return xlx__set_string(&record->current,
                                   record->snapshots[i - 1].name);
    return xlx__set_string(&record->current, "");
}

static int add_current(xlx_snapshots *record, const char *vdev,
                       xlx_snapshot_disk **disk_r)
{
    *disk_r = xlx__snapshots_disks_append(record);
    return *disk_r ? xlx__set_string(&(*disk_r)->vdev, vdev) : ERROR_NOMEM;
}

static bool is_frozen(const xlx_snapshots *record, const char *image)
{
    int i, j;

    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

            if (!*xlx__text(d->tag) && xlx__image_same(d->image, image))
                return true;
        }
    return false;
}

/* The config file of a guest that is shut down names the image of long ago,
 * which by now is frozen: the guest goes on where the record says. */
static int correct_config(xlx_ctx *ctx, const xlx_snapshots *record,
                          xlx_disk *disk)
{
    const xlx_snapshot_disk *now =
        xlx__snapshot_current_disk(record, disk->vdev);
    struct stat st;
    int layers, rc;

    if (!now || disk->backend != XLX_DISK_BACKEND_FILE ||
        !is_frozen(record, disk->path))
        return 0;
    if (stat(now->image, &st))
        return xlx__error(xlx__errno_rc(errno), "%s: %s: %m", disk->vdev,
                          now->image);
    disk->allocated = (uint64_t)st.st_blocks * 512;
    /* it may have been resized since it was recorded */
    rc = xlx__image_size(ctx, now->image, now->format, &disk->virtual_size);
    if (rc) return rc;
    rc = xlx__image_chain(now->image, now->format, &layers);
    if (rc) return rc;
    disk->layers = (uint32_t)layers;
    rc = xlx__set_string(&disk->path, now->image);
    if (rc) return rc;
    return xlx__set_string(&disk->format, now->format);
}

static int take_over(const xlx_disk *disk, xlx_snapshot_disk *now)
{
    char *below = NULL;
    int rc;

    if (!strcmp(xlx__text(disk->format), "qcow2")) {
        rc = xlx__image_backing(disk->path, &below);
        if (rc) return rc;
    }
    rc = xlx__set_string(&now->backing, below);
    free(below);
    if (rc) return rc;
    rc = xlx__set_string(&now->image, disk->path);
    if (rc) return rc;
    rc = xlx__set_string(&now->format, disk->format);
    if (rc) return rc;
    now->virtual_size = disk->virtual_size;
    return 0;
}

/* ---- disks that changed places ------------------------------------------ */

/* The entry of that disk (any when NULL) that has the image, now or in a
 * snapshot. */
static const xlx_snapshot_disk *entry_of(const xlx_snapshots *record,
                                         const char *vdev, const char *image)
{
    int i, j;

    for (i = 0; i < record->num_disks; i++)
        if ((!vdev || !strcmp(record->disks[i].vdev, vdev)) &&
            xlx__image_same(record->disks[i].image, image))
            return &record->disks[i];
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

            if ((!vdev || !strcmp(d->vdev, vdev)) &&
                xlx__image_same(d->image, image))
                return d;
        }
    return NULL;
}

struct moves {
    char **from;                    /* by place in disks; NULL: stays */
    const xlx_disks *disks;
    bool any;
};

/* What the disk of that name is called now.  One whose name another disk has
 * taken, and that the guest does not have, is called AWAY. */
static char *new_name(const struct moves *m, const char *vdev)
{
    int i;

    for (i = 0; i < m->disks->num_disks; i++)
        if (m->from[i] && !strcmp(m->from[i], vdev))
            return strdup(m->disks->disks[i].vdev);
    for (i = 0; i < m->disks->num_disks; i++)
        if (m->from[i] && !strcmp(m->disks->disks[i].vdev, vdev))
            return xlx__printf("%s (away)", vdev);
    return strdup(vdev);
}

static int rename_disk(const struct moves *m, xlx_snapshot_disk *d)
{
    char *name = new_name(m, xlx__text(d->vdev));

    if (!name)
        return xlx__error(ERROR_NOMEM, "out of memory");
    free(d->vdev);
    d->vdev = name;
    return 0;
}

static int find_moves(const xlx_snapshots *record, struct moves *m)
{
    const xlx_snapshot_disk *entry;
    int i, rc;

    for (i = 0; i < m->disks->num_disks; i++) {
        const xlx_disk *d = &m->disks->disks[i];

        if (d->cdrom || d->readonly || *xlx__text(d->unusable) ||
            entry_of(record, d->vdev, d->path))
            continue;
        entry = entry_of(record, NULL, d->path);
        if (!entry)
            continue;
        rc = xlx__set_string(&m->from[i], entry->vdev);
        if (rc) return rc;
        m->any = true;
    }
    return 0;
}

/* A disk is its image and not its name: names move when the user changes the
 * config, or when QEMU counts its devices in another order. */
static int follow_images(xlx_snapshots *record, const xlx_disks *disks)
{
    struct moves m = { .disks = disks };
    int i, j, rc;

    m.from = calloc(disks->num_disks + 1, sizeof(*m.from));
    if (!m.from)
        return xlx__error(ERROR_NOMEM, "out of memory");
    rc = find_moves(record, &m);
    for (i = 0; !rc && m.any && i < record->num_disks; i++)
        rc = rename_disk(&m, &record->disks[i]);
    for (i = 0; m.any && i < record->num_snapshots; i++)
        for (j = 0; !rc && j < record->snapshots[i].num_disks; j++)
            rc = rename_disk(&m, &record->snapshots[i].disks[j]);
    for (i = 0; i < disks->num_disks; i++)
        free(m.from[i]);
    free(m.from);
    return rc;
}

/* ---- what the disks are now --------------------------------------------- */

int xlx__snapshot_reconcile(xlx_ctx *ctx, xlx_snapshots *record,
                            xlx_disks *disks)
{
    const xlx_snapshot_disk *entry;
    bool moved = false, owned;
    int i, rc;

    rc = follow_images(record, disks);
    if (rc) return rc;
    for (i = 0; i < disks->num_disks; i++) {
        xlx_disk *d = &disks->disks[i];
        xlx_snapshot_disk *now;

        if (d->cdrom || d->readonly || *xlx__text(d->unusable))
            continue;
        rc = correct_config(ctx, record, d);
        if (rc) return rc;
        now = xlx__snapshot_current_disk(record, d->vdev);
        if (now && xlx__image_same(now->image, d->path))
            continue;
        /* one that we made, perhaps, for an earlier state */
        entry = entry_of(record, NULL, d->path);
        owned = entry && entry->owned;
        if (now) {
            moved = true;
        } else {
            rc = add_current(record, d->vdev, &now);
            if (rc) return rc;
        }
        rc = take_over(d, now);
        if (rc) return rc;
        now->owned = owned;
    }
    return moved ? find_current(record) : 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The record of a migration, and the lock that its process holds: a record
 * without a process is one that was cut short.
 */
#include <stdlib.h>
#include <string.h>

#include "core/file-id.h"
#include "core/store.h"
#include "migrate/migrate.h"

#define SAVE_MS 10000

bool xlx__disk_migration_names_image(const xlx_disk_migration *record,
                                     const char *image)
{
    int i;

    for (i = 0; i < record->num_disks; i++)
        if (xlx__file_same(record->disks[i].image, image))
            return true;
    return false;
}

int xlx__migrate_lock(struct xlx__migrate *m, int64_t deadline)
{
    char *path;
    int rc;

    rc = xlx__make_directory(m->ctx->run_dir);
    if (rc) return rc;
    path = xlx__printf("%s/migrate-" LIBXL_UUID_FMT ".lock", m->ctx->run_dir,
                       LIBXL_UUID_BYTES(m->guest->uuid));
    if (!path)
        return xlx__nomem();
    rc = xlx__lock_file(path, deadline, &m->lock);
    free(path);
    if (rc == ERROR_LOCK_FAIL)
        rc = xlx__error(rc, "a migration of \"%s\" with its disks is under "
                        "way", xlx__text(m->guest->name));
    return rc;
}

int xlx__migrate_load(struct xlx__migrate *m, bool *found_r)
{
    return xlx__disk_migration_load(m->ctx, &m->guest->uuid, &m->record,
                                    found_r);
}

/* Writers of records hold the guest's lock. */
static int write_locked(struct xlx__migrate *m, bool remove)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    int rc = 0;

    if (!m->locked)
        rc = xlx__lock_guest_until(m->ctx, &m->guest->uuid,
                                   xlx__now_ms() + SAVE_MS, &lock);
    if (!rc)
        rc = remove ? xlx__disk_migration_remove(m->ctx, m->guest)
                    : xlx__disk_migration_save(m->ctx, m->guest, &m->record);
    xlx__unlock(&lock);
    return rc;
}

int xlx__migrate_save(struct xlx__migrate *m)
{
    return write_locked(m, false);
}

int xlx__migrate_enter(struct xlx__migrate *m, xlx_disk_migration_phase phase)
{
    m->record.phase = phase;
    return xlx__migrate_save(m);
}

int xlx__migrate_forget(struct xlx__migrate *m)
{
    return write_locked(m, true);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes the records on disk: the bytes are a guest's snapshots.json, or, by
 * the first byte, its journal, its SCSI or its USB devices, which root may
 * have edited and a broken disk may have changed.  Every reader gives it back
 * or says in one line what is wrong; for some the list of snapshots and dry
 * runs of delete, revert and repair go on from there.
 */
#include <stdio.h>
#include <unistd.h>

#include "core/store.h"
#include "fuzz.h"
#include "guest/record.h"
#include "scsi/scsi.h"
#include "snapshot/snapshot.h"
#include "usb/usb.h"

static xlx_ctx *ctx;
static xlx_guest guest;

static void outcome(int rc)
{
    if (rc > 0)
        abort();
    if (rc)
        check_message();
    xlx__error_clear();
}

static void setup(void)
{
    static char dir[] = "/tmp/libxlx-fuzz-XXXXXX";
    char path[64];

    if (!mkdtemp(dir))
        abort();
    snprintf(path, sizeof(path), "%s/state", dir);
    setenv("LIBXLX_STATE_DIR", path, 1);
    snprintf(path, sizeof(path), "%s/run", dir);
    setenv("LIBXLX_RUN_DIR", path, 1);
    if (xlx_ctx_alloc(&ctx, NULL, NULL))
        abort();
    xlx_guest_init(&guest);
    memset(&guest.uuid, 0x11, sizeof(guest.uuid));
    guest.domid = XLX_DOMID_NONE;
    if (xlx__set_string(&guest.name, "web"))
        abort();
}

/* ---- its readers -------------------------------------------------------- */

static void snapshots(void)
{
    xlx_snapshots record;
    int64_t when;

    xlx_snapshots_init(&record);
    outcome(xlx__snapshot_record_read(ctx, &guest, &record));
    outcome(xlx__snapshot_record_time(ctx, &guest, &when));
    xlx_snapshots_dispose(&record);
    xlx_snapshots_init(&record);
    outcome(xlx_snapshot_list(ctx, &guest, &record));
    xlx_snapshots_dispose(&record);
}

static void plans(void)
{
    char name[] = "one";
    xlx_snapshot_delete_spec delete;
    xlx_snapshot_revert_spec revert;
    xlx_snapshot_revert_result result;
    xlx_repair_report report;
    xlx_snapshot_plan plan;

    xlx_snapshot_delete_spec_init(&delete);
    xlx_snapshot_plan_init(&plan);
    delete.name = name;
    delete.dry_run = delete.children = true;
    outcome(xlx_snapshot_delete(ctx, &guest, &delete, NULL, &plan));
    xlx_snapshot_plan_dispose(&plan);

    xlx_snapshot_revert_spec_init(&revert);
    xlx_snapshot_revert_result_init(&result);
    revert.name = name;
    revert.dry_run = true;
    outcome(xlx_snapshot_revert(ctx, &guest, &revert, &result));
    xlx_snapshot_revert_result_dispose(&result);

    xlx_repair_report_init(&report);
    outcome(xlx_snapshot_repair(ctx, &guest, true, &report));
    xlx_repair_report_dispose(&report);
}

static void journal(void)
{
    xlx_snapshot_journal journal;

    xlx_snapshot_journal_init(&journal);
    outcome(xlx__snapshot_journal_read(ctx, &guest, &journal));
    xlx_snapshot_journal_dispose(&journal);
}

static void scsi(void)
{
    xlx_scsi_record record;

    xlx_scsi_record_init(&record);
    outcome(xlx__scsi_record_load(ctx, &guest.uuid, &record, NULL));
    xlx_scsi_record_dispose(&record);
}

static void usb(void)
{
    xlx_usb_record record;

    xlx_usb_record_init(&record);
    outcome(xlx__usb_record_load(ctx, &guest.uuid, &record, NULL));
    xlx_usb_record_dispose(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const files[] = {
        "snapshots.json", "snapshot-journal.json", "scsi.json", "usb.json",
    };
    const char *file;

    if (!size)
        return 0;
    if (!ctx)
        setup();
    file = files[*data % 4];
    outcome(xlx__store_write(ctx, &guest.uuid, file,
                             (const char *)data + 1, size - 1));
    snapshots();
    journal();
    scsi();
    usb();
    if (*data % 4 < 2 && *data % 8 > 3)
        plans();
    outcome(xlx__store_remove(ctx, &guest.uuid, file));
    return 0;
}

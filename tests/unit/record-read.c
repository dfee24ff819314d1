/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records on disk that are JSON of the right types and lack what the code
 * counts on: each member in turn is taken away, emptied, or made relative.
 * They are refused with the file and the member, by every command.
 */
#include "core/store.h"
#include "gen-records.h"
#include "guest/guest.h"
#include "scsi/scsi.h"
#include "snapshot/snapshot.h"
#include "unit.h"
#include "usb/usb.h"

static char *dir;
static xlx_ctx *ctx;
static xlx_guest guest;

#define DISK_AT(image) \
    "{\"vdev\": \"xvda\", \"image\": \"" image "\", \"format\": \"raw\"}"
#define DISK DISK_AT("/i/a")
#define RECORD(disk, name, its) \
    "{\"version\": 1, \"disks\": [" disk "], \"snapshots\": [" \
    "{" name "\"disks\": [" its "]}]}"
#define NAME "\"name\": \"one\", "
#define JOURNAL(before, more) \
    "{\"version\": 1, \"before\": " before ", \"after\": " \
    RECORD(DISK, NAME, DISK) more "}"

static int put(const char *file, const char *text)
{
    return xlx__store_write(ctx, &guest.uuid, file, text, strlen(text));
}

/* ---- what reads it ----------------------------------------------------- */

static int list(void)
{
    xlx_snapshots list;
    int rc;

    xlx_snapshots_init(&list);
    rc = xlx_snapshot_list(ctx, &guest, &list);
    xlx_snapshots_dispose(&list);
    return rc;
}

static int journal(void)
{
    xlx_snapshot_journal journal;
    int rc;

    xlx_snapshot_journal_init(&journal);
    rc = xlx__snapshot_journal_read(ctx, &guest, &journal);
    xlx_snapshot_journal_dispose(&journal);
    return rc;
}

static int scsi(void)
{
    xlx_scsi_record record;
    int rc;

    xlx_scsi_record_init(&record);
    rc = xlx__scsi_record_load(ctx, &guest.uuid, &record, NULL);
    xlx_scsi_record_dispose(&record);
    return rc;
}

static int usb(void)
{
    xlx_usb_record record;
    int rc;

    xlx_usb_record_init(&record);
    rc = xlx__usb_record_load(ctx, &guest.uuid, &record, NULL);
    xlx_usb_record_dispose(&record);
    return rc;
}

/* ---- what is wrong with it --------------------------------------------- */

static void snapshots_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        { RECORD("{}", NAME, DISK), "snapshots.json: disks[0]: has no "
                                    "\"vdev\"" },
        { RECORD("{\"vdev\": \"xvda\"}", NAME, DISK),
          "disks[0]: has no \"format\"" },
        { RECORD("{\"vdev\": \"xvda\", \"format\": \"raw\"}", NAME, DISK),
          "disks[0]: has no \"image\"" },
        { RECORD("{\"vdev\": \"xvda\", \"image\": \"a\", \"format\": \"raw\"}",
                 NAME, DISK), "disks[0].image: is not an absolute path" },
        { RECORD("{\"vdev\": \"xvda\", \"image\": \"/a\", \"format\": \"\"}",
                 NAME, DISK), "disks[0].format: is empty" },
        { RECORD("{\"vdev\": \"\", \"image\": \"/a\", \"format\": \"raw\"}",
                 NAME, DISK), "disks[0].vdev: is empty" },
        { RECORD(DISK, "", DISK), "snapshots[0]: has no \"name\"" },
        { RECORD(DISK, "\"name\": \"\",", DISK), "snapshots[0].name: is "
                                                 "empty" },
        { RECORD(DISK, "\"name\": null,", DISK), "must be a string" },
        { RECORD(DISK, NAME, "{\"image\": \"/a\"}"),
          "snapshots[0].disks[0]: has no \"vdev\"" },
        { RECORD(DISK, NAME, DISK ", {\"vdev\": \"xvdb\", "
                                  "\"format\": \"raw\"}"),
          "snapshots[0].disks[1]: has no \"image\"" },
        { RECORD(DISK, NAME, "7"), "snapshots[0].disks[0]: " },
        { "{\"version\": 1, \"snapshots\": 7}", "" },
        { "{\"version\": 1, \"snapshots\": [{\"name\": \"one\", "
          "\"disks\": {}}]}", "" },
    };
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(cases); i++) {
        assert_ok(put("snapshots.json", cases[i].text));
        assert_fails(list(), ERROR_INVAL, cases[i].why);
    }
    assert_ok(put("snapshots.json", RECORD(DISK, NAME, DISK)));
    assert_ok(list());
    assert_ok(xlx__store_remove(ctx, &guest.uuid, "snapshots.json"));
}

static void journals_refused(void **state)
{
    (void)state;
    assert_ok(put("snapshot-journal.json",
                  JOURNAL(RECORD("{}", NAME, DISK), "")));
    assert_fails(journal(), ERROR_INVAL, "before.disks[0]: has no \"vdev\"");
    assert_ok(put("snapshot-journal.json",
                  JOURNAL(RECORD(DISK, NAME, DISK),
                          ", \"new_files\": [\"/a\", \"b\"]")));
    assert_fails(journal(), ERROR_INVAL, "new_files[1]: is not an absolute");
    assert_ok(put("snapshot-journal.json",
                  JOURNAL(RECORD(DISK, NAME, DISK),
                          ", \"old_files\": [\"\"]")));
    assert_fails(journal(), ERROR_INVAL, "old_files[0]: is empty");
    assert_ok(put("snapshot-journal.json",
                  JOURNAL(RECORD(DISK, NAME, DISK),
                          ", \"merge_vdev\": \"xvda\"")));
    assert_fails(journal(), ERROR_INVAL, "merge_top");
    assert_ok(put("snapshot-journal.json",
                  JOURNAL(RECORD(DISK, NAME, DISK), "")));
    assert_ok(journal());
    assert_ok(xlx__store_remove(ctx, &guest.uuid, "snapshot-journal.json"));
}

static void devices_refused(void **state)
{
    (void)state;
    assert_ok(put("scsi.json", "{\"version\": 1, \"entries\": [{}]}"));
    assert_fails(scsi(), ERROR_INVAL, "scsi.json: entries[0]: has no \"dev\"");
    assert_ok(put("scsi.json", "{\"version\": 1, \"entries\": [{\"dev\": "
                  "{\"vdev\": \"0:0:0:0\", \"pdev\": \"/dev/sda\"}}]}"));
    assert_fails(scsi(), ERROR_INVAL, "entries[0]: has no \"identity\"");
    assert_ok(put("usb.json", "{\"version\": 1, \"entries\": [{}]}"));
    assert_fails(usb(), ERROR_INVAL, "entries[0]: has no \"selector\"");
    assert_ok(put("usb.json", "{\"version\": 1, \"entries\": "
                  "[{\"selector\": \"\"}]}"));
    assert_fails(usb(), ERROR_INVAL, "entries[0].selector: is empty: libxlx "
                 "does not write it like that");
    assert_ok(put("usb.json", "{\"version\": 1, \"entries\": []}"));
    assert_ok(usb());
}

/* The layers below the concepts know a guest by the images that its records
 * name; which those are, each concept says of its own. */
static void names(const char *image, bool any, bool yes)
{
    libxl_device_disk disk;
    bool any_is = !any, yes_is = !yes;

    libxl_device_disk_init(&disk);
    disk.pdev_path = strdup(image);
    assert_ok(xlx__guest_records_name(ctx, &guest.uuid, &disk, 1, &any_is,
                                      &yes_is));
    libxl_device_disk_dispose(&disk);
    if (any_is != any || yes_is != yes)
        fail_msg("%s: any %d, named %d", image, any_is, yes_is);
}

static void images_named(void **state)
{
    (void)state;
    assert_ok(put("usb.json", "{\"version\": 1, \"entries\": []}"));
    names("/etc/passwd", false, false);
    assert_ok(put("snapshot-journal.json",
                  "{\"version\": 1, \"before\": " RECORD("", NAME, "")
                  ", \"after\": " RECORD("", NAME, DISK_AT("/etc/passwd"))
                  "}"));
    names("/etc/passwd", true, true);
    names("/etc/group", true, false);
    assert_ok(put("snapshots.json",
                  RECORD(DISK_AT("/etc/group"), NAME, "")));
    names("/etc/group", true, true);
    names("/etc/passwd", true, true);
    names("/etc/hosts", true, false);
    assert_ok(xlx__store_remove(ctx, &guest.uuid, "snapshot-journal.json"));
    names("/etc/passwd", true, false);
    assert_ok(put("snapshots.json", RECORD("{}", NAME, DISK)));
    assert_fails(xlx__guest_records_name(ctx, &guest.uuid, NULL, 0,
                                         &(bool){ false }, &(bool){ false }),
                 ERROR_INVAL, "snapshots.json: disks[0]: has no");
    assert_ok(xlx__store_remove(ctx, &guest.uuid, "snapshots.json"));
    assert_ok(xlx__store_remove(ctx, &guest.uuid, "usb.json"));
}

/* The table has each file once; what libxlx wrote before is found there. */
static void kinds(void **state)
{
    static const char *const files[] = {
        "disk-jobs.json", "guest.json", "migration.json", "scsi.json",
        "snapshot-journal.json", "snapshots.json", "usb.json",
    };
    int i, j, times;
    (void)state;

    assert_int_equal(XLX__RECORD_KINDS, XLX__ARRAY_SIZE(files));
    for (i = 0; i < XLX__RECORD_KINDS; i++) {
        for (times = j = 0; j < XLX__RECORD_KINDS; j++)
            times += !strcmp(xlx__record_kinds[j].file, files[i]);
        assert_int_equal(times, 1);
    }
}

static int setup(void **state)
{
    (void)state;
    dir = unit_dir();
    ctx = unit_ctx(dir);
    xlx_guest_init(&guest);
    libxl_uuid_generate(&guest.uuid);
    return xlx__set_string(&guest.name, "web");
}

static int teardown(void **state)
{
    (void)state;
    xlx_guest_dispose(&guest);
    xlx_ctx_free(ctx);
    unit_dir_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snapshots_refused),
        cmocka_unit_test(journals_refused),
        cmocka_unit_test(devices_refused),
        cmocka_unit_test(images_named),
        cmocka_unit_test(kinds),
    };

    return cmocka_run_group_tests_name("record-read", tests, setup, teardown);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host of scsi-rig.h.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "core/kernfs.h"
#include "core/report.h"
#include "peer.h"
#include "scsi-drivers.h"
#include "scsi-rig.h"

static char *directory;
libxl_uuid uuid;
struct xlx__scsi_change c;
char said[600];

/* ---- the host ----------------------------------------------------------- */

/* Below the directory of this test; good for the next few calls. */
char *path_of(const char *name)
{
    static char ring[4][600];
    static unsigned int next;
    char *path = ring[next++ % 4];

    snprintf(path, sizeof(ring[0]), "%s/%s", directory, name);
    return path;
}

void make(const char *name)
{
    char *path = path_of(name), *p;

    for (p = path + strlen(directory) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(path, 0755);
    }
    mkdir(path, 0755);
}

bool there(const char *name)
{
    return !access(path_of(name), F_OK);
}

void put(const char *dir, const char *name, const char *text)
{
    char *path = xlx__printf("%s/%s", path_of(dir), name);
    FILE *f;

    make(dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

char *device_of(const char *address)
{
    static char dir[100];

    snprintf(dir, sizeof(dir), "class/scsi_device/%s/device", address);
    return dir;
}

void plug_in(const char *address, const char *wwid, bool disk)
{
    char *dir = device_of(address), *at;

    put(dir, "type", disk ? "0" : "1");
    put(dir, "vendor", "ACME");
    put(dir, "model", disk ? "Disk" : "Tape");
    put(dir, "rev", "1");
    put(dir, "wwid", wwid);
    put(dir, "state", "running\n");
    if (!disk)
        return;
    at = xlx__printf("%s/block/sdx", dir);
    put(at, "dev", "8:112\n");
    put(at, "size", "2048\n");
    free(at);
    put("dev", "sdx", "");
    make("class/block");
    at = xlx__printf("../scsi_device/%s/device/block/sdx", address);
    unlink(path_of("class/block/sdx"));
    assert_int_equal(symlink(at, path_of("class/block/sdx")), 0);
    free(at);
    at = xlx__printf("%s/block/sdx/device", path_of(dir));
    assert_int_equal(symlink("../..", at), 0);
    free(at);
}

/* Its directory is kept, so that no other gets its number. */
void pull_out(const char *address)
{
    static int removed;
    char *to = xlx__printf("%s/removed-%d", directory, removed++);
    char *from = xlx__printf("class/scsi_device/%s", address);

    assert_int_equal(rename(path_of(from), to), 0);
    unlink(path_of("class/block/sdx"));
    free(from);
    free(to);
}

int __wrap_xlx__hostdev_try_open(const struct xlx__hostdev_node *node,
                                 bool *free_r);
int __wrap_xlx__hostdev_try_open(const struct xlx__hostdev_node *node,
                                 bool *free_r)
{
    char **names, *enable;
    int i, num;

    (void)node;
    *free_r = true;
    assert_ok(xlx__attr_list(&names, &num, NULL,
                             "%s/target/core/pscsi_7892088", directory));
    for (i = 0; i < num; i++) {
        enable = xlx__attr_text("%s/target/core/pscsi_7892088/%s/enable",
                                directory, names[i]);
        if (enable && *enable == '1')
            *free_r = false;
        free(enable);
    }
    free(names);
    return 0;
}

/* ---- a guest with a device ---------------------------------------------- */

/* An entry that was found at the address, with no domain yet. */
void describe(xlx_scsi_entry *e, const libxl_uuid *whose,
                     const char *address)
{
    static const struct xlx__scsi_hctl vdev = { 0, 0, 0, 0 };
    struct xlx__scsi_pdev p;

    xlx_scsi_entry_init(e);
    xlx__scsi_pdev_init(&p);
    e->dev.backstore = XLX_SCSI_BACKSTORE_PSCSI;
    assert_ok(xlx__set_string(&e->dev.vdev, "0:0:0:0"));
    assert_ok(xlx__set_string(&e->dev.pdev, address));
    assert_ok(xlx__scsi_target_name(whose, &vdev, e));
    assert_ok(xlx__scsi_find(address, &p));
    assert_ok(xlx__scsi_note_device(e, &p));
    e->status = XLX_SCSI_STATUS_ATTACHED;
    xlx__scsi_pdev_dispose(&p);
}

void make_target(const xlx_scsi_entry *e)
{
    struct xlx__scsi_pdev p;

    xlx__scsi_pdev_init(&p);
    assert_ok(xlx__scsi_find(e->dev.pdev, &p));
    assert_ok(xlx__scsi_target_make(peer_ctx(), e, &p));
    assert_ok(xlx__scsi_target_check(e));
    xlx__scsi_pdev_dispose(&p);
}

/* The guest, domain 5, has the entry's device; its target is made unless it is
 * there. */
xlx_scsi_entry *give(const xlx_scsi_entry *e)
{
    memset(&c, 0, sizeof(c));
    c.ctx = peer_ctx();
    c.lock.fd = -1;
    xlx_guest_init(&c.guest);
    xlx_scsi_record_init(&c.record);
    assert_ok(xlx__hostdev_boot(&c.boot));
    assert_ok(xlx__set_string(&c.guest.name, "web"));
    c.guest.uuid = uuid;
    c.guest.domid = 5;
    assert_ok(xlx__scsi_entry_append(&c, e));
    assert_ok(xlx__scsi_entry_is_on(&c, c.record.entries, 5));
    make_target(e);
    return c.record.entries;
}

xlx_scsi_entry *give_at(const char *address)
{
    xlx_scsi_entry e, *is;

    describe(&e, &uuid, address);
    is = give(&e);
    xlx_scsi_entry_dispose(&e);
    return is;
}

/* What mending reports, "" for nothing. */
const char *mend(bool dry_run)
{
    xlx_repair_report report;
    struct xlx__scsi_repair r = { &c, dry_run, &report, NULL, NULL };

    xlx_repair_report_init(&report);
    assert_ok(xlx__scsi_mend_targets(&r));
    said[0] = '\0';
    if (report.num_findings)
        snprintf(said, sizeof(said), "%s: %s", report.findings[0].what,
                 report.findings[0].done);
    assert_true(report.num_findings <= 1);
    xlx_repair_report_dispose(&report);
    return said;
}

void says(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\", wanted \"%s\"", text, part);
}

void mends(void)
{
    assert_string_equal(mend(false), "0:0:0:0: another tool has removed its "
                                     "target: made again");
    assert_ok(xlx__scsi_target_check(c.record.entries));
    assert_string_equal(mend(false), "");
}

/* "targetcli .../luns delete 0" */
void delete_lun(const xlx_scsi_entry *e)
{
    char *lun = xlx__scsi_target_lun(e), *to = NULL, *link = NULL;

    assert_ok(xlx__scsi_target_link(lun, &to, &link));
    assert_int_equal(unlink(link), 0);
    assert_int_equal(rmdir(lun), 0);
    free(to);
    free(link);
    free(lun);
}

/* "targetcli /backstores/pscsi delete NAME" */
void delete_backstore(const xlx_scsi_entry *e)
{
    char *path = xlx__printf("target/core/%s", e->backstore);

    delete_lun(e);
    assert_int_equal(rmdir(path_of(path)), 0);
    free(path);
}

/* Of the backstore, without the newline. */
char *attribute(const char *name)
{
    static char text[300];
    char *is = xlx__attr_text("%s/" OURS "/%s", directory, name);

    assert_non_null(is);
    snprintf(text, sizeof(text), "%s", is);
    free(is);
    return text;
}


int begin(void **state)
{
    if (peer_setup(state))
        return -1;
    directory = unit_dir();
    setenv("LIBXLX_SYSFS_DIR", directory, 1);
    setenv("LIBXLX_CONFIGFS_DIR", directory, 1);
    setenv("LIBXLX_DEV_DIR", path_of("dev"), 1);
    setenv("LIBXLX_PROC_DIR", path_of("proc"), 1);
    make("target/core");
    make("target/xen-pvscsi");
    make("module/target_core_pscsi");
    make("bus/xen-backend/drivers/vscsi");
    make("proc/1");
    make("proc/self/ns");
    put("proc/sys/kernel/random", "boot_id",
        "11111111-2222-3333-4444-555555555555\n");
    if (symlink("mnt:[1]", path_of("proc/self/ns/mnt")))
        return -1;
    plug_in("2:0:0:0", TAPE, false);
    plug_in("3:0:0:0", DISK, true);
    peer_xenstored("/local/domain/5/device=", "/local/domain/5/domid=5",
                   "/local/domain/5/vm=/vm/" WEB, NULL);
    return libxl_uuid_from_string(&uuid, WEB);
}

int end(void **state)
{
    static const char *const variables[] = {
        "LIBXLX_SYSFS_DIR", "LIBXLX_CONFIGFS_DIR", "LIBXLX_DEV_DIR",
        "LIBXLX_PROC_DIR",
    };
    size_t i;

    drivers_stop();
    if (c.ctx) {
        c.record.num_entries = 0;
        xlx__scsi_record_write(&c);
        c.record.num_entries = 1;
        xlx__scsi_end(&c);
        c.ctx = NULL;
    }
    for (i = 0; i < XLX__ARRAY_SIZE(variables); i++)
        unsetenv(variables[i]);
    peer_xenstored_stop(state);
    unit_dir_remove(directory);
    return peer_teardown(state);
}

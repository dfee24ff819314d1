/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices that leave the host and come back, with a guest that has them: in a
 * sysfs of this test, and a guest whose drivers it plays.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libxl_utils.h>

#include "core/report.h"
#include "core/xs.h"
#include "peer.h"
#include "scsi-drivers.h"
#include "scsi/scsi.h"

#define WWID "naa.5000c500a1b2c3d4"
#define OTHER "naa.5000c500ffffffff"

static const char uuid_text[] = "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10";
static libxl_uuid uuid;
static char *dir;
static int removed;

/* ---- libxl: domain 5 is the guest --------------------------------------- */

static int a_libxl;

int libxl_ctx_alloc(libxl_ctx **ctx_r, int version, unsigned int flags,
                    xentoollog_logger *logger)
{
    (void)version;
    (void)flags;
    (void)logger;
    *ctx_r = (libxl_ctx *)&a_libxl;
    return 0;
}

int libxl_ctx_free(libxl_ctx *libxl)
{
    (void)libxl;
    return 0;
}

void libxl_childproc_setmode(libxl_ctx *libxl,
                             const libxl_childproc_hooks *hooks, void *user)
{
    (void)libxl;
    (void)hooks;
    (void)user;
}

int libxl_domain_info(libxl_ctx *libxl, libxl_dominfo *info, uint32_t domid)
{
    (void)libxl;
    info->domid = domid;
    info->uuid = uuid;
    return domid == 5 ? 0 : ERROR_DOMAIN_NOTFOUND;
}

libxl_dominfo *libxl_list_domain(libxl_ctx *libxl, int *num_r)
{
    libxl_dominfo *list = calloc(1, sizeof(*list));

    *num_r = 1;
    libxl_domain_info(libxl, list, 5);
    return list;
}

void libxl_dominfo_list_free(libxl_dominfo *list, int num)
{
    (void)num;
    free(list);
}

/* The record of the guest names its disks: this one has none. */
libxl_device_disk *libxl_device_disk_list(libxl_ctx *libxl, uint32_t domid,
                                          int *num_r)
{
    (void)libxl;
    (void)domid;
    *num_r = 0;
    return NULL;
}

char *libxl_domid_to_name(libxl_ctx *libxl, uint32_t domid)
{
    (void)libxl;
    (void)domid;
    return strdup("web");
}

/* ---- a sysfs ------------------------------------------------------------ */

static void put(const char *address, const char *name, const char *text)
{
    char *path = xlx__printf("%s/class/scsi_device/%s/device/%s", dir,
                             address, name), *p;
    FILE *f;

    for (p = path + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static void plug_in(const char *address, const char *wwid)
{
    put(address, "type", "1");
    put(address, "vendor", "ACME");
    put(address, "model", "Tape");
    put(address, "rev", "1");
    put(address, "wwid", wwid);
    put(address, "state", "running\n");
}

/* Its directory is kept, so that no other gets its number. */
static void pull_out(const char *address)
{
    char *from = xlx__printf("%s/class/scsi_device/%s", dir, address);
    char *to = xlx__printf("%s/removed-%d", dir, removed++);

    assert_int_equal(rename(from, to), 0);
    free(from);
    free(to);
}

static void entry_init(xlx_scsi_entry *e, const char *wwid)
{
    struct xlx__scsi_pdev p;

    xlx_scsi_entry_init(e);
    xlx__scsi_pdev_init(&p);
    assert_ok(xlx__set_string(&e->dev.vdev, "0:0:0:0"));
    assert_ok(xlx__set_string(&e->dev.pdev, "2:0:0:0"));
    /* a target that is there, whatever this machine's configfs says */
    assert_ok(xlx__set_string(&e->target, "naa.5000000000000001"));
    e->dev.backstore = XLX_SCSI_BACKSTORE_TARGET;
    assert_ok(xlx__scsi_find("2:0:0:0", &p));
    assert_ok(xlx__scsi_note_device(e, &p));
    assert_true(!*wwid || strstr(e->identity, wwid));
    e->status = XLX_SCSI_STATUS_ATTACHED;
    e->domid = 5;
    xlx__scsi_pdev_dispose(&p);
}

static enum xlx__scsi_place look(const xlx_scsi_entry *e)
{
    return xlx__scsi_look(e, xlx__text(e->boot));
}

/* ---- where it is -------------------------------------------------------- */

static void places(void **state)
{
    xlx_scsi_entry e;
    (void)state;

    plug_in("2:0:0:0", WWID);
    entry_init(&e, WWID);
    assert_string_not_equal(e.instance, "");
    assert_int_equal(look(&e), XLX__SCSI_SAME);
    assert_ok(xlx__scsi_check_place(&e));

    /* a cable was pulled out: the kernel keeps it for a while */
    put("2:0:0:0", "state", "transport-offline\n");
    assert_int_equal(look(&e), XLX__SCSI_OFFLINE);
    assert_ok(xlx__scsi_check_place(&e));
    /* and there is another path */
    plug_in("3:0:0:1", WWID);
    assert_int_equal(look(&e), XLX__SCSI_MOVED);
    pull_out("3:0:0:1");
    put("2:0:0:0", "state", "running\n");
    assert_int_equal(look(&e), XLX__SCSI_SAME);

    pull_out("2:0:0:0");
    assert_int_equal(look(&e), XLX__SCSI_GONE);
    assert_fails(xlx__scsi_check_place(&e), ERROR_NOTFOUND,
                 "it was pulled out while");
    plug_in("4:0:0:0", WWID);
    assert_int_equal(look(&e), XLX__SCSI_MOVED);
    pull_out("4:0:0:0");
    /* another device has its address */
    plug_in("2:0:0:0", OTHER);
    assert_int_equal(look(&e), XLX__SCSI_GONE);
    pull_out("2:0:0:0");
    /* the same at the same address, after a new login */
    plug_in("2:0:0:0", WWID);
    assert_int_equal(look(&e), XLX__SCSI_MOVED);
    assert_fails(xlx__scsi_check_place(&e), ERROR_NOTFOUND,
                 "plugged in again");
    /* a record of an older version does not tell */
    assert_ok(xlx__set_string(&e.instance, ""));
    assert_int_equal(look(&e), XLX__SCSI_SAME);
    pull_out("2:0:0:0");
    xlx_scsi_entry_dispose(&e);
}

/* Nothing is known is not the same as nothing is there. */
static void unknown(void **state)
{
    struct rlimit all, none;
    xlx_scsi_entry e;
    char *class;
    (void)state;

    plug_in("2:0:0:0", WWID);
    entry_init(&e, WWID);
    pull_out("2:0:0:0");
    assert_int_equal(look(&e), XLX__SCSI_GONE);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
    none = all;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(look(&e), XLX__SCSI_UNSEEN);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);

    class = xlx__printf("%s/class/scsi_device", dir);
    assert_int_equal(rmdir(class), 0);
    assert_int_equal(look(&e), XLX__SCSI_UNSEEN);
    assert_int_equal(mkdir(class, 0755), 0);
    free(class);

    /* a file, and a target of another tool */
    assert_ok(xlx__set_string(&e.hctl, ""));
    assert_ok(xlx__set_string(&e.path, "/srv/none.img"));
    assert_int_equal(look(&e), XLX__SCSI_UNSEEN);
    assert_ok(xlx__set_string(&e.path, ""));
    assert_int_equal(look(&e), XLX__SCSI_UNSEEN);
    /* a disk that is not a SCSI one */
    assert_ok(xlx__set_string(&e.path, "/dev/nvme9n9"));
    assert_int_equal(look(&e), XLX__SCSI_GONE);
    xlx_scsi_entry_dispose(&e);
}

/* ---- a guest with it ---------------------------------------------------- */

static void attach(struct xlx__scsi_change *c, const xlx_scsi_entry *e)
{
    struct xlx__device dev;

    memset(c, 0, sizeof(*c));
    c->ctx = peer_ctx();
    c->lock.fd = -1;
    xlx_guest_init(&c->guest);
    xlx_scsi_record_init(&c->record);
    assert_ok(xlx__hostdev_boot(&c->boot));
    assert_ok(xlx__set_string(&c->guest.name, "web"));
    c->guest.uuid = uuid;
    c->guest.domid = 5;
    assert_ok(xlx__scsi_entry_append(c, e));
    assert_ok(xlx__scsi_entry_is_on(c, c->record.entries, 5));
    assert_ok(xlx__scsi_record_write(c));
    assert_ok(xlx__scsi_adapter(e, &dev));
    assert_ok(xlx__scsi_bus_add(peer_ctx(), &dev, &e, 1,
                                xlx__now_ms() + 60000));
    assert_ok(xlx__scsi_bus_wait(peer_ctx(), &dev, &e, 1, false,
                                 xlx__now_ms() + 60000));
    xlx__device_dispose(&dev);
}

static void has_problem(const struct xlx__scsi_change *c, const char *problem,
                        xlx_scsi_status status)
{
    xlx_scsi_info info;

    xlx_scsi_info_init(&info);
    assert_ok(xlx_scsi_get(peer_ctx(), &c->guest, "0:0:0:0", &info));
    if (!strstr(info.problem, problem) || (!*problem && *info.problem))
        fail_msg("\"%s\", wanted \"%s\"", info.problem, problem);
    assert_int_equal(info.status, status);
    xlx_scsi_info_dispose(&info);
}

static const char *settle(struct xlx__scsi_change *c)
{
    static char said[400];
    xlx_repair_report report;

    xlx_repair_report_init(&report);
    assert_ok(xlx__scsi_settle(c, false, &report));
    said[0] = '\0';
    if (report.num_findings)
        snprintf(said, sizeof(said), "%s: %s", report.findings[0].what,
                 report.findings[0].done);
    assert_true(report.num_findings <= 1);
    xlx_repair_report_dispose(&report);
    return said;
}

/* The LUN of a device that is gone stays connected at both ends. */
static void gone(void **state)
{
    struct xlx__scsi_change c;
    const xlx_scsi_entry *e;
    xlx_scsi_entry entry;
    const char *said;
    (void)state;

    peer_xenstored("/local/domain/5/device=", "/local/domain/5/domid=5",
                   NULL);
    drivers_start(BACKEND | FRONTEND);
    plug_in("2:0:0:0", WWID);
    entry_init(&entry, WWID);
    attach(&c, &entry);
    e = c.record.entries;
    has_problem(&c, "", XLX_SCSI_STATUS_ATTACHED);
    assert_string_equal(settle(&c), "");

    pull_out("2:0:0:0");
    has_problem(&c, "gone from the host", XLX_SCSI_STATUS_ATTACHED);
    said = settle(&c);
    if (!strstr(said, "taken off the guest until it is back"))
        fail_msg("%s", said);
    assert_int_equal(e->status, XLX_SCSI_STATUS_MISSING);
    assert_int_equal(e->domid, XLX_DOMID_NONE);
    has_problem(&c, "attached again when it is back",
                XLX_SCSI_STATUS_MISSING);
    assert_string_equal(settle(&c), "");

    /* the kernel of this test has no target to attach it with */
    plug_in("3:0:0:7", WWID);
    said = settle(&c);
    if (!strstr(said, "its device is back"))
        fail_msg("%s", said);
    pull_out("3:0:0:7");
    xlx_scsi_entry_dispose(&entry);
    c.record.num_entries = 0;
    assert_ok(xlx__scsi_record_write(&c));
    c.record.num_entries = 1;
    xlx__scsi_end(&c);
}

/* The guest does not answer: a watcher gives up soon, and is patient. */
static void hangs(void **state)
{
    struct xlx__hostdev_patience patience = { NULL, 0, 0, 0 };
    struct xlx__scsi_change c;
    xlx_scsi_entry entry;
    int64_t begin;
    (void)state;

    peer_xenstored("/local/domain/5/device=", "/local/domain/5/domid=5",
                   NULL);
    drivers_start(BACKEND | FRONTEND);
    plug_in("2:0:0:0", WWID);
    entry_init(&entry, WWID);
    attach(&c, &entry);
    drivers_stop();
    pull_out("2:0:0:0");
    c.patience = &patience;

    begin = xlx__now_ms();
    xlx__hostdev_patience_begin(&patience, begin + 500);
    assert_non_null(strstr(settle(&c), "gone from the host"));
    xlx__hostdev_patience_end(&patience);
    assert_true(xlx__now_ms() - begin < 20000);
    assert_int_equal(c.record.entries->status, XLX_SCSI_STATUS_ATTACHED);
    assert_int_equal(patience.num, 1);

    /* not again at once */
    xlx__hostdev_patience_begin(&patience, xlx__now_ms() + 60000);
    patience.list[0].next = xlx__now_ms() + 60000;
    assert_string_equal(settle(&c), "");
    xlx__hostdev_patience_end(&patience);
    assert_int_equal(patience.num, 1);
    xlx__hostdev_patience_dispose(&patience);
    xlx_scsi_entry_dispose(&entry);
    c.record.num_entries = 0;
    assert_ok(xlx__scsi_record_write(&c));
    c.record.num_entries = 1;
    xlx__scsi_end(&c);
}

/* Another tool started the guest, under another UUID: a repair of all guests
 * at the boot of the host finds what is recorded of it. */
static void started_elsewhere(void **state)
{
    struct xlx__scsi_change c;
    xlx_scsi_entry entry;
    xlx_guests list;
    (void)state;

    peer_xenstored("/local/domain/5/domid=5", NULL);
    plug_in("2:0:0:0", WWID);
    memset(&c, 0, sizeof(c));
    c.ctx = peer_ctx();
    c.lock.fd = -1;
    xlx_guest_init(&c.guest);
    xlx_scsi_record_init(&c.record);
    assert_ok(xlx__set_string(&c.guest.name, "web"));
    c.guest.uuid = uuid;
    c.guest.uuid.uuid[0] ^= 1;
    c.guest.domid = 5;
    entry_init(&entry, WWID);
    assert_ok(xlx__scsi_entry_append(&c, &entry));
    assert_ok(xlx__scsi_record_write(&c));

    xlx_guests_init(&list);
    assert_ok(xlx_scsi_guest_list(peer_ctx(), &list));
    assert_int_equal(list.num_guests, 1);
    assert_int_equal(list.guests[0].domid, 5);
    assert_memory_equal(&list.guests[0].uuid, &uuid, sizeof(uuid));
    xlx_guests_dispose(&list);

    c.guest.uuid = uuid;
    c.record.num_entries = 0;
    assert_ok(xlx__scsi_record_write(&c));
    c.record.num_entries = 1;
    pull_out("2:0:0:0");
    xlx_scsi_entry_dispose(&entry);
    xlx__scsi_end(&c);
}

static int stop(void **state)
{
    drivers_stop();
    return peer_xenstored_stop(state);
}

static int setup(void **state)
{
    libxl_uuid_from_string(&uuid, uuid_text);
    dir = unit_dir();
    setenv("LIBXLX_SYSFS_DIR", dir, 1);
    setenv("LIBXLX_CONFIGFS_DIR", dir, 1);
    return peer_setup(state);
}

static int teardown(void **state)
{
    unsetenv("LIBXLX_SYSFS_DIR");
    unsetenv("LIBXLX_CONFIGFS_DIR");
    unit_dir_remove(dir);
    return peer_teardown(state);
}

int main(void)
{
    const struct CMUnitTest scsi_look[] = {
        cmocka_unit_test(places),
        cmocka_unit_test(unknown),
        cmocka_unit_test_teardown(gone, stop),
        cmocka_unit_test_teardown(hangs, stop),
        cmocka_unit_test_teardown(started_elsewhere, stop),
    };

    return cmocka_run_group_tests(scsi_look, setup, teardown);
}

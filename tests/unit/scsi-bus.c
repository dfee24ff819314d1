/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The adapter of a guest in xenstore, with drivers that are late, refuse or do
 * not answer, which the kernel's own cannot be made to do at will.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"
#include "scsi-drivers.h"
#include "scsi/scsi.h"


static void start(const char *a, const char *b)
{
    peer_xenstored("/local/domain/5/device=", a, b, NULL);
}

static int stop_peer(void **state)
{
    drivers_stop();
    return peer_xenstored_stop(state);
}

static xlx_scsi_entry entry(const char *vdev, const char *target,
                            uint32_t lun)
{
    xlx_scsi_entry e;

    xlx_scsi_entry_init(&e);
    e.dev.vdev = (char *)(uintptr_t)vdev;
    e.dev.pdev = (char *)(uintptr_t)"/dev/secret";
    e.target = (char *)(uintptr_t)target;
    e.lun = lun;
    e.domid = 5;
    return e;
}

static int64_t in(int ms)
{
    return xlx__now_ms() + ms;
}

static int attach(const xlx_scsi_entry *e, bool no_wait, int ms)
{
    struct xlx__device dev;
    int rc;

    assert_ok(xlx__scsi_adapter(e, &dev));
    rc = xlx__scsi_bus_add(peer_ctx(), &dev, &e, 1, in(ms));
    if (!rc)
        rc = xlx__scsi_bus_wait(peer_ctx(), &dev, &e, 1, no_wait, in(ms));
    xlx__device_dispose(&dev);
    return rc;
}

static int detach_all(const xlx_scsi_entry *const *list, int num, int ms)
{
    struct xlx__device dev;
    int rc;

    assert_ok(xlx__scsi_adapter(list[0], &dev));
    rc = xlx__scsi_bus_remove(peer_ctx(), &dev, list, num, in(ms));
    xlx__device_dispose(&dev);
    return rc;
}

static int detach(const xlx_scsi_entry *e, int ms)
{
    return detach_all(&e, 1, ms);
}

static void is(const char *node, const char *wanted)
{
    char *value = NULL;

    assert_ok(xlx__xs_read(peer_ctx(), XBT_NULL, node, &value));
    assert_string_equal(value, wanted);
    free(value);
}

static void is_not(const char *node, const char *unwanted)
{
    char *value = NULL;

    assert_ok(xlx__xs_read(peer_ctx(), XBT_NULL, node, &value));
    assert_string_not_equal(value, unwanted);
    free(value);
}

static void is_gone(const char *node)
{
    char *value = NULL;

    assert_fails(xlx__xs_read(peer_ctx(), XBT_NULL, node, &value),
                 ERROR_NOTFOUND, node);
}

static void all_gone(void)
{
    is_gone("/local/domain/0/backend/vscsi");
    is_gone("/local/domain/5/device/vscsi");
}

/* ---- tests -------------------------------------------------------------- */

static void both_ends(void **state)
{
    xlx_scsi_entry a = entry("0:0:0:0", "naa.31", 0);
    xlx_scsi_entry b = entry("0:0:1:2", "naa.32", 2);
    struct xs_permissions *perms;
    unsigned int num;
    (void)state;

    start("--conflicts", "3");
    drivers_start(BACKEND | FRONTEND);
    assert_ok(attach(&a, false, 20000));
    is(B "/vscsi-devs/dev-0/p-dev", "naa.31:0");
    is(B "/frontend", F);
    is(F "/backend", B);
    assert_ok(attach(&b, false, 20000));
    is(B "/vscsi-devs/dev-258/v-dev", "0:0:1:2");
    is(B "/vscsi-devs/dev-258/state", "4");

    perms = xs_get_permissions(peer_ctx()->xenstore, XBT_NULL,
                               B "/vscsi-devs/dev-258/p-dev", &num);
    assert_non_null(perms);
    assert_int_equal(num, 1);       /* the guest is not among them */
    assert_int_equal(perms[0].id, 0);
    assert_int_equal(perms[0].perms, XS_PERM_NONE);
    free(perms);
    perms = xs_get_permissions(peer_ctx()->xenstore, XBT_NULL, F, &num);
    assert_int_equal(perms[0].id, 5);
    free(perms);

    assert_fails(attach(&a, false, 20000), ERROR_DEVICE_EXISTS,
                 "0:0:0:0: the guest has it already");
    assert_ok(detach(&a, 20000));
    is_gone(B "/vscsi-devs/dev-0/state");
    is_gone(F "/vscsi-devs/dev-0/state");
    is(B "/state", "4");
    assert_ok(detach(&a, 20000));   /* twice does no harm */
    is(B "/vscsi-devs/dev-258/state", "4");
    assert_ok(detach(&b, 20000));
    all_gone();
}

static void no_driver(void **state)
{
    xlx_scsi_entry a = entry("0:0:0:0", "naa.31", 0);
    xlx_scsi_entry b = entry("0:0:0:1", "naa.31", 1);
    (void)state;

    start(NULL, NULL);
    assert_fails(attach(&a, false, 300), ERROR_NOT_READY,
                 "xen-scsiback loaded");
    assert_ok(detach(&a, 1000));
    all_gone();

    drivers_start(BACKEND);
    assert_fails(attach(&a, false, 1000), ERROR_NOT_READY,
                 "needs xen-scsifront");
    assert_ok(detach(&a, 1000));
    all_gone();

    /* not waited for: both connect when the driver comes */
    assert_ok(attach(&a, true, 20000));
    assert_ok(attach(&b, true, 20000));
    is(B "/state", "2");
    drivers_stop();
    drivers_start(BACKEND | FRONTEND);
    {
        const xlx_scsi_entry *both[] = { &a, &b };
        struct xlx__device dev;

        assert_ok(xlx__scsi_adapter(&a, &dev));
        assert_ok(xlx__scsi_bus_wait(peer_ctx(), &dev, both, 2, false,
                                     in(20000)));
        xlx__device_dispose(&dev);
    }
}

static void refused(void **state)
{
    xlx_scsi_entry a = entry("0:0:0:0", "naa.31", 0);
    xlx_scsi_entry eight = entry("0:0:0:8", "naa.31", 8);
    xlx_scsi_entry nine = entry("0:0:0:9", "naa.31", 9);
    (void)state;

    start(NULL, NULL);
    drivers_start(BACKEND | FRONTEND);
    /* the adapter connects all the same */
    assert_fails(attach(&eight, false, 20000), ERROR_FAIL,
                 "0:0:0:8: the backend cannot use naa.31:8");
    assert_ok(detach(&eight, 20000));
    assert_ok(attach(&a, false, 20000));
    assert_fails(attach(&eight, false, 20000), ERROR_FAIL,
                 "the backend cannot use");
    assert_ok(detach(&eight, 20000));
    assert_fails(attach(&nine, false, 20000), ERROR_FAIL,
                 "0:0:0:9: the guest's driver does not take it");
    assert_ok(detach(&nine, 20000));
    is(B "/vscsi-devs/dev-0/state", "4");
    is_gone(B "/vscsi-devs/dev-8/v-dev");
    is_gone(B "/vscsi-devs/dev-9/v-dev");
    assert_ok(detach(&a, 20000));
    all_gone();
}

/* A guest that is paused and does not answer. */
static void unanswered(void **state)
{
    xlx_scsi_entry a = entry("0:0:0:0", "naa.31", 0);
    xlx_scsi_entry b = entry("0:0:0:1", "naa.31", 1);
    (void)state;

    start(NULL, NULL);
    drivers_start(BACKEND | FRONTEND);
    assert_ok(attach(&a, false, 20000));
    kill(drivers_pid, SIGSTOP);
    assert_fails(attach(&b, false, 300), ERROR_TIMEDOUT,
                 "the backend is reconfiguring, the guest connected");
    is(B "/state", "7");
    /* the question is taken back */
    assert_ok(detach(&b, 1000));
    is(B "/state", "4");
    is_gone(B "/vscsi-devs/dev-1/state");
    /* what it has cannot be taken from it */
    assert_fails(attach(&b, true, 100), ERROR_TIMEDOUT,
                 "the backend is reconfiguring");
    assert_ok(detach(&b, 1000));
    assert_fails(detach(&a, 300), ERROR_TIMEDOUT, "does not let go");
    is(B "/vscsi-devs/dev-0/p-dev", "naa.31:0");
    kill(drivers_pid, SIGCONT);
    assert_ok(detach(&a, 20000));
    all_gone();
}

/* The guest is asked once for all of them. */
static void several(void **state)
{
    xlx_scsi_entry a = entry("0:0:0:0", "naa.31", 0);
    xlx_scsi_entry b = entry("0:0:0:1", "naa.31", 1);
    xlx_scsi_entry c = entry("0:0:0:2", "naa.31", 2);
    xlx_scsi_entry eight = entry("0:0:0:8", "naa.31", 8);
    xlx_scsi_entry other = entry("0:0:0:3", "naa.99", 3);
    const xlx_scsi_entry *list[] = { &a, &b, &c, &eight };
    (void)state;

    start(NULL, NULL);
    drivers_start(BACKEND | FRONTEND);
    assert_ok(attach(&other, false, 20000));
    assert_ok(attach(&a, false, 20000));
    assert_ok(attach(&b, false, 20000));
    assert_fails(attach(&eight, false, 20000), ERROR_FAIL, "cannot use");
    kill(drivers_pid, SIGSTOP);
    assert_fails(attach(&c, false, 100), ERROR_TIMEDOUT, "reconfiguring");
    /* one of which the guest has not heard, one that was refused, and two
     * that it has */
    assert_fails(detach_all(list, 4, 300), ERROR_TIMEDOUT,
                 "0:0:0:0 and others: the guest does not let go");
    is_gone(B "/vscsi-devs/dev-2/p-dev");
    is_gone(B "/vscsi-devs/dev-8/p-dev");
    is(B "/vscsi-devs/dev-0/state", "5");
    is(B "/vscsi-devs/dev-1/state", "5");
    is(B "/vscsi-devs/dev-3/state", "4");
    is(B "/state", "7");
    kill(drivers_pid, SIGCONT);
    assert_ok(detach_all(list, 4, 20000));
    is_gone(B "/vscsi-devs/dev-0/state");
    is_gone(F "/vscsi-devs/dev-1/state");
    is(B "/vscsi-devs/dev-3/state", "4");
    is(B "/state", "4");
    /* all that it has: the adapter is closed */
    assert_ok(attach(&a, false, 20000));
    list[3] = &other;
    assert_ok(detach_all(list, 4, 20000));
    all_gone();
}

/* An adapter of which all are to go is closed, and has no way back from there:
 * whoever finishes it later finishes it for all. */
static void half_closed(void **state)
{
    xlx_scsi_entry a = entry("0:0:0:0", "naa.31", 0);
    xlx_scsi_entry b = entry("0:0:0:1", "naa.31", 1);
    xlx_scsi_entry c = entry("0:0:0:2", "naa.31", 2);
    const xlx_scsi_entry *list[] = { &a, &b };
    (void)state;

    start(NULL, NULL);
    drivers_start(BACKEND | FRONTEND);
    assert_ok(attach(&a, false, 20000));
    assert_ok(attach(&b, false, 20000));
    kill(drivers_pid, SIGSTOP);
    assert_fails(detach_all(list, 2, 300), ERROR_TIMEDOUT, "and others");
    is(B "/state", "5");
    assert_fails(attach(&c, false, 100), ERROR_NOT_READY,
                 "is being taken away");
    kill(drivers_pid, SIGCONT);
    assert_ok(detach(&a, 20000));
    assert_ok(detach(&b, 20000));
    all_gone();
}

/* Devices that another tool has put on the adapter stay. */
static void foreign(void **state)
{
    xlx_scsi_entry a = entry("0:0:0:0", "naa.31", 0);
    xlx_scsi_entry other = entry("0:0:0:0", "naa.99", 0);
    (void)state;

    start(NULL, NULL);
    drivers_start(BACKEND | FRONTEND);
    assert_ok(attach(&other, false, 20000));
    assert_fails(attach(&a, false, 20000), ERROR_DEVICE_EXISTS,
                 "the guest has it already");
    assert_ok(detach(&a, 20000));   /* by the address it would be that one */
    is(B "/vscsi-devs/dev-0/p-dev", "naa.99:0");
    is(B "/vscsi-devs/dev-0/state", "4");
}

/* A name that another tool gave to another LUN is not taken twice. */
static void taken_name(void **state)
{
    xlx_scsi_entry a = entry("0:0:0:0", "naa.31", 0);
    xlx_scsi_entry b = entry("0:0:0:1", "naa.31", 1);
    (void)state;

    start(NULL, NULL);
    drivers_start(BACKEND | FRONTEND);
    assert_ok(attach(&b, false, 20000));
    assert_ok(xlx__xs_write(peer_ctx(), XBT_NULL,
                            B "/vscsi-devs/dev-0/v-dev", "0:0:7:7"));
    assert_ok(xlx__xs_write(peer_ctx(), XBT_NULL,
                            B "/vscsi-devs/dev-0/p-dev", "naa.77:7"));
    assert_ok(attach(&a, false, 20000));
    is(B "/vscsi-devs/dev-0/v-dev", "0:0:7:7");
    is(B "/vscsi-devs/dev-16384/v-dev", "0:0:0:0");
}

/* The guest writes what it likes. */
static void garbage(void **state)
{
    static const char *const values[] = { "", "99", "-1", "4x", "\x1b[2J" };
    xlx_scsi_entry a = entry("0:0:0:0", "naa.31", 0);
    struct xlx__scsi_lun *luns;
    struct xlx__device dev;
    int num;
    size_t i;
    (void)state;

    start("/local/domain/5/error/device/vscsi/0/error=a\\x1bb", NULL);
    drivers_start(BACKEND | FRONTEND);
    assert_ok(attach(&a, false, 20000));
    drivers_stop();
    assert_ok(xlx__scsi_adapter(&a, &dev));
    for (i = 0; i < XLX__ARRAY_SIZE(values); i++) {
        assert_ok(xlx__xs_write(peer_ctx(), XBT_NULL,
                                F "/vscsi-devs/dev-0/state", values[i]));
        assert_ok(xlx__xs_write(peer_ctx(), XBT_NULL, F "/state",
                                values[i]));
        assert_ok(xlx__scsi_luns(peer_ctx(), XBT_NULL, &dev, &luns, &num));
        assert_int_equal(num, 1);
        assert_ok(xlx__scsi_lun_read(peer_ctx(), XBT_NULL, &dev, luns));
        assert_int_equal(luns[0].frontend, XLX_XENBUS_STATE_UNKNOWN);
        xlx__scsi_luns_free(luns, num);
    }
    {
        char *said = xlx__device_said(peer_ctx(), &dev);

        assert_string_equal(said, "the guest's driver says: a?b");
        free(said);
    }
    xlx__device_dispose(&dev);
    /* it has thrown its own end away: there is nobody to ask */
    assert_ok(xlx__xs_remove(peer_ctx(), XBT_NULL, F));
    assert_ok(detach(&a, 1000));
    all_gone();
}

/* A guest that heard nothing of its adapter is told again; one that has no
 * driver is not waited for for ever. */
static void woken(void **state)
{
    xlx_scsi_entry a = entry("0:0:0:0", "naa.31", 0);
    struct xlx__device dev;
    (void)state;

    start("--count", "/requests");
    drivers_start(BACKEND);
    assert_ok(attach(&a, true, 20000));
    assert_ok(xlx__scsi_adapter(&a, &dev));
    assert_ok(xlx__scsi_bus_wake(peer_ctx(), &dev, in(700)));
    is(F "/state", "1");
    drivers_stop();
    drivers_start(BACKEND | FRONTEND);
    assert_ok(xlx__scsi_bus_wake(peer_ctx(), &dev, in(20000)));
    is_not(F "/state", "1");
    xlx__device_dispose(&dev);
}

/* Leftovers of a dead guest under the same number go. */
static void leftover(void **state)
{
    xlx_scsi_entry a = entry("0:0:0:0", "naa.31", 0);
    (void)state;

    start(B "/vscsi-devs/dev-3/p-dev=naa.55:3",
          B "/vscsi-devs/dev-3/v-dev=0:0:0:3");
    assert_ok(xlx__xs_write(peer_ctx(), XBT_NULL, B "/state", "4"));
    drivers_start(BACKEND | FRONTEND);
    assert_ok(attach(&a, false, 20000));
    is_gone(B "/vscsi-devs/dev-3/p-dev");
}

/* ---- how often xenstored is asked -------------------------------------- */

#define MANY 64

static uint64_t requests(void)
{
    uint64_t value;

    assert_ok(xlx__xs_read_uint(peer_ctx(), XBT_NULL, "/requests", UINT64_MAX,
                                &value));
    return value;
}

/* Requests to put num LUNs on a new adapter, without the count itself. */
static uint64_t cost_of_add(xlx_scsi_entry *entries, int num)
{
    const xlx_scsi_entry *list[MANY];
    uint64_t before = requests();
    struct xlx__device dev;
    int i;

    for (i = 0; i < num; i++)
        list[i] = &entries[i];
    assert_ok(xlx__scsi_adapter(entries, &dev));
    assert_ok(xlx__scsi_bus_add(peer_ctx(), &dev, list, num, in(1000)));
    xlx__device_dispose(&dev);
    return requests() - before - 1;
}

/* One transaction for all: what a LUN more costs is its own nodes, and no
 * round trip to look for its place.  Those that are there already cost one
 * request each, for their address. */
static void round_trips(void **state)
{
    xlx_scsi_entry one = entry("1:0:0:0", "naa.31", 0), many[MANY];
    xlx_scsi_entry more = entry("2:0:1:0", "naa.33", 0);
    const struct xlx__scsi_hctl last = { 2, 0, 0, MANY - 1 };
    const struct xlx__scsi_hctl none = { 2, 0, 3, 0 };
    struct xlx__scsi_lun lun;
    struct xlx__scsi_bus bus;
    struct xlx__device dev;
    char vdevs[MANY][16];
    uint64_t first, before;
    int i;
    (void)state;

    start("--count", "/requests");
    first = cost_of_add(&one, 1);
    assert_int_equal(first, 30);
    for (i = 0; i < MANY; i++) {
        snprintf(vdevs[i], sizeof(vdevs[i]), "2:0:0:%d", i);
        many[i] = entry(vdevs[i], "naa.32", (uint32_t)i);
    }
    /* two secret nodes of three requests each, v-dev, state */
    assert_int_equal(cost_of_add(many, MANY), first + (MANY - 1) * 8);

    /* both ends' states, and each LUN's address */
    assert_ok(xlx__scsi_adapter(many, &dev));
    before = requests();
    assert_ok(xlx__scsi_bus_read(peer_ctx(), XBT_NULL, &dev, &bus));
    assert_int_equal(requests() - before - 1, 3 + MANY);
    assert_int_equal(bus.num, MANY);
    xlx__scsi_bus_dispose(&bus);
    before = requests();
    assert_ok(xlx__scsi_lun_find(peer_ctx(), XBT_NULL, &dev, &last, &lun));
    assert_int_equal(requests() - before - 1, 4);
    assert_string_equal(lun.pdev, "naa.32:63");
    xlx__scsi_lun_dispose(&lun);
    before = requests();
    assert_int_equal(xlx__scsi_lun_find(peer_ctx(), XBT_NULL, &dev, &none,
                                        &lun), ERROR_NOTFOUND);
    assert_int_equal(requests() - before - 1, 2 + MANY);
    /* adapter, transaction and its own nodes in addition */
    assert_in_range(cost_of_add(&more, 1), MANY, MANY + 20);
    xlx__device_dispose(&dev);
}

/* While the drivers are at it a look costs the same for any number of LUNs:
 * there are hundreds of looks, one for each state that changes. */
static void looks(void **state)
{
    xlx_scsi_entry many[MANY];
    const xlx_scsi_entry *list[MANY];
    struct xlx__device dev;
    char vdevs[MANY][16];
    uint64_t before;
    int i;
    (void)state;

    start("--count", "/requests");
    for (i = 0; i < MANY; i++) {
        snprintf(vdevs[i], sizeof(vdevs[i]), "2:0:0:%d", i);
        many[i] = entry(vdevs[i], "naa.32", (uint32_t)i);
        list[i] = &many[i];
    }
    cost_of_add(many, MANY);
    assert_ok(xlx__scsi_adapter(many, &dev));
    before = requests();
    assert_fails(xlx__scsi_bus_wait(peer_ctx(), &dev, list, MANY, false,
                                    in(0)), ERROR_NOT_READY, "no driver");
    assert_in_range(requests() - before, 1, 20);
    xlx__device_dispose(&dev);
}

/* More devices take longer; who says how long means it. */
/* "xl destroy", as libxl does it: both directories go. */
static void destroy(void)
{
    assert_ok(xlx__xs_remove(peer_ctx(), XBT_NULL, "/local/domain/5"));
    xlx__xs_remove(peer_ctx(), XBT_NULL, "/local/domain/0/backend/vscsi/5");
    xlx__error_clear();
}

int __real_xlx__scsi_lun_find(xlx_ctx *ctx, xs_transaction_t t,
                              const struct xlx__device *dev,
                              const struct xlx__scsi_hctl *vdev,
                              struct xlx__scsi_lun *lun);
int __wrap_xlx__scsi_lun_find(xlx_ctx *ctx, xs_transaction_t t,
                              const struct xlx__device *dev,
                              const struct xlx__scsi_hctl *vdev,
                              struct xlx__scsi_lun *lun);
static bool must_destroy;

int __wrap_xlx__scsi_lun_find(xlx_ctx *ctx, xs_transaction_t t,
                              const struct xlx__device *dev,
                              const struct xlx__scsi_hctl *vdev,
                              struct xlx__scsi_lun *lun)
{
    int rc = __real_xlx__scsi_lun_find(ctx, t, dev, vdev, lun);

    if (must_destroy)
        destroy();
    must_destroy = false;
    return rc;
}

static void destroyed(void **state)
{
    xlx_scsi_entry a = entry("0:0:0:0", "naa.31", 0);
    int64_t begin = xlx__now_ms();
    (void)state;

    start(NULL, NULL);
    destroy();
    assert_fails(attach(&a, false, 60000), ERROR_NOT_READY,
                 "domain 5 has gone");
    assert_true(xlx__now_ms() - begin < 20000);
    is_gone("/local/domain/5");
    is_gone("/local/domain/0/backend/vscsi/5");
}

/* When the LUN has just been looked at: nothing of it is made again. */
static void destroyed_later(void **state)
{
    xlx_scsi_entry a = entry("0:0:0:0", "naa.31", 0);
    const xlx_scsi_entry *e = &a;
    struct xlx__device dev;
    (void)state;

    peer_xenstored("/local/domain/5/device=", B "/state=4", F "/state=4",
                   B "/vscsi-devs/dev-0/v-dev=0:0:0:0",
                   B "/vscsi-devs/dev-0/p-dev=naa.31:0",
                   B "/vscsi-devs/dev-0/state=1", NULL);
    must_destroy = true;
    assert_ok(xlx__scsi_adapter(e, &dev));
    assert_fails(xlx__scsi_bus_wait(peer_ctx(), &dev, &e, 1, false,
                                    in(10000)), ERROR_NOT_READY,
                 "the guest has gone");
    assert_false(must_destroy);
    is_gone("/local/domain/5");
    is_gone("/local/domain/0/backend/vscsi/5");
    xlx__device_dispose(&dev);
}

static void deadlines(void **state)
{
    xlx_scsi_wait wait = { .timeout = 7 };
    int64_t now = xlx__now_ms();
    (void)state;

    assert_in_range(xlx__scsi_deadline(NULL, 1) - now, 30000, 31000);
    assert_true(xlx__scsi_deadline(NULL, MANY) - now >= MANY * 5000);
    assert_in_range(xlx__scsi_deadline(&wait, MANY) - now, 7000, 8000);
}

int main(void)
{
    const struct CMUnitTest scsi_bus[] = {
        cmocka_unit_test_teardown(both_ends, stop_peer),
        cmocka_unit_test_teardown(no_driver, stop_peer),
        cmocka_unit_test_teardown(refused, stop_peer),
        cmocka_unit_test_teardown(unanswered, stop_peer),
        cmocka_unit_test_teardown(several, stop_peer),
        cmocka_unit_test_teardown(half_closed, stop_peer),
        cmocka_unit_test_teardown(foreign, stop_peer),
        cmocka_unit_test_teardown(taken_name, stop_peer),
        cmocka_unit_test_teardown(garbage, stop_peer),
        cmocka_unit_test_teardown(leftover, stop_peer),
        cmocka_unit_test_teardown(woken, stop_peer),
        cmocka_unit_test_teardown(round_trips, stop_peer),
        cmocka_unit_test_teardown(looks, stop_peer),
        cmocka_unit_test_teardown(destroyed, stop_peer),
        cmocka_unit_test_teardown(destroyed_later, stop_peer),
        cmocka_unit_test(deadlines),
    };
    void *state = NULL;

    if (peer_setup(&state))
        return 1;
    return cmocka_run_group_tests(scsi_bus, NULL, peer_teardown);
}

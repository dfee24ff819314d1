/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random operations on the SCSI and USB devices of two guests, while devices
 * are pulled out, swapped and plugged in elsewhere, guests restart, numbers of
 * domains are used again, and the host is started again.  The model knows
 * which piece of hardware each guest was given: no guest ever gets another
 * one, nothing is taken from a domain that is not the guest's, and what can be
 * found comes back.
 *
 * The records and sysfs are real files; the kernel's target, the guests'
 * drivers, QEMU and the hypervisor are hostdev-world.c.
 *
 *     LIBXLX_SEED=N      one run, else a few
 *     LIBXLX_RUNS=N      so many
 */
#include <time.h>

#include "hostdev-world.h"

#define STEPS 200

static xlx_ctx *ctx;
static uint64_t state;
static uint32_t had[2];             /* the last domid of each guest */

static unsigned int pick(unsigned int n)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned int)(state >> 33) % n;
}

/* ---- operations --------------------------------------------------------- */

static bool has_disk(int g, int disk)
{
    int i;

    for (i = 0; i < SLOTS; i++)
        if (guests[g].disk[i] == disk)
            return true;
    return false;
}

static bool has_stick(int g, int stick)
{
    int i;

    for (i = 0; i < SLOTS; i++)
        if (guests[g].stick[i] == stick)
            return true;
    return false;
}

/* Nothing tells them apart. */
static bool are_twins(int a, int b)
{
    return a != b && !strcmp(disks[a].wwid, disks[b].wwid) &&
           !strcmp(disks[a].serial, disks[b].serial) &&
           !strcmp(disks[a].model, disks[b].model) &&
           disks[a].gib == disks[b].gib;
}

/* It has to be attached again as soon as the guest runs: it is there, and its
 * own words name it. */
static bool can_be_found(const struct guest *g, int slot)
{
    const struct disk *d = &disks[g->disk[slot]];
    int i;

    if (!d->host || d->offline)
        return false;
    for (i = 0; i < DISKS; i++)
        if (are_twins(i, g->disk[slot]))
            return false;
    return *d->wwid || *d->serial;
}

static void attach_disk(int g)
{
    int slot = (int)pick(SLOTS), disk = (int)pick(DISKS), rc;
    xlx_scsi_devs devs, attached;
    xlx_scsi_dev dev;
    char vdev[16], pdev[16];

    if (!disks[disk].host || disks[disk].offline ||
        guests[g].disk[slot] != NOBODY)
        return;
    /* nothing but its place says whose it was: elsewhere it is free */
    if (!*disks[disk].wwid && !*disks[disk].serial &&
        (has_disk(0, disk) || has_disk(1, disk)))
        return;
    snprintf(vdev, sizeof(vdev), "0:0:%d:0", slot);
    snprintf(pdev, sizeof(pdev), "%d:0:0:0", disks[disk].host);
    xlx_scsi_dev_init(&dev);
    xlx_scsi_devs_init(&devs);
    xlx_scsi_devs_init(&attached);
    dev.vdev = vdev;
    dev.pdev = pdev;
    devs.devs = &dev;
    devs.num_devs = 1;
    giving = disk;
    rc = xlx__scsi_attach(ctx, &guests[g].id, &devs, NULL, &attached);
    giving = NOBODY;
    xlx_scsi_devs_dispose(&attached);
    if (!rc && (has_disk(0, disk) || has_disk(1, disk)))
        wrong("disk %d is given away twice", disk);
    if (rc && rc != ERROR_DEVICE_EXISTS && rc != ERROR_NOT_READY)
        wrong("disk %d cannot be attached", disk);
    if (!rc)
        guests[g].disk[slot] = disk;
}

static void detach_disk(int g)
{
    int slot = (int)pick(SLOTS), rc;
    char vdev[16];

    snprintf(vdev, sizeof(vdev), "0:0:%d:0", slot);
    rc = xlx__scsi_detach(ctx, &guests[g].id, vdev, NULL);
    if (guests[g].disk[slot] != NOBODY && rc)
        wrong("disk %d cannot be detached", guests[g].disk[slot]);
    guests[g].disk[slot] = NOBODY;
}

static void attach_stick(int g)
{
    int slot = (int)pick(SLOTS), stick = (int)pick(STICKS), rc;
    xlx_usb_binding b;
    xlx_usb_entry e;
    char text[40];

    if (!sticks[stick].port || guests[g].stick[slot] != NOBODY)
        return;
    if (!*sticks[stick].serial && (has_stick(0, stick) || has_stick(1, stick)))
        return;
    if (*sticks[stick].serial)
        snprintf(text, sizeof(text), "%s:%s:%s", sticks[stick].vendor,
                 sticks[stick].product, sticks[stick].serial);
    else
        snprintf(text, sizeof(text), "1-%d", sticks[stick].port);
    xlx_usb_binding_init(&b);
    xlx_usb_entry_init(&e);
    b.selector = text;
    b.port = (uint32_t)slot + 1;
    giving = stick;
    rc = xlx__usb_attach(ctx, &guests[g].id, &b, NULL, &e);
    giving = NOBODY;
    xlx_usb_entry_dispose(&e);
    if (!rc && (has_stick(0, stick) || has_stick(1, stick)))
        wrong("stick %d is given away twice", stick);
    if (rc && rc != ERROR_DEVICE_EXISTS && rc != ERROR_NOT_READY)
        wrong("stick %d cannot be attached", stick);
    if (!rc)
        guests[g].stick[slot] = stick;
}

static void forget(int g)
{
    int i;

    for (i = 0; i < SLOTS; i++)
        guests[g].disk[i] = guests[g].stick[i] = NOBODY;
}

/* What was found, when one run is asked for. */
static void tell(int g, xlx_repair_report *report)
{
    int i;

    for (i = 0; getenv("LIBXLX_SEED") && i < report->num_findings; i++)
        print_message("    guest %d as %u: %s: %s\n", g, domid_of(g),
                      report->findings[i].what, report->findings[i].done);
    xlx_repair_report_dispose(report);
}

/* settled: both guests were looked at since something changed. */
static void look(int g, bool settled)
{
    xlx_repair_report report;
    struct xlx__scsi_change c;
    struct xlx__usb_change u;
    uint32_t domid = domid_of(g);
    int i;

    assert_ok(xlx__scsi_open(ctx, &guests[g].id, &c));
    xlx_repair_report_init(&report);
    assert_ok(xlx__scsi_settle(&c, false, &report));
    tell(g, &report);
    for (i = 0; i < SLOTS; i++) {
        char vdev[16];

        snprintf(vdev, sizeof(vdev), "0:0:%d:0", i);
        if (!xlx__scsi_entry(&c.record, vdev) !=
            (guests[g].disk[i] == NOBODY))
            wrong("guest %d, disk %d: it is%s recorded", g, guests[g].disk[i],
                  xlx__scsi_entry(&c.record, vdev) ? "" : " not");
        if (settled && domid != XLX_DOMID_NONE &&
            guests[g].disk[i] != NOBODY && lun[domid][i] == NOBODY &&
            can_be_found(&guests[g], i))
            wrong("guest %d does not get disk %d back", g, guests[g].disk[i]);
    }
    xlx__scsi_end(&c);
    assert_ok(xlx__usb_open(ctx, &guests[g].id, &u));
    assert_ok(xlx__usb_settle(&u, false, &report));
    tell(g, &report);
    for (i = 0; i < SLOTS; i++) {
        int stick = guests[g].stick[i];
        const xlx_usb_entry *e;

        e = xlx__usb_entry(&u.record, 0, (uint32_t)i + 1);
        if (!e != (stick == NOBODY))
            wrong("guest %d, stick %d: it is%s recorded", g, stick,
                  e ? "" : " not");
        if (settled && domid != XLX_DOMID_NONE && stick != NOBODY &&
            sticks[stick].port && strchr(e->selector, ':') &&
            port[domid][i + 1] != sticks[stick].port)
            wrong("guest %d does not get stick %d back", g, stick);
    }
    xlx__usb_end(&u);
}

static void end_domain(int g)
{
    uint32_t domid = domid_of(g);
    int i;

    if (domid == XLX_DOMID_NONE)
        return;
    runs_in[domid] = NOBODY;
    for (i = 0; i <= SLOTS; i++)
        port[domid][i] = 0;
}

/* Also with a number that another guest had before. */
static void start_domain(int g)
{
    uint32_t domid;
    int i;

    if (domid_of(g) != XLX_DOMID_NONE)
        return;
    /* not the one that it had just now: Xen has 32751 others */
    do
        domid = 1 + pick(4);
    while (runs_in[domid] != NOBODY || domid == had[g]);
    runs_in[domid] = g;
    had[g] = domid;
    for (i = 0; i < SLOTS; i++)
        lun[domid][i] = NOBODY;
    for (i = 0; i <= SLOTS; i++)
        port[domid][i] = 0;
}

/* Addresses and sockets in another order; numbers of domains from 1 on. */
static void start_host(void)
{
    int i, j;

    boot++;
    had[0] = had[1] = 0;
    for (i = 0; i < DOMIDS; i++) {
        runs_in[i] = NOBODY;
        for (j = 0; j < SLOTS; j++)
            lun[i][j] = NOBODY;
        for (j = 0; j <= SLOTS; j++)
            port[i][j] = 0;
    }
    for (i = 0; i < 2; i++)
        for (j = 0; j < SLOTS; j++)
            made[i][j] = NOBODY;
    for (i = 0; i < DISKS; i++)
        disks[i].host = 0;
    for (i = 0; i < DISKS; i++) {
        do
            j = (int)pick(DISKS);
        while (disks[j].host);
        disks[j].host = i + 1;
        disks[j].offline = false;
    }
    for (i = 0; i < STICKS; i++)
        sticks[i].address = ++next_address;
}

/* Two disks that their own words tell apart change places. */
static void swap_disks(void)
{
    int a = (int)pick(DISKS), b = (int)pick(DISKS), host;

    if (a == b || are_twins(a, b) || (a > 7) || (b > 7))
        return;
    host = disks[a].host;
    disks[a].host = disks[b].host;
    disks[b].host = host;
}

static void swap_sticks(void)
{
    int a = (int)pick(STICKS), b = (int)pick(STICKS), where;

    where = sticks[a].port;
    sticks[a].port = sticks[b].port;
    sticks[b].port = where;
    sticks[a].address = ++next_address;
    sticks[b].address = ++next_address;
}

static void plug_disk(void)
{
    int d = (int)pick(8), host = d + 1;
    char address[16];

    if (disks[d].host) {
        disks[d].host = 0;
        return;
    }
    do
        snprintf(address, sizeof(address), "%d", ++host);
    while (disk_at(address) != NOBODY);
    disks[d].host = host;
}

static void plug_stick(void)
{
    int s = (int)pick(STICKS), where = s;
    char path[16];

    if (sticks[s].port) {
        sticks[s].port = 0;
        return;
    }
    do
        snprintf(path, sizeof(path), "1-%d", ++where);
    while (stick_at(path) != NOBODY);
    sticks[s].port = where;
    sticks[s].address = ++next_address;
}

static void step(void)
{
    int g = (int)pick(2), what = (int)pick(14);

    if (getenv("LIBXLX_SEED"))
        print_message("%d of guest %d\n", what, g);
    current = g;
    switch (what) {
    case 0: case 1: attach_disk(g); break;
    case 2: case 3: attach_stick(g); break;
    case 4: detach_disk(g); break;
    case 5: swap_disks(); break;
    case 6: swap_sticks(); break;
    case 7: plug_disk(); break;
    case 8: plug_stick(); break;
    case 9: disks[pick(8)].offline = pick(2); break;
    case 10: end_domain(g); start_domain(g); break;
    case 11: end_domain(g); break;
    case 12: start_domain(g); break;
    case 13:
        if (!pick(3))
            start_host();
        break;
    }
    show_host();
}

/* A guest that ends in this start of the host loses its devices; one that was
 * not there since keeps them. */
static bool was_there[2];

static void run(void)
{
    int i, j;

    new_devices();
    next_address = 10;
    boot = 1;
    had[0] = had[1] = 0;
    giving = NOBODY;
    for (i = 0; i < DOMIDS; i++) {
        runs_in[i] = NOBODY;
        for (j = 0; j < SLOTS; j++)
            lun[i][j] = NOBODY;
        memset(port[i], 0, sizeof(port[i]));
    }
    for (i = 0; i < 2; i++) {
        for (j = 0; j < SLOTS; j++)
            made[i][j] = NOBODY;
        forget(i);
        was_there[i] = false;
    }
    remove_below("state");
    show_host();
    for (i = 0; i < STEPS; i++) {
        int was = boot;

        step();
        for (j = 0; j < 2; j++) {
            if (boot != was)
                was_there[j] = false;
            current = j;
            if (domid_of(j) != XLX_DOMID_NONE)
                was_there[j] = true;
            else if (was_there[j])
                forget(j);
            look(j, false);
        }
        for (j = 0; j < 2; j++) {
            current = j;
            look(j, true);
        }
    }
}

static void one_run(void)
{
    print_message("seed %llu\n", (unsigned long long)seed);
    state = seed;
    run();
}

/* Seeds of runs that failed */
static void failed_once(void **unused)
{
    (void)unused;
    /* two sticks are plugged into each other's socket at the same time */
    seed = 1795953764;
    one_run();
}

static void random_moves(void **unused)
{
    const char *one = getenv("LIBXLX_SEED"), *many = getenv("LIBXLX_RUNS");
    int i, runs = many ? atoi(many) : one ? 1 : 5;
    (void)unused;

    seed = one ? strtoull(one, NULL, 10) : (uint64_t)time(NULL);
    for (i = 0; i < runs; i++, seed++)
        one_run();
}

static int setup(void **unused)
{
    (void)unused;
    if (!access("/dev/shm", W_OK))      /* thousands of small files */
        setenv("TMPDIR", "/dev/shm", 1);
    root = unit_dir();
    setenv("LIBXLX_SYSFS_DIR", root, 1);
    setenv("LIBXLX_CONFIGFS_DIR", root, 1);
    setenv("LIBXLX_DEV_DIR", root, 1);
    setenv("LIBXLX_USB_POLICY", "/nonexistent", 1);
    ctx = unit_ctx(root);
    xlx_guest_init(&guests[0].id);
    xlx_guest_init(&guests[1].id);
    libxl_uuid_from_string(&guests[0].id.uuid,
                           "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10");
    libxl_uuid_from_string(&guests[1].id.uuid,
                           "0b8f3a52-6a0e-4a3c-8f1b-0c9f2c7b6d11");
    return xlx__set_string(&guests[0].id.name, "web") ||
           xlx__set_string(&guests[1].id.name, "db");
}

static int teardown(void **unused)
{
    (void)unused;
    xlx_guest_dispose(&guests[0].id);
    xlx_guest_dispose(&guests[1].id);
    xlx_ctx_free(ctx);
    unit_dir_remove(root);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_once),
        cmocka_unit_test(random_moves),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}

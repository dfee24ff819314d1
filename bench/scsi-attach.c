/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the time of an attachment goes: attaches PDEV to a guest ROUNDS times,
 * once by the library's call and once step by step, and prints the medians.
 * While both drivers work, their states tell at each moment whom the other one
 * is waiting for.
 *
 *   scsi-attach GUEST PDEV VDEV ROUNDS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scsi/scsi.h"

enum { WHOLE, TARGET, XENSTORE, BACKEND, FRONTEND, NUM };
static const char *const names[NUM] = {
    "whole call", "LIO", "our nodes in xenstore", "backend", "frontend",
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void must(int rc)
{
    if (!rc)
        return;
    fprintf(stderr, "scsi-attach: %s\n", xlx_error_get());
    exit(1);
}

static bool guest_is_next(const struct xlx__scsi_bus *bus)
{
    switch (bus->backend) {
    case XLX_XENBUS_STATE_INIT_WAIT:
        return bus->frontend < XLX_XENBUS_STATE_INITIALISED;
    case XLX_XENBUS_STATE_CONNECTED:
        return bus->frontend == XLX_XENBUS_STATE_INITIALISED;
    case XLX_XENBUS_STATE_RECONFIGURING:
        return bus->frontend != XLX_XENBUS_STATE_RECONFIGURING;
    case XLX_XENBUS_STATE_RECONFIGURED:
        return bus->frontend != XLX_XENBUS_STATE_CONNECTED;
    default:
        return false;
    }
}

/* Adds to times[] until the LUN is connected. */
static void follow(xlx_ctx *ctx, const struct xlx__device *dev,
                   const struct xlx__scsi_hctl *vdev, double times[NUM])
{
    struct xlx__scsi_lun lun;
    struct xlx__scsi_bus bus;
    double then = now(), t;
    bool done;

    do {
        must(xlx__scsi_bus_states(ctx, XBT_NULL, dev, &bus));
        must(xlx__scsi_lun_find(ctx, XBT_NULL, dev, vdev, &lun));
        t = now();
        times[guest_is_next(&bus) ? FRONTEND : BACKEND] += t - then;
        then = t;
        done = bus.backend == XLX_XENBUS_STATE_CONNECTED &&
               lun.backend == XLX_XENBUS_STATE_CONNECTED &&
               lun.frontend == XLX_XENBUS_STATE_CONNECTED;
        xlx__scsi_lun_dispose(&lun);
    } while (!done);
}

static void in_steps(xlx_ctx *ctx, const xlx_guest *guest,
                     const xlx_scsi_dev *dev, double times[NUM])
{
    struct xlx__device adapter;
    const xlx_scsi_entry *e;
    struct xlx__scsi_hctl vdev;
    struct xlx__scsi_pdev p;
    xlx_scsi_entry entry;
    double t;

    xlx_scsi_entry_init(&entry);
    xlx__scsi_pdev_init(&p);
    must(xlx__scsi_find(dev->pdev, &p));
    must(xlx_scsi_dev_copy(ctx, &entry.dev, dev));
    entry.dev.backstore = XLX_SCSI_BACKSTORE_PSCSI;
    must(xlx__scsi_parse_vdev(dev->vdev, &vdev));
    must(xlx__scsi_target_name(&guest->uuid, &vdev, &entry));
    entry.domid = guest->domid;
    must(xlx__scsi_adapter(&entry, &adapter));
    e = &entry;

    t = now();
    must(xlx__scsi_target_make(ctx, e, &p));
    times[TARGET] = now() - t;
    t = now();
    must(xlx__scsi_bus_add(ctx, &adapter, &e, 1, xlx__now_ms() + 60000));
    times[XENSTORE] = now() - t;
    follow(ctx, &adapter, &vdev, times);
    must(xlx__scsi_disconnect(ctx, &e, 1, xlx__now_ms() + 60000));

    xlx__device_dispose(&adapter);
    xlx__scsi_pdev_dispose(&p);
    xlx_scsi_entry_dispose(&entry);
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static double median(double (*times)[NUM], int rounds, int which)
{
    double *column = calloc((size_t)rounds, sizeof(*column)), m;
    int i;

    for (i = 0; i < rounds; i++)
        column[i] = times[i][which];
    qsort(column, (size_t)rounds, sizeof(*column), by_value);
    m = column[rounds / 2];
    free(column);
    return m;
}

int main(int argc, char **argv)
{
    int i, rounds = argc == 5 ? atoi(argv[4]) : 0;
    xlx_scsi_devs devs, attached;
    xlx_scsi_dev dev;
    double (*times)[NUM], t;
    xlx_guest guest;
    xlx_ctx *ctx;

    if (rounds < 1) {
        fputs("usage: scsi-attach GUEST PDEV VDEV ROUNDS\n", stderr);
        return 2;
    }
    times = calloc((size_t)rounds, sizeof(*times));
    xlx_guest_init(&guest);
    must(xlx_ctx_alloc(&ctx, NULL, NULL));
    must(xlx_guest_find(ctx, argv[1], NULL, &guest));
    xlx_scsi_dev_init(&dev);
    dev.pdev = argv[2];
    dev.vdev = argv[3];
    devs.devs = &dev;
    devs.num_devs = 1;
    for (i = 0; i < rounds; i++) {
        xlx_scsi_devs_init(&attached);
        t = now();
        must(xlx_scsi_attach(ctx, &guest, &devs, NULL, &attached));
        times[i][WHOLE] = now() - t;
        xlx_scsi_devs_dispose(&attached);
        must(xlx_scsi_detach(ctx, &guest, dev.vdev, NULL));
        in_steps(ctx, &guest, &dev, times[i]);
    }
    for (i = 0; i < NUM; i++)
        printf("%-22s %8.1f ms\n", names[i], median(times, rounds, i));
    free(times);
    xlx_guest_dispose(&guest);
    xlx_ctx_free(ctx);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All devices of one host adapter for a guest: at which address the guest
 * finds each, and which of them stay.  An address that the guest's driver can
 * have is kept.  The LUNs of another target stay together, at the first number
 * that is free, so that a changer finds its drives next to it.
 */
#include <stdlib.h>
#include <string.h>

#include "core/store.h"
#include "scsi/scsi.h"

#define TARGETS 64                  /* limits of Linux' frontend */
#define LUNS 255
/* Well-known LUNs as Linux numbers them (SAM-5, 4.7.5.2). */
#define WELL_KNOWN 0xc100u
#define WELL_KNOWN_END 0xc200u

/* The reason why the guest does not get it; NULL: it does. */
static const char *why_not(const struct xlx__scsi_host_dev *dev)
{
    if (dev->hctl.lun >= WELL_KNOWN && dev->hctl.lun < WELL_KNOWN_END)
        return "a well-known LUN, which is not a device; the guest's target "
               "answers in its place";
    if (!strcmp(dev->type, "enclosure"))
        return "an enclosure, which may be that of disks of others; give it "
               "an address of its own if the guest is to control it";
    return NULL;
}

static bool same_target(const struct xlx__scsi_host_dev *a,
                        const struct xlx__scsi_host_dev *b)
{
    return a->hctl.channel == b->hctl.channel &&
           a->hctl.target == b->hctl.target;
}

/* Can the guest have that target number as it is? */
static bool keeps_target(const struct xlx__scsi_host_dev *dev)
{
    return !dev->hctl.channel && dev->hctl.target < TARGETS;
}

/* The first that no other one has; TARGETS: none. */
static uint32_t free_target(const struct xlx__scsi_host_dev *devs, int num)
{
    bool taken[TARGETS] = { false };
    uint32_t target;
    int i;

    for (i = 0; i < num; i++)
        if (!devs[i].why && (devs[i].placed || keeps_target(&devs[i])))
            taken[devs[i].placed ? devs[i].vdev.target
                                 : devs[i].hctl.target] = true;
    for (target = 0; target < TARGETS && taken[target]; target++)
        ;
    return target;
}

/* Its own, or the first that no LUN of that target has; LUNS: none. */
static uint64_t free_lun(const struct xlx__scsi_host_dev *devs, int num,
                         const struct xlx__scsi_host_dev *dev)
{
    bool taken[LUNS] = { false };
    uint64_t lun;
    int i;

    if (dev->hctl.lun < LUNS)
        return dev->hctl.lun;
    for (i = 0; i < num; i++) {
        if (devs[i].why || !same_target(&devs[i], dev))
            continue;
        lun = devs[i].placed ? devs[i].vdev.lun : devs[i].hctl.lun;
        if (lun < LUNS)
            taken[lun] = true;
    }
    for (lun = 0; lun < LUNS && taken[lun]; lun++)
        ;
    return lun;
}

static void place(struct xlx__scsi_host_dev *devs, int num,
                  struct xlx__scsi_host_dev *dev)
{
    uint32_t target = TARGETS;
    int i;

    if (keeps_target(dev))
        target = dev->hctl.target;
    for (i = 0; target == TARGETS && i < num; i++)
        if (devs[i].placed && same_target(&devs[i], dev))
            target = devs[i].vdev.target;
    if (target == TARGETS)
        target = free_target(devs, num);
    dev->vdev.host = dev->hctl.host;
    dev->vdev.channel = 0;
    dev->vdev.target = target;
    dev->vdev.lun = free_lun(devs, num, dev);
    if (target == TARGETS || dev->vdev.lun == LUNS)
        dev->why = "the guest's adapter has no free address for it";
    else
        dev->placed = true;
}

void xlx__scsi_place_all(struct xlx__scsi_host_dev *devs, int num)
{
    int i;

    for (i = 0; i < num; i++) {
        devs[i].placed = false;
        devs[i].why = why_not(&devs[i]);
    }
    for (i = 0; i < num; i++)
        if (!devs[i].why)
            place(devs, num, &devs[i]);
}

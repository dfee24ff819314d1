/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A host of the test's own: a sysfs with a USB stick, a proc and a /dev.  Char
 * devices that every host has represent those of the device.
 */
#ifndef TEST_HOSTDEV_RIG_H
#define TEST_HOSTDEV_RIG_H

#include "unit.h"

#define STICK "sys/devices/pci0/0000:00:1d.0/usb1/1-1/"
#define LUN STICK "1-1:1.0/host6/target6:0:0/6:0:0:0/"
#define OTHER "sys/devices/pci0/0000:00:1d.0/usb1/1-2/"

extern xlx_ctx *ctx;

/* Below the directory of this test, with all above it; good for the next seven
 * calls. */
char *path_of(const char *name);
void put(const char *name, const char *text);
void put_link(const char *name, const char *to);
void drop(const char *name);
/* A process that has node open, or nothing when that is NULL. */
void process(const char *pid, const char *name, const char *node);
/* A USB device whose node has that number. */
void put_usb(const char *dir, const char *number);

int make_host(void **state);
int remove_host(void **state);

#endif

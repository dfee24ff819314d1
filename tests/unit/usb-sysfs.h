/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A sysfs with the USB controllers, hubs and devices that a test puts there.
 */
#ifndef TEST_USB_SYSFS_H
#define TEST_USB_SYSFS_H

#include "unit.h"

#define XHCI "devices/pci0000:00/0000:00:14.0"
#define EHCI "devices/pci0000:00/0000:00:1d"

extern char *root;                  /* the sysfs, and /dev */

/* An empty one, and its end. */
int begin_sysfs(void **state);
int remove_sysfs(void **state);

/* The file, or link, below root, with all directories above it. */
void put(const char *at, const char *name, const char *text);
void put_link(const char *at, const char *to);
/* In bus/usb/devices, as a link to its directory. */
void put_listed(const char *dir, const char *name);
/* The root hub of a bus, below the directory of its controller. */
void put_root(const char *dir, int bus, const char *version,
              const char *ports);
/* An attribute of a port; two ports that are one socket. */
void put_port(const char *path, const char *attribute, const char *text);
void put_peers(const char *a, const char *b);
void put_device(const char *dir, const char *path, const char *id);
/* The controller XHCI, with the buses of one boot, and EHCI with companions on
 * the buses 3 to 6. */
void put_xhci(int high, int super);
void put_ehci(void);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A host with hubs and two HVM guests, for usb-tree.c: sysfs and xenstore are
 * fake ones, and usb-tree-world.c does (--wrap) what libxl, QEMU and the
 * hypervisor do.
 */
#ifndef TEST_USB_TREE_WORLD_H
#define TEST_USB_TREE_WORLD_H

#include "peer.h"
#include "usb-sysfs.h"
#include "usb/usb.h"

#define PCI "pci-0000:00:14.0"

extern xlx_ctx *ctx;
extern xlx_guest guests[2];         /* "web" and "db" */
extern const char *used_by_host;    /* path of a device, or NULL */
extern const char *stubborn;        /* path of one that QEMU does not take */
extern bool being_made;             /* each domain is */

int make_world(void **state);
int end_world(void **state);

/* A device with that ID and an address that none had before; is_hub: it has
 * ports. */
void plug(const char *path, const char *id, bool is_hub);
void pull(const char *path);
/* A USB 3 hub in the socket of 1-2 and 2-1. */
void plug_hub(void);
/* The guest runs as another domain, which has no ports yet. */
void restart(int g);
void end_guest(int g);
/* An emulated controller of version 3, unless it is there. */
void make_ctrl(uint32_t domid, uint32_t devid, int ports);
/* The paths that the guest's ports have, in the order of the ports, joined by
 * spaces; good until the next call. */
const char *has(int g);

/* The library's calls for one guest: its code. */
int attach_with(int g, const char *selector, bool force, uint32_t ctrl);
int attach(int g, const char *selector);
int attach_one(int g, const char *selector, bool force);
int wait_for(int g, const char *selector);
int detach(int g, const char *which);
int detach_one(int g, const char *which);
/* One look of the watcher, and a repair; the findings are in said, a line
 * each.  Into watched: is there something left to watch? */
void look(int g);
void repair(int g);
void note_said(const xlx_repair_report *report);
extern char said[2000];
extern bool watched;
extern struct xlx__hostdev_patience patience;   /* the watcher's */
/* The reason why the guest does not get that device; "" when it is not left
 * out.  Good until the next call. */
const char *left(int g, const char *path);
int count_trees(int g);

#define assert_has(g, text) assert_string_equal(has(g), text)
#define assert_said(text) \
    do { if (!strstr(said, text)) fail_msg("\"%s\" is not in:\n%s", text, \
                                           said); } while (0)

#endif

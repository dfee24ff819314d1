/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One question, asked before a device of the host is given to a guest: who
 * uses it?  The same answer serves SCSI and USB.  A device is its directory in
 * sysfs with everything below it: a USB stick is also its disk, with the
 * partitions, and its sg node.
 *
 * Everything that keeps us from looking is an error, and never the answer
 * "nobody".
 */
#ifndef XLX_HOSTDEV_USE_H
#define XLX_HOSTDEV_USE_H

#include <sys/types.h>

#include "core/internal.h"

/* ---- hostdev-tree.c ----------------------------------------------------- */

enum xlx__hostdev_kind {
    XLX__HOSTDEV_BLOCK,             /* a disk or partition */
    XLX__HOSTDEV_CHAR,              /* any other device node */
    XLX__HOSTDEV_NET,               /* a network card, which has no node */
    XLX__HOSTDEV_LUN,               /* a SCSI device, H:C:T:L */
    XLX__HOSTDEV_INTERFACE,         /* a function of a USB device */
};

struct xlx__hostdev_node {
    enum xlx__hostdev_kind kind;
    char *dir;                      /* in sysfs */
    const char *name;               /* the last part of dir */
    dev_t number;                   /* of BLOCK and CHAR */
};

struct xlx__hostdev_tree {
    char *top;                      /* its directory; NULL for a file */
    char *usb;                      /* the directory of the USB device that it
                                     * is, or is on; NULL for none */
    char *file;                     /* NULL for a device */
    struct xlx__hostdev_node *list;
    int num;
};
/* The device with that directory, in any spelling; ERROR_NOTFOUND.  Dispose
 * of it, also after a failure. */
int xlx__hostdev_tree_read(const char *dir, struct xlx__hostdev_tree *tree);
int xlx__hostdev_tree_file(const char *path, struct xlx__hostdev_tree *tree);
void xlx__hostdev_tree_dispose(struct xlx__hostdev_tree *tree);

/* ---- hostdev-use.c ------------------------------------------------------ */

/* The guests, processes and so on of this host, each read when it is first
 * needed, and once: open a new one for each command, under its lock. */
struct xlx__hostdev_world;
int xlx__hostdev_world_open(xlx_ctx *ctx, struct xlx__hostdev_world **world_r);
void xlx__hostdev_world_close(struct xlx__hostdev_world *world);    /* NULL */

struct xlx__hostdev_question {
    const struct xlx__hostdev_tree *tree;
    bool readonly;                  /* the guest will not write to it */
    bool shared;                    /* another guest has it by our target: the
                                     * kernel holds it, and may */
    bool patient;                   /* programs that look at a device when it
                                     * is plugged in may finish that */
    pid_t own;                      /* the guest's QEMU, which may have it
                                     * open; 0 for none */
};
/* Which guest has it, as an ordinary disk or by the other concept than the
 * asking one, for a message; *use_r stays as it is when none has. */
enum xlx__hostdev_concept { XLX__HOSTDEV_SCSI, XLX__HOSTDEV_USB };
int xlx__hostdev_guest_use(struct xlx__hostdev_world *world,
                           enum xlx__hostdev_concept asking,
                           const struct xlx__hostdev_question *q,
                           char **use_r);
/* The same of this host. */
int xlx__hostdev_host_use(struct xlx__hostdev_world *world,
                          const struct xlx__hostdev_question *q,
                          char **use_r);

/* ---- hostdev-records.c -------------------------------------------------- */

/* Which guest has, or waits for, something of the tree by that concept, for a
 * message; *use_r stays as it is when none does. */
int xlx__hostdev_recorded_use(xlx_ctx *ctx, enum xlx__hostdev_concept concept,
                              const struct xlx__hostdev_tree *tree,
                              char **use_r);

/* ---- hostdev-open.c ----------------------------------------------------- */

/* Would the kernel give us that disk exclusively?  It refuses when the disk or
 * a partition of it is claimed, whoever did that.  A disk that hangs, or that
 * the kernel has put offline, is an error, in bounded time. */
int xlx__hostdev_try_open(const struct xlx__hostdev_node *node, bool *free_r);

#endif

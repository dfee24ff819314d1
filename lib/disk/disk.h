/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest disks and the QEMU nodes that hold them: what other concepts need of
 * disk.c.
 */
#ifndef XLX_DISK_H
#define XLX_DISK_H

#include "core/internal.h"
#include "guest/qmp.h"

/* As xlx_disk_list(), over a connection that is open already; qmp is NULL
 * when no QEMU serves the guest. */
int xlx__disk_list_with(xlx_ctx *ctx, const xlx_guest *guest,
                        struct xlx__qmp *qmp, xlx_disks *list);

/* The connection for such calls; *qmp_r is NULL, and rc 0, when the guest is
 * shut down or has no QEMU. */
int xlx__disk_connect(xlx_ctx *ctx, const xlx_guest *guest,
                      struct xlx__qmp **qmp_r);

/* Marks the disk unusable unless the image that QEMU names is the one that Xen
 * names, or one is based on the other.  xen_format may be "" (unknown). */
int xlx__disk_check_image(xlx_disk *disk, const char *xen_path,
                          const char *xen_format);

/* ---- disk-node.c -------------------------------------------------------- */

struct xlx__disk_node {
    const char *image;              /* the question */
    char *name;                     /* NULL: QEMU does not have it open */
    bool readonly;
    bool served;                    /* a device of the guest is on it */
};

/* The format nodes of images, with one question to QEMU; the names are the
 * caller's, also after a failure. */
int xlx__disk_find_nodes(struct xlx__qmp *qmp, struct xlx__disk_node *nodes,
                         int num);
/* The format node of an image, anywhere in a chain: ERROR_NOTFOUND when QEMU
 * does not have it open.  *node_r is the caller's. */
int xlx__disk_find_node(struct xlx__qmp *qmp, const char *image,
                        char **node_r, bool *readonly_r);

/* The names of all files that QEMU has open, or had when it opened them: a
 * node that its owner keeps may name a file that was removed since.  Free
 * with xlx__disk_files_free. */
int xlx__disk_files(struct xlx__qmp *qmp, char ***files_r, int *num_r);
void xlx__disk_files_free(char **files, int num);

/* ERROR_NOT_READY, naming it, when a block job of anybody's is running. */
int xlx__disk_no_jobs(struct xlx__qmp *qmp);

#endif

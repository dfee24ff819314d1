/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ordinary disks of all guests that dom0 serves, and the question whether
 * one of them is a certain disk or file of the host: two guests that write to
 * one disk destroy what is on it, and neither the kernel nor QEMU keeps them
 * from that.
 */
#ifndef XLX_VBD_H
#define XLX_VBD_H

#include <sys/types.h>

#include "core/internal.h"

struct xlx__vbd {
    uint32_t domid;
    char *backend;                  /* its directory in xenstore */
    char *disk;                     /* in /sys/class/block; NULL for a file */
    dev_t dev;                      /* of a file */
    ino_t ino;
    bool raw;                       /* its format is raw, as libxl says */
};

struct xlx__vbds {
    struct xlx__vbd *list;
    int num;
};

/* One request for each disk, and a few more.  Where no xenstored answers there
 * are no guests.  Dispose of it, also after a failure. */
int xlx__vbds_read(xlx_ctx *ctx, struct xlx__vbds *vbds);
void xlx__vbds_dispose(struct xlx__vbds *vbds);

/* Which guest has it as which disk, for a message, and does it write to it?
 * *use_r stays as it is when the guest has gone. */
int xlx__vbd_describe(xlx_ctx *ctx, const struct xlx__vbd *vbd, char **use_r,
                      bool *writes_r);

/* Which guest has that disk or a partition of it, for a message; *use_r stays
 * as it is when none has.  readonly: it will not be written to, and so a guest
 * that does not write either does not matter. */
int xlx__vbds_use_disk(xlx_ctx *ctx, const struct xlx__vbds *vbds,
                       const char *disk, bool readonly, char **use_r);
/* The same of a file. */
int xlx__vbds_use_file(xlx_ctx *ctx, const struct xlx__vbds *vbds,
                       const char *path, bool readonly, char **use_r);

#endif

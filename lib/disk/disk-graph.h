/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's block graph: which nodes are on which file, and what uses them.
 */
#ifndef XLX_DISK_GRAPH_H
#define XLX_DISK_GRAPH_H

#include "core/internal.h"
#include "core/file-id.h"
#include "guest/qmp.h"

struct xlx__disk_graph;

int xlx__disk_graph_read(struct xlx__qmp *qmp,
                         struct xlx__disk_graph **graph_r);
void xlx__disk_graph_free(struct xlx__disk_graph *graph);   /* NULL: ok */

/* A user of a file in QEMU: something that is not a node on that file itself,
 * or a node on it that nothing else leads to. */
struct xlx__disk_graph_user {
    bool idle;                      /* no device, job or export leads to it */
    const char *layer;              /* an image on top of it: its file */
    const char *device;             /* else: name of the device, or NULL */
    const char *job, *export;       /* else: its name */
    const char *node;               /* else: name of a node that a monitor has
                                     * added */
    bool writes;
};

/* Calls back for each; stops and returns what it returns when that is not 0.
 * *open_r: does QEMU have the file open at all, used or not? */
int xlx__disk_graph_users(const struct xlx__disk_graph *graph,
                          const struct xlx__file_id *id, bool *open_r,
                          int (*found)(void *user,
                                       const struct xlx__disk_graph_user *u),
                          void *user);
/* Has QEMU a node on a file of that name?  The file may be gone. */
bool xlx__disk_graph_names(const struct xlx__disk_graph *graph,
                           const char *path);
/* The dirty bitmaps with a name on nodes of that file: their number, and one
 * name. */
int xlx__disk_graph_bitmaps(const struct xlx__disk_graph *graph,
                            const struct xlx__file_id *id,
                            const char **name_r);

#endif

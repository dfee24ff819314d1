/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which processes of this host have which files open: /proc/PID/fd.  Names of
 * files in QEMU and in xenstore may be out of date; an open file is not.
 */
#ifndef XLX_PROC_FILES_H
#define XLX_PROC_FILES_H

#include <sys/types.h>

#include "core/file-id.h"

struct xlx__proc_file {
    pid_t pid;
    char name[32];                  /* of the program */
    struct xlx__file_id id;
    bool writes;                    /* it was opened for writing */
};

struct xlx__proc_files {
    struct xlx__proc_file *list;
    int num;
};

/* The files of QEMU, its tools, tapdisk, nbdkit and the like, where the kernel
 * lets us look. */
int xlx__proc_files_read(struct xlx__proc_files *files);
/* The same of one process: none when it is not such a program. */
int xlx__proc_files_read_of(pid_t pid, struct xlx__proc_files *files);
/* All processes but this one: the nodes of devices that they have open, and
 * the files that they opened for writing.  Fails when one of them cannot be
 * looked at. */
int xlx__proc_files_read_all(struct xlx__proc_files *files);
/* Has the process that file open at this moment?  False when it has ended. */
int xlx__proc_has_open(pid_t pid, const struct xlx__file_id *id, bool *yes_r);
/* A process of each mount namespace of this host, first this one as 0; free()
 * *pids_r. */
int xlx__proc_namespaces(pid_t **pids_r, int *num_r);
void xlx__proc_files_dispose(struct xlx__proc_files *files);

#endif

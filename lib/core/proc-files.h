/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which processes of this host that handle disk images have which files open:
 * /proc/PID/fd, where the kernel lets us look.  Names of files in QEMU and in
 * xenstore may be out of date; an open file is not.
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

/* The files of QEMU, its tools, tapdisk, nbdkit and the like. */
int xlx__proc_files_read(struct xlx__proc_files *files);
/* The same of one process: none when it is not such a program. */
int xlx__proc_files_read_of(pid_t pid, struct xlx__proc_files *files);
void xlx__proc_files_dispose(struct xlx__proc_files *files);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processes that are not our children.  The kernel gives the number of one
 * that has ended to another; the number and the time of its start together
 * name one process until the host is booted again.
 */
#ifndef XLX_PROCESS_H
#define XLX_PROCESS_H

#include <sys/types.h>

#include "core/internal.h"

/* When it was started, in the kernel's ticks since boot; 0 when there is no
 * such process, or it has ended and nobody has waited for it. */
uint64_t xlx__process_start(pid_t pid);
/* Its arguments, one after the other with a NUL after each; the caller's to
 * free.  NULL when there are none or nobody may read them. */
char *xlx__process_arguments(pid_t pid, size_t *size_r);
/* Has a list as above that argument, followed by value (NULL: by any)? */
bool xlx__process_argument(const char *arguments, size_t size,
                           const char *argument, const char *value);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection to a QEMU's monitor.  qmp.c alone knows QMP's framing, where
 * libxl puts the sockets, and libxl's lock.  One socket serves one client, so
 * a connection is opened for one purpose, used and closed: never kept over a
 * second while idle.
 */
#ifndef XLX_QMP_H
#define XLX_QMP_H

#include <sys/types.h>

#include "core/internal.h"

struct xlx__qmp;

/* How long a command may take; the answer to a slow one is awaited longer
 * with xlx__qmp_call_within. */
#define XLX__QMP_TIMEOUT_MS 10000

/* guest->qmp_socket if set, else the domain's: qmp-libxenstat-DOMID if it is
 * free, else qmp-libxl-DOMID under libxl's lock.  ERROR_NOTFOUND when the
 * domain has no QEMU, ERROR_NOT_READY when another client holds it. */
int xlx__qmp_open(xlx_ctx *ctx, const xlx_guest *guest,
                  struct xlx__qmp **qmp_r);
/* Where libxl has the sockets. */
const char *xlx__xen_run_dir(void);
int xlx__qmp_open_socket(xlx_ctx *ctx, const char *path,
                         struct xlx__qmp **qmp_r);
/* Takes over fd, a connected non-blocking socket, in any case. */
int xlx__qmp_open_fd(xlx_ctx *ctx, int fd, const char *peer,
                     struct xlx__qmp **qmp_r);
void xlx__qmp_close(struct xlx__qmp *qmp);          /* NULL is fine */

/* The process that listens at the socket, 0 when the kernel does not say. */
pid_t xlx__qmp_pid(const struct xlx__qmp *qmp);
/* "7.2.22", from the greeting */
const char *xlx__qmp_version(const struct xlx__qmp *qmp);

/* Sends a command and waits for its answer; events in between are skipped.
 * args: an object, taken over and freed in any case, or NULL.  *result_r
 * (may be NULL) lives until the next call or close.  When QEMU refuses, rc is
 * one of the ERROR_QMP_* codes and the message is "COMMAND: QEMU's text". */
int xlx__qmp_call(struct xlx__qmp *qmp, const char *command,
                  struct xlx__json_out *args,
                  const struct xlx__json **result_r);
int xlx__qmp_call_within(struct xlx__qmp *qmp, int timeout_ms,
                         const char *command, struct xlx__json_out *args,
                         const struct xlx__json **result_r);

/* For tests: what went over the wire. */
struct xlx__qmp_traffic {
    unsigned int commands;
    size_t bytes_sent, bytes_received;
};
void xlx__qmp_traffic(const struct xlx__qmp *qmp,
                      struct xlx__qmp_traffic *traffic_r);

#endif

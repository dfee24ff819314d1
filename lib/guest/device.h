/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Common to every device that a backend and a guest's driver connect over
 * xenstore: its two directories and who may read them, states, waits, the
 * words of a driver that gave up, and the removal of it all.
 *
 * libxl destroys only the kinds of devices that it knows, so devices that are
 * made here must be removed here.
 */
#ifndef XLX_DEVICE_H
#define XLX_DEVICE_H

#include "core/internal.h"
#include "core/xs.h"

struct xlx__device {
    const char *kind;               /* of the backend: "vscsi", "qusb" */
    uint32_t backend_domid, domid;
    uint32_t devid;
    char *backend, *frontend;       /* the two directories */
};

struct xlx__device_key {
    const char *name, *value;
};

/* frontend_kind differs from kind where one driver has several backends.
 * Dispose of it, also after a failure. */
int xlx__device_init(struct xlx__device *dev, const char *kind,
                     const char *frontend_kind, uint32_t backend_domid,
                     uint32_t domid, uint32_t devid);
void xlx__device_dispose(struct xlx__device *dev);

/* 1 when the guest's domain has a place for devices; 0 when it has none yet,
 * and what is put there libxl removes while it builds the domain. */
int xlx__device_awaited(xlx_ctx *ctx, xs_transaction_t t,
                        const struct xlx__device *dev);
/* Replaces both directories in transaction t, with the keys that every device
 * has and those given (ends with a NULL name); leftovers of a dead guest with
 * the same number go. */
int xlx__device_make(xlx_ctx *ctx, xs_transaction_t t,
                     const struct xlx__device *dev,
                     const struct xlx__device_key *backend_keys);
/* A node of the backend that the guest must not read. */
int xlx__device_write_secret(xlx_ctx *ctx, xs_transaction_t t,
                             const struct xlx__device *dev, const char *path,
                             const char *value);

/* The state in DIRECTORY/state, UNKNOWN when there is none; another text is
 * ERROR_INVAL, because the guest may have written it. */
int xlx__device_state(xlx_ctx *ctx, xs_transaction_t t, const char *dir,
                      xlx_xenbus_state *state_r);
int xlx__device_set_state(xlx_ctx *ctx, xs_transaction_t t,
                          const char *dir, xlx_xenbus_state state);
/* "connected", for messages */
const char *xlx__device_state_name(xlx_xenbus_state state);

/* The last errors of the drivers, backend first; NULL when there is none. The
 * guest's words have no control characters.  The caller's to free. */
char *xlx__device_said(xlx_ctx *ctx, const struct xlx__device *dev);

/* Tells both drivers that the device goes, waits until the backend has let go
 * of it, and removes it.  ERROR_TIMEDOUT: it is still there, and closing. */
int xlx__device_close(xlx_ctx *ctx, const struct xlx__device *dev,
                      int64_t deadline);
/* Removes what is left of it in xenstore, at once, with directories that are
 * empty then, and waits until the driver in this kernel has noticed. */
int xlx__device_remove(xlx_ctx *ctx, const struct xlx__device *dev,
                       int64_t deadline);

/* Numbers in order of a guest's devices that have a backend of this kind;
 * free() *devids_r. */
int xlx__device_list(xlx_ctx *ctx, const char *kind, uint32_t backend_domid,
                     uint32_t domid, uint32_t **devids_r, int *num_r);

#endif

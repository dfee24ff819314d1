/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every device has in common that a backend and a guest's driver connect
 * over xenstore: where its two folders are, who may read them, states, waits,
 * the words of a driver that gave up, and taking it all away again.
 *
 * libxl destroys only the kinds of devices that it knows, so that what is
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
    char *backend, *frontend;       /* the two folders */
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
/* Makes both folders anew in transaction t, with the keys that every device
 * has and those given (ends with a NULL name); what a dead guest with the
 * same number left there goes. */
int xlx__device_make(xlx_ctx *ctx, xs_transaction_t t,
                     const struct xlx__device *dev,
                     const struct xlx__device_key *backend_keys);
/* A node of the backend that the guest must not read. */
int xlx__device_write_secret(xlx_ctx *ctx, xs_transaction_t t,
                             const struct xlx__device *dev, const char *path,
                             const char *value);

/* The state in FOLDER/state, UNKNOWN when there is none; what is no state is
 * ERROR_INVAL, for the guest may have written it. */
int xlx__device_state(xlx_ctx *ctx, xs_transaction_t t, const char *folder,
                      xlx_xenbus_state *state_r);
int xlx__device_set_state(xlx_ctx *ctx, xs_transaction_t t,
                          const char *folder, xlx_xenbus_state state);
/* "connected", for messages */
const char *xlx__device_state_name(xlx_xenbus_state state);

/* What the drivers last said went wrong, backend first; NULL when nothing.
 * The guest's words have no control characters.  The caller's to free. */
char *xlx__device_said(xlx_ctx *ctx, const struct xlx__device *dev);

/* Tells both drivers that the device goes, waits until the backend has let go
 * of it, and removes it.  ERROR_TIMEDOUT: it is still there, and closing. */
int xlx__device_close(xlx_ctx *ctx, const struct xlx__device *dev,
                      int64_t deadline);
/* Removes what is left of it in xenstore, at once, with folders that are empty
 * then, and waits until the driver in this kernel has noticed. */
int xlx__device_remove(xlx_ctx *ctx, const struct xlx__device *dev,
                       int64_t deadline);

/* Numbers in order of a guest's devices that have a backend of this kind;
 * free() *devids_r. */
int xlx__device_list(xlx_ctx *ctx, const char *kind, uint32_t backend_domid,
                     uint32_t domid, uint32_t **devids_r, int *num_r);

#endif

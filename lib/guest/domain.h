/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starting a domain again, by way of the xl that watches it.
 */
#ifndef XLX_DOMAIN_H
#define XLX_DOMAIN_H

#include <sys/types.h>

#include "core/internal.h"

/* Stops the domain's CPUs for good, as if the guest had rebooted itself: xl
 * then destroys it and builds it again from libxl's configuration.  While
 * the caller has xlx__config_lock(), xl waits before it destroys. */
int xlx__domain_reboot(xlx_ctx *ctx, const xlx_guest *guest);
/* The domain's CPUs stand still.  Xen counts: a domain that the user has
 * paused stays so after the second call, which does nothing to one that is not
 * paused. */
int xlx__domain_pause(xlx_ctx *ctx, const xlx_guest *guest);
int xlx__domain_unpause(xlx_ctx *ctx, const xlx_guest *guest);
int xlx__domain_destroy(xlx_ctx *ctx, const xlx_guest *guest);

/* Has libxl finished making it, with all devices of its configuration? */
bool xlx__domain_is_made(xlx_ctx *ctx, uint32_t domid);
/* Has its kernel stopped, so that libxl takes its devices away? */
bool xlx__domain_is_ending(xlx_ctx *ctx, uint32_t domid);
/* Nothing runs the guest, but the xl that watched its domain is still there
 * after that many milliseconds: then it is making the next one, or is about
 * to.  It ends with a domain that was not to be started again. */
bool xlx__domain_is_kept(xlx_ctx *ctx, const xlx_guest *guest, int ms);
/* The processes of xl that watch the domain of that name, up to max; how
 * many. */
int xlx__domain_monitors(const char *name, pid_t *pids, int max);
/* Waits for a domain with the guest's UUID and another number, of which libxl
 * has recorded the configuration.  ERROR_TIMEDOUT when none comes. */
int xlx__domain_wait_new(xlx_ctx *ctx, const xlx_guest *old,
                         int64_t deadline, xlx_guest *fresh);

#endif

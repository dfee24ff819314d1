/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest agent (qemu-ga): the guest's file systems are made to write what
 * they have and to hold still for a moment.  The agent runs in the guest and
 * is trusted with nothing.
 */
#ifndef XLX_AGENT_H
#define XLX_AGENT_H

#include "core/internal.h"

struct xlx__agent;

/* Where the agent of a guest is reached: for a domain, the socket of its PV
 * channel named org.qemu.guest_agent.0; for a QEMU without Xen, its character
 * device with that name in its label, or with a label that begins with qga.
 * ERROR_NOT_READY when there is none. */
int xlx__agent_socket(xlx_ctx *ctx, const xlx_guest *guest, char **path_r);

/* Freezes the guest's file systems, within ten seconds or not at all.
 * ERROR_NOT_READY when no agent answers, ERROR_QMP_GENERIC_ERROR when it says
 * no, ERROR_FAIL when it said nothing and the guest may be frozen.  Until
 * xlx__agent_thaw the caller has 60 seconds; if it dies or takes longer, the
 * guest is thawed all the same (guard.h). */
int xlx__agent_freeze(xlx_ctx *ctx, const char *socket,
                      struct xlx__agent **a_r);
/* Thaws and frees; NULL is fine.  ERROR_GUEST_TIMEDOUT when the guest is
 * thawed but had not stayed frozen until now, so that a snapshot made in that
 * time is not consistent; ERROR_FAIL when it may be frozen still. */
int xlx__agent_thaw(struct xlx__agent *a);

#endif

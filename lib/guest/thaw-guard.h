/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A child that thaws the guest when we cannot: whoever freezes a guest's file
 * systems may be killed at any moment, and a guest that stays frozen is worse
 * than any snapshot is good.
 *
 * This is the one process that the library starts without its being the work
 * that the caller asked for.  It does not break the rule against hidden
 * processes: it lives only between freeze and thaw, is gone when thaw has
 * returned, is shown by ps as "xlx-thaw-guard", holds nothing but the agent's
 * connection, and can be killed without harm while its parent lives.
 */
#ifndef XLX_THAW_GUARD_H
#define XLX_THAW_GUARD_H

#include "core/internal.h"

/* The guard thaws when its parent has gone, and after this time whatever the
 * parent does. */
#define XLX__GUARD_MAX_FREEZE_MS 60000

/* With this it thaws, and ends the wait for the answer. */
#define XLX__GUARD_THAW "\xff{\"execute\": \"guest-fsfreeze-thaw\"}\n"

struct xlx__thaw_guard {
    int fd;                         /* to the guard; -1 when there is none */
};
#define XLX__GUARD_NONE { .fd = -1 }

/* agent_fd: the connection to the guest agent, which must be in step. */
int xlx__thaw_guard_start(int agent_fd, struct xlx__thaw_guard *guard);
/* The guest is thawed: the guard goes, and has gone on return. */
void xlx__thaw_guard_dismiss(struct xlx__thaw_guard *guard);
/* It is not: the guard goes on trying, without us. */
void xlx__thaw_guard_leave(struct xlx__thaw_guard *guard);

#endif

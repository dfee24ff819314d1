/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A child that plays the backend and the guest's driver of one SCSI adapter.
 * A test can stop it for a while, as a guest that is paused.
 */
#ifndef TEST_SCSI_DRIVERS_H
#define TEST_SCSI_DRIVERS_H

#include <sys/types.h>

/* The adapter's directories. */
#define B "/local/domain/0/backend/vscsi/5/0"
#define F "/local/domain/5/device/vscsi/0"

enum { BACKEND = 1, FRONTEND = 2 };

extern pid_t drivers_pid;

/* LUN 8 is one that the backend does not know, LUN 9 one that the guest does
 * not like.  It ends by itself after some minutes. */
void drivers_start(int roles);
void drivers_stop(void);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starting the fake peers of this directory from a C test, and a ctx and a
 * directory to test with.
 */
#ifndef TEST_PEER_H
#define TEST_PEER_H

#include <sys/types.h>

#include "unit.h"

/* A directory of its own for each test program, and a ctx that logs nowhere.
 */
extern char peer_dir[];
int peer_setup(void **state);
int peer_teardown(void **state);
xlx_ctx *peer_ctx(void);
/* "DIR/NAME"; valid until the next call */
const char *peer_path(const char *name);

/* A proc without processes, for questions who uses a device: not every machine
 * lets a test look at all of its own. */
void peer_proc(void);

/* Runs tests/unit/PROGRAM with the arguments, up to a NULL, and waits until it
 * prints "ready". */
pid_t peer_start(const char *program, ...);
/* Starts fake-xenstored.py where libxenstore looks, with the arguments up to a
 * NULL; stops it after a test, as its teardown. */
void peer_xenstored(const char *arg, ...);
int peer_xenstored_stop(void **state);
/* Waits for its end; returns its exit code, or minus the signal. */
int peer_wait(pid_t pid);

/* A plain client of that socket, -1 if that cannot be. */
int peer_connect(const char *path);

/* How many descriptors this process has. */
int peer_count_fds(void);

#endif

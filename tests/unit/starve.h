/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lack of memory for tests: the n-th allocation from now fails, and those after
 * it succeed.  Link with --wrap for malloc, calloc, realloc, strdup and
 * vasprintf.
 */
#ifndef STARVE_H
#define STARVE_H

/* Allocations until one fails, which makes it -1: none fails. */
extern int starve_left;

#endif

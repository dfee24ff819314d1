/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lack of memory for tests: the n-th allocation from now fails, and those
 * after it succeed.  Link with --wrap for malloc, calloc, realloc, strdup and
 * vasprintf.
 *
 * A command that allocates in a loop meets the same failure again and again.
 * So a place can fail in turn instead of a number: where the allocation is
 * called, and where the function that does so was called.
 */
#ifndef STARVE_H
#define STARVE_H

/* Allocations until one fails, which makes it -1: none fails. */
extern int starve_left;

/* Notes the places of all allocations from now until the end of the survey,
 * which gives the number of allocations; *places_r is that of places. */
void starve_survey(void);
int starve_survey_end(int *places_r);
/* The place whose next allocation fails, which makes it -1: none fails. */
extern int starve_place;

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A state directory with many guests, each with a line of external snapshots,
 * for tests and benchmarks of size.  All guests share one chain of images,
 * headers only: as many are opened as with chains of their own, and the disk
 * does not fill up.
 */
#ifndef GUESTS_H
#define GUESTS_H

/* Makes state and images, directories that may be there, and in them guests
 * with num_snapshots each.  Ends the program with a message on failure. */
void guests_make(const char *state, const char *images, int num_guests,
                 int num_snapshots);

#endif

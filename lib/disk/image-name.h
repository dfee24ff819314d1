/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All that the header of any image may point to, for the question who is
 * based on a file: an image of somebody else's may spell names in every way
 * that QEMU takes.  Images that we work on ourselves must spell them plainly:
 * for these see image-backing.c.
 */
#ifndef XLX_IMAGE_NAME_H
#define XLX_IMAGE_NAME_H

#include "core/internal.h"

enum xlx__image_ref_kind {
    XLX__REF_FILE,                  /* path is absolute */
    XLX__REF_LOOSE,                 /* path is relative to the directory of
                                     * whichever program opens the image */
    XLX__REF_UNCLEAR,               /* QEMU or we cannot read it; path is the
                                     * text */
};

struct xlx__image_ref {
    enum xlx__image_ref_kind kind;
    char *path;
    bool data;                      /* a data file, not a backing file */
};

struct xlx__image_refs {
    struct xlx__image_ref *list;
    int num;
};

/* Adds the files that the name may mean; none for a name of another protocol
 * (nbd:, rbd:, ...).  dir: the directory of the image that has the name in its
 * header.  Dispose of refs, also after a failure. */
int xlx__image_name_read(const char *dir, const char *name, bool data,
                         struct xlx__image_refs *refs);
/* Finds the files to which the header of a qcow2 image points; none when it is
 * not a qcow2. Reads the header only. */
int xlx__image_refs(const char *path, struct xlx__image_refs *refs);
void xlx__image_refs_dispose(struct xlx__image_refs *refs);

#endif

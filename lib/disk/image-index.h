/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Headers of the images of some directories and of all images that these lead
 * to: which of them is based on a certain file?
 */
#ifndef XLX_IMAGE_INDEX_H
#define XLX_IMAGE_INDEX_H

#include "core/file-id.h"
#include "disk/image-name.h"

struct xlx__image_entry {
    char *path;
    struct xlx__file_id id;
    struct xlx__image_refs refs;
    struct xlx__file_id *ids;       /* of each ref, when the file exists */
    bool *has_id;
    char *unreadable;               /* why its header could not be read */
};

struct xlx__image_index {
    struct xlx__image_entry *list;
    int num;
    char **dirs;                    /* that were read */
    int num_dirs;
    struct xlx__file_id *raws;      /* whose content is a guest's alone */
    int num_raws;
};

/* This file is raw: a guest may have written a header into it, which means
 * nothing. */
int xlx__image_index_raw(struct xlx__image_index *index,
                         const struct xlx__file_id *id);
/* Adds the image and, one after the other, those that it is based on. */
int xlx__image_index_add(struct xlx__image_index *index, const char *path);
/* Adds the images of the directory in which path is, once; only plain
 * files. */
int xlx__image_index_dir_of(struct xlx__image_index *index,
                            const char *path);
void xlx__image_index_dispose(struct xlx__image_index *index);

enum xlx__image_link { XLX__LINK_NONE, XLX__LINK_YES, XLX__LINK_UNCLEAR };

/* Does the header of that image name that file? */
enum xlx__image_link xlx__image_index_link(const struct xlx__image_entry *e,
                                           const char *path,
                                           const struct xlx__file_id *id);

#endif

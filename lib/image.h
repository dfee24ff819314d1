/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk image files that no QEMU has open, or whose QEMU is told by the
 * caller: everything that qemu-img does for us.  image.c alone runs it: as a
 * child that is waited for, with a deadline, without a shell.
 */
#ifndef XLX_IMAGE_H
#define XLX_IMAGE_H

#include "internal.h"

struct xlx__image {
    char *format;
    char *backing;                  /* absolute path, NULL when none */
    char *backing_format;           /* NULL when not recorded */
    uint64_t virtual_size, allocated;
};

/* Works also on an image that a QEMU has open, by reading only. */
int xlx__image_info(xlx_ctx *ctx, const char *path, const char *format,
                    struct xlx__image *image_r);
void xlx__image_dispose(struct xlx__image *image);

/* Makes a qcow2 image over backing: O_EXCL, mode 0600, owner of backing,
 * flushed to disk with its folder. */
int xlx__image_create_overlay(xlx_ctx *ctx, const char *path,
                              const char *backing, const char *backing_format,
                              uint64_t virtual_size);
/* Was anything ever written to the image itself (not what is below it)?
 * For a qcow2 that no QEMU has open. */
int xlx__image_has_data(const char *path, bool *data_r);

int xlx__image_tag_create(xlx_ctx *ctx, const char *path, const char *tag);
int xlx__image_tag_apply(xlx_ctx *ctx, const char *path, const char *tag);
int xlx__image_tag_delete(xlx_ctx *ctx, const char *path, const char *tag);
/* qemu-img check -r leaks/all, for an image whose QEMU was killed. */
int xlx__image_check_repair(xlx_ctx *ctx, const char *path,
                            bool *repaired_r);
/* Merges path down into base; path itself stays as it is, so that it can be
 * done again.  progress may be NULL; what is for it, xlx_job_progress.what. */
int xlx__image_commit(xlx_ctx *ctx, const char *path, const char *format,
                      const char *base, const xlx_progress *progress,
                      const char *what);
/* Does a guest see the same bytes in both? */
int xlx__image_compare(xlx_ctx *ctx, const char *a, const char *b,
                       const char *a_format, const char *b_format,
                       bool *same_r);
/* Changes only the name of the image below. */
int xlx__image_rebase(xlx_ctx *ctx, const char *path, const char *backing,
                      const char *backing_format);

/* Unlinks it for good; that it is not there is no error. */
int xlx__image_remove(const char *path);

/* Do two paths name the same file?  false also when either is missing. */
bool xlx__image_same(const char *a, const char *b);
/* Does a QEMU or qemu-img have it open, and locked? */
int xlx__image_in_use(const char *path, bool *yes_r);

struct xlx__image_tag {
    char *name;
    int64_t time;                   /* seconds since 1970 */
};

/* The internal snapshots of a qcow2, of another format none.  Reads the table
 * in the file itself; right also while QEMU has the image open.  Free with
 * xlx__image_tags_free. */
int xlx__image_tags(const char *path, struct xlx__image_tag **tags_r,
                    int *num_r);
void xlx__image_tags_free(struct xlx__image_tag *tags, int num);
int xlx__image_has_tag(const char *path, const char *tag, bool *found_r);
/* The backing file that a qcow2 header names, absolute; *backing_r NULL when
 * it is no qcow2 or names none.  Reads the header only. */
int xlx__image_backing(const char *path, char **backing_r);

#endif

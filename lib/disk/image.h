/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk image files that no QEMU has open, or whose QEMU the caller has
 * prepared: everything that qemu-img does for us.  image.c alone runs it: as a
 * child that is waited for, with a deadline, without a shell.
 */
#ifndef XLX_IMAGE_H
#define XLX_IMAGE_H

#include <sys/stat.h>

#include "core/child.h"

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

/* ---- image-overlay.c ---------------------------------------------------- */

struct xlx__image_making {
    const char *path, *name;        /* name is the end of path */
    int dir, fd;                    /* its directory, and the file */
    char by_fd[40], size[24];
    const char *argv[16];
    struct xlx__child child;
    struct xlx__child_running running;
};

/* Makes a qcow2 image over backing: O_EXCL, with the owner of backing and the
 * access that backing gives to its group, flushed to disk with its
 * directory.  Several can be started before the first is ended; each that was
 * started must be ended, and stays where it is in memory until then.  When it
 * fails there is no file. */
int xlx__image_make_start(xlx_ctx *ctx, const char *path,
                          const char *backing, const char *backing_format,
                          uint64_t virtual_size,
                          struct xlx__image_making *making);
int xlx__image_make_end(struct xlx__image_making *making);
/* Makes an empty file with the owner and the access of the image that it is to
 * be like: ERROR_DEVICE_EXISTS when something is there. */
int xlx__image_make_empty(const char *path, const char *like);

/* ---- image.c, image-qcow2.c --------------------------------------------- */

/* Was anything ever written to the image itself (not what is below it)?
 * For a qcow2 that no QEMU has open. */
int xlx__image_has_data(const char *path, bool *data_r);

/* qemu-img check -r leaks/all, for an image whose QEMU was killed. */
int xlx__image_check_repair(xlx_ctx *ctx, const char *path,
                            bool *repaired_r);
/* Does a guest see the same bytes in both?  When not, *at_r is the byte of the
 * disk near which the first difference is, UINT64_MAX when it is not known. */
int xlx__image_compare(xlx_ctx *ctx, const char *a, const char *b,
                       const char *a_format, const char *b_format,
                       bool *same_r, uint64_t *at_r);
/* Changes only the name of the image below. */
int xlx__image_rebase(xlx_ctx *ctx, const char *path, const char *backing,
                      const char *backing_format);

/* Flushes what fd leads to, which has that name in messages. */
int xlx__image_sync(int fd, const char *path);

/* Cuts it off at that size; the bytes behind are lost. */
int xlx__image_shrink(xlx_ctx *ctx, const char *path, const char *format,
                      uint64_t size);

/* Do two paths name the same file?  false also when either is missing. */
bool xlx__image_same(const char *a, const char *b);
/* Does a QEMU or qemu-img have it open, and locked?  *writes_r: to write to
 * it; NULL when that does not matter. */
int xlx__image_in_use(const char *path, bool *yes_r, bool *writes_r);

/* The size that a guest sees, asked of the image itself. */
int xlx__image_size(xlx_ctx *ctx, const char *path, const char *format,
                    uint64_t *size_r);

struct xlx__image_features {
    bool data_file;                 /* the guest's data are in another file */
    bool encrypted;
};

/* From the header, when the format (not the content) says that there is
 * one. */
int xlx__image_features(const char *path, const char *format,
                        struct xlx__image_features *features_r);

/* ---- image-copy.c ------------------------------------------------------- */

/* Merges path down into the image that its header names, which the caller
 * knows is base, and looks whether all of it is there; path itself stays as it
 * is, so that it can be done again.  progress may be NULL; what is for it,
 * xlx_job_progress.what. */
int xlx__image_commit(xlx_ctx *ctx, const char *path, const char *format,
                      const char *base, const xlx_progress *progress,
                      const char *what);
/* Copies what a guest sees in path to a file that is made (what is in it is
 * lost), or, when it is not made, to a device or NBD export of the same size.
 */
int xlx__image_convert(xlx_ctx *ctx, const char *path, const char *format,
                       const char *to, const char *to_format, bool made,
                       const xlx_progress *progress, const char *what);
/* Copies only what path itself holds, to a file that is made and is based on
 * below, which holds what is below path. */
int xlx__image_convert_layer(xlx_ctx *ctx, const char *path,
                             const char *format, const char *to,
                             const char *below, const char *below_format,
                             const xlx_progress *progress, const char *what);
/* Copies into path, a qcow2, what it has from the images below it down to
 * until, which it is based on then; "" for none.  Cut short, path is as good
 * as before. */
int xlx__image_pull(xlx_ctx *ctx, const char *path, const char *until,
                    const char *until_format, const xlx_progress *progress,
                    const char *what);

/* ---- image-open.c ------------------------------------------------------- */

/* An image and those below it, by the headers, each held open with O_PATH.
 * Symbolic links that others than root or the caller can have made are
 * refused, and so are files with a second name in directories of others. */
struct xlx__image_files {
    int fd[XLX__CHILD_MAX_FILES];
    struct stat st[XLX__CHILD_MAX_FILES];
    char format[XLX__CHILD_MAX_FILES][32];
    int num;
    bool shared;                    /* others can replace one of them: hand
                                     * out descriptors, not names */
};

/* Close it also after a failure.  When it is not shared, files may lack those
 * below that cannot be followed. */
int xlx__image_files_open(const char *path, const char *format,
                          struct xlx__image_files *files);
/* The image alone, for work that needs none of those below. */
int xlx__image_file_open(const char *path, const char *format,
                         struct xlx__image_files *files);
void xlx__image_files_close(struct xlx__image_files *files);
/* Is base the one below path? */
int xlx__image_files_check(const struct xlx__image_files *files,
                           const char *path, const char *base);
/* Gives what qemu-img needs to work on the descriptors: the name it is called
 * with, the caller's to free, and the files.  It runs as the owner of the
 * images that it writes to, the first `written` ones, when that is one user.
 */
int xlx__image_files_give(const struct xlx__image_files *files, int written,
                          struct xlx__child *child, char **name_r);
/* The directory of path, as O_PATH, with the same care; *name_r is the rest of
 * path. */
int xlx__image_dir_open(const char *path, int *fd_r, const char **name_r,
                        bool *shared_r);

/* ---- image-remove.c ----------------------------------------------------- */

/* A text that no other file has in its life, also after a boot of the host,
 * for the file that the caller has looked at.  A symbolic link has its own. */
int xlx__image_identity(const char *path, char **id_r);
/* Is it still that file?  ERROR_INVAL for another one; a file without an
 * identity (NULL, ""), and one that is gone, is. */
int xlx__image_is_seen(const char *path, const char *seen);
/* Unlinks it for good, if it is the file that was seen, by its identity;
 * another one is kept: ERROR_INVAL.  Without an identity (NULL, "") it is the
 * one that is there at the call.  A missing file is not an error. */
int xlx__image_remove(const char *path, const char *seen);
/* The same for the file that fd has open, in its directory, without a
 * message. */
void xlx__image_unlink_made(int dir, const char *name, int fd);
/* Is a file there?  One whose removal was cut short gets its name back. */
int xlx__image_is_there(const char *path, bool *yes_r);

/* ---- image-merged.c ----------------------------------------------------- */

/* Is everything that the first of them holds also in the second one?  For a
 * merge that qemu-img has done; nobody writes to either. */
int xlx__image_check_merged(xlx_ctx *ctx,
                            const struct xlx__image_files *files);

/* ---- image-backing.c ---------------------------------------------------- */

/* The image below, an absolute path, and its format; NULL when there is none
 * or the header does not say.  format is that of path as the configuration or
 * the record has it: the content of a raw disk is the guest's.  ERROR_INVAL
 * for a name that is not a plain file of this host. */
int xlx__image_below(const char *path, const char *format, char **below_r,
                     char **format_r);
/* The same for a qcow2; NULL also when path is not one. */
int xlx__image_backing(const char *path, char **backing_r);
/* How many images the chain has, by what headers say; ERROR_INVAL for a loop
 * and for names that are refused. */
#define XLX__IMAGE_MAX_CHAIN 257
int xlx__image_chain(const char *path, const char *format, int *num_r);
/* The first image of the chain that is not there, NULL when all are. */
int xlx__image_missing(const char *path, const char *format,
                       char **missing_r);
/* Is to the image itself or among those below it?  By headers; a chain that
 * cannot be followed ends there. */
bool xlx__image_leads_to(const char *path, const char *format,
                         const char *to);
/* The file with the guest's data, when they are not in the image itself. */
int xlx__image_data_file(const char *path, const char *format,
                         char **file_r);
/* A name in the header of path, as QEMU reads it. */
int xlx__image_backing_name(const char *path, const char *name,
                            char **file_r);

/* ---- image-name.c ------------------------------------------------------- */

/* How many persistent dirty bitmaps a qcow2 holds, by its header. */
int xlx__image_bitmaps(const char *path, int *num_r);

/* ---- image-tag.c -------------------------------------------------------- */

struct xlx__image_tag {
    char *id;                       /* unique in the image, unlike names */
    char *name;
    int64_t time;                   /* seconds since 1970 */
    uint32_t nsec;
    uint64_t l1_offset;
    uint32_t l1_size;
};

/* The internal snapshots of a qcow2, of another format none.  Reads the table
 * in the file itself; right also while QEMU has the image open.  Free with
 * xlx__image_tags_free. */
int xlx__image_tags(const char *path, struct xlx__image_tag **tags_r,
                    int *num_r);
void xlx__image_tags_free(struct xlx__image_tag *tags, int num);
/* The id of the one snapshot of that name, NULL when there is none;
 * ERROR_INVAL when there are two. */
int xlx__image_find_tag(const char *path, const char *name, char **id_r);
int xlx__image_has_tag(const char *path, const char *tag, bool *found_r);
/* A text that tells the snapshot of that name from any other that ever had it;
 * "" when there is none. */
int xlx__image_tag_identity(const char *path, const char *tag, char **id_r);
/* Is the image's content that of its snapshot, untouched since?  false also
 * when there is no such snapshot. */
int xlx__image_shows_tag(const char *path, const char *tag, bool *yes_r);

/* qemu-img's work on an image that no QEMU has open, and the look whether it
 * did that: names that are numbers mean the name. */
int xlx__image_tag_create(xlx_ctx *ctx, const char *path, const char *tag);
int xlx__image_tag_apply(xlx_ctx *ctx, const char *path, const char *tag);
int xlx__image_tag_delete(xlx_ctx *ctx, const char *path, const char *tag);

#endif

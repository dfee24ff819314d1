/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One question, asked before an image is unlinked, merged, written to or given
 * to a guest: who uses it?  The answer comes from the world and not from one
 * guest's record: QEMU's graph by inode, image locks, other guests' disks in
 * xenstore, other processes, the headers of all images that are known or are
 * next to a known one, and the records and journals of all guests.  "Not
 * known" is also an answer (XLX__USER_UNKNOWN): it makes a refusal, which
 * names the option that overrides it.
 *
 *     xlx__snapshot_world(ctx, guest, qmp, &world);      (snapshot.h)
 *     xlx__image_use(world, path, &use);
 *     rc = xlx__image_permit(&use, "xvda", &allow);
 *
 * A world is read when first asked and does not change after that: open a new
 * one after each change.
 */
#ifndef XLX_IMAGE_USE_H
#define XLX_IMAGE_USE_H

#include <sys/types.h>

#include "core/internal.h"
#include "guest/qmp.h"

/* ---- what records and journals say ------------------------------------- */

enum xlx__image_role {
    XLX__ROLE_CURRENT,              /* takes the guest's writes */
    XLX__ROLE_FROZEN,               /* an external snapshot's image */
    XLX__ROLE_TAGGED,               /* an internal snapshot is in it */
    XLX__ROLE_NEW,                  /* was being made (journals only) */
    XLX__ROLE_OLD,                  /* is to be unlinked */
    XLX__ROLE_MOVED,                /* a disk was moved away from it */
    XLX__ROLE_MERGE_TOP,            /* was being merged down (journals only) */
    XLX__ROLE_MERGE_BASE,           /* was being merged into (likewise) */
};

struct xlx__image_claim {
    enum xlx__image_role role;
    bool journal;                   /* from a journal: a command was cut
                                     * short, or is at work */
    bool completing;                /* the journal is of a merge, and QEMU was
                                     * asked to move the guest to the base */
    xlx_guest guest;                /* whose record or journal */
    bool own;                       /* of the guest that the world is of */
    char *image, *format;
    char *snapshot;                 /* FROZEN, TAGGED: its name */
    char *vdev;
    /* the image that takes that guest's writes on this disk, by the same
     * record or journal; NULL when it names none */
    char *current_path, *current_format;
};

/* ---- who uses an image ------------------------------------------------- */

enum xlx__image_user_kind {
    XLX__USER_QEMU,                 /* a disk, job, export or another tool's
                                     * node of the guest's own QEMU */
    XLX__USER_LAYER,                /* an image on top of it in that QEMU */
    XLX__USER_DISK,                 /* a running guest's disk in xenstore */
    XLX__USER_PROCESS,              /* another QEMU, qemu-nbd, tapdisk, ... */
    XLX__USER_LOCK,                 /* a program that is not known has it
                                     * locked as QEMU's programs do */
    XLX__USER_OVERLAY,              /* an image whose header names it */
    XLX__USER_CLAIM,                /* a record or journal */
    XLX__USER_UNKNOWN,              /* cannot be found out, and why */
};

struct xlx__image_user {
    enum xlx__image_user_kind kind;
    bool own;                       /* of the guest that the world is of */
    bool writes;                    /* it writes to the image, or may */
    bool idle;                      /* QEMU, LAYER: a node that no device, job
                                     * or export leads to */
    bool about_open;                /* UNKNOWN: only about who has it open */
    char *what;                     /* a clause for a message: "guest db has it
                                     * as its disk xvda" */
    char *path;                     /* LAYER, OVERLAY: that image */
    char *vdev;                     /* QEMU, DISK: it is a device of a guest;
                                     * its name there, when it is known */
    const struct xlx__image_claim *claim;   /* lives as long as the world */
};

struct xlx__image_use {
    char *image;
    struct xlx__image_user *users;
    int num;
};

/* ---- the world --------------------------------------------------------- */

struct xlx__image_world;

/* self: the guest that the caller works for, NULL for none.  qmp: a connection
 * to its QEMU, used now and not kept; NULL when none runs.  A domain that runs
 * and has no QEMU that can be reached is an unknown for each of its images. */
int xlx__image_world_open(xlx_ctx *ctx, const xlx_guest *self,
                          struct xlx__qmp *qmp,
                          struct xlx__image_world **world_r);
void xlx__image_world_close(struct xlx__image_world *world);    /* NULL: ok */
/* Adds a claim, taken over with all it holds in any case. */
int xlx__image_world_claim(struct xlx__image_world *world,
                           struct xlx__image_claim *claim);
/* Something of the world that could not be read; for all images. */
int xlx__image_world_unknown(struct xlx__image_world *world,
                             const char *why);

/* All users of that file, by device and inode.  A file that is not there has
 * none but claims by its name.  Dispose of it, also after a failure. */
int xlx__image_use(struct xlx__image_world *world, const char *path,
                   struct xlx__image_use *use_r);
void xlx__image_use_dispose(struct xlx__image_use *use);
/* The users in the guest's QEMU alone (QEMU, LAYER), without a look at all
 * others. */
int xlx__image_use_in_qemu(struct xlx__image_world *world, const char *path,
                           struct xlx__image_use *use_r);

/* The first user of one of these kinds (1u << XLX__USER_...), NULL for
 * none. */
const struct xlx__image_user *
xlx__image_user(const struct xlx__image_use *use, unsigned int kinds);

/* Was the block graph of the guest's QEMU read?  And does QEMU have a file of
 * that name open, which may be removed by now? */
bool xlx__image_world_has_graph(const struct xlx__image_world *world);
bool xlx__image_world_names(const struct xlx__image_world *world,
                            const char *path);

/* A dirty bitmap that somebody keeps in that image, for backups: *name_r is
 * its name, "" when only the header tells of one; left as it is when there
 * is none. */
int xlx__image_world_bitmaps(struct xlx__image_world *world,
                             const char *path, char **name_r);

/* ---- before it shows (image-hold.c) ------------------------------------ */

/* Keeps others who ask for the same from an image that is about to be used,
 * until *fd is closed, which is opened for the first one (-1).  Several may
 * only read.  ERROR_LOCK_FAIL when somebody has it. */
int xlx__image_hold(xlx_ctx *ctx, const char *image, bool only_read, int *fd);

/* ---- may it be done? (image-permit.c) ---------------------------------- */

/* The part of the caller's plan, and the words of its user, that permit. */
struct xlx__image_allow {
    bool own_disk;                  /* a disk of the guest itself */
    bool readers;                   /* who only reads does not matter, because
                                     * the image stays as it is */
    bool idle;                      /* neither do readers that are idle */
    const char *const *overlays;    /* images on it that the plan includes */
    int num_overlays;
    bool force_open;                /* --force-open: somebody has it open */
    bool force_based;               /* --force-based: somebody is based on it,
                                     * or another guest's record names it */
    bool force_unknown;             /* --force-unknown */
};

/* 0, or ERROR_NOT_READY (open), ERROR_INVAL (based on it, claimed), ERROR_FAIL
 * (unknown), with the user, and what to do or to say in order to override.
 * Claims of the guest itself are not refused here: they are its plan. */
int xlx__image_permit(const struct xlx__image_use *use, const char *vdev,
                      const struct xlx__image_allow *allow);
/* The same for one image, asked and disposed of. */
int xlx__image_ask(struct xlx__image_world *world, const char *vdev,
                   const char *path, const struct xlx__image_allow *allow);

#endif

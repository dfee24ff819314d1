/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the concepts that give guests devices of the host (scsi, usb).
 *
 *   hostdev-watch.c  staying with a guest
 *   hostdev-health.c what the watcher says of itself
 *   hostdev-watcher.c  the same, for lists
 *   hostdev-patience.c  what a watcher tries again, and when
 *   hostdev-owner.c  which guest has a device
 *   hostdev-boot.c   which domain of a record is still the guest's
 *   hostdev-identity.c  which device of the host is the recorded one
 *   hostdev-use.h    who uses a device, whoever it is: hostdev-use.c,
 *                    hostdev-tree.c, hostdev-records.c, hostdev-open.c
 *
 * A repair compares each entry of a guest's record with what is there.  A pure
 * function of the concept, its plan, says what is to be done about the entry;
 * what carries that out decides nothing.
 */
#ifndef XLX_HOSTDEV_H
#define XLX_HOSTDEV_H

#include <sys/types.h>

#include "core/internal.h"
#include "core/lock.h"

/* ---- plans -------------------------------------------------------------- */

/* How much a repair may do. */
enum xlx__hostdev_stage {
    /* what a killed command left */
    XLX__HOSTDEV_RECOVER,
    /* what the guest's restart or end, or somebody else, has changed */
    XLX__HOSTDEV_SETTLE,
    /* the guest runs after it was saved: what was set aside */
    XLX__HOSTDEV_RETURN,
};

enum xlx__hostdev_step {
    XLX__HOSTDEV_NOTHING,
    XLX__HOSTDEV_KEEP,              /* it works: record that */
    XLX__HOSTDEV_RETRY,             /* record that it is to be attached */
    XLX__HOSTDEV_TAKE_AWAY,         /* from guest, host and record */
    XLX__HOSTDEV_ATTACH,            /* again */
    XLX__HOSTDEV_WAIT,              /* it is not there: free its place */
    XLX__HOSTDEV_PUT_OFF,           /* until a later repair */
};

struct xlx__hostdev_action {
    enum xlx__hostdev_step step;
    bool move;                      /* first to another place */
    bool on_purpose;                /* somebody took it off: not again */
    const char *why;                /* for the report; NULL for NOTHING */
};

static inline struct xlx__hostdev_action
xlx__hostdev_do(enum xlx__hostdev_step step, const char *why)
{
    return (struct xlx__hostdev_action){ .step = step, .why = why };
}
#define XLX__HOSTDEV_LEAVE (struct xlx__hostdev_action){ .why = NULL }

/* ---- hostdev-patience.c ------------------------------------------------- */

/* One thing that failed. */
struct xlx__hostdev_tried {
    char *key;                      /* the device's place in the guest */
    char *facts;                    /* the situation in which it failed */
    unsigned int failures;          /* one after the other, in that */
    int64_t next;                   /* not before that */
    bool seen;                      /* in this look */
};

/* A watcher's; commands have none, a NULL, and try everything at once. */
struct xlx__hostdev_patience {
    struct xlx__hostdev_tried *list;
    int num;
    int64_t deadline;               /* of this look */
    int64_t next;                   /* the first thing to be tried later */
};
/* Around each look: an entry that it did not ask for is forgotten. */
void xlx__hostdev_patience_begin(struct xlx__hostdev_patience *p,
                                 int64_t deadline);
void xlx__hostdev_patience_end(struct xlx__hostdev_patience *p);
void xlx__hostdev_patience_dispose(struct xlx__hostdev_patience *p);
/* Is it time?  It always is when the facts are not those of the failure: the
 * device was plugged in again, or the guest was started again. */
bool xlx__hostdev_may_try(struct xlx__hostdev_patience *p, const char *key,
                          const char *facts);
void xlx__hostdev_tried(struct xlx__hostdev_patience *p, const char *key,
                        const char *facts, bool failed);
/* Something that is not to be tried yet, whatever the facts. */
void xlx__hostdev_put_off(struct xlx__hostdev_patience *p);
/* When to give up a step that has until usual in a command. */
int64_t xlx__hostdev_deadline(const struct xlx__hostdev_patience *p,
                              int64_t usual);
/* How long to wait after so many failures. */
int64_t xlx__hostdev_backoff(unsigned int failures);

/* ---- hostdev-watch.c ---------------------------------------------------- */

/* A watcher gives this to a look. */
struct xlx__hostdev_look {
    const xlx_guest *guest;         /* as last seen: what has changed since is
                                     * for the next look */
    bool gone;                      /* nothing runs it, and that is not a
                                     * reboot */
    struct xlx__lock *lock;         /* the watcher's */
    struct xlx__hostdev_patience *patience;
    xlx_repair_report *report;
};

struct xlx__hostdev_watch {
    const char *name;               /* "scsi"; of the lock */
    /* look also when the kernel or udev has said something of one of these;
     * ends with a NULL */
    const char *const *subsystems;
    /* Repairs what the guest has lost.  *left_r says whether there is
     * something left to watch; when not, the watcher's lock is released while
     * the guest's lock is held: a command that attaches after that finds it
     * free, and one that attached before has been seen. */
    int (*look)(xlx_ctx *ctx, const struct xlx__hostdev_look *l,
                bool *left_r);
};
/* Until nothing is left to watch: what fails is shown (hostdev-health.c) and
 * tried again.  One watcher a guest, else ERROR_LOCK_FAIL. */
int xlx__hostdev_watch(xlx_ctx *ctx, const xlx_guest *guest,
                       const struct xlx__hostdev_watch *how);

/* ---- hostdev-health.c --------------------------------------------------- */

/* A guest's watcher, and what it could not do. */
struct xlx__hostdev_health {
    bool alive;                     /* there is one */
    pid_t pid;                      /* 0 when that cannot be found out */
    int64_t since, last;            /* seconds since 1970 */
    unsigned int times;             /* that it failed, since then */
    char error[XLX__ERROR_SIZE];    /* "" when all is well */
};
/* Looks; name is "scsi" or "usb".  No watcher is
 * not an error. */
int xlx__hostdev_health(xlx_ctx *ctx, const char *name,
                        const libxl_uuid *uuid,
                        struct xlx__hostdev_health *health);
/* The watcher's own part: into the file of the lock that it holds.  Its pid is
 * that of the caller. */
void xlx__hostdev_health_write(const struct xlx__lock *lock,
                               const struct xlx__hostdev_health *health);
/* That file; NULL when memory is short. */
char *xlx__hostdev_watch_path(xlx_ctx *ctx, const char *name,
                              const libxl_uuid *uuid);

/* ---- hostdev-boot.c ----------------------------------------------------- */

/* Identifies this start of the host; LIBXLX_BOOT_ID for tests. */
int xlx__hostdev_boot(char **boot_r);
/* Was that recorded before this start of the host, or by a version that did
 * not record it? */
bool xlx__hostdev_is_earlier(const char *recorded, const char *boot);
/* Sets *domid, recorded since this start, to XLX_DOMID_NONE when a domain with
 * that number runs and is not known to be the guest's: nothing may be done to
 * it.  One that has gone stays, because it may have left something. */
int xlx__hostdev_check_domain(xlx_ctx *ctx, const libxl_uuid *uuid,
                              uint32_t *domid);
/* ---- hostdev-watcher.c -------------------------------------------------- */

/* name is "scsi" or "usb"; needed: the guest runs and has devices that are to
 * come back.  *w is initialised. */
int xlx__hostdev_watcher(xlx_ctx *ctx, const char *name,
                         const xlx_guest *guest, bool needed, xlx_watcher *w);

/* ---- hostdev-identity.c ------------------------------------------------- */

/* The words of a device about itself, and its place.  Texts are not NULL; ""
 * and 0 are for what is not known. */
struct xlx__hostdev_identity {
    const char *id;                 /* "KIND VALUE", see scsi_entry */
    const char *serial, *vendor, *model, *type;
    uint64_t size;
    const char *place;              /* an address or a path */
    bool offline;                   /* it is there, and does not work */
};

enum xlx__hostdev_same {            /* the surest first */
    XLX__HOSTDEV_SAME,
    XLX__HOSTDEV_UNSURE,
    XLX__HOSTDEV_OTHER,
};
/* same_boot: was is of this start of the host. */
enum xlx__hostdev_same
xlx__hostdev_compare(const struct xlx__hostdev_identity *was,
                     const struct xlx__hostdev_identity *is, bool same_boot);

enum xlx__hostdev_choice {
    XLX__HOSTDEV_NONE,
    XLX__HOSTDEV_FOUND,             /* *best_r; of several paths one that
                                     * works, if possible the one it had */
    XLX__HOSTDEV_OFFLINE,           /* *best_r and all paths to it */
    XLX__HOSTDEV_AMBIGUOUS,         /* *best_r and, unless -1, *other_r */
};
/* Which of the devices that there are is it? */
enum xlx__hostdev_choice
xlx__hostdev_choose(const struct xlx__hostdev_identity *was,
                    const struct xlx__hostdev_identity *list, int num,
                    bool same_boot, int *best_r, int *other_r);
/* Is the wwid of sysfs the one that udev's scsi_id writes like that?  naa.X is
 * 3X there, eui.X 2X, t10.X 1X, and '_' stands for each run of spaces. */
bool xlx__hostdev_is_scsi_id(const char *wwid, const char *id);

/* ---- hostdev-owner.c ---------------------------------------------------- */

struct xlx__hostdev_search {
    const char *file;               /* of the record: "scsi.json" */
    /* Looks in the record of that guest; ERROR_NOTFOUND without a message to
     * go on. */
    int (*search)(xlx_ctx *ctx, const xlx_guest *guest, void *user);
    /* Does the text of a record that cannot be read name the device? */
    bool (*names_device)(const char *text, void *user);
    void *user;
};
/* Calls search for each guest of which there are records, except (may be NULL)
 * aside, until it returns something else than ERROR_NOTFOUND.  ERROR_NOTFOUND
 * without a message when none has it. */
int xlx__hostdev_search(xlx_ctx *ctx, const libxl_uuid *except,
                        const struct xlx__hostdev_search *how);

#endif

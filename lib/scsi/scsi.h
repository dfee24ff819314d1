/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the files of the concept.
 *
 *   scsi-address.c   H:C:T:L; the user's names for devices
 *   scsi-unit.c      the devices of the host
 *   scsi-identity.c  which of them is the recorded one
 *   scsi-use.c       the part of the host that uses one
 *   scsi-target-name.c  names of targets, and which are there
 *   scsi-module.c    modules of the kernel
 *   scsi-target.c    the target in configfs
 *   scsi-lun.c       the devices in xenstore, and their states
 *   scsi-bus.c       putting them there, waiting, taking them off
 *   scsi-record.c    the record, which is also the journal
 *   scsi-host.c      addresses for all devices of a host adapter
 *   scsi.c           attach
 *   scsi-detach.c    detach
 *   scsi-list.c      list
 *   scsi-aside.c     set aside
 *   scsi-plan.c      what a repair is to do
 *   scsi-repair.c    finish, take back, tidy up
 *   scsi-again.c     attach again
 *   scsi-mend.c      make a target again that another tool removed
 *   scsi-look.c      is the device still on the host?
 *   scsi-watch.c     doing that whenever the guest is started or ends
 */
#ifndef XLX_SCSI_H
#define XLX_SCSI_H

#include "core/internal.h"
#include "core/lock.h"
#include "gen-calls.h"
#include "gen-records.h"
#include "guest/device.h"
#include "hostdev/hostdev-use.h"
#include "hostdev/hostdev.h"

/* ---- scsi-address.c ----------------------------------------------------- */

struct xlx__scsi_hctl {
    uint32_t host, channel, target;
    uint64_t lun;
};
#define XLX__SCSI_HCTL_MAX 64       /* of its text */

/* Exactly four numbers; false when it is not. */
bool xlx__scsi_parse_hctl(const char *text, struct xlx__scsi_hctl *hctl_r);
const char *xlx__scsi_format_hctl(const struct xlx__scsi_hctl *hctl,
                                  char buf[XLX__SCSI_HCTL_MAX]);
/* The same within the limits of the guest's driver; ERROR_INVAL. */
int xlx__scsi_parse_vdev(const char *text, struct xlx__scsi_hctl *vdev_r);
/* And as digits, "0:0:1:0" for "0:0:01:0". */
int xlx__scsi_normal_vdev(const char *text, struct xlx__scsi_hctl *vdev_r,
                          char buf[XLX__SCSI_HCTL_MAX]);
/* The number of an adapter alone; false when it is none. */
bool xlx__scsi_parse_adapter(const char *text, uint32_t *number_r);

enum xlx__scsi_spelling {
    XLX__SCSI_BY_HCTL, XLX__SCSI_BY_PATH, XLX__SCSI_BY_ID, XLX__SCSI_TARGET,
};
/* Which spelling it is, from the text alone; ERROR_INVAL when it is none.  For
 * HCTL and TARGET *hctl_r is filled in, of the latter lun only. */
int xlx__scsi_spelling(const char *pdev, enum xlx__scsi_spelling *spelling_r,
                       struct xlx__scsi_hctl *hctl_r);

/* ---- scsi-unit.c -------------------------------------------------------- */

/* A device of the host. */
struct xlx__scsi_pdev {
    xlx_scsi_unit unit;
    struct xlx__scsi_hctl hctl;     /* when unit.hctl is not empty */
    char *identity;                 /* see scsi_entry in the IDL */
    char *block;                    /* its name in /sys/class/block, or "" */
    char *serial;                   /* or the birth of a file; "" for none */
    uint64_t size;                  /* 0 for none */
    bool offline;                   /* the kernel does not use it */
    char *target;                   /* naa.X of the target of another, or "" */
    uint32_t lun;                   /* in that */
};
void xlx__scsi_pdev_init(struct xlx__scsi_pdev *p);
void xlx__scsi_pdev_dispose(struct xlx__scsi_pdev *p);

/* Finds it; ERROR_NOTFOUND, or ERROR_INVAL for a name that is not of a device.
 */
int xlx__scsi_find(const char *pdev, struct xlx__scsi_pdev *p);
/* The disk with that partition, or the device itself when it is not a
 * partition; ERROR_NOTFOUND when it is not a device. */
int xlx__scsi_find_whole(const char *path, struct xlx__scsi_pdev *p);
/* A SCSI device by its address. */
int xlx__scsi_find_hctl(const struct xlx__scsi_hctl *hctl,
                        struct xlx__scsi_pdev *p);
/* The kind and the value of an identity, "KIND VALUE"; NONE and "" when it is
 * not one.  The value lives as long as the text. */
xlx_scsi_identity xlx__scsi_identity_kind(const char *identity,
                                          const char **value_r);
/* A disk or map that is not a SCSI device, by its name in /sys/class/block. */
int xlx__scsi_set_block(struct xlx__scsi_pdev *p, const char *name);
/* Addresses of all SCSI devices, in order; free() *list_r. */
int xlx__scsi_units(struct xlx__scsi_hctl **list_r, int *num_r);

/* ---- scsi-identity.c ---------------------------------------------------- */

/* Identity, serial number, model and size of one that is not a SCSI device. */
int xlx__scsi_describe_block(struct xlx__scsi_pdev *p, const char *name);
uint64_t xlx__scsi_block_size(const char *name);
/* May both be one device? */
bool xlx__scsi_may_be(const struct xlx__scsi_pdev *a,
                      const struct xlx__scsi_pdev *b);
/* May it be the device of the entry? */
bool xlx__scsi_is_entrys(const xlx_scsi_entry *e, const char *boot,
                         const struct xlx__scsi_pdev *p);
/* Notes in the entry what the device is, and where. */
int xlx__scsi_note_device(xlx_scsi_entry *e, const struct xlx__scsi_pdev *p);
/* Its device was not found since the host was started: another one may be at
 * the address that it had. */
int xlx__scsi_forget_place(xlx_scsi_entry *e);
/* Finds the entry's device wherever it is now.  ERROR_NOTFOUND, or ERROR_INVAL
 * when several could be it, or one could be another. */
int xlx__scsi_find_again(const xlx_scsi_entry *e, const char *boot,
                         struct xlx__scsi_pdev *p);

/* ---- scsi-use.c --------------------------------------------------------- */

/* Which guest has it, as an ordinary disk or by USB, for a message; *use_r
 * stays as it is when none has.  readonly: we would not write to it. */
int xlx__scsi_guest_use(struct xlx__hostdev_world *world,
                        const struct xlx__scsi_pdev *p, bool readonly,
                        char **use_r);
/* The same of the part of this host that uses it.  shared: our target has it
 * for another guest. */
int xlx__scsi_host_use(struct xlx__hostdev_world *world,
                       const struct xlx__scsi_pdev *p, bool shared,
                       bool patient, char **use_r);
/* Both of the device of an entry, and of other paths to it;
 * ERROR_DEVICE_EXISTS. */
struct xlx__scsi_change;
int xlx__scsi_check_use(struct xlx__scsi_change *c, const xlx_scsi_entry *e,
                        const struct xlx__scsi_pdev *p, bool shared);

/* ---- scsi-target-name.c ------------------------------------------------- */

/* Fills in backstore, target and lun of the entry, all derived from the guest
 * and the vdev; kind is not AUTO. */
int xlx__scsi_target_name(const libxl_uuid *uuid,
                          const struct xlx__scsi_hctl *vdev,
                          xlx_scsi_entry *entry);
/* Gives the target of an entry the name of this version, when nothing of it is
 * there: an earlier one may have written the record. */
int xlx__scsi_target_rename(const libxl_uuid *uuid, xlx_scsi_entry *entry);
/* Guest and vdev out of the name of a backstore; false for a name of
 * another. */
bool xlx__scsi_target_parse(const char *name, libxl_uuid *uuid,
                            struct xlx__scsi_hctl *vdev);
uint64_t xlx__scsi_target_hash(const char *text);
/* Their directories, the caller's; NULL when memory is short. */
char *xlx__scsi_target_tpg(const xlx_scsi_entry *entry);
char *xlx__scsi_target_lun(const xlx_scsi_entry *entry);
/* The backstore that a directory lun_L leads to, "KIND_N/NAME", and the path
 * of the link; ERROR_NOTFOUND without a message when it leads nowhere. */
int xlx__scsi_target_link(const char *lun, char **backstore_r, char **link_r);
/* 1 when the LUN of somebody's target leads to a backstore that this library
 * made, and for which guest; 0 when it does not. */
int xlx__scsi_target_guest(const xlx_scsi_entry *entry, libxl_uuid *uuid);
/* Backstores that this library made, and copies of them that another tool
 * made: an entry each, with dev.vdev, backstore, target and lun, and the guest
 * in uuids_r[i].  free() both after disposing of the entries. */
int xlx__scsi_target_ours(xlx_scsi_entry **entries_r, libxl_uuid **uuids_r,
                          int *num_r);
/* Directories in target/core, other than its own, that have one with the name
 * of this backstore; free() the one block. */
int xlx__scsi_target_copies(const char *backstore, char ***copies_r,
                            int *num_r);

/* ---- scsi-module.c ------------------------------------------------------ */

/* Loads the modules of the kernel that are needed and not there. */
int xlx__scsi_target_modules(xlx_ctx *ctx, xlx_scsi_backstore kind);

/* ---- scsi-target.c ------------------------------------------------------ */

/* Makes what the entry names; what is there already is kept. */
int xlx__scsi_target_make(xlx_ctx *ctx, const xlx_scsi_entry *entry,
                          const struct xlx__scsi_pdev *p);
/* Removes what "targetctl restore" has made again of the entry's backstore
 * from its file: it is of the device that had that path at that moment, which
 * may be another one, and it holds that device. */
int xlx__scsi_target_remove_copies(const xlx_scsi_entry *entry);
/* Does the LUN lead to the entry's backstore, and has the target a nexus? */
int xlx__scsi_target_check(const xlx_scsi_entry *entry);
/* Removes it as far as it is there and ours; a backstore that another guest
 * also uses stays. */
int xlx__scsi_target_remove(xlx_ctx *ctx, const xlx_scsi_entry *entry);

/* ---- scsi-lun.c --------------------------------------------------------- */

/* One LUN in xenstore. */
struct xlx__scsi_lun {
    char *name;                     /* dev-N */
    struct xlx__scsi_hctl vdev;
    /* these only after xlx__scsi_lun_read() */
    char *pdev;                     /* naa.X:L */
    xlx_xenbus_state backend, frontend;
};
#define XLX__SCSI_NAME_MAX 32       /* of its name */
void xlx__scsi_lun_dispose(struct xlx__scsi_lun *lun);
void xlx__scsi_luns_free(struct xlx__scsi_lun *luns, int num);

/* Names and addresses of all LUNs of an adapter, a request each; what cannot
 * be read as one is left out. */
int xlx__scsi_luns(xlx_ctx *ctx, xs_transaction_t t,
                   const struct xlx__device *dev,
                   struct xlx__scsi_lun **luns_r, int *num_r);
/* The rest of one of them, three requests. */
int xlx__scsi_lun_read(xlx_ctx *ctx, xs_transaction_t t,
                       const struct xlx__device *dev,
                       struct xlx__scsi_lun *lun);
/* All of the one at that address; four requests when it has the name that
 * attaching gives it.  ERROR_NOTFOUND; dispose of it, also after a failure. */
int xlx__scsi_lun_find(xlx_ctx *ctx, xs_transaction_t t,
                       const struct xlx__device *dev,
                       const struct xlx__scsi_hctl *vdev,
                       struct xlx__scsi_lun *lun);
/* The name that attaching gives to a LUN at that address: the nth is for when
 * those before it are taken. */
const char *xlx__scsi_lun_name(const struct xlx__scsi_hctl *vdev, int nth,
                               char buf[XLX__SCSI_NAME_MAX]);

/* Both ends of an adapter, and its LUNs as from xlx__scsi_luns(); dispose of
 * it, also after a failure. */
struct xlx__scsi_bus {
    xlx_xenbus_state backend, frontend;
    struct xlx__scsi_lun *luns;
    int num;
};
int xlx__scsi_bus_read(xlx_ctx *ctx, xs_transaction_t t,
                       const struct xlx__device *dev,
                       struct xlx__scsi_bus *bus);
/* The same without the LUNs. */
int xlx__scsi_bus_states(xlx_ctx *ctx, xs_transaction_t t,
                         const struct xlx__device *dev,
                         struct xlx__scsi_bus *bus);
void xlx__scsi_bus_dispose(struct xlx__scsi_bus *bus);
/* The LUN that the guest has there; NULL when there is none. */
struct xlx__scsi_lun *xlx__scsi_bus_lun(const struct xlx__scsi_bus *bus,
                                        const struct xlx__scsi_hctl *vdev);
/* The adapter of an entry; dispose of it, also after a failure. */
int xlx__scsi_adapter(const xlx_scsi_entry *entry, struct xlx__device *dev);
/* Finds the LUN that the guest has at the address of an entry; no message.
 * Dispose of it after success. */
int xlx__scsi_entry_lun(xlx_ctx *ctx, const xlx_scsi_entry *entry,
                        struct xlx__scsi_lun *lun);
/* Calls step for each adapter of these entries, with those that are on it. */
int xlx__scsi_each_adapter(const xlx_scsi_entry *const *entries, int num,
                           int (*step)(const xlx_scsi_entry *const *entries,
                                       int num, void *user),
                           void *user);

/* ---- scsi-bus.c --------------------------------------------------------- */

/* Puts the LUNs of these entries on the adapter, all of which have its number,
 * and makes it if it is not there. */
int xlx__scsi_bus_add(xlx_ctx *ctx, const struct xlx__device *dev,
                      const xlx_scsi_entry *const *entries, int num,
                      int64_t deadline);
/* Waits until each of them is connected at both ends. */
int xlx__scsi_bus_wait(xlx_ctx *ctx, const struct xlx__device *dev,
                       const xlx_scsi_entry *const *entries, int num,
                       bool no_wait, int64_t deadline);
/* Is it at this moment?  Changes nothing. */
bool xlx__scsi_bus_is_connected(xlx_ctx *ctx, const struct xlx__device *dev,
                                const xlx_scsi_entry *entry);
/* A guest that was suspended when the adapter was made does not look for it:
 * it only hears of later writes.  Writes until it has taken it; a guest
 * without a driver is not an error. */
int xlx__scsi_bus_wake(xlx_ctx *ctx, const struct xlx__device *dev,
                       int64_t deadline);
/* Takes the LUNs that lead to these entries' targets off, all at once, and the
 * adapter with the last one or when the guest has gone.  0 when they are off,
 * or never were on. */
int xlx__scsi_bus_remove(xlx_ctx *ctx, const struct xlx__device *dev,
                         const xlx_scsi_entry *const *entries, int num,
                         int64_t deadline);

/* ---- scsi-record.c ------------------------------------------------------ */

/* One change to a guest's devices: the lock is held, the record is read, what
 * a killed command left is in order. */
struct xlx__scsi_change {
    xlx_ctx *ctx;
    xlx_guest guest;
    struct xlx__lock lock;
    xlx_scsi_record record;
    char *boot;                     /* this start of the host */
    struct xlx__hostdev_world *world;   /* NULL until something needs it */
    struct xlx__hostdev_patience *patience;     /* a watcher's, or NULL */
};
/* The lock and the record; end() also after a failure. */
int xlx__scsi_open(xlx_ctx *ctx, const xlx_guest *guest,
                   struct xlx__scsi_change *c);
void xlx__scsi_end(struct xlx__scsi_change *c);
/* A record without entries is removed. */
int xlx__scsi_record_write(struct xlx__scsi_change *c);
/* Reads a record: what was done to a domain before this start of the host is
 * gone, and counts as done to none. */
int xlx__scsi_record_read(xlx_ctx *ctx, const libxl_uuid *uuid,
                          const char *boot, xlx_scsi_record *record);
/* Notes the domain that the entry is attached to from now on. */
int xlx__scsi_entry_is_on(struct xlx__scsi_change *c, xlx_scsi_entry *e,
                          uint32_t domid);
/* Notes that the guest was there since this start of the host: when it has
 * ended, its devices are free. */
int xlx__scsi_note_boot(struct xlx__scsi_change *c);
xlx_scsi_entry *xlx__scsi_entry(const xlx_scsi_record *record,
                                const char *vdev);
int xlx__scsi_entry_append(struct xlx__scsi_change *c,
                           const xlx_scsi_entry *entry);
void xlx__scsi_entry_drop(struct xlx__scsi_change *c, const char *vdev);
/* Set aside, and nothing of it is left anywhere but in the record. */
bool xlx__scsi_is_aside(const xlx_scsi_entry *entry);
/* Finds the guest that has the device, and the entry of its record.
 * ERROR_NOTFOUND, without a message, when nobody has it. */
int xlx__scsi_owner(xlx_ctx *ctx, const struct xlx__scsi_pdev *p,
                    xlx_scsi_entry *entry_r, xlx_guest *guest_r);
/* The same by the name of the backstore that the entry uses. */
int xlx__scsi_backstore_owner(xlx_ctx *ctx, const char *backstore,
                              xlx_scsi_entry *entry_r, xlx_guest *guest_r);

/* ---- scsi-host.c -------------------------------------------------------- */

/* A device of a host adapter that is given to a guest as a whole. */
struct xlx__scsi_host_dev {
    struct xlx__scsi_hctl hctl;     /* on the host */
    const char *type;               /* of the scsi_unit */
    bool placed;
    struct xlx__scsi_hctl vdev;     /* when placed */
    const char *why;                /* it is not; else NULL */
};
/* Decides about each of them; looks at nothing else. */
void xlx__scsi_place_all(struct xlx__scsi_host_dev *devs, int num);

/* ---- scsi.c ------------------------------------------------------------- */

/* When to give up on num devices. */
int64_t xlx__scsi_deadline(const xlx_scsi_wait *wait, int num);
/* Attaches what the entries describe, all of which are in the record: target,
 * xenstore, wait.  Takes back nothing. */
int xlx__scsi_connect(xlx_ctx *ctx, const xlx_scsi_entry *const *entries,
                      const struct xlx__scsi_pdev *pdevs, int num,
                      bool no_wait, int64_t deadline);
/* The other way round, for entries of one adapter; a missing device is not an
 * error. */
int xlx__scsi_disconnect(xlx_ctx *ctx, const xlx_scsi_entry *const *entries,
                         int num, int64_t deadline);

/* ---- scsi-look.c -------------------------------------------------------- */

/* Where the device of an entry is, seen from where it was. */
enum xlx__scsi_place {
    XLX__SCSI_UNSEEN,               /* cannot be found out, or never moves */
    XLX__SCSI_SAME,
    XLX__SCSI_OFFLINE,              /* there, and the kernel has lost it */
    XLX__SCSI_MOVED,                /* at another address, or there again */
    XLX__SCSI_GONE,
};
enum xlx__scsi_place xlx__scsi_look(const xlx_scsi_entry *e,
                                    const char *boot);
/* Notes which one it is of those that come and go at an address. */
int xlx__scsi_note_instance(xlx_scsi_entry *e,
                            const struct xlx__scsi_pdev *p);
/* ERROR_NOTFOUND when what was just found is not there any more. */
int xlx__scsi_check_place(const xlx_scsi_entry *e);

/* ---- scsi-plan.c -------------------------------------------------------- */

/* The facts about one entry's device. */
struct xlx__scsi_seen {
    bool works;                     /* connected at both ends, to its target */
    bool there;                     /* the guest has it in xenstore */
    bool earlier;                   /* the guest was not there since the host
                                     * was started; looked at always */
    enum xlx__scsi_place place;     /* on the host */
};
/* Does the plan depend on it?  For RECOVER that is works, else there. */
bool xlx__scsi_must_look(enum xlx__hostdev_stage stage,
                         const xlx_scsi_entry *e, uint32_t domid);
/* And on its place? */
bool xlx__scsi_must_look_host(enum xlx__hostdev_stage stage,
                              const xlx_scsi_entry *e, uint32_t domid);
/* An action for each entry of the record of a guest that runs as domid, or as
 * none; seen has one element each as well. */
void xlx__scsi_plan(enum xlx__hostdev_stage stage,
                    const xlx_scsi_record *record, uint32_t domid,
                    const struct xlx__scsi_seen *seen,
                    struct xlx__hostdev_action *actions);

/* ---- scsi-repair.c ------------------------------------------------------ */

/* A repair that is going on; report may be NULL. */
struct xlx__scsi_repair {
    struct xlx__scsi_change *c;
    bool dry_run;
    xlx_repair_report *report;
    struct xlx__hostdev_action *actions;    /* one for each entry */
    struct xlx__scsi_seen *seen;            /* and what they go by */
};
/* When to give up a step for so many devices. */
int64_t xlx__scsi_step_deadline(const struct xlx__scsi_repair *r, int num);
/* The reason is in the library's message when it was not done. */
int xlx__scsi_report(const struct xlx__scsi_repair *r, const char *vdev,
                     const char *what, const char *done, int failed);
/* An entry that a step of the plan is for, to be changed. */
xlx_scsi_entry *xlx__scsi_same_entry(const struct xlx__scsi_repair *r,
                                     const xlx_scsi_entry *e);

/* Finishes or takes back what a killed command left. */
int xlx__scsi_recover(struct xlx__scsi_change *c, bool dry_run,
                      xlx_repair_report *report);
/* And attaches again or removes what the guest's restart or end has left. */
int xlx__scsi_settle(struct xlx__scsi_change *c, bool dry_run,
                     xlx_repair_report *report);

/* ---- scsi-again.c ------------------------------------------------------- */

/* The guest runs: it gets what it has lost, and what was set aside.  The list
 * is changed. */
int xlx__scsi_attach_missing(struct xlx__scsi_repair *r,
                           const xlx_scsi_entry **list, int num);
/* A guest does not look for what came while it was suspended. */
int xlx__scsi_wake_guest(struct xlx__scsi_change *c);

/* ---- scsi-mend.c -------------------------------------------------------- */

/* Has another tool removed the target of a device that the guest, which runs
 * as domid, has? */
bool xlx__scsi_target_is_lost(const xlx_scsi_entry *e, uint32_t domid);
/* Makes these again, under the running guest. */
int xlx__scsi_mend_targets(struct xlx__scsi_repair *r);

#endif

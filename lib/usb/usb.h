/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the files of the concept.
 *
 *   usb-selector.c   the user's names for devices
 *   usb-socket.c     where a device is plugged in, in words that last
 *   usb-node.c       the device that a file of the host leads to
 *   usb-host.c       the devices of the host
 *   usb-identity.c   which of them is the recorded one
 *   usb-keyboard.c   which of them the administrator types on
 *   usb-use.c        the part of the host that uses one
 *   usb-keep.c       keeping devices from the host's drivers
 *   usb-keep-rule.c  the rules of udev for that
 *   usb-policy.c     which of them guests may have
 *   usb-port.c       controllers and ports of guests, in xenstore
 *   usb-record.c     the record, which is also the journal
 *   usb-qemu.c       starting one
 *   usb-backend.c    the QEMU that serves a guest
 *   usb-place.c      which port of which controller
 *   usb-ctrl.c       controllers, made and removed
 *   usb-bus.c        putting devices on ports, and taking them off
 *   usb.c            attach and detach
 *   usb-list.c       list
 *   usb-tree.c       the parts of the host's USB that guests have as a whole
 *   usb-tree-name.c  the user's names for them
 *   usb-tree-scan.c  attaching the devices there
 *   usb-aside.c      set aside
 *   usb-plan.c       what a repair is to do
 *   usb-repair.c     finish, take back, attach again, tidy up
 *   usb-watch.c      doing that whenever something is plugged in or restarted
 */
#ifndef XLX_USB_H
#define XLX_USB_H

#include <sys/types.h>

#include "core/internal.h"
#include "core/lock.h"
#include "gen-calls.h"
#include "gen-records.h"
#include "hostdev/hostdev-use.h"
#include "hostdev/hostdev.h"

#define XLX__USB_ANY 256            /* any subclass or protocol */

/* ---- usb-selector.c ----------------------------------------------------- */

/* As a user would write it; the caller's to free, NULL when memory is
 * short. */
char *xlx__usb_selector_text(const xlx_usb_selector *s);
/* Does the device answer to it?  Never for SYSFS, which xlx__usb_find looks
 * up. */
bool xlx__usb_selector_matches(const xlx_usb_selector *s,
                               const xlx_usb_host_device *d);
/* "storage"; NULL for a class without a name. */
const char *xlx__usb_class_name(uint32_t device_class, uint32_t subclass,
                                uint32_t protocol);

/* ---- usb-socket.c ------------------------------------------------------- */

/* The name of a device of the host's PCI, "0000:00:14.0"? */
bool xlx__usb_is_pci(const char *name, size_t len);
/* Do both paths lead to one socket, at whatever speed? */
bool xlx__usb_same_socket(const char *a, const char *b);
/* Does the path lead to the one that a SOCKET selector names? */
bool xlx__usb_in_socket(const xlx_usb_selector *s, const char *path);
/* The socket of a path as a SOCKET selector, which stays when the host boots
 * and numbers its buses in another order; "" when its controller has no such
 * name.  *socket_r is replaced. */
int xlx__usb_socket(const char *path, char **socket_r);

/* The same of the one that a PATH or SOCKET selector names, also when nothing
 * is plugged in there; an error when it means none, or two. */
int xlx__usb_named_socket(const xlx_usb_selector *s, char **socket_r);
/* The controller of a bus, "pci-0000:00:14.0"; *name_r is replaced. */
int xlx__usb_controller(uint32_t bus, char **name_r);
/* Several sockets, each as xlx__usb_socket() has it. */
struct xlx__usb_sockets {
    char **list;
    int num;
};
void xlx__usb_sockets_dispose(struct xlx__usb_sockets *sockets);
/* Takes the text, also when that fails; NULL is an error of its own. */
int xlx__usb_sockets_add(struct xlx__usb_sockets *sockets, char *text);
/* Adds those of all ports of a controller, of both speeds. */
int xlx__usb_sockets_of(const char *controller,
                        struct xlx__usb_sockets *sockets);

/* The ports that are one socket, as sysfs calls controller and ports. */
struct xlx__usb_place {
    uint32_t bus, revision;
    char controller[128], ports[48];
};
struct xlx__usb_places {
    struct xlx__usb_place list[3];
    int num;
};
int xlx__usb_places(const char *path, struct xlx__usb_places *places);

/* ---- usb-node.c --------------------------------------------------------- */

/* Replaces a SYSFS selector by the PATH that it leads to. */
int xlx__usb_resolve(xlx_usb_selector *s);

/* ---- usb-host.c --------------------------------------------------------- */

/* All of the kernel's devices, root hubs among them; used_by and denied are
 * not filled in. */
int xlx__usb_devices(xlx_usb_host_devices *list);
/* The one device that answers to it, in a list; ERROR_NOTFOUND, or
 * ERROR_INVAL when there are several, which the message names. */
int xlx__usb_pick(const xlx_usb_host_devices *list, const xlx_usb_selector *s,
                  const xlx_usb_host_device **d_r);
/* The device with that path; NULL when it is not there, or path is NULL, as of
 * one that was never plugged in. */
const xlx_usb_host_device *
xlx__usb_by_path(const xlx_usb_host_devices *list, const char *path);
/* "1-2 (0951:1666 DataTraveler)", for messages. */
#define XLX__USB_TITLE_MAX 160
const char *xlx__usb_title(const xlx_usb_host_device *d,
                           char buf[XLX__USB_TITLE_MAX]);
bool xlx__usb_is_hub(const xlx_usb_host_device *d);
/* The node with which programs open it, with LIBXLX_DEV_DIR for tests. */
char *xlx__usb_node(const xlx_usb_host_device *d);

/* ---- usb-keyboard.c ----------------------------------------------------- */

/* Fills in keyboard of each device of the list, which are all of them. */
int xlx__usb_find_keyboards(xlx_usb_host_devices *list);

/* ---- usb-use.c ---------------------------------------------------------- */

/* Which guest has its disk, for a message; *use_r stays as it is when none
 * has. */
int xlx__usb_disk_use(struct xlx__hostdev_world *world,
                      const xlx_usb_host_device *d, char **use_r);
/* The same of the part of this host that uses it.  own: the guest's QEMU. */
int xlx__usb_host_use(struct xlx__hostdev_world *world,
                      const xlx_usb_host_device *d, pid_t own, bool patient,
                      char **use_r);
/* ERROR_DEVICE_EXISTS when this host uses it. */
int xlx__usb_check_host(xlx_ctx *ctx, struct xlx__hostdev_world *world,
                        const xlx_guest *guest, const xlx_usb_host_device *d);

/* ---- usb-keep-rule.c ---------------------------------------------------- */

/* Before the selector of a device, and before each of its rules. */
#define XLX__USB_KEPT_MARK "# kept: "
#define XLX__USB_KEPT_RULE "ACTION==\"add\", SUBSYSTEM==\"usb\", " \
    "ENV{DEVTYPE}==\"usb_interface\", DRIVER!=\"usbfs\", "
/* The selector by which a device is kept, as in a record of a guest, and its
 * mark and rules. */
int xlx__usb_keep_rules(const xlx_usb_selector *s,
                        const xlx_usb_host_device *d, char **selector_r,
                        char **rules_r);

/* ---- usb-keep.c --------------------------------------------------------- */

/* The selector by which it is kept from the host's drivers, "" when it is not;
 * *selector_r is replaced. */
int xlx__usb_kept_by(const xlx_usb_host_device *d, char **selector_r);
/* Lets a program, QEMU, have a device that is kept; no driver comes. */
int xlx__usb_lend(const xlx_usb_host_device *d, bool *kept_r);
/* The program has given it back. */
int xlx__usb_keep_again(const xlx_usb_host_device *d, bool *kept_r);

/* ---- usb-policy.c ------------------------------------------------------- */

/* Why the rules do not give it to guests, "" when they do; *denied_r is
 * replaced. */
int xlx__usb_judge(const xlx_usb_policy *policy,
                   const xlx_usb_host_device *d, char **denied_r);

/* ---- usb-port.c --------------------------------------------------------- */

/* The directory that has a controller's port/N; free() it. */
int xlx__usb_ctrl_dir(xlx_ctx *ctx, uint32_t domid, uint32_t devid,
                      xlx_usb_type *type_r, char **dir_r);
/* Controllers of a domain, with the ports that have a path. */
int xlx__usb_ctrls(xlx_ctx *ctx, uint32_t domid, xlx_usb_ctrls *list);
/* The controller of an entry, added to the list when it is not in it; NULL,
 * with the error set, when memory is short. */
xlx_usb_ctrl *xlx__usb_ctrl_of(xlx_usb_ctrls *list, const xlx_usb_entry *e);
/* The numbers of all domains in xenstore; free() *domids_r. */
int xlx__usb_domains(xlx_ctx *ctx, uint32_t **domids_r, int *num_r);
/* Which domain's port has the device with that path; ERROR_NOTFOUND without a
 * message when none has. */
int xlx__usb_holder(xlx_ctx *ctx, const char *path, uint32_t *domid_r,
                    uint32_t *ctrl_r, uint32_t *port_r);

/* ---- usb-qemu.c --------------------------------------------------------- */

/* Starts a QEMU that outlives this process, and a parent for it, which keeps
 * the last of what it says in that file. */
int xlx__usb_qemu_run(const char *const *argv, const char *log, pid_t *pid_r);

/* ---- usb-backend.c ------------------------------------------------------ */

/* Has the domain a QEMU that runs? */
bool xlx__usb_backend_runs(xlx_ctx *ctx, uint32_t domid);
/* Starts one for paravirtual controllers, unless there is one. */
int xlx__usb_backend_start(xlx_ctx *ctx, uint32_t domid,
                           const struct xlx__hostdev_patience *patience);
/* Judges rc, the result of asking it: a busy QEMU is not a failure, and one
 * that has ended is a failure with its last words, if they are known. */
int xlx__usb_backend_check(xlx_ctx *ctx, const xlx_guest *guest, int rc);
/* Ends it, if it was started here. */
void xlx__usb_backend_stop(xlx_ctx *ctx, uint32_t domid);
/* Has the QEMU of the domain the device open? */
bool xlx__usb_held(xlx_ctx *ctx, uint32_t domid,
                   const xlx_usb_host_device *d);
/* Has it a device for the entry's port, by its own list? */
int xlx__usb_listed(xlx_ctx *ctx, const xlx_guest *guest,
                    const xlx_usb_entry *e, bool *listed_r);
/* Takes the device off an emulated controller, by QEMU's monitor: libxl does
 * so only while the port in xenstore has it. */
int xlx__usb_unplug(xlx_ctx *ctx, const xlx_guest *guest,
                    const xlx_usb_entry *e);
/* Until it has heard that the device is plugged in.  It hears from udev, and
 * may be the last to; and the path of a device that it does not know would be
 * a dead one on the port, with which the guest can do nothing and of which
 * QEMU ends. */
int xlx__usb_wait_known(xlx_ctx *ctx, const xlx_guest *guest,
                        const xlx_usb_host_device *d, int64_t deadline);

/* ---- usb-record.c ------------------------------------------------------- */

/* One change to a guest's devices: the lock is held, the record is read, what
 * a killed command left is in order. */
struct xlx__usb_change {
    xlx_ctx *ctx;
    xlx_guest guest;
    struct xlx__lock lock;
    xlx_usb_record record;
    struct xlx__hostdev_patience *patience;     /* a watcher's, or NULL */
    char *boot;                     /* this start of the host */
};
/* The lock and the record; end() also after a failure. */
int xlx__usb_open(xlx_ctx *ctx, const xlx_guest *guest,
                  struct xlx__usb_change *c);
void xlx__usb_end(struct xlx__usb_change *c);
/* A record without entries and trees is removed. */
int xlx__usb_record_write(struct xlx__usb_change *c);
/* Reads a record: what was done to a domain before this start of the host is
 * gone, and counts as done to none. */
int xlx__usb_record_read(xlx_ctx *ctx, const libxl_uuid *uuid,
                         const char *boot, xlx_usb_record *record);
/* Notes the domain that the entry is attached to from now on. */
int xlx__usb_entry_is_on(struct xlx__usb_change *c, xlx_usb_entry *e,
                         uint32_t domid);
/* Notes that the guest was there since this start of the host: when it has
 * ended, its devices are free. */
int xlx__usb_note_boot(struct xlx__usb_change *c);
/* The entry of that port; NULL when there is none. */
xlx_usb_entry *xlx__usb_entry(const xlx_usb_record *record, uint32_t ctrl,
                              uint32_t port);
int xlx__usb_entry_append(struct xlx__usb_change *c,
                          const xlx_usb_entry *entry);
void xlx__usb_entry_drop(struct xlx__usb_change *c, uint32_t ctrl,
                         uint32_t port);
/* Is what a port has in xenstore the entry's device?  Another tool may use a
 * port that is kept for one that is not plugged in. */
bool xlx__usb_is_on(const xlx_usb_entry *e, const char *path);
/* By what its device is found: the socket for one that is named by path. */
int xlx__usb_entry_selector(const xlx_usb_entry *e, xlx_usb_selector *s);
/* The device on its port, or the one that it waits for. */
bool xlx__usb_is_for(const xlx_usb_entry *e, const xlx_usb_host_device *d);
/* Set aside, and nothing of it is left anywhere but in the record. */
bool xlx__usb_is_aside(const xlx_usb_entry *entry);
/* The name of the guest, except (may be NULL) aside, whose record says that it
 * has the device or waits for it; ERROR_NOTFOUND without a message when there
 * is none. */
int xlx__usb_owner(xlx_ctx *ctx, const xlx_usb_host_device *d,
                   const libxl_uuid *except, char **name_r);

/* ---- usb-identity.c ----------------------------------------------------- */

/* May it be the entry's device?  Not when it has another ID, or another serial
 * number than that one had. */
bool xlx__usb_may_be(const xlx_usb_entry *e, const xlx_usb_host_device *d);
/* Is it surely another one?  Not while a serial number cannot be read. */
bool xlx__usb_is_other(const xlx_usb_entry *e, const xlx_usb_host_device *d);
/* Where the entry's device is now; *d_r is NULL when it is not plugged in, or
 * when several could be it.  *why_r, the caller's, says more, or "". */
int xlx__usb_find_again(const xlx_usb_entry *e,
                        const xlx_usb_host_devices *devices,
                        const xlx_usb_host_device **d_r, bool *several_r,
                        char **why_r);

/* ---- usb-ctrl.c --------------------------------------------------------- */

/* How many ports a controller gets that is made for a device. */
uint32_t xlx__usb_ctrl_size(xlx_usb_type type, uint32_t version);
/* Makes it, if it is not there, with the QEMU that serves it. */
int xlx__usb_ready_ctrl(struct xlx__usb_change *c, const xlx_usb_entry *e);
/* Removes the controller of the entry if it was made for it and nothing else
 * is on it, and then a QEMU that was started for such a controller. */
int xlx__usb_release(struct xlx__usb_change *c, const xlx_usb_entry *e);

/* ---- usb-bus.c ---------------------------------------------------------- */

/* Can a controller of that type and version serve the device?  ERROR_INVAL
 * with the reason when it cannot. */
int xlx__usb_fits(xlx_usb_type type, uint32_t version, bool force,
                  const xlx_usb_host_device *d);
/* Attaches the device as the entry, which is in the record, says: QEMU,
 * controller, port, and waits until it works.  Takes back nothing. */
int xlx__usb_connect(struct xlx__usb_change *c, const xlx_usb_entry *e,
                     const xlx_usb_host_device *d, bool no_wait,
                     int64_t deadline);
/* Frees the entry's port, if it has the entry's device. */
int xlx__usb_disconnect(struct xlx__usb_change *c, const xlx_usb_entry *e,
                        int64_t deadline);
/* Has the host's drivers look at the device that is plugged in there. */
void xlx__usb_give_back(const char *path);
/* Reads the path on the entry's port: *path_r is the caller's, "" for none. */
int xlx__usb_on_port(xlx_ctx *ctx, uint32_t domid, const xlx_usb_entry *e,
                     char **path_r);
/* Frees the ports, of all guests, whose device is not plugged in: with one of
 * them libxl attaches nothing. */
int xlx__usb_clear_dead(xlx_ctx *ctx, const xlx_usb_host_devices *devices);
/* Frees one, whatever it has. */
int xlx__usb_clear_port(xlx_ctx *ctx, uint32_t domid, uint32_t ctrl,
                        uint32_t port);

/* ---- usb-place.c -------------------------------------------------------- */

/* Fills in controller, port, type and version of the entry; d is NULL for a
 * device that is not plugged in. */
int xlx__usb_choose_port(struct xlx__usb_change *c, const xlx_usb_binding *b,
                         const xlx_usb_host_device *d, xlx_usb_entry *e);

/* The same for an entry whose port another tool uses. */
int xlx__usb_choose_again(struct xlx__usb_change *c,
                          const xlx_usb_host_device *d, xlx_usb_entry *e);

/* ---- usb.c -------------------------------------------------------------- */

/* "CONTROLLER/PORT" */
bool xlx__usb_parse_place(const char *which, uint32_t *ctrl_r,
                          uint32_t *port_r);

int64_t xlx__usb_deadline(const xlx_usb_wait *wait);    /* NULL: the default */

/* The device may be had: by the policy, by the host, by other guests. */
int xlx__usb_check_free(xlx_ctx *ctx, const xlx_guest *guest,
                        const xlx_usb_host_device *d, bool force);

/* Notes where the device is. */
int xlx__usb_entry_is_at(xlx_usb_entry *e, const xlx_usb_host_device *d);
/* Detaches what the entry describes; when it is in the record, the entry is
 * dropped after that. */
int xlx__usb_take_off(struct xlx__usb_change *c, const xlx_usb_entry *e,
                      int64_t deadline);

/* Opens a change of a guest that runs. */
int xlx__usb_begin(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                   struct xlx__usb_change *c);
/* The first half of an attachment: fills in the entry, and reserves the
 * device in the record unless dry_run. */
int xlx__usb_reserve(struct xlx__usb_change *c, const xlx_usb_binding *b,
                     const xlx_usb_selector *s, const xlx_usb_host_device *d,
                     bool dry_run, xlx_usb_entry *e);
/* The second half; takes everything back when it fails. */
int xlx__usb_attach_reserved(struct xlx__usb_change *c,
                             const xlx_usb_host_device *d, xlx_usb_entry *e,
                             bool no_wait, int64_t deadline);

/* ---- usb-tree-name.c ---------------------------------------------------- */

/* The place that the user's text names, as it is recorded: a socket, or a
 * controller alone.  *selector_r is replaced. */
int xlx__usb_tree_read(const char *text, char **selector_r);
/* Adds the sockets that a recorded place is, or is made of. */
int xlx__usb_tree_sockets(const char *selector,
                          struct xlx__usb_sockets *sockets);
/* Is the socket one of these, or on a hub that is plugged in there? */
bool xlx__usb_is_below(const struct xlx__usb_sockets *sockets,
                       const char *socket);
/* Have two recorded places a socket in common? */
int xlx__usb_trees_overlap(const char *a, const char *b, bool *yes_r);
/* Is the device there?  A root hub never is. */
int xlx__usb_is_in_tree(const char *selector, const char *path, bool *yes_r);

/* ---- usb-tree.c --------------------------------------------------------- */

/* Is it the very device, not plugged in again since? */
bool xlx__usb_is_left(const xlx_usb_left *left, const xlx_usb_host_device *d);
/* Which guest, except (may be NULL) aside, has the tree that the device is
 * in, for a message; *use_r stays as it is when none has.  A device that its
 * guest left out is anybody's. */
int xlx__usb_tree_use(xlx_ctx *ctx, const xlx_usb_host_device *d,
                      const xlx_guest *except, char **use_r);
/* ERROR_DEVICE_EXISTS when the place, where nothing is plugged in, is in a
 * tree of another guest; other selectors name none. */
int xlx__usb_check_place(struct xlx__usb_change *c, const xlx_usb_selector *s);
/* Somebody detaches the device of the entry: no tree of the guest attaches it
 * again.  Not written yet. */
int xlx__usb_leave_out(struct xlx__usb_change *c, const xlx_usb_entry *e);
/* The guest has ended: drops its trees, unless the host was shut down. */
int xlx__usb_drop_trees(struct xlx__usb_change *c, bool dry_run,
                        xlx_repair_report *report);
/* Has the guest a tree by that name?  The message of before stays. */
bool xlx__usb_has_tree(const struct xlx__usb_change *c, const char *text);

/* ---- usb-tree-scan.c ---------------------------------------------------- */

/* Looks through one tree of the record: attaches what the guest does not have
 * yet, and notes what it does not get.  entries: those attached are added;
 * may be NULL. */
struct xlx__usb_scan {
    bool dry_run, no_wait;
    uint32_t timeout;               /* seconds for each device, 0: as usual */
    xlx_repair_report *report;      /* may be NULL */
    xlx_usb_tree_devices *found;    /* may be NULL */
};
int xlx__usb_scan_tree(struct xlx__usb_change *c, int index,
                       const struct xlx__usb_scan *scan);
/* Each tree of a guest that runs, but for those that are aside. */
int xlx__usb_scan_trees(struct xlx__usb_change *c, bool dry_run,
                        xlx_repair_report *report);

/* ---- usb-plan.c --------------------------------------------------------- */

/* The content of a port of the guest in xenstore. */
enum xlx__usb_port_has {
    XLX__USB_PORT_EMPTY,
    XLX__USB_PORT_OWN,              /* the path that the entry has */
    XLX__USB_PORT_OTHER,            /* another one, from another tool */
};

/* The facts about one entry's device. */
struct xlx__usb_seen {
    uint32_t domid;                 /* of the guest now */
    bool plugged;                   /* the device is there on the host */
    const char *instead;            /* what else is there, or "" */
    bool several;                   /* devices that could be it */
    bool same;                      /* where the entry says, and not plugged
                                     * in again since */
    bool earlier;                   /* the guest was not there since the host
                                     * was started */
    /* these only when xlx__usb_must_look() says so */
    enum xlx__usb_port_has port;
    bool held;                      /* by the guest's QEMU, on that port */
    const char *obstacle;           /* why the port says nothing now, or
                                     * NULL; for SETTLE */
};
bool xlx__usb_must_look(enum xlx__hostdev_stage stage, const xlx_usb_entry *e,
                        uint32_t domid);
struct xlx__hostdev_action xlx__usb_plan(enum xlx__hostdev_stage stage,
                                         const xlx_usb_entry *e,
                                         const struct xlx__usb_seen *seen);

/* ---- usb-repair.c ------------------------------------------------------- */

/* Finishes or takes back what a killed command left; report may be NULL. */
int xlx__usb_recover(struct xlx__usb_change *c, bool dry_run,
                     xlx_repair_report *report);
/* And everything else that is not as recorded. */
int xlx__usb_settle(struct xlx__usb_change *c, bool dry_run,
                    xlx_repair_report *report);

/* ---- usb-list.c --------------------------------------------------------- */

/* Which guest, except (may be NULL) aside, has it, for a message; *use_r stays
 * as it is when none has. */
int xlx__usb_guest_use(xlx_ctx *ctx, const xlx_usb_host_device *d,
                       const xlx_guest *except, char **use_r);

#endif

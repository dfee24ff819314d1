/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guard of "xl create", "restore", "save" and "migrate".  guard.c reads
 * the command line and asks each concept of guard-concepts.inc, guard-config.c
 * and guard-save.c read the same configuration as stock xl will, and
 * guard-STEM.c has the answers of the concept STEM.
 */
#ifndef XL_GUARD_H
#define XL_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <libxl.h>
#include <libxlutil.h>

#include "attached.h"
#include "libxlx.h"

/* All that the guard has to know of the guest that is to run. */
struct guest_config {
    XLU_Config *cfg;                /* all of it; NULL for a save file */
    FILE *report;                   /* cfg's, and nobody reads it */
    char *text;                     /* what cfg was read from, or NULL */
    char *name;                     /* or NULL */
    libxl_uuid uuid;
    bool has_uuid;
    libxl_device_disk *disks;
    char **specs;                   /* each disk as it is written in xl.cfg;
                                     * NULL when it came out of JSON */
    int num_disks;
};

/* All fill in an empty config and return false, silently, for a config that
 * stock xl will refuse; the caller frees it in any case. */

/* xl.cfg(5); extra are lines that follow, or NULL. */
bool guest_config_from_file(const char *path, const char *extra,
                            struct guest_config *config);
bool guest_config_from_text(const char *text, struct guest_config *config);
/* One disk, in the parts that "xl block-attach" takes. */
bool guest_config_from_disk(int num, const char *const *parts,
                            struct guest_config *config);
/* Reads what "xl save" put before the memory, len bytes of it or more. */
bool guest_config_from_head(const char *head, size_t len,
                            struct guest_config *config);

enum guest_config_found {
    GUEST_CONFIG_WRONG,             /* stock xl will refuse it */
    GUEST_CONFIG_READ,
    GUEST_CONFIG_UNSEEN,            /* errno: stock xl may take it, and it
                                     * cannot be looked at before */
};

/* A file or block device with a head, or a pipe out of which one comes. */
enum guest_config_found guest_config_from_save(const char *path,
                                               struct guest_config *config);
void guest_config_free(struct guest_config *config);
/* The kind of guest that cfg makes, as stock xl decides. */
libxl_domain_type guest_config_type(const struct guest_config *config);

struct guard_start;
/* who is the guest's name; exit status */
typedef int guard_step(struct guard_start *s, const char *who);

/* status is the exit status so far; returns the one to end with */
typedef int guard_end(struct guard_start *s, int status);

/* A start that is about to happen. */
struct guard_start {
    const char *stock;              /* path of stock xl */
    int command;                    /* which word of the arguments it is */
    char *as_typed;                 /* "xl -v create web.cfg", for a shell */
    const char *config_path;        /* or NULL */
    const char *save_file;          /* of restore, else NULL */
    const char *leaving;            /* guest of save and migrate, else NULL */
    bool compact;                   /* save --compact, which is ours */
    char *our_option;               /* their --detach, --no-devices of create
                                     * and restore, which stock xl does not
                                     * know; or NULL */
    const char *target, *shell;     /* host of migrate, and its -s, or NULL */
    char **copying;                 /* xl disk-migrate, with its arguments, is
                                     * to run instead of stock xl; or NULL */
    char globals[16];               /* "-vvN", the options of xl itself */
    int hold;                       /* keeps our commands from the guest that
                                     * leaves while stock xl has it, or from
                                     * what is recorded of the one that starts
                                     * until it is there; or -1 */
    char *former;                   /* UUID of that one when its devices are to
                                     * be attached again; or NULL */
    int starting;                   /* keeps others from the images until the
                                     * guest has them open; or -1 */
    struct guest_config config;
    bool attaching;                 /* its one disk, to a guest that runs */
    bool unseen;                    /* it cannot be read; a message was left */
    xlx_ctx *ctx;
    bool only_shows;                /* create -n, xl -N */
    bool stays;                     /* create -F or -c: ends with the guest */
    bool paused;                    /* -p: so the user wants it */
    guard_step **while_paused;      /* see guard_while_paused() */
    int num_while_paused;
    guard_end **afterwards;         /* see guard_afterwards() */
    int num_afterwards;
    struct guard_leaver *leaver;    /* guard-hostdev.c's own, or NULL */
    char **lines;                   /* "key=value", for stock xl to read after
                                     * the config: a later line wins */
    int num_lines;
};

/* A concept: one line in guard-concepts.inc.  Both functions return an exit
 * status: 0, or another one after a message that says what is wrong and what
 * to do.  Either may be NULL. */
struct guard_concept {
    /* about a guest that is to start */
    int (*check)(struct guard_start *s);
    /* about one that is to be saved or to go to another host */
    int (*leave)(struct guard_start *s);
    /* the devices of the host that a guest has from it, or NULL */
    const struct guard_hostdev_kind *hostdev;
};
extern const struct guard_concept *const guard_concepts[];
extern const size_t guard_num_concepts;

/* For "xl create" only, because "xl restore" takes no lines. */
void guard_add_line(struct guard_start *s, char *line);

/* Something is to be done between the guest's making and its running.  When
 * the exit status is not 0 the guest is destroyed.  That cannot be with a
 * guest whose start this is not, or under which xl stays: key is what asks for
 * it; 1 after a message, else 0. */
int guard_while_paused(struct guard_start *s, const char *key,
                       guard_step *step);

/* Something is to be done when stock xl has ended, or when the guest runs; or
 * when it comes to neither, because a concept objects. */
void guard_afterwards(struct guard_start *s, guard_end *end);

/* Runs a program, one of our commands when it is a plain name, and waits for
 * it; its exit status, after a message 127 when it cannot be run. */
int guard_run(const char *program, char *const *argv);
/* The path of a program, which is one of ours when it is a plain name. */
char *guard_path_of(const char *program);
/* The library, opened again when it is closed. */
xlx_ctx *guard_ctx(struct guard_start *s);
/* The array with room for one more element. */
void *guard_grown(void *array, int num, size_t size);

/* Texts grow at their end; the old one is freed, NULL is an empty one. */
char *guard_append(char *text, const char *more);
/* One more word, as a shell reads it. */
char *guard_append_word(char *text, const char *word);
/* A string of xl.cfg(5), with its quotes. */
char *guard_append_string(char *text, const char *s);

/* ---- guard-migrate.c: xl migrate --copy-disks --------------------------- */

/* Does it say --copy-disks, or is it xl disk-migrate itself?  Then reads its
 * arguments into s, for what stock xl would do without that option. */
bool guard_migrate_read(struct guard_start *s, int argc, char **argv);
/* Runs it; exit status. */
int guard_migrate_run(struct guard_start *s);

/* ---- guard-hostdev.c: devices of the host, which stay behind ------------ */

/* One that a guest has, or that is set aside for it, or that its config
 * asks for. */
struct guard_hostdev {
    char *place;                    /* in the guest, as our commands say it;
                                     * NULL for any */
    char *name;                     /* on the host, as the user said it */
    bool aside;
    bool configured;                /* the config asked for it */
    char *there;                    /* line of shell that attaches it on
                                     * another host; NULL when no other host
                                     * would know what it is */
};

struct guard_hostdevs {
    struct guard_hostdev *devs;
    int num;
};

/* A kind of them: libxl's error codes. */
struct guard_hostdev_kind {
    const char *name;               /* "SCSI" */
    const char *repair;             /* the command that gives them back */
    const char *watch;              /* the one that stays with the guest */
    const char *when_local;         /* what to do about one without there */
    /* all that guest has, added to an empty list, which is also freed after an
     * error */
    int (*list)(xlx_ctx *ctx, const xlx_guest *guest,
                struct guard_hostdevs *list);
    int (*set_aside)(xlx_ctx *ctx, const xlx_guest *guest);
    int (*forget)(xlx_ctx *ctx, const xlx_guest *guest, const char *place);
};

/* Takes its texts. */
void guard_hostdev_add(struct guard_hostdevs *list, struct guard_hostdev dev);
void guard_hostdevs_free(struct guard_hostdevs *list);
/* The guest that stock xl has just made, to be given devices: 0, or 1 after a
 * message. */
int guard_hostdev_find(struct guard_start *s, const char *who,
                       xlx_guest *guest);
/* Starts the command that stays with the guest. */
void guard_hostdev_watch(const struct guard_hostdev_kind *kind,
                         const xlx_guest *guest);
/* Was the guest that is restored saved with --detach? */
bool guard_hostdev_aside(struct guard_start *s,
                         const struct guard_hostdev_kind *kind);
/* Runs the command that gives a guest its devices back; exit status. */
int guard_hostdev_repair(const struct guard_hostdev_kind *kind,
                         const char *who);
/* After a failed restore, while its guest is still there: sets the devices
 * that were attached for it aside again, for the next one. */
void guard_hostdev_keep(struct guard_start *s, const char *who);
/* A guest that is created or restored may have devices recorded, since before
 * the host was started, or because its end was not seen yet.  Forgets those
 * that the config now decides about (wanted, or once configured), with
 * --no-devices all; the others are to be attached again.  Returns an exit
 * status, and whether kind's repair is to run while the guest is paused; where
 * it cannot be paused, the watcher is started, which waits for the guest. */
int guard_hostdev_start(struct guard_start *s,
                        const struct guard_hostdev_kind *kind,
                        const struct guard_hostdevs *wanted, bool *again_r);
/* Runs that repair.  A guest also runs without a device that it was given when
 * it ran: 0, after a message. */
int guard_hostdev_again(struct guard_start *s,
                        const struct guard_hostdev_kind *kind,
                        const char *who);
/* Keeps the watcher from forgetting them until the guest is there. */
void guard_hostdev_hold(struct guard_start *s);

/* Refuses that a guest leaves with devices of the host, or sets them aside. */
int guard_hostdev_leave(struct guard_start *s);

/* guard-disk.c: may the disk go to a guest that runs?  Exit status. */
int guard_disk_attach(struct guard_start *s);

/* Have the guest, or others, the images of the start open by now? */
bool guard_snapshot_open(struct guard_start *s);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that goes to another host with its disks.  The copies are jobs of
 * mirror, to NBD servers on the other host; the memory goes to a stock "xl
 * migrate-receive" there, in xl's own protocol.
 *
 *   migrate.c          the steps, and the way back
 *   migrate-plan.c     which disks, and to which paths
 *   migrate-record.c   the record of a migration that is under way
 *   migrate-shell.c    programs that run on the other host
 *   migrate-remote.c   the disks on the other host
 *   migrate-stream.c   the end of libxl's stream is recognised
 *   migrate-relay.c    a process passes the stream on, and keeps its end
 *   migrate-talk.c     the words of xl and "xl migrate-receive"
 *   migrate-domain.c   what is asked of libxl
 *   migrate-guard.c    a process starts the repair when this one is killed
 *   migrate-repair.c   deals with what was cut short
 *
 * The order that keeps the guest in one place:
 *
 *   1. memory is sent without its end: the other host cannot have the guest
 *   2. the guest is suspended, the copies are ended, flushed and closed
 *   3. the end is sent, the other host makes the guest, paused, and says so
 *   4. renamed here and recorded: from here on the other host may run it
 *   5. it is told to; it says that it does; the domain here is destroyed
 */
#ifndef XLX_MIGRATE_H
#define XLX_MIGRATE_H

#include "core/lock.h"
#include "mirror/mirror.h"

/* ---- migrate-stream.c --------------------------------------------------- */

/* libxl's stream (version 2) as it passes: everything but its end record. */
struct xlx__stream {
    int state;
    unsigned char head[24];         /* of what is being read */
    size_t have, want;
    uint64_t body;                  /* bytes that come before the next head */
    bool inside;                    /* in libxc's part */
    uint64_t passed;                /* bytes that were passed on */
};

void xlx__stream_init(struct xlx__stream *s);
/* Takes len bytes, and gives those that are to be passed on to pass(), which
 * returns false to stop.  False also for a stream that is not one, and for
 * bytes after its end.  Makes no call but pass(). */
bool xlx__stream_take(struct xlx__stream *s, const unsigned char *bytes,
                      size_t len,
                      bool (*pass)(void *user, const unsigned char *bytes,
                                   size_t len), void *user);
/* All but the end has passed. */
bool xlx__stream_is_whole(const struct xlx__stream *s);
#define XLX__STREAM_END_SIZE 8
/* The end that was kept back. */
const unsigned char *xlx__stream_end(const struct xlx__stream *s);

/* ---- migrate-relay.c ---------------------------------------------------- */

struct xlx__relay {
    int fd;                         /* for libxl to write to; or -1 */
    int control;                    /* to the process; or -1 */
};
#define XLX__RELAY_NONE { .fd = -1, .control = -1 }

/* Starts the process that passes on to out all that comes in. */
int xlx__relay_start(int out, struct xlx__relay *relay);
/* libxl has written all: has all but the end been passed on?  *bytes_r: how
 * much that was. */
int xlx__relay_finish(struct xlx__relay *relay, uint64_t *bytes_r);
/* The end as well. */
int xlx__relay_release(struct xlx__relay *relay);
/* Ends the process; nothing more is passed on. */
void xlx__relay_stop(struct xlx__relay *relay);

/* ---- migrate-shell.c ---------------------------------------------------- */

/* A program that we talk to. */
struct xlx__shell {
    pid_t pid;                      /* 0: none */
    int in, out, err;               /* its standard descriptors; or -1 */
    const char *host;
    char *said;                     /* the end of what it wrote to err */
    char token[20];                 /* ends an answer */
};
#define XLX__SHELL_NONE { .in = -1, .out = -1, .err = -1 }

/* One word for a shell; NULL without memory. */
char *xlx__shell_quote(const char *word);
/* COMMAND OPTION... HOST LINE: runs line there. */
int xlx__shell_run(const char *command, const char *const *options,
                   const char *host, const char *line,
                   struct xlx__shell *shell);
/* Until the deadline len bytes, or *got_r less than that: then it has ended.
 * ERROR_ABORTED when progress says so. */
int xlx__shell_read(struct xlx__shell *shell, void *bytes, size_t len,
                    int64_t deadline, const xlx_progress *progress,
                    size_t *got_r);
int xlx__shell_write(struct xlx__shell *shell, const void *bytes, size_t len,
                     int64_t deadline);
/* A shell that reads commands: runs lines there, until their end.  *output_r
 * (may be NULL) is what they wrote; of a failure the last line is the
 * message. */
int xlx__shell_call(struct xlx__shell *shell, int64_t deadline,
                    const xlx_progress *progress, const char *lines,
                    char **output_r);
/* The last line that it wrote to its standard error, "" for none. */
const char *xlx__shell_said(struct xlx__shell *shell);
/* Its input ends. */
void xlx__shell_close(struct xlx__shell *shell);
/* Closes what leads to it and waits; one that does not end in time is
 * killed. */
void xlx__shell_end(struct xlx__shell *shell, int ms);

/* ---- migrate-record.c --------------------------------------------------- */

/* A migration from begin to end. */
struct xlx__migrate {
    xlx_ctx *ctx;
    const xlx_guest *guest;
    const xlx_disk_migrate_spec *spec;      /* NULL in a repair */
    const xlx_progress *progress;
    struct xlx__lock lock;          /* one migration or repair a guest */
    xlx_disk_migration record;
    char **shared;                  /* paths of disks that are not copied */
    int num_shared;
    struct xlx__shell agent;        /* the shell on the other host */
    struct xlx__shell receiver;     /* xl migrate-receive there */
    struct xlx__relay relay;
    struct xlx__mirror mirror;      /* while the guest is locked */
    bool locked;                    /* mirror is open */
    int guard;                      /* to the process; or -1 */
    char *config;                   /* for the other host */
    bool may_run_there;             /* it was told to start the guest */
    bool touched;                   /* the other host may have something */
    bool forsaken;                  /* the other host is not to be asked */
    int64_t stopped_at;             /* when the guest stood still, or 0 */
};

/* ERROR_LOCK_FAIL: one is under way. */
int xlx__migrate_lock(struct xlx__migrate *m, int64_t deadline);
int xlx__migrate_load(struct xlx__migrate *m, bool *found_r);
/* Saves the record with that phase, before its first step. */
int xlx__migrate_enter(struct xlx__migrate *m, xlx_disk_migration_phase phase);
int xlx__migrate_save(struct xlx__migrate *m);
int xlx__migrate_forget(struct xlx__migrate *m);

/* ---- migrate-plan.c ----------------------------------------------------- */

/* Fills in the disks of the record; changes nothing. */
int xlx__migrate_plan(struct xlx__migrate *m);

/* ---- migrate-remote.c --------------------------------------------------- */

/* A shell on the other host, which knows our functions; for a migration the
 * sockets are forwarded, and what it made there goes when it ends before
 * xlx__remote_keep(). */
int xlx__remote_open(struct xlx__migrate *m, bool repair);
/* Makes the disks there. */
int xlx__remote_make(struct xlx__migrate *m);
/* Starts their servers. */
int xlx__remote_serve(struct xlx__migrate *m);
/* Ends the servers; all is on disk there. */
int xlx__remote_close(struct xlx__migrate *m);
/* All that was made stays. */
int xlx__remote_keep(struct xlx__migrate *m);
/* Removes what an earlier one made. */
int xlx__remote_remove(struct xlx__migrate *m);
/* Has the other host the guest?  When both hosts are one, the guest here has
 * to have another name, or it is the one that runs. */
struct xlx__remote_guest {
    bool runs, arriving;
};
int xlx__remote_look(struct xlx__migrate *m,
                     struct xlx__remote_guest *found_r);
/* Destroys one that is arriving. */
int xlx__remote_destroy(struct xlx__migrate *m);

/* ---- migrate-talk.c ----------------------------------------------------- */

/* Starts "xl migrate-receive" and sends the configuration. */
int xlx__talk_begin(struct xlx__migrate *m);
/* It has made the guest. */
int xlx__talk_await_ready(struct xlx__migrate *m);
/* Tells it to start the guest.  After a failure m->may_run_there says whether
 * it may have done so. */
int xlx__talk_go(struct xlx__migrate *m);

/* ---- migrate-domain.c --------------------------------------------------- */

/* The configuration that the other host gets: with the paths of the record,
 * and no domid unless it is kept. */
int xlx__migrate_config(xlx_ctx *ctx, const xlx_guest *guest,
                        const xlx_disk_migration *record, bool keep_domid,
                        char **config_r);
/* The caller frees them with libxl_device_disk_list_free(). */
int xlx__migrate_disks(xlx_ctx *ctx, const xlx_guest *guest,
                       libxl_device_disk **disks_r, int *num_r);
/* Sends its memory to the relay, and leaves it suspended.
 * ERROR_GUEST_TIMEDOUT: it did not suspend itself, and runs. */
int xlx__migrate_suspend(xlx_ctx *ctx, const xlx_guest *guest,
                         const struct xlx__relay *relay,
                         const xlx_progress *progress);
int xlx__migrate_resume(xlx_ctx *ctx, const xlx_guest *guest);
int xlx__migrate_destroy(xlx_ctx *ctx, const xlx_guest *guest);
/* Away: to NAME--migratedaway, as xl does; or back. */
int xlx__migrate_rename(xlx_ctx *ctx, const xlx_guest *guest, bool away);
/* Does its QEMU know that it is suspended? */
bool xlx__migrate_is_hvm(xlx_ctx *ctx, const xlx_guest *guest);
enum xlx__migrate_state {
    XLX__MIGRATE_GONE, XLX__MIGRATE_RUNS, XLX__MIGRATE_SUSPENDED,
};
int xlx__migrate_look(xlx_ctx *ctx, const xlx_guest *guest,
                      enum xlx__migrate_state *state_r);

/* ---- migrate.c ---------------------------------------------------------- */

void xlx__migrate_begin(struct xlx__migrate *m, xlx_ctx *ctx,
                        const xlx_guest *guest);
/* The guest runs here again: it is resumed, its jobs are cancelled, and the
 * processes that watch it go on.  The message stays what it was. */
int xlx__migrate_stay(struct xlx__migrate *m);
/* The guest is nowhere: what was made there, and the record, go. */
int xlx__migrate_stay_gone(struct xlx__migrate *m);
/* The guest runs there: its domain here is destroyed, and the record goes. */
int xlx__migrate_leave(struct xlx__migrate *m);
void xlx__migrate_end(struct xlx__migrate *m);

/* ---- migrate-repair.c --------------------------------------------------- */

/* Does the guest run on the other host, which is asked again?  One that is
 * arriving is destroyed there. */
int xlx__migrate_ask(struct xlx__migrate *m, bool *runs_r);
/* None is arriving there any more. */
int xlx__migrate_dispel(struct xlx__migrate *m, bool *runs_r);

/* ---- migrate-guard.c ---------------------------------------------------- */

/* The process that repairs when this one ends before it is dismissed. */
int xlx__migrate_guard(struct xlx__migrate *m);
void xlx__migrate_dismiss(struct xlx__migrate *m);
/* The processes of xl that watch the guest stop, or go on: see
 * migrate-guard.c. */
int xlx__migrate_stop_monitors(struct xlx__migrate *m);
void xlx__migrate_wake_monitors(struct xlx__migrate *m);

#endif

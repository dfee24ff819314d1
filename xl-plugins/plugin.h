/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The common part of all commands once their command line is parsed: open the
 * library, report errors, show progress, stop on a signal, print tables and
 * JSON, go through guests.  plugin.c has the main() of each program.  These
 * functions end the program when memory is short.
 */
#ifndef XL_PLUGIN_H
#define XL_PLUGIN_H

#include <stddef.h>

#include "command.h"
#include "libxlx.h"

/* The commands of this program; its concept's file says which. */
extern const struct xl_command *const xl_commands;

/* ---- exit status: 0; 1 it failed; 2 wrong command line; 128 + N signal N  */

/* xl_failed() with a message of the command's own; returns 1. */
int xl_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* For what does not stop the command. */
void xl_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- long calls --------------------------------------------------------- */

/* For a call that takes an xlx_progress: shows a line on standard error, and
 * cancels the call after SIGINT, SIGTERM or SIGHUP.  Outside such a call the
 * first of these lets a command that changes something finish what it does,
 * and ends any other; a second one ends the program at once. */
const xlx_progress *xl_progress(void);

/* ---- output ------------------------------------------------------------- */

/* "512b", "4.2g", "120m"; powers of 1024. */
#define XL_SIZE_MAX 16
const char *xl_size(uint64_t bytes, char buf[XL_SIZE_MAX]);

/* "50m" is 50 MiB a second; exit status. */
int xl_read_speed(const char *text, uint64_t *speed_r);

/* Columns as wide as they need to be, for people.  titles end with NULL and
 * outlive the table.  Control characters are shown as '?'. */
struct xl_table;
struct xl_table *xl_table_new(const char *const *titles);
void xl_table_cell(struct xl_table *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A line for below the table. */
void xl_table_note(struct xl_table *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Prints, and frees it. */
void xl_table_print(struct xl_table *t);

/* ---- guests (guests.c) -------------------------------------------------- */

/* Those that the command line names, or all that list finds. */
struct xl_guests {
    char *const *names;
    int num_names;
    const char *config;             /* of a guest that does not run, or NULL */
    int (*list)(xlx_ctx *ctx, xlx_guests *list_r);
};
/* Calls one, which returns an exit status, for each; returns the worst. */
int xl_each_guest(const struct xl_guests *guests,
                  int (*one)(const xlx_guest *guest, void *user), void *user);
/* An element of a JSON array; *shown counts them.  json is freed. */
int xl_print_element(char *json, int *shown);

/* Runs a repair command: prints a report for each guest.  Exit status 1 when
 * something is left to do. */
struct xl_repair {
    int (*repair)(xlx_ctx *ctx, const xlx_guest *guest, bool dry_run,
                  xlx_repair_report *report_r);
    const char *watch;              /* see xl_start_watcher(), or NULL */
    bool json, dry_run;
};
/* The cell for a guest's watcher, and the note below the table when something
 * is wrong with it. */
const char *xl_watcher_word(const xlx_watcher *w);
void xl_note_watcher(struct xl_table *t, const xlx_guest *guest,
                     const xlx_watcher *w);

int xl_repair_guests(const struct xl_guests *guests,
                     const struct xl_repair *how);

/* Runs a command that watches a guest's devices; a failure also goes to the
 * system's log. */
int xl_watch_guest(const char *who,
                   int (*watch)(xlx_ctx *ctx, const xlx_guest *guest));
/* Runs that command, "STEM-watch" of this program, in the background.  One
 * that is there already makes the new one end at once. */
void xl_start_watcher(const char *command, const xlx_guest *guest);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by all commands: a program per concept holds a table of them and is
 * linked to under the name of each, xl-COMMAND.  The parsers in gen-STEM.c
 * report wrong command lines through the functions here.
 */
#ifndef XL_COMMAND_H
#define XL_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "libxlx.h"

struct xl_command {
    const char *name;                       /* as in "xl NAME" */
    const char *stem;                       /* its concept */
    const char *shortdoc;
    int (*main)(int argc, char **argv);     /* returns the exit status */
    bool changes;                           /* something: it has -N */
};

/* The command that argv[0] names (xl-snapshot-create) or, when it names none,
 * the one that argv[1] names, which is then taken off.  NULL when there is
 * none: the commands have been listed, it is a wrong command line. */
const struct xl_command *xl_command_find(const struct xl_command *commands,
                                         int *argc, char ***argv);
/* The name of the command that was found, for messages. */
extern const char *xl_command_name;

/* How often the letter was among the options of xl itself, xl -vN COMMAND; the
 * dispatcher hands them over. */
unsigned int xl_global_option(char letter);
bool xl_dry_run_asked(void);
/* The exit status for a command that does not have it. */
int xl_refuse_dry_run(const char *name);

/* For what getopt_long() returned as '?' or ':'; these return 2, the exit
 * status of a wrong command line. */
int xl_bad_option(const char *name, const char *usage, int letter,
                  char **argv);
/* value may be NULL when the text of what is wrong has it */
int xl_bad_value(const char *name, const char *option, const char *value,
                 const char *wrong);
/* Takes --OPTION and the words behind it, up to the next option, out of the
 * command line: they are then behind its end.  May be given again; false after
 * a message. */
bool xl_take_list(const char *name, const char *usage, const char *option,
                  int *argc, char **argv, char ***list_r, int *num_r);
/* most is -1 when there is no limit */
bool xl_argument_count(const char *name, const char *usage, int count,
                       int least, int most);

/* ---- plugin.c: for the generated main() of a command with one call ------ */

/* Opened at the first call, closed by main(). */
xlx_ctx *xl_ctx(void);
/* Prints "xl NAME: " and the library's message about the call that failed
 * with rc; returns the exit status. */
int xl_failed(int rc);
/* text is what xlx_X_to_json() returned, and freed.  Exit status. */
int xl_print_json(char *text);

#endif

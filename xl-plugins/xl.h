/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the files of the dispatcher: xl.c decides which program runs a
 * command, xl-stock.c knows stock xl, xl-config.c the configurations of
 * guests, and xl-help.c lists.  The dispatcher uses nothing but libc: a stock
 * command costs one exec and no library more than before.
 */
#ifndef XL_H
#define XL_H

#include <stdbool.h>
#include <stddef.h>

/* Exit codes of our own making, as a shell has them; every other exit code is
 * that of the program that we became. */
#define XL_CANNOT_RUN 126
#define XL_NOT_FOUND 127

/* xl.c */
/* "xl: MESSAGE" */
void xl_die(int code, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 2, 3)));
/* malloc()ed text; ends the program when memory is short. */
char *xl_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The directory with our own commands and their list. */
const char *xl_exec_dir(void);
/* Can "xl NAME" ever be the program "xl-NAME"?  Not for paths, nor for what
 * we run for a stock command. */
bool xl_name_ok(const char *name);
/* Is it a file that can be run?  For root, access() alone does not tell. */
bool xl_runnable(const char *path);
/* The program behind a command that is not stock's, or NULL. */
char *xl_find_command(const char *name);
/* Calls fn with each absolute directory of PATH until it returns true; gives
 * its last result. */
bool xl_each_path_dir(bool (*fn)(const char *dir, void *arg), void *arg);

/* xl-stock.c */
/* Is the name a stock command or the beginning of one? */
bool xl_stock_owns(const char *name);
/* Would stock xl, of any version, take the name for that command? */
bool xl_stock_means(const char *name, const char *command);
/* The path of stock xl; ends the program when there is none. */
char *xl_stock_path(void);
/* Becomes stock xl, with argv as it is. */
void xl_stock_exec(char **argv) __attribute__((noreturn));

/* xl-config.c */
/* May the arguments of "xl create", NULL after the last, or the files among
 * them, have one of our keys? */
bool xl_config_is_ours(char **args);
/* The same for the parts of a disk, as "xl block-attach" has them. */
bool xl_disk_is_ours(char **parts);

/* xl-saved.c */
/* Puts a pipe in the place of a compact file, the last of the arguments of
 * "xl restore". */
void xl_expand_saved(char **args);

/* xl-help.c */
/* The list of stock xl, asked for with argv, and then ours. */
int xl_help(char **argv);
int xl_plugins(int argc, char **argv);

#endif

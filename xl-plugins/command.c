/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by all commands; see command.h.  Messages of a wrong command line are
 * worded as xl words its own.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

const char *xl_command_name = "";

static const struct xl_command *find(const struct xl_command *commands,
                                     const char *name)
{
    for (; commands->name; commands++)
        if (!strcmp(commands->name, name))
            return commands;
    return NULL;
}

const struct xl_command *xl_command_find(const struct xl_command *commands,
                                         int *argc, char ***argv)
{
    const struct xl_command *command = NULL;
    const char *self, *slash;

    if (*argc < 1)
        return NULL;
    slash = strrchr((*argv)[0], '/');
    self = slash ? slash + 1 : (*argv)[0];
    if (!strncmp(self, "xl-", 3))
        command = find(commands, self + 3);
    if (!command && *argc > 1) {
        command = find(commands, (*argv)[1]);
        (*argc)--;
        (*argv)++;
    }
    if (command) {
        xl_command_name = command->name;
        return command;
    }

    fprintf(stderr, "Usage: %s COMMAND ARGUMENTS\n\nCommands:\n", self);
    for (; commands->name; commands++)
        fprintf(stderr, "  %-19s %s\n", commands->name, commands->shortdoc);
    return NULL;
}

unsigned int xl_global_option(char letter)
{
    const char *s = secure_getenv("LIBXLX_XL_OPTS");
    unsigned int count = 0;

    for (; s && *s; s++)
        count += *s == letter;
    return count;
}

bool xl_dry_run_asked(void)
{
    return xl_global_option('N') > 0;
}

int xl_refuse_dry_run(const char *name)
{
    fprintf(stderr,
            "xl %s: command does not implement -N (dryrun) option\n", name);
    return 1;
}

static int usage_error(const char *usage)
{
    fprintf(stderr, "Usage: %s\n", usage);
    return 2;
}

int xl_bad_option(const char *name, const char *usage, int letter,
                  char **argv)
{
    const char *what = letter == ':' ? "requires an argument"
                                     : "not supported";
    const char *given = argv[optind - 1];

    /* optopt is a letter for an option of one letter, perhaps amid others, and
     * for a long one that also has a letter, and a value too much */
    if (optopt && optopt < 256 && !strchr(given, '='))
        fprintf(stderr, "xl %s: option `%c' %s.\n", name, optopt, what);
    else
        fprintf(stderr, "xl %s: option `%s' %s.\n", name,
                given + strspn(given, "-"), what);
    return usage_error(usage);
}

int xl_bad_value(const char *name, const char *option, const char *value,
                 const char *wrong)
{
    if (value)
        fprintf(stderr, "xl %s: --%s: \"%s\": %s\n", name, option, value,
                wrong);
    else
        fprintf(stderr, "xl %s: --%s: %s\n", name, option, wrong);
    return 2;
}

/* Whether the word is --OPTION, or --OPTION=VALUE with its value. */
static bool is_option(char *word, const char *option, char **value_r)
{
    size_t len = strlen(option);

    *value_r = NULL;
    if (strncmp(word, "--", 2) || strncmp(word + 2, option, len))
        return false;
    if (word[2 + len] == '=')
        *value_r = word + 3 + len;
    return *value_r || !word[2 + len];
}

bool xl_take_list(const char *name, const char *usage, const char *option,
                  int *argc, char **argv, char ***list_r, int *num_r)
{
    int i = 1, all = *argc, taken;
    char *word, *value;

    while (i < *argc && strcmp(argv[i], "--")) {
        if (!is_option(argv[i], option, &value)) {
            i++;
            continue;
        }
        if (value) {
            argv[i] = value;
        } else {
            all--;
            --*argc;
            memmove(argv + i, argv + i + 1, (size_t)(all - i) * sizeof(*argv));
        }
        for (taken = 0; i < *argc && (value || argv[i][0] != '-' ||
                                      !argv[i][1]); taken++) {
            word = argv[i];
            memmove(argv + i, argv + i + 1,
                    (size_t)(all - i - 1) * sizeof(*argv));
            argv[all - 1] = word;
            --*argc;
            value = NULL;
        }
        if (!taken) {
            fprintf(stderr, "xl %s: option `%s' requires an argument.\n",
                    name, option);
            usage_error(usage);
            return false;
        }
    }
    *list_r = argv + *argc;
    *num_r = all - *argc;
    return true;
}

bool xl_argument_count(const char *name, const char *usage, int count,
                       int least, int most)
{
    const char *word = count < least ? "least" : "most";
    int limit = count < least ? least : most;

    if (count >= least && (most < 0 || count <= most))
        return true;
    fprintf(stderr, "'xl %s' requires at %s %d argument%s.\n", name, word,
            limit, limit == 1 ? "" : "s");
    usage_error(usage);
    return false;
}

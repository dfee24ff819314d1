/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "xl help" and "xl plugins": which commands there are besides stock xl's.
 * Ours are described in COMMANDS_FILE, made from the IDL, a line each:
 * command, tab, stem of the program that does it, tab, what it does.  A
 * program that somebody else put there is listed, but never run to ask it.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "xl.h"

#define COMMANDS_FILE "gen-commands.list"
#define PLUGINS_SUMMARY "List the commands that are not stock xl's."

struct plugin {
    char *name;
    char *path;
    char *stem;                     /* of our own commands, else NULL */
    char *summary;                  /* empty when not known */
    char *warning;                  /* why it is not run, or NULL */
    const char *from;               /* libxlx, exec-dir or path */
    struct stat st;
};

struct plugins {
    struct plugin *list;
    size_t num;
};

/* ---- what there is ------------------------------------------------------ */

static char *why_not_run(const struct plugins *all, const struct plugin *p)
{
    size_t i;

    if (xl_stock_owns(p->name))
        return xl_printf("never run: the name is stock xl's");
    if (!strcmp(p->name, "help") || !strcmp(p->name, "plugins"))
        return xl_printf("never run: the name is xl's own");
    if (!xl_runnable(p->path))
        return xl_printf(p->st.st_nlink ? "not run: it is not executable"
                                        : "not run: it is missing");
    for (i = 0; i < all->num; i++) {
        if (!strcmp(all->list[i].name, p->name) && !all->list[i].warning)
            return xl_printf("not run: hidden by %s", all->list[i].path);
    }
    return NULL;
}

/* A directory may be on PATH twice, by two names. */
static bool is_known(const struct plugins *all, const struct plugin *p)
{
    const struct plugin *q;
    size_t i;

    for (i = 0; i < all->num; i++) {
        q = &all->list[i];
        if (!strcmp(q->name, p->name) && p->st.st_nlink &&
            q->st.st_dev == p->st.st_dev && q->st.st_ino == p->st.st_ino)
            return true;
    }
    return false;
}

static void add(struct plugins *all, const char *dir, const char *name,
                const char *stem, const char *summary, const char *from)
{
    struct plugin p = { .from = from };

    p.path = xl_printf("%s/xl-%s", dir, name);
    p.name = xl_printf("%s", name);
    if (stat(p.path, &p.st))
        p.st.st_nlink = 0;
    if (is_known(all, &p)) {
        free(p.path);
        free(p.name);
        return;
    }
    p.stem = stem ? xl_printf("%s", stem) : NULL;
    p.summary = xl_printf("%s", summary);
    p.warning = why_not_run(all, &p);
    all->list = reallocarray(all->list, all->num + 1, sizeof(p));
    if (!all->list)
        xl_die(XL_CANNOT_RUN, "%s", strerror(ENOMEM));
    all->list[all->num++] = p;
}

static void add_ours(struct plugins *all)
{
    char *path = xl_printf("%s/%s", xl_exec_dir(), COMMANDS_FILE);
    char *line = NULL, *name, *stem, *summary, *state;
    FILE *file = fopen(path, "re");
    size_t size = 0;

    if (!file)
        fprintf(stderr, "xl: %s: %s\n", path, strerror(errno));
    while (file && getline(&line, &size, file) > 0) {
        name = strtok_r(line, "\t\n", &state);
        stem = name ? strtok_r(NULL, "\t\n", &state) : NULL;
        summary = stem ? strtok_r(NULL, "\n", &state) : NULL;
        if (summary && *name != '#')
            add(all, xl_exec_dir(), name, stem, summary, "libxlx");
    }
    if (file)
        fclose(file);
    free(line);
    free(path);
}

/* The programs that the links of our commands lead to. */
static bool is_internal(const struct plugins *all, const char *name)
{
    size_t i;

    for (i = 0; i < all->num; i++) {
        if (all->list[i].stem && !strcmp(all->list[i].stem, name))
            return true;
    }
    return false;
}

static int is_xl_program(const struct dirent *entry)
{
    return !strncmp(entry->d_name, "xl-", 3) && xl_name_ok(entry->d_name + 3);
}

static void add_dir(struct plugins *all, const char *dir, const char *from)
{
    bool ours = !strcmp(from, "exec-dir");
    struct dirent **entries;
    const char *name;
    char *path;
    int i, num;

    num = scandir(dir, &entries, is_xl_program, alphasort);
    for (i = 0; i < num; i++) {
        name = entries[i]->d_name + 3;
        path = xl_printf("%s/%s", dir, entries[i]->d_name);
        /* In our directory, in the build tree, there are objects as well. */
        if (!ours || (xl_runnable(path) && !is_internal(all, name)))
            add(all, dir, name, NULL, "", from);
        free(path);
        free(entries[i]);
    }
    if (num >= 0)
        free(entries);
}

static bool add_path_dir(const char *dir, void *arg)
{
    struct stat ours, st;

    if (stat(xl_exec_dir(), &ours) || stat(dir, &st) ||
        ours.st_dev != st.st_dev || ours.st_ino != st.st_ino)
        add_dir(arg, dir, "path");
    return false;
}

static struct plugins *find_plugins(void)
{
    struct plugins *all = calloc(1, sizeof(*all));

    if (!all)
        xl_die(XL_CANNOT_RUN, "%s", strerror(ENOMEM));
    add_ours(all);
    add_dir(all, xl_exec_dir(), "exec-dir");
    xl_each_path_dir(add_path_dir, all);
    return all;
}

static void free_plugins(struct plugins *all)
{
    size_t i;

    for (i = 0; i < all->num; i++) {
        free(all->list[i].name);
        free(all->list[i].path);
        free(all->list[i].stem);
        free(all->list[i].summary);
        free(all->list[i].warning);
    }
    free(all->list);
    free(all);
}

/* ---- xl help ------------------------------------------------------------ */

/* Exit code of stock xl, which writes to our standard output and error. */
static int run_stock(char **argv)
{
    int status;
    pid_t pid, r;

    fflush(NULL);
    signal(SIGCHLD, SIG_DFL);       /* it may have been handed down ignored */
    pid = fork();
    if (pid < 0)
        xl_die(XL_CANNOT_RUN, "fork: %s", strerror(errno));
    if (!pid)
        xl_stock_exec(argv);
    do {
        r = waitpid(pid, &status, 0);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        xl_die(XL_CANNOT_RUN, "waitpid: %s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* In the form that stock xl has, which its bash completion reads: commands
 * are what follows one space, after four lines that are not looked at. */
static void print_help_line(const char *name, const char *text)
{
    printf(" %-19s ", name);
    if (strlen(name) > 19)
        printf("\n %-19s ", "");
    printf("%s\n", text);
}

int xl_help(char **argv)
{
    struct plugins *all = find_plugins();
    const struct plugin *p;
    int code;
    size_t i;

    code = run_stock(argv);
    if (code)
        printf("Usage xl [-vfNtT] <subcommand> [args]\n\n"
               "stock xl cannot list its subcommands, these are others:\n\n");
    for (i = 0; i < all->num; i++) {
        p = &all->list[i];
        if (!p->warning)
            print_help_line(p->name, *p->summary ? p->summary : p->path);
    }
    print_help_line("plugins", PLUGINS_SUMMARY);
    printf("\ncreate and restore also take --no-devices: not the SCSI and USB"
           " devices that\nare recorded of the guest; save and migrate also"
           " take --detach, and\nsave takes --compact: see man xlx\n"
           "migrate --copy-disks is disk-migrate\n");
    free_plugins(all);
    return code;
}

/* ---- xl plugins --------------------------------------------------------- */

/* File names may be any bytes; bytes that are not UTF-8 become U+FFFD. */
static size_t utf8_len(const unsigned char *s)
{
    size_t i, len = *s < 0x80 ? 1 : *s < 0xc2 ? 0 : *s < 0xe0 ? 2
                  : *s < 0xf0 ? 3 : *s < 0xf5 ? 4 : 0;

    for (i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) ||
        (*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

/* The code of a character that a terminal would obey, or that turns the text
 * around it about, as in the library's JSON; 0 for one that may be written as
 * it is. */
static unsigned int control_code(const unsigned char *s, size_t len)
{
    unsigned int c = *s;

    if (len == 2)
        c = (c & 0x1f) << 6 | (s[1] & 0x3f);
    else if (len == 3)
        c = (c & 0xf) << 12 | (s[1] & 0x3f) << 6 | (s[2] & 0x3f);
    else if (len != 1)
        return 0;
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c ||
           c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069) ? c : 0;
}

static void print_json_member(const char *key, const char *value,
                              const char *end)
{
    const unsigned char *s = (const unsigned char *)value;
    size_t len;

    printf("        \"%s\": \"", key);
    for (; *s; s += len ? len : 1) {
        len = utf8_len(s);
        if (!len)
            printf("\\ufffd");
        else if (*s == '"' || *s == '\\')
            printf("\\%c", *s);
        else if (control_code(s, len))
            printf("\\u%04x", control_code(s, len));
        else
            fwrite(s, 1, len, stdout);
    }
    printf("\"%s\n", end);
}

static void print_json(const struct plugins *all)
{
    const struct plugin *p;
    size_t i;

    printf("[");
    for (i = 0; i < all->num; i++) {
        p = &all->list[i];
        printf("%s\n    {\n", i ? "," : "");
        print_json_member("name", p->name, ",");
        print_json_member("program", p->path, ",");
        print_json_member("from", p->from, ",");
        print_json_member("summary", p->summary, ",");
        print_json_member("warning", p->warning ? p->warning : "", "");
        printf("    }");
    }
    printf("%s]\n", all->num ? "\n" : "");
}

static void print_table(const struct plugins *all)
{
    const struct plugin *p;
    int name = 4, path = 7;
    size_t i;

    for (i = 0; i < all->num; i++) {
        p = &all->list[i];
        if (name < (int)strlen(p->name))
            name = (int)strlen(p->name);
        if (path < (int)strlen(p->path))
            path = (int)strlen(p->path);
    }
    printf("%-*s %-8s %-*s %s\n", name, "Name", "From", path, "Program",
           "Summary");
    for (i = 0; i < all->num; i++) {
        p = &all->list[i];
        if (!p->warning)
            printf("%-*s %-8s %-*s %s\n", name, p->name, p->from, path,
                   p->path, p->summary);
    }
    fflush(stdout);
    for (i = 0; i < all->num; i++) {
        p = &all->list[i];
        if (p->warning)
            fprintf(stderr, "xl plugins: warning: %s: %s\n", p->path,
                    p->warning);
    }
}

static void print_plugins_usage(FILE *to)
{
    fprintf(to, "Usage: xl plugins [--json]\n\n%s\n\nOptions:\n\n"
            "-h, --help   print this\n"
            "--json       print them as JSON, those that are never run too\n",
            PLUGINS_SUMMARY);
}

int xl_plugins(int argc, char **argv)
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "json", no_argument, NULL, 'j' },
        { NULL, 0, NULL, 0 },
    };
    struct plugins *all;
    bool json = false;
    int opt;

    optind = 0;                     /* a new argv: start again */
    opterr = 0;
    while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (opt == 'h') {
            print_plugins_usage(stdout);
            return 0;
        }
        if (opt != 'j') {
            fprintf(stderr, "xl plugins: unknown option: \"%s\"\n",
                    argv[optind - 1]);
            return 2;
        }
        json = true;
    }
    if (optind < argc) {
        print_plugins_usage(stderr);
        return 2;
    }
    all = find_plugins();
    if (json)
        print_json(all);
    else
        print_table(all);
    free_plugins(all);
    return 0;
}

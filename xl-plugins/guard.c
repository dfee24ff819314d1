/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl-guard: runs before stock xl for "xl create", "restore", "save" and
 * "migrate", when the dispatcher sees that one of our concepts may have a say:
 * it refuses what would do harm, and translates what a config says in our
 * words.
 *
 * Called by the dispatcher as "xl STOCK-XL ARGS...", it becomes "xl ARGS..."
 * of stock xl, with the arguments as they are, and perhaps some lines of
 * configuration after them.  Lines that it cannot make sense of it leaves
 * to stock xl, which will complain.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "guard.h"
#include "text.h"

#define START_POLL_MS 500

/* ---- words for a shell and for xl.cfg ----------------------------------- */

char *guard_append(char *text, const char *more)
{
    char *joined = xl_format("%s%s", text ? text : "", more);

    free(text);
    return joined;
}

static char *append_char(char *text, char c)
{
    const char more[] = { c, '\0' };

    return guard_append(text, more);
}

/* A word that a shell reads back as it is. */
char *guard_append_word(char *text, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_";

    if (text)
        text = guard_append(text, " ");
    if (*word && !word[strspn(word, plain)])
        return guard_append(text, word);
    text = guard_append(text, "'");
    for (; *word; word++)
        text = *word == '\'' ? guard_append(text, "'\\''")
                             : append_char(text, *word);
    return guard_append(text, "'");
}

/* A string of xl.cfg(5). */
char *guard_append_string(char *text, const char *s)
{
    text = guard_append(text, "\"");
    for (; *s; s++) {
        if (*s == '\n') {
            text = guard_append(text, "\\n");
            continue;
        }
        if (*s == '"' || *s == '\\')
            text = append_char(text, '\\');
        text = append_char(text, *s);
    }
    return guard_append(text, "\"");
}

/* ---- the command lines of stock xl -------------------------------------- */

/* Takes our option out, which has no short form. */
static int take_option(struct guard_start *s, const char *option, int argc,
                       char **argv)
{
    int i, n = 0;

    for (i = 0; i < argc; i++) {
        if (strcmp(argv[i], option))
            argv[n++] = argv[i];
        else
            s->our_option = argv[i];
    }
    argv[n] = NULL;
    return n;
}

/* False for what stock xl will refuse. */
static bool read_create(struct guard_start *s, int argc, char **argv)
{
    static const struct option options[] = {
        { "defconfig", required_argument, NULL, 'f' },
        { "dryrun", no_argument, NULL, 'n' },
        { "ignore-global-affinity-masks", no_argument, NULL, 'i' },
        { "quiet", no_argument, NULL, 'q' },
        { "vncviewer", no_argument, NULL, 'V' },
        { "vncviewer-autopass", no_argument, NULL, 'A' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    char *lines = NULL;
    const char *path = NULL;
    bool ok;
    int opt;

    argc = take_option(s, "--no-devices", argc, argv);
    /* stock xl takes a first argument without '=' for the file, even when
     * options follow; the same again in the loop below */
    if (argc > 1 && argv[1][0] != '-' && !strchr(argv[1], '=')) {
        path = argv[1];
        argc--;
        argv++;
    }
    while ((opt = getopt_long(argc, argv, "hAFVcdef:inpq", options,
                              NULL)) != -1) {
        if (opt == '?' || opt == 'h')
            return false;
        if (opt == 'f')
            path = optarg;
        s->only_shows |= opt == 'n';
        s->stays |= opt == 'F' || opt == 'c';
        s->paused |= opt == 'p';
    }
    for (; optind < argc; optind++) {
        if (strchr(argv[optind], '=')) {
            lines = guard_append(lines, argv[optind]);
            lines = guard_append(lines, "\n");
        } else if (!path) {
            path = argv[optind];
        } else {
            free(lines);
            return false;
        }
    }
    s->config_path = path;
    ok = path && guest_config_from_file(path, lines, &s->config);
    free(lines);
    return ok;
}

/* A guest that comes through a pipe is looked at like one in a file. */
static bool read_save(struct guard_start *s)
{
    switch (guest_config_from_save(s->save_file, &s->config)) {
    case GUEST_CONFIG_READ:
        return true;
    case GUEST_CONFIG_UNSEEN:
        xl_message("\"%s\": which guest is in it cannot be looked at before"
                   " it is restored: %s; copy it into a file and restore that,"
                   " or use \"%s\" instead of xl to restore it regardless",
                   s->save_file, errno == ESPIPE
                   ? "it is neither a file nor a pipe" : strerror(errno),
                   s->stock);
        s->unseen = true;
        return false;
    default:
        return false;
    }
}

static bool read_restore(struct guard_start *s, int argc, char **argv)
{
    static const struct option options[] = {
        { "vncviewer", no_argument, NULL, 'V' },
        { "vncviewer-autopass", no_argument, NULL, 'A' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int opt;

    argc = take_option(s, "--no-devices", argc, argv);
    while ((opt = getopt_long(argc, argv, "hFcpdeVA", options, NULL)) != -1) {
        if (opt == '?' || opt == 'h')
            return false;
        s->stays |= opt == 'F' || opt == 'c';
        s->paused |= opt == 'p';
    }
    if (optind >= argc || argc - optind > 2)
        return false;
    s->save_file = argv[argc - 1];
    if (argc - optind == 1)
        return read_save(s);
    s->config_path = argv[optind];
    return guest_config_from_file(s->config_path, NULL, &s->config);
}


/* The guest is the first argument.  The options are those of both commands:
 * what is wrong stock xl will say. */
static bool read_leave(struct guard_start *s, int argc, char **argv)
{
    bool migrate = !strcmp(xl_command_name, "migrate");
    static const struct option options[] = {
        { "debug", no_argument, NULL, 'd' },
        { "live", no_argument, NULL, 'l' },
        { "preserve-domid", no_argument, NULL, 'D' },
        { "compact", no_argument, NULL, 'x' },
        { "zstd", required_argument, NULL, 'x' },
        { "force", no_argument, NULL, 'x' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int i, opt;

    argc = take_option(s, "--detach", argc, argv);
    if (guard_migrate_read(s, argc, argv))
        return s->leaving;
    for (i = 1; i < argc && !migrate && strcmp(argv[i], "--"); i++)
        s->compact |= !strcmp(argv[i], "--compact");
    while ((opt = getopt_long(argc, argv, "hwcpFC:s:eDf", options,
                              NULL)) != -1) {
        if (opt == '?' || opt == 'h')
            return false;
        if (opt == 's')
            s->shell = optarg;
    }
    s->leaving = optind < argc ? argv[optind] : NULL;
    s->target = migrate && optind + 1 < argc ? argv[optind + 1] : NULL;
    return s->leaving;
}

/* The guest, and then the parts of a disk. */
static bool read_attach(struct guard_start *s, int argc, char **argv)
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };

    if (getopt_long(argc, argv, "h", options, NULL) != -1 ||
        argc - optind < 2)
        return false;
    optind++;
    s->attaching = true;
    return guest_config_from_disk(argc - optind,
                                  (const char *const *)argv + optind,
                                  &s->config);
}

/* ---- the concepts ------------------------------------------------------- */

#define CONCEPT(name, ...) extern const struct guard_concept guard_##name;
#include "guard-concepts.inc"
#undef CONCEPT

const struct guard_concept *const guard_concepts[] = {
#define CONCEPT(name, ...) &guard_##name,
#include "guard-concepts.inc"
#undef CONCEPT
};
const size_t guard_num_concepts =
    sizeof(guard_concepts) / sizeof(guard_concepts[0]);

static int ask_concepts(struct guard_start *s)
{
    const struct guard_concept *c;
    int status = 0;
    size_t i;

    guard_ctx(s);
    /* devices first: what sets them aside takes the lock that a concept may
     * keep until stock xl has ended */
    if (s->leaving)
        status = guard_hostdev_leave(s);
    for (i = 0; !status && i < guard_num_concepts; i++) {
        c = guard_concepts[i];
        if (s->leaving)
            status = c->leave ? c->leave(s) : 0;
        else
            status = c->check ? c->check(s) : 0;
    }
    /* each concept has had the lock by now */
    if (!status && s->num_while_paused)
        guard_hostdev_hold(s);
    return status;
}

xlx_ctx *guard_ctx(struct guard_start *s)
{
    if (!s->ctx && xlx_ctx_alloc(&s->ctx, NULL, NULL))
        xl_no_memory();
    return s->ctx;
}

void *guard_grown(void *array, int num, size_t size)
{
    array = reallocarray(array, (size_t)num + 1, size);
    if (!array)
        xl_no_memory();
    return array;
}

void guard_add_line(struct guard_start *s, char *line)
{
    s->lines = guard_grown(s->lines, s->num_lines, sizeof(*s->lines));
    s->lines[s->num_lines++] = line;
}

void guard_afterwards(struct guard_start *s, guard_end *end)
{
    s->afterwards = guard_grown(s->afterwards, s->num_afterwards,
                                sizeof(*s->afterwards));
    s->afterwards[s->num_afterwards++] = end;
}

static int run_afterwards(struct guard_start *s, int status)
{
    int i;

    for (i = 0; i < s->num_afterwards; i++)
        status = s->afterwards[i](s, status);
    return status;
}

/* ---- main --------------------------------------------------------------- */

static const struct {
    const char *command;
    bool (*read)(struct guard_start *s, int argc, char **argv);
} guarded[] = {
    { "create", read_create },
    { "restore", read_restore },
    { "save", read_leave },
    { "migrate", read_leave },
    { "disk-migrate", read_leave },
    { "block-attach", read_attach },
};

/* The dispatcher has made sure that the name, perhaps abbreviated, means one
 * of these.  Exit status. */
static int check(struct guard_start *s, int argc, char **argv)
{
    size_t i;

    for (i = 0; i < sizeof(guarded) / sizeof(guarded[0]); i++) {
        if (!strncmp(guarded[i].command, argv[0], strlen(argv[0])))
            break;
    }
    if (i == sizeof(guarded) / sizeof(guarded[0]))
        return 0;
    xl_command_name = guarded[i].command;
    optind = 0;                     /* a new argv: start again */
    if (guarded[i].read(s, argc, argv))
        return s->attaching ? guard_disk_attach(s) : ask_concepts(s);
    return s->unseen;
}

static int check_command_line(struct guard_start *s, int argc, char **argv)
{
    char **copy;
    int i, first, status, opt;

    opterr = 0;
    strcpy(s->globals, "-");
    while ((opt = getopt(argc, argv, "+vftTN")) != -1) {
        s->only_shows |= opt == 'N';
        if (strlen(s->globals) < sizeof(s->globals) - 1)
            strncat(s->globals, &(char){ (char)opt }, 1);
    }
    first = optind;
    if (first >= argc)
        return 0;
    /* getopt_long() puts arguments in another order. */
    copy = calloc((size_t)argc + 1, sizeof(*copy));
    if (!copy)
        xl_no_memory();
    memcpy(copy, argv, (size_t)argc * sizeof(*copy));
    s->as_typed = guard_append_word(NULL, "xl");
    for (i = 1; i < argc; i++)
        s->as_typed = guard_append_word(s->as_typed, argv[i]);
    status = check(s, argc - first, copy + first);
    s->command = first;
    free(s->as_typed);
    free(copy);
    xlx_ctx_free(s->ctx);
    s->ctx = NULL;
    return status;
}

int guard_while_paused(struct guard_start *s, const char *key,
                       guard_step *step)
{
    const char *name = s->config.name;

    if (!name[strspn(name, "0123456789")]) {
        xl_message("%s: the name \"%s\" would be taken for a domid: give the"
                   " guest another one", key, name);
        return 1;
    }
    if (s->only_shows)
        return 0;
    if (s->stays) {
        xl_message("%s: not with -F or -c, because the devices are attached "
                   "between the guest's making and its running; use xl "
                   "console afterwards", key);
        return 1;
    }
    s->while_paused = guard_grown(s->while_paused, s->num_while_paused,
                                  sizeof(*s->while_paused));
    s->while_paused[s->num_while_paused++] = step;
    return 0;
}

/* ---- running stock xl --------------------------------------------------- */

/* The words that were typed, with "-p" after the command if so asked, without
 * our option, and our lines. */
static char **stock_arguments(const struct guard_start *s, int argc,
                              char **argv, bool pause)
{
    char **args, **p;
    static char option[] = "-p";
    int i;

    p = args = calloc((size_t)(argc + s->num_lines) + 2, sizeof(*args));
    if (!args)
        xl_no_memory();
    for (i = 0; i < argc; i++) {
        if (!s->our_option || strcmp(argv[i], s->our_option))
            *p++ = argv[i];
        if (pause && i == s->command)
            *p++ = option;
    }
    for (i = 0; i < s->num_lines; i++)
        *p++ = s->lines[i];
    return args;
}

char *guard_path_of(const char *program)
{
    const char *dir = secure_getenv("LIBXLX_EXEC_DIR");

    if (strchr(program, '/'))
        return xl_format("%s", program);
    return xl_format("%s/%s", dir ? dir : XL_EXEC_DIR, program);
}

static int run(const char *program, char *const *argv,
               void (*wait)(struct guard_start *s, pid_t pid),
               struct guard_start *s)
{
    char *path = guard_path_of(program);
    int status = 127;
    pid_t pid;

    fflush(NULL);
    /* Ctrl-C is for the child: what is left to do then, we do. */
    signal(SIGINT, SIG_IGN);
    pid = fork();
    if (!pid) {
        signal(SIGINT, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        execv(path, argv);
        fprintf(stderr, "xl: \"%s\": %s\n", path, strerror(errno));
        _exit(errno == ENOENT ? 127 : 126);
    }
    if (pid < 0)
        xl_message("cannot fork: %s", strerror(errno));
    else if (wait)
        wait(s, pid);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    signal(SIGINT, SIG_DFL);
    free(path);
    if (pid < 0)
        return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status)
                             : 128 + WTERMSIG(status);
}

int guard_run(const char *program, char *const *argv)
{
    return run(program, argv, NULL, NULL);
}

static void release_images(struct guard_start *s)
{
    if (s->starting >= 0)
        close(s->starting);
    s->starting = -1;
}

/* Unlocks it for all that may have inherited it: of a migration to this host
 * the xl that watches the guest, which stays as long as the guest. */
static void release_guest(struct guard_start *s)
{
    if (s->hold >= 0) {
        flock(s->hold, LOCK_UN);
        close(s->hold);
    }
    s->hold = -1;
}

/* Stock xl has made the guest when it ends; with -F or -c it stays. */
static void hold_until_open(struct guard_start *s, pid_t pid)
{
    siginfo_t info = { .si_pid = 0 };

    while (s->stays && s->starting >= 0) {
        poll(NULL, 0, START_POLL_MS);
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) ||
            info.si_pid)
            break;
        if (guard_snapshot_open(s))
            release_images(s);
    }
}

static int stock_command(const struct guard_start *s, const char *command,
                         const char *who)
{
    char *argv[] = { xl_format("xl"), xl_format("%s", command),
                     xl_format("%s", who), NULL };
    int i, status = guard_run(s->stock, argv);

    for (i = 0; argv[i]; i++)
        free(argv[i]);
    return status;
}

/* Made by stock xl, given what it does not know, and only then set running;
 * exit status. */
static int start_in_steps(struct guard_start *s, int argc, char **argv)
{
    char **args = stock_arguments(s, argc, argv, true);
    const char *who = s->config.name;
    int i, status = guard_run(s->stock, args);

    free(args);
    release_images(s);
    release_guest(s);
    if (status)
        return status;
    /* Ctrl-C must not leave a guest that is half made */
    signal(SIGINT, SIG_IGN);
    for (i = 0; !status && i < s->num_while_paused; i++)
        status = s->while_paused[i](s, who);
    signal(SIGINT, SIG_DFL);
    xlx_ctx_free(s->ctx);           /* closed while stock xl runs */
    s->ctx = NULL;
    if (status) {
        if (s->save_file)
            guard_hostdev_keep(s, who);
        xl_message("the guest is destroyed again, because it must not run "
                   "without them");
        stock_command(s, "destroy", who);
    } else if (!s->paused) {
        status = stock_command(s, "unpause", who);
        if (!status)
            status = run_afterwards(s, status);
    }
    return status;
}

static int run_stock(struct guard_start *s, int argc, char **argv)
{
    char **args = stock_arguments(s, argc, argv, false);
    char *program = guard_path_of(s->compact ? "xl-saver" : s->stock);
    int status;

    if (s->copying)
        return run_afterwards(s, guard_migrate_run(s));
    if (!s->num_afterwards && s->starting < 0 && s->hold < 0) {
        execv(program, args);
        fprintf(stderr, "xl: %s\"%s\": %s\n",
                s->compact ? "" : "stock xl: ", program, strerror(errno));
        return errno == ENOENT ? 127 : 126;
    }
    status = run(program, args, hold_until_open, s);
    free(program);
    free(args);
    release_images(s);
    release_guest(s);
    return run_afterwards(s, status);
}

int main(int argc, char **argv)
{
    struct guard_start s = { .stock = NULL, .hold = -1, .starting = -1 };
    int status;

    if (argc < 3) {
        fputs("xl-guard is run by xl, not by people\n", stderr);
        return 2;
    }
    signal(SIGCHLD, SIG_DFL);       /* ignored, it would take statuses away */
    s.stock = argv[1];
    argv[1] = argv[0];
    status = check_command_line(&s, argc - 1, argv + 1);
    if (status)
        status = run_afterwards(&s, status);
    else
        status = s.num_while_paused ? start_in_steps(&s, argc - 1, argv + 1)
                                    : run_stock(&s, argc - 1, argv + 1);
    xlx_ctx_free(s.ctx);
    free(s.while_paused);
    free(s.afterwards);
    free(s.former);
    free(s.copying);
    guest_config_free(&s.config);
    return status;
}

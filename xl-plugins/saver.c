/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "xl save --compact": the guard runs it in the place of stock xl, with the
 * same words.  libxl writes into a pipe, a child makes a compact file of what
 * comes out, and the guest is destroyed only when that file is on disk;
 * otherwise it goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libxl.h>
#include <libxl_utils.h>

#include "core/number.h"
#include "core/save-head.h"
#include "libxlx.h"
#include "text.h"

const char *xl_command_name = "save";

struct saving {
    const char *who, *path;
    uint32_t level;
    bool live, force;
    bool goes_on, paused;           /* -c and -p */
    bool same_domid;                /* -D */
    libxl_ctx *xl;
    xentoollog_logger *logger;
    uint32_t domid;
    char *config;
};

static int fail(const char *what, const char *why)
{
    xl_message("%s: %s", what, why);
    return 1;
}

static int usage(void)
{
    xl_message("usage: xl save --compact [--live] [--zstd LEVEL] [--force] "
               "[-c|-p] [-D] DOMAIN FILE");
    return 2;
}

static int read_arguments(struct saving *s, int argc, char **argv)
{
    static const struct option options[] = {
        { "compact", no_argument, NULL, 'C' },
        { "live", no_argument, NULL, 'l' },
        { "zstd", required_argument, NULL, 'z' },
        { "force", no_argument, NULL, 'f' },
        { NULL, 0, NULL, 0 },
    };
    int opt;

    s->level = 1;
    while ((opt = getopt_long(argc, argv, "cpDf", options, NULL)) != -1) {
        if (opt == '?' ||
            (opt == 'z' && !xlx__parse_u32(optarg, 22, &s->level)))
            return usage();
        s->live |= opt == 'l';
        s->force |= opt == 'f';
        s->goes_on |= opt == 'c';
        s->paused |= opt == 'p';
        s->same_domid |= opt == 'D';
    }
    if (argc - optind == 3) {
        xl_message("another config is not taken with --compact");
        return 2;
    }
    if (argc - optind != 2)
        return usage();
    s->who = argv[optind];
    s->path = argv[optind + 1];
    return 0;
}

/* The same as stock xl has in its files. */
static int find_guest(struct saving *s)
{
    static const libxl_childproc_hooks hooks = {
        .chldowner = libxl_sigchld_owner_libxl_always_selective_reap,
    };
    libxl_domain_config c;

    s->logger = (xentoollog_logger *)xtl_createlogger_stdiostream(
        stderr, XTL_NOTICE, 0);
    if (!s->logger || libxl_ctx_alloc(&s->xl, LIBXL_VERSION, 0, s->logger))
        return fail(s->who, "libxl cannot be used");
    libxl_childproc_setmode(s->xl, &hooks, NULL);
    if (libxl_domain_qualifier_to_domid(s->xl, s->who, &s->domid))
        return fail(s->who, "no such guest");
    libxl_domain_config_init(&c);
    if (!libxl_retrieve_domain_configuration(s->xl, s->domid, &c, NULL)) {
        c.c_info.domid = s->same_domid ? s->domid : 0;
        s->config = libxl_domain_config_to_json(s->xl, &c);
    }
    libxl_domain_config_dispose(&c);
    return s->config ? 0 : fail(s->who, "libxl has no configuration of it");
}

/* ---- the file ----------------------------------------------------------- */

/* The child's part; exit status. */
static int make_file(const struct saving *s, int from)
{
    xlx_saved_compact_spec spec;
    xlx_saved_info info;
    xlx_ctx *ctx = NULL;
    int rc;

    xlx_saved_compact_spec_init(&spec);
    xlx_saved_info_init(&info);
    spec.fd = from;
    spec.to = (char *)(uintptr_t)s->path;
    spec.level = s->level;
    spec.force = s->force;
    rc = xlx_ctx_alloc(&ctx, NULL, NULL);
    if (!rc)
        rc = xlx_saved_compact(ctx, &spec, NULL, &info);
    if (rc)
        xl_message("%s", xlx_error_get());
    else
        fprintf(stderr, "Saved to %s, compact: %llu MiB of %llu\n", s->path,
                (unsigned long long)info.size >> 20,
                (unsigned long long)info.stream >> 20);
    xlx_saved_info_dispose(&info);
    xlx_ctx_free(ctx);
    return rc ? 1 : 0;
}

static pid_t start_file(const struct saving *s, int *to_r)
{
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC)) {
        fail("a pipe", strerror(errno));
        return -1;
    }
    fflush(NULL);
    pid = fork();
    if (!pid) {
        close(ends[1]);
        signal(SIGINT, SIG_IGN);        /* libxl ends, and the pipe with it */
        _exit(make_file(s, ends[0]));
    }
    close(ends[0]);
    if (pid < 0) {
        fail("fork", strerror(errno));
        close(ends[1]);
    } else {
        *to_r = ends[1];
    }
    return pid;
}

static bool end_file(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return WIFEXITED(status) && !WEXITSTATUS(status);
}

static int put_head(const struct saving *s, int fd)
{
    uint32_t len = (uint32_t)strlen(s->config) + 1;
    struct xlx__save_head h = {
        .magic = XLX__SAVE_MAGIC, .byte_order = XLX__SAVE_BYTE_ORDER,
        .mandatory = XLX__SAVE_JSON | XLX__SAVE_STREAM_V2,
        .length = (uint32_t)sizeof(len) + len,
    };

    if (libxl_write_exactly(s->xl, fd, &h, sizeof(h), s->path, "head") ||
        libxl_write_exactly(s->xl, fd, &len, sizeof(len), s->path, "head"))
        return -1;
    return libxl_write_exactly(s->xl, fd, s->config, len, s->path, "head");
}

/* ---- the guest ---------------------------------------------------------- */

static int let_go_on(const struct saving *s)
{
    int rc;

    if (s->paused)
        libxl_domain_pause(s->xl, s->domid, NULL);
    rc = libxl_domain_resume(s->xl, s->domid, 1, NULL);
    return rc ? fail(s->who, "it cannot be resumed; xl list shows its state")
              : 0;
}

static int save(const struct saving *s)
{
    bool suspended, whole;
    int to = -1, rc;
    pid_t pid;

    pid = start_file(s, &to);
    if (pid < 0)
        return 1;
    rc = put_head(s, to);
    suspended = !rc;
    if (!rc)
        rc = libxl_domain_suspend(s->xl, s->domid, to,
                                  s->live ? LIBXL_SUSPEND_LIVE : 0, NULL);
    close(to);
    whole = end_file(pid);
    if (!rc && whole)
        return s->goes_on || s->paused
               ? let_go_on(s)
               : libxl_domain_destroy(s->xl, s->domid, NULL)
                 ? fail(s->who, "it is saved, and cannot be destroyed; do not "
                        "let it run on") : 0;
    xl_message("\"%s\" was not saved%s", s->who,
               suspended ? ", and goes on" : "");
    if (suspended)
        libxl_domain_resume(s->xl, s->domid, 1, NULL);
    return 1;
}

/* Found out before the guest stands still. */
static int look_at_path(const struct saving *s)
{
    struct stat st;

    if (!s->force && !lstat(s->path, &st))
        return fail(s->path, "there is such a file; it is only replaced with "
                    "--force");
    return 0;
}

int main(int argc, char **argv)
{
    struct saving s = { .who = NULL };
    int status, first;

    if (argc < 2) {
        fputs("xl-saver is run by xl, not by people\n", stderr);
        return 2;
    }
    for (first = 1; first < argc - 1 && argv[first][0] == '-'; first++)
        ;                               /* xl's own options */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    status = read_arguments(&s, argc - first, argv + first);
    if (!status)
        status = look_at_path(&s);
    if (!status)
        status = find_guest(&s);
    if (!status)
        status = save(&s);
    free(s.config);
    if (s.xl)
        libxl_ctx_free(s.xl);
    if (s.logger)
        xtl_logger_destroy(s.logger);
    return status;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The context of a caller: its connections, opened when first needed, its
 * directories and its logger.  Every log line passes a listener of ours, which
 * keeps the errors that libxl logs: libxl's calls return little more than
 * "failed", and our message should give the reason.
 */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/internal.h"
#include "core/xs.h"

#define RC_NAME_SIZE 64

struct listener {
    xentoollog_logger vtable;           /* first: libxl has this address */
    xentoollog_logger *to;              /* NULL: nobody else listens */
    bool own_to;
    char said[512];                     /* "first; second", "" if none */
    char rc_name[RC_NAME_SIZE];         /* given out in its place */
    void (*on_pages)(void *user, unsigned long done, unsigned long total);
    void *user;
};

/* "libxl_dm.c:123:libxl__spawn_qemu: " is for libxl's developers. */
static const char *skip_place(const char *line)
{
    const char *p = strstr(line, ".c:");
    size_t n;

    if (!p || strcspn(line, " ") < (size_t)(p - line))
        return line;
    p += strlen(".c:");
    n = strspn(p, "0123456789");
    if (!n || p[n] != ':')
        return line;
    p += n + 1;
    n = strcspn(p, ": ");
    if (p[n] != ':')
        return line;
    p += n + 1;
    return p + strspn(p, " ");
}

/* All of them are kept: libxl logs the cause first and what it keeps it from
 * doing last.  A line that does not fit any more is not the cause. */
static void keep(struct listener *l, const char *text, int errnoval)
{
    size_t used = strlen(l->said), room = sizeof(l->said) - used;
    const char *between = used ? "; " : "";
    int n;

    if (errnoval >= 0)
        n = snprintf(l->said + used, room, "%s%s: %s", between, text,
                     strerror(errnoval));
    else
        n = snprintf(l->said + used, room, "%s%s", between, text);
    if (used && (n < 0 || (size_t)n >= room))
        l->said[used] = '\0';
}

static void listener_vmessage(xentoollog_logger *logger,
                              xentoollog_level level, int errnoval,
                              const char *context, const char *format,
                              va_list al)
    __attribute__((format(printf, 5, 0)));

static void listener_vmessage(xentoollog_logger *logger,
                              xentoollog_level level, int errnoval,
                              const char *context, const char *format,
                              va_list al)
{
    struct listener *l = (struct listener *)logger;
    char line[400];
    va_list copy;

    if (level >= XTL_ERROR) {
        va_copy(copy, al);
        if (vsnprintf(line, sizeof(line), format, copy) > 0)
            keep(l, skip_place(line), errnoval);
        va_end(copy);
    }
    if (l->to)
        l->to->vmessage(l->to, level, errnoval, context, format, al);
}

static void listener_progress(xentoollog_logger *logger, const char *context,
                              const char *doing_what, int percent,
                              unsigned long done, unsigned long total)
{
    struct listener *l = (struct listener *)logger;

    if (l->on_pages)
        l->on_pages(l->user, done, total);
    if (l->to && l->to->progress)
        l->to->progress(l->to, context, doing_what, percent, done, total);
}

static void listener_destroy(xentoollog_logger *logger)
{
    struct listener *l = (struct listener *)logger;

    if (l->own_to)
        xtl_logger_destroy(l->to);
    free(l);
}

/* Listens for the caller's logger; without one, for nobody, or for stderr if
 * LIBXLX_DEBUG asks for that. */
static xentoollog_logger *listener_new(xentoollog_logger *to)
{
    const char *debug = secure_getenv("LIBXLX_DEBUG");
    struct listener *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->vtable.vmessage = listener_vmessage;
    l->vtable.progress = listener_progress;
    l->vtable.destroy = listener_destroy;
    l->to = to;
    if (!to && debug && !strcmp(debug, "1")) {
        l->to = (xentoollog_logger *)xtl_createlogger_stdiostream(
            stderr, XTL_DEBUG, XTL_STDIOSTREAM_HIDE_PROGRESS);
        l->own_to = true;
    }
    return &l->vtable;
}

static int dir_from(const char *variable, const char *standard,
                    char **dir_r)
{
    const char *value = secure_getenv(variable);

    if (value && value[0] != '/')
        return xlx__error(ERROR_INVAL,
                          "%s: \"%s\": must be an absolute path",
                          variable, value);
    return xlx__set_string(dir_r, value ? value : standard);
}

int xlx_ctx_alloc(xlx_ctx **ctx_r, libxl_ctx *libxl,
                  xentoollog_logger *logger)
{
    xlx_ctx *ctx = NULL;
    int rc;

    xlx__error_clear();
    ctx = calloc(1, sizeof(*ctx));
    if (!ctx) {
        rc = xlx__nomem();
        goto out;
    }
    ctx->libxl = libxl;
    ctx->logger = listener_new(logger);
    if (!ctx->logger) {
        rc = xlx__nomem();
        goto out;
    }
    rc = dir_from("LIBXLX_STATE_DIR", XLX_STATE_DIR, &ctx->state_dir);
    if (rc) goto out;
    rc = dir_from("LIBXLX_RUN_DIR", XLX_RUN_DIR, &ctx->run_dir);
    if (rc) goto out;

    *ctx_r = ctx;
    ctx = NULL;
    rc = 0;
 out:
    xlx_ctx_free(ctx);
    return rc;
}

void xlx_ctx_free(xlx_ctx *ctx)
{
    if (!ctx)
        return;
    xlx__xs_close(ctx);
    if (ctx->own_libxl)
        libxl_ctx_free(ctx->libxl);
    xtl_logger_destroy(ctx->logger);
    free(ctx->state_dir);
    free(ctx->run_dir);
    free(ctx);
}

/* ---- libxl ------------------------------------------------------------- */

/* libxl, left to itself, reaps all children of the process while it has one
 * of its own.  A context of ours rests in the first of these, where libxl
 * touches neither SIGCHLD nor any child, and takes the second, in which it
 * reaps its own children alone, for the calls that may start one. */
static pid_t no_fork(void *user)
{
    (void)user;
    errno = EPERM;              /* a call of ours asked for the wrong one */
    return -1;
}

static const libxl_childproc_hooks resting = {
    .chldowner = libxl_sigchld_owner_mainloop,
    .fork_replacement = no_fork,
};
static const libxl_childproc_hooks working = {
    .chldowner = libxl_sigchld_owner_libxl_always_selective_reap,
};

const char *xlx_version(void)
{
    return PACKAGE_VERSION;
}

int xlx__ctx_libxl(xlx_ctx *ctx, libxl_ctx **libxl_r)
{
    struct listener *l = (struct listener *)ctx->logger;
    const char *hint = "cannot open libxl";
    int rc;

    l->said[0] = '\0';
    if (!ctx->libxl) {
        rc = libxl_ctx_alloc(&ctx->libxl, LIBXL_VERSION, 0, ctx->logger);
        if (rc) {
            ctx->libxl = NULL;
            if (access("/proc/xen", F_OK) && access("/dev/xen", F_OK))
                hint = "no Xen on this host";
            else if (geteuid())
                hint = "cannot open libxl (try as root)";
            return xlx__error(rc, "%s: %s", hint,
                              xlx__ctx_libxl_said(ctx, rc));
        }
        ctx->own_libxl = true;
        libxl_childproc_setmode(ctx->libxl, &resting, NULL);
    }
    *libxl_r = ctx->libxl;
    return 0;
}

/* libxl's assertion would end the program. */
static int check_sigchld(void)
{
    struct sigaction now;

    if (sigaction(SIGCHLD, NULL, &now))
        return xlx__error(ERROR_FAIL, "SIGCHLD: %m");
    if (!(now.sa_flags & SA_SIGINFO) &&
        (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN))
        return 0;
    return xlx__error(ERROR_INVAL, "this program handles SIGCHLD itself, and "
                      "libxl needs it for this: the program must give "
                      "xlx_ctx_alloc a libxl context that it prepared with "
                      "libxl_childproc_setmode");
}

int xlx__ctx_libxl_working(xlx_ctx *ctx, libxl_ctx **libxl_r)
{
    libxl_ctx *libxl;
    int rc;

    rc = xlx__ctx_libxl(ctx, &libxl);
    if (rc) return rc;
    if (ctx->own_libxl && !ctx->libxl_working) {
        rc = check_sigchld();
        if (rc) return rc;
        libxl_childproc_setmode(libxl, &working, NULL);
        ctx->libxl_working = true;
    }
    *libxl_r = libxl;
    return 0;
}

/* SIGCHLD is the caller's again. */
static void rest(xlx_ctx *ctx)
{
    if (ctx->libxl_working)
        libxl_childproc_setmode(ctx->libxl, &resting, NULL);
    ctx->libxl_working = false;
}

void xlx__ctx_reconnect(xlx_ctx *ctx)
{
    xlx__xs_close(ctx);
    if (!ctx->own_libxl)
        return;
    rest(ctx);
    libxl_ctx_free(ctx->libxl);
    ctx->libxl = NULL;
    ctx->own_libxl = false;
}

/* "ERROR_FAIL"; libxl itself calls that "fail". */
static const char *rc_name(int rc, char name[RC_NAME_SIZE])
{
    const char *short_name = libxl_error_to_string(rc);
    char *p;

    if (!short_name) {
        snprintf(name, RC_NAME_SIZE, "error %d", rc);
        return name;
    }
    snprintf(name, RC_NAME_SIZE, "ERROR_%s", short_name);
    for (p = name; *p; p++)
        *p = toupper((unsigned char)*p);
    return name;
}

const char *xlx__ctx_libxl_said(xlx_ctx *ctx, int rc)
{
    struct listener *l = (struct listener *)ctx->logger;

    return l->said[0] ? l->said : rc_name(rc, l->rc_name);
}

void xlx__ctx_on_pages(xlx_ctx *ctx,
                       void (*on_pages)(void *user, unsigned long done,
                                        unsigned long total), void *user)
{
    struct listener *l = (struct listener *)ctx->logger;

    l->on_pages = on_pages;
    l->user = user;
}

void xlx__call_enter(xlx_ctx *ctx, const char *call)
{
    xlx__error_clear();
    xlx__debug(ctx, "%s", call);
}

int xlx__call_leave(xlx_ctx *ctx, const char *call, int rc)
{
    char name[RC_NAME_SIZE];

    rest(ctx);
    if (!rc) {
        xlx__debug(ctx, "%s: done", call);
        return 0;
    }
    rc_name(rc, name);
    if (!xlx_error_get()[0])
        xlx__error(rc, "%s: failed (%s)", call, name);
    xlx__debug(ctx, "%s: %s: %s", call, name, xlx_error_get());
    return rc;
}

void xlx__debug(xlx_ctx *ctx, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    xtl_logv(ctx->logger, XTL_DEBUG, -1, "libxlx", fmt, ap);
    va_end(ap);
}

void xlx__notice(xlx_ctx *ctx, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    xtl_logv(ctx->logger, XTL_NOTICE, -1, "libxlx", fmt, ap);
    va_end(ap);
}

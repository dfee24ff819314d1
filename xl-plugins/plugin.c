/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The main() of each program of commands, and what it owns: the context, the
 * messages, the signals and the progress line.  See plugin.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libxl.h>
#include <xentoollog.h>

#include "plugin.h"
#include "text.h"

/* Without a terminal, a line of progress each time so many seconds passed. */
#define LINE_EVERY_MS 10000

static xlx_ctx *context;
static xentoollog_logger *logger;

/* ---- messages ----------------------------------------------------------- */

/* A progress line that is not ended yet is on the terminal. */
static bool line_is_open;

static void end_line(void)
{
    if (line_is_open)
        fputc('\n', stderr);
    line_is_open = false;
}

int xl_fail(const char *fmt, ...)
{
    va_list ap;

    end_line();
    va_start(ap, fmt);
    xl_vmessage(fmt, ap);
    va_end(ap);
    return 1;
}

void xl_warn(const char *fmt, ...)
{
    va_list ap;

    end_line();
    va_start(ap, fmt);
    xl_vmessage(fmt, ap);
    va_end(ap);
}

/* ---- signals ------------------------------------------------------------ */

static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP };
#define NUM_STOP_SIGNALS (sizeof(stop_signals) / sizeof(stop_signals[0]))

static volatile sig_atomic_t stopped_by;

static void on_stop_signal(int signo)
{
    stopped_by = signo;
}

/* Only the first of each is caught: whoever insists gets what he wants.  One
 * that is ignored (nohup) stays so. */
static void catch_stop_signals(void)
{
    struct sigaction new = { .sa_handler = on_stop_signal }, old;
    static bool done;
    size_t i;

    if (done)
        return;
    done = true;
    new.sa_flags = (int)SA_RESETHAND;
    sigemptyset(&new.sa_mask);
    for (i = 0; i < NUM_STOP_SIGNALS; i++) {
        if (!sigaction(stop_signals[i], NULL, &old) &&
            old.sa_handler == SIG_DFL)
            sigaction(stop_signals[i], &new, NULL);
    }
}

int xl_failed(int rc)
{
    const char *why = xlx_error_get();

    xl_fail("%s", *why ? why : "failed without a message");
    return rc == ERROR_ABORTED && stopped_by ? 128 + stopped_by : 1;
}

/* ---- progress ----------------------------------------------------------- */

static struct {
    char *what;                     /* the work that is being shown */
    int64_t start_ms;               /* when it began ... */
    uint64_t start_done;            /* ... with so much done */
    int64_t shown_ms;               /* when the last line was printed */
    int width;                      /* of that line */
} shown;

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* "42% (4.2g of 10g, 120m/s, 0:48 left)", with what of it is known. */
static char *progress_text(const xlx_job_progress *p, int64_t now)
{
    char done[XL_SIZE_MAX], total[XL_SIZE_MAX], rate[XL_SIZE_MAX];
    char speed[32] = "", left[32] = "", amount[40];
    int64_t ms = now - shown.start_ms;
    uint64_t bytes, per_s = 0, s;

    bytes = p->done > shown.start_done ? p->done - shown.start_done : 0;
    if (ms >= 1000)
        per_s = (uint64_t)((double)bytes * 1000 / (double)ms);
    if (per_s)
        snprintf(speed, sizeof(speed), ", %s/s", xl_size(per_s, rate));
    if (per_s && p->total > p->done) {
        s = (p->total - p->done) / per_s;
        if (s < 360000)
            snprintf(left, sizeof(left), ", %u:%02u left", (unsigned)s / 60,
                     (unsigned)s % 60);
    }
    if (!p->total)
        return xl_format("%s%s", xl_size(p->done, done), speed);
    snprintf(amount, sizeof(amount), "%s of %s", xl_size(p->done, done),
             xl_size(p->total, total));
    return xl_format("%u%% (%s%s%s)", p->done >= p->total ? 100 :
                     (unsigned)((double)p->done * 100 / (double)p->total),
                     amount, speed, left);
}

static void show(const xlx_job_progress *p, bool rewrite, int64_t now)
{
    char *text = progress_text(p, now);
    int width;

    if (rewrite)
        fputc('\r', stderr);
    width = xl_put_text(stderr, p->what);
    if (p->done || p->total)
        width += fprintf(stderr, ": %s", text);
    if (rewrite)
        fprintf(stderr, "%*s", width < shown.width ? shown.width - width : 0,
                "");
    else
        fputc('\n', stderr);
    fflush(stderr);
    line_is_open = rewrite;
    shown.width = width;
    shown.shown_ms = now;
    free(text);
}

static int on_progress(void *user, const xlx_job_progress *p)
{
    bool rewrite = isatty(STDERR_FILENO) || xl_global_option('t');
    int64_t now = now_ms();

    (void)user;
    if (!shown.what || strcmp(shown.what, p->what)) {
        end_line();
        free(shown.what);
        shown.what = xl_format("%s", p->what);
        shown.start_ms = shown.shown_ms = now;
        shown.start_done = p->done;
        shown.width = 0;
    }
    if (rewrite || now - shown.shown_ms >= LINE_EVERY_MS)
        show(p, rewrite, now);
    return stopped_by != 0;
}

const xlx_progress *xl_progress(void)
{
    static const xlx_progress progress = { .callback = on_progress };

    catch_stop_signals();
    return &progress;
}

/* ---- main --------------------------------------------------------------- */

/* Without -v only what the library has to tell the user is shown. */
static void show_notice(xentoollog_logger *self, xentoollog_level level,
                        int errnoval, const char *from, const char *format,
                        va_list ap) __attribute__((format(printf, 5, 0)));

static void show_notice(xentoollog_logger *self, xentoollog_level level,
                        int errnoval, const char *from, const char *format,
                        va_list ap)
{
    (void)self;
    (void)errnoval;
    if (level != XTL_NOTICE || !from || strcmp(from, "libxlx"))
        return;
    end_line();
    xl_vmessage(format, ap);
}

static void show_no_progress(xentoollog_logger *self, const char *from,
                             const char *doing, int percent,
                             unsigned long done, unsigned long total)
{
    (void)self;
    (void)from;
    (void)doing;
    (void)percent;
    (void)done;
    (void)total;
}

static void keep_logger(xentoollog_logger *self)
{
    (void)self;
}

static xentoollog_logger notices = {
    .vmessage = show_notice,
    .progress = show_no_progress,
    .destroy = keep_logger,
};

/* With -v the library's messages are shown as xl shows those of libxl. */
static xentoollog_logger *make_logger(void)
{
    unsigned int flags = xl_global_option('t')
                         ? XTL_STDIOSTREAM_PROGRESS_USE_CR : 0;
    int level = XTL_PROGRESS - (int)xl_global_option('v');

    if (xl_global_option('T'))
        flags |= XTL_STDIOSTREAM_SHOW_DATE | XTL_STDIOSTREAM_SHOW_PID;
    if (level == XTL_PROGRESS)
        return secure_getenv("LIBXLX_DEBUG") ? NULL : &notices;
    return (xentoollog_logger *)xtl_createlogger_stdiostream(
        stderr, level < XTL_DEBUG ? XTL_DEBUG : (xentoollog_level)level,
        flags);
}

xlx_ctx *xl_ctx(void)
{
    if (!context) {
        logger = make_logger();
        if (xlx_ctx_alloc(&context, NULL, logger))
            exit(xl_fail("%s", xlx_error_get()));
    }
    return context;
}

int main(int argc, char **argv)
{
    const struct xl_command *command;
    int status;

    /* a parent that ignores it hands that down over exec */
    signal(SIGCHLD, SIG_DFL);
    command = xl_command_find(xl_commands, &argc, &argv);
    if (!command)
        return 2;
    if (command->changes)
        catch_stop_signals();
    status = command->main(argc, argv);
    end_line();
    if ((fflush(stdout) || ferror(stdout)) && !status)
        status = xl_fail("standard output: %s", strerror(errno));
    xlx_ctx_free(context);
    if (logger)
        xtl_logger_destroy(logger);
    free(shown.what);
    return status;
}

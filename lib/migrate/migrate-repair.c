/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A migration that was cut short.  Before the other host was told to start the
 * guest it stays here: nobody there can have started it.  After that the other
 * host is asked, and while it cannot be asked the guest stays suspended: to
 * run in no place is better than to run in two.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/kernfs.h"
#include "core/report.h"
#include "core/store.h"
#include "migrate/migrate.h"

#define LOCK_MS 10000               /* the one that was killed has it */
#define SUSPEND_MS 5000             /* what was asked of the guest is done */
#define ASK_MS 60000
#define POLL_MS 250

static void nap(void)
{
    const struct timespec t = { .tv_nsec = POLL_MS * 1000000L };

    nanosleep(&t, NULL);
}

/* ---- the other host ----------------------------------------------------- */

/* xl migrate-receive destroys what it has when nobody tells it to start it,
 * but only if its report about that finds a reader: it may also be left,
 * paused.  Until it has gone it may still be started. */
int xlx__migrate_dispel(struct xlx__migrate *m, bool *runs_r)
{
    const int64_t deadline = xlx__now_ms() + ASK_MS;
    struct xlx__remote_guest found;
    int rc;

    for (;;) {
        rc = xlx__remote_look(m, &found);
        if (rc) return rc;
        *runs_r = found.runs;
        if (!found.arriving)
            return 0;
        if (xlx__now_ms() > deadline)
            return xlx__error(ERROR_TIMEDOUT, "%s has the guest, and does not "
                              "destroy it", m->record.host);
        (void)xlx__remote_destroy(m);
        xlx__error_clear();
        nap();
    }
}

int xlx__migrate_ask(struct xlx__migrate *m, bool *runs_r)
{
    int rc;

    xlx__shell_end(&m->agent, 0);
    rc = xlx__remote_open(m, true);
    return rc ? rc : xlx__migrate_dispel(m, runs_r);
}

/* ---- here --------------------------------------------------------------- */

/* The domain may be another guest's when the host was started since. */
static int same_boot(const struct xlx__migrate *m, bool *same_r)
{
    char *boot = NULL;
    int rc;

    rc = xlx__attr_read(&boot, "/proc/sys/kernel/random/boot_id");
    if (!rc)
        *same_r = !strcmp(boot, xlx__text(m->record.boot));
    free(boot);
    return rc;
}

static int look(struct xlx__migrate *m, enum xlx__migrate_state *state_r)
{
    const int64_t deadline = xlx__now_ms() + SUSPEND_MS;
    bool same;
    int rc;

    *state_r = XLX__MIGRATE_GONE;
    rc = same_boot(m, &same);
    if (rc || !same)
        return rc;
    do {
        rc = xlx__migrate_look(m->ctx, m->guest, state_r);
        /* it may be about to suspend itself, as it was asked to */
        if (rc || *state_r != XLX__MIGRATE_RUNS ||
            m->record.phase != XLX_DISK_MIGRATION_PHASE_MOVING)
            return rc;
        nap();
    } while (xlx__now_ms() < deadline);
    return 0;
}

/* ---- the repair --------------------------------------------------------- */

static int tell(struct xlx__migrate *m, xlx_repair_report *report,
                bool repaired, const char *done)
{
    return xlx__report(report, repaired, done, "a migration of \"%s\" to %s "
                       "was cut short", xlx__text(m->record.guest.name),
                       m->record.host);
}

static int say_stays(struct xlx__migrate *m, bool dry_run,
                     enum xlx__migrate_state state,
                     xlx_repair_report *report)
{
    const char *would = dry_run ? "would " : "";
    char *text;
    int rc;

    if (state == XLX__MIGRATE_GONE)
        text = xlx__printf("the guest does not run on either host; what was "
                           "made there %s", dry_run ? "would be removed"
                           : m->forsaken ? "stays" : "is removed");
    else
        text = xlx__printf("the guest %s here; what was made there %s%s",
                           dry_run ? "would go on" : "runs", would,
                           m->forsaken ? dry_run ? "stay" : "stays"
                           : dry_run ? "be removed" : "is removed");
    if (!text)
        return xlx__nomem();
    rc = tell(m, report, !dry_run, text);
    free(text);
    return rc;
}

/* A failure is a finding: what could be done was done. */
static int stay(struct xlx__migrate *m, bool dry_run,
                xlx_repair_report *report)
{
    enum xlx__migrate_state state;
    int rc;

    rc = look(m, &state);
    if (!rc && !dry_run)
        rc = state == XLX__MIGRATE_GONE ? xlx__migrate_stay_gone(m)
                                        : xlx__migrate_stay(m);
    return rc ? tell(m, report, false, xlx_error_get())
              : say_stays(m, dry_run, state, report);
}

static int leave(struct xlx__migrate *m, bool dry_run,
                 xlx_repair_report *report)
{
    bool same;
    int rc;

    rc = same_boot(m, &same);
    if (!rc && !dry_run)
        rc = same ? xlx__migrate_leave(m) : xlx__migrate_forget(m);
    if (rc)
        return tell(m, report, false, xlx_error_get());
    return tell(m, report, !dry_run, dry_run
                ? "the guest runs there; its domain here would be destroyed"
                : "the guest runs there; its domain here is destroyed");
}

static int decide(struct xlx__migrate *m, bool gone, bool dry_run,
                  xlx_repair_report *report)
{
    struct xlx__error_text why;
    bool runs = false;
    char *text;
    int rc;

    if (dry_run && !gone)
        return tell(m, report, false, "the guest may run there: without "
                    "--dry-run the other host is asked");
    rc = gone ? 0 : xlx__migrate_ask(m, &runs);
    if (!rc)
        return runs ? leave(m, dry_run, report) : stay(m, dry_run, report);
    xlx__error_save(&why);
    text = xlx__printf("the guest may run there, and stays suspended here: "
                       "%s; look there, and use --arrived when it runs there, "
                       "--gone when not", why.line);
    if (!text)
        return xlx__nomem();
    rc = tell(m, report, false, text);
    free(text);
    return rc;
}

static int repair(struct xlx__migrate *m, bool gone, bool arrived,
                  bool dry_run, xlx_repair_report *report)
{
    if (m->record.phase == XLX_DISK_MIGRATION_PHASE_ARRIVED || arrived)
        return leave(m, dry_run, report);
    if (m->record.phase == XLX_DISK_MIGRATION_PHASE_HANDOVER)
        return decide(m, gone, dry_run, report);
    return stay(m, dry_run, report);
}

int xlx__disk_migrate_repair(xlx_ctx *ctx, const xlx_guest *guest, bool gone,
                             bool arrived, bool dry_run,
                             xlx_repair_report *report)
{
    struct xlx__migrate m;
    bool found;
    int rc;

    xlx__migrate_begin(&m, ctx, guest);
    m.forsaken = gone;
    if (gone && arrived) {
        rc = xlx__error(ERROR_INVAL, "gone and arrived: only one of them can "
                        "be true");
        goto out;
    }
    rc = xlx__migrate_lock(&m, xlx__now_ms() + LOCK_MS);
    if (rc) goto out;
    rc = xlx__migrate_load(&m, &found);
    if (rc || !found) goto out;
    if (arrived && m.record.phase < XLX_DISK_MIGRATION_PHASE_HANDOVER) {
        rc = xlx__error(ERROR_INVAL, "the other host was never told to start "
                        "the guest: it cannot run there");
        goto out;
    }
    m.guest = &m.record.guest;      /* the domain that it was then */
    rc = repair(&m, gone, arrived, dry_run, report);

 out:
    xlx__migrate_end(&m);
    return rc;
}

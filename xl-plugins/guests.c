/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The common part of commands for a row of guests, the named ones or all: one
 * after the other, so that one that fails does not keep the others from their
 * turn; and the two that every concept with devices has, repair and watch.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "attached.h"
#include "plugin.h"
#include "text.h"

int xl_each_guest(const struct xl_guests *guests,
                  int (*one)(const xlx_guest *guest, void *user), void *user)
{
    int i, rc, r, worst = 0;
    xlx_guests all;
    xlx_guest guest;

    xlx_guests_init(&all);
    rc = guests->num_names ? 0 : guests->list(xl_ctx(), &all);
    if (rc)
        worst = xl_failed(rc);
    for (i = 0; i < all.num_guests; i++) {
        r = one(&all.guests[i], user);
        if (r > worst)
            worst = r;
    }
    for (i = 0; i < guests->num_names; i++) {
        xlx_guest_init(&guest);
        rc = xlx_guest_find(xl_ctx(), guests->names[i], guests->config,
                            &guest);
        r = rc ? xl_failed(rc) : one(&guest, user);
        if (r > worst)
            worst = r;
        xlx_guest_dispose(&guest);
    }
    xlx_guests_dispose(&all);
    return worst;
}

int xl_print_element(char *json, int *shown)
{
    if (!json)
        return xl_failed(ERROR_NOMEM);
    printf("%s%s", (*shown)++ ? ",\n" : "", json);
    free(json);
    return 0;
}

/* ---- repair ------------------------------------------------------------- */

struct repair_state {
    const struct xl_repair *how;
    int shown;
};

static void say_about(const xlx_guest *guest)
{
    if (*xl_text(guest->name))
        xl_put_text(stdout, guest->name);
    else
        printf(LIBXL_UUID_FMT, LIBXL_UUID_BYTES(guest->uuid));
    printf(": ");
}

static void say_report(const xlx_guest *guest, const xlx_repair_report *report)
{
    int i;

    for (i = 0; i < report->num_findings; i++) {
        say_about(guest);
        xl_put_text(stdout, xl_text(report->findings[i].what));
        printf("; ");
        xl_put_text(stdout, xl_text(report->findings[i].done));
        printf("\n");
    }
    if (!report->num_findings) {
        say_about(guest);
        printf("all in order\n");
    }
}

/* 1 when something is left that needs a person. */
static int repair_one(const xlx_guest *guest, void *user)
{
    struct repair_state *s = user;
    const struct xl_repair *how = s->how;
    xlx_repair_report report;
    int i, rc, r = 0;

    xlx_repair_report_init(&report);
    rc = how->repair(xl_ctx(), guest, how->dry_run, &report);
    if (rc)
        r = xl_failed(rc);
    else if (how->json)
        r = xl_print_element(xlx_repair_report_to_json(xl_ctx(), &report),
                             &s->shown);
    else
        say_report(guest, &report);
    for (i = 0; !r && i < report.num_findings; i++)
        r = !report.findings[i].repaired;
    if (how->watch && !rc && !how->dry_run)
        xl_start_watcher(how->watch, guest);
    xlx_repair_report_dispose(&report);
    return r;
}

int xl_repair_guests(const struct xl_guests *guests,
                     const struct xl_repair *how)
{
    struct repair_state s = { .how = how };
    int r;

    if (how->json)
        printf("[\n");
    r = xl_each_guest(guests, repair_one, &s);
    if (how->json)
        printf("]\n");
    return r;
}

/* ---- the watcher, in lists ---------------------------------------------- */

const char *xl_watcher_word(const xlx_watcher *w)
{
    switch (w->status) {
    case XLX_WATCHER_STATUS_RUNS:    return "runs";
    case XLX_WATCHER_STATUS_FAILING: return "failing";
    case XLX_WATCHER_STATUS_MISSING: return "missing";
    default:                         return "-";
    }
}

void xl_note_watcher(struct xl_table *t, const xlx_guest *guest,
                     const xlx_watcher *w)
{
    char when[32] = "";
    struct tm tm;
    time_t since = (time_t)w->since;

    if (!*xl_text(w->problem))
        return;
    if (w->status == XLX_WATCHER_STATUS_FAILING && since &&
        localtime_r(&since, &tm))
        strftime(when, sizeof(when), " since %F %T", &tm);
    xl_table_note(t, "%s: %s%s%s%s", xl_text(guest->name),
                  w->status == XLX_WATCHER_STATUS_FAILING
                  ? "its watcher fails" : "", when, *when ? ": " : "",
                  w->problem);
}

/* ---- watch -------------------------------------------------------------- */

/* The exit status for which the unit does not start it again. */
#define NOTHING_TO_WATCH 3

int xl_watch_guest(const char *who,
                   int (*watch)(xlx_ctx *ctx, const xlx_guest *guest))
{
    xlx_guest guest;
    int rc;

    xlx_guest_init(&guest);
    rc = xlx_guest_find(xl_ctx(), who, NULL, &guest);
    if (!rc)
        rc = watch(xl_ctx(), &guest);
    xlx_guest_dispose(&guest);
    if (!rc)
        return 0;
    /* in the background nobody sees what it prints, but of a unit */
    if (rc != ERROR_LOCK_FAIL && !secure_getenv("JOURNAL_STREAM"))
        syslog(LOG_DAEMON | LOG_ERR, "%s: %s", who, xlx_error_get());
    xl_failed(rc);
    return rc == ERROR_LOCK_FAIL || rc == ERROR_DOMAIN_NOTFOUND
           ? NOTHING_TO_WATCH : 1;
}

void xl_start_watcher(const char *command, const xlx_guest *guest)
{
    xl_run_watcher("/proc/self/exe", command, guest);
}

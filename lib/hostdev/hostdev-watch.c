/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Staying with a guest: stock xl starts it again after a reboot, as another
 * domain, and destroys it, without a thought for devices that it does not
 * know.  All that counts is in the records, so that a watcher that was killed
 * is replaced by starting another one.  Nobody starts one that gave up: it
 * ends when there is nothing left to watch, and after no error.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "guest/guest.h"
#include "hostdev/hostdev.h"

#define REBOOT_MS 60000             /* xl itself sleeps two seconds */
#define LOOK_MS 60000               /* is there still something to watch? */
#define BUDGET_MS 12000             /* of a look: commands wait longer */
#define BUSY_MS 1000                /* another command has the guest */
#define BLIND_MS 5000               /* there are no events */
#define LOCK_MS 1000                /* a list may be looking at it */
#define LONGEST_NAP_MS 30000        /* after an error */
#define POLL_MS 1000                /* does the guest still run? */
#define REMIND_S 3600               /* of an error that was logged */
#define PAUSE_S 60                  /* before another is */

/* From the first event: one device makes a dozen of them, and has its
 * interfaces some time after it. */
#define REST_MS 700

/* linux/netlink.h has no names for the groups: 1 is the kernel's, 2 udev's,
 * when its rules are done. */
#define EVENT_GROUPS 3

struct watch {
    xlx_ctx *ctx;
    const struct xlx__hostdev_watch *how;
    xlx_guest guest;                /* as last seen */
    struct xlx__lock lock;
    int events;                     /* a netlink socket, or -1 */
    int64_t due;                    /* when to look */
    bool gone;                      /* if it does not run at that time, then
                                     * it is not rebooting */
    struct xlx__hostdev_patience patience;
    struct xlx__hostdev_health health;
    int64_t reminded;               /* when the caller's user last heard */
    char said[XLX__ERROR_SIZE];     /* and what */
    unsigned int failures;          /* of rounds, one after the other */
};

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- errors ------------------------------------------------------------- */

/* It is logged once, and again when it lasts. */
static void say_error(struct watch *w, const char *error)
{
    struct xlx__hostdev_health *h = &w->health;
    int64_t wait;

    h->last = time(NULL);
    if (!*h->error) {
        h->since = h->last;
        h->times = 0;
    }
    h->times++;
    snprintf(h->error, sizeof(h->error), "%s", error);
    wait = strcmp(w->said, h->error) ? PAUSE_S : REMIND_S;
    if (!w->reminded || h->last - w->reminded >= wait) {
        w->reminded = h->last;
        memcpy(w->said, h->error, sizeof(w->said));
        xlx__notice(w->ctx, "%s: %s; it tries again",
                    xlx__text(w->guest.name), h->error);
    }
    xlx__hostdev_health_write(&w->lock, h);
}

static void say_well(struct watch *w)
{
    if (!*w->health.error)
        return;
    memset(&w->health, 0, sizeof(w->health));
    xlx__hostdev_health_write(&w->lock, &w->health);
}

/* Names the first thing that a look could not do.  Waiting for its turn is not
 * an error. */
static void say_findings(struct watch *w, const xlx_repair_report *report)
{
    const xlx_repair_finding *f;
    char line[XLX__ERROR_SIZE];
    int i;

    if (!w->patience.num && w->events >= 0)
        say_well(w);
    for (i = 0; w->patience.num && i < report->num_findings; i++) {
        f = &report->findings[i];
        if (f->repaired)
            continue;
        snprintf(line, sizeof(line), "%s: %s", xlx__text(f->what),
                 xlx__text(f->done));
        say_error(w, line);
        break;
    }
}

/* A round failed, whatever it was: xenstored was started again, memory or
 * descriptors are short, a record cannot be read. */
static void recover(struct watch *w)
{
    int64_t nap = xlx__hostdev_backoff(++w->failures);

    say_error(w, xlx_error_get());
    xlx__error_clear();
    xlx__ctx_reconnect(w->ctx);
    poll(NULL, 0, (int)sooner(nap, LONGEST_NAP_MS));
    w->due = 0;                     /* whatever has happened since */
}

/* ---- events ------------------------------------------------------------- */

/* Without them it looks every few seconds. */
static void open_events(struct watch *w)
{
    struct sockaddr_nl addr = {
        .nl_family = AF_NETLINK, .nl_groups = EVENT_GROUPS,
    };
    int fd;

    fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                NETLINK_KOBJECT_UEVENT);
    if (fd >= 0 && !bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
        w->events = fd;
        return;
    }
    xlx__error(ERROR_FAIL, "the kernel's events: %m");
    say_error(w, xlx_error_get());
    xlx__error_clear();
    if (fd >= 0)
        close(fd);
}

/* A disk says that it has changed whenever somebody has written to it. */
static bool is_wanted(const struct xlx__hostdev_watch *how, const char *text,
                      size_t len)
{
    static const char change[] = "ACTION=change";   /* with its NUL */
    const char *const *subsystem;
    char word[64];
    int n;

    if (memmem(text, len, change, sizeof(change)))
        return false;
    for (subsystem = how->subsystems; *subsystem; subsystem++) {
        n = snprintf(word, sizeof(word), "SUBSYSTEM=%s", *subsystem);
        if (memmem(text, len, word, (size_t)n + 1))
            return true;
    }
    return false;
}

/* Takes what has come; was there something of interest, or was too much to
 * take all? */
static bool take_events(struct watch *w)
{
    bool found = false;
    char text[8192];
    ssize_t len;
    int i;

    for (i = 0; i < 1000; i++) {
        len = recv(w->events, text, sizeof(text), 0);
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0)
            return found || errno == ENOBUFS;
        if (is_wanted(w->how, text, (size_t)len))
            found = true;
    }
    return found;
}

/* Until there is an event, or for a moment. */
static int wait_for_event(struct watch *w)
{
    struct pollfd fd = { .fd = w->events, .events = POLLIN };
    int64_t now = xlx__now_ms(), left = w->due - now;

    if (left > 0 && poll(&fd, 1, left < POLL_MS ? (int)left : POLL_MS) < 0 &&
        errno != EINTR)
        return xlx__error(ERROR_FAIL, "poll: %m");
    now = xlx__now_ms();
    if (take_events(w) && w->guest.domid != XLX_DOMID_NONE &&
        w->due > now + REST_MS)
        w->due = now + REST_MS;
    return 0;
}

/* ---- looking ------------------------------------------------------------ */

/* Until something happens, or it is time to look. */
static int await(struct watch *w)
{
    int rc;

    if (w->events >= 0) {
        rc = wait_for_event(w);
        if (rc) return rc;
    }
    rc = xlx__guest_wait(w->ctx, &w->guest,
                         w->events >= 0 ? xlx__now_ms() : w->due);
    if (rc) return xlx__forgive(rc, ERROR_TIMEDOUT);
    w->gone = w->guest.domid == XLX_DOMID_NONE;
    w->due = xlx__now_ms() + (w->gone ? REBOOT_MS : 0);
    return 0;
}

static int look(struct watch *w, bool *left_r)
{
    xlx_repair_report report;
    struct xlx__hostdev_look l = {
        .guest = &w->guest, .gone = w->gone, .lock = &w->lock,
        .patience = &w->patience, .report = &report,
    };
    int64_t next;
    int rc;

    xlx_repair_report_init(&report);
    xlx__hostdev_patience_begin(&w->patience, xlx__now_ms() + BUDGET_MS);
    rc = w->how->look(w->ctx, &l, left_r);
    if (rc) goto out;
    xlx__hostdev_patience_end(&w->patience);
    if (*left_r)
        say_findings(w, &report);
    w->gone = w->guest.domid == XLX_DOMID_NONE;

 out:
    xlx_repair_report_dispose(&report);
    /* others get the lock in between */
    next = w->patience.next < xlx__now_ms() + BUSY_MS || rc
           ? xlx__now_ms() + BUSY_MS : w->patience.next;
    w->due = sooner(xlx__now_ms() + (w->events < 0 ? BLIND_MS : LOOK_MS),
                    next);
    return xlx__forgive(rc, ERROR_LOCK_FAIL);
}

static int look_when_due(struct watch *w, bool *left_r)
{
    if (xlx__now_ms() < w->due)
        return 0;
    if (w->events < 0)
        open_events(w);
    return look(w, left_r);
}

static int take_lock(struct watch *w)
{
    char *path;
    int rc;

    path = xlx__hostdev_watch_path(w->ctx, w->how->name, &w->guest.uuid);
    if (!path)
        return xlx__nomem();
    rc = xlx__make_directory(w->ctx->run_dir);
    if (rc) goto out;
    rc = xlx__lock_file(path, xlx__now_ms() + LOCK_MS, &w->lock);
    if (rc) goto out;
    xlx__hostdev_health_write(&w->lock, &w->health);

 out:
    free(path);
    return rc;
}

int xlx__hostdev_watch(xlx_ctx *ctx, const xlx_guest *guest,
                       const struct xlx__hostdev_watch *how)
{
    struct watch w = {
        .ctx = ctx, .how = how, .lock = XLX__LOCK_NONE, .events = -1,
    };
    bool left = true;
    int rc;

    xlx_guest_init(&w.guest);
    rc = xlx_guest_copy(ctx, &w.guest, guest);
    if (rc) goto out;
    rc = take_lock(&w);
    if (rc) goto out;
    while (left) {
        rc = look_when_due(&w, &left);
        if (!rc && left)
            rc = await(&w);
        if (rc)
            recover(&w);
        else
            w.failures = 0;
    }

 out:
    if (w.events >= 0)
        close(w.events);
    xlx__unlock(&w.lock);
    xlx__hostdev_patience_dispose(&w.patience);
    xlx_guest_dispose(&w.guest);
    return rc;
}

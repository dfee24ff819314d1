/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Staying with a guest: stock xl starts it again after a reboot without its
 * USB devices, and nobody tells it when one is pulled out or plugged in.  All
 * state is in the record, so that a watcher that was killed is replaced by
 * starting another one.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/guest.h"
#include "usb/usb.h"

#define REBOOT_MS 60000             /* xl itself sleeps two seconds */
#define LOOK_MS 60000               /* whatever happens */
#define AGAIN_MS 2000               /* after what could not be done */
#define POLL_MS 1000                /* does the guest still run? */

/* The time from the first event: one device makes a dozen of them, and has its
 * interfaces some time after it.  Attaching it also waits until QEMU has heard
 * of it. */
#define REST_MS 700

/* linux/netlink.h has no names for the groups: 1 is the kernel's, 2 udev's,
 * when its rules are done. */
#define EVENT_GROUPS 3

struct watch {
    xlx_ctx *ctx;
    xlx_guest guest;                /* as last seen */
    struct xlx__lock lock;
    int events;                     /* a netlink socket */
    int64_t due;                    /* when to look */
    int64_t gone;                   /* since when nothing runs it, or 0 */
};

/* ---- events ------------------------------------------------------------- */

static int open_events(struct watch *w)
{
    struct sockaddr_nl addr = {
        .nl_family = AF_NETLINK, .nl_groups = EVENT_GROUPS,
    };

    w->events = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                       NETLINK_KOBJECT_UEVENT);
    if (w->events < 0 ||
        bind(w->events, (struct sockaddr *)&addr, sizeof(addr)))
        return xlx__error(ERROR_FAIL, "the kernel's events: %m");
    return 0;
}

/* Takes what has come; was there something about USB, or was too much to take
 * all? */
static bool take_events(struct watch *w)
{
    static const char usb[] = "SUBSYSTEM=usb";  /* with its NUL */
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
        if (memmem(text, (size_t)len, usb, sizeof(usb)))
            found = true;
    }
    return found;
}

/* Until something happens, or it is time to look. */
static int await(struct watch *w)
{
    struct pollfd fd = { .fd = w->events, .events = POLLIN };
    int64_t now = xlx__now_ms();
    int64_t left = w->due - now;
    int rc;

    if (left > 0 && poll(&fd, 1, left < POLL_MS ? (int)left : POLL_MS) < 0 &&
        errno != EINTR)
        return xlx__error(ERROR_FAIL, "poll: %m");
    now = xlx__now_ms();
    if (take_events(w) && !w->gone && w->due > now + REST_MS)
        w->due = now + REST_MS;
    rc = xlx__guest_wait(w->ctx, &w->guest, now);
    if (rc) return xlx__forgive(rc, ERROR_TIMEDOUT);
    w->gone = w->guest.domid == XLX_DOMID_NONE ? now : 0;
    w->due = w->gone ? now + REBOOT_MS : now;
    return 0;
}

/* ---- looking ------------------------------------------------------------ */

static bool all_repaired(const xlx_repair_report *report)
{
    int i;

    for (i = 0; i < report->num_findings; i++)
        if (!report->findings[i].repaired)
            return false;
    return true;
}

/* Devices that are set aside are for xl restore. */
static bool has_devices(const xlx_usb_record *record)
{
    int i;

    for (i = 0; i < record->num_entries; i++)
        if (!xlx__usb_is_aside(&record->entries[i]))
            return true;
    return false;
}

/* 1 when there is nothing left to watch, and then the lock is released while
 * the guest's is held: who attaches after that finds it free, who attached
 * before has been seen. */
static int look(struct watch *w)
{
    struct xlx__usb_change c;
    xlx_repair_report report;
    int rc;

    w->due = xlx__now_ms() + LOOK_MS;
    xlx_repair_report_init(&report);
    rc = xlx__usb_open(w->ctx, &w->guest, &c);
    /* gone just now: that is for await() to see first */
    if (!rc && (c.guest.domid != XLX_DOMID_NONE || w->gone))
        rc = xlx__usb_settle(&c, false, &report);
    if (!rc && !has_devices(&c.record)) {
        xlx__unlock(&w->lock);
        rc = 1;
    }
    if (rc == ERROR_LOCK_FAIL || (!rc && !all_repaired(&report))) {
        w->due = xlx__now_ms() + AGAIN_MS;
        xlx__error_clear();
        rc = 0;
    }
    xlx__usb_end(&c);
    xlx_repair_report_dispose(&report);
    return rc;
}

/* One watcher a guest. */
static int take_watch(struct watch *w)
{
    char *path;
    int rc;

    path = xlx__printf("%s/usb-watch-" LIBXL_UUID_FMT ".lock",
                       w->ctx->run_dir, LIBXL_UUID_BYTES(w->guest.uuid));
    if (!path)
        return xlx__nomem();
    rc = xlx__make_directory(w->ctx->run_dir);
    if (!rc)
        rc = xlx__lock_file(path, 0, &w->lock);
    free(path);
    return rc;
}

int xlx__usb_watch(xlx_ctx *ctx, const xlx_guest *guest)
{
    struct watch w = { .ctx = ctx, .lock = XLX__LOCK_NONE, .events = -1 };
    int rc;

    xlx_guest_init(&w.guest);
    rc = xlx_guest_copy(ctx, &w.guest, guest);
    if (!rc)
        rc = take_watch(&w);
    if (!rc)
        rc = open_events(&w);
    while (!rc) {
        if (xlx__now_ms() >= w.due)
            rc = look(&w);
        if (!rc)
            rc = await(&w);
    }
    if (w.events >= 0)
        close(w.events);
    xlx__unlock(&w.lock);
    xlx_guest_dispose(&w.guest);
    return rc > 0 ? 0 : rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Staying with a guest: stock xl starts it again after a reboot, as another
 * domain, and destroys it, without a thought for devices that it does not
 * know.  All state is in the records, so that a watcher that was killed is
 * replaced by starting another one.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/guest.h"
#include "hostdev/hostdev.h"

#define REBOOT_MS 60000             /* xl itself sleeps two seconds */
#define LOOK_MS 60000               /* is there still something to watch? */
#define BUSY_MS 1000                /* another command has the guest */
#define POLL_MS 1000                /* does the guest still run? */

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

static bool all_repaired(const xlx_repair_report *report)
{
    int i;

    for (i = 0; i < report->num_findings; i++)
        if (!report->findings[i].repaired)
            return false;
    return true;
}

static int look(struct watch *w, bool *left_r)
{
    xlx_repair_report report;
    int rc;

    xlx_repair_report_init(&report);
    rc = w->how->look(w->ctx, &w->guest, w->gone, &w->lock, &report, left_r);
    w->due = xlx__now_ms() + LOOK_MS;
    if (rc == ERROR_LOCK_FAIL)
        w->due = xlx__now_ms() + BUSY_MS;
    else if (!rc && !all_repaired(&report))
        w->due = xlx__now_ms() + w->how->again_ms;
    xlx_repair_report_dispose(&report);
    if (rc) return xlx__forgive(rc, ERROR_LOCK_FAIL);
    w->gone = w->guest.domid == XLX_DOMID_NONE;
    return 0;
}

static int take_lock(struct watch *w)
{
    char *path;
    int rc;

    path = xlx__printf("%s/%s-watch-" LIBXL_UUID_FMT ".lock", w->ctx->run_dir,
                       w->how->name, LIBXL_UUID_BYTES(w->guest.uuid));
    if (!path)
        return xlx__nomem();
    rc = xlx__make_directory(w->ctx->run_dir);
    if (rc) goto out;
    rc = xlx__lock_file(path, 0, &w->lock);

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
    rc = how->usb_events ? open_events(&w) : 0;
    if (rc) goto out;
    while (!rc && left) {
        if (xlx__now_ms() >= w.due)
            rc = look(&w, &left);
        if (!rc && left)
            rc = await(&w);
    }

 out:
    if (w.events >= 0)
        close(w.events);
    xlx__unlock(&w.lock);
    xlx_guest_dispose(&w.guest);
    return rc;
}

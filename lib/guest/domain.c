/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starting a domain again, by way of the xl that watches it.
 *
 * Each guest that `xl create` started has an xl process that waits for its
 * end and, when the guest reboots, builds it again from the configuration
 * that libxl keeps.  To revert a running guest we change that configuration
 * and let the domain end as by a reboot: the new domain then has the same
 * watcher as before, which a domain built by us would lack.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <xenctrl.h>

#include "guest/domain.h"
#include "guest/guest.h"
#include "guest/libxl-config.h"

#define POLL_MS 100

static int control(const xlx_guest *guest,
                   int (*call)(xc_interface *xc, uint32_t domid),
                   const char *what)
{
    xc_interface *xc;
    int rc = 0;

    xc = xc_interface_open(NULL, NULL, 0);
    if (!xc)
        return xlx__error(ERROR_FAIL, "cannot open the hypervisor's control "
                          "interface: %m");
    if (call(xc, guest->domid))
        rc = xlx__error(ERROR_FAIL, "domain %u cannot be %s: %m",
                        guest->domid, what);
    xc_interface_close(xc);
    return rc;
}

static int reboot_domain(xc_interface *xc, uint32_t domid)
{
    return xc_domain_shutdown(xc, domid, SHUTDOWN_reboot);
}

int xlx__domain_reboot(xlx_ctx *ctx, const xlx_guest *guest)
{
    (void)ctx;
    return control(guest, reboot_domain, "stopped");
}

int xlx__domain_pause(xlx_ctx *ctx, const xlx_guest *guest)
{
    (void)ctx;
    return control(guest, xc_domain_pause, "paused");
}

static int unpause(xc_interface *xc, uint32_t domid)
{
    return xc_domain_unpause(xc, domid) && errno != EINVAL;
}

int xlx__domain_unpause(xlx_ctx *ctx, const xlx_guest *guest)
{
    (void)ctx;
    return control(guest, unpause, "unpaused");
}

int xlx__domain_destroy(xlx_ctx *ctx, const xlx_guest *guest)
{
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl_working(ctx, &xl);
    if (rc) return rc;
    rc = libxl_domain_destroy(xl, guest->domid, NULL);
    if (rc && rc != ERROR_DOMAIN_NOTFOUND)
        return xlx__error(ERROR_FAIL, "domain %u cannot be destroyed: %s",
                          guest->domid, xlx__ctx_libxl_said(ctx, rc));
    return 0;
}

bool xlx__domain_is_made(xlx_ctx *ctx, uint32_t domid)
{
    libxl_ctx *xl;

    return !xlx__ctx_libxl(ctx, &xl) && xlx__config_exists(xl, domid);
}

bool xlx__domain_is_ending(xlx_ctx *ctx, uint32_t domid)
{
    libxl_dominfo info;
    libxl_ctx *xl;
    bool ending;

    if (xlx__ctx_libxl(ctx, &xl))
        return false;
    libxl_dominfo_init(&info);
    ending = !libxl_domain_info(xl, &info, domid) &&
             (info.shutdown || info.dying);
    libxl_dominfo_dispose(&info);
    return ending;
}

/* Is that open file the log of the xl that watches the guest's domain?  xl has
 * it as its output, and it may have got another number since
 * (libxl_create_logfile).  While a guest is migrated to here xl calls it
 * NAME--incoming. */
static bool is_its_log(const char *path, const char *name)
{
    size_t len = strlen(name);
    const char *p = strrchr(path, '/');

    if (!p || strncmp(p, "/xl-", 4) || strncmp(p + 4, name, len))
        return false;
    p += 4 + len;
    if (!strncmp(p, "--incoming", 10))
        p += 10;
    return !strncmp(p, ".log", 4) && (!p[4] || p[4] == '.' || p[4] == ' ');
}

/* Another user's process may write to a file of any name. */
static bool is_its_xl(const char *pid, const char *name)
{
    char path[64], text[PATH_MAX] = "";
    struct stat st;
    ssize_t len;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%s/comm", pid);
    f = fopen(path, "re");
    if (!f)
        return false;
    if (!fgets(text, sizeof(text), f))
        text[0] = '\0';
    fclose(f);
    if (strcmp(text, "xl\n"))
        return false;
    snprintf(path, sizeof(path), "/proc/%s/fd/1", pid);
    if (lstat(path, &st) || (st.st_uid && st.st_uid != geteuid()))
        return false;
    len = readlink(path, text, sizeof(text) - 1);
    text[len < 0 ? 0 : len] = '\0';
    return is_its_log(text, name);
}

int xlx__domain_monitors(const char *name, pid_t *pids, int max)
{
    struct dirent *entry;
    int num = 0;
    DIR *dir;

    dir = *name ? opendir("/proc") : NULL;
    while (dir && num < max && (entry = readdir(dir)))
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            strlen(entry->d_name) < 16 && is_its_xl(entry->d_name, name))
            pids[num++] = (pid_t)atol(entry->d_name);
    if (dir)
        closedir(dir);
    return num;
}

static bool has_xl(const char *name)
{
    pid_t pid;

    return xlx__domain_monitors(name, &pid, 1);
}

/* Does another guest of that name run?  Then the xl is that one's. */
static bool is_replaced(xlx_ctx *ctx, const xlx_guest *guest)
{
    xlx_guest other;
    bool replaced;

    xlx_guest_init(&other);
    replaced = !xlx__guest_domain(ctx, xlx__text(guest->name), NULL,
                                  &other) &&
               libxl_uuid_compare(&other.uuid, &guest->uuid);
    xlx__error_clear();
    xlx_guest_dispose(&other);
    return replaced;
}

bool xlx__domain_is_kept(xlx_ctx *ctx, const xlx_guest *guest, int ms)
{
    const struct timespec poll = { 0, POLL_MS * 1000000L };
    int64_t deadline = xlx__now_ms() + ms;

    while (has_xl(xlx__text(guest->name)) && !is_replaced(ctx, guest)) {
        if (xlx__now_ms() >= deadline)
            return true;
        nanosleep(&poll, NULL);
    }
    return false;
}

static bool find_new(libxl_ctx *xl, const xlx_guest *old, uint32_t *domid_r)
{
    libxl_dominfo *list;
    bool found = false;
    int i, num;

    list = libxl_list_domain(xl, &num);
    if (!list)
        return false;
    for (i = 0; i < num && !found; i++)
        if (list[i].domid != old->domid && !list[i].dying &&
            !libxl_uuid_compare(&list[i].uuid, &old->uuid) &&
            xlx__config_exists(xl, list[i].domid)) {
            *domid_r = list[i].domid;
            found = true;
        }
    libxl_dominfo_list_free(list, num);
    return found;
}

int xlx__domain_wait_new(xlx_ctx *ctx, const xlx_guest *old,
                         int64_t deadline, xlx_guest *fresh)
{
    const struct timespec poll = { 0, POLL_MS * 1000000L };
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc) return rc;
    rc = xlx_guest_copy(ctx, fresh, old);
    if (rc) return rc;
    while (!find_new(xl, old, &fresh->domid)) {
        if (xlx__now_ms() > deadline)
            return xlx__error(ERROR_TIMEDOUT, "the guest was not started "
                              "again: no xl watches it");
        nanosleep(&poll, NULL);
    }
    return 0;
}

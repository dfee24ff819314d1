/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices that are kept from the host's drivers.  An interface that is not
 * authorized has no driver, and the kernel gives it none.  udev takes the
 * authorization away whenever such a device is plugged in, and when the host
 * boots, by a file of rules which is also our record.  usbfs does not give
 * such an interface to a program, so that it is authorized, without a driver,
 * while a guest has the device.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/kernfs.h"
#include "core/lock.h"
#include "core/store.h"
#include "usb/usb.h"

#define RULES "/etc/udev/rules.d/71-libxlx-usb.rules"
#define MAX_RULES (1 << 20)

static const char *rules_path(void)
{
    const char *path = secure_getenv("LIBXLX_USB_KEPT");

    return path ? path : RULES;
}

/* ---- the file ----------------------------------------------------------- */

static int read_rules(char **text_r)
{
    const char *path = rules_path();
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t len;
    int rc = 0;

    if (!f && errno != ENOENT)
        return xlx__error(ERROR_FAIL, "%s: cannot open: %m", path);
    text = calloc(1, MAX_RULES + 1);
    if (!text) {
        rc = xlx__nomem();
        goto out;
    }
    len = f ? fread(text, 1, MAX_RULES, f) : 0;
    if (f && (ferror(f) || len == MAX_RULES)) {
        rc = xlx__error(ERROR_FAIL, "%s: cannot be read, or has more than "
                        "1 MiB", path);
        goto out;
    }
    *text_r = text;
    text = NULL;

 out:
    free(text);
    if (f)
        fclose(f);
    return rc;
}

static int put_text(const char *path, const char *text)
{
    size_t len = strlen(text), done = 0;
    ssize_t r = 0;
    int fd, rc = 0;

    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
              0644);
    if (fd < 0)
        return xlx__error(ERROR_FAIL, "%s: cannot create: %m", path);
    while (done < len && (r >= 0 || errno == EINTR)) {
        r = write(fd, text + done, len - done);
        if (r > 0)
            done += (size_t)r;
        else if (r < 0 && errno != EINTR)
            break;
    }
    if (done < len || fsync(fd))
        rc = xlx__error(ERROR_FAIL, "%s: cannot write: %m", path);
    close(fd);
    return rc;
}

/* The old text or the new one is there, whatever happens.  udevd looks for a
 * new file of rules by itself, and takes no file that does not end in
 * ".rules". */
static int write_rules(const char *text)
{
    const char *path = rules_path();
    char *fresh = xlx__printf("%s.new", path), *dir = strdup(path), *slash;
    int rc;

    if (!fresh || !dir) {
        rc = xlx__nomem();
        goto out;
    }
    rc = put_text(fresh, text);
    if (rc) goto out;
    if (rename(fresh, path)) {
        rc = xlx__error(ERROR_FAIL, "%s: cannot replace: %m", path);
        goto out;
    }
    slash = strrchr(dir, '/');
    if (slash)
        *slash = '\0';
    rc = xlx__store_sync(dir);

 out:
    free(dir);
    free(fresh);
    return rc;
}

/* The next device behind a place in the text; NULL behind the last. */
static char *next_mark(char *text)
{
    char *p = strstr(text, "\n" XLX__USB_KEPT_MARK);

    return p ? p + 1 : NULL;
}

static char *first_mark(char *text)
{
    return strncmp(text, XLX__USB_KEPT_MARK, strlen(XLX__USB_KEPT_MARK))
        ? next_mark(text) : text;
}

/* Its selector, the caller's; NULL when memory is short. */
static char *selector_of(const char *mark)
{
    mark += strlen(XLX__USB_KEPT_MARK);
    return strndup(mark, strcspn(mark, "\n"));
}

/* Takes the selector out of a mark; false when it is none of ours. */
static bool read_mark(const char *mark, xlx_usb_selector *s)
{
    char *line = selector_of(mark);
    bool good = line && !xlx__usb_selector_read(NULL, line, s);

    free(line);
    xlx__error_clear();
    return good;
}

/* The mark in the text by which the device is kept; NULL when it is not. */
static char *find_mark(char *text, const xlx_usb_host_device *d)
{
    xlx_usb_selector s;
    bool found = false;
    char *mark;

    for (mark = first_mark(text); mark; mark = next_mark(mark)) {
        xlx_usb_selector_init(&s);
        found = read_mark(mark, &s) && xlx__usb_selector_matches(&s, d);
        xlx_usb_selector_dispose(&s);
        if (found)
            break;
    }
    return mark;
}

/* The mark with exactly that selector. */
static char *find_named(char *text, const char *selector)
{
    size_t len = strlen(selector);
    char *mark;

    for (mark = first_mark(text); mark; mark = next_mark(mark))
        if (!strncmp(mark + strlen(XLX__USB_KEPT_MARK), selector, len) &&
            mark[strlen(XLX__USB_KEPT_MARK) + len] == '\n')
            return mark;
    return NULL;
}

int xlx__usb_kept_by(const xlx_usb_host_device *d, char **selector_r)
{
    char *text = NULL, *mark, *found;
    int rc;

    rc = read_rules(&text);
    if (rc) return rc;
    mark = find_mark(text, d);
    found = mark ? selector_of(mark) : strdup("");
    free(text);
    if (!found)
        return xlx__nomem();
    free(*selector_r);
    *selector_r = found;
    return 0;
}

/* ---- the interfaces ----------------------------------------------------- */

static int authorize_one(const char *name, const char *value, bool dry_run)
{
    char *now = xlx__attr_text("%s/bus/usb/devices/%s/authorized",
                               xlx__sysfs_dir(), name);
    int rc = 0;

    if (!now)
        return xlx__attr_failure();
    if (!*now)
        rc = xlx__error(ERROR_FAIL, "%s: the kernel cannot keep its drivers "
                        "from it", name);
    else if (strcmp(now, value) && !dry_run)
        rc = xlx__attr_write(value, "%s/bus/usb/devices/%s/authorized",
                             xlx__sysfs_dir(), name);
    free(now);
    return rc;
}

/* dry_run: only looks whether the kernel can. */
static int authorize(const xlx_usb_host_device *d, bool yes, bool dry_run)
{
    int i, rc = 0;

    for (i = 0; !rc && i < d->num_interfaces; i++)
        rc = authorize_one(d->interfaces[i].name, yes ? "1" : "0", dry_run);
    return rc;
}

int xlx__usb_lend(const xlx_usb_host_device *d, bool *kept_r)
{
    char *selector = NULL;
    int rc;

    rc = xlx__usb_kept_by(d, &selector);
    if (rc) return rc;
    *kept_r = *selector;
    free(selector);
    return *kept_r ? authorize(d, true, false) : 0;
}

int xlx__usb_keep_again(const xlx_usb_host_device *d, bool *kept_r)
{
    char *selector = NULL;
    int rc;

    rc = xlx__usb_kept_by(d, &selector);
    if (rc) return rc;
    *kept_r = *selector;
    free(selector);
    return *kept_r ? authorize(d, false, false) : 0;
}

/* All drivers that fit look at it, as when it is plugged in. */
static int give_to_drivers(const xlx_usb_host_device *d)
{
    int i, rc;

    rc = authorize(d, true, false);
    for (i = 0; !rc && i < d->num_interfaces; i++) {
        if (*xlx__text(d->interfaces[i].driver))
            continue;
        xlx__attr_write(d->interfaces[i].name, "%s/bus/usb/drivers_probe",
                        xlx__sysfs_dir());
        xlx__error_clear();         /* there may be none for it */
    }
    return rc;
}

/* ---- the calls ---------------------------------------------------------- */

static int find(const char *text, xlx_usb_host_devices *list,
                xlx_usb_selector *s, const xlx_usb_host_device **d_r)
{
    xlx_usb_selector now;
    int rc;

    xlx_usb_selector_init(&now);
    rc = xlx__usb_selector_read(NULL, text, s);
    if (rc) goto out;
    rc = xlx__usb_selector_read(NULL, text, &now);
    if (rc) goto out;
    rc = xlx__usb_resolve(&now);
    if (rc) goto out;
    rc = xlx__usb_devices(list);
    if (rc) goto out;
    rc = xlx__usb_pick(list, &now, d_r);

 out:
    xlx_usb_selector_dispose(&now);
    return rc;
}

/* Cuts a mark out of the text, with its rules; lines of others stay. */
static void cut(char *mark)
{
    char *end = mark;

    do {
        end += strcspn(end, "\n");
        end += *end == '\n';
    } while (!strncmp(end, XLX__USB_KEPT_RULE,
                       strlen(XLX__USB_KEPT_RULE)));
    memmove(mark, end, strlen(end) + 1);
}

static const char head[] =
    "# Devices that are kept from this host's drivers.  xl usb-assignable-add"
    "\n# and usb-assignable-remove write this file.\n";

/* Adds what rules has, unless that is there already. */
static int add_rules(const char *selector, const char *rules, bool *added_r)
{
    char *text = NULL, *more = NULL;
    size_t len;
    int rc;

    rc = read_rules(&text);
    if (rc || find_named(text, selector))
        goto out;
    len = strlen(text);
    more = xlx__printf("%s%s%s", len ? text : head,
                       len && text[len - 1] != '\n' ? "\n" : "", rules);
    rc = more ? write_rules(more) : xlx__nomem();
    *added_r = !rc;

 out:
    free(more);
    free(text);
    return rc;
}

/* Takes back what was done before a failure, whose message stays. */
static void take_back(const xlx_usb_host_device *d, const char *selector,
                      bool added)
{
    struct xlx__error_text why;
    char *text = NULL, *mark;

    if (!added)
        return;
    xlx__error_save(&why);
    if (!read_rules(&text)) {
        mark = find_named(text, selector);
        if (mark) {
            cut(mark);
            write_rules(text);
        }
        if (!find_mark(text, d))
            give_to_drivers(d);
    }
    free(text);
    xlx__error_restore(&why);
}

/* The rule comes first: a device that is plugged in again in between is kept
 * by it. */
static int keep(const xlx_usb_host_device *d, const char *selector,
                const char *rules, bool dry_run)
{
    bool added = false;
    int rc;

    rc = authorize(d, false, true);
    if (rc || dry_run)
        return rc;
    rc = add_rules(selector, rules, &added);
    if (rc) return rc;
    rc = authorize(d, false, false);
    if (rc)
        take_back(d, selector, added);
    return rc;
}

int xlx__usb_assignable_add(xlx_ctx *ctx, const char *selector, bool force,
                            bool dry_run, xlx_usb_host_device *device)
{
    const xlx_usb_host_device *d = NULL;
    struct xlx__lock lock = XLX__LOCK_NONE;
    char *kept = NULL, *rules = NULL;
    xlx_usb_host_devices list;
    xlx_usb_selector s;
    int rc;

    xlx_usb_selector_init(&s);
    xlx_usb_host_devices_init(&list);
    /* that of attachments: a guest gets it before us, or not at all */
    rc = xlx__lock_host(ctx, "devices", &lock);
    if (rc) goto out;
    rc = find(selector, &list, &s, &d);
    if (rc) goto out;
    rc = xlx__usb_check_free(ctx, NULL, d, force);
    if (rc) goto out;
    rc = xlx__usb_keep_rules(&s, d, &kept, &rules);
    if (rc) goto out;
    rc = keep(d, kept, rules, dry_run);
    if (rc) goto out;
    rc = xlx_usb_host_device_copy(ctx, device, d);
    if (!rc)
        rc = xlx__set_string(&device->kept, kept);

 out:
    xlx__unlock(&lock);
    free(rules);
    free(kept);
    xlx_usb_host_devices_dispose(&list);
    xlx_usb_selector_dispose(&s);
    return rc;
}

/* Finds the mark that the selector names: by what is written there, by its
 * socket, or by the device. */
static int find_kept(const char *selector, char *text,
                     const xlx_usb_host_devices *list, char **mark_r)
{
    const xlx_usb_host_device *d = NULL;
    xlx_usb_selector s;
    char *socket = NULL;
    int rc;

    xlx_usb_selector_init(&s);
    rc = xlx__usb_selector_read(NULL, selector, &s);
    if (rc) goto out;
    *mark_r = find_named(text, selector);
    if (*mark_r)
        goto out;
    if (s.kind == XLX_USB_SELECTOR_KIND_PATH) {
        rc = xlx__usb_socket(selector, &socket);
        if (rc) goto out;
        *mark_r = *xlx__text(socket) ? find_named(text, socket) : NULL;
    }
    if (*mark_r)
        goto out;
    rc = xlx__usb_resolve(&s);
    if (!rc)
        rc = xlx__usb_pick(list, &s, &d);
    if (!rc)
        *mark_r = find_mark(text, d);
    rc = xlx__forgive(rc, ERROR_NOTFOUND);

 out:
    free(socket);
    xlx_usb_selector_dispose(&s);
    return rc;
}

static int not_kept(const char *selector, char *text)
{
    char *names = NULL, *name, *more, *mark;
    int rc;

    for (mark = first_mark(text); mark; mark = next_mark(mark)) {
        name = selector_of(mark);
        more = name ? xlx__printf("%s%s%s", xlx__text(names),
                                  names ? ", " : "", name) : NULL;
        free(name);
        if (!more)
            break;
        free(names);
        names = more;
    }
    rc = xlx__error(ERROR_NOTFOUND, "selector \"%s\": no such device is kept "
                    "from the host's drivers; %s%.400s", selector,
                    names ? "these are: " : "none is", xlx__text(names));
    free(names);
    return rc;
}

/* Gives one device to the host, unless there is a reason against it. */
static int release(xlx_ctx *ctx, const xlx_usb_host_device *d, char *rest)
{
    char *use = NULL, *other = find_mark(rest, d), *selector = NULL;
    int rc;

    rc = xlx__usb_guest_use(ctx, d, NULL, &use);
    if (!rc && other) {
        selector = selector_of(other);
        if (selector)
            xlx__notice(ctx, "%s: it is still kept, by %s", d->path, selector);
        else
            rc = xlx__nomem();
    } else if (!rc && use) {
        xlx__notice(ctx, "%s: the host's drivers get it later: %s", d->path,
                    use);
    } else if (!rc) {
        rc = give_to_drivers(d);
    }
    free(selector);
    free(use);
    return rc;
}

/* The devices that the mark keeps; rest: the text without it. */
static int release_all(xlx_ctx *ctx, const char *mark, char *rest,
                       const xlx_usb_host_devices *list)
{
    xlx_usb_selector s;
    int i, rc = 0;

    xlx_usb_selector_init(&s);
    if (read_mark(mark, &s))
        for (i = 0; !rc && i < list->num_devices; i++)
            if (xlx__usb_selector_matches(&s, &list->devices[i]))
                rc = release(ctx, &list->devices[i], rest);
    xlx_usb_selector_dispose(&s);
    return rc;
}

/* A file of which only our words are left is not left at all. */
static int write_rest(const char *rest)
{
    if (strcmp(rest, head))
        return write_rules(rest);
    if (unlink(rules_path()) && errno != ENOENT)
        return xlx__error(ERROR_FAIL, "%s: cannot remove: %m", rules_path());
    return 0;
}

int xlx__usb_assignable_remove(xlx_ctx *ctx, const char *selector,
                               bool dry_run)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    char *text = NULL, *rest = NULL, *mark = NULL;
    xlx_usb_host_devices list;
    int rc;

    xlx_usb_host_devices_init(&list);
    rc = xlx__lock_host(ctx, "devices", &lock);
    if (rc) goto out;
    rc = xlx__usb_devices(&list);
    if (rc) goto out;
    rc = read_rules(&text);
    if (rc) goto out;
    rc = find_kept(selector, text, &list, &mark);
    if (!rc && !mark)
        rc = not_kept(selector, text);
    if (rc || dry_run)
        goto out;
    rest = strdup(text);
    if (!rest) {
        rc = xlx__nomem();
        goto out;
    }
    cut(rest + (mark - text));
    rc = release_all(ctx, mark, rest, &list);
    if (rc) goto out;
    rc = write_rest(rest);

 out:
    xlx__unlock(&lock);
    free(rest);
    free(text);
    xlx_usb_host_devices_dispose(&list);
    return rc;
}

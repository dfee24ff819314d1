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
#define MARK "# kept: "             /* before the selector of a device */
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

/* The first device of the text, or the next behind it; NULL behind the last.
 */
static char *next_mark(char *text)
{
    char *p = strstr(text, "\n" MARK);

    return p ? p + 1 : NULL;
}

/* Takes the selector out of a mark; false when it is none of ours. */
static bool read_mark(const char *mark, xlx_usb_selector *s)
{
    const char *text = mark + strlen(MARK);
    char *line = strndup(text, strcspn(text, "\n"));
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

    for (mark = next_mark(text); mark; mark = next_mark(mark)) {
        xlx_usb_selector_init(&s);
        found = read_mark(mark, &s) && xlx__usb_selector_matches(&s, d);
        xlx_usb_selector_dispose(&s);
        if (found)
            break;
    }
    return mark;
}

int xlx__usb_kept_by(const xlx_usb_host_device *d, char **selector_r)
{
    char *text = NULL, *mark, *found;
    int rc;

    rc = read_rules(&text);
    if (rc) return rc;
    mark = find_mark(text, d);
    if (mark)
        mark += strlen(MARK);
    found = mark ? strndup(mark, strcspn(mark, "\n")) : strdup("");
    free(text);
    if (!found)
        return xlx__nomem();
    free(*selector_r);
    *selector_r = found;
    return 0;
}

/* ---- the rules of a device ---------------------------------------------- */

#define RULE "ACTION==\"add\", SUBSYSTEM==\"usb\", " \
    "ENV{DEVTYPE}==\"usb_interface\", DRIVER!=\"usbfs\", "
#define DENY "ATTR{authorized}=\"0\"\n"

/* Serial numbers that mean more than themselves in a rule. */
static bool is_plain(const char *text)
{
    for (; *text; text++)
        if (*text < ' ' || strchr("\"*?[]|\\$%", *text))
            return false;
    return true;
}

static int rules_for_id(const xlx_usb_host_device *d, const char *selector,
                        char **rules_r)
{
    const char *serial = xlx__text(d->serial);

    if (!is_plain(serial))
        return xlx__error(ERROR_INVAL, "%s: a rule of udev cannot have its "
                          "serial number: name its socket", d->path);
    *rules_r = xlx__printf("%s%s\n" RULE "ATTRS{idVendor}==\"%04x\", "
                           "ATTRS{idProduct}==\"%04x\"%s%s%s, " DENY,
                           MARK, selector, d->vendor, d->product,
                           *serial ? ", ATTRS{serial}==\"" : "", serial,
                           *serial ? "\"" : "");
    return *rules_r ? 0 : xlx__nomem();
}

/* The root hubs of the kernel have the revision in their product number, and
 * the names of directories of sysfs the controller and the ports. */
static int rules_for_socket(const xlx_usb_host_device *d, const char *selector,
                            char **rules_r)
{
    struct xlx__usb_places places;
    char *text, *more;
    int i, rc;

    rc = xlx__usb_places(d->path, &places);
    if (rc) return rc;
    text = xlx__printf("%s%s\n", MARK, selector);
    for (i = 0; text && i < places.num; i++) {
        more = xlx__printf("%s" RULE "DEVPATH==\"*/%s/usb*/*-%s:*\", "
                           "ATTRS{idVendor}==\"1d6b\", "
                           "ATTRS{idProduct}==\"%04u\", " DENY, text,
                           places.list[i].controller, places.list[i].ports,
                           places.list[i].revision);
        free(text);
        text = more;
    }
    *rules_r = text;
    return text ? 0 : xlx__nomem();
}

/* By what it is kept: as in a record of a guest. */
static int describe(const xlx_usb_selector *s, const xlx_usb_host_device *d,
                    char **selector_r, char **rules_r)
{
    bool by_id = s->kind == XLX_USB_SELECTOR_KIND_ID ||
                 (s->kind != XLX_USB_SELECTOR_KIND_PATH &&
                  s->kind != XLX_USB_SELECTOR_KIND_SOCKET &&
                  *xlx__text(d->serial));
    char *selector = NULL;
    int rc;

    if (by_id) {
        selector = xlx__printf("%04x:%04x%s%s", d->vendor, d->product,
                               *xlx__text(d->serial) ? ":" : "",
                               xlx__text(d->serial));
        rc = selector ? rules_for_id(d, selector, rules_r) : xlx__nomem();
    } else {
        rc = xlx__usb_socket(d->path, &selector);
        if (!rc && !*selector)
            rc = xlx__error(ERROR_INVAL, "%s: its controller has no name that"
                            " lasts: name the device by its ID", d->path);
        if (!rc)
            rc = rules_for_socket(d, selector, rules_r);
    }
    if (rc) {
        free(selector);
        return rc;
    }
    free(*selector_r);
    *selector_r = selector;
    return 0;
}

/* ---- the interfaces ----------------------------------------------------- */

static int authorize(const xlx_usb_host_device *d, bool yes)
{
    const char *value = yes ? "1" : "0";
    int i, rc = 0;
    char *now;

    for (i = 0; !rc && i < d->num_interfaces; i++) {
        now = xlx__attr_text("%s/bus/usb/devices/%s/authorized",
                             xlx__sysfs_dir(), d->interfaces[i].name);
        if (!now)
            return xlx__nomem();
        if (!*now)
            rc = xlx__error(ERROR_FAIL, "%s: the kernel cannot keep its "
                            "drivers from it", d->interfaces[i].name);
        else if (strcmp(now, value))
            rc = xlx__attr_write(value, "%s/bus/usb/devices/%s/authorized",
                                 xlx__sysfs_dir(), d->interfaces[i].name);
        free(now);
    }
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
    return *kept_r ? authorize(d, true) : 0;
}

int xlx__usb_keep_again(const xlx_usb_host_device *d, bool *kept_r)
{
    char *selector = NULL;
    int rc;

    rc = xlx__usb_kept_by(d, &selector);
    if (rc) return rc;
    *kept_r = *selector;
    free(selector);
    return *kept_r ? authorize(d, false) : 0;
}

/* All drivers that fit look at it, as when it is plugged in. */
static int give_to_drivers(const xlx_usb_host_device *d)
{
    int i, rc;

    rc = authorize(d, true);
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

/* Adds what rules has, unless the device is kept already. */
static int add_rules(const xlx_usb_host_device *d, const char *rules)
{
    static const char head[] =
        "# Devices that are kept from this host's drivers.  xl "
        "usb-assignable-add\n# and usb-assignable-remove write this file.\n";
    char *text = NULL, *more = NULL;
    int rc;

    rc = read_rules(&text);
    if (rc || find_mark(text, d))
        goto out;
    more = xlx__printf("%s%s", *text ? text : head, rules);
    rc = more ? write_rules(more) : xlx__nomem();

 out:
    free(more);
    free(text);
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
    rc = xlx__lock_host(ctx, "usb", &lock);
    if (rc) goto out;
    rc = find(selector, &list, &s, &d);
    if (rc) goto out;
    rc = xlx__usb_check_free(ctx, NULL, d, force);
    if (rc) goto out;
    rc = describe(&s, d, &kept, &rules);
    if (!rc && !dry_run)
        rc = add_rules(d, rules);
    if (rc) goto out;
    if (!dry_run)
        rc = authorize(d, false);
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

/* Cuts the section of a mark out of the text. */
static void cut(char *mark)
{
    char *next = next_mark(mark);

    if (next)
        memmove(mark, next, strlen(next) + 1);
    else
        *mark = '\0';
}

/* The mark that has the selector, as it was written or of the device. */
static char *find_named(char *text, const char *selector,
                        const xlx_usb_host_device *d)
{
    size_t len = strlen(selector);
    char *mark;

    for (mark = next_mark(text); mark; mark = next_mark(mark))
        if (!strncmp(mark + strlen(MARK), selector, len) &&
            mark[strlen(MARK) + len] == '\n')
            return mark;
    return d ? find_mark(text, d) : NULL;
}

/* The devices that the mark keeps, and that no guest has, go to the host. */
static int release_all(xlx_ctx *ctx, const char *mark,
                       const xlx_usb_host_devices *list)
{
    xlx_usb_selector s;
    char *use;
    int i, rc = 0;

    xlx_usb_selector_init(&s);
    for (i = 0; !rc && read_mark(mark, &s) && i < list->num_devices; i++) {
        if (!xlx__usb_selector_matches(&s, &list->devices[i]))
            continue;
        use = NULL;
        rc = xlx__usb_guest_use(ctx, &list->devices[i], NULL, &use);
        if (!rc && !use)
            rc = give_to_drivers(&list->devices[i]);
        free(use);
    }
    xlx_usb_selector_dispose(&s);
    return rc;
}

int xlx__usb_assignable_remove(xlx_ctx *ctx, const char *selector,
                               bool dry_run)
{
    const xlx_usb_host_device *d = NULL;
    struct xlx__lock lock = XLX__LOCK_NONE;
    xlx_usb_host_devices list;
    char *text = NULL, *mark;
    xlx_usb_selector s;
    int rc;

    xlx_usb_selector_init(&s);
    xlx_usb_host_devices_init(&list);
    rc = xlx__lock_host(ctx, "usb", &lock);
    if (rc) goto out;
    rc = xlx__forgive(find(selector, &list, &s, &d), ERROR_NOTFOUND);
    if (rc) goto out;
    rc = read_rules(&text);
    if (rc) goto out;
    mark = find_named(text, selector, d);
    if (!mark) {
        rc = xlx__error(ERROR_NOTFOUND, "selector \"%s\": no such device is "
                        "kept from the host's drivers", selector);
        goto out;
    }
    if (dry_run)
        goto out;
    rc = release_all(ctx, mark, &list);
    if (rc) goto out;
    cut(mark);
    rc = write_rules(text);

 out:
    xlx__unlock(&lock);
    free(text);
    xlx_usb_host_devices_dispose(&list);
    xlx_usb_selector_dispose(&s);
    return rc;
}

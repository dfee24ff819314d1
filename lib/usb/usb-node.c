/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a file of the host to the USB device that it belongs to: a device node,
 * a link of udev's to one, or a directory of sysfs.  The kernel lists nodes by
 * number in /sys/dev, so that the name of a node says nothing.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/kernfs.h"
#include "usb/usb.h"

static int wrong(const xlx_usb_selector *s, const char *what)
{
    return xlx__error(ERROR_INVAL, "selector \"%s\": %s", s->sysfs, what);
}

/* With LIBXLX_DEV_DIR for tests. */
static char *real_name(const char *name)
{
    const char *dir = secure_getenv("LIBXLX_DEV_DIR");

    return dir && !strncmp(name, "/dev/", 5)
        ? xlx__printf("%s%s", dir, name + strlen("/dev"))
        : xlx__printf("%s", name);
}

/* The directory in sysfs of the file, which is it or describes it. */
static int find_directory(const xlx_usb_selector *s, char real[PATH_MAX])
{
    char *name = real_name(s->sysfs), *path = NULL;
    struct stat st;
    int rc = 0;

    if (!name)
        return xlx__nomem();
    if (stat(name, &st)) {
        rc = xlx__error(ERROR_NOTFOUND, "selector \"%s\": %m", s->sysfs);
        goto out;
    }
    if (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode))
        path = xlx__printf("%s/dev/%s/%u:%u", xlx__sysfs_dir(),
                           S_ISBLK(st.st_mode) ? "block" : "char",
                           major(st.st_rdev), minor(st.st_rdev));
    else
        path = xlx__printf("%s", name);
    if (!path)
        rc = xlx__nomem();
    else if (!realpath(path, real))
        rc = xlx__error(ERROR_NOTFOUND, "selector \"%s\": %s: %m", s->sysfs,
                        path);

 out:
    free(path);
    free(name);
    return rc;
}

/* Cuts path back to the nearest directory above, or itself, that is what
 * accepts() wants; false when there is none. */
static bool climb(char *path, bool (*accepts)(const char *path))
{
    char *slash;

    while ((slash = strrchr(path, '/')) && slash != path) {
        if (accepts(path))
            return true;
        *slash = '\0';
    }
    return false;
}

static bool is_usb(const char *path)
{
    return xlx__attr_exists("%s/devnum", path) &&
           xlx__attr_exists("%s/idVendor", path);
}

static bool is_on_pci(const char *path)
{
    const char *name = strrchr(path, '/') + 1;

    return xlx__usb_is_pci(name, strlen(name));
}

static bool has_parts(const char *path)
{
    return xlx__attr_exists("%s/slaves", path);
}

/* The devices that one is made of: "sda2, sdb2". */
static char *parts_of(const char *path)
{
    char **names, *all = NULL, *more;
    int i, num;

    if (xlx__attr_list(&names, &num, NULL, "%s/slaves", path))
        return NULL;
    for (i = 0; i < num; i++) {
        more = xlx__printf("%s%s%s", xlx__text(all), all ? ", " : "",
                           names[i]);
        free(all);
        all = more;
    }
    free(names);
    return all;
}

/* Says to what the file belongs instead. */
static int refuse(const xlx_usb_selector *s, const char *real)
{
    char path[PATH_MAX], *parts = NULL;
    const char *slash;
    int rc;

    snprintf(path, sizeof(path), "%s", real);
    if (climb(path, is_on_pci)) {
        slash = strrchr(path, '/');
        return xlx__error(ERROR_INVAL, "selector \"%s\": it is not on USB but "
                          "on the PCI device %s: xl pci-attach gives a guest "
                          "that device as a whole", s->sysfs, slash + 1);
    }
    snprintf(path, sizeof(path), "%s", real);
    if (climb(path, has_parts))
        parts = parts_of(path);
    if (parts)
        rc = xlx__error(ERROR_INVAL, "selector \"%s\": it is not a device but "
                        "made of %s: name the device below it", s->sysfs,
                        parts);
    else if (strstr(real, "/virtual/"))
        rc = wrong(s, "it is not on USB but made by the kernel alone");
    else
        rc = wrong(s, "no USB device and nothing on one");
    free(parts);
    return rc;
}

int xlx__usb_resolve(xlx_usb_selector *s)
{
    char real[PATH_MAX], path[PATH_MAX];
    xlx_usb_selector found;
    int rc;

    if (s->kind != XLX_USB_SELECTOR_KIND_SYSFS)
        return 0;
    rc = find_directory(s, real);
    if (rc) return rc;
    snprintf(path, sizeof(path), "%s", real);
    if (!climb(path, is_usb))
        return refuse(s, real);
    xlx_usb_selector_init(&found);
    rc = xlx__usb_selector_read(NULL, strrchr(path, '/') + 1, &found);
    if (rc || found.kind != XLX_USB_SELECTOR_KIND_PATH) {
        rc = wrong(s, "it is a root hub");
        xlx_usb_selector_dispose(&found);
        return rc;
    }
    xlx_usb_selector_dispose(s);
    *s = found;
    return 0;
}

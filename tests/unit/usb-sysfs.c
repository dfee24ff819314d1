/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of which the USB tests make a host; see usb-sysfs.h.
 */
#include <sys/stat.h>

#include "usb-sysfs.h"

char *root;

static void make_way(char *path)
{
    char *p;

    for (p = path + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
}

void put(const char *at, const char *name, const char *text)
{
    char *path = xlx__printf("%s/%s/%s", root, at, name);
    FILE *f;

    make_way(path);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

/* to is below the same directory. */
void put_link(const char *at, const char *to)
{
    char *path = xlx__printf("%s/%s", root, at);
    char *full = *to == '/' ? strdup(to) : xlx__printf("%s/%s", root, to);

    make_way(path);
    assert_int_equal(symlink(full, path), 0);
    free(full);
    free(path);
}

void put_listed(const char *dir, const char *name)
{
    char *at = xlx__printf("bus/usb/devices/%s", name);
    char *to = xlx__printf("%s/%s", dir, name);

    put(to, "uevent", "");
    put_link(at, to);
    free(at);
    free(to);
}

void put_root(const char *dir, int bus, const char *version,
              const char *ports)
{
    char name[16], *at;

    snprintf(name, sizeof(name), "usb%d", bus);
    at = xlx__printf("%s/%s", dir, name);
    put(at, "version", version);
    put(at, "maxchild", ports);
    put_listed(dir, name);
    snprintf(name, sizeof(name), "%d-0:1.0", bus);
    put_listed(at, name);
    free(at);
}

/* "2-1" or "1-2.3": the directory of the port in sysfs. */
static char *port_at(const char *path)
{
    const char *dot = strrchr(path, '.'), *end = strchr(path, '-');
    const char *last = dot ? dot : end;
    int len = (int)(last - path);

    return dot ? xlx__printf("bus/usb/devices/%.*s:1.0/%.*s-port%s", len,
                             path, len, path, last + 1)
               : xlx__printf("bus/usb/devices/%.*s-0:1.0/usb%.*s-port%s", len,
                             path, len, path, last + 1);
}

void put_port(const char *path, const char *attribute, const char *text)
{
    char *at = port_at(path);

    put(at, attribute, text);
    free(at);
}

void put_peers(const char *a, const char *b)
{
    char *one = port_at(a), *other = port_at(b), *link;

    put(one, "x", "");
    put(other, "x", "");
    link = xlx__printf("%s/peer", one);
    put_link(link, other);
    free(link);
    link = xlx__printf("%s/peer", other);
    put_link(link, one);
    free(link);
    free(one);
    free(other);
}

void put_device(const char *dir, const char *path, const char *id)
{
    char *at = xlx__printf("%s/%s", dir, path), *name;

    put(at, "busnum", path);            /* up to the dash */
    put(at, "devnum", "5\n");
    name = xlx__printf("%.4s\n", id);
    put(at, "idVendor", name);
    put(at, "idProduct", id + 5);
    put_listed(dir, path);
    free(name);
    name = xlx__printf("%s:1.0", path);
    put_listed(at, name);
    free(name);
    free(at);
}

/* The buses of the xHCI controller, in the order of a boot. */
void put_xhci(int high, int super)
{
    char a[16], b[16];
    int i;
    static const int twins[][2] = { { 1, 2 }, { 2, 1 }, { 3, 3 } };

    put_root(XHCI, high, " 2.00\n", "4\n");
    put_root(XHCI, super, " 3.10\n", "3\n");
    for (i = 0; i < 3; i++) {
        snprintf(a, sizeof(a), "%d-%d", high, twins[i][0]);
        snprintf(b, sizeof(b), "%d-%d", super, twins[i][1]);
        put_peers(a, b);
    }
}

void put_ehci(void)
{
    put_root(EHCI ".7", 3, " 2.00\n", "6\n");
    put_root(EHCI ".0", 4, " 1.10\n", "2\n");
    put_root(EHCI ".1", 5, " 1.10\n", "2\n");
    put_root(EHCI ".2", 6, " 1.10\n", "2\n");
}

int begin_sysfs(void **state)
{
    (void)state;
    root = unit_dir();
    setenv("LIBXLX_SYSFS_DIR", root, 1);
    setenv("LIBXLX_DEV_DIR", root, 1);
    return 0;
}

int remove_sysfs(void **state)
{
    (void)state;
    unsetenv("LIBXLX_SYSFS_DIR");
    unsetenv("LIBXLX_DEV_DIR");
    unit_dir_remove(root);
    return 0;
}

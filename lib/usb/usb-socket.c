/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sockets.  The number of a bus changes when the host boots.  A socket for USB
 * 3 is a port of two root hubs, one of which has the devices of high speed and
 * below; so is each port of a USB 3 hub, which is two hubs.  Before xHCI the
 * slow devices were on a port of a companion controller, OHCI or UHCI.  Here
 * the path of a device becomes that of the port of high speed, by what the
 * kernel says about the ports.  With the name of the controller this is a text
 * that lasts, in udev's spelling.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "usb/usb.h"

#define DEVICES "%s/bus/usb/devices"
#define PATH_SIZE 48                /* "255-255.255.255.255.255.255", "usb1" */
#define NAME_SIZE 128

/* ---- root hubs ---------------------------------------------------------- */

struct root {
    uint32_t bus, revision, ports;
    char controller[NAME_SIZE];     /* "pci-0000:00:14.0", or "" */
};

struct roots {
    struct root *list;
    int num;
};

/* The number with which an attribute of the root hub begins: "3.00" is 3. */
static uint32_t root_number(uint32_t bus, const char *attribute)
{
    char *text = xlx__attr_text(DEVICES "/usb%u/%s", xlx__sysfs_dir(), bus,
                                attribute);
    const char *p = xlx__text(text);
    uint32_t value = 0;

    xlx__take_u32(&p, UINT32_MAX, &value);
    free(text);
    return value;
}

bool xlx__usb_is_pci(const char *name, size_t len)
{
    size_t domain = strspn(name, "0123456789abcdefABCDEF");
    const char *p = name + domain;
    uint32_t n;

    return domain >= 4 && domain <= 8 && len == domain + strlen(":00:14.0") &&
           *p++ == ':' && xlx__take_digits(&p, 2, &n) && *p++ == ':' &&
           xlx__take_digits(&p, 2, &n) && *p++ == '.' && *p >= '0' &&
           *p <= '7';
}

/* As udev calls it in ID_PATH; "" for one that is neither on PCI nor a
 * platform device. */
static void name_controller(struct root *root)
{
    char *path, real[PATH_MAX], *name, *subsystem = NULL;

    path = xlx__printf(DEVICES "/usb%u", xlx__sysfs_dir(), root->bus);
    if (!path || !realpath(path, real))
        goto out;
    *strrchr(real, '/') = '\0';
    name = strrchr(real, '/');
    if (!name || strlen(++name) > NAME_SIZE - sizeof("platform-"))
        goto out;
    subsystem = xlx__attr_link("%s/subsystem", real);
    if (xlx__usb_is_pci(name, strlen(name)))
        snprintf(root->controller, NAME_SIZE, "pci-%.100s", name);
    else if (!strcmp(xlx__text(subsystem), "platform"))
        snprintf(root->controller, NAME_SIZE, "platform-%.100s", name);

 out:
    free(subsystem);
    free(path);
}

static bool is_root(const char *name)
{
    return !strncmp(name, "usb", 3);
}

static int read_roots(struct roots *roots)
{
    struct root *root;
    char **names;
    int i, num, rc;

    rc = xlx__attr_list(&names, &num, is_root, DEVICES, xlx__sysfs_dir());
    if (rc) return rc;
    roots->list = calloc((size_t)num + 1, sizeof(*roots->list));
    if (!roots->list) {
        free(names);
        return xlx__nomem();
    }
    for (i = 0; i < num; i++) {
        root = &roots->list[roots->num];
        if (!xlx__parse_u32(names[i] + 3, UINT32_MAX, &root->bus))
            continue;
        root->revision = root_number(root->bus, "version");
        root->ports = root_number(root->bus, "maxchild");
        name_controller(root);
        roots->num++;
    }
    free(names);
    return 0;
}

static const struct root *root_of(const struct roots *roots, const char *path)
{
    uint32_t bus = 0;
    int i;

    if (!xlx__take_u32(&path, UINT32_MAX, &bus) || *path != '-')
        return NULL;
    for (i = 0; i < roots->num; i++)
        if (roots->list[i].bus == bus)
            return &roots->list[i];
    return NULL;
}

/* ---- ports -------------------------------------------------------------- */

/* The hub that a path is on, and its port: "1-2" and 3 of "1-2.3", "usb1" and
 * 2 of "1-2". */
static bool split(const char *path, char hub[PATH_SIZE], uint32_t *port_r)
{
    const char *dot = strrchr(path, '.'), *dash = strchr(path, '-');
    const char *end = dot ? dot : dash;

    if (!end || strlen(path) + 3 >= PATH_SIZE)
        return false;
    snprintf(hub, PATH_SIZE, "%s%.*s", dot ? "" : "usb", (int)(end - path),
             path);
    return xlx__parse_u32(end + 1, UINT8_MAX, port_r);
}

static void join(const char *hub, uint32_t port, char path[PATH_SIZE])
{
    bool root = is_root(hub);

    snprintf(path, PATH_SIZE, "%.40s%c%u", root ? hub + 3 : hub,
             root ? '-' : '.', port & UINT8_MAX);
}

/* Its directory; NULL for what is not the path of a port. */
static char *port_directory(const char *path)
{
    char hub[PATH_SIZE];
    uint32_t port;

    if (!split(path, hub, &port))
        return NULL;
    return xlx__printf(DEVICES "/%s%s:1.0/%s-port%u", xlx__sysfs_dir(),
                       is_root(hub) ? hub + 3 : hub, is_root(hub) ? "-0" : "",
                       hub, port);
}

/* The port of the other speed in the same socket, which the kernel knows. */
static bool find_peer(const char *path, char peer[PATH_SIZE])
{
    char *dir = port_directory(path);
    char *name = dir ? xlx__attr_link("%s/peer", dir) : NULL;
    char *tail = strstr(xlx__text(name), "-port");
    uint32_t port;
    bool found;

    found = tail && tail - name < PATH_SIZE - 4 &&
            xlx__parse_u32(tail + strlen("-port"), UINT8_MAX, &port);
    if (found) {
        *tail = '\0';
        join(name, port, peer);
    }
    free(name);
    free(dir);
    return found;
}

/* The kernel links the ports of one controller alone.  The firmware may say of
 * two others that they are at one connector, or in one place. */
static bool has_same_mark(const char *a, const char *b)
{
    char *one = port_directory(a), *other = port_directory(b);
    char *x = NULL, *y = NULL;
    bool same = false;

    if (!one || !other)
        goto out;
    x = xlx__attr_link("%s/connector", one);
    y = xlx__attr_link("%s/connector", other);
    same = *xlx__text(x) && !strcmp(x, xlx__text(y));
    if (same)
        goto out;
    free(x);
    free(y);
    x = xlx__attr_text("%s/location", one);
    y = xlx__attr_text("%s/location", other);
    same = *xlx__text(x) && strspn(x, "0x") != strlen(x) &&
           !strcmp(x, xlx__text(y));

 out:
    free(x);
    free(y);
    free(one);
    free(other);
    return same;
}

/* How many ports of the root hub are marked like path's; the last in twin. */
static int count_marked(const struct root *root, const char *path,
                        char twin[PATH_SIZE])
{
    char hub[PATH_SIZE], other[PATH_SIZE];
    uint32_t port;
    int num = 0;

    snprintf(hub, sizeof(hub), "usb%u", root->bus);
    for (port = 1; port <= root->ports && port <= UINT8_MAX; port++) {
        join(hub, port, other);
        if (!has_same_mark(path, other))
            continue;
        num++;
        memcpy(twin, other, PATH_SIZE);
    }
    return num;
}

/* The only port of high speed, of any controller, with the mark.  A firmware
 * that marks several ports alike says nothing. */
static bool find_marked(const struct roots *roots, const struct root *own,
                        const char *path, char twin[PATH_SIZE])
{
    char self[PATH_SIZE];
    int i, num = 0;

    if (count_marked(own, path, self) != 1)
        return false;
    for (i = 0; i < roots->num; i++)
        if (roots->list[i].revision == 2)
            num += count_marked(&roots->list[i], path, twin);
    return num == 1;
}

/* Are they functions of one PCI device, a before b? */
static bool is_before(const struct root *a, const struct root *b)
{
    size_t len = strlen(a->controller);

    return len > 1 && len == strlen(b->controller) &&
           !strncmp(a->controller, b->controller, len - 1) &&
           a->controller[len - 1] < b->controller[len - 1];
}

/* An EHCI controller is the last function of its PCI device, and its
 * companions are those before it.  Its ports are theirs in the order of the
 * functions (EHCI 1.0, 4.2), when these have equally many, and together as
 * many.  Otherwise the routes are in a register that sysfs does not show. */
static bool find_ehci(const struct roots *roots, const struct root *own,
                      uint32_t port, char twin[PATH_SIZE])
{
    const struct root *ehci = NULL, *r;
    uint32_t all = 0, before = 0;
    char hub[PATH_SIZE];
    int i;

    for (i = 0; i < roots->num; i++) {
        r = &roots->list[i];
        if (r->revision != 2 || !is_before(own, r))
            continue;
        if (ehci)
            return false;
        ehci = r;
    }
    for (i = 0; ehci && i < roots->num; i++) {
        r = &roots->list[i];
        if (r->revision != 1 || !is_before(r, ehci))
            continue;
        if (r->ports != own->ports)
            return false;
        all += r->ports;
        if (is_before(r, own))
            before += r->ports;
    }
    if (!ehci || all != ehci->ports || port > own->ports)
        return false;
    snprintf(hub, sizeof(hub), "usb%u", ehci->bus);
    join(hub, before + port, twin);
    return true;
}

/* ---- one path for each socket ------------------------------------------- */

/* For a port of a root hub; false when it stays as it is. */
static bool find_high_speed(const struct roots *roots, const char *path,
                            uint32_t port, char twin[PATH_SIZE])
{
    const struct root *own = root_of(roots, path);

    if (!own || own->revision == 2)
        return false;
    return find_peer(path, twin) || find_marked(roots, own, path, twin) ||
           (own->revision == 1 && find_ehci(roots, own, port, twin));
}

/* The path of the socket's port of high speed.  A hub is looked at from its
 * own socket on, because the kernel has a link to the other half only while
 * that is plugged in. */
static void make_canonical(const struct roots *roots, const char *path,
                           char result[PATH_SIZE])
{
    char hub[PATH_SIZE], above[PATH_SIZE];
    const struct root *own = root_of(roots, path);
    uint32_t port;

    snprintf(result, PATH_SIZE, "%.47s", path);
    if (!own || own->revision == 2 || !split(path, hub, &port))
        return;
    if (is_root(hub)) {
        find_high_speed(roots, path, port, result);
    } else if (own->revision < 3 || !find_peer(path, result)) {
        make_canonical(roots, hub, above);
        join(above, port, result);
    }
}

static int depth(const char *path)
{
    int n = 0;

    for (; *path; path++)
        n += *path == '.';
    return n;
}

static bool is_same(const struct roots *roots, const char *a, const char *b)
{
    char x[PATH_SIZE], y[PATH_SIZE];

    if (!strcmp(a, b))
        return true;
    if (depth(a) != depth(b) || root_of(roots, a) == root_of(roots, b))
        return false;
    make_canonical(roots, a, x);
    make_canonical(roots, b, y);
    return !strcmp(x, y);
}

bool xlx__usb_same_socket(const char *a, const char *b)
{
    struct roots roots = { NULL, 0 };
    bool same;

    if (!strcmp(a, b))
        return true;
    if (!strchr(a, '-') || !strchr(b, '-') || depth(a) != depth(b))
        return false;
    same = !read_roots(&roots) && is_same(&roots, a, b);
    xlx__error_clear();
    free(roots.list);
    return same;
}

/* ---- a name that lasts -------------------------------------------------- */

bool xlx__usb_in_socket(const xlx_usb_selector *s, const char *path)
{
    struct roots roots = { NULL, 0 };
    char other[PATH_SIZE];
    const struct root *r;
    bool found = false;
    int i;

    if (!strchr(path, '-') || depth(xlx__text(s->ports)) != depth(path) ||
        read_roots(&roots))
        goto out;
    for (i = 0; !found && i < roots.num; i++) {
        r = &roots.list[i];
        if (strcmp(r->controller, xlx__text(s->controller)) ||
            (s->revision && s->revision != r->revision))
            continue;
        snprintf(other, sizeof(other), "%u-%.36s", r->bus,
                 xlx__text(s->ports));
        found = is_same(&roots, other, path);
    }

 out:
    xlx__error_clear();
    free(roots.list);
    return found;
}

/* "" when its controller has no name that lasts; NULL without memory. */
static char *socket_text(const struct roots *roots, const char *path)
{
    char canonical[PATH_SIZE];
    const struct root *root;

    make_canonical(roots, path, canonical);
    root = root_of(roots, canonical);
    if (!root || !*root->controller || !root->revision)
        return strdup("");
    return xlx__printf("%s-usbv%u-0:%s", root->controller, root->revision,
                       strchr(canonical, '-') + 1);
}

int xlx__usb_socket(const char *path, char **socket_r)
{
    struct roots roots = { NULL, 0 };
    char *text;
    int rc;

    rc = read_roots(&roots);
    if (rc) return rc;
    text = socket_text(&roots, path);
    free(roots.list);
    if (!text)
        return xlx__nomem();
    free(*socket_r);
    *socket_r = text;
    return 0;
}

/* Has the root hub the first of these ports? */
static bool has_first(const struct root *root, const char *ports)
{
    uint32_t port = 0;

    return xlx__take_u32(&ports, UINT32_MAX, &port) &&
           (!root->ports || port <= root->ports);
}

int xlx__usb_named_socket(const xlx_usb_selector *s, char **socket_r)
{
    bool by_bus = s->kind == XLX_USB_SELECTOR_KIND_PATH;
    struct roots roots = { NULL, 0 };
    char path[PATH_SIZE], *found = NULL, *text;
    const struct root *r;
    int i, rc;

    rc = read_roots(&roots);
    for (i = 0; !rc && i < roots.num; i++) {
        r = &roots.list[i];
        if ((by_bus ? r->bus != s->bus
             : strcmp(r->controller, xlx__text(s->controller)) ||
               (s->revision && s->revision != r->revision)) ||
            !has_first(r, xlx__text(s->ports)))
            continue;
        snprintf(path, sizeof(path), "%u-%.36s", r->bus, xlx__text(s->ports));
        text = socket_text(&roots, path);
        if (!text)
            rc = xlx__nomem();
        else if (found && strcmp(found, text))
            rc = xlx__error(ERROR_INVAL, "port %s is two sockets: %s and %s: "
                            "name one of them", s->ports, found, text);
        free(found);
        found = text;
    }
    free(roots.list);
    if (!rc && !*xlx__text(found))
        rc = found ? xlx__error(ERROR_INVAL, "its controller has no name that "
                                "lasts")
                   : xlx__error(ERROR_NOTFOUND, "there is no such port");
    if (rc) {
        free(found);
        return rc;
    }
    free(*socket_r);
    *socket_r = found;
    return 0;
}

/* ---- whole controllers -------------------------------------------------- */

int xlx__usb_controller(uint32_t bus, char **name_r)
{
    struct roots roots = { NULL, 0 };
    int i, rc;

    rc = read_roots(&roots);
    if (rc) return rc;
    rc = xlx__error(ERROR_NOTFOUND, "there is no bus %u", bus);
    for (i = 0; i < roots.num; i++)
        if (roots.list[i].bus == bus)
            rc = *roots.list[i].controller
                ? xlx__set_string(name_r, roots.list[i].controller)
                : xlx__error(ERROR_INVAL, "the controller of bus %u has no "
                             "name that lasts", bus);
    free(roots.list);
    if (!rc)
        xlx__error_clear();
    return rc;
}

void xlx__usb_sockets_dispose(struct xlx__usb_sockets *sockets)
{
    while (sockets->num)
        free(sockets->list[--sockets->num]);
    free(sockets->list);
    sockets->list = NULL;
}

int xlx__usb_sockets_add(struct xlx__usb_sockets *sockets, char *text)
{
    size_t size = (size_t)sockets->num + 1;
    char **list;

    list = text ? realloc(sockets->list, size * sizeof(*list)) : NULL;
    if (!list) {
        free(text);
        return xlx__nomem();
    }
    sockets->list = list;
    list[sockets->num++] = text;
    return 0;
}

static int add_sockets(const struct roots *roots, const struct root *root,
                       struct xlx__usb_sockets *sockets)
{
    char path[PATH_SIZE];
    uint32_t port;
    int rc = 0;

    for (port = 1; !rc && port <= root->ports && port <= UINT8_MAX; port++) {
        snprintf(path, sizeof(path), "%u-%u", root->bus, port);
        rc = xlx__usb_sockets_add(sockets, socket_text(roots, path));
    }
    return rc;
}

int xlx__usb_sockets_of(const char *controller,
                        struct xlx__usb_sockets *sockets)
{
    struct roots roots = { NULL, 0 };
    int i, rc;

    rc = read_roots(&roots);
    for (i = 0; !rc && i < roots.num; i++)
        if (!strcmp(roots.list[i].controller, controller))
            rc = add_sockets(&roots, &roots.list[i], sockets);
    free(roots.list);
    return rc;
}

static void add_place(const struct roots *roots, const char *path,
                     struct xlx__usb_places *places)
{
    const struct root *root = root_of(roots, path);
    struct xlx__usb_place *place;
    const char *name;
    int i;

    if (!root || !*root->controller)
        return;
    name = strchr(root->controller, '-') + 1;
    for (i = 0; i < places->num; i++)
        if (places->list[i].bus == root->bus)
            return;
    place = &places->list[places->num++];
    place->bus = root->bus;
    place->revision = root->revision;
    snprintf(place->controller, sizeof(place->controller), "%s", name);
    snprintf(place->ports, sizeof(place->ports), "%.47s",
             strchr(path, '-') + 1);
}

int xlx__usb_places(const char *path, struct xlx__usb_places *places)
{
    char canonical[PATH_SIZE], peer[PATH_SIZE];
    struct roots roots = { NULL, 0 };
    int rc;

    places->num = 0;
    rc = read_roots(&roots);
    if (rc) return rc;
    make_canonical(&roots, path, canonical);
    add_place(&roots, canonical, places);
    add_place(&roots, path, places);
    if (find_peer(canonical, peer))
        add_place(&roots, peer, places);
    free(roots.list);
    return 0;
}

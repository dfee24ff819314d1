/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The obstacles that restoring a saved guest on this host would meet: a list
 * of things to look at, in the order in which xl would meet them.  One that
 * cannot be found out is an obstacle as well.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/number.h"
#include "guest/guest.h"
#include "saved/saved.h"

#define FAILS XLX_SAVED_OBSTACLE_WEIGHT_FAILS
#define NOTE XLX_SAVED_OBSTACLE_WEIGHT_NOTE

__attribute__((format(printf, 4, 5)))
static int add(xlx_saved_here *here, xlx_saved_obstacle_weight weight,
               const char *about, const char *fmt, ...)
{
    xlx_saved_obstacle *o = xlx__saved_here_obstacles_append(here);
    char text[512];
    va_list ap;
    int rc;

    if (!o)
        return xlx__nomem();
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    o->weight = weight;
    rc = xlx__set_string(&o->about, about);
    return rc ? rc : xlx__set_string(&o->text, text);
}

/* ---- devices ------------------------------------------------------------ */

/* A name that QEMU has for something that is not a file. */
static bool is_path(const char *name)
{
    return *name == '/';
}

static int look_at_disk(const xlx_saved_device *d, xlx_saved_here *here)
{
    const char *host = xlx__text(d->host);
    struct stat st;

    if (!*host)                         /* an empty drive */
        return 0;
    if (!is_path(host))
        return add(here, NOTE, d->name, "whether \"%s\" is there was not "
                   "looked at, because it is not a path", host);
    if (!stat(host, &st))
        return 0;
    return add(here, FAILS, d->name, "its image \"%s\": %s", host,
               strerror(errno));
}

static int look_at_nic(const xlx_saved_device *d, xlx_saved_here *here)
{
    const char *bridge = xlx__text(d->host);
    char path[128];
    struct stat st;

    if (!*bridge || strchr(bridge, '/'))
        return 0;
    if ((size_t)snprintf(path, sizeof(path), "/sys/class/net/%s", bridge) <
        sizeof(path) && !stat(path, &st))
        return 0;
    return add(here, FAILS, "nic", "%s: there is no bridge \"%s\"",
               xlx__text(d->name), bridge);
}

static int look_at_devices(const xlx_saved_info *info, xlx_saved_here *here)
{
    const xlx_saved_device *d;
    int i, rc = 0;

    for (i = 0; !rc && i < info->num_devices; i++) {
        d = &info->devices[i];
        if (!strcmp(d->kind, "disk"))
            rc = look_at_disk(d, here);
        else if (!strcmp(d->kind, "nic"))
            rc = look_at_nic(d, here);
        else if (!strcmp(d->kind, "pci"))
            rc = add(here, NOTE, "pci", "whether its PCI devices are free was "
                     "not looked at");
    }
    return rc;
}

/* ---- Xen ---------------------------------------------------------------- */

static int look_at_name(xlx_ctx *ctx, const xlx_saved_info *info,
                        xlx_saved_here *here)
{
    xlx_guest guest;
    int rc;

    if (!*xlx__text(info->name))
        return 0;
    xlx_guest_init(&guest);
    rc = xlx__guest_domain(ctx, info->name, NULL, &guest);
    if (!rc)
        rc = add(here, FAILS, "name", "a guest with the name \"%s\" runs, as "
                 "domain %u", info->name, guest.domid);
    else if (rc == ERROR_NOTFOUND)
        rc = xlx__forgive(rc, ERROR_NOTFOUND);
    else
        rc = add(here, NOTE, "name", "whether such a guest runs could not be "
                 "found out: %.300s", xlx_error_get());
    xlx_guest_dispose(&guest);
    return rc;
}

static int look_at_memory(libxl_ctx *xl, const xlx_saved_info *info,
                          xlx_saved_here *here)
{
    uint64_t need = info->pages << 2, free_kb;      /* in KiB */
    libxl_physinfo host;
    int rc = 0;

    libxl_physinfo_init(&host);
    if (libxl_get_physinfo(xl, &host)) {
        rc = add(here, NOTE, "memory", "how much is free could not be found "
                 "out");
    } else {
        free_kb = host.free_pages << 2;
        if (need > host.total_pages << 2)
            rc = add(here, FAILS, "memory", "it needs %llu MiB, and the host "
                     "has %llu", (unsigned long long)need >> 10,
                     (unsigned long long)host.total_pages >> 8);
        else if (need > free_kb)
            rc = add(here, NOTE, "memory", "it needs %llu MiB, and Xen has "
                     "%llu free; dom0 must give the rest",
                     (unsigned long long)need >> 10,
                     (unsigned long long)free_kb >> 10);
    }
    libxl_physinfo_dispose(&host);
    return rc;
}

static int look_at_version(libxl_ctx *xl, const xlx_saved_info *info,
                           xlx_saved_here *here)
{
    const libxl_version_info *v = libxl_get_version_info(xl);
    const char *p = xlx__text(info->xen_version);
    uint32_t major, minor;

    if (!v)
        return add(here, NOTE, "xen", "the version of Xen could not be found "
                   "out");
    if (!xlx__take_u32(&p, UINT32_MAX, &major) || !xlx__take_word(&p, ".") ||
        !xlx__take_u32(&p, UINT32_MAX, &minor) || !major)
        return 0;
    if (major < (uint32_t)v->xen_version_major ||
        (major == (uint32_t)v->xen_version_major &&
         minor <= (uint32_t)v->xen_version_minor))
        return 0;
    return add(here, NOTE, "xen", "it was saved by Xen %s, and this is the "
               "older %d.%d, which is not made to restore it",
               info->xen_version, v->xen_version_major,
               v->xen_version_minor);
}

/* ---- all of it ---------------------------------------------------------- */

int xlx__saved_here_get(xlx_ctx *ctx, const xlx_saved_info *info,
                        xlx_saved_here *here_r)
{
    libxl_ctx *xl;
    int rc;

    rc = look_at_devices(info, here_r);
    if (rc) return rc;
    if (!*xlx__text(info->config))
        rc = add(here_r, FAILS, "config", "there is none in the file: give xl "
                 "restore a config file");
    if (rc) return rc;
    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc)
        return add(here_r, NOTE, "xen", "name and memory were not looked at: "
                   "%.300s", xlx_error_get());
    rc = look_at_name(ctx, info, here_r);
    if (!rc)
        rc = look_at_memory(xl, info, here_r);
    if (!rc)
        rc = look_at_version(xl, info, here_r);
    return rc;
}

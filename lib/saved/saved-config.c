/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration of a saved guest, as far as people ask for it: libxl's
 * JSON (libxl_domain_config), which leaves out what has its default.  It is
 * read here and not by libxl, which does that only on a host with Xen.  The
 * configuration is what another program wrote: what is not as expected is left
 * out, and the guest is told of without it.
 */
#include <stdlib.h>
#include <string.h>

#include "saved/saved.h"

static const struct xlx__json_limits limits = {
    .bytes = 16u << 20, .depth = 64,
};

/* A member that is a string, else NULL; dotted names lead down. */
static const char *text_of(const struct xlx__json *obj, const char *key)
{
    const struct xlx__json *v = xlx__json_member(obj, key);
    const char *text;

    if (!v || xlx__json_kind(v) != XLX__JSON_STRING ||
        xlx__json_string(v, &text))
        return NULL;
    return text;
}

static uint64_t number_of(const struct xlx__json *obj, const char *key,
                          uint64_t max)
{
    const struct xlx__json *v = xlx__json_member(obj, key);
    uint64_t number;

    if (!v || xlx__json_kind(v) != XLX__JSON_INTEGER ||
        xlx__json_uint64(v, max, &number))
        return 0;
    return number;
}

static int add_device(xlx_saved_info *info, const char *kind,
                      const char *name, const char *host, const char *format)
{
    xlx_saved_device *d = xlx__saved_info_devices_append(info);
    int rc;

    if (!d)
        return xlx__nomem();
    rc = xlx__set_string(&d->kind, kind);
    if (!rc)
        rc = xlx__set_string(&d->name, xlx__text(name));
    if (!rc)
        rc = xlx__set_string(&d->host, xlx__text(host));
    if (!rc)
        rc = xlx__set_string(&d->format, xlx__text(format));
    return rc;
}

/* Lists of libxl's, with the members that name a device and its counterpart.
 * Others of their kind have no name but their number. */
static const struct {
    const char *list, *kind, *name, *host, *format;
} devices[] = {
    { "disks", "disk", "vdev", "pdev_path", "format" },
    { "nics", "nic", "mac", "bridge", NULL },
    { "pcidevs", "pci", NULL, "name", NULL },
    { "usbctrls", "usbctrl", NULL, NULL, NULL },
    { "usbdevs", "usb", NULL, NULL, NULL },
    { "vtpms", "vtpm", "uuid", NULL, NULL },
    { "p9s", "p9", "tag", "path", NULL },
    { "vkbs", "vkb", NULL, NULL, NULL },
    { "vfbs", "vfb", NULL, NULL, NULL },
    { "channels", "channel", "name", NULL, NULL },
};

static int add_devices(const struct xlx__json *root, xlx_saved_info *info)
{
    const struct xlx__json *list, *v;
    size_t i;
    int rc = 0;

    for (i = 0; i < XLX__ARRAY_SIZE(devices); i++) {
        list = xlx__json_member(root, devices[i].list);
        if (!list || xlx__json_kind(list) != XLX__JSON_ARRAY)
            continue;
        for (v = xlx__json_first(list); !rc && v; v = xlx__json_next(v))
            rc = add_device(info, devices[i].kind,
                            devices[i].name ? text_of(v, devices[i].name)
                                            : NULL,
                            devices[i].host ? text_of(v, devices[i].host)
                                            : NULL,
                            devices[i].format ? text_of(v, devices[i].format)
                                              : NULL);
    }
    return rc;
}

static int read_root(const struct xlx__json *root, xlx_saved_info *info)
{
    const struct xlx__json *c = xlx__json_member(root, "c_info");
    const struct xlx__json *b = xlx__json_member(root, "b_info");
    const char *uuid = c ? text_of(c, "uuid") : NULL;
    const char *type = c ? text_of(c, "type") : NULL;
    int rc;

    rc = xlx__set_string(&info->name, xlx__text(c ? text_of(c, "name")
                                                  : NULL));
    if (rc) return rc;
    if (uuid && libxl_uuid_from_string(&info->uuid, uuid))
        libxl_uuid_clear(&info->uuid);
    if (type) {
        rc = xlx__set_string(&info->type, type);
        if (rc) return rc;
    }
    if (b) {
        info->vcpus = (uint32_t)number_of(b, "max_vcpus", UINT32_MAX);
        info->max_memory = number_of(b, "max_memkb", UINT64_MAX >> 10) << 10;
        info->target_memory = number_of(b, "target_memkb",
                                        UINT64_MAX >> 10) << 10;
    }
    return add_devices(root, info);
}

/* xl's optional data: the length of the config, and the config, which JSON
 * ends with a NUL. */
static const char *config_text(const struct xlx__saved_scan *scan,
                               size_t *len_r)
{
    uint32_t len;

    if (scan->config_len < sizeof(len))
        return NULL;
    memcpy(&len, scan->config, sizeof(len));
    if (len > scan->config_len - sizeof(len))
        return NULL;
    *len_r = strnlen(scan->config + sizeof(len), len);
    return scan->config + sizeof(len);
}

int xlx__saved_config_read(const struct xlx__saved_scan *scan,
                           xlx_saved_info *info)
{
    struct xlx__json_doc *doc = NULL;
    const char *text;
    size_t len;
    int rc;

    text = config_text(scan, &len);
    if (!text || xlx__utf8_valid(text, len) != len)
        return 0;
    free(info->config);
    info->config = strndup(text, len);
    if (!info->config)
        return xlx__nomem();
    if (!(scan->xl.mandatory & XLX__SAVE_JSON))
        return 0;
    rc = xlx__json_parse("the configuration", text, len, &limits, &doc);
    if (rc)
        return xlx__forgive(rc, ERROR_INVAL);
    rc = read_root(xlx__json_root(doc), info);
    xlx__json_free(doc);
    return rc;
}

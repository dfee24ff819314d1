/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which guest "xl create" would start: read from the config text, as stock xl
 * reads it.  Whatever is wrong with it is left for stock xl to say.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard.h"
#include "plain-file.h"
#include "text.h"

/* ---- files -------------------------------------------------------------- */

static bool read_exactly(int fd, void *buf, size_t len)
{
    char *p = buf;
    ssize_t r;

    while (len) {
        r = TEMP_FAILURE_RETRY(read(fd, p, len));
        if (r <= 0)
            return false;
        p += r;
        len -= (size_t)r;
    }
    return true;
}

/* len bytes of text and a NUL, or NULL. */
static char *read_text(int fd, size_t len)
{
    char *text;

    if (len > XL_MAX_CONFIG)
        return NULL;
    text = malloc(len + 1);
    if (!text)
        xl_no_memory();
    if (!read_exactly(fd, text, len)) {
        free(text);
        return NULL;
    }
    text[len] = '\0';
    return text;
}

static char *read_file(const char *path)
{
    off_t size = 0;
    char *text;
    int fd;

    fd = xl_open_plain(path, &size);
    if (fd < 0)
        return NULL;
    text = read_text(fd, (size_t)size);
    close(fd);
    return text;
}

/* ---- xl.cfg ------------------------------------------------------------- */

static bool take_disk(XLU_Config *cfg, const char *spec,
                      struct guest_config *config)
{
    config->specs[config->num_disks] = xl_format("%s", spec);
    libxl_device_disk_init(&config->disks[config->num_disks]);
    return !xlu_disk_parse(cfg, 1, &spec,
                           &config->disks[config->num_disks++]);
}

static bool take_disks(XLU_Config *cfg, struct guest_config *config)
{
    XLU_ConfigList *list;
    const char *spec;
    int i, num;

    if (xlu_cfg_get_list(cfg, "disk", &list, &num, 1) || num <= 0)
        return true;
    config->disks = calloc((size_t)num, sizeof(*config->disks));
    config->specs = calloc((size_t)num, sizeof(*config->specs));
    if (!config->disks || !config->specs)
        xl_no_memory();
    for (i = 0; i < num; i++) {
        spec = xlu_cfg_get_listitem(list, i);
        if (!spec || !take_disk(cfg, spec, config))
            return false;
    }
    return true;
}

static bool begin(struct guest_config *config)
{
    config->report = fopen("/dev/null", "we");
    if (config->report)
        config->cfg = xlu_cfg_init(config->report, "config");
    return config->cfg;
}

bool guest_config_from_disk(int num, const char *const *parts,
                            struct guest_config *config)
{
    config->disks = calloc(1, sizeof(*config->disks));
    if (!config->disks)
        xl_no_memory();
    libxl_device_disk_init(&config->disks[config->num_disks++]);
    return begin(config) &&
           !xlu_disk_parse(config->cfg, num, parts, config->disks);
}

bool guest_config_from_text(const char *text, struct guest_config *config)
{
    const char *value;

    if (!begin(config) ||
        xlu_cfg_readdata(config->cfg, text, (int)strlen(text)))
        return false;
    if (!xlu_cfg_get_string(config->cfg, "name", &value, 1))
        config->name = xl_format("%s", value);
    if (!xlu_cfg_get_string(config->cfg, "uuid", &value, 1))
        config->has_uuid = !libxl_uuid_from_string(&config->uuid, value);
    return take_disks(config->cfg, config);
}

bool guest_config_from_file(const char *path, const char *extra,
                            struct guest_config *config)
{
    bool from_arguments = !strcmp(path, "/dev/null");
    char *file = NULL;

    if (!from_arguments) {
        file = read_file(path);
        if (!file)
            return false;
    }
    config->text = extra ? xl_format("%s\n%s\n", file ? file : "", extra)
                         : xl_format("%s", file ? file : "");
    free(file);
    return guest_config_from_text(config->text, config);
}

libxl_domain_type guest_config_type(const struct guest_config *config)
{
    libxl_domain_type type = LIBXL_DOMAIN_TYPE_PV;
    const char *value;
    long number;

    if (!xlu_cfg_get_string(config->cfg, "type", &value, 1))
        libxl_domain_type_from_string(value, &type);
    else if (!xlu_cfg_get_long(config->cfg, "pvh", &number, 1) && number)
        type = LIBXL_DOMAIN_TYPE_PVH;
    else if (!xlu_cfg_get_string(config->cfg, "builder", &value, 1) &&
             !strcmp(value, "hvm"))
        type = LIBXL_DOMAIN_TYPE_HVM;
    return type;
}

/* ---- the end ------------------------------------------------------------ */

void guest_config_free(struct guest_config *config)
{
    int i;

    for (i = 0; i < config->num_disks; i++) {
        libxl_device_disk_dispose(&config->disks[i]);
        if (config->specs)
            free(config->specs[i]);
    }
    free(config->disks);
    free(config->specs);
    free(config->name);
    free(config->text);
    if (config->cfg)
        xlu_cfg_destroy(config->cfg);
    if (config->report)
        fclose(config->report);
}

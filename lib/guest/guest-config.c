/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The config file of a guest that is shut down, read by libxlutil as xl does:
 * whose it is, and which disks it names.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/guest.h"
#include "guest/xl-config.h"

int xlx__guest_config_disks(xlx_ctx *ctx, const char *path,
                            libxl_device_disk **disks_r, int *num_r)
{
    libxl_device_disk *disks = NULL;
    XLU_ConfigList *list = NULL;
    struct xlx__xl_config c;
    int i, n = 0, num = 0, rc;

    (void)ctx;
    rc = xlx__xl_config_read_file(&c, path);
    if (rc) goto out;
    xlu_cfg_get_list(c.cfg, "disk", &list, &n, 1);
    disks = calloc(n + 1, sizeof(*disks));
    if (!disks) {
        rc = xlx__nomem();
        goto out;
    }
    for (i = 0; i < n; i++) {
        const char *text = xlu_cfg_get_listitem(list, i);

        libxl_device_disk_init(&disks[num++]);
        if (!text || xlu_disk_parse(c.cfg, 1, &text, &disks[num - 1])) {
            rc = xlx__error(ERROR_INVAL, "%s: disk %d: %s", path, i + 1,
                            xlx__xl_config_said(&c, "not a disk"));
            goto out;
        }
    }
    *disks_r = disks;
    *num_r = num;
    disks = NULL;
    rc = 0;

 out:
    if (disks)
        libxl_device_disk_list_free(disks, num);
    xlx__xl_config_dispose(&c);
    return rc;
}

int xlx__guest_config_identity(xlx_ctx *ctx, const char *path, char **name,
                               libxl_uuid *uuid, bool *has_uuid_r)
{
    struct xlx__xl_config c;
    const char *text;
    int rc;

    (void)ctx;
    *has_uuid_r = false;
    rc = xlx__xl_config_read_file(&c, path);
    if (rc) goto out;
    if (xlu_cfg_get_string(c.cfg, "name", &text, 1)) {
        rc = xlx__error(ERROR_INVAL, "%s: it has no name=", path);
        goto out;
    }
    rc = xlx__set_string(name, text);
    if (rc) goto out;
    if (!xlu_cfg_get_string(c.cfg, "uuid", &text, 1)) {
        if (libxl_uuid_from_string(uuid, text)) {
            rc = xlx__error(ERROR_INVAL, "%s: uuid=\"%s\": not a UUID", path,
                            text);
            goto out;
        }
        *has_uuid_r = true;
    }
    rc = 0;

 out:
    xlx__xl_config_dispose(&c);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The config file of a guest that is shut down, read by libxlutil as xl does:
 * whose it is, and which disks it names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxlutil.h>

#include "guest/guest.h"

/* The caller's to free, one and all; see xlx__config_file_disks.  The report
 * writes to *said_r and *len_r until it is closed. */
static int read_config(xlx_ctx *ctx, const char *path, XLU_Config **cfg_r,
                       FILE **report_r, char **said_r, size_t *len_r)
{
    int r, rc;

    (void)ctx;
    *said_r = NULL;
    *report_r = open_memstream(said_r, len_r);
    *cfg_r = *report_r ? xlu_cfg_init(*report_r, path) : NULL;
    if (!*cfg_r)
        return xlx__nomem();
    r = xlu_cfg_readfile(*cfg_r, path);
    if (!r)
        return 0;
    fflush(*report_r);
    rc = xlx__errno_rc(r);
    return xlx__error(rc, "%s: %s", path,
                      *said_r && **said_r ? *said_r : strerror(r));
}

int xlx__guest_config_disks(xlx_ctx *ctx, const char *path,
                            libxl_device_disk **disks_r, int *num_r)
{
    libxl_device_disk *disks = NULL;
    XLU_ConfigList *list = NULL;
    XLU_Config *cfg = NULL;
    FILE *report = NULL;
    char *said = NULL;
    size_t len = 0;
    int i, n = 0, num = 0, rc;

    rc = read_config(ctx, path, &cfg, &report, &said, &len);
    if (rc) goto out;
    xlu_cfg_get_list(cfg, "disk", &list, &n, 1);
    disks = calloc(n + 1, sizeof(*disks));
    if (!disks) {
        rc = xlx__nomem();
        goto out;
    }
    for (i = 0; i < n; i++) {
        const char *text = xlu_cfg_get_listitem(list, i);

        libxl_device_disk_init(&disks[num++]);
        if (!text || xlu_disk_parse(cfg, 1, &text, &disks[num - 1])) {
            fflush(report);
            rc = xlx__error(ERROR_INVAL, "%s: disk %d: %s", path, i + 1,
                            said && *said ? said : "not a disk");
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
    if (cfg)
        xlu_cfg_destroy(cfg);
    if (report)
        fclose(report);
    free(said);
    return rc;
}

int xlx__guest_config_identity(xlx_ctx *ctx, const char *path, char **name,
                               libxl_uuid *uuid, bool *has_uuid_r)
{
    XLU_Config *cfg = NULL;
    FILE *report = NULL;
    char *said = NULL;
    size_t len = 0;
    const char *text;
    int rc;

    *has_uuid_r = false;
    rc = read_config(ctx, path, &cfg, &report, &said, &len);
    if (rc) goto out;
    if (xlu_cfg_get_string(cfg, "name", &text, 1)) {
        rc = xlx__error(ERROR_INVAL, "%s: it has no name=", path);
        goto out;
    }
    rc = xlx__set_string(name, text);
    if (rc) goto out;
    if (!xlu_cfg_get_string(cfg, "uuid", &text, 1)) {
        if (libxl_uuid_from_string(uuid, text)) {
            rc = xlx__error(ERROR_INVAL, "%s: uuid=\"%s\": not a UUID", path,
                            text);
            goto out;
        }
        *has_uuid_r = true;
    }
    rc = 0;

 out:
    if (cfg)
        xlu_cfg_destroy(cfg);
    if (report)
        fclose(report);
    free(said);
    return rc;
}

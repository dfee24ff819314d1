/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The modules of the kernel that a guest's SCSI devices need.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/child.h"
#include "core/kernfs.h"
#include "scsi/scsi.h"

#define MODPROBE_MS 30000

static int load(xlx_ctx *ctx, const char *module)
{
    const char *argv[] = { "modprobe", module, NULL };
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = MODPROBE_MS, .max_output = 4096,
    };
    int rc;

    rc = xlx__child_run(ctx, &child, NULL, NULL);
    if (rc)
        xlx__error_prefix(ERROR_NOT_READY, "this host's kernel lacks a "
                          "module that SCSI devices need");
    return rc ? ERROR_NOT_READY : 0;
}

int xlx__scsi_target_modules(xlx_ctx *ctx, xlx_scsi_backstore kind)
{
    const char *configfs = xlx__configfs_dir(), *module;
    char *fabric;
    int rc;

    module = kind == XLX_SCSI_BACKSTORE_PSCSI    ? "target_core_pscsi"
             : kind == XLX_SCSI_BACKSTORE_IBLOCK ? "target_core_iblock"
             : kind == XLX_SCSI_BACKSTORE_FILEIO ? "target_core_file" : NULL;
    if (!xlx__attr_exists("%s/target", configfs)) {
        rc = load(ctx, "target_core_mod");
        if (rc) return rc;
        if (!xlx__attr_exists("%s/target", configfs))
            return xlx__error(ERROR_NOT_READY, "%s/target is not there: "
                              "mount configfs", configfs);
    }
    if (module && !xlx__attr_exists("%s/module/%s", xlx__sysfs_dir(),
                                    module)) {
        rc = load(ctx, module);
        if (rc) return rc;
    }
    if (!xlx__attr_exists("%s/bus/xen-backend/drivers/vscsi",
                          xlx__sysfs_dir())) {
        rc = load(ctx, "xen-scsiback");
        if (rc) return rc;
    }
    fabric = xlx__printf("%s/target/xen-pvscsi", configfs);
    if (!fabric)
        rc = xlx__nomem();
    else if (mkdir(fabric, 0755) && errno != EEXIST)
        rc = xlx__error(xlx__errno_rc(errno), "%s: the kernel does not make "
                        "it: %m", fabric);
    else
        rc = 0;
    free(fabric);
    return rc;
}

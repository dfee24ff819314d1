/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For scsi-rtslib.py: our target of one device in a fake configfs.
 *
 *   fake-target make|check|remove UUID H:C:T:L PATH [shared|iblock]
 *
 * Prints the backstore, the target and the LUN; 1 with the message when the
 * library fails.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/store.h"
#include "scsi/scsi.h"

static int act(xlx_ctx *ctx, const char *what, const xlx_scsi_entry *e,
               const struct xlx__scsi_pdev *p)
{
    if (!strcmp(what, "make"))
        return xlx__scsi_target_make(ctx, e, p);
    if (!strcmp(what, "check"))
        return xlx__scsi_target_check(e);
    return xlx__scsi_target_remove(ctx, e);
}

int main(int argc, char **argv)
{
    struct xlx__scsi_hctl vdev;
    struct xlx__scsi_pdev p;
    xlx_scsi_entry e;
    libxl_uuid uuid;
    xlx_ctx *ctx;
    int rc;

    xlx_scsi_entry_init(&e);
    xlx__scsi_pdev_init(&p);
    e.dev.backstore = argc > 5 && !strcmp(argv[5], "iblock")
                      ? XLX_SCSI_BACKSTORE_IBLOCK : XLX_SCSI_BACKSTORE_PSCSI;
    e.dev.shared = argc > 5;
    if (argc < 5 || libxl_uuid_from_string(&uuid, argv[2]) ||
        !xlx__scsi_parse_hctl(argv[3], &vdev) ||
        xlx_ctx_alloc(&ctx, NULL, NULL))
        return 2;
    rc = xlx__scsi_target_name(&uuid, &vdev, &e);
    if (!rc)
        rc = xlx__set_string(&p.unit.path, argv[4]);
    if (!rc)
        rc = act(ctx, argv[1], &e, &p);
    if (rc)
        fprintf(stderr, "%s\n", xlx_error_get());
    else
        printf("%s %s %u\n", e.backstore, e.target, e.lun);
    xlx__scsi_pdev_dispose(&p);
    xlx_scsi_entry_dispose(&e);
    xlx_ctx_free(ctx);
    return rc ? 1 : 0;
}

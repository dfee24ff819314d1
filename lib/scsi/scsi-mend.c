/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Targets that another tool removed from under a guest ("targetcli ... delete"
 * of a LUN or of a backstore).  The guest's commands fail from then on, and
 * its adapter stays connected.  The backend keeps the TPG, so a new LUN in it
 * is used without a word to the guest.
 */
#include <stdlib.h>
#include <string.h>

#include "core/kernfs.h"
#include "scsi/scsi.h"

bool xlx__scsi_target_is_lost(const xlx_scsi_entry *e, uint32_t domid)
{
    bool lost;

    if (e->status != XLX_SCSI_STATUS_ATTACHED || e->domid != domid ||
        domid == XLX_DOMID_NONE ||
        e->dev.backstore == XLX_SCSI_BACKSTORE_TARGET)
        return false;
    lost = xlx__scsi_target_check(e) != 0;
    xlx__error_clear();
    return lost;
}

/* Is its backstore still there, for this device?  Then it is that which has
 * the disk open, and the kernel gives it to nobody else. */
static int is_served(const xlx_scsi_entry *e, const struct xlx__scsi_pdev *p,
                     bool *yes_r)
{
    char *path = xlx__attr_text("%s/target/core/%s/udev_path",
                                xlx__configfs_dir(), e->backstore);
    char *enable = path ? xlx__attr_text("%s/target/core/%s/enable",
                                         xlx__configfs_dir(), e->backstore)
                        : NULL;
    int rc = enable ? 0 : xlx__attr_failure();

    if (!rc)
        *yes_r = !strcmp(path, p->unit.path) && !strcmp(enable, "1");
    free(enable);
    free(path);
    return rc;
}

/* Its device is looked for by its identity: that path may be another's now. */
static int make_again(struct xlx__scsi_repair *r, const xlx_scsi_entry *e)
{
    char *tpg = xlx__scsi_target_tpg(e);
    struct xlx__scsi_pdev p;
    bool served = false;
    int rc;

    xlx__scsi_pdev_init(&p);
    if (!tpg)
        rc = xlx__nomem();
    else if (!xlx__attr_exists("%s", tpg))
        rc = xlx__error(ERROR_FAIL, "%s was removed while the kernel's "
                        "backend uses it, and a new one is not used: end the "
                        "guest with xl destroy, and start it again", tpg);
    else
        rc = xlx__scsi_find_again(e, r->c->boot, &p);
    if (rc) goto out;
    rc = is_served(e, &p, &served);
    if (rc) goto out;
    rc = xlx__scsi_check_use(r->c, e, &p, served);
    if (rc) goto out;
    rc = xlx__scsi_target_make(r->c->ctx, e, &p);
    if (rc) goto out;
    rc = xlx__scsi_target_check(e);

 out:
    xlx__scsi_pdev_dispose(&p);
    free(tpg);
    return rc;
}

int xlx__scsi_mend_targets(struct xlx__scsi_repair *r)
{
    const xlx_scsi_entry *e;
    int i, failed, rc = 0;

    for (i = 0; !rc && i < r->c->record.num_entries; i++) {
        e = &r->c->record.entries[i];
        if (!xlx__scsi_target_is_lost(e, r->c->guest.domid))
            continue;
        failed = r->dry_run ? 0 : make_again(r, e);
        rc = xlx__scsi_report(r, e->dev.vdev,
                              "another tool has removed its target",
                              r->dry_run ? "it would be made again"
                                         : "made again", failed);
    }
    return rc;
}

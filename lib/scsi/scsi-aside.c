/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Setting a guest's devices aside: detached, but still the guest's.  It is the
 * record alone that keeps them until a repair attaches them again.
 */
#include <stdlib.h>

#include "core/store.h"
#include "scsi/scsi.h"

/* A device that another tool attached cannot be attached again. */
static int check_all_ours(struct xlx__scsi_change *c)
{
    xlx_scsi_ctrls list;
    int i, j, rc;

    xlx_scsi_ctrls_init(&list);
    rc = xlx__scsi_ctrl_list(c->ctx, &c->guest, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++)
        for (j = 0; !rc && j < list.ctrls[i].num_devs; j++)
            if (list.ctrls[i].devs[j].status == XLX_SCSI_STATUS_UNKNOWN)
                rc = xlx__error(ERROR_NOT_READY, "vdev %s: another tool "
                                "attached it, so that it could not be "
                                "brought back: detach it",
                                list.ctrls[i].devs[j].dev.vdev);
    xlx_scsi_ctrls_dispose(&list);
    return rc;
}

struct setting_aside {
    struct xlx__scsi_change *c;
    int64_t deadline;
};

static int set_adapter_aside(const xlx_scsi_entry *const *entries, int num,
                     void *user)
{
    const struct setting_aside *s = user;
    int i, rc;

    rc = xlx__scsi_disconnect(s->c->ctx, entries, num, s->deadline);
    if (rc) return rc;
    for (i = 0; i < num; i++)
        xlx__scsi_entry(&s->c->record, entries[i]->dev.vdev)->domid =
            XLX_DOMID_NONE;
    rc = xlx__scsi_record_write(s->c);
    xlx__fault("scsi-aside.one");
    return rc;
}

static int set_aside(struct xlx__scsi_change *c, int64_t deadline)
{
    struct setting_aside s = { c, deadline };
    int i, num = c->record.num_entries, rc;
    const xlx_scsi_entry **list;
    int n = 0;

    list = calloc((size_t)num, sizeof(*list));
    if (!list)
        return xlx__nomem();
    for (i = 0; i < num; i++) {
        c->record.entries[i].status = XLX_SCSI_STATUS_ASIDE;
        if (!xlx__scsi_is_aside(&c->record.entries[i]))
            list[n++] = &c->record.entries[i];
    }
    rc = xlx__scsi_record_write(c);
    xlx__fault("scsi-aside.intent");
    if (rc) goto out;
    rc = xlx__scsi_each_adapter(list, n, set_adapter_aside, &s);

 out:
    free(list);
    return rc;
}

int xlx__scsi_set_aside(xlx_ctx *ctx, const xlx_guest *guest,
                        const xlx_scsi_wait *wait)
{
    struct xlx__scsi_change c;
    int rc;

    rc = xlx__scsi_open(ctx, guest, &c);
    if (rc) goto out;
    if (c.guest.domid == XLX_DOMID_NONE) {
        rc = xlx__error(ERROR_NOT_READY, "%s: it does not run",
                        xlx__text(guest->name));
        goto out;
    }
    rc = xlx__scsi_recover(&c, wait && wait->dry_run, NULL);
    if (rc) goto out;
    rc = check_all_ours(&c);
    if (rc || (wait && wait->dry_run) || !c.record.num_entries)
        goto out;
    rc = set_aside(&c, xlx__scsi_deadline(wait, c.record.num_entries));

 out:
    xlx__scsi_end(&c);
    return rc;
}

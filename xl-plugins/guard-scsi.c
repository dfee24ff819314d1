/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vscsi=["PDEV,VDEV[,OPTION]...", ...] in a guest's config, as xm had it: the
 * guest is made paused, xl scsi-attach is run for each element, and then it
 * runs.  Its driver finds the devices when it starts.
 *
 * A guest with such devices is neither saved nor migrated: libxl leaves them
 * behind, and the guest's driver does not survive that.  With --detach they
 * are set aside before, and attached again where and when the guest runs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "text.h"

#define MAX_OPTIONS 8

/* One element as the arguments of xl scsi-attach; -1 after a message. */
static int parse(const char *element, int number, char **argv, int num)
{
    char *copy = xl_format("%s", element), *pdev, *vdev, *option, *save;
    int first = num;

    pdev = strtok_r(copy, ",", &save);
    vdev = strtok_r(NULL, ",", &save);
    if (!vdev)
        goto wrong;
    while ((option = strtok_r(NULL, ",", &save))) {
        if (num - first == MAX_OPTIONS)
            goto wrong;
        if (!strcmp(option, "read-only") || !strcmp(option, "shared") ||
            !strncmp(option, "backend=", strlen("backend=")))
            argv[num++] = xl_format("--%s", option);
        else if (strcmp(option, "0") && strcmp(option, "Domain-0"))
            goto wrong;                 /* xm: the backend's domain */
    }
    argv[num++] = xl_format("--");
    argv[num++] = NULL;                 /* the guest, when it has been made */
    argv[num++] = xl_format("%s", pdev);
    argv[num++] = xl_format("%s", vdev);
    free(copy);
    return num;

 wrong:
    xl_message("vscsi: element %d: \"%s\": must be PDEV,VDEV and then any of "
               "read-only, shared, backend=KIND; the backend must be in "
               "Domain-0", number, element);
    free(copy);
    return -1;
}

static int attach(struct guard_start *s, const char *who)
{
    char *argv[MAX_OPTIONS + 8];
    XLU_ConfigList *list;
    int i, j, n, num, status = 0;

    if (xlu_cfg_get_list(s->config.cfg, "vscsi", &list, &num, 1))
        return 0;
    for (i = 0; !status && i < num; i++) {
        argv[0] = xl_format("xl-scsi-attach");
        argv[1] = xl_format("--no-wait");
        n = parse(xlu_cfg_get_listitem(list, i), i + 1, argv, 2);
        argv[n] = NULL;
        argv[n - 3] = xl_format("%s", who);
        status = guard_run("xl-scsi-attach", argv);
        for (j = 0; j < n; j++)
            free(argv[j]);
    }
    return status;
}

/* ---- what is set aside -------------------------------------------------- */

static bool is_aside(const xlx_vscsi_info *dev)
{
    return dev->status == XLX_VSCSI_STATUS_ASIDE;
}

/* The first device for which wanted() holds; NULL when there is none. */
static const xlx_vscsi_info *
first_dev(const xlx_device_vscsictrls *list,
          bool (*wanted)(const xlx_vscsi_info *dev))
{
    int i, j;

    for (i = 0; i < list->num_ctrls; i++)
        for (j = 0; j < list->ctrls[i].num_devs; j++)
            if (wanted(&list->ctrls[i].devs[j]))
                return &list->ctrls[i].devs[j];
    return NULL;
}

static int bring_back(struct guard_start *s, const char *who)
{
    (void)s;
    return guard_run_for("xl-scsi-repair", who);
}

/* A guest that was suspended does not look for what came meanwhile: it is told
 * now that it runs. */
static int tell(struct guard_start *s, int status)
{
    return status ? status : bring_back(s, s->config.name);
}

/* A guest that was saved with --detach. */
static int check_restore(struct guard_start *s)
{
    xlx_device_vscsictrls list;
    xlx_guest guest;
    int status = 0;

    if (!s->config.name)
        return 0;
    xlx_guest_init(&guest);
    xlx_device_vscsictrls_init(&list);
    /* a guest that is not known has nothing set aside */
    if (!guard_find(s, &guest) &&
        !xlx_device_vscsictrl_list(s->ctx, &guest, &list) &&
        first_dev(&list, is_aside)) {
        guard_afterwards(s, tell);
        status = guard_while_paused(s, "SCSI devices that are set aside",
                                    bring_back);
    }
    xlx_device_vscsictrls_dispose(&list);
    xlx_guest_dispose(&guest);
    return status;
}

static int forget(xlx_ctx *ctx, const xlx_guest *guest)
{
    xlx_device_vscsictrls list;
    int i, j, rc;

    xlx_device_vscsictrls_init(&list);
    rc = xlx_device_vscsictrl_list(ctx, guest, &list);
    for (i = 0; !rc && i < list.num_ctrls; i++)
        for (j = 0; !rc && j < list.ctrls[i].num_devs; j++)
            rc = xlx_device_vscsidev_remove(
                ctx, guest, list.ctrls[i].devs[j].dev.vdev, NULL);
    xlx_device_vscsictrls_dispose(&list);
    return rc;
}

int guard_scsi(struct guard_start *s)
{
    char *argv[MAX_OPTIONS + 8];
    const char *element;
    XLU_ConfigList *list;
    int i, n, num, r;

    if (s->save_file)
        return check_restore(s);
    if (!s->config.cfg || !s->config.name)
        return 0;
    r = xlu_cfg_get_list(s->config.cfg, "vscsi", &list, &num, 1);
    if (r == ESRCH)
        return 0;
    if (r) {
        xl_message("vscsi: must be a list, [\"PDEV,VDEV\", ...]");
        return 1;
    }
    for (i = 0; i < num; i++) {
        element = xlu_cfg_get_listitem(list, i);
        n = parse(element ? element : "", i + 1, argv, 0);
        if (n < 0)
            return 1;
        while (n--)
            free(argv[n]);
    }
    if (!num)
        return 0;
    r = guard_while_paused(s, "vscsi", attach);
    return r || s->only_shows ? r : guard_forget_former(s, forget);
}

/* ---- leaving ------------------------------------------------------------ */

/* What save and migrate have set aside, for afterwards: one process leaves
 * with one guest. */
static struct {
    xlx_guest guest;
    xlx_device_vscsictrls list;
} left;

static bool is_attached(const xlx_vscsi_info *dev)
{
    return !is_aside(dev);
}

/* Says which devices keep it here. */
static int refuse(void)
{
    char *names = NULL;
    int i, j;

    for (i = 0; i < left.list.num_ctrls; i++)
        for (j = 0; j < left.list.ctrls[i].num_devs; j++) {
            if (names)
                names = guard_append(names, ", ");
            names = guard_append(names,
                                 left.list.ctrls[i].devs[j].dev.vdev);
        }
    xl_message("\"%s\" has SCSI devices, which cannot go with it: %s; with "
               "--detach they are detached, and attached again afterwards",
               left.guest.name, names);
    free(names);
    return 1;
}

/* What another host would call it; NULL when only this one knows it. */
static const char *name_elsewhere(const xlx_vscsi_info *dev)
{
    if (!strncmp(dev->identity, "wwid ", strlen("wwid ")))
        return dev->identity + strlen("wwid ");
    if (!strncmp(dev->identity, "target ", strlen("target ")))
        return dev->target;
    if (!strncmp(dev->identity, "file ", strlen("file ")))
        return dev->path;
    return NULL;
}

static bool is_local(const xlx_vscsi_info *dev)
{
    return !name_elsewhere(dev);
}

/* Gives it one device on the other host; then it is that host's to remember. */
static int send_after(struct guard_start *s, const xlx_vscsi_info *dev)
{
    char *line;
    int status;

    line = xl_format("xl scsi-attach --backend=%s%s%s --",
                     xlx_vscsi_backstore_to_string(
                         dev->dev.backstore == XLX_VSCSI_BACKSTORE_TARGET
                         ? XLX_VSCSI_BACKSTORE_AUTO : dev->dev.backstore),
                     dev->dev.readonly ? " --read-only" : "",
                     dev->dev.shared ? " --shared" : "");
    line = guard_append_word(line, left.guest.name);
    line = guard_append_word(line, name_elsewhere(dev));
    line = guard_append_word(line, dev->dev.vdev);
    status = guard_run_there(s, line);
    if (status)
        xl_message("\"%s\" runs on %s without its SCSI device %s: there, %s",
                   left.guest.name, s->target, dev->dev.vdev, line);
    else if (xlx_device_vscsidev_remove(s->ctx, &left.guest, dev->dev.vdev,
                                        NULL))
        xl_message("%s", xlx_get_error());
    free(line);
    return status;
}

static int send_all(struct guard_start *s)
{
    int i, j, r, status = 0;

    left.guest.domid = XLX_DOMID_NONE;
    for (i = 0; i < left.list.num_ctrls; i++)
        for (j = 0; j < left.list.ctrls[i].num_devs; j++) {
            r = send_after(s, &left.list.ctrls[i].devs[j]);
            status = status ? status : r;
        }
    return status;
}

/* Where it runs now it has them again; a saved one has them when it is
 * restored. */
static int after_leaving(struct guard_start *s, int status)
{
    char uuid[LIBXL_UUID_FMTLEN + 1];
    int r = 0;

    guard_format_uuid(&left.guest.uuid, uuid);
    if (guard_runs_here(s, &left.guest.uuid))
        r = bring_back(s, uuid);
    else if (!status && s->target)
        r = send_all(s);
    xlx_ctx_free(s->ctx);
    s->ctx = NULL;
    xlx_device_vscsictrls_dispose(&left.list);
    xlx_guest_dispose(&left.guest);
    return status ? status : r;
}

static int set_aside(struct guard_start *s)
{
    const xlx_vscsi_info *local = first_dev(&left.list, is_local);
    char uuid[LIBXL_UUID_FMTLEN + 1];

    if (!first_dev(&left.list, is_attached) &&
        !first_dev(&left.list, is_aside))
        return 0;
    if (guard_check_shell(s))
        return 1;
    if (s->target && local) {
        xl_message("the SCSI device %s (%s) has no name that another host "
                   "would know it by: xl scsi-detach it", local->dev.vdev,
                   local->identity);
        return 1;
    }
    if (xlx_vscsi_set_aside(s->ctx, &left.guest, NULL)) {
        xl_message("%s", xlx_get_error());
        guard_format_uuid(&left.guest.uuid, uuid);
        bring_back(s, uuid);
        return 1;
    }
    guard_afterwards(s, after_leaving);
    return 0;
}

int guard_scsi_leave(struct guard_start *s)
{
    int status = 0;

    xlx_guest_init(&left.guest);
    xlx_device_vscsictrls_init(&left.list);
    /* who cannot be found stock xl will not find either */
    if (xlx_guest_find(s->ctx, s->leaving, NULL, &left.guest))
        return 0;
    if (xlx_device_vscsictrl_list(s->ctx, &left.guest, &left.list)) {
        xl_message("%s", xlx_get_error());
        xl_message("so nobody knows whether it has SCSI devices, which"
                   " cannot go with it; \"%s\" does not ask", s->stock);
        status = 1;
    } else if (s->detach) {
        status = set_aside(s);
    } else if (first_dev(&left.list, is_attached)) {
        status = refuse();
    }
    if (!s->num_afterwards) {
        xlx_device_vscsictrls_dispose(&left.list);
        xlx_guest_dispose(&left.guest);
    }
    return status;
}

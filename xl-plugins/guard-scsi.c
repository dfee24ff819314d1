/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vscsi=["PDEV,VDEV[,OPTION]...", ...] in a guest's config, as xm had it: the
 * guest is made paused, xl scsi-attach is run for each element, and then it
 * runs.  Its driver finds the devices when it starts.
 *
 * A guest with such devices is neither saved nor migrated: libxl leaves them
 * behind, and the guest's driver does not survive that.
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
            !strncmp(option, "backstore=", strlen("backstore=")))
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
               "read-only, shared, backstore=KIND; the backend must be in "
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

int guard_scsi(struct guard_start *s)
{
    char *argv[MAX_OPTIONS + 8];
    const char *element;
    XLU_ConfigList *list;
    int i, n, num, r;

    if (!s->config.cfg || s->save_file || !s->config.name)
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
    if (num && !s->config.name[strspn(s->config.name, "0123456789")]) {
        xl_message("vscsi: the name \"%s\" would be taken for a domid: give"
                   " the guest another one", s->config.name);
        return 1;
    }
    if (num && !s->only_shows && s->stays) {
        xl_message("vscsi: not with -F or -c, for the devices are attached "
                   "between the guest's making and its running; use xl "
                   "console afterwards");
        return 1;
    }
    if (num && !s->only_shows)
        s->while_paused = attach;
    return 0;
}

/* Says which devices keep it here. */
static int refuse(const xlx_guest *guest, const xlx_device_vscsictrls *list)
{
    char *names = NULL;
    int i, j;

    for (i = 0; i < list->num_ctrls; i++)
        for (j = 0; j < list->ctrls[i].num_devs; j++) {
            if (names)
                names = guard_append(names, ", ");
            names = guard_append(names, list->ctrls[i].devs[j].dev.vdev);
        }
    if (!names)
        return 0;
    xl_message("\"%s\" has SCSI devices, which cannot go with it: xl "
               "scsi-detach %s", guest->name, names);
    free(names);
    return 1;
}

int guard_scsi_leave(struct guard_start *s)
{
    xlx_device_vscsictrls list;
    xlx_guest guest;
    int status = 0;

    xlx_guest_init(&guest);
    xlx_device_vscsictrls_init(&list);
    /* who cannot be found stock xl will not find either */
    if (!xlx_guest_find(s->ctx, s->leaving, NULL, &guest)) {
        if (!xlx_device_vscsictrl_list(s->ctx, &guest, &list)) {
            status = refuse(&guest, &list);
        } else {
            xl_message("%s", xlx_get_error());
            xl_message("so nobody knows whether it has SCSI devices, which"
                       " cannot go with it; \"%s\" does not ask", s->stock);
            status = 1;
        }
    }
    xlx_device_vscsictrls_dispose(&list);
    xlx_guest_dispose(&guest);
    return status;
}

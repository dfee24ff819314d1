/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * May it be done, given who uses the image?  See image-use.h.  This file knows
 * which option overrides which user, and the words of a refusal.
 */
#include <string.h>

#include "disk/image-use.h"
#include "disk/image.h"

static bool is_planned(const struct xlx__image_user *u,
                       const struct xlx__image_allow *allow)
{
    int i;

    for (i = 0; u->path && i < allow->num_overlays; i++)
        if (xlx__image_same(u->path, allow->overlays[i]))
            return true;
    return false;
}

/* The option that overrides it, NULL when there is nothing to override. */
static const char *option_for(const struct xlx__image_user *u,
                              const struct xlx__image_allow *allow)
{
    switch (u->kind) {
    case XLX__USER_LAYER:
    case XLX__USER_QEMU:
    case XLX__USER_DISK:
        if (is_planned(u, allow) || (u->own && u->vdev && allow->own_disk) ||
            (u->idle && allow->idle && !u->writes))
            return NULL;
        /* fall through */
    case XLX__USER_PROCESS:
    case XLX__USER_LOCK:
        return allow->force_open || (allow->readers && !u->writes)
            ? NULL : "open";
    case XLX__USER_OVERLAY:
        return allow->force_based || allow->readers || is_planned(u, allow)
            ? NULL : "based";
    case XLX__USER_CLAIM:
        return u->own || allow->force_based ||
               u->claim->role == XLX__ROLE_MOVED ||
               (allow->readers && !u->writes) ? NULL : "based";
    default:
        return allow->force_unknown ? NULL : "unknown";
    }
}

static int refuse(const struct xlx__image_use *use, const char *vdev,
                  const struct xlx__image_user *u, const char *option)
{
    const char *advice = "end that first";
    int rc = ERROR_NOT_READY;

    if (!strcmp(option, "based")) {
        rc = ERROR_INVAL;
        advice = "remove or copy that first (qemu-img convert)";
    } else if (!strcmp(option, "unknown")) {
        return xlx__error(ERROR_FAIL, "%s: %s: it is not known who uses it: "
                          "%s; use --force-unknown if nobody does", vdev,
                          use->image, u->what);
    }
    return xlx__error(rc, "%s: %s: %s: %s, or use --force-%s if that does not "
                      "matter", vdev, use->image, u->what, advice, option);
}

int xlx__image_permit(const struct xlx__image_use *use, const char *vdev,
                      const struct xlx__image_allow *allow)
{
    const char *option;
    int i;

    for (i = 0; i < use->num; i++) {
        option = option_for(&use->users[i], allow);
        if (option)
            return refuse(use, vdev, &use->users[i], option);
    }
    return 0;
}

int xlx__image_ask(struct xlx__image_world *world, const char *vdev,
                   const char *path, const struct xlx__image_allow *allow)
{
    struct xlx__image_use use;
    int rc;

    rc = xlx__image_use(world, path, &use);
    if (rc) goto out;
    rc = xlx__image_permit(&use, vdev, allow);

 out:
    xlx__image_use_dispose(&use);
    return rc;
}

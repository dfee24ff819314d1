/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which guest has a device: its record says so, whether it runs or not.
 */
#include "gen-calls.h"
#include "guest/guest.h"
#include "hostdev/hostdev.h"

int xlx__hostdev_search(xlx_ctx *ctx, const libxl_uuid *except,
                        int (*search)(xlx_ctx *ctx, const xlx_guest *guest,
                                      void *user),
                        void *user)
{
    xlx_guests known;
    int i, rc;

    xlx_guests_init(&known);
    rc = xlx__guest_list(ctx, &known);
    if (rc) goto out;
    rc = ERROR_NOTFOUND;
    for (i = 0; rc == ERROR_NOTFOUND && i < known.num_guests; i++)
        if (!except || libxl_uuid_compare(&known.guests[i].uuid, except))
            rc = search(ctx, &known.guests[i], user);

 out:
    xlx_guests_dispose(&known);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which start of the host a record is of, and whether a domain that it names
 * is still the guest's.  Numbers of domains begin at 1 again when the host is
 * started, and are used again when they run out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernfs.h"
#include "core/xs.h"
#include "hostdev/hostdev.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

int xlx__hostdev_boot(char **boot_r)
{
    const char *given = secure_getenv("LIBXLX_BOOT_ID");
    char *boot = NULL;
    int rc;

    if (given)
        return xlx__set_string(boot_r, given);
    rc = xlx__attr_read(&boot, BOOT_ID);
    if (rc || !*boot)
        rc = xlx__error(rc && rc != ERROR_NOTFOUND ? rc : ERROR_FAIL,
                        BOOT_ID ": the kernel does not say which start of "
                        "the host this is, so that nothing recorded can be "
                        "told from what was before");
    if (!rc)
        rc = xlx__set_string(boot_r, boot);
    free(boot);
    return rc;
}

bool xlx__hostdev_is_earlier(const char *recorded, const char *boot)
{
    return strcmp(xlx__text(recorded), boot);
}

/* libxl writes "/vm/UUID". */
static bool names_uuid(const char *vm, const libxl_uuid *uuid)
{
    static const char prefix[] = "/vm/";
    libxl_uuid found;

    return !strncmp(vm, prefix, strlen(prefix)) &&
           !libxl_uuid_from_string(&found, vm + strlen(prefix)) &&
           !libxl_uuid_compare(&found, uuid);
}

/* Is there such a domain? */
static int exists(xlx_ctx *ctx, uint32_t domid, bool *exists_r)
{
    char path[64], *value = NULL;
    int rc;

    snprintf(path, sizeof(path), "/local/domain/%u", domid);
    rc = xlx__xs_read(ctx, XBT_NULL, path, &value);
    free(value);
    *exists_r = !rc;
    return xlx__forgive(rc, ERROR_NOTFOUND);
}

int xlx__hostdev_check_domain(xlx_ctx *ctx, const libxl_uuid *uuid,
                              uint32_t *domid)
{
    char path[64], *vm = NULL;
    bool other = false;
    int rc;

    if (*domid == XLX_DOMID_NONE)
        return 0;
    snprintf(path, sizeof(path), "/local/domain/%u/vm", *domid);
    rc = xlx__xs_read(ctx, XBT_NULL, path, &vm);
    if (!rc)
        other = !names_uuid(vm, uuid);
    free(vm);
    /* a domain that does not say whose it is is not known to be the guest's */
    if (rc == ERROR_NOTFOUND) {
        xlx__error_clear();
        rc = exists(ctx, *domid, &other);
    }
    if (!rc && other)
        *domid = XLX_DOMID_NONE;
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Addresses: H:C:T:L, and the ways in which a user can name a device.  The
 * kernel's own parsers take trailing junk, cut what is too long, and take an
 * empty name for somebody else's target, so this is the strict side.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/number.h"
#include "scsi/scsi.h"

/* The limits of Linux' frontend (drivers/scsi/xen-scsifront.c: max_id,
 * max_lun, one channel), and of target/lun_N in the kernel. */
#define MAX_TARGET 63
#define MAX_LUN 254
#define MAX_HOST 65535
/* The backend compares at most this much of what is before the last colon of
 * p-dev (drivers/xen/xen-scsiback.c: VSCSI_NAMELEN). */
#define MAX_NAME 31
#define MAX_PDEV 4096

bool xlx__scsi_parse_hctl(const char *text, struct xlx__scsi_hctl *hctl_r)
{
    uint64_t part[4];
    int i;

    for (i = 0; i < 4; i++) {
        if (i && *text++ != ':')
            return false;
        if (!xlx__take_u64(&text, i < 3 ? UINT32_MAX : UINT64_MAX, &part[i]))
            return false;
    }
    if (*text)
        return false;
    hctl_r->host = (uint32_t)part[0];
    hctl_r->channel = (uint32_t)part[1];
    hctl_r->target = (uint32_t)part[2];
    hctl_r->lun = part[3];
    return true;
}

const char *xlx__scsi_format_hctl(const struct xlx__scsi_hctl *hctl,
                                  char buf[XLX__SCSI_HCTL_MAX])
{
    snprintf(buf, XLX__SCSI_HCTL_MAX, "%u:%u:%u:%" PRIu64, hctl->host,
             hctl->channel, hctl->target, hctl->lun);
    return buf;
}

int xlx__scsi_parse_vdev(const char *text, struct xlx__scsi_hctl *vdev_r)
{
    struct xlx__scsi_hctl v;

    if (!xlx__scsi_parse_hctl(text, &v))
        return xlx__error(ERROR_INVAL, "vdev \"%.64s\": must be four numbers "
                          "H:C:T:L, such as 0:0:0:0", text);
    if (v.channel)
        return xlx__error(ERROR_INVAL, "vdev %s: the guest's adapter has "
                          "channel 0 only", text);
    if (v.host > MAX_HOST)
        return xlx__error(ERROR_INVAL, "vdev %s: the number of the adapter "
                          "must be at most %d", text, MAX_HOST);
    if (v.target > MAX_TARGET)
        return xlx__error(ERROR_INVAL, "vdev %s: the guest's adapter has "
                          "targets up to %d", text, MAX_TARGET);
    if (v.lun > MAX_LUN)
        return xlx__error(ERROR_INVAL, "vdev %s: the guest's adapter has "
                          "LUNs up to %d", text, MAX_LUN);
    *vdev_r = v;
    return 0;
}

int xlx__scsi_normal_vdev(const char *text, struct xlx__scsi_hctl *vdev_r,
                          char buf[XLX__SCSI_HCTL_MAX])
{
    int rc;

    rc = xlx__scsi_parse_vdev(text, vdev_r);
    if (rc) return rc;
    xlx__scsi_format_hctl(vdev_r, buf);
    return 0;
}

bool xlx__scsi_parse_adapter(const char *text, uint32_t *number_r)
{
    uint64_t value;

    if (!xlx__parse_u64(text, MAX_HOST, &value))
        return false;
    *number_r = (uint32_t)value;
    return true;
}

/* ---- what a device is called -------------------------------------------- */

static bool only(const char *text, const char *characters)
{
    return !text[strspn(text, characters)];
}

/* naa.X:L with X of hexadecimal digits. */
static int parse_target(const char *pdev, struct xlx__scsi_hctl *hctl_r)
{
    const char *colon = strrchr(pdev, ':'), *number = colon + 1;
    size_t digits = strspn(pdev + 4, "0123456789abcdefABCDEF");

    if (!digits || pdev + 4 + digits != colon)
        return xlx__error(ERROR_INVAL, "pdev \"%.64s\": naa. and : must "
                          "have hexadecimal digits between them", pdev);
    if (colon - pdev > MAX_NAME)
        return xlx__error(ERROR_INVAL, "pdev \"%.64s\": the backend knows "
                          "only %d characters before the colon", pdev,
                          MAX_NAME);
    if (!xlx__parse_u64(number, MAX_LUN, &hctl_r->lun))
        return xlx__error(ERROR_INVAL, "pdev \"%.64s\": the LUN must be a "
                          "number up to %d", pdev, MAX_LUN);
    return 0;
}

int xlx__scsi_spelling(const char *pdev, enum xlx__scsi_spelling *spelling_r,
                       struct xlx__scsi_hctl *hctl_r)
{
    const char *p;
    int rc;

    if (!*pdev)
        return xlx__error(ERROR_INVAL, "pdev: it is empty");
    if (strnlen(pdev, MAX_PDEV) == MAX_PDEV)
        return xlx__error(ERROR_INVAL, "pdev: longer than %d bytes",
                          MAX_PDEV);
    for (p = pdev; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return xlx__error(ERROR_INVAL, "pdev: a control character is in "
                              "it, at byte %d", (int)(p - pdev));

    if (*pdev == '/') {
        *spelling_r = XLX__SCSI_BY_PATH;
    } else if (!strncmp(pdev, "naa.", 4) && strchr(pdev, ':')) {
        rc = parse_target(pdev, hctl_r);
        if (rc) return rc;
        *spelling_r = XLX__SCSI_TARGET;
    } else if (strchr(pdev, ':') && only(pdev, "0123456789abcdefx:-+ ")) {
        if (!xlx__scsi_parse_hctl(pdev, hctl_r))
            return xlx__error(ERROR_INVAL, "pdev \"%.64s\": must be four "
                              "numbers H:C:T:L, such as 2:0:0:0", pdev);
        *spelling_r = XLX__SCSI_BY_HCTL;
    } else if (strchr(pdev, '/')) {
        return xlx__error(ERROR_INVAL, "pdev \"%.64s\": a path must begin "
                          "with /", pdev);
    } else {
        *spelling_r = XLX__SCSI_BY_ID;
    }
    return 0;
}

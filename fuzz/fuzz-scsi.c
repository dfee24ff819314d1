/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes the addresses of SCSI devices: what is taken for H:C:T:L is the same
 * when it is written and read again; what the backend would cut, or take for
 * another's target, is never taken.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "scsi/scsi.h"

static void check_hctl(const char *text)
{
    struct xlx__scsi_hctl hctl, again;
    char buf[XLX__SCSI_HCTL_MAX];

    if (!xlx__scsi_parse_hctl(text, &hctl))
        return;
    if (!xlx__scsi_parse_hctl(xlx__scsi_format_hctl(&hctl, buf), &again) ||
        again.host != hctl.host || again.channel != hctl.channel ||
        again.target != hctl.target || again.lun != hctl.lun)
        abort();
}

static void check_vdev(const char *text)
{
    struct xlx__scsi_hctl vdev;

    if (xlx__scsi_parse_vdev(text, &vdev))
        check_message();
    else if (vdev.channel || vdev.target > 63 || vdev.lun > 254)
        abort();
}

static void check_pdev(const char *text)
{
    enum xlx__scsi_spelling spelling;
    struct xlx__scsi_hctl hctl;
    const char *colon;

    if (xlx__scsi_spelling(text, &spelling, &hctl)) {
        check_message();
        return;
    }
    colon = strrchr(text, ':');
    if (spelling == XLX__SCSI_TARGET &&
        (!colon || colon - text > 31 || colon - text < 5 || hctl.lun > 254))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    check_hctl(text);
    check_vdev(text);
    check_pdev(text);
    free(text);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The user's text of a snapshot, the one thing about it that can be changed.
 */
#include <string.h>

#include "gen-calls.h"
#include "snapshot/snapshot.h"

#define MAX_DESCRIPTION 4096

int xlx__snapshot_set_description(xlx_snapshot *snapshot, const char *text)
{
    size_t len = strlen(xlx__text(text));

    if (len > MAX_DESCRIPTION)
        return xlx__error(ERROR_INVAL, "description: over %d bytes",
                          MAX_DESCRIPTION);
    if (xlx__utf8_valid(xlx__text(text), len) != len)
        return xlx__error(ERROR_INVAL, "description: not valid UTF-8");
    return xlx__set_string(&snapshot->description, xlx__text(text));
}

static int describe(struct xlx__snapshot_change *c, const char *name,
                    const char *description)
{
    xlx_snapshot *s;
    int rc;

    rc = xlx__snapshot_find(&c->record, name, &s);
    if (rc) return rc;
    rc = xlx__snapshot_set_description(s, description);
    if (rc) return rc;
    return xlx__snapshot_record_write(c->ctx, c->guest, &c->record);
}

int xlx__snapshot_describe(xlx_ctx *ctx, const xlx_guest *guest,
                           const char *name, const char *description)
{
    struct xlx__snapshot_change c;
    int rc;

    rc = xlx__snapshot_begin(ctx, guest, false, &c);
    if (!rc)
        rc = describe(&c, name, description);
    xlx__snapshot_end(&c);
    return rc;
}

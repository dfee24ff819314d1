/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The work of the calls of tests/idl/good: they give back their arguments, so
 * that calls.c and shapes.py see each kind of argument on both sides.
 */
#include <stdlib.h>
#include <string.h>

#include "core/internal.h"
#include "gen-calls.h"

static int fill(xlx_ctx *ctx, xlx_shape *shape, const char *name,
                const char *hint, xlx_shape_kind kind, const libxl_uuid *uuid,
                uint32_t domid, const xlx_point *near)
{
    int rc;

    rc = xlx__set_string(&shape->name, name);
    if (rc) return rc;
    shape->kind = kind;
    shape->uuid = *uuid;
    shape->domid = domid;
    if (hint) {
        shape->words = calloc(2, sizeof(*shape->words));
        if (!shape->words)
            return xlx__nomem();
        shape->num_words = 2;           /* the second stays NULL */
        rc = xlx__set_string(&shape->words[0], hint);
        if (rc) return rc;
    }
    return near ? xlx_point_copy(ctx, &shape->centre, near) : 0;
}

int xlx__shape_find(xlx_ctx *ctx, const char *name, const char *hint,
                    xlx_shape_kind kind, const libxl_uuid *uuid,
                    uint32_t domid, const xlx_point *near,
                    const xlx_watch *watch, xlx_shape *shape_r,
                    xlx_point *where_r, uint32_t *steps_r)
{
    int rc;

    rc = fill(ctx, shape_r, name, hint, kind, uuid, domid, near);
    if (rc) return rc;
    where_r->y = 4;
    *steps_r = 3;
    /* after the results were filled in: the wrapper has to empty them */
    if (!strcmp(name, "nothing"))
        return xlx__error(ERROR_NOTFOUND, "name: \"%s\": no such shape",
                          name);
    if (watch && watch->callback(watch->user, shape_r, where_r))
        return xlx__error(ERROR_ABORTED, "cancelled by the callback");
    return 0;
}

int xlx__shape_check(xlx_ctx *ctx, const xlx_shape_spec *spec,
                     const char *place, const xlx_point *hint,
                     xlx_shape *shape_r)
{
    (void)ctx;
    shape_r->flag = spec->fill;
    shape_r->number = hint ? 1 : 0;
    return xlx__set_string(&shape_r->name, place);
}

int xlx__point_check(xlx_ctx *ctx, const xlx_point *point)
{
    (void)ctx;
    if (point->x == point->y)
        return ERROR_INVAL;             /* the wrapper finds a message */
    return 0;
}

unsigned int xlx_shape_count(const char *const *names)
{
    unsigned int n = 0;

    while (names[n])
        n++;
    return n;
}

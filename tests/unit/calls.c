/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Generated calls around the function that does the work (shapes.c): arguments
 * checked, results empty after every failure, callbacks passed on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/internal.h"

/* of ctx.idl, which tests/idl/good does without */
int xlx_ctx_alloc(xlx_ctx **ctx_r, libxl_ctx *libxl,
                  xentoollog_logger *logger);
void xlx_ctx_free(xlx_ctx *ctx);

struct given {
    xlx_ctx *ctx;
    libxl_uuid uuid;
    xlx_point near;
    xlx_watch watch;
    xlx_shape shape;
    xlx_point where;
    uint32_t steps;
    int seen, answer;
};

static int see(void *user, const xlx_shape *shape, const xlx_point *point)
{
    struct given *g = user;

    assert_string_equal(shape->name, "round");
    assert_int_equal(point->y, 4);
    g->seen++;
    return g->answer;
}

static int setup(void **state)
{
    struct given *g = calloc(1, sizeof(*g));

    assert_non_null(g);
    assert_int_equal(xlx_ctx_alloc(&g->ctx, NULL, NULL), 0);
    memset(&g->uuid, 0x5a, sizeof(g->uuid));
    xlx_point_init(&g->near);
    g->near.y = 9;
    g->watch = (xlx_watch){ see, g };
    /* results need no initialisation */
    memset(&g->shape, 0xa5, sizeof(g->shape));
    memset(&g->where, 0xa5, sizeof(g->where));
    g->steps = 0xa5a5a5a5;
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct given *g = *state;

    xlx_shape_dispose(&g->shape);
    xlx_ctx_free(g->ctx);
    free(g);
    return 0;
}

static void assert_empty(const xlx_shape *shape)
{
    xlx_shape fresh;
    char *expected, *found;

    xlx_shape_init(&fresh);
    expected = xlx_shape_to_json(NULL, &fresh);
    found = xlx_shape_to_json(NULL, shape);
    assert_non_null(expected);
    assert_string_equal(found, expected);
    free(expected);
    free(found);
}

static void passes_all_on(void **state)
{
    struct given *g = *state;
    int rc;

    rc = xlx_shape_find(g->ctx, "round", "left", XLX_SHAPE_KIND_CORNERED,
                        &g->uuid, 5, &g->near, &g->watch, &g->shape,
                        &g->where, &g->steps);
    assert_int_equal(rc, 0);
    assert_string_equal(xlx_error_get(), "");
    assert_int_equal(g->seen, 1);
    assert_string_equal(g->shape.name, "round");
    assert_string_equal(g->shape.words[0], "left");
    assert_int_equal(g->shape.kind, XLX_SHAPE_KIND_CORNERED);
    assert_memory_equal(&g->shape.uuid, &g->uuid, sizeof(g->uuid));
    assert_int_equal(g->shape.domid, 5);
    assert_int_equal(g->shape.centre.x, -1);
    assert_int_equal(g->shape.centre.y, 9);
    assert_int_equal(g->steps, 3);
}

static void takes_null_for_what_is_optional(void **state)
{
    struct given *g = *state;
    int rc;

    rc = xlx_shape_find(g->ctx, "round", NULL, XLX_SHAPE_KIND_ROUND, &g->uuid,
                        XLX_DOMID_NONE, NULL, NULL, &g->shape, &g->where,
                        &g->steps);
    assert_int_equal(rc, 0);
    assert_int_equal(g->shape.num_words, 0);
    assert_null(g->shape.words);
}

static void empties_results_after_failure(void **state)
{
    struct given *g = *state;
    int rc;

    rc = xlx_shape_find(g->ctx, "nothing", "left", XLX_SHAPE_KIND_ROUND,
                        &g->uuid, 5, NULL, NULL, &g->shape, &g->where,
                        &g->steps);
    assert_int_equal(rc, ERROR_NOTFOUND);
    assert_string_equal(xlx_error_get(), "name: \"nothing\": no such shape");
    assert_empty(&g->shape);
    assert_int_equal(g->where.y, 0);
}

static void passes_the_callbacks_answer_on(void **state)
{
    struct given *g = *state;
    int rc;

    g->answer = -7;
    rc = xlx_shape_find(g->ctx, "round", NULL, XLX_SHAPE_KIND_ROUND, &g->uuid,
                        5, NULL, &g->watch, &g->shape, &g->where, &g->steps);
    assert_int_equal(rc, ERROR_ABORTED);
    assert_int_equal(g->seen, 1);
    assert_empty(&g->shape);
}

/* Each argument wrong by itself; the message begins with its name. */
static void refuses_wrong_arguments(void **state)
{
    static const char *const messages[] = {
        "ctx: must not be NULL",
        "name: must not be NULL",
        "kind: 77 is not an xlx_shape_kind",
        "uuid: must not be NULL",
        "watch->callback: must not be NULL",
        "shape_r: must not be NULL",
        "where_r: must not be NULL",
        "steps_r: must not be NULL",
    };
    struct given *g = *state;
    xlx_watch none = { NULL, NULL };
    unsigned int i;
    int rc;

    for (i = 0; i < XLX__ARRAY_SIZE(messages); i++) {
        memset(&g->shape, 0xa5, sizeof(g->shape));
        rc = xlx_shape_find(i == 0 ? NULL : g->ctx, i == 1 ? NULL : "round",
                            NULL, i == 2 ? 77 : XLX_SHAPE_KIND_ROUND,
                            i == 3 ? NULL : &g->uuid, 5, NULL,
                            i == 4 ? &none : NULL,
                            i == 5 ? NULL : &g->shape,
                            i == 6 ? NULL : &g->where,
                            i == 7 ? NULL : &g->steps);
        assert_int_equal(rc, ERROR_INVAL);
        assert_string_equal(xlx_error_get(), messages[i]);
        if (i != 5)
            assert_empty(&g->shape);
    }
    xlx_shape_init(&g->shape);
}

static void has_a_message_for_every_failure(void **state)
{
    struct given *g = *state;
    xlx_point same = { .x = 1, .y = 1 };

    xlx_shape_init(&g->shape);
    assert_int_equal(xlx_point_check(g->ctx, &g->near), 0);
    assert_string_equal(xlx_error_get(), "");
    assert_int_equal(xlx_point_check(g->ctx, &same), ERROR_INVAL);
    assert_string_not_equal(xlx_error_get(), "");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(passes_all_on, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_null_for_what_is_optional,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(empties_results_after_failure,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(passes_the_callbacks_answer_on,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_wrong_arguments,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(has_a_message_for_every_failure,
                                        setup, teardown),
    };

    return cmocka_run_group_tests_name("calls", tests, NULL, NULL);
}

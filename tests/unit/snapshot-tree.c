/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The record of snapshots in memory: names, finding, adding, dropping, and
 * the names of overlays.
 */
#include "unit.h"

#include "snapshot/snapshot.h"

static xlx_ctx *ctx;
static char *dir;

static void add(xlx_snapshots *record, const char *name, const char *parent)
{
    xlx_snapshot s;

    xlx_snapshot_init(&s);
    assert_ok(xlx__set_string(&s.name, name));
    assert_ok(xlx__set_string(&s.parent, parent));
    assert_ok(xlx__snapshot_append(ctx, record, &s));
    xlx_snapshot_dispose(&s);
}

static void names(void **state)
{
    char longest[202];
    (void)state;

    assert_ok(xlx__snapshot_check_name("a"));
    assert_ok(xlx__snapshot_check_name("a b.c-d, \"\xc3\xbc\""));
    memset(longest, 'x', sizeof(longest));
    longest[200] = 0;
    assert_ok(xlx__snapshot_check_name(longest));
    longest[200] = 'x';
    longest[201] = 0;
    assert_fails(xlx__snapshot_check_name(longest), ERROR_INVAL, "201 bytes");
    assert_fails(xlx__snapshot_check_name(""), ERROR_INVAL, "empty");
    assert_fails(xlx__snapshot_check_name("."), ERROR_INVAL, "begin with");
    assert_fails(xlx__snapshot_check_name("-f"), ERROR_INVAL, "begin with");
    assert_fails(xlx__snapshot_check_name("a/b"), ERROR_INVAL, "slash");
    assert_fails(xlx__snapshot_check_name("a\x7f"), ERROR_INVAL, "control");
    assert_fails(xlx__snapshot_check_name("\xc3"), ERROR_INVAL, "UTF-8");
    assert_fails(xlx__snapshot_check_name("\xc0\xaf"), ERROR_INVAL, "UTF-8");
}

static void made_names(void **state)
{
    xlx_snapshots record;
    char *name = NULL;
    int i;
    (void)state;

    xlx_snapshots_init(&record);
    for (i = 0; i < 20; i++) {          /* many in one second */
        assert_ok(xlx__snapshot_make_name(&record, "snap", &name));
        assert_ok(xlx__snapshot_check_name(name));
        assert_null(xlx__snapshot_by_name(&record, name));
        add(&record, name, NULL);
        free(name);
    }
    xlx_snapshots_dispose(&record);
}

static void tree(void **state)
{
    xlx_snapshots record;
    xlx_snapshot *found = NULL;
    (void)state;

    xlx_snapshots_init(&record);
    add(&record, "a", "");
    add(&record, "b", "a");
    add(&record, "c", "b");
    assert_ok(xlx__snapshot_find(&record, "b", &found));
    assert_ptr_equal(found, &record.snapshots[1]);
    xlx__snapshot_drop(&record, "b");
    xlx__snapshot_drop(&record, "never was");
    assert_int_equal(record.num_snapshots, 2);
    assert_string_equal(record.snapshots[1].name, "c");
    assert_fails(xlx__snapshot_find(&record, "b", &found), ERROR_NOTFOUND,
                 "has no snapshot \"b\"");
    assert_fails(xlx__snapshot_find(&record, NULL, &found), ERROR_INVAL,
                 "empty");
    xlx_snapshots_dispose(&record);
}

int main(void)
{
    const struct CMUnitTest snapshot_tree[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(made_names),
        cmocka_unit_test(tree),
    };
    int r;

    dir = unit_dir();
    ctx = unit_ctx(dir);
    r = cmocka_run_group_tests(snapshot_tree, NULL, NULL);
    xlx_ctx_free(ctx);
    unit_dir_remove(dir);
    return r;
}

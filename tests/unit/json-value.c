/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Values of a document: the way through them, exact integers, and messages
 * that say which value is wrong.
 */
#include "unit.h"

static struct xlx__json_doc *doc;

static const struct xlx__json *parse(const char *text)
{
    const struct xlx__json_limits limits = { 1 << 20, 64 };

    xlx__json_free(doc);
    doc = NULL;
    assert_ok(xlx__json_parse("T", text, strlen(text), &limits, &doc));
    return xlx__json_root(doc);
}

static int free_doc(void **state)
{
    (void)state;
    xlx__json_free(doc);
    doc = NULL;
    return 0;
}

static void walk(void **state)
{
    static const enum xlx__json_kind kinds[] = {
        XLX__JSON_NULL, XLX__JSON_BOOL, XLX__JSON_INTEGER, XLX__JSON_NUMBER,
        XLX__JSON_STRING, XLX__JSON_ARRAY, XLX__JSON_OBJECT,
    };
    const struct xlx__json *root, *v;
    unsigned int i = 0;
    const char *s;

    (void)state;
    root = parse("[null,true,1,1.0,\"s\",[[]],{\"a\":{\"b\":[1]},\"c\":2}]");
    assert_int_equal(xlx__json_kind(root), XLX__JSON_ARRAY);
    assert_int_equal(xlx__json_count(root), 7);
    assert_null(xlx__json_key(root));
    assert_null(xlx__json_next(root));
    for (v = xlx__json_first(root); v; v = xlx__json_next(v)) {
        assert_int_equal(xlx__json_kind(v), kinds[i]);
        assert_null(xlx__json_key(v));
        if (i < 5) {
            assert_int_equal(xlx__json_count(v), 0);
            assert_null(xlx__json_first(v));
            assert_null(xlx__json_member(v, "a"));
        }
        if (i == 6)
            break;
        i++;
    }
    assert_int_equal(i, 6);
    assert_int_equal(xlx__json_count(v), 2);
    assert_string_equal(xlx__json_key(xlx__json_first(v)), "a");
    assert_string_equal(xlx__json_key(xlx__json_next(xlx__json_first(v))),
                        "c");
    assert_null(xlx__json_member(v, "b"));
    assert_non_null(xlx__json_member(xlx__json_member(v, "a"), "b"));

    root = parse("{\"k\":"
                 "\"\\u00e9\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\\r\\t\"}");
    assert_ok(xlx__json_member_string(root, "k", &s));
    assert_string_equal(s, "\xc3\xa9\xf0\x9f\x98\x80\"\\/\b\f\n\r\t");
}

/* Keys that are stored once must not be mixed up with others. */
static void many_keys(void **state)
{
    char *text = malloc(1 << 20), want[16];
    const struct xlx__json *v, *m;
    size_t at = 0;
    int i, j;

    (void)state;
    assert_non_null(text);
    text[at++] = '[';
    for (i = 0; i < 20; i++) {
        text[at++] = '{';
        for (j = 0; j < 1500; j++)
            at += sprintf(text + at, "\"%d\":%d,", j, i * 10000 + j);
        at += sprintf(text + at, "\"\":0},");
    }
    strcpy(text + at, "0]");
    v = xlx__json_first(parse(text));
    for (i = 0; i < 20; i++, v = xlx__json_next(v)) {
        m = xlx__json_first(v);
        for (j = 0; j < 1500; j++, m = xlx__json_next(m)) {
            int64_t n;

            snprintf(want, sizeof(want), "%d", j);
            assert_string_equal(xlx__json_key(m), want);
            assert_ok(xlx__json_int64(m, 0, INT64_MAX, &n));
            assert_int_equal(n, i * 10000 + j);
        }
        assert_string_equal(xlx__json_key(m), "");
    }
    free(text);
}

static void integers(void **state)
{
    const struct xlx__json *v;
    int64_t i = 42;
    uint64_t u = 42;

    (void)state;
    assert_ok(xlx__json_int64(parse("-9223372036854775808"), INT64_MIN,
                              INT64_MAX, &i));
    assert_true(i == INT64_MIN);
    assert_ok(xlx__json_int64(parse("9223372036854775807"), INT64_MIN,
                              INT64_MAX, &i));
    assert_true(i == INT64_MAX);
    assert_ok(xlx__json_uint64(parse("18446744073709551615"), UINT64_MAX,
                               &u));
    assert_true(u == UINT64_MAX);
    /* Beyond what a double holds. */
    assert_ok(xlx__json_uint64(parse("9007199254740993"), UINT64_MAX, &u));
    assert_true(u == UINT64_C(9007199254740993));
    assert_ok(xlx__json_int64(parse("-0"), 0, 0, &i));
    assert_true(i == 0);
    assert_ok(xlx__json_uint64(parse("-0"), 0, &u));
    assert_true(u == 0);

    i = 42;
    u = 42;
    assert_fails(xlx__json_int64(parse("9223372036854775808"), INT64_MIN,
                                 INT64_MAX, &i), ERROR_INVAL,
                 "T: must be an integer from -9223372036854775808 to "
                 "9223372036854775807");
    assert_fails(xlx__json_int64(parse("-9223372036854775809"), INT64_MIN,
                                 INT64_MAX, &i), ERROR_INVAL, "T: must be");
    assert_fails(xlx__json_uint64(parse("18446744073709551616"), UINT64_MAX,
                                  &u), ERROR_INVAL,
                 "T: must be an integer from 0 to 18446744073709551615");
    v = parse("[-1,1.0,1e3,\"1\",true,null,[],{}]");
    for (v = xlx__json_first(v); v; v = xlx__json_next(v)) {
        assert_fails(xlx__json_int64(v, 0, 5, &i), ERROR_INVAL,
                     "]: must be an integer from 0 to 5");
        assert_fails(xlx__json_uint64(v, 5, &u), ERROR_INVAL,
                     "]: must be an integer from 0 to 5");
    }
    assert_fails(xlx__json_int64(parse("6"), 0, 5, &i), ERROR_INVAL, "");
    assert_fails(xlx__json_uint64(parse("6"), 5, &u), ERROR_INVAL, "");
    assert_true(i == 42 && u == 42);            /* left as they were */
}

static void wrong_types(void **state)
{
    const struct xlx__json *root, *disk;
    const char *s = "before";
    int64_t i;
    bool b = true;

    (void)state;
    root = parse("{\"disks\":[{},{},{\"format\":7,\"ro\":\"no\","
                 "\"odd key.\":[0,{\"x\":null}]}]}");
    disk = xlx__json_next(xlx__json_next(xlx__json_first(
        xlx__json_member(root, "disks"))));
    assert_fails(xlx__json_member_string(disk, "format", &s), ERROR_INVAL,
                 "T: disks[2].format: must be a string");
    assert_fails(xlx__json_member_bool(disk, "ro", &b), ERROR_INVAL,
                 "T: disks[2].ro: must be true or false");
    assert_fails(xlx__json_member_int64(disk, "ro", &i), ERROR_INVAL,
                 "T: disks[2].ro: must be an integer");
    assert_fails(xlx__json_member_string(disk, "name", &s), ERROR_INVAL,
                 "T: disks[2]: \"name\" is missing");
    assert_fails(xlx__json_member_string(xlx__json_member(root, "disks"),
                                         "name", &s), ERROR_INVAL,
                 "T: disks: must be an object");
    assert_fails(xlx__json_member_string(root, "name", &s), ERROR_INVAL,
                 "T: \"name\" is missing");
    assert_fails(xlx__json_expect(root, XLX__JSON_ARRAY), ERROR_INVAL,
                 "T: must be an array");
    disk = xlx__json_next(xlx__json_first(xlx__json_member(disk,
                                                           "odd key.")));
    assert_fails(xlx__json_error(xlx__json_first(disk), ERROR_NOTFOUND,
                                 "no %s", "such thing"), ERROR_NOTFOUND,
                 "T: disks[2][\"odd key.\"][1].x: no such thing");
    assert_string_equal(s, "before");
    assert_true(b);
}

static void long_path(void **state)
{
    char text[4096], key[41];
    const struct xlx__json *v;
    size_t at = 0;
    int i;

    (void)state;
    memset(key, 'k', 40);
    key[40] = '\0';
    for (i = 0; i < 30; i++)
        at += sprintf(text + at, "{\"%s\":", key);
    at += sprintf(text + at, "[0]");
    memset(text + at, '}', 30);
    text[at + 30] = '\0';
    for (v = parse(text); xlx__json_first(v); )
        v = xlx__json_first(v);
    assert_fails(xlx__json_expect(v, XLX__JSON_STRING), ERROR_INVAL,
                 "kkk[0]: must be a string");
    assert_non_null(strstr(xlx_error_get(), "T: ..."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(walk, free_doc),
        cmocka_unit_test_teardown(many_keys, free_doc),
        cmocka_unit_test_teardown(integers, free_doc),
        cmocka_unit_test_teardown(wrong_types, free_doc),
        cmocka_unit_test_teardown(long_path, free_doc),
    };

    return cmocka_run_group_tests_name("json-value", tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON written: its exact form, that it can be read again, and errors that
 * come out at the end.
 */
#include "unit.h"

static void write_all(struct xlx__json_out *o)
{
    xlx__json_out_object(o);
    xlx__json_out_kv(o, "name", "a \"b\"\\\n\x01\x7f/\xc3\xa9");
    xlx__json_out_kv_bool(o, "yes", true);
    xlx__json_out_kv_bool(o, "no", false);
    xlx__json_out_key(o, "numbers");
    xlx__json_out_array(o);
    xlx__json_out_int64(o, INT64_MIN);
    xlx__json_out_int64(o, -1);
    xlx__json_out_uint64(o, UINT64_MAX);
    xlx__json_out_end(o);
    xlx__json_out_key(o, "empty");
    xlx__json_out_array(o);
    xlx__json_out_object(o);
    xlx__json_out_end(o);
    xlx__json_out_array(o);
    xlx__json_out_end(o);
    xlx__json_out_null(o);
    xlx__json_out_string(o, "");
    xlx__json_out_end(o);
    xlx__json_out_end(o);
}

static void compact(void **state)
{
    struct xlx__json_out *o = xlx__json_out_new(false);
    char *text;
    size_t len;

    (void)state;
    write_all(o);
    assert_ok(xlx__json_out_finish(o, &text, &len));
    assert_string_equal(text,
        "{\"name\":\"a \\\"b\\\"\\\\\\n\\u0001\\u007f/\xc3\xa9\",\"yes\":true,"
        "\"no\":false,\"numbers\":[-9223372036854775808,-1,"
        "18446744073709551615],\"empty\":[{},[],null,\"\"]}");
    assert_int_equal(len, strlen(text));
    free(text);
}

static void pretty(void **state)
{
    struct xlx__json_out *o = xlx__json_out_new(true);
    char *text;

    (void)state;
    write_all(o);
    assert_ok(xlx__json_out_finish(o, &text, NULL));
    assert_string_equal(text,
        "{\n"
        "  \"name\": \"a \\\"b\\\"\\\\\\n\\u0001\\u007f/\xc3\xa9\",\n"
        "  \"yes\": true,\n"
        "  \"no\": false,\n"
        "  \"numbers\": [\n"
        "    -9223372036854775808,\n"
        "    -1,\n"
        "    18446744073709551615\n"
        "  ],\n"
        "  \"empty\": [\n"
        "    {},\n"
        "    [],\n"
        "    null,\n"
        "    \"\"\n"
        "  ]\n"
        "}\n");
    free(text);
}

/* Every character comes back, also at the bounds of the buffer. */
static void round_trip(void **state)
{
    const struct xlx__json_limits limits = { 1 << 20, 8 };
    struct xlx__json_doc *doc;
    struct xlx__json_out *o;
    char all[2000], *text;
    const char *back;
    size_t len, from;
    int i;

    (void)state;
    for (i = 0; i < (int)sizeof(all) - 1; i++)
        all[i] = i % 127 + 1;
    all[i] = '\0';
    for (from = 0; from < 300; from++) {
        o = xlx__json_out_new(from & 1);
        xlx__json_out_object(o);
        xlx__json_out_kv(o, all + from, all + from);
        xlx__json_out_end(o);
        assert_ok(xlx__json_out_finish(o, &text, &len));
        assert_ok(xlx__json_parse("T", text, len, &limits, &doc));
        assert_ok(xlx__json_member_string(xlx__json_root(doc), all + from,
                                          &back));
        assert_string_equal(back, all + from);
        xlx__json_free(doc);
        free(text);
    }
}

static void errors_stick(void **state)
{
    struct xlx__json_out *o = xlx__json_out_new(false);
    char *text = (char *)state;
    int i;

    xlx__json_out_array(o);
    xlx__json_out_string(o, "good");
    xlx__json_out_string(o, "caf\xe9");
    xlx__json_out_string(o, "\xff later");
    xlx__error(ERROR_FAIL, "of something else");
    xlx__json_out_object(o);                    /* nothing of it counts */
    xlx__json_out_end(o);
    assert_fails(xlx__json_out_finish(o, &text, NULL), ERROR_INVAL,
                 "not UTF-8: caf\\xe9");
    assert_ptr_equal(text, state);

    o = xlx__json_out_new(false);
    xlx__json_out_object(o);
    xlx__json_out_kv(o, "bad \xff", "value");
    xlx__json_out_kv(o, "good", "value");
    xlx__json_out_end(o);
    assert_fails(xlx__json_out_finish(o, &text, NULL), ERROR_INVAL,
                 "not UTF-8: bad \\xff");

    o = xlx__json_out_new(false);
    for (i = 0; i < 1000; i++)
        xlx__json_out_array(o);
    for (i = 0; i < 1000; i++)
        xlx__json_out_end(o);
    assert_fails(xlx__json_out_finish(o, &text, NULL), ERROR_INVAL,
                 "nested too deeply");
}

static void no_memory(void **state)
{
    char *text;

    (void)state;
    write_all(NULL);
    assert_fails(xlx__json_out_finish(NULL, &text, NULL), ERROR_NOMEM,
                 "out of memory");
    xlx__json_out_free(NULL);
}

/* Nothing that a terminal obeys, or that turns text about, goes out raw; and
 * it is the same when it is read. */
static void no_controls(void **state)
{
    static const char value[] = "a\x1b\x7f\xc2\x9b\xc2\xa0\xd8\x9c"
        "\xe2\x80\x8e\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xaa"
        "\xf0\x9f\x9a\x80\xc3\x9f z";
    const struct xlx__json_limits limits = { 1000, 8 };
    struct xlx__json_out *o = xlx__json_out_new(false);
    struct xlx__json_doc *doc;
    const char *s;
    char *text;

    (void)state;
    xlx__json_out_string(o, value);
    assert_ok(xlx__json_out_finish(o, &text, NULL));
    assert_string_equal(text, "\"a\\u001b\\u007f\\u009b\xc2\xa0\\u061c"
                        "\\u200e\\u202e\\u2066\xe2\x81\xaa"
                        "\xf0\x9f\x9a\x80\xc3\x9f z\"");
    assert_ok(xlx__json_parse("T", text, strlen(text), &limits, &doc));
    assert_ok(xlx__json_string(xlx__json_root(doc), &s));
    assert_string_equal(s, value);
    xlx__json_free(doc);
    free(text);
}

static void given_up(void **state)
{
    struct xlx__json_out *o = xlx__json_out_new(false);

    (void)state;
    xlx__json_out_object(o);
    xlx__json_out_key(o, "half");
    xlx__json_out_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compact),
        cmocka_unit_test(pretty),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(errors_stick),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(no_controls),
        cmocka_unit_test(given_up),
    };

    return cmocka_run_group_tests_name("json-write", tests, NULL, NULL);
}

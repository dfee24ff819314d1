/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Texts that are JSON and texts that are not, how messages tell where, and
 * that neither hostile nor large texts cost more than they should.
 */
#include "core/json-value.h"
#include "unit.h"

static const struct xlx__json_limits limits = { 1 << 20, 32 };

static int parse(const char *text, struct xlx__json_doc **doc_r)
{
    char *exact;
    size_t len = strlen(text);
    int rc;

    /* Without a NUL, so that the sanitizer sees a read beyond the end. */
    exact = malloc(len ? len : 1);
    assert_non_null(exact);
    memcpy(exact, text, len);
    rc = xlx__json_parse("T", exact, len, &limits, doc_r);
    free(exact);
    return rc;
}

static void accepted(void **state)
{
    static const char *const texts[] = {
        "null", "true", "false", "0", "-0", "1e3", "\"\"", "[]", "{}",
        " [ ] ", "\t\r\n{\n}\n", "[[],{},[[]]]", "1234567890",
        "18446744073709551615", "-9223372036854775808",
        "123456789012345678901234567890", "1.5E+10", "0.0e-7",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u00e9\\uD83D\\ude00\"",
        "\"\x7f\"", "\"\xc3\xa9\"", "{\"\":{\"\":1}}",
        "{\"a\":{\"a\":1},\"b\":{\"a\":1}}", "\"\\\\u0000\"",
        "[\"a\\\\\"]",
    };
    struct xlx__json_doc *doc;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(texts); i++) {
        if (parse(texts[i], &doc))
            fail_msg("%s: %s", texts[i], xlx_error_get());
        xlx__json_free(doc);
    }
}

static void refused(void **state)
{
    static const struct { const char *text, *where; } cases[] = {
        { "", "T:1:1: " }, { " ", "T:1:" }, { "nul", "T:1:" },
        { "True", "T:1:1: " }, { "{", "T:1:2: " }, { "[", "T:1:2: " },
        { "[1,]", "T:1:4: " }, { "{\"a\":1,}", "T:1:" },
        { "{\"a\" 1}", "T:1:" }, { "{a:1}", "T:1:" }, { "{1:1}", "T:1:" },
        { "[1}", "T:1:" }, { "]", "T:1:" }, { "[1 2]", "T:1:" },
        { "01", "T:1:" }, { "+1", "T:1:1: " }, { "-", "T:1:" },
        { "1.", "T:1:" }, { ".5", "T:1:" }, { "1e", "T:1:" },
        { "0x1", "T:1:" }, { "NaN", "T:1:1" }, { "-Infinity", "T:1:" },
        { "'a'", "T:1:1: " }, { "\"a", "T:1:" }, { "\"\\", "T:1:" },
        { "\"\\x\"", "T:1:" }, { "\"\\u12\"", "T:1:" },
        { "\"\\u12g4\"", "T:1:" }, { "\"a\nb\"", "T:1:" },
        { "\"\x01\"", "T:1:" },
        /* what yajl could be told to accept */
        { "/* c */ 1", "T:1:" }, { "1 // c", "T:1:" }, { "1 2", "T:1:" },
        { "{}{}", "T:1:" }, { "[1] x", "T:1:" },
        /* what yajl accepts */
        { "\"\\u0000\"", "T:1:2: NUL" }, { "[\"a\",\n \"b\\u0000\"]",
          "T:2:4: NUL" },
        { "\"\\ud800\"", "T:1:2: lone surrogate" },
        { "\"\\udc00\"", "T:1:2: lone surrogate" },
        { "\"\\ud800\\u0041\"", "T:1:2: lone surrogate" },
        { "\"\\ud800\\ud800\"", "T:1:2: lone surrogate" },
        { "\"\\ud800", "T:1:2: lone surrogate" },
        { "\"\xff\"", "T:1:2: not UTF-8" },
        { "\"\xc0\x80\"", "T:1:2: not UTF-8" },
        { "\"\xed\xa0\x80\"", "T:1:2: not UTF-8" },
        { "\xef\xbb\xbf{}", "T:1:" },           /* byte order mark */
        { "{\"a\":1,\"a\":2}", "T: a: given twice" },
        { "[0,{\"x\":{\"b\":1,\"c\":2,\"\\u0062\":3}}]",
          "T: [1].x.b: given twice" },
        { "[1,\n2,\n  x]", "T:3:3: " },
    };
    struct xlx__json_doc *doc, *const mark = (void *)&doc;
    size_t i;
    int rc;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(cases); i++) {
        doc = mark;
        rc = parse(cases[i].text, &doc);
        if (rc != ERROR_INVAL ||
            strncmp(xlx_error_get(), cases[i].where, strlen(cases[i].where)))
            fail_msg("%s: %d \"%s\", wanted \"%s...\"", cases[i].text, rc,
                     xlx_error_get(), cases[i].where);
        assert_ptr_equal(doc, mark);            /* left as it was */
    }
}

static void nul_byte(void **state)
{
    struct xlx__json_doc *doc;

    (void)state;
    assert_fails(xlx__json_parse("T", "{}\0", 3, &limits, &doc), ERROR_INVAL,
                 "T:1:3: ");
    assert_fails(xlx__json_parse("T", "\"a\0\"", 4, &limits, &doc),
                 ERROR_INVAL, "T:1:");
}

/* No prefix of an object is JSON. */
static void truncated(void **state)
{
    static const char text[] =
        "{\"a\":[1,-2.5e3,\"\\u00e9\\ud83d\\ude00\xc3\xa9\\n\",true,null],"
        "\"b\":{\"c\":{},\"d\":[]}}";
    struct xlx__json_doc *doc;
    char *cut;
    size_t len;

    (void)state;
    for (len = 0; len < strlen(text); len++) {
        cut = strndup(text, len);
        assert_fails(parse(cut, &doc), ERROR_INVAL, "T:1:");
        free(cut);
    }
    assert_ok(parse(text, &doc));
    xlx__json_free(doc);
}

static char *nest(unsigned int depth)
{
    char *text = malloc(depth * 2 + 1);

    assert_non_null(text);
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    text[depth * 2] = '\0';
    return text;
}

static void bounds(void **state)
{
    struct xlx__json_limits few = { 10, 2 }, deep = { 1 << 24, 1 << 30 };
    struct xlx__json_doc *doc;
    char *text;

    (void)state;
    assert_ok(xlx__json_parse("T", "[[1,2,34]]", 10, &few, &doc));
    xlx__json_free(doc);
    assert_fails(xlx__json_parse("T", "[[1,2,345]]", 11, &few, &doc),
                 ERROR_INVAL, "T: larger than 10 bytes");
    assert_fails(xlx__json_parse("T", "[[[]]]", 6, &few, &doc), ERROR_INVAL,
                 "T:1:3: nested too deeply");
    assert_fails(xlx__json_parse("T", "{\"a\":[{", 7, &few, &doc),
                 ERROR_INVAL, "T:1:7: nested too deeply");
    text = nest(limits.depth);
    assert_ok(parse(text, &doc));
    xlx__json_free(doc);
    free(text);
    /* However much the caller allows: no stack is used up. */
    text = nest(1 << 22);
    assert_fails(xlx__json_parse("T", text, 1 << 23, &deep, &doc),
                 ERROR_INVAL, "nested too deeply");
    free(text);
}

/* An object of n members, the last with the key of the one before it. */
static char *members(unsigned int n, bool twice)
{
    char *text = malloc(n * 16 + 64);
    size_t at = 0;
    unsigned int i;

    assert_non_null(text);
    text[at++] = '{';
    for (i = 0; i < n; i++)
        at += sprintf(text + at, "%s\"k%u\":%u", i ? "," : "",
                      twice && i == n - 1 ? i - 1 : i, i);
    strcpy(text + at, "}");
    return text;
}

static void duplicates_in_large(void **state)
{
    static const unsigned int sizes[] = { 2, 31, 32, 33, 34, 2000, 50000 };
    struct xlx__json_doc *doc;
    char *text, want[64];
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(sizes); i++) {
        text = members(sizes[i], false);
        assert_ok(parse(text, &doc));
        assert_int_equal(xlx__json_count(xlx__json_root(doc)), sizes[i]);
        xlx__json_free(doc);
        free(text);
        text = members(sizes[i], true);
        snprintf(want, sizeof(want), "T: k%u: given twice", sizes[i] - 2);
        assert_fails(parse(text, &doc), ERROR_INVAL, want);
        free(text);
    }
}

/* Long strings with escapes, and a long number at the end: yajl's own
 * buffers are as large as they get. */
static void long_tokens(void **state)
{
    struct xlx__json_doc *doc;
    const char *s;
    size_t n = 1000000, i;
    char *text = malloc(n + 8);

    (void)state;
    assert_non_null(text);
    for (i = 1; i < n; i += 2)
        memcpy(text + i, "\\n", 2);
    text[0] = '"';
    strcpy(text + i, "\"");
    assert_ok(parse(text, &doc));
    assert_ok(xlx__json_string(xlx__json_root(doc), &s));
    assert_int_equal(strlen(s), n / 2);
    assert_int_equal(strspn(s, "\n"), n / 2);
    xlx__json_free(doc);

    text[i] = '\0';                             /* never closed */
    assert_fails(parse(text, &doc), ERROR_INVAL, "T:1:");

    memset(text, '7', n);
    text[n] = '\0';
    assert_ok(parse(text, &doc));
    assert_int_equal(xlx__json_kind(xlx__json_root(doc)), XLX__JSON_INTEGER);
    xlx__json_free(doc);
    free(text);
}

/* A list such as QEMU's of its block nodes: the document is no larger than
 * one and a fifth of the text.  (bench/ measures time and peak memory.) */
static void frugal(void **state)
{
    static const char node[] =
        "{\"iops_rd\": 0, \"detect_zeroes\": \"off\", \"image\": "
        "{\"virtual-size\": 1073741824, \"filename\": \"/images/a.qcow2\", "
        "\"cluster-size\": 65536, \"format\": \"qcow2\", "
        "\"dirty-flag\": false}, \"ro\": false, \"encrypted\": false, "
        "\"cache\": {\"no-flush\": false, \"direct\": false}}, ";
    size_t size = 900000, at;
    struct xlx__json_doc *doc;
    char *text = malloc(size + sizeof(node) + 8);

    (void)state;
    assert_non_null(text);
    text[0] = '[';
    for (at = 1; at < size; at += sizeof(node) - 1)
        memcpy(text + at, node, sizeof(node));
    strcpy(text + at, "0]");
    assert_ok(parse(text, &doc));
    assert_in_range(doc->used, 1, (at + 2) * 6 / 5);
    xlx__json_free(doc);
    free(text);
}

/* Text of many values and few bytes does not get ten times its size. */
static void many_values(void **state)
{
    const size_t n = 2u << 20;
    const struct xlx__json_limits large = { 8 << 20, 8 };
    struct xlx__json_doc *doc = NULL;
    char *text = malloc(2 * n + 2);
    size_t i;

    (void)state;
    assert_non_null(text);
    text[0] = '[';
    for (i = 0; i < n; i++)
        memcpy(text + 1 + 2 * i, "0,", 2);
    text[2 * n] = ']';
    assert_fails(xlx__json_parse("T", text, 2 * n + 1, &large, &doc),
                 ERROR_INVAL, "too many values");
    assert_null(doc);
    text[n] = ']';                              /* half of them will do */
    assert_ok(xlx__json_parse("T", text, n + 1, &large, &doc));
    assert_int_equal(xlx__json_count(xlx__json_root(doc)), n / 2);
    xlx__json_free(doc);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted),
        cmocka_unit_test(refused),
        cmocka_unit_test(nul_byte),
        cmocka_unit_test(truncated),
        cmocka_unit_test(bounds),
        cmocka_unit_test(duplicates_in_large),
        cmocka_unit_test(long_tokens),
        cmocka_unit_test(frugal),
        cmocka_unit_test(many_values),
    };

    return cmocka_run_group_tests_name("json-parse", tests, NULL, NULL);
}

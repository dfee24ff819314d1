/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The message of an error: what comes out is one bounded line of UTF-8,
 * whatever went in.
 */
#include <errno.h>
#include <pthread.h>

#include "unit.h"

static void message_and_code(void **state)
{
    (void)state;
    xlx__error_clear();
    assert_string_equal(xlx_error_get(), "");
    assert_int_equal(xlx__error(ERROR_INVAL, "disk \"%s\": bad", "xvda"),
                     ERROR_INVAL);
    assert_string_equal(xlx_error_get(), "disk \"xvda\": bad");
    assert_int_equal(xlx__error_prefix(ERROR_FAIL, "guest %d", 7),
                     ERROR_FAIL);
    assert_string_equal(xlx_error_get(), "guest 7: disk \"xvda\": bad");
    xlx__error_clear();
    xlx__error_prefix(ERROR_FAIL, "guest %d", 7);
    assert_string_equal(xlx_error_get(), "guest 7");
}

static void message_as_argument(void **state)
{
    (void)state;
    xlx__error(ERROR_FAIL, "one");
    xlx__error(ERROR_FAIL, "two, %s, %s", xlx_error_get(), xlx_error_get());
    assert_string_equal(xlx_error_get(), "two, one, one");
    xlx__error_prefix(ERROR_FAIL, "[%s]", xlx_error_get());
    assert_string_equal(xlx_error_get(), "[two, one, one]: two, one, one");
}

static void errno_is_kept(void **state)
{
    (void)state;
    errno = ENOSPC;
    xlx__error(ERROR_FAIL, "%s: %m", "file");
    assert_string_equal(xlx_error_get(), "file: No space left on device");
    assert_int_equal(errno, ENOSPC);
    xlx__error_prefix(ERROR_FAIL, "%m");
    assert_string_equal(xlx_error_get(), "No space left on device: "
                        "file: No space left on device");
    assert_int_equal(errno, ENOSPC);
}

static void one_line(void **state)
{
    (void)state;
    xlx__error(ERROR_FAIL, "%s", "a\nb\tc\rd\x1b[31me\x7f");
    assert_string_equal(xlx_error_get(), "a\\nb\\tc\\rd\\x1b[31me\\x7f");
    /* Not UTF-8; C1 controls; good UTF-8 stays. */
    xlx__error(ERROR_FAIL, "%s", "\xff \xc0\x80 \xc2\x9b \xed\xa0\x80 "
               "\xc3\xa9 \xf0\x9f\x98\x80");
    assert_string_equal(xlx_error_get(), "\\xff \\xc0\\x80 \\xc2\\x9b "
                        "\\xed\\xa0\\x80 \xc3\xa9 \xf0\x9f\x98\x80");
    /* A prefix does not escape what is escaped. */
    xlx__error(ERROR_FAIL, "a\\b\n");
    xlx__error_prefix(ERROR_FAIL, "p");
    assert_string_equal(xlx_error_get(), "p: a\\b\\n");
}

/* The longest message, found by trying. */
static size_t longest(void)
{
    size_t n;

    for (n = 1; n < 5000; n++) {
        xlx__error(ERROR_FAIL, "%0*d", (int)n, 0);
        if (strlen(xlx_error_get()) != n)
            return n - 1;
    }
    fail();
    return 0;
}

static void bounded(void **state)
{
    static const char *const chars[] = {
        "x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\n", "\xff",
    };
    size_t max = longest(), pad, i, j, len;
    char text[8192];
    const char *end;

    (void)state;
    assert_in_range(max, 500, 4000);
    for (i = 0; i < XLX__ARRAY_SIZE(chars); i++) {
        for (pad = 0; pad < 8; pad++) {
            memset(text, 'p', pad);
            for (j = pad; j + 5 < sizeof(text); j += strlen(chars[i]))
                strcpy(text + j, chars[i]);
            xlx__error(ERROR_FAIL, "%s", text);
            len = strlen(xlx_error_get());
            assert_in_range(len, max - 8, max);
            end = xlx_error_get() + len - 3;
            assert_string_equal(end, "...");
            assert_int_equal(xlx__utf8_valid(xlx_error_get(), len), len);
            /* An escape is not cut either. */
            if (chars[i][0] == '\n')
                assert_memory_equal(end - 2, "\\n", 2);
            xlx__error_prefix(ERROR_FAIL, "%s", text);
            assert_in_range(strlen(xlx_error_get()), max - 8, max);
        }
    }
}

static void *other_thread(void *user)
{
    (void)user;
    if (xlx_error_get()[0])
        return (void *)"had a message";
    xlx__error(ERROR_FAIL, "of the other");
    return NULL;
}

static void one_a_thread(void **state)
{
    pthread_t thread;
    void *result = NULL;

    (void)state;
    xlx__error(ERROR_FAIL, "of this");
    assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    assert_string_equal(xlx_error_get(), "of this");
}

static void errno_codes(void **state)
{
    (void)state;
    assert_int_equal(xlx__errno_rc(ENOMEM), ERROR_NOMEM);
    assert_int_equal(xlx__errno_rc(ENOENT), ERROR_NOTFOUND);
    assert_int_equal(xlx__errno_rc(ETIMEDOUT), ERROR_TIMEDOUT);
    assert_int_equal(xlx__errno_rc(EIO), ERROR_FAIL);
}

static void utf8(void **state)
{
    static const struct { const char *s; size_t len, valid; } cases[] = {
        { "", 0, 0 },
        { "plain ascii, longer than a word", 31, 31 },
        { "12345678\xc3\xa9" "1234567\xff", 18, 17 },
        { "\xc3", 1, 0 },                       /* cut short */
        { "\xe2\x82", 2, 0 },
        { "\xf0\x9f\x98", 3, 0 },
        { "\xc1\xbf", 2, 0 },                   /* overlong */
        { "\xe0\x9f\xbf", 3, 0 },
        { "\xf0\x8f\xbf\xbf", 4, 0 },
        { "\xed\x9f\xbf", 3, 3 },               /* around surrogates */
        { "\xed\xa0\x80", 3, 0 },
        { "\xee\x80\x80", 3, 3 },
        { "\xf4\x8f\xbf\xbf", 4, 4 },           /* U+10FFFF and beyond */
        { "\xf4\x90\x80\x80", 4, 0 },
        { "\xf5\x80\x80\x80", 4, 0 },
        { "\xe2\x28\xac", 3, 0 },               /* bad continuation */
        { "\xe2\x82\x28", 3, 0 },
        { "\x80", 1, 0 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(cases); i++)
        if (xlx__utf8_valid(cases[i].s, cases[i].len) != cases[i].valid)
            fail_msg("case %zu", i);
}

static void set_string(void **state)
{
    char *s = NULL;

    (void)state;
    assert_ok(xlx__set_string(&s, "one"));
    assert_ok(xlx__set_string(&s, s + 1));
    assert_string_equal(s, "ne");
    assert_ok(xlx__set_string(&s, NULL));
    assert_null(s);
}

/* The message names the fault, whatever the cleanup after it does. */
static void kept(void **state)
{
    struct xlx__error_text why;

    (void)state;
    xlx__error(ERROR_FAIL, "the first");
    xlx__error_save(&why);
    assert_int_equal(xlx__nomem(), ERROR_NOMEM);
    assert_string_equal(xlx_error_get(), "out of memory");
    xlx__error_restore(&why);
    assert_string_equal(xlx_error_get(), "the first");
    assert_int_equal(xlx__forgive(ERROR_FAIL, ERROR_NOTFOUND), ERROR_FAIL);
    assert_string_equal(xlx_error_get(), "the first");
    assert_ok(xlx__forgive(ERROR_NOTFOUND, ERROR_NOTFOUND));
    assert_string_equal(xlx_error_get(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_and_code),
        cmocka_unit_test(message_as_argument),
        cmocka_unit_test(errno_is_kept),
        cmocka_unit_test(one_line),
        cmocka_unit_test(bounded),
        cmocka_unit_test(one_a_thread),
        cmocka_unit_test(errno_codes),
        cmocka_unit_test(utf8),
        cmocka_unit_test(set_string),
        cmocka_unit_test(kept),
    };

    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers in text: each form takes what number.h says, to the end and up to
 * the largest, and refuses all that strtoul() would let through.
 */
#include <string.h>

#include "core/number.h"
#include "unit.h"

#define NO UINT64_C(0xdeadbeef)         /* the text is refused */

static const struct {
    const char *text;
    uint64_t max, u64, hex, c;          /* what each form makes of it */
} table[] = {
    { "0", 9, 0, 0, 0 },
    { "7", 7, 7, 7, 7 },
    { "8", 7, NO, NO, NO },
    { "10", 16, 10, 16, 10 },
    { "007", 7, 7, 7, 7 },
    { "010", 16, 10, 16, 8 },
    { "08", 16, 8, 8, NO },
    { "0x10", 16, NO, 16, 16 },
    { "0X1f", 31, NO, 31, 31 },
    { "0x11", 16, NO, NO, NO },
    { "aF", 175, NO, 175, NO },
    { "4294967295", UINT32_MAX, UINT32_MAX, NO, UINT32_MAX },
    { "4294967296", UINT32_MAX, NO, NO, NO },
    { "4294967297", UINT32_MAX, NO, NO, NO },
    { "42949672970", UINT32_MAX, NO, NO, NO },
    { "18446744073709551615", UINT64_MAX, UINT64_MAX, NO, UINT64_MAX },
    { "18446744073709551616", UINT64_MAX, NO, NO, NO },
    { "18446744073709551617", UINT64_MAX, NO, NO, NO },
    { "99999999999999999999999", UINT64_MAX, NO, NO, NO },
    { "0xffffffffffffffff", UINT64_MAX, NO, UINT64_MAX, UINT64_MAX },
    { "0x10000000000000000", UINT64_MAX, NO, NO, NO },
    { "01777777777777777777777", UINT64_MAX, NO, NO, UINT64_MAX },
    { "02000000000000000000000", UINT64_MAX, NO, NO, NO },
    { "", 9, NO, NO, NO },
    { "0x", 9, NO, NO, NO },
    { "0xg", 9, NO, NO, NO },
    { "x1", 9, NO, NO, NO },
    { "+1", 9, NO, NO, NO },
    { "-1", UINT64_MAX, NO, NO, NO },
    { "-0", 9, NO, NO, NO },
    { " 1", 9, NO, NO, NO },
    { "1 ", 9, NO, NO, NO },
    { "1 2", UINT64_MAX, NO, NO, NO },
    { "1\n", 9, NO, NO, NO },
    { "\t1", 9, NO, NO, NO },
    { "1,2", 99, NO, NO, NO },
    { "1'000", 9999, NO, NO, NO },
    { "1.0", 99, NO, NO, NO },
    { "1e3", 999999, NO, 483, NO },
    { "0b1", 999, NO, 177, NO },
    { "0x-1", UINT64_MAX, NO, NO, NO },
    { "0x 1", UINT64_MAX, NO, NO, NO },
    { "0x0x1", UINT64_MAX, NO, NO, NO },
    { "\xd9\xa1", 9, NO, NO, NO },     /* an Arabic 1 */
};

static void expect(const char *form, size_t i, bool good, uint64_t value,
                   uint64_t wanted)
{
    if (good != (wanted != NO) || value != wanted)
        fail_msg("%s \"%s\" up to %llu: %s %#llx", form, table[i].text,
                 (unsigned long long)table[i].max, good ? "gave" : "kept",
                 (unsigned long long)value);
}

static void whole(void **state)
{
    uint32_t small;
    uint64_t value;
    size_t i;
    bool good;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(table); i++) {
        value = NO;
        good = xlx__parse_u64(table[i].text, table[i].max, &value);
        expect("u64", i, good, value, table[i].u64);
        value = NO;
        good = xlx__parse_hex(table[i].text, table[i].max, &value);
        expect("hex", i, good, value, table[i].hex);
        if (table[i].max > UINT32_MAX)
            continue;
        small = (uint32_t)NO;
        good = xlx__parse_u32(table[i].text, (uint32_t)table[i].max, &small);
        expect("u32", i, good, small, table[i].u64);
        small = (uint32_t)NO;
        good = xlx__parse_c(table[i].text, (uint32_t)table[i].max, &small);
        expect("c", i, good, small, table[i].c);
    }
}

static void wide_c(void **state)
{
    const char *s;
    uint64_t value;
    size_t i;
    bool good;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(table); i++) {
        s = table[i].text;
        value = NO;
        good = xlx__take_c(&s, table[i].max, &value);
        if (good && *s)
            value = NO;
        expect("c64", i, good && !*s, value, table[i].c);
    }
}

static void parts(void **state)
{
    static const char text[] = "d12: 0x1F,0777;1234a";
    const char *s = text;
    uint32_t small = 5;
    uint64_t value = 5;
    (void)state;

    assert_false(xlx__take_u32(&s, 99, &small));
    assert_false(xlx__take_word(&s, "e"));
    assert_ptr_equal(s, text);
    assert_true(xlx__take_word(&s, "d"));
    assert_false(xlx__take_u32(&s, 11, &small));
    assert_ptr_equal(s, text + 1);
    assert_int_equal(small, 5);
    assert_true(xlx__take_u32(&s, 12, &small));
    assert_int_equal(small, 12);
    assert_true(xlx__take_word(&s, ": "));
    assert_false(xlx__take_hex(&s, 0x1e, &value));
    assert_string_equal(s, "0x1F,0777;1234a");
    assert_int_equal(value, 5);
    assert_true(xlx__take_hex(&s, 0x1f, &value));
    assert_int_equal(value, 0x1f);
    assert_true(xlx__take_word(&s, ","));
    assert_true(xlx__take_c(&s, 511, &value));
    assert_int_equal(value, 511);
    assert_true(xlx__take_word(&s, ";"));
    assert_false(xlx__take_digits(&s, 6, &small));
    assert_string_equal(s, "1234a");
    assert_true(xlx__take_digits(&s, 4, &small));
    assert_int_equal(small, 0x1234);
    assert_string_equal(s, "a");
    assert_true(xlx__take_word(&s, ""));
    assert_string_equal(s, "a");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(wide_c),
        cmocka_unit_test(parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

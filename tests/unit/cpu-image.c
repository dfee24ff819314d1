/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The processor of a saved guest, from files as xl save writes them, whole,
 * damaged and cut off at each byte.
 */
#include <endian.h>

#include "cpu/cpu.h"
#include "gen-calls.h"
#include "unit.h"

/* ---- a file, made piece by piece ---------------------------------------- */

struct image {
    char bytes[8192];
    size_t len;
};

static void put(struct image *i, const void *bytes, size_t len)
{
    assert_true(i->len + len <= sizeof(i->bytes));
    memcpy(i->bytes + i->len, bytes, len);
    i->len += len;
}

static void put32(struct image *i, uint32_t value)
{
    put(i, &value, sizeof(value));
}

static void put64(struct image *i, uint64_t value)
{
    put(i, &value, sizeof(value));
}

static void put_record(struct image *i, uint32_t type, uint32_t length)
{
    put32(i, type);
    put32(i, length);
}

static void put_xl(struct image *i)
{
    put(i, "Xen saved domain, xl format\n \0 \r", 32);
    put32(i, 0x01020304);
    put32(i, 3);
    put32(i, 0);
    put32(i, 7);
    put(i, "{ } abc", 7);               /* the config */
}

static void put_libxl(struct image *i)
{
    put64(i, htobe64(UINT64_C(0x4c6962786c466d74)));
    put32(i, htobe32(2));
    put32(i, 0);
    put_record(i, 1, 0);                /* here libxc's begins */
}

static void put_libxc(struct image *i, uint32_t version)
{
    put64(i, UINT64_MAX);
    put32(i, htobe32(0x58454e46));
    put32(i, htobe32(version));
    put64(i, 0);
    put32(i, 2);                        /* HVM */
    put32(i, 12);
    put32(i, 4);
    put32(i, 17);
}

static void put_leaf(struct image *i, uint32_t leaf, uint32_t subleaf,
                     uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    put32(i, leaf);
    put32(i, subleaf);
    put32(i, a);
    put32(i, b);
    put32(i, c);
    put32(i, d);
}

static void put_policy(struct image *i)
{
    put_record(i, 0x11, 5 * 24);
    put_leaf(i, 0, UINT32_MAX, 0xd, 0x756e6547, 0x6c65746e, 0x49656e69);
    put_leaf(i, 1, UINT32_MAX, 0x000906ea, 0, 0x16fa3203, 0x1fcbfbff);
    put_leaf(i, 7, 0, 0, 0x019c07ab, 0, 0x20000000);
    put_leaf(i, 0x80000000, UINT32_MAX, 0x80000008, 0, 0, 0);
    put_leaf(i, 0x80000001, UINT32_MAX, 0, 0, 0x121, 0x2c100800);
    put_record(i, 0x12, 2 * 16);
    put32(i, 0xce);
    put32(i, 0);
    put64(i, 0);
    put32(i, 0x10a);
    put32(i, 0);
    put64(i, 1);
}

static void put_all(struct image *i)
{
    memset(i, 0, sizeof(*i));
    put_xl(i);
    put_libxl(i);
    put_libxc(i, 3);
    put_record(i, 0x8000000e, 3);       /* optional, and filled up to 8 */
    put64(i, 0);
    put_policy(i);
    put_record(i, 0x10, 0);
}

static int read_bytes(const struct image *i, xlx_cpu *cpu)
{
    char path[] = "/tmp/libxlx-image-XXXXXX";
    int fd = mkstemp(path), rc;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, i->bytes, i->len), i->len);
    close(fd);
    rc = xlx__cpu_image_read(NULL, path, cpu);
    unlink(path);
    return rc;
}

/* ---- tests -------------------------------------------------------------- */

static void a_whole_one(void **state)
{
    struct image i;
    xlx_cpu p;
    struct xlx__cpu cpu;

    (void)state;
    put_all(&i);
    put(&i, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);  /* not read any more */
    xlx_cpu_init(&p);
    assert_ok(read_bytes(&i, &p));
    assert_ok(xlx__cpu_from_public(&p, &cpu));
    assert_string_equal(cpu.vendor, "GenuineIntel");
    assert_int_equal(cpu.model, 158);
    assert_int_equal(cpu.level, 0xd);
    assert_true(xlx__cpu_has(&cpu.features, XLX__CPU_AVX2));
    assert_true(xlx__cpu_has(&cpu.features, XLX__CPU_PDPE1GB));
    assert_true(xlx__cpu_has(&cpu.features, XLX__CPU_RDCTL_NO));
    assert_false(xlx__cpu_has(&cpu.features, XLX__CPU_MD_CLEAR));
    xlx_cpu_dispose(&p);
}

static void cut_off(void **state)
{
    struct image i;
    xlx_cpu p;
    size_t len;

    (void)state;
    put_all(&i);
    for (len = i.len; len-- > 0; ) {
        i.len = len;
        xlx_cpu_init(&p);
        assert_fails(read_bytes(&i, &p), ERROR_INVAL,
                     len ? "cut off here" : "is empty");
        assert_null(p.vendor);
        xlx_cpu_dispose(&p);
    }
}

static void fails(const struct image *i, const char *text)
{
    xlx_cpu p;

    xlx_cpu_init(&p);
    assert_fails(read_bytes(i, &p), ERROR_INVAL, text);
    xlx_cpu_dispose(&p);
}

static void damaged(void **state)
{
    struct image i;
    unsigned int n;
    xlx_cpu p;

    (void)state;
    put_all(&i);
    i.bytes[3] = 'x';
    fails(&i, "is not what xl save writes");
    put_all(&i);
    i.bytes[48] = 'x';                  /* length of the config */
    memset(i.bytes + 44, 0x7f, 4);
    fails(&i, "byte 0, xl's head: a config of 2139062143 bytes");
    put_all(&i);
    i.bytes[55] ^= 1;                   /* libxl's header */
    fails(&i, "it does not begin with \"LibxlFmt\"");

    memset(&i, 0, sizeof(i));
    put_xl(&i);
    put_libxl(&i);
    put_libxc(&i, 2);
    fails(&i, "was saved by Xen before 4.14");

    memset(&i, 0, sizeof(i));
    put_xl(&i);
    put_libxl(&i);
    put_libxc(&i, 3);
    put_record(&i, 0x10, 0);
    fails(&i, "has no CPU policy");

    i.len -= 8;
    put_record(&i, 0x11, 25);
    put(&i, i.bytes, 32);
    put_record(&i, 0x10, 0);
    fails(&i, "a CPUID record of 25 bytes");

    i.len -= 8 + 32 + 8;
    put_record(&i, 0x12, 15);
    put(&i, i.bytes, 16);
    fails(&i, "an MSR record of 15 bytes");

    i.len -= 16 + 8;
    put_record(&i, 0x11, 0xfffffff0);
    fails(&i, "4294967280 bytes are more than a record");

    i.len -= 8;
    for (n = 0; n < 100; n++)
        put_record(&i, 0x13, 0);
    fails(&i, "the head of libxc's stream has no end");

    xlx_cpu_init(&p);
    assert_fails(xlx__cpu_image_read(NULL, "/nonexistent", &p),
                 xlx__errno_rc(2), "/nonexistent: No such file");
    xlx_cpu_dispose(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_one),
        cmocka_unit_test(cut_off),
        cmocka_unit_test(damaged),
    };

    return cmocka_run_group_tests_name("cpu-image", tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libxl's stream as it passes: whatever the sizes in which it comes, all but
 * its last eight bytes are passed on, and what is not such a stream is
 * refused.  And the process that passes it on, with a pipe at each end.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "migrate/migrate.h"
#include "unit.h"

#define MAX 65536

struct bytes {
    unsigned char data[MAX];
    size_t len;
};

static void add(struct bytes *b, const void *data, size_t len)
{
    assert_true(b->len + len <= MAX);
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

static void add_record(struct bytes *b, uint32_t type, uint32_t length)
{
    static unsigned char body[1024];
    const uint32_t head[] = { type, length };

    memset(body, (int)(type + length) & 255, sizeof(body));
    add(b, head, sizeof(head));
    add(b, body, (length + 7) & ~7u);
}

static void make(struct bytes *b)
{
    static const uint32_t domain[] = { 2, 12, 4, 17 };

    b->len = 0;
    add(b, "LibxlFmt\0\0\0\2\0\0\0\0", 16);
    add_record(b, 1, 0);
    add(b, "\xff\xff\xff\xff\xff\xff\xff\xffXENF\0\0\0\3\0\0\0\0\0\0\0\0",
        24);
    add(b, domain, sizeof(domain));
    add_record(b, 1, 1000);
    add_record(b, 9, 0);
    add_record(b, 0x0d, 1);
    add_record(b, 0, 0);
    add_record(b, 2, 9);
    add_record(b, 3, 777);
    add_record(b, 0x80000001, 3);
    add_record(b, 0, 0);
}

static bool collect(void *user, const unsigned char *data, size_t len)
{
    add(user, data, len);
    return true;
}

static bool refuse(void *user, const unsigned char *data, size_t len)
{
    (void)user;
    (void)data;
    (void)len;
    return false;
}

/* Feeds it in pieces of up to that size. */
static bool feed(struct xlx__stream *s, const struct bytes *b, size_t piece,
                 struct bytes *out)
{
    size_t at, len;

    out->len = 0;
    xlx__stream_init(s);
    for (at = 0; at < b->len; at += len) {
        len = 1 + (size_t)random() % piece;
        if (len > b->len - at)
            len = b->len - at;
        if (!xlx__stream_take(s, b->data + at, len, collect, out))
            return false;
    }
    return true;
}

static void test_pieces(void **state)
{
    static struct bytes b, out;
    struct xlx__stream s;
    size_t piece;

    (void)state;
    make(&b);
    for (piece = 1; piece < 200; piece++) {
        assert_true(feed(&s, &b, piece, &out));
        assert_true(xlx__stream_is_whole(&s));
        assert_int_equal(out.len, b.len - XLX__STREAM_END_SIZE);
        assert_int_equal(s.passed, out.len);
        assert_memory_equal(out.data, b.data, out.len);
        assert_memory_equal(xlx__stream_end(&s), b.data + out.len,
                            XLX__STREAM_END_SIZE);
    }
}

static void test_cut(void **state)
{
    static struct bytes b, cut, out;
    struct xlx__stream s;

    (void)state;
    make(&b);
    for (cut = b, cut.len = 0; cut.len < b.len; cut.len++) {
        assert_true(feed(&s, &cut, 4096, &out));
        assert_false(xlx__stream_is_whole(&s));
        assert_true(out.len <= cut.len);
    }
    add(&b, "x", 1);                /* something after the end */
    assert_false(feed(&s, &b, 4096, &out));
    assert_false(xlx__stream_is_whole(&s));
    make(&b);
    xlx__stream_init(&s);
    assert_false(xlx__stream_take(&s, b.data, b.len, refuse, NULL));
}

static void refused_with(size_t at, unsigned char value)
{
    static struct bytes b, out;
    struct xlx__stream s;

    make(&b);
    b.data[at] = value;
    assert_false(feed(&s, &b, 4096, &out) && xlx__stream_is_whole(&s));
}

static void test_wrong(void **state)
{
    (void)state;
    refused_with(0, 'l');           /* another magic */
    refused_with(11, 3);            /* version 3 */
    refused_with(15, 1);            /* big-endian */
    refused_with(20, 8);            /* LIBXC_CONTEXT with a body */
    refused_with(24, 0);            /* libxc's marker */
    refused_with(24 + 17, 1);       /* big-endian */
    refused_with(24 + 24 + 16 + 7, 0x7f);   /* a record of 2 GiB */
}

/* Any bytes are taken or refused, and no more comes out than went in. */
static void test_random(void **state)
{
    static struct bytes b, out;
    struct xlx__stream s;
    int i, j;

    (void)state;
    for (i = 0; i < 3000; i++) {
        make(&b);
        for (j = (int)(random() % 5); j >= 0; j--)
            b.data[(size_t)random() % b.len] ^=
                (unsigned char)(1u << random() % 8);
        if (feed(&s, &b, 700, &out) && xlx__stream_is_whole(&s))
            assert_int_equal(out.len, b.len - XLX__STREAM_END_SIZE);
        else
            assert_true(out.len <= b.len);
    }
}

/* ---- the process -------------------------------------------------------- */

static void start(struct xlx__relay *relay, int *from_r)
{
    int fds[2];

    *relay = (struct xlx__relay)XLX__RELAY_NONE;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(xlx__relay_start(fds[1], relay), 0);
    close(fds[1]);
    *from_r = fds[0];
}

static size_t read_all(int fd, unsigned char *data, size_t max)
{
    size_t len = 0;
    ssize_t n;

    while (len < max && (n = read(fd, data + len, max - len)) > 0)
        len += (size_t)n;
    return len;
}

static void test_relay(void **state)
{
    static struct bytes b, out;
    struct xlx__relay relay;
    uint64_t passed = 0;
    int from;

    (void)state;
    make(&b);
    start(&relay, &from);
    assert_int_equal(write(relay.fd, b.data, b.len), b.len);
    assert_int_equal(xlx__relay_finish(&relay, &passed), 0);
    assert_int_equal(passed, b.len - XLX__STREAM_END_SIZE);
    assert_int_equal(read_all(from, out.data, passed), passed);
    /* the end is not there until it is released */
    fcntl(from, F_SETFL, O_NONBLOCK);
    assert_int_equal(read(from, out.data + passed, 1), -1);
    fcntl(from, F_SETFL, 0);
    assert_int_equal(xlx__relay_release(&relay), 0);
    assert_int_equal(read_all(from, out.data + passed, MAX - passed),
                     XLX__STREAM_END_SIZE);
    assert_memory_equal(out.data, b.data, b.len);
    xlx__relay_stop(&relay);
    close(from);
}

static void test_relay_cut(void **state)
{
    static struct bytes b, out;
    struct xlx__relay relay;
    uint64_t passed = 0;
    int from;

    (void)state;
    make(&b);
    start(&relay, &from);           /* the stream has no end */
    assert_int_equal(write(relay.fd, b.data, b.len - 1), b.len - 1);
    assert_int_equal(xlx__relay_finish(&relay, &passed), ERROR_FAIL);
    assert_non_null(strstr(xlx_error_get(), "has no end"));
    assert_int_equal(read_all(from, out.data, MAX),
                     b.len - XLX__STREAM_END_SIZE);
    xlx__relay_stop(&relay);
    close(from);

    start(&relay, &from);           /* stopped: the other end sees it */
    assert_int_equal(write(relay.fd, b.data, b.len), b.len);
    xlx__relay_stop(&relay);
    assert_true(read_all(from, out.data, MAX) < b.len);
    close(from);

    start(&relay, &from);           /* the other end has gone */
    close(from);
    assert_int_equal(write(relay.fd, b.data, b.len), b.len);
    assert_int_equal(xlx__relay_finish(&relay, &passed), ERROR_FAIL);
    xlx__relay_stop(&relay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_relay),
        cmocka_unit_test(test_relay_cut),
    };

    srandom(19);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

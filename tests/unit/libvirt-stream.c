/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames of libvirt's protocol through a stream of the relay: byte for byte,
 * however they are cut into pieces, with their descriptors, and with frames of
 * our own between two others.
 */
#include <fcntl.h>
#include <sys/socket.h>

#include "stream.h"
#include "unit.h"

struct world {
    enum lv_verdict verdict;            /* of procedure 1; others pass */
    unsigned int num_frames;
    size_t last_len;                    /* 0: was skipped */
    bool pause;
    struct lv_stream s;
};

static enum lv_verdict judge(void *user, const struct lv_header *h)
{
    struct world *w = user;

    return h->procedure == 1 ? w->verdict : LV_PASS;
}

static int frame(void *user, const struct lv_header *h, const uint8_t *data)
{
    struct world *w = user;

    w->num_frames++;
    w->last_len = data ? h->length : 0;
    w->s.paused = w->pause;
    return 0;
}

static const struct lv_stream_ops ops = { judge, frame };

static void start(struct world *w)
{
    *w = (struct world){ .verdict = LV_COLLECT };
    lv_stream_init(&w->s, &ops, w);
}

static void put(struct lv_buffer *out, int32_t procedure, uint32_t type,
                const void *payload, size_t len)
{
    struct lv_header h = { .program = LV_PROGRAM, .version = 1,
                           .procedure = procedure, .type = type,
                           .serial = 7 };

    lv_put_frame(out, &h, payload, len);
}

static int feed(struct world *w, const struct lv_buffer *in)
{
    const char *why;

    return lv_stream_feed(&w->s, in->data, in->len, NULL, 0, &why);
}

/* What would be sent to the peer. */
static void assert_out(struct world *w, const struct lv_buffer *expected)
{
    assert_int_equal(w->s.len, expected->len);
    assert_memory_equal(w->s.data + w->s.start, expected->data,
                        expected->len);
}

static void test_pieces(void **state)
{
    struct lv_buffer in = { 0 }, out = { 0 };
    const char *why;
    struct world w;
    size_t cut, i;

    (void)state;
    put(&in, 5, LV_TYPE_CALL, "abcdefgh", 8);
    put(&in, 1, LV_TYPE_CALL, "ours", 4);
    put(&in, 1, LV_TYPE_CALL, "", 0);
    put(&in, 6, LV_TYPE_STREAM, "data", 4);
    put(&out, 5, LV_TYPE_CALL, "abcdefgh", 8);
    put(&out, 6, LV_TYPE_STREAM, "data", 4);
    for (cut = 1; cut <= in.len; cut++) {
        start(&w);
        for (i = 0; i < in.len; i += cut)
            assert_int_equal(lv_stream_feed(&w.s, in.data + i, in.len - i <
                                            cut ? in.len - i : cut, NULL, 0,
                                            &why), 0);
        assert_int_equal(w.num_frames, 2);
        assert_out(&w, &out);
        lv_stream_free(&w.s);
    }
    lv_buffer_free(&in);
    lv_buffer_free(&out);
}

static void test_skip(void **state)
{
    struct lv_buffer in = { 0 }, out = { 0 };
    struct world w;

    (void)state;
    start(&w);
    w.verdict = LV_SKIP;
    put(&in, 1, LV_TYPE_CALL, "too long", 8);
    put(&in, 2, LV_TYPE_CALL, "", 0);
    put(&out, 2, LV_TYPE_CALL, "", 0);
    assert_int_equal(feed(&w, &in), 0);
    assert_int_equal(w.num_frames, 1);
    assert_int_equal(w.last_len, 0);
    assert_null(w.s.collected.data);
    assert_out(&w, &out);
    lv_stream_free(&w.s);
    lv_buffer_free(&in);
    lv_buffer_free(&out);
}

/* The length is refused as soon as it is there. */
static void test_lengths(void **state)
{
    static const uint32_t bad[] = { 0, 3, 4, 27, LV_FRAME_MAX + 1, 0x7fffffff,
                                    0xffffffff };
    struct lv_buffer in;
    struct world w;
    size_t i;

    (void)state;
    for (i = 0; i < XLX__ARRAY_SIZE(bad); i++) {
        in = (struct lv_buffer){ 0 };
        start(&w);
        lv_put_u32(&in, bad[i]);
        assert_int_equal(feed(&w, &in), -1);
        assert_int_equal(w.s.len, 0);
        lv_stream_free(&w.s);
        lv_buffer_free(&in);
    }
}

/* Ours waits for the end of the one that passes, and not longer. */
static void test_insert(void **state)
{
    struct lv_buffer in = { 0 }, ours = { 0 }, out = { 0 };
    const char *why;
    struct world w;

    (void)state;
    start(&w);
    put(&in, 2, LV_TYPE_REPLY, "12345678", 8);
    put(&ours, 1, LV_TYPE_REPLY, "ours", 4);
    assert_int_equal(lv_stream_feed(&w.s, in.data, in.len - 1, NULL, 0, &why),
                     0);
    assert_int_equal(lv_stream_insert(&w.s, ours.data, ours.len), 0);
    assert_int_equal(w.s.len, in.len - 1);
    assert_int_equal(lv_stream_feed(&w.s, in.data + in.len - 1, 1, NULL, 0,
                                    &why), 0);
    put(&out, 2, LV_TYPE_REPLY, "12345678", 8);
    put(&out, 1, LV_TYPE_REPLY, "ours", 4);
    assert_out(&w, &out);
    /* half a header of the next has not gone out */
    assert_int_equal(lv_stream_feed(&w.s, in.data, 10, NULL, 0, &why), 0);
    assert_int_equal(lv_stream_insert(&w.s, ours.data, ours.len), 0);
    put(&out, 1, LV_TYPE_REPLY, "ours", 4);
    assert_out(&w, &out);
    lv_stream_free(&w.s);
    lv_buffer_free(&in);
    lv_buffer_free(&ours);
    lv_buffer_free(&out);
}

static void test_pause(void **state)
{
    struct lv_buffer in = { 0 }, out = { 0 };
    const char *why;
    struct world w;

    (void)state;
    start(&w);
    w.pause = true;
    put(&in, 1, LV_TYPE_CALL, "open", 4);
    put(&in, 2, LV_TYPE_CALL, "behind", 6);
    put(&out, 2, LV_TYPE_CALL, "behind", 6);
    assert_int_equal(feed(&w, &in), 0);
    assert_int_equal(w.s.len, 0);
    assert_int_equal(lv_stream_room(&w.s), 0);
    assert_int_equal(lv_stream_resume(&w.s, &why), 0);
    assert_out(&w, &out);
    lv_stream_free(&w.s);
    lv_buffer_free(&in);
    lv_buffer_free(&out);
}

/* ---- descriptors -------------------------------------------------------- */

static void send_byte(int to, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    char byte = 0;
    struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = sizeof(control) };
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    assert_int_equal(sendmsg(to, &message, 0), 1);
}

/* The descriptor that came with the byte, or -1. */
static int receive_byte(int from)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    char byte;
    struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = sizeof(control) };
    struct cmsghdr *c;
    int fd = -1;

    assert_int_equal(recvmsg(from, &message, 0), 1);
    c = CMSG_FIRSTHDR(&message);
    if (c)
        memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    return fd;
}

/* Through the relay's stream between two socket pairs, as libvirt sends them:
 * a frame that counts two, two bytes with one each, and another frame. */
static void test_descriptors(void **state)
{
    struct lv_buffer in = { 0 }, next = { 0 };
    int from[2], to[2], ends[2], got[2], i;
    const char *why;
    struct world w;
    char text[300];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, from), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, to), 0);
    assert_int_equal(pipe(ends), 0);
    start(&w);
    put(&in, 9, LV_TYPE_CALL_WITH_FDS, "\0\0\0\2args", 8);
    put(&next, 2, LV_TYPE_CALL, "", 0);
    assert_int_equal(write(from[0], in.data, in.len), in.len);
    send_byte(from[0], ends[0]);
    send_byte(from[0], ends[1]);
    assert_int_equal(write(from[0], next.data, next.len), next.len);
    while (lv_stream_read(&w.s, from[1], &why) == 1)
        assert_int_equal(lv_stream_write(&w.s, to[0]), 0);
    assert_int_equal(read(to[1], text, in.len), in.len);
    assert_memory_equal(text, in.data, in.len);
    for (i = 0; i < 2; i++) {
        got[i] = receive_byte(to[1]);
        assert_true(got[i] >= 0);
    }
    assert_int_equal(read(to[1], text, sizeof(text)), next.len);
    assert_int_equal(write(got[1], "x", 1), 1);
    assert_int_equal(read(ends[0], text, 1), 1);
    for (i = 0; i < 2; i++) {
        close(got[i]);
        close(ends[i]);
        close(from[i]);
        close(to[i]);
    }
    lv_stream_free(&w.s);
    lv_buffer_free(&in);
    lv_buffer_free(&next);
}

static void test_too_many_descriptors(void **state)
{
    struct lv_buffer in = { 0 };
    struct world w;

    (void)state;
    start(&w);
    put(&in, 9, LV_TYPE_CALL_WITH_FDS, "\0\0\0\41", 4);
    assert_int_equal(feed(&w, &in), -1);
    lv_stream_free(&w.s);
    lv_buffer_free(&in);
    start(&w);
    put(&in, 9, LV_TYPE_CALL_WITH_FDS, "\0\0", 2);
    assert_int_equal(feed(&w, &in), -1);
    lv_stream_free(&w.s);
    lv_buffer_free(&in);
}

/* A peer that does not read holds back the other, and costs no more. */
static void test_slow(void **state)
{
    static uint8_t payload[3 << 20];
    struct lv_buffer in = { 0 };
    size_t sent = 0, most = 0, got = 0;
    int from[2], to[2];
    const char *why;
    struct world w;
    char text[4096];
    ssize_t r;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
                                from), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
                                to), 0);
    start(&w);
    put(&in, 3, LV_TYPE_REPLY, payload, sizeof(payload));
    while (got < in.len) {
        r = write(from[0], in.data + sent, in.len - sent);
        sent += r > 0 ? (size_t)r : 0;
        while (lv_stream_read(&w.s, from[1], &why) == 1)
            lv_stream_write(&w.s, to[0]);
        most = w.s.size > most ? w.s.size : most;
        r = read(to[1], text, sizeof(text));
        got += r > 0 ? (size_t)r : 0;
        lv_stream_write(&w.s, to[0]);
    }
    assert_true(most <= 2 * LV_STREAM_SIZE);
    close(from[0]);
    close(from[1]);
    close(to[0]);
    close(to[1]);
    lv_stream_free(&w.s);
    lv_buffer_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_insert),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_too_many_descriptors),
        cmocka_unit_test(test_slow),
    };

    return cmocka_run_group_tests_name("libvirt-stream", tests, NULL, NULL);
}

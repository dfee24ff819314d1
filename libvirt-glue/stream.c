/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames on their way from one peer to the other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream.h"

/* ---- frames ------------------------------------------------------------- */

void lv_read_header(const uint8_t bytes[LV_HEADER_SIZE],
                    struct lv_header *header_r)
{
    *header_r = (struct lv_header){
        .length = lv_get_u32(bytes),
        .program = lv_get_u32(bytes + 4),
        .version = lv_get_u32(bytes + 8),
        .procedure = (int32_t)lv_get_u32(bytes + 12),
        .type = lv_get_u32(bytes + 16),
        .serial = lv_get_u32(bytes + 20),
        .status = lv_get_u32(bytes + 24),
    };
}

void lv_put_frame(struct lv_buffer *out, const struct lv_header *header,
                  const void *payload, size_t len)
{
    if (len > LV_FRAME_MAX - LV_HEADER_SIZE)
        out->failed = true;
    lv_put_u32(out, (uint32_t)(LV_HEADER_SIZE + len));
    lv_put_u32(out, header->program);
    lv_put_u32(out, header->version);
    lv_put_u32(out, (uint32_t)header->procedure);
    lv_put_u32(out, header->type);
    lv_put_u32(out, header->serial);
    lv_put_u32(out, header->status);
    lv_put(out, payload, len);
}

/* ---- out ---------------------------------------------------------------- */

/* Grows only while a frame of ours is put in: what passes fits. */
static int append(struct lv_stream *s, const uint8_t *data, size_t len)
{
    size_t size = s->size ? s->size : LV_STREAM_SIZE;
    uint8_t *grown;

    if (s->start && s->start + s->len + len > s->size) {
        memmove(s->data, s->data + s->start, s->len);
        s->start = 0;
    }
    while (size < s->len + len)
        size *= 2;
    if (size != s->size) {
        grown = realloc(s->data, size);
        if (!grown)
            return -1;
        s->data = grown;
        s->size = size;
    }
    memcpy(s->data + s->start + s->len, data, len);
    s->len += len;
    return 0;
}

/* Is the last byte that went out the last of a frame?  A header goes out only
 * when it is whole. */
static bool between_frames(const struct lv_stream *s)
{
    return s->num_head < LV_HEADER_SIZE || s->verdict != LV_PASS;
}

static int put_inserted(struct lv_stream *s)
{
    if (!s->inserted.len || !between_frames(s))
        return 0;
    if (append(s, s->inserted.data, s->inserted.len))
        return -1;
    lv_buffer_free(&s->inserted);
    return 0;
}

int lv_stream_insert(struct lv_stream *s, const void *frame, size_t len)
{
    if (s->len + len > LV_BUFFER_MAX)
        return -1;
    lv_put(&s->inserted, frame, len);
    return s->inserted.failed ? -1 : put_inserted(s);
}

bool lv_stream_pending(const struct lv_stream *s)
{
    return s->len > 0;
}

/* A buffer that grew for a large frame of ours is given back. */
static void sent(struct lv_stream *s, size_t len)
{
    s->start += len;
    s->len -= len;
    s->position += len;
    if (s->len)
        return;
    s->start = 0;
    if (s->size > LV_STREAM_SIZE) {
        free(s->data);
        s->data = NULL;
        s->size = 0;
    }
}

/* The byte at the start, with its descriptors, which are then the peer's. */
static ssize_t send_descriptors(struct lv_stream *s, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * LV_MAX_FDS)];
    } control = { 0 };
    struct iovec iov = { .iov_base = s->data + s->start, .iov_len = 1 };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1,
                              .msg_control = &control };
    unsigned int i, num = 0;
    struct cmsghdr *c;
    ssize_t r;

    while (num < s->num_fds && s->fds[num].at == s->position)
        num++;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * num);
    c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * num);
    for (i = 0; i < num; i++)
        memcpy(CMSG_DATA(c) + i * sizeof(int), &s->fds[i].fd, sizeof(int));
    r = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (r <= 0)
        return r;
    for (i = 0; i < num; i++)
        close(s->fds[i].fd);
    s->num_fds -= num;
    memmove(s->fds, s->fds + num, s->num_fds * sizeof(s->fds[0]));
    return r;
}

int lv_stream_write(struct lv_stream *s, int fd)
{
    size_t len;
    ssize_t r;

    while (s->len) {
        if (s->num_fds && s->fds[0].at == s->position) {
            r = send_descriptors(s, fd);
        } else {
            len = s->len;
            if (s->num_fds && s->fds[0].at - s->position < len)
                len = (size_t)(s->fds[0].at - s->position);
            r = send(fd, s->data + s->start, len,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return errno == EAGAIN || errno == ENOBUFS ? 0 : -1;
        sent(s, (size_t)r);
    }
    return 0;
}

/* ---- in ----------------------------------------------------------------- */

void lv_stream_init(struct lv_stream *s, const struct lv_stream_ops *ops,
                    void *user)
{
    *s = (struct lv_stream){ .ops = ops, .user = user };
}

void lv_stream_free(struct lv_stream *s)
{
    unsigned int i;

    for (i = 0; i < s->num_fds; i++)
        close(s->fds[i].fd);
    for (i = 0; i < s->num_rest_fds; i++)
        close(s->rest_fds[i]);
    lv_buffer_free(&s->rest);
    lv_buffer_free(&s->collected);
    lv_buffer_free(&s->inserted);
    free(s->data);
    s->data = NULL;
    s->num_fds = s->num_rest_fds = 0;
}

size_t lv_stream_room(const struct lv_stream *s)
{
    if (s->len >= LV_STREAM_SIZE || s->num_fds || s->paused)
        return 0;
    return LV_STREAM_SIZE - s->len;
}

static bool carries_descriptors(const struct lv_header *h)
{
    return h->type == LV_TYPE_CALL_WITH_FDS ||
           h->type == LV_TYPE_REPLY_WITH_FDS;
}

static const char *begin_frame(struct lv_stream *s)
{
    struct lv_header *h = &s->header;

    lv_read_header(s->head, h);
    s->left = h->length - LV_HEADER_SIZE;
    s->num_count = 0;
    s->verdict = s->ops->judge(s->user, h);
    if (s->verdict == LV_BROKEN)
        return "it was refused";
    if (carries_descriptors(h) && (s->left < 4 || s->verdict != LV_PASS))
        return "a frame with descriptors does not count them";
    if (s->verdict == LV_COLLECT)
        lv_put(&s->collected, s->head, sizeof(s->head));
    else if (s->verdict == LV_PASS && append(s, s->head, sizeof(s->head)))
        return "out of memory";
    return NULL;
}

/* Into the header; the bytes that were used.  A length that is nonsense is
 * seen before the rest is waited for. */
static size_t take_head(struct lv_stream *s, const uint8_t *data, size_t len,
                        const char **why)
{
    size_t used = 0;
    uint32_t length;

    while (used < len && s->num_head < LV_HEADER_SIZE) {
        s->head[s->num_head++] = data[used++];
        if (s->num_head != LV_LENGTH_SIZE)
            continue;
        length = lv_get_u32(s->head);
        if (length < LV_HEADER_SIZE || length > LV_FRAME_MAX) {
            *why = "the length of a frame is not possible";
            return used;
        }
    }
    if (s->num_head == LV_HEADER_SIZE)
        *why = begin_frame(s);
    return used;
}

/* Each descriptor is one more byte after the frame. */
static const char *count_descriptors(struct lv_stream *s, const uint8_t *data,
                                     size_t len)
{
    uint32_t num;

    while (len-- && s->num_count < 4)
        s->head[s->num_count++] = *data++;
    if (s->num_count < 4)
        return NULL;
    s->num_count = 5;               /* once */
    num = lv_get_u32(s->head);
    if (num > LV_MAX_FDS)
        return "a frame has too many descriptors";
    s->left += num;
    return NULL;
}

static const char *end_frame(struct lv_stream *s)
{
    enum lv_verdict verdict = s->verdict;
    struct lv_buffer frame = s->collected;
    int r = 0;

    s->num_head = 0;
    s->collected = (struct lv_buffer){ 0 };
    if (verdict != LV_PASS)
        r = s->ops->frame(s->user, &s->header,
                          verdict == LV_COLLECT ? frame.data : NULL);
    lv_buffer_free(&frame);
    return r || put_inserted(s) ? "it was refused" : NULL;
}

static size_t take_body(struct lv_stream *s, const uint8_t *data, size_t len,
                        const char **why)
{
    if (len > s->left)
        len = (size_t)s->left;
    s->left -= len;
    if (s->verdict == LV_COLLECT)
        lv_put(&s->collected, data, len);
    else if (s->verdict == LV_PASS && append(s, data, len))
        *why = "out of memory";
    if (s->collected.failed)
        *why = "out of memory";
    if (!*why && carries_descriptors(&s->header) && s->num_count < 4)
        *why = count_descriptors(s, data, len);
    return len;
}

static int keep_descriptors(struct lv_stream *s, const int *fds,
                            unsigned int num, bool passed, const char **why_r)
{
    unsigned int i;

    if (passed && s->num_fds + num <= LV_MAX_FDS) {
        for (i = 0; i < num; i++) {
            s->fds[s->num_fds].at = s->position + s->len - 1;
            s->fds[s->num_fds++].fd = fds[i];
        }
        return 0;
    }
    for (i = 0; i < num; i++)
        close(fds[i]);
    if (num)
        *why_r = "descriptors came where none can be";
    return num ? -1 : 0;
}

static int keep_rest(struct lv_stream *s, const uint8_t *data, size_t len,
                     const int *fds, unsigned int num, const char **why_r)
{
    unsigned int i;

    for (i = 0; i < num; i++)
        s->rest_fds[i] = fds[i];
    s->num_rest_fds = num;
    lv_put(&s->rest, data, len);
    if (s->rest.failed)
        *why_r = "out of memory";
    return s->rest.failed ? -1 : 0;
}

int lv_stream_feed(struct lv_stream *s, const uint8_t *data, size_t len,
                   const int *fds, unsigned int num_fds, const char **why_r)
{
    const char *why = NULL;
    bool passed = false;
    size_t used;

    while (len && !why && !s->paused) {
        passed = false;
        if (s->num_head < LV_HEADER_SIZE) {
            used = take_head(s, data, len, &why);
        } else {
            used = take_body(s, data, len, &why);
            passed = s->verdict == LV_PASS;
        }
        data += used;
        len -= used;
        if (num_fds && !len && !why) {
            if (keep_descriptors(s, fds, num_fds, passed, &why))
                return *why_r = why, -1;
            num_fds = 0;
        }
        if (!why && s->num_head == LV_HEADER_SIZE && !s->left)
            why = end_frame(s);
    }
    if (!why && len)
        return keep_rest(s, data, len, fds, num_fds, why_r);
    keep_descriptors(s, fds, num_fds, false, &why);
    if (why)
        *why_r = why;
    return why ? -1 : 0;
}

int lv_stream_resume(struct lv_stream *s, const char **why_r)
{
    struct lv_buffer rest = s->rest;
    unsigned int num = s->num_rest_fds;
    int fds[LV_MAX_FDS], r;

    s->paused = false;
    s->rest = (struct lv_buffer){ 0 };
    s->num_rest_fds = 0;
    memcpy(fds, s->rest_fds, num * sizeof(*fds));
    r = lv_stream_feed(s, rest.data, rest.len, fds, num, why_r);
    lv_buffer_free(&rest);
    return r;
}

/* The descriptors of a message: at most LV_MAX_FDS, because there is no room
 * for more, and the kernel closes those. */
static unsigned int received(struct msghdr *message, int *fds)
{
    struct cmsghdr *c;
    unsigned int num = 0;
    size_t len;

    for (c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        len = c->cmsg_len - CMSG_LEN(0);
        memcpy(fds, CMSG_DATA(c), len);
        num = (unsigned int)(len / sizeof(int));
    }
    return num;
}

int lv_stream_read(struct lv_stream *s, int fd, const char **why_r)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * LV_MAX_FDS)];
    } control;
    uint8_t bytes[LV_STREAM_SIZE];
    struct iovec iov = { .iov_base = bytes, .iov_len = lv_stream_room(s) };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = sizeof(control) };
    int fds[LV_MAX_FDS];
    unsigned int num;
    ssize_t r;

    if (!iov.iov_len)
        return 0;
    r = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (r < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (r <= 0) {
        *why_r = r ? strerror(errno) : NULL;
        return -1;
    }
    num = received(&message, fds);
    if (lv_stream_feed(s, bytes, (size_t)r, fds, num, why_r))
        return -1;
    return 1;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One direction of a connection.  Bytes come in, are cut into libvirt's
 * frames, and each frame is either passed on as it arrives, byte for byte, or
 * collected whole for a closer look.  Descriptors stay at the byte that they
 * came with.  Frames of our own are put in between two others.
 *
 * Memory is bounded: a frame that passes is never held as a whole, and nobody
 * reads from a peer while LV_STREAM_SIZE bytes wait for the other one.
 */
#ifndef LV_STREAM_H
#define LV_STREAM_H

#include "xdr.h"

#define LV_LENGTH_SIZE 4u
#define LV_HEADER_SIZE (LV_LENGTH_SIZE + 24u)
#define LV_FRAME_MAX (33554432u + LV_LENGTH_SIZE)
#define LV_MAX_FDS 32u

#define LV_PROGRAM 0x20008086u          /* libvirt's "remote" program */
#define LV_PROGRAM_VERSION 1u

enum lv_frame_type {
    LV_TYPE_CALL, LV_TYPE_REPLY, LV_TYPE_MESSAGE, LV_TYPE_STREAM,
    LV_TYPE_CALL_WITH_FDS, LV_TYPE_REPLY_WITH_FDS,
};
enum lv_status { LV_STATUS_OK, LV_STATUS_ERROR };

struct lv_header {
    uint32_t length;                    /* of the frame, itself included */
    uint32_t program, version;
    int32_t procedure;
    uint32_t type, serial, status;
};

void lv_read_header(const uint8_t bytes[LV_HEADER_SIZE],
                    struct lv_header *header_r);
/* A frame with that header and payload; header->length is not read. */
void lv_put_frame(struct lv_buffer *out, const struct lv_header *header,
                  const void *payload, size_t len);

#define LV_STREAM_SIZE 65536u

/* The fate of a frame. */
enum lv_verdict {
    LV_PASS,
    LV_COLLECT,                 /* frame() gets all of it */
    LV_SKIP,                    /* its bytes are dropped; frame() gets none */
    LV_BROKEN,                  /* the connection is to be closed */
};

struct lv_stream;
struct lv_stream_ops {
    enum lv_verdict (*judge)(void *user, const struct lv_header *header);
    /* A frame that was collected, with its header, or, with NULL, the end of
     * one that was skipped.  non-zero: the connection is to be closed. */
    int (*frame)(void *user, const struct lv_header *header,
                 const uint8_t *frame);
};

struct lv_stream {
    const struct lv_stream_ops *ops;
    void *user;

    /* the frame that comes in */
    uint8_t head[LV_HEADER_SIZE];
    size_t num_head;
    struct lv_header header;
    enum lv_verdict verdict;
    uint64_t left;              /* bytes of it that are to come */
    size_t num_count;           /* of those that count its descriptors */
    struct lv_buffer collected;
    /* Set by ops->frame(): no frame is looked at until lv_stream_resume(), and
     * what was read behind that one is kept here. */
    bool paused;
    struct lv_buffer rest;
    int rest_fds[LV_MAX_FDS];           /* of its last byte */
    unsigned int num_rest_fds;

    /* what goes out */
    uint8_t *data;
    size_t start, len, size;
    uint64_t position;          /* of data[start], since the beginning */
    struct { uint64_t at; int fd; } fds[LV_MAX_FDS];
    unsigned int num_fds;
    /* frames of ours, to be sent after the one that is passing */
    struct lv_buffer inserted;
};

void lv_stream_init(struct lv_stream *s, const struct lv_stream_ops *ops,
                    void *user);
void lv_stream_free(struct lv_stream *s);

/* How many bytes may be read from the peer now. */
size_t lv_stream_room(const struct lv_stream *s);
/* Reads at most that many of them: 1 when there were some, 0 when there are
 * none, -1 when the peer has gone or sent nonsense, which *why_r says. */
int lv_stream_read(struct lv_stream *s, int fd, const char **why_r);
/* The part of it without the socket; fds are at the last byte, and are closed
 * when that is not passed on. */
int lv_stream_feed(struct lv_stream *s, const uint8_t *data, size_t len,
                   const int *fds, unsigned int num_fds, const char **why_r);
/* Goes on after a pause with what was read; as lv_stream_read(). */
int lv_stream_resume(struct lv_stream *s, const char **why_r);
/* Sends what it can; -1 when the peer has gone. */
int lv_stream_write(struct lv_stream *s, int fd);
bool lv_stream_pending(const struct lv_stream *s);
/* A whole frame of ours; -1 when memory is short or LV_BUFFER_MAX bytes wait
 * already. */
int lv_stream_insert(struct lv_stream *s, const void *frame, size_t len);

#endif

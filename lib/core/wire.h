/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON objects over a UNIX socket, with a deadline on every wait and a bound
 * on every buffer: what QEMU's monitor and its guest agent have in common.
 * The peer is not trusted.  Deadlines are values of xlx__now_ms().
 */
#ifndef XLX_WIRE_H
#define XLX_WIRE_H

#include "core/internal.h"

struct xlx__wire {
    int fd;                         /* non-blocking; -1 when closed */
    char *peer;                     /* for messages: the socket's path */
    struct xlx__json_limits limits; /* of one object */

    /* buf[0, taken) was handed out, buf[taken, scanned) has been looked at,
     * buf[scanned, len) not yet; size is what is allocated. */
    char *buf;
    size_t taken, scanned, len, size;
    unsigned int depth;             /* at scanned */
    bool in_string, escaped;        /* at scanned */

    size_t bytes_sent, bytes_received;
};
#define XLX__WIRE_CLOSED { .fd = -1 }

/* Never waits: a UNIX socket connects at once or says that its queue of
 * clients is full.  ERROR_NOTFOUND when nobody listens there,
 * ERROR_NOT_READY when the queue is full. */
int xlx__wire_connect(const char *path, const struct xlx__json_limits *limits,
                      struct xlx__wire *w);
/* Takes over fd, a connected socket, in any case. */
int xlx__wire_adopt(int fd, const char *peer,
                    const struct xlx__json_limits *limits,
                    struct xlx__wire *w);
void xlx__wire_close(struct xlx__wire *w);      /* no-op when closed */

int xlx__wire_send(struct xlx__wire *w, int64_t deadline,
                   const char *text, size_t len);
/* The next object, whole.  ERROR_TIMEDOUT after the deadline,
 * ERROR_PROTOCOL_ERROR_QMP for anything but a JSON object within the limits,
 * ERROR_FAIL when the peer has gone.  After any error the position in the
 * stream is lost: close. */
int xlx__wire_receive(struct xlx__wire *w, int64_t deadline,
                      struct xlx__json_doc **doc_r);
/* Drops everything up to and including a byte of that value. */
int xlx__wire_skip_past(struct xlx__wire *w, int64_t deadline,
                        unsigned char byte);

#endif

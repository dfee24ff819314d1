/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON objects over a UNIX socket.  Where an object ends is found by counting
 * brackets outside of strings, so it does not matter how the peer breaks its
 * lines, and what cannot be JSON is refused at its first byte.  Each byte is
 * looked at once, however small the pieces that it comes in.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/wire.h"

#define WIRE_FIRST_SIZE 4096

int xlx__wire_adopt(int fd, const char *peer,
                    const struct xlx__json_limits *limits,
                    struct xlx__wire *w)
{
    struct xlx__wire fresh = XLX__WIRE_CLOSED;
    int rc;

    rc = xlx__set_string(&fresh.peer, peer);
    if (rc) {
        close(fd);
        return rc;
    }
    fresh.fd = fd;
    fresh.limits = *limits;
    *w = fresh;
    return 0;
}

static int connect_error(const char *path, int errnoval)
{
    switch (errnoval) {
    case EAGAIN:
        return xlx__error(ERROR_NOT_READY,
                          "\"%s\": other clients wait for it already; "
                          "try again when they are done", path);
    case ENOENT:
    case ECONNREFUSED:
        return xlx__error(ERROR_NOTFOUND, "\"%s\": nobody listens there: %s",
                          path, strerror(errnoval));
    default:
        return xlx__error(xlx__errno_rc(errnoval), "\"%s\": connect: %s",
                          path, strerror(errnoval));
    }
}

int xlx__wire_connect(const char *path, const struct xlx__json_limits *limits,
                      struct xlx__wire *w)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    size_t len = strlen(path);
    int fd;

    if (!len || len >= sizeof(addr.sun_path))
        return xlx__error(ERROR_INVAL,
                          "\"%s\": the path of a socket has 1 to %zu bytes",
                          path, sizeof(addr.sun_path) - 1);
    memcpy(addr.sun_path, path, len);

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return xlx__error(xlx__errno_rc(errno), "socket: %s",
                          strerror(errno));
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
        int errnoval = errno;

        close(fd);
        return connect_error(path, errnoval);
    }
    return xlx__wire_adopt(fd, path, limits, w);
}

void xlx__wire_close(struct xlx__wire *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    free(w->peer);
    w->peer = NULL;
    free(w->buf);
    w->buf = NULL;
    w->taken = w->scanned = w->len = w->size = 0;
}

static int closed_by_peer(const struct xlx__wire *w)
{
    return xlx__error(ERROR_FAIL, "\"%s\": the connection was closed by the "
                      "other side", w->peer);
}

/* The deadline holds for the caller's whole wait, so it is looked at even
 * when the descriptor is ready: a peer that never stops must not keep us. */
static int wait_ready(const struct xlx__wire *w, short events,
                      int64_t deadline)
{
    struct pollfd pfd = { .fd = w->fd, .events = events };
    int64_t left;
    int r;

    do {
        left = deadline - xlx__now_ms();
        if (left <= 0)
            return xlx__error(ERROR_TIMEDOUT, "\"%s\": no answer in time",
                              w->peer);
        r = poll(&pfd, 1, left < 1000000 ? (int)left : 1000000);
    } while (r == 0 || (r < 0 && errno == EINTR));
    if (r < 0)
        return xlx__error(xlx__errno_rc(errno), "\"%s\": poll: %s", w->peer,
                          strerror(errno));
    return 0;
}

int xlx__wire_send(struct xlx__wire *w, int64_t deadline,
                   const char *text, size_t len)
{
    ssize_t r;
    int rc;

    while (len) {
        rc = wait_ready(w, POLLOUT, deadline);
        if (rc) return rc;
        /* A peer that has gone must not kill our caller. */
        r = send(w->fd, text, len, MSG_NOSIGNAL);
        if (r >= 0) {
            text += r;
            len -= r;
            w->bytes_sent += r;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return closed_by_peer(w);
        } else if (errno != EAGAIN && errno != EINTR) {
            return xlx__error(xlx__errno_rc(errno), "\"%s\": send: %s",
                              w->peer, strerror(errno));
        }
    }
    return 0;
}

/* Moves what is not yet handed out to the front; doubles the buffer when that
 * leaves it full.  It never exceeds twice the limit of one object. */
static int make_room(struct xlx__wire *w)
{
    size_t size = w->size ? w->size : WIRE_FIRST_SIZE;
    char *buf;

    if (w->taken) {
        memmove(w->buf, w->buf + w->taken, w->len - w->taken);
        w->len -= w->taken;
        w->scanned -= w->taken;
        w->taken = 0;
    }
    if (w->len == size)
        size *= 2;
    if (size != w->size) {
        buf = realloc(w->buf, size);
        if (!buf)
            return xlx__error(ERROR_NOMEM, "\"%s\": no memory for %zu bytes",
                              w->peer, size);
        w->buf = buf;
        w->size = size;
    }
    return 0;
}

/* Adds at least one byte to the buffer. */
static int receive_some(struct xlx__wire *w, int64_t deadline)
{
    ssize_t r;
    int rc;

    rc = make_room(w);
    if (rc) return rc;
    do {
        rc = wait_ready(w, POLLIN, deadline);
        if (rc) return rc;
        r = recv(w->fd, w->buf + w->len, w->size - w->len, 0);
    } while (r < 0 && (errno == EAGAIN || errno == EINTR));

    if (r == 0 || (r < 0 && errno == ECONNRESET))
        return closed_by_peer(w);
    if (r < 0)
        return xlx__error(xlx__errno_rc(errno), "\"%s\": recv: %s", w->peer,
                          strerror(errno));
    w->len += r;
    w->bytes_received += r;
    return 0;
}

/* Goes on to the end of the object, or of what has come.  Whether it is well
 * formed inside is for the JSON reader to say. */
static bool scan_object(struct xlx__wire *w)
{
    for (; w->scanned < w->len; w->scanned++) {
        char c = w->buf[w->scanned];

        if (w->in_string) {
            if (w->escaped)
                w->escaped = false;
            else if (c == '\\')
                w->escaped = true;
            else if (c == '"')
                w->in_string = false;
        } else if (c == '"') {
            w->in_string = true;
        } else if (c == '{' || c == '[') {
            if (++w->depth > w->limits.depth)
                return false;
        } else if (c == '}' || c == ']') {
            if (!--w->depth) {
                w->scanned++;
                return true;
            }
        }
    }
    return false;
}

/* Between objects: white space of any amount, then a brace. */
static int scan_start(struct xlx__wire *w)
{
    while (w->taken < w->len && strchr(" \t\r\n", w->buf[w->taken])
           && w->buf[w->taken])
        w->taken++;
    w->scanned = w->taken;
    if (w->taken < w->len && w->buf[w->taken] != '{')
        return xlx__error(ERROR_PROTOCOL_ERROR_QMP,
                          "\"%s\": got something other than a JSON object",
                          w->peer);
    return 0;
}

int xlx__wire_receive(struct xlx__wire *w, int64_t deadline,
                      struct xlx__json_doc **doc_r)
{
    int rc;

    w->depth = 0;
    w->in_string = w->escaped = false;
    w->scanned = w->taken;
    for (;;) {
        if (!w->depth) {
            rc = scan_start(w);
            if (rc) return rc;
        }
        if (scan_object(w))
            break;
        if (w->depth > w->limits.depth)
            return xlx__error(ERROR_PROTOCOL_ERROR_QMP,
                              "\"%s\": got JSON nested deeper than %u",
                              w->peer, w->limits.depth);
        if (w->len - w->taken > w->limits.bytes)
            return xlx__error(ERROR_PROTOCOL_ERROR_QMP,
                              "\"%s\": got an object of more than %zu bytes",
                              w->peer, w->limits.bytes);
        rc = receive_some(w, deadline);
        if (rc) return rc;
    }

    rc = xlx__json_parse(w->peer, w->buf + w->taken, w->scanned - w->taken,
                         &w->limits, doc_r);
    w->taken = w->scanned;
    return rc == ERROR_INVAL ? ERROR_PROTOCOL_ERROR_QMP : rc;
}

int xlx__wire_skip_past(struct xlx__wire *w, int64_t deadline,
                        unsigned char byte)
{
    const char *found;
    int rc;

    for (;;) {
        found = w->len == w->taken ? NULL
                : memchr(w->buf + w->taken, byte, w->len - w->taken);
        if (found) {
            w->taken = w->scanned = found - w->buf + 1;
            return 0;
        }
        w->taken = w->scanned = w->len;
        rc = receive_some(w, deadline);
        if (rc) return rc;
    }
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Questions to libvirtd, one at a time, over a connection of the worker's own.
 * It is made to the socket that the client's calls go to: over the read-only
 * one libvirtd changes nothing for us either.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "worker.h"

/* libvirtd answers within that time, or the call fails. */
#define ANSWER_MS 60000

static int lost(struct lv_worker *w, const char *why)
{
    return lv_fail(w, LV_RPC, LV_FROM_RPC, "libvirtd at %s: %s",
                   w->call->backend, why);
}

static int send_all(struct lv_worker *w, const struct lv_buffer *out)
{
    size_t done = 0;
    ssize_t r;

    while (done < out->len) {
        r = send(w->back, out->data + done, out->len - done, MSG_NOSIGNAL);
        if (r < 0 && errno != EINTR)
            return lost(w, strerror(errno));
        done += r > 0 ? (size_t)r : 0;
    }
    return 0;
}

static int receive(struct lv_worker *w, uint8_t *data, size_t len,
                   int64_t deadline)
{
    struct pollfd p = { .fd = w->back, .events = POLLIN };
    int64_t left;
    size_t done = 0;
    ssize_t r;

    while (done < len) {
        left = deadline - lv_now_ms();
        if (left <= 0 || poll(&p, 1, (int)left) == 0)
            return lost(w, "it does not answer");
        r = recv(w->back, data + done, len - done, MSG_DONTWAIT);
        if (r == 0)
            return lost(w, "it has closed the connection");
        if (r < 0 && errno != EAGAIN && errno != EINTR)
            return lost(w, strerror(errno));
        done += r > 0 ? (size_t)r : 0;
    }
    return 0;
}

/* The reply to our call; messages of other kinds (keepalive, events) are not
 * for us, who never asked for any. */
static int receive_reply(struct lv_worker *w, struct lv_header *h,
                         struct lv_buffer *payload)
{
    int64_t deadline = lv_now_ms() + ANSWER_MS;
    uint8_t head[LV_HEADER_SIZE];

    do {
        if (receive(w, head, sizeof(head), deadline))
            return -1;
        lv_read_header(head, h);
        if (h->length < LV_HEADER_SIZE || h->length > LV_FRAME_MAX)
            return lost(w, "it sends no frames of libvirt's protocol");
        payload->len = h->length - LV_HEADER_SIZE;
        free(payload->data);
        payload->data = malloc(payload->len + 1);
        if (!payload->data)
            return lv_no_memory(w);
        if (receive(w, payload->data, payload->len, deadline))
            return -1;
    } while (h->type != LV_TYPE_REPLY || h->serial != w->back_serial);
    return 0;
}

/* An error of libvirtd's is the client's, as it is. */
static int pass_error(struct lv_worker *w, const struct lv_buffer *payload)
{
    struct lv_error error;
    const char *why;

    if (lv_decode(&lv_error_type, payload->data, payload->len, &error,
                  &why) < 0)
        return lost(w, why);
    w->code = (enum lv_code)error.code;
    w->from = (enum lv_from)error.domain;
    w->text[0] = '\0';
    strncat(w->text, error.message ? error.message : "unknown error",
            sizeof(w->text) - 1);
    lv_free(&lv_error_type, &error);
    return -1;
}

static const struct lv_call *find(enum lv_number number)
{
    unsigned int i;

    for (i = 0; i < LV_NUM_CALLS; i++)
        if (lv_calls[i].number == (int32_t)number)
            return &lv_calls[i];
    return NULL;
}

static int call_backend(struct lv_worker *w, enum lv_number number,
                        const void *args, void *ret)
{
    const struct lv_call *call = find(number);
    struct lv_header h = {
        .program = LV_PROGRAM, .version = LV_PROGRAM_VERSION,
        .procedure = (int32_t)number, .type = LV_TYPE_CALL,
        .serial = ++w->back_serial,
    };
    struct lv_buffer payload = { 0 }, out = { 0 };
    const char *why;
    int r = -1;

    if (call->args)
        lv_encode(call->args, args, &payload);
    lv_put_frame(&out, &h, payload.data, payload.len);
    if (payload.failed || out.failed) {
        lost(w, "the call is longer than libvirt's protocol allows");
        goto out;
    }
    lv_buffer_free(&payload);
    if (send_all(w, &out) || receive_reply(w, &h, &payload))
        goto out;
    if (h.status != LV_STATUS_OK)
        r = pass_error(w, &payload);
    else if (call->ret && ret &&
             lv_decode(call->ret, payload.data, payload.len, ret, &why) < 0)
        r = lost(w, why);
    else
        r = 0;

 out:
    lv_buffer_free(&payload);
    lv_buffer_free(&out);
    return r;
}

static int open_backend(struct lv_worker *w)
{
    struct lv_connect_open_args args = {
        .name = (char *)(uintptr_t)(w->call->open_uri ? w->call->open_uri
                                                       : "xen:///system"),
        .flags = w->call->read_only,
    };
    struct sockaddr_un name = { .sun_family = AF_UNIX };

    w->back = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strncpy(name.sun_path, w->call->backend, sizeof(name.sun_path) - 1);
    if (w->back < 0 ||
        connect(w->back, (struct sockaddr *)&name, sizeof(name)))
        return lost(w, strerror(errno));
    if (call_backend(w, LV_AUTH_LIST, NULL, NULL))
        return -1;
    return call_backend(w, LV_CONNECT_OPEN, &args, NULL);
}

int lv_back_call(struct lv_worker *w, enum lv_number number, const void *args,
                 void *ret)
{
    if (w->back < 0 && open_backend(w)) {
        lv_back_close(w);
        return -1;
    }
    return call_backend(w, number, args, ret);
}

void lv_back_close(struct lv_worker *w)
{
    if (w->back >= 0)
        close(w->back);
    w->back = -1;
}

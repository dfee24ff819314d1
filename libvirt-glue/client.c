/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One client, its connection to libvirtd, and which calls of its are ours.
 *
 * libvirtd takes the relay for root and lets it do everything.  So the relay
 * must be as strict as libvirtd is: a client of the read-only socket is
 * connected with libvirtd's read-only socket and gets no call of ours that
 * changes anything; nothing of ours is answered before libvirtd has opened the
 * connection; and then, before the client gets to know that it is open,
 * libvirtd is told who the client is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "relay.h"

/* ---- libvirtd ----------------------------------------------------------- */

static void no_backend(struct lv_client *c, const char *why)
{
    lv_say("%s: %s; a client was turned away",
           c->relay->backend[c->read_only], why);
    c->phase = LV_NO_BACKEND;
    c->why = why;
}

/* A UNIX socket connects at once, or its queue is full. */
static void connect_backend(struct lv_client *c)
{
    const char *path = c->relay->backend[c->read_only];
    struct sockaddr_un name = { .sun_family = AF_UNIX };

    if (c->backend < 0)
        c->backend = socket(AF_UNIX,
                            SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->backend < 0) {
        no_backend(c, strerror(errno));
        return;
    }
    strncpy(name.sun_path, path, sizeof(name.sun_path) - 1);
    if (!connect(c->backend, (struct sockaddr *)&name, sizeof(name)))
        c->phase = LV_CLOSED;
    else if (errno != EAGAIN && errno != EINTR)
        no_backend(c, strerror(errno));
    else if (lv_now_ms() >= c->deadline)
        no_backend(c, "it is too busy to take a connection");
}

/* ---- calls of the client's ---------------------------------------------- */

static const struct lv_call *find_call(int32_t number)
{
    unsigned int i;

    for (i = 0; i < LV_NUM_CALLS; i++)
        if (lv_calls[i].number == number)
            return &lv_calls[i];
    return NULL;
}

static const struct lv_call *find_ours(const struct lv_client *c,
                                       const struct lv_header *h)
{
    const struct lv_call *call;

    if (c->phase != LV_OPEN || !c->xen || !c->relay->answer ||
        h->program != LV_PROGRAM || h->version != LV_PROGRAM_VERSION ||
        h->type != LV_TYPE_CALL)
        return NULL;
    call = find_call(h->procedure);
    return call && call->answer ? call : NULL;
}

static bool is_call(const struct lv_header *h, int32_t procedure)
{
    return h->program == LV_PROGRAM && h->version == LV_PROGRAM_VERSION &&
           h->type == LV_TYPE_CALL && h->procedure == procedure;
}

static bool wants_events(const struct lv_client *c, const struct lv_header *h)
{
    return c->phase == LV_OPEN && c->xen && c->relay->answer &&
           lv_event_concerns_call(h);
}

static enum lv_verdict judge_up(void *user, const struct lv_header *h)
{
    struct lv_client *c = user;
    uint32_t most = c->read_only ? LV_ARGS_MAX_READ : LV_ARGS_MAX;

    if (c->phase == LV_NO_BACKEND)
        return LV_SKIP;
    if (c->phase == LV_OPEN && is_call(h, LV_CONNECT_CLOSE))
        c->phase = LV_CLOSED;
    if (!find_ours(c, h) && !wants_events(c, h) &&
        (c->phase != LV_CLOSED || !is_call(h, LV_CONNECT_OPEN)))
        return LV_PASS;
    return h->length <= most ? LV_COLLECT : LV_SKIP;
}

static int reply_error(struct lv_client *c, const struct lv_header *call,
                       enum lv_code code, const char *text)
{
    struct lv_buffer out = { 0 };
    int r;

    lv_put_error(&out, call, code, LV_FROM_RPC, text);
    r = out.failed ? -1 : lv_stream_insert(&c->down, out.data, out.len);
    lv_buffer_free(&out);
    return r;
}

/* Passed on, but for the URI when the relay opens another. */
static int open_call(struct lv_client *c, const struct lv_header *h,
                     const uint8_t *frame)
{
    struct lv_connect_open_args args;
    struct lv_buffer payload = { 0 }, out = { 0 };
    const char *why;
    int r = -1;

    if (lv_decode(&lv_connect_open_args_type, frame + LV_HEADER_SIZE,
                  h->length - LV_HEADER_SIZE, &args, &why) < 0)
        return lv_stream_insert(&c->up, frame, h->length);
    c->xen = args.name && !strncmp(args.name, "xen:", 4);
    c->read_only |= args.flags & 1;
    c->phase = LV_OPENING;
    c->up.paused = true;
    c->open_serial = h->serial;
    if (!c->xen || !c->relay->open_uri) {
        r = lv_stream_insert(&c->up, frame, h->length);
        goto out;
    }
    free(args.name);
    args.name = strdup(c->relay->open_uri);
    lv_encode(&lv_connect_open_args_type, &args, &payload);
    lv_put_frame(&out, h, payload.data, payload.len);
    if (args.name && !payload.failed && !out.failed)
        r = lv_stream_insert(&c->up, out.data, out.len);

 out:
    lv_free(&lv_connect_open_args_type, &args);
    lv_buffer_free(&payload);
    lv_buffer_free(&out);
    return r;
}

/* A client that does not read its replies gets no more of them, and clients
 * that may only read, who may be anybody, leave room for the others. */
bool lv_client_may_start(const struct lv_client *c)
{
    unsigned int most = c->read_only ? LV_MAX_WORKERS / 2 : LV_MAX_WORKERS;

    return c->in_flight < LV_MAX_IN_FLIGHT && c->relay->num_calls < most &&
           lv_stream_room(&c->down);
}

static int start_call(struct lv_client *c, const uint8_t *frame)
{
    struct lv_header h;

    lv_read_header(frame, &h);
    if (lv_relay_answer(c, find_call(h.procedure), &h, frame + LV_HEADER_SIZE,
                        h.length - LV_HEADER_SIZE))
        return 0;
    return reply_error(c, &h, LV_RESOURCE_BUSY, "xlxvirtd cannot start a "
                       "process for the call; try again");
}

/* The call that had to wait, if it need not any more, and what the client sent
 * behind it. */
static int start_held(struct lv_client *c, const char **why_r)
{
    struct lv_buffer held = c->held;
    int r;

    if (!held.len || !lv_client_may_start(c))
        return 0;
    c->held = (struct lv_buffer){ 0 };
    r = start_call(c, held.data);
    lv_buffer_free(&held);
    return r ? r : lv_stream_resume(&c->up, why_r);
}

static int frame_up(void *user, const struct lv_header *h,
                    const uint8_t *frame)
{
    struct lv_client *c = user;
    const struct lv_call *call;
    char text[300];

    if (c->phase == LV_NO_BACKEND) {
        snprintf(text, sizeof(text), "xlxvirtd cannot reach libvirtd at %s: "
                 "%s", c->relay->backend[c->read_only], c->why);
        c->closing = true;
        return reply_error(c, h, LV_SYSTEM_ERROR, text);
    }
    if (!frame)
        return reply_error(c, h, LV_RPC, "the arguments are too long");
    if (is_call(h, LV_CONNECT_OPEN) && c->phase == LV_CLOSED)
        return open_call(c, h, frame);
    if (wants_events(c, h)) {
        lv_event_called(c, h, frame);
        return lv_stream_insert(&c->up, frame, h->length);
    }
    call = find_ours(c, h);
    if (!call)
        return -1;
    if (call->write && c->read_only) {
        snprintf(text, sizeof(text), "operation forbidden: read only access "
                 "prevents %s", call->api);
        return reply_error(c, h, LV_OPERATION_DENIED, text);
    }
    if (lv_client_may_start(c))
        return start_call(c, frame);
    lv_put(&c->held, frame, h->length);
    c->up.paused = true;
    return c->held.failed ? -1 : 0;
}

/* ---- replies of libvirtd's ---------------------------------------------- */

static bool is_reply(const struct lv_header *h, int32_t procedure,
                     uint32_t serial)
{
    return h->program == LV_PROGRAM && h->type == LV_TYPE_REPLY &&
           h->procedure == procedure && h->serial == serial;
}

static enum lv_verdict judge_down(void *user, const struct lv_header *h)
{
    struct lv_client *c = user;

    if (c->phase == LV_OPENING && is_reply(h, LV_CONNECT_OPEN, c->open_serial))
        return LV_COLLECT;
    if (c->phase == LV_IDENTIFYING &&
        is_reply(h, LV_CONNECT_SET_IDENTITY, c->identity_serial))
        return LV_COLLECT;
    return lv_event_awaits(c, h) ? LV_COLLECT : LV_PASS;
}

/* The serial is a number that the client cannot know, so that no reply to a
 * call of its own is taken for ours. */
static int identify(struct lv_client *c, const uint8_t *reply, uint32_t len)
{
    struct lv_buffer out = { 0 };
    int r = -1;

    if (getrandom(&c->identity_serial, sizeof(c->identity_serial), 0) !=
        sizeof(c->identity_serial))
        return -1;
    lv_put(&c->open_reply, reply, len);
    lv_put_identity(&out, &c->peer, c->identity_serial);
    if (!out.failed && !c->open_reply.failed)
        r = lv_stream_insert(&c->up, out.data, out.len);
    lv_buffer_free(&out);
    c->phase = LV_IDENTIFYING;
    return r;
}

static int frame_down(void *user, const struct lv_header *h,
                      const uint8_t *frame)
{
    struct lv_client *c = user;
    int r;

    if (!frame)
        return -1;
    if (c->phase == LV_OPEN) {
        lv_event_replied(c, h, frame);
        return lv_stream_insert(&c->down, frame, h->length);
    }
    if (c->phase == LV_OPENING) {
        if (h->status == LV_STATUS_OK)
            return identify(c, frame, h->length);
        c->phase = LV_CLOSED;           /* it may try another one */
        c->resume = true;
        return lv_stream_insert(&c->down, frame, h->length);
    }
    if (h->status != LV_STATUS_OK) {
        lv_say("libvirtd does not take the identity of a client (uid %ld), "
               "which is turned away", (long)c->peer.uid);
        return -1;
    }
    c->phase = LV_OPEN;
    c->resume = true;
    r = lv_stream_insert(&c->down, c->open_reply.data, c->open_reply.len);
    lv_buffer_free(&c->open_reply);
    return r;
}

/* ---- the connection ----------------------------------------------------- */

static const struct lv_stream_ops up_ops = { judge_up, frame_up };
static const struct lv_stream_ops down_ops = { judge_down, frame_down };

struct lv_client *lv_client_new(struct lv_relay *relay, int fd, bool read_only)
{
    struct lv_client *c = calloc(1, sizeof(*c));
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (!c || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len)) {
        free(c);
        close(fd);
        return NULL;
    }
    c->relay = relay;
    c->fd = fd;
    c->backend = -1;
    c->read_only = read_only;
    c->peer = (struct lv_peer){ cred.pid, cred.uid, cred.gid };
    c->phase = LV_CONNECTING;
    c->deadline = lv_now_ms() + LV_CONNECT_MS;
    lv_stream_init(&c->up, &up_ops, c);
    lv_stream_init(&c->down, &down_ops, c);
    connect_backend(c);
    return c;
}

void lv_client_free(struct lv_client *c)
{
    close(c->fd);
    if (c->backend >= 0)
        close(c->backend);
    lv_stream_free(&c->up);
    lv_stream_free(&c->down);
    lv_buffer_free(&c->open_reply);
    lv_buffer_free(&c->held);
    free(c);
}

static bool may_read_client(const struct lv_client *c)
{
    return c->phase != LV_CONNECTING && !c->closing && lv_stream_room(&c->up);
}

void lv_client_wants(struct lv_client *c, short *client_r, short *backend_r)
{
    *client_r = *backend_r = 0;
    if (may_read_client(c))
        *client_r |= POLLIN;
    if (lv_stream_pending(&c->down))
        *client_r |= POLLOUT;
    if (c->phase == LV_CONNECTING || c->phase == LV_NO_BACKEND)
        return;
    if (lv_stream_room(&c->down))
        *backend_r |= POLLIN;
    if (lv_stream_pending(&c->up))
        *backend_r |= POLLOUT;
}

/* Behind an OPEN the client waits until libvirtd knows who it is, so that none
 * of its calls comes before that; then it goes on. */
static int go_on(struct lv_client *c, const char **why_r)
{
    if (c->resume) {
        c->resume = false;
        if (lv_stream_resume(&c->up, why_r))
            return -1;
    }
    return start_held(c, why_r);
}

static int serve_client(struct lv_client *c, short events)
{
    const char *why = NULL;
    int r = 0;

    if (events && may_read_client(c))
        r = lv_stream_read(&c->up, c->fd, &why);
    if (r >= 0)
        r = go_on(c, &why);
    if (r < 0 && why)
        lv_say("a client (uid %ld, process %ld) is turned away: %s",
               (long)c->peer.uid, (long)c->peer.pid, why);
    return r;
}

/* The client gets all that libvirtd sent before it closed. */
static void lose_backend(struct lv_client *c, const char *why)
{
    if (why)
        lv_say("a connection to libvirtd is closed: %s", why);
    close(c->backend);
    c->backend = -1;
    c->phase = LV_NO_BACKEND;
    c->why = "it has closed the connection";
    c->closing = true;
}

void lv_client_serve(struct lv_client *c, short client_events,
                     short backend_events)
{
    const char *why = NULL;
    int r;

    if (c->phase == LV_CONNECTING) {
        connect_backend(c);
        c->dead = (client_events & (POLLHUP | POLLERR)) != 0;
        return;
    }
    if (backend_events && c->backend >= 0 &&
        lv_stream_read(&c->down, c->backend, &why) < 0)
        lose_backend(c, why);
    r = serve_client(c, client_events);
    if (c->backend >= 0 && lv_stream_write(&c->up, c->backend) < 0 && r >= 0)
        lose_backend(c, NULL);
    if (lv_stream_write(&c->down, c->fd) < 0)
        r = -1;
    c->dead = r < 0 || (c->closing && !lv_stream_pending(&c->down));
}

void lv_client_reply(struct lv_client *c, const void *frame, size_t len)
{
    if (lv_stream_insert(&c->down, frame, len) ||
        lv_stream_write(&c->down, c->fd) < 0)
        c->dead = true;
}

void lv_client_pass(struct lv_client *c, const void *frame, size_t len)
{
    if (c->backend < 0)
        return;                         /* the client is told already */
    if (lv_stream_insert(&c->up, frame, len))
        c->dead = true;
    else if (lv_stream_write(&c->up, c->backend) < 0)
        lose_backend(c, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The loop: poll(2) over the listening sockets, both ends of each client, and
 * the replies of the processes that answer.  It never waits for anything else.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "relay.h"

void lv_say(const char *fmt, ...)
{
    va_list ap;

    fputs("xlxvirtd: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

int64_t lv_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- processes that answer ---------------------------------------------- */

bool lv_relay_answer(struct lv_client *client, const struct lv_call *call,
                     const struct lv_header *header, const uint8_t *payload,
                     size_t len)
{
    struct lv_relay *relay = client->relay;
    struct lv_worker_call work = {
        .call = call, .header = *header, .payload = payload, .len = len,
        .read_only = client->read_only, .peer = client->peer,
        .backend = relay->backend[client->read_only],
        .open_uri = relay->open_uri,
    };
    int ends[2];
    pid_t pid;

    work.watch = relay->num_children - relay->num_calls < LV_MAX_WATCHERS;
    if (pipe2(ends, O_CLOEXEC))
        return false;
    pid = fork();
    if (!pid)
        lv_worker_run(&work, ends[1]);
    close(ends[1]);
    if (pid < 0) {
        lv_say("no process can be started: %s", strerror(errno));
        close(ends[0]);
        return false;
    }
    if (call->write)
        lv_say("uid %ld (process %ld): %s, process %ld",
               (long)client->peer.uid, (long)client->peer.pid, call->api,
               (long)pid);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    relay->children[relay->num_children] = (struct lv_child){
        .client = client, .header = *header, .pid = pid, .fd = ends[0] };
    lv_put_frame(&relay->children[relay->num_children++].frame, header,
                 payload, len);
    relay->num_calls++;
    client->in_flight++;
    return true;
}

static bool is_answer(const struct lv_child *child, const struct lv_header *h)
{
    return h->procedure == child->header.procedure &&
           h->serial == child->header.serial && h->type == LV_TYPE_REPLY;
}

static void reply(struct lv_relay *relay, struct lv_child *child,
                  const void *frame, size_t len)
{
    child->answered = true;
    relay->num_calls--;
    if (child->client) {
        child->client->in_flight--;
        if (frame)
            lv_client_reply(child->client, frame, len);
        else
            lv_client_pass(child->client, child->frame.data,
                           child->frame.len);
    }
    child->client = NULL;
    lv_buffer_free(&child->frame);
}

/* "It is libvirtd's to answer": see lv_worker_run(). */
static bool is_pass_on(const struct lv_child *child, const struct lv_header *h)
{
    return h->type == LV_TYPE_CALL && h->serial == child->header.serial &&
           h->procedure == child->header.procedure && !child->frame.failed;
}

/* All whole frames: the reply, and then events.  -1: it sends nonsense. */
static int take_frames(struct lv_relay *relay, struct lv_child *child)
{
    struct lv_buffer *in = &child->in;
    struct lv_header h;
    size_t done = 0;
    int r = in->failed ? -1 : 0;

    while (!r && in->len - done >= LV_HEADER_SIZE) {
        lv_read_header(in->data + done, &h);
        if (h.length < LV_HEADER_SIZE || h.length > LV_FRAME_MAX)
            r = -1;
        if (r || h.length > in->len - done)
            break;
        if (child->answered)
            lv_event_send(relay, child, &h, in->data + done);
        else if (is_answer(child, &h))
            reply(relay, child, in->data + done, h.length);
        else if (is_pass_on(child, &h))
            reply(relay, child, NULL, 0);
        else
            r = -1;
        done += h.length;
    }
    if (done) {
        in->len -= done;
        memmove(in->data, in->data + done, in->len);
    }
    return r;
}

static void end_child(struct lv_relay *relay, struct lv_child *child)
{
    struct lv_buffer out = { 0 };

    if (!child->answered) {
        lv_put_error(&out, &child->header, LV_INTERNAL, LV_FROM_RPC,
                     "the process that answers the call ended before it did");
        reply(relay, child, out.data, out.len);
        lv_buffer_free(&out);
    }
    lv_buffer_free(&child->in);
    close(child->fd);
    *child = relay->children[--relay->num_children];
}

/* true: it has ended, or is to be taken for ended. */
static bool read_child(struct lv_relay *relay, struct lv_child *child)
{
    uint8_t bytes[65536];
    ssize_t r;

    r = read(child->fd, bytes, sizeof(bytes));
    if (r < 0)
        return errno != EAGAIN && errno != EINTR;
    lv_put(&child->in, bytes, (size_t)r);
    return take_frames(relay, child) || r == 0;
}

static void serve_children(struct lv_relay *relay)
{
    unsigned int i;

    for (i = relay->num_children; i-- > 0;)
        if (relay->children[i].poll && relay->children[i].poll->revents &&
            read_child(relay, &relay->children[i]))
            end_child(relay, &relay->children[i]);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

/* ---- clients ------------------------------------------------------------ */

static void accept_client(struct lv_relay *relay,
                          const struct lv_listener *from)
{
    struct lv_client *client, **grown;
    int fd;

    fd = accept4(from->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    grown = realloc(relay->clients,
                    (relay->num_clients + 1) * sizeof(*grown));
    if (!grown) {
        close(fd);
        return;
    }
    relay->clients = grown;
    client = lv_client_new(relay, fd, from->read_only);
    if (client)
        relay->clients[relay->num_clients++] = client;
}

static void forget_dead(struct lv_relay *relay)
{
    struct lv_client *c;
    unsigned int i, j;

    for (i = relay->num_clients; i-- > 0;) {
        c = relay->clients[i];
        if (!c->dead)
            continue;
        for (j = 0; j < relay->num_children; j++)
            if (relay->children[j].client == c)
                relay->children[j].client = NULL;
        lv_client_free(c);
        relay->clients[i] = relay->clients[--relay->num_clients];
    }
}

/* ---- poll --------------------------------------------------------------- */

/* Nobody looks at a descriptor from which nothing is wanted: one whose peer
 * has gone would wake us again and again. */
static struct pollfd *add(struct lv_relay *relay, int fd, short events)
{
    struct pollfd *p = &relay->polls[relay->num_polls++];

    *p = (struct pollfd){ .fd = events ? fd : -1, .events = events };
    return p;
}

/* Anybody may connect to the read-only socket, but not so many that there is
 * no room for others. */
static bool has_room(const struct lv_relay *relay, const struct lv_listener *l)
{
    unsigned int most = relay->max_clients;

    return relay->num_clients < (l->read_only ? most - most / 4 : most);
}

/* -1: without end */
static int prepare(struct lv_relay *relay, int signals, bool ending)
{
    size_t most = 1 + relay->num_listeners + relay->num_children +
                  2 * (size_t)relay->num_clients;
    short client_events, backend_events;
    struct pollfd *grown;
    struct lv_client *c;
    unsigned int i;
    int wait = -1;

    grown = realloc(relay->polls, most * sizeof(*grown));
    if (!grown)
        return 1000;                    /* with those of the last time */
    relay->polls = grown;
    relay->num_polls = 0;
    add(relay, signals, POLLIN);
    for (i = 0; i < relay->num_listeners; i++)
        add(relay, relay->listeners[i].fd, !ending && has_room(
            relay, &relay->listeners[i]) ? POLLIN : 0);
    for (i = 0; i < relay->num_children; i++)
        relay->children[i].poll = add(relay, relay->children[i].fd, POLLIN);
    for (i = 0; i < relay->num_clients; i++) {
        c = relay->clients[i];
        lv_client_wants(c, &client_events, &backend_events);
        c->poll_fd = add(relay, c->fd, client_events);
        c->poll_backend = add(relay, c->backend, backend_events);
        if (c->phase == LV_CONNECTING)
            wait = 20;
        if (c->resume || (c->held.len && lv_client_may_start(c)))
            wait = 0;
    }
    return wait;
}

static void serve_clients(struct lv_relay *relay)
{
    unsigned int i, num = relay->num_clients;
    struct lv_client *c;

    for (i = 0; i < num; i++) {
        c = relay->clients[i];
        if (!c->dead && c->poll_fd &&
            (c->poll_fd->revents || c->poll_backend->revents ||
             c->phase == LV_CONNECTING || c->resume || c->held.len))
            lv_client_serve(c, c->poll_fd->revents, c->poll_backend->revents);
    }
}

static int open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);           /* a process may end after its pipe */
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool is_told_to_end(int signals)
{
    struct signalfd_siginfo info;
    bool told = false;

    while (read(signals, &info, sizeof(info)) == sizeof(info))
        told |= info.ssi_signo != SIGCHLD;
    return told;
}

/* Calls that are at work come to their end; whoever waits for one reads that
 * the connection is closed, as when libvirtd ends. */
static void stop(struct lv_relay *relay)
{
    unsigned int i;

    for (i = 0; i < relay->num_listeners; i++) {
        close(relay->listeners[i].fd);
        if (relay->listeners[i].path)
            unlink(relay->listeners[i].path);
    }
    relay->num_listeners = 0;
    for (i = 0; i < relay->num_children; i++)
        if (relay->children[i].answered)
            kill(relay->children[i].pid, SIGTERM);
    for (i = 0; i < relay->num_clients; i++)
        relay->clients[i]->dead = true;
    forget_dead(relay);
    if (relay->num_calls)
        lv_say("%u calls are at work: ending after them", relay->num_calls);
}

static bool is_idle(const struct lv_relay *relay, int64_t *since)
{
    if (!relay->idle_s || relay->num_clients || relay->num_children) {
        *since = lv_now_ms();
        return false;
    }
    return lv_now_ms() - *since >= relay->idle_s * INT64_C(1000);
}

int lv_relay_run(struct lv_relay *relay)
{
    int signals = open_signals(), wait;
    int64_t idle_since = lv_now_ms();
    bool ending = false, told = false;
    unsigned int i;

    while (!ending || relay->num_children) {
        wait = prepare(relay, signals, ending);
        if (wait < 0 && relay->idle_s)
            wait = 1000;
        if (poll(relay->polls, relay->num_polls, wait) < 0)
            for (i = 0; i < relay->num_polls; i++)
                relay->polls[i].revents = 0;
        if (is_told_to_end(signals) || is_idle(relay, &idle_since))
            told = true;
        if (told && !ending) {
            ending = true;
            stop(relay);
        }
        serve_children(relay);
        if (!ending) {
            serve_clients(relay);
            for (i = 0; i < relay->num_listeners; i++)
                if (relay->polls[1 + i].revents)
                    accept_client(relay, &relay->listeners[i]);
        }
        forget_dead(relay);
    }
    free(relay->clients);
    free(relay->polls);
    close(signals);
    return 0;
}

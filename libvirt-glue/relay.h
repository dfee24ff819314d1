/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The relay: listens where clients of xen:///system look first, and connects
 * each of them with libvirtd.  All is passed on, byte for byte, but for the
 * calls that lv_calls[] has an answer for; for each of these a process is
 * made, worker.c, so that neither a long call nor one that crashes holds up or
 * ends anything else.
 */
#ifndef LV_RELAY_H
#define LV_RELAY_H

#include <poll.h>
#include <sys/types.h>

#include "gen-libvirt.h"
#include "stream.h"

/* As libvirtd has them. */
#define LV_MAX_CLIENTS 5000
#define LV_MAX_IN_FLIGHT 5u             /* calls of one client */
/* Processes that answer, of all clients. */
#define LV_MAX_WORKERS 64u
/* Those of them that have answered, and watch a job. */
#define LV_MAX_WATCHERS 128u
/* Events that a client may ask for. */
#define LV_MAX_WANTED 64u
/* Arguments of a call that is ours: from a client that may only read, and from
 * others. */
#define LV_ARGS_MAX_READ (64u << 10)
#define LV_ARGS_MAX (8u << 20)
/* How long libvirtd may be too busy to take a connection. */
#define LV_CONNECT_MS 10000

/* libvirt's numbers of errors, VIR_ERR_ and VIR_FROM_ */
enum lv_code {
    LV_INTERNAL = 1, LV_NO_MEMORY = 2, LV_NO_SUPPORT = 3, LV_INVALID_ARG = 8,
    LV_OPERATION_FAILED = 9, LV_XML_ERROR = 27, LV_OPERATION_DENIED = 29,
    LV_XML_DETAIL = 35, LV_SYSTEM_ERROR = 38, LV_RPC = 39, LV_NO_DOMAIN = 42,
    LV_OPERATION_INVALID = 55, LV_CONFIG_UNSUPPORTED = 67,
    LV_OPERATION_TIMEOUT = 68, LV_INVALID_SNAPSHOT = 71,
    LV_NO_SNAPSHOT = 72, LV_ARGUMENT_UNSUPPORTED = 74, LV_REVERT_RISKY = 77,
    LV_BLOCK_COPY_ACTIVE = 83, LV_OPERATION_UNSUPPORTED = 84,
    LV_RESOURCE_BUSY = 87, LV_ACCESS_DENIED = 88, LV_CPU_INCOMPATIBLE = 91,
    LV_XML_INVALID_SCHEMA = 92,
};
enum lv_from {
    LV_FROM_RPC = 7, LV_FROM_DOMAIN = 20, LV_FROM_CPU = 31,
    LV_FROM_SNAPSHOT = 35, LV_FROM_LIBXL = 41,
};

enum lv_phase {
    LV_CONNECTING,              /* libvirtd is too busy yet */
    LV_CLOSED,                  /* not open yet: libvirtd answers all */
    LV_OPENING,                 /* it was asked to open */
    LV_IDENTIFYING,             /* it did, and hears who the client is */
    LV_OPEN,
    LV_NO_BACKEND,              /* each call gets the reason */
};

struct lv_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

struct lv_relay;

/* An event that a client has asked libvirtd for, as far as it is one of those
 * that the relay sends. */
struct lv_event_wanted {
    bool registered;            /* else libvirtd has not answered yet */
    uint32_t serial;            /* of the call, until then */
    int32_t event, callback;
    bool of_domain;             /* of that one only */
    uint8_t uuid[16];
};

struct lv_client {
    struct lv_relay *relay;
    int fd, backend;
    bool read_only;             /* came by that socket, or opened so */
    bool xen;                   /* opened a URI of Xen's: our calls are ours */
    bool closing;               /* after what waits to be sent */
    bool resume;                /* up goes on after its pause */
    bool dead;
    struct lv_peer peer;
    enum lv_phase phase;
    int64_t deadline;           /* of LV_CONNECTING */
    const char *why;            /* of LV_NO_BACKEND */
    struct lv_stream up, down;  /* to libvirtd, to the client */
    uint32_t open_serial, identity_serial;
    struct lv_buffer open_reply;
    unsigned int in_flight;     /* calls that workers answer */
    struct lv_buffer held;      /* a call of ours that must wait */
    struct lv_event_wanted wanted[LV_MAX_WANTED];
    unsigned int num_wanted;
    struct pollfd *poll_fd, *poll_backend;
};

/* A call on its way, or the process that answers it. */
struct lv_worker_call {
    const struct lv_call *call;
    struct lv_header header;
    const uint8_t *payload;
    size_t len;
    bool read_only;
    struct lv_peer peer;
    const char *backend;        /* socket of libvirtd */
    const char *open_uri;
    bool watch;                         /* it may go on after its reply */
};

struct lv_child {
    struct lv_client *client;   /* NULL: it has gone, nobody wants the reply */
    struct lv_header header;    /* of the call */
    pid_t pid;
    int fd;                     /* of the reply, and then of events */
    struct lv_buffer frame;     /* the call, which may have to be passed on */
    struct lv_buffer in;
    bool answered;              /* and goes on to watch a job, on */
    bool ended;                 /* the job has: no more of it */
    uint8_t uuid[16];
    char disk[64];
    struct pollfd *poll;
};

struct lv_listener {
    int fd;
    bool read_only;
    char *path;                 /* to be unlinked at the end; NULL: not ours */
};

struct lv_relay {
    struct lv_listener listeners[8];
    unsigned int num_listeners;
    const char *backend[2];     /* sockets of libvirtd; [1] is read-only */
    const char *open_uri;       /* opened instead of the client's; or NULL */
    bool answer;                /* our calls; else all is passed on */
    unsigned int max_clients;
    int idle_s;                 /* ends after so many seconds; 0: never */

    struct lv_client **clients;
    unsigned int num_clients;
    struct lv_child children[LV_MAX_WORKERS + LV_MAX_WATCHERS];
    unsigned int num_children, num_calls;   /* num_calls have not answered */
    struct pollfd *polls;
    unsigned int num_polls;
};

/* relay.c: until SIGTERM; exit status */
int lv_relay_run(struct lv_relay *relay);
void lv_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int64_t lv_now_ms(void);
/* Starts a process for the call; false when there are too many. */
bool lv_relay_answer(struct lv_client *client, const struct lv_call *call,
                     const struct lv_header *header, const uint8_t *payload,
                     size_t len);

/* client.c: one client.  fd is taken over. */
struct lv_client *lv_client_new(struct lv_relay *relay, int fd,
                                bool read_only);
void lv_client_free(struct lv_client *client);
/* Which events it waits for, by poll_fd and poll_backend. */
void lv_client_wants(struct lv_client *client, short *client_r,
                     short *backend_r);
/* After poll(), with what it found; client->dead says that it is to be
 * freed. */
void lv_client_serve(struct lv_client *client, short client_events,
                     short backend_events);
/* May a process be started for a call of its? */
bool lv_client_may_start(const struct lv_client *client);
void lv_client_reply(struct lv_client *client, const void *frame, size_t len);
/* A call of its, which came before, to libvirtd. */
void lv_client_pass(struct lv_client *client, const void *frame, size_t len);

/* events.c: which of ours a client wants, from its calls and the replies. */
bool lv_event_concerns_call(const struct lv_header *header);
void lv_event_called(struct lv_client *client, const struct lv_header *header,
                     const uint8_t *frame);
/* Is it the reply to such a call? */
bool lv_event_awaits(const struct lv_client *client,
                     const struct lv_header *header);
void lv_event_replied(struct lv_client *client,
                      const struct lv_header *header, const uint8_t *frame);
/* From a process that answered: to all clients that want it. */
void lv_event_send(struct lv_relay *relay, struct lv_child *from,
                   const struct lv_header *header, const uint8_t *frame);

/* identity.c: the call that tells libvirtd who the client is. */
void lv_put_identity(struct lv_buffer *out, const struct lv_peer *peer,
                     uint32_t serial);

/* worker.c: answers, and ends the process. */
void lv_worker_run(const struct lv_worker_call *call, int fd)
    __attribute__((noreturn));
/* A reply that is an error, to the call with that header. */
void lv_put_error(struct lv_buffer *out, const struct lv_header *call,
                  enum lv_code code, enum lv_from from, const char *text);

#endif

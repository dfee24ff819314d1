/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process that answers one call.  It has nothing of the relay's but the
 * pipe for its reply, and ends with it; it may call the library and wait as
 * long as it likes.  Functions return 0, or -1 after lv_fail().
 */
#ifndef LV_WORKER_H
#define LV_WORKER_H

#include "libxlx.h"
#include "relay.h"

struct lv_worker {
    const struct lv_worker_call *call;
    int reply;                          /* pipe to the relay */
    xlx_ctx *ctx;                       /* lv_ctx() */
    int back;                           /* to libvirtd, or -1 */
    uint32_t back_serial;
    enum lv_code code;                  /* of the error */
    enum lv_from from;
    char text[1200];
    /* Frames that are sent after the reply, and work that is done then. */
    struct lv_buffer events;
    void (*after)(struct lv_worker *w, void *user);
    void *user;
};

/* The text as libvirt has it: with the words that belong to the code. */
int lv_fail(struct lv_worker *w, enum lv_code code, enum lv_from from,
            const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* From what a call of the library returned, and its message. */
int lv_fail_xlx(struct lv_worker *w, enum lv_from from, int rc);
int lv_no_memory(struct lv_worker *w);
/* Flags that are not in known are an error. */
int lv_check_flags(struct lv_worker *w, uint32_t flags, uint32_t known);
/* The library, from the first time on. */
int lv_ctx(struct lv_worker *w);

/* For the relay, which sends it to whoever wants it; when it is. */
void lv_put_event(struct lv_worker *w, enum lv_number number,
                  const void *message);
/* -1 when the relay has gone. */
int lv_flush_events(struct lv_worker *w);

/* back.c: a call of ours to libvirtd, with the rights of the client's socket.
 * *ret, which may be NULL, is lv_free()d by the caller. */
int lv_back_call(struct lv_worker *w, enum lv_number number, const void *args,
                 void *ret);
void lv_back_close(struct lv_worker *w);

#endif

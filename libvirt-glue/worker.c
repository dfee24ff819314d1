/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a call to its reply.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "worker.h"

/* ---- errors ------------------------------------------------------------- */

/* libvirt's words for its codes; NULL: the text stands alone. */
static const char *words_of(enum lv_code code)
{
    switch (code) {
    case LV_INTERNAL: return "internal error";
    case LV_NO_MEMORY: return "out of memory";
    case LV_NO_SUPPORT:
        return "this function is not supported by the connection driver";
    case LV_INVALID_ARG: return "invalid argument";
    case LV_OPERATION_FAILED: return "operation failed";
    case LV_XML_ERROR: return "XML error";
    case LV_OPERATION_DENIED: return "operation forbidden";
    case LV_NO_DOMAIN: return "Domain not found";
    case LV_OPERATION_INVALID: return "Requested operation is not valid";
    case LV_CONFIG_UNSUPPORTED: return "unsupported configuration";
    case LV_OPERATION_TIMEOUT: return "Timed out during operation";
    case LV_INVALID_SNAPSHOT: return "Invalid domain snapshot";
    case LV_NO_SNAPSHOT: return "Domain snapshot not found";
    case LV_ARGUMENT_UNSUPPORTED: return "argument unsupported";
    case LV_REVERT_RISKY: return "revert requires force";
    case LV_BLOCK_COPY_ACTIVE: return "block copy still active";
    case LV_OPERATION_UNSUPPORTED: return "Operation not supported";
    case LV_RESOURCE_BUSY: return "resource busy";
    case LV_ACCESS_DENIED: return "access denied";
    case LV_CPU_INCOMPATIBLE:
        return "the CPU is incompatible with host CPU";
    case LV_XML_INVALID_SCHEMA:
        return "XML document failed to validate against schema";
    case LV_XML_DETAIL:
    case LV_SYSTEM_ERROR:
    case LV_RPC:
        break;
    }
    return NULL;
}

int lv_fail(struct lv_worker *w, enum lv_code code, enum lv_from from,
            const char *fmt, ...)
{
    const char *words = words_of(code);
    int used = 0;
    va_list ap;

    w->code = code;
    w->from = from;
    if (words)
        used = snprintf(w->text, sizeof(w->text), "%s: ", words);
    va_start(ap, fmt);
    vsnprintf(w->text + used, sizeof(w->text) - (size_t)used, fmt, ap);
    va_end(ap);
    return -1;
}

int lv_no_memory(struct lv_worker *w)
{
    return lv_fail(w, LV_NO_MEMORY, LV_FROM_LIBXL, "in xlxvirtd");
}

int lv_fail_xlx(struct lv_worker *w, enum lv_from from, int rc)
{
    enum lv_code code = LV_OPERATION_FAILED;

    switch (rc) {
    case ERROR_NOMEM:
        code = LV_NO_MEMORY;
        break;
    case ERROR_INVAL:
        code = LV_CONFIG_UNSUPPORTED;
        break;
    case ERROR_NOT_READY:
        code = LV_OPERATION_INVALID;
        break;
    case ERROR_LOCK_FAIL:
        code = LV_RESOURCE_BUSY;
        break;
    case ERROR_TIMEDOUT:
        code = LV_OPERATION_TIMEOUT;
        break;
    case ERROR_DOMAIN_NOTFOUND:
        code = LV_NO_DOMAIN;
        break;
    }
    return lv_fail(w, code, from, "%s", xlx_error_get());
}

int lv_check_flags(struct lv_worker *w, uint32_t flags, uint32_t known)
{
    if (!(flags & ~known))
        return 0;
    return lv_fail(w, LV_INVALID_ARG, LV_FROM_LIBXL,
                   "unsupported flags (0x%x) in %s", flags & ~known,
                   w->call->call->api);
}

int lv_ctx(struct lv_worker *w)
{
    int rc;

    if (w->ctx)
        return 0;
    rc = xlx_ctx_alloc(&w->ctx, NULL, NULL);
    return rc ? lv_fail_xlx(w, LV_FROM_LIBXL, rc) : 0;
}

void lv_put_error(struct lv_buffer *out, const struct lv_header *call,
                  enum lv_code code, enum lv_from from, const char *text)
{
    struct lv_error error = {
        .code = (int32_t)code, .domain = (int32_t)from,
        .message = (char *)(uintptr_t)text, .level = 2, .str1 = error.message,
        .int1 = -1, .int2 = -1,
    };
    struct lv_header header = *call;
    struct lv_buffer payload = { 0 };

    header.type = LV_TYPE_REPLY;
    header.status = LV_STATUS_ERROR;
    lv_encode(&lv_error_type, &error, &payload);
    lv_put_frame(out, &header, payload.data, payload.len);
    out->failed |= payload.failed;
    lv_buffer_free(&payload);
}

/* ---- the call ----------------------------------------------------------- */

static int answer(struct lv_worker *w, struct lv_buffer *payload)
{
    const struct lv_call *call = w->call->call;
    void *args = NULL, *ret = NULL;
    const char *why;
    int r = -1;

    args = calloc(1, call->args ? call->args->size : 1);
    ret = calloc(1, call->ret ? call->ret->size : 1);
    if (!args || !ret) {
        lv_no_memory(w);
        goto out;
    }
    if (call->args && lv_decode(call->args, w->call->payload, w->call->len,
                                args, &why) < 0) {
        lv_fail(w, LV_RPC, LV_FROM_RPC, "the arguments of %s cannot be read: "
                "%s", call->api, why);
        goto out;
    }
    r = call->answer(w, args, ret);
    if (call->args)
        lv_free(call->args, args);
    if (!r && call->ret)
        lv_encode(call->ret, ret, payload);
    if (payload->failed)
        r = lv_fail(w, LV_RPC, LV_FROM_RPC, "the reply is longer than "
                    "libvirt's protocol allows");
    if (call->ret)
        lv_free(call->ret, ret);

 out:
    free(args);
    free(ret);
    return r;
}

static int write_all(int fd, const struct lv_buffer *out)
{
    size_t done = 0;
    ssize_t r;

    while (done < out->len) {
        r = write(fd, out->data + done, out->len - done);
        if (r < 0 && errno != EINTR)
            return -1;                  /* the relay has gone */
        done += r > 0 ? (size_t)r : 0;
    }
    return 0;
}

static const struct lv_type *event_type(enum lv_number number)
{
    return number == LV_DOMAIN_EVENT_BLOCK_JOB_2
        ? &lv_domain_event_block_job_2_msg_type
        : &lv_domain_event_callback_block_job_msg_type;
}

void lv_put_event(struct lv_worker *w, enum lv_number number,
                  const void *message)
{
    struct lv_header h = {
        .program = LV_PROGRAM, .version = LV_PROGRAM_VERSION,
        .procedure = (int32_t)number, .type = LV_TYPE_MESSAGE,
    };
    struct lv_buffer payload = { 0 };

    lv_encode(event_type(number), message, &payload);
    if (!payload.failed)
        lv_put_frame(&w->events, &h, payload.data, payload.len);
    lv_buffer_free(&payload);
}

int lv_flush_events(struct lv_worker *w)
{
    int r = w->events.failed ? -1 : write_all(w->reply, &w->events);

    lv_buffer_free(&w->events);
    return r;
}

/* The sockets of clients must not stay open because a call takes long. */
static int become(int fd)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_NAME, "xlxvirtd-call");
    if (fd != 3) {
        if (dup3(fd, 3, O_CLOEXEC) < 0)
            _exit(1);
    }
    closefrom(4);
    return 3;
}

void lv_worker_run(const struct lv_worker_call *call, int fd)
{
    struct lv_worker w = { .call = call, .back = -1 };
    struct lv_buffer payload = { 0 }, out = { 0 };
    struct lv_header header = call->header;
    int r;

    w.reply = become(fd);
    r = answer(&w, &payload);
    if (r == LV_PASS_ON) {              /* an empty call says so */
        lv_put_frame(&out, &header, NULL, 0);
    } else if (r) {
        lv_put_error(&out, &header, w.code, w.from, w.text);
    } else {
        header.type = LV_TYPE_REPLY;
        header.status = LV_STATUS_OK;
        lv_put_frame(&out, &header, payload.data, payload.len);
    }
    lv_back_close(&w);
    if (out.failed || write_all(w.reply, &out) || lv_flush_events(&w))
        _exit(1);
    lv_buffer_free(&payload);
    lv_buffer_free(&out);
    if (w.after && call->watch)
        w.after(&w, w.user);
    xlx_ctx_free(w.ctx);
    _exit(0);
}

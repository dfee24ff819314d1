/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes the monitor's dialogue: the bytes are what QEMU says, in advance, and
 * then it has gone.  A first byte of odd value puts a faultless greeting
 * before them, so that what comes after it is reached.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/internal.h"
#include "fuzz.h"
#include "guest/qmp.h"

static const char start[] =
    "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, "
    "\"major\": 7}, \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n"
    "{\"return\": {}, \"id\": 1}\r\n";

static void walk(const struct xlx__json *v)
{
    const struct xlx__json *child;

    if (xlx__json_kind(v) < XLX__JSON_ARRAY)
        return;
    for (child = xlx__json_first(v); child; child = xlx__json_next(child))
        walk(child);
}

/* Each call has one outcome: a result, or a code with a message. */
static void call(struct xlx__qmp *qmp, const char *command)
{
    const struct xlx__json *result = NULL;
    int rc;

    rc = xlx__qmp_call_within(qmp, 1000, command, NULL, &result);
    if (!rc != (result != NULL) || rc > 0 || (rc && !*xlx_error_get()))
        abort();
    if (result)
        walk(result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static xlx_ctx *ctx;
    struct xlx__qmp *qmp = NULL;
    int fds[2], rc;

    if (!size || size > 32768)          /* fits into the socket's buffer */
        return 0;
    if (!ctx && xlx_ctx_alloc(&ctx, NULL, NULL))
        abort();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds))
        abort();
    if (*data % 2 && send(fds[1], start, sizeof(start) - 1, 0) < 0)
        abort();
    if (size > 1 && send(fds[1], data + 1, size - 1, 0) != (ssize_t)size - 1)
        abort();
    /* We can still write: the other end reads no more, but is there. */
    shutdown(fds[1], SHUT_WR);

    rc = xlx__qmp_open_fd(ctx, fds[0], "fuzz", &qmp);
    if (!rc) {
        call(qmp, "query-block");
        call(qmp, "query-named-block-nodes");
        xlx__qmp_close(qmp);
    }
    close(fds[1]);
    return 0;
}

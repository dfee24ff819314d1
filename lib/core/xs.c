/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Xenstore, through libxenstore.  The connection is made when first needed.
 *
 * xenstored is part of Xen and is trusted, unlike the values in it: its
 * answers have no deadline (libxenstore offers none), only waits for a change
 * do.  libxenstore itself honours XENSTORED_PATH, by which tests put a daemon
 * of their own in its place, and starts a thread that reads for it when a
 * watch is first set.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "core/xs.h"

#define MAX_VALUE (64 << 10)

static int xs_error(const char *what, const char *path)
{
    int rc = errno == ENOENT ? ERROR_NOTFOUND : xlx__errno_rc(errno);

    return xlx__error(rc, "xenstore: %s%s%s: %s", what, *path ? " " : "",
                      path, strerror(errno));
}

static int connect_once(xlx_ctx *ctx)
{
    if (!ctx->xenstore)
        /* Not XS_UNWATCH_FILTER: it leaks what it filters (Xen 4.17).  An
         * event left over costs the next wait one more look. */
        ctx->xenstore = xs_open(0);
    if (!ctx->xenstore)
        return xlx__error(errno == EACCES ? ERROR_FAIL : ERROR_NOTFOUND,
                          "no xenstored answers at %s (%s): is this a Xen "
                          "dom0, and are you root?", xs_daemon_socket(),
                          strerror(errno));
    return 0;
}

void xlx__xs_close(xlx_ctx *ctx)
{
    xs_close(ctx->xenstore);
    ctx->xenstore = NULL;
}

/* ---- transactions ------------------------------------------------------- */

int xlx__xs_transact(xlx_ctx *ctx,
                     int (*step)(xlx_ctx *ctx, xs_transaction_t t, void *user),
                     void *user)
{
    xs_transaction_t t;
    int rc;

    rc = connect_once(ctx);
    if (rc) return rc;
    for (;;) {
        t = xs_transaction_start(ctx->xenstore);
        if (t == XBT_NULL)
            return xs_error("begin a transaction", "");
        rc = step(ctx, t, user);
        if (xs_transaction_end(ctx->xenstore, t, rc < 0) || rc < 0)
            return rc;
        if (errno != EAGAIN)
            return xs_error("commit a transaction", "");
    }
}

/* ---- reading ------------------------------------------------------------ */

int xlx__xs_read(xlx_ctx *ctx, xs_transaction_t t, const char *path,
                 char **value_r)
{
    unsigned int len;
    char *value;
    int rc;

    rc = connect_once(ctx);
    if (rc) return rc;
    value = xs_read(ctx->xenstore, t, path, &len);
    if (!value)
        return xs_error("read", path);
    if (len > MAX_VALUE || memchr(value, '\0', len)) {
        free(value);
        return xlx__error(ERROR_INVAL, "xenstore: %s: %s", path,
                          len > MAX_VALUE ? "the value is too long"
                                          : "a zero byte is in the value");
    }
    *value_r = value;
    return 0;
}

int xlx__xs_read_uint(xlx_ctx *ctx, xs_transaction_t t, const char *path,
                      uint64_t max, uint64_t *value_r)
{
    char *value;
    int rc;

    rc = xlx__xs_read(ctx, t, path, &value);
    if (rc) return rc;
    if (!xlx__parse_u64(value, max, value_r))
        rc = xlx__error(ERROR_INVAL, "xenstore: %s: \"%.64s\": must be a "
                        "number from 0 to %" PRIu64, path, value, max);
    free(value);
    return rc;
}

int xlx__xs_list(xlx_ctx *ctx, xs_transaction_t t, const char *path,
                 char ***names_r, unsigned int *num_r)
{
    char **listed, **names, *text;
    unsigned int i, num;
    size_t size;
    int rc;

    rc = connect_once(ctx);
    if (rc) return rc;
    listed = xs_directory(ctx->xenstore, t, path, &num);
    if (!listed)
        return xs_error("list", path);

    /* libxenstore leaves no room for a NULL after the last. */
    size = (num + 1) * sizeof(*names);
    for (i = 0; i < num; i++)
        size += strlen(listed[i]) + 1;
    names = malloc(size);
    if (!names) {
        rc = xlx__error(ERROR_NOMEM, "xenstore: list %s: no memory", path);
        goto out;
    }
    text = (char *)(names + num + 1);
    for (i = 0; i < num; i++) {
        names[i] = text;
        text = stpcpy(text, listed[i]) + 1;
    }
    names[num] = NULL;
    *names_r = names;
    *num_r = num;

 out:
    free(listed);
    return rc;
}

static int by_number(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

int xlx__xs_list_numbers(xlx_ctx *ctx, const char *path, uint32_t **numbers_r,
                         int *num_r)
{
    char **names = NULL;
    unsigned int i, num = 0;
    uint32_t *numbers;
    int n = 0, rc;

    rc = xlx__xs_list(ctx, XBT_NULL, path, &names, &num);
    rc = xlx__forgive(rc, ERROR_NOTFOUND);
    if (rc) return rc;
    numbers = calloc(num + 1, sizeof(*numbers));
    if (!numbers) {
        free(names);
        return xlx__nomem();
    }
    for (i = 0; i < num; i++)
        if (xlx__parse_u32(names[i], UINT32_MAX - 1, &numbers[n]))
            n++;
    qsort(numbers, (size_t)n, sizeof(*numbers), by_number);
    free(names);
    *numbers_r = numbers;
    *num_r = n;
    return 0;
}

/* ---- writing ------------------------------------------------------------ */

int xlx__xs_write(xlx_ctx *ctx, xs_transaction_t t, const char *path,
                  const char *value)
{
    int rc;

    rc = connect_once(ctx);
    if (rc) return rc;
    return xs_write(ctx->xenstore, t, path, value, strlen(value))
           ? 0 : xs_error("write", path);
}

int xlx__xs_mkdir(xlx_ctx *ctx, xs_transaction_t t, const char *path,
                  const struct xs_permissions *perms, unsigned int num_perms)
{
    struct xs_permissions *copy;
    int rc;

    rc = connect_once(ctx);
    if (rc) return rc;
    if (!xs_mkdir(ctx->xenstore, t, path))
        return xs_error("make", path);
    if (!num_perms)
        return 0;

    /* libxenstore takes what it does not change without const */
    copy = malloc(num_perms * sizeof(*copy));
    if (!copy)
        return xlx__error(ERROR_NOMEM, "xenstore: make %s: no memory", path);
    memcpy(copy, perms, num_perms * sizeof(*copy));
    if (!xs_set_permissions(ctx->xenstore, t, path, copy, num_perms))
        rc = xs_error("set permissions of", path);
    free(copy);
    return rc;
}

int xlx__xs_remove(xlx_ctx *ctx, xs_transaction_t t, const char *path)
{
    int rc;

    rc = connect_once(ctx);
    if (rc) return rc;
    return xs_rm(ctx->xenstore, t, path) ? 0 : xs_error("remove", path);
}

/* ---- waiting ------------------------------------------------------------ */

/* Waits for an event, a second at most: libxenstore does not wake us when
 * xenstored dies, but the next call will tell.  Takes what has come; a guest
 * that writes without pause cannot keep us here, because that is also bounded.
 */
static int next_event(struct xs_handle *xsh, const char *path,
                      int64_t deadline)
{
    struct pollfd pfd = { .fd = xs_fileno(xsh), .events = POLLIN };
    int64_t left = deadline - xlx__now_ms();
    char **event;
    int i, r;

    if (left <= 0)
        return xlx__error(ERROR_TIMEDOUT, "xenstore: %s: no change in time",
                          path);
    r = poll(&pfd, 1, left < 1000 ? (int)left : 1000);
    if (r < 0 && errno != EINTR)
        return xs_error("wait for", path);
    if (r <= 0)
        return 0;

    for (i = 0; i < 1000; i++) {
        event = xs_check_watch(xsh);
        if (!event)
            break;
        free(event);
    }
    if (!event && errno != EAGAIN)
        return xs_error("wait for", path);
    return 0;
}

int xlx__xs_wait(xlx_ctx *ctx, const char *path, int64_t deadline,
                 int (*check)(void *user), void *user)
{
    static const char token[] = "xlx";
    int rc;

    rc = connect_once(ctx);
    if (rc) return rc;
    if (!xs_watch(ctx->xenstore, path, token))
        return xs_error("watch", path);

    for (;;) {
        rc = check(user);
        if (rc) break;
        rc = next_event(ctx->xenstore, path, deadline);
        if (rc) break;
    }
    /* Fails only when xenstored has gone, and the watch with it. */
    xs_unwatch(ctx->xenstore, path, token);
    return rc > 0 ? 0 : rc;
}

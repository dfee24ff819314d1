/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes the list of disks: the bytes are QEMU's answers to the commands that
 * it takes (query-block first), one a line, as a QEMU gives them that a guest
 * has taken over.  A first byte of odd value asks for nodes and jobs instead.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/disk.h"
#include "fuzz.h"

static const char start[] =
    "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, "
    "\"major\": 7}, \"package\": \"\"}, \"capabilities\": []}}\r\n"
    "{\"return\": {}, \"id\": 1}\r\n";

static void outcome(int rc)
{
    if (rc > 0)
        abort();
    if (rc)
        check_message();
    xlx__error_clear();
}

static void answer(int fd, int id, const uint8_t *text, size_t len)
{
    static const char head[] = "{\"return\": ";
    char tail[32];
    int n = snprintf(tail, sizeof(tail), ", \"id\": %d}\r\n", id);

    if (send(fd, head, sizeof(head) - 1, 0) < 0 ||
        send(fd, text, len, 0) < 0 || send(fd, tail, (size_t)n, 0) < 0)
        abort();
}

static void ask(xlx_ctx *ctx, struct xlx__qmp *qmp, bool nodes)
{
    bool readonly;
    xlx_guest guest;
    xlx_disks disks;
    char *node = NULL;

    if (nodes) {
        outcome(xlx__disk_find_node(qmp, "/", &node, &readonly));
        free(node);
        outcome(xlx__disk_no_jobs(qmp));
        return;
    }
    xlx_guest_init(&guest);
    xlx_disks_init(&disks);
    outcome(xlx__disk_list_with(ctx, &guest, qmp, &disks));
    xlx_disks_dispose(&disks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static xlx_ctx *ctx;
    struct xlx__qmp *qmp = NULL;
    const uint8_t *p = data + 1, *line;
    int fds[2], id = 2;

    if (!size || size > 32768)          /* fits into the socket's buffer */
        return 0;
    if (!ctx && xlx_ctx_alloc(&ctx, NULL, NULL))
        abort();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds))
        abort();
    if (send(fds[1], start, sizeof(start) - 1, 0) < 0)
        abort();
    for (; p < data + size && id < 8; p = line + 1) {
        line = memchr(p, '\n', (size_t)(data + size - p));
        if (!line)
            line = data + size;
        answer(fds[1], id++, p, (size_t)(line - p));
    }
    shutdown(fds[1], SHUT_WR);
    if (!xlx__qmp_open_fd(ctx, fds[0], "fuzz", &qmp)) {
        ask(ctx, qmp, *data % 2);
        xlx__qmp_close(qmp);
    }
    close(fds[1]);
    return 0;
}

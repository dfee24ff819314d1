/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirtd sees the relay, which is root.  So that its access control and its
 * log see the client, it is told who that is, as libvirt's own proxy does.
 * It is told numbers only: names may be in a directory service that is slow,
 * and the relay never waits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay.h"

enum { SIGNED = 3, UNSIGNED = 4 };      /* numbers in a typed_value */

static void add(struct lv_connect_set_identity_args *args, const char *name,
                int32_t type, uint64_t value)
{
    struct lv_typed_param *p = &args->params[args->num_params++];

    p->field = (char *)(uintptr_t)name;
    p->value.type = type;
    p->value.u.ul = value;
}

/* When the process was started, in ticks since boot, which tells it from a
 * later one of the same number; 0 when it has gone. */
static uint64_t start_time(pid_t pid)
{
    char path[64], line[1024], *p;
    size_t len;
    FILE *f;
    int i;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    f = fopen(path, "re");
    if (!f)
        return 0;
    len = fread(line, 1, sizeof(line) - 1, f);
    fclose(f);
    line[len] = '\0';
    p = strrchr(line, ')');             /* the name may have anything in it */
    for (i = 0; p && i < 20; i++)
        p = strchr(p + 1, ' ');
    return p ? strtoull(p + 1, NULL, 10) : 0;
}

void lv_put_identity(struct lv_buffer *out, const struct lv_peer *peer,
                     uint32_t serial)
{
    struct lv_typed_param params[4] = { 0 };
    struct lv_connect_set_identity_args args = { .params = params };
    struct lv_header header = {
        .program = LV_PROGRAM, .version = LV_PROGRAM_VERSION,
        .procedure = LV_CONNECT_SET_IDENTITY, .type = LV_TYPE_CALL,
        .serial = serial,
    };
    struct lv_buffer payload = { 0 };

    add(&args, "unix-user-id", UNSIGNED, peer->uid);
    add(&args, "unix-group-id", UNSIGNED, peer->gid);
    if (peer->pid > 0) {
        add(&args, "process-id", SIGNED, (uint64_t)peer->pid);
        add(&args, "process-time", UNSIGNED, start_time(peer->pid));
    }
    lv_encode(&lv_connect_set_identity_args_type, &args, &payload);
    lv_put_frame(out, &header, payload.data, payload.len);
    out->failed |= payload.failed;
    lv_buffer_free(&payload);
}

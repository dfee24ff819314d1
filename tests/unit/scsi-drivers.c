/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Both drivers of a SCSI adapter, by the protocol in public/io/vscsiif.h.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenstore.h>

#include "scsi-drivers.h"

pid_t drivers_pid;

static int get(struct xs_handle *xsh, const char *dir, const char *name)
{
    char node[256], *value;
    unsigned int len;
    int state;

    snprintf(node, sizeof(node), "%s/%s", dir, name);
    value = xs_read(xsh, XBT_NULL, node, &len);
    state = value ? atoi(value) : 0;
    free(value);
    return state;
}

static void put(struct xs_handle *xsh, const char *dir, const char *name,
                int state)
{
    char node[256], value[8];

    snprintf(node, sizeof(node), "%s/%s", dir, name);
    snprintf(value, sizeof(value), "%d", state);
    xs_write(xsh, XBT_NULL, node, value, strlen(value));
}

/* LUN 8 the backend does not know; LUN 9 the guest does not like. */
static bool ends_in(struct xs_handle *xsh, const char *name, char digit)
{
    char node[256], *value;
    unsigned int len;
    bool does;

    snprintf(node, sizeof(node), B "/vscsi-devs/%s/v-dev", name);
    value = xs_read(xsh, XBT_NULL, node, &len);
    does = value && len && value[len - 1] == digit;
    free(value);
    return does;
}

/* Each LUN whose backend is in that state. */
static void each(struct xs_handle *xsh, int state,
                 void (*one)(struct xs_handle *xsh, const char *name,
                             const char *node))
{
    unsigned int i, num;
    char node[256], **names;

    names = xs_directory(xsh, XBT_NULL, B "/vscsi-devs", &num);
    for (i = 0; names && i < num; i++) {
        snprintf(node, sizeof(node), "vscsi-devs/%s/state", names[i]);
        if (get(xsh, B, node) == state)
            one(xsh, names[i], node);
    }
    free(names);
}

static void back_add(struct xs_handle *xsh, const char *name,
                     const char *node)
{
    put(xsh, B, node, ends_in(xsh, name, '8') ? 6 : 3);
}
static void back_connect(struct xs_handle *xsh, const char *name,
                         const char *node)
{
    (void)name;
    put(xsh, B, node, 4);
}
static void back_remove(struct xs_handle *xsh, const char *name,
                        const char *node)
{
    (void)name;
    put(xsh, B, node, 6);
}
static void front_add(struct xs_handle *xsh, const char *name,
                      const char *node)
{
    put(xsh, F, node, ends_in(xsh, name, '9') ? 6 : 4);
}
static void front_remove(struct xs_handle *xsh, const char *name,
                         const char *node)
{
    (void)name;
    put(xsh, F, node, 6);
}

static void backend_step(struct xs_handle *xsh, int b, int f)
{
    if (b == 1) {
        put(xsh, B, "state", 2);
    } else if (b == 2 && f == 3) {
        each(xsh, 1, back_add);
        put(xsh, B, "state", 4);
    } else if (b == 7 && f == 7) {
        each(xsh, 1, back_add);
        each(xsh, 5, back_remove);
        put(xsh, B, "state", 8);
    } else if (f == 4 && (b == 4 || b == 8)) {
        each(xsh, 3, back_connect);
        if (b == 8)
            put(xsh, B, "state", 4);
    } else if (b && f == 6 && b != 6) {
        put(xsh, B, "state", 6);
    }
}

static void frontend_step(struct xs_handle *xsh, int b, int f)
{
    if (f == 1 && b == 2) {
        put(xsh, F, "state", 3);
    } else if ((f == 3 && b == 4) || (f == 7 && b == 8)) {
        each(xsh, 3, front_add);
        put(xsh, F, "state", 4);
    } else if (f == 4 && b == 7) {
        each(xsh, 5, front_remove);
        put(xsh, F, "state", 7);
    } else if (f && b == 5 && f != 6) {
        put(xsh, F, "state", 6);
    }
}

static void play(int roles, int rounds)
{
    struct xs_handle *xsh = xs_open(0);

    while (rounds--) {
        int b = get(xsh, B, "state"), f = get(xsh, F, "state");

        if (roles & BACKEND)
            backend_step(xsh, b, f);
        if (roles & FRONTEND)
            frontend_step(xsh, get(xsh, B, "state"), f);
        usleep(2000);
    }
    _exit(0);
}

void drivers_start(int roles)
{
    drivers_pid = fork();
    if (!drivers_pid)
        play(roles, 60 * 500);
}

void drivers_stop(void)
{
    if (drivers_pid > 0) {
        kill(drivers_pid, SIGKILL);
        waitpid(drivers_pid, NULL, 0);
    }
    drivers_pid = 0;
}

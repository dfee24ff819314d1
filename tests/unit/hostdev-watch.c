/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watchers: what they show of themselves, and what they go on after.  libxl is
 * played here.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/process.h"
#include "hostdev/hostdev.h"
#include "peer.h"

static const char uuid_text[] = "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10";
static libxl_uuid uuid;

/* ---- health ------------------------------------------------------------- */

/* A process that plays the watcher until it is killed. */
static pid_t play_watcher(const struct xlx__hostdev_health *h)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    char *path, byte = 0;
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (!pid) {
        path = xlx__hostdev_watch_path(peer_ctx(), "usb", &uuid);
        if (xlx__lock_file(path, 0, &lock))
            _exit(1);
        xlx__hostdev_health_write(&lock, h);
        if (write(fds[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    assert_true(pid > 0);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

static void health(void **state)
{
    struct xlx__hostdev_health h, said = {
        .since = 1000, .last = 1060, .times = 3, .error = "no \"memory\"",
    };
    char *path = xlx__hostdev_watch_path(peer_ctx(), "usb", &uuid);
    pid_t pid;
    (void)state;

    assert_ok(xlx__hostdev_health(peer_ctx(), "usb", &uuid, &h));
    assert_false(h.alive);
    assert_string_equal(h.error, "");

    pid = play_watcher(&said);
    assert_ok(xlx__hostdev_health(peer_ctx(), "usb", &uuid, &h));
    assert_true(h.alive);
    assert_int_equal(h.pid, pid);
    assert_int_equal(h.since, 1000);
    assert_int_equal(h.last, 1060);
    assert_int_equal(h.times, 3);
    assert_string_equal(h.error, "no \"memory\"");
    /* one of the other concept */
    assert_ok(xlx__hostdev_health(peer_ctx(), "scsi", &uuid, &h));
    assert_false(h.alive);

    /* what it said last stays, but there is none */
    kill(pid, SIGKILL);
    peer_wait(pid);
    assert_ok(xlx__hostdev_health(peer_ctx(), "usb", &uuid, &h));
    assert_false(h.alive);
    assert_int_equal(h.pid, 0);
    assert_string_equal(h.error, "no \"memory\"");

    /* the next says less */
    said = (struct xlx__hostdev_health){ .error = "" };
    pid = play_watcher(&said);
    assert_ok(xlx__hostdev_health(peer_ctx(), "usb", &uuid, &h));
    assert_int_equal(h.pid, pid);
    assert_string_equal(h.error, "");
    kill(pid, SIGKILL);
    peer_wait(pid);
    unlink(path);
    free(path);
}

/* A file of that name that is not a watcher's is nobody's. */
static void strange_files(void **state)
{
    static const char *const texts[] = {
        "", "\n", "1", "-5 1 2 3 4\nx\n", "1 999999 1 2 3", "x\ny\n",
    };
    char *path = xlx__hostdev_watch_path(peer_ctx(), "usb", &uuid);
    struct xlx__hostdev_health h;
    size_t i;
    FILE *f;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(texts); i++) {
        f = fopen(path, "w");
        assert_non_null(f);
        fputs(texts[i], f);
        fclose(f);
        assert_ok(xlx__hostdev_health(peer_ctx(), "usb", &uuid, &h));
        assert_false(h.alive);
        assert_int_equal(h.pid, 0);
    }
    unlink(path);
    free(path);
}

/* ---- processes ---------------------------------------------------------- */

static void processes(void **state)
{
    char *arguments;
    size_t size;
    pid_t pid;
    (void)state;

    assert_true(xlx__process_start(getpid()));
    assert_int_equal(xlx__process_start(getpid()),
                     xlx__process_start(getpid()));
    assert_int_equal(xlx__process_start(0), 0);
    assert_int_equal(xlx__process_start(-1), 0);
    arguments = xlx__process_arguments(getpid(), &size);
    assert_non_null(arguments);
    assert_false(xlx__process_argument(arguments, size, "-xen-domid", NULL));
    free(arguments);

    static const char line[] = "qemu\0-xen-domid\0" "5\0-name\0x -xen-domid 6";
    assert_true(xlx__process_argument(line, sizeof(line), "-xen-domid", "5"));
    assert_true(xlx__process_argument(line, sizeof(line), "-xen-domid",
                                      NULL));
    assert_false(xlx__process_argument(line, sizeof(line), "-xen-domid",
                                       "6"));
    assert_false(xlx__process_argument(line, sizeof(line), "-xen-domid", ""));

    /* nobody has waited for it, and yet it is not there any more */
    pid = fork();
    if (!pid)
        _exit(0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 },
                            WEXITED | WNOWAIT), 0);
    assert_int_equal(xlx__process_start(pid), 0);
    peer_wait(pid);
}

static int setup(void **state)
{
    libxl_uuid_from_string(&uuid, uuid_text);
    return peer_setup(state);
}

int main(void)
{
    const struct CMUnitTest hostdev_watch[] = {
        cmocka_unit_test(health),
        cmocka_unit_test(strange_files),
        cmocka_unit_test(processes),
    };

    return cmocka_run_group_tests(hostdev_watch, setup, peer_teardown);
}

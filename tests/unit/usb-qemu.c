/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a QEMU for USB devices is started, with shells that play it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"
#include "usb/usb.h"

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = calloc(1, 200001);
    size_t len = 0;

    if (f) {
        len = fread(text, 1, 200000, f);
        fclose(f);
    }
    text[len] = '\0';
    return text;
}

/* A guest can make its QEMU speak without end. */
static void bounded_log(void **state)
{
    const char *const argv[] = {
        "/bin/sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo $i 456789 123456"
        "789 123456789 123456789 123456789 123456789 >&2; i=$((i + 1)); done;"
        " echo last words >&2; ulimit -c 0; kill -ABRT $$", NULL,
    };
    int fds = peer_count_fds();
    char *log = xlx__printf("%s", peer_path("log")), *text = NULL;
    int64_t deadline = xlx__now_ms() + 60000;
    pid_t pid = 0;
    (void)state;

    assert_ok(xlx__usb_qemu_run(argv, log, &pid));
    assert_true(pid > 0);
    assert_int_equal(peer_count_fds(), fds);
    do {
        usleep(10000);
        free(text);
        text = read_file(log);
        assert_true(strlen(text) <= 68 << 10);
        assert_true(xlx__now_ms() < deadline);
    } while (!strstr(text, "it was ended by signal 06\n"));
    assert_non_null(strstr(text, "2999 456789"));
    assert_non_null(strstr(text, "last words\n"));
    assert_null(strstr(text, "\n1 456789"));
    /* nobody's child */
    assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
    free(text);
    unlink(log);
    free(log);
}

/* Each start is one line in a file, and the program ends at once. */
static void sandbox(void **state)
{
    static const char wanted[] = " -sandbox on,obsolete=deny,"
        "elevateprivileges=deny,spawn=deny,resourcecontrol=deny\n";
    char *program = xlx__printf("%s", peer_path("qemu"));
    char *seen = xlx__printf("%s", peer_path("seen")), *text, *line;
    FILE *f;
    (void)state;

    /* the second is of one that was killed */
    peer_xenstored("/local/domain/5/domid=5",
                   "/local/domain/0/device-model/5/backends/qusb=0", NULL);
    text = xlx__printf("#!/bin/sh\necho \"$*\" >> %s\n"
                       "echo no sandbox here >&2\nexit 1\n", seen);
    f = fopen(program, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(text);
    assert_int_equal(chmod(program, 0700), 0);
    setenv("LIBXLX_XEN_QEMU", program, 1);
    assert_fails(xlx__usb_backend_start(peer_ctx(), 5, NULL), ERROR_FAIL,
                 "ended at once: no sandbox here");
    unsetenv("LIBXLX_XEN_QEMU");
    text = read_file(seen);
    line = strchr(text, '\n') + 1;
    if (strncmp(line - strlen(wanted), wanted, strlen(wanted)) ||
        strstr(line, "sandbox") || !strstr(line, "-xen-domid 5 ") ||
        strstr(text, "-daemonize") || strstr(text, " -D "))
        fail_msg("%s", text);
    free(text);
    free(program);
    free(seen);
}

int main(void)
{
    const struct CMUnitTest usb_qemu[] = {
        cmocka_unit_test(bounded_log),
        cmocka_unit_test_teardown(sandbox, peer_xenstored_stop),
    };

    return cmocka_run_group_tests(usb_qemu, peer_setup, peer_teardown);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Our own locks, of a guest and of the host, and where libxl's is looked for.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

#include "core/lock.h"
#include "unit.h"

static char *dir;
static xlx_ctx *ctx;
static libxl_uuid one, two;

static int setup(void **state)
{
    (void)state;
    dir = unit_dir();
    ctx = unit_ctx(dir);
    libxl_uuid_from_string(&one, "01234567-89ab-cdef-0123-456789abcdef");
    libxl_uuid_from_string(&two, "11234567-89ab-cdef-0123-456789abcdef");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    xlx_ctx_free(ctx);
    unit_dir_remove(dir);
    return 0;
}

static void one_a_guest(void **state)
{
    struct xlx__lock a = XLX__LOCK_NONE, b = XLX__LOCK_NONE;
    char want[256], *holder = unit_process(getpid());

    (void)state;
    assert_ok(xlx__lock_guest(ctx, &one, &a));
    assert_ok(xlx__lock_guest(ctx, &two, &b));
    xlx__unlock(&b);
    snprintf(want, sizeof(want),
             "guest 01234567-89ab-cdef-0123-456789abcdef is being changed: "
             "%s holds the lock %s/run/guest-", holder, dir);
    free(holder);
    assert_fails(xlx__lock_guest(ctx, &one, &b), ERROR_LOCK_FAIL, want);
    assert_int_equal(b.fd, -1);
    xlx__unlock(&a);
    assert_ok(xlx__lock_guest(ctx, &one, &b));
    xlx__unlock(&b);
}

/* A guest's lock is a file that stays: its name is not the lock. */
static void file_removed_meanwhile(void **state)
{
    struct xlx__lock a = XLX__LOCK_NONE, b = XLX__LOCK_NONE;
    char *path = xlx__printf("%s/run/guest-01234567-89ab-cdef-0123-"
                             "456789abcdef.lock", dir);

    (void)state;
    assert_ok(xlx__lock_guest(ctx, &one, &a));
    xlx__unlock(&a);
    assert_int_equal(access(path, F_OK), 0);
    assert_ok(xlx__lock_guest(ctx, &one, &a));
    assert_fails(xlx__lock_guest(ctx, &one, &b), ERROR_LOCK_FAIL, path);
    xlx__unlock(&a);
    free(path);
}

static void host_waits(void **state)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    int fds[2], status;
    char byte;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (!pid) {
        if (xlx__lock_host(ctx, "usb", &lock) || write(fds[1], "", 1) != 1)
            _exit(1);
        usleep(200000);
        _exit(0);                   /* the lock goes with the process */
    }
    assert_int_equal(read(fds[0], &byte, 1), 1);
    assert_ok(xlx__lock_host(ctx, "usb", &lock));
    xlx__unlock(&lock);
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    close(fds[0]);
    close(fds[1]);
}

static void libxls_name(void **state)
{
    char *path = xlx__printf("%s/userdata-l.7.01234567-89ab-cdef-0123-"
                             "456789abcdef.qmp-socket-lock", dir);
    struct xlx__lock lock = XLX__LOCK_NONE;
    int fd, rc;

    (void)state;
    setenv("LIBXLX_XEN_LIB_DIR", dir, 1);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_fails(xlx__lock_libxl(ctx, 7, &one, "qmp-socket-lock", 0, &lock),
                 ERROR_LOCK_FAIL, path);
    close(fd);
    /* Free now; but without Xen, or with another domain 7, nobody can say
     * that the domain is there.  The file must not stay. */
    rc = xlx__lock_libxl(ctx, 7, &one, "qmp-socket-lock", 0, &lock);
    assert_int_not_equal(rc, 0);
    assert_int_not_equal(rc, ERROR_LOCK_FAIL);
    assert_int_equal(lock.fd, -1);
    assert_int_equal(access(path, F_OK), -1);
    unsetenv("LIBXLX_XEN_LIB_DIR");
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_a_guest),
        cmocka_unit_test(file_removed_meanwhile),
        cmocka_unit_test(host_waits),
        cmocka_unit_test(libxls_name),
    };

    return cmocka_run_group_tests_name("lock-guest", tests, setup, teardown);
}

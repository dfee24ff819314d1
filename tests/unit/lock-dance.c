/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libxl's lock protocol, against processes that do as libxl does: open, flock,
 * look whether the name still means that file, and unlink before release.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/lock.h"
#include "unit.h"

#define DANCERS 2
#define DANCES (getenv("SLOW") ? 10000 : 2000)

static struct {
    int holder;                     /* a process, or 0 */
    int collisions;
    int dancing;
} *shared;                          /* by all processes */

static char *dir, *path;

static int setup(void **state)
{
    (void)state;
    dir = unit_dir();
    path = xlx__printf("%s/userdata-l.7.uuid.qmp-socket-lock", dir);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return path && shared != MAP_FAILED ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    munmap(shared, sizeof(*shared));
    free(path);
    unit_dir_remove(dir);
    return 0;
}

/* The purpose of the lock: nobody else is here. */
static void critical_section(void)
{
    int me = getpid();

    if (__atomic_exchange_n(&shared->holder, me, __ATOMIC_SEQ_CST))
        __atomic_add_fetch(&shared->collisions, 1, __ATOMIC_SEQ_CST);
    sched_yield();
    if (__atomic_exchange_n(&shared->holder, 0, __ATOMIC_SEQ_CST) != me)
        __atomic_add_fetch(&shared->collisions, 1, __ATOMIC_SEQ_CST);
}

/* A descriptor with the lock, got libxl's way. */
static int libxl_lock(void)
{
    struct stat ours, named;
    int fd;

    for (;;) {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0 || flock(fd, LOCK_EX) || fstat(fd, &ours))
            _exit(1);
        if (!stat(path, &named) && ours.st_dev == named.st_dev &&
            ours.st_ino == named.st_ino)
            return fd;
        close(fd);
    }
}

static void libxl_unlock(int fd)
{
    if (unlink(path))
        _exit(2);
    close(fd);
}

static pid_t start_dancer(void)
{
    pid_t pid = fork();
    int fd, i;

    if (pid)
        return pid;
    for (i = 0; i < DANCES; i++) {
        fd = libxl_lock();
        critical_section();
        libxl_unlock(fd);
    }
    __atomic_sub_fetch(&shared->dancing, 1, __ATOMIC_SEQ_CST);
    _exit(0);
}

static void dance(void **state)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    int i, status, got = 0, rc;
    pid_t pids[DANCERS];

    (void)state;
    memset(shared, 0, sizeof(*shared));
    shared->dancing = DANCERS;
    for (i = 0; i < DANCERS; i++)
        pids[i] = start_dancer();
    while (got < DANCES ||
           __atomic_load_n(&shared->dancing, __ATOMIC_SEQ_CST)) {
        /* Mostly without waiting, to meet them as often as possible. */
        rc = xlx__lock_file(path, got % 100 ? 0 : xlx__now_ms() + 60000,
                            &lock);
        if (rc) {
            assert_int_equal(rc, ERROR_LOCK_FAIL);
            sched_yield();
            continue;
        }
        critical_section();
        xlx__unlock(&lock);
        got++;
    }
    for (i = 0; i < DANCERS; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(shared->collisions, 0);
    assert_int_equal(access(path, F_OK), -1);   /* the last one unlinked it */
}

/* A child that holds the lock and sleeps until it is killed. */
static pid_t start_holder(void)
{
    int fds[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (!pid) {
        libxl_lock();
        if (write(fds[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

static void holder_killed(void **state)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    char *holder, want[128];
    pid_t pid;
    int i;

    (void)state;
    for (i = 0; i < 20; i++) {
        pid = start_holder();
        holder = unit_process(pid);
        snprintf(want, sizeof(want), "%s holds the lock", holder);
        free(holder);
        assert_fails(xlx__lock_file(path, 0, &lock), ERROR_LOCK_FAIL, want);
        assert_int_equal(lock.fd, -1);
        assert_fails(xlx__lock_file(path, xlx__now_ms() + 20, &lock),
                     ERROR_LOCK_FAIL, want);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_ok(xlx__lock_file(path, 0, &lock));      /* without waiting */
        xlx__unlock(&lock);
        assert_int_equal(access(path, F_OK), -1);
        xlx__unlock(&lock);                             /* a no-op */
    }
}

/* The fork of a holder, which has not come to its exec yet, does not keep
 * the lock. */
static void released_despite_fork(void **state)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    pid_t pid;

    (void)state;
    assert_ok(xlx__lock_file(path, 0, &lock));
    assert_true(fcntl(lock.fd, F_GETFD) & FD_CLOEXEC);
    pid = fork();
    if (!pid)
        for (;;)
            pause();
    xlx__unlock(&lock);
    assert_ok(xlx__lock_file(path, 0, &lock));
    xlx__unlock(&lock);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void cannot_work(void **state)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    char *wrong = xlx__printf("%s/no/such", dir);

    (void)state;
    assert_fails(xlx__lock_file(wrong, xlx__now_ms() + 60000, &lock),
                 ERROR_FAIL, wrong);
    assert_fails(xlx__lock_file(dir, xlx__now_ms() + 60000, &lock),
                 ERROR_FAIL, "Is a directory");
    assert_int_equal(lock.fd, -1);
    free(wrong);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dance),
        cmocka_unit_test(holder_killed),
        cmocka_unit_test(released_despite_fork),
        cmocka_unit_test(cannot_work),
    };

    return cmocka_run_group_tests_name("lock-dance", tests, setup, teardown);
}

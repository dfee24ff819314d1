/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Jobs on the disk of a real QEMU, with each place that allocates failing in
 * turn.  Whatever fails, the next command finds what there is: after it no
 * job, file or record is left, the disk holds what it held, and a command that
 * says it succeeded did all of it.
 */
#include <signal.h>
#include <time.h>

#include "mirror/mirror.h"
#include "starve.h"
#include "unit.h"

#define WAIT_MS 30000

static char *dir, *who, *config, *copy, *disk;
static xlx_ctx *ctx;
static pid_t qemu;

static int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int sh(const char *fmt, ...)
{
    char command[2000];
    char *line;
    va_list ap;
    int r;

    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    line = xlx__printf("cd %s && { %s; } > sh.log 2>&1", dir, command);
    r = system(line);
    free(line);
    return r;
}

static int find(xlx_guest *guest)
{
    xlx_guest_init(guest);
    return xlx_guest_find(ctx, who, config, guest);
}

static void start_qemu(void)
{
    char *qmp = xlx__printf("unix:%s/qmp,server=on,wait=off", dir);
    char *drive = xlx__printf("node-name=xvda-qcow2,driver=qcow2,"
                              "file.driver=file,file.filename=%s/xvda.qcow2,"
                              "file.locking=off", dir);
    char *path = xlx__printf("%s/qmp", dir);
    xlx_guest guest;
    int i;

    unlink(path);
    qemu = fork();
    if (!qemu) {
        if (!freopen("qemu.log", "w", stdout) ||
            !freopen("qemu.log", "a", stderr))
            _exit(127);
        execlp("qemu-system-x86_64", "qemu-system-x86_64", "-machine",
               "pc,accel=tcg", "-m", "16", "-S", "-display", "none",
               "-nodefaults", "-name", "guest", "-uuid",
               "6f1b9a0e-53a4-4b0c-9c5e-0123456789ab", "-qmp", qmp,
               "-blockdev", drive, "-device",
               "virtio-blk-pci,id=xvda,drive=xvda-qcow2", (char *)NULL);
        _exit(127);
    }
    for (i = 0; i < WAIT_MS / 20 && find(&guest); i++) {
        xlx_guest_dispose(&guest);
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    }
    xlx_guest_dispose(&guest);
    free(path);
    free(drive);
    free(qmp);
}

static void end_qemu(void)
{
    kill(qemu, SIGTERM);
    waitpid(qemu, NULL, 0);
}

/* ---- the calls ---------------------------------------------------------- */

/* The next one, when QEMU may not have seen yet that the clients before it are
 * gone, and may send the answer to one of them */
static int patiently(int (*command)(void))
{
    int i, rc = ERROR_NOT_READY;

    for (i = 0; i < WAIT_MS / 20 && (rc == ERROR_NOT_READY ||
                                     rc == ERROR_PROTOCOL_ERROR_QMP); i++) {
        if (i)
            nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
        rc = command();
    }
    return rc;
}

static int begin_mirror(void)
{
    const xlx_disk_mirror_spec spec = { .vdev = disk, .target = copy };
    xlx_disk_job job;
    xlx_guest guest;
    int rc;

    xlx_disk_job_init(&job);
    rc = find(&guest);
    if (!rc)
        rc = xlx_disk_mirror(ctx, &guest, &spec, &job);
    xlx_disk_job_dispose(&job);
    xlx_guest_dispose(&guest);
    return rc;
}

static int begin_move(void)
{
    const xlx_disk_move_spec spec = { .vdev = disk, .target = copy };
    xlx_disk_job job;
    xlx_guest guest;
    int rc;

    xlx_disk_job_init(&job);
    rc = find(&guest);
    if (!rc)
        rc = xlx_disk_move(ctx, &guest, &spec, NULL, &job);
    xlx_disk_job_dispose(&job);
    xlx_guest_dispose(&guest);
    return rc;
}

typedef int on_job(xlx_ctx *c, const xlx_guest *guest, const char *vdev,
                   xlx_disk_job *job);

static int do_with(on_job *call)
{
    xlx_disk_job job;
    xlx_guest guest;
    int rc;

    xlx_disk_job_init(&job);
    rc = find(&guest);
    if (!rc)
        rc = call(ctx, &guest, disk, &job);
    xlx_disk_job_dispose(&job);
    xlx_guest_dispose(&guest);
    return rc;
}

static int wait_for(xlx_ctx *c, const xlx_guest *guest, const char *vdev,
                    xlx_disk_job *job)
{
    return xlx_disk_job_wait(c, guest, vdev, NULL, job);
}

static int await(void) { return do_with(wait_for); }
static int finish(void) { return do_with(xlx_disk_job_finish); }
static int cancel(void) { return do_with(xlx_disk_job_cancel); }

static int list(void)
{
    xlx_disk_jobs found;
    xlx_guest guest;
    int rc;

    xlx_disk_jobs_init(&found);
    rc = find(&guest);
    if (!rc)
        rc = xlx_disk_job_list(ctx, &guest, &found);
    xlx_disk_jobs_dispose(&found);
    xlx_guest_dispose(&guest);
    return rc;
}

/* ---- what must hold ----------------------------------------------------- */

static void nothing_left(void)
{
    xlx_disk_jobs found;
    xlx_guest guest;

    xlx_disk_jobs_init(&found);
    assert_ok(patiently(list));
    assert_ok(find(&guest));
    assert_ok(xlx_disk_job_list(ctx, &guest, &found));
    assert_int_equal(found.num_jobs, 0);
    assert_int_equal(sh("! ls state/*/disk-jobs.json"), 0);
    xlx_disk_jobs_dispose(&found);
    xlx_guest_dispose(&guest);
}

/* The command once, with a place failing; its rc. */
static int starve_at(int (*command)(void), int n)
{
    int rc;

    xlx__error_clear();
    starve_place = n;
    rc = command();
    starve_place = -1;
    if (rc && !*xlx_error_get()) {
        print_error("place %d: %d without a message\n", n, rc);
        fail();
    }
    return rc;
}

static int places_of(int (*command)(void))
{
    int places;

    starve_survey();
    assert_ok(command());
    (void)starve_survey_end(&places);
    print_message("# %d places\n", places);
    assert_in_range(places, 20, 2000);
    return places;
}

/* The job was started, or not: it can be cancelled, and then nothing is. */
static void starts(int (*begin)(void))
{
    int n, places = places_of(begin), rc;

    assert_ok(patiently(cancel));
    for (n = 0; n < places; n++) {
        rc = starve_at(begin, n);
        if (!rc)
            assert_ok(patiently(await));
        (void)patiently(cancel);
        nothing_left();
        assert_int_equal(sh("! ls copy"), 0);
    }
}

static void mirrors(void **state)
{
    (void)state;
    starts(begin_mirror);
}

static void moves(void **state)
{
    (void)state;
    starts(begin_move);
}

static void cancels(void **state)
{
    int n, places;
    (void)state;

    assert_ok(patiently(begin_mirror));
    places = places_of(cancel);
    for (n = 0; n < places; n++) {
        assert_ok(patiently(begin_mirror));
        if (starve_at(cancel, n))
            (void)patiently(cancel);
        nothing_left();
        assert_int_equal(sh("! ls copy"), 0);
    }
}

static void lists(void **state)
{
    int n, places;
    (void)state;

    assert_ok(patiently(begin_mirror));
    places = places_of(list);
    for (n = 0; n < places; n++)
        (void)starve_at(list, n);
    assert_ok(patiently(cancel));
    nothing_left();
}

/* A failure of the first try, and then the copy is there all the same. */
static void finishes(void **state)
{
    int n, places;
    (void)state;

    assert_ok(patiently(begin_mirror));
    assert_ok(patiently(await));
    places = places_of(finish);
    for (n = 0; n < places; n++) {
        assert_int_equal(sh("rm copy"), 0);
        assert_ok(patiently(begin_mirror));
        assert_ok(patiently(await));
        if (starve_at(finish, n))
            (void)patiently(finish);
        nothing_left();
        assert_int_equal(sh("qemu-img compare -U -f qcow2 -F qcow2 copy "
                            "xvda.qcow2"), 0);
    }
    assert_int_equal(sh("rm copy"), 0);
}

static void finishes_move(void **state)
{
    int n, places;
    (void)state;

    assert_ok(patiently(begin_move));
    assert_ok(patiently(await));
    places = places_of(finish);
    for (n = 0; n < places; n++) {
        end_qemu();
        assert_int_equal(sh("rm -rf copy state run"), 0);
        start_qemu();
        assert_ok(patiently(begin_move));
        assert_ok(patiently(await));
        if (starve_at(finish, n))
            (void)patiently(finish);
        nothing_left();
        assert_int_equal(sh("qemu-img compare -U -f qcow2 -F qcow2 copy "
                            "xvda.qcow2"), 0);
        /* the guest is on it */
        assert_int_equal(sh("readlink /proc/%d/fd/* | grep -qx %s",
                            (int)qemu, copy), 0);
    }
}

/* The guest is shut down, and qemu-img works in the wait.  The disk is in the
 * copy afterwards, and the record says so, or nothing has happened. */
static void works(void **state)
{
    int n, places, step;
    (void)state;

    end_qemu();
    free(who);
    who = strdup("guest");
    config = xlx__printf("%s/guest.cfg", dir);
    assert_int_equal(sh("rm -rf copy state run; printf 'name=\"guest\"\\nuuid="
                        "\"6f1b9a0e-53a4-4b0c-9c5e-0123456789ab\"\\ndisk=["
                        "\"format=qcow2,vdev=xvda,access=rw,target=%s/"
                        "xvda.qcow2\"]\\n' > guest.cfg", dir), 0);
    assert_ok(begin_move());
    places = places_of(await);
    step = getenv("SLOW") ? 1 : places / 40 + 1;
    for (n = 0; n < places; n += step) {
        assert_int_equal(sh("rm -rf copy state run"), 0);
        assert_ok(begin_move());
        if (starve_at(await, n))
            (void)cancel();
        nothing_left();
        assert_int_equal(sh("if [ -e copy ]; then qemu-img compare -f qcow2 "
                            "-F qcow2 copy xvda.qcow2 && grep -q '\"%s\"' "
                            "state/*/snapshots.json; else ! ls state/*; fi",
                            copy), 0);
    }
    start_qemu();
}

static int setup(void **state)
{
    (void)state;
    dir = unit_dir();
    ctx = unit_ctx(dir);
    who = xlx__printf("qmp:%s/qmp", dir);
    copy = xlx__printf("%s/copy", dir);
    disk = strdup("xvda");
    if (chdir(dir) || sh("qemu-img create -f qcow2 xvda.qcow2 1M && "
                         "qemu-io -f qcow2 -c 'write -P 1 0 128k' "
                         "xvda.qcow2"))
        return -1;
    start_qemu();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end_qemu();
    xlx_ctx_free(ctx);
    free(config);
    free(disk);
    free(copy);
    free(who);
    unit_dir_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mirrors),
        cmocka_unit_test(moves),
        cmocka_unit_test(cancels),
        cmocka_unit_test(lists),
        cmocka_unit_test(finishes),
        cmocka_unit_test(finishes_move),
        cmocka_unit_test(works),
    };

    return cmocka_run_group_tests_name("mirror-no-memory", tests, setup,
                                       teardown);
}

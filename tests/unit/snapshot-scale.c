/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listing grows with what is listed and with nothing else: files are opened
 * and looked at once for each guest and each of its layers, and the memory is
 * that of one guest.  Counts, not times, so that it holds on any machine.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "guests.h"
#include "unit.h"

#define MAX_PEAK_KIB (64L << 10)

/* ---- the library's calls of open() and stat() come here ----------------- */

static int opens, stats;

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list ap;

    if (flags & O_CREAT) {
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    opens++;
    return openat(AT_FDCWD, path, flags, mode);
}

int stat(const char *path, struct stat *st)
{
    stats++;
    return fstatat(AT_FDCWD, path, st, 0);
}

/* ---- counts ------------------------------------------------------------- */

static char *dir;

static int setup(void **state)
{
    (void)state;
    dir = unit_dir();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unit_dir_remove(dir);
    return 0;
}

static void make(int num_guests, int num_snapshots)
{
    char *state = xlx__printf("%s/state", dir);
    char *images = xlx__printf("%s/images", dir);

    assert_non_null(state);
    assert_non_null(images);
    guests_make(state, images, num_guests, num_snapshots);
    free(state);
    free(images);
}

/* Lists that many guests, newly made; leaves opens and stats. */
static void list(int num_guests, int num_snapshots)
{
    xlx_ctx *ctx = unit_ctx(dir);
    xlx_snapshots snapshots;
    xlx_guests known;
    int i;

    make(num_guests, num_snapshots);
    opens = stats = 0;
    xlx_guests_init(&known);
    assert_ok(xlx_guest_list(ctx, &known));
    assert_int_equal(known.num_guests, num_guests);
    for (i = 0; i < num_guests; i++) {
        xlx_snapshots_init(&snapshots);
        assert_ok(xlx_snapshot_list(ctx, &known.guests[i], &snapshots));
        assert_int_equal(snapshots.num_snapshots, num_snapshots);
        assert_string_equal(snapshots.guest.name, known.guests[i].name);
        xlx_snapshots_dispose(&snapshots);
    }
    xlx_guests_dispose(&known);
    xlx_ctx_free(ctx);
}

static void linear_in_guests(void **state)
{
    int few_opens, few_stats;

    (void)state;
    list(10, 8);
    few_opens = opens;
    few_stats = stats;
    assert_true(few_opens >= 10 * 8);       /* they are counted */
    list(40, 8);
    assert_int_equal(opens, 4 * few_opens);
    assert_int_equal(stats, 4 * few_stats);
}

static void linear_in_snapshots(void **state)
{
    int first_opens, first_stats, second_opens, second_stats;

    (void)state;
    list(1, 20);
    first_opens = opens;
    first_stats = stats;
    list(1, 40);
    second_opens = opens;
    second_stats = stats;
    list(1, 60);
    assert_int_equal(opens - second_opens, second_opens - first_opens);
    assert_int_equal(stats - second_stats, second_stats - first_stats);
}

/* ---- memory ------------------------------------------------------------- */

/* Runs xl-snapshot snapshot-list; the lines that name a snapshot, and the
 * most memory that the process had. */
static int run_list(long *peak_kib_r)
{
    const char *top = getenv("top_builddir");
    char *program = xlx__printf("%s/xl-plugins/xl-snapshot",
                                top ? top : "../..");
    char line[512];
    struct rusage usage;
    int count = 0, out[2], status;
    pid_t pid;
    FILE *f;

    assert_non_null(program);
    assert_int_equal(pipe(out), 0);
    pid = fork();
    if (!pid) {
        dup2(out[1], 1);
        close(out[0]);
        close(out[1]);
        execl(program, program, "snapshot-list", (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    close(out[1]);
    f = fdopen(out[0], "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        count += strstr(line, "before the nightly update") != NULL;
    fclose(f);
    assert_int_equal(wait4(pid, &status, 0, &usage), pid);
    assert_int_equal(status, 0);
    free(program);
    *peak_kib_r = usage.ru_maxrss;
    return count;
}

static void memory_of_one_guest(void **state)
{
    long peak_kib;

    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip();                                 /* its memory would be counted */
#endif
    xlx_ctx_free(unit_ctx(dir));         /* for its environment */
    make(1000, 100);
    assert_int_equal(run_list(&peak_kib), 1000 * 100);
    if (peak_kib >= MAX_PEAK_KIB)
        print_error("peak of %ld KiB\n", peak_kib);
    assert_true(peak_kib < MAX_PEAK_KIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(linear_in_guests, setup, teardown),
        cmocka_unit_test_setup_teardown(linear_in_snapshots, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(memory_of_one_guest, setup,
                                        teardown),
    };

    return cmocka_run_group_tests_name("snapshot-scale", tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshot commands on a guest that is shut down, with each of their
 * allocations failing in turn.  Whatever fails, records and images are
 * afterwards as before the command or as after it, if need be by a repair, and
 * where a merge had begun by the same command, given again; and a command that
 * says it succeeded did all of it.
 */
#include <ftw.h>
#include <sys/stat.h>

#include "snapshot/snapshot.h"
#include "starve.h"
#include "unit.h"

#define UUID "6f1b9a0e-53a4-4b0c-9c5e-0123456789ab"
#define MAX_ALLOCATIONS 20000

static char *dir, *config;
static xlx_ctx *ctx;

/* Runs a shell command in the directory of the test. */
static void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void sh(const char *fmt, ...)
{
    char command[2000], *line;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    line = xlx__printf("cd %s && { %s; }", dir, command);
    if (system(line)) {
        print_error("%s\n", line);
        fail();
    }
    free(line);
}

/* ---- what there is ------------------------------------------------------ */

static uint64_t hash;

static void add_bytes(const void *bytes, size_t len)
{
    const unsigned char *p = bytes;

    while (len--)
        hash = (hash ^ *p++) * UINT64_C(1099511628211);     /* FNV-1a */
}

static void add_content(const char *path)
{
    static char buffer[65536];
    FILE *f = fopen(path, "r");
    size_t n;

    assert_non_null(f);
    while ((n = fread(buffer, 1, sizeof(buffer), f)))
        add_bytes(buffer, n);
    fclose(f);
}

static uint64_t sum;

static int add_file(const char *path, const struct stat *st, int type,
                    struct FTW *at)
{
    (void)at;
    hash = UINT64_C(14695981039346656037);
    add_bytes(path, strlen(path));
    if (type == FTW_F) {
        add_bytes(&st->st_mtim.tv_nsec, sizeof(st->st_mtim.tv_nsec));
        add_content(path);
    }
    sum += hash;
    return 0;
}

/* The sum of all bytes in images and records */
static uint64_t fingerprint(void)
{
    char *images = xlx__printf("%s/images", dir);
    char *state = xlx__printf("%s/state", dir);

    sum = 0;
    nftw(images, add_file, 16, FTW_PHYS);
    nftw(state, add_file, 16, FTW_PHYS);
    free(images);
    free(state);
    return sum;
}

static int find(xlx_guest *guest)
{
    xlx_guest_init(guest);
    return xlx_guest_find(ctx, "guest", config, guest);
}

static void view_disk(FILE *out, const char *image, const char *format,
                      const char *tag)
{
    char *raw = xlx__printf("%s/view.raw", dir);

    if (*tag)
        sh("qemu-img convert -f %s -O raw -l snapshot.name='%s' %s view.raw "
           "2>view.err || echo gone >view.raw", format, tag, image);
    else
        sh("qemu-img convert -f %s -O raw %s view.raw", format, image);
    hash = UINT64_C(14695981039346656037);
    add_content(raw);
    fprintf(out, " %016llx", (unsigned long long)hash);
    free(raw);
}

/* Prints what a user finds: the snapshots, and what each disk of each
 * holds.  A name that is made of the time is left out. */
static char *view(void)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    xlx_snapshots list;
    xlx_guest guest;
    int i, j;

    xlx_snapshots_init(&list);
    assert_ok(find(&guest));
    assert_ok(xlx_snapshot_list(ctx, &guest, &list));
    fprintf(out, "now");
    if (!list.num_disks)
        view_disk(out, "images/xvda.qcow2", "qcow2", "");
    for (i = 0; i < list.num_disks; i++)
        view_disk(out, list.disks[i].image, list.disks[i].format, "");
    for (i = 0; i < list.num_snapshots; i++) {
        const xlx_snapshot *s = &list.snapshots[i];

        fprintf(out, "; %s %s %s",
                strncmp(s->name, "one", 4) ? "(kept)" : s->name,
                xlx_snapshot_kind_to_string(s->kind),
                xlx_snapshot_status_to_string(s->status));
        for (j = 0; j < s->num_disks; j++)
            view_disk(out, s->disks[j].image, s->disks[j].format,
                      xlx__text(s->disks[j].tag));
    }
    fclose(out);
    xlx_snapshots_dispose(&list);
    xlx_guest_dispose(&guest);
    return text;
}

/* ---- the commands ------------------------------------------------------- */

static int create(xlx_snapshot_kind kind)
{
    char name[] = "one";
    xlx_snapshot_spec spec;
    xlx_snapshot made;
    xlx_guest guest;
    int rc;

    xlx_snapshot_spec_init(&spec);
    xlx_snapshot_init(&made);
    rc = find(&guest);
    spec.name = name;
    spec.kind = kind;
    if (!rc)
        rc = xlx_snapshot_create(ctx, &guest, &spec, &made);
    spec.name = NULL;
    xlx_snapshot_spec_dispose(&spec);
    xlx_snapshot_dispose(&made);
    xlx_guest_dispose(&guest);
    return rc;
}

static int create_external(void)
{
    return create(XLX_SNAPSHOT_KIND_EXTERNAL);
}

static int create_internal(void)
{
    return create(XLX_SNAPSHOT_KIND_INTERNAL);
}

static int delete(void)
{
    char name[] = "one";
    xlx_snapshot_delete_spec spec;
    xlx_snapshot_plan plan;
    xlx_guest guest;
    int rc;

    xlx_snapshot_delete_spec_init(&spec);
    xlx_snapshot_plan_init(&plan);
    rc = find(&guest);
    spec.name = name;
    if (!rc)
        rc = xlx_snapshot_delete(ctx, &guest, &spec, NULL, &plan);
    spec.name = NULL;
    xlx_snapshot_delete_spec_dispose(&spec);
    xlx_snapshot_plan_dispose(&plan);
    xlx_guest_dispose(&guest);
    return rc;
}

static int revert(void)
{
    char name[] = "one";
    xlx_snapshot_revert_spec spec;
    xlx_snapshot_revert_result result;
    xlx_guest guest;
    int rc;

    xlx_snapshot_revert_spec_init(&spec);
    xlx_snapshot_revert_result_init(&result);
    rc = find(&guest);
    spec.name = name;
    if (!rc)
        rc = xlx_snapshot_revert(ctx, &guest, &spec, &result);
    spec.name = NULL;
    xlx_snapshot_revert_spec_dispose(&spec);
    xlx_snapshot_revert_result_dispose(&result);
    xlx_guest_dispose(&guest);
    return rc;
}

static int list(void)
{
    xlx_snapshots found;
    xlx_guest guest;
    int rc;

    xlx_snapshots_init(&found);
    rc = find(&guest);
    if (!rc)
        rc = xlx_snapshot_list(ctx, &guest, &found);
    xlx_snapshots_dispose(&found);
    xlx_guest_dispose(&guest);
    return rc;
}

static int repair(void)
{
    xlx_repair_report report;
    xlx_guest guest;
    int rc;

    xlx_repair_report_init(&report);
    rc = find(&guest);
    if (!rc)
        rc = xlx_snapshot_repair(ctx, &guest, false, &report);
    xlx_repair_report_dispose(&report);
    xlx_guest_dispose(&guest);
    return rc;
}

/* ---- starving one ------------------------------------------------------- */

static void keep(void)
{
    sh("rm -rf kept && mkdir kept && cp -a images state kept/");
}

static void restore(void)
{
    sh("rm -rf images state && cp -a kept/images kept/state .");
}

/* The command failed, or did not notice; n is for the message.  There is no
 * way back from a merge that has begun: the command, given again, ends it. */
static void look(int n, int rc, int (*command)(void), const char *before,
                 const char *after)
{
    char *error = strdup(xlx_error_get()), *seen;

    if (rc)
        assert_ok(repair());
    seen = view();
    if (rc && strstr(seen, " merging ")) {
        free(seen);
        assert_ok(command());
        seen = view();
    }
    if (strcmp(seen, after) && (!rc || strcmp(seen, before))) {
        print_error("allocation %d: %d (%s)\nseen   %s\nbefore %s\n"
                    "after  %s\n", n, rc, error, seen, before, after);
        sh("find images state -type f | xargs ls -l >&2; "
           "cat state/*/*.json >&2 || true");
        fail();
    }
    free(seen);
    free(error);
}

/* The command once more, with an allocation failing: number n of all, or the
 * first at place n.  False when none had to fail. */
static bool starve_once(int (*command)(void), bool all, int n, int *rc_r)
{
    int *left = all ? &starve_left : &starve_place;
    bool spent;

    xlx__error_clear();
    *left = n;
    *rc_r = command();
    spent = *left < 0;
    *left = -1;
    if (*rc_r && !*xlx_error_get()) {
        print_error("allocation %d: %d without a message\n", n, *rc_r);
        fail();
    }
    return spent;
}

/* Each place that allocates, once; with SLOW each allocation. */
static void starve(int (*command)(void), int least)
{
    bool all = getenv("SLOW") != NULL, spent = true;
    char *before, *after;
    uint64_t print;
    int n, rc, num, num_places;

    keep();
    before = view();            /* which ends what was cut short */
    restore();
    starve_survey();
    assert_ok(command());
    num = starve_survey_end(&num_places);
    assert_in_range(num, least, MAX_ALLOCATIONS - 1);
    print_message("# %d allocations in %d places\n", num, num_places);
    after = view();
    restore();
    print = fingerprint();
    for (n = 0; all ? spent : n < num_places; n++) {
        assert_in_range(n, 0, MAX_ALLOCATIONS);
        spent = starve_once(command, all, n, &rc);
        if (fingerprint() != print || !rc) {
            look(n, rc, command, before, after);
            restore();
        }
        if (!spent)
            assert_ok(rc);
    }
    free(before);
    free(after);
}

/* A guest with one disk that holds something, and no record */
static void fresh(void)
{
    sh("rm -rf images state run && mkdir -m 700 images state run && "
       "qemu-img create -q -f qcow2 images/xvda.qcow2 1M && "
       "qemu-io -f qcow2 -c 'write -P 1 0 128k' images/xvda.qcow2 >qemu-io");
}

/* The same with a snapshot, and other content since then */
static void with_snapshot(int (*make)(void), const char *present)
{
    fresh();
    assert_ok(make());
    sh("qemu-io -f qcow2 -c 'write -P 2 64k 128k' images/%s >qemu-io",
       present);
}

static void creates_external(void **state)
{
    (void)state;
    fresh();
    starve(create_external, 100);
}

static void creates_internal(void **state)
{
    (void)state;
    fresh();
    starve(create_internal, 100);
}

static void deletes_external(void **state)
{
    (void)state;
    with_snapshot(create_external, "xvda.one.qcow2");
    starve(delete, 100);
}

static void deletes_internal(void **state)
{
    (void)state;
    with_snapshot(create_internal, "xvda.qcow2");
    starve(delete, 100);
}

static void reverts_external(void **state)
{
    (void)state;
    with_snapshot(create_external, "xvda.one.qcow2");
    starve(revert, 100);
}

static void reverts_internal(void **state)
{
    (void)state;
    with_snapshot(create_internal, "xvda.qcow2");
    starve(revert, 100);
}

static void lists(void **state)
{
    (void)state;
    with_snapshot(create_external, "xvda.one.qcow2");
    starve(list, 50);
}

/* Sees what is left when a command was killed at this point */
static void killed(int (*command)(void), const char *point)
{
    pid_t pid = fork();
    int status;

    if (!pid) {
        setenv("LIBXLX_FAULT", point, 1);
        _exit(command() ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void repairs(void **state)
{
    (void)state;
#ifdef XLX_FAULT_POINTS
    with_snapshot(create_external, "xvda.one.qcow2");
    killed(delete, "snapshot-merge.committed");
    starve(repair, 100);
    with_snapshot(create_external, "xvda.one.qcow2");
    killed(revert, "snapshot-revert.journal");
    starve(repair, 50);
#else
    (void)killed;
    skip();
#endif
}

static int setup(void **state)
{
    (void)state;
    dir = unit_dir();
    ctx = unit_ctx(dir);
    config = xlx__printf("%s/guest.cfg", dir);
    sh("printf 'name = \"guest\"\\nuuid = \"" UUID "\"\\n"
       "disk = [ \"%%s,qcow2,xvda,w\" ]\\n' %s/images/xvda.qcow2 > guest.cfg",
       dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    xlx_ctx_free(ctx);
    free(config);
    unit_dir_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creates_external),
        cmocka_unit_test(creates_internal),
        cmocka_unit_test(deletes_external),
        cmocka_unit_test(deletes_internal),
        cmocka_unit_test(reverts_external),
        cmocka_unit_test(reverts_internal),
        cmocka_unit_test(lists),
        cmocka_unit_test(repairs),
    };

    return cmocka_run_group_tests_name("snapshot-no-memory", tests, setup,
                                       teardown);
}

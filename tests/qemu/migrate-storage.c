/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl disk-migrate and xl disk-migrate-repair of a guest whose disks a real
 * QEMU serves, on a machine without Xen: everything is the library's but
 * migrate-domain.c, which is replaced here.  The domain is a file each for
 * what it is (suspended, gone, away), in $FAKE_DOMAIN; its memory is a stream
 * in libxl's format with random pages.
 *
 *     migrate-storage GUEST HOST [OPTION=VALUE]...
 *     xl-disk-migrate-repair UUID            as the guard starts it
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "migrate/migrate.h"

#define PAGES 2000

/* ---- the domain --------------------------------------------------------- */

static char *state_file(const char *what)
{
    char *path = NULL;

    if (asprintf(&path, "%s/%s", getenv("FAKE_DOMAIN"), what) < 0)
        abort();
    return path;
}

static bool is(const char *what)
{
    char *path = state_file(what);
    bool yes = !access(path, F_OK);

    free(path);
    return yes;
}

static void set(const char *what, bool yes)
{
    char *path = state_file(what);
    int fd;

    if (yes) {
        fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
    } else {
        unlink(path);
    }
    free(path);
}

int xlx__migrate_disks(xlx_ctx *ctx, const xlx_guest *guest,
                       libxl_device_disk **disks_r, int *num_r)
{
    const char *names = getenv("FAKE_DISKS");
    libxl_device_disk *disks = calloc(8, sizeof(*disks));
    char *copy = strdup(names ? names : "xvda"), *name, *state;
    int num = 0;

    (void)ctx;
    (void)guest;
    for (name = strtok_r(copy, " ", &state); name && num < 8;
         name = strtok_r(NULL, " ", &state)) {
        libxl_device_disk_init(&disks[num]);
        disks[num].is_cdrom = !strncmp(name, "cd:", 3);
        disks[num].readwrite = !disks[num].is_cdrom;
        disks[num].vdev = strdup(disks[num].is_cdrom ? "hdc" : name);
        disks[num].pdev_path = strdup(name + 3 * disks[num].is_cdrom);
        num++;
    }
    free(copy);
    *disks_r = disks;
    *num_r = num;
    return 0;
}

int xlx__migrate_config(xlx_ctx *ctx, const xlx_guest *guest,
                        const xlx_disk_migration *record, bool keep_domid,
                        char **config_r)
{
    (void)guest;
    (void)keep_domid;
    *config_r = xlx_disk_migration_to_json(ctx, record);
    return *config_r ? 0 : ERROR_FAIL;
}

static bool put(int fd, const void *bytes, size_t len)
{
    const char *p = bytes;
    ssize_t n;

    for (; len; p += n, len -= (size_t)n) {
        n = write(fd, p, len);
        if (n <= 0)
            return false;
    }
    return true;
}

static bool put_record(int fd, uint32_t type, uint32_t length)
{
    static char body[8192];
    const uint32_t head[] = { type, length };

    return put(fd, head, sizeof(head)) && put(fd, body, (length + 7) & ~7u);
}

static bool put_stream(int fd)
{
    static const char head[] = "LibxlFmt" "\0\0\0\2" "\0\0\0";
    static const char xc[] = "\xff\xff\xff\xff\xff\xff\xff\xff" "XENF"
        "\0\0\0\2" "\0\0\0\0\0\0\0";
    static const uint32_t domain[] = { 2, 12, 4, 17 };
    int i;

    if (!put(fd, head, 16) || !put_record(fd, 1, 0) || !put(fd, xc, 24) ||
        !put(fd, domain, 16))
        return false;
    for (i = 0; i < PAGES; i++)
        if (!put_record(fd, 1, 4096 + (uint32_t)i % 9))
            return false;
    return put_record(fd, 0, 0) && put_record(fd, 2, 13) &&
           put_record(fd, 3, 5000) && put_record(fd, 0, 0);
}

static int tell_qemu(xlx_ctx *ctx, const xlx_guest *guest,
                     const char *command, const char *state)
{
    struct xlx__json_out *args = NULL;
    struct xlx__qmp *qmp = NULL;
    int rc;

    if (state) {
        args = xlx__json_out_new(false);
        xlx__json_out_object(args);
        xlx__json_out_kv(args, "filename", state);
        xlx__json_out_kv_bool(args, "live", true);
        xlx__json_out_end(args);
    }
    rc = xlx__qmp_open(ctx, guest, &qmp);
    if (!rc)
        rc = xlx__qmp_call(qmp, command, args, NULL);
    xlx__qmp_close(qmp);
    return rc;
}

/* As libxl does with the QEMU of an HVM guest, which then lets go of its
 * images. */
static int save_qemu(xlx_ctx *ctx, const xlx_guest *guest)
{
    char *state = state_file("qemu-save");
    int rc;

    rc = tell_qemu(ctx, guest, "stop", NULL);
    if (!rc)
        rc = tell_qemu(ctx, guest, "xen-save-devices-state", state);
    free(state);
    return rc;
}

int xlx__migrate_suspend(xlx_ctx *ctx, const xlx_guest *guest,
                         const struct xlx__relay *relay,
                         const xlx_progress *progress)
{
    int rc;

    (void)progress;
    if (is("timeout"))
        return xlx__error(ERROR_GUEST_TIMEDOUT, "it did not suspend itself");
    signal(SIGPIPE, SIG_IGN);
    set("suspended", true);
    rc = getenv("FAKE_HVM") ? save_qemu(ctx, guest) : 0;
    if (rc) return rc;
    return put_stream(relay->fd) ? 0
         : xlx__error(ERROR_FAIL, "libxl could not send the memory");
}

int xlx__migrate_resume(xlx_ctx *ctx, const xlx_guest *guest)
{
    int rc = 0;

    if (getenv("FAKE_HVM"))         /* it has the images again, and rests */
        rc = tell_qemu(ctx, guest, "cont", NULL);
    if (!rc && getenv("FAKE_HVM"))
        rc = tell_qemu(ctx, guest, "stop", NULL);
    set("suspended", false);
    return rc;
}

int xlx__migrate_destroy(xlx_ctx *ctx, const xlx_guest *guest)
{
    (void)ctx;
    (void)guest;
    set("gone", true);
    return 0;
}

int xlx__migrate_rename(xlx_ctx *ctx, const xlx_guest *guest, bool away)
{
    (void)ctx;
    (void)guest;
    set("away", away);
    return 0;
}

/* As of an HVM guest: QEMU is stopped already, and must not be set going. */
bool xlx__migrate_is_hvm(xlx_ctx *ctx, const xlx_guest *guest)
{
    (void)ctx;
    (void)guest;
    return true;
}

int xlx__migrate_look(xlx_ctx *ctx, const xlx_guest *guest,
                      enum xlx__migrate_state *state_r)
{
    (void)ctx;
    (void)guest;
    *state_r = is("gone") ? XLX__MIGRATE_GONE
             : is("suspended") ? XLX__MIGRATE_SUSPENDED : XLX__MIGRATE_RUNS;
    return 0;
}

/* ---- the commands ------------------------------------------------------- */

static int on_progress(void *user, const xlx_job_progress *now)
{
    (void)user;
    (void)now;
    return is("cancel");
}

static void read_option(char *option, xlx_disk_migrate_spec *spec)
{
    char *value = strchr(option, '=');

    if (!value)
        abort();
    value++;
    if (!strncmp(option, "map=", 4))
        spec->map = value;
    else if (!strncmp(option, "ssh=", 4))
        spec->command = value;
    else if (!strncmp(option, "disks=", 6))
        spec->disks = value;
    else if (!strncmp(option, "speed=", 6))
        spec->speed = (uint64_t)atoll(value);
    else if (!strncmp(option, "flatten=", 8))
        spec->flatten = true;
    else
        abort();
}

static int migrate(xlx_ctx *ctx, const xlx_guest *guest, int argc,
                   char **argv)
{
    const xlx_progress progress = { .callback = on_progress };
    xlx_disk_migration migration;
    xlx_disk_migrate_spec spec;
    int i, rc;

    xlx_disk_migrate_spec_init(&spec);
    xlx_disk_migration_init(&migration);
    spec.host = argv[2];            /* all of it is in argv */
    for (i = 3; i < argc; i++)
        read_option(argv[i], &spec);
    rc = xlx_disk_migrate(ctx, guest, &spec, &progress, &migration);
    if (!rc)
        printf("moved\n");
    xlx_disk_migration_dispose(&migration);
    return rc;
}

static int repair(xlx_ctx *ctx, const xlx_guest *guest, int argc,
                  char **argv)
{
    bool gone = argc > 2 && !strcmp(argv[2], "--gone");
    bool arrived = argc > 2 && !strcmp(argv[2], "--arrived");
    xlx_repair_report report;
    int i, rc;

    xlx_repair_report_init(&report);
    rc = xlx_disk_migrate_repair(ctx, guest, gone, arrived, false, &report);
    for (i = 0; i < report.num_findings; i++)
        printf("%s: %s\n", report.findings[i].what, report.findings[i].done);
    xlx_repair_report_dispose(&report);
    return rc;
}

int main(int argc, char **argv)
{
    bool is_repair = strstr(argv[0], "repair");
    xlx_guest guest;
    xlx_ctx *ctx;
    int rc;

    if (xlx_ctx_alloc(&ctx, NULL, NULL))
        return 2;
    xlx_guest_init(&guest);
    rc = xlx_guest_find(ctx, argv[1], NULL, &guest);
    if (!rc)
        rc = is_repair ? repair(ctx, &guest, argc, argv)
                       : migrate(ctx, &guest, argc, argv);
    if (rc)
        fprintf(stderr, "%s\n", xlx_error_get());
    xlx_guest_dispose(&guest);
    xlx_ctx_free(ctx);
    return rc ? 1 : 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A migration with disks, step by step, and the two ends that it can have:
 * the guest stays, or it has left.  migrate.h has the order and its reason.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/kernfs.h"
#include "core/store.h"
#include "disk/disk.h"
#include "migrate/migrate.h"

#define END_MS 10000
#define RECEIVER_MS 60000

/* ---- before ------------------------------------------------------------- */

static int check_spec(const xlx_disk_migrate_spec *spec)
{
    const char *host = xlx__text(spec->host);

    if (!*host || *host == '-')
        return xlx__error(ERROR_INVAL, "host \"%s\": the name of the other "
                          "host", host);
    if (spec->command && !*spec->command)
        return xlx__error(ERROR_INVAL, "an empty command: the disks are made "
                          "on the other host by the command that runs there");
    return 0;
}

/* An earlier one has to be dealt with first: it says where the guest is. */
static int check_earlier(struct xlx__migrate *m)
{
    xlx_disk_migration earlier;
    bool found;
    int rc;

    xlx_disk_migration_init(&earlier);
    rc = xlx__disk_migration_load(m->ctx, &m->guest->uuid, &earlier, &found);
    if (!rc && found)
        rc = xlx__error(ERROR_NOT_READY, "a migration to %s was cut short: xl "
                        "disk-migrate-repair", earlier.host);
    xlx_disk_migration_dispose(&earlier);
    return rc;
}

static int fill_record(struct xlx__migrate *m)
{
    xlx_disk_migration *r = &m->record;
    uint64_t random;
    int rc;

    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return xlx__error(ERROR_FAIL, "no random number: %m");
    r->directory = xlx__printf("/tmp/xlx-migrate-%016llx",
                               (unsigned long long)random);
    if (!r->directory)
        return xlx__nomem();
    rc = xlx_guest_copy(m->ctx, &r->guest, m->guest);
    if (rc) return rc;
    rc = xlx__set_string(&r->host, m->spec->host);
    if (rc) return rc;
    rc = xlx__set_string(&r->command, m->spec->command ? m->spec->command
                                                       : "ssh");
    if (rc) return rc;
    return xlx__attr_read(&r->boot, "/proc/sys/kernel/random/boot_id");
}

/* ---- the disks ---------------------------------------------------------- */

static int start_copy(struct xlx__migrate *m,
                      const xlx_disk_migration_disk *d)
{
    xlx_disk_mirror_spec spec = {
        .vdev = d->vdev, .sync_writes = true, .speed = m->spec->speed,
    };
    const char *said;
    xlx_disk_job job;
    int rc;

    spec.target = xlx__printf("nbd:unix:%s:exportname=%s", d->socket,
                              d->vdev);
    if (!spec.target)
        return xlx__nomem();
    xlx_disk_job_init(&job);
    rc = xlx__disk_mirror(m->ctx, m->guest, &spec, &job);
    xlx_disk_job_dispose(&job);
    free(spec.target);
    /* ssh tells when sshd does not forward sockets */
    said = rc ? xlx__shell_said(&m->agent) : "";
    return rc ? xlx__error_prefix(rc, "%s", *said ? said : "over the socket "
                                  "that ssh forwards") : 0;
}

static int await_copy(struct xlx__migrate *m, const char *vdev)
{
    xlx_disk_job job;
    int rc;

    xlx_disk_job_init(&job);
    rc = xlx__disk_job_wait(m->ctx, m->guest, vdev, m->progress, &job);
    xlx_disk_job_dispose(&job);
    return rc;
}

/* Each copy gets the guest's writes from its start on. */
static int copy_disks(struct xlx__migrate *m)
{
    int i, rc = 0;

    for (i = 0; !rc && i < m->record.num_disks; i++)
        rc = start_copy(m, &m->record.disks[i]);
    xlx__fault("disk-migrate.copying");
    for (i = 0; !rc && i < m->record.num_disks; i++)
        rc = await_copy(m, m->record.disks[i].vdev);
    return rc;
}

static int make_disks(struct xlx__migrate *m)
{
    int rc;

    rc = xlx__remote_open(m, false);
    if (rc) return rc;
    xlx__fault("disk-migrate.connected");
    rc = xlx__remote_make(m);
    if (rc) return rc;
    xlx__fault("disk-migrate.made");
    rc = xlx__remote_serve(m);
    if (rc) return rc;
    rc = xlx__migrate_enter(m, XLX_DISK_MIGRATION_PHASE_COPYING);
    return rc ? rc : copy_disks(m);
}

/* ---- the guest ---------------------------------------------------------- */

/* The guest is suspended: each copy is ended, and it is one of the disk as
 * the guest left it. */
static int end_copies(struct xlx__migrate *m)
{
    xlx_disk_job job;
    int i, rc;

    rc = xlx__snapshot_connect(&m->mirror.c);
    /* of an HVM guest libxl has done it; of others QEMU does not know that
     * they are suspended, and has to write what it holds */
    if (!rc && !xlx__migrate_is_hvm(m->ctx, m->guest))
        rc = xlx__qmp_call(m->mirror.c.qmp, "stop", NULL, NULL);
    for (i = 0; !rc && i < m->record.num_disks; i++) {
        xlx_disk_job_init(&job);
        rc = xlx__mirror_finish(&m->mirror, m->record.disks[i].vdev, &job);
        xlx_disk_job_dispose(&job);
    }
    xlx__snapshot_hang_up(&m->mirror.c);
    return rc;
}

/* From here to the end nothing of ours changes the guest's disks. */
static int hold_guest(struct xlx__migrate *m)
{
    int rc;

    rc = xlx__mirror_begin(m->ctx, m->guest, false, &m->mirror);
    m->locked = true;
    xlx__snapshot_hang_up(&m->mirror.c);
    return rc;
}

static int send_memory(struct xlx__migrate *m)
{
    int rc;

    rc = xlx__relay_start(m->receiver.in, &m->relay);
    if (rc) return rc;
    rc = xlx__migrate_suspend(m->ctx, m->guest, &m->relay, m->progress);
    m->stopped_at = xlx__now_ms();
    if (rc) return rc;
    xlx__fault("disk-migrate.suspended");
    return xlx__relay_finish(&m->relay, &m->record.memory);
}

static int move_guest(struct xlx__migrate *m)
{
    int rc;

    rc = hold_guest(m);
    if (rc) return rc;
    rc = xlx__migrate_enter(m, XLX_DISK_MIGRATION_PHASE_MOVING);
    if (rc) return rc;
    rc = xlx__migrate_stop_monitors(m);
    if (rc) return rc;
    xlx__fault("disk-migrate.moving");
    rc = send_memory(m);
    if (rc) return rc;
    rc = end_copies(m);
    if (rc) return rc;
    xlx__fault("disk-migrate.finished");
    rc = xlx__remote_close(m);
    if (rc) return rc;
    xlx__fault("disk-migrate.closed");
    rc = xlx__relay_release(&m->relay);
    if (rc) return rc;
    xlx__fault("disk-migrate.released");
    return xlx__talk_await_ready(m);
}

/* The other host has the guest, paused, on disks that are complete. */
static int hand_over(struct xlx__migrate *m)
{
    int rc;

    xlx__fault("disk-migrate.ready");
    rc = xlx__remote_keep(m);
    if (rc) return rc;
    xlx__fault("disk-migrate.kept");
    /* before the record says that it may run there: where both hosts are one,
     * the one that has this name there is not the one here */
    rc = xlx__migrate_rename(m->ctx, m->guest, true);
    if (rc) return rc;
    xlx__fault("disk-migrate.renamed");
    rc = xlx__migrate_enter(m, XLX_DISK_MIGRATION_PHASE_HANDOVER);
    if (rc) return rc;
    xlx__fault("disk-migrate.handover");
    rc = xlx__talk_go(m);
    if (rc) return rc;
    m->record.stopped_ms = (uint64_t)(xlx__now_ms() - m->stopped_at);
    xlx__fault("disk-migrate.reported");
    return xlx__migrate_enter(m, XLX_DISK_MIGRATION_PHASE_ARRIVED);
}

static int carry_out(struct xlx__migrate *m)
{
    int rc;

    rc = xlx__migrate_enter(m, XLX_DISK_MIGRATION_PHASE_PREPARING);
    if (rc) return rc;
    xlx__fault("disk-migrate.recorded");
    rc = xlx__migrate_guard(m);
    if (rc) return rc;
    rc = make_disks(m);
    if (rc) return rc;
    xlx__fault("disk-migrate.copied");
    rc = xlx__migrate_config(m->ctx, m->guest, &m->record,
                             m->spec->preserve_domid, &m->config);
    if (rc) return rc;
    rc = xlx__talk_begin(m);
    if (rc) return rc;
    xlx__fault("disk-migrate.begun");
    rc = move_guest(m);
    return rc ? rc : hand_over(m);
}

/* ---- the ends ----------------------------------------------------------- */

static int resume(struct xlx__migrate *m)
{
    enum xlx__migrate_state state;
    int rc;

    if (m->record.phase < XLX_DISK_MIGRATION_PHASE_MOVING)
        return 0;
    rc = xlx__migrate_look(m->ctx, m->guest, &state);
    if (rc || state == XLX__MIGRATE_GONE)
        return rc;
    rc = xlx__migrate_rename(m->ctx, m->guest, false);
    if (rc || state != XLX__MIGRATE_SUSPENDED)
        return rc;
    if (!xlx__migrate_is_hvm(m->ctx, m->guest)) {
        struct xlx__qmp *qmp = NULL;

        if (!xlx__qmp_open(m->ctx, m->guest, &qmp))
            (void)xlx__qmp_call(qmp, "cont", NULL, NULL);
        xlx__qmp_close(qmp);
    }
    return xlx__migrate_resume(m->ctx, m->guest);
}

/* Those that write to our sockets. */
static int cancel_copies(struct xlx__migrate *m)
{
    const xlx_disk_migration_disk *d;
    xlx_disk_jobs jobs;
    xlx_disk_job job;
    char *target;
    int i, j, rc;

    xlx_disk_jobs_init(&jobs);
    rc = xlx__disk_job_list(m->ctx, m->guest, &jobs);
    for (i = 0; !rc && i < m->record.num_disks; i++) {
        d = &m->record.disks[i];
        target = xlx__printf("nbd:unix:%s:exportname=%s", d->socket, d->vdev);
        if (!target)
            rc = xlx__nomem();
        for (j = 0; !rc && j < jobs.num_jobs; j++) {
            if (strcmp(xlx__text(jobs.jobs[j].target), target))
                continue;
            xlx_disk_job_init(&job);
            rc = xlx__disk_job_cancel(m->ctx, m->guest, d->vdev, &job);
            /* one that has failed was removed by the look at it */
            rc = xlx__forgive(rc, ERROR_NOTFOUND);
            xlx_disk_job_dispose(&job);
        }
        free(target);
    }
    xlx_disk_jobs_dispose(&jobs);
    return rc;
}

/* A guest that has been made there, and is not to be started. */
static int no_guest_there(struct xlx__migrate *m)
{
    bool runs;

    return m->record.phase < XLX_DISK_MIGRATION_PHASE_MOVING
        ? 0 : xlx__migrate_dispel(m, &runs);
}

static int undo_there(struct xlx__migrate *m)
{
    int rc = no_guest_there(m);

    return rc ? rc : xlx__shell_call(&m->agent, xlx__now_ms() + END_MS, NULL,
                                     "[ -z \"$d\" ] || undo", NULL);
}

/* By the shell that made it, or else by another one. */
static int clean_up_there(struct xlx__migrate *m)
{
    int rc = ERROR_FAIL;

    if (m->agent.pid && m->record.phase < XLX_DISK_MIGRATION_PHASE_HANDOVER)
        rc = undo_there(m);
    if (!rc)
        return 0;
    xlx__error_clear();
    xlx__shell_end(&m->agent, END_MS);
    if (m->spec && !m->touched)
        return 0;                   /* nothing was begun there */
    rc = xlx__remote_open(m, true);
    if (!rc)
        rc = no_guest_there(m);
    return rc ? rc : xlx__remote_remove(m);
}

int xlx__migrate_stay(struct xlx__migrate *m)
{
    int rc;

    /* from here on nobody can tell the other host to start the guest */
    xlx__relay_stop(&m->relay);
    xlx__shell_close(&m->receiver);
    rc = resume(m);
    xlx__migrate_wake_monitors(m);
    /* it destroys what it has of the guest */
    xlx__shell_end(&m->receiver, RECEIVER_MS);
    if (m->locked)
        xlx__mirror_end(&m->mirror);
    m->locked = false;
    if (rc) return rc;
    rc = cancel_copies(m);
    if (rc) return rc;
    if (!m->forsaken)
        rc = clean_up_there(m);
    return rc ? rc : xlx__migrate_forget(m);
}

int xlx__migrate_stay_gone(struct xlx__migrate *m)
{
    int rc = m->forsaken ? 0 : clean_up_there(m);

    xlx__migrate_wake_monitors(m);
    return rc ? rc : xlx__migrate_forget(m);
}

int xlx__migrate_leave(struct xlx__migrate *m)
{
    enum xlx__migrate_state state;
    int rc;

    rc = xlx__migrate_look(m->ctx, m->guest, &state);
    if (!rc && state != XLX__MIGRATE_GONE)
        rc = xlx__migrate_destroy(m->ctx, m->guest);
    xlx__migrate_wake_monitors(m);
    if (rc)
        return xlx__error_prefix(rc, "the guest runs on %s, and its domain "
                                 "here is left: xl disk-migrate-repair",
                                 m->record.host);
    xlx__fault("disk-migrate.destroyed");
    /* its directory for sockets alone is left there */
    if (m->agent.pid)
        (void)xlx__shell_call(&m->agent, xlx__now_ms() + END_MS, NULL,
                              "[ -z \"$d\" ] || undo", NULL);
    xlx__error_clear();
    return xlx__migrate_forget(m);
}

/* ---- the call ----------------------------------------------------------- */

void xlx__migrate_begin(struct xlx__migrate *m, xlx_ctx *ctx,
                        const xlx_guest *guest)
{
    *m = (struct xlx__migrate){
        .ctx = ctx, .guest = guest,
        .lock = XLX__LOCK_NONE, .relay = XLX__RELAY_NONE, .guard = -1,
        .agent = XLX__SHELL_NONE, .receiver = XLX__SHELL_NONE,
    };
    xlx_disk_migration_init(&m->record);
}

void xlx__migrate_end(struct xlx__migrate *m)
{
    int i;

    xlx__relay_stop(&m->relay);
    xlx__shell_end(&m->receiver, END_MS);
    xlx__shell_end(&m->agent, END_MS);
    if (m->locked)
        xlx__mirror_end(&m->mirror);
    for (i = 0; i < m->record.num_disks; i++)
        if (m->record.disks[i].socket)
            unlink(m->record.disks[i].socket);
    xlx__migrate_dismiss(m);
    xlx__unlock(&m->lock);
    for (i = 0; i < m->num_shared; i++)
        free(m->shared[i]);
    free(m->shared);
    free(m->config);
    xlx_disk_migration_dispose(&m->record);
}

/* The guest may run there, and that cannot be asked through what broke. */
static int decide(struct xlx__migrate *m, int rc)
{
    struct xlx__error_text why;
    bool runs;

    xlx__error_save(&why);
    xlx__shell_end(&m->receiver, END_MS);
    if (xlx__migrate_ask(m, &runs)) {
        xlx__error_restore(&why);
        return xlx__error_prefix(rc, "the guest is suspended here, and may "
                                 "run on %s: when that can be reached, xl "
                                 "disk-migrate-repair", m->record.host);
    }
    if (runs)
        return xlx__migrate_leave(m);
    m->may_run_there = false;
    xlx__error_restore(&why);
    return rc;
}

static int go_back(struct xlx__migrate *m, int rc)
{
    struct xlx__error_text why;
    int back;

    xlx__error_save(&why);
    back = xlx__migrate_stay(m);
    if (back) {
        xlx__notice(m->ctx, "%s", xlx_error_get());
        xlx__error_restore(&why);
        return xlx__error_prefix(rc, "not everything is as before: xl "
                                 "disk-migrate-repair");
    }
    xlx__error_restore(&why);
    return xlx__error_prefix(rc, "the guest runs here");
}

int xlx__disk_migrate(xlx_ctx *ctx, const xlx_guest *guest,
                      const xlx_disk_migrate_spec *spec,
                      const xlx_progress *progress,
                      xlx_disk_migration *migration)
{
    struct xlx__migrate m;
    int rc;

    xlx__migrate_begin(&m, ctx, guest);
    m.spec = spec;
    m.progress = progress;
    rc = check_spec(spec);
    if (rc) goto out;
    rc = xlx__migrate_lock(&m, xlx__now_ms());
    if (rc) goto out;
    rc = check_earlier(&m);
    if (rc) goto out;
    rc = fill_record(&m);
    if (rc) goto out;
    rc = xlx__migrate_plan(&m);
    if (rc) goto out;
    if (!spec->dry_run) {
        rc = carry_out(&m);
        if (rc && m.may_run_there)
            rc = decide(&m, rc);
        else if (!rc)
            rc = xlx__migrate_leave(&m);
        if (rc && !m.may_run_there)
            rc = go_back(&m, rc);
    }
    if (!rc)
        rc = xlx_disk_migration_copy(ctx, migration, &m.record);

 out:
    xlx__migrate_end(&m);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl disk-mirror, disk-move, disk-pull, disk-commit, disk-jobs and disk-job-*.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gen-commands.h"
#include "plugin.h"
#include "text.h"

const struct xl_command *const xl_commands = xl_mirror_commands;

/* ---- words -------------------------------------------------------------- */

/* From where the user is; malloc()ed. */
static char *absolute(const char *path)
{
    char *here, *text;

    if (*path == '/' || !*path || !strncmp(path, "nbd:", 4))
        return xl_format("%s", path);
    here = getcwd(NULL, 0);
    if (!here) {
        xl_fail("the current directory: %s", strerror(errno));
        return NULL;
    }
    text = xl_format("%s/%s", strcmp(here, "/") ? here : "", path);
    free(here);
    return text;
}

/* ---- start, and wait ---------------------------------------------------- */

/* For a dry run, a job at work, and one that is done. */
static const char *const words[][3] = {
    [XLX_DISK_JOB_KIND_MIRROR] = { "Would copy", "Copying", "Copied" },
    [XLX_DISK_JOB_KIND_PULL] = { "Would pull", "Pulling", "Pulled" },
    [XLX_DISK_JOB_KIND_MOVE] = { "Would move", "Moving", "Moved" },
    [XLX_DISK_JOB_KIND_COMMIT] = { "Would commit", "Committing",
                                   "Committed" },
};

static void say(bool dry_run, const xlx_disk_job *job)
{
    bool done = job->state == XLX_DISK_JOB_STATE_DONE;
    const char *word = words[job->kind][dry_run ? 0 : done ? 2 : 1];

    switch (job->kind) {
    case XLX_DISK_JOB_KIND_PULL:
        printf("%s into %s, which %s based on %s\n", word, job->image,
               done ? "is now" : "will be", *xl_text(job->target)
               ? job->target : "nothing");
        break;
    case XLX_DISK_JOB_KIND_COMMIT:
        printf("%s %s into %s (%s)\n", word, job->vdev, job->target,
               job->format);
        break;
    default:
        printf("%s %s to %s (%s)\n", word, job->vdev, job->target,
               job->format);
        break;
    }
    if (!dry_run && !done)
        printf("See how far it is with xl disk-jobs\n");
    if (done && (job->kind == XLX_DISK_JOB_KIND_MOVE ||
                 job->kind == XLX_DISK_JOB_KIND_COMMIT))
        printf("A config that names %s must be changed\n", job->image);
}

/* The job that the command itself has started goes with it. */
static int give_up(const xlx_guest *guest, const char *vdev, int rc)
{
    int r = xl_failed(rc);
    xlx_disk_job job;

    xlx_disk_job_init(&job);
    rc = xlx_disk_job_cancel(xl_ctx(), guest, vdev, &job);
    xlx_disk_job_dispose(&job);
    return rc ? xl_failed(rc) : r;
}

/* Exit status. */
static int wait_for(const xlx_guest *guest, const char *vdev,
                    xlx_disk_job *job)
{
    int rc;

    xlx_disk_job_dispose(job);
    xlx_disk_job_init(job);
    rc = xlx_disk_job_wait(xl_ctx(), guest, vdev, xl_progress(), job);
    if (rc == ERROR_ABORTED)
        return give_up(guest, vdev, rc);
    if (rc || job->state != XLX_DISK_JOB_STATE_READY)
        return rc ? xl_failed(rc) : 0;
    xlx_disk_job_dispose(job);
    xlx_disk_job_init(job);
    rc = xlx_disk_job_finish(xl_ctx(), guest, vdev, job);
    return rc ? xl_failed(rc) : 0;
}

/* A command that starts a job. */
struct start {
    const char *domain, *config, *vdev;
    const char *speed, *path;       /* as they were typed, or NULL */
    bool dry_run, no_wait, json;
    uint64_t *speed_r;              /* where the call wants them */
    char **path_r;
    const void *spec;
    /* one of the calls that start a job */
    int (*call)(const xlx_guest *guest, const void *spec, xlx_disk_job *job);
};

/* Exit status. */
static int read_words(const struct start *s)
{
    int r;

    r = s->speed ? xl_read_speed(s->speed, s->speed_r) : 0;
    if (r || !s->path)
        return r;
    *s->path_r = absolute(s->path);
    return *s->path_r ? 0 : 1;
}

static int start(const struct start *s)
{
    xlx_guest guest;
    xlx_disk_job job;
    int rc, r;

    xlx_guest_init(&guest);
    xlx_disk_job_init(&job);
    r = read_words(s);
    if (r) goto out;
    rc = xlx_guest_find(xl_ctx(), s->domain, s->config, &guest);
    if (!rc)
        rc = s->call(&guest, s->spec, &job);
    r = rc ? xl_failed(rc) : 0;
    if (!r && !s->dry_run && (!s->no_wait || job.offline))
        r = wait_for(&guest, s->vdev, &job);
    if (!r && s->json)
        r = xl_print_json(xlx_disk_job_to_json(xl_ctx(), &job));
    else if (!r)
        say(s->dry_run, &job);

 out:
    if (s->path_r)
        free(*s->path_r);
    xlx_disk_job_dispose(&job);
    xlx_guest_dispose(&guest);
    return r;
}

static int call_mirror(const xlx_guest *guest, const void *spec,
                       xlx_disk_job *job)
{
    return xlx_disk_mirror(xl_ctx(), guest, spec, job);
}

int xl_disk_mirror_main(int argc, char **argv)
{
    struct xl_disk_mirror_args args;
    int r;

    r = xl_disk_mirror_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    return start(&(struct start){
        .domain = args.domain, .config = args.config,
        .vdev = args.disk_mirror_spec.vdev, .speed = args.speed,
        .path = args.target, .dry_run = args.dry_run,
        .no_wait = args.no_wait, .json = args.json,
        .speed_r = &args.disk_mirror_spec.speed,
        .path_r = &args.disk_mirror_spec.target,
        .spec = &args.disk_mirror_spec, .call = call_mirror,
    });
}

static int call_move(const xlx_guest *guest, const void *spec,
                     xlx_disk_job *job)
{
    return xlx_disk_move(xl_ctx(), guest, spec, xl_progress(), job);
}

int xl_disk_move_main(int argc, char **argv)
{
    struct xl_disk_move_args args;
    int r;

    r = xl_disk_move_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    return start(&(struct start){
        .domain = args.domain, .config = args.config,
        .vdev = args.disk_move_spec.vdev, .speed = args.speed,
        .path = args.target, .dry_run = args.dry_run,
        .no_wait = args.no_wait, .json = args.json,
        .speed_r = &args.disk_move_spec.speed,
        .path_r = &args.disk_move_spec.target,
        .spec = &args.disk_move_spec, .call = call_move,
    });
}

static int call_pull(const xlx_guest *guest, const void *spec,
                     xlx_disk_job *job)
{
    return xlx_disk_pull(xl_ctx(), guest, spec, job);
}

int xl_disk_pull_main(int argc, char **argv)
{
    struct xl_disk_pull_args args;
    int r;

    r = xl_disk_pull_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    return start(&(struct start){
        .domain = args.domain, .config = args.config,
        .vdev = args.disk_pull_spec.vdev, .speed = args.speed,
        .path = args.until, .dry_run = args.dry_run,
        .no_wait = args.no_wait, .json = args.json,
        .speed_r = &args.disk_pull_spec.speed,
        .path_r = &args.disk_pull_spec.until,
        .spec = &args.disk_pull_spec, .call = call_pull,
    });
}

static int call_commit(const xlx_guest *guest, const void *spec,
                       xlx_disk_job *job)
{
    return xlx_disk_commit(xl_ctx(), guest, spec, job);
}

int xl_disk_commit_main(int argc, char **argv)
{
    struct xl_disk_commit_args args;
    int r;

    r = xl_disk_commit_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    return start(&(struct start){
        .domain = args.domain, .config = args.config,
        .vdev = args.disk_commit_spec.vdev, .speed = args.speed,
        .dry_run = args.dry_run, .no_wait = args.no_wait, .json = args.json,
        .speed_r = &args.disk_commit_spec.speed,
        .spec = &args.disk_commit_spec, .call = call_commit,
    });
}

/* ---- list --------------------------------------------------------------- */

struct list_state {
    struct xl_table *table;         /* NULL: JSON */
    bool named;                     /* also guests without jobs */
    int shown;
};

static void add_row(struct xl_table *t, const xlx_guest *guest,
                    const xlx_disk_job *job)
{
    char size[XL_SIZE_MAX];
    bool works = job->state == XLX_DISK_JOB_STATE_RUNNING;

    xl_table_cell(t, "%s", xl_or_dash(guest->name));
    xl_table_cell(t, "%s", xl_or_dash(job->vdev));
    xl_table_cell(t, "%s", job->kind == XLX_DISK_JOB_KIND_OTHER
                  ? "other" : xlx_disk_job_kind_to_string(job->kind));
    xl_table_cell(t, "%s", xlx_disk_job_state_to_string(job->state));
    if (job->total)
        xl_table_cell(t, "%u%%", (unsigned int)((double)job->done * 100 /
                                                (double)job->total));
    else
        xl_table_cell(t, "-");
    if (works && job->rate)
        xl_table_cell(t, "%s/s", xl_size(job->rate, size));
    else
        xl_table_cell(t, "-");
    if (works && job->left)
        xl_table_cell(t, "%llu:%02llu", (unsigned long long)job->left / 60,
                      (unsigned long long)job->left % 60);
    else
        xl_table_cell(t, "-");
    xl_table_cell(t, "%s", job->kind == XLX_DISK_JOB_KIND_OTHER
                  ? xl_text(job->id) : xl_or_dash(job->target));
    if (!*xl_text(job->error))
        return;
    if (job->kind == XLX_DISK_JOB_KIND_OTHER)
        xl_table_note(t, "%s: %s", xl_text(job->id), job->error);
    else
        xl_table_note(t, "%s: %s; xl disk-job-cancel removes what it left",
                      job->vdev, job->error);
}

static int list_one(const xlx_guest *guest, void *user)
{
    struct list_state *s = user;
    xlx_disk_jobs list;
    int i, rc, r = 0;

    xlx_disk_jobs_init(&list);
    rc = xlx_disk_job_list(xl_ctx(), guest, &list);
    if (rc) {
        r = xl_failed(rc);
    } else if (!list.num_jobs && !s->named) {
        /* one of many: nothing to say */
    } else if (!s->table) {
        r = xl_print_element(xlx_disk_jobs_to_json(xl_ctx(), &list),
                             &s->shown);
    } else {
        for (i = 0; i < list.num_jobs; i++, s->shown++)
            add_row(s->table, guest, &list.jobs[i]);
    }
    xlx_disk_jobs_dispose(&list);
    return r;
}

int xl_disk_jobs_main(int argc, char **argv)
{
    static const char *const titles[] = {
        "Domain", "Disk", "Job", "State", "Done", "Rate", "Left", "Target",
        NULL
    };
    struct xl_guests guests = { .list = xlx_guest_list };
    struct list_state s = { .table = NULL };
    struct xl_disk_jobs_args args;
    int r;

    r = xl_disk_jobs_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    guests.names = args.domain;
    guests.num_names = args.num_domain;
    s.named = args.num_domain > 0;
    if (args.json)
        printf("[\n");
    else
        s.table = xl_table_new(titles);
    r = xl_each_guest(&guests, list_one, &s);
    if (args.json)
        printf("%s]\n", s.shown ? "\n" : "");
    else
        xl_table_print(s.table);
    return r;
}

/* ---- change ------------------------------------------------------------- */

void xl_disk_job_finish_print(const struct xl_disk_job_finish_args *args,
                              const xlx_guest *guest, const xlx_disk_job *job)
{
    (void)args;
    (void)guest;
    say(false, job);
}

void xl_disk_job_cancel_print(const struct xl_disk_job_cancel_args *args,
                              const xlx_guest *guest, const xlx_disk_job *job)
{
    (void)args;
    (void)guest;
    printf("Cancelled the %s of %s\n",
           xlx_disk_job_kind_to_string(job->kind), job->vdev);
}

static int set(const char *who, const char *disk, xlx_disk_job_change change,
               uint64_t speed)
{
    xlx_guest guest;
    xlx_disk_job job;
    int rc;

    xlx_guest_init(&guest);
    xlx_disk_job_init(&job);
    rc = xlx_guest_find(xl_ctx(), who, NULL, &guest);
    if (!rc)
        rc = xlx_disk_job_set(xl_ctx(), &guest, disk, change, speed, &job);
    xlx_disk_job_dispose(&job);
    xlx_guest_dispose(&guest);
    return rc ? xl_failed(rc) : 0;
}

int xl_disk_job_pause_main(int argc, char **argv)
{
    struct xl_disk_job_pause_args args;
    int r;

    r = xl_disk_job_pause_parse(argc, argv, &args);
    return r >= 0 ? r : set(args.domain, args.disk,
                            XLX_DISK_JOB_CHANGE_PAUSE, 0);
}

int xl_disk_job_resume_main(int argc, char **argv)
{
    struct xl_disk_job_resume_args args;
    int r;

    r = xl_disk_job_resume_parse(argc, argv, &args);
    return r >= 0 ? r : set(args.domain, args.disk,
                            XLX_DISK_JOB_CHANGE_RESUME, 0);
}

int xl_disk_job_speed_main(int argc, char **argv)
{
    struct xl_disk_job_speed_args args;
    uint64_t speed;
    int r;

    r = xl_disk_job_speed_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    r = xl_read_speed(args.speed, &speed);
    return r ? r : set(args.domain, args.disk, XLX_DISK_JOB_CHANGE_SPEED,
                       speed);
}

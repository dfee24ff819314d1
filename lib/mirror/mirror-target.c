/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The place for a copy: a new file, which nobody else can have; a block
 * device that nobody uses; or an NBD export, of which only its server knows
 * who uses it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/store.h"
#include "disk/block.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "mirror/mirror.h"

bool xlx__mirror_is_url(const char *target)
{
    return !strncmp(target, "nbd:", 4);
}

/* ---- may it be used? ---------------------------------------------------- */

static int check_size(xlx_ctx *ctx, const char *target, const xlx_disk *disk)
{
    struct xlx__image image = { .format = NULL };
    int rc;

    rc = xlx__image_info(ctx, target, "raw", &image);
    if (rc) return rc;
    if (image.virtual_size != disk->virtual_size)
        rc = xlx__error(ERROR_INVAL, "%s has %"PRIu64" bytes, and the disk %s "
                        "has %"PRIu64": both must have the same", target,
                        image.virtual_size, disk->vdev, disk->virtual_size);
    xlx__image_dispose(&image);
    return rc;
}

static int check_kernel(const char *target, const struct stat *st)
{
    struct xlx__block_users users = { .list = NULL };
    struct xlx__file_id id;
    char *use = NULL;
    int rc;

    xlx__file_id(st, &id);
    rc = xlx__block_users_read(&users);
    if (!rc)
        rc = xlx__block_users_find(&users, &id, target, &use);
    xlx__block_users_dispose(&users);
    if (!rc && use)
        rc = xlx__error(ERROR_NOT_READY, "%s %s", target, use);
    free(use);
    return rc;
}

/* The kernel grants it to one: not while it is mounted, or part of a volume
 * group, an array or a map. */
static int check_exclusive(const char *target)
{
    int fd = open(target, O_RDWR | O_EXCL | O_CLOEXEC);

    if (fd >= 0) {
        close(fd);
        return 0;
    }
    return errno == EBUSY
        ? xlx__error(ERROR_NOT_READY, "%s: the host uses it: it is mounted, "
                     "or part of a volume group, an array or a map", target)
        : xlx__error(xlx__errno_rc(errno), "%s: %m", target);
}

static int check_device(struct xlx__mirror *m,
                        const xlx_disk_mirror_spec *spec,
                        const xlx_disk *disk, const struct stat *st)
{
    const struct xlx__image_allow allow = {
        .force_open = spec->force_open, .force_based = spec->force_based,
        .force_unknown = spec->force_unknown,
    };
    struct xlx__image_world *world = NULL;
    int rc;

    rc = check_size(m->c.ctx, spec->target, disk);
    if (rc) return rc;
    rc = check_kernel(spec->target, st);
    if (rc) return rc;
    rc = check_exclusive(spec->target);
    if (rc) return rc;
    rc = xlx__snapshot_world_of(&m->c, &world);
    if (!rc)
        rc = xlx__image_ask(world, disk->vdev, spec->target, &allow);
    xlx__image_world_close(world);
    return rc;
}

int xlx__mirror_check_space(const char *target, uint64_t bytes)
{
    const char *slash = strrchr(target, '/');
    struct statvfs fs;
    uint64_t space;
    char *dir;
    int rc = 0;

    dir = strndup(target, (size_t)(slash - target) + 1);
    if (!dir)
        return xlx__nomem();
    if (statvfs(dir, &fs)) {
        rc = xlx__error(xlx__errno_rc(errno), "%s: %m", dir);
    } else {
        space = (uint64_t)(geteuid() ? fs.f_bavail : fs.f_bfree) *
                fs.f_frsize;
        if (space < bytes)
            rc = xlx__error(ERROR_FAIL, "%s: %"PRIu64" MiB are free, and what "
                            "is to be copied holds %"PRIu64, dir, space >> 20,
                            bytes >> 20);
    }
    free(dir);
    return rc;
}

/* The guest's writes go there from now on. */
static int check_lasts(const char *target, const xlx_disk *disk)
{
    const char *slash = strrchr(target, '/');
    char *dir = strndup(target, (size_t)(slash - target) + 1);
    int rc = 0;

    if (!dir)
        return xlx__nomem();
    if (!xlx__snapshot_lasts(dir, disk->path))
        rc = xlx__error(ERROR_INVAL, "%s is in memory, and the disk would be "
                        "gone when the host reboots: name a file on a file "
                        "system that lasts", dir);
    free(dir);
    return rc;
}

/* QEMU makes the image by the name, as root: one that can be given to another
 * file at that moment would have that one overwritten.  In a sticky directory
 * the owner of the file can do that, who is the owner of the disk's image. */
static int check_new(const char *target, const xlx_disk *disk, bool moves)
{
    const char *name;
    struct stat st;
    bool shared;
    int dir, rc;

    rc = xlx__image_dir_open(target, &dir, &name, &shared);
    if (rc) return rc;
    shared = shared || fstat(dir, &st) || st.st_mode & 022;
    close(dir);
    if (!*name)
        return xlx__error(ERROR_INVAL, "%s is a directory: name a file in it",
                          target);
    if (shared)
        return xlx__error(ERROR_INVAL, "%s: others than root can put files "
                          "into that directory: name a file in another one, "
                          "and move the copy there afterwards", target);
    rc = moves ? check_lasts(target, disk) : 0;
    /* at least as much as the disk's own image holds */
    return rc ? rc : xlx__mirror_check_space(target, disk->allocated);
}

static int choose_format(const xlx_disk_mirror_spec *spec,
                         const xlx_disk *disk, bool only_raw,
                         xlx_disk_job *job)
{
    const char *wanted = xlx__text(spec->format);

    if (*wanted && strcmp(wanted, "raw") && strcmp(wanted, "qcow2"))
        return xlx__error(ERROR_INVAL, "format \"%s\": qcow2 or raw", wanted);
    if (only_raw && *wanted && strcmp(wanted, "raw"))
        return xlx__error(ERROR_INVAL, "%s: only raw can be written there",
                          spec->target);
    if (!*wanted)
        wanted = only_raw || strcmp(disk->format, "qcow2") ? "raw" : "qcow2";
    return xlx__set_string(&job->format, wanted);
}

int xlx__mirror_plan_target(struct xlx__mirror *m,
                            const xlx_disk_mirror_spec *spec,
                            const xlx_disk *disk, xlx_disk_job *job)
{
    bool url = xlx__mirror_is_url(spec->target), device;
    struct stat st;
    int rc;

    rc = xlx__set_string(&job->target, spec->target);
    if (rc) return rc;
    if (!url && *spec->target != '/')
        return xlx__error(ERROR_INVAL, "\"%s\" is neither an absolute path "
                          "nor nbd:...", spec->target);
    if (url) {
        rc = check_size(m->c.ctx, spec->target, disk);
        return rc ? rc : choose_format(spec, disk, true, job);
    }
    if (lstat(spec->target, &st) && errno != ENOENT)
        return xlx__error(xlx__errno_rc(errno), "%s: %m", spec->target);
    device = !stat(spec->target, &st) && S_ISBLK(st.st_mode);
    if (!device && !lstat(spec->target, &st))
        return xlx__error(ERROR_DEVICE_EXISTS, "%s is there already, and is "
                          "not overwritten", spec->target);
    job->made = !device;
    rc = device ? check_device(m, spec, disk, &st)
                : check_new(spec->target, disk,
                            job->kind == XLX_DISK_JOB_KIND_MOVE);
    return rc ? rc : choose_format(spec, disk, device, job);
}

/* ---- making and removing it --------------------------------------------- */

/* On the copy of the layer below, which QEMU opens when it moves the guest. */
static int make_overlay(struct xlx__mirror *m, const xlx_disk_job *job,
                        const xlx_disk *disk)
{
    const xlx_disk_job_layer *below = &job->layers[job->num_layers - 1];
    struct xlx__image_making making;
    int rc;

    rc = xlx__image_make_start(m->c.ctx, job->target, below->target,
                               below->format, disk->virtual_size, &making);
    return rc ? rc : xlx__image_make_end(&making);
}

int xlx__mirror_make_target(struct xlx__mirror *m, xlx_disk_job *job,
                            const xlx_disk *disk)
{
    int rc;

    if (!job->made)
        return 0;
    rc = job->num_layers && !job->offline
        ? make_overlay(m, job, disk)
        : xlx__image_make_empty(job->target, job->image);
    if (rc) {
        job->made = false;          /* whatever is there is not ours */
        return rc;
    }
    xlx__fault("disk-mirror.made");
    rc = xlx__image_identity(job->target, &job->target_id);
    return rc ? rc : xlx__mirror_save(m);
}

/* Another tool has completed the job: QEMU serves the guest from the copy. */
static int is_served(struct xlx__mirror *m, const char *target, bool *yes_r)
{
    struct xlx__disk_node node = { .image = target };
    int rc;

    *yes_r = false;
    if (!m->c.served)
        return 0;
    rc = xlx__snapshot_connect(&m->c);
    if (!rc)
        rc = xlx__disk_find_nodes(m->c.qmp, &node, 1);
    *yes_r = node.name && node.served;
    free(node.name);
    return rc;
}

/* Nobody else has made an image on our copy. */
static bool is_on_layer(const xlx_disk_job *job)
{
    char *below = NULL, *format = NULL;
    bool yes;

    if (!job->num_layers)
        return false;
    if (xlx__image_below(job->target, "qcow2", &below, &format))
        xlx__error_clear();
    yes = below &&
          xlx__image_same(below, job->layers[job->num_layers - 1].target);
    free(below);
    free(format);
    return yes;
}

int xlx__mirror_remove_target(struct xlx__mirror *m, const xlx_disk_job *job)
{
    struct stat st;
    bool served;
    int rc;

    if (!job->made || xlx__mirror_is_url(job->target) ||
        xlx__snapshots_names_image(&m->c.record, job->target) ||
        lstat(job->target, &st))
        return 0;
    rc = is_served(m, job->target, &served);
    if (rc) return rc;
    if (served) {
        xlx__notice(m->c.ctx, "%s: another tool made the guest go on in %s, "
                    "which stays", job->vdev, job->target);
        return 0;
    }
    /* we were killed between its making and the look at it */
    if (!*xlx__text(job->target_id) &&
        (!S_ISREG(st.st_mode) || (st.st_size && !is_on_layer(job))))
        return xlx__error(ERROR_INVAL, "%s is not the file that was made: it "
                          "stays", job->target);
    return xlx__image_remove(job->target, job->target_id);
}

int xlx__mirror_sync(const xlx_disk_job *job, const char *image)
{
    int fd, rc;

    if (xlx__mirror_is_url(image))
        return 0;                   /* QEMU has told its server to flush */
    if (job->made) {
        rc = xlx__image_is_seen(job->target, job->target_id);
        if (rc) return rc;
    }
    fd = open(image, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return xlx__error(xlx__errno_rc(errno), "%s: %m", image);
    rc = fsync(fd) ? xlx__error(ERROR_FAIL, "%s: cannot be flushed: %m",
                                image) : 0;
    close(fd);
    return rc;
}

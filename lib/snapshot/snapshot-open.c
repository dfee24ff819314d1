/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does QEMU have the very file open that an image's name leads to?  QEMU holds
 * its images open, but when one of them changes between reading and writing
 * (the base of a merge, the layer above it, the image that is frozen) QEMU
 * opens it again, by its name.  Another file under that name would then be
 * written to, or be shown to the guest.
 */
#include <time.h>

#include "core/proc-files.h"
#include "disk/image.h"
#include "snapshot/snapshot.h"

#define LOOKS 10
#define LOOK_MS 20

/* True also where /proc does not show what QEMU has open. */
static bool may_have_open(const struct xlx__proc_files *files,
                          const struct xlx__file_id *id)
{
    int i;

    for (i = 0; i < files->num; i++)
        if (xlx__file_id_same(&files->list[i].id, id))
            return true;
    return !files->num;
}

static int identify(const char *image, struct xlx__file_id *id_r)
{
    struct xlx__image_files files;
    int rc;

    rc = xlx__image_file_open(image, "", &files);
    if (rc) goto out;
    xlx__file_id(&files.st[0], id_r);

 out:
    xlx__image_files_close(&files);
    return rc;
}

int xlx__snapshot_check_open(const struct xlx__snapshot_change *c,
                             const char *const *images, int num,
                             struct xlx__file_id *ids_r)
{
    pid_t pid = c->qmp ? xlx__qmp_pid(c->qmp) : 0;
    struct xlx__proc_files files;
    int i, rc = 0;

    for (i = 0; !rc && i < num; i++)
        rc = identify(images[i], &ids_r[i]);
    if (rc || !pid) return rc;
    rc = xlx__proc_files_read_of(pid, &files);
    for (i = 0; !rc && i < num; i++)
        if (!may_have_open(&files, &ids_r[i]))
            rc = xlx__error(ERROR_INVAL, "QEMU has another file open than %s "
                            "is now: another program put a file there; put "
                            "the former one back, or shut the guest down",
                            images[i]);
    xlx__proc_files_dispose(&files);
    return rc;
}

int xlx__snapshot_still_open(const struct xlx__snapshot_change *c,
                             const char *image, const struct xlx__file_id *id)
{
    const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000 };
    pid_t pid = c->qmp ? xlx__qmp_pid(c->qmp) : 0;
    struct xlx__proc_files files;
    bool has = false;
    int i, rc = 0;

    /* The list of open files is not of one instant: a short job may have ended
     * and the file have got another number while it was read. */
    for (i = 0; !rc && pid && !has && i < LOOKS; i++) {
        if (i)
            nanosleep(&pause, NULL);
        rc = xlx__proc_files_read_of(pid, &files);
        has = rc || may_have_open(&files, id);
        xlx__proc_files_dispose(&files);
    }
    if (rc) return rc;
    if (pid && !has)
        return xlx__error(ERROR_INVAL, "QEMU has opened another file than %s "
                          "was: another program put a file there at this "
                          "moment; look at both before the guest goes on",
                          image);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps after an attachment; see attached.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attached.h"
#include "text.h"

void xl_say_scsi(const char *done, const xlx_scsi_devs *list)
{
    int i;

    for (i = 0; i < list->num_devs; i++) {
        const xlx_scsi_dev *dev = &list->devs[i];

        printf("%s ", done);
        xl_put_text(stdout, xl_text(dev->pdev));
        printf(" as %s (%s%s%s)\n", xl_text(dev->vdev),
               xlx_scsi_backstore_to_string(dev->backstore),
               dev->readonly ? ", read-only" : "",
               dev->shared ? ", shared" : "");
    }
}

void xl_say_usb(const char *done, const xlx_usb_entry *e)
{
    if (e->status == XLX_USB_STATUS_MISSING)
        printf("Not plugged in, port %u/%u", e->ctrl, e->port);
    else
        printf("%s %s, port %u/%u", done, xl_text(e->path), e->ctrl, e->port);
    if (*xl_text(e->selector)) {
        printf(", found by ");
        xl_put_text(stdout, e->selector);
    }
    printf("\n");
}

/* The child of a child, so that nobody has to wait for it. */
static void become_watcher(const char *program, const char *command,
                           char *uuid)
{
    char *name = xl_format("xl-%s", command), *argv[] = { name, uuid, NULL };
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (setsid() < 0 || fork() || chdir("/") || null < 0 ||
        dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
        _exit(0);
    close_range(3, ~0u, 0);
    execv(program, argv);
    _exit(127);
}

void xl_run_watcher(const char *program, const char *command,
                    const xlx_guest *guest)
{
    char uuid[LIBXL_UUID_FMTLEN + 1];
    pid_t pid;

    snprintf(uuid, sizeof(uuid), LIBXL_UUID_FMT,
             LIBXL_UUID_BYTES(guest->uuid));
    fflush(NULL);
    pid = fork();
    if (!pid)
        become_watcher(program, command, uuid);
    if (pid < 0)
        xl_message("xl %s could not be started: after a reboot of the guest "
                   "its devices have to be repaired: %s", command,
                   strerror(errno));
    else
        waitpid(pid, NULL, 0);
}

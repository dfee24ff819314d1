/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps after an attachment; see attached.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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
    for (i = 0; i < list->num_skipped; i++)
        printf("Left out %s: %s\n", xl_text(list->skipped[i].pdev),
               xl_text(list->skipped[i].why));
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

void xl_say_usb_tree(const char *done, const xlx_usb_tree_devices *found)
{
    const xlx_usb_tree *tree = &found->tree;
    int i;

    printf("%s USB tree %s\n", done, xl_text(tree->selector));
    for (i = 0; i < found->num_entries; i++)
        xl_say_usb(done, &found->entries[i]);
    for (i = 0; i < tree->num_left; i++)
        printf("Left out %s: %s\n", xl_text(tree->left[i].path),
               xl_text(tree->left[i].why));
}

/* ---- the watcher -------------------------------------------------------- */

#define SYSTEMCTL_S 20              /* systemd may hang; a guest starts */

/* Does the environment lead elsewhere than the one that a unit has? */
static bool has_own_places(void)
{
    static const char *const others[] = {
        "LIBXLX_XL", "LIBXLX_DEBUG", "LIBXLX_FORCE_OPEN",
    };
    char **e;
    size_t i;

    for (e = environ; *e; e++) {
        if (strncmp(*e, "LIBXLX", strlen("LIBXLX")))
            continue;
        for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
            if (!strncmp(*e, others[i], strlen(others[i])))
                break;
        if (i == sizeof(others) / sizeof(others[0]))
            return true;
    }
    return false;
}

/* The program that starts a watcher as a unit of systemd; NULL where watchers
 * are plain processes. */
static const char *find_systemctl(void)
{
    const char *named = secure_getenv("LIBXLX_SYSTEMCTL");

    if (named)
        return *named ? named : NULL;
#ifdef XL_UNITS
    if (!geteuid() && !has_own_places() &&
        !access("/run/systemd/system", F_OK))
        return "systemctl";
#endif
    return NULL;
}

/* As a unit a watcher is in no session and in the control group of no other
 * unit, and is started again when it dies.  Its start may wait for the unit
 * that is starting the guest just now, so nobody waits for it. */
static bool start_unit(const char *systemctl, const char *unit)
{
    int status = -1, null;
    pid_t pid;

    pid = fork();
    if (!pid) {
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
            _exit(127);
        close_range(3, ~0u, 0);
        alarm(SYSTEMCTL_S);
        execlp(systemctl, systemctl, "start", "--no-block", unit,
               (char *)NULL);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return !status;
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

static void start_process(const char *program, const char *command,
                          char *uuid)
{
    pid_t pid = fork();

    if (!pid)
        become_watcher(program, command, uuid);
    if (pid < 0)
        xl_message("xl %s could not be started: after a reboot of the guest "
                   "its devices have to be repaired: %s", command,
                   strerror(errno));
    else
        waitpid(pid, NULL, 0);
}

void xl_run_watcher(const char *program, const char *command,
                    const xlx_guest *guest)
{
    const char *systemctl = find_systemctl();
    char uuid[LIBXL_UUID_FMTLEN + 1], *unit;
    bool started;

    snprintf(uuid, sizeof(uuid), LIBXL_UUID_FMT,
             LIBXL_UUID_BYTES(guest->uuid));
    fflush(NULL);
    if (systemctl) {
        unit = xl_format("xl-%s@%s.service", command, uuid);
        started = start_unit(systemctl, unit);
        if (!started)
            xl_message("systemd does not start %s: xl %s is a process of "
                       "this session instead", unit, command);
        free(unit);
        if (started)
            return;
    }
    start_process(program, command, uuid);
}

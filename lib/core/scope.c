/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that outlives the command: in a scope of systemd's, so that it
 * does not end with the session, or with the unit, of which the command is a
 * part.
 */
#include <stdlib.h>
#include <unistd.h>

#include "core/child.h"

#define BUS_MS 20000                /* systemd may hang; a guest waits */

/* NULL where systemd does not run. */
static const char *find_busctl(void)
{
    const char *named = secure_getenv("LIBXLX_BUSCTL");

    if (named)
        return *named ? named : NULL;
    return !geteuid() && !access("/run/systemd/system", F_OK) ? "busctl"
                                                              : NULL;
}

void xlx__scope_take(xlx_ctx *ctx, const char *name, pid_t pid)
{
    char number[16], unit[80];
    /* Without the default dependencies it also outlives the beginning of the
     * host's shutdown: it ends with its guest. */
    const char *const argv[] = {
        find_busctl(), "--quiet", "call", "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
        "StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", "3",
        "PIDs", "au", "1", number,
        "DefaultDependencies", "b", "false",
        "CollectMode", "s", "inactive-or-failed", "0", NULL,
    };
    const struct xlx__child child = {
        .argv = argv, .timeout_ms = BUS_MS, .max_output = 65536,
    };

    snprintf(number, sizeof(number), "%d", (int)pid);
    snprintf(unit, sizeof(unit), "%s-%d.scope", name, (int)pid);
    if (argv[0] && xlx__child_run(ctx, &child, NULL, NULL)) {
        xlx__notice(ctx, "%s: it ends with this session or unit: %s", name,
                    xlx_error_get());
        xlx__error_clear();
    }
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the guards of those concepts share whose devices cannot go where a
 * guest goes: they are set aside before it leaves, and given back when it runs
 * again, here or on another host.
 */
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "text.h"

void guard_format_uuid(const libxl_uuid *uuid,
                       char text[LIBXL_UUID_FMTLEN + 1])
{
    snprintf(text, LIBXL_UUID_FMTLEN + 1, LIBXL_UUID_FMT,
             LIBXL_UUID_BYTES(*uuid));
}

int guard_find(struct guard_start *s, xlx_guest *guest)
{
    char uuid[LIBXL_UUID_FMTLEN + 1];

    guard_format_uuid(&s->config.uuid, uuid);
    return xlx_guest_find(s->ctx, s->config.has_uuid ? uuid : s->config.name,
                          NULL, guest);
}

static int forget_one(struct guard_start *s, const char *who,
                      int (*forget)(xlx_ctx *ctx, const xlx_guest *guest))
{
    xlx_guest guest;
    int rc = 0;

    xlx_guest_init(&guest);
    /* one that runs stock xl will complain of */
    if (!xlx_guest_find(s->ctx, who, NULL, &guest) &&
        guest.domid == XLX_DOMID_NONE)
        rc = forget(s->ctx, &guest);
    if (rc)
        xl_message("%s", xlx_get_error());
    xlx_guest_dispose(&guest);
    return rc ? 1 : 0;
}

int guard_forget_former(struct guard_start *s,
                        int (*forget)(xlx_ctx *ctx, const xlx_guest *guest))
{
    char uuid[LIBXL_UUID_FMTLEN + 1];
    int status = 0;

    if (s->config.has_uuid) {
        guard_format_uuid(&s->config.uuid, uuid);
        status = forget_one(s, uuid, forget);
    }
    return status ? status : forget_one(s, s->config.name, forget);
}

int guard_run_for(const char *command, const char *who)
{
    char *argv[] = { xl_format("%s", command), xl_format("%s", who), NULL };
    int status = guard_run(command, argv);

    free(argv[0]);
    free(argv[1]);
    return status;
}

bool guard_runs_here(struct guard_start *s, const libxl_uuid *uuid)
{
    char text[LIBXL_UUID_FMTLEN + 1];
    xlx_guest guest;
    bool runs;

    guard_format_uuid(uuid, text);
    xlx_guest_init(&guest);
    runs = (s->ctx || !xlx_ctx_alloc(&s->ctx, NULL, NULL)) &&
           !xlx_guest_find(s->ctx, text, NULL, &guest) &&
           guest.domid != XLX_DOMID_NONE;
    xlx_guest_dispose(&guest);
    return runs;
}

int guard_run_there(struct guard_start *s, const char *line)
{
    char *argv[4], shell[] = "sh", option[] = "-c";
    int status;

    argv[0] = shell;
    argv[1] = option;
    /* stock xl, too, leaves it to the shell to split -s */
    argv[2] = xl_format("exec %s %s", s->shell ? s->shell : "ssh",
                        s->target);
    argv[2] = guard_append_word(argv[2], line);
    argv[3] = NULL;
    status = guard_run("/bin/sh", argv);
    free(argv[2]);
    return status;
}

int guard_check_shell(struct guard_start *s)
{
    if (!s->target || !s->shell || *s->shell)
        return 0;
    xl_message("--detach: not with an empty -s, for then nobody can attach"
               " them on the other host");
    return 1;
}

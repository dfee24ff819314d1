/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The words of xl and "xl migrate-receive" (xl.h and xl_migrate.c of Xen).
 * They are fixed messages, the same since 4.5, and the second last of them is
 * the one after which the guest may run on the other host.
 */
#include <stdlib.h>
#include <string.h>

#include "core/save-head.h"
#include "core/store.h"
#include "migrate/migrate.h"

/* With the final NUL of all but the first, as xl sends them. */
static const char banner[] =
    "xl migration receiver ready, send binary domain data.\n";
static const char ready[] = "domain received, ready to unpause";
static const char go[] = "domain is yours, you are cleared to unpause";
static const char report[] = "my copy unpause results are as follows";

#define STREAM_V2 2                 /* of the mandatory flags */
#define BANNER_MS 120000            /* somebody types a password */
#define SEND_MS 60000
#define READY_MS 600000             /* it makes the devices */
#define REPORT_MS 120000

/* Which message is it that does not come? */
static int await(struct xlx__migrate *m, const char *text, size_t len,
                 int ms, const xlx_progress *progress, const char *what)
{
    struct xlx__shell *r = &m->receiver;
    const char *said;
    char got[80];
    size_t num;
    int rc;

    rc = xlx__shell_read(r, got, len, xlx__now_ms() + ms, progress, &num);
    if (rc == ERROR_ABORTED) return rc;
    if (!rc && num == len && !memcmp(got, text, len))
        return 0;
    said = xlx__shell_said(r);
    if (rc)
        return xlx__error(rc, "%s: xl migrate-receive does not %s%s%s",
                          r->host, what, *said ? ": " : "", said);
    return xlx__error(ERROR_FAIL, "%s: xl migrate-receive %s instead of "
                      "\"%.*s\"%s%s", r->host, num < len ? "has ended"
                      : "says something else", (int)strcspn(text, "\n"), text,
                      *said ? ": " : "", said);
}

static int send_config(struct xlx__migrate *m)
{
    uint32_t len = (uint32_t)strlen(m->config) + 1;
    struct xlx__save_head head = {
        .magic = XLX__SAVE_MAGIC, .byte_order = XLX__SAVE_BYTE_ORDER,
        .mandatory = XLX__SAVE_JSON | STREAM_V2,
        .length = len + (uint32_t)sizeof(len),
    };
    const int64_t deadline = xlx__now_ms() + SEND_MS;
    int rc;

    rc = xlx__shell_write(&m->receiver, &head, sizeof(head), deadline);
    if (!rc)
        rc = xlx__shell_write(&m->receiver, &len, sizeof(len), deadline);
    if (!rc)
        rc = xlx__shell_write(&m->receiver, m->config, len, deadline);
    return rc;
}

int xlx__talk_begin(struct xlx__migrate *m)
{
    static const char *const options[] = {
        "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=4", NULL,
    };
    char *line = xlx__printf("exec xl migrate-receive%s%s",
                             m->spec->no_monitor ? " -e" : "",
                             m->spec->paused ? " -p" : "");
    int rc;

    if (!line)
        return xlx__nomem();
    rc = xlx__shell_run(m->record.command, options, m->record.host, line,
                        &m->receiver);
    free(line);
    if (rc) return rc;
    rc = await(m, banner, sizeof(banner) - 1, BANNER_MS, m->progress,
               "begin");
    return rc ? rc : send_config(m);
}

int xlx__talk_await_ready(struct xlx__migrate *m)
{
    return await(m, ready, sizeof(ready), READY_MS, NULL,
                 "say that it has the guest");
}

/* It could not start the guest, and gives it back when it has destroyed it. */
static int await_return(struct xlx__migrate *m, unsigned char status)
{
    int rc;

    rc = await(m, go, sizeof(go), REPORT_MS, NULL, "give the guest back");
    if (rc) return rc;
    m->may_run_there = false;
    return xlx__error(ERROR_FAIL, "%s: xl migrate-receive could not start the "
                      "guest (status %u): %s", m->record.host, status,
                      xlx__shell_said(&m->receiver));
}

int xlx__talk_go(struct xlx__migrate *m)
{
    unsigned char status;
    size_t got;
    int rc;

    m->may_run_there = true;
    rc = xlx__shell_write(&m->receiver, go, sizeof(go),
                          xlx__now_ms() + SEND_MS);
    if (rc) return rc;
    xlx__fault("disk-migrate.told");
    rc = await(m, report, sizeof(report), REPORT_MS, NULL,
               "say whether the guest runs");
    if (rc) return rc;
    rc = xlx__shell_read(&m->receiver, &status, 1, xlx__now_ms() + REPORT_MS,
                         NULL, &got);
    if (!rc && !got)
        rc = xlx__error(ERROR_FAIL, "%s: xl migrate-receive ended before it "
                        "said whether the guest runs", m->record.host);
    if (rc) return rc;
    return status ? await_return(m, status) : 0;
}

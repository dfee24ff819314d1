/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whose guests run where: the guest that each host makes by default, on each
 * host.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "gen-calls.h"

/* The guest of a host whose config does not mention the processor. */
static int usual_guest(const xlx_cpu_host *host, xlx_cpu *cpu_r)
{
    struct xlx__cpu_xen h;
    int rc;

    rc = xlx__cpu_xen_from_public(host, &h);
    if (rc)
        return rc;
    h.usual.from = xlx__cpu_nearest(&h.usual);
    h.usual.note = NULL;
    return xlx__cpu_to_public(&h.usual, cpu_r);
}

static int fill_row(xlx_ctx *ctx, const xlx_cpu_hosts *hosts, int i,
                    const char *release, xlx_cpu_matrix_row *row)
{
    xlx_cpu_verdict *v;
    xlx_cpu guest;
    int j, rc;

    xlx_cpu_init(&guest);
    rc = usual_guest(&hosts->hosts[i], &guest);
    for (j = 0; !rc && j < hosts->num_hosts; j++) {
        v = xlx__cpu_matrix_row_verdicts_append(row);
        rc = v ? xlx__cpu_check(ctx, &guest, &hosts->hosts[j], release, v)
               : xlx__nomem();
        if (rc)
            rc = xlx__error_prefix(rc, "host %d", j + 1);
    }
    xlx_cpu_dispose(&guest);
    return rc;
}

int xlx__cpu_matrix_make(xlx_ctx *ctx, const xlx_cpu_hosts *hosts,
                         const char *release, xlx_cpu_matrix *matrix_r)
{
    xlx_cpu_matrix_row *row;
    int i, rc = 0;

    if (hosts->num_hosts < 1)
        return xlx__error(ERROR_INVAL, "hosts: there are none");
    for (i = 0; !rc && i < hosts->num_hosts; i++) {
        if (hosts->hosts[i].pv != hosts->hosts[0].pv)
            return xlx__error(ERROR_INVAL, "host %d: is not about the same "
                              "kind of guests as host 1", i + 1);
        row = xlx__cpu_matrix_rows_append(matrix_r);
        rc = row ? fill_row(ctx, hosts, i, release, row) : xlx__nomem();
    }
    return rc;
}

/* ---- a host in the place of a guest ------------------------------------- */

/* Whether the text is of a host, which is then read. */
static bool is_host(xlx_ctx *ctx, const char *name, const char *text, bool pv,
                    xlx_cpu_host *host_r, int *rc_r)
{
    struct xlx__cpu cpu;

    *rc_r = xlx__cpu_host_read(ctx, name, text, pv, host_r);
    if (*rc_r || !host_r->predicted)
        return true;
    *rc_r = xlx__cpu_read_text(name, text, &cpu);
    return *rc_r || cpu.bare;
}

int xlx__cpu_guest_read(xlx_ctx *ctx, const char *name, const char *text,
                        bool pv, xlx_cpu *cpu_r)
{
    xlx_cpu_host host;
    int rc;

    xlx_cpu_host_init(&host);
    if (!is_host(ctx, name, text, pv, &host, &rc))
        rc = xlx__cpu_read(ctx, name, text, cpu_r);
    else if (!rc)
        rc = usual_guest(&host, cpu_r);
    xlx_cpu_host_dispose(&host);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing the report of a repair; see report.h.
 */
#include <stdio.h>

#include "core/internal.h"
#include "core/report.h"
#include "gen-calls.h"

int xlx__report(xlx_repair_report *report, bool repaired, const char *done,
                const char *fmt, ...)
{
    xlx_repair_finding *f;
    va_list ap;
    int r;

    if (!report)
        return 0;
    f = xlx__repair_report_findings_append(report);
    if (!f)
        return ERROR_NOMEM;
    va_start(ap, fmt);
    r = vasprintf(&f->what, fmt, ap);
    va_end(ap);
    if (r < 0) {
        f->what = NULL;
        return xlx__nomem();
    }
    f->repaired = repaired;
    return xlx__set_string(&f->done, done);
}

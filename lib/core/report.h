/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The findings and actions of a repair, a line for each finding.
 */
#ifndef XLX_REPORT_H
#define XLX_REPORT_H

#include <stdbool.h>

#include "libxlx.h"

/* Adds a finding, and what was done about it or is to be done.  report may be
 * NULL.  0 or ERROR_NOMEM. */
int xlx__report(xlx_repair_report *report, bool repaired, const char *done,
                const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif

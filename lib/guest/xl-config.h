/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An xl.cfg(5), read by libxlutil as xl reads it.  Complaints of libxlutil go
 * into memory, and into our message.
 */
#ifndef XLX_XL_CONFIG_H
#define XLX_XL_CONFIG_H

#include <stdio.h>

#include <libxlutil.h>

#include "core/internal.h"

struct xlx__xl_config {
    XLU_Config *cfg;                /* for xlu_cfg_get_...() */
    FILE *report;
    char *said;
    size_t len;
};

/* *c need not be initialised; dispose of it also after a failure.  name is
 * for messages. */
int xlx__xl_config_read_file(struct xlx__xl_config *c, const char *path);
int xlx__xl_config_read_text(struct xlx__xl_config *c, const char *name,
                             const char *text);
/* The first line of the complaints so far, otherwise the given text. */
const char *xlx__xl_config_said(struct xlx__xl_config *c,
                                const char *otherwise);
void xlx__xl_config_dispose(struct xlx__xl_config *c);

#endif

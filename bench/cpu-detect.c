/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads processors and prints the nearest model of each, in one process, as
 * virsh takes many commands in one:
 *   cpu-detect FILE...
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#include "libxlx.h"

static char text[1 << 20];

static void detect(xlx_ctx *ctx, const char *name)
{
    FILE *f = fopen(name, "re");
    xlx_cpu_detection d;
    xlx_cpu cpu;

    if (!f)
        err(1, "%s", name);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    xlx_cpu_init(&cpu);
    xlx_cpu_detection_init(&d);
    if (xlx_cpu_read(ctx, name, text, &cpu) || xlx_cpu_detect(ctx, &cpu, &d))
        errx(1, "%s", xlx_error_get());
    puts(d.cpu_model);
    xlx_cpu_dispose(&cpu);
    xlx_cpu_detection_dispose(&d);
}

int main(int argc, char **argv)
{
    xlx_ctx *ctx;
    int i;

    if (xlx_ctx_alloc(&ctx, NULL, NULL))
        errx(1, "%s", xlx_error_get());
    for (i = 1; i < argc; i++)
        detect(ctx, argv[i]);
    xlx_ctx_free(ctx);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Prints the CPU expression that guests of all given hosts can have; a host is
 * a dump of its CPUID leaves, as cpuid -r writes it.  Needs no Xen.
 *
 *     cc cpu-baseline.c $(pkg-config --cflags --libs libxlx)
 */
#include <stdio.h>
#include <stdlib.h>

#include <libxlx.h>

static int read_host(xlx_ctx *ctx, const char *path, xlx_cpu *host)
{
    static char text[1 << 20];
    FILE *f = fopen(path, "r");
    size_t len;

    if (!f) {
        perror(path);
        return ERROR_FAIL;
    }
    len = fread(text, 1, sizeof(text) - 1, f);
    text[len] = '\0';
    fclose(f);
    return xlx_cpu_read(ctx, path, text, host);
}

int main(int argc, char **argv)
{
    xlx_cpu_expression result;
    xlx_ctx *ctx = NULL;
    xlx_cpus hosts;
    xlx_cpu common;
    int i, rc;

    xlx_cpus_init(&hosts);
    xlx_cpu_init(&common);
    xlx_cpu_expression_init(&result);
    rc = xlx_ctx_alloc(&ctx, NULL, NULL);
    if (rc) goto out;
    hosts.cpus = calloc((size_t)argc, sizeof(*hosts.cpus));
    rc = hosts.cpus ? 0 : ERROR_NOMEM;
    for (i = 1; !rc && i < argc; i++)
        rc = read_host(ctx, argv[i], &hosts.cpus[hosts.num_cpus++]);
    if (rc) goto out;
    rc = xlx_cpu_baseline(ctx, &hosts, &common);
    if (rc) goto out;
    rc = xlx_cpu_express(ctx, &common, &result);
    if (rc) goto out;
    puts(result.expression);

 out:
    if (rc && *xlx_error_get())
        fprintf(stderr, "%s: %s\n", argv[0], xlx_error_get());
    xlx_cpu_expression_dispose(&result);
    xlx_cpu_dispose(&common);
    xlx_cpus_dispose(&hosts);
    xlx_ctx_free(ctx);
    return rc ? 1 : 0;
}

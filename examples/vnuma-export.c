/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rewrites the NUMA topology in a guest's config, xl's or libvirt's, for
 * another program: as libvirt's XML, or in the format that is named.  Needs no
 * Xen.
 *
 *     cc vnuma-export.c $(pkg-config --cflags --libs libxlx)
 */
#include <stdio.h>

#include <libxlx.h>

static int read_config(xlx_ctx *ctx, const char *path, xlx_vnuma_topology *t)
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
    return xlx_vnuma_read(ctx, path, text, t);
}

int main(int argc, char **argv)
{
    xlx_vnuma_format format = XLX_VNUMA_FORMAT_LIBVIRT;
    xlx_vnuma_topology topology;
    xlx_vnuma_text result;
    xlx_ctx *ctx = NULL;
    int rc;

    if (argc < 2 || argc > 3 ||
        (argc == 3 && xlx_vnuma_format_from_string(argv[2], &format))) {
        fprintf(stderr, "usage: %s CONFIG [FORMAT]\n", argv[0]);
        return 2;
    }
    xlx_vnuma_topology_init(&topology);
    xlx_vnuma_text_init(&result);
    rc = xlx_ctx_alloc(&ctx, NULL, NULL);
    if (rc) goto out;
    rc = read_config(ctx, argv[1], &topology);
    if (rc) goto out;
    rc = xlx_vnuma_export(ctx, &topology, NULL, format, &result);
    if (rc) goto out;
    fputs(result.text, stdout);

 out:
    if (rc && *xlx_error_get())
        fprintf(stderr, "%s: %s\n", argv[0], xlx_error_get());
    xlx_vnuma_text_dispose(&result);
    xlx_vnuma_topology_dispose(&topology);
    xlx_ctx_free(ctx);
    return rc ? 1 : 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lists saved guests: for each file the guest, its memory and what stands in
 * the way of restoring it on this host.
 *
 *     cc saved-list.c $(pkg-config --cflags --libs libxlx)
 *     ./a.out /backup/web.save /backup/db.save
 */
#include <stdio.h>

#include <libxlx.h>

static const char *text(const char *s)
{
    return s ? s : "";              /* NULL is an empty string */
}

static int list(xlx_ctx *ctx, const char *path)
{
    xlx_saved_info info;
    xlx_saved_here here;
    int i, rc;

    xlx_saved_info_init(&info);
    xlx_saved_here_init(&here);
    rc = xlx_saved_read(ctx, path, &info);
    if (rc) goto out;
    rc = xlx_saved_here_get(ctx, &info, &here);
    if (rc) goto out;
    printf("%s\t%s\t%s\t%llu MiB\n", path, text(info.name), text(info.type),
           (unsigned long long)info.pages / 256);
    for (i = 0; i < here.num_obstacles; i++)
        printf("\t%s: %s\n", here.obstacles[i].about,
               here.obstacles[i].text);

 out:
    xlx_saved_here_dispose(&here);
    xlx_saved_info_dispose(&info);
    return rc;
}

int main(int argc, char **argv)
{
    xlx_ctx *ctx = NULL;
    int i, rc;

    rc = xlx_ctx_alloc(&ctx, NULL, NULL);
    for (i = 1; !rc && i < argc; i++)
        rc = list(ctx, argv[i]);
    if (rc)
        fprintf(stderr, "%s: %s\n", argv[0], xlx_error_get());
    xlx_ctx_free(ctx);
    return rc ? 1 : 0;
}

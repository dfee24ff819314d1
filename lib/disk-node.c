/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's block nodes and jobs: which node holds an image, which files QEMU
 * knows, whether it is busy with a job.
 */
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "image.h"

static int query_nodes(struct xlx__qmp *qmp, const struct xlx__json **list_r)
{
    struct xlx__json_out *args = xlx__json_out_new(false);

    xlx__json_out_object(args);
    xlx__json_out_kv_bool(args, "flat", true);
    xlx__json_out_end(args);
    return xlx__qmp_call(qmp, "query-named-block-nodes", args, list_r);
}

int xlx__disk_files(struct xlx__qmp *qmp, char ***files_r, int *num_r)
{
    const struct xlx__json *result, *v;
    const char *file;
    char **files;
    int num = 0, rc;

    rc = query_nodes(qmp, &result);
    if (rc) return rc;
    files = calloc(xlx__json_count(result) + 1, sizeof(*files));
    if (!files)
        return xlx__error(ERROR_NOMEM, "out of memory");
    for (v = xlx__json_first(result); v; v = xlx__json_next(v)) {
        rc = xlx__json_member_string(v, "file", &file);
        if (!rc)
            rc = xlx__set_string(&files[num], file);
        if (rc) {
            xlx__disk_files_free(files, num);
            return rc;
        }
        num++;
    }
    *files_r = files;
    *num_r = num;
    return 0;
}

void xlx__disk_files_free(char **files, int num)
{
    int i;

    for (i = 0; i < num; i++)
        free(files[i]);
    free(files);
}

int xlx__disk_find_node(struct xlx__qmp *qmp, const char *image,
                        char **node_r, bool *readonly_r)
{
    const struct xlx__json *result, *v;
    const char *driver, *file, *node;
    int rc;

    rc = query_nodes(qmp, &result);
    if (rc) return rc;
    for (v = xlx__json_first(result); v; v = xlx__json_next(v)) {
        rc = xlx__json_member_string(v, "drv", &driver);
        if (rc) return rc;
        rc = xlx__json_member_string(v, "file", &file);
        if (rc) return rc;
        /* below each format node is a protocol node on the same file, and
         * a job's filter above it shows that file as well */
        if (!strcmp(driver, "file") || !strcmp(driver, "host_device") ||
            !strcmp(driver, "commit_top") || !strcmp(driver, "mirror_top") ||
            !xlx__image_same(file, image))
            continue;
        rc = xlx__json_member_string(v, "node-name", &node);
        if (rc) return rc;
        rc = xlx__json_member_bool(v, "ro", readonly_r);
        if (rc) return rc;
        *node_r = strdup(node);
        return *node_r ? 0 : xlx__error(ERROR_NOMEM, "out of memory");
    }
    return xlx__error(ERROR_NOTFOUND, "%s: QEMU does not have it open",
                      image);
}

int xlx__disk_no_jobs(struct xlx__qmp *qmp)
{
    const struct xlx__json *result, *job;
    const char *id, *type;
    int rc;

    rc = xlx__qmp_call(qmp, "query-jobs", NULL, &result);
    if (rc) return rc;
    job = xlx__json_first(result);
    if (!job)
        return 0;
    rc = xlx__json_member_string(job, "id", &id);
    if (rc) return rc;
    rc = xlx__json_member_string(job, "type", &type);
    if (rc) return rc;
    return xlx__error(ERROR_NOT_READY, "QEMU is busy with the %s job \"%s\": "
                      "wait for it, or cancel it", type, id);
}

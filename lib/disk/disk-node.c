/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From images to QEMU's nodes, anywhere in a chain, and what QEMU does with
 * them besides serving the guest.
 */
#include <stdlib.h>
#include <string.h>

#include "disk/disk-drive.h"
#include "disk/disk.h"
#include "disk/image.h"

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
        return xlx__nomem();
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

/* ---- the nodes on which the guest's disks are --------------------------- */

struct names {
    char **v;
    int num;
};

static bool is_among(const struct names *names, const char *name)
{
    int i;

    for (i = 0; i < names->num; i++)
        if (!strcmp(names->v[i], name))
            return true;
    return false;
}

static int add_name(struct names *names, const char *name)
{
    char **v = realloc(names->v, ((size_t)names->num + 1) * sizeof(*v));

    if (!v)
        return xlx__nomem();
    names->v = v;
    v[names->num] = NULL;
    return xlx__set_string(&v[names->num++], name);
}

/* query-blockstats nests the nodes below a device's node; nothing else tells
 * the names of nodes in a chain. */
static int add_chain(const struct xlx__json *device, struct names *names)
{
    const struct xlx__json *name, *v;
    const char *text;
    int i, rc;

    for (v = device, i = 0; v && i < XLX__MAX_CHAIN; i++) {
        name = xlx__json_member(v, "node-name");
        if (name) {
            rc = xlx__json_string(name, &text);
            if (!rc)
                rc = add_name(names, text);
            if (rc) return rc;
        }
        v = xlx__json_member(v, "backing");
    }
    return 0;
}

static int ask_served(struct xlx__qmp *qmp, struct names *names)
{
    const struct xlx__json *result, *v;
    int rc;

    rc = xlx__qmp_call(qmp, "query-blockstats", NULL, &result);
    if (rc) return rc;
    for (v = xlx__json_first(result); v; v = xlx__json_next(v)) {
        rc = add_chain(v, names);
        if (rc) return rc;
    }
    return 0;
}

/* Another tool may have opened the same file for itself: a node on which no
 * device of the guest is counts only when there is no other. */
static int match_node(const struct xlx__json *v, const struct names *served,
                      struct xlx__disk_node *node)
{
    const char *driver, *file, *name;
    bool is_served;
    int rc;

    rc = xlx__json_member_string(v, "drv", &driver);
    if (rc) return rc;
    rc = xlx__json_member_string(v, "file", &file);
    if (rc) return rc;
    /* below each format node is a protocol node on the same file, and
     * a job's filter above it shows that file as well */
    if (!strcmp(driver, "file") ||
        !strcmp(driver, "host_device") || !strcmp(driver, "commit_top") ||
        !strcmp(driver, "mirror_top") || !xlx__image_same(file, node->image))
        return 0;
    rc = xlx__json_member_string(v, "node-name", &name);
    if (rc) return rc;
    is_served = is_among(served, name);
    if (node->name && (!is_served || node->served))
        return 0;
    node->served = is_served;
    rc = xlx__json_member_bool(v, "ro", &node->readonly);
    return rc ? rc : xlx__set_string(&node->name, name);
}

int xlx__disk_find_nodes(struct xlx__qmp *qmp, struct xlx__disk_node *nodes,
                         int num)
{
    const struct xlx__json *result, *v;
    struct names served = { NULL, 0 };
    int i, rc;

    rc = ask_served(qmp, &served);
    if (rc) goto out;
    rc = query_nodes(qmp, &result);
    if (rc) goto out;
    for (v = xlx__json_first(result); v; v = xlx__json_next(v))
        for (i = 0; i < num; i++) {
            rc = match_node(v, &served, &nodes[i]);
            if (rc) goto out;
        }

 out:
    xlx__disk_files_free(served.v, served.num);
    return rc;
}

int xlx__disk_find_node(struct xlx__qmp *qmp, const char *image,
                        char **node_r, bool *readonly_r)
{
    struct xlx__disk_node node = { .image = image };
    int rc;

    rc = xlx__disk_find_nodes(qmp, &node, 1);
    if (!rc && !node.name)
        rc = xlx__error(ERROR_NOTFOUND, "%s: QEMU does not have it open",
                        image);
    if (rc) {
        free(node.name);
        return rc;
    }
    *node_r = node.name;
    *readonly_r = node.readonly;
    return 0;
}

/* The commands that deal with a job are those of who began it. */
static const char *way_out(const char *id, const char *theirs)
{
    return !strncmp(id, "xlx-mirror-", 11) || !strncmp(id, "xlx-pull-", 9)
        ? "see xl disk-jobs, and end it with xl disk-job-finish or -cancel"
        : theirs;
}

int xlx__disk_no_jobs(struct xlx__qmp *qmp)
{
    const struct xlx__json *result, *job;
    const char *id, *type, *status;
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
    rc = xlx__json_member_string(job, "status", &status);
    if (rc) return rc;
    if (!strcmp(status, "concluded"))
        return xlx__error(ERROR_NOT_READY, "QEMU keeps the %s job \"%s\", "
                          "which has ended: %s", type, id,
                          way_out(id, "the tool that began it must dismiss it "
                                  "(job-dismiss)"));
    if (!strcmp(status, "pending"))
        return xlx__error(ERROR_NOT_READY, "QEMU keeps the %s job \"%s\", "
                          "which waits for its last step: %s", type, id,
                          way_out(id, "the tool that began it must finalize "
                                  "it (job-finalize)"));
    if (!strcmp(status, "ready"))
        return xlx__error(ERROR_NOT_READY, "QEMU is busy with the %s job "
                          "\"%s\", which goes on until it is completed or "
                          "cancelled: %s", type, id,
                          way_out(id, "job-complete, job-cancel"));
    return xlx__error(ERROR_NOT_READY, "QEMU is busy with the %s job \"%s\": "
                      "%s", type, id, way_out(id, "wait for it, or cancel "
                                              "it"));
}

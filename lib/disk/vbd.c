/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disks of guests as libxl and its block scripts write them to xenstore
 * (Xen's docs/misc/xenstore-paths.pandoc and public/io/blkif.h): below
 * backend/KIND/DOMID/DEVID the node "params" names the image, after the
 * format and a colon where QEMU or tapdisk serves it, and "physical-device"
 * has the number of the block device that the kernel serves, in hexadecimal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "core/xs.h"
#include "disk/block.h"
#include "disk/vbd.h"

/* By the kernel, by QEMU and by tapdisk. */
static const char *const kinds[] = { "vbd", "qdisk", "vbd3" };

/* ---- reading ------------------------------------------------------------ */

/* NULL when there is no such node, and with ERROR_NOMEM. */
static int read_node(xlx_ctx *ctx, const char *dir, const char *name,
                     char **text_r)
{
    char *path = xlx__printf("%s/%s", dir, name);
    int rc;

    *text_r = NULL;
    rc = path ? xlx__xs_read(ctx, XBT_NULL, path, text_r)
              : xlx__nomem();
    free(path);
    if (rc != ERROR_NOTFOUND && rc != ERROR_INVAL)
        return rc;
    xlx__error_clear();
    return 0;
}

/* The block device with that number, or nothing when it has gone. */
static int set_disk(struct xlx__vbd *vbd, unsigned int maj, unsigned int min)
{
    vbd->disk = xlx__block_name(makedev(maj, min));
    return vbd->disk ? 0 : xlx__nomem();
}

/* An entry that no longer exists, or is not of this host, stays empty. */
static int set_image(struct xlx__vbd *vbd, const char *params)
{
    const char *colon = strchr(params, ':');
    struct stat st;

    if (*params != '/' && colon) {
        vbd->raw = !strncmp(params, "aio:", 4) || !strncmp(params, "raw:", 4);
        params = colon + 1;
    }
    if (*params != '/' || stat(params, &st))
        return 0;
    if (S_ISBLK(st.st_mode))
        return set_disk(vbd, major(st.st_rdev), minor(st.st_rdev));
    vbd->dev = st.st_dev;
    vbd->ino = st.st_ino;
    return 0;
}

/* Takes over backend. */
static int add_vbd(xlx_ctx *ctx, uint32_t domid, char *backend,
                   struct xlx__vbds *vbds)
{
    char *number = NULL, *params = NULL;
    uint64_t maj, min;
    struct xlx__vbd *vbd;
    const char *p;
    int rc;

    vbd = backend ? realloc(vbds->list, ((size_t)vbds->num + 1) *
                                        sizeof(*vbd)) : NULL;
    if (!vbd) {
        free(backend);
        return xlx__nomem();
    }
    vbds->list = vbd;
    vbd += vbds->num++;
    memset(vbd, 0, sizeof(*vbd));
    vbd->domid = domid;
    vbd->backend = backend;

    rc = read_node(ctx, backend, "physical-device", &number);
    p = number;
    if (!rc && p && xlx__take_hex(&p, UINT32_MAX, &maj) &&
        xlx__take_word(&p, ":") && xlx__parse_hex(p, UINT32_MAX, &min)) {
        rc = set_disk(vbd, (unsigned int)maj, (unsigned int)min);
        goto out;
    }
    if (rc) goto out;
    rc = read_node(ctx, backend, "params", &params);
    if (rc) goto out;
    if (params)
        rc = set_image(vbd, params);

 out:
    free(params);
    free(number);
    return rc;
}

/* Names below a directory, none when there is no such directory. */
static int list(xlx_ctx *ctx, const char *dir, char ***names_r,
                unsigned int *num_r)
{
    int rc;

    *names_r = NULL;
    *num_r = 0;
    rc = xlx__xs_list(ctx, XBT_NULL, dir, names_r, num_r);
    return xlx__forgive(rc, ERROR_NOTFOUND);
}

static int read_guest(xlx_ctx *ctx, const char *kind, const char *domid,
                      struct xlx__vbds *vbds)
{
    char *dir, **devids = NULL;
    unsigned int i, num = 0;
    uint32_t number;
    int rc;

    if (!xlx__parse_u32(domid, UINT32_MAX - 1, &number))
        return xlx__error(ERROR_INVAL, "xenstore: /local/domain/0/backend/%s/"
                          "%s: the name is not a domid, so nobody knows whose"
                          " disks these are: remove the node with xenstore-rm",
                          kind, domid);
    dir = xlx__printf("/local/domain/0/backend/%s/%s", kind, domid);
    rc = dir ? list(ctx, dir, &devids, &num)
                : xlx__nomem();
    for (i = 0; !rc && i < num; i++)
        rc = add_vbd(ctx, number, xlx__printf("%s/%s", dir, devids[i]),
                     vbds);
    free(devids);
    free(dir);
    return rc;
}

int xlx__vbds_read(xlx_ctx *ctx, struct xlx__vbds *vbds)
{
    char dir[64], **domids;
    unsigned int i, num;
    size_t k;
    int rc = 0;

    memset(vbds, 0, sizeof(*vbds));
    for (k = 0; !rc && k < XLX__ARRAY_SIZE(kinds); k++) {
        snprintf(dir, sizeof(dir), "/local/domain/0/backend/%s",
                 kinds[k]);
        rc = list(ctx, dir, &domids, &num);
        for (i = 0; !rc && i < num; i++)
            rc = read_guest(ctx, kinds[k], domids[i], vbds);
        free(domids);
    }
    return rc;
}

void xlx__vbds_dispose(struct xlx__vbds *vbds)
{
    int i;

    for (i = 0; i < vbds->num; i++) {
        free(vbds->list[i].backend);
        free(vbds->list[i].disk);
    }
    free(vbds->list);
    memset(vbds, 0, sizeof(*vbds));
}

/* ---- asking ------------------------------------------------------------- */

int xlx__vbd_describe(xlx_ctx *ctx, const struct xlx__vbd *vbd, char **use_r,
                      bool *writes_r)
{
    char home[32], *name = NULL, *mode = NULL, *dev = NULL;
    int rc;

    snprintf(home, sizeof(home), "/local/domain/%u", vbd->domid);
    rc = read_node(ctx, home, "name", &name);
    if (!rc)
        rc = read_node(ctx, vbd->backend, "mode", &mode);
    if (!rc)
        rc = read_node(ctx, vbd->backend, "dev", &dev);
    if (rc || !name)
        goto out;
    *writes_r = !mode || *mode != 'r';
    *use_r = xlx__printf("guest %s has it as its disk %s", name,
                         xlx__text(dev));
    if (!*use_r)
        rc = xlx__nomem();

 out:
    free(name);
    free(mode);
    free(dev);
    return rc;
}

/* Says that the guest has it, unless it has gone, or nobody would write. */
static int describe(xlx_ctx *ctx, const struct xlx__vbd *vbd, bool readonly,
                    char **use_r)
{
    char *use = NULL;
    bool writes;
    int rc;

    rc = xlx__vbd_describe(ctx, vbd, &use, &writes);
    if (rc || !use || (readonly && !writes))
        free(use);
    else
        *use_r = use;
    return rc;
}

int xlx__vbds_use_disk(xlx_ctx *ctx, const struct xlx__vbds *vbds,
                       const char *disk, bool readonly, char **use_r)
{
    const struct xlx__vbd *vbd;
    char *use = NULL;
    int i, rc = 0;

    for (i = 0; !rc && !use && i < vbds->num; i++) {
        vbd = &vbds->list[i];
        if (vbd->disk && *vbd->disk &&
            (!strcmp(vbd->disk, disk) ||
             xlx__attr_exists("%s/class/block/%s/%s", xlx__sysfs_dir(), disk,
                              vbd->disk)))
            rc = describe(ctx, vbd, readonly, &use);
    }
    if (use)
        *use_r = use;
    return rc;
}

int xlx__vbds_use_file(xlx_ctx *ctx, const struct xlx__vbds *vbds,
                       const char *path, bool readonly, char **use_r)
{
    const struct xlx__vbd *vbd;
    char *use = NULL;
    struct stat st;
    int i, rc = 0;

    if (stat(path, &st))
        return xlx__error(ERROR_NOTFOUND, "%s: %m", path);
    for (i = 0; !rc && !use && i < vbds->num; i++) {
        vbd = &vbds->list[i];
        if (!vbd->disk && vbd->ino == st.st_ino && vbd->dev == st.st_dev)
            rc = describe(ctx, vbd, readonly, &use);
    }
    if (use)
        *use_r = use;
    return rc;
}

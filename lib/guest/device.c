/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices over xenstore, as Xen's public/io/xenbus.h and
 * docs/misc/xenstore-paths.pandoc describe them.  The guest can write
 * everything below the frontend's directory.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/kernfs.h"
#include "core/store.h"
#include "guest/device.h"

#define MAX_SAID 512                /* bytes of a driver's words */

int xlx__device_init(struct xlx__device *dev, const char *kind,
                     const char *frontend_kind, uint32_t backend_domid,
                     uint32_t domid, uint32_t devid)
{
    dev->kind = kind;
    dev->backend_domid = backend_domid;
    dev->domid = domid;
    dev->devid = devid;
    dev->backend = xlx__printf("/local/domain/%u/backend/%s/%u/%u",
                               backend_domid, kind, domid, devid);
    dev->frontend = xlx__printf("/local/domain/%u/device/%s/%u", domid,
                                frontend_kind, devid);
    if (!dev->backend || !dev->frontend)
        return xlx__nomem();
    return 0;
}

void xlx__device_dispose(struct xlx__device *dev)
{
    free(dev->backend);
    free(dev->frontend);
    dev->backend = dev->frontend = NULL;
}

/* ---- making ------------------------------------------------------------- */

static int write_key(xlx_ctx *ctx, xs_transaction_t t, const char *dir,
                     const char *name, const char *value)
{
    char *path = xlx__printf("%s/%s", dir, name);
    int rc;

    if (!path)
        return xlx__nomem();
    rc = xlx__xs_write(ctx, t, path, value);
    free(path);
    return rc;
}

static int write_number(xlx_ctx *ctx, xs_transaction_t t, const char *dir,
                        const char *name, uint32_t value)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", value);
    return write_key(ctx, t, dir, name, text);
}

/* Nodes made below a directory get its permissions. */
static int make_dir(xlx_ctx *ctx, xs_transaction_t t, const char *path,
                    uint32_t owner, uint32_t reader)
{
    const struct xs_permissions perms[] = {
        { .id = owner, .perms = XS_PERM_NONE },
        { .id = reader, .perms = XS_PERM_READ },
    };
    int rc;

    rc = xlx__xs_remove(ctx, t, path);
    if (rc && rc != ERROR_NOTFOUND)
        return rc;
    return xlx__xs_mkdir(ctx, t, path, perms, XLX__ARRAY_SIZE(perms));
}

int xlx__device_awaited(xlx_ctx *ctx, xs_transaction_t t,
                        const struct xlx__device *dev)
{
    char path[64], *value;
    int rc;

    snprintf(path, sizeof(path), "/local/domain/%u/device", dev->domid);
    rc = xlx__xs_read(ctx, t, path, &value);
    if (rc) return xlx__forgive(rc, ERROR_NOTFOUND);
    free(value);
    return 1;
}

int xlx__device_make(xlx_ctx *ctx, xs_transaction_t t,
                     const struct xlx__device *dev,
                     const struct xlx__device_key *backend_keys)
{
    int rc;

    rc = make_dir(ctx, t, dev->frontend, dev->domid, dev->backend_domid);
    if (rc) return rc;
    rc = write_key(ctx, t, dev->frontend, "backend", dev->backend);
    if (rc) return rc;
    rc = write_number(ctx, t, dev->frontend, "backend-id",
                      dev->backend_domid);
    if (rc) return rc;
    rc = xlx__device_set_state(ctx, t, dev->frontend,
                               XLX_XENBUS_STATE_INITIALISING);
    if (rc) return rc;

    rc = make_dir(ctx, t, dev->backend, dev->backend_domid, dev->domid);
    if (rc) return rc;
    rc = write_key(ctx, t, dev->backend, "frontend", dev->frontend);
    if (rc) return rc;
    rc = write_number(ctx, t, dev->backend, "frontend-id", dev->domid);
    if (rc) return rc;
    rc = write_key(ctx, t, dev->backend, "online", "1");
    for (; !rc && backend_keys->name; backend_keys++)
        rc = write_key(ctx, t, dev->backend, backend_keys->name,
                       backend_keys->value);
    if (rc) return rc;
    return xlx__device_set_state(ctx, t, dev->backend,
                                 XLX_XENBUS_STATE_INITIALISING);
}

int xlx__device_write_secret(xlx_ctx *ctx, xs_transaction_t t,
                             const struct xlx__device *dev, const char *path,
                             const char *value)
{
    const struct xs_permissions perms = {
        .id = dev->backend_domid, .perms = XS_PERM_NONE,
    };
    int rc;

    rc = xlx__xs_mkdir(ctx, t, path, &perms, 1);
    if (rc) return rc;
    return xlx__xs_write(ctx, t, path, value);
}

/* ---- states ------------------------------------------------------------- */

int xlx__device_state(xlx_ctx *ctx, xs_transaction_t t, const char *dir,
                      xlx_xenbus_state *state_r)
{
    char *path = xlx__printf("%s/state", dir);
    uint64_t value = XLX_XENBUS_STATE_UNKNOWN;
    int rc;

    if (!path)
        return xlx__nomem();
    rc = xlx__xs_read_uint(ctx, t, path, XLX_XENBUS_STATE_RECONFIGURED,
                           &value);
    free(path);
    if (rc && rc != ERROR_NOTFOUND)
        return rc;
    *state_r = (xlx_xenbus_state)value;
    return 0;
}

int xlx__device_set_state(xlx_ctx *ctx, xs_transaction_t t,
                          const char *dir, xlx_xenbus_state state)
{
    return write_number(ctx, t, dir, "state", state);
}

const char *xlx__device_state_name(xlx_xenbus_state state)
{
    const char *name = xlx_xenbus_state_to_string(state);

    return name ? name : "unknown";
}

/* ---- what a driver said ------------------------------------------------- */

/* "DRIVER says: TEXT" appended to *said, when there is a text. */
static void add_said(xlx_ctx *ctx, uint32_t domid, const char *dir,
                     const char *driver, char **said)
{
    char *path, *text = NULL, *more, *p;
    const char *rest;

    /* DIR is /local/domain/N/REST, and the text in
     * /local/domain/N/error/REST/error */
    rest = strchr(dir + strlen("/local/domain/"), '/');
    path = rest ? xlx__printf("/local/domain/%u/error%s/error", domid, rest)
                : NULL;
    if (!path || xlx__xs_read(ctx, XBT_NULL, path, &text))
        goto out;
    if (strlen(text) > MAX_SAID)
        text[MAX_SAID] = '\0';
    for (p = text; *p; p++)
        if ((unsigned char)*p < ' ' || (unsigned char)*p >= 0x7f)
            *p = '?';
    more = xlx__printf("%s%s%s says: %s", *said ? *said : "",
                       *said ? "; " : "", driver, text);
    if (more) {
        free(*said);
        *said = more;
    }

 out:
    free(text);
    free(path);
}

char *xlx__device_said(xlx_ctx *ctx, const struct xlx__device *dev)
{
    char *said = NULL;

    add_said(ctx, dev->backend_domid, dev->backend, "the backend", &said);
    add_said(ctx, dev->domid, dev->frontend, "the guest's driver", &said);
    xlx__error_clear();
    return said;
}

/* ---- taking away -------------------------------------------------------- */

struct closing {
    xlx_ctx *ctx;
    const struct xlx__device *dev;
};

static int is_closed(void *user)
{
    struct closing *c = user;
    xlx_xenbus_state state;
    int rc;

    rc = xlx__device_state(c->ctx, XBT_NULL, c->dev->backend, &state);
    if (rc) return rc;
    return state == XLX_XENBUS_STATE_UNKNOWN ||
           state == XLX_XENBUS_STATE_CLOSED;
}

/* online=0 and state=Closing, if it is there still; 1 when it is not. */
static int begin_close(xlx_ctx *ctx, xs_transaction_t t, void *user)
{
    const struct closing *c = user;
    xlx_xenbus_state state;
    int rc;

    rc = xlx__device_state(ctx, t, c->dev->backend, &state);
    if (rc) return rc;
    if (state == XLX_XENBUS_STATE_UNKNOWN || state == XLX_XENBUS_STATE_CLOSED)
        return 1;
    rc = write_key(ctx, t, c->dev->backend, "online", "0");
    if (rc) return rc;
    return xlx__device_set_state(ctx, t, c->dev->backend,
                                 XLX_XENBUS_STATE_CLOSING);
}

int xlx__device_close(xlx_ctx *ctx, const struct xlx__device *dev,
                      int64_t deadline)
{
    struct closing c = { ctx, dev };
    int rc;

    rc = xlx__xs_transact(ctx, begin_close, &c);
    xlx__fault("device-close.asked");
    if (!rc)
        rc = xlx__xs_wait(ctx, dev->backend, deadline, is_closed, &c);
    if (rc < 0) return rc;
    return xlx__device_remove(ctx, dev, deadline);
}

/* Removes the node and directories above it, as long as they are empty then.
 */
static int remove_upwards(xlx_ctx *ctx, xs_transaction_t t,
                          const char *dir, int levels)
{
    char *path = NULL, **names;
    unsigned int num;
    int rc;

    rc = xlx__set_string(&path, dir);
    if (rc) return rc;
    for (;;) {
        rc = xlx__xs_remove(ctx, t, path);
        if (rc && rc != ERROR_NOTFOUND)
            break;
        rc = 0;
        if (!levels--)
            break;
        *strrchr(path, '/') = '\0';
        if (xlx__xs_list(ctx, t, path, &names, &num)) {
            xlx__error_clear();
            continue;
        }
        free(names);
        if (num)
            break;
    }
    free(path);
    return rc;
}

/* The driver of this kernel works on a device until its directory in sysfs is
 * gone, which is later than the link to it in bus/xen-backend; in another
 * domain it cannot be seen. */
static int wait_for_kernel(const struct xlx__device *dev, int64_t deadline)
{
    char *path;
    int nap = 1;

    if (dev->backend_domid)
        return 0;
    path = xlx__printf("%s/devices/%s-%u-%u", xlx__sysfs_dir(), dev->kind,
                       dev->domid, dev->devid);
    if (!path)
        return xlx__nomem();
    while (!access(path, F_OK)) {
        if (xlx__now_ms() >= deadline) {
            free(path);
            return xlx__error(ERROR_TIMEDOUT, "the backend driver does not "
                              "let go of %s-%u-%u: is a device hanging?",
                              dev->kind, dev->domid, dev->devid);
        }
        usleep((useconds_t)nap * 1000);
        nap = nap < 50 ? nap * 2 : 50;
    }
    free(path);
    return 0;
}

static int remove_both(xlx_ctx *ctx, xs_transaction_t t, void *user)
{
    const struct closing *c = user;
    int rc;

    /* .../device/KIND and .../backend/KIND/DOMID */
    rc = remove_upwards(ctx, t, c->dev->frontend, 1);
    return rc ? rc : remove_upwards(ctx, t, c->dev->backend, 2);
}

int xlx__device_remove(xlx_ctx *ctx, const struct xlx__device *dev,
                       int64_t deadline)
{
    struct closing c = { ctx, dev };
    int rc;

    rc = xlx__xs_transact(ctx, remove_both, &c);
    return rc ? rc : wait_for_kernel(dev, deadline);
}

/* ---- listing ------------------------------------------------------------ */

int xlx__device_list(xlx_ctx *ctx, const char *kind, uint32_t backend_domid,
                     uint32_t domid, uint32_t **devids_r, int *num_r)
{
    char *path;
    int rc;

    path = xlx__printf("/local/domain/%u/backend/%s/%u", backend_domid, kind,
                       domid);
    if (!path)
        return xlx__nomem();
    rc = xlx__xs_list_numbers(ctx, path, devids_r, num_r);
    free(path);
    return rc;
}

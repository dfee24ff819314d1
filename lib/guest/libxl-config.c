/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration that libxl keeps of a domain: userdata "libxl-json".
 *
 * libxl has no call to tell it that a disk has a new image.  But its
 * configuration can be reached through public calls: libxl_userdata_retrieve
 * and _store, libxl_domain_config_from_json and _to_json.  libxl's header asks
 * applications to leave that file alone; we change the image of a disk in it
 * and nothing else, under the lock that libxl takes for changes of devices,
 * and read it back.  The text is kept with its final NUL, as libxl writes it.
 *
 * Where xenstore names the image (libxl's own directory and the backend's) it
 * is brought in step, so that libxl_device_disk_list and `xl block-list` tell
 * the truth.  QEMU reads those nodes only when it opens the disk.
 */
#include <stdlib.h>
#include <string.h>

#include <libxl_utils.h>

#include "core/xs.h"
#include "gen-calls.h"
#include "guest/libxl-config.h"

#define LIBXL_CONFIG "libxl-json"
#define DEVICE_LOCK "libxl-device-changes-lock"
#define LOCK_MS 10000

static bool has_userdata(libxl_ctx *xl, uint32_t domid, const char *name)
{
    uint8_t *data = NULL;
    int len = 0, r;

    r = libxl_userdata_retrieve(xl, domid, name, &data, &len);
    free(data);
    return !r && len > 0;
}

/* libxl_defbool_val aborts on a value that was left to the default. */
static bool is_true(libxl_defbool b)
{
    return !libxl_defbool_is_default(b) && libxl_defbool_val(b);
}

static int load(xlx_ctx *ctx, libxl_ctx *xl, uint32_t domid,
                libxl_domain_config *config)
{
    uint8_t *data = NULL;
    int len = 0, rc;

    rc = libxl_userdata_retrieve(xl, domid, LIBXL_CONFIG, &data, &len);
    if (rc || !len) {
        rc = xlx__error(ERROR_FAIL, "domain %u: libxl keeps no configuration "
                        "of it: %s", domid, xlx__ctx_libxl_said(ctx, rc));
        goto out;
    }
    if (data[len - 1]) {
        rc = xlx__error(ERROR_FAIL, "domain %u: libxl's configuration of it "
                        "is cut short", domid);
        goto out;
    }
    rc = libxl_domain_config_from_json(xl, config, (const char *)data);
    if (rc)
        rc = xlx__error(ERROR_FAIL, "domain %u: libxl does not understand "
                        "its own configuration of it: %s", domid,
                        xlx__ctx_libxl_said(ctx, rc));

 out:
    free(data);
    return rc;
}

static int store(xlx_ctx *ctx, libxl_ctx *xl, uint32_t domid,
                 libxl_domain_config *config)
{
    char *text;
    int rc;

    text = libxl_domain_config_to_json(xl, config);
    if (!text)
        return xlx__error(ERROR_FAIL, "domain %u: its configuration cannot "
                          "be written as JSON", domid);
    rc = libxl_userdata_store(xl, domid, LIBXL_CONFIG,
                              (const uint8_t *)text, (int)strlen(text) + 1);
    free(text);
    if (rc)
        return xlx__error(ERROR_FAIL, "domain %u: cannot store its "
                          "configuration: %s", domid,
                          xlx__ctx_libxl_said(ctx, rc));
    return 0;
}

static libxl_device_disk *disk_named(libxl_domain_config *config,
                                     const char *vdev)
{
    int i;

    for (i = 0; i < config->num_disks; i++)
        if (config->disks[i].vdev && !strcmp(config->disks[i].vdev, vdev))
            return &config->disks[i];
    return NULL;
}

static int libxl_format(const struct xlx__config_image *disk,
                        libxl_disk_format *format_r)
{
    /* QEMU calls a VHD vpc */
    const char *name = !strcmp(disk->format, "vpc") ? "vhd" : disk->format;

    if (libxl_disk_format_from_string(name, format_r))
        return xlx__error(ERROR_INVAL, "%s: libxl has no disk format \"%s\"",
                          disk->vdev, disk->format);
    return 0;
}

/* ---- xenstore ----------------------------------------------------------- */

/* libxl writes the image as "FORMAT:PATH", raw as "aio". */
static char *params_of(const struct xlx__config_image *disk)
{
    const char *format = !strcmp(disk->format, "raw") ? "aio" : disk->format;

    return xlx__printf("%s:%s", format, disk->image);
}

static int set_params(xlx_ctx *ctx, xs_transaction_t t, const char *vbd,
                      const char *devid,
                      const struct xlx__config_image *disks, int num)
{
    char *path = NULL, *dev = NULL, *backend = NULL, *params = NULL;
    int i, rc;

    path = xlx__printf("%s/%s/dev", vbd, devid);
    rc = path ? xlx__xs_read(ctx, t, path, &dev)
              : xlx__nomem();
    if (rc) goto out;
    for (i = 0; i < num && strcmp(disks[i].vdev, dev); i++)
        ;
    if (i == num)
        goto out;
    params = params_of(&disks[i]);
    free(path);
    path = xlx__printf("%s/%s/backend", vbd, devid);
    if (!path || !params) {
        rc = xlx__nomem();
        goto out;
    }
    rc = xlx__xs_read(ctx, t, path, &backend);
    if (rc) goto out;
    free(path);
    path = xlx__printf("%s/%s/params", vbd, devid);
    rc = path ? xlx__xs_write(ctx, t, path, params)
              : xlx__nomem();
    if (rc) goto out;
    free(path);
    path = xlx__printf("%s/params", backend);
    rc = path ? xlx__xs_write(ctx, t, path, params)
              : xlx__nomem();

 out:
    free(path);
    free(dev);
    free(backend);
    free(params);
    return rc;
}

struct vbds {
    char *dir;
    const struct xlx__config_image *disks;
    int num;
};

static int set_all_params(xlx_ctx *ctx, xs_transaction_t t, void *user)
{
    const struct vbds *v = user;
    unsigned int i, num_devids;
    char **devids;
    int rc;

    rc = xlx__xs_list(ctx, t, v->dir, &devids, &num_devids);
    if (rc) return rc;
    for (i = 0; !rc && i < num_devids; i++)
        rc = set_params(ctx, t, v->dir, devids[i], v->disks, v->num);
    free(devids);
    return rc;
}

static int set_xenstore(xlx_ctx *ctx, uint32_t domid,
                        const struct xlx__config_image *disks, int num)
{
    struct vbds v = { NULL, disks, num };
    int rc;

    v.dir = xlx__printf("/libxl/%u/device/vbd", domid);
    if (!v.dir)
        return xlx__nomem();
    rc = xlx__xs_transact(ctx, set_all_params, &v);
    free(v.dir);
    return rc;
}

/* ---- what others ask for ------------------------------------------------ */

int xlx__config_lock(xlx_ctx *ctx, const xlx_guest *guest,
                     struct xlx__lock *lock)
{
    return xlx__lock_libxl(ctx, guest->domid, &guest->uuid, DEVICE_LOCK,
                           xlx__now_ms() + LOCK_MS, lock);
}

bool xlx__config_exists(libxl_ctx *xl, uint32_t domid)
{
    return has_userdata(xl, domid, LIBXL_CONFIG);
}

int xlx__config_check(xlx_ctx *ctx, const xlx_guest *guest)
{
    libxl_domain_config config;
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc) return rc;
    libxl_domain_config_init(&config);
    if (has_userdata(xl, guest->domid, "libvirt-xml")) {
        rc = xlx__error(ERROR_INVAL, "libvirt runs this guest and would "
                        "start it on the old image again: only internal "
                        "snapshots are possible");
        goto out;
    }
    if (has_userdata(xl, guest->domid, "xl")) {
        rc = xlx__error(ERROR_INVAL, "an xl config-update is waiting for the "
                        "guest's reboot and would bring the old image back: "
                        "reboot the guest first, or use --kind internal");
        goto out;
    }
    rc = load(ctx, xl, guest->domid, &config);
    if (rc) goto out;
    if (is_true(config.b_info.device_model_stubdomain)) {
        rc = xlx__error(ERROR_INVAL, "its QEMU runs in a stub domain and "
                        "cannot open new images");
        goto out;
    }
    if (is_true(config.b_info.dm_restrict))
        rc = xlx__error(ERROR_INVAL, "its QEMU is restricted (dm_restrict) "
                        "and cannot open new images: use --kind internal");

 out:
    libxl_domain_config_dispose(&config);
    return rc;
}

int xlx__config_restarts(xlx_ctx *ctx, const xlx_guest *guest, bool *yes_r)
{
    libxl_domain_config config;
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc) return rc;
    libxl_domain_config_init(&config);
    rc = load(ctx, xl, guest->domid, &config);
    if (rc) goto out;
    *yes_r = config.on_reboot == LIBXL_ACTION_ON_SHUTDOWN_RESTART;

 out:
    libxl_domain_config_dispose(&config);
    return rc;
}

static int change(xlx_ctx *ctx, libxl_ctx *xl, uint32_t domid,
                  const struct xlx__config_image *disks, int num)
{
    libxl_domain_config config;
    libxl_device_disk *disk;
    int i, rc;

    libxl_domain_config_init(&config);
    rc = load(ctx, xl, domid, &config);
    if (rc) goto out;
    for (i = 0; i < num; i++) {
        disk = disk_named(&config, disks[i].vdev);
        if (!disk)
            continue;
        rc = libxl_format(&disks[i], &disk->format);
        if (rc) goto out;
        rc = xlx__set_string(&disk->pdev_path, disks[i].image);
        if (rc) goto out;
    }
    rc = store(ctx, xl, domid, &config);

 out:
    libxl_domain_config_dispose(&config);
    return rc;
}

static int verify(xlx_ctx *ctx, libxl_ctx *xl, uint32_t domid,
                  const struct xlx__config_image *disks, int num)
{
    libxl_domain_config config;
    libxl_device_disk *disk;
    int i, rc;

    libxl_domain_config_init(&config);
    rc = load(ctx, xl, domid, &config);
    for (i = 0; !rc && i < num; i++) {
        disk = disk_named(&config, disks[i].vdev);
        if (disk && strcmp(xlx__text(disk->pdev_path), disks[i].image))
            rc = xlx__error(ERROR_FAIL, "domain %u: %s: libxl did not keep "
                            "the new image", domid, disks[i].vdev);
    }
    libxl_domain_config_dispose(&config);
    return rc;
}

int xlx__config_set_images(xlx_ctx *ctx, const xlx_guest *guest,
                           const struct xlx__config_image *disks, int num)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    uint32_t domid = guest->domid;
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc) return rc;
    rc = xlx__config_lock(ctx, guest, &lock);
    if (rc) return rc;
    /* none of the calls below takes this lock in libxl */
    rc = change(ctx, xl, domid, disks, num);
    if (rc) goto out;
    rc = set_xenstore(ctx, domid, disks, num);
    if (rc) goto out;
    rc = verify(ctx, xl, domid, disks, num);

 out:
    xlx__unlock(&lock);
    return rc;
}

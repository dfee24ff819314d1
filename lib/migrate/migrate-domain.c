/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All that is asked of libxl: the configuration, the memory, and the domain at
 * the end.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <libxl_utils.h>
#include <xenctrl.h>

#include "migrate/migrate.h"

static int retrieve(xlx_ctx *ctx, const xlx_guest *guest, libxl_ctx **xl_r,
                    libxl_domain_config *config)
{
    int rc;

    rc = xlx__ctx_libxl_working(ctx, xl_r);
    if (rc) return rc;
    rc = libxl_retrieve_domain_configuration(*xl_r, guest->domid, config,
                                             NULL);
    return rc ? xlx__error(rc, "domain %u: libxl does not give its "
                           "configuration: %s", guest->domid,
                           xlx__ctx_libxl_said(ctx, rc)) : 0;
}

int xlx__migrate_disks(xlx_ctx *ctx, const xlx_guest *guest,
                       libxl_device_disk **disks_r, int *num_r)
{
    libxl_domain_config config;
    libxl_ctx *xl;
    int rc;

    if (guest->domid == XLX_DOMID_NONE)
        return xlx__error(ERROR_NOT_READY, "the guest is shut down, or has "
                          "no domain: copy its images and its config");
    libxl_domain_config_init(&config);
    rc = retrieve(ctx, guest, &xl, &config);
    if (!rc) {
        *disks_r = config.disks;
        *num_r = config.num_disks;
        config.disks = NULL;
        config.num_disks = 0;
    }
    libxl_domain_config_dispose(&config);
    return rc;
}

static const xlx_disk_migration_disk *
recorded(const xlx_disk_migration *record, const char *vdev)
{
    int i;

    for (i = 0; i < record->num_disks; i++)
        if (!strcmp(record->disks[i].vdev, xlx__text(vdev)))
            return &record->disks[i];
    return NULL;
}

static int redirect(libxl_domain_config *config,
                    const xlx_disk_migration *record)
{
    const xlx_disk_migration_disk *to;
    int i, found = 0, rc;

    for (i = 0; i < config->num_disks; i++) {
        to = recorded(record, config->disks[i].vdev);
        if (!to)
            continue;
        rc = xlx__set_string(&config->disks[i].pdev_path, to->target);
        if (rc) return rc;
        config->disks[i].format = strcmp(to->format, "qcow2")
            ? LIBXL_DISK_FORMAT_RAW : LIBXL_DISK_FORMAT_QCOW2;
        found++;
    }
    return found == record->num_disks ? 0 : xlx__error(
        ERROR_FAIL, "libxl's configuration does not name all disks");
}

int xlx__migrate_config(xlx_ctx *ctx, const xlx_guest *guest,
                        const xlx_disk_migration *record, bool keep_domid,
                        char **config_r)
{
    libxl_domain_config config;
    libxl_ctx *xl;
    int rc;

    libxl_domain_config_init(&config);
    rc = retrieve(ctx, guest, &xl, &config);
    if (rc) goto out;
    config.c_info.domid = keep_domid ? guest->domid : 0;
    rc = redirect(&config, record);
    if (rc) goto out;
    *config_r = libxl_domain_config_to_json(xl, &config);
    if (!*config_r)
        rc = xlx__error(ERROR_FAIL, "domain %u: its configuration cannot be "
                        "written as JSON", guest->domid);

 out:
    libxl_domain_config_dispose(&config);
    return rc;
}

/* ---- suspend ------------------------------------------------------------ */

struct sending {
    const struct xlx__relay *relay;
    const xlx_progress *progress;   /* or NULL */
    bool cancelled;
};

/* libxl counts pages.  Without a relay its next write fails, and it has the
 * guest go on. */
static void on_pages(void *user, unsigned long done, unsigned long total)
{
    struct sending *s = user;
    char what[] = "memory";
    const xlx_job_progress now = {
        .what = what, .done = (uint64_t)done << XC_PAGE_SHIFT,
        .total = (uint64_t)total << XC_PAGE_SHIFT,
    };

    if (s->cancelled || !s->progress || !s->progress->callback ||
        !s->progress->callback(s->progress->user, &now))
        return;
    s->cancelled = true;
    shutdown(s->relay->control, SHUT_RDWR);
}

/* A write of libxl's to a relay that has ended is an error, and not a
 * signal. */
int xlx__migrate_suspend(xlx_ctx *ctx, const xlx_guest *guest,
                         const struct xlx__relay *relay,
                         const xlx_progress *progress)
{
    struct sending s = { .relay = relay, .progress = progress };
    const struct timespec none = { 0, 0 };
    sigset_t broken, before;
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl_working(ctx, &xl);
    if (rc) return rc;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken, &before);
    xlx__ctx_on_pages(ctx, on_pages, &s);
    rc = libxl_domain_suspend(xl, guest->domid, relay->fd,
                              LIBXL_SUSPEND_LIVE, NULL);
    xlx__ctx_on_pages(ctx, NULL, NULL);
    while (sigtimedwait(&broken, NULL, &none) > 0)
        ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc && s.cancelled)
        return xlx__error(ERROR_ABORTED, "cancelled");
    return rc ? xlx__error(rc, "domain %u: libxl could not send its memory: "
                           "%s", guest->domid, xlx__ctx_libxl_said(ctx, rc))
              : 0;
}

/* ---- the end of it ------------------------------------------------------ */

int xlx__migrate_resume(xlx_ctx *ctx, const xlx_guest *guest)
{
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl_working(ctx, &xl);
    if (rc) return rc;
    rc = libxl_domain_resume(xl, guest->domid, 1, NULL);
    return rc ? xlx__error(rc, "domain %u cannot be resumed: %s",
                           guest->domid, xlx__ctx_libxl_said(ctx, rc)) : 0;
}

int xlx__migrate_destroy(xlx_ctx *ctx, const xlx_guest *guest)
{
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl_working(ctx, &xl);
    if (rc) return rc;
    rc = libxl_domain_destroy(xl, guest->domid, NULL);
    return rc ? xlx__error(rc, "domain %u cannot be destroyed: %s",
                           guest->domid, xlx__ctx_libxl_said(ctx, rc)) : 0;
}

int xlx__migrate_rename(xlx_ctx *ctx, const xlx_guest *guest, bool away)
{
    const char *name = xlx__text(guest->name);
    char *other = NULL, *now = NULL;
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc) return rc;
    other = xlx__printf("%s--migratedaway", name);
    if (!other)
        return xlx__nomem();
    now = libxl_domid_to_name(xl, guest->domid);
    if (now && !strcmp(now, away ? other : name))
        rc = 0;                     /* a killed command has done it */
    else
        rc = libxl_domain_rename(xl, guest->domid, away ? name : other,
                                 away ? other : name);
    if (rc)
        rc = xlx__error(rc, "domain %u cannot be renamed: %s", guest->domid,
                        xlx__ctx_libxl_said(ctx, rc));
    free(now);
    free(other);
    return rc;
}

bool xlx__migrate_is_hvm(xlx_ctx *ctx, const xlx_guest *guest)
{
    libxl_dominfo info;
    libxl_ctx *xl;
    bool hvm;

    if (xlx__ctx_libxl(ctx, &xl))
        return false;
    libxl_dominfo_init(&info);
    hvm = !libxl_domain_info(xl, &info, guest->domid) &&
          info.domain_type == LIBXL_DOMAIN_TYPE_HVM;
    libxl_dominfo_dispose(&info);
    return hvm;
}

int xlx__migrate_look(xlx_ctx *ctx, const xlx_guest *guest,
                      enum xlx__migrate_state *state_r)
{
    libxl_dominfo info;
    libxl_ctx *xl;
    int rc;

    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc) return rc;
    libxl_dominfo_init(&info);
    rc = libxl_domain_info(xl, &info, guest->domid);
    *state_r = XLX__MIGRATE_RUNS;
    if (rc == ERROR_DOMAIN_NOTFOUND) {
        *state_r = XLX__MIGRATE_GONE;
        rc = 0;
    } else if (rc) {
        rc = xlx__error(rc, "domain %u: Xen does not say how it is: %s",
                        guest->domid, xlx__ctx_libxl_said(ctx, rc));
    } else if (info.dying ||
               libxl_uuid_compare(&info.uuid, &guest->uuid)) {
        *state_r = XLX__MIGRATE_GONE;
    } else if (info.shutdown &&
               info.shutdown_reason == LIBXL_SHUTDOWN_REASON_SUSPEND) {
        *state_r = XLX__MIGRATE_SUSPENDED;
    }
    libxl_dominfo_dispose(&info);
    return rc;
}

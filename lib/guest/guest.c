/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which guest is meant: a domain, a guest that is shut down, or a plain QEMU.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxl_utils.h>

#include "core/number.h"
#include "core/store.h"
#include "core/xs.h"
#include "core/file-id.h"
#include "gen-calls.h"
#include "gen-records.h"
#include "guest/guest.h"
#include "guest/qmp.h"

bool xlx__guest_running(const xlx_guest *guest)
{
    return guest->domid != XLX_DOMID_NONE ||
           (guest->qmp_socket && *guest->qmp_socket);
}

const char *xlx__guest_title(const xlx_guest *guest, char *buf, size_t size)
{
    if (guest->name && *guest->name)
        snprintf(buf, size, "%s", guest->name);
    else
        snprintf(buf, size, LIBXL_UUID_FMT, LIBXL_UUID_BYTES(guest->uuid));
    return buf;
}

/* ---- guests of which there are records ---------------------------------- */

static int known_guest(xlx_ctx *ctx, const libxl_uuid *uuid, xlx_guest *guest)
{
    xlx_guest_record record;
    bool found;
    int rc;

    xlx_guest_record_init(&record);
    rc = xlx__guest_record_load(ctx, uuid, &record, &found);
    if (!rc && !found)
        rc = xlx__error(ERROR_NOTFOUND, "no records are kept of the guest");
    if (!rc)
        rc = xlx_guest_copy(ctx, guest, &record.guest);
    xlx_guest_record_dispose(&record);
    if (rc) return rc;
    /* the name of the directory counts, also after a move */
    libxl_uuid_copy(NULL, &guest->uuid, uuid);
    guest->domid = XLX_DOMID_NONE;
    return 0;
}

/* Its disks are read once for each domain that runs it. */
static bool is_recorded(const xlx_guest *r, const xlx_guest *guest)
{
    return !strcmp(xlx__text(r->name), xlx__text(guest->name)) &&
           !strcmp(xlx__text(r->qmp_socket), xlx__text(guest->qmp_socket)) &&
           (guest->domid == XLX_DOMID_NONE || r->domid == guest->domid);
}

int xlx__guest_remember(xlx_ctx *ctx, const xlx_guest *guest)
{
    xlx_guest_record record;
    bool found;
    int rc;

    xlx_guest_record_init(&record);
    rc = xlx__guest_record_load(ctx, &guest->uuid, &record, &found);
    if (!rc && found && is_recorded(&record.guest, guest))
        goto out;
    rc = xlx_guest_copy(ctx, &record.guest, guest);
    if (!rc && guest->domid != XLX_DOMID_NONE)
        rc = xlx__guest_record_disks(ctx, guest->domid, &record);
    if (!rc)
        rc = xlx__guest_record_save(ctx, guest, &record);

 out:
    xlx_guest_record_dispose(&record);
    return rc;
}

int xlx__guest_forget(xlx_ctx *ctx, const xlx_guest *guest)
{
    const char *file = xlx__record_kinds[XLX__RECORD_GUEST_RECORD].file;

    if (xlx__store_keeps_other(ctx, &guest->uuid, file))
        return 0;
    return xlx__store_remove(ctx, &guest->uuid, file);
}

static int by_name(const void *a, const void *b)
{
    const xlx_guest *x = a, *y = b;

    return strcmp(xlx__text(x->name), xlx__text(y->name));
}

int xlx__guest_records(xlx_ctx *ctx, xlx_guests *list)
{
    libxl_uuid *uuids = NULL;
    int i, num, rc;

    rc = xlx__store_guests(ctx, &uuids, &num);
    if (rc) return rc;
    list->guests = calloc(num + 1, sizeof(*list->guests));
    if (!list->guests) {
        rc = xlx__nomem();
        goto out;
    }
    for (i = 0; i < num; i++) {
        xlx_guest *guest = &list->guests[list->num_guests];

        xlx_guest_init(guest);
        rc = known_guest(ctx, &uuids[i], guest);
        if (rc == ERROR_NOTFOUND) {
            xlx_guest_dispose(guest);
            continue;
        }
        list->num_guests++;
        if (rc) goto out;
    }
    qsort(list->guests, list->num_guests, sizeof(*list->guests), by_name);
    rc = 0;

 out:
    free(uuids);
    return rc;
}

int xlx__guest_list(xlx_ctx *ctx, xlx_guests *list)
{
    int i, rc;

    rc = xlx__guest_records(ctx, list);
    if (rc) return rc;
    /* whether that QEMU still runs is for xlx_guest_find to ask */
    for (i = 0; i < list->num_guests; i++) {
        free(list->guests[i].qmp_socket);
        list->guests[i].qmp_socket = NULL;
    }
    return 0;
}

/* Only where there is no Xen at all is "Xen does not answer" the same as "no
 * domain runs it". */
static bool on_xen(void)
{
    char type[8] = "";
    FILE *f = fopen("/sys/hypervisor/type", "re");

    if (f) {
        if (!fgets(type, sizeof(type), f))
            type[0] = 0;
        fclose(f);
    }
    return !strncmp(type, "xen", 3);
}

/* ---- running domains ---------------------------------------------------- */

static int from_domid(xlx_ctx *ctx, libxl_ctx *xl, uint32_t domid,
                      xlx_guest *guest)
{
    libxl_dominfo info;
    char *name;
    int rc;

    libxl_dominfo_init(&info);
    rc = libxl_domain_info(xl, &info, domid);
    if (rc) {
        rc = xlx__error(ERROR_DOMAIN_NOTFOUND, "%u: no such domain", domid);
        goto out;
    }
    libxl_uuid_copy(xl, &guest->uuid, &info.uuid);
    guest->domid = domid;
    name = libxl_domid_to_name(xl, domid);
    rc = xlx__set_string(&guest->name, name ? name : "");
    free(name);

 out:
    libxl_dominfo_dispose(&info);
    (void)ctx;
    return rc;
}

/* ERROR_NOTFOUND, without a message, when no domain has that UUID. */
static int from_uuid(xlx_ctx *ctx, libxl_ctx *xl, const libxl_uuid *uuid,
                     xlx_guest *guest)
{
    libxl_dominfo *list;
    int i, num, rc = ERROR_NOTFOUND;

    list = libxl_list_domain(xl, &num);
    if (!list)
        return xlx__error(ERROR_FAIL, "Xen does not list its domains");
    /* what is dying runs nothing any more, and has the UUID of the domain
     * that takes its place after a reboot */
    for (i = 0; rc == ERROR_NOTFOUND && i < num; i++)
        if (!list[i].dying && !libxl_uuid_compare(&list[i].uuid, uuid)) {
            rc = from_domid(ctx, xl, list[i].domid, guest);
            if (rc == ERROR_DOMAIN_NOTFOUND) {
                xlx__error_clear();     /* it has just gone */
                rc = ERROR_NOTFOUND;
            }
        }
    libxl_dominfo_list_free(list, num);
    return rc;
}

int xlx__guest_domain(xlx_ctx *ctx, const char *name, const libxl_uuid *uuid,
                      xlx_guest *guest)
{
    libxl_ctx *xl;
    uint32_t domid;
    int rc;

    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc) return rc;
    if (uuid)
        return from_uuid(ctx, xl, uuid, guest);
    if (libxl_name_to_domid(xl, name, &domid))
        return ERROR_NOTFOUND;
    return from_domid(ctx, xl, domid, guest);
}

int xlx__guest_refresh(xlx_ctx *ctx, xlx_guest *guest)
{
    uint32_t was = guest->domid;
    libxl_uuid uuid;
    int rc;

    if (*xlx__text(guest->qmp_socket))
        return 0;
    libxl_uuid_copy(NULL, &uuid, &guest->uuid);
    guest->domid = XLX_DOMID_NONE;
    rc = xlx__guest_domain(ctx, NULL, &uuid, guest);
    if (rc == ERROR_NOTFOUND)
        return 0;
    if (rc && was == XLX_DOMID_NONE && !on_xen()) {
        xlx__error_clear();
        return 0;
    }
    return rc;
}

struct waiting {
    xlx_ctx *ctx;
    const xlx_guest *guest;
    xlx_guest now;
};

static int has_changed(void *user)
{
    struct waiting *w = user;
    int rc;

    w->now.domid = XLX_DOMID_NONE;
    rc = xlx__guest_domain(w->ctx, NULL, &w->guest->uuid, &w->now);
    if (rc && rc != ERROR_NOTFOUND)
        return rc;
    return w->now.domid != w->guest->domid;
}

int xlx__guest_wait(xlx_ctx *ctx, xlx_guest *guest, int64_t deadline)
{
    struct waiting w = { .ctx = ctx, .guest = guest };
    int rc;

    xlx_guest_init(&w.now);
    rc = xlx__xs_wait(ctx, guest->domid == XLX_DOMID_NONE ? "@introduceDomain"
                                                          : "@releaseDomain",
                      deadline, has_changed, &w);
    if (rc) goto out;
    guest->domid = w.now.domid;

 out:
    xlx_guest_dispose(&w.now);
    return rc;
}

/* ---- a config file ------------------------------------------------------ */

/* Is the running domain the guest of this config?  It is when it has one of
 * the disks, or when the records under its UUID name one: after a snapshot the
 * domain is on an overlay, and the config names what is below. */
static int runs_config(xlx_ctx *ctx, const xlx_guest *domain,
                       const libxl_device_disk *disks, int num, bool *yes_r)
{
    libxl_device_disk *now;
    libxl_ctx *xl;
    int i, j, num_now = 0, rc;
    bool any;

    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc) return rc;
    now = libxl_device_disk_list(xl, domain->domid, &num_now);
    *yes_r = !num || !num_now;      /* no disk tells them apart */
    for (i = 0; i < num; i++)
        for (j = 0; j < num_now; j++)
            if (xlx__file_same(disks[i].pdev_path, now[j].pdev_path))
                *yes_r = true;
    libxl_device_disk_list_free(now, num_now);
    return *yes_r ? 0 : xlx__guest_records_name(ctx, &domain->uuid, disks,
                                                num, &any, yes_r);
}

/* The running domain of that name, when it is this guest: ERROR_NOTFOUND when
 * none is. */
static int running_of_config(xlx_ctx *ctx, const char *path,
                             const libxl_device_disk *disks, int num,
                             bool has_uuid, xlx_guest *guest)
{
    xlx_guest domain;
    bool same;
    int rc;

    xlx_guest_init(&domain);
    rc = xlx__guest_domain(ctx, guest->name, NULL, &domain);
    if (rc) goto out;
    same = has_uuid && !libxl_uuid_compare(&domain.uuid, &guest->uuid);
    if (!same)
        rc = runs_config(ctx, &domain, disks, num, &same);
    if (rc) goto out;
    if (!same && has_uuid)
        rc = ERROR_NOTFOUND;
    else if (!same)
        rc = xlx__error(ERROR_INVAL, "%s: domain %u has the name \"%s\", but "
                        "none of the disks of this config: it is another "
                        "guest; put a uuid= into the config", path,
                        domain.domid, guest->name);
    else
        rc = xlx_guest_copy(ctx, guest, &domain);

 out:
    xlx_guest_dispose(&domain);
    return rc;
}

static int find_config(xlx_ctx *ctx, const char *path,
                       const libxl_device_disk *disks, int num, bool has_uuid,
                       xlx_guest *guest)
{
    int rc;

    rc = running_of_config(ctx, path, disks, num, has_uuid, guest);
    if (!rc)
        return xlx__guest_adopt(ctx, guest);
    if (rc == ERROR_INVAL || (rc != ERROR_NOTFOUND && on_xen()))
        return rc;
    xlx__error_clear();
    if (!has_uuid) {
        rc = xlx__guest_by_disks(ctx, disks, num, guest);
        if (rc) return rc;
    }
    guest->domid = XLX_DOMID_NONE;
    return xlx__set_string(&guest->config_file, path);
}

static int from_config(xlx_ctx *ctx, const char *who, const char *path,
                       xlx_guest *guest)
{
    libxl_device_disk *disks;
    char text[40];
    bool has_uuid;
    int num, rc;

    rc = xlx__guest_config_identity(ctx, path, &guest->name, &guest->uuid,
                                    &has_uuid);
    if (rc) return rc;
    snprintf(text, sizeof(text), LIBXL_UUID_FMT,
             LIBXL_UUID_BYTES(guest->uuid));
    if (strcmp(who, guest->name) && !(has_uuid && !strcasecmp(who, text)))
        return xlx__error(ERROR_INVAL, "%s: it is the config of \"%s\", not "
                          "of \"%s\"", path, guest->name, who);
    rc = xlx__guest_config_disks(ctx, path, &disks, &num);
    if (rc) return rc;
    rc = find_config(ctx, path, disks, num, has_uuid, guest);
    libxl_device_disk_list_free(disks, num);
    return rc;
}

/* ---- a QEMU without Xen ------------------------------------------------- */

static int from_qemu(xlx_ctx *ctx, const char *path, xlx_guest *guest)
{
    const struct xlx__json *result;
    struct xlx__qmp *qmp = NULL;
    const char *text;
    int rc;

    rc = xlx__qmp_open_socket(ctx, path, &qmp);
    if (rc) goto out;
    rc = xlx__qmp_call(qmp, "query-uuid", NULL, &result);
    if (rc) goto out;
    rc = xlx__json_member_string(result, "UUID", &text);
    if (rc) goto out;
    if (libxl_uuid_from_string(&guest->uuid, text) ||
        libxl_uuid_is_nil(&guest->uuid)) {
        rc = xlx__error(ERROR_INVAL, "%s: this QEMU has no UUID: start it "
                        "with -uuid, so that its records can be found again",
                        path);
        goto out;
    }
    rc = xlx__qmp_call(qmp, "query-name", NULL, &result);
    if (rc) goto out;
    if (xlx__json_member(result, "name")) {
        rc = xlx__json_member_string(result, "name", &text);
        if (rc) goto out;
        rc = xlx__set_string(&guest->name, text);
        if (rc) goto out;
    }
    rc = xlx__set_string(&guest->qmp_socket, path);

 out:
    xlx__qmp_close(qmp);
    return rc;
}

/* The QEMU that the record names may have ended since, and another may sit at
 * its socket.  One that is there and does not answer is not gone. */
static int check_socket(xlx_ctx *ctx, xlx_guest *guest)
{
    xlx_guest live;
    bool gone;
    int rc;

    if (!*xlx__text(guest->qmp_socket))
        return 0;
    xlx_guest_init(&live);
    rc = from_qemu(ctx, guest->qmp_socket, &live);
    gone = rc == ERROR_NOTFOUND ||
           (!rc && libxl_uuid_compare(&live.uuid, &guest->uuid));
    xlx_guest_dispose(&live);
    if (rc && rc != ERROR_NOTFOUND)
        return rc;
    xlx__error_clear();
    return gone ? xlx__set_string(&guest->qmp_socket, NULL) : 0;
}

/* A guest of which there are records; its plain QEMU may still be there. */
static int from_records(xlx_ctx *ctx, const char *who,
                        const libxl_uuid *uuid, xlx_guest *guest)
{
    xlx_guest *g, *found = NULL;
    xlx_guests known;
    int i, rc;

    xlx_guests_init(&known);
    rc = xlx__guest_records(ctx, &known);
    if (rc) goto out;
    for (i = 0; i < known.num_guests; i++) {
        g = &known.guests[i];
        if (uuid ? libxl_uuid_compare(&g->uuid, uuid)
                 : !g->name || strcmp(g->name, who))
            continue;
        if (found) {
            rc = xlx__error(ERROR_INVAL, "%s: there are records of two guests "
                            "of that name: say the UUID, " LIBXL_UUID_FMT
                            " or " LIBXL_UUID_FMT, who,
                            LIBXL_UUID_BYTES(found->uuid),
                            LIBXL_UUID_BYTES(g->uuid));
            goto out;
        }
        found = g;
    }
    rc = ERROR_NOTFOUND;
    if (!found) goto out;
    rc = check_socket(ctx, found);
    if (rc) goto out;
    xlx_guest_dispose(guest);
    rc = xlx_guest_copy(ctx, guest, found);

 out:
    xlx_guests_dispose(&known);
    return rc;
}

int xlx__guest_hold(xlx_ctx *ctx, const xlx_guest *guest, int64_t *fd_r)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    xlx_guest self;
    int rc;

    xlx_guest_init(&self);
    rc = xlx__record_lock(ctx, guest, &lock, &self);
    if (!rc) {
        *fd_r = lock.fd;
        lock.fd = -1;
    }
    xlx__unlock(&lock);
    xlx_guest_dispose(&self);
    return rc;
}

/* ---- the public call ---------------------------------------------------- */

static bool all_digits(const char *s)
{
    for (; *s; s++)
        if (!isdigit((unsigned char)*s))
            return false;
    return true;
}

static int by_domid(xlx_ctx *ctx, const char *who, xlx_guest *guest)
{
    uint32_t domid;
    libxl_ctx *xl;
    int rc;

    /* DOMID_FIRST_RESERVED of public/xen.h is 0x7ff0 */
    if (!xlx__parse_u32(who, 0x7fef, &domid))
        return xlx__error(ERROR_DOMAIN_NOTFOUND, "%s: no such domain", who);
    rc = xlx__ctx_libxl(ctx, &xl);
    if (rc) return rc;
    rc = from_domid(ctx, xl, domid, guest);
    if (rc) return rc;
    return xlx__guest_adopt(ctx, guest);
}

int xlx__guest_find(xlx_ctx *ctx, const char *who, const char *config_file,
                    xlx_guest *guest)
{
    libxl_uuid uuid;
    const libxl_uuid *id;
    int rc, no_xen;

    if (!*who)
        return xlx__error(ERROR_INVAL, "the name of the guest is empty");
    if (!strncmp(who, "qmp:", 4))
        return from_qemu(ctx, who + 4, guest);
    if (config_file && *config_file)
        return from_config(ctx, who, config_file, guest);
    if (all_digits(who))
        return by_domid(ctx, who, guest);

    id = libxl_uuid_from_string(&uuid, who) ? NULL : &uuid;
    no_xen = xlx__guest_domain(ctx, who, id, guest);
    if (!no_xen)
        return xlx__guest_adopt(ctx, guest);
    if (no_xen != ERROR_NOTFOUND && on_xen())
        return no_xen;
    rc = from_records(ctx, who, id, guest);
    if (rc != ERROR_NOTFOUND)
        return rc;
    if (no_xen != ERROR_NOTFOUND)
        return xlx__error(ERROR_DOMAIN_NOTFOUND, "%s: no records of such a "
                          "guest, and no Xen on this host", who);
    return xlx__error(ERROR_DOMAIN_NOTFOUND, "%s: no such guest is running "
                      "(a guest that is shut down needs --config FILE)", who);
}

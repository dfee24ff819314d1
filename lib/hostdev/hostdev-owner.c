/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which guest has a device: its record says so, whether it runs or not.  A
 * record that cannot be read keeps back the devices that its text names, and
 * no others.
 */
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/store.h"
#include "gen-calls.h"
#include "gen-records.h"
#include "guest/guest.h"
#include "hostdev/hostdev.h"

#define MAX_TEXT (1 << 20)          /* of a record that cannot be read */

/* ---- a record that cannot be read --------------------------------------- */

/* NULL when the file is not all there: its end may be the part that says. */
static char *read_whole(const char *path)
{
    char *text = malloc(MAX_TEXT + 1);
    ssize_t len = -1;
    int fd;

    fd = text ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        len = read(fd, text, MAX_TEXT);
        close(fd);
    }
    if (len < 0 || len == MAX_TEXT || memchr(text, '\0', (size_t)len))
        len = 0;
    while (len && isspace((unsigned char)text[len - 1]))
        len--;
    if (!len || text[len - 1] != '}') {
        free(text);
        return NULL;
    }
    text[len] = '\0';
    return text;
}

/* rc, with its message, is why it cannot be read; ERROR_NOTFOUND when it does
 * not name the device. */
static int judge_unreadable(xlx_ctx *ctx, const libxl_uuid *uuid,
                            const struct xlx__hostdev_search *how, int rc)
{
    struct xlx__error_text why;
    char *path, *text;

    xlx__error_save(&why);
    path = xlx__printf("%s/" LIBXL_UUID_FMT "/%s", ctx->state_dir,
                       LIBXL_UUID_BYTES(*uuid), how->file);
    if (!path)
        return xlx__nomem();
    text = read_whole(path);
    if (text && !how->names_device(text, how->user)) {
        xlx__error_clear();
        rc = ERROR_NOTFOUND;
    } else {
        xlx__error(rc, "%s; the device may be that guest's: correct %s, or "
                   "move it away when the guest has no such device", why.line,
                   path);
    }
    free(text);
    free(path);
    return rc;
}

/* ---- all records -------------------------------------------------------- */

/* Its name, or its UUID when guest.json cannot be read. */
static int name_guest(xlx_ctx *ctx, const libxl_uuid *uuid, xlx_guest *guest)
{
    char text[LIBXL_UUID_FMTLEN + 1];
    xlx_guest_record record;
    bool found = false;
    int rc;

    xlx_guest_record_init(&record);
    rc = xlx__guest_record_load(ctx, uuid, &record, &found);
    snprintf(text, sizeof(text), LIBXL_UUID_FMT, LIBXL_UUID_BYTES(*uuid));
    if (rc)
        xlx__error_clear();
    if (rc != ERROR_NOMEM)
        rc = xlx__set_string(&guest->name, !rc && found &&
                             *xlx__text(record.guest.name)
                             ? record.guest.name : text);
    libxl_uuid_copy(NULL, &guest->uuid, uuid);
    guest->domid = XLX_DOMID_NONE;
    xlx_guest_record_dispose(&record);
    return rc;
}

static int search_one(xlx_ctx *ctx, const libxl_uuid *uuid,
                      const struct xlx__hostdev_search *how)
{
    xlx_guest guest;
    int rc;

    xlx_guest_init(&guest);
    rc = name_guest(ctx, uuid, &guest);
    if (rc) goto out;
    rc = how->search(ctx, &guest, how->user);
    if (rc && rc != ERROR_NOTFOUND && rc != ERROR_NOMEM)
        rc = judge_unreadable(ctx, uuid, how, rc);

 out:
    xlx_guest_dispose(&guest);
    return rc;
}

int xlx__hostdev_search(xlx_ctx *ctx, const libxl_uuid *except,
                        const struct xlx__hostdev_search *how)
{
    libxl_uuid *uuids = NULL;
    int i, num, rc;

    rc = xlx__store_guests(ctx, &uuids, &num);
    if (rc) return rc;
    rc = ERROR_NOTFOUND;
    for (i = 0; rc == ERROR_NOTFOUND && i < num; i++)
        if (!except || libxl_uuid_compare(&uuids[i], except))
            rc = search_one(ctx, &uuids[i], how);
    free(uuids);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains, and the files that the relay keeps of them: below libxlx's
 * directories, in one named libvirt, by UUID.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define MAX_FILE (16 << 20)
#define ASK_AGAIN_MS 50
#define ASK_AGAIN_TRIES 200

static void uuid_text(const uint8_t uuid[16], char text[37])
{
    int i, at = 0;

    for (i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[at++] = '-';
        at += sprintf(text + at, "%02x", uuid[i]);
    }
}

/* ---- files -------------------------------------------------------------- */

static int make_directories(char *path)
{
    char *slash;

    for (slash = strchr(path + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0700) && errno != EEXIST) {
            *slash = '/';
            return -1;
        }
        *slash = '/';
    }
    return 0;
}

char *lv_path(struct lv_worker *w, enum lv_place place, const uint8_t uuid[16],
              const char *name)
{
    const char *top = secure_getenv(place == LV_STATE ? "LIBXLX_STATE_DIR"
                                                      : "LIBXLX_RUN_DIR");
    char *path, text[37];

    if (!top)
        top = place == LV_STATE ? XLX_STATE_DIR : XLX_RUN_DIR;
    uuid_text(uuid, text);
    if (asprintf(&path, "%s/libvirt/%s/%s", top, text, name) < 0) {
        lv_no_memory(w);
        return NULL;
    }
    if (make_directories(path)) {
        lv_fail(w, LV_SYSTEM_ERROR, LV_FROM_LIBXL, "%s: its directory cannot "
                "be made: %s", path, strerror(errno));
        free(path);
        return NULL;
    }
    return path;
}

int lv_write_file(struct lv_worker *w, const char *path, const char *text)
{
    size_t len = strlen(text);
    char *temporary;
    int fd, r;

    if (asprintf(&temporary, "%s.%ld", path, (long)getpid()) < 0)
        return lv_no_memory(w);
    unlink(temporary);
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    r = fd < 0 || write(fd, text, len) != (ssize_t)len || fsync(fd) ? -1 : 0;
    if (fd >= 0)
        close(fd);
    if (!r)
        r = rename(temporary, path);
    if (r) {
        lv_fail(w, LV_SYSTEM_ERROR, LV_FROM_LIBXL, "%s: cannot be written: %s",
                path, strerror(errno));
        unlink(temporary);
    }
    free(temporary);
    return r;
}

char *lv_read_file(const char *path)
{
    struct stat st;
    char *text = NULL;
    ssize_t len = -1;
    int fd;

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) &&
        st.st_size <= MAX_FILE)
        text = malloc((size_t)st.st_size + 1);
    if (text)
        len = read(fd, text, (size_t)st.st_size);
    if (fd >= 0)
        close(fd);
    if (text && len == st.st_size) {
        text[len] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

/* ---- guests ------------------------------------------------------------- */

/* QEMU's monitor has room for one client and one that waits.  Clients of
 * libvirt ask often, and many at a time: they get their answer a little
 * later. */
bool lv_ask_again(int rc, unsigned int *tries)
{
    const struct timespec pause = { 0, ASK_AGAIN_MS * 1000000L };

    if (rc != ERROR_NOT_READY || ++*tries > ASK_AGAIN_TRIES)
        return false;
    nanosleep(&pause, NULL);
    return true;
}

int lv_copy_domain(struct lv_worker *w, const struct lv_domain *from,
                   struct lv_domain *to)
{
    memcpy(to->uuid, from->uuid, sizeof(to->uuid));
    to->id = from->id;
    to->name = strdup(from->name);
    return to->name ? 0 : lv_no_memory(w);
}

bool lv_guest_runs(const struct lv_guest *g)
{
    return g->guest.domid != XLX_DOMID_NONE ||
           (g->guest.qmp_socket && *g->guest.qmp_socket);
}

void lv_guest_free(struct lv_guest *g)
{
    free(g->dom.name);
    g->dom.name = NULL;
    xlx_guest_dispose(&g->guest);
}

/* xl.cfg(5) of a guest that is shut down, from libvirtd, which has its
 * definition; *path_r is the file. */
static int write_config(struct lv_worker *w, const struct lv_guest *g,
                        char **path_r)
{
    struct lv_domain_get_xml_desc_args asked = { g->dom, LV_XML_INACTIVE };
    struct lv_domain_get_xml_desc_ret xml;
    struct lv_connect_domain_xml_to_native_args args = { 0 };
    struct lv_connect_domain_xml_to_native_ret native;
    char *path = NULL;
    int r = -1;

    if (lv_back_call(w, LV_DOMAIN_GET_XML_DESC, &asked, &xml))
        return -1;
    args.format = (char *)(uintptr_t)"xen-xl";
    args.xml = xml.xml;
    if (lv_back_call(w, LV_CONNECT_DOMAIN_XML_TO_NATIVE, &args, &native))
        goto out;
    path = lv_path(w, LV_RUN, g->dom.uuid, "guest.cfg");
    r = path ? lv_write_file(w, path, native.config) : -1;
    lv_free(&lv_connect_domain_xml_to_native_ret_type, &native);

 out:
    lv_free(&lv_domain_get_xml_desc_ret_type, &xml);
    if (r)
        free(path);
    else
        *path_r = path;
    return r;
}

static int find_shut_down(struct lv_worker *w, const char *who,
                          struct lv_guest *g)
{
    char *path;
    int rc;

    if (write_config(w, g, &path))
        return -1;
    xlx_guest_dispose(&g->guest);
    xlx_guest_init(&g->guest);
    rc = xlx_guest_find(w->ctx, who, path, &g->guest);
    free(path);
    if (rc)
        return lv_fail_xlx(w, LV_FROM_LIBXL, rc);
    g->known = true;
    return 0;
}

static int look_up(struct lv_worker *w, const struct lv_domain *dom,
                   struct lv_guest *g)
{
    struct lv_domain_lookup_by_uuid_args args;
    struct lv_domain_lookup_by_uuid_ret ret;

    memcpy(args.uuid, dom->uuid, sizeof(args.uuid));
    if (lv_back_call(w, LV_DOMAIN_LOOKUP_BY_UUID, &args, &ret))
        return -1;
    g->dom = ret.dom;
    return 0;
}

/* A guest of which libxlx knows nothing has the domain's name and UUID. */
static int adopt(struct lv_worker *w, struct lv_guest *g)
{
    memcpy(&g->guest.uuid, g->dom.uuid, sizeof(g->dom.uuid));
    free(g->guest.name);
    g->guest.name = strdup(g->dom.name);
    return g->guest.name ? 0 : lv_no_memory(w);
}

static int find(struct lv_worker *w, bool change, struct lv_guest *g)
{
    static const uint8_t host[16];
    unsigned int tries = 0;
    char who[37];
    int rc;

    if (change && !memcmp(g->dom.uuid, host, sizeof(host)))
        return lv_fail(w, LV_OPERATION_INVALID, LV_FROM_LIBXL, "%s is the "
                       "host itself, and has no disks to work on",
                       g->dom.name);
    if (lv_ctx(w))
        return -1;
    uuid_text(g->dom.uuid, who);
    do {
        rc = xlx_guest_find(w->ctx, who, NULL, &g->guest);
    } while (lv_ask_again(rc, &tries));
    g->known = !rc;
    if (rc && rc != ERROR_DOMAIN_NOTFOUND)
        return lv_fail_xlx(w, LV_FROM_LIBXL, rc);
    if (change && !lv_guest_runs(g))
        return find_shut_down(w, who, g);
    return g->known ? 0 : adopt(w, g);
}

int lv_find_guest(struct lv_worker *w, const struct lv_domain *dom,
                  bool change, struct lv_guest *g)
{
    int r;

    *g = (struct lv_guest){ 0 };
    xlx_guest_init(&g->guest);
    r = look_up(w, dom, g);
    if (!r)
        r = find(w, change, g);
    if (r)
        lv_guest_free(g);
    return r;
}

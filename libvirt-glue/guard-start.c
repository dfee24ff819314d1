/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest must not be started on an image that is the frozen layer of a
 * snapshot, or that somebody else writes to: what is based on it would be
 * destroyed.  libvirtd does not ask.  It gets the call when nothing is in the
 * way.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest.h"
#include "xml.h"

#define LEGACY "xen:///system?mode=legacy goes past this check"
/* The QEMU of a guest that has just been destroyed may still be there. */
#define OPEN_TRIES 30
#define OPEN_MS 100

/* ---- the disks of a definition ------------------------------------------ */

static int add_disk(struct lv_worker *w, const xmlNode *n, xlx_disks *disks)
{
    xlx_disk *d = &disks->disks[disks->num_disks++];
    const xmlNode *source = lv_xml_child(n, "source");
    char *device = lv_xml_attribute(n, "device");

    xlx_disk_init(d);
    d->vdev = lv_xml_attribute(lv_xml_child(n, "target"), "dev");
    d->path = lv_xml_attribute(source, "file");
    if (!d->path)
        d->path = lv_xml_attribute(source, "dev");
    if (!d->path)
        d->path = strdup("");           /* none, or on another host */
    d->readonly = lv_xml_child(n, "readonly") != NULL;
    d->cdrom = device && !strcmp(device, "cdrom");
    free(device);
    return d->path ? 0 : lv_no_memory(w);
}

static int read_disks(struct lv_worker *w, const char *xml, xlx_disks *disks)
{
    const xmlNode *devices, *n;
    xmlDoc *doc;
    size_t num = 1;
    int r = 0;

    doc = lv_xml_parse(w, "(domain_definition)", xml, "domain",
                       LV_FROM_DOMAIN);
    if (!doc)
        return -1;
    devices = lv_xml_child(xmlDocGetRootElement(doc), "devices");
    for (n = lv_xml_child(devices, "disk"); n; n = lv_xml_next(n, "disk"))
        num++;
    disks->disks = calloc(num, sizeof(*disks->disks));
    if (!disks->disks)
        r = lv_no_memory(w);
    for (n = lv_xml_child(devices, "disk"); n && !r;
         n = lv_xml_next(n, "disk"))
        r = add_disk(w, n, disks);
    xmlFreeDoc(doc);
    return r;
}

static int define_disks(struct lv_worker *w, const struct lv_domain *dom,
                        xlx_disks *disks)
{
    struct lv_domain_get_xml_desc_args args = { *dom, LV_XML_INACTIVE };
    struct lv_domain_get_xml_desc_ret ret;
    int r;

    if (lv_back_call(w, LV_DOMAIN_GET_XML_DESC, &args, &ret))
        return -1;
    r = read_disks(w, ret.xml, disks);
    lv_free(&lv_domain_get_xml_desc_ret_type, &ret);
    return r;
}

/* ---- the question ------------------------------------------------------- */

static int refuse(struct lv_worker *w, const xlx_frozen_image *f)
{
    const char *guest = f->guest.name ? f->guest.name : "?";
    const char *now = f->current_path ? f->current_path : "?";

    if (f->reason == XLX_FROZEN_REASON_SNAPSHOT)
        return lv_fail(w, LV_OPERATION_INVALID, LV_FROM_LIBXL, "%s is the "
                       "frozen layer of snapshot \"%s\" of guest %s, which "
                       "goes on in %s; " LEGACY, f->path, f->snapshot, guest,
                       now);
    if (f->reason == XLX_FROZEN_REASON_MOVED)
        return lv_fail(w, LV_OPERATION_INVALID, LV_FROM_LIBXL, "the disk of "
                       "guest %s was moved from %s to %s; " LEGACY, guest,
                       f->path, now);
    return lv_fail(w, LV_OPERATION_INVALID, LV_FROM_LIBXL, "%s: %s; " LEGACY,
                   f->path, f->what ? f->what : "somebody uses it");
}

/* The first that is frozen; one that is only open when no other is. */
static const xlx_frozen_image *worst(const xlx_frozen_images *list)
{
    const xlx_frozen_image *open = NULL;
    int i;

    for (i = 0; i < list->num_images; i++) {
        if (!list->images[i].frozen)
            continue;
        if (list->images[i].reason != XLX_FROZEN_REASON_OPEN)
            return &list->images[i];
        open = &list->images[i];
    }
    return open;
}

static int check_images(struct lv_worker *w, const xlx_disks *disks)
{
    const struct timespec pause = { 0, OPEN_MS * 1000000L };
    const xlx_frozen_image *f;
    xlx_frozen_images list;
    int tries, rc, r;

    for (tries = 0; ; tries++) {
        xlx_frozen_images_init(&list);
        rc = xlx_images_check(w->ctx, disks, &list);
        f = rc ? NULL : worst(&list);
        if (!f || f->reason != XLX_FROZEN_REASON_OPEN || tries >= OPEN_TRIES)
            break;
        xlx_frozen_images_dispose(&list);
        nanosleep(&pause, NULL);
    }
    r = f ? refuse(w, f) : LV_PASS_ON;
    if (rc)
        r = lv_fail(w, LV_OPERATION_FAILED, LV_FROM_LIBXL, "whether an image "
                    "of the guest is frozen: %s; " LEGACY, xlx_error_get());
    xlx_frozen_images_dispose(&list);
    return r;
}

static int ask(struct lv_worker *w, int r, xlx_disks *disks)
{
    if (!r && disks->num_disks)
        r = check_images(w, disks);
    xlx_disks_dispose(disks);
    return r ? r : LV_PASS_ON;
}

static int guard_start(struct lv_worker *w, const struct lv_domain *dom)
{
    xlx_disks disks;

    if (lv_ctx(w))
        return -1;
    xlx_disks_init(&disks);
    return ask(w, define_disks(w, dom, &disks), &disks);
}

/* A definition that cannot be read is libvirtd's to refuse, in its words. */
static int guard_xml(struct lv_worker *w, const char *xml)
{
    xlx_disks disks;

    if (lv_ctx(w))
        return -1;
    xlx_disks_init(&disks);
    if (!read_disks(w, xml, &disks))
        return ask(w, 0, &disks);
    xlx_disks_dispose(&disks);
    return LV_PASS_ON;
}

/* So is an image. */
static int guard_restore(struct lv_worker *w, const char *file)
{
    char *xml;
    int r;

    if (lv_image_definition(w, file, &xml))
        return LV_PASS_ON;
    r = guard_xml(w, xml);
    free(xml);
    return r;
}

int lv_answer_domain_create(struct lv_worker *w,
                            const struct lv_domain_create_args *args)
{
    return guard_start(w, &args->dom);
}

int lv_answer_domain_create_with_flags(
    struct lv_worker *w, const struct lv_domain_create_with_flags_args *args,
    struct lv_domain_create_with_flags_ret *ret)
{
    (void)ret;
    return guard_start(w, &args->dom);
}

int lv_answer_domain_create_xml(struct lv_worker *w,
                                const struct lv_domain_create_xml_args *args,
                                struct lv_domain_create_xml_ret *ret)
{
    (void)ret;
    return guard_xml(w, args->xml);
}

int lv_answer_domain_restore(struct lv_worker *w,
                             const struct lv_domain_restore_args *args)
{
    return guard_restore(w, args->file);
}

int lv_answer_domain_restore_flags(
    struct lv_worker *w, const struct lv_domain_restore_flags_args *args)
{
    return guard_restore(w, args->file);
}

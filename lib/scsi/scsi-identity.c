/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The device of a record: the words of it that the record keeps, and where it
 * is now.  hostdev-identity.c judges; here the candidates are read.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "core/kernfs.h"
#include "core/number.h"
#include "scsi/scsi.h"

/* ---- other block devices ------------------------------------------------ */

static char *attribute(const char *name, const char *attr)
{
    return xlx__attr_text("%s/class/block/%s/%s", xlx__sysfs_dir(), name,
                          attr);
}

/* The first link in /dev/disk/DIR that leads to the device; NULL when there
 * is none. */
static char *find_link(const char *name, const char *dir)
{
    const char *given = secure_getenv("LIBXLX_DEV_DIR");
    char node[PATH_MAX], real[PATH_MAX], *link = NULL;
    const char *dev = given ? given : "/dev";
    char **names = NULL;
    int i, num = 0;

    snprintf(real, sizeof(real), "%s/%s", dev, name);
    if (!realpath(real, node) ||
        xlx__attr_list(&names, &num, NULL, "%s/disk/%s", dev, dir))
        xlx__error_clear();
    for (i = 0; !link && i < num; i++) {
        link = xlx__printf("%s/disk/%s/%s", dev, dir, names[i]);
        if (link && realpath(link, real) && !strcmp(real, node))
            break;
        free(link);
        link = NULL;
    }
    free(names);
    return link;
}

/* The identifier that lasts longest, as KIND VALUE. */
static char *block_identity(const char *name)
{
    static const struct { const char *kind, *attr; } kinds[] = {
        { "dm", "dm/uuid" }, { "md", "md/uuid" }, { "wwid", "wwid" },
        { "loop", "loop/backing_file" },
    };
    char *value = NULL, *identity = NULL;
    size_t i;

    for (i = 0; !identity && i < XLX__ARRAY_SIZE(kinds); i++) {
        value = attribute(name, kinds[i].attr);
        if (value && *value)
            identity = xlx__printf("%s %s", kinds[i].kind, value);
        free(value);
    }
    if (identity)
        return identity;
    value = find_link(name, "by-id");
    if (!value)
        value = find_link(name, "by-path");
    if (value)
        identity = xlx__printf("path %s", value);
    free(value);
    if (identity)
        return identity;
    value = attribute(name, "dev");
    identity = value ? xlx__printf("block %s", value) : NULL;
    free(value);
    return identity;
}

int xlx__scsi_describe_block(struct xlx__scsi_pdev *p, const char *name)
{
    p->identity = block_identity(name);
    p->serial = attribute(name, "serial");
    if (p->serial && !*p->serial) {
        free(p->serial);
        p->serial = attribute(name, "device/serial");
    }
    p->unit.model = attribute(name, "device/model");
    if (!p->identity || !p->serial || !p->unit.model)
        return xlx__nomem();
    p->size = xlx__scsi_block_size(name);
    return 0;
}

uint64_t xlx__scsi_block_size(const char *name)
{
    char *text = attribute(name, "size");
    uint64_t sectors = 0;

    if (!text || !xlx__parse_u64(text, UINT64_MAX / 512, &sectors))
        sectors = 0;
    free(text);
    return sectors * 512;
}

/* ---- for comparison ----------------------------------------------------- */

static struct xlx__hostdev_identity of_device(const struct xlx__scsi_pdev *p)
{
    return (struct xlx__hostdev_identity){
        .id = xlx__text(p->identity), .serial = xlx__text(p->serial),
        .vendor = xlx__text(p->unit.vendor),
        .model = xlx__text(p->unit.model), .type = xlx__text(p->unit.type),
        .size = p->size, .offline = p->offline,
        .place = *xlx__text(p->unit.hctl) ? p->unit.hctl
                                          : xlx__text(p->unit.path),
    };
}

static struct xlx__hostdev_identity of_entry(const xlx_scsi_entry *e)
{
    return (struct xlx__hostdev_identity){
        .id = xlx__text(e->identity), .serial = xlx__text(e->serial),
        .vendor = xlx__text(e->vendor), .model = xlx__text(e->model),
        .type = xlx__text(e->type), .size = e->size,
        .place = *xlx__text(e->hctl) ? e->hctl : xlx__text(e->path),
    };
}

bool xlx__scsi_may_be(const struct xlx__scsi_pdev *a,
                      const struct xlx__scsi_pdev *b)
{
    struct xlx__hostdev_identity x = of_device(a), y = of_device(b);

    return xlx__hostdev_compare(&x, &y, true) != XLX__HOSTDEV_OTHER;
}

/* Every doubt counts: a device that may be the guest's is not given away. */
bool xlx__scsi_is_entrys(const xlx_scsi_entry *e, const char *boot,
                         const struct xlx__scsi_pdev *p)
{
    struct xlx__hostdev_identity was = of_entry(e), is = of_device(p);
    bool known = *xlx__text(e->boot);

    if (!known || !xlx__hostdev_is_earlier(e->boot, boot))
        if (xlx__hostdev_compare(&was, &is, true) != XLX__HOSTDEV_OTHER)
            return true;
    return xlx__hostdev_is_earlier(e->boot, boot) &&
           xlx__hostdev_compare(&was, &is, false) != XLX__HOSTDEV_OTHER;
}

int xlx__scsi_note_device(xlx_scsi_entry *e, const struct xlx__scsi_pdev *p)
{
    const struct { char **to; const char *from; } texts[] = {
        { &e->identity, p->identity }, { &e->hctl, p->unit.hctl },
        { &e->path, p->unit.path }, { &e->serial, p->serial },
        { &e->vendor, p->unit.vendor }, { &e->model, p->unit.model },
        { &e->type, p->unit.type },
    };
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < XLX__ARRAY_SIZE(texts); i++)
        rc = xlx__set_string(texts[i].to, xlx__text(texts[i].from));
    e->size = p->size;
    return rc ? rc : xlx__scsi_note_instance(e, p);
}

int xlx__scsi_forget_place(xlx_scsi_entry *e)
{
    xlx_scsi_identity kind;
    const char *value;
    int rc = 0;

    kind = xlx__scsi_identity_kind(xlx__text(e->identity), &value);
    if (*xlx__text(e->hctl) || kind == XLX_SCSI_IDENTITY_BLOCK)
        rc = xlx__set_string(&e->path, "");
    return rc ? rc : xlx__set_string(&e->hctl, "");
}

/* ---- all candidates ----------------------------------------------------- */

struct candidates {
    struct xlx__scsi_pdev *list;
    int num;
};

static void candidates_dispose(struct candidates *c)
{
    int i;

    for (i = 0; i < c->num; i++)
        xlx__scsi_pdev_dispose(&c->list[i]);
    free(c->list);
}

static struct xlx__scsi_pdev *append(struct candidates *c)
{
    struct xlx__scsi_pdev *p;

    p = realloc(c->list, ((size_t)c->num + 1) * sizeof(*p));
    if (!p)
        return NULL;
    c->list = p;
    xlx__scsi_pdev_init(&p[c->num]);
    return &p[c->num++];
}

static int add_units(struct candidates *c)
{
    struct xlx__scsi_hctl *list;
    struct xlx__scsi_pdev *p;
    int i, num, rc;

    rc = xlx__scsi_units(&list, &num);
    if (rc) return rc;
    for (i = 0; !rc && i < num; i++) {
        p = append(c);
        rc = p ? xlx__scsi_find_hctl(&list[i], p) : xlx__nomem();
        if (rc == ERROR_NOTFOUND) {     /* pulled out just now */
            xlx__error_clear();
            xlx__scsi_pdev_dispose(&c->list[--c->num]);
            rc = 0;
        }
    }
    free(list);
    return rc;
}

/* Whole disks and maps that are not SCSI devices. */
static int add_blocks(struct candidates *c)
{
    struct xlx__scsi_hctl hctl;
    struct xlx__scsi_pdev *p;
    char **names, *device;
    int i, num, rc;

    rc = xlx__attr_list(&names, &num, NULL, "%s/class/block",
                        xlx__sysfs_dir());
    if (rc) return rc;
    for (i = 0; !rc && i < num; i++) {
        device = xlx__attr_link("%s/class/block/%s/device", xlx__sysfs_dir(),
                                names[i]);
        if (!device) {
            rc = xlx__nomem();
            break;
        }
        if (!xlx__scsi_parse_hctl(device, &hctl) &&
            !xlx__attr_exists("%s/class/block/%s/partition", xlx__sysfs_dir(),
                              names[i])) {
            p = append(c);
            rc = p ? xlx__scsi_set_block(p, names[i]) : xlx__nomem();
        }
        free(device);
    }
    free(names);
    return rc;
}

/* ---- where it is -------------------------------------------------------- */

static void title(const struct xlx__scsi_pdev *p, char buf[200])
{
    snprintf(buf, 200, "%.40s%s%.20s%s%.20s (serial %.40s, %" PRIu64
             " bytes)", *xlx__text(p->unit.hctl) ? p->unit.hctl
                                                 : xlx__text(p->unit.path),
             *xlx__text(p->unit.vendor) ? " " : "", xlx__text(p->unit.vendor),
             *xlx__text(p->unit.model) ? " " : "", xlx__text(p->unit.model),
             *xlx__text(p->serial) ? p->serial : "-", p->size);
}

static int ambiguous(const xlx_scsi_entry *e, const struct xlx__scsi_pdev *a,
                     const struct xlx__scsi_pdev *b)
{
    char first[200], second[200];

    title(a, first);
    if (!b)
        return xlx__error(ERROR_INVAL, "pdev %s: %s may be the device that "
                          "the guest had (%s, serial %s, %" PRIu64 " bytes), "
                          "or another one: xl scsi-detach, and attach it "
                          "again if it is", e->dev.pdev, first, e->identity,
                          *xlx__text(e->serial) ? e->serial : "-", e->size);
    title(b, second);
    return xlx__error(ERROR_INVAL, "pdev %s: %s and %s both may be the device "
                      "that the guest had (%s): xl scsi-detach, and attach "
                      "the right one", e->dev.pdev, first, second,
                      e->identity);
}

static int not_there(const xlx_scsi_entry *e, const struct candidates *c)
{
    struct xlx__hostdev_identity was = of_entry(e), is;
    char other[200];
    int i;

    for (i = 0; i < c->num; i++) {
        is = of_device(&c->list[i]);
        if (*was.place && !strcmp(was.place, is.place)) {
            title(&c->list[i], other);
            return xlx__error(ERROR_NOTFOUND, "pdev %s: it is not there; "
                              "another device is in its place: %s",
                              e->dev.pdev, other);
        }
    }
    return xlx__error(ERROR_NOTFOUND, "pdev %s: no device of this host is the "
                      "one that the guest had (%s)", e->dev.pdev,
                      e->identity);
}

static int choose(const xlx_scsi_entry *e, bool same_boot,
                  struct candidates *c, struct xlx__scsi_pdev *p)
{
    struct xlx__hostdev_identity was = of_entry(e), *all;
    int i, best, other, rc = 0;

    all = calloc((size_t)c->num + 1, sizeof(*all));
    if (!all)
        return xlx__nomem();
    for (i = 0; i < c->num; i++)
        all[i] = of_device(&c->list[i]);
    switch (xlx__hostdev_choose(&was, all, c->num, same_boot, &best,
                                &other)) {
    case XLX__HOSTDEV_FOUND:
        *p = c->list[best];
        xlx__scsi_pdev_init(&c->list[best]);
        break;
    case XLX__HOSTDEV_OFFLINE:
        rc = xlx__error(ERROR_NOTFOUND, "pdev %s: the kernel has taken it "
                        "offline, at %s%s", e->dev.pdev, all[best].place,
                        c->num > 1 ? " and wherever else it is" : "");
        break;
    case XLX__HOSTDEV_AMBIGUOUS:
        rc = ambiguous(e, &c->list[best],
                       other < 0 ? NULL : &c->list[other]);
        break;
    case XLX__HOSTDEV_NONE:
        rc = not_there(e, c);
        break;
    }
    free(all);
    return rc;
}

static int find_file(const xlx_scsi_entry *e, bool same_boot,
                     struct xlx__scsi_pdev *p)
{
    struct xlx__hostdev_identity was, is;
    int rc;

    rc = xlx__scsi_find(*xlx__text(e->path) ? e->path : e->dev.pdev, p);
    if (rc) return rc;
    was = of_entry(e);
    is = of_device(p);
    if (xlx__hostdev_compare(&was, &is, same_boot) == XLX__HOSTDEV_SAME)
        return 0;
    return xlx__error(ERROR_NOTFOUND, "pdev %s: another file is at that path "
                      "than the guest had: xl scsi-detach, and attach it "
                      "again if it is the right one", e->dev.pdev);
}

int xlx__scsi_find_again(const xlx_scsi_entry *e, const char *boot,
                         struct xlx__scsi_pdev *p)
{
    bool same_boot = !xlx__hostdev_is_earlier(e->boot, boot);
    struct candidates c = { NULL, 0 };
    xlx_scsi_identity kind;
    const char *value;
    int rc = 0;

    kind = xlx__scsi_identity_kind(xlx__text(e->identity), &value);
    if (kind == XLX_SCSI_IDENTITY_TARGET)
        return xlx__scsi_find(value, p);
    if (kind == XLX_SCSI_IDENTITY_FILE)
        return find_file(e, same_boot, p);
    if (kind == XLX_SCSI_IDENTITY_WWID || kind == XLX_SCSI_IDENTITY_HCTL)
        rc = add_units(&c);
    if (!rc && kind != XLX_SCSI_IDENTITY_HCTL &&
        !*xlx__text(e->hctl))           /* not one of the SCSI devices */
        rc = add_blocks(&c);
    if (!rc)
        rc = choose(e, same_boot, &c, p);
    candidates_dispose(&c);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plans the deletion of a snapshot, one disk at a time, and asks whether it
 * may be done: what is based on its image by the record, by the headers and in
 * QEMU's graph, and who else uses the images.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/disk.h"
#include "disk/image.h"
#include "snapshot/snapshot.h"

/* ---- the images based on an image
 * ---------------------------------------------- */

struct above {
    const xlx_snapshot_disk *layer; /* one of them */
    int num;
};

static bool lies_on(const xlx_snapshot_disk *d, const char *image)
{
    const char *backing = xlx__text(d->backing);

    return !*xlx__text(d->tag) && *backing &&
           (!strcmp(backing, image) || xlx__image_same(backing, image));
}

/* A layer of any disk: disks may have changed places since. */
static void count_above(const xlx_snapshots *record, const char *image,
                        struct above *above)
{
    int i, j;

    memset(above, 0, sizeof(*above));
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++)
            if (lies_on(&record->snapshots[i].disks[j], image)) {
                above->layer = &record->snapshots[i].disks[j];
                above->num++;
            }
    for (i = 0; i < record->num_disks; i++)
        if (lies_on(&record->disks[i], image)) {
            above->layer = &record->disks[i];
            above->num++;
        }
}

static bool is_current(const xlx_snapshots *record, const char *image)
{
    int i;

    for (i = 0; i < record->num_disks; i++)
        if (xlx__image_same(record->disks[i].image, image))
            return true;
    return false;
}

/* The disk of the record, also of a snapshot, that has this image. */
static const xlx_snapshot_disk *entry_of(const xlx_snapshots *record,
                                         const char *image)
{
    int i, j;

    for (i = 0; i < record->num_disks; i++)
        if (xlx__image_same(record->disks[i].image, image))
            return &record->disks[i];
    for (i = 0; i < record->num_snapshots; i++)
        for (j = 0; j < record->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &record->snapshots[i].disks[j];

            if (!*xlx__text(d->tag) && xlx__image_same(d->image, image))
                return d;
        }
    return NULL;
}

static int no_tags(const char *vdev, const char *image, const char *why)
{
    struct xlx__image_tag *tags;
    int num, rc;

    rc = xlx__image_tags(image, &tags, &num);
    if (rc) return rc;
    if (num)
        rc = xlx__error(ERROR_INVAL, "%s: %s holds the internal snapshot "
                        "\"%s\", which %s: delete that one first", vdev,
                        image, tags[0].name, why);
    xlx__image_tags_free(tags, num);
    return rc;
}

/* ---- may it be done? ---------------------------------------------------- */

struct planning {
    const struct xlx__snapshot_change *c;
    const xlx_snapshots *record;    /* as it will be by then */
    const xlx_snapshots *known;     /* that agrees with the files there are */
    struct xlx__image_world *world;
    const char **overlays;          /* that the plan knows of */
    int num_overlays;
};

static int know(struct planning *p, const char *image)
{
    const char **list = realloc(p->overlays,
                                (p->num_overlays + 1) * sizeof(*list));

    if (!list)
        return xlx__nomem();
    p->overlays = list;
    list[p->num_overlays++] = image;
    return 0;
}

/* Images that earlier steps of the plan take away */
static int know_gone(struct planning *p)
{
    int i, j, rc = 0;

    for (i = 0; !rc && i < p->known->num_disks; i++)
        if (!entry_of(p->record, p->known->disks[i].image))
            rc = know(p, p->known->disks[i].image);
    for (i = 0; i < p->known->num_snapshots; i++)
        for (j = 0; !rc && j < p->known->snapshots[i].num_disks; j++) {
            const xlx_snapshot_disk *d = &p->known->snapshots[i].disks[j];

            if (!entry_of(p->record, d->image))
                rc = know(p, d->image);
        }
    return rc;
}


static int ask(const struct planning *p, const char *vdev, const char *image,
               bool own_disk)
{
    struct xlx__image_allow allow = p->c->force;

    allow.own_disk = own_disk;
    allow.overlays = p->overlays;
    allow.num_overlays = p->num_overlays;
    return xlx__image_ask(p->world, vdev, image, &allow);
}

static int no_bitmaps(const struct planning *p, const char *vdev,
                      const char *image)
{
    char *name = NULL;
    int rc;

    if (p->c->force_bitmap)
        return 0;
    rc = xlx__image_world_bitmaps(p->world, image, &name);
    if (rc) goto out;
    if (name)
        rc = xlx__error(ERROR_INVAL, "%s: %s has a dirty bitmap%s%s%s, which "
                        "would be lost, and with it the next incremental "
                        "backup: remove it, or use --force-bitmap", vdev,
                        image, *name ? " \"" : "", name, *name ? "\"" : "");

 out:
    free(name);
    return rc;
}

/* The header of a layer names the image that the record says it does: another
 * name would be written into it, or another image be merged into. */
static int check_header(const struct planning *p, const char *vdev,
                        const char *image)
{
    const xlx_snapshot_disk *d = entry_of(p->known, image);
    char *below = NULL;
    int rc;

    if (!d || !*xlx__text(d->backing))
        return 0;
    rc = xlx__image_backing(image, &below);
    if (rc) return rc;
    /* one that is not there check_files() has the words for */
    if (!below || (strcmp(below, d->backing) &&
                   !xlx__image_same(below, d->backing)))
        rc = xlx__error(ERROR_INVAL, "%s: %s is based on %s, and not on %s as "
                        "recorded: another tool changed the chain; see xl "
                        "snapshot-repair", vdev, image,
                        below ? below : "nothing", d->backing);
    free(below);
    return rc;
}

/* Its header is written to, and what is based on it does not see that.  QEMU
 * writes to those that it has open. */
static int ask_branch(const struct planning *p, const xlx_snapshot_disk *d)
{
    const xlx_snapshot_disk *now =
        xlx__snapshot_current_disk(p->record, xlx__text(d->vdev));
    struct xlx__image_allow allow = p->c->force;

    if (p->c->served && now &&
        xlx__image_leads_to(now->image, xlx__text(now->format), d->image))
        return 0;
    allow.own_disk = is_current(p->record, d->image);
    allow.force_based = true;
    return xlx__image_ask(p->world, d->vdev, d->image, &allow);
}

static int know_layer(struct planning *p, const xlx_snapshot_disk *d,
                      const char *image)
{
    int rc;

    if (!lies_on(d, image))
        return 0;
    rc = check_header(p, xlx__text(d->vdev), d->image);
    if (!rc)
        rc = ask_branch(p, d);
    return rc ? rc : know(p, d->image);
}

/* Puts onto the lower layer all that is based on the upper one by the record.
 */
static int know_above(struct planning *p, const char *image)
{
    int i, j, rc = 0;

    for (i = 0; !rc && i < p->record->num_disks; i++)
        rc = know_layer(p, &p->record->disks[i], image);
    for (i = 0; i < p->record->num_snapshots; i++)
        for (j = 0; !rc && j < p->record->snapshots[i].num_disks; j++)
            rc = know_layer(p, &p->record->snapshots[i].disks[j], image);
    return rc;
}

/* qemu-img opens none of them while a program that locks images writes to one
 * further below. */
static int no_writer_below(const xlx_snapshot_disk *lower)
{
    char *at = strdup(lower->image), *format = strdup(lower->format), *below;
    bool yes, writes = false;
    int i, rc = at && format ? 0 : xlx__nomem();

    for (i = 0; !rc && at && i < XLX__IMAGE_MAX_CHAIN; i++) {
        char *next = NULL;

        rc = xlx__image_below(at, format ? format : "qcow2", &below, &next);
        if (rc) break;
        free(at);
        free(format);
        at = below;
        format = next;
        if (at)
            rc = xlx__image_in_use(at, &yes, &writes);
        if (!rc && writes)
            rc = xlx__error(ERROR_NOT_READY, "%s: another program writes to "
                            "%s, on which %s is based: end that first",
                            lower->vdev, at, lower->image);
    }
    free(at);
    free(format);
    return rc;
}

/* qemu-img opens the whole chain, and writes to the lower image. */
static int check_files(const struct planning *p,
                       const xlx_snapshot_disk *lower)
{
    int rc;

    if (!p->c->served && access(lower->image, F_OK) == 0 &&
        access(lower->image, W_OK))
        return xlx__error(xlx__errno_rc(errno), "%s: %s, which would be "
                          "merged into, cannot be written to: %m",
                          lower->vdev, lower->image);
    rc = xlx__snapshot_check_chain(p->c, lower);
    return rc || p->c->served ? rc : no_writer_below(lower);
}

/* The lower image gets the size that the guest sees.  A file grows with the
 * merge, and a device does not; a file is cut off after it, but not by a QEMU
 * that runs; and what is behind the disk on a device is its owner's matter. */
static int check_size(const struct planning *p, const char *vdev,
                      const xlx_snapshot_disk *layer,
                      const xlx_snapshot_disk *lower)
{
    uint64_t has, needs;
    struct stat st;
    bool device;
    int rc;

    if (stat(lower->image, &st))
        return 0;                   /* check_files() has the words for that */
    device = S_ISBLK(st.st_mode) && !strcmp(xlx__text(lower->format), "raw");
    rc = xlx__image_size(p->c->ctx, lower->image, lower->format, &has);
    if (rc) return rc;
    rc = xlx__image_size(p->c->ctx, layer->image, layer->format, &needs);
    if (rc || needs == has) return rc;
    if (device && needs > has)
        return xlx__error(ERROR_INVAL, "%s: the guest's disk has %"PRIu64
                          " bytes by now, and the device %s has %"PRIu64": "
                          "make the device larger first (lvextend)", vdev,
                          needs, lower->image, has);
    if (device || needs > has)
        return 0;
    if (p->c->served)
        return xlx__error(ERROR_NOT_READY, "%s: %s has %"PRIu64" bytes and "
                          "%s, which is based on it, %"PRIu64": to merge them "
                          "while the guest runs would make its disk larger: "
                          "shut the guest down first", vdev, lower->image,
                          has, layer->image, needs);
    return no_bitmaps(p, vdev, lower->image);   /* qemu-img refuses then */
}

/* Writes of others to a frozen image are merged with it, or go with it. */
static int not_written(const struct planning *p, const char *vdev,
                       const char *image)
{
    const xlx_snapshot_disk *d;
    char when[40];
    int64_t seen;

    d = p->c->force_written
        ? NULL : xlx__snapshot_find_written(p->record, image, &seen);
    return d ? xlx__error(ERROR_INVAL, "%s: %s was written to (%s) after it "
                          "was frozen, perhaps by a guest that was started on "
                          "it: look at it with qemu-nbd --read-only, and use "
                          "--force-written if that does not matter", vdev,
                          image, xlx__snapshot_when(seen, when, sizeof(when)))
             : 0;
}

/* ---- one disk ----------------------------------------------------------- */

static int plan_unlink(struct planning *p, const xlx_snapshot_disk *d,
                       xlx_snapshot_journal *journal)
{
    int rc;

    /* the user's own image stays, and so does one that the guest writes to:
     * another tool made it the present state again */
    if (!d->owned || is_current(p->record, d->image))
        return 0;
    rc = ask(p, d->vdev, d->image, false);
    if (rc) return rc;
    rc = not_written(p, d->vdev, d->image);
    if (rc) return rc;
    rc = no_bitmaps(p, d->vdev, d->image);
    if (rc) return rc;
    rc = no_tags(d->vdev, d->image, "would be lost");
    if (rc) return rc;
    return xlx__snapshot_add_old(journal, d->image);
}

/* QEMU opens both again by their names. */
static int check_open(const struct planning *p, const xlx_snapshot_disk *d,
                      const xlx_snapshot_disk *layer)
{
    const char *const images[] = { d->image, layer->image };
    struct xlx__file_id ids[2];
    int rc;

    if (!p->c->qmp)
        return 0;
    rc = xlx__snapshot_check_open(p->c, images, 2, ids);
    return rc ? xlx__error_prefix(rc, "%s", d->vdev) : 0;
}

/* Finds out before anything is marked whether it can be merged. */
static int check_merge(struct planning *p, const xlx_snapshot_disk *d,
                       const xlx_snapshot_disk *layer)
{
    bool data;
    int rc;

    rc = check_header(p, d->vdev, layer->image);
    if (rc) return rc;
    rc = check_files(p, d);
    if (rc) return rc;
    rc = check_open(p, d, layer);
    if (rc) return rc;
    rc = check_size(p, d->vdev, layer, d);
    if (rc) return rc;
    rc = not_written(p, d->vdev, d->image);
    if (rc) return rc;
    rc = know(p, layer->image);
    if (rc) return rc;
    rc = ask(p, d->vdev, d->image, false);
    if (rc) return rc;
    rc = know_above(p, layer->image);
    if (rc) return rc;
    rc = ask(p, d->vdev, layer->image, is_current(p->record, layer->image));
    if (rc) return rc;
    rc = xlx__image_has_data(layer->image, &data);
    if (rc) return rc;
    rc = no_bitmaps(p, d->vdev, layer->image);
    if (rc) return rc;
    return no_tags(d->vdev, layer->image, "would not survive the merge");
}

/* The guest's image is based on it, and the record does not know how. */
static int check_not_below(const struct planning *p,
                           const xlx_snapshot_disk *d)
{
    int i;

    for (i = 0; i < p->record->num_disks; i++) {
        const xlx_snapshot_disk *now = &p->record->disks[i];

        if (!xlx__image_same(now->image, d->image) &&
            xlx__image_leads_to(now->image, xlx__text(now->format), d->image))
            return xlx__error(ERROR_INVAL, "%s: the guest is on %s, and an "
                              "image between that and %s is not one of this "
                              "guest's: merge it with the tool that made it, "
                              "or forget the snapshot: --metadata-only",
                              d->vdev, now->image, d->image);
    }
    return 0;
}

static int plan_external(struct planning *p, const xlx_snapshot_disk *d,
                         xlx_snapshot_journal *journal)
{
    struct above above;
    int rc;

    count_above(p->record, d->image, &above);
    if (above.num > 1)
        return xlx__error(ERROR_INVAL, "%s: %d states are based on this "
                          "snapshot: delete all but one of them first, or use "
                          "--children", d->vdev, above.num);
    if (!above.num) {
        rc = check_not_below(p, d);
        return rc ? rc : plan_unlink(p, d, journal);
    }
    if (is_current(p->record, d->image))
        return xlx__error(ERROR_INVAL, "%s: the guest writes to %s, and %s is "
                          "based on it: what is on top of it is worthless; "
                          "delete that first", d->vdev, d->image,
                          above.layer->image);
    if (!above.layer->owned)
        return xlx__error(ERROR_INVAL, "%s: %s is based on it and was not "
                          "made by libxlx", d->vdev, above.layer->image);
    rc = check_merge(p, d, above.layer);
    if (rc) return rc;
    rc = xlx__set_string(&journal->merge_vdev, above.layer->vdev);
    if (rc) return rc;
    rc = xlx__set_string(&journal->merge_top, above.layer->image);
    if (rc) return rc;
    rc = xlx__set_string(&journal->merge_base, d->image);
    if (rc) return rc;
    rc = xlx__snapshot_add_old(journal, above.layer->image);
    if (rc) return rc;
    return xlx__snapshot_move_layers(&journal->after, journal->merge_top, d);
}

/* QEMU cannot change an image that it has open to read only. */
static int tag_in_reach(const struct planning *p,
                        const xlx_snapshot_disk *d)
{
    const struct xlx__snapshot_change *c = p->c;
    bool readonly, there, other;
    char *node;
    int rc;

    rc = xlx__image_has_tag(d->image, d->tag, &there);
    if (!rc)
        rc = xlx__snapshot_other_tag(d, &other);
    if (rc) return rc;              /* it is not known which one it is */
    if (other)
        return xlx__error(ERROR_INVAL, "%s: the snapshot \"%s\" in %s is not "
                          "the one that was made: another tool removed that "
                          "and made this one: use --metadata-only, which "
                          "forgets ours and leaves that one", d->vdev, d->tag,
                          d->image);
    if (!c->qmp || is_current(p->record, d->image))
        return 0;
    rc = xlx__disk_find_node(c->qmp, d->image, &node, &readonly);
    if (rc) return xlx__forgive(rc, ERROR_NOTFOUND);
    free(node);
    return xlx__error(ERROR_INVAL, "%s: it is in %s, which QEMU has open as "
                      "the frozen layer of a later snapshot: delete that one "
                      "first, or shut the guest down", d->vdev, d->image);
}

/* Images based on this one do not see that a snapshot goes from it. */
static int plan_tag(struct planning *p, const xlx_snapshot_disk *d)
{
    struct xlx__image_allow allow = p->c->force;
    int rc;

    allow.own_disk = is_current(p->record, d->image);
    allow.force_based = true;
    allow.idle = true;
    rc = tag_in_reach(p, d);
    if (!rc)
        rc = xlx__snapshot_check_chain(p->c, d);
    return rc ? rc : xlx__image_ask(p->world, d->vdev, d->image, &allow);
}

int xlx__snapshot_plan_delete(const struct xlx__snapshot_change *c,
                              const char *name, const xlx_snapshots *known,
                              struct xlx__image_world *world,
                              xlx_snapshot_journal *journal)
{
    const xlx_snapshot *s = xlx__snapshot_by_name(&c->record, name);
    const xlx_snapshot_disk *d = &s->disks[0];
    struct planning p = {
        .c = c, .record = &c->record, .known = known,
        .world = world,
    };
    xlx_snapshot *after;
    int rc;

    rc = xlx__snapshot_journal_init(c, XLX_SNAPSHOT_OPERATION_DELETE,
                                    journal);
    if (!rc)
        rc = know_gone(&p);
    if (!rc)
        rc = *xlx__text(d->tag) ? plan_tag(&p, d)
                                : plan_external(&p, d, journal);
    free(p.overlays);
    if (!rc && *xlx__text(d->tag))
        rc = xlx__snapshot_forget_mtimes(&journal->after, d->image);
    if (rc) return rc;
    after = xlx__snapshot_by_name(&journal->after, name);
    after->status = XLX_SNAPSHOT_STATUS_MERGING;
    xlx__snapshot_drop_disk(after, d->vdev);
    if (!after->num_disks)
        return xlx__snapshot_forget(&journal->after, name);
    return 0;
}

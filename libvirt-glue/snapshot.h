/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots by libvirt's calls.  snapshot.c answers questions,
 * snapshot-change.c makes, reverts and deletes, snapshot-xml.c writes
 * <domainsnapshot>, and snapshot-parse.c reads it.
 */
#ifndef LV_SNAPSHOT_H
#define LV_SNAPSHOT_H

#include "guest.h"

/* Those of libxlx, without those of other tools, which libvirt would not list
 * either, in such an order that a parent comes before its children. */
struct lv_snapshots {
    struct lv_guest g;
    xlx_snapshots list;
    const xlx_snapshot **all;
    int num;
};

int lv_load(struct lv_worker *w, const struct lv_domain *dom, bool change,
            struct lv_snapshots *s);
void lv_unload(struct lv_snapshots *s);
/* NULL when there is none. */
const xlx_snapshot *lv_by_name(const struct lv_snapshots *s, const char *name);
/* The same, or the error that clients of libvirt expect. */
int lv_get(struct lv_worker *w, const struct lv_snapshots *s, const char *name,
           const xlx_snapshot **snapshot_r);
/* NULL for one without. */
const xlx_snapshot *lv_parent(const struct lv_snapshots *s,
                              const xlx_snapshot *child);
/* For a reply, which owns it. */
int lv_put_snapshot(struct lv_worker *w, const struct lv_snapshots *s,
                    const char *name, struct lv_snapshot *to);

/* snapshot-xml.c: malloc()ed; NULL after lv_no_memory(). */
char *lv_snapshot_xml(struct lv_worker *w, const struct lv_snapshots *s,
                      const xlx_snapshot *snapshot, const char *domain_xml);
/* libvirt's word for the state that it holds. */
const char *lv_snapshot_state(const xlx_snapshot *snapshot);
/* The definition of the domain when it was made: kept next to libxlx's
 * records, and forgotten. */
int lv_keep_domain(struct lv_worker *w, const struct lv_guest *g,
                   const xlx_snapshot *snapshot);
char *lv_kept_domain(struct lv_worker *w, const struct lv_guest *g,
                     const xlx_snapshot *snapshot);
void lv_forget_domain(struct lv_worker *w, const struct lv_guest *g,
                      const char *name);

/* snapshot-parse.c */
enum lv_location { LV_DEFAULT, LV_NONE, LV_INTERNAL_DISK, LV_EXTERNAL_DISK };
struct lv_wanted_disk {
    char *name;                         /* target, or path of the image */
    enum lv_location location;
    bool has_source;                    /* it names the file of the overlay */
};
struct lv_wanted {
    char *name, *description;           /* NULL: not given */
    bool no_memory;                     /* <memory snapshot='no'/> */
    bool memory;                        /* any other one */
    struct lv_wanted_disk *disks;
    int num_disks;
    bool has_uuid;
    uint8_t uuid[16];                   /* of its <domain> */
};
int lv_parse_snapshot(struct lv_worker *w, const char *text, bool validate,
                      struct lv_wanted *wanted);
void lv_wanted_free(struct lv_wanted *wanted);

#endif

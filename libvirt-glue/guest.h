/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain of libvirt's as a guest of libxlx: found by its UUID, because its
 * name and number may be another's by now.
 */
#ifndef LV_GUEST_H
#define LV_GUEST_H

#include "worker.h"

enum { LV_XML_INACTIVE = 2 };           /* VIR_DOMAIN_XML_INACTIVE */

struct lv_guest {
    struct lv_domain dom;               /* as libvirtd knows it now */
    xlx_guest guest;
    bool known;                         /* to libxlx; else it has no records */
};

/* libvirtd must know the domain.  With change the guest is such that its disks
 * can be worked on: for one that is shut down, libvirtd writes its config. */
int lv_find_guest(struct lv_worker *w, const struct lv_domain *dom,
                  bool change, struct lv_guest *g);
void lv_guest_free(struct lv_guest *g);
/* After a question that changes nothing: is rc that QEMU is busy with another
 * client, so that it should be asked again?  Waits a moment then; *tries is 0
 * at first. */
bool lv_ask_again(int rc, unsigned int *tries);
bool lv_guest_runs(const struct lv_guest *g);
/* For a reply, which owns it. */
int lv_copy_domain(struct lv_worker *w, const struct lv_domain *from,
                   struct lv_domain *to);

/* An absolute path in libxlx's directory of that kind, made when needed. */
enum lv_place { LV_STATE, LV_RUN };
char *lv_path(struct lv_worker *w, enum lv_place place, const uint8_t uuid[16],
              const char *name);
/* Replaces the file as a whole; nobody else may read it. */
int lv_write_file(struct lv_worker *w, const char *path, const char *text);
/* NULL when it cannot be read. */
char *lv_read_file(const char *path);

/* save.c: the definition in the image of a saved guest, malloc()ed. */
int lv_image_definition(struct lv_worker *w, const char *file, char **xml_r);

#endif

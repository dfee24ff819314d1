/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * XML that clients send: bounded, without a network, a DTD or entities of its
 * own, and walked element by element.
 */
#ifndef LV_XML_H
#define LV_XML_H

#include <libxml/parser.h>
#include <libxml/tree.h>

#include "worker.h"

/* The outermost element must be that one.  name is in messages, as libvirt has
 * it: (domain_snapshot).  NULL after lv_fail(). */
xmlDoc *lv_xml_parse(struct lv_worker *w, const char *name, const char *text,
                     const char *root, enum lv_from from);
bool lv_xml_is(const xmlNode *n, const char *tag);
/* The first element below n, and the next one after it, with that tag, or any
 * when it is NULL. */
xmlNode *lv_xml_child(const xmlNode *n, const char *tag);
xmlNode *lv_xml_next(const xmlNode *n, const char *tag);
/* malloc()ed; NULL when there is none. */
char *lv_xml_attribute(const xmlNode *n, const char *name);
char *lv_xml_text(const xmlNode *n);

#endif

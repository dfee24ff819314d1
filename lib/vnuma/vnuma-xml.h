/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * XML for the vnuma files that read it: walking the tree of libxml2, and
 * attributes as numbers with a message that has the line.  Without libxml2
 * there is only the message that says so.
 */
#ifndef XLX_VNUMA_XML_H
#define XLX_VNUMA_XML_H

#include "vnuma/vnuma.h"

#ifdef HAVE_LIBXML2

#include <libxml/parser.h>
#include <libxml/tree.h>

/* *doc_r is the caller's to close, root_r its outermost element.  ERROR_NI
 * when libxml2 is not installed. */
int xlx__xml_parse(const char *name, const char *text, xmlDoc **doc_r,
                   xmlNode **root_r);
void xlx__xml_close(xmlDoc *doc);
/* The line of the text in which n is. */
long xlx__xml_line(const xmlNode *n);
bool xlx__xml_is(const xmlNode *n, const char *tag);
/* The first element below n, and the next one after it, with that tag; n may
 * be NULL for a child. */
xmlNode *xlx__xml_child(const xmlNode *n, const char *tag);
xmlNode *xlx__xml_sibling(const xmlNode *n, const char *tag);
/* The node after n in the document, below top; NULL at the end. */
xmlNode *xlx__xml_following(xmlNode *n, const xmlNode *top);
/* xlx__xml_free() it; NULL when there is none. */
char *xlx__xml_attribute(const xmlNode *n, const char *name);
char *xlx__xml_content(const xmlNode *n);
void xlx__xml_free(char *text);
bool xlx__xml_attribute_is(const xmlNode *n, const char *name,
                           const char *value);
/* 0, 1 when there is no such attribute, or ERROR_INVAL. */
int xlx__xml_number(const xmlNode *n, const char *name, uint64_t max,
                    uint64_t *value_r);
/* The same, and it must be there. */
int xlx__xml_need_number(const xmlNode *n, const char *name, uint64_t max,
                         uint64_t *value_r);

/* vnuma-hwloc-distances.c: h has its nodes. */
int xlx__vnuma_read_hwloc_distances(xmlNode *root, xlx_vnuma_host *h);

#else

static inline int xlx__xml_missing(const char *name)
{
    return xlx__error(ERROR_NI, "%s: it is XML, and libxlx was built without "
                      "libxml2", name);
}

#endif

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * XML for the vnuma files that read it; see vnuma-xml.h.  Nothing outside the
 * text is loaded, and libxml2 bounds how deep it goes.
 */
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "vnuma/vnuma-xml.h"

#ifdef HAVE_LIBXML2

#define XML_BYTES (64u << 20)

int xlx__xml_parse(const char *name, const char *text, xmlDoc **doc_r)
{
    const xmlError *e;
    size_t len = strlen(text);

    if (len > XML_BYTES)
        return xlx__error(ERROR_INVAL, "%s: more than %u bytes", name,
                          XML_BYTES);
    *doc_r = xmlReadMemory(text, (int)len, "", NULL, XML_PARSE_NONET |
                           XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    if (*doc_r && xmlDocGetRootElement(*doc_r))
        return 0;
    xmlFreeDoc(*doc_r);
    *doc_r = NULL;
    e = xmlGetLastError();
    return xlx__error(ERROR_INVAL, "%s: line %d: %.*s", name, e ? e->line : 0,
                      e && e->message ? (int)strcspn(e->message, "\n") : 11,
                      e && e->message ? e->message : "no XML here");
}

bool xlx__xml_is(const xmlNode *n, const char *tag)
{
    return n->type == XML_ELEMENT_NODE &&
           !strcmp((const char *)n->name, tag);
}

xmlNode *xlx__xml_child(const xmlNode *n, const char *tag)
{
    xmlNode *c;

    for (c = n ? n->children : NULL; c; c = c->next)
        if (xlx__xml_is(c, tag))
            return c;
    return NULL;
}

xmlNode *xlx__xml_sibling(const xmlNode *n, const char *tag)
{
    xmlNode *c;

    for (c = n->next; c; c = c->next)
        if (xlx__xml_is(c, tag))
            return c;
    return NULL;
}

xmlNode *xlx__xml_following(xmlNode *n, const xmlNode *top)
{
    if (n->children && n->type == XML_ELEMENT_NODE)
        return n->children;
    while (n != top && !n->next)
        n = n->parent;
    return n == top ? NULL : n->next;
}

char *xlx__xml_attribute(const xmlNode *n, const char *name)
{
    return (char *)xmlGetNoNsProp(n, (const xmlChar *)name);
}

bool xlx__xml_attribute_is(const xmlNode *n, const char *name,
                         const char *value)
{
    char *s = xlx__xml_attribute(n, name);
    bool same = s && !strcmp(s, value);

    xmlFree(s);
    return same;
}

int xlx__xml_number(const xmlNode *n, const char *name, uint64_t max,
                  uint64_t *value_r)
{
    char *s = xlx__xml_attribute(n, name);
    int rc = 0;

    if (!s)
        return 1;
    if (!xlx__parse_u64(s, max, value_r))
        rc = xlx__error(ERROR_INVAL, "line %ld: %s: %s=\"%s\": not a number "
                        "up to %llu", xmlGetLineNo(n), (const char *)n->name,
                        name, s, (unsigned long long)max);
    xmlFree(s);
    return rc;
}

int xlx__xml_need_number(const xmlNode *n, const char *name, uint64_t max,
                       uint64_t *value_r)
{
    int rc = xlx__xml_number(n, name, max, value_r);

    if (rc == 1)
        return xlx__error(ERROR_INVAL, "line %ld: %s: it has no %s",
                          xmlGetLineNo(n), (const char *)n->name, name);
    return rc;
}

#endif

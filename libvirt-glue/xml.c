/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libxml2, for the processes that answer.
 */
#include <stdlib.h>
#include <string.h>

#include "xml.h"

static void ignore(void *user, const char *fmt, ...)
{
    (void)user;
    (void)fmt;
}

static const char *message_of(const xmlError *e)
{
    static char line[300];

    line[0] = '\0';
    strncat(line, e && e->message ? e->message : "it is not well-formed",
            sizeof(line) - 1);
    line[strcspn(line, "\n")] = '\0';
    return line;
}

xmlDoc *lv_xml_parse(struct lv_worker *w, const char *name, const char *text,
                     const char *root, enum lv_from from)
{
    const xmlError *e;
    xmlNode *top;
    xmlDoc *doc;

    xmlSetGenericErrorFunc(NULL, ignore);
    doc = xmlReadMemory(text, (int)strlen(text), NULL, NULL,
                        XML_PARSE_NONET | XML_PARSE_NOERROR |
                        XML_PARSE_NOWARNING);
    if (!doc) {
        e = xmlGetLastError();
        lv_fail(w, LV_XML_DETAIL, from, "%s:%d: %s", name, e ? e->line : 1,
                message_of(e));
        return NULL;
    }
    top = xmlDocGetRootElement(doc);
    if (doc->intSubset)
        lv_fail(w, LV_XML_ERROR, from, "%s: a document type is not allowed",
                name);
    else if (!lv_xml_is(top, root))
        lv_fail(w, LV_XML_ERROR, from, "unexpected root element <%.60s>, "
                "expecting <%s>", top ? (const char *)top->name : "", root);
    else
        return doc;
    xmlFreeDoc(doc);
    return NULL;
}

bool lv_xml_is(const xmlNode *n, const char *tag)
{
    return n && n->type == XML_ELEMENT_NODE &&
           (!tag || !strcmp((const char *)n->name, tag));
}

static xmlNode *first(xmlNode *n, const char *tag)
{
    while (n && !lv_xml_is(n, tag))
        n = n->next;
    return n;
}

xmlNode *lv_xml_child(const xmlNode *n, const char *tag)
{
    return n ? first(n->children, tag) : NULL;
}

xmlNode *lv_xml_next(const xmlNode *n, const char *tag)
{
    return first(n->next, tag);
}

static char *copy(xmlChar *text)
{
    char *s = text ? strdup((const char *)text) : NULL;

    xmlFree(text);
    return s;
}

char *lv_xml_attribute(const xmlNode *n, const char *name)
{
    return n ? copy(xmlGetProp(n, (const xmlChar *)name)) : NULL;
}

char *lv_xml_text(const xmlNode *n)
{
    return n ? copy(xmlNodeGetContent(n)) : NULL;
}

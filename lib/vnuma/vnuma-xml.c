/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * XML for the vnuma files that read it; see vnuma-xml.h.  Nothing outside the
 * text is loaded, and libxml2 bounds how deep it goes.
 *
 * libxml2 is not linked but opened when there is XML to read: it brings ICU
 * and the C++ library with it, which would be half of the time and memory that
 * each command needs to start, and hardly any of them ever reads XML.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "vnuma/vnuma-xml.h"

#ifdef HAVE_LIBXML2

#define XML_BYTES (64u << 20)

/* The part of it that we use. */
static struct {
    __typeof__(xmlReadMemory) *read_memory;
    __typeof__(xmlDocGetRootElement) *root_element;
    __typeof__(xmlFreeDoc) *free_doc;
    __typeof__(xmlGetLastError) *last_error;
    __typeof__(xmlGetLineNo) *line_number;
    __typeof__(xmlGetNoNsProp) *attribute;
    __typeof__(xmlNodeGetContent) *content;
    xmlFreeFunc *free;              /* a variable of libxml2 */
    char why[256];                  /* not "": it cannot be used */
} xml;

/* POSIX has an object pointer stand for a function here. */
static void find(void *library, const char *name, void *pointer)
{
    void *symbol = dlsym(library, name);

    if (!symbol && !*xml.why)
        snprintf(xml.why, sizeof(xml.why), "%s", dlerror());
    memcpy(pointer, &symbol, sizeof(symbol));
}

static void load(void)
{
    void *library = dlopen(LIBXML2_FILE, RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        snprintf(xml.why, sizeof(xml.why), "%s", dlerror());
        return;
    }
    find(library, "xmlReadMemory", &xml.read_memory);
    find(library, "xmlDocGetRootElement", &xml.root_element);
    find(library, "xmlFreeDoc", &xml.free_doc);
    find(library, "xmlGetLastError", &xml.last_error);
    find(library, "xmlGetLineNo", &xml.line_number);
    find(library, "xmlGetNoNsProp", &xml.attribute);
    find(library, "xmlNodeGetContent", &xml.content);
    find(library, "xmlFree", &xml.free);
}

int xlx__xml_parse(const char *name, const char *text, xmlDoc **doc_r,
                   xmlNode **root_r)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    size_t len = strlen(text);
    const xmlError *e;
    xmlDoc *doc;

    if (len > XML_BYTES)
        return xlx__error(ERROR_INVAL, "%s: more than %u bytes", name,
                          XML_BYTES);
    pthread_once(&once, load);
    if (*xml.why)
        return xlx__error(ERROR_NI, "%s: it is XML, and libxml2 cannot be "
                          "used: %s", name, xml.why);
    doc = xml.read_memory(text, (int)len, "", NULL, XML_PARSE_NONET |
                          XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    *root_r = doc ? xml.root_element(doc) : NULL;
    if (*root_r) {
        *doc_r = doc;
        return 0;
    }
    if (doc)
        xml.free_doc(doc);
    e = xml.last_error();
    return xlx__error(ERROR_INVAL, "%s: line %d: %.*s", name, e ? e->line : 0,
                      e && e->message ? (int)strcspn(e->message, "\n") : 11,
                      e && e->message ? e->message : "no XML here");
}

void xlx__xml_close(xmlDoc *doc)
{
    xml.free_doc(doc);
}

long xlx__xml_line(const xmlNode *n)
{
    return xml.line_number(n);
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
    return (char *)xml.attribute(n, (const xmlChar *)name);
}

char *xlx__xml_content(const xmlNode *n)
{
    return (char *)xml.content(n);
}

void xlx__xml_free(char *text)
{
    if (text)
        (*xml.free)(text);
}

bool xlx__xml_attribute_is(const xmlNode *n, const char *name,
                         const char *value)
{
    char *s = xlx__xml_attribute(n, name);
    bool same = s && !strcmp(s, value);

    xlx__xml_free(s);
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
                        "up to %llu", xlx__xml_line(n), (const char *)n->name,
                        name, s, (unsigned long long)max);
    xlx__xml_free(s);
    return rc;
}

int xlx__xml_need_number(const xmlNode *n, const char *name, uint64_t max,
                       uint64_t *value_r)
{
    int rc = xlx__xml_number(n, name, max, value_r);

    if (rc == 1)
        return xlx__error(ERROR_INVAL, "line %ld: %s: it has no %s",
                          xlx__xml_line(n), (const char *)n->name, name);
    return rc;
}

#endif

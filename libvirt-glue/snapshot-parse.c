/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * <domainsnapshot>, as a client sends it: all that it asks for, and what we
 * cannot do is refused by name and never left out silently.
 */
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"
#include "xml.h"

#define MAX_NAME 200                    /* of libxlx's */
#define NAME "(domain_snapshot)"

void lv_wanted_free(struct lv_wanted *wanted)
{
    int i;

    for (i = 0; i < wanted->num_disks; i++)
        free(wanted->disks[i].name);
    free(wanted->disks);
    free(wanted->name);
    free(wanted->description);
    *wanted = (struct lv_wanted){ 0 };
}

/* Schemas are libvirt's files; here it is known elements. */
static int validate(struct lv_worker *w, const xmlNode *root)
{
    static const char *const known[] = {
        "name", "description", "state", "parent", "creationTime", "memory",
        "disks", "domain", "inactiveDomain", "cookie", "active",
    };
    const xmlNode *n;
    unsigned int i;

    for (n = lv_xml_child(root, NULL); n; n = lv_xml_next(n, NULL)) {
        for (i = 0; i < sizeof(known) / sizeof(*known); i++)
            if (lv_xml_is(n, known[i]))
                break;
        if (i == sizeof(known) / sizeof(*known))
            return lv_fail(w, LV_XML_INVALID_SCHEMA, LV_FROM_SNAPSHOT,
                           "Extra element %.60s in interleave", n->name);
    }
    return 0;
}

static int check_name(struct lv_worker *w, const char *name)
{
    const char *why = NULL;

    if (strchr(name, '/'))
        why = "name can't contain '/'";
    else if (*name == '.')
        why = "name can't start with '.'";
    else if (*name == '-')
        why = "name can't start with '-'";
    else if (!*name)
        why = "name can't be empty";
    else if (strlen(name) > MAX_NAME)
        why = "name can't be longer than 200 bytes";
    else if (strpbrk(name, "\n\r\t"))
        why = "name can't have line breaks or tabs";
    if (!why)
        return 0;
    return lv_fail(w, LV_XML_ERROR, LV_FROM_SNAPSHOT, "invalid snapshot name "
                   "'%.220s': %s", name, why);
}

static int parse_memory(struct lv_worker *w, const xmlNode *n,
                        struct lv_wanted *wanted)
{
    char *location, *file;
    int r = 0;

    if (!n)
        return 0;
    location = lv_xml_attribute(n, "snapshot");
    file = lv_xml_attribute(n, "file");
    wanted->no_memory = location && !strcmp(location, "no");
    wanted->memory = !wanted->no_memory;
    if (file && *file != '/')
        r = lv_fail(w, LV_XML_ERROR, LV_FROM_SNAPSHOT, "memory snapshot file "
                    "path (%.200s) must be absolute", file);
    else if (file && wanted->no_memory)
        r = lv_fail(w, LV_XML_ERROR, LV_FROM_SNAPSHOT, "memory filename "
                    "'%.200s' requires external snapshot", file);
    free(location);
    free(file);
    return r;
}

static int parse_location(struct lv_worker *w, const char *text,
                          enum lv_location *location_r)
{
    if (!text || !strcmp(text, "default"))
        *location_r = LV_DEFAULT;
    else if (!strcmp(text, "no"))
        *location_r = LV_NONE;
    else if (!strcmp(text, "internal"))
        *location_r = LV_INTERNAL_DISK;
    else if (!strcmp(text, "external"))
        *location_r = LV_EXTERNAL_DISK;
    else if (!strcmp(text, "manual"))
        return lv_fail(w, LV_CONFIG_UNSUPPORTED, LV_FROM_SNAPSHOT, "%s",
                       "snapshot='manual' of a disk is not supported: use "
                       "'no'");
    else
        return lv_fail(w, LV_XML_ERROR, LV_FROM_SNAPSHOT, "Invalid value for "
                       "attribute 'snapshot' in element 'disk': '%.60s'",
                       text);
    return 0;
}

static int parse_disk(struct lv_worker *w, const xmlNode *n,
                      struct lv_wanted_disk *d)
{
    char *location = lv_xml_attribute(n, "snapshot");
    int r;

    d->name = lv_xml_attribute(n, "name");
    d->has_source = lv_xml_child(n, "source") != NULL;
    r = parse_location(w, location, &d->location);
    if (!r && (!d->name || !*d->name))
        r = lv_fail(w, LV_XML_ERROR, LV_FROM_SNAPSHOT, "%s",
                    "Missing required attribute 'name' in element 'disk'");
    free(location);
    return r;
}

static int parse_disks(struct lv_worker *w, const xmlNode *disks,
                       struct lv_wanted *wanted)
{
    const xmlNode *n;
    int num = 0, i, r = 0;

    for (n = lv_xml_child(disks, "disk"); n; n = lv_xml_next(n, "disk"))
        num++;
    wanted->disks = calloc((size_t)num + 1, sizeof(*wanted->disks));
    if (!wanted->disks)
        return lv_no_memory(w);
    for (n = lv_xml_child(disks, "disk"); n && !r;
         n = lv_xml_next(n, "disk")) {
        r = parse_disk(w, n, &wanted->disks[wanted->num_disks]);
        for (i = 0; !r && i < wanted->num_disks; i++)
            if (!strcmp(wanted->disks[i].name,
                        wanted->disks[wanted->num_disks].name))
                r = lv_fail(w, LV_XML_ERROR, LV_FROM_SNAPSHOT, "disk '%.100s' "
                            "specified twice", wanted->disks[i].name);
        wanted->num_disks++;
    }
    return r;
}

static void parse_uuid(const xmlNode *domain, struct lv_wanted *wanted)
{
    char *text = lv_xml_text(lv_xml_child(domain, "uuid"));
    libxl_uuid uuid;

    if (text && !libxl_uuid_from_string(&uuid, text)) {
        memcpy(wanted->uuid, &uuid, sizeof(wanted->uuid));
        wanted->has_uuid = true;
    }
    free(text);
}

int lv_parse_snapshot(struct lv_worker *w, const char *text, bool validated,
                      struct lv_wanted *wanted)
{
    xmlNode *root, *name;
    xmlDoc *doc;
    int r;

    *wanted = (struct lv_wanted){ 0 };
    doc = lv_xml_parse(w, NAME, text, "domainsnapshot", LV_FROM_SNAPSHOT);
    if (!doc)
        return -1;
    root = xmlDocGetRootElement(doc);
    name = lv_xml_child(root, "name");
    wanted->name = lv_xml_text(name);
    wanted->description = lv_xml_text(lv_xml_child(root, "description"));
    parse_uuid(lv_xml_child(root, "domain"), wanted);
    r = validated ? validate(w, root) : 0;
    if (!r && name)
        r = wanted->name ? check_name(w, wanted->name) : lv_no_memory(w);
    if (!r)
        r = parse_memory(w, lv_xml_child(root, "memory"), wanted);
    if (!r)
        r = parse_disks(w, lv_xml_child(root, "disks"), wanted);
    xmlFreeDoc(doc);
    if (r)
        lv_wanted_free(wanted);
    return r;
}

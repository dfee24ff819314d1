/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * virsh save-image-dumpxml, -define and -edit: the definition in a file that
 * libvirt's driver for Xen has saved a guest to.  A header, the definition
 * with a NUL byte, and libxl's stream, which is not looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest.h"
#include "xml.h"

#define MAGIC "libvirt-xml\n \0 \r"
#define IMAGE_VERSION 2u
#define MAX_XML (4u << 20)              /* of a string of the protocol */
#define SECURE 1u

struct head {                           /* in the byte order of the host */
    char magic[sizeof(MAGIC) - 1];
    uint32_t version, xml_len;
    uint32_t unused[10];
};

static int system_error(struct lv_worker *w, const char *what,
                        const char *path)
{
    int errnoval = errno;

    return lv_fail(w, LV_SYSTEM_ERROR, LV_FROM_LIBXL, "%s '%.300s': %s", what,
                   path, strerror(errnoval));
}

/* From where fd is; bytes, -1 with errno. */
static ssize_t read_all(int fd, void *data, size_t len)
{
    size_t done = 0;
    ssize_t r;

    while (done < len) {
        r = read(fd, (char *)data + done, len - done);
        if (r < 0 && errno != EINTR)
            return -1;
        if (r == 0)
            break;
        done += r > 0 ? (size_t)r : 0;
    }
    return (ssize_t)done;
}

static int write_all(int fd, const void *data, size_t len)
{
    size_t done = 0;
    ssize_t r;

    while (done < len) {
        r = write(fd, (const char *)data + done, len - done);
        if (r < 0 && errno != EINTR)
            return -1;
        done += r > 0 ? (size_t)r : 0;
    }
    return 0;
}

/* A FIFO would keep us waiting. */
static int open_image(struct lv_worker *w, const char *path, int *fd_r)
{
    struct stat st;

    if (*path != '/')
        return lv_fail(w, LV_INVALID_ARG, LV_FROM_LIBXL, "file '%.300s' must "
                       "be an absolute path", path);
    *fd_r = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd_r < 0)
        return system_error(w, "Failed to open domain image file", path);
    if (!fstat(*fd_r, &st) && S_ISREG(st.st_mode))
        return 0;
    close(*fd_r);
    return lv_fail(w, LV_OPERATION_FAILED, LV_FROM_LIBXL, "'%.300s' is not a "
                   "file", path);
}

/* With libvirt's own words; the stream comes next.  *xml_r is malloc()ed. */
static int read_head(struct lv_worker *w, int fd, struct head *head,
                     char **xml_r)
{
    const char *why = NULL;
    char *xml;

    if (read_all(fd, head, sizeof(*head)) != sizeof(*head))
        why = "failed to read libxl header";
    else if (memcmp(head->magic, MAGIC, sizeof(head->magic)))
        return lv_fail(w, LV_INVALID_ARG, LV_FROM_LIBXL, "%s",
                       "image magic is incorrect");
    else if (head->version > IMAGE_VERSION)
        return lv_fail(w, LV_OPERATION_FAILED, LV_FROM_LIBXL, "image version "
                       "is not supported (%u > %u)", head->version,
                       IMAGE_VERSION);
    else if (!head->xml_len || head->xml_len > MAX_XML)
        return lv_fail(w, LV_OPERATION_FAILED, LV_FROM_LIBXL, "invalid XML "
                       "length: %d", (int)head->xml_len);
    if (why)
        return lv_fail(w, LV_OPERATION_FAILED, LV_FROM_LIBXL, "%s", why);
    xml = malloc((size_t)head->xml_len + 1);
    if (!xml)
        return lv_no_memory(w);
    if (read_all(fd, xml, head->xml_len) != (ssize_t)head->xml_len) {
        free(xml);
        return lv_fail(w, LV_OPERATION_FAILED, LV_FROM_LIBXL, "%s",
                       "failed to read XML");
    }
    xml[head->xml_len] = '\0';
    *xml_r = xml;
    return 0;
}

int lv_image_definition(struct lv_worker *w, const char *file, char **xml_r)
{
    struct head head;
    int fd, r;

    if (open_image(w, file, &fd))
        return -1;
    r = read_head(w, fd, &head, xml_r);
    close(fd);
    return r;
}

/* ---- dumpxml ------------------------------------------------------------ */

static void drop_passwords(xmlNode *n)
{
    for (n = lv_xml_child(n, NULL); n; n = lv_xml_next(n, NULL)) {
        if (lv_xml_is(n, "graphics"))
            xmlUnsetProp(n, (const xmlChar *)"passwd");
        drop_passwords(n);
    }
}

static int without_passwords(struct lv_worker *w, char **xml)
{
    xmlBuffer *text = xmlBufferCreate();
    xmlDoc *doc;
    int r = -1;

    doc = lv_xml_parse(w, "(domain_definition)", *xml, "domain",
                       LV_FROM_DOMAIN);
    if (doc && text) {
        drop_passwords(xmlDocGetRootElement(doc));
        xmlNodeDump(text, doc, xmlDocGetRootElement(doc), 0, 0);
        free(*xml);
        if (asprintf(xml, "%s\n", (const char *)xmlBufferContent(text)) < 0)
            *xml = NULL;
        r = *xml ? 0 : lv_no_memory(w);
    }
    xmlFreeDoc(doc);
    xmlBufferFree(text);
    return r;
}

int lv_answer_domain_save_image_get_xml_desc(
    struct lv_worker *w,
    const struct lv_domain_save_image_get_xml_desc_args *args,
    struct lv_domain_save_image_get_xml_desc_ret *ret)
{
    struct head head;
    int fd, r;

    if (lv_check_flags(w, args->flags, SECURE) ||
        open_image(w, args->file, &fd))
        return -1;
    r = read_head(w, fd, &head, &ret->xml);
    if (!r && !(args->flags & SECURE))
        r = without_passwords(w, &ret->xml);
    close(fd);
    return r;
}

/* ---- define ------------------------------------------------------------- */

static char *text_of(const xmlDoc *doc, const char *tag)
{
    return lv_xml_text(lv_xml_child(xmlDocGetRootElement(doc), tag));
}

static bool same_text(const xmlDoc *a, const xmlDoc *b, const char *tag)
{
    char *x = text_of(a, tag), *y = text_of(b, tag);
    bool same = x && y && !strcmp(x, y);

    free(x);
    free(y);
    return same;
}

/* The memory in the image is that guest's. */
static int check_same_guest(struct lv_worker *w, const char *old,
                            const char *new)
{
    xmlDoc *a, *b = NULL;
    int r = -1;

    a = lv_xml_parse(w, "(domain_definition)", old, "domain", LV_FROM_DOMAIN);
    if (a)
        b = lv_xml_parse(w, "(domain_definition)", new, "domain",
                         LV_FROM_DOMAIN);
    if (a && b)
        r = same_text(a, b, "uuid") && same_text(a, b, "name") ? 0
            : lv_fail(w, LV_CONFIG_UNSUPPORTED, LV_FROM_DOMAIN, "%s", "the "
                      "definition must have the name and the uuid of the "
                      "saved guest");
    xmlFreeDoc(a);
    xmlFreeDoc(b);
    return r;
}

/* From where each is to the end of the first. */
static int copy_rest(int from, int to)
{
    static char piece[1 << 20];
    ssize_t len;

    while ((len = read_all(from, piece, sizeof(piece))) > 0)
        if (write_all(to, piece, (size_t)len))
            return -1;
    return (int)len;
}

static int write_image(int from, int to, const struct head *head,
                       const char *xml)
{
    struct stat st;

    if (fstat(from, &st) || fchown(to, st.st_uid, st.st_gid) ||
        fchmod(to, st.st_mode & 07777))
        return -1;
    if (write_all(to, head, sizeof(*head)) ||
        write_all(to, xml, head->xml_len) || copy_rest(from, to))
        return -1;
    return fsync(to);
}

/* A new file takes the place of the old one when it is whole: a crash, or a
 * disk that is full, leaves the old one. */
static int replace(struct lv_worker *w, const char *file, int from,
                   struct head *head, const char *xml)
{
    char *path = realpath(file, NULL), *temporary;
    int to, r;

    if (!path)
        return system_error(w, "cannot find", file);
    if (asprintf(&temporary, "%s.xlx-XXXXXX", path) < 0) {
        free(path);
        return lv_no_memory(w);
    }
    head->xml_len = (uint32_t)strlen(xml) + 1;
    to = mkostemp(temporary, O_CLOEXEC);
    r = to < 0 ? -1 : write_image(from, to, head, xml);
    if (!r)
        r = rename(temporary, path);
    if (r) {
        system_error(w, "cannot write a new", path);
        if (to >= 0)
            unlink(temporary);
    }
    if (to >= 0)
        close(to);
    free(temporary);
    free(path);
    return r;
}

int lv_answer_domain_save_image_define_xml(
    struct lv_worker *w,
    const struct lv_domain_save_image_define_xml_args *args)
{
    struct head head;
    char *old = NULL;
    int fd, r;

    if (lv_check_flags(w, args->flags, 0) || open_image(w, args->file, &fd))
        return -1;
    r = read_head(w, fd, &head, &old);
    if (!r)
        r = check_same_guest(w, old, args->xml);
    if (!r && strcmp(old, args->xml))
        r = replace(w, args->file, fd, &head, args->xml);
    free(old);
    close(fd);
    return r;
}

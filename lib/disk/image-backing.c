/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The name by which a qcow2 file knows the image below it.  QEMU reads many
 * spellings there; a name is understood exactly as QEMU does it (block.c:
 * path_has_protocol, bdrv_get_full_backing_filename), or refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/image-qcow2.h"

#define MAX_BACKING 1023                /* bytes, QEMU's own limit */
#define MAX_EXTENSIONS 64
#define EXTENSION_END 0
#define EXTENSION_BACKING_FORMAT 0xe2792acau
#define EXTENSION_DATA_FILE 0x44415441u
#define MAX_FORMAT 31

static const struct xlx__json_limits limits = { MAX_BACKING + 1, 8 };

static int refuse(const char *path, const char *name, const char *why)
{
    return xlx__error(ERROR_INVAL, "%s: names \"%s\" as another file of its, "
                      "which %s: give it a plain path (qemu-img rebase -u, "
                      "qemu-img amend)", path, name, why);
}

/* The value of "KEY" in an object, or of "PREFIX.KEY" one level up: QEMU
 * takes both for the same. */
static const struct xlx__json *member(const struct xlx__json *obj,
                                      const char *prefix, const char *key)
{
    const struct xlx__json *in = xlx__json_member(obj, prefix);
    char flat[64];
    const struct xlx__json *v = NULL;

    if (in && xlx__json_kind(in) == XLX__JSON_OBJECT)
        v = xlx__json_member(in, key);
    snprintf(flat, sizeof(flat), "%s.%s", prefix, key);
    return v ? v : xlx__json_member(obj, flat);
}

static bool is_known(const char *key)
{
    static const char *const known[] = {
        "driver", "file", "filename", "file.driver", "file.filename",
    };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(known); i++)
        if (!strcmp(key, known[i]))
            return true;
    return false;
}

static bool only_known(const struct xlx__json *obj, int depth)
{
    const struct xlx__json *v;

    for (v = xlx__json_first(obj); v; v = xlx__json_next(v))
        if (!is_known(xlx__json_key(v)) ||
            (xlx__json_kind(v) == XLX__JSON_OBJECT
                 ? depth > 0 || !only_known(v, depth + 1)
                 : xlx__json_kind(v) != XLX__JSON_STRING))
            return false;
    return true;
}

static bool is_string(const struct xlx__json *v, const char *wanted)
{
    const char *s;

    return v && !xlx__json_string(v, &s) && !strcmp(s, wanted);
}

/* json:{"driver": FORMAT, "file": {"driver": "file", "filename": PATH}}, also
 * without the format, and flat.  Anything more may mean something else than
 * the plain file. */
static int from_json(const char *path, const char *name, char **file_r)
{
    const struct xlx__json *root, *driver, *file;
    struct xlx__json_doc *doc;
    const char *text;
    int rc;

    rc = xlx__json_parse("json:", name + 5, strlen(name) - 5, &limits, &doc);
    if (rc) {
        xlx__error_clear();
        return refuse(path, name, "cannot be read");
    }
    root = xlx__json_root(doc);
    driver = member(root, "file", "driver");
    file = member(root, "file", "filename");
    if (!file && (is_string(xlx__json_member(root, "driver"), "file") ||
                  is_string(xlx__json_member(root, "driver"),
                            "host_device"))) {
        driver = xlx__json_member(root, "driver");
        file = xlx__json_member(root, "filename");
    }
    if (xlx__json_kind(root) != XLX__JSON_OBJECT || !only_known(root, 0) ||
        !file || xlx__json_string(file, &text) ||
        (driver && !is_string(driver, "file") &&
         !is_string(driver, "host_device"))) {
        xlx__error_clear();
        rc = refuse(path, name, "is more than the name of a file");
    } else if (*text != '/') {
        rc = refuse(path, name, "is relative to the directory in which QEMU "
                    "is started");
    } else {
        *file_r = strdup(text);
        rc = *file_r ? 0 : xlx__nomem();
    }
    xlx__json_free(doc);
    return rc;
}

int xlx__image_backing_name(const char *path, const char *name,
                            char **file_r)
{
    static const char *const files[] = { "file:", "host_device:" };
    const char *slash;
    size_t i, len;

    if (!strncmp(name, "json:", 5))
        return from_json(path, name, file_r);
    for (i = 0; i < XLX__ARRAY_SIZE(files); i++) {
        len = strlen(files[i]);
        if (strncmp(name, files[i], len))
            continue;
        if (name[len] != '/')
            return refuse(path, name, "is relative to the directory in which "
                          "QEMU is started");
        *file_r = strdup(name + len);
        return *file_r ? 0 : xlx__nomem();
    }
    /* QEMU: a colon before the first slash ends the name of a protocol */
    if (name[strcspn(name, ":/")] == ':')
        return refuse(path, name, "is not a file of this host");
    slash = strrchr(path, '/');
    *file_r = *name == '/' || !slash
        ? strdup(name)
        : xlx__printf("%.*s/%s", (int)(slash - path), path, name);
    return *file_r ? 0 : xlx__nomem();
}

static int read_name(int fd, const struct xlx__qcow2_header *h,
                     const char *path, char **backing_r)
{
    uint32_t len = be32toh(h->backing_size);
    char name[MAX_BACKING + 1];

    if (!h->backing_offset || !len)
        return 0;
    if (len > MAX_BACKING ||
        !xlx__qcow2_read(fd, name, len, be64toh(h->backing_offset)))
        return xlx__error(ERROR_INVAL, "%s: the name of its backing file "
                          "cannot be read", path);
    name[len] = 0;
    return xlx__image_backing_name(path, name, backing_r);
}

/* Extensions follow the header: a type, a length, and so many bytes, rounded
 * up to eight.  *text_r stays NULL when there is none of that type. */
static int read_extension(int fd, const struct xlx__qcow2_header *h,
                          uint32_t type, uint32_t max, char **text_r)
{
    uint64_t at = XLX__QCOW2_V2_SIZE;
    char text[MAX_BACKING + 1];
    uint32_t head[2], len;
    int i;

    if (be32toh(h->version) > 2 && be32toh(h->header_size) >= sizeof(*h))
        at = be32toh(h->header_size);
    for (i = 0; i < MAX_EXTENSIONS; i++) {
        if (!xlx__qcow2_read(fd, head, sizeof(head), at) ||
            be32toh(head[0]) == EXTENSION_END)
            return 0;
        at += sizeof(head);
        len = be32toh(head[1]);
        if (be32toh(head[0]) == type) {
            if (len > max || !xlx__qcow2_read(fd, text, len, at))
                return 0;
            text[len] = 0;
            return xlx__set_string(text_r, text);
        }
        at += ((uint64_t)len + 7) & ~(uint64_t)7;
    }
    return 0;
}

int xlx__image_below(const char *path, const char *format, char **below_r,
                     char **format_r)
{
    char *below = NULL, *its_format = NULL;
    struct xlx__qcow2_header h;
    int fd, rc;

    *below_r = *format_r = NULL;
    if (strcmp(format, "qcow2"))
        return 0;
    rc = xlx__qcow2_open(path, &h, &fd);
    if (rc || fd < 0) return rc;
    rc = read_name(fd, &h, path, &below);
    if (!rc && below)
        rc = read_extension(fd, &h, EXTENSION_BACKING_FORMAT, MAX_FORMAT,
                            &its_format);
    close(fd);
    if (rc) {
        free(below);
        free(its_format);
        return rc;
    }
    *below_r = below;
    *format_r = its_format;
    return 0;
}

int xlx__image_backing(const char *path, char **backing_r)
{
    char *format;
    int rc;

    rc = xlx__image_below(path, "qcow2", backing_r, &format);
    if (rc) return rc;
    free(format);
    return 0;
}

int xlx__image_data_file(const char *path, const char *format, char **file_r)
{
    struct xlx__qcow2_header h;
    char *name = NULL;
    int fd, rc;

    *file_r = NULL;
    if (strcmp(format, "qcow2"))
        return 0;
    rc = xlx__qcow2_open(path, &h, &fd);
    if (rc || fd < 0) return rc;
    rc = 0;
    if (be64toh(h.incompatible) & XLX__QCOW2_DATA_FILE) {
        rc = read_extension(fd, &h, EXTENSION_DATA_FILE, MAX_BACKING, &name);
        if (!rc && !name)
            rc = xlx__error(ERROR_INVAL, "%s: the name of its data file "
                            "cannot be read", path);
    }
    if (rc) goto out;
    if (name)
        rc = xlx__image_backing_name(path, name, file_r);

 out:
    free(name);
    close(fd);
    return rc;
}

int xlx__image_chain(const char *path, const char *format, int *num_r)
{
    struct stat seen[XLX__IMAGE_MAX_CHAIN];
    char *at = strdup(path), *its = strdup(format), *below = NULL, *next;
    int i, num, rc = 0;

    for (num = 0; at && its; num++) {
        /* one that is missing is QEMU's to refuse */
        if (num == XLX__IMAGE_MAX_CHAIN || stat(at, &seen[num]))
            break;
        for (i = 0; i < num; i++)
            if (seen[i].st_dev == seen[num].st_dev &&
                seen[i].st_ino == seen[num].st_ino) {
                rc = xlx__error(ERROR_INVAL, "%s: its chain of images comes "
                                "back to %s", path, at);
                goto out;
            }
        rc = xlx__image_below(at, its, &below, &next);
        if (rc) goto out;
        free(at);
        free(its);
        at = below;
        /* without a word in the header QEMU also looks */
        its = next ? next : below ? strdup("qcow2") : NULL;
    }
    *num_r = num;
    if (num == XLX__IMAGE_MAX_CHAIN)
        rc = xlx__error(ERROR_INVAL, "%s: over %d images in its chain", path,
                        num - 1);

 out:
    free(at);
    free(its);
    return rc;
}

int xlx__image_missing(const char *path, const char *format,
                       char **missing_r)
{
    char *at = strdup(path), *its = strdup(format), *below, *next;
    struct stat st;
    int i, rc = at && its ? 0 : xlx__nomem();

    *missing_r = NULL;
    for (i = 0; !rc && at && i < XLX__IMAGE_MAX_CHAIN; i++) {
        if (stat(at, &st)) {
            *missing_r = at;
            at = NULL;
            break;
        }
        rc = xlx__image_below(at, its, &below, &next);
        if (rc) break;
        free(at);
        free(its);
        at = below;
        its = next ? next : strdup("qcow2");
        if (!its)
            rc = xlx__nomem();
    }
    free(at);
    free(its);
    return rc;
}

bool xlx__image_leads_to(const char *path, const char *format,
                         const char *to)
{
    char *at = strdup(path), *its = strdup(format), *below, *next;
    bool found = false;
    int i;

    for (i = 0; at && its && !found && i < XLX__IMAGE_MAX_CHAIN; i++) {
        found = xlx__image_same(at, to);
        if (found || xlx__image_below(at, its, &below, &next)) {
            xlx__error_clear();
            break;
        }
        free(at);
        free(its);
        at = below;
        its = next ? next : below ? strdup("qcow2") : NULL;
    }
    free(at);
    free(its);
    return found;
}

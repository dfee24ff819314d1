/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names of images as QEMU reads them in a header (its block.c:
 * path_has_protocol, bdrv_get_full_backing_filename, parse_json_filename, and
 * the bdrv_parse_filename functions of its drivers).  We never open what such
 * a name points to: somebody else may have written it.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/image-name.h"
#include "disk/image-qcow2.h"

#define MAX_NAME 1023               /* bytes, QEMU's own limit */
#define MAX_DEPTH 32
#define MAX_REFS 64
#define MAX_EXTENSIONS 64
#define EXTENSION_END 0
#define EXTENSION_DATA_FILE 0x44415441u
#define EXTENSION_BITMAPS 0x23852875u

void xlx__image_refs_dispose(struct xlx__image_refs *refs)
{
    int i;

    for (i = 0; i < refs->num; i++)
        free(refs->list[i].path);
    free(refs->list);
    memset(refs, 0, sizeof(*refs));
}

/* Takes over path. */
static int add(struct xlx__image_refs *refs, enum xlx__image_ref_kind kind,
               char *path, bool data)
{
    struct xlx__image_ref *more;

    if (!path)
        return xlx__nomem();
    if (refs->num == MAX_REFS) {
        free(path);
        return xlx__error(ERROR_INVAL, "a header names more than %d files",
                          MAX_REFS);
    }
    more = realloc(refs->list, (refs->num + 1) * sizeof(*more));
    if (!more) {
        free(path);
        return xlx__nomem();
    }
    refs->list = more;
    more += refs->num++;
    more->kind = kind;
    more->path = path;
    more->data = data;
    return 0;
}

/* QEMU opens it as it is: from its own directory when it is relative. */
static int add_literal(struct xlx__image_refs *refs, const char *path,
                       bool data)
{
    return add(refs, *path == '/' ? XLX__REF_FILE : XLX__REF_LOOSE,
               strdup(path), data);
}

/* ---- json:{...} --------------------------------------------------------- */

/* "filename", and "file.filename" of options that are written flat */
static bool is_filename(const char *key)
{
    const char *dot = strrchr(key, '.');

    return !strcmp(dot ? dot + 1 : key, "filename");
}

static int walk(const struct xlx__json *v, bool data,
                struct xlx__image_refs *refs)
{
    const char *key, *text;
    int rc = 0;

    for (v = xlx__json_first(v); v && !rc; v = xlx__json_next(v)) {
        switch (xlx__json_kind(v)) {
        case XLX__JSON_OBJECT:
        case XLX__JSON_ARRAY:
            rc = walk(v, data, refs);
            break;
        case XLX__JSON_STRING:
            key = xlx__json_key(v);
            if (!key || !is_filename(key))
                break;
            rc = xlx__json_string(v, &text);
            if (rc) return rc;
            rc = add_literal(refs, text, data);
            /* some drivers take a prefix off here as well */
            if (!rc && strchr(text, ':'))
                rc = xlx__image_name_read(NULL, text, data, refs);
            break;
        default:
            break;
        }
    }
    return rc;
}

static int read_json(const char *name, bool data,
                     struct xlx__image_refs *refs)
{
    const struct xlx__json_limits limits = { 4096, MAX_DEPTH };
    const char *text = name + strlen("json:");
    struct xlx__json_doc *doc = NULL;
    int rc;

    rc = xlx__json_parse("a name", text, strlen(text), &limits, &doc);
    if (rc == ERROR_NOMEM) return rc;
    if (rc) {
        /* QEMU's own parser takes more than RFC 8259, such as 'x' */
        xlx__error_clear();
        return add(refs, XLX__REF_UNCLEAR, strdup(name), data);
    }
    rc = walk(xlx__json_root(doc), data, refs);
    xlx__json_free(doc);
    return rc;
}

/* ---- PROTOCOL:... ------------------------------------------------------- */

static bool is_protocol(const char *name, const char *protocol)
{
    size_t len = strlen(protocol);

    return !strncmp(name, protocol, len) && name[len] == ':';
}

/* These are not files of this host, whatever follows. */
static bool is_elsewhere(const char *name)
{
    static const char *const protocols[] = {
        "fat", "nbd", "nvme", "null-co", "null-aio", "rbd",
    };
    size_t i;

    if (!strncmp(name + strcspn(name, ":/"), "://", 3) &&
        !is_protocol(name, "file") && !is_protocol(name, "host_device") &&
        !is_protocol(name, "host_cdrom"))
        return true;
    for (i = 0; i < XLX__ARRAY_SIZE(protocols); i++)
        if (is_protocol(name, protocols[i]))
            return true;
    return false;
}

static int read_protocol(const char *name, bool data,
                         struct xlx__image_refs *refs)
{
    static const char *const files[] = { "file", "host_device",
                                         "host_cdrom" };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(files); i++)
        if (is_protocol(name, files[i]))
            return add_literal(refs, name + strlen(files[i]) + 1, data);
    if (is_protocol(name, "json"))
        return read_json(name, data, refs);
    if (is_elsewhere(name))
        return 0;
    return add(refs, XLX__REF_UNCLEAR, strdup(name), data);
}

int xlx__image_name_read(const char *dir, const char *name, bool data,
                         struct xlx__image_refs *refs)
{
    if (name[strcspn(name, ":/")] == ':')
        return read_protocol(name, data, refs);
    if (*name == '/' || !dir)
        return add_literal(refs, name, data);
    return add(refs, XLX__REF_FILE, xlx__printf("%s/%s", dir, name), data);
}

/* ---- the header --------------------------------------------------------- */

static int bad_header(const char *path)
{
    return xlx__error(ERROR_INVAL, "%s: what its header points to cannot be "
                      "read", path);
}

/* The directory of path, for names that are relative to it. */
static char *dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
}

static int add_name(int fd, const char *path, uint64_t offset, uint32_t len,
                    bool data, struct xlx__image_refs *refs)
{
    char name[MAX_NAME + 1], *dir;
    int rc;

    if (!offset || !len)
        return 0;
    if (len > MAX_NAME || !xlx__qcow2_read(fd, name, len, offset))
        return bad_header(path);
    name[len] = 0;
    dir = dir_of(path);
    rc = dir ? xlx__image_name_read(dir, name, data, refs)
             : xlx__nomem();
    free(dir);
    return rc;
}

/* The header extension of that type; *len_r = 0 when there is none. */
static void find_extension(int fd, const struct xlx__qcow2_header *h,
                           uint32_t type, uint64_t *offset_r, uint32_t *len_r)
{
    uint64_t at = XLX__QCOW2_V2_SIZE;
    uint32_t head[2];
    int i;

    *offset_r = *len_r = 0;
    if (be32toh(h->version) > 2 && be32toh(h->header_size) >= sizeof(*h))
        at = be32toh(h->header_size);
    for (i = 0; i < MAX_EXTENSIONS; i++) {
        if (!xlx__qcow2_read(fd, head, sizeof(head), at) ||
            be32toh(head[0]) == EXTENSION_END)
            return;
        at += sizeof(head);
        if (be32toh(head[0]) == type) {
            *offset_r = at;
            *len_r = be32toh(head[1]);
            return;
        }
        at += ((uint64_t)be32toh(head[1]) + 7) & ~(uint64_t)7;
    }
}

int xlx__image_refs(const char *path, struct xlx__image_refs *refs)
{
    struct xlx__qcow2_header h;
    uint64_t offset;
    uint32_t len;
    int fd, rc;

    rc = xlx__qcow2_open(path, &h, &fd);
    if (rc || fd < 0) return rc;
    rc = add_name(fd, path, be64toh(h.backing_offset),
                  be32toh(h.backing_size), false, refs);
    if (!rc) {
        find_extension(fd, &h, EXTENSION_DATA_FILE, &offset, &len);
        rc = add_name(fd, path, offset, len, true, refs);
    }
    close(fd);
    return rc;
}

int xlx__image_bitmaps(const char *path, int *num_r)
{
    struct xlx__qcow2_header h;
    uint64_t offset;
    uint32_t len, num;
    int fd, rc;

    *num_r = 0;
    rc = xlx__qcow2_open(path, &h, &fd);
    if (rc || fd < 0) return rc;
    find_extension(fd, &h, EXTENSION_BITMAPS, &offset, &len);
    if (len >= sizeof(num) && xlx__qcow2_read(fd, &num, sizeof(num), offset))
        *num_r = be32toh(num) > INT_MAX ? INT_MAX : (int)be32toh(num);
    close(fd);
    return 0;
}

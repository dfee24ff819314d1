/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Internal snapshots of qcow2 images: the table in the file itself, and what
 * qemu-img does to it.
 *
 * qemu-img takes "2" for the id of a snapshot before it takes it for a name
 * (-a), or for a name alone (-d), and looks only at the first snapshot of a
 * name.  Hence the id comes from the table, a name that two snapshots bear is
 * refused, and the table is read again after each change: success is what the
 * image shows, not what qemu-img answered.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/child.h"
#include "core/store.h"
#include "disk/image-qcow2.h"

#define LONG_MS (24 * 3600 * 1000)

/* An entry of the snapshot table; the extra data, the id and the name follow,
 * and the next entry at a multiple of eight bytes. */
struct qcow2_tag {
    uint64_t l1_offset;
    uint32_t l1_size;
    uint16_t id_size, name_size;
    uint32_t date_sec, date_nsec;
    uint64_t clock_nsec;
    uint32_t state_size, extra_size;
} __attribute__((packed));

/* QEMU's own limits */
#define MAX_TAGS 65536
#define MAX_TABLE (64u << 20)
#define MAX_EXTRA 1024

/* ---- the table ---------------------------------------------------------- */

static int bad_table(const char *path)
{
    return xlx__error(ERROR_INVAL, "%s: its table of snapshots cannot be "
                      "read", path);
}

static char *read_text(int fd, uint64_t offset, size_t len)
{
    char *s = calloc(1, len + 1);

    if (s && !xlx__qcow2_read(fd, s, len, offset)) {
        free(s);
        s = NULL;
    }
    return s;
}

static int read_tag(int fd, const char *path, uint64_t *offset,
                    struct xlx__image_tag *tag)
{
    struct qcow2_tag t;
    size_t extra, id, name;
    uint64_t at;

    if (!xlx__qcow2_read(fd, &t, sizeof(t), *offset))
        return bad_table(path);
    extra = be32toh(t.extra_size);
    id = be16toh(t.id_size);
    name = be16toh(t.name_size);
    if (extra > MAX_EXTRA)
        return bad_table(path);
    at = *offset + sizeof(t) + extra;
    tag->id = read_text(fd, at, id);
    tag->name = read_text(fd, at + id, name);
    if (!tag->id || !tag->name)
        return bad_table(path);
    tag->time = be32toh(t.date_sec);
    tag->nsec = be32toh(t.date_nsec);
    tag->l1_offset = be64toh(t.l1_offset);
    tag->l1_size = be32toh(t.l1_size);
    *offset = (at + id + name + 7) & ~(uint64_t)7;
    return 0;
}

static int read_tags(int fd, const char *path,
                     const struct xlx__qcow2_header *h,
                     struct xlx__image_tag **tags_r, int *num_r)
{
    uint32_t i, num = be32toh(h->num_tags);
    uint64_t start = be64toh(h->tags_offset), offset = start;
    struct xlx__image_tag *tags;
    int rc;

    if (num > MAX_TAGS)
        return xlx__error(ERROR_INVAL, "%s: too many snapshots", path);
    tags = calloc(num + 1, sizeof(*tags));
    if (!tags)
        return xlx__nomem();
    for (i = 0; i < num; i++) {
        rc = read_tag(fd, path, &offset, &tags[i]);
        if (!rc && offset - start > MAX_TABLE)
            rc = bad_table(path);
        if (rc) {
            xlx__image_tags_free(tags, (int)i + 1);
            return rc;
        }
    }
    *tags_r = tags;
    *num_r = (int)num;
    return 0;
}

int xlx__image_tags(const char *path, struct xlx__image_tag **tags_r,
                    int *num_r)
{
    struct xlx__qcow2_header h;
    int fd, rc;

    *tags_r = NULL;
    *num_r = 0;
    rc = xlx__qcow2_open(path, &h, &fd);
    if (rc || fd < 0) return rc;
    rc = read_tags(fd, path, &h, tags_r, num_r);
    close(fd);
    return rc;
}

void xlx__image_tags_free(struct xlx__image_tag *tags, int num)
{
    int i;

    for (i = 0; i < num; i++) {
        free(tags[i].id);
        free(tags[i].name);
    }
    free(tags);
}

static const struct xlx__image_tag *tag_with_id(
    const struct xlx__image_tag *tags, int num, const char *id)
{
    int i;

    for (i = 0; i < num; i++)
        if (!strcmp(tags[i].id, id))
            return &tags[i];
    return NULL;
}

/* The only one of that name, with an id that no other has; NULL when there is
 * none. */
static int only_tag(const char *path, const struct xlx__image_tag *tags,
                    int num, const char *name,
                    const struct xlx__image_tag **tag_r)
{
    const struct xlx__image_tag *found = NULL;
    int i;

    for (i = 0; i < num; i++) {
        if (strcmp(tags[i].name, name))
            continue;
        if (found)
            return xlx__error(ERROR_INVAL, "%s: holds two snapshots named "
                              "\"%s\" (ids %s and %s), and it is not known "
                              "which is meant: another tool made one; remove "
                              "it there", path, name, found->id, tags[i].id);
        found = &tags[i];
    }
    for (i = 0; found && i < num; i++)
        if (&tags[i] != found && !strcmp(tags[i].id, found->id))
            return xlx__error(ERROR_INVAL, "%s: two snapshots have the id "
                              "%s: the image is damaged", path, found->id);
    *tag_r = found;
    return 0;
}

int xlx__image_find_tag(const char *path, const char *name, char **id_r)
{
    const struct xlx__image_tag *tag;
    struct xlx__image_tag *tags;
    int num, rc;

    *id_r = NULL;
    rc = xlx__image_tags(path, &tags, &num);
    if (rc) return rc;
    rc = only_tag(path, tags, num, name, &tag);
    if (rc) goto out;
    if (tag)
        rc = xlx__set_string(id_r, tag->id);

 out:
    xlx__image_tags_free(tags, num);
    return rc;
}

int xlx__image_tag_identity(const char *path, const char *tag, char **id_r)
{
    const struct xlx__image_tag *found;
    struct xlx__image_tag *tags;
    char *id = NULL;
    int num, rc;

    rc = xlx__image_tags(path, &tags, &num);
    if (rc) return rc;
    rc = only_tag(path, tags, num, tag, &found);
    if (!rc) {
        id = found ? xlx__printf("%s %lld.%09u", found->id,
                                 (long long)found->time, found->nsec)
                   : strdup("");
        rc = id ? 0 : xlx__nomem();
    }
    xlx__image_tags_free(tags, num);
    if (rc) return rc;
    free(*id_r);
    *id_r = id;
    return 0;
}

int xlx__image_has_tag(const char *path, const char *tag, bool *found_r)
{
    char *id;
    int rc;

    rc = xlx__image_find_tag(path, tag, &id);
    if (rc) return rc;
    *found_r = id != NULL;
    free(id);
    return 0;
}

/* ---- does the image show the snapshot's content? ------------------------ */

#define L1_OFFSETS 0x00fffffffffffe00ull    /* without the flags */

static int read_l1(int fd, uint64_t offset, uint32_t size, uint64_t **l1_r)
{
    size_t bytes = (size_t)size * sizeof(**l1_r);
    uint64_t *l1;

    if (bytes > XLX__QCOW2_MAX_L1)
        return ERROR_INVAL;
    l1 = malloc(bytes + 1);
    if (!l1)
        return ERROR_NOMEM;
    if (!xlx__qcow2_read(fd, l1, bytes, offset)) {
        free(l1);
        return ERROR_INVAL;
    }
    *l1_r = l1;
    return 0;
}

static uint64_t entry(const uint64_t *l1, uint32_t size, uint32_t i)
{
    return i < size ? be64toh(l1[i]) & L1_OFFSETS : 0;
}

/* The first-level tables of the image and of the snapshot name the same
 * second-level ones: so they are the same, byte by byte. */
static int shows(int fd, const char *path, const struct xlx__qcow2_header *h,
                 const struct xlx__image_tag *tag)
{
    uint32_t i, size = be32toh(h->l1_size);
    uint64_t *now = NULL, *then = NULL;
    int rc;

    rc = read_l1(fd, be64toh(h->l1_offset), size, &now);
    if (!rc)
        rc = read_l1(fd, tag->l1_offset, tag->l1_size, &then);
    if (rc) {
        rc = rc == ERROR_NOMEM
            ? xlx__nomem()
            : xlx__error(rc, "%s: its tables cannot be read", path);
        goto out;
    }
    for (i = 0; !rc && (i < size || i < tag->l1_size); i++)
        if (entry(now, size, i) != entry(then, tag->l1_size, i))
            rc = xlx__error(ERROR_FAIL, "%s: its content is not that of the "
                            "snapshot \"%s\" (id %s)", path, tag->name,
                            tag->id);

 out:
    free(now);
    free(then);
    return rc;
}

int xlx__image_shows_tag(const char *path, const char *name, bool *yes_r)
{
    const struct xlx__image_tag *tag = NULL;
    struct xlx__image_tag *tags = NULL;
    struct xlx__qcow2_header h;
    int fd, num = 0, rc;

    *yes_r = false;
    rc = xlx__qcow2_open(path, &h, &fd);
    if (rc || fd < 0) return rc;
    rc = read_tags(fd, path, &h, &tags, &num);
    if (!rc)
        rc = only_tag(path, tags, num, name, &tag);
    if (!rc && tag) {
        rc = shows(fd, path, &h, tag);
        *yes_r = !rc;
    }
    rc = xlx__forgive(rc, ERROR_FAIL);
    xlx__image_tags_free(tags, num);
    close(fd);
    return rc;
}

/* ---- what qemu-img does ------------------------------------------------- */

/* The table as it must be afterwards. */
enum change { MADE, APPLIED, REMOVED };

static int check_table(int fd, const char *path,
                       const struct xlx__qcow2_header *h, enum change change,
                       const char *name, const char *id,
                       const struct xlx__image_tag *before, int num_before)
{
    const struct xlx__image_tag *tag = NULL;
    struct xlx__image_tag *tags = NULL;
    int i, num = 0, rc;

    rc = read_tags(fd, path, h, &tags, &num);
    if (rc) return rc;
    for (i = 0; !rc && i < num_before; i++)
        if (!tag_with_id(tags, num, before[i].id) &&
            !(change == REMOVED && !strcmp(before[i].id, id)))
            rc = xlx__error(ERROR_FAIL, "%s: the snapshot \"%s\" (id %s) has "
                            "vanished", path, before[i].name, before[i].id);
    if (rc) goto out;
    rc = change == REMOVED ? 0 : only_tag(path, tags, num, name, &tag);
    if (rc) goto out;
    if (change == REMOVED ? tag_with_id(tags, num, id) != NULL : !tag)
        rc = xlx__error(ERROR_FAIL, change == REMOVED
                        ? "%s: qemu-img did not remove the snapshot \"%s\""
                        : "%s: qemu-img made no snapshot \"%s\"", path, name);
    else if (change != REMOVED)
        rc = shows(fd, path, h, tag);

 out:
    xlx__image_tags_free(tags, num);
    return rc;
}

static int verify(const char *path, enum change change, const char *name,
                  const char *id, const struct xlx__image_tag *before,
                  int num_before)
{
    struct xlx__qcow2_header h;
    int fd, rc;

    rc = xlx__qcow2_open(path, &h, &fd);
    if (rc) return rc;
    if (fd < 0)
        return xlx__error(ERROR_FAIL, "%s: no longer a qcow2 image", path);
    rc = check_table(fd, path, &h, change, name, id, before, num_before);
    close(fd);
    return rc;
}

/* qemu-img snapshot has no -f: the format goes into the name.  A comma in
 * the path is written twice (QEMU's option syntax). */
static char *qcow2_opts(const char *path)
{
    static const char prefix[] = "driver=qcow2,file.filename=";
    char *opts = malloc(sizeof(prefix) + 2 * strlen(path)), *p;

    if (!opts)
        return NULL;
    p = stpcpy(opts, prefix);
    for (; *path; path++) {
        if (*path == ',')
            *p++ = ',';
        *p++ = *path;
    }
    *p = 0;
    return opts;
}

static int run(xlx_ctx *ctx, const char *path, const char *option,
               const char *tag)
{
    const char *argv[] = {
        "qemu-img", "snapshot", "-q", option, tag, "--image-opts", NULL, NULL
    };
    struct xlx__child child = {
        .argv = argv, .timeout_ms = LONG_MS, .max_output = 65536,
    };
    struct xlx__image_files files;
    char *name = NULL;
    int rc;

    rc = xlx__image_files_open(path, "qcow2", &files);
    if (rc) goto out;
    if (files.shared) {
        rc = xlx__image_files_give(&files, 1, &child, &name);
        if (rc) goto out;
        argv[5] = "--";             /* the name has the format */
    } else {
        name = qcow2_opts(path);
        if (!name) {
            rc = xlx__nomem();
            goto out;
        }
    }
    argv[6] = name;
    rc = xlx__child_run(ctx, &child, NULL, NULL);
    rc = rc ? xlx__error_prefix(rc, "%s", path) : xlx__store_sync(path);

 out:
    free(name);
    xlx__image_files_close(&files);
    return rc;
}

static int change_tag(xlx_ctx *ctx, const char *path, enum change change,
                      const char *name)
{
    static const char *const options[] = {
        [MADE] = "-c", [APPLIED] = "-a", [REMOVED] = "-d",
    };
    const struct xlx__image_tag *tag;
    struct xlx__image_tag *before;
    int num, rc;

    rc = xlx__image_tags(path, &before, &num);
    if (rc) return rc;
    rc = only_tag(path, before, num, name, &tag);
    if (rc) goto out;
    if (change == MADE ? tag != NULL : !tag) {
        rc = change == MADE
            ? xlx__error(ERROR_DEVICE_EXISTS, "%s: already holds a snapshot "
                         "\"%s\"", path, name)
            : xlx__error(ERROR_NOTFOUND, "%s: no longer holds the snapshot "
                         "\"%s\"", path, name);
        goto out;
    }
    /* -a looks for an id first; -c and -d know names alone */
    rc = run(ctx, path, options[change], change == APPLIED ? tag->id : name);
    if (rc) goto out;
    rc = verify(path, change, name, tag ? tag->id : "", before, num);

 out:
    xlx__image_tags_free(before, num);
    return rc;
}

int xlx__image_tag_create(xlx_ctx *ctx, const char *path, const char *tag)
{
    return change_tag(ctx, path, MADE, tag);
}

int xlx__image_tag_apply(xlx_ctx *ctx, const char *path, const char *tag)
{
    return change_tag(ctx, path, APPLIED, tag);
}

int xlx__image_tag_delete(xlx_ctx *ctx, const char *path, const char *tag)
{
    return change_tag(ctx, path, REMOVED, tag);
}

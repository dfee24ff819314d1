/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Headers of images, read once.  A file that a header names is looked at with
 * stat(2) only, and read only when it is a plain file: anybody may have
 * written it.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "disk/image-index.h"
#include "disk/image.h"

#define MAX_IMAGES 100000

/* Room for one more; the size doubles. */
static void *more(void *list, int num, size_t size)
{
    return num & (num - 1) ? list
                           : realloc(list, (size_t)(num ? 2 * num : 1) * size);
}

static void entry_dispose(struct xlx__image_entry *e)
{
    free(e->path);
    xlx__image_refs_dispose(&e->refs);
    free(e->ids);
    free(e->has_id);
    free(e->unreadable);
}

void xlx__image_index_dispose(struct xlx__image_index *index)
{
    int i;

    for (i = 0; i < index->num; i++)
        entry_dispose(&index->list[i]);
    for (i = 0; i < index->num_dirs; i++)
        free(index->dirs[i]);
    free(index->list);
    free(index->dirs);
    free(index->raws);
    memset(index, 0, sizeof(*index));
}

int xlx__image_index_raw(struct xlx__image_index *index,
                         const struct xlx__file_id *id)
{
    struct xlx__file_id *raws = more(index->raws, index->num_raws,
                                     sizeof(*raws));

    if (!raws)
        return xlx__nomem();
    index->raws = raws;
    raws[index->num_raws++] = *id;
    return 0;
}

static bool is_raw(const struct xlx__image_index *index,
                   const struct xlx__file_id *id)
{
    int i;

    for (i = 0; i < index->num_raws; i++)
        if (xlx__file_id_same(&index->raws[i], id))
            return true;
    return false;
}

static bool is_known(const struct xlx__image_index *index,
                     const struct xlx__file_id *id)
{
    int i;

    for (i = 0; i < index->num; i++)
        if (xlx__file_id_same(&index->list[i].id, id))
            return true;
    return false;
}

static int read_refs(struct xlx__image_entry *e)
{
    int i, rc;

    rc = xlx__image_refs(e->path, &e->refs);
    if (rc == ERROR_NOMEM) return rc;
    if (rc) {
        e->unreadable = strdup(xlx_error_get());
        xlx__error_clear();
        return e->unreadable ? 0 : xlx__nomem();
    }
    e->ids = calloc(e->refs.num + 1, sizeof(*e->ids));
    e->has_id = calloc(e->refs.num + 1, sizeof(*e->has_id));
    if (!e->ids || !e->has_id)
        return xlx__nomem();
    for (i = 0; i < e->refs.num; i++)
        e->has_id[i] = e->refs.list[i].kind == XLX__REF_FILE &&
                       xlx__file_id_of(e->refs.list[i].path, &e->ids[i]);
    return 0;
}

static int add_one(struct xlx__image_index *index, const char *path)
{
    struct xlx__image_entry *e;
    struct xlx__file_id id;
    struct stat st;

    if (stat(path, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
        return 0;
    xlx__file_id(&st, &id);
    if (is_known(index, &id) || is_raw(index, &id))
        return 0;
    if (index->num == MAX_IMAGES)
        return xlx__error(ERROR_INVAL, "%s: over %d images next to each other",
                          path, MAX_IMAGES);
    e = more(index->list, index->num, sizeof(*e));
    if (!e)
        return xlx__nomem();
    index->list = e;
    e += index->num++;
    memset(e, 0, sizeof(*e));
    e->id = id;
    e->path = strdup(path);
    return e->path ? read_refs(e) : xlx__nomem();
}

/* A name in a header is followed to plain files alone. */
static int follow(struct xlx__image_index *index, int first)
{
    struct stat st;
    char *path;
    int i, j, rc;

    for (i = first; i < index->num; i++)
        for (j = 0; j < index->list[i].refs.num; j++) {
            const struct xlx__image_ref *ref = &index->list[i].refs.list[j];

            if (ref->data || ref->kind != XLX__REF_FILE ||
                stat(ref->path, &st) || !S_ISREG(st.st_mode))
                continue;
            path = strdup(ref->path);   /* the list may move */
            rc = path ? add_one(index, path) : xlx__nomem();
            free(path);
            if (rc) return rc;
        }
    return 0;
}

int xlx__image_index_add(struct xlx__image_index *index, const char *path)
{
    int first = index->num, rc;

    rc = add_one(index, path);
    return rc ? rc : follow(index, first);
}

/* Notes the directory; false when it was read before. */
static int note_dir(struct xlx__image_index *index, const char *dir,
                    bool *fresh_r)
{
    char **dirs;
    int i;

    *fresh_r = false;
    for (i = 0; i < index->num_dirs; i++)
        if (!strcmp(index->dirs[i], dir))
            return 0;
    dirs = more(index->dirs, index->num_dirs, sizeof(*dirs));
    if (!dirs)
        return xlx__nomem();
    index->dirs = dirs;
    dirs[index->num_dirs] = strdup(dir);
    if (!dirs[index->num_dirs])
        return xlx__nomem();
    index->num_dirs++;
    *fresh_r = true;
    return 0;
}

static int read_dir(struct xlx__image_index *index, const char *dir)
{
    int first = index->num, rc = 0;
    struct dirent *entry;
    struct stat st;
    char *path;
    DIR *d = opendir(dir);

    while (d && !rc && (entry = readdir(d))) {
        if (entry->d_type != DT_REG && entry->d_type != DT_LNK &&
            entry->d_type != DT_UNKNOWN)
            continue;
        path = xlx__printf("%s/%s", dir, entry->d_name);
        if (!path)
            rc = xlx__nomem();
        else if (!stat(path, &st) && S_ISREG(st.st_mode))
            rc = add_one(index, path);
        free(path);
    }
    if (d)
        closedir(d);
    return rc ? rc : follow(index, first);
}

/* A name may be a link: both directories matter, the one that it is in and
 * the one that it leads to. */
int xlx__image_index_dir_of(struct xlx__image_index *index, const char *path)
{
    char *real = realpath(path, NULL), *dir;
    const char *names[] = { path, real }, *slash;
    struct xlx__file_id id;
    bool fresh = false;
    size_t i;
    int rc = 0;

    /* devices are in one directory, related or not */
    if (xlx__file_id_of(path, &id) && id.block) {
        free(real);
        return 0;
    }
    for (i = 0; !rc && i < XLX__ARRAY_SIZE(names); i++) {
        slash = names[i] ? strrchr(names[i], '/') : NULL;
        if (!slash)
            continue;
        dir = strndup(names[i], slash == names[i] ? 1
                                : (size_t)(slash - names[i]));
        rc = dir ? note_dir(index, dir, &fresh) : xlx__nomem();
        if (!rc && fresh)
            rc = read_dir(index, dir);
        free(dir);
    }
    free(real);
    return rc;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Relative names are QEMU's to resolve, from a directory that we do not know:
 * that of the image is tried, and else the last part of the name decides
 * whether it may be this file. */
static enum xlx__image_link loose_link(const struct xlx__image_entry *e,
                                       const struct xlx__image_ref *ref,
                                       const char *path,
                                       const struct xlx__file_id *id)
{
    struct xlx__file_id other;
    char *beside;
    bool same;

    beside = xlx__printf("%.*s/%s", (int)(last_part(e->path) - e->path),
                         e->path, ref->path);
    same = xlx__file_id_of(beside, &other) && xlx__file_id_same(&other, id);
    free(beside);
    if (same)
        return XLX__LINK_YES;
    return strcmp(last_part(ref->path), last_part(path)) ? XLX__LINK_NONE
                                                          : XLX__LINK_UNCLEAR;
}

enum xlx__image_link xlx__image_index_link(const struct xlx__image_entry *e,
                                           const char *path,
                                           const struct xlx__file_id *id)
{
    enum xlx__image_link link, best = XLX__LINK_NONE;
    int i;

    if (xlx__file_id_same(&e->id, id))
        return XLX__LINK_NONE;
    if (e->unreadable)
        return XLX__LINK_UNCLEAR;
    for (i = 0; i < e->refs.num; i++) {
        const struct xlx__image_ref *ref = &e->refs.list[i];

        link = XLX__LINK_NONE;
        if (ref->kind == XLX__REF_LOOSE)
            link = loose_link(e, ref, path, id);
        else if (ref->kind == XLX__REF_UNCLEAR)
            link = strstr(ref->path, last_part(path)) ? XLX__LINK_UNCLEAR
                                                      : XLX__LINK_NONE;
        else if (e->has_id[i] && xlx__file_id_same(&e->ids[i], id))
            link = XLX__LINK_YES;
        if (link == XLX__LINK_YES)
            return link;
        if (link == XLX__LINK_UNCLEAR)
            best = link;
    }
    return best;
}

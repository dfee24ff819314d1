/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The identity of a file; see file-id.h.
 */
#include "core/file-id.h"

void xlx__file_id(const struct stat *st, struct xlx__file_id *id_r)
{
    bool device = S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode);

    id_r->block = S_ISBLK(st->st_mode);
    id_r->character = S_ISCHR(st->st_mode);
    id_r->dev = device ? st->st_rdev : st->st_dev;
    id_r->ino = device ? 0 : st->st_ino;
}

bool xlx__file_id_of(const char *path, struct xlx__file_id *id_r)
{
    struct stat st;

    if (!path || stat(path, &st))
        return false;
    xlx__file_id(&st, id_r);
    return true;
}

bool xlx__file_id_same(const struct xlx__file_id *a,
                       const struct xlx__file_id *b)
{
    return a->block == b->block && a->character == b->character &&
           a->dev == b->dev && a->ino == b->ino;
}

bool xlx__file_same(const char *a, const char *b)
{
    struct xlx__file_id ida, idb;

    return xlx__file_id_of(a, &ida) && xlx__file_id_of(b, &idb) &&
           xlx__file_id_same(&ida, &idb);
}

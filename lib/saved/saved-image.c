/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A saved guest in either form: its frame, its pages, and their data.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "saved/saved-pack.h"

/* Pages that are read at once. */
#define BLOCK 64u

static int tap(void *user, const void *bytes, size_t len, bool pages)
{
    return pages ? 0 : xlx__saved_frame_add(user, bytes, len);
}

static int memory(void *user, struct xlx__save *s)
{
    (void)s;
    xlx__saved_frame_memory(user);
    return 0;
}

bool xlx__saved_is_compact(int fd)
{
    struct xlx__save_head h;

    if (pread(fd, &h, sizeof(h), 0) != sizeof(h))
        return false;
    return xlx__is_save_head(&h) && h.mandatory & XLX__SAVE_COMPACT;
}

static int open_either(struct xlx__saved_image *i)
{
    const struct xlx__saved_user user = {
        .user = &i->frame, .tap = tap, .words = memory,
    };

    if (xlx__saved_is_compact(i->fd))
        return xlx__saved_unpack_open(i->fd, i->size, &i->frame, &i->scan,
                                      &i->unpack);
    i->block = malloc(BLOCK * XLX__SAVE_PAGE);
    return i->block ? xlx__saved_scan(i->fd, &user, &i->scan)
                    : xlx__nomem();
}

int xlx__saved_image_open(struct xlx__saved_image *i, const char *path)
{
    int rc;

    memset(i, 0, sizeof(*i));
    i->fd = -1;
    i->path = strdup(path);
    if (!i->path)
        return xlx__nomem();
    rc = xlx__saved_open(path, &i->fd, &i->size);
    if (rc) return rc;
    rc = open_either(i);
    return rc ? xlx__error_prefix(rc, "%s", path) : 0;
}

void xlx__saved_image_close(struct xlx__saved_image *i)
{
    xlx__saved_unpack_free(i->unpack);
    xlx__saved_scan_free(&i->scan);
    xlx__saved_frame_free(&i->frame);
    if (i->fd >= 0)
        close(i->fd);
    free(i->block);
    free(i->path);
    memset(i, 0, sizeof(*i));
    i->fd = -1;
}

/* A block of the run at a time: the next page is most often in it. */
static int plain_page(struct xlx__saved_image *i,
                      const struct xlx__saved_run *run, uint64_t n,
                      const char **data_r)
{
    uint64_t at = run->offset + n * XLX__SAVE_PAGE, count = run->count - n;
    int rc;

    if (!i->block_len || at < i->block_at ||
        at >= i->block_at + i->block_len) {
        count = count < BLOCK ? count : BLOCK;
        i->block_len = 0;
        rc = xlx__saved_get(i->fd, i->block, count * XLX__SAVE_PAGE, at);
        if (rc) return rc;
        i->block_at = at;
        i->block_len = count * XLX__SAVE_PAGE;
    }
    *data_r = i->block + (at - i->block_at);
    return 0;
}

int xlx__saved_image_page(struct xlx__saved_image *i,
                          const struct xlx__saved_run *run, uint64_t n,
                          const char **data_r)
{
    int rc;

    if (!i->unpack)
        rc = plain_page(i, run, n, data_r);
    else
        rc = xlx__saved_unpack_page(i->unpack, run->page == XLX__SAVED_ZERO
                                    ? XLX__SAVED_ZERO : run->page + n,
                                    data_r);
    return rc ? xlx__error_prefix(rc, "%s: page 0x%llx of the guest", i->path,
                                  (unsigned long long)(run->pfn + n)) : 0;
}

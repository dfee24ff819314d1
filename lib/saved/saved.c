/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A saved guest in a file: opened, read, and told of.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "saved/saved.h"

/* Opened without waiting: a FIFO would have us wait for a writer. */
int xlx__saved_open(const char *path, int *fd_r, uint64_t *size_r)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    off_t size;

    if (fd < 0)
        return xlx__error(xlx__errno_rc(errno), "%s: %s", path,
                          strerror(errno));
    if (fstat(fd, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))) {
        close(fd);
        return xlx__error(ERROR_INVAL, "%s: it is neither a file nor a block "
                          "device", path);
    }
    size = S_ISREG(st.st_mode) ? st.st_size : lseek(fd, 0, SEEK_END);
    *size_r = size < 0 ? 0 : (uint64_t)size;
    *fd_r = fd;
    return 0;
}

/* ---- telling ------------------------------------------------------------ */

static int tell_records(const struct xlx__saved_scan *scan,
                        xlx_saved_info *info)
{
    char number[XLX__SAVE_NAME_MAX];
    const struct xlx__saved_count *c;
    xlx_saved_record *r;
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < scan->num_counts; i++) {
        c = &scan->counts[i];
        if (!c->libxc && c->type == XLX__LIBXL_EMULATOR_CONTEXT)
            info->emulator = c->bytes;
        r = xlx__saved_info_records_append(info);
        if (!r)
            return xlx__nomem();
        rc = xlx__set_string(&r->stream, c->libxc ? "libxc" : "libxl");
        if (!rc)
            rc = xlx__set_string(&r->name, xlx__save_record_name(
                                     c->libxc, c->type, number));
        r->records = c->records;
        r->bytes = c->bytes;
    }
    return rc;
}

/* Pages of zeroes, and of chunks; only the compact form knows. */
static void tell_form(const struct xlx__saved_image *i, xlx_saved_info *info)
{
    const struct xlx__saved_map *map = &i->scan.map;
    size_t r;

    if (!i->unpack)
        return;
    info->form = XLX_SAVED_FORM_COMPACT;
    info->sums = true;
    for (r = 0; r < map->num; r++)
        if (map->runs[r].page == XLX__SAVED_ZERO)
            info->zero_pages += map->runs[r].count;
}

static int tell(const struct xlx__saved_image *i, xlx_saved_info *info)
{
    const struct xlx__saved_scan *scan = &i->scan;
    int rc;

    /* libxc does not tell PVH from HVM; the configuration may */
    rc = xlx__set_string(&info->type, scan->libxc.type == 1 ? "pv" : "hvm");
    if (!rc)
        rc = xlx__set_string(&info->path, i->path);
    if (rc) return rc;
    free(info->xen_version);
    info->xen_version = xlx__printf("%u.%u", scan->libxc.xen_major,
                                    scan->libxc.xen_minor);
    if (!info->xen_version)
        return xlx__nomem();
    info->stream_version = scan->libxc.version;
    xlx__saved_map_count(&scan->map, &info->pages, &info->data_pages);
    info->old_pages = scan->num_data - info->data_pages;
    info->passes = scan->passes;
    info->hot_pages = xlx__saved_map_length(&scan->hot);
    info->tsc_khz = scan->check.tsc_khz;
    info->size = i->size;
    info->stream = scan->length;
    info->trailing = i->unpack ? 0 : i->size - scan->length;
    tell_form(i, info);
    rc = tell_records(scan, info);
    return rc ? rc : xlx__saved_config_read(scan, info);
}

int xlx__saved_read(xlx_ctx *ctx, const char *path, xlx_saved_info *info_r)
{
    struct xlx__saved_image i = { .fd = -1 };
    int rc;

    (void)ctx;
    rc = xlx__saved_image_open(&i, path);
    if (!rc)
        rc = tell(&i, info_r);
    xlx__saved_image_close(&i);
    return rc;
}

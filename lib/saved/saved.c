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

int xlx__saved_tell(const struct xlx__saved_scan *scan, xlx_saved_info *info)
{
    uint64_t hot, data;
    int rc;

    /* libxc does not tell PVH from HVM; the configuration may */
    rc = xlx__set_string(&info->type, scan->libxc.type == 1 ? "pv" : "hvm");
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
    xlx__saved_map_count(&scan->hot, &hot, &data);
    info->hot_pages = data;
    info->tsc_khz = scan->check.tsc_khz;
    rc = tell_records(scan, info);
    return rc ? rc : xlx__saved_config_read(scan, info);
}

int xlx__saved_read(xlx_ctx *ctx, const char *path, xlx_saved_info *info_r)
{
    struct xlx__saved_scan scan = { .config = NULL };
    uint64_t size = 0;
    int fd, rc;

    (void)ctx;
    rc = xlx__saved_open(path, &fd, &size);
    if (rc) return rc;
    rc = xlx__saved_scan(fd, NULL, &scan);
    if (rc)
        rc = xlx__error_prefix(rc, "%s", path);
    else
        rc = xlx__saved_tell(&scan, info_r);
    if (!rc)
        rc = xlx__set_string(&info_r->path, path);
    info_r->size = size;
    if (!rc)
        info_r->trailing = size - scan.length;
    xlx__saved_scan_free(&scan);
    close(fd);
    return rc;
}

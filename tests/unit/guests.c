/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many guests with many snapshots, see guests.h.  The records' text comes from
 * the library; the files are written here, without its fsync for each.
 */
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/internal.h"
#include "gen-calls.h"
#include "guests.h"

#define DISK_SIZE (UINT64_C(10) << 30)
#define FROZEN_S 1700000000         /* when nobody wrote to an image again */

static void *check(void *p)
{
    if (!p)
        err(2, "out of memory");
    return p;
}

static void set(char **s, const char *value)
{
    free(*s);
    *s = check(strdup(value));
}

static void make_dir(const char *path)
{
    if (mkdir(path, 0700) && errno != EEXIST)
        err(2, "%s", path);
}

static void put_file(const char *path, const void *text, size_t len)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, text, len) != (ssize_t)len || close(fd))
        err(2, "%s", path);
}

static char *layer(const char *images, int n)
{
    return check(xlx__printf("%s/disk-%03d.qcow2", images, n));
}

/* A qcow2 header, version 2, without clusters or snapshots. */
static void make_layer(const char *images, int n)
{
    struct {
        uint32_t magic, version;
        uint64_t backing_offset;
        uint32_t backing_size, cluster_bits;
        uint64_t size, unused[5];
        char backing[1024];
    } __attribute__((packed)) h = {
        .magic = htobe32(0x514649fb), .version = htobe32(2),
        .cluster_bits = htobe32(16), .size = htobe64(DISK_SIZE),
    };
    const struct timespec frozen = { .tv_sec = FROZEN_S, .tv_nsec = n };
    const struct timespec times[] = { frozen, frozen };
    char *path = layer(images, n), *below = NULL;

    if (n) {
        below = layer(images, n - 1);
        h.backing_offset = htobe64(sizeof(h) - sizeof(h.backing));
        h.backing_size = htobe32((uint32_t)strlen(below));
        snprintf(h.backing, sizeof(h.backing), "%s", below);
    }
    put_file(path, &h, sizeof(h));
    if (utimensat(AT_FDCWD, path, times, 0))
        err(2, "%s", path);
    free(path);
    free(below);
}

/* xvda as it is when n snapshots have been made */
static void fill_disk(xlx_snapshot_disk *d, const char *images, int n)
{
    set(&d->vdev, "xvda");
    d->image = layer(images, n);
    set(&d->format, "qcow2");
    d->backing = n ? layer(images, n - 1) : NULL;
    d->owned = n > 0;
    d->node = check(xlx__printf("xlx-%08x-0", n));
    d->virtual_size = DISK_SIZE;
    d->allocated = UINT64_C(1) << 20;
    d->mtime = FROZEN_S * INT64_C(1000000000) + n;
}

static xlx_snapshot_disk *new_disk(const char *images, int n)
{
    xlx_snapshot_disk *d = check(calloc(1, sizeof(*d)));

    xlx_snapshot_disk_init(d);
    fill_disk(d, images, n);
    return d;
}

static void fill_snapshot(xlx_snapshot *s, const char *images, int n)
{
    s->name = check(xlx__printf("nightly-%03d", n));
    set(&s->description, "before the nightly update");
    s->time = 1700000000 + 86400 * n;
    s->kind = XLX_SNAPSHOT_KIND_EXTERNAL;
    set(&s->why, "as asked for");
    s->parent = n ? check(xlx__printf("nightly-%03d", n - 1)) : NULL;
    s->running = true;
    set(&s->qemu_version, "7.2.22");
    s->disks = new_disk(images, n);
    s->num_disks = 1;
}

static void fill_record(xlx_snapshots *record, const char *images, int num)
{
    int i;

    record->current = check(xlx__printf("nightly-%03d", num - 1));
    record->disks = new_disk(images, num);
    record->num_disks = 1;
    record->snapshots = check(calloc(num, sizeof(*record->snapshots)));
    record->num_snapshots = num;
    for (i = 0; i < num; i++) {
        xlx_snapshot_init(&record->snapshots[i]);
        fill_snapshot(&record->snapshots[i], images, i);
    }
}

/* Writes what out has become into dir/file. */
static void put(const char *dir, const char *file,
                struct xlx__json_out *out)
{
    char *path = check(xlx__printf("%s/%s", dir, file)), *text;
    size_t len;

    if (xlx__json_out_finish(out, &text, &len))
        errx(2, "%s: %s", path, xlx_error_get());
    put_file(path, text, len);
    free(text);
    free(path);
}

static void make_guest(const char *state, int n, xlx_snapshots *record)
{
    xlx_guest *guest = &record->guest;
    struct xlx__json_out *out;
    xlx_guest_record name;
    char *dir;

    xlx_guest_record_init(&name);
    guest->uuid.uuid[14] = (uint8_t)(n >> 8);
    guest->uuid.uuid[15] = (uint8_t)n;
    free(guest->name);
    guest->name = check(xlx__printf("guest-%04d", n));
    if (xlx_guest_copy(NULL, &name.guest, guest))
        errx(2, "%s", xlx_error_get());
    dir = check(xlx__printf("%s/" LIBXL_UUID_FMT, state,
                            LIBXL_UUID_BYTES(guest->uuid)));
    make_dir(dir);
    out = xlx__json_out_new(true);
    xlx__guest_record_gen(out, &name);
    put(dir, "guest.json", out);
    out = xlx__json_out_new(true);
    xlx__snapshots_gen(out, record);
    put(dir, "snapshots.json", out);
    free(dir);
    xlx_guest_record_dispose(&name);
}

void guests_make(const char *state, const char *images, int num_guests,
                 int num_snapshots)
{
    xlx_snapshots record;
    int i;

    make_dir(state);
    make_dir(images);
    for (i = 0; i <= num_snapshots; i++)
        make_layer(images, i);
    xlx_snapshots_init(&record);
    fill_record(&record, images, num_snapshots);
    record.guest.uuid.uuid[0] = 0x5a;       /* not the nil one */
    for (i = 0; i < num_guests; i++)
        make_guest(state, i, &record);
    xlx_snapshots_dispose(&record);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes what is read of qcow2 images directly: the bytes are the image.  A
 * first byte of odd value puts a magic number and a version before them, so
 * that what comes after is reached.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "disk/image.h"
#include "fuzz.h"

static void outcome(int rc)
{
    if (rc > 0 || (rc && !*xlx_error_get()))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char start[8] = "QFI\xfb\0\0\0\3";
    struct xlx__image_tag *tags = NULL;
    char path[40], *backing = NULL;
    struct xlx__image_features features;
    char *below, *format, *data_file, *id;
    bool has_data;
    int fd, num = 0, layers;

    if (!size)
        return 0;
    fd = memfd_create("image", MFD_CLOEXEC);
    if (fd < 0)
        abort();
    if (*data % 2 && write(fd, start, sizeof(start)) != sizeof(start))
        abort();
    if (write(fd, data + 1, size - 1) != (ssize_t)size - 1)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    outcome(xlx__image_backing(path, &backing));
    outcome(xlx__image_has_data(path, &has_data));
    outcome(xlx__image_tags(path, &tags, &num));
    xlx__image_tags_free(tags, num);
    free(backing);
    outcome(xlx__image_features(path, "qcow2", &features));
    outcome(xlx__image_chain(path, "qcow2", &layers));
    if (!xlx__image_below(path, "qcow2", &below, &format)) {
        free(below);
        free(format);
    }
    if (!xlx__image_data_file(path, "qcow2", &data_file))
        free(data_file);
    if (!xlx__image_find_tag(path, "1", &id))
        free(id);
    close(fd);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does the configuration of a guest say anything that is for us?  Asked for
 * every "xl create", so it only looks for the words of our concepts, in the
 * arguments and in the files that they name: the guard reads properly.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plain-file.h"
#include "xl.h"

/* Keys of xl.cfg(5); NULL for a concept without one. */
static const char *const keys[] = {
#define CONCEPT(name, ...) __VA_ARGS__,
#include "guard-concepts.inc"
#undef CONCEPT
};

static bool text_has_key(const char *text, size_t len)
{
    size_t i;

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (keys[i] && memmem(text, len, keys[i], strlen(keys[i])))
            return true;
    }
    return false;
}

/* A file that is too large to be a config is one for stock xl to refuse. */
static bool file_has_key(const char *path)
{
    void *text = MAP_FAILED;
    bool found = false;
    off_t size = 0;
    int fd;

    fd = xl_open_plain(path, &size);
    if (fd < 0)
        return false;
    if (size > 0 && size <= XL_MAX_CONFIG)
        text = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text != MAP_FAILED) {
        found = text_has_key(text, (size_t)size);
        munmap(text, (size_t)size);
    }
    close(fd);
    return found;
}

bool xl_config_is_ours(char **args)
{
    const char *value;

    for (; *args; args++) {
        if (text_has_key(*args, strlen(*args)) || file_has_key(*args))
            return true;
        /* -fFILE, --defconfig=FILE */
        value = strchr(*args, '=');
        if ((*args)[0] == '-' && (*args)[1] == 'f')
            value = *args + 1;
        if (value && (*args)[0] == '-' && file_has_key(value + 1))
            return true;
    }
    return false;
}

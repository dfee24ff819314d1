/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does the configuration of a guest say anything that is for us?  Asked for
 * every "xl create", so it only looks for the words of our concepts, and for
 * disks that QEMU cannot open, in the arguments and in the files that they
 * name: the guard reads properly.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

/* ---- disks that QEMU serves --------------------------------------------- */

/* The target in a disk of xl.cfg(5), which it changes; "" without one. */
static const char *target_of(char *spec)
{
    char *target = strstr(spec, "target="), *word;

    if (target)
        return target + strlen("target=");
    for (word = strtok(spec, ", \t"); word; word = strtok(NULL, ", \t"))
        if (!strchr(word, '='))
            return strcmp(word, "cdrom") ? word : "";
    return "";
}

/* Is p in a line of text that is a comment as a whole? */
static bool in_comment(const char *text, const char *p)
{
    while (p > text && p[-1] != '\n')
        p--;
    return p[strspn(p, " \t")] == '#';
}

/* Is the target of a disk for QEMU no file?  guard-disk.c asks properly.  The
 * disk is all that is around "qdisk" between quotes or on its line. */
static bool text_has_lost_disk(const char *text, size_t len)
{
    static const char qdisk[] = "qdisk", ends[] = "'\"\n";
    const char *p, *begin, *end = text, *target;
    struct stat st;
    bool lost = false;
    char *spec;

    while (!lost && (p = memmem(end, len - (size_t)(end - text), qdisk,
                                strlen(qdisk)))) {
        for (begin = p; begin > text && !strchr(ends, begin[-1]); begin--)
            ;
        for (end = p; end < text + len && !strchr(ends, *end); end++)
            ;
        if (in_comment(text, p))
            continue;
        spec = strndup(begin, (size_t)(end - begin));
        target = spec ? target_of(spec) : "";
        lost = *target && stat(target, &st);
        free(spec);
    }
    return lost;
}

/* ---- texts and files ---------------------------------------------------- */

static bool text_is_ours(const char *text, size_t len)
{
    return text_has_key(text, len) || text_has_lost_disk(text, len);
}

/* A file that is too large to be a config is one for stock xl to refuse. */
static bool file_is_ours(const char *path)
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
        found = text_is_ours(text, (size_t)size);
        munmap(text, (size_t)size);
    }
    close(fd);
    return found;
}

bool xl_config_is_ours(char **args)
{
    const char *value;

    for (; *args; args++) {
        if (text_is_ours(*args, strlen(*args)) || file_is_ours(*args))
            return true;
        /* -fFILE, --defconfig=FILE */
        value = strchr(*args, '=');
        if ((*args)[0] == '-' && (*args)[1] == 'f')
            value = *args + 1;
        if (value && (*args)[0] == '-' && file_is_ours(value + 1))
            return true;
    }
    return false;
}

bool xl_disk_is_ours(char **parts)
{
    char *spec = NULL, *longer;
    bool ours = false;

    for (; *parts; parts++) {
        longer = xl_printf("%s%s%s", spec ? spec : "", spec ? "," : "",
                           *parts);
        free(spec);
        spec = longer;
    }
    if (spec)
        ours = text_has_lost_disk(spec, strlen(spec));
    free(spec);
    return ours;
}

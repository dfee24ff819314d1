/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which process a number stands for, from /proc.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/process.h"

#define MAX_ARGUMENTS (256 << 10)

/* proc(5): "PID (NAME) STATE" and then numbers, the 22nd of all is the start.
 * The name may have any byte, also ")". */
uint64_t xlx__process_start(pid_t pid)
{
    char path[32], line[1024], *p, state = 'Z';
    uint64_t start = 0;
    size_t len = 0;
    FILE *f;
    int i;

    if (pid <= 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    f = fopen(path, "re");
    if (f) {
        len = fread(line, 1, sizeof(line) - 1, f);
        fclose(f);
    }
    line[len] = '\0';
    p = strrchr(line, ')');
    if (!p || sscanf(p, ") %c", &state) != 1 || state == 'Z' || state == 'X')
        return 0;
    for (i = 2; p && i < 22; i++)
        p = strchr(p + 1, ' ');
    return p && sscanf(p, " %" SCNu64, &start) == 1 ? start : 0;
}

char *xlx__process_arguments(pid_t pid, size_t *size_r)
{
    char path[32], *text = NULL, *more;
    size_t size = 0, room = 0, got = 1;
    FILE *f = NULL;

    if (pid > 0) {
        snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
        f = fopen(path, "re");
    }
    while (f && got && size < MAX_ARGUMENTS) {
        room += 4096;
        more = realloc(text, room + 1);
        if (!more) {
            size = 0;
            break;
        }
        text = more;
        got = fread(text + size, 1, room - size, f);
        size += got;
    }
    if (f)
        fclose(f);
    if (!size) {
        free(text);
        return NULL;
    }
    text[size] = '\0';
    *size_r = size;
    return text;
}

bool xlx__process_argument(const char *arguments, size_t size,
                           const char *argument, const char *value)
{
    const char *p, *next, *end = arguments + size;

    for (p = arguments; p < end; p = next) {
        next = p + strlen(p) + 1;
        if (!strcmp(p, argument) &&
            (!value || (next < end && !strcmp(next, value))))
            return true;
    }
    return false;
}

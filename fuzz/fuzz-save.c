/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes the head of a save file, as "xl restore" gets it, into the guard's
 * reader: out of memory, and, when the first byte is odd, out of a pipe, which
 * must give the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "../xl-plugins/command.h"
#include "../xl-plugins/guard.h"
#include "fuzz.h"

const char *xl_command_name = "fuzz";   /* for messages; there are none */

/* libxlutil's parser leaks what it has read when it meets an error. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libxlutil";
}

static bool from_pipe(const char *head, size_t size)
{
    struct guest_config config = { .cfg = NULL };
    enum guest_config_found found;
    char path[40];
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) ||
        write(fds[1], head, size) != (ssize_t)size)
        abort();
    close(fds[1]);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[0]);
    found = guest_config_from_save(path, &config);
    close(fds[1]);                  /* kept for stock xl, under that number */
    /* no pipe is that large */
    if (found == GUEST_CONFIG_UNSEEN && errno != EFBIG)
        abort();
    guest_config_free(&config);
    close(fds[0]);
    return found == GUEST_CONFIG_READ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct guest_config config = { .cfg = NULL };
    const char *head = (const char *)data + 1;
    bool found, again;

    if (!size || size > 32768)          /* fits into a pipe */
        return 0;
    found = guest_config_from_head(head, size - 1, &config);
    if (config.num_disks < 0 || (found && config.num_disks &&
                                 !config.disks))
        abort();
    guest_config_free(&config);
    if (*data % 2 == 0 || size == 1)
        return 0;
    again = from_pipe(head, size - 1);
    if (again != found)
        abort();
    return 0;
}

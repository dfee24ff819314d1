/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asks a QEMU one thing over the monitor that the library does not use, for
 * tests to look behind its back: prints the answer on one line, or the error
 * and exits 1.  Nothing of the library is in it.  A test asks dozens of times,
 * and an interpreter takes longer to start than QEMU to answer.
 *
 *     qmp-ask SOCKET COMMAND [ARGUMENTS as JSON]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define TIMEOUT_S 60

static char *line;
static size_t size;

static int fail(const char *what)
{
    fprintf(stderr, "qmp-ask: %s\n", what);
    return 1;
}

static FILE *dial(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval limit = { .tv_sec = TIMEOUT_S };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof(address.sun_path))
        return NULL;
    strcpy(address.sun_path, path);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit,
                             sizeof(limit)) ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)))
        return NULL;
    return fdopen(fd, "r");
}

/* The answer is in line, without its end; events are passed over. */
static int ask(FILE *qemu, const char *command, const char *arguments)
{
    ssize_t len;

    if (dprintf(fileno(qemu), "{\"execute\": \"%s\", \"arguments\": %s}\n",
                command, arguments) < 0)
        return -1;
    do {
        len = getline(&line, &size, qemu);
        if (len < 0)
            return -1;
        line[strcspn(line, "\r\n")] = 0;
    } while (strncmp(line, "{\"return\": ", 11) &&
             strncmp(line, "{\"error\": ", 10));
    return 0;
}

int main(int argc, char **argv)
{
    char *text, *end;
    FILE *qemu;

    if (argc != 3 && argc != 4)
        return fail("SOCKET COMMAND [ARGUMENTS]");
    qemu = dial(argv[1]);
    if (!qemu)
        return fail("no connection");
    if (getline(&line, &size, qemu) < 0 ||
        ask(qemu, "qmp_capabilities", "{}") ||
        ask(qemu, argv[2], argc == 4 ? argv[3] : "{}"))
        return fail("QEMU hung up, or does not answer");
    if (line[2] == 'r') {
        line[strlen(line) - 1] = 0;
        return puts(line + strlen("{\"return\": ")) < 0;
    }
    text = strstr(line, "\"desc\": \"");
    text = text ? text + strlen("\"desc\": \"") : line;
    end = strrchr(text, '"');
    if (end)
        *end = 0;
    return fail(text);
}

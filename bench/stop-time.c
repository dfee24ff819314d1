/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For how long does a guest's disk stop while a command runs?
 *
 *   stop-time NBD-SOCKET EXPORTS COMMAND...
 *
 * A client of the disks 0 to EXPORTS-1 of an NBD server writes 512 bytes to
 * each of them every millisecond, and takes the longest time between two
 * rounds of answers: over half a second of nothing, and then while the
 * command runs and shortly after.  Prints both in microseconds, and of the
 * times that such a round took meanwhile the median and the 99th of 100.
 */
#include <endian.h>
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_DISKS 64
#define SECTOR 512
#define AREA (64 * SECTOR)          /* the writes go round in it */
#define BEFORE_US 500000
#define AFTER_US 100000
#define MAX_ROUNDS 1000000          /* more are not counted */

/* NBD's numbers: https://github.com/NetworkBlockDevice/nbd, doc/proto.md */
#define NBD_FLAG_C_FIXED_NEWSTYLE 1
#define NBD_FLAG_C_NO_ZEROES 2
#define NBD_OPT_EXPORT_NAME 1
#define NBD_CMD_WRITE 1
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_REPLY_MAGIC 0x67446698u

struct request {
    uint32_t magic;
    uint16_t flags, type;
    uint64_t handle, offset;
    uint32_t length;
    char data[SECTOR];
} __attribute__((packed));

struct reply {
    uint32_t magic, error;
    uint64_t handle;
} __attribute__((packed));

static int disk[MAX_DISKS], disks;
static int64_t took[MAX_ROUNDS];
static size_t rounds;

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void put(int fd, const void *data, size_t len)
{
    if (send(fd, data, len, MSG_NOSIGNAL) != (ssize_t)len)
        err(2, "writing to the NBD server");
}

static void get(int fd, void *data, size_t len)
{
    if (recv(fd, data, len, MSG_WAITALL) != (ssize_t)len)
        err(2, "reading from the NBD server");
}

static int connect_export(const char *path, int n)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct { uint64_t magic, version; uint16_t flags; }
        __attribute__((packed)) hello;
    struct {
        uint32_t flags;
        uint64_t magic;
        uint32_t option, len;
        char name[8];
    } __attribute__((packed)) choice = {
        .flags = htobe32(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES),
        .magic = htobe64(UINT64_C(0x49484156454f5054)),     /* IHAVEOPT */
        .option = htobe32(NBD_OPT_EXPORT_NAME),
    };
    struct { uint64_t size; uint16_t flags; } __attribute__((packed)) info;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), len;

    if (strlen(path) >= sizeof(addr.sun_path))
        errx(2, "%s: too long", path);
    memcpy(addr.sun_path, path, strlen(path) + 1);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
        err(2, "%s", path);
    get(fd, &hello, sizeof(hello));
    if (be64toh(hello.magic) != UINT64_C(0x4e42444d41474943)) /* NBDMAGIC */
        errx(2, "%s: not an NBD server", path);
    len = snprintf(choice.name, sizeof(choice.name), "%d", n);
    choice.len = htobe32((uint32_t)len);
    put(fd, &choice, sizeof(choice) - sizeof(choice.name) + (size_t)len);
    get(fd, &info, sizeof(info));
    if (be64toh(info.size) < AREA)
        errx(2, "%s: export %d is too small", path, n);
    return fd;
}

/* One write to each disk, and all answers. */
static void write_round(uint64_t n)
{
    struct request request = {
        .magic = htobe32(NBD_REQUEST_MAGIC), .type = htobe16(NBD_CMD_WRITE),
        .handle = n, .offset = htobe64(n * SECTOR % AREA),
        .length = htobe32(SECTOR),
    };
    struct reply reply;
    int i;

    memcpy(request.data, &n, sizeof(n));
    for (i = 0; i < disks; i++)
        put(disk[i], &request, sizeof(request));
    for (i = 0; i < disks; i++) {
        get(disk[i], &reply, sizeof(reply));
        if (be32toh(reply.magic) != NBD_REPLY_MAGIC || reply.handle != n)
            errx(2, "disk %d: not an answer", i);
        if (reply.error)
            errx(2, "disk %d: write error %u", i, be32toh(reply.error));
    }
}

static bool running(pid_t pid, const char *command)
{
    int status;
    pid_t r = waitpid(pid, &status, WNOHANG);

    if (r < 0)
        err(2, "waitpid");
    if (r && status)
        errx(2, "%s: ended with status %#x", command, (unsigned int)status);
    return !r;
}

/* Writes until the child ends, or without one from now on, and then for
 * another "more" microseconds; the longest gap. */
static int64_t longest_gap(pid_t pid, const char *command, int64_t more)
{
    static uint64_t round;
    const struct timespec millisecond = { 0, 1000000 };
    int64_t last = now_us(), now, end = last + more, longest = 0, begun;

    rounds = 0;
    while (last < end) {
        begun = now_us();
        write_round(round++);
        now = now_us();
        if (rounds < MAX_ROUNDS)
            took[rounds++] = now - begun;
        if (now - last > longest)
            longest = now - last;
        last = now;
        if (pid && running(pid, command))
            end = now + more;
        else
            pid = 0;
        nanosleep(&millisecond, NULL);
    }
    return longest;
}

static int by_time(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static long long took_of(unsigned int percent)
{
    qsort(took, rounds, sizeof(*took), by_time);
    return rounds ? (long long)took[(rounds - 1) * percent / 100] : 0;
}

static pid_t start(char **argv)
{
    pid_t pid = fork();
    int null;

    if (pid < 0)
        err(2, "fork");
    if (pid)
        return pid;
    null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    execvp(*argv, argv);
    warn("%s", *argv);
    _exit(127);
}

int main(int argc, char **argv)
{
    int64_t before, during;
    int i;

    if (argc < 4 || atoi(argv[2]) < 1 || atoi(argv[2]) > MAX_DISKS)
        errx(2, "usage: stop-time NBD-SOCKET EXPORTS COMMAND...");
    disks = atoi(argv[2]);
    for (i = 0; i < disks; i++)
        disk[i] = connect_export(argv[1], i);
    before = longest_gap(0, NULL, BEFORE_US);
    during = longest_gap(start(argv + 3), argv[3], AFTER_US);
    printf("%lld %lld %lld %lld\n", (long long)before, (long long)during,
           took_of(50), took_of(99));
    return 0;
}

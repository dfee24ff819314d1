/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which guest "xl restore" would start: the head of a save file, read as stock
 * xl reads it.  A file is opened and read like any other.  Out of a pipe bytes
 * come only once, and they are stock xl's: the kernel gives us a copy of what
 * waits in it (tee), and stock xl finds all of it there.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/save-head.h"
#include "guard.h"
#include "plain-file.h"
#include "text.h"

/* The head of a save file; then come len bytes, of which the first four are
 * the length of the config and the next the config itself. */
struct save_header {
    struct xlx__save_head xl;
    uint32_t config_len;            /* these bytes count in xl.length */
};

/* A pipe must hold all of the head at once.  Root may make it that large.  A
 * writer is still there when stock xl opens a FIFO, because what is saved is
 * larger than any pipe. */
#define MAX_PIPED (1 << 20)
#define POLL_MS 20
#define MAX_SILENCE_MS 60000

/* ---- what the head says ------------------------------------------------- */

/* libxl has no parser of JSON that does without a context. */
static bool parse_json(const char *json, struct guest_config *config)
{
    xentoollog_logger *silent;
    libxl_domain_config d;
    libxl_ctx *ctx = NULL;
    bool ok = false;

    libxl_domain_config_init(&d);
    silent = (xentoollog_logger *)xtl_createlogger_stdiostream(
        stderr, XTL_CRITICAL, 0);
    if (!silent || libxl_ctx_alloc(&ctx, LIBXL_VERSION, 0, silent))
        goto out;
    if (libxl_domain_config_from_json(ctx, &d, json))
        goto out;
    config->name = d.c_info.name ? xl_format("%s", d.c_info.name) : NULL;
    config->uuid = d.c_info.uuid;
    config->has_uuid = true;
    config->disks = d.disks;        /* taken over */
    config->num_disks = d.num_disks;
    d.disks = NULL;
    d.num_disks = 0;
    ok = true;

 out:
    libxl_domain_config_dispose(&d);
    if (ctx)
        libxl_ctx_free(ctx);
    if (silent)
        xtl_logger_destroy(silent);
    return ok;
}

static bool is_head(const struct save_header *h)
{
    return xlx__is_save_head(&h->xl) &&
           h->xl.length >= sizeof(h->config_len) &&
           h->config_len <= h->xl.length - sizeof(h->config_len) &&
           h->config_len <= XL_MAX_CONFIG;
}

bool guest_config_from_head(const char *head, size_t len,
                            struct guest_config *config)
{
    struct save_header h;
    char *text;
    bool ok;

    if (len < sizeof(h))
        return false;
    memcpy(&h, head, sizeof(h));
    if (!is_head(&h) || len - sizeof(h) < h.config_len)
        return false;
    text = malloc((size_t)h.config_len + 1);
    if (!text)
        xl_no_memory();
    memcpy(text, head + sizeof(h), h.config_len);
    text[h.config_len] = '\0';
    ok = h.xl.mandatory & XLX__SAVE_JSON
        ? parse_json(text, config) : guest_config_from_text(text, config);
    free(text);
    return ok;
}

/* ---- where it comes from ------------------------------------------------ */

/* The first len bytes, or fewer when there are no more; -1 when they cannot be
 * had.  Each may be called again for more. */
typedef ssize_t get_fn(int fd, char *buf, size_t len);

static ssize_t get_from_file(int fd, char *buf, size_t len)
{
    size_t done = 0;
    ssize_t r;

    while (done < len) {
        r = TEMP_FAILURE_RETRY(pread(fd, buf + done, len - done,
                                     (off_t)done));
        if (r < 0)
            return -1;
        if (!r)
            break;
        done += (size_t)r;
    }
    return (ssize_t)done;
}

/* Copies what waits in the pipe, up to len, by way of a pipe of our own. */
static ssize_t look(int fd, const int own[2], char *buf, size_t len)
{
    ssize_t n, r, done = 0;

    n = tee(fd, own[1], len, SPLICE_F_NONBLOCK);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    while (done < n) {
        r = TEMP_FAILURE_RETRY(read(own[0], buf + done, (size_t)(n - done)));
        if (r <= 0)
            return -1;
        done += r;
    }
    return n;
}

static ssize_t wait_for(int fd, const int own[2], char *buf, size_t len)
{
    const struct timespec nap = { .tv_nsec = POLL_MS * 1000000 };
    struct pollfd p = { .fd = fd, .events = POLLIN };
    ssize_t n, before = 0;
    int silent = 0;

    /* Stock xl waits for a writer as long as it takes, and so do we. */
    while (poll(&p, 1, -1) < 0)
        if (errno != EINTR)
            return -1;
    while (silent < MAX_SILENCE_MS) {
        n = look(fd, own, buf, len);
        if (n < 0 || (size_t)n == len)
            return n;
        if (poll(&p, 1, 0) < 0 || p.revents & POLLHUP)
            return look(fd, own, buf, len);
        silent = n > before ? 0 : silent + POLL_MS;
        before = n;
        nanosleep(&nap, NULL);
    }
    errno = ETIMEDOUT;
    return -1;
}

static ssize_t get_from_pipe(int fd, char *buf, size_t len)
{
    int own[2];
    ssize_t n;

    if (len > MAX_PIPED) {
        errno = EFBIG;
        return -1;
    }
    if (pipe2(own, O_CLOEXEC))
        return -1;
    (void)fcntl(fd, F_SETPIPE_SZ, MAX_PIPED);
    (void)fcntl(own[0], F_SETPIPE_SZ, MAX_PIPED);
    n = wait_for(fd, own, buf, len);
    close(own[0]);
    close(own[1]);
    return n;
}

static enum guest_config_found read_head(int fd, get_fn *get,
                                         struct guest_config *config)
{
    struct save_header h;
    size_t len;
    ssize_t n;
    char *head;
    bool ok;

    n = get(fd, (char *)&h, sizeof(h));
    if (n < 0)
        return GUEST_CONFIG_UNSEEN;
    if (n < (ssize_t)sizeof(h) || !is_head(&h))
        return GUEST_CONFIG_WRONG;
    len = sizeof(h) + h.config_len;
    head = malloc(len);
    if (!head)
        xl_no_memory();
    n = get(fd, head, len);
    ok = n >= 0 && guest_config_from_head(head, (size_t)n, config);
    free(head);
    return n < 0 ? GUEST_CONFIG_UNSEEN
                 : ok ? GUEST_CONFIG_READ : GUEST_CONFIG_WRONG;
}

/* The kind of what was opened counts: the name may have been given to another
 * file since. */
static enum guest_config_found read_open(int fd, struct guest_config *config)
{
    struct stat st;

    if (fstat(fd, &st))
        return GUEST_CONFIG_UNSEEN;
    if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
        return read_head(fd, get_from_file, config);
    if (S_ISFIFO(st.st_mode))
        return read_head(fd, get_from_pipe, config);
    errno = ESPIPE;
    return GUEST_CONFIG_UNSEEN;
}

enum guest_config_found guest_config_from_save(const char *path,
                                               struct guest_config *config)
{
    enum guest_config_found found;
    struct stat st;
    int fd, err;

    if (stat(path, &st) || S_ISDIR(st.st_mode) || S_ISSOCK(st.st_mode))
        return GUEST_CONFIG_WRONG;
    if (S_ISCHR(st.st_mode)) {      /* to open it may do something */
        errno = ESPIPE;
        return GUEST_CONFIG_UNSEEN;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY |
              (S_ISFIFO(st.st_mode) ? 0 : O_NONBLOCK));
    if (fd < 0)
        return GUEST_CONFIG_WRONG;
    found = read_open(fd, config);
    err = errno;
    /* A writer at the other end of a FIFO must not find nobody there before
     * stock xl has opened it: stock xl inherits the descriptor. */
    if (!S_ISFIFO(st.st_mode) || fcntl(fd, F_SETFD, 0))
        close(fd);
    errno = err;
    return found;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The message of a thread's last error: one line of printable UTF-8, bounded
 * and without allocation, so that it can also tell of a lack of memory.
 * Messages quote what peers sent: control characters and bytes that are not
 * UTF-8 come out escaped.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/internal.h"

#define MESSAGE_SIZE XLX__ERROR_SIZE

static _Thread_local char message[MESSAGE_SIZE];

const char *xlx_error_get(void)
{
    return message;
}

void xlx__error_clear(void)
{
    message[0] = '\0';
}

/* Writes how the first character of s is shown to out (5 bytes or more) and
 * returns how much of s that was. */
static size_t show(const char *s, size_t max, char out[5])
{
    const unsigned char *u = (const unsigned char *)s;
    size_t len = xlx__utf8_length(s, max);

    if (u[0] == '\n' || u[0] == '\t' || u[0] == '\r') {
        snprintf(out, 5, "\\%c",
                 u[0] == '\n' ? 'n' : u[0] == '\t' ? 't' : 'r');
        return 1;
    }
    if (!len || u[0] < 0x20 || u[0] == 0x7f ||
        (u[0] == 0xc2 && u[1] < 0xa0)) {        /* C1 controls */
        snprintf(out, 5, "\\x%02x", u[0]);
        return 1;
    }
    memcpy(out, s, len);
    out[len] = '\0';
    return len;
}

/* Makes the message of a line.  Text that does not fit becomes "...". */
static void set_message(const char *line)
{
    size_t left = strlen(line), at = 0, fits = 0, used, n;
    char shown[5];

    for (; left; line += used, left -= used) {
        used = show(line, left, shown);
        n = strlen(shown);
        if (at + n >= MESSAGE_SIZE) {
            at = fits;
            memcpy(message + at, "...", 3);
            at += 3;
            break;
        }
        memcpy(message + at, shown, n);
        at += n;
        if (at + sizeof("...") <= MESSAGE_SIZE)
            fits = at;
    }
    message[at] = '\0';
}

int xlx__verror(int rc, const char *fmt, va_list ap)
{
    int saved = errno;                  /* for %m, and for the caller */
    char line[MESSAGE_SIZE + 1];        /* one more than can be shown */

    /* Not straight into the message: an argument may be the message. */
    if (vsnprintf(line, sizeof(line), fmt, ap) < 0)
        snprintf(line, sizeof(line), "%s", fmt);
    set_message(line);
    errno = saved;
    return rc;
}

int xlx__error(int rc, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    rc = xlx__verror(rc, fmt, ap);
    va_end(ap);
    return rc;
}

int xlx__error_prefix(int rc, const char *fmt, ...)
{
    char before[MESSAGE_SIZE];
    va_list ap;

    memcpy(before, message, sizeof(before));
    va_start(ap, fmt);
    rc = xlx__verror(rc, fmt, ap);
    va_end(ap);
    if (before[0])
        rc = xlx__error(rc, "%s: %s", message, before);
    return rc;
}

int xlx__nomem(void)
{
    return xlx__error(ERROR_NOMEM, "out of memory");
}

int xlx__forgive(int rc, int forgiven)
{
    if (rc != forgiven) return rc;
    xlx__error_clear();
    return 0;
}

void xlx__error_save(struct xlx__error_text *text)
{
    memcpy(text->line, message, sizeof(text->line));
}

void xlx__error_restore(const struct xlx__error_text *text)
{
    memcpy(message, text->line, sizeof(message));
}

int xlx__errno_rc(int errnoval)
{
    switch (errnoval) {
    case ENOMEM:    return ERROR_NOMEM;
    case ENOENT:    return ERROR_NOTFOUND;
    case ETIMEDOUT: return ERROR_TIMEDOUT;
    case ENOSYS:
    case EOPNOTSUPP: return ERROR_NI;
    default:        return ERROR_FAIL;
    }
}

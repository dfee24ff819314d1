/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text and messages of the commands; see text.h. */
#include <stdbool.h>
#include <stdlib.h>

#include "command.h"
#include "text.h"

const char *xl_text(const char *s)
{
    return s ? s : "";
}

const char *xl_or_dash(const char *s)
{
    return s && *s ? s : "-";
}

void xl_no_memory(void)
{
    fprintf(stderr, "xl %s: out of memory\n", xl_command_name);
    exit(1);
}

char *xl_vformat(const char *fmt, va_list ap)
{
    char *s;

    if (vasprintf(&s, fmt, ap) < 0)
        xl_no_memory();
    return s;
}

char *xl_format(const char *fmt, ...)
{
    va_list ap;
    char *s;

    va_start(ap, fmt);
    s = xl_vformat(fmt, ap);
    va_end(ap);
    return s;
}

/* U+0000 to U+001F, U+007F, and U+0080 to U+009F in UTF-8. */
static bool is_control(const unsigned char *s)
{
    return *s < 0x20 || *s == 0x7f ||
           (s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f);
}

int xl_put_text(FILE *to, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    int width = 0;
    bool control;

    for (; *s; s++) {
        control = is_control(s);
        if (control && *s == 0xc2)
            s++;
        /* Bytes that continue a character have no width of their own. */
        if (control || (*s & 0xc0) != 0x80)
            width++;
        if (to)
            fputc(control ? '?' : *s, to);
    }
    return width;
}

void xl_vmessage(const char *fmt, va_list ap)
{
    char *text = xl_vformat(fmt, ap);

    fflush(stdout);
    fprintf(stderr, "xl %s: ", xl_command_name);
    xl_put_text(stderr, text);
    fputc('\n', stderr);
    free(text);
}

void xl_message(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    xl_vmessage(fmt, ap);
    va_end(ap);
}

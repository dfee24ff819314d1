/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Undoes what mail, forums and terminals do to a dump: quotes and blanks
 * before lines, carriage returns, blanks of HTML, quoted-printable, and lines
 * that were wrapped in their middle.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "cpu/cpu.h"

/* The nbsp of HTML and the mark at the beginning of a file, in UTF-8. */
#define NBSP "\xc2\xa0"
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

/* "=3D" in the place of "=", and "=" at the end of a line that goes on. */
static bool is_quoted_printable(const char *text)
{
    return strstr(text, "eax=3D") || strstr(text, "eax_in=3D");
}

/* The byte of "=3D"; -1 if it is not of that form. */
static int printable(const char *s)
{
    const char *at = s + 1;
    uint32_t byte;

    return *s == '=' && xlx__take_digits(&at, 2, &byte) && byte ? (int)byte
                                                                 : -1;
}

/* Decodes in place, which never makes it longer. */
static void decode(char *text)
{
    bool quoted = is_quoted_printable(text);
    char *to = text;
    const char *s;
    int byte;

    for (s = text; *s; s++) {
        byte = quoted ? printable(s) : -1;
        if (byte >= 0) {
            *to++ = (char)byte;
            s += 2;
        } else if (quoted && *s == '=' && s[1 + (s[1] == '\r')] == '\n') {
            s += 1 + (s[1] == '\r');
        } else if (!strncmp(s, BYTE_ORDER_MARK, 3)) {
            s += 2;
        } else if (!strncmp(s, NBSP, 2)) {
            *to++ = ' ';
            s++;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

/* Whether a line goes on with the one whose first bytes these are, and which
 * no program prints so. */
static bool goes_on(char last, const char *next)
{
    static const char *const inner[] = { "ebx=", "ecx=", "edx=", "->", "[SL" };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(inner); i++)
        if (!strncmp(next, inner[i], strlen(inner[i])))
            return true;
    if (!strncmp(next, "eax=", 4))
        return last == ':';
    if (last == 'L' && next[0] && next[1] && next[2] == ']')
        return true;                    /* "[SL" and "00]" */
    return isxdigit((unsigned char)*next) &&
           (last == '-' || last == '>' || last == '=' || last == ':') &&
           strspn(next, "0123456789abcdefABCDEFx") >= 8;
}

/* Titles end in ":", and a line of leaves may follow them. */
static bool is_title(const char *line, size_t len)
{
    return len && line[len - 1] == ':' && !memchr(line, '>', len) &&
           strncmp(line, "0x", 2) && strncmp(line, "CPUID ", 6);
}

/* Moves behind what mail has before each line.  A lone ">" may end a tag. */
static const char *skip_quotes(const char *s)
{
    while (strchr(" \t|", *s) ? *s != '\0'
                              : *s == '>' && s[1] && s[1] != '\n' &&
                                s[1] != '\r')
        s++;
    return s;
}

int xlx__cpu_plain_text(const char *text, char **plain_r)
{
    char *plain = strdup(text), *to, *line = NULL;
    const char *s, *next;
    size_t len;

    if (!plain)
        return xlx__nomem();
    decode(plain);
    /* to is never before s, so it is done in place */
    for (s = to = plain; *s; s = next + strspn(next, "\r\n")) {
        next = s + strcspn(s, "\r\n");
        s = skip_quotes(s);
        len = (size_t)(next - s);
        while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
            len--;
        if (!len)
            continue;
        if (line && !is_title(line, (size_t)(to - 1 - line)) &&
            goes_on(to[-2], s))
            to[-1] = ' ';
        else
            line = to;
        memmove(to, s, len);
        to += len;
        if (*next || (size_t)(next - s) > len)
            *to++ = '\n';
        else
            break;
    }
    *to = '\0';
    *plain_r = plain;
    return 0;
}

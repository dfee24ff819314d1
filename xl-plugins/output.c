/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The output of commands on standard output: sizes, JSON, tables; see
 * plugin.h.
 */
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "plugin.h"
#include "text.h"

const char *xl_size(uint64_t bytes, char buf[XL_SIZE_MAX])
{
    static const char units[] = "bkmgt";
    double n = (double)bytes;
    unsigned int i = 0;

    while (n >= 1024 && units[i + 1]) {
        n /= 1024;
        i++;
    }
    snprintf(buf, XL_SIZE_MAX, i && n < 9.95 ? "%.1f%c" : "%.0f%c", n,
             units[i]);
    return buf;
}

int xl_read_speed(const char *text, uint64_t *speed_r)
{
    static const char units[] = "kmgt";
    const char *p = text, *unit;
    unsigned int shift = 0;
    uint64_t value;

    if (xlx__take_u64(&p, INT64_MAX, &value)) {
        unit = *p ? strchr(units, *p | 0x20) : NULL;
        if (unit) {
            shift = 10 * (unsigned int)(unit - units + 1);
            p++;
        }
        if (!*p && value <= (uint64_t)INT64_MAX >> shift) {
            *speed_r = value << shift;
            return 0;
        }
    }
    return xl_fail("speed \"%s\": bytes a second, with k, m or g for powers of"
                   " 1024", text);
}

int xl_print_json(char *text)
{
    if (!text)
        return xl_failed(0);
    puts(text);
    free(text);
    return 0;
}

/* ---- tables ------------------------------------------------------------- */

struct xl_table {
    const char *const *titles;
    size_t columns;
    char **cells;                   /* row by row */
    size_t num;
    char **notes;
    size_t num_notes;
};

static void add_line(char ***lines, size_t *num, char *line)
{
    char **more = reallocarray(*lines, *num + 1, sizeof(*more));

    if (!more)
        xl_no_memory();
    *lines = more;
    more[(*num)++] = line;
}

struct xl_table *xl_table_new(const char *const *titles)
{
    struct xl_table *t = calloc(1, sizeof(*t));

    if (!t)
        xl_no_memory();
    t->titles = titles;
    while (titles[t->columns])
        t->columns++;
    return t;
}

void xl_table_cell(struct xl_table *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add_line(&t->cells, &t->num, xl_vformat(fmt, ap));
    va_end(ap);
}

void xl_table_note(struct xl_table *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add_line(&t->notes, &t->num_notes, xl_vformat(fmt, ap));
    va_end(ap);
}

/* The last column is not padded: it may be long, and wraps better so. */
static void print_cell(const char *text, int width, bool last)
{
    int padding = width - xl_put_text(stdout, text);

    if (last)
        putchar('\n');
    else
        printf("%*s ", padding > 0 ? padding : 0, "");
}

static int column_width(const struct xl_table *t, size_t column)
{
    int width = xl_put_text(NULL, t->titles[column]), w;
    size_t i;

    for (i = column; i < t->num; i += t->columns) {
        w = xl_put_text(NULL, t->cells[i]);
        if (width < w)
            width = w;
    }
    return width;
}

void xl_table_print(struct xl_table *t)
{
    int *widths = calloc(t->columns + 1, sizeof(*widths));
    size_t i;

    if (!widths)
        xl_no_memory();
    for (i = 0; i < t->columns; i++)
        widths[i] = column_width(t, i);
    for (i = 0; i < t->columns; i++)
        print_cell(t->titles[i], widths[i], i + 1 == t->columns);
    for (i = 0; i < t->num; i++) {
        print_cell(t->cells[i], widths[i % t->columns],
                   (i + 1) % t->columns == 0);
        free(t->cells[i]);
    }
    for (i = 0; i < t->num_notes; i++) {
        print_cell(t->notes[i], 0, true);
        free(t->notes[i]);
    }
    free(widths);
    free(t->cells);
    free(t->notes);
    free(t);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU expressions, in the grammar of QEMU's -cpu:
 * MODEL[,+FEATURE][,-FEATURE][,FEATURE[=on|off]]...
 * A fault is told with the byte at which it stands, and leaves nothing behind.
 */
#include <string.h>

#include "cpu.h"

/* Some ten times what naming every feature takes. */
#define EXPRESSION_MAX 65536

void xlx__cpu_of_model(const struct xlx__cpu_model *m, struct xlx__cpu *cpu_r)
{
    memset(cpu_r, 0, sizeof(*cpu_r));
    strcpy(cpu_r->vendor, xlx__cpu_string(m->vendor));
    cpu_r->family = m->family;
    cpu_r->model = m->model;
    cpu_r->stepping = m->stepping;
    cpu_r->level = m->level;
    cpu_r->xlevel = m->xlevel;
    cpu_r->features = m->features;
    cpu_r->from = m;
}

static bool is(const char *word, size_t len, const char *s)
{
    return strlen(s) == len && !memcmp(word, s, len);
}

/* NULL for the host's own. */
static int parse_model(const char *word, size_t len,
                       const struct xlx__cpu_model **model_r)
{
    *model_r = NULL;
    if (!len)
        return xlx__error(ERROR_INVAL, "a CPU model must stand here");
    if (is(word, len, "host"))
        return 0;
    return xlx__cpu_find_model(word, len, model_r);
}

/* The value after '=': at is where it stands in the item. */
static int parse_switch(const char *value, size_t len, bool *on_r)
{
    if (is(value, len, "on") || is(value, len, "off")) {
        *on_r = len == 2;
        return 0;
    }
    return xlx__error(ERROR_INVAL, "\"%.*s\" must be on or off",
                      len < 40 ? (int)len : 40, value);
}

/* One item after the model; *at_r is where in it the fault is. */
static int parse_item(const char *item, size_t len, struct xlx__cpu_wish *w,
                      size_t *at_r)
{
    const char *equals = memchr(item, '=', len);
    size_t start = len && (*item == '+' || *item == '-');
    size_t end = equals ? (size_t)(equals - item) : len;
    bool on = !(start && *item == '-');
    unsigned int bit;
    int rc;

    *at_r = start;
    if (end == start)
        return xlx__error(ERROR_INVAL, "a feature must stand here");
    rc = xlx__cpu_find_bit(item + start, end - start, &bit);
    if (rc)
        return rc;
    if (equals) {
        *at_r = start ? end : end + 1;
        if (start)
            return xlx__error(ERROR_INVAL, "\"=\" does not go with \"%c\"",
                              *item);
        rc = parse_switch(equals + 1, len - end - 1, &on);
        if (rc)
            return rc;
    }
    xlx__cpu_put(&w->on, bit, on);
    xlx__cpu_put(&w->off, bit, !on);
    return 0;
}

int xlx__cpu_parse_wish(const char *text, struct xlx__cpu_wish *wish_r)
{
    size_t at = 0, within = 0, len = strcspn(text, ",");
    struct xlx__cpu_wish w;
    int rc;

    memset(&w, 0, sizeof(w));

    if (strlen(text) > EXPRESSION_MAX)
        return xlx__error(ERROR_INVAL,
                          "the CPU expression has more than %d bytes",
                          EXPRESSION_MAX);
    rc = parse_model(text, len, &w.model);
    while (!rc && text[at + len]) {
        at += len + 1;
        len = strcspn(text + at, ",");
        rc = parse_item(text + at, len, &w, &within);
    }
    if (rc)
        return xlx__error_prefix(rc, "CPU expression, byte %zu", at + within);
    *wish_r = w;
    return 0;
}

int xlx__cpu_parse_expression(const char *text, struct xlx__cpu *cpu_r)
{
    struct xlx__cpu_wish w;
    struct xlx__cpu cpu;
    unsigned int i;
    int rc;

    rc = xlx__cpu_parse_wish(text, &w);
    if (rc)
        return rc;
    if (w.model)
        xlx__cpu_of_model(w.model, &cpu);
    else
        rc = xlx__cpu_host(&cpu);
    if (rc)
        return rc;
    for (i = 0; i < XLX__CPU_WORDS; i++)
        cpu.features.word[i] = (cpu.features.word[i] | w.on.word[i]) &
                               ~w.off.word[i];
    xlx__cpu_drop_registers(&cpu.features);
    *cpu_r = cpu;
    return 0;
}

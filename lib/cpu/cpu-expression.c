/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU expressions, in the grammar of QEMU's -cpu:
 * MODEL[,+FEATURE][,-FEATURE][,FEATURE[=on|off]][,NUMBER=N]... A message names
 * the byte of the fault, and a fault leaves nothing behind.
 */
#include <string.h>

#include "core/number.h"
#include "cpu/cpu.h"

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

/* The model is NULL for the host's own. */
static int parse_model(const char *word, size_t len, struct xlx__cpu_wish *w)
{
    if (!len)
        return xlx__error(ERROR_INVAL, "a CPU model is expected here");
    w->most = is(word, len, "max");
    if (w->most || is(word, len, "host"))
        return 0;
    return xlx__cpu_find_model(word, len, &w->model);
}

/* ---- items after the model ---------------------------------------------- */

/* The states that a feature can be put into, also as libxl writes them. */
static const struct {
    const char *value;
    size_t set;
} states[] = {
    { "on", offsetof(struct xlx__cpu_wish, on) },
    { "1", offsetof(struct xlx__cpu_wish, on) },
    { "off", offsetof(struct xlx__cpu_wish, off) },
    { "0", offsetof(struct xlx__cpu_wish, off) },
    { "x", offsetof(struct xlx__cpu_wish, usual) },
    { "k", offsetof(struct xlx__cpu_wish, host) },
    { "s", offsetof(struct xlx__cpu_wish, host) },
};

static struct xlx__cpu_set *state_of(const char *value, size_t len,
                                     struct xlx__cpu_wish *w)
{
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(states); i++)
        if (is(value, len, states[i].value))
            return (struct xlx__cpu_set *)((char *)w + states[i].set);
    return NULL;
}

/* Words that are known, and are not features. */
static int not_a_feature(const char *name, size_t len)
{
    if (is(name, len, "host") || is(name, len, "max") ||
        xlx__cpu_is_model(name, len))
        return xlx__error(ERROR_INVAL, "\"%.*s\" is a model, not a feature: "
                          "there is one model, and it comes first", (int)len,
                          name);
    if (len > 4 && !memcmp(name, "vmx-", 4))
        return xlx__error(ERROR_NOTFOUND, "\"%.*s\" is about VMX, of which "
                          "Xen gives guests all or nothing: leave it out, "
                          "\"vmx\" is for all", len < 40 ? (int)len : 40,
                          name);
    return 0;
}

static int put_feature(const char *name, size_t len,
                       struct xlx__cpu_set *state, struct xlx__cpu_wish *w)
{
    unsigned int bit;
    int rc;

    rc = not_a_feature(name, len);
    if (!rc)
        rc = xlx__cpu_find_bit(name, len, &bit);
    if (rc)
        return rc;
    xlx__cpu_put(&w->on, bit, false);
    xlx__cpu_put(&w->off, bit, false);
    xlx__cpu_put(&w->usual, bit, false);
    xlx__cpu_put(&w->host, bit, false);
    xlx__cpu_put(state, bit, true);
    return 0;
}

/* Words that are not features, and have a number. */
static const struct number {
    const char *name;
    uint32_t largest;
    size_t value;
} numbers[] = {
    { "family", 15 + 255, offsetof(struct xlx__cpu_wish, family) },
    { "model", 255, offsetof(struct xlx__cpu_wish, number) },
    { "stepping", 15, offsetof(struct xlx__cpu_wish, stepping) },
    { "level", 0xffff, offsetof(struct xlx__cpu_wish, level) },
};

static const struct number *find_number(const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(numbers); i++)
        if (is(name, len, numbers[i].name))
            return &numbers[i];
    return NULL;
}

/* Decimal, or hexadecimal after 0x. */
static int put_number(const struct number *n, const char *text, size_t len,
                      struct xlx__cpu_wish *w)
{
    bool hex = text[0] == '0' && (text[1] | 32) == 'x';
    const char *end = text;
    uint64_t value;

    if (!(hex ? xlx__take_hex(&end, n->largest, &value)
              : xlx__take_u64(&end, n->largest, &value)) || end != text + len)
        return xlx__error(ERROR_INVAL, "\"%.*s\" must be a number up to %u",
                          len < 40 ? (int)len : 40, text, n->largest);
    *(uint32_t *)((char *)w + n->value) = (uint32_t)value;
    return 0;
}

static int put_mitigations(const char *value, size_t len,
                           struct xlx__cpu_wish *w)
{
    if (!is(value, len, "model") && !is(value, len, "auto"))
        return xlx__error(ERROR_INVAL, "\"%.*s\" must be auto or model",
                          len < 40 ? (int)len : 40, value);
    w->strict = *value == 'm';
    return 0;
}

/* NAME=VALUE; *at_r is where the fault is. */
static int parse_assignment(const char *item, size_t end, size_t len,
                            struct xlx__cpu_wish *w, size_t *at_r)
{
    const struct number *n = find_number(item, end);
    const char *value = item + end + 1;
    size_t value_len = len - end - 1;
    struct xlx__cpu_set *state;
    unsigned int bit;
    int rc;

    if (n || is(item, end, "mitigations")) {
        *at_r = end + 1;
        return n ? put_number(n, value, value_len, w)
                 : put_mitigations(value, value_len, w);
    }
    rc = xlx__cpu_find_bit(item, end, &bit);
    if (rc)
        return rc;
    *at_r = end + 1;
    state = state_of(value, value_len, w);
    if (!state)
        return xlx__error(ERROR_INVAL, "\"%.*s\" must be on or off",
                          value_len < 40 ? (int)value_len : 40, value);
    return put_feature(item, end, state, w);
}

/* One item after the model; *at_r is where in it the fault is. */
static int parse_item(const char *item, size_t len, struct xlx__cpu_wish *w,
                      size_t *at_r)
{
    const char *equals = memchr(item, '=', len);
    size_t start = len && (*item == '+' || *item == '-');
    size_t end = equals ? (size_t)(equals - item) : len;
    int rc;

    *at_r = start;
    if (end == start)
        return xlx__error(ERROR_INVAL, "a feature is expected here");
    if (equals && !start)
        return parse_assignment(item, end, len, w, at_r);
    rc = put_feature(item + start, end - start,
                     start && *item == '-' ? &w->off : &w->on, w);
    if (!rc && equals) {
        *at_r = end;
        rc = xlx__error(ERROR_INVAL, "\"=\" does not go with \"%c\"", *item);
    }
    return rc;
}

/* ---- the whole ---------------------------------------------------------- */

int xlx__cpu_parse_wish(const char *text, struct xlx__cpu_wish *wish_r)
{
    size_t at = 0, within = 0, len = strcspn(text, ",");
    struct xlx__cpu_wish w;
    int rc;

    memset(&w, 0, sizeof(w));
    w.family = w.number = w.stepping = w.level = XLX__CPU_UNSAID;

    if (strlen(text) > EXPRESSION_MAX)
        return xlx__error(ERROR_INVAL,
                          "the CPU expression has more than %d bytes",
                          EXPRESSION_MAX);
    rc = parse_model(text, len, &w);
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

static void put_said(uint32_t value, uint32_t *to)
{
    if (value != XLX__CPU_UNSAID)
        *to = value;
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
    put_said(w.family, &cpu.family);
    put_said(w.number, &cpu.model);
    put_said(w.stepping, &cpu.stepping);
    put_said(w.level, &cpu.level);
    *cpu_r = cpu;
    return 0;
}

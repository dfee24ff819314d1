/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The effect of stock xl's own cpuid=.  xl warns of some mistakes, and starts
 * the guest with all that the host has: ERROR_INVAL.  Others libxl takes for
 * something else, and a word about a leaf that does not exist ends the
 * building of the guest: ERROR_FAIL.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "cpu/cpu.h"
#include "gen-calls.h"

#define HYPERVISOR UINT32_C(0x40000000)

#define UNLEVELLED "stock xl would warn, and give the guest all that the " \
                   "host has"
#define NOT_BUILT "stock xl would take it, and then not build the guest"

static bool is(const char *word, size_t len, const char *s)
{
    return strlen(s) == len && !memcmp(word, s, len);
}

/* As long as a message has room for. */
static int shown(size_t len)
{
    return len < 40 ? (int)len : 40;
}

/* ---- the string --------------------------------------------------------- */

/* libxl's names of what has more than one bit. */
static const struct { const char *name; uint64_t largest; } numbers[] = {
    { "maxleaf", UINT32_MAX }, { "family", 15 + 255 }, { "model", 255 },
    { "stepping", 15 }, { "brandid", 255 }, { "clflush", 255 },
    { "proccount", 255 }, { "localapicid", 255 }, { "procpkg", 63 },
    { "nc", 255 }, { "apicidsize", 15 }, { "maxhvleaf", 255 },
};

static const uint64_t *largest(const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(numbers); i++)
        if (is(name, len, numbers[i].name))
            return &numbers[i].largest;
    return NULL;
}

/* Whether the installed libxl takes NAME=VALUE. */
static bool libxl_takes(const char *name, size_t len, const char *value,
                        size_t value_len)
{
    libxl_cpuid_policy_list list = NULL;
    char *item = xlx__printf("%.*s=%.*s", (int)len, name, (int)value_len,
                             value);
    bool takes = item && !libxl_cpuid_parse_config(&list, item);

    libxl_cpuid_dispose(&list);
    free(item);
    return takes;
}

static bool fits(const char *value, size_t len, const uint64_t *most)
{
    const char *end = value;
    uint64_t number;

    if (len == 1 && strchr("xks", *value))
        return true;
    if (!most)
        return len == 1 && (*value == '0' || *value == '1');
    return xlx__take_c(&end, *most, &number) && end == value + len;
}

static int check_value(const char *item, size_t end, size_t len)
{
    const char *value = item + end + 1;
    const uint64_t *most = largest(item, end);
    size_t value_len = len - end - 1;
    bool takes = libxl_takes(item, end, value, value_len);

    if (fits(value, value_len, most)) {
        if (is(item, end, "family") && (*value == 'k' || *value == 's'))
            return xlx__error(ERROR_FAIL, "libxl takes the host's family only "
                              "up to 15: write the number");
        return 0;
    }
    return xlx__error(takes ? ERROR_FAIL : ERROR_INVAL, "\"%.*s\" must be %s: "
                      "%s", shown(value_len), value,
                      most ? "a smaller number" : "0, 1, x, k or s",
                      takes ? "libxl would take some bits of it" : UNLEVELLED);
}

/* *at_r is where in it the fault is. */
static int check_item(const char *item, size_t len, size_t *at_r)
{
    const char *equals = memchr(item, '=', len);
    size_t end = equals ? (size_t)(equals - item) : len;
    unsigned int bit;

    *at_r = 0;
    if (!equals)
        return xlx__error(ERROR_INVAL, "NAME=VALUE is expected here: "
                          UNLEVELLED);
    if (!libxl_takes(item, end, "x", 1))
        return xlx__cpu_find_bit(item, end, &bit)
               ? xlx__error_prefix(ERROR_INVAL, UNLEVELLED)
               : xlx__error(ERROR_INVAL, "\"%.*s\" is not a name that the "
                                         "installed libxl "
                                         "knows: " UNLEVELLED, shown(end),
                            item);
    *at_r = end + 1;
    return check_value(item, end, len);
}

/* The item at s, which is in text. */
static int check_item_at(const char *text, const char *s)
{
    size_t within;
    int rc = check_item(s, strcspn(s, ","), &within);

    return rc ? xlx__error_prefix(rc, "cpuid, byte %zu",
                                  (size_t)(s - text) + within) : 0;
}

/* xl takes commas as strtok() does: how many there are does not matter, and a
 * line of nothing else is as good as none.  A word that makes xl ignore the
 * line is reported before all others. */
static int check_string(const char *text)
{
    const char *s = text + strspn(text, ","), *misread = NULL;
    size_t len = strcspn(s, ",");
    int rc = 0;

    if (!*s)
        return 0;
    if (!is(s, len, "host"))
        return xlx__error(ERROR_INVAL, "cpuid, byte %zu: must begin with "
                          "\"host\": " UNLEVELLED, (size_t)(s - text));
    while (rc != ERROR_INVAL && s[len]) {
        s += len;
        s += strspn(s, ",");
        len = strcspn(s, ",");
        rc = *s ? check_item_at(text, s) : 0;
        if (rc && !misread)
            misread = s;
    }
    return rc != ERROR_INVAL && misread ? check_item_at(text, misread) : rc;
}

/* ---- the list ----------------------------------------------------------- */

struct element {                        /* as far as it has been read */
    uint32_t leaf, subleaf;
    bool has_subleaf;
    unsigned int regs;                  /* a bit for each */
};

/* Moves *s behind a number. */
static bool take_number(const char **s, uint32_t *value_r)
{
    uint64_t value;

    if (!xlx__take_c(s, UINT32_MAX, &value))
        return false;
    *value_r = (uint32_t)value;
    return true;
}

static int check_leaf(const struct element *e)
{
    bool divided = e->leaf == 4 || e->leaf == 7 || e->leaf == 0xb ||
                   e->leaf == 0xd;

    if (e->leaf > XLX__CPU_MAX_LEVEL && e->leaf >> 8 != HYPERVISOR >> 8 &&
        (e->leaf < XLX__CPU_EXTENDED || e->leaf > XLX__CPU_MAX_XLEVEL))
        return xlx__error(ERROR_FAIL, "no guest has a leaf %#x: " NOT_BUILT,
                          e->leaf);
    if (divided && !e->has_subleaf)
        return xlx__error(ERROR_FAIL, "leaf %#x has sub-leaves, write %#x,0: "
                          NOT_BUILT, e->leaf, e->leaf);
    if (!divided && e->has_subleaf)
        return xlx__error(ERROR_FAIL, "leaf %#x has no sub-leaves: "
                          NOT_BUILT, e->leaf);
    return 0;
}

/* "eax=" and 32 characters; moves *s behind it, or to the fault. */
static int take_register(const char **s, struct element *e)
{
    static const char *const names[] = { "eax=", "ebx=", "ecx=", "edx=" };
    size_t len, good;
    unsigned int r = 0;

    while (r < 4 && strncmp(*s, names[r], 4))
        r++;
    if (r == 4)
        return xlx__error(ERROR_INVAL, "eax=, ebx=, ecx= or edx= is expected "
                                       "here: " UNLEVELLED);
    if (e->regs >> r & 1)
        return xlx__error(ERROR_FAIL, "%.3s was there before: stock xl would "
                          "forget that", names[r]);
    e->regs |= 1u << r;
    *s += 4;
    len = strcspn(*s, ",");
    good = strspn(*s, "01xks");
    if (len != 32)
        return xlx__error(ERROR_INVAL, "%zu characters, and must be 32: "
                          UNLEVELLED, len);
    *s += good < len ? good : len;
    return good < len ? xlx__error(ERROR_FAIL, "must be 0, 1, x, k or s: "
                                   NOT_BUILT) : 0;
}

/* Whether the installed libxl takes an element. */
static bool libxl_takes_element(const char *text)
{
    libxl_cpuid_policy_list list = NULL;
    bool takes = !libxl_cpuid_parse_config_xend(&list, text);

    libxl_cpuid_dispose(&list);
    return takes;
}

/* *s is where the fault is. */
static int read_element(const char **s, struct element *e)
{
    int rc;

    memset(e, 0, sizeof(*e));
    if (!take_number(s, &e->leaf))
        return xlx__error(ERROR_INVAL, "the number of a leaf is expected "
                                       "here: "
                          UNLEVELLED);
    if (**s == ',') {
        ++*s;
        e->has_subleaf = true;
        if (!take_number(s, &e->subleaf))
            return xlx__error(ERROR_INVAL, "the number of a sub-leaf is "
                                           "expected here: " UNLEVELLED);
    }
    if (**s != ':')
        return xlx__error(ERROR_INVAL, "\":\" is expected here: " UNLEVELLED);
    rc = check_leaf(e);
    while (!rc && **s) {                /* nothing after the last is fine */
        ++*s;
        if (**s)
            rc = take_register(s, e);
    }
    return rc;
}

/* An element that libxl's parser takes is never refused, however it was
 * meant: libxl skips blanks before numbers and registers, cuts numbers to 32
 * bits, and looks at no more than e.x of a register's name. */
static int check_element(const char *text, int number, struct element *e)
{
    bool takes = libxl_takes_element(text);
    const char *s = text;
    int rc = read_element(&s, e);

    if (rc != ERROR_INVAL && !takes)    /* a fault behind this one */
        rc = xlx__error(ERROR_INVAL, "libxl does not take it: " UNLEVELLED);
    if (rc == ERROR_INVAL && takes)
        rc = xlx__error(ERROR_FAIL, "write LEAF[,SUBLEAF]:REGISTER=BITS "
                        "without more: stock xl takes it, in its own way");
    return rc ? xlx__error_prefix(rc, "cpuid, element %d, byte %zu", number,
                                  (size_t)(s - text)) : 0;
}

/* Element i, of which those before have been read. */
static int check_element_at(char *const *list, struct element *all, int i)
{
    int rc = check_element(xlx__text(list[i]), i + 1, &all[i]), j;

    for (j = 0; !rc && j < i; j++)
        if (all[j].leaf == all[i].leaf && all[j].subleaf == all[i].subleaf &&
            (all[j].regs & all[i].regs))
            rc = xlx__error(ERROR_FAIL, "cpuid, element %d, byte %zu: leaf "
                            "%#x says again what element %d says: stock xl "
                            "would forget that", i + 1,
                            strlen(xlx__text(list[i])), all[i].leaf, j + 1);
    return rc;
}

static int check_list(char *const *list, int num)
{
    struct element *all = calloc((size_t)num, sizeof(*all));
    int i, rc = 0, misread = -1;

    if (!all)
        return xlx__nomem();
    for (i = 0; i < num && rc != ERROR_INVAL; i++) {
        rc = check_element_at(list, all, i);
        if (rc && misread < 0)
            misread = i;
    }
    if (rc != ERROR_INVAL && misread >= 0)
        rc = check_element_at(list, all, misread);
    free(all);
    return rc;
}

int xlx__cpu_lint(xlx_ctx *ctx, const xlx_cpu_config *config)
{
    (void)ctx;
    if (config->num_list)
        return check_list(config->list, config->num_list);
    return check_string(xlx__text(config->string));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processors as libvirt writes them: <cpudata>, the leaves, and <cpu>, a model
 * with features, of a host or for a guest.  Both are flat: elements with
 * attributes, and few with a text.  The first of its kind in the file counts,
 * so that the XML of a whole host or guest can be given.
 */
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "cpu/cpu.h"

#define NAME_MAX_LEN 64

/* ---- elements ----------------------------------------------------------- */

struct element {
    const char *start, *end;            /* from '<' to behind '>' */
};

/* The next element from s on, comments left out; false if there is none. */
static bool next_element(const char *s, struct element *e)
{
    while ((s = strchr(s, '<')) && !strncmp(s, "<!--", 4)) {
        s = strstr(s, "-->");
        if (!s)
            return false;
    }
    e->start = s;
    e->end = s ? strchr(s, '>') : NULL;
    if (!e->end)
        return false;
    e->end++;
    return true;
}

static bool is_element(const struct element *e, const char *name)
{
    size_t len = strlen(name);

    return !strncmp(e->start + 1, name, len) &&
           strchr(" \t\r\n/>", e->start[len + 1]);
}

/* The first element of that name from s on. */
static bool find_element(const char *s, const char *name, struct element *e)
{
    for (e->end = s; next_element(e->end, e); )
        if (is_element(e, name))
            return true;
    return false;
}

/* The value of an attribute; false if there is none, or it is too long. */
static bool attribute(const struct element *e, const char *name,
                      char value[NAME_MAX_LEN])
{
    const char *s = e->start + 1, *end;
    size_t len = strlen(name);

    while (s < e->end) {
        s += strcspn(s, " \t\r\n/>");
        s += strspn(s, " \t\r\n/");
        if (s >= e->end || *s == '>')
            return false;
        if (strncmp(s, name, len) || s[len] != '=')
            continue;
        s += len + 1;
        end = *s == '\'' || *s == '"' ? strchr(s + 1, *s) : NULL;
        if (!end || end >= e->end || end - s > NAME_MAX_LEN)
            return false;
        memcpy(value, s + 1, (size_t)(end - s - 1));
        value[end - s - 1] = '\0';
        return true;
    }
    return false;
}

static bool number(const struct element *e, const char *name, int base,
                   uint32_t *value_r)
{
    char value[NAME_MAX_LEN];
    uint64_t n;

    if (!attribute(e, name, value) ||
        !(base == 16 ? xlx__parse_hex(value, UINT32_MAX, &n)
                     : xlx__parse_u64(value, UINT32_MAX, &n)))
        return false;
    *value_r = (uint32_t)n;
    return true;
}

/* The text between the element and the next one, without blanks. */
static bool text_of(const struct element *e, char text[NAME_MAX_LEN])
{
    const char *s = e->end + strspn(e->end, " \t\r\n");
    size_t len = strcspn(s, " \t\r\n<");

    if (!len || len >= NAME_MAX_LEN || e->end[-2] == '/')
        return false;
    memcpy(text, s, len);
    text[len] = '\0';
    return true;
}

static int wrong(const struct element *e)
{
    ptrdiff_t len = e->end - e->start;

    return xlx__error(ERROR_INVAL, "\"%.*s\" lacks something, or has what "
                      "cannot be", len < 80 ? (int)len : 80, e->start);
}

/* ---- <cpudata> ---------------------------------------------------------- */

static int leaf(const struct element *e, struct xlx__cpu_dump *d)
{
    static const char *const names[] = { "eax", "ebx", "ecx", "edx" };
    struct xlx__cpu_leaf l;
    unsigned int i;

    if (!number(e, "eax_in", 16, &l.leaf))
        return wrong(e);
    if (!number(e, "ecx_in", 16, &l.subleaf))
        l.subleaf = 0;
    for (i = 0; i < 4; i++)
        if (!number(e, names[i], 16, &l.reg[i]))
            return wrong(e);
    return xlx__cpu_dump_leaf(d, &l);
}

static int msr(const struct element *e, struct xlx__cpu_dump *d)
{
    uint32_t index, low, high;

    if (!number(e, "index", 16, &index) || !number(e, "eax", 16, &low) ||
        !number(e, "edx", 16, &high))
        return wrong(e);
    return xlx__cpu_dump_msr(d, index, (uint64_t)high << 32 | low);
}

static int read_leaves(const char *text, struct xlx__cpu_dump *d)
{
    struct element e;
    int rc = 0;

    if (!find_element(text, "cpudata", &e))
        return xlx__error(ERROR_INVAL, "no <cpudata> or <cpu> of libvirt's");
    while (!rc && next_element(e.end, &e) && !is_element(&e, "/cpudata")) {
        if (is_element(&e, "cpuid"))
            rc = leaf(&e, d);
        else if (is_element(&e, "msr"))
            rc = msr(&e, d);
    }
    return rc;
}

/* ---- <cpu> -------------------------------------------------------------- */

/* The letters of CPUID leaf 0. */
static int set_vendor(struct xlx__cpu *cpu, const char *name)
{
    static const char *const all[][2] = {
        { "Intel", "GenuineIntel" }, { "AMD", "AuthenticAMD" },
        { "Hygon", "HygonGenuine" }, { "Zhaoxin", "CentaurHauls" },
    };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(all); i++) {
        if (strcmp(all[i][0], name))
            continue;
        memcpy(cpu->vendor, all[i][1], sizeof(cpu->vendor));
        return 0;
    }
    return xlx__error(ERROR_INVAL, "vendor \"%s\" is not known", name);
}

/* Bits in the MSRs of VMX are not features of ours. */
static int set_feature(const struct element *e, struct xlx__cpu *cpu)
{
    char name[NAME_MAX_LEN], policy[NAME_MAX_LEN];
    char prefixed[NAME_MAX_LEN + 8] = "libvirt:";
    unsigned int bit;
    bool off;
    int rc;

    if (!attribute(e, "name", name))
        return wrong(e);
    if (!strncmp(name, "vmx-", 4))
        return 0;
    strcat(prefixed, name);
    rc = xlx__cpu_find_bit(prefixed, strlen(prefixed), &bit);
    if (rc)
        return rc;
    off = attribute(e, "policy", policy) &&
          (!strcmp(policy, "disable") || !strcmp(policy, "forbid"));
    xlx__cpu_put(&cpu->features, bit, !off);
    return 0;
}

static int set_model(const char *name, struct xlx__cpu *cpu)
{
    char prefixed[NAME_MAX_LEN + 8] = "libvirt:";
    const struct xlx__cpu_model *m;
    int rc;

    strcat(prefixed, name);
    rc = xlx__cpu_find_model(prefixed, strlen(prefixed), &m);
    if (rc) return rc;
    xlx__cpu_of_model(m, cpu);
    return 0;
}

static int set_part(const struct element *e, struct xlx__cpu *cpu)
{
    char text[NAME_MAX_LEN];

    if (is_element(e, "feature"))
        return set_feature(e, cpu);
    if (is_element(e, "vendor"))
        return text_of(e, text) ? set_vendor(cpu, text) : wrong(e);
    if (is_element(e, "signature"))
        return number(e, "family", 10, &cpu->family) &&
               number(e, "model", 10, &cpu->model) &&
               number(e, "stepping", 10, &cpu->stepping) ? 0 : wrong(e);
    return 0;
}

/* The model first, wherever it is, because the others change it. */
static int read_model(const struct element *whole, struct xlx__cpu *cpu)
{
    struct element e = *whole;
    char text[NAME_MAX_LEN];
    bool found = false;
    int rc;

    while (!found && next_element(e.end, &e) && !is_element(&e, "/cpu"))
        found = is_element(&e, "model");
    if (!found || !text_of(&e, text))
        return xlx__error(ERROR_INVAL, "<cpu> names no model, and so says "
                          "nothing of a processor");
    rc = set_model(text, cpu);
    for (e = *whole; !rc && next_element(e.end, &e) &&
                     !is_element(&e, "/cpu"); )
        rc = set_part(&e, cpu);
    return rc;
}

/* ---- the whole ---------------------------------------------------------- */

/* The CPUs of a topology are <cpu id="0"/>. */
static bool has_several(const char *text)
{
    const char *end = strstr(text, "</cpu>");

    if (!end)
        end = strstr(text, "</cpudata>");
    return end && (strstr(end + 1, "</cpu>") || strstr(end + 1, "</cpudata>"));
}

static bool is_cut(const char *text)
{
    struct element e;

    if (strstr(text, "</cpu>") || strstr(text, "</cpudata>"))
        return false;
    if (find_element(text, "cpu", &e) || find_element(text, "cpudata", &e))
        return e.end[-2] != '/';
    return strstr(text, "<cpu");
}

int xlx__cpu_parse_xml(const char *text, struct xlx__cpu *cpu_r)
{
    struct xlx__cpu_dump d = { .leaves = NULL };
    struct xlx__cpu cpu;
    struct element e;
    int rc;

    if (is_cut(text)) {
        rc = xlx__error(ERROR_INVAL, "the XML is cut: <cpu> or <cpudata> does "
                        "not end");
    } else if (has_several(text)) {
        rc = xlx__error(ERROR_INVAL, "holds more than one processor: put each "
                        "into a file of its own");
    } else if (find_element(text, "cpu", &e)) {
        rc = read_model(&e, &cpu);
    } else {
        rc = read_leaves(text, &d);
        if (!rc)
            rc = xlx__cpu_decode(&d, &cpu);
    }
    xlx__cpu_dump_free(&d);
    if (rc) return rc;
    *cpu_r = cpu;
    return 0;
}

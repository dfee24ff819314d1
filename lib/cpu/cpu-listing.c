/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lists of what a system knows of its processor: /proc/cpuinfo, lscpu, the
 * hw_caps of xl info, and xe host-cpu-info.  Each has only a part of the
 * features, and the note says which.
 */
#include <string.h>
#include <strings.h>

#include "core/number.h"
#include "cpu/cpu.h"

#define NAME_LEN 40

struct listing {
    struct xlx__cpu *cpu;
    struct xlx__cpu_set flags, words;
    bool has_flags, has_words;
    unsigned int firsts;                /* processors with number 0 */
};

/* ---- Linux's names ------------------------------------------------------ */

/* Where they are not anybody else's.  Flags that follow from others, or that
 * are about Linux, are not here, and no features. */
static const struct { const char *linux_name, *intel, *amd; } known[] = {
    { "ibrs", "spec-ctrl", "ibrs" }, { "ibpb", "spec-ctrl", "ibpb" },
    { "stibp", "stibp", "amd-stibp" }, { "ssbd", "ssbd", "amd-ssbd" },
    { "nonstop_tsc", "invtsc", "invtsc" }, { "cqm", "7b0[12]", "7b0[12]" },
    { "rdt_a", "7b0[15]", "7b0[15]" },
    { "pausefilter", "pause-filter", "pause-filter" },
    { "clflush", "qemu:clflush", "qemu:clflush" },
    { "ibrs_enhanced", "", "" }, { "user_shstk", "", "" },
};

static void put_flag(struct listing *l, const char *flag, size_t len)
{
    bool amd = strcmp(l->cpu->vendor, "GenuineIntel");
    const char *name = flag;
    struct xlx__error_text text;
    unsigned int bit;
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(known); i++)
        if (strlen(known[i].linux_name) == len &&
            !strncmp(known[i].linux_name, flag, len))
            name = amd ? known[i].amd : known[i].intel;
    if (name != flag)
        len = strlen(name);
    if (!len || len > NAME_LEN)
        return;
    xlx__error_save(&text);
    if (!xlx__cpu_find_bit(name, len, &bit))
        xlx__cpu_put(&l->flags, bit, true);
    xlx__error_restore(&text);
}

/* Flags are of one processor, so those of all others are the same or fewer. */
static void put_flags(struct listing *l, const char *s, const char *end)
{
    size_t len;

    for (; s < end; s += len) {
        s += strspn(s, " \t");
        len = strcspn(s, " \t\n");
        if (!len || s >= end)
            break;
        put_flag(l, s, len);
    }
}

/* ---- Xen's words -------------------------------------------------------- */

/* Up to Xen 4.6 they were Linux's of that time: 1.edx, 0x80000001.edx, two
 * others, 1.ecx, another one, 0x80000001.ecx, 7.ebx. */
static void put_caps(struct listing *l, const char *s)
{
    const uint32_t lm = UINT32_C(1) << XLX__CPU_LM % 32;
    uint32_t w[8] = { 0 };
    unsigned int n = 0;
    uint64_t value;

    while (n < 8 && xlx__take_hex(&s, UINT32_MAX, &value)) {
        w[n++] = (uint32_t)value;
        s += *s == ':';
    }
    if (n < 8 || l->has_words)
        return;
    l->has_words = true;
    memcpy(l->words.word, w, sizeof(w));
    if (!(w[2] & lm) && (w[1] & lm)) {
        memset(&l->words, 0, sizeof(l->words));
        l->words.word[0] = w[0];
        l->words.word[1] = w[4];
        l->words.word[2] = w[1];
        l->words.word[3] = w[6];
        l->words.word[5] = w[7];
    }
    xlx__cpu_drop_copies(&l->words);
    l->cpu->note = "hw_caps has 8 words of features, without those about "
                   "cures and AVX-512's younger parts, and no vendor";
}

static int put_words(struct listing *l, const char *s, const char *end)
{
    char text[512];
    size_t len = (size_t)(end - s);
    int rc;

    if (len >= sizeof(text))
        return xlx__error(ERROR_INVAL, "features: more than can be");
    memcpy(text, s, len);
    text[len] = '\0';
    rc = xlx__cpu_parse_featureset(text, &l->words);
    if (rc)
        return rc;
    l->has_words = true;
    l->cpu->given = xlx__cpu_has(&l->words, XLX__CPU_HYPERVISOR);
    l->cpu->note = "XAPI tells the features that Xen has for guests, and no "
                   "others of the hardware";
    return 0;
}

/* ---- lines -------------------------------------------------------------- */

/* Blanks at the end do not count. */
static bool is_key(const char *s, size_t len, const char *key)
{
    while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
        len--;
    return strlen(key) == len && !strncasecmp(s, key, len);
}

static void take_number(const char *s, size_t len, const char *value,
                        const char *key, uint32_t *to)
{
    if (is_key(s, len, key))
        xlx__take_u32(&value, UINT32_MAX, to);
}

static int put_value(struct listing *l, const char *s, size_t len,
                     const char *value, const char *end)
{
    struct xlx__cpu *cpu = l->cpu;

    if (is_key(s, len, "hw_caps"))
        put_caps(l, value);
    else if (is_key(s, len, "features_hvm") ||
             (is_key(s, len, "features") && !l->has_words))
        return put_words(l, value, end);
    else if (is_key(s, len, "processor"))
        l->firsts += end - value == 1 && *value == '0';
    else if (is_key(s, len, "vendor_id") || is_key(s, len, "vendor id") ||
             is_key(s, len, "vendor")) {
        if (end - value == 12)
            memcpy(cpu->vendor, value, 12);
    } else {
        take_number(s, len, value, "cpu family", &cpu->family);
        take_number(s, len, value, "family", &cpu->family);
        take_number(s, len, value, "model", &cpu->model);
        take_number(s, len, value, "stepping", &cpu->stepping);
        take_number(s, len, value, "cpuid level", &cpu->level);
    }
    return 0;
}

/* ";" ends a line of xe host-param-get. */
static const char *end_of(const char *s)
{
    return s + strcspn(s, "\n;");
}

/* The flags of the first processor, which may go on in lines without a key. */
static void read_flags(struct listing *l, const char *value)
{
    const char *end = end_of(value);

    if (l->has_flags)
        return;
    l->has_flags = true;
    put_flags(l, value, end);
    while (*end == '\n' && !memchr(end + 1, ':', strcspn(end + 1, "\n"))) {
        value = end + 1;
        end = end_of(value);
        if (end == value)
            break;
        put_flags(l, value, end);
    }
    if (!l->has_words)
        l->cpu->note = "Linux lists the features that it knows and uses, and "
                       "nothing of MSRs: others may be there";
}

static int read_lines(struct listing *l, const char *text, bool flags)
{
    const char *s = text, *end, *colon, *value;
    int rc = 0;

    for (; !rc && *s; s = end + (*end != '\0')) {
        s += strspn(s, " \t");
        end = end_of(s);
        colon = memchr(s, ':', (size_t)(end - s));
        if (!colon)
            continue;
        value = colon + 1 + strspn(colon + 1, " \t");
        if (value > end)
            value = end;
        if (is_key(s, (size_t)(colon - s), "flags")) {
            if (flags)
                read_flags(l, value);
        } else if (!flags) {
            rc = put_value(l, s, (size_t)(colon - s), value, end);
        }
    }
    return rc;
}

bool xlx__cpu_is_listing(const char *text)
{
    static const char *const keys[] = { "flags", "hw_caps", "features",
                                        "features_hvm" };
    const char *s, *colon;
    size_t i;

    if (strstr(text, "eax=") || strstr(text, " policy:"))
        return false;
    for (s = text; *s; s = end_of(s), s += *s != '\0') {
        s += strspn(s, " \t");
        colon = memchr(s, ':', (size_t)(end_of(s) - s));
        for (i = 0; colon && i < XLX__ARRAY_SIZE(keys); i++)
            if (is_key(s, (size_t)(colon - s), keys[i]))
                return true;
    }
    return false;
}

int xlx__cpu_parse_listing(const char *text, struct xlx__cpu *cpu_r)
{
    struct xlx__cpu cpu = { .family = 0 };
    struct listing l = { .cpu = &cpu };
    int rc;

    /* what flags mean depends on the vendor */
    rc = read_lines(&l, text, false);
    if (!rc)
        rc = read_lines(&l, text, true);
    if (rc)
        return rc;
    if (l.firsts > 1)
        return xlx__error(ERROR_INVAL, "holds more than one host: put each "
                          "into a file of its own");
    cpu.features = l.has_words ? l.words : l.flags;
    if (!xlx__cpu_count(&cpu.features))
        return xlx__error(ERROR_INVAL, "no features in its flags, hw_caps or "
                          "features");
    *cpu_r = cpu;
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cpuid="MODEL,+FEATURE,-FEATURE" in a config: stock xl would warn, and start
 * the guest with all that the host has.  It gets the same in its own words;
 * what it understands anyway goes through as it is.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "guard.h"
#include "text.h"

/* ---- whose words?
 *
 * Those that stock xl takes without a word are its own, whatever they may
 * mean: libxl's parser is asked, by xlx_cpu_lint(3).  Only others can be ours.
 */

/* An item that stock xl cannot take: "+avx", "-avx", "avx", "avx=on". */
static bool is_our_item(const char *item, size_t len)
{
    const char *equals = memchr(item, '=', len);
    size_t value_len = equals ? len - (size_t)(equals + 1 - item) : 0;

    return !equals || *item == '+' || *item == '-' ||
           (value_len == 2 && !memcmp(equals + 1, "on", 2)) ||
           (value_len == 3 && !memcmp(equals + 1, "off", 3));
}

/* xl's own form is "host" and then items that are all its own. */
static bool is_ours(const char *string)
{
    size_t len = strcspn(string, ",");

    if (len != 4 || memcmp(string, "host", 4))
        return true;
    for (string += len; *string; string += len) {
        string++;
        len = strcspn(string, ",");
        if (len && is_our_item(string, len))
            return true;
    }
    return false;
}

/* xl's own elements begin with the number of a leaf. */
static bool is_our_element(const char *element)
{
    return !strchr("0123456789", *element);
}

/* The elements up to the first that is not a string, because stock xl stops
 * there. */
static int count_elements(XLU_ConfigList *list, int num)
{
    int i = 0;

    while (i < num && xlu_cfg_get_listitem(list, i))
        i++;
    return i;
}

/* ---- what else the config says ------------------------------------------ */

/* nestedhvm=1, unless the config forbids it.  Exit status. */
static int add_nested(struct guard_start *s)
{
    long number;

    if (!xlu_cfg_get_long(s->config.cfg, "nestedhvm", &number, 1) && !number) {
        xl_message("cpuid: vmx or svm is asked for, and nestedhvm=0 forbids"
                   " it: take one of them out");
        return 1;
    }
    guard_add_line(s, xl_format("nestedhvm=1"));
    return 0;
}

/* ---- what is stock xl's own --------------------------------------------- */

/* Says what will come of a line that stock xl takes.  Exit status. */
static int report(int rc)
{
    if (rc)
        xl_message("%s%s", rc == ERROR_FAIL ? "warning: " : "",
                   xlx_error_get());
    return rc && rc != ERROR_FAIL;
}

/* 0, ERROR_FAIL or, where stock xl would ignore the line, ERROR_INVAL.  first:
 * the element from which on it counts. */
static int lint_list(struct guard_start *s, XLU_ConfigList *list, int first,
                     int num)
{
    xlx_cpu_config config;
    int i, rc;

    if (first == num)
        return 0;
    xlx_cpu_config_init(&config);
    config.list = calloc((size_t)num, sizeof(*config.list));
    if (!config.list)
        xl_no_memory();
    for (i = 0; i < num; i++)           /* "0:" says nothing */
        config.list[config.num_list++] =
            (char *)(i < first ? "0:" : xlu_cfg_get_listitem(list, i));
    rc = xlx_cpu_lint(s->ctx, &config);
    free(config.list);                  /* the elements are borrowed */
    return rc;
}

static int lint_string(struct guard_start *s, const char *string)
{
    xlx_cpu_config config;

    xlx_cpu_config_init(&config);
    config.string = (char *)string;
    return xlx_cpu_lint(s->ctx, &config);
}

/* The elements of the list after the first as they would be in the config. */
static char *other_elements(XLU_ConfigList *list, int num)
{
    char *text = xl_format("%s", "");
    int i;

    for (i = 1; i < num; i++) {
        if (i > 1)
            text = guard_append(text, ", ");
        text = guard_append_string(text, xlu_cfg_get_listitem(list, i));
    }
    return text;
}

/* ---- translation -------------------------------------------------------- */

/* The line in stock xl's words; more are elements of a list that go with it,
 * or NULL.  Exit status. */
static int translate(struct guard_start *s, const char *expression,
                     const char *more)
{
    xlx_cpu_form form = more ? XLX_CPU_FORM_LIST : XLX_CPU_FORM_STRING;
    char *lacks = NULL, *value;
    xlx_cpu_config config;
    xlx_cpu_hosts hosts;
    xlx_cpu_host host;
    int rc, status = 1;

    xlx_cpu_config_init(&config);
    xlx_cpu_host_init(&host);
    hosts.hosts = &host;
    hosts.num_hosts = 1;
    rc = xlx_cpu_host_get(
        s->ctx, guest_config_type(&s->config) == LIBXL_DOMAIN_TYPE_PV, &host);
    if (!rc)
        rc = xlx_cpu_render(s->ctx, expression, &hosts, form, &config);
    if (!rc)
        lacks = cpu_config_lacks(expression, &config);
    if (rc || lacks) {
        xl_message("cpuid: %s", lacks ? lacks : xlx_error_get());
    } else {
        value = cpu_config_value(&config, ", ",
                                 more && *more ? more : NULL);
        guard_add_line(s, xl_format("cpuid=%s", value));
        free(value);
        status = config.nested ? add_nested(s) : 0;
    }
    free(lacks);
    xlx_cpu_host_dispose(&host);
    xlx_cpu_config_dispose(&config);
    return status;
}

static int check_string(struct guard_start *s, const char *string)
{
    int rc = lint_string(s, string);

    return rc == ERROR_INVAL && is_ours(string) ? translate(s, string, NULL)
                                                : report(rc);
}

static int check_list(struct guard_start *s, XLU_ConfigList *list, int num)
{
    const char *first = xlu_cfg_get_listitem(list, 0);
    int rc = lint_list(s, list, 0, num), status;
    char *more;

    if (rc != ERROR_INVAL || !is_our_element(first))
        return report(rc);
    if (report(lint_list(s, list, 1, num)))
        return 1;
    more = other_elements(list, num);
    status = translate(s, first, more);
    free(more);
    return status;
}

static int check_start(struct guard_start *s)
{
    XLU_Config *cfg = s->config.cfg;
    XLU_ConfigList *list;
    const char *string;
    int num;

    /* a guest that is restored has what it was saved with */
    if (!cfg || s->save_file)
        return 0;
    if (!xlu_cfg_get_string(cfg, "cpuid", &string, 1))
        return check_string(s, string);
    if (xlu_cfg_get_list(cfg, "cpuid", &list, &num, 1))
        return 0;
    num = count_elements(list, num);
    return num ? check_list(s, list, num) : 0;
}

const struct guard_concept guard_cpu = { .check = check_start };

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which devices may be given to guests: the lines of the administrator's file,
 * of which the first that names the device decides, and after them what holds
 * for every host: no hub, and no keyboard with which it is operated.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "usb/usb.h"

#define MAX_LINE 4200

static const char *policy_path(void)
{
    const char *path = secure_getenv("LIBXLX_USB_POLICY");

    return path ? path : XLX_USB_POLICY;
}

/* "allow SELECTOR" or "deny SELECTOR"; "any" is every device, "keyboard" each
 * on which this host's administrator types. */
static int parse_rule(char *line, xlx_usb_rule *rule)
{
    char *word, *rest;
    int rc;

    word = strtok_r(line, " \t", &rest);
    rest += strspn(rest, " \t");
    if (!strcmp(word, "allow"))
        rule->allow = true;
    else if (strcmp(word, "deny"))
        return xlx__error(ERROR_INVAL, "\"%s\": must be allow or deny", word);
    if (!*rest)
        return xlx__error(ERROR_INVAL, "a selector, \"keyboard\" or "
                          "\"any\" is missing");
    rc = xlx__set_string(&rule->text, rest);
    if (rc) return rc;
    rule->any = !strcmp(rest, "any");
    rule->keyboard = !strcmp(rest, "keyboard");
    if (rule->any || rule->keyboard)
        return 0;
    rc = xlx__usb_selector_read(NULL, rest, &rule->selector);
    if (rc) return rc;
    if (rule->selector.kind == XLX_USB_SELECTOR_KIND_SYSFS)
        return xlx__error(ERROR_INVAL, "selector \"%s\": a rule takes no path "
                          "of a file", rest);
    return 0;
}

static int add_rule(char *line, unsigned int number, xlx_usb_policy *policy)
{
    xlx_usb_rule *rule = xlx__usb_policy_rules_append(policy);

    if (!rule)
        return ERROR_NOMEM;
    rule->line = number;
    return parse_rule(line, rule);
}

static int read_rules(FILE *f, const char *path, xlx_usb_policy *policy)
{
    char line[MAX_LINE], *text;
    unsigned int number = 0;
    size_t len;
    int rc = 0;

    while (!rc && fgets(line, sizeof(line), f)) {
        number++;
        len = strlen(line);
        if (len == sizeof(line) - 1 && line[len - 1] != '\n')
            return xlx__error(ERROR_INVAL, "%s:%u: the line is too long",
                              path, number);
        while (len && strchr(" \t\r\n", line[len - 1]))
            line[--len] = '\0';
        text = line + strspn(line, " \t");
        if (!*text || *text == '#')
            continue;
        rc = add_rule(text, number, policy);
        if (rc)
            xlx__error_prefix(rc, "%s:%u", path, number);
    }
    return rc;
}

/* The rules after those of the file. */
static int add_built_in(xlx_usb_policy *policy)
{
    static const char *const rules[] = {
        "deny class:hub", "deny keyboard", "allow any",
    };
    char line[32];
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < XLX__ARRAY_SIZE(rules); i++) {
        snprintf(line, sizeof(line), "%s", rules[i]);
        rc = add_rule(line, 0, policy);
    }
    return rc;
}

int xlx__usb_policy_get(xlx_ctx *ctx, xlx_usb_policy *policy)
{
    const char *path = policy_path();
    FILE *f;
    int rc;

    (void)ctx;
    rc = xlx__set_string(&policy->path, path);
    if (rc) return rc;
    f = fopen(path, "re");
    if (!f && errno != ENOENT)
        return xlx__error(ERROR_FAIL, "%s: %m", path);
    if (f) {
        rc = read_rules(f, path, policy);
        fclose(f);
    }
    return rc ? rc : add_built_in(policy);
}

/* The objection of the rule, for a message. */
static char *reason(const xlx_usb_rule *rule, const char *path,
                    const xlx_usb_host_device *d)
{
    if (rule->line)
        return xlx__printf("%s:%u: deny %s", path, rule->line, rule->text);
    if (!strcmp(rule->text, "class:hub"))
        return xlx__printf("it is a hub: attach what is plugged into it");
    return xlx__printf("it is a keyboard of this host (%s), and the built-in "
                       "rule is \"deny keyboard\": a line \"allow %04x:%04x\" "
                       "in %s lets guests have it", xlx__text(d->keyboard),
                       d->vendor, d->product, path);
}

static bool names(const xlx_usb_rule *rule, const xlx_usb_host_device *d)
{
    if (rule->any)
        return true;
    return rule->keyboard ? *xlx__text(d->keyboard) != '\0'
                          : xlx__usb_selector_matches(&rule->selector, d);
}

int xlx__usb_judge(const xlx_usb_policy *policy,
                   const xlx_usb_host_device *d, char **denied_r)
{
    const xlx_usb_rule *rule;
    char *denied = NULL;
    int i;

    for (i = 0; i < policy->num_rules; i++) {
        rule = &policy->rules[i];
        if (!names(rule, d))
            continue;
        denied = rule->allow ? xlx__printf("%s", "")
                             : reason(rule, xlx__text(policy->path), d);
        if (!denied)
            return xlx__nomem();
        break;
    }
    free(*denied_r);
    *denied_r = denied;
    return 0;
}

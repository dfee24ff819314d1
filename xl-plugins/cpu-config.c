/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPU expressions as config: what to write, and what to say when it cannot be
 * had; see cpu.h. */
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "text.h"

/* Takes text. */
static char *joined(char *text, const char *between, const char *more)
{
    char *longer = xl_format("%s%s%s", text, between, more);

    free(text);
    return longer;
}

/* The expression without the feature: it is put off, or no longer put on.
 * Takes expression. */
static char *without(char *expression, const char *name)
{
    char *item = xl_format(",+%s", name), *at = strstr(expression, item);
    size_t len = strlen(item);

    free(item);
    if (!at || (at[len] && at[len] != ','))
        return joined(expression, ",-", name);
    memmove(at, at + len, strlen(at + len) + 1);
    return expression;
}

char *cpu_config_lacks(const char *expression, const xlx_cpu_config *c)
{
    char *names, *instead, *message;
    int i;

    if (!c->num_lacking)
        return NULL;
    names = xl_format("%s", "");
    instead = xl_format("%s", expression);
    for (i = 0; i < c->num_lacking; i++) {
        names = joined(names, i ? ", " : "", c->lacking[i]);
        instead = without(instead, c->lacking[i]);
    }
    message = xl_format("\"%s\" cannot be had here, because the host has no "
                        "%s for its guests: take an older model, or write "
                        "\"%s\"",
                        expression, names, instead);
    free(names);
    free(instead);
    return message;
}

char *cpu_config_value(const xlx_cpu_config *c, const char *between,
                       const char *more)
{
    char *value;
    int i;

    if (!c->num_list)
        return xl_format("\"%s\"", c->string);
    value = xl_format("[ ");
    for (i = 0; i < c->num_list; i++) {
        value = joined(value, i ? between : "", "\"");
        value = joined(value, c->list[i], "\"");
    }
    if (more)
        value = joined(value, between, more);
    return joined(value, " ]", "");
}

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
        instead = joined(instead, ",-", c->lacking[i]);
    }
    message = xl_format("\"%s\" cannot be had here, for the host has no %s for"
                        " its guests: take an older model, or write \"%s\"",
                        expression, names, instead);
    free(names);
    free(instead);
    return message;
}

char *cpu_config_value(const xlx_cpu_config *c, const char *more)
{
    char *value;
    int i;

    if (!c->num_list)
        return xl_format("\"%s\"", c->string);
    value = xl_format("[ ");
    for (i = 0; i < c->num_list; i++) {
        value = joined(value, i ? ",\n          \"" : "\"", c->list[i]);
        value = joined(value, "\"", "");
    }
    if (more)
        value = joined(value, ", ", more);
    return joined(value, " ]", "");
}

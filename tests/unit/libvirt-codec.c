/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For libvirt-codec.py: each line "TYPE HEX" of the input is read as such a
 * message and written again: a line "HEX", or "error: WHY".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen-libvirt.h"

static const struct lv_type *find(const char *name)
{
    int i;

    for (i = 0; i < LV_NUM_TYPES; i++)
        if (!strcmp(lv_types[i]->name, name))
            return lv_types[i];
    fprintf(stderr, "%s: no such type\n", name);
    exit(1);
}

static unsigned int digit(char c)
{
    return (unsigned int)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* In place; how many bytes. */
static size_t from_hex(char *hex)
{
    uint8_t *to = (uint8_t *)hex;
    size_t num;

    for (num = 0; hex[2 * num]; num++)
        to[num] = (uint8_t)(digit(hex[2 * num]) << 4 |
                            digit(hex[2 * num + 1]));
    return num;
}

static void echo(const struct lv_type *type, const char *hex)
{
    struct lv_buffer out = { 0 };
    char *data = strdup(hex);
    void *value = malloc(type->size);
    const char *why;
    uint8_t *exact;
    size_t len, i;

    if (!data || !value)
        exit(1);
    len = from_hex(data);
    exact = malloc(len + !len);         /* so that ASan sees its end */
    if (!exact)
        exit(1);
    memcpy(exact, data, len);
    if (lv_decode(type, exact, len, value, &why) < 0) {
        printf("error: %s\n", why);
    } else {
        lv_encode(type, value, &out);
        for (i = 0; i < out.len; i++)
            printf("%02x", out.data[i]);
        puts(out.failed ? " failed" : "");
        lv_free(type, value);
    }
    lv_buffer_free(&out);
    free(value);
    free(exact);
    free(data);
}

int main(void)
{
    char *line = NULL, *space;
    size_t size = 0;

    while (getline(&line, &size, stdin) > 0) {
        line[strcspn(line, "\n")] = '\0';
        space = strchr(line, ' ');
        if (!space)
            return 1;
        *space = '\0';
        echo(find(line), space + 1);
    }
    free(line);
    return 0;
}

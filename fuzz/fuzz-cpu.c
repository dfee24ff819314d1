/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes what reads processors: the first byte says whether the rest is an
 * expression or a dump.  Whatever is accepted must be the same once it has
 * been written as an expression, and its closure must be closed.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "gen-calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A message is one line of bounded UTF-8. */
static void check_message(void)
{
    const char *message = xlx_get_error();
    size_t len = strlen(message);

    if (!len || len > 1023 || strpbrk(message, "\n\r\x1b") ||
        xlx__utf8_valid(message, len) != len)
        abort();
}

static void check_cpu(const xlx_cpu *p)
{
    struct xlx__cpu cpu, again;
    xlx_cpu_expression e;
    int rc;

    if (xlx__cpu_from_public(p, &cpu))
        abort();
    xlx_cpu_expression_init(&e);
    rc = xlx__cpu_express(NULL, p, &e);
    if (!rc) {
        if (xlx__cpu_parse_expression(e.expression, &again))
            abort();
        xlx__cpu_drop_registers(&cpu.features);
        if (memcmp(&again.features, &cpu.features, sizeof(cpu.features)))
            abort();
    } else if (rc != ERROR_NOTFOUND) {
        abort();
    }
    xlx_cpu_expression_dispose(&e);
    xlx__cpu_close(&cpu.features);
    again = cpu;
    xlx__cpu_close(&again.features);
    if (memcmp(&again.features, &cpu.features, sizeof(cpu.features)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;
    xlx_cpu cpu;
    int rc;

    if (!size)
        return 0;
    text = malloc(size);
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    xlx_cpu_init(&cpu);
    if (*data & 1)
        rc = xlx__cpu_expand(NULL, text, *data & 2, &cpu);
    else
        rc = xlx__cpu_read(NULL, "fuzz", text, &cpu);
    if (rc)
        check_message();
    else
        check_cpu(&cpu);
    xlx_cpu_dispose(&cpu);
    free(text);
    return 0;
}

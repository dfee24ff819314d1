/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes what reads processors: the first byte says whether the rest is an
 * expression, which may also be written as config, a dump or the policies of a
 * host.  Whatever is accepted must be the same once it has been written as an
 * expression, and its closure must be closed.
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

/* On a host that has nothing but that processor. */
static void render(const char *text, const xlx_cpu *p, uint8_t form)
{
    xlx_cpu_host host = { .hardware = *p, .xen = *p, .most = *p, .usual = *p };
    xlx_cpu_hosts hosts = { .hosts = &host, .num_hosts = 1 };
    xlx_cpu_config config;

    xlx_cpu_config_init(&config);
    if (xlx__cpu_render(NULL, text, &hosts, form & 3, &config))
        check_message();
    xlx_cpu_config_dispose(&config);
}

static void read_host(const char *text, uint8_t pv)
{
    xlx_cpu_host host;

    xlx_cpu_host_init(&host);
    if (xlx__cpu_host_read(NULL, "fuzz", text, pv & 1, &host))
        check_message();
    xlx_cpu_host_dispose(&host);
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
    if (!rc && *data & 1 && *data & 4)
        render(text, &cpu, *data >> 3);
    if (!(*data & 1) && *data & 4)
        read_host(text, *data >> 3);
    if (rc)
        check_message();
    else
        check_cpu(&cpu);
    xlx_cpu_dispose(&cpu);
    free(text);
    return 0;
}

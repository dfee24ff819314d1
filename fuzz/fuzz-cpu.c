/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes what reads processors: the first byte says what the rest is.
 * Whatever is accepted must be the same once it has been written as an
 * expression, and its closure must be closed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu/cpu.h"
#include "fuzz.h"
#include "gen-calls.h"

enum kind {                             /* the others: a dump of any form */
    EXPRESSION,
    CONFIG,                             /* an expression, written as config */
    HOST,                               /* what xen-cpuid -p prints */
    XML,
    IMAGE,
    LINT,                               /* cpuid= in stock xl's words */
};

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

static void read_host(const char *text, bool pv)
{
    xlx_cpu_host host;

    xlx_cpu_hosts hosts = { .hosts = &host, .num_hosts = 1 };
    xlx_cpu_pool pool;

    xlx_cpu_host_init(&host);
    xlx_cpu_pool_init(&pool);
    if (xlx__cpu_host_read(NULL, "fuzz", text, pv, &host) ||
        xlx__cpu_pool_level(NULL, &hosts, &pool))
        check_message();
    xlx_cpu_pool_dispose(&pool);
    xlx_cpu_host_dispose(&host);
}

/* A string, or two elements of a list with a line end between. */
static void lint(char *text, bool list)
{
    char *elements[] = { text, strchr(text, '\n') };
    xlx_cpu_config config;

    xlx_cpu_config_init(&config);
    config.string = text;
    if (list && elements[1]) {
        *elements[1]++ = '\0';
        config.list = elements;
        config.num_list = 2;
    }
    if (xlx__cpu_lint(NULL, &config))
        check_message();
}

/* Without what says that it is XML. */
static int read_xml(const char *text, xlx_cpu *p)
{
    struct xlx__cpu cpu;
    int rc;

    rc = xlx__cpu_parse_xml(text, &cpu);
    if (rc)
        return rc;
    cpu.from = xlx__cpu_nearest(&cpu);
    return xlx__cpu_to_public(&cpu, p);
}

/* All of a saved guest, or what comes after the headers. */
static int read_image(const char *bytes, size_t size, bool headers,
                      xlx_cpu *p)
{
    static const char start[] =
        "Xen saved domain, xl format\n \0 \r" "\4\3\2\1"
        "\2\0\0\0" "\0\0\0\0" "\0\0\0\0"    /* no config */
        "LibxlFmt" "\0\0\0\2" "\0\0\0\0"
        "\1\0\0\0" "\0\0\0\0"                /* libxc's stream begins */
        "\xff\xff\xff\xff\xff\xff\xff\xff" "XENF" "\0\0\0\3"
        "\0\0\0\0\0\0\0\0"
        "\2\0\0\0" "\14\0\0\0" "\4\0\0\0" "\21\0\0\0";
    const size_t len = headers ? sizeof(start) - 1 : 0;
    char path[40];
    int fd = memfd_create("image", MFD_CLOEXEC), rc;

    if (fd < 0 || write(fd, start, len) != (ssize_t)len ||
        write(fd, bytes, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    rc = xlx__cpu_image_read(NULL, path, p);
    close(fd);
    return rc;
}

/* size: without the null byte behind the text. */
static int read_kind(uint8_t first, char *text, size_t size, xlx_cpu *cpu)
{
    bool flag = first & 8;
    int rc;

    switch (first % 8) {
    case EXPRESSION:
        return xlx__cpu_expand(NULL, text, flag, cpu);
    case CONFIG:
        rc = xlx__cpu_expand(NULL, text, flag, cpu);
        if (!rc)
            render(text, cpu, first >> 4);
        return rc;
    case HOST:
        read_host(text, flag);
        return xlx__cpu_read(NULL, "fuzz", text, cpu);
    case XML:
        return read_xml(text, cpu);
    case IMAGE:
        return read_image(text, size, flag, cpu);
    case LINT:
        lint(text, flag);
        return xlx__cpu_read(NULL, "fuzz", text, cpu);
    default:
        return xlx__cpu_read(NULL, "fuzz", text, cpu);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;
    xlx_cpu cpu;

    if (!size)
        return 0;
    text = malloc(size);
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    xlx_cpu_init(&cpu);
    if (read_kind(*data, text, size - 1, &cpu))
        check_message();
    else
        check_cpu(&cpu);
    xlx_cpu_dispose(&cpu);
    free(text);
    return 0;
}

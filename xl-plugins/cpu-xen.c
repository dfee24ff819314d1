/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl cpu-expand --format, and what else is about processors as a Xen host
 * gives them to its guests.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "plugin.h"
#include "text.h"

int cpu_read_domain(const char *domain, xlx_cpu *cpu)
{
    xlx_guest guest;
    int rc, r;

    xlx_guest_init(&guest);
    rc = xlx_guest_find(xl_ctx(), domain, NULL, &guest);
    if (!rc && guest.domid == XLX_DOMID_NONE) {
        r = xl_fail("\"%s\" is not running", domain);
    } else {
        if (!rc)
            rc = xlx_cpu_domain_get(xl_ctx(), guest.domid, cpu);
        r = rc ? xl_failed(rc) : 0;
    }
    xlx_guest_dispose(&guest);
    return r;
}

static int read_host(const char *path, bool pv, xlx_cpu_host *host)
{
    const char *name;
    char *text;
    int rc, r;

    if (!path) {
        rc = xlx_cpu_host_get(xl_ctx(), pv, host);
        return rc ? xl_failed(rc) : 0;
    }
    if (cpu_is_image(path)) {
        host->pv = pv;
        host->predicted = true;
        return cpu_read_dump(path, &host->hardware);
    }
    r = cpu_read_text(path, &name, &text);
    if (r)
        return r;
    rc = xlx_cpu_host_read(xl_ctx(), name, text, pv, host);
    free(text);
    return rc ? xl_failed(rc) : 0;
}

static void say_predicted(const char *path, int num)
{
    char *more = num > 1 ? xl_format(" and %d more", num - 1)
                         : xl_format("%s", "");

    xl_message("%s%s: only the hardware is known, without xen-cpuid -p: what "
               "guests get is predicted by the rules of the Xen installed "
               "here", path, more);
    free(more);
}

int cpu_read_host(const char *path, bool pv, xlx_cpu_host *host)
{
    int r = read_host(path, pv, host);

    if (!r && host->predicted)
        say_predicted(path, 1);
    return r;
}

int cpu_read_hosts(char *const *paths, int num, bool pv, xlx_cpu_hosts *hosts)
{
    const char *first = NULL;
    int i, r = 0, predicted = 0;

    hosts->hosts = calloc(num ? (size_t)num : 1, sizeof(*hosts->hosts));
    if (!hosts->hosts)
        xl_no_memory();
    for (i = 0; !r && i < (num ? num : 1); i++) {
        xlx_cpu_host_init(&hosts->hosts[hosts->num_hosts++]);
        r = read_host(num ? paths[i] : NULL, pv, &hosts->hosts[i]);
        if (!r && num)
            cpu_say_note(paths[i], &hosts->hosts[i].hardware);
        if (!r && hosts->hosts[i].predicted && !predicted++)
            first = paths[i];
    }
    if (!r && predicted)
        say_predicted(first, predicted);
    return r;
}

static int print_config(const char *expression, const char *format,
                        const xlx_cpu_config *c)
{
    char *text;

    if (!strcmp(format, "json"))
        return xl_print_json(xlx_cpu_config_to_json(xl_ctx(), c));
    text = cpu_config_lacks(expression, c);
    if (text) {
        xl_fail("%s", text);
        free(text);
        return 1;
    }
    if (!strcmp(format, "libvirt")) {
        fputs(c->string, stdout);
        return 0;
    }
    text = cpu_config_value(c, ",\n          ", NULL);
    printf("cpuid = %s\n", text);
    free(text);
    if (c->nested)
        puts("nestedhvm = 1");
    return 0;
}

int cpu_print_config(const char *expression, const char *format, bool pv,
                     char *const *paths, int num_paths)
{
    static const struct { const char *name; xlx_cpu_form form; } formats[] = {
        { "xl", XLX_CPU_FORM_STRING },
        { "xl-list", XLX_CPU_FORM_LIST },
        { "libvirt", XLX_CPU_FORM_LIBVIRT },
        { "json", XLX_CPU_FORM_STRING },
    };
    xlx_cpu_config config;
    xlx_cpu_hosts hosts;
    size_t i = 0;
    int rc, r;

    while (i < sizeof(formats) / sizeof(formats[0]) &&
           strcmp(formats[i].name, format))
        i++;
    if (i == sizeof(formats) / sizeof(formats[0]))
        return xl_bad_value("cpu-expand", "format", format,
                            "must be xl, xl-list, libvirt or json");
    xlx_cpu_hosts_init(&hosts);
    xlx_cpu_config_init(&config);
    r = cpu_read_hosts(paths, num_paths, pv, &hosts);
    if (r)
        goto out;
    rc = xlx_cpu_render(xl_ctx(), expression, &hosts, formats[i].form,
                        &config);
    r = rc ? xl_failed(rc) : print_config(expression, format, &config);

 out:
    xlx_cpu_config_dispose(&config);
    xlx_cpu_hosts_dispose(&hosts);
    return r;
}

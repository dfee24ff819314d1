/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl vnuma-show, -export, -plan, -lint.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/number.h"
#include "gen-commands.h"
#include "plugin.h"
#include "text.h"

#define FILE_MAX (64u << 20)
#define MIB (UINT64_C(1) << 20)

const struct xl_command *const xl_commands = xl_vnuma_commands;

/* ---- reading what the arguments name ------------------------------------ */

/* The whole of a file, "-" for standard input; NULL after a message. */
static char *read_file(const char *path)
{
    bool standard = !strcmp(path, "-");
    FILE *f = standard ? stdin : fopen(path, "re");
    const char *name = standard ? "standard input" : path;
    char *all = NULL, part[4096];
    size_t len = 0, n;

    if (!f) {
        xl_fail("%s: %s", name, strerror(errno));
        return NULL;
    }
    do {
        n = fread(part, 1, sizeof(part), f);
        all = realloc(all, len + n + 1);
        if (!all)
            xl_no_memory();
        memcpy(all + len, part, n);
        len += n;
        all[len] = '\0';
    } while (n && len <= FILE_MAX);
    if (ferror(f))
        xl_fail("%s: %s", name, strerror(errno));
    else if (len > FILE_MAX)
        xl_fail("%s: more than %u bytes", name, FILE_MAX);
    else if (strlen(all) < len)
        xl_fail("%s: not a text", name);
    else
        goto out;
    free(all);
    all = NULL;

 out:
    if (!standard)
        fclose(f);
    return all;
}

/* Exit status.  Without a path: this host. */
static int read_host(const char *path, xlx_vnuma_host *host)
{
    char *content;
    int rc;

    if (!path) {
        rc = xlx_vnuma_host_get(xl_ctx(), host);
        return rc ? xl_failed(rc) : 0;
    }
    content = read_file(path);
    if (!content)
        return 1;
    rc = xlx_vnuma_host_read(xl_ctx(), path, content, host);
    free(content);
    return rc ? xl_failed(rc) : 0;
}

/* A file if there is one of that name, else a domain; *live_r says which. */
static int read_guest(const char *who, bool measure, xlx_vnuma_topology *t,
                      bool *live_r)
{
    xlx_guest guest;
    char *content;
    int rc;

    *live_r = strcmp(who, "-") && !strchr(who, '/') && access(who, F_OK);
    if (!*live_r) {
        if (measure)
            return xl_bad_value(xl_command_name, "measure", NULL,
                                "only the memory of a running guest can be");
        content = read_file(who);
        if (!content)
            return 1;
        rc = xlx_vnuma_read(xl_ctx(), who, content, t);
        free(content);
        return rc ? xl_failed(rc) : 0;
    }
    xlx_guest_init(&guest);
    rc = xlx_guest_find(xl_ctx(), who, NULL, &guest);
    if (!rc)
        rc = xlx_vnuma_get(xl_ctx(), &guest, measure, t);
    xlx_guest_dispose(&guest);
    return rc ? xl_failed(rc) : 0;
}

/* "4g", or MiB without a letter, as in memory= of xl.cfg(5). */
static bool parse_size(const char *s, uint64_t *bytes_r)
{
    static const char units[] = "mgt";
    const char *unit;
    uint64_t value;

    if (!xlx__take_u64(&s, UINT64_MAX, &value))
        return false;
    unit = *s ? strchr(units, tolower((unsigned char)*s)) : units;
    if (!unit || (*s && s[1]))
        return false;
    if (value > (UINT64_MAX / MIB) >> (10 * (unit - units)))
        return false;
    *bytes_r = (value * MIB) << (10 * (unit - units));
    return true;
}

/* ---- vnuma-show --------------------------------------------------------- */

/* "0-3,8", the caller's to free. */
static char *list_text(const uint32_t *list, int num)
{
    char *all = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&all, &len);
    int i, j;

    if (!out)
        xl_no_memory();
    for (i = 0; i < num; i = j) {
        for (j = i + 1; j < num && list[j] == list[j - 1] + 1; j++)
            ;
        fprintf(out, "%s%u", i ? "," : "", list[i]);
        if (j > i + 1)
            fprintf(out, "-%u", list[j - 1]);
    }
    if (!num)
        fputc('-', out);
    if (fclose(out))
        xl_no_memory();
    return all;
}

static bool is_in(const uint32_t *list, int num, uint32_t value)
{
    int i;

    for (i = 0; i < num && list[i] != value; i++)
        ;
    return i < num;
}

/* names are the numbers by which assumed knows the others, or NULL for their
 * places. */
static void distance_cell(struct xl_table *table, const uint32_t *d, int num,
                          const xlx_vnuma_node *names,
                          const uint32_t *assumed, int num_assumed)
{
    char *all = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&all, &len);
    int i;

    if (!out)
        xl_no_memory();
    for (i = 0; i < num; i++)
        d[i] ? fprintf(out, "%s%u%s", i ? " " : "", d[i],
                       is_in(assumed, num_assumed, names ? names[i].node
                             : (uint32_t)i) ? "?" : "")
             : fprintf(out, "%s-", i ? " " : "");
    if (fclose(out))
        xl_no_memory();
    xl_table_cell(table, "%s", all);
    free(all);
}

static void list_cell(struct xl_table *table, const uint32_t *list, int num)
{
    char *all = list_text(list, num);

    xl_table_cell(table, "%s", all);
    free(all);
}

static void print_topology(const xlx_vnuma_topology *t)
{
    static const char *const titles[] = {
        "Vnode", "Memory", "vCPUs", "Node", "Known", "Elsewhere",
        "Distances", NULL
    };
    const xlx_vnuma_vnode *v;
    struct xl_table *table;
    char size[XL_SIZE_MAX];
    int i;

    if (!t->num_vnodes) {
        printf("The guest has no NUMA topology.\n");
        return;
    }
    table = xl_table_new(titles);
    for (i = 0; i < t->num_vnodes; i++) {
        v = &t->vnodes[i];
        xl_table_cell(table, "%d", i);
        xl_table_cell(table, "%s", xl_size(v->memory, size));
        list_cell(table, v->vcpus, v->num_vcpus);
        if (v->pnode_source == XLX_VNUMA_SOURCE_NONE)
            xl_table_cell(table, "-");
        else
            xl_table_cell(table, "%u", v->pnode);
        xl_table_cell(table, "%s",
                      xlx_vnuma_source_to_string(v->pnode_source));
        if (v->num_ranges && v->pnode_source != XLX_VNUMA_SOURCE_NONE)
            xl_table_cell(table, "%u of %d", v->vcpus_elsewhere,
                          v->num_vcpus);
        else
            xl_table_cell(table, "-");
        distance_cell(table, v->distances, v->num_distances, NULL,
                      v->assumed, v->num_assumed);
    }
    xl_table_print(table);
}

static void print_places(const xlx_vnuma_topology *t)
{
    static const char *const titles[] = { "Node", "Memory", "Share", NULL };
    struct xl_table *table = xl_table_new(titles);
    char size[XL_SIZE_MAX];
    uint64_t sum = 0;
    int i;

    for (i = 0; i < t->num_places; i++)
        sum += t->places[i].memory;
    for (i = 0; i < t->num_places; i++) {
        xl_table_cell(table, "%u", t->places[i].node);
        xl_table_cell(table, "%s", xl_size(t->places[i].memory, size));
        xl_table_cell(table, "%.0f %%", sum ? 100. * (double)
                      t->places[i].memory / (double)sum : 0.);
    }
    printf("\nIts memory, as Xen counts it:\n");
    xl_table_print(table);
}

static void cpus_cell(struct xl_table *table, const xlx_vnuma_node *n)
{
    uint32_t *cpus = calloc((size_t)n->num_cpus + 1, sizeof(*cpus));
    char *all;
    int i;

    if (!cpus)
        xl_no_memory();
    for (i = 0; i < n->num_cpus; i++)
        cpus[i] = n->cpus[i].cpu;
    all = list_text(cpus, n->num_cpus);
    xl_table_cell(table, "%s%s", all, n->cpus_assumed ? "?" : "");
    free(all);
    free(cpus);
}

static void print_host(const xlx_vnuma_host *h)
{
    static const char *const titles[] = {
        "Node", "Memory", "Free", "Kind", "Cpus", "Devices", "Distances", NULL
    };
    struct xl_table *table = xl_table_new(titles);
    bool assumed = false, span = false;
    const xlx_vnuma_node *n;
    char size[XL_SIZE_MAX];
    int i;

    for (i = 0; i < h->num_nodes; i++) {
        n = &h->nodes[i];
        assumed |= n->num_assumed || n->cpus_assumed || n->free_assumed;
        span |= !n->present;
        xl_table_cell(table, "%u", n->node);
        xl_table_cell(table, "%s%s", xl_size(n->memory, size),
                      n->present ? "" : "*");
        xl_table_cell(table, "%s%s", xl_size(n->free, size),
                      n->free_assumed ? "?" : "");
        xl_table_cell(table, "%s", n->kind == XLX_VNUMA_MEMORY_UNKNOWN ? "-"
                                   : xlx_vnuma_memory_to_string(n->kind));
        cpus_cell(table, n);
        xl_table_cell(table, "%d", n->num_devices);
        distance_cell(table, n->distances, n->num_distances, h->nodes,
                      n->assumed, n->num_assumed);
    }
    xl_table_print(table);
    if (span)
        printf("*: the range of its addresses; it may have holes.\n");
    if (assumed)
        printf("?: assumed, because the source does not say it.\n");
}

static int show_host(const char *from, bool json)
{
    xlx_vnuma_host host;
    int r;

    xlx_vnuma_host_init(&host);
    r = read_host(from, &host);
    if (!r && json)
        r = xl_print_json(xlx_vnuma_host_to_json(xl_ctx(), &host));
    else if (!r)
        print_host(&host);
    xlx_vnuma_host_dispose(&host);
    return r;
}

int xl_vnuma_show_main(int argc, char **argv)
{
    struct xl_vnuma_show_args args;
    xlx_vnuma_topology t;
    bool live;
    int r;

    r = xl_vnuma_show_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    if (!args.guest && args.measure)
        return xl_bad_value(xl_command_name, "measure", NULL,
                            "name the GUEST to measure");
    if (!args.guest)
        return show_host(args.from, args.json);
    if (args.from)
        return xl_bad_value(xl_command_name, "from", args.from,
                            "it is a host, which is shown without a GUEST");
    xlx_vnuma_topology_init(&t);
    r = read_guest(args.guest, args.measure, &t, &live);
    if (!r && args.json) {
        r = xl_print_json(xlx_vnuma_topology_to_json(xl_ctx(), &t));
    } else if (!r) {
        print_topology(&t);
        if (args.measure)
            print_places(&t);
    }
    xlx_vnuma_topology_dispose(&t);
    return r;
}

/* ---- vnuma-export ------------------------------------------------------- */

int xl_vnuma_export_main(int argc, char **argv)
{
    struct xl_vnuma_export_args args;
    bool live = false, has_host;
    xlx_vnuma_topology t;
    xlx_vnuma_host host;
    xlx_vnuma_text result;
    int rc, r;

    r = xl_vnuma_export_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_vnuma_topology_init(&t);
    xlx_vnuma_host_init(&host);
    xlx_vnuma_text_init(&result);
    r = args.guest ? read_guest(args.guest, false, &t, &live) : 0;
    has_host = args.host || args.from || live || !args.guest;
    if (!r && has_host)
        r = read_host(args.from, &host);
    if (r)
        goto out;
    rc = xlx_vnuma_export(xl_ctx(), args.guest ? &t : NULL,
                          has_host ? &host : NULL, args.format, &result);
    if (rc)
        r = xl_failed(rc);
    else
        fputs(result.text, stdout);

 out:
    xlx_vnuma_text_dispose(&result);
    xlx_vnuma_host_dispose(&host);
    xlx_vnuma_topology_dispose(&t);
    return r;
}

/* ---- vnuma-plan --------------------------------------------------------- */

static int plan_spec(struct xl_vnuma_plan_args *args)
{
    xlx_vnuma_plan_spec *spec = &args->vnuma_plan_spec;

    if (!spec->vcpus)
        return xl_bad_value(xl_command_name, "vcpus", NULL, "it is needed");
    if (!args->memory)
        return xl_bad_value(xl_command_name, "memory", NULL, "it is needed");
    if (!parse_size(args->memory, &spec->memory))
        return xl_bad_value(xl_command_name, "memory", args->memory,
                            "not a size such as 4096 or 4g");
    if (args->max_memory_per_node &&
        !parse_size(args->max_memory_per_node, &spec->memory_per_node))
        return xl_bad_value(xl_command_name, "max-memory-per-node",
                            args->max_memory_per_node,
                            "not a size such as 4096 or 4g");
    return 0;
}

static void print_plan(const xlx_vnuma_plan *plan)
{
    int i;

    for (i = 0; i < plan->num_reasons; i++)
        printf("# %s\n", plan->reasons[i]);
    for (i = 0; i < plan->num_warnings; i++)
        printf("# note: %s\n", plan->warnings[i]);
    fputs(xl_text(plan->config), stdout);
}

int xl_vnuma_plan_main(int argc, char **argv)
{
    struct xl_vnuma_plan_args args;
    xlx_vnuma_plan plan;
    xlx_vnuma_host host;
    int rc, r;

    r = xl_vnuma_plan_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_vnuma_plan_init(&plan);
    xlx_vnuma_host_init(&host);
    r = plan_spec(&args);
    if (!r)
        r = read_host(args.from, &host);
    if (r)
        goto out;
    rc = xlx_vnuma_plan_make(xl_ctx(), &args.vnuma_plan_spec, &host, &plan);
    if (rc)
        r = xl_failed(rc);
    else if (args.json)
        r = xl_print_json(xlx_vnuma_plan_to_json(xl_ctx(), &plan));
    else
        print_plan(&plan);

 out:
    xlx_vnuma_host_dispose(&host);
    xlx_vnuma_plan_dispose(&plan);
    return r;
}

/* ---- vnuma-lint --------------------------------------------------------- */

/* Where no Xen runs, what depends on the host is left out. */
static bool on_xen(void)
{
    return !access("/proc/xen/capabilities", F_OK);
}

static int print_findings(const xlx_vnuma_findings *found, bool json)
{
    const xlx_vnuma_finding *f;
    int i, r = 0;

    for (i = 0; i < found->num_findings; i++) {
        f = &found->findings[i];
        if (f->effect != XLX_VNUMA_EFFECT_NOTE)
            r = 1;
        if (!json) {
            printf("%s: ", xlx_vnuma_effect_to_string(f->effect));
            xl_put_text(stdout, xl_text(f->what));
            putchar('\n');
        }
    }
    if (json && xl_print_json(xlx_vnuma_findings_to_json(xl_ctx(), found)))
        return 1;
    return r;
}

int xl_vnuma_lint_main(int argc, char **argv)
{
    struct xl_vnuma_lint_args args;
    xlx_vnuma_findings found;
    xlx_vnuma_host host;
    char *content = NULL;
    bool has_host;
    int rc, r;

    r = xl_vnuma_lint_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_vnuma_findings_init(&found);
    xlx_vnuma_host_init(&host);
    has_host = args.from || on_xen();
    r = has_host ? read_host(args.from, &host) : 0;
    if (r)
        goto out;
    content = read_file(args.config);
    if (!content) {
        r = 1;
        goto out;
    }
    rc = xlx_vnuma_lint(xl_ctx(), args.config, content,
                        has_host ? &host : NULL, &found);
    r = rc ? xl_failed(rc) : print_findings(&found, args.json);

 out:
    free(content);
    xlx_vnuma_host_dispose(&host);
    xlx_vnuma_findings_dispose(&found);
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl cpu-models, -expand, -detect, -baseline, -diff.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/save-head.h"
#include "cpu.h"
#include "gen-commands.h"
#include "plugin.h"
#include "text.h"

#define DUMP_MAX (64u << 20)

const struct xl_command *const xl_commands = xl_cpu_commands;

/* ---- what several commands do ------------------------------------------- */

/* The whole of a stream, NULL after a message. */
static char *read_all(FILE *f, const char *name)
{
    size_t len = 0, size = 1u << 16, n;
    char *all = malloc(size);

    while (all && len <= DUMP_MAX &&
           (n = fread(all + len, 1, size - 1 - len, f)) > 0) {
        len += n;
        if (len == size - 1)
            all = realloc(all, size *= 2);
    }
    if (!all)
        xl_no_memory();
    if (ferror(f))
        xl_fail("%s: %s", name, strerror(errno));
    else if (len > DUMP_MAX)
        xl_fail("%s: more than %u bytes: one processor is enough, as cpuid -r "
                "-1 prints it", name, DUMP_MAX);
    else if (memchr(all, '\0', len))
        xl_fail("%s: not a text", name);
    else {
        all[len] = '\0';
        return all;
    }
    free(all);
    return NULL;
}

int cpu_read_text(const char *path, const char **name_r, char **text_r)
{
    bool standard = !strcmp(path, "-");
    FILE *f = standard ? stdin : fopen(path, "re");

    *name_r = standard ? "standard input" : path;
    if (!f)
        return xl_fail("%s: %s", *name_r, strerror(errno));
    *text_r = read_all(f, *name_r);
    if (!standard)
        fclose(f);
    return *text_r ? 0 : 1;
}

bool cpu_is_image(const char *path)
{
    char magic[32] = "";
    FILE *f = strcmp(path, "-") ? fopen(path, "re") : NULL;

    if (!f)
        return false;
    if (!fread(magic, sizeof(magic), 1, f))
        magic[0] = '\0';
    fclose(f);
    return xlx__is_save_magic(magic);
}

void cpu_say_note(const char *name, const xlx_cpu *cpu)
{
    if (*xl_text(cpu->note))
        xl_message("%s: %s", name, cpu->note);
}

int cpu_read_dump(const char *path, xlx_cpu *cpu)
{
    const char *name;
    char *dump;
    int rc, r;

    if (cpu_is_image(path)) {
        rc = xlx_cpu_image_read(xl_ctx(), path, cpu);
        return rc ? xl_failed(rc) : 0;
    }
    r = cpu_read_text(path, &name, &dump);
    if (r)
        return r;
    rc = xlx_cpu_read(xl_ctx(), name, dump, cpu);
    free(dump);
    if (!rc)
        cpu_say_note(name, cpu);
    return rc ? xl_failed(rc) : 0;
}

void cpu_print_names(const char *title, char *const *names, int num)
{
    int i, column = 0, width;

    if (!num)
        return;
    printf("%s\n", title);
    for (i = 0; i < num; i++) {
        width = (int)strlen(names[i]);
        if (column + 1 + width > 77) {
            putchar('\n');
            column = 0;
        }
        column += printf("%s%s", column ? " " : "  ", names[i]);
    }
    putchar('\n');
}

static void print_signature(const char *vendor, uint32_t family,
                            uint32_t model, uint32_t stepping)
{
    printf("vendor      %s\n", *xl_text(vendor) ? vendor : "any");
    if (*xl_text(vendor))
        printf("signature   family %u, model %u, stepping %u\n", family, model,
               stepping);
}

static bool has(const xlx_cpu *cpu, const char *name)
{
    int low = 0, high = cpu->num_features, middle, r;

    while (low < high) {
        middle = (low + high) / 2;
        r = strcmp(name, cpu->features[middle]);
        if (!r)
            return true;
        if (r > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* The highest x86-64-vN whose features are all there; 0 is none.  Intel's
 * processors show syscall to 64-bit programs only. */
static int abi_level(const xlx_cpu *cpu)
{
    char name[] = "x86-64-v1";
    bool all = true;
    xlx_cpu level;
    int n, i;

    for (n = 1; all && n <= 4; n++) {
        name[strlen(name) - 1] = (char)('0' + n);
        xlx_cpu_init(&level);
        all = !xlx_cpu_expand(xl_ctx(), name, false, &level);
        for (i = 0; i < level.num_features; i++)
            all = all && (has(cpu, level.features[i]) ||
                          !strcmp(level.features[i], "syscall"));
        xlx_cpu_dispose(&level);
    }
    return all ? 4 : n - 2;
}

/* The lines that sum a processor up. */
static int print_summary(const xlx_cpu *cpu)
{
    int level = abi_level(cpu), rc;
    xlx_cpu_expression e;

    print_signature(cpu->vendor, cpu->family, cpu->model, cpu->stepping);
    if (level)
        printf("ABI level   x86-64-v%d\n", level);
    xlx_cpu_expression_init(&e);
    rc = xlx_cpu_express(xl_ctx(), cpu, &e);
    if (!rc)
        printf("expression  %s\n", e.expression);
    xlx_cpu_expression_dispose(&e);
    return rc && rc != ERROR_NOTFOUND ? xl_failed(rc) : 0;
}

/* ---- cpu-models --------------------------------------------------------- */

static void print_model(struct xl_table *t, const xlx_cpu_model *m)
{
    char *names = xl_format("%s", ""), *longer;
    int i;

    for (i = 0; i < m->num_aliases; i++) {
        longer = xl_format("%s%s%s", names, i ? ", " : "", m->aliases[i]);
        free(names);
        names = longer;
    }
    xl_table_cell(t, "%s", m->name);
    xl_table_cell(t, "%s", *xl_text(m->vendor) ? m->vendor : "any");
    xl_table_cell(t, "%u/%u/%u", m->family, m->model, m->stepping);
    xl_table_cell(t, "%s", names);
    free(names);
}

void xl_cpu_models_print(const struct xl_cpu_models_args *args,
                         const xlx_cpu_models *list)
{
    static const char *const titles[] = { "Name", "Vendor", "Signature",
                                          "Aliases", NULL };
    struct xl_table *t = xl_table_new(titles);
    int i;

    (void)args;
    for (i = 0; i < list->num_models; i++)
        print_model(t, &list->models[i]);
    xl_table_print(t);
}

/* ---- cpu-expand --------------------------------------------------------- */

/* The features that Xen would hide, because another one is off. */
static int print_falling(const char *expression, const xlx_cpu *cpu)
{
    xlx_cpu_difference d;
    xlx_cpu closed;
    int rc;

    xlx_cpu_init(&closed);
    xlx_cpu_difference_init(&d);
    rc = xlx_cpu_expand(xl_ctx(), expression, true, &closed);
    if (!rc)
        rc = xlx_cpu_diff(xl_ctx(), cpu, &closed, &d);
    if (!rc)
        cpu_print_names("features that need one that is off (see --close)",
                        d.only_first, d.num_only_first);
    xlx_cpu_dispose(&closed);
    xlx_cpu_difference_dispose(&d);
    return rc ? xl_failed(rc) : 0;
}

int xl_cpu_expand_main(int argc, char **argv)
{
    struct xl_cpu_expand_args args;
    xlx_cpu cpu;
    int rc, r;

    r = xl_cpu_expand_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    if (args.format)
        return cpu_print_config(args.expr, args.format, args.pv, args.host,
                                args.num_host);
    if (args.num_host || args.pv)
        return xl_bad_value("cpu-expand", args.pv ? "pv" : "host", NULL,
                            "goes with --format only");
    xlx_cpu_init(&cpu);
    rc = xlx_cpu_expand(xl_ctx(), args.expr, args.close, &cpu);
    if (rc) {
        r = xl_failed(rc);
    } else if (args.json) {
        r = xl_print_json(xlx_cpu_to_json(xl_ctx(), &cpu));
    } else {
        print_signature(cpu.vendor, cpu.family, cpu.model, cpu.stepping);
        printf("levels      %#x, %#x\n", cpu.level, cpu.xlevel);
        cpu_print_names("features", cpu.features, cpu.num_features);
        r = args.close ? 0 : print_falling(args.expr, &cpu);
    }
    xlx_cpu_dispose(&cpu);
    return r;
}

/* ---- cpu-detect --------------------------------------------------------- */

static int detect(const xlx_cpu *cpu, bool json)
{
    xlx_cpu_detection d;
    int rc, r;

    xlx_cpu_detection_init(&d);
    rc = xlx_cpu_detect(xl_ctx(), cpu, &d);
    if (rc) {
        r = xl_failed(rc);
    } else if (json) {
        r = xl_print_json(xlx_cpu_detection_to_json(xl_ctx(), &d));
    } else {
        r = print_summary(cpu);
        printf("model       %s\n",
               *xl_text(d.cpu_model) ? d.cpu_model : "none");
        cpu_print_names("beyond the model", d.added, d.num_added);
        cpu_print_names("missing from the model", d.removed, d.num_removed);
        cpu_print_names("without a name", d.unknown, d.num_unknown);
    }
    xlx_cpu_detection_dispose(&d);
    return r;
}

/* One of the policies of a host; NULL as path is this one. */
static int read_policy(const char *path, const char *name, bool pv,
                       xlx_cpu *cpu)
{
    xlx_cpu_host host;
    const struct { const char *name; xlx_cpu *cpu; } all[] = {
        { "raw", &host.hardware }, { "host", &host.xen },
        { "max", &host.most }, { "default", &host.usual },
    };
    size_t i = 0;
    int r;

    while (i < sizeof(all) / sizeof(all[0]) && strcmp(all[i].name, name))
        i++;
    if (i == sizeof(all) / sizeof(all[0]))
        return xl_bad_value("cpu-detect", "policy", name,
                            "must be raw, host, max or default");
    xlx_cpu_host_init(&host);
    r = cpu_read_host(path, pv, &host);
    if (!r && host.predicted && i)
        r = xl_fail("%s: has no policies of Xen, as xen-cpuid -p prints them",
                    path);
    if (!r) {
        *cpu = *all[i].cpu;             /* changes hands */
        xlx_cpu_init(all[i].cpu);
    }
    xlx_cpu_host_dispose(&host);
    return r;
}

int xl_cpu_detect_main(int argc, char **argv)
{
    struct xl_cpu_detect_args args;
    xlx_cpu cpu;
    int rc, r;

    r = xl_cpu_detect_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_cpu_init(&cpu);
    if (args.domain && (args.file || args.policy)) {
        r = xl_bad_value("cpu-detect", "domain", args.domain,
                         "does not go with a file or a policy");
    } else if (args.pv && !args.policy) {
        r = xl_bad_value("cpu-detect", "pv", NULL, "goes with --policy only");
    } else if (args.policy) {
        r = read_policy(args.file, args.policy, args.pv, &cpu);
    } else if (args.domain) {
        r = cpu_read_domain(args.domain, &cpu);
    } else if (args.file) {
        r = cpu_read_dump(args.file, &cpu);
    } else {
        rc = xlx_cpu_machine_read(xl_ctx(), &cpu);
        r = rc ? xl_failed(rc) : 0;
    }
    if (!r)
        r = detect(&cpu, args.json);
    xlx_cpu_dispose(&cpu);
    return r;
}

/* ---- cpu-baseline ------------------------------------------------------- */

static void print_pool(const xlx_cpu_pool *p)
{
    xlx_cpu cpu = { .features = p->features, .num_features = p->num_features };
    int level = abi_level(&cpu);

    print_signature(p->vendor, p->family, p->model, p->stepping);
    if (level)
        printf("ABI level   x86-64-v%d\n", level);
    printf("cpuid=\"%s\"\n", p->cpuid);
    cpu_print_names("features", p->features, p->num_features);
}

int xl_cpu_baseline_main(int argc, char **argv)
{
    struct xl_cpu_baseline_args args;
    xlx_cpu_hosts hosts;
    xlx_cpu_pool pool;
    int rc, r;

    r = xl_cpu_baseline_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_cpu_hosts_init(&hosts);
    xlx_cpu_pool_init(&pool);
    r = cpu_read_hosts(args.file, args.num_file, args.pv, &hosts);
    if (r)
        goto out;
    rc = xlx_cpu_pool_level(xl_ctx(), &hosts, &pool);
    if (rc) {
        r = xl_failed(rc);
    } else if (args.json) {
        r = xl_print_json(xlx_cpu_pool_to_json(xl_ctx(), &pool));
    } else {
        print_pool(&pool);
    }

 out:
    xlx_cpu_hosts_dispose(&hosts);
    xlx_cpu_pool_dispose(&pool);
    return r;
}

/* ---- cpu-diff ----------------------------------------------------------- */

/* A file if there is one of that name, else an expression. */
static int read_either(const char *arg, xlx_cpu *cpu)
{
    int rc;

    if (!strcmp(arg, "-") || strchr(arg, '/') || !access(arg, F_OK))
        return cpu_read_dump(arg, cpu);
    rc = xlx_cpu_expand(xl_ctx(), arg, false, cpu);
    return rc ? xl_failed(rc) : 0;
}

int xl_cpu_diff_main(int argc, char **argv)
{
    struct xl_cpu_diff_args args;
    xlx_cpu_difference d;
    xlx_cpu a, b;
    int i, rc, r;

    r = xl_cpu_diff_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_cpu_init(&a);
    xlx_cpu_init(&b);
    xlx_cpu_difference_init(&d);
    r = read_either(args.a, &a);
    if (!r)
        r = read_either(args.b, &b);
    if (r)
        goto out;
    rc = xlx_cpu_diff(xl_ctx(), &a, &b, &d);
    if (rc) {
        r = xl_failed(rc);
    } else if (args.json) {
        r = xl_print_json(xlx_cpu_difference_to_json(xl_ctx(), &d));
    } else {
        for (i = 0; i < d.num_only_first; i++)
            printf("-%s\n", d.only_first[i]);
        for (i = 0; i < d.num_only_second; i++)
            printf("+%s\n", d.only_second[i]);
    }

 out:
    xlx_cpu_dispose(&a);
    xlx_cpu_dispose(&b);
    xlx_cpu_difference_dispose(&d);
    return r;
}

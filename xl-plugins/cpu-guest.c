/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl cpu-explain, cpu-check: what a guest has and why, and whether it can come
 * to other hosts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "gen-commands.h"
#include "plugin.h"
#include "text.h"

/* ---- which guest -------------------------------------------------------- */

static bool is_file(const char *what)
{
    return !strcmp(what, "-") || strchr(what, '/') || !access(what, F_OK);
}

/* The file of a host means the guests that it makes by default. */
static int read_guest_file(const char *path, bool pv, xlx_cpu *cpu)
{
    const char *name;
    char *text;
    int rc, r;

    if (cpu_is_image(path))
        return cpu_read_dump(path, cpu);
    r = cpu_read_text(path, &name, &text);
    if (r)
        return r;
    rc = xlx_cpu_guest_read(xl_ctx(), name, text, pv, cpu);
    free(text);
    if (!rc)
        cpu_say_note(name, cpu);
    return rc ? xl_failed(rc) : 0;
}

/* A file, or an expression, which *expression_r then is, or a domain. */
static int read_guest(const char *what, bool pv, xlx_cpu *cpu,
                      const char **expression_r)
{
    int rc;

    *expression_r = NULL;
    if (is_file(what))
        return read_guest_file(what, pv, cpu);
    rc = xlx_cpu_expand(xl_ctx(), what, true, cpu);
    if (rc == ERROR_NOTFOUND && !strchr(what, ','))
        return cpu_read_domain(what, cpu);
    *expression_r = what;
    return rc ? xl_failed(rc) : 0;
}

/* The processor of a guest that is started with the expression on that host.
 */
static int render(const char *expression, const xlx_cpu_host *host,
                  xlx_cpu_config *config)
{
    xlx_cpu_hosts hosts = { .hosts = (xlx_cpu_host *)host, .num_hosts = 1 };
    int rc = xlx_cpu_render(xl_ctx(), expression, &hosts, XLX_CPU_FORM_NONE,
                            config);

    return rc ? xl_failed(rc) : 0;
}

/* ---- cpu-explain -------------------------------------------------------- */

static void print_reason(struct xl_table *t, const xlx_cpu_explanation *e)
{
    const char *cause = e->cause ? e->cause : "";

    switch (e->reason) {
    case XLX_CPU_REASON_ON:
        xl_table_cell(t, "%s", "");
        break;
    case XLX_CPU_REASON_HARDWARE:
        xl_table_cell(t, "the processor does not have it");
        break;
    case XLX_CPU_REASON_HIDDEN:
        xl_table_cell(t, "Xen keeps it back on this host");
        break;
    case XLX_CPU_REASON_NO_GUEST:
        xl_table_cell(t, "Xen has it for no guest of this kind");
        break;
    case XLX_CPU_REASON_ASKED:
        xl_table_cell(t, "only for a guest that asks, without security"
                      " support: +%s", e->feature);
        break;
    case XLX_CPU_REASON_TURNED_OFF:
        xl_table_cell(t, "turned off by %s", *cause ? cause : "the config");
        break;
    case XLX_CPU_REASON_NEEDS:
        xl_table_cell(t, "of no use without %s, which is off", cause);
        break;
    case XLX_CPU_REASON_DYNAMIC:
        xl_table_cell(t, "Xen decides it, or the guest as it runs");
        break;
    }
}

static int print_explanations(const xlx_cpu_explanations *list, bool json)
{
    static const char *const titles[] = { "Feature", "Guest", "Why", NULL };
    struct xl_table *t;
    int i;

    if (json)
        return xl_print_json(xlx_cpu_explanations_to_json(xl_ctx(), list));
    t = xl_table_new(titles);
    for (i = 0; i < list->num_features; i++) {
        xl_table_cell(t, "%s", list->features[i].feature);
        xl_table_cell(t, "%s", list->features[i].on ? "has it" : "-");
        print_reason(t, &list->features[i]);
    }
    xl_table_print(t);
    return 0;
}

/* The features of the config become those of the guest. */
static void take_features(xlx_cpu *cpu, xlx_cpu_config *config)
{
    char **names = cpu->features;
    int num = cpu->num_features;

    cpu->features = config->features;
    cpu->num_features = config->num_features;
    config->features = names;
    config->num_features = num;
}

int xl_cpu_explain_main(int argc, char **argv)
{
    struct xl_cpu_explain_args args;
    xlx_cpu_explanations list;
    const char *expression;
    xlx_cpu_config config;
    xlx_cpu_host host;
    xlx_cpu guest;
    int rc, r;

    r = xl_cpu_explain_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_cpu_init(&guest);
    xlx_cpu_host_init(&host);
    xlx_cpu_config_init(&config);
    xlx_cpu_explanations_init(&list);
    r = read_guest(args.guest, args.pv, &guest, &expression);
    if (!r)
        r = cpu_read_host(args.on, args.pv, &host);
    if (!r && expression)
        r = render(expression, &host, &config);
    if (r)
        goto out;
    if (expression)
        take_features(&guest, &config);
    rc = xlx_cpu_explain(xl_ctx(), &guest, &host, expression, args.feature,
                         &list);
    r = rc ? xl_failed(rc) : print_explanations(&list, args.json);

 out:
    xlx_cpu_dispose(&guest);
    xlx_cpu_host_dispose(&host);
    xlx_cpu_config_dispose(&config);
    xlx_cpu_explanations_dispose(&list);
    return r;
}

/* ---- cpu-check ---------------------------------------------------------- */

/* A start: stock xl is not even asked where something is lacking. */
static int check_start(const char *expression, const xlx_cpu_host *host,
                       xlx_cpu_verdict *v)
{
    xlx_cpu_config config;
    int r;

    xlx_cpu_config_init(&config);
    r = render(expression, host, &config);
    if (!r && config.num_lacking) {
        v->fate = XLX_CPU_FATE_REFUSE;
        v->reason = xl_format("the host lacks what was asked for");
        v->lost = config.lacking;
        v->num_lost = config.num_lacking;
        config.lacking = NULL;
        config.num_lacking = 0;
    }
    xlx_cpu_config_dispose(&config);
    return r;
}

static void print_verdict(const xlx_cpu_verdict *v)
{
    static const char *const fates[] = {
        [XLX_CPU_FATE_RUN] = "runs",
        [XLX_CPU_FATE_LOSE] = "silently loses features",
        [XLX_CPU_FATE_REFUSE] = "is refused",
    };

    printf("%s: %s", v->host, fates[v->fate]);
    if (v->reason && *v->reason)
        printf(": %s", v->reason);
    putchar('\n');
    cpu_print_names(" lost", v->lost, v->num_lost);
    cpu_print_names(" gained", v->gained, v->num_gained);
    cpu_print_names(" dangers unknown to it", v->unaware, v->num_unaware);
}

static int print_verdicts(const xlx_cpu_verdicts *list, bool json)
{
    int i, r, status = 0;

    for (i = 0; i < list->num_verdicts; i++) {
        if (!json)
            print_verdict(&list->verdicts[i]);
        if (list->verdicts[i].fate != XLX_CPU_FATE_RUN ||
            list->verdicts[i].num_unaware)
            status = 1;
    }
    if (json) {
        r = xl_print_json(xlx_cpu_verdicts_to_json(xl_ctx(), list));
        if (r)
            status = r;
    }
    return status;
}

static int check_host(const xlx_cpu *guest, const char *expression,
                      const xlx_cpu_host *host, const char *release,
                      xlx_cpu_verdict *v)
{
    int rc;

    if (expression)
        return check_start(expression, host, v);
    rc = xlx_cpu_check(xl_ctx(), guest, host, release, v);
    return rc ? xl_failed(rc) : 0;
}

/* Xen's result for the guest, or for one with the expression, and how that
 * differs from the prediction. */
static int check_exact(const xlx_cpu *guest, const char *expression,
                       const xlx_cpu_host *host, xlx_cpu_verdict *v)
{
    xlx_cpu_config config;
    xlx_cpu_difference d;
    xlx_cpu wanted, got;
    int rc, r = 0;

    xlx_cpu_config_init(&config);
    xlx_cpu_difference_init(&d);
    xlx_cpu_init(&wanted);
    xlx_cpu_init(&got);
    rc = xlx_cpu_copy(xl_ctx(), &wanted, expression ? &host->usual : guest);
    if (!rc && expression) {
        r = render(expression, host, &config);
        if (r)
            goto out;
        take_features(&wanted, &config);
    }
    if (!rc)
        rc = xlx_cpu_try(xl_ctx(), &wanted, host->pv, &got);
    if (rc == ERROR_INVAL) {
        v->fate = XLX_CPU_FATE_REFUSE;
        v->reason = xl_format("%s", xlx_error_get());
        goto out;
    }
    if (!rc)
        rc = xlx_cpu_diff(xl_ctx(), &wanted, &got, &d);
    if (rc) {
        r = xl_failed(rc);
        goto out;
    }
    v->fate = d.num_only_first ? XLX_CPU_FATE_LOSE : XLX_CPU_FATE_RUN;
    v->lost = d.only_first;
    v->num_lost = d.num_only_first;
    v->gained = d.only_second;
    v->num_gained = d.num_only_second;
    xlx_cpu_difference_init(&d);

 out:
    xlx_cpu_dispose(&wanted);
    xlx_cpu_dispose(&got);
    xlx_cpu_difference_dispose(&d);
    xlx_cpu_config_dispose(&config);
    return r;
}

/* ---- whose guests run where --------------------------------------------- */

static const char *short_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

static void print_cell(struct xl_table *t, const xlx_cpu_verdict *v)
{
    if (v->fate == XLX_CPU_FATE_REFUSE)
        xl_table_cell(t, "refused");
    else if (v->fate == XLX_CPU_FATE_LOSE)
        xl_table_cell(t, "loses %d", v->num_lost);
    else if (v->num_unaware)
        xl_table_cell(t, "unaware of %d", v->num_unaware);
    else
        xl_table_cell(t, "runs");
}

static void print_matrix(const xlx_cpu_matrix *m)
{
    const char **titles = calloc((size_t)m->num_rows + 2, sizeof(*titles));
    struct xl_table *t;
    int i, j;

    if (!titles)
        xl_no_memory();
    titles[0] = "Guests of";
    for (i = 0; i < m->num_rows; i++)
        titles[i + 1] = short_name(m->rows[i].guest);
    t = xl_table_new(titles);
    for (i = 0; i < m->num_rows; i++) {
        xl_table_cell(t, "%s", titles[i + 1]);
        for (j = 0; j < m->rows[i].num_verdicts; j++)
            print_cell(t, &m->rows[i].verdicts[j]);
    }
    xl_table_print(t);
    free(titles);
}

/* Gives the hosts their names; whether all guests run everywhere. */
static bool name_hosts(xlx_cpu_matrix *m, char *const *names)
{
    xlx_cpu_verdict *v;
    bool well = true;
    int i, j;

    for (i = 0; i < m->num_rows; i++) {
        m->rows[i].guest = xl_format("%s", names[i]);
        for (j = 0; j < m->rows[i].num_verdicts; j++) {
            v = &m->rows[i].verdicts[j];
            v->host = xl_format("%s", names[j]);
            well = well && v->fate == XLX_CPU_FATE_RUN && !v->num_unaware;
        }
    }
    return well;
}

static int check_matrix(const struct xl_cpu_check_args *args)
{
    xlx_cpu_matrix matrix;
    xlx_cpu_hosts hosts;
    bool well = false;
    int i, rc, r;

    for (i = 0; i < args->num_guest; i++)
        if (!is_file(args->guest[i]))
            return xl_fail("\"%s\" is not a file: the table is of hosts, and "
                           "one guest goes with --on", args->guest[i]);
    xlx_cpu_hosts_init(&hosts);
    xlx_cpu_matrix_init(&matrix);
    r = cpu_read_hosts(args->guest, args->num_guest, args->pv, &hosts);
    if (r)
        goto out;
    rc = xlx_cpu_matrix_make(xl_ctx(), &hosts, args->xen, &matrix);
    if (rc) {
        r = xl_failed(rc);
        goto out;
    }
    well = name_hosts(&matrix, args->guest);
    if (args->json)
        r = xl_print_json(xlx_cpu_matrix_to_json(xl_ctx(), &matrix));
    else
        print_matrix(&matrix);

 out:
    xlx_cpu_matrix_dispose(&matrix);
    xlx_cpu_hosts_dispose(&hosts);
    return r ? r : !well;
}

/* ---- the command -------------------------------------------------------- */

static int check_one(const struct xl_cpu_check_args *a)
{
    const struct xl_cpu_check_args args = *a;
    const char *expression;
    xlx_cpu_verdicts list;
    xlx_cpu_hosts hosts;
    xlx_cpu_verdict *v;
    xlx_cpu guest;
    int i, r;

    xlx_cpu_init(&guest);
    xlx_cpu_hosts_init(&hosts);
    xlx_cpu_verdicts_init(&list);
    r = read_guest(args.guest[0], args.pv, &guest, &expression);
    if (!r)
        r = cpu_read_hosts(args.on, args.num_on, args.pv, &hosts);
    if (r)
        goto out;
    list.verdicts = calloc((size_t)hosts.num_hosts + 1,
                           sizeof(*list.verdicts));
    if (!list.verdicts)
        xl_no_memory();
    for (i = 0; !r && i < hosts.num_hosts; i++) {
        v = &list.verdicts[list.num_verdicts++];
        xlx_cpu_verdict_init(v);
        r = check_host(&guest, expression, &hosts.hosts[i], args.xen, v);
        v->host = xl_format("%s", args.num_on ? args.on[i] : "this host");
    }
    if (!r && args.exact) {
        v = &list.verdicts[list.num_verdicts++];
        xlx_cpu_verdict_init(v);
        r = check_exact(&guest, expression, &hosts.hosts[0], v);
        v->host = xl_format("this host, tried");
    }
    if (!r)
        r = print_verdicts(&list, args.json);

 out:
    xlx_cpu_dispose(&guest);
    xlx_cpu_hosts_dispose(&hosts);
    xlx_cpu_verdicts_dispose(&list);
    return r;
}

int xl_cpu_check_main(int argc, char **argv)
{
    struct xl_cpu_check_args args;
    int r = xl_cpu_check_parse(argc, argv, &args);

    if (r >= 0)
        return r;
    if (args.exact && args.num_on)
        return xl_bad_value("cpu-check", "exact", NULL,
                            "asks this host's Xen, and does not go with --on");
    if (args.num_guest > 1 && (args.num_on || args.exact))
        return xl_bad_value("cpu-check", args.exact ? "exact" : "on", NULL,
                            "goes with one GUEST");
    return args.num_guest > 1 ? check_matrix(&args) : check_one(&args);
}

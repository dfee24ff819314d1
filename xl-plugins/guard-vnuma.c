/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vnuma= of a guest that is to be created: "auto" becomes what the planner
 * says, and a topology that stock xl would crash on, bend, or refuse with a
 * message far from the cause is refused here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "guard.h"
#include "text.h"

#define MIB (UINT64_C(1) << 20)

static bool is_set(const XLU_Config *cfg, const char *key)
{
    return xlu_cfg_get_list(cfg, key, NULL, NULL, 1) != ESRCH;
}

/* ---- vnuma="auto" ------------------------------------------------------- */

static bool is_auto(const XLU_Config *cfg)
{
    const char *value;

    return !xlu_cfg_get_string(cfg, "vnuma", &value, 1) &&
           !strcmp(value, "auto");
}

/* The vnodes on one line: stock xl takes an argument for a line. */
static char *vnuma_line(const char *config)
{
    char *line = xl_format("%s", strstr(config, "vnuma=")), *p;

    for (p = line; *p; p++)
        if (*p == '\n')
            *p = ' ';
    return line;
}

static void add_plan(struct guard_start *s, const xlx_vnuma_plan *plan,
                     const xlx_vnuma_host *host)
{
    const xlx_vnuma_topology *t = &plan->topology;
    const XLU_Config *cfg = s->config.cfg;

    if (t->num_vnodes > 1) {
        guard_add_line(s, vnuma_line(plan->config));
        return;
    }
    guard_add_line(s, xl_format("vnuma=[]"));
    /* an affinity that the user asks for is better knowledge than ours */
    if (host->num_nodes > 1 && !is_set(cfg, "cpus") &&
        !is_set(cfg, "cpus_soft"))
        guard_add_line(s, xl_format("cpus_soft=\"nodes:%u\"",
                                    t->vnodes[0].pnode));
}

/* Exit status. */
static int plan_auto(struct guard_start *s, const xlx_vnuma_host *host)
{
    const XLU_Config *cfg = s->config.cfg;
    xlx_vnuma_plan_spec spec;
    xlx_vnuma_plan plan;
    long vcpus = 1, memory;
    int r = 1;

    xlx_vnuma_plan_spec_init(&spec);
    xlx_vnuma_plan_init(&plan);
    if (xlu_cfg_get_bounded_long(cfg, "maxvcpus", 1, INT32_MAX, &vcpus, 1))
        xlu_cfg_get_bounded_long(cfg, "vcpus", 1, INT32_MAX, &vcpus, 1);
    if (xlu_cfg_get_bounded_long(cfg, "memory", 1, INT32_MAX, &memory, 1)) {
        xl_message("vnuma=\"auto\": memory= is missing, or not a number of "
                   "MiB");
        goto out;
    }
    spec.vcpus = (uint32_t)vcpus;
    spec.memory = (uint64_t)memory * MIB;
    if (xlx_vnuma_plan_make(s->ctx, &spec, host, &plan)) {
        xl_message("vnuma=\"auto\": %s%s", xlx_error_get(),
                   strstr(xlx_error_get(), "; it fits with")
                   ? ", an option of xl vnuma-plan" : "");
        goto out;
    }
    add_plan(s, &plan, host);
    r = 0;

 out:
    xlx_vnuma_plan_dispose(&plan);
    xlx_vnuma_plan_spec_dispose(&spec);
    return r;
}

/* ---- the topology, planned or not --------------------------------------- */

/* As stock xl will read it. */
static char *whole_text(const struct guard_start *s)
{
    char *text = xl_format("%s\n", s->config.text);
    int i;

    for (i = 0; i < s->num_lines; i++) {
        text = guard_append(text, s->lines[i]);
        text = guard_append(text, "\n");
    }
    return text;
}

/* Exit status. */
static int refuse_faults(struct guard_start *s, const xlx_vnuma_host *host)
{
    xlx_vnuma_findings found;
    char *text;
    int i, r = 0;

    xlx_vnuma_findings_init(&found);
    text = whole_text(s);
    if (xlx_vnuma_lint(s->ctx, s->config_path, text, host, &found)) {
        xl_message("%s", xlx_error_get());
        r = 1;
    }
    for (i = 0; i < found.num_findings; i++)
        if (found.findings[i].effect != XLX_VNUMA_EFFECT_NOTE) {
            xl_message("vnuma: %s", found.findings[i].what);
            r = 1;
        }
    free(text);
    xlx_vnuma_findings_dispose(&found);
    return r;
}

static int check_start(struct guard_start *s)
{
    xlx_vnuma_host host;
    int r = 0;

    /* a saved guest has no vnuma= that counts */
    if (!s->config.cfg || s->save_file || !is_set(s->config.cfg, "vnuma"))
        return 0;
    xlx_vnuma_host_init(&host);
    if (xlx_vnuma_host_get(s->ctx, &host)) {
        xl_message("vnuma: %s", xlx_error_get());
        r = 1;
    }
    if (!r && is_auto(s->config.cfg))
        r = plan_auto(s, &host);
    if (!r)
        r = refuse_faults(s, &host);
    xlx_vnuma_host_dispose(&host);
    return r;
}

const struct guard_concept guard_vnuma = { .check = check_start };

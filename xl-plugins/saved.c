/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl save-info, save-verify, save-index, save-compact, save-expand and
 * save-diff.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gen-commands.h"
#include "plugin.h"
#include "text.h"

const struct xl_command *const xl_commands = xl_saved_commands;

/* ---- what restoring would meet ------------------------------------------ */

static int add_obstacle(xlx_saved_here *here, xlx_saved_obstacle_weight weight,
                        const char *about, char *text)
{
    xlx_saved_obstacle *more;

    more = reallocarray(here->obstacles, (size_t)here->num_obstacles + 1,
                        sizeof(*more));
    if (!more)
        xl_no_memory();
    here->obstacles = more;
    more += here->num_obstacles++;
    xlx_saved_obstacle_init(more);
    more->weight = weight;
    more->about = xl_format("%s", about);
    more->text = text;
    return 0;
}

static char *joined(char *const *words, int num)
{
    char *text = xl_format("%s", num ? words[0] : ""), *longer;
    int i;

    for (i = 1; i < num; i++) {
        longer = xl_format("%s %s", text, words[i]);
        free(text);
        text = longer;
    }
    return text;
}

static void tell_verdict(xlx_saved_here *here, const xlx_cpu_verdict *v)
{
    char *lost;

    if (*xl_text(v->reason))
        add_obstacle(here, XLX_SAVED_OBSTACLE_WEIGHT_FAILS, "cpu",
                     xl_format("%s", v->reason));
    if (v->num_lost) {
        lost = joined(v->lost, v->num_lost);
        add_obstacle(here, XLX_SAVED_OBSTACLE_WEIGHT_NOTE, "cpu",
                     xl_format("the guest would lose features that it has: "
                               "%s", lost));
        free(lost);
    }
}

/* The concept of processors answers, which that of saved guests does not
 * know. */
static void compare_cpu(const xlx_saved_info *info, xlx_saved_here *here)
{
    xlx_cpu_verdict verdict;
    xlx_cpu_host host;
    xlx_cpu cpu;
    int rc;

    xlx_cpu_init(&cpu);
    xlx_cpu_host_init(&host);
    xlx_cpu_verdict_init(&verdict);
    rc = xlx_cpu_image_read(xl_ctx(), info->path, &cpu);
    if (!rc)
        rc = xlx_cpu_host_get(xl_ctx(), !strcmp(info->type, "pv"), &host);
    if (!rc)
        rc = xlx_cpu_check(xl_ctx(), &cpu, &host, NULL, &verdict);
    if (rc)
        add_obstacle(here, XLX_SAVED_OBSTACLE_WEIGHT_NOTE, "cpu",
                     xl_format("the processor was not compared: %s",
                               xlx_error_get()));
    else
        tell_verdict(here, &verdict);
    xlx_cpu_verdict_dispose(&verdict);
    xlx_cpu_host_dispose(&host);
    xlx_cpu_dispose(&cpu);
}

/* ---- save-info ---------------------------------------------------------- */

static void line(const char *title, char *value)
{
    printf("  %-12s", title);
    xl_put_text(stdout, value);
    putchar('\n');
    free(value);
}

static char *memory_text(const xlx_saved_info *i)
{
    char has[XL_SIZE_MAX], max[XL_SIZE_MAX];

    return i->max_memory
        ? xl_format("%s, at most %s", xl_size(i->pages * 4096, has),
                    xl_size(i->max_memory, max))
        : xl_format("%s", xl_size(i->pages * 4096, has));
}

static char *file_text(const xlx_saved_info *i)
{
    char size[XL_SIZE_MAX], stream[XL_SIZE_MAX], zero[XL_SIZE_MAX];

    if (i->form == XLX_SAVED_FORM_XL)
        return xl_format("%s", xl_size(i->size, size));
    return xl_format("%s, compact, of %s with %s zero", xl_size(i->size, size),
                     xl_size(i->stream, stream),
                     xl_size(i->zero_pages * 4096, zero));
}

static char *saved_text(const xlx_saved_info *i)
{
    char hot[XL_SIZE_MAX], old[XL_SIZE_MAX];

    if (i->passes < 2)
        return xl_format("by Xen %s, while it stood still", i->xen_version);
    return xl_format("by Xen %s, while it ran: %s were written at the end, "
                     "and %s more than once", i->xen_version,
                     xl_size(i->hot_pages * 4096, hot),
                     xl_size(i->old_pages * 4096, old));
}

static void print_device(const xlx_saved_device *d)
{
    const char *format = xl_text(d->format);

    line(d->kind, xl_format("%s%s%s%s%s", xl_text(d->name),
                            *xl_text(d->host) && *xl_text(d->name) ? " " : "",
                            xl_text(d->host), *format ? " " : "", format));
}

static void print_records(const xlx_saved_info *info)
{
    char size[XL_SIZE_MAX];
    int i;

    for (i = 0; i < info->num_records; i++)
        line(i ? "" : "records",
             xl_format("%s %s: %llu, %s", info->records[i].stream,
                       info->records[i].name,
                       (unsigned long long)info->records[i].records,
                       xl_size(info->records[i].bytes, size)));
}

static void print_info(const xlx_saved_info *info, const xlx_saved_here *here,
                       bool records)
{
    char size[XL_SIZE_MAX];
    int i;

    xl_put_text(stdout, info->path);
    putchar('\n');
    line("guest", xl_format("%s %s", xl_or_dash(info->name),
                            xl_text(info->type)));
    line("saved", saved_text(info));
    line("file", file_text(info));
    line("memory", memory_text(info));
    if (info->vcpus)
        line("processors", xl_format("%u", info->vcpus));
    for (i = 0; i < info->num_devices; i++)
        print_device(&info->devices[i]);
    if (info->emulator)
        line("QEMU", xl_format("its state has %s",
                               xl_size(info->emulator, size)));
    if (info->trailing)
        line("behind it", xl_format("%llu bytes, which nobody reads",
                                    (unsigned long long)info->trailing));
    if (records)
        print_records(info);
    for (i = 0; i < here->num_obstacles; i++)
        line(here->obstacles[i].weight == XLX_SAVED_OBSTACLE_WEIGHT_FAILS
             ? "here: FAILS" : "here",
             xl_format("%s: %s", here->obstacles[i].about,
                       here->obstacles[i].text));
}

/* Both as one object: what the file says, and what this host says. */
static int print_info_json(const xlx_saved_info *info,
                           const xlx_saved_here *here, int *shown)
{
    char *one = xlx_saved_info_to_json(xl_ctx(), info);
    char *two = xlx_saved_here_to_json(xl_ctx(), here);
    char *both = NULL;

    if (one && two)
        both = xl_format("{ \"saved\": %s, \"here\": %s }", one, two);
    free(one);
    free(two);
    return xl_print_element(both, shown);
}

struct info {
    const struct xl_save_info_args *args;
    int shown;
};

static int info_one(const char *path, struct info *s)
{
    xlx_saved_info info;
    xlx_saved_here here;
    int rc, r = 0;

    xlx_saved_info_init(&info);
    xlx_saved_here_init(&here);
    rc = xlx_saved_read(xl_ctx(), path, &info);
    if (rc) {
        r = xl_failed(rc);
    } else if (s->args->config) {
        printf("%s\n", xl_text(info.config));
    } else {
        rc = xlx_saved_here_get(xl_ctx(), &info, &here);
        if (!rc)
            compare_cpu(&info, &here);
        r = rc ? xl_failed(rc) : 0;
        if (!r && s->args->json)
            r = print_info_json(&info, &here, &s->shown);
        else if (!r)
            print_info(&info, &here, s->args->records);
    }
    xlx_saved_here_dispose(&here);
    xlx_saved_info_dispose(&info);
    return r;
}

int xl_save_info_main(int argc, char **argv)
{
    struct xl_save_info_args args;
    struct info s = { .args = &args };
    int i, r, worst = 0;

    r = xl_save_info_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    if (args.json)
        printf("[\n");
    for (i = 0; i < args.num_file; i++) {
        r = info_one(args.file[i], &s);
        worst = r > worst ? r : worst;
    }
    if (args.json)
        printf("%s]\n", s.shown ? "\n" : "");
    return worst;
}

/* ---- save-verify -------------------------------------------------------- */

static void print_verified(const xlx_saved_verified *v)
{
    char size[XL_SIZE_MAX];
    char *text = xl_format("%s: good: %s, %llu records, %llu pages%s",
                           v->path, xl_size(v->bytes, size),
                           (unsigned long long)v->records,
                           (unsigned long long)v->pages,
                           v->sums ? ", all sums agree" : ", no sums");

    xl_put_text(stdout, text);
    putchar('\n');
    free(text);
    if (v->trailing)
        xl_warn("%s: %llu bytes behind the end of the guest, which nobody "
                "reads", v->path, (unsigned long long)v->trailing);
}

static int verify_one(const char *path, const char *index, bool json,
                      int *shown)
{
    xlx_saved_verified v;
    int rc, r = 0;

    xlx_saved_verified_init(&v);
    rc = xlx_saved_verify(xl_ctx(), path, index, xl_progress(), &v);
    if (rc)
        r = xl_failed(rc);
    else if (json)
        r = xl_print_element(xlx_saved_verified_to_json(xl_ctx(), &v), shown);
    else
        print_verified(&v);
    xlx_saved_verified_dispose(&v);
    return r;
}

int xl_save_verify_main(int argc, char **argv)
{
    struct xl_save_verify_args args;
    int i, r, worst = 0, shown = 0;

    r = xl_save_verify_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    if (args.index && args.num_file > 1)
        return xl_fail("--index: with one file only");
    if (args.json)
        printf("[\n");
    for (i = 0; i < args.num_file; i++) {
        r = verify_one(args.file[i], args.index, args.json, &shown);
        worst = r > worst ? r : worst;
    }
    if (args.json)
        printf("%s]\n", shown ? "\n" : "");
    return worst;
}

/* ---- save-compact, save-expand ------------------------------------------ */

int xl_save_compact_main(int argc, char **argv)
{
    struct xl_save_compact_args args;
    char was[XL_SIZE_MAX], now[XL_SIZE_MAX];
    xlx_saved_info info;
    int rc, r;

    r = xl_save_compact_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_saved_info_init(&info);
    rc = xlx_saved_compact(xl_ctx(), &args.saved_compact_spec, xl_progress(),
                           &info);
    if (rc)
        r = xl_failed(rc);
    else if (args.json)
        r = xl_print_json(xlx_saved_info_to_json(xl_ctx(), &info));
    else
        printf("Made %s: %s of %s\n", info.path, xl_size(info.size, now),
               xl_size(info.stream, was));
    xlx_saved_info_dispose(&info);
    return rc ? r : 0;
}

int xl_save_expand_main(int argc, char **argv)
{
    struct xl_save_expand_args args;
    char *to;
    bool out;
    int rc, r;

    r = xl_save_expand_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    out = !strcmp(args.new, "-");
    if (out && isatty(STDOUT_FILENO))
        return xl_fail("the memory of a guest is not for a terminal");
    to = out ? NULL : xl_format("%s", args.new);
    args.saved_expand_spec.to = to;
    args.saved_expand_spec.fd = out ? STDOUT_FILENO : -1;
    rc = xlx_saved_expand(xl_ctx(), &args.saved_expand_spec, xl_progress());
    if (!rc && !out)
        printf("Made %s\n", to);
    free(to);
    return rc ? xl_failed(rc) : 0;
}

/* ---- save-index --------------------------------------------------------- */

int xl_save_index_main(int argc, char **argv)
{
    struct xl_save_index_args args;
    xlx_saved_verified v;
    int rc, r;

    r = xl_save_index_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_saved_verified_init(&v);
    rc = xlx_saved_index(xl_ctx(), args.file, args.index, args.force,
                         xl_progress(), &v);
    r = rc ? xl_failed(rc) : 0;
    if (!r && args.json)
        r = xl_print_json(xlx_saved_verified_to_json(xl_ctx(), &v));
    else if (!r)
        printf("Made %s: sums of %llu pages\n", v.index,
               (unsigned long long)v.sums);
    xlx_saved_verified_dispose(&v);
    return r;
}

/* ---- save-diff ---------------------------------------------------------- */

static void count(const char *title, uint64_t pages)
{
    char size[XL_SIZE_MAX];

    if (pages)
        line(title, xl_format("%llu pages, %s", (unsigned long long)pages,
                              xl_size(pages * 4096, size)));
}

static void print_difference(const xlx_saved_difference *d, bool ranges)
{
    char *records = joined(d->records, d->num_records);
    int i;

    puts(d->same ? "The guests are the same" : "The guests differ");
    count("same", d->same_pages);
    count("changed", d->changed_pages);
    count("added", d->added_pages);
    count("gone", d->gone_pages);
    if (!d->same_config)
        line("config", xl_format("differs"));
    if (!d->same_records)
        line("records", xl_format("differ%s%s", *records ? ": " : "",
                                  records));
    free(records);
    for (i = 0; ranges && i < d->num_ranges; i++)
        line(xlx_saved_change_to_string(d->ranges[i].change),
             xl_format("0x%llx, %llu pages",
                       (unsigned long long)d->ranges[i].first,
                       (unsigned long long)d->ranges[i].count));
}

int xl_save_diff_main(int argc, char **argv)
{
    struct xl_save_diff_args args;
    xlx_saved_difference d;
    int rc, r;

    r = xl_save_diff_parse(argc, argv, &args);
    if (r >= 0)
        return r;
    xlx_saved_difference_init(&d);
    rc = xlx_saved_compare(xl_ctx(), args.file, args.other, xl_progress(),
                           &d);
    r = rc ? xl_failed(rc) : 0;
    if (!r && args.json)
        r = xl_print_json(xlx_saved_difference_to_json(xl_ctx(), &d));
    else if (!r)
        print_difference(&d, args.ranges);
    if (!r)
        r = !d.same;
    xlx_saved_difference_dispose(&d);
    return r;
}
